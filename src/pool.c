/* SPDX-License-Identifier: ISC */
/*
 * Connections that outlive one use: pool.h draws the life of a stay, conduit/pool.h promises.
 *
 * An origin is what equal keys have in common: its stays, in lists. It is there as long as one
 * of them is. Room at an origin is given in one place, serve(): to those that wait, in their order,
 * whenever a path is given back or one has gone. Who is given something is told by its connect's
 * task, so nothing here calls a user, and a grant that nobody takes (a cancel) goes to the next.
 */
#include "pool.h"
#include "connect.h"
#include "connection.h"
#include "error.h"
#include "text.h"
#include "thread.h"
#include "util.h"
#include <conduit/memory.h>
#include <string.h>
#include <utlist.h>

enum {
    DEFAULT_IDLE_MS = 60 * 1000,
    DEFAULT_LIFETIME_MS = 600 * 1000,
    DEFAULT_PER_ORIGIN = 6,
    DEFAULT_MAX_IDLE = 100,
    DEFAULT_MAX_WAITING = 1024,
};

struct cdt_origin {
    RB_ENTRY(cdt_origin) node;
    struct conduit_pool *pool;
    char *key;
    conduit_tls *tls;         /* a reference: its address is in the key */
    struct cdt_stay *asking;  /* whose connect has not begun */
    struct cdt_stay *waiting; /* the first to ask is the first to get */
    struct cdt_stay *idle;    /* the last is the one that was used last */
    struct cdt_stay *active;  /* GRANTED, DIALLING and TAKEN */
    size_t n_stays, n_waiting;
    size_t n_there; /* ... that count against the limit: idle and active */
    size_t n_dialling;
    bool apart;  /* who was opened last is not shared: nobody waits to see */
    bool closed; /* those that wait are being told why, and get nothing else */
};

RB_HEAD(cdt_origin_tree, cdt_origin);

struct conduit_pool {
    struct conduit_pool *prev, *next; /* in ctx->pools */
    conduit_ctx *ctx;
    conduit_pool_options options;
    struct cdt_origin_tree origins;
    struct cdt_stay *idle, *last_idle; /* of all origins, by `newer`, since when they are so */
    size_t n_idle;
    uint64_t reused, dropped, expired;
};

/* ---- origins ---- */

static int compare(const struct cdt_origin *a, const struct cdt_origin *b)
{
    return strcmp(a->key, b->key);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
RB_GENERATE_STATIC(cdt_origin_tree, cdt_origin, node, compare)
#pragma GCC diagnostic pop

static struct cdt_origin *find_origin(struct conduit_pool *pool, char *key)
{
    struct cdt_origin wanted = {.key = key};
    return RB_FIND(cdt_origin_tree, &pool->origins, &wanted);
}

static struct cdt_origin *new_origin(struct conduit_pool *pool, char *key, conduit_tls *tls)
{
    struct cdt_origin *origin = conduit_calloc(1, sizeof(*origin));
    if (origin == NULL)
        return NULL;
    origin->pool = pool;
    origin->key = key;
    origin->tls = conduit_tls_ref(tls);
    RB_INSERT(cdt_origin_tree, &pool->origins, origin);
    return origin;
}

/* The origin of `key`, which is taken over. NULL when out of memory. */
static struct cdt_origin *origin_of(struct conduit_pool *pool, char *key, conduit_tls *tls)
{
    struct cdt_origin *origin = find_origin(pool, key);
    if (origin == NULL)
        origin = new_origin(pool, key, tls);
    if (origin == NULL || origin->key != key)
        cdt_wipe(key);
    return origin;
}

static void drop_if_empty(struct cdt_origin *origin)
{
    if (origin->n_stays > 0)
        return;
    RB_REMOVE(cdt_origin_tree, &origin->pool->origins, origin);
    conduit_tls_unref(origin->tls);
    cdt_wipe(origin->key);
    conduit_free(origin);
}

/* ---- the lists ---- */

static void link_idle(struct cdt_stay *stay)
{
    struct conduit_pool *pool = stay->pool;
    stay->older = pool->last_idle;
    stay->newer = NULL;
    *(stay->older != NULL ? &stay->older->newer : &pool->idle) = stay;
    pool->last_idle = stay;
    pool->n_idle++;
}

static void unlink_idle(struct cdt_stay *stay)
{
    struct conduit_pool *pool = stay->pool;
    *(stay->older != NULL ? &stay->older->newer : &pool->idle) = stay->newer;
    *(stay->newer != NULL ? &stay->newer->older : &pool->last_idle) = stay->older;
    pool->n_idle--;
}

static bool is_there(enum cdt_stay_state state)
{
    return state > CDT_STAY_WAITING;
}

static struct cdt_stay **list_of(struct cdt_origin *origin, enum cdt_stay_state state)
{
    return state == CDT_STAY_ASKING    ? &origin->asking
           : state == CDT_STAY_WAITING ? &origin->waiting
           : state == CDT_STAY_IDLE    ? &origin->idle
                                       : &origin->active;
}

static void withdraw(struct cdt_stay *stay)
{
    struct cdt_origin *origin = stay->origin;
    DL_DELETE(*list_of(origin, stay->state), stay);
    origin->n_waiting -= stay->state == CDT_STAY_WAITING;
    origin->n_there -= is_there(stay->state);
    origin->n_dialling -= stay->state == CDT_STAY_DIALLING;
    if (stay->state == CDT_STAY_IDLE) {
        cdt_timer_stop(stay->pool->ctx, &stay->timer);
        unlink_idle(stay);
    }
}

static void enter(struct cdt_stay *stay, enum cdt_stay_state state)
{
    struct cdt_origin *origin = stay->origin;
    stay->state = state;
    DL_APPEND(*list_of(origin, state), stay);
    origin->n_waiting += state == CDT_STAY_WAITING;
    origin->n_there += is_there(state);
    origin->n_dialling += state == CDT_STAY_DIALLING;
    if (state == CDT_STAY_IDLE)
        link_idle(stay);
}

static void move(struct cdt_stay *stay, enum cdt_stay_state state)
{
    withdraw(stay);
    enter(stay, state);
}

/* ---- idle paths ---- */

bool cdt_path_quiet(struct cdt_path *path)
{
    unsigned char byte;
    if (cdt_layer_read(path->top, &byte, 1) != CONDUIT_EAGAIN)
        return false;
    int code = cdt_layer_flush(path->top); /* reading may make a layer speak: TLS's key update */
    if (code < 0 && code != CONDUIT_EAGAIN)
        return false;
    cdt_layer_want(path->top, code < 0 ? CDT_READ | CDT_WRITE : CDT_READ);
    return true;
}

/* With a goodbye, as far as it goes out at once: nobody waits for the peer's. */
static void close_path(struct cdt_path *path)
{
    if (path != NULL && path->error == NULL)
        cdt_layer_finish(path->top);
    cdt_path_free(path, false);
}

static void forget(struct cdt_stay *stay)
{
    withdraw(stay);
    stay->origin->n_stays--;
    close_path(stay->path);
    conduit_free(stay);
}

/* An idle one that cannot stay; its origin does. */
static void discard(struct cdt_stay *stay, uint64_t *count, const char *why)
{
    ++*count;
    cdt_trace(stay->pool->ctx, 0, "pool", "%s: %s", conduit_endpoint_uri(stay->path->endpoint),
              why);
    forget(stay);
}

static void serve(struct cdt_origin *origin);

/* After one of its stays has gone. */
static void tidy(struct cdt_origin *origin)
{
    serve(origin);
    drop_if_empty(origin);
}

static void on_idle_ready(struct cdt_path *path, unsigned events)
{
    struct cdt_stay *stay = path->owner;
    struct cdt_origin *origin = stay->origin;
    if (stay->state != CDT_STAY_IDLE || cdt_path_quiet(path))
        return;
    discard(stay, &origin->pool->dropped, "idle, and the peer ended it or spoke out of turn");
    tidy(origin);
}

static void expire(struct cdt_stay *stay, const char *why)
{
    struct cdt_origin *origin = stay->origin;
    discard(stay, &origin->pool->expired, why);
    tidy(origin);
}

static void on_idle_over(struct cdt_timer *timer)
{
    expire(CDT_CONTAINER(timer, struct cdt_stay, timer), "idle for too long");
}

/* How long an idle one may stay. */
static uint64_t time_left(const struct cdt_stay *stay)
{
    const conduit_pool_options *options = &stay->pool->options;
    uint64_t age_ms = cdt_now_ms(stay->pool->ctx) - stay->since_ms;
    uint64_t left_ms = age_ms < options->lifetime_ms ? options->lifetime_ms - age_ms : 0;
    return left_ms < options->idle_ms ? left_ms : options->idle_ms;
}

static void rest(struct cdt_stay *stay, struct cdt_path *path)
{
    struct conduit_pool *pool = stay->pool;
    stay->conn = NULL;
    stay->shared = false;
    stay->path = path;
    path->owner = stay;
    path->ready = on_idle_ready;
    cdt_layer_want(path->top, CDT_READ);
    move(stay, CDT_STAY_IDLE);
    stay->timer.background = true;
    cdt_timer_start(pool->ctx, &stay->timer, time_left(stay), on_idle_over);
    serve(stay->origin);
    if (pool->n_idle > pool->options.max_idle)
        expire(pool->idle, "idle, and there are too many");
}

/* ---- giving ---- */

/* The idle one that was used last, if it is well; those that are not are thrown away on the way. */
static struct cdt_stay *newest_idle(struct cdt_origin *origin)
{
    while (origin->idle != NULL) {
        struct cdt_stay *newest = origin->idle->prev; /* the head's is the tail */
        if (cdt_path_quiet(newest->path))
            return newest;
        discard(newest, &origin->pool->dropped, "was to be used again, and had ended");
    }
    return NULL;
}

static void grant(struct cdt_stay *stay, struct cdt_stay *idle)
{
    stay->path = idle->path;
    stay->since_ms = idle->since_ms;
    stay->path->owner = stay;
    cdt_layer_want(stay->path->top, 0); /* what comes until it is taken is looked at then */
    idle->path = NULL;
    forget(idle);
    move(stay, CDT_STAY_GRANTED);
}

/* Somebody opens one, and it may be for all. */
static bool sees_first(const struct cdt_stay *stay)
{
    const struct cdt_origin *origin = stay->origin;
    return stay->flags & CONDUIT_POOL_SHARES && origin->n_dialling > 0 && !origin->apart;
}

static bool has_room(const struct cdt_origin *origin)
{
    return origin->n_there < origin->pool->options.max_per_origin;
}

/* Give `stay` what there is: a path, or room to dial. False: nothing. */
static bool give(struct cdt_stay *stay)
{
    struct cdt_origin *origin = stay->origin;
    bool fresh = stay->flags & CONDUIT_POOL_FRESH;
    struct cdt_stay *idle = fresh ? NULL : newest_idle(origin);
    if (idle != NULL) {
        grant(stay, idle);
        return true;
    }
    if (sees_first(stay))
        return false;
    if (!has_room(origin) && origin->idle != NULL)
        discard(origin->idle, &origin->pool->expired, "made room for a fresh one");
    if (!has_room(origin))
        return false;
    move(stay, CDT_STAY_DIALLING);
    return true;
}

/* Something may have become free: those that wait get it, in their order. */
static void serve(struct cdt_origin *origin)
{
    while (origin->waiting != NULL && !origin->closed) {
        struct cdt_stay *first = origin->waiting;
        if (!give(first))
            return;
        cdt_connect_go(first->connect);
    }
}

/* ---- what a connect asks ---- */

struct cdt_stay *cdt_stay_new(const conduit_connect_options *options,
                              const struct cdt_target *target, struct cdt_connect *connect)
{
    struct cdt_stay *stay = conduit_calloc(1, sizeof(*stay));
    char *key = stay != NULL ? cdt_pool_key(target, options) : NULL;
    if (key != NULL)
        stay->origin = origin_of(options->pool, key, options->tls);
    if (stay == NULL || stay->origin == NULL) {
        conduit_free(stay);
        return NULL;
    }
    stay->origin->n_stays++;
    enter(stay, CDT_STAY_ASKING);
    stay->pool = options->pool;
    stay->flags = options->pool_flags;
    stay->connect = connect;
    return stay;
}

static struct conduit_conn *shared_of(const struct cdt_origin *origin)
{
    const struct cdt_stay *stay;
    DL_FOREACH(origin->active, stay)
    if (stay->shared && stay->conn->state == CDT_OPEN)
        return stay->conn;
    return NULL;
}

static const conduit_error *refusal(int code, const char *text)
{
    return cdt_error_new(code, CONDUIT_STAGE_DIAL, NULL, NULL, 0, "%s", text);
}

static const conduit_error *see_shared(void)
{
    return refusal(CONDUIT_EAGAIN, "another connection to this origin is shared");
}

static enum cdt_stay_answer line_up(struct cdt_stay *stay, const conduit_error **why)
{
    struct cdt_origin *origin = stay->origin;
    if (origin->n_waiting >= stay->pool->options.max_waiting) {
        *why = refusal(CONDUIT_ELIMIT, "too many wait for a connection to this origin");
        return CDT_STAY_END;
    }
    cdt_trace(stay->pool->ctx, stay->conn->since_ns, "pool", "%zu connections, %zu wait before",
              origin->n_there, origin->n_waiting);
    move(stay, CDT_STAY_WAITING);
    return CDT_STAY_WAIT;
}

static enum cdt_stay_answer take(struct cdt_stay *stay, struct cdt_path **path)
{
    *path = stay->path;
    stay->path = NULL;
    stay->pool->reused++;
    cdt_trace(stay->pool->ctx, stay->conn->since_ns, "pool", "%s: used again",
              conduit_endpoint_uri((*path)->endpoint));
    return CDT_STAY_TAKE;
}

/* What was granted may have ended since. */
static void check_grant(struct cdt_stay *stay)
{
    if (stay->state != CDT_STAY_GRANTED || cdt_path_quiet(stay->path))
        return;
    move(stay, CDT_STAY_ASKING);
    stay->pool->dropped++;
    close_path(stay->path);
    stay->path = NULL;
}

/* Nobody is overtaken: as long as others wait there is nothing to give, unless they wait to see
 * whether one is shared. */
enum cdt_stay_answer cdt_stay_ask(struct cdt_stay *stay, struct cdt_path **path,
                                  const conduit_error **why)
{
    if (stay->pool == NULL)
        return CDT_STAY_DIAL;
    struct cdt_origin *origin = stay->origin;
    check_grant(stay);
    if (stay->state == CDT_STAY_ASKING && stay->flags & CONDUIT_POOL_SHARES &&
        shared_of(origin) != NULL) {
        *why = see_shared();
        return CDT_STAY_END;
    }
    if (stay->state == CDT_STAY_ASKING && !give(stay))
        return line_up(stay, why);
    return stay->state == CDT_STAY_GRANTED ? take(stay, path) : CDT_STAY_DIAL;
}

bool cdt_stay_waits(const struct cdt_stay *stay)
{
    return stay != NULL && stay->state == CDT_STAY_WAITING;
}

void cdt_stay_opened(struct cdt_stay *stay)
{
    if (stay == NULL || stay->pool == NULL)
        return;
    if (stay->state == CDT_STAY_DIALLING)
        stay->since_ms = cdt_now_ms(stay->pool->ctx);
    move(stay, CDT_STAY_TAKEN);
}

void cdt_stay_settled(struct cdt_stay *stay)
{
    if (stay == NULL || stay->pool == NULL)
        return;
    stay->origin->apart = !stay->shared;
    serve(stay->origin);
}

/* Those that wait and have one of `flags` (0: all) end by `why`. */
static void end_waiting(struct cdt_origin *origin, unsigned flags, const conduit_error *why)
{
    struct cdt_stay *stay, *next;
    origin->closed = true;
    DL_FOREACH_SAFE(origin->waiting, stay, next)
    if (flags == 0 || stay->flags & flags)
        cdt_connect_lose(stay->connect, conduit_error_ref(why));
    origin->closed = false;
}

void cdt_stay_failed(struct cdt_stay *stay, const conduit_error *why)
{
    if (stay != NULL && stay->pool != NULL && stay->origin->n_there == 1)
        end_waiting(stay->origin, 0, why);
}

void cdt_stay_unasked(struct cdt_stay *stay)
{
    if (stay == NULL)
        return;
    stay->connect = NULL;
    if (stay->state == CDT_STAY_TAKEN)
        return;
    stay->conn->stay = NULL;
    if (stay->state == CDT_STAY_GRANTED)
        rest(stay, stay->path);
    else
        cdt_stay_free(stay);
}

/* ---- the way back ---- */

bool cdt_stay_keeps(const struct cdt_stay *stay)
{
    return stay != NULL && stay->pool != NULL && stay->state == CDT_STAY_TAKEN && !stay->changed &&
           stay->pool->ctx->drain.ctx == NULL && time_left(stay) > 0;
}

void cdt_stay_keep(struct cdt_stay *stay, struct cdt_path *path)
{
    cdt_trace(stay->pool->ctx, 0, "pool", "%s: kept", conduit_endpoint_uri(path->endpoint));
    rest(stay, path);
}

void cdt_stay_free(struct cdt_stay *stay)
{
    if (stay == NULL)
        return;
    if (stay->pool == NULL) {
        conduit_free(stay);
        return;
    }
    struct cdt_origin *origin = stay->origin;
    forget(stay);
    tidy(origin);
}

/* ---- sharing ---- */

int conduit_pool_share(conduit_conn *conn, bool share)
{
    CDT_ASSERT_THREAD(conn->ctx);
    struct cdt_stay *stay = conn->stay;
    if (conn->state != CDT_OPEN || stay == NULL || stay->pool == NULL)
        return CONDUIT_EINVAL;
    stay->shared = share;
    stay->origin->apart = !share;
    const conduit_error *why = see_shared();
    if (share)
        end_waiting(stay->origin, CONDUIT_POOL_SHARES, why);
    conduit_error_unref(why);
    serve(stay->origin);
    return 0;
}

conduit_conn *conduit_pool_shared(conduit_pool *pool, const char *uri,
                                  const conduit_connect_options *options)
{
    CDT_ASSERT_THREAD(pool->ctx);
    static const conduit_connect_options defaults;
    struct cdt_target target;
    options = options != NULL ? options : &defaults;
    int code = cdt_target_make(pool->ctx, &target, uri, false, options, NULL);
    char *key = code == 0 ? cdt_pool_key(&target, options) : NULL;
    const struct cdt_origin *origin = key != NULL ? find_origin(pool, key) : NULL;
    cdt_target_clear(&target);
    cdt_wipe(key);
    return origin != NULL ? shared_of(origin) : NULL;
}

/* ---- pools ---- */

static void set_default(uint32_t *option, uint32_t value)
{
    if (*option == 0)
        *option = value;
}

conduit_pool *conduit_pool_new(conduit_ctx *ctx, const conduit_pool_options *options)
{
    CDT_ASSERT_THREAD(ctx);
    conduit_pool *pool = ctx->ending ? NULL : conduit_calloc(1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->ctx = ctx;
    if (options != NULL)
        pool->options = *options;
    set_default(&pool->options.idle_ms, DEFAULT_IDLE_MS);
    set_default(&pool->options.lifetime_ms, DEFAULT_LIFETIME_MS);
    set_default(&pool->options.max_per_origin, DEFAULT_PER_ORIGIN);
    set_default(&pool->options.max_idle, DEFAULT_MAX_IDLE);
    set_default(&pool->options.max_waiting, DEFAULT_MAX_WAITING);
    RB_INIT(&pool->origins);
    DL_APPEND(ctx->pools, pool);
    return pool;
}

void conduit_pool_clear(conduit_pool *pool)
{
    CDT_ASSERT_THREAD(pool->ctx);
    while (pool->idle != NULL)
        expire(pool->idle, "cleared");
}

/* It goes on as a connection of no pool. What was granted it dials for, when its turn comes. */
static void set_free(struct cdt_stay *stay)
{
    withdraw(stay);
    stay->origin->n_stays--;
    if (stay->state == CDT_STAY_GRANTED) {
        close_path(stay->path);
        stay->path = NULL;
        stay->state = CDT_STAY_DIALLING;
    }
    stay->pool = NULL;
    stay->origin = NULL;
}

static void end_origin(struct cdt_origin *origin, const conduit_error *why)
{
    origin->n_stays++; /* not with the last that waits: it is in use here */
    end_waiting(origin, 0, why);
    while (origin->asking != NULL)
        set_free(origin->asking);
    while (origin->active != NULL)
        set_free(origin->active);
    origin->n_stays--;
    drop_if_empty(origin);
}

void conduit_pool_free(conduit_pool *pool)
{
    if (pool == NULL)
        return;
    conduit_pool_clear(pool);
    const conduit_error *why = refusal(CONDUIT_ECANCELED, "the pool has been freed");
    while (!RB_EMPTY(&pool->origins))
        end_origin(RB_ROOT(&pool->origins), why);
    conduit_error_unref(why);
    DL_DELETE(pool->ctx->pools, pool);
    conduit_free(pool);
}

void conduit_pool_count(const conduit_pool *pool, conduit_pool_counters *ret)
{
    struct cdt_origin *origin;
    *ret = (conduit_pool_counters){
        .idle = pool->n_idle,
        .reused = pool->reused,
        .dropped = pool->dropped,
        .expired = pool->expired,
    };
    struct cdt_origin_tree origins = pool->origins;
    RB_FOREACH(origin, cdt_origin_tree, &origins)
    {
        ret->opening += origin->n_dialling;
        ret->waiting += origin->n_waiting;
        ret->used += origin->n_there - origin->n_dialling;
    }
    ret->used -= pool->n_idle;
}

bool cdt_pool_is_on(const struct conduit_pool *pool, const conduit_ctx *ctx)
{
    return pool->ctx == ctx;
}

void cdt_pools_clear(conduit_ctx *ctx)
{
    for (struct conduit_pool *pool = ctx->pools; pool != NULL; pool = pool->next)
        conduit_pool_clear(pool);
}

void cdt_pools_free(conduit_ctx *ctx)
{
    while (ctx->pools != NULL)
        conduit_pool_free(ctx->pools);
}
