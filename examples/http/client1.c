/* SPDX-License-Identifier: ISC */
/* HTTP/1.1, the client's side: one request, one answer, and the connection back to the pool. */
#include "http1.h"
#include "link.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct client1 {
    struct http_link *link;
    struct http1_reader reader;
    bool chunked; /* more chunks of the request are to come */
};

/* ---- the request ---- */

static bool print_head(struct client1 *h1, struct http_call *call)
{
    enum { SIZE = 2 * HTTP_HEAD_MAX };
    struct http_head *head = &call->request;
    char first[SIZE / 2 + 64], *buf = malloc(SIZE);
    snprintf(first, sizeof(first), "%s %s HTTP/1.1\r\nhost: %s%s", http_head_at(head, head->method),
             http_head_at(head, head->target), http_head_at(head, head->authority),
             h1->chunked ? "\r\ntransfer-encoding: chunked" : "");
    size_t n = buf != NULL ? http1_print(buf, SIZE, first, head) : 0;
    bool written = n > 0 && http_link_write(h1->link, buf, n);
    free(buf);
    return written;
}

static void send_body(struct client1 *h1, struct http_call *call)
{
    char piece[32 * 1024];
    while (!h1->link->congested && !http1_body_is_over(&call->body, h1->chunked)) {
        call->started = true;
        ssize_t n = http1_body_print(&call->body, &h1->chunked, piece, sizeof(piece));
        if (n < 0)
            http_link_fail(h1->link, "the body of the request cannot be read");
        if (n < 0 || (n > 0 && !http_link_write(h1->link, piece, (size_t)n)))
            return;
    }
}

static bool submit1(void *state, struct http_call *call)
{
    struct client1 *h1 = state;
    h1->chunked = call->has_body && call->body.stream;
    h1->reader.no_body = call->head;
    call->sent = true;
    if (!print_head(h1, call))
        return h1->link->closing; /* if it is failing, on_close says why */
    send_body(h1, call);
    return true;
}

static void write1(void *state)
{
    struct client1 *h1 = state;
    if (h1->link->calls != NULL)
        send_body(h1, h1->link->calls);
}

/* ---- the answer ---- */

static struct client1 *of(struct http1_reader *reader)
{
    return (struct client1 *)(void *)((char *)reader - offsetof(struct client1, reader));
}

static bool is_interim(const struct http1_reader *reader)
{
    return reader->head.status < 200 && reader->head.status != 101;
}

static bool on_head(struct http1_reader *reader)
{
    struct http_call *call = of(reader)->link->calls;
    call->heard = true;
    if (reader->head.status == 101) {
        reader->wrong = 400;
        reader->why = "the server changes a protocol that nobody wanted changed";
        return false;
    }
    return is_interim(reader) || http_call_head(call, &reader->head);
}

static bool on_body(struct http1_reader *reader, const char *data, size_t n)
{
    return http_call_data(of(reader)->link->calls, data, n);
}

static const struct http1_events events = {.on_head = on_head, .on_body = on_body};

/* All is there. Whoever has more to say now speaks out of turn, and is not asked again. */
static void finish(struct client1 *h1, bool more)
{
    struct http_call *call = h1->link->calls;
    bool sent = http1_body_is_over(&call->body, h1->chunked);
    call->complete = true;
    http_link_close(h1->link, h1->reader.keep_alive && sent && !more);
}

static void data1(void *state, const char *data, size_t n)
{
    struct client1 *h1 = state;
    bool head = h1->link->calls->head;
    while (n > 0 && !h1->link->closing) {
        size_t taken = http1_feed(&h1->reader, data, n);
        data += taken;
        n -= taken;
        if (h1->link->calls->stopped) {
            http_link_close(h1->link, false);
        } else if (h1->reader.wrong != 0) {
            http_link_fail(h1->link, h1->reader.why);
        } else if (h1->reader.complete && is_interim(&h1->reader)) {
            http1_next(&h1->reader);
            h1->reader.no_body = head;
        } else if (h1->reader.complete) {
            finish(h1, n > 0);
        }
    }
}

/* Some bodies end where the stream does. Others are cut short by that, and the reader knows. */
static void end1(void *state)
{
    struct client1 *h1 = state;
    http1_feed_end(&h1->reader);
    if (h1->reader.complete && h1->reader.head_done)
        finish(h1, true);
    else if (h1->reader.wrong != 0)
        http_link_fail(h1->link, "the answer was cut short");
}

/* ---- a link ---- */

static void *open1(struct http_link *link)
{
    struct client1 *h1 = calloc(1, sizeof(*h1));
    if (h1 == NULL)
        return NULL;
    h1->link = link;
    http1_start(&h1->reader, true, &events);
    return h1;
}

static void close1(void *state)
{
    struct client1 *h1 = state;
    http1_done(&h1->reader);
    free(h1);
}

const struct http_link_protocol http_client1 = {
    .version = "HTTP/1.1",
    .open = open1,
    .submit = submit1,
    .data = data1,
    .write = write1,
    .end = end1,
    .close = close1,
};
