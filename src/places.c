/* SPDX-License-Identifier: ISC */
/* Endpoints that were made before: places.h says which. */
#include "places.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static size_t size_of(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                          : sizeof(struct sockaddr_in);
}

/* Any will do: two that meet here are slow, and no more than that. The top bits are those that all
 * others have been carried to: neighbours differ in their last byte, which is the word's
 * highest. */
static size_t index_of(const struct sockaddr *address)
{
    uint32_t sum = 0, words[sizeof(struct sockaddr_in6) / sizeof(uint32_t)];
    size_t n = size_of(address) / sizeof(uint32_t);
    memcpy(words, address, n * sizeof(uint32_t));
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ words[i]) * 0x9e3779b1;
    return (size_t)((uint64_t)sum * CDT_PLACES_KNOWN >> 32);
}

static bool has_zone(const struct sockaddr *address)
{
    struct sockaddr_in6 in6;
    if (address->sa_family != AF_INET6)
        return false;
    memcpy(&in6, address, sizeof(in6));
    return in6.sin6_scope_id != 0;
}

static bool is_of(const conduit_endpoint *endpoint, const struct cdt_transport *transport,
                  const struct sockaddr *address)
{
    return endpoint != NULL && endpoint->transport == transport &&
           memcmp(&endpoint->address, address, size_of(address)) == 0;
}

const conduit_endpoint *cdt_places_get(struct cdt_places *places,
                                       const struct cdt_transport *transport,
                                       const struct sockaddr *address)
{
    if (has_zone(address))
        return cdt_endpoint_transport(transport, address, NULL, NULL);
    const conduit_endpoint **known = &places->known[index_of(address)];
    if (!is_of(*known, transport, address)) {
        conduit_endpoint_unref(*known);
        *known = cdt_endpoint_transport(transport, address, NULL, NULL);
    }
    return conduit_endpoint_ref(*known);
}

void cdt_places_clear(struct cdt_places *places)
{
    for (size_t i = 0; i < CDT_PLACES_KNOWN; i++)
        conduit_endpoint_unref(places->known[i]);
    *places = (struct cdt_places){0};
}
