/* SPDX-License-Identifier: ISC */
/*
 * The context: one loop, and what is shared on it.
 *
 * Its end is the delicate part. conduit_ctx_free() aborts every object; each delivers its terminal
 * event from the run-queue and leaves its list. When the lists are empty the resolvers are detached
 * and the context's own handles closed; when the last handle that refers to the context has closed,
 * its memory goes: at once on the caller's loop, and after the loop has been closed on an own one.
 */
#include "context.h"
#include "builtin.h"
#include "connection.h"
#include "error.h"
#include "listen.h"
#include "pool.h"
#include "resolve.h"
#include "schemes.h"
#include "static.h"
#include "thread.h"
#include "util.h"
#include <conduit/listener.h>
#include <conduit/memory.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

struct cdt_post {
    struct cdt_post *next;
    void (*fn)(conduit_ctx *ctx, void *arg);
    void *arg;
};

/* ---- the run-queue ---- */

/* One turn runs what was queued before it began; the mark is where that ends. What those queue in
 * their turn waits until the loop has polled, so that tasks that breed tasks never starve the
 * sockets. */
static void run_tasks(uv_idle_t *turn)
{
    conduit_ctx *ctx = turn->data;
    cdt_thread_enter(ctx);
    struct cdt_task mark = {.queued = true};
    DL_APPEND(ctx->tasks, &mark);
    while (ctx->tasks != &mark) {
        struct cdt_task *task = ctx->tasks;
        cdt_undefer(ctx, task);
        task->run(task);
    }
    DL_DELETE(ctx->tasks, &mark);
    if (ctx->tasks == NULL)
        uv_idle_stop(turn);
    cdt_ctx_left(ctx);
}

void cdt_defer(conduit_ctx *ctx, struct cdt_task *task)
{
    if (task->queued)
        return;
    task->queued = true;
    DL_APPEND(ctx->tasks, task);
    uv_idle_start(&ctx->turn, run_tasks);
}

void cdt_undefer(conduit_ctx *ctx, struct cdt_task *task)
{
    if (!task->queued)
        return;
    task->queued = false;
    DL_DELETE(ctx->tasks, task);
}

/* ---- from other threads ---- */

/* What had been posted when this began. False if that was nothing. `last`: no more are taken. */
static bool run_posts(conduit_ctx *ctx, bool last)
{
    uv_mutex_lock(&ctx->post_lock);
    ctx->post_closed = last;
    struct cdt_post *post = ctx->posts;
    ctx->posts = ctx->last_post = NULL;
    uv_mutex_unlock(&ctx->post_lock);
    bool any = post != NULL;
    while (post != NULL) {
        struct cdt_post *next = post->next;
        post->fn(ctx, post->arg);
        conduit_free(post);
        post = next;
    }
    return any;
}

static void on_wake(uv_async_t *wake)
{
    conduit_ctx *ctx = wake->data;
    run_posts(ctx, false);
    if (atomic_load(&ctx->stop) && ctx->running)
        uv_stop(ctx->loop);
}

int conduit_post(conduit_ctx *ctx, void (*fn)(conduit_ctx *, void *), void *arg)
{
    struct cdt_post *post = conduit_malloc(sizeof(*post));
    if (post == NULL)
        return CONDUIT_ENOMEM;
    *post = (struct cdt_post){.fn = fn, .arg = arg};
    uv_mutex_lock(&ctx->post_lock);
    bool closed = ctx->post_closed;
    if (!closed) {
        if (ctx->last_post != NULL)
            ctx->last_post->next = post;
        else
            ctx->posts = post;
        ctx->last_post = post;
        uv_async_send(&ctx->wake);
    }
    uv_mutex_unlock(&ctx->post_lock);
    if (closed)
        conduit_free(post);
    return closed ? CONDUIT_ECANCELED : 0;
}

void conduit_stop(conduit_ctx *ctx)
{
    atomic_store(&ctx->stop, true);
    uv_async_send(&ctx->wake);
}

/* ---- memory ---- */

static void detach_all(conduit_ctx *ctx)
{
    for (struct cdt_resolver_slot *slot = ctx->resolvers; slot != NULL; slot = slot->next)
        if (slot->ops->detach != NULL)
            slot->ops->detach(slot->state);
}

static void release(conduit_ctx *ctx)
{
    conduit_tls_unref(ctx->plain_tls);
    if (ctx->tls != NULL)
        ctx->tls_free(ctx->tls);
    uv_mutex_destroy(&ctx->post_lock);
    conduit_error_unref(ctx->error);
    cdt_rules_clear(ctx);
    cdt_schemes_clear(ctx);
    cdt_addresses_clear(ctx);
    cdt_places_clear(&ctx->places);
    cdt_uris_clear(&ctx->uris);
    while (ctx->resolvers != NULL) {
        struct cdt_resolver_slot *next = ctx->resolvers->next;
        conduit_free(ctx->resolvers);
        ctx->resolvers = next;
    }
    cdt_spares_clear(&ctx->spares);
    explicit_bzero(ctx->buffer, CDT_BUFFER_SIZE); /* what was read last */
    conduit_free(ctx->buffer);
    conduit_free(ctx);
}

static void close_leftover(uv_handle_t *handle, void *arg)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* What is still on an own loop by now are handles that resolvers are closing, work on a thread that
 * could not be taken back, and handles of the caller's that the caller forgot. */
static void release_with_loop(conduit_ctx *ctx)
{
    uv_loop_t *loop = ctx->loop;
    uv_walk(loop, close_leftover, NULL);
    while (uv_loop_close(loop) == UV_EBUSY)
        uv_run(loop, UV_RUN_ONCE);
    release(ctx);
    conduit_free(loop);
}

/* ---- beginning ---- */

static uint64_t real_now_ms(const conduit_ctx *ctx)
{
    return uv_hrtime() / 1000000;
}

static int own_loop(conduit_ctx *ctx)
{
    ctx->loop = conduit_malloc(sizeof(*ctx->loop));
    if (ctx->loop == NULL)
        return UV_ENOMEM;
    int err = uv_loop_init(ctx->loop);
    if (err < 0) {
        conduit_free(ctx->loop);
        ctx->loop = NULL;
        return err;
    }
    ctx->own_loop = true;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    cdt_ctx_drop(handle->data);
}

static int open_handles(conduit_ctx *ctx)
{
    int err = uv_async_init(ctx->loop, &ctx->wake, on_wake);
    if (err < 0)
        return err;
    uv_unref((uv_handle_t *)&ctx->wake);
    uv_idle_init(ctx->loop, &ctx->turn);
    uv_timer_init(ctx->loop, &ctx->clock);
    uv_unref((uv_handle_t *)&ctx->clock);
    ctx->wake.data = ctx->turn.data = ctx->clock.data = ctx;
    ctx->n_handles = 3;
    return 0;
}

/* `at` is the link that will lead to the new slot. */
static int attach(conduit_ctx *ctx, const conduit_resolver *ops, const conduit_ctx_options *options,
                  struct cdt_resolver_slot **at)
{
    struct cdt_resolver_slot *slot = conduit_calloc(1, sizeof(*slot));
    if (slot == NULL)
        return CONDUIT_ENOMEM;
    slot->ops = ops;
    int code = ops->attach != NULL ? ops->attach(ctx, options, &slot->state) : 0;
    if (code < 0) {
        conduit_free(slot);
        return code;
    }
    slot->next = *at;
    *at = slot;
    return 0;
}

int conduit_ctx_add_resolver(conduit_ctx *ctx, const conduit_resolver *resolver)
{
    static const conduit_ctx_options defaults;
    return ctx->ending ? CONDUIT_ECANCELED : attach(ctx, resolver, &defaults, &ctx->resolvers);
}

void conduit_ctx_flush_names(conduit_ctx *ctx)
{
    for (struct cdt_resolver_slot *slot = ctx->resolvers; slot != NULL; slot = slot->next)
        if (slot->ops->flush != NULL && !ctx->closing)
            slot->ops->flush(slot->state);
    cdt_places_clear(&ctx->places);
    cdt_uris_clear(&ctx->uris);
}

static int attach_builtin(conduit_ctx *ctx, const conduit_ctx_options *options)
{
    struct cdt_resolver_slot **end = &ctx->resolvers;
    for (size_t i = 0; cdt_resolvers[i] != NULL; i++) {
        int code = attach(ctx, cdt_resolvers[i], options, end);
        if (code < 0)
            return code;
        end = &(*end)->next;
    }
    return 0;
}

static conduit_ctx *make(const conduit_ctx_options *options)
{
    conduit_ctx *ctx = conduit_calloc(1, sizeof(*ctx));
    if (ctx == NULL)
        return NULL;
    ctx->buffer = conduit_malloc(CDT_BUFFER_SIZE);
    if (ctx->buffer == NULL || uv_mutex_init(&ctx->post_lock) < 0) {
        conduit_free(ctx->buffer);
        conduit_free(ctx);
        return NULL;
    }
    ctx->now_ms = real_now_ms;
    ctx->trace = options->trace;
    ctx->trace_user = options->trace_user;
    ctx->allow = options->allow;
    ctx->allow_user = options->allow_user;
    ctx->on_drained = options->on_drained;
    ctx->drained_user = options->drained_user;
    ctx->reserve = -1;
    RB_INIT(&ctx->timers);
    ctx->loop = options->loop;
    return ctx;
}

/* Before any handle of the context's own is on the loop, so that a failure leaves none behind. */
static conduit_ctx *fail_new(conduit_ctx *ctx, int number)
{
    detach_all(ctx);
    if (ctx->own_loop)
        release_with_loop(ctx);
    else
        release(ctx);
    errno = number;
    return NULL;
}

static int errno_of(int code)
{
    return code == CONDUIT_ENOMEM ? ENOMEM : code == CONDUIT_ELIMIT ? EMFILE : EINVAL;
}

conduit_ctx *conduit_ctx_new(const conduit_ctx_options *options)
{
    static const conduit_ctx_options defaults;
    options = options != NULL ? options : &defaults;
    conduit_ctx *ctx = make(options);
    if (ctx == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    int err = ctx->loop == NULL ? own_loop(ctx) : 0;
    if (err < 0)
        return fail_new(ctx, -err);
    int code = attach_builtin(ctx, options);
    if (code < 0)
        return fail_new(ctx, errno_of(code));
    err = open_handles(ctx);
    if (err < 0)
        return fail_new(ctx, -err);
    return ctx;
}

/* ---- end ---- */

void cdt_ctx_hold(conduit_ctx *ctx)
{
    ctx->n_handles++;
}

void cdt_ctx_drop(conduit_ctx *ctx)
{
    if (--ctx->n_handles > 0)
        return;
    ctx->closed = true;
    if (ctx->own_loop)
        uv_stop(ctx->loop);
    else
        release(ctx);
}

void cdt_ctx_recount(conduit_ctx *ctx)
{
    if (ctx->conns != NULL || ctx->listeners != NULL)
        uv_ref((uv_handle_t *)&ctx->wake);
    else
        uv_unref((uv_handle_t *)&ctx->wake);
}

void cdt_ctx_left(conduit_ctx *ctx)
{
    if (!ctx->ending || ctx->closing || ctx->conns != NULL || ctx->resolutions != NULL ||
        ctx->tasks != NULL)
        return;
    run_posts(ctx, true);
    cdt_pools_free(ctx); /* until here an on_close may have looked at its own */
    ctx->closing = true;
    detach_all(ctx);
    cdt_watches_close(ctx);
    uv_close((uv_handle_t *)&ctx->turn, on_handle_closed);
    uv_close((uv_handle_t *)&ctx->clock, on_handle_closed);
    uv_close((uv_handle_t *)&ctx->wake, on_handle_closed);
}

static void begin_end(conduit_ctx *ctx)
{
    ctx->ending = true;
    cdt_drain_stop(&ctx->drain);
    while (ctx->listeners != NULL)
        conduit_listener_close(ctx->listeners);
    cdt_resolutions_abandon(ctx);
    cdt_pools_clear(ctx);
    for (struct conduit_conn *conn = ctx->conns; conn != NULL; conn = conn->next)
        conduit_abort(conn);
    /* Even with nothing to wait for, the end comes from the loop: this may be somebody's
     * callback. */
    uv_idle_start(&ctx->turn, run_tasks);
}

void conduit_ctx_free(conduit_ctx *ctx)
{
    if (ctx == NULL || ctx->ending)
        return;
    begin_end(ctx);
    if (!ctx->own_loop || ctx->running)
        return;
    ctx->running = true;
    while (!ctx->closed)
        uv_run(ctx->loop, UV_RUN_ONCE);
    release_with_loop(ctx);
}

/* ---- running ---- */

struct uv_loop_s *conduit_ctx_loop(conduit_ctx *ctx)
{
    return ctx->loop;
}

static bool may_run(const conduit_ctx *ctx)
{
    return ctx->own_loop && !ctx->running;
}

/* A loop with nothing to live for does not look at its descriptors. A foreign one does, at what
 * keeps nothing running as well (a post, an idle connection that ends), and it would be at it for
 * ever if that were not taken. */
static void keep_alive(conduit_ctx *ctx)
{
    uv_ref((uv_handle_t *)&ctx->wake);
}

static int run(conduit_ctx *ctx, uv_run_mode mode)
{
    ctx->running = true;
    cdt_thread_enter(ctx);
    do /* the loop may find nothing to live for while something waits to be run */
        uv_run(ctx->loop, mode);
    while (!ctx->ending && !atomic_load(&ctx->stop) && run_posts(ctx, false) && !ctx->overdue);
    if (ctx->ending) {
        while (!ctx->closed)
            uv_run(ctx->loop, UV_RUN_ONCE);
        release_with_loop(ctx);
        return 0;
    }
    ctx->running = false;
    cdt_ctx_recount(ctx);
    cdt_timer_stop(ctx, &ctx->patience);
    cdt_thread_leave(ctx);
    if (atomic_exchange(&ctx->stop, false))
        return 1;
    return ctx->overdue && uv_loop_alive(ctx->loop) ? CONDUIT_ETIMEDOUT : 0;
}

int conduit_run(conduit_ctx *ctx)
{
    if (!may_run(ctx))
        return CONDUIT_EINVAL;
    ctx->overdue = false;
    return run(ctx, UV_RUN_DEFAULT);
}

static void on_overdue(struct cdt_timer *timer)
{
    conduit_ctx *ctx = CDT_CONTAINER(timer, conduit_ctx, patience);
    ctx->overdue = true;
    uv_stop(ctx->loop);
}

int conduit_run_for(conduit_ctx *ctx, uint32_t ms)
{
    if (!may_run(ctx))
        return CONDUIT_EINVAL;
    ctx->overdue = ms == 0;
    if (ms == 0)
        keep_alive(ctx);
    ctx->patience.background = true;
    if (ms > 0)
        cdt_timer_start(ctx, &ctx->patience, ms, on_overdue);
    return run(ctx, ms > 0 ? UV_RUN_DEFAULT : UV_RUN_NOWAIT);
}

int conduit_ctx_fd(const conduit_ctx *ctx)
{
    return uv_backend_fd(ctx->loop);
}

int conduit_ctx_timeout(conduit_ctx *ctx)
{
    uv_update_time(ctx->loop); /* it would count from the last turn */
    keep_alive(ctx);
    int ms = uv_backend_timeout(ctx->loop);
    cdt_ctx_recount(ctx);
    return ms;
}

/* ---- draining ---- */

static bool has_listeners(struct cdt_drain *drain)
{
    return drain->ctx->listeners != NULL;
}

static void on_drained(struct cdt_drain *drain)
{
    conduit_ctx *ctx = CDT_CONTAINER(drain, conduit_ctx, drain);
    if (ctx->on_drained != NULL)
        ctx->on_drained(ctx, ctx->drained_user);
}

void conduit_ctx_drain(conduit_ctx *ctx, uint32_t deadline_ms)
{
    CDT_ASSERT_THREAD(ctx);
    if (ctx->ending)
        return;
    cdt_listeners_drain(ctx, deadline_ms);
    cdt_pools_clear(ctx);
    ctx->drain.busy = has_listeners;
    ctx->drain.gone = on_drained;
    cdt_drain_start(&ctx->drain, ctx, NULL, deadline_ms);
}

void conduit_ctx_counters(const conduit_ctx *ctx, conduit_counters *ret)
{
    cdt_tally_read(ctx, NULL, ret);
    cdt_listeners_count(ctx, ret);
}

conduit_tls *cdt_ctx_tls(conduit_ctx *ctx)
{
    if (ctx->plain_tls == NULL)
        ctx->plain_tls = conduit_tls_new();
    return ctx->plain_tls;
}

/* ---- errors and traces ---- */

int cdt_ctx_fail(conduit_ctx *ctx, const conduit_error *error)
{
    conduit_error_unref(ctx->error);
    ctx->error = error;
    return conduit_error_code(error);
}

int cdt_ctx_refuse(conduit_ctx *ctx, int code, const char *text)
{
    return cdt_ctx_fail(ctx, cdt_error_new(code, CONDUIT_STAGE_URI, NULL, NULL, 0, "%s", text));
}

const conduit_error *conduit_ctx_error(const conduit_ctx *ctx)
{
    return ctx->error;
}

int conduit_ctx_perror(const conduit_ctx *ctx, const char *prefix)
{
    const char *text =
        ctx != NULL && ctx->error != NULL ? conduit_error_text(ctx->error) : strerror(errno);
    fprintf(stderr, "%s: %s\n", prefix, text);
    return 1;
}

void(cdt_trace)(conduit_ctx *ctx, uint64_t since_ns, const char *event, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    uint64_t ns = since_ns != 0 ? uv_hrtime() - since_ns : 0; /* 0: nobody traced then */
    ctx->trace(ctx->trace_user, (double)ns / 1e6, event, text);
}
