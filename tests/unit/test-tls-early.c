/* SPDX-License-Identifier: ISC */
/*
 * Early data between two layers in memory: that it comes before the handshake is done, that what is
 * rejected is still there and what is accepted is not, and that a client hello that comes again
 * brings nothing with it.
 */
#include "meeting.h"
#include "queue.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static conduit_tls *client_tls, *server_tls;
static struct meeting *first; /* the one that brings the ticket */

/* What goes with each connection. */
static void begin(const char *server_value)
{
    client_tls = make_config("ca.pem", NULL, "early_data", "yes");
    server_tls = make_config(NULL, "server", "early_data", server_value);
    first = open_with(client_tls, server_tls, "a.example");
    exchange(first, 100, 100, 4096);
}

static void end(void)
{
    conduit_tls_unref(client_tls);
    conduit_tls_unref(server_tls);
    part(first);
}

static struct meeting *meet_early(conduit_tls *server, struct cdt_early *early)
{
    struct meeting *meeting = meet_again(first, client_tls, server, "a.example");
    meeting->client.path->early = early;
    return meeting;
}

static ssize_t read_text(struct end *at, char text[64])
{
    ssize_t n = cdt_layer_read(at->path->top, text, 63);
    text[n > 0 ? n : 0] = '\0';
    return n;
}

static void write_text(struct end *at, const char *text)
{
    struct iovec v = {.iov_base = strdup(text), .iov_len = strlen(text)};
    cr_assert_eq(cdt_layer_write(at->path->top, &v, 1), (ssize_t)v.iov_len, "%s", why(at));
    cr_assert_eq(cdt_layer_flush(at->path->top), 0);
    free(v.iov_base);
}

CDT_TEST(tls_early, it_comes_and_is_answered_before_the_handshake_is_done)
{
    struct cdt_queue queue = {0};
    struct cdt_early early = {.bytes = &queue};
    char text[64];
    begin("yes");
    cdt_queue_put(&queue, "ping", 4);
    struct meeting *meeting = meet_early(server_tls, &early);
    meeting->client.code = meeting->server.code = CONDUIT_EAGAIN;
    step_open(&meeting->client);
    step_open(&meeting->server);
    cr_assert_eq(meeting->server.code, 0, "open with the first flight: %s", why(&meeting->server));
    cr_expect_eq(meeting->client.code, CONDUIT_EAGAIN);
    cr_expect(cdt_layer_pending(meeting->server.path->top), "no readiness would announce it");
    cr_expect_eq(read_text(&meeting->server, text), 4);
    cr_expect_str_eq(text, "ping");
    cr_expect_eq(read_text(&meeting->server, text), CONDUIT_EAGAIN);
    write_text(&meeting->server, "pong");
    step_open(&meeting->client);
    cr_assert_eq(meeting->client.code, 0, "%s", why(&meeting->client));
    cr_expect_eq(read_text(&meeting->client, text), 4);
    cr_expect_str_eq(text, "pong");
    cr_expect_eq(meeting->client.path->early_taken, 4);
    cr_expect(facts_of(&meeting->client).tls_early && facts_of(&meeting->server).tls_early);
    cr_expect(facts_of(&meeting->client).tls_resumed && facts_of(&meeting->server).tls_resumed);
    exchange(meeting, 50000, 50000, 4096);
    cr_expect_eq(finish_end(&meeting->client), 0);
    cr_expect_eq(read_to_end(&meeting->server), 0);
    cr_expect_eq(finish_end(&meeting->server), 0);
    cr_expect_eq(read_to_end(&meeting->client), 0);
    part_again(meeting);
    cdt_queue_clear(&queue);
    end();
}

CDT_TEST(tls_early, it_survives_any_weather_in_its_order)
{
    struct cdt_queue queue = {0};
    struct cdt_early early = {.bytes = &queue};
    static unsigned char many[9000];
    begin("yes");
    for (size_t i = 0; i < sizeof(many); i++)
        many[i] = (unsigned char)(i * 2654435761U >> 13); /* meeting.c's pattern */
    cdt_queue_put(&queue, many, sizeof(many));
    struct meeting *meeting = meet_early(server_tls, &early);
    meeting->weather = (struct weather){.chunk = 7, .deny = 3};
    opened(meeting);
    cr_expect_eq(meeting->client.path->early_taken, sizeof(many));
    meeting->client.sent = sizeof(many);
    for (int i = 0; i < 100000 && meeting->server.received < sizeof(many); i++) {
        step_receive(&meeting->server, 1000);
        cdt_layer_flush(meeting->client.path->top);
    }
    exchange(meeting, 5000, 5000, 100);
    part_again(meeting);
    cdt_queue_clear(&queue);
    end();
}

CDT_TEST(tls_early, what_is_rejected_is_still_there)
{
    struct cdt_queue queue = {0};
    struct cdt_early early = {.bytes = &queue};
    char text[64];
    begin("yes");
    cdt_queue_put(&queue, "ping", 4);
    conduit_tls *other = make_config(NULL, "server", "early_data", "yes");
    struct meeting *meeting = opened(meet_early(other, &early));
    cr_expect(early.used, "it was tried");
    cr_expect_eq(meeting->client.path->early_taken, 0);
    cr_expect(!facts_of(&meeting->client).tls_early && !facts_of(&meeting->server).tls_early);
    cr_expect_eq(read_text(&meeting->server, text), CONDUIT_EAGAIN, "none of it is seen");
    exchange(meeting, 5000, 5000, 4096);
    part_again(meeting);
    conduit_tls_unref(other);
    cdt_queue_clear(&queue);
    end();
}

CDT_TEST(tls_early, only_where_both_ends_want_it_and_once_for_a_connect)
{
    struct cdt_queue queue = {0};
    struct cdt_early early = {.bytes = &queue};
    begin("no");
    cdt_queue_put(&queue, "ping", 4);
    struct meeting *meeting = opened(meet_early(server_tls, &early));
    cr_expect(facts_of(&meeting->client).tls_resumed);
    cr_expect(!early.used && !facts_of(&meeting->client).tls_early);
    part_again(meeting);
    end();

    begin("yes");
    early.used = true; /* by another attempt */
    meeting = opened(meet_early(server_tls, &early));
    cr_expect(facts_of(&meeting->client).tls_resumed && !facts_of(&meeting->client).tls_early);
    part_again(meeting);
    cdt_queue_clear(&queue);
    end();
}

/* A listener is shown the same first flight twice. */
CDT_TEST(tls_early, a_replay_brings_nothing)
{
    struct cdt_queue queue = {0};
    struct cdt_early early = {.bytes = &queue};
    char text[64];
    begin("yes");
    cdt_queue_put(&queue, "ping", 4);
    struct meeting *meeting = meet_early(server_tls, &early);
    meeting->client.code = meeting->server.code = CONDUIT_EAGAIN;
    step_open(&meeting->client);
    struct meeting *replayed = meet_again(first, client_tls, server_tls, "a.example");
    memcpy(replayed->up.bytes, meeting->up.bytes, meeting->up.n);
    replayed->up.n = meeting->up.n;
    step_open(&meeting->server);
    cr_expect_eq(read_text(&meeting->server, text), 4, "the first of the two has its say");
    replayed->server.code = CONDUIT_EAGAIN;
    for (int i = 0; i < 10; i++)
        step_open(&replayed->server);
    cr_expect_eq(replayed->server.code, CONDUIT_EAGAIN, "%s", why(&replayed->server));
    cr_expect(!facts_of(&replayed->server).tls_early && !facts_of(&replayed->server).tls_resumed);
    part_again(replayed);
    part_again(meeting);
    cdt_queue_clear(&queue);
    end();
}

static const char *ticket_key(void)
{
    const char *path = cdt_test_path("ticket.key");
    FILE *out = fopen(path, "w");
    cr_assert_not_null(out);
    for (int i = 0; i < 80; i++)
        putc('k', out);
    fclose(out);
    cr_assert_eq(chmod(path, 0600), 0);
    return path;
}

CDT_TEST(tls_early, settings_that_exclude_it)
{
    static const struct {
        const char *ca, *identity, *key, *value, *text;
    } rows[] = {
        {NULL, "server", "resume", "no", "nothing that it could go under"},
        {"ca.pem", "server", NULL, NULL, "before a client could show the certificate"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const conduit_error *error = NULL;
        conduit_tls *tls = make_config(rows[i].ca, rows[i].identity, "early_data", "yes");
        if (rows[i].key != NULL)
            set(tls, rows[i].key, rows[i].value);
        cr_assert_eq(cdt_tls_seal(tls, true, &error), CONDUIT_EINVAL);
        cr_expect_eq(conduit_error_reason(error), CONDUIT_TLS_CONTRADICTION);
        cr_expect(strstr(conduit_error_text(error), rows[i].text) != NULL, "%s",
                  conduit_error_text(error));
        conduit_error_unref(error);
        conduit_tls_unref(tls);
    }
    const conduit_error *error = NULL;
    conduit_tls *tls = make_config(NULL, "server", "early_data", "yes");
    set(tls, "ticket_key", ticket_key());
    cr_expect_eq(cdt_tls_seal(tls, true, &error), CONDUIT_EINVAL);
    cr_expect(strstr(conduit_error_text(error), "shares a ticket_key") != NULL);
    conduit_error_unref(error);
    refuse(tls, "early_data", "maybe", CONDUIT_EINVAL, "neither yes nor no");
    conduit_tls_unref(tls);
}
