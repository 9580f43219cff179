/* SPDX-License-Identifier: ISC */
/* Our direction of a connection, for the turn of connection.c: writing.c says how it works. */
#ifndef CDT_WRITING_H
#define CDT_WRITING_H

#include "connection.h"

/* Offer the path what is queued. A failure of the path may end the connection. */
void cdt_conn_write_queued(struct conduit_conn *conn);
/* on_drain, if it is due. */
void cdt_conn_tell_drained(struct conduit_conn *conn);
/* What callbacks have left held goes now. What they do when they hear of it waits for the next
 * turn, or one who always has more would keep the others waiting. */
void cdt_conn_push_held(struct conduit_conn *conn);
/* Push out what layers hold back; and when nothing is left and it was asked for, end our
 * direction. */
void cdt_conn_push_out(struct conduit_conn *conn);

#endif
