/* SPDX-License-Identifier: ISC */
/*
 * Making and removing the node of a Unix socket.
 *
 * The mode holds from the first instant: on Linux the node that bind(2) makes takes its mode from
 * the socket's inode, so fchmod(2) comes before. What the umask took, and the owner, come after,
 * while nobody can be let in yet because nobody listens.
 *
 * A path is taken over or removed under a lock on its directory, only if it is a socket, and only
 * if nobody has it bound. Of servers that start at once one gets the path: whoever holds the lock
 * takes a dead one away and binds, and to the next the path is not dead, for bound is enough.
 */
#include "unix_node.h"
#include "offload.h"
#include "transports/lock.h"
#include <conduit/memory.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- taking over ---- */

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

/* The directory of the path, locked, or -1 with errno. */
static int lock_directory(const struct sockaddr_un *un, unsigned wait_ms)
{
    char copy[sizeof(un->sun_path)];
    memcpy(copy, un->sun_path, sizeof(copy));
    return cdt_lock_directory(dirname(copy), 0, wait_ms);
}

static int bind_path(int fd, const struct sockaddr_un *un)
{
    if (bind(fd, (const struct sockaddr *)un, sizeof(*un)) == 0)
        return 0;
    int number = errno;
    int locked = number == EADDRINUSE ? lock_directory(un, CDT_LOCK_START_MS) : -1;
    if (locked < 0)
        return number;
    if (is_stale(un) && unlink(un->sun_path) == 0)
        number = bind(fd, (const struct sockaddr *)un, sizeof(*un)) == 0 ? 0 : errno;
    close(locked);
    return number;
}

/* ---- rights ---- */

/* By descriptor, for the path may have become a link to something else. */
static int set_rights(int node, const struct cdt_node_rights *rights)
{
    char path[32];
    if ((rights->user != (uid_t)-1 || rights->group != (gid_t)-1) &&
        fchownat(node, "", rights->user, rights->group, AT_EMPTY_PATH) < 0)
        return errno;
    if (!rights->has_mode)
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", node);
    return chmod(path, rights->mode) < 0 ? errno : 0;
}

static int complete(const struct sockaddr_un *un, const struct cdt_node_rights *rights,
                    struct cdt_node *ret)
{
    struct stat info;
    int node = open(un->sun_path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (node < 0)
        return errno;
    int number = fstat(node, &info) < 0 ? errno : 0;
    if (number == 0 && !S_ISSOCK(info.st_mode))
        number = ENOTSOCK;
    if (number == 0)
        number = set_rights(node, rights);
    *ret = (struct cdt_node){.device = info.st_dev, .inode = info.st_ino};
    close(node);
    return number;
}

int cdt_node_bind(int fd, const struct sockaddr_un *un, const struct cdt_node_rights *rights,
                  struct cdt_node *ret, const char **call)
{
    *call = "mode";
    if (rights->has_mode && fchmod(fd, rights->mode) < 0)
        return errno;
    *call = "bind";
    int number = bind_path(fd, un);
    if (number != 0)
        return number;
    *call = "owner and mode";
    number = complete(un, rights, ret);
    if (number != 0)
        unlink(un->sun_path);
    return number;
}

/* ---- removing ---- */

/* What another thread removes. */
struct removal {
    struct sockaddr_un un;
    struct cdt_node node;
};

static void remove_node(const struct sockaddr_un *un, const struct cdt_node *node)
{
    struct stat info;
    if (lstat(un->sun_path, &info) == 0 && info.st_dev == node->device &&
        info.st_ino == node->inode && is_stale(un))
        unlink(un->sun_path);
}

/* Whoever has had the lock for all that time is not about to listen here. */
static void wait_and_remove(void *arg)
{
    const struct removal *removal = arg;
    int locked = lock_directory(&removal->un, CDT_LOCK_THREAD_MS);
    remove_node(&removal->un, &removal->node);
    if (locked >= 0)
        close(locked);
}

static void forget_removal(conduit_ctx *ctx, void *arg)
{
    conduit_free(arg);
}

static bool remove_later(conduit_ctx *ctx, const struct sockaddr_un *un,
                         const struct cdt_node *node)
{
    struct removal *removal = conduit_malloc(sizeof(*removal));
    if (removal == NULL)
        return false;
    *removal = (struct removal){*un, *node};
    if (cdt_offload(ctx, wait_and_remove, forget_removal, removal))
        return true;
    conduit_free(removal);
    return false;
}

void cdt_node_remove(conduit_ctx *ctx, const struct sockaddr_un *un, const struct cdt_node *node)
{
    int locked = lock_directory(un, 0);
    if (locked < 0 && errno == EBUSY && remove_later(ctx, un, node))
        return;
    remove_node(un, node);
    if (locked >= 0)
        close(locked);
}

/* ---- owners ---- */

static bool read_number(const char *text, unsigned *ret)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    *ret = (unsigned)value;
    return errno == 0 && *end == '\0' && value < (unsigned)-1;
}

bool cdt_node_user(const char *text, uid_t *ret)
{
    char names[4096];
    struct passwd entry, *found = NULL;
    if (read_number(text, ret))
        return true;
    if (getpwnam_r(text, &entry, names, sizeof(names), &found) != 0 || found == NULL)
        return false;
    *ret = found->pw_uid;
    return true;
}

bool cdt_node_group(const char *text, gid_t *ret)
{
    char names[16384]; /* the members, too */
    struct group entry, *found = NULL;
    if (read_number(text, ret))
        return true;
    if (getgrnam_r(text, &entry, names, sizeof(names), &found) != 0 || found == NULL)
        return false;
    *ret = found->gr_gid;
    return true;
}
