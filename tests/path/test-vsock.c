/* SPDX-License-Identifier: ISC */
/*
 * vsock, as far as a machine alone can show it: binding always, a whole connection where the kernel
 * has the loopback, and otherwise an error that comes in time.
 */
#include "harness.h"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct cdt_side client, server;
static conduit_listener *listener;

static bool have_vsock(void)
{
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

CDT_TEST(vsock, a_port_is_listened_at_once_and_known_by_its_name)
{
    char uri[64];
    if (!have_vsock())
        cr_skip_test("the kernel has no vsock");
    cdt_open_ctx(NULL);
    snprintf(uri, sizeof(uri), "vsock://:%ld", 20000 + (long)getpid() % 40000);
    cr_assert_eq(conduit_listen(cdt_ctx, uri, NULL, &cdt_side_handler, &server, &listener), 0, "%s",
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
    cr_expect_str_eq(conduit_listener_uri(listener, 0), uri);
    cr_expect_geq(conduit_listener_fd(listener, 0), 0);
    cr_expect_eq(conduit_listen(cdt_ctx, uri, NULL, NULL, NULL, NULL), CONDUIT_EADDRINUSE);
    conduit_listener_close(listener);
    cr_expect_eq(conduit_listen(cdt_ctx, uri, NULL, NULL, NULL, NULL), 0);
    cdt_close_ctx();
}

CDT_TEST(vsock, a_connection_is_made_or_fails_in_time)
{
    char uri[64];
    const conduit_connect_options options = {.timeout_ms = 500};
    if (!have_vsock())
        cr_skip_test("the kernel has no vsock");
    cdt_open_ctx(NULL);
    long port = 20000 + (long)getpid() % 40000;
    snprintf(uri, sizeof(uri), "vsock://:%ld", port);
    cr_assert_eq(conduit_listen(cdt_ctx, uri, NULL, &cdt_side_handler, &server, &listener), 0);
    snprintf(uri, sizeof(uri), "vsock://1:%ld", port);
    cr_assert_eq(conduit_connect(cdt_ctx, uri, &options, &cdt_side_handler, &client, &client.conn),
                 0);
    while (!client.closed && !(client.opened && server.opened))
        uv_run(&cdt_loop, UV_RUN_ONCE);
    if (client.opened) {
        cr_expect_str_eq(conduit_conn_info(client.conn)->peer, uri);
        cdt_side_expect(&server, 100000);
        cdt_side_send(&client, 100000);
        cdt_await(&server.complete);
    } else {
        cr_expect_not_null(strstr(cdt_side_text(&client), uri), "%s", cdt_side_text(&client));
        cr_expect(cdt_side_code(&client) != CONDUIT_OK);
    }
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
}

CDT_TEST(vsock, a_place_to_listen_at_cannot_be_dialled)
{
    cdt_open_ctx(NULL);
    cr_expect_eq(conduit_connect(cdt_ctx, "vsock://:5000", NULL, NULL, NULL, NULL), CONDUIT_EURI);
    cr_expect_eq(conduit_listen(cdt_ctx, "vsock://:0", NULL, NULL, NULL, NULL), CONDUIT_EURI);
    cdt_close_ctx();
}
