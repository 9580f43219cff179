/* SPDX-License-Identifier: ISC */
/* Work on another thread: offload.h says what for. */
#include "offload.h"
#include "context.h"
#include <conduit/memory.h>

struct offload {
    uv_work_t work;
    conduit_ctx *ctx;
    void (*run)(void *arg);
    void (*after)(conduit_ctx *ctx, void *arg);
    void *arg;
};

static void on_thread(uv_work_t *work)
{
    struct offload *offload = work->data;
    offload->run(offload->arg);
}

static void on_over(uv_work_t *work, int status)
{
    struct offload *offload = work->data;
    conduit_ctx *ctx = offload->ctx;
    offload->after(ctx, offload->arg);
    conduit_free(offload);
    cdt_ctx_drop(ctx);
}

bool cdt_offload(conduit_ctx *ctx, void (*work)(void *arg), void (*after)(conduit_ctx *, void *arg),
                 void *arg)
{
    struct offload *offload = conduit_calloc(1, sizeof(*offload));
    if (offload == NULL)
        return false;
    *offload = (struct offload){.ctx = ctx, .run = work, .after = after, .arg = arg};
    offload->work.data = offload;
    if (uv_queue_work(ctx->loop, &offload->work, on_thread, on_over) < 0) {
        conduit_free(offload);
        return false;
    }
    cdt_ctx_hold(ctx);
    return true;
}
