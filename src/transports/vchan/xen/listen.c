/* SPDX-License-Identifier: ISC */
/*
 * A listener between domains: a door in xenstore, and an end for each who asks at it.
 *
 * The door is watched. A request is answered when the connection is accepted, so that the limits of
 * the listener hold for grants, too; one that makes no sense is removed, and if it cannot be (its
 * owner says who may), the door is. With peer= a ring is offered in advance, as
 * libxenvchan's clients, who do not ask, expect; when one has come the next is made.
 *
 * That a port is one listener's at a time is a lock in this domain: place.h.
 */
#include "endpoint.h"
#include "error.h"
#include "transports/vchan/place.h"
#include "transports/vchan/xen/ring_end.h"
#include "util.h"
#include <conduit/memory.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_SIZE = 64 * 1024 }; /* of 1,024 grants that is fit for 31 connections */

struct acceptor {
    struct cdt_acceptor acceptor;
    struct cdt_xen *xen; /* a reference */
    struct cdt_vchan_settings settings;
    char name[256], word[CDT_MAX_PORT_NAME + 1];
    bool named; /* by us */
    char door[CDT_XEN_PATH];
    struct cdt_xen_watch watch;
    char **waiting; /* the nonces at the door when it was looked at; libxenstore's memory */
    unsigned n, next;
    bool changed;                /* since then */
    bool stuck;                  /* something there cannot be removed */
    struct cdt_xen_stand *stand; /* with peer=: a reference */
    struct cdt_xen_end *standing;
    struct cdt_task task;
    bool on;
    int lock_fd;
    struct cdt_place lock;
};

static struct acceptor *of(struct cdt_acceptor *acceptor)
{
    return CDT_CONTAINER(acceptor, struct acceptor, acceptor);
}

/* ---- who asks ---- */

static int open_door(struct acceptor *a)
{
    a->stuck = false;
    return cdt_xen_door_open(a->xen, a->door, a->settings.has_peer ? &a->settings.peer : NULL);
}

static void forget_waiting(struct acceptor *a)
{
    free(a->waiting);
    a->waiting = NULL;
    a->n = a->next = 0;
}

/* What was there has been dealt with: look again, if there is news. A door that is gone, or that
 * cannot be cleared, is made anew; who waits asks again. */
static void look(struct acceptor *a)
{
    forget_waiting(a);
    if (!a->changed)
        return;
    a->changed = false;
    if (!a->stuck)
        a->waiting = xs_directory(a->xen->store, XBT_NULL, a->door, &a->n);
    if (a->waiting == NULL) {
        a->n = 0;
        open_door(a);
    }
}

static const char *next_nonce(struct acceptor *a)
{
    if (a->next == a->n)
        look(a);
    return a->next < a->n ? a->waiting[a->next] : NULL;
}

static void answered(struct acceptor *a)
{
    if (cdt_xen_request_remove(a->xen, a->door, a->waiting[a->next]) != 0)
        a->stuck = a->changed = true;
    a->next++;
}

static bool admits(const struct acceptor *a, const struct cdt_xen_request *request)
{
    return !a->settings.has_peer || request->client == a->settings.peer;
}

/* ---- rings ---- */

/* A client may have less than the listener would give, and not more: grants are the listener's. */
static uint32_t agree(uint32_t ours, uint32_t theirs)
{
    uint32_t most = ours != 0 ? ours : DEFAULT_SIZE;
    return theirs != 0 && theirs < most ? theirs : most;
}

static struct cdt_xen_end *make_end(struct acceptor *a, const struct cdt_xen_request *request,
                                    const char *nonce, int *number)
{
    const char *what;
    struct cdt_xen_end *s = cdt_xen_end_new(a->xen, true, request->client, a->word);
    *number = ENOMEM;
    if (s == NULL)
        return NULL;
    cdt_xen_ring_path(s->keys, a->xen->domain, request->client, a->word, nonce);
    if (nonce == NULL) {
        s->stand = a->stand;
        s->stand->refs++;
    }
    *number = cdt_xen_end_offer(s, agree(a->settings.read, request->write),
                                agree(a->settings.write, request->read), &what);
    if (*number == 0)
        return s;
    cdt_xen_end_drop(s);
    return NULL;
}

static void on_standing_joined(void *arg)
{
    struct acceptor *a = arg;
    if (a->on)
        a->acceptor.ready(&a->acceptor);
}

static int make_stand(struct acceptor *a)
{
    a->stand = conduit_calloc(1, sizeof(*a->stand));
    if (a->stand == NULL)
        return ENOMEM;
    a->stand->refs = 1;
    cdt_xen_ring_path(a->stand->keys, a->xen->domain, a->settings.peer, a->word, NULL);
    return 0;
}

/* Have a ring ready for the next. */
static int stand(struct acceptor *a)
{
    struct cdt_xen_request anyone = {.client = a->settings.peer};
    int number = 0;
    if (!a->settings.has_peer || a->standing != NULL)
        return 0;
    if (a->stand == NULL)
        number = make_stand(a);
    if (number != 0)
        return number;
    a->standing = make_end(a, &anyone, NULL, &number);
    if (a->standing == NULL)
        return number;
    a->standing->joined = on_standing_joined;
    a->standing->arg = a;
    return 0;
}

/* ---- the acceptor ---- */

/* If there is nothing to make the next one of, accepting again tries it again. */
static void accept_standing(struct acceptor *a, struct cdt_path *path)
{
    cdt_xen_end_push(a->standing, path, &a->settings);
    a->standing = NULL;
    stand(a);
}

/* Of grants, of memory, or of what xenstore does for one domain at a time. */
static bool is_shortage(int *number)
{
    if (*number == EAGAIN)
        *number = ENOSPC;
    return *number == ENOSPC || *number == ENOMEM || *number == EMFILE;
}

static int accept_request(struct acceptor *a, struct cdt_path *path, int *number)
{
    const char *nonce;
    struct cdt_xen_request request;
    while ((nonce = next_nonce(a)) != NULL) {
        if (!cdt_xen_is_nonce(nonce) ||
            cdt_xen_request_read(a->xen, a->door, nonce, &request) != 0 || !admits(a, &request)) {
            answered(a);
            continue;
        }
        struct cdt_xen_end *s = make_end(a, &request, nonce, number);
        if (s == NULL && is_shortage(number))
            return cdt_code_from_errno(*number); /* it stays, for when there is more */
        answered(a);
        if (s == NULL)
            return CONDUIT_ERESET;
        cdt_xen_end_push(s, path, &a->settings);
        return 0;
    }
    return CONDUIT_EAGAIN;
}

static int accept_xen(struct cdt_acceptor *acceptor, struct cdt_path *path, int *number)
{
    struct acceptor *a = of(acceptor);
    int code = 0;
    *number = stand(a);
    if (*number != 0)
        return cdt_code_from_errno(*number);
    if (a->standing != NULL && cdt_xen_end_joined(a->standing))
        accept_standing(a, path);
    else
        code = accept_request(a, path, number);
    if ((code == 0 || code == CONDUIT_ERESET) && a->on)
        cdt_defer(acceptor->ctx, &a->task); /* the next may wait already, and no key will change */
    return code;
}

static bool who(const struct cdt_path *path, struct cdt_who *ret)
{
    const struct cdt_vchan_end *end = CDT_CONTAINER(path->top, struct cdt_vchan_end, layer);
    const struct cdt_xen_end *s = CDT_CONTAINER(cdt_bytes(end), struct cdt_xen_end, end);
    *ret = (struct cdt_who){.family = AF_UNSPEC};
    memcpy(ret->bytes, &s->mourner.domain, sizeof(s->mourner.domain));
    return true;
}

static void on_task(struct cdt_task *task)
{
    struct acceptor *a = CDT_CONTAINER(task, struct acceptor, task);
    a->acceptor.ready(&a->acceptor);
}

static void on_door_changed(struct cdt_xen_watch *watch)
{
    struct acceptor *a = CDT_CONTAINER(watch, struct acceptor, watch);
    a->changed = true;
    if (a->on)
        a->acceptor.ready(&a->acceptor);
}

static void want(struct cdt_acceptor *acceptor, bool on)
{
    struct acceptor *a = of(acceptor);
    if (on && !a->on)
        cdt_defer(acceptor->ctx, &a->task);
    if (!on)
        cdt_undefer(acceptor->ctx, &a->task);
    a->on = on;
}

static void unlock(struct acceptor *a)
{
    if (a->lock_fd < 0)
        return;
    unlink(a->lock.address.sun_path);
    close(a->lock_fd);
}

static void release(struct acceptor *a)
{
    if (a->xen != NULL) {
        cdt_xen_watch_stop(a->xen, &a->watch);
        cdt_xen_end_drop(a->standing);
        if (a->stand != NULL)
            cdt_xen_stand_unref(a->xen, a->stand);
        if (a->lock_fd >= 0)
            xs_rm(a->xen->store, XBT_NULL, a->door);
        if (a->named)
            cdt_xen_name_drop(a->xen, a->name);
        cdt_xen_unref(a->xen);
    }
    forget_waiting(a);
    unlock(a);
    conduit_free(a);
}

static void close_acceptor(struct cdt_acceptor *acceptor)
{
    struct acceptor *a = of(acceptor);
    cdt_undefer(acceptor->ctx, &a->task);
    conduit_endpoint_unref(acceptor->endpoint);
    release(a);
}

static const struct cdt_acceptor_ops acceptor_ops = {
    .accept = accept_xen,
    .who = who,
    .want = want,
    .close = close_acceptor,
};

/* ---- binding ---- */

static int lock_port(struct acceptor *a, const char **what)
{
    char host[CDT_MAX_PORT_NAME + 8];
    snprintf(host, sizeof(host), "@xen/%s", a->word); /* no name of a domain has that sign */
    int number = cdt_place_find(host, false, 0, &a->lock, what);
    if (number == 0)
        number = cdt_place_bind(&a->lock, 1, &a->lock_fd, what);
    if (number != 0)
        a->lock_fd = -1;
    return number;
}

/* A number has to be that of this domain; a name is taken. */
static int take_name(struct acceptor *a, const char **what)
{
    struct cdt_xen_name found;
    *what = "the number is another domain's";
    if (a->name[strspn(a->name, "0123456789")] == '\0') {
        cdt_xen_name_find(a->xen, a->name, &found);
        return found.domain == a->xen->domain ? 0 : EADDRNOTAVAIL;
    }
    *what = "the name in xenstore (/conduit)";
    return cdt_xen_name_take(a->xen, a->name, &a->named);
}

static int start(struct acceptor *a, conduit_ctx *ctx, const char **what)
{
    int number = cdt_xen_get(ctx, &a->xen, what);
    if (number != 0)
        return number;
    number = lock_port(a, what);
    if (number == 0)
        number = take_name(a, what);
    if (number != 0)
        return number;
    *what = "xenstore";
    cdt_xen_offers_clean(a->xen, a->word);
    cdt_xen_door_path(a->door, a->xen->domain, a->word);
    number = open_door(a);
    a->watch.fired = on_door_changed;
    if (number == 0)
        number = cdt_xen_watch_start(a->xen, &a->watch, a->door);
    *what = "grants";
    if (number == 0)
        number = cdt_xen_need_grants(a->xen);
    return number != 0 ? number : stand(a);
}

int cdt_xen_bind(conduit_ctx *ctx, const conduit_endpoint *at,
                 const struct cdt_vchan_settings *settings, int backlog, struct cdt_acceptor **ret,
                 const conduit_error **reterr)
{
    struct acceptor *a = conduit_calloc(1, sizeof(*a));
    const char *what = "bind";
    int number = ENOMEM;
    if (a != NULL) {
        a->lock_fd = -1;
        a->settings = *settings;
        a->task.run = on_task;
        a->acceptor = (struct cdt_acceptor){.ops = &acceptor_ops, .ctx = ctx, .endpoint = at};
        cdt_xen_split(conduit_endpoint_host(at), a->name, a->word);
        number = start(a, ctx, &what);
    }
    if (number == 0) {
        conduit_endpoint_ref(at);
        *ret = &a->acceptor;
        return 0;
    }
    if (a != NULL)
        release(a);
    return cdt_error_give(
        cdt_error_errno(CONDUIT_STAGE_DIAL, conduit_endpoint_uri(at), number, what), reterr);
}
