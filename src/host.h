/* SPDX-License-Identifier: ISC */
/*
 * Hosts as keys: the one spelling by which a host that a program writes down is found again when a
 * URI has it.
 */
#ifndef CDT_HOST_H
#define CDT_HOST_H

#include <conduit/error.h>
#include <stdbool.h>

enum { CDT_HOST_SIZE = 256 };

/* The key of `host`, of conduit_uri_host(): without the final dot. False if it is too long for
 * one. */
bool cdt_host_key(const char *host, char key[CDT_HOST_SIZE]);
/* The key of a name or an address that is not from a URI: any case, brackets or none. 0,
 * CONDUIT_EINVAL if it is neither, or CONDUIT_ENOMEM. */
int cdt_host_read(const char *text, char key[CDT_HOST_SIZE]);
/* Is the key an address, and not a name? */
bool cdt_host_is_address(const char *key);
/* Is `host` a domain of this machine, "www.xen"? It means nothing to anybody else. */
bool cdt_host_is_domain(const char *host);

#endif
