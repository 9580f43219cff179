#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""libgit2 on our connections: a clone from git's own http-backend behind nginx.

    git.py BUILD-FOLDER SOURCE-FOLDER     results in TAP
"""

import os
import subprocess
import sys
import urllib.parse

from peers import Room, accepts, eventually, free_port, need
from tap import run

BACKEND = "/usr/lib/git-core/git-http-backend"

NGINX = """\
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log {dir}/nginx.log;
events {{ }}
http {{
    access_log {dir}/access.log;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
    uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    ssl_certificate {dir}/certs/server.pem;
    ssl_certificate_key {dir}/certs/server.key;
    server {{
        listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl; listen unix:{dir}/git.sock;
        listen unix:{dir}/gits.sock ssl;
        location / {{
            fastcgi_pass unix:{dir}/cgi.sock;
            fastcgi_param SCRIPT_FILENAME {backend};
            fastcgi_param GIT_HTTP_EXPORT_ALL "";
            fastcgi_param GIT_PROJECT_ROOT {dir}/repositories;
            fastcgi_param PATH_INFO $uri;
            fastcgi_param QUERY_STRING $query_string;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param CONTENT_LENGTH $content_length;
        }}
    }}
}}
"""


def git(*arguments, folder):
    environment = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")
    done = subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments],
                          cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout.strip()


class Hub:
    """A repository with some history, served over four ways."""

    def __init__(self, room):
        need("git", "nginx", "fcgiwrap")
        self.room, self.plain, self.tls = room, free_port(), free_port()
        self._make(room.path("repositories/a.git"))
        room.start("fcgiwrap", "-s", "unix:" + room.path("cgi.sock"))
        eventually(lambda: os.path.exists(room.path("cgi.sock")), "fcgiwrap listens")
        with open(room.path("nginx.conf"), "w", encoding="utf-8") as file:
            file.write(NGINX.format(dir=room.dir, plain=self.plain, tls=self.tls, backend=BACKEND))
        room.start("nginx", "-c", room.path("nginx.conf"), "-e", room.path("nginx.log"))
        eventually(lambda: accepts(self.plain), "nginx listens")

    def _make(self, folder):
        os.makedirs(folder)
        git("init", "-q", "-b", "main", folder=folder)
        for i in range(20):
            with open(os.path.join(folder, f"file{i}"), "wb") as file:
                file.write(os.urandom(100_000))
            git("add", ".", folder=folder)
            git("commit", "-q", "-m", f"number {i}", folder=folder)
        self.head = git("rev-parse", "HEAD", folder=folder)

    def url(self, scheme, path="/a.git/.git"):
        place = {"http": f"127.0.0.1:{self.plain}", "https": f"localhost:{self.tls}",
                 "http+unix": self._quoted("git.sock"), "https+unix": self._quoted("gits.sock")}
        return f"{scheme}://{place[scheme]}{path}"

    def _quoted(self, name):
        return urllib.parse.quote(self.room.path(name), safe="")

    def clone(self, url, *options, ca="ca.pem"):
        return self.room.run_ours("git-clone", "--ca", self.room.cert(ca), *options, url,
                                  self.room.path("clone"), timeout=60)


def clones(scheme):
    def test(room):
        hub = Hub(room)
        done = hub.clone(hub.url(scheme))
        assert done.code == 0 and b" objects, " in done.out, done
        clone = room.path("clone")
        assert git("rev-parse", "HEAD", folder=clone) == hub.head
        assert git("status", "--porcelain", folder=clone) == ""
        git("fsck", "--full", folder=clone)
        with open(room.path("access.log"), encoding="utf-8") as file:
            assert "libgit2" in file.read()
    return test


def follows_rules(room):
    hub = Hub(room)
    done = hub.clone("http://git.example/a.git/.git", "--rule",
                     "git.example=unix:" + room.path("git.sock"))
    assert done.code == 0, done
    assert git("rev-parse", "HEAD", folder=room.path("clone")) == hub.head


def says_what_is_wrong(room):
    hub = Hub(room)
    done = hub.clone(hub.url("https"), ca="other-ca.pem")
    assert done.code == 5 and "signed by" in done.err, done
    done = hub.clone(f"http://127.0.0.1:{free_port()}/a.git")
    assert done.code == 4 and "Connection refused" in done.err, done
    done = hub.clone(hub.url("http", "/nothing.git"))
    assert done.code == 1 and "404" in done.err, done
    done = hub.clone("http+unix://%2Fnowhere%2Fx.sock/a.git")
    assert done.code == 4 and "/nowhere/x.sock" in done.err, done
    assert not os.path.exists(room.path("clone"))


TESTS = [
    *((f"a clone over {scheme} is what was served", clones(scheme))
      for scheme in ("http", "https", "http+unix", "https+unix")),
    ("a rule leads libgit2 to a socket it knows nothing of", follows_rules),
    ("what is wrong is said, and no clone is left", says_what_is_wrong),
]


def main():
    forgiven = os.path.join(os.path.abspath(sys.argv[2]), "tests/integration/libgit2.supp")
    os.environ["LSAN_OPTIONS"] = f"suppressions={forgiven}:print_suppressions=0"
    with Room(sys.argv[1], sys.argv[2]) as room:
        def in_room(function):
            try:
                function(room)
            finally:
                room.clean()
        run((title, lambda f=function: in_room(f)) for title, function in TESTS)


main()
