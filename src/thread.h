/* SPDX-License-Identifier: ISC */
/*
 * A check for who debugs: is a context used on the thread that runs it (rule 9 of conduit.h)?
 *
 * Builds without NDEBUG (meson's b_ndebug) stop there, as assert(3) does, with the name of the
 * function; others do not look. Before its loop runs, and after, a context may go from thread to
 * thread, as when main() makes it and a worker runs it. A loop of the caller's counts as running
 * from the first thing that the library did on it.
 */
#ifndef CDT_THREAD_H
#define CDT_THREAD_H

#include "context.h"
#include <assert.h>
#include <stdatomic.h>

#ifdef NDEBUG
static inline void cdt_thread_enter(conduit_ctx *ctx) {}
static inline void cdt_thread_leave(conduit_ctx *ctx) {}
#define CDT_ASSERT_THREAD(ctx) ((void)0)
#else
/* The current thread runs the loop from now on; no thread does. */
static inline void cdt_thread_enter(conduit_ctx *ctx)
{
    atomic_store_explicit(&ctx->thread, (uintptr_t)uv_thread_self(), memory_order_relaxed);
}

static inline void cdt_thread_leave(conduit_ctx *ctx)
{
    atomic_store_explicit(&ctx->thread, 0, memory_order_relaxed);
}

static inline bool cdt_thread_fits(conduit_ctx *ctx)
{
    uintptr_t runs = atomic_load_explicit(&ctx->thread, memory_order_relaxed);
    return runs == 0 || runs == (uintptr_t)uv_thread_self();
}

#define CDT_ASSERT_THREAD(ctx)                                                                     \
    assert(cdt_thread_fits(ctx) && "a context belongs to the thread that runs it (rule 9)")
#endif

#endif
