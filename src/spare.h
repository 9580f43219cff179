/* SPDX-License-Identifier: ISC */
/*
 * Spare pieces: a context keeps some of the memory that its connections have given back, for the
 * next ones. Those that come and go take the same three pieces each time, and a list of them is
 * a twentieth of what an allocator has to do.
 *
 * All pieces of a kind are of one size. What is kept is bounded, and goes with the context. Under
 * the address sanitizer nothing is kept: it would not see who uses a piece that was given back.
 */
#ifndef CDT_SPARE_H
#define CDT_SPARE_H

#include <conduit/memory.h>
#include <string.h>

enum cdt_spare_kind { CDT_SPARE_CONN, CDT_SPARE_PATH, CDT_SPARE_SOCKET, CDT_SPARE_KINDS };

#if defined(__SANITIZE_ADDRESS__)
enum { CDT_SPARES_KEPT = 0 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { CDT_SPARES_KEPT = 0 };
#else
enum { CDT_SPARES_KEPT = 32 };
#endif
#else
enum { CDT_SPARES_KEPT = 32 };
#endif

struct cdt_spare {
    struct cdt_spare *next;
};

struct cdt_spares {
    struct cdt_spare *first[CDT_SPARE_KINDS];
    int n[CDT_SPARE_KINDS];
};

/* A zeroed piece of `size`, or NULL when out of memory. */
static inline void *cdt_spare_take(struct cdt_spares *spares, enum cdt_spare_kind kind, size_t size)
{
    struct cdt_spare *piece = spares->first[kind];
    if (piece == NULL)
        return conduit_calloc(1, size);
    spares->first[kind] = piece->next;
    spares->n[kind]--;
    return memset(piece, 0, size);
}

/* Give one back; NULL is fine. */
static inline void cdt_spare_give(struct cdt_spares *spares, enum cdt_spare_kind kind, void *memory)
{
    struct cdt_spare *piece = memory;
    if (piece == NULL || spares->n[kind] >= CDT_SPARES_KEPT) {
        conduit_free(piece);
        return;
    }
    piece->next = spares->first[kind];
    spares->first[kind] = piece;
    spares->n[kind]++;
}

void cdt_spares_clear(struct cdt_spares *spares);

#endif
