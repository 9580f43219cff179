/* SPDX-License-Identifier: ISC */
/*
 * Our direction of a connection: what the user writes, on its way to the path.
 *
 * A write is offered to the path at once, and queued as far as the path did not take it; with
 * `gather`, or when it is a file, it is held until the callback returns, so that all of one
 * callback goes out together. What is queued goes when the path has room, and when there is nothing
 * left, a goodbye can follow. A path that fails is no reason yet to stop reading: see
 * break_writing().
 */
#include "writing.h"
#include "error.h"
#include "file.h"
#include "overdue.h"
#include "passing.h"
#include "reading.h"
#include "thread.h"
#include "upgrade.h"
#include "util.h"
#include <errno.h>
#include <unistd.h>

enum {
    MOST_PIECES = 16,
    MOST_IN_A_CALL = 1024,      /* IOV_MAX: what sendmsg(2) takes */
    MOST_HELD = 16 * 1024,      /* more is not worth holding back: it would be copied */
    FILE_PER_TURN = 512 * 1024, /* then others get their turn */
    FILE_PER_READ = 64 * 1024,
};

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
        cdt_conn_finish_failed(conn);
        return;
    }
    cdt_conn_begin_close(conn);
    conn->read_again = true;
    cdt_defer(conn->ctx, &conn->task);
}

/* What the peer got is not what it was promised, and must not look as if it were. */
static ssize_t fail_file(struct conduit_conn *conn, const struct cdt_extent *extent, int number)
{
    const conduit_error *why = NULL;
    if (number != 0)
        why = cdt_error_errno(CONDUIT_STAGE_IO, cdt_conn_where(conn), number,
                              "reading the file to send");
    else
        why = cdt_error_new(CONDUIT_EIO, CONDUIT_STAGE_IO, cdt_conn_where(conn), NULL, 0,
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
void cdt_conn_write_queued(struct conduit_conn *conn)
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

void cdt_conn_tell_drained(struct conduit_conn *conn)
{
    if (!has_drained(conn))
        return;
    conn->full = conn->fd_waits = false;
    if (conn->manner->handler.on_drain != NULL)
        conn->manner->handler.on_drain(conn, conn->user);
}

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

void cdt_conn_push_held(struct conduit_conn *conn)
{
    if (!conn->held || !cdt_conn_live(conn) || conn->broken)
        return;
    cdt_conn_write_queued(conn);
    if (has_drained(conn))
        cdt_defer(conn->ctx, &conn->task);
}

void cdt_conn_push_out(struct conduit_conn *conn)
{
    if (cdt_conn_live(conn) && is_nested(conn->path))
        flush(conn);
    if (cdt_conn_live(conn) && conn->upgrade == NULL)
        end_ours(conn);
    if (cdt_conn_live(conn))
        flush(conn);
}

static int enqueue(struct conduit_conn *conn, const struct iovec *v, int pieces, size_t sent)
{
    struct cdt_queue *queue = conn->upgrade != NULL ? &conn->upgrade->later : &conn->queue;
    if (!cdt_queue_putv(queue, v, pieces, sent))
        return CONDUIT_ENOMEM;
    if (conn->state == CDT_OPEN)
        cdt_conn_serve_soon(conn);
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
        cdt_conn_finish(conn, cdt_error_new(CONDUIT_ENOMEM, CONDUIT_STAGE_IO, cdt_conn_where(conn),
                                            NULL, 0, "out of memory in the middle of a write"));
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
    cdt_conn_note_progress(conn);
    if (conn->layered) {
        conn->unflushed = true;
        cdt_conn_serve_soon(conn);
    }
    return taken > 0 ? taken : 0;
}

/* What would make too much of what is held goes by itself, after it. */
static void make_way(struct conduit_conn *conn, size_t n)
{
    if (conn->held && (n > MOST_HELD || conn->queue.size > MOST_HELD - n))
        cdt_conn_push_held(conn);
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
        cdt_conn_serve_soon(conn);
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
    cdt_conn_serve_soon(conn);
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
    cdt_conn_note_progress(conn);
    const struct iovec v = {.iov_base = cdt_bytes(data), .iov_len = n};
    return queue_rest(conn, &v, 1, n, (size_t)taken);
}

int conduit_send_fd(conduit_conn *conn, int fd, const void *data, size_t n)
{
    CDT_ASSERT_THREAD(conn->ctx);
    if (n == 0 || fd < 0)
        return CONDUIT_EINVAL;
    cdt_conn_push_held(conn);
    if (!takes_more(conn))
        return CONDUIT_ECLOSED;
    if (conn->state == CDT_OPENING)
        return CONDUIT_EAGAIN; /* on_open says when */
    if (conn->upgrade != NULL || !cdt_conn_passes_fds(conn))
        return CONDUIT_ENOTSUP;
    if (!fits(conn, n))
        return CONDUIT_ELIMIT;
    return conn->queue.size > 0 ? await_room(conn) : send_fd(conn, fd, data, n);
}

size_t conduit_queued(const conduit_conn *conn)
{
    return conn->queue.size + (conn->upgrade != NULL ? conn->upgrade->later.size : 0);
}
