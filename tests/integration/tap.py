# SPDX-License-Identifier: ISC
"""Tests in Python, told in TAP: a test is a title and a function that asserts, or raises Skip.

Most scripts register theirs with @check, and run_checks() gives each a Room of its own, so that
those which mostly wait can wait at once.
"""

import os
import signal
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

from peers import Room, Skip

CHECKS = []


def check(title, *rows):
    """Register a function of a room as a test; or as one for each row, with its words in the title
    and as arguments."""
    def register(function):
        for row in rows or [()]:
            row = row if isinstance(row, tuple) else (row,)
            CHECKS.append((title.format(*row), function, row))
        return function
    return register


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


def outcomes(tests, at_once):
    """(title, outcome, detail) of each, in their order."""
    if at_once == 1:
        for title, function in tests:
            yield title, *outcome_of(function)
        return
    with ThreadPoolExecutor(at_once) as pool:
        begun = [(title, pool.submit(outcome_of, function)) for title, function in tests]
        try:
            for title, future in begun:
                yield title, *future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def run(tests, at_once=1):
    """Run an iterable of (title, function)."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # cleaning up on the way
    number = 0
    print("TAP version 13")
    for number, (title, outcome, detail) in enumerate(outcomes(tests, at_once), 1):
        print(f"{outcome} {number} - {title}{detail}", flush=True)
    print(f"1..{number}")


def run_checks(at_once=1):
    """The main program of a script whose arguments are BUILD-FOLDER SOURCE-FOLDER [WORD]: run what
    was registered, of titles with that word."""
    build, source, *word = sys.argv[1:]

    def in_room(function, row, certs):
        with Room(build, source, certs) as room:
            function(room, *row)
    with Room(build, source) as first:
        run(((title, lambda f=function, r=row: in_room(f, r, first.certs))
             for title, function, row in CHECKS if not word or word[0] in title), at_once)
