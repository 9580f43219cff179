#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Each public header compiles by itself, and twice, as C99 and as C++11, without a warning.

    headers.py INCLUDE-FOLDER C-COMPILER [C++-COMPILER]      results in TAP
"""

import os
import subprocess
import sys

WARNINGS = ["-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]


def compiles(command, language, header, folder):
    # One of them holds nothing but macros, and ISO C wants a declaration in every unit.
    source = f"#include <conduit/{header}>\n#include <conduit/{header}>\nextern int declaration;\n"
    run = subprocess.run(command.split() + WARNINGS + ["-I", folder] + language + ["-"],
                         input=source, text=True, capture_output=True, check=False)
    return run.returncode == 0, run.stderr


def main():
    folder, c_compiler = sys.argv[1:3]
    headers = sorted(h for h in os.listdir(os.path.join(folder, "conduit")) if h.endswith(".h"))
    languages = [("C99", c_compiler, ["-x", "c", "-std=c99"])]
    if len(sys.argv) > 3:
        languages.append(("C++11", sys.argv[3], ["-x", "c++", "-std=c++11"]))
    print("TAP version 13")
    print(f"1..{len(headers) * 2}")
    for header in headers:
        for name, command, language in languages:
            good, errors = compiles(command, language, header, folder)
            print("ok" if good else "not ok", f"- {header} as {name}")
            print("".join(f"# {line}\n" for line in errors.splitlines()), end="")
        if len(languages) == 1:
            print(f"ok - {header} as C++11 # SKIP no C++ compiler")


main()
