/* SPDX-License-Identifier: ISC */
/* What connections have in common: manner.h. */
#include "manner.h"
#include <conduit/memory.h>

enum {
    DEFAULT_HIGH_WATER = 64 * 1024,
    DEFAULT_WRITE_LIMIT = 16 * 1024 * 1024,
};

struct cdt_manner *cdt_manner_new(const conduit_handler *handler,
                                  const conduit_conn_options *options)
{
    struct cdt_manner *manner = conduit_calloc(1, sizeof(*manner));
    if (manner == NULL)
        return NULL;
    manner->refs = 1;
    if (handler != NULL)
        manner->handler = *handler;
    manner->options = *options;
    if (manner->options.high_water == 0)
        manner->options.high_water = DEFAULT_HIGH_WATER;
    if (manner->options.write_limit == 0)
        manner->options.write_limit = DEFAULT_WRITE_LIMIT;
    return manner;
}

struct cdt_manner *cdt_manner_ref(struct cdt_manner *manner)
{
    manner->refs++;
    return manner;
}

void cdt_manner_unref(struct cdt_manner *manner)
{
    if (manner != NULL && --manner->refs == 0)
        conduit_free(manner);
}
