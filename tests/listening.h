/* SPDX-License-Identifier: ISC */
/*
 * One listener, one client that dials it, and what the listener said of those that failed: what the
 * tests of listeners begin with. A test is between begin() and end().
 *
 * Clients that misbehave are plain blocking sockets of the test's own: the kernel completes a
 * connection to loopback by itself, so they need no thread.
 */
#ifndef CDT_TESTS_LISTENING_H
#define CDT_TESTS_LISTENING_H

#include "harness.h"

/* The two ends; `server` is that of whoever was accepted last. */
extern struct cdt_side client, server;
extern conduit_listener *listener;

/* For the listener, and for who dials it: none at begin(). */
extern conduit_listen_options options;
extern conduit_connect_options dialling;

/* What on_failed said. */
struct failures {
    int times, awaited;
    bool enough; /* `awaited` of them */
    conduit_code code;
    conduit_stage stage;
    long number;
    char text[256];
    void (*react)(void);
};
extern struct failures failed;

void await_failures(int n);

void begin(void);
void end(void);

/* Both ends by TLS, with certificates for "a.example". */
void use_tls(void);

/* A code, and `listener` if it is 0. */
int try_listening(const char *uri);

/* The URI that it can be dialled at. */
const char *listen_at(const char *uri);

void call(const char *uri);

/* A client comes and goes: the listener serves. */
void expect_service(const char *uri);

void expect_refused(const char *uri, conduit_code code);

/* The peer of the socket has closed it. */
bool hung_up(int fd);

double milliseconds(void);

#endif
