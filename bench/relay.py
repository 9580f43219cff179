# SPDX-License-Identifier: ISC
"""
The rows of TLS that ends at a relay: a load with TLS, and behind the relay bare epoll on a Unix
socket, on the load's processor.

    ours       relay-ours, a hundred lines
    haproxy    one thread, which is what it is made for

What counts is the relay's own processor time.
"""

import contextlib
from dataclasses import dataclass

import churn
import echo
import machine
from harness import read_lines

HAPROXY = """global
  nbthread 1
  maxconn 4096
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
frontend bench
  bind 127.0.0.1:{port} ssl crt {dir}/both.pem
  default_backend echo
backend echo
  server echo {target}
"""


@dataclass(frozen=True)
class Work:
    mode: str
    connections: int
    size: int
    quick: bool = False

    @property
    def name(self):
        return f"relay, {self.echo.name}"

    @property
    def echo(self):
        return echo.Work("tls", self.mode, self.connections, self.size)


WORKS = [Work("pingpong", 64, 64, quick=True), Work("bulk", 1, 64 * 1024)]


@contextlib.contextmanager
def ours(bench, target):
    program = bench.options.build / "bench/relay-ours"
    with bench.running("relay-ours", program, bench.listen_uri("tls"), target) as process:
        yield process, read_lines(process, 1, "relay-ours")[0].split()[1].partition("?")[0]


def haproxy(bench, target):
    backend = target.replace("unix:", "unix@")
    return churn.serve_web(bench, "haproxy", config=HAPROXY, target=backend)


def time_one(bench, work, relay):
    stolen = machine.stolen_seconds()
    with bench.serve("epoll", "unix", cpus=bench.options.cpus[1]) as (_, target), \
            (ours if relay == "ours" else haproxy)(bench, target) as (process, uri):
        run = echo.drive(bench, work.echo, relay, uri, "--seconds", bench.options.seconds,
                         "--pid", process.pid)
    stolen = machine.stolen_seconds() - stolen
    return echo.figures_of(work.echo, relay, run, stolen)


def measure(bench):
    for work in bench.wanted(WORKS):
        if churn.find("haproxy") is None:
            bench.note(f"{work.name} is not measured: haproxy is not installed")
            continue
        bench.say(work)
        bench.make_rounds(work.name, work.echo.per, ["ours", "haproxy"],
                          lambda p, w=work: time_one(bench, w, p))
