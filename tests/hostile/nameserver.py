# SPDX-License-Identifier: ISC
"""A name server that misbehaves in as many ways as it has names: for ODD.test it does what odd() in
BEHAVIOURS does. UDP and TCP on one port of 127.0.0.1; strangers, who answer what they were not
asked, are at another port of 127.0.0.1 and at the same one of 127.0.0.2.

A behaviour is a function of a Query; what it returns is sent, bytes or a list of them, and None is
silence. Nothing here is true: addresses are of the documentation's, and EVIL must never be believed.
"""

import random
import socket
import struct
import threading
import time

GOOD, GOOD6, EVIL = "192.0.2.1", "2001:db8::1", "203.0.113.66"
A, CNAME, SOA, AAAA, SRV, HTTPS = 1, 5, 6, 28, 33, 65
POINTER = b"\xc0\x0c"  # to the question's name
BEHAVIOURS = {}


def behaviour(function):
    BEHAVIOURS[function.__name__.replace("_", "-")] = function
    return function


# ---- packets


def wire(name):
    """A name as DNS has it."""
    labels = [label for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def record(owner, kind, data, ttl=300, cls=1, length=None):
    return owner + struct.pack("!HHIH", kind, cls, ttl, len(data) if length is None else length) + data


def address(owner=POINTER, kind=A, text=None, **more):
    text = text or (GOOD if kind == A else GOOD6)
    family = socket.AF_INET if kind == A else socket.AF_INET6
    return record(owner, kind, socket.inet_pton(family, text), **more)


class Query:
    """What was asked, and the usual ways to answer."""

    def __init__(self, server, packet, tcp):
        self.server, self.packet, self.tcp = server, packet, tcp
        at, labels = 12, []
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode())
            at += 1 + packet[at]
        self.name = ".".join(labels)
        self.kind = struct.unpack("!H", packet[at + 1:at + 3])[0]
        self.question = packet[12:at + 5]
        self.odd = next((label for label in labels if label in BEHAVIOURS), None)

    def answer(self, *records, rcode=0, flags=0x8180, count=None, question=None, ident=None,
               authority=()):
        ident = self.packet[:2] if ident is None else ident
        question = self.question if question is None else question
        head = struct.pack("!HHHHH", flags | rcode, 1 if question else 0,
                           len(records) if count is None else count, len(authority), 0)
        return ident + head + question + b"".join(records) + b"".join(authority)

    def good(self, **more):
        """What the truth is: an address of each family, and nothing of what else may be asked."""
        return self.answer(*([address(kind=self.kind)] if self.kind in (A, AAAA) else []), **more)

    def evil(self, **more):
        return self.answer(*([address(text=EVIL)] if self.kind == A else []), **more)


# ---- what servers say


@behaviour
def fine(q):
    return q.good()


@behaviour
def servfail(q):
    return q.answer(rcode=2)


@behaviour
def refused(q):
    return q.answer(rcode=5)


@behaviour
def notimp(q):
    return q.answer(rcode=4)


@behaviour
def formerr(q):
    return q.answer(rcode=1)


@behaviour
def nxdomain(q):
    return q.answer(rcode=3)


@behaviour
def nodata(q):
    return q.answer()


@behaviour
def nxdomain_with_an_address(q):
    return q.evil(rcode=3)


@behaviour
def servfail_with_an_address(q):
    return q.evil(rcode=2)


@behaviour
def yxdomain(q):
    return q.answer(rcode=6)


# ---- too late


@behaviour
def silence(q):
    return None


@behaviour
def aaaa_late(q):
    if q.kind == AAAA:
        time.sleep(1)
    return q.good()


@behaviour
def aaaa_never(q):
    return None if q.kind == AAAA else q.good()


@behaviour
def a_never(q):
    return None if q.kind == A else q.good()


@behaviour
def https_never(q):
    return None if q.kind == HTTPS else q.good()


# ---- truncation, and TCP


def truncated(q):
    return q.answer(flags=0x8380)


@behaviour
def truncated_and_tcp(q):
    return q.good() if q.tcp else truncated(q)


@behaviour
def truncated_for_ever(q):
    return truncated(q)


@behaviour
def truncated_in_a_record(q):
    return q.good() if q.tcp else q.good(flags=0x8380)[:-3]


@behaviour
def tcp_silent(q):
    return None if q.tcp else truncated(q)


def framed(packet, length=None):
    return struct.pack("!H", len(packet) if length is None else length) + packet


@behaviour
def tcp_closes(q):
    return [b""] if q.tcp else truncated(q)


@behaviour
def tcp_resets(q):
    return [RESET] if q.tcp else truncated(q)


@behaviour
def tcp_half(q):
    return [framed(q.good())[:20], b""] if q.tcp else truncated(q)


@behaviour
def tcp_half_and_reset(q):
    return [framed(q.good())[:20], RESET] if q.tcp else truncated(q)


@behaviour
def tcp_half_and_silence(q):
    return [framed(q.good())[:20]] if q.tcp else truncated(q)


@behaviour
def tcp_length_too_long(q):
    return [framed(q.good(), 60000)] if q.tcp else truncated(q)


@behaviour
def tcp_length_too_short(q):
    return [framed(q.good(), 20)] if q.tcp else truncated(q)


@behaviour
def tcp_length_zero(q):
    return [b"\0\0" * 100, b""] if q.tcp else truncated(q)


@behaviour
def tcp_byte_by_byte(q):
    return [bytes([byte]) for byte in framed(q.good())] if q.tcp else truncated(q)


@behaviour
def tcp_garbage(q):
    return [random.Random(q.name).randbytes(3000), b""] if q.tcp else truncated(q)


# ---- not what was asked: each of it is followed by silence, or (TRUTH) by the truth

OTHER_ID = b"\x13\x37"


@behaviour
def wrong_id(q):
    return q.evil(ident=OTHER_ID)


@behaviour
def wrong_id_first(q):
    return [q.evil(ident=OTHER_ID), q.good()]


@behaviour
def wrong_question(q):
    return q.evil(question=wire("other.test") + q.question[-4:])


@behaviour
def wrong_question_first(q):
    return [wrong_question(q), q.good()]


@behaviour
def wrong_type(q):
    return q.evil(question=q.question[:-4] + b"\0\x10\0\1")


@behaviour
def wrong_class(q):
    return q.evil(question=q.question[:-2] + b"\0\3")


@behaviour
def two_questions(q):
    packet = q.evil(question=q.question * 2)
    return packet[:4] + b"\0\2" + packet[6:]


@behaviour
def no_question(q):
    return q.evil(question=b"")


@behaviour
def the_query_itself(q):
    return q.packet


@behaviour
def wrong_opcode(q):
    return q.evil(flags=0xa980)


@behaviour
def from_another_port(q):
    return [Stranger(q.server.other_port, q.evil())]


@behaviour
def from_another_port_first(q):
    return [Stranger(q.server.other_port, q.evil()), q.good()]


@behaviour
def from_another_address(q):
    return [Stranger(q.server.other_address, q.evil())]


@behaviour
def from_another_address_first(q):
    return [Stranger(q.server.other_address, q.evil()), q.good()]


@behaviour
def of_another_name(q):
    return q.answer(address(owner=wire("other.test"), text=EVIL))


@behaviour
def of_another_class(q):
    return q.answer(address(text=EVIL, cls=3))


@behaviour
def of_another_type(q):
    return q.answer(record(POINTER, 16, b"\x05hello"))


# ---- malformed


@behaviour
def owner_points_to_itself(q):
    at = 12 + len(q.question)
    return q.answer(address(owner=struct.pack("!H", 0xc000 | at)))


@behaviour
def owners_point_to_each_other(q):
    at = 12 + len(q.question)
    size = len(address())
    return q.answer(address(owner=struct.pack("!H", 0xc000 | (at + size))),
                    address(owner=struct.pack("!H", 0xc000 | at)))


@behaviour
def owner_points_outside(q):
    return q.answer(address(owner=b"\xff\xff"))


@behaviour
def target_points_to_itself(q):
    at = 12 + len(q.question) + 12
    return q.answer(record(POINTER, CNAME, struct.pack("!H", 0xc000 | at)))


@behaviour
def label_of_a_bad_kind(q):
    return q.answer(address(owner=b"\x80\x0c"))


@behaviour
def name_without_end(q):
    return q.answer(address(owner=(b"\x3f" + b"x" * 63) * 5))


@behaviour
def more_answers_than_there_are(q):
    return q.good(count=65535)


@behaviour
def data_longer_than_the_packet(q):
    return q.answer(address(length=4000))


@behaviour
def address_too_long(q):
    return q.answer(record(POINTER, q.kind, b"\1" * 17))


@behaviour
def address_too_short(q):
    return q.answer(record(POINTER, q.kind, b"\1\2\3"))


@behaviour
def address_empty(q):
    return q.answer(record(POINTER, q.kind, b""))


@behaviour
def cut_short(q):
    return q.good()[:-2]


@behaviour
def head_alone(q):
    return q.good()[:12]


@behaviour
def half_a_head(q):
    return q.good()[:7]


@behaviour
def one_byte(q):
    return b"\0"


@behaviour
def empty(q):
    return b""


@behaviour
def zeros(q):
    return q.packet[:2] + bytes(400)


@behaviour
def ones(q):
    return q.packet[:2] + b"\xff" * 400


@behaviour
def garbage(q):
    return q.packet[:2] + random.Random(q.name).randbytes(500)


@behaviour
def garbage_after_the_head(q):
    return q.answer(random.Random(q.name).randbytes(200))


@behaviour
def garbage_after_the_end(q):
    return q.good() + random.Random(q.name).randbytes(200)


@behaviour
def more_than_was_allowed(q):
    return q.answer(*[address(text=f"192.0.2.{i}") for i in range(250)] * 10) \
        if q.kind == A else q.answer()


# ---- aliases


def aliases(q, names, *last):
    owners = [POINTER] + [wire(name) for name in names]
    chain = [record(owner, CNAME, wire(name)) for owner, name in zip(owners, names)]
    return q.answer(*chain, *[address(owners[-1], q.kind, **more) for more in last])


@behaviour
def alias_to_itself(q):
    return aliases(q, [q.name])


@behaviour
def aliases_in_a_circle(q):
    return aliases(q, ["a.test", "b.test", "a.test"], {})


@behaviour
def a_hundred_aliases(q):
    return aliases(q, [f"n{i}.test" for i in range(100)], {})


@behaviour
def alias_to_nothing(q):
    return aliases(q, ["gone.test"])


@behaviour
def alias_to_the_root(q):
    return q.answer(record(POINTER, CNAME, b"\0"))


@behaviour
def alias_to_no_host(q):
    return q.answer(record(POINTER, CNAME, b"\x05a\0b/c\0"))


@behaviour
def two_aliases(q):
    return q.answer(record(POINTER, CNAME, wire("a.test")), record(POINTER, CNAME, wire("b.test")),
                    address(wire("a.test"), q.kind), *([address(wire("b.test"), text=EVIL)]
                                                      if q.kind == A else []))


# ---- many, and odd

@behaviour
def two_hundred(q):
    if not q.tcp:
        return truncated(q)
    return q.answer(*[address(text=f"192.0.2.{i}") for i in range(200)]) if q.kind == A else q.answer()


@behaviour
def the_same_a_hundred_times(q):
    return q.answer(*[address()] * 30) if q.kind == A else q.answer()


@behaviour
def owner_without_length(q):
    return q.answer(address(owner=b"\0", text=EVIL)) if q.kind == A else q.answer()


@behaviour
def ttl_zero(q):
    return q.answer(address(kind=q.kind, ttl=0))


@behaviour
def ttl_2_31(q):
    return q.answer(address(kind=q.kind, ttl=1 << 31))


@behaviour
def ttl_most(q):
    return q.answer(address(kind=q.kind, ttl=(1 << 32) - 1))


@behaviour
def ttl_2_31_less_1(q):
    return q.answer(address(kind=q.kind, ttl=(1 << 31) - 1))


# ---- services


def service(q, data):
    return q.answer(record(POINTER, HTTPS, data)) if q.kind == HTTPS else q.good()


@behaviour
def https_cut_short(q):
    return service(q, b"\0\1\0\0\1\0\x09\x02h2")


@behaviour
def https_out_of_order(q):
    return service(q, b"\0\1\0" + b"\0\3\0\2\x20\xfb" + b"\0\1\0\3\x02h2")


@behaviour
def https_demands_the_unknown(q):
    return service(q, b"\0\1\0" + b"\0\0\0\2\xff\x01" + b"\xff\x01\0\0")


@behaviour
def https_alias_to_itself(q):
    return service(q, b"\0\0" + wire(q.name))


@behaviour
def https_of_port_zero(q):
    return service(q, b"\0\1\0" + b"\0\3\0\2\0\0")


@behaviour
def https_garbage(q):
    return service(q, random.Random(q.name).randbytes(300))


@behaviour
def srv_garbage(q):
    return q.answer(record(POINTER, SRV, b"\0\1\0\1\0\x50\xc0")) if q.kind == SRV else q.good()


@behaviour
def srv_to_itself(q):
    at = 12 + len(q.question) + 12 + 6
    data = b"\0\1\0\1\0\x50" + struct.pack("!H", 0xc000 | at)
    return q.answer(record(POINTER, SRV, data)) if q.kind == SRV else q.good()


@behaviour
def srv_to_the_root(q):
    return q.answer(record(POINTER, SRV, bytes(7))) if q.kind == SRV else q.good()


# ---- the server


class Stranger:
    """A packet that comes from somewhere else."""

    def __init__(self, socket, packet):
        self.socket, self.packet = socket, packet


RESET = object()  # not FIN but RST


class Server:
    """`tcp`: whether anybody is at the port there."""

    def __init__(self, tcp=True):
        self.udp, self.tcp = bind_pair(tcp)
        self.port = port_of(self.udp)
        self.other_port = udp_socket("127.0.0.1", 0)
        self.other_address = udp_socket("127.0.0.2", self.port)
        start(self.serve_udp)
        if tcp:
            start(self.serve_tcp)

    def serve_udp(self):
        while True:
            packet, peer = self.udp.recvfrom(65536)
            start(self.answer_udp, packet, peer)

    def answer_udp(self, packet, peer):
        for piece in answers(self, packet, False):
            if isinstance(piece, Stranger):
                piece.socket.sendto(piece.packet, peer)
            else:
                self.udp.sendto(piece, peer)

    def serve_tcp(self):
        while True:
            peer, _ = self.tcp.accept()
            start(self.answer_tcp, peer)

    def answer_tcp(self, peer):
        """One query after the other. An empty piece is the end, and so is a reset."""
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while (length := receive(peer, 2)) and (packet := receive(peer, int.from_bytes(length, "big"))):
                for piece in answers(self, packet, True):
                    if piece is RESET:
                        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    if piece is RESET or not piece:
                        return
                    peer.sendall(piece)
        except OSError:
            pass  # a peer that has heard enough
        finally:
            peer.close()


def answers(server, packet, tcp):
    query = Query(server, packet, tcp)
    said = BEHAVIOURS[query.odd](query) if query.odd else query.answer(rcode=3)
    if said is None:
        return []
    if isinstance(said, list):
        return said
    return [framed(said) if tcp else said]


def receive(peer, n):
    """n bytes, or fewer at the end."""
    data = b""
    while len(data) < n and (more := peer.recv(n - len(data))):
        data += more
    return data


def start(function, *arguments):
    threading.Thread(target=function, args=arguments, daemon=True).start()


def udp_socket(host, port):
    udp = socket.socket(type=socket.SOCK_DGRAM)
    udp.bind((host, port))
    return udp


def port_of(bound):
    return bound.getsockname()[1]


def bind_pair(listen):
    """UDP and TCP on one port, free on 127.0.0.2 too. Who does not listen is not there."""
    while True:
        udp, tcp = udp_socket("127.0.0.1", 0), socket.socket()
        try:
            tcp.bind(udp.getsockname())
            udp_socket("127.0.0.2", port_of(udp)).close()
        except OSError:
            continue
        if listen:
            tcp.listen(64)
        return udp, tcp
