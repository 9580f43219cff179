/* SPDX-License-Identifier: ISC */
/* Which deadline of a connection is over, and when to look again: deadlines.h. */
#include "deadlines.h"

void cdt_deadlines_note(struct cdt_deadlines *d, uint64_t moved, uint64_t sent, uint64_t now_ms)
{
    if (moved != d->moved)
        d->moved_ms = now_ms;
    if (sent != d->sent)
        d->sent_ms = now_ms;
    d->moved = moved;
    d->sent = sent;
}

void cdt_deadlines_stir(struct cdt_deadlines *d, uint64_t now_ms)
{
    d->moved_ms = now_ms;
}

void cdt_deadlines_wait(struct cdt_deadlines *d, uint64_t now_ms)
{
    d->sent_ms = now_ms;
}

void cdt_deadlines_live(struct cdt_deadlines *d, uint32_t ms, uint64_t now_ms)
{
    d->lifetime_ms = ms;
    d->lifetime_at_ms = ms != 0 ? now_ms + ms : 0;
}

void cdt_deadlines_wake(struct cdt_deadlines *d, uint32_t ms, uint64_t now_ms)
{
    d->wake_at_ms = ms != 0 ? now_ms + ms : 0;
}

void cdt_deadlines_close(struct cdt_deadlines *d, uint64_t now_ms)
{
    d->sent_ms = now_ms;
    d->close_at_ms = now_ms + (uint64_t)d->close_ms * CDT_CLOSE_TIMES;
}

struct look {
    uint64_t now_ms, next_ms;
    enum cdt_overdue found;
};

/* What is over first is what is told. */
static void consider(struct look *look, enum cdt_overdue what, uint64_t at_ms)
{
    if (at_ms <= look->now_ms && look->found == CDT_IN_TIME)
        look->found = what;
    if (at_ms < look->next_ms)
        look->next_ms = at_ms;
}

enum cdt_overdue cdt_deadlines_check(const struct cdt_deadlines *d, const struct cdt_doing *doing,
                                     uint64_t now_ms, uint64_t *next_ms)
{
    struct look look = {.now_ms = now_ms, .next_ms = UINT64_MAX};
    if (d->lifetime_at_ms != 0)
        consider(&look, CDT_LIFETIME_OVER, d->lifetime_at_ms);
    if (d->close_at_ms != 0) {
        consider(&look, CDT_CLOSE_STALLED, d->sent_ms + d->close_ms);
        consider(&look, CDT_CLOSE_OVER, d->close_at_ms);
    }
    if (doing->open && doing->waiting && d->write_ms != 0)
        consider(&look, CDT_WRITE_STALLED, d->sent_ms + d->write_ms);
    if (doing->open && !doing->paused && d->idle_ms != 0)
        consider(&look, CDT_IDLE, d->moved_ms + d->idle_ms);
    if (d->wake_at_ms != 0)
        consider(&look, CDT_WAKE_DUE, d->wake_at_ms);
    *next_ms = look.next_ms;
    return look.found;
}
