/* SPDX-License-Identifier: ISC */
/*
 * What another domain has written into xenstore, read as listeners, clients and names read it: the
 * input is who owns a node, and then what each says, a byte for its length before it. What is
 * taken for something is within its bounds, and who is not the owner is not believed.
 */
#include "../xen/fake-store.h"
#include "fuzz.h"
#include "transports/vchan/ring.h"
#include "transports/vchan/xen/keys.h"
#include <string.h>

enum { US = 3, PEER = 5, LAST = 32751 };

#define RING "/local/domain/5/data/vchan/3/echo"
#define DOOR "/local/domain/3/data/conduit/echo"
#define NONCE "0123456789abcdef"

static const char *const nodes[] = {"/conduit/web", RING "/ring-ref", RING "/event-channel",
                                    DOOR "/" NONCE, "/local/domain/3/data/vchan/5/echo/process"};

static void fill(const uint8_t *data, size_t size)
{
    static const unsigned owners[] = {0, US, PEER, 7, LAST + 1};
    unsigned owner = owners[size > 0 ? data[0] % 5 : 0];
    size_t at = 1;
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]) && at < size; i++) {
        size_t n = data[at++];
        n = n < size - at ? n : size - at;
        fake_store_put(owner, nodes[i], data + at, n, -1, XS_PERM_READ);
        at += n;
    }
}

static void check_all(struct cdt_xen *xen)
{
    struct cdt_xen_name name;
    struct cdt_xen_offer offer;
    struct cdt_xen_request request;
    bool made;
    if (cdt_xen_name_find(xen, "web", &name) == 0)
        FUZZ_CHECK(name.domain <= LAST && (name.owner == 0 || name.owner == name.domain));
    if (cdt_xen_offer_read(xen, RING, &offer) == 0)
        FUZZ_CHECK(offer.channel <= INT32_MAX);
    if (cdt_xen_request_read(xen, DOOR, NONCE, &request) == 0)
        FUZZ_CHECK(request.client <= LAST && request.read <= CDT_RING_MAX &&
                   request.write <= CDT_RING_MAX);
    cdt_xen_offers_clean(xen, "echo");
    if (cdt_xen_name_take(xen, "web", &made) == 0)
        FUZZ_CHECK(strcmp(fake_store_value("/conduit/web"), "3") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fake_store_begin(US);
    struct cdt_xen xen = {.domain = US, .store = xs_open(0)};
    fill(data, size);
    check_all(&xen);
    xs_close(xen.store);
    fake_store_end();
    return 0;
}
