/* SPDX-License-Identifier: ISC */
/*
 * vchan between the domains of a Xen: grants, event channels and xenstore, as libxenvchan has them.
 *
 *   client   find the domain of the name                      /conduit/NAME
 *            is a ring there for whoever comes?                .../data/vchan/C/PORT    take it
 *            otherwise ask for one at the door                 .../data/conduit/PORT
 *   server   see who asks (the owner of the request), grant    .../data/vchan/C/PORT@NONCE
 *   client   bind the channel, map the grants, say that it is there
 *
 * host.h is what all vchans of a context share, keys.h what is written where, pages.h the memory,
 * ring_end.h one end, listen.c the listener.
 */
#include "endpoint.h"
#include "error.h"
#include "transports/vchan/xen/ring_end.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- dialling ---- */

static int no_such_name(struct cdt_path *path, const char *name, const struct cdt_xen_name *found,
                        int number)
{
    if (number == EPERM)
        return cdt_path_fail(path, CONDUIT_EACCESS, CONDUIT_STAGE_DIAL, NULL, 0,
                             "%s says domain %u, but it is domain %u's: not believed", found->path,
                             found->domain, found->owner);
    if (number == ENOENT)
        return cdt_path_fail(path, CONDUIT_EREFUSED, CONDUIT_STAGE_DIAL, NULL, 0,
                             "no domain is called \"%s\" (%s)", name, found->path);
    if (number == EINVAL || number == EPROTO)
        return cdt_path_fail(path, CONDUIT_EINVAL, CONDUIT_STAGE_DIAL, NULL, 0,
                             "\"%s\" is not the name of a domain in xenstore", name);
    return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, number, "xenstore");
}

static int dial(struct cdt_path *path, const conduit_endpoint *to,
                const struct cdt_vchan_settings *settings)
{
    char name[256], word[CDT_MAX_PORT_NAME + 1];
    const char *what;
    struct cdt_xen *xen;
    struct cdt_xen_name found;
    int number = cdt_xen_get(path->ctx, &xen, &what);
    if (number != 0)
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, number, what);
    cdt_xen_split(conduit_endpoint_host(to), name, word);
    number = cdt_xen_name_find(xen, name, &found);
    struct cdt_xen_end *s = number == 0 ? cdt_xen_end_new(xen, false, found.domain, word) : NULL;
    cdt_xen_unref(xen);
    if (number != 0)
        return no_such_name(path, name, &found, number);
    if (s == NULL)
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, ENOMEM, "connect");
    s->read = settings->read;
    s->write = settings->write;
    cdt_xen_end_push(s, path, settings);
    return cdt_xen_end_begin(s);
}

/* ---- the row ---- */

static const char *refuses(const struct cdt_vchan_settings *settings, bool listening)
{
    if (settings->share)
        return "share= is for users of one machine (backing=shm)";
    if (!listening && settings->has_peer)
        return "peer= is for who listens";
    return NULL;
}

static void say(char *buf, size_t size, const char *format, ...) CONDUIT_PRINTF(3, 4);

/* One more step, after those that `buf` has. */
static void say(char *buf, size_t size, const char *format, ...)
{
    size_t n = strlen(buf);
    va_list args;
    if (n > 0)
        n += (size_t)snprintf(buf + n, size - n, "; ");
    va_start(args, format);
    if (n < size)
        vsnprintf(buf + n, size - n, format, args);
    va_end(args);
}

static void explain_ring(struct cdt_xen *xen, uint32_t domain, const char *word, char *buf,
                         size_t size)
{
    char path[CDT_XEN_PATH];
    struct cdt_xen_offer offer;
    cdt_xen_ring_path(path, domain, xen->domain, word, NULL);
    int number = cdt_xen_offer_read(xen, path, &offer);
    if (number == 0)
        say(buf, size, "%s: grant %u, event channel %u", path, offer.page, offer.channel);
    else
        say(buf, size, "%s: %s", path, number == ENOENT ? "no ring there" : strerror(number));
    cdt_xen_door_path(path, domain, word);
    say(buf, size, "%s: %s", path,
        cdt_xen_door_there(xen, path) ? "somebody listens there" : "nobody listens there");
}

static void explain_in(struct cdt_xen *xen, const char *name, const char *word, char *buf,
                       size_t size)
{
    struct cdt_xen_name found;
    int number = cdt_xen_name_find(xen, name, &found);
    *buf = '\0';
    if (found.path[0] != '\0' && (number == 0 || number == EPERM))
        say(buf, size, "%s: domain %u, says domain %u", found.path, found.domain, found.owner);
    else if (number != 0)
        say(buf, size, "%s: no domain of this name", found.path);
    if (number == 0)
        explain_ring(xen, found.domain, word, buf, size);
}

static void explain(const conduit_endpoint *endpoint, const struct cdt_vchan_settings *settings,
                    char *buf, size_t size)
{
    char name[256], word[CDT_MAX_PORT_NAME + 1];
    struct cdt_xen xen = {.ctx = NULL};
    int number = cdt_xen_peek(&xen);
    if (number != 0) {
        snprintf(buf, size, "xenstore: %s", strerror(number));
        return;
    }
    cdt_xen_split(conduit_endpoint_host(endpoint), name, word);
    explain_in(&xen, name, word, buf, size);
    cdt_xen_unpeek(&xen);
}

const struct cdt_vchan_backing cdt_vchan_xen = {
    .name = "xen",
    .present = cdt_xen_present,
    .refuses = refuses,
    .dial = dial,
    .bind = cdt_xen_bind,
    .explain = explain,
};
