/* SPDX-License-Identifier: ISC */
/* Letting connections end, and telling when the last has: drain.h. */
#include "drain.h"
#include "connection.h"
#include "error.h"
#include "util.h"
#include <utlist.h>

/* How often a drain looks for connections that fell silent. */
enum { QUIET_MS = 1000 };

static bool concerns(const struct cdt_drain *drain, const struct conduit_conn *conn)
{
    return drain->of == NULL || conn->tally == drain->of;
}

static bool any_left(const struct cdt_drain *drain)
{
    for (const struct conduit_conn *conn = drain->ctx->conns; conn != NULL; conn = conn->next)
        if (concerns(drain, conn))
            return true;
    return false;
}

static void on_task(struct cdt_task *task)
{
    struct cdt_drain *drain = CDT_CONTAINER(task, struct cdt_drain, task);
    if (any_left(drain) || (drain->busy != NULL && drain->busy(drain)))
        return;
    cdt_drain_stop(drain);
    drain->gone(drain);
}

void cdt_drains_look(conduit_ctx *ctx)
{
    for (struct cdt_drain *drain = ctx->drains; drain != NULL; drain = drain->next)
        cdt_defer(ctx, &drain->task);
}

/* Bytes that came in or really went out. */
static uint64_t moved_by(const struct conduit_conn *conn)
{
    return conn->bytes_in + conn->bytes_out - conn->queue.size;
}

static const conduit_error *over(const struct cdt_drain *drain)
{
    return cdt_error_new(CONDUIT_ECANCELED, CONDUIT_STAGE_IO, NULL, NULL, 0,
                         "the drain's %.1f s are over", drain->given_ms / 1000.0);
}

/* How much had moved, and when that was seen first. Two drains may look at one connection. */
static void mark(const struct cdt_drain *drain, struct conduit_conn *conn)
{
    conn->drain_mark = moved_by(conn);
    conn->drain_mark_ms = cdt_now_ms(drain->ctx);
}

static void look_at(const struct cdt_drain *drain, struct conduit_conn *conn, bool late)
{
    if (late)
        cdt_conn_abort(conn, over(drain));
    else if (moved_by(conn) != conn->drain_mark || conn->queue.size > 0)
        mark(drain, conn);
    else if (cdt_now_ms(drain->ctx) - conn->drain_mark_ms >= QUIET_MS)
        conduit_close(conn);
}

static void on_timer(struct cdt_timer *timer);

static void look_again(struct cdt_drain *drain)
{
    uint64_t now_ms = cdt_now_ms(drain->ctx);
    uint64_t left_ms = drain->until_ms > now_ms ? drain->until_ms - now_ms : 0;
    cdt_timer_start(drain->ctx, &drain->timer, left_ms < QUIET_MS ? left_ms : QUIET_MS, on_timer);
}

static void on_timer(struct cdt_timer *timer)
{
    struct cdt_drain *drain = CDT_CONTAINER(timer, struct cdt_drain, timer);
    bool late = cdt_now_ms(drain->ctx) >= drain->until_ms;
    for (struct conduit_conn *conn = drain->ctx->conns; conn != NULL; conn = conn->next)
        if (concerns(drain, conn))
            look_at(drain, conn, late);
    if (late && drain->give_up != NULL)
        drain->give_up(drain);
    if (!late)
        look_again(drain);
    else if (drain->busy != NULL && drain->busy(drain)) /* who is still to be let in is late, too */
        cdt_timer_start(drain->ctx, &drain->timer, 1, on_timer);
}

void cdt_drain_start(struct cdt_drain *drain, conduit_ctx *ctx, const struct cdt_tally *of,
                     uint32_t deadline_ms)
{
    if (drain->ctx == NULL) {
        drain->ctx = ctx;
        drain->of = of;
        drain->task.run = on_task;
        DL_APPEND(ctx->drains, drain);
    }
    for (struct conduit_conn *conn = ctx->conns; conn != NULL; conn = conn->next)
        if (concerns(drain, conn))
            mark(drain, conn);
    drain->given_ms = deadline_ms;
    drain->until_ms = cdt_now_ms(ctx) + deadline_ms;
    cdt_defer(ctx, &drain->task);
    look_again(drain);
}

void cdt_drain_stop(struct cdt_drain *drain)
{
    if (drain->ctx == NULL)
        return;
    cdt_timer_stop(drain->ctx, &drain->timer);
    cdt_undefer(drain->ctx, &drain->task);
    DL_DELETE(drain->ctx->drains, drain);
    drain->ctx = NULL;
}
