/* SPDX-License-Identifier: ISC */
/*
 * static: the addresses that a program gives names itself, and the resolver that answers with them.
 *
 * It stands here and not among the other resolvers because what it answers from is the context's:
 * the list that conduit_ctx_add_host() fills. Addresses are answered in the order in which they
 * were added. A name that is in the list is not asked for anywhere else.
 */
#include "static.h"
#include "context.h"
#include "endpoint.h"
#include "host.h"
#include <conduit/memory.h>
#include <conduit/rules.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

struct cdt_own_address {
    struct cdt_own_address *prev, *next;
    const conduit_endpoint *at; /* with some port */
    char name[CDT_HOST_SIZE];
};

/* ---- the list ---- */

static void drop(conduit_ctx *ctx, struct cdt_own_address *own)
{
    DL_DELETE(ctx->addresses, own);
    conduit_endpoint_unref(own->at);
    conduit_free(own);
}

void cdt_addresses_clear(conduit_ctx *ctx)
{
    while (ctx->addresses != NULL)
        drop(ctx, ctx->addresses);
}

/* 0 and *ret, CONDUIT_EINVAL if `address` is not numeric, or CONDUIT_ENOMEM. */
static int read_address(const char *address, const conduit_endpoint **ret)
{
    char key[CDT_HOST_SIZE], uri[CDT_HOST_SIZE + 16];
    int code = cdt_host_read(address, key);
    if (code < 0 || !cdt_host_is_address(key))
        return code < 0 ? code : CONDUIT_EINVAL;
    snprintf(uri, sizeof(uri), strchr(key, ':') != NULL ? "tcp://[%s]:1" : "tcp://%s:1", key);
    code = conduit_endpoint_parse(uri, ret, NULL);
    return code == 0 || code == CONDUIT_ENOMEM ? code : CONDUIT_EINVAL;
}

int conduit_ctx_add_host(conduit_ctx *ctx, const char *name, const char *address)
{
    char key[CDT_HOST_SIZE];
    const conduit_endpoint *at = NULL;
    int code = cdt_host_read(name, key);
    if (code == CONDUIT_EINVAL || (code == 0 && cdt_host_is_address(key)))
        return cdt_ctx_refuse(ctx, CONDUIT_EINVAL, "addresses are given to the name of a host");
    if (code == 0)
        code = read_address(address, &at);
    if (code < 0)
        return cdt_ctx_refuse(ctx, code,
                              code == CONDUIT_ENOMEM ? "out of memory" : "not a numeric address");
    struct cdt_own_address *own = conduit_calloc(1, sizeof(*own));
    if (own == NULL) {
        conduit_endpoint_unref(at);
        return cdt_ctx_refuse(ctx, CONDUIT_ENOMEM, "out of memory");
    }
    own->at = at;
    memcpy(own->name, key, sizeof(key));
    DL_APPEND(ctx->addresses, own);
    return 0;
}

int conduit_ctx_remove_host(conduit_ctx *ctx, const char *name)
{
    char key[CDT_HOST_SIZE];
    bool any = false;
    struct cdt_own_address *own, *next;
    if (cdt_host_read(name, key) < 0)
        return cdt_ctx_refuse(ctx, CONDUIT_ENONAME, "not the name of a host");
    DL_FOREACH_SAFE(ctx->addresses, own, next)
    {
        if (strcmp(own->name, key) != 0)
            continue;
        drop(ctx, own);
        any = true;
    }
    return any ? 0 : cdt_ctx_refuse(ctx, CONDUIT_ENONAME, "the name has no addresses");
}

/* ---- the resolver ---- */

static struct cdt_own_address *first_of(const conduit_query *query, char key[CDT_HOST_SIZE])
{
    struct cdt_own_address *own = NULL;
    if (conduit_query_ctx(query)->addresses == NULL ||
        !cdt_host_key(conduit_query_host(query), key))
        return NULL;
    DL_FOREACH(conduit_query_ctx(query)->addresses, own)
    {
        if (strcmp(own->name, key) == 0)
            break;
    }
    return own;
}

static bool accepts(const conduit_query *query, void *state)
{
    char key[CDT_HOST_SIZE];
    return strcmp(conduit_query_transport(query), "tcp") == 0 && first_of(query, key) != NULL;
}

static void start(conduit_query *query, void *state)
{
    char key[CDT_HOST_SIZE];
    for (struct cdt_own_address *own = first_of(query, key); own != NULL; own = own->next)
        if (strcmp(own->name, key) == 0)
            conduit_query_add_address(query, &own->at->address.any, -1);
    conduit_query_done(query, 0, NULL, 0, "its addresses are of the other family");
}

const conduit_resolver cdt_resolver_static = {
    .name = "static",
    .immediate = true,
    .accepts = accepts,
    .start = start,
};
