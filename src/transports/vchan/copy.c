/* SPDX-License-Identifier: ISC */
/*
 * When to try which way of copying, and how to read from several pages: copy.h says what for. Pure,
 * without a clock of its own.
 *
 * A trial is some copies in turns, at the end of every two thousand; of each way the quickest
 * counts, for whatever else goes on only makes one slower.
 */
#include "transports/vchan/copy.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

/* Half as many instructions as without AVX2, and that is what makes it no slower out of a cache. */
#if defined(__x86_64__)
#define WIDE __attribute__((target("avx2")))

enum { STEP = 128 }; /* of each page in its turn */

WIDE static inline void copy_step(unsigned char *to, const unsigned char *from)
{
    for (size_t i = 0; i < STEP; i += sizeof(__m256i)) {
        __m256i piece = _mm256_loadu_si256((const __m256i *)(const void *)(from + i));
        _mm256_storeu_si256((__m256i *)(void *)(to + i), piece);
    }
}

WIDE static void copy_four_pages(unsigned char *to, const unsigned char *from)
{
    for (size_t at = 0; at < CDT_COPY_PAGE; at += STEP)
        for (size_t page = 0; page < CDT_COPY_PAGES; page += CDT_COPY_PAGE)
            copy_step(to + page + at, from + page + at);
}

void cdt_copy_by_pages(unsigned char *to, const unsigned char *from, size_t n)
{
    size_t done = 0;
    if (__builtin_cpu_supports("avx2"))
        for (; n - done >= CDT_COPY_PAGES; done += CDT_COPY_PAGES)
            copy_four_pages(to + done, from + done);
    memcpy(to + done, from + done, n - done);
}
#else
void cdt_copy_by_pages(unsigned char *to, const unsigned char *from, size_t n)
{
    memcpy(to, from, n);
}
#endif
