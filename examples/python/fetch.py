#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The body of an http or https URI, to standard output: fetch.py URI [CA-FILE]"""

import sys
import urllib.parse

import conduit

uri, answer, ends = urllib.parse.urlsplit(sys.argv[1]), [], []
request = f"GET {uri.path or '/'} HTTP/1.0\r\nHost: {uri.netloc}\r\n\r\n".encode()
ctx = conduit.Context()
ctx.connect(sys.argv[1], tls=[("ca", ca) for ca in sys.argv[2:]],
            on_open=lambda conn: conn.write(request),
            on_data=lambda conn, data: answer.append(data),
            on_close=lambda conn, why: ends.append(why))
ctx.run()
if ends[0] is not None:
    sys.exit(str(ends[0]))
sys.stdout.buffer.write(b"".join(answer).partition(b"\r\n\r\n")[2])
