#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What RFC 9113 and RFC 7541 ask of a server, case by case: http-serve is told something, and what
it says, or does not say, is held to a row of the table. The sections are those of RFC 7540, whose
numbers the usual lists of cases go by (8.1.2 is 8.2 and 8.3 in RFC 9113).

    http2_conformance.py BUILD-FOLDER SOURCE-FOLDER [WORD]     results in TAP; WORD: only titles with it
"""

import re
import socket
import sys

import tap
from peers import PATIENCE, Room

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED,
 FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR) = range(10)
MAX_STREAMS = 128  # of http-serve

# ---- frames


def frame(kind, flags=0, stream=0, payload=b""):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
            + payload)


def u32(number):
    return number.to_bytes(4, "big")


def setting(name, value):
    return name.to_bytes(2, "big") + u32(value)


def text(value):
    return bytes([len(value)]) + value


def literal(name, value):
    """A field that is not indexed, spelt out."""
    return b"\0" + text(name) + text(value)


def fields(*pairs, without=(), **changes):
    """The block of a request, and what is to be different in it."""
    usual = {"method": b"GET", "scheme": b"http", "path": b"/text.txt", "authority": b"x"} | changes
    return b"".join(literal(b":" + name.encode(), value) for name, value in usual.items()
                    if name not in without) + b"".join(literal(*pair) for pair in pairs)


def request(stream=1, block=None, flags=END_STREAM | END_HEADERS):
    return frame(HEADERS, flags, stream, fields() if block is None else block)


def post(stream=1, *pairs):
    return request(stream, fields(*pairs, method=b"POST", path=b"/echo"), END_HEADERS)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
START = PREFACE + frame(SETTINGS)
PROBE = frame(PING, 0, 0, b"a probe.")
PONG = (PING, ACK, 0, b"a probe.")

# ---- a connection, and what was heard on it


class Heard:
    """The frames that came, and whether the connection has ended."""

    def __init__(self):
        self.frames, self.rest, self.ended = [], b"", False

    def add(self, data):
        self.rest += data
        while len(self.rest) >= 9:
            n = int.from_bytes(self.rest[:3], "big")
            if len(self.rest) < 9 + n:
                return
            self.frames.append((self.rest[3], self.rest[4], int.from_bytes(self.rest[5:9], "big"),
                                self.rest[9:9 + n]))
            self.rest = self.rest[9 + n:]

    def goaway(self):
        return next((int.from_bytes(f[3][4:8], "big") for f in self.frames if f[0] == GOAWAY), None)

    def reset(self, stream):
        return next((int.from_bytes(f[3], "big") for f in self.frames
                     if f[0] == RST and f[2] == stream), None)

    def answered(self, stream):
        return any(f[0] == HEADERS and f[2] == stream for f in self.frames)

    def is_done(self, stream):
        return any(f[0] in (DATA, HEADERS) and f[2] == stream and f[1] & END_STREAM
                   for f in self.frames)

    def body(self, stream):
        return b"".join(f[3] for f in self.frames if f[0] == DATA and f[2] == stream)


class Peer:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.settimeout(PATIENCE)
        self.heard = Heard()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, data):
        try:
            self.socket.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            pass  # it has been told already

    def hear(self, enough):
        """Listen until `enough(heard)`, or until the connection has ended."""
        while not self.heard.ended and not enough(self.heard):
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            self.heard.add(data)
            self.heard.ended = data == b""
        return self.heard


# ---- what is expected: functions of what was heard, with the reason if it is not so

def connection(*codes):
    """A connection error: GOAWAY with one of these, and the end. It may be the end alone (5.4.1)."""
    def check(peer):
        heard = peer.hear(lambda heard: False)
        assert heard.goaway() in (*codes, None), f"GOAWAY {heard.goaway()}, not {codes}"
        return heard.goaway() is not None
    return check


def told(*codes):
    """The same, and it has to be said."""
    def check(peer):
        assert connection(*codes)(peer), f"no GOAWAY: {peer.heard.frames}"
    return check


def stream_error(*codes, stream=1):
    """The stream is reset with one of these, and the connection goes on; or all of it ends (5.4.2)."""
    def check(peer):
        peer.say(PROBE)
        heard = peer.hear(lambda heard: heard.goaway() is not None or (
            heard.reset(stream) is not None and PONG in heard.frames))
        code = heard.goaway() if heard.goaway() is not None else heard.reset(stream)
        assert code in codes, f"{code}, not {codes}: {heard.frames}"
    return check


def reset(*codes, stream=1):
    """The stream alone is reset, and another one is served."""
    def check(peer):
        stream_error(*codes, stream=stream)(peer)
        assert peer.heard.goaway() is None, peer.heard.frames
        served(stream=99)(peer)
    return check


def alive(peer):
    """Nothing has happened."""
    peer.say(PROBE)
    heard = peer.hear(lambda heard: PONG in heard.frames)
    assert PONG in heard.frames and heard.goaway() is None, heard.frames
    assert not [f for f in heard.frames if f[0] == RST], heard.frames


def served(stream=1, wanted=b"hello\n"):
    """The request on `stream` is answered; of 99, it is asked first."""
    def check(peer):
        if stream == 99:
            peer.say(request(99))
        heard = peer.hear(lambda heard: heard.is_done(stream) or heard.goaway() is not None)
        assert heard.goaway() is None and heard.is_done(stream), heard.frames
        assert heard.body(stream) == wanted, heard.body(stream)
    return check


def acknowledged(peer):
    heard = peer.hear(lambda heard: (SETTINGS, ACK, 0, b"") in heard.frames)
    assert (SETTINGS, ACK, 0, b"") in heard.frames, heard.frames
    alive(peer)


def pong(payload):
    def check(peer):
        heard = peer.hear(lambda heard: (PING, ACK, 0, payload) in heard.frames)
        assert (PING, ACK, 0, payload) in heard.frames, heard.frames
    return check


def unanswered(peer):
    """No PING with these bytes came back, and all is well."""
    alive(peer)
    assert [f for f in peer.heard.frames if f[0] == PING] == [PONG], peer.heard.frames


def ended(peer):
    """The end, without more ado."""
    heard = peer.hear(lambda heard: False)
    assert heard.ended and not heard.answered(1), heard.frames


def settings_first(peer):
    heard = peer.hear(lambda heard: heard.frames)
    assert heard.frames[0][0] == SETTINGS and not heard.frames[0][1] & ACK, heard.frames


def windowed(size, then, more):
    """As much as the window allows, and when there is room, the rest."""
    def check(peer):
        peer.say(PROBE)
        heard = peer.hear(lambda heard: PONG in heard.frames and len(heard.body(1)) >= size)
        assert heard.body(1) == b"hello\n"[:size] and not heard.is_done(1), heard.frames
        peer.say(then)
        served(wanted=more)(peer)
    return check


# ---- the cases: section, title, what is said after the preface and SETTINGS, what is expected

HEAD = fields()
HUFFMAN = bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff")  # www.example.com, RFC 7541, C.4.1
INDEXED = b"\x82\x86\x01\1x\x04" + text(b"/text.txt")  # :method GET, :scheme http; two names
CONTINUED = request(flags=END_STREAM, block=HEAD[:10])
DEPENDS_ON_ITSELF = u32(1) + b"\x10"
LARGE_WINDOW = frame(WINDOW, 0, 0, u32(0x7fffffff))
CLOSED = request() + frame(RST, 0, 1, u32(CANCEL))
HALF_CLOSED = request(block=fields(path=b"/big"))  # it is being answered for some time
TRAILER = frame(HEADERS, END_STREAM | END_HEADERS, 1, literal(b"x-test", b"ok"))

SAID = [
    # generic: what everybody may say
    ("generic 1", "SETTINGS is the first frame", b"", settings_first),
    ("generic 2", "PRIORITY of an idle stream", frame(PRIORITY, 0, 3, u32(0) + b"\x10"), alive),
    ("generic 2", "WINDOW_UPDATE of a half-closed stream",
     request() + frame(WINDOW, 0, 1, u32(100)), served()),
    ("generic 2", "PRIORITY of a half-closed stream",
     request() + frame(PRIORITY, 0, 1, u32(0) + b"\x10"), served()),
    ("generic 2", "RST_STREAM of a half-closed stream", HALF_CLOSED + frame(RST, 0, 1, u32(CANCEL)),
     served(99)),
    ("generic 2", "PRIORITY of a closed stream", CLOSED + frame(PRIORITY, 0, 1, u32(0) + b"\x10"),
     served(99)),
    ("generic 3.1", "DATA", post() + frame(DATA, END_STREAM, 1, b"test"), served(wanted=b"test")),
    ("generic 3.1", "several DATA frames", post() + frame(DATA, 0, 1, b"te")
     + frame(DATA, END_STREAM, 1, b"st"), served(wanted=b"test")),
    ("generic 3.1", "DATA with padding", post() + frame(DATA, END_STREAM | PADDED, 1,
                                                        b"\5test" + bytes(5)), served(wanted=b"test")),
    ("generic 3.2", "HEADERS", request(), served()),
    ("generic 3.2", "HEADERS with padding", request(block=b"\5" + HEAD + bytes(5),
                                                    flags=END_STREAM | END_HEADERS | PADDED), served()),
    ("generic 3.2", "HEADERS with priority", request(block=u32(0) + b"\xff" + HEAD, flags=END_STREAM
                                                     | END_HEADERS | WITH_PRIORITY), served()),
    ("generic 3.3", "PRIORITY of weight 1", frame(PRIORITY, 0, 1, u32(0) + b"\0") + request(), served()),
    ("generic 3.3", "PRIORITY of weight 256", frame(PRIORITY, 0, 1, u32(0) + b"\xff") + request(),
     served()),
    ("generic 3.3", "PRIORITY that depends on a stream", frame(PRIORITY, 0, 3, u32(1) + b"\xff")
     + request(), served()),
    ("generic 3.3", "PRIORITY that is exclusive", frame(PRIORITY, 0, 3, u32(0x80000001) + b"\xff")
     + request(), served()),
    ("generic 3.4", "RST_STREAM", CLOSED, served(99)),
    ("generic 3.5", "SETTINGS", frame(SETTINGS, 0, 0, setting(3, 100)), acknowledged),
    ("generic 3.7", "PING", frame(PING, 0, 0, b"h2spec.."), pong(b"h2spec..")),
    ("generic 3.8", "GOAWAY", frame(GOAWAY, 0, 0, u32(0) + u32(NO_ERROR)), connection(NO_ERROR)),
    ("generic 3.9", "WINDOW_UPDATE of the connection", frame(WINDOW, 0, 0, u32(1)), alive),
    ("generic 3.9", "WINDOW_UPDATE of a stream", post() + frame(WINDOW, 0, 1, u32(1)), alive),
    ("generic 3.10", "CONTINUATION", CONTINUED + frame(CONTINUATION, END_HEADERS, 1, HEAD[10:]),
     served()),
    ("generic 3.10", "several CONTINUATIONs", CONTINUED + frame(CONTINUATION, 0, 1, HEAD[10:20])
     + frame(CONTINUATION, END_HEADERS, 1, HEAD[20:]), served()),
    ("generic 4", "GET", request(), served()),
    ("generic 4", "HEAD", request(block=fields(method=b"HEAD")), served(wanted=b"")),
    ("generic 4", "POST", post() + frame(DATA, END_STREAM, 1, b"test"), served(wanted=b"test")),
    ("generic 4", "POST with a trailer", post(1, (b"trailer", b"x-test")) + frame(DATA, 0, 1, b"test")
     + TRAILER, served(wanted=b"test")),
    ("generic 5", "indexed fields", request(block=INDEXED), served()),
    ("generic 5", "a literal that is indexed, with an indexed name",
     request(block=INDEXED + b"\x7a" + text(b"x")), served()),
    ("generic 5", "a literal that is indexed, with a new name",
     request(block=INDEXED + b"\x40" + text(b"x-test") + text(b"x")), served()),
    ("generic 5", "a literal in Huffman's code", request(block=INDEXED + b"\x7a" + bytes(
        [0x80 | len(HUFFMAN)]) + HUFFMAN), served()),
    ("generic 5", "a literal that is not indexed, with an indexed name",
     request(block=INDEXED + b"\x0f\x2b" + text(b"x")), served()),
    ("generic 5", "a literal that is not indexed, with a new name",
     request(block=INDEXED + literal(b"x-test", b"x")), served()),
    ("generic 5", "a literal that is never indexed, with an indexed name",
     request(block=INDEXED + b"\x1f\x2b" + text(b"x")), served()),
    ("generic 5", "a literal that is never indexed, with a new name",
     request(block=INDEXED + b"\x10" + text(b"x-test") + text(b"x")), served()),
    ("generic 5", "another size of the table", request(block=b"\x20" + INDEXED), served()),
    ("generic 5", "two other sizes of the table", request(block=b"\x20\x3f\xe1\x1f" + INDEXED), served()),
    ("generic 5", "a field of the table", request(1, INDEXED + b"\x40" + text(b"x-test") + text(b"x"))
     + request(3, INDEXED + b"\xbe"), served(3)),
    # 3 to 4
    ("3.5", "the preface", b"", alive),
    ("4.1", "a frame of an unknown type", frame(0xbe, 0xff, 0, b"12345678"), alive),
    ("4.1", "flags that nobody knows", frame(PING, 0xfe, 0, b"12345678"), pong(b"12345678")),
    ("4.1", "a bit that is reserved", frame(PING, 0, 0x80000000, b"12345678"), pong(b"12345678")),
    ("4.2", "DATA of 16,384 bytes", post() + frame(DATA, END_STREAM, 1, b"x" * 16384),
     served(wanted=b"x" * 16384)),
    ("4.2", "DATA of 16,385 bytes", post() + frame(DATA, END_STREAM, 1, b"x" * 16385),
     stream_error(FRAME_SIZE_ERROR)),
    ("4.2", "HEADERS of more", request(block=HEAD + literal(b"a", b"b" * 120) * 140),
     told(FRAME_SIZE_ERROR)),
    ("4.3", "a block that is none", request(block=b"\x40"), told(COMPRESSION_ERROR)),
    ("4.3", "PRIORITY within a block", CONTINUED + frame(PRIORITY, 0, 1, u32(0) + b"\xff")
     + frame(CONTINUATION, END_HEADERS, 1, HEAD[10:]), told(PROTOCOL_ERROR)),
    ("4.3", "HEADERS of another stream within a block", CONTINUED + request(3), told(PROTOCOL_ERROR)),
    # 5
    ("5.1", "idle: DATA", frame(DATA, END_STREAM, 1, b"test"), told(PROTOCOL_ERROR, STREAM_CLOSED)),
    ("5.1", "idle: RST_STREAM", frame(RST, 0, 1, u32(CANCEL)), told(PROTOCOL_ERROR)),
    ("5.1", "idle: WINDOW_UPDATE", frame(WINDOW, 0, 1, u32(100)), told(PROTOCOL_ERROR)),
    ("5.1", "idle: CONTINUATION", frame(CONTINUATION, END_HEADERS, 1, HEAD), told(PROTOCOL_ERROR)),
    ("5.1", "half-closed: DATA", HALF_CLOSED + frame(DATA, END_STREAM, 1, b"test"),
     stream_error(STREAM_CLOSED)),
    ("5.1", "half-closed: HEADERS", HALF_CLOSED + request(), stream_error(STREAM_CLOSED)),
    ("5.1", "half-closed: CONTINUATION", HALF_CLOSED + frame(CONTINUATION, END_HEADERS, 1, HEAD),
     stream_error(STREAM_CLOSED, PROTOCOL_ERROR)),
    ("5.1", "closed by RST_STREAM: DATA", post() + frame(RST, 0, 1, u32(CANCEL))
     + frame(DATA, END_STREAM, 1, b"test"), told(STREAM_CLOSED)),
    ("5.1", "closed by RST_STREAM: HEADERS", CLOSED + request(), told(STREAM_CLOSED)),
    ("5.1", "closed by RST_STREAM: CONTINUATION", CLOSED + frame(CONTINUATION, END_HEADERS, 1, HEAD),
     told(STREAM_CLOSED, PROTOCOL_ERROR)),
    ("5.1.1", "a stream of an even number", request(2), told(PROTOCOL_ERROR)),
    ("5.1.1", "a stream of a lower number", request(5) + request(3), told(PROTOCOL_ERROR, STREAM_CLOSED)),
    ("5.1.2", "more streams than are allowed", b"".join(
        request(2 * i + 1, fields(path=b"/big")) for i in range(MAX_STREAMS + 1)),
     stream_error(REFUSED_STREAM, PROTOCOL_ERROR, stream=2 * MAX_STREAMS + 1)),
    ("5.3.1", "HEADERS that depend on themselves", request(block=DEPENDS_ON_ITSELF + HEAD, flags=END_STREAM
                                                           | END_HEADERS | WITH_PRIORITY),
     stream_error(PROTOCOL_ERROR)),
    ("5.3.1", "PRIORITY that depends on itself", frame(PRIORITY, 0, 1, DEPENDS_ON_ITSELF),
     stream_error(PROTOCOL_ERROR)),
    ("5.4.1", "an error of the connection is the end of it", frame(PING, 0, 3, b"12345678"),
     told(PROTOCOL_ERROR)),
    ("5.5", "an extension", frame(0x16, 0, 0, bytes(8)), alive),
    ("5.5", "an extension within a block", CONTINUED + frame(0x16, 0, 0, bytes(8)), told(PROTOCOL_ERROR)),
    # 6
    ("6.1", "DATA of stream 0", frame(DATA, END_STREAM, 0, b"test"), told(PROTOCOL_ERROR)),
    ("6.1", "DATA of a stream that is not open", HALF_CLOSED + frame(DATA, END_STREAM, 1, b"test"),
     stream_error(STREAM_CLOSED)),
    ("6.1", "DATA with more padding than there is", post() + frame(DATA, END_STREAM | PADDED, 1,
                                                                   b"\x06test"), told(PROTOCOL_ERROR)),
    ("6.2", "HEADERS that do not end, then PRIORITY", CONTINUED + frame(PRIORITY, 0, 1, u32(0) + b"\xff"),
     told(PROTOCOL_ERROR)),
    ("6.2", "HEADERS that do not end, then those of another", CONTINUED + request(3),
     told(PROTOCOL_ERROR)),
    ("6.2", "HEADERS of stream 0", request(0), told(PROTOCOL_ERROR)),
    ("6.2", "HEADERS with more padding than there is",
     request(block=b"\xff" + HEAD, flags=END_STREAM | END_HEADERS | PADDED), told(PROTOCOL_ERROR)),
    ("6.3", "PRIORITY of stream 0", frame(PRIORITY, 0, 0, u32(0) + b"\xff"), told(PROTOCOL_ERROR)),
    ("6.3", "PRIORITY of four bytes", request() + frame(PRIORITY, 0, 1, u32(0)),
     stream_error(FRAME_SIZE_ERROR)),
    ("6.4", "RST_STREAM of stream 0", frame(RST, 0, 0, u32(CANCEL)), told(PROTOCOL_ERROR)),
    ("6.4", "RST_STREAM of an idle stream", frame(RST, 0, 1, u32(CANCEL)), told(PROTOCOL_ERROR)),
    ("6.4", "RST_STREAM of three bytes", post() + frame(RST, 0, 1, bytes(3)), told(FRAME_SIZE_ERROR)),
    ("6.5", "an ACK with a payload", frame(SETTINGS, ACK, 0, setting(3, 1)), told(FRAME_SIZE_ERROR)),
    ("6.5", "SETTINGS of a stream", frame(SETTINGS, 0, 1, setting(3, 1)), told(PROTOCOL_ERROR)),
    ("6.5", "SETTINGS of three bytes", frame(SETTINGS, 0, 0, bytes(3)), told(FRAME_SIZE_ERROR)),
    ("6.5.2", "ENABLE_PUSH of 2", frame(SETTINGS, 0, 0, setting(2, 2)), told(PROTOCOL_ERROR)),
    ("6.5.2", "INITIAL_WINDOW_SIZE beyond the largest", frame(SETTINGS, 0, 0, setting(4, 0x80000000)),
     told(FLOW_CONTROL_ERROR)),
    ("6.5.2", "MAX_FRAME_SIZE below the least", frame(SETTINGS, 0, 0, setting(5, 0x3fff)),
     told(PROTOCOL_ERROR)),
    ("6.5.2", "MAX_FRAME_SIZE beyond the largest", frame(SETTINGS, 0, 0, setting(5, 0x1000000)),
     told(PROTOCOL_ERROR)),
    ("6.5.2", "a setting that nobody knows", frame(SETTINGS, 0, 0, setting(0xff, 1)), alive),
    ("6.5.3", "a setting that comes twice", frame(SETTINGS, 0, 0, setting(4, 100) + setting(4, 1))
     + request(), windowed(1, frame(WINDOW, 0, 1, u32(100)), b"hello\n")),
    ("6.5.3", "SETTINGS are acknowledged", frame(SETTINGS), acknowledged),
    ("6.7", "PING", frame(PING, 0, 0, b"12345678"), pong(b"12345678")),
    ("6.7", "PING that is an ACK", frame(PING, ACK, 0, b"unasked."), unanswered),
    ("6.7", "PING of a stream", frame(PING, 0, 1, b"12345678"), told(PROTOCOL_ERROR)),
    ("6.7", "PING of six bytes", frame(PING, 0, 0, b"123456"), told(FRAME_SIZE_ERROR)),
    ("6.8", "GOAWAY of a stream", frame(GOAWAY, 0, 1, u32(0) + u32(NO_ERROR)), told(PROTOCOL_ERROR)),
    ("6.9", "WINDOW_UPDATE by 0, of the connection", frame(WINDOW, 0, 0, u32(0)), told(PROTOCOL_ERROR)),
    ("6.9", "WINDOW_UPDATE by 0, of a stream", HALF_CLOSED + frame(WINDOW, 0, 1, u32(0)),
     stream_error(PROTOCOL_ERROR)),
    ("6.9", "WINDOW_UPDATE of three bytes", frame(WINDOW, 0, 0, bytes(3)), told(FRAME_SIZE_ERROR)),
    ("6.9.1", "a window of 1", frame(SETTINGS, 0, 0, setting(4, 1)) + request(),
     windowed(1, frame(WINDOW, 0, 1, u32(100)), b"hello\n")),
    ("6.9.1", "a window beyond the largest, of the connection", LARGE_WINDOW * 2,
     told(FLOW_CONTROL_ERROR)),
    ("6.9.1", "a window beyond the largest, of a stream", frame(SETTINGS, 0, 0, setting(4, 0)) + request()
     + frame(WINDOW, 0, 1, u32(0x7fffffff)) * 2, stream_error(FLOW_CONTROL_ERROR)),
    ("6.9.2", "a window that changes later", frame(SETTINGS, 0, 0, setting(4, 0)) + request(),
     windowed(0, frame(SETTINGS, 0, 0, setting(4, 100)), b"hello\n")),
    ("6.9.2", "a window that becomes negative", frame(SETTINGS, 0, 0, setting(4, 3)) + request(),
     windowed(3, frame(SETTINGS, 0, 0, setting(4, 2)) + frame(WINDOW, 0, 1, u32(4)), b"hello\n")),
    # This should end the connection; nghttp2 resets the stream, which is the one that could go wrong.
    ("6.9.2", "a window that overflows by a setting", HALF_CLOSED + frame(WINDOW, 0, 1, u32(0x7fff0000))
     + frame(SETTINGS, 0, 0, setting(4, 0x7fffffff)), stream_error(FLOW_CONTROL_ERROR)),
    ("6.10", "several CONTINUATIONs", CONTINUED + frame(CONTINUATION, 0, 1, HEAD[10:20])
     + frame(CONTINUATION, END_HEADERS, 1, HEAD[20:]), served()),
    ("6.10", "CONTINUATION, then another frame", CONTINUED + frame(CONTINUATION, 0, 1, HEAD[10:20])
     + frame(DATA, END_STREAM, 1, b"test"), told(PROTOCOL_ERROR)),
    ("6.10", "CONTINUATION of stream 0", CONTINUED + frame(CONTINUATION, END_HEADERS, 0, HEAD[10:]),
     told(PROTOCOL_ERROR)),
    ("6.10", "CONTINUATION after HEADERS that have ended", request() + frame(
        CONTINUATION, END_HEADERS, 1, literal(b"a", b"b")), told(PROTOCOL_ERROR)),
    ("6.10", "CONTINUATION after one that has ended", CONTINUED
     + frame(CONTINUATION, END_HEADERS, 1, HEAD[10:])
     + frame(CONTINUATION, END_HEADERS, 1, literal(b"a", b"b")), told(PROTOCOL_ERROR)),
    ("6.10", "CONTINUATION after DATA", post() + frame(DATA, 0, 1, b"test")
     + frame(CONTINUATION, END_HEADERS, 1, literal(b"a", b"b")), told(PROTOCOL_ERROR)),
    # 7
    ("7", "GOAWAY with a code that nobody knows", frame(GOAWAY, 0, 0, u32(0) + u32(0xff)),
     connection(NO_ERROR)),
    ("7", "RST_STREAM with a code that nobody knows", HALF_CLOSED + frame(RST, 0, 1, u32(0xff)),
     served(99)),
    # 8
    ("8.1", "a second HEADERS that does not end the stream", post() + frame(HEADERS, END_HEADERS, 1,
                                                                           literal(b"x-test", b"ok")),
     stream_error(PROTOCOL_ERROR)),
    ("8.1.2", "a name in upper case", request(block=HEAD + literal(b"X-TEST", b"ok")),
     reset(PROTOCOL_ERROR)),
    ("8.1.2.1", "a pseudo-field that nobody knows", request(block=literal(b":test", b"ok") + HEAD),
     reset(PROTOCOL_ERROR)),
    ("8.1.2.1", "a pseudo-field of answers", request(block=literal(b":status", b"200") + HEAD),
     reset(PROTOCOL_ERROR)),
    ("8.1.2.1", "a pseudo-field in a trailer", post() + frame(DATA, 0, 1, b"test") + frame(
        HEADERS, END_STREAM | END_HEADERS, 1, literal(b":method", b"GET")), reset(PROTOCOL_ERROR)),
    ("8.1.2.1", "a pseudo-field after others", request(block=fields((b"x-test", b"ok"), (b":path", b"/"),
                                                                    without=("path",))),
     reset(PROTOCOL_ERROR)),
    ("8.1.2.2", "Connection", request(block=HEAD + literal(b"connection", b"keep-alive")),
     reset(PROTOCOL_ERROR)),
    ("8.1.2.2", "TE other than trailers", request(block=HEAD + literal(b"te", b"trailers, deflate")),
     reset(PROTOCOL_ERROR)),
    ("8.1.2.2", "TE that is trailers", request(block=HEAD + literal(b"te", b"trailers")), served()),
    ("8.1.2.3", "an empty :path", request(block=fields(path=b"")), reset(PROTOCOL_ERROR)),
    *[("8.1.2.3", f"no :{name}", request(block=fields(without=(name,))), reset(PROTOCOL_ERROR))
      for name in ("method", "scheme", "path")],
    *[("8.1.2.3", f":{name} twice", request(block=literal(b":" + name.encode(), value) + HEAD),
       reset(PROTOCOL_ERROR))
      for name, value in (("method", b"GET"), ("scheme", b"http"), ("path", b"/text.txt"))],
    ("8.1.2.6", "a Content-Length that is not that of DATA", post(1, (b"content-length", b"1"))
     + frame(DATA, END_STREAM, 1, b"test"), reset(PROTOCOL_ERROR)),
    ("8.1.2.6", "a Content-Length that is not that of several DATA", post(1, (b"content-length", b"1"))
     + frame(DATA, 0, 1, b"te") + frame(DATA, END_STREAM, 1, b"st"), reset(PROTOCOL_ERROR)),
    ("8.2", "PUSH_PROMISE of a client", frame(PUSH, END_HEADERS, 1, u32(2) + HEAD), told(PROTOCOL_ERROR)),
    # HPACK
    ("HPACK 2.3.3", "an index beyond the table", request(block=HEAD + b"\xc6"), told(COMPRESSION_ERROR)),
    ("HPACK 2.3.3", "a literal whose name is beyond the table", request(block=HEAD + b"\x7f\x07"
                                                                        + text(b"x")),
     told(COMPRESSION_ERROR)),
    ("HPACK 4.2", "another size of the table at the end of a block", request(block=HEAD + b"\x20"),
     told(COMPRESSION_ERROR)),
    ("HPACK 5.2", "Huffman's code with more than seven bits of padding",
     request(block=HEAD + b"\0" + text(b"x-test") + b"\x8d" + HUFFMAN + b"\xff"), told(COMPRESSION_ERROR)),
    ("HPACK 5.2", "Huffman's code with padding of zeros",
     request(block=HEAD + b"\0" + text(b"x-test") + b"\x81\x18"), told(COMPRESSION_ERROR)),
    ("HPACK 5.2", "Huffman's code with an end of string", request(
        block=HEAD + b"\0" + text(b"x-test") + b"\x84\xff\xff\xff\xff"), told(COMPRESSION_ERROR)),
    ("HPACK 6.1", "index 0", request(block=HEAD + b"\x80"), told(COMPRESSION_ERROR)),
    ("HPACK 6.3", "a table larger than was said", request(block=b"\x3f\xe2\x1f" + HEAD),
     told(COMPRESSION_ERROR)),
]

# What is said when another thing has been heard: (section, title, first, then, expected).
THEN = [
    ("5.1", "closed by END_STREAM: DATA", request(), frame(DATA, END_STREAM, 1, b"test"),
     told(STREAM_CLOSED)),
    ("5.1", "closed by END_STREAM: HEADERS", request(), request(), told(STREAM_CLOSED, PROTOCOL_ERROR)),
    ("5.1", "closed by END_STREAM: CONTINUATION", request(),
     frame(CONTINUATION, END_HEADERS, 1, literal(b"a", b"b")), told(STREAM_CLOSED, PROTOCOL_ERROR)),
    ("generic 2", "closed by END_STREAM: WINDOW_UPDATE", request(), frame(WINDOW, 0, 1, u32(100)), alive),
    ("generic 2", "closed by END_STREAM: RST_STREAM", request(), frame(RST, 0, 1, u32(CANCEL)), alive),
    ("generic 2", "closed by END_STREAM: PRIORITY", request(), frame(PRIORITY, 0, 1, u32(0) + b"\x10"),
     alive),
]

# What is said in place of preface and SETTINGS.
BARE = [
    ("3.5", "a preface that is none", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + frame(SETTINGS), ended),
    ("3.5", "another frame where SETTINGS should be", PREFACE + PROBE, told(PROTOCOL_ERROR)),
]

# ----


def say(port, data, check):
    with Peer(port) as peer:
        peer.say(data)
        check(peer)


def say_then(port, first, then, check):
    with Peer(port) as peer:
        peer.say(START + first)
        served()(peer)
        peer.say(then)
        check(peer)


def cases(port):
    for section, title, data, check in BARE:
        yield f"{section} {title}", lambda data=data, check=check: say(port, data, check)
    for section, title, data, check in SAID:
        yield f"{section} {title}", lambda data=data, check=check: say(port, START + data, check)
    for section, title, first, then, check in THEN:
        yield (f"{section} {title}", lambda first=first, then=then, check=check:
               say_then(port, first, then, check))


def well_afterwards(server):
    def check():
        assert server.end() == 0, server.text()
    return "the server has survived it all, and ends well", check


def main():
    build, source, *word = sys.argv[1:]
    with Room(build, source) as room:
        with open(room.path("text.txt"), "wb") as file:
            file.write(b"hello\n")
        with open(room.path("big"), "wb") as file:
            file.truncate(10_000_000)
        server = room.start_ours("http-serve", "--root", room.dir, "--post", "echo",
                                 "--log", "/dev/null", "http://127.0.0.1:0")
        port = int(re.search(r":(\d+)(\?|$)", server.uris(1)[0])[1])
        rows = [*cases(port), well_afterwards(server)]
        tap.run(row for row in rows if not word or word[0] in row[0])


main()
