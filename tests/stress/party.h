/* SPDX-License-Identifier: ISC */
/*
 * The checker: one end of a conversation, what it did, and what it has been promised.
 *
 * Every connection of a walk is a party, and so is every robot. The first bytes of what a party
 * sends say who it is, the rest is a pattern of its own, so that whoever gets them knows what must
 * have come. The handler here notes every event and stops the program at the first that breaks one
 * of the rules of conduit.h; then it lets the walk act from inside the callback.
 *
 * Parties are static and live for one walk: a callback that comes too late finds them marked.
 */
#ifndef CDT_STRESS_PARTY_H
#define CDT_STRESS_PARTY_H

#include <conduit/conduit.h>

enum { CDT_MOST_PARTIES = 64 };

/* Where a walk listens, or could. Also the first `user` of what is accepted there. */
struct cdt_place {
    conduit_listener *listener;
    bool draining;
    unsigned road; /* which URI: the walk's */
    bool deaf;     /* its connections have no on_end */
    conduit_conn_options options;
};

struct cdt_party {
    unsigned id;
    conduit_conn *conn;
    unsigned road;
    bool robot, accepted, deaf;
    conduit_conn_options options;
    uint64_t open_by_ms, close_by_ms; /* 0: no deadline of that kind runs */
    char tags[2];                     /* its `user` is the address of one of them */
    unsigned tag;
    /* What it did. */
    bool end_called, close_called, aborted, freed, paused;
    bool canceled; /* closed before it had opened or failed */
    size_t sent;
    bool owed_drain;
    /* What was done to it. */
    bool opened, ended, closed;
    conduit_code why;
    size_t got;
    unsigned char head[4];
};

extern struct cdt_party cdt_parties[CDT_MOST_PARTIES];
extern unsigned cdt_n_parties;
extern const conduit_handler cdt_party_handler;
/* Non-zero while the walk is inside a call of the library: no callback may come. */
extern int cdt_calling;
/* Connections may be ended by other means than their owner's: a drain, the end of the context. */
extern bool cdt_all_end;
/* Memory fails at times: what is answered with NULL then is no fault. */
extern bool cdt_scarce;
/* Print what happens. */
extern bool cdt_tell;

/* The walk's: what happens inside a callback of `party`; what the time is; does `road` show the
 * peer who breaks off? */
void cdt_walk_react(struct cdt_party *party);
uint64_t cdt_walk_now_ms(void);
bool cdt_walk_breaks_show(unsigned road);
/* Is it TLS that `road` leads to, without TLS? What is heard there is anything. */
bool cdt_walk_leads_astray(unsigned road);

/* Forget all of them. */
void cdt_parties_clear(void);
/* A new one, or NULL: there are enough. */
struct cdt_party *cdt_party_new(unsigned road);
void *cdt_party_user(struct cdt_party *party);
/* Has a connection that may be used. */
bool cdt_party_live(const struct cdt_party *party);
/* Who talks to it, as far as it knows; NULL. */
struct cdt_party *cdt_party_peer(const struct cdt_party *party);
/* The next `n` bytes that it would send. */
void cdt_party_speak(const struct cdt_party *party, unsigned char *bytes, size_t n);
/* `n` bytes came: are they what its peer sent? */
void cdt_party_hear(struct cdt_party *party, const unsigned char *bytes, size_t n);
/* Its peer's direction is over: has all of it come? */
void cdt_party_hear_end(struct cdt_party *party);
/* Is every promise that time makes kept? */
void cdt_parties_check_time(void);
/* Every connection has had its end. */
void cdt_parties_check_over(void);

/* A rule is broken: say so, with the state of all parties, and abort. */
void cdt_broken(const char *format, ...) CONDUIT_PRINTF(1, 2);
void cdt_say(const char *format, ...) CONDUIT_PRINTF(1, 2);

#define CDT_RULE(holds, ...)                                                                       \
    do {                                                                                           \
        if (!(holds))                                                                              \
            cdt_broken(__VA_ARGS__);                                                               \
    } while (0)

#endif
