# SPDX-License-Identifier: ISC
"""How a connect goes over roads of all kinds, ours and curl's: a Row says what the road is like, who has
to win and when.

Times are the programs' own, so that starting them does not count. What a busy machine adds is always
more: too early is wrong at once, too late only if it happens at every one of several tries.
"""

import json
import os
import re
import socket
import subprocess
import threading

from nameserver import AAAA, answers, behaviour
from peers import eventually
from road import DEAD, THERE, THERE6, Way, command, instead

LAST = "192.0.2.200"  # alive, and in the order of RFC 6724 behind all of DEAD
NO_WAY = "2001:db9::1"
TRIES = 6
LOSSY = 20  # connects over a road that loses packets
PLAIN, FOUR_ONLY, SECURE = 80, 81, 443
REQUEST = b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n"

HOSTS = {"a.example": [THERE, THERE6], "dead.example": DEAD, "last.example": DEAD + [LAST],
         "no-way.example": [THERE, NO_WAY], "localhost": ["127.0.0.1", "::1"]}

SITE = """\
daemon off; master_process off; pid {dir}/pid; error_log {dir}/log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
    uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    ssl_certificate {certs}/server.pem; ssl_certificate_key {certs}/server.key; ssl_protocols TLSv1.3;
    server {{ listen 0.0.0.0:80; listen [::]:80 ipv6only=on; listen 0.0.0.0:81;
              listen 0.0.0.0:443 ssl; listen [::]:443 ipv6only=on ssl; return 200 "here I am\\n"; }}
}}
"""


class Row:
    """`within`: milliseconds, at least and at most. `wins`: a family, either of them, or NONE."""

    def __init__(self, title, wins, within, four=None, six=None, uri="http://a.example/", give_up_s=30,
                 tries=TRIES):
        self.title, self.wins, self.within, self.uri = title, wins, within, uri
        self.four, self.six, self.give_up_s, self.tries = four or Way(), six or Way(), give_up_s, tries


FOUR, SIX, EITHER, NONE = {"IPv4"}, {"IPv6"}, {"IPv4", "IPv6"}, {None}
DEADLINE_S = 3
ROWS = [
    Row("both families answer", SIX, (0, 20)),
    Row("IPv6 takes 10 ms longer than the delay", FOUR, (250, 260), six=Way(0.260)),
    Row("IPv6 takes 10 ms less than the delay", SIX, (240, 250), six=Way(0.240)),
    Row("IPv6 is dropped", FOUR, (230, 270), six=Way(closed=True)),
    Row("IPv6 is refused", FOUR, (0, 20), uri=f"http://a.example:{FOUR_ONLY}/"),
    Row("IPv6 has no way there", FOUR, (0, 20), uri="http://no-way.example/"),
    Row("IPv6 is dropped, TLS", FOUR, (230, 330), six=Way(closed=True), uri="https://a.example/"),
    Row("TCP opens over IPv6, and TLS is swallowed", FOUR, (250, 1000), six=Way(largest=200),
        uri="https://a.example/"),
    Row("a round trip of 600 ms", EITHER, (600, 650), four=Way(0.6), six=Way(0.6)),
    Row("a round trip of 600 ms, TLS", EITHER, (1200, 1300), four=Way(0.6), six=Way(0.6),
        uri="https://a.example/"),
    Row("sixteen dead addresses, given up after 3 s", NONE, (3000, 3050), four=Way(closed=True),
        six=Way(closed=True), uri="http://dead.example/", give_up_s=DEADLINE_S, tries=2),
    Row("sixteen dead addresses, and one that is not", FOUR, (250, 6000), uri="http://last.example/",
        give_up_s=15, tries=1),
    Row("AAAA comes 30 ms after A", SIX, (30, 50), uri="http://x.aaaa-30ms.test/"),
    Row("AAAA comes a second after A", FOUR, (50, 70), uri="http://x.aaaa-late.test/"),
    Row("AAAA never comes", FOUR, (50, 70), uri="http://x.aaaa-never.test/", give_up_s=8),
    Row("A never comes", SIX, (0, 20), uri="http://x.a-never.test/", give_up_s=8),
]


@behaviour
def aaaa_30ms(q):
    if q.kind == AAAA:
        threading.Event().wait(0.03)
    return q.good()


def serve_names():
    """On port 53 of this side, where every resolver looks."""
    server = socket.socket(type=socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def answer(packet, peer):
        for piece in answers(None, packet, False):
            server.sendto(piece, peer)

    def serve():
        while True:
            threading.Thread(target=answer, args=server.recvfrom(512), daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()


def furnish(room, road):
    """Names on this side; a web server on the other; and addresses with nobody behind them."""
    hosts = "".join(f"{address} {name}\n" for name, all in HOSTS.items() for address in all)
    instead("/etc/hosts", hosts, room.certs)
    instead("/etc/resolv.conf", "nameserver 127.0.0.1\n", room.certs)
    command(*road.over_there(), "ip", "address", "add", LAST + "/32", "dev", "there")
    for address in DEAD:
        command(*road.over_there(), "ip", "route", "add", "blackhole", address)
    serve_names()
    with open(room.path("site.conf"), "w", encoding="utf-8") as file:
        file.write(SITE.format(dir=room.dir, certs=room.certs))
    room.start(*road.over_there(), "nginx", "-c", room.path("site.conf"), "-e", room.path("log"))
    room.eventually_serves(THERE, SECURE)


class Outcome:
    """Who won after how many milliseconds; `family` is None if nobody did."""

    def __init__(self, ms, family, said=""):
        self.ms, self.family, self.said = ms, family, said

    def __str__(self):
        return f"{self.family or 'failed'} {self.ms:6.0f} ms"


def family_of(address):
    """Of an address, or of a URI that has one and a port."""
    return "IPv6" if address.count(":") > 2 else "IPv4"


def lost_at(trace):
    """When the last connect of a trace was lost."""
    found = re.findall(r"^ *([0-9.]+) ms  lost ", trace, re.MULTILINE)
    assert found, trace
    return float(found[-1])


def ours(room, row):
    options = ["--ca", room.cert("ca.pem"), "--timeout", str(row.give_up_s)]
    uri = row.uri
    if row.wins == NONE:
        result = room.run_ours("conduit-resolve", *options, "--connect", "--trace", uri, timeout=60)
        assert result.code == 4, result
        return Outcome(lost_at(result.err), None, result.err)
    cat = room.start_ours("conduit-cat", *options, "--info", uri, stdin=subprocess.PIPE, keep_output=True)
    info = json.loads(cat.find("^{.*}$")[0])
    cat.process.stdin.write(REQUEST)
    cat.process.stdin.flush()
    eventually(lambda: b"here I am" in cat.output, "the answer is there")
    cat.process.stdin.close()
    assert cat.wait() == 0, cat.text()
    return Outcome(info["open_ms"], family_of(info["peer"]), cat.text())


def curls(room, row):
    """curl as it comes: --happy-eyeballs-timeout-ms is 200."""
    result = room.run("curl", "-so", "/dev/null", "--cacert", room.cert("ca.pem"), "--noproxy", "*",
                      "--connect-timeout", str(row.give_up_s), "-w",
                      "%{time_connect} %{time_appconnect} %{time_total} %{remote_ip}", row.uri, timeout=60)
    connect, secure, total, *peer = result.out.decode().split()
    if result.code != 0:
        return Outcome(float(total) * 1000, None, result.err)
    seconds = float(secure if row.uri.startswith("https:") else connect)
    return Outcome(seconds * 1000, family_of(peer[0]), result.err)


def fits(row, outcome):
    """Raises if it is wrong; whether it is in time."""
    assert outcome.family in row.wins, f"{outcome}: {outcome.said}"
    assert outcome.ms >= row.within[0] - 1, f"too early: {outcome}"
    return outcome.ms <= row.within[1]


def check(room, road, row):
    """A line of the table."""
    road.set(row.four, row.six)
    for _ in range(row.tries):
        outcome = ours(room, row)
        if fits(row, outcome):
            break
    line = f"{row.title:<44} {outcome}"
    if room.compares:
        line += f"   {curls(room, row)}"
    room.table.append(line)
    assert fits(row, outcome), f"not within {row.within[1]} ms in {row.tries} tries: {outcome}"


def check_loss(room, road):
    """Most handshakes lose something on the way, and all get there."""
    way = Way(0.02, loss=0.2)
    road.set(way, way)
    row = Row("a fifth of all packets is lost", EITHER, (20, 30000), uri="https://a.example/")
    times = sorted(ours(room, row).ms for _ in range(LOSSY))
    line = f"{row.title + f', {LOSSY} times TLS':<44} median {times[LOSSY // 2]:.0f} ms, worst {times[-1]:.0f} ms"
    if room.compares:
        theirs = sorted((curls(room, row) for _ in range(LOSSY)), key=lambda o: o.ms)
        line += (f"   median {theirs[LOSSY // 2].ms:.0f} ms, worst {theirs[-1].ms:.0f} ms, "
                 f"{sum(o.family is None for o in theirs)} failed")
    room.table.append(line)


def tests(room, road):
    furnish(room, road)
    for row in ROWS:
        yield row.title, lambda row=row: check(room, road, row)
    yield "a fifth of all packets is lost", lambda: check_loss(room, road)
