/* SPDX-License-Identifier: ISC */
/* From the text of a URI to a target: target.h says what that is. */
#include "target.h"
#include "address.h"
#include "builtin.h"
#include "context.h"
#include "error.h"
#include "host.h"
#include "local.h"
#include "parameters.h"
#include "rules.h"
#include "schemes.h"
#include "secure.h"
#include "settle.h"
#include "stack.h"
#include "text.h"
#include "transport.h"
#include "via.h"
#include <arpa/inet.h>
#include <conduit/memory.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The URI as errors and traces show it: without the user information, which may be a password. */
static void print_uri(const conduit_uri *uri, char *buf, size_t size)
{
    const char *text = conduit_uri_text(uri), *user = conduit_uri_userinfo(uri);
    const char *at = *user != '\0' ? strstr(text, user) : NULL;
    if (at == NULL)
        snprintf(buf, size, "%s", text);
    else
        snprintf(buf, size, "%.*s...%s", (int)(at - text), text, at + strlen(user));
}

int cdt_target_refuse(const struct cdt_target *target, int code, const conduit_error **reterr,
                      const char *format, ...)
{
    char text[512], uri[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    print_uri(target->uri, uri, sizeof(uri));
    return cdt_error_give(
        cdt_error_new(code, CONDUIT_STAGE_URI, NULL, NULL, 0, "%s: %s", uri, text), reterr);
}

/* ---- the stack: "https", "tls+unix", "http+unix", "tcp4" ---- */

int cdt_target_push(struct cdt_target *target, const struct cdt_layer_kind *kind,
                    const conduit_error **reterr)
{
    if (kind == NULL)
        return cdt_target_refuse(target, CONDUIT_ENOTSUP, reterr,
                                 "this library was built without TLS");
    if (target->n_steps == CDT_MAX_LAYERS)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "too many layers");
    target->steps[target->n_steps++].kind = kind;
    return 0;
}

static int take_scheme(struct cdt_target *target, const struct cdt_scheme *row,
                       const conduit_error **reterr)
{
    target->transport = cdt_transport_find(row->transport);
    target->application = !row->endpoint;
    target->port = row->port;
    target->usual_port = row->port;
    target->alpn = row->alpn;
    target->service = row->records != CONDUIT_RECORDS_ADDRESS ? row->name : NULL;
    target->records = row->records;
    target->family = row->family;
    return row->tls ? cdt_target_push(target, cdt_layer_kind_find("tls"), reterr) : 0;
}

/* Nothing of ours has this name. */
static int take_service(conduit_ctx *ctx, struct cdt_target *target, const char *name, bool first,
                        const conduit_error **reterr)
{
    struct cdt_scheme row = {.name = name, .transport = "tcp"};
    switch (ctx != NULL && first ? cdt_service_find(name, &row.port) : CDT_SERVICE_UNKNOWN) {
    case CDT_SERVICE_CLEAR:
        target->row = "from the system's list of services";
        return take_scheme(target, &row, reterr);
    case CDT_SERVICE_TLS:
        return cdt_target_refuse(
            target, CONDUIT_ENOTSUP, reterr,
            "\"%s\" is a service over TLS by its name: add it as a scheme, with TLS", name);
    case CDT_SERVICE_UNKNOWN:
        break;
    }
    return cdt_target_refuse(target, CONDUIT_ENOTSUP, reterr, "unknown scheme \"%s\"", name);
}

/* One name of a stack. An application scheme stands first; a transport, or a scheme that is one
 * under another name (tcp4), stands last. */
static int take_step(conduit_ctx *ctx, struct cdt_target *target, const char *name, bool first,
                     bool last, const conduit_error **reterr)
{
    const struct cdt_transport *transport = cdt_transport_find(name);
    const struct cdt_scheme *row = NULL;
    if (transport == NULL) /* no scheme has the name of one */
        row = cdt_scheme_of(ctx, name);
    if (row != NULL && (row->endpoint ? last : first)) {
        target->row = cdt_scheme_is_own(ctx, row) ? "added by the program" : "built in";
        return take_scheme(target, row, reterr);
    }
    const struct cdt_layer_kind *kind = cdt_layer_kind_find(name);
    if (kind != NULL && !kind->implied)
        return cdt_target_push(target, kind, reterr);
    if (transport == NULL)
        return take_service(ctx, target, name, first, reterr);
    if (!last)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "%s runs over nothing: it goes last",
                                 name);
    target->transport = transport;
    return 0;
}

/* The first name of a proxy's stack. */
static int take_proxy(struct cdt_target *target, const char *name, const conduit_error **reterr)
{
    const struct cdt_proxy_scheme *row = cdt_proxy_scheme_find(name);
    if (row == NULL)
        return cdt_target_refuse(target, CONDUIT_ENOTSUP, reterr, "\"%s\" is not a kind of proxy",
                                 name);
    target->hop = cdt_layer_kind_find(row->layer);
    target->port = row->port;
    return row->tls ? cdt_target_push(target, cdt_layer_kind_find("tls"), reterr) : 0;
}

static int read_stack(conduit_ctx *ctx, struct cdt_target *target, const conduit_error **reterr)
{
    const char *scheme = conduit_uri_scheme(target->uri);
    target->transport = cdt_transport_find("tcp");
    if (strchr(scheme, '+') == NULL && !target->proxy)
        return take_step(ctx, target, scheme, true, true, reterr);
    char *copy = conduit_strdup(scheme);
    if (copy == NULL)
        return cdt_error_no_memory(reterr);
    int code = 0;
    bool first = true;
    char *rest = copy, *name;
    while (code == 0 && (name = strsep(&rest, "+")) != NULL) {
        if (first && target->proxy)
            code = take_proxy(target, name, reterr);
        else
            code = take_step(ctx, target, name, first, rest == NULL, reterr);
        first = false;
    }
    conduit_free(copy);
    return code;
}

/* ---- the user: known to the one proxy that there is, and to nobody else ---- */

static int read_user(struct cdt_target *target, const conduit_error **reterr)
{
    const char *user = conduit_uri_userinfo(target->uri);
    char **login = target->proxy ? &target->login : NULL;
    size_t hops = target->proxy;
    for (size_t i = 0; i < target->n_steps; i++) {
        if (!target->steps[i].kind->hop)
            continue;
        login = &target->steps[i].login;
        hops++;
    }
    if (target->application && hops > 0)
        return cdt_target_refuse(
            target, CONDUIT_EURI, reterr,
            "where a proxy leads to has no place in an application's URI: use via");
    if (*user == '\0' || target->application)
        return 0;
    if (hops == 0)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "an endpoint has no user");
    if (hops > 1)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr,
                                 "with several proxies it is unclear whose user");
    *login = conduit_strdup(user);
    return *login != NULL ? 0 : cdt_error_no_memory(reterr);
}

/* `ctx` is NULL where only the built-in schemes count. */
static int read_target(conduit_ctx *ctx, struct cdt_target *target, const char *text,
                       bool listening, const conduit_error **reterr)
{
    int code = ctx != NULL ? cdt_uris_get(&ctx->uris, text, &target->uri, reterr)
                           : conduit_uri_parse(text, &target->uri, reterr);
    if (code == 0)
        code = read_stack(ctx, target, reterr);
    if (code == 0)
        code = cdt_parameters_read(target, listening, reterr);
    if (code == 0)
        code = cdt_address_read(target, listening, reterr);
    return code == 0 ? read_user(target, reterr) : code;
}

/* ---- another place for the same target ---- */

/* `place` is left with what `target` had. */
static void take_place(struct cdt_target *target, struct cdt_target *place)
{
    char *host = target->host;
    target->host = place->host;
    place->host = host;
    target->transport = place->transport;
    target->records = CONDUIT_RECORDS_ADDRESS;
    if (place->port != 0 || place->transport->form != CDT_FORM_HOST_PORT)
        target->port = place->port;
    if (place->family != 0)
        target->family = place->family;
}

/* The place comes from `text`; the identity stays that of the URI. */
static int redirect(conduit_ctx *ctx, struct cdt_target *target, const char *text,
                    const conduit_error **reterr)
{
    struct cdt_target place = {0};
    int code = read_target(ctx, &place, text, false, reterr);
    if (code == 0 && place.n_steps > 0)
        code = cdt_target_refuse(&place, CONDUIT_EINVAL, reterr,
                                 "the place to dial is a transport's, without layers");
    if (code == 0)
        take_place(target, &place);
    for (size_t i = 0; code == 0 && i < place.params.n; i++)
        code = cdt_parameters_take(target, &place.params.list[i], reterr);
    cdt_target_clear(&place);
    return code;
}

static int read_place(conduit_ctx *ctx, struct cdt_target *place, const char *text,
                      const conduit_error **reterr)
{
    *place = (struct cdt_target){.place = true};
    int code = read_target(ctx, place, text, false, reterr);
    if (code == 0 && place->params.n > 0)
        code = cdt_target_refuse(place, CONDUIT_EINVAL, reterr,
                                 "a rule's target is a place, without \"%s\"",
                                 place->params.list[0].key);
    if (code == 0 && place->transport->form == CDT_FORM_HOST_PORT &&
        (*place->host == '\0' || strcmp(place->host, "*") == 0))
        code = cdt_target_refuse(place, CONDUIT_EURI, reterr, "a host is missing");
    return code;
}

static bool same_layers(const struct cdt_target *a, const struct cdt_target *b)
{
    for (size_t i = 0; i < a->n_steps && i < b->n_steps; i++)
        if (a->steps[i].kind != b->steps[i].kind)
            return false;
    return a->n_steps == b->n_steps;
}

int cdt_target_move(conduit_ctx *ctx, struct cdt_target *target, const char *text,
                    const conduit_error **reterr)
{
    struct cdt_target place;
    int code = read_place(ctx, &place, text, reterr);
    bool portless = place.transport != NULL && place.transport->form == CDT_FORM_HOST_PORT &&
                    place.port == 0 && target->port == 0;
    if (code == 0 && portless)
        code = cdt_target_refuse(&place, CONDUIT_EURI, reterr, "a port is missing");
    if (code == 0 && place.n_steps > 0 && !same_layers(target, &place))
        code = cdt_target_refuse(&place, CONDUIT_EINVAL, reterr,
                                 "a rule changes the place and not the stack: %s has other layers",
                                 conduit_uri_scheme(target->uri));
    if (code == 0)
        take_place(target, &place);
    cdt_target_clear(&place);
    return code;
}

int cdt_target_check_place(conduit_ctx *ctx, const char *text, const conduit_error **reterr)
{
    struct cdt_target place;
    int code = read_place(ctx, &place, text, reterr);
    cdt_target_clear(&place);
    return code;
}

static int follow_rules(conduit_ctx *ctx, struct cdt_target *target, const conduit_error **reterr)
{
    const conduit_error *error = NULL;
    int code = cdt_rules_follow(ctx, target, &error);
    if (code < 0)
        cdt_target_refuse(target, code, reterr, "%s", cdt_rule_reason(error, ""));
    conduit_error_unref(error);
    return code;
}

/* ---- proxies on the way ---- */

static int print_place(const struct cdt_target *target, struct cdt_params *ret)
{
    char place[CDT_HOST_SIZE + 16];
    bool brackets = strchr(target->host, ':') != NULL;
    snprintf(place, sizeof(place), brackets ? "[%s]:%u" : "%s:%u", target->host, target->port);
    return cdt_params_add(ret, "to", place) ? 0 : CONDUIT_ENOMEM;
}

static int check_ride(const struct cdt_target *target, const struct cdt_target *proxy,
                      const conduit_error **reterr)
{
    if (target->transport->form != CDT_FORM_HOST_PORT)
        return cdt_target_refuse(target, CONDUIT_EINVAL, reterr, "no proxy leads to %s:%s",
                                 target->transport->name, target->host);
    if (strchr(target->host, '%') != NULL)
        return cdt_target_refuse(target, CONDUIT_EINVAL, reterr,
                                 "an address with a zone means nothing to a proxy");
    if (cdt_host_is_domain(target->host))
        return cdt_target_refuse(target, CONDUIT_EINVAL, reterr,
                                 "%s is a domain of this machine, and means nothing to a proxy",
                                 target->host);
    if (target->family != 0)
        return cdt_target_refuse(target, CONDUIT_EINVAL, reterr,
                                 "which address family is used is for the proxy to decide");
    for (size_t i = 0; i < target->params.n; i++) {
        const char *key = target->params.list[i].key;
        if (cdt_key_in(key, target->transport->keys))
            return cdt_target_refuse(
                target, CONDUIT_EINVAL, reterr,
                "\"%s\" is of a socket of ours, and that one leads to the proxy", key);
        if (cdt_parameters_of_records(key))
            return cdt_target_refuse(
                target, CONDUIT_EINVAL, reterr,
                "\"%s\" is looked up here, and a proxy looks up addresses itself", key);
    }
    if (target->n_steps + proxy->n_steps + 1 > CDT_MAX_LAYERS)
        return cdt_target_refuse(target, CONDUIT_EINVAL, reterr, "too many layers");
    return 0;
}

int cdt_target_ride(struct cdt_target *target, struct cdt_target *proxy,
                    const conduit_error **reterr)
{
    int code = check_ride(target, proxy, reterr);
    if (code < 0)
        return code;
    struct cdt_step *hop = &target->steps[target->n_steps];
    *hop = (struct cdt_step){.kind = proxy->hop, .login = proxy->login};
    proxy->login = NULL;
    target->n_steps++;
    if (print_place(target, &hop->params) < 0)
        return cdt_error_no_memory(reterr);
    code = cdt_settle_check(target, target->n_steps - 1, CDT_CONNECTING, reterr);
    memcpy(&target->steps[target->n_steps], proxy->steps, proxy->n_steps * sizeof(proxy->steps[0]));
    target->n_steps += proxy->n_steps;
    proxy->n_steps = 0;
    take_place(target, proxy);
    target->family = proxy->family;
    target->service = NULL;
    conduit_free(target->tlsa); /* names are the proxy's affair */
    target->tlsa = NULL;
    struct cdt_params params = target->params;
    target->params = proxy->params;
    proxy->params = params;
    return code;
}

int cdt_target_make_proxy(conduit_ctx *ctx, struct cdt_target *target, const char *text,
                          const conduit_tls *given, const conduit_error **reterr)
{
    *target = (struct cdt_target){.proxy = true};
    conduit_connect_options options = {0};
    int code = read_target(ctx, target, text, false, reterr);
    if (code == 0 && given != NULL)
        code = cdt_tls_copy_trust(given, &options.tls, reterr);
    if (code == 0)
        code = cdt_settle(ctx, target, false, &options, reterr);
    conduit_tls_unref(options.tls);
    return code == 0 ? follow_rules(ctx, target, reterr) : code;
}

static int take_family(struct cdt_target *target, int family, const conduit_error **reterr)
{
    if (family != AF_INET && family != AF_INET6)
        return cdt_target_refuse(target, CONDUIT_EINVAL, reterr,
                                 "family %d is neither IPv4 nor IPv6", family);
    if (target->family != 0 && target->family != family)
        return cdt_target_refuse(target, CONDUIT_EINVAL, reterr,
                                 "only IPv%d is wanted, and the URI or a rule says IPv%d",
                                 family == AF_INET ? 4 : 6, family == AF_INET ? 6 : 4);
    target->family = family;
    return 0;
}

int cdt_target_make(conduit_ctx *ctx, struct cdt_target *target, const char *text, bool listening,
                    const conduit_connect_options *options, const conduit_error **reterr)
{
    *target = (struct cdt_target){0};
    int code = read_target(ctx, target, text, listening, reterr);
    if (code == 0)
        code = cdt_settle(ctx, target, listening, options, reterr);
    if (code == 0 && options != NULL && options->connect_to != NULL)
        code = redirect(ctx, target, options->connect_to, reterr);
    else if (code == 0 && !listening)
        code = follow_rules(ctx, target, reterr);
    if (code == 0 && options != NULL && options->via != NULL)
        code = cdt_via_take(ctx, target, options->via, options->tls, reterr);
    if (code == 0 && options != NULL && options->endpoint_params != NULL)
        code = cdt_parameters_add(target, options->endpoint_params, reterr);
    if (code == 0 && options != NULL && options->family != 0)
        code = take_family(target, options->family, reterr);
    if (code == 0)
        target->prefer_local = cdt_local_wanted(target, options != NULL && options->prefer_local);
    return code;
}

static const char *print_records(conduit_records records)
{
    switch (records) {
    case CONDUIT_RECORDS_SRV:
        return ", found by SRV";
    case CONDUIT_RECORDS_HTTPS:
        return ", found by HTTPS";
    case CONDUIT_RECORDS_SVCB:
        return ", found by SVCB";
    default:
        return "";
    }
}

void cdt_target_trace(const struct cdt_target *target, conduit_ctx *ctx, uint64_t since_ns)
{
    char uri[256], stack[64] = "";
    if (ctx->trace == NULL)
        return;
    print_uri(target->uri, uri, sizeof(uri));
    cdt_trace(ctx, since_ns, "uri", "%s", uri);
    if (target->rules != NULL)
        cdt_trace(ctx, since_ns, "rule", "%s", target->rules);
    for (size_t i = 0; i < target->n_steps; i++) {
        size_t n = strlen(stack);
        snprintf(stack + n, sizeof(stack) - n, "%s over ", target->steps[i].kind->name);
    }
    char port[16] = "";
    if (target->port != 0)
        snprintf(port, sizeof(port), " port %u", target->port);
    cdt_trace(ctx, since_ns, "scheme", "%s: %s%s, %s%s%s%s%s%s%s", conduit_uri_scheme(target->uri),
              stack, target->transport->name, target->host, port,
              target->alpn != NULL ? ", ALPN " : "", target->alpn != NULL ? target->alpn : "",
              print_records(target->records), target->row != NULL ? ", " : "",
              target->row != NULL ? target->row : "");
}

static void clear_step(struct cdt_step *step)
{
    conduit_free(step->name);
    cdt_wipe(step->login);
    conduit_tls_unref(step->tls);
    cdt_params_clear(&step->params);
}

void cdt_target_clear(struct cdt_target *target)
{
    for (size_t i = 0; i < target->n_steps; i++)
        clear_step(&target->steps[i]);
    conduit_uri_unref(target->uri);
    cdt_params_clear(&target->params);
    conduit_free(target->host);
    cdt_wipe(target->login);
    conduit_free(target->rules);
    conduit_free(target->tlsa);
    *target = (struct cdt_target){0};
}

/* ---- endpoints ---- */

/* What of the target's is about the endpoint's transport, and what a resolver's endpoint says
 * itself as far as the target does not. */
static bool base_params(const struct cdt_target *target, const conduit_endpoint *base,
                        struct cdt_params *ret)
{
    for (size_t i = 0; i < target->params.n; i++) {
        const struct cdt_param *param = &target->params.list[i];
        if (cdt_key_in(param->key, base->transport->keys) &&
            cdt_parameters_complaint(base->transport, param) == NULL &&
            !cdt_params_add(ret, param->key, param->value))
            return false;
    }
    for (size_t i = 0; i < base->params.n; i++) {
        const struct cdt_param *param = &base->params.list[i];
        if (cdt_params_get(ret, param->key) == NULL &&
            !cdt_params_add(ret, param->key, param->value))
            return false;
    }
    return true;
}

static const conduit_endpoint *wrap_base(const struct cdt_target *target,
                                         const conduit_endpoint *base)
{
    struct cdt_params params = {0};
    const conduit_endpoint *made = NULL;
    if (base_params(target, base, &params))
        made = params.n == 0 ? conduit_endpoint_ref(base)
                             : cdt_endpoint_transport(base->transport, &base->address.any,
                                                      base->host, &params);
    cdt_params_clear(&params);
    return made;
}

const conduit_endpoint *cdt_target_wrap(const struct cdt_target *target,
                                        const conduit_endpoint *base)
{
    const conduit_endpoint *endpoint = wrap_base(target, base);
    for (size_t i = target->n_steps; i > 0 && endpoint != NULL; i--) {
        const struct cdt_step *step = &target->steps[i - 1];
        const conduit_endpoint *below = endpoint;
        const char *name = step->name != NULL ? step->name : "";
        endpoint = cdt_endpoint_layer(step->kind, name, &step->params, below);
        conduit_endpoint_unref(below);
    }
    return endpoint;
}

/* A numeric host with the target's port. */
static bool numeric(const struct cdt_target *target, struct sockaddr_storage *ret)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(target->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(target->port)};
    char host[INET6_ADDRSTRLEN];
    const char *zone = strchr(target->host, '%');
    size_t n = zone != NULL ? (size_t)(zone - target->host) : strlen(target->host);
    if (n >= sizeof(host))
        return false;
    memcpy(host, target->host, n);
    host[n] = '\0';
    if (zone != NULL) {
        in6.sin6_scope_id = if_nametoindex(zone + 1);
        if (in6.sin6_scope_id == 0 && zone[1 + strspn(zone + 1, "0123456789")] == '\0')
            in6.sin6_scope_id = (uint32_t)strtoul(zone + 1, NULL, 10);
        if (in6.sin6_scope_id == 0)
            return false;
    }
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
        memcpy(ret, &in, sizeof(in));
    else if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
        memcpy(ret, &in6, sizeof(in6));
    else
        return false;
    return true;
}

static int parse_base(const struct cdt_target *target, const conduit_endpoint **ret,
                      const conduit_error **reterr)
{
    struct sockaddr_storage address;
    if (target->transport->form == CDT_FORM_HOST_PORT && !numeric(target, &address))
        return cdt_target_refuse(
            target, CONDUIT_EURI, reterr,
            "an endpoint's host is a numeric address; \"%s\" is a name to resolve", target->host);
    if (target->transport->form == CDT_FORM_HOST_PORT && target->family != 0 &&
        address.ss_family != target->family)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "\"%s\" is of the other family",
                                 target->host);
    *ret = cdt_endpoint_transport(target->transport, (const struct sockaddr *)&address,
                                  target->host, NULL);
    return *ret != NULL ? 0 : cdt_error_no_memory(reterr);
}

int conduit_endpoint_parse(const char *text, const conduit_endpoint **ret,
                           const conduit_error **reterr)
{
    struct cdt_target target = {0};
    const conduit_endpoint *base = NULL;
    int code = read_target(NULL, &target, text, true, reterr);
    if (code == 0)
        code = cdt_settle_place(&target, reterr);
    if (code == 0)
        code = parse_base(&target, &base, reterr);
    if (code == 0) {
        *ret = cdt_target_wrap(&target, base);
        if (*ret == NULL)
            code = cdt_error_no_memory(reterr);
    }
    conduit_endpoint_unref(base);
    cdt_target_clear(&target);
    return code;
}
