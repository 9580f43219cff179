/* SPDX-License-Identifier: ISC */
/*
 * Lists of users that a Unix socket lets in: allow_uid=0,1000
 *
 * "*" is everyone; "" is the program's own user and root.
 */
#ifndef CDT_CREDENTIALS_H
#define CDT_CREDENTIALS_H

#include <stdbool.h>
#include <sys/types.h>

/* NULL, or what the list should be. */
const char *cdt_uids_check(const char *list);
/* `list` has been checked. */
bool cdt_uids_have(const char *list, uid_t uid);

#endif
