/* SPDX-License-Identifier: ISC */
/* One byte after another, but for the data: chunks.h. */
#include "chunks.h"

enum { MOST_DIGITS = 15 };

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_size(struct http_chunks *chunks, char c)
{
    int value = digit(c);
    if (value >= 0) {
        chunks->size = chunks->size << 4 | (unsigned)value;
        return ++chunks->n_digits <= MOST_DIGITS;
    }
    chunks->at = c == '\r' ? CHUNK_SIZE_LF : CHUNK_EXTENSION;
    return chunks->n_digits > 0 && (c == '\r' || c == ';' || c == ' ' || c == '\t');
}

static bool take_extension(struct http_chunks *chunks, char c)
{
    if (c == '\r')
        chunks->at = CHUNK_SIZE_LF;
    return c != '\n';
}

static bool begin_data(struct http_chunks *chunks, char c)
{
    chunks->at = chunks->size > 0 ? CHUNK_DATA : CHUNK_TRAILER;
    chunks->n_digits = 0;
    return c == '\n';
}

/* The parser reads trailers, as it reads heads: their lines may end with a line feed alone. */
static bool take_trailer(struct http_chunks *chunks, char c)
{
    if (c == '\n')
        chunks->at = chunks->at == CHUNK_TRAILER ? CHUNK_OVER : CHUNK_TRAILER;
    else
        chunks->at = chunks->at == CHUNK_TRAILER && c == '\r' ? CHUNK_LAST_LF : CHUNK_TRAILER_LINE;
    return true;
}

static bool expect(struct http_chunks *chunks, char c, char wanted, int next)
{
    chunks->at = next;
    return c == wanted;
}

static bool take(struct http_chunks *chunks, char c)
{
    switch (chunks->at) {
    case CHUNK_SIZE:
        return take_size(chunks, c);
    case CHUNK_EXTENSION:
        return take_extension(chunks, c);
    case CHUNK_SIZE_LF:
        return begin_data(chunks, c);
    case CHUNK_CR:
        return expect(chunks, c, '\r', CHUNK_LF);
    case CHUNK_LF:
        return expect(chunks, c, '\n', CHUNK_SIZE);
    case CHUNK_TRAILER:
    case CHUNK_TRAILER_LINE:
        return take_trailer(chunks, c);
    case CHUNK_LAST_LF:
        return expect(chunks, c, '\n', CHUNK_OVER);
    default:
        return false;
    }
}

bool http_chunks_follow(struct http_chunks *chunks, const char *data, size_t n)
{
    while (n > 0) {
        size_t now = 1;
        if (chunks->at == CHUNK_DATA) {
            now = n < chunks->size ? n : (size_t)chunks->size;
            chunks->size -= now;
            chunks->at = chunks->size > 0 ? CHUNK_DATA : CHUNK_CR;
        } else if (!take(chunks, *data)) {
            return false;
        }
        data += now;
        n -= now;
    }
    return true;
}
