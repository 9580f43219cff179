# SPDX-License-Identifier: ISC
"""
What the machine does besides: how busy its processors are, what its host takes away, and a wait for
a quiet moment. And what it is, for those who read the figures elsewhere.
"""

import os
import platform
import re
import resource
import time
from pathlib import Path


def processor_seconds():
    """What all processors did since boot: user, nice, system, idle, iowait, irq, softirq, steal."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split(None, 9)[1:9]
    return [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]


def stolen_seconds():
    """What the host of this virtual machine gave to others."""
    return processor_seconds()[7]


def await_quiet(limit):
    """Wait until nothing else goes on, but only for some seconds: it may never be so."""
    for _ in range(10 if limit < 1 else 0):
        before = processor_seconds()
        time.sleep(0.2)
        spent = [b - a for a, b in zip(before, processor_seconds())]
        idle = spent[3] + spent[4]
        if idle >= (1 - limit) * sum(spent):
            return
        time.sleep(0.3)


class Others:
    """What others used of the processors while the block ran, as a share of all of them. Exact to
    some per cent: the kernel counts by ticks. `pids`: who was there before and stays, and is not
    another one."""

    def __init__(self, *pids):
        self.pids = pids

    def ours(self):
        used = [resource.getrusage(who) for who in
                (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        mine = sum(u.ru_utime + u.ru_stime for u in used)
        return mine + sum(process_seconds(pid) for pid in self.pids)

    def __enter__(self):
        self.before, self.ours_before = processor_seconds(), self.ours()
        return self

    def __exit__(self, *_):
        spent = [b - a for a, b in zip(self.before, processor_seconds())]
        busy = sum(spent) - spent[3] - spent[4] - (self.ours() - self.ours_before)
        self.share = max(0.0, busy / max(sum(spent), 0.01))


def process_seconds(pid):
    """Processor time of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def anonymous_bytes(pid):
    """Resident memory that is no file: heap and stacks."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"^RssAnon:\s+(\d+)", status, re.M)[1]) * 1024


def allow_descriptors():
    """As many as may be: 10,000 connections need them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def describe():
    """The kind of machine, not its name."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^model name\s*:\s*(.*)", info, re.M)
    release = re.search(r'^PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text(encoding="utf-8"),
                        re.M)
    return {"processor": model[1] if model else platform.machine(),
            "processors": len(os.sched_getaffinity(0)),
            "virtual": "hypervisor" in info,
            "kernel": ".".join(platform.release().split(".")[:2]),
            "system": release[1] if release else platform.system(),
            "date": time.strftime("%Y-%m-%d", time.gmtime())}
