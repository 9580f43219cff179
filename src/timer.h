/* SPDX-License-Identifier: ISC */
/*
 * Deadlines: any number of them on one libuv timer, embedded in the struct they belong to.
 *
 * A uv_timer_t each would be larger, and could only be freed after an asynchronous close. These can
 * be dropped with the struct they are in, once stopped. The clock is the context's: tests put their
 * own in its place.
 */
#ifndef CDT_TIMER_H
#define CDT_TIMER_H

#include <conduit/context.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv/tree.h>

struct cdt_timer {
    RB_ENTRY(cdt_timer) node;
    uint64_t at_ms;
    uint64_t order; /* ties fire in the order in which they were started */
    bool armed;
    bool background; /* nothing to keep the loop running for; set before the start */
    void (*fire)(struct cdt_timer *timer);
};

/* (Re)start: fire() is called once, from the loop, no earlier than `delay_ms` from now. */
void cdt_timer_start(conduit_ctx *ctx, struct cdt_timer *timer, uint64_t delay_ms,
                     void (*fire)(struct cdt_timer *timer));
/* Idempotent; fine on a zeroed struct. */
void cdt_timer_stop(conduit_ctx *ctx, struct cdt_timer *timer);

/* Fire what is due. The loop does it; a test that moved its clock does too. */
void cdt_timers_fire(conduit_ctx *ctx);

/* Monotonic milliseconds. */
uint64_t cdt_now_ms(const conduit_ctx *ctx);

#endif
