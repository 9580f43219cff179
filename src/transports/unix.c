/* SPDX-License-Identifier: ISC */
/*
 * Unix sockets: a path with permissions.
 *
 * `mode` holds from the first instant: on Linux the node that bind(2) makes takes its mode from the
 * socket's inode, so fchmod(2) comes before. A path that is left over from a dead server is taken
 * over, but never blindly: under a lock on its directory, only if it is a socket, and only if
 * nobody answers there. When the listener closes, the path goes with it, if it is still the same
 * node.
 */
#include "context.h"
#include "endpoint.h"
#include "error.h"
#include "socket.h"
#include "util.h"
#include <conduit/memory.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct unix_acceptor {
    struct cdt_socket_acceptor socket;
    dev_t device;
    ino_t inode;
};

/* Length and NUL were checked when the endpoint was made. */
static struct sockaddr_un address_of(const conduit_endpoint *endpoint)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    strncpy(un.sun_path, endpoint->host, sizeof(un.sun_path) - 1);
    return un;
}

static int dial(struct cdt_path *path, const conduit_endpoint *to)
{
    struct sockaddr_un un = address_of(to);
    int fd = cdt_socket_open(AF_UNIX);
    if (fd < 0)
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, errno, "socket");
    return cdt_socket_dial(path, fd, (struct sockaddr *)&un, sizeof(un));
}

/* ---- binding ---- */

static bool parse_mode(const char *text, mode_t *mode)
{
    char *end;
    unsigned long value = strtoul(text, &end, 8);
    *mode = (mode_t)value;
    return *text >= '0' && *text <= '7' && *end == '\0' && value <= 0777;
}

/* Is it a socket that nobody has bound any more? A datagram socket asks that without making a
 * connection: unix(7) answers EPROTOTYPE if a stream socket is there, listening or not yet. */
static bool is_stale(const struct sockaddr_un *un)
{
    struct stat info;
    if (lstat(un->sun_path, &info) < 0 || !S_ISSOCK(info.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool refused =
        connect(fd, (const struct sockaddr *)un, sizeof(*un)) < 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

/* The directory of the path, locked, or -1: two servers that start at once must not take each other
 * for dead. */
static int lock_directory(const struct sockaddr_un *un)
{
    char copy[sizeof(un->sun_path)];
    memcpy(copy, un->sun_path, sizeof(copy));
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int bind_path(int fd, const struct sockaddr_un *un)
{
    if (bind(fd, (const struct sockaddr *)un, sizeof(*un)) == 0)
        return 0;
    int number = errno;
    int lock = number == EADDRINUSE ? lock_directory(un) : -1;
    if (lock < 0)
        return number;
    if (is_stale(un) && unlink(un->sun_path) == 0)
        number = bind(fd, (const struct sockaddr *)un, sizeof(*un)) == 0 ? 0 : errno;
    close(lock);
    return number;
}

/* A listening socket in *ret; 0 or an errno, and what failed. */
static int listening_socket(const struct sockaddr_un *un, const mode_t *mode, int backlog, int *ret,
                            const char **call)
{
    *call = "socket";
    int fd = cdt_socket_open(AF_UNIX);
    if (fd < 0)
        return errno;
    *call = "mode";
    int number = mode != NULL && fchmod(fd, *mode) < 0 ? errno : 0;
    if (number == 0) {
        *call = "bind";
        number = bind_path(fd, un);
    }
    if (number != 0) {
        close(fd);
        return number;
    }
    *call = "listen";
    /* The umask took its share; what it took comes back now, when nobody can have been let in
     * wrongly. */
    if ((mode != NULL && chmod(un->sun_path, *mode) < 0) || listen(fd, backlog) < 0) {
        number = errno;
        unlink(un->sun_path);
        close(fd);
    }
    *ret = fd;
    return number;
}

static void remove_path(struct cdt_socket_acceptor *acceptor)
{
    const struct unix_acceptor *a = CDT_CONTAINER(acceptor, struct unix_acceptor, socket);
    const char *path = acceptor->acceptor.endpoint->host;
    struct stat info;
    if (lstat(path, &info) == 0 && info.st_dev == a->device && info.st_ino == a->inode)
        unlink(path);
}

static int bind_unix(conduit_ctx *ctx, const conduit_endpoint *at, int backlog,
                     struct cdt_acceptor **ret, const conduit_error **reterr)
{
    const char *uri = conduit_endpoint_uri(at), *call;
    const char *given = conduit_endpoint_param(at, "mode");
    mode_t mode = 0;
    if (given != NULL && !parse_mode(given, &mode))
        return cdt_error_give(cdt_error_new(CONDUIT_EINVAL, CONDUIT_STAGE_URI, uri, NULL, 0,
                                            "mode=%s: an octal number up to 777", given),
                              reterr);
    struct sockaddr_un un = address_of(at);
    int fd = -1;
    int number = listening_socket(&un, given != NULL ? &mode : NULL, backlog, &fd, &call);
    if (number == ENOENT || number == ENOTDIR) /* dialling, this is a refusal; not here */
        return cdt_error_give(cdt_error_new(CONDUIT_EIO, CONDUIT_STAGE_DIAL, uri, "errno", number,
                                            "%s: the directory does not exist", call),
                              reterr);
    if (number != 0)
        return cdt_error_give(cdt_error_errno(CONDUIT_STAGE_DIAL, uri, number, call), reterr);
    struct unix_acceptor *made = conduit_calloc(1, sizeof(*made));
    struct stat info = {0};
    int err = UV_ENOMEM;
    if (made != NULL)
        err = lstat(un.sun_path, &info) < 0 ? -errno
                                            : cdt_socket_acceptor_start(&made->socket, ctx, fd, at);
    if (err < 0) {
        unlink(un.sun_path);
        close(fd);
        conduit_free(made);
        return cdt_error_give(cdt_error_errno(CONDUIT_STAGE_DIAL, uri, -err, "poll"), reterr);
    }
    conduit_endpoint_ref(at);
    made->device = info.st_dev;
    made->inode = info.st_ino;
    made->socket.closing = remove_path;
    *ret = &made->socket.acceptor;
    return 0;
}

static const char *const keys[] = {"mode", NULL};

const struct cdt_transport cdt_transport_unix = {
    .name = "unix",
    .form = CDT_FORM_PATH,
    .keys = keys,
    .dial = dial,
    .bind = bind_unix,
};
