/* SPDX-License-Identifier: ISC */
/*
 * A proxy made of our own listener and connect: SOCKS 5 and HTTP CONNECT, told apart by the first
 * byte. It reads a request, dials, answers, and then hands on what either end says, with its ends,
 * its breaks and its pace, so that a connection through it keeps the contract of one without.
 */
#ifndef CDT_TESTS_PROXY_H
#define CDT_TESTS_PROXY_H

#include "harness.h"

struct cdt_proxy {
    const char *login;    /* "user:password" that it demands; NULL: none */
    const char *leads_to; /* dialled whatever was asked for; NULL: what was asked for */
    conduit_listener *listener;
    char asked[300]; /* "host:port", the last */
    int tunnels;     /* that were opened */
};

/* Listen at `uri` on cdt_ctx. `proxy` outlives the context. The URI of the listener. */
const char *cdt_proxy_listen(struct cdt_proxy *proxy, const char *uri, conduit_tls *tls);

#endif
