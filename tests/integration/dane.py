#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""verify=dane against name servers that are not ours: knot, which signs a zone, and unbound, which
checks it.

    dane.py BUILD-FOLDER SOURCE-FOLDER     results in TAP

A server of ours has a certificate that nobody signed, and the zone has TLSA records for its port:
the right one, a wrong one, none, and right ones that nobody vouches for.
"""

import json
import os
import subprocess
import sys

import nameservers
import tap
from nameservers import ZONE
from peers import PATIENCE, Room, accepts, eventually, free_port, need

SIGNED = nameservers.KNOT.replace("    journal-content: none\n",
                                  "    journal-content: all\n    dnssec-signing: on\n")
CHECKED = nameservers.UNBOUND.replace('module-config: "iterator"',
                                      'module-config: "validator iterator"\n'
                                      '    trust-anchor-file: "{dir}/anchor"')
NO_CONNECTION = (3, 4, 5)


def make_certificate(room):
    """For all of the zone, signed by nobody; and the digest of its key, as "3 1 1" has it."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=dane",
                    "-addext", f"subjectAltName=DNS:*.{ZONE}", "-keyout", room.path("key.pem"),
                    "-out", room.path("cert.pem")], capture_output=True, check=True)
    command = (f"openssl x509 -in {room.path('cert.pem')} -noout -pubkey"
               " | openssl pkey -pubin -outform DER | openssl dgst -sha256")
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def make_zone(port, good):
    bad = "00" * 32
    tlsa = [("right", f"3 1 1 {good}"), ("wrong", f"3 1 1 {bad}"),
            ("both", f"3 1 1 {bad}"), ("both", f"3 1 1 {good}"),
            ("useless", f"9 1 1 {good}")]
    records = [("ns", "A", "127.0.0.1")]
    records += [(host, "A", "127.0.0.1") for host in ("right", "wrong", "both", "useless", "none")]
    records += [(f"_{port}._tcp.{host}", "TLSA", data) for host, data in tlsa]
    return nameservers.zone_text(records, 300)


def ask(port, name, kind, *options):
    return subprocess.run(["dig", "+time=1", "+tries=1", "-p", str(port), "@127.0.0.1", name, kind,
                           *options], capture_output=True, text=True, check=False).stdout


def signed(room, port, good):
    need("knotd", "keymgr", "unbound", "dig")
    nameservers.COMMANDS["signed"] = (SIGNED, ["knotd", "-c", "{conf}"])
    server = nameservers.start(room, "signed", make_zone(port, good))
    eventually(lambda: "RRSIG" in ask(server, ZONE, "SOA", "+dnssec"), "knot has signed")
    return server


def checking(room, name, behind, anchor):
    """An unbound that believes in `anchor`."""
    place, port = room.path(name), free_port()
    os.makedirs(place)
    conf = os.path.join(place, "conf")
    config = CHECKED.format(port=port, dir=place, zone=ZONE, behind=behind)
    for file, content in (("anchor", anchor), ("conf", config)):
        with open(os.path.join(place, file), "w", encoding="utf-8") as out:
            out.write(content)
    room.start("unbound", "-d", "-c", conf)
    eventually(lambda: "status: " in ask(port, f"ns.{ZONE}", "A"), f"{name} answers")
    return port


def anchor_of(server):
    keys = [line for line in ask(server, ZONE, "DNSKEY", "+noall", "+answer").splitlines()
            if "DNSKEY" in line and "257 3" in line]
    return "\n".join(keys) + "\n"


class World:
    """A server of ours, a signed zone about it, and who checks that zone."""

    def __init__(self, room):
        self.room = room
        self.port = free_port()
        good = make_certificate(room)
        room.start_ours("echo-server", "--cert", room.path("cert.pem"), "--key",
                        room.path("key.pem"), f"tls://127.0.0.1:{self.port}")
        eventually(lambda: accepts(self.port), "echo-server listens")
        self.knot = signed(room, self.port, good)
        self.good = checking(room, "good", self.knot, anchor_of(self.knot))
        assert "flags: qr rd ra ad" in ask(self.good, f"right.{ZONE}", "A", "+adflag"), "AD"
        self.bad = checking(room, "bad", self.knot, f"{ZONE}. IN DS 12345 13 2 {'00' * 32}\n")

    def cat(self, host, *options, server=None):
        return self.room.run_ours(
            "conduit-cat", "--info", "--tls", "verify=dane", "--server",
            f"127.0.0.1:{server or self.good}", *options, f"tls://{host}.{ZONE}:{self.port}",
            given=b"hello", timeout=PATIENCE)

    def refused(self, host, *options, says, server=None):
        result = self.cat(host, *options, server=server)
        assert result.code in NO_CONNECTION and says in result.err, str(result)


def tests(world):
    def matches(host):
        result = world.cat(host, "--trust-ad")
        assert result.code == 0 and result.out == b"hello", str(result)
        assert json.loads(result.err.splitlines()[0])["tls"]["verify"] == "dane", result.err

    yield "a record that fits is enough", lambda: matches("right")
    yield "one of several that fits is", lambda: matches("both")
    yield "one that does not fit turns the server away", lambda: world.refused(
        "wrong", "--trust-ad", says="TLSA")
    yield "one that nobody has a use for is none", lambda: world.refused(
        "useless", "--trust-ad", says="there is none")
    yield "without a record there is no connection", lambda: world.refused(
        "none", "--trust-ad", says="TLSA _")
    yield "who is not trusted to know is not believed", lambda: world.refused(
        "right", says="does not vouch")
    yield "who does not check does not vouch", lambda: world.refused(
        "right", "--trust-ad", server=world.knot, says="does not vouch")
    yield "a zone whose signatures are wrong has no records", lambda: world.refused(
        "right", "--trust-ad", server=world.bad, says="TLSA _")
    yield "where DNS is not asked nobody is believed", lambda: world.refused(
        "right", "--trust-ad", "--connect-to", f"tcp://127.0.0.1:{world.port}",
        says="there is none")


def main():
    build, source = (os.path.abspath(path) for path in sys.argv[1:3])
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    with Room(build, source) as room:
        tap.run(tests(World(room)))


if __name__ == "__main__":
    main()
