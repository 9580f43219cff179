#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""
The bench: our library beside those who do the same work without it, in one run of some minutes.
One table, and a line of JSON for each measurement. harness.py says how a row is measured, each
group of rows has a file of its own, and report.py makes the table and judges the targets.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import churn
import connects
import echo
import harness
import machine
import names
import page
import pairs
import relay
import report
import scale
import standing

ROOT = Path(__file__).resolve().parent.parent
GROUPS = (echo, churn, relay, standing, scale, connects, pairs)


def default_cpus():
    """The server's, the load's, and those that more threads of both take."""
    cpus = sorted(os.sched_getaffinity(0))
    return ",".join(str(cpu) for cpu in (cpus if len(cpus) > 1 else cpus * 2))


def parse_options():
    parser = argparse.ArgumentParser(description="our library beside those who do without it")
    add = parser.add_argument
    add("--build", type=Path, default=ROOT / "build-bench", help="the folder it was built in")
    add("--quick", action="store_true", help="only see that everything runs")
    add("--only", default="", metavar="TEXT", help='the works with TEXT in the name: "tls bulk"')
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=0.4, help="for one run of a round")
    add("--limit", type=float, default=0.05, help="the share of a run that others may disturb")
    add("--no-counts", dest="counts", action="store_false", help="neither callgrind nor strace")
    add("--cpus", default=default_cpus(),
        help="the server's, the load's, and those of more threads")
    add("--lines", type=Path, metavar="FILE",
        help="where a line of JSON for each measurement goes; build-bench/lines.json")
    add("--read", type=Path, metavar="FILE", help="measure nothing: take these lines")
    add("--page", action="store_true", help="write the tables and the plot of docs/ from it, too")
    add("--keep", type=Path, metavar="DIR", help="leave callgrind's files there")
    options = parser.parse_args()
    options.cpus = options.cpus.split(",")
    options.lines = options.lines or options.build / "lines.json"
    options.missing = [tool for tool in harness.TOOLS.values() if shutil.which(tool) is None]
    if options.quick:
        options.rounds, options.seconds, options.limit = 1, 0.05, float("inf")
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    return options


def measure_names(bench):
    """names.py measures by itself; what it found, as lines."""
    for work, lines in names.measure(bench).items():
        for line in lines:
            if work == names.CACHED:
                bench.add(work, "ours", "lookup", rate=line["rate"], cpu=1 / line["of_processor"])
                continue
            for who in "ours", "c-ares":
                bench.add(work, who, "lookup", round=line["round"], rate=line[who],
                          cpu=1 / line[f"{who}_of_processor"])


def known_names():
    return [*(work.name for group in GROUPS for work in group.WORKS), *names.WORKS]


def measure(options):
    if not any(options.only in name for name in known_names()):
        raise harness.Failure(f"{options.only}: none of {', '.join(known_names())}")
    with harness.scratch_folder() as scratch:
        bench = harness.Bench(options, Path(scratch))
        bench.put(machine=machine.describe(), rounds=options.rounds, seconds=options.seconds,
                  limit=options.limit)
        begun = time.monotonic()
        for group in GROUPS:
            group.measure(bench)
        measure_names(bench)
        for tool in options.missing:
            bench.note(f"{tool} is not installed: nothing was counted with it")
        bench.put(minutes=round((time.monotonic() - begun) / 60, 1))
    return bench.lines


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def main():
    options = parse_options()
    try:
        lines = read_lines(options.read) if options.read else measure(options)
    except harness.Failure as failure:
        sys.exit(f"bench: {failure}")
    results = report.Results(lines)
    report.print_table(results)
    for line in lines:
        if "note" in line:
            print(line["note"])
    if not options.quick:
        report.print_targets(results, [name for name in known_names() if options.only in name])
    if options.page:
        page.write(ROOT / "docs", lines, results, known_names())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are ended
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
