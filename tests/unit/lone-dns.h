/* SPDX-License-Identifier: ISC */
/*
 * dns alone, and a name server for it on the same loop: it answers, fails, keeps silent, or holds
 * an answer back until the test releases it. Which of these hangs on the name: lone-dns.c has a
 * zone.
 */
#ifndef CDT_TESTS_LONE_DNS_H
#define CDT_TESTS_LONE_DNS_H

#include "lone.h"
#include <netinet/in.h>

enum { LONE_MESSAGE_SIZE = 4096, LONE_MOST_HELD = 16 };

struct message {
    size_t n;
    unsigned char bytes[LONE_MESSAGE_SIZE];
};

struct server {
    uv_udp_t udp;
    uv_tcp_t tcp, peer;
    bool has_peer, silent, failing;
    struct message in; /* of the peer */
    char address[64];  /* 127.0.0.1:PORT */
    char asked[1024];  /* "AAAA both.test,A both.test," */
    struct {
        struct sockaddr_in to;
        struct message reply;
    } held[LONE_MOST_HELD];
    size_t n_held;
};

/* At a port of 0 it has one that is free. */
void lone_open_server(struct server *server, uv_loop_t *loop, const char *address, int port);
void lone_close_server(struct server *server);
/* Send what is held back. */
void lone_release(struct server *server);

struct world {
    conduit_ctx ctx;
    struct server server;
    void *dns;
};

/* Static, for it is large. */
struct world *lone_open_world(void);
void lone_close_world(struct world *world);

/* The resolver's state; `servers` may be NULL. */
void *lone_attach_dns(conduit_ctx *ctx, const char *servers);
/* Begin `query`, at port 443. */
void lone_ask_of(void *dns, conduit_query *query, conduit_ctx *ctx, const char *host, int family);
void lone_ask(struct world *world, conduit_query *query, const char *host);
/* Turn the loop until the server has `n` answers in hand, or until something is told. */
void lone_wait_for_held(struct world *world, size_t n);
void lone_wait_for_news(conduit_query *query);

#endif
