/* SPDX-License-Identifier: ISC */
/* Where the head of a response ends, and what its first line says: http_head.h. */
#include "http_head.h"
#include <stdbool.h>
#include <string.h>

static const char version[] = "HTTP/1.x ";

enum {
    STATUS_AT = sizeof(version) - 1,
    STATUS_END = STATUS_AT + 3,
    SHORTEST = STATUS_END + 4, /* "HTTP/1.1 200" and an empty line */
};

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* May `c` be byte `i` of a status line? */
static bool fits_status(size_t i, unsigned char c)
{
    if (i == STATUS_AT - 2)
        return c == '0' || c == '1';
    if (i < STATUS_AT)
        return c == (unsigned char)version[i];
    if (i < STATUS_END)
        return is_digit(c);
    return i > STATUS_END || c == ' ' || c == '\r';
}

/* May `c` follow the bytes before it? CR and LF go together, and nothing else below space is there
 * but TAB. */
static bool fits(const unsigned char *head, size_t i)
{
    unsigned char c = head[i];
    bool after_cr = i > 0 && head[i - 1] == '\r';
    if (!fits_status(i, c))
        return false;
    if (after_cr || c == '\n')
        return after_cr && c == '\n';
    return c >= ' ' ? c != 0x7f : c == '\t' || c == '\r';
}

/* Of the four bytes that end a head, how many are there? */
static int end_length(const unsigned char *head, size_t n)
{
    static const char end[] = "\r\n\r\n";
    for (size_t k = n < 4 ? n : 4; k > 0; k--)
        if (memcmp(head + n - k, end, k) == 0)
            return (int)k;
    return 0;
}

int cdt_http_missing(const unsigned char *head, size_t n, const char **why)
{
    /* A head grows by at most four bytes at a time once it is as long as the shortest. */
    for (size_t i = n > SHORTEST + 4 ? n - 4 : 0; i < n; i++) {
        if (!fits(head, i)) {
            *why = "what it answers is not HTTP";
            return -1;
        }
    }
    if (n < SHORTEST)
        return (int)(SHORTEST - n);
    return 4 - end_length(head, n);
}

int cdt_http_status(const unsigned char *head, size_t n, const char **reason, size_t *len)
{
    const unsigned char *end = memchr(head, '\r', n);
    const unsigned char *from = head + STATUS_END;
    if (*from == ' ')
        from++;
    *reason = (const char *)from;
    *len = (size_t)(end - from);
    return (head[STATUS_AT] - '0') * 100 + (head[STATUS_AT + 1] - '0') * 10 +
           (head[STATUS_AT + 2] - '0');
}
