/* SPDX-License-Identifier: ISC */
/*
 * The rendezvous in xenstore: what is written where, and who may read it. docs/vchan.md has the
 * table.
 *
 *     /conduit/NAME                              the domain of this name            (name)
 *     /local/domain/S/data/conduit/PORT          somebody listens there: its door
 *     /local/domain/S/data/conduit/PORT/NONCE    a client that would like a ring    (request)
 *     /local/domain/S/data/vchan/C/RING          a ring of S for C, RING being PORT, as libxenvchan
 *                                                and ocaml-vchan have it, or PORT@NONCE   (offer)
 *
 * Nothing is believed of what a domain writes about itself: who asks is who owns the node, which
 * xenstore sees to. All numbers are read strictly. Functions return 0 or an errno.
 */
#ifndef CDT_XEN_KEYS_H
#define CDT_XEN_KEYS_H

#include "transports/vchan/xen/host.h"

/* The longest path that is made here, and the length of a nonce, each with a NUL. */
enum { CDT_XEN_PATH = 192, CDT_XEN_NONCE = 17 };

/* ---- names ---- */

struct cdt_xen_name {
    char path[CDT_XEN_PATH];
    uint32_t domain, owner;
};

/* Which domain is that? `name` is a number or a name. ENOENT: there is none; EINVAL: xenstore has
 * no such names; EPERM: what is there is neither dom0's word nor that domain's own. */
int cdt_xen_name_find(struct cdt_xen *xen, const char *name, struct cdt_xen_name *ret);
/* Have it be ours. EADDRINUSE: it is another's. *made: it was not there before, and is to be
 * dropped. */
int cdt_xen_name_take(struct cdt_xen *xen, const char *name, bool *made);
void cdt_xen_name_drop(struct cdt_xen *xen, const char *name);

/* ---- offers ---- */

struct cdt_xen_offer {
    uint32_t page; /* the grant of the shared page */
    uint32_t channel;
};

/* `nonce` is NULL for the ring that is there for whoever comes. */
void cdt_xen_ring_path(char path[CDT_XEN_PATH], uint32_t server, uint32_t client, const char *port,
                       const char *nonce);
int cdt_xen_offer_publish(struct cdt_xen *xen, const char *path, uint32_t client,
                          struct cdt_xen_offer offer);
/* ENOENT: there is none; EPROTO: that is none; EAGAIN: xenstore has no time for it just now. */
int cdt_xen_offer_read(struct cdt_xen *xen, const char *path, struct cdt_xen_offer *ret);
/* Is there one, for us? */
bool cdt_xen_offer_there(struct cdt_xen *xen, const char *path);
/* Empty folders are not left behind. */
void cdt_xen_offer_withdraw(struct cdt_xen *xen, const char *path);
/* Withdraw what processes of this domain that were killed have offered at `port`. */
void cdt_xen_offers_clean(struct cdt_xen *xen, const char *port);

/* ---- doors and requests ---- */

/* What a client would like, as it sees it; 0: whatever is good. */
struct cdt_xen_request {
    uint32_t client;
    uint32_t read, write;
};

void cdt_xen_door_path(char path[CDT_XEN_PATH], uint32_t server, const char *port);
/* Is it there? Only who may read it can tell. */
bool cdt_xen_door_there(struct cdt_xen *xen, const char *door);
/* Everybody may ask at it, or only `peer`. What was there before is removed. */
int cdt_xen_door_open(struct cdt_xen *xen, const char *door, const uint32_t *peer);
void cdt_xen_request_path(char path[CDT_XEN_PATH], const char *door, const char *nonce);
/* ENOENT: nobody listens there. */
int cdt_xen_request_make(struct cdt_xen *xen, const char *door, uint32_t server,
                         char nonce[CDT_XEN_NONCE], uint32_t read, uint32_t write);
bool cdt_xen_request_waits(struct cdt_xen *xen, const char *door, const char *nonce);
bool cdt_xen_is_nonce(const char *text);
/* EPROTO: that is none. */
int cdt_xen_request_read(struct cdt_xen *xen, const char *door, const char *nonce,
                         struct cdt_xen_request *ret);
int cdt_xen_request_remove(struct cdt_xen *xen, const char *door, const char *nonce);

#endif
