/* SPDX-License-Identifier: ISC */
/* The peer's direction of a connection, for the turn of connection.c: reading.c says how it
 * works. */
#ifndef CDT_READING_H
#define CDT_READING_H

#include "connection.h"

static inline bool cdt_conn_reads(const struct conduit_conn *conn)
{
    return !conn->peer_ended && conn->upgrade == NULL &&
           ((conn->state == CDT_OPEN && !conn->paused) || conn->state == CDT_CLOSING);
}

/* Read what has come, so much that others get their turn, and hand it on. The path must be open. */
void cdt_conn_read_some(struct conduit_conn *conn);
/* Can descriptors come or go beside the bytes? */
bool cdt_conn_passes_fds(const struct conduit_conn *conn);

#endif
