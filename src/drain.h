/* SPDX-License-Identifier: ISC */
/*
 * A drain: letting connections end, those of one listener or all of a context.
 *
 * One goes on until it ends by itself, or has been silent for a second and has nothing to send,
 * when it is closed gracefully; what is left at the deadline is aborted. Then, or when the last has
 * ended before, gone() is called once, from the run-queue. Embedded in what it belongs to;
 * cdt_drain_stop() before that goes.
 */
#ifndef CDT_DRAIN_H
#define CDT_DRAIN_H

#include "task.h"
#include "timer.h"

struct cdt_tally;

struct cdt_drain {
    struct cdt_drain *prev, *next; /* in ctx->drains */
    conduit_ctx *ctx;              /* NULL: it is not under way */
    const struct cdt_tally *of;    /* a listener's connections; NULL: all */
    uint64_t until_ms;
    uint32_t given_ms;
    struct cdt_timer timer;
    struct cdt_task task;
    /* Is anything else waited for? NULL: nothing. */
    bool (*busy)(struct cdt_drain *drain);
    /* At the deadline: give up what else is waited for. NULL: there is nothing. */
    void (*give_up)(struct cdt_drain *drain);
    void (*gone)(struct cdt_drain *drain);
};

/* With busy, give_up and gone set. Starting again only moves the deadline. */
void cdt_drain_start(struct cdt_drain *drain, conduit_ctx *ctx, const struct cdt_tally *of,
                     uint32_t deadline_ms);
/* Idempotent; fine on a zeroed struct. */
void cdt_drain_stop(struct cdt_drain *drain);
/* Something ended that drains of this context may have waited for. */
void cdt_drains_look(conduit_ctx *ctx);

#endif
