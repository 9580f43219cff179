# SPDX-License-Identifier: ISC
"""
The rows of vchan: two processes, one connection, over these in turn.

    socket   a bare Unix socket: the reference
    vchan    our library over shared memory
    unix     our library over a Unix socket
    ring     a bare ring in shared memory, waiting as vchan does: what there is to be had
    futex    the same, asleep on a futex in place of an eventfd
    pipe     two bare pipes

pair.c is both ends, each on a processor of its own. Processor time is the client's.
"""

from dataclasses import dataclass

import machine

PEERS = ("vchan", "socket", "unix", "ring", "futex", "pipe")


@dataclass(frozen=True)
class Work:
    name: str
    mode: str
    size: int
    spin: int  # microseconds that vchan and the bare rings look before they sleep
    quick: bool = False

    @property
    def per(self):
        return "MB" if self.mode == "bulk" else "message"


WORKS = [
    Work("vchan ping-pong 1 x 64 B", "pingpong", 64, 100, quick=True),
    Work("vchan ping-pong 1 x 64 B, no spin", "pingpong", 64, 0),
    Work("vchan bulk 1 x 64 KiB", "bulk", 64 * 1024, 100),
]


def time_one(bench, work, over):
    options = "--over", over, "--work", work.mode, "--size", work.size, "--spin", work.spin
    options += "--seconds", bench.options.seconds, "--cpus", ",".join(bench.options.cpus[:2])
    with machine.Others() as others:
        run = bench.load("bench/pair", *options, cpus=",".join(bench.options.cpus))
    return {"rate": run["rate"], "cpu": run["cpu"] / run["rate"], "disturbance": others.share}


def measure(bench):
    for work in bench.wanted(WORKS):
        bench.say(work)
        bench.make_rounds(work.name, work.per, PEERS, lambda p, w=work: time_one(bench, w, p))
