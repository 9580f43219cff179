#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""TLS between our programs and those of others, both ways round, in a matrix.

    tls_matrix.py BUILD-FOLDER SOURCE-FOLDER                                  results in TAP
    tls_matrix.py BUILD-FOLDER SOURCE-FOLDER --table [--commands] [WORD...]   ... or in a table

A column is a program that is not ours: as a server, which conduit-cat calls, or as a client of
echo-server. A row is something that TLS can do. Every cell is really run: bytes go both ways, and
the other program's own report has to say what was agreed on. One that there cannot be is a dash,
and why is below the table. WORD: only cells that have it in their title. --commands shows what each
cell did, to be done by hand; DIR stands for a folder with the certificates of tests/certs.
"""

import json
import os
import re
import subprocess
import sys
import time
import traceback

import tap
from peers import PATIENCE, Skip, eventually
from tls_peers import CLIENTS, GET, SERVERS, WORD, Case, Never, Stage

ROWS = {
    f"TLS {version}, {kind}": Case(version, cert)
    for version in ("1.2", "1.3")
    for kind, cert in (("ECDSA", "server"), ("RSA", "rsa"), ("Ed25519", "ed"))
} | {
    "client certificate, 1.2": Case("1.2", mutual=True),
    "client certificate, 1.3": Case("1.3", mutual=True),
    "... and none is refused, 1.2": Case("1.2", mutual=True, refused=True),
    "... and none is refused, 1.3": Case("1.3", mutual=True, refused=True),
    "resumption, 1.2": Case("1.2", again=True),
    "resumption, 1.3": Case("1.3", again=True),
    "ALPN, 1.2": Case("1.2", alpn=True),
    "ALPN, 1.3": Case("1.3", alpn=True),
    "SNI, 1.2": Case("1.2", second=True, name="b.example"),
    "SNI, 1.3": Case("1.3", second=True, name="b.example"),
    "client ends first, 1.2": Case("1.2", goodbye=True),
    "client ends first, 1.3": Case("1.3", goodbye=True),
    "server ends first, 1.2": Case("1.2", parting=True),
    "server ends first, 1.3": Case("1.3", parting=True),
    "STARTTLS": Case(starttls=True),
}


def said(pattern, text):
    assert re.search(pattern, text, re.MULTILINE), f"no {pattern!r} in:\n{text}"


# ---- we call

def our_options(room, case):
    options = ["ca=" + room.cert("ca.pem"), "min=" + case.version, "max=" + case.version]
    if case.mutual and not case.refused:
        options += ["cert=" + room.cert("client.pem"), "key=" + room.cert("client.key")]
    if case.alpn:
        options += ["alpn=http/1.1"]
    return options


def listen_to(cat, peer, case):
    """Until it has what this case is about."""
    if case.parting:
        cat.threads[1].join(PATIENCE)  # the end of its standard output
        assert not cat.threads[1].is_alive(), f"no end came: {cat.lines}"
    elif not case.goodbye:
        wanted = f"{peer.until}|{peer.refusal}"
        eventually(lambda: re.search(wanted, cat.text()) or cat.process.poll() is not None,
                   f"an answer: {cat.lines}")


def cat_calls(room, peer, port, case):
    """conduit-cat says the peer's request and hears the reply: (exit status, all that was said)."""
    words = [word for option in our_options(room, case) for word in ("--tls", option)]
    cat = room.start_ours("conduit-cat", "--info", "--name", case.name, *words,
                          f"tls://127.0.0.1:{port}", stdin=subprocess.PIPE)
    try:
        cat.process.stdin.write(peer.request)
        cat.process.stdin.flush()
        listen_to(cat, peer, case)
        cat.process.stdin.close()
    except BrokenPipeError:
        pass
    return cat.wait(), cat.text()


def check_info(heard, case):
    info = json.loads(re.search(r'^\{"uri".*', heard, re.MULTILINE)[0])["tls"]
    expected = {"version": "TLSv" + case.version, "name": case.name, "verify": "full",
                "alpn": "http/1.1" if case.alpn else ""}
    assert {key: info[key] or "" for key in expected} == expected, info


def call_again(room, peer, port, case):
    result = room.run(room.helper("again"), "2", peer.request.decode(), peer.until,
                      f"tls://127.0.0.1:{port}", case.name, *our_options(room, case))
    assert result.code == 0, result
    heard = result.out.decode()
    calls = re.findall(r"^call version=TLSv(\S+) resumed=(\w+)", heard, re.MULTILINE)
    assert calls == [(case.version, "no"), (case.version, "yes")], heard
    return heard


def call_starttls(room, port):
    result = room.run(room.helper("starttls"), "call", f"tcp://127.0.0.1:{port}",
                      room.cert("ca.pem"), "a.example")
    assert result.code == 0, result
    said(r"^under TLSv1.3$", result.out.decode())
    said(r"^221 bye$", result.out.decode())


def refuse_server(peer, case):
    if case.goodbye and peer.goodbye is None:
        raise Never(f"{peer.name} does not tell of close_notify")
    if case.parting and peer.request != GET:
        raise Never(f"{peer.name} as an echo ends after its client")
    if case.starttls and peer.name != "stunnel":
        raise Never(f"{peer.name} serves no STARTTLS")


def reports(peer, case):
    """Patterns of what it has to say."""
    if not case.alpn:
        yield peer.version.format(re.escape(case.version))
    if case.again:
        yield peer.new
        yield peer.resumed
    if case.mutual:
        yield peer.client
    if case.alpn:
        yield peer.alpn
    if case.goodbye:
        yield from peer.goodbye


def call(room, peer, case):
    server, port = peer.start(room, case)
    refuse_server(peer, case)
    heard = ""
    if case.again:
        heard = call_again(room, peer, port, case)
    elif case.starttls:
        call_starttls(room, port)
    else:
        code, heard = cat_calls(room, peer, port, case)
        if case.refused:
            said(peer.refusal, heard)
            return
        assert code == 0, heard
        said(peer.until, heard)
        check_info(heard, case)
    for pattern in reports(peer, case):
        eventually(lambda: re.search(pattern, f"{heard}\n{server.text()}", re.MULTILINE),
                   f"{peer.name} says {pattern!r}: {heard}\n{server.text()}")


# ---- we serve

def echo_server(room, case):
    options = ["--cert", room.cert(case.cert + ".pem"), "--key", room.cert(case.cert + ".key")]
    if case.second:
        options += ["--cert", room.cert("b.pem"), "--key", room.cert("b.key")]
    if case.mutual:
        options += ["--ca", room.cert("ca.pem")]
    if case.alpn:
        options += ["--alpn", "echo/9,http/1.1"]
    options += ["--tls", "min=" + case.version, "--tls", "max=" + case.version]
    if case.parting:
        server = room.start_ours("conduit-cat", "--listen", *options, "tls://127.0.0.1:0",
                                 stdin=subprocess.PIPE)
        server.process.stdin.write(WORD.encode() + b"\n")
        server.process.stdin.close()
    else:
        server = room.start_ours("echo-server", *options, "tls://127.0.0.1:0")
    return server, int(re.search(r":(\d+)", server.uris(1)[0])[1])


def refuse_client(peer, case):
    if (case.goodbye or case.parting) and peer.goodbye is None:
        raise Never(f"{peer.name} does not tell of close_notify")
    if case.parting and not peer.goodbye[1]:
        raise Never(f"{peer.name} does not tell of a close_notify that it hears")


def serve_starttls(room, peer):
    server = room.start(room.helper("starttls"), "serve", "tcp://127.0.0.1:0",
                        room.cert("server.pem"), room.cert("server.key"))
    text = peer.starttls(room, int(server.uris(1)[0].rpartition(":")[2]))
    said(r"250[ -](a\.example|fine)", text)
    said(peer.version.replace("{}", r"1\.3"), text)
    server.find("^under TLSv1.3")


def serve(room, peer, case):
    refuse_client(peer, case)
    if case.starttls:
        serve_starttls(room, peer)
        return
    server, port = echo_server(room, case)
    text = peer.talk(room, port, case)
    if case.refused:
        server.find(r"^echo-server: tls: .*the peer showed no certificate, and one is demanded")
        assert not re.search(rf"^{WORD}$", text, re.MULTILINE), text
        return
    said(peer.heard, text)
    said(peer.version.replace("{}", re.escape(case.version)), text)
    if case.again:
        said(peer.new, text)
        said(peer.resumed, text)
    if case.alpn:
        said(peer.alpn, text)
    if case.goodbye or case.parting:
        said(peer.goodbye[1 if case.parting else 0], text)
    if case.goodbye and peer.waits and peer.goodbye[1]:
        said(peer.goodbye[1], text)
    if case.parting and not peer.answers:
        server.find("the peer ended the stream without close_notify")
        return
    assert server.end() == 0, server.text()
    if peer.waits:
        assert not re.search("^(echo-server|conduit-cat):", server.text(), re.MULTILINE), \
            server.text()


# ---- the matrix

def cells():
    """(row, title of the column, function of a room)."""
    for row, case in ROWS.items():
        for peer in SERVERS:
            yield row, "conduit-cat to " + peer.name, lambda room: call(room, peer, case)
        for peer in CLIENTS:
            yield row, peer.name + " to echo-server", lambda room: serve(room, peer, case)


def run_tap(room):
    def one(function):
        try:
            function(room)
        except Never as why:
            raise Skip(str(why)) from None
        finally:
            room.clean()
    tap.run((f"{row}: {column}", lambda: one(function)) for row, column, function in cells())


def run_cell(room, function):
    """A mark, and what there is to say about it."""
    try:
        function(room)
        return "ok", ""
    except (Never, Skip) as why:
        return "-", str(why)
    except Exception:  # one cell; the others go on
        return "FAILED", traceback.format_exc()
    finally:
        room.clean()


SHORT = {"openssl s_server": "s_server", "openssl s_client": "s_client"}


def head():
    print(" " * 30, "conduit-cat calls".ljust(60), "echo-server is called by")
    names = [SHORT.get(peer.name, peer.name) for peer in SERVERS + CLIENTS]
    print(" " * 30 + "".join(f" {name:11}" for name in names))


def run_table(room, commands, words):
    head()
    notes, failures, now, counts = {}, [], None, {}
    for row, column, function in cells():
        if words and not any(word in f"{row}: {column}" for word in words):
            continue
        if row != now:
            print(f"{'' if now is None else chr(10)}{row:30}", end="")
            now = row
        mark, why = run_cell(room, function)
        counts[mark] = counts.get(mark, 0) + 1
        print(f" {mark:11}", end="", flush=True)
        if mark == "-":
            notes.setdefault(why, []).append(row)
        if mark == "FAILED":
            failures.append(f"{row}: {column}\n{why}")
        if commands:
            print(f"\n{column}:\n" + "\n".join(room.script))
        room.script.clear()
    print("\n\n" + "\n".join(f"-  {why}" for why in notes))
    print("\n".join(failures))
    print(", ".join(f"{count} {mark}" for mark, count in counts.items()))
    return 1 if failures or not counts.get("ok") else 0


def main():
    build, source, *options = sys.argv[1:]
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    with Stage(os.path.abspath(build), os.path.abspath(source)) as room:
        if "--table" not in options:
            run_tap(room)
            return 0
        words = [option for option in options if not option.startswith("--")]
        return run_table(room, "--commands" in options, words)


if __name__ == "__main__":
    sys.exit(main())
