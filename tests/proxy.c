/* SPDX-License-Identifier: ISC */
/* The proxy of the tests: proxy.h. Requests come in one piece or in several, and well-formed. */
#include "proxy.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tunnel {
    struct cdt_proxy *proxy;
    conduit_conn *client, *target; /* NULL: gone */
    unsigned char request[1024];
    size_t n;
    bool socks, greeted, logged_in, dialled;
};

static const conduit_handler target_handler;

static conduit_conn *other(const struct tunnel *tunnel, const conduit_conn *conn)
{
    return conn == tunnel->client ? tunnel->target : tunnel->client;
}

/* ---- what is asked for ---- */

static void dial(struct tunnel *tunnel)
{
    struct cdt_proxy *proxy = tunnel->proxy;
    char uri[320];
    snprintf(uri, sizeof(uri), "tcp://%s", proxy->asked);
    conduit_pause(tunnel->client);
    tunnel->dialled = true;
    int code = conduit_connect(cdt_ctx, proxy->leads_to != NULL ? proxy->leads_to : uri, NULL,
                               &target_handler, tunnel, &tunnel->target);
    cr_assert_eq(code, 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

static void answer(struct tunnel *tunnel, const void *bytes, size_t n)
{
    cr_assert_geq(conduit_write(tunnel->client, bytes, n), 0);
}

static void drop(struct tunnel *tunnel, size_t n)
{
    tunnel->n -= n;
    memmove(tunnel->request, tunnel->request + n, tunnel->n);
}

static void check_login(struct tunnel *tunnel)
{
    char login[512];
    size_t n_user = tunnel->request[1], n_password = tunnel->request[2 + n_user];
    snprintf(login, sizeof(login), "%.*s:%.*s", (int)n_user, tunnel->request + 2, (int)n_password,
             tunnel->request + 3 + n_user);
    tunnel->logged_in = strcmp(login, tunnel->proxy->login) == 0;
    answer(tunnel, tunnel->logged_in ? "\1\0" : "\1\1", 2);
    drop(tunnel, 3 + n_user + n_password);
    if (!tunnel->logged_in)
        conduit_close(tunnel->client);
}

static void take_address(struct tunnel *tunnel)
{
    char host[256] = "";
    const unsigned char *at = tunnel->request + 4;
    size_t n = tunnel->request[3] == 1 ? 4 : tunnel->request[3] == 4 ? 16 : *at++;
    if (tunnel->request[3] == 3)
        memcpy(host, at, n);
    else
        inet_ntop(n == 4 ? AF_INET : AF_INET6, at, host, sizeof(host));
    unsigned port = (unsigned)at[n] << 8 | at[n + 1];
    snprintf(tunnel->proxy->asked, sizeof(tunnel->proxy->asked),
             tunnel->request[3] == 4 ? "[%s]:%u" : "%s:%u", host, port);
    drop(tunnel, (size_t)(at - tunnel->request) + n + 2);
    dial(tunnel);
}

static void take_socks(struct tunnel *tunnel)
{
    bool wants_login = tunnel->proxy->login != NULL;
    tunnel->socks = true;
    if (!tunnel->greeted && tunnel->n >= 3) {
        bool offered = tunnel->request[2] == (wants_login ? 2 : 0);
        tunnel->greeted = true;
        answer(tunnel, !offered ? "\5\377" : wants_login ? "\5\2" : "\5\0", 2);
        drop(tunnel, 3);
        tunnel->logged_in = !wants_login;
    } else if (!tunnel->logged_in && tunnel->n > 3) {
        check_login(tunnel);
    } else if (tunnel->n >= 8) {
        take_address(tunnel);
    }
}

static bool knows_login(const struct tunnel *tunnel)
{
    /* "al:s:cret", as anybody's base64 says */
    return tunnel->proxy->login == NULL ||
           strstr((const char *)tunnel->request,
                  "\r\nProxy-Authorization: Basic YWw6czpjcmV0\r\n") != NULL;
}

static void take_http(struct tunnel *tunnel)
{
    tunnel->request[tunnel->n] = '\0';
    const char *text = (const char *)tunnel->request, *end = strstr(text, "\r\n\r\n");
    if (end == NULL)
        return;
    if (sscanf(text, "CONNECT %299s HTTP/1.1\r\n", tunnel->proxy->asked) != 1 ||
        !knows_login(tunnel)) {
        static const char refusal[] = "HTTP/1.1 407 Who are you?\r\n\r\n";
        answer(tunnel, refusal, strlen(refusal));
        conduit_close(tunnel->client);
        return;
    }
    drop(tunnel, (size_t)(end + 4 - text));
    dial(tunnel);
}

/* ---- the tunnel ---- */

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct tunnel *tunnel = user;
    conduit_conn *to = other(tunnel, conn);
    if (tunnel->dialled) {
        if (to != NULL && conduit_write(to, data, n) == 1)
            conduit_pause(conn);
        return;
    }
    cr_assert_lt(tunnel->n + n, sizeof(tunnel->request));
    memcpy(tunnel->request + tunnel->n, data, n);
    tunnel->n += n;
    if (tunnel->request[0] == 'C' && !tunnel->socks)
        take_http(tunnel);
    else
        take_socks(tunnel);
}

static void on_drain(conduit_conn *conn, void *user)
{
    conduit_conn *from = other(user, conn);
    if (from != NULL)
        conduit_resume(from);
}

static void on_end(conduit_conn *conn, void *user)
{
    conduit_conn *to = other(user, conn);
    if (to != NULL)
        conduit_end(to);
    else
        conduit_close(conn);
}

/* A break is handed on as one. */
static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct tunnel *tunnel = user;
    conduit_conn *left = other(tunnel, conn);
    if (conn == tunnel->client)
        tunnel->client = NULL;
    else
        tunnel->target = NULL;
    if (left != NULL && why != NULL)
        conduit_abort(left);
    if (left == NULL)
        free(tunnel);
}

static void on_target_open(conduit_conn *conn, void *user)
{
    static const char yes[] = "HTTP/1.1 200 Go on\r\nX-Mode: test\r\n\r\n";
    struct tunnel *tunnel = user;
    tunnel->proxy->tunnels++;
    if (tunnel->socks)
        answer(tunnel, "\5\0\0\3\4test\0\1", 4 + 1 + 4 + 2);
    else
        answer(tunnel, yes, strlen(yes));
    if (tunnel->n > 0)
        conduit_write(conn, tunnel->request, tunnel->n);
    conduit_resume(tunnel->client);
}

static void on_target_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct tunnel *tunnel = user;
    static const char no[] = "HTTP/1.1 502 Nobody there\r\n\r\n";
    if (conduit_conn_info(conn) == NULL && tunnel->client != NULL) {
        if (tunnel->socks)
            answer(tunnel, "\5\5\0\1\0\0\0\0\0\0", 10);
        else
            answer(tunnel, no, strlen(no));
        tunnel->target = NULL;
        conduit_close(tunnel->client);
        return;
    }
    on_close(conn, why, user);
}

static const conduit_handler target_handler = {
    .on_open = on_target_open,
    .on_data = on_data,
    .on_drain = on_drain,
    .on_end = on_end,
    .on_close = on_target_close,
};

static void on_accepted(conduit_conn *conn, void *user)
{
    struct tunnel *tunnel = calloc(1, sizeof(*tunnel));
    cr_assert_not_null(tunnel);
    tunnel->proxy = user;
    tunnel->client = conn;
    conduit_conn_set_user(conn, tunnel);
}

const char *cdt_proxy_listen(struct cdt_proxy *proxy, const char *uri, conduit_tls *tls)
{
    static const conduit_handler handler = {
        .on_open = on_accepted,
        .on_data = on_data,
        .on_drain = on_drain,
        .on_end = on_end,
        .on_close = on_close,
    };
    const conduit_listen_options options = {.tls = tls};
    int code = conduit_listen(cdt_ctx, uri, &options, &handler, proxy, &proxy->listener);
    cr_assert_eq(code, 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
    return conduit_listener_uri(proxy->listener, 0);
}
