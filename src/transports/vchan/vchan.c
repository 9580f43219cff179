/* SPDX-License-Identifier: ISC */
/*
 * vchan: two domains of one machine, or two processes, through memory that they share.
 *
 *     vchan://5/echo      the port "echo" of domain 5
 *     vchan://web/http    the port "http" of whoever is called "web"
 *
 * What moves bytes is ring.c, when to look at them is end.c, and where it all comes from is a
 * backing: a row of src/builtin.c. The first that is there is used, unless backing= says which.
 */
#include "endpoint.h"
#include "error.h"
#include "transports/vchan/backing.h"
#include "transports/vchan/ring.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DEFAULT_SPIN_US = 100, /* two wake-ups: less would never meet a peer that has to wake first */
    MOST_SPIN_US = 10000,
};

/* ---- the keys ---- */

/* A decimal number up to `most` and what follows it; false if there is none. */
static bool read_number(const char *text, unsigned long most, unsigned long *ret, char **end)
{
    if (!isdigit((unsigned char)*text))
        return false;
    *ret = strtoul(text, end, 10);
    return *ret <= most;
}

/* "65536", "64k", "1m" */
static bool read_size(const char *text, uint32_t *ret)
{
    char *end;
    unsigned long n;
    if (!read_number(text, CDT_RING_MAX, &n, &end))
        return false;
    unsigned shift = *end == 'k' ? 10 : *end == 'm' ? 20 : 0;
    *ret = (uint32_t)(n << shift);
    return end[shift != 0] == '\0' && n << shift >= CDT_RING_MIN && n << shift <= CDT_RING_MAX;
}

/* "1000,1001" or "*" */
static bool read_users(const char *text, struct cdt_vchan_settings *settings)
{
    char *end;
    unsigned long user;
    settings->share = true;
    settings->share_all = strcmp(text, "*") == 0;
    for (; !settings->share_all; text = end + 1) {
        if (settings->n_shared == CDT_VCHAN_MOST_SHARED ||
            !read_number(text, UINT32_MAX - 1, &user, &end))
            return false;
        settings->shared[settings->n_shared++] = (uid_t)user;
        if (*end != ',')
            return *end == '\0';
    }
    return true;
}

static bool read_spin(const char *text, unsigned *ret)
{
    char *end;
    unsigned long n;
    if (!read_number(text, MOST_SPIN_US, &n, &end) || *end != '\0')
        return false;
    *ret = (unsigned)n;
    return true;
}

static bool read_peer(const char *text, struct cdt_vchan_settings *settings)
{
    char *end;
    unsigned long n;
    settings->has_peer = read_number(text, CDT_MAX_DOMAIN, &n, &end) && *end == '\0';
    settings->peer = settings->has_peer ? (uint32_t)n : 0;
    return settings->has_peer;
}

static const struct cdt_vchan_backing *find_backing(const char *name)
{
    for (size_t i = 0; cdt_vchan_backings[i] != NULL; i++)
        if (name != NULL ? strcmp(name, cdt_vchan_backings[i]->name) == 0
                         : cdt_vchan_backings[i]->present())
            return cdt_vchan_backings[i];
    return NULL;
}

static const char *check(const char *key, const char *value)
{
    struct cdt_vchan_settings scratch = {0};
    if (strcmp(key, "read") == 0 || strcmp(key, "write") == 0)
        return read_size(value, &scratch.read) ? NULL : "a ring has 1k to 1m bytes";
    if (strcmp(key, "spin") == 0)
        return read_spin(value, &scratch.spin_us) ? NULL : "microseconds, 0 to 10000";
    if (strcmp(key, "share") == 0)
        return read_users(value, &scratch) ? NULL : "16 user numbers at most, with commas, or *";
    if (strcmp(key, "peer") == 0)
        return read_peer(value, &scratch) ? NULL : "the number of a domain";
    return find_backing(value) != NULL ? NULL : "no such backing in this build";
}

/* The values have been checked. */
static struct cdt_vchan_settings settings_of(const conduit_endpoint *endpoint)
{
    struct cdt_vchan_settings settings = {.spin_us = DEFAULT_SPIN_US};
    const char *read = conduit_endpoint_param(endpoint, "read");
    const char *write = conduit_endpoint_param(endpoint, "write");
    const char *spin = conduit_endpoint_param(endpoint, "spin");
    const char *share = conduit_endpoint_param(endpoint, "share");
    if (read != NULL)
        read_size(read, &settings.read);
    if (write != NULL)
        read_size(write, &settings.write);
    if (spin != NULL)
        read_spin(spin, &settings.spin_us);
    const char *peer = conduit_endpoint_param(endpoint, "peer");
    if (share != NULL)
        read_users(share, &settings);
    if (peer != NULL)
        read_peer(peer, &settings);
    return settings;
}

static const struct cdt_vchan_backing *backing_of(const conduit_endpoint *endpoint)
{
    return find_backing(conduit_endpoint_param(endpoint, "backing"));
}

/* ---- the transport ---- */

static int dial(struct cdt_path *path, const conduit_endpoint *to)
{
    struct cdt_vchan_settings settings = settings_of(to);
    const struct cdt_vchan_backing *backing = backing_of(to);
    const char *why = backing->refuses(&settings, false);
    if (why != NULL)
        return cdt_path_fail(path, CONDUIT_EINVAL, CONDUIT_STAGE_URI, NULL, 0, "%s", why);
    return backing->dial(path, to, &settings);
}

static int bind_vchan(conduit_ctx *ctx, const conduit_endpoint *at, int backlog,
                      struct cdt_acceptor **ret, const conduit_error **reterr)
{
    struct cdt_vchan_settings settings = settings_of(at);
    const struct cdt_vchan_backing *backing = backing_of(at);
    const char *why = backing->refuses(&settings, true);
    if (why != NULL)
        return cdt_error_give(cdt_error_new(CONDUIT_EINVAL, CONDUIT_STAGE_URI,
                                            conduit_endpoint_uri(at), NULL, 0, "%s", why),
                              reterr);
    return backing->bind(ctx, at, &settings, backlog, ret, reterr);
}

static void explain(const conduit_endpoint *endpoint, char *buf, size_t size)
{
    struct cdt_vchan_settings settings = settings_of(endpoint);
    backing_of(endpoint)->explain(endpoint, &settings, buf, size);
}

static bool taken(const conduit_endpoint *endpoint)
{
    struct cdt_vchan_settings settings = settings_of(endpoint);
    const struct cdt_vchan_backing *backing = backing_of(endpoint);
    return backing->taken != NULL && backing->taken(endpoint, &settings);
}

static const char *const keys[] = {"read", "write", "spin", "share", "peer", "backing", NULL};

const struct cdt_transport cdt_transport_vchan = {
    .name = "vchan",
    .form = CDT_FORM_NAME_PORT,
    .keys = keys,
    .check = check,
    .dial = dial,
    .bind = bind_vchan,
    .explain = explain,
    .taken = taken,
};
