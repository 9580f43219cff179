/* SPDX-License-Identifier: ISC */
/*
 * One connect to "scripted", a name that a resolver of the test's own answers for: what, and when, is
 * a list of steps. What is dialled is on loopback: a listener, a closed port, a black hole (a socket
 * whose backlog is full, so that SYNs vanish). A test is between begin() and end().
 */
#ifndef CDT_TESTS_DIALLING_H
#define CDT_TESTS_DIALLING_H

#include "harness.h"

/* ---- the scripted resolver ---- */

struct step {
    unsigned at_ms;
    enum { ADD, ADDRESS, RANK, SETTLED, DONE, FAIL } what;
    const char *endpoint; /* ADD; of ADDRESS only the host counts */
    int family;           /* SETTLED; of RANK the rank */
};

enum { MOST_STEPS = 128 };

struct script {
    struct step steps[MOST_STEPS];
    size_t n, next;
    conduit_query *query; /* while one is under way */
    uint64_t since_ms;
    uv_timer_t timer;
    int n_started, n_done, n_canceled;
};
extern struct script script;

void answer(unsigned at_ms, const char *endpoint);
void finish(unsigned at_ms);

/* Of what is answered after it. */
void rank(int to);

void settle(unsigned at_ms, int family);

/* ---- places ---- */

/* "tcp://127.0.0.1:PORT"; lives as long as the test. */
const char *place(int family, int port);

const char *closed_place(void);

struct hole {
    int fds[8], n;
};

/* Fill the backlog of a socket that never accepts, until a connection does not get through. */
const char *dig(struct hole *hole);

void fill_in(struct hole *hole);

/* ---- the surroundings ---- */

extern struct cdt_side client, server;
extern conduit_connect_options options; /* none at begin() */
extern char attempts[16][128];          /* what the trace says, in order */
extern int n_attempts;

void begin(void);
void end(void);

/* Where it listens; lives as long as the listener. */
const char *serve(const char *uri);

void call(const char *uri);

/* TLS that believes the certificate of serve(), for "a.example". */
void trust(void);

void expect_failed(conduit_code code, conduit_stage stage);

double milliseconds(void);

#endif
