#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""conduit-resolve and dig ask one nsd: what dig says of addresses, an alias, SRV and HTTPS has to
be where conduit-resolve leads to. `names.py BUILD-DIRECTORY`; without nsd or dig it is skipped."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ZONE = """$ORIGIN test.
$TTL 300
@ SOA ns root 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
www A 192.0.2.1
www A 192.0.2.2
www AAAA 2001:db8::1
www HTTPS 1 svc port=8443 alpn=http/1.1
svc A 192.0.2.7
apex HTTPS 0 www
apex A 192.0.2.8
alias CNAME www
_xmpps-client._tcp.chat SRV 20 0 5224 svc
_xmpps-client._tcp.chat SRV 10 0 5223 www
_sips._tcp.none SRV 0 0 0 .
none A 192.0.2.12
"""
CONFIG = """server:
  ip-address: 127.0.0.1@{port}
  username: ""
  chroot: ""
  zonesdir: "{dir}"
  database: ""
  pidfile: "{dir}/pid"
  xfrdfile: "{dir}/xfrd"
  zonelistfile: "{dir}/zones"
remote-control:
  control-enable: no
zone:
  name: test
  zonefile: zone
"""


def dig(port, name, kind):
    command = ["dig", "+short", "+time=1", "-p", str(port), "@127.0.0.1", name, kind]
    return subprocess.run(command, capture_output=True, text=True).stdout.split("\n")[:-1]


def addresses(port, name):
    """Those of both families, without the aliases on the way."""
    lines = dig(port, name, "A") + dig(port, name, "AAAA")
    return {line for line in lines if not line.endswith(".")}


def resolve(build, port, uri):
    """(address, port) of every endpoint, in order."""
    command = [f"{build}/tools/conduit-resolve", "--json", "--server", f"127.0.0.1:{port}", uri]
    out = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=20).stdout)
    return [(at["address"].strip("[]"), at["port"]) for at in out["results"][0]["endpoints"]]


def places(port, *hosts):
    return [{(address, at) for address in addresses(port, name)} for name, at in hosts]


def in_order(got, groups):
    """Are all of one group there, and before those of the next?"""
    for group in groups:
        head, got = got[:len(group)], got[len(group):]
        if set(head) != group:
            return False
    return not got


def check(build, port):
    srv = sorted(dig(port, "_xmpps-client._tcp.chat.test", "SRV"))
    targets = [(line.split()[3], int(line.split()[2])) for line in srv]
    offer = dig(port, "www.test", "HTTPS")[0].split()
    offered = int([field for field in offer if field.startswith("port=")][0][5:].strip('"'))
    service = (offer[1], offered)
    yield "A and AAAA", "http://www.test", places(port, ("www.test", 80))
    yield "an alias", "http://alias.test", places(port, ("alias.test", 80))
    yield "SRV", "xmpps-client://chat.test", places(port, *targets)
    yield "SRV that says no", "sips://none.test", []
    yield "no SRV beside a port", "sips://none.test:99", places(port, ("none.test", 99))
    yield "HTTPS", "https://www.test", places(port, service, ("www.test", 443))
    yield "an alias of HTTPS", "https://apex.test", places(port, service, ("apex.test", 443))


def main():
    if not shutil.which("nsd") or not shutil.which("dig"):
        print("1..0 # SKIP needs nsd and dig")
        return 0
    with socket.socket() as free, tempfile.TemporaryDirectory() as place:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        for name, text in ("zone", ZONE), ("conf", CONFIG.format(port=port, dir=place)):
            with open(os.path.join(place, name), "w", encoding="utf-8") as file:
                file.write(text)
        free.close()
        server = subprocess.Popen(["nsd", "-d", "-c", f"{place}/conf"], stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 10
            while not addresses(port, "ns.test") and time.monotonic() < until:
                time.sleep(0.1)
            failed = 0
            for n, (title, uri, groups) in enumerate(check(sys.argv[1], port), 1):
                got = resolve(sys.argv[1], port, uri)
                fine = in_order(got, groups)
                failed += not fine
                print(f"{'ok' if fine else 'not ok'} {n} - {title}")
                if not fine:
                    print(f"# {uri}: {got} instead of {groups}")
            print(f"1..{n}")
        finally:
            server.terminate()
            server.wait()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
