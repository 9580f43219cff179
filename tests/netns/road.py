# SPDX-License-Identifier: ISC
"""Two network namespaces and a road between them: a TUN device in each, and a thread that carries the
packets from one to the other, late, or never. Both ends are the kernel's own TCP; nothing but /dev/net/tun
is asked of it (netem is a module that many kernels do not have).

    here, with us and our children      the road               there
        192.0.2.2             ────────  IPv4: a Way  ────────  192.0.2.1
        2001:db8::2           ────────  IPv6: a Way  ────────  2001:db8::1, and nobody at DEAD

The namespaces end with this process. Whatever of IPv6 or IPv4 is on the road obeys its Way as it is when
the packet sets out.
"""

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time

HERE, HERE6, THERE, THERE6 = "192.0.2.2", "2001:db8::2", "192.0.2.1", "2001:db8::1"
DEAD = [f"2001:db8::dead:{n}" for n in range(1, 9)] + [f"192.0.2.{n}" for n in range(101, 109)]
NEWNS, NEWNET = 0x20000, 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
PACKET = 65536
LIBC = ctypes.CDLL(None, use_errno=True)


class Way:
    """What becomes of the packets of one IP version. `round_trip` in seconds; `loss` as a share of one;
    `largest`: no packet with more bytes arrives; `closed`: none at all."""

    def __init__(self, round_trip=0.0, loss=0.0, largest=PACKET, closed=False):
        self.round_trip, self.loss, self.largest, self.closed = round_trip, loss, largest, closed

    def loses(self, packet, chance):
        return self.closed or len(packet) > self.largest or chance.random() < self.loss


def unshare(kinds):
    if LIBC.unshare(kinds) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def enter(namespace):
    """With this thread alone."""
    if LIBC.setns(namespace, NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def command(*words):
    subprocess.run(words, check=True, capture_output=True)


def keep_mounts_to_ourselves():
    """Where the root is no mount (chroot), who shares it with us would see what instead() does."""
    try:
        command("mount", "--make-rprivate", "/")
    except subprocess.CalledProcessError as why:
        raise OSError(why.stderr.decode().strip()) from None


def tun(name, addresses):
    """A TUN device of the namespace we are in; its descriptor."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    command("ip", "link", "set", "lo", "up")
    command("ip", "link", "set", name, "up")
    for address in addresses:
        command("ip", "address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
    return fd


class Road:
    def __init__(self):
        self.four, self.six = Way(), Way()
        self.chance = random.Random(8305)
        unshare(NEWNET)
        there = tun("there", [THERE + "/24", THERE6 + "/64"])
        self.there = os.open("/proc/self/ns/net", os.O_RDONLY)
        unshare(NEWNET | NEWNS)
        here = tun("here", [HERE + "/24", HERE6 + "/64"])
        keep_mounts_to_ourselves()
        self.ends = {here: there, there: here}
        self.queue = []
        threading.Thread(target=self._carry, daemon=True).start()

    def over_there(self):
        """What a command begins with that is to run at the other end."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.there}", "--"]

    @contextlib.contextmanager
    def at_other_end(self):
        """Sockets that are made meanwhile, by this thread, are there."""
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            enter(self.there)
            yield
        finally:
            enter(here)
            os.close(here)

    def set(self, four=None, six=None):
        self.four, self.six = four or Way(), six or Way()

    def _carry(self):
        hurry()
        count = 0
        while True:
            wait = max(0, self.queue[0][0] - time.monotonic()) if self.queue else None
            for end in select.select(list(self.ends), [], [], wait)[0]:
                count += 1
                self._take(os.read(end, PACKET), self.ends[end], count)
            while self.queue and self.queue[0][0] <= time.monotonic():
                _, _, end, packet = heapq.heappop(self.queue)
                os.write(end, packet)

    def _take(self, packet, end, count):
        way = self.six if packet[0] >> 4 == 6 else self.four
        if not way.loses(packet, self.chance):
            heapq.heappush(self.queue, (time.monotonic() + way.round_trip / 2, count, end, packet))


def hurry():
    """Before others who want the processor, where that is allowed: of the thread that calls."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -15)
    except OSError:
        pass


def instead(path, text, folder):
    """Let a file of the system say something else, to us and our children only."""
    ours = os.path.join(folder, os.path.basename(path))
    with open(ours, "w", encoding="utf-8") as file:
        file.write(text)
    command("mount", "--bind", ours, path)
