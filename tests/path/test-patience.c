/* SPDX-License-Identifier: ISC */
/*
 * Deadlines of whole connections, and the peers that make them necessary: silent ones, slow ones,
 * those that stop reading and those that break off at every stage.
 *
 * The clock is the test's: pass() moves it and fires what is due. The sockets are real. Beside the
 * connection that is tested there is always another, which must never notice.
 */
#include "context.h"
#include "harness.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MUCH = 8 * 1024 * 1024 };

static struct cdt_side client, server, other_client, other_server;
static conduit_listener *listener;
static conduit_connect_options dialling;
static conduit_listen_options listening;
static uint64_t clock_ms;

static uint64_t read_clock(const conduit_ctx *ctx)
{
    return clock_ms;
}

/* Time passes, a tenth of a second at a time, and what can happen meanwhile does. */
static void pass(unsigned ms)
{
    for (unsigned step = 100; ms > 0; ms -= step) {
        step = ms < step ? ms : step;
        cdt_turn(2);
        clock_ms += step;
        cdt_timers_fire(cdt_ctx);
    }
    cdt_turn(2);
}

static void on_failed(conduit_listener *of, const conduit_error *error, void *user);

static struct {
    int times;
    conduit_code code;
    char text[200];
} failed;

static void on_failed(conduit_listener *of, const conduit_error *error, void *user)
{
    failed.times++;
    failed.code = conduit_error_code(error);
    snprintf(failed.text, sizeof(failed.text), "%s", conduit_error_text(error));
}

static void meet(struct cdt_side *from, struct cdt_side *to, const char *uri,
                 const conduit_listen_options *how)
{
    cr_assert_eq(conduit_listen(cdt_ctx, uri, how, &cdt_side_handler, to, &listener), 0, "%s",
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
    cr_assert_eq(conduit_connect(cdt_ctx, conduit_listener_uri(listener, 0), &dialling,
                                 &cdt_side_handler, from, &from->conn),
                 0);
    cdt_await(&from->opened);
    cdt_await(&to->opened);
}

static void begin(void)
{
    memset(&failed, 0, sizeof(failed));
    dialling = (conduit_connect_options){.name = "a.example", .tls = cdt_client_tls()};
    listening = (conduit_listen_options){.tls = cdt_server_tls(), .on_failed = on_failed};
    cdt_open_ctx(NULL);
    clock_ms = 1000000;
    cdt_ctx->now_ms = read_clock;
    conduit_connect_options mine = dialling;
    dialling = (conduit_connect_options){0};
    meet(&other_client, &other_server, "tcp://127.0.0.1:0", NULL);
    dialling = mine;
}

static void end(void)
{
    cr_expect_str_eq(other_client.story, "o", "another connection noticed");
    cr_expect_str_eq(other_server.story, "o", "another connection noticed");
    cdt_side_expect(&other_server, 1000);
    cdt_side_send(&other_client, 1000);
    cdt_await(&other_server.complete);
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
    cdt_side_clear(&other_client);
    cdt_side_clear(&other_server);
    conduit_tls_unref(dialling.tls);
    conduit_tls_unref(listening.tls);
}

static void connect_over(const char *uri)
{
    char path[200];
    snprintf(path, sizeof(path), "%s%s", uri,
             uri[strlen(uri) - 1] == ':' ? cdt_test_path("s") : "");
    meet(&client, &server, path, &listening);
}

static const char *const stacks[] = {"tcp://127.0.0.1:0", "unix:", "inproc://x",
                                     "tls://127.0.0.1:0", "tls+unix:"};
#define FOR_EVERY_STACK(uri)                                                                       \
    for (size_t stack = 0; stack < sizeof(stacks) / sizeof(stacks[0]); stack++)                    \
        for (const char *uri = stacks[stack]; uri != NULL; uri = NULL)                             \
            if (strncmp(uri, "tls", 3) != 0 || cdt_have_tls())

static void expect_timeout(const struct cdt_side *side, const char *words)
{
    cr_assert(side->closed, "it is still open: no \"%s\"", words);
    cr_expect_eq(cdt_side_code(side), CONDUIT_ETIMEDOUT, "%s", cdt_side_text(side));
    cr_expect_not_null(strstr(cdt_side_text(side), words), "%s", cdt_side_text(side));
}

/* ---- silence ---- */

static void say(struct cdt_side *from, struct cdt_side *to)
{
    cdt_side_expect(to, to->received + 1);
    cdt_side_send(from, 1);
    cdt_await(&to->complete);
}

CDT_TEST(patience, silence_ends_a_connection_and_a_byte_either_way_is_none)
{
    FOR_EVERY_STACK(uri)
    {
        begin();
        dialling.conn.idle_timeout_ms = 1000;
        connect_over(uri);
        for (int round = 0; round < 3; round++) {
            pass(900);
            say(&server, &client);
            pass(900);
            say(&client, &server);
        }
        pass(900);
        cr_assert(!client.closed, "%s: %s", uri, cdt_side_text(&client));
        pass(200);
        expect_timeout(&client, "idle: no byte came or went for 1.0 s");
        end();
    }
}

CDT_TEST(patience, an_accepted_connection_has_them_too)
{
    begin();
    listening.conn.idle_timeout_ms = 1000;
    connect_over("tcp://127.0.0.1:0");
    pass(1100);
    expect_timeout(&server, "idle");
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_OK, "%s", cdt_side_text(&client));
    end();
}

CDT_TEST(patience, a_pause_of_ours_is_not_the_silence_of_the_peer)
{
    begin();
    dialling.conn.idle_timeout_ms = 1000;
    connect_over("tcp://127.0.0.1:0");
    conduit_pause(client.conn);
    cdt_side_send(&server, 10);
    pass(5000);
    cr_assert(!client.closed, "%s", cdt_side_text(&client));
    conduit_resume(client.conn);
    pass(900);
    cr_expect_eq(client.received, 10);
    cr_assert(!client.closed, "%s", cdt_side_text(&client));
    pass(200);
    expect_timeout(&client, "idle");
    end();
}

CDT_TEST(patience, one_byte_a_second_is_not_silence_but_a_life_is_finite)
{
    begin();
    dialling.conn.idle_timeout_ms = 2000;
    dialling.conn.lifetime_ms = 20000;
    connect_over("tcp://127.0.0.1:0");
    for (int i = 0; i < 19; i++) {
        pass(1000);
        cr_assert(!client.closed, "after %d s: %s", i + 1, cdt_side_text(&client));
        say(&server, &client);
    }
    pass(1000);
    expect_timeout(&client, "the 20.0 s for the whole connection are over");
    end();
}

/* ---- who does not read ---- */

CDT_TEST(patience, a_peer_that_stops_reading_is_given_up)
{
    FOR_EVERY_STACK(uri)
    {
        begin();
        dialling.conn.write_timeout_ms = 1000;
        connect_over(uri);
        pass(60000); /* nothing waits: nothing stalls */
        conduit_pause(server.conn);
        cdt_side_send(&client, MUCH);
        pass(900);
        cr_assert(!client.closed, "%s: %s", uri, cdt_side_text(&client));
        pass(200);
        expect_timeout(&client, "the peer took nothing for 1.0 s");
        end();
    }
}

static void pause_at_open(struct cdt_side *side, char event)
{
    if (event == 'o')
        conduit_pause(side->conn);
}

CDT_TEST(patience, what_was_queued_before_it_opened_waits_from_then_on)
{
    static const unsigned char bytes[MUCH];
    begin();
    server.react = pause_at_open;
    dialling.conn.write_timeout_ms = 1000;
    cr_assert_eq(conduit_listen(cdt_ctx, "tcp://127.0.0.1:0", &listening, &cdt_side_handler,
                                &server, &listener),
                 0);
    cr_assert_eq(conduit_connect(cdt_ctx, conduit_listener_uri(listener, 0), &dialling,
                                 &cdt_side_handler, &client, &client.conn),
                 0);
    cr_assert_eq(conduit_write(client.conn, bytes, sizeof(bytes)), 1);
    cdt_await(&client.opened);
    pass(900);
    cr_assert(!client.closed, "%s", cdt_side_text(&client));
    pass(200);
    expect_timeout(&client, "took nothing for 1.0 s");
    end();
}

/* Let the server take `n` bytes and no more. */
static void take(size_t n)
{
    cdt_side_expect(&server, server.received + n);
    conduit_resume(server.conn);
    while (!server.complete)
        cdt_turn(1);
    conduit_pause(server.conn);
}

CDT_TEST(patience, a_peer_that_reads_slowly_is_not)
{
    FOR_EVERY_STACK(uri)
    {
        begin();
        dialling.conn.write_timeout_ms = 1000;
        connect_over(uri);
        conduit_pause(server.conn);
        cdt_side_send(&client, MUCH / 8);
        for (int i = 0; i < 6; i++) {
            pass(900);
            cr_assert(!client.closed, "%s: %s", uri, cdt_side_text(&client));
            if (client.conn != NULL && conduit_queued(client.conn) > 0)
                take(MUCH / 64);
        }
        conduit_resume(server.conn);
        cdt_side_expect(&server, MUCH / 8);
        cdt_await(&server.complete);
        cr_expect(!server.garbled);
        pass(5000);
        cr_assert(!client.closed, "%s: %s", uri, cdt_side_text(&client));
        end();
    }
}

/* ---- closing ---- */

CDT_TEST(patience, a_close_that_goes_on_may_go_on_and_is_bounded)
{
    static const unsigned char bytes[MUCH * 2];
    static const unsigned readings[] = {0, 10, 1000}; /* how often the peer takes something */
    for (int row = 0; row < 3; row++) {
        begin();
        dialling.conn.write_limit = sizeof(bytes);
        connect_over("unix:");
        conduit_pause(server.conn);
        cr_assert_eq(conduit_write(client.conn, bytes, sizeof(bytes)), 1);
        conduit_close(client.conn);
        unsigned seconds = 0, n = 0;
        for (; !client.closed && seconds < 100; seconds++) {
            if (n++ < readings[row])
                take(256 * 1024);
            pass(1000);
        }
        static const unsigned ends[] = {2, 11, 30};
        cr_expect(seconds >= ends[row] && seconds <= ends[row] + 2, "row %d: %u s", row, seconds);
        expect_timeout(&client, row == 2 ? "closing took longer than 30.0 s"
                                         : "closing: the peer took nothing for 2.0 s");
        cr_expect_not_null(strstr(cdt_side_text(&client), "bytes were not sent"));
        end();
    }
}

CDT_TEST(patience, a_peer_that_does_not_answer_a_goodbye_is_left_without_an_error)
{
    begin();
    connect_over("tcp://127.0.0.1:0");
    server.stays_open = true;
    conduit_close(client.conn);
    pass(1900);
    cr_expect(!client.closed);
    pass(200);
    cr_expect(client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_OK, "%s", cdt_side_text(&client));
    end();
}

/* ---- one that ends nothing ---- */

CDT_TEST(patience, who_has_something_to_say_before_the_end_is_woken_once)
{
    begin();
    connect_over("tcp://127.0.0.1:0");
    cr_expect_eq(conduit_set_timeout(client.conn, CONDUIT_TIMEOUT_WAKE, 1000), 0);
    pass(900);
    cr_expect_eq(client.drains, 0);
    pass(200);
    cr_expect_eq(client.drains, 1);
    pass(60000);
    cr_expect_eq(client.drains, 1, "once");
    cr_expect(!client.closed, "%s", cdt_side_text(&client));
    conduit_set_timeout(client.conn, CONDUIT_TIMEOUT_WAKE, 1000);
    conduit_set_timeout(client.conn, CONDUIT_TIMEOUT_LIFETIME, 2000);
    pass(500);
    conduit_set_timeout(client.conn, CONDUIT_TIMEOUT_WAKE, 0);
    pass(1400);
    cr_expect_eq(client.drains, 1, "it was taken back");
    pass(200);
    expect_timeout(&client, "whole connection");
    end();
}

/* ---- setting them ---- */

CDT_TEST(patience, any_of_them_may_be_set_and_unset_at_any_time)
{
    begin();
    connect_over("tcp://127.0.0.1:0");
    cr_expect_eq(conduit_set_timeout(client.conn, CONDUIT_TIMEOUT_IDLE, 1000), 0);
    cr_expect_eq(conduit_set_timeout(client.conn, CONDUIT_TIMEOUT_LIFETIME, 1000), 0);
    pass(900);
    cr_expect_eq(conduit_set_timeout(client.conn, CONDUIT_TIMEOUT_IDLE, 0), 0);
    cr_expect_eq(conduit_set_timeout(client.conn, CONDUIT_TIMEOUT_LIFETIME, 0), 0);
    pass(60000);
    cr_assert(!client.closed, "%s", cdt_side_text(&client));
    conduit_pause(server.conn);
    cdt_side_send(&client, MUCH);
    pass(5000);
    cr_expect_eq(conduit_set_timeout(client.conn, CONDUIT_TIMEOUT_WRITE, 3000), 0);
    pass(2900);
    cr_assert(!client.closed, "it counts from when it was set: %s", cdt_side_text(&client));
    pass(200);
    expect_timeout(&client, "took nothing for 3.0 s");
    end();
}

CDT_TEST(patience, a_close_under_way_can_be_given_more_time)
{
    begin();
    connect_over("tcp://127.0.0.1:0");
    conduit_pause(server.conn);
    cdt_side_send(&client, MUCH);
    conduit_close(client.conn);
    pass(1900);
    cr_expect_eq(conduit_set_timeout(client.conn, CONDUIT_TIMEOUT_CLOSE, 5000), 0);
    pass(4900);
    cr_assert(!client.closed, "%s", cdt_side_text(&client));
    pass(200);
    expect_timeout(&client, "took nothing for 5.0 s");
    end();
}

static int asked_when_closed;

static void ask_when_closed(struct cdt_side *side, char event)
{
    if (event == 'c')
        asked_when_closed = conduit_set_timeout(side->conn, CONDUIT_TIMEOUT_IDLE, 1);
}

CDT_TEST(patience, what_cannot_be_set_is_refused)
{
    begin();
    connect_over("tcp://127.0.0.1:0");
    cr_expect_eq(conduit_set_timeout(client.conn, (conduit_timeout)99, 1000), CONDUIT_EINVAL);
    cr_expect_eq(conduit_set_timeout(client.conn, (conduit_timeout)0, 1000), CONDUIT_EINVAL);
    client.react = ask_when_closed;
    conduit_abort(client.conn);
    cr_expect_eq(conduit_set_timeout(client.conn, CONDUIT_TIMEOUT_IDLE, 1000), CONDUIT_ECLOSED);
    cdt_await(&client.closed);
    cr_expect_eq(asked_when_closed, CONDUIT_ECLOSED);
    end();
}

CDT_TEST(patience, a_life_may_end_before_it_opened)
{
    for (int later = 0; later < 2; later++) {
        begin();
        char uri[64];
        int port = 0, mute = cdt_raw_listen(AF_INET, 4, &port);
        snprintf(uri, sizeof(uri), "tls://127.0.0.1:%d", port);
        dialling.conn.lifetime_ms = later ? 0 : 3000;
        if (cdt_have_tls()) {
            cr_assert_eq(
                conduit_connect(cdt_ctx, uri, &dialling, &cdt_side_handler, &client, &client.conn),
                0);
            if (later)
                conduit_set_timeout(client.conn, CONDUIT_TIMEOUT_LIFETIME, 3000);
            pass(2900);
            cr_expect(!client.closed);
            pass(200);
            expect_timeout(&client, "the 3.0 s for the whole connection were over");
            cr_expect_eq(conduit_error_stage(client.why), CONDUIT_STAGE_TLS);
            cr_expect_str_eq(client.story, "c");
        }
        close(mute);
        end();
    }
}

CDT_TEST(patience, bytes_move_no_timer)
{
    FOR_EVERY_STACK(uri)
    {
        begin();
        dialling.conn = (conduit_conn_options){.idle_timeout_ms = 60000, .lifetime_ms = 600000};
        dialling.conn.write_timeout_ms = 30000;
        listening.conn = dialling.conn;
        connect_over(uri);
        uint64_t before = cdt_ctx->timer_order;
        for (int n = 0; n < 1000; n++) {
            say(&client, &server);
            say(&server, &client);
        }
        cr_expect_eq(cdt_ctx->timer_order, before, "%s: %lu timers were started", uri,
                     (unsigned long)(cdt_ctx->timer_order - before));
        end();
    }
}

/* ---- before there is a connection ---- */

static bool hung_up(int fd)
{
    char bytes[4096];
    ssize_t n;
    do
        n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    while (n > 0);
    return n == 0 || errno == ECONNRESET;
}

/* A ClientHello, as far as it matters here: its beginning. */
static const unsigned char hello[] = {0x16, 3, 1, 1, 0, 1, 0, 0, 0xfc, 3, 3, 1, 2, 3, 4,
                                      5,    6, 7, 8, 9, 1, 2, 3, 4,    5, 6, 7, 8, 9, 1};

static int hello_to(const char *uri, size_t n)
{
    cr_assert_eq(conduit_listen(cdt_ctx, uri, &listening, &cdt_side_handler, &server, &listener),
                 0);
    int fd = cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
    cr_assert_eq(send(fd, hello, n, 0), (ssize_t)n);
    cdt_turn(5);
    return fd;
}

CDT_TEST(patience, half_a_hello_and_one_drop_by_drop_end_at_the_deadline)
{
    CDT_SKIP_WITHOUT_TLS();
    for (int dripping = 0; dripping < 2; dripping++) {
        begin();
        int fd = hello_to("tls://127.0.0.1:0", 10);
        for (int s = 0; s < 9; s++) {
            pass(1000);
            cr_assert(!hung_up(fd), "after %d s", s + 1);
            if (dripping)
                cr_assert_eq(send(fd, hello + 10 + s, 1, 0), 1);
        }
        pass(900);
        cr_expect_eq(failed.times, 0);
        pass(200);
        cr_expect(hung_up(fd));
        cr_expect_eq(failed.times, 1);
        cr_expect_eq(failed.code, CONDUIT_ETIMEDOUT, "%s", failed.text);
        cr_expect_not_null(strstr(failed.text, "not opened within 10.0 s"), "%s", failed.text);
        cr_expect_str_eq(server.story, "");
        close(fd);
        end();
    }
}

/* ---- who breaks off ---- */

static void break_off(int fd)
{
    const struct linger at_once = {.l_onoff = 1};
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
    close(fd);
}

static int listen_plain(void)
{
    cr_assert_eq(conduit_listen(cdt_ctx, "tcp://127.0.0.1:0", &listening, &cdt_side_handler,
                                &server, &listener),
                 0);
    return cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
}

static void expect_reset(void)
{
    cdt_await(&server.closed);
    cr_expect_eq(cdt_side_code(&server), CONDUIT_ERESET, "%s", cdt_side_text(&server));
}

CDT_TEST(patience, a_reset_before_it_is_accepted)
{
    begin();
    break_off(listen_plain());
    for (int i = 0; i < 50 && !server.closed; i++)
        cdt_turn(1);
    cr_expect(server.closed || !server.opened, "it is thought to be open");
    end();
}

CDT_TEST(patience, silent_peers_make_room_for_one_who_speaks)
{
    enum { ROOM = 4 };
    int fds[ROOM];
    begin();
    listening.max_pending = ROOM;
    cr_assert_eq(conduit_listen(cdt_ctx, "tls://127.0.0.1:0", &listening, &cdt_side_handler,
                                &server, &listener),
                 0);
    const char *uri = conduit_listener_uri(listener, 0);
    for (int i = 0; i < ROOM; i++)
        fds[i] = cdt_raw_connect(cdt_port_of(uri));
    pass(5000);
    cr_expect_eq(failed.times, 0, "nobody waits, and one was given up: %s", failed.text);
    cr_assert_eq(conduit_connect(cdt_ctx, uri, &dialling, &cdt_side_handler, &client, &client.conn),
                 0);
    pass(1000);
    cdt_await(&server.opened);
    cr_expect(client.opened);
    cr_expect_eq(failed.times, 1);
    cr_expect_eq(failed.code, CONDUIT_ETIMEDOUT);
    cr_expect_not_null(strstr(failed.text, "given up for others"), "%s", failed.text);
    for (int i = 0; i < ROOM; i++)
        close(fds[i]);
    end();
}

/* The listener was the only one to be busy for a while, so that it might be asked on a guess; that
 * is nobody who waits. */
CDT_TEST(patience, a_handshake_is_not_given_up_while_nobody_waits_for_its_place)
{
    enum { MOST = 10 };
    int fds[MOST];
    CDT_SKIP_WITHOUT_TLS();
    for (int room = 1; room <= MOST; room++) {
        begin();
        connect_over("tcp://127.0.0.1:0");
        listening.max_pending = (unsigned)room;
        cr_assert_eq(
            conduit_listen(cdt_ctx, "tls://127.0.0.1:0", &listening, NULL, NULL, &listener), 0);
        for (int i = 0; i < room; i++) {
            fds[i] = cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
            cdt_turn(2);
        }
        say(&client, &server);
        pass(9000);
        cr_expect_eq(failed.times, 0, "room for %d: %s", room, failed.text);
        for (int i = 0; i < room; i++)
            close(fds[i]);
        end();
    }
}

CDT_TEST(patience, a_reset_in_the_middle_of_a_handshake)
{
    CDT_SKIP_WITHOUT_TLS();
    begin();
    break_off(hello_to("tls://127.0.0.1:0", 10));
    for (int i = 0; i < 1000 && failed.times == 0; i++)
        cdt_turn(1);
    cr_expect_eq(failed.times, 1);
    cr_expect_eq(failed.code, CONDUIT_ERESET, "%s", failed.text);
    end();
}

CDT_TEST(patience, a_reset_of_an_open_connection_and_of_one_that_is_paused)
{
    for (int paused = 0; paused < 2; paused++) {
        begin();
        int fd = listen_plain();
        cdt_await(&server.opened);
        if (paused)
            conduit_pause(server.conn);
        break_off(fd);
        if (paused) { /* nobody reads: writing finds out */
            cdt_turn(5);
            conduit_write(server.conn, "x", 1);
        }
        expect_reset();
        end();
    }
}

CDT_TEST(patience, a_reset_while_bytes_wait)
{
    begin();
    int fd = listen_plain();
    cdt_await(&server.opened);
    cdt_side_send(&server, MUCH);
    cdt_turn(5);
    break_off(fd);
    expect_reset();
    end();
}

CDT_TEST(patience, a_reset_while_closing)
{
    begin();
    int fd = listen_plain();
    cdt_await(&server.opened);
    cdt_side_send(&server, MUCH);
    conduit_close(server.conn);
    cdt_turn(5);
    break_off(fd);
    expect_reset();
    end();
}
