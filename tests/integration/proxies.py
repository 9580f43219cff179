#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Proxies that are not ours: microsocks, tinyproxy, TLS in front of it; and haproxy, nginx and curl
as speakers of the PROXY protocol, in both directions.

    proxies.py BUILD-FOLDER SOURCE-FOLDER [WORD]     results in TAP; WORD: only titles with it

A program that this machine lacks is a skipped test.
"""

import json
import os
import socket
import subprocess
import threading

from peers import PATIENCE, eventually, free_port, accepts, need
from tap import check, run_checks

DATA = os.urandom(500_000)


# ---- what is behind a proxy, and the proxies

def echo(room, *options, uri="tcp://localhost:0"):
    server = room.start_ours("echo-server", *options, uri)
    return server, int(server.uris(1)[0].partition("?")[0].rpartition(":")[2])


def microsocks(room, *options):
    need("microsocks")
    port = free_port()
    room.start("microsocks", "-i", "127.0.0.1", "-p", str(port), *options)
    eventually(lambda: accepts(port), "microsocks listens")
    return port


def tinyproxy(room, login=""):
    need("tinyproxy")
    port = free_port()
    conf = f"Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\n{login}\n"
    room.start("tinyproxy", "-d", "-c", room.write("tinyproxy.conf", conf))
    eventually(lambda: accepts(port), "tinyproxy listens")
    return port


def haproxy(room, text, how=""):
    """In front of what `text` says; the port at which it listens `how`."""
    need("haproxy")
    front = free_port()
    conf = "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n"
    conf += f"listen x\n bind 127.0.0.1:{front} {how}\n {text}\n"
    room.start("haproxy", "-db", "-f", room.write("haproxy.cfg", conf))
    eventually(lambda: accepts(front), "haproxy listens")
    return front


def talk(room, uri, *options, given=DATA):
    """What comes back through conduit-cat, whose standard input ends only when all has: not every
    proxy lets one direction end alone. And what it says about the connection."""
    cat = subprocess.Popen([room.program("conduit-cat"), "--info", *options, uri],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    sender = threading.Thread(target=lambda: (cat.stdin.write(given), cat.stdin.flush()))
    sender.start()
    timer = threading.Timer(PATIENCE, cat.kill)
    timer.start()
    out = cat.stdout.read(len(given))
    sender.join()
    cat.stdin.close()
    cat.stdout.read()
    err = cat.stderr.read().decode()
    cat.wait()
    timer.cancel()
    assert out == given, f"{len(out)} of {len(given)} bytes: {err}"
    return json.loads(err.partition("\n")[0])


def refused(room, uri, *options, says):
    result = room.run_ours("conduit-cat", *options, uri, timeout=PATIENCE)
    assert result.code == 4 and says in result.err and "layer:" in result.err, str(result)


# ---- SOCKS and CONNECT

@check("through microsocks, by name, as {}", "socks5", "socks5h")
def through_microsocks(room, kind):
    _, port = echo(room)
    proxy = microsocks(room)
    info = talk(room, f"tcp://localhost:{port}", "--via", f"{kind}://127.0.0.1:{proxy}")
    assert info["peer"] == f"tcp://localhost:{port}" and info["stack"] == "socks5+tcp", info
    assert info["via"] == f"tcp://127.0.0.1:{proxy}", info


@check("microsocks wants a user")
def microsocks_login(room):
    _, port = echo(room)
    proxy = microsocks(room, "-u", "al", "-P", "s:cret")
    uri = f"tcp://127.0.0.1:{port}"
    talk(room, uri, "--via", f"socks5://al:s%3Acret@127.0.0.1:{proxy}")
    refused(room, uri, "--via", f"socks5://al:no@127.0.0.1:{proxy}", says="does not accept the user")
    refused(room, uri, "--via", f"socks5://127.0.0.1:{proxy}", says="give it a user")


@check("microsocks says that nobody listens there")
def microsocks_refuses(room):
    proxy = microsocks(room)
    refused(room, f"tcp://127.0.0.1:{free_port()}", "--via", f"socks5://127.0.0.1:{proxy}",
            says="connection refused")


@check("through tinyproxy, with TLS that proves the target's name")
def through_tinyproxy(room):
    server, port = echo(room, "--cert", room.cert("server.pem"), "--key", room.cert("server.key"),
                        uri="tls://localhost:0")
    proxy = tinyproxy(room)
    trust = ["--ca", room.cert("ca.pem"), "--via", f"http://127.0.0.1:{proxy}"]
    info = talk(room, f"tls://localhost:{port}", *trust)
    assert info["tls"]["name"] == "localhost" and info["stack"] == "tls+connect+tcp", info
    result = room.run_ours("conduit-cat", "--name", "b.example", *trust, f"tls://localhost:{port}")
    assert result.code == 5 and "b.example" in result.err, str(result)


@check("tinyproxy wants a user")
def tinyproxy_login(room):
    _, port = echo(room)
    proxy = tinyproxy(room, "BasicAuth al secret")
    uri = f"tcp://127.0.0.1:{port}"
    talk(room, uri, "--via", f"http://al:secret@127.0.0.1:{proxy}")
    refused(room, uri, "--via", f"http://al:no@127.0.0.1:{proxy}", says="401")
    refused(room, uri, "--via", f"http://127.0.0.1:{proxy}", says="407")


@check("through tinyproxy behind TLS of haproxy's, with TLS inside: two names")
def tls_in_tls(room):
    _, port = echo(room, "--cert", room.cert("server.pem"), "--key", room.cert("server.key"),
                   uri="tls://localhost:0")
    front = haproxy(room, f"server s 127.0.0.1:{tinyproxy(room)}",
                    f"ssl crt {room.cert_and_key('b')}")
    uri, ca = f"tls://localhost:{port}", ["--ca", room.cert("ca.pem")]
    info = talk(room, uri, *ca, "--via", f"https://127.0.0.1:{front}?name=b.example")
    assert info["stack"] == "tls+connect+tls+tcp", info
    assert info["tls"]["name"] == "localhost" and "name.2=b.example" in info["endpoint"], info
    result = room.run_ours("conduit-cat", *ca, "--via", f"https://127.0.0.1:{front}", uri)
    assert result.code == 5 and "127.0.0.1" in result.err, str(result)


@check("a chain of microsocks, tinyproxy and microsocks")
def chain(room):
    _, port = echo(room)
    via = f"socks5://127.0.0.1:{microsocks(room)},http://127.0.0.1:{tinyproxy(room)}," \
          f"socks5://127.0.0.1:{microsocks(room)}"
    info = talk(room, f"tcp://localhost:{port}", "--via", via)
    assert info["stack"] == "socks5+connect+socks5+tcp", info


@check("a proxy on a Unix socket")
def unix_proxy(room):
    need("socat")
    _, port = echo(room)
    proxy = microsocks(room)
    room.socat(f"UNIX-LISTEN:{room.path('p')},fork", f"TCP4:127.0.0.1:{proxy}")
    info = talk(room, f"tcp://localhost:{port}", "--via", f"socks5+unix:{room.path('p')}")
    assert info["via"] == f"unix:{room.path('p')}", info


# ---- the PROXY protocol

def listen_behind(room):
    """conduit-cat behind a proxy; its port. What it says of its connections is on standard error.
    It has nothing to say itself, and so goes on to the next one as soon as a peer has ended."""
    server = room.start_ours("conduit-cat", "--listen", "--keep", "--info",
                             "tcp://127.0.0.1:0?proxy_from=127.0.0.1")
    return server, int(server.uris(1)[0].partition("?")[0].rpartition(":")[2])


def peer_of(server):
    info = json.loads(server.find(r'^(\{"uri".*)$')[1])
    return info["peer"], info["via"]


@check("haproxy tells us who its client is, with {}", "send-proxy", "send-proxy-v2",
       "send-proxy-v2 proxy-v2-options crc32c")
def from_haproxy(room, how):
    server, port = listen_behind(room)
    front = haproxy(room, f"server s 127.0.0.1:{port} {how}")
    before = len(server.lines)
    with socket.create_connection(("127.0.0.1", front)) as client:
        client.sendall(b"hello\n")
        wanted = f"tcp://127.0.0.1:{client.getsockname()[1]}"
        eventually(lambda: any(f'"peer":"{wanted}"' in line for line in server.lines[before - 1:]),
                   f"{wanted} in {server.lines}")


@check("haproxy demands a header of us, version {}", "1", "2")
def to_haproxy(room, version):
    _, port = echo(room)
    front = haproxy(room, f"server s 127.0.0.1:{port}", "accept-proxy")
    talk(room, f"tcp://127.0.0.1:{front}?proxy_send={version}")
    result = room.run_ours("conduit-cat", f"tcp://127.0.0.1:{front}", given=b"no header\n")
    assert result.out == b"", str(result)


@check("nginx demands a header of us, version {}", "1", "2")
def to_nginx(room, version):
    need("nginx")
    port = free_port()
    with open(room.path("nginx.conf"), "w", encoding="utf-8") as file:
        file.write(f"daemon off; master_process off; pid {room.path('pid')};\n"
                   f"error_log {room.path('log')};\nevents {{ }}\nhttp {{ access_log off;\n"
                   + "".join(f"{kind}_temp_path {room.path(kind)};\n" for kind in
                             ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")) +
                   f"server {{ listen 127.0.0.1:{port} proxy_protocol;\n"
                   "location / { return 200 \"$proxy_protocol_addr:$proxy_protocol_port\"; } } }\n")
    room.start("nginx", "-c", room.path("nginx.conf"), "-e", room.path("log"))
    eventually(lambda: accepts(port), "nginx listens")
    result = room.run_ours("conduit-cat", "--info", f"tcp://127.0.0.1:{port}?proxy_send={version}",
                           given=b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    local = json.loads(result.err.partition("\n")[0])["local"]
    assert result.out.endswith(local[len("tcp://"):].encode()), str(result)


@check("curl sends us a header")
def from_curl(room):
    need("curl")
    server, port = listen_behind(room)
    curl = room.start("curl", "-s", "--haproxy-protocol", f"http://127.0.0.1:{port}/")
    peer, via = peer_of(server)
    assert peer.startswith("tcp://127.0.0.1:") and peer == via, (peer, via)
    server.find("^GET / HTTP/1.1")
    curl.end()


@check("who has no header, or is not a proxy of ours, is turned away and the next one is served")
def turned_away(room):
    server, port = listen_behind(room)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        try:
            assert client.recv(1) == b""
        except ConnectionResetError:
            pass  # there was something that nobody read
    server.find("did not begin with a PROXY header")
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\nhello\n")
        assert peer_of(server)[0] == "tcp://192.0.2.1:5000"


run_checks()
