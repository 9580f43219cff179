/* SPDX-License-Identifier: ISC */
/*
 * inproc: two ends of a connection inside one context, in memory.
 *
 * Each end has an inbox that the other writes into; a full inbox is back-pressure, as a full socket
 * buffer would be. Readiness comes off the context's run-queue, so it behaves like a kernel's:
 * never from inside a read or write. This makes everything above testable without a kernel, and
 * lets a program talk to its own server by URI.
 */
#include "context.h"
#include "endpoint.h"
#include "error.h"
#include "transport.h"
#include "util.h"
#include <conduit/memory.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

enum { INBOX_SIZE = 64 * 1024 };

struct end {
    struct cdt_layer layer;  /* layer.path is NULL until it is accepted */
    struct end *prev, *next; /* in an acceptor's backlog */
    struct end *peer;        /* NULL once that is closed */
    conduit_ctx *ctx;
    struct cdt_task task;
    unsigned wanted;
    bool peer_finished; /* no more will come; what is in the inbox still counts */
    bool peer_reset;
    unsigned char *inbox; /* a ring, INBOX_SIZE bytes, while there is something in it */
    size_t start, size;
};

struct inproc_acceptor {
    struct cdt_acceptor acceptor;
    struct inproc_acceptor *prev, *next; /* in ctx->inproc */
    struct end *backlog;
    int n_backlog, most;
    bool on;
    struct cdt_task task;
};

/* ---- readiness ---- */

static unsigned ready_events(const struct end *end)
{
    bool readable = end->size > 0 || end->peer_finished || end->peer_reset || end->peer == NULL;
    bool writable = end->peer == NULL || end->peer->size < INBOX_SIZE;
    return end->wanted & ((readable ? CDT_READ : 0) | (writable ? CDT_WRITE : 0));
}

static void poke(struct end *end)
{
    if (end != NULL && ready_events(end) != 0)
        cdt_defer(end->ctx, &end->task);
}

/* Level-triggered: as long as something is ready and wanted it comes again, next turn. The end may
 * be gone after ready(), so that is arranged before. */
static void on_task(struct cdt_task *task)
{
    struct end *end = CDT_CONTAINER(task, struct end, task);
    unsigned events = ready_events(end);
    if (events == 0)
        return;
    cdt_defer(end->ctx, task);
    end->layer.path->ready(end->layer.path, events);
}

/* ---- the layer ---- */

static struct end *of(struct cdt_layer *layer)
{
    return CDT_CONTAINER(layer, struct end, layer);
}

static int open_end(struct cdt_layer *layer)
{
    return 0;
}

static ssize_t read_end(struct cdt_layer *layer, void *buf, size_t len)
{
    struct end *end = of(layer);
    if (end->peer_reset)
        return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, ECONNRESET, "read");
    if (end->size == 0)
        return end->peer_finished || end->peer == NULL ? 0 : CONDUIT_EAGAIN;
    size_t done = 0;
    while (done < len && end->size > 0) {
        size_t run = INBOX_SIZE - end->start;
        size_t n = end->size < run ? end->size : run;
        n = n < len - done ? n : len - done;
        memcpy((unsigned char *)buf + done, end->inbox + end->start, n);
        end->start = (end->start + n) % INBOX_SIZE;
        end->size -= n;
        done += n;
    }
    if (end->size == 0) {
        conduit_free(end->inbox);
        end->inbox = NULL;
        end->start = 0;
    }
    poke(end->peer);
    return (ssize_t)done;
}

static size_t put(struct end *to, const unsigned char *data, size_t n)
{
    size_t done = 0;
    while (done < n && to->size < INBOX_SIZE) {
        size_t at = (to->start + to->size) % INBOX_SIZE;
        size_t run = at >= to->start ? INBOX_SIZE - at : to->start - at;
        size_t piece = n - done < run ? n - done : run;
        memcpy(to->inbox + at, data + done, piece);
        to->size += piece;
        done += piece;
    }
    return done;
}

static ssize_t write_end(struct cdt_layer *layer, const struct iovec *v, int n)
{
    struct end *to = of(layer)->peer;
    if (to == NULL)
        return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, EPIPE, "write");
    if (to->inbox == NULL)
        to->inbox = conduit_malloc(INBOX_SIZE);
    if (to->inbox == NULL)
        return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, ENOMEM, "write");
    size_t done = 0;
    for (int i = 0; i < n; i++) {
        size_t taken = put(to, v[i].iov_base, v[i].iov_len);
        done += taken;
        if (taken < v[i].iov_len)
            break;
    }
    poke(to);
    return done > 0 ? (ssize_t)done : CONDUIT_EAGAIN;
}

static int finish_end(struct cdt_layer *layer)
{
    struct end *end = of(layer);
    if (end->peer != NULL) {
        end->peer->peer_finished = true;
        poke(end->peer);
    }
    return 0;
}

static void want_events(struct cdt_layer *layer, unsigned events)
{
    struct end *end = of(layer);
    end->wanted = events;
    poke(end);
}

static void destroy_end(struct end *end, bool reset)
{
    if (end->peer != NULL) {
        end->peer->peer_reset = reset;
        end->peer->peer = NULL;
        poke(end->peer);
    }
    cdt_undefer(end->ctx, &end->task);
    conduit_free(end->inbox);
    conduit_free(end);
}

static void close_end(struct cdt_layer *layer, bool reset)
{
    destroy_end(of(layer), reset);
}

static void describe(const struct cdt_layer *layer, struct cdt_facts *facts)
{
    const conduit_endpoint *bottom = cdt_endpoint_bottom(layer->path->endpoint);
    snprintf(facts->peer, sizeof(facts->peer), "%s", conduit_endpoint_uri(bottom));
    snprintf(facts->local, sizeof(facts->local), "%s", conduit_endpoint_uri(bottom));
}

static const struct cdt_layer_ops end_ops = {
    .name = "inproc",
    .open = open_end,
    .read = read_end,
    .write = write_end,
    .finish = finish_end,
    .want = want_events,
    .close = close_end,
    .describe = describe,
};

static struct end *make_end(conduit_ctx *ctx)
{
    struct end *end = conduit_calloc(1, sizeof(*end));
    if (end == NULL)
        return NULL;
    end->layer.ops = &end_ops;
    end->ctx = ctx;
    end->task.run = on_task;
    return end;
}

/* ---- dialling ---- */

static struct inproc_acceptor *find(conduit_ctx *ctx, const char *name)
{
    struct inproc_acceptor *all = ctx->inproc, *one;
    DL_FOREACH(all, one)
    if (strcmp(conduit_endpoint_host(one->acceptor.endpoint), name) == 0)
        return one;
    return NULL;
}

static int dial(struct cdt_path *path, const conduit_endpoint *to)
{
    struct inproc_acceptor *a = find(path->ctx, conduit_endpoint_host(to));
    if (a == NULL || a->n_backlog >= a->most)
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, ECONNREFUSED, "connect");
    struct end *ours = make_end(path->ctx), *theirs = make_end(path->ctx);
    if (ours == NULL || theirs == NULL) {
        conduit_free(ours);
        conduit_free(theirs);
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, ENOMEM, "connect");
    }
    ours->peer = theirs;
    theirs->peer = ours;
    cdt_path_push(path, &ours->layer);
    DL_APPEND(a->backlog, theirs);
    a->n_backlog++;
    if (a->on)
        cdt_defer(path->ctx, &a->task);
    return 0;
}

/* ---- accepting ---- */

static struct inproc_acceptor *acceptor_of(struct cdt_acceptor *acceptor)
{
    return CDT_CONTAINER(acceptor, struct inproc_acceptor, acceptor);
}

static struct end *take(struct inproc_acceptor *a)
{
    struct end *end = a->backlog;
    DL_DELETE(a->backlog, end);
    a->n_backlog--;
    return end;
}

static int accept_end(struct cdt_acceptor *acceptor, struct cdt_path *path, int *number)
{
    struct inproc_acceptor *a = acceptor_of(acceptor);
    if (a->backlog == NULL)
        return CONDUIT_EAGAIN;
    cdt_path_push(path, &take(a)->layer);
    return 0;
}

static void on_acceptor_task(struct cdt_task *task)
{
    struct inproc_acceptor *a = CDT_CONTAINER(task, struct inproc_acceptor, task);
    if (!a->on || a->backlog == NULL)
        return;
    cdt_defer(a->acceptor.ctx, task);
    a->acceptor.ready(&a->acceptor);
}

static void want_connections(struct cdt_acceptor *acceptor, bool on)
{
    struct inproc_acceptor *a = acceptor_of(acceptor);
    a->on = on;
    if (on && a->backlog != NULL)
        cdt_defer(acceptor->ctx, &a->task);
}

static void close_acceptor(struct cdt_acceptor *acceptor)
{
    struct inproc_acceptor *a = acceptor_of(acceptor);
    struct inproc_acceptor *all = acceptor->ctx->inproc;
    while (a->backlog != NULL)
        destroy_end(take(a), true);
    DL_DELETE(all, a);
    acceptor->ctx->inproc = all;
    cdt_undefer(acceptor->ctx, &a->task);
    conduit_endpoint_unref(acceptor->endpoint);
    conduit_free(a);
}

static const struct cdt_acceptor_ops acceptor_ops = {
    .accept = accept_end,
    .want = want_connections,
    .close = close_acceptor,
};

static int bind_inproc(conduit_ctx *ctx, const conduit_endpoint *at, int backlog,
                       struct cdt_acceptor **ret, const conduit_error **reterr)
{
    int number = find(ctx, conduit_endpoint_host(at)) != NULL ? EADDRINUSE : 0;
    struct inproc_acceptor *a = number == 0 ? conduit_calloc(1, sizeof(*a)) : NULL;
    if (a == NULL)
        return cdt_error_give(cdt_error_errno(CONDUIT_STAGE_DIAL, conduit_endpoint_uri(at),
                                              number != 0 ? number : ENOMEM, "bind"),
                              reterr);
    a->acceptor.ops = &acceptor_ops;
    a->acceptor.ctx = ctx;
    a->acceptor.endpoint = conduit_endpoint_ref(at);
    a->most = backlog;
    a->task.run = on_acceptor_task;
    struct inproc_acceptor *all = ctx->inproc;
    DL_APPEND(all, a);
    ctx->inproc = all;
    *ret = &a->acceptor;
    return 0;
}

const struct cdt_transport cdt_transport_inproc = {
    .name = "inproc",
    .form = CDT_FORM_NAME,
    .dial = dial,
    .bind = bind_inproc,
};
