/* SPDX-License-Identifier: ISC */
/* TCP: addresses of two families, and no waiting to fill a segment (TCP_NODELAY): writes are
 * batched above. */
#include "context.h"
#include "endpoint.h"
#include "error.h"
#include "socket.h"
#include <conduit/memory.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

static socklen_t address_size(const conduit_endpoint *endpoint)
{
    return endpoint->address.any.sa_family == AF_INET ? sizeof(endpoint->address.in)
                                                      : sizeof(endpoint->address.in6);
}

static void set_option(int fd, int level, int option)
{
    int on = 1;
    setsockopt(fd, level, option, &on, sizeof(on));
}

static void prepare(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY);
}

static int dial(struct cdt_path *path, const conduit_endpoint *to)
{
    int fd = cdt_socket_open(to->address.any.sa_family);
    if (fd < 0)
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, errno, "socket");
    prepare(fd);
    return cdt_socket_dial(path, fd, &to->address.any, address_size(to));
}

/* The endpoint that `fd` stands on, which is not `at` if that had port 0. */
static const conduit_endpoint *standing(int fd, const conduit_endpoint *at)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return NULL;
    return cdt_endpoint_transport(at->transport, (struct sockaddr *)&address, NULL, &at->params);
}

/* A listening socket, or -1 with errno and what failed. */
static int listening_socket(const conduit_endpoint *at, int backlog, const char **call)
{
    *call = "socket";
    int fd = cdt_socket_open(at->address.any.sa_family);
    if (fd < 0)
        return -1;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR);
    if (at->address.any.sa_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY); /* the other family is a socket of its own */
    *call = "bind";
    int failed = bind(fd, &at->address.any, address_size(at));
    if (failed == 0) {
        *call = "listen";
        failed = listen(fd, backlog);
    }
    if (failed == 0)
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
    int err = UV_ENOMEM;
    if (made != NULL && endpoint != NULL)
        err = cdt_socket_acceptor_start(made, ctx, fd, endpoint);
    if (err < 0) {
        close(fd);
        conduit_free(made);
        conduit_endpoint_unref(endpoint);
        return cdt_error_give(
            cdt_error_errno(CONDUIT_STAGE_DIAL, conduit_endpoint_uri(at), -err, "poll"), reterr);
    }
    made->prepare = prepare;
    *ret = &made->acceptor;
    return 0;
}

const struct cdt_transport cdt_transport_tcp = {
    .name = "tcp",
    .form = CDT_FORM_HOST_PORT,
    .dial = dial,
    .bind = bind_tcp,
};
