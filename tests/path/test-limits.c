/* SPDX-License-Identifier: ISC */
/*
 * A listener and the crowd: shortages of descriptors, limits of connections and peers, and counters.
 */
#include "listening.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- crowds and shortages ---- */

static int n_opened, n_wanted;
static bool all_opened;

static void count_open(conduit_conn *conn, void *user)
{
    all_opened = ++n_opened >= n_wanted;
}

static const conduit_handler counting = {.on_open = count_open}, quiet;

CDT_TEST(limits, a_crowd_that_comes_at_once_is_let_in)
{
    enum { CROWD = 200 };
    int fds[CROWD];
    begin();
    n_wanted = CROWD;
    cr_assert_eq(conduit_listen(cdt_ctx, "tcp://127.0.0.1:0", &options, &counting, NULL, &listener),
                 0);
    for (int i = 0; i < CROWD; i++)
        fds[i] = cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
    cdt_await(&all_opened);
    cr_expect_eq(n_opened, CROWD);
    cr_expect_eq(failed.times, 0);
    end();
    for (int i = 0; i < CROWD; i++) {
        cr_expect(hung_up(fds[i]));
        close(fds[i]);
    }
}

/* One who came by himself is taken for one of many such: who comes with others then is not to wait
 * for anything but the turns of those before him. */
CDT_TEST(limits, who_comes_together_after_one_alone_is_let_in_turn_by_turn)
{
    enum { CROWD = 40 };
    char uris[4][160] = {"tcp://127.0.0.1:0", "inproc://x", "vchan://crowd/x"};
    setenv("XDG_RUNTIME_DIR", cdt_test_directory(), 1);
    snprintf(uris[3], sizeof(uris[3]), "unix:%s", cdt_test_path("crowd"));
    for (int row = 0; row < 4; row++) {
        begin();
        all_opened = false;
        n_opened = 0;
        n_wanted = 1;
        cr_assert_eq(conduit_listen(cdt_ctx, uris[row], NULL, &counting, NULL, &listener), 0);
        const char *uri = conduit_listener_uri(listener, 0);
        for (int i = 0; i <= CROWD; i++) {
            cr_assert_eq(conduit_connect(cdt_ctx, uri, NULL, &quiet, NULL, NULL), 0);
            if (i > 0)
                continue;
            cdt_await(&all_opened);
            conduit_listener_pause(listener);
        }
        cdt_turn(10);
        cr_expect_eq(n_opened, 1, "%s", uri);
        conduit_listener_resume(listener);
        cdt_turn(CROWD + 10);
        cr_expect_eq(n_opened, 1 + CROWD, "%s: %d", uri, n_opened);
        end();
    }
}

static void limit_descriptors(rlim_t most)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = most;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* A crowd of which three find a descriptor; returns the first that did not. */
enum { CROWD = 20 };
static int crowd[CROWD];
static struct rlimit limit_before;

static void run_short(void)
{
    n_wanted = CROWD;
    cr_assert_eq(conduit_listen(cdt_ctx, "tcp://127.0.0.1:0", &options, &counting, NULL, &listener),
                 0);
    for (int i = 0; i < CROWD; i++)
        crowd[i] = cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit_before), 0);
    int next = dup(0); /* the lowest that is free: there is room for three */
    close(next);
    limit_descriptors((rlim_t)next + 3);
}

static int count_hung_up(void)
{
    int n = 0;
    for (int i = 0; i < CROWD; i++)
        n += hung_up(crowd[i]);
    return n;
}

static void disperse(void)
{
    end();
    for (int i = 0; i < CROWD; i++)
        close(crowd[i]);
}

CDT_TEST(limits, running_out_of_descriptors_is_survived_without_spinning)
{
    begin();
    run_short();
    double cpu = cdt_cpu_seconds();
    unsigned turns = cdt_turns_within(450);
    cpu = cdt_cpu_seconds() - cpu;
    cr_expect_eq(n_opened, 3);
    cr_expect_eq(failed.times, 1, "one shortage, and on_failed came %d times", failed.times);
    cr_expect_eq(failed.code, CONDUIT_ELIMIT, "%s", failed.text);
    cr_expect_eq(failed.number, EMFILE, "%s", failed.text);
    cr_expect_eq(failed.stage, CONDUIT_STAGE_DIAL);
    cr_expect_lt(turns, 60, "%u turns", turns);
    cr_expect_lt(cpu, 0.2, "%.3f s of CPU in 0.45 s of shortage", cpu);
    limit_descriptors(limit_before.rlim_cur);
    double since = milliseconds();
    cdt_await(&all_opened);
    cr_expect_lt(milliseconds() - since, 500, "it is slow to notice that there is room");
    cr_expect_eq(n_opened, CROWD, "who waited for less than a second was turned away");
    cr_expect_eq(failed.times, 1);
    conduit_counters counters;
    conduit_listener_counters(listener, &counters);
    cr_expect_eq(counters.shortages, 1);
    cr_expect_eq(counters.shed, 0);
    disperse();
}

CDT_TEST(limits, a_long_shortage_is_told_to_who_waits)
{
    conduit_counters counters;
    begin();
    run_short();
    cdt_turns_within(1300);
    conduit_listener_counters(listener, &counters);
    limit_descriptors(limit_before.rlim_cur);
    cr_expect_eq(n_opened, 3);
    cr_expect_eq(count_hung_up(), CROWD - 3);
    cr_expect_eq(counters.shed, CROWD - 3);
    cr_expect_eq(counters.open, 3);
    cr_expect_eq(counters.shortages, 1);
    cr_expect_eq(failed.times, 1);
    call(conduit_listener_uri(listener, 0));
    for (int i = 0; i < 1000 && n_opened == 3; i++)
        cdt_turn(1);
    cr_expect_eq(n_opened, 4);
    disperse();
}

/* ---- limits ---- */

static struct cdt_side guests[4];
static int n_guests;

static void greet(conduit_conn *conn, void *user)
{
    cr_assert_lt(n_guests, 4);
    conduit_conn_set_user(conn, &guests[n_guests]);
    guests[n_guests].conn = conn;
    n_guests++;
}

static void part(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct cdt_side *side = user;
    side->closed = true;
    side->conn = NULL;
}

static const conduit_handler hosting = {.on_open = greet, .on_close = part};

static conduit_listener *host(const char *uri)
{
    conduit_listener *made = NULL;
    cr_assert_eq(conduit_listen(cdt_ctx, uri, &options, &hosting, NULL, &made), 0, "%s",
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
    return made;
}

static void leave(int i)
{
    conduit_conn_free(guests[i].conn);
    cdt_turn(5);
}

CDT_TEST(limits, no_more_connections_at_once_than_allowed_and_the_rest_waits)
{
    static const char *const uris[] = {"tcp://127.0.0.1:0", "inproc://x"};
    for (int row = 0; row < 2; row++) {
        conduit_conn *callers[4];
        begin();
        n_guests = 0;
        options.max_connections = 2;
        listener = host(uris[row]);
        for (int i = 0; i < 4; i++)
            cr_assert_eq(conduit_connect(cdt_ctx, conduit_listener_uri(listener, 0), NULL, NULL,
                                         NULL, &callers[i]),
                         0);
        cdt_turn(30);
        cr_expect_eq(n_guests, 2, "%s: %d", uris[row], n_guests);
        unsigned turns = cdt_turns_within(50);
        cr_expect_lt(turns, 20, "%s: %u turns while they wait", uris[row], turns);
        leave(0);
        cr_expect_eq(n_guests, 3);
        leave(1);
        cr_expect_eq(n_guests, 4);
        cr_expect_eq(failed.times, 0, "%s", failed.text);
        end();
    }
}

CDT_TEST(limits, listeners_may_share_their_limits)
{
    begin();
    n_guests = 0;
    options.max_connections = 1;
    listener = host("tcp://127.0.0.1:0");
    options.max_connections = 100;
    options.limits_of = listener;
    conduit_listener *second = host("tcp://127.0.0.1:0");
    int first_fd = cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
    cdt_turn(10);
    int second_fd = cdt_raw_connect(cdt_port_of(conduit_listener_uri(second, 0)));
    cdt_turn(10);
    cr_expect_eq(n_guests, 1);
    conduit_listener_close(listener);
    listener = NULL;
    cdt_turn(10);
    cr_expect_eq(n_guests, 1, "the guest of a listener that is gone still counts");
    leave(0);
    cr_expect_eq(n_guests, 2);
    conduit_ctx *other = conduit_ctx_new(NULL);
    options.limits_of = second;
    cr_expect_eq(conduit_listen(other, "inproc://x", &options, NULL, NULL, NULL), CONDUIT_EINVAL);
    conduit_ctx_free(other);
    close(first_fd);
    close(second_fd);
    end();
}

CDT_TEST(limits, who_comes_too_often_is_turned_away_and_nobody_else)
{
    static const char *const uris[] = {"tcp://127.0.0.1:0", "tcp://[::1]:0", "unix:"};
    for (int row = 0; row < 3; row++) {
        char uri[200];
        conduit_counters counters;
        struct cdt_side callers[3] = {0};
        if (row == 1 && !cdt_have_ip6())
            continue;
        begin();
        n_guests = 0;
        options.max_per_peer = 2;
        snprintf(uri, sizeof(uri), "%s%s", uris[row], row == 2 ? cdt_test_path("s") : "");
        listener = host(uri);
        for (int i = 0; i < 3; i++) {
            cr_assert_eq(conduit_connect(cdt_ctx, conduit_listener_uri(listener, 0), NULL,
                                         &cdt_side_handler, &callers[i], NULL),
                         0);
            cdt_turn(10);
        }
        cdt_await(&callers[2].closed);
        cr_expect_eq(n_guests, 2);
        cr_expect(!callers[0].closed && !callers[1].closed, "%s", uris[row]);
        conduit_listener_counters(listener, &counters);
        cr_expect_eq(counters.shed, 1);
        cr_expect_eq(counters.open, 2);
        cr_expect_eq(failed.times, 0, "%s", failed.text);
        leave(0);
        call(conduit_listener_uri(listener, 0));
        cdt_await(&client.opened);
        cdt_turn(10);
        cr_expect_eq(n_guests, 3);
        cr_expect(!client.closed, "%s", cdt_side_text(&client));
        end();
        for (int i = 0; i < 3; i++)
            cdt_side_clear(&callers[i]);
    }
}

CDT_TEST(limits, another_address_is_another_peer)
{
    begin();
    n_guests = 0;
    options.max_per_peer = 1;
    listener = host("tcp://127.0.0.1:0");
    const char *params[] = {"bind=127.0.0.2", "bind=127.0.0.3", "bind=127.0.0.2"};
    struct cdt_side callers[3] = {0};
    for (int i = 0; i < 3; i++) {
        dialling.endpoint_params = params[i];
        cr_assert_eq(conduit_connect(cdt_ctx, conduit_listener_uri(listener, 0), &dialling,
                                     &cdt_side_handler, &callers[i], NULL),
                     0, "%s", conduit_error_text(conduit_ctx_error(cdt_ctx)));
        cdt_turn(10);
    }
    cdt_await(&callers[2].closed);
    cr_expect(!callers[0].closed && !callers[1].closed);
    cr_expect_eq(n_guests, 2);
    end();
    for (int i = 0; i < 3; i++)
        cdt_side_clear(&callers[i]);
}

CDT_TEST(limits, a_handshake_that_fails_gives_its_place_back)
{
    CDT_SKIP_WITHOUT_TLS();
    begin();
    use_tls();
    options.max_connections = 1;
    options.max_per_peer = 1;
    const char *uri = listen_at("tls://127.0.0.1:0");
    for (int i = 0; i < 3; i++) {
        int fd = cdt_raw_connect(cdt_port_of(uri));
        cr_assert_eq(send(fd, "garbage", 7, 0), 7);
        await_failures(i + 1);
        close(fd);
        expect_service(uri);
    }
    conduit_counters counters;
    conduit_listener_counters(listener, &counters);
    cr_expect_eq(counters.failed, 3);
    cr_expect_eq(counters.accepted, 3);
    cr_expect_eq(counters.shed, 0);
    cr_expect_eq(counters.open + counters.opening, 0);
    end();
}

CDT_TEST(limits, a_paused_listener_lets_them_wait)
{
    static const char *const uris[] = {"tcp://127.0.0.1:0", "inproc://x"};
    for (int row = 0; row < 2; row++) {
        begin();
        const char *uri = listen_at(uris[row]);
        conduit_listener_pause(listener);
        conduit_listener_pause(listener);
        call(uri);
        cdt_turn(10);
        cr_expect(!server.opened, "%s", uri);
        cr_expect_lt(cdt_turns_within(50), 20);
        conduit_listener_resume(listener);
        cdt_await(&server.opened);
        end();
    }
}

/* ---- counters ---- */

CDT_TEST(limits, what_happened_is_counted)
{
    conduit_counters of_ctx, of_listener;
    begin();
    call(listen_at("tcp://127.0.0.1:0"));
    conduit_ctx_counters(cdt_ctx, &of_ctx);
    cr_expect_eq(of_ctx.opening, 1);
    cdt_await(&client.opened);
    cdt_await(&server.opened);
    cdt_side_expect(&server, 1000);
    cdt_side_send(&client, 1000);
    cdt_await(&server.complete);
    for (int over = 0; over < 2; over++) { /* open, and closed */
        conduit_ctx_counters(cdt_ctx, &of_ctx);
        conduit_listener_counters(listener, &of_listener);
        cr_expect_eq(of_ctx.open, over ? 0 : 2);
        cr_expect_eq(of_ctx.opening, 0);
        cr_expect_eq(of_ctx.connected, 1);
        cr_expect_eq(of_ctx.accepted, 1);
        cr_expect_eq(of_ctx.failed, 0);
        cr_expect_eq(of_ctx.bytes_out, 1000);
        cr_expect_eq(of_ctx.bytes_in, 1000);
        cr_expect_eq(of_listener.open, over ? 0 : 1);
        cr_expect_eq(of_listener.accepted, 1);
        cr_expect_eq(of_listener.connected, 0);
        cr_expect_eq(of_listener.bytes_in, 1000);
        cr_expect_eq(of_listener.bytes_out, 0);
        if (!over) {
            conduit_end(client.conn);
            cdt_await(&client.closed);
            cdt_await(&server.closed);
        }
    }
    char uri[64];
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", cdt_closed_port());
    cdt_side_clear(&client);
    call(uri);
    cdt_await(&client.closed);
    conduit_ctx_counters(cdt_ctx, &of_ctx);
    cr_expect_eq(of_ctx.failed, 1);
    cr_expect_eq(of_ctx.connected, 1);
    end();
}
