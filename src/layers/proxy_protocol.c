/* SPDX-License-Identifier: ISC */
/* PROXY headers as bytes: proxy_protocol.h. */
#include "proxy_protocol.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const unsigned char signature[12] = "\r\n\r\n\0\r\nQUIT\n";
static const char word[] = "PROXY ";

enum {
    SHORTEST = sizeof("PROXY UNKNOWN\r\n") - 1, /* of version 1, and one less than of version 2 */
    FIXED = 16,
    LOCAL = 0,
    PROXY = 1,
    STREAM = 1,
    OF_INET = 1,
    OF_INET6 = 2,
    OF_UNIX = 3,
    INET_SIZE = 4 + 4 + 2 + 2,
    INET6_SIZE = 16 + 16 + 2 + 2,
    UNIX_SIZE = 108 + 108,
    TLV_CRC32C = 3,
};

static bool begins(const unsigned char *header, size_t n, const void *with, size_t len)
{
    return memcmp(header, with, n < len ? n : len) == 0;
}

static int refuse(const char **why, const char *what)
{
    *why = what;
    return -1;
}

/* ---- how long it is ---- */

static int missing_v1(const unsigned char *header, size_t n, const char **why)
{
    if (n < SHORTEST)
        return (int)(SHORTEST - n);
    if (header[n - 1] == '\n')
        return header[n - 2] == '\r' ? 0 : refuse(why, "its PROXY header ends without CR");
    if (memchr(header + SHORTEST - 1, '\n', n - SHORTEST) != NULL)
        return refuse(why, "its PROXY header has two lines");
    size_t more = header[n - 1] == '\r' ? 1 : 2;
    return n + more <= CDT_PROXY_V1_MAX ? (int)more : refuse(why, "its PROXY header is too long");
}

static size_t length_v2(const unsigned char *header)
{
    return FIXED + ((size_t)header[14] << 8 | header[15]);
}

static int missing_v2(const unsigned char *header, size_t n, const char **why)
{
    if (n < FIXED)
        return (int)(FIXED - n);
    size_t whole = length_v2(header);
    if (whole > CDT_PROXY_MAX)
        return refuse(why, "its PROXY header is too long");
    return (int)(whole - n);
}

int cdt_proxy_missing(const unsigned char *header, size_t n, const char **why)
{
    if (n == 0)
        return SHORTEST;
    if (begins(header, n, word, sizeof(word) - 1))
        return missing_v1(header, n, why);
    if (!begins(header, n, signature, sizeof(signature)))
        return refuse(why, "it did not begin with a PROXY header");
    return n < SHORTEST ? (int)(SHORTEST - n) : missing_v2(header, n, why);
}

/* ---- version 1: PROXY TCP4 192.0.2.1 192.0.2.2 5000 443 ---- */

/* Decimal, without leading zeros. */
static bool read_port(const char *text, in_port_t *ret)
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n] != '\0' || (n > 1 && text[0] == '0'))
        return false;
    unsigned long port = strtoul(text, NULL, 10);
    *ret = htons((uint16_t)port);
    return port <= UINT16_MAX;
}

static bool read_address(union cdt_address *address, int family, const char *host, const char *port)
{
    *address = (union cdt_address){.any.sa_family = (sa_family_t)family};
    if (family == AF_INET)
        return inet_pton(AF_INET, host, &address->in.sin_addr) == 1 &&
               read_port(port, &address->in.sin_port);
    return inet_pton(AF_INET6, host, &address->in6.sin6_addr) == 1 &&
           read_port(port, &address->in6.sin6_port);
}

static int read_v1(const unsigned char *header, size_t n, union cdt_address *source,
                   union cdt_address *to, const char **why)
{
    char line[CDT_PROXY_V1_MAX], *fields[6] = {0}, *rest = line;
    n -= strlen("\r\n");
    memcpy(line, header, n);
    line[n] = '\0';
    if (strlen(line) != n)
        return refuse(why, "its PROXY header has a zero byte");
    for (int i = 0; i < 6; i++)
        fields[i] = strsep(&rest, " ");
    if (strcmp(fields[1], "UNKNOWN") == 0)
        return CDT_PROXY_UNSAID;
    int family = strcmp(fields[1], "TCP4") == 0   ? AF_INET
                 : strcmp(fields[1], "TCP6") == 0 ? AF_INET6
                                                  : AF_UNSPEC;
    if (family == AF_UNSPEC)
        return refuse(why, "its PROXY header is of an unknown protocol");
    if (rest != NULL || fields[5] == NULL || !read_address(source, family, fields[2], fields[4]) ||
        !read_address(to, family, fields[3], fields[5]))
        return refuse(why, "its PROXY header has malformed addresses");
    return CDT_PROXY_INET;
}

/* ---- version 2 ---- */

/* CRC-32C (Castagnoli), bit by bit: a header is short. The checksum's own four bytes count as 0. */
static uint32_t checksum(const unsigned char *bytes, size_t n, size_t own)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= i >= own && i < own + 4 ? 0 : bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

static uint32_t be32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* What follows the addresses is not for us, but it has to be well-formed, and a checksum has to be
 * right. */
static bool check_tlvs(const unsigned char *header, size_t at, size_t n)
{
    while (n - at >= 3) {
        size_t len = (size_t)header[at + 1] << 8 | header[at + 2];
        if (len > n - at - 3)
            return false;
        if (header[at] == TLV_CRC32C &&
            (len != 4 || be32(header + at + 3) != checksum(header, n, at + 3)))
            return false;
        at += 3 + len;
    }
    return at == n;
}

static void take_inet(const unsigned char *at, union cdt_address *source, union cdt_address *to)
{
    *source = *to = (union cdt_address){.any.sa_family = AF_INET};
    memcpy(&source->in.sin_addr, at, 4);
    memcpy(&to->in.sin_addr, at + 4, 4);
    memcpy(&source->in.sin_port, at + 8, 2);
    memcpy(&to->in.sin_port, at + 10, 2);
}

static void take_inet6(const unsigned char *at, union cdt_address *source, union cdt_address *to)
{
    *source = *to = (union cdt_address){.any.sa_family = AF_INET6};
    memcpy(&source->in6.sin6_addr, at, 16);
    memcpy(&to->in6.sin6_addr, at + 16, 16);
    memcpy(&source->in6.sin6_port, at + 32, 2);
    memcpy(&to->in6.sin6_port, at + 34, 2);
}

/* How many bytes of addresses a family has: 0 for one that says nothing to a stream. */
static size_t address_size(unsigned family)
{
    if ((family & 0xf) != STREAM)
        return 0;
    switch (family >> 4) {
    case OF_INET:
        return INET_SIZE;
    case OF_INET6:
        return INET6_SIZE;
    case OF_UNIX:
        return UNIX_SIZE;
    default:
        return 0;
    }
}

static int read_v2(const unsigned char *header, size_t n, union cdt_address *source,
                   union cdt_address *to, char *path, const char **why)
{
    unsigned version = header[12] >> 4, command = header[12] & 0xf;
    size_t size = address_size(header[13]);
    const unsigned char *at = header + FIXED;
    if (version != 2 || command > PROXY)
        return refuse(why, "its PROXY header is of an unknown version or command");
    if (command == LOCAL)
        return CDT_PROXY_UNSAID;
    if (n < FIXED + size || (size > 0 && !check_tlvs(header, FIXED + size, n)))
        return refuse(why, "its PROXY header is malformed");
    if (size == INET_SIZE) {
        take_inet(at, source, to);
    } else if (size == INET6_SIZE) {
        take_inet6(at, source, to);
    } else if (size == UNIX_SIZE) {
        memcpy(path, at, UNIX_SIZE / 2);
        path[UNIX_SIZE / 2] = '\0';
        return CDT_PROXY_UNIX;
    }
    return size > 0 ? CDT_PROXY_INET : CDT_PROXY_UNSAID;
}

int cdt_proxy_read(const unsigned char *header, size_t n, union cdt_address *source,
                   union cdt_address *to,
                   char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1], const char **why)
{
    if (header[0] == (unsigned char)word[0])
        return read_v1(header, n, source, to, why);
    return read_v2(header, n, source, to, path, why);
}

/* ---- printing ---- */

static size_t print_v1(const union cdt_address *source, const union cdt_address *to, int family,
                       char *line)
{
    char from_host[INET6_ADDRSTRLEN], to_host[INET6_ADDRSTRLEN];
    if (family == AF_UNSPEC)
        return (size_t)snprintf(line, CDT_PROXY_PRINT_MAX, "PROXY UNKNOWN\r\n");
    bool inet = family == AF_INET;
    inet_ntop(family, inet ? (const void *)&source->in.sin_addr : &source->in6.sin6_addr, from_host,
              sizeof(from_host));
    inet_ntop(family, inet ? (const void *)&to->in.sin_addr : &to->in6.sin6_addr, to_host,
              sizeof(to_host));
    return (size_t)snprintf(line, CDT_PROXY_PRINT_MAX, "PROXY TCP%d %s %s %u %u\r\n", inet ? 4 : 6,
                            from_host, to_host, ntohs(source->in.sin_port), ntohs(to->in.sin_port));
}

static size_t print_v2(const union cdt_address *source, const union cdt_address *to, int family,
                       unsigned char *header)
{
    unsigned char *at = header + FIXED;
    size_t size = 0;
    memcpy(header, signature, sizeof(signature));
    header[12] = 2 << 4 | PROXY;
    header[13] = 0;
    if (family == AF_INET) {
        header[13] = OF_INET << 4 | STREAM;
        size = INET_SIZE;
        memcpy(at, &source->in.sin_addr, 4);
        memcpy(at + 4, &to->in.sin_addr, 4);
    } else if (family == AF_INET6) {
        header[13] = OF_INET6 << 4 | STREAM;
        size = INET6_SIZE;
        memcpy(at, &source->in6.sin6_addr, 16);
        memcpy(at + 16, &to->in6.sin6_addr, 16);
    }
    if (size > 0) {
        memcpy(at + size - 4, &source->in.sin_port, 2);
        memcpy(at + size - 2, &to->in.sin_port, 2);
    }
    header[14] = 0;
    header[15] = (unsigned char)size;
    return FIXED + size;
}

/* The port is at the same place in both families' addresses (RFC 3493). */
size_t cdt_proxy_print(int version, const union cdt_address *source, const union cdt_address *to,
                       unsigned char header[CDT_PROXY_PRINT_MAX])
{
    int family = source != NULL && to != NULL ? source->any.sa_family : AF_UNSPEC;
    if (family != AF_UNSPEC &&
        (family != to->any.sa_family || (family != AF_INET && family != AF_INET6)))
        family = AF_UNSPEC;
    return version == 1 ? print_v1(source, to, family, (char *)header)
                        : print_v2(source, to, family, header);
}
