/* SPDX-License-Identifier: ISC */
/*
 * A list of name servers is read token by token: an address, numeric and without a zone, and a port
 * or none. What is not one is turned away here, for c-ares would leave it out and say nothing.
 */
#include "dns_servers.h"
#include "names.h"
#include <conduit/memory.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TOKEN_SIZE = 56, /* "[", 45 bytes of address, "]:65535" */
    SERVER_SIZE = 72,
};

static bool read_port(const char *text, uint16_t *ret)
{
    size_t n = strlen(text);
    if (n == 0 || n > 5 || strspn(text, "0123456789") != n)
        return false;
    int port = atoi(text);
    *ret = (uint16_t)port;
    return port > 0 && port <= UINT16_MAX;
}

/* Cut "[2001:db8::1]:53", "192.0.2.1:53" or an address alone in two. */
static bool split_server(char *text, const char **host, const char **port)
{
    char *colon = strchr(text, ':');
    *host = text;
    *port = "53";
    if (*text == '[') {
        char *close = strchr(text, ']');
        if (close == NULL || (close[1] != '\0' && close[1] != ':'))
            return false;
        *host = text + 1;
        if (close[1] == ':')
            *port = close + 2;
        *close = '\0';
    } else if (colon != NULL && strchr(colon + 1, ':') == NULL) {
        *port = colon + 1;
        *colon = '\0';
    }
    return true;
}

/* One server, as every version of c-ares reads it. */
static bool read_server(char ret[SERVER_SIZE], const char *text, size_t n)
{
    unsigned char address[sizeof(struct in6_addr)];
    const char *host, *digits;
    char copy[TOKEN_SIZE];
    uint16_t port;
    if (n >= sizeof(copy))
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    bool brackets = copy[0] == '[';
    if (!split_server(copy, &host, &digits) || !read_port(digits, &port))
        return false;
    if (!brackets && uv_inet_pton(AF_INET, host, address) == 0)
        snprintf(ret, SERVER_SIZE, "%s:%d", host, port);
    else if (strchr(host, '%') == NULL && uv_inet_pton(AF_INET6, host, address) == 0)
        snprintf(ret, SERVER_SIZE, "[%s]:%d", host, port);
    else
        return false;
    return true;
}

int cdt_dns_servers_read(const char *text, char **ret)
{
    size_t n = 0;
    char *list = conduit_malloc((strlen(text) + 1) * 8 + SERVER_SIZE);
    if (list == NULL)
        return CONDUIT_ENOMEM;
    for (;; text++) {
        size_t length = strcspn(text, ",");
        if (!read_server(list + n, text, length)) {
            conduit_free(list);
            return CONDUIT_EINVAL;
        }
        n += strlen(list + n);
        text += length;
        if (*text == '\0')
            break;
        list[n++] = ',';
    }
    *ret = list;
    return 0;
}

/* "options ndots:1 trust-ad", to the end of the line. */
static bool line_vouches(char *line)
{
    static const char blank[] = " \t\r\n";
    char *rest, *word = strtok_r(line, blank, &rest);
    if (word == NULL || strcmp(word, "options") != 0)
        return false;
    while ((word = strtok_r(NULL, blank, &rest)) != NULL)
        if (strcmp(word, "trust-ad") == 0)
            return true;
    return false;
}

bool cdt_dns_servers_vouch(const char *file)
{
    char line[1024];
    bool vouch = false;
    FILE *in = fopen(file, "re");
    while (in != NULL && !vouch && fgets(line, sizeof(line), in) != NULL)
        vouch = line_vouches(line);
    if (in != NULL)
        fclose(in);
    return vouch;
}
