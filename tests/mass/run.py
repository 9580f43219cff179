#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Masses of connections to one examples/echo-server.

    run.py BUILD-FOLDER SOURCE-FOLDER [--sanitized]      results in TAP

Held: so many connections at once, each of which echoes, and once more all of them together. Churned:
so many that come, echo and go, after which the server and the client have the descriptors they had,
and next to no more memory.

CONDUIT_MASS=all is the deep run, some minutes; without it there are a few hundred of each. With
sanitizers memory is not looked at: theirs keep what was freed.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time

BUILD, SOURCE = sys.argv[1:3]
SANITIZED = "--sanitized" in sys.argv
sys.path.insert(0, f"{SOURCE}/tests/integration")

import tap  # noqa: E402
from peers import Skip  # noqa: E402

DEEP = os.environ.get("CONDUIT_MASS") == "all"
PATIENCE = 900 if DEEP else 120
MOST_GROWTH = 1024 * 1024
HELD = {"tcp": 15000, "tls": 9000} if DEEP else {"tcp": 600, "tls": 200}
CHURNED = {"tcp": 100000, "tls": 10000} if DEEP else {"tcp": 3000, "tls": 600}
WARM_UP = 2000 if DEEP else 600
PROCESSES = 2  # that hold connections, each from an address of its own


def allow_descriptors():
    """In the child: as many as a process may have, and more than that if it is root's."""
    wanted = max(HELD.values()) + 200
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))


class Process:
    """A program that is asked by lines, and looked at."""

    def __init__(self, *command):
        try:
            self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          text=True, preexec_fn=allow_descriptors)
        except subprocess.SubprocessError as why:
            raise Skip("this user may not have so many descriptors") from why

    def tell(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def answer(self):
        line = self.child.stdout.readline().split()
        assert line and line[0] == "ok", " ".join(line) or f"exit {self.child.wait(10)}"
        return int(line[1]), float(line[2])

    def ask(self, line):
        self.tell(line)
        return self.answer()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def memory(self):
        with open(f"/proc/{self.child.pid}/statm") as numbers:
            return int(numbers.read().split()[1]) * resource.getpagesize()

    def end(self):
        """Its exit status, when it has been told that there is no more."""
        self.child.stdin.close()
        return self.child.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()


def server(scheme, certs):
    identity = ["--cert", f"{certs}/server.pem", "--key", f"{certs}/server.key"]
    process = Process(f"{BUILD}/examples/echo-server", *(identity if scheme == "tls" else []),
                      f"{scheme}://127.0.0.1:0")
    process.uri = process.child.stdout.readline().split()[1].split("?")[0]
    return process


def crowd(uri, certs, address):
    ca = ["--ca", f"{certs}/ca.pem"] if uri.startswith("tls") else []
    return Process(f"{BUILD}/tests/mass/crowd", uri, "--bind", address, *ca)


def becomes(wanted, look):
    """What the other end does last is not done when this end has heard of it."""
    until = time.monotonic() + 30
    while look() != wanted and time.monotonic() < until:
        time.sleep(0.05)
    return look()


def expect_clean_end(*processes):
    for process in processes:
        assert process.end() == 0, f"exit {process.child.returncode}"


def hold(scheme, certs):
    n = HELD[scheme] // PROCESSES
    with server(scheme, certs) as echo, \
            crowd(echo.uri, certs, "127.0.0.2") as one, crowd(echo.uri, certs, "127.0.0.3") as two:
        descriptors, memory = echo.descriptors(), echo.memory()
        figures = []
        for line in (f"open {n}", "echo", "close"):
            if line == "close":
                held, each = echo.descriptors() - descriptors, (echo.memory() - memory) / n / PROCESSES
            one.tell(line)
            two.tell(line)
            answers = one.answer(), two.answer()
            assert [count for count, _ in answers] == [n, n], f"{line}: {answers}"
            figures.append(max(seconds for _, seconds in answers))
        assert held == n * PROCESSES, f"the server has {held} connections of {n * PROCESSES}"
        left = becomes(descriptors, echo.descriptors)
        assert left == descriptors, f"{descriptors} descriptors became {left}"
        expect_clean_end(one, two)
        tap.say(f"{scheme}: {held} held; opened in {figures[0]:.1f} s, all echoed in {figures[1]:.1f} s, "
                f"closed in {figures[2]:.1f} s; {each / 1024:.1f} KiB each in the server")


def churn(scheme, certs):
    n = CHURNED[scheme]
    with server(scheme, certs) as echo, crowd(echo.uri, certs, "127.0.0.4") as client:
        both = {"server": echo, "client": client}
        descriptors = echo.descriptors()
        client.ask(f"churn {WARM_UP}")  # what is kept for the next is there from now on
        becomes(descriptors, echo.descriptors)
        before = {who: (process.descriptors(), process.memory()) for who, process in both.items()}
        count, seconds = client.ask(f"churn {n}")
        assert count == n, count
        for who, process in both.items():
            descriptors, memory = before[who]
            left = becomes(descriptors, process.descriptors)
            growth = process.memory() - memory
            tap.say(f"{scheme}: {count} in {seconds:.1f} s; the {who} has {left} descriptors of {descriptors}, "
                    f"and {growth / 1024:.0f} KiB more")
            assert left == descriptors, f"{who}: {descriptors} descriptors became {left}"
            assert SANITIZED or growth < MOST_GROWTH, f"{who}: {growth} bytes more"
        expect_clean_end(client)


def tests(certs):
    for scheme in ("tcp", "tls"):
        yield f"{HELD[scheme]} connections over {scheme} at once", lambda: hold(scheme, certs)
        yield f"{CHURNED[scheme]} connections over {scheme} that come and go", lambda: churn(scheme, certs)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([f"{SOURCE}/tests/certs/make-certs", directory], check=True)
        tap.run(tests(directory))
