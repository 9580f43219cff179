/* SPDX-License-Identifier: ISC */
/*
 * Hosts as keys: host.h says what for. What is a host, and how it is spelt, is decided in one
 * place, by reading it as part of a URI.
 */
#include "host.h"
#include <arpa/inet.h>
#include <conduit/uri.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

bool cdt_host_key(const char *host, char key[CDT_HOST_SIZE])
{
    size_t n = strlen(host);
    if (n > 0 && host[n - 1] == '.')
        n--;
    if (n >= CDT_HOST_SIZE)
        return false;
    memcpy(key, host, n);
    key[n] = '\0';
    return true;
}

static bool is_host_alone(const conduit_uri *uri)
{
    const char *host = conduit_uri_host(uri);
    return *host != '\0' && strcmp(host, "*") != 0 && strchr(host, '/') == NULL &&
           conduit_uri_port(uri) < 0 && *conduit_uri_path(uri) == '\0' &&
           *conduit_uri_query(uri) == '\0' && *conduit_uri_fragment(uri) == '\0' &&
           *conduit_uri_userinfo(uri) == '\0';
}

int cdt_host_read(const char *text, char key[CDT_HOST_SIZE])
{
    char whole[2 * CDT_HOST_SIZE];
    bool bare = strchr(text, ':') != NULL && *text != '[';
    int n = snprintf(whole, sizeof(whole), bare ? "host://[%s]" : "host://%s", text);
    const conduit_uri *uri = NULL;
    if (n < 0 || (size_t)n >= sizeof(whole) || strpbrk(text, "/?#@") != NULL)
        return CONDUIT_EINVAL;
    int code = conduit_uri_parse(whole, &uri, NULL);
    if (code < 0)
        return code == CONDUIT_ENOMEM ? code : CONDUIT_EINVAL;
    bool alone = is_host_alone(uri) && cdt_host_key(conduit_uri_host(uri), key);
    conduit_uri_unref(uri);
    return alone ? 0 : CONDUIT_EINVAL;
}

bool cdt_host_is_address(const char *key)
{
    struct in_addr address;
    return strchr(key, ':') != NULL || inet_pton(AF_INET, key, &address) == 1;
}

bool cdt_host_is_domain(const char *host)
{
    static const char suffix[] = ".xen";
    const size_t tail = sizeof(suffix) - 1;
    size_t n = strlen(host);
    n -= n > 0 && host[n - 1] == '.';
    return n > tail && strncasecmp(host + n - tail, suffix, tail) == 0;
}
