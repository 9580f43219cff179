#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""conduit-resolve as people and scripts meet it: exit codes, JSON by its schema, the trace and its
colours, rules files with mistakes, completion, and the man pages.

    resolve.py BUILD-FOLDER SOURCE-FOLDER     results in TAP
"""

import json
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import time

import tap
from peers import PATIENCE, Room, Skip, need

BUILD, SOURCE = map(os.path.abspath, sys.argv[1:3])
PROGRAMS = ["conduit-resolve", "conduit-cat"]


def options_of(program):
    """As --help lists them."""
    path = os.path.join(BUILD, "tools", program)
    text = subprocess.run([path, "--help"], capture_output=True, text=True, check=True).stdout
    heads = re.findall(r"^  (-[^\s,]+(?:, -[^\s,]+)*)", text, re.MULTILINE)
    return [name for head in heads for name in head.split(", ")]


# ---- exit codes

def check_codes(room):
    with socket.socket() as closed, socket.socket(type=socket.SOCK_DGRAM) as silent:
        closed.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
        dead = ["--server", f"127.0.0.1:{silent.getsockname()[1]}", "--timeout", "0.2"]
        _, port = room.s_server("self")
        rows = [
            (0, ["tcp://127.0.0.1:1"]), (0, ["--help"]), (0, ["--version"]),
            (1, ["http://nobody.invalid"]), (1, ["tcp://localhost?srv=web"]),
            (2, []), (2, ["--nonsense"]), (2, ["tcp://x"]), (2, ["nosuch://x:1"]),
            (2, ["--rule", "x", "http://x"]), (2, ["--server", "x", "http://x"]),
            (2, ["--timeout", "soon", "http://x"]), (2, ["--rules", room.path("none"), "http://x"]),
            (2, ["--parse-only", "http://x"]),
            (3, [*dead, "http://name.example"]),
            (4, ["--connect", nobody]),
            (5, ["--connect", "--name", "a.example", f"tls://127.0.0.1:{port}"]),
            (2, ["http://nobody.invalid", "nosuch://x:1", "tcp://127.0.0.1:1"]),  # the highest
            (4, ["--connect", "http://nobody.invalid", nobody, "nosuch://x:1"]),
        ]
        for code, words in rows:
            result = room.run_ours("conduit-resolve", *words)
            assert result.code == code, f"{words}: {result}, expected {code}"
            assert (result.err != "") == (code != 0), f"{words}: {result}"


def check_parse_only(room):
    given = b"http://User@EXAMPLE.org:81/x\nunix:/run/x\nnosuch\nhttp://[::1\n\nhttp://a\0b/\n" + \
        b"x" * 9000 + b"\n"
    result = room.run_ours("conduit-resolve", "--parse-only", given=given)
    lines = [line.split("\t") for line in result.out.decode().splitlines()]
    assert lines[:2] == [["OK", "http", "example.org", "81"], ["OK", "unix", "", ""]], lines
    assert all(line[0] == "ERR" and line[1] for line in lines[2:]) and len(lines) == 7, lines
    assert result.code == 2, result


# ---- JSON

def check_json(room):
    try:
        import jsonschema
    except ImportError as why:
        raise Skip("no jsonschema here") from why
    with open(os.path.join(SOURCE, "tools/conduit-resolve.schema.json"), encoding="utf-8") as file:
        validator = jsonschema.Draft7Validator(json.load(file))
    server = room.start_ours("echo-server", "--cert", room.cert("server.pem"), "--key",
                             room.cert("server.key"), "tls://127.0.0.1:0", "unix:" +
                             room.path("echo.sock"))
    tls, unix = server.uris(2)
    uris = [tls, unix, "http://localhost", "https://[2001:db8::1]", "inproc://x", "nosuch://x:1",
            "http://nobody.invalid", "http://a:b@127.0.0.1:1/%ff?x", b"http://\xff\xfe/"]
    trust = ["--ca", room.cert("ca.pem"), "--name", "a.example"]
    for more in ([], ["--connect", *trust]):
        said = json.loads(room.run_ours("conduit-resolve", "--json", *more, *uris).out)
        wrong = [f"{list(e.path)}: {e.message}" for e in validator.iter_errors(said)]
        assert not wrong, wrong
        assert len(said["results"]) == len(uris), said
        assert [r["error"] is None for r in said["results"]][5:7] == [False, False], said
        assert ("connect" in said["results"][0]) == bool(more), said
    assert said["results"][0]["connect"]["tls"]["name"] == "a.example", said["results"][0]
    said["results"][0]["surprise"] = 1
    assert list(validator.iter_errors(said)), "a field that nobody knows goes through"


# ---- the trace

def check_trace(room):
    """Every word of it, in its order, with times that do not go back."""
    port = room.nsd()
    with socket.socket() as peer:
        peer.bind(("127.0.0.1", 0))
        peer.listen()
        result = room.run_ours("conduit-resolve", "--trace", "--connect", "--server",
                               f"127.0.0.1:{port}", "--rule", "*.internal=tcp://alias.conduit.test",
                               f"http://web.internal:{peer.getsockname()[1]}")
    rows = re.findall(r"^ *([\d.]+) ms  (\w+) +(.*)$", result.err, re.MULTILINE)
    text = "\n".join(f"{word} {said}" for _, word, said in rows)
    story = ["uri http://web.internal", "rule web.internal -> alias.conduit.test",
             "scheme http: tcp, alias.conduit.test port", "resolver dns is asked for alias",
             f"query AAAA alias.conduit.test to 127.0.0.1:{port}", "query A alias.conduit.test to",
             "answer A alias.conduit.test: CNAME four.conduit.test.",
             "answer A alias.conduit.test: 127.0.0.1 (300 s)", "cache A alias.conduit.test: kept for",
             "endpoint tcp://127.0.0.1:", "order 1. tcp://127.0.0.1:",
             "query A alias.conduit.test from memory", "attempt 1. tcp://127.0.0.1:", "won tcp://"]
    at = 0
    for step in story:
        at = text.find(step, at)
        assert at >= 0, f"no {step!r} at its place in\n{result.err}"
    first = [float(ms) for ms, _, _ in rows[:[w for _, w, _ in rows].index("order")]]
    assert first == sorted(first) and result.code == 0, result.err


def open_terminal():
    try:
        return pty.openpty()
    except OSError as why:  # in a root without /dev/pts
        raise Skip(f"no terminals here: {why}") from why


def run_in_terminal(command, **env):
    """What it writes to standard error, which is a terminal."""
    ours, theirs = open_terminal()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=theirs, env={**os.environ, "TERM": "xterm", **env}) as process:
        os.close(theirs)
        said = b""
        while select.select([ours], [], [], PATIENCE)[0]:
            try:
                said += os.read(ours, 65536)
            except OSError:  # how Linux says that the other side is gone
                break
        process.wait(PATIENCE)
    os.close(ours)
    return said


def check_colours(room):
    command = [room.program("conduit-resolve"), "--trace", "http://localhost"]
    assert b"\x1b[" in run_in_terminal(command, NO_COLOR=""), "empty is as not set"
    assert b"\x1b" not in run_in_terminal(command, NO_COLOR="1")
    assert b"\x1b" not in run_in_terminal(command, NO_COLOR="", TERM="dumb")
    assert "\x1b" not in room.run(*command).err, "no terminal, no colour"
    plain = re.sub(rb"\x1b\[[\d;]*m", b"", run_in_terminal(command, NO_COLOR=""))
    assert plain.count(b" order ") == 2 and b"\x1b" not in plain, plain


# ---- rules files

MISTAKES = [
    ("no target", "a.example\n", 1),
    ("no such scheme", "# one\n\na.example = nosuch://x:1\n", 3),
    ("braces", "a.example = tcp://10.0.0.1\n*.b = unix:/run/{hots}.sock  # here\n", 2),
    ("a pattern that is none", "ok.example = tcp://10.0.0.1\na..b = tcp://10.0.0.1\n", 2),
    ("a star in the middle", "a.*.b = tcp://10.0.0.1\n", 1),
    ("a parameter", "a.example = tls://b.example?verify=insecure\n", 1),
    ("a NUL byte", "a.example = tcp://10.0.0.1\nb\0.example = tcp://10.0.0.1\n", 2),
]


def check_mistake(room, text, line):
    path = room.path("fleet.rules")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    result = room.run_ours("conduit-resolve", "--rules", path, "http://127.0.0.1")
    where = f"conduit-resolve: uri: {path}:{line}: "
    assert result.code == 2 and result.out == b"", result
    assert result.err.startswith(where) and len(result.err) > len(where) + 4, result.err


def check_rules_file(room):
    path = room.path("fleet.rules")
    with open(path, "w", encoding="utf-8") as file:
        file.write("# where things are\r\n\n  *.internal = unix:/run/{host}.sock # till the move\n"
                   "api.example=tcp://10.0.0.7:8443")
    result = room.run_ours("conduit-resolve", "--rules", path, "--rule",
                           "api.example=tcp://10.0.0.8:1", "http://Web.Internal./",
                           "http://api.example")
    assert result.out == b"unix:/run/web.internal.sock\ntcp://10.0.0.8:1\n", result
    for path in (room.path("missing"), room.dir):
        result = room.run_ours("conduit-resolve", "--rules", path, "http://127.0.0.1")
        assert result.code == 2 and path in result.err, result


# ---- completion and man pages

def completion(program, shell):
    name = {"bash": program, "zsh": "_" + program, "fish": program + ".fish"}[shell]
    path = os.path.join(BUILD, "tools/completions", name)
    assert os.path.exists(path), f"{path} was not built"
    return path


def check_shell(room, shell):
    need(shell)
    for program in PROGRAMS:
        path = completion(program, shell)
        result = room.run(shell, "-n", path)
        assert result.code == 0 and not result.err, result
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for name in options_of(program):
            word = f"-l {name[2:]}" if shell == "fish" and name.startswith("--") else \
                f"-s {name[1:]}" if shell == "fish" else name
            assert re.search(re.escape(word) + r"(?![\w-])", text), f"{shell} lacks {name}"


def ask_bash(room, line):
    """What bash makes of the line when TAB is pressed."""
    path = completion("conduit-resolve", "bash")
    ours, theirs = open_terminal()
    with subprocess.Popen(["bash", "--norc", "--noprofile", "-i"], stdin=theirs, stdout=theirs,
                          stderr=theirs, start_new_session=True, cwd=room.dir,
                          env={**os.environ, "PS1": "$ ", "TERM": "dumb"}) as bash:
        os.close(theirs)
        os.write(ours, f"bind 'set enable-bracketed-paste off'; source {path}; echo rea''dy\n"
                 .encode())
        said = read_until(ours, b"ready")
        os.write(ours, line.encode() + b"\t")
        said = read_until(ours, None)
        bash.kill()
    os.close(ours)
    return said.decode(errors="replace")


def read_until(terminal, word):
    """All up to `word`; without one, until it has been silent for a second."""
    said, deadline = b"", time.monotonic() + PATIENCE
    while time.monotonic() < deadline and (word is None or word not in said):
        if not select.select([terminal], [], [], 1)[0]:
            if word is None:
                break
            continue
        said += os.read(terminal, 4096)
    return said


def check_bash(room):
    need("bash")
    assert "--json " in ask_bash(room, "conduit-resolve --js")
    assert "--parse-only " in ask_bash(room, "conduit-resolve --json --pars")
    with open(room.path("the-only-one.rules"), "w", encoding="utf-8"):
        pass
    assert "--rules the-only-one.rules" in ask_bash(room, "conduit-resolve --rules the-on")
    assert "rediss://" in ask_bash(room, "conduit-resolve rediss")


def check_fish(room):
    need("fish")
    path = completion("conduit-resolve", "fish")
    result = room.run("fish", "-c", f"source {path}; complete -C 'conduit-resolve --tr'")
    assert result.out.startswith(b"--trace\t"), result


def check_man(room, program):
    """Every option has its place, and there is none that is not."""
    path = os.path.join(SOURCE, "docs/man", program + ".1.scd")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    told = set(re.findall(r"\*(--?[a-z0-9][a-z0-9-]*)\*", text))
    listed = set(options_of(program))
    assert told == listed, f"only in the page: {told - listed}; only in --help: {listed - told}"
    need("scdoc")
    page = room.run("scdoc", given=text.encode())
    assert page.code == 0 and page.out.startswith(b".") and b".SH NAME" in page.out, page


def check_places(room):
    """Where a package would put them."""
    need("meson")
    folder = room.path("installed")
    done = room.run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", folder,
                    timeout=60)
    assert done.code == 0, done
    found = {os.path.join(where, name)[len(folder):] for where, _, names in os.walk(folder)
             for name in names}
    ends = ["/share/bash-completion/completions/conduit-resolve",
            "/share/zsh/site-functions/_conduit-cat",
            "/share/fish/vendor_completions.d/conduit-resolve.fish",
            "/share/conduit/conduit-resolve.schema.json"]
    ends += ["/share/man/man1/conduit-resolve.1"] if shutil.which("scdoc") else []
    for end in ends:
        assert any(path.endswith(end) for path in found), f"no {end} in {sorted(found)}"


def tests(room):
    def of_room(function, *arguments):
        def test():
            try:
                function(room, *arguments)
            finally:
                room.clean()
        return test
    yield "each exit code, and the highest of several", of_room(check_codes)
    yield "--parse-only: a line for a line", of_room(check_parse_only)
    yield "--json is as its schema says, and nothing more", of_room(check_json)
    yield "--trace tells the whole story", of_room(check_trace)
    yield "colours are for terminals, and not against NO_COLOR", of_room(check_colours)
    yield "a rules file, and --rule over it", of_room(check_rules_file)
    for title, text, line in MISTAKES:
        yield f"a rules file with a mistake is told by line: {title}", \
            of_room(check_mistake, text, line)
    for shell in ("bash", "zsh", "fish"):
        yield f"completion for {shell} can be read, and has every option", \
            of_room(check_shell, shell)
    yield "completion in a bash that somebody types into", of_room(check_bash)
    yield "completion in fish", of_room(check_fish)
    for program in PROGRAMS:
        yield f"the man page of {program} has every option", of_room(check_man, program)
    yield "what is for people is installed where they look", of_room(check_places)


with Room(BUILD, SOURCE) as place:
    tap.run(tests(place))
