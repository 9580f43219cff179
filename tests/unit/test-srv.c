/* SPDX-License-Identifier: ISC */
/* The order of SRV records (RFC 2782): its rules as rows, its chances by counting. */
#include "../../resolvers/srv.h"
#include "support.h"
#include <stdio.h>

/* A linear congruential generator, always the same. */
static uint32_t draw(void *user, uint32_t bound)
{
    uint64_t *state = user;
    cr_assert_gt(bound, 0);
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)((*state >> 32) * bound >> 32);
}

static uint32_t first(void *user, uint32_t bound)
{
    cr_assert_gt(bound, 0);
    return 0;
}

static uint32_t last(void *user, uint32_t bound)
{
    cr_assert_gt(bound, 0);
    return bound - 1;
}

static size_t order(struct cdt_srv *list, size_t n, cdt_random_fn random, char *text)
{
    size_t n_usable = cdt_srv_order(list, n, random, NULL);
    for (size_t i = 0; i < n_usable; i++)
        text[i] = list[i].target[0];
    text[n_usable] = '\0';
    return n_usable;
}

CDT_TEST(srv, priorities_ascend_whatever_the_weights)
{
    char text[8];
    for (int i = 0; i < 2; i++) {
        struct cdt_srv list[] = {
            {30, 60000, 1, "c"}, {10, 0, 1, "a"}, {20, 1, 1, "b"}, {65535, 65535, 1, "d"}};
        cr_expect_eq(order(list, 4, i == 0 ? first : last, text), 4);
        cr_expect_str_eq(text, "abcd");
    }
}

CDT_TEST(srv, a_draw_decides_within_a_priority)
{
    char text[8];
    struct cdt_srv low[] = {{1, 1, 1, "a"}, {1, 2, 1, "b"}, {1, 0, 1, "z"}};
    order(low, 3, first, text);
    cr_expect_str_eq(text, "abz");
    struct cdt_srv high[] = {{1, 1, 1, "a"}, {1, 2, 1, "b"}, {1, 0, 1, "z"}};
    order(high, 3, last, text);
    cr_expect_str_eq(text, "zab");
}

CDT_TEST(srv, the_root_says_that_there_is_no_such_service)
{
    char text[8];
    struct cdt_srv none[] = {{0, 0, 0, ""}};
    cr_expect_eq(order(none, 1, first, text), 0);
    struct cdt_srv some[] = {{0, 0, 0, ""}, {1, 0, 1, "a"}};
    cr_expect_eq(order(some, 2, first, text), 1);
    cr_expect_str_eq(text, "a");
    cr_expect_eq(order(NULL, 0, first, text), 0);
}

CDT_TEST(srv, the_greatest_weights_fit)
{
    struct cdt_srv list[64];
    uint64_t state = 1;
    for (int i = 0; i < 64; i++)
        list[i] = (struct cdt_srv){0, UINT16_MAX, 1, "a"};
    cr_expect_eq(cdt_srv_order(list, 64, draw, &state), 64);
}

enum { DRAWS = 100000, MOST = 4 };

/* How often each of `n` weights comes first, against how often it should: chi squared. */
static double first_chi(const uint16_t *weights, size_t n, const double *shares)
{
    int counts[MOST] = {0};
    uint64_t state = 42;
    double chi = 0;
    for (int i = 0; i < DRAWS; i++) {
        struct cdt_srv list[MOST];
        for (size_t at = 0; at < n; at++)
            list[at] = (struct cdt_srv){1, weights[at], (uint16_t)at, "a"};
        cdt_srv_order(list, n, draw, &state);
        counts[list[0].port]++;
    }
    for (size_t i = 0; i < n; i++) {
        double expected = DRAWS * shares[i];
        chi += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    return chi;
}

/* Above 16.3 once in a thousand times with 3 degrees of freedom. */
CDT_TEST(srv, the_first_is_drawn_by_weight)
{
    static const struct {
        uint16_t weights[MOST];
        size_t n;
        double shares[MOST];
    } rows[] = {
        {{1, 1}, 2, {0.5, 0.5}},
        {{1, 3}, 2, {0.25, 0.75}},
        {{10, 20, 30, 40}, 4, {0.1, 0.2, 0.3, 0.4}},
        {{40, 30, 20, 10}, 4, {0.4, 0.3, 0.2, 0.1}},
        {{65535, 1, 65535, 1}, 4, {65535 / 131072.0, 1 / 131072.0, 65535 / 131072.0, 1 / 131072.0}},
        {{0, 0, 0}, 3, {1 / 3.0, 1 / 3.0, 1 / 3.0}},
        {{0, 99}, 2, {0.01, 0.99}},
        {{0, 9, 0, 90}, 4, {0.005, 0.09, 0.005, 0.9}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        double chi = first_chi(rows[i].weights, rows[i].n, rows[i].shares);
        cr_expect_lt(chi, 16.3, "row %zu: chi squared is %f", i, chi);
    }
}

CDT_TEST(srv, so_is_the_second_of_those_that_are_left)
{
    int counts[3][3] = {{0}};
    uint64_t state = 7;
    double chi = 0;
    for (int i = 0; i < DRAWS; i++) {
        struct cdt_srv list[] = {{1, 1, 0, "a"}, {1, 2, 1, "b"}, {1, 3, 2, "c"}};
        cdt_srv_order(list, 3, draw, &state);
        counts[list[0].port][list[1].port]++;
    }
    for (int a = 0; a < 3; a++)
        for (int b = 0; b < 3; b++) {
            double expected = DRAWS * ((a + 1) / 6.0) * ((b + 1) / (5.0 - a));
            chi += a == b ? 0 : (counts[a][b] - expected) * (counts[a][b] - expected) / expected;
        }
    cr_expect_lt(chi, 20.5, "chi squared is %f", chi);
}

CDT_TEST(srv, names)
{
    static const struct {
        const char *text, *name; /* NULL: none */
    } rows[] = {
        {"Example.ORG", "example.org"},
        {"example.org.", "example.org"},
        {"_sip._tcp.example.org", "_sip._tcp.example.org"},
        {".", ""},
        {"", ""},
        {"a\\.b.example", NULL},
        {"a\\000b.example", NULL},
    };
    char name[CDT_NAME_SIZE], longest[CDT_NAME_SIZE + 2];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_eq(cdt_dns_name(rows[i].text, name), rows[i].name != NULL, "%s", rows[i].text);
        if (rows[i].name != NULL)
            cr_expect_str_eq(name, rows[i].name);
    }
    for (size_t n = CDT_NAME_SIZE - 2; n < sizeof(longest); n++) {
        memset(longest, 'a', n);
        longest[n] = '\0';
        cr_expect_eq(cdt_dns_name(longest, name), n < CDT_NAME_SIZE, "%zu bytes", n);
    }
}
