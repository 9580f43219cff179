/* SPDX-License-Identifier: ISC */
/*
 * system: getaddrinfo(), on a thread of libuv's pool, for names that only this machine knows (NSS).
 *
 * It takes every name that comes to it: dns, which is asked before it, lets it have them when the
 * options say so. getaddrinfo() cannot be stopped once it runs: a lookup that is canceled then is
 * cut loose from its query, and freed when the thread is done with it.
 */
#include "names.h"
#include <conduit/memory.h>
#include <netdb.h>
#include <uv.h>

enum { MAX_ADDRESSES = 128 };

struct lookup {
    uv_getaddrinfo_t request;
    conduit_query *query; /* NULL: canceled */
};

static bool accepts(const conduit_query *query, void *state)
{
    return conduit_query_by_address(query) && *conduit_query_host(query) != '\0' &&
           !conduit_query_listening(query);
}

static int code_of(int status)
{
    switch (status) {
    case UV_EAI_NONAME:
    case UV_EAI_NODATA:
    case UV_EAI_ADDRFAMILY:
        return CONDUIT_ENONAME;
    case UV_EAI_MEMORY:
    case UV_ENOMEM:
        return CONDUIT_ENOMEM;
    default:
        return CONDUIT_ETEMP;
    }
}

static void finish(conduit_query *query, int status)
{
    if (status == 0)
        conduit_query_done(query, 0, NULL, 0, NULL);
    else
        conduit_query_done(query, code_of(status), "getaddrinfo", status, uv_strerror(status));
}

/* The query may be canceled from within any of this. */
static void tell(struct lookup *lookup, int status, const struct addrinfo *found)
{
    int n = 0;
    for (; found != NULL && n < MAX_ADDRESSES && lookup->query != NULL; found = found->ai_next, n++)
        conduit_query_add_address(lookup->query, found->ai_addr, -1);
    if (lookup->query != NULL)
        finish(lookup->query, status);
}

static void on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct lookup *lookup = request->data;
    tell(lookup, status, found);
    uv_freeaddrinfo(found);
    conduit_free(lookup);
}

static void start(conduit_query *query, void *state)
{
    struct lookup *lookup = conduit_calloc(1, sizeof(*lookup));
    if (lookup == NULL) {
        finish(query, UV_ENOMEM);
        return;
    }
    lookup->request.data = lookup;
    lookup->query = query;
    /* One socket type: without it each address comes once for every type there is. */
    const struct addrinfo hints = {.ai_family = conduit_query_family(query),
                                   .ai_socktype = SOCK_STREAM};
    uv_loop_t *loop = conduit_ctx_loop(conduit_query_ctx(query));
    conduit_query_set_data(query, lookup);
    int status =
        uv_getaddrinfo(loop, &lookup->request, on_found, conduit_query_host(query), NULL, &hints);
    if (status == 0)
        return;
    conduit_free(lookup);
    finish(query, status);
}

static void cancel(conduit_query *query, void *state)
{
    struct lookup *lookup = conduit_query_data(query);
    lookup->query = NULL;
    uv_cancel((uv_req_t *)&lookup->request);
}

const conduit_resolver cdt_resolver_system = {
    .name = "system",
    .accepts = accepts,
    .start = start,
    .cancel = cancel,
};
