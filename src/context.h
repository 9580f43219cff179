/* SPDX-License-Identifier: ISC */
/*
 * What the library's own files need of a context: its loop, its run-queue (task.h), its clock, its
 * shared buffers, and the lists of what is on it.
 */
#ifndef CDT_CONTEXT_H
#define CDT_CONTEXT_H

#include "drain.h"
#include "order.h"
#include "places.h"
#include "rules.h"
#include "spare.h"
#include "task.h"
#include "timer.h"
#include "uris.h"
#include "watch.h"
#include <conduit/resolver.h>
#include <stdatomic.h>
#include <uv.h>

/* The piece of memory that reads of this context share: on_data's bytes live here. */
enum { CDT_BUFFER_SIZE = 64 * 1024 };

/* A resolver of this context; the list is in the order of asking, and never shrinks. */
struct cdt_resolver_slot {
    struct cdt_resolver_slot *next;
    const conduit_resolver *ops;
    void *state;
};

RB_HEAD(cdt_timer_tree, cdt_timer);

struct conduit_ctx {
    uv_loop_t *loop;
    bool own_loop;
    bool running;  /* inside conduit_run() */
    bool overdue;  /* ... and its time is over */
    bool ending;   /* conduit_ctx_free() was called */
    bool closing;  /* ... and its objects are gone: its handles are closing */
    bool closed;   /* ... and they are closed: nothing but memory is left */
    int n_handles; /* handles on the loop that refer to the context */

    uv_idle_t turn; /* runs the tasks */
    struct cdt_task *tasks;

    struct cdt_timer patience; /* of conduit_run_for() */
    uv_timer_t clock;          /* fires the timers */
    struct cdt_timer_tree timers;
    uint64_t timer_order;
    int n_timers_awaited;                       /* that are not in the background */
    uint64_t (*now_ms)(const conduit_ctx *ctx); /* tests replace it */

    struct cdt_watches watches; /* descriptors */

    uv_async_t wake; /* conduit_post, conduit_stop */
    uv_mutex_t post_lock;
    struct cdt_post *posts, *last_post;
    bool post_closed; /* the last of them have been taken */
    atomic_bool stop;
    atomic_uintptr_t thread; /* that runs the loop; 0: none, or nobody asks (thread.h) */

    struct conduit_conn *conns;
    struct conduit_listener *listeners;
    struct conduit_resolution *resolutions;
    struct conduit_pool *pools;
    conduit_counters counts;  /* of what has ended: tally.h */
    struct cdt_drain drain;   /* of all of it */
    struct cdt_drain *drains; /* this one, and those of listeners */
    void (*on_drained)(conduit_ctx *ctx, void *user);
    void *drained_user;
    int reserve; /* a descriptor for the moment when there is none: listen.c; -1: not there */

    struct cdt_resolver_slot *resolvers;
    struct cdt_sources sources; /* of late, for the order of addresses */
    struct cdt_places places;   /* of late, too: endpoints */
    struct cdt_uris uris;       /* ... and what was asked for */
    struct cdt_rule_tree rules;
    struct cdt_own_scheme *schemes;    /* the last added first */
    struct cdt_own_address *addresses; /* of conduit_ctx_add_host() */
    bool (*allow)(void *user, const conduit_endpoint *endpoint);
    void *allow_user;

    const conduit_error *error; /* conduit_ctx_error() */
    conduit_trace_fn trace;
    void *trace_user;

    unsigned vchans_awake;  /* ends that look at their rings every turn: transports/vchan/end.c */
    void *xen;              /* what vchans of domains share: transports/vchan/xen/host.h */
    void *inproc;           /* the listeners of transports/inproc.c */
    conduit_tls *plain_tls; /* the configuration of who gives none */
    void *tls;              /* what a TLS backend shares on this context, and how to free it */
    void (*tls_free)(void *tls);

    struct cdt_spares spares; /* memory of connections that have gone */

    unsigned char *buffer; /* CDT_BUFFER_SIZE bytes */
};

/* Keep `error` (a reference, taken over) as the answer of conduit_ctx_error(). Returns its code. */
int cdt_ctx_fail(conduit_ctx *ctx, const conduit_error *error);
/* The same for a call that did not get as far as reading its URI. */
int cdt_ctx_refuse(conduit_ctx *ctx, int code, const char *text);

/* The TLS configuration of connections whose caller gave none, borrowed; NULL when out of
 * memory. */
conduit_tls *cdt_ctx_tls(conduit_ctx *ctx);

/* Tell who traces; `since_ns` is when the operation began (uv_hrtime). When nobody does, what is to
 * be told is not even looked up. */
void cdt_trace(conduit_ctx *ctx, uint64_t since_ns, const char *event, const char *format, ...)
    CONDUIT_PRINTF(4, 5);
#define cdt_trace(ctx, ...) ((ctx)->trace != NULL ? (cdt_trace)((ctx), __VA_ARGS__) : (void)0)

/* A connection or a listener came or went: as long as there is one there is something to run for,
 * even if it is paused and only a post can wake it. */
void cdt_ctx_recount(conduit_ctx *ctx);

/* An object's list shrank: the end of the context may have waited for it. */
void cdt_ctx_left(conduit_ctx *ctx);

/* Count a handle that holds on to the context, from uv_*_init to its close callback. */
void cdt_ctx_hold(conduit_ctx *ctx);
void cdt_ctx_drop(conduit_ctx *ctx);

#endif
