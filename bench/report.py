# SPDX-License-Identifier: ISC
"""
What the lines say: medians, ratios by rounds, the table, and whether the targets are met.

Here lines are all there is: whoever has those of another machine reads them the same way.
"""

import re
import statistics
from dataclasses import dataclass

REFERENCES = ("curl", "uv", "socket", "1 thread", "c-ares", "haproxy")
FIGURES = ("rate", "cpu", "instructions", "calls", "memory", "seconds")


class Results:
    """Figures by work and peer, in the order in which they came."""

    def __init__(self, lines):
        self.works = {}  # name -> {peer: {figure: [value of each round]}}
        self.per = {}
        for line in lines:
            if "work" in line and not line.get("left_out"):
                self.take(line)

    def take(self, line):
        peers = self.works.setdefault(line["work"], {})
        self.per[line["work"]] = line["per"]
        figures = peers.setdefault(line["peer"], {})
        for figure in FIGURES:
            if figure in line:
                figures.setdefault(figure, []).append(line[figure])

    def reference(self, work):
        peers = self.works[work]
        return next((peer for peer in REFERENCES if peer in peers), next(iter(peers)))

    def has(self, work, peer, figure):
        return figure in self.works.get(work, {}).get(peer, {})

    def value(self, work, peer, figure):
        return statistics.median(self.works[work][peer][figure])

    def ratios(self, work, peer, figure, to):
        """One for each round: what ran next to each other."""
        return [mine / theirs for mine, theirs in
                zip(self.works[work][peer][figure], self.works[work][to][figure]) if theirs]


# ---- the targets


@dataclass(frozen=True)
class Target:
    works: str  # a regular expression that matches all of the name
    figure: str
    sign: str
    bound: float
    of: tuple = ()  # a ratio to the best of them; (): the figure itself
    ours: str = "ours"


TLS_PEERS = ("uv", "epoll", "epoll+bio", "libevent", "nng", "gio")
SHAKERS = (*TLS_PEERS, "nginx", "haproxy")

TARGETS = [
    Target(r"(tcp|unix) ping-pong 64 x .*", "rate", ">=", 1.0, ("uv", "epoll")),
    Target(r"(tcp|unix) ping-pong (1|64) x 64 B", "instructions", "<=", 1.10, ("uv",)),
    Target(r"(tcp|unix) ping-pong 64 x 64 B", "calls", "<=", 2.10),
    Target(r"(tcp|unix) (bulk|sink) .*", "rate", ">=", 1.0, ("uv",)),
    Target(r"tls ping-pong 64 x .*", "rate", ">=", 1.0, TLS_PEERS),
    Target(r"tls (bulk|sink) .*", "rate", ">=", 1.0, TLS_PEERS),
    Target(r"tls ping-pong 64 x 64 B", "instructions", "<=", 1.05, ("epoll+bio",)),
    Target(r"tls churn, .*", "rate", ">=", 1.0, SHAKERS),
    Target(r"tls churn, .*", "cpu", "<=", 1.0, SHAKERS),
    Target(r"tls churn, .*", "calls", "<=", 1.0, SHAKERS),
    Target(r"relay, .*", "cpu", "<=", 1.0, ("haproxy",)),
    Target(r"connects (hosts|cached)", "rate", ">=", 1.0, ("curl",)),
    Target(r"connects (hosts|cached)", "cpu", "<=", 1.0, ("curl",)),
    Target(r"connects tls", "rate", ">=", 1.2, ("curl",)),
    Target(r"names cached", "cpu", "<=", 1e-6),
    Target(r"names uncached", "rate", ">=", 0.9, ("c-ares",)),
    Target(r"tcp idle", "memory", "<=", 768),
    Target(r"tls idle", "memory", "<=", 1.0, TLS_PEERS),
    Target(r"start, context", "memory", "<=", 300e3),
    Target(r"start, context", "seconds", "<=", 0.002),
    Target(r"vchan bulk .*", "rate", ">=", 0.7, ("ring",), ours="vchan"),
    Target(r"vchan bulk .*", "rate", ">=", 3, ("socket",), ours="vchan"),
    Target(r"vchan ping-pong 1 x 64 B", "rate", ">=", 0.7, ("ring",), ours="vchan"),
    Target(r"vchan ping-pong 1 x 64 B", "rate", ">=", 15, ("socket",), ours="vchan"),
    Target(r"vchan ping-pong 1 x 64 B, no spin", "rate", ">=", 1.0, ("socket",), ours="vchan"),
    Target(r"threads, .*", "rate", ">=", 1.8, ("1 thread",), ours="2 threads"),
    Target(r"threads, .*", "instructions", "<=", 1.05, ("1 thread",), ours="2 threads"),
    Target(r"threads, .*", "rate", ">=", 3.6, ("1 thread",), ours="4 threads"),
]
FLATNESS = 1.05  # instructions with the most connections, to those with ten


def look(target, results, work):
    """What was found in each round, and beside whom; None if it was not measured."""
    if not results.has(work, target.ours, target.figure):
        return None
    if not target.of:
        return results.works[work][target.ours][target.figure], None
    found = [(results.ratios(work, target.ours, target.figure, peer), peer) for peer in target.of
             if results.has(work, peer, target.figure)]
    found = [pair for pair in found if pair[0]]
    if not found:
        return None
    hardest = min if target.sign == ">=" else max
    return hardest(found, key=lambda pair: statistics.median(pair[0]))


def judge(target, values):
    """Rounds that do not agree have decided nothing: then the two are level, as far as this
    machine can tell."""
    good = [value >= target.bound if target.sign == ">=" else value <= target.bound
            for value in values]
    return "met" if all(good) else "level" if any(good) else "missed"


def number(value):
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"


def aim_text(target, value):
    """A ratio, or the figure as it is."""
    return number(value) if target.of else PLAIN[target.figure](value)


def found_text(target, values):
    """The median, and the range of the rounds if there is one."""
    median, *ends = (aim_text(target, value)
                     for value in (statistics.median(values), min(values), max(values)))
    return f"{median} ({'-'.join(ends)})" if ends[0] != ends[1] else median


def verdicts(results, wanted=()):
    """(work, figure, aim, found, verdict), for each target and each work that it is about: those
    that there are results of, and those `wanted`, whose absence is not to pass for success."""
    missing = [work for work in wanted  # some are given another word: how they were measured
               if not any(f"{name},".startswith(f"{work},") for name in results.works)]
    for target in TARGETS:
        for work in *results.works, *missing:
            if re.fullmatch(target.works, work):
                yield work, target.figure, *verdict_of(target, results, work)
    yield from flat_verdicts(results)


def verdict_of(target, results, work):
    found = look(target, results, work) if work in results.works else None
    values, peer = found or ([], ", ".join(target.of))
    whose = f" of {'the best, ' if len(target.of) > 1 else ''}{peer}" if peer else ""
    aim = f"{target.sign} {aim_text(target, target.bound)}{whose}"
    if not values:
        return aim, "-", "not measured"
    return aim, found_text(target, values), judge(target, values)


def flat_verdicts(results):
    for what in "requests", "connections":
        works = [work for work in results.works
                 if re.fullmatch(rf"flat at [\d,]+, {what}", work)
                 and results.has(work, "ours", "instructions")]
        if len(works) > 1:
            first, last = (results.value(work, "ours", "instructions")
                           for work in (works[0], works[-1]))
            yield (works[-1], "instructions", f"<= {FLATNESS:.2f} of those at 10",
                   f"{last / first:.2f}", "met" if last / first <= FLATNESS else "missed")


# ---- the table


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def in_time(seconds):
    for unit, factor in ("s", 1), ("ms", 1e3), ("us", 1e6), ("ns", 1e9):
        if seconds * factor >= 1:
            break
    return f"{seconds * factor:.3g} {unit}"


PLAIN = {"rate": lambda v: f"{v:,.0f}/s", "cpu": in_time, "instructions": "{:,.0f}".format,
         "calls": "{:.2f}".format, "memory": "{:,.0f}".format, "seconds": in_time}
HEADS = {"rate": "rate", "cpu": "CPU", "instructions": "instructions", "calls": "system calls",
         "memory": "memory, B", "seconds": "time"}


def cells(results, work, peer, figure):
    """The figure, and its ratio to the reference's."""
    if not results.has(work, peer, figure):
        return ["", ""]
    reference = results.reference(work)
    plain = PLAIN[figure](results.value(work, peer, figure))
    if peer == reference or not results.has(work, reference, figure):
        return [plain, ""]
    ratios = results.ratios(work, peer, figure, reference)
    if not ratios:
        return [plain, ""]
    return [plain, spread(ratios) if figure == "rate" else f"{statistics.median(ratios):.2f}"]


def print_table(results):
    head = ["", *(text for figure in FIGURES for text in (HEADS[figure], "ratio"))]
    rows = [head]
    for work, peers in results.works.items():
        rows.append([f"{work}, per {results.per[work]}"])
        for peer in peers:
            rows.append(["  " + peer, *(cell for figure in FIGURES
                                       for cell in cells(results, work, peer, figure))])
    widths = [max(len(row[i]) for row in rows if len(row) > 1) for i in range(len(head))]
    for row in rows:
        right = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))
        print("  ".join([row[0].ljust(widths[0]), *right]).rstrip())


def print_targets(results, wanted):
    for work, figure, aim, found, verdict in verdicts(results, wanted):
        verdict = verdict.upper() if verdict == "missed" else verdict
        print(f"target: {work}, {HEADS[figure]}: {aim}: {found}, {verdict}")
