/* SPDX-License-Identifier: ISC */
/* SOCKS 5 as bytes: socks5_wire.h. */
#include "socks5_wire.h"
#include <arpa/inet.h>
#include <string.h>

enum { VERSION = 5, LOGIN_VERSION = 1, CONNECT = 1, IPV4 = 1, NAME = 3, IPV6 = 4 };

static int missing_pair(const unsigned char *in, size_t n, unsigned version, const char **why)
{
    if (n > 0 && in[0] != version) {
        *why = "it does not speak SOCKS 5";
        return -1;
    }
    return (int)(2 - n);
}

int cdt_socks_missing_method(const unsigned char *in, size_t n, const char **why)
{
    return missing_pair(in, n, VERSION, why);
}

int cdt_socks_missing_status(const unsigned char *in, size_t n, const char **why)
{
    return missing_pair(in, n, LOGIN_VERSION, why);
}

/* Version, reply, reserved, type, address, port. The shortest has 8 bytes; a refusal may have any
 * address, and a server that is about to close need not send all of one. */
int cdt_socks_missing_reply(const unsigned char *in, size_t n, const char **why)
{
    if (n < 4)
        return n > 0 && in[0] != VERSION ? missing_pair(in, n, VERSION, why) : (int)(4 - n);
    if (in[0] != VERSION)
        return missing_pair(in, n, VERSION, why);
    if (in[1] != 0)
        return 0;
    if (in[3] == NAME && n == 4)
        return 1;
    size_t whole = 4 + 2;
    if (in[3] == IPV4) {
        whole += 4;
    } else if (in[3] == IPV6) {
        whole += 16;
    } else if (in[3] == NAME) {
        whole += 1 + (size_t)in[4];
    } else {
        *why = "its reply has an address of an unknown type";
        return -1;
    }
    return n < whole ? (int)(whole - n) : 0;
}

size_t cdt_socks_request(const char *host, uint16_t port,
                         unsigned char request[CDT_SOCKS_REQUEST_MAX])
{
    unsigned char *at = request;
    size_t n = strlen(host);
    *at++ = VERSION;
    *at++ = CONNECT;
    *at++ = 0;
    if (inet_pton(AF_INET, host, at + 1) == 1) {
        *at = IPV4;
        at += 1 + 4;
    } else if (inet_pton(AF_INET6, host, at + 1) == 1) {
        *at = IPV6;
        at += 1 + 16;
    } else {
        *at++ = NAME;
        *at++ = (unsigned char)n;
        memcpy(at, host, n);
        at += n;
    }
    *at++ = (unsigned char)(port >> 8);
    *at++ = (unsigned char)port;
    return (size_t)(at - request);
}

int cdt_socks_code(unsigned reply, const char **text)
{
    static const struct {
        int code;
        const char *text;
    } replies[] = {
        {CONDUIT_EIO, "an unknown reply"},
        {CONDUIT_EIO, "general failure"},
        {CONDUIT_EACCESS, "not allowed by its rules"},
        {CONDUIT_EUNREACH, "network unreachable"},
        {CONDUIT_EUNREACH, "host unreachable"},
        {CONDUIT_EREFUSED, "connection refused"},
        {CONDUIT_EUNREACH, "time to live expired"},
        {CONDUIT_ENOTSUP, "command not supported"},
        {CONDUIT_ENOTSUP, "address type not supported"},
    };
    size_t i = reply < sizeof(replies) / sizeof(replies[0]) ? reply : 0;
    *text = replies[i].text;
    return replies[i].code;
}
