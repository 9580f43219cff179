/* SPDX-License-Identifier: ISC */
/*
 * The PROXY header as a layer, which sends one or demands one, and leaves. It is the first thing on
 * the wire, under TLS, and its name is in no stack: a key of the query says that it is there.
 *
 *     proxy_send=1|2     to connect: tell the peer our own two addresses, in version 1 or 2
 *     proxy_from=LIST    to listen: take connections from the proxies of the list only, networks
 *                        ("10.0.0.0/8,::1") or "local" for peers without an address, as unix and
 *                        inproc have; each has to begin with a header, of either version. Who is
 *                        not in the list is turned away: closed, without a byte having been read.
 *
 * There is no "if there is one": what an unknown peer says of itself is worth nothing, and what a
 * known proxy leaves out is a mistake. Who the header speaks of is conduit_info.peer, and the proxy
 * conduit_info.via; with LOCAL and UNKNOWN the peer is the proxy.
 */
#include "net.h"
#include "proxy_protocol.h"
#include "setup.h"
#include "stack.h"
#include <conduit/memory.h>
#include <string.h>

struct header {
    struct cdt_setup setup;
    int version;      /* to send; 0: to demand one */
    const char *from; /* the endpoint's, which lives as long as the path */
};

static struct header *of(struct cdt_setup *setup)
{
    return (struct header *)setup;
}

/* ---- sending ---- */

static int fail_memory(struct cdt_setup *setup)
{
    return cdt_setup_fail(setup, CONDUIT_ENOMEM, NULL, 0, "out of memory");
}

/* A transport's address as it describes it; AF_UNSPEC if that is none. 0, or CONDUIT_ENOMEM, which
 * a description has no other way to say than to be empty: who has an address must not pass for one
 * who has none because memory is short. */
static int parse_address(const char *uri, union cdt_address *ret)
{
    const conduit_endpoint *endpoint = NULL;
    *ret = (union cdt_address){0};
    if (*uri == '\0')
        return CONDUIT_ENOMEM;
    int code = conduit_endpoint_parse(uri, &endpoint, NULL);
    if (code == 0)
        *ret = endpoint->address;
    conduit_endpoint_unref(endpoint);
    return code == CONDUIT_ENOMEM ? code : 0;
}

static int sent(struct cdt_setup *setup)
{
    return 0;
}

/* Behind a proxy that leads on, the addresses of our socket are not those of the way. */
static int send_header(struct cdt_setup *setup)
{
    unsigned char header[CDT_PROXY_PRINT_MAX];
    union cdt_address source, to;
    struct cdt_facts facts = {0};
    cdt_layer_describe(setup->layer.below, &facts);
    if (parse_address(facts.local, &source) < 0 || parse_address(facts.peer, &to) < 0)
        return fail_memory(setup);
    bool known = setup->layer.path->peer == NULL && source.any.sa_family != AF_UNSPEC &&
                 to.any.sa_family != AF_UNSPEC;
    setup->step = sent;
    return cdt_setup_say(setup, header,
                         cdt_proxy_print(of(setup)->version, known ? &source : NULL, &to, header));
}

/* ---- demanding ---- */

static int set_inet_peer(struct cdt_setup *setup, const union cdt_address *source)
{
    const conduit_endpoint *endpoint = conduit_endpoint_tcp(&source->any);
    if (endpoint == NULL)
        return fail_memory(setup);
    int code = cdt_setup_set_peer(setup, conduit_endpoint_uri(endpoint));
    conduit_endpoint_unref(endpoint);
    return code;
}

static int set_unix_peer(struct cdt_setup *setup, const char *path)
{
    const conduit_endpoint *endpoint = conduit_endpoint_unix(path);
    int code =
        cdt_setup_set_peer(setup, endpoint != NULL ? conduit_endpoint_uri(endpoint) : "unix:");
    conduit_endpoint_unref(endpoint);
    return code;
}

static int take_header(struct cdt_setup *setup)
{
    union cdt_address source, to;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
    const char *why = "";
    switch (cdt_proxy_read(setup->in, setup->in_len, &source, &to, path, &why)) {
    case CDT_PROXY_UNSAID:
        return 0;
    case CDT_PROXY_INET:
        return set_inet_peer(setup, &source);
    case CDT_PROXY_UNIX:
        return set_unix_peer(setup, path);
    default:
        return cdt_setup_fail(setup, CONDUIT_EIO, NULL, 0, "%s: %s", setup->who, why);
    }
}

/* Copy the item of a list that begins at `*at`, and move on. False at the end, or with an item that
 * is too long to be one. */
static bool next_item(const char **at, char *item, size_t size)
{
    size_t n = strcspn(*at, ",");
    if (n == 0 || n >= size)
        return false;
    memcpy(item, *at, n);
    item[n] = '\0';
    *at += n + ((*at)[n] == ',');
    return true;
}

static bool is_listed(const char *list, const union cdt_address *address, bool inet)
{
    char item[64];
    struct cdt_net net;
    while (next_item(&list, item, sizeof(item))) {
        if (strcmp(item, "local") == 0
                ? !inet
                : inet && cdt_net_read(&net, item) && cdt_net_has(&net, &address->any))
            return true;
    }
    return false;
}

static int demand_header(struct cdt_setup *setup)
{
    union cdt_address address;
    struct cdt_facts facts = {0};
    cdt_layer_describe(setup->layer.below, &facts);
    if (parse_address(facts.peer, &address) < 0)
        return fail_memory(setup);
    bool inet = address.any.sa_family != AF_UNSPEC;
    if (!is_listed(of(setup)->from, &address, inet))
        return cdt_setup_fail(setup, CONDUIT_EACCESS, NULL, 0,
                              "%s is not a proxy that connections are taken from", facts.peer);
    setup->step = take_header;
    cdt_setup_await(setup, cdt_proxy_missing);
    return CDT_GO_ON;
}

/* ---- from an endpoint to a layer ---- */

static int push(struct cdt_path *path, const conduit_endpoint *as,
                const struct cdt_stack_options *options)
{
    const char *version = conduit_endpoint_param(as, "proxy_send");
    struct header *header = conduit_calloc(1, sizeof(*header));
    if (header != NULL) {
        header->version = version == NULL ? 0 : *version - '0';
        header->from = conduit_endpoint_param(as, "proxy_from");
        header->setup.step = options->server ? demand_header : send_header;
        header->setup.who = "the peer";
    }
    return cdt_setup_push(path, header != NULL ? &header->setup : NULL, CDT_PROXY_MAX);
}

static bool is_list(const char *list)
{
    char item[64];
    struct cdt_net net;
    do
        if (!next_item(&list, item, sizeof(item)) ||
            (strcmp(item, "local") != 0 && !cdt_net_read(&net, item)))
            return false;
    while (*list != '\0');
    return list[-1] != ',';
}

static const char *check(const struct cdt_params *params, const char *login, unsigned roles)
{
    const char *version = cdt_params_get(params, "proxy_send");
    const char *from = cdt_params_get(params, "proxy_from");
    if (version != NULL && from != NULL)
        return "proxy_send is for connecting, and proxy_from for listening";
    if (version != NULL && (roles & CDT_CONNECTING) == 0)
        return "proxy_send is for connecting";
    if (from != NULL && (roles & CDT_LISTENING) == 0)
        return "proxy_from is for listening";
    if (version != NULL && strcmp(version, "1") != 0 && strcmp(version, "2") != 0)
        return "proxy_send is 1 or 2";
    if (version == NULL && (from == NULL || !is_list(from)))
        return "proxy_from is a list like 127.0.0.0/8,::1,local";
    return NULL;
}

static const char *const keys[] = {"proxy_send", "proxy_from", NULL};

const struct cdt_layer_kind cdt_layer_proxy = {
    .name = "proxy",
    .keys = keys,
    .implied = true,
    .check = check,
    .push = push,
};
