/* SPDX-License-Identifier: ISC */
/* Networks as text and as bits: net.h. */
#include "net.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static bool read_bits(const char *text, unsigned most, unsigned *ret)
{
    size_t n = strspn(text, "0123456789");
    *ret = n > 0 && n < 4 && text[n] == '\0' ? (unsigned)strtoul(text, NULL, 10) : most + 1;
    return *ret <= most;
}

bool cdt_net_read(struct cdt_net *net, const char *text)
{
    char host[INET6_ADDRSTRLEN + 2];
    size_t n = strcspn(text, "/");
    const char *bits = text[n] == '/' ? text + n + 1 : NULL;
    if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    if (n >= sizeof(host))
        return false;
    memcpy(host, text, n);
    host[n] = '\0';
    net->family = strchr(host, ':') != NULL ? AF_INET6 : AF_INET;
    if (inet_pton(net->family, host, net->address) != 1)
        return false;
    net->bits = net->family == AF_INET ? 32 : 128;
    return bits == NULL || read_bits(bits, net->bits, &net->bits);
}

/* The address in network order, or NULL; *family is what it really is. */
static const unsigned char *bytes_of(const struct sockaddr *address, int *family)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
    *family = address->sa_family;
    if (*family == AF_INET)
        return (const unsigned char *)&in->sin_addr;
    if (*family != AF_INET6)
        return NULL;
    if (!IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        return in6->sin6_addr.s6_addr;
    *family = AF_INET;
    return in6->sin6_addr.s6_addr + 12;
}

bool cdt_net_has(const struct cdt_net *net, const struct sockaddr *address)
{
    int family;
    const unsigned char *bytes = bytes_of(address, &family);
    if (bytes == NULL || family != net->family || memcmp(bytes, net->address, net->bits / 8) != 0)
        return false;
    unsigned char mask = (unsigned char)(0xff00 >> net->bits % 8);
    return mask == 0 || ((bytes[net->bits / 8] ^ net->address[net->bits / 8]) & mask) == 0;
}
