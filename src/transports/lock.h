/* SPDX-License-Identifier: ISC */
/*
 * A lock on a directory, for the few system calls that look at a socket's name there and change it.
 *
 * Whoever can read the directory can hold it, and for ever. So nobody waits for it for long, and
 * nobody who serves waits at all: what has to be done some time is done by another thread
 * (unix_node.c). The descriptor is the lock: closing it gives it back.
 */
#ifndef CDT_LOCK_H
#define CDT_LOCK_H

/* How long who starts to listen waits, as its caller wants to know now whether it can; and how long
 * another thread does. */
enum { CDT_LOCK_START_MS = 100, CDT_LOCK_THREAD_MS = 1000 };

/* The directory at `path`, locked: a descriptor, or -1 with errno, EBUSY if somebody has had it for
 * `wait_ms`; 0: try once. `flags` are more of open(2)'s. */
int cdt_lock_directory(const char *path, int flags, unsigned wait_ms);

#endif
