/* SPDX-License-Identifier: ISC */
/*
 * A resolver alone, under a core that only writes down what it is told.
 *
 * A query's story is one line: "2001:db8::1=300 settled6 192.0.2.1=300 settled4 code 0", addresses
 * with their TTL in the order in which they came, and the end. It lives as long as the test wants,
 * and is a struct that is filled in by hand.
 */
#ifndef CDT_TESTS_LONE_H
#define CDT_TESTS_LONE_H

#include "../../resolvers/names.h"
#include "support.h"

struct conduit_ctx {
    uv_loop_t loop;
};

struct conduit_query {
    conduit_ctx *ctx;
    const char *transport, *host;
    const char *service, *alpn;
    conduit_records records;
    int family, rank;
    uint16_t port;
    bool listening;
    void *data;
    bool done;
    int code;
    long number;
    char source[32], story[8192], trace[16384];
};

/* libuv's clock is ahead by so much: files are looked at once a second, and answers grow old. */
extern uint64_t lone_skew_ns;

void lone_let_a_second_pass(void);

/* ---- resolvers that answer at once */

struct row {
    const char *transport, *host;
    int family;
    bool listening;
    const char *story; /* with '*' at the end: its beginning */
};

/* The story of one query, "-" if it is not accepted. Static. */
const char *lone_ask_at_once(const conduit_resolver *resolver, void *state,
                             const conduit_query *like);
void lone_expect_story(const char *who, const char *host, const char *got, const char *want);
void lone_expect_rows(const conduit_resolver *resolver, void *state, const struct row *rows,
                      size_t n);

/* ---- those that need a loop */

void lone_open_ctx(conduit_ctx *ctx);
/* Everything was closed: the rest is close callbacks. */
void lone_close_ctx(conduit_ctx *ctx);
/* Turn the loop until the query has ended, with this story. */
void lone_expect_end(conduit_query *query, const char *story);

void lone_write_file(const char *path, const char *text, size_t n);

#endif
