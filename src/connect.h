/* SPDX-License-Identifier: ISC */
#ifndef CDT_CONNECT_H
#define CDT_CONNECT_H

#include <conduit/connection.h>

struct cdt_connect;

/* A descriptor that the connect's URI names, fd:N, and that is its to close until it is dialled. */
struct cdt_adopted {
    int fd;
    bool server; /* the layers shake hands as the side that was connected to */
};

/* conduit_connect(), over what is `adopted` (taken over if this returns 0; NULL: nothing). */
int cdt_connect_start(conduit_ctx *ctx, const char *uri, const conduit_connect_options *options,
                      const struct cdt_adopted *adopted, const conduit_handler *handler, void *user,
                      conduit_conn **ret);

#include <stdint.h>

/* A deadline that is no attempt's own has passed: the connection ends, and the error tells of every
 * attempt. `what` is what `ms` were given for. */
void cdt_connect_expire(struct cdt_connect *connect, uint32_t ms, const char *what);

/* What its pool had it wait for is there: it asks again. */
void cdt_connect_go(struct cdt_connect *connect);
/* Its connection ends, by `why` (a reference, taken over). */
void cdt_connect_lose(struct cdt_connect *connect, const conduit_error *why);

/* Give up: the query, every attempt, every timer. NULL is fine. */
void cdt_connect_stop(struct cdt_connect *connect);

#endif
