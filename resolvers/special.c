/* SPDX-License-Identifier: ISC */
/*
 * special: names that mean the same everywhere, and that nobody is asked about.
 *
 * localhost and all below it are this machine (RFC 6761), whatever a hosts file or a name server
 * says: programs trust it. invalid and onion (RFC 7686) do not exist in DNS, and asking for the
 * latter would tell who is visited.
 */
#include "names.h"
#include <netinet/in.h>

static bool accepts(const conduit_query *query, void *state)
{
    const char *host = conduit_query_host(query);
    return conduit_query_by_address(query) &&
           (cdt_host_is_in(host, "localhost") || cdt_host_is_in(host, "invalid") ||
            cdt_host_is_in(host, "onion"));
}

static void answer_localhost(conduit_query *query)
{
    const struct sockaddr_in6 loopback6 = {.sin6_family = AF_INET6,
                                           .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const struct sockaddr_in loopback4 = {.sin_family = AF_INET,
                                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int only = conduit_query_family(query);
    if (only != AF_INET)
        conduit_query_add_address(query, (const struct sockaddr *)&loopback6, -1);
    if (only != AF_INET6)
        conduit_query_add_address(query, (const struct sockaddr *)&loopback4, -1);
    conduit_query_done(query, 0, NULL, 0, NULL);
}

static void start(conduit_query *query, void *state)
{
    const char *host = conduit_query_host(query);
    if (cdt_host_is_in(host, "localhost"))
        answer_localhost(query);
    else if (cdt_host_is_in(host, "onion"))
        conduit_query_done(query, CONDUIT_ENONAME, NULL, 0,
                           "an onion service is reached through Tor, and DNS is not asked for it");
    else
        conduit_query_done(query, CONDUIT_ENONAME, NULL, 0, "\"invalid\" is never a name");
}

const conduit_resolver cdt_resolver_special = {
    .name = "special",
    .immediate = true,
    .accepts = accepts,
    .start = start,
};
