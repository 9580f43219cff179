/* SPDX-License-Identifier: ISC */
/*
 * An HTTP client on one context: HTTP/1.1, and HTTP/2 where the server agrees to it (by ALPN under
 * TLS) or is known to speak it (h2c:, in the clear). Connections are kept and shared by origin in a
 * conduit_pool; requests to one HTTP/2 server share one.
 *
 * A call lives from http_fetch() to its on_done, which comes once and last, and not before
 * http_fetch() has returned. A request that is lost with a connection that had been idle is tried
 * again if that can do no harm. Redirects are the caller's: redirect.h.
 */
#ifndef EXAMPLES_HTTP_CLIENT_H
#define EXAMPLES_HTTP_CLIENT_H

#include "message.h"
#include <conduit/conduit.h>

struct http_client;
struct http_call;

struct http_client_options {
    conduit_connect_options connect; /* borrowed strings, for as long as the client lives */
    unsigned max_per_origin;         /* connections; 0: 6 */
    uint32_t idle_timeout_ms;        /* no byte either way while an answer is due; 0: 60,000 */
};

struct http_request {
    const char *method;             /* "GET" */
    const char *uri;                /* http, https, h2c, http+unix, ... */
    const struct http_head *fields; /* beside Host and those of the framing; NULL: none */
    struct http_body body;          /* taken over */
    bool has_body;
};

/* How a call ended: `what` is NULL if well, whatever its status. */
struct http_end {
    const char *what;         /* "the answer was cut short" */
    const conduit_error *why; /* what the connection says; NULL: it was not the connection */
};

struct http_events {
    /* The head of the answer; 1xx are not told of. False: no more of it is wanted. */
    bool (*on_head)(struct http_call *call, const struct http_head *head, void *user);
    bool (*on_body)(struct http_call *call, const char *data, size_t n, void *user);
    void (*on_done)(struct http_call *call, const struct http_end *end, void *user);
};

/* NULL: out of memory. Adds the scheme h2c to the context. */
struct http_client *http_client_new(conduit_ctx *ctx, const struct http_client_options *options);
/* Close what is idle, so that conduit_run() ends when the calls have. */
void http_client_finish(struct http_client *client);
/* After conduit_ctx_free(). */
void http_client_free(struct http_client *client);

/* Why this URI is not one of HTTP, or NULL. */
const char *http_uri_objection(const char *uri);

/* 0, or a negative code and conduit_ctx_error(), and on_done will not come; the body has been taken
 * over in any case. */
int http_fetch(struct http_client *client, const struct http_request *request,
               const struct http_events *events, void *user);

/* Of a call whose head has come: the connection it came over, and "HTTP/1.1" or "HTTP/2". */
conduit_conn *http_call_conn(const struct http_call *call);
const char *http_call_version(const struct http_call *call);

#endif
