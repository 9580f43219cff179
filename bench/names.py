#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The bench of names: build-bench/bench/names beside a nsd that has an answer for every name.
`names.py [MILLIONS]`: of cached lookups, by default 10."""

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
* A 192.0.2.1
* AAAA 2001:db8::1
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
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: test
  zonefile: zone
"""


def free_port():
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        return udp.getsockname()[1]


def answers(port):
    query = b"\0\1\1\0\0\1\0\0\0\0\0\0\1x\4test\0\0\1\0\1"
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.settimeout(0.2)
        try:
            udp.sendto(query, ("127.0.0.1", port))
            return len(udp.recv(512)) > len(query)
        except OSError:
            return False


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    nsd = shutil.which("nsd", path=os.environ["PATH"] + ":/usr/sbin")
    with tempfile.TemporaryDirectory() as scratch:
        port = free_port()
        for name, text in ("zone", ZONE), ("conf", CONFIG.format(port=port, dir=scratch)):
            with open(f"{scratch}/{name}", "w", encoding="ascii") as file:
                file.write(text)
        server = subprocess.Popen([nsd, "-d", "-c", f"{scratch}/conf"], stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 10
            while not answers(port):
                assert time.monotonic() < until, "nsd does not answer"
                time.sleep(0.05)
            return subprocess.run([f"{root}/build-bench/bench/names", f"127.0.0.1:{port}",
                                   *sys.argv[1:]]).returncode
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    sys.exit(main())
