/* SPDX-License-Identifier: ISC */
/*
 * See ring_end.h. Who is gone is known from three: the live byte, which the peer's kernel clears
 * when its process goes; xenstore's word that a domain is no more, for dom0; and for a client in
 * any domain the keys of its ring, which vanish with the domain that had offered it.
 */
#include "transports/vchan/xen/ring_end.h"
#include "endpoint.h"
#include "util.h"
#include <conduit/memory.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { LEAST_SIZE = CDT_RING_MIN, MOST_ASKED = 4, BUSY_MS = 10 };

static struct cdt_xen_end *of(const struct cdt_vchan_end *end)
{
    return CDT_CONTAINER(cdt_bytes(end), struct cdt_xen_end, end);
}

static struct cdt_path *path_of(const struct cdt_xen_end *s)
{
    return s->end.layer.path;
}

void cdt_xen_split(const char *host, char name[256], char word[CDT_MAX_PORT_NAME + 1])
{
    size_t n = strcspn(host, "/");
    snprintf(name, 256, "%.*s", (int)n, host);
    snprintf(word, CDT_MAX_PORT_NAME + 1, "%s", host[n] == '/' ? host + n + 1 : "");
}

/* ---- wake-ups and deaths ---- */

static void notify(struct cdt_ring *ring)
{
    const struct cdt_xen_end *s = CDT_CONTAINER(ring, struct cdt_xen_end, end.ring);
    if (!ring->gone)
        cdt_xen_port_ring(s->xen, &s->port);
}

static void on_rung(struct cdt_xen_port *port)
{
    struct cdt_xen_end *s = CDT_CONTAINER(port, struct cdt_xen_end, port);
    if (path_of(s) == NULL)
        s->joined(s->arg);
    else if (s->end.open)
        cdt_vchan_end_woken(&s->end);
    else
        path_of(s)->ready(path_of(s), CDT_READ);
}

/* A peer that went by itself has said so in the page, and that counts. */
static void note_death(struct cdt_xen_end *s)
{
    const struct cdt_ring *ring = &s->end.ring;
    if (atomic_load_explicit(ring->their_live, memory_order_acquire) != CDT_RING_GONE)
        s->end.ring.gone = true;
    cdt_vchan_end_woken(&s->end);
}

static void on_died(struct cdt_xen_mourner *mourner)
{
    struct cdt_xen_end *s = CDT_CONTAINER(mourner, struct cdt_xen_end, mourner);
    if (path_of(s) == NULL) {
        s->joined(s->arg);
    } else if (s->end.open) {
        note_death(s);
    } else {
        cdt_path_fail(path_of(s), CONDUIT_ERESET, CONDUIT_STAGE_DIAL, NULL, 0,
                      "domain %u has ended", mourner->domain);
        path_of(s)->ready(path_of(s), CDT_READ);
    }
}

static void on_offer_changed(struct cdt_xen_watch *watch)
{
    struct cdt_xen_end *s = CDT_CONTAINER(watch, struct cdt_xen_end, watch);
    if (!s->end.open)
        path_of(s)->ready(path_of(s), CDT_READ);
    else if (!cdt_xen_offer_there(s->xen, s->keys))
        note_death(s);
}

static void on_request_changed(struct cdt_xen_watch *watch)
{
    struct cdt_xen_end *s = CDT_CONTAINER(watch, struct cdt_xen_end, request);
    path_of(s)->ready(path_of(s), CDT_READ);
}

/* ---- rings ---- */

static void attach(struct cdt_xen_end *s, struct cdt_ring_shape shape)
{
    s->end.ring.notify = notify;
    cdt_ring_attach(&s->end.ring, s->server, s->pages.page, shape, s->pages.left, s->pages.right);
}

/* Grants are few (gntalloc gives 1,024 to all processes of a domain unless told otherwise): small
 * rings are better than none. */
static int grant(struct cdt_xen_end *s, uint32_t left, uint32_t right, uint32_t *ref)
{
    struct cdt_ring_shape shape;
    int number;
    do {
        if (!cdt_ring_choose(left, right, &shape))
            return EINVAL;
        number = cdt_xen_pages_grant(s->xen, &s->pages, s->mourner.domain, shape, &s->port, ref);
        if (number == 0)
            attach(s, shape);
        left /= 4;
        right /= 4;
    } while (number == ENOSPC && (left >= LEAST_SIZE || right >= LEAST_SIZE));
    return number;
}

int cdt_xen_end_offer(struct cdt_xen_end *s, uint32_t left, uint32_t right, const char **what)
{
    struct cdt_xen_offer offer;
    *what = "event channel";
    int number = cdt_xen_port_offer(s->xen, &s->port, s->mourner.domain);
    if (number != 0)
        return number;
    *what = "grants";
    number = grant(s, left, right, &offer.page);
    if (number != 0)
        return number;
    *what = "xenstore";
    offer.channel = (uint32_t)s->port.number;
    if (s->stand != NULL)
        s->stand->last = offer;
    s->published = s->stand == NULL;
    number = cdt_xen_offer_publish(s->xen, s->keys, s->mourner.domain, offer);
    cdt_xen_port_watch(s->xen, &s->port, true);
    return number;
}

/* Unless somebody else stands there by now. */
void cdt_xen_stand_unref(struct cdt_xen *xen, struct cdt_xen_stand *stand)
{
    struct cdt_xen_offer there;
    if (--stand->refs > 0)
        return;
    if (cdt_xen_offer_read(xen, stand->keys, &there) == 0 && there.page == stand->last.page &&
        there.channel == stand->last.channel)
        cdt_xen_offer_withdraw(xen, stand->keys);
    conduit_free(stand);
}

bool cdt_xen_end_joined(const struct cdt_xen_end *s)
{
    return atomic_load_explicit(&s->pages.page->cli_live, memory_order_acquire) != CDT_RING_AWAITED;
}

/* Take what is offered at s->keys. 0; ENOENT: nothing is; EAGAIN: xenstore has no time; or another
 * errno and what failed. */
static int take(struct cdt_xen_end *s, const char **what)
{
    struct cdt_xen_offer offer;
    struct cdt_ring_shape shape;
    uint32_t server = s->mourner.domain;
    *what = "xenstore";
    int number = cdt_xen_offer_read(s->xen, s->keys, &offer);
    if (number != 0)
        return number;
    *what = "event channel";
    number = cdt_xen_port_join(s->xen, &s->port, server, offer.channel);
    if (number != 0)
        return number == ENOENT ? EINVAL : number;
    *what = "grants";
    number = cdt_xen_pages_map(s->xen, &s->pages, server, offer.page, &s->port, &shape);
    if (number != 0) {
        cdt_xen_port_close(s->xen, &s->port);
        return number == ENOENT ? EINVAL : number;
    }
    attach(s, shape);
    cdt_ring_join(&s->end.ring);
    return 0;
}

/* ---- opening ---- */

/* With what an errno means here. */
static int fail(struct cdt_xen_end *s, int number, const char *what)
{
    if (number == EPROTO)
        return cdt_path_fail(path_of(s), CONDUIT_EIO, CONDUIT_STAGE_DIAL, NULL, 0,
                             "domain %u offers what cannot be (%s of %s)", s->mourner.domain, what,
                             s->keys);
    if (number == EINVAL || number == ENOTCONN || number == EBUSY)
        return cdt_path_fail(path_of(s), CONDUIT_EREFUSED, CONDUIT_STAGE_DIAL, "errno", number,
                             "what domain %u offers is of a connection that is over, or another's "
                             "(%s of %s)",
                             s->mourner.domain, what, s->keys);
    return cdt_path_fail_errno(path_of(s), CONDUIT_STAGE_DIAL, number, what);
}

static int turned_away(struct cdt_xen_end *s)
{
    return cdt_path_fail(path_of(s), CONDUIT_EREFUSED, CONDUIT_STAGE_DIAL, NULL, 0,
                         "domain %u turned us away (%s)", s->mourner.domain, s->door);
}

static int watch_answer(struct cdt_xen_end *s)
{
    char key[CDT_XEN_PATH];
    cdt_xen_request_path(key, s->door, s->nonce);
    int number = cdt_xen_watch_start(s->xen, &s->watch, s->keys);
    return number != 0 ? number : cdt_xen_watch_start(s->xen, &s->request, key);
}

static void on_again(struct cdt_timer *timer)
{
    struct cdt_xen_end *s = CDT_CONTAINER(timer, struct cdt_xen_end, again);
    path_of(s)->ready(path_of(s), CDT_READ);
}

/* So much at once is more than xenstore does for a domain: a little later it will. */
static int wait_a_little(struct cdt_xen_end *s)
{
    cdt_timer_start(s->end.ctx, &s->again, BUSY_MS, on_again);
    return CONDUIT_EAGAIN;
}

static int ask(struct cdt_xen_end *s)
{
    uint32_t server = s->mourner.domain;
    cdt_xen_watch_stop(s->xen, &s->watch);
    cdt_xen_watch_stop(s->xen, &s->request);
    if (s->asked++ == MOST_ASKED)
        return turned_away(s);
    cdt_xen_door_path(s->door, server, s->word);
    int number = cdt_xen_request_make(s->xen, s->door, server, s->nonce, s->read, s->write);
    if (number == ENOENT && s->wrong != 0)
        return fail(s, s->wrong, s->wrong_what);
    if (number == ENOENT)
        return cdt_path_fail(path_of(s), CONDUIT_EREFUSED, CONDUIT_STAGE_DIAL, "errno", number,
                             "nobody listens there (%s)", s->door);
    if (number == ENOSPC || number == EAGAIN) {
        s->asked--;
        return wait_a_little(s);
    }
    s->waits = number == 0;
    cdt_xen_ring_path(s->keys, server, s->xen->domain, s->word, s->nonce);
    if (number == 0)
        number = watch_answer(s);
    return number == 0 ? CONDUIT_EAGAIN : fail(s, number, "request");
}

/* The ring for whoever comes may be a dead server's: then the door is tried, too. */
static int look(struct cdt_xen_end *s)
{
    const char *what;
    cdt_xen_ring_path(s->keys, s->mourner.domain, s->xen->domain, s->word, NULL);
    int number = take(s, &what);
    if (number == EAGAIN)
        return wait_a_little(s);
    s->looked = true;
    if (number == 0)
        number = cdt_xen_watch_start(s->xen, &s->watch, s->keys);
    if (s->pages.page != NULL)
        return number == 0 ? 0 : fail(s, number, what);
    s->wrong = number == ENOENT ? 0 : number;
    s->wrong_what = what;
    return ask(s);
}

int cdt_xen_end_begin(struct cdt_xen_end *s)
{
    int code = look(s);
    return code == CONDUIT_EAGAIN ? 0 : code;
}

/* An offer is made before its request is removed, so the request is looked at first. A request that
 * vanished without an offer was removed with its door, or the listener will not have us. */
static int open_client(struct cdt_xen_end *s)
{
    const char *what;
    if (s->pages.page != NULL)
        return 0;
    if (!s->looked)
        return look(s);
    bool waits = cdt_xen_request_waits(s->xen, s->door, s->nonce);
    int number = take(s, &what);
    if (number == ENOENT)
        return waits ? CONDUIT_EAGAIN : ask(s);
    cdt_xen_watch_stop(s->xen, &s->request);
    s->waits = false;
    return number == 0 ? 0 : fail(s, number, what);
}

static int open_xen(struct cdt_vchan_end *end)
{
    struct cdt_xen_end *s = of(end);
    if (path_of(s)->error != NULL)
        return conduit_error_code(path_of(s)->error);
    if (s->server)
        return cdt_xen_end_joined(s) ? 0 : CONDUIT_EAGAIN;
    return open_client(s);
}

static void watch(struct cdt_vchan_end *end, bool on)
{
    cdt_xen_port_watch(of(end)->xen, &of(end)->port, on);
}

static void describe(const struct cdt_vchan_end *end, struct cdt_facts *facts)
{
    const struct cdt_xen_end *s = of(end);
    snprintf(facts->peer, sizeof(facts->peer), "vchan://%u/%s", s->mourner.domain, s->word);
}

/* ---- the end of an end ---- */

static void on_buried(uv_handle_t *handle)
{
    conduit_ctx *ctx = handle->data;
    conduit_free(CDT_CONTAINER(handle, struct cdt_xen_end, grave));
    cdt_ctx_drop(ctx);
}

/* The keys go first, so that nobody finds them when the rest is gone. */
void cdt_xen_end_drop(struct cdt_xen_end *s)
{
    if (s == NULL)
        return;
    cdt_xen_watch_stop(s->xen, &s->watch);
    cdt_xen_watch_stop(s->xen, &s->request);
    cdt_xen_unmourn(s->xen, &s->mourner);
    cdt_timer_stop(s->xen->ctx, &s->again);
    if (s->waits)
        cdt_xen_request_remove(s->xen, s->door, s->nonce);
    if (s->published)
        cdt_xen_offer_withdraw(s->xen, s->keys);
    if (s->stand != NULL)
        cdt_xen_stand_unref(s->xen, s->stand);
    cdt_xen_pages_release(s->xen, &s->pages);
    cdt_xen_port_close(s->xen, &s->port);
    cdt_xen_unref(s->xen);
    uv_close((uv_handle_t *)&s->grave, on_buried);
}

static void close_xen(struct cdt_vchan_end *end)
{
    cdt_xen_end_drop(of(end));
}

static const struct cdt_vchan_end_ops end_ops = {
    .open = open_xen,
    .watch = watch,
    .close = close_xen,
    .describe = describe,
};

/* ---- the beginning of one ---- */

struct cdt_xen_end *cdt_xen_end_new(struct cdt_xen *xen, bool server, uint32_t peer,
                                    const char *word)
{
    struct cdt_xen_end *s = conduit_calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    uv_idle_init(xen->ctx->loop, &s->grave);
    s->grave.data = xen->ctx;
    cdt_ctx_hold(xen->ctx);
    xen->refs++;
    s->xen = xen;
    s->server = server;
    s->mourner.domain = peer;
    s->mourner.died = on_died;
    s->port.number = -1;
    s->port.rung = on_rung;
    s->watch.fired = on_offer_changed;
    s->request.fired = on_request_changed;
    snprintf(s->word, sizeof(s->word), "%s", word);
    return s;
}

/* Looking at a ring that the same processor has to write keeps it from being written; and of a peer
 * in this domain it is not known on which it runs. */
void cdt_xen_end_push(struct cdt_xen_end *s, struct cdt_path *path,
                      const struct cdt_vchan_settings *settings)
{
    bool apart = cdt_vchan_only_processor() == UINT32_MAX && s->mourner.domain != s->xen->domain;
    cdt_vchan_end_push(&s->end, &end_ops, path, apart ? settings->spin_us : 0);
    cdt_xen_mourn(s->xen, &s->mourner, s->mourner.domain);
}
