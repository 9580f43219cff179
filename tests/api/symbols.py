#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The shared library exports what the public headers promise, and nothing else.

    symbols.py INCLUDE-FOLDER LIBRARY [NM]
"""

import glob
import os
import re
import subprocess
import sys

COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
DIRECTIVE = re.compile(r"^\s*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
# The name of a declared function is what stands before its first parenthesis.
DECLARED = re.compile(r"\bCONDUIT_API\b[^;(]*?\b(\w+)\s*\(")


def promised(folder):
    names = set()
    for path in glob.glob(os.path.join(folder, "conduit", "*.h")):
        with open(path, encoding="utf-8") as file:
            text = DIRECTIVE.sub("", COMMENT.sub("", file.read()))
        names.update(DECLARED.findall(text))
    return names


def exported(library, nm):
    lines = subprocess.run([nm, "--dynamic", "--defined-only", library], text=True,
                           capture_output=True, check=True).stdout.splitlines()
    return {line.split()[-1].split("@")[0] for line in lines}


def main():
    folder, library = sys.argv[1:3]
    nm = sys.argv[3] if len(sys.argv) > 3 else "nm"
    want, have = promised(folder), exported(library, nm)
    for name in sorted(want - have):
        print(f"{name}: promised by a header, and not in the library")
    for name in sorted(have - want):
        print(f"{name}: exported, and not in a public header")
    print(f"{len(want)} promised, {len(have)} exported")
    return 0 if want and want == have else 1


sys.exit(main())
