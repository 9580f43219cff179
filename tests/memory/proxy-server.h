/* SPDX-License-Identifier: ISC */
/*
 * A proxy that grants whatever it is asked for, and then is the far end itself: it echoes. SOCKS 5
 * with a user or without, and HTTP CONNECT, any number of them one inside the other.
 *
 * It is made of libuv alone, so that it has its memory when the library has none. It belongs to the
 * caller, and lives until the turn of the loop after it was closed.
 */
#ifndef CDT_TESTS_PROXY_SERVER_H
#define CDT_TESTS_PROXY_SERVER_H

#include <uv.h>

struct cdt_proxy_server {
    uv_tcp_t tcp;
    char port[8];
};

/* Listen on 127.0.0.1. 0, or libuv's code. */
int cdt_proxy_server_open(struct cdt_proxy_server *server, uv_loop_t *loop);
void cdt_proxy_server_close(struct cdt_proxy_server *server);

#endif
