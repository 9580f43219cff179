/* SPDX-License-Identifier: ISC */
/*
 * A bare ring: what shared memory can do on this machine when nothing is around it.
 *
 * One writer and one reader each way, counters on lines of their own, an eventfd each way, or a
 * futex in the memory itself, and the wait that vchan has: look for so many microseconds, then ask
 * for a wake-up, look again, sleep. It trusts its peer and knows neither errors nor a loop.
 */
#ifndef BENCH_RING_H
#define BENCH_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring_pair;

struct ring_end {
    struct ring_pair *pair;
    bool server;
};

/* Before fork(): both processes then have it. Never freed. */
struct ring_pair *ring_make(uint32_t size, unsigned spin_us, bool futex);
struct ring_end ring_end_of(struct ring_pair *pair, bool server);

/* All of it; waits for room. */
void ring_put(const struct ring_end *end, const void *from, size_t n);
/* What there is; waits for something. 0 when the peer has finished. */
size_t ring_get(const struct ring_end *end, void *to, size_t most);
void ring_finish(const struct ring_end *end);

#endif
