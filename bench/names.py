#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""
The rows of names: build-bench/bench/names beside a nsd that has an answer for every name.

    names cached     one name over and over, from memory: lookups a second, and what memory grew by
    names uncached   a new name each time, beside bare c-ares asking the same questions

nsd and names have a processor of their own each. As in run.py the rounds of both take turns, and
what is printed is the median of their ratios; that of processor time, as well, is the one that
other work on the machine does not disturb. `names.py [MILLIONS [ROUNDS]]` measures them alone.
"""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import find, free_port

CACHED, UNCACHED = "names cached", "names uncached"
WORKS = (CACHED, UNCACHED)
MILLIONS = 10

# What the project promises: lookups a second of a processor's time, and as a ratio to c-ares.
TARGETS = {CACHED: 1e6, UNCACHED: 0.9}

ZONE = """$ORIGIN test.
$TTL 300
@ SOA ns root 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
* A 192.0.2.1
* AAAA 2001:db8::1
"""
CONFIG = """server:
  ip-address: 127.0.0.1@{port}
  username: ""
  chroot: ""
  zonesdir: "{dir}"
  database: ""
  pidfile: "{dir}/pid"
  xfrdfile: "{dir}/xfrd"
  zonelistfile: "{dir}/zones"
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: test
  zonefile: zone
"""


def answers(port):
    query = b"\0\1\1\0\0\1\0\0\0\0\0\0\1x\4test\0\0\1\0\1"
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.settimeout(0.2)
        try:
            udp.sendto(query, ("127.0.0.1", port))
            return len(udp.recv(512)) > len(query)
        except OSError:
            return False


def await_answers(port):
    until = time.monotonic() + 10
    while not answers(port):
        assert time.monotonic() < until, "nsd does not answer"
        time.sleep(0.05)


@contextlib.contextmanager
def serving(zone, cpu):
    """A nsd while the block runs; its port."""
    with tempfile.TemporaryDirectory() as scratch:
        port = free_port()
        for name, text in ("zone", zone), ("conf", CONFIG.format(port=port, dir=scratch)):
            Path(scratch, name).write_text(text, encoding="ascii")
        server = subprocess.Popen(["taskset", "-c", cpu, find("nsd"), "-d", "-c", f"{scratch}/conf"],
                                  stderr=subprocess.DEVNULL)
        try:
            await_answers(port)
            yield port
        finally:
            server.terminate()
            server.wait()


def run(build, cpus, millions, rounds):
    """What bench/names prints, a dict for each line."""
    with serving(ZONE, cpus[0]) as port:
        command = ["taskset", "-c", cpus[1], build / "bench/names", f"127.0.0.1:{port}",
                   str(millions), str(rounds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def measure(bench):
    """For each work its lines."""
    options = bench.options
    works = [work for work in WORKS if options.only in work]
    if not works:
        return {}
    if find("nsd") is None:
        bench.note("nsd is not installed: names are not measured")
        return {}
    millions = 0.1 if options.quick else MILLIONS
    lines = run(options.build, options.cpus, millions if CACHED in works else 0,
                options.rounds if UNCACHED in works else 0)
    split = {CACHED: [line for line in lines if "rate" in line],
             UNCACHED: [line for line in lines if "round" in line]}
    return {work: split[work] for work in works}


def ratios(rounds):
    return [round_["ours"] / round_["c-ares"] for round_ in rounds]


def figure(work, lines):
    """What the target is about."""
    return lines[0]["of_processor"] if work == CACHED else statistics.median(ratios(lines))


def print_table(results):
    for line in results.get(CACHED, []):
        print(f"{CACHED:36}{line['rate']:,.0f}/s, {line['of_processor']:,.0f}/s of processor time; "
              f"{line['more_kib']:,} KiB more memory after {line['lookups']:,}")
    rounds = results.get(UNCACHED)
    if rounds:
        ours, theirs = (statistics.median(round_[who] for round_ in rounds)
                        for who in ("ours", "c-ares"))
        all_of_it = ratios(rounds)
        cpu = statistics.median(round_["cpu"] for round_ in rounds)
        print(f"{UNCACHED:36}{ours:,.0f}/s, c-ares {theirs:,.0f}/s; ratio "
              f"{statistics.median(all_of_it):.2f} ({min(all_of_it):.2f}-{max(all_of_it):.2f}), "
              f"{cpu:.2f} by processor time")


def print_targets(results):
    for work, lines in results.items():
        found, bound = figure(work, lines), TARGETS[work]
        met = "met" if found >= bound else "MISSED"
        print(f"target: {work}: >= {bound:,.10g}: {found:,.{0 if bound > 1 else 2}f}, {met}")


def print_json(results):
    for work, lines in results.items():
        for line in lines:
            print(json.dumps({"work": work, "figure": "run", **line}))


def main():
    root = Path(__file__).resolve().parent.parent
    millions, rounds = (*sys.argv[1:], *(str(MILLIONS), "9")[len(sys.argv) - 1:])
    cpus = sorted(os.sched_getaffinity(0))
    both = str(cpus[0]), str(cpus[1 % len(cpus)])
    lines = run(root / "build-bench", both, float(millions), int(rounds))
    results = {CACHED: [line for line in lines if "rate" in line],
               UNCACHED: [line for line in lines if "round" in line]}
    print_table(results)
    print_targets({work: lines for work, lines in results.items() if lines})


if __name__ == "__main__":
    main()
