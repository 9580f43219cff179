/* SPDX-License-Identifier: ISC */
/*
 * One line per exchange:
 *
 *     tcp://192.0.2.7:51812 - [22/Nov/2026:16:23:01 +0000] "GET / HTTP/2" 200 1043 0.2 "curl/7.88"
 *     PEER IDENTITY [DATE] "REQUEST" STATUS BYTES MILLISECONDS "USER-AGENT"
 *
 * The identity is what the peer has proved: the subject of its certificate, or the process behind a
 * Unix socket; "-" is nobody. What clients say is quoted, and cannot make a line of its own. An
 * answer that did not get through has a '!' after its bytes.
 */
#ifndef EXAMPLES_HTTP_LOG_H
#define EXAMPLES_HTTP_LOG_H

#include "server.h"
#include <stdio.h>

/* Any thread. */
void http_log(FILE *file, const struct http_exchange *x);

#endif
