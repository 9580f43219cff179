/* SPDX-License-Identifier: ISC */
/*
 * The race of RFC 8305 ("Happy Eyeballs"), as a pure state machine: what happened and what time it
 * is go in, what to do comes out. No socket, clock or loop: connect.c is its executor, and each
 * rule is a few lines in its test.
 *
 *   - candidates join as they are resolved, at any time, and are put in order (order.h) by whoever
 *     knows it; families take turns, that of the best one first (section 4)
 *   - nothing starts before there is an IPv6 address or none will come, or 50 ms after the first
 *     answer (section 3)
 *   - the next attempt starts 250 ms after the last one, or at once when one has failed (section 5)
 *   - of several groups (the targets of a service) all of the best are begun before one of another
 *   - earlier attempts keep running; the first to open wins
 *   - what seems to have no way there is tried when nothing else is left
 *   - at most six run at once: to start one more, the one that has come least far is given up, of
 *     several the oldest, but none before it has had two seconds
 *   - no more candidates join than are worth a try, and no family takes the room of the other; one
 *     of a better group takes the place of one that waits in a worse
 */
#ifndef CDT_RACE_H
#define CDT_RACE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CDT_RACE_CANDIDATES = 32, /* of a name with a thousand addresses, as many as are worth a try */
    CDT_RACE_OF_FAMILY = 24,  /* ... and of one family */
    CDT_RACE_RUNNING = 6,     /* at once */
    CDT_RACE_PATIENCE_MS = 2000,
    CDT_RESOLUTION_DELAY_MS = 50,
    CDT_ATTEMPT_DELAY_MS = 250, /* section 8: 10 ms at least, 2 s at most */
    CDT_ATTEMPT_DELAY_MIN_MS = 10,
    CDT_ATTEMPT_DELAY_MAX_MS = 2000,
};

/*
 *   WAITING ── DIAL ──► RUNNING ── failed, or GIVE_UP ──► FAILED
 *
 * One that opens ends the race; the race itself need not be told.
 */
enum cdt_candidate_state { CDT_WAITING, CDT_RUNNING, CDT_FAILED };

struct cdt_race {
    struct {
        int family;
        int group, rank; /* less is better; the group counts first */
        bool last_resort;
        enum cdt_candidate_state state;
        int progress;        /* how far it has come; more is better */
        uint64_t started_ms; /* once it runs */
    } candidates[CDT_RACE_CANDIDATES];
    int n, n_waiting, n_running;
    bool ip6_settled; /* there are IPv6 addresses, or none will come */
    bool all_settled; /* no more candidates will come */
    bool hurry;       /* an attempt failed since the last one was started */
    bool started;
    int last_family;
    uint32_t delay_ms; /* between attempts */
    uint64_t first_ms; /* when the first candidate joined */
    uint64_t last_ms;  /* when the last attempt was started */
};

struct cdt_race_step {
    enum { CDT_RACE_DIAL, CDT_RACE_GIVE_UP, CDT_RACE_WAIT, CDT_RACE_LOST } what;
    int candidate;     /* DIAL: start this one, now. GIVE_UP: end it, another needs its place */
    uint64_t until_ms; /* WAIT: ask again then, or when something happens; UINT64_MAX: only then */
};

void cdt_race_init(struct cdt_race *race);
/* Another delay between attempts, within the bounds of RFC 8305; 0 is the default. */
void cdt_race_set_delay(struct cdt_race *race, uint32_t delay_ms);
/* A candidate of AF_INET, AF_INET6 or (of transports that have none) AF_UNSPEC. Its number, counted
 * from 0 in the order of joining, or -1: there are enough already, in all or of its family. It is
 * worse than those before it until it is ranked. */
int cdt_race_join(struct cdt_race *race, int family, uint64_t now_ms);
/* When there is no room: the number of a candidate that waits and is of a worse group than `group`,
 * which leaves the race to the newcomer, who has its number from now on; or -1. */
int cdt_race_displace(struct cdt_race *race, int family, int group);
/* Put a candidate that was not started into a group; at first it is in 0. */
void cdt_race_set_group(struct cdt_race *race, int candidate, int group);
/* The same if the group is a better one than its own; one that was started stays where it is. */
void cdt_race_promote(struct cdt_race *race, int candidate, int group);
/* The numbers of all that have joined, the best first, and how many of them can be reached. Counts
 * for those that have not been started. */
void cdt_race_rank(struct cdt_race *race, const int *best_first, int n_usable);
void cdt_race_settled(struct cdt_race *race, int family);
/* No more candidates of any family. */
void cdt_race_complete(struct cdt_race *race);
void cdt_race_failed(struct cdt_race *race, int candidate);
/* How far one that runs has come, in any measure that grows: 0 at first. */
void cdt_race_advanced(struct cdt_race *race, int candidate, int progress);
/* What to do now. A DIAL counts as started, a GIVE_UP as failed. LOST: everything has failed and
 * nothing more will come. */
struct cdt_race_step cdt_race_next(struct cdt_race *race, uint64_t now_ms);

#endif
