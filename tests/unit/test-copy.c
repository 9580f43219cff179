/* SPDX-License-Identifier: ISC */
/* Which way a ring copies, by what copies of either way took; and that both copy the same. */
#include "support.h"
#include "transports/vchan/copy.h"
#include <stdlib.h>
#include <string.h>

enum { MANY = 100000, SIZE = 65536 };

/* How `n` copies were made. */
struct made {
    unsigned plainly, timed, against; /* the last: not in the way that is quicker */
};

/* Copies on a machine where each way takes so many ticks for a KiB; every tenth is disturbed. */
static struct made copy(struct cdt_copier *copier, unsigned n, uint64_t past, uint64_t plain)
{
    struct made made = {0};
    for (unsigned i = 0; i < n; i++) {
        struct cdt_copy_plan plan = cdt_copier_next(copier);
        made.plainly += plan.plainly;
        made.timed += plan.timed;
        made.against += plan.plainly != (plain < past);
        uint64_t ticks = (plan.plainly ? plain : past) * (SIZE / 1024);
        if (plan.timed)
            cdt_copier_note(copier, plan, SIZE, i % 10 == 0 ? 50 * ticks : ticks);
    }
    return made;
}

CDT_TEST(copy, between_far_processors_it_goes_past_the_caches)
{
    struct cdt_copier copier = {0};
    struct made made = copy(&copier, MANY, 80, 1100);
    cr_expect_lt(made.plainly, MANY / 200, "%u", made.plainly);
    cr_expect_lt(made.timed, MANY / 100, "%u", made.timed);
}

CDT_TEST(copy, between_neighbours_it_is_plain)
{
    struct cdt_copier copier = {0};
    copy(&copier, MANY, 98, 42);
    struct made made = copy(&copier, MANY, 98, 42);
    cr_expect_lt(made.against, MANY / 200, "%u", made.against);
}

CDT_TEST(copy, a_small_gain_is_not_worth_a_reader_that_fetches_from_memory)
{
    struct cdt_copier copier = {0};
    copy(&copier, MANY, 100, 120);
    cr_expect(copier.plainly);
}

CDT_TEST(copy, who_moves_to_another_processor_is_followed)
{
    struct cdt_copier copier = {0};
    copy(&copier, MANY, 98, 42);
    cr_expect(copier.plainly);
    copy(&copier, 5000, 80, 1100);
    cr_expect(!copier.plainly);
    copy(&copier, 5000, 98, 42);
    cr_expect(copier.plainly);
}

CDT_TEST(copy, a_clock_that_stands_still_or_leaps_breaks_nothing)
{
    struct cdt_copier copier = {0};
    copy(&copier, MANY, 0, 0);
    copy(&copier, MANY, UINT64_MAX / SIZE, 1);
    cr_expect(copier.plainly);
}

CDT_TEST(copy, every_length_and_alignment_arrives)
{
    static unsigned char from[3 * SIZE], to[3 * SIZE + 128];
    struct cdt_copier copier = {0};
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (unsigned char)(i * 7 + i / 251);
    for (unsigned i = 0; i < 6000; i++) {
        uint32_t n = i % 3 == 0 ? i % 200 : CDT_COPY_LARGE + i * 13 % 5000;
        size_t at = 64 + i % 64;
        memset(to, 0, n + 128 + 64);
        cdt_copy_to_peer(&copier, to + at, from + i, n);
        cr_assert_eq(memcmp(to + at, from + i, n), 0, "%u bytes at %zu", n, at);
        cr_assert(to[at - 1] == 0 && to[at + n] == 0, "beside %u bytes at %zu", n, at);
    }
}

CDT_TEST(copy, every_length_and_alignment_is_read)
{
    static unsigned char from[3 * SIZE], to[3 * SIZE + 128];
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (unsigned char)(i * 7 + i / 251);
    for (unsigned i = 0; i < 3000; i++) {
        uint32_t n = i % 3 == 0 ? i % 200 : CDT_COPY_PAGES - 100 + i * 97 % (5 * CDT_COPY_PAGE);
        size_t at = 64 + i % 64;
        memset(to, 0, n + 128 + 64);
        cdt_copy_from_peer(to + at, from + i, n);
        cr_assert_eq(memcmp(to + at, from + i, n), 0, "%u bytes at %zu", n, at);
        cr_assert(to[at - 1] == 0 && to[at + n] == 0, "beside %u bytes at %zu", n, at);
    }
}
