/* SPDX-License-Identifier: ISC */
/*
 * The inside of a pool: conduit/pool.h says what it promises, pool.c how it is kept.
 *
 * A stay is one connection's place at its origin, from conduit_connect() until the path is closed.
 * It belongs to the connection while there is one, and to the pool while it is idle:
 *
 *     ask ──► WAITING ──► DIALLING ──► TAKEN ──► IDLE ──► gone
 *                 └─────► GRANTED ───────┘ a path that was idle, for its new connection
 */
#ifndef CDT_POOL_H
#define CDT_POOL_H

#include "layer.h"
#include "target.h"
#include "timer.h"
#include <conduit/pool.h>

struct cdt_connect;
struct cdt_origin;

enum cdt_stay_state {
    CDT_STAY_ASKING,
    CDT_STAY_WAITING,
    CDT_STAY_GRANTED,
    CDT_STAY_DIALLING,
    CDT_STAY_TAKEN,
    CDT_STAY_IDLE
};

struct cdt_stay {
    struct cdt_stay *prev, *next;   /* in the list of its origin that fits its state */
    struct cdt_stay *older, *newer; /* of all that are idle in the pool */
    struct conduit_pool *pool;      /* NULL: it has gone before */
    struct cdt_origin *origin;
    struct conduit_conn *conn;   /* NULL: idle */
    struct cdt_connect *connect; /* until TAKEN */
    struct cdt_path *path;       /* GRANTED and IDLE */
    enum cdt_stay_state state;
    unsigned flags; /* CONDUIT_POOL_... */
    bool shared;
    bool changed;           /* by an upgrade: it is not what its origin says any more */
    uint64_t since_ms;      /* the path was opened */
    struct cdt_timer timer; /* the end of idleness */
};

/* What all connections of one origin have in common, as text, which ends by cdt_wipe(); NULL when
 * out of memory. */
char *cdt_pool_key(const struct cdt_target *target, const conduit_connect_options *options);

/* A place for a connect that will ask; its `conn` is set by who has one. NULL when out of
 * memory. */
struct cdt_stay *cdt_stay_new(const conduit_connect_options *options,
                              const struct cdt_target *target, struct cdt_connect *connect);

enum cdt_stay_answer {
    CDT_STAY_DIAL, /* there is room: dial */
    CDT_STAY_TAKE, /* *path is the connect's: it is open */
    CDT_STAY_WAIT, /* cdt_connect_go() will come */
    CDT_STAY_END,  /* *why (a reference) is what there is instead */
};

/* Ask for a path, or ask again after cdt_connect_go(). */
enum cdt_stay_answer cdt_stay_ask(struct cdt_stay *stay, struct cdt_path **path,
                                  const conduit_error **why);
/* Is it in line? NULL is not. */
bool cdt_stay_waits(const struct cdt_stay *stay);
/* NULL is fine from here on. Its connection is about to be open, over a path of its own or one that
 * was idle. */
void cdt_stay_opened(struct cdt_stay *stay);
/* ... and on_open has returned. */
void cdt_stay_settled(struct cdt_stay *stay);
/* Its dial has failed by `why`, which may be the end for others too. */
void cdt_stay_failed(struct cdt_stay *stay, const conduit_error *why);
/* The connect is over, whatever came of it. If it did not open, its connection has no stay now. */
void cdt_stay_unasked(struct cdt_stay *stay);
/* May its path be kept, as far as the pool is concerned? */
bool cdt_stay_keeps(const struct cdt_stay *stay);
/* Look at a path that nothing is expected on: true if it is silent and well. */
bool cdt_path_quiet(struct cdt_path *path);
/* Keep `path`, and the stay with it: both are the pool's from now on. */
void cdt_stay_keep(struct cdt_stay *stay, struct cdt_path *path);
/* Its connection is gone. */
void cdt_stay_free(struct cdt_stay *stay);

bool cdt_pool_is_on(const struct conduit_pool *pool, const conduit_ctx *ctx);

/* What a context does with all of its pools. */
void cdt_pools_clear(conduit_ctx *ctx);
void cdt_pools_free(conduit_ctx *ctx);

#endif
