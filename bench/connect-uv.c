/* SPDX-License-Identifier: ISC */
/* Connecting by name as libuv's users do it: uv_getaddrinfo(), then one address after the other. */
#include "connect.h"

#include <err.h>
#include <stdio.h>
#include <uv.h>

static const char *host;
static char port[8];
static uv_tcp_t tcp;
static uv_connect_t request;
static struct addrinfo *found;
static const struct addrinfo *next;

static void dial(void);

static void on_gone(uv_handle_t *handle)
{
    dial();
}

static void on_connected(uv_connect_t *connect, int status)
{
    if (status == 0)
        next = NULL;
    uv_close((uv_handle_t *)&tcp, status == 0 ? NULL : on_gone);
}

static void dial(void)
{
    if (next == NULL)
        errx(1, "nobody there");
    const struct sockaddr *address = next->ai_addr;
    next = next->ai_next;
    uv_tcp_init(uv_default_loop(), &tcp);
    uv_tcp_nodelay(&tcp, 1);
    if (uv_tcp_connect(&request, &tcp, address, on_connected) < 0)
        errx(1, "connect");
}

static void on_addresses(uv_getaddrinfo_t *look, int status, struct addrinfo *list)
{
    if (status < 0)
        errx(1, "%s: %s", host, uv_strerror(status));
    next = found = list;
    dial();
}

void connect_begin(const struct connect_to *to)
{
    if (to->tls || *to->address != '\0')
        errx(2, "only tcp, and names that the system knows");
    host = to->host;
    snprintf(port, sizeof port, "%u", to->port);
}

void connect_once(void)
{
    static uv_getaddrinfo_t look;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    if (uv_getaddrinfo(uv_default_loop(), &look, on_addresses, host, port, &hints) < 0)
        errx(1, "getaddrinfo");
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    uv_freeaddrinfo(found);
}

int main(int argc, char **argv)
{
    return connect_main(argc, argv);
}
