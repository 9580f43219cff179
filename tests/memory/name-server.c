/* SPDX-License-Identifier: ISC */
/* One address for every name: name-server.h. RFC 1035, section 4.1 is the format. */
#include "name-server.h"
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { HEADER = 12, TYPE_A = 1 };

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct cdt_name_server *server = handle->data;
    *buf = uv_buf_init(server->room, sizeof(server->room));
}

/* Where the question's type is; 0 if there is none. */
static size_t skip_name(const unsigned char *packet, size_t n)
{
    size_t at = HEADER;
    while (at < n && packet[at] != 0)
        at += packet[at] + 1U;
    return at + 5 <= n ? at + 1 : 0;
}

static void on_question(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                        unsigned flags)
{
    static const unsigned char record[] = {0xc0, HEADER, 0, TYPE_A, 0,   1, 0, 0,
                                           0,    60,     0, 4,      127, 0, 0, 1};
    unsigned char reply[1500] = {0};
    if (n <= HEADER || (size_t)n + sizeof(record) > sizeof(reply))
        return;
    memcpy(reply, buf->base, (size_t)n);
    size_t type = skip_name(reply, (size_t)n), len = type + 4;
    if (type == 0)
        return;
    bool address = reply[type] == 0 && reply[type + 1] == TYPE_A;
    reply[2] = 0x81; /* an answer; recursion was asked for */
    reply[3] = 0x80;
    memset(reply + 6, 0, 6);
    reply[7] = address ? 1 : 0;
    if (address)
        memcpy(reply + len, record, sizeof(record));
    uv_buf_t out = uv_buf_init((char *)reply, (unsigned)(len + (address ? sizeof(record) : 0)));
    uv_udp_try_send(udp, &out, 1, from);
}

int cdt_name_server_open(struct cdt_name_server *server, uv_loop_t *loop)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int len = sizeof(at);
    uv_udp_init(loop, &server->udp);
    server->udp.data = server;
    int code = uv_udp_bind(&server->udp, (struct sockaddr *)&at, 0);
    if (code == 0)
        code = uv_udp_getsockname(&server->udp, (struct sockaddr *)&at, &len);
    snprintf(server->address, sizeof(server->address), "127.0.0.1:%d", ntohs(at.sin_port));
    return code == 0 ? uv_udp_recv_start(&server->udp, give_room, on_question) : code;
}

void cdt_name_server_close(struct cdt_name_server *server)
{
    uv_close((uv_handle_t *)&server->udp, NULL);
}
