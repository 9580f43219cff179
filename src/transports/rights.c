/* SPDX-License-Identifier: ISC */
/*
 * Descriptors in the control messages of a Unix socket: SCM_RIGHTS of unix(7).
 *
 * The kernel has put them into this process when recvmsg(2) returns, so each one is either handed
 * on or closed here. A message with more than there is room for comes with MSG_CTRUNC: the kernel
 * has dropped the rest, and what the peer meant cannot be known any more.
 */
#include "rights.h"
#include "util.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for what we take, and for credentials, which a socket that somebody else has made may send
 * along (SO_PASSCRED). */
union control {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(CDT_MOST_FDS * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
};

/* False: one of them had no room any more, and is closed. */
static bool collect(struct cdt_fds *fds, const struct cmsghdr *head)
{
    size_t n = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    bool all = true;
    for (size_t i = 0; i < n; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof(fd));
        if (fds->n < CDT_MOST_FDS) {
            fds->list[fds->n++] = fd;
        } else {
            close(fd);
            all = false;
        }
    }
    return all;
}

static bool collect_all(struct cdt_fds *fds, struct msghdr *message)
{
    bool all = true;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head != NULL;
         head = CMSG_NXTHDR(message, head))
        if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
            all &= collect(fds, head);
    return all;
}

static void close_all(struct cdt_fds *fds)
{
    while (fds->n > 0)
        close(fds->list[--fds->n]);
}

ssize_t cdt_rights_receive(int socket, void *buf, size_t len, struct cdt_fds *fds)
{
    union control control;
    struct iovec piece = {.iov_base = buf, .iov_len = len};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    fds->n = 0;
    ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (n < 0 || message.msg_controllen == 0)
        return n;
    bool all = collect_all(fds, &message);
    if (all && !(message.msg_flags & MSG_CTRUNC))
        return n;
    errno = all && fds->n < CDT_MOST_FDS ? EMFILE : E2BIG;
    close_all(fds);
    return -1;
}

ssize_t cdt_rights_send(int socket, const void *data, size_t n, int fd)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec piece = {.iov_base = cdt_bytes(data), .iov_len = n};
    const struct msghdr message = {.msg_iov = &piece,
                                   .msg_iovlen = 1,
                                   .msg_control = &control,
                                   .msg_controllen = sizeof(control)};
    control.head = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}
