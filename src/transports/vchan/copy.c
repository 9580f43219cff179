/* SPDX-License-Identifier: ISC */
/*
 * When to try which way of copying: copy.h says what for. Pure, without a clock of its own.
 *
 * A trial is some copies in turns, at the end of every two thousand; of each way the quickest
 * counts, for whatever else goes on only makes one slower.
 */
#include "transports/vchan/copy.h"

enum {
    TRIAL = 8,      /* copies of a trial, half of them each way */
    PERIOD = 2048,  /* from one to the next */
    MEASURE = 1024, /* bytes that a cost is for */
};

struct cdt_copy_plan cdt_copier_next(struct cdt_copier *copier)
{
    unsigned n = copier->made++;
    if (copier->made == PERIOD)
        copier->made = 0;
    if (n < PERIOD - TRIAL)
        return (struct cdt_copy_plan){.plainly = copier->plainly};
    return (struct cdt_copy_plan){.plainly = n % 2 == 1, .timed = true};
}

void cdt_copier_note(struct cdt_copier *copier, struct cdt_copy_plan plan, uint32_t n,
                     uint64_t ticks)
{
    uint64_t cost = ticks * MEASURE / n, *least = &copier->cost[plan.plainly];
    if (*least == 0 || cost < *least)
        *least = cost != 0 ? cost : 1;
    if (copier->made != 0)
        return;
    /* Past the caches only where it clearly pays: the reader has to fetch from memory then. */
    copier->plainly = copier->cost[1] <= copier->cost[0] + copier->cost[0] / 2;
    copier->cost[0] = copier->cost[1] = 0;
}
