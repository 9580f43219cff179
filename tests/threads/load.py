#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A load on examples/threads: several contexts, one port, and an end from another thread.

    load.py THREADS-PROGRAM          results in TAP

Under the thread sanitizer a race is an exit status of the program's, and so a failure here.
CONDUIT_THREADS is the number of connections; 400 without.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import threading

CONNECTIONS = int(os.environ.get("CONDUIT_THREADS", "400"))
CALLERS = 4
PATIENCE = 60


def call(port, times, failures):
    try:
        for i in range(times):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as s:
                sent = os.urandom(1 + i * 977 % 20000)
                threading.Thread(target=lambda: (s.sendall(sent), s.shutdown(socket.SHUT_WR))).start()
                got = b"".join(iter(lambda: s.recv(65536), b""))
                assert got == sent, f"{len(sent)} bytes sent, {len(got)} came back, or others"
    except Exception as error:  # a thread's exceptions are lost otherwise
        failures.append(repr(error))


def load(program, threads):
    server = subprocess.Popen([program, str(threads), "tcp://127.0.0.1:0"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    failures = []
    try:
        port = int(re.search(r":(\d+)\?", server.stdout.readline())[1])
        callers = [threading.Thread(target=call, args=(port, CONNECTIONS // CALLERS, failures))
                   for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=PATIENCE)
    finally:
        server.kill()
    served = [int(n) for n in re.findall(r"^thread \d+: (\d+) connections", out, re.MULTILINE)]
    assert not failures, failures[:3]
    assert server.returncode == 0, f"exit {server.returncode}: {err}"
    assert len(served) == threads and sum(served) == CONNECTIONS // CALLERS * CALLERS, out
    assert threads == 1 or sum(n > 0 for n in served) > 1, f"one thread has it all: {out}"


def main():
    rows = [1, 4]
    failed = 0
    print(f"1..{len(rows)}")
    for number, threads in enumerate(rows, 1):
        title = f"{CONNECTIONS} connections to {threads} thread{'s' if threads > 1 else ''}"
        try:
            load(sys.argv[1], threads)
            print(f"ok {number} - {title}", flush=True)
        except Exception as error:
            print(f"not ok {number} - {title}")
            print("\n".join("# " + line for line in str(error).splitlines()), flush=True)
            failed = 1
    sys.exit(failed)


if __name__ == "__main__":
    main()
