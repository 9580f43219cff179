/* SPDX-License-Identifier: ISC */
/*
 * Endpoints of numeric addresses, made once: a host that is asked for again is mostly where it was,
 * and an endpoint is a constant value that can be shared.
 *
 * A table of a fixed size in which the newer takes the place of the older. Nothing in it can become
 * wrong: what is found by transport and address is what would be made of them. An address with a
 * zone is made anew each time, for interfaces change their names.
 */
#ifndef CDT_PLACES_H
#define CDT_PLACES_H

#include "endpoint.h"

enum { CDT_PLACES_KNOWN = 64 };

struct cdt_places {
    const conduit_endpoint *known[CDT_PLACES_KNOWN];
};

/* The endpoint of an IPv4 or IPv6 address without parameters: a reference; NULL when out of
 * memory. */
const conduit_endpoint *cdt_places_get(struct cdt_places *places,
                                       const struct cdt_transport *transport,
                                       const struct sockaddr *address);
void cdt_places_clear(struct cdt_places *places);

#endif
