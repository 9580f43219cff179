/* SPDX-License-Identifier: ISC */
/*
 * The blocking facade: turns of the context's loop until what was asked for has happened.
 *
 * A connection is paused except inside a read, so that nothing piles up here: at most one buffer of
 * the engine's, of which the read took a part. An engine is a context and who uses it: a
 * connection, or a listener and what it has accepted; the last to go frees it.
 */
#include "connection.h"
#include "error.h"
#include "util.h"
#include <conduit/blocking.h>
#include <conduit/memory.h>
#include <conduit/pool.h>
#include <string.h>
#include <utlist.h>

enum { PIECE = 64 * 1024 };

struct engine {
    conduit_ctx *ctx;
    bool own;
    unsigned users;
};

struct conduit_blocking {
    struct conduit_blocking *prev, *next; /* in the listener's backlog */
    struct engine *engine;
    conduit_conn *conn; /* until on_close */
    bool opened, ended, closed;
    const conduit_error *why;
    unsigned char *into; /* where a read wants it */
    size_t room, taken;
    unsigned char *rest; /* what came and was more than the read wanted */
    size_t n_rest, at_rest;
};

struct conduit_blocking_listener {
    struct engine *engine;
    conduit_listener *listener;
    struct conduit_blocking *backlog;
    bool short_of_memory;
};

/* ---- the engine ---- */

/* One that is used by the caller, so that a failure is a call of leave(). */
static struct engine *start_engine(const conduit_blocking_options *options)
{
    struct engine *engine = conduit_calloc(1, sizeof(*engine));
    if (engine == NULL)
        return NULL;
    engine->own = options->ctx == NULL;
    engine->ctx = engine->own ? conduit_ctx_new(NULL) : options->ctx;
    engine->users = 1;
    if (engine->ctx != NULL)
        return engine;
    conduit_free(engine);
    return NULL;
}

static void leave(struct engine *engine)
{
    if (--engine->users > 0)
        return;
    if (engine->own)
        conduit_ctx_free(engine->ctx);
    conduit_free(engine);
}

/* Of one call, on the context's own clock. */
struct deadline {
    struct cdt_timer timer;
    conduit_ctx *ctx;
    bool passed;
};

static void on_deadline(struct cdt_timer *timer)
{
    CDT_CONTAINER(timer, struct deadline, timer)->passed = true;
}

static void start_deadline(struct deadline *deadline, struct engine *engine, uint32_t timeout_ms)
{
    *deadline = (struct deadline){.ctx = engine->ctx};
    if (timeout_ms != CONDUIT_FOREVER)
        cdt_timer_start(engine->ctx, &deadline->timer, timeout_ms, on_deadline);
}

static void stop_deadline(struct deadline *deadline)
{
    cdt_timer_stop(deadline->ctx, &deadline->timer);
}

/* Turn the loop until what(of), or the deadline; returns what(of). */
static bool turn_until(bool (*what)(const void *of), const void *of,
                       const struct deadline *deadline)
{
    while (!what(of) && !deadline->passed)
        uv_run(deadline->ctx->loop, UV_RUN_ONCE);
    return what(of);
}

/* ---- what the engine says ---- */

static void on_open(conduit_conn *conn, void *user)
{
    struct conduit_blocking *b = user;
    b->conn = conn;
    b->opened = true;
    conduit_pause(conn);
}

/* Only inside a read, for the connection is paused otherwise; and once, for it is paused again. */
static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct conduit_blocking *b = user;
    size_t now = n < b->room ? n : b->room;
    conduit_pause(conn);
    memcpy(b->into, data, now);
    b->taken = now;
    if (now == n)
        return;
    b->rest = conduit_malloc(n - now);
    if (b->rest == NULL) { /* a stream with a gap is none */
        b->why = cdt_error_new(CONDUIT_ENOMEM, CONDUIT_STAGE_IO, NULL, NULL, 0, "out of memory");
        conduit_abort(conn);
        return;
    }
    memcpy(b->rest, (const unsigned char *)data + now, n - now);
    b->n_rest = n - now;
    b->at_rest = 0;
}

static void on_end(conduit_conn *conn, void *user)
{
    ((struct conduit_blocking *)user)->ended = true;
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct conduit_blocking *b = user;
    b->conn = NULL;
    b->closed = true;
    if (b->why == NULL)
        b->why = conduit_error_ref(why);
}

static const conduit_handler handler = {
    .on_open = on_open,
    .on_data = on_data,
    .on_end = on_end,
    .on_close = on_close,
};

/* ---- what is waited for ---- */

static bool is_open(const void *of)
{
    const struct conduit_blocking *b = of;
    return b->opened || b->closed;
}

static bool is_closed(const void *of)
{
    const struct conduit_blocking *b = of;
    return b->closed;
}

static bool has_read(const void *of)
{
    const struct conduit_blocking *b = of;
    return b->taken > 0 || b->ended || b->closed;
}

static bool has_written(const void *of)
{
    const struct conduit_blocking *b = of;
    return b->closed || (b->conn->queue.size == 0 && !b->conn->unflushed);
}

static bool has_ended(const void *of)
{
    const struct conduit_blocking *b = of;
    return b->closed || b->conn->ended || b->conn->broken;
}

/* ---- one connection ---- */

static void destroy(struct conduit_blocking *b)
{
    conduit_conn_free(b->conn);
    conduit_error_unref(b->why);
    conduit_free(b->rest);
    leave(b->engine);
    conduit_free(b);
}

static struct conduit_blocking *make(struct engine *engine)
{
    struct conduit_blocking *b = conduit_calloc(1, sizeof(*b));
    if (b == NULL)
        return NULL;
    b->engine = engine;
    engine->users++;
    return b;
}

/* The code of a connection that is over; a proper end is none to who wants to go on with it. */
static int code_of(const struct conduit_blocking *b)
{
    return b->why != NULL ? (int)conduit_error_code(b->why) : CONDUIT_ECLOSED;
}

/* 0, or a negative code and b->why. */
static int open_connection(struct conduit_blocking *b, const char *uri,
                           const conduit_connect_options *options)
{
    struct deadline deadline;
    int code = conduit_connect(b->engine->ctx, uri, options, &handler, b, &b->conn);
    if (code < 0) {
        b->why = conduit_error_ref(conduit_ctx_error(b->engine->ctx));
        return code;
    }
    start_deadline(&deadline, b->engine, CONDUIT_FOREVER); /* the connect has its own */
    turn_until(is_open, b, &deadline);
    return b->closed ? code_of(b) : 0;
}

int conduit_blocking_connect(const char *uri, const conduit_blocking_options *options,
                             conduit_blocking **ret, const conduit_error **reterr)
{
    static const conduit_blocking_options defaults;
    options = options != NULL ? options : &defaults;
    struct engine *engine = start_engine(options);
    if (engine == NULL)
        return cdt_error_no_memory(reterr);
    struct conduit_blocking *b = make(engine);
    leave(engine); /* it is the connection's now, if there is one */
    if (b == NULL)
        return cdt_error_no_memory(reterr);
    int code = open_connection(b, uri, &options->connect);
    if (code == 0) {
        *ret = b;
        return 0;
    }
    cdt_error_give(conduit_error_ref(b->why), reterr);
    destroy(b);
    return code;
}

/* What an earlier read left. */
static ssize_t read_rest(struct conduit_blocking *b, void *buf, size_t n)
{
    size_t left = b->n_rest - b->at_rest;
    n = n < left ? n : left;
    memcpy(buf, b->rest + b->at_rest, n);
    b->at_rest += n;
    if (b->at_rest == b->n_rest) {
        conduit_free(b->rest);
        b->rest = NULL;
    }
    return (ssize_t)n;
}

static void wait_for_data(struct conduit_blocking *b, void *buf, size_t n, uint32_t timeout_ms)
{
    struct deadline deadline;
    b->into = buf;
    b->room = n;
    start_deadline(&deadline, b->engine, timeout_ms);
    conduit_resume(b->conn);
    turn_until(has_read, b, &deadline);
    stop_deadline(&deadline);
    if (b->conn != NULL)
        conduit_pause(b->conn);
}

ssize_t conduit_blocking_read(conduit_blocking *b, void *buf, size_t n, uint32_t timeout_ms)
{
    if (n == 0)
        return CONDUIT_EINVAL;
    if (b->rest != NULL)
        return read_rest(b, buf, n);
    b->taken = 0;
    if (!b->ended && !b->closed)
        wait_for_data(b, buf, n, timeout_ms);
    if (b->taken > 0)
        return (ssize_t)b->taken;
    if (b->ended || (b->closed && b->why == NULL))
        return 0;
    return b->closed ? code_of(b) : CONDUIT_ETIMEDOUT;
}

/* How much was taken; and in *code why it was not all. */
static size_t write_pieces(struct conduit_blocking *b, const unsigned char *data, size_t n,
                           const struct deadline *deadline, int *code)
{
    size_t done = 0;
    while (turn_until(has_written, b, deadline) && !b->closed && done < n) {
        size_t piece = n - done < PIECE ? n - done : PIECE;
        int taken = conduit_write(b->conn, data + done, piece);
        if (taken < 0) {
            *code = taken;
            return done;
        }
        done += piece;
    }
    *code = b->closed ? code_of(b) : CONDUIT_ETIMEDOUT;
    return done;
}

ssize_t conduit_blocking_write(conduit_blocking *b, const void *data, size_t n, uint32_t timeout_ms)
{
    struct deadline deadline;
    int code = 0;
    start_deadline(&deadline, b->engine, timeout_ms);
    size_t done = write_pieces(b, data, n, &deadline, &code);
    if (code == CONDUIT_ECLOSED && !b->closed && b->conn->broken)
        turn_until(is_closed, b, &deadline); /* it is on its way to say why */
    stop_deadline(&deadline);
    if (b->closed)
        return code_of(b);
    return done > 0 || n == 0 ? (ssize_t)done : code;
}

int conduit_blocking_end(conduit_blocking *b, uint32_t timeout_ms)
{
    struct deadline deadline;
    if (!b->closed)
        conduit_end(b->conn);
    start_deadline(&deadline, b->engine, timeout_ms);
    bool ended = turn_until(has_ended, b, &deadline);
    stop_deadline(&deadline);
    if (b->closed && b->why != NULL)
        return code_of(b);
    return ended ? 0 : CONDUIT_ETIMEDOUT;
}

static int finish(struct conduit_blocking *b, void (*how)(conduit_conn *), uint32_t timeout_ms)
{
    struct deadline deadline;
    if (b == NULL)
        return 0;
    if (!b->closed)
        how(b->conn);
    start_deadline(&deadline, b->engine, timeout_ms);
    bool closed = turn_until(is_closed, b, &deadline);
    stop_deadline(&deadline);
    if (!closed && b->conn->ended) { /* all was sent and said; how the peer leaves is its affair */
        cdt_conn_finish(b->conn, NULL);
        start_deadline(&deadline, b->engine, CONDUIT_FOREVER);
        closed = turn_until(is_closed, b, &deadline);
    }
    int code = closed ? (int)conduit_error_code(b->why) : CONDUIT_ETIMEDOUT;
    destroy(b);
    return code;
}

int conduit_blocking_close(conduit_blocking *b, uint32_t timeout_ms)
{
    return finish(b, conduit_close, timeout_ms);
}

/* What came and was not read is not for the next. */
int conduit_blocking_release(conduit_blocking *b, uint32_t timeout_ms)
{
    return finish(b, b != NULL && b->rest != NULL ? conduit_close : conduit_release, timeout_ms);
}

const conduit_error *conduit_blocking_error(const conduit_blocking *b)
{
    return b->why;
}

const conduit_info *conduit_blocking_info(conduit_blocking *b)
{
    return b->conn != NULL ? conduit_conn_info(b->conn) : NULL;
}

/* ---- listening ---- */

static void on_accepted(conduit_conn *conn, void *user)
{
    struct conduit_blocking_listener *l = user;
    struct conduit_blocking *b = make(l->engine);
    if (b == NULL) {
        l->short_of_memory = true;
        conduit_conn_free(conn);
        return;
    }
    conduit_conn_set_user(conn, b);
    on_open(conn, b);
    DL_APPEND(l->backlog, b);
}

static const conduit_handler accepting = {
    .on_open = on_accepted,
    .on_data = on_data,
    .on_end = on_end,
    .on_close = on_close,
};

int conduit_blocking_listen(const char *uri, const conduit_blocking_options *options,
                            conduit_blocking_listener **ret, const conduit_error **reterr)
{
    static const conduit_blocking_options defaults;
    options = options != NULL ? options : &defaults;
    struct conduit_blocking_listener *l = conduit_calloc(1, sizeof(*l));
    struct engine *engine = l != NULL ? start_engine(options) : NULL;
    if (engine == NULL) {
        conduit_free(l);
        return cdt_error_no_memory(reterr);
    }
    l->engine = engine;
    int code = conduit_listen(engine->ctx, uri, &options->listen, &accepting, l, &l->listener);
    if (code < 0) {
        cdt_error_give(conduit_error_ref(conduit_ctx_error(engine->ctx)), reterr);
        leave(engine);
        conduit_free(l);
        return code;
    }
    *ret = l;
    return 0;
}

static bool has_accepted(const void *of)
{
    const struct conduit_blocking_listener *l = of;
    return l->backlog != NULL || l->short_of_memory;
}

int conduit_blocking_accept(conduit_blocking_listener *l, conduit_blocking **ret,
                            uint32_t timeout_ms)
{
    struct deadline deadline;
    start_deadline(&deadline, l->engine, timeout_ms);
    turn_until(has_accepted, l, &deadline);
    stop_deadline(&deadline);
    struct conduit_blocking *b = l->backlog;
    if (b == NULL) {
        int code = l->short_of_memory ? CONDUIT_ENOMEM : CONDUIT_ETIMEDOUT;
        l->short_of_memory = false;
        return code;
    }
    DL_DELETE(l->backlog, b);
    *ret = b;
    return 0;
}

const char *conduit_blocking_listener_uri(const conduit_blocking_listener *l, size_t i)
{
    return conduit_listener_uri(l->listener, i);
}

void conduit_blocking_listener_close(conduit_blocking_listener *l)
{
    if (l == NULL)
        return;
    conduit_listener_close(l->listener);
    while (l->backlog != NULL) {
        struct conduit_blocking *b = l->backlog;
        DL_DELETE(l->backlog, b);
        destroy(b);
    }
    leave(l->engine);
    conduit_free(l);
}
