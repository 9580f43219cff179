/* SPDX-License-Identifier: ISC */
/* Which deadline is over when, with a made-up clock. */
#include "deadlines.h"
#include "support.h"

static struct cdt_deadlines d;
static struct cdt_doing doing;

static void expect(uint64_t now_ms, enum cdt_overdue over, uint64_t next_ms)
{
    uint64_t next;
    enum cdt_overdue got = cdt_deadlines_check(&d, &doing, now_ms, &next);
    cr_expect_eq(got, over, "at %lu: %d, not %d", (unsigned long)now_ms, (int)got, (int)over);
    cr_expect_eq(next, next_ms, "at %lu: next at %lu, not %lu", (unsigned long)now_ms,
                 (unsigned long)next, (unsigned long)next_ms);
}

static void begin(void)
{
    d = (struct cdt_deadlines){.close_ms = 2000};
    doing = (struct cdt_doing){.open = true};
    cdt_deadlines_note(&d, 10, 10, 1000);
}

CDT_TEST(deadlines, without_any_nothing_is_ever_over)
{
    begin();
    doing.waiting = true;
    expect(UINT64_MAX, CDT_IN_TIME, UINT64_MAX);
}

CDT_TEST(deadlines, silence_counts_from_the_last_byte_either_way)
{
    begin();
    d.idle_ms = 500;
    expect(1499, CDT_IN_TIME, 1500);
    expect(1500, CDT_IDLE, 1500);
    cdt_deadlines_note(&d, 10, 10, 1490);
    expect(1500, CDT_IDLE, 1500);
    cdt_deadlines_note(&d, 11, 10, 1495);
    expect(1500, CDT_IN_TIME, 1995);
    cdt_deadlines_note(&d, 12, 11, 1600);
    expect(1995, CDT_IN_TIME, 2100);
}

CDT_TEST(deadlines, who_does_not_read_hears_no_silence)
{
    begin();
    d.idle_ms = 500;
    doing.paused = true;
    expect(9000, CDT_IN_TIME, UINT64_MAX);
    doing.paused = false;
    cdt_deadlines_stir(&d, 9000);
    expect(9000, CDT_IN_TIME, 9500);
}

CDT_TEST(deadlines, a_stall_is_when_bytes_wait_and_none_goes_out)
{
    begin();
    d.write_ms = 500;
    expect(9000, CDT_IN_TIME, UINT64_MAX);
    doing.waiting = true;
    cdt_deadlines_wait(&d, 9000);
    expect(9499, CDT_IN_TIME, 9500);
    cdt_deadlines_note(&d, 20, 10, 9499); /* what comes in is no progress */
    expect(9500, CDT_WRITE_STALLED, 9500);
    cdt_deadlines_note(&d, 21, 11, 9499);
    expect(9500, CDT_IN_TIME, 9999);
    expect(9999, CDT_WRITE_STALLED, 9999);
}

CDT_TEST(deadlines, a_close_may_go_on_while_it_moves_but_not_for_ever)
{
    begin();
    doing.open = false;
    d.idle_ms = d.write_ms = 1; /* they are an open connection's */
    cdt_deadlines_close(&d, 10000);
    expect(11999, CDT_IN_TIME, 12000);
    expect(12000, CDT_CLOSE_STALLED, 12000);
    for (uint64_t s = 1; s < 30; s++) {
        cdt_deadlines_note(&d, 10 + s, 10 + s, 10000 + 1000 * s);
        expect(10000 + 1000 * s, CDT_IN_TIME, s < 28 ? 12000 + 1000 * s : 40000);
    }
    expect(40000, CDT_CLOSE_OVER, 40000);
}

CDT_TEST(deadlines, a_lifetime_is_over_whatever_moves)
{
    begin();
    d.idle_ms = 100000;
    cdt_deadlines_live(&d, 700, 1000);
    cdt_deadlines_note(&d, 99, 99, 1699);
    expect(1699, CDT_IN_TIME, 1700);
    expect(1700, CDT_LIFETIME_OVER, 1700);
    doing.open = false;
    expect(1700, CDT_LIFETIME_OVER, 1700);
    cdt_deadlines_live(&d, 0, 1700);
    expect(1700, CDT_IN_TIME, UINT64_MAX);
}

CDT_TEST(deadlines, who_asked_is_woken_when_nothing_is_over_that_ends_it)
{
    begin();
    cdt_deadlines_wake(&d, 700, 1000);
    expect(1699, CDT_IN_TIME, 1700);
    expect(1700, CDT_WAKE_DUE, 1700);
    cdt_deadlines_live(&d, 700, 1000);
    expect(1700, CDT_LIFETIME_OVER, 1700);
    cdt_deadlines_live(&d, 0, 1700);
    cdt_deadlines_wake(&d, 0, 1700);
    expect(1700, CDT_IN_TIME, UINT64_MAX);
}
