/* SPDX-License-Identifier: ISC */
/*
 * local: transports whose URI names the place itself (a path, a name), so that there is nothing to
 * look up.
 */
#include "names.h"

static bool accepts(const conduit_query *query, void *state)
{
    return !conduit_query_by_address(query);
}

static void start(conduit_query *query, void *state)
{
    conduit_query_add_place(query, conduit_query_host(query), -1);
    conduit_query_done(query, 0, NULL, 0, NULL);
}

const conduit_resolver cdt_resolver_local = {
    .name = "local",
    .immediate = true,
    .accepts = accepts,
    .start = start,
};
