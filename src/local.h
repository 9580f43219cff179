/* SPDX-License-Identifier: ISC */
/*
 * Same host, same memory: the vchan beside a TCP port of this machine, for who says prefer_local.
 *
 * A listener stands at it beside its port, and who connects looks for it there: cdt_local_beside()
 * and cdt_local_find(). The place is named after the network namespace and the address that the
 * port is bound to, so it is as unambiguous as the port is.
 *
 * Nothing here decides who the peer is. The kernel says which user's port would take the
 * connection; the ring is only taken if its rendezvous is that user's, and this user is the same
 * one or that one is root. So the bytes reach nobody whom TCP would not have brought them to
 * (docs/vchan.md). Layers are the same over both.
 */
#ifndef CDT_LOCAL_H
#define CDT_LOCAL_H

#include "target.h"

/* Does `target` ask for it, and is there nothing between it and the port that the peer would miss?
 * (A proxy leads elsewhere; a PROXY header speaks of addresses; a socket that is bound to an
 * interface or an address is one of several.) */
bool cdt_local_wanted(const struct cdt_target *target, bool asked);

/* The vchan that a listener bound to `tcp` stands at. A new reference, or NULL: none. */
const conduit_endpoint *cdt_local_beside(const conduit_endpoint *tcp);

/* The vchan of who would accept a connection to `tcp`, if somebody listens there. A new reference,
 * or NULL: it is not to be had, or not to be trusted. */
const conduit_endpoint *cdt_local_find(const conduit_endpoint *tcp);

#endif
