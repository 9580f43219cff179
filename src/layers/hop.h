/* SPDX-License-Identifier: ISC */
/* What both kinds of proxies have in common: where they are to lead, and who they are told that we
 * are. */
#ifndef CDT_HOP_H
#define CDT_HOP_H

#include "endpoint.h"

/* The user information of a URI, "user:password", decoded: one piece of memory that
 * cdt_login_free() wipes. */
struct cdt_login {
    char *user;
    char *password; /* "" if there is none */
};

/* 0, CONDUIT_EINVAL (an escape is bad) or CONDUIT_ENOMEM. */
int cdt_login_read(struct cdt_login *login, const char *text);
/* Fine on a zeroed struct, and again. */
void cdt_login_free(struct cdt_login *login);

/* What a check says of such a code. */
const char *cdt_login_wrong(int code);

/* What is wrong with "to" and the role, or NULL: the first half of a hop's check. */
const char *cdt_hop_check(const struct cdt_params *params, unsigned roles);

#endif
