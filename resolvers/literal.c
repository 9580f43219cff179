/* SPDX-License-Identifier: ISC */
/*
 * literal: hosts that are addresses already, and the host of a listener that means all of them.
 *
 *     192.0.2.7    2001:db8::1    fe80::1%eth0    fe80::1%2         (a zone is a name or an index)
 *     "" and "*"   to listen at: :: and 0.0.0.0, a socket each
 *
 * It also takes what is almost an address, to turn it away: getaddrinfo() would make 127.0.0.1 of
 * "2130706433", behind the back of whoever filters addresses (RFC 3986, 7.4).
 */
#include "names.h"
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

static bool is_every_address(const char *host)
{
    return *host == '\0' || strcmp(host, "*") == 0;
}

/* No top-level domain is a number, so a name whose last label is one is no name. */
static bool ends_in_number(const char *host)
{
    const char *dot = strrchr(host, '.');
    const char *label = dot != NULL ? dot + 1 : host;
    return *label != '\0' && strspn(label, "0123456789") == strlen(label);
}

static bool accepts(const conduit_query *query, void *state)
{
    const char *host = conduit_query_host(query);
    return conduit_query_by_address(query) &&
           (is_every_address(host) || strchr(host, ':') != NULL || ends_in_number(host));
}

static bool is_wanted(const conduit_query *query, int family)
{
    int only = conduit_query_family(query);
    return only == AF_UNSPEC || only == family;
}

static void refuse(conduit_query *query, const char *why)
{
    conduit_query_done(query, CONDUIT_EURI, NULL, 0, why);
}

static void answer(conduit_query *query, const struct sockaddr *address)
{
    if (!is_wanted(query, address->sa_family)) {
        conduit_query_done(query, CONDUIT_ENONAME, NULL, 0,
                           address->sa_family == AF_INET6
                               ? "an IPv6 address, and only IPv4 is wanted"
                               : "an IPv4 address, and only IPv6 is wanted");
        return;
    }
    conduit_query_add_address(query, address, -1);
    conduit_query_done(query, 0, NULL, 0, NULL);
}

static void answer_every_address(conduit_query *query)
{
    const struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
    const struct sockaddr_in any4 = {.sin_family = AF_INET};
    if (!conduit_query_listening(query)) {
        refuse(query, "a host is missing: this is a place to listen at, not to connect to");
        return;
    }
    if (is_wanted(query, AF_INET6))
        conduit_query_add_address(query, (const struct sockaddr *)&any6, -1);
    if (is_wanted(query, AF_INET))
        conduit_query_add_address(query, (const struct sockaddr *)&any4, -1);
    conduit_query_done(query, 0, NULL, 0, NULL);
}

/* The index of the interface, or 0: there is none of that name or number. */
static unsigned find_interface(const char *zone)
{
    if (strspn(zone, "0123456789") < strlen(zone))
        return if_nametoindex(zone);
    errno = 0;
    unsigned long index = strtoul(zone, NULL, 10);
    return errno == 0 && index <= UINT32_MAX ? (unsigned)index : 0;
}

static void answer_ip6(conduit_query *query, const char *host)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};
    if (uv_inet_pton(AF_INET6, host, &address.sin6_addr) != 0) {
        refuse(query, "not an IPv6 address");
        return;
    }
    const char *percent = strchr(host, '%');
    if (percent == NULL) {
        answer(query, (const struct sockaddr *)&address);
        return;
    }
    address.sin6_scope_id = find_interface(percent + 1);
    if (address.sin6_scope_id == 0) {
        char why[128];
        snprintf(why, sizeof(why), "this machine has no interface \"%.32s\"", percent + 1);
        conduit_query_done(query, CONDUIT_ENONAME, "errno", ENODEV, why);
        return;
    }
    answer(query, (const struct sockaddr *)&address);
}

static void answer_ip4(conduit_query *query, const char *host)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (uv_inet_pton(AF_INET, host, &address.sin_addr) != 0) {
        refuse(query, "almost an IPv4 address: that is four decimal numbers from 0 to 255");
        return;
    }
    answer(query, (const struct sockaddr *)&address);
}

static void start(conduit_query *query, void *state)
{
    const char *host = conduit_query_host(query);
    if (is_every_address(host))
        answer_every_address(query);
    else if (strchr(host, ':') != NULL)
        answer_ip6(query, host);
    else
        answer_ip4(query, host);
}

const conduit_resolver cdt_resolver_literal = {
    .name = "literal",
    .immediate = true,
    .accepts = accepts,
    .start = start,
};
