#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""hiredis on our connections: redis-ping beside a real Redis, over TCP, TLS and a Unix socket.

    redis.py BUILD-FOLDER SOURCE-FOLDER [WORD]     results in TAP; WORD: only titles with it

CONDUIT_PINGS is how many each round of the comparison with bare hiredis sends; 500,000 otherwise.
"""

import os
import re
import resource
import urllib.parse

from peers import eventually, accepts, free_port, need
from tap import check, run_checks, say

PINGS = int(os.environ.get("CONDUIT_PINGS", "500000"))


class Redis:
    """A server at all three, with a password."""

    def __init__(self, room, *options):
        need("redis-server", "redis-cli")
        self.room, self.plain, self.tls = room, free_port(), free_port()
        room.start("redis-server", "--port", str(self.plain), "--bind", "127.0.0.1",
                   "--unixsocket", room.path("redis.sock"), "--save", "", "--appendonly", "no",
                   "--dir", room.dir, "--tls-port", str(self.tls), "--tls-auth-clients", "no",
                   "--tls-cert-file", room.cert("server.pem"), "--tls-key-file",
                   room.cert("server.key"), "--tls-ca-cert-file", room.cert("ca.pem"), *options)
        eventually(lambda: accepts(self.plain) and accepts(self.tls), "redis listens")

    def uri(self, how, login="", database=""):
        sock = urllib.parse.quote(self.room.path("redis.sock"), safe="")
        return {"redis": f"redis://{login}127.0.0.1:{self.plain}/{database}",
                "rediss": f"rediss://{login}127.0.0.1:{self.tls}/{database}",
                "redis+unix": f"redis+unix://{login}{sock}/{database}"}[how]

    def cli(self, *command):
        done = self.room.run("redis-cli", "-p", str(self.plain), *command)
        assert done.code == 0, done
        return done.out.decode().strip()

    def ping(self, uri, *options):
        return self.room.run_ours("redis-ping", "--ca", self.room.cert("ca.pem"), *options, uri,
                                  timeout=60)


@check("a thousand PINGs over {}", "redis", "rediss", "redis+unix")
def pings(room, how):
    redis = Redis(room)
    done = redis.ping(redis.uri(how), "-n", "1000")
    assert done.code == 0 and done.out.startswith(b"1000 PONG in "), done
    calls = int(re.search(r"cmdstat_ping:calls=(\d+)", redis.cli("info", "commandstats"))[1])
    assert calls == 1000, calls


@check("the password and the database of the URI count, over {}", "redis", "rediss", "redis+unix")
def logs_in(room, how):
    redis = Redis(room, "--requirepass", "se:cr/t")
    refused = redis.ping(redis.uri(how))
    assert refused.code == 4 and "NOAUTH" in refused.err, refused
    wrong = redis.ping(redis.uri(how, ":nonsense@"))
    assert wrong.code == 4, wrong
    server = room.start_ours("redis-ping", "--ca", room.cert("ca.pem"), "--subscribe", "x",
                             redis.uri(how, ":se%3Acr%2Ft@", "3"))
    server.find("subscribed to x")
    clients = room.run("redis-cli", "-p", str(redis.plain), "-a", "se:cr/t", "--no-auth-warning",
                       "client", "list", "type", "pubsub").out.decode()
    assert "db=3" in clients, clients


@check("messages of a channel arrive whole and in order, over {}", "redis", "rediss", "redis+unix")
def channel(room, how):
    redis = Redis(room)
    texts = ["one", "", "message", "x" * 300_000, "last"]
    client = room.start_ours("redis-ping", "--ca", room.cert("ca.pem"), "--subscribe", "news",
                             "-n", str(len(texts)), redis.uri(how))
    client.find("subscribed to news")
    for text in texts:
        done = room.run("redis-cli", "-p", str(redis.plain), "-x", "publish", "news",
                        given=text.encode())
        assert done.out.strip() == b"1", done
    assert client.wait() == 0
    assert client.lines == ["subscribed to news", *texts], [len(line) for line in client.lines]


@check("who is no Redis is told from one, and so is nobody")
def no_redis(room):
    server = room.start_ours("echo-server", "tcp://127.0.0.1:0")
    port = server.uris(1)[0].rpartition(":")[2]
    done = room.run_ours("redis-ping", f"redis://127.0.0.1:{port}/")
    assert done.code == 4 and "this is no PONG" in done.err, done
    web, _, _ = room.nginx({"index.html": b"hello"})
    done = room.run_ours("redis-ping", f"redis://127.0.0.1:{web}/")
    assert done.code == 4 and "not Redis: Protocol error" in done.err, done
    done = room.run_ours("redis-ping", f"redis://127.0.0.1:{free_port()}/")
    assert done.code == 4 and "Connection refused" in done.err, done


@check("a server that is killed in the middle is an error, with no ping left out in silence")
def killed(room):
    redis = Redis(room)
    client = room.start_ours("redis-ping", "-n", "100000000", redis.uri("redis"))
    eventually(lambda: client.cpu_seconds() > 0.1, "it is busy")
    room.running[0].process.kill()
    assert client.wait() == 4, client.text()
    assert "PONG in" not in client.text() and client.lines, client.text()


def cost(room, *command):
    """Seconds by the clock, as the program says, and of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = room.run(*command, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.code == 0, done
    return (float(re.search(rb"in ([\d.]+) s", done.out)[1]),
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


@check("as many pings a second as bare hiredis, over {}", "redis", "redis+unix")
def keeps_up(room, how):
    """The best round of each, and more rounds where others disturb. By the clock only as a remark: two
    programs in lock-step measure how busy the machine is otherwise."""
    os.environ.pop("MALLOC_PERTURB_", None)  # filling memory costs who asks for it by the buffer
    redis = Redis(room)
    place = str(redis.plain) if how == "redis" else room.path("redis.sock")
    bare = os.path.join(room.build, "tests/integration/bare-hiredis")
    ours, theirs = [], []
    for i in range(25):
        ours.append(cost(room, room.program("redis-ping"), "-n", str(PINGS), redis.uri(how)))
        theirs.append(cost(room, bare, place, str(PINGS)))
        (clock, cpu), (bare_clock, bare_cpu) = (map(min, zip(*rounds)) for rounds in (ours, theirs))
        if i >= 4 and bare_cpu / cpu >= 0.9:
            break
    say(f"{how}: {PINGS / clock:,.0f} a second, bare hiredis {PINGS / bare_clock:,.0f}: "
        f"{bare_clock / clock:.2f} by the clock, {bare_cpu / cpu:.2f} by the processor")
    assert room.sanitized() or bare_cpu / cpu >= 0.9


run_checks()
