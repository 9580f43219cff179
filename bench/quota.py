# SPDX-License-Identifier: ISC
"""
A share of a processor for each thread of a server, by the kernel's quota (cgroups of version 1,
which takes threads one by one, and root).

How a server grows with its threads is otherwise only seen where there are as many processors as
threads and loads together. A thread that has a tenth of one, and uses it up, does a tenth of the
work; two do two tenths, if nothing is between them. What they share counts all the same: locks,
atomics, memory, caches, the kernel's tables.
"""

import contextlib
import itertools
import os
import time
from pathlib import Path

CPU = Path("/sys/fs/cgroup/cpu")
SHARE = 0.1
PERIOD_US = 20_000
PATIENCE_S = 10
numbers = itertools.count()


@contextlib.contextmanager
def group():
    """An empty one, with its quota. Whoever was in it has to be gone in the end."""
    made = CPU / f"conduit-bench-{os.getpid()}-{next(numbers)}"
    made.mkdir()
    try:
        (made / "cpu.cfs_period_us").write_text(str(PERIOD_US), encoding="ascii")
        (made / "cpu.cfs_quota_us").write_text(str(int(SHARE * PERIOD_US)), encoding="ascii")
        yield made
    finally:
        until = time.monotonic() + PATIENCE_S
        while (made / "tasks").read_text(encoding="ascii") and time.monotonic() < until:
            time.sleep(0.01)
        made.rmdir()


def possible():
    """May we, and is there a kernel that does?"""
    try:
        with group():
            return True
    except OSError:
        return False


def threads_of(pid, n):
    """The n threads that a process starts, as soon as they are there."""
    until = time.monotonic() + PATIENCE_S
    while True:
        threads = sorted(int(entry) for entry in os.listdir(f"/proc/{pid}/task"))
        if len(threads) == n + 1:
            return threads[1:]
        assert time.monotonic() < until, f"there are {len(threads) - 1} threads, and not {n}"
        time.sleep(0.01)


def deal_out(pid, groups, cpus):
    """To each thread of the process a group; they take the processors in turn."""
    for thread, own, cpu in zip(threads_of(pid, len(groups)), groups, itertools.cycle(cpus)):
        (own / "tasks").write_text(str(thread), encoding="ascii")
        os.sched_setaffinity(thread, {int(cpu)})


def used_up(own):
    """In how many of its periods a thread came to the end of its share."""
    stat = dict(line.split() for line in (own / "cpu.stat").read_text(encoding="ascii").splitlines())
    return int(stat["nr_throttled"]) / max(1, int(stat["nr_periods"]))
