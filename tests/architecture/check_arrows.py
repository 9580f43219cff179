#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Who may include whom: the arrows of docs/architecture.md, checked on every #include of the tree.

    check_arrows.py ROOT          complaints on standard output, exit 1 if there is one
    check_arrows.py --self-test   plants one fault of each kind and expects the complaint

A rule is a row of RULES: which files it is for, and which project headers and foreign libraries
those may name. The first row that fits counts. What has no row (tests/) may include anything.
"""

import fnmatch
import os
import re
import sys
import tempfile

# Foreign libraries by the headers they are known by. What is in none of these and not in C_LIBRARY
# is a dependency that nobody has decided on.
LIBRARIES = {
    "uv": ["uv.h", "uv/*"],
    "ares": ["ares.h", "ares_*.h"],
    "openssl": ["openssl/*"],
    "gnutls": ["gnutls/*"],
    "uriparser": ["uriparser/*"],
    "hiredis": ["hiredis/*"],
    "git2": ["git2.h", "git2/*"],
    "uthash": ["uthash.h", "utlist.h", "utarray.h"],
    "jansson": ["jansson.h"],
    "http": ["http_parser.h", "llhttp.h"],
    "nghttp2": ["nghttp2/*"],
    "event": ["event2/*"],
    "curl": ["curl/*"],
    "gio": ["gio/*", "glib-unix.h"],
    "nng": ["nng/*"],
    "xen": ["xenstore.h", "xenevtchn.h", "xengnttab.h", "xentoollog.h"],
}
STANDARD = "assert ctype errno float inttypes limits locale math setjmp signal stdarg stdatomic " \
           "stdbool stddef stdint stdio stdlib string time"
POSIX = "dirent endian err fcntl ftw getopt grp ifaddrs langinfo libgen netdb poll pthread pwd sched " \
        "spawn strings syslog termios unistd"
COMPILER = "emmintrin immintrin"
C_LIBRARY = {name + ".h" for name in (STANDARD + " " + POSIX + " " + COMPILER).split()}
C_LIBRARY_FOLDERS = ("arpa/", "linux/", "net/", "netinet/", "sys/")
PUBLIC_MAY = {name + ".h" for name in STANDARD.split()} | {"sys/socket.h"}

ANY = ["*"]
# files, project headers they may include, foreign libraries they may use
RULES = [
    ("include/conduit/*.h",       ["include/conduit/*"], []),
    ("src/builtin.c",             ANY, ["uv"]),
    ("src/uri.c",                 ["include/conduit/*", "src/*.h"], ["uriparser"]),
    ("src/reference.c",           ["include/conduit/*", "src/*.h"], ["uriparser"]),
    ("examples/redis*.[ch]",      ["include/conduit/*", "examples/*.h"], ["hiredis"]),
    ("examples/git-clone.c",      ["include/conduit/*", "examples/*.h"], ["git2"]),
    ("src/transports/*",          ["include/conduit/*", "src/*.h", "src/transports/*.h"],
                                  ["uv", "uthash"]),
    ("src/transports/vchan/ring.[ch]", ["include/conduit/*", "src/transports/vchan/ring.h",
                                         "src/transports/vchan/copy.h"], []),
    ("src/transports/vchan/xen/*", ["include/conduit/*", "src/*.h", "src/transports/*.h",
                                    "src/transports/vchan/*.h", "src/transports/vchan/xen/*.h"],
                                   ["uv", "uthash", "xen"]),
    ("src/transports/vchan/*",    ["include/conduit/*", "src/*.h", "src/transports/*.h",
                                   "src/transports/vchan/*.h"], ["uv"]),
    ("src/layers/*",              ["include/conduit/*", "src/*.h", "src/layers/*.h"], ["uv"]),
    ("src/*.[ch]",                ["include/conduit/*", "src/*.h"], ["uv", "uthash"]),
    ("resolvers/dns*.[ch]",       ["include/conduit/*", "resolvers/*.h"], ["uv", "ares", "uthash"]),
    ("resolvers/xenstore.c",      ["include/conduit/*", "resolvers/*.h"], ["uv", "uthash", "xen"]),
    ("resolvers/*.[ch]",          ["include/conduit/*", "resolvers/*.h"], ["uv", "uthash"]),
    ("tls/openssl*.[ch]",         ["include/conduit/*", "src/*.h", "tls/*.h"], ["openssl"]),
    ("tls/gnutls*.[ch]",          ["include/conduit/*", "src/*.h", "tls/*.h"], ["gnutls"]),
    ("tls/*.[ch]",                ["include/conduit/*", "src/*.h", "tls/*.h"], ["uthash"]),
    ("tools/*",                   ["include/conduit/*", "tools/*.h"], ["uv", "jansson"]),
    ("examples/http/*",           ["include/conduit/*", "examples/*.h", "examples/http/*.h"],
                                  ["http", "nghttp2"]),
    ("examples/*",                ["include/conduit/*", "examples/*.h"], ["http"]),
    ("bench/names.c",             ["include/conduit/*", "bench/*.h"], ["uv", "ares"]),
    ("bench/connect-*.c",         ["include/conduit/*", "bench/*.h"], ["uv", "curl", "gio"]),
    ("bench/*",                   ["include/conduit/*", "bench/*.h"],
                                  ["uv", "openssl", "event", "gio", "nng"]),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
BUILD_CONDITION = re.compile(r"^\s*#\s*(?:if|ifdef|ifndef|elif)\b.*\bCONDUIT_HAVE_")
# An absolute path into somebody's own files has no place in what others read and run.
OWN_PATH = re.compile(r"(?<![\w.%~-])/(?:home|root|work|Users)/\w")
TEXT = (".c", ".h", ".cc", ".py", ".md", ".build", ".txt", ".sh", ".scd", ".conf", ".yml")


def fits(path, patterns):
    """fnmatch lets * cross a slash; here it stays in its folder."""
    return any(path.count("/") == p.count("/") and fnmatch.fnmatchcase(path, p) or p == "*"
               for p in patterns)


def rule_for(path):
    return next((rule for rule in RULES if fits(path, [rule[0]])), None)


def library_of(header):
    for name, patterns in LIBRARIES.items():
        if any(fnmatch.fnmatchcase(header, p) for p in patterns):
            return name
    return None


def locate(root, path, header, quoted):
    """The project file that `header` means when `path` includes it; None: it is not one of ours."""
    folders = ([os.path.dirname(path)] if quoted else []) + ["include", "src", "."]
    for folder in folders:
        candidate = os.path.normpath(os.path.join(folder, header))
        if os.path.isfile(os.path.join(root, candidate)):
            return candidate
    return None


def check_include(root, path, header, quoted):
    """Why `path` may not include `header`, or None."""
    rule = rule_for(path)
    if rule is None:
        return None
    who, headers, libraries = rule
    ours = locate(root, path, header, quoted)
    if ours is not None:
        return None if fits(ours, headers) else f"{who} may not include {ours}"
    if header == "conduit-build.h":
        return None if path.startswith("src/") else f"{who} may not know how it was configured"
    if quoted:
        return f"{header} is not in the tree"
    if who.startswith("include/"):
        return None if header in PUBLIC_MAY else f"a public header may not need <{header}>"
    library = library_of(header)
    if library is not None:
        return None if library in libraries else f"{who} may not use {library}"
    if header in C_LIBRARY or header.startswith(C_LIBRARY_FOLDERS):
        return None
    return f"{header} is neither ours, nor the C library's, nor a dependency"


def check_file(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if OWN_PATH.search(line):
                yield path, number, "names a path of somebody's own machine"
            if not path.endswith((".c", ".h")):
                continue
            if BUILD_CONDITION.match(line) and rule_for(path) and path != "src/builtin.c":
                yield path, number, "a build condition outside src/builtin.c"
            include = INCLUDE.match(line)
            why = include and check_include(root, path, include[2], include[1] == '"')
            if why:
                yield path, number, why


def files_of(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f != ".git" and not f.startswith("build"))
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)
            if name.endswith(TEXT) or path.startswith(("script/", ".ci/")):
                yield path


def check_tree(root):
    return [complaint for path in files_of(root) for complaint in check_file(root, path)]


# What is planted, and the complaint that must follow ("" for none).
PLANTED = [
    ("src/race.c", '#include "layer.h"\n#include <conduit/uri.h>\n#include <uv.h>\n', ""),
    ("src/builtin.c", '#include "../tls/backend.h"\n#if CONDUIT_HAVE_DNS\n#endif\n', ""),
    ("src/connect.c", '#include "../tls/backend.h"\n', "may not include tls/backend.h"),
    ("src/listen.c", '#include "transports/socket.h"\n', "may not include src/transports/socket.h"),
    ("src/order.c", "#include <openssl/ssl.h>\n", "may not use openssl"),
    ("src/queue.c", '#include "nowhere.h"\n', "nowhere.h is not in the tree"),
    ("src/error.c", "#include <glib.h>\n", "glib.h is neither ours"),
    ("src/stack.c", "#if CONDUIT_HAVE_OPENSSL\n#endif\n", "a build condition"),
    ("src/transports/tcp.c", '#include "socket.h"\n#include "layer.h"\n', ""),
    ("src/transports/unix.c", '#include "../../tls/backend.h"\n', "may not include tls/backend.h"),
    ("src/transports/vchan/shm.c", '#include "ring.h"\n#include "../../layer.h"\n', ""),
    ("src/transports/vchan/ring.c", '#include "../../layer.h"\n', "may not include src/layer.h"),
    ("resolvers/dns.c", "#include <ares.h>\n", ""),
    ("resolvers/hosts.c", "#include <ares.h>\n", "may not use ares"),
    ("resolvers/local.c", '#include "layer.h"\n', "may not include src/layer.h"),
    ("tls/openssl_config.c", "#include <openssl/ssl.h>\n", ""),
    ("tls/gnutls.c", "#include <gnutls/gnutls.h>\n", ""),
    ("tls/config.c", "#include <openssl/ssl.h>\n", "may not use openssl"),
    ("tls/gnutls.h", "#include <openssl/ssl.h>\n", "may not use openssl"),
    ("tls/layer.c", "#include <uv.h>\n", "may not use uv"),
    ("tools/conduit-cat.c", '#include "../src/layer.h"\n', "may not include src/layer.h"),
    ("include/conduit/tls.h", "#include <uv.h>\n", "may not need <uv.h>"),
    ("tests/unit/test-layer.c", '#include "../../src/layer.h"\n', ""),
    ("docs/architecture.md", "see /ho" + "me/me/notes\n", "somebody's own machine"),
]


def self_test():
    failed = 0
    with tempfile.TemporaryDirectory() as root:
        given = ["include/conduit/uri.h", "src/layer.h", "src/transports/socket.h", "src/transports/vchan/ring.h",
             "tls/backend.h"]
        for path, text, _ in [(path, "", "") for path in given] + PLANTED:
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        found = check_tree(root)
        for path, text, expected in PLANTED:
            got = "; ".join(why for where, _, why in found if where == path)
            if bool(got) != bool(expected) or expected not in got:
                print(f"{path}: {text!r}: expected {expected!r}, got {got!r}")
                failed += 1
    return failed


def main():
    if sys.argv[1:] == ["--self-test"]:
        return 1 if self_test() else 0
    complaints = check_tree(sys.argv[1])
    for path, number, why in complaints:
        print(f"{path}:{number}: {why}")
    return 1 if complaints else 0


sys.exit(main())
