/* SPDX-License-Identifier: ISC */
/*
 * RFC 6724, section 6: order.h says what it does.
 *
 * Each rule compares a figure of one destination with the same figure of the other, and the first
 * that differs decides. So the rules are a row of figures, computed once for each destination, and
 * the order is that of the rows. IPv4 is compared as IPv4-mapped IPv6 (section 3.2).
 */
#include "order.h"
#include <endian.h>
#include <stdint.h>
#include <string.h>

enum { SUBNET_BITS = 64 };

/* Rules 1 to 10. */
enum rule {
    UNREACHABLE,
    SCOPE_DIFFERS,
    DEPRECATED,
    NOT_HOME,
    LABEL_DIFFERS,
    PRECEDENCE,
    ENCAPSULATED,
    SCOPE,
    PREFIX,
    AS_IT_CAME,
    N_RULES
};

struct place {
    int number;
    int figures[N_RULES]; /* less is better */
};

/* ---- the default policy table (section 2.1), the longest prefix first */

/* An address as two numbers. */
struct halves {
    uint64_t high, low;
};

struct policy {
    struct halves prefix;
    int bits, precedence, label;
};

static const struct policy policies[] = {
    {{0, 1}, 128, 50, 0},                 /* ::1/128 */
    {{0, 0xffff00000000}, 96, 35, 4},     /* ::ffff:0:0/96 */
    {{0, 0}, 96, 1, 3},                   /* ::/96 */
    {{0x2001000000000000, 0}, 32, 5, 5},  /* 2001::/32, Teredo */
    {{0x2002000000000000, 0}, 16, 30, 2}, /* 2002::/16, 6to4 */
    {{0x3ffe000000000000, 0}, 16, 1, 12}, /* 3ffe::/16, 6bone */
    {{0xfec0000000000000, 0}, 10, 1, 11}, /* fec0::/10, site-local */
    {{0xfc00000000000000, 0}, 7, 3, 13},  /* fc00::/7, ULA */
    {{0, 0}, 0, 40, 1},                   /* ::/0 */
};

static struct halves halve(const struct in6_addr *address)
{
    uint64_t parts[2];
    memcpy(parts, address, sizeof(parts));
    return (struct halves){be64toh(parts[0]), be64toh(parts[1])};
}

static int common_bits(const uint8_t *a, const uint8_t *b, int most)
{
    int n = 0;
    while (n + 8 <= most && a[n / 8] == b[n / 8])
        n += 8;
    while (n < most && ((a[n / 8] ^ b[n / 8]) & (0x80 >> n % 8)) == 0)
        n++;
    return n;
}

static bool has_prefix(struct halves address, const struct policy *policy)
{
    if (policy->bits == 0)
        return true;
    if (policy->bits <= 64)
        return (address.high ^ policy->prefix.high) >> (64 - policy->bits) == 0;
    return address.high == policy->prefix.high &&
           (address.low ^ policy->prefix.low) >> (128 - policy->bits) == 0;
}

static const struct policy *policy_of(const struct in6_addr *address)
{
    const struct halves halves = halve(address);
    const struct policy *policy = policies;
    while (!has_prefix(halves, policy))
        policy++;
    return policy;
}

/* ---- scopes (section 3) */

enum { LINK_LOCAL = 2, SITE_LOCAL = 5, GLOBAL = 14 };

static int scope_of_ip4(const uint8_t *bytes)
{
    bool link_local = bytes[0] == 127 || (bytes[0] == 169 && bytes[1] == 254);
    return link_local ? LINK_LOCAL : GLOBAL;
}

static int scope_of(const struct in6_addr *address)
{
    if (IN6_IS_ADDR_V4MAPPED(address))
        return scope_of_ip4(address->s6_addr + 12);
    if (IN6_IS_ADDR_MULTICAST(address))
        return address->s6_addr[1] & 0x0f;
    if (IN6_IS_ADDR_LINKLOCAL(address) || IN6_IS_ADDR_LOOPBACK(address))
        return LINK_LOCAL;
    return IN6_IS_ADDR_SITELOCAL(address) ? SITE_LOCAL : GLOBAL;
}

/* ---- the rules */

static struct in6_addr as_ip6(const struct sockaddr *address)
{
    struct in6_addr mapped = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    struct sockaddr_in6 in6;
    struct sockaddr_in in;
    if (address->sa_family == AF_INET6) {
        memcpy(&in6, address, sizeof(in6));
        return in6.sin6_addr;
    }
    memcpy(&in, address, sizeof(in));
    memcpy(mapped.s6_addr + 12, &in.sin_addr, sizeof(in.sin_addr));
    return mapped;
}

/* The subnet is what there is to have in common (section 2.2). IPv4 is left as the name server had
 * it, which rule 9 allows: servers take turns there, and a common prefix says nothing. */
static int common_subnet_bits(const struct in6_addr *to, const struct in6_addr *from)
{
    if (IN6_IS_ADDR_V4MAPPED(to))
        return 0;
    return common_bits(to->s6_addr, from->s6_addr, SUBNET_BITS);
}

static void measure(struct place *place, const struct sockaddr *address,
                    const struct cdt_source *source)
{
    struct in6_addr to = as_ip6(address), from = as_ip6(&source->address.any);
    const struct policy *policy = policy_of(&to);
    int *figures = place->figures;
    figures[SCOPE_DIFFERS] = scope_of(&to) != scope_of(&from);
    figures[DEPRECATED] = source->deprecated;
    figures[NOT_HOME] = !source->home;
    figures[LABEL_DIFFERS] = policy->label != policy_of(&from)->label;
    figures[PRECEDENCE] = -policy->precedence;
    figures[ENCAPSULATED] = source->encapsulated;
    figures[SCOPE] = scope_of(&to);
    figures[PREFIX] = -common_subnet_bits(&to, &from);
}

static void place_one(struct place *place, const struct sockaddr *to, cdt_source_fn source_of,
                      void *user)
{
    struct cdt_source source = {0};
    if (to->sa_family != AF_INET && to->sa_family != AF_INET6)
        place->figures[SCOPE_DIFFERS] = 2;
    else if (source_of(user, to, &source))
        measure(place, to, &source);
    else
        place->figures[UNREACHABLE] = 1;
    place->figures[AS_IT_CAME] = place->number;
}

static bool is_better(const struct place *a, const struct place *b)
{
    for (int i = 0; i < N_RULES; i++)
        if (a->figures[i] != b->figures[i])
            return a->figures[i] < b->figures[i];
    return false;
}

/* Most hosts have two addresses: there is nothing to gain from a faster way. */
static void sort(struct place *places, int n)
{
    for (int i = 1; i < n; i++) {
        struct place place = places[i];
        int to = i;
        for (; to > 0 && is_better(&place, &places[to - 1]); to--)
            places[to] = places[to - 1];
        places[to] = place;
    }
}

int cdt_order(int *best_first, const struct sockaddr *const *to, int n, cdt_source_fn source_of,
              void *user)
{
    struct place places[CDT_ORDER_MOST];
    int n_usable = 0;
    for (int i = 0; i < n; i++) {
        places[i] = (struct place){.number = i};
        place_one(&places[i], to[i], source_of, user);
        n_usable += places[i].figures[UNREACHABLE] == 0;
    }
    sort(places, n);
    for (int i = 0; i < n; i++)
        best_first[i] = places[i].number;
    return n_usable;
}

const char *cdt_order_reason(const struct sockaddr *first, const struct sockaddr *second,
                             cdt_source_fn source_of, void *user)
{
    static const char *const reasons[N_RULES] = {
        [UNREACHABLE] = "rule 1: no way there",
        [SCOPE_DIFFERS] = "rule 2: our address has another scope",
        [DEPRECATED] = "rule 3: our address is deprecated",
        [NOT_HOME] = "rule 4: our address is not a home address",
        [LABEL_DIFFERS] = "rule 5: our address has another label",
        [PRECEDENCE] = "rule 6: lower precedence",
        [ENCAPSULATED] = "rule 7: through a tunnel",
        [SCOPE] = "rule 8: wider scope",
        [PREFIX] = "rule 9: less in common with our address",
        [AS_IT_CAME] = "rule 10: as it came",
    };
    struct place a = {.number = 0}, b = {.number = 1};
    place_one(&a, first, source_of, user);
    place_one(&b, second, source_of, user);
    for (int i = 0; i < N_RULES; i++)
        if (a.figures[i] != b.figures[i])
            return a.figures[i] < b.figures[i] ? reasons[i] : NULL;
    return NULL;
}
