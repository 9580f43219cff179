# SPDX-License-Identifier: ISC
"""
What all rows share: the servers, a run of one beside a load, rounds of runs, counts, and the lines
that come of it.

Rates are only ever compared as pairs. A round is a run of each, with a fresh server, next to each
other; the next round goes the other way, so what drifts, drifts for all. A round waits for a quiet
moment. It is disturbed when a server or the load had to wait for its processor all the same, or
when the machine's host took it away. Then another one is made, up to twice the number; the
disturbed ones are marked as left out. If too few are good, the least disturbed ones are taken, and
marked as well.

A line is a dict: `work`, `peer`, what the figures are `per`, and figures; of a run its `round` and
how it was disturbed, too. What is counted is a line without a round.
"""

import concurrent.futures
import contextlib
import itertools
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine

# After ours: it has names.py, too.
sys.path.append(f"{Path(__file__).resolve().parent.parent}/tests/integration")
from peers import free_port  # noqa: E402, F401

MIB = 1024 * 1024
PATIENCE_S = 60  # for a server to start or to end, under valgrind too
REFERENCE = "uv"

# To callgrind `rep movsb` is an instruction for each byte: let glibc copy with others.
NO_REP_MOVSB = "GLIBC_TUNABLES=glibc.cpu.hwcaps=-ERMS"
TOOLS = {"instructions": "valgrind", "calls": "strace"}

# The echo servers: their programs in the folder of the build. The first two are always compared.
PEERS = {
    "ours": ["examples/echo-server"],
    "uv": ["bench/echo-uv"],
    "epoll": ["bench/echo-epoll"],
    "epoll+bio": ["bench/echo-epoll", "--bio"],
    "libevent": ["bench/echo-libevent"],
    "nng": ["bench/echo-nng"],
    "gio": ["bench/echo-gio"],
}
ONLY_TLS = {"epoll+bio"}
OLD_TLS = {"nng"}  # has no TLS 1.3
NO_TICKETS = {"nng", "gio"}
OUR_SINK = "bench/sink-ours"


class Failure(Exception):
    """Something that the user is told in one line."""


class Bench:
    """The programs, how one of them is run, and the lines so far."""

    def __init__(self, options, scratch):
        self.options = options
        self.scratch = scratch
        self.lines = []
        options.lines.unlink(missing_ok=True)
        self.certificate = scratch / "cert.pem"
        self.key = scratch / "key.pem"
        self.numbers = itertools.count()
        self.descriptors = machine.allow_descriptors()
        self.need(*(program[0] for name, program in PEERS.items() if name not in ("nng", "gio")))
        self.make_certificate()

    def need(self, *programs):
        for program in programs:
            if not (self.options.build / program).exists():
                raise Failure(f"{self.options.build / program} is not there: "
                              "./script/bench builds it")

    def make_certificate(self):
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        command += " -subj /CN=bench -addext subjectAltName=IP:127.0.0.1,DNS:localhost"
        run_quietly(*command.split(), "-keyout", self.key, "-out", self.certificate)
        self.key.chmod(0o600)

    # ---- lines

    def put(self, **line):
        """At once into the file, too: a run that is broken off is not lost."""
        self.lines.append(line)
        with self.options.lines.open("a", encoding="ascii") as file:
            file.write(json.dumps(line) + "\n")

    def add(self, work, peer, per, **figures):
        self.put(work=work, peer=peer, per=per, **figures)

    def note(self, text):
        print(text, file=sys.stderr)
        self.put(note=text)

    def wanted(self, works):
        """Those of them that --only has left, or the few of --quick."""
        if self.options.quick:
            return [work for work in works if work.quick]
        return [work for work in works if self.options.only in work.name]

    def say(self, work):
        print(f"{work.name} ...", file=sys.stderr)

    def counts_wanted(self, first):
        """--quick counts once, and --no-counts never."""
        return self.options.counts and (first or not self.options.quick)

    def peers(self, scheme):
        return [name for name, program in PEERS.items()
                if (scheme == "tls" or name not in ONLY_TLS)
                and (self.options.build / program[0]).exists()]

    # ---- one server, one load

    def listen_uri(self, scheme, host="127.0.0.1"):
        if scheme == "unix":
            return f"unix:{self.scratch}/echo-{next(self.numbers)}.sock"
        query = f"?cert={self.certificate}&key={self.key}" if scheme == "tls" else ""
        return f"{scheme}://{host}:0{query}"

    @contextlib.contextmanager
    def serve(self, peer, scheme, *under, sink=False, listeners=1, host="127.0.0.1", cpus=None):
        """A server that runs while the block does; gives its process and the URI to load."""
        program = [self.options.build / PEERS[peer][0], *PEERS[peer][1:]]
        if sink:
            program = [self.options.build / OUR_SINK] if peer == "ours" else [*program, "--sink"]
        uris = (self.listen_uri(scheme, host) for _ in range(listeners))
        with self.running(peer, *under, *program, *uris, cpus=cpus) as process:
            target = read_lines(process, listeners, peer)[0]
            yield process, target.split()[1].partition("?")[0]

    @contextlib.contextmanager
    def running(self, name, *command, cpus=None):
        """A program that ends with status 0 when it gets SIGTERM. What it says is shown if not."""
        command = "taskset", "-c", cpus or self.options.cpus[0], *command
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE,
                                       stderr=said)
            try:
                yield process
            finally:
                end(process)
                said.seek(0)
                words = said.read().decode(errors="replace")
                if process.returncode != 0:
                    print(words, file=sys.stderr)
        if process.returncode != 0:
            raise Failure(f"{name} ended with status {process.returncode}")

    def load(self, program, *command, cpus=None):
        """The line that a load prints."""
        command = self.options.build / program, *command
        command = "taskset", "-c", cpus or self.options.cpus[1], *command
        done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Failure(f"{' '.join(str(c) for c in command)} failed")
        return json.loads(done.stdout)

    def tls_options(self, peer):
        return ["--tls", self.certificate, *(["--old"] if peer in OLD_TLS else [])]

    # ---- rounds

    def make_rounds(self, work, per, peers, time_one):
        """time_one(peer) is a run: its figures, and `disturbance`. As many undisturbed rounds as
        are asked for, or the least disturbed ones there were."""
        wanted, limit = self.options.rounds, self.options.limit
        rounds = []

        def good():
            return [r for r in rounds if disturbance(r) <= limit]

        while len(good()) < wanted and len(rounds) < 2 * wanted:
            machine.await_quiet(limit)
            order = peers if len(rounds) % 2 == 0 else peers[::-1]
            rounds.append({peer: time_one(peer) for peer in order})
        taken = sorted(rounds, key=disturbance)[:wanted]
        for i, round_ in enumerate(rounds):
            for peer, run in round_.items():
                self.add(work, peer, per, round=i, left_out=round_ not in taken, **run)
        self.tell_of_disturbance(work, len(good()), len(rounds))

    def tell_of_disturbance(self, work, good, all_of_them):
        wanted = self.options.rounds
        if good < min(3, wanted):
            self.note(f"{work}*: too many disturbed rounds; these are the least disturbed ones")
        elif all_of_them > good:
            self.note(f"{work}: {all_of_them - good} disturbed rounds left out")

    # ---- counts

    def count(self, work, per, jobs):
        """jobs: (peer, figure, function). They do not depend on what else goes on: as many at
        once as there are processors."""
        jobs = [job for job in jobs if TOOLS.get(job[1]) not in self.options.missing]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for (peer, figure, _), value in zip(jobs, pool.map(lambda job: job[2](), jobs)):
                self.add(work, peer, per, **{figure: value})

    def instructions(self, name, run):
        """What a server executes in user space while run(*under) has it run under callgrind."""
        out = self.scratch / f"{name}.{next(self.numbers)}.callgrind"
        run("env", NO_REP_MOVSB, "valgrind", "-q", "--tool=callgrind",
            f"--callgrind-out-file={out}")
        if self.options.keep:
            shutil.copy(out, self.options.keep)
        text = out.read_text(encoding="utf-8")
        return int(re.search(r"^(?:totals|summary): (\d+)", text, re.M)[1])

    def calls(self, _, run):
        """What it asks of the kernel."""
        out = self.scratch / f"strace.{next(self.numbers)}"
        run("strace", "-f", "-c", "-U", "calls,name", "-o", out)
        return int(re.search(r"(\d+) +total$", out.read_text(encoding="utf-8"), re.M)[1])

    def slope(self, figure, name, run, few, many):
        """Counted twice, run(n, *under), so that starting up is not in it: for one of n."""
        method = {"instructions": self.instructions, "calls": self.calls}[figure]
        counts = [method(name, lambda *under, n=n: run(n, *under)) for n in (few, many)]
        return (counts[1] - counts[0]) / (many - few)


def disturbance(round_):
    return max(run["disturbance"] for run in round_.values())


def run_quietly(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Failure(f"{command[0]} failed:\n{done.stdout}")


def read_lines(process, n, name):
    """n lines "listening URI", as soon as they are there."""
    text = b""
    until = time.monotonic() + PATIENCE_S
    while text.count(b"\n") < n:
        ready, _, _ = select.select([process.stdout], [], [], max(0, until - time.monotonic()))
        more = os.read(process.stdout.fileno(), 65536) if ready else b""
        if not more:
            raise Failure(f"{name}: the server does not listen")
        text += more
    return text.decode().splitlines()


def end(process):
    """SIGTERM for the server itself; strace, which would not pass it on, has it as its child."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]) if children else process.pid, signal.SIGTERM)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


def find(program):
    """Where Debian has servers, too."""
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")


def scratch_folder():
    return tempfile.TemporaryDirectory(prefix="conduit-bench-")
