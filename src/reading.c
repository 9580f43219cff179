/* SPDX-License-Identifier: ISC */
/*
 * The peer's direction of a connection: what has come, and its end, on their way to the user.
 *
 * Bytes are read into the one buffer of the context and handed on before the next are. A connection
 * that is closing goes on reading, to see the peer's end, and tells nobody. Pausing is nothing but
 * not asking: the path's own limits hold the peer back.
 */
#include "reading.h"
#include "endpoint.h"
#include "overdue.h"
#include "passing.h"
#include "thread.h"
#include <unistd.h>

enum { READS_PER_TURN = 8 }; /* full buffers in a row before others get their turn */

static void on_peer_end(struct conduit_conn *conn)
{
    conn->peer_ended = true;
    cdt_trace(conn->ctx, conn->since_ns, "end", "%s", cdt_conn_where(conn));
    if (conn->broken) {
        cdt_conn_finish_failed(conn);
        return;
    }
    if (conn->state != CDT_OPEN)
        return;
    if (conn->manner->handler.on_end != NULL)
        conn->manner->handler.on_end(conn, conn->user);
    else
        conduit_close(conn);
}

static void on_bytes(struct conduit_conn *conn, size_t n)
{
    if (conn->state != CDT_OPEN)
        return; /* closing: read to see the peer's end, not to be told */
    conn->bytes_in += n;
    if (conn->manner->handler.on_data != NULL)
        conn->manner->handler.on_data(conn, conn->ctx->buffer, n, conn->user);
}

/* Plain: what a layer or a proxy does to the bytes, it cannot do to a descriptor. */
bool cdt_conn_passes_fds(const struct conduit_conn *conn)
{
    const struct cdt_path *path = conn->path;
    return path->endpoint->below == NULL && path->top->ops->passing != NULL &&
           path->top->ops->passing->possible(path->top);
}

/* Nobody takes what comes once this connection has been closed. */
static ssize_t read_with_fds(struct conduit_conn *conn)
{
    struct cdt_fds fds;
    ssize_t n = cdt_passing_read(conn->path->top, conn->ctx->buffer, CDT_BUFFER_SIZE, &fds);
    for (int i = 0; i < fds.n; i++) {
        if (conn->state == CDT_OPEN)
            conn->manner->handler.on_fd(conn, fds.list[i], conn->user);
        else
            close(fds.list[i]);
    }
    return n;
}

static ssize_t read_once(struct conduit_conn *conn)
{
    return conn->takes_fds ? read_with_fds(conn)
                           : cdt_layer_read(conn->path->top, conn->ctx->buffer, CDT_BUFFER_SIZE);
}

/* A short count is all there was, but for what a layer holds: the end that came with the last
 * bytes, say. */
static bool more(const struct conduit_conn *conn, ssize_t n)
{
    return n == CDT_BUFFER_SIZE ||
           (conn->layered && n > 0 && cdt_conn_reads(conn) && cdt_layer_pending(conn->path->top));
}

void cdt_conn_read_some(struct conduit_conn *conn)
{
    for (int i = 0; i < READS_PER_TURN && cdt_conn_reads(conn); i++) {
        ssize_t n = read_once(conn);
        if (n > 0)
            on_bytes(conn, (size_t)n);
        else if (n == 0)
            on_peer_end(conn);
        else if (n != CONDUIT_EAGAIN)
            cdt_conn_finish_failed(conn);
        if (!more(conn, n))
            return;
    }
}

/* The path goes on reporting until serve() finds nobody reading: pausing and resuming between two
 * wake-ups, as an echo does, costs no system call. */
void conduit_pause(conduit_conn *conn)
{
    CDT_ASSERT_THREAD(conn->ctx);
    conn->paused = true;
}

void conduit_resume(conduit_conn *conn)
{
    CDT_ASSERT_THREAD(conn->ctx);
    if (!conn->paused)
        return;
    conn->paused = false;
    if (conn->state != CDT_OPEN)
        return;
    if (conn->deadlines.idle_ms != 0) {
        cdt_deadlines_stir(&conn->deadlines, cdt_now_ms(conn->ctx));
        cdt_conn_look_in_time(conn);
    }
    conn->read_again = cdt_layer_pending(conn->path->top);
    if (conn->read_again)
        cdt_defer(conn->ctx, &conn->task);
    else
        cdt_conn_serve_soon(conn);
}
