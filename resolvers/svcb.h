/* SPDX-License-Identifier: ISC */
/*
 * SVCB and HTTPS records (RFC 9460): where a service is offered, how to speak to it, and which of
 * several offers to take up.
 *
 * Pure. A record borrows its parameters from the bytes it was read from, which have to outlive it.
 */
#ifndef CDT_SVCB_H
#define CDT_SVCB_H

#include "srv.h"

enum cdt_svc_key {
    CDT_SVC_MANDATORY = 0,
    CDT_SVC_ALPN = 1,
    CDT_SVC_NO_DEFAULT_ALPN = 2,
    CDT_SVC_PORT = 3,
    CDT_SVC_IPV4HINT = 4,
    CDT_SVC_ECH = 5, /* here one of those that are not known */
    CDT_SVC_IPV6HINT = 6,
};

enum { CDT_SVC_HINTS = 16 }; /* of one family; the others are left out */

struct cdt_bytes {
    const uint8_t *at;
    size_t n;
};

struct cdt_svcb {
    uint16_t priority;          /* 0: an alias; what follows `target` is for the others */
    char target[CDT_NAME_SIZE]; /* "": of an alias, there is no such service; else, the owner */
    bool has_port, no_default_alpn;
    uint16_t port;
    struct cdt_bytes mandatory; /* keys, of two bytes each */
    struct cdt_bytes alpn;      /* as TLS has it: each after a byte with its length */
    struct cdt_bytes ipv4hint, ipv6hint;
    struct cdt_bytes params; /* all of them, known or not: for cdt_svc_next() */
};

enum cdt_svcb_fitness {
    CDT_SVCB_FIT,
    CDT_SVCB_INCONSISTENT, /* this record is to be ignored (section 2.4.3) */
    CDT_SVCB_MALFORMED,    /* and so are all others of its name (section 2.2) */
};

/* Read a record's data. */
enum cdt_svcb_fitness cdt_svcb_parse(struct cdt_svcb *svcb, const uint8_t *data, size_t n);

/* Take one parameter off the front of `rest`: 1, or 0 at the end, or -1 if it is cut short. */
int cdt_svc_next(struct cdt_bytes *rest, uint16_t *key, struct cdt_bytes *value);

/* What a client can speak. */
struct cdt_svcb_client {
    struct cdt_bytes alpn;    /* as TLS has it; none: the default protocol alone */
    const char *default_alpn; /* the protocol's (section 7.1.2); NULL: it has none */
};

/* Does the record offer this protocol? */
bool cdt_svcb_speaks(const struct cdt_svcb *svcb, struct cdt_bytes protocol,
                     const char *default_alpn);

/*
 * Choose from the `n` records of a name: those to try come to the front, in the order of trying,
 * and the others behind them. Returns how many there are to try. If there is an alias it is the one
 * to follow and the count is 1. What demands more than this client knows, or speaks nothing that it
 * does, is not for trying. The random function decides between equals.
 */
size_t cdt_svcb_choose(struct cdt_svcb *list, size_t n, const struct cdt_svcb_client *client,
                       cdt_random_fn random, void *user);

#endif
