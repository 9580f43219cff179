/* SPDX-License-Identifier: ISC */
/*
 * The connection that the user holds: a queue and two directions over the top of a byte path.
 *
 * Whatever moves it goes through serve(): write what is queued, read what has come, settle. Every
 * end, whatever the cause, goes through cdt_conn_finish(), and on_close is delivered from one
 * place, deliver_close(), off the run-queue. User code runs only in serve(), deliver_close() and
 * cdt_conn_opened(), each of which pins the connection, so it may do anything there, freeing this
 * very connection too.
 *
 * The two directions are independent: the peer's ends with `peer_ended`, ours with `ended`; both,
 * and it is over.
 */
#include "connection.h"
#include "connect.h"
#include "endpoint.h"
#include "error.h"
#include "overdue.h"
#include "pool.h"
#include "reading.h"
#include "text.h"
#include "thread.h"
#include "util.h"
#include "writing.h"
#include <conduit/memory.h>
#include <utlist.h>

/* ---- lifetime ---- */

static void on_task(struct cdt_task *task);

struct conduit_conn *cdt_conn_new(conduit_ctx *ctx, const char *uri, struct cdt_manner *manner,
                                  void *user)
{
    struct conduit_conn *conn = cdt_spare_take(&ctx->spares, CDT_SPARE_CONN, sizeof(*conn));
    if (conn == NULL)
        return NULL;
    conn->uri = uri != NULL ? conduit_strdup(uri) : NULL;
    if (conn->uri == NULL && uri != NULL) {
        cdt_spare_give(&ctx->spares, CDT_SPARE_CONN, conn);
        return NULL;
    }
    conn->ctx = ctx;
    conn->manner = cdt_manner_ref(manner);
    conn->user = user;
    conn->task.run = on_task;
    conn->since_ns = ctx->trace != NULL ? uv_hrtime() : 0;
    conn->drain_mark = UINT64_MAX; /* it has not been looked at */
    cdt_conn_begin_deadlines(conn);
    DL_APPEND(ctx->conns, conn);
    cdt_ctx_recount(ctx);
    return conn;
}

/* Into the counts goes what has ended. */
static void count(const struct conduit_conn *conn, conduit_counters *counts)
{
    counts->failed += conn->path == NULL && !conn->released;
    counts->bytes_in += conn->bytes_in;
    counts->bytes_out += conn->bytes_out;
}

static void stop_upgrade(struct conduit_conn *conn)
{
    cdt_upgrade_free(conn->upgrade);
    conn->upgrade = NULL;
}

/* Let go of everything but the memory, which frames on the stack may still look at. */
static void dispose(struct conduit_conn *conn)
{
    conn->state = CDT_GONE;
    cdt_connect_stop(conn->connect);
    conn->connect = NULL;
    stop_upgrade(conn);
    cdt_timer_stop(conn->ctx, &conn->deadline);
    cdt_undefer(conn->ctx, &conn->task);
    cdt_queue_clear(&conn->queue);
    count(conn, &conn->ctx->counts);
    if (conn->tally != NULL)
        count(conn, &conn->tally->counts);
    cdt_tally_unref(conn->tally);
    cdt_path_free(conn->path, conn->reset);
    conn->path = NULL;
    cdt_stay_free(conn->stay);
    conn->stay = NULL;
    DL_DELETE(conn->ctx->conns, conn);
    cdt_ctx_recount(conn->ctx);
    cdt_guest_leave(&conn->guest);
    cdt_drains_look(conn->ctx);
}

static void release(struct conduit_conn *conn)
{
    conduit_error_unref(conn->why);
    conduit_error_unref(conn->failed);
    cdt_conn_info_free(conn->info);
    cdt_manner_unref(conn->manner);
    conduit_endpoint_unref(conn->accepted_at);
    cdt_wipe(conn->uri);
    cdt_spare_give(&conn->ctx->spares, CDT_SPARE_CONN, conn);
}

static void pin(struct conduit_conn *conn)
{
    conn->pins++;
}

static void unpin(struct conduit_conn *conn)
{
    if (--conn->pins == 0 && conn->state == CDT_GONE)
        release(conn);
}

static void deliver_close(struct conduit_conn *conn)
{
    pin(conn);
    if (conn->manner->handler.on_close != NULL)
        conn->manner->handler.on_close(conn, conn->why, conn->user);
    if (conn->state != CDT_GONE)
        dispose(conn);
    unpin(conn);
}

/* What the peer got must not look like all of it. Over a bare transport nothing but a reset says
 * so; a layer's missing goodbye does, and a reset could overtake the alert that it has sent. A
 * deadline of ours that finds everything sent is an end. */
static bool must_reset(const struct conduit_conn *conn)
{
    if (conn->path == NULL || conn->ended)
        return false;
    return conn->queue.size > 0 || (conn->path->top->below == NULL && conn->path->error != NULL);
}

static void on_ready(struct cdt_path *path, unsigned events);

/* From an opening, if one had it. */
static void take_path(struct conduit_conn *conn)
{
    const struct cdt_layer_ops *top = conn->path->top->ops;
    conn->path->owner = conn;
    conn->path->ready = on_ready;
    conn->layered = top->flush != NULL || top->pending != NULL;
}

const char *cdt_conn_where(const struct conduit_conn *conn)
{
    return conn->path != NULL ? conduit_endpoint_uri(conn->path->endpoint) : NULL;
}

static void trace_close(const struct conduit_conn *conn, const char *how)
{
    const char *unopened = conn->released ? "released" : "never open";
    cdt_trace(conn->ctx, conn->since_ns, "close", "%s: %s (%llu bytes in, %llu out)",
              conn->path != NULL ? cdt_conn_where(conn) : unopened, how,
              (unsigned long long)conn->bytes_in, (unsigned long long)conn->bytes_out);
}

void cdt_conn_finish(struct conduit_conn *conn, const conduit_error *why)
{
    if (conn->state >= CDT_CLOSED) {
        conduit_error_unref(why);
        return;
    }
    if (why != NULL && must_reset(conn))
        conn->reset = true;
    conn->state = CDT_CLOSED;
    conn->why = why;
    trace_close(conn, why != NULL ? conduit_error_text(why) : "cleanly");
    cdt_connect_stop(conn->connect);
    conn->connect = NULL;
    cdt_timer_stop(conn->ctx, &conn->deadline);
    cdt_queue_clear(&conn->queue);
    stop_upgrade(conn);
    if (conn->path != NULL)
        take_path(conn); /* what is still reported before on_close finds nobody live */
    cdt_defer(conn->ctx, &conn->task);
}

/* The path's own account of what went wrong; but when all was sent and said, how the peer leaves is
 * its affair. */
void cdt_conn_finish_failed(struct conduit_conn *conn)
{
    if (conn->state == CDT_CLOSING && conn->ended && !conn->broken)
        cdt_conn_finish(conn, NULL);
    else
        cdt_conn_finish(conn, conduit_error_ref(conn->path->error));
}

static conduit_stage stage_of(const struct conduit_conn *conn)
{
    return conn->path != NULL ? CONDUIT_STAGE_IO : CONDUIT_STAGE_DIAL;
}

static void finish_canceled(struct conduit_conn *conn)
{
    cdt_conn_finish(conn, cdt_error_new(CONDUIT_ECANCELED, stage_of(conn), cdt_conn_where(conn),
                                        NULL, 0, "canceled by the caller"));
}

/* ---- the turn ---- */

static unsigned wanted(const struct conduit_conn *conn)
{
    unsigned events = cdt_conn_reads(conn) ? CDT_READ : 0;
    bool stuck =
        conn->queue.size > 0 || conn->unflushed || conn->fd_waits || (conn->ending && !conn->ended);
    return stuck && !conn->broken ? events | CDT_WRITE : events;
}

/* Has all that was to go in the clear gone? */
static bool is_ready_for_tls(const struct conduit_conn *conn)
{
    return conn->upgrade != NULL && cdt_conn_live(conn) && conn->queue.size == 0 &&
           !conn->unflushed;
}

static void begin_tls(struct conduit_conn *conn)
{
    conn->takes_fds = false;
    int code = cdt_upgrade_begin(conn->upgrade);
    if (code != CONDUIT_EAGAIN)
        cdt_conn_upgraded(conn, code);
}

/* After anything that happened: push out what is held back, end what is to end, and say what is
 * waited for. */
static void settle(struct conduit_conn *conn)
{
    if (conn->held)
        cdt_conn_push_held(conn);
    if (conn->unflushed || conn->ending || conn->upgrade != NULL)
        cdt_conn_push_out(conn);
    if (is_ready_for_tls(conn))
        begin_tls(conn);
    if (!cdt_conn_live(conn))
        return;
    if (conn->ended && conn->peer_ended) {
        cdt_conn_finish(conn, NULL);
        return;
    }
    cdt_conn_note_progress(conn);
    unsigned events = wanted(conn);
    if (events == conn->want)
        return;
    bool waits = events & CDT_WRITE && !(conn->want & CDT_WRITE);
    conn->want = events;
    cdt_layer_want(conn->path->top, events);
    if (waits && conn->deadlines.write_ms != 0) {
        cdt_deadlines_wait(&conn->deadlines, cdt_now_ms(conn->ctx));
        cdt_conn_look_in_time(conn);
    }
}

/* A layer that holds bytes may have needed what has just been read to write on; and reading, too,
 * may make it speak: TLS answers a key update. */
static void serve_layer(struct conduit_conn *conn)
{
    if (!cdt_conn_live(conn) || conn->broken)
        return;
    if (conn->queue.size > 0) {
        cdt_conn_write_queued(conn);
        cdt_conn_tell_drained(conn);
    }
    conn->unflushed |= cdt_conn_live(conn) && !conn->broken;
}

/* Writing, too, may have taken bytes in; or there was too much. */
static void look_again(struct conduit_conn *conn)
{
    if (!cdt_conn_reads(conn) || !cdt_layer_pending(conn->path->top))
        return;
    conn->read_again = true;
    cdt_defer(conn->ctx, &conn->task);
}

static void serve(struct conduit_conn *conn, unsigned events)
{
    pin(conn);
    if ((events & CDT_WRITE) && cdt_conn_live(conn) && !conn->broken) {
        cdt_conn_write_queued(conn);
        cdt_conn_tell_drained(conn);
    }
    if ((events & CDT_READ) && cdt_conn_live(conn))
        cdt_conn_read_some(conn);
    if (conn->layered)
        serve_layer(conn);
    settle(conn);
    if (conn->layered)
        look_again(conn);
    unpin(conn);
}

static void on_ready(struct cdt_path *path, unsigned events)
{
    serve(path->owner, events);
}

static void on_task(struct cdt_task *task)
{
    struct conduit_conn *conn = CDT_CONTAINER(task, struct conduit_conn, task);
    if (conn->state == CDT_CLOSED) {
        deliver_close(conn);
        return;
    }
    unsigned events = CDT_WRITE | (conn->read_again ? CDT_READ : 0);
    conn->read_again = false;
    conn->full |= conn->woken;
    conn->woken = false;
    serve(conn, events);
}

void cdt_conn_opened(struct conduit_conn *conn, struct cdt_path *path)
{
    conn->path = path;
    conn->state = CDT_OPEN;
    cdt_queue_drop(&conn->queue, path->early_taken);
    path->early_taken = 0;
    path->early = NULL;
    conn->sent_before = path->sent;
    if (conn->tally == NULL && !conn->reused)
        conn->ctx->counts.connected++;
    take_path(conn);
    conn->takes_fds = conn->manner->handler.on_fd != NULL && cdt_conn_passes_fds(conn);
    conn->want = ~0U; /* whatever opening last asked for */
    cdt_trace(conn->ctx, conn->since_ns, "open", "%s", conduit_endpoint_uri(path->endpoint));
    cdt_conn_open_deadlines(conn);
    pin(conn);
    if (conn->manner->handler.on_open != NULL)
        conn->manner->handler.on_open(conn, conn->user);
    cdt_stay_settled(conn->stay);
    bool ready = cdt_conn_live(conn) && cdt_layer_pending(path->top);
    serve(conn, CDT_WRITE | (ready ? CDT_READ : 0));
    unpin(conn);
}

void cdt_conn_upgraded(struct conduit_conn *conn, int code)
{
    if (code < 0) {
        cdt_conn_finish(conn, conduit_error_ref(conn->path->error));
        return;
    }
    conn->queue = conn->upgrade->later;
    conn->upgrade->later = (struct cdt_queue){0};
    stop_upgrade(conn);
    if (conn->stay != NULL)
        conn->stay->changed = true;
    take_path(conn);
    conn->want = ~0U;
    pin(conn);
    if (conn->manner->handler.on_upgrade != NULL)
        conn->manner->handler.on_upgrade(conn, conn->user);
    bool ready = cdt_conn_live(conn) && cdt_layer_pending(conn->path->top);
    serve(conn, CDT_WRITE | (ready ? CDT_READ : 0));
    unpin(conn);
}

/* ---- what the user calls ---- */

/* Something changed outside of serve(): it will be seen to before the loop polls. */
void cdt_conn_serve_soon(struct conduit_conn *conn)
{
    if (conn->pins == 0)
        cdt_defer(conn->ctx, &conn->task);
}

void conduit_end(conduit_conn *conn)
{
    CDT_ASSERT_THREAD(conn->ctx);
    if (conn->state > CDT_OPEN || conn->ending)
        return;
    conn->ending = true;
    if (conn->state == CDT_OPEN)
        cdt_conn_serve_soon(conn);
}

void conduit_close(conduit_conn *conn)
{
    CDT_ASSERT_THREAD(conn->ctx);
    if (conn->state == CDT_OPENING || (conn->state == CDT_OPEN && conn->upgrade != NULL)) {
        finish_canceled(conn);
        return;
    }
    if (conn->state != CDT_OPEN)
        return;
    if (conn->broken) {
        cdt_conn_finish_failed(conn);
        return;
    }
    conn->state = CDT_CLOSING;
    conn->ending = true;
    cdt_conn_begin_close(conn);
    conn->read_again = cdt_layer_pending(conn->path->top);
    if (conn->read_again)
        cdt_defer(conn->ctx, &conn->task);
    else
        cdt_conn_serve_soon(conn);
}

/* Nothing is on its way, either way. */
static bool at_rest(const struct conduit_conn *conn)
{
    return conn->state == CDT_OPEN && !conn->ending && !conn->peer_ended && !conn->broken &&
           !conn->fd_waits && conn->upgrade == NULL && conn->queue.size == 0 &&
           conn->path->error == NULL;
}

/* What a layer holds: a goodbye of TLS, or bytes that nobody has asked for. */
static bool holds_nothing(struct cdt_path *path)
{
    return cdt_layer_flush(path->top) == 0 &&
           (!cdt_layer_pending(path->top) || cdt_path_quiet(path));
}

void conduit_release(conduit_conn *conn)
{
    CDT_ASSERT_THREAD(conn->ctx);
    cdt_conn_push_held(conn);
    if (!at_rest(conn) || !cdt_stay_keeps(conn->stay) || !holds_nothing(conn->path)) {
        conduit_close(conn);
        return;
    }
    struct cdt_path *path = conn->path;
    struct cdt_stay *stay = conn->stay;
    conn->path = NULL;
    conn->stay = NULL;
    conn->released = true;
    cdt_conn_info_free(conn->info);
    conn->info = NULL;
    cdt_conn_finish(conn, NULL);
    cdt_stay_keep(stay, path);
}

static bool peer_broke_off(const conduit_error *why)
{
    switch (conduit_error_code(why)) {
    case CONDUIT_OK:
    case CONDUIT_ERESET:
    case CONDUIT_ETRUNCATED:
        return true;
    default:
        return false;
    }
}

conduit_retry conduit_conn_retry(const conduit_conn *conn)
{
    if (conn->released)
        return CONDUIT_RETRY_UNSAFE;
    if (conn->path == NULL || conn->path->sent == conn->sent_before)
        return CONDUIT_RETRY_SAFE;
    if (conn->reused && conn->bytes_in == 0 && peer_broke_off(conn->why))
        return CONDUIT_RETRY_STALE;
    return CONDUIT_RETRY_UNSAFE;
}

bool conduit_conn_reused(const conduit_conn *conn)
{
    return conn->reused;
}

void cdt_conn_abort(struct conduit_conn *conn, const conduit_error *why)
{
    conn->reset |= conn->state < CDT_CLOSED;
    cdt_conn_finish(conn, why);
}

void conduit_abort(conduit_conn *conn)
{
    CDT_ASSERT_THREAD(conn->ctx);
    if (conn->state >= CDT_CLOSED)
        return;
    conn->reset = true;
    finish_canceled(conn);
}

int conduit_abort_with(conduit_conn *conn, int code, const char *text)
{
    CDT_ASSERT_THREAD(conn->ctx);
    if (!cdt_is_error_code(code))
        return CONDUIT_EINVAL;
    if (conn->state < CDT_CLOSED)
        cdt_conn_abort(
            conn, cdt_error_new(code, stage_of(conn), cdt_conn_where(conn), NULL, 0, "%s", text));
    return 0;
}

void conduit_conn_free(conduit_conn *conn)
{
    if (conn == NULL || conn->state == CDT_GONE)
        return;
    CDT_ASSERT_THREAD(conn->ctx);
    pin(conn);
    if (conn->state < CDT_CLOSED) {
        conn->reset = true;
        trace_close(conn, "freed");
    }
    dispose(conn);
    unpin(conn);
}

void *conduit_conn_user(const conduit_conn *conn)
{
    return conn->user;
}

void conduit_conn_set_user(conduit_conn *conn, void *user)
{
    conn->user = user;
}

conduit_ctx *conduit_conn_ctx(const conduit_conn *conn)
{
    return conn->ctx;
}

const char *conduit_conn_alpn(const conduit_conn *conn)
{
    const struct cdt_layer *layer = conn->path != NULL ? conn->path->top : NULL;
    while (layer != NULL && layer->ops->alpn == NULL)
        layer = layer->below;
    return layer != NULL ? layer->ops->alpn(layer) : "";
}
