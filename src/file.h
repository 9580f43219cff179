/* SPDX-License-Identifier: ISC */
/*
 * Parts of files that are to be sent: what is checked before one is taken, so that a mistake of the
 * caller's is an answer and not a broken connection later.
 */
#ifndef CDT_FILE_H
#define CDT_FILE_H

#include "queue.h"

/* Can all of it be read now? 0, CONDUIT_EINVAL (it is no regular file, not open for reading, or too
 * short), or CONDUIT_EIO. */
int cdt_extent_check(int fd, uint64_t offset, size_t n);
/* Read all of it. 0, CONDUIT_EINVAL (it is too short, now) or CONDUIT_EIO. */
int cdt_extent_read(const struct cdt_extent *extent, unsigned char *bytes);
/* A descriptor of our own for it: 0, or CONDUIT_ELIMIT (there are no more). */
int cdt_extent_own(struct cdt_extent *extent);

#endif
