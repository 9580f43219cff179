# SPDX-License-Identifier: ISC
"""
The rows of what only stands there: memory for each connection that was served once and is silent,
memory and time for each listener, and what it takes to start.

Memory is what is resident and no file: the heap, as far as it was written to. It is looked at with
few and with many, and the difference divided by the difference.
"""

import json
import subprocess
import time
from dataclasses import dataclass

import machine


@dataclass(frozen=True)
class Work:
    name: str
    scheme: str
    few: int
    many: int
    size: int = 64
    quick: bool = False


IDLE = [Work("tcp idle", "tcp", 500, 4500), Work("unix idle", "unix", 500, 4500),
        Work("tls idle", "tls", 100, 400),
        Work("tls idle after 16 KiB", "tls", 100, 400, size=16 * 1024)]
LISTENERS = Work("tcp listeners", "tcp", 1, 1001)
START = Work("start", "tcp", 0, 0, quick=True)
WORKS = [*IDLE, LISTENERS, START]


def memory_with(bench, work, peer, connections):
    """What the server holds while so many that were served once are silent."""
    command = ["taskset", "-c", bench.options.cpus[1], bench.options.build / "bench/load",
               "--mode", "pingpong", "--connections", connections, "--size", work.size,
               "--requests", connections, "--hold", *bench.tls_options(peer)]
    with bench.serve(peer, work.scheme) as (process, target):
        load = subprocess.Popen([str(c) for c in (*command, target)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE)
        with load:
            load.stdout.readline()
            memory = machine.anonymous_bytes(process.pid)
            load.stdin.close()
    return memory


def memory_each(bench, work, peer):
    few, many = (memory_with(bench, work, peer, n) for n in (work.few, work.many))
    return (many - few) / (work.many - work.few)


def listen(bench, peer, n):
    """Memory with so many listeners, and how long it took until all were there."""
    begun = time.monotonic()
    with bench.serve(peer, "tcp", listeners=n) as (process, _):
        seconds = time.monotonic() - begun
        return machine.anonymous_bytes(process.pid), seconds


def measure_listeners(bench):
    bench.say(LISTENERS)
    for peer in bench.peers("tcp"):
        more = LISTENERS.many - LISTENERS.few
        few, many = listen(bench, peer, LISTENERS.few), listen(bench, peer, LISTENERS.many)
        bench.add(LISTENERS.name, peer, "listener", memory=(many[0] - few[0]) / more,
                  seconds=max(0, many[1] - few[1]) / more)


def measure_start(bench):
    """Until a process listens, by the clock and in memory; and of ours, the context alone."""
    bench.say(START)
    for _ in range(bench.options.rounds):
        for peer in bench.peers("tcp"):
            memory, seconds = listen(bench, peer, 1)
            bench.add(START.name, peer, "process", memory=memory, seconds=seconds)
        done = subprocess.run([bench.options.build / "bench/start-ours"], stdout=subprocess.PIPE,
                              check=True)
        bench.add("start, context", "ours", "context", **json.loads(done.stdout))


def measure(bench):
    works = bench.wanted(WORKS)
    for work in works:
        if work in IDLE:
            bench.say(work)
            bench.count(work.name, "connection", [
                (peer, "memory", lambda w=work, p=peer: memory_each(bench, w, p))
                for peer in bench.peers(work.scheme)])
    if LISTENERS in works:
        measure_listeners(bench)
    if START in works:
        measure_start(bench)
