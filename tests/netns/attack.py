# SPDX-License-Identifier: ISC
"""Peers that do as little as they can, and are a burden by it. Their victim is patient.c, which has deadlines:
as a server first, then as a client of many bad servers at once. Meanwhile somebody else is served by the
same process, and must not notice: his echoes are timed (Probe).
"""

import contextlib
import re
import select
import socket
import ssl
import statistics
import struct
import threading
import time

from peers import eventually
from road import HERE, THERE, Way

AT_ONCE = 25  # attackers of a kind
DEADLINES = {"handshake": 500, "attempt": 500, "write": 600, "idle": 900, "lifetime": 2500, "close": 300}
NOTICED_MS = 20  # of an echo
LATE_MS = 150  # of all, however busy the machine is
RESET = struct.pack("ii", 1, 0)


def hello():
    """What a TLS client says first."""
    out = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="a.example")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    peer.close()


# ---- somebody else


class Probe(threading.Thread):
    """Connects, has some lines echoed, leaves, and comes again. `times`: of each line, and of each connect
    with its first."""

    def __init__(self, port, context=None):
        super().__init__(daemon=True)
        self.port, self.context = port, context
        self.times, self.failure, self.over = [], None, False
        self.start()

    def run(self):
        try:
            while not self.over:
                self.call()
        except OSError as why:
            self.failure = why

    def call(self):
        since = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), 5) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = self.context.wrap_socket(plain, server_hostname="a.example") if self.context else plain
            for _ in range(200):
                if self.over:
                    break
                peer.sendall(b"still there?\n")
                if peer.recv(100) != b"still there?\n":
                    raise ConnectionError("somebody else was not served")
                self.times.append((time.monotonic() - since) * 1000)
                time.sleep(0.005)
                since = time.monotonic()
            reset(peer)

    def end(self):
        self.over = True
        self.join()

    def take(self):
        """What there was since the last time; raises if somebody was not served."""
        if self.failure:
            raise self.failure
        times, self.times = self.times, []
        return times


class Watch:
    """Probes of a process, and how long they waited for it."""

    def __init__(self, *probes):
        self.probes = probes
        time.sleep(1)
        self.quiet = self.take()

    def take(self):
        return sorted(time for probe in self.probes for time in probe.take())

    def check(self, what):
        """They did not notice."""
        eventually(lambda: sum(len(probe.times) for probe in self.probes) >= 50, "somebody is served")
        times = self.take()
        usual, now = statistics.median(self.quiet), statistics.median(times)
        most = times[len(times) * 99 // 100]
        assert now < NOTICED_MS, f"{what}: an echo took {now:.1f} ms, and {usual:.1f} before"
        assert most < LATE_MS, f"{what}: one echo of a hundred took {most:.1f} ms"
        return f"echoes {now:.2f} ms, 99 of 100 within {most:.1f} (before: {usual:.2f})"


# ---- a server under attack


class Attack:
    """`first` is sent at once, `then` a byte every 100 ms, for ever. `hangs_up`: after a moment
    it resets. The server has to say `says`, `after` milliseconds (None: at once)."""

    def __init__(self, title, place, says, after, first=b"", then=b"", hangs_up=False, reads=True):
        self.title, self.place, self.says, self.after = title, place, says, after
        self.first, self.then, self.hangs_up, self.reads = memoryview(first), then, hangs_up, reads
        self.at_once = AT_ONCE if reads else AT_ONCE // 5


FLOOD = b"x" * 16_000_000  # more than waits on the way and in the server
HELLO = hello()
GUEST = r"^guest \d+ open [\d.]+ closed [\d.]+: .*"
TURNED_AWAY = r"^turned away: .*"
NO_HANDSHAKE = TURNED_AWAY + "not opened within 0.5 s"
CUT = "(reset|ended|closed|Broken)"
ATTACKS = [
    Attack("says nothing", "tcp", GUEST + "idle: no byte came or went for 0.9 s", DEADLINES["idle"]),
    Attack("says nothing", "tls", NO_HANDSHAKE, DEADLINES["handshake"]),
    Attack("half a hello", "tls", NO_HANDSHAKE, DEADLINES["handshake"], HELLO[:len(HELLO) // 2]),
    Attack("a hello, byte by byte", "tls", NO_HANDSHAKE, DEADLINES["handshake"], HELLO[:1], HELLO[1:]),
    Attack("a hello, and then nothing", "tls", NO_HANDSHAKE, DEADLINES["handshake"], HELLO),
    Attack("a byte now and then, for ever", "tcp", GUEST + "the 2.5 s for the whole connection are over",
           DEADLINES["lifetime"], b"x", b"y" * 100),
    Attack("takes nothing", "tcp", GUEST + "the peer took nothing for 0.6 s", DEADLINES["write"], FLOOD,
           reads=False),
    Attack("resets before a word", "tcp", GUEST + CUT, None, hangs_up=True),
    Attack("resets after a word", "tcp", GUEST + CUT, None, b"hello", hangs_up=True),
    Attack("resets with all full", "tcp", GUEST + CUT, None, FLOOD, hangs_up=True, reads=False),
    Attack("resets before a hello", "tls", TURNED_AWAY + CUT, None, hangs_up=True),
    Attack("resets after half a hello", "tls", TURNED_AWAY + CUT, None, HELLO[:50], hangs_up=True),
    Attack("resets after a hello", "tls", TURNED_AWAY + CUT, None, HELLO, hangs_up=True),
    Attack("no TLS at all", "tls", TURNED_AWAY, None, b"GET / HTTP/1.0\r\n\r\n" * 20),
]


class Attacker:
    def __init__(self, attack, port):
        self.attack, self.first, self.sent = attack, attack.first, 0
        self.socket = socket.socket()
        if not attack.reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.begun = self.since = self.next = time.monotonic()
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.ended_ms = None
        self.tick()

    def tick(self):
        now = time.monotonic()
        with contextlib.suppress(OSError):
            if len(self.first) > 0:
                self.first = self.first[self.socket.send(self.first):]
                self.since = self.since if self.attack.reads else now  # it begins when nothing is taken
            if self.sent < len(self.attack.then) and now >= self.next:
                self.socket.send(self.attack.then[self.sent:self.sent + 1])
                self.sent, self.next = self.sent + 1, now + 0.1
            if self.attack.reads and self.socket.recv(4096) == b"":
                self.end()
        if self.attack.hangs_up and now >= self.begun + 0.05:
            self.end()

    def end(self):
        self.ended_ms = (time.monotonic() - self.since) * 1000
        reset(self.socket)


def run_attack(attack, port):
    """All of them, until the server has ended all; how many milliseconds each lived,
    or (of one that takes nothing) was stuck."""
    all = [Attacker(attack, port) for _ in range(attack.at_once)]
    left = {one.socket.fileno(): one for one in all if one.ended_ms is None}
    poll = select.poll()
    for number in left:
        poll.register(number, select.POLLERR | select.POLLHUP | select.POLLRDHUP)
    patience = time.monotonic() + 10
    while left:
        assert time.monotonic() < patience, f"{len(left)} were not ended"
        for number, events in poll.poll(10):
            if events & (select.POLLERR | select.POLLHUP) and left[number].ended_ms is None:
                left[number].end()
        for number, one in list(left.items()):
            if one.ended_ms is None:
                one.tick()
            if one.ended_ms is not None:
                poll.unregister(number)
                del left[number]
    return [one.ended_ms for one in all]


def check_lived(attack, lived):
    if attack.after is None:
        return
    assert min(lived) >= attack.after - 2 or not attack.reads, f"ended after {min(lived):.0f} ms"
    assert max(lived) <= attack.after + LATE_MS, f"ended after {max(lived):.0f} ms"


def check_attack(room, server, ports, watch, attack):
    server.lines.clear()
    lived = run_attack(attack, ports[attack.place])
    found = server.find(attack.says, attack.at_once)
    room.table.append(f"{attack.place}, {attack.title + ':':<32} {found[0][0].partition(': ')[2][-58:]:<60} "
                      f"{min(lived):5.0f}-{max(lived):.0f} ms; {watch.check(attack.title)}")
    check_lived(attack, lived)


def settings():
    return [f"{key}={ms}" for key, ms in DEADLINES.items()]


def start_server(room):
    server = room.start(room.patient, *settings(), "cert=" + room.cert("server.pem"),
                        "key=" + room.cert("server.key"), "listen", "tcp://0.0.0.0:0", "listen", "tls://0.0.0.0:0")
    return server, {place: int(re.search(r"0\.0\.0\.0:(\d+)", uri)[1])
                    for place, uri in zip(("tcp", "tls"), server.uris(2))}


# ---- the road ends


def check_black_hole(room, road, server, port, watch):
    """Guests from the other side, one that waits and one that is owed something, when the road ends."""
    road.set()
    server.lines.clear()
    with road.at_other_end():
        quiet = socket.create_connection((HERE, port))
        greedy = socket.socket()
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.connect((HERE, port))
    greedy.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        greedy.sendall(FLOOD)
    quiet.sendall(b"hello\n")
    assert quiet.recv(6) == b"hello\n"
    road.set(Way(closed=True), Way(closed=True))
    server.find(GUEST + "idle: no byte came or went for 0.9 s")
    server.find(GUEST + "the peer took nothing for 0.6 s")
    watch.check("the road ends")
    for peer in (quiet, greedy):
        reset(peer)


# ---- a client under attack


def stay(peer):
    time.sleep(20)


def answer(*bytes_, between=0.1):
    def behave(peer):
        for piece in bytes_:
            peer.sendall(piece)
            time.sleep(between)
        stay(peer)
    return behave


def trickle(data):
    return answer(*(data[i:i + 1] for i in range(len(data))))


def reset_after(n):
    def behave(peer):
        if n:
            peer.recv(n)
        reset(peer)
    return behave


# A record that says it is a server's hello and has 90 bytes, of which few ever come.
HALF_SERVER_HELLO = b"\x16\x03\x03\x00\x5a\x02\x00\x00\x56\x03\x03" + b"r" * 20


class Call:
    """What patient is told to do there, what has to come of it, and how long after it connected or opened."""

    def __init__(self, title, word, place, behave, says, after=0, small=False):
        self.title, self.word, self.place, self.behave = title, word, place, behave
        self.says, self.after, self.small = says, after, small


CALLS = [
    Call("says nothing", "greet", "tcp", stay, "idle: no byte came or went for 0.9 s", DEADLINES["idle"]),
    Call("a byte now and then", "greet", "tcp", trickle(b"y" * 100), "the 2.5 s for the whole connection are over",
         DEADLINES["lifetime"]),
    Call("takes nothing", "flood", "tcp", stay, "the peer took nothing for 0.6 s", DEADLINES["write"], True),
    Call("takes nothing, and we close", "close", "tcp", stay, "closing: the peer took nothing for 0.3 s",
         DEADLINES["close"], True),
    Call("resets at once", "greet", "tcp", reset_after(0), "reset"),
    Call("resets after a word", "greet", "tcp", reset_after(6), "reset"),
    Call("resets in the middle", "flood", "tcp", reset_after(100000), "reset"),
    Call("says nothing", "greet", "tls", stay, "not opened within 0.5 s", DEADLINES["attempt"]),
    Call("half a hello", "greet", "tls", answer(HALF_SERVER_HELLO), "not opened within 0.5 s", DEADLINES["attempt"]),
    Call("a hello, byte by byte", "greet", "tls", trickle(HALF_SERVER_HELLO), "not opened within 0.5 s",
         DEADLINES["attempt"]),
    Call("resets before a hello", "greet", "tls", reset_after(0), CUT),
    Call("resets after a hello", "greet", "tls", reset_after(2000), CUT),
    Call("no TLS at all", "greet", "tls", answer(b"HTTP/1.0 400 Bad Request\r\n\r\n"), "."),
]


def serve_badly(call):
    """A server that does that to one client; its port."""
    listener = socket.socket()
    if call.small:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def serve():
        peer, _ = listener.accept()
        with contextlib.suppress(OSError):
            call.behave(peer)
    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def check_calls(room, road):
    """One process calls them all at once, and one over a road that ends; and serves somebody well."""
    words = [word for call in CALLS
             for word in (call.word, f"{call.place}://127.0.0.1:{serve_badly(call)}")]
    road.set()
    with road.at_other_end():
        far = socket.create_server((THERE, 0))
    words += ["greet", f"tcp://{THERE}:{far.getsockname()[1]}"]
    client = room.start(room.patient, *settings(), *words, "listen", "tcp://127.0.0.1:0")
    heard = far.accept()[0]  # which stays open
    heard.recv(6)
    road.set(Way(closed=True), Way(closed=True))
    watch = Watch(Probe(int(client.uris(1)[0].rpartition(":")[2])))
    found = [client.find(rf"^{word} {i} open (\S+) closed (\S+): (.*)")
             for i, word in enumerate([call.word for call in CALLS] + ["greet"])]
    last = Call("a road that ends", "greet", "tcp", None, "idle: no byte came or went for 0.9 s", DEADLINES["idle"])
    for call, line in zip(CALLS + [last], found):
        check_call(room, call, float(line[1]), float(line[2]), line[3])
    room.table.append("somebody else, served by that process: " + watch.check("calls"))
    watch.probes[0].end()
    assert client.end() == 0, client.text()


def check_call(room, call, open_ms, closed_ms, said):
    room.table.append(f"{call.place}, {call.title + ':':<32} {said[-58:]:<60} {closed_ms:5.0f} ms")
    assert re.search(call.says, said), f"{call.title}: {said}"
    since = open_ms if open_ms > 0 and call.word != "flood" else 0
    assert closed_ms >= call.after - 2, f"{call.title}: {closed_ms} ms"
    assert closed_ms - since <= call.after + LATE_MS, f"{call.title}: {closed_ms} ms"


def tests(room, road):
    server, ports = start_server(room)
    trusting = ssl.create_default_context(cafile=room.cert("ca.pem"))
    watch = Watch(Probe(ports["tcp"]), Probe(ports["tls"], trusting))
    for attack in ATTACKS:
        yield (f"a server whose guest over {attack.place}: {attack.title}",
               lambda attack=attack: check_attack(room, server, ports, watch, attack))
    yield "a server and a road that ends", lambda: check_black_hole(room, road, server, ports["tcp"], watch)
    yield "a client of bad servers", lambda: check_calls(room, road)
    for probe in watch.probes:
        probe.end()
    yield "the server ends well", lambda: end_well(server)


def end_well(server):
    assert server.end() == 0, server.text()
