#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The Python binding in examples/python: its two programs beside real peers, and its promises.

    binding.py BUILD-FOLDER SOURCE-FOLDER     results in TAP
"""

import asyncio
import importlib.util
import os
import signal
import socket
import sys
import threading

from peers import Room, Skip, free_port
from tap import run

BUILD, SOURCE = (os.path.abspath(path) for path in sys.argv[1:3])
FOLDER = os.path.join(SOURCE, "examples", "python")
os.environ["CONDUIT_INCLUDE"] = os.path.join(SOURCE, "include")
os.environ["CONDUIT_LIBRARY"] = os.path.join(BUILD, "libconduit-net.so.0")
DATA = os.urandom(3_000_000)


def binding():
    if importlib.util.find_spec("cffi") is None:
        raise Skip("no cffi here")
    if FOLDER not in sys.path:
        sys.path.insert(0, FOLDER)
    return importlib.import_module("conduit")


def echoes(room):
    binding()
    tls = f"tls://127.0.0.1:0?cert={room.cert('server.pem')}&key={room.cert('server.key')}"
    server = room.start(sys.executable, os.path.join(FOLDER, "echo.py"), "tcp://127.0.0.1:0", tls,
                        "unix:" + room.path("e.sock"))
    for uri in server.uris(3):
        done = room.run_ours("echo-client", "--ca", room.cert("ca.pem"), uri, given=DATA)
        assert done.code == 0, done
    assert not server.text().count("Traceback"), server.text()


def fetches(room):
    binding()
    plain, _, tls = room.nginx({"file": DATA})
    fetch = [sys.executable, os.path.join(FOLDER, "fetch.py")]
    done = room.run(*fetch, f"http://127.0.0.1:{plain}/file")
    assert done.out == DATA, done
    done = room.run(*fetch, f"https://localhost:{tls}/file", room.cert("ca.pem"))
    assert done.out == DATA, done
    done = room.run(*fetch, f"https://localhost:{tls}/file", room.cert("other-ca.pem"))
    assert done.code == 1 and done.out == b"" and "signed by" in done.err, done
    done = room.run(*fetch, f"http://127.0.0.1:{free_port()}/")
    assert done.code == 1 and "Connection refused" in done.err, done


def raises(_):
    """Of a call that answers now; what answers later comes to on_close."""
    conduit = binding()
    ends = []
    with conduit.Context() as ctx:
        for uri, code in (("nonsense", "EURI"), ("tcp://127.0.0.1:1?vrify=no", "EINVAL")):
            try:
                ctx.connect(uri)
            except conduit.Error as error:
                assert error.code in (code, "EURI"), error.code
            else:
                raise AssertionError(uri)
        ctx.connect(f"tcp://127.0.0.1:{free_port()}", on_close=lambda conn, why: ends.append(why))
        ctx.run()
        assert [why.code for why in ends] == ["EREFUSED"], ends
        assert not ctx._alive


def passes_exceptions_on(_):
    conduit = binding()
    for event in ("on_open", "on_data", "on_close"):
        with conduit.Context() as ctx:
            listener = ctx.listen("tcp://127.0.0.1:0", on_data=lambda conn, data: conn.write(data))
            handlers = {"on_open": lambda conn: conn.write(b"x"),
                        "on_data": lambda conn, data: conn.close(), event: lambda *_: 1 // 0}
            conn = ctx.connect(listener.uris()[0], **handlers)
            try:
                ctx.run()
            except ZeroDivisionError:
                pass
            else:
                raise AssertionError(event + " was swallowed")
        conn.write(b"after the end")


def keeps_nothing(_):
    """A thousand connections, each with closures that only C knows of, and no more than before."""
    conduit = binding()
    left = [1000]
    with conduit.Context() as ctx:
        listener = ctx.listen("inproc://x", on_data=lambda conn, data: conn.write(data))

        def again():
            ctx.connect("inproc://x", on_open=lambda conn: conn.write(b"x" * left[0]),
                        on_data=lambda conn, data: conn.close(), on_close=closed)

        def closed(conn, why):
            assert why is None, why
            left[0] -= 1
            if left[0] > 0:
                again()
            else:
                ctx.stop()
        again()
        ctx.run()
        assert left[0] == 0 and len(ctx._alive) <= 2, (left, len(ctx._alive))
        conn = ctx.connect(listener.uris()[0])
    conn.write(b"after the end")
    conn.close()


def ends_at_ctrl_c(room):
    binding()
    server = room.start(sys.executable, os.path.join(FOLDER, "echo.py"), "tcp://127.0.0.1:0")
    server.uris(1)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(20) == 0 and "Traceback" not in server.text(), server.text()


def lives_in_asyncio(_):
    """Beside tasks of another kind, one of which writes from outside of every turn."""
    conduit = binding()
    heard, ends = [], []

    async def both(ctx, listener):
        conn = ctx.connect(listener.uris()[0], on_data=lambda conn, data: heard.append(data),
                           on_close=lambda conn, why: (ends.append(why), ctx.stop()))
        running = asyncio.ensure_future(ctx.arun())
        for i in range(5):
            await asyncio.sleep(0.01)
            conn.write(b"x" * i)
        while sum(map(len, heard)) < 10:
            await asyncio.sleep(0.01)
        conn.close()
        await running

    async def broken(ctx, listener):
        ctx.connect(listener.uris()[0], on_open=lambda conn: 1 // 0)
        await ctx.arun()

    for uri in ("tcp://127.0.0.1:0", "inproc://x"):
        with conduit.Context() as ctx:
            listener = ctx.listen(uri, on_data=lambda conn, data: conn.write(data))
            asyncio.run(asyncio.wait_for(both(ctx, listener), 30))
            assert ends == [None] and b"".join(heard) == b"x" * 10, (ends, heard)
            try:
                asyncio.run(asyncio.wait_for(broken(ctx, listener), 30))
            except ZeroDivisionError:
                heard, ends = [], []
            else:
                raise AssertionError("it was swallowed")


TESTS = [
    ("an echo server in a dozen lines, over TCP, TLS and a Unix socket", echoes),
    ("a fetch in a dozen lines, over http and https", fetches),
    ("mistakes raise, and failures are told", raises),
    ("what a handler raises comes out of run()", passes_exceptions_on),
    ("Ctrl-C ends a program that waits", ends_at_ctrl_c),
    ("asyncio turns it, beside other tasks", lives_in_asyncio),
    ("connections that have ended are forgotten, and say nothing more", keeps_nothing),
]


def main():
    with Room(BUILD, SOURCE) as room:
        def in_room(function):
            try:
                function(room)
            finally:
                room.clean()
        run((title, lambda f=function: in_room(f)) for title, function in TESTS)


main()
