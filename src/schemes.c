/* SPDX-License-Identifier: ISC */
/*
 * Schemes that are not built in: schemes.h says which. A scheme of a context is a row like those of
 * builtin.c with strings of its own, and stays until the context ends.
 */
#include "schemes.h"
#include "context.h"
#include "error.h"
#include <conduit/memory.h>
#include <conduit/scheme.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

struct cdt_own_scheme {
    struct cdt_own_scheme *next;
    struct cdt_scheme row;
    char *name, *transport, *alpn; /* what the row points to */
};

const struct cdt_scheme *cdt_scheme_of(const conduit_ctx *ctx, const char *name)
{
    for (struct cdt_own_scheme *own = ctx != NULL ? ctx->schemes : NULL; own != NULL;
         own = own->next)
        if (strcmp(own->name, name) == 0)
            return &own->row;
    return cdt_scheme_find(name);
}

bool cdt_scheme_is_own(const conduit_ctx *ctx, const struct cdt_scheme *row)
{
    for (struct cdt_own_scheme *own = ctx != NULL ? ctx->schemes : NULL; own != NULL;
         own = own->next)
        if (row == &own->row)
            return true;
    return false;
}

/* ---- adding one ---- */

static void free_own(struct cdt_own_scheme *own)
{
    conduit_free(own->name);
    conduit_free(own->transport);
    conduit_free(own->alpn);
    conduit_free(own);
}

void cdt_schemes_clear(conduit_ctx *ctx)
{
    while (ctx->schemes != NULL) {
        struct cdt_own_scheme *next = ctx->schemes->next;
        free_own(ctx->schemes);
        ctx->schemes = next;
    }
}

/* RFC 3986, 3.1, and lower case, as URIs have it here; '+' makes stacks. False if it is none. */
static bool fold_name(char *name)
{
    for (char *c = name; *c != '\0'; c++) {
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
        bool letter = *c >= 'a' && *c <= 'z';
        bool other = (*c >= '0' && *c <= '9') || *c == '-' || *c == '.';
        if (!letter && !(other && c > name))
            return false;
    }
    return *name != '\0';
}

/* 0 if the list is one that TLS can send: whoever knows that is asked. */
static int check_alpn(const char *list)
{
    conduit_tls *tls = conduit_tls_new();
    int code = tls != NULL ? conduit_tls_set(tls, "alpn", list, NULL) : CONDUIT_ENOMEM;
    conduit_tls_unref(tls);
    return code;
}

/* Why it cannot be, or NULL; *code says what kind of mistake it is. */
static const char *objection(const struct cdt_scheme *row, int *code)
{
    const struct cdt_scheme *builtin = cdt_scheme_find(row->name);
    int of_alpn = row->alpn != NULL ? check_alpn(row->alpn) : 0;
    *code = of_alpn == CONDUIT_ENOMEM ? CONDUIT_ENOMEM : CONDUIT_EINVAL;
    if (of_alpn == CONDUIT_ENOMEM)
        return "out of memory";
    if (cdt_transport_find(row->name) != NULL || cdt_layer_kind_find(row->name) != NULL ||
        (builtin != NULL && builtin->endpoint))
        return "the name is that of a transport or of a layer";
    if (builtin != NULL && builtin->tls && !row->tls)
        return "the name stands for TLS, and never for cleartext";
    if (row->alpn != NULL && !row->tls)
        return "without TLS nobody asks for ALPN";
    if (of_alpn != 0)
        return "alpn is no list of protocols like \"h2,http/1.1\"";
    if (row->records == CONDUIT_RECORDS_HTTPS && !row->tls)
        return "HTTPS records are for TLS";
    *code = CONDUIT_ENOTSUP;
    if (cdt_transport_find(row->transport) == NULL)
        return "there is no such transport";
    if (row->tls && cdt_layer_kind_find("tls") == NULL)
        return "this library was built without TLS";
    return NULL;
}

static struct cdt_own_scheme *copy(const conduit_scheme *scheme)
{
    struct cdt_own_scheme *own = conduit_calloc(1, sizeof(*own));
    if (own == NULL)
        return NULL;
    own->name = conduit_strdup(scheme->name);
    own->transport = conduit_strdup(scheme->transport != NULL ? scheme->transport : "tcp");
    own->alpn = scheme->alpn != NULL ? conduit_strdup(scheme->alpn) : NULL;
    if (own->name == NULL || own->transport == NULL ||
        (scheme->alpn != NULL && own->alpn == NULL)) {
        free_own(own);
        return NULL;
    }
    own->row = (struct cdt_scheme){
        .name = own->name,
        .transport = own->transport,
        .tls = scheme->tls,
        .port = scheme->port,
        .alpn = own->alpn,
        .records = scheme->records,
    };
    return own;
}

int conduit_ctx_add_scheme(conduit_ctx *ctx, const conduit_scheme *scheme)
{
    if (scheme->name == NULL)
        return cdt_ctx_refuse(ctx, CONDUIT_EINVAL, "a scheme has a name");
    struct cdt_own_scheme *own = copy(scheme);
    if (own == NULL)
        return cdt_ctx_refuse(ctx, CONDUIT_ENOMEM, "out of memory");
    int code = CONDUIT_EINVAL;
    const char *why = fold_name(own->name) ? objection(&own->row, &code) : "malformed name";
    if (why == NULL) {
        own->next = ctx->schemes;
        ctx->schemes = own;
        return 0;
    }
    char text[256];
    snprintf(text, sizeof(text), "scheme \"%.80s\": %s", own->name, why);
    free_own(own);
    return cdt_ctx_refuse(ctx, code, text);
}

/* ---- the system's list ---- */

enum { SERVICE_BUFFER = 4096, NAME_SIZE = 64 };

static bool is_service(const char *name)
{
    struct servent row, *found = NULL;
    char buffer[SERVICE_BUFFER];
    return getservbyname_r(name, "tcp", &row, buffer, sizeof(buffer), &found) == 0 && found != NULL;
}

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), n_end = strlen(end);
    return n > n_end && strcmp(name + n - n_end, end) == 0;
}

/* "telnets" is, for there is telnet; "kerberos" and "nfs" are not. So are "domain-s", "sip-tls". */
static bool is_secure_name(const char *name)
{
    char plain[NAME_SIZE];
    const struct cdt_scheme *builtin = cdt_scheme_find(name);
    if ((builtin != NULL && builtin->tls) || ends_in(name, "-tls") || ends_in(name, "-ssl"))
        return true;
    size_t n = strlen(name);
    if (!ends_in(name, "s") || n >= sizeof(plain))
        return false;
    n -= ends_in(name, "-s") ? 2 : 1;
    memcpy(plain, name, n);
    plain[n] = '\0';
    return cdt_scheme_find(plain) != NULL || is_service(plain);
}

/* One of its names is enough: "snntp" is another for nntps. */
static bool is_secure(const struct servent *service)
{
    for (char **alias = service->s_aliases; *alias != NULL; alias++)
        if (is_secure_name(*alias))
            return true;
    return is_secure_name(service->s_name);
}

enum cdt_service cdt_service_find(const char *name, uint16_t *port)
{
    struct servent row, *found = NULL;
    char buffer[SERVICE_BUFFER];
    if (getservbyname_r(name, "tcp", &row, buffer, sizeof(buffer), &found) != 0 || found == NULL)
        return CDT_SERVICE_UNKNOWN;
    *port = ntohs((uint16_t)found->s_port);
    if (*port == 0)
        return CDT_SERVICE_UNKNOWN;
    return is_secure(found) ? CDT_SERVICE_TLS : CDT_SERVICE_CLEAR;
}
