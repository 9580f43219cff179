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
#include "file.h"
#include "passing.h"
#include "pool.h"
#include "thread.h"
#include "upgrade.h"
#include "util.h"
#include <conduit/memory.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

enum {
    DEFAULT_CLOSE_TIMEOUT_MS = 2000,
    READS_PER_TURN = 8, /* full buffers in a row before others get their turn */
    MOST_PIECES = 16,
    MOST_IN_A_CALL = 1024,      /* IOV_MAX: what sendmsg(2) takes */
    MOST_HELD = 16 * 1024,      /* more is not worth holding back: it would be copied */
    FILE_PER_TURN = 512 * 1024, /* then others get their turn */
    FILE_PER_READ = 64 * 1024,
};

/* ---- lifetime ---- */

static void on_task(struct cdt_task *task);
static void begin_deadlines(struct conduit_conn *conn);

struct conduit_conn *cdt_conn_new(conduit_ctx *ctx, const char *uri, struct cdt_manner *manner,
                                  void *user)
{
    struct conduit_conn *conn = conduit_calloc(1, sizeof(*conn));
    if (conn == NULL)
        return NULL;
    conn->uri = uri != NULL ? conduit_strdup(uri) : NULL;
    if (conn->uri == NULL && uri != NULL) {
        conduit_free(conn);
        return NULL;
    }
    conn->ctx = ctx;
    conn->manner = cdt_manner_ref(manner);
    conn->user = user;
    conn->task.run = on_task;
    conn->since_ns = uv_hrtime();
    conn->drain_mark = UINT64_MAX; /* it has not been looked at */
    begin_deadlines(conn);
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

struct cdt_conn_info {
    conduit_info info;
    conduit_tls_info tls;
    struct cdt_facts facts;
};

static void free_info(struct cdt_conn_info *info)
{
    if (info != NULL)
        conduit_free(info->facts.tls_chain);
    conduit_free(info);
}

static void release(struct conduit_conn *conn)
{
    conduit_error_unref(conn->why);
    conduit_error_unref(conn->failed);
    free_info(conn->info);
    cdt_manner_unref(conn->manner);
    conduit_endpoint_unref(conn->accepted_at);
    conduit_free(conn->uri);
    conduit_free(conn);
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

static const char *where(const struct conduit_conn *conn)
{
    return conn->path != NULL ? conduit_endpoint_uri(conn->path->endpoint) : NULL;
}

static void trace_close(const struct conduit_conn *conn, const char *how)
{
    const char *unopened = conn->released ? "released" : "never open";
    cdt_trace(conn->ctx, conn->since_ns, "close", "%s: %s (%llu bytes in, %llu out)",
              conn->path != NULL ? where(conn) : unopened, how, (unsigned long long)conn->bytes_in,
              (unsigned long long)conn->bytes_out);
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
static void finish_failed(struct conduit_conn *conn)
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
    cdt_conn_finish(conn, cdt_error_new(CONDUIT_ECANCELED, stage_of(conn), where(conn), NULL, 0,
                                        "canceled by the caller"));
}

/* ---- deadlines ---- */

static enum cdt_overdue check_deadlines(const struct conduit_conn *conn, uint64_t *next_ms)
{
    const struct cdt_doing doing = {
        .open = conn->state == CDT_OPEN,
        .paused = conn->paused,
        .waiting = conn->want & CDT_WRITE,
    };
    return cdt_deadlines_check(&conn->deadlines, &doing, cdt_now_ms(conn->ctx), next_ms);
}

static void note(struct conduit_conn *conn)
{
    const struct cdt_path *path = conn->path;
    if (path != NULL)
        cdt_deadlines_note(&conn->deadlines, path->received + path->sent, path->sent,
                           cdt_now_ms(conn->ctx));
}

/* Only who has a deadline that counts bytes asks what time it is. */
static void note_progress(struct conduit_conn *conn)
{
    const struct cdt_deadlines *d = &conn->deadlines;
    if (d->idle_ms != 0 || d->write_ms != 0 || d->close_at_ms != 0)
        note(conn);
}

static void on_deadline(struct cdt_timer *timer);

/* One that is armed for earlier than it need be finds nothing over, and looks again. */
static void look_in_time(struct conduit_conn *conn)
{
    uint64_t next_ms, now_ms = cdt_now_ms(conn->ctx);
    check_deadlines(conn, &next_ms);
    if (next_ms != UINT64_MAX && (!conn->deadline.armed || next_ms < conn->deadline.at_ms))
        cdt_timer_start(conn->ctx, &conn->deadline, next_ms > now_ms ? next_ms - now_ms : 0,
                        on_deadline);
}

static uint32_t close_timeout(uint32_t ms)
{
    return ms != 0 ? ms : DEFAULT_CLOSE_TIMEOUT_MS;
}

static void begin_deadlines(struct conduit_conn *conn)
{
    const conduit_conn_options *options = &conn->manner->options;
    conn->deadlines.idle_ms = options->idle_timeout_ms;
    conn->deadlines.write_ms = options->write_timeout_ms;
    conn->deadlines.close_ms = close_timeout(options->close_timeout_ms);
    if (options->lifetime_ms == 0)
        return;
    cdt_deadlines_live(&conn->deadlines, options->lifetime_ms, cdt_now_ms(conn->ctx));
    look_in_time(conn);
}

static void begin_close_deadline(struct conduit_conn *conn)
{
    note(conn);
    cdt_deadlines_close(&conn->deadlines, cdt_now_ms(conn->ctx));
    look_in_time(conn);
}

static const conduit_error *overdue_error(const struct conduit_conn *conn, enum cdt_overdue over)
{
    const struct cdt_deadlines *d = &conn->deadlines;
    char text[128] = "";
    double close_s = d->close_ms / 1000.0;
    if (over == CDT_LIFETIME_OVER)
        snprintf(text, sizeof(text), "the %.1f s for the whole connection are over",
                 d->lifetime_ms / 1000.0);
    else if (over == CDT_IDLE)
        snprintf(text, sizeof(text), "idle: no byte came or went for %.1f s", d->idle_ms / 1000.0);
    else if (over == CDT_WRITE_STALLED)
        snprintf(text, sizeof(text), "the peer took nothing for %.1f s, %zu bytes are queued",
                 d->write_ms / 1000.0, conn->queue.size);
    else if (over == CDT_CLOSE_STALLED)
        snprintf(text, sizeof(text),
                 "closing: the peer took nothing for %.1f s, "
                 "%zu bytes were not sent",
                 close_s, conn->queue.size);
    else
        snprintf(text, sizeof(text), "closing took longer than %.1f s, %zu bytes were not sent",
                 close_s * CDT_CLOSE_TIMES, conn->queue.size);
    return cdt_error_new(CONDUIT_ETIMEDOUT, CONDUIT_STAGE_IO, where(conn), NULL, 0, "%s", text);
}

/* When all was sent and said, that the peer has not answered is its affair; and one that closed
 * only its ears may not go on talking for ever. */
static void finish_overdue(struct conduit_conn *conn, enum cdt_overdue over)
{
    bool closing = over == CDT_CLOSE_STALLED || over == CDT_CLOSE_OVER;
    if (conn->state == CDT_OPENING)
        cdt_connect_expire(conn->connect, conn->deadlines.lifetime_ms, "connection");
    else if (conn->broken)
        finish_failed(conn);
    else if (closing && conn->ended)
        cdt_conn_finish(conn, NULL);
    else
        cdt_conn_finish(conn, overdue_error(conn, over));
}

static void on_deadline(struct cdt_timer *timer)
{
    struct conduit_conn *conn = CDT_CONTAINER(timer, struct conduit_conn, deadline);
    uint64_t next_ms;
    note_progress(conn);
    enum cdt_overdue over = check_deadlines(conn, &next_ms);
    if (over == CDT_WAKE_DUE) {
        cdt_deadlines_wake(&conn->deadlines, 0, 0);
        conduit_wake(conn);
    }
    if (over == CDT_IN_TIME || over == CDT_WAKE_DUE)
        look_in_time(conn);
    else
        finish_overdue(conn, over);
}

/* ---- writing ---- */

/* That the peer no longer listens does not make unread what it said before (an answer, and then a
 * close): reading goes on to its end, and only then this end is reported. Nobody reads on a paused
 * or closing connection. */
static void break_writing(struct conduit_conn *conn)
{
    conn->broken = true;
    conn->unflushed = false;
    cdt_queue_clear(&conn->queue);
    bool reset = conduit_error_code(conn->path->error) == CONDUIT_ERESET;
    if (!reset || conn->paused || conn->peer_ended || conn->upgrade != NULL ||
        conn->state != CDT_OPEN) {
        finish_failed(conn);
        return;
    }
    begin_close_deadline(conn);
    conn->read_again = true;
    cdt_defer(conn->ctx, &conn->task);
}

/* What the peer got is not what it was promised, and must not look as if it were. */
static ssize_t fail_file(struct conduit_conn *conn, const struct cdt_extent *extent, int number)
{
    const conduit_error *why = NULL;
    if (number != 0)
        why = cdt_error_errno(CONDUIT_STAGE_IO, where(conn), number, "reading the file to send");
    else
        why = cdt_error_new(CONDUIT_EIO, CONDUIT_STAGE_IO, where(conn), NULL, 0,
                            "the file to send has become shorter: the last %zu bytes of it that "
                            "were promised are not there",
                            extent->n);
    cdt_conn_abort(conn, why);
    return CONDUIT_EAGAIN;
}

/* The file at the front: as it is where the path can do that, or else read, so that it is bytes.
 * Returns what has gone, perhaps 0, or a code as of a write. */
static ssize_t write_file(struct conduit_conn *conn)
{
    struct cdt_extent extent;
    cdt_queue_peek_file(&conn->queue, &extent);
    size_t most = extent.n < FILE_PER_TURN ? extent.n : FILE_PER_TURN;
    ssize_t n = cdt_layer_send_file(conn->path->top, extent.fd, extent.offset, most);
    if (n > 0 || (n < 0 && n != CONDUIT_ENOTSUP))
        return n;
    if (n < 0)
        n = cdt_queue_load(&conn->queue, FILE_PER_READ);
    return n > 0 ? 0 : fail_file(conn, &extent, n < 0 ? errno : 0);
}

/* Bytes come to an end; of files there may be more than others would wait for. */
static void write_queued(struct conduit_conn *conn)
{
    size_t gone = 0;
    conn->held = false;
    while (conn->queue.size > 0 && (gone < FILE_PER_TURN || conn->queue.in_files == 0)) {
        struct iovec v[MOST_PIECES];
        int pieces = cdt_queue_peek(&conn->queue, v, MOST_PIECES);
        ssize_t n = pieces > 0 ? cdt_layer_write(conn->path->top, v, pieces) : write_file(conn);
        if (n == CONDUIT_EAGAIN)
            return;
        if (n < 0) {
            break_writing(conn);
            return;
        }
        conn->unflushed = true;
        cdt_queue_drop(&conn->queue, (size_t)n);
        gone += (size_t)n;
    }
    if (conn->queue.size > 0)
        cdt_defer(conn->ctx, &conn->task);
}

/* Of conduit_queued(), what is in no memory. */
static size_t queued_in_files(const struct conduit_conn *conn)
{
    return conn->queue.in_files + (conn->upgrade != NULL ? conn->upgrade->later.in_files : 0);
}

/* Is on_drain due? A file is waited for to its end. */
static bool has_drained(const struct conduit_conn *conn)
{
    size_t low = conn->fd_waits ? 0 : conn->manner->options.high_water / 2;
    return conn->full && conduit_queued(conn) <= low && queued_in_files(conn) == 0 &&
           conn->state == CDT_OPEN;
}

static void tell_drained(struct conduit_conn *conn)
{
    if (!has_drained(conn))
        return;
    conn->full = conn->fd_waits = false;
    if (conn->manner->handler.on_drain != NULL)
        conn->manner->handler.on_drain(conn, conn->user);
}

/* ---- reading ---- */

static bool reads(const struct conduit_conn *conn)
{
    return !conn->peer_ended && conn->upgrade == NULL &&
           ((conn->state == CDT_OPEN && !conn->paused) || conn->state == CDT_CLOSING);
}

static void on_peer_end(struct conduit_conn *conn)
{
    conn->peer_ended = true;
    cdt_trace(conn->ctx, conn->since_ns, "end", "%s", where(conn));
    if (conn->broken) {
        finish_failed(conn);
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
static bool passes_fds(const struct conduit_conn *conn)
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
           (conn->layered && n > 0 && reads(conn) && cdt_layer_pending(conn->path->top));
}

static void read_some(struct conduit_conn *conn)
{
    for (int i = 0; i < READS_PER_TURN && reads(conn); i++) {
        ssize_t n = read_once(conn);
        if (n > 0)
            on_bytes(conn, (size_t)n);
        else if (n == 0)
            on_peer_end(conn);
        else if (n != CONDUIT_EAGAIN)
            finish_failed(conn);
        if (!more(conn, n))
            return;
    }
}

/* ---- the turn ---- */

/* More than one layer says goodbye. A peer that has heard the first may be gone before the last. */
static bool is_nested(const struct cdt_path *path)
{
    return path->top->below != NULL && path->top->below->below != NULL;
}

/* End our direction, after everything written: what a layer holds back goes along with its goodbye,
 * or before all of them. What could not go, never says so. */
static void end_ours(struct conduit_conn *conn)
{
    if (!conn->ending || conn->ended || conn->broken || conn->queue.size > 0)
        return;
    if (conn->unflushed && is_nested(conn->path))
        return;
    conn->path->closes = conn->peer_ended;
    int code = cdt_layer_finish(conn->path->top);
    if (code == CONDUIT_EAGAIN)
        return;
    conn->ended = true;
    conn->unflushed = false;
    if (code < 0)
        break_writing(conn);
}

static void flush(struct conduit_conn *conn)
{
    if (!conn->unflushed)
        return;
    int code = cdt_layer_flush(conn->path->top);
    if (code == CONDUIT_EAGAIN)
        return;
    conn->unflushed = false;
    if (code < 0)
        break_writing(conn);
}

static unsigned wanted(const struct conduit_conn *conn)
{
    unsigned events = reads(conn) ? CDT_READ : 0;
    bool stuck =
        conn->queue.size > 0 || conn->unflushed || conn->fd_waits || (conn->ending && !conn->ended);
    return stuck && !conn->broken ? events | CDT_WRITE : events;
}

static bool live(const struct conduit_conn *conn)
{
    bool ours = conn->upgrade == NULL || !conn->upgrade->shaking;
    return ours && (conn->state == CDT_OPEN || conn->state == CDT_CLOSING);
}

/* All that was to go in the clear has gone. */
static void begin_tls(struct conduit_conn *conn)
{
    conn->takes_fds = false;
    int code = cdt_upgrade_begin(conn->upgrade);
    if (code != CONDUIT_EAGAIN)
        cdt_conn_upgraded(conn, code);
}

/* What callbacks have left held goes now. What they do when they hear of it waits for the next
 * turn, or one who always has more would keep the others waiting. */
static void push_held(struct conduit_conn *conn)
{
    if (!conn->held || !live(conn) || conn->broken)
        return;
    write_queued(conn);
    if (has_drained(conn))
        cdt_defer(conn->ctx, &conn->task);
}

static void push_and_end(struct conduit_conn *conn)
{
    if (live(conn) && is_nested(conn->path))
        flush(conn);
    if (live(conn) && conn->upgrade == NULL)
        end_ours(conn);
    if (live(conn))
        flush(conn);
    if (live(conn) && conn->upgrade != NULL && conn->queue.size == 0 && !conn->unflushed)
        begin_tls(conn);
}

/* After anything that happened: push out what is held back, end what is to end, and say what is
 * waited for. */
static void settle(struct conduit_conn *conn)
{
    push_held(conn);
    if (conn->unflushed || conn->ending || conn->upgrade != NULL)
        push_and_end(conn);
    if (!live(conn))
        return;
    if (conn->ended && conn->peer_ended) {
        cdt_conn_finish(conn, NULL);
        return;
    }
    note_progress(conn);
    unsigned events = wanted(conn);
    if (events == conn->want)
        return;
    bool waits = events & CDT_WRITE && !(conn->want & CDT_WRITE);
    conn->want = events;
    cdt_layer_want(conn->path->top, events);
    if (waits && conn->deadlines.write_ms != 0) {
        cdt_deadlines_wait(&conn->deadlines, cdt_now_ms(conn->ctx));
        look_in_time(conn);
    }
}

/* A layer that holds bytes may have needed what has just been read to write on; and reading, too,
 * may make it speak: TLS answers a key update. */
static void serve_layer(struct conduit_conn *conn)
{
    if (!live(conn) || conn->broken)
        return;
    if (conn->queue.size > 0) {
        write_queued(conn);
        tell_drained(conn);
    }
    conn->unflushed |= live(conn) && !conn->broken;
}

/* Writing, too, may have taken bytes in; or there was too much. */
static void look_again(struct conduit_conn *conn)
{
    if (!reads(conn) || !cdt_layer_pending(conn->path->top))
        return;
    conn->read_again = true;
    cdt_defer(conn->ctx, &conn->task);
}

static void serve(struct conduit_conn *conn, unsigned events)
{
    pin(conn);
    if ((events & CDT_WRITE) && live(conn) && !conn->broken) {
        write_queued(conn);
        tell_drained(conn);
    }
    if ((events & CDT_READ) && live(conn))
        read_some(conn);
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
    conn->takes_fds = conn->manner->handler.on_fd != NULL && passes_fds(conn);
    conn->want = ~0U; /* whatever opening last asked for */
    cdt_trace(conn->ctx, conn->since_ns, "open", "%s", conduit_endpoint_uri(path->endpoint));
    note(conn);
    cdt_deadlines_stir(&conn->deadlines, cdt_now_ms(conn->ctx));
    cdt_deadlines_wait(&conn->deadlines, cdt_now_ms(conn->ctx));
    look_in_time(conn);
    pin(conn);
    if (conn->manner->handler.on_open != NULL)
        conn->manner->handler.on_open(conn, conn->user);
    cdt_stay_settled(conn->stay);
    bool ready = live(conn) && cdt_layer_pending(path->top);
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
    bool ready = live(conn) && cdt_layer_pending(conn->path->top);
    serve(conn, CDT_WRITE | (ready ? CDT_READ : 0));
    unpin(conn);
}

/* ---- what the user calls ---- */

/* Something changed outside of serve(): it will be seen to before the loop polls. */
static void serve_soon(struct conduit_conn *conn)
{
    if (conn->pins == 0)
        cdt_defer(conn->ctx, &conn->task);
}

static int enqueue(struct conduit_conn *conn, const struct iovec *v, int pieces, size_t sent)
{
    struct cdt_queue *queue = conn->upgrade != NULL ? &conn->upgrade->later : &conn->queue;
    if (!cdt_queue_putv(queue, v, pieces, sent))
        return CONDUIT_ENOMEM;
    if (conn->state == CDT_OPEN)
        serve_soon(conn);
    if (conduit_queued(conn) < conn->manner->options.high_water)
        return 0;
    conn->full = true;
    return 1;
}

/* Of `n` bytes that are to go the first `sent` have. */
static int queue_rest(struct conduit_conn *conn, const struct iovec *v, int pieces, size_t n,
                      size_t sent)
{
    int code = 0;
    if (sent < n)
        code = enqueue(conn, v, pieces, sent);
    conn->reset |= code < 0 && sent > 0;
    if (code < 0 && sent > 0)
        cdt_conn_finish(conn, cdt_error_new(CONDUIT_ENOMEM, CONDUIT_STAGE_IO, where(conn), NULL, 0,
                                            "out of memory in the middle of a write"));
    if (code >= 0)
        conn->bytes_out += n;
    return code;
}

/* Can what is written now go without waiting for anything? */
static bool has_way(const struct conduit_conn *conn)
{
    return conn->state == CDT_OPEN && conn->upgrade == NULL && conn->queue.size == 0;
}

/* Bytes that the path took, perhaps 0, or ECLOSED. */
static inline ssize_t write_now(struct conduit_conn *conn, const struct iovec *v, int pieces)
{
    ssize_t taken =
        cdt_layer_write(conn->path->top, v, pieces < MOST_IN_A_CALL ? pieces : MOST_IN_A_CALL);
    if (taken < 0 && taken != CONDUIT_EAGAIN) {
        break_writing(conn);
        return CONDUIT_ECLOSED;
    }
    note_progress(conn);
    if (conn->layered) {
        conn->unflushed = true;
        serve_soon(conn);
    }
    return taken > 0 ? taken : 0;
}

/* What would make too much of what is held goes by itself, after it. */
static void make_way(struct conduit_conn *conn, size_t n)
{
    if (conn->held && (n > MOST_HELD || conn->queue.size > MOST_HELD - n))
        push_held(conn);
}

static bool takes_more(const struct conduit_conn *conn)
{
    return conn->state <= CDT_OPEN && !conn->ending && !conn->broken;
}

/* Will `n` more bytes be no more memory than the limit? A piece of a file may be there beyond it. */
static bool fits(const struct conduit_conn *conn, size_t n)
{
    size_t has = conn->queue.size - conn->queue.in_files;
    if (conn->upgrade != NULL)
        has += conn->upgrade->later.size - conn->upgrade->later.in_files;
    size_t limit = conn->manner->options.write_limit;
    return has <= limit && n <= limit - has;
}

static inline int take(struct conduit_conn *conn, const struct iovec *v, int pieces, size_t n)
{
    make_way(conn, n);
    if (!takes_more(conn))
        return CONDUIT_ECLOSED;
    if (!fits(conn, n))
        return CONDUIT_ELIMIT;
    ssize_t sent = 0;
    if (n > 0 && has_way(conn)) {
        conn->held = conn->manner->options.gather && n <= MOST_HELD;
        sent = conn->held ? 0 : write_now(conn, v, pieces);
    }
    if (sent == (ssize_t)n) {
        conn->bytes_out += n;
        return 0;
    }
    return sent < 0 ? (int)sent : queue_rest(conn, v, pieces, n, (size_t)sent);
}

int conduit_write(conduit_conn *conn, const void *data, size_t n)
{
    CDT_ASSERT_THREAD(conn->ctx);
    const struct iovec v = {.iov_base = cdt_bytes(data), .iov_len = n};
    return take(conn, &v, 1, n);
}

int conduit_writev(conduit_conn *conn, const struct iovec *v, int pieces)
{
    CDT_ASSERT_THREAD(conn->ctx);
    size_t n = 0;
    if (pieces < 0)
        return CONDUIT_EINVAL;
    for (int i = 0; i < pieces; i++) {
        if (v[i].iov_len > SIZE_MAX - n)
            return CONDUIT_ELIMIT;
        n += v[i].iov_len;
    }
    return take(conn, v, pieces, n);
}

/* A descriptor and a call of its own are more than it costs to copy it. */
static int write_small_file(struct conduit_conn *conn, const struct cdt_extent *extent)
{
    unsigned char bytes[MOST_HELD];
    int code = cdt_extent_read(extent, bytes);
    return code < 0 ? code : conduit_write(conn, bytes, extent->n);
}

/* It goes when the callback returns, with what was written before. */
static int queue_file(struct conduit_conn *conn, struct cdt_extent extent)
{
    struct cdt_queue *queue = conn->upgrade != NULL ? &conn->upgrade->later : &conn->queue;
    int code = cdt_extent_own(&extent);
    if (code < 0)
        return code;
    bool first = has_way(conn);
    if (!cdt_queue_put_file(queue, &extent)) {
        close(extent.fd);
        return CONDUIT_ENOMEM;
    }
    conn->held |= first;
    conn->full = true;
    conn->bytes_out += extent.n;
    if (conn->state == CDT_OPEN)
        serve_soon(conn);
    return 1;
}

int conduit_write_file(conduit_conn *conn, int fd, uint64_t offset, size_t n)
{
    CDT_ASSERT_THREAD(conn->ctx);
    int code = cdt_extent_check(fd, offset, n);
    if (code < 0)
        return code;
    const struct cdt_extent extent = {fd, (off_t)offset, n};
    if (n <= MOST_HELD)
        return write_small_file(conn, &extent);
    if (!takes_more(conn))
        return CONDUIT_ECLOSED;
    if (n > SIZE_MAX - conduit_queued(conn))
        return CONDUIT_ELIMIT;
    return queue_file(conn, extent);
}

void conduit_wake(conduit_conn *conn)
{
    CDT_ASSERT_THREAD(conn->ctx);
    if (conn->state > CDT_OPEN)
        return;
    conn->woken = true;
    cdt_defer(conn->ctx, &conn->task);
}

/* Not now: on_drain will say when. */
static int await_room(struct conduit_conn *conn)
{
    conn->full = conn->fd_waits = true;
    serve_soon(conn);
    return CONDUIT_EAGAIN;
}

static int send_fd(struct conduit_conn *conn, int fd, const void *data, size_t n)
{
    ssize_t taken = cdt_passing_write(conn->path->top, data, n, fd);
    if (taken == CONDUIT_EAGAIN)
        return await_room(conn);
    if (taken < 0 && conn->path->error == NULL)
        return (int)taken;
    if (taken < 0) {
        break_writing(conn);
        return CONDUIT_ECLOSED;
    }
    note_progress(conn);
    const struct iovec v = {.iov_base = cdt_bytes(data), .iov_len = n};
    return queue_rest(conn, &v, 1, n, (size_t)taken);
}

int conduit_send_fd(conduit_conn *conn, int fd, const void *data, size_t n)
{
    CDT_ASSERT_THREAD(conn->ctx);
    if (n == 0 || fd < 0)
        return CONDUIT_EINVAL;
    push_held(conn);
    if (!takes_more(conn))
        return CONDUIT_ECLOSED;
    if (conn->state == CDT_OPENING)
        return CONDUIT_EAGAIN; /* on_open says when */
    if (conn->upgrade != NULL || !passes_fds(conn))
        return CONDUIT_ENOTSUP;
    if (!fits(conn, n))
        return CONDUIT_ELIMIT;
    return conn->queue.size > 0 ? await_room(conn) : send_fd(conn, fd, data, n);
}

size_t conduit_queued(const conduit_conn *conn)
{
    return conn->queue.size + (conn->upgrade != NULL ? conn->upgrade->later.size : 0);
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
        look_in_time(conn);
    }
    conn->read_again = cdt_layer_pending(conn->path->top);
    if (conn->read_again)
        cdt_defer(conn->ctx, &conn->task);
    else
        serve_soon(conn);
}

void conduit_end(conduit_conn *conn)
{
    CDT_ASSERT_THREAD(conn->ctx);
    if (conn->state > CDT_OPEN || conn->ending)
        return;
    conn->ending = true;
    if (conn->state == CDT_OPEN)
        serve_soon(conn);
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
        finish_failed(conn);
        return;
    }
    conn->state = CDT_CLOSING;
    conn->ending = true;
    begin_close_deadline(conn);
    conn->read_again = cdt_layer_pending(conn->path->top);
    if (conn->read_again)
        cdt_defer(conn->ctx, &conn->task);
    else
        serve_soon(conn);
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
    push_held(conn);
    if (!at_rest(conn) || !cdt_stay_keeps(conn->stay) || !holds_nothing(conn->path)) {
        conduit_close(conn);
        return;
    }
    struct cdt_path *path = conn->path;
    struct cdt_stay *stay = conn->stay;
    conn->path = NULL;
    conn->stay = NULL;
    conn->released = true;
    free_info(conn->info);
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
        cdt_conn_abort(conn, cdt_error_new(code, stage_of(conn), where(conn), NULL, 0, "%s", text));
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

static int set_timeout(struct conduit_conn *conn, conduit_timeout which, uint32_t ms)
{
    struct cdt_deadlines *d = &conn->deadlines;
    uint64_t now_ms = cdt_now_ms(conn->ctx);
    switch (which) {
    case CONDUIT_TIMEOUT_IDLE:
        d->idle_ms = ms;
        cdt_deadlines_stir(d, now_ms);
        return 0;
    case CONDUIT_TIMEOUT_WRITE:
        d->write_ms = ms;
        cdt_deadlines_wait(d, now_ms);
        return 0;
    case CONDUIT_TIMEOUT_CLOSE:
        d->close_ms = close_timeout(ms);
        if (d->close_at_ms != 0)
            cdt_deadlines_close(d, now_ms);
        return 0;
    case CONDUIT_TIMEOUT_LIFETIME:
        cdt_deadlines_live(d, ms, now_ms);
        return 0;
    case CONDUIT_TIMEOUT_WAKE:
        cdt_deadlines_wake(d, ms, now_ms);
        return 0;
    }
    return CONDUIT_EINVAL;
}

int conduit_set_timeout(conduit_conn *conn, conduit_timeout which, uint32_t ms)
{
    CDT_ASSERT_THREAD(conn->ctx);
    if (conn->state >= CDT_CLOSED)
        return CONDUIT_ECLOSED;
    note(conn);
    int code = set_timeout(conn, which, ms);
    look_in_time(conn);
    return code;
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

/* ---- info ---- */

/* Who was told of by a proxy is the peer, and the proxy is whom the transport sees. */
static void describe(const struct cdt_path *path, struct cdt_facts *facts)
{
    facts->peer_pid = facts->peer_uid = facts->peer_gid = -1;
    facts->wants_chain = true;
    cdt_endpoint_stack(path->endpoint, facts->stack, sizeof(facts->stack));
    cdt_layer_describe(path->top, facts);
    if (path->peer == NULL)
        return;
    memcpy(facts->via, facts->peer, sizeof(facts->via));
    snprintf(facts->peer, sizeof(facts->peer), "%s", path->peer);
}

static double between_ms(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (double)(to_ns - from_ns) / 1e6 : 0;
}

static struct cdt_conn_info *make_info(const struct conduit_conn *conn)
{
    struct cdt_conn_info *made = conduit_calloc(1, sizeof(*made));
    if (made == NULL)
        return NULL;
    struct cdt_facts *facts = &made->facts;
    describe(conn->path, facts);
    made->tls = (conduit_tls_info){
        .version = facts->tls_version,
        .cipher = facts->tls_cipher,
        .alpn = facts->tls_alpn,
        .name = facts->tls_name,
        .peer = facts->tls_peer,
        .verify = facts->tls_verify,
        .resumed = facts->tls_resumed,
        .early = facts->tls_early,
        .peer_names = facts->tls_peer_names,
        .fingerprint = facts->tls_fingerprint,
        .chain = facts->tls_chain != NULL ? facts->tls_chain : "",
        .ocsp = facts->tls_ocsp,
    };
    made->info = (conduit_info){
        .uri = conn->uri != NULL ? conn->uri : conduit_endpoint_uri(conn->accepted_at),
        .endpoint = conduit_endpoint_uri(conn->path->endpoint),
        .peer = facts->peer,
        .local = facts->local,
        .stack = facts->stack,
        .tls = facts->has_tls ? &made->tls : NULL,
        .failed = conn->failed,
        .resolve_ms = conn->resolve_ms,
        .dial_ms = conn->reused ? 0 : between_ms(conn->path->begun_ns, conn->path->connected_ns),
        .handshake_ms =
            conn->reused ? 0 : between_ms(conn->path->connected_ns, conn->path->opened_ns),
        .open_ms = conn->open_ms,
        .peer_pid = facts->peer_pid,
        .peer_uid = facts->peer_uid,
        .peer_gid = facts->peer_gid,
        .via = facts->via,
    };
    return made;
}

const conduit_info *conduit_conn_info(conduit_conn *conn)
{
    if (conn->path == NULL)
        return NULL;
    if (conn->info != NULL && conn->info->info.endpoint != where(conn)) { /* TLS has begun */
        conduit_free(conn->info);
        conn->info = NULL;
    }
    if (conn->info == NULL)
        conn->info = make_info(conn);
    if (conn->info == NULL)
        return NULL;
    conn->info->info.bytes_in = conn->bytes_in;
    conn->info->info.bytes_out = conn->bytes_out;
    return &conn->info->info;
}
