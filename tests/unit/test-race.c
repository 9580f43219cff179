/* SPDX-License-Identifier: ISC */
/* Each rule of RFC 8305 as a few lines with a made-up clock. */
#include "race.h"
#include "support.h"
#include <sys/socket.h>

static struct cdt_race race;

static void expect_dial(uint64_t now_ms, int candidate)
{
    struct cdt_race_step step = cdt_race_next(&race, now_ms);
    cr_assert_eq(step.what, CDT_RACE_DIAL, "at %lu: not a dial but %d", (unsigned long)now_ms,
                 (int)step.what);
    cr_assert_eq(step.candidate, candidate, "at %lu: dialled %d, not %d", (unsigned long)now_ms,
                 step.candidate, candidate);
}

static void expect_wait(uint64_t now_ms, uint64_t until_ms)
{
    struct cdt_race_step step = cdt_race_next(&race, now_ms);
    cr_assert_eq(step.what, CDT_RACE_WAIT, "at %lu: not a wait", (unsigned long)now_ms);
    cr_assert_eq(step.until_ms, until_ms, "at %lu: waits until %lu, not %lu", (unsigned long)now_ms,
                 (unsigned long)step.until_ms, (unsigned long)until_ms);
}

/* All that have joined, the best first; the first `n_usable` of them can be reached. */
static void rank(const int *best_first, int n_usable)
{
    cdt_race_rank(&race, best_first, n_usable);
}

CDT_TEST(race, ipv6_starts_at_once)
{
    cdt_race_init(&race);
    cr_expect_eq(cdt_race_join(&race, AF_INET6, 1000), 0);
    expect_dial(1000, 0);
    expect_wait(1000, UINT64_MAX);
}

CDT_TEST(race, ipv4_alone_waits_50_ms_for_ipv6)
{
    cdt_race_init(&race);
    cdt_race_join(&race, AF_INET, 1000);
    expect_wait(1000, 1050);
    expect_wait(1049, 1050);
    expect_dial(1050, 0);
}

CDT_TEST(race, ipv6_that_answers_within_the_delay_goes_first)
{
    cdt_race_init(&race);
    cdt_race_join(&race, AF_INET, 1000);
    expect_wait(1000, 1050);
    cdt_race_join(&race, AF_INET6, 1030);
    rank((int[]){1, 0}, 2);
    expect_dial(1030, 1);
    expect_wait(1030, 1280);
    expect_dial(1280, 0);
}

CDT_TEST(race, ipv6_that_answers_within_the_delay_ends_it_even_if_ipv4_is_better)
{
    cdt_race_init(&race);
    cdt_race_join(&race, AF_INET, 1000);
    expect_wait(1000, 1050);
    cdt_race_join(&race, AF_INET6, 1030);
    rank((int[]){0, 1}, 2);
    expect_dial(1030, 0);
}

CDT_TEST(race, a_negative_answer_for_ipv6_ends_the_delay)
{
    cdt_race_init(&race);
    cdt_race_join(&race, AF_INET, 1000);
    cdt_race_settled(&race, AF_INET);
    expect_wait(1000, 1050);
    cdt_race_settled(&race, AF_INET6);
    expect_dial(1010, 0);
}

CDT_TEST(race, a_complete_answer_ends_the_delay)
{
    cdt_race_init(&race);
    cdt_race_join(&race, AF_INET, 1000);
    cdt_race_complete(&race);
    expect_dial(1000, 0);
}

CDT_TEST(race, second_attempt_starts_250_ms_after_the_first)
{
    cdt_race_init(&race);
    cdt_race_join(&race, AF_INET6, 1000);
    cdt_race_join(&race, AF_INET, 1000);
    expect_dial(1000, 0);
    expect_wait(1000, 1250);
    expect_wait(1249, 1250);
    expect_dial(1250, 1);
    expect_wait(1250, UINT64_MAX);
}

CDT_TEST(race, a_failure_starts_the_next_attempt_at_once_and_only_one)
{
    cdt_race_init(&race);
    for (int i = 0; i < 3; i++)
        cdt_race_join(&race, AF_INET6, 1000);
    expect_dial(1000, 0);
    cdt_race_failed(&race, 0);
    expect_dial(1010, 1);
    expect_wait(1010, 1260);
}

CDT_TEST(race, a_failure_of_an_earlier_attempt_hurries_while_a_later_one_runs)
{
    cdt_race_init(&race);
    for (int i = 0; i < 3; i++)
        cdt_race_join(&race, AF_INET6, 1000);
    expect_dial(1000, 0);
    expect_dial(1250, 1);
    cdt_race_failed(&race, 0);
    expect_dial(1300, 2);
}

static void join_five(void)
{
    static const int joins[] = {AF_INET, AF_INET, AF_INET6, AF_INET6, AF_INET};
    cdt_race_init(&race);
    for (int i = 0; i < 5; i++)
        cdt_race_join(&race, joins[i], 1000);
}

static void expect_order(const int *order, int n)
{
    for (int i = 0; i < n; i++)
        expect_dial(1000 + 250 * (uint64_t)i, order[i]);
}

CDT_TEST(race, families_alternate_from_that_of_the_best)
{
    join_five();
    rank((int[]){2, 3, 0, 1, 4}, 5);
    expect_order((int[]){2, 0, 3, 1, 4}, 5);
    join_five();
    rank((int[]){0, 1, 2, 3, 4}, 5);
    expect_order((int[]){0, 2, 1, 3, 4}, 5);
}

CDT_TEST(race, within_a_family_the_better_goes_first)
{
    join_five();
    rank((int[]){4, 3, 2, 1, 0}, 5);
    expect_order((int[]){4, 3, 1, 2, 0}, 5);
}

CDT_TEST(race, without_a_ranking_the_first_to_join_is_the_best)
{
    join_five();
    expect_order((int[]){0, 2, 1, 3, 4}, 5);
}

CDT_TEST(race, what_cannot_be_reached_is_tried_when_nothing_else_is_left)
{
    join_five();
    rank((int[]){0, 1, 4, 2, 3}, 3);
    expect_order((int[]){0, 1, 4, 2, 3}, 5);
    join_five();
    rank((int[]){0, 1, 2, 3, 4}, 0);
    expect_order((int[]){0, 2, 1, 3, 4}, 5);
}

CDT_TEST(race, a_late_answer_is_put_in_order_with_those_not_yet_tried)
{
    cdt_race_init(&race);
    for (int i = 0; i < 3; i++)
        cdt_race_join(&race, AF_INET6, 1000);
    rank((int[]){2, 1, 0}, 3);
    expect_dial(1000, 2);
    cdt_race_join(&race, AF_INET6, 1100);
    rank((int[]){3, 2, 0, 1}, 4);
    expect_dial(1250, 3);
    expect_dial(1500, 0);
    expect_dial(1750, 1);
}

CDT_TEST(race, late_answers_join_in_turn)
{
    cdt_race_init(&race);
    cdt_race_join(&race, AF_INET, 1000);
    expect_dial(1050, 0);
    expect_wait(1100, UINT64_MAX);
    cdt_race_join(&race, AF_INET6, 2000);
    expect_dial(2000, 1);
}

CDT_TEST(race, a_late_answer_still_waits_its_turn)
{
    cdt_race_init(&race);
    cdt_race_join(&race, AF_INET, 1000);
    expect_dial(1050, 0);
    cdt_race_join(&race, AF_INET6, 1100);
    expect_wait(1100, 1300);
    expect_dial(1300, 1);
}

CDT_TEST(race, nothing_is_lost_before_the_resolvers_are_done)
{
    cdt_race_init(&race);
    expect_wait(0, UINT64_MAX);
    cdt_race_join(&race, AF_INET6, 1000);
    expect_dial(1000, 0);
    cdt_race_failed(&race, 0);
    expect_wait(1000, UINT64_MAX);
    cdt_race_complete(&race);
    cr_expect_eq(cdt_race_next(&race, 1000).what, CDT_RACE_LOST);
}

CDT_TEST(race, it_is_lost_only_when_the_last_attempt_has_failed)
{
    cdt_race_init(&race);
    cdt_race_join(&race, AF_INET6, 1000);
    cdt_race_join(&race, AF_INET, 1000);
    cdt_race_complete(&race);
    expect_dial(1000, 0);
    expect_dial(1250, 1);
    cdt_race_failed(&race, 1);
    expect_wait(1300, UINT64_MAX);
    cdt_race_failed(&race, 0);
    cr_expect_eq(cdt_race_next(&race, 1300).what, CDT_RACE_LOST);
}

CDT_TEST(race, a_name_that_leads_nowhere_is_lost)
{
    cdt_race_init(&race);
    cdt_race_complete(&race);
    cr_expect_eq(cdt_race_next(&race, 0).what, CDT_RACE_LOST);
}

CDT_TEST(race, transports_without_a_family_do_not_wait_for_one)
{
    cdt_race_init(&race);
    cdt_race_join(&race, AF_UNSPEC, 1000);
    expect_dial(1000, 0);
}

static void join_many(int family, int n)
{
    while (n-- > 0)
        cdt_race_join(&race, family, 0);
}

CDT_TEST(race, more_candidates_than_the_cap_are_left_out)
{
    cdt_race_init(&race);
    join_many(AF_INET6, 10);
    join_many(AF_INET, CDT_RACE_CANDIDATES - 10);
    cr_expect_eq(race.n, CDT_RACE_CANDIDATES);
    cr_expect_eq(cdt_race_join(&race, AF_INET6, 0), -1);
    cr_expect_eq(race.n_waiting, CDT_RACE_CANDIDATES);
}

CDT_TEST(race, a_thousand_addresses_of_one_family_leave_room_for_the_other)
{
    cdt_race_init(&race);
    join_many(AF_INET6, 1000);
    cr_expect_eq(race.n, CDT_RACE_OF_FAMILY);
    cr_expect_eq(cdt_race_join(&race, AF_INET, 0), CDT_RACE_OF_FAMILY);
    expect_dial(0, 0);
    expect_dial(250, CDT_RACE_OF_FAMILY);
    expect_dial(500, 1);
}

CDT_TEST(race, a_better_group_takes_the_place_of_the_last_that_waits_in_the_worst)
{
    cdt_race_init(&race);
    join_many(AF_INET6, CDT_RACE_CANDIDATES - CDT_RACE_OF_FAMILY);
    join_many(AF_INET, CDT_RACE_OF_FAMILY);
    for (int i = 0; i < CDT_RACE_CANDIDATES; i++)
        cdt_race_set_group(&race, i, 5);
    cdt_race_set_group(&race, 3, 9);
    expect_dial(0, 0);
    cr_expect_eq(cdt_race_displace(&race, AF_INET6, 9), -1, "no better than any");
    cr_expect_eq(cdt_race_displace(&race, AF_INET, 5), -1,
                 "a family that is full gives way to itself");
    cr_expect_eq(cdt_race_displace(&race, AF_INET6, 5), 3);
    cr_expect_eq(cdt_race_displace(&race, AF_INET6, 5), -1);
    cr_expect_eq(cdt_race_displace(&race, AF_INET, 1), CDT_RACE_CANDIDATES - 1);
    cr_expect_eq(race.n_waiting, CDT_RACE_CANDIDATES - 1);
    expect_dial(250, CDT_RACE_CANDIDATES - 1);
}

CDT_TEST(race, one_that_was_started_keeps_its_place)
{
    cdt_race_init(&race);
    join_many(AF_INET, CDT_RACE_OF_FAMILY);
    for (int i = 0; i < CDT_RACE_OF_FAMILY; i++)
        cdt_race_set_group(&race, i, i == 0 ? 9 : 2);
    for (int i = 1; i < CDT_RACE_OF_FAMILY; i++) {
        race.candidates[i].state = CDT_FAILED;
        race.n_waiting--;
    }
    cdt_race_complete(&race);
    expect_dial(0, 0);
    cr_expect_eq(cdt_race_displace(&race, AF_INET, 1), -1);
}

CDT_TEST(race, the_attempt_delay_may_be_another_within_bounds)
{
    static const struct {
        uint32_t asked, got;
    } rows[] = {{0, 250}, {1, 10}, {10, 10}, {100, 100}, {2000, 2000}, {60000, 2000}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cdt_race_init(&race);
        cdt_race_set_delay(&race, rows[i].asked);
        join_many(AF_INET6, 2);
        expect_dial(0, 0);
        expect_wait(0, rows[i].got);
        expect_dial(rows[i].got, 1);
    }
}

/* ---- as many as may run do ---- */

static void expect_give_up(uint64_t now_ms, int candidate)
{
    struct cdt_race_step step = cdt_race_next(&race, now_ms);
    cr_assert_eq(step.what, CDT_RACE_GIVE_UP, "at %lu: nobody makes room", (unsigned long)now_ms);
    cr_assert_eq(step.candidate, candidate, "at %lu: %d is given up, not %d", (unsigned long)now_ms,
                 step.candidate, candidate);
}

/* Six run since 0, 250, ... 1250 ms. */
static void start_six(int n)
{
    cdt_race_init(&race);
    join_many(AF_INET6, n);
    for (int i = 0; i < CDT_RACE_RUNNING; i++)
        expect_dial(250 * (uint64_t)i, i);
}

CDT_TEST(race, a_running_attempt_goes_on_as_long_as_nobody_needs_its_place)
{
    start_six(6);
    expect_wait(600, UINT64_MAX);
    expect_wait(60000, UINT64_MAX);
    cr_expect_eq(race.n_running, 6);
}

CDT_TEST(race, the_oldest_makes_room_but_not_before_it_has_had_two_seconds)
{
    start_six(8);
    expect_wait(1499, 1500);
    expect_wait(1500, 2000);
    expect_wait(1999, 2000);
    expect_give_up(2000, 0);
    expect_dial(2000, 6);
    expect_wait(2000, 2250);
    expect_give_up(2250, 1);
    expect_dial(2250, 7);
    expect_wait(2250, UINT64_MAX);
    cr_expect_eq(race.n_running, 6);
}

CDT_TEST(race, who_has_come_further_stays)
{
    start_six(8);
    cdt_race_advanced(&race, 0, 2);
    cdt_race_advanced(&race, 1, 1);
    expect_wait(2000, 2500);
    expect_give_up(2500, 2);
    expect_dial(2500, 6);
    for (int i = 3; i < 7; i++)
        cdt_race_advanced(&race, i, 2);
    expect_give_up(2750, 1);
    expect_dial(2750, 7);
}

CDT_TEST(race, a_failure_makes_room_by_itself)
{
    start_six(7);
    cdt_race_failed(&race, 3);
    expect_dial(1300, 6);
    cr_expect_eq(race.n_running, 6);
}

CDT_TEST(race, a_late_answer_of_the_other_family_is_not_shut_out)
{
    start_six(8);
    cdt_race_join(&race, AF_INET, 5000);
    expect_give_up(5000, 0);
    expect_dial(5000, 8);
}

CDT_TEST(race, who_was_given_up_counts_as_failed)
{
    start_six(7);
    cdt_race_complete(&race);
    expect_give_up(2000, 0);
    cdt_race_failed(&race, 0);
    cdt_race_advanced(&race, 0, 5);
    cr_expect_eq(race.n_running, 5);
    expect_dial(2000, 6);
    for (int i = 1; i < 6; i++)
        cdt_race_failed(&race, i);
    expect_wait(3000, UINT64_MAX);
    cdt_race_failed(&race, 6);
    cr_expect_eq(cdt_race_next(&race, 3000).what, CDT_RACE_LOST);
}

CDT_TEST(race, a_failure_told_twice_counts_once)
{
    cdt_race_init(&race);
    cdt_race_join(&race, AF_INET6, 0);
    cdt_race_join(&race, AF_INET6, 0);
    expect_dial(0, 0);
    expect_dial(250, 1);
    cdt_race_failed(&race, 0);
    cdt_race_failed(&race, 0);
    cr_expect_eq(race.n_running, 1);
}

CDT_TEST(race, a_better_group_goes_first_whatever_its_family)
{
    cdt_race_init(&race);
    for (int i = 0; i < 4; i++)
        cdt_race_join(&race, i < 2 ? AF_INET6 : AF_INET, 0);
    cdt_race_set_group(&race, 0, 2);
    cdt_race_set_group(&race, 1, 1);
    cdt_race_set_group(&race, 2, 2);
    cdt_race_set_group(&race, 3, 1);
    rank((int[]){0, 1, 2, 3}, 4);
    expect_dial(0, 1);
    expect_dial(250, 3);
    expect_dial(500, 0);
    expect_dial(750, 2);
}
