/* SPDX-License-Identifier: ISC */
/*
 * The node that a Unix socket has in the file system: who may open it, and who may take it over or
 * away. unix_node.c says how two servers that want the same path come to one that has it.
 */
#ifndef CDT_UNIX_NODE_H
#define CDT_UNIX_NODE_H

#include <conduit/context.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/un.h>

struct cdt_node_rights {
    bool has_mode;
    mode_t mode;
    uid_t user; /* -1: as it is made */
    gid_t group;
};

struct cdt_node {
    dev_t device;
    ino_t inode;
};

/* Bind `fd`, which does not listen yet, to the path, and say which node that is. A path that is
 * left over from a dead server is taken over. 0, or an errno and *call: what failed; then there is
 * no node. */
int cdt_node_bind(int fd, const struct sockaddr_un *un, const struct cdt_node_rights *rights,
                  struct cdt_node *ret, const char **call);
/* Remove the node, if it is still this one and nobody listens there: the socket may live on in
 * another process. At once; unless somebody holds the lock on its directory, when another thread
 * waits for it, a second at most, and the context with it. */
void cdt_node_remove(conduit_ctx *ctx, const struct sockaddr_un *un, const struct cdt_node *node);

/* The number of a user or a group that is given by number or by name; false: there is none. */
bool cdt_node_user(const char *text, uid_t *ret);
bool cdt_node_group(const char *text, gid_t *ret);

#endif
