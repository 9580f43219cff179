/* SPDX-License-Identifier: ISC */
/*
 * See place.h. Cleaning and binding happen under a lock on the directory, so that of two who start
 * at once neither takes the other for dead. Nothing here follows a link in a directory that others
 * can write to.
 */
#include "transports/vchan/place.h"
#include "transports/lock.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".vchan"

/* ---- names ---- */

static bool is_own_directory(const char *path)
{
    struct stat info;
    return path != NULL && *path == '/' && lstat(path, &info) == 0 && S_ISDIR(info.st_mode) &&
           info.st_uid == geteuid();
}

/* False if it is too long for a socket in it. */
static bool own_directory(char *buf, size_t size)
{
    const char *given = secure_getenv("XDG_RUNTIME_DIR");
    char usual[64];
    snprintf(usual, sizeof(usual), "/run/user/%u", geteuid());
    int n;
    if (is_own_directory(given))
        n = snprintf(buf, size, "%s/conduit", given);
    else if (is_own_directory(usual))
        n = snprintf(buf, size, "%s/conduit", usual);
    else
        n = snprintf(buf, size, "/tmp/conduit-%u", geteuid());
    return n > 0 && (size_t)n < size;
}

int cdt_place_find(const char *host, bool shared, uid_t owner, struct cdt_place *place,
                   const char **what)
{
    *place = (struct cdt_place){.shared = shared, .owner = shared ? owner : geteuid()};
    *what = "the path of the socket is too long";
    if (shared)
        snprintf(place->directory, sizeof(place->directory), "/tmp/conduit-%u.shared", owner);
    else if (!own_directory(place->directory, sizeof(place->directory)))
        return ENAMETOOLONG;
    size_t n_name = strcspn(host, "/");
    const char *port = host[n_name] == '/' ? host + n_name + 1 : "";
    place->address.sun_family = AF_UNIX;
    int n = snprintf(place->address.sun_path, sizeof(place->address.sun_path), "%s/%.*s.%s" SUFFIX,
                     place->directory, (int)n_name, host, port);
    return n > 0 && (size_t)n < sizeof(place->address.sun_path) ? 0 : ENAMETOOLONG;
}

int cdt_place_check(const struct cdt_place *place, const char **what)
{
    struct stat info;
    *what = "the directory of the rendezvous";
    if (lstat(place->directory, &info) < 0)
        return errno;
    mode_t never = place->shared ? 022 : 077;
    if (S_ISDIR(info.st_mode) && info.st_uid == place->owner && (info.st_mode & never) == 0)
        return 0;
    *what = "the directory of the rendezvous is not its user's alone";
    return EACCES;
}

/* ---- looking ---- */

static bool is_socket(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISSOCK(info.st_mode);
}

/* A datagram socket asks without making a connection: unix(7) answers EPROTOTYPE if a socket of
 * another type is bound there, listening or not yet. */
static enum cdt_place_state look_at(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return CDT_PLACE_TAKEN;
    int number = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? errno : 0;
    close(fd);
    if (number == ENOENT)
        return CDT_PLACE_EMPTY;
    return number == ECONNREFUSED ? CDT_PLACE_STALE : CDT_PLACE_TAKEN;
}

enum cdt_place_state cdt_place_look(const struct cdt_place *place)
{
    return look_at(&place->address);
}

/* ---- binding ---- */

static int make_directory(const struct cdt_place *place, const char **what)
{
    *what = "the directory of the rendezvous";
    return mkdir(place->directory, 0700) == 0 || errno == EEXIST ? 0 : errno;
}

/* Others may go through to a socket that they know the name of. Whoever can read a directory can
 * hold the lock on it, and for ever: that is its user's alone. */
static int open_to_others(const struct cdt_place *place, const char **what)
{
    *what = "the mode of the rendezvous's directory";
    return !place->shared || chmod(place->directory, 0711) == 0 ? 0 : errno;
}

static bool is_ours(const char *name)
{
    size_t n = strlen(name), n_suffix = strlen(SUFFIX);
    return n > n_suffix && strcmp(name + n - n_suffix, SUFFIX) == 0;
}

static void remove_if_stale(const struct cdt_place *place, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", place->directory, name);
    if (n > 0 && (size_t)n < sizeof(address.sun_path) && is_socket(address.sun_path) &&
        look_at(&address) == CDT_PLACE_STALE)
        unlink(address.sun_path);
}

static void clean(const struct cdt_place *place)
{
    DIR *list = opendir(place->directory);
    struct dirent *entry;
    while (list != NULL && (entry = readdir(list)) != NULL)
        if (is_ours(entry->d_name))
            remove_if_stale(place, entry->d_name);
    if (list != NULL)
        closedir(list);
}

/* A socket that listens at the place; 0 or an errno. */
static int listen_at(const struct cdt_place *place, int backlog, int *ret, const char **what)
{
    const struct sockaddr_un *address = &place->address;
    *what = "socket";
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    *what = "bind";
    int number = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? errno : 0;
    bool bound = number == 0;
    if (bound && chmod(address->sun_path, place->shared ? 0666 : 0600) < 0)
        number = errno;
    if (number == 0 && listen(fd, backlog) < 0)
        number = errno;
    if (number != 0) {
        if (bound)
            unlink(address->sun_path);
        close(fd);
    }
    *ret = fd;
    return number;
}

int cdt_place_bind(const struct cdt_place *place, int backlog, int *ret, const char **what)
{
    int number = make_directory(place, what);
    if (number == 0)
        number = cdt_place_check(place, what);
    if (number == 0)
        number = open_to_others(place, what);
    if (number != 0)
        return number;
    *what = "the lock on the directory of the rendezvous";
    int held = cdt_lock_directory(place->directory, O_NOFOLLOW, CDT_LOCK_START_MS);
    if (held < 0)
        return errno;
    clean(place);
    number = listen_at(place, backlog, ret, what);
    close(held);
    return number;
}
