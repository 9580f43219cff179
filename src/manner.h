/* SPDX-License-Identifier: ISC */
/*
 * A manner: whom a connection tells, and where its bounds are. It does not change once it is made,
 * so all the connections of a listener have one between them, and it is counted because they may
 * outlive the listener.
 */
#ifndef CDT_MANNER_H
#define CDT_MANNER_H

#include <conduit/connection.h>

struct cdt_manner {
    unsigned refs;
    conduit_handler handler;
    conduit_conn_options options; /* with our defaults where the user had none */
};

/* Both are copied; `handler` may be NULL. NULL when out of memory. */
struct cdt_manner *cdt_manner_new(const conduit_handler *handler,
                                  const conduit_conn_options *options);
struct cdt_manner *cdt_manner_ref(struct cdt_manner *manner);
void cdt_manner_unref(struct cdt_manner *manner);

#endif
