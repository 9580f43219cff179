#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""
The bench: our echo-server beside a raw libuv one and a libevent one, in one run; for TLS beside one
on bare epoll too.

Rates are only ever compared as pairs. A round is a run of each, with a fresh server: ours, the
reference (uv), the others; the next round goes the other way. So ours is next to the reference, and
what drifts, drifts for both. What is printed is the median of the rounds' ratios, with the lowest
and the highest.

A round waits for a quiet moment. It is disturbed when a server or the load had to wait for its
processor all the same, or when the machine's host took it away. Then another one is made, up to
twice the number; what is still missing after that is said.

Instructions and system calls are counted, not timed: twice, with a few requests and with many, and
the difference is divided by the difference, so that starting up is not in it. These repeat whatever
else the machine does. Instructions are counted with one connection, so that each request of a
ping-pong is one turn of the loop; system calls with all of them, as they share their turns.
"""

import argparse
import contextlib
import json
import os
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import connects
import names
import pairs
import shakes

ROOT = Path(__file__).resolve().parent.parent
MIB = 1024 * 1024
PATIENCE_S = 60  # for a server to start or to end, under valgrind too

REFERENCE = "uv"
PEERS = ("ours", "libevent", "epoll")
SERVERS = (REFERENCE, *PEERS)
ONLY_TLS = ("epoll",)

# To callgrind `rep movsb` is an instruction for each byte: let glibc copy with others.
NO_REP_MOVSB = "GLIBC_TUNABLES=glibc.cpu.hwcaps=-ERMS"

TOOLS = {"instructions": "valgrind", "calls": "strace"}


class Failure(Exception):
    """Something that the user is told in one line."""


@dataclass(frozen=True)
class Work:
    scheme: str
    mode: str
    connections: int
    size: int
    few: int  # the two numbers of requests with which instructions and system calls are counted
    many: int

    @property
    def kind(self):
        return f"{self.scheme} {'bulk' if self.mode == 'bulk' else 'ping-pong'}"

    @property
    def name(self):
        size = f"{self.size} B" if self.size < 1024 else f"{self.size // 1024} KiB"
        return f"{self.kind} {self.connections} x {size}"

    @property
    def servers(self):
        return [name for name in SERVERS if self.scheme == "tls" or name not in ONLY_TLS]

    def units(self, requests):
        """Ping-pong is measured by the request, bulk by the MiB."""
        return requests * self.size / MIB if self.mode == "bulk" else requests


PING_PONG = {"mode": "pingpong", "connections": 64, "size": 64, "few": 2000, "many": 12000}
BULK = {"mode": "bulk", "connections": 1, "size": 64 * 1024, "few": 32, "many": 544}
WORKS = [Work(scheme, **mode) for scheme in ("tcp", "unix", "tls") for mode in (PING_PONG, BULK)]

# What the project promises: in this kind of work, this figure of ours as a ratio to that server's.
TARGETS = [
    ("tcp ping-pong", "rate", "uv", ">=", 0.97),
    ("tls bulk", "rate", "uv", ">=", 1.00),
    ("tls bulk", "rate", "libevent", ">=", 1.00),
    ("tls bulk", "rate", "epoll", ">=", 1.00),
    ("tls ping-pong", "memory", "uv", "<=", 1.00),
    ("tls ping-pong", "memory", "libevent", "<=", 1.00),
    ("tls ping-pong", "memory", "epoll", "<=", 1.00),
    ("tcp ping-pong", "instructions", "uv", "<=", 1.25),
]


class Result:
    """All about one work. `runs` holds one run a round for each server, side by side."""

    def __init__(self, work):
        self.runs = {name: [] for name in work.servers}
        self.counts = {"instructions": {}, "calls": {}, "memory": {}}
        self.left_out = 0
        self.disturbed = False

    def median(self, name, figure):
        return statistics.median(run[figure] for run in self.runs[name])

    def ratios(self, name, figure, reference=REFERENCE):
        pairs = zip(self.runs[name], self.runs[reference])
        return [run[figure] / other[figure] for run, other in pairs]

    def ratio(self, name, figure, reference=REFERENCE):
        """Of the medians of what was measured, or of what was counted; None if it was not."""
        counts = self.counts.get(figure)
        if counts is None:
            return statistics.median(self.ratios(name, figure, reference))
        return counts[name] / counts[reference] if counts else None


class Bench:
    """The programs, and how one of them is measured."""

    def __init__(self, options, scratch):
        self.options = options
        self.scratch = scratch
        self.certificate = scratch / "cert.pem"
        self.key = scratch / "key.pem"
        self.load = options.build / "bench/load"
        self.programs = {
            "uv": options.build / "bench/echo-uv",
            "ours": options.build / "examples/echo-server",
            "libevent": options.build / "bench/echo-libevent",
            "epoll": options.build / "bench/echo-epoll",
        }
        for program in (self.load, *self.programs.values()):
            if not program.exists():
                raise Failure(f"{program} is not there: ./script/bench builds it")
        self.make_certificate()

    def make_certificate(self):
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        command += " -subj /CN=bench -addext subjectAltName=IP:127.0.0.1,DNS:localhost"
        run_quietly(*command.split(), "-keyout", self.key, "-out", self.certificate)
        self.key.chmod(0o600)

    # ---- one server, one load

    @contextlib.contextmanager
    def serve(self, name, scheme, *under, host="127.0.0.1"):
        """A server that runs while the block does; gives its process and the URI to load."""
        program = self.programs[name], self.listen_uri(scheme, host)
        command = "taskset", "-c", self.options.cpus[0], *under, *program
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            yield process, read_target(process, name)
        finally:
            end(process)
        if process.returncode != 0:
            raise Failure(f"{self.programs[name]} ended with status {process.returncode}")

    def listen_uri(self, scheme, host):
        if scheme == "unix":
            path = self.scratch / "echo.sock"
            path.unlink(missing_ok=True)
            return f"unix:{path}"
        query = f"?cert={self.certificate}&key={self.key}" if scheme == "tls" else ""
        return f"{scheme}://{host}:0{query}"

    def load_command(self, work, target, *extent, connections=None):
        options = "--mode", work.mode, "--connections", connections or work.connections
        options += "--size", work.size, "--tls", self.certificate, *extent
        command = "taskset", "-c", self.options.cpus[1], self.load, *options, target
        return [str(c) for c in command]

    def drive(self, work, target, *extent, connections=None):
        command = self.load_command(work, target, *extent, connections=connections)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Failure(f"{work.name}: the load failed")
        return json.loads(done.stdout)

    # ---- rates

    def time(self, work, name):
        """One run: units a second, the server's CPU time for one, and how much was in its way."""
        stolen = stolen_seconds()
        with self.serve(name, work.scheme) as (process, target):
            run = self.drive(work, target, "--seconds", self.options.seconds, "--pid", process.pid)
        stolen = stolen_seconds() - stolen
        units = work.units(run["requests"])
        if units == 0:
            raise Failure(f"{work.name}: {name} answered nothing in {run['seconds']} s")
        run["rate"] = units / run["seconds"]
        run["cpu"] = run["server_cpu"] / units
        run["disturbance"] = (run["held_back"] + stolen) / run["seconds"]
        return run

    def make_round(self, work, backwards):
        order = "ours", *(name for name in work.servers if name != "ours")
        return {name: self.time(work, name) for name in (reversed(order) if backwards else order)}

    def make_rounds(self, work, result):
        """As many undisturbed rounds as are asked for, or the least disturbed ones there were."""
        wanted, limit = self.options.rounds, self.options.limit
        rounds, good = [], []
        while len(good) < wanted and len(rounds) < 2 * wanted:
            await_quiet(limit)
            rounds.append(self.make_round(work, backwards=len(rounds) % 2 == 1))
            good = [r for r in rounds if disturbance(r) <= limit]
        result.disturbed = len(good) < min(3, wanted)
        if result.disturbed:
            good = sorted(rounds, key=disturbance)[:wanted]
        result.left_out = len(rounds) - len(good)
        for name in work.servers:
            result.runs[name] = [r[name] for r in good]

    # ---- counts

    def count_instructions(self, work, name, requests):
        """What the server executes in user space."""
        out = self.scratch / f"{name}.{work.scheme}.{work.mode}.{requests}.callgrind"
        callgrind = "valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"
        with self.serve(name, work.scheme, "env", NO_REP_MOVSB, *callgrind) as (_, target):
            self.drive(work, target, "--requests", requests, connections=1)
        if self.options.keep:
            shutil.copy(out, self.options.keep)
        return int(re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.M)[1])

    def count_calls(self, work, name, requests):
        """What the server asks of the kernel."""
        out = self.scratch / "strace"
        strace = "strace", "-f", "-c", "-U", "calls,name", "-o", out
        with self.serve(name, work.scheme, *strace) as (_, target):
            self.drive(work, target, "--requests", requests)
        return int(re.search(r"(\d+) +total$", out.read_text(), re.M)[1])

    def count_memory(self, work, name, connections):
        """What the server holds while so many that were served once are silent, in KiB."""
        with self.serve(name, work.scheme) as (process, target):
            command = self.load_command(work, target, "--requests", connections, "--hold",
                                        connections=connections)
            load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            with load:
                load.stdout.readline()
                memory = resident_kib(process.pid)
                load.stdin.close()
        return memory

    def compare_memory(self, work, result):
        few, many = 100, 900
        for name in work.servers:
            more = self.count_memory(work, name, many) - self.count_memory(work, name, few)
            result.counts["memory"][name] = more / (many - few)

    def count(self, work, result):
        methods = {"instructions": self.count_instructions, "calls": self.count_calls}
        if work.mode == "pingpong":
            self.compare_memory(work, result)
        for figure, method in methods.items():
            if TOOLS[figure] in self.options.missing:
                continue
            for name in work.servers:
                few, many = method(work, name, work.few), method(work, name, work.many)
                per_unit = (many - few) / work.units(work.many - work.few)
                result.counts[figure][name] = per_unit


# ---- processes and the machine


def run_quietly(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Failure(f"{command[0]} failed:\n{done.stdout}")


def read_target(process, name):
    """The URI of the line "listening URI", without its query."""
    ready, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
    line = process.stdout.readline() if ready else ""
    if not line.startswith("listening "):
        raise Failure(f"{name}: the server does not listen")
    return line.split()[1].partition("?")[0]


def end(process):
    """SIGTERM for the server itself; strace, which would not pass it on, has it as its child."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]) if children else process.pid, signal.SIGTERM)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def processor_seconds():
    """What all processors did since boot: user, nice, system, idle, iowait, irq, softirq, steal."""
    fields = Path("/proc/stat").read_text().split(None, 9)[1:9]
    return [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]


def stolen_seconds():
    """What the host of this virtual machine gave to others."""
    return processor_seconds()[7]


def resident_kib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+)", status, re.M)[1])


def await_quiet(limit):
    """Wait until nothing else goes on, but only for some seconds: it may never be so."""
    for _ in range(10):
        before = processor_seconds()
        time.sleep(0.2)
        spent = [b - a for a, b in zip(before, processor_seconds())]
        idle = spent[3] + spent[4]
        if idle >= (1 - limit) * sum(spent):
            return
        time.sleep(0.3)


def disturbance(round_):
    return max(run["disturbance"] for run in round_.values())


# ---- what is printed


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def count_cells(result, figure, form):
    """The reference's count, and the others' as ratios to it."""
    counts = result.counts[figure]
    if not counts:
        return ["-"] * len(SERVERS)
    others = (f"{result.ratio(p, figure):.2f}" if p in counts else "" for p in PEERS)
    return [format(counts[REFERENCE], form), *others]


def row(work, result):
    rate = f"{result.median(REFERENCE, 'rate'):,.0f}{' MiB' if work.mode == 'bulk' else ''}/s"
    cells = [work.name + ("*" if result.disturbed else ""), rate]
    there = [peer in work.servers for peer in PEERS]
    cells += [spread(result.ratios(p, "rate")) if is_there else ""
              for p, is_there in zip(PEERS, there)]
    cells += [f"{result.ratio(p, 'cpu'):.2f}" if is_there else ""
              for p, is_there in zip(PEERS, there)]
    cells += count_cells(result, "instructions", ",.0f")
    return cells + count_cells(result, "calls", ".2f") + count_cells(result, "memory", ".1f")


def print_table(results):
    groups = [("", 1), ("rate", 4), ("CPU", 3), ("instructions", 4), ("system calls", 4),
              ("idle KiB", 4)]
    rows = [["", REFERENCE, *PEERS, *PEERS, *SERVERS, *SERVERS, *SERVERS]]
    rows += [row(work, result) for work, result in results.items()]
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    heads, columns = [], iter(widths)
    for title, n in groups:
        width = sum(next(columns) + 2 for _ in range(n)) - 2
        heads.append(title.center(width, "-") if title else " " * width)
    print("  ".join(heads))
    for cells in rows:
        right = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:]))
        print("  ".join([cells[0].ljust(widths[0]), *right]))


def print_targets(results):
    for kind, figure, reference, sign, bound in TARGETS:
        for work, result in results.items():
            ratio = result.ratio("ours", figure, reference) if work.kind == kind else None
            if ratio is None:
                continue
            met = ratio >= bound if sign == ">=" else ratio <= bound
            doubt = "*" if result.disturbed and figure not in result.counts else ""
            aim = f"{kind}, {figure}: ours {sign} {bound:.2f} of {reference}'s"
            print(f"target: {aim}: {ratio:.2f}{doubt}, {'met' if met else 'MISSED'}")


def print_notes(results, options):
    for work, result in results.items():
        if result.disturbed:
            print(f"{work.name}*: too many disturbed rounds; these are the least disturbed ones")
        elif result.left_out:
            print(f"{work.name}: {result.left_out} disturbed rounds left out")
    for tool in options.missing:
        print(f"{tool} is not installed: nothing was counted with it")


def print_json(results):
    for work, result in results.items():
        per = "MiB" if work.mode == "bulk" else "request"
        for name in work.servers:
            about = {"work": work.name, "server": name, "per": per}
            for i, run in enumerate(result.runs[name]):
                print(json.dumps({**about, "figure": "run", "round": i, **run}))
            for figure, counts in result.counts.items():
                if counts:
                    print(json.dumps({**about, "figure": figure, "value": counts[name]}))


# ---- main


def default_cpus():
    """Two different ones if there are two: the server's, the load's."""
    cpus = sorted(os.sched_getaffinity(0))
    return f"{cpus[0]},{cpus[1 % len(cpus)]}"


def parse_options():
    parser = argparse.ArgumentParser(description="our echo-server beside raw libuv and libevent")
    add = parser.add_argument
    add("--build", type=Path, default=ROOT / "build-bench", help="the folder it was built in")
    add("--quick", action="store_true", help="only see that everything runs")
    add("--json", action="store_true", help="a line for each measurement instead of the table")
    add("--only", default="", metavar="TEXT", help='the works with TEXT in the name: "tls bulk"')
    add("--rounds", type=int, default=7)
    add("--seconds", type=float, default=0.7, help="for one run of a round")
    add("--limit", type=float, default=0.05, help="the share of a run that others may disturb")
    add("--cpus", default=default_cpus(), help="the server's and the load's")
    add("--keep", type=Path, metavar="DIR", help="leave callgrind's files there")
    options = parser.parse_args()
    options.cpus = options.cpus.split(",")
    options.missing = [tool for tool in TOOLS.values() if shutil.which(tool) is None]
    if options.quick:
        options.rounds, options.seconds, options.limit = 1, 0.1, float("inf")
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    return options


def measure(bench, options):
    results = {work: Result(work) for work in WORKS if options.only in work.name}
    known = [work.name for work in (*WORKS, *pairs.WORKS, *shakes.WORKS)]
    known += [*names.WORKS, *connects.WORKS]
    if not any(options.only in name for name in known):
        raise Failure(f"{options.only}: none of {', '.join(known)}")
    for i, (work, result) in enumerate(results.items()):
        print(f"{work.name} ...", file=sys.stderr)
        bench.make_rounds(work, result)
        if not options.quick or i == 0:
            bench.count(work, result)
    return results


def main():
    options = parse_options()
    try:
        with tempfile.TemporaryDirectory(prefix="conduit-bench-") as scratch:
            bench = Bench(options, Path(scratch))
            results = measure(bench, options)
            of_shakes = shakes.measure(bench, await_quiet)
            of_connects = connects.measure(bench, await_quiet)
            of_pairs = pairs.measure(options, await_quiet)
            of_names = names.measure(options)
    except Failure as failure:
        sys.exit(f"bench: {failure}")
    if options.json:
        print_json(results)
        shakes.print_json(of_shakes)
        connects.print_json(of_connects)
        pairs.print_json(of_pairs)
        names.print_json(of_names)
        return
    if results:
        print_table(results)
        print_notes(results, options)
    shakes.print_table(of_shakes, options.limit)
    connects.print_table(of_connects)
    if of_pairs:
        pairs.print_table(of_pairs)
    names.print_table(of_names)
    if not options.quick:
        print_targets(results)
        shakes.print_targets(of_shakes, options.limit)
        connects.print_targets(of_connects)
        pairs.print_targets(of_pairs)
        names.print_targets(of_names)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are ended
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
