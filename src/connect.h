/* SPDX-License-Identifier: ISC */
#ifndef CDT_CONNECT_H
#define CDT_CONNECT_H

struct cdt_connect;

#include <stdint.h>

/* A deadline that is no attempt's own has passed: the connection ends, and the error tells of every
 * attempt. `what` is what `ms` were given for. */
void cdt_connect_expire(struct cdt_connect *connect, uint32_t ms, const char *what);

/* Give up: the query, every attempt, every timer. NULL is fine. */
void cdt_connect_stop(struct cdt_connect *connect);

#endif
