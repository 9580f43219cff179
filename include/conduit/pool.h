/* SPDX-License-Identifier: ISC */
/*
 * A pool: connections that outlive one use of them, below any protocol.
 *
 *     conduit_pool *pool = conduit_pool_new(ctx, NULL);
 *     const conduit_connect_options how = {.pool = pool};
 *     conduit_connect(ctx, "https://example.org/a", &how, &handler, request, NULL);
 *     ...
 *     conduit_release(conn);      the answer is complete: instead of conduit_close()
 *
 * With `pool` a connect takes an idle connection to the same origin if there is one, dials if there
 * may be another, and waits for its turn otherwise. Whichever it was, the caller gets a
 * conduit_conn of its own: on_open comes, deadlines and counts begin anew, on_close is last, and
 * the ten rules of conduit.h hold as of any other. What is kept is the path below it, from
 * conduit_release() on.
 *
 * Two connects have the same origin if all is equal that decides who is reached and how: the URI
 * but for what is the application's in it (user, host and port count; path and query do not), the
 * place that rules lead to, `name`, the TLS configuration (the object, not what it says) and ALPN,
 * `via`, `connect_to`, `family`, `endpoint_params` and `pool_key`. Addresses do not count.
 *
 * Of an idle connection nothing is expected: if the peer ends it, breaks it or says anything it is
 * thrown away, and it is looked at once more right before it is given to somebody. It does not keep
 * conduit_run() going. All of this belongs to the context's thread.
 */
#ifndef CONDUIT_POOL_H
#define CONDUIT_POOL_H

#include <conduit/connection.h>

CONDUIT_BEGIN

/* Zero is the default. */
typedef struct conduit_pool_options {
    uint32_t idle_ms;        /* an idle connection is kept that long; 0: 60,000 */
    uint32_t lifetime_ms;    /* one older than that is not kept; 0: 600,000: so names are looked up
                                again some time */
    uint32_t max_per_origin; /* connections: in use, being opened and idle; 0: 6 */
    uint32_t max_idle;       /* of all origins; the one that has been idle longest goes; 0: 100 */
    uint32_t max_waiting; /* connects of one origin that wait; 0: 1,024. One more: CONDUIT_ELIMIT */
    void *reserved[4];    /* room to grow: keep zero */
} conduit_pool_options;

/* NULL when out of memory, or the context is ending. `options` may be NULL. Ended by
 * conduit_pool_free() or with the context, whichever is first: conduit_ctx_free() closes what is
 * idle, and the pool is good until the last on_close that comes of it has returned. */
CONDUIT_API conduit_pool *conduit_pool_new(conduit_ctx *ctx, const conduit_pool_options *options);

/* Idle connections are closed, and connects that wait for their turn end with CONDUIT_ECANCELED.
 * Those that are open or being opened go on, and their release is a close. The pointer is invalid
 * from now on. NULL is fine. */
CONDUIT_API void conduit_pool_free(conduit_pool *pool);

/* Close what is idle now, of every origin. */
CONDUIT_API void conduit_pool_clear(conduit_pool *pool);

/* Flags of conduit_connect_options.pool_flags. */
enum {
    /* Not one that was used before: for a second try after a stale one. */
    CONDUIT_POOL_FRESH = 1,
    /* The caller's protocol can share a connection: see conduit_pool_share(). */
    CONDUIT_POOL_SHARES = 2,
};

/*
 * conduit_close(), but the path is kept for the next. on_close comes, with NULL, and from now on
 * conduit_conn_info() is NULL. It is kept only if nothing is on its way: nothing queued, neither
 * direction ended, no byte that has come and was not read, no conduit_upgrade(); otherwise, and
 * without a pool, this is conduit_close(), and before on_open it is a cancel. The protocol has to
 * know that the answer was complete, and that whoever is next may start from here.
 */
CONDUIT_API void conduit_release(conduit_conn *conn);

/*
 * Several users on one connection is the protocol's affair (HTTP/2's streams): the pool only makes
 * them meet. With CONDUIT_POOL_SHARES, while one of an origin is being opened others wait to see
 * what becomes of it. If its owner says in on_open that it is shared (say, because ALPN is "h2"),
 * they end with CONDUIT_EAGAIN, and so does each later such connect: conduit_pool_shared() is the
 * connection, with its owner as conduit_conn_user(). If he does not, each gets one of its own.
 *
 * `share` false: nobody else is to come (GOAWAY, no stream left). A release says so, too. Returns
 * 0, or CONDUIT_EINVAL: it is not open, or of no pool.
 */
CONDUIT_API int conduit_pool_share(conduit_conn *conn, bool share);

/* The oldest open shared connection of the origin that a connect to `uri` with `options` would
 * have, or NULL. Borrowed: it is its owner's. */
CONDUIT_API conduit_conn *conduit_pool_shared(conduit_pool *pool, const char *uri,
                                              const conduit_connect_options *options);

/*
 * How one connection fails matters to others. A dial that fails ends the wait of all who wait for
 * that origin, with its error, if no other connection to it is there or being opened: nobody runs
 * into the same wall one after another. If there is one, it ends nobody's wait but its own.
 * A deadline or a cancel of its own is no failure of the origin. `timeout_ms` counts from
 * conduit_connect(), waiting included.
 */

/* What may be done about a connection that has ended, or failed, without an answer. */
typedef enum conduit_retry {
    /* The peer may have acted on what was sent. */
    CONDUIT_RETRY_UNSAFE = 0,
    /* Not a byte of what was written has left: as if it had never been. */
    CONDUIT_RETRY_SAFE,
    /* It was a used connection, and the peer ended or broke it before a byte of an answer came:
     * most likely it had been about to close it when the request was on its way. What may be done
     * twice may be tried again, with CONDUIT_POOL_FRESH. */
    CONDUIT_RETRY_STALE,
} conduit_retry;

/* In on_close; before that, as if it ended now. Of any connection. */
CONDUIT_API conduit_retry conduit_conn_retry(const conduit_conn *conn);

/* Was the path used before? From on_open on; it stays so in on_close. */
CONDUIT_API bool conduit_conn_reused(const conduit_conn *conn);

typedef struct conduit_pool_counters {
    uint64_t idle, used, opening, waiting; /* now */
    uint64_t reused;                       /* times that an idle connection was given to somebody */
    uint64_t dropped; /* idle ones that had ended, or on which the peer spoke out of turn */
    uint64_t expired; /* idle ones that had been so for too long, or were too many */
    uint64_t reserved[9];
} conduit_pool_counters;

CONDUIT_API void conduit_pool_count(const conduit_pool *pool, conduit_pool_counters *ret);

CONDUIT_END
#endif
