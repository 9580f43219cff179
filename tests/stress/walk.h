/* SPDX-License-Identifier: ISC */
/*
 * One random walk over the library: calls in any order, from outside and from inside every
 * callback, while the network and the clock do as they like; then a settlement, in which all that
 * was promised has to come true, and an end, after which nothing may be left.
 *
 * A walk uses a context that others have used before it, on a loop of the context's own or of the
 * caller's, and now and then ends it. Its clock is ours.
 */
#ifndef CDT_STRESS_WALK_H
#define CDT_STRESS_WALK_H

#include <stdbool.h>
#include <stdint.h>

enum { CDT_MOST_STEPS = 64 };

struct cdt_walk_options {
    bool sockets;      /* over the real transports and TLS, not over wires */
    unsigned starve;   /* one allocation in so many fails; 0: none */
    const char *certs; /* where make-certs has been */
    const char *dir;   /* for unix sockets */
};

/* Once, first. */
void cdt_walk_begin(const struct cdt_walk_options *options);
/* One walk. Steps whose entry in `skip` is true are left out; NULL: none is. Returns how many steps
 * it has. */
unsigned cdt_walk(uint64_t seed, const bool skip[CDT_MOST_STEPS]);
/* Once, last: ends the contexts. */
void cdt_walk_end(void);

#endif
