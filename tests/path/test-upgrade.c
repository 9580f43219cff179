/* SPDX-License-Identifier: ISC */
/*
 * From cleartext to TLS on an open connection: in order, never mixed, and with no way back. Both
 * ends are ours, or one is a socket that cheats.
 */
#include "harness.h"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One end of the talk: what it has heard, and what it does then. */
static struct end {
    conduit_conn *conn;
    char heard[256], before[256]; /* since TLS, and before it */
    int opened, upgraded, closed, drained;
    bool is_upgraded, is_closed;
    int code;
    char why[256];
    void (*on_heard)(struct end *end);
    conduit_upgrade_options how;
    int said; /* what conduit_upgrade() returned */
} client, server;

static conduit_listener *listener;

static void upgrade(struct end *end)
{
    end->said = conduit_upgrade(end->conn, &end->how);
}

static void on_open(conduit_conn *conn, void *user)
{
    struct end *end = user;
    end->conn = conn;
    end->opened++;
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct end *end = user;
    char *into = end->upgraded ? end->heard : end->before;
    size_t room = sizeof(end->heard) - 1 - strlen(into);
    strncat(into, data, n < room ? n : room);
    if (end->on_heard != NULL && !end->is_upgraded)
        end->on_heard(end);
}

static void on_upgrade(conduit_conn *conn, void *user)
{
    struct end *end = user;
    end->upgraded++;
    end->is_upgraded = true;
    conduit_write(conn, "[under TLS]", 11);
}

static void on_drain(conduit_conn *conn, void *user)
{
    struct end *end = user;
    end->drained++;
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct end *end = user;
    end->closed++;
    end->is_closed = true;
    end->code = conduit_error_code(why);
    snprintf(end->why, sizeof(end->why), "%s", why != NULL ? conduit_error_text(why) : "");
}

static const conduit_handler handler = {
    .on_open = on_open,
    .on_data = on_data,
    .on_close = on_close,
    .on_upgrade = on_upgrade,
    .on_drain = on_drain,
};

/* The usual agreement: the client asks, the server says yes, and both go on. */
static void server_agrees(struct end *end)
{
    if (strcmp(end->before, "STARTTLS\n") != 0)
        return;
    conduit_write(end->conn, "220 go\n", 7);
    upgrade(end);
    conduit_write(end->conn, "[held back]", 11);
}

static void client_goes_on(struct end *end)
{
    if (strcmp(end->before, "220 go\n") == 0)
        upgrade(end);
}

static void begin(const char *uri)
{
    cdt_open_ctx(NULL);
    client = (struct end){.on_heard = client_goes_on};
    server = (struct end){.on_heard = server_agrees};
    client.how = (conduit_upgrade_options){.tls = cdt_client_tls(), .name = "a.example"};
    server.how = (conduit_upgrade_options){.tls = cdt_server_tls()};
    cr_assert_eq(conduit_listen(cdt_ctx, uri, NULL, &handler, &server, &listener), 0);
}

static void call(void)
{
    cr_assert_eq(conduit_connect(cdt_ctx, conduit_listener_uri(listener, 0), NULL, &handler,
                                 &client, &client.conn),
                 0);
    conduit_write(client.conn, "STARTTLS\n", 9);
}

static void end(void)
{
    cdt_close_ctx();
    conduit_tls_unref(client.how.tls);
    conduit_tls_unref(server.how.tls);
}

CDT_TEST(upgrade, what_was_written_before_goes_in_the_clear_and_the_rest_under_tls)
{
    CDT_SKIP_WITHOUT_TLS();
    static const char *const uris[] = {"tcp://127.0.0.1:0", "inproc://x"};
    for (size_t i = 0; i < 2; i++) {
        begin(uris[i]);
        call();
        cdt_await(&client.is_upgraded);
        cdt_await(&server.is_upgraded);
        for (int k = 0; k < 1000 && *server.heard == '\0'; k++)
            cdt_turn(1);
        cdt_turn(10);
        cr_expect_str_eq(client.before, "220 go\n");
        cr_expect_str_eq(client.heard, "[held back][under TLS]");
        cr_expect_str_eq(server.heard, "[under TLS]");
        const conduit_info *info = conduit_conn_info(client.conn);
        cr_assert_not_null(info->tls);
        cr_expect_str_eq(info->tls->name, "a.example");
        cr_expect(strncmp(info->stack, "tls+", 4) == 0, "%s", info->stack);
        cr_expect_leq(info->dial_ms + info->handshake_ms, info->open_ms + 0.001,
                      "of opening alone");
        conduit_close(client.conn);
        cdt_await(&client.is_closed);
        cdt_await(&server.is_closed);
        cr_expect(client.code == CONDUIT_OK && server.code == CONDUIT_OK, "%s / %s", client.why,
                  server.why);
        cr_expect(client.opened == 1 && client.upgraded == 1 && server.upgraded == 1);
        end();
    }
}

/* What was told of the outer one, the chain of certificates among it, is told anew. */
CDT_TEST(upgrade, tls_under_tls_is_described_anew_each_time)
{
    CDT_SKIP_WITHOUT_TLS();
    begin("tcp://127.0.0.1:0");
    call();
    for (int k = 0; k < 1000 && (*client.heard == '\0' || *server.heard == '\0'); k++)
        cdt_turn(1);
    cdt_turn(10);
    const conduit_info *info = conduit_conn_info(client.conn);
    cr_expect(info->tls != NULL && *info->tls->chain != '\0');
    upgrade(&server);
    upgrade(&client);
    for (int k = 0; k < 1000 && (client.upgraded < 2 || server.upgraded < 2); k++)
        cdt_turn(1);
    info = conduit_conn_info(client.conn);
    cr_expect(strncmp(info->stack, "tls+tls+", 8) == 0, "%s", info->stack);
    cr_expect(info->tls != NULL && *info->tls->chain != '\0');
    end();
}

CDT_TEST(upgrade, a_lot_in_the_clear_goes_first)
{
    CDT_SKIP_WITHOUT_TLS();
    static char big[4 * 1024 * 1024];
    begin("tcp://127.0.0.1:0");
    memset(big, '\n', sizeof(big));
    client.on_heard = NULL;
    server.on_heard = NULL;
    call();
    for (int k = 0; k < 1000 && *server.before == '\0'; k++)
        cdt_turn(1);
    conduit_pause(client.conn);
    cr_assert_geq(conduit_write(server.conn, big, sizeof(big)), 0);
    upgrade(&server);
    cr_expect_eq(server.said, 0);
    size_t queued = conduit_queued(server.conn);
    cr_expect_gt(queued, 0);
    cr_assert_geq(conduit_write(server.conn, "x", 1), 0);
    cr_expect_eq(conduit_queued(server.conn), queued + 1);
    cdt_turn(20);
    cr_expect(!server.is_upgraded);
    conduit_resume(client.conn);
    for (int k = 0; k < 3000 && conduit_conn_info(client.conn)->bytes_in < sizeof(big); k++)
        cdt_turn(1);
    upgrade(&client);
    cdt_await(&client.is_upgraded);
    cdt_await(&server.is_upgraded);
    end();
}

/* Bytes, or those of a file, that were taken and wait: there is no room for more until they have
 * gone, however empty it is before them. */
CDT_TEST(upgrade, what_waits_for_tls_is_not_drained)
{
    CDT_SKIP_WITHOUT_TLS();
    static char bytes[100 * 1024];
    FILE *file = tmpfile();
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, sizeof(bytes), file), sizeof(bytes));
    fflush(file);
    for (int row = 0; row < 2; row++) {
        begin("tcp://127.0.0.1:0");
        client.on_heard = NULL;
        server.on_heard = NULL;
        call();
        for (int k = 0; k < 1000 && *server.before == '\0'; k++)
            cdt_turn(1);
        upgrade(&server);
        int code = row == 0 ? conduit_write(server.conn, bytes, sizeof(bytes))
                            : conduit_write_file(server.conn, fileno(file), 0, sizeof(bytes));
        cr_assert_eq(code, 1);
        cdt_turn(20);
        cr_expect_eq(conduit_queued(server.conn), sizeof(bytes));
        cr_expect_eq(server.drained, 0, "row %d: nothing of it has gone", row);
        upgrade(&client);
        cdt_await(&server.is_upgraded);
        for (int k = 0; k < 1000 && conduit_queued(server.conn) > 0; k++)
            cdt_turn(1);
        cdt_turn(2);
        cr_expect_eq(server.drained, 1, "row %d", row);
        end();
    }
    fclose(file);
}

CDT_TEST(upgrade, the_wrong_certificate_is_the_end)
{
    CDT_SKIP_WITHOUT_TLS();
    begin("tcp://127.0.0.1:0");
    client.how.name = "b.example";
    call();
    cdt_await(&client.is_closed);
    cr_expect_eq(client.code, CONDUIT_ETRUST, "%s", client.why);
    cdt_await(&server.is_closed);
    cr_expect(!client.is_upgraded && *client.heard == '\0');
    end();
}

CDT_TEST(upgrade, the_host_of_the_uri_is_who_has_to_be_there)
{
    CDT_SKIP_WITHOUT_TLS();
    begin("tcp://127.0.0.1:0");
    client.how.name = NULL;
    call();
    cdt_await(&client.is_upgraded);
    cr_expect_str_eq(conduit_conn_info(client.conn)->tls->name, "127.0.0.1");
    end();
    begin("inproc://x");
    client.how.name = NULL;
    call();
    for (int k = 0; k < 1000 && *client.before == '\0'; k++)
        cdt_turn(1);
    cr_expect_eq(client.said, 0);
    end();
}

/* What is pipelined behind the agreement was not protected, and must not count as if it were. */
CDT_TEST(upgrade, nothing_in_the_clear_is_taken_for_protected)
{
    CDT_SKIP_WITHOUT_TLS();
    char uri[64];
    int port = 0, raw = cdt_raw_listen(AF_INET, 1, &port);
    begin("tcp://127.0.0.1:0");
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", port);
    client.on_heard = NULL;
    cr_assert_eq(conduit_connect(cdt_ctx, uri, NULL, &handler, &client, &client.conn), 0);
    for (int k = 0; k < 1000 && client.opened == 0; k++)
        cdt_turn(1);
    int fd = accept(raw, NULL, NULL);
    upgrade(&client);
    cr_assert_eq(send(fd, "250 evil\n", 9, 0), 9);
    cdt_await(&client.is_closed);
    cr_expect_eq(client.code, CONDUIT_ETLS, "%s", client.why);
    cr_expect(strstr(client.why, "in the clear") != NULL, "%s", client.why);
    cr_expect(*client.before == '\0' && *client.heard == '\0');
    close(fd);

    server.on_heard = server_agrees;
    fd = cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
    cr_assert_eq(send(fd, "STARTTLS\n", 9, 0), 9);
    for (int k = 0; k < 1000 && *server.before == '\0'; k++)
        cdt_turn(1);
    cr_assert_eq(send(fd, "MAIL FROM:<evil>\n", 17, 0), 17);
    cdt_await(&server.is_closed);
    cr_expect_eq(server.code, CONDUIT_ETLS, "%s", server.why);
    cr_expect_str_eq(server.heard, "");
    cr_expect_str_eq(server.before, "STARTTLS\n");
    close(fd);
    close(raw);
    end();
}

CDT_TEST(upgrade, what_makes_no_sense_is_refused_and_changes_nothing)
{
    CDT_SKIP_WITHOUT_TLS();
    begin("inproc://x");
    conduit_tls *mine = client.how.tls;
    client.on_heard = NULL;
    server.on_heard = NULL;
    call();
    cr_expect_eq(conduit_upgrade(client.conn, &client.how), CONDUIT_EINVAL, "not open yet");
    for (int k = 0; k < 1000 && *server.before == '\0'; k++)
        cdt_turn(1);
    server.how.unread = 1;
    cr_expect_eq(conduit_upgrade(server.conn, &server.how), CONDUIT_EINVAL);
    cr_expect(strstr(conduit_error_text(conduit_ctx_error(cdt_ctx)), "in the clear") != NULL);
    server.how.unread = 0;
    client.how.tls = server.how.tls;
    conduit_upgrade_options nobody = {.tls = mine, .role = CONDUIT_ROLE_CLIENT};
    cr_expect_eq(conduit_upgrade(server.conn, &nobody), CONDUIT_EINVAL, "accepted from whom?");
    cr_expect(strstr(conduit_error_text(conduit_ctx_error(cdt_ctx)), "whom to verify") != NULL);
    conduit_upgrade_options bare = {.role = CONDUIT_ROLE_SERVER};
    cr_expect_eq(conduit_upgrade(client.conn, &bare), CONDUIT_ETLS, "a server without certificate");
    client.how.tls = mine;
    cr_expect_eq(conduit_upgrade(client.conn, &client.how), 0);
    cr_expect_eq(conduit_upgrade(client.conn, &client.how), CONDUIT_EINVAL, "twice");
    conduit_close(client.conn);
    cdt_await(&client.is_closed);
    cr_expect_eq(client.code, CONDUIT_ECANCELED, "%s", client.why);
    cr_expect(!client.is_upgraded);
    end();
}

CDT_TEST(upgrade, a_peer_that_does_not_begin_has_a_deadline)
{
    CDT_SKIP_WITHOUT_TLS();
    begin("tcp://127.0.0.1:0");
    client.on_heard = NULL;
    server.how.timeout_ms = 50;
    call();
    cdt_await(&server.is_closed);
    cr_expect_eq(server.code, CONDUIT_ETIMEDOUT, "%s", server.why);
    cdt_await(&client.is_closed);
    end();
}

/* At each turn of the way: freed, aborted, and with the context. */
CDT_TEST(upgrade, it_can_be_broken_off_at_any_time)
{
    CDT_SKIP_WITHOUT_TLS();
    for (int turns = 0; turns < 24; turns++) {
        begin("tcp://127.0.0.1:0");
        call();
        cdt_turn(turns / 3);
        if (client.closed == 0 && turns % 3 == 0)
            conduit_conn_free(client.conn);
        else if (client.closed == 0 && turns % 3 == 1)
            conduit_abort(client.conn);
        cdt_turn(turns % 3);
        if (turns % 3 == 2 && client.closed == 0) {
            conduit_ctx_free(cdt_ctx);
            cdt_ctx = NULL;
            cdt_await(&client.is_closed);
        }
        cdt_turn(10);
        cr_expect_leq(client.closed, 1);
        end();
    }
}
