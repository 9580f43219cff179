/* SPDX-License-Identifier: ISC */
/*
 * Endpoints: immutable, recursive, counted values that print to a URI and parse back.
 *
 * The canonical form is `stack:address?parameters`, the parameters of the upper steps first. "tls"
 * alone is TLS over TCP. The name that TLS proves is left out where it is the address itself.
 */
#include "endpoint.h"
#include "builtin.h"
#include "error.h"
#include "stack.h"
#include "steps.h"
#include "text.h"
#include "transport.h"
#include <arpa/inet.h>
#include <conduit/memory.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* ---- parameters ---- */

bool cdt_key_in(const char *key, const char *const *keys)
{
    for (; keys != NULL && *keys != NULL; keys++)
        if (strcmp(key, *keys) == 0)
            return true;
    return false;
}

bool cdt_params_add(struct cdt_params *params, const char *key, const char *value)
{
    struct cdt_param *list = conduit_realloc(params->list, (params->n + 1) * sizeof(*list));
    if (list == NULL)
        return false;
    params->list = list;
    struct cdt_param one = {conduit_strdup(key), conduit_strdup(value)};
    if (one.key == NULL || one.value == NULL) {
        conduit_free(one.key);
        cdt_wipe(one.value);
        return false;
    }
    list[params->n++] = one;
    return true;
}

const char *cdt_params_get(const struct cdt_params *params, const char *key)
{
    for (size_t i = 0; i < params->n; i++)
        if (strcmp(params->list[i].key, key) == 0)
            return params->list[i].value;
    return NULL;
}

void cdt_params_clear(struct cdt_params *params)
{
    for (size_t i = 0; i < params->n; i++) {
        conduit_free(params->list[i].key);
        cdt_wipe(params->list[i].value);
    }
    conduit_free(params->list);
    *params = (struct cdt_params){0};
}

static bool copy_params(struct cdt_params *to, const struct cdt_params *from)
{
    for (size_t i = 0; from != NULL && i < from->n; i++)
        if (!cdt_params_add(to, from->list[i].key, from->list[i].value))
            return false;
    return true;
}

bool cdt_is_port_name(const char *port)
{
    size_t n = strspn(port, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    return n > 0 && n <= CDT_MAX_PORT_NAME && port[n] == '\0';
}

bool cdt_is_machine_name(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > 253 || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.")] != '\0')
        return false;
    if (*name == '.' || name[n - 1] == '.' || strstr(name, "..") != NULL)
        return false;
    return name[strspn(name, "0123456789")] != '\0' ||
           (n <= 5 && strtoul(name, NULL, 10) <= CDT_MAX_DOMAIN);
}

/* "name/port" */
static bool is_name_and_port(const char *host)
{
    char name[256];
    size_t n = strcspn(host, "/");
    if (n >= sizeof(name) || host[n] == '\0')
        return false;
    memcpy(name, host, n);
    name[n] = '\0';
    return cdt_is_machine_name(name) && cdt_is_port_name(host + n + 1);
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool cdt_decode(char *text)
{
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        if (*in != '%') {
            *out++ = *in;
            continue;
        }
        int high = hex(in[1]);
        int low = high < 0 ? -1 : hex(in[2]);
        if (low < 0 || (high == 0 && low == 0))
            return false;
        *out++ = (char)(high * 16 + low);
        in += 2;
    }
    *out = '\0';
    return true;
}

static int bad_param(const char *piece, const char *what, const conduit_error **reterr)
{
    return cdt_error_give(
        cdt_error_new(CONDUIT_EURI, CONDUIT_STAGE_URI, NULL, NULL, 0, "\"%s\": %s", piece, what),
        reterr);
}

int cdt_params_parse(struct cdt_params *params, const char *query, const conduit_error **reterr)
{
    char *copy = conduit_strdup(query);
    if (copy == NULL)
        return cdt_error_no_memory(reterr);
    size_t size = strlen(query);
    int code = 0;
    char *rest = copy, *piece;
    while (code == 0 && (piece = strsep(&rest, "&")) != NULL) {
        if (*piece == '\0')
            continue;
        char *value = strchr(piece, '=');
        if (value == NULL || value == piece) {
            code = bad_param(piece, "a parameter is key=value", reterr);
            break;
        }
        *value++ = '\0';
        if (!cdt_decode(piece) || !cdt_decode(value))
            code = bad_param(piece, "a bad percent-escape", reterr);
        else if (!cdt_params_add(params, piece, value))
            code = cdt_error_no_memory(reterr);
    }
    explicit_bzero(copy, size);
    conduit_free(copy);
    return code;
}

/* ---- printing ---- */

void cdt_endpoint_stack(const conduit_endpoint *endpoint, char *buf, size_t size)
{
    size_t at = 0;
    buf[0] = '\0';
    for (const conduit_endpoint *e = endpoint; e != NULL && at < size; e = e->below)
        if (e->layer == NULL || !e->layer->implied)
            at += (size_t)snprintf(buf + at, size - at, "%s%s", at == 0 ? "" : "+",
                                   conduit_endpoint_name(e));
}

static void encode(FILE *out, const char *text, const char *also)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     strchr("-._~", c) != NULL || strchr(also, c) != NULL;
        fprintf(out, plain ? "%c" : "%%%02X", c);
    }
}

/* A second slash up front would begin an authority. */
static void print_path(FILE *out, const char *path)
{
    if (strncmp(path, "//", 2) == 0) {
        fputs("/%2F", out);
        path += 2;
    }
    encode(out, path, "/!$&'()*+,;=:@");
}

/* A zone's percent sign is written %25 (RFC 6874): after a bare one, 251 would read as 1. */
static void print_host_port(FILE *out, const char *host, uint16_t port)
{
    size_t n = strcspn(host, "%");
    if (strchr(host, ':') == NULL)
        fprintf(out, "//%s:%u", host, port);
    else if (host[n] == '\0')
        fprintf(out, "//[%s]:%u", host, port);
    else
        fprintf(out, "//[%.*s%%25%s]:%u", (int)n, host, host + n + 1, port);
}

static void print_address(FILE *out, const conduit_endpoint *bottom)
{
    switch (bottom->transport->form) {
    case CDT_FORM_HOST_PORT:
        print_host_port(out, bottom->host, bottom->port);
        break;
    case CDT_FORM_PATH:
    case CDT_FORM_WORD:
        print_path(out, bottom->host);
        break;
    case CDT_FORM_NAME_PORT:
        fputs("//", out);
        encode(out, bottom->host, "/");
        break;
    case CDT_FORM_CID_PORT:
        fprintf(out, "//%s", bottom->host);
        break;
    case CDT_FORM_NAME:
        fputs("//", out);
        encode(out, bottom->host, "!$&'()*+,;=");
        break;
    }
}

/* A query being printed. */
struct printing {
    FILE *out;
    char mark;
    const conduit_endpoint *top;
};

/* `number` is which of the steps that know the key is meant. */
static void print_param(struct printing *p, const char *key, unsigned number, const char *value)
{
    fprintf(p->out, number > 1 ? "%c%s.%u=" : "%c%s=", p->mark, key, number);
    encode(p->out, value, "/:,@!$'()*;");
    p->mark = '&';
}

/* The first step that knows the key: what it says without a number is said to the others too. */
static const conduit_endpoint *first_with(const conduit_endpoint *top, const char *key)
{
    while (top->layer == NULL || !cdt_key_in(key, top->layer->keys))
        top = top->below;
    return top;
}

/* Is the name of `e` what it would be if nobody said one? */
static bool is_default_name(const conduit_endpoint *e)
{
    char host[CDT_HOST_SIZE];
    return *e->host == '\0' || strcmp(e->host, cdt_steps_default_name(e->below, host)) == 0;
}

static void print_name(struct printing *p, const conduit_endpoint *e)
{
    const conduit_endpoint *first = first_with(p->top, "name");
    bool plain = is_default_name(e);
    if (e != first && !is_default_name(first))
        plain = strcmp(e->host, first->host) == 0;
    if (!plain)
        print_param(p, "name", cdt_steps_ordinal(p->top, e, "name"), e->host);
}

static void print_key(struct printing *p, const conduit_endpoint *e, const char *key)
{
    const conduit_endpoint *first = first_with(p->top, key);
    const char *value = cdt_params_get(&e->params, key), *said = NULL;
    if (e != first)
        said = cdt_params_get(&first->params, key);
    if (value == NULL && said == NULL)
        return;
    if (value == NULL || said == NULL || strcmp(value, said) != 0)
        print_param(p, key, cdt_steps_ordinal(p->top, e, key), value != NULL ? value : "");
}

static void print_step(struct printing *p, const conduit_endpoint *e)
{
    if (e->layer == NULL) {
        for (size_t i = 0; i < e->params.n; i++)
            print_param(p, e->params.list[i].key, 1, e->params.list[i].value);
        return;
    }
    if (e->layer->secure)
        print_name(p, e);
    for (const char *const *key = e->layer->keys; *key != NULL; key++)
        print_key(p, e, *key);
}

static char *print(const conduit_endpoint *endpoint)
{
    struct cdt_text text;
    FILE *out = cdt_text_open(&text);
    if (out == NULL)
        return NULL;
    char stack[64];
    cdt_endpoint_stack(endpoint, stack, sizeof(stack));
    fprintf(out, "%s:", strcmp(stack, "tls+tcp") == 0 ? "tls" : stack);
    print_address(out, cdt_endpoint_bottom(endpoint));
    struct printing p = {.out = out, .mark = '?', .top = endpoint};
    for (const conduit_endpoint *e = endpoint; e != NULL; e = e->below)
        print_step(&p, e);
    return cdt_text_close(&text);
}

/* ---- making ---- */

static void destroy(conduit_endpoint *endpoint)
{
    conduit_endpoint_unref(endpoint->below);
    cdt_params_clear(&endpoint->params);
    conduit_free(endpoint->host);
    conduit_free(endpoint->uri);
    conduit_free(endpoint);
}

/* The last step of every builder: what is common, and the printed form. */
static const conduit_endpoint *complete(conduit_endpoint *endpoint, const char *host,
                                        const struct cdt_params *params)
{
    atomic_init(&endpoint->refs, 1);
    endpoint->host = conduit_strdup(host);
    if (endpoint->host != NULL && copy_params(&endpoint->params, params))
        endpoint->uri = print(endpoint);
    if (endpoint->uri == NULL) {
        destroy(endpoint);
        return NULL;
    }
    return endpoint;
}

const conduit_endpoint *cdt_endpoint_layer(const struct cdt_layer_kind *kind, const char *name,
                                           const struct cdt_params *params,
                                           const conduit_endpoint *below)
{
    conduit_endpoint *endpoint = conduit_calloc(1, sizeof(*endpoint));
    if (endpoint == NULL)
        return NULL;
    endpoint->layer = kind;
    endpoint->below = conduit_endpoint_ref(below);
    return complete(endpoint, name, params);
}

/* "2001:db8::1", "fe80::1%eth0". */
static bool print_host(const struct sockaddr *address, char *buf, size_t size)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof(in));
        return inet_ntop(AF_INET, &in.sin_addr, buf, (socklen_t)size) != NULL;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof(in6));
    if (inet_ntop(AF_INET6, &in6.sin6_addr, buf, (socklen_t)size) == NULL)
        return false;
    if (in6.sin6_scope_id == 0)
        return true;
    char zone[IF_NAMESIZE];
    size_t n = strlen(buf);
    if (if_indextoname(in6.sin6_scope_id, zone) != NULL)
        snprintf(buf + n, size - n, "%%%s", zone);
    else
        snprintf(buf + n, size - n, "%%%u", in6.sin6_scope_id);
    return true;
}

static bool set_address(conduit_endpoint *endpoint, const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        memcpy(&endpoint->address.in, address, sizeof(endpoint->address.in));
        endpoint->port = ntohs(endpoint->address.in.sin_port);
    } else if (address->sa_family == AF_INET6) {
        memcpy(&endpoint->address.in6, address, sizeof(endpoint->address.in6));
        endpoint->port = ntohs(endpoint->address.in6.sin6_port);
    } else {
        return false;
    }
    return true;
}

const conduit_endpoint *cdt_endpoint_transport(const struct cdt_transport *transport,
                                               const struct sockaddr *address, const char *host,
                                               const struct cdt_params *params)
{
    char numeric[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE + 8];
    if (transport->form == CDT_FORM_NAME_PORT && !is_name_and_port(host))
        return NULL;
    conduit_endpoint *endpoint = conduit_calloc(1, sizeof(*endpoint));
    if (endpoint == NULL)
        return NULL;
    endpoint->transport = transport;
    if (transport->form == CDT_FORM_HOST_PORT) {
        if (!set_address(endpoint, address) || !print_host(address, numeric, sizeof(numeric))) {
            conduit_free(endpoint);
            return NULL;
        }
        host = numeric;
    }
    if (transport->form == CDT_FORM_CID_PORT)
        endpoint->port = (uint16_t)strtoul(strchr(host, ':') + 1, NULL, 10);
    return complete(endpoint, host, params);
}

const conduit_endpoint *conduit_endpoint_tcp(const struct sockaddr *address)
{
    return cdt_endpoint_transport(cdt_transport_find("tcp"), address, NULL, NULL);
}

const conduit_endpoint *conduit_endpoint_unix(const char *path)
{
    if (*path == '\0' || strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return NULL;
    return cdt_endpoint_transport(cdt_transport_find("unix"), NULL, path, NULL);
}

const conduit_endpoint *conduit_endpoint_unix_abstract(const char *name)
{
    const struct cdt_transport *transport = cdt_transport_find("unix-abstract");
    return transport->check_place(name) == NULL
               ? cdt_endpoint_transport(transport, NULL, name, NULL)
               : NULL;
}

const conduit_endpoint *conduit_endpoint_vsock(uint32_t cid, uint16_t port)
{
    char host[32];
    if (port == 0)
        return NULL;
    if (cid == UINT32_MAX)
        snprintf(host, sizeof(host), ":%u", port);
    else
        snprintf(host, sizeof(host), "%u:%u", cid, port);
    return cdt_endpoint_transport(cdt_transport_find("vsock"), NULL, host, NULL);
}

const conduit_endpoint *conduit_endpoint_inproc(const char *name)
{
    const conduit_endpoint *made =
        cdt_endpoint_transport(cdt_transport_find("inproc"), NULL, name, NULL);
    const conduit_endpoint *parsed = NULL;
    bool same = made != NULL && conduit_endpoint_parse(made->uri, &parsed, NULL) == 0 &&
                strcmp(parsed->host, name) == 0;
    conduit_endpoint_unref(parsed);
    if (same)
        return made;
    conduit_endpoint_unref(made); /* a name that no URI can hold */
    return NULL;
}

const conduit_endpoint *conduit_endpoint_vchan(const char *name, const char *port)
{
    const struct cdt_transport *transport = cdt_transport_find("vchan");
    char place[512];
    int n = snprintf(place, sizeof(place), "%s/%s", name, port);
    if (transport == NULL || n < 0 || (size_t)n >= sizeof(place))
        return NULL;
    return cdt_endpoint_transport(transport, NULL, place, NULL);
}

const conduit_endpoint *conduit_endpoint_tls(const char *name, const char *alpn,
                                             const conduit_endpoint *below)
{
    struct cdt_params params = {0};
    const struct cdt_layer_kind *kind = cdt_layer_kind_find("tls");
    bool ok = kind != NULL;
    if (ok && alpn != NULL && *alpn != '\0')
        ok = cdt_params_add(&params, "alpn", alpn);
    const conduit_endpoint *made = ok ? cdt_endpoint_layer(kind, name, &params, below) : NULL;
    cdt_params_clear(&params);
    return made;
}

/* ---- using ---- */

/* The count is the one field of an endpoint that changes. */
static conduit_endpoint *counted(const conduit_endpoint *endpoint)
{
    union {
        const conduit_endpoint *in;
        conduit_endpoint *out;
    } same = {.in = endpoint};
    return same.out;
}

const conduit_endpoint *conduit_endpoint_ref(const conduit_endpoint *endpoint)
{
    if (endpoint != NULL)
        atomic_fetch_add_explicit(&counted(endpoint)->refs, 1, memory_order_relaxed);
    return endpoint;
}

void conduit_endpoint_unref(const conduit_endpoint *endpoint)
{
    if (endpoint != NULL &&
        atomic_fetch_sub_explicit(&counted(endpoint)->refs, 1, memory_order_acq_rel) == 1)
        destroy(counted(endpoint));
}

bool conduit_endpoint_equal(const conduit_endpoint *a, const conduit_endpoint *b)
{
    return a == b || strcmp(a->uri, b->uri) == 0;
}

const conduit_endpoint *cdt_endpoint_bottom(const conduit_endpoint *endpoint)
{
    while (endpoint->below != NULL)
        endpoint = endpoint->below;
    return endpoint;
}

const char *conduit_endpoint_uri(const conduit_endpoint *endpoint)
{
    return endpoint->uri;
}

const char *conduit_endpoint_name(const conduit_endpoint *endpoint)
{
    return endpoint->transport != NULL ? endpoint->transport->name : endpoint->layer->name;
}

const conduit_endpoint *conduit_endpoint_below(const conduit_endpoint *endpoint)
{
    return endpoint->below;
}

const char *conduit_endpoint_host(const conduit_endpoint *endpoint)
{
    return endpoint->host;
}

uint16_t conduit_endpoint_port(const conduit_endpoint *endpoint)
{
    return endpoint->port;
}

const char *conduit_endpoint_param(const conduit_endpoint *endpoint, const char *key)
{
    return cdt_params_get(&endpoint->params, key);
}
