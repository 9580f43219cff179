/* SPDX-License-Identifier: ISC */
/*
 * local: transports whose URI names the place itself, so that there is nothing to look up.
 *
 * unix: the host of the query is the path of the socket. inproc: it is the name of the listener.
 */
#include "names.h"
#include <stdio.h>
#include <sys/un.h>

/* With the NUL: one that is longer would be cut to another path, silently. */
enum { PATH_SIZE = sizeof(((struct sockaddr_un *)NULL)->sun_path) };

static bool is_unix(const conduit_query *query)
{
    return strcmp(conduit_query_transport(query), "unix") == 0;
}

static bool accepts(const conduit_query *query, void *state)
{
    return is_unix(query) || strcmp(conduit_query_transport(query), "inproc") == 0;
}

/* Takes the reference over. */
static void answer(conduit_query *query, const conduit_endpoint *endpoint)
{
    if (endpoint == NULL) {
        conduit_query_done(query, CONDUIT_ENOMEM, NULL, 0, "out of memory");
        return;
    }
    conduit_query_add(query, endpoint, -1);
    conduit_endpoint_unref(endpoint);
    conduit_query_done(query, 0, NULL, 0, NULL);
}

static void answer_unix(conduit_query *query, const char *path)
{
    size_t n = strlen(path);
    if (n == 0) {
        conduit_query_done(query, CONDUIT_EURI, NULL, 0, "a path is missing: unix:/run/x.sock");
        return;
    }
    if (n >= PATH_SIZE) {
        char why[96];
        snprintf(why, sizeof(why), "the path is %zu bytes long: a Unix socket takes at most %d", n,
                 PATH_SIZE - 1);
        conduit_query_done(query, CONDUIT_EURI, NULL, 0, why);
        return;
    }
    answer(query, conduit_endpoint_unix(path));
}

static void answer_inproc(conduit_query *query, const char *name)
{
    if (*name == '\0') {
        conduit_query_done(query, CONDUIT_EURI, NULL, 0, "a name is missing: inproc://name");
        return;
    }
    answer(query, conduit_endpoint_inproc(name));
}

static void start(conduit_query *query, void *state)
{
    if (is_unix(query))
        answer_unix(query, conduit_query_host(query));
    else
        answer_inproc(query, conduit_query_host(query));
}

const conduit_resolver cdt_resolver_local = {
    .name = "local",
    .immediate = true,
    .accepts = accepts,
    .start = start,
};
