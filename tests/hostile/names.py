#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""conduit-resolve against a name server that misbehaves (nameserver.py): a row says what has to come
of each misbehaviour, and within what time.

    names.py BUILD-FOLDER [WORD]      results in TAP; WORD: only rows whose names contain it

Times are read from --trace, so that starting a program does not count. The machine may be busy, so
how late it wakes whom it should wake is measured beside each row and does not count either.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import threading
import time

from nameserver import BEHAVIOURS, EVIL, GOOD, GOOD6, Server, port_of, udp_socket

NONE, TEMPORARY = 1, 3  # exit codes
EITHER = "0 or 3"  # c-ares 1.18 and 1.34 differ in what they take
TIMEOUT_MS = 900
GRACE_MS = 100
TRY_MS = 1500  # how long a server has that is silent, when there is another
SOON_MS = 50  # what nobody may wait longer than for somebody else
PATIENCE_S = 60
CRASH = re.compile("AddressSanitizer|LeakSanitizer|UndefinedBehavior|runtime error")


class Row:
    """URI, options for conduit-resolve, and what has to come of it: exit code, endpoints (a list in any
    order, for that is the machine's; a number; or None: no matter), a pattern for standard error, and a bound for the whole."""

    def __init__(self, name, code=0, says="", gives=None, uri="tcp://{}.test:80", bound=TIMEOUT_MS,
                 servers=("main",), options=(), also=None):
        self.name, self.code, self.says, self.gives = name, code, says, gives
        self.uri, self.bound, self.servers = uri.format(name), bound, servers
        self.options, self.also = options, also


def events(trace, event):
    """[(ms, text)] of the events of one kind."""
    pattern = re.compile(rf"^ *([0-9.]+) ms  {event} +(.*)$", re.MULTILINE)
    return [(float(ms), text) for ms, text in pattern.findall(trace)]


def at(trace, event, text):
    """When something was told first."""
    times = [ms for ms, said in events(trace, event) if text in said]
    assert times, f"{event}: {text!r} was never told"
    return times[0]


# ---- more than code and endpoints: functions of (trace, milliseconds of the machine's)


def tells_a_at_once(trace, late):
    """A family that has answered is told before the other has."""
    told = at(trace, "endpoint", f"//{GOOD}:")
    heard = at(trace, "answer", f"{GOOD} ")
    assert told - heard <= SOON_MS + late, f"told {told - heard:.0f} ms after it was heard"
    assert not re.search(r"answer +AAAA", trace[:trace.index("endpoint")]), "AAAA was waited for"


def does_not_wait_for_https(trace, late):
    told, heard = at(trace, "order", "1."), at(trace, "answer", f"{GOOD} ")
    assert told - heard <= SOON_MS + GRACE_MS + late, f"{told - heard:.0f} ms for HTTPS"


def keeps_nothing(trace, late):
    kept = [text for _, text in events(trace, "cache") if "kept for" in text]
    assert not kept, f"kept: {kept}"


def keeps_for_a_day_at_most(trace, late):
    kept = [int(n) for _, text in events(trace, "cache") for n in re.findall(r"for (\d+) s", text)]
    assert kept and max(kept) <= 86400, f"kept for {kept} s"


def asks_both(trace, late):
    asked = [text for _, text in events(trace, "query")]
    assert all(", 127.0.0.1:" in text for text in asked), f"who else is there to ask? {asked}"


TRUTH = [f"tcp://[{GOOD6}]:80", f"tcp://{GOOD}:80"]
IP4 = TRUTH[1:]
TLS = [f"tls://[{GOOD6}]:443?name={{0}}&alpn=http/1.1", f"tls://{GOOD}:443?name={{0}}&alpn=http/1.1"]
MALFORMED = "malformed answer from 127"
IGNORED = "no answer from 127|did not answer in time"


def https(name, **more):
    host = name + ".test"
    return Row(name, gives=[line.format(host) for line in TLS], uri="https://{}.test/", **more)


ROWS = [
    Row("fine", gives=TRUTH),
    # what servers say
    Row("servfail", TEMPORARY, r"SERVFAIL\): 127"),
    Row("refused", TEMPORARY, r"REFUSED\): 127"),
    Row("notimp", TEMPORARY, r"NOTIMP\): 127"),
    Row("formerr", TEMPORARY, "FORMERR"),
    Row("yxdomain", TEMPORARY),
    Row("nxdomain", NONE, "NXDOMAIN"),
    Row("nodata", NONE, "NODATA"),
    Row("nxdomain-with-an-address", NONE, "NXDOMAIN"),
    Row("servfail-with-an-address", TEMPORARY, "SERVFAIL"),
    # too late
    Row("silence", TEMPORARY, IGNORED),
    Row("aaaa-late", gives=TRUTH, also=tells_a_at_once, bound=1500, options=("--timeout", "4")),
    Row("aaaa-never", gives=IP4, also=tells_a_at_once),
    Row("a-never", gives=TRUTH[:1]),
    https("https-never", also=does_not_wait_for_https),
    # several servers
    Row("servfail", TEMPORARY, "SERVFAIL", servers=("main", "mute")),
    Row("refused", TEMPORARY, "REFUSED", servers=("main", "mute")),
    *[Row("fine", gives=TRUTH, servers=(first, "main"), also=asks_both, bound=TRY_MS,
          options=("--timeout", "4")) for first in ("gone", "hole")],
    Row("fine", TEMPORARY, "refused", servers=("gone",)),
    # truncation and TCP
    Row("truncated-and-tcp", gives=TRUTH),
    Row("truncated-in-a-record", EITHER),
    Row("truncated-for-ever", TEMPORARY),
    Row("truncated-and-tcp", TEMPORARY, servers=("mute",)),
    Row("tcp-silent", TEMPORARY, IGNORED),
    Row("tcp-closes", TEMPORARY),
    Row("tcp-resets", TEMPORARY),
    Row("tcp-half", TEMPORARY),
    Row("tcp-half-and-reset", TEMPORARY),
    Row("tcp-half-and-silence", TEMPORARY, IGNORED),
    Row("tcp-length-too-long", TEMPORARY, IGNORED),
    Row("tcp-length-too-short", TEMPORARY),
    Row("tcp-length-zero", TEMPORARY),
    Row("tcp-garbage", TEMPORARY),
    Row("tcp-byte-by-byte", gives=TRUTH),
    # not what was asked
    *[Row(name, TEMPORARY) for name in (
        "wrong-id", "wrong-question", "wrong-type", "wrong-class", "two-questions", "no-question",
        "the-query-itself", "wrong-opcode", "from-another-port", "from-another-address")],
    *[Row(name + "-first", gives=TRUTH) for name in (
        "wrong-id", "wrong-question", "from-another-port", "from-another-address")],
    Row("of-another-name", NONE),
    Row("of-another-class", NONE),
    Row("of-another-type", NONE),
    # malformed
    *[Row(name, TEMPORARY, MALFORMED) for name in (
        "owner-points-to-itself", "owners-point-to-each-other", "owner-points-outside",
        "target-points-to-itself", "label-of-a-bad-kind", "more-answers-than-there-are",
        "data-longer-than-the-packet", "address-too-short", "address-empty",
        "cut-short", "garbage-after-the-head", "name-without-end")],
    *[Row(name, EITHER) for name in ("address-too-long", "garbage-after-the-end")],
    *[Row(name, TEMPORARY) for name in (
        "head-alone", "half-a-head", "one-byte", "empty", "zeros", "ones", "garbage")],
    Row("more-than-was-allowed"),
    # aliases
    *[Row(name, TEMPORARY, MALFORMED) for name in (
        "alias-to-itself", "aliases-in-a-circle", "a-hundred-aliases", "alias-to-no-host")],
    Row("alias-to-nothing", NONE, "NODATA"),
    Row("alias-to-the-root", NONE, "NODATA"),
    Row("two-aliases", gives=TRUTH),
    # many, and odd
    Row("two-hundred", gives=64),
    Row("the-same-a-hundred-times", gives=IP4),
    Row("owner-without-length", NONE, "NODATA"),
    Row("ttl-zero", gives=TRUTH, also=keeps_nothing),
    Row("ttl-2-31", gives=TRUTH, also=keeps_nothing),
    Row("ttl-most", gives=TRUTH, also=keeps_nothing),
    Row("ttl-2-31-less-1", gives=TRUTH, also=keeps_for_a_day_at_most),
    # services
    *[https(name) for name in (
        "https-cut-short", "https-out-of-order", "https-demands-the-unknown", "https-of-port-zero",
        "https-alias-to-itself", "https-garbage")],
    *[Row(name, gives=[f"tls://[{GOOD6}]:5061?name={name}.test", f"tls://{GOOD}:5061?name={name}.test"],
          uri="sips://{}.test/") for name in ("srv-garbage", "srv-to-itself")],
    Row("srv-to-the-root", NONE, "not available", uri="sips://{}.test/"),
]


# ---- running them


class Lateness:
    """How much later than asked for a thread was woken, at most: what the machine took."""

    def __enter__(self):
        self.ms, self.over = 0, False
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.over:
            before = time.monotonic()
            time.sleep(0.005)
            self.ms = max(self.ms, (time.monotonic() - before) * 1000 - 5)

    def __exit__(self, *_):
        self.over = True
        self.thread.join()


def run(build, ports, row):
    command = [f"{build}/tools/conduit-resolve", "--trace", "--timeout", str(TIMEOUT_MS / 1000)]
    for server in row.servers:
        command += ["--server", f"127.0.0.1:{ports[server]}"]
    with Lateness() as lateness:
        done = subprocess.run([*command, *row.options, row.uri], capture_output=True, text=True,
                              timeout=PATIENCE_S)
    return done, lateness.ms


def check_result(row, done):
    assert not CRASH.search(done.stderr), "a sanitizer had to say something"
    assert str(done.returncode) in str(row.code), f"exit {done.returncode} instead of {row.code}"
    assert EVIL not in done.stdout, "a stranger was believed"
    assert re.search(row.says, done.stderr.splitlines()[-1] if row.says else ""), \
        f"nothing said of {row.says!r}"
    got = done.stdout.split()
    if isinstance(row.gives, int):
        assert len(got) == row.gives, f"{len(got)} endpoints"
    elif row.gives is not None or row.code in (NONE, TEMPORARY):
        wanted = row.gives or []
        assert sorted(got) == sorted(wanted), f"{got} instead of {wanted}"


def check_time(row, trace, late):
    last = max(ms for ms, _ in events(trace, "[a-z]+"))
    assert last <= row.bound + GRACE_MS + late, \
        f"over after {last:.0f} ms instead of {row.bound} (the machine was {late:.0f} ms late)"
    if row.also:
        row.also(trace, late)


def check(build, ports, row):
    """None, or what is wrong. Only what rests on time is tried again."""
    for tries in range(3):
        done, late = run(build, ports, row)
        try:
            check_result(row, done)
            check_time(row, done.stderr, late)
            return None
        except AssertionError as failure:
            story = f"{failure}\n{done.stdout}{done.stderr}"
            if " ms" not in str(failure):
                return story
    return story


def main():
    build, word = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    hole, gone = udp_socket("127.0.0.1", 0), udp_socket("127.0.0.1", 0)
    ports = {"main": Server().port, "mute": Server(tcp=False).port, "hole": port_of(hole),
             "gone": port_of(gone)}
    gone.close()
    rows = [row for row in ROWS if word in row.name]
    unused = set(BEHAVIOURS) - {row.name for row in ROWS}
    assert not unused, f"never asked for: {unused}"
    print(f"1..{len(rows)}")
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        results = pool.map(lambda row: check(build, ports, row), rows)
        for i, (row, story) in enumerate(zip(rows, results)):
            failed += story is not None
            servers = "" if row.servers == ("main",) else f" (servers: {', '.join(row.servers)})"
            print("not ok" if story else "ok", i + 1, "-", row.name + servers, flush=True)
            for line in (story or "").splitlines():
                print("#", line)
    sys.stdout.flush()
    os._exit(1 if failed else 0)  # threads wait for queries for ever


if __name__ == "__main__":
    main()
