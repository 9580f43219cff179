/* SPDX-License-Identifier: ISC */
/*
 * One line per exchange:
 *
 *     tcp://192.0.2.7:51812 - [22/Nov/2026:16:23:01 +0000] "GET / HTTP/2" 200 1043 0.2 "curl/7.88"
 *     PEER IDENTITY [DATE] "REQUEST" STATUS BYTES MILLISECONDS "USER-AGENT"
 *
 * The identity is what the peer has proved: the subject of its certificate, or the process behind a
 * Unix socket; "-" is nobody. What clients say is quoted, and cannot make a line of its own. An
 * answer that did not get through has a '!' after its bytes, and a request that was not answered at
 * all the status 0. A client that had to be given up has a line of its own:
 *
 *     PEER IDENTITY [DATE] given up: "WHY"
 */
#ifndef EXAMPLES_HTTP_LOG_H
#define EXAMPLES_HTTP_LOG_H

#include "server.h"
#include <stdio.h>

/* Any thread. */
void http_log(FILE *file, const struct http_exchange *x);
void http_log_trouble(FILE *file, conduit_conn *conn, const char *what);

#endif
