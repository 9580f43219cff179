/* SPDX-License-Identifier: ISC */
/*
 * The pool: who gets a path that was used before, who waits, who fails together, and what is done
 * about peers that end it, break it or speak while it is idle.
 *
 * A server counts whom it has accepted, so a test can tell a path that was used again from a new
 * one. The clock is the test's. Each test frees the pool at another moment, or leaves it to the
 * context.
 */
#include "context.h"
#include "harness.h"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 64 };

static struct cdt_side clients[MOST];
static int order[MOST], n_opened;
static conduit_pool *pool;
static conduit_pool_options pooling;
static conduit_connect_options dialling;
static conduit_listener *listener;
static char uri[256];
static uint64_t clock_ms;

/* What the server does: it answers each byte by a byte, unless it is told otherwise. */
static struct {
    conduit_conn *conns[MOST];
    int accepted, open;
    bool mute, ends, breaks;
} server;

static void server_open(conduit_conn *conn, void *user)
{
    cr_assert_lt(server.accepted, MOST);
    server.conns[server.accepted++] = conn;
    server.open++;
    conduit_conn_set_user(conn, &server.conns[server.accepted - 1]);
}

static void server_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    if (server.breaks)
        conduit_abort(conn);
    else if (!server.mute)
        conduit_write(conn, data, n);
    if (server.ends)
        conduit_close(conn);
}

static void server_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    server.open--;
    if (user != NULL)
        *(conduit_conn **)user = NULL;
}

static const conduit_handler serving = {
    .on_open = server_open, .on_data = server_data, .on_close = server_close};

static uint64_t read_clock(const conduit_ctx *ctx)
{
    return clock_ms;
}

static void pass(uint64_t ms)
{
    cdt_turn(3);
    clock_ms += ms;
    cdt_timers_fire(cdt_ctx);
    cdt_turn(3);
}

static void serve(const char *at, const conduit_listen_options *how)
{
    cr_assert_eq(conduit_listen(cdt_ctx, at, how, &serving, NULL, &listener), 0, "%s",
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
    snprintf(uri, sizeof(uri), "%s", conduit_listener_uri(listener, 0));
}

static void begin(void)
{
    cdt_open_ctx(NULL);
    clock_ms = 1000000;
    cdt_ctx->now_ms = read_clock;
    serve("tcp://127.0.0.1:0", NULL);
    pool = conduit_pool_new(cdt_ctx, &pooling);
    cr_assert_not_null(pool);
    dialling.pool = pool;
}

static void end(void)
{
    cdt_close_ctx();
    for (int i = 0; i < MOST; i++)
        cdt_side_clear(&clients[i]);
}

#define POOL_TEST(name)                                                                            \
    static void name(void);                                                                        \
    CDT_TEST(pool, name)                                                                           \
    {                                                                                              \
        begin();                                                                                   \
        name();                                                                                    \
        end();                                                                                     \
    }                                                                                              \
    static void name(void)

static void note_order(struct cdt_side *side, char event)
{
    if (event == 'o')
        order[n_opened++] = (int)(side - clients);
}

static void call_at(int i, const char *at)
{
    if (clients[i].react == NULL)
        clients[i].react = note_order;
    cr_assert_eq(
        conduit_connect(cdt_ctx, at, &dialling, &cdt_side_handler, &clients[i], &clients[i].conn),
        0, "%s", conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

static void call(int i)
{
    call_at(i, uri);
}

/* A byte and its echo. */
static void use(int i)
{
    cdt_await(&clients[i].opened);
    cdt_side_expect(&clients[i], clients[i].received + 1);
    conduit_write(clients[i].conn, "", 1);
    cdt_await(&clients[i].complete);
}

static void give_back(int i)
{
    conduit_release(clients[i].conn);
    cdt_await(&clients[i].closed);
    cr_expect_eq(cdt_side_code(&clients[i]), CONDUIT_OK, "%s", cdt_side_text(&clients[i]));
}

static void call_use_give_back(int i)
{
    call(i);
    use(i);
    give_back(i);
}

static conduit_pool_counters count(void)
{
    conduit_pool_counters counters;
    conduit_pool_count(pool, &counters);
    return counters;
}

/* ---- what is the same ---- */

POOL_TEST(the_next_connect_gets_what_was_released)
{
    call_use_give_back(0);
    call_use_give_back(1);
    call_use_give_back(2);
    cr_expect_eq(server.accepted, 1);
    cr_expect_eq(count().reused, 2);
    cr_expect_eq(count().idle, 1);
}

POOL_TEST(without_a_pool_a_release_is_a_close)
{
    dialling.pool = NULL;
    call(0);
    use(0);
    give_back(0);
    for (int i = 0; i < 1000 && server.open > 0; i++)
        cdt_turn(1);
    cr_expect_eq(server.open, 0);
    cr_expect_eq(count().idle, 0);
}

/* Each row is another way to be another origin. */
POOL_TEST(nothing_that_says_who_or_how_may_differ)
{
    conduit_tls *one = conduit_tls_new();
    char other[256], port[300], user[300];
    const conduit_connect_options plain = dialling;
    snprintf(other, sizeof(other), "tcp://127.0.0.1:%d?nodelay=0", cdt_port_of(uri));
    snprintf(port, sizeof(port), "redis://127.0.0.1:%d/0", cdt_port_of(uri));
    snprintf(user, sizeof(user), "redis://al:secret@127.0.0.1:%d/0", cdt_port_of(uri));
    call_use_give_back(0);
    struct {
        const char *at;
        conduit_connect_options how;
    } rows[] = {
        {uri, {.pool_key = "al"}},
        {uri, {.endpoint_params = "nodelay=0"}},
        {uri, {.connect_to = uri}},
        {uri, {.family = AF_INET}},
        {uri, {.tls = one}},
        {other, {0}},
        {port, {0}},
        {user, {0}},
    };
    enum { ROWS = sizeof(rows) / sizeof(*rows) };
    for (int i = 0; i < ROWS; i++) {
        dialling = rows[i].how;
        dialling.pool = pool;
        call_at(i + 1, rows[i].at);
        use(i + 1);
        cr_expect(!conduit_conn_reused(clients[i + 1].conn), "row %d", i);
        give_back(i + 1);
    }
    cr_expect_eq(server.accepted, 1 + ROWS);
    dialling = plain;
    call_use_give_back(20);
    cr_expect_eq(server.accepted, 1 + ROWS, "what is equal is equal");
    conduit_tls_unref(one);
}

POOL_TEST(path_and_query_of_an_application_are_not_the_origin)
{
    char a[300], b[300];
    snprintf(a, sizeof(a), "http://127.0.0.1:%d/a?x=1", cdt_port_of(uri));
    snprintf(b, sizeof(b), "http://127.0.0.1:%d/b#c", cdt_port_of(uri));
    call_at(0, a);
    use(0);
    give_back(0);
    call_at(1, b);
    use(1);
    cr_expect(conduit_conn_reused(clients[1].conn));
    cr_expect_str_eq(conduit_conn_info(clients[1].conn)->uri, b, "the info is of this use");
}

POOL_TEST(a_rule_that_leads_elsewhere_makes_another_origin)
{
    char place[300];
    snprintf(place, sizeof(place), "tcp://127.0.0.1:%d", cdt_port_of(uri));
    cr_assert_eq(conduit_ctx_add_rule(cdt_ctx, "a.example", place), 0);
    call_at(0, "http://a.example/");
    use(0);
    give_back(0);
    serve("tcp://127.0.0.1:0", NULL);
    snprintf(place, sizeof(place), "tcp://127.0.0.1:%d", cdt_port_of(uri));
    cr_assert_eq(conduit_ctx_add_rule(cdt_ctx, "a.example", place), 0);
    call_at(1, "http://a.example/");
    use(1);
    cr_expect(!conduit_conn_reused(clients[1].conn));
}

/* ---- what is idle ---- */

POOL_TEST(idle_ends_with_its_time)
{
    call_use_give_back(0);
    pass(59 * 1000);
    cr_expect_eq(count().idle, 1);
    call_use_give_back(1);
    pass(59 * 1000);
    cr_expect_eq(count().idle, 1, "it counts from the last release");
    pass(2 * 1000);
    cr_expect_eq(count().idle, 0);
    cr_expect_eq(count().expired, 1);
    call_use_give_back(2);
    cr_expect_eq(server.accepted, 2);
}

POOL_TEST(age_ends_it_too)
{
    call(0);
    use(0);
    pass(599 * 1000);
    give_back(0);
    cr_expect_eq(count().idle, 1);
    pass(2 * 1000);
    cr_expect_eq(count().idle, 0);
    call(1);
    use(1);
    pass(601 * 1000);
    give_back(1);
    cr_expect_eq(count().idle, 0, "it was too old to be kept");
}

POOL_TEST(too_many_idle_the_oldest_goes)
{
    pooling.max_idle = 2;
    conduit_pool_free(pool);
    pool = dialling.pool = conduit_pool_new(cdt_ctx, &pooling);
    for (int i = 0; i < 3; i++) {
        call(i);
        use(i);
    }
    for (int i = 0; i < 3; i++)
        give_back(i);
    cr_expect_eq(count().idle, 2);
    for (int i = 0; i < 100 && server.conns[0] != NULL; i++)
        cdt_turn(1);
    cr_expect_null(server.conns[0], "the first to be released is the first to go");
    cr_expect_not_null(server.conns[1]);
    cr_expect_not_null(server.conns[2]);
}

POOL_TEST(an_idle_connection_keeps_no_loop_running)
{
    int port = 0, fd = cdt_raw_listen(AF_INET, 5, &port);
    char at[64];
    snprintf(at, sizeof(at), "tcp://127.0.0.1:%d", port);
    conduit_listener_close(listener);
    call_at(0, at);
    cdt_await(&clients[0].opened);
    give_back(0);
    cdt_turn(3);
    cr_expect_eq(count().idle, 1);
    cr_expect(!uv_loop_alive(&cdt_loop));
    close(fd);
}

POOL_TEST(it_is_dropped_when_the_peer_ends_it)
{
    call_use_give_back(0);
    conduit_close(server.conns[0]);
    for (int i = 0; i < 100 && count().idle > 0; i++)
        cdt_turn(1);
    cr_expect_eq(count().dropped, 1);
}

POOL_TEST(it_is_dropped_when_the_peer_breaks_it)
{
    call_use_give_back(0);
    conduit_abort(server.conns[0]);
    for (int i = 0; i < 100 && count().idle > 0; i++)
        cdt_turn(1);
    cr_expect_eq(count().dropped, 1);
}

POOL_TEST(it_is_dropped_when_the_peer_speaks_out_of_turn)
{
    call_use_give_back(0);
    conduit_write(server.conns[0], "HTTP/1.1 408 Request Timeout", 28);
    for (int i = 0; i < 100 && count().idle > 0; i++)
        cdt_turn(1);
    cr_expect_eq(count().dropped, 1);
    call(1);
    use(1);
    cr_expect_eq(clients[1].received, 1, "nobody else's bytes");
}

/* The loop has had no chance to see it: the connect looks itself. */
POOL_TEST(it_is_looked_at_before_it_is_used_again)
{
    int port = 0, fd = cdt_raw_listen(AF_INET, 5, &port);
    char at[64];
    snprintf(at, sizeof(at), "tcp://127.0.0.1:%d", port);
    for (int way = 0; way < 3; way++) {
        call_at(way, at);
        cdt_await(&clients[way].opened);
        int peer = accept(fd, NULL, NULL);
        give_back(way);
        call_at(10 + way, at); /* asked for, and not begun */
        if (way == 0)
            cr_assert_eq(send(peer, "x", 1, 0), 1);
        if (way == 1)
            shutdown(peer, SHUT_WR);
        if (way == 2)
            setsockopt(peer, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        if (way == 2)
            close(peer);
        cdt_await(&clients[10 + way].opened);
        cr_expect(!conduit_conn_reused(clients[10 + way].conn), "way %d", way);
        cr_expect_eq(count().dropped, (uint64_t)way + 1);
        conduit_conn_free(clients[10 + way].conn);
        if (way != 2)
            close(peer);
        close(accept(fd, NULL, NULL));
    }
    close(fd);
}

POOL_TEST(what_is_not_at_rest_is_not_kept)
{
    server.mute = true;
    for (int i = 0; i < 4; i++) {
        call(i);
        cdt_await(&clients[i].opened);
    }
    conduit_end(clients[0].conn);
    for (size_t n = 0; n < 64; n++) {
        static const char much[256 * 1024];
        if (conduit_queued(clients[1].conn) == 0)
            conduit_write(clients[1].conn, much, sizeof(much));
    }
    cr_assert_gt(conduit_queued(clients[1].conn), 0);
    conduit_pause(clients[2].conn);
    conduit_close(clients[3].conn);
    for (int i = 0; i < 4; i++)
        if (i != 2)
            conduit_release(clients[i].conn);
    cr_expect_eq(count().idle, 0);
    conduit_release(clients[2].conn);
    cr_expect_eq(count().idle, 1, "a pause is its user's, and not its path's");
    for (int i = 0; i < 4; i++)
        cdt_await(&clients[i].closed);
    call(5);
    cdt_await(&clients[5].opened);
    cr_expect(conduit_conn_reused(clients[5].conn));
    conduit_conn_free(clients[5].conn);
}

static void release_in_on_data(struct cdt_side *side, char event)
{
    if (event == 'o')
        conduit_write(side->conn, "", 1);
    if (event == 'd')
        conduit_release(side->conn);
}

static void call_again_in_on_close(struct cdt_side *side, char event)
{
    release_in_on_data(side, event);
    if (event == 'c' && side - clients < 9) {
        side[1].react = call_again_in_on_close;
        call((int)(side - clients) + 1);
    }
}

POOL_TEST(everything_may_be_done_from_inside_callbacks)
{
    clients[0].react = call_again_in_on_close;
    call(0);
    cdt_await(&clients[9].closed);
    cr_expect_eq(server.accepted, 1);
    cr_expect_eq(count().reused, 9);
    for (int i = 0; i < 10; i++)
        cr_expect_str_eq(clients[i].story, "odc");
}

static void free_the_pool(struct cdt_side *side, char event)
{
    if (event == 'd')
        conduit_pool_free(pool);
    release_in_on_data(side, event);
}

POOL_TEST(a_pool_may_be_freed_from_inside_a_callback)
{
    call_use_give_back(1);
    clients[2].react = free_the_pool;
    call(2);
    call(3); /* another is opened for it */
    cdt_await(&clients[2].closed);
    use(3);
    give_back(3); /* a close: the pool is gone */
    cr_expect_eq(cdt_side_code(&clients[2]), CONDUIT_OK);
}

/* ---- limits ---- */

static void limit(uint32_t per_origin)
{
    conduit_pool_free(pool);
    pooling.max_per_origin = per_origin;
    pool = dialling.pool = conduit_pool_new(cdt_ctx, &pooling);
}

POOL_TEST(who_waits_is_served_in_the_order_of_asking)
{
    limit(2);
    for (int i = 0; i < 20; i++)
        call(i);
    use(0);
    use(1);
    cdt_turn(20);
    cr_expect_eq(server.accepted, 2);
    cr_expect_eq(count().waiting, 18);
    for (int i = 0; i < 20; i++) {
        use(i);
        give_back(i);
    }
    cr_expect_eq(server.accepted, 2);
    for (int i = 0; i < 20; i++)
        cr_expect_eq(order[i], i, "%d came at place %d", order[i], i);
}

POOL_TEST(nobody_overtakes_who_waits)
{
    limit(1);
    call(0);
    use(0);
    call(1);
    cdt_turn(3);
    conduit_release(clients[0].conn);
    call(2);
    use(1);
    cr_expect(!clients[2].opened);
    give_back(1);
    use(2);
}

POOL_TEST(a_connection_that_is_closed_makes_room)
{
    limit(1);
    call(0);
    use(0);
    call(1);
    call(2);
    cdt_turn(3);
    conduit_close(clients[0].conn);
    use(1);
    conduit_conn_free(clients[1].conn);
    use(2);
    cr_expect_eq(server.accepted, 3);
}

POOL_TEST(a_cancel_is_no_loss_to_who_is_behind)
{
    limit(1);
    call(0);
    use(0);
    for (int i = 1; i < 6; i++)
        call(i);
    cdt_turn(3);
    conduit_close(clients[1].conn);     /* while it waits */
    conduit_conn_free(clients[2].conn); /* ... and in silence */
    conduit_release(clients[0].conn);   /* granted to 3, */
    conduit_conn_free(clients[3].conn); /* who goes before the loop turns */
    use(4);
    cr_expect(conduit_conn_reused(clients[4].conn));
    cr_expect_eq(cdt_side_code(&clients[1]), CONDUIT_ECANCELED);
    cr_expect_eq(count().waiting, 1);
    give_back(4);
    use(5);
    cr_expect_eq(server.accepted, 1);
}

/* At each turn of the loop from the call to the end of a use. */
POOL_TEST(a_cancel_at_every_stage_leaves_the_pool_whole)
{
    limit(1);
    for (int turns = 0; turns < 12; turns++) {
        call(0);
        call(1);
        call(2);
        cdt_turn(turns);
        conduit_conn_free(clients[0].conn);
        clients[0].closed = true;
        conduit_abort(clients[1].conn);
        use(2);
        give_back(2);
        cdt_await(&clients[1].closed);
        cr_expect_eq(count().used + count().opening + count().waiting, 0, "%d turns", turns);
        for (int i = 0; i < 3; i++)
            cdt_side_clear(&clients[i]);
        n_opened = 0;
    }
}

POOL_TEST(too_many_waiting_is_an_error)
{
    pooling.max_waiting = 3;
    limit(1);
    for (int i = 0; i < 6; i++)
        call(i);
    use(0);
    cdt_await(&clients[4].closed);
    cdt_await(&clients[5].closed);
    cr_expect_eq(cdt_side_code(&clients[4]), CONDUIT_ELIMIT);
    cr_expect(!clients[3].closed);
}

POOL_TEST(waiting_has_a_deadline)
{
    limit(1);
    call(0);
    use(0);
    dialling.timeout_ms = 5000;
    call(1);
    pass(4999);
    cr_expect(!clients[1].closed);
    pass(2);
    cr_expect_eq(cdt_side_code(&clients[1]), CONDUIT_ETIMEDOUT);
    cr_expect_not_null(strstr(cdt_side_text(&clients[1]), "became free"), "%s",
                       cdt_side_text(&clients[1]));
    cr_expect_eq(count().waiting, 0);
}

POOL_TEST(the_end_of_the_pool_is_the_end_of_waiting)
{
    limit(1);
    call(0);
    use(0);
    call(1);
    call(2);
    cdt_turn(3);
    conduit_pool_free(pool);
    cdt_await(&clients[1].closed);
    cdt_await(&clients[2].closed);
    cr_expect_eq(cdt_side_code(&clients[1]), CONDUIT_ECANCELED);
    use(0);
}

/* What was its own for a moment has gone with the pool: it dials. */
POOL_TEST(who_was_just_given_a_path_outlives_the_pool)
{
    limit(1);
    call_use_give_back(0);
    call(1);
    use(1);
    call(2);
    cdt_turn(3);
    cr_expect_eq(count().waiting, 1);
    conduit_release(clients[1].conn);
    conduit_pool_free(pool);
    use(2);
    cr_expect(!conduit_conn_reused(clients[2].conn));
    cr_expect_eq(server.accepted, 2);
}

POOL_TEST(who_was_just_given_a_path_may_be_cancelled_after_the_pool)
{
    limit(1);
    call(0);
    use(0);
    call(1);
    cdt_turn(3);
    conduit_release(clients[0].conn);
    conduit_pool_free(pool);
    conduit_close(clients[1].conn);
    cdt_await(&clients[1].closed);
    cr_expect_eq(cdt_side_code(&clients[1]), CONDUIT_ECANCELED);
}

POOL_TEST(who_was_just_given_a_path_ends_with_the_context)
{
    limit(1);
    call(0);
    use(0);
    call(1);
    cdt_turn(3);
    conduit_release(clients[0].conn);
}

POOL_TEST(the_end_of_the_context_is_the_end_of_all)
{
    limit(2);
    call(0);
    use(0);
    call(1);
    use(1);
    call(2);
    call(3);
    give_back(1);
    call(4);
    conduit_ctx_free(cdt_ctx);
    cdt_ctx = NULL;
    for (int i = 0; i < 5; i++)
        cdt_await(&clients[i].closed);
    cr_expect_eq(cdt_side_code(&clients[3]), CONDUIT_ECANCELED);
}

static int counted_at_the_end;

static void count_and_free(struct cdt_side *side, char event)
{
    conduit_pool_counters count;
    if (event != 'c')
        return;
    conduit_pool_count(pool, &count);
    if (++counted_at_the_end == 2)
        conduit_pool_free(pool);
}

POOL_TEST(a_pool_is_good_until_the_last_on_close_of_the_end)
{
    limit(1);
    call(0);
    use(0);
    call(1);
    clients[0].react = clients[1].react = count_and_free;
    conduit_ctx_free(cdt_ctx);
    cdt_ctx = NULL;
    cdt_await(&clients[0].closed);
    cdt_await(&clients[1].closed);
    cr_expect_eq(counted_at_the_end, 2);
}

static bool all_gone;

static void on_drained(conduit_ctx *ctx, void *user)
{
    all_gone = true;
}

POOL_TEST(a_drain_keeps_nothing_idle)
{
    cdt_ctx->on_drained = on_drained;
    call_use_give_back(0);
    call(1);
    use(1);
    conduit_ctx_drain(cdt_ctx, 60000);
    cr_expect_eq(count().idle, 0);
    give_back(1);
    cr_expect_eq(count().idle, 0);
    for (int i = 0; i < MOST; i++)
        conduit_conn_free(server.conns[i]);
    cdt_await(&all_gone);
}

/* ---- failing ---- */

POOL_TEST(those_who_wait_for_a_dial_that_fails_fail_with_it)
{
    char at[64];
    limit(1);
    snprintf(at, sizeof(at), "tcp://127.0.0.1:%d", cdt_closed_port());
    for (int i = 0; i < 10; i++)
        call_at(i, at);
    for (int i = 0; i < 10; i++) {
        cdt_await(&clients[i].closed);
        cr_expect_eq(cdt_side_code(&clients[i]), CONDUIT_EREFUSED, "%s",
                     cdt_side_text(&clients[i]));
        cr_expect_eq(conduit_error_ref(clients[i].why), clients[0].why, "one dial, one error");
        conduit_error_unref(clients[i].why);
    }
}

POOL_TEST(while_there_is_a_connection_each_has_its_own_dial)
{
    limit(2);
    call(0);
    use(0);
    conduit_listener_close(listener);
    for (int i = 1; i < 4; i++)
        call(i);
    for (int i = 1; i < 4; i++) {
        cdt_await(&clients[i].closed);
        cr_expect_eq(cdt_side_code(&clients[i]), CONDUIT_EREFUSED);
    }
    cr_expect_neq(clients[1].why, clients[2].why);
    cr_expect_neq(clients[2].why, clients[3].why);
    use(0);
}

/* ---- may it be tried again? ---- */

static conduit_retry retry_at_close;

static void note_retry(struct cdt_side *side, char event)
{
    if (event == 'c')
        retry_at_close = conduit_conn_retry(side->conn);
}

static void ask_in_vain(int i)
{
    clients[i].react = note_retry;
    call(i);
    cdt_await(&clients[i].opened);
    conduit_write(clients[i].conn, "GET", 3);
    cdt_await(&clients[i].closed);
}

POOL_TEST(a_used_one_that_ends_without_an_answer_is_stale)
{
    call_use_give_back(0);
    server.mute = server.ends = true;
    ask_in_vain(1);
    cr_expect_eq(retry_at_close, CONDUIT_RETRY_STALE);
}

POOL_TEST(a_used_one_that_is_broken_without_an_answer_is_stale)
{
    call_use_give_back(0);
    server.breaks = true;
    ask_in_vain(1);
    cr_expect_eq(cdt_side_code(&clients[1]), CONDUIT_ERESET);
    cr_expect_eq(retry_at_close, CONDUIT_RETRY_STALE);
}

POOL_TEST(a_fresh_one_that_ends_without_an_answer_is_not)
{
    server.mute = server.ends = true;
    ask_in_vain(1);
    cr_expect_eq(retry_at_close, CONDUIT_RETRY_UNSAFE);
}

POOL_TEST(one_that_has_begun_to_answer_is_not)
{
    call_use_give_back(0);
    server.ends = true;
    ask_in_vain(1);
    cr_expect_eq(clients[1].received, 3);
    cr_expect_eq(retry_at_close, CONDUIT_RETRY_UNSAFE);
}

POOL_TEST(our_own_patience_proves_nothing)
{
    server.mute = true;
    call(0);
    cdt_await(&clients[0].opened);
    give_back(0);
    dialling.conn.idle_timeout_ms = 1000;
    clients[1].react = note_retry;
    call(1);
    cdt_await(&clients[1].opened);
    cr_expect(conduit_conn_reused(clients[1].conn));
    conduit_write(clients[1].conn, "GET", 3);
    pass(1);
    pass(2000);
    cdt_await(&clients[1].closed);
    cr_expect_eq(cdt_side_code(&clients[1]), CONDUIT_ETIMEDOUT);
    cr_expect_eq(retry_at_close, CONDUIT_RETRY_UNSAFE);
    dialling.conn.idle_timeout_ms = 0;
}

POOL_TEST(what_never_left_is_safe)
{
    char at[64];
    snprintf(at, sizeof(at), "tcp://127.0.0.1:%d", cdt_closed_port());
    retry_at_close = CONDUIT_RETRY_UNSAFE;
    clients[0].react = note_retry;
    call_at(0, at);
    conduit_write(clients[0].conn, "GET", 3);
    cdt_await(&clients[0].closed);
    cr_expect_eq(retry_at_close, CONDUIT_RETRY_SAFE);
}

POOL_TEST(a_second_try_gets_a_fresh_one)
{
    limit(1);
    call_use_give_back(0);
    dialling.pool_flags = CONDUIT_POOL_FRESH;
    call(1);
    use(1);
    cr_expect(!conduit_conn_reused(clients[1].conn));
    cr_expect_eq(server.accepted, 2, "the idle one made room");
    call(2); /* fresh, and has to wait: the path that comes back is not for it */
    cdt_turn(3);
    conduit_release(clients[1].conn);
    use(2);
    cr_expect_eq(server.accepted, 3);
    dialling.pool_flags = 0;
}

/* ---- sharing ---- */

static void share_when_open(struct cdt_side *side, char event)
{
    if (event == 'o')
        cr_expect_eq(conduit_pool_share(side->conn, true), 0);
}

POOL_TEST(one_is_opened_for_all_who_share)
{
    dialling.pool_flags = CONDUIT_POOL_SHARES;
    clients[0].react = share_when_open;
    for (int i = 0; i < 5; i++)
        call(i);
    for (int i = 1; i < 5; i++) {
        cdt_await(&clients[i].closed);
        cr_expect_eq(cdt_side_code(&clients[i]), CONDUIT_EAGAIN);
    }
    cr_expect_eq(conduit_pool_shared(pool, uri, &dialling), clients[0].conn);
    cr_expect_null(conduit_pool_shared(pool, "tcp://127.0.0.1:1", &dialling));
    cr_expect_null(conduit_pool_shared(pool, "nonsense", &dialling));
    call(6);
    cdt_await(&clients[6].closed);
    cr_expect_eq(cdt_side_code(&clients[6]), CONDUIT_EAGAIN);
    cr_expect_eq(server.accepted, 1);
    conduit_pool_share(clients[0].conn, false);
    cr_expect_null(conduit_pool_shared(pool, uri, &dialling));
    call(7);
    use(7);
    cr_expect_eq(server.accepted, 2);
    dialling.pool_flags = 0;
}

POOL_TEST(who_would_share_and_cannot_gets_one_of_its_own)
{
    dialling.pool_flags = CONDUIT_POOL_SHARES;
    for (int i = 0; i < 5; i++)
        call(i);
    for (int i = 0; i < 5; i++)
        use(i);
    cr_expect_eq(server.accepted, 5);
    dialling.pool_flags = 0;
}

POOL_TEST(a_shared_one_that_ends_is_shared_no_more)
{
    dialling.pool_flags = CONDUIT_POOL_SHARES;
    clients[0].react = share_when_open;
    call(0);
    cdt_await(&clients[0].opened);
    conduit_abort(clients[0].conn);
    cr_expect_null(conduit_pool_shared(pool, uri, &dialling));
    call(1);
    use(1);
    dialling.pool_flags = 0;
}

/* ---- what cannot be ---- */

POOL_TEST(a_pool_of_another_context_is_refused)
{
    conduit_ctx *other = conduit_ctx_new(NULL);
    cr_expect_eq(conduit_connect(other, uri, &dialling, NULL, NULL, NULL), CONDUIT_EINVAL);
    conduit_ctx_free(other);
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    const conduit_adopt_options adopting = {.connect = dialling};
    cr_expect_eq(conduit_adopt(cdt_ctx, pair[0], &adopting, NULL, NULL, NULL), CONDUIT_EINVAL);
    close(pair[0]);
    close(pair[1]);
}

/* STARTTLS makes it another connection than its origin says. */
POOL_TEST(what_was_upgraded_is_not_kept)
{
    CDT_SKIP_WITHOUT_TLS();
    conduit_tls *theirs = cdt_server_tls();
    dialling.tls = cdt_client_tls();
    dialling.name = "a.example";
    call(0);
    use(0);
    const conduit_upgrade_options as_client = {.tls = dialling.tls, .name = "a.example"};
    const conduit_upgrade_options as_server = {.tls = theirs};
    cr_assert_eq(conduit_upgrade(server.conns[0], &as_server), 0);
    cr_assert_eq(conduit_upgrade(clients[0].conn, &as_client), 0);
    use(0);
    give_back(0);
    cr_expect_eq(count().idle, 0);
    conduit_tls_unref(theirs);
    conduit_tls_unref(dialling.tls);
    dialling.tls = NULL;
    dialling.name = NULL;
}

/* TLS 1.3 speaks after the handshake, when nobody has asked: that is not out of turn. */
POOL_TEST(tickets_do_not_count_as_speaking)
{
    CDT_SKIP_WITHOUT_TLS();
    const conduit_listen_options how = {.tls = cdt_server_tls()};
    serve("tls://127.0.0.1:0", &how);
    dialling.tls = cdt_client_tls();
    dialling.name = "a.example";
    call(0);
    cdt_await(&clients[0].opened);
    give_back(0);
    cdt_turn(50);
    cr_expect_eq(count().idle, 1);
    call(1);
    use(1);
    cr_expect(conduit_conn_reused(clients[1].conn));
    conduit_tls_unref(how.tls);
    conduit_tls_unref(dialling.tls);
    dialling.tls = NULL;
    dialling.name = NULL;
}
