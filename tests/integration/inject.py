#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""System calls that fail, at each of the first calls: the server serves on, and the client ends with
the right error or with all of its bytes.

    inject.py BUILD-FOLDER                         the first three calls of each kind
    CONDUIT_INJECT=20 inject.py BUILD-FOLDER       the first twenty

strace makes the calls fail. What libuv calls for itself it answers for itself: without an eventfd
there is no loop (the program says so and ends), and where epoll_ctl fails it aborts, by its own
decision (docs/architecture.md). So for those a program may end, if it is by abort() or with a
message; for all others it may not.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from peers import PATIENCE, Server

BUILD = sys.argv[1]
DEPTH = int(os.environ.get("CONDUIT_INJECT", "3"))
BYTES = os.urandom(5000)
ROUNDS = 16

# The call, how it fails, and may the program end of it?
OF_SERVER = [("accept4", error, False) for error in
             ("EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ECONNABORTED", "EINTR", "EPROTO")]
OF_SERVER += [("recvfrom", error, False) for error in ("EINTR", "ENOMEM", "ECONNRESET")]
OF_SERVER += [("sendto", error, False) for error in ("EINTR", "ENOMEM", "EPIPE")]
OF_SERVER += [("shutdown", "ENOTCONN", False), ("setsockopt", "EINVAL", True),
              ("socket", "EMFILE", True), ("listen", "EADDRINUSE", True),
              ("eventfd2", "EMFILE", True), ("epoll_create1", "EMFILE", True),
              ("epoll_ctl", "ENOMEM", True), ("epoll_ctl", "ENOSPC", True),
              ("read", "EINTR", True), ("openat", "EMFILE", True)]
OF_CLIENT = [("socket", error, False) for error in ("EMFILE", "ENOMEM", "EACCES")]
OF_CLIENT += [("connect", error, False) for error in
              ("EINTR", "ENOMEM", "EADDRNOTAVAIL", "ECONNREFUSED", "ENETUNREACH", "ETIMEDOUT")]
OF_CLIENT += [("recvfrom", error, False) for error in ("EINTR", "ENOMEM", "ECONNRESET")]
OF_CLIENT += [("sendto", error, False) for error in ("EINTR", "ENOMEM", "EPIPE", "ECONNRESET")]
OF_CLIENT += [("eventfd2", "EMFILE", True), ("epoll_create1", "EMFILE", True),
              ("epoll_ctl", "ENOMEM", True), ("epoll_ctl", "ENOSPC", True)]
OF_FILES = [("sendfile", error, False) for error in ("EINVAL", "ENOSYS", "EINTR")]


def injected(call, error, when, program, *arguments):
    return ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
            f"inject={call}:error={error}:when={when}", os.path.join(BUILD, program), *arguments]


def echo(port):
    """One connection of a client that is not ours: did all of its bytes come back?"""
    got = b""
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as s:
            s.settimeout(PATIENCE)
            s.sendall(BYTES)
            s.shutdown(socket.SHUT_WR)
            while piece := s.recv(65536):
                got += piece
    except (ConnectionError, BrokenPipeError):
        return False
    assert got == BYTES[:len(got)], "other bytes came back than were sent"
    return got == BYTES


def port_of(server):
    """Where it listens, or None if it ended before it did."""
    while server.process.poll() is None:
        for line in list(server.lines):
            if line.startswith("listening "):
                return int(line.rsplit(":", 1)[1])
        with server.news:
            server.news.wait(0.05)
    return None


def check_end(code, text, may_end):
    """A program that ended by itself: by its own decision, or by libuv's."""
    assert may_end, f"it ended with {code}: {text}"
    assert code == -signal.SIGABRT or (0 < code < 128 and text), f"it ended with {code}: {text}"


def ended(server, well):
    """Has it? One that is dying refuses clients before it is dead."""
    if well and well[-1]:
        return False
    try:
        server.process.wait(2)
        return True
    except subprocess.TimeoutExpired:
        return False


def check_server(call, error, when, may_end):
    server = Server(injected(call, error, when, "examples/echo-server", "tcp://127.0.0.1:0"))
    try:
        port = port_of(server)
        well = [echo(port) for _ in range(ROUNDS)] if port else []
        if ended(server, well):
            check_end(server.process.returncode, server.text(), may_end)
            return
        assert well.count(False) <= 1, f"{well.count(False)} of {ROUNDS} clients were not served"
        assert well[-1] or echo(port), "it does not serve any more"
    finally:
        server.process.kill()
        server.process.wait()


def check_client(port, call, error, when, may_end):
    command = injected(call, error, when, "tools/conduit-cat", f"tcp://127.0.0.1:{port}")
    done = subprocess.run(command, input=BYTES, capture_output=True, timeout=PATIENCE, check=False)
    text = done.stderr.decode(errors="replace")
    if done.returncode == 0:
        assert done.stdout == BYTES, f"{len(done.stdout)} bytes, and no error"
    elif done.returncode < 0 or done.returncode > 128:
        check_end(done.returncode, text, may_end)
    else:
        assert done.returncode in (3, 4) and text, f"exit {done.returncode}: {text!r}"


def check_file(call, error, when, _):
    """What the kernel does not send as it is arrives all the same, over every transport."""
    command = injected(call, error, when, "tests/test-path", "--filter", "path/a_file_arrives*")
    done = subprocess.run(command, capture_output=True, timeout=4 * PATIENCE, check=False)
    text = done.stderr.decode(errors="replace")
    assert done.returncode == 0 and "Passing: 1 " in text, text


def rows(who, faults, check, times=range(1, DEPTH + 1)):
    for call, error, may_end in faults:
        for when in times:
            try:
                check(call, error, when, may_end)
                yield None, f"{who}: {error} at {call} no. {when}"
            except (AssertionError, OSError, subprocess.TimeoutExpired) as why:
                yield why, f"{who}: {error} at {call} no. {when}"


def can_inject():
    if shutil.which("strace") is None:
        return False
    probe = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=chdir:error=EPERM", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def main():
    if not can_inject():
        print("1..0 # SKIP no strace here, or it may not trace")
        return 0
    quiet = Server([os.path.join(BUILD, "examples/echo-server"), "tcp://127.0.0.1:0"])
    n = failed = 0
    try:
        port = port_of(quiet)
        results = list(rows("server", OF_SERVER, check_server))
        results += rows("client", OF_CLIENT, lambda *row: check_client(port, *row))
        results += rows("file", OF_FILES, check_file, ["2+3"])
        for n, (why, title) in enumerate(results, 1):
            failed += why is not None
            print(f"{'not ' if why else ''}ok {n} - {title}" + (f"\n# {why}" if why else ""))
        print(f"1..{n}")
    finally:
        quiet.process.kill()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
