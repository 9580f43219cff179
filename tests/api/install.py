#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What a user of an installed library does: the programs of README.md, built with pkg-config alone.

    install.py SOURCE-FOLDER BUILD-FOLDER C-COMPILER      results in TAP

Installs into an empty folder, takes every C program out of README.md (a ```c block with a main),
and builds it with `pkg-config --cflags --libs conduit` and nothing else. The program must be linked
with this library, and must not have become dependent on anything that stands behind it.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile

PROGRAM = re.compile(r"^```c\n(.*?)^```", re.DOTALL | re.MULTILINE)
NEEDED = re.compile(r"\(NEEDED\).*\[(.*?)\]")
# A library behind ours that shows here would be one that every program has to be rebuilt for.
MAY_NEED = re.compile(r"libconduit-net\.so\.\d+|libc\.so\.6")


def run(*command, **options):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}")
    return done.stdout


def install(build, folder):
    """Returns the folder with conduit.pc, moved to where the files are now."""
    run("meson", "install", "-C", build, "--no-rebuild", "--destdir", folder)
    (described,) = glob.glob(os.path.join(folder, "**", "conduit.pc"), recursive=True)
    with open(described, encoding="utf-8") as file:
        text = re.sub(r"^prefix=", "prefix=" + folder, file.read(), flags=re.MULTILINE)
    with open(described, "w", encoding="utf-8") as file:
        file.write(text)
    return os.path.dirname(described)


def check_program(source, number, folder, pkgconfig, compiler):
    if pkgconfig is None:
        raise RuntimeError("nothing is installed")
    path = os.path.join(folder, f"readme-{number}")
    with open(path + ".c", "w", encoding="utf-8") as file:
        file.write(source)
    env = dict(os.environ, PKG_CONFIG_PATH=pkgconfig, LD_LIBRARY_PATH=os.path.dirname(pkgconfig))
    flags = run("pkg-config", "--cflags", "--libs", "conduit", env=env).split()
    run(*compiler.split(), "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", path + ".c",
        "-o", path, *flags)
    needed = NEEDED.findall(run("readelf", "--dynamic", path))
    extra = [name for name in needed if not MAY_NEED.fullmatch(name)]
    if extra:
        raise RuntimeError(f"needs {', '.join(extra)} by itself")
    loaded = run("ldd", path, env=env)
    if folder not in loaded or "not found" in loaded:
        raise RuntimeError(loaded)


def report(title, check, *arguments):
    try:
        result = check(*arguments)
        print("ok -", title)
        return result
    except (RuntimeError, ValueError, OSError) as error:
        print("not ok -", title)
        print("".join(f"# {line}\n" for line in str(error).splitlines()), end="", flush=True)
        return None


def count_programs(programs):
    if len(programs) < 2:
        raise RuntimeError(f"README.md shows {len(programs)} programs")


def main():
    source, build, compiler = sys.argv[1:4]
    with open(os.path.join(source, "README.md"), encoding="utf-8") as file:
        programs = [code for code in PROGRAM.findall(file.read()) if "int main" in code]
    print("TAP version 13")
    print(f"1..{2 + len(programs)}")
    report("README.md shows how to connect and how to listen", count_programs, programs)
    with tempfile.TemporaryDirectory() as folder:
        pkgconfig = report("the library installs", install, build, folder)
        for number, code in enumerate(programs, 1):
            report(f"program {number} of README.md is built by pkg-config alone", check_program,
                   code, number, folder, pkgconfig, compiler)


main()
