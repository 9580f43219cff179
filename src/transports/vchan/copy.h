/* SPDX-License-Identifier: ISC */
/*
 * Copying into memory that another processor is about to read.
 *
 * A store takes its line from whoever had it last, and that was the reader on the other processor:
 * so each line of a ring crosses twice, and where processors are far from each other that costs
 * more than everything else. Stores that go past the caches do not ask for the line first. For what
 * is large that is between somewhat slower (neighbours under one cache) and nine times as fast
 * (bench/README.md); what is small is better handed over from cache to cache.
 */
#ifndef CDT_VCHAN_COPY_H
#define CDT_VCHAN_COPY_H

#include <stdint.h>
#include <string.h>

enum { CDT_COPY_LARGE = 2048 };

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
#else
static inline void cdt_copy_past_cache(unsigned char *to, const unsigned char *from, size_t n)
{
    memcpy(to, from, n);
}
#endif

/* `n` may be 0. */
static inline void cdt_copy_to_peer(unsigned char *to, const unsigned char *from, size_t n)
{
    if (n >= CDT_COPY_LARGE)
        cdt_copy_past_cache(to, from, n);
    else
        memcpy(to, from, n);
}

#endif
