# SPDX-License-Identifier: ISC
"""Programs that are not ours, started for a test and ended after it, and ours beside them.

Nothing here has a fixed port: a server of ours, of socat's or of openssl's gets port 0 and says
where it is; nsd, nginx and redis, which cannot, get one that was free a moment ago. What a Room
started ends with it.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

PATIENCE = 20  # seconds: far more than anything here takes, on a machine that is busy, too


class Skip(Exception):
    """This machine lacks what the test needs."""


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            raise Skip(f"no {program} here")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


def need_ipv6():
    if not has_ipv6():
        raise Skip("no IPv6 here")


def first_ephemeral():
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        return max(int(file.read().split()[0]), 20_000)


def free_port():
    """Free for TCP and UDP, on IPv4 and (where there is one) IPv6 loopback. None that the kernel
    would give to somebody else in the meantime, who asks for any."""
    while True:
        port = random.randrange(10_000, first_ephemeral())
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
                if has_ipv6():
                    with socket.socket(socket.AF_INET6) as six:
                        six.bind(("::1", port))
                return port
            except OSError:
                continue


def eventually(condition, what):
    """Poll until `condition()` is true: for what cannot say by itself that it is ready."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __str__(self):
        return f"exit {self.code}, {len(self.out)} bytes, standard error: {self.err.strip()!r}"


class Server:
    """A running program. Its lines are collected as they come, from standard output and error; with
    `keep_output` standard output is no lines but bytes, and there once the program has ended."""

    def __init__(self, command, env=None, stdin=subprocess.DEVNULL, keep_output=False):
        self.process = subprocess.Popen(command, stdin=stdin, env=env, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.command = command
        self.lines = []
        self.output = b""
        self.news = threading.Condition()
        self.threads = [threading.Thread(target=self._read, args=(self.process.stderr,)),
                        threading.Thread(target=self._keep if keep_output else self._read,
                                         args=(self.process.stdout,))]
        for thread in self.threads:
            thread.daemon = True
            thread.start()

    def _read(self, stream):
        for line in stream:
            with self.news:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self.news.notify_all()

    def _keep(self, stream):
        self.output = stream.read()

    def find(self, pattern, count=1):
        """The `count` first matches of `pattern` among its lines, as soon as they are there."""
        found = []
        with self.news:
            def enough():
                found[:] = [m for line in self.lines if (m := re.search(pattern, line))]
                return len(found) >= count
            assert self.news.wait_for(enough, PATIENCE), \
                f"{' '.join(self.command)}: no {pattern!r} in {self.lines}"
        return found[0] if count == 1 else found[:count]

    def uris(self, count):
        """Where a server of ours listens."""
        found = self.find(r"^listening (\S+)", count)
        return [m[1] for m in (found if count > 1 else [found])]

    def end(self, number=signal.SIGTERM):
        """Ask it to end; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self):
        code = self.process.wait(PATIENCE)
        for thread in self.threads:
            thread.join(PATIENCE)
        return code

    def text(self):
        return "\n".join(self.lines)

    def kilobytes(self):
        """Resident memory."""
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as file:
            return int(re.search(r"^VmRSS:\s*(\d+)", file.read(), re.MULTILINE)[1])

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Room:
    """A directory, certificates (in `certs`, where that of another room is given), and what was
    started in it."""

    def __init__(self, build, source, certs=None):
        self.build = build
        self.dir = tempfile.mkdtemp(prefix="conduit-")
        self.certs = certs or os.path.join(self.dir, "certs")
        subprocess.run([os.path.join(source, "tests/certs/make-certs"), self.certs], check=True)
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.clean()
        shutil.rmtree(self.dir)

    def clean(self):
        """End what was started, and remove everything but the certificates."""
        for server in self.running:
            if server.process.poll() is None:
                server.process.kill()
            server.wait()
        self.running.clear()
        for entry in os.scandir(self.dir):
            if entry.path == self.certs:
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.remove(entry.path)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        """A file of this room; its path."""
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def cert(self, name):
        return os.path.join(self.certs, name)

    def cert_and_key(self, name):
        """Both in one file, as haproxy wants them; its path."""
        text = ""
        for part in (".pem", ".key"):
            with open(self.cert(name + part), encoding="utf-8") as file:
                text += file.read()
        return self.write(name + ".both", text)

    def program(self, name):
        folder = {"echo-server": "examples", "echo-client": "examples", "http-get": "examples",
                  "redis-ping": "examples", "git-clone": "examples", "threads": "examples",
                  "http": "examples/http",
                  "http-serve": "examples/http"}.get(name, "tools")
        return os.path.join(self.build, folder, name)

    def start(self, *command, **options):
        server = Server(list(command), **options)
        self.running.append(server)
        return server

    def start_ours(self, name, *arguments, **options):
        return self.start(self.program(name), *arguments, **options)

    def sanitized(self):
        with open(self.program("echo-server"), "rb") as file:
            return b"__asan_init" in file.read()

    def run(self, *command, given=b"", timeout=PATIENCE, env=None):
        done = subprocess.run(command, input=given, capture_output=True, timeout=timeout,
                              check=False, env=env)
        return Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def run_ours(self, name, *arguments, **options):
        return self.run(self.program(name), *arguments, **options)

    # ---- servers that are not ours

    def socat(self, address, *options):
        """socat as a server, and its port if it listens at port 0 of TCP."""
        need("socat")
        server = self.start("socat", "-d", "-d", "-t", str(PATIENCE), address, *options)
        found = server.find(r"listening on AF=\d+ \"?(.*?)\"?$")[1]
        return server, found.rpartition(":")[2]

    def s_server(self, cert, *options):
        """openssl s_server, which sends every line back reversed; its port."""
        need("openssl")
        server = self.start("openssl", "s_server", "-accept", "127.0.0.1:0", "-rev", "-cert",
                            self.cert(cert + ".pem"), "-key", self.cert(cert + ".key"), *options)
        return server, int(server.find(r"^ACCEPT .*:(\d+)$")[1])

    def nsd(self):
        """A name server for conduit.test; its port."""
        need("nsd")
        port = free_port()
        self.write("zone", ZONE)
        self.start("nsd", "-d", "-c", self.write("nsd.conf", NSD.format(dir=self.dir, port=port)))
        eventually(lambda: answers_dns(port), "nsd answers")
        return port

    def nginx(self, files):
        """A web server of `files` (a dict); its ports: http, https with TLS 1.2 only, https."""
        need("nginx")
        os.makedirs(self.path("www"), exist_ok=True)
        for name, content in files.items():
            with open(os.path.join(self.path("www"), name), "wb") as file:
                file.write(content)
        plain, old, new = free_port(), free_port(), free_port()
        addresses = ["127.0.0.1"] + (["[::1]"] if has_ipv6() else [])

        def listens(port, how=""):
            return "".join(f"listen {a}:{port}{how}; " for a in addresses)
        conf = self.write("nginx.conf", NGINX.format(
            dir=self.dir, certs=self.certs, plain=listens(plain), old=listens(old, " ssl"),
            new=listens(new, " ssl")))
        server = self.start("nginx", "-c", conf, "-e", self.path("nginx.log"))
        eventually(lambda: server.process.poll() is not None or accepts(plain), "nginx listens")
        return plain, old, new

    def redis(self):
        need("redis-server")
        port = free_port()
        self.start("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--unixsocket",
                   self.path("redis.sock"), "--save", "", "--appendonly", "no", "--dir", self.dir)
        eventually(lambda: accepts(port), "redis listens")
        return port


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def answers_dns(port):
    question = b"\x12\x34\x00\x00\x00\x01\0\0\0\0\0\0\x07conduit\x04test\0\x00\x06\x00\x01"
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        s.connect(("127.0.0.1", port))
        try:
            s.send(question)
            return s.recv(512)[:2] == b"\x12\x34"
        except OSError:
            return False


ZONE = """\
$ORIGIN conduit.test.
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
web A 127.0.0.1
web AAAA ::1
four A 127.0.0.1
six AAAA ::1
alias CNAME four
empty TXT "a name without an address"
"""

NSD = """\
server:
    ip-address: 127.0.0.1@{port}
    username: ""
    zonesdir: "{dir}"
    database: ""
    pidfile: "{dir}/nsd.pid"
    xfrdfile: "{dir}/xfrd.state"
    xfrdir: "{dir}"
    zonelistfile: "{dir}/zone.list"
    server-count: 1
remote-control:
    control-enable: no
zone:
    name: conduit.test
    zonefile: zone
"""

NGINX = """\
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log {dir}/nginx.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
    uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    ssl_certificate {certs}/server.pem;
    ssl_certificate_key {certs}/server.key;
    root {dir}/www;
    server {{ {plain} listen unix:{dir}/web.sock; listen unix:{dir}/webs.sock ssl; }}
    server {{ {old} ssl_protocols TLSv1.2; }}
    server {{ {new} ssl_protocols TLSv1.3; }}
}}
"""
