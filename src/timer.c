/* SPDX-License-Identifier: ISC */
/* Deadlines in a red-black tree (libuv's own, uv/tree.h), the earliest of them on the context's
 * uv_timer_t. */
#include "context.h"

static int compare(const struct cdt_timer *a, const struct cdt_timer *b)
{
    if (a->at_ms != b->at_ms)
        return a->at_ms < b->at_ms ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
RB_GENERATE_STATIC(cdt_timer_tree, cdt_timer, node, compare)
#pragma GCC diagnostic pop

uint64_t cdt_now_ms(const conduit_ctx *ctx)
{
    return ctx->now_ms(ctx);
}

static void rearm(conduit_ctx *ctx);

/* Only what somebody waits for keeps the loop running. */
static void count(conduit_ctx *ctx, const struct cdt_timer *timer, int change)
{
    if (timer->background)
        return;
    ctx->n_timers_awaited += change;
    if (ctx->n_timers_awaited > 0)
        uv_ref((uv_handle_t *)&ctx->clock);
    else
        uv_unref((uv_handle_t *)&ctx->clock);
}

void cdt_timers_fire(conduit_ctx *ctx)
{
    uint64_t now = cdt_now_ms(ctx);
    struct cdt_timer *first;
    while ((first = RB_MIN(cdt_timer_tree, &ctx->timers)) != NULL && first->at_ms <= now) {
        cdt_timer_stop(ctx, first);
        first->fire(first);
    }
    rearm(ctx);
}

static void on_clock(uv_timer_t *clock)
{
    cdt_timers_fire(clock->data);
}

/* libuv counts from the loop's cached time, which may lag behind by whatever the callbacks of this
 * turn took (a TLS handshake, say): without the update a 50 ms timer fires after 9. */
static void rearm(conduit_ctx *ctx)
{
    const struct cdt_timer *first = RB_MIN(cdt_timer_tree, &ctx->timers);
    if (first == NULL) {
        uv_timer_stop(&ctx->clock);
        return;
    }
    uint64_t now = cdt_now_ms(ctx);
    uv_update_time(ctx->loop);
    uv_timer_start(&ctx->clock, on_clock, first->at_ms > now ? first->at_ms - now : 0, 0);
}

void cdt_timer_start(conduit_ctx *ctx, struct cdt_timer *timer, uint64_t delay_ms,
                     void (*fire)(struct cdt_timer *))
{
    cdt_timer_stop(ctx, timer);
    timer->at_ms = cdt_now_ms(ctx) + delay_ms;
    timer->order = ctx->timer_order++;
    timer->fire = fire;
    timer->armed = true;
    count(ctx, timer, 1);
    RB_INSERT(cdt_timer_tree, &ctx->timers, timer);
    if (RB_MIN(cdt_timer_tree, &ctx->timers) == timer)
        rearm(ctx);
}

/* A uv_timer_t that fires for nobody costs one wake-up; stopping it each time would cost more. With
 * no timer left it has to stop, for it would keep the loop alive. */
void cdt_timer_stop(conduit_ctx *ctx, struct cdt_timer *timer)
{
    if (!timer->armed)
        return;
    timer->armed = false;
    count(ctx, timer, -1);
    RB_REMOVE(cdt_timer_tree, &ctx->timers, timer);
    if (RB_EMPTY(&ctx->timers))
        uv_timer_stop(&ctx->clock);
}
