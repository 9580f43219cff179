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
 * The handler is called when the head of a request is there. It answers at once, with a head and
 * with where the bytes of the body will come from, or asks for what the request brings (`on_body`)
 * and answers meanwhile or at its end. Nothing here holds a body, either way: who sends faster than
 * the handler's answer is taken has to wait. A server must outlive its context.
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
    const char *version;             /* "HTTP/1.1" */
    struct http_head response; /* of the handler: status, and any field but those of the framing */
    struct http_body body;     /* of the handler; http_body_fed() for http_feed() */
    /* Of the handler: it gets the body of the request, piece by piece, and then n 0. NULL: that is
     * thrown away, and answered early where it is long. */
    void (*on_body)(struct http_exchange *x, const char *data, size_t n);
    void *mine;            /* of the handler, until on_done */
    uint64_t received;     /* of the request's body, so far */
    uint64_t length, sent; /* of the body: what was promised, and what has been taken so far */
    double began_ms;
    bool failed;                          /* it was not sent to its end */
    void (*fed)(struct http_exchange *x); /* of what is spoken: there is more to send */
};

struct http_server_options {
    /* Fills in `response` and `body`, now or from on_body: what has a status goes out, and with it
     * ends the handler's interest in a request that goes on, unless its answer is fed. It reads
     * files if it has to: what waits long is not for it. */
    void (*handler)(struct http_exchange *x, void *user);
    /* An exchange is over, answered or not. May be NULL. */
    void (*on_done)(const struct http_exchange *x, void *user);
    /* A client had to be given up, for what it did or did not. May be NULL. */
    void (*on_trouble)(conduit_conn *conn, const char *what, void *user);
    void *user;
    uint32_t request_timeout_ms; /* for the head of a request, and for each 16 KiB of what follows;
                                    0: 20,000 */
    uint32_t idle_timeout_ms;    /* no byte either way; 0: 75,000 */
    uint32_t write_timeout_ms;   /* the client takes nothing; with HTTP/2, no 16 KiB of any answer;
                                    0: 30,000 */
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
/* For on_body: more of an answer whose body is http_body_fed(); n 0: that was all. */
void http_feed(struct http_exchange *x, const char *data, size_t n);

#endif
