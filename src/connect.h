/* SPDX-License-Identifier: ISC */
#ifndef CDT_CONNECT_H
#define CDT_CONNECT_H

struct cdt_connect;

/* Give up: the query, every attempt, every timer. NULL is fine. */
void cdt_connect_stop(struct cdt_connect *connect);

#endif
