/* SPDX-License-Identifier: ISC */
/* From the text of a URI to a target: target.h says what that is. */
#include "target.h"
#include "builtin.h"
#include "context.h"
#include "error.h"
#include "host.h"
#include "rules.h"
#include "schemes.h"
#include "secure.h"
#include "stack.h"
#include "transport.h"
#include <arpa/inet.h>
#include <conduit/memory.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* With the underscore, what a label has room for. */
enum { MAX_SERVICE = 62 };

static int no_memory(const conduit_error **reterr)
{
    return cdt_error_give(
        cdt_error_new(CONDUIT_ENOMEM, CONDUIT_STAGE_URI, NULL, NULL, 0, "out of memory"), reterr);
}

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

CONDUIT_PRINTF(4, 5)
static int refuse(const struct cdt_target *target, int code, const conduit_error **reterr,
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

static int push_layer(struct cdt_target *target, const struct cdt_layer_kind *kind,
                      const conduit_error **reterr)
{
    if (kind == NULL)
        return refuse(target, CONDUIT_ENOTSUP, reterr, "this library was built without TLS");
    if (target->n_layers == CDT_MAX_LAYERS)
        return refuse(target, CONDUIT_EURI, reterr, "too many layers");
    target->layers[target->n_layers++] = kind;
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
    return row->tls ? push_layer(target, cdt_layer_kind_find("tls"), reterr) : 0;
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
        return refuse(target, CONDUIT_ENOTSUP, reterr,
                      "\"%s\" is a service over TLS by its name: add it as a scheme, with TLS",
                      name);
    case CDT_SERVICE_UNKNOWN:
        break;
    }
    return refuse(target, CONDUIT_ENOTSUP, reterr, "unknown scheme \"%s\"", name);
}

/* One name of a stack. An application scheme stands first; a transport, or a scheme that is one
 * under another name (tcp4), stands last. */
static int take_step(conduit_ctx *ctx, struct cdt_target *target, const char *name, bool first,
                     bool last, const conduit_error **reterr)
{
    const struct cdt_scheme *row = cdt_scheme_of(ctx, name);
    if (row != NULL && (row->endpoint ? last : first)) {
        target->row = cdt_scheme_find(name) == row ? "built in" : "added by the program";
        return take_scheme(target, row, reterr);
    }
    const struct cdt_layer_kind *kind = cdt_layer_kind_find(name);
    if (kind != NULL)
        return push_layer(target, kind, reterr);
    const struct cdt_transport *transport = cdt_transport_find(name);
    if (transport == NULL)
        return take_service(ctx, target, name, first, reterr);
    if (!last)
        return refuse(target, CONDUIT_EURI, reterr, "%s runs over nothing: it goes last", name);
    target->transport = transport;
    return 0;
}

static int read_stack(conduit_ctx *ctx, struct cdt_target *target, const conduit_error **reterr)
{
    char *copy = conduit_strdup(conduit_uri_scheme(target->uri));
    if (copy == NULL)
        return no_memory(reterr);
    int code = 0;
    bool first = true;
    char *rest = copy, *name;
    target->transport = cdt_transport_find("tcp");
    while (code == 0 && (name = strsep(&rest, "+")) != NULL) {
        code = take_step(ctx, target, name, first, rest == NULL, reterr);
        first = false;
    }
    conduit_free(copy);
    return code;
}

/* ---- the address, in the form that the transport has ---- */

static int read_host_port(struct cdt_target *target, bool listening, const conduit_error **reterr)
{
    const char *host = conduit_uri_host(target->uri);
    int port = conduit_uri_port(target->uri);
    if (strchr(host, '/') != NULL)
        return refuse(target, CONDUIT_EURI, reterr,
                      "a path as host needs a transport of paths, as in http+unix");
    bool by_records = target->records != CONDUIT_RECORDS_ADDRESS && !cdt_host_is_address(host);
    if (port < 0 && target->port == 0 && !target->place && !by_records)
        return refuse(target, CONDUIT_EURI, reterr, "a port is missing");
    if (port == 0 && !listening)
        return refuse(target, CONDUIT_EURI, reterr, "port 0 is for listening");
    if (port >= 0)
        target->port = (uint16_t)port;
    if (port >= 0 && target->records == CONDUIT_RECORDS_SRV)
        target->records = CONDUIT_RECORDS_ADDRESS;
    target->host = conduit_strdup(host);
    return target->host != NULL ? 0 : no_memory(reterr);
}

static int read_path(struct cdt_target *target, const conduit_error **reterr)
{
    const char *host = conduit_uri_host(target->uri);
    bool in_host = strchr(host, '/') != NULL;
    if (target->application && !in_host && !(target->place && *host == '\0'))
        return refuse(target, CONDUIT_EURI, reterr,
                      "the socket's path goes where the host is, as in "
                      "http+unix://%%2Frun%%2Fx.sock/");
    if (!target->application && *host != '\0')
        return refuse(target, CONDUIT_EURI, reterr, "a path has no host: write %s:/path",
                      conduit_uri_scheme(target->uri));
    if (conduit_uri_port(target->uri) >= 0)
        return refuse(target, CONDUIT_EURI, reterr, "a path has no port");
    target->host = conduit_strdup(in_host ? host : conduit_uri_path(target->uri));
    if (target->host == NULL)
        return no_memory(reterr);
    if (!in_host && !cdt_decode(target->host))
        return refuse(target, CONDUIT_EURI, reterr, "the path is malformed");
    if (*target->host == '\0')
        return refuse(target, CONDUIT_EURI, reterr, "a path is missing");
    size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    if (strlen(target->host) > most)
        return refuse(target, CONDUIT_EURI, reterr,
                      "the path has %zu bytes, a socket's may have %zu", strlen(target->host),
                      most);
    return 0;
}

static int read_name(struct cdt_target *target, const conduit_error **reterr)
{
    if (*conduit_uri_host(target->uri) == '\0')
        return refuse(target, CONDUIT_EURI, reterr, "a name is missing");
    if (conduit_uri_port(target->uri) >= 0)
        return refuse(target, CONDUIT_EURI, reterr, "a name has no port");
    target->host = conduit_strdup(conduit_uri_host(target->uri));
    return target->host != NULL ? 0 : no_memory(reterr);
}

/* "fd:3"; of an application scheme the word stands where the host is: http+unix-abstract://name/ */
static int read_word(struct cdt_target *target, const conduit_error **reterr)
{
    const char *host = conduit_uri_host(target->uri);
    if (!target->application && *host != '\0')
        return refuse(target, CONDUIT_EURI, reterr, "write %s:..., without slashes",
                      conduit_uri_scheme(target->uri));
    if (conduit_uri_port(target->uri) >= 0)
        return refuse(target, CONDUIT_EURI, reterr, "there is no port to this");
    target->host = conduit_strdup(target->application ? host : conduit_uri_path(target->uri));
    if (target->host == NULL)
        return no_memory(reterr);
    if (!target->application && !cdt_decode(target->host))
        return refuse(target, CONDUIT_EURI, reterr, "a bad percent-escape");
    const struct cdt_transport *transport = target->transport;
    const char *wrong =
        transport->check_place != NULL ? transport->check_place(target->host) : NULL;
    return wrong == NULL ? 0 : refuse(target, CONDUIT_EURI, reterr, "%s", wrong);
}

/* What an endpoint URI has no use for must not be there: it would be ignored. */
static int check_rest(struct cdt_target *target, const conduit_error **reterr)
{
    if (target->application)
        return 0;
    const char *path = conduit_uri_path(target->uri);
    const enum cdt_address_form form = target->transport->form;
    const bool by_path = form == CDT_FORM_PATH || form == CDT_FORM_WORD;
    if (!by_path && *conduit_uri_host(target->uri) == '\0' && *path != '\0')
        return refuse(target, CONDUIT_EURI, reterr, "an address goes after two slashes: %s://...",
                      conduit_uri_scheme(target->uri));
    if (!by_path && *path != '\0' && strcmp(path, "/") != 0)
        return refuse(target, CONDUIT_EURI, reterr, "an endpoint has no path");
    if (*conduit_uri_userinfo(target->uri) != '\0')
        return refuse(target, CONDUIT_EURI, reterr, "an endpoint has no user");
    if (*conduit_uri_fragment(target->uri) != '\0')
        return refuse(target, CONDUIT_EURI, reterr, "an endpoint has no fragment");
    return 0;
}

static int read_address(struct cdt_target *target, bool listening, const conduit_error **reterr)
{
    int code = check_rest(target, reterr);
    if (code < 0)
        return code;
    switch (target->transport->form) {
    case CDT_FORM_HOST_PORT:
        return read_host_port(target, listening, reterr);
    case CDT_FORM_PATH:
        return read_path(target, reterr);
    case CDT_FORM_NAME:
        return read_name(target, reterr);
    case CDT_FORM_WORD:
        return read_word(target, reterr);
    }
    return CONDUIT_EINVAL;
}

/* ---- the query ---- */

static const char *const record_keys[] = {"srv", "svcb", NULL};

static bool key_known(const struct cdt_target *target, const char *key)
{
    for (size_t i = 0; i < target->n_layers; i++)
        if (cdt_key_in(key, target->layers[i]->keys))
            return true;
    if (target->transport->form == CDT_FORM_HOST_PORT && cdt_key_in(key, record_keys))
        return true;
    return cdt_key_in(key, target->transport->keys);
}

/* What is wrong with a value of the transport's own. */
static const char *complaint(const struct cdt_transport *transport, const struct cdt_param *param)
{
    if (transport->check == NULL || !cdt_key_in(param->key, transport->keys))
        return NULL;
    return transport->check(param->key, param->value);
}

static int check_value(const struct cdt_target *target, const struct cdt_transport *transport,
                       const struct cdt_param *param, const conduit_error **reterr)
{
    const char *wrong = complaint(transport, param);
    return wrong == NULL ? 0
                         : refuse(target, CONDUIT_EINVAL, reterr, "%s=%s: %s", param->key,
                                  param->value, wrong);
}

/* A service to look for, where the scheme does not say which. */
static int take_records(struct cdt_target *target, bool listening, const conduit_error **reterr)
{
    const char *srv = cdt_params_get(&target->params, "srv");
    const char *svcb = cdt_params_get(&target->params, "svcb");
    const char *service = srv != NULL ? srv : svcb;
    if (service == NULL)
        return 0;
    if (listening)
        return refuse(target, CONDUIT_EURI, reterr, "a service is for connecting by name");
    if (srv != NULL && svcb != NULL)
        return refuse(target, CONDUIT_EURI, reterr, "srv or svcb, and not both");
    size_t n = strspn(service, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    if (n == 0 || n > MAX_SERVICE || service[n] != '\0')
        return refuse(target, CONDUIT_EURI, reterr,
                      "a service is a word like \"imaps\", without _ before it and _tcp after it");
    target->service = service;
    target->records = srv != NULL ? CONDUIT_RECORDS_SRV : CONDUIT_RECORDS_SVCB;
    return 0;
}

static int read_query(struct cdt_target *target, bool listening, const conduit_error **reterr)
{
    if (target->application)
        return 0;
    int code = cdt_params_parse(&target->params, conduit_uri_query(target->uri), reterr);
    for (size_t i = 0; code == 0 && i < target->params.n; i++) {
        const struct cdt_param *param = &target->params.list[i];
        if (!key_known(target, param->key))
            return refuse(target, CONDUIT_EURI, reterr, "\"%s\" is not a parameter of %s",
                          param->key, conduit_uri_scheme(target->uri));
        code = check_value(target, target->transport, param, reterr);
    }
    return code == 0 ? take_records(target, listening, reterr) : code;
}

/* The transport in use, if the key is one of its own; or any that has it. */
static const struct cdt_transport *transport_of_key(const struct cdt_target *target,
                                                    const char *key)
{
    if (cdt_key_in(key, target->transport->keys))
        return target->transport;
    for (size_t i = 0; cdt_transports[i] != NULL; i++)
        if (cdt_key_in(key, cdt_transports[i]->keys))
            return cdt_transports[i];
    return NULL;
}

/* One of the caller's endpoint_params. A rule may have led to another transport than the caller
 * thought of: what is for others does not count. */
static int take_param(struct cdt_target *target, const struct cdt_param *param,
                      const conduit_error **reterr)
{
    const struct cdt_transport *of = transport_of_key(target, param->key);
    if (of == NULL)
        return refuse(target, CONDUIT_EINVAL, reterr, "\"%s\" is not a parameter of any transport",
                      param->key);
    int code = check_value(target, of, param, reterr);
    if (code < 0 || of != target->transport || cdt_params_get(&target->params, param->key) != NULL)
        return code;
    return cdt_params_add(&target->params, param->key, param->value) ? 0 : no_memory(reterr);
}

static int take_params(struct cdt_target *target, const char *text, const conduit_error **reterr)
{
    struct cdt_params given = {0};
    int code = cdt_params_parse(&given, text, reterr);
    for (size_t i = 0; code == 0 && i < given.n; i++)
        code = take_param(target, &given.list[i], reterr);
    cdt_params_clear(&given);
    return code;
}

/* `ctx` is NULL where only the built-in schemes count. */
static int read_target(conduit_ctx *ctx, struct cdt_target *target, const char *text,
                       bool listening, const conduit_error **reterr)
{
    int code = conduit_uri_parse(text, &target->uri, reterr);
    if (code == 0)
        code = read_stack(ctx, target, reterr);
    if (code == 0)
        code = read_query(target, listening, reterr);
    return code == 0 ? read_address(target, listening, reterr) : code;
}

/* ---- who the peer is, and how that is made sure ---- */

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
    if (code == 0 && place.n_layers > 0)
        code = refuse(&place, CONDUIT_EINVAL, reterr,
                      "the place to dial is a transport's, without layers");
    if (code == 0)
        take_place(target, &place);
    for (size_t i = 0; code == 0 && i < place.params.n; i++)
        code = take_param(target, &place.params.list[i], reterr);
    cdt_target_clear(&place);
    return code;
}

static int read_place(conduit_ctx *ctx, struct cdt_target *place, const char *text,
                      const conduit_error **reterr)
{
    *place = (struct cdt_target){.place = true};
    int code = read_target(ctx, place, text, false, reterr);
    if (code == 0 && place->params.n > 0)
        code = refuse(place, CONDUIT_EINVAL, reterr, "a rule's target is a place, without \"%s\"",
                      place->params.list[0].key);
    if (code == 0 && place->transport->form == CDT_FORM_HOST_PORT &&
        (*place->host == '\0' || strcmp(place->host, "*") == 0))
        code = refuse(place, CONDUIT_EURI, reterr, "a host is missing");
    return code;
}

static bool same_layers(const struct cdt_target *a, const struct cdt_target *b)
{
    return a->n_layers == b->n_layers &&
           memcmp(a->layers, b->layers, a->n_layers * sizeof(a->layers[0])) == 0;
}

int cdt_target_move(conduit_ctx *ctx, struct cdt_target *target, const char *text,
                    const conduit_error **reterr)
{
    struct cdt_target place;
    int code = read_place(ctx, &place, text, reterr);
    bool portless = place.transport != NULL && place.transport->form == CDT_FORM_HOST_PORT &&
                    place.port == 0 && target->port == 0;
    if (code == 0 && portless)
        code = refuse(&place, CONDUIT_EURI, reterr, "a port is missing");
    if (code == 0 && place.n_layers > 0 && !same_layers(target, &place))
        code = refuse(&place, CONDUIT_EINVAL, reterr,
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
        refuse(target, code, reterr, "%s", cdt_rule_reason(error, ""));
    conduit_error_unref(error);
    return code;
}

static int find_name(struct cdt_target *target, const conduit_connect_options *options,
                     const conduit_error **reterr)
{
    const char *name = cdt_params_get(&target->params, "name");
    if (name == NULL && options != NULL)
        name = options->name;
    bool named_by_host = target->transport->form == CDT_FORM_HOST_PORT;
    if (name == NULL && named_by_host)
        name = target->host;
    if (name == NULL || *name == '\0')
        return refuse(target, CONDUIT_EINVAL, reterr,
                      "TLS over %s needs to be told whom to verify: a parameter or option \"name\"",
                      target->transport->name);
    size_t n = strlen(name);
    if (n > 1 && name[n - 1] == '.')
        n--; /* the root's dot is DNS's; certificates and SNI do without */
    target->name = conduit_strdup(name);
    if (target->name != NULL)
        target->name[n] = '\0';
    return target->name != NULL ? 0 : no_memory(reterr);
}

static bool is_configuration(const char *key)
{
    return strcmp(key, "name") != 0 && strcmp(key, "alpn") != 0;
}

static int begin_configuration(const conduit_tls *given, conduit_tls **ret,
                               const conduit_error **reterr)
{
    if (given != NULL)
        return cdt_tls_copy(given, ret, reterr);
    *ret = conduit_tls_new();
    return *ret != NULL ? 0 : no_memory(reterr);
}

/* The caller's configuration (or the context's empty one), or a copy of it with what the URI
 * adds. */
static int configure_tls(conduit_ctx *ctx, struct cdt_target *target,
                         const struct cdt_layer_kind *kind, bool listening, conduit_tls *given,
                         const conduit_error **reterr)
{
    target->tls = conduit_tls_ref(given);
    for (size_t i = 0; i < target->params.n; i++) {
        const struct cdt_param *param = &target->params.list[i];
        if (!cdt_key_in(param->key, kind->keys) || !is_configuration(param->key))
            continue;
        if (target->tls == given) {
            conduit_tls_unref(target->tls);
            target->tls = NULL;
            int code = begin_configuration(given, &target->tls, reterr);
            if (code < 0)
                return code;
        }
        int code = conduit_tls_set(target->tls, param->key, param->value, reterr);
        if (code < 0)
            return code;
    }
    if (target->tls == NULL)
        target->tls = conduit_tls_ref(cdt_ctx_tls(ctx));
    return target->tls != NULL ? cdt_tls_seal(target->tls, listening, reterr) : no_memory(reterr);
}

static const struct cdt_layer_kind *secure_layer(const struct cdt_target *target)
{
    for (size_t i = 0; i < target->n_layers; i++)
        if (target->layers[i]->secure)
            return target->layers[i];
    return NULL;
}

static int secure(conduit_ctx *ctx, struct cdt_target *target, bool listening,
                  const conduit_connect_options *options, const conduit_error **reterr)
{
    const struct cdt_layer_kind *kind = secure_layer(target);
    if (kind == NULL)
        return 0;
    int code = listening ? 0 : find_name(target, options, reterr);
    if (code == 0)
        code = configure_tls(ctx, target, kind, listening, options != NULL ? options->tls : NULL,
                             reterr);
    if (code == 0 && *cdt_tls_alpn(target->tls) != '\0')
        target->alpn = cdt_tls_alpn(target->tls);
    return code;
}

int cdt_target_make(conduit_ctx *ctx, struct cdt_target *target, const char *text, bool listening,
                    const conduit_connect_options *options, const conduit_error **reterr)
{
    *target = (struct cdt_target){0};
    int code = read_target(ctx, target, text, listening, reterr);
    if (code == 0)
        code = secure(ctx, target, listening, options, reterr);
    if (code == 0 && options != NULL && options->connect_to != NULL)
        code = redirect(ctx, target, options->connect_to, reterr);
    else if (code == 0 && !listening)
        code = follow_rules(ctx, target, reterr);
    if (code == 0 && options != NULL && options->endpoint_params != NULL)
        code = take_params(target, options->endpoint_params, reterr);
    if (code == 0 && options != NULL && options->family != 0)
        target->family = options->family;
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
    print_uri(target->uri, uri, sizeof(uri));
    cdt_trace(ctx, since_ns, "uri", "%s", uri);
    if (target->rules != NULL)
        cdt_trace(ctx, since_ns, "rule", "%s", target->rules);
    for (size_t i = 0; i < target->n_layers; i++) {
        size_t n = strlen(stack);
        snprintf(stack + n, sizeof(stack) - n, "%s over ", target->layers[i]->name);
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

void cdt_target_clear(struct cdt_target *target)
{
    conduit_uri_unref(target->uri);
    conduit_tls_unref(target->tls);
    cdt_params_clear(&target->params);
    conduit_free(target->host);
    conduit_free(target->name);
    conduit_free(target->rules);
    *target = (struct cdt_target){0};
}

/* ---- endpoints ---- */

/* The parameters that belong to a step. Of TLS only the protocols are part of the place: trust and
 * keys are configuration. */
static bool step_params(const struct cdt_target *target, const char *const *keys, bool of_tls,
                        struct cdt_params *ret)
{
    for (size_t i = 0; i < target->params.n; i++) {
        const struct cdt_param *param = &target->params.list[i];
        if (of_tls ? strcmp(param->key, "alpn") == 0 : cdt_key_in(param->key, keys))
            if (!cdt_params_add(ret, param->key, param->value))
                return false;
    }
    if (of_tls && ret->n == 0 && target->alpn != NULL)
        return cdt_params_add(ret, "alpn", target->alpn);
    return true;
}

/* What a resolver's endpoint says itself, as far as the target does not. */
static bool add_params(struct cdt_params *params, const struct cdt_params *of_base)
{
    for (size_t i = 0; i < of_base->n; i++)
        if (cdt_params_get(params, of_base->list[i].key) == NULL &&
            !cdt_params_add(params, of_base->list[i].key, of_base->list[i].value))
            return false;
    return true;
}

static const conduit_endpoint *wrap_base(const struct cdt_target *target,
                                         const conduit_endpoint *base)
{
    struct cdt_params params = {0};
    const conduit_endpoint *made = NULL;
    if (base->transport != target->transport) /* a resolver led elsewhere */
        return conduit_endpoint_ref(base);
    if (step_params(target, target->transport->keys, false, &params) &&
        add_params(&params, &base->params))
        made = params.n == 0 ? conduit_endpoint_ref(base)
                             : cdt_endpoint_transport(base->transport, &base->address.any,
                                                      base->host, &params);
    cdt_params_clear(&params);
    return made;
}

static const conduit_endpoint *wrap_layer(const struct cdt_target *target,
                                          const struct cdt_layer_kind *kind,
                                          const conduit_endpoint *below)
{
    struct cdt_params params = {0};
    const conduit_endpoint *made = NULL;
    if (step_params(target, kind->keys, kind->secure, &params))
        made = cdt_endpoint_layer(kind, kind->secure && target->name != NULL ? target->name : "",
                                  &params, below);
    cdt_params_clear(&params);
    conduit_endpoint_unref(below);
    return made;
}

const conduit_endpoint *cdt_target_wrap(const struct cdt_target *target,
                                        const conduit_endpoint *base)
{
    const conduit_endpoint *endpoint = wrap_base(target, base);
    for (size_t i = target->n_layers; i > 0 && endpoint != NULL; i--)
        endpoint = wrap_layer(target, target->layers[i - 1], endpoint);
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
        return refuse(target, CONDUIT_EURI, reterr,
                      "an endpoint's host is a numeric address; \"%s\" is a name to resolve",
                      target->host);
    if (target->transport->form == CDT_FORM_HOST_PORT && target->family != 0 &&
        address.ss_family != target->family)
        return refuse(target, CONDUIT_EURI, reterr, "\"%s\" is of the other family", target->host);
    *ret = cdt_endpoint_transport(target->transport, (const struct sockaddr *)&address,
                                  target->host, NULL);
    return *ret != NULL ? 0 : no_memory(reterr);
}

static int check_place(struct cdt_target *target, const conduit_error **reterr)
{
    if (target->application)
        return refuse(target, CONDUIT_EURI, reterr, "\"%s\" is not an endpoint scheme",
                      conduit_uri_scheme(target->uri));
    const struct cdt_layer_kind *kind = secure_layer(target);
    for (size_t i = 0; kind != NULL && i < target->params.n; i++) {
        const char *key = target->params.list[i].key;
        if (cdt_key_in(key, kind->keys) && is_configuration(key))
            return refuse(target, CONDUIT_EURI, reterr,
                          "\"%s\" is configuration, not part of a place", key);
    }
    if (kind == NULL)
        return 0;
    const char *name = cdt_params_get(&target->params, "name");
    if (name == NULL)
        name = target->transport->form == CDT_FORM_HOST_PORT ? target->host : "";
    target->name = conduit_strdup(name);
    return target->name != NULL ? 0 : no_memory(reterr);
}

int conduit_endpoint_parse(const char *text, const conduit_endpoint **ret,
                           const conduit_error **reterr)
{
    struct cdt_target target = {0};
    const conduit_endpoint *base = NULL;
    int code = read_target(NULL, &target, text, true, reterr);
    if (code == 0)
        code = check_place(&target, reterr);
    if (code == 0)
        code = parse_base(&target, &base, reterr);
    if (code == 0) {
        *ret = cdt_target_wrap(&target, base);
        if (*ret == NULL)
            code = no_memory(reterr);
    }
    conduit_endpoint_unref(base);
    cdt_target_clear(&target);
    return code;
}
