/* SPDX-License-Identifier: ISC */
/*
 * The order in which to try the addresses of a name: RFC 6724, section 6, over both families
 * together.
 *
 * Pure: what the rules need to know of this machine, the source address that it would use for each
 * destination, is asked of the caller's function. cdt_source_of_kernel() is the real one. That IPv4
 * and IPv6 then take turns is not decided here but in race.h.
 */
#ifndef CDT_ORDER_H
#define CDT_ORDER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The address that a connection to some destination would come from. */
struct cdt_source {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address;
    bool deprecated;   /* its preferred lifetime is over (RFC 4862) */
    bool home;         /* a home address of mobile IP */
    bool encapsulated; /* on a tunnel's interface */
};

/* Fill in the source for `to`; false if there is no way there. */
typedef bool (*cdt_source_fn)(void *user, const struct sockaddr *to, struct cdt_source *ret);

enum { CDT_ORDER_MOST = 256 };

/*
 * Put the numbers of the `n` destinations (CDT_ORDER_MOST at most) into `best_first`; equals keep
 * their order. What is of neither family needs no source and comes after those that are. Returns
 * how many can be reached: they come before those that cannot.
 */
int cdt_order(int *best_first, const struct sockaddr *const *to, int n, cdt_source_fn source_of,
              void *user);

/* Why is `second` tried after `first`? The rule, in words; NULL if by the rules it comes before. */
const char *cdt_order_reason(const struct sockaddr *first, const struct sockaddr *second,
                             cdt_source_fn source_of, void *user);

/* What the kernel would do, without a packet being sent. No `user`. */
bool cdt_source_of_kernel(void *user, const struct sockaddr *to, struct cdt_source *ret);

enum { CDT_SOURCES_KNOWN = 32 };

/* What the kernel said within the last second. Zero is empty. */
struct cdt_sources {
    struct cdt_known_source {
        union {
            struct sockaddr any;
            struct sockaddr_in in;
            struct sockaddr_in6 in6;
        } to;
        struct cdt_source source;
        bool found;
        uint64_t until_ns;
    } known[CDT_SOURCES_KNOWN];
    size_t next; /* to be replaced */
};

/* cdt_source_of_kernel(), asked once a second; `sources` is a struct cdt_sources. A name that is
 * looked up a thousand times need not make four system calls for each of its addresses. */
bool cdt_source_known(void *sources, const struct sockaddr *to, struct cdt_source *ret);

#endif
