/* SPDX-License-Identifier: ISC */
/*
 * TCP: addresses of two families, and what can be said about a socket of them.
 *
 * Segments do not wait to be filled (TCP_NODELAY): writes are batched above. A peer that has
 * vanished is found out in two minutes (keepalive), so that neither side holds dead connections for
 * ever. All of it is set before connect or listen; an accepted socket has the options of its
 * listener (tcp(7)), which costs no call for each.
 */
#include "context.h"
#include "endpoint.h"
#include "error.h"
#include "socket.h"
#include "tcp_options.h"
#include <conduit/memory.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static socklen_t size_of(const union cdt_address *address)
{
    return address->any.sa_family == AF_INET ? sizeof(address->in) : sizeof(address->in6);
}

static int set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value));
}

/* Multipath TCP where the kernel has it; with a peer that has not it is TCP by itself. */
static int open_socket(int family, const struct cdt_tcp_options *options)
{
    const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = options->mptcp ? socket(family, type, IPPROTO_MPTCP) : -1;
    return fd >= 0 ? fd : cdt_socket_open(family);
}

/* What a kernel does not know of these it does without. */
void cdt_tcp_prepare(int fd, const struct cdt_tcp_options *options)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, options->nodelay);
    if (options->idle_s > 0) {
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, options->idle_s);
        set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, options->interval_s);
        set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, options->count);
    }
    if (options->user_timeout_s > 0)
        set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, options->user_timeout_s * 1000);
}

static int use_interface(int fd, const struct cdt_tcp_options *options)
{
    if (options->interface == NULL)
        return 0;
    return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, options->interface,
                      (socklen_t)strlen(options->interface));
}

/* ---- dialling ---- */

/* The port is left to connect(2), which may use one for several peers: ip(7). */
static int use_address(int fd, const struct cdt_tcp_options *options)
{
    if (options->bind == NULL)
        return 0;
    set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    return bind(fd, &options->local.any, size_of(&options->local));
}

/* All before connect. 0, or a negative code after cdt_path_fail(). */
static int set_up(struct cdt_path *path, int fd, const conduit_endpoint *to,
                  const struct cdt_tcp_options *options)
{
    if (options->bind != NULL && options->local.any.sa_family != to->address.any.sa_family)
        return cdt_path_fail(path, CONDUIT_EUNREACH, CONDUIT_STAGE_DIAL, NULL, 0,
                             "bind=%s is an address of the other family", options->bind);
    cdt_tcp_prepare(fd, options);
    if (options->fastopen)
        set_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
    if (use_interface(fd, options) < 0)
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, errno, "interface");
    if (use_address(fd, options) < 0)
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, errno, "bind");
    return 0;
}

static int dial(struct cdt_path *path, const conduit_endpoint *to)
{
    struct cdt_tcp_options options;
    cdt_tcp_options_read(&options, &to->params);
    int fd = open_socket(to->address.any.sa_family, &options);
    if (fd < 0)
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, errno, "socket");
    int code = set_up(path, fd, to, &options);
    if (code < 0) {
        close(fd);
        return code;
    }
    return cdt_socket_dial(path, fd, &to->address.any, size_of(&to->address));
}

/* ---- listening ---- */

/* The endpoint that `fd` stands on, which is not `at` if that had port 0. */
static const conduit_endpoint *standing(int fd, const conduit_endpoint *at)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return NULL;
    return cdt_endpoint_transport(at->transport, (struct sockaddr *)&address, NULL, &at->params);
}

/* 0, or -1 with errno and what failed. */
static int stand(int fd, const conduit_endpoint *at, const struct cdt_tcp_options *options,
                 int backlog, const char **call)
{
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (at->address.any.sa_family == AF_INET6) /* the other family is a socket of its own */
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    cdt_tcp_prepare(fd, options);
    if (options->fastopen)
        set_option(fd, IPPROTO_TCP, TCP_FASTOPEN, backlog);
    *call = "reuse_port";
    if (options->reuse_port && set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)
        return -1;
    *call = "interface";
    if (use_interface(fd, options) < 0)
        return -1;
    *call = "bind";
    if (bind(fd, &at->address.any, size_of(&at->address)) < 0)
        return -1;
    *call = "listen";
    return listen(fd, backlog);
}

/* A listening socket, or -1 with errno and what failed. */
static int listening_socket(const conduit_endpoint *at, int backlog, const char **call)
{
    struct cdt_tcp_options options;
    cdt_tcp_options_read(&options, &at->params);
    *call = "socket";
    int fd = open_socket(at->address.any.sa_family, &options);
    if (fd < 0 || stand(fd, at, &options, backlog, call) == 0)
        return fd;
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

static int bind_tcp(conduit_ctx *ctx, const conduit_endpoint *at, int backlog,
                    struct cdt_acceptor **ret, const conduit_error **reterr)
{
    const char *call;
    int fd = listening_socket(at, backlog, &call);
    if (fd < 0)
        return cdt_error_give(
            cdt_error_errno(CONDUIT_STAGE_DIAL, conduit_endpoint_uri(at), errno, call), reterr);
    struct cdt_socket_acceptor *made = conduit_calloc(1, sizeof(*made));
    const conduit_endpoint *endpoint = standing(fd, at);
    int number = ENOMEM;
    if (made != NULL && endpoint != NULL)
        number = cdt_socket_acceptor_start(made, ctx, fd, endpoint);
    if (number != 0) {
        close(fd);
        conduit_free(made);
        conduit_endpoint_unref(endpoint);
        return cdt_error_give(
            cdt_error_errno(CONDUIT_STAGE_DIAL, conduit_endpoint_uri(at), number, "poll"), reterr);
    }
    *ret = &made->acceptor;
    return 0;
}

const struct cdt_transport cdt_transport_tcp = {
    .name = "tcp",
    .form = CDT_FORM_HOST_PORT,
    .keys = cdt_tcp_keys,
    .check = cdt_tcp_option_check,
    .dial = dial,
    .bind = bind_tcp,
};
