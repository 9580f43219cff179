# SPDX-License-Identifier: ISC
"""
The rows of bytes that go there and back: ping-pong, bulk, and a sink, over TCP, Unix sockets and
TLS.

Instructions and system calls are counted with all connections, as they share their turns; with one
connection, each request of a ping-pong is one turn of the loop.
"""

from dataclasses import dataclass

import machine
from harness import MIB, OLD_TLS, Failure

MODES = {"pingpong": "ping-pong", "bulk": "bulk", "sink": "sink"}


@dataclass(frozen=True)
class Work:
    scheme: str
    mode: str
    connections: int
    size: int
    few: int = 0  # the two numbers of requests with which instructions and system calls are counted
    many: int = 0
    quick: bool = False

    @property
    def name(self):
        size = f"{self.size} B" if self.size < 1024 else f"{self.size // 1024} KiB"
        return f"{self.scheme} {MODES[self.mode]} {self.connections} x {size}"

    @property
    def per(self):
        return "request" if self.mode == "pingpong" else "MiB"

    def units(self, requests):
        """Ping-pong is measured by the request, the others by the MiB."""
        return requests if self.mode == "pingpong" else requests * self.size / MIB


def works_of(scheme):
    return [Work(scheme, "pingpong", 64, 64, few=2000, many=12000, quick=True),
            Work(scheme, "pingpong", 64, 4096),
            Work(scheme, "pingpong", 1, 64, few=2000, many=12000),
            Work(scheme, "pingpong", 1, 4096),
            Work(scheme, "bulk", 1, 64 * 1024, few=32, many=544, quick=scheme == "tls"),
            Work(scheme, "sink", 1, 64 * 1024, few=32, many=544, quick=scheme == "tcp")]


WORKS = [work for scheme in ("tcp", "unix", "tls") for work in works_of(scheme)]


def drive(bench, work, peer, target, *extent, connections=None):
    options = "--mode", work.mode, "--connections", connections or work.connections
    options += "--size", work.size, *bench.tls_options(peer)
    return bench.load("bench/load", *options, *extent, target)


def seconds_for(bench, work):
    """So that every connection has several turns, on a slow machine, too."""
    return max(bench.options.seconds, work.connections * 1e-4)


def time_one(bench, work, peer):
    """One run: units a second, the server's processor time for one, and what was in its way."""
    stolen = machine.stolen_seconds()
    with bench.serve(peer, work.scheme, sink=work.mode == "sink") as (process, target):
        run = drive(bench, work, peer, target, "--seconds", seconds_for(bench, work),
                    "--pid", process.pid)
    return figures_of(work, peer, run, machine.stolen_seconds() - stolen)


def figures_of(work, peer, run, stolen):
    units = work.units(run["requests"])
    if units == 0:
        raise Failure(f"{work.name}: {peer} answered nothing in {run['seconds']} s")
    return {"rate": units / run["seconds"], "cpu": run["server_cpu"] / units,
            "disturbance": (run["held_back"] + stolen) / run["seconds"]}


def count_one(bench, work, peer, figure):
    def run(requests, *under):
        with bench.serve(peer, work.scheme, *under, sink=work.mode == "sink") as (_, target):
            drive(bench, work, peer, target, "--requests", requests)

    name = f"{peer}.{work.scheme}.{work.mode}.{work.connections}"
    per_request = bench.slope(figure, name, run, work.few, work.many)
    return per_request / work.units(1)


def counted(work, peer):
    """Not what would take minutes under callgrind: cryptography without the processor's help."""
    yield "calls"
    if work.scheme != "tls" or work.mode == "pingpong" or peer not in OLD_TLS:
        yield "instructions"


def measure(bench):
    for work in bench.wanted(WORKS):
        bench.say(work)
        peers = bench.peers(work.scheme)
        bench.make_rounds(work.name, work.per, peers, lambda p, w=work: time_one(bench, w, p))
        if work.many and bench.counts_wanted(work is WORKS[0]):
            bench.count(work.name, work.per, [
                (peer, figure, lambda w=work, p=peer, f=figure: count_one(bench, w, p, f))
                for peer in peers for figure in counted(work, peer)])
