#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Completion for bash, zsh and fish, from what a program says of itself.

    generate.py bash|zsh|fish PROGRAM      runs `PROGRAM --help`, prints the completion

So that there is one list of options, and none to forget. In the help an option stands two blanks
in, behind it what it takes, and after two blanks more what it does.
"""

import os
import re
import subprocess
import sys

SCHEMES = ["tcp://", "tls://", "unix:", "inproc://", "http://", "https://", "ws://", "wss://",
           "redis://", "rediss://", "http+unix://", "https+unix://"]
LINE = re.compile(r"^  (-[^\s,]+(?:, -[^\s,]+)*)(?: (\S+))?(?:  +(.*))?$")


def read_help(program):
    """(name, what it takes or "", what it does) of each option."""
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    for line in filter(None, map(LINE.match, text.splitlines())):
        names, takes, does = line.groups("")
        for name in names.split(", "):
            yield name, takes, does.removesuffix(" ...").removeprefix("... ")


def choices(takes):
    return takes.split("|") if "|" in takes else []


def bash(program, options):
    function = "_" + program.replace("-", "_")
    files = "|".join(name for name, takes, _ in options if takes == "FILE")
    others = "|".join(n for n, takes, _ in options if takes and takes != "FILE" and
                      not choices(takes))
    chosen = "".join(f"    {name})\n        COMPREPLY=($(compgen -W '{' '.join(choices(takes))}' "
                     '-- "$cur"))\n        return\n        ;;\n'
                     for name, takes, _ in options if choices(takes))
    return f"""# Completion of {program} for bash.
{function}()
{{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}}
    COMPREPLY=()
    case $prev in
    {files})
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
{chosen}    {others})
        return
        ;;
    esac
    case $cur in
    -*)
        COMPREPLY=($(compgen -W '{' '.join(name for name, _, _ in options)}' -- "$cur"))
        ;;
    *)
        compopt -o nospace 2>/dev/null
        COMPREPLY=($(compgen -W '{' '.join(SCHEMES)}' -- "$cur"))
        ;;
    esac
}}
complete -F {function} {program}
"""


def quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


def zsh(program, options):
    def spec(name, takes, does):
        does = re.sub(r"([\[\]\\])", r"\\\1", does)
        action = "_files" if takes == "FILE" else f"({' '.join(choices(takes))})" \
            if choices(takes) else " "
        meaning = takes.replace(":", "\\:")
        return quote(f"*{name}[{does}]" + (f":{meaning}:{action}" if takes else ""))
    specs = " \\\n    ".join(spec(*option) for option in options)
    return f"""#compdef {program}
# Completion of {program} for zsh.
_{program.replace("-", "_")}_uris()
{{
    compadd -S '' -- {' '.join(SCHEMES)}
}}
_arguments -s \\
    {specs} \\
    '*:URI:_{program.replace("-", "_")}_uris'
"""


def fish(program, options):
    def row(name, takes, does):
        flag = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
        value = "" if not takes else " -r -F" if takes == "FILE" else " -x"
        if choices(takes):
            value += f" -a '{' '.join(choices(takes))}'"
        does = does.replace("\\", "\\\\").replace("'", "\\'")
        return f"complete -c {program} {flag}{value}" + (f" -d '{does}'" if does else "")
    rows = "\n".join(row(*option) for option in options)
    return f"""# Completion of {program} for fish.
complete -c {program} -f -a '{' '.join(SCHEMES)}'
{rows}
"""


def main():
    shell, program = sys.argv[1:3]
    options = list(read_help(program))
    print({"bash": bash, "zsh": zsh, "fish": fish}[shell](os.path.basename(program), options),
          end="")


if __name__ == "__main__":
    main()
