/* SPDX-License-Identifier: ISC */
/* The inside of a connection: connection.c says how it moves, conduit/connection.h what it
 * promises. */
#ifndef CDT_CONNECTION_H
#define CDT_CONNECTION_H

#include "context.h"
#include "crowd.h"
#include "deadlines.h"
#include "layer.h"
#include "manner.h"
#include "queue.h"
#include "tally.h"
#include "upgrade.h"

struct cdt_connect;
struct cdt_conn_info;
struct cdt_stay;

enum cdt_conn_state {
    CDT_OPENING, /* connect.c is at work */
    CDT_OPEN,
    CDT_CLOSING, /* conduit_close() is flushing and saying goodbye */
    CDT_CLOSED,  /* on_close is due; nothing else comes before it */
    CDT_GONE,    /* it came, or conduit_conn_free() was called */
};

struct conduit_conn {
    conduit_ctx *ctx;
    struct conduit_conn *prev, *next; /* in ctx->conns */
    struct cdt_path *path;            /* from on_open on */
    struct cdt_connect *connect;      /* while opening; NULL on accepted ones */
    struct cdt_upgrade *upgrade;      /* while TLS begins; NULL */
    struct cdt_stay *stay;            /* its place in a pool; NULL: none */
    struct cdt_tally *tally; /* its listener's, a reference; NULL on those that were dialled */
    struct cdt_guest guest;  /* ... and among whom it counts there */
    void *user;
    enum cdt_conn_state state;
    unsigned want; /* what the path was last told to report */
    unsigned pins; /* frames that hold on to it */

    bool dialled;  /* we made it; it was not accepted */
    bool reused;   /* ... once before: its path was idle in a pool */
    bool released; /* ... and its path is there, or has gone on from there */
    bool paused;
    bool peer_ended; /* the peer's direction has ended */
    bool ending;     /* ours is to end after the queue */
    bool ended;      /* ... and has */
    bool full;       /* conduit_write() said 1; on_drain is owed */
    bool woken;      /* conduit_wake(): so it is from the next turn on */
    bool held;       /* what is queued was not offered to the path yet */
    bool read_again; /* look for bytes that no readiness will announce */
    bool broken;     /* a write failed; what the peer sent before is still read */
    bool layered;    /* the top of the path holds bytes, in either direction: TLS does */
    bool unflushed;  /* ... what was written, perhaps */
    bool reset;      /* let the peer see a break */
    bool takes_fds;  /* read descriptors beside the bytes */
    bool fd_waits;   /* conduit_send_fd() said EAGAIN; on_drain is owed when all is empty */

    struct cdt_queue queue;
    struct cdt_task task; /* deliver on_close, or serve again */
    struct cdt_deadlines deadlines;
    struct cdt_timer deadline; /* the next look at them */
    const conduit_error *why;
    const conduit_error *failed; /* attempts that did before this connection opened; NULL: none */
    uint64_t sent_before;        /* of its path, when it opened */
    uint64_t bytes_in, bytes_out, drain_mark, drain_mark_ms;
    struct cdt_manner *manner; /* a reference */

    uint64_t since_ns; /* connect, or accept; 0: nobody traces */
    double resolve_ms, open_ms;
    char *uri;                           /* as it was dialled; NULL on accepted ones */
    const conduit_endpoint *accepted_at; /* a reference; NULL on those that were dialled */
    struct cdt_conn_info *info;          /* made when asked for */
};

/* A connection in state CDT_OPENING. `uri` is copied (NULL: it is accepted, and `accepted_at` will
 * say where); takes a reference on `manner`. NULL when out of memory. */
struct conduit_conn *cdt_conn_new(conduit_ctx *ctx, const char *uri, struct cdt_manner *manner,
                                  void *user);
/* The path is open and the connection's from now on: on_open is called. Not from within the user's
 * own calls. */
void cdt_conn_opened(struct conduit_conn *conn, struct cdt_path *path);
/* It ends here: on_close comes from the run-queue, with `why` (a reference, taken over; NULL for a
 * clean end). */
void cdt_conn_finish(struct conduit_conn *conn, const conduit_error *why);

/* ... with the path's own account of what went wrong. */
void cdt_conn_finish_failed(struct conduit_conn *conn);
/* Abort, in somebody else's name: `why` is a reference, taken over. */
void cdt_conn_abort(struct conduit_conn *conn, const conduit_error *why);
/* Something changed outside of the connection's turn: it will be seen to before the loop polls. */
void cdt_conn_serve_soon(struct conduit_conn *conn);
/* The URI of its endpoint; NULL while there is no path. */
const char *cdt_conn_where(const struct conduit_conn *conn);
void cdt_conn_info_free(struct cdt_conn_info *info);

/* Are its bytes ours to move? Not while TLS begins on it. */
static inline bool cdt_conn_live(const struct conduit_conn *conn)
{
    bool ours = conn->upgrade == NULL || !conn->upgrade->shaking;
    return ours && (conn->state == CDT_OPEN || conn->state == CDT_CLOSING);
}

#endif
