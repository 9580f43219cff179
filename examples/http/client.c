/* SPDX-License-Identifier: ISC */
/* Calls, the connections they go over, and second tries: client.h. What is spoken is client1.c and
 * client2.c. */
#include "link.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_TRIES = 3 };

struct http_client {
    conduit_ctx *ctx;
    conduit_pool *pool;
    struct http_client_options options;
    struct http_link *links;
};

static int start(struct http_call *call);

/* ---- calls ---- */

static void free_call(struct http_call *call)
{
    http_body_close(&call->body);
    http_head_done(&call->request);
    free(call->uri);
    free(call);
}

static void enter(struct http_link *link, struct http_call *call)
{
    call->link = link;
    call->prev = NULL;
    call->next = link->calls;
    if (call->next != NULL)
        call->next->prev = call;
    link->calls = call;
}

static void leave(struct http_call *call)
{
    if (call->next != NULL)
        call->next->prev = call->prev;
    if (call->prev != NULL)
        call->prev->next = call->next;
    else
        call->link->calls = call->next;
    call->link = NULL;
}

static void end(struct http_call *call, const char *what, const conduit_error *why)
{
    const struct http_end how = {.what = what, .why = why};
    call->events->on_done(call, &how, call->user);
    free_call(call);
}

/* From the start, over another connection. It is not on a link any more. */
static void try_again(struct http_call *call)
{
    call->tries++;
    call->sent = call->heard = call->stopped = false;
    if (start(call) < 0)
        end(call, "cannot connect again", conduit_ctx_error(call->client->ctx));
}

static bool may_try_again(const struct http_call *call)
{
    return call->tries + 1 < MOST_TRIES && !call->started && !call->heard && !call->stopped;
}

bool http_call_head(struct http_call *call, const struct http_head *head)
{
    call->heard = true;
    if (call->events->on_head == NULL || call->events->on_head(call, head, call->user))
        return true;
    call->stopped = true;
    return false;
}

bool http_call_data(struct http_call *call, const char *data, size_t n)
{
    if (call->events->on_body == NULL || call->events->on_body(call, data, n, call->user))
        return true;
    call->stopped = true;
    return false;
}

void http_call_done(struct http_call *call, bool again)
{
    leave(call);
    if (again && may_try_again(call))
        try_again(call);
    else
        end(call,
            call->complete || call->stopped ? NULL
            : call->what != NULL            ? call->what
                                            : "the answer was cut short",
            NULL);
}

conduit_conn *http_call_conn(const struct http_call *call)
{
    return call->link->conn;
}

const char *http_call_version(const struct http_call *call)
{
    return call->link->protocol->version;
}

/* ---- links ---- */

bool http_link_write(struct http_link *link, const void *data, size_t n)
{
    if (link->closing)
        return false;
    int taken = conduit_write(link->conn, data, n);
    link->congested = taken > 0;
    if (taken < 0)
        link->closing = true;
    if (taken < 0 && taken != CONDUIT_ECLOSED)
        conduit_abort(link->conn);
    return taken >= 0;
}

/* Nobody else is to join it. */
static bool begin_to_close(struct http_link *link)
{
    if (link->closing)
        return false;
    link->closing = true;
    if (link->protocol == &http_client2)
        conduit_pool_share(link->conn, false);
    return true;
}

void http_link_fail(struct http_link *link, const char *what)
{
    if (!begin_to_close(link))
        return;
    link->what = what;
    conduit_abort(link->conn);
}

void http_link_close(struct http_link *link, bool keep)
{
    if (!begin_to_close(link))
        return;
    if (keep)
        conduit_release(link->conn);
    else
        conduit_close(link->conn);
}

static void submit(struct http_link *link, struct http_call *call)
{
    enter(link, call);
    if (!link->protocol->submit(link->state, call))
        http_link_fail(link, "the request cannot be sent");
}

static void on_open(conduit_conn *conn, void *user)
{
    struct http_link *link = user;
    struct http_call *call = link->calls;
    bool two = strcmp(conduit_conn_alpn(conn), "h2") == 0 || call->http2;
    link->protocol = two ? &http_client2 : &http_client1;
    link->state = link->protocol->open(link);
    if (link->state == NULL) {
        link->protocol = NULL;
        http_link_fail(link, "out of memory");
        return;
    }
    if (two)
        conduit_pool_share(conn, true);
    if (!link->protocol->submit(link->state, call))
        http_link_fail(link, "the request cannot be sent");
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct http_link *link = user;
    if (!link->closing)
        link->protocol->data(link->state, data, n);
}

static void on_drain(conduit_conn *conn, void *user)
{
    struct http_link *link = user;
    link->congested = false;
    if (!link->closing)
        link->protocol->write(link->state);
}

static void on_end(conduit_conn *conn, void *user)
{
    struct http_link *link = user;
    if (!link->closing)
        link->protocol->end(link->state);
    http_link_close(link, false);
}

/* Another connection of the origin turned out to be one that is shared. */
static void join(struct http_link *link)
{
    struct http_call *call = link->calls;
    leave(call);
    try_again(call);
}

/* The link is gone: each of its calls ends, or begins again if that can do no harm. */
static void settle(struct http_link *link, struct http_call *call, const conduit_error *why)
{
    conduit_retry retry = conduit_conn_retry(link->conn);
    bool unseen = link->protocol != NULL && (!call->sent || retry == CONDUIT_RETRY_SAFE);
    bool again = unseen || (retry == CONDUIT_RETRY_STALE && call->repeatable);
    leave(call);
    if (call->complete || call->stopped)
        end(call, NULL, NULL);
    else if (link->what == NULL && again && may_try_again(call))
        try_again(call);
    else if (link->what != NULL)
        end(call, link->what, NULL);
    else if (why != NULL)
        end(call, call->heard ? "the answer was cut short" : "no answer", why);
    else
        end(call, call->heard ? "the answer was cut short" : "the server ended without an answer",
            NULL);
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct http_link *link = user;
    bool shared = link->protocol == NULL && conduit_error_code(why) == CONDUIT_EAGAIN;
    if (link->prev != NULL)
        link->prev->next = link->next;
    else
        link->client->links = link->next;
    if (link->next != NULL)
        link->next->prev = link->prev;
    if (shared)
        join(link);
    while (link->calls != NULL)
        settle(link, link->calls, why);
    if (link->protocol != NULL)
        link->protocol->close(link->state);
    free(link);
}

/* ---- a call on its way ---- */

static conduit_connect_options options_for(const struct http_call *call)
{
    conduit_connect_options how = call->client->options.connect;
    how.pool = call->client->pool;
    how.pool_flags = CONDUIT_POOL_SHARES;
    how.conn.idle_timeout_ms = call->client->options.idle_timeout_ms;
    if (call->tries > 0)
        how.pool_flags |= CONDUIT_POOL_FRESH;
    return how;
}

static int start(struct http_call *call)
{
    static const conduit_handler handler = {.on_open = on_open,
                                            .on_data = on_data,
                                            .on_drain = on_drain,
                                            .on_end = on_end,
                                            .on_close = on_close};
    struct http_client *client = call->client;
    conduit_connect_options how = options_for(call);
    conduit_conn *shared = conduit_pool_shared(client->pool, call->uri, &how);
    if (shared != NULL) {
        submit(conduit_conn_user(shared), call);
        return 0;
    }
    struct http_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return CONDUIT_ENOMEM;
    link->client = client;
    int code = conduit_connect(client->ctx, call->uri, &how, &handler, link, &link->conn);
    if (code < 0) {
        free(link);
        return code;
    }
    enter(link, call);
    link->next = client->links;
    if (link->next != NULL)
        link->next->prev = link;
    client->links = link;
    return 0;
}

/* ---- a request ---- */

/* For a socket's path, which has no host, the name that it goes by. */
static void put_authority(struct http_head *head, const conduit_uri *uri, const char *name)
{
    const char *host = conduit_uri_host(uri), *authority = conduit_uri_authority(uri);
    if (name != NULL && (strchr(host, '/') != NULL || *host == '\0'))
        authority = name;
    head->authority = http_head_put(head, authority, strlen(authority));
}

static void put_target(struct http_head *head, const conduit_uri *uri)
{
    const char *path = conduit_uri_path(uri), *query = conduit_uri_query(uri);
    head->target = http_head_put(head, *path != '\0' ? path : "/", strlen(*path ? path : "/"));
    if (*query != '\0') {
        http_head_more(head, "?", 1);
        http_head_more(head, query, strlen(query));
    }
}

static const char *objection(const conduit_uri *uri)
{
    static const char *const schemes[] = {"http", "https", "h2c"};
    const char *scheme = conduit_uri_scheme(uri);
    size_t n = strcspn(scheme, "+"), known = 0;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        known += strlen(schemes[i]) == n && strncmp(scheme, schemes[i], n) == 0;
    if (known == 0)
        return "not a URI of HTTP";
    return *conduit_uri_userinfo(uri) != '\0' ? "a user name in a URI is not supported" : NULL;
}

const char *http_uri_objection(const char *text)
{
    const conduit_uri *uri;
    if (conduit_uri_parse(text, &uri, NULL) < 0)
        return "a malformed URI";
    const char *why = objection(uri);
    conduit_uri_unref(uri);
    return why;
}

static bool fill(struct http_call *call, const struct http_request *request, const conduit_uri *uri)
{
    struct http_head *head = &call->request;
    const char *scheme = conduit_uri_scheme(uri);
    bool tls = strncmp(scheme, "https", 5) == 0;
    call->http2 = strncmp(scheme, "h2c", 3) == 0;
    call->head = strcmp(request->method, "HEAD") == 0;
    call->repeatable = !request->has_body && strcmp(request->method, "POST") != 0 &&
                       strcmp(request->method, "PATCH") != 0;
    head->method = http_head_put(head, request->method, strlen(request->method));
    head->scheme = http_head_put(head, tls ? "https" : "http", tls ? 5 : 4);
    put_authority(head, uri, call->client->options.connect.name);
    put_target(head, uri);
    for (unsigned i = 0; request->fields != NULL && i < request->fields->n_fields; i++)
        http_head_add(head, http_head_name(request->fields, i),
                      http_head_value(request->fields, i));
    if (request->has_body && !request->body.stream)
        http_head_add_number(head, "content-length", request->body.left);
    return !head->overflow;
}

static int refuse(struct http_call *call, int code)
{
    free_call(call);
    return code;
}

int http_fetch(struct http_client *client, const struct http_request *request,
               const struct http_events *events, void *user)
{
    const conduit_uri *uri;
    struct http_call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return CONDUIT_ENOMEM;
    call->client = client;
    call->events = events;
    call->user = user;
    call->body = request->body;
    call->has_body = request->has_body;
    call->uri = strdup(request->uri);
    if (call->uri == NULL)
        return refuse(call, CONDUIT_ENOMEM);
    int code = conduit_uri_parse(call->uri, &uri, NULL);
    if (code < 0)
        return refuse(call, code);
    bool filled = fill(call, request, uri);
    conduit_uri_unref(uri);
    code = filled ? start(call) : CONDUIT_ELIMIT;
    return code < 0 ? refuse(call, code) : 0;
}

/* ---- the client ---- */

struct http_client *http_client_new(conduit_ctx *ctx, const struct http_client_options *options)
{
    static const conduit_scheme h2c = {.name = "h2c", .port = 80};
    const conduit_pool_options how = {.max_per_origin = options->max_per_origin};
    struct http_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return NULL;
    client->ctx = ctx;
    client->options = *options;
    if (client->options.idle_timeout_ms == 0)
        client->options.idle_timeout_ms = 60000;
    client->pool = conduit_pool_new(ctx, &how);
    if (client->pool != NULL && conduit_ctx_add_scheme(ctx, &h2c) == 0)
        return client;
    conduit_pool_free(client->pool);
    free(client);
    return NULL;
}

void http_client_finish(struct http_client *client)
{
    struct http_link *next;
    for (struct http_link *link = client->links; link != NULL; link = next) {
        next = link->next;
        if (link->calls == NULL)
            http_link_close(link, false);
    }
    conduit_pool_clear(client->pool);
}

void http_client_free(struct http_client *client)
{
    free(client);
}
