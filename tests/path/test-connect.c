/* SPDX-License-Identifier: ISC */
/*
 * From a name to an open connection: the race, answers that take their time, and places that are
 * not where the name says.
 */
#include "dialling.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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
