# SPDX-License-Identifier: ISC
"""
The tables and the plot of docs/performance.md, from the lines of a run: never typed by hand.

What stands between <!-- NAME --> and <!-- end --> there is replaced, and docs/flatness.svg is
drawn.
"""

import re
import statistics

import report

# (heading, figure, the works, the peers)
ECHO = ("ours", "uv", "epoll", "epoll+bio", "libevent", "nng", "gio")
SHAKE = (*ECHO, "nginx", "haproxy")
CONNECT = ("ours", "curl", "uv", "getaddrinfo", "gio")
BYTES = r"(tcp|unix|tls) (ping-pong|bulk|sink) .*"
CHURN = r"(tcp|unix) churn|tls churn, .*"
TABLES = [
    ("Requests and bytes: rate, and that of `uv` by the clock", "rate", BYTES, ECHO),
    ("The same: processor time of the server", "cpu", BYTES, ECHO),
    ("Connections that come and go: rate", "rate", CHURN, SHAKE),
    ("The same: processor time of the server", "cpu", CHURN, SHAKE),
    ("TLS that ends at a relay: rate", "rate", r"relay, .*", ("ours", "haproxy")),
    ("The same: processor time of the relay", "cpu", r"relay, .*", ("ours", "haproxy")),
    ("Instructions in user space", "instructions", f"{BYTES}|{CHURN}", ECHO),
    ("System calls", "calls", f"{BYTES}|{CHURN}", SHAKE),
    ("Memory of what is idle, bytes each", "memory", r".* idle.*|tcp listeners", ECHO),
    ("Time for each listener", "seconds", r"tcp listeners", ECHO),
    ("Start, until a process listens: time", "seconds", r"start", ECHO),
    ("Start: memory of the process, bytes", "memory", r"start", ECHO),
    ("Connecting by name: rate", "rate", r"connects .*", CONNECT),
    ("The same: processor time of the client", "cpu", r"connects .*", CONNECT),
    ("Names: lookups", "rate", r"names .*", ("ours", "c-ares")),
    ("Between two processes: rate", "rate", r"vchan .*",
     ("vchan", "unix", "socket", "pipe", "ring", "futex")),
    ("Threads: rate", "rate", r"threads, .*", ("1 thread", "2 threads", "4 threads", "8 threads")),
    ("Threads: processor time of the server", "cpu", r"threads, .*",
     ("1 thread", "2 threads", "4 threads", "8 threads")),
    ("Threads: instructions in user space", "instructions", r"threads, .*",
     ("1 thread", "2 threads")),
    ("Threads: system calls", "calls", r"threads, .*", ("1 thread", "2 threads")),
    ("From 10 connections to 10,000: processor time of the server", "cpu", r"flat at .*",
     ("ours", "uv", "epoll", "libevent")),
    ("The same: instructions", "instructions", r"flat at .*", ("ours", "uv")),
]


def cell(results, work, peer, figure):
    """The reference's figure, and the others' ratios to it; where there is none, the figure."""
    if not results.has(work, peer, figure):
        return ""
    reference = results.reference(work)
    plain = report.PLAIN[figure](results.value(work, peer, figure))
    if peer == reference or not results.has(work, reference, figure):
        return plain
    ratios = results.ratios(work, peer, figure, reference)
    if not ratios:
        return plain
    return report.spread(ratios) if figure == "rate" else f"{statistics.median(ratios):.2f}"


def table(results, title, figure, works, peers):
    names = [work for work in results.works if re.fullmatch(works, work)
             and any(results.has(work, peer, figure) for peer in peers)]
    there = [peer for peer in peers if any(results.has(work, peer, figure) for work in names)]
    if not names:
        return ""
    rows = [["", *there], ["---", *("---:" for _ in there)]]
    rows += [[f"{work}, per {results.per[work]}",
              *(cell(results, work, peer, figure) for peer in there)] for work in names]
    return f"**{title}**\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows) + "\n"


def targets(results, wanted):
    rows = [["", "figure", "target", "found", ""], ["---", "---", "---", "---:", "---"]]
    rows += [[work, report.HEADS[figure], aim, found,
              f"**{verdict}**" if verdict in ("missed", "not measured") else verdict]
             for work, figure, aim, found, verdict in report.verdicts(results, wanted)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def machine_of(lines):
    about = lines[0]
    machine = about["machine"]
    text = f"{machine['processor']}, {machine['processors']} processors"
    text += " of a virtual machine" if machine["virtual"] else ""
    text += f"; {machine['system']}, Linux {machine['kernel']}; {machine['date']}. "
    text += f"{about['rounds']} rounds of {about['seconds']} s for each row"
    text += (f". Left out is a round that others disturbed for more than {about['limit']:.0%}"
             if about["limit"] < 1 else ". Others were at work, and nothing was left out for it: "
             "only what is counted can be quoted, and processor time roughly")
    minutes = [line["minutes"] for line in lines if "minutes" in line]
    text += f"; {minutes[0]:.0f} minutes in all.\n" if minutes else ".\n"
    notes = [line["note"] for line in lines if "note" in line]
    return text + "".join(f"\n- {note}" for note in notes) + ("\n" if notes else "")


def put(text, name, content):
    mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.S)
    assert mark.search(text), f"no mark for {name}"
    return mark.sub(lambda m: f"{m[1]}\n{content}\n{m[2]}", text)


def write(docs, lines, results, wanted):
    """`wanted`: the works of a whole run."""
    path = docs / "performance.md"
    text = path.read_text(encoding="utf-8")
    text = put(text, "machine", machine_of(lines))
    text = put(text, "targets", targets(results, wanted))
    text = put(text, "tables", "".join(table(results, *what) for what in TABLES))
    path.write_text(text, encoding="utf-8")
    (docs / "flatness.svg").write_text(plot(results), encoding="utf-8")


# ---- the plot

WIDTH, HEIGHT, LEFT, TOP, GAP = 360, 220, 60, 40, 90
LINES = {"ours": "#d9480f", "uv": "#1c7ed6", "epoll": "#2f9e44", "libevent": "#9c36b5"}
STYLE = """text { font: 13px sans-serif; fill: #444 } .axis { stroke: #888 } .grid { stroke: #8884 }
@media (prefers-color-scheme: dark) { text { fill: #ccc } }"""


def points(results, what, peer):
    """(connections, seconds of processor time)"""
    for work in results.works:
        found = re.fullmatch(rf"flat at ([\d,]+), {what}", work)
        if found and results.has(work, peer, "cpu"):
            yield int(found[1].replace(",", "")), results.value(work, peer, "cpu")


def panel(results, what, left):
    """One for requests, one for connections: microseconds over the logarithm of how many."""
    series = {peer: list(points(results, what, peer)) for peer in LINES}
    every = [point for line in series.values() for point in line]
    if not every:
        return
    most = max(seconds for _, seconds in every) * 1e6 * 1.1
    powers = sorted({len(str(n)) - 1 for n, _ in every})

    def x(n):
        return left + (len(str(n)) - 1 - powers[0]) * WIDTH / max(1, len(powers) - 1)

    def y(us):
        return TOP + HEIGHT * (1 - us / most)

    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000) if most / s <= 6)
    for us in range(0, int(most) + 1, step):
        yield (f'<line class="grid" x1="{left}" x2="{left + WIDTH}" y1="{y(us):.1f}" '
               f'y2="{y(us):.1f}"/>')
        yield f'<text x="{left - 6}" y="{y(us) + 4:.1f}" text-anchor="end">{us}</text>'
    for power in powers:
        yield (f'<text x="{x(10 ** power):.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">'
               f"{10 ** power:,}</text>")
    yield f'<line class="axis" x1="{left}" x2="{left + WIDTH}" y1="{y(0)}" y2="{y(0)}"/>'
    yield (f'<text x="{left}" y="{TOP - 14}">processor time of one {what[:-1]}, us, '
           "over connections</text>")
    for peer, line in series.items():
        path = " ".join(f"{x(n):.1f},{y(seconds * 1e6):.1f}" for n, seconds in line)
        yield f'<polyline points="{path}" fill="none" stroke="{LINES[peer]}" stroke-width="2"/>'
        yield from (f'<circle cx="{x(n):.1f}" cy="{y(seconds * 1e6):.1f}" r="3" '
                    f'fill="{LINES[peer]}"/>' for n, seconds in line)


def legend():
    for i, (peer, colour) in enumerate(LINES.items()):
        at = LEFT + i * 100
        yield f'<rect x="{at}" y="{TOP + HEIGHT + 32}" width="14" height="4" fill="{colour}"/>'
        yield f'<text x="{at + 20}" y="{TOP + HEIGHT + 38}">{peer}</text>'


def plot(results):
    width, height = LEFT + 2 * WIDTH + GAP + 30, TOP + HEIGHT + 50
    parts = [*panel(results, "requests", LEFT),
             *panel(results, "connections", LEFT + WIDTH + GAP), *legend()]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}">\n<style>{STYLE}</style>\n' + "\n".join(parts) +
            "\n</svg>\n")
