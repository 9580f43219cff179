/* SPDX-License-Identifier: ISC */
/*
 * Resumption: that it happens, and all that it must not do. A resumed session is not verified
 * again, so what keeps sessions apart is tested by trying to carry each over a border.
 */
#include "../tls/sessions.h"
#include "meeting.h"
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the store ---- */

static int n_dropped;

static void count_dropped(void *session)
{
    n_dropped++;
}

CDT_TEST(tls_sessions, the_newest_of_a_peer_is_taken_once)
{
    int a, b;
    struct cdt_sessions *sessions = cdt_sessions_new(count_dropped);
    cdt_sessions_put(sessions, "x", &a);
    cdt_sessions_put(sessions, "x", &b);
    cr_expect_null(cdt_sessions_take(sessions, "y"));
    cr_expect_eq(cdt_sessions_take(sessions, "x"), &b);
    cr_expect_eq(cdt_sessions_take(sessions, "x"), &a);
    cr_expect_null(cdt_sessions_take(sessions, "x"));
    cr_expect_eq(n_dropped, 0, "they are the taker's");
    cdt_sessions_free(sessions);
}

CDT_TEST(tls_sessions, the_store_is_bounded_for_each_and_in_all)
{
    struct cdt_sessions *sessions = cdt_sessions_new(count_dropped);
    char key[32];
    int marks[3];
    for (int i = 0; i < CDT_SESSIONS_EACH + 2; i++)
        cdt_sessions_put(sessions, "same", &marks[i % 3]);
    cr_expect_eq(n_dropped, 2);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "peer %d", i);
        cdt_sessions_put(sessions, key, &marks[0]);
    }
    cr_expect_eq(n_dropped, 2 + CDT_SESSIONS_EACH + 1000 - CDT_SESSIONS_MAX);
    cr_expect_null(cdt_sessions_take(sessions, "same"), "the oldest went first");
    cr_expect_not_null(cdt_sessions_take(sessions, "peer 999"));
    cdt_sessions_free(sessions);
    cr_expect_eq(n_dropped, 2 + CDT_SESSIONS_EACH + 1000 - 1);
}

/* ---- by effect ---- */

/* Tickets of TLS 1.3 come with the first bytes. Returns whether both ends say that it was
 * resumed. */
static bool converse(struct meeting *meeting)
{
    opened(meeting);
    bool resumed = facts_of(&meeting->client).tls_resumed;
    cr_expect_eq(facts_of(&meeting->server).tls_resumed, resumed);
    exchange(meeting, 100, 100, 4096);
    return resumed;
}

/* One more connection in the context of `first`, from beginning to end. */
static bool again(struct meeting *first, conduit_tls *client, conduit_tls *server, const char *name)
{
    struct meeting *meeting = meet_again(first, client, server, name);
    bool resumed = converse(meeting);
    part_again(meeting);
    return resumed;
}

static const char *const versions[] = {"1.2", "1.3"};

CDT_TEST(tls_resume, the_next_connection_resumes)
{
    for (int i = 0; i < 2; i++) {
        conduit_tls *client = make_config("ca.pem", NULL, "max", versions[i]);
        conduit_tls *server = make_config(NULL, "server", NULL, NULL);
        struct meeting *first = meet_with(client, server, "a.example");
        cr_expect(!converse(first));
        for (int n = 0; n < 5; n++)
            cr_expect(again(first, client, server, "a.example"), "%s, %d", versions[i], n);
        struct meeting *last = meet_again(first, client, server, "a.example");
        opened(last);
        struct cdt_facts facts = facts_of(&last->client), theirs = facts_of(&last->server);
        cr_expect_str_eq(facts.tls_name, "a.example");
        cr_expect_str_eq(facts.tls_peer, "CN=a.example", "who it is, is still known");
        cr_expect_str_eq(facts.tls_verify, "full");
        cr_expect_str_eq(theirs.tls_name, "a.example");
        part_again(last);
        conduit_tls_unref(client);
        conduit_tls_unref(server);
        part(first);
    }
}

CDT_TEST(tls_resume, a_ticket_of_tls_1_3_is_used_once_even_in_a_race)
{
    conduit_tls *client = make_config("ca.pem", NULL, "min", "1.3");
    conduit_tls *server = make_config(NULL, "server", NULL, NULL);
    struct meeting *first = meet_with(client, server, "a.example");
    cr_expect(!converse(first));
    struct meeting *second = meet_again(first, client, server, "a.example");
    struct meeting *third = meet_again(first, client, server, "a.example");
    int resumed = converse(second) + converse(third);
    cr_expect_eq(resumed, 1);
    part_again(second);
    part_again(third);
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    part(first);
}

CDT_TEST(tls_resume, nothing_is_carried_to_another_configuration_name_or_protocol)
{
    for (int i = 0; i < 2; i++) {
        conduit_tls *client = make_config("ca.pem", NULL, "max", versions[i]);
        conduit_tls *same = make_config("ca.pem", NULL, "max", versions[i]);
        conduit_tls *alpn = make_config("ca.pem", NULL, "max", versions[i]);
        conduit_tls *server = make_config(NULL, "server", NULL, NULL);
        conduit_tls *other = make_config(NULL, "server", NULL, NULL);
        set(alpn, "alpn", "h2");
        struct meeting *first = meet_with(client, server, "a.example");
        cr_expect(!converse(first));
        cr_expect(!again(first, same, server, "a.example"), "another configuration");
        cr_expect(!again(first, alpn, server, "a.example"), "another protocol");
        cr_expect(!again(first, client, server, "localhost"), "another name");
        cr_expect(!again(first, client, other, "a.example"), "another listener");
        cr_expect(again(first, client, other, "a.example"), "which gave one of its own");
        conduit_tls_unref(client);
        conduit_tls_unref(same);
        conduit_tls_unref(alpn);
        conduit_tls_unref(server);
        conduit_tls_unref(other);
        part(first);
    }
}

CDT_TEST(tls_resume, a_client_stays_who_it_is)
{
    for (int i = 0; i < 2; i++) {
        conduit_tls *client = make_config("ca.pem", "client", "max", versions[i]);
        conduit_tls *server = make_config("ca.pem", "server", NULL, NULL);
        struct meeting *first = meet_with(client, server, "a.example");
        cr_expect(!converse(first));
        struct meeting *second = meet_again(first, client, server, "a.example");
        cr_expect(converse(second));
        cr_expect_str_eq(facts_of(&second->server).tls_peer, "CN=client");
        cr_expect_str_eq(facts_of(&second->server).tls_verify, "full");
        part_again(second);
        conduit_tls_unref(client);
        conduit_tls_unref(server);
        part(first);
    }
}

CDT_TEST(tls_resume, either_end_can_do_without)
{
    for (int i = 0; i < 4; i++) {
        conduit_tls *client = make_config("ca.pem", NULL, "max", versions[i % 2]);
        conduit_tls *server = make_config(NULL, "server", NULL, NULL);
        set(i < 2 ? client : server, "resume", "no");
        refuse(i < 2 ? client : server, "resume", "perhaps", CONDUIT_EINVAL, "neither yes nor no");
        struct meeting *first = meet_with(client, server, "a.example");
        cr_expect(!converse(first));
        cr_expect(!again(first, client, server, "a.example"));
        conduit_tls_unref(client);
        conduit_tls_unref(server);
        part(first);
    }
}

/* A file of 80 bytes that only we may read. */
static const char *ticket_key(const char *name, int byte)
{
    static char paths[2][160];
    static int next;
    char *path = paths[next++ % 2];
    snprintf(path, sizeof(paths[0]), "%s", cdt_test_path(name));
    FILE *out = fopen(path, "w");
    cr_assert_not_null(out);
    for (int i = 0; i < 80; i++)
        putc(byte, out);
    fclose(out);
    cr_assert_eq(chmod(path, 0600), 0);
    return path;
}

CDT_TEST(tls_resume, keys_that_are_shared_open_each_others_tickets)
{
    needs("ticket_key", "none");
    for (int i = 0; i < 2; i++) {
        conduit_tls *client = make_config("ca.pem", NULL, "max", versions[i]);
        conduit_tls *one = make_config(NULL, "server", "ticket_key", ticket_key("k1", 1));
        conduit_tls *two = make_config(NULL, "server", "ticket_key", ticket_key("k2", 2));
        conduit_tls *strict = make_config("ca.pem", "server", "ticket_key", ticket_key("k1", 1));
        set(two, "ticket_key", ticket_key("k1", 1));
        set(strict, "client_cert", "ask");
        struct meeting *first = meet_with(client, one, "a.example");
        cr_expect(!converse(first));
        cr_expect(again(first, client, two, "a.example"), "the second key opens it");
        cr_expect(!again(first, client, strict, "a.example"), "which asks for more");
        conduit_tls_unref(client);
        conduit_tls_unref(one);
        conduit_tls_unref(two);
        conduit_tls_unref(strict);
        part(first);
    }
    conduit_tls *tls = make_config(NULL, "server", NULL, NULL);
    refuse(tls, "ticket_key", file("password"), CONDUIT_EINVAL, "has not 80 bytes");
    refuse(tls, "ticket_key", file("ca.pem"), CONDUIT_ETLS, "chmod 600");
    refuse(tls, "resume", "maybe", CONDUIT_EINVAL, "neither yes nor no");
    conduit_tls_unref(tls);
}

/* A server with an anchor in a directory, and one more there the second time. */
static conduit_tls *trusting(const char *dir)
{
    conduit_tls *tls = make_config(NULL, "server", "ticket_key", ticket_key("k3", 3));
    set(tls, "ca_dir", dir);
    set(tls, "client_cert", "ask");
    return tls;
}

CDT_TEST(tls_resume, a_shared_ticket_is_worth_nothing_once_a_directory_of_anchors_has_changed)
{
    needs("ticket_key", "none");
    char dir[160], other[200];
    snprintf(dir, sizeof(dir), "%s", cdt_test_path("anchors"));
    snprintf(other, sizeof(other), "%s/00000000.0", dir);
    cr_assert_eq(mkdir(dir, 0700), 0);
    char first_anchor[200];
    snprintf(first_anchor, sizeof(first_anchor), "%s/11111111.0", dir);
    cr_assert_eq(symlink(file("ca.pem"), first_anchor), 0);
    conduit_tls *client = make_config("ca.pem", NULL, NULL, NULL);
    conduit_tls *before = trusting(dir), *same = trusting(dir);
    struct meeting *first = meet_with(client, before, "a.example");
    cr_expect(!converse(first));
    cr_expect(again(first, client, same, "a.example"), "nothing has changed");
    cr_assert_eq(symlink(file("other-ca.pem"), other), 0);
    conduit_tls *after = trusting(dir);
    cr_expect(!again(first, client, after, "a.example"), "it trusts others");
    conduit_tls_unref(client);
    conduit_tls_unref(before);
    conduit_tls_unref(same);
    conduit_tls_unref(after);
    part(first);
}

/* Each hour of use brings a key, and three are kept. The first ticket of each row is made with the
 * first of them. */
CDT_TEST(tls_resume, keys_are_replaced_and_the_last_three_open)
{
    needs("ticket_key", "none"); /* a backend whose keys are ours */
    enum { HOUR_MS = 3600 * 1000 };
    static const struct {
        int others; /* who got tickets of new keys meanwhile */
        uint64_t apart_ms;
        bool resumes;
    } rows[] = {
        {5, HOUR_MS / 10, true}, {1, HOUR_MS, true}, {2, HOUR_MS, true}, {3, HOUR_MS, false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conduit_tls *client = make_config("ca.pem", NULL, NULL, NULL);
        conduit_tls *server = make_config(NULL, "server", NULL, NULL);
        struct meeting *first = meet_with(client, server, "a.example");
        cr_expect(!converse(first));
        for (int k = 0; k < rows[i].others; k++) {
            conduit_tls *other = make_config("ca.pem", NULL, NULL, NULL);
            meeting_ms += rows[i].apart_ms;
            cr_expect(!again(first, other, server, "a.example"));
            conduit_tls_unref(other);
        }
        cr_expect_eq(again(first, client, server, "a.example"), rows[i].resumes, "row %zu", i);
        conduit_tls_unref(client);
        conduit_tls_unref(server);
        part(first);
    }
}

/* ---- memory ---- */

CDT_TEST(tls_resume, a_thousand_handshakes_add_no_memory)
{
    enum { WARM_UP = 800, HANDSHAKES = 1000 }; /* the allocator settles after some hundreds */
    conduit_tls *client = make_config("ca.pem", "client", NULL, NULL);
    conduit_tls *server = make_config("ca.pem", "server", NULL, NULL);
    struct meeting *first = meet_with(client, server, "a.example");
    converse(first);
    size_t before = 0;
    for (int i = 0; i < WARM_UP + HANDSHAKES; i++) {
        if (i == WARM_UP)
            before = mallinfo2().uordblks;
        again(first, client, server, "a.example");
    }
    size_t after = mallinfo2().uordblks;
    cr_expect(after < before + 16 * 1024, "%zu bytes, then %zu", before, after);
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    part(first);
}
