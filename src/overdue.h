/* SPDX-License-Identifier: ISC */
/* The deadlines of a connection, as they meet it: overdue.c says what is done about one that is
 * over. */
#ifndef CDT_OVERDUE_H
#define CDT_OVERDUE_H

#include "connection.h"

/* Those of its options, from now on. */
void cdt_conn_begin_deadlines(struct conduit_conn *conn);
/* It is open, and silence begins now. */
void cdt_conn_open_deadlines(struct conduit_conn *conn);
/* It is closing from now on. */
void cdt_conn_begin_close(struct conduit_conn *conn);
/* Have the timer look when the next of them might be over. */
void cdt_conn_look_in_time(struct conduit_conn *conn);
/* Take down what has moved by now. */
void cdt_conn_note(struct conduit_conn *conn);

/* Only who has a deadline that counts bytes asks what time it is. */
static inline void cdt_conn_note_progress(struct conduit_conn *conn)
{
    const struct cdt_deadlines *d = &conn->deadlines;
    if (d->idle_ms != 0 || d->write_ms != 0 || d->close_at_ms != 0)
        cdt_conn_note(conn);
}

#endif
