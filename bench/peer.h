/* SPDX-License-Identifier: ISC */
/*
 * What the programs of the bench share, so that each of them shows nothing but its own library:
 * where to listen or connect, the socket for it, the line that says "listening", and the TLS that
 * every server serves with.
 *
 * Everything here is for start-up: a failure prints one line on stderr and ends the program with
 * status 1.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

/* tcp://127.0.0.1:0, unix:/tmp/x.sock, tls://127.0.0.1:0?cert=c.pem&key=k.pem: the library's own
 * way to write it. */
struct peer_address {
    bool tls;
    union {
        struct sockaddr any;
        struct sockaddr_in tcp;
        struct sockaddr_un local;
    } at;
    socklen_t len;
    char cert[256];
    char key[256];
};

/* What a server was called with: NAME [--sink] [OPTION] URI... */
struct peer_args {
    bool other; /* the option of its own was given */
    int n;
    char **uris; /* that listen together */
};

/* Throw away what comes, instead of sending it back. */
extern bool peer_is_sink;

/* Ends the program with status 2 if it makes no sense. `option`: the program's own; NULL. */
struct peer_args peer_args(int argc, char **argv, const char *option);

/* Only loopback and Unix paths: a bench has no business on a network. */
void peer_parse(const char *uri, struct peer_address *ret);

/* A non-blocking socket that listens at `address`. */
int peer_listen(const struct peer_address *address);

/* "listening tcp://127.0.0.1:41234", with the real port, flushed. */
void peer_announce(const struct peer_address *address, int listening);

/* A blocking socket connected to `address`. */
int peer_connect(const struct peer_address *address);

/* No waiting for more bytes to fill a segment (RFC 896), as every server here does it. Harmless
 * on a Unix socket. */
void peer_send_at_once(int fd);

/* The server's side of TLS: certificate and key of `address`, TLS 1.2 or newer. Never freed: it
 * lives as the program. */
SSL_CTX *peer_tls(const struct peer_address *address);

#endif
