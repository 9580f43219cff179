/* SPDX-License-Identifier: ISC */
/*
 * The story of a connect.
 *
 *   conduit_connect   the URI is read, the stack and the identity are settled        target.c
 *   begin             the pool is asked for an idle path, if there is a pool           pool.c
 *                     the chain of resolvers is asked                                resolve.c
 *   on_answer         each endpoint joins the race as it comes in                    race.c
 *   rank              those that wait are put in order                               order.c
 *   step              the race says what to do: dial, wait, or all is lost
 *   dial              a whole stack is built and driven open, TLS included           stack.c
 *   on_opened         the first stack to open wins, the others are closed
 *   win / lose        the connection opens, or ends with an error per attempt        connection.c
 *
 * Nothing here runs inside a call of the user's or inside a resolver: answers and results only
 * change the race, and step() runs from the loop. The connect owns everything it started until it
 * wins, loses or is stopped.
 */
#include "connect.h"
#include "connection.h"
#include "error.h"
#include "order.h"
#include "pool.h"
#include "race.h"
#include "resolve.h"
#include "secure.h"
#include "stack.h"
#include "thread.h"
#include "util.h"
#include <conduit/memory.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_TIMEOUT_MS = 30000, DEFAULT_ATTEMPT_TIMEOUT_MS = 10000 };

struct attempt {
    struct cdt_connect *connect;
    const conduit_endpoint *endpoint;
    struct cdt_opening opening;
    struct cdt_path *path;
    const conduit_error *error;
};

struct cdt_connect {
    conduit_ctx *ctx;
    struct conduit_conn *conn;
    struct cdt_target target;
    conduit_query query;
    struct cdt_race race;
    struct attempt attempts[CDT_RACE_CANDIDATES]; /* by candidate number */
    int started[CDT_RACE_CANDIDATES];             /* candidate numbers in the order of dialling */
    int n_started;
    int n_ranked; /* candidates that had joined when they were last put in order */
    const conduit_error *why_unresolved;
    struct cdt_task task;      /* step() is due */
    struct cdt_timer next;     /* step() is due then */
    struct cdt_timer deadline; /* of it all */
    uint32_t attempt_timeout_ms, resolve_timeout_ms, timeout_ms;
    int adopted; /* a descriptor that is not dialled yet; or -1 */
    bool server;
    uint64_t since_ns;
    double resolve_ms;
    struct cdt_early early;    /* what was written meanwhile */
    conduit_tls *without_tlsa; /* the top's own, if it has a copy to which those were added */
};

/* ---- the end of it ---- */

void cdt_connect_stop(struct cdt_connect *connect)
{
    if (connect == NULL)
        return;
    cdt_query_cancel(&connect->query);
    cdt_undefer(connect->ctx, &connect->task);
    cdt_timer_stop(connect->ctx, &connect->next);
    cdt_timer_stop(connect->ctx, &connect->deadline);
    for (int i = 0; i < connect->race.n; i++) {
        struct attempt *attempt = &connect->attempts[i];
        cdt_opening_stop(&attempt->opening);
        conduit_endpoint_unref(attempt->endpoint);
        conduit_error_unref(attempt->error);
    }
    if (connect->adopted >= 0)
        close(connect->adopted);
    if (connect->conn != NULL)
        cdt_stay_unasked(connect->conn->stay);
    conduit_error_unref(connect->why_unresolved);
    cdt_target_clear(&connect->target);
    conduit_tls_unref(connect->without_tlsa);
    conduit_free(connect);
}

static double elapsed_ms(const struct cdt_connect *connect)
{
    return (double)(uv_hrtime() - connect->since_ns) / 1e6;
}

/* What the attempts that failed came to: the one error, or one over all of them; NULL if none
 * did. */
static const conduit_error *failures(const struct cdt_connect *connect)
{
    const conduit_error *errors[CDT_RACE_CANDIDATES];
    size_t n = 0;
    for (int i = 0; i < connect->n_started; i++) {
        const struct attempt *attempt = &connect->attempts[connect->started[i]];
        if (attempt->error != NULL)
            errors[n++] = conduit_error_ref(attempt->error);
    }
    if (n > 1)
        return cdt_error_tree(errors, n);
    return n == 1 ? errors[0] : NULL;
}

static const conduit_error *summary(const struct cdt_connect *connect)
{
    const conduit_error *why = failures(connect);
    return why != NULL ? why : conduit_error_ref(connect->why_unresolved);
}

static void win(struct cdt_connect *connect, struct cdt_path *path)
{
    struct conduit_conn *conn = connect->conn;
    conn->resolve_ms = connect->resolve_ms;
    conn->open_ms = elapsed_ms(connect);
    conn->failed = failures(connect);
    cdt_trace(connect->ctx, connect->since_ns, "won", "%s", conduit_endpoint_uri(path->endpoint));
    cdt_stay_opened(conn->stay);
    conn->connect = NULL;
    cdt_connect_stop(connect);
    cdt_conn_opened(conn, path);
}

void cdt_connect_lose(struct cdt_connect *connect, const conduit_error *why)
{
    cdt_trace(connect->ctx, connect->since_ns, "lost", "%s", conduit_error_text(why));
    cdt_conn_finish(connect->conn, why);
}

void cdt_connect_expire(struct cdt_connect *connect, uint32_t ms, const char *what)
{
    double seconds = ms / 1000.0;
    for (int i = 0; i < connect->race.n; i++) {
        struct attempt *attempt = &connect->attempts[i];
        struct cdt_path *path = attempt->opening.path;
        if (path == NULL)
            continue;
        cdt_path_fail(path, CONDUIT_ETIMEDOUT, path->stage, NULL, 0,
                      "no answer when the %.1f s for the whole %s were over", seconds, what);
        attempt->error = conduit_error_ref(path->error);
    }
    const conduit_error *why = summary(connect);
    if (cdt_stay_waits(connect->conn->stay))
        why = cdt_error_new(CONDUIT_ETIMEDOUT, CONDUIT_STAGE_DIAL, NULL, NULL, 0,
                            "no connection to %s became free within the %.1f s for the whole %s",
                            connect->target.host, seconds, what);
    else if (why == NULL)
        why = cdt_error_new(CONDUIT_ETIMEDOUT, CONDUIT_STAGE_RESOLVE, NULL, NULL, 0,
                            "%s: no address when the %.1f s for the whole %s were over",
                            connect->target.host, seconds, what);
    cdt_connect_lose(connect, why);
}

static void on_deadline(struct cdt_timer *timer)
{
    struct cdt_connect *connect = CDT_CONTAINER(timer, struct cdt_connect, deadline);
    cdt_connect_expire(connect, connect->timeout_ms, "connect");
}

/* ---- the race ---- */

static void step(struct cdt_connect *connect);

static void on_failed(struct attempt *attempt, struct cdt_path *path)
{
    struct cdt_connect *connect = attempt->connect;
    attempt->error = conduit_error_ref(path->error);
    cdt_trace(connect->ctx, connect->since_ns, "failed", "%s", conduit_error_text(path->error));
    cdt_path_free(path, false);
    cdt_race_failed(&connect->race, (int)(attempt - connect->attempts));
}

static void on_opened(struct cdt_opening *opening, int code)
{
    struct attempt *attempt = CDT_CONTAINER(opening, struct attempt, opening);
    struct cdt_connect *connect = attempt->connect;
    if (code == 0) {
        win(connect, attempt->path);
        return;
    }
    on_failed(attempt, attempt->path);
    step(connect);
}

static bool allowed(const conduit_ctx *ctx, const conduit_endpoint *endpoint)
{
    return ctx->allow == NULL || ctx->allow(ctx->allow_user, endpoint);
}

/* An attempt that ends before there is a path. Returns false, as dial() does for all that fail. */
static bool fail_undialled(struct attempt *attempt, int code, const char *why)
{
    struct cdt_connect *connect = attempt->connect;
    attempt->error = cdt_error_new(code, CONDUIT_STAGE_DIAL,
                                   conduit_endpoint_uri(attempt->endpoint), NULL, 0, "%s", why);
    cdt_trace(connect->ctx, connect->since_ns, "failed", "%s", conduit_error_text(attempt->error));
    cdt_race_failed(&connect->race, (int)(attempt - connect->attempts));
    return false;
}

/* Start an attempt. True if it was open at once, and so the race is over. */
static bool dial(struct cdt_connect *connect, int candidate)
{
    struct attempt *attempt = &connect->attempts[candidate];
    connect->started[connect->n_started++] = candidate;
    cdt_trace(connect->ctx, connect->since_ns, "attempt", "%d. %s", connect->n_started,
              conduit_endpoint_uri(attempt->endpoint));
    if (!allowed(connect->ctx, attempt->endpoint))
        return fail_undialled(attempt, CONDUIT_EACCESS, "refused by the program's filter");
    struct cdt_path *path = cdt_path_new(connect->ctx, attempt->endpoint);
    if (path == NULL)
        return fail_undialled(attempt, CONDUIT_ENOMEM, "out of memory");
    attempt->path = path;
    path->early = connect->early.bytes != NULL ? &connect->early : NULL;
    connect->adopted = -1; /* the transport takes it over, whatever comes of it */
    int code = cdt_stack_dial(path, connect->target.steps, connect->server);
    if (code == 0)
        code = cdt_opening_start(&attempt->opening, path, connect->attempt_timeout_ms, on_opened);
    if (code == 0)
        win(connect, path);
    else if (code != CONDUIT_EAGAIN)
        on_failed(attempt, path);
    return code == 0;
}

/* An attempt that has had its time makes room for another. */
static void give_up(struct cdt_connect *connect, int candidate)
{
    struct attempt *attempt = &connect->attempts[candidate];
    struct cdt_path *path = attempt->opening.path;
    cdt_path_fail(path, CONDUIT_ETIMEDOUT, path->stage, NULL, 0,
                  "no answer, and given up for another address");
    attempt->error = conduit_error_ref(path->error);
    cdt_trace(connect->ctx, connect->since_ns, "failed", "%s", conduit_error_text(path->error));
    cdt_opening_stop(&attempt->opening);
}

static void on_next(struct cdt_timer *timer)
{
    step(CDT_CONTAINER(timer, struct cdt_connect, next));
}

static void on_task(struct cdt_task *task)
{
    step(CDT_CONTAINER(task, struct cdt_connect, task));
}

/* A single candidate is in order, and asking the kernel where it leads would be for nothing. */
static void rank(struct cdt_connect *connect)
{
    const struct sockaddr *to[CDT_RACE_CANDIDATES];
    int best_first[CDT_RACE_CANDIDATES], n = connect->race.n;
    if (n < 2 || n == connect->n_ranked)
        return;
    for (int i = 0; i < n; i++)
        to[i] = &cdt_endpoint_bottom(connect->attempts[i].endpoint)->address.any;
    int n_usable = cdt_order(best_first, to, n, cdt_source_known, &connect->ctx->sources);
    cdt_race_rank(&connect->race, best_first, n_usable);
    connect->n_ranked = n;
}

/* Which attempts have come how far. */
static void measure(struct cdt_connect *connect)
{
    for (int i = 0; i < connect->race.n; i++) {
        const struct cdt_path *path = connect->attempts[i].opening.path;
        if (path != NULL)
            cdt_race_advanced(&connect->race, i, (int)path->stage);
    }
}

static void fail(struct cdt_connect *connect)
{
    const conduit_error *why = summary(connect);
    cdt_stay_failed(connect->conn->stay, why);
    cdt_connect_lose(connect, why);
}

static void step(struct cdt_connect *connect)
{
    rank(connect);
    measure(connect);
    for (;;) {
        uint64_t now_ms = cdt_now_ms(connect->ctx);
        struct cdt_race_step todo = cdt_race_next(&connect->race, now_ms);
        switch (todo.what) {
        case CDT_RACE_DIAL:
            if (dial(connect, todo.candidate))
                return;
            break;
        case CDT_RACE_GIVE_UP:
            give_up(connect, todo.candidate);
            break;
        case CDT_RACE_WAIT:
            if (todo.until_ms != UINT64_MAX)
                cdt_timer_start(connect->ctx, &connect->next, todo.until_ms - now_ms, on_next);
            return;
        case CDT_RACE_LOST:
            fail(connect);
            return;
        }
    }
}

/* ---- the answers ---- */

static struct cdt_connect *of_query(conduit_query *query)
{
    return CDT_CONTAINER(query, struct cdt_connect, query);
}

/* The candidate that it is already, or -1. */
static int find(const struct cdt_connect *connect, const conduit_endpoint *endpoint)
{
    for (int i = 0; i < connect->race.n; i++)
        if (conduit_endpoint_equal(connect->attempts[i].endpoint, endpoint))
            return i;
    return -1;
}

/* The number of its attempt, or -1: there are enough that are no worse. */
static int join(struct cdt_connect *connect, const conduit_endpoint *endpoint, int group)
{
    int family = cdt_endpoint_bottom(endpoint)->address.any.sa_family;
    int candidate = cdt_race_join(&connect->race, family, cdt_now_ms(connect->ctx));
    if (candidate >= 0) {
        cdt_race_set_group(&connect->race, candidate, group);
        return candidate;
    }
    candidate = cdt_race_displace(&connect->race, family, group);
    if (candidate < 0)
        return -1;
    conduit_endpoint_unref(connect->attempts[candidate].endpoint);
    connect->n_ranked = 0;
    return candidate;
}

static void on_answer(conduit_query *query, const conduit_endpoint *endpoint, const char *source,
                      int32_t ttl)
{
    struct cdt_connect *connect = of_query(query);
    int known = find(connect, endpoint), group = cdt_query_group(query);
    if (known >= 0) {
        cdt_race_promote(&connect->race, known, group);
        return;
    }
    int candidate = join(connect, endpoint, group);
    if (candidate < 0)
        return;
    connect->attempts[candidate].connect = connect;
    connect->attempts[candidate].endpoint = conduit_endpoint_ref(endpoint);
    if (connect->resolve_ms == 0)
        connect->resolve_ms = elapsed_ms(connect);
    cdt_defer(connect->ctx, &connect->task);
}

/* Without memory there are fewer of them, or none: then TLS fails, too. One that the engine has no
 * use for is left out (RFC 6698, section 4.1). */
static void on_tlsa(conduit_query *query, const char *record)
{
    struct cdt_connect *connect = of_query(query);
    struct cdt_step *top = &connect->target.steps[0];
    conduit_tls *made;
    if (connect->without_tlsa == NULL) {
        if (cdt_tls_copy(top->tls, &made, NULL) < 0)
            return;
        connect->without_tlsa = top->tls;
        top->tls = made;
    }
    conduit_tls_set(top->tls, "tlsa", record, NULL);
}

static void on_settled(conduit_query *query, int family)
{
    struct cdt_connect *connect = of_query(query);
    cdt_race_settled(&connect->race, family);
    cdt_defer(connect->ctx, &connect->task);
}

static void on_done(conduit_query *query, const conduit_error *why)
{
    struct cdt_connect *connect = of_query(query);
    connect->why_unresolved = why;
    cdt_race_complete(&connect->race);
    cdt_defer(connect->ctx, &connect->task);
}

static void use_again(struct cdt_connect *connect, struct cdt_path *path)
{
    connect->conn->reused = true;
    win(connect, path);
}

/* False: the pool has something else for it. */
static bool must_dial(struct cdt_connect *connect)
{
    struct cdt_path *path = NULL;
    const conduit_error *why = NULL;
    switch (cdt_stay_ask(connect->conn->stay, &path, &why)) {
    case CDT_STAY_DIAL:
        return true;
    case CDT_STAY_TAKE:
        use_again(connect, path);
        return false;
    case CDT_STAY_END:
        cdt_connect_lose(connect, why);
        return false;
    case CDT_STAY_WAIT:
        return false;
    }
    return true;
}

void cdt_connect_go(struct cdt_connect *connect)
{
    cdt_defer(connect->ctx, &connect->task);
}

static void begin(struct cdt_task *task)
{
    static const struct cdt_query_events events = {
        .answer = on_answer,
        .tlsa = on_tlsa,
        .settled = on_settled,
        .done = on_done,
    };
    struct cdt_connect *connect = CDT_CONTAINER(task, struct cdt_connect, task);
    if (connect->conn->stay != NULL && !must_dial(connect))
        return;
    connect->task.run = on_task;
    cdt_target_trace(&connect->target, connect->ctx, connect->since_ns);
    connect->query.since_ns = connect->since_ns;
    cdt_query_start(&connect->query, connect->ctx, &connect->target, false,
                    connect->resolve_timeout_ms, &events);
}

/* ---- the beginning ---- */

static struct cdt_connect *make(conduit_ctx *ctx, const conduit_connect_options *options)
{
    struct cdt_connect *connect = conduit_calloc(1, sizeof(*connect));
    if (connect == NULL)
        return NULL;
    connect->ctx = ctx;
    connect->adopted = -1;
    connect->since_ns = uv_hrtime();
    connect->task.run = begin;
    connect->resolve_timeout_ms = options->resolve_timeout_ms;
    connect->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
    connect->attempt_timeout_ms =
        options->attempt_timeout_ms != 0 ? options->attempt_timeout_ms : DEFAULT_ATTEMPT_TIMEOUT_MS;
    cdt_race_init(&connect->race);
    cdt_race_set_delay(&connect->race, options->attempt_delay_ms);
    return connect;
}

/* The connection, and its place in a pool. False when out of memory. */
static bool make_conn(struct cdt_connect *connect, const char *uri,
                      const conduit_connect_options *options, const conduit_handler *handler,
                      void *user)
{
    struct cdt_stay *stay = NULL;
    if (options->pool != NULL) {
        stay = cdt_stay_new(options, &connect->target, connect);
        if (stay == NULL)
            return false;
    }
    struct cdt_manner *manner = cdt_manner_new(handler, &options->conn);
    if (manner != NULL)
        connect->conn = cdt_conn_new(connect->ctx, uri, manner, user);
    cdt_manner_unref(manner);
    if (connect->conn == NULL) {
        cdt_stay_free(stay);
        return false;
    }
    connect->conn->connect = connect;
    connect->conn->dialled = true;
    connect->conn->stay = stay;
    if (stay != NULL)
        stay->conn = connect->conn;
    return true;
}

int cdt_connect_start(conduit_ctx *ctx, const char *uri, const conduit_connect_options *options,
                      const struct cdt_adopted *adopted, const conduit_handler *handler, void *user,
                      conduit_conn **ret)
{
    CDT_ASSERT_THREAD(ctx);
    static const conduit_connect_options defaults;
    const conduit_error *error = NULL;
    options = options != NULL ? options : &defaults;
    if (ctx->ending)
        return cdt_ctx_refuse(ctx, CONDUIT_ECANCELED, "the context is ending");
    if (options->pool != NULL && (adopted != NULL || !cdt_pool_is_on(options->pool, ctx)))
        return cdt_ctx_refuse(ctx, CONDUIT_EINVAL,
                              "a pool is for connects of its own context, and not for adopting");
    struct cdt_connect *connect = make(ctx, options);
    if (connect == NULL)
        return cdt_ctx_refuse(ctx, CONDUIT_ENOMEM, "out of memory");
    connect->server = adopted != NULL && adopted->server;
    int code = cdt_target_make(ctx, &connect->target, uri, connect->server, options, &error);
    if (code < 0) {
        cdt_connect_stop(connect);
        return cdt_ctx_fail(ctx, error);
    }
    if (!make_conn(connect, uri, options, handler, user)) {
        cdt_connect_stop(connect);
        return cdt_ctx_refuse(ctx, CONDUIT_ENOMEM, "out of memory");
    }
    if (options->pool == NULL) /* whose paths are not the connection's alone */
        connect->early.bytes = &connect->conn->queue;
    if (adopted != NULL)
        connect->adopted = adopted->fd;
    cdt_timer_start(ctx, &connect->deadline, connect->timeout_ms, on_deadline);
    cdt_defer(ctx, &connect->task);
    if (ret != NULL)
        *ret = connect->conn;
    return 0;
}

int conduit_connect(conduit_ctx *ctx, const char *uri, const conduit_connect_options *options,
                    const conduit_handler *handler, void *user, conduit_conn **ret)
{
    return cdt_connect_start(ctx, uri, options, NULL, handler, user, ret);
}
