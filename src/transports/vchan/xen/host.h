/* SPDX-License-Identifier: ISC */
/*
 * The Xen that a context is on: one connection to xenstore, one descriptor of event channels and
 * one of each kind of grants, shared by all its vchans.
 *
 * It is opened by the first that needs it and closed with the last (counted references, one
 * thread). What xenstore and the event channels have to say is handed out by it: to ports, watches
 * and mourners, which are embedded in whatever they belong to and may come and go in any callback.
 *
 * Calls to xenstore wait for its answer, which takes as long as a few system calls: it is a process
 * of the same machine, and without it no domain gets on.
 */
#ifndef CDT_XEN_HOST_H
#define CDT_XEN_HOST_H

#include "context.h"
#include <uv/tree.h>
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>

/* One event channel: bound, or number -1. */
struct cdt_xen_port {
    RB_ENTRY(cdt_xen_port) node;
    int number;
    bool watched;
    bool masked; /* it rang when nobody watched: the next ring comes after it is unmasked */
    void (*rung)(struct cdt_xen_port *port);
};

/* A watch on a path of xenstore. */
struct cdt_xen_watch {
    struct cdt_xen_watch *prev, *next;
    char *path; /* NULL: there is none */
    char token[24];
    /* Once soon after the start, and after each change at the path or below it. */
    void (*fired)(struct cdt_xen_watch *watch);
};

/* Somebody who wants to know of the end of a domain. Only dom0 is told. */
struct cdt_xen_mourner {
    struct cdt_xen_mourner *prev, *next;
    uint32_t domain;
    bool in, dead;
    void (*died)(struct cdt_xen_mourner *mourner);
};

RB_HEAD(cdt_xen_port_tree, cdt_xen_port);

struct cdt_xen {
    conduit_ctx *ctx;
    unsigned refs;
    uint32_t domain; /* our own number */
    struct xs_handle *store;
    xenevtchn_handle *events;
    xengntshr_handle *grants; /* NULL until it is needed; as maps */
    xengnttab_handle *maps;
    uv_poll_t store_poll, event_poll;
    int n_handles;
    struct cdt_xen_port_tree ports;
    struct cdt_xen_watch *watches;
    struct cdt_xen_mourner *mourners;
    struct cdt_xen_watch deaths; /* of any domain: without a path where xenstore does not tell */
    uint64_t last_token;
};

/* Is this a domain of a Xen, with a xenstore? */
bool cdt_xen_present(void);
/* xenstore alone, for a moment, into zeroed memory: 0 or an errno, and nothing to close then. */
int cdt_xen_peek(struct cdt_xen *xen);
void cdt_xen_unpeek(struct cdt_xen *xen);
/* A reference to the context's own. 0, or an errno and what failed (a static string). */
int cdt_xen_get(conduit_ctx *ctx, struct cdt_xen **ret, const char **what);
void cdt_xen_unref(struct cdt_xen *xen);

/* All that follows: 0 or an errno. */

/* Have grants made, or mapped: opens the device. */
int cdt_xen_need_grants(struct cdt_xen *xen);
int cdt_xen_need_maps(struct cdt_xen *xen);

/* A channel that `domain` may bind to; or bind to the one that it has published. Quiet until
 * watched. */
int cdt_xen_port_offer(struct cdt_xen *xen, struct cdt_xen_port *port, uint32_t domain);
int cdt_xen_port_join(struct cdt_xen *xen, struct cdt_xen_port *port, uint32_t domain,
                      uint32_t number);
void cdt_xen_port_watch(struct cdt_xen *xen, struct cdt_xen_port *port, bool on);
void cdt_xen_port_ring(struct cdt_xen *xen, const struct cdt_xen_port *port);
/* Idempotent. */
void cdt_xen_port_close(struct cdt_xen *xen, struct cdt_xen_port *port);

int cdt_xen_watch_start(struct cdt_xen *xen, struct cdt_xen_watch *watch, const char *path);
/* Idempotent. */
void cdt_xen_watch_stop(struct cdt_xen *xen, struct cdt_xen_watch *watch);

void cdt_xen_mourn(struct cdt_xen *xen, struct cdt_xen_mourner *mourner, uint32_t domain);
/* Idempotent. */
void cdt_xen_unmourn(struct cdt_xen *xen, struct cdt_xen_mourner *mourner);

#endif
