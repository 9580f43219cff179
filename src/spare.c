/* SPDX-License-Identifier: ISC */
/* The end of the pieces that were kept: spare.h. */
#include "spare.h"

static void clear(struct cdt_spare *piece)
{
    while (piece != NULL) {
        struct cdt_spare *next = piece->next;
        conduit_free(piece);
        piece = next;
    }
}

void cdt_spares_clear(struct cdt_spares *spares)
{
    for (int kind = 0; kind < CDT_SPARE_KINDS; kind++)
        clear(spares->first[kind]);
    *spares = (struct cdt_spares){0};
}
