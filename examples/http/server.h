/* SPDX-License-Identifier: ISC */
/*
 * An HTTP server on one context: HTTP/1.1, and HTTP/2 where a client asks for it (by ALPN under
 * TLS, by prior knowledge in the clear), at any number of listeners of any transport.
 *
 *     struct http_server *server = http_server_new(ctx, &(struct http_server_options){
 *         .handler = answer});
 *     http_server_listen(server, "https://:8443", &options, &listener);
 *     conduit_run(ctx);
 *     http_server_free(server);           after the context
 *
 * The handler is called once a whole request is there and answers at once, with a head and with
 * where the bytes of the body will come from. A server must outlive its context.
 */
#ifndef EXAMPLES_HTTP_SERVER_H
#define EXAMPLES_HTTP_SERVER_H

#include "message.h"
#include <conduit/conduit.h>

struct http_server;

/* A request and its answer. */
struct http_exchange {
    struct http_server *server;
    conduit_conn *conn;              /* for conduit_conn_info(): who is asking */
    const struct http_head *request; /* method, target, authority, fields */
    const char *body_in;             /* what came with it */
    size_t n_body_in;
    const char *version;       /* "HTTP/1.1" */
    struct http_head response; /* of the handler: status, and any field but those of the framing */
    struct http_body body;     /* of the handler */
    uint64_t length, sent;     /* of the body: what was promised, and what has been taken so far */
    double began_ms;
    bool failed; /* it was not sent to its end */
};

struct http_server_options {
    /* Fills in `response` and `body`. It reads files if it has to: what waits long is not for
     * it. */
    void (*handler)(struct http_exchange *x, void *user);
    /* An exchange is over. May be NULL. */
    void (*on_done)(const struct http_exchange *x, void *user);
    void *user;
    uint32_t request_timeout_ms; /* from the first byte of a request to its last; 0: 20,000 */
    uint32_t idle_timeout_ms;    /* no byte either way; 0: 75,000 */
    uint32_t write_timeout_ms;   /* the client takes nothing; 0: 30,000 */
    size_t max_body;             /* of a request; 0: 64 KiB. It is kept in memory. */
    unsigned max_streams;        /* at once on one connection of HTTP/2; 0: 128 */
};

/* NULL: out of memory. */
struct http_server *http_server_new(conduit_ctx *ctx, const struct http_server_options *options);
/* As conduit_listen(), with handlers and deadlines of the server's own. */
int http_server_listen(struct http_server *server, const char *uri,
                       const conduit_listen_options *options, conduit_listener **ret);
/* Finish what has begun, tell clients to go, and have the context drain (conduit_ctx_drain()). */
void http_server_drain(struct http_server *server, uint32_t deadline_ms);
/* After conduit_ctx_free(). */
void http_server_free(struct http_server *server);

/* For handlers: a status and a line of text for a person. */
void http_answer(struct http_exchange *x, int status, const char *text);

#endif
