/* SPDX-License-Identifier: ISC */
#ifndef CDT_UTIL_H
#define CDT_UTIL_H

#include <stddef.h>

/* The struct that `member` at `pointer` is embedded in. */
#define CDT_CONTAINER(pointer, type, member)                                                       \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* iovec has one kind of pointer for both directions; what is written through it is only read. */
static inline void *cdt_bytes(const void *data)
{
    union {
        const void *in;
        void *out;
    } same = {.in = data};
    return same.out;
}

#endif
