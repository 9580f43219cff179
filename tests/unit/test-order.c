/* SPDX-License-Identifier: ISC */
/*
 * The order of destinations, on machines that do not exist: each row is a machine's answer to "from
 * which address would you go there?", and the order that follows. Rows are tried as they stand and
 * the other way round, for an order that depends on what it was given is none.
 */
#include "order.h"
#include "support.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 4 };

/* "ADDRESS from ADDRESS", and of the source: "deprecated", "home", "tunnel". */
struct row {
    const char *says;
    const char *best_first[MOST];
};

static struct sockaddr_storage read_address(const char *text)
{
    struct sockaddr_storage at = {0};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    struct sockaddr_in in = {.sin_family = AF_INET};
    if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
        memcpy(&at, &in6, sizeof(in6));
    else if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        memcpy(&at, &in, sizeof(in));
    else
        cr_assert(strcmp(text, "elsewhere") == 0, "%s is no address", text);
    return at;
}

struct way {
    struct sockaddr_storage to;
    struct cdt_source source;
    bool exists;
};

static void read_way(struct way *way, const char *text)
{
    char to[64] = "", from[64] = "", kind[16] = "";
    int n = sscanf(text, "%63s from %63s %15s", to, from, kind);
    way->to = read_address(to);
    way->exists = n >= 2;
    if (!way->exists)
        return;
    struct sockaddr_storage source = read_address(from);
    memcpy(&way->source.address, &source, sizeof(way->source.address));
    way->source.deprecated = strcmp(kind, "deprecated") == 0;
    way->source.home = strcmp(kind, "home") == 0;
    way->source.encapsulated = strcmp(kind, "tunnel") == 0;
}

/* The destinations are the first members of their ways. */
static bool source_of(void *user, const struct sockaddr *to, struct cdt_source *ret)
{
    const struct way *way = (const void *)to;
    *ret = way->source;
    return way->exists;
}

static int count(const struct row *row)
{
    int n = 0;
    while (n < MOST && row->best_first[n] != NULL)
        n++;
    return n;
}

static void check(const struct row *row, bool backwards)
{
    struct way ways[MOST] = {0};
    const struct sockaddr *to[MOST];
    int order[MOST], n = count(row), n_usable = 0;
    for (int i = 0; i < n; i++) {
        read_way(&ways[i], row->best_first[i]);
        n_usable += ways[i].exists || ways[i].to.ss_family == AF_UNSPEC;
        to[backwards ? n - 1 - i : i] = (const struct sockaddr *)&ways[i].to;
    }
    cr_expect_eq(cdt_order(order, to, n, source_of, NULL), n_usable, "%s", row->says);
    for (int i = 0; i < n; i++)
        cr_expect_eq(order[i], backwards ? n - 1 - i : i, "%s: %s is not number %d%s", row->says,
                     row->best_first[i], i + 1, backwards ? " (given backwards)" : "");
}

/* Whoever is behind is so for a reason, and the other way round there is none. */
static void check_reasons(const struct row *row)
{
    for (int i = 1; i < count(row); i++) {
        struct way better, worse;
        read_way(&better, row->best_first[i - 1]);
        read_way(&worse, row->best_first[i]);
        const struct sockaddr *a = (const void *)&better, *b = (const void *)&worse;
        const char *reason = cdt_order_reason(a, b, source_of, NULL);
        cr_assert_not_null(reason, "%s", row->says);
        if (row->says[1] == ':') /* it is named after the rule */
            cr_expect_eq(reason[strlen("rule ")], row->says[0], "%s: %s", row->says, reason);
        cr_expect_null(cdt_order_reason(b, a, source_of, NULL), "%s", row->says);
    }
}

static void check_all(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        check(&rows[i], false);
        check(&rows[i], true);
        check_reasons(&rows[i]);
    }
}

#define CHECK_ALL(rows) check_all(rows, sizeof(rows) / sizeof((rows)[0]))

CDT_TEST(order, the_examples_of_rfc_6724_section_10_2)
{
    static const struct row rows[] = {
        {"prefer matching scope",
         {"2001:db8:1::1 from 2001:db8:1::2", "198.51.100.121 from 169.254.13.78"}},
        {"prefer matching scope",
         {"198.51.100.121 from 198.51.100.117", "2001:db8:1::1 from fe80::1"}},
        {"prefer higher precedence",
         {"2001:db8:1::1 from 2001:db8:1::2", "10.1.2.3 from 10.1.2.4"}},
        {"prefer smaller scope", {"fe80::1 from fe80::2", "2001:db8:1::1 from 2001:db8:1::2"}},
        {"prefer home address", {"2001:db8:1::1 from 2001:db8:3::1 home", "fe80::1 from fe80::2"}},
        {"avoid deprecated addresses",
         {"2001:db8:1::1 from 2001:db8:1::2", "fe80::1 from fe80::2 deprecated"}},
        {"longest matching prefix",
         {"2001:db8:1::1 from 2001:db8:1::2", "2001:db8:3ffe::1 from 2001:db8:3f44::2"}},
        {"prefer matching label",
         {"2002:c633:6401::1 from 2002:c633:6401::2", "2001:db8:1::1 from 2002:c633:6401::2"}},
        {"prefer higher precedence",
         {"2001:db8:1::1 from 2001:db8:1::2", "2002:c633:6401::1 from 2002:c633:6401::2"}},
    };
    CHECK_ALL(rows);
}

CDT_TEST(order, each_rule_decides_what_those_before_it_leave_open)
{
    static const struct row rows[] = {
        {"1: no way", {"2002:c633:6401::1 from fe80::1 deprecated", "2001:db8::1"}},
        {"2: scope over deprecation",
         {"2001:db8::1 from 2001:db8::2 deprecated", "2001:db8:1::1 from fe80::1"}},
        {"3: deprecation over home",
         {"2001:db8::1 from 2001:db8::2", "2001:db8::1 from 2001:db8::3 deprecated"}},
        {"4: home over label",
         {"2001:db8::1 from 2002:c633:6401::2 home", "2001:db8:1::1 from 2001:db8:1::2"}},
        {"5: label over precedence",
         {"192.0.2.1 from 192.0.2.2", "2001:db8::1 from 2002:c633:6401::2"}},
        {"6: precedence over tunnels",
         {"2001:db8::1 from 2001:db8::2 tunnel", "192.0.2.1 from 192.0.2.2"}},
        {"7: native over scope", {"2001:db8::1 from 2001:db8::2", "fe80::1 from fe80::2 tunnel"}},
        {"8: scope over prefix", {"fe80::1 from fe80:1::2", "2001:db8::1 from 2001:db8::2"}},
        {"9: prefix", {"2001:db8::1 from 2001:db8::2", "2001:db8:1::1 from 2001:db8::2"}},
    };
    CHECK_ALL(rows);
}

CDT_TEST(order, the_policy_table)
{
    static const struct row rows[] = {
        {"loopback, native, IPv4",
         {"::1 from ::1", "2001:db8::1 from 2001:db8::2", "127.0.0.1 from 127.0.0.1"}},
        {"native, IPv4, 6to4, Teredo",
         {"2001:db8::1 from 2001:db8::2", "192.0.2.1 from 192.0.2.2",
          "2002:c000:201::1 from 2002:c000:201::2", "2001:0:c000:201::1 from 2001:0:c000:201::2"}},
        {"IPv4, Teredo, ULA, site-local",
         {"192.0.2.1 from 192.0.2.2", "2001:0:1::1 from 2001:0:1::2", "fd00::1 from fd00::2",
          "fec0::1 from fec0::2"}},
        {"a ULA is not for a source elsewhere",
         {"192.0.2.1 from 192.0.2.2", "fd00::1 from 2001:db8::2"}},
        {"a ULA from a ULA over native from a ULA",
         {"fd00::1 from fd00::2", "2001:db8::1 from fd00::2"}},
        {"IPv4-mapped is IPv4",
         {"2001:db8::1 from 2001:db8::2", "::ffff:192.0.2.1 from ::ffff:192.0.2.2",
          "2002:c000:201::1 from 2002:c000:201::2"}},
        {"the IPv4-compatible and the 6bone come last",
         {"fd00::1 from fd00::2", "::192.0.2.1 from ::192.0.2.2"}},
        {"the 6bone", {"fd00::1 from fd00::2", "3ffe::1 from 3ffe::2"}},
    };
    CHECK_ALL(rows);
}

CDT_TEST(order, scopes)
{
    static const struct row rows[] = {
        {"link-local IPv4 is smaller",
         {"169.254.1.1 from 169.254.1.2", "192.0.2.1 from 192.0.2.2"}},
        {"loopback is link-local", {"127.0.0.1 from 127.0.0.1", "10.0.0.1 from 10.0.0.2"}},
        {"private IPv4 is global", {"10.0.0.1 from 192.0.2.2", "192.0.2.1 from 169.254.1.2"}},
        {"multicast says its own", {"ff02::1 from fe80::1", "ff0e::1 from 2001:db8::1"}},
    };
    CHECK_ALL(rows);
}

static const char *const equals[][MOST] = {
    {"192.0.2.1 from 192.0.2.9", "203.0.113.1 from 192.0.2.9", "198.51.100.1 from 192.0.2.9",
     "192.0.2.8 from 192.0.2.9"},
    {"2001:db8::1 from 2001:db8::9", "2001:db8::ffff:1 from 2001:db8::9",
     "2001:db8::9 from 2001:db8::9", "2001:db8::2 from 2001:db8::9"},
    {"192.0.2.1", "2001:db8::1", "198.51.100.1", "2001:db8::2"},
    {"elsewhere", "elsewhere", "elsewhere", "elsewhere"},
};

CDT_TEST(order, equals_stay_as_they_came)
{
    for (size_t i = 0; i < sizeof(equals) / sizeof(equals[0]); i++) {
        struct way ways[MOST] = {0};
        const struct sockaddr *to[MOST];
        int order[MOST];
        for (int at = 0; at < MOST; at++) {
            read_way(&ways[at], equals[i][at]);
            to[at] = (const struct sockaddr *)&ways[at].to;
        }
        cdt_order(order, to, MOST, source_of, NULL);
        for (int at = 0; at < MOST; at++)
            cr_expect_eq(order[at], at, "row %zu", i);
    }
}

CDT_TEST(order, what_has_no_address_comes_after_what_has_and_before_the_unreachable)
{
    static const struct row rows[] = {
        {"in between", {"192.0.2.1 from 192.0.2.2", "elsewhere", "2001:db8::1"}},
    };
    CHECK_ALL(rows);
}

CDT_TEST(order, as_many_as_there_may_be)
{
    static struct way ways[CDT_ORDER_MOST];
    const struct sockaddr *to[CDT_ORDER_MOST];
    int order[CDT_ORDER_MOST];
    for (int i = 0; i < CDT_ORDER_MOST; i++) {
        read_way(&ways[i],
                 i % 2 == 0 ? "192.0.2.1 from 192.0.2.2" : "2001:db8::1 from 2001:db8::2");
        to[i] = (const struct sockaddr *)&ways[i].to;
    }
    cr_expect_eq(cdt_order(order, to, CDT_ORDER_MOST, source_of, NULL), CDT_ORDER_MOST);
    for (int i = 0; i < CDT_ORDER_MOST; i++)
        cr_expect_eq(order[i], i < CDT_ORDER_MOST / 2 ? 2 * i + 1 : 2 * (i - CDT_ORDER_MOST / 2));
    cr_expect_eq(cdt_order(order, to, 0, source_of, NULL), 0);
}

CDT_TEST(order, the_kernel_knows_its_loopback)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)};
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    struct cdt_source source;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to6.sin6_addr = in6addr_loopback;
    cr_assert(cdt_source_of_kernel(NULL, (const struct sockaddr *)&to, &source));
    cr_expect_eq(source.address.in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    if (!cdt_source_of_kernel(NULL, (const struct sockaddr *)&to6, &source))
        cr_skip("no IPv6 here");
    cr_expect(IN6_IS_ADDR_LOOPBACK(&source.address.in6.sin6_addr));
    cr_expect(!source.deprecated && !source.home && !source.encapsulated);
}

CDT_TEST(order, the_kernel_has_no_way_from_a_link_it_does_not_have)
{
    struct sockaddr_in6 to = {
        .sin6_family = AF_INET6, .sin6_port = htons(80), .sin6_scope_id = 0x7ffffff0};
    struct cdt_source source;
    inet_pton(AF_INET6, "fe80::1", &to.sin6_addr);
    cr_expect(!cdt_source_of_kernel(NULL, (const struct sockaddr *)&to, &source));
}

CDT_TEST(order, the_kernel_is_asked_once_a_second)
{
    struct cdt_sources sources = {0};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct cdt_source first, again;
    cr_assert(cdt_source_known(&sources, (const struct sockaddr *)&to, &first));
    cr_expect_eq(first.address.in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    sources.known[0].source.deprecated = true; /* what it would not say */
    to.sin_port = htons(80);
    cr_assert(cdt_source_known(&sources, (const struct sockaddr *)&to, &again));
    cr_expect(again.deprecated);
    sources.known[0].until_ns = 0;
    cr_assert(cdt_source_known(&sources, (const struct sockaddr *)&to, &again));
    cr_expect(!again.deprecated);
}

CDT_TEST(order, no_more_sources_are_remembered_than_there_is_room_for)
{
    struct cdt_sources sources = {0};
    for (unsigned i = 1; i <= 3 * CDT_SOURCES_KNOWN; i++) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(0x7f000000 + i)}};
        struct cdt_source source;
        cr_assert(cdt_source_known(&sources, (const struct sockaddr *)&to, &source));
        cr_expect_eq(source.address.any.sa_family, AF_INET);
    }
    cr_expect_eq(sources.next, 3 * CDT_SOURCES_KNOWN);
}
