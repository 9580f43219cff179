/* SPDX-License-Identifier: ISC */
/*
 * A file into a socket, without a copy through this process: sendfile(2).
 *
 * sendfile has no MSG_NOSIGNAL, and a library raises no SIGPIPE: it is blocked in this thread for
 * the length of the call, and taken back if the call raised it.
 */
#ifndef CDT_SEND_FILE_H
#define CDT_SEND_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* As sendfile(2): bytes, 0 at the end of the file, or -1 and errno. */
ssize_t cdt_send_file(int to, int fd, off_t offset, size_t n);

#endif
