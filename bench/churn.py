# SPDX-License-Identifier: ISC
"""
The rows of connections that come and go, sixteen at a time.

    tcp churn, unix churn    connect, a byte there and back, close
    tls churn, full          a handshake and its goodbye; beside nginx and haproxy, too, one worker
    tls churn, resumed       and one thread of which answer nothing that nobody asks for

For P-256 a client's part of a full handshake costs more than a server's: then the load is what
limits the rate, and the figure that counts is the server's processor time.
"""

import contextlib
import subprocess
import time
from dataclasses import dataclass

import machine
from harness import NO_TICKETS, OLD_TLS, PATIENCE_S, end, find, free_port

NGINX = """daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid;
error_log {dir}/nginx.log crit;
events {{ worker_connections 4096; multi_accept on; }}
http {{
  access_log off;
  client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
  uwsgi_temp_path {dir}; scgi_temp_path {dir};
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
    return 204;
  }}
}}
"""
HAPROXY = """global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 10s
  timeout client 10s
  timeout server 10s
frontend bench
  bind 127.0.0.1:{port} ssl crt {dir}/both.pem
  http-request return status 204
"""
WEB_SERVERS = {"nginx": NGINX, "haproxy": HAPROXY}


@dataclass(frozen=True)
class Work:
    name: str
    scheme: str
    resume: bool = False
    quick: bool = False


WORKS = [Work("tcp churn", "tcp", quick=True), Work("unix churn", "unix"),
         Work("tls churn, full", "tls", quick=True), Work("tls churn, resumed", "tls", resume=True)]
COUNTED = {"tcp": (100, 600), "unix": (100, 600), "tls": (20, 120)}


def peers_of(bench, work):
    peers = bench.peers(work.scheme)
    if work.scheme == "tls":
        peers += [name for name in WEB_SERVERS if find(name)]
    return [peer for peer in peers if not (work.resume and peer in NO_TICKETS)]


def web_command(bench, name, folder, port, config=None, **more):
    both = folder / "both.pem"
    both.write_text(bench.certificate.read_text() + bench.key.read_text())
    both.chmod(0o600)
    conf = folder / f"{name}.conf"
    config = config or WEB_SERVERS[name]
    conf.write_text(config.format(dir=folder, port=port, cert=bench.certificate, key=bench.key,
                                  **more))
    if name == "nginx":
        return find(name), "-p", folder, "-e", folder / "nginx.log", "-c", conf
    return find(name), "-db", "-q", "-f", conf


def await_listening(process, port):
    """In the kernel's table: a connection to find out would be one that nobody counts."""
    until = time.monotonic() + PATIENCE_S
    here = f"0100007F:{port:04X} 00000000:0000 0A"
    while process.poll() is None and time.monotonic() < until:
        with open("/proc/net/tcp", encoding="ascii") as table:
            if here in table.read():
                return
        time.sleep(0.01)


@contextlib.contextmanager
def serve_web(bench, name, *under, **config):
    port = free_port()
    folder = bench.scratch / f"{name}-{next(bench.numbers)}"
    folder.mkdir()
    command = ["taskset", "-c", bench.options.cpus[0], *under,
               *web_command(bench, name, folder, port, **config)]
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        await_listening(process, port)
        yield process, f"tls://127.0.0.1:{port}"
    finally:
        end(process)


def serve(bench, work, peer, *under):
    if peer in WEB_SERVERS:
        return serve_web(bench, peer, *under)
    return bench.serve(peer, work.scheme, *under)


def drive(bench, work, peer, target, *extent):
    options = bench.tls_options(peer) if work.scheme == "tls" else []
    options += ["--resume"] if work.resume else []
    return bench.load("bench/shake", *options, *extent, target)


def figures_of(run, stolen):
    return {"rate": run["opened"] / run["seconds"],
            "cpu": run["server_cpu"] / max(run["opened"], 1),
            "disturbance": (run["held_back"] + stolen) / run["seconds"]}


def time_one(bench, work, peer):
    stolen = machine.stolen_seconds()
    with serve(bench, work, peer) as (process, target):
        run = drive(bench, work, peer, target, "--seconds", bench.options.seconds,
                    "--pid", process.pid)
    return figures_of(run, machine.stolen_seconds() - stolen)


def count_one(bench, work, peer, figure):
    def run(times, *under):
        with serve(bench, work, peer, *under) as (_, target):
            drive(bench, work, peer, target, "--handshakes", times)

    return bench.slope(figure, f"{peer}.{work.scheme}.churn", run,
                       *COUNTED[work.scheme])


def counted(work, peer):
    """Instructions of what is all cryptography in valgrind's emulation are slow to count: where
    OpenSSL is not what does it they tell nothing that the processor time does not."""
    yield "calls"
    if work.scheme != "tls" or peer not in OLD_TLS | NO_TICKETS | WEB_SERVERS.keys():
        yield "instructions"


def measure(bench):
    for work in bench.wanted(WORKS):
        bench.say(work)
        peers = peers_of(bench, work)
        bench.make_rounds(work.name, "connection", peers,
                          lambda p, w=work: time_one(bench, w, p))
        if bench.counts_wanted(False):
            bench.count(work.name, "connection", [
                (peer, figure, lambda w=work, p=peer, f=figure: count_one(bench, w, p, f))
                for peer in peers for figure in counted(work, peer)])
