#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The HTTP examples among others: curl, nghttp and h2load fetch from http-serve, http fetches from
nginx, haproxy, nghttpd and lighttpd, and who breaks the rules, on either side, finds out.

    http_examples.py BUILD-FOLDER SOURCE-FOLDER [WORD]     results in TAP; WORD: only titles with it

CONDUIT_HTTP_BIG=1 adds a body of 1 GiB to those that are compared by checksum. A program that this
machine lacks is a skipped test.
"""

import hashlib
import os
import re
import signal
import socket
import ssl
import threading
import time

import tap
from peers import PATIENCE, Skip, accepts, eventually, free_port, need, need_ipv6
from tap import check

FILES = {"empty": b"", "one": b"1", "text.txt": b"hello\n", "1k": os.urandom(1024),
         "100k": os.urandom(102_400), "10m": os.urandom(10_485_760)}
BIG = os.environ.get("CONDUIT_HTTP_BIG") == "1"
GIB = 1 << 30


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

    def talk(self, data, tls=False):
        """What a raw client gets for these bytes, until the server closes."""
        sock = socket.create_connection(("127.0.0.1", self.tls if tls else self.port), PATIENCE)
        if tls:
            context = ssl.create_default_context(cafile=self.room.cert("ca.pem"))
            sock = context.wrap_socket(sock, server_hostname="localhost")
        with sock:
            sock.sendall(data)
            sock.settimeout(PATIENCE)
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


def peak(server):
    """KiB that it has had in memory at most."""
    with open(f"/proc/{server.process.pid}/status", encoding="utf-8") as file:
        return int(re.search(r"^VmHWM:\s*(\d+)", file.read(), re.MULTILINE)[1])


def peak_after_first(site, how, path, *options):
    """... once it has answered, so that what its first use costs is no growth."""
    assert site.fetch(how, path, *options)[0] in (200, 405)
    return peak(site.server)


def expect_growth(site, before, most):
    grown = peak(site.server) - before
    assert grown < most, f"{grown} KiB more"


@check("a body of 1 GiB arrives whole over {}, and the server's memory stays flat", "http", "h2")
def big_body(room, how):
    if not BIG:
        raise Skip("CONDUIT_HTTP_BIG=1 for this")
    site = Site(room, big=True)
    with open(os.path.join(site.root, "big"), "rb") as file:
        wanted = hashlib.file_digest(file, "sha256").hexdigest()
    before = peak_after_first(site, how, "/10m")
    told, uri = site.curl(how, "/big")
    curl = room.start("sh", "-c", 'curl -sS "$@" | sha256sum', "sh", *told, uri)
    assert curl.find(r"^(\w{64})")[1] == wanted
    expect_growth(site, before, 8192)


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
    for how in ("http", "h2"):  # of GET alone: a HEAD is answered as if it were not there
        status, _, headers, _ = site.fetch(how, "/1k", "-I", "-H", "Range: bytes=0-0")
        assert status == 200 and headers["content-length"] == "1024", headers


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
    listed = site.fetch("http", "/")[3]
    assert b"secret" not in listed and b"absolute" not in listed and b"inside" in listed, listed


@check("files that change, are replaced or removed: seen at once, kept or not")
def changes(room):
    site = Site(room)
    path = os.path.join(site.root, "changing")

    def write(name, content, age=10):
        with open(name, "wb") as file:
            file.write(content)
        os.utime(name, (time.time() - age, time.time() - age))

    def seen():
        status, _, _, body = site.fetch("http", "/changing")
        return status, body
    write(path, b"first")
    time.sleep(3.5)  # only what has been left alone for a while is kept
    assert [seen() for _ in range(3)] == [(200, b"first")] * 3
    write(path, b"other")  # as long, as old
    assert seen() == (200, b"other")
    write(path + ".new", b"third")
    os.rename(path + ".new", path)
    assert seen() == (200, b"third")
    os.remove(path)
    assert seen()[0] == 404
    os.symlink(room.cert("server.key"), path)
    assert seen()[0] == 404
    site.ended_well()


@check("Chromium shows the index page, over {}", "http", "https with HTTP/2")
def chromium(room, how):
    need("chromium")
    site = Site(room)
    uri = f"http://127.0.0.1:{site.port}/" if how == "http" else f"https://localhost:{site.tls}/"
    result = room.run("chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
                      "--ignore-certificate-errors", f"--user-data-dir={room.path('chromium')}",
                      "--dump-dom", uri, timeout=60)
    assert b'href="./text.txt"' in result.out, str(result)
    version = "HTTP/1.1" if how == "http" else "HTTP/2"
    site.server.find(f'"GET / {version}" 200 .*Chrom')


@check("wrk: 50 connections for two seconds, over {}", "http", "https")
def wrk(room, how):
    need("wrk")
    site = Site(room)
    uri = f"http://127.0.0.1:{site.port}" if how == "http" else f"https://127.0.0.1:{site.tls}"
    result = room.run("wrk", "-t1", "-c50", "-d2s", uri + "/100k", timeout=60)
    assert result.code == 0 and b"requests in" in result.out, str(result)
    assert b"Socket errors" not in result.out and b"Non-2xx" not in result.out, result.out
    site.ended_well()


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


# ---- what is sent

@check("bodies that are sent come back, over {}", "http", "https", "h2", "h2c", "unix", "h2-unix")
def echoes(room, how):
    site = Site(room, "--post", "echo")
    path = room.path("given")
    for content in (*FILES.values(), os.urandom(200_000)):
        with open(path, "wb") as file:
            file.write(content)
        for options in (["--data-binary", "@" + path], ["-T", path],
                        ["-T", path, "-H", "Expect: 100-continue"],
                        ["--data-binary", "@" + path, "-H", "Transfer-Encoding: chunked"]):
            if "h2" in how and "Transfer-Encoding: chunked" in options:
                continue
            status, _, _, body = site.fetch(how, "/x", *options)
            assert status == 200 and digest(body) == digest(content), (options, status, len(body))
    site.ended_well()


@check("{1} that are sent are {2}, and the server's memory stays flat, over {0}",
       *[(how, "1 GiB" if BIG else "30 MB", what) for how in ("http", "https", "h2", "h2c")
         for what in ("counted", "echoed")])
def uploads(room, how, size, what):
    site = Site(room, "--post", "echo" if what == "echoed" else "count")
    size = GIB if BIG else 30_000_000
    path = room.path("given")
    with open(path, "wb") as file:
        file.write(os.urandom(1 << 20))
        file.truncate(size)
    before = peak_after_first(site, how, "/x", "-T", os.path.join(site.root, "1k"))
    told, uri = site.curl(how, "/x")
    curl = room.start("sh", "-c", 'curl -sS "$@" | sha256sum', "sh", *told, "-T", path, uri)
    came = curl.find(r"^(\w{64})")[1]
    with open(path, "rb") as file:
        wanted = hashlib.file_digest(file, "sha256").hexdigest()
    assert came == (wanted if what == "echoed" else digest(f"200 OK: {size} bytes\n".encode()))
    expect_growth(site, before, 8192)
    site.server.find(r'"PUT /x ' + ("HTTP/2" if "h2" in how else "HTTP/1.1") + '" 200 ')


@check("http sends {1} and gets them back, and its own memory stays flat, over {0}",
       *[(how, "1 GiB" if BIG else "30 MB") for how in ("http", "https", "h2c")])
def uploads_of_ours(room, how, size):
    site = Site(room, "--post", "echo")
    size = GIB if BIG else 30_000_000
    uri = f"https://localhost:{site.tls}/x" if how == "https" else f"{how}://127.0.0.1:{site.port}/x"
    client = room.start("sh", "-c", 'head -c "$0" /dev/zero | "$@" | sha256sum', str(size),
                        room.program("http"), "--ca", room.cert("ca.pem"), "-T", "-", uri)
    most = 0
    while client.process.poll() is None:
        for pid in children(client.process.pid):
            most = max(most, resident(pid, "http"))
        time.sleep(0.01)
    zeros = hashlib.sha256()
    for _ in range(size // 1_000_000):
        zeros.update(bytes(1_000_000))
    zeros.update(bytes(size % 1_000_000))
    assert client.find(r"^(\w{64})")[1] == zeros.hexdigest()
    assert 0 < most < 64 * 1024, f"{most} KiB"


def children(pid):
    """None once it has ended."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def resident(pid, name):
    """KiB of this process, if that is its name."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            text = file.read()
    except OSError:
        return 0
    found = re.search(r"^VmRSS:\s*(\d+)", text, re.MULTILINE)
    return int(found[1]) if found and text.startswith(f"Name:\t{name}\n") else 0


@check("a client that does not take its echo cannot fill the server's memory ({})", "http", "h2c")
def echo_unread(room, how):
    site = Site(room, "--post", "echo", "--write-timeout", "1", "--request-timeout", "2")
    before = peak_after_first(site, how, "/", "-d", "hello")
    wide = frame(SETTINGS, 0, 0, WIDE) + frame(WINDOW, 0, 0, b"\x7f\0\0\0")
    post = REQUEST.replace(literal(b":method", b"GET"), literal(b":method", b"POST"))
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" if how == "http" \
        else PREFACE + wide + frame(HEADERS, 4, 1, post)
    piece = b"x" * 10_000 if how == "http" else frame(DATA, 0, 1, b"x" * 10_000)
    with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:
        sock.sendall(head)
        sock.settimeout(PATIENCE)
        try:
            for _ in range(10_000):
                sock.sendall(piece)
            assert how == "h2c"  # who ignores a window is read no more, and heard to the end
        except (ConnectionResetError, BrokenPipeError):
            pass
    expect_growth(site, before, 8192)
    site.server.find("given up" if how == "http" else "given up|FLOW_CONTROL")
    site.ended_well()


@check("a body that nobody wants is thrown away, or not waited for")
def unwanted(room):
    site = Site(room)
    answer = site.talk(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60000
                       + LAST)
    assert statuses(answer) == [405, 200], answer
    answer = site.talk(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
    assert statuses(answer) == [405] and b"connection: close" in answer, answer
    asked = REQUEST.replace(literal(b":method", b"GET"), literal(b":method", b"POST"))
    with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:
        sock.sendall(PREFACE + frame(SETTINGS) + frame(HEADERS, 4, 1, asked)
                     + frame(DATA, 0, 1, b"x" * 16000) * 4)
        sock.settimeout(PATIENCE)
        # the window of the connection is open again for others
        came = frames(read_until(sock, lambda data: sum(
            int.from_bytes(f[3], "big") for f in frames(data) if f[0] == WINDOW and f[2] == 0) > 30000))
        assert came, "no window"
        sock.sendall(frame(DATA, 0, 1, b"x" * 16000) * 2)
        came = frames(read_until(sock, lambda data: any(f[0] == RST for f in frames(data))))
        assert any(f[0] == HEADERS and f[2] == 1 for f in came), came
        assert [f[3] for f in came if f[0] == RST] == [b"\0\0\0\0"], came
    site.ended_well()


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
    answer = site.talk(b"GET /text.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
                       b"GET /text.txt HTTP/1.0\r\n\r\n")
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
    *[(f"a chunk of {what}", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
       + body, 400) for what, body in [
           ("five bytes that end in XX", b"5\r\nhelloXX0\r\n\r\n"),
           ("five bytes that end in a line feed and one more", b"5\r\nhello\nX0\r\n\r\n"),
           ("five bytes that end in CR and X", b"5\r\nhello\rX0\r\n\r\n"),
           ("a size that ends in CR and X", b"5\rXhello\r\n0\r\n\r\n"),
           ("a size that ends in a line feed", b"5\nhello\r\n0\r\n\r\n"),
           ("an extension with a line feed", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
           ("no size", b";a=b\r\nhello\r\n0\r\n\r\n"),
           ("nothing that ends in CR and X", b"0\r\n\rX"),
           ("nothing whose size ends in CR and X", b"0\rX\r\n")]],
    ("a head that ends in CR and X", b"GET / HTTP/1.1\r\nHost: x\r\n\rX", 400),
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
                             + b"x" * 1000000, 405),
    ("chunks of a megabyte", b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                             + (b"8000\r\n" + b"x" * 0x8000 + b"\r\n") * 30 + b"0\r\n\r\n", 405),
    ("an Expect that is disappointed", b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                                       b"Content-Length: 5\r\n\r\n", 405),
    ("CONNECT", b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", (400, 405)),
]


@check("requests that nobody may understand in two ways: one answer, and the end")
def bad_requests(room):
    site = Site(room)
    for title, request, wanted in BAD:
        connect = title == "CONNECT"  # is a whole request, and the next one is another
        answer = site.talk(request + (LAST if connect else SMUGGLED))
        seen = statuses(answer)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        assert seen and seen[0] in wanted, (title, seen, answer[:200])
        assert seen[1:] == ([200] if connect else []), (title, seen)
        assert b"connection: close" in answer, (title, answer)
    assert site.fetch("http", "/text.txt")[3] == FILES["text.txt"]
    site.ended_well()


@check("chunks whose ends are wrong are wrong however they come, a byte at a time")
def chunks_in_pieces(room):
    site = Site(room, "--post", "count")
    begin = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    good = b"5;a=\"b\" \r\nhello\r\nA\r\n0123456789\r\n0000\r\nTrailer: x\r\n\r\n"
    for body, wanted in ((good, [200, 200]), (good.replace(b"hello\r\n", b"hello\r\r"), [400]),
                         (good.replace(b"x\r\n\r\n", b"x\r\n\r\r"), [400])):
        with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for byte in begin + body + LAST:
                    sock.sendall(bytes([byte]))
            except (ConnectionResetError, BrokenPipeError):
                pass
            assert statuses(read_all(sock)) == wanted, body
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
    site.server.find('"POST / HTTP/1.1" 405', 2)
    assert site.server.text().count('"POST / ') == 2, site.server.lines


@check("a request that does not come to its end is not waited for: 408")
def slow_request(room):
    site = Site(room, "--request-timeout", "1")
    began = time.monotonic()
    for part, drip in ((b"G", b""), (GET[:-2] + b"X: ", b"x"),
                       (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nhel", b"x")):
        with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:
            sock.sendall(part)
            answer = b""
            for _ in range(200):  # a byte every now and then does not help
                try:
                    sock.sendall(drip)
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
            assert statuses(answer) == [408] and b"connection: close" in answer, answer
    assert time.monotonic() - began < PATIENCE
    site.server.find(r'^tcp://127\.0\.0\.1:\d+ - \[.*\] given up: "late', 3)
    assert site.fetch("http", "/one")[3] == b"1"


@check("an idle connection is closed, a working one is not")
def idle(room):
    site = Site(room, "--idle-timeout", "3")
    with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:
        for _ in range(30):  # for longer than it could be idle, a twentieth of that at a time
            sock.sendall(GET)
            assert b"200" in sock.recv(4096)
            time.sleep(0.15)
        assert read_all(sock) == b""


@check("a client that takes nothing costs little, and is given up")
def slow_reader(room):
    site = Site(room, "--write-timeout", "1")
    before = peak_after_first(site, "http", "/one")
    socks = []
    for _ in range(20):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", site.port))
        sock.sendall(b"GET /10m HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        socks.append(sock)
    site.server.find(r'"GET /10m HTTP/1.1" 200 ', 20)
    expect_growth(site, before, 20 * 1024)
    assert all(re.search(r'" 200 \d+! ', line) for line in site.server.lines if "/10m" in line)
    for sock in socks:
        sock.close()
    site.ended_well()


@check("a client that only asks, and takes no answers, is read no more")
def asks_only(room):
    site = Site(room, "--write-timeout", "1")
    with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:  # who takes them
        sock.sendall(b"HEAD /1k HTTP/1.1\r\nHost: x\r\n\r\n" * 4000 + LAST)
        read_all(sock)
    before = peak(site.server)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", site.port))
        try:
            for _ in range(1000):
                sock.sendall(b"HEAD /1k HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
            raise AssertionError("all of it was taken")
        except (ConnectionResetError, BrokenPipeError):
            pass
    expect_growth(site, before, 2048)  # of 200 MB of answers
    site.server.find("given up")
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
            sock.settimeout(PATIENCE)
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


def flood(what):
    """Many frames, for each `i`, that ask for nothing, and what is said of who sends them."""
    quiet = r"frame after frame"
    return {
        "pings": (lambda i: frame(PING, 0, 0, b"8 bytes!"), quiet + "|[Ff]lood"),
        "settings": (lambda i: frame(SETTINGS, 0, 0, b"\0\4\0\1\0\0"), quiet + "|[Ff]lood"),
        "priorities": (lambda i: frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"), quiet),
        "resets": (lambda i: frame(HEADERS, 5, 2 * i + 1, REQUEST)
                   + frame(RST, 0, 2 * i + 1, b"\0\0\0\x08"), quiet + "|INTERNAL|CALM"),
        "continuations": (lambda i: frame(CONTINUATION, 0, 1, literal(b"a", b"b" * 100)) if i else
                          frame(HEADERS, 0, 1, REQUEST), "HTTP/2|[Cc]ontinuation|Too many"),
        "empty continuations": (lambda i: frame(CONTINUATION, 0, 1) if i else
                                frame(HEADERS, 0, 1, REQUEST), "HTTP/2|[Cc]ontinuation|Too many"),
        "empty data": (lambda i: frame(DATA, 0, 1) if i else frame(HEADERS, 4, 1, REQUEST), quiet),
        "windows of nothing to send": (lambda i: frame(WINDOW, 0, 0, b"\0\0\0\1"), quiet),
        "frames that nobody knows": (lambda i: frame(0xbe, 0, 0, b"grease"), quiet)}[what]


@check("HTTP/2 floods ({}) end with a word in the log, and the server goes on", "pings", "settings",
       "priorities", "resets", "continuations", "empty continuations", "empty data",
       "windows of nothing to send", "frames that nobody knows")
def floods(room, what):
    site = Site(room)
    one, said = flood(what)
    before = peak_after_first(site, "h2c", "/one")
    for reads in (False, True):
        with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:
            reader = threading.Thread(target=read_all, args=(sock,))
            if reads:
                reader.start()
            try:
                sock.sendall(PREFACE + frame(SETTINGS))
                sock.sendall(b"".join(one(i) for i in range(20_000)))
            except (ConnectionResetError, BrokenPipeError):
                pass
            site.server.find("given up: .*(" + said + ")", 2 if reads else 1)
            if reads:
                reader.join(PATIENCE)
                assert not reader.is_alive()
    assert site.fetch("h2c", "/one")[3] == b"1"
    expect_growth(site, before, 16 * 1024)
    site.ended_well()


NOTHING = b"\0\4\0\0\0\0"  # SETTINGS_INITIAL_WINDOW_SIZE 0
WIDE = b"\0\4\x7f\xff\xff\xff"
STALLS = {
    "half a preface": (PREFACE[:2], b""),
    "most of a preface": (PREFACE[:20], b""),
    "half a frame": (PREFACE + frame(SETTINGS) + frame(PING, 0, 0, b"8 bytes!")[:5], b""),
    "a frame a byte at a time": (PREFACE + frame(SETTINGS) + frame(0xbe, 0, 0, b"x" * 16000)[:20], b"x"),
    "a head that does not end, and nothing": (PREFACE + frame(SETTINGS) + frame(HEADERS, 1, 1, REQUEST),
                                              b""),
    "a request that does not end, and pings": (
        PREFACE + frame(SETTINGS) + frame(HEADERS, 4, 1, REQUEST), frame(PING, 0, 0, b"8 bytes!")),
    "a body a byte at a time": (PREFACE + frame(SETTINGS) + frame(HEADERS, 4, 1, REQUEST),
                                frame(DATA, 0, 1, b"x")),
    "a window of nothing": (PREFACE + frame(SETTINGS, 0, 0, NOTHING) + frame(HEADERS, 5, 1, REQUEST), b""),
    "a window of nothing, and pings": (
        PREFACE + frame(SETTINGS, 0, 0, NOTHING) + frame(HEADERS, 5, 1, REQUEST),
        frame(PING, 0, 0, b"8 bytes!")),
    "a window that opens a byte at a time": (
        PREFACE + frame(SETTINGS, 0, 0, NOTHING) + frame(HEADERS, 5, 1, REQUEST.replace(
            literal(b":path", b"/text.txt"), literal(b":path", b"/10m"))),
        frame(WINDOW, 0, 1, b"\0\0\0\1")),
    "no reading": (PREFACE + frame(SETTINGS, 0, 0, WIDE) + frame(WINDOW, 0, 0, b"\x7f\0\0\0") + b"".join(
        frame(HEADERS, 5, 2 * i + 1, REQUEST.replace(
            literal(b":path", b"/text.txt"), literal(b":path", b"/10m"))) for i in range(20)), None)}


def stall(sock, first, again):
    """Send `first`, and `again` every now and then, until the server has had enough."""
    sock.sendall(first)
    deadline = time.monotonic() + PATIENCE
    sock.settimeout(0.1)
    while time.monotonic() < deadline:
        try:
            time.sleep(0.1)
            if again is None:
                sock.getpeername()  # fails once there is none
                continue
            sock.sendall(again)
            if sock.recv(4096) == b"":
                return
        except TimeoutError:
            continue
        except OSError:
            return
    raise AssertionError("still waiting")


@check("an HTTP/2 client that stalls ({}) is given up, and the log says so", *STALLS)
def stalls(room, how):
    site = Site(room, "--request-timeout", "1", "--write-timeout", "1", "--idle-timeout", "60",
                "--post", "count")
    first, again = STALLS[how]
    with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:
        stall(sock, first, again)
    site.server.find(r'^tcp://127\.0\.0\.1:\d+ - \[.*\] given up: ".*(late|took nothing)')
    assert site.fetch("h2c", "/one")[3] == b"1"
    site.ended_well()


@check("an HTTP/2 client that is slow, or idle, is left alone")
def slow_but_honest(room):
    site = Site(room, "--request-timeout", "3", "--write-timeout", "3")
    step, steps = 20_480, 30
    with open(os.path.join(site.root, "slow"), "wb") as file:
        file.write(os.urandom(step * steps))
    with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as sock:
        asked = REQUEST.replace(literal(b":path", b"/text.txt"), literal(b":path", b"/slow"))
        sock.sendall(PREFACE + frame(SETTINGS, 0, 0, NOTHING) + frame(HEADERS, 5, 1, asked))
        for _ in range(steps):  # 20 KiB in 0.15 s, where 16 KiB in 3 s are enough
            sock.sendall(frame(WINDOW, 0, 1, step.to_bytes(4, "big"))
                         + frame(WINDOW, 0, 0, step.to_bytes(4, "big")))
            time.sleep(0.15)
        sock.settimeout(PATIENCE)
        came = sum(len(f[3]) for f in frames(read_until(sock, lambda data: any(
            f[0] == DATA and f[1] & 1 for f in frames(data)))) if f[0] == DATA)
        assert came == step * steps, came
        time.sleep(4)  # and nothing is under way
        sock.sendall(frame(0xbe, 0, 0, b"grease"))
        time.sleep(4)
        sock.sendall(frame(HEADERS, 5, 3, REQUEST) + frame(WINDOW, 0, 3, b"\0\0\0\x10"))
        assert b"hello" in read_until(sock, lambda data: b"hello" in data)
    assert "given up" not in site.server.text(), site.server.text()
    site.ended_well()


# ---- http, and servers that are not ours

def expect(result, code=0, out=None, err=""):
    assert result.code == code and re.search(err, result.err), f"expected {code}, {err!r}: {result}"
    assert out is None or digest(result.out) == digest(out), f"not the body: {result}"
    return result


def nginx(room):
    """Its ports: http, https with HTTP/2."""
    need("nginx")
    root, plain, tls = make_root(room), free_port(), free_port()
    temp = "".join(f"{kind}_temp_path {room.path(kind)};\n"
                   for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = room.write("nginx.conf", f"""daemon off; master_process off; pid {room.path('pid')};
error_log {room.path('log')};
events {{ }}
http {{ access_log off; {temp} root {root}; client_max_body_size 0; keepalive_requests 100;
ssl_certificate {room.cert('server.pem')}; ssl_certificate_key {room.cert('server.key')};
server {{ listen 127.0.0.1:{plain}; listen unix:{room.path('n.sock')};
  listen 127.0.0.1:{tls} ssl http2; server_name localhost;
  location = /see {{ return 303 /text.txt; }}
  location = /loop {{ return 302 /loop; }}
  location = /keep {{ return 307 /echo; }}
  location = /away {{ return 301 https://localhost:{tls}/text.txt; }}
  location = /down {{ return 302 http://127.0.0.1:{plain}/text.txt; }}
  location = /socket {{ return 302 http+unix://%2Frun%2Fx.sock/; }}
  location = /echo {{ proxy_pass http://127.0.0.1:{plain}/sink; }}
  location = /sink {{ add_header X-Method $request_method; return 200 "$request_body"; }}
}} }}
""")
    room.start("nginx", "-c", conf, "-e", room.path("log"))
    eventually(lambda: accepts(plain), "nginx listens")
    return plain, tls


def haproxy(room, to):
    """In front of `to`: its ports, http and https with HTTP/2."""
    need("haproxy")
    plain, tls = free_port(), free_port()
    conf = room.write("haproxy.cfg", f"""defaults
 mode http
 timeout connect 5s
 timeout client 20s
 timeout server 20s
listen x
 bind 127.0.0.1:{plain}
 bind 127.0.0.1:{tls} ssl crt {room.cert_and_key('server')} alpn h2,http/1.1
 server s 127.0.0.1:{to}
""")
    room.start("haproxy", "-db", "-f", conf)
    eventually(lambda: accepts(plain), "haproxy listens")
    return plain, tls


def nghttpd(room, *options):
    need("nghttpd")
    port = free_port()
    room.start("nghttpd", "-a", "127.0.0.1", "-d", make_root(room), *options, str(port),
               *([] if "--no-tls" in options else [room.cert("server.key"), room.cert("server.pem")]))
    eventually(lambda: accepts(port), "nghttpd listens")
    return port


def lighttpd(room):
    need("lighttpd")
    port = free_port()
    room.start("lighttpd", "-D", "-f", room.write(
        "lighttpd.conf", f'server.document-root = "{make_root(room)}"\nserver.bind = "127.0.0.1"\n'
        f"server.port = {port}\n"))
    eventually(lambda: accepts(port), "lighttpd listens")
    return port


def place(room, server):
    """Where to fetch from, and which version has to be spoken."""
    if server == "nginx":
        return f"http://127.0.0.1:{nginx(room)[0]}", "HTTP/1.1"
    if server == "nginx on a Unix socket":
        nginx(room)
        return f"http+unix://{room.path('n.sock').replace('/', '%2F')}", "HTTP/1.1"
    if server == "nginx with TLS":
        return f"https://localhost:{nginx(room)[1]}", "HTTP/2"
    if server == "haproxy":
        return f"http://127.0.0.1:{haproxy(room, nginx(room)[0])[0]}", "HTTP/1.1"
    if server == "haproxy with TLS":
        return f"https://localhost:{haproxy(room, nginx(room)[0])[1]}", "HTTP/2"
    if server == "haproxy in the clear":
        return f"h2c://127.0.0.1:{haproxy(room, nginx(room)[0])[0]}", "HTTP/2"
    if server == "nghttpd":
        return f"https://localhost:{nghttpd(room)}", "HTTP/2"
    if server == "nghttpd in the clear":
        return f"h2c://127.0.0.1:{nghttpd(room, '--no-tls')}", "HTTP/2"
    return f"http://127.0.0.1:{lighttpd(room)}", "HTTP/1.1"


def fetch(room, *arguments, **options):
    return room.run_ours("http", "--ca", room.cert("ca.pem"), *arguments, timeout=60, **options)


SERVERS = ["nginx", "nginx on a Unix socket", "nginx with TLS", "haproxy", "haproxy with TLS",
           "haproxy in the clear", "nghttpd", "nghttpd in the clear", "lighttpd"]


@check("http fetches bodies of all sizes from {}", *SERVERS)
def fetches(room, server):
    base, version = place(room, server)
    for name, content in FILES.items():
        result = expect(fetch(room, "-v", f"{base}/{name}"), 0, content)
        assert f"< {version} 200 OK" in result.err, result.err
    result = expect(fetch(room, "-I", f"{base}/1k"))
    assert b"200 OK" in result.out and b"content-length: 1024" in result.out.lower(), result.out
    expect(fetch(room, f"{base}/none"), 1, err="404")


@check("http fetches many at once from {}, over few connections", "nginx", "nginx with TLS",
       "nghttpd", "lighttpd", "haproxy with TLS")
def fetches_many(room, server):
    base, _ = place(room, server)
    result = expect(fetch(room, "--discard", "--parallel", "40", "--repeat", "500", base + "/1k",
                          base + "/text.txt"))
    assert b"1000 fetched, 0 failed, 515000 bytes" in result.out, result.out
    os.mkdir(room.path("got"))
    expect(fetch(room, "--output-dir", room.path("got"), "--parallel", "8",
                 *[f"{base}/{name}" for name in FILES]))
    for name, content in FILES.items():
        with open(os.path.join(room.path("got"), name), "rb") as file:
            assert digest(file.read()) == digest(content), name


@check("http sends bodies: text, a file, standard input ({})", "http/1.1", "h2", "h2c")
def posts(room, how):
    need("nghttpd" if how != "http/1.1" else "nginx")
    if how == "http/1.1":
        base = f"http://127.0.0.1:{nginx(room)[0]}/echo"
    else:
        options = ["--echo-upload"] + (["--no-tls"] if how == "h2c" else [])
        base = ("https://localhost" if how == "h2" else "h2c://127.0.0.1") + \
            f":{nghttpd(room, *options)}/"
    path = os.path.join(room.path("www"), "100k")
    given = FILES["1k"] * 300
    for options, sent, stdin in ((["-d", "hello"], b"hello", b""), (["-T", path], FILES["100k"], b""),
                                 (["-T", "-"], given, given), (["-T", "-"], b"", b"")):
        result = expect(fetch(room, *options, base, given=stdin))
        if how != "http/1.1":
            assert digest(result.out) == digest(sent), (options, len(result.out))
    if how == "http/1.1":
        result = expect(fetch(room, "--include", "-d", "hello", base))
        assert b"x-method: POST" in result.out or b"X-Method: POST" in result.out, result.out


@check("http-serve and http, over {}", "http", "https", "h2c", "http+unix", "https+unix",
       "http+unix-abstract", "http+vchan", "https+vchan")
def own_pair(room, how):
    where = {"http": "http://127.0.0.1:0", "https": "https://localhost:0",
             "h2c": "http://127.0.0.1:0", "http+unix": f"http+unix://{room.path('s').replace('/', '%2F')}",
             "https+unix": f"https+unix://{room.path('s').replace('/', '%2F')}",
             "http+unix-abstract": f"http+unix-abstract://conduit-{os.getpid()}/",
             "http+vchan": "http+vchan://0/", "https+vchan": "https+vchan://0/"}[how]
    env = dict(os.environ, XDG_RUNTIME_DIR=room.dir)
    server = room.start_ours("http-serve", "--root", make_root(room), "--cert", room.cert("server.pem"),
                             "--key", room.cert("server.key"), where, env=env)
    listening = server.uris(1)[0]
    base = where.rstrip("/")
    if ":0" in base:
        port = re.search(r":(\d+)(\?|$)", listening)[1]
        base = f"{how}://localhost:{port}" if how == "https" else f"{how}://127.0.0.1:{port}"
    name = ["--name", "localhost"] if how in ("https+unix", "https+vchan") else []
    for file, content in FILES.items():
        expect(fetch(room, *name, f"{base}/{file}", env=env), 0, content)
    result = expect(fetch(room, *name, "--discard", "--repeat", "200", "--parallel", "20",
                          base + "/1k", env=env))
    assert b"200 fetched, 0 failed" in result.out, result.out
    assert server.end() == 0, server.text()


@check("http by way of {}", "socks5", "http", "a chain of both")
def by_proxy(room, how):
    need("microsocks", "tinyproxy")
    site = Site(room)
    socks, connect = free_port(), free_port()
    room.start("microsocks", "-i", "127.0.0.1", "-p", str(socks))
    room.start("tinyproxy", "-d", "-c", room.write(
        "tinyproxy.conf", f"Port {connect}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\n"))
    eventually(lambda: accepts(socks) and accepts(connect), "both listen")
    via = {"socks5": f"socks5://127.0.0.1:{socks}", "http": f"http://127.0.0.1:{connect}",
           "a chain of both": f"socks5://127.0.0.1:{socks},http://127.0.0.1:{connect}"}[how]
    for base in (f"http://127.0.0.1:{site.port}", f"https://localhost:{site.tls}",
                 f"h2c://127.0.0.1:{site.port}"):
        for name in ("1k", "10m"):
            expect(fetch(room, "--via", via, f"{base}/{name}"), 0, FILES[name])
    expect(fetch(room, "--via", f"socks5://127.0.0.1:{free_port()}", base), 4, err="layer|refused")


@check("redirects, and where they may not lead")
def redirects(room):
    plain, tls = nginx(room)
    http, https = f"http://127.0.0.1:{plain}", f"https://localhost:{tls}"
    expect(fetch(room, http + "/see"), 0, FILES["text.txt"])
    expect(fetch(room, "-d", "x", http + "/see"), 0, FILES["text.txt"])
    expect(fetch(room, http + "/away"), 0, FILES["text.txt"])
    expect(fetch(room, https + "/down"), 4, b"", "from TLS to cleartext")
    expect(fetch(room, http + "/socket"), 4, b"", "not on the net")
    expect(fetch(room, http + "/loop"), 4, b"", "too many redirects")
    expect(fetch(room, "--max-redirects", "0", http + "/see"), 1, err="303")
    result = expect(fetch(room, "--include", "-d", "hello", http + "/keep"))
    assert b"POST" in result.out, result.out
    expect(fetch(room, "-v", http + "/folder"), 1, err="GET .*/folder/")


@check("a server of the net cannot lead to what is on this machine")
def redirects_here(room):
    there = "http://peer.example/"
    for place in ("http://www.xen/", "http://WWW.Xen./", "http://localhost:%d/", "http://a.localhost/",
                  "http://LOCALHOST./", "http://127.0.0.1:%d/", "http://127.1/", "http://0x7f000001/",
                  "http://0.0.0.0:%d/", "http://[::1]/", "http://[::]/",
                  "http://[::ffff:127.0.0.1]/", "https://localhost/", "h2c://localhost/"):
        liar = Liar(OK + b"Content-Length: 0\r\n\r\n")
        location = (place % liar.port if "%d" in place else place).encode()
        net = Liar(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")
        expect(fetch(room, "--rule", f"peer.example=tcp://127.0.0.1:{net.port}", there), 4, b"",
               "not on the net|no URI")
        assert liar.asked == [], place
        here = Liar(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")
        if "%d" in place:  # from one port here to another
            expect(fetch(room, f"http://127.0.0.1:{here.port}/"), 0, b"")


@check("http says what is wrong: names, ports, certificates, URIs, options")
def says_what(room):
    plain, tls = nginx(room)
    for arguments, code, err in [
            ([f"http://127.0.0.1:{free_port()}/"], 4, "refused"),
            (["http://none.invalid/"], 1, "none.invalid"),
            ([f"https://127.0.0.1:{plain}/"], 5, "TLS"),
            ([f"https://localhost:{tls}/", "--name", "b.example"], 5, "b.example"),
            (["redis://localhost/"], 2, "not a URI of HTTP"), (["http://a b/"], 2, ""),
            (["http://u:p@localhost/"], 2, "user name"), ([], 2, "usage"),
            (["-H", "nonsense", "http://x/"], 2, "NAME: VALUE"),
            (["-H", "Host: y", "http://x/"], 2, "not for you"),
            (["-H", "X: a\r\nY: b", "http://x/"], 2, "malformed"),
            (["-o", "/none/x", f"http://127.0.0.1:{plain}/1k"], 4, "/none/x"),
            (["-T", "/none/x", f"http://127.0.0.1:{plain}/1k"], 4, "/none/x"),
            (["--parallel", "2", "http://x/"], 2, "--discard")]:
        expect(fetch(room, *arguments), code, err=err)
    full = room.run("sh", "-c", f"{room.program('http')} http://127.0.0.1:{plain}/10m >/dev/full")
    expect(full, 4, err="No space left")


# ---- servers that break the rules

class Liar:
    """A server that says what it is told to, once per connection, and then `after` it."""

    def __init__(self, *answers, after="close"):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.answers, self.after = list(answers), after
        self.asked = []
        threading.Thread(target=self.serve, daemon=True).start()

    @staticmethod
    def end(conn):
        """As servers do: an end, and no reset for what the client still had to say."""
        try:
            conn.shutdown(socket.SHUT_WR)
            read_all(conn)
        except OSError:
            pass  # the client was faster

    def serve(self):
        for answer in self.answers:
            conn, _ = self.socket.accept()
            with conn:
                conn.settimeout(PATIENCE)
                self.asked.append(conn.recv(65536))
                conn.sendall(answer)
                if self.after == "close":
                    self.end(conn)
                if self.after == "reset":
                    time.sleep(0.2)
                    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                elif self.after == "wait":
                    read_all(conn)
        self.socket.close()


OK = b"HTTP/1.1 200 OK\r\n"
LIES = [
    ("a body that is cut short", OK + b"Content-Length: 10\r\n\r\nhello", "cut short"),
    ("chunks that are cut short", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", "cut short"),
    ("chunks without the last", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "cut short"),
    ("a head that is cut short", OK + b"Content-Len", "cut short"),
    ("no answer", b"", "without an answer|broke|reset"),
    ("no HTTP", b"220 smtp.example ESMTP\r\n", ""),
    ("two lengths", OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "two lengths|length"),
    ("Content-Length twice", OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "ength"),
    ("a huge head", OK + b"X: " + b"a" * 30000 + b"\r\n\r\n", "too large"),
    ("endless heads", OK + b"A: b\r\n" * 1000 + b"\r\n", "too large"),
    ("a folded line", OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n", "folded"),
    ("a chunk with a bad end", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
     "a chunk that does not end"),
    ("a bad chunk", OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunk"),
    ("another coding", OK + b"Transfer-Encoding: gzip\r\n\r\nx", "coding"),
    ("another protocol", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "protocol"),
    ("endless 1xx", b"HTTP/1.1 100 Continue\r\n\r\n" * 50, "cut short"),
    ("HTTP/2 in the clear", frame(4), ""),
]


@check("servers that break the rules, and how http says so")
def lies(room):
    for title, answer, err in LIES:
        liar = Liar(*[answer] * 3)
        result = fetch(room, f"http://127.0.0.1:{liar.port}/")
        assert result.code == 4 and re.search(err, result.err), (title, str(result))
    liar = Liar(OK + b"Content-Length: 10\r\n\r\nhello", after="reset")
    expect(fetch(room, f"http://127.0.0.1:{liar.port}/"), 4, b"hello", "cut short")
    liar = Liar(OK + b"Connection: close\r\n\r\nto the end")
    expect(fetch(room, f"http://127.0.0.1:{liar.port}/"), 0, b"to the end")
    liar = Liar(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 3 + OK + b"Content-Length: 2\r\n\r\nhi")
    expect(fetch(room, f"http://127.0.0.1:{liar.port}/"), 0, b"hi")
    liar = Liar(OK + b"Content-Length: 2\r\n\r\nhi" + OK + b"Content-Length: 3\r\n\r\nBAD",
                OK + b"Content-Length: 2\r\n\r\nho")
    uri = f"http://127.0.0.1:{liar.port}/"
    expect(fetch(room, uri, uri), 0, b"hiho")  # what came unasked answers nothing


LIES2 = [
    ("no frames", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ("an answer to nobody", frame(SETTINGS) + frame(HEADERS, 5, 3, b"\x88")),
    ("a push", frame(SETTINGS) + frame(PUSH, 4, 1, b"\0\0\0\2" + REQUEST)),
    ("no status", frame(SETTINGS) + frame(HEADERS, 5, 1, literal(b"a", b"b"))),
    ("a body that is cut short", frame(SETTINGS) + frame(HEADERS, 4, 1, b"\x88")
     + frame(DATA, 0, 1, b"hel")),
    ("a body that is too long", frame(SETTINGS) + frame(HEADERS, 4, 1, b"\x88" + literal(
        b"content-length", b"2")) + frame(DATA, 1, 1, b"hello")),
    ("a reset", frame(SETTINGS) + frame(HEADERS, 4, 1, b"\x88") + frame(RST, 0, 1, b"\0\0\0\2")),
    ("a bad frame", frame(SETTINGS) + frame(DATA, 0, 0, b"x")),
    ("a huge head", frame(SETTINGS) + frame(HEADERS, 0, 1, b"\x88") + b"".join(
        frame(CONTINUATION, 0, 1, literal(b"a%d" % i, b"b" * 120) * 100) for i in range(5))
     + frame(CONTINUATION, 4, 1)),
    ("more than the window", frame(SETTINGS) + frame(HEADERS, 4, 1, b"\x88")
     + frame(DATA, 0, 1, b"x" * 16384) * 80),
]


@check("HTTP/2 servers that break the rules")
def lies2(room):
    for title, answer in LIES2:
        liar = Liar(*[answer] * 3)
        result = fetch(room, f"h2c://127.0.0.1:{liar.port}/")
        assert result.code == 4 and result.err, (title, str(result))
    refused = frame(SETTINGS) + frame(RST, 0, 1, b"\0\0\0\7") + frame(GOAWAY, 0, 0, b"\0" * 8)
    good = frame(SETTINGS) + frame(HEADERS, 4, 1, b"\x88") + frame(DATA, 1, 1, b"hello")
    liar = Liar(refused, good)
    expect(fetch(room, f"h2c://127.0.0.1:{liar.port}/"), 0, b"hello")
    assert len(liar.asked) == 2


@check("a connection that was closed while idle is no error: the request is sent again")
def stale(room):
    once = OK + b"Content-Length: 2\r\n\r\nhi"
    liar = Liar(once, once, once)
    uri = f"http://127.0.0.1:{liar.port}/"
    expect(fetch(room, uri, uri, uri), 0, b"hihihi")


@check("what is secret for one server is not told to another")
def secrets(room):
    def head(asked):
        return asked[0].decode().lower()
    there = Liar(OK + b"Content-Length: 0\r\n\r\n")
    here = Liar(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n"
                b"Location: http://127.0.0.1:%d/\r\n\r\n" % there.port)
    expect(fetch(room, "-H", "Authorization: Basic x", "-H", "Cookie: a=b", "-H", "X-Other: c",
                 f"http://127.0.0.1:{here.port}/"))
    assert "authorization: basic x" in head(here.asked) and "cookie" in head(here.asked)
    assert "authorization" not in head(there.asked) and "cookie" not in head(there.asked)
    assert "x-other: c" in head(there.asked)


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


# memory that was given back is used again at once, so that what grows is seen under ASan, too
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1" \
    ":thread_local_quarantine_size_kb=64"
tap.run_checks(at_once=8)  # most of them wait
