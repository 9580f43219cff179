/* SPDX-License-Identifier: ISC */
/*
 * vsock: sockets between a virtual machine and its host, vsock://CID:PORT (vsock(7)).
 *
 * A CID is a number that the hypervisor gave: 2 is the host, 1 this very machine where its kernel
 * has the loopback. There is nothing to look up. Ports are of 32 bits; in a URI they are of 16,
 * which is what services use, and a peer's larger one is shown as it is.
 */
#include "context.h"
#include "endpoint.h"
#include "error.h"
#include "socket.h"
#include <conduit/memory.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The host is "CID:PORT", and was checked when the endpoint was made; ":PORT" is every CID. */
static struct sockaddr_vm address_of(const conduit_endpoint *endpoint)
{
    bool every = *endpoint->host == ':';
    return (struct sockaddr_vm){
        .svm_family = AF_VSOCK,
        .svm_cid = every ? VMADDR_CID_ANY : (unsigned)strtoul(endpoint->host, NULL, 10),
        .svm_port = endpoint->port,
    };
}

static int dial(struct cdt_path *path, const conduit_endpoint *to)
{
    struct sockaddr_vm vm = address_of(to);
    if (vm.svm_cid == VMADDR_CID_ANY)
        return cdt_path_fail(path, CONDUIT_EINVAL, CONDUIT_STAGE_DIAL, NULL, 0,
                             "a CID is missing: this is a place to listen at");
    int fd = cdt_socket_open(AF_VSOCK);
    if (fd < 0)
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, errno, "socket");
    return cdt_socket_dial(path, fd, (const struct sockaddr *)&vm, sizeof(vm));
}

/* A listening socket, or -1 with errno and what failed. */
static int listening_socket(const conduit_endpoint *at, int backlog, const char **call)
{
    struct sockaddr_vm vm = address_of(at);
    *call = "socket";
    int fd = cdt_socket_open(AF_VSOCK);
    if (fd < 0)
        return -1;
    *call = "bind";
    int failed = bind(fd, (const struct sockaddr *)&vm, sizeof(vm));
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

static int bind_vsock(conduit_ctx *ctx, const conduit_endpoint *at, int backlog,
                      struct cdt_acceptor **ret, const conduit_error **reterr)
{
    const char *call, *uri = conduit_endpoint_uri(at);
    int fd = listening_socket(at, backlog, &call);
    if (fd < 0)
        return cdt_error_give(cdt_error_errno(CONDUIT_STAGE_DIAL, uri, errno, call), reterr);
    struct cdt_socket_acceptor *made = conduit_calloc(1, sizeof(*made));
    int number = made != NULL ? cdt_socket_acceptor_start(made, ctx, fd, at) : ENOMEM;
    if (number != 0) {
        close(fd);
        conduit_free(made);
        return cdt_error_give(cdt_error_errno(CONDUIT_STAGE_DIAL, uri, number, "poll"), reterr);
    }
    conduit_endpoint_ref(at);
    *ret = &made->acceptor;
    return 0;
}

const struct cdt_transport cdt_transport_vsock = {
    .name = "vsock",
    .form = CDT_FORM_CID_PORT,
    .dial = dial,
    .bind = bind_vsock,
};
