/* SPDX-License-Identifier: ISC */
/*
 * The story of a listen.
 *
 *   conduit_listen    the URI is read; the endpoints are bound, every one or none    target.c
 *   on_ready          connections are accepted, a batch a turn, while there is room
 *   begin             the layers are pushed over it and driven open                  stack.c
 *   on_opened         the connection is the user's: on_open                          connection.c
 *   on_failed         ... or never was one: options.on_failed hears of it
 *
 * Handshakes run beside the accepting, each with its own deadline. When descriptors or memory run
 * out, accepting rests for a moment instead of spinning. A listener can be closed from inside any
 * callback; the frame that is using it then finds it closed.
 */
#include "connection.h"
#include "error.h"
#include "resolve.h"
#include "stack.h"
#include "transport.h"
#include "util.h"
#include <conduit/listener.h>
#include <conduit/memory.h>
#include <netinet/in.h>
#include <utlist.h>

enum {
    DEFAULT_BACKLOG = 511,
    DEFAULT_HANDSHAKE_TIMEOUT_MS = 10000,
    DEFAULT_MAX_PENDING = 1024,
    MOST_PLACES = 8,
    ACCEPTS_PER_TURN = 16,
    REST_MS = 100,   /* after running out of descriptors */
    PORT_TRIES = 16, /* to find a port that is free in both families */
};

struct place {
    struct cdt_acceptor *acceptor;
    const conduit_endpoint *endpoint; /* the whole stack, with the real port */
};

/* A connection whose layers are shaking hands. */
struct pending {
    struct conduit_listener *listener;
    struct pending *prev, *next;
    struct cdt_opening opening;
    struct cdt_path *path;
    uint64_t since_ns;
};

struct conduit_listener {
    conduit_ctx *ctx;
    struct conduit_listener *prev, *next;
    struct cdt_target target;
    conduit_query query;
    conduit_listen_options options;
    conduit_handler handler;
    void *user;
    const conduit_endpoint *wanted[MOST_PLACES]; /* what the URI leads to */
    size_t n_wanted;
    struct place places[MOST_PLACES];
    size_t n_places;
    struct pending *pending;
    uint32_t n_pending;
    struct cdt_timer rest;
    const conduit_error *error; /* of conduit_listen() itself */
    unsigned pins;
    bool closed;
};

/* ---- lifetime ---- */

static void release(struct conduit_listener *listener)
{
    for (size_t i = 0; i < listener->n_places; i++)
        conduit_endpoint_unref(listener->places[i].endpoint);
    for (size_t i = 0; i < listener->n_wanted; i++)
        conduit_endpoint_unref(listener->wanted[i]);
    conduit_error_unref(listener->error);
    cdt_target_clear(&listener->target);
    conduit_free(listener);
}

static void unpin(struct conduit_listener *listener)
{
    if (--listener->pins == 0 && listener->closed)
        release(listener);
}

static void drop_pending(struct pending *pending)
{
    DL_DELETE(pending->listener->pending, pending);
    pending->listener->n_pending--;
    cdt_opening_stop(&pending->opening);
    conduit_free(pending);
}

static void unbind(struct conduit_listener *listener)
{
    for (size_t i = 0; i < listener->n_places; i++) {
        listener->places[i].acceptor->ops->close(listener->places[i].acceptor);
        conduit_endpoint_unref(listener->places[i].endpoint);
    }
    listener->n_places = 0;
}

void conduit_listener_close(conduit_listener *listener)
{
    if (listener == NULL || listener->closed)
        return;
    listener->pins++;
    listener->closed = true;
    DL_DELETE(listener->ctx->listeners, listener);
    cdt_ctx_recount(listener->ctx);
    cdt_timer_stop(listener->ctx, &listener->rest);
    while (listener->pending != NULL)
        drop_pending(listener->pending);
    unbind(listener);
    unpin(listener);
}

/* ---- accepting ---- */

static void accept_on(struct conduit_listener *listener, bool on)
{
    for (size_t i = 0; i < listener->n_places; i++)
        listener->places[i].acceptor->ops->want(listener->places[i].acceptor, on);
}

static bool full(const struct conduit_listener *listener)
{
    return listener->n_pending >= listener->options.max_pending;
}

static void tell_failed(struct conduit_listener *listener, const conduit_error *error)
{
    if (listener->options.on_failed != NULL && !listener->closed)
        listener->options.on_failed(listener, error, listener->user);
}

static void open_connection(struct conduit_listener *listener, struct cdt_path *path,
                            uint64_t since_ns)
{
    struct conduit_conn *conn =
        cdt_conn_new(listener->ctx, conduit_endpoint_uri(path->endpoint), &listener->handler,
                     listener->user, &listener->options.conn);
    if (conn == NULL) {
        cdt_path_fail(path, CONDUIT_ENOMEM, CONDUIT_STAGE_IO, NULL, 0, "out of memory");
        tell_failed(listener, path->error);
        cdt_path_free(path, true);
        return;
    }
    if (since_ns != 0)
        conn->open_ms = (double)(uv_hrtime() - since_ns) / 1e6;
    cdt_conn_opened(conn, path);
}

static void on_opened(struct cdt_opening *opening, int code)
{
    struct pending *pending = CDT_CONTAINER(opening, struct pending, opening);
    struct conduit_listener *listener = pending->listener;
    struct cdt_path *path = pending->path;
    uint64_t since_ns = pending->since_ns;
    listener->pins++;
    bool was_full = full(listener);
    drop_pending(pending);
    if (was_full && !listener->rest.armed)
        accept_on(listener, true);
    if (code == 0) {
        open_connection(listener, path, since_ns);
    } else {
        tell_failed(listener, path->error);
        cdt_path_free(path, false);
    }
    unpin(listener);
}

/* Take charge of an accepted path. */
static void begin(struct conduit_listener *listener, struct cdt_path *path)
{
    struct pending *pending = conduit_calloc(1, sizeof(*pending));
    int code = CONDUIT_ENOMEM;
    if (pending == NULL) {
        cdt_path_fail(path, code, CONDUIT_STAGE_IO, NULL, 0, "out of memory");
    } else {
        pending->listener = listener;
        pending->path = path;
        pending->since_ns = uv_hrtime();
        code = cdt_stack_accept(path, listener->target.steps);
        if (code == 0)
            code = cdt_opening_start(&pending->opening, path,
                                     listener->options.handshake_timeout_ms, on_opened);
    }
    if (code == CONDUIT_EAGAIN) {
        DL_APPEND(listener->pending, pending);
        listener->n_pending++;
        return;
    }
    conduit_free(pending);
    if (code == 0) {
        open_connection(listener, path, 0);
        return;
    }
    tell_failed(listener, path->error);
    cdt_path_free(path, false);
}

static void on_rested(struct cdt_timer *timer)
{
    struct conduit_listener *listener = CDT_CONTAINER(timer, struct conduit_listener, rest);
    if (!full(listener))
        accept_on(listener, true);
}

/* One connection that vanished before it was accepted is nobody's concern; a shortage is. */
static bool survive(struct conduit_listener *listener, const struct place *place, int code,
                    int number)
{
    if (code == CONDUIT_ERESET)
        return true;
    const conduit_error *error = cdt_error_errno(
        CONDUIT_STAGE_DIAL, conduit_endpoint_uri(place->endpoint), number, "accept");
    accept_on(listener, false);
    cdt_timer_start(listener->ctx, &listener->rest, REST_MS, on_rested);
    tell_failed(listener, error);
    conduit_error_unref(error);
    return false;
}

/* One connection. False: no more just now. */
static bool accept_one(struct conduit_listener *listener, const struct place *place)
{
    if (full(listener)) {
        accept_on(listener, false);
        return false;
    }
    int number = ENOMEM;
    struct cdt_path *path = cdt_path_new(listener->ctx, place->endpoint);
    int code = CONDUIT_ENOMEM;
    if (path != NULL)
        code = place->acceptor->ops->accept(place->acceptor, path, &number);
    if (code == 0) {
        begin(listener, path);
        return true;
    }
    cdt_path_free(path, false);
    return code != CONDUIT_EAGAIN && survive(listener, place, code, number);
}

static void on_ready(struct cdt_acceptor *acceptor)
{
    struct conduit_listener *listener = acceptor->owner;
    const struct place *place = listener->places;
    while (place->acceptor != acceptor)
        place++;
    listener->pins++;
    for (int i = 0; i < ACCEPTS_PER_TURN && !listener->closed; i++)
        if (!accept_one(listener, place))
            break;
    unpin(listener);
}

/* ---- binding ---- */

static void on_answer(conduit_query *query, const conduit_endpoint *endpoint, const char *source,
                      int32_t ttl)
{
    struct conduit_listener *listener = CDT_CONTAINER(query, struct conduit_listener, query);
    if (listener->n_wanted < MOST_PLACES)
        listener->wanted[listener->n_wanted++] = conduit_endpoint_ref(endpoint);
}

static void on_done(conduit_query *query, const conduit_error *why)
{
    CDT_CONTAINER(query, struct conduit_listener, query)->error = why;
}

/* Port 0 of a second socket is the port that the first one got. */
static const conduit_endpoint *with_port(const conduit_endpoint *bottom, uint16_t port)
{
    if (port == 0 || bottom->port != 0 || bottom->transport->form != CDT_FORM_HOST_PORT)
        return conduit_endpoint_ref(bottom);
    struct conduit_endpoint copy = *bottom;
    if (copy.address.any.sa_family == AF_INET)
        copy.address.in.sin_port = htons(port);
    else
        copy.address.in6.sin6_port = htons(port);
    return cdt_endpoint_transport(bottom->transport, &copy.address.any, NULL, &bottom->params);
}

static int bind_one(struct conduit_listener *listener, const conduit_endpoint *wanted)
{
    uint16_t port =
        listener->n_places > 0 ? cdt_endpoint_bottom(listener->places[0].endpoint)->port : 0;
    struct place *place = &listener->places[listener->n_places];
    const conduit_endpoint *at = with_port(cdt_endpoint_bottom(wanted), port);
    conduit_error_unref(listener->error);
    listener->error = NULL;
    int code = CONDUIT_ENOMEM;
    if (at != NULL)
        code = at->transport->bind(listener->ctx, at, listener->options.backlog, &place->acceptor,
                                   &listener->error);
    conduit_endpoint_unref(at);
    if (code < 0)
        return code;
    place->acceptor->owner = listener;
    place->acceptor->ready = on_ready;
    place->endpoint = cdt_target_wrap(&listener->target, place->acceptor->endpoint);
    if (place->endpoint == NULL) {
        place->acceptor->ops->close(place->acceptor);
        return CONDUIT_ENOMEM;
    }
    listener->n_places++;
    return 0;
}

/* Of several addresses that one name stands for, those of a family that this machine does not have
 * do not count. */
static bool dispensable(const struct conduit_listener *listener, int code)
{
    return listener->n_wanted > 1 && (code == CONDUIT_ENOTSUP || code == CONDUIT_EUNREACH);
}

static int bind_all(struct conduit_listener *listener)
{
    int code = 0;
    for (size_t i = 0; i < listener->n_wanted; i++) {
        code = bind_one(listener, listener->wanted[i]);
        if (code < 0 && !dispensable(listener, code))
            return code;
    }
    return listener->n_places > 0 ? 0 : code;
}

static int bind_places(struct conduit_listener *listener)
{
    int code = bind_all(listener);
    for (int i = 0; i < PORT_TRIES && code == CONDUIT_EADDRINUSE && listener->target.port == 0 &&
                    listener->n_places > 0;
         i++) {
        unbind(listener);
        code = bind_all(listener);
    }
    return code;
}

static int find_places(struct conduit_listener *listener)
{
    static const struct cdt_query_events events = {.answer = on_answer, .done = on_done};
    cdt_query_start(&listener->query, listener->ctx, &listener->target, true, 0, &events);
    cdt_query_cancel(&listener->query); /* of one who says that it is immediate, and is not */
    if (listener->n_wanted == 0 && listener->error == NULL)
        return CONDUIT_ENONAME;
    return conduit_error_code(listener->error);
}

static struct conduit_listener *make(conduit_ctx *ctx, const conduit_listen_options *options,
                                     const conduit_handler *handler, void *user)
{
    struct conduit_listener *listener = conduit_calloc(1, sizeof(*listener));
    if (listener == NULL)
        return NULL;
    listener->ctx = ctx;
    listener->options = *options;
    if (handler != NULL)
        listener->handler = *handler;
    listener->user = user;
    if (listener->options.backlog == 0)
        listener->options.backlog = DEFAULT_BACKLOG;
    if (listener->options.handshake_timeout_ms == 0)
        listener->options.handshake_timeout_ms = DEFAULT_HANDSHAKE_TIMEOUT_MS;
    if (listener->options.max_pending == 0)
        listener->options.max_pending = DEFAULT_MAX_PENDING;
    return listener;
}

static int fail(struct conduit_listener *listener, int code)
{
    conduit_ctx *ctx = listener->ctx;
    const conduit_error *error = conduit_error_ref(listener->error);
    if (error == NULL)
        error =
            cdt_error_new(code, CONDUIT_STAGE_DIAL, NULL, NULL, 0, "%s", conduit_code_text(code));
    unbind(listener);
    release(listener);
    return cdt_ctx_fail(ctx, error);
}

int conduit_listen(conduit_ctx *ctx, const char *uri, const conduit_listen_options *options,
                   const conduit_handler *handler, void *user, conduit_listener **ret)
{
    static const conduit_listen_options defaults;
    options = options != NULL ? options : &defaults;
    if (ctx->ending)
        return cdt_ctx_refuse(ctx, CONDUIT_ECANCELED, "the context is ending");
    struct conduit_listener *listener = make(ctx, options, handler, user);
    if (listener == NULL)
        return cdt_ctx_refuse(ctx, CONDUIT_ENOMEM, "out of memory");
    const conduit_connect_options shared = {.tls = options->tls,
                                            .endpoint_params = options->endpoint_params};
    int code = cdt_target_make(ctx, &listener->target, uri, true, &shared, &listener->error);
    if (code == 0)
        code = find_places(listener);
    if (code == 0)
        code = bind_places(listener);
    if (code < 0)
        return fail(listener, code);
    listener->options.tls = NULL; /* the target has its own reference, if it needs one */
    DL_APPEND(ctx->listeners, listener);
    cdt_ctx_recount(ctx);
    accept_on(listener, true);
    if (ret != NULL)
        *ret = listener;
    return 0;
}

const char *conduit_listener_uri(const conduit_listener *listener, size_t i)
{
    return i < listener->n_places ? conduit_endpoint_uri(listener->places[i].endpoint) : NULL;
}

int conduit_listener_fd(const conduit_listener *listener, size_t i)
{
    if (i >= listener->n_places)
        return CONDUIT_EINVAL;
    const struct cdt_acceptor *acceptor = listener->places[i].acceptor;
    return acceptor->ops->descriptor != NULL ? acceptor->ops->descriptor(acceptor)
                                             : CONDUIT_ENOTSUP;
}
