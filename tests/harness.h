/* SPDX-License-Identifier: ISC */
/*
 * What tests of whole connections share: a context on a loop of the test's own, and sides.
 *
 * A side is one end of a connection as a test sees it: what happened to it, in which order, and
 * whether the bytes that came are the pattern that every side sends. The test owns it, and it has
 * to outlive the connection. One loop and one context per test process are enough: they are global.
 */
#ifndef CDT_TESTS_HARNESS_H
#define CDT_TESTS_HARNESS_H

#include "support.h"
#include <conduit/conduit.h>

/* ---- the loop and the context ---- */

extern uv_loop_t cdt_loop;
extern conduit_ctx *cdt_ctx;

/* A loop, and a context on it. `options` may be NULL; its loop is replaced. */
void cdt_open_ctx(const conduit_ctx_options *options);
/* Free the context (unless the test has, and set it to NULL), and fail the test if that leaves a
 * handle on the loop, or does not end. */
void cdt_close_ctx(void);

/* Run the loop until *done; fail the test if that takes ten seconds. */
#define cdt_await(done) cr_assert(cdt_test_run_until(&cdt_loop, done), "it never came to " #done)

/* `n` turns that wait for nothing: what can happen by now has. */
void cdt_turn(int n);
/* Run for `ms`; returns how many turns that took, which tells who sleeps from who spins. */
unsigned cdt_turns_within(unsigned ms);
double cdt_cpu_seconds(void);

/* ---- sides ---- */

struct cdt_side {
    conduit_conn *conn; /* until on_close */
    char story[48];     /* o open, d data (once in a row), r drain, e end, c close */
    bool opened, drained, ended, closed;
    int drains;

    size_t received, expected;
    bool complete; /* `expected` bytes have come */
    bool garbled;  /* ... and one of them was not the pattern's */

    size_t sent, to_send;
    bool ends_after;          /* conduit_end() when all is sent */
    bool stays_open;          /* does not answer the peer's end with its own */
    const conduit_error *why; /* on_close's; cdt_side_clear() drops it */

    /* After each event has been noted, the test's own doing. May free the connection. */
    void (*react)(struct cdt_side *side, char event);
};

extern const conduit_handler cdt_side_handler; /* `user` is a side */

/* Send `n` more bytes of the pattern, at the pace of the peer. */
void cdt_side_send(struct cdt_side *side, size_t n);
/* From now on: `complete` when `n` bytes in all have come. */
void cdt_side_expect(struct cdt_side *side, size_t n);
/* Ready for a new connection. */
void cdt_side_clear(struct cdt_side *side);
/* CONDUIT_OK if it has not failed. */
conduit_code cdt_side_code(const struct cdt_side *side);
const char *cdt_side_text(const struct cdt_side *side);

/* Bytes [offset, offset + n) of the pattern. */
void cdt_pattern(unsigned char *bytes, size_t offset, size_t n);

/* ---- addresses and certificates ---- */

/* Does this machine have ::1? */
bool cdt_have_ip6(void);
/* A TCP port of 127.0.0.1 that nobody listens at. */
int cdt_closed_port(void);
/* A socket listening on 127.0.0.1 (AF_INET) or ::1, blocking, and its port. */
int cdt_raw_listen(int family, int backlog, int *port);
/* A blocking socket connected to 127.0.0.1. */
int cdt_raw_connect(int port);
int cdt_port_of(const char *uri);

/* Was the library built with TLS? What needs it is skipped without. */
bool cdt_have_tls(void);
#define CDT_SKIP_WITHOUT_TLS()                                                                     \
    do {                                                                                           \
        if (!cdt_have_tls())                                                                       \
            cr_skip_test("built without TLS");                                                     \
    } while (0)
/* A file of certs/make-certs; static, valid until the next call but one. */
const char *cdt_cert(const char *name);
/* A configuration for a listener (a.example, ::1, 127.0.0.1, ...), and one that trusts it; NULL
 * without TLS. The caller unrefs. */
conduit_tls *cdt_server_tls(void);
conduit_tls *cdt_client_tls(void);

#endif
