# SPDX-License-Identifier: ISC
"""Tests in Python, told in TAP: a test is a title and a function that asserts, or raises Skip."""

import os
import signal
import sys
import traceback

from peers import Skip


def outcome_of(function):
    try:
        function()
        return "ok", ""
    except Skip as why:
        return "ok", f" # SKIP {why}"
    except Exception:  # the report of one test; the others go on
        return "not ok", "".join(f"\n# {line}" for line in traceback.format_exc().splitlines())


def say(text):
    """A remark, as a figure that was measured."""
    print(f"# {text}")


def run(tests):
    """Run an iterable of (title, function)."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # cleaning up on the way
    number = 0
    print("TAP version 13")
    for number, (title, function) in enumerate(tests, 1):
        outcome, detail = outcome_of(function)
        print(f"{outcome} {number} - {title}{detail}", flush=True)
    print(f"1..{number}")
