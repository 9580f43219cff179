#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What an operation costs examples/echo-server, held to a ceiling.

    run.py BUILD-FOLDER SOURCE-FOLDER      results in TAP

Instructions in user space (callgrind) and system calls (strace) do not depend on what else the
machine does: they repeat to the last per cent, so a change that makes an operation dearer is seen
here. Each is counted with a few operations and with many; the difference is divided by the
difference, so that starting up is not in it. One connection: each request is a turn of the loop.

Whether a read, or a wait, comes a moment before the peer's bytes or after them is the scheduler's
affair, and over a connection's life it makes several calls more or less. There only those count
that are no wait and did not fail (EAGAIN); a request in lock step has no such moments. But who
comes alone is not to cost an accept in vain: all of those count.

Memory is what is resident and no file, for each connection that was served once and is silent.

A ceiling is what was measured when it was set and some per cent. Who raises one says why.
"""

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile

BUILD, SOURCE = sys.argv[1:3]
sys.path.insert(0, f"{SOURCE}/tests/integration")

import tap  # noqa: E402
from peers import Skip  # noqa: E402

FEW, MANY = 100, 600
CONNECTIONS = 20, 120
SILENT = 20, 220
PATIENCE_S = 60
# To callgrind `rep movsb` is an instruction for each byte: let glibc copy with others. And what is
# allocated is not to be filled, as meson has it for the other tests.
ENVIRONMENT = {**os.environ, "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-ERMS"}
ENVIRONMENT.pop("MALLOC_PERTURB_", None)

# In how many pieces a handshake comes is the scheduler's affair, too: the least of some.
COUNTS = {("connection", "calls"): 4}
ACCEPTS = 1.3
# (what, scheme) -> instructions, system calls
CEILINGS = {
    ("request", "tcp"): (835, 3.1),
    ("request", "unix"): (835, 3.1),
    ("request", "tls"): (16300, 3.1),
    ("connection", "tcp"): (4050, 7.2),
    ("connection", "tls"): (None, 17.0),  # the cryptography is OpenSSL's, and all there is to see
}
# What OpenSSL holds for a connection is 17,200 bytes with the keys that a handshake exchanges.
SILENT_BYTES = {"tls": 15200}


class Bench:
    def __init__(self, folder):
        self.folder = folder
        self.certificate, self.key = f"{folder}/cert.pem", f"{folder}/key.pem"
        words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        words += " -subj /CN=localhost"
        subprocess.run([*words.split(), "-keyout", self.key, "-out", self.certificate], check=True,
                       capture_output=True)
        os.chmod(self.key, 0o600)

    def uri(self, scheme):
        if scheme == "unix":
            return f"unix:{self.folder}/echo.sock"
        query = f"?cert={self.certificate}&key={self.key}" if scheme == "tls" else ""
        return f"{scheme}://127.0.0.1:0{query}"

    @contextlib.contextmanager
    def serve(self, scheme, *under):
        """The server under a tool; gives the port."""
        command = [*under, f"{BUILD}/examples/echo-server", self.uri(scheme)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                 text=True, env=ENVIRONMENT)
        self.pid = child.pid
        try:
            assert select.select([child.stdout], [], [], PATIENCE_S)[0], "the server does not listen"
            yield child.stdout.readline().strip()
        finally:
            end(child)

    def connect(self, scheme, place):
        if scheme == "unix":
            end_ = socket.socket(socket.AF_UNIX)
            end_.connect(f"{self.folder}/echo.sock")
            return end_
        port = int(re.search(r":(\d+)(\?|$)", place)[1])
        end_ = socket.create_connection(("127.0.0.1", port))
        end_.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if scheme == "tls":
            context = ssl.create_default_context(cafile=self.certificate)
            context.check_hostname = False
            context.set_ecdh_curve("prime256v1")  # whose keys are the largest that are usual
            end_ = context.wrap_socket(end_, suppress_ragged_eofs=False)
        return end_

    def load(self, what, scheme, place, times):
        if what == "request":
            with self.connect(scheme, place) as end_:
                for _ in range(times):
                    echo(end_, b"x" * 64)
                say_goodbye(end_)
            return
        for _ in range(times):
            with self.connect(scheme, place) as end_:
                echo(end_, b"x")
                say_goodbye(end_)

    def instructions(self, what, scheme, times):
        out = f"{self.folder}/callgrind"
        with self.serve(scheme, "valgrind", "-q", "--tool=callgrind",
                        f"--callgrind-out-file={out}") as place:
            self.load(what, scheme, place, times)
        with open(out, encoding="utf-8") as file:
            return int(re.search(r"^(?:totals|summary): (\d+)", file.read(), re.M)[1])

    def trace(self, what, scheme, times):
        """Rows of (calls, of them failed, name)."""
        out = f"{self.folder}/strace"
        with self.serve(scheme, "strace", "-f", "-c", "-U", "calls,errors,name", "-o", out) as place:
            self.load(what, scheme, place, times)
        with open(out, encoding="utf-8") as file:
            rows = re.findall(r"^ *(\d+) +(\d+)? +(\w+)$", file.read(), re.M)
        return [(int(calls), int(failed or 0), name) for calls, failed, name in rows
                if name != "total"]

    def calls(self, what, scheme, times):
        rows = self.trace(what, scheme, times)
        if what == "request":
            return sum(calls for calls, _, name in rows)
        return sum(calls - failed for calls, failed, name in rows
                   if name not in ("epoll_wait", "epoll_pwait"))

    def accepts(self, what, scheme, times):
        return sum(calls for calls, _, name in self.trace(what, scheme, times)
                   if name == "accept4")

    def memory(self, scheme, times):
        """Of the server, while so many connections are silent."""
        with self.serve(scheme) as place, contextlib.ExitStack() as connections:
            for _ in range(times):
                echo(connections.enter_context(self.connect(scheme, place)), b"x")
            with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as file:
                return 1024 * int(re.search(r"^Anonymous: +(\d+) kB", file.read(), re.M)[1])


def echo(end_, data):
    end_.sendall(data)
    got = b""
    while len(got) < len(data):
        part = end_.recv(len(data))
        assert part, "the server has hung up"
        got += part


def say_goodbye(end_):
    """And hear it: a server that is ended meanwhile, or loads the texts of errors, counts other things."""
    if isinstance(end_, ssl.SSLSocket):
        end_.unwrap()
    else:
        end_.shutdown(socket.SHUT_WR)
        assert end_.recv(1) == b""


def end(child):
    """SIGTERM for the server itself; strace, which would not pass it on, has it as its child."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{child.pid}/task/{child.pid}/children", encoding="ascii") as file:
            children = file.read().split()
        os.kill(int(children[0]) if children else child.pid, signal.SIGTERM)
    try:
        child.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()


def test(bench, what, scheme, figure, ceiling):
    tool = "valgrind" if figure == "instructions" else "strace"
    if shutil.which(tool) is None:
        raise Skip(f"{tool} is not installed")
    few, many = (FEW, MANY) if what == "request" else CONNECTIONS
    count = getattr(bench, figure)
    each = min((count(what, scheme, many) - count(what, scheme, few)) / (many - few)
               for _ in range(COUNTS.get((what, figure), 1)))
    tap.say(f"{scheme}: {each:,.2f} {figure} a {what}, at most {ceiling:,.2f}")
    assert each <= ceiling, f"{each:,.2f} {figure} a {what}; the ceiling is {ceiling:,.2f}"


def test_silent(bench, scheme, ceiling):
    few, many = SILENT
    each = (bench.memory(scheme, many) - bench.memory(scheme, few)) / (many - few)
    tap.say(f"{scheme}: {each:,.0f} bytes a silent connection, at most {ceiling:,}")
    assert each <= ceiling, f"{each:,.0f} bytes a silent connection; the ceiling is {ceiling:,}"


def tests(bench):
    for (what, scheme), (instructions, calls) in CEILINGS.items():
        for figure, ceiling in ("instructions", instructions), ("calls", calls):
            if ceiling is not None:
                yield (f"{scheme}: {figure} a {what}",
                       lambda w=what, s=scheme, f=figure, c=ceiling: test(bench, w, s, f, c))
    for scheme, ceiling in SILENT_BYTES.items():
        yield (f"{scheme}: memory of a silent connection",
               lambda s=scheme, c=ceiling: test_silent(bench, s, c))
    yield ("tcp: accepts a connection",
           lambda: test(bench, "connection", "tcp", "accepts", ACCEPTS))


with tempfile.TemporaryDirectory() as scratch:
    tap.run(tests(Bench(scratch)))
