/* SPDX-License-Identifier: ISC */
/*
 * HTTP/1.1, the server's side: requests one after another, each answered before the next is looked
 * at. What a client has sent ahead (pipelining) waits in `rest`, which is no more than one read:
 * meanwhile the connection is paused.
 */
#include "http1.h"
#include "serve.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct server1 {
    struct http_conn *conn;
    struct http1_reader reader;
    struct http_exchange x;
    char *body_in, *rest;
    size_t n_rest;
    bool busy;     /* an answer is on its way out */
    bool chunked;  /* ... in chunks, for nobody knows how long it is */
    bool last;     /* ... and it is the last one */
    bool deadline; /* one is set, for the request that is coming in */
    bool ended;    /* the client has no more to say */
};

/* ---- answers ---- */

static void finish(struct server1 *h1)
{
    h1->busy = false;
    http_exchange_done(&h1->x);
    free(h1->body_in);
    h1->body_in = NULL;
    h1->x.n_body_in = 0;
    if (h1->last)
        http_close(h1->conn);
    else
        http1_next(&h1->reader);
}

/* What was promised cannot be kept, and the head has gone: the client has to see that. */
static void break_off(struct server1 *h1)
{
    h1->x.failed = true;
    h1->conn->server->n_out = 0;
    h1->conn->closing = true;
    conduit_abort(h1->conn->conn);
}

/* As much of the body as may go now. */
static void send_body(struct server1 *h1)
{
    while (h1->busy && !http1_body_is_over(&h1->x.body, h1->chunked)) {
        size_t room;
        if (!http_may_write(h1->conn))
            return;
        char *at = http_room(h1->conn, HTTP1_PIECE, &room);
        ssize_t n = at != NULL ? http1_body_print(&h1->x.body, &h1->chunked, at, room) : -1;
        if (n < 0) {
            break_off(h1);
            return;
        }
        h1->x.sent += (uint64_t)n;
        http_wrote(h1->conn, (size_t)n);
    }
    if (h1->busy)
        finish(h1);
}

static void send_head(struct server1 *h1)
{
    struct http_head *response = &h1->x.response;
    char first[64];
    bool new = h1->reader.parser.http_minor == 1;
    snprintf(first, sizeof(first), "HTTP/1.1 %d %s", response->status,
             http_reason(response->status));
    h1->chunked = h1->x.body.stream && new;
    h1->last |= h1->x.body.stream && !new;
    if (h1->chunked)
        http_head_add(response, "transfer-encoding", "chunked");
    if (h1->last || !new)
        http_head_add(response, "connection", h1->last ? "close" : "keep-alive");
    size_t room;
    char *at = http_room(h1->conn, 2 * HTTP_HEAD_MAX, &room);
    size_t n = at != NULL ? http1_print(at, room, first, response) : 0;
    if (n == 0)
        break_off(h1);
    http_wrote(h1->conn, n);
}

static void answer(struct server1 *h1)
{
    struct http1_reader *reader = &h1->reader;
    h1->busy = true;
    h1->last = reader->wrong != 0 || !reader->keep_alive || h1->conn->server->draining;
    h1->x.request = &reader->head;
    h1->x.body_in = h1->body_in;
    h1->x.sent = 0;
    h1->x.failed = false;
    if (reader->wrong != 0)
        http_answer(&h1->x, reader->wrong, reader->why);
    http_exchange_answer(h1->conn, &h1->x,
                         reader->parser.http_minor == 0 ? "HTTP/1.0" : "HTTP/1.1");
    send_head(h1);
    if (!h1->conn->closing)
        send_body(h1);
}

/* ---- requests ---- */

static bool stop(struct http1_reader *reader, int status, const char *why)
{
    reader->wrong = status;
    reader->why = why;
    return false;
}

/* Who asks before sending a body is told not to: there is nothing here to send one to. */
static bool on_head(struct http1_reader *reader)
{
    const char *expect = http_head_find(&reader->head, "expect");
    if (expect == NULL || !reader->has_body)
        return true;
    return stop(reader, 417, "send the body at once");
}

static bool on_body(struct http1_reader *reader, const char *data, size_t n)
{
    struct server1 *h1 =
        (struct server1 *)(void *)((char *)reader - offsetof(struct server1, reader));
    size_t most = h1->conn->server->options.max_body;
    if (n > most - h1->x.n_body_in)
        return stop(reader, 413, "the body is too large");
    char *body = realloc(h1->body_in, h1->x.n_body_in + n);
    if (body == NULL)
        return stop(reader, 503, "out of memory");
    memcpy(body + h1->x.n_body_in, data, n);
    h1->body_in = body;
    h1->x.n_body_in += n;
    return true;
}

static const struct http1_events events = {.on_head = on_head, .on_body = on_body};

/* A request has a deadline as a whole, from the moment when a part of it has come. */
static void watch(struct server1 *h1)
{
    bool waiting = h1->reader.begun && !h1->busy && !h1->conn->closing;
    if (waiting == h1->deadline)
        return;
    h1->deadline = waiting;
    conduit_set_timeout(h1->conn->conn, CONDUIT_TIMEOUT_LIFETIME,
                        waiting ? h1->conn->server->options.request_timeout_ms : 0);
}

/* Returns how much was taken: the rest is for when the answer is out. */
static size_t take(struct server1 *h1, const char *data, size_t n)
{
    size_t taken = 0;
    while (taken < n && !h1->busy && !h1->conn->closing) {
        taken += http1_feed(&h1->reader, data + taken, n - taken);
        if (h1->reader.complete || h1->reader.wrong != 0)
            answer(h1);
    }
    watch(h1);
    return taken;
}

static void keep(struct server1 *h1, const char *data, size_t n)
{
    conduit_pause(h1->conn->conn);
    h1->rest = malloc(n);
    if (h1->rest == NULL) {
        break_off(h1);
        return;
    }
    memcpy(h1->rest, data, n);
    h1->n_rest = n;
}

static void data1(void *state, const char *data, size_t n)
{
    struct server1 *h1 = state;
    size_t taken = take(h1, data, n);
    if (h1->conn->closing || h1->last)
        return; /* what may follow is not for us */
    if (taken < n)
        keep(h1, data + taken, n - taken);
}

/* What was sent ahead. */
static void go_on(struct server1 *h1)
{
    char *rest = h1->rest;
    size_t n = h1->n_rest;
    h1->rest = NULL;
    h1->n_rest = 0;
    conduit_resume(h1->conn->conn);
    data1(h1, rest, n);
    free(rest);
}

static void end_if_done(struct server1 *h1)
{
    if (h1->ended && !h1->busy && h1->rest == NULL && !h1->conn->closing)
        http_close(h1->conn);
}

static void write1(void *state)
{
    struct server1 *h1 = state;
    if (h1->busy)
        send_body(h1);
    if (!h1->busy && h1->rest != NULL && !h1->conn->closing)
        go_on(h1);
    end_if_done(h1);
}

/* ---- a connection ---- */

static void *open1(struct http_conn *conn)
{
    struct server1 *h1 = calloc(1, sizeof(*h1));
    if (h1 == NULL)
        return NULL;
    h1->conn = conn;
    http1_start(&h1->reader, false, &events);
    return h1;
}

static void end1(void *state)
{
    struct server1 *h1 = state;
    h1->ended = true; /* a client may end early, and still wants its answers */
    end_if_done(h1);
}

/* An answer that is on its way says that it is the last only if it has not begun; the context
 * closes who is silent. */
static void drain1(void *state) {}

static void close1(void *state)
{
    struct server1 *h1 = state;
    if (h1->busy) {
        h1->x.failed = true;
        http_exchange_done(&h1->x);
    }
    http_head_done(&h1->x.response);
    http1_done(&h1->reader);
    free(h1->body_in);
    free(h1->rest);
    free(h1);
}

const struct http_protocol http_server1 = {
    .open = open1,
    .data = data1,
    .write = write1,
    .end = end1,
    .drain = drain1,
    .close = close1,
};
