/* SPDX-License-Identifier: ISC */
/* The list of proxies, and what the environment says of them: via.h says how a target takes
 * them. */
#include "via.h"
#include "error.h"
#include "net.h"
#include "transport.h"
#include <arpa/inet.h>
#include <conduit/memory.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int take_one(conduit_ctx *ctx, struct cdt_target *target, const char *text,
                    const conduit_tls *tls, const conduit_error **reterr)
{
    struct cdt_target proxy;
    int code = cdt_target_make_proxy(ctx, &proxy, text, tls, reterr);
    if (code == 0)
        code = cdt_target_ride(target, &proxy, reterr);
    cdt_target_clear(&proxy);
    return code;
}

/* From the last to the first: each carries all that stands behind it. `list` is cut up. */
static int take_list(conduit_ctx *ctx, struct cdt_target *target, char *list,
                     const conduit_tls *tls, const conduit_error **reterr)
{
    char *comma;
    do {
        comma = strrchr(list, ',');
        int code = take_one(ctx, target, comma != NULL ? comma + 1 : list, tls, reterr);
        if (code < 0)
            return code;
        if (comma != NULL)
            *comma = '\0';
    } while (comma != NULL);
    return 0;
}

/* ---- the environment, in the way that curl and others read it ---- */

/* HTTP_PROXY in capitals is not read: to a CGI program it is a header of its client. */
static const char *variable(const char *name, bool capitals)
{
    char upper[16];
    size_t n = 0;
    const char *value = secure_getenv(name);
    if (value != NULL || !capitals)
        return value;
    for (; name[n] != '\0'; n++)
        upper[n] = name[n] == '_' ? '_' : (char)(name[n] & ~0x20);
    upper[n] = '\0';
    return secure_getenv(upper);
}

/* Is `item` of no_proxy ("example.org", ".example.org", "10.0.0.0/8", "[::1]") about `host`? */
static bool covers(const char *item, const char *host)
{
    if (strcmp(item, "*") == 0)
        return true;
    struct cdt_net net;
    if (cdt_net_read(&net, item)) {
        union cdt_address at = {0};
        at.any.sa_family = inet_pton(AF_INET, host, &at.in.sin_addr) == 1      ? AF_INET
                           : inet_pton(AF_INET6, host, &at.in6.sin6_addr) == 1 ? AF_INET6
                                                                               : AF_UNSPEC;
        return cdt_net_has(&net, &at.any);
    }
    item += *item == '.';
    size_t n = strlen(host), tail = strlen(item);
    return tail > 0 && n >= tail && strcasecmp(host + n - tail, item) == 0 &&
           (n == tail || host[n - tail - 1] == '.');
}

static bool excepted(const char *list, const char *host)
{
    char item[CDT_HOST_SIZE];
    for (const char *at = list; at != NULL && *at != '\0';) {
        at += strspn(at, ", \t");
        size_t n = strcspn(at, ", \t");
        if (n > 0 && n < sizeof(item)) {
            memcpy(item, at, n);
            item[n] = '\0';
            if (covers(item, host))
                return true;
        }
        at += n;
    }
    return false;
}

static const char *proxy_of_environment(const struct cdt_target *target)
{
    const char *scheme = conduit_uri_scheme(target->uri), *value = NULL;
    if (target->transport->form != CDT_FORM_HOST_PORT || cdt_host_is_domain(target->host) ||
        excepted(variable("no_proxy", true), target->host))
        return NULL;
    if (strcmp(scheme, "http") == 0 || strcmp(scheme, "ws") == 0)
        value = variable("http_proxy", false);
    else if (strcmp(scheme, "https") == 0 || strcmp(scheme, "wss") == 0)
        value = variable("https_proxy", true);
    return value != NULL ? value : variable("all_proxy", true);
}

/* ---- both ---- */

int cdt_via_take(conduit_ctx *ctx, struct cdt_target *target, const char *via,
                 const conduit_tls *tls, const conduit_error **reterr)
{
    const char *prefix = "";
    if (strcmp(via, "env") == 0) {
        via = proxy_of_environment(target);
        if (via == NULL || *via == '\0')
            return 0;
        prefix = strstr(via, "://") == NULL ? "http://" : "";
    }
    size_t size = strlen(prefix) + strlen(via) + 1;
    char *list = conduit_malloc(size);
    if (list == NULL)
        return cdt_error_no_memory(reterr);
    snprintf(list, size, "%s%s", prefix, via);
    int code = take_list(ctx, target, list, tls, reterr);
    explicit_bzero(list, size);
    conduit_free(list);
    return code;
}
