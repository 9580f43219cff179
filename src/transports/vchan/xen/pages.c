/* SPDX-License-Identifier: ISC */
/*
 * See pages.h. What the peer has written into its page is copied before it is looked at: it may
 * change at any time. A grant stays good while it is mapped, whatever the peer does, so no access
 * to it can fail.
 */
#include "transports/vchan/xen/pages.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

enum { MOST_GRANTS = 2 * CDT_RING_MAX / CDT_RING_PAGE };

static uint32_t offset_of_live(bool server)
{
    return server ? offsetof(struct cdt_ring_page, srv_live)
                  : offsetof(struct cdt_ring_page, cli_live);
}

static void release_ring(struct cdt_xen *xen, const struct cdt_xen_pages *pages, void *ring,
                         uint32_t n)
{
    if (ring == NULL)
        return;
    if (pages->granted)
        xengntshr_unshare(xen->grants, ring, n);
    else
        xengnttab_unmap(xen->maps, ring, n);
}

/* The page goes last: the peer hears of it. */
void cdt_xen_pages_release(struct cdt_xen *xen, struct cdt_xen_pages *pages)
{
    release_ring(xen, pages, pages->left, pages->n_left);
    release_ring(xen, pages, pages->right, pages->n_right);
    release_ring(xen, pages, pages->page, 1);
    *pages = (struct cdt_xen_pages){0};
}

/* ---- granting ---- */

static int share(struct cdt_xen *xen, uint32_t client, uint32_t n, uint32_t *refs,
                 unsigned char **ret)
{
    if (n > 0)
        *ret = xengntshr_share_pages(xen->grants, client, (int)n, refs, 1);
    return n == 0 || *ret != NULL ? 0 : errno;
}

static int share_all(struct cdt_xen *xen, struct cdt_xen_pages *pages, uint32_t client,
                     uint32_t *refs, const struct cdt_xen_port *port, uint32_t *ref)
{
    pages->page = xengntshr_share_page_notify(xen->grants, client, ref, 1, offset_of_live(true),
                                              (evtchn_port_t)port->number);
    int number = pages->page != NULL ? 0 : errno;
    if (number == 0)
        number = share(xen, client, pages->n_left, refs, &pages->left);
    if (number == 0)
        number = share(xen, client, pages->n_right, refs + pages->n_left, &pages->right);
    return number;
}

int cdt_xen_pages_grant(struct cdt_xen *xen, struct cdt_xen_pages *pages, uint32_t client,
                        struct cdt_ring_shape shape, const struct cdt_xen_port *port, uint32_t *ref)
{
    uint32_t refs[MOST_GRANTS];
    int number = cdt_xen_need_grants(xen);
    if (number != 0)
        return number;
    *pages = (struct cdt_xen_pages){.granted = true,
                                    .n_left = cdt_ring_own_pages(shape.left_order),
                                    .n_right = cdt_ring_own_pages(shape.right_order)};
    number = share_all(xen, pages, client, refs, port, ref);
    if (number != 0) {
        cdt_xen_pages_release(xen, pages);
        return number;
    }
    for (uint32_t i = 0; i < pages->n_left + pages->n_right; i++)
        atomic_store_explicit(&pages->page->grants[i], refs[i], memory_order_relaxed);
    cdt_ring_format(pages->page, shape);
    return 0;
}

/* ---- mapping ---- */

static int map(struct cdt_xen *xen, uint32_t server, uint32_t n, uint32_t *refs,
               unsigned char **ret)
{
    if (n > 0)
        *ret = xengnttab_map_domain_grant_refs(xen->maps, n, server, refs, PROT_READ | PROT_WRITE);
    return n == 0 || *ret != NULL ? 0 : errno;
}

/* Is there a server that waits for a client? One of libxenvchan's may have had one before. */
static int check_page(const struct cdt_ring_page *page, struct cdt_ring_shape shape)
{
    if (!cdt_ring_shape_possible(shape))
        return EPROTO;
    if (atomic_load_explicit(&page->srv_live, memory_order_acquire) != CDT_RING_LIVE)
        return ENOTCONN;
    return atomic_load_explicit(&page->cli_live, memory_order_acquire) == CDT_RING_LIVE ? EBUSY : 0;
}

static int map_rings(struct cdt_xen *xen, struct cdt_xen_pages *pages, uint32_t server,
                     struct cdt_ring_shape shape)
{
    uint32_t refs[MOST_GRANTS];
    pages->n_left = cdt_ring_own_pages(shape.left_order);
    pages->n_right = cdt_ring_own_pages(shape.right_order);
    for (uint32_t i = 0; i < pages->n_left + pages->n_right; i++)
        refs[i] = atomic_load_explicit(&pages->page->grants[i], memory_order_relaxed);
    int number = map(xen, server, pages->n_left, refs, &pages->left);
    return number != 0 ? number
                       : map(xen, server, pages->n_right, refs + pages->n_left, &pages->right);
}

int cdt_xen_pages_map(struct cdt_xen *xen, struct cdt_xen_pages *pages, uint32_t server,
                      uint32_t ref, const struct cdt_xen_port *port, struct cdt_ring_shape *shape)
{
    *pages = (struct cdt_xen_pages){0};
    int number = cdt_xen_need_maps(xen);
    if (number != 0)
        return number;
    pages->page =
        xengnttab_map_grant_ref_notify(xen->maps, server, ref, PROT_READ | PROT_WRITE,
                                       offset_of_live(false), (evtchn_port_t)port->number);
    if (pages->page == NULL)
        return errno;
    *shape = cdt_ring_read_shape(pages->page);
    number = check_page(pages->page, *shape);
    if (number == 0)
        number = map_rings(xen, pages, server, *shape);
    if (number != 0)
        cdt_xen_pages_release(xen, pages);
    return number;
}
