/* SPDX-License-Identifier: ISC */
/*
 * xen: names of the domains of this machine, whatever the scheme.
 *
 *     http://www.xen/      vchan://www/http     the port has the scheme's name,
 *     http://www.xen:80/   vchan://www/http     the usual one said too;
 *     tcp://www.xen:5000   vchan://www/5000     or the number
 *
 * Layers are the URI's: https://www.xen/ is TLS over a vchan, to who proves to be www.xen. Where
 * there is no Xen the rendezvous is a process that listens at that vchan, as docs/vchan.md says.
 * Such a name means nothing outside this machine, and nobody else is asked about it: this resolver
 * has the last word.
 */
#include "xen.h"
#include <stdio.h>

enum { TAIL = 4 }; /* ".xen" */

/* Without a domain's name before it, "xen" is a host like any other. */
bool cdt_domain_of_query(const conduit_query *query, char domain[CDT_NAME_SIZE])
{
    const char *host = conduit_query_host(query);
    if (!cdt_host_is_in(host, "xen"))
        return false;
    cdt_fold_name(host, strlen(host), domain);
    size_t n = strlen(domain);
    if (n <= TAIL)
        return false;
    domain[n - TAIL] = '\0';
    return true;
}

static bool accepts(const conduit_query *query, void *state)
{
    char domain[CDT_NAME_SIZE];
    return conduit_query_by_address(query) && cdt_domain_of_query(query, domain);
}

/* The service that records would be asked for, or the scheme without what it stands over. */
static void print_service(const conduit_query *query, char *buf, size_t size)
{
    const char *service = conduit_query_service(query);
    const char *scheme = conduit_uri_scheme(conduit_query_uri(query));
    if (*service != '\0')
        snprintf(buf, size, "%s", service);
    else
        snprintf(buf, size, "%.*s", (int)strcspn(scheme, "+"), scheme);
}

int cdt_vchan_of_query(const conduit_query *query, const char *domain, const conduit_endpoint **ret)
{
    char port[80], uri[400];
    if (conduit_query_at_usual_port(query))
        print_service(query, port, sizeof(port));
    else
        snprintf(port, sizeof(port), "%u", conduit_query_port(query));
    snprintf(uri, sizeof(uri), "vchan://%s/%s", domain, port);
    return conduit_endpoint_parse(uri, ret, NULL);
}

static void refuse(conduit_query *query, int code)
{
    const char *why = code == CONDUIT_ENOMEM
                          ? "out of memory"
                          : "no vchan has such a name: a domain's number is 32751 at most, and a "
                            "port letters, digits, '-' and '_'";
    conduit_query_done(query, code, NULL, 0, why);
}

static void start(conduit_query *query, void *state)
{
    const conduit_endpoint *endpoint;
    if (conduit_query_family(query) != 0) {
        conduit_query_done(
            query, CONDUIT_ENONAME, NULL, 0,
            "a domain's vchan has no IP address, and only one of a family is wanted");
        return;
    }
    char domain[CDT_NAME_SIZE];
    cdt_domain_of_query(query, domain);
    int code = cdt_vchan_of_query(query, domain, &endpoint);
    if (code < 0) {
        refuse(query, code);
        return;
    }
    conduit_query_add(query, endpoint, -1);
    conduit_endpoint_unref(endpoint);
    conduit_query_done(query, 0, NULL, 0, NULL);
}

const conduit_resolver cdt_resolver_xen = {
    .name = "xen",
    .immediate = true,
    .accepts = accepts,
    .start = start,
};
