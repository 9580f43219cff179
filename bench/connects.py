# SPDX-License-Identifier: ISC
"""
The rows of connects: a connection by name, one after another, beside those who do that too.

    connects hosts     tcp://localhost, which the hosts file knows
    connects cached    tcp://here.test, which each has in its cache of names
    connects tls       tls://localhost, a full handshake each time

The server is ours, for all of them. Rounds and medians are as in run.py; the reference is curl.
"""

import contextlib
import json
import statistics
import subprocess
import sys

import names

HOSTS, CACHED, TLS = "connects hosts", "connects cached", "connects tls"
WORKS = (HOSTS, CACHED, TLS)
PEERS = {HOSTS: ("uv", "gio"), CACHED: (), TLS: ("gio",)}
TIMES = {HOSTS: 4000, CACHED: 4000, TLS: 300}
REFERENCE, OURS = "curl", "ours"

# What the project promises, as a ratio to curl: connects a second, and processor time for each.
TARGETS = [(HOSTS, "rate", ">=", 1.0), (HOSTS, "cpu", "<=", 1.0), (CACHED, "rate", ">=", 1.0),
           (CACHED, "cpu", "<=", 1.0), (TLS, "rate", ">=", 1.2)]

def who(work):
    return (OURS, REFERENCE, *PEERS[work])


def time(bench, work, name, server):
    """One run of one program."""
    target, resolver = server
    program = bench.options.build / f"bench/connect-{name}"
    times = 20 if bench.options.quick else TIMES[work]
    address = "127.0.0.1" if resolver else ""
    command = ["taskset", "-c", bench.options.cpus[1], program, target, times, bench.certificate,
               address, resolver]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"bench: {work}: connect-{name} failed")
    run = json.loads(done.stdout)
    return {"rate": run["connects"] / run["seconds"], "cpu": run["cpu"] / run["connects"]}


@contextlib.contextmanager
def serve(bench, work):
    """The URI to connect to, and the DNS server to ask for its name ("": the system knows it)."""
    with contextlib.ExitStack() as stack:
        scheme = "tls" if work == TLS else "tcp"
        _, target = stack.enter_context(bench.serve(OURS, scheme, host="localhost"))
        port = target.rpartition(":")[2]
        if work == CACHED:
            zone = names.ZONE + "here A 127.0.0.1\n"
            resolver = stack.enter_context(names.serving(zone, bench.options.cpus[0]))
            yield f"tcp://here.test:{port}", f"127.0.0.1:{resolver}"
        else:
            yield f"{scheme}://localhost:{port}", ""


def lacking(bench, work):
    """Why it cannot be measured; None if it can be."""
    if not (bench.options.build / f"bench/connect-{REFERENCE}").exists():
        return "libcurl is not there"
    if work == CACHED and names.find_nsd() is None:
        return "nsd is not installed"
    return None


def make_rounds(bench, work, await_quiet):
    there = [name for name in (OURS, REFERENCE, *PEERS[work])
             if (bench.options.build / f"bench/connect-{name}").exists()]
    with serve(bench, work) as server:
        for i in range(bench.options.rounds):
            await_quiet(bench.options.limit)
            order = there if i % 2 == 0 else there[::-1]
            yield {name: time(bench, work, name, server) for name in order}


def measure(bench, await_quiet):
    """For each work its rounds; a round is a run of each program."""
    results = {}
    for work in WORKS:
        if bench.options.only not in work:
            continue
        why = lacking(bench, work)
        print(f"{work} ..." if why is None else f"{work} is not measured: {why}", file=sys.stderr)
        if why is None:
            results[work] = list(make_rounds(bench, work, await_quiet))
    return results


def ratios(rounds, name, figure):
    return [round_[name][figure] / round_[REFERENCE][figure] for round_ in rounds]


def print_table(results):
    for work, rounds in results.items():
        rate = statistics.median(round_[REFERENCE]["rate"] for round_ in rounds)
        cells = []
        for name in sorted(rounds[0], key=lambda name: name != OURS):
            if name == REFERENCE:
                continue
            of_rate, of_cpu = ratios(rounds, name, "rate"), ratios(rounds, name, "cpu")
            cells.append(f"{name} {statistics.median(of_rate):.2f} ({min(of_rate):.2f}-"
                         f"{max(of_rate):.2f}), CPU {statistics.median(of_cpu):.2f}")
        print(f"{work:24}{REFERENCE} {rate:,.0f}/s; {'; '.join(cells)}")


def print_targets(results):
    for work, figure, sign, bound in TARGETS:
        if work not in results:
            continue
        found = statistics.median(ratios(results[work], OURS, figure))
        met = found >= bound if sign == ">=" else found <= bound
        print(f"target: {work}, {figure}: ours {sign} {bound:.2f} of {REFERENCE}'s: {found:.2f}, "
              f"{'met' if met else 'MISSED'}")


def print_json(results):
    for work, rounds in results.items():
        for i, round_ in enumerate(rounds):
            for name, run in round_.items():
                print(json.dumps({"work": work, "server": name, "per": "connect", "figure": "run",
                                  "round": i, **run}))
