# SPDX-License-Identifier: ISC
"""
The rows of many: what a request and a connection cost while 10, 100, 1,000 or 10,000 connections
are there; and what a second thread is good for.

Flat, requests: all connections play ping-pong at once. Flat, connections: they are silent, while
sixteen others come and go. Instructions are those of one request, and of one connection as half of
all that there are come to the other half.

Threads: N threads of ours (examples/threads, a context each), each with a tenth of a processor
(quota.py), and loads that have the rest. A perfect N does N times as much as one. Where nobody may
share out processors, N threads and N loads have N of them.
"""

import contextlib
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import churn
import echo
import machine
import quota
from harness import read_lines

PEERS = ("ours", "uv", "epoll", "libevent")
COUNTED = ("ours", "uv")


@dataclass(frozen=True)
class Flat:
    connections: int
    quick: bool = False

    @property
    def name(self):
        return f"flat at {self.connections:,}"

    @property
    def echo(self):
        return echo.Work("tcp", "pingpong", self.connections, 64)


@dataclass(frozen=True)
class Threads:
    scheme: str
    mode: str
    connections: int
    size: int
    quick: bool = False

    @property
    def name(self):
        return f"threads, {self.echo.name}"

    @property
    def echo(self):
        return echo.Work(self.scheme, self.mode, self.connections, self.size)


FLAT = [Flat(10), Flat(100), Flat(1000), Flat(10000)]
THREADS = [Threads("tcp", "pingpong", 64, 64, quick=True), Threads("tcp", "pingpong", 64, 4096)]
WORKS = [*FLAT, *THREADS]
PLAIN_CHURN = churn.WORKS[0]


# ---- flat


@contextlib.contextmanager
def holding(bench, peer, target, n):
    """So many silent connections while the block runs."""
    command = ["taskset", "-c", bench.options.cpus[1], bench.options.build / "bench/load",
               "--mode", "pingpong", "--connections", n, "--requests", n, "--hold", target]
    with subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as load:
        load.stdout.readline()
        yield
        load.stdin.close()


def time_connections(bench, work, peer):
    stolen = machine.stolen_seconds()
    with bench.serve(peer, "tcp") as (process, target), \
            holding(bench, peer, target, work.connections):
        run = churn.drive(bench, PLAIN_CHURN, peer, target, "--seconds", bench.options.seconds,
                          "--pid", process.pid)
    return churn.figures_of(run, machine.stolen_seconds() - stolen)


def count_requests(bench, work, peer):
    """Of so many requests that it does not matter how connections came in, which varies."""
    def run(requests, *under):
        with bench.serve(peer, "tcp", *under) as (_, target):
            echo.drive(bench, work.echo, peer, target, "--requests", requests)

    n = work.connections
    return bench.slope("instructions", f"{peer}.flat.{n}", run, n, n + max(20 * n, 20_000))


def count_connections(bench, work, peer):
    def run(n, *under):
        with bench.serve(peer, "tcp", *under) as (_, target):
            echo.drive(bench, work.echo, peer, target, "--requests", n, connections=n)

    n = work.connections
    return bench.slope("instructions", f"{peer}.flat.{n}", run, n // 2, n)


def measure_flat(bench, work):
    if work.connections + 100 > bench.descriptors:
        bench.note(f"{work.name} is not measured: a process may have {bench.descriptors} "
                   "descriptors")
        return
    bench.say(work)
    requests, connections = f"{work.name}, requests", f"{work.name}, connections"
    bench.make_rounds(requests, "request", PEERS, lambda p: echo.time_one(bench, work.echo, p))
    bench.make_rounds(connections, "connection", PEERS,
                      lambda p: time_connections(bench, work, p))
    if bench.counts_wanted(False):
        for name, per, count in ((requests, "request", count_requests),
                                 (connections, "connection", count_connections)):
            bench.count(name, per, [(peer, "instructions",
                                     lambda c=count, p=peer: c(bench, work, p))
                                    for peer in COUNTED])


# ---- threads


@contextlib.contextmanager
def serve_threads(bench, work, n, *under, cpus=None):
    """The process, and the URI to load."""
    program = bench.options.build / "examples/threads"
    uri = bench.listen_uri(work.scheme)
    with bench.running("threads", *under, program, n, uri, cpus=cpus) as process:
        yield process, read_lines(process, 1, "threads")[0].split()[1].partition("?")[0]


def drive_all(bench, work, process, target, cpus):
    """A load on each of these, which share what more there is: together."""
    def drive(cpu):
        return bench.load("bench/load", "--mode", work.mode, "--connections", work.connections,
                          "--size", work.size, "--seconds", bench.options.seconds, "--pid",
                          process.pid, target, cpus=cpu)

    with machine.Others(process.pid) as others, ThreadPoolExecutor(len(cpus)) as pool:
        runs = list(pool.map(drive, cpus))
    rate = sum(run["requests"] / run["seconds"] for run in runs)
    busy = sum(run["server_cpu"] / run["seconds"] for run in runs) / len(runs)
    return {"rate": rate, "cpu": busy / rate, "disturbance": others.share}


def time_threads(bench, work, n):
    """As many loads as threads, on as many processors."""
    cpus = ",".join(bench.options.cpus[:n])
    with serve_threads(bench, work, n, cpus=cpus) as (process, target):
        return drive_all(bench, work, process, target, [cpus] * n)


def time_shares(bench, work, n):
    """A load on each processor, whatever the number of threads."""
    cpus = bench.options.cpus
    with contextlib.ExitStack() as stack:
        groups = [stack.enter_context(quota.group()) for _ in range(n)]
        process, target = stack.enter_context(
            serve_threads(bench, work, n, cpus=",".join(cpus)))
        quota.deal_out(process.pid, groups, cpus)
        run = drive_all(bench, work, process, target, cpus)
        return {**run, "used_up": min(quota.used_up(own) for own in groups)}


def count_threads(bench, work, n, figure):
    def run(requests, *under):
        with serve_threads(bench, work, n, *under) as (_, target):
            echo.drive(bench, work.echo, "ours", target, "--requests", requests,
                       connections=n * work.connections)

    return bench.slope(figure, f"threads.{n}", run, 2000, 12000)


def tell_of_idleness(bench, name):
    """Of threads that had less to do than they might have done."""
    least = {}
    for line in bench.lines:
        if line.get("work") == name and "used_up" in line and not line["left_out"]:
            least[line["peer"]] = min(line["used_up"], least.get(line["peer"], 1))
    idle = [peer for peer, share in least.items() if share < 0.8]
    if idle:
        bench.note(f"{name}: {' and '.join(idle)} had not enough to do for all of their shares")


def measure_threads(bench, work, shares):
    bench.say(work)
    processors = len(set(bench.options.cpus))
    counts = [n for n in (1, 2, 4, 8) if n <= processors * (2 if shares else 1)]
    names = {f"{n} thread{'s' if n > 1 else ''}": n for n in counts}
    name = f"{work.name}, a tenth of a processor each" if shares else work.name
    time_one = time_shares if shares else time_threads
    bench.make_rounds(name, "request", list(names), lambda peer: time_one(bench, work, names[peer]))
    tell_of_idleness(bench, name)
    if bench.counts_wanted(False):
        bench.count(name, "request", [(peer, figure, lambda n=n, f=figure:
                                       count_threads(bench, work, n, f))
                                      for peer, n in names.items() if n <= 2
                                      for figure in ("instructions", "calls")])


def measure(bench):
    works = bench.wanted(WORKS)
    for work in works:
        if work in FLAT:
            measure_flat(bench, work)
    threads = [work for work in works if work in THREADS]
    shares = bool(threads) and quota.possible()
    if threads and not shares:
        bench.note("threads have whole processors, which they share with the loads: nobody may give "
                   "them a part of one here")
    for work in threads:
        measure_threads(bench, work, shares)
