/* SPDX-License-Identifier: ISC */
/*
 * Between client.c, which knows connections and calls, and client1.c and client2.c, which know what
 * is spoken. A link is a connection and all calls on it: at most one with HTTP/1.1, any number with
 * HTTP/2. It lives until its on_close has returned.
 */
#ifndef EXAMPLES_HTTP_LINK_H
#define EXAMPLES_HTTP_LINK_H

#include "client.h"

struct http_call {
    struct http_client *client;
    const struct http_events *events;
    void *user;
    struct http_call *prev, *next; /* of the link */
    struct http_link *link;
    char *uri;
    struct http_head request; /* method, scheme, authority, target, all fields */
    struct http_body body;
    bool has_body;
    bool head;       /* it is a HEAD: no body comes */
    bool http2;      /* the server is known to speak it */
    bool repeatable; /* what it asks for may be done twice */
    bool sent;       /* the server may have seen it */
    bool started;    /* bytes of its body were read */
    bool heard;      /* something of the answer has come */
    bool stopped;    /* by its owner */
    bool complete;   /* all of the answer is there */
    unsigned tries;
    int32_t stream;   /* of HTTP/2 */
    const char *what; /* what went wrong with it alone */
};

struct http_link_protocol {
    const char *version;
    void *(*open)(struct http_link *link);
    /* Send the request of a call, which is on the link by now. False: it cannot. */
    bool (*submit)(void *state, struct http_call *call);
    void (*data)(void *state, const char *data, size_t n);
    void (*write)(void *state); /* there is room again */
    void (*end)(void *state);   /* the server has ended its direction */
    void (*close)(void *state);
};

extern const struct http_link_protocol http_client1, http_client2;

struct http_link {
    struct http_client *client;
    conduit_conn *conn;
    const struct http_link_protocol *protocol; /* NULL: not open yet */
    void *state;
    struct http_call *calls;
    struct http_link *prev, *next; /* of the client */
    const char *what;              /* what the server did wrong */
    bool congested, closing;
};

/* Write, and note whether there is room for more. False: it is failing, or has been closed. */
bool http_link_write(struct http_link *link, const void *data, size_t n);
/* The server has broken the rules: the link ends, and its calls with it. */
void http_link_fail(struct http_link *link, const char *what);
/* The graceful end; `keep` gives the connection back to the pool. */
void http_link_close(struct http_link *link, bool keep);

/* The answer, as it comes. False: no more of it is wanted. */
bool http_call_head(struct http_call *call, const struct http_head *head);
bool http_call_data(struct http_call *call, const char *data, size_t n);
/* It is over, on a link that goes on: well if `complete`; `again`: the server has not looked at
 * it. */
void http_call_done(struct http_call *call, bool again);

#endif
