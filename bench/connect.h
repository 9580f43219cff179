/* SPDX-License-Identifier: ISC */
/*
 * Connecting by name, one after another: what the programs connect-*.c share, so that each shows
 * nothing but its own library. Each says how to get ready and how to connect once; connect_main()
 * repeats it and measures.
 *
 *   connect-X URI TIMES ANCHOR ADDRESS SERVER
 *
 * connects to URI (tcp://NAME:PORT or tls://NAME:PORT) that many times, after a first one that does
 * not count, and prints {"connects": ..., "seconds": ..., "cpu": ...}: its own processor time.
 */
#ifndef BENCH_CONNECT_H
#define BENCH_CONNECT_H

#include <stdbool.h>

struct connect_to {
    const char *uri;
    const char *host;
    unsigned port;
    bool tls;
    const char *anchor;  /* the file with the certificate to trust */
    const char *address; /* of a name that the system does not know: for a cache that is filled by
                            hand; "" for one that it does */
    const char *server;  /* ... and the DNS server that knows it: for one that fills itself */
};

/* Defined by each program. They end it when something fails. `to` lives as the program. */
void connect_begin(const struct connect_to *to);
/* Connect, with TLS to the end of the handshake, and close. */
void connect_once(void);

/* main() of each program. */
int connect_main(int argc, char **argv);

#endif
