/* SPDX-License-Identifier: ISC */
/*
 * Connecting, from a name to an open connection or to an error that says why not.
 *
 * A resolver of the test's own answers for "scripted": what, and when, is a list of steps. What is
 * dialled is on loopback: a listener, a closed port, a black hole (a socket whose backlog is full,
 * so that SYNs vanish), or a mute server that takes connections and says nothing.
 */
#include "harness.h"
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the scripted resolver ---- */

struct step {
    unsigned at_ms;
    enum { ADD, ADDRESS, RANK, SETTLED, DONE, FAIL } what;
    const char *endpoint; /* ADD; of ADDRESS only the host counts */
    int family;           /* SETTLED; of RANK the rank */
};

enum { MOST_STEPS = 128 };

static struct {
    struct step steps[MOST_STEPS];
    size_t n, next;
    conduit_query *query; /* while one is under way */
    uint64_t since_ms;
    uv_timer_t timer;
    int n_started, n_done, n_canceled;
} script;

static void play(void);

static void on_step(uv_timer_t *timer)
{
    play();
}

static void end_query(int code)
{
    conduit_query *query = script.query;
    script.query = NULL;
    script.n_done++;
    if (code == CONDUIT_ETEMP)
        conduit_query_done(query, code, "test", 42, "out of order");
    else
        conduit_query_done(query, code, NULL, 0, NULL);
}

static void add_address(const char *host)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
        conduit_query_add_address(script.query, (struct sockaddr *)&in, 60);
    else if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
        conduit_query_add_address(script.query, (struct sockaddr *)&in6, 60);
}

static void do_step(const struct step *step)
{
    const conduit_endpoint *endpoint = NULL;
    switch (step->what) {
    case ADD:
        cr_assert_eq(conduit_endpoint_parse(step->endpoint, &endpoint, NULL), 0);
        conduit_query_add(script.query, endpoint, 60);
        conduit_endpoint_unref(endpoint);
        break;
    case ADDRESS:
        add_address(step->endpoint);
        break;
    case RANK:
        conduit_query_set_rank(script.query, step->family);
        break;
    case SETTLED:
        conduit_query_settled(script.query, step->family);
        break;
    case DONE:
        end_query(0);
        break;
    case FAIL:
        end_query(CONDUIT_ETEMP);
        break;
    }
}

/* Every step that is due. */
static void play(void)
{
    while (script.query != NULL && script.next < script.n) {
        const struct step *step = &script.steps[script.next];
        uint64_t now = uv_hrtime() / 1000000 - script.since_ms;
        if (step->at_ms > now) {
            uv_update_time(&cdt_loop);
            uv_timer_start(&script.timer, on_step, step->at_ms - now, 0);
            return;
        }
        script.next++;
        do_step(step);
    }
}

static int attach(conduit_ctx *ctx, const conduit_ctx_options *options, void **state)
{
    return uv_timer_init(conduit_ctx_loop(ctx), &script.timer);
}

static void detach(void *state)
{
    uv_close((uv_handle_t *)&script.timer, NULL);
}

static bool accepts(const conduit_query *query, void *state)
{
    return strcmp(conduit_query_host(query), "scripted") == 0;
}

static void start(conduit_query *query, void *state)
{
    cr_assert_null(script.query, "one query at a time");
    script.query = query;
    script.next = 0;
    script.since_ms = uv_hrtime() / 1000000;
    script.n_started++;
    play();
}

static void cancel(conduit_query *query, void *state)
{
    cr_expect_eq(query, script.query, "not what was asked was canceled");
    uv_timer_stop(&script.timer);
    script.query = NULL;
    script.n_canceled++;
}

static const conduit_resolver scripted = {
    .name = "scripted",
    .attach = attach,
    .detach = detach,
    .accepts = accepts,
    .start = start,
    .cancel = cancel,
};

static void answer(unsigned at_ms, const char *endpoint)
{
    script.steps[script.n++] = (struct step){.at_ms = at_ms, .what = ADD, .endpoint = endpoint};
}

static void finish(unsigned at_ms)
{
    script.steps[script.n++] = (struct step){.at_ms = at_ms, .what = DONE};
}

/* Of what is answered after it. */
static void rank(int to)
{
    script.steps[script.n++] = (struct step){.what = RANK, .family = to};
}

static void settle(unsigned at_ms, int family)
{
    script.steps[script.n++] = (struct step){.at_ms = at_ms, .what = SETTLED, .family = family};
}

/* ---- places ---- */

/* "tcp://127.0.0.1:PORT"; lives as long as the test. */
static const char *place(int family, int port)
{
    static char texts[16][40];
    static size_t next;
    char *text = texts[next++ % 16];
    snprintf(text, sizeof(texts[0]), family == AF_INET ? "tcp://127.0.0.1:%d" : "tcp://[::1]:%d",
             port);
    return text;
}

static const char *closed_place(void)
{
    return place(AF_INET, cdt_closed_port());
}

struct hole {
    int fds[8], n;
};

/* Fill the backlog of a socket that never accepts, until a connection does not get through. */
static const char *dig(struct hole *hole)
{
    int port = 0;
    hole->fds[0] = cdt_raw_listen(AF_INET, 0, &port);
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (hole->n = 1; hole->n < 8; hole->n++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        hole->fds[hole->n] = fd;
        cr_assert(connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0 || errno == EINPROGRESS);
        struct pollfd ready = {.fd = fd, .events = POLLOUT};
        if (poll(&ready, 1, 20) == 0) {
            hole->n++;
            return place(AF_INET, port);
        }
    }
    cr_skip_test("no black hole is to be had here");
    return NULL;
}

static void fill_in(struct hole *hole)
{
    while (hole->n > 0)
        close(hole->fds[--hole->n]);
}

/* ---- the surroundings ---- */

static struct cdt_side client, server;
static conduit_connect_options options;
static char attempts[16][128]; /* what the trace says, in order */
static int n_attempts;

static void on_trace(void *user, double at_ms, const char *event, const char *text)
{
    if (strcmp(event, "attempt") == 0 && n_attempts < 16)
        snprintf(attempts[n_attempts++], sizeof(attempts[0]), "%s", text);
}

static void begin(void)
{
    script.n = 0;
    script.n_started = script.n_done = script.n_canceled = 0;
    n_attempts = 0;
    options = (conduit_connect_options){0};
    cdt_open_ctx(&(conduit_ctx_options){.trace = on_trace});
    cr_assert_eq(conduit_ctx_add_resolver(cdt_ctx, &scripted), 0);
}

static void end(void)
{
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
    conduit_tls_unref(options.tls);
}

/* Where it listens; lives as long as the listener. */
static const char *serve(const char *uri)
{
    conduit_listener *listener;
    conduit_listen_options listening = {.tls = cdt_server_tls()};
    int code = conduit_listen(cdt_ctx, uri, &listening, &cdt_side_handler, &server, &listener);
    cr_assert_eq(code, 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
    conduit_tls_unref(listening.tls);
    return conduit_listener_uri(listener, 0);
}

static void call(const char *uri)
{
    cr_assert_eq(conduit_connect(cdt_ctx, uri, &options, &cdt_side_handler, &client, &client.conn),
                 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

static void trust(void)
{
    options.tls = cdt_client_tls();
    options.name = "a.example";
}

static void expect_failed(conduit_code code, conduit_stage stage)
{
    cdt_await(&client.closed);
    cr_expect_str_eq(client.story, "c");
    cr_expect_eq(cdt_side_code(&client), code, "%s", cdt_side_text(&client));
    cr_assert_not_null(client.why);
    cr_expect_eq(conduit_error_stage(client.why), stage, "%s", cdt_side_text(&client));
}

static double milliseconds(void)
{
    return (double)uv_hrtime() / 1e6;
}

/* ---- the race ---- */

CDT_TEST(connect, a_refused_attempt_is_followed_by_the_next_at_once)
{
    begin();
    const char *good = serve("tcp://127.0.0.1:0");
    answer(0, closed_place());
    answer(0, good);
    finish(0);
    call("tcp://scripted:1");
    cdt_await(&client.opened);
    cr_expect_lt(conduit_conn_info(client.conn)->open_ms, 240, "it waited for the attempt delay");
    cr_expect_str_eq(conduit_conn_info(client.conn)->peer, good);
    cr_expect_eq(n_attempts, 2);
    end();
}

CDT_TEST(connect, a_black_hole_costs_a_quarter_of_a_second)
{
    struct hole hole;
    begin();
    const char *good = serve("tcp://127.0.0.1:0");
    answer(0, dig(&hole));
    answer(0, good);
    finish(0);
    call("tcp://scripted:1");
    cdt_await(&client.opened);
    double open_ms = conduit_conn_info(client.conn)->open_ms;
    cr_expect(open_ms >= 240 && open_ms < 1500, "open after %.1f ms", open_ms);
    cr_expect_eq(n_attempts, 2);
    cr_expect_str_eq(conduit_conn_info(client.conn)->peer, good);
    end();
    fill_in(&hole);
}

CDT_TEST(connect, the_attempt_delay_may_be_another)
{
    struct hole hole;
    begin();
    options.attempt_delay_ms = 40;
    const char *good = serve("tcp://127.0.0.1:0");
    answer(0, dig(&hole));
    answer(0, good);
    finish(0);
    call("tcp://scripted:1");
    cdt_await(&client.opened);
    double open_ms = conduit_conn_info(client.conn)->open_ms;
    cr_expect(open_ms >= 39 && open_ms < 240, "open after %.1f ms", open_ms);
    end();
    fill_in(&hole);
}

CDT_TEST(connect, many_dead_addresses_make_room_for_a_live_one)
{
    struct hole holes[8];
    begin();
    options.attempt_delay_ms = 10;
    const char *good = serve("tcp://127.0.0.1:0");
    for (int i = 0; i < 8; i++)
        answer(0, dig(&holes[i]));
    answer(0, good);
    finish(0);
    call("tcp://scripted:1");
    cdt_await(&client.opened);
    cr_expect_str_eq(conduit_conn_info(client.conn)->peer, good);
    cr_expect_eq(n_attempts, 9);
    const conduit_error *failed = conduit_conn_info(client.conn)->failed;
    cr_expect_eq(conduit_error_count(failed), 3, "three of six make room for three");
    cr_expect_eq(conduit_error_code(failed), CONDUIT_ETIMEDOUT);
    end();
    for (int i = 0; i < 8; i++)
        fill_in(&holes[i]);
}

CDT_TEST(connect, ipv6_that_completes_tcp_and_swallows_tls_loses_to_ipv4)
{
    CDT_SKIP_WITHOUT_TLS();
    if (!cdt_have_ip6())
        cr_skip_test("no IPv6");
    int port = 0, mute = cdt_raw_listen(AF_INET6, 16, &port);
    begin();
    const char *good = serve("tls://127.0.0.1:0");
    answer(0, place(AF_INET6, port));
    answer(0, place(AF_INET, cdt_port_of(good)));
    finish(0);
    trust();
    call("tls://scripted:1");
    cdt_await(&client.opened);
    double open_ms = conduit_conn_info(client.conn)->open_ms;
    cr_expect(open_ms >= 240 && open_ms < 1500, "open after %.1f ms", open_ms);
    cr_expect_eq(n_attempts, 2);
    cr_expect_not_null(strstr(attempts[0], "[::1]"), "IPv6 goes first: %s", attempts[0]);
    cr_expect_str_eq(conduit_conn_info(client.conn)->stack, "tls+tcp");
    end();
    close(mute);
}

CDT_TEST(connect, an_address_that_is_answered_twice_is_tried_once)
{
    begin();
    const char *nobody = closed_place();
    for (int i = 0; i < 5; i++)
        answer(0, nobody);
    finish(0);
    call("tcp://scripted:1");
    expect_failed(CONDUIT_EREFUSED, CONDUIT_STAGE_DIAL);
    cr_expect_eq(n_attempts, 1);
    end();
}

/* ---- answers that take their time ---- */

CDT_TEST(connect, an_address_of_two_ranks_has_the_better_one)
{
    begin();
    const char *offered = closed_place(), *other = closed_place();
    rank(9);
    answer(0, other);
    answer(0, offered);
    rank(1);
    answer(0, offered);
    finish(0);
    call("tcp://scripted:1");
    cr_assert(cdt_test_run_until(&cdt_loop, &client.closed));
    cr_assert_eq(n_attempts, 2);
    cr_expect_not_null(strstr(attempts[0], offered), "%s", attempts[0]);
    end();
}

CDT_TEST(connect, the_last_rank_there_is_comes_last_and_the_first_first)
{
    begin();
    const char *last = closed_place(), *middle = closed_place(), *first = closed_place();
    rank(INT_MAX);
    answer(0, last);
    rank(1);
    answer(0, middle);
    rank(INT_MIN);
    answer(0, first);
    finish(0);
    call("tcp://scripted:1");
    cr_assert(cdt_test_run_until(&cdt_loop, &client.closed));
    cr_assert_eq(n_attempts, 3);
    cr_expect_not_null(strstr(attempts[0], first), "%s", attempts[0]);
    cr_expect_not_null(strstr(attempts[2], last), "%s", attempts[2]);
    end();
}

CDT_TEST(connect, ipv4_that_answers_first_waits_for_ipv6)
{
    if (!cdt_have_ip6())
        cr_skip_test("no IPv6");
    begin();
    const char *good = serve("tcp://localhost:0"); /* both families, one port */
    int port = cdt_port_of(good);
    answer(20, place(AF_INET, port));
    answer(40, place(AF_INET6, port));
    finish(40);
    call("tcp://scripted:1");
    cdt_await(&client.opened);
    cr_expect_str_eq(conduit_conn_info(client.conn)->peer, place(AF_INET6, port));
    cr_expect_geq(conduit_conn_info(client.conn)->resolve_ms, 19);
    end();
}

CDT_TEST(connect, ipv6_that_answers_late_is_not_waited_for)
{
    begin();
    int port = cdt_port_of(serve("tcp://127.0.0.1:0"));
    answer(0, place(AF_INET, port));
    answer(5000, place(AF_INET6, port));
    call("tcp://scripted:1");
    cdt_turn(20);
    cr_expect(!client.opened, "IPv6 was not waited for");
    cdt_await(&client.opened);
    double open_ms = conduit_conn_info(client.conn)->open_ms;
    cr_expect(open_ms >= 45 && open_ms < 1500, "open after %.1f ms", open_ms);
    cr_expect_eq(script.n_canceled, 1, "the rest of the answer is still awaited");
    end();
}

CDT_TEST(connect, no_ipv6_addresses_is_an_answer_too)
{
    begin();
    int port = cdt_port_of(serve("tcp://127.0.0.1:0"));
    answer(0, place(AF_INET, port));
    settle(0, AF_INET6);
    call("tcp://scripted:1");
    cdt_turn(20);
    cr_expect(client.opened, "it waits for IPv6 although there is none");
    end();
}

CDT_TEST(connect, late_answers_join_a_race_that_is_being_lost)
{
    begin();
    const char *good = serve("tcp://127.0.0.1:0");
    answer(0, closed_place());
    settle(0, AF_INET6);
    answer(120, good);
    finish(120);
    call("tcp://scripted:1");
    cdt_await(&client.opened);
    cr_expect_eq(n_attempts, 2);
    cr_expect_str_eq(conduit_conn_info(client.conn)->peer, good);
    end();
}

/* ---- errors ---- */

CDT_TEST(connect, the_error_has_a_child_for_each_attempt_in_order)
{
    const char *places[3];
    begin();
    for (int i = 0; i < 3; i++) {
        places[i] = closed_place();
        answer(0, places[i]);
    }
    finish(0);
    call("tcp://scripted:1");
    expect_failed(CONDUIT_EREFUSED, CONDUIT_STAGE_DIAL);
    cr_assert_eq(conduit_error_count(client.why), 3);
    for (size_t i = 0; i < 3; i++) {
        const conduit_error *child = conduit_error_child(client.why, i);
        cr_expect_str_eq(conduit_error_endpoint(child), places[i]);
        cr_expect_eq(conduit_error_code(child), CONDUIT_EREFUSED);
        cr_expect_eq(conduit_error_number(child), ECONNREFUSED);
        cr_expect_str_eq(conduit_error_source(child), "errno");
        cr_expect_not_null(strstr(conduit_error_text(child), places[i]));
        cr_expect_eq(conduit_error_count(child), 0);
    }
    cr_expect_null(conduit_error_child(client.why, 3));
    cr_expect_not_null(strstr(cdt_side_text(&client), "3 attempts"), "%s", cdt_side_text(&client));
    end();
}

CDT_TEST(connect, the_headline_is_the_attempt_that_got_furthest)
{
    CDT_SKIP_WITHOUT_TLS();
    begin();
    options.tls = cdt_client_tls();
    const char *good = serve("tls://127.0.0.1:0");
    int wrong = cdt_port_of(good);
    answer(0, closed_place());
    answer(0, place(AF_INET, wrong)); /* its certificate is not for "scripted" */
    answer(0, closed_place());
    finish(0);
    call("tls://scripted:1");
    expect_failed(CONDUIT_ETRUST, CONDUIT_STAGE_TLS);
    cr_expect_eq(conduit_error_count(client.why), 3);
    cr_expect_eq(cdt_port_of(conduit_error_endpoint(client.why)), wrong);
    cr_expect_eq(conduit_error_stage(conduit_error_child(client.why, 0)), CONDUIT_STAGE_DIAL);
    cr_expect_eq(conduit_error_stage(conduit_error_child(client.why, 1)), CONDUIT_STAGE_TLS);
    end();
}

CDT_TEST(connect, a_thousand_addresses_are_as_many_attempts_as_are_worth_it)
{
    static char texts[40][32];
    int port = cdt_closed_port();
    begin();
    for (int i = 0; i < 40; i++) {
        snprintf(texts[i], sizeof(texts[i]), "tcp://127.0.0.%d:%d", i + 1, port);
        answer(0, texts[i]);
    }
    finish(0);
    call("tcp://scripted:1");
    expect_failed(CONDUIT_EREFUSED, CONDUIT_STAGE_DIAL);
    cr_expect_eq(conduit_error_count(client.why), 24);
    end();
}

CDT_TEST(connect, a_certificate_that_was_not_accepted_stays_the_headline)
{
    CDT_SKIP_WITHOUT_TLS();
    static const unsigned timeouts[] = {10000, 150}; /* of the whole; of the second attempt alone */
    for (int i = 0; i < 2; i++) {
        struct hole hole;
        int port = 0, mute = cdt_raw_listen(AF_INET, 16, &port);
        begin();
        options.tls = cdt_client_tls();
        options.attempt_timeout_ms = i == 0 ? 100 : 0;
        options.timeout_ms = timeouts[i];
        int wrong = cdt_port_of(serve("tls://127.0.0.1:0")); /* not for "scripted" */
        answer(0, place(AF_INET, wrong));
        answer(0, place(AF_INET, port));
        answer(0, dig(&hole));
        finish(0);
        call("tls://scripted:1");
        expect_failed(CONDUIT_ETRUST, CONDUIT_STAGE_TLS);
        cr_expect_eq(cdt_port_of(conduit_error_endpoint(client.why)), wrong);
        cr_expect_geq(conduit_error_count(client.why), 2);
        end();
        fill_in(&hole);
        close(mute);
    }
}

CDT_TEST(connect, what_failed_before_one_opened_is_not_hidden)
{
    CDT_SKIP_WITHOUT_TLS();
    begin();
    int good = cdt_port_of(serve("tls://127.0.0.1:0"));
    answer(0, closed_place());
    answer(0, place(AF_INET, good));
    finish(0);
    trust();
    call("tls://scripted:1");
    cdt_await(&client.opened);
    const conduit_error *failed = conduit_conn_info(client.conn)->failed;
    cr_assert_not_null(failed);
    cr_expect_eq(conduit_error_code(failed), CONDUIT_EREFUSED);
    cr_expect_str_eq(conduit_error_endpoint(failed), attempts[0] + strlen("1. "));
    end();

    begin();
    answer(0, place(AF_INET, cdt_port_of(serve("tls://127.0.0.1:0"))));
    finish(0);
    trust();
    call("tls://scripted:1");
    cdt_await(&client.opened);
    cr_expect_null(conduit_conn_info(client.conn)->failed);
    end();
}

CDT_TEST(connect, what_the_resolver_says_is_what_the_caller_hears)
{
    begin();
    script.steps[script.n++] = (struct step){.what = FAIL};
    call("tcp://scripted:1");
    expect_failed(CONDUIT_ETEMP, CONDUIT_STAGE_RESOLVE);
    cr_expect_str_eq(conduit_error_source(client.why), "test");
    cr_expect_eq(conduit_error_number(client.why), 42);
    cr_expect_not_null(strstr(cdt_side_text(&client), "scripted: out of order"), "%s",
                       cdt_side_text(&client));
    end();

    begin();
    finish(0);
    call("tcp://scripted:1");
    expect_failed(CONDUIT_ENONAME, CONDUIT_STAGE_RESOLVE);
    end();
}

CDT_TEST(connect, addresses_are_tried_even_if_the_answer_breaks_off)
{
    begin();
    answer(0, serve("tcp://127.0.0.1:0"));
    script.steps[script.n++] = (struct step){.what = FAIL};
    call("tcp://scripted:1");
    cdt_await(&client.opened);
    end();

    begin();
    answer(0, closed_place());
    script.steps[script.n++] = (struct step){.what = FAIL};
    call("tcp://scripted:1");
    expect_failed(CONDUIT_EREFUSED, CONDUIT_STAGE_DIAL);
    end();
}

/* ---- deadlines ---- */

CDT_TEST(connect, the_whole_has_a_deadline)
{
    struct hole hole;
    begin();
    options.timeout_ms = 100;
    answer(0, dig(&hole));
    settle(0, AF_INET6);
    double since = milliseconds();
    call("tcp://scripted:1");
    expect_failed(CONDUIT_ETIMEDOUT, CONDUIT_STAGE_DIAL);
    double took = milliseconds() - since;
    cr_expect(took >= 99 && took < 1500, "%.1f ms", took);
    cr_expect_eq(script.n_canceled, 1);
    end();

    begin();
    options.timeout_ms = 100;
    call("tcp://scripted:1");
    expect_failed(CONDUIT_ETIMEDOUT, CONDUIT_STAGE_RESOLVE);
    cr_expect_eq(script.n_canceled, 1);
    end();
    fill_in(&hole);
}

CDT_TEST(connect, each_attempt_has_a_deadline_its_layers_included)
{
    CDT_SKIP_WITHOUT_TLS();
    struct hole hole;
    int port = 0, mute = cdt_raw_listen(AF_INET, 16, &port);
    begin();
    options.attempt_timeout_ms = 60;
    trust();
    answer(0, dig(&hole));
    answer(0, place(AF_INET, port));
    finish(0);
    double since = milliseconds();
    call("tls://scripted:1");
    expect_failed(CONDUIT_ETIMEDOUT, CONDUIT_STAGE_TLS);
    double took = milliseconds() - since;
    cr_expect(took >= 119 && took < 1500, "%.1f ms", took);
    cr_assert_eq(conduit_error_count(client.why), 2);
    const conduit_error *first = conduit_error_child(client.why, 0);
    cr_expect_eq(conduit_error_code(first), CONDUIT_ETIMEDOUT);
    cr_expect_eq(conduit_error_stage(first), CONDUIT_STAGE_DIAL);
    end();
    fill_in(&hole);
    close(mute);
}

CDT_TEST(connect, a_resolver_that_never_answers_has_a_deadline)
{
    begin();
    options.resolve_timeout_ms = 60;
    double since = milliseconds();
    call("tcp://scripted:1");
    expect_failed(CONDUIT_ETIMEDOUT, CONDUIT_STAGE_RESOLVE);
    double took = milliseconds() - since;
    cr_expect(took >= 59 && took < 1500, "%.1f ms", took);
    cr_expect_eq(script.n_canceled, 1);
    cr_expect_not_null(strstr(cdt_side_text(&client), "scripted did not answer"), "%s",
                       cdt_side_text(&client));
    end();
}

CDT_TEST(connect, the_deadline_of_resolving_ends_with_the_last_answer_that_was_used)
{
    begin();
    options.resolve_timeout_ms = 60;
    answer(0, serve("tcp://127.0.0.1:0"));
    call("tcp://scripted:1");
    cdt_await(&client.opened);
    cr_expect_eq(script.n_canceled, 1);
    cdt_turns_within(100);
    cr_expect_str_eq(client.story, "o");
    cr_expect_eq(script.n_canceled, 1);
    end();
}

/* ---- giving up ---- */

static struct hole cancel_hole;
static int mute_fd;

static void at_once(void)
{
    call("tcp://scripted:1");
}

static void while_resolving(void)
{
    call("tcp://scripted:1");
    cdt_turn(5);
    cr_assert_eq(script.n_started, 1);
}

static void while_dialling(void)
{
    answer(0, dig(&cancel_hole));
    settle(0, AF_INET6);
    call("tcp://scripted:1");
    cdt_turn(5);
    cr_assert_eq(n_attempts, 1);
}

/* A server that takes connections and says nothing. */
static void while_shaking_hands(void)
{
    char byte;
    int port = 0, listening = cdt_raw_listen(AF_INET, 16, &port);
    trust();
    answer(0, place(AF_INET, port));
    settle(0, AF_INET6);
    finish(0);
    call("tls://scripted:1");
    cdt_turn(20);
    mute_fd = accept(listening, NULL, NULL);
    close(listening);
    cr_assert_geq(mute_fd, 0);
    cr_assert_eq(recv(mute_fd, &byte, 1, MSG_DONTWAIT), 1, "there is no hand to shake");
}

static void when_open(void)
{
    answer(0, serve("tcp://127.0.0.1:0"));
    finish(0);
    call("tcp://scripted:1");
    cdt_await(&client.opened);
}

static void free_context(conduit_conn *conn)
{
    conduit_ctx_free(cdt_ctx);
    cdt_ctx = NULL;
}

static void expect_hung_up(int fd)
{
    char bytes[4096];
    ssize_t n;
    do
        n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    while (n > 0);
    cr_expect(n == 0 || errno == ECONNRESET, "the attempt is still connected: %s", strerror(errno));
}

static void cancel_at(void (*stage)(void), void (*way)(conduit_conn *))
{
    cancel_hole.n = 0;
    mute_fd = -1;
    begin();
    stage();
    bool opened = client.opened;
    way(client.conn);
    cr_expect(!client.closed, "on_close came inside the call");
    if (way == conduit_conn_free) {
        cdt_turn(20);
        cr_expect_str_eq(client.story, opened ? "o" : "");
    } else {
        cdt_await(&client.closed);
        conduit_code code = opened && way == conduit_close ? CONDUIT_OK : CONDUIT_ECANCELED;
        cr_expect_eq(cdt_side_code(&client), code, "%s", cdt_side_text(&client));
    }
    cdt_turn(20);
    cr_expect_eq(script.n_canceled, script.n_started - script.n_done);
    if (mute_fd >= 0) {
        expect_hung_up(mute_fd);
        close(mute_fd);
    }
    end();
    fill_in(&cancel_hole);
}

static void cancel_at_every_stage(void (*way)(conduit_conn *))
{
    static void (*const stages[])(void) = {
        at_once, while_resolving, while_dialling, while_shaking_hands, when_open,
    };
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
        if (stages[i] != while_shaking_hands || cdt_have_tls())
            cancel_at(stages[i], way);
}

CDT_TEST(connect, close_cancels_at_every_stage)
{
    cancel_at_every_stage(conduit_close);
}

CDT_TEST(connect, abort_cancels_at_every_stage)
{
    cancel_at_every_stage(conduit_abort);
}

CDT_TEST(connect, free_silences_at_every_stage)
{
    cancel_at_every_stage(conduit_conn_free);
}

CDT_TEST(connect, the_end_of_the_context_cancels_at_every_stage)
{
    cancel_at_every_stage(free_context);
}

/* ---- somewhere else than the name says ---- */

static const char *beside(const char *uri)
{
    return place(AF_INET, cdt_port_of(uri));
}

CDT_TEST(connect, connect_to_changes_the_place_and_not_the_identity)
{
    CDT_SKIP_WITHOUT_TLS();
    static const struct {
        const char *uri;
        conduit_code code;
    } rows[] = {
        {"tls://a.example:443", CONDUIT_OK},
        {"https://a.example/", CONDUIT_OK},
        {"tls://b.example:443", CONDUIT_ETRUST},
        {"tls://scripted:443", CONDUIT_ETRUST},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin();
        const char *good = serve("tls://127.0.0.1:0?alpn=http/1.1");
        options.tls = cdt_client_tls();
        options.connect_to = beside(good);
        call(rows[i].uri);
        cdt_await(rows[i].code == CONDUIT_OK ? &client.opened : &client.closed);
        cr_expect_eq(cdt_side_code(&client), rows[i].code, "%s: %s", rows[i].uri,
                     cdt_side_text(&client));
        if (client.opened) {
            cr_expect_str_eq(conduit_conn_info(client.conn)->tls->name, "a.example");
            cr_expect_str_eq(conduit_conn_info(client.conn)->peer, beside(good));
            cr_expect_str_eq(conduit_conn_info(client.conn)->uri, rows[i].uri);
        }
        end();
    }
}

CDT_TEST(connect, connect_to_may_be_a_name_or_another_transport)
{
    CDT_SKIP_WITHOUT_TLS();
    begin();
    answer(0, serve("tcp://127.0.0.1:0"));
    finish(0);
    options.connect_to = "tcp://scripted:1";
    call("tcp://nowhere.invalid:1");
    cdt_await(&client.opened);
    end();

    begin();
    char uri[128];
    snprintf(uri, sizeof(uri), "tls+unix:%s", cdt_test_path("s"));
    serve(uri);
    options.tls = cdt_client_tls();
    options.connect_to = uri + strlen("tls+");
    call("tls://a.example:443");
    cdt_await(&client.opened);
    cr_expect_str_eq(conduit_conn_info(client.conn)->stack, "tls+unix");
    end();
}

CDT_TEST(connect, connect_to_that_is_no_place_is_refused_at_once)
{
    static const struct {
        const char *place;
        conduit_code code;
    } rows[] = {
        {"tls://127.0.0.1:1", CONDUIT_EINVAL},
        {"127.0.0.1", CONDUIT_EURI},
        {"tcp://127.0.0.1", CONDUIT_EURI},
        {"", CONDUIT_EURI},
    };
    begin();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        options.connect_to = rows[i].place;
        int code = conduit_connect(cdt_ctx, "tcp://127.0.0.1:1", &options, &cdt_side_handler,
                                   &client, &client.conn);
        cr_expect_eq(code, rows[i].code, "\"%s\": %s", rows[i].place, conduit_code_name(code));
        cr_expect_eq(conduit_error_code(conduit_ctx_error(cdt_ctx)), code);
    }
    cdt_turn(5);
    cr_expect_str_eq(client.story, "");
    end();
}

CDT_TEST(connect, a_family_that_is_none_or_another_is_refused_at_once)
{
    static const struct {
        const char *uri;
        int family;
        int code;
        const char *says;
    } rows[] = {
        {"tcp://localhost:1", 99, CONDUIT_EINVAL, "neither IPv4 nor IPv6"},
        {"tcp://127.0.0.1:1", -1, CONDUIT_EINVAL, "neither IPv4 nor IPv6"},
        {"tcp4://localhost:1", AF_INET6, CONDUIT_EINVAL, "only IPv6 is wanted"},
        {"tcp6://localhost:1", AF_INET, CONDUIT_EINVAL, "only IPv4 is wanted"},
        {"tcp4://localhost:1", AF_INET, 0, ""},
    };
    begin();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        options.family = rows[i].family;
        int code = conduit_connect(cdt_ctx, rows[i].uri, &options, &cdt_side_handler, &client,
                                   &client.conn);
        cr_expect_eq(code, rows[i].code, "%s: %s", rows[i].uri, conduit_code_name(code));
        cr_expect(code == 0 ||
                      strstr(conduit_error_text(conduit_ctx_error(cdt_ctx)), rows[i].says) != NULL,
                  "%s", conduit_error_text(conduit_ctx_error(cdt_ctx)));
    }
    cdt_await(&client.closed);
    cr_expect_str_eq(client.story, "c");
    end();
}

/* ---- only asking ---- */

struct heard {
    int times;
    bool over;
    conduit_code code;
    size_t n;
    char endpoints[4][128];
    char source[32];
    int32_t ttl;
};

static void on_resolved(conduit_resolution *resolution, const conduit_answer *answers, size_t n,
                        const conduit_error *why, void *user)
{
    struct heard *heard = user;
    heard->times++;
    heard->over = true;
    heard->code = conduit_error_code(why);
    heard->n = n;
    for (size_t i = 0; i < n && i < 4; i++) {
        snprintf(heard->endpoints[i], sizeof(heard->endpoints[i]), "%s",
                 conduit_endpoint_uri(answers[i].endpoint));
        snprintf(heard->source, sizeof(heard->source), "%s", answers[i].source);
        heard->ttl = answers[i].ttl;
    }
}

static conduit_resolution *resolve(const char *uri, struct heard *heard)
{
    conduit_resolution *resolution = NULL;
    cr_assert_eq(conduit_resolve(cdt_ctx, uri, &options, on_resolved, heard, &resolution), 0);
    cr_assert_not_null(resolution);
    return resolution;
}

/* Which place an endpoint has in the order of dialling; -1: none. Whether IPv6 comes first or last
 * is a matter of this machine's routes. */
static int place_of(const struct heard *heard, const char *endpoint)
{
    for (size_t i = 0; i < heard->n; i++)
        if (strcmp(heard->endpoints[i], endpoint) == 0)
            return (int)i;
    return -1;
}

/* A hundred places of a target that is not the best, and then the best one's. */
static void answer_with_many_and_then(const char *best)
{
    static char many[100][40];
    rank(7);
    for (int i = 0; i < 100; i++) {
        snprintf(many[i], sizeof(many[i]), "tcp://127.0.0.%d:%d", i + 2, cdt_closed_port());
        answer(0, many[i]);
    }
    rank(3);
    answer(0, best);
    finish(0);
}

CDT_TEST(connect, many_places_of_a_worse_target_do_not_keep_out_one_of_a_better)
{
    begin();
    answer_with_many_and_then(serve("tcp://127.0.0.1:0"));
    call("tcp://scripted:1");
    cdt_await(&client.opened);
    cr_expect_null(conduit_conn_info(client.conn)->failed, "worse places were tried first");
    conduit_close(client.conn);
    cdt_await(&client.closed);
    cdt_await(&server.closed);
    end();
}

CDT_TEST(connect, resolving_puts_a_better_target_first_however_many_came_before)
{
    struct heard heard = {0};
    begin();
    answer_with_many_and_then("tcp://192.0.2.1:1");
    resolve("tcp://scripted:1", &heard);
    cdt_await(&heard.over);
    cr_expect_eq(heard.n, 101);
    cr_expect_str_eq(heard.endpoints[0], "tcp://192.0.2.1:1");
    end();
}

CDT_TEST(connect, resolving_gives_whole_endpoints_in_the_order_of_dialling)
{
    CDT_SKIP_WITHOUT_TLS();
    struct heard heard = {0};
    begin();
    answer(0, "tcp://192.0.2.1:1");
    answer(0, "tcp://192.0.2.2:1");
    answer(10, "tcp://[2001:db8::1]:1");
    finish(20);
    resolve("tls://scripted:1?alpn=h2", &heard);
    cr_expect(!heard.over);
    cdt_await(&heard.over);
    cdt_turn(10);
    cr_expect_eq(heard.times, 1);
    cr_expect_eq(heard.code, CONDUIT_OK);
    cr_assert_eq(heard.n, 3);
    int ip6 = place_of(&heard, "tls://[2001:db8::1]:1?name=scripted&alpn=h2");
    int first = place_of(&heard, "tls://192.0.2.1:1?name=scripted&alpn=h2");
    int second = place_of(&heard, "tls://192.0.2.2:1?name=scripted&alpn=h2");
    cr_expect(ip6 >= 0 && first >= 0 && second == first + 1 + (ip6 == first + 1),
              "IPv6 at %d, the others at %d and %d", ip6, first, second);
    cr_expect_str_eq(heard.source, "scripted");
    cr_expect_eq(heard.ttl, 60);
    end();
}

CDT_TEST(connect, addresses_get_the_port_of_the_uri_and_only_the_wanted_family_counts)
{
    static const struct {
        int family;
        const char *uri, *among;
        size_t n;
    } rows[] = {
        {AF_UNSPEC, "tcp://scripted:7", "tcp://[2001:db8::1]:7", 2},
        {AF_INET, "tcp://scripted:7", "tcp://192.0.2.1:7", 1},
        {AF_INET6, "tcp://scripted:7", "tcp://[2001:db8::1]:7", 1},
        {AF_UNSPEC, "tcp4://scripted:7", "tcp://192.0.2.1:7", 1},
        {AF_UNSPEC, "http://scripted/", "tcp://[2001:db8::1]:80", 2},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct heard heard = {0};
        begin();
        options.family = rows[i].family;
        script.steps[script.n++] = (struct step){.what = ADDRESS, .endpoint = "192.0.2.1"};
        script.steps[script.n++] = (struct step){.what = ADDRESS, .endpoint = "2001:db8::1"};
        finish(0);
        resolve(rows[i].uri, &heard);
        cdt_await(&heard.over);
        cr_expect_eq(heard.n, rows[i].n, "row %zu: %zu answers", i, heard.n);
        cr_expect_geq(place_of(&heard, rows[i].among), 0, "row %zu: no %s", i, rows[i].among);
        end();
    }
}

CDT_TEST(connect, resolving_ends_with_an_error_or_at_its_deadline)
{
    struct heard failed = {0}, late = {0};
    begin();
    script.steps[script.n++] = (struct step){.what = FAIL};
    resolve("tcp://scripted:1", &failed);
    cdt_await(&failed.over);
    cr_expect_eq(failed.code, CONDUIT_ETEMP);
    cr_expect_eq(failed.n, 0);
    end();

    begin();
    options.resolve_timeout_ms = 30;
    resolve("tcp://scripted:1", &late);
    cdt_await(&late.over);
    cr_expect_eq(late.code, CONDUIT_ETIMEDOUT);
    cr_expect_eq(script.n_canceled, 1);
    end();
    cr_expect_eq(failed.times + late.times, 2);
}

CDT_TEST(connect, a_canceled_resolution_is_silent)
{
    struct heard heard = {0};
    begin();
    conduit_resolution_cancel(resolve("tcp://scripted:1", &heard));
    cdt_turn(10);
    cr_expect_eq(script.n_started, 0);
    conduit_resolution *resolution = resolve("tcp://scripted:1", &heard);
    cdt_turn(10);
    cr_expect_eq(script.n_started, 1);
    conduit_resolution_cancel(resolution);
    cr_expect_eq(script.n_canceled, 1);
    finish(0);
    resolution = resolve("tcp://127.0.0.1:1", &heard); /* answered, and not yet told */
    cdt_turn(1);
    if (!heard.over)
        conduit_resolution_cancel(resolution);
    conduit_resolution_cancel(NULL);
    end();
    cr_expect_leq(heard.times, 1);
}

CDT_TEST(connect, the_end_of_the_context_is_told_to_who_resolves)
{
    struct heard heard[3] = {0};
    begin();
    resolve("tcp://scripted:1", &heard[0]);
    cdt_turn(5);
    resolve("tcp://127.0.0.1:1", &heard[1]);
    resolve("unix:/x", &heard[2]);
    conduit_ctx_free(cdt_ctx);
    cdt_ctx = NULL;
    cr_expect_eq(heard[0].times, 0, "on_done came inside conduit_ctx_free()");
    end();
    for (int i = 0; i < 3; i++)
        cr_expect(heard[i].times == 1 && heard[i].code == CONDUIT_ECANCELED, "%d: %d times, %s", i,
                  heard[i].times, conduit_code_name(heard[i].code));
    cr_expect_eq(script.n_canceled, 1);
}
