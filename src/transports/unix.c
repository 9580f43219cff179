/* SPDX-License-Identifier: ISC */
/*
 * Unix sockets: unix:/run/x.sock, a path with permissions, and unix-abstract:name, a name without.
 *
 * The path belongs to the listener that bound it, and goes with it: unix_node.c. A name goes with
 * its socket. It has no permissions, so a listener there lets in its own user and root, unless
 * allow_uid says otherwise; and it is only used where the scheme says so: never guessed from a
 * path.
 */
#include "context.h"
#include "credentials.h"
#include "endpoint.h"
#include "error.h"
#include "socket.h"
#include "unix_node.h"
#include "util.h"
#include <conduit/memory.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct unix_acceptor {
    struct cdt_socket_acceptor socket;
    struct sockaddr_un address;
    struct cdt_node node;
};

/* ---- addresses ---- */

static bool is_abstract(const conduit_endpoint *endpoint)
{
    return endpoint->transport->form == CDT_FORM_WORD;
}

/* Length and NUL were checked when the endpoint was made. */
static socklen_t address_of(const conduit_endpoint *endpoint, struct sockaddr_un *un)
{
    *un = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t n = strlen(endpoint->host);
    if (!is_abstract(endpoint)) {
        memcpy(un->sun_path, endpoint->host, n);
        return sizeof(*un);
    }
    memcpy(un->sun_path + 1, endpoint->host, n);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

static const char *check_name(const char *name)
{
    struct sockaddr_un un;
    size_t n = strlen(name);
    return n > 0 && n < sizeof(un.sun_path) ? NULL : "a name has 1 to 107 bytes";
}

/* ---- parameters ---- */

static bool read_mode(const char *text, mode_t *mode)
{
    char *end;
    unsigned long value = strtoul(text, &end, 8);
    *mode = (mode_t)value;
    return *text >= '0' && *text <= '7' && *end == '\0' && value <= 0777;
}

static const char *check(const char *key, const char *value)
{
    mode_t mode;
    if (strcmp(key, "allow_uid") == 0)
        return cdt_uids_check(value);
    if (strcmp(key, "mode") == 0)
        return read_mode(value, &mode) ? NULL : "an octal number up to 777";
    return *value != '\0' ? NULL : "a name or a number";
}

/* 0, or a negative code and *reterr: there may be no such user here. */
static int read_rights(const conduit_endpoint *at, struct cdt_node_rights *ret,
                       const conduit_error **reterr)
{
    const char *mode = conduit_endpoint_param(at, "mode");
    const char *user = conduit_endpoint_param(at, "user");
    const char *group = conduit_endpoint_param(at, "group");
    *ret = (struct cdt_node_rights){.user = (uid_t)-1, .group = (gid_t)-1};
    ret->has_mode = mode != NULL && read_mode(mode, &ret->mode);
    const char *unknown = NULL;
    if (user != NULL && !cdt_node_user(user, &ret->user))
        unknown = user;
    else if (group != NULL && !cdt_node_group(group, &ret->group))
        unknown = group;
    if (unknown == NULL)
        return 0;
    return cdt_error_give(
        cdt_error_new(CONDUIT_EINVAL, CONDUIT_STAGE_DIAL, conduit_endpoint_uri(at), NULL, 0,
                      "this machine has no %s \"%s\"", unknown == user ? "user" : "group", unknown),
        reterr);
}

/* ---- dialling ---- */

static int dial(struct cdt_path *path, const conduit_endpoint *to)
{
    struct sockaddr_un un;
    socklen_t len = address_of(to, &un);
    int fd = cdt_socket_open(AF_UNIX);
    if (fd < 0)
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, errno, "socket");
    int code = cdt_socket_dial(path, fd, (struct sockaddr *)&un, len);
    if (code == 0)
        cdt_socket_demand(path, conduit_endpoint_param(to, "allow_uid"));
    return code;
}

/* ---- listening ---- */

static void remove_path(struct cdt_socket_acceptor *acceptor)
{
    const struct unix_acceptor *a = CDT_CONTAINER(acceptor, struct unix_acceptor, socket);
    cdt_node_remove(acceptor->acceptor.ctx, &a->address, &a->node);
}

static int refuse(const conduit_endpoint *at, int number, const char *call,
                  const conduit_error **reterr)
{
    const char *uri = conduit_endpoint_uri(at);
    if (number == ENOENT || number == ENOTDIR) /* dialling, this is a refusal; not here */
        return cdt_error_give(cdt_error_new(CONDUIT_EIO, CONDUIT_STAGE_DIAL, uri, "errno", number,
                                            "%s: the directory does not exist", call),
                              reterr);
    return cdt_error_give(cdt_error_errno(CONDUIT_STAGE_DIAL, uri, number, call), reterr);
}

/* Bind the socket of `a`. 0, or an errno and what failed. */
static int stand(struct unix_acceptor *a, int fd, const conduit_endpoint *at,
                 const struct cdt_node_rights *rights, const char **call)
{
    socklen_t len = address_of(at, &a->address);
    *call = "bind";
    if (!is_abstract(at))
        return cdt_node_bind(fd, &a->address, rights, &a->node, call);
    return bind(fd, (const struct sockaddr *)&a->address, len) < 0 ? errno : 0;
}

/* The same, and listen: nobody is let in before all is in place. */
static int start(struct unix_acceptor *a, conduit_ctx *ctx, int fd, const conduit_endpoint *at,
                 int backlog, const char **call)
{
    *call = "listen";
    int number = listen(fd, backlog) < 0 ? errno : 0;
    if (number == 0) {
        *call = "poll";
        number = cdt_socket_acceptor_start(&a->socket, ctx, fd, at);
    }
    if (number != 0) {
        close(fd);
        if (!is_abstract(at))
            cdt_node_remove(ctx, &a->address, &a->node);
        return number;
    }
    conduit_endpoint_ref(at);
    a->socket.closed = is_abstract(at) ? NULL : remove_path;
    a->socket.allow_uid = conduit_endpoint_param(at, "allow_uid");
    if (a->socket.allow_uid == NULL && is_abstract(at))
        a->socket.allow_uid = "";
    return 0;
}

static int listen_at(struct unix_acceptor *a, conduit_ctx *ctx, const conduit_endpoint *at,
                     const struct cdt_node_rights *rights, int backlog, const char **call)
{
    *call = "socket";
    int fd = cdt_socket_open(AF_UNIX);
    if (fd < 0)
        return errno;
    int number = stand(a, fd, at, rights, call);
    if (number == 0)
        return start(a, ctx, fd, at, backlog, call);
    close(fd);
    return number;
}

static int bind_unix(conduit_ctx *ctx, const conduit_endpoint *at, int backlog,
                     struct cdt_acceptor **ret, const conduit_error **reterr)
{
    const char *call = "socket";
    struct cdt_node_rights rights;
    int code = read_rights(at, &rights, reterr);
    if (code < 0)
        return code;
    struct unix_acceptor *made = conduit_calloc(1, sizeof(*made));
    int number = made != NULL ? listen_at(made, ctx, at, &rights, backlog, &call) : ENOMEM;
    if (number != 0) {
        conduit_free(made);
        return refuse(at, number, call, reterr);
    }
    *ret = &made->socket.acceptor;
    return 0;
}

static const char *const keys_of_path[] = {"mode", "user", "group", "allow_uid", NULL};
static const char *const keys_of_name[] = {"allow_uid", NULL};

const struct cdt_transport cdt_transport_unix = {
    .name = "unix",
    .form = CDT_FORM_PATH,
    .keys = keys_of_path,
    .check = check,
    .dial = dial,
    .bind = bind_unix,
};

const struct cdt_transport cdt_transport_unix_abstract = {
    .name = "unix-abstract",
    .form = CDT_FORM_WORD,
    .keys = keys_of_name,
    .check = check,
    .check_place = check_name,
    .dial = dial,
    .bind = bind_unix,
};
