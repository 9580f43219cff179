/* SPDX-License-Identifier: ISC */
/*
 * A tally: what has happened, as conduit_counters tell it. A context has one, and each listener,
 * whose connections may outlive it: so it is counted. What is open just now is not kept here but
 * looked up when somebody asks.
 */
#ifndef CDT_TALLY_H
#define CDT_TALLY_H

#include <conduit/context.h>

struct cdt_tally {
    unsigned refs;
    conduit_counters counts;
};

/* NULL when out of memory. */
struct cdt_tally *cdt_tally_new(void);
struct cdt_tally *cdt_tally_ref(struct cdt_tally *tally);
void cdt_tally_unref(struct cdt_tally *tally);

/* The counts of `tally`, and of the connections that are open now: those of a listener, or (NULL)
 * all of the context. */
void cdt_tally_read(const conduit_ctx *ctx, const struct cdt_tally *of, conduit_counters *ret);

#endif
