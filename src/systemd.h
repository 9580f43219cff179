/* SPDX-License-Identifier: ISC */
/*
 * Sockets that systemd has passed to this process, by name: sd_listen_fds(3) says how.
 *
 *     LISTEN_PID=1234  LISTEN_FDS=2  LISTEN_FDNAMES=web:admin      descriptors 3 and 4
 *
 * The descriptors themselves keep the account: they come without FD_CLOEXEC, and one that has it,
 * or is closed, has been taken. When the last is taken the variables go.
 */
#ifndef CDT_SYSTEMD_H
#define CDT_SYSTEMD_H

#include <stdbool.h>

/* How many that are called `name` ("": all) are still to be had; `listening`, or connected. */
int cdt_systemd_count(const char *name, bool listening);
/* The first of them, with FD_CLOEXEC and the caller's from now on; -1: there is none. */
int cdt_systemd_take(const char *name, bool listening);

#endif
