/* SPDX-License-Identifier: ISC */
/*
 * Copying into memory that another processor is about to read, and out of what it has written.
 *
 * A store takes its line from whoever had it last, and that was the reader on the other processor:
 * so each line of a ring crosses twice, and where processors are far from each other that costs
 * more than everything else. Stores that go past the caches do not ask for the line first. For what
 * is large that is many times as fast between far processors, and slower between neighbours under
 * one cache (bench/README.md). No system says which they are, and it changes while a process moves:
 * so both ways are timed now and then, a few copies in two thousand. What is small is better handed
 * over from cache to cache in any case.
 *
 * A copier is one ring's memory of that: a value in the ring, zeroed at first.
 *
 * Who reads waits for memory, but for what the processor has begun to fetch ahead, and that ends
 * with each page. So what is large is read from four pages in turns: up to a third faster where
 * it comes from memory, and no slower where a cache has it.
 */
#ifndef CDT_VCHAN_COPY_H
#define CDT_VCHAN_COPY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    CDT_COPY_LARGE = 2048,
    CDT_COPY_PAGE = 4096,
    CDT_COPY_PAGES = 4 * CDT_COPY_PAGE, /* large for who reads */
};

struct cdt_copier {
    uint16_t made;    /* large copies since the last trial began */
    bool plainly;     /* how to copy between trials */
    uint64_t cost[2]; /* the least of this trial, for a fixed size: past the caches, plainly */
};

/* How to make the next large copy, and whether to time it for cdt_copier_note(). */
struct cdt_copy_plan {
    bool plainly, timed;
};
struct cdt_copy_plan cdt_copier_next(struct cdt_copier *copier);
/* A timed copy of `n` bytes took that long, by any clock. */
void cdt_copier_note(struct cdt_copier *copier, struct cdt_copy_plan plan, uint32_t n,
                     uint64_t ticks);

#if defined(__x86_64__)
#include <emmintrin.h>

/* The stores are not ordered with others until the fence: no release is enough. */
static inline void cdt_copy_past_cache(unsigned char *to, const unsigned char *from, size_t n)
{
    size_t head = -(uintptr_t)to & 63;
    memcpy(to, from, head);
    for (n -= head, to += head, from += head; n >= 64; n -= 64, to += 64, from += 64)
        for (int i = 0; i < 64; i += 16)
            _mm_stream_si128((__m128i *)(void *)(to + i),
                             _mm_loadu_si128((const __m128i *)(const void *)(from + i)));
    memcpy(to, from, n);
    _mm_sfence();
}

static inline void cdt_copy_large(struct cdt_copier *copier, unsigned char *to,
                                  const unsigned char *from, uint32_t n)
{
    struct cdt_copy_plan plan = cdt_copier_next(copier);
    uint64_t since = plan.timed ? __builtin_ia32_rdtsc() : 0;
    if (plan.plainly)
        memcpy(to, from, n);
    else
        cdt_copy_past_cache(to, from, n);
    if (plan.timed)
        cdt_copier_note(copier, plan, n, __builtin_ia32_rdtsc() - since);
}
#else
static inline void cdt_copy_large(struct cdt_copier *copier, unsigned char *to,
                                  const unsigned char *from, uint32_t n)
{
    memcpy(to, from, n);
}
#endif

/* `n` may be 0. */
static inline void cdt_copy_to_peer(struct cdt_copier *copier, unsigned char *to,
                                    const unsigned char *from, uint32_t n)
{
    if (n >= CDT_COPY_LARGE)
        cdt_copy_large(copier, to, from, n);
    else
        memcpy(to, from, n);
}

/* Of at least CDT_COPY_PAGES bytes. */
void cdt_copy_by_pages(unsigned char *to, const unsigned char *from, size_t n);

/* `n` may be 0. */
static inline void cdt_copy_from_peer(unsigned char *to, const unsigned char *from, uint32_t n)
{
    if (n >= CDT_COPY_PAGES)
        cdt_copy_by_pages(to, from, n);
    else
        memcpy(to, from, n);
}

#endif
