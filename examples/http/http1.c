/* SPDX-License-Identifier: ISC */
/* Reading and writing HTTP/1.1: http1.h says what is promised. */
#include "http1.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool spoil(struct http1_reader *reader, int status, const char *why)
{
    if (reader->wrong == 0) {
        reader->wrong = status;
        reader->why = why;
        reader->complete = false;
    }
    return false;
}

/* ---- the head as it comes, in pieces ---- */

static int on_message_begin(parser *p)
{
    ((struct http1_reader *)p->data)->begun = true;
    return 0;
}

static int on_url(parser *p, const char *at, size_t n)
{
    struct http1_reader *reader = p->data;
    struct http_head *head = &reader->head;
    if (head->target == 0)
        head->target = http_head_put(head, at, n);
    else
        http_head_more(head, at, n);
    if (!head->overflow)
        return 0;
    spoil(reader, 414, "the target is too long");
    return -1;
}

static int too_large(struct http1_reader *reader)
{
    spoil(reader, 431, "the head is too large");
    return -1;
}

static int stopped(struct http1_reader *reader)
{
    spoil(reader, HTTP1_STOPPED, "stopped");
    return -1;
}

/* The name came in two: behind it stands its value, which is empty so far. */
static void lengthen_name(struct http_head *head, const char *at, size_t n)
{
    head->n--;
    http_head_more(head, at, n);
    head->fields[head->n_fields - 1].value = http_head_put(head, "", 0);
}

static int on_header_field(parser *p, const char *at, size_t n)
{
    struct http1_reader *reader = p->data;
    if (reader->head_done)
        return 0; /* a trailer, which nobody here asked for */
    if (reader->in_value || reader->head.n_fields == 0)
        http_head_add_n(&reader->head, at, n, "", 0);
    else
        lengthen_name(&reader->head, at, n);
    reader->in_value = false;
    reader->newline = false;
    reader->last = at + n;
    return reader->head.overflow ? too_large(reader) : 0;
}

static int on_header_value(parser *p, const char *at, size_t n)
{
    struct http1_reader *reader = p->data;
    if (reader->head_done)
        return 0;
    reader->in_value = true;
    if (n == 0)
        return 0; /* of an empty value one hears only when its line is over */
    size_t between = (size_t)(at - reader->last);
    if (reader->newline || (between > 0 && memchr(reader->last, '\n', between) != NULL)) {
        spoil(reader, 400, "a folded line");
        return -1;
    }
    reader->last = at + n;
    http_head_more(&reader->head, at, n);
    return reader->head.overflow ? too_large(reader) : 0;
}

/* ---- what the head says about the end of the message ---- */

static bool is_length(const char *text)
{
    return *text != '\0' && strlen(text) < 19 && text[strspn(text, "0123456789")] == '\0';
}

static bool check_framing(struct http1_reader *reader)
{
    const struct http_head *head = &reader->head;
    const char *coding = http_head_find(head, "transfer-encoding");
    const char *length = http_head_find(head, "content-length");
    reader->has_body = coding != NULL || (length != NULL && strcmp(length, "0") != 0);
    if (coding != NULL && length != NULL)
        return spoil(reader, 400, "two lengths: Content-Length and Transfer-Encoding");
    if (length != NULL && (http_head_count(head, "content-length") > 1 || !is_length(length)))
        return spoil(reader, 400, "a bad Content-Length");
    if (coding == NULL)
        return true;
    if (http_head_count(head, "transfer-encoding") > 1 || reader->parser.http_minor == 0)
        return spoil(reader, 400, "a bad Transfer-Encoding");
    if (strcasecmp(coding, "chunked") != 0 || (reader->parser.flags & F_CHUNKED) == 0)
        return spoil(reader, 501, "a transfer coding other than chunked");
    return true;
}

static bool check_fields(struct http1_reader *reader)
{
    for (unsigned i = 0; i < reader->head.n_fields; i++)
        if (!http_is_name(http_head_name(&reader->head, i)))
            return spoil(reader, 400, "a malformed field name");
    return true;
}

static bool check_request(struct http1_reader *reader)
{
    struct http_head *head = &reader->head;
    const char *method = parser_method(&reader->parser);
    head->method = http_head_put(head, method, strlen(method));
    unsigned n_hosts = http_head_count(head, "host");
    if (n_hosts > 1 || (n_hosts == 0 && reader->parser.http_minor == 1))
        return spoil(reader, 400, "not one Host");
    const char *host = http_head_find(head, "host");
    if (host != NULL)
        head->authority = http_head_put(head, host, strlen(host));
    return !head->overflow || spoil(reader, 431, "the head is too large");
}

static bool check_head(struct http1_reader *reader)
{
    if (reader->parser.http_major != 1 || reader->parser.http_minor > 1)
        return spoil(reader, 505, "not HTTP/1.0 or HTTP/1.1");
    if (!check_fields(reader) || !check_framing(reader))
        return false;
    reader->head.status = reader->response ? (int)reader->parser.status_code : 0;
    return reader->response || check_request(reader);
}

static int on_headers_complete(parser *p)
{
    struct http1_reader *reader = p->data;
    if (!check_head(reader))
        return -1;
    reader->head_done = true;
    reader->chunked = (p->flags & F_CHUNKED) != 0;
    reader->chunks = (struct http_chunks){0};
    reader->keep_alive = parser_keeps_alive(p) != 0;
    p->upgrade = 0; /* nobody here changes protocols */
    if (reader->events->on_head != NULL && !reader->events->on_head(reader))
        return stopped(reader);
    return reader->no_body ? 1 : 0;
}

static int on_body(parser *p, const char *at, size_t n)
{
    struct http1_reader *reader = p->data;
    if (reader->events->on_body != NULL && !reader->events->on_body(reader, at, n))
        return stopped(reader);
    return 0;
}

static int on_message_complete(parser *p)
{
    struct http1_reader *reader = p->data;
    reader->complete = true;
    reader->keep_alive = parser_keeps_alive(p) != 0;
    return parser_pause(p);
}

static const parser_settings settings = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- from outside ---- */

void http1_start(struct http1_reader *reader, bool response, const struct http1_events *events)
{
    *reader = (struct http1_reader){.events = events, .response = response};
    parser_start(&reader->parser, &settings, response ? PARSER_RESPONSE : PARSER_REQUEST);
    reader->parser.data = reader;
}

void http1_done(struct http1_reader *reader)
{
    http_head_done(&reader->head);
}

static void look_for_error(struct http1_reader *reader)
{
    const char *why = parser_error(&reader->parser);
    if (why != NULL)
        spoil(reader, 400, why);
}

static void lengthen_line(struct http1_reader *reader, const char *at, size_t n)
{
    bool cr = reader->line == LINE_EMPTY && n == 1 && *at == '\r';
    if (n > 0)
        reader->line = cr ? LINE_CR : LINE_OTHER;
}

/* How many bytes there are before the empty line that ends the head; and of that line in *blank, 0
 * if it is not there yet. */
static size_t measure_head(struct http1_reader *reader, const char *data, size_t n, size_t *blank)
{
    const char *at = data, *end = data + n, *newline;
    *blank = 0;
    while ((newline = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        lengthen_line(reader, at, (size_t)(newline - at));
        bool empty = reader->line != LINE_OTHER;
        reader->line = LINE_EMPTY;
        if (empty && reader->lines) { /* before the first line empty ones count for nothing */
            *blank = (size_t)(newline + 1 - at);
            return (size_t)(at - data);
        }
        reader->lines |= !empty;
        at = newline + 1;
    }
    lengthen_line(reader, at, (size_t)(end - at));
    return n;
}

static size_t feed_lines(struct http1_reader *reader, const char *data, size_t n)
{
    reader->last = data;
    size_t taken = n > 0 ? parser_feed(&reader->parser, &settings, data, n) : 0;
    look_for_error(reader);
    if (reader->wrong == 0 && !reader->head_done) {
        size_t rest = (size_t)(data + n - reader->last);
        reader->newline |= rest > 0 && memchr(reader->last, '\n', rest) != NULL;
    }
    return taken;
}

/* The parser has to see the end of the head where it is, and nowhere else. */
static size_t feed_head(struct http1_reader *reader, const char *data, size_t n)
{
    size_t blank, part = measure_head(reader, data, n, &blank);
    size_t taken = feed_lines(reader, data, part);
    if (reader->head_done && reader->wrong == 0)
        spoil(reader, 400, "a head that does not end with an empty line");
    if (blank == 0 || reader->wrong != 0)
        return taken;
    taken += feed_lines(reader, data + part, blank);
    if (!reader->head_done && reader->wrong == 0)
        spoil(reader, 400, "a head that goes on behind an empty line");
    return taken;
}

static size_t feed_body(struct http1_reader *reader, const char *data, size_t n)
{
    size_t taken = parser_feed(&reader->parser, &settings, data, n);
    look_for_error(reader);
    if (reader->chunked && reader->wrong == 0 &&
        (!http_chunks_follow(&reader->chunks, data, taken) ||
         reader->complete != (reader->chunks.at == CHUNK_OVER)))
        spoil(reader, 400, "a chunk that does not end where it should");
    return taken;
}

size_t http1_feed(struct http1_reader *reader, const char *data, size_t n)
{
    if (reader->wrong != 0 || reader->complete || n == 0)
        return 0;
    size_t taken = reader->head_done ? 0 : feed_head(reader, data, n);
    if (reader->wrong != 0 || reader->complete || taken == n)
        return taken;
    return taken + feed_body(reader, data + taken, n - taken);
}

void http1_feed_end(struct http1_reader *reader)
{
    if (reader->wrong != 0 || reader->complete)
        return;
    parser_end(&reader->parser, &settings);
    if (!reader->complete)
        look_for_error(reader);
}

void http1_next(struct http1_reader *reader)
{
    reader->begun = reader->head_done = reader->complete = reader->no_body = false;
    reader->in_value = reader->newline = reader->lines = false;
    http_head_clear(&reader->head);
    parser_go_on(&reader->parser);
}

/* ---- writing ---- */

static size_t append(char *buf, size_t size, size_t at, const char *text)
{
    size_t n = strlen(text);
    if (at == 0 || n >= size - at)
        return 0;
    memcpy(buf + at, text, n);
    return at + n;
}

size_t http1_print(char *buf, size_t size, const char *first, const struct http_head *head)
{
    int n = snprintf(buf, size, "%s\r\n", first);
    size_t at = n > 0 && (size_t)n < size ? (size_t)n : 0;
    for (unsigned i = 0; i < head->n_fields; i++) {
        at = append(buf, size, at, http_head_name(head, i));
        at = append(buf, size, at, ": ");
        at = append(buf, size, at, http_head_value(head, i));
        at = append(buf, size, at, "\r\n");
    }
    return append(buf, size, at, "\r\n");
}

/* Four digits are enough for a piece; the last chunk is one of zero bytes. */
static ssize_t print_chunk(struct http_body *body, bool *chunked, char *buf, size_t size)
{
    enum { AROUND = 8, MOST = 0xffff };
    size_t most = size - AROUND < MOST ? size - AROUND : MOST;
    ssize_t n = http_body_read(body, buf + 6, most);
    if (n < 0)
        return -1;
    char digits[8];
    snprintf(digits, sizeof(digits), "%04x\r\n", (unsigned)n & MOST);
    memcpy(buf, digits, 6);
    memcpy(buf + 6 + n, "\r\n", 2);
    *chunked = n > 0;
    return n + AROUND;
}

ssize_t http1_body_print(struct http_body *body, bool *chunked, char *buf, size_t size)
{
    return *chunked ? print_chunk(body, chunked, buf, size) : http_body_read(body, buf, size);
}

bool http1_body_is_over(const struct http_body *body, bool chunked)
{
    return !chunked && http_body_is_over(body);
}
