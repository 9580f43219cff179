# SPDX-License-Identifier: ISC
"""
The rows of connects: a connection by name, one after another, beside those who do that too.

    connects hosts     tcp://localhost, which the hosts file knows
    connects cached    tcp://here.test, which each has in its cache of names
    connects tls       tls://localhost, a full handshake each time

The server is ours, for all of them; the reference is curl. Processor time is the client's.
"""

import contextlib
from dataclasses import dataclass

import machine
import names
from harness import Failure, find

REFERENCE, OURS = "curl", "ours"


@dataclass(frozen=True)
class Work:
    name: str
    peers: tuple
    times: int
    tls: bool = False
    cached: bool = False
    quick: bool = False


WORKS = [Work("connects hosts", (OURS, REFERENCE, "uv", "getaddrinfo", "gio"), 4000, quick=True),
         Work("connects cached", (OURS, REFERENCE), 4000, cached=True),
         Work("connects tls", (OURS, REFERENCE, "gio"), 300, tls=True)]


def time_one(bench, work, name, target, resolver, server):
    times = 20 if bench.options.quick else work.times
    address = "127.0.0.1" if resolver else ""
    with machine.Others(server.pid) as others:
        run = bench.load(f"bench/connect-{name}", target, times, bench.certificate, address,
                         resolver)
    return {"rate": run["connects"] / run["seconds"], "cpu": run["cpu"] / run["connects"],
            "disturbance": others.share}


@contextlib.contextmanager
def serve(bench, work):
    """The server, the URI to connect to, and the DNS server to ask for its name ("": the system
    knows it)."""
    with contextlib.ExitStack() as stack:
        scheme = "tls" if work.tls else "tcp"
        process, target = stack.enter_context(bench.serve(OURS, scheme, host="localhost"))
        port = target.rpartition(":")[2]
        if work.cached:
            zone = names.ZONE + "here A 127.0.0.1\n"
            resolver = stack.enter_context(names.serving(zone, bench.options.cpus[0]))
            yield f"tcp://here.test:{port}", f"127.0.0.1:{resolver}", process
        else:
            yield f"{scheme}://localhost:{port}", "", process


def lacking(bench, work):
    """Why it cannot be measured; None if it can be."""
    if not (bench.options.build / f"bench/connect-{REFERENCE}").exists():
        return "libcurl is not there"
    return "nsd is not installed" if work.cached and find("nsd") is None else None


def measure_one(bench, work):
    there = [name for name in work.peers
             if (bench.options.build / f"bench/connect-{name}").exists()]
    if OURS not in there:
        raise Failure("connect-ours is not there: ./script/bench builds it")
    with serve(bench, work) as (target, resolver, server):
        bench.make_rounds(work.name, "connect", there,
                          lambda p: time_one(bench, work, p, target, resolver, server))


def measure(bench):
    for work in bench.wanted(WORKS):
        bench.say(work)
        why = lacking(bench, work)
        if why is None:
            measure_one(bench, work)
        else:
            bench.note(f"{work.name} is not measured: {why}")
