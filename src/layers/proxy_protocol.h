/* SPDX-License-Identifier: ISC */
/*
 * The PROXY protocol on the wire, versions 1 and 2, both ways (haproxy's proxy-protocol.txt). Pure.
 *
 * A header is what a proxy says of a connection before its first byte: who its client is. That is
 * only worth something from a proxy that one knows; whether it is one is decided elsewhere.
 */
#ifndef CDT_PROXY_PROTOCOL_H
#define CDT_PROXY_PROTOCOL_H

#include "endpoint.h"
#include <sys/un.h>

enum {
    CDT_PROXY_V1_MAX = 107,
    CDT_PROXY_MAX = 4096, /* of a header that is read: room for more TLVs than anybody sends */
    CDT_PROXY_PRINT_MAX = 128,
};

/* How many bytes more the header has for certain, seeing its first `n`: 0 when it is complete, -1
 * and *why if it is none. */
int cdt_proxy_missing(const unsigned char *header, size_t n, const char **why);

enum cdt_proxy_peer {
    CDT_PROXY_UNSAID, /* the proxy speaks for itself (LOCAL), or does not say (UNKNOWN) */
    CDT_PROXY_INET,   /* *source and *to, of either family */
    CDT_PROXY_UNIX,   /* *path */
};

/* Who a complete header says that the client is. -1 and *why if it makes no sense; or enum
 * cdt_proxy_peer. `path` is "" for a nameless socket. */
int cdt_proxy_read(const unsigned char *header, size_t n, union cdt_address *source,
                   union cdt_address *to,
                   char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1], const char **why);

/* A header of version 1 or 2. Addresses that are not of one family, or NULL, are not said. Its
 * length. */
size_t cdt_proxy_print(int version, const union cdt_address *source, const union cdt_address *to,
                       unsigned char header[CDT_PROXY_PRINT_MAX]);

#endif
