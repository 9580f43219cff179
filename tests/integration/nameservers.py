# SPDX-License-Identifier: ISC
"""Name servers that are not ours, each on a port of its own on loopback, with one zone.

`start(room, name)` starts one and returns its port: nsd, knot, bind, unbound (which asks nsd) and
dnsmasq, which has no zones and is told each record in words of its own. They end with the room.
"""

import os
import subprocess

from peers import Skip, eventually, free_port, need

ZONE = "names.example"
TTL = 300

# Who is asked for what: name (below ZONE), type, data. Where the data names a host, it is below
# ZONE as well unless it ends in a dot.
RECORDS = [
    ("ns", "A", "127.0.0.1"),
    # Addresses: of both families, of one, many of them, none at all.
    ("www", "A", "192.0.2.1"), ("www", "A", "192.0.2.2"), ("www", "AAAA", "2001:db8::1"),
    ("four", "A", "192.0.2.4"), ("six", "AAAA", "2001:db8::6"),
    ("text", "TXT", '"no address"'),
    ("xn--bcher-kva", "A", "192.0.2.5"),
    *[("many", "A", f"198.51.100.{n}") for n in range(1, 65)],
    *[("many", "AAAA", f"2001:db8:64::{n:x}") for n in range(1, 65)],
    ("*.wild", "A", "192.0.2.50"),
    # Aliases: of one step, of several, into nothing.
    ("alias", "CNAME", "www"), ("alias4", "CNAME", "four"),
    ("chain1", "CNAME", "chain2"), ("chain2", "CNAME", "chain3"), ("chain3", "CNAME", "six"),
    ("dangling", "CNAME", "nowhere"), ("astray", "CNAME", "text"),
    # SRV: priorities and weights, a no, an alias, a target that is not there.
    ("_xmpps-client._tcp.chat", "SRV", "20 0 5224 four"),
    ("_xmpps-client._tcp.chat", "SRV", "10 60 5223 www"),
    ("_xmpps-client._tcp.chat", "SRV", "10 40 5225 svc"),
    ("_xmpps-client._tcp.chat", "SRV", "30 0 5226 many"),
    ("_sips._tcp.none", "SRV", "0 0 0 ."), ("none", "A", "192.0.2.12"),
    ("_imaps._tcp.mail", "SRV", "0 5 993 six"), ("_imaps._tcp.mail", "SRV", "0 0 1993 four"),
    ("_pop3s._tcp.post", "CNAME", "_imaps._tcp.mail"),
    ("_submissions._tcp.half", "SRV", "1 0 465 nowhere"),
    ("_submissions._tcp.half", "SRV", "2 0 465 alias4"),
    ("half", "A", "192.0.2.13"),
    # HTTPS: services with ports, protocols, hints and demands; aliases; another port's.
    ("svc", "A", "192.0.2.7"), ("svc", "AAAA", "2001:db8::7"),
    ("www", "HTTPS", "1 svc alpn=h2,http/1.1 port=8443"),
    ("www", "HTTPS", "2 four alpn=http/1.1"),
    ("_8444._https.www", "HTTPS", "1 svc port=8445"),
    ("apex", "HTTPS", "0 www"), ("apex", "A", "192.0.2.8"),
    ("apex2", "HTTPS", "0 apex"), ("apex2", "A", "192.0.2.9"),
    ("bare", "HTTPS", "0 svc"), ("bare", "AAAA", "2001:db8::9"),
    ("hints", "HTTPS", "1 . alpn=http/1.1 ipv4hint=192.0.2.91,192.0.2.92 ipv6hint=2001:db8::91"),
    ("hints", "A", "192.0.2.91"),
    ("must", "HTTPS", "1 svc mandatory=alpn alpn=http/1.1 port=8446"),
    ("must", "A", "192.0.2.14"),
    ("newer", "HTTPS", "1 svc mandatory=key667 key667=hello"),
    ("newer", "HTTPS", "2 svc key668=hello port=8447"), ("newer", "A", "192.0.2.15"),
    ("h2", "HTTPS", "1 svc alpn=h2 no-default-alpn"), ("h2", "A", "192.0.2.16"),
    ("web", "CNAME", "hints"),
    # SVCB, of a protocol of its own.
    ("_foo.api", "SVCB", "1 svc port=4001 alpn=foo"), ("_foo.api", "SVCB", "3 . port=4003"),
    ("_foo.api", "SVCB", "2 www port=4002"), ("api", "A", "192.0.2.20"),
    ("_4005._foo.api", "SVCB", "1 four port=4006"),
    ("_foo.there", "SVCB", "0 _foo.api"), ("there", "A", "192.0.2.21"),
]

NSD = """\
server:
    ip-address: 127.0.0.1@{port}
    username: ""
    zonesdir: "{dir}"
    database: ""
    pidfile: "{dir}/pid"
    xfrdfile: "{dir}/xfrd.state"
    xfrdir: "{dir}"
    zonelistfile: "{dir}/zone.list"
    server-count: 1
remote-control:
    control-enable: no
zone:
    name: {zone}
    zonefile: zone
"""
KNOT = """\
server:
    rundir: "{dir}"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{dir}/db"
zone:
  - domain: {zone}
    storage: "{dir}"
    file: zone
    zonefile-sync: -1
    journal-content: none
"""
BIND = """\
options {{
    directory "{dir}";
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    pid-file none;
    session-keyfile none;
    managed-keys-directory "{dir}";
    recursion no;
    dnssec-validation no;
}};
controls {{ }};
zone "{zone}" {{ type primary; file "{dir}/zone"; }};
"""
UNBOUND = """\
server:
    interface: 127.0.0.1
    port: {port}
    username: ""
    chroot: ""
    directory: "{dir}"
    pidfile: "{dir}/pid"
    use-syslog: no
    do-ip6: no
    do-not-query-localhost: no
    module-config: "iterator"
    num-threads: 1
remote-control:
    control-enable: no
stub-zone:
    name: {zone}
    stub-addr: 127.0.0.1@{behind}
"""
DNSMASQ = """\
port={port}
listen-address=127.0.0.1
bind-interfaces
no-resolv
no-hosts
no-ping
user=root
pid-file=
local=/{zone}/
local-ttl={ttl}
"""

COMMANDS = {
    "nsd": (NSD, ["nsd", "-d", "-c", "{conf}"]),
    "knot": (KNOT, ["knotd", "-c", "{conf}"]),
    "bind": (BIND, ["named", "-g", "-n", "1", "-c", "{conf}"]),
    "unbound": (UNBOUND, ["unbound", "-d", "-c", "{conf}"]),
    "dnsmasq": (DNSMASQ, ["dnsmasq", "--keep-in-foreground", "--conf-file={conf}"]),
}


def zone_text(records=None, ttl=TTL):
    lines = [f"$ORIGIN {ZONE}.", f"$TTL {ttl}", "@ SOA ns root 1 3600 600 86400 60", "@ NS ns"]
    return "\n".join(lines + [" ".join(r) for r in records or RECORDS]) + "\n"


def full(name):
    return name[:-1] if name.endswith(".") else f"{name}.{ZONE}"


def rdata(port, name, kind):
    """The records of a name as the server at `port` sends them, in hexadecimal."""
    lines = subprocess.run(["dig", "+short", "+unknownformat", "-p", str(port), "@127.0.0.1",
                            full(name), kind], capture_output=True, text=True, check=True)
    return ["".join(line.split()[2:]) for line in lines.stdout.splitlines()]


def dnsmasq_options(behind):
    """RECORDS in the words of dnsmasq; what it has no word for, in the bytes of another server."""
    numbers = {"HTTPS": 65, "SVCB": 64}
    for name, kind, data in RECORDS:
        if name.startswith("*."):
            yield f"address=/{full(name[2:])}/{data}"
        elif kind in ("A", "AAAA"):
            yield f"host-record={full(name)},{data}"
        elif kind == "CNAME":
            yield f"cname={full(name)},{full(data)}"
        elif kind == "TXT":
            yield f"txt-record={full(name)},{data}"
        elif kind == "SRV":
            priority, weight, port, target = data.split()
            where = "" if target == "." else f",{full(target)},{port},{priority},{weight}"
            yield f"srv-host={full(name)}{where}"
    for name, kind in sorted({r[:2] for r in RECORDS if r[1] in numbers}):
        for data in rdata(behind, name, kind):
            yield f"dns-rr={full(name)},{numbers[kind]},{data}"


def answers(port):
    done = subprocess.run(["dig", "+short", "+time=1", "+tries=1", "-p", str(port), "@127.0.0.1",
                           full("ns"), "A"], capture_output=True, text=True, check=False)
    return done.stdout == "127.0.0.1\n"


def start(room, name, text=None, behind=None):
    """The server `name` with the zone `text`; its port. Unbound and dnsmasq want the port of one
    that has the zone."""
    config, command = COMMANDS[name]
    need(command[0], "dig")
    if behind is None and name in ("unbound", "dnsmasq"):
        raise Skip("there is no name server with the zone")
    place = room.path(name)
    os.makedirs(os.path.join(place, "db"))
    port = free_port()
    config = config.format(port=port, dir=place, zone=ZONE, ttl=TTL, behind=behind)
    if name == "dnsmasq":
        config += "\n".join(dnsmasq_options(behind)) + "\n"
    for file, content in (("zone", text or zone_text()), ("conf", config)):
        with open(os.path.join(place, file), "w", encoding="utf-8") as out:
            out.write(content)
    conf = os.path.join(place, "conf")
    server = room.start(*[word.format(conf=conf) for word in command])
    eventually(lambda: server.process.poll() is not None or answers(port), f"{name} answers")
    assert server.process.poll() is None, f"{name}: {server.text()}"
    return port
