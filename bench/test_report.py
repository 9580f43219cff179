#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What the bench says of rounds whose outcome is known. Results in TAP."""

import sys

sys.dont_write_bytecode = True
import report  # noqa: E402

WORK = "tcp bulk 1 x 64 KiB"  # its rate is to be at least libuv's
CASES = [
    ("met in every round", [(1.1, 1), (2.6, 2), (1.2, 1)], "1.20 (1.10-1.30)", "met"),
    ("missed in every round", [(0.9, 1), (0.8, 1)], "0.85 (0.80-0.90)", "missed"),
    ("a median above, and a round below", [(0.9, 1), (1.2, 1), (1.1, 1)], "1.10 (0.90-1.20)",
     "level"),
    ("a median below, and a round above", [(0.9, 1), (1.2, 1), (0.8, 1)], "0.90 (0.80-1.20)",
     "level"),
    ("one round has no range", [(1, 1)], "1.00", "met"),
    ("no round at all", [], "-", "not measured"),
]


def lines_of(rounds):
    for i, rates in enumerate(rounds):
        for peer, rate in zip(("ours", "uv"), rates):
            yield {"work": WORK, "peer": peer, "per": "MiB", "round": i, "rate": rate}
    if rounds:
        yield {"work": WORK, "peer": "ours", "per": "MiB", "round": 9, "rate": 0.1,
               "left_out": True}
    yield {"note": "is no figure"}


print(f"1..{len(CASES)}")
failed = 0
for number, (what, rounds, found, verdict) in enumerate(CASES, 1):
    said = list(report.verdicts(report.Results(lines_of(rounds)), [WORK]))
    good = said == [(WORK, "rate", ">= 1.00 of uv", found, verdict)]
    failed += not good
    print(f"{'ok' if good else 'not ok'} {number} {what}" + ("" if good else f" # {said}"))
sys.exit(failed > 0)
