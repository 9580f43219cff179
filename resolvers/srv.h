/* SPDX-License-Identifier: ISC */
/*
 * SRV (RFC 2782): which host and port offer a service, and in which order to try them.
 *
 * Pure: chance is the caller's function, so that a test can say what it does.
 */
#ifndef CDT_SRV_H
#define CDT_SRV_H

#include "names.h"

struct cdt_srv {
    uint16_t priority, weight, port;
    char target[CDT_NAME_SIZE]; /* "": the root, by which a domain says that there is none */
};

/* A number below `bound`, each as likely as the others. */
typedef uint32_t (*cdt_random_fn)(void *user, uint32_t bound);

/* Put the `n` records of a name into the order of trying: priorities ascend, and within one a
 * record comes first as often as its weight says. Returns how many there are to try: those without
 * a target are moved behind them. 0 of 1 or more: the service is decidedly not available. */
size_t cdt_srv_order(struct cdt_srv *list, size_t n, cdt_random_fn random, void *user);

/* A host's name from what DNS calls it, folded. False if none can have it: it is too long, or has
 * bytes that are written with an escape. The root is "". */
bool cdt_dns_name(const char *text, char name[CDT_NAME_SIZE]);

#endif
