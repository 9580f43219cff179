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
    /* Handshakes under way at once; 0: 1,024. More have to wait: until one is over, or the oldest,
     * which they have two seconds for, is given up. Those in shared memory beside TCP ports
     * (prefer_local) have as many again, for themselves. */
    uint32_t max_pending;
    uint32_t max_connections; /* of this listener at once; 0: no limit. More have to wait. */
    conduit_tls *tls;         /* identity, ALPN, client certificates. Counted, not copied. */
    conduit_conn_options conn;
    /* A connection that was accepted and never opened (a failed handshake), or accepting that ran
     * out of descriptors or memory: once for as long as that lasts. The listener goes on. `error`
     * is valid during the call. May be NULL. */
    void (*on_failed)(conduit_listener *listener, const conduit_error *error, void *user);
    /* As in conduit_connect_options: "reuse_port=1". */
    const char *endpoint_params;
    /* Connections at once from one peer: an IPv4 address, the /64 of an IPv6 address, the user of a
     * unix socket; 0: no limit. More are closed at once. Where a PROXY header tells of somebody
     * else, it is still the proxy that counts. */
    uint32_t max_per_peer;
    /* Stand in shared memory, too, beside each TCP port, for those of this machine who say the
     * same: docs/vchan.md. It is one more place of the listener, with the same layers and limits;
     * where it cannot be had, there is TCP alone. As a parameter: prefer_local=1, which comes
     * first. */
    bool prefer_local;
    /* Share the limits of that listener, of the same context, and what counts against them. */
    conduit_listener *limits_of;
    /* The end of conduit_listener_drain(): the last connection has gone. The listener is good until
     * this returns. */
    void (*on_gone)(conduit_listener *listener, void *user);
    void *reserved[2]; /* room to grow: keep zero */
} conduit_listen_options;

/*
 * Listen at `uri`: an endpoint scheme (tcp://:8080, tls://:8443?cert=c.pem&key=k.pem,
 * unix:/run/x.sock?mode=0660, inproc://name, vchan://0/port) or an application scheme whose host is
 * an address, "localhost" or empty. All of its endpoints are bound, or none. Accepted connections
 * get `handler` and `user`; on_open is their first event.
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

/*
 * Accept no more until resumed; who comes waits in the backlog. What was accepted goes on. They do
 * not count: one resume ends any number of pauses.
 *
 * A listener rests by itself where a limit is reached, and when descriptors run out: it tries again
 * after 5 ms, and after ever longer up to 50. Who waits is served when there is room. Only when
 * descriptors have been out for a second is who waits told so, by a reset, with the one descriptor
 * that is kept for this: a short shortage costs nobody a connection, and a long one nobody the time
 * until its own deadline.
 */
CONDUIT_API void conduit_listener_pause(conduit_listener *listener);
CONDUIT_API void conduit_listener_resume(conduit_listener *listener);

/*
 * The graceful end: who waits in the backlog is accepted, as far as the limits and descriptors
 * allow (others see a reset), then the sockets are closed. Handshakes and connections go on, as
 * conduit_ctx_drain() says, for `deadline_ms` at most. When the last has gone on_gone comes, and
 * the listener with it. Again, before that: another deadline.
 * conduit_listener_close() ends the drain, silently.
 */
CONDUIT_API void conduit_listener_drain(conduit_listener *listener, uint32_t deadline_ms);

CONDUIT_API void conduit_listener_counters(const conduit_listener *listener, conduit_counters *ret);

/* Canonical endpoint `i` with its real port; NULL past the last. Valid as long as the listener. */
CONDUIT_API const char *conduit_listener_uri(const conduit_listener *listener, size_t i);

/* The descriptor that endpoint `i` listens with, for a process that is to go on listening: as fd 3
 * of a child, say, whose URI is then "fd:3" (docs/transports.md, "Restart"). It stays the
 * listener's: not to be read from, closed or shut down. CONDUIT_EINVAL past the last;
 * CONDUIT_ENOTSUP where there is none (inproc). */
CONDUIT_API int conduit_listener_fd(const conduit_listener *listener, size_t i);

/*
 * Read the files of the listener's TLS configurations again: certificates, keys, anchors,
 * revocation lists, tickets' keys. All that is accepted from now on gets what is in them;
 * connections and handshakes that have begun go on with what they had.
 *
 * 0, or a negative code, conduit_ctx_error(), and all stays as it was: never is a certificate shown
 * with another's key. As the files may just be in the middle of being changed it is then tried
 * again for five seconds; if the reason changes meanwhile, on_failed hears of it. Without TLS it
 * does nothing. It reads files: not for a loop that serves from slow ones.
 *
 * With the key "watch" (tls.h) the listener does it by itself.
 */
CONDUIT_API int conduit_listener_reload(conduit_listener *listener);

/* Use another configuration (counted, not copied) from now on, as above, for the top TLS layer;
 * what the URI said of that one counts no more. 0, or CONDUIT_EINVAL (no TLS here), CONDUIT_ETLS
 * (unfit for a listener), and conduit_ctx_error(). */
CONDUIT_API int conduit_listener_set_tls(conduit_listener *listener, conduit_tls *tls);

CONDUIT_END
#endif
