/* SPDX-License-Identifier: ISC */
/*
 * The head of an HTTP response, of which a tunnel needs the status and where it ends. Pure.
 *
 * Strict: a status line of HTTP/1.0 or 1.1, lines that end with CR LF, no control character. What
 * stands in the fields is nobody's business here: a 2xx to CONNECT has no body, whatever they say
 * (RFC 9110, section 9.3.6).
 */
#ifndef CDT_HTTP_HEAD_H
#define CDT_HTTP_HEAD_H

#include <stddef.h>

enum { CDT_HTTP_HEAD_MAX = 16 * 1024 };

/* How many bytes more the head has for certain: 0 when it is complete, -1 and *why if it is none.
 * The first `n` - 4 bytes were seen before: only what is new is looked at. */
int cdt_http_missing(const unsigned char *head, size_t n, const char **why);
/* The status of a complete head, and its reason: `*len` bytes, not terminated. */
int cdt_http_status(const unsigned char *head, size_t n, const char **reason, size_t *len);

#endif
