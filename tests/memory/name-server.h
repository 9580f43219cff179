/* SPDX-License-Identifier: ISC */
/*
 * The smallest name server: on a UDP port of 127.0.0.1 and the caller's loop, it answers every
 * question for an A record with 127.0.0.1, and every other with nothing. It takes no memory that
 * could fail. Closed before its loop is.
 */
#ifndef CDT_MEMORY_NAME_SERVER_H
#define CDT_MEMORY_NAME_SERVER_H

#include <uv.h>

struct cdt_name_server {
    uv_udp_t udp;
    char room[1500];
    char address[32]; /* "127.0.0.1:5353" */
};

int cdt_name_server_open(struct cdt_name_server *server, uv_loop_t *loop);
void cdt_name_server_close(struct cdt_name_server *server);

#endif
