/* SPDX-License-Identifier: ISC */
/*
 * HTTP CONNECT as a layer of a client (RFC 9110, section 9.3.6): it asks a proxy for a tunnel to
 * the endpoint's "to", and leaves. Any 2xx is a tunnel, and the first byte after the empty line is
 * the tunnel's.
 *
 * User and password go along with the first request, as Basic (RFC 7617): a proxy that wants them
 * would only have to ask. Over http:// they are readable to whoever is on the way to the proxy.
 */
#include "hop.h"
#include "host.h"
#include "http_head.h"
#include "setup.h"
#include "stack.h"
#include "text.h"
#include <conduit/memory.h>
#include <stdio.h>
#include <string.h>

/* Interim responses before the final one. A proxy that sends nothing else would keep us reading for
 * ever, and the loop with us. */
enum { MOST_INTERIM = 8 };

struct tunnel {
    struct cdt_setup setup;
    int n_interim;
    const char *to;    /* the endpoint's, which lives as long as the path */
    const char *login; /* NULL: none. Borrowed; as long as the opening */
};

static struct tunnel *of(struct cdt_setup *setup)
{
    return (struct tunnel *)setup;
}

/* ---- what the proxy says ---- */

static int code_of(int status)
{
    switch (status) {
    case 401:
    case 403:
    case 407:
        return CONDUIT_EACCESS;
    case 429:
        return CONDUIT_ELIMIT;
    case 404:
    case 500:
    case 502:
    case 503:
        return CONDUIT_EUNREACH;
    case 408:
    case 504:
        return CONDUIT_ETIMEDOUT;
    default:
        return CONDUIT_EREFUSED;
    }
}

static int refuse(struct cdt_setup *setup, int status, const char *reason, size_t len)
{
    const char *to = of(setup)->to, *advice = "";
    if (status == 407)
        advice = of(setup)->login != NULL ? " (it does not accept the user and password)"
                                          : " (give it a user)";
    return cdt_setup_fail(setup, code_of(status), "HTTP", status,
                          "the proxy does not connect to %s: %d %.*s%s", to, status,
                          len < 80 ? (int)len : 80, reason, advice);
}

static int go_on_waiting(struct cdt_setup *setup)
{
    if (++of(setup)->n_interim > MOST_INTERIM)
        return cdt_setup_fail(setup, CONDUIT_ELIMIT, NULL, 0,
                              "the proxy sent more than %d interim responses", MOST_INTERIM);
    cdt_setup_await(setup, cdt_http_missing);
    return CDT_GO_ON;
}

static int take_answer(struct cdt_setup *setup)
{
    const char *reason;
    size_t len;
    char peer[CDT_HOST_SIZE + 32];
    int status = cdt_http_status(setup->in, setup->in_len, &reason, &len);
    if (status < 200)
        return go_on_waiting(setup);
    if (status >= 300)
        return refuse(setup, status, reason, len);
    snprintf(peer, sizeof(peer), "tcp://%s", of(setup)->to);
    return cdt_setup_set_peer(setup, peer);
}

/* ---- what we say ---- */

static void put_base64(FILE *to, const char *text, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        unsigned long group = 0;
        for (size_t k = 0; k < 3; k++)
            group = group << 8 | (i + k < n ? (unsigned char)text[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            putc(i + k <= n ? digits[group >> (18 - 6 * k) & 63] : '=', to);
    }
}

/* False: out of memory. */
static bool put_login(FILE *to, const char *text)
{
    struct cdt_login login;
    if (cdt_login_read(&login, text) < 0)
        return false;
    size_t n_user = strlen(login.user), n = n_user + 1 + strlen(login.password);
    char *whole = conduit_malloc(n + 1);
    if (whole != NULL) {
        snprintf(whole, n + 1, "%s:%s", login.user, login.password);
        fputs("Proxy-Authorization: Basic ", to);
        put_base64(to, whole, n);
        fputs("\r\n", to);
        explicit_bzero(whole, n);
        conduit_free(whole);
    }
    cdt_login_free(&login);
    return whole != NULL;
}

static char *print_request(const struct tunnel *tunnel)
{
    struct cdt_text text;
    FILE *to = cdt_text_open(&text);
    bool ok = to != NULL;
    if (ok)
        fprintf(to, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", tunnel->to, tunnel->to);
    if (ok && tunnel->login != NULL)
        ok = put_login(to, tunnel->login);
    if (ok)
        fputs("\r\n", to);
    char *whole = cdt_text_close(&text);
    if (ok)
        return whole;
    cdt_wipe(whole);
    return NULL;
}

static int ask(struct cdt_setup *setup)
{
    char *request = print_request(of(setup));
    if (request == NULL)
        return cdt_setup_fail(setup, CONDUIT_ENOMEM, NULL, 0, "out of memory");
    setup->step = take_answer;
    cdt_setup_await(setup, cdt_http_missing);
    int code = cdt_setup_say(setup, request, strlen(request));
    cdt_wipe(request);
    return code;
}

/* ---- from an endpoint to a layer ---- */

static int push(struct cdt_path *path, const conduit_endpoint *as,
                const struct cdt_stack_options *options)
{
    if (options->server)
        return cdt_path_fail(path, CONDUIT_ENOTSUP, CONDUIT_STAGE_LAYER, NULL, 0,
                             "there is no HTTP proxy here");
    struct tunnel *tunnel = conduit_calloc(1, sizeof(*tunnel));
    if (tunnel != NULL) {
        tunnel->setup.step = ask;
        tunnel->setup.who = "the proxy";
        tunnel->to = conduit_endpoint_param(as, "to");
        tunnel->login = options->login;
    }
    return cdt_setup_push(path, tunnel != NULL ? &tunnel->setup : NULL, CDT_HTTP_HEAD_MAX);
}

static const char *check(const struct cdt_params *params, const char *text, unsigned roles)
{
    struct cdt_login login;
    const char *wrong = cdt_hop_check(params, roles);
    if (wrong != NULL || text == NULL)
        return wrong;
    int code = cdt_login_read(&login, text);
    if (code < 0)
        return cdt_login_wrong(code);
    bool colon = strchr(login.user, ':') != NULL;
    cdt_login_free(&login);
    return colon ? "a user with a colon cannot be said to an HTTP proxy" : NULL;
}

static const char *const keys[] = {"to", NULL};

const struct cdt_layer_kind cdt_layer_connect = {
    .name = "connect",
    .keys = keys,
    .hop = true,
    .check = check,
    .push = push,
};
