/* SPDX-License-Identifier: ISC */
/* Connecting by name with the C library alone: getaddrinfo(), and the first that answers. */
#include "connect.h"
#include "peer.h"

#include <err.h>
#include <netdb.h>
#include <stdio.h>
#include <unistd.h>

static const struct connect_to *target;
static char port[8];

void connect_begin(const struct connect_to *to)
{
    if (to->tls)
        errx(2, "getaddrinfo knows no TLS");
    target = to;
    snprintf(port, sizeof port, "%u", to->port);
}

void connect_once(void)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *all;
    int fd = -1, result = getaddrinfo(target->host, port, &hints, &all);
    if (result != 0)
        errx(1, "%s: %s", target->host, gai_strerror(result));
    for (const struct addrinfo *one = all; one != NULL && fd < 0; one = one->ai_next) {
        fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, one->ai_addr, one->ai_addrlen) == 0)
            continue;
        close(fd);
        fd = -1;
    }
    freeaddrinfo(all);
    if (fd < 0)
        err(1, "%s", target->uri);
    peer_send_at_once(fd);
    close(fd);
}

int main(int argc, char **argv)
{
    return connect_main(argc, argv);
}
