/* SPDX-License-Identifier: ISC */
/*
 * Between server.c, which knows connections, and server1.c and server2.c, which know what is spoken
 * on them. A protocol writes into the buffer of its server, which is there for one callback at a
 * time: what is in it goes to the connection before that ends, so that many small answers leave
 * together and an idle connection has no buffer at all.
 */
#ifndef EXAMPLES_HTTP_SERVE_H
#define EXAMPLES_HTTP_SERVE_H

#include "server.h"

enum {
    HTTP_OUT_SIZE = 256 * 1024,
    HTTP_TURN = 1024 * 1024,
    HTTP_COPIED = 16 * 1024,      /* of a file: so much goes with the head, in one piece */
    HTTP_DISCARD_MAX = 64 * 1024, /* of a request that nobody wants, to keep the connection */
    HTTP_PROGRESS = 16 * 1024     /* of a body, within a deadline */
};

struct http_conn;

struct http_protocol {
    void *(*open)(struct http_conn *conn); /* NULL: out of memory */
    void (*data)(void *state, const char *data, size_t n);
    void (*write)(void *state); /* there is room again: go on with what was begun */
    void (*end)(void *state);   /* the client has ended its direction */
    void (*drain)(void *state); /* no more requests: say so */
    void (*late)(void *state);  /* the deadline is over: say so, and end */
    void (*close)(void *state); /* it is over: release everything */
};

extern const struct http_protocol http_server1, http_server2;

/* Release what streams have left. */
void http_server2_done(struct http_server *server);

struct http_conn {
    struct http_server *server;
    conduit_conn *conn;
    struct http_conn *prev, *next; /* of the server */
    const struct http_protocol *protocol;
    void *state;
    size_t n_preface; /* bytes that could be HTTP/2's preface, so far */
    size_t turn;      /* bytes that may still go out in this turn */
    bool congested;   /* the queue is full: `write` will be called */
    bool closing;     /* nothing more is to be written */
    double late_ms;   /* when the deadline is over, that is set; 0: nothing is due */
    bool told;        /* on_trouble was called */
};

struct http_server {
    conduit_ctx *ctx;
    struct http_server_options options;
    struct http_conn *conns;
    bool draining;
    struct stream *spare; /* of server2.c: streams that are over, for all connections */
    unsigned n_spare;
    time_t date_at;
    char date[HTTP_DATE_SIZE];
    size_t n_out;
    char out[HTTP_OUT_SIZE];
};

/* May more be written now? If not, `write` will be called when it may. */
bool http_may_write(struct http_conn *conn);
/* At least `n` bytes at the end of the buffer (n <= HTTP_OUT_SIZE), which is flushed if need be.
 * NULL: the connection is failing. */
char *http_room(struct http_conn *conn, size_t n, size_t *room);
/* `n` bytes were put there. */
void http_wrote(struct http_conn *conn, size_t n);
/* All of it to the connection. False: it is failing. */
bool http_flush(struct http_conn *conn);
/* A piece of a body that is a file goes after it, straight from there. False: it is failing. */
bool http_send_file(struct http_conn *conn, struct http_body *body);
/* The graceful end, after what was written. */
void http_close(struct http_conn *conn);
/* The end at once: what was promised cannot be kept, and the client has to see that. */
void http_break_off(struct http_conn *conn);
/* Unless told otherwise within so many milliseconds, the client is late, and given up. 0: nothing
 * is expected of it. */
void http_deadline(struct http_conn *conn, uint32_t ms);
/* Tell what the client did. Once. */
void http_trouble(struct http_conn *conn, const char *what);

/* A head has come in. */
void http_exchange_begin(struct http_conn *conn, struct http_exchange *x, const char *version,
                         const struct http_head *request);
/* Have it handled: then there is an answer, or on_body is set. */
void http_exchange_handle(struct http_exchange *x);
/* A piece of the request's body. False: nobody wants the rest of it. */
bool http_exchange_take(struct http_exchange *x, const char *data, size_t n);
/* From here on the response is complete, with Date and the length. */
void http_exchange_answer(struct http_exchange *x);
/* Tell that it is over, and release what it has. */
void http_exchange_done(struct http_exchange *x);
/* A body for this response to this request? */
bool http_exchange_has_body(const struct http_exchange *x);

#endif
