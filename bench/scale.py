# SPDX-License-Identifier: ISC
"""
The rows of many: what a request and a connection cost while 10, 100, 1,000 or 10,000 connections
are there; and what a second thread is good for.

Flat, requests: all connections play ping-pong at once. Flat, connections: they are silent, while
sixteen others come and go. Instructions are those of one request, and of one connection as half of
all that there are come to the other half.

Threads: N threads of ours (examples/threads, a context each) and N loads share N processors. A
perfect N does N times as much as one thread and one load on one processor.
"""

import contextlib
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import churn
import echo
import machine
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
    """Half of the requests are there in both numbers: two for each connection."""
    def run(requests, *under):
        with bench.serve(peer, "tcp", *under) as (_, target):
            echo.drive(bench, work.echo, peer, target, "--requests", requests)

    n = work.connections
    return bench.slope("instructions", f"{peer}.flat.{n}", run, n, n + max(2 * n, 2000))


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


def time_threads(bench, work, n):
    """The rate of all loads together, and the server's processor time for a request."""
    cpus = ",".join(bench.options.cpus[:n])
    program = bench.options.build / "examples/threads"
    uri = bench.listen_uri(work.scheme)
    with bench.running("threads", program, n, uri, cpus=cpus) as process:
        target = read_lines(process, 1, "threads")[0].split()[1].partition("?")[0]

        def drive(_):
            return bench.load("bench/load", "--mode", work.mode, "--connections",
                              work.connections, "--size", work.size, *bench.tls_options("ours"),
                              "--seconds", bench.options.seconds, "--pid", process.pid, target,
                              cpus=cpus)

        with machine.Others(process.pid) as others, ThreadPoolExecutor(n) as pool:
            runs = list(pool.map(drive, range(n)))
    rate = sum(run["requests"] / run["seconds"] for run in runs)
    busy = sum(run["server_cpu"] / run["seconds"] for run in runs) / n
    return {"rate": rate, "cpu": busy / rate, "disturbance": others.share}


def measure_threads(bench, work):
    bench.say(work)
    counts = [n for n in (1, 2, 4, 8) if n <= len(bench.options.cpus)]
    names = {f"{n} thread{'s' if n > 1 else ''}": n for n in counts}
    bench.make_rounds(work.name, "request", list(names),
                      lambda name: time_threads(bench, work, names[name]))


def measure(bench):
    for work in bench.wanted(WORKS):
        (measure_flat if work in FLAT else measure_threads)(bench, work)
