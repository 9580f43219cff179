#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Thousands of malformed client hellos, from many sockets at once, against echo-server; and malformed
answers against conduit-cat.

    handshakes.py BUILD-FOLDER SOURCE-FOLDER     results in TAP

What OpenSSL says is damaged: bytes flipped, cut out, put in, lengths that lie, records out of
order. Each socket has to be ended by the other side soon after it has said its last, with an alert or
without, while an honest client is served all the time; nobody may crash, or keep a descriptor.
CONDUIT_HANDSHAKES is the number against echo-server: 2,000 unless it says otherwise.
"""

import asyncio
import os
import random
import socket
import ssl
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../integration"))
import tap  # noqa: E402
from peers import PATIENCE, Room, eventually  # noqa: E402

MANY = int(os.environ.get("CONDUIT_HANDSHAKES", "2000"))
AT_ONCE = 64
SOON = 5  # seconds, of which a machine with nothing else to do needs a hundredth
ALERT, HANDSHAKE = 0x15, 0x16
ALERT_RECORD = bytes([ALERT, 3, 3, 0, 2, 2, 40])


def hello(version):
    """A client hello, as OpenSSL says it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = version
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="a.example").do_handshake()
    except ssl.SSLWantReadError:
        return out.read()
    raise AssertionError("there was nobody to shake hands with")


def damage(rng, honest):
    data = bytearray(honest)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(min(len(data), rng.choice((5, 48, 100000)))) if data else 0
        n = rng.choice((1, 2, 3, 17, 300))
        kind = rng.randrange(7)
        if kind == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[at] = rng.choice((0, 1, 0x7f, 0x80, 0xff))
        elif kind == 2:
            del data[at:at + n]
        elif kind == 3:
            data[at:at] = rng.randbytes(n)
        elif kind == 4:
            data[at:at] = data[at:at + n]
        elif kind == 5:
            del data[at:]
        else:
            data[:0] = rng.choice((ALERT_RECORD, b"GET / HTTP/1.1\r\n\r\n", bytes(9),
                                   bytes([HANDSHAKE, 3, 3, 0, 0]), bytes([20, 3, 3, 0, 1, 1])))
    return bytes(data)


async def throw(port, data):
    """Say it and no more; what comes back until the other side ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        await writer.drain()
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), SOON)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def throw_all(port, hellos):
    """AT_ONCE at a time; what came back, by what it began with."""
    answers, waiting = {}, iter(hellos)

    async def go_on():
        for data in waiting:
            answer = await throw(port, data)
            kind = answer[0] if answer else None
            answers[kind] = answers.get(kind, 0) + 1

    await asyncio.gather(*(go_on() for _ in range(AT_ONCE)))
    return answers


class Honest(threading.Thread):
    """A client that is served over and over, until it is told to stop."""

    def __init__(self, room, port):
        super().__init__()
        self.room, self.port = room, port
        self.over = threading.Event()
        self.served, self.fault = 0, None

    def run(self):
        while not self.over.is_set() and self.fault is None:
            done = self.room.run_ours("conduit-cat", "--ca", self.room.cert("ca.pem"),
                                      f"tls://127.0.0.1:{self.port}", given=b"hello")
            if done.code != 0 or done.out != b"hello":
                self.fault = str(done)
            self.served += 1

    def stop(self):
        self.over.set()
        self.join()
        assert self.fault is None, self.fault
        assert self.served > 0, "it was never served"


def serve(room, *options):
    server = room.start_ours("echo-server", "--cert", room.cert("server.pem"), "--key",
                             room.cert("server.key"), *options, "tls://127.0.0.1:0")
    return server, int(server.uris(1)[0].partition("?")[0].rpartition(":")[2])


def against_server(room, version, *options):
    server, port = serve(room, *options)
    rng = random.Random(1)
    honest = hello(version)
    before = server.descriptors()
    client = Honest(room, port) if not options else None
    if client:
        client.start()
    answers = asyncio.run(throw_all(port, (damage(rng, honest) for _ in range(MANY // 3))))
    if client:
        client.stop()
    tap.say(", ".join(f"{n} {k}" for k, n in sorted(answers.items(), key=str)))
    assert set(answers) <= {None, ALERT, HANDSHAKE}, answers
    assert answers.get(ALERT, 0) > sum(answers.values()) / 10, f"hardly any alerts: {answers}"
    eventually(lambda: server.descriptors() <= before, "all are closed")
    server.end()
    assert server.process.returncode == 0, server.text()


# ---- conduit-cat, and a server that answers nonsense


def answer_of(room, data):
    """What an honest server says to this client hello."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(room.cert("server.pem"), room.cert("server.key"))
    come, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    come.write(data)
    try:
        context.wrap_bio(come, out, server_side=True).do_handshake()
    except ssl.SSLError:
        pass
    return out.read()


def against_client(room):
    rng, codes = random.Random(2), {}
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        uri = f"tls://127.0.0.1:{listening.getsockname()[1]}"
        for _ in range(max(10, MANY // 50)):
            cat = subprocess.Popen([room.program("conduit-cat"), "--ca", room.cert("ca.pem"), uri],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
            peer, _ = listening.accept()
            with peer:
                peer.sendall(damage(rng, answer_of(room, peer.recv(65536))))
                peer.shutdown(socket.SHUT_WR)
                peer.settimeout(SOON)
                try:
                    while peer.recv(65536):
                        pass
                except ConnectionError:
                    pass
            _, said = cat.communicate(timeout=PATIENCE)
            assert cat.returncode == 5, f"{cat.returncode}: {said.decode()}"
            codes[said.decode().rpartition(": ")[2]] = True
    tap.say(f"{len(codes)} different complaints")
    assert len(codes) >= 5, codes


def tests(room):
    yield "of TLS 1.3, against echo-server", lambda: against_server(room, ssl.TLSVersion.TLSv1_3)
    yield "of TLS 1.2, against echo-server", lambda: against_server(room, ssl.TLSVersion.TLSv1_2)
    yield "against an echo-server that demands certificates", lambda: against_server(
        room, ssl.TLSVersion.TLSv1_3, "--ca", room.cert("ca.pem"))
    yield "answers, against conduit-cat", lambda: against_client(room)


def main():
    build, source = (os.path.abspath(path) for path in sys.argv[1:3])
    with Room(build, source) as room:
        tap.run(tests(room))


if __name__ == "__main__":
    main()
