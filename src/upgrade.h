/* SPDX-License-Identifier: ISC */
/*
 * An open connection that is about to speak TLS: conduit_upgrade().
 *
 *     what was queued goes out in the clear  ->  the layer is pushed, and shakes hands  ->  done
 *
 * From the call on nothing is read in the clear, and what is written waits in `later`. The
 * connection owns it, and ends it with its own end.
 */
#ifndef CDT_UPGRADE_H
#define CDT_UPGRADE_H

#include "queue.h"
#include "stack.h"

struct cdt_upgrade {
    struct conduit_conn *conn;
    const conduit_endpoint *endpoint; /* what the connection leads to when it is done */
    struct cdt_stack_options how;
    uint32_t timeout_ms;
    bool shaking; /* the path is the opening's */
    struct cdt_opening opening;
    struct cdt_queue later; /* what was written since */
};

/* All that was to go in the clear has gone. 0: done already; EAGAIN: cdt_conn_upgraded() will come;
 * or another code, with path->error. */
int cdt_upgrade_begin(struct cdt_upgrade *upgrade);
/* Let go of it; the path stays, with whatever layers it has. NULL is fine. */
void cdt_upgrade_free(struct cdt_upgrade *upgrade);

/* connection.c: the handshake is over, with this code. */
void cdt_conn_upgraded(struct conduit_conn *conn, int code);

#endif
