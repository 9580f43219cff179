#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What conduit-resolve says is what dig and kdig say, record by record, over five name servers.

    names.py BUILD-FOLDER SOURCE-FOLDER [WORD]     results in TAP; WORD: only titles that contain it

For each server and URI, conduit-resolve tells its story (--trace) and its end (--json). Each
question in the story is asked again by dig and by kdig: aliases, data and TTL have to be the same,
and so has a no. Then the endpoints are worked out again, here, from what dig said, and those of
conduit-resolve have to be these: addresses, ports, TTL, protocols, and in that order as far as
there is one. Nothing of what is expected is written down: only what is asked (URIS).
"""

import ipaddress
import json
import re
import sys

import nameservers
import tap
from nameservers import ZONE
from peers import Room, Skip, need

SERVERS = ["nsd", "knot", "bind", "unbound", "dnsmasq"]
AGES = {"unbound": 60}  # its answers were fetched a while ago; seconds, far more than this takes
NAMES = ["www", "WwW", "four", "six", "text", "nowhere", "many", "xn--bcher-kva", "a.wild",
         "b.c.wild", "alias", "chain1", "dangling", "astray"]
URIS = [
    *[f"http://{name}.{ZONE}" for name in NAMES],
    f"http://www.{ZONE.upper()}.:8080/path?query", f"tcp://alias4.{ZONE}:7",
    f"xmpps-client://chat.{ZONE}", f"xmpps-client://CHAT.{ZONE}.", f"xmpp-client://chat.{ZONE}",
    f"sips://none.{ZONE}", f"sips://none.{ZONE}:99", f"imaps://mail.{ZONE}",
    f"pop3s://post.{ZONE}", f"submissions://half.{ZONE}", f"imaps://four.{ZONE}",
    f"tcp://mail.{ZONE}?srv=imaps", f"tls://chat.{ZONE}?srv=xmpps-client&alpn=xmpp-client",
    f"tcp://four.{ZONE}?srv=imaps",
    *[f"https://{name}.{ZONE}" for name in ("www", "apex", "apex2", "bare", "hints", "must",
                                            "newer", "h2", "web", "four", "nowhere")],
    f"https://www.{ZONE}:8444", f"https://www.{ZONE}:9443", f"wss://hints.{ZONE}/chat",
    f"tcp://api.{ZONE}?svcb=foo", f"tcp://api.{ZONE}:4005?svcb=foo", f"tcp://api.{ZONE}:9?svcb=foo",
    f"tcp://there.{ZONE}?svcb=foo", f"tls://api.{ZONE}?svcb=foo&alpn=foo",
]
PORTS = {"http": 80, "https": 443, "wss": 443, "xmpps-client": 5223, "xmpp-client": 5222,
         "sips": 5061, "imaps": 993, "pop3s": 995, "submissions": 465}
SRV = {"xmpps-client", "xmpp-client", "sips", "imaps", "pop3s", "submissions"}
HTTPS = {"https", "wss"}
OFFERED = {"https": "http/1.1", "wss": "http/1.1", "xmpps-client": "xmpp-client", "imaps": "imap",
           "pop3s": "pop3"}
CLEAR = {"http", "tcp", "xmpp-client"}
KNOWN_KEYS = {"mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ipv6hint"}


# ---- what dig says

def tidy(data):
    """A record's data in one spelling: addresses canonical, names folded, quotes gone."""
    words = [word.replace('"', "") for word in data.split()]
    if len(words) == 1 and not words[0].endswith("."):
        return str(ipaddress.ip_address(words[0]))
    return " ".join(word.lower() if word.endswith(".") else word for word in words)


class Answer:
    """To one question: the aliases on the way, the records, how long all of it holds."""

    def __init__(self, text, kind):
        self.status = re.search(r"status: (\w+)", text)[1]
        self.aliases, self.records, ttls = [], [], []
        for line in text.splitlines():
            if not line or line.startswith(";"):
                continue
            _, ttl, _, found, data = line.split(None, 4)
            ttls.append(int(ttl))
            if found == kind:
                self.records.append(tidy(data))
            elif found == "CNAME":
                self.aliases.append(tidy(data))
        self.records.sort()
        self.ttl = min(ttls, default=0)

    def key(self):
        return self.status, self.aliases, self.records


class Dns:
    """One server, asked by dig and by kdig; each question once."""

    def __init__(self, room, name, port):
        self.room, self.name, self.port = room, name, port
        self.memory = {}

    def run(self, *command):
        done = self.room.run(*command)
        assert done.code == 0, done
        return done.out.decode()

    def ask(self, kind, name):
        question = kind, name.lower().rstrip(".")
        if question not in self.memory:
            where = ["@127.0.0.1", "-p", str(self.port), question[1] + ".", kind]
            said = Answer(self.run("dig", "+noall", "+answer", "+comments", *where), kind)
            also = Answer(self.run("kdig", "+noall", "+answer", "+header", *where), kind)
            assert said.key() == also.key(), f"dig and kdig differ: {said.key()}, {also.key()}"
            self.memory[question] = said
        return self.memory[question]


# ---- what conduit-resolve says

class Said:
    """The story and the end of one URI."""

    def __init__(self, room, port, uri):
        done = room.run_ours("conduit-resolve", "--json", "--trace", "--server",
                             f"127.0.0.1:{port}", uri)
        self.code, self.err = done.code, done.err
        (self.result,) = json.loads(done.out)["results"]
        self.questions, self.answers = [], {}
        for line in done.err.splitlines():
            if found := re.match(r" *[\d.]+ ms  (\w+) +(\w+) (\S+?):? (.*)$", line):
                self.take(*found.groups())

    def take(self, event, kind, name, text):
        if event == "query":
            self.questions.append((kind, name))
        elif event == "answer":
            self.answers.setdefault((kind, name), []).append(text)

    def aliases(self, kind, name):
        found = []
        while step := [t for t in self.answers.get((kind, name), []) if t.startswith("CNAME ")]:
            found.append(step[0].split()[1])
            name = found[-1].rstrip(".")
        return found

    def records(self, kind, name):
        """(data, TTL) of each."""
        found = [re.match(r"(.*) \((\d+) s\)$", t) for t in self.answers.get((kind, name), [])]
        return [(tidy(f[1]), int(f[2])) for f in found if f]

    def text(self, kind, name):
        return " ".join(self.answers.get((kind, name), []))

    def is_whole(self):
        """Was each question answered? After NXDOMAIN nobody waits, and not long for HTTPS."""
        return self.result["error"] is not None or \
            all(question in self.answers for question in self.questions)


def compare_records(dns, said):
    for kind, name in said.questions:
        if (kind, name) not in said.answers:
            continue
        theirs, ours = dns.ask(kind, name), said.records(kind, name)
        where = f"{kind} {name}: dig says {theirs.key()}, we {said.text(kind, name)}"
        assert said.aliases(kind, name) == theirs.aliases, where
        if kind in ("HTTPS", "SVCB"):  # the order of parameters is the printer's
            assert sorted(sorted(d.split()) for d, _ in ours) == \
                sorted(sorted(d.split()) for d in theirs.records), where
        else:
            assert sorted(d for d, _ in ours) == theirs.records, where
        slack = AGES.get(dns.name, 0)
        for _, ttl in ours:
            assert theirs.ttl - slack <= ttl <= theirs.ttl + slack, f"{where}, TTL {theirs.ttl}"
        if not ours:
            expected = "NXDOMAIN" if theirs.status == "NXDOMAIN" else "NODATA"
            assert expected in said.text(kind, name), where


# ---- the endpoints, from what dig says

class Way:
    """Endpoints in steps: a step is a list of sets, tried one after the other in any order; an
    endpoint is (address, port, TTL)."""

    def __init__(self, dns, port):
        self.dns, self.port = dns, port
        self.steps = []

    def addresses(self, name, port, ttl=10 ** 9):
        found = set()
        for kind in ("AAAA", "A"):
            answer = self.dns.ask(kind, name)
            found |= {(address, port, min(ttl, answer.ttl)) for address in answer.records}
        return found if port else set()

    def add_host(self, host):
        self.steps.append([self.addresses(host, self.port)])

    def add_srv(self, service, host):
        answer = self.dns.ask("SRV", f"_{service}._tcp.{host}")
        if not answer.records:
            self.add_host(host)
        rows = [(int(p), int(port), target)
                for p, _, port, target in (r.split() for r in answer.records) if target != "."]
        for priority in sorted({row[0] for row in rows}):
            self.steps.append([self.addresses(target, port, answer.ttl)
                               for p, port, target in rows if p == priority])

    def add_bindings(self, kind, name, protocol, default):
        """False if there is nothing to be had of them."""
        answer = self.dns.ask(kind, name)
        owner = answer.aliases[-1] if answer.aliases else name
        rows = []
        for record in answer.records:
            priority, target, *words = record.split()
            keys = dict((word.split("=", 1) + [""])[:2] for word in words)
            rows.append((int(priority), owner if target == "." else target, keys))
        aliases = [target for priority, target, _ in rows if priority == 0]
        if aliases:
            if not self.add_bindings(kind, aliases[0], protocol, default):
                self.steps.append([self.addresses(aliases[0], self.port)])
            return True
        rows = [row for row in rows if self.fits(row[2], protocol, default)]
        for priority, target, keys in sorted(rows, key=lambda row: row[0]):
            port = int(keys.get("port", self.port))
            hints = ",".join(keys[k] for k in ("ipv6hint", "ipv4hint") if k in keys)
            found = {(str(ipaddress.ip_address(h)), port, answer.ttl)
                     for h in hints.split(",") if h}
            self.steps.append([found | self.addresses(target, port, answer.ttl)])
        return bool(rows)

    @staticmethod
    def fits(keys, protocol, default):
        demanded = set(keys.get("mandatory", "").split(",")) - {""}
        if not demanded <= KNOWN_KEYS:
            return False
        offered = set(keys.get("alpn", "").split(",")) - {""}
        if default and "no-default-alpn" not in keys:
            offered.add(default)
        return protocol is None or not offered or protocol in offered

    def unique(self):
        """Each place once, where it comes first; with the shortest TTL that somebody gave it is
        all the same here, where all are equal."""
        seen, steps = set(), []
        for step in self.steps:
            steps.append([{e for e in group if e[:2] not in seen} for group in step])
            seen |= {e[:2] for group in step for e in group}
        return [[group for group in step if group] for step in steps]


def read_uri(uri):
    scheme, host, port, query = re.match(
        r"([^:]+)://([^:/?]+)(?::(\d+))?[^?]*(?:\?(.*))?$", uri).groups()
    keys = dict(word.split("=") for word in query.split("&")) if query and "=" in query else {}
    return scheme, host.rstrip("."), int(port) if port else None, keys


def work_out(dns, uri):
    scheme, host, port, keys = read_uri(uri)
    way = Way(dns, port or PORTS.get(scheme, 0))
    service = keys.get("srv") or (scheme if scheme in SRV else None)
    if service and port is None:
        way.add_srv(service, host)
        return way.unique()
    protocol = keys.get("alpn") or OFFERED.get(scheme)
    if scheme in HTTPS:
        name = host if way.port == 443 else f"_{port}._https.{host}"
        way.add_bindings("HTTPS", name, protocol, "http/1.1")
    elif "svcb" in keys:
        prefix = f"_{port}." if port else ""
        way.add_bindings("SVCB", f"{prefix}_{keys['svcb']}.{host}", protocol, None)
    way.add_host(host)
    return way.unique()


def is_in_order(got, steps):
    """Of one family: are the endpoints of a step there, group by group, before those of the next?"""
    for step in steps:
        groups = [group for group in step if group]
        while groups:
            hit = next((g for g in groups if set(got[:len(g)]) == g), None)
            if hit is None:
                return False
            groups.remove(hit)
            got = got[len(hit):]
    return not got


def compare_endpoints(dns, uri, said):
    steps = work_out(dns, uri)
    slack = AGES.get(dns.name, 0)
    found = said.result["endpoints"]
    ttls = {(str(ipaddress.ip_address(e["address"].strip("[]"))), e["port"]): e["ttl"]
            for e in found}
    expected = {e[:2]: e[2] for step in steps for group in step for e in group}
    assert len(ttls) == len(found), f"twice the same: {found}"
    assert set(ttls) == set(expected), f"expected {sorted(expected)}, got {sorted(ttls)}"
    for place, ttl in ttls.items():
        assert abs(ttl - expected[place]) <= slack, f"{place}: TTL {ttl}, dig {expected[place]}"
    for version in (4, 6):
        def of_version(place):
            return ipaddress.ip_address(place[0]).version == version
        got = [place for place in ttls if of_version(place)]
        wanted = [[{e[:2] for e in g if of_version(e)} for g in step] for step in steps]
        # What the race would leave out is in no order.
        assert len(ttls) > 32 or is_in_order(got, wanted), f"{got}, in steps {wanted}"
    compare_ends(uri, said, bool(expected))


def compare_ends(uri, said, found):
    scheme, host, _, keys = read_uri(uri)
    secure = scheme not in CLEAR
    protocols = [p for p in (keys.get("alpn") or OFFERED.get(scheme),) if p]
    for endpoint in said.result["endpoints"]:
        assert endpoint["source"] == "dns" and endpoint["transport"] == "tcp", endpoint
        tls = {"name": host.lower(), "alpn": protocols} if secure else None
        assert endpoint["tls"] == tls, f"{endpoint}, expected {tls}"
    if found:
        assert said.code == 0 and said.result["error"] is None, said.err
    else:
        assert said.code == 1 and said.result["error"]["code"] == "ENONAME", said.err


def check(room, dns, uri):
    for _ in range(5):
        said = Said(room, dns.port, uri)
        if said.is_whole():
            break
    assert said.questions, said.err
    assert said.is_whole(), f"unanswered: {said.err}"
    compare_records(dns, said)
    compare_endpoints(dns, uri, said)


def check_size(dns):
    """64 addresses take more than a packet."""
    short = dns.run("dig", "+ignore", "+notcp", "+bufsize=1232", "+noall", "+comments",
                    "@127.0.0.1", "-p", str(dns.port), f"many.{ZONE}.", "AAAA")
    assert re.search(r"flags: [^;]*\btc\b", short), short
    assert len(dns.ask("AAAA", f"many.{ZONE}").records) == 64


def tests(room, wanted):
    """(title, function), one server after the other."""
    servers = {}

    def launch(name):
        need("kdig")
        behind = servers["nsd"].port if "nsd" in servers else None
        servers[name] = Dns(room, name, nameservers.start(room, name, behind=behind))
        return servers[name]

    def find(name):
        if name not in servers:
            raise Skip(f"{name} has not started")
        return servers[name]
    for name in SERVERS:
        yield f"{name}: answers, and 64 addresses over TCP", \
            lambda name=name: check_size(launch(name))
        for uri in URIS:
            if wanted in f"{name}: {uri}":
                yield f"{name}: {uri}", lambda name=name, uri=uri: check(room, find(name), uri)


def main():
    build, source = sys.argv[1:3]
    with Room(build, source) as room:
        try:
            tap.run(tests(room, sys.argv[3] if len(sys.argv) > 3 else ""))
        finally:
            room.clean()


main()
