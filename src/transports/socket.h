/* SPDX-License-Identifier: ISC */
/*
 * What is true of every stream socket: a layer over a connected (or connecting) descriptor, an
 * acceptor over a listening one. A transport of sockets adds its addresses and its options.
 */
#ifndef CDT_SOCKET_H
#define CDT_SOCKET_H

#include "transport.h"
#include "watch.h"
#include <conduit/memory.h>

struct cdt_params;

struct cdt_socket_acceptor {
    struct cdt_acceptor acceptor;
    struct cdt_watch watch;
    const char *allow_uid; /* whom it lets in, a list of credentials.h; NULL: everyone. Borrowed. */
    void (*closed)(struct cdt_socket_acceptor *acceptor); /* the socket just was; or NULL */
};

/* A non-blocking, close-on-exec stream socket, or -1 with errno. */
int cdt_socket_open(int domain);

/* Begin to connect `fd` (taken over, whatever comes of it) and push its layer on `path`. 0, or a
 * negative code after cdt_path_fail(). */
int cdt_socket_dial(struct cdt_path *path, int fd, const struct sockaddr *to, socklen_t len);

/* Push the layer of `fd`, which is connected (taken over, whatever comes of it, unless this context
 * has it already). As cdt_socket_dial(). */
int cdt_socket_adopt(struct cdt_path *path, int fd);
/* ... and what is said then. */
extern const char cdt_socket_in_use[];
/* The endpoint that a listening `fd` stands on, with those of the parameters that its transport
 * has: a new reference, or NULL. */
const conduit_endpoint *cdt_socket_standing(int fd, const struct cdt_params *params);

/* Have the path open only if the peer of its socket, which was dialled just now, is of the list
 * (credentials.h; borrowed; NULL: everyone). */
void cdt_socket_demand(struct cdt_path *path, const char *allow_uid);

/* Watch over a listening `fd`, quiet until want(). `made` is embedded first in a struct of the
 * caller's from conduit_calloc() and `endpoint` a reference; both are taken over with `fd`, but
 * only if this returns 0. Otherwise an errno. */
int cdt_socket_acceptor_start(struct cdt_socket_acceptor *made, conduit_ctx *ctx, int fd,
                              const conduit_endpoint *endpoint);

#endif
