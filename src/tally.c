/* SPDX-License-Identifier: ISC */
/* What has happened, and what is open just now: tally.h. */
#include "tally.h"
#include "connection.h"
#include <conduit/memory.h>

struct cdt_tally *cdt_tally_new(void)
{
    struct cdt_tally *tally = conduit_calloc(1, sizeof(*tally));
    if (tally != NULL)
        tally->refs = 1;
    return tally;
}

struct cdt_tally *cdt_tally_ref(struct cdt_tally *tally)
{
    tally->refs++;
    return tally;
}

void cdt_tally_unref(struct cdt_tally *tally)
{
    if (tally != NULL && --tally->refs == 0)
        conduit_free(tally);
}

void cdt_tally_read(const conduit_ctx *ctx, const struct cdt_tally *of, conduit_counters *ret)
{
    *ret = of != NULL ? of->counts : ctx->counts;
    for (const struct conduit_conn *conn = ctx->conns; conn != NULL; conn = conn->next) {
        if (of != NULL && conn->tally != of)
            continue;
        bool opened = conn->path != NULL || conn->released;
        ret->opening += !opened;
        ret->open += opened;
        ret->bytes_in += conn->bytes_in;
        ret->bytes_out += conn->bytes_out;
    }
}
