#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""entropyd and entropy-get, over shared memory, a Unix socket and mutual TLS, with peers that are
slow, hostile, greedy, somebody else or gone.

    entropy.py BUILD-FOLDER SOURCE-FOLDER     results in TAP
"""

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import tap
from peers import PATIENCE, Room, Skip, eventually

QUESTION = b"Hello, may I have some entropy?\r\n"
ANSWER = b"You may treat everything following this message as entropy.\r\n"
BURST = 64
NO_REFILL = ["--per-minute", "0.001"]
PLACES = ["vchan", "unix", "tls"]
NOBODY = 65534


class Peer:
    """A raw connection, by conduit-cat: as `user`, who is no more than that."""

    def __init__(self, room, *arguments, user=None):
        self.process = subprocess.Popen(
            [room.program("conduit-cat"), *arguments], stdin=subprocess.PIPE, bufsize=0,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, user=user)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def say(self, data):
        self.process.stdin.write(data)
        return self

    def hear(self, n):
        """The next `n` bytes, or fewer at the end."""
        heard, deadline = b"", time.monotonic() + PATIENCE
        while len(heard) < n:
            rest = deadline - time.monotonic()
            assert select.select([self.process.stdout], [], [], max(rest, 0))[0], \
                f"{len(heard)} of {n} bytes: {heard!r}"
            piece = os.read(self.process.stdout.fileno(), n - len(heard))
            if not piece:
                break
            heard += piece
        return heard

    def hears_nothing(self):
        return not select.select([self.process.stdout], [], [], 0)[0]

    def is_turned_away(self):
        assert self.hear(1) == b"", "it was served"


class Place:
    """An entropyd, and how to reach it."""

    def __init__(self, room, kind, *options):
        os.environ["XDG_RUNTIME_DIR"] = room.dir
        self.room, self.trusting = room, []
        uri = {"vchan": "vchan://entropy/entropy", "tls": "tls://127.0.0.1:0",
               "unix": "unix:" + room.path("entropy.sock") + "?allow_uid=*&mode=0666"}[kind]
        if kind == "tls":
            options += ("--cert", room.cert("server.pem"), "--key", room.cert("server.key"),
                        "--ca", room.cert("ca.pem"))
            self.trusting = ["--ca", room.cert("ca.pem"), "--name", "a.example",
                             "--cert", room.cert("client.pem"), "--key", room.cert("client.key")]
        self.server = room.start(os.path.join(room.build, "examples/entropyd"), *options, uri)
        self.uri = self.server.uris(1)[0].partition("?")[0]

    def peer(self, **how):
        return Peer(self.room, *self.trusting, self.uri, **how)

    def get(self, *arguments):
        return get(self.room, *self.trusting, *arguments, self.uri)


def get(room, *arguments):
    return room.run(os.path.join(room.build, "examples/entropy-get"), *arguments)


def expect_supply(peer, n=BURST):
    heard = peer.hear(len(ANSWER) + n)
    assert heard[:len(ANSWER)] == ANSWER, heard
    assert len(heard) == len(ANSWER) + n, f"{len(heard)} bytes"
    return heard[len(ANSWER):]


def another_client(room):
    """A second certificate for clients, of the same CA."""
    key, pem = room.path("other.key"), room.path("other.pem")
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", pem + ".csr",
                    "-subj", "/CN=other"], check=True, capture_output=True)
    with open(pem + ".ext", "w", encoding="utf-8") as file:
        file.write("extendedKeyUsage = clientAuth\n")
    subprocess.run(["openssl", "x509", "-req", "-in", pem + ".csr", "-CA", room.cert("ca.pem"),
                    "-CAkey", room.cert("ca.key"), "-days", "2", "-extfile", pem + ".ext",
                    "-out", pem], check=True, capture_output=True)
    return ["--cert", pem, "--key", key]


# ---- what it is for

def bytes_come(room, kind):
    place = Place(room, kind)
    first, second = place.get(), place.get("--bytes", "24")
    assert first.code == 0 and len(bytes.fromhex(first.out.decode())) == 16, first
    assert second.code == 0 and len(bytes.fromhex(second.out.decode())) == 24, second
    assert not second.out.startswith(first.out.strip()), "the same bytes twice"
    assert place.server.end() == 0, place.server.text()


def mixed_in(room):
    place = Place(room, "unix")
    result = place.get("--mix")
    assert result.code == 0 and result.out == b"", result
    assert "16 bytes mixed in, none credited" in result.err, result


def a_domain_by_name(room):
    place = Place(room, "vchan")
    place.server.end()
    os.environ["XDG_RUNTIME_DIR"] = room.dir
    room.start(os.path.join(room.build, "examples/entropyd"), "tcp://entropy.xen:7683").uris(1)
    result = get(room, "tcp://entropy.xen:7683")
    assert result.code == 0, result


# ---- the question

def in_pieces(room, kind):
    with Place(room, kind, *NO_REFILL).peer() as peer:
        for i in range(len(QUESTION)):
            peer.say(QUESTION[i:i + 1])
        expect_supply(peer)


def with_more_behind_it(room, kind):
    with Place(room, kind, *NO_REFILL).peer() as peer:
        expect_supply(peer.say(QUESTION + b"and some noise"))


def another_question(room, kind):
    place = Place(room, kind, *NO_REFILL)
    for wrong in (b"GET / HTTP/1.1\r\n\r\n", QUESTION[:-1] + b"x", b"\0" * 100, QUESTION[1:]):
        with place.peer() as peer:
            peer.say(wrong).is_turned_away()
    with place.peer() as peer:
        expect_supply(peer.say(QUESTION))


def no_question(room, kind):
    place = Place(room, kind, *NO_REFILL, "--greeting-timeout", "0.2")
    for said in (b"", QUESTION[:5]):
        with place.peer() as peer:
            peer.say(said).is_turned_away()
    with place.peer() as peer:  # who has asked in time stays
        expect_supply(peer.say(QUESTION))
        with place.peer() as silent:
            silent.is_turned_away()
        assert peer.hears_nothing(), "it was sent away with them"


def an_end_after_it(room):
    with Place(room, "unix", *NO_REFILL).peer() as peer:
        peer.say(QUESTION).process.stdin.close()
        expect_supply(peer)
        peer.is_turned_away()


def an_end_instead(room):
    with Place(room, "unix", *NO_REFILL).peer() as peer:
        peer.say(QUESTION[:7]).process.stdin.close()
        peer.is_turned_away()


def noise_without_end(room, kind):
    with Place(room, kind, *NO_REFILL).peer() as peer:
        expect_supply(peer.say(QUESTION))
        peer.say(b"x" * 5000).is_turned_away()


# ---- how much

def once_for_all_connections(room, kind):
    place = Place(room, kind, *NO_REFILL)
    with place.peer() as first, place.peer() as second, place.peer() as third:
        expect_supply(first.say(QUESTION))
        expect_supply(second.say(QUESTION), 0)
        expect_supply(third.say(QUESTION), 0)
        assert first.hears_nothing() and second.hears_nothing() and third.hears_nothing()
    with place.peer() as later:
        expect_supply(later.say(QUESTION), 0)
        assert later.hears_nothing()


def each_user_for_itself(room):
    if os.getuid() != 0:
        raise Skip("needs to be root, to be somebody else")
    os.chmod(room.dir, 0o755)
    place = Place(room, "unix", *NO_REFILL)
    with place.peer() as ours, place.peer(user=NOBODY) as other:
        expect_supply(ours.say(QUESTION))
        expect_supply(other.say(QUESTION))
        with place.peer(user=NOBODY) as again:
            expect_supply(again.say(QUESTION), 0)


def each_certificate_for_itself(room):
    place = Place(room, "tls", *NO_REFILL)
    other = another_client(room)
    with place.peer() as ours, Peer(room, *place.trusting[:4], *other, place.uri) as theirs:
        expect_supply(ours.say(QUESTION))
        expect_supply(theirs.say(QUESTION))
        with place.peer() as again:
            expect_supply(again.say(QUESTION), 0)


def it_comes_again(room):
    slow = Place(room, "unix", "--burst", "16", "--per-minute", "1000000")
    result = slow.get("--bytes", "1000")
    assert result.code == 0 and len(result.out) == 2001, result


def nobody_without_a_certificate(room):
    place = Place(room, "tls")
    result = get(room, *place.trusting[:4], place.uri)
    assert result.code == 5 and result.out == b"", result


def not_in_the_clear(room):
    result = room.run(os.path.join(room.build, "examples/entropyd"), "tcp://127.0.0.1:0")
    assert result.code == 2 and "has to be TLS" in result.err, result


def started_by_systemd(room, *sockets):
    """What entropyd says to these sockets, all of one name."""
    passed = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, 20) for one in sockets]
    moved = " ".join(f"{3 + i}<&{fd}" for i, fd in enumerate(passed))
    try:
        return subprocess.run(
            ["bash", "-c", f'exec {moved}; LISTEN_PID=$$ exec "$0" systemd:web',
             os.path.join(room.build, "examples/entropyd")],
            env={**os.environ, "LISTEN_FDS": str(len(passed)),
                 "LISTEN_FDNAMES": ":".join(["web"] * len(passed))},
            pass_fds=passed, timeout=PATIENCE, capture_output=True, text=True, check=False)
    finally:
        for fd in passed:
            os.close(fd)


def not_in_the_clear_behind_another(room):
    with socket.socket(socket.AF_UNIX) as unix, socket.socket() as tcp:
        unix.bind(room.path("passed.sock"))
        tcp.bind(("127.0.0.1", 0))
        unix.listen()
        tcp.listen()
        for sockets in ((unix, tcp), (tcp, unix)):
            result = started_by_systemd(room, *sockets)
            assert result.returncode == 2 and "has to be TLS" in result.stderr, result


# ---- peers that are no good

def one_that_does_not_read(room):
    place = Place(room, "unix", "--burst", "1000000", "--per-minute", "1000000")
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(place.uri[len("unix:"):])
        stuck.sendall(QUESTION)
        place.get("--bytes", "4096")
        before = place.server.kilobytes()
        for _ in range(10):
            result = place.get("--bytes", "4096")
            assert result.code == 0, result
        assert place.server.kilobytes() < before + 2000, "it keeps what nobody reads"


def one_that_dies(room, kind):
    place = Place(room, kind, *NO_REFILL)
    with place.peer() as peer:
        expect_supply(peer.say(QUESTION))
    before = place.server.descriptors()
    for _ in range(20):
        with place.peer() as peer:
            expect_supply(peer.say(QUESTION), 0)
    eventually(lambda: place.server.descriptors() <= before, "what the dead had is given back")
    assert place.server.end() == 0, place.server.text()


def many_that_say_nothing(room):
    """As many of one user as there may be, and no more; those who asked before go on."""
    place = Place(room, "unix", "--greeting-timeout", "0.5", *NO_REFILL)
    idle = []
    for _ in range(40):
        idle.append(socket.socket(socket.AF_UNIX))
        idle[-1].connect(place.uri[len("unix:"):])
    for one in idle:
        one.settimeout(PATIENCE)
        assert one.recv(1) == b"", "it was served"
        one.close()
    with place.peer() as peer:
        expect_supply(peer.say(QUESTION))


def ended_by_a_signal(room, kind):
    place = Place(room, kind)
    with place.peer() as peer:
        expect_supply(peer.say(QUESTION))
        assert place.server.end(signal.SIGTERM) == 0, place.server.text()
        peer.is_turned_away()


# ---- servers that are no good

def serve_once(room, *pieces, hold=False):
    """A server that says these pieces; where it is, and what was said to it in the end."""
    path = room.path("odd.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    heard = []

    def run():
        conn, _ = listener.accept()
        with conn, listener:
            heard.append(conn.recv(len(QUESTION)))
            for piece in pieces:
                conn.sendall(piece)
            while hold and conn.recv(100):
                pass
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return "unix:" + path, heard


def an_answer_in_pieces(room):
    data = bytes(range(16))
    uri, heard = serve_once(room, *[bytes([c]) for c in ANSWER + data], hold=True)
    result = get(room, uri)
    assert result.code == 0 and result.out == data.hex().encode() + b"\n", result
    assert heard == [QUESTION], heard


def another_answer(room):
    for wrong in (ANSWER[:-1] + b"x", QUESTION, b"\xff" * 80):
        uri, _ = serve_once(room, wrong, b"x" * 16, hold=True)
        result = get(room, uri)
        assert result.code == 4 and result.out == b"", result
        assert "no entropyd" in result.err, result
        os.remove(room.path("odd.sock"))


def an_end_too_early(room):
    uri, _ = serve_once(room, ANSWER + b"abc")
    result = get(room, uri)
    assert result.code == 1 and result.out == b"616263\n", result


def no_answer(room):
    uri, _ = serve_once(room, hold=True)
    result = get(room, "--timeout", "1", uri)
    assert result.code == 1 and result.out == b"", result


def tests(room):
    def over_all(title, function):
        for kind in PLACES:
            yield f"{title}, over {kind}", lambda: function(room, kind)

    def once(title, function):
        yield title, lambda: function(room)
    yield from over_all("random bytes come, other ones each time", bytes_come)
    yield from once("they are mixed into the kernel's pool, and nothing is credited", mixed_in)
    yield from once("a domain's name leads to them", a_domain_by_name)
    yield from over_all("the question may come a byte at a time", in_pieces)
    yield from over_all("the question may have something behind it", with_more_behind_it)
    yield from over_all("who says something else is turned away", another_question)
    yield from over_all("who does not ask in time is turned away", no_question)
    yield from once("who asks and ends has what there is", an_end_after_it)
    yield from once("who ends instead of asking is turned away", an_end_instead)
    yield from over_all("who goes on talking is turned away", noise_without_end)
    yield from over_all("more connections are not more bytes", once_for_all_connections)
    yield from once("each user has a bucket of its own", each_user_for_itself)
    yield from once("each certificate has a bucket of its own", each_certificate_for_itself)
    yield from once("a bucket fills again", it_comes_again)
    yield from once("nobody is served without a certificate", nobody_without_a_certificate)
    yield from once("TCP without TLS is refused", not_in_the_clear)
    yield from once("... nor behind another socket", not_in_the_clear_behind_another)
    yield from once("who does not read keeps nobody waiting, and costs no memory",
                    one_that_does_not_read)
    yield from over_all("who dies leaves nothing", one_that_dies)
    yield from once("who says nothing keeps others out for a moment", many_that_say_nothing)
    yield from over_all("a signal ends it", ended_by_a_signal)
    yield from once("the answer may come a byte at a time", an_answer_in_pieces)
    yield from once("another answer is no entropy", another_answer)
    yield from once("what comes before an early end is used, and told", an_end_too_early)
    yield from once("no answer is told in time", no_answer)


def main():
    def cleaned(room, function):
        def run():
            try:
                function()
            finally:
                room.clean()
        return run
    with Room(*sys.argv[1:3]) as room:
        tap.run((title, cleaned(room, function)) for title, function in tests(room))


main()
