/* SPDX-License-Identifier: ISC */
/*
 * What makes two connects the same to a pool, as one text.
 *
 * All that decides who is reached and how is in it, as it was asked for and as it was understood.
 * Rather too much than too little: two that should have been one cost a connection, one that should
 * have been two is somebody else's. Each part has its length before it, so that none can be read as
 * another's. Passwords are among them: whoever frees a key wipes it.
 */
#include "pool.h"
#include "text.h"
#include "transport.h"
#include <string.h>

static void put(FILE *to, const char *part)
{
    if (part == NULL)
        fputs("-,", to);
    else
        fprintf(to, "%zu:%s,", strlen(part), part);
}

static void put_params(FILE *to, const struct cdt_params *params)
{
    fprintf(to, "%zu;", params->n);
    for (size_t i = 0; i < params->n; i++) {
        put(to, params->list[i].key);
        put(to, params->list[i].value);
    }
}

/* As the URI says it. On application schemes path and query are not ours. */
static void put_uri(FILE *to, const struct cdt_target *target)
{
    const conduit_uri *uri = target->uri;
    put(to, conduit_uri_scheme(uri));
    put(to, conduit_uri_userinfo(uri));
    put(to, conduit_uri_host(uri));
    fprintf(to, "%d,", conduit_uri_port(uri));
    put(to, target->application ? NULL : conduit_uri_path(uri));
    put(to, target->application ? NULL : conduit_uri_query(uri));
}

/* As it was understood: where rules and proxies lead, and through what. */
static void put_target(FILE *to, const struct cdt_target *target)
{
    put(to, target->transport->name);
    put(to, target->host);
    put(to, target->service);
    fprintf(to, "%u,%u,%d,%d,%d,", target->port, target->usual_port, target->family,
            (int)target->records, target->prefer_local);
    put_params(to, &target->params);
    for (size_t i = 0; i < target->n_steps; i++) {
        const struct cdt_step *step = &target->steps[i];
        put(to, step->kind->name);
        put(to, step->name);
        put(to, step->login);
        put_params(to, &step->params);
    }
}

char *cdt_pool_key(const struct cdt_target *target, const conduit_connect_options *options)
{
    struct cdt_text text;
    FILE *to = cdt_text_open(&text);
    if (to == NULL)
        return NULL;
    put_uri(to, target);
    put_target(to, target);
    fprintf(to, "%p,", (void *)options->tls);
    put(to, options->via);
    put(to, options->connect_to);
    put(to, options->endpoint_params);
    put(to, options->pool_key);
    return cdt_text_close(&text);
}
