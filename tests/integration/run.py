#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Our programs against real peers, both ways round, and against peers that misbehave.

    run.py BUILD-FOLDER SOURCE-FOLDER [WORD]     results in TAP; WORD: only titles that contain it

A test is a function of a Room (peers.py); @check gives it its title and, where one story is told of
several places, the rows to tell it for. Everything it starts ends with it. Nothing leaves this
machine.
"""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

from peers import PATIENCE, eventually, free_port, need, need_ipv6
from tap import check, run_checks

MEGABYTES = os.urandom(3_000_000)


def expect(result, code, out=None, err=None):
    """`result` ended with `code`, printed exactly `out`, and said `err` (a pattern) as an error."""
    assert result.code == code, f"expected exit {code}: {result}"
    if out is not None and result.out != out:
        digests = f"digests {digest(out)} and {digest(result.out)}"
        raise AssertionError(f"{len(out)} bytes expected, {digests}: {result}")
    if err is not None:
        assert re.search(err, result.err, re.MULTILINE), f"expected {err!r} to be said: {result}"
    return result


def digest(data):
    return hashlib.sha256(data).hexdigest()[:8]


def ended_well(server, number=signal.SIGTERM):
    code = server.end(number)
    assert code == 0, f"{' '.join(server.command)}: exit {code}: {server.text()}"


# ---- socat, over every transport, both ways round

PLACES = ["tcp4", "tcp6", "unix"]


def socat_listen(room, place):
    """What socat is told to listen at, and what our URI for it is, given the port."""
    if place == "tcp6":
        need_ipv6()
        return "TCP6-LISTEN:0,bind=[::1],fork", "tcp://[::1]:{}"
    if place == "tcp4":
        return "TCP4-LISTEN:0,bind=127.0.0.1,fork", "tcp://127.0.0.1:{}"
    return f"UNIX-LISTEN:{room.path('peer.sock')},fork", f"unix:{room.path('peer.sock')}"


def our_uri(room, place):
    """Where we are told to listen."""
    if place == "tcp6":
        need_ipv6()
        return "tcp://[::1]:0"
    if place == "vchan":
        os.environ["XDG_RUNTIME_DIR"] = room.dir
        return "vchan://0/test"
    return {"tcp": "tcp://127.0.0.1:0", "tcp4": "tcp4://127.0.0.1:0", "tls": "tls://127.0.0.1:0",
            "unix": "unix:" + room.path("ours.sock")}[place]


def identity(room, name="server"):
    return ["--cert", room.cert(name + ".pem"), "--key", room.cert(name + ".key")]


def trust(room, name="a.example"):
    return ["--ca", room.cert("ca.pem"), "--name", name]


def echo_server(room, place, *options, cert="server"):
    """The server, where it listens, and what a client of ours has to be told to trust it."""
    if place != "tls":
        server = room.start_ours("echo-server", *options, our_uri(room, place))
        return server, server.uris(1)[0], []
    server = room.start_ours("echo-server", *identity(room, cert), *options, our_uri(room, place))
    return server, server.uris(1)[0], trust(room)


def socat_connect(uri):
    """socat's word for a place that we say we listen at."""
    if uri.startswith("unix:"):
        return "UNIX-CONNECT:" + uri[len("unix:"):]
    host, _, port = uri[len("tcp://"):].rpartition(":")
    return ("TCP6:" if host.startswith("[") else "TCP4:") + f"{host}:{port}"


@check("conduit-cat talks to socat over {}, each direction ending on its own", *PLACES)
def cat_to_socat(room, place):
    address, uri = socat_listen(room, place)
    _, port = room.socat(address, "EXEC:cat")
    expect(room.run_ours("conduit-cat", uri.format(port), given=MEGABYTES), 0, out=MEGABYTES)


@check("echo-client talks to socat over {}", *PLACES)
def echo_client_to_socat(room, place):
    address, uri = socat_listen(room, place)
    _, port = room.socat(address, "EXEC:cat")
    result = expect(room.run_ours("echo-client", uri.format(port), given=MEGABYTES), 0)
    assert result.out.startswith(b"3000000 bytes echoed in "), result.out


@check("socat talks to echo-server over {}", *PLACES)
def socat_to_echo_server(room, place):
    need("socat")
    server, uri, _ = echo_server(room, place)
    result = room.run("socat", "-t", str(PATIENCE), "-", socat_connect(uri), given=MEGABYTES)
    expect(result, 0, out=MEGABYTES)
    ended_well(server)


@check("socat talks to conduit-cat --listen over {}", *PLACES)
def socat_to_cat(room, place):
    need("socat")
    server = room.start_ours("conduit-cat", "--listen", our_uri(room, place),
                             stdin=subprocess.PIPE, keep_output=True)
    uri = server.uris(1)[0]
    server.process.stdin.write(b"from the server")
    server.process.stdin.close()
    result = room.run("socat", "-t", str(PATIENCE), "-", socat_connect(uri), given=MEGABYTES)
    expect(result, 0, out=b"from the server")
    assert server.wait() == 0, server.text()
    assert server.output == MEGABYTES


@check("echo-client and echo-server carry every byte over {}", "tcp4", "tcp6", "unix", "tls",
       "vchan")
def echo_pair(room, place):
    server, uri, trusting = echo_server(room, place)
    result = expect(room.run_ours("echo-client", *trusting, uri, given=MEGABYTES * 4), 0)
    assert result.out.startswith(b"12000000 bytes echoed in "), result.out
    ended_well(server, signal.SIGINT)


@check("conduit-cat talks to conduit-cat over vchan, each direction ending on its own")
def cat_over_vchan(room):
    server = room.start_ours("conduit-cat", "--listen", our_uri(room, "vchan"),
                             stdin=subprocess.PIPE, keep_output=True)
    uri = server.uris(1)[0]
    server.process.stdin.write(b"from the server")
    server.process.stdin.close()
    expect(room.run_ours("conduit-cat", uri, given=MEGABYTES), 0, out=b"from the server")
    assert server.wait() == 0, server.text()
    assert server.output == MEGABYTES


@check("conduit-resolve --trace tells where a vchan's listener is, and whether it is there")
def trace_vchan(room):
    uri = our_uri(room, "vchan")
    server = room.start_ours("echo-server", uri)
    server.uris(1)
    place = re.escape(f"{room.dir}/conduit/0.test.vchan")
    for state, code in (("somebody listens there", 0), ("left behind by a process that is gone", 4)):
        result = room.run_ours("conduit-resolve", "--trace", "--connect", uri)
        assert result.code == code, result
        assert re.search(rf"rendezvous +{place}: {state}$", result.err, re.MULTILINE), result
        server.end(signal.SIGKILL)
    result = room.run_ours("conduit-resolve", "--trace", "vchan://nobody/x")
    assert re.search(r"rendezvous .*: nobody listens there$", result.err, re.MULTILINE), result


@check("conduit-cat --keep serves one client after another")
def cat_keep(room):
    server = room.start_ours("conduit-cat", "--listen", "--keep", our_uri(room, "tcp"),
                             keep_output=True)
    uri = server.uris(1)[0]
    for piece in (b"first ", b"second ", b"third"):
        expect(room.run_ours("conduit-cat", uri, given=piece), 0, out=b"")
    ended_well(server)
    assert server.output == b"first second third", server.output


# ---- TLS: openssl

def port_of(uri):
    return re.match(r"\w+://[^?]*:(\d+)", uri)[1]


def ask_s_client(room, port, *options, line=b"hello\n"):
    """Send a line with openssl s_client, and wait for one: (what came, what it said)."""
    need("openssl")
    client = room.start("openssl", "s_client", "-connect", f"127.0.0.1:{port}",
                        *(() if "-no-brief" in options else ("-brief",)),
                        "-CAfile", room.cert("ca.pem"), "-verify_return_error", "-verify_hostname",
                        "a.example", "-servername", "a.example",
                        *(o for o in options if o != "-no-brief"), stdin=subprocess.PIPE)

    def answered():
        return line.decode().strip() in client.text() or client.process.poll() is not None
    try:
        client.process.stdin.write(line)
        client.process.stdin.flush()
        eventually(answered, "s_client got its line back")
        client.process.stdin.close()
    except BrokenPipeError:
        pass
    code = client.wait()
    return code, client.text()


VERSIONS = [("1.2", "-tls1_2"), ("1.3", "-tls1_3")]


@check("conduit-cat talks to openssl s_server, TLS {}", *VERSIONS)
def cat_to_s_server(room, version, option):
    _, port = room.s_server("server", option)
    with subprocess.Popen([room.program("conduit-cat"), "--info", *trust(room),
                           f"tls://127.0.0.1:{port}"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as cat:
        cat.stdin.write(b"stressed\n")
        cat.stdin.flush()
        assert cat.stdout.readline() == b"desserts\n"
        cat.stdin.close()
        info = json.loads(cat.stderr.readline())
        assert info["tls"]["version"] == "TLSv" + version, info
        assert info["tls"]["name"] == "a.example" and info["tls"]["verify"] == "full", info
        assert cat.wait(PATIENCE) == 0, cat.stderr.read()


@check("openssl s_client talks to echo-server, TLS {}", *VERSIONS)
def s_client_to_echo_server(room, version, option):
    server, uri, _ = echo_server(room, "tls")
    code, said = ask_s_client(room, port_of(uri), option)
    assert code == 0 and "hello" in said and "TLSv" + version in said, said
    ended_well(server)


@check("openssl s_client talks to conduit-cat --listen")
def s_client_to_cat(room):
    server = room.start_ours("conduit-cat", "--listen", *identity(room), our_uri(room, "tls"),
                             stdin=subprocess.PIPE, keep_output=True)
    server.process.stdin.write(b"hello\n")
    server.process.stdin.flush()
    code, said = ask_s_client(room, port_of(server.uris(1)[0]))
    assert code == 0, said
    server.process.stdin.close()
    assert server.wait() == 0, server.text()
    assert server.output == b"hello\n", server.output


@check("openssl s_client resumes with echo-server, TLS {}", *VERSIONS)
def s_client_resumes(room, version, option):
    server, uri, _ = echo_server(room, "tls")
    kept = room.path("session.pem")
    code, said = ask_s_client(room, port_of(uri), option, "-no-brief", "-sess_out", kept)
    assert code == 0 and "New, TLSv" in said, said
    code, said = ask_s_client(room, port_of(uri), option, "-no-brief", "-sess_in", kept)
    assert code == 0 and "Reused, TLSv" in said, said
    ended_well(server)


@check("a ticket for one name is no way past another's client certificates, TLS {}", *VERSIONS)
def ticket_bypass(room, version, option):
    server, uri, _ = echo_server(room, "tls", "--ca", room.cert("ca.pem"),
                                 "--tls", "client_cert=none",
                                 "--tls", "client_cert=require@a.example")
    kept = room.path("session.pem")
    free = ["-servername", "localhost", "-verify_hostname", "localhost"]
    code, said = ask_s_client(room, port_of(uri), option, "-no-brief", *free, "-sess_out", kept)
    assert code == 0 and "New, TLSv" in said, said
    code, said = ask_s_client(room, port_of(uri), option, "-no-brief", *free, "-sess_in", kept)
    assert code == 0 and "Reused, TLSv" in said, said
    code, said = ask_s_client(room, port_of(uri), option, "-no-brief", "-sess_in", kept)
    assert code != 0 and "hello" not in said, said
    server.find(r"^echo-server: tls: .*the peer showed no certificate, and one is demanded")
    ended_well(server)


@check("a TLS version below --tls-min is refused, with a line at the server")
def tls_min(room):
    server, uri, _ = echo_server(room, "tls", "--tls-min", "1.3")
    code, said = ask_s_client(room, port_of(uri), "-tls1_2")
    assert code != 0, said
    server.find(r"^echo-server: tls: ")
    ended_well(server)


@check("ALPN: the server's first choice, and no overlap is refused")
def alpn(room):
    server, listening, trusting = echo_server(room, "tls", "--alpn", "echo/2,echo/1")
    port = port_of(listening)
    code, said = ask_s_client(room, port, "-alpn", "echo/1,echo/2")
    assert code == 0, said
    uri = f"tls://127.0.0.1:{port}"  # without the server's own list, which its line has
    cat = ["conduit-cat", *trusting, "--info", uri, "--alpn"]
    result = expect(room.run_ours(*cat, "echo/1,echo/2"), 0)
    assert json.loads(result.err)["tls"]["alpn"] == "echo/2", result.err
    expect(room.run_ours(*cat, "other"), 5, out=b"")
    ended_well(server)


@check("a server that demands a client certificate takes the right one and no other")
def mutual(room):
    server, uri, trusting = echo_server(room, "tls", "--ca", room.cert("ca.pem"))
    cat = ["conduit-cat", *trusting, uri]
    expect(room.run_ours(*cat, *identity(room, "client"), given=b"hello"), 0, out=b"hello")
    expect(room.run_ours(*cat, given=b"hello"), 5, out=b"")
    expect(room.run_ours(*cat, *identity(room, "self"), given=b"hello"), 5, out=b"")
    ended_well(server)


REFUSALS = [
    ("for another name", "b", "certificate is for .*b\\.example.*not .*a\\.example"),
    ("that has expired", "expired", "expired [0-9]+ days ago"),
    ("that is not valid yet", "early", "not valid for another [0-9]+ days"),
    ("that is self-signed", "self", "self.signed"),
    ("of an unknown CA", "unknown", "signed by .Conduit Test other-ca., which is in none of"),
    ("that names nobody", "nameless", "a\\.example"),
]


@check("a certificate {} is refused with exit 5, and says so", *REFUSALS)
def refused_certificate(room, what, cert, line):
    _, port = room.s_server(cert)
    result = room.run_ours("conduit-cat", *trust(room), f"tls://127.0.0.1:{port}",
                           given=b"secret\n")
    expect(result, 5, out=b"", err=r"^conduit-cat: tls: .*(" + line + ")")
    assert len(result.err.splitlines()) == 1, result.err


@check("each refused certificate has a line of its own")
def distinct_lines(room):
    lines = set()
    for _, cert, _ in REFUSALS:
        _, port = room.s_server(cert)
        result = room.run_ours("conduit-cat", *trust(room), f"tls://127.0.0.1:{port}")
        lines.add(re.sub(r":\d+", "", result.err))
    assert len(lines) == len(REFUSALS), lines


@check("--insecure takes any certificate, and the connection's info says so")
def insecure(room):
    server, uri, _ = echo_server(room, "tls", cert="self")
    result = room.run_ours("conduit-cat", "--insecure", "--info", uri, given=b"hello")
    expect(result, 0, out=b"hello")
    assert json.loads(result.err)["tls"]["verify"] == "insecure", result.err
    ended_well(server)


# ---- systemd

@check("systemd-socket-activate starts echo-server with {}", "TCP", "a Unix socket",
       "several of each, by name", "TLS over TCP")
def activated(room, which):
    need("systemd-socket-activate")
    port, other, path = free_port(), free_port(), room.path("activated.sock")
    tcp, unix = f"127.0.0.1:{port}", path
    sockets, names, uris, tls = {
        "TCP": ([tcp], "web", ["systemd:web"], []),
        "a Unix socket": ([unix], "adm", ["systemd:adm"], []),
        "several of each, by name": ([tcp, unix, f"127.0.0.1:{other}"], "web:adm:web",
                                     ["systemd:adm", "systemd:web"], []),
        "TLS over TCP": ([tcp], "web", ["tls+systemd:web"], identity(room)),
    }[which]
    listens = [word for at in sockets for word in ("-l", at)]
    server = room.start("systemd-socket-activate", *listens, "--fdname=" + names,
                        room.program("echo-server"), *tls, *uris)
    server.find("Listening on")
    for at in sockets:
        ours = "unix:" + at if at == path else f"tcp://{at}"
        if tls:
            expect(room.run_ours("conduit-cat", *trust(room), "tls" + ours[3:], given=MEGABYTES), 0,
                   out=MEGABYTES)
        else:
            expect(room.run_ours("conduit-cat", ours, given=MEGABYTES), 0, out=MEGABYTES)
    assert len(server.uris(len(sockets))) == len(sockets)
    ended_well(server)


# ---- a server that is replaced

@check("a server is replaced five times under load, and nobody is refused: {}", "tcp", "unix")
def restarted(room, place):
    server = room.start(os.path.join(room.build, "examples", "restart"), our_uri(room, place))
    first = server.find(r"^(\d+) listening (\S+)$")
    at = first[2].partition(":")[2] if place == "unix" else ("127.0.0.1", int(port_of(first[2])))
    family = socket.AF_UNIX if place == "unix" else socket.AF_INET
    over, served, failures = threading.Event(), [], []

    def call():
        while not over.is_set():
            try:
                with socket.socket(family) as s:
                    s.settimeout(PATIENCE)
                    s.connect(at)
                    s.sendall(b"echo")
                    assert s.recv(4) == b"echo"
                    served.append(1)
            except (OSError, AssertionError) as error:
                failures.append(repr(error))
    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    pid, pids = int(first[1]), set()
    try:
        for _ in range(5):
            before = len(served)
            pids.add(pid)
            os.kill(pid, signal.SIGHUP)
            eventually(lambda: newest(server) not in pids, "a successor listens")
            pid = newest(server)
            eventually(lambda: len(served) > before + 50 or failures, "the successor serves")
    finally:
        over.set()
        for caller in callers:
            caller.join()
        os.kill(pid, signal.SIGTERM)
    assert not failures, f"{len(failures)} of {len(served)}: {failures[:3]}"
    assert len(pids) == 5


def newest(server):
    return int(re.findall(r"^(\d+) listening", server.text(), re.MULTILINE)[-1])


# ---- the web: nginx and curl

def web(place):
    return {"http over IPv4": "http://127.0.0.1:{0}/file",
            "http over IPv6": "http://[::1]:{0}/file",
            "https, TLS 1.2": "https://a.example:{1}/file",
            "https, TLS 1.3": "https://a.example:{2}/file",
            "http+unix": "http+unix://{3}/file",
            "https+unix": "https+unix://{4}/file"}[place]


@check("http-get fetches from nginx what curl fetches: {}", "http over IPv4", "http over IPv6",
       "https, TLS 1.2", "https, TLS 1.3", "http+unix", "https+unix")
def http_get(room, place):
    need("curl")
    if place.endswith("IPv6"):
        need_ipv6()
    ports = room.nginx({"file": MEGABYTES})
    paths = [room.path(name) for name in ("web.sock", "webs.sock")]
    uri = web(place).format(*ports, *(p.replace("/", "%2F") for p in paths))
    options = ["--ca", room.cert("ca.pem")]
    theirs = uri
    more = []
    if "unix" in place:
        more = ["--unix-socket", paths[place.startswith("https")]]
        theirs = place.split("+")[0] + "://a.example/file"
        options += ["--name", "a.example"]
    elif "https" in place:
        port = ports[1 if "1.2" in place else 2]
        more = ["--connect-to", f"::127.0.0.1:{port}"]
        options += ["--connect-to", f"tcp://127.0.0.1:{port}"]
    curl = expect(room.run("curl", "-sf", "--cacert", room.cert("ca.pem"), *more, theirs), 0)
    expect(room.run_ours("http-get", *options, uri), 0, out=curl.out)
    assert curl.out == MEGABYTES


@check("curl fetches from conduit-cat --listen over {}", "tcp", "unix", "tls")
def curl_to_cat(room, place):
    need("curl")
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(MEGABYTES)
    server = room.start_ours("conduit-cat", "--listen", *(identity(room) if place == "tls" else []),
                             our_uri(room, place), stdin=subprocess.PIPE, keep_output=True)
    where = server.uris(1)[0]
    if place == "unix":
        client = ["--unix-socket", room.path("ours.sock"), "http://localhost/"]
    else:
        client = [f"{'https' if place == 'tls' else 'http'}://127.0.0.1:{port_of(where)}/"]
    curl = room.start("curl", "-sf", "--cacert", room.cert("ca.pem"), *client, keep_output=True)
    server.process.stdin.write(answer + MEGABYTES)
    server.process.stdin.close()
    assert curl.wait() == 0, curl.text()
    assert curl.output == MEGABYTES
    assert server.wait() == 0, server.text()
    assert server.output.startswith(b"GET / HTTP/1.1\r\n"), server.output[:80]


# ---- names: nsd, and name servers that do not answer

@check("conduit-resolve asks nsd: addresses, an alias, and JSON that says the same")
def resolve(room):
    ask = ["conduit-resolve", "--server", f"127.0.0.1:{room.nsd()}"]
    result = expect(room.run_ours(*ask, "http://web.conduit.test"), 0)
    assert set(result.out.split()) == {b"tcp://127.0.0.1:80", b"tcp://[::1]:80"}, result.out
    four = b"tcp://127.0.0.1:80\n"
    expect(room.run_ours(*ask, "-4", "http://web.conduit.test"), 0, out=four)
    expect(room.run_ours(*ask, "http://alias.conduit.test"), 0, out=four)
    result = expect(room.run_ours(*ask, "--json", "https://four.conduit.test"), 0)
    said = json.loads(result.out)
    (endpoint,) = said["results"][0]["endpoints"]
    assert said["schema"] == 1, said
    assert endpoint["address"] == "127.0.0.1" and endpoint["port"] == 443, said
    assert endpoint["tls"]["name"] == "four.conduit.test" and endpoint["ttl"] == 300, said


@check("conduit-resolve --connect tells who won")
def resolve_connect(room):
    server = f"127.0.0.1:{room.nsd()}"
    port = room.nginx({"file": b"hello"})[0]
    result = expect(room.run_ours("conduit-resolve", "--server", server, "--connect",
                                  f"http://four.conduit.test:{port}/"), 0)
    assert f"\nconnected tcp://127.0.0.1:{port} peer " in result.out.decode(), result.out


@check("a name that {}: exit 1 and a line that says so", ("does not exist", "nowhere"),
       ("has no address", "empty"))
def no_such_name(room, what, name):
    server = f"127.0.0.1:{room.nsd()}"
    for program in ("conduit-resolve", "conduit-cat"):
        result = room.run_ours(program, "--server", server, f"http://{name}.conduit.test")
        expect(result, 1, out=b"", err=rf"^{program}: resolve: .*{name}\.conduit\.test")


@check("a name server that refuses to answer: exit 3")
def dns_refused(room):
    server = f"127.0.0.1:{room.nsd()}"
    result = room.run_ours("conduit-resolve", "--server", server, "http://elsewhere.test")
    expect(result, 3, out=b"", err=r"^conduit-resolve: resolve: ")


@check("a name server that says nothing: exit 3 within --timeout")
def dns_silent(room):
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{silent.getsockname()[1]}"
        begin = time.monotonic()
        result = room.run_ours("conduit-cat", "--server", server, "--timeout", "1",
                               "http://web.conduit.test")
        took = time.monotonic() - begin
    expect(result, 3, out=b"", err=r"^conduit-cat: resolve: ")
    assert 0.9 < took < 3, f"took {took:.1f} s"


# ---- what cannot be connected to

@check("nobody listens: exit 4 and a line that says where ({})", "tcp", "unix")
def nobody_listens(room, place):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        uri = f"tcp://127.0.0.1:{port}" if place == "tcp" else "unix:" + room.path("nobody")
        result = room.run_ours("conduit-cat", uri, given=b"hello")
    expect(result, 4, out=b"", err=rf"^conduit-cat: dial: {re.escape(uri)}: ")


@check("a malformed URI, {}: exit 2 and nothing happens", "tcp://127.0.0.1:99999", "tcp://[::1",
       "example.org", "nosuch://host:1", "tls://127.0.0.1:1?verfy=full", "tcp://127.0.0.1")
def malformed(room, uri):
    for program in ("conduit-cat", "conduit-resolve", "echo-client", "http-get", "echo-server"):
        result = room.run_ours(program, uri)
        expect(result, 2, out=b"", err=rf"^{program}: \S")


@check("a peer that accepts and says nothing is given up after --timeout")
def silent_peer(room):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"tls://localhost:{silent.getsockname()[1]}"
        begin = time.monotonic()
        result = room.run_ours("conduit-cat", "--timeout", "1", uri)
        took = time.monotonic() - begin
    assert result.code in (4, 5) and result.err, result
    assert 0.9 < took < 4, f"took {took:.1f} s"


# ---- peers that misbehave, and servers that go on

def still_serves(room, uri, *options):
    result = room.run_ours("conduit-cat", *options, uri, given=b"still there?")
    expect(result, 0, out=b"still there?")


def raw_client(uri):
    return socket.create_connection(("127.0.0.1", int(port_of(uri))), PATIENCE)


@check("half-close: what was sent comes back whole after our end")
def half_close(room):
    server, uri, _ = echo_server(room, "tcp")
    with raw_client(uri) as s:
        s.sendall(MEGABYTES[:100_000])
        s.shutdown(socket.SHUT_WR)
        came = b"".join(iter(lambda: s.recv(65536), b""))
    assert came == MEGABYTES[:100_000]
    ended_well(server)


@check("a client killed in mid-stream costs the server nothing: {}", "tcp", "tls",
       "vchan")
def client_killed(room, place):
    server, uri, trusting = echo_server(room, place)
    before = server.descriptors()
    with open("/dev/zero", "rb") as endless:
        clients = [room.start_ours("echo-client", *trusting, uri, stdin=endless) for _ in range(3)]
        each = 3 if place == "vchan" else 1
        eventually(lambda: server.descriptors() == before + 3 * each, "three are connected")
        for client in clients:
            client.end(signal.SIGKILL)
    eventually(lambda: server.descriptors() == before, "the three are gone")
    still_serves(room, uri, *trusting)
    ended_well(server)


@check("a peer that never reads holds up nobody: memory and CPU stay flat")
def never_reads(room):
    server, uri, _ = echo_server(room, "tcp")
    with raw_client(uri) as s:
        s.settimeout(0.5)
        sent = 0
        try:
            while True:
                sent += s.send(MEGABYTES)
        except TimeoutError:
            pass
        memory, cpu = server.kilobytes(), server.cpu_seconds()
        begin = time.monotonic()
        try:
            s.settimeout(1.5)
            sent += s.send(MEGABYTES)
        except TimeoutError:
            pass
        assert time.monotonic() - begin > 1, f"it took {sent} bytes and wants more"
        grown, used = server.kilobytes() - memory, server.cpu_seconds() - cpu
        assert grown < 1024, f"grew by {grown} kB while the peer did not read"
        assert used < 0.2, f"used {used} s of CPU while the peer did not read"
        still_serves(room, uri)
    ended_well(server)


@check("a peer that never shakes hands holds up nobody, and neither does one that talks nonsense")
def handshake_abuse(room):
    server, uri, trusting = echo_server(room, "tls")
    silent = [raw_client(uri) for _ in range(20)]
    with raw_client(uri) as nonsense:
        nonsense.sendall(b"GET / HTTP/1.0\r\n\r\n")
        server.find(r"^echo-server: tls: ")
        still_serves(room, uri, *trusting)
    for s in silent:
        s.close()
    still_serves(room, uri, *trusting)
    ended_well(server)


@check("a server killed in mid-handshake: exit 5 or 4, one line, at once")
def server_killed_in_handshake(room):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        cat = room.start_ours("conduit-cat", f"tls://localhost:{listener.getsockname()[1]}")
        peer, _ = listener.accept()
        assert peer.recv(1) == b"\x16", "a handshake record"
        peer.close()
        listener.close()
        code = cat.wait()
    assert code in (4, 5), code
    assert len([line for line in cat.lines if line.startswith("conduit-cat: ")]) == 1, cat.text()


@check("a server killed in mid-stream is not an end: {}", ("tcp", 4), ("tls", 5),
       ("vchan", 4))
def server_killed(room, place, code):
    server, uri, trusting = echo_server(room, place)
    with open("/dev/zero", "rb") as endless:
        client = room.start_ours("echo-client", *trusting, uri, stdin=endless)
        eventually(lambda: server.cpu_seconds() > 0.05, "bytes flow")
        server.end(signal.SIGKILL)
        assert client.wait() in (4, code), client.text()
    assert re.search(r"^echo-client: \S", client.text(), re.MULTILINE), client.text()


@check("a TLS stream cut without a goodbye: exit 5")
def truncated(room):
    server, port = room.s_server("server")
    cat = room.start_ours("conduit-cat", *trust(room), f"tls://127.0.0.1:{port}",
                          stdin=subprocess.PIPE)
    cat.process.stdin.write(b"desserts\n")
    cat.process.stdin.flush()
    cat.find("stressed")
    server.end(signal.SIGKILL)
    assert cat.wait() == 5, cat.text()


@check("SIGTERM: who is being served is served to the end, and the exit is 0")
def drains(room):
    server, uri, _ = echo_server(room, "tcp")
    with raw_client(uri) as s:
        s.sendall(b"before")
        assert s.recv(100) == b"before"
        server.process.send_signal(signal.SIGTERM)
        s.sendall(b"after")
        assert s.recv(100) == b"after"
        s.shutdown(socket.SHUT_WR)
        assert s.recv(100) == b""
    assert server.wait() == 0, server.text()


@check("standard output that nobody reads any more ends conduit-cat with exit 4")
def output_closed(room):
    with open("/dev/zero", "rb") as endless:
        server = room.start_ours("conduit-cat", "--listen", our_uri(room, "tcp"), stdin=endless)
        with subprocess.Popen([room.program("conduit-cat"), server.uris(1)[0]],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as cat:
            cat.stdout.read(1000)
            cat.stdout.close()
            assert cat.wait(PATIENCE) == 4, cat.stderr.read()


@check("standard input may be a file, a pipe, empty or closed")
def inputs(room):
    server, uri, _ = echo_server(room, "tcp")
    path = room.path("input")
    with open(path, "wb") as file:
        file.write(MEGABYTES)
    for how, expected in [('"$0" "$1" <"$2"', MEGABYTES), ('cat "$2" | "$0" "$1"', MEGABYTES),
                          ('"$0" "$1" </dev/null', b""), ('"$0" "$1" <&-', b"")]:
        result = room.run("sh", "-c", how, room.program("conduit-cat"), uri, path)
        expect(result, 0, out=expected)
    ended_well(server)


# ---- threads

@check("several threads serve one port, each with the certificate and the parameters of the URI")
def tls_threads(room):
    server = room.start_ours("threads", "3", f"tls://127.0.0.1:0?cert={room.cert('server.pem')}"
                             f"&key={room.cert('server.key')}&alpn=x")
    port = re.search(r":(\d+)\?", server.uris(1)[0])[1]
    for _ in range(15):
        result = expect(room.run_ours("conduit-cat", "--info", "--ca", room.cert("ca.pem"), "--alpn",
                                      "x", f"tls://127.0.0.1:{port}", given=b"hello"), 0, b"hello")
        assert json.loads(result.err.partition("\n")[0])["tls"]["alpn"] == "x", result.err
    ended_well(server)
    served = [int(found[1]) for found in server.find(r"^thread \d: (\d+) connections", 3)]
    assert sum(served) == 15 and sum(n > 0 for n in served) > 1, served


# ---- redis

@check("a real redis answers PING over {}", "tcp", "unix")
def redis_ping(room, place):
    port = room.redis()
    uri = f"redis://127.0.0.1:{port}" if place == "tcp" else "unix:" + room.path("redis.sock")
    expect(room.run_ours("conduit-cat", uri, given=b"PING\r\nQUIT\r\n"), 0, out=b"+PONG\r\n+OK\r\n")


socket.setdefaulttimeout(PATIENCE)
run_checks()
