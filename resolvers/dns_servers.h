/* SPDX-License-Identifier: ISC */
/*
 * The name servers of the option dns_servers, as every version of c-ares reads them; and what
 * resolv.conf says of its own that c-ares does not tell.
 */
#ifndef CDT_DNS_SERVERS_H
#define CDT_DNS_SERVERS_H

#include <stdbool.h>

/* Read "192.0.2.1,[2001:db8::1]:5353": *ret is the same list with every port, to be freed. 0, or
 * CONDUIT_EINVAL, CONDUIT_ENOMEM. */
int cdt_dns_servers_read(const char *text, char **ret);

/* Does the file, in the form of resolv.conf(5), say "options trust-ad": that its servers check
 * DNSSEC, and that nobody is between them and us? */
bool cdt_dns_servers_vouch(const char *file);

#endif
