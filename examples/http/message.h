/* SPDX-License-Identifier: ISC */
/*
 * A message of HTTP, whatever version brings it: a head (who wants what, or how it went, and the
 * fields) and a body (where its bytes come from).
 *
 * A head keeps all of its text in one growing buffer, bounded by HTTP_HEAD_MAX, which
 * http_head_clear() keeps for the next message and http_head_done() gives back. Strings that come
 * out of it are good until the next one goes in. A zeroed head is an empty one.
 */
#ifndef EXAMPLES_HTTP_MESSAGE_H
#define EXAMPLES_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

enum { HTTP_HEAD_MAX = 16 * 1024, HTTP_FIELDS_MAX = 100 };

struct http_head {
    char *text;
    size_t n, room;
    /* Offsets into `text`; 0 is "", for text[0] is a NUL. */
    uint32_t method, scheme, authority, target;
    int status; /* of a response */
    struct {
        uint32_t name, value;
    } fields[HTTP_FIELDS_MAX];
    unsigned n_fields;
    bool overflow; /* something did not fit, and is not there */
};

void http_head_clear(struct http_head *head);
void http_head_done(struct http_head *head);

/* Put `text` of `n` bytes in, to be found at the offset that is returned; 0 if it does not fit, and
 * then `overflow` is set. */
uint32_t http_head_put(struct http_head *head, const char *text, size_t n);
/* Go on with the text that went in last. */
bool http_head_more(struct http_head *head, const char *text, size_t n);
const char *http_head_at(const struct http_head *head, uint32_t offset);

/* Names in lower case, as HTTP/2 wants them. False: no room, and `overflow` is set. */
bool http_head_add(struct http_head *head, const char *name, const char *value);
bool http_head_add_n(struct http_head *head, const char *name, size_t n_name, const char *value,
                     size_t n_value);
bool http_head_addf(struct http_head *head, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

bool http_head_add_number(struct http_head *head, const char *name, uint64_t value);

/* Field `i` of the head, in their order. */
const char *http_head_name(const struct http_head *head, unsigned i);
const char *http_head_value(const struct http_head *head, unsigned i);
/* The first field of that name, in any case; NULL if there is none. */
const char *http_head_find(const struct http_head *head, const char *name);
/* How many there are. */
unsigned http_head_count(const struct http_head *head, const char *name);

/* May this be a field's name (a token), a value (no control characters)? RFC 9110, 5.5, 5.6.2. */
bool http_is_name(const char *text);
bool http_is_value(const char *text);

/* "Not Found"; "" for numbers that nobody knows. */
const char *http_reason(int status);

/* Sun, 06 Nov 1994 08:49:37 GMT (RFC 9110, 5.6.7): 29 characters. A date that is none is -1. */
enum { HTTP_DATE_SIZE = 30 };
void http_date(char buf[HTTP_DATE_SIZE], time_t when);
time_t http_date_parse(const char *text);

/*
 * Where the bytes of a body come from: a piece of a file, or of memory. By value; a zeroed body is
 * none. It ends with http_body_close(), which may be called again.
 */
struct http_body {
    uint64_t left; /* bytes to come */
    uint64_t at;   /* the next one in the file */
    const char *bytes;
    void *held; /* what to release() at the end */
    void (*release)(void *held);
    int file;    /* descriptor + 1, so that zero is none */
    bool stream; /* how long it is in the end is not known yet */
    bool fed;    /* `left` are the bytes that are there so far */
};

struct http_body http_body_static(const char *bytes, size_t n);
/* Takes `bytes` over. */
struct http_body http_body_owned(char *bytes, size_t n);
/* Bytes of somebody who is told, by release(held), that they are not needed any more. */
struct http_body http_body_lent(const char *bytes, size_t n, void (*release)(void *), void *held);
/* Takes `fd` over. */
struct http_body http_body_file(int fd, uint64_t at, uint64_t n);
/* Takes `fd` over: all that can be read of it, however much that is. */
struct http_body http_body_pipe(int fd);
/* What http_body_feed() brings, until it brings nothing: n 0 is the end. False: out of memory. */
struct http_body http_body_fed(void);
bool http_body_feed(struct http_body *body, const char *data, size_t n);

/* The next bytes, n at most; 0: that was all; -1: it cannot be read, or ended before its time. */
ssize_t http_body_read(struct http_body *body, char *buf, size_t n);
bool http_body_is_over(const struct http_body *body);
/* Its bytes are in a file, and how many is known. */
bool http_body_is_file(const struct http_body *body);
/* Nothing is there, and more will be fed. */
bool http_body_waits(const struct http_body *body);
void http_body_close(struct http_body *body);

#endif
