/* SPDX-License-Identifier: ISC */
/*
 * Where the chunks of a body begin and end, to the byte (RFC 9112, section 7.1).
 *
 * http-parser looks at neither of the two bytes behind a chunk's data, nor at the one behind the CR
 * of its size, in the way it is usually built; and takes a line feed in an extension for a part of
 * it. Another reader of the same bytes may find a request in there that we do not see. So what was
 * parsed is followed here once more: it costs nothing per byte of data.
 */
#ifndef EXAMPLES_HTTP_CHUNKS_H
#define EXAMPLES_HTTP_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_chunks {
    enum {
        CHUNK_SIZE,
        CHUNK_EXTENSION,
        CHUNK_SIZE_LF,
        CHUNK_DATA,
        CHUNK_CR,
        CHUNK_LF,
        CHUNK_TRAILER, /* at the begin of a line */
        CHUNK_TRAILER_LINE,
        CHUNK_LAST_LF,
        CHUNK_OVER
    } at;
    uint64_t size;
    unsigned n_digits;
};

/* Go on with these bytes. False: they are no chunks, or more than the last one. Begins with zero. */
bool http_chunks_follow(struct http_chunks *chunks, const char *data, size_t n);

#endif
