/* SPDX-License-Identifier: ISC */
/* See proxy-server.h. Who asks is the library, so requests are well-formed; what is tested is not
 * here. RFC 1928, RFC 1929, RFC 9110 section 9.3.6. */
#include "proxy-server.h"
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 4096 };

/* One guest: what it has said and has not been answered yet. */
struct guest {
    uv_tcp_t tcp;
    unsigned char said[ROOM + 1];
    size_t n;
    bool greeted, logged_in; /* of SOCKS */
};

static void free_guest(uv_handle_t *handle)
{
    free(handle->data);
}

/* `n` bytes of what was said are answered. */
static bool answer(struct guest *guest, size_t n, const void *bytes, size_t len)
{
    char text[ROOM];
    uv_buf_t buf = uv_buf_init(text, (unsigned)len);
    memcpy(text, bytes, len);
    uv_try_write((uv_stream_t *)&guest->tcp, &buf, 1);
    guest->n -= n;
    memmove(guest->said, guest->said + n, guest->n);
    return true;
}

static bool answer_socks(struct guest *guest)
{
    const unsigned char *said = guest->said;
    if (!guest->greeted) {
        size_t n = guest->n >= 2 ? 2U + said[1] : ROOM;
        bool login = guest->n >= n && said[n - 1] == 2;
        guest->greeted = guest->n >= n;
        guest->logged_in = !login;
        return guest->n >= n && answer(guest, n, login ? "\5\2" : "\5\0", 2);
    }
    if (!guest->logged_in) {
        size_t n = guest->n >= 2 ? 3U + said[1] : ROOM;
        n += guest->n >= n ? said[n - 1] : ROOM;
        guest->logged_in = guest->n >= n;
        return guest->n >= n && answer(guest, n, "\1\0", 2);
    }
    size_t n = guest->n >= 5 ? 6U + (said[3] == 1 ? 4 : said[3] == 4 ? 16 : 1U + said[4]) : ROOM;
    if (guest->n < n)
        return false;
    guest->greeted = guest->logged_in = false; /* there may be another inside */
    return answer(guest, n, "\5\0\0\1\0\0\0\0\0\0", 10);
}

static bool answer_connect(struct guest *guest)
{
    static const char yes[] = "HTTP/1.1 200 Go on\r\n\r\n";
    guest->said[guest->n] = '\0';
    const char *text = (const char *)guest->said, *end = strstr(text, "\r\n\r\n");
    return end != NULL && answer(guest, (size_t)(end + 4 - text), yes, strlen(yes));
}

/* A message of the tests begins with neither a SOCKS version nor a method. True: there may be more
 * to answer. */
static bool answer_next(struct guest *guest)
{
    if (guest->n == 0)
        return false;
    if (guest->said[0] == 'C')
        return answer_connect(guest);
    if (guest->said[0] == 5 || guest->greeted)
        return answer_socks(guest);
    return answer(guest, guest->n, guest->said, guest->n);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct guest *guest = handle->data;
    *buf = uv_buf_init((char *)guest->said + guest->n, (unsigned)(ROOM - guest->n));
}

static void on_said(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct guest *guest = stream->data;
    if (n < 0) {
        uv_close((uv_handle_t *)stream, free_guest);
        return;
    }
    guest->n += (size_t)n;
    while (answer_next(guest))
        ;
}

static void on_guest(uv_stream_t *stream, int status)
{
    struct guest *guest = calloc(1, sizeof(*guest));
    if (guest == NULL)
        abort();
    uv_tcp_init(stream->loop, &guest->tcp);
    guest->tcp.data = guest;
    uv_accept(stream, (uv_stream_t *)&guest->tcp);
    uv_read_start((uv_stream_t *)&guest->tcp, give_room, on_said);
}

int cdt_proxy_server_open(struct cdt_proxy_server *server, uv_loop_t *loop)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int len = sizeof(at);
    uv_tcp_init(loop, &server->tcp);
    int code = uv_tcp_bind(&server->tcp, (struct sockaddr *)&at, 0);
    if (code == 0)
        code = uv_listen((uv_stream_t *)&server->tcp, 16, on_guest);
    if (code == 0)
        code = uv_tcp_getsockname(&server->tcp, (struct sockaddr *)&at, &len);
    snprintf(server->port, sizeof(server->port), "%d", ntohs(at.sin_port));
    return code;
}

void cdt_proxy_server_close(struct cdt_proxy_server *server)
{
    uv_close((uv_handle_t *)&server->tcp, NULL);
}
