# SPDX-License-Identifier: ISC
"""Conduit in Python, small enough to read.

    ctx = conduit.Context()
    ctx.listen("tcp://:7000", on_data=lambda conn, data: conn.write(data))
    ctx.run()

Handlers are functions: on_open(conn), on_data(conn, data), on_drain(conn), on_end(conn),
on_close(conn, why). What they raise ends run(), which raises it again; in asyncio it is `await
ctx.arun()`, and other tasks run meanwhile and may call what is here. The declarations are read
from the library's own headers, so they cannot say anything else than it does: CONDUIT_INCLUDE and
CONDUIT_LIBRARY tell where both are if they are not installed.
"""

import asyncio
import itertools
import os
import re
import subprocess

import cffi

PATIENCE_MS = 200  # of a signal, which Python looks at between two calls
HEADERS = "export error uri endpoint memory tls context connection listener".split()


def _include():
    """The folder that has conduit/conduit.h."""
    given = os.environ.get("CONDUIT_INCLUDE")
    return given or subprocess.run(["pkg-config", "--cflags-only-I", "conduit"], text=True, check=True,
                                   capture_output=True).stdout.strip().removeprefix("-I")


def _declarations(folder):
    """The headers without what is for the preprocessor."""
    text = "struct uv_loop_s; struct sockaddr; struct iovec { void *iov_base; size_t iov_len; };\n"
    for name in HEADERS:
        with open(os.path.join(folder, "conduit", name + ".h"), encoding="utf-8") as file:
            text += file.read()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    codes = ", ".join(f"CONDUIT_{name} = {n}" for name, n in re.findall(r"X\((\w+), +(-\d+),", text))
    text = text.replace("CONDUIT_CODE_MAP(CONDUIT_CODE_ENUM)", codes)
    text = re.sub(r"^#.*?[^\\\n]$|^#$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"\bCONDUIT_(API|BEGIN|END|\w+_MAP\(\w+\))", "", text)


ffi = cffi.FFI()
ffi.cdef(_declarations(_include()))
lib = ffi.dlopen(os.environ.get("CONDUIT_LIBRARY", "libconduit-net.so.0"))


def _text(chars):
    return ffi.string(chars).decode()


class Error(Exception):
    """`code` is "EREFUSED", "ETRUST" and the like; str() is the whole line."""

    def __init__(self, why):
        super().__init__(_text(lib.conduit_error_text(why)))
        self.code = _text(lib.conduit_code_name(lib.conduit_error_code(why)))


def _check(code, ctx):
    if code < 0:
        raise Error(lib.conduit_ctx_error(ctx))


class Conn:
    """Good until on_close has returned; from then on its methods do nothing."""

    def __init__(self, owner, handlers):
        self._owner, self._handlers, self._handle = owner, handlers, ffi.new_handle(self)
        self._c = ffi.NULL
        owner._alive.add(self)

    def write(self, data):
        """False: enough is waiting, on_drain will come."""
        code = lib.conduit_write(self._c, data, len(data)) if self._c else -1
        self._owner._touched()
        return code == 0

    def info(self, name):
        """A string of conduit_info: "peer", "endpoint", "stack"."""
        return _text(getattr(lib.conduit_conn_info(self._c), name))

    def _call(self, event, *values):
        if event in self._handlers:
            self._handlers[event](self, *values)


def _add_method(name, function):
    def method(self):
        if self._c:
            function(self._c)
            self._owner._touched()
    setattr(Conn, name, method)


for _name, _function in {
        "end": lib.conduit_end, "close": lib.conduit_close, "abort": lib.conduit_abort,
        "pause": lib.conduit_pause, "resume": lib.conduit_resume}.items():
    _add_method(_name, _function)


# ---- from C

def _raised(_, error, __):
    Context.running._fail(error)


def _callback(declaration):
    return ffi.callback(declaration, onerror=_raised)


@_callback("void(conduit_conn *, void *)")
def _on_open(_, user):
    ffi.from_handle(user)._call("on_open")


@_callback("void(conduit_conn *, void *)")
def _on_accepted(c, listener):
    ffi.from_handle(listener).accept(c)._call("on_open")


@_callback("void(conduit_conn *, const void *, size_t, void *)")
def _on_data(_, data, n, user):
    ffi.from_handle(user)._call("on_data", bytes(ffi.buffer(data, n)))


@_callback("void(conduit_conn *, void *)")
def _on_drain(_, user):
    ffi.from_handle(user)._call("on_drain")


@_callback("void(conduit_conn *, void *)")
def _on_end(_, user):
    conn = ffi.from_handle(user)
    conn._call("on_end")
    if "on_end" not in conn._handlers:
        conn.close()


@_callback("void(conduit_conn *, const conduit_error *, void *)")
def _on_close(_, why, user):
    conn = ffi.from_handle(user)
    conn._owner._alive.discard(conn)
    try:
        conn._call("on_close", Error(why) if why else None)
    finally:
        conn._c = ffi.NULL


def _table(on_open):
    return ffi.new("conduit_handler *", {"on_open": on_open, "on_data": _on_data, "on_drain": _on_drain,
                                         "on_end": _on_end, "on_close": _on_close})


_dialling, _listening = _table(_on_open), _table(_on_accepted)


# ---- contexts

class Listener:
    def __init__(self, owner, handlers):
        self._owner, self._handlers, self._handle = owner, handlers, ffi.new_handle(self)
        self._c = ffi.new("conduit_listener **")
        owner._alive.add(self)

    def accept(self, c):
        conn = Conn(self._owner, self._handlers)
        conn._c = c
        lib.conduit_conn_set_user(c, conn._handle)
        return conn

    def uris(self):
        found = (lib.conduit_listener_uri(self._c[0], i) for i in itertools.count())
        return [_text(uri) for uri in itertools.takewhile(bool, found)]


class Context:
    """One loop. `run()` returns when nothing is left to do, or after `stop()`. `free()`, or the end of
    a `with`, ends all that is on it."""

    running = None

    def __init__(self):
        self._c = lib.conduit_ctx_new(ffi.NULL)
        self._alive, self._raised = set(), None  # what C has handles of must not be collected
        self._loop = self._timer = None  # asyncio's, inside of arun()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.free()

    def connect(self, uri, tls=(), name=None, via=None, **handlers):
        """`tls` are pairs for conduit_tls_set(): [("ca", "ca.pem")]."""
        conn, ret = Conn(self, handlers), ffi.new("conduit_conn **")
        texts = [ffi.new("char[]", t.encode()) if t else ffi.NULL for t in (name, via)]
        options = ffi.new("conduit_connect_options *", {"name": texts[0], "via": texts[1]})
        options.tls = config = self._tls(tls)
        try:
            _check(lib.conduit_connect(self._c, uri.encode(), options, _dialling, conn._handle, ret),
                   self._c)
        except Error:
            self._alive.discard(conn)
            raise
        finally:
            lib.conduit_tls_unref(config)
        conn._c = ret[0]
        self._touched()
        return conn

    def listen(self, uri, **handlers):
        listener = Listener(self, handlers)
        _check(lib.conduit_listen(self._c, uri.encode(), ffi.NULL, _listening, listener._handle,
                                  listener._c), self._c)
        self._touched()
        return listener

    def run(self):
        Context.running = self
        while lib.conduit_run_for(self._c, PATIENCE_MS) == lib.CONDUIT_ETIMEDOUT:
            pass
        self._raise()

    async def arun(self):
        self._loop, fd = asyncio.get_running_loop(), lib.conduit_ctx_fd(self._c)
        self._ended = self._loop.create_future()
        self._loop.add_reader(fd, self._turn)
        self._turn()
        try:
            await self._ended
        finally:
            self._loop.remove_reader(fd)
            self._wait(-1)
            self._loop = None
        self._raise()

    def _turn(self):
        Context.running, loop, self._loop = self, self._loop, None  # what is called meanwhile is part of it
        code = lib.conduit_run_for(self._c, 0)
        self._loop = loop
        if code == lib.CONDUIT_ETIMEDOUT:
            self._touched()
        elif not self._ended.done():
            self._ended.set_result(None)

    def _touched(self):
        if self._loop is not None:
            self._wait(lib.conduit_ctx_timeout(self._c))

    def _wait(self, ms):
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(ms / 1000, self._turn) if ms >= 0 else None

    def _raise(self):
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised

    def free(self):
        Context.running = self
        lib.conduit_ctx_free(self._c)

    def stop(self):
        lib.conduit_stop(self._c)
        self._touched()

    def _fail(self, error):
        self._raised = self._raised or error
        self.stop()

    @staticmethod
    def _tls(pairs):
        config = lib.conduit_tls_new() if pairs else ffi.NULL
        why = ffi.new("const conduit_error **")
        for key, value in pairs:
            if lib.conduit_tls_set(config, key.encode(), value.encode(), why) < 0:
                error = Error(why[0])
                lib.conduit_error_unref(why[0])
                lib.conduit_tls_unref(config)
                raise error
        return config
