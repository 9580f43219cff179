# SPDX-License-Identifier: ISC
"""Programs that are not ours and speak TLS, as tls_matrix.py meets them.

A Case says what is asked of both ends. A Server is started for it, and we call; a Client calls us.
Each has patterns of what it says itself about what came of it: that, and not what we think of it,
is what counts.
"""

import os
import re
import shlex
import smtplib
import socket
import subprocess
from dataclasses import dataclass

from peers import PATIENCE, Room, accepts, eventually, free_port, need

WORD = "marzipan"
HELLO = WORD.encode() + b"\n"
GET = b"GET / HTTP/1.0\r\n\r\n"


class Never(Exception):
    """There is no such cell, and why."""


@dataclass(frozen=True)
class Case:
    """What is asked of both ends."""
    version: str = "1.3"
    cert: str = "server"
    name: str = "a.example"
    mutual: bool = False   # the client has to show a certificate
    refused: bool = False  # ... and has none
    again: bool = False    # two connections, and the second resumes
    alpn: bool = False
    second: bool = False   # the server has two identities, and the client wants the other one
    goodbye: bool = False  # both say close_notify, and the client first
    parting: bool = False  # the server says it first
    starttls: bool = False


class Stage(Room):
    """A room that remembers what was done in it."""

    def __init__(self, build, source):
        super().__init__(build, source)
        self.script = []

    def note(self, words):
        self.script.append("$ " + shlex.join(words).replace(self.dir, "DIR"))

    def start(self, *command, **options):
        self.note(command)
        return super().start(*command, **options)

    def run(self, *command, **options):
        self.note(command)
        return super().run(*command, **options)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        self.script.append(f"# {name}:\n" + text.replace(self.dir, "DIR").rstrip())
        return self.path(name)

    def both(self, cert):
        """Certificate and key in one file, as haproxy has them."""
        files = [self.cert(cert + ".pem"), self.cert(cert + ".key")]
        both = "".join(open(file, encoding="utf-8").read() for file in files)
        with open(self.path(cert + ".both"), "w", encoding="utf-8") as file:
            file.write(both)
        return self.path(cert + ".both")

    def helper(self, name):
        return os.path.join(self.build, "tests/integration", name)


def listening(server, port):
    eventually(lambda: server.process.poll() is not None or accepts(port), "it listens")
    return server, port


def said(pattern, text):
    assert re.search(pattern, text, re.MULTILINE), f"no {pattern!r} in:\n{text}"


# ---- servers that are not ours: start(room, case) returns (server, port)

class Server:
    """Patterns of its report; None: it does not tell. `until` ends its reply to `request`."""
    request, until = GET, "end of report"
    version = resumed = new = client = alpn = goodbye = None
    refusal = r"peer sent alert: (certificate required|handshake failure|bad certificate)"


class SServer(Server):
    name = "openssl s_server"
    until = "</pre>"
    version = r"^ +Protocol *: TLSv{}"
    new, resumed = r"^New, TLSv", r"^Reused, TLSv"
    client = r"Subject: CN *= *client"
    alpn = r"ALPN protocols selected: http/1\.1"
    goodbye = (r"<<< .*Alert.*close_notify", r">>> .*Alert.*close_notify")

    def start(self, room, case):
        need("openssl")
        options = ["-tls1_2" if case.version == "1.2" else "-tls1_3"]
        if case.mutual:
            options += ["-CAfile", room.cert("ca.pem"), "-Verify", "2", "-verify_return_error"]
        if case.alpn:
            options += ["-alpn", "h2,http/1.1"]
        if case.second:
            options += ["-servername", "b.example", "-cert2", room.cert("b.pem"),
                        "-key2", room.cert("b.key")]
        if case.goodbye:
            options += ["-msg"]
        # Only one that is no web server tells about ALPN; then it says what it is given.
        server = room.start("openssl", "s_server", "-accept", "127.0.0.1:0",
                            "-cert", room.cert(case.cert + ".pem"),
                            "-key", room.cert(case.cert + ".key"), *options,
                            *([] if case.alpn else ["-www"]), stdin=subprocess.PIPE)
        if case.alpn:
            server.process.stdin.write(b"</pre>\n")
            server.process.stdin.flush()
        return server, int(server.find(r"^ACCEPT .*:(\d+)$")[1])


class GnutlsServ(Server):
    name = "gnutls-serv"
    request, until = HELLO, WORD
    client = r"CN=client"
    refusal = r"peer sent alert: (certificate required|decode error)"
    version = r"Version: TLS{}"
    new, resumed = r"^- Description:", r"This is a resumed session"
    alpn = r"Application protocol: http/1\.1"
    goodbye = (r"Alert\[1\|0\] - Close notify - was received",
               r"Preparing Packet Alert\(21\)")

    def start(self, room, case):
        need("gnutls-serv")
        port = free_port()
        options = ["--priority", "NORMAL:-VERS-ALL:+VERS-TLS" + case.version]
        options += (["--require-client-cert", "--verify-client-cert",
                     "--x509cafile", room.cert("ca.pem")] if case.mutual
                    else ["--disable-client-cert"])
        if case.alpn:
            options += ["--alpn=http/1.1", "--alpn-fatal"]
        if case.second:
            options += ["--x509certfile", room.cert("b.pem"), "--x509keyfile", room.cert("b.key")]
        if case.goodbye:
            options += ["-d", "5"]
        server = room.start("gnutls-serv", "--echo", "-p", str(port),
                            "--x509certfile", room.cert(case.cert + ".pem"),
                            "--x509keyfile", room.cert(case.cert + ".key"), *options)
        server.find(r"listening on IPv4")
        return server, port


class Nginx(Server):
    name = "nginx"
    version = r"version=TLSv{}"
    new, resumed = r"resumed=\.", r"resumed=r"
    client, alpn = r"client=CN=client", r"alpn=http/1\.1"
    refusal = "400 No required SSL certificate was sent"

    def start(self, room, case):
        need("nginx")
        port = free_port()
        mutual = f"ssl_verify_client on; ssl_client_certificate {room.cert('ca.pem')};"
        serve = (f"listen 127.0.0.1:{port} ssl;\n"
                 '  location / { return 200 "version=$ssl_protocol resumed=$ssl_session_reused '
                 'alpn=$ssl_alpn_protocol asked=$ssl_server_name client=$ssl_client_s_dn '
                 'end of report"; }')
        second = (f" server {{ server_name b.example; ssl_certificate {room.cert('b.pem')};\n"
                  f"  ssl_certificate_key {room.cert('b.key')}; {serve} }}")
        config = room.write("nginx.conf", NGINX.format(dir=room.dir) + (
            f" ssl_protocols TLSv{case.version}; ssl_session_cache shared:x:1m;\n"
            f" {mutual if case.mutual else ''}\n"
            f" server {{ server_name a.example; ssl_certificate {room.cert(case.cert + '.pem')};\n"
            f"  ssl_certificate_key {room.cert(case.cert + '.key')}; {serve} }}\n"
            f"{second if case.second else ''}\n}}\n"))
        server = room.start("nginx", "-c", config, "-e", room.path("nginx.log"))
        return listening(server, port)


class Haproxy(Server):
    name = "haproxy"
    version = r"version=TLSv{}"
    new, resumed = r"resumed=0", r"resumed=1"
    client, alpn = r"client=/CN=client", r"alpn=http/1\.1"

    def start(self, room, case):
        need("haproxy")
        port = free_port()
        options = f"ssl-min-ver TLSv{case.version} ssl-max-ver TLSv{case.version}"
        if case.mutual:
            options += f" ca-file {room.cert('ca.pem')} verify required"
        if case.alpn:
            options += " alpn h2,http/1.1"
        if case.second:
            options += f" crt {room.both('b')}"
        config = room.write("haproxy.cfg", HAPROXY + (
            f"frontend it\n mode http\n"
            f" bind 127.0.0.1:{port} ssl crt {room.both(case.cert)} {options}\n"
            ' http-request return status 200 content-type text/plain lf-string "'
            "version=%sslv resumed=%[ssl_fc_is_resumed] alpn=%[ssl_fc_alpn] asked=%[ssl_fc_sni] "
            'client=%[ssl_c_s_dn] end of report"\n'))
        return listening(room.start("haproxy", "-db", "-f", config), port)


class Stunnel(Server):
    name = "stunnel"
    request, until = HELLO, WORD
    version = r"TLSv{} ciphersuite"
    new = r"TLS accepted: new session negotiated"
    resumed = r"TLS accepted: previous session reused"
    client = r"accepted at depth=0: CN=client"
    goodbye = (r"TLS alert \(read\): warning: close notify",
               r"TLS alert \(write\): warning: close notify")

    def start(self, room, case):
        need("stunnel")
        if case.alpn:
            raise Never("stunnel has no ALPN")
        port = free_port()
        mutual = f"CAfile = {room.cert('ca.pem')}\nverifyChain = yes\n"
        behind = "exec = /bin/cat\nexecArgs = cat\n"
        if case.starttls:
            plain = room.start(room.helper("starttls"), "serve", "tcp://127.0.0.1:0",
                               room.cert("server.pem"), room.cert("server.key"))
            behind = f"protocol = smtp\nconnect = {plain.uris(1)[0].removeprefix('tcp://')}\n"
        options = (f"sslVersionMin = TLSv{case.version}\nsslVersionMax = TLSv{case.version}\n"
                   f"{mutual if case.mutual else ''}{behind}")
        second = (f"[other]\nsni = it:b.example\ncert = {room.cert('b.pem')}\n"
                  f"key = {room.cert('b.key')}\n{options}")
        config = room.write("stunnel.conf", STUNNEL + (
            f"[it]\naccept = 127.0.0.1:{port}\ncert = {room.cert(case.cert + '.pem')}\n"
            f"key = {room.cert(case.cert + '.key')}\n{options}{second if case.second else ''}"))
        server = room.start("stunnel", config)
        server.find(r"Service \[it\] .*bound to")
        return server, port


class NoServer(Server):
    def __init__(self, name):
        self.name = name

    def start(self, room, case):
        raise Never(f"{self.name} is no server")


NGINX = """\
daemon off; master_process off; pid {dir}/nginx.pid;
error_log {dir}/nginx.log debug;
events {{ }}
http {{
 access_log off;
 client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
 uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
"""

HAPROXY = """\
global
 nbthread 1
 log stdout format raw daemon
defaults
 timeout connect 10s
 timeout client 20s
 timeout server 20s
 retries 0
"""

STUNNEL = """\
foreground = yes
debug = debug
pid =
"""


# ---- clients that are not ours: talk(room, port, case) says WORD and returns all they said then

class Client:
    """... with patterns as above."""
    alpn = None
    goodbye = None  # when it says close_notify, and when it hears one; "": it does not tell
    waits = True    # ... and it stays to hear ours
    answers = True  # it says close_notify when it has heard ours
    heard = "^" + WORD

    def starttls(self, room, port):
        raise Never(f"{self.name} knows no STARTTLS" + self.no_starttls)
    no_starttls = ""


class SClient(Client):
    name = "openssl s_client"
    heard = WORD  # which it may print in the middle of a line about the session
    version = r"^(New|Reused), TLSv{}"
    new, resumed = r"^New, TLSv", r"^Reused, TLSv"
    alpn = r"ALPN protocol: http/1\.1"
    goodbye = (r">>> .*Alert.*close_notify", r"<<< .*Alert.*close_notify")
    waits = False

    def talk(self, room, port, case):
        need("openssl")
        options = []
        if case.mutual and not case.refused:
            options += ["-cert", room.cert("client.pem"), "-key", room.cert("client.key")]
        if case.alpn:
            options += ["-alpn", "h2,http/1.1"]
        if case.goodbye or case.parting:
            options += ["-msg"]
        kept = room.path("session")
        text = self.once(room, port, case, options + (["-sess_out", kept] if case.again else []))
        if case.again:
            text += self.once(room, port, case, options + ["-sess_in", kept])
        return text

    def once(self, room, port, case, options):
        client = room.start("openssl", "s_client", "-connect", f"127.0.0.1:{port}",
                            "-tls1_2" if case.version == "1.2" else "-tls1_3",
                            "-CAfile", room.cert("ca.pem"), "-verify_return_error",
                            "-verify_hostname", case.name, "-servername", case.name, *options,
                            stdin=subprocess.PIPE)
        return keep_talking(client)

    def starttls(self, room, port):
        client = room.start("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-starttls",
                            "smtp", "-crlf", "-CAfile", room.cert("ca.pem"),
                            "-verify_return_error", "-verify_hostname", "a.example",
                            stdin=subprocess.PIPE)
        return keep_talking(client, b"EHLO here\n", "250 a.example")


def keep_talking(client, words=HELLO, answer=WORD):
    """Say something, hear the answer, and end."""
    try:
        client.process.stdin.write(words)
        client.process.stdin.flush()
        eventually(lambda: answer in client.text() or client.process.poll() is not None,
                   f"{client.command[0]} hears {answer}: {client.lines}")
        client.process.stdin.close()
    except BrokenPipeError:
        pass
    client.wait()
    return client.text() + "\n"


class GnutlsCli(Client):
    name = "gnutls-cli"
    answers = False
    version = r"Description: \(TLS{}"
    new, resumed = r"^- Description:", r"This is a resumed session"
    alpn = r"Application protocol: http/1\.1"
    goodbye = (r"Preparing Packet Alert\(21\)", r"Alert\[1\|0\] - Close notify - was received")

    def talk(self, room, port, case):
        need("gnutls-cli")
        options = []
        if case.mutual and not case.refused:
            options += ["--x509certfile", room.cert("client.pem"),
                        "--x509keyfile", room.cert("client.key")]
        if case.alpn:
            options += ["--alpn=h2", "--alpn=http/1.1"]
        if case.again:
            options += ["--resume", "--waitresumption"]
        if case.goodbye or case.parting:
            options += ["-d", "5"]
        client = room.start("gnutls-cli", "-p", str(port), "--x509cafile", room.cert("ca.pem"),
                            "--sni-hostname", case.name, "--verify-hostname", case.name,
                            "--priority", "NORMAL:-VERS-ALL:+VERS-TLS" + case.version, *options,
                            "127.0.0.1", stdin=subprocess.PIPE)
        return keep_talking(client)

    def starttls(self, room, port):
        client = room.start("gnutls-cli", "-p", str(port), "--starttls-proto=smtp", "--crlf",
                            "--x509cafile", room.cert("ca.pem"), "--verify-hostname", "a.example",
                            "127.0.0.1", stdin=subprocess.PIPE)
        return keep_talking(client, b"EHLO here\n", "250 a.example")


class Curl(Client):
    """What curl asks for is a proper answer to it, so that an echo will do for a web server."""
    name = "curl"
    version = r"SSL connection using TLSv{}"
    new, resumed = r"TLS handshake, Certificate \(11\)", r"SSL re-using session ID"
    alpn = r"ALPN: server accepted http/1\.1"
    goodbye = (r"\(OUT\), TLS alert, close notify", "")

    def talk(self, room, port, case):
        need("curl")
        if case.again and case.version == "1.2":
            raise Never("curl 7.88 wants no tickets of TLS 1.2, and a listener of ours keeps no "
                        "sessions for whom it gave none")
        options = []
        if case.mutual and not case.refused:
            options += ["--cert", room.cert("client.pem"), "--key", room.cert("client.key")]
        url = f"https://{case.name}:{port}/"
        result = room.run("curl", "--silent", "--verbose", "--http1.1", "--cacert",
                          room.cert("ca.pem"), "--tlsv" + case.version, "--tls-max", case.version,
                          "--resolve", f"{case.name}:{port}:127.0.0.1", "-H", "Connection: close",
                          "-X", "HTTP/1.1 200 OK", "-d", WORD, *options, url,
                          *([url] if case.again else []))
        text = result.out.decode() + "\n" + result.err
        if case.again:
            self.check_again(text, case)
        return text

    def check_again(self, text, case):
        """Who resumes is shown no certificate."""
        assert len(re.findall(r"SSL connection using", text)) == 2, text
        assert len(re.findall(r"\(IN\), TLS handshake, Certificate \(11\)", text)) == 1, text

    def starttls(self, room, port):
        result = room.run("curl", "--silent", "--verbose", "--ssl-reqd", "--cacert",
                          room.cert("ca.pem"), "--resolve", f"a.example:{port}:127.0.0.1",
                          "-X", "NOOP", f"smtp://a.example:{port}/")
        assert result.code == 0, result
        return result.err


class NginxClient(Client):
    """As curl, only that nginx asks."""
    name = "nginx"
    version = r"SSL: TLSv{}, cipher"
    new, resumed = r"SSL: TLSv", r"SSL reused session"
    no_starttls = ", but as a proxy of mail"

    def talk(self, room, port, case):
        need("nginx")
        if case.alpn:
            raise Never("nginx 1.22 asks no server for ALPN")
        front = free_port()
        mutual = (f"proxy_ssl_certificate {room.cert('client.pem')}; "
                  f"proxy_ssl_certificate_key {room.cert('client.key')};")
        config = room.write("nginx.conf", NGINX.format(dir=room.dir) + (
            f" server {{ listen 127.0.0.1:{front};\n  location / {{\n"
            f"   proxy_pass https://127.0.0.1:{port}; proxy_ssl_protocols TLSv{case.version};\n"
            f"   proxy_ssl_verify on; proxy_ssl_trusted_certificate {room.cert('ca.pem')};\n"
            f"   proxy_ssl_name {case.name}; proxy_ssl_server_name on;\n"
            f"   {mutual if case.mutual and not case.refused else ''}\n"
            '   proxy_method "HTTP/1.1 200 OK"; proxy_set_body ' + f'"{WORD}"; }} }}\n}}\n'))
        server = room.start("nginx", "-c", config, "-e", room.path("nginx.log"))
        listening(server, front)
        fetch = ["curl", "--silent", f"http://127.0.0.1:{front}/"]
        text = "\n".join(room.run(*fetch).out.decode() for _ in range(2 if case.again else 1))
        with open(room.path("nginx.log"), encoding="utf-8", errors="replace") as log:
            return text + "\n" + log.read()


class HaproxyClient(Client):
    name = "haproxy"
    version = r"version=TLSv{}"
    new, resumed = r"resumed=0", r"resumed=1"
    alpn = r"alpn=http/1\.1"
    waits = False

    def talk(self, room, port, case):
        need("haproxy")
        front = free_port()
        options = (f"ssl ca-file {room.cert('ca.pem')} verify required sni str({case.name}) "
                   f"verifyhost {case.name} ssl-min-ver TLSv{case.version} "
                   f"ssl-max-ver TLSv{case.version}")
        if case.mutual and not case.refused:
            options += f" crt {room.both('client')}"
        if case.alpn:
            options += " alpn h2,http/1.1"
        config = room.write("haproxy.cfg", HAPROXY + (
            f"listen it\n mode tcp\n log global\n bind 127.0.0.1:{front}\n"
            ' log-format "version=%[ssl_bc_protocol] resumed=%[ssl_bc_is_resumed] '
            'alpn=%[ssl_bc_alpn]"\n'
            f" server ours 127.0.0.1:{port} {options}\n"))
        server = room.start("haproxy", "-db", "-f", config)
        listening(server, front)
        return through(room, server, front, case, r"version=")


def through(room, server, front, case, at_end):
    """Say WORD through a program that does the TLS, and wait for its report."""
    text = ""
    room.note(["socat", "-", f"TCP:127.0.0.1:{front}"])
    before = len(re.findall(at_end, server.text()))
    for _ in range(2 if case.again else 1):
        with socket.create_connection(("127.0.0.1", front), PATIENCE) as plain:
            plain.sendall(HELLO)
            try:
                text += plain.recv(100).decode()
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(100):
                    pass
            except OSError:
                pass
        before += 1
        eventually(lambda: len(re.findall(at_end, server.text())) >= before, "its report")
    return text + "\n" + server.text()


class StunnelClient(Client):
    name = "stunnel"
    version = r"TLSv{} ciphersuite"
    new = r"TLS connected: new session negotiated"
    resumed = r"TLS connected: previous session reused"
    goodbye = (r"TLS alert \(write\): warning: close notify",
               r"TLS alert \(read\): warning: close notify")

    def talk(self, room, port, case):
        need("stunnel")
        if case.alpn:
            raise Never("stunnel has no ALPN")
        front = free_port()
        mutual = f"cert = {room.cert('client.pem')}\nkey = {room.cert('client.key')}\n"
        config = room.write("stunnel.conf", STUNNEL + (
            f"[it]\nclient = yes\naccept = 127.0.0.1:{front}\nconnect = 127.0.0.1:{port}\n"
            f"CAfile = {room.cert('ca.pem')}\nverifyChain = yes\ncheckHost = {case.name}\n"
            f"sni = {case.name}\nsslVersionMin = TLSv{case.version}\n"
            f"sslVersionMax = TLSv{case.version}\n"
            f"{mutual if case.mutual and not case.refused else ''}"))
        server = room.start("stunnel", config)
        server.find(r"Service \[it\] .*bound to")  # to try it would be a call of ours as well
        return through(room, server, front, case, r"Connection (closed|reset)")

    def starttls(self, room, port):
        front = free_port()
        config = room.write("stunnel.conf", STUNNEL + (
            f"[it]\nclient = yes\nprotocol = smtp\naccept = 127.0.0.1:{front}\n"
            f"connect = 127.0.0.1:{port}\nCAfile = {room.cert('ca.pem')}\nverifyChain = yes\n"
            "checkHost = a.example\n"))
        server = room.start("stunnel", config)
        server.find(r"Service \[it\] .*bound to")
        with smtplib.SMTP("127.0.0.1", front, timeout=PATIENCE) as plain:
            code, name = plain.ehlo("here")
        eventually(lambda: re.search("ciphersuite", server.text()), "it tells of TLS")
        return f"{code} {name.decode()}\n{server.text()}"


SERVERS = [SServer(), GnutlsServ(), NoServer("curl"), Nginx(), Haproxy(), Stunnel()]
CLIENTS = [SClient(), GnutlsCli(), Curl(), NginxClient(), HaproxyClient(), StunnelClient()]
