/* SPDX-License-Identifier: ISC */
/* Networks: "10.0.0.0/8", "2001:db8::/32", or one address; and whether an address is in one. */
#ifndef CDT_NET_H
#define CDT_NET_H

#include <netinet/in.h>
#include <stdbool.h>

struct cdt_net {
    int family;
    unsigned bits;
    unsigned char address[16];
};

/* False if `text` is neither a network nor an address (which may wear brackets). */
bool cdt_net_read(struct cdt_net *net, const char *text);
/* An IPv4 address that is mapped into IPv6 is an IPv4 address. Other families are in none. */
bool cdt_net_has(const struct cdt_net *net, const struct sockaddr *address);

#endif
