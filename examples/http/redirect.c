/* SPDX-License-Identifier: ISC */
/* Redirects: redirect.h says which are followed. */
#include "redirect.h"
#include <arpa/inet.h>
#include <conduit/uri.h>
#include <string.h>
#include <strings.h>

static bool is_secure(const conduit_uri *uri)
{
    const char *scheme = conduit_uri_scheme(uri);
    return strncmp(scheme, "https", 5) == 0 && (scheme[5] == '\0' || scheme[5] == '+');
}

/* ---- where it is ---- */

enum where { ELSEWHERE, ON_THE_NET, HERE };

/* Is `host` the name `zone`, or one below it? A dot at the end changes nothing. */
static bool is_below(const char *host, const char *zone)
{
    size_t n = strlen(host), n_zone = strlen(zone);
    n -= n > 0 && host[n - 1] == '.';
    return n >= n_zone && strncasecmp(host + n - n_zone, zone, n_zone) == 0 &&
           (n == n_zone || host[n - n_zone - 1] == '.');
}

/* 0.0.0.0 connects to this machine as well. */
static bool is_loopback4(const struct in_addr *address)
{
    const unsigned char *bytes = (const unsigned char *)address;
    return bytes[0] == 127 || bytes[0] == 0;
}

static bool is_loopback(const char *host)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, host, &four) == 1)
        return is_loopback4(&four);
    if (inet_pton(AF_INET6, host, &six) != 1)
        return false;
    memcpy(&four, &six.s6_addr[12], sizeof(four));
    return IN6_IS_ADDR_LOOPBACK(&six) || IN6_IS_ADDR_UNSPECIFIED(&six) ||
           (IN6_IS_ADDR_V4MAPPED(&six) && is_loopback4(&four));
}

/* Sockets and the guests of a Xen are not on the net, whatever their names look like. */
static enum where where_is(const conduit_uri *uri)
{
    const char *scheme = conduit_uri_scheme(uri), *host = conduit_uri_host(uri);
    bool plain = strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0;
    if (!plain || is_below(host, "xen"))
        return ELSEWHERE;
    return is_below(host, "localhost") || is_loopback(host) ? HERE : ON_THE_NET;
}

static int port_of(const conduit_uri *uri)
{
    int port = conduit_uri_port(uri);
    return port >= 0 ? port : is_secure(uri) ? 443 : 80;
}

static bool is_same(const conduit_uri *a, const conduit_uri *b)
{
    return strcmp(conduit_uri_scheme(a), conduit_uri_scheme(b)) == 0 &&
           strcmp(conduit_uri_host(a), conduit_uri_host(b)) == 0 && port_of(a) == port_of(b);
}

/* NULL: it may be followed. */
static const char *objection(const conduit_uri *from, const conduit_uri *to)
{
    if (is_same(from, to))
        return NULL;
    enum where there = where_is(to);
    if (there != ON_THE_NET && (there != HERE || where_is(from) != HERE))
        return "it leads to something that is not on the net";
    if (is_secure(from) && !is_secure(to))
        return "it leads from TLS to cleartext";
    return NULL;
}

char *http_redirect(const char *base, const char *location, const char **why)
{
    const conduit_uri *from, *to;
    char *text = NULL;
    *why = "it is no URI";
    if (conduit_uri_parse(base, &from, NULL) < 0)
        return NULL;
    if (conduit_uri_resolve(from, location, &to, NULL) == 0) {
        *why = objection(from, to);
        if (*why == NULL && (text = strdup(conduit_uri_text(to))) == NULL)
            *why = "out of memory";
        conduit_uri_unref(to);
    }
    conduit_uri_unref(from);
    return text;
}

bool http_same_origin(const char *a, const char *b)
{
    const conduit_uri *one, *other;
    bool same = false;
    if (conduit_uri_parse(a, &one, NULL) < 0)
        return false;
    if (conduit_uri_parse(b, &other, NULL) == 0) {
        same = is_same(one, other);
        conduit_uri_unref(other);
    }
    conduit_uri_unref(one);
    return same;
}
