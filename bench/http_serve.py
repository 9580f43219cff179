#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""http-serve beside nginx (one worker) and nghttpd (one thread), with the same files, the same
certificate and the same load.

    bench/http_serve.py [--seconds S] [--rounds N] [--only WORD] BUILD-FOLDER

A round is one server after the other, the next round the other way round; what is printed is the
median of the rounds' ratios, ours to theirs: answers per second, bytes per second (which is the
same, for bodies are), and processor time per answer, which a busy machine disturbs less. Server and
load have a processor each. Needs wrk, h2load, nginx and nghttpd; the build should be a release.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../tests/integration"))
from peers import Room, accepts, eventually, free_port  # noqa: E402

SIZES = {"1 KiB": 1024, "100 KiB": 102_400, "10 MiB": 10_485_760}


@dataclass(frozen=True)
class Work:
    name: str
    peer: str            # nginx, nghttpd, or ourselves with another number of threads
    size: str
    tls: bool = False
    h2: bool = False
    target: float = 0.8  # ours to theirs, at least


WORKS = [Work(f"{'https' if tls else 'http'} {size}", "nginx", size, tls,
              target=0.9 if size == "10 MiB" else 0.8)
         for tls in (False, True) for size in SIZES]
WORKS += [Work("h2c 1 KiB, 100 x 100 streams", "nghttpd", "1 KiB", h2=True, target=0.9),
          Work("h2 1 KiB, 100 x 100 streams", "nghttpd", "1 KiB", True, True, 0.9),
          Work("http 1 KiB, two threads to one", "one thread", "1 KiB", target=1.7)]

NGINX = """daemon off; master_process off; pid {dir}/pid; error_log {dir}/log crit;
worker_rlimit_nofile 4096;
events {{ worker_connections 2048; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; root {dir}/files;
client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
ssl_certificate {dir}/certs/server.pem; ssl_certificate_key {dir}/certs/server.key;
server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl; }} }}
"""


@dataclass
class Served:
    server: object
    port: dict = field(default_factory=dict)  # by `tls`

    def cpu(self):
        return self.server.cpu_seconds()


def pinned(room, *command, cpus="0"):
    return room.start("taskset", "-c", cpus, *command)


def start_ours(room, threads):
    server = pinned(room, room.program("http-serve"), "--root", room.path("files"), "--cert",
                    room.cert("server.pem"), "--key", room.cert("server.key"), "--threads",
                    str(threads), "http://127.0.0.1:0", "https://127.0.0.1:0",
                    cpus="0" if threads == 1 else "0,1")
    ports = [int(re.search(r":(\d+)(\?|$)", uri)[1]) for uri in server.uris(2)]
    return Served(server, {False: ports[0], True: ports[1]})


def start_nginx(room):
    served = Served(None, {False: free_port(), True: free_port()})
    with open(room.path("nginx.conf"), "w", encoding="utf-8") as file:
        file.write(NGINX.format(dir=room.dir, plain=served.port[False], tls=served.port[True]))
    served.server = pinned(room, "nginx", "-c", room.path("nginx.conf"), "-e", room.path("log"))
    eventually(lambda: accepts(served.port[False]), "nginx listens")
    return served


def start_nghttpd(room, tls):
    served = Served(None, {tls: free_port()})
    how = [room.cert("server.key"), room.cert("server.pem")] if tls else []
    served.server = pinned(room, "nghttpd", *([] if tls else ["--no-tls"]), "-n", "1", "-d",
                           room.path("files"), "-a", "127.0.0.1", str(served.port[tls]), *how)
    eventually(lambda: accepts(served.port[tls]), "nghttpd listens")
    return served


def answers(text, size):
    """How many wrk got; of long ones the part that there was time for counts, too."""
    whole, read, unit = re.search(r"(\d+) requests in .*?, ([\d.]+)([KMG]B) read", text).groups()
    long = size > 1_000_000
    return float(read) * {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}[unit] / size if long else \
        int(whole)


def load(work, served, seconds):
    """Answers per second, and processor time of the server per answer."""
    scheme = "https" if work.tls else "http"
    uri = f"{scheme}://127.0.0.1:{served.port[work.tls]}/{SIZES[work.size]}"
    command = ["taskset", "-c", "1"] + (
        ["h2load", "-c", "100", "-m", "100", "-t", "1", "-n", str(20_000 * seconds), uri]
        if work.h2 else ["wrk", "-t1", "-c32", f"-d{seconds}s", "--timeout", "30s", uri])
    cpu, began = served.cpu(), time.monotonic()
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    cpu, took = served.cpu() - cpu, time.monotonic() - began
    if work.h2:
        assert re.search(r" 0 failed, 0 errored, 0 timeout", text), text
        rate = float(re.search(r"finished in .*?, ([\d.]+) req/s", text)[1])
    else:
        assert "Socket errors" not in text and "Non-2xx" not in text, text
        rate = answers(text, SIZES[work.size]) / float(re.search(r"requests in ([\d.]+)s", text)[1])
    return rate, cpu / max(1, rate * took)


def start(room, work, ours):
    if ours:
        return start_ours(room, 2 if work.peer == "one thread" else 1)
    if work.peer == "nginx":
        return start_nginx(room)
    return start_nghttpd(room, work.tls) if work.peer == "nghttpd" else start_ours(room, 1)


def one(options, room, work, ours):
    served = start(room, work, ours)
    load(work, served, 1)
    result = load(work, served, options.seconds)
    served.server.end()
    return result


def measure(options, room, work):
    rounds = []
    for i in range(options.rounds):
        order = (True, False) if i % 2 == 0 else (False, True)
        found = {ours: one(options, room, work, ours) for ours in order}
        rounds.append((found[True], found[False]))
    ours, theirs = (statistics.median(r[side][0] for r in rounds) for side in (0, 1))
    ratio = statistics.median(r[0][0] / r[1][0] for r in rounds)
    cpu = statistics.median(r[1][1] / r[0][1] for r in rounds)
    size = SIZES[work.size] / 1e6
    print(f"{work.name:32} {work.peer:10} {ours:9.0f}/s {theirs:9.0f}/s {ours * size:7.0f} MB/s "
          f"{ratio:6.2f} (>= {work.target})   per processor second {cpu:5.2f}", flush=True)
    return ratio


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("build")
    options = parser.parse_args()
    source = os.path.join(os.path.dirname(__file__), "..")
    with Room(options.build, source) as room:
        os.mkdir(room.path("files"))
        for size in SIZES.values():
            with open(os.path.join(room.path("files"), str(size)), "wb") as file:
                file.write(os.urandom(size))
        print(f"{'':32} {'peer':10} {'ours':>11} {'theirs':>11} {'ours':>12} {'ratio':>6}")
        for work in WORKS:
            if options.only in work.name:
                measure(options, room, work)


main()
