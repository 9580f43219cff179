#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A server that echoes: echo.py URI..."""

import contextlib
import sys

import conduit


def echo(conn, data):
    if not conn.write(data):
        conn.pause()  # let the peer wait, too


ctx = conduit.Context()
with contextlib.suppress(KeyboardInterrupt):
    for place in sys.argv[1:]:
        listener = ctx.listen(place, on_data=echo, on_drain=lambda conn: conn.resume())
        print(*(f"listening {uri}" for uri in listener.uris()), sep="\n", flush=True)
    ctx.run()
