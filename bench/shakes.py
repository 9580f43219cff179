# SPDX-License-Identifier: ISC
"""
The rows of TLS handshakes, full and resumed: our echo-server beside nginx and haproxy.

    ours      examples/echo-server
    nginx     one process, one worker: the reference
    haproxy   one thread

Each has a processor of its own, and so has the load, shake.c: connections that open, say goodbye
and are made anew. For P-256 a client's part of a full handshake costs more than a server's: then
the load is what limits the rate, and the figure that counts is how many handshakes a second of the
server's processor is good for. Rounds as in run.py: all three next to each other, the next one the
other way round, and the median of the rounds' ratios.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

REFERENCE = "nginx"
OTHERS = ("ours", "haproxy")
SERVERS = ("ours", REFERENCE, "haproxy")
TARGET = 0.95  # of the better of the others
PATIENCE_S = 20

NGINX = """daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid;
error_log {dir}/nginx.log crit;
events {{ worker_connections 4096; multi_accept on; }}
http {{
  access_log off;
  client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
  uwsgi_temp_path {dir}; scgi_temp_path {dir};
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
    return 204;
  }}
}}
"""
HAPROXY = """global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 10s
  timeout client 10s
  timeout server 10s
frontend bench
  bind 127.0.0.1:{port} ssl crt {dir}/both.pem
  http-request return status 204
"""


@dataclass(frozen=True)
class ShakeWork:
    name: str
    resume: bool


WORKS = [ShakeWork("tls handshakes, full", False), ShakeWork("tls handshakes, resumed", True)]


def find(program):
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")


def free_port():
    with socket.socket() as tcp:
        tcp.bind(("127.0.0.1", 0))
        return tcp.getsockname()[1]


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Servers:
    """The three programs, all with one certificate."""

    def __init__(self, bench):
        self.bench = bench
        self.dir = bench.scratch
        both = self.dir / "both.pem"
        both.write_text(bench.certificate.read_text() + bench.key.read_text())
        both.chmod(0o600)

    def command(self, name, port):
        if name == "ours":
            query = f"cert={self.bench.certificate}&key={self.bench.key}"
            return self.bench.programs["ours"], f"tls://127.0.0.1:{port}?{query}"
        text = NGINX if name == "nginx" else HAPROXY
        conf = self.dir / f"{name}.conf"
        conf.write_text(text.format(dir=self.dir, port=port, cert=self.bench.certificate,
                                    key=self.bench.key))
        if name == "nginx":
            return find("nginx"), "-p", self.dir, "-e", self.dir / "nginx.log", "-c", conf
        return find("haproxy"), "-db", "-q", "-f", conf

    @contextlib.contextmanager
    def serve(self, name, *under):
        """A server that runs while the block does; gives its process and its port."""
        port = free_port()
        command = "taskset", "-c", self.bench.options.cpus[0], *under, *self.command(name, port)
        process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + PATIENCE_S
            while not answers(port) and process.poll() is None and time.monotonic() < until:
                time.sleep(0.02)
            yield process, port
        finally:
            end(process)


def end(process):
    """strace does not pass SIGTERM on; its child is the server."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    with contextlib.suppress(OSError):
        os.kill(int(children[0]) if children else process.pid, signal.SIGTERM)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def drive(servers, work, port, *extent):
    options = servers.bench.options
    command = ["taskset", "-c", options.cpus[1], options.build / "bench/shake"]
    command += ["--tls", servers.bench.certificate, *(["--resume"] if work.resume else [])]
    command += [*extent, f"tls://127.0.0.1:{port}"]
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def time_one(servers, work, name):
    with servers.serve(name) as (process, port):
        extent = "--seconds", servers.bench.options.seconds, "--pid", process.pid
        run = drive(servers, work, port, *extent)
    run["rate"] = run["handshakes"] / run["seconds"]
    run["of_processor"] = run["handshakes"] / run["server_cpu"]
    run["disturbance"] = run["held_back"] / run["seconds"]
    return run


def make_rounds(servers, work, await_quiet):
    """As many undisturbed ones as are asked for, or the least disturbed ones there were."""
    options, rounds = servers.bench.options, []

    def disturbance(round_):
        return max(run["disturbance"] for run in round_.values())

    def good():
        return [r for r in rounds if disturbance(r) <= options.limit]

    while len(good()) < options.rounds and len(rounds) < 2 * options.rounds:
        await_quiet(options.limit)
        order = SERVERS if len(rounds) % 2 == 0 else SERVERS[::-1]
        rounds.append({name: time_one(servers, work, name) for name in order})
    return sorted(rounds, key=disturbance)[:options.rounds]


def count_calls(servers, work, name):
    """System calls for one handshake: two runs, and what is between them."""
    counts = []
    for handshakes in 100, 600:
        out = servers.dir / "strace"
        with servers.serve(name, "strace", "-f", "-c", "-U", "calls,name", "-o", out) as (_, port):
            drive(servers, work, port, "--handshakes", handshakes)
        counts.append(int(re.search(r"(\d+) +total$", out.read_text(), re.M)[1]))
    return (counts[1] - counts[0]) / 500


def measure(bench, await_quiet):
    """For each work the rounds, each a run by name, and the system calls by name."""
    works = [work for work in WORKS if bench.options.only in work.name]
    if not works or find("nginx") is None or find("haproxy") is None:
        return {}
    servers, results = Servers(bench), {}
    for work in works:
        rounds = make_rounds(servers, work, await_quiet)
        calls = {}
        if "strace" not in bench.options.missing and not bench.options.quick:
            calls = {name: count_calls(servers, work, name) for name in SERVERS}
        results[work] = rounds, calls
    return results


def ratios(rounds, name, reference, figure="of_processor"):
    return [round_[name][figure] / round_[reference][figure] for round_ in rounds]


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def print_table(results, limit):
    if not results:
        return
    print(f"{'':26}{'nginx':>10}" + "".join(f"{name:>18}" for name in OTHERS) +
          f"{'rate: nginx':>14}{'ours':>7}   system calls")
    for work, (rounds, calls) in results.items():
        reached = [statistics.median(round_[name][figure] for round_ in rounds)
                   for name, figure in ((REFERENCE, "of_processor"), (REFERENCE, "rate"))]
        cells = [f"{spread(ratios(rounds, name, REFERENCE)):>18}" for name in OTHERS]
        wall = statistics.median(ratios(rounds, "ours", REFERENCE, "rate"))
        told = ", ".join(f"{name} {calls[name]:.1f}" for name in SERVERS if calls)
        print(f"{work.name + mark(rounds, limit):26}{reached[0]:>8,.0f}/s{''.join(cells)}"
              f"{reached[1]:>12,.0f}/s{wall:>7.2f}   {told}")


def mark(rounds, limit):
    worst = [max(run["disturbance"] for run in round_.values()) for round_ in rounds]
    return "*" if sum(w <= limit for w in worst) < min(3, len(rounds)) else ""


def print_targets(results, limit):
    for work, (rounds, _) in results.items():
        ratio, better = min((statistics.median(ratios(rounds, "ours", other)), other)
                            for other in (REFERENCE, "haproxy"))
        met = "met" if ratio >= TARGET else "MISSED"
        print(f"target: {work.name}: ours >= {TARGET:.2f} of {better}'s for a second of processor "
              f"time: {ratio:.2f}{mark(rounds, limit)}, {met}")


def print_json(results):
    for work, (rounds, calls) in results.items():
        for i, round_ in enumerate(rounds):
            for name, run in round_.items():
                print(json.dumps({"work": work.name, "server": name, "figure": "run", "round": i,
                                  **run}))
        for name, value in calls.items():
            print(json.dumps({"work": work.name, "server": name, "per": "handshake",
                              "figure": "calls", "value": value}))
