/* SPDX-License-Identifier: ISC */
#include "listening.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct cdt_side client, server;
conduit_listener *listener;
conduit_listen_options options;
conduit_connect_options dialling;

struct failures failed;

static void on_failed(conduit_listener *of, const conduit_error *error, void *user)
{
    cr_expect_eq(of, listener);
    failed.times++;
    failed.enough = failed.times >= failed.awaited;
    failed.code = conduit_error_code(error);
    failed.stage = conduit_error_stage(error);
    failed.number = conduit_error_number(error);
    snprintf(failed.text, sizeof(failed.text), "%s", conduit_error_text(error));
    if (failed.react != NULL)
        failed.react();
}

void await_failures(int n)
{
    failed.awaited = n;
    failed.enough = failed.times >= n;
    cdt_await(&failed.enough);
}

void begin(void)
{
    memset(&failed, 0, sizeof(failed));
    options = (conduit_listen_options){.on_failed = on_failed};
    dialling = (conduit_connect_options){0};
    listener = NULL;
    cdt_open_ctx(NULL);
}

void end(void)
{
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
    conduit_tls_unref(options.tls);
    conduit_tls_unref(dialling.tls);
}

void use_tls(void)
{
    options.tls = cdt_server_tls();
    dialling.tls = cdt_client_tls();
    dialling.name = "a.example";
}

int try_listening(const char *uri)
{
    return conduit_listen(cdt_ctx, uri, &options, &cdt_side_handler, &server, &listener);
}

const char *listen_at(const char *uri)
{
    cr_assert_eq(try_listening(uri), 0, "%s: %s", uri,
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
    return conduit_listener_uri(listener, 0);
}

void call(const char *uri)
{
    cr_assert_eq(conduit_connect(cdt_ctx, uri, &dialling, &cdt_side_handler, &client, &client.conn),
                 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

void expect_service(const char *uri)
{
    cdt_side_clear(&client);
    cdt_side_clear(&server);
    call(uri);
    cdt_await(&server.opened);
    conduit_end(client.conn);
    cdt_await(&client.closed);
    cdt_await(&server.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_OK, "%s", cdt_side_text(&client));
    cdt_side_clear(&client);
    cdt_side_clear(&server);
}

void expect_refused(const char *uri, conduit_code code)
{
    conduit_listener *before = listener;
    int got = try_listening(uri);
    cr_expect_eq(got, code, "%s: %s", uri, conduit_code_name(got));
    cr_expect_eq(listener, before, "%s: a listener that is none", uri);
    cr_expect_eq(conduit_error_code(conduit_ctx_error(cdt_ctx)), got);
}

bool hung_up(int fd)
{
    char bytes[4096];
    ssize_t n;
    do
        n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    while (n > 0);
    return n == 0 || errno == ECONNRESET;
}

double milliseconds(void)
{
    return (double)uv_hrtime() / 1e6;
}
