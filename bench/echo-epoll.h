/* SPDX-License-Identifier: ISC */
/*
 * The bare epoll echo: echo-epoll.c has the loop and the plain echo, echo-epoll-tls.c the two ways
 * to put OpenSSL on it.
 *
 * A client is freed by the loop as soon as one of its functions says false.
 */
#ifndef BENCH_ECHO_EPOLL_H
#define BENCH_ECHO_EPOLL_H

#include "peer.h"

#include <stddef.h>

enum { READ_SIZE = 64 * 1024 };

struct client {
    int fd;
    SSL *ssl;   /* NULL without TLS */
    char *rest; /* that the socket did not take; NULL */
    size_t n_rest;
    bool writing; /* it is waited for until it takes more, and not read from */
};

struct manner {
    bool (*begin)(struct client *client); /* NULL: there is nothing to do */
    bool (*read)(struct client *client);  /* what came, and the answer to it */
    bool (*send_rest)(struct client *client);
};

/* OpenSSL has the socket and reads and writes it by itself. */
extern const struct manner with_socket;
/* OpenSSL reads from one buffer of the whole loop, and writes into one. */
extern const struct manner with_shared_buffers;

/* For either of them; `shared` says for which. */
void tls_begin(const struct peer_address *address, bool shared);

void wait_to_write(struct client *client, bool wait);
bool keep_rest(struct client *client, const char *bytes, size_t n);
/* Send at once; what is not taken is kept. False: the socket is done for. */
bool send_or_keep(struct client *client, const char *bytes, size_t n);
bool send_kept(struct client *client);

#endif
