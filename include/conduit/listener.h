/* SPDX-License-Identifier: ISC */
/*
 * A listener: a URI to be reached at; gives connections.
 *
 * One listener may stand on several sockets: tcp://:8080 is one for IPv4 and one for IPv6
 * (IPV6_V6ONLY), bound both or not at all. The library owns it; the pointer is good until
 * conduit_listener_close().
 */
#ifndef CONDUIT_LISTENER_H
#define CONDUIT_LISTENER_H

#include <conduit/connection.h>

CONDUIT_BEGIN

typedef struct conduit_listener conduit_listener;

typedef struct conduit_listen_options {
    int backlog;                   /* 0: 511, as far as the kernel allows */
    uint32_t handshake_timeout_ms; /* from accept to open; 0: 10,000 */
    uint32_t max_pending;          /* handshakes under way at once; 0: 1,024. More have to wait. */
    conduit_tls *tls;              /* identity, ALPN, client certificates. Counted, not copied. */
    conduit_conn_options conn;
    /* A connection that was accepted and never opened (a failed handshake), or an accept that
     * failed (descriptors ran out). The listener goes on. `error` is valid during the call. May be
     * NULL. */
    void (*on_failed)(conduit_listener *listener, const conduit_error *error, void *user);
    /* As in conduit_connect_options: "reuse_port=1". */
    const char *endpoint_params;
    void *reserved[5]; /* room to grow: keep zero */
} conduit_listen_options;

/*
 * Listen at `uri`: an endpoint scheme (tcp://:8080, tls://:8443?cert=c.pem&key=k.pem,
 * unix:/run/x.sock?mode=0660, inproc://name) or an application scheme whose host is an address,
 * "localhost" or empty. All of its endpoints are bound, or none. Accepted connections get `handler`
 * and `user`; on_open is their first event.
 *
 * Returns 0 and the listener in *ret (which may be NULL), or a negative code: CONDUIT_EURI, EINVAL,
 * ENOTSUP, EADDRINUSE, EACCESS, ETLS (certificate or key unfit), ENOMEM, EIO; conduit_ctx_error()
 * says more.
 */
CONDUIT_API int conduit_listen(conduit_ctx *ctx, const char *uri,
                               const conduit_listen_options *options,
                               const conduit_handler *handler, void *user, conduit_listener **ret);

/* Stop listening: sockets closed, a unix path removed if it is still ours, pending handshakes
 * dropped. Connections that were accepted live on. No callback comes for the listener any more; the
 * pointer is invalid. NULL is fine. */
CONDUIT_API void conduit_listener_close(conduit_listener *listener);

/* Canonical endpoint `i` with its real port; NULL past the last. Valid as long as the listener. */
CONDUIT_API const char *conduit_listener_uri(const conduit_listener *listener, size_t i);

/* The descriptor that endpoint `i` listens with, for a process that is to go on listening: as fd 3 of
 * a child, say, whose URI is then "fd:3" (docs/transports.md, "Restart"). It stays the listener's:
 * not to be read from, closed or shut down. CONDUIT_EINVAL past the last; CONDUIT_ENOTSUP where there
 * is none (inproc). */
CONDUIT_API int conduit_listener_fd(const conduit_listener *listener, size_t i);

CONDUIT_END
#endif
