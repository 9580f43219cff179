/* SPDX-License-Identifier: ISC */
/* Descriptors that somebody else has made: what they are good for. */
#ifndef CDT_ADOPT_H
#define CDT_ADOPT_H

#include <stdbool.h>

/* Why `fd` is not a stream socket that listens, or is connected; NULL if it is. */
const char *cdt_descriptor_unfit(int fd, bool listening);

#endif
