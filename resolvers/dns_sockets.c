/* SPDX-License-Identifier: ISC */
/* System calls for c-ares: dns_sockets.h says what is different about them. */
#define CARES_NO_DEPRECATED 1
#include "dns_sockets.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static ares_socket_t open_one(int family, int type, int protocol, void *user)
{
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd >= 0 && type == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

static int close_one(ares_socket_t fd, void *user)
{
    return close(fd);
}

static int connect_one(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t size, void *user)
{
    return connect(fd, to, size);
}

static ares_ssize_t receive(ares_socket_t fd, void *buf, size_t size, int flags,
                            struct sockaddr *from, ares_socklen_t *from_size, void *user)
{
    struct cdt_dns_allowance *allowance = user;
    if (allowance->left == 0) {
        errno = EAGAIN;
        return -1;
    }
    allowance->left--;
    return recvfrom(fd, buf, size, flags, from, from_size);
}

static ares_ssize_t send_all(ares_socket_t fd, const struct iovec *pieces, int n, void *user)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)pieces, .msg_iovlen = (size_t)n};
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

void cdt_dns_use_sockets(ares_channel channel, struct cdt_dns_allowance *allowance)
{
    static const struct ares_socket_functions functions = {
        .asocket = open_one,
        .aclose = close_one,
        .aconnect = connect_one,
        .arecvfrom = receive,
        .asendv = send_all,
    };
    ares_set_socket_functions(channel, &functions, allowance);
}
