# SPDX-License-Identifier: ISC
"""
The rows of vchan: two processes, one connection, over four things in turn.

    socket   a bare Unix socket: the reference
    vchan    our library over shared memory
    unix     our library over a Unix socket
    ring     a bare ring in shared memory, waiting as vchan does: what there is to be had

As in run.py a round is all four next to each other, the next one the other way round, and what is
printed is the median of the rounds' ratios. pair.c is both ends, each on a processor of its own.
"""

import json
import statistics
import subprocess
from dataclasses import dataclass

REFERENCE = "socket"
OTHERS = ("vchan", "unix", "ring")


@dataclass(frozen=True)
class PairWork:
    name: str
    mode: str
    size: int
    spin: int  # microseconds that vchan and the bare ring look before they sleep


WORKS = [
    PairWork("vchan ping-pong 1 x 64 B", "pingpong", 64, 100),
    PairWork("vchan ping-pong 1 x 64 B, no spin", "pingpong", 64, 0),
    PairWork("vchan bulk 1 x 64 KiB", "bulk", 64 * 1024, 100),
]

# What the project promises of vchan, as a ratio to something else of the same round.
NAMES = {"socket": "a Unix socket", "ring": "a bare ring"}
TARGETS = [
    (WORKS[0], "socket", 15),
    (WORKS[1], "socket", 1),
    (WORKS[2], "socket", 3),
    (WORKS[2], "ring", 0.7),
]


def run(options, work, over):
    command = [options.build / "bench/pair", "--over", over, "--work", work.mode]
    command += ["--size", work.size, "--spin", work.spin, "--seconds", options.seconds]
    command += ["--cpus", ",".join(options.cpus)]
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def measure(options, await_quiet):
    """For each work the rounds, each a run by name."""
    results = {work: [] for work in WORKS if options.only in work.name}
    for work, rounds in results.items():
        for i in range(options.rounds):
            await_quiet(options.limit)
            order = (REFERENCE, *OTHERS) if i % 2 == 0 else (*reversed(OTHERS), REFERENCE)
            rounds.append({over: run(options, work, over) for over in order})
    return results


def ratios(rounds, over, to=REFERENCE):
    return [round_[over]["rate"] / round_[to]["rate"] for round_ in rounds]


def print_table(results):
    print(f"{'':36}{'socket':>14}" + "".join(f"{over:>24}" for over in OTHERS))
    for work, rounds in results.items():
        rate = statistics.median(round_[REFERENCE]["rate"] for round_ in rounds)
        cells = [f"{rate:,.0f} {rounds[0][REFERENCE]['unit']}"]
        for over in OTHERS:
            all_of_it = ratios(rounds, over)
            middle = statistics.median(all_of_it)
            cells.append(f"{middle:.2f} ({min(all_of_it):.2f}-{max(all_of_it):.2f})")
        print(f"{work.name:36}{cells[0]:>14}" + "".join(f"{cell:>24}" for cell in cells[1:]))


def print_targets(results):
    for work, to, bound in TARGETS:
        if work not in results:
            continue
        ratio = statistics.median(ratios(results[work], "vchan", to))
        met = "met" if ratio >= bound else "MISSED"
        print(f"target: {work.name}: vchan >= {bound:.2f} of {NAMES[to]}: {ratio:.2f}, {met}")


def print_json(results):
    for work, rounds in results.items():
        for i, round_ in enumerate(rounds):
            for run_ in round_.values():
                print(json.dumps({"work": work.name, "figure": "run", "round": i, **run_}))
