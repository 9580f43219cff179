/* SPDX-License-Identifier: ISC */
/* Work that would hold up the loop: done on one of libuv's worker threads, its end told on the
 * loop. It cannot be taken back: the context stays in memory until it is over. */
#ifndef CDT_OFFLOAD_H
#define CDT_OFFLOAD_H

#include <conduit/context.h>

/* Have `work(arg)` called on a worker thread, then `after(ctx, arg)` on the context's, never within
 * this call; it comes even if the context is ending. False when out of memory: neither is
 * called. */
bool cdt_offload(conduit_ctx *ctx, void (*work)(void *arg), void (*after)(conduit_ctx *, void *arg),
                 void *arg);

#endif
