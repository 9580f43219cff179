/* SPDX-License-Identifier: ISC */
/*
 * The memory of a vchan between two domains: the shared page and the pages of the rings, granted to
 * the client by the server and mapped by the client.
 *
 * The kernel watches over it: when the process that has it goes, however it goes, its live byte is
 * cleared and the channel rung.
 */
#ifndef CDT_XEN_PAGES_H
#define CDT_XEN_PAGES_H

#include "transports/vchan/ring.h"
#include "transports/vchan/xen/host.h"

struct cdt_xen_pages {
    struct cdt_ring_page *page;  /* NULL: there are none */
    unsigned char *left, *right; /* NULL if that ring is inside the page */
    uint32_t n_left, n_right;
    bool granted; /* ours; otherwise the peer's */
};

/* Both return 0 or an errno, with nothing kept. */

/* Server: pages of `shape`, formatted, granted to `client`; *ref is the grant of the first. */
int cdt_xen_pages_grant(struct cdt_xen *xen, struct cdt_xen_pages *pages, uint32_t client,
                        struct cdt_ring_shape shape, const struct cdt_xen_port *port,
                        uint32_t *ref);
/* Client: what `server` has granted. EPROTO: what is written there cannot be; ENOTCONN: its server
 * is gone; EBUSY: another client is there. */
int cdt_xen_pages_map(struct cdt_xen *xen, struct cdt_xen_pages *pages, uint32_t server,
                      uint32_t ref, const struct cdt_xen_port *port, struct cdt_ring_shape *shape);
/* Give back whatever there is. */
void cdt_xen_pages_release(struct cdt_xen *xen, struct cdt_xen_pages *pages);

#endif
