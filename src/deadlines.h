/* SPDX-License-Identifier: ISC */
/*
 * The deadlines of one connection, pure: what has moved and what time it is go in, which of them is
 * over and when to look again comes out.
 *
 * No timer is moved when bytes are. The path counts what its transport takes and gives; the counts
 * are compared when the connection is served and when the one timer fires, and a stamp is kept of
 * when they were last news. So a deadline costs nothing per byte, and one timer a period.
 */
#ifndef CDT_DEADLINES_H
#define CDT_DEADLINES_H

#include <stdbool.h>
#include <stdint.h>

/* A close that goes on moving may take this many times what one without progress may. */
enum { CDT_CLOSE_TIMES = 15 };

struct cdt_deadlines {
    uint32_t idle_ms, write_ms; /* 0: none */
    uint32_t close_ms, lifetime_ms;
    uint64_t lifetime_at_ms; /* 0: none */
    uint64_t wake_at_ms;     /* 0: none */
    uint64_t close_at_ms;    /* at the latest; 0: it is not closing */
    uint64_t moved, sent;    /* bytes either way, and out, when last looked at */
    uint64_t moved_ms, sent_ms;
};

enum cdt_overdue {
    CDT_IN_TIME,
    CDT_LIFETIME_OVER,
    CDT_IDLE,
    CDT_WRITE_STALLED,
    CDT_CLOSE_STALLED, /* nothing went out for close_ms */
    CDT_CLOSE_OVER,    /* something did, but there has to be an end */
    CDT_WAKE_DUE,      /* nothing else is over, and it is to be said that it is late */
};

/* What the connection is up to. */
struct cdt_doing {
    bool open;    /* and not closing */
    bool paused;  /* nobody reads: silence is our own doing */
    bool waiting; /* for room to send in */
};

/* `moved` and `sent` bytes by now. */
void cdt_deadlines_note(struct cdt_deadlines *d, uint64_t moved, uint64_t sent, uint64_t now_ms);
/* Silence, and waiting, begin now. */
void cdt_deadlines_stir(struct cdt_deadlines *d, uint64_t now_ms);
void cdt_deadlines_wait(struct cdt_deadlines *d, uint64_t now_ms);
/* From now on `ms`; 0: none. */
void cdt_deadlines_live(struct cdt_deadlines *d, uint32_t ms, uint64_t now_ms);
/* Once, in `ms`; 0: not at all. */
void cdt_deadlines_wake(struct cdt_deadlines *d, uint32_t ms, uint64_t now_ms);
/* A graceful close begins. */
void cdt_deadlines_close(struct cdt_deadlines *d, uint64_t now_ms);

/* What is over; and if nothing is, when the next might be: UINT64_MAX for never. */
enum cdt_overdue cdt_deadlines_check(const struct cdt_deadlines *d, const struct cdt_doing *doing,
                                     uint64_t now_ms, uint64_t *next_ms);

#endif
