/* SPDX-License-Identifier: ISC */
/*
 * Connections that wait: the same engine, for scripts, tests and libraries that block.
 *
 *     conduit_blocking *b;
 *     const conduit_error *why;
 *     char answer[4096];
 *     if (conduit_blocking_connect("https://example.org/", NULL, &b, &why) < 0)
 *         return complain(why);
 *     conduit_blocking_write(b, "GET / HTTP/1.0\r\n\r\n", 18, 5000);
 *     while ((n = conduit_blocking_read(b, answer, sizeof(answer), 5000)) > 0)
 *         fwrite(answer, 1, n, stdout);
 *     conduit_blocking_close(b, 1000);
 *
 * Each connection has a private context, or one of the caller's that has rules and resolvers of its
 * own. Nothing moves between calls: what was written has been handed to the transport when a write
 * returns, and what comes is left with the transport until a read wants it. Names are raced and TLS
 * is verified as everywhere.
 *
 * A connection (and a listener with all that it accepted, and all that share a context) is used by
 * one thread at a time. No call may be made from a callback of the context.
 *
 * A deadline is in milliseconds from the call; CONDUIT_FOREVER is none. One that passes leaves the
 * connection as it was: the same call may be made again.
 */
#ifndef CONDUIT_BLOCKING_H
#define CONDUIT_BLOCKING_H

#include <conduit/connection.h>
#include <conduit/listener.h>
#include <sys/socket.h>

CONDUIT_BEGIN

#define CONDUIT_FOREVER UINT32_MAX

typedef struct conduit_blocking conduit_blocking;
typedef struct conduit_blocking_listener conduit_blocking_listener;

/* Zero is the default. */
typedef struct conduit_blocking_options {
    /* Outlives all that is made on it; its loop is its own, and runs inside these calls only. NULL:
     * a private one. */
    conduit_ctx *ctx;
    conduit_connect_options connect; /* the deadline of a connect is its timeout_ms */
    conduit_listen_options listen;   /* its on_failed is called inside accept */
    void *reserved[4];               /* room to grow: keep zero */
} conduit_blocking_options;

/* Connect to `uri`: the whole stack is ready when this returns 0 and *ret. Or a negative code of
 * connect or of why it failed, and in *reterr (if not NULL) the error, which the caller unrefs.
 * `options` may be NULL. */
CONDUIT_API int conduit_blocking_connect(const char *uri, const conduit_blocking_options *options,
                                         conduit_blocking **ret, const conduit_error **reterr);

/*
 * Read what there is, at least one byte and at most `n`. Returns
 *   > 0                 so many bytes
 *   0                   the peer has ended its direction, properly; again at every later call
 *   CONDUIT_ETIMEDOUT   nothing came in time; the connection is as it was
 *   another code        the connection has ended: conduit_blocking_error() says why
 */
CONDUIT_API ssize_t conduit_blocking_read(conduit_blocking *b, void *buf, size_t n,
                                          uint32_t timeout_ms);

/*
 * Write `n` bytes. Returns `n`; or fewer, when the deadline passed: those are on their way, and the
 * rest was not taken. CONDUIT_ETIMEDOUT if that is none of them. Or the code of the end of the
 * connection, CONDUIT_ECLOSED after conduit_blocking_end().
 */
CONDUIT_API ssize_t conduit_blocking_write(conduit_blocking *b, const void *data, size_t n,
                                           uint32_t timeout_ms);

/* End our direction (FIN, close_notify); reading goes on. 0, CONDUIT_ETIMEDOUT (what was written
 * before is still on its way; call again), or the code of the end of the connection. */
CONDUIT_API int conduit_blocking_end(conduit_blocking *b, uint32_t timeout_ms);

/* Close gracefully, within the deadline; by force after it, which only matters to the peer if it
 * has not been sent everything by then: CONDUIT_ETIMEDOUT. The pointer is invalid in any case.
 * Returns 0, or the code of what went wrong. NULL is fine. */
CONDUIT_API int conduit_blocking_close(conduit_blocking *b, uint32_t timeout_ms);

/* As close, but with a pool (options.connect.pool, of a context of the caller's) the path is kept for
 * the next that connects there, if nothing is on its way: conduit_release(). */
CONDUIT_API int conduit_blocking_release(conduit_blocking *b, uint32_t timeout_ms);

/* Why the connection ended; NULL if it has not, or ended properly. Borrowed from `b`. */
CONDUIT_API const conduit_error *conduit_blocking_error(const conduit_blocking *b);

/* As conduit_conn_info(); NULL when the connection has ended. */
CONDUIT_API const conduit_info *conduit_blocking_info(conduit_blocking *b);

/* Listen at `uri`, as conduit_listen(). Returns and *reterr as of conduit_blocking_connect(). */
CONDUIT_API int conduit_blocking_listen(const char *uri, const conduit_blocking_options *options,
                                        conduit_blocking_listener **ret,
                                        const conduit_error **reterr);

/* The next connection whose stack is ready. 0 and *ret, CONDUIT_ETIMEDOUT, or CONDUIT_ENOMEM. What
 * was accepted may outlive the listener. Connections are accepted inside this call only. */
CONDUIT_API int conduit_blocking_accept(conduit_blocking_listener *l, conduit_blocking **ret,
                                        uint32_t timeout_ms);

/* As conduit_listener_uri(). */
CONDUIT_API const char *conduit_blocking_listener_uri(const conduit_blocking_listener *l, size_t i);

/* Connections that nobody has accepted are aborted. NULL is fine. */
CONDUIT_API void conduit_blocking_listener_close(conduit_blocking_listener *l);

CONDUIT_END
#endif
