/* SPDX-License-Identifier: ISC */
/* Building a byte path from an endpoint, bottom up, and driving it open: stack.h. */
#include "stack.h"
#include "context.h"
#include "endpoint.h"
#include "transport.h"
#include "util.h"

const char cdt_check_no_memory[] = "out of memory";

static int push_layers(struct cdt_path *path, const conduit_endpoint *as,
                       const struct cdt_step *step, bool server)
{
    if (as->below == NULL)
        return 0;
    int code = push_layers(path, as->below, step + 1, server);
    const struct cdt_stack_options options = {server, step->tls, step->login};
    return code < 0 ? code : as->layer->push(path, as, &options);
}

int cdt_stack_dial(struct cdt_path *path, const struct cdt_step *steps, bool server)
{
    const conduit_endpoint *bottom = cdt_endpoint_bottom(path->endpoint);
    int code = bottom->transport->dial(path, bottom);
    return code < 0 ? code : push_layers(path, path->endpoint, steps, server);
}

int cdt_stack_accept(struct cdt_path *path, const struct cdt_step *steps)
{
    return push_layers(path, path->endpoint, steps, true);
}

static void detach(struct cdt_opening *opening)
{
    cdt_timer_stop(opening->path->ctx, &opening->deadline);
    opening->path = NULL;
}

/* A layer over the transport has its turn once that is connected. */
int cdt_path_open(struct cdt_path *path)
{
    int code = cdt_layer_open(path->top);
    bool shaking = path->stage != CONDUIT_STAGE_DIAL;
    if (code != 0 && (!shaking || path->connected_ns != 0))
        return code;
    uint64_t now_ns = uv_hrtime();
    if (path->connected_ns == 0) {
        path->connected_ns = now_ns;
        if (shaking)
            cdt_trace(path->ctx, path->begun_ns, "handshake", "%s",
                      conduit_endpoint_uri(path->endpoint));
    }
    if (code == 0 && path->opened_ns == 0) /* TLS that begins later is no part of it */
        path->opened_ns = now_ns;
    return code;
}

static void on_ready(struct cdt_path *path, unsigned events)
{
    struct cdt_opening *opening = path->owner;
    int code = cdt_path_open(path);
    if (code == CONDUIT_EAGAIN)
        return;
    detach(opening);
    opening->done(opening, code);
}

static void on_deadline(struct cdt_timer *timer)
{
    struct cdt_opening *opening = CDT_CONTAINER(timer, struct cdt_opening, deadline);
    struct cdt_path *path = opening->path;
    int code = cdt_path_fail(path, CONDUIT_ETIMEDOUT, path->stage, NULL, 0, "%s within %.1f s",
                             path->stage == CONDUIT_STAGE_DIAL ? "not connected" : "not opened",
                             opening->timeout_ms / 1000.0);
    detach(opening);
    opening->done(opening, code);
}

void cdt_opening_wait(struct cdt_opening *opening, struct cdt_path *path, uint32_t timeout_ms,
                      void (*done)(struct cdt_opening *, int))
{
    path->owner = opening;
    path->ready = on_ready;
    opening->path = path;
    opening->done = done;
    opening->timeout_ms = timeout_ms;
    cdt_timer_start(path->ctx, &opening->deadline, timeout_ms, on_deadline);
}

int cdt_opening_start(struct cdt_opening *opening, struct cdt_path *path, uint32_t timeout_ms,
                      void (*done)(struct cdt_opening *, int))
{
    int code = cdt_path_open(path);
    if (code == CONDUIT_EAGAIN)
        cdt_opening_wait(opening, path, timeout_ms, done);
    return code;
}

void cdt_opening_leave(struct cdt_opening *opening)
{
    if (opening->path != NULL)
        detach(opening);
}

void cdt_opening_stop(struct cdt_opening *opening)
{
    struct cdt_path *path = opening->path;
    if (path == NULL)
        return;
    detach(opening);
    cdt_path_free(path, true);
}
