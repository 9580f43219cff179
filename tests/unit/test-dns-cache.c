/* SPDX-License-Identifier: ISC */
/*
 * The cache of DNS answers, under a clock of its own: answers are made by hand, and found again or
 * not.
 */
#include "../../resolvers/dns_cache.h"
#include "support.h"
#include <conduit/memory.h>
#include <stdlib.h>

enum { MOST = 4, DAY_S = 86400 };

static const uint64_t start_ms = 5000;

static void put_type(struct cdt_dns_cache *cache, const char *name, enum cdt_dns_type type,
                     enum cdt_dns_status status, int32_t ttl)
{
    struct cdt_dns_answer *answer = calloc(1, sizeof(*answer) + strlen(name) + 1);
    answer->refs = 1;
    answer->type = type;
    answer->status = status;
    answer->ttl = ttl;
    answer->names[0] = strcpy((char *)(answer + 1), name);
    cdt_dns_cache_put(cache, answer, start_ms);
    cdt_dns_answer_unref(answer);
}

static void put(struct cdt_dns_cache *cache, const char *name, enum cdt_dns_status status,
                int32_t ttl)
{
    put_type(cache, name, CDT_DNS_A, status, ttl);
}

/* The seconds left, `after_s` after it was put; -1: it is not there. */
static int32_t get(struct cdt_dns_cache *cache, const char *name, uint64_t after_s)
{
    int32_t ttl = 0;
    const struct cdt_dns_answer *answer =
        cdt_dns_cache_get(cache, name, CDT_DNS_A, start_ms + after_s * 1000, &ttl);
    if (answer == NULL)
        return -1;
    cr_expect_str_eq(answer->names[0], name);
    cdt_dns_answer_unref(answer);
    return ttl;
}

CDT_TEST(cache, keeps_an_answer_for_as_long_as_it_says)
{
    struct cdt_dns_cache *cache = cdt_dns_cache_new(MOST);
    put(cache, "a.test", CDT_DNS_OK, 300);
    cr_expect_eq(get(cache, "a.test", 0), 300);
    cr_expect_eq(get(cache, "a.test", 299), 1);
    cr_expect_eq(get(cache, "a.test", 300), -1);
    cr_expect_eq(get(cache, "a.test", 0), -1, "it is gone for good");
    cr_expect_eq(get(cache, "b.test", 0), -1);
    cdt_dns_cache_free(cache);
}

CDT_TEST(cache, knows_one_type_from_another)
{
    struct cdt_dns_cache *cache = cdt_dns_cache_new(MOST);
    int32_t ttl;
    put(cache, "a.test", CDT_DNS_OK, 300);
    cr_expect_null(cdt_dns_cache_get(cache, "a.test", CDT_DNS_AAAA, start_ms, &ttl));
    put_type(cache, "a.test", CDT_DNS_AAAA, CDT_DNS_OK, 200);
    put_type(cache, "a.test", CDT_DNS_SRV, CDT_DNS_OK, 0);
    cr_expect_eq(get(cache, "a.test", 0), 300, "and leaves it");
    cr_expect_eq(get(cache, "a.test", 300), -1);
    cdt_dns_answer_unref(cdt_dns_cache_get(cache, "a.test", CDT_DNS_AAAA, start_ms, &ttl));
    cr_expect_eq(ttl, 200);
    cdt_dns_cache_free(cache);
}

CDT_TEST(cache, has_a_limit_for_what_is_and_one_for_what_is_not)
{
    struct cdt_dns_cache *cache = cdt_dns_cache_new(MOST);
    put(cache, "long.test", CDT_DNS_OK, INT32_MAX);
    put(cache, "none.test", CDT_DNS_NODATA, INT32_MAX);
    put(cache, "nx.test", CDT_DNS_NXDOMAIN, 30);
    cr_expect_eq(get(cache, "long.test", 0), DAY_S);
    cr_expect_eq(get(cache, "none.test", 0), 3600);
    cr_expect_eq(get(cache, "nx.test", 0), 30);
    cdt_dns_cache_free(cache);
}

CDT_TEST(cache, keeps_nothing_that_does_not_hold)
{
    struct cdt_dns_cache *cache = cdt_dns_cache_new(MOST);
    put(cache, "a.test", CDT_DNS_OK, 300);
    put(cache, "a.test", CDT_DNS_OK, 0);
    cr_expect_eq(get(cache, "a.test", 0), -1);
    put(cache, "fail.test", CDT_DNS_SERVFAIL, 300);
    put(cache, "bad.test", CDT_DNS_MALFORMED, 300);
    cr_expect_eq(get(cache, "fail.test", 0), -1);
    cr_expect_eq(get(cache, "bad.test", 0), -1);
    cdt_dns_cache_free(cache);
}

CDT_TEST(cache, lets_the_least_recently_used_go)
{
    struct cdt_dns_cache *cache = cdt_dns_cache_new(MOST);
    put(cache, "1.test", CDT_DNS_OK, 300);
    put(cache, "2.test", CDT_DNS_OK, 300);
    put(cache, "3.test", CDT_DNS_OK, 300);
    put(cache, "4.test", CDT_DNS_OK, 300);
    put(cache, "4.test", CDT_DNS_OK, 200);
    cr_expect_eq(get(cache, "1.test", 0), 300);
    put(cache, "5.test", CDT_DNS_OK, 300);
    cr_expect_eq(get(cache, "2.test", 0), -1);
    cr_expect_eq(get(cache, "1.test", 0), 300);
    cr_expect_eq(get(cache, "3.test", 0), 300);
    cr_expect_eq(get(cache, "4.test", 0), 200);
    cr_expect_eq(get(cache, "5.test", 0), 300);
    cdt_dns_cache_free(cache);
}

CDT_TEST(cache, leaves_an_answer_to_who_holds_it)
{
    struct cdt_dns_cache *cache = cdt_dns_cache_new(MOST);
    int32_t ttl;
    put(cache, "a.test", CDT_DNS_OK, 300);
    const struct cdt_dns_answer *answer =
        cdt_dns_cache_get(cache, "a.test", CDT_DNS_A, start_ms, &ttl);
    cdt_dns_cache_clear(cache);
    cr_expect_eq(get(cache, "a.test", 0), -1);
    cr_expect_str_eq(answer->names[0], "a.test");
    cdt_dns_answer_unref(answer);
    cdt_dns_cache_free(cache);
    cdt_dns_cache_free(NULL);
}
