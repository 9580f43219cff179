/* SPDX-License-Identifier: ISC */
/*
 * See end.h. The order of things before sleeping: the wake-up that was reported is taken in, what
 * is owed to the peer is sent, the request is made, and the ring is looked at again (cdt_ring_arm);
 * only if that finds nothing is there nothing to do. So there is always one of three: a look is due
 * next turn, a wake-up is due, or nobody wants to know.
 */
#include "transports/vchan/end.h"
#include "endpoint.h"
#include "util.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>

enum {
    LOOKS_PER_TURN = 32, /* a few microseconds: then others have their turn */
    MOST_MISSES = 6,     /* after so many, one wake-up in 64 is used for a try */
};

static struct cdt_vchan_end *of(struct cdt_layer *layer)
{
    return CDT_CONTAINER(layer, struct cdt_vchan_end, layer);
}

/* ---- staying awake ---- */

uint32_t cdt_vchan_only_processor(void)
{
    cpu_set_t set;
    uint32_t n = 0;
    if (sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) != 1)
        return UINT32_MAX;
    while (!CPU_ISSET(n, &set))
        n++;
    return n;
}

static void set_awake(struct cdt_vchan_end *end, bool awake)
{
    if (awake == end->awake)
        return;
    end->awake = awake;
    end->ctx->vchans_awake += awake ? 1 : -1U;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static unsigned ready_events(struct cdt_vchan_end *end)
{
    return end->wanted & cdt_ring_ready(&end->ring);
}

/* What is ready. An end that is the only one awake looks for some microseconds. */
static unsigned look(struct cdt_vchan_end *end)
{
    unsigned events = ready_events(end);
    bool lone = end->moving && end->spin_us > 0 && end->ctx->vchans_awake == 1;
    int looks = lone ? LOOKS_PER_TURN : 1;
    while (events == 0 && --looks > 0) {
        relax();
        events = ready_events(end);
    }
    return events;
}

/* Bytes move: staying awake was of use, or may be from now on. */
static void note_traffic(struct cdt_vchan_end *end)
{
    if (end->moving) {
        if (end->until_ns != 0)
            end->misses = 0;
    } else if (end->skip > 0) {
        end->skip--;
        return;
    }
    end->moving = true;
    end->until_ns = 0;
}

static void note_miss(struct cdt_vchan_end *end)
{
    if (end->misses < MOST_MISSES)
        end->misses++;
    end->skip = (1U << end->misses) - 1;
    end->moving = false;
}

/* There was nothing: is it worth looking again? The clock is read only when there is nothing. */
static bool stays_awake(struct cdt_vchan_end *end)
{
    if (!end->moving || end->spin_us == 0)
        return false;
    uint64_t now_ns = uv_hrtime();
    if (end->until_ns == 0)
        end->until_ns = now_ns + end->spin_us * UINT64_C(1000);
    if (now_ns < end->until_ns)
        return true;
    note_miss(end);
    return false;
}

/* ---- readiness ---- */

/* What comes next: another look, or sleep. */
static void rest(struct cdt_vchan_end *end)
{
    if (end->ops->silence != NULL)
        end->ops->silence(end);
    bool again = ready_events(end) != 0 || (end->wanted != 0 && stays_awake(end)) ||
                 (cdt_ring_arm(&end->ring, end->wanted) & end->wanted) != 0;
    set_awake(end, again);
    if (again)
        cdt_defer(end->ctx, &end->task);
    else
        end->moving = false;
}

static void serve(struct cdt_vchan_end *end, unsigned events)
{
    bool gone = false;
    if (events != 0) {
        note_traffic(end);
        end->gone = &gone;
        end->layer.path->ready(end->layer.path, events);
    }
    if (gone)
        return;
    end->gone = NULL;
    rest(end);
}

static void on_task(struct cdt_task *task)
{
    struct cdt_vchan_end *end = CDT_CONTAINER(task, struct cdt_vchan_end, task);
    serve(end, look(end));
}

void cdt_vchan_end_woken(struct cdt_vchan_end *end)
{
    if (end->open && end->wanted != 0)
        serve(end, ready_events(end));
}

/* ---- the layer ---- */

static int open_end(struct cdt_layer *layer)
{
    struct cdt_vchan_end *end = of(layer);
    int code = end->open ? 0 : end->ops->open(end);
    end->open = code == 0;
    return code;
}

static int fail(struct cdt_layer *layer, int code)
{
    if (code == CONDUIT_ERESET)
        return cdt_path_fail(layer->path, code, CONDUIT_STAGE_IO, NULL, 0,
                             "the peer is gone, without an end of its stream");
    return cdt_path_fail(layer->path, code, CONDUIT_STAGE_IO, NULL, 0,
                         "the peer wrote into the ring what cannot be");
}

static ssize_t read_end(struct cdt_layer *layer, void *buf, size_t len)
{
    ssize_t n = cdt_ring_read(&of(layer)->ring, buf, len);
    return n >= 0 || n == CONDUIT_EAGAIN ? n : fail(layer, (int)n);
}

static ssize_t write_end(struct cdt_layer *layer, const struct iovec *v, int n_pieces)
{
    ssize_t n = cdt_ring_write(&of(layer)->ring, v, n_pieces);
    return n >= 0 || n == CONDUIT_EAGAIN ? n : fail(layer, (int)n);
}

static int finish_end(struct cdt_layer *layer)
{
    cdt_ring_finish(&of(layer)->ring);
    return 0;
}

static void want_events(struct cdt_layer *layer, unsigned events)
{
    struct cdt_vchan_end *end = of(layer);
    if (!end->open || events == end->wanted)
        return;
    if ((events == 0) != (end->wanted == 0))
        end->ops->watch(end, events != 0);
    end->wanted = events;
    if (events != 0) {
        cdt_defer(end->ctx, &end->task);
        return;
    }
    cdt_undefer(end->ctx, &end->task);
    cdt_ring_settle(&end->ring);
    set_awake(end, false);
}

static void close_end(struct cdt_layer *layer, bool reset)
{
    struct cdt_vchan_end *end = of(layer);
    cdt_undefer(end->ctx, &end->task);
    set_awake(end, false);
    if (end->gone != NULL)
        *end->gone = true;
    if (end->open)
        cdt_ring_leave(&end->ring);
    end->ops->close(end);
}

static void describe(const struct cdt_layer *layer, struct cdt_facts *facts)
{
    const struct cdt_vchan_end *end = CDT_CONTAINER(cdt_bytes(layer), struct cdt_vchan_end, layer);
    const char *uri = conduit_endpoint_uri(cdt_endpoint_bottom(layer->path->endpoint));
    size_t n = strcspn(uri, "?");
    snprintf(facts->peer, sizeof(facts->peer), "%.*s", (int)n, uri);
    snprintf(facts->local, sizeof(facts->local), "%.*s", (int)n, uri);
    if (end->ops->describe != NULL)
        end->ops->describe(end, facts);
}

static const struct cdt_layer_ops end_ops = {
    .name = "vchan",
    .open = open_end,
    .read = read_end,
    .write = write_end,
    .finish = finish_end,
    .want = want_events,
    .close = close_end,
    .describe = describe,
};

void cdt_vchan_end_push(struct cdt_vchan_end *end, const struct cdt_vchan_end_ops *ops,
                        struct cdt_path *path, unsigned spin_us)
{
    end->layer.ops = &end_ops;
    end->ops = ops;
    end->ctx = path->ctx;
    end->task.run = on_task;
    end->spin_us = spin_us;
    cdt_path_push(path, &end->layer);
}
