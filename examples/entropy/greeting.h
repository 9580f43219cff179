/* SPDX-License-Identifier: ISC */
/*
 * What the two say to each other before there is entropy, so that nobody takes something else for
 * it: the two lines of xentropyd. A stream has no messages: a line is what adds up to it, however
 * it is cut.
 */
#ifndef ENTROPY_GREETING_H
#define ENTROPY_GREETING_H

#include <stddef.h>
#include <string.h>

#define ENTROPY_QUESTION "Hello, may I have some entropy?\r\n"
#define ENTROPY_ANSWER "You may treat everything following this message as entropy.\r\n"

/* Compare `n` more bytes with `line`, of which *matched have been seen. Returns how many of the `n`
 * belong to it, or -1: it is something else. It is complete when *matched is its length. */
static inline long greeting_match(const char *line, size_t *matched, const void *data, size_t n)
{
    size_t rest = strlen(line) - *matched, here = n < rest ? n : rest;
    if (memcmp(line + *matched, data, here) != 0)
        return -1;
    *matched += here;
    return (long)here;
}

#endif
