/* SPDX-License-Identifier: ISC */
/*
 * From a name to an error that says why not: what is said, the deadlines, and giving up at every
 * stage.
 */
#include "dialling.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- errors ---- */

CDT_TEST(connect_fails, the_error_has_a_child_for_each_attempt_in_order)
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

CDT_TEST(connect_fails, the_headline_is_the_attempt_that_got_furthest)
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

CDT_TEST(connect_fails, a_thousand_addresses_are_as_many_attempts_as_are_worth_it)
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

CDT_TEST(connect_fails, a_certificate_that_was_not_accepted_stays_the_headline)
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

CDT_TEST(connect_fails, what_failed_before_one_opened_is_not_hidden)
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

CDT_TEST(connect_fails, what_the_resolver_says_is_what_the_caller_hears)
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

CDT_TEST(connect_fails, addresses_are_tried_even_if_the_answer_breaks_off)
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

CDT_TEST(connect_fails, the_whole_has_a_deadline)
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

CDT_TEST(connect_fails, each_attempt_has_a_deadline_its_layers_included)
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

CDT_TEST(connect_fails, a_resolver_that_never_answers_has_a_deadline)
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

CDT_TEST(connect_fails, the_deadline_of_resolving_ends_with_the_last_answer_that_was_used)
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

CDT_TEST(connect_fails, close_cancels_at_every_stage)
{
    cancel_at_every_stage(conduit_close);
}

CDT_TEST(connect_fails, abort_cancels_at_every_stage)
{
    cancel_at_every_stage(conduit_abort);
}

CDT_TEST(connect_fails, free_silences_at_every_stage)
{
    cancel_at_every_stage(conduit_conn_free);
}

CDT_TEST(connect_fails, the_end_of_the_context_cancels_at_every_stage)
{
    cancel_at_every_stage(free_context);
}
