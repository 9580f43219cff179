/* SPDX-License-Identifier: ISC */
/*
 * Asking the chain of resolvers: one query, its answers as they come, one end.
 *
 * A connect embeds a query and races the answers; conduit_resolve() embeds one and collects them; a
 * listener asks only the resolvers that answer at once.
 */
#ifndef CDT_RESOLVE_H
#define CDT_RESOLVE_H

#include "target.h"
#include "timer.h"
#include <conduit/resolver.h>

struct cdt_query_events {
    /* A whole endpoint (borrowed), where it came from and for how long it holds. */
    void (*answer)(conduit_query *query, const conduit_endpoint *endpoint, const char *source,
                   int32_t ttl);
    /* A TLSA record as the key `tlsa` has it, "3 1 1 HEX". Before all answers. May be NULL. */
    void (*tlsa)(conduit_query *query, const char *record);
    /* No more addresses of this family will come. May be NULL. */
    void (*settled)(conduit_query *query, int family);
    /* Once, last: NULL, or why there is nothing (a reference, the callee's). Not after
     * cdt_query_cancel(). */
    void (*done)(conduit_query *query, const conduit_error *why);
};

struct conduit_query {
    conduit_ctx *ctx;
    const struct cdt_target *target; /* the caller's; outlives the query */
    const struct cdt_query_events *events;
    bool listening;
    uint64_t since_ns;                    /* for traces */
    const struct cdt_resolver_slot *slot; /* the resolver that is being asked */
    bool asked;                           /* ... and has not yet answered */
    void *data;                           /* the resolver's */
    size_t n_answers;
    bool short_of_memory; /* an answer was lost to that */
    int rank;             /* of what is added */
    bool beside;          /* what is added stands beside the next, in this machine's memory */
    struct cdt_timer deadline;
};

/* Ask. Events may come before this returns: a caller for whom that is too soon defers the call. */
void cdt_query_start(conduit_query *query, conduit_ctx *ctx, const struct cdt_target *target,
                     bool listening, uint32_t timeout_ms, const struct cdt_query_events *events);
/* Of what is being answered: less is tried before. What a resolver ranks the same is of one group,
 * but for what stands beside another: that is tried before its group. */
int cdt_query_group(const conduit_query *query);
/* No event comes any more. Idempotent; fine on a zeroed struct. Not from within an event. */
void cdt_query_cancel(conduit_query *query);

/* For the end of a context: on_done comes for every resolution, with CONDUIT_ECANCELED. */
void cdt_resolutions_abandon(conduit_ctx *ctx);

#endif
