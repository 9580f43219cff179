/* SPDX-License-Identifier: ISC */
/*
 * Sockets that somebody else has made: fd:3 by number, systemd:name from a socket unit.
 *
 * What a descriptor is, is asked of the kernel and not taken from the URI: a listening socket can
 * be listened at, a connected one can be dialled, and nothing else can. It is the library's from
 * then on: non-blocking, closed on exec, and closed in the end. But what it stands for is not: the
 * node of a Unix socket stays, and a listening socket, which others may share, is never shut down.
 *
 * launchd's sockets come by launch_activate_socket(), which only macOS has: its descriptors can be
 * given as fd:N.
 */
#include "adopt.h"
#include "context.h"
#include "credentials.h"
#include "endpoint.h"
#include "error.h"
#include "socket.h"
#include "systemd.h"
#include "tcp_options.h"
#include <conduit/memory.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- by number ---- */

/* -1: not the number of a descriptor. */
static int read_number(const char *text)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    return errno == 0 && *end == '\0' && value <= INT_MAX ? (int)value : -1;
}

static const char *check_number(const char *place)
{
    return read_number(place) >= 0 ? NULL : "the number of a descriptor goes here, as in fd:3";
}

static const char *check_name(const char *name)
{
    return strlen(name) <= 255 && strchr(name, ':') == NULL ? NULL : "not a name of systemd's";
}

static const char *check(const char *key, const char *value)
{
    return cdt_uids_check(value);
}

/* ---- what it is ---- */

static bool is_named(const conduit_endpoint *at)
{
    return strcmp(at->transport->name, "systemd") == 0;
}

/* The descriptor of `at`, or -1 and why. */
static int find(const conduit_endpoint *at, bool listening, const char **why)
{
    int fd = read_number(at->host);
    if (is_named(at)) {
        fd = cdt_systemd_take(at->host, listening);
        *why = listening
                   ? "systemd has passed no listening socket of that name to this process, or "
                     "it was taken"
                   : "systemd has passed no connection of that name to this process, or it "
                     "was taken";
        return fd;
    }
    *why = cdt_descriptor_unfit(fd, listening);
    return *why == NULL ? fd : -1;
}

/* Ours from now on. */
static int take(int fd)
{
    static const struct cdt_params none;
    int flags = fcntl(fd, F_GETFL), domain = AF_UNSPEC;
    socklen_t len = sizeof(domain);
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return errno;
    if (domain == AF_INET || domain == AF_INET6) {
        struct cdt_tcp_options options;
        cdt_tcp_options_read(&options, &none);
        cdt_tcp_prepare(fd, &options);
    }
    return 0;
}

/* ---- dialling ---- */

static int dial(struct cdt_path *path, const conduit_endpoint *to)
{
    const char *why;
    int fd = find(to, false, &why);
    if (fd < 0)
        return cdt_path_fail(path, CONDUIT_EINVAL, CONDUIT_STAGE_DIAL, NULL, 0, "%s", why);
    int number = take(fd);
    if (number != 0)
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, number, "fcntl");
    int code = cdt_socket_adopt(path, fd);
    if (code == 0)
        cdt_socket_demand(path, conduit_endpoint_param(to, "allow_uid"));
    return code;
}

/* ---- listening ---- */

static int start(conduit_ctx *ctx, int fd, const conduit_endpoint *at, struct cdt_acceptor **ret)
{
    struct cdt_socket_acceptor *made = conduit_calloc(1, sizeof(*made));
    const conduit_endpoint *standing = cdt_socket_standing(fd, &at->params);
    int number = ENOMEM;
    if (made != NULL && standing != NULL)
        number = cdt_socket_acceptor_start(made, ctx, fd, standing);
    if (number != 0) {
        conduit_free(made);
        conduit_endpoint_unref(standing);
        return number;
    }
    made->allow_uid = conduit_endpoint_param(standing, "allow_uid");
    if (made->allow_uid == NULL && strcmp(conduit_endpoint_name(standing), "unix-abstract") == 0)
        made->allow_uid = ""; /* as if we had bound it ourselves */
    *ret = &made->acceptor;
    return 0;
}

static int bind_inherited(conduit_ctx *ctx, const conduit_endpoint *at, int backlog,
                          struct cdt_acceptor **ret, const conduit_error **reterr)
{
    const char *why, *uri = conduit_endpoint_uri(at);
    int fd = find(at, true, &why);
    if (fd < 0)
        return cdt_error_give(
            cdt_error_new(CONDUIT_EINVAL, CONDUIT_STAGE_DIAL, uri, NULL, 0, "%s", why), reterr);
    int number = take(fd);
    if (number == 0)
        number = start(ctx, fd, at, ret);
    if (number == 0)
        return 0;
    if (number == EEXIST) /* the other listener closes it */
        return cdt_error_give(cdt_error_new(CONDUIT_EINVAL, CONDUIT_STAGE_DIAL, uri, "errno",
                                            number, "%s", cdt_socket_in_use),
                              reterr);
    close(fd);
    return cdt_error_give(cdt_error_errno(CONDUIT_STAGE_DIAL, uri, number, "poll"), reterr);
}

static const char *const keys[] = {"allow_uid", NULL};

const struct cdt_transport cdt_transport_fd = {
    .name = "fd",
    .form = CDT_FORM_WORD,
    .keys = keys,
    .check = check,
    .check_place = check_number,
    .dial = dial,
    .bind = bind_inherited,
};

const struct cdt_transport cdt_transport_systemd = {
    .name = "systemd",
    .form = CDT_FORM_WORD,
    .keys = keys,
    .check = check,
    .check_place = check_name,
    .dial = dial,
    .bind = bind_inherited,
};
