/* SPDX-License-Identifier: ISC */
/*
 * See host.h. Every list is walked so that whatever is called may take out any of its members: a
 * port and a watch are looked up anew for each event, and the dead are marked before the first is
 * told.
 */
#include "transports/vchan/xen/host.h"
#include "util.h"
#include <conduit/memory.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>
#include <xentoollog.h>

enum { EVENTS_PER_TURN = 64 };

/* ---- ports ---- */

static int compare_ports(const struct cdt_xen_port *a, const struct cdt_xen_port *b)
{
    return a->number < b->number ? -1 : a->number > b->number;
}

RB_GENERATE_STATIC(cdt_xen_port_tree, cdt_xen_port, node, compare_ports)

static int keep_port(struct cdt_xen *xen, struct cdt_xen_port *port, int number)
{
    port->number = number;
    port->watched = port->masked = false;
    if (number < 0)
        return errno;
    RB_INSERT(cdt_xen_port_tree, &xen->ports, port);
    return 0;
}

int cdt_xen_port_offer(struct cdt_xen *xen, struct cdt_xen_port *port, uint32_t domain)
{
    return keep_port(xen, port, xenevtchn_bind_unbound_port(xen->events, domain));
}

int cdt_xen_port_join(struct cdt_xen *xen, struct cdt_xen_port *port, uint32_t domain,
                      uint32_t number)
{
    return keep_port(xen, port, xenevtchn_bind_interdomain(xen->events, domain, number));
}

void cdt_xen_port_close(struct cdt_xen *xen, struct cdt_xen_port *port)
{
    if (port->number < 0)
        return;
    RB_REMOVE(cdt_xen_port_tree, &xen->ports, port);
    xenevtchn_unbind(xen->events, (evtchn_port_t)port->number);
    port->number = -1;
}

static void unmask(struct cdt_xen *xen, struct cdt_xen_port *port)
{
    port->masked = false;
    xenevtchn_unmask(xen->events, (evtchn_port_t)port->number);
}

void cdt_xen_port_watch(struct cdt_xen *xen, struct cdt_xen_port *port, bool on)
{
    port->watched = on;
    if (on && port->masked)
        unmask(xen, port);
}

void cdt_xen_port_ring(struct cdt_xen *xen, const struct cdt_xen_port *port)
{
    xenevtchn_notify(xen->events, (evtchn_port_t)port->number);
}

/* The kernel masks a port when it tells of it. It is unmasked before anybody looks at the ring:
 * what rings afterwards is told again. */
static void on_events(uv_poll_t *poll, int status, int events)
{
    struct cdt_xen *xen = CDT_CONTAINER(poll, struct cdt_xen, event_poll);
    struct cdt_xen_port wanted = {.number = 0};
    xen->refs++;
    for (int i = 0; i < EVENTS_PER_TURN; i++) {
        wanted.number = xenevtchn_pending(xen->events);
        if (wanted.number < 0)
            break;
        struct cdt_xen_port *port = RB_FIND(cdt_xen_port_tree, &xen->ports, &wanted);
        if (port == NULL)
            continue;
        port->masked = true;
        if (!port->watched)
            continue;
        unmask(xen, port);
        port->rung(port);
    }
    cdt_xen_unref(xen);
}

/* ---- watches ---- */

int cdt_xen_watch_start(struct cdt_xen *xen, struct cdt_xen_watch *watch, const char *path)
{
    watch->path = conduit_strdup(path);
    if (watch->path == NULL)
        return ENOMEM;
    snprintf(watch->token, sizeof(watch->token), "%llu", (unsigned long long)++xen->last_token);
    if (!xs_watch(xen->store, path, watch->token)) {
        int number = errno;
        conduit_free(watch->path);
        watch->path = NULL;
        return number;
    }
    DL_APPEND(xen->watches, watch);
    return 0;
}

void cdt_xen_watch_stop(struct cdt_xen *xen, struct cdt_xen_watch *watch)
{
    if (watch->path == NULL)
        return;
    DL_DELETE(xen->watches, watch);
    xs_unwatch(xen->store, watch->path, watch->token);
    conduit_free(watch->path);
    watch->path = NULL;
}

static void fire(struct cdt_xen *xen, const char *token)
{
    struct cdt_xen_watch *watch = xen->watches;
    while (watch != NULL && strcmp(watch->token, token) != 0)
        watch = watch->next;
    if (watch != NULL)
        watch->fired(watch);
}

/* A xenstore that is gone is not asked again: its descriptor would be readable for ever. */
static void on_store(uv_poll_t *poll, int status, int events)
{
    struct cdt_xen *xen = CDT_CONTAINER(poll, struct cdt_xen, store_poll);
    char **event = NULL;
    xen->refs++;
    for (int i = 0; i < EVENTS_PER_TURN; i++) {
        event = xs_check_watch(xen->store);
        if (event == NULL)
            break;
        fire(xen, event[XS_WATCH_TOKEN]);
        free(event);
    }
    if (event == NULL && errno != EAGAIN)
        uv_poll_stop(poll);
    cdt_xen_unref(xen);
}

/* ---- deaths ---- */

void cdt_xen_mourn(struct cdt_xen *xen, struct cdt_xen_mourner *mourner, uint32_t domain)
{
    mourner->domain = domain;
    mourner->in = true;
    mourner->dead = false;
    DL_APPEND(xen->mourners, mourner);
}

void cdt_xen_unmourn(struct cdt_xen *xen, struct cdt_xen_mourner *mourner)
{
    if (mourner->in)
        DL_DELETE(xen->mourners, mourner);
    mourner->in = false;
}

static void mark_dead(struct cdt_xen *xen)
{
    struct cdt_xen_mourner *one;
    uint32_t asked = UINT32_MAX;
    bool dead = false;
    DL_FOREACH(xen->mourners, one)
    {
        if (one->domain != asked)
            dead = !xs_is_domain_introduced(xen->store, one->domain);
        asked = one->domain;
        one->dead = dead;
    }
}

static void on_deaths(struct cdt_xen_watch *watch)
{
    struct cdt_xen *xen = CDT_CONTAINER(watch, struct cdt_xen, deaths);
    struct cdt_xen_mourner *one;
    mark_dead(xen);
    do {
        DL_SEARCH_SCALAR(xen->mourners, one, dead, true);
        if (one != NULL) {
            cdt_xen_unmourn(xen, one);
            one->died(one);
        }
    } while (one != NULL);
}

/* ---- opening ---- */

/* The libraries' own logger writes to standard error. */
static void say_nothing(struct xentoollog_logger *logger, xentoollog_level level, int number,
                        const char *context, const char *format, va_list args)
{
}

static void log_nothing(struct xentoollog_logger *logger) {}

static struct xentoollog_logger silent = {.vmessage = say_nothing, .destroy = log_nothing};

bool cdt_xen_present(void)
{
    return access("/dev/xen/evtchn", F_OK) == 0 &&
           (access("/dev/xen/xenbus", F_OK) == 0 || access("/run/xenstored/socket", F_OK) == 0);
}

int cdt_xen_need_grants(struct cdt_xen *xen)
{
    if (xen->grants == NULL)
        xen->grants = xengntshr_open(&silent, 0);
    if (xen->grants == NULL)
        return errno;
    return fcntl(xengntshr_fd(xen->grants), F_SETFD, FD_CLOEXEC) < 0 ? errno : 0;
}

int cdt_xen_need_maps(struct cdt_xen *xen)
{
    if (xen->maps == NULL)
        xen->maps = xengnttab_open(&silent, 0);
    return xen->maps != NULL ? 0 : errno;
}

/* "domid" is relative: what it says is xenstore's word about who asks. */
static int read_own_domain(struct cdt_xen *xen)
{
    unsigned len;
    char *text = xs_read(xen->store, XBT_NULL, "domid", &len);
    if (text == NULL)
        return errno;
    char *end;
    unsigned long domain = strtoul(text, &end, 10);
    bool fits = end != text && *end == '\0' && domain < DOMID_FIRST_RESERVED;
    xen->domain = (uint32_t)domain;
    free(text);
    return fits ? 0 : EPROTO;
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct cdt_xen *xen = handle->data;
    conduit_ctx *ctx = xen->ctx;
    if (--xen->n_handles == 0)
        conduit_free(xen);
    cdt_ctx_drop(ctx);
}

static void close_devices(struct cdt_xen *xen)
{
    if (xen->grants != NULL)
        xengntshr_close(xen->grants);
    if (xen->maps != NULL)
        xengnttab_close(xen->maps);
    if (xen->events != NULL)
        xenevtchn_close(xen->events);
    xs_close(xen->store);
}

/* Without a handle on the loop there is nothing to wait for. */
static void close_xen(struct cdt_xen *xen)
{
    int n = xen->n_handles;
    if (xen->ctx->xen == xen)
        xen->ctx->xen = NULL;
    if (n > 0)
        cdt_xen_watch_stop(xen, &xen->deaths);
    if (n > 1)
        uv_close((uv_handle_t *)&xen->event_poll, on_poll_closed);
    if (n > 0)
        uv_close((uv_handle_t *)&xen->store_poll, on_poll_closed);
    close_devices(xen);
    if (n == 0)
        conduit_free(xen);
}

static int start_poll(struct cdt_xen *xen, uv_poll_t *poll, int fd, uv_poll_cb fn)
{
    int err = uv_poll_init(xen->ctx->loop, poll, fd);
    if (err < 0)
        return -err;
    poll->data = xen;
    xen->n_handles++;
    cdt_ctx_hold(xen->ctx);
    uv_unref((uv_handle_t *)poll); /* connections and listeners keep the loop running */
    return -uv_poll_start(poll, UV_READABLE, fn);
}

static int open_store(struct cdt_xen *xen)
{
    xen->store = xs_open(XS_UNWATCH_FILTER);
    return xen->store != NULL ? read_own_domain(xen) : errno;
}

int cdt_xen_peek(struct cdt_xen *xen)
{
    int number = open_store(xen);
    if (number != 0)
        cdt_xen_unpeek(xen);
    return number;
}

void cdt_xen_unpeek(struct cdt_xen *xen)
{
    xs_close(xen->store);
}

static int open_devices(struct cdt_xen *xen, const char **what)
{
    *what = "xenstore";
    int number = open_store(xen);
    if (number != 0)
        return number;
    *what = "/dev/xen/evtchn";
    xen->events = xenevtchn_open(&silent, 0);
    return xen->events != NULL ? 0 : errno;
}

/* A domain without privileges is told that all others do not exist, and dom0 does. */
static int watch_deaths(struct cdt_xen *xen)
{
    if (!xs_is_domain_introduced(xen->store, 0))
        return 0;
    xen->deaths.fired = on_deaths;
    return cdt_xen_watch_start(xen, &xen->deaths, "@releaseDomain");
}

static int start(struct cdt_xen *xen, const char **what)
{
    int number = open_devices(xen, what);
    if (number != 0)
        return number;
    *what = "poll";
    number = start_poll(xen, &xen->store_poll, xs_fileno(xen->store), on_store);
    if (number == 0)
        number = start_poll(xen, &xen->event_poll, xenevtchn_fd(xen->events), on_events);
    return number != 0 ? number : watch_deaths(xen);
}

int cdt_xen_get(conduit_ctx *ctx, struct cdt_xen **ret, const char **what)
{
    struct cdt_xen *xen = ctx->xen;
    *what = "xenstore";
    if (xen == NULL) {
        xen = conduit_calloc(1, sizeof(*xen));
        if (xen == NULL)
            return ENOMEM;
        xen->ctx = ctx;
        RB_INIT(&xen->ports);
        int number = start(xen, what);
        if (number != 0) {
            close_xen(xen);
            return number;
        }
        ctx->xen = xen;
    }
    xen->refs++;
    *ret = xen;
    return 0;
}

void cdt_xen_unref(struct cdt_xen *xen)
{
    if (--xen->refs == 0)
        close_xen(xen);
}
