/* SPDX-License-Identifier: ISC */
/*
 * SOCKS 5 on the wire, from a client's side (RFC 1928, RFC 1929). Pure: no path, no memory.
 *
 * A server's answers are hostile input. For each kind there is a function that says how many bytes
 * more it has for certain, so that none is read that is not part of it: 0 when complete, -1 and
 * *why if it is none.
 */
#ifndef CDT_SOCKS5_WIRE_H
#define CDT_SOCKS5_WIRE_H

#include <conduit/error.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    CDT_SOCKS_NO_LOGIN = 0,
    CDT_SOCKS_PASSWORD = 2,
    CDT_SOCKS_REFUSED = 0xff,
    CDT_SOCKS_REQUEST_MAX = 4 + 1 + 255 + 2,
    CDT_SOCKS_REPLY_MAX = 4 + 1 + 255 + 2,
};

/* To the greeting: version and method. To a login: version and status. */
int cdt_socks_missing_method(const unsigned char *in, size_t n, const char **why);
int cdt_socks_missing_status(const unsigned char *in, size_t n, const char **why);
/* To the request: in[1] is the reply code. */
int cdt_socks_missing_reply(const unsigned char *in, size_t n, const char **why);

/* CONNECT to `host`, an address or a name of at most 255 bytes. Its length. */
size_t cdt_socks_request(const char *host, uint16_t port,
                         unsigned char request[CDT_SOCKS_REQUEST_MAX]);
/* What a reply code other than 0 means: our code, and words. */
int cdt_socks_code(unsigned reply, const char **text);

#endif
