#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The HTTP examples among others: curl, nghttp and h2load fetch from http-serve, and clients that
break the rules find out.

    http.py BUILD-FOLDER SOURCE-FOLDER [WORD]     results in TAP; WORD: only titles with it

CONDUIT_HTTP_BIG=1 adds a body of 1 GiB to those that are compared by checksum. A program that this
machine lacks is a skipped test.
"""

import hashlib
import os
import re
import signal
import socket
import ssl
import sys
import time

import tap
from peers import PATIENCE, Room, Skip, eventually, need, need_ipv6

TESTS = []
FILES = {"empty": b"", "one": b"1", "text.txt": b"hello\n", "1k": os.urandom(1024),
         "100k": os.urandom(102_400), "10m": os.urandom(10_485_760)}
BIG = os.environ.get("CONDUIT_HTTP_BIG") == "1"
GIB = 1 << 30


def check(title, *rows):
    def register(function):
        for row in rows or [()]:
            row = row if isinstance(row, tuple) else (row,)
            TESTS.append((title.format(*row), function, row))
        return function
    return register


def digest(data):
    return hashlib.sha256(data).hexdigest()


# ---- http-serve, and how to reach it

def make_root(room, big=False):
    root = room.path("www")
    os.makedirs(os.path.join(root, "folder"), exist_ok=True)
    for name, content in FILES.items():
        with open(os.path.join(root, name), "wb") as file:
            file.write(content)
    if big:
        with open(os.path.join(root, "big"), "wb") as file:
            file.truncate(GIB)
            for at in range(0, GIB, 1 << 26):
                file.seek(at)
                file.write(os.urandom(4096))
    return root


class Site:
    """http-serve with a listener of each kind, and what curl has to be told for each."""

    def __init__(self, room, *options, big=False):
        self.room = room
        self.root = make_root(room, big)
        self.server = room.start_ours(
            "http-serve", "--root", self.root, "--cert", room.cert("server.pem"), "--key",
            room.cert("server.key"), "--log", "-", *options, "http://localhost:0",
            "https://localhost:0", f"http+unix://{room.path('s').replace('/', '%2F')}",
            f"https+unix://{room.path('t').replace('/', '%2F')}")
        places = {}
        for uri in self.server.uris(6 if socket.has_ipv6 else 4):
            port = re.search(r":(\d+)(\?|$)", uri)
            kind = uri.partition(":")[0] + ("6" if "[" in uri else "")
            places[kind] = int(port[1]) if port else 0
        self.port, self.port6 = places["tcp"], places.get("tcp6")
        self.tls, self.tls6 = places["tls"], places.get("tls6")

    def curl(self, how, path):
        """(options, URI) of curl for `path` the way `how` says."""
        ca = ["--cacert", self.room.cert("ca.pem")]
        two = ["--http2-prior-knowledge"] if how.startswith("h2c") else \
            ["--http2"] if how.startswith("h2") else ["--http1.1"]
        base = {
            "http": ([], f"http://127.0.0.1:{self.port}"),
            "http6": ([], f"http://[::1]:{self.port6}"),
            "h2c": ([], f"http://127.0.0.1:{self.port}"),
            "https": (ca, f"https://localhost:{self.tls}"),
            "https6": (ca + ["-6"], f"https://localhost:{self.tls6}"),
            "h2": (ca, f"https://localhost:{self.tls}"),
            "h26": (ca + ["-6"], f"https://localhost:{self.tls6}"),
            "unix": (["--unix-socket", self.room.path("s")], "http://localhost"),
            "unix-tls": (ca + ["--unix-socket", self.room.path("t")], "https://localhost"),
            "h2-unix": (ca + ["--unix-socket", self.room.path("t")], "https://localhost"),
            "h2c-unix": (["--unix-socket", self.room.path("s")], "http://localhost"),
        }[how]
        return ["-g", *two, *base[0]], base[1] + path

    def fetch(self, how, path, *options):
        """Status, headers (a dict) and body, as curl got them."""
        need("curl")
        if how.endswith("6"):
            need_ipv6()
        told, uri = self.curl(how, path)
        result = self.room.run("curl", "-sS", "-D", self.room.path("head"), *told, *options, uri,
                               timeout=60)
        assert result.code == 0, str(result)
        with open(self.room.path("head"), encoding="latin-1") as file:
            lines = file.read().strip().split("\n\n")[-1].splitlines()
        return (int(lines[0].split()[1]), lines[0].split()[0],
                dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line),
                result.out)

    def talk(self, data, tls=False, wait=PATIENCE):
        """What a raw client gets for these bytes, until the server closes or falls silent."""
        sock = socket.create_connection(("127.0.0.1", self.tls if tls else self.port), PATIENCE)
        if tls:
            context = ssl.create_default_context(cafile=self.room.cert("ca.pem"))
            sock = context.wrap_socket(sock, server_hostname="localhost")
        with sock:
            sock.sendall(data)
            sock.settimeout(wait)
            return read_all(sock)

    def ended_well(self, number=signal.SIGTERM):
        code = self.server.end(number)
        assert code == 0, f"exit {code}: {self.server.text()}"


def read_all(sock):
    got = b""
    try:
        while more := sock.recv(65536):
            got += more
    except (TimeoutError, ConnectionResetError):
        pass
    return got


def statuses(answer):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", answer)]


GET = b"GET /text.txt HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /text.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

# ---- clients that are not ours

WAYS = ["http", "http6", "https", "https6", "h2", "h26", "h2c", "unix", "unix-tls", "h2-unix",
        "h2c-unix"]


@check("curl fetches bodies of all sizes, over {}", *WAYS)
def curl_fetches(room, how):
    site = Site(room)
    for name, content in FILES.items():
        status, version, headers, body = site.fetch(how, "/" + name)
        assert status == 200 and digest(body) == digest(content), (name, status, len(body))
        assert headers["content-length"] == str(len(content)), headers
        assert version == ("HTTP/2" if "h2" in how else "HTTP/1.1"), version
    site.ended_well()


@check("a body of 1 GiB arrives whole over {}, and the server's memory stays flat", "http", "h2")
def big_body(room, how):
    if not BIG:
        raise Skip("CONDUIT_HTTP_BIG=1 for this")
    site = Site(room, big=True)
    with open(os.path.join(site.root, "big"), "rb") as file:
        wanted = hashlib.file_digest(file, "sha256").hexdigest()
    before = site.server.kilobytes()
    told, uri = site.curl(how, "/big")
    curl = room.start("sh", "-c", 'curl -sS "$@" | sha256sum', "sh", *told, uri)
    assert curl.find(r"^(\w{64})")[1] == wanted
    grown = site.server.kilobytes() - before
    assert grown < 8192, f"{grown} KiB more"


@check("nghttp fetches over HTTP/2, {}", "in the clear", "under TLS")
def nghttp_fetches(room, where):
    need("nghttp")
    site = Site(room)
    uri = f"http://127.0.0.1:{site.port}" if "clear" in where else f"https://localhost:{site.tls}"
    for name in ("text.txt", "100k"):
        result = room.run("nghttp", "--no-verify-peer", f"{uri}/{name}")
        assert result.code == 0 and result.out == FILES[name], str(result)
    listing = room.run("nghttp", "-nv", f"{uri}/text.txt")
    assert b":status: 200" in listing.out, listing.out


@check("h2load: 10 connections of 100 streams, over {}", "h2c", "h2", "http/1.1")
def h2load(room, what):
    need("h2load")
    site = Site(room)
    how = {"h2c": ["-p", "h2c"], "h2": [], "http/1.1": ["--h1"]}[what]
    uri = f"https://localhost:{site.tls}" if what == "h2" else f"http://127.0.0.1:{site.port}"
    result = room.run("h2load", "-n", "20000", "-c", "10", "-m", "100", *how, uri + "/1k",
                      timeout=60)
    assert b"20000 succeeded, 0 failed, 0 errored" in result.out, result.out.decode()
    site.ended_well()


# ---- what is served

@check("ranges: {}", "bytes=0-0", "bytes=10-19", "bytes=1000-", "bytes=-24", "bytes=0-99999999")
def ranges(room, wanted):
    site = Site(room)
    first, _, last = wanted.partition("=")[2].partition("-")
    content = FILES["1k"]
    expected = content[-int(last):] if not first else \
        content[int(first):int(last) + 1 if last else None]
    for how in ("http", "h2"):
        status, _, headers, body = site.fetch(how, "/1k", "-H", f"Range: {wanted}")
        assert status == 206 and body == expected, (status, len(body))
        start = content.find(expected)
        assert headers["content-range"] == f"bytes {start}-{start + len(expected) - 1}/1024", headers


@check("a range beyond the end is 416, a malformed one counts for nothing")
def odd_ranges(room):
    site = Site(room)
    status, _, headers, _ = site.fetch("http", "/1k", "-H", "Range: bytes=1024-")
    assert status == 416 and headers["content-range"] == "bytes */1024", headers
    assert site.fetch("http", "/empty", "-H", "Range: bytes=0-")[0] == 416
    for odd in ("bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=-", "bytes=0-1,5-6",
                "bytes=99999999999999999999-"):
        status, _, _, body = site.fetch("http", "/1k", "-H", f"Range: {odd}")
        assert status == 200 and body == FILES["1k"], (odd, status)


@check("conditional requests")
def conditional(room):
    site = Site(room)
    _, _, headers, _ = site.fetch("http", "/1k")
    etag, date = headers["etag"], headers["last-modified"]
    modified = date.title().replace("Gmt", "GMT")
    old = "Sun, 06 Nov 1994 08:49:37 GMT"
    rows = [(["If-None-Match: " + etag], 304), (['If-None-Match: "a", W/' + etag], 304),
            (["If-None-Match: *"], 304), (['If-None-Match: "a"'], 200),
            (["If-Modified-Since: " + modified], 304), (["If-Modified-Since: " + old], 200),
            (["If-Modified-Since: yesterday"], 200),
            (['If-None-Match: "a"', "If-Modified-Since: " + modified], 200),
            (["If-Match: " + etag], 200), (['If-Match: "a"'], 412), (["If-Match: W/" + etag], 412),
            (["If-Unmodified-Since: " + old], 412), (["If-Unmodified-Since: " + modified], 200),
            (["Range: bytes=0-9", "If-Range: " + etag], 206),
            (["Range: bytes=0-9", 'If-Range: "a"'], 200),
            (["Range: bytes=0-9", "If-Range: " + modified], 206)]
    for fields, wanted in rows:
        for how in ("http", "h2c"):
            status, _, _, body = site.fetch(how, "/1k", *[x for f in fields for x in ("-H", f)])
            assert status == wanted, (fields, how, status)
            assert (body == b"") == (status == 304), (fields, body)


@check("types, HEAD, OPTIONS and methods that are not for files")
def types(room):
    site = Site(room)
    for name, kind in {"a.html": "text/html; charset=utf-8", "a.CSS": "text/css; charset=utf-8",
                       "a.png": "image/png", "a": "application/octet-stream",
                       "a.tar.gz": "application/gzip"}.items():
        with open(os.path.join(site.root, name), "wb") as file:
            file.write(b"x")
        assert site.fetch("http", "/" + name)[2]["content-type"] == kind, name
    for how in ("http", "h2"):
        status, _, headers, body = site.fetch(how, "/1k", "-I")
        assert (status, headers["content-length"]) == (200, "1024"), headers
        assert site.fetch(how, "/", "-X", "OPTIONS")[2]["allow"] == "get, head, options"
        status, _, headers, _ = site.fetch(how, "/1k", "-d", "something")
        assert status == 405 and headers["allow"] == "get, head, options", headers


@check("an index page, which shows names as they are and runs nothing")
def index_page(room):
    site = Site(room)
    odd = '<b>&"x\'.txt'
    for name in (odd, ".hidden"):
        with open(os.path.join(site.root, "folder", name), "wb") as file:
            file.write(b"odd")
    status, _, headers, body = site.fetch("http", "/folder/")
    page = body.decode()
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "<b>" not in page and "&lt;b&gt;&amp;&quot;x'.txt" in page, page
    assert "hidden" not in page and 'href="../"' in page, page
    link = re.search(r'href="(\./%3C[^"]*)"', page)[1]
    assert site.fetch("http", "/folder/" + link[2:])[3] == b"odd"
    status, _, headers, _ = site.fetch("http", "/folder")
    assert (status, headers["location"]) == (301, "./folder/"), headers
    assert site.fetch("http", "//folder?x")[2]["location"] == "./folder/?x"
    with open(os.path.join(site.root, "folder", "index.html"), "wb") as file:
        file.write(b"mine")
    assert site.fetch("http", "/folder/")[3] == b"mine"


@check("nothing outside of the directory, and nothing hidden")
def outside(room):
    site = Site(room)
    with open(room.path("secret"), "wb") as file:
        file.write(b"secret")
    os.symlink(room.path("secret"), os.path.join(site.root, "absolute"))
    os.symlink("../secret", os.path.join(site.root, "relative"))
    os.symlink("text.txt", os.path.join(site.root, "inside"))
    os.mkfifo(os.path.join(site.root, "pipe"))
    with open(os.path.join(site.root, ".env"), "wb") as file:
        file.write(b"secret")
    for path in ("/../secret", "/folder/../../secret", "/%2e%2e/secret", "/..%2fsecret", "/absolute",
                 "/relative", "/.env", "/%2Eenv", "/folder/%2e%2e/text.txt", "/pipe", "/none",
                 "/text.txt/", "/dev/null", "/" + "a" * 300):
        for how in ("http", "h2c"):
            status, _, _, body = site.fetch(how, path, "--path-as-is")
            assert status == 404 and b"secret" not in body, (path, status, body)
    for path in ("/%00", "/text.txt%00", "/%zz", "/%", "/%4", "/" + "a/" * 3000):
        assert site.fetch("http", path, "--path-as-is")[0] == 400, path
    assert site.fetch("http", "/inside")[3] == FILES["text.txt"]
    assert b"secret" not in site.fetch("http", "/")[3]


@check("without a directory it serves what was compiled in")
def assets(room):
    server = room.start_ours("http-serve", "http://127.0.0.1:0")
    uri = server.uris(1)[0].replace("tcp", "http")
    page = room.run("curl", "-sSi", uri + "/").out
    assert b"text/html" in page and b"It works" in page, page
    etag = re.search(rb"etag: (\S+)", page)[1].decode()
    assert b" 304 " in room.run("curl", "-sSi", "-H", f"If-None-Match: {etag}", uri + "/").out
    assert b" 404 " in room.run("curl", "-sSi", uri + "/none").out
    assert b"text/css" in room.run("curl", "-sSI", uri + "/style.css").out


# ---- one connection, many requests

@check("keep-alive, and a hundred requests sent ahead, answered in order")
def pipelining(room):
    site = Site(room)
    names = ["one", "1k", "100k", "text.txt", "empty"] * 20
    asked = b"".join(f"GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for name in names)
    answer = site.talk(asked + LAST)
    for name in names + ["text.txt"]:
        head, _, answer = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        assert answer[:length] == FILES[name], (name, length)
        answer = answer[length:]
    assert answer == b"", answer
    assert b"connection: close" in head
    site.ended_well()


@check("requests a byte at a time, and HTTP/1.0")
def byte_by_byte(room):
    site = Site(room)
    with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /text.txt HTTP/1.1\r\nHo" + b"st: x\r\nX-Empty:\r\nX: y\r\n\r\n" + LAST:
            sock.sendall(bytes([byte]))
        answer = read_all(sock)
    assert statuses(answer) == [200, 200] and answer.count(b"hello\n") == 2, answer
    answer = site.talk(GET[:-2] + b"X-Empty:\r\nX-Space: \r\nX: y\r\n\r\n" + LAST)
    assert statuses(answer) == [200, 200], answer
    answer = site.talk(b"GET /text.txt HTTP/1.0\r\n\r\n")
    assert statuses(answer) == [200] and b"connection: close" in answer, answer
    answer = site.talk(b"GET /text.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2, wait=1)
    assert statuses(answer) == [200, 200] and b"connection: keep-alive" in answer, answer


# ---- clients that break the rules

SMUGGLED = b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n"
BAD = [
    ("two lengths", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("two lengths the other way round", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked"
                                        b"\r\nContent-Length: 6\r\n\r\n0\r\n\r\n", 400),
    ("Content-Length twice", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                             b"Content-Length: 6\r\n\r\nhello", 400),
    ("the same Content-Length twice", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                                      b"Content-Length: 5\r\n\r\nhello", 400),
    ("Content-Length: +5", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello", 400),
    ("Content-Length: 5, 5", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
    ("Content-Length: -1", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    ("an empty Content-Length", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", 400),
    ("a huge Content-Length", b"POST / HTTP/1.1\r\nHost: x\r\n"
                              b"Content-Length: 18446744073709551617\r\n\r\n", 400),
    ("xchunked", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
     (400, 501)),
    ("chunked, identity", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n"
                          b"\r\n0\r\n\r\n", (400, 501)),
    ("chunked twice", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                      b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400, 501)),
    ("chunked with HTTP/1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("a space before the colon", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n"
                                 b"\r\n0\r\n\r\n", 400),
    ("a folded line", b"GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", 400),
    ("a folded coding", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"
                        b"0\r\n\r\n", 400),
    ("a bad chunk size", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ("a chunk longer than it says", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                                    b"\r\n1\r\nabc\r\n0\r\n\r\n", 400),
    ("a huge chunk", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                     b"fffffffffffffffff\r\n", 400),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    ("a NUL in a field", b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", 400),
    ("a bare CR in a field", b"GET / HTTP/1.1\r\nHost: x\r\nX: a\rY: b\r\n\r\n", 400),
    ("HTTP/2.0 in a first line", b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", (400, 505)),
    ("HTTP/0.9", b"GET /\r\n\r\n", (400, 505)),
    ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ("a head of 20,000 bytes", b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 431),
    ("500 fields", b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 500 + b"\r\n", 431),
    ("a target of 20,000 bytes", b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    ("a body of a megabyte", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
                             + b"x" * 1000000, 413),
    ("chunks of a megabyte", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                             + (b"8000\r\n" + b"x" * 0x8000 + b"\r\n") * 30 + b"0\r\n\r\n", 413),
    ("Expect: 100-continue", b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                             b"Content-Length: 5\r\n\r\n", 417),
    ("CONNECT", b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", (400, 405)),
]


@check("requests that nobody may understand in two ways: one answer, and the end")
def bad_requests(room):
    site = Site(room)
    for title, request, wanted in BAD:
        answer = site.talk(request + SMUGGLED)
        seen = statuses(answer)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        connect = title == "CONNECT"  # is a whole request, and the next one is another
        assert (seen[:1] if connect else seen) and seen[0] in wanted, (title, seen, answer[:200])
        assert connect or len(seen) == 1, (title, seen)
        assert connect or b"connection: close" in answer, (title, answer)
    assert site.fetch("http", "/text.txt")[3] == FILES["text.txt"]
    site.ended_well()


@check("two heads in one: what is behind a body is the next request, and no more")
def no_confusion(room):
    site = Site(room)
    answer = site.talk(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + LAST)
    assert statuses(answer) == [405, 200], answer
    answer = site.talk(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                       b"5;a=b\r\nhello\r\n0\r\nTransfer-Encoding: x\r\nHost: y\r\n\r\n" + LAST)
    assert statuses(answer) == [405, 200], answer
    answer = site.talk(b"GET /text.txt HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
                       b"\r\n" + LAST)
    assert statuses(answer) == [200, 200], answer
    log = [line for line in site.server.lines if '"POST / HTTP/1.1" 405' in line]
    assert len(log) == 2, site.server.lines


@check("a request that does not come to its end is not waited for")
def slow_request(room):
    site = Site(room, "--request-timeout", "1")
    began = time.monotonic()
    for part in (b"G", GET[:-2], b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel"):
        with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:
            sock.sendall(part)
            answer = b""
            for _ in range(200):  # a byte every now and then does not help
                try:
                    sock.sendall(b"x")
                    sock.settimeout(0.1)
                    more = sock.recv(1000)
                    answer += more
                    if not more:
                        break
                except TimeoutError:
                    continue
                except (ConnectionResetError, BrokenPipeError):
                    break
            else:
                raise AssertionError("still waiting")
            assert 200 not in statuses(answer), answer
    assert time.monotonic() - began < PATIENCE
    assert site.fetch("http", "/one")[3] == b"1"


@check("an idle connection is closed, a working one is not")
def idle(room):
    site = Site(room, "--idle-timeout", "1")
    with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:
        for _ in range(4):
            sock.sendall(GET)
            assert b"200" in sock.recv(4096)
            time.sleep(0.5)
        assert read_all(sock) == b""


@check("a client that takes nothing costs little, and is given up")
def slow_reader(room):
    site = Site(room, "--write-timeout", "1")
    before = site.server.kilobytes()
    socks = []
    for _ in range(20):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", site.port))
        sock.sendall(b"GET /10m HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        socks.append(sock)
    eventually(lambda: site.server.text().count(" 200 ") >= 20, "given up")
    grown = site.server.kilobytes() - before
    assert grown < 20 * 1024, f"{grown} KiB more"
    assert all(re.search(r'" 200 \d+! ', line) for line in site.server.lines if " 200 " in line)
    for sock in socks:
        sock.close()
    site.ended_well()


@check("a client that breaks off in the middle of a body is forgotten")
def broken_off(room):
    site = Site(room)
    before = site.server.descriptors()
    for tls in (False, True):
        for _ in range(20):
            sock = socket.create_connection(("127.0.0.1", site.tls if tls else site.port), PATIENCE)
            if tls:
                context = ssl.create_default_context(cafile=room.cert("ca.pem"))
                sock = context.wrap_socket(sock, server_hostname="localhost")
            sock.sendall(b"GET /10m HTTP/1.1\r\nHost: x\r\n\r\n")
            sock.recv(1000)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
    eventually(lambda: site.server.descriptors() == before, "all descriptors back")
    site.ended_well()


@check("a file that shrinks while it is sent: the client can tell")
def shrinking(room):
    site = Site(room)
    path = os.path.join(site.root, "10m")
    with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:
        sock.sendall(b"GET /10m HTTP/1.1\r\nHost: x\r\n\r\n")
        first = sock.recv(1000)
        os.truncate(path, 20000)
        got = len(first) + len(read_all(sock))
        assert got < len(FILES["10m"]), got
    assert site.fetch("http", "/one")[3] == b"1"


# ---- HTTP/2 that breaks the rules

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags=0, stream=0, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def frames(data):
    """[(type, flags, stream, payload)] of what came."""
    found = []
    while len(data) >= 9:
        n = int.from_bytes(data[:3], "big")
        found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:9 + n]))
        data = data[9 + n:]
    return found


def literal(name, value):
    """A field in HPACK, spelt out."""
    def text(s):
        assert len(s) < 127
        return bytes([len(s)]) + s
    return b"\0" + text(name) + text(value)


REQUEST = (literal(b":method", b"GET") + literal(b":scheme", b"http") +
           literal(b":authority", b"x") + literal(b":path", b"/text.txt"))
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
BAD2 = [
    ("a bad preface", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + frame(SETTINGS), None),
    ("no SETTINGS first", PREFACE + frame(PING, 0, 0, b"8 bytes!"), 1),
    ("DATA on stream 0", PREFACE + frame(SETTINGS) + frame(DATA, 0, 0, b"x"), 1),
    ("DATA on an idle stream", PREFACE + frame(SETTINGS) + frame(DATA, 0, 1, b"x"), 1),
    ("HEADERS on stream 0", PREFACE + frame(SETTINGS) + frame(HEADERS, 5, 0, REQUEST), 1),
    ("an even stream", PREFACE + frame(SETTINGS) + frame(HEADERS, 5, 2, REQUEST), 1),
    ("a frame too large", PREFACE + frame(SETTINGS) + frame(DATA, 0, 1, b"x" * 20000), 6),
    ("SETTINGS of five bytes", PREFACE + frame(SETTINGS, 0, 0, b"12345"), 6),
    ("SETTINGS with a stream", PREFACE + frame(SETTINGS, 0, 1), 1),
    ("an ACK with a payload", PREFACE + frame(SETTINGS) + frame(SETTINGS, 1, 0, b"123456"), 6),
    ("a window that overflows", PREFACE + frame(SETTINGS)
     + frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2, 3),
    ("a window of nothing", PREFACE + frame(SETTINGS) + frame(WINDOW, 0, 0, b"\0\0\0\0"), 1),
    ("PING of seven bytes", PREFACE + frame(SETTINGS) + frame(PING, 0, 0, b"7 bytes"), 6),
    ("PUSH_PROMISE of a client", PREFACE + frame(SETTINGS) + frame(PUSH, 4, 1, b"\0\0\0\2"), 1),
    ("CONTINUATION without HEADERS", PREFACE + frame(SETTINGS)
     + frame(CONTINUATION, 4, 1, REQUEST), 1),
    ("another frame between HEADERS and CONTINUATION", PREFACE + frame(SETTINGS)
     + frame(HEADERS, 1, 1, REQUEST) + frame(PING, 0, 0, b"8 bytes!"), 1),
    ("HPACK that is none", PREFACE + frame(SETTINGS) + frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff"),
     9),
    ("an index beyond the table", PREFACE + frame(SETTINGS) + frame(HEADERS, 5, 1, b"\xfe"), 9),
]
MALFORMED2 = [
    ("no :path", REQUEST.replace(literal(b":path", b"/text.txt"), b"")),
    ("two :method", literal(b":method", b"GET") + REQUEST),
    ("a response's pseudo-field", literal(b":status", b"200") + REQUEST),
    ("an unknown pseudo-field", literal(b":x", b"y") + REQUEST),
    ("a pseudo-field at the end", REQUEST + literal(b"a", b"b") + literal(b":x", b"y")),
    ("an upper-case name", REQUEST + literal(b"Upper", b"x")),
    ("connection", REQUEST + literal(b"connection", b"keep-alive")),
    ("transfer-encoding", REQUEST + literal(b"transfer-encoding", b"chunked")),
    ("te", REQUEST + literal(b"te", b"gzip")),
    ("CR LF in a value", REQUEST + literal(b"x", b"a\r\nb: c")),
    ("a length that is not so", REQUEST + literal(b"content-length", b"5")),
]


@check("HTTP/2 that breaks the rules: GOAWAY says which")
def bad_frames(room):
    site = Site(room)
    for title, sent, code in BAD2:
        answer = site.talk(sent)
        goaway = [f for f in frames(answer) if f[0] == GOAWAY]
        found = int.from_bytes(goaway[0][3][4:8], "big") if goaway else None
        assert code is None or found == code, (title, frames(answer))
    assert site.fetch("h2c", "/one")[3] == b"1"
    site.ended_well()


@check("HTTP/2 requests that are none: the stream is reset, the others go on")
def bad_streams(room):
    site = Site(room)
    for title, block in MALFORMED2:
        with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:
            sock.sendall(PREFACE + frame(SETTINGS) + frame(HEADERS, 5, 1, block)
                         + frame(HEADERS, 5, 3, REQUEST))
            sock.settimeout(1)
            came = frames(read_until(sock, lambda data: any(
                f[2] == 3 and f[1] & 1 for f in frames(data))))
        assert any(f[0] == RST and f[2] == 1 for f in came), (title, came)
        assert any(f[0] == DATA and f[2] == 3 and f[3] == b"hello\n" for f in came), (title, came)
    site.ended_well()


def read_until(sock, enough):
    got = b""
    try:
        while not enough(got) and (more := sock.recv(65536)):
            got += more
    except (TimeoutError, ConnectionResetError):
        pass
    return got


@check("HTTP/2 floods ({}) end, and the server goes on", "pings", "settings", "resets",
       "continuations", "empty data", "windows of nothing to send")
def floods(room, what):
    site = Site(room)
    n = 20_000
    one = {"pings": lambda i: frame(PING, 0, 0, b"8 bytes!"),
           "settings": lambda i: frame(SETTINGS, 0, 0, b"\0\4\0\1\0\0"),
           "resets": lambda i: frame(HEADERS, 5, 2 * i + 1, REQUEST) + frame(RST, 0, 2 * i + 1,
                                                                             b"\0\0\0\x08"),
           "continuations": lambda i: frame(HEADERS, 0, 1, REQUEST) if i == 0 else
           frame(CONTINUATION, 0, 1, literal(b"a", b"b" * 100)),
           "empty data": lambda i: frame(HEADERS, 4, 1, REQUEST) if i == 0 else frame(DATA, 0, 1),
           "windows of nothing to send": lambda i: frame(WINDOW, 0, 0, b"\0\0\0\1")}[what]
    before = site.server.kilobytes()
    with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:
        try:
            sock.sendall(PREFACE + frame(SETTINGS))
            sock.sendall(b"".join(one(i) for i in range(n)))  # and nothing is read
        except (ConnectionResetError, BrokenPipeError, TimeoutError):
            pass
        assert site.fetch("h2c", "/one")[3] == b"1"
        grown = site.server.kilobytes() - before
        assert grown < 16 * 1024, f"{grown} KiB more"
    site.ended_well()


# ---- running

@check("SIGTERM: what has begun is finished, and nobody new comes in ({})", "http", "h2", "h2c")
def drain(room, how):
    need("curl")
    site = Site(room)
    told, uri = site.curl(how, "/10m")
    curl = room.start("curl", "-sS", "--limit-rate", "8M", *told, "-o", room.path("got"), uri)
    eventually(lambda: os.path.exists(room.path("got")) and os.path.getsize(room.path("got")) > 0,
               "it has begun")
    site.server.process.send_signal(signal.SIGTERM)
    assert curl.wait() == 0, curl.text()
    with open(room.path("got"), "rb") as file:
        assert digest(file.read()) == digest(FILES["10m"])
    assert site.server.wait() == 0, site.server.text()


@check("four threads on one port")
def threads(room):
    need("h2load")
    site = Site(room, "--threads", "4")
    result = room.run("h2load", "-n", "4000", "-c", "40", "-m", "10", "-p", "h2c",
                      f"http://127.0.0.1:{site.port}/1k", timeout=60)
    assert b"4000 succeeded, 0 failed, 0 errored" in result.out, result.out.decode()
    for how in ("http", "h2", "unix", "http6"):
        assert site.fetch(how, "/100k")[3] == FILES["100k"]
    site.ended_well()


@check("the log says who asked, and nobody can write a line of it")
def log(room):
    site = Site(room, "--ca", room.cert("ca.pem"), "--tls", "client_cert=ask")
    site.fetch("unix", "/one")
    site.server.find(r'^unix: uid=\d+,pid=\d+ \[.*\] "GET /one HTTP/1.1" 200 1 ')
    site.fetch("https", "/one", "--cert", room.cert("client.pem"), "--key", room.cert("client.key"))
    site.server.find(r'^tcp://127.0.0.1:\d+ "CN=[^"]*" .*"GET /one HTTP/1.1" 200 1 ')
    site.talk(b'GET /"\xff HTTP/1.1\r\nHost: x\r\nUser-Agent: a" 200 "\r\nConnection: close\r\n\r\n')
    site.server.find(r'"GET /\\x22\\xff HTTP/1.1" \d+ .* "a\\x22 200 \\x22"$')


@check("SIGHUP reads the certificate again")
def reload(room):
    site = Site(room)
    site.server.process.send_signal(signal.SIGHUP)
    assert site.fetch("h2", "/one")[3] == b"1"
    site.ended_well(signal.SIGINT)


@check("options and URIs that make no sense")
def usage(room):
    for arguments, code in [([], 2), (["--none", "http://:0"], 2), (["--threads", "0", "http://:0"], 2),
                            (["--root", room.path("none"), "http://:0"], 2),
                            (["--tls", "cert=/none", "https://:0"], 5), (["nonsense"], 2),
                            (["https://localhost:0"], 5), (["http://192.0.2.1:80"], 4)]:
        result = room.run_ours("http-serve", *arguments)
        assert result.code == code and "http-serve" in result.err, (arguments, str(result))
    assert b"usage" in room.run_ours("http-serve", "--help").out


# ----

def main():
    build, source, *word = sys.argv[1:]
    with Room(build, source) as room:
        def clean_after(function, row):
            def test():
                try:
                    function(room, *row)
                finally:
                    room.clean()
            return test
        tap.run((title, clean_after(function, row)) for title, function, row in TESTS
                if not word or word[0] in title)


main()
