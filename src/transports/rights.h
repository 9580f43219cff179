/* SPDX-License-Identifier: ISC */
/* Descriptors in a socket's control messages: rights.c says how. */
#ifndef CDT_RIGHTS_H
#define CDT_RIGHTS_H

#include "passing.h"

/* recvmsg(2) with room for descriptors: bytes, 0, or -1 with errno. *fds are the caller's. E2BIG:
 * there were more than CDT_MOST_FDS. EMFILE: this process could not take all of them. Those that
 * came are closed then, and *fds is empty. */
ssize_t cdt_rights_receive(int socket, void *buf, size_t len, struct cdt_fds *fds);
/* sendmsg(2) with `fd` beside the first byte: bytes taken, or -1 with errno. */
ssize_t cdt_rights_send(int socket, const void *data, size_t n, int fd);

#endif
