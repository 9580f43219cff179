/* SPDX-License-Identifier: ISC */
/*
 * One side of an HTTP/1.1 connection (RFC 9112): bytes into messages, and heads into bytes.
 *
 * The reader stops at the end of each message, so that whoever answers decides when the next one is
 * read: http1_next(). It is stricter than the parser beneath it wherever two readers could disagree
 * on where a message ends: Content-Length and Transfer-Encoding at once, either of them twice, any
 * transfer coding but "chunked", folded lines, names that are no tokens, a head or a chunk whose
 * end is not where it has to be. A reader that found something `wrong` reads no more.
 */
#ifndef EXAMPLES_HTTP_HTTP1_H
#define EXAMPLES_HTTP_HTTP1_H

#include "chunks.h"
#include "message.h"
#include "parser.h"

struct http1_reader;

/* What is told while bytes are read. Any may be NULL. False ends the reading, which is then `wrong`
 * by HTTP1_STOPPED. */
enum { HTTP1_STOPPED = 499 };
struct http1_events {
    bool (*on_head)(struct http1_reader *reader);
    bool (*on_body)(struct http1_reader *reader, const char *data, size_t n);
};

struct http1_reader {
    parser parser;
    const struct http1_events *events;
    struct http_head head;
    int wrong; /* 0, or the status that says what is: 400, 414, 431, 501, 505 */
    const char *why;
    bool response;
    bool no_body;    /* set by the owner before a response: what was asked for has none (HEAD) */
    bool begun;      /* something of a message is there */
    bool head_done;  /* ... all of its head */
    bool complete;   /* ... all of it */
    bool has_body;   /* the head says so */
    bool keep_alive; /* of this head: another message may follow */
    bool in_value;
    bool newline;                                  /* a line has ended since `last` */
    bool lines;                                    /* there was a line of the head */
    enum { LINE_EMPTY, LINE_CR, LINE_OTHER } line; /* what the one that is coming in has so far */
    bool chunked;
    struct http_chunks chunks;
    const char *last; /* end of what was taken of a name or value, in the bytes being read */
};

void http1_start(struct http1_reader *reader, bool response, const struct http1_events *events);
void http1_done(struct http1_reader *reader);

/* Read up to the end of a message; how many bytes were taken. */
size_t http1_feed(struct http1_reader *reader, const char *data, size_t n);
/* The peer has ended: for some responses that is how they end, for all else it is too early. */
void http1_feed_end(struct http1_reader *reader);
/* Go on with the next message. */
void http1_next(struct http1_reader *reader);

/* The head in bytes, with the empty line; 0 if `size` is too small. `first` is the first line
 * without its end. */
size_t http1_print(char *buf, size_t size, const char *first, const struct http_head *head);

/*
 * The next bytes of a body, as they go out: at most `size`, which is HTTP1_PIECE or more. A body
 * that is a stream goes in chunks; *chunked is true until the last one has been printed. -1: the
 * body cannot be read.
 */
enum { HTTP1_PIECE = 4 * 1024 };
ssize_t http1_body_print(struct http_body *body, bool *chunked, char *buf, size_t size);
bool http1_body_is_over(const struct http_body *body, bool chunked);

#endif
