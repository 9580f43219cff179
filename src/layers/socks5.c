/* SPDX-License-Identifier: ISC */
/*
 * SOCKS 5 as a layer of a client: it asks a proxy to connect to the endpoint's "to", and leaves.
 *
 *     greeting (methods)  ->  <- method   [login -> <- status]   request ->  <- reply
 *
 * A name is told to the proxy as it is. User and password are offered only if there are some, and
 * then nothing else is: who gives a password does not want to go without.
 */
#include "hop.h"
#include "setup.h"
#include "socks5_wire.h"
#include "stack.h"
#include "steps.h"
#include <conduit/memory.h>
#include <stdio.h>
#include <string.h>

struct socks5 {
    struct cdt_setup setup;
    const char *to;    /* the endpoint's, which lives as long as the path */
    const char *login; /* NULL: none. Borrowed; as long as the opening */
};

static struct socks5 *of(struct cdt_setup *setup)
{
    return (struct socks5 *)setup;
}

static int take_reply(struct cdt_setup *setup)
{
    const char *text, *to = of(setup)->to;
    unsigned reply = setup->in[1];
    if (reply == 0) {
        char peer[CDT_HOST_SIZE + 32];
        snprintf(peer, sizeof(peer), "tcp://%s", to);
        return cdt_setup_set_peer(setup, peer);
    }
    int code = cdt_socks_code(reply, &text);
    return cdt_setup_fail(setup, code, "SOCKS", reply, "the proxy cannot connect to %s: %s (%u)",
                          to, text, reply);
}

static int send_request(struct cdt_setup *setup)
{
    unsigned char request[CDT_SOCKS_REQUEST_MAX];
    char host[CDT_HOST_SIZE] = "";
    uint16_t port = 0;
    cdt_place_split(of(setup)->to, host, &port);
    setup->step = take_reply;
    cdt_setup_await(setup, cdt_socks_missing_reply);
    return cdt_setup_say(setup, request, cdt_socks_request(host, port, request));
}

static int take_status(struct cdt_setup *setup)
{
    if (setup->in[1] == 0)
        return send_request(setup);
    return cdt_setup_fail(setup, CONDUIT_EACCESS, "SOCKS", setup->in[1],
                          "the proxy does not accept the user and password");
}

static int send_login(struct cdt_setup *setup)
{
    unsigned char text[3 + 2 * 255];
    struct cdt_login login;
    if (cdt_login_read(&login, of(setup)->login) < 0)
        return cdt_setup_fail(setup, CONDUIT_ENOMEM, NULL, 0, "out of memory");
    size_t n_user = strlen(login.user), n_password = strlen(login.password);
    text[0] = 1;
    text[1] = (unsigned char)n_user;
    memcpy(text + 2, login.user, n_user);
    text[2 + n_user] = (unsigned char)n_password;
    memcpy(text + 3 + n_user, login.password, n_password);
    cdt_login_free(&login);
    setup->step = take_status;
    cdt_setup_await(setup, cdt_socks_missing_status);
    int code = cdt_setup_say(setup, text, 3 + n_user + n_password);
    explicit_bzero(text, sizeof(text));
    return code;
}

static int take_method(struct cdt_setup *setup)
{
    bool login = of(setup)->login != NULL;
    unsigned method = setup->in[1];
    if (method == CDT_SOCKS_PASSWORD && login)
        return send_login(setup);
    if (method == CDT_SOCKS_NO_LOGIN && !login)
        return send_request(setup);
    if (method == CDT_SOCKS_REFUSED)
        return cdt_setup_fail(setup, CONDUIT_EACCESS, "SOCKS", method,
                              login ? "the proxy does not take user and password"
                                    : "the proxy wants to know who connects: give it a user");
    return cdt_setup_fail(setup, CONDUIT_EIO, "SOCKS", method,
                          "the proxy chose method %u, which was not offered", method);
}

static int greet(struct cdt_setup *setup)
{
    unsigned char greeting[] = {5, 1, CDT_SOCKS_NO_LOGIN};
    if (of(setup)->login != NULL)
        greeting[2] = CDT_SOCKS_PASSWORD;
    setup->step = take_method;
    cdt_setup_await(setup, cdt_socks_missing_method);
    return cdt_setup_say(setup, greeting, sizeof(greeting));
}

/* ---- from an endpoint to a layer ---- */

static int push(struct cdt_path *path, const conduit_endpoint *as,
                const struct cdt_stack_options *options)
{
    if (options->server)
        return cdt_path_fail(path, CONDUIT_ENOTSUP, CONDUIT_STAGE_LAYER, NULL, 0,
                             "there is no SOCKS server here");
    struct socks5 *socks = conduit_calloc(1, sizeof(*socks));
    if (socks != NULL) {
        socks->setup.step = greet;
        socks->setup.who = "the proxy";
        socks->to = conduit_endpoint_param(as, "to");
        socks->login = options->login;
    }
    return cdt_setup_push(path, socks != NULL ? &socks->setup : NULL, CDT_SOCKS_REPLY_MAX);
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
    size_t n_user = strlen(login.user), n_password = strlen(login.password);
    cdt_login_free(&login);
    if (n_user == 0 || n_user > 255 || n_password == 0 || n_password > 255)
        return "SOCKS takes user:password, each of 1 to 255 bytes";
    return NULL;
}

static const char *const keys[] = {"to", NULL};

const struct cdt_layer_kind cdt_layer_socks5 = {
    .name = "socks5",
    .keys = keys,
    .hop = true,
    .check = check,
    .push = push,
};
