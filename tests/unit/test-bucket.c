/* SPDX-License-Identifier: ISC */
/* The token buckets of examples/entropyd, under a clock of their own. */
#include "bucket.h"
#include "support.h"
#include <stdio.h>
#include <string.h>

static struct buckets buckets;

static void begin(double rate, size_t burst)
{
    buckets = (struct buckets){.rate = rate, .burst = burst};
}

/* All that there is. */
static size_t drink(const char *name, uint64_t now_ms)
{
    struct bucket *bucket = bucket_of(&buckets, name, now_ms);
    cr_assert_not_null(bucket);
    size_t n = bucket_level(&buckets, bucket, now_ms);
    bucket_take(bucket, n);
    return n;
}

CDT_TEST(bucket, it_begins_full_and_fills_at_the_rate)
{
    begin(10, 64);
    cr_expect_eq(drink("a", 1000), 64);
    cr_expect_eq(drink("a", 1000), 0);
    cr_expect_eq(drink("a", 2000), 10);
    cr_expect_eq(drink("a", 2050), 0);
    cr_expect_eq(drink("a", 2100), 1, "what is less than a byte is not lost");
    cr_expect_eq(drink("a", 3600000), 64, "and never more than the burst");
}

CDT_TEST(bucket, over_an_hour_it_gives_the_burst_and_the_rate)
{
    size_t sum = 0;
    begin(1024.0 / 60, 64);
    for (uint64_t ms = 0; ms <= 3600000; ms += 7)
        sum += drink("a", ms);
    cr_expect_geq(sum, 64 + 61440 - 1);
    cr_expect_leq(sum, 64 + 61440);
}

CDT_TEST(bucket, each_has_its_own)
{
    begin(10, 64);
    cr_expect_eq(drink("a", 0), 64);
    cr_expect_eq(drink("b", 0), 64);
    cr_expect_eq(drink("a", 0), 0);
}

CDT_TEST(bucket, who_waits_as_long_as_it_is_told_finds_it_there)
{
    begin(7, 64);
    drink("a", 0);
    struct bucket *bucket = bucket_of(&buckets, "a", 0);
    uint64_t wait_ms = bucket_wait(&buckets, bucket, 16);
    cr_expect_geq(bucket_level(&buckets, bucket, wait_ms), 16);
    cr_expect_eq(bucket_wait(&buckets, bucket, 16), 1, "it is there");
    begin(7, 64);
    drink("a", 0);
    bucket = bucket_of(&buckets, "a", 0);
    cr_expect_lt(bucket_level(&buckets, bucket, wait_ms - 2), 16, "and not much sooner");
}

/* More milliseconds than a number holds are not none. */
CDT_TEST(bucket, who_would_wait_for_ever_looks_again_once_a_day)
{
    begin(1e-300, 64);
    drink("a", 0);
    cr_expect_eq(bucket_wait(&buckets, bucket_of(&buckets, "a", 0), 16), BUCKET_WAIT_MS);
}

static void drain_all(uint64_t now_ms)
{
    char name[32];
    for (int i = 0; i < BUCKETS_MOST; i++) {
        snprintf(name, sizeof(name), "%d", i);
        cr_assert_eq(drink(name, now_ms), 64);
    }
}

CDT_TEST(bucket, there_is_room_for_one_more_and_it_is_the_fullests)
{
    begin(1, 64);
    drain_all(0);
    bucket_of(&buckets, "7", 0)->bytes = 5;
    cr_expect_eq(drink("one more", 0), 64, "nobody is turned away");
    cr_expect_eq(buckets.n, BUCKETS_MOST);
    cr_expect_eq(drink("6", 1000), 1, "others are as before");
    cr_expect_eq(drink("one more", 1000), 1);
    cr_expect_eq(drink("7", 1000), 64, "the one that was forgotten is new");
}

CDT_TEST(bucket, what_is_full_again_goes_before_what_is_not)
{
    begin(1, 64);
    drain_all(0);
    cr_expect_eq(drink("0", 63000), 63);
    for (int i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof(name), "new %d", i);
        cr_expect_eq(drink(name, 64000), 64);
    }
    cr_expect_eq(drink("0", 64000), 1, "it neither was forgotten nor filled");
}
