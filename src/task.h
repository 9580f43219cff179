/* SPDX-License-Identifier: ISC */
/*
 * Tasks: what is to be done from the loop, soon, embedded in the struct it belongs to.
 *
 * The run-queue is how a callback never runs before the call that caused it has returned, and never
 * inside somebody else's frame: such calls put a task on the queue, and the queue is run by an idle
 * handle that is active only while there is something on it, before the loop polls again.
 */
#ifndef CDT_TASK_H
#define CDT_TASK_H

#include <conduit/context.h>

struct cdt_task {
    struct cdt_task *prev, *next;
    bool queued;
    void (*run)(struct cdt_task *task);
};

/* Run task->run(task) from the loop, soon. One that is queued already stays where it is. */
void cdt_defer(conduit_ctx *ctx, struct cdt_task *task);
/* Take it off again. Idempotent. */
void cdt_undefer(conduit_ctx *ctx, struct cdt_task *task);

#endif
