/* SPDX-License-Identifier: ISC */
/*
 * Adopting: a connected descriptor becomes a connection, with layers over it if they are wanted.
 *
 * It is a connect to fd:N, whose transport takes the descriptor over; as the server, the layers
 * shake hands from the other side. Between the call and the dial the descriptor is the connect's to
 * close.
 */
#include "adopt.h"
#include "connect.h"
#include "context.h"
#include <conduit/connection.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

static int get(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -1 : value;
}

const char *cdt_descriptor_unfit(int fd, bool listening)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    if (fcntl(fd, F_GETFD) < 0)
        return "no such descriptor is open";
    if (get(fd, SO_TYPE) != SOCK_STREAM)
        return "the descriptor is not a stream socket";
    bool accepts = get(fd, SO_ACCEPTCONN) > 0;
    if (listening && !accepts)
        return "the socket does not listen";
    if (!listening && accepts)
        return "the socket listens: it is for conduit_listen()";
    if (!listening && getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
        return "the socket is not connected";
    return NULL;
}

int conduit_adopt(conduit_ctx *ctx, int fd, const conduit_adopt_options *options,
                  const conduit_handler *handler, void *user, conduit_conn **ret)
{
    static const conduit_adopt_options defaults;
    char uri[128];
    options = options != NULL ? options : &defaults;
    const char *why = cdt_descriptor_unfit(fd, false);
    if (why != NULL)
        return cdt_ctx_refuse(ctx, CONDUIT_EINVAL, why);
    bool plain = options->layers == NULL || *options->layers == '\0';
    int n =
        snprintf(uri, sizeof(uri), "%s%sfd:%d", plain ? "" : options->layers, plain ? "" : "+", fd);
    if (n >= (int)sizeof(uri))
        return cdt_ctx_refuse(ctx, CONDUIT_EINVAL, "too many layers");
    const struct cdt_adopted adopted = {.fd = fd, .server = options->server};
    return cdt_connect_start(ctx, uri, &options->connect, &adopted, handler, user, ret);
}
