/* SPDX-License-Identifier: ISC */
/*
 * The end of a listener that is given time: who is served, who is closed, and who is told.
 */
#include "listening.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- draining ---- */

static struct cdt_side idle, idle_server;

static void send_a_little(uv_timer_t *timer)
{
    struct cdt_side *side = timer->data;
    if (side->conn == NULL)
        return;
    cdt_side_send(side, 10);
    if (side->sent >= 120)
        conduit_end(side->conn);
}

static void start_moving(uv_timer_t *timer)
{
    uv_timer_init(&cdt_loop, timer);
    timer->data = &client;
    uv_timer_start(timer, send_a_little, 200, 200);
}

static void meet_idle(const char *uri)
{
    conduit_listener *second;
    cr_assert_eq(conduit_listen(cdt_ctx, uri, NULL, &cdt_side_handler, &idle_server, &second), 0);
    cr_assert_eq(conduit_connect(cdt_ctx, conduit_listener_uri(second, 0), NULL, &cdt_side_handler,
                                 &idle, &idle.conn),
                 0);
    cdt_await(&idle.opened);
}

CDT_TEST(drain, a_drain_closes_what_is_silent_and_lets_go_on_what_moves)
{
    uv_timer_t timer;
    begin();
    meet_idle("tcp://127.0.0.1:0");
    char uri[64];
    snprintf(uri, sizeof(uri), "%s", listen_at("tcp://127.0.0.1:0"));
    call(uri);
    cdt_await(&server.opened);
    start_moving(&timer);
    double since = milliseconds();
    conduit_ctx_drain(cdt_ctx, 10000);
    cdt_await(&idle.closed);
    double took = milliseconds() - since;
    cr_expect(took >= 950 && took < 2600, "%.1f ms", took);
    cr_expect_eq(cdt_side_code(&idle), CONDUIT_OK, "%s", cdt_side_text(&idle));
    cr_expect(!client.closed);
    cdt_await(&client.closed);
    cdt_await(&server.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_OK, "%s", cdt_side_text(&client));
    cr_expect_eq(server.received, 120);
    cdt_side_clear(&client);
    call(uri);
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_EREFUSED, "the listener is still there");
    uv_close((uv_handle_t *)&timer, NULL);
    end();
    cdt_side_clear(&idle);
    cdt_side_clear(&idle_server);
}

CDT_TEST(drain, a_drain_has_a_deadline)
{
    static const uint32_t deadlines[] = {300, 1300};
    for (int i = 0; i < 2; i++) {
        uv_timer_t timer;
        begin();
        call(listen_at("tcp://127.0.0.1:0"));
        cdt_await(&server.opened);
        start_moving(&timer);
        double since = milliseconds();
        conduit_ctx_drain(cdt_ctx, deadlines[i]);
        cdt_await(&client.closed);
        double took = milliseconds() - since;
        cr_expect(took >= deadlines[i] - 1 && took < deadlines[i] + 500, "%.1f ms, not %u", took,
                  deadlines[i]);
        cr_expect_eq(cdt_side_code(&client), CONDUIT_ECANCELED, "%s", cdt_side_text(&client));
        cr_expect_not_null(strstr(cdt_side_text(&client), "the drain's"), "%s",
                           cdt_side_text(&client));
        uv_close((uv_handle_t *)&timer, NULL);
        end();
    }
}

/* ---- the last has gone ---- */

static int n_gone, n_drained;

static void on_gone(conduit_listener *of, void *user)
{
    cr_expect_eq(of, listener);
    cr_expect_eq(user, &server);
    cr_expect(server.story[0] == '\0' || server.closed, "a connection is left: %s", server.story);
    n_gone++;
}

static void on_drained(conduit_ctx *ctx, void *user)
{
    cr_expect_eq(ctx, cdt_ctx);
    cr_expect_eq(user, &n_drained);
    n_drained++;
}

static void begin_draining(void)
{
    begin();
    cdt_close_ctx();
    cdt_open_ctx(&(conduit_ctx_options){.on_drained = on_drained, .drained_user = &n_drained});
    options.on_gone = on_gone;
    n_gone = n_drained = 0;
}

CDT_TEST(drain, a_drained_listener_says_when_its_last_connection_has_gone)
{
    static const char *const uris[] = {"tcp://127.0.0.1:0", "inproc://x", "tls://127.0.0.1:0"};
    for (int row = 0; row < 3 && (row < 2 || cdt_have_tls()); row++) {
        begin_draining();
        if (row == 2)
            use_tls();
        char uri[64];
        snprintf(uri, sizeof(uri), "%s", listen_at(uris[row]));
        call(uri);
        cdt_await(&server.opened);
        meet_idle("tcp://127.0.0.1:0");
        conduit_listener_drain(listener, 10000);
        cdt_turn(10);
        cr_expect_eq(n_gone, 0);
        cr_expect_null(conduit_listener_uri(listener, 0), "it still listens");
        conduit_end(client.conn);
        for (int i = 0; i < 1000 && n_gone == 0; i++)
            cdt_turn(1);
        cr_expect_eq(n_gone, 1, "%s", uris[row]);
        cr_expect_eq(cdt_side_code(&client), CONDUIT_OK, "%s", cdt_side_text(&client));
        cr_expect(!idle.closed, "the connection of another listener was closed");
        cdt_turn(10);
        cr_expect_eq(n_gone, 1);
        cdt_side_clear(&client);
        call(uri);
        cdt_await(&client.closed);
        cr_expect_eq(cdt_side_code(&client), CONDUIT_EREFUSED, "%s", cdt_side_text(&client));
        end();
        cdt_side_clear(&idle);
        cdt_side_clear(&idle_server);
    }
}

CDT_TEST(drain, who_waits_when_a_drain_begins_is_served)
{
    CDT_SKIP_WITHOUT_TLS();
    begin_draining();
    use_tls();
    call(listen_at("tls://127.0.0.1:0"));
    conduit_listener_pause(listener);
    cdt_turn(10);
    conduit_listener_drain(listener, 10000);
    client.ends_after = true;
    cdt_await(&client.opened);
    cdt_side_send(&client, 1000);
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_OK, "%s", cdt_side_text(&client));
    for (int i = 0; i < 1000 && n_gone == 0; i++)
        cdt_turn(1);
    cr_expect_eq(n_gone, 1);
    cr_expect_eq(server.received, 1000);
    end();
}

static void drain_when_open(struct cdt_side *side, char event)
{
    if (event != 'o')
        return;
    cr_expect(!server.opened, "the server was no later than the client");
    conduit_ctx_drain(cdt_ctx, 10000);
    cdt_side_send(side, 1000);
}

/* With TLS 1.3 a client is open before its last message has been read. */
CDT_TEST(drain, a_client_that_is_open_before_the_server_is_when_a_drain_begins_is_served)
{
    CDT_SKIP_WITHOUT_TLS();
    begin_draining();
    use_tls();
    client.react = drain_when_open;
    client.ends_after = true;
    call(listen_at("tls://127.0.0.1:0"));
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_OK, "%s", cdt_side_text(&client));
    cdt_await(&server.closed);
    cr_expect_eq(cdt_side_code(&server), CONDUIT_OK, "%s", cdt_side_text(&server));
    cr_expect_eq(server.received, 1000);
    for (int i = 0; i < 1000 && n_drained == 0; i++)
        cdt_turn(1);
    cr_expect(n_gone == 1 && n_drained == 1);
    end();
}

CDT_TEST(drain, a_handshake_does_not_hold_up_a_drain_beyond_its_deadline)
{
    CDT_SKIP_WITHOUT_TLS();
    begin_draining();
    use_tls();
    int fd = cdt_raw_connect(cdt_port_of(listen_at("tls://127.0.0.1:0")));
    cdt_turn(10);
    conduit_listener_drain(listener, 10000);
    conduit_listener_drain(listener, 300); /* another deadline */
    double since = milliseconds();
    while (n_gone == 0 && milliseconds() - since < 5000)
        uv_run(&cdt_loop, UV_RUN_ONCE);
    double took = milliseconds() - since;
    cr_expect(took >= 299 && took < 1500, "%.1f ms", took);
    cr_expect(hung_up(fd));
    close(fd);
    end();
}

CDT_TEST(drain, a_drain_without_time_is_over_for_who_waits_too)
{
    begin_draining();
    call(listen_at("tcp://127.0.0.1:0"));
    conduit_listener_pause(listener);
    cdt_await(&client.opened);
    conduit_listener_drain(listener, 0);
    double since = milliseconds();
    while (n_gone == 0 && milliseconds() - since < 5000)
        cdt_turn(1);
    cr_expect_eq(n_gone, 1, "the drain goes on");
    cdt_await(&client.closed);
    end();
}

CDT_TEST(drain, closing_ends_a_drain_silently)
{
    begin_draining();
    call(listen_at("tcp://127.0.0.1:0"));
    cdt_await(&server.opened);
    conduit_listener_drain(listener, 100);
    conduit_listener_close(listener);
    cdt_turns_within(200);
    cr_expect_eq(n_gone, 0);
    cr_expect(!server.closed, "%s", cdt_side_text(&server));
    end();
}

CDT_TEST(drain, the_end_of_a_drain_of_everything_is_told_once)
{
    begin_draining();
    call(listen_at("tcp://127.0.0.1:0"));
    cdt_await(&server.opened);
    conduit_ctx_drain(cdt_ctx, 10000);
    cdt_turn(10);
    cr_expect_eq(n_drained, 0);
    conduit_end(client.conn);
    for (int i = 0; i < 1000 && n_drained == 0; i++)
        cdt_turn(1);
    cr_expect_eq(n_gone, 1);
    cr_expect_eq(n_drained, 1);
    cr_expect(client.closed && server.closed);
    cr_expect(!uv_loop_alive(&cdt_loop));
    conduit_ctx_drain(cdt_ctx, 10000);
    cdt_turn(5);
    cr_expect_eq(n_drained, 2, "of nothing, too");
    end();
}

static void free_when_drained(conduit_ctx *ctx, void *user)
{
    conduit_ctx_free(ctx);
    cdt_ctx = NULL;
    n_drained++;
}

CDT_TEST(drain, on_drained_may_free_the_context)
{
    begin();
    cdt_close_ctx();
    cdt_open_ctx(&(conduit_ctx_options){.on_drained = free_when_drained});
    n_drained = 0;
    call(listen_at("tcp://127.0.0.1:0"));
    cdt_await(&server.opened);
    conduit_ctx_drain(cdt_ctx, 50);
    for (int i = 0; i < 1000 && n_drained == 0; i++)
        uv_run(&cdt_loop, UV_RUN_ONCE);
    cr_expect_eq(n_drained, 1);
    end();
}

CDT_TEST(drain, a_drain_with_nothing_to_wait_for_lets_the_loop_end)
{
    begin();
    listen_at("tcp://127.0.0.1:0");
    conduit_ctx_drain(cdt_ctx, 10000);
    cdt_turn(3);
    cr_expect(!uv_loop_alive(&cdt_loop));
    end();
}
