/* SPDX-License-Identifier: ISC */
/*
 * HTTP/1.1, the server's side: requests one after another, each answered before the next is looked
 * at. What a client has sent ahead (pipelining), or faster than its echo is taken, waits in `rest`,
 * which is no more than one read: meanwhile the connection is paused.
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
    char *rest;
    size_t n_rest;
    uint64_t due; /* of the body that is coming in: how much has to be there at the deadline */
    bool busy;    /* an answer is on its way out */
    bool chunked; /* ... in chunks, for nobody knows how long it is */
    bool last;    /* ... and it is the last one */
    bool ended;   /* the client has no more to say */
};

static struct server1 *of_reader(struct http1_reader *reader)
{
    return (struct server1 *)(void *)((char *)reader - offsetof(struct server1, reader));
}

static struct server1 *of_exchange(struct http_exchange *x)
{
    return (struct server1 *)(void *)((char *)x - offsetof(struct server1, x));
}

/* ---- answers ---- */

static void finish(struct server1 *h1)
{
    h1->busy = false;
    http_exchange_done(&h1->x);
    if (h1->last || !h1->reader.complete)
        http_close(h1->conn);
    else
        http1_next(&h1->reader);
}

/* What was promised cannot be kept, and the head has gone. */
static void break_off(struct server1 *h1)
{
    h1->x.failed = true;
    http_break_off(h1->conn);
}

/* The next piece of the body. False: it cannot be sent. */
static bool send_piece(struct server1 *h1)
{
    struct http_body *body = &h1->x.body;
    uint64_t before = body->left;
    size_t room;
    if (http_body_is_file(body) && before > HTTP_COPIED) {
        bool sent = http_send_file(h1->conn, body);
        h1->x.sent += before - body->left;
        return sent;
    }
    char *at = http_room(h1->conn, HTTP1_PIECE, &room);
    ssize_t n = at != NULL ? http1_body_print(body, &h1->chunked, at, room) : -1;
    if (n < 0)
        return false;
    h1->x.sent += (uint64_t)n;
    http_wrote(h1->conn, (size_t)n);
    return true;
}

/* As much of the body as may go now. A file is there until it has gone; and who takes no answers,
 * short as they may be, is not given more of them. */
static void send_body(struct server1 *h1)
{
    const struct http_body *body = &h1->x.body;
    while (h1->busy && !http1_body_is_over(body, h1->chunked)) {
        if (http_body_waits(body) || !http_may_write(h1->conn))
            return;
        if (!send_piece(h1)) {
            break_off(h1);
            return;
        }
    }
    if (h1->busy && !h1->conn->congested)
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
    http_exchange_answer(&h1->x);
    send_head(h1);
    if (!h1->conn->closing)
        send_body(h1);
}

static void on_fed(struct http_exchange *x)
{
    struct server1 *h1 = of_exchange(x);
    if (x->failed)
        break_off(h1);
    else if (h1->busy && !h1->conn->closing)
        send_body(h1);
}

static const char *version_of(const struct http1_reader *reader)
{
    return reader->parser.http_minor == 0 ? "HTTP/1.0" : "HTTP/1.1";
}

/* A request that is none. */
static void answer_wrong(struct server1 *h1)
{
    const struct http1_reader *reader = &h1->reader;
    if (h1->x.server == NULL)
        http_exchange_begin(h1->conn, &h1->x, version_of(reader), &reader->head);
    http_answer(&h1->x, reader->wrong, reader->why);
    answer(h1);
}

/* ---- requests ---- */

/* Who asks before sending a body is told to go on, if anybody wants it; else the answer says it. */
static bool invite(struct server1 *h1)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    size_t room;
    char *at = http_room(h1->conn, sizeof(go_on), &room);
    if (at == NULL)
        return false;
    memcpy(at, go_on, sizeof(go_on) - 1);
    http_wrote(h1->conn, sizeof(go_on) - 1);
    return true;
}

/* False: the rest of the request is of no interest, and the answer is there. */
static bool on_head(struct http1_reader *reader)
{
    struct server1 *h1 = of_reader(reader);
    struct http_exchange *x = &h1->x;
    const char *expect = http_head_find(&reader->head, "expect");
    const char *length = http_head_find(&reader->head, "content-length");
    h1->due = 0;
    http_exchange_begin(h1->conn, x, version_of(reader), &reader->head);
    x->fed = on_fed;
    http_exchange_handle(x);
    bool wanted = x->on_body != NULL && (x->body.fed || x->response.status == 0);
    bool asks = expect != NULL && reader->has_body && reader->parser.http_minor == 1;
    if (wanted && asks && !invite(h1))
        return false;
    if (wanted && x->body.fed)
        answer(h1);
    if (wanted || !reader->has_body)
        return !h1->conn->closing;
    return !asks && (length == NULL || strtoull(length, NULL, 10) <= HTTP_DISCARD_MAX);
}

static bool on_body(struct http1_reader *reader, const char *data, size_t n)
{
    struct server1 *h1 = of_reader(reader);
    return h1->x.server != NULL && http_exchange_take(&h1->x, data, n) && !h1->conn->closing;
}

static const struct http1_events events = {.on_head = on_head, .on_body = on_body};

/* The request has come to its end, or to what is wrong with it. */
static void conclude(struct server1 *h1)
{
    bool begun = h1->busy, whole = h1->reader.complete;
    if (h1->conn->closing)
        return;
    if (whole && h1->x.on_body != NULL && (begun || h1->x.response.status == 0))
        h1->x.on_body(&h1->x, NULL, 0);
    if (begun && !whole)
        break_off(h1);
    else if (!begun && (whole || h1->reader.wrong == HTTP1_STOPPED))
        answer(h1);
    else if (!begun)
        answer_wrong(h1);
}

/* While an answer is on its way only the request that feeds it is read on. */
static bool may_read(const struct server1 *h1)
{
    bool feeds = h1->x.body.fed && !h1->reader.complete && h1->x.body.left < HTTP_PROGRESS;
    return !h1->conn->closing && (!h1->busy || feeds);
}

/* A head has a deadline as a whole, from the moment when a part of it has come, and then each piece
 * of the body has one. */
static void watch(struct server1 *h1)
{
    bool waiting = h1->reader.begun && !h1->reader.complete && h1->reader.wrong == 0;
    uint32_t ms = h1->conn->server->options.request_timeout_ms;
    if (!waiting)
        http_deadline(h1->conn, 0);
    else if (h1->conn->late_ms == 0 || h1->x.received > h1->due)
        http_deadline(h1->conn, ms);
    else
        return;
    h1->due = h1->x.received + HTTP_PROGRESS;
}

/* Returns how much was taken: the rest is for when the answer is out. */
static size_t take(struct server1 *h1, const char *data, size_t n)
{
    size_t taken = 0;
    while (taken < n && may_read(h1)) {
        taken += http1_feed(&h1->reader, data + taken, n - taken);
        if (h1->reader.complete || h1->reader.wrong != 0)
            conclude(h1);
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
    const struct http1_reader *reader = &h1->reader;
    size_t taken = take(h1, data, n);
    bool over = h1->last && (reader->complete || reader->wrong != 0);
    if (taken < n && !over && !h1->conn->closing)
        keep(h1, data + taken, n - taken); /* of the last request nothing follows that is for us */
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
    if (!h1->ended || h1->rest != NULL || h1->conn->closing)
        return;
    if (!h1->busy)
        http_close(h1->conn);
    else if (may_read(h1))
        break_off(h1); /* it was to feed its answer, and does not */
}

static void write1(void *state)
{
    struct server1 *h1 = state;
    if (h1->busy)
        send_body(h1);
    if (h1->rest != NULL && may_read(h1))
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

/* Before its answer has begun there is still something to say. */
static void late1(void *state)
{
    struct server1 *h1 = state;
    h1->reader.wrong = 408;
    h1->reader.why = "the request did not come to its end";
    conclude(h1);
}

static void close1(void *state)
{
    struct server1 *h1 = state;
    if (h1->x.server != NULL) {
        h1->x.failed = true;
        http_exchange_done(&h1->x);
    }
    http_head_done(&h1->x.response);
    http1_done(&h1->reader);
    free(h1->rest);
    free(h1);
}

const struct http_protocol http_server1 = {
    .open = open1,
    .data = data1,
    .write = write1,
    .end = end1,
    .drain = drain1,
    .late = late1,
    .close = close1,
};
