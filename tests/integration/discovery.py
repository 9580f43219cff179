#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Service discovery under load: a name server's records change while a client keeps connecting.

    discovery.py BUILD-FOLDER SOURCE-FOLDER     results in TAP

Three echo servers stand behind one name, by SRV or by HTTPS; knot says which count. A client makes
RATE connections a second, from one context. Then a target is taken out of the zone (and stopped
once the TTL is over), weights change, and a target is stopped without a word to the zone. Connections
move within one TTL, and none fails. Each phase takes CONDUIT_DISCOVERY seconds: 1.6, unless told; 2.5 makes it 10 s of load for each test.
"""

import math
import os
import re
import signal
import sys
import time

import nameservers
import tap
from nameservers import ZONE
from peers import Room, need

RATE = int(os.environ.get("CONDUIT_DISCOVERY_RATE", "200"))
TTL = 1
PHASE = float(os.environ.get("CONDUIT_DISCOVERY", "1.6"))
# Beside the TTL: what a question takes, and a machine that is busy.
SLACK = 0.25
RARELY = 0.05  # somebody was so slow that the next one was tried beside him


class Registry:
    """A zone in knot that changes while it is served."""

    def __init__(self, room, owner, kind):
        need("knotc")
        self.room, self.owner, self.kind = room, nameservers.full(owner) + ".", kind
        zone = nameservers.zone_text([("ns", "A", "127.0.0.1"), ("host", "A", "127.0.0.1")], 300)
        self.port = nameservers.start(room, "knot", zone)

    def knotc(self, *words):
        done = self.room.run("knotc", "-c", self.room.path("knot/conf"), *words)
        assert done.code == 0, done

    def set(self, *data):
        """These records and no others from now on; when that was."""
        self.knotc("zone-begin", ZONE)
        if self.known:
            self.knotc("zone-unset", ZONE, self.owner, self.kind)
        for one in data:
            self.knotc("zone-set", ZONE, self.owner, str(TTL), self.kind, *one.split())
        self.knotc("zone-commit", ZONE)
        self.known = True
        return time.monotonic()

    known = False


class Load:
    """The client, and where its connections led."""

    def __init__(self, room, registry, uri, *trust):
        client = os.path.join(room.build, "tests/integration/discovery-client")
        self.server = room.start(client, f"127.0.0.1:{registry.port}", uri, str(RATE),
                                 str(60 + 10 * PHASE), *trust)
        self.begin = time.monotonic()

    def wait(self, stopped=0.0):
        """(when it was begun, port) of each. None failed; but of what came to a server that was
        `stopped`, the kernel may cut off one that it had let in after the server's last accept and
        before the socket was closed. Handshakes that were under way end well."""
        wanted = RATE * (time.monotonic() - self.begin)
        assert self.server.end() == 0, self.server.text()
        rows = [(float(line.split()[0]), line.split(" ", 1)[1]) for line in self.server.lines]
        failed = [row for row in rows if not row[1].startswith("tcp://")]
        cut = [row for row in failed if stopped - 0.5 < row[0] < stopped]
        assert len(failed) == len(cut) <= 1, f"{len(failed)} of {len(rows)} failed: {failed[:5]}"
        assert len(rows) > wanted / 2, f"{len(rows)} connections instead of {wanted:.0f}"
        return [(when, int(what.rpartition(":")[2])) for when, what in rows if "tcp://" in what]


class Target:
    def __init__(self, room, *options, uri="tcp://127.0.0.1:0"):
        self.server = room.start_ours("echo-server", *options, uri)
        self.port = int(re.search(r":(\d+)(?:\?|$)", self.server.uris(1)[0])[1])


def share(calls, port, begin, end):
    ports = [p for when, p in calls if begin <= when < end]
    assert ports, "no connection in that time"
    return ports.count(port) / len(ports)


def is_fair(part, expected, seconds):
    """Within four standard deviations of as many draws."""
    return abs(part - expected) < 4 * math.sqrt(expected * (1 - expected) / (RATE * seconds))


def check_drained(calls, target, since):
    """Nobody goes there any more, one TTL after the zone said so."""
    late = max(when for when, port in calls if port == target.port) - since
    tap.say(f"drained: the last connection to it was begun {late * 1000:.0f} ms later, TTL {TTL} s")
    assert late < TTL + SLACK, f"{late:.3f} s"


def rest_of_phase(begin):
    time.sleep(max(0, begin + PHASE - time.monotonic()))


def check(room, kind, uri, targets, record, trust=()):
    """`record(target, priority, weight)` is a record's data."""
    a, b, c = targets
    registry = Registry(room, "_echo._tcp.svc" if kind == "SRV" else "svc", kind)
    registry.set(record(a, 10, 50), record(b, 10, 50), record(c, 20, 0))
    load = Load(room, registry, uri, *trust)
    begin = time.monotonic()
    rest_of_phase(begin)

    drained = registry.set(record(b, 10, 50), record(c, 20, 0))
    time.sleep(TTL + SLACK)
    code = a.server.end(signal.SIGTERM)
    assert code == 0, a.server.text()
    rest_of_phase(drained)

    turned = registry.set(record(b, 20, 0), record(c, 10, 90))
    time.sleep(TTL + SLACK + PHASE)

    c.server.process.send_signal(signal.SIGTERM)  # while the zone says that it is the best
    c.server.wait()
    stopped = time.monotonic()
    time.sleep(PHASE)
    calls = load.wait(stopped)

    half = share(calls, a.port, begin, drained)
    tap.say(f"{len(calls)} connections, none failed; at first {half:.0%} to the first of two")
    assert is_fair(half, 0.5, PHASE), half
    assert share(calls, c.port, begin, drained) < RARELY, "the second choice was not needed"
    check_drained(calls, a, drained)
    moved = min(when for when, port in calls if port == c.port) - turned
    tap.say(f"turned: the first connection to the new best was begun {moved * 1000:.0f} ms later")
    assert moved < TTL + SLACK, moved
    assert share(calls, c.port, turned + TTL + SLACK, stopped - SLACK) > 1 - RARELY
    assert share(calls, b.port, stopped, stopped + 10 * PHASE) > 1 - RARELY, "fell over to the next"


def check_weights(room):
    """SRV alone has weights: nine to one, after even."""
    a, b = Target(room), Target(room)
    registry = Registry(room, "_echo._tcp.svc", "SRV")

    def weigh(first, second):
        return registry.set(f"10 {first} {a.port} host", f"10 {second} {b.port} host")
    weigh(50, 50)
    load = Load(room, registry, f"tcp://svc.{ZONE}?srv=echo")
    time.sleep(PHASE)
    changed = weigh(90, 10)
    time.sleep(TTL + SLACK + 2 * PHASE)
    calls = load.wait()
    before = share(calls, a.port, 0, changed)
    after = share(calls, a.port, changed + TTL + SLACK, changed + 10 * PHASE)
    tap.say(f"weights: {before:.0%} to the first at 50 to 50, {after:.0%} at 90 to 10")
    assert is_fair(before, 0.5, PHASE) and is_fair(after, 0.9, 2 * PHASE), \
        (before, after)


def by_srv(room):
    targets = [Target(room) for _ in range(3)]
    check(room, "SRV", f"tcp://svc.{ZONE}?srv=echo", targets,
          lambda target, priority, weight: f"{priority} {weight} {target.port} host")


def by_https(room):
    identity = ["--cert", room.cert("server.pem"), "--key", room.cert("server.key"), "--alpn",
                "http/1.1"]
    targets = [Target(room, *identity, uri="tls://127.0.0.1:0") for _ in range(3)]
    check(room, "HTTPS", f"https://svc.{ZONE}", targets,
          lambda target, priority, weight: f"{priority} host port={target.port} alpn=http/1.1",
          [room.cert("ca.pem"), "a.example"])


TESTS = [
    ("by SRV: a target drained, another preferred, one stopped: none fails", by_srv),
    ("by HTTPS: a target drained, another preferred, one stopped: none fails", by_https),
    ("by SRV: weights changed", check_weights),
]


def main():
    with Room(*sys.argv[1:3]) as room:
        def of_room(test):
            def function():
                try:
                    test(room)
                finally:
                    room.clean()
            return function
        tap.run((title, of_room(test)) for title, test in TESTS)


main()
