/* SPDX-License-Identifier: ISC */
/*
 * The deadlines of a connection, as they meet it: deadlines.h says which of them is over, and here
 * is what is done about it.
 *
 * One timer for each connection, which is never moved for bytes. One that fires early finds nothing
 * over, and looks again.
 */
#include "overdue.h"
#include "connect.h"
#include "error.h"
#include "thread.h"
#include "util.h"
#include <stdio.h>

enum { DEFAULT_CLOSE_TIMEOUT_MS = 2000 };

static enum cdt_overdue check_deadlines(const struct conduit_conn *conn, uint64_t *next_ms)
{
    const struct cdt_doing doing = {
        .open = conn->state == CDT_OPEN,
        .paused = conn->paused,
        .waiting = conn->want & CDT_WRITE,
    };
    return cdt_deadlines_check(&conn->deadlines, &doing, cdt_now_ms(conn->ctx), next_ms);
}

void cdt_conn_note(struct conduit_conn *conn)
{
    const struct cdt_path *path = conn->path;
    if (path != NULL)
        cdt_deadlines_note(&conn->deadlines, path->received + path->sent, path->sent,
                           cdt_now_ms(conn->ctx));
}

static void on_deadline(struct cdt_timer *timer);

/* One that is armed for earlier than it need be finds nothing over, and looks again. */
void cdt_conn_look_in_time(struct conduit_conn *conn)
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

void cdt_conn_begin_deadlines(struct conduit_conn *conn)
{
    const conduit_conn_options *options = &conn->manner->options;
    conn->deadlines.idle_ms = options->idle_timeout_ms;
    conn->deadlines.write_ms = options->write_timeout_ms;
    conn->deadlines.close_ms = close_timeout(options->close_timeout_ms);
    if (options->lifetime_ms == 0)
        return;
    cdt_deadlines_live(&conn->deadlines, options->lifetime_ms, cdt_now_ms(conn->ctx));
    cdt_conn_look_in_time(conn);
}

void cdt_conn_open_deadlines(struct conduit_conn *conn)
{
    struct cdt_deadlines *d = &conn->deadlines;
    if (d->idle_ms == 0 && d->write_ms == 0)
        return;
    cdt_conn_note(conn);
    cdt_deadlines_stir(d, cdt_now_ms(conn->ctx));
    cdt_deadlines_wait(d, cdt_now_ms(conn->ctx));
    cdt_conn_look_in_time(conn);
}

void cdt_conn_begin_close(struct conduit_conn *conn)
{
    cdt_conn_note(conn);
    cdt_deadlines_close(&conn->deadlines, cdt_now_ms(conn->ctx));
    cdt_conn_look_in_time(conn);
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
    return cdt_error_new(CONDUIT_ETIMEDOUT, CONDUIT_STAGE_IO, cdt_conn_where(conn), NULL, 0, "%s",
                         text);
}

/* When all was sent and said, that the peer has not answered is its affair; and one that closed
 * only its ears may not go on talking for ever. */
static void finish_overdue(struct conduit_conn *conn, enum cdt_overdue over)
{
    bool closing = over == CDT_CLOSE_STALLED || over == CDT_CLOSE_OVER;
    if (conn->state == CDT_OPENING)
        cdt_connect_expire(conn->connect, conn->deadlines.lifetime_ms, "connection");
    else if (conn->broken)
        cdt_conn_finish_failed(conn);
    else if (closing && conn->ended)
        cdt_conn_finish(conn, NULL);
    else
        cdt_conn_finish(conn, overdue_error(conn, over));
}

static void on_deadline(struct cdt_timer *timer)
{
    struct conduit_conn *conn = CDT_CONTAINER(timer, struct conduit_conn, deadline);
    uint64_t next_ms;
    cdt_conn_note_progress(conn);
    enum cdt_overdue over = check_deadlines(conn, &next_ms);
    if (over == CDT_WAKE_DUE) {
        cdt_deadlines_wake(&conn->deadlines, 0, 0);
        conduit_wake(conn);
    }
    if (over == CDT_IN_TIME || over == CDT_WAKE_DUE)
        cdt_conn_look_in_time(conn);
    else
        finish_overdue(conn, over);
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
    cdt_conn_note(conn);
    int code = set_timeout(conn, which, ms);
    cdt_conn_look_in_time(conn);
    return code;
}
