/* SPDX-License-Identifier: ISC */
/* TLS as a layer: opening, ALPN, bytes in any weather, the end, hostile peers. */
#include "meeting.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- opening ---- */

CDT_TEST(tls, both_versions_open_and_describe_themselves)
{
    static const struct {
        const char *max, *version;
    } rows[] = {{"1.2", "TLSv1.2"}, {"1.3", "TLSv1.3"}};
    for (size_t i = 0; i < 2; i++) {
        struct setup setup = {.client_key = "max", .client_value = rows[i].max};
        struct meeting *meeting = open_meeting(&setup);
        struct cdt_facts client = facts_of(&meeting->client), server = facts_of(&meeting->server);
        cr_expect_str_eq(client.tls_version, rows[i].version);
        cr_expect_str_eq(server.tls_version, rows[i].version);
        cr_expect_str_eq(client.tls_cipher, server.tls_cipher);
        cr_expect_str_eq(client.tls_name, "a.example");
        cr_expect_str_eq(server.tls_name, "a.example");
        cr_expect_str_eq(client.tls_peer, "CN=a.example");
        cr_expect_str_eq(server.tls_peer, "");
        cr_expect_str_eq(client.tls_verify, "full");
        cr_expect_str_eq(server.tls_verify, "none");
        cr_expect_str_eq(client.tls_alpn, "");
        cr_expect(!client.tls_resumed && !server.tls_resumed);
        exchange(meeting, 1000, 1000, 4096);
        part(meeting);
    }
}

CDT_TEST(tls, min_above_the_peers_max_is_refused_at_both_ends)
{
    struct setup setup = {
        .client_key = "max", .client_value = "1.2", .server_key = "min", .server_value = "1.3"};
    struct meeting *meeting = meet(&setup);
    shake_hands(meeting);
    cr_expect_eq(meeting->server.code, CONDUIT_ETLS);
    cr_expect_str_eq(why(&meeting->server),
                     "tls: tls+inproc://fake: no TLS version in common with the peer");
    cr_expect_eq(reason(&meeting->server), CONDUIT_TLS_NO_COMMON_VERSION);
    cr_expect_eq(reason(&meeting->client), CONDUIT_TLS_ALERT);
    cr_expect_eq(meeting->client.code, CONDUIT_ETLS);
    cr_expect_str_eq(why(&meeting->client), "tls: tls+inproc://fake?name=a.example: peer sent "
                                            "alert: protocol version (70)");
    part(meeting);
}

CDT_TEST(tls, ciphers_without_a_common_suite_are_refused)
{
    needs("ciphers", "ECDHE-RSA-AES128-GCM-SHA256");
    struct setup setup = {.client_key = "ciphers", .client_value = "ECDHE-RSA-AES128-GCM-SHA256"};
    struct meeting *meeting = new_meeting();
    conduit_tls *client = make_config("ca.pem", NULL, "max", "1.2");
    conduit_tls *server = make_config(NULL, "server", NULL, NULL);
    set(client, setup.client_key, setup.client_value);
    join(meeting, &meeting->client, "a.example", NULL, false, client);
    join(meeting, &meeting->server, "", NULL, true, server);
    shake_hands(meeting);
    cr_expect_eq(meeting->server.code, CONDUIT_ETLS);
    cr_expect(strstr(why(&meeting->server), "no cipher suite in common") != NULL, "%s",
              why(&meeting->server));
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    part(meeting);
}

CDT_TEST(tls, one_certificate_of_each_key_type_serves_all_clients)
{
    needs("ciphers", "ECDHE-RSA-AES128-GCM-SHA256");
    struct meeting *meeting = new_meeting();
    conduit_tls *client = make_config("ca.pem", NULL, "max", "1.2");
    conduit_tls *server = make_config(NULL, "server", NULL, NULL);
    set(client, "ciphers", "ECDHE-RSA-AES128-GCM-SHA256");
    set_identity(server, "rsa");
    join(meeting, &meeting->client, "a.example", NULL, false, client);
    join(meeting, &meeting->server, "", NULL, true, server);
    shake_hands(meeting);
    cr_expect_eq(meeting->client.code, 0, "%s", why(&meeting->client));
    cr_expect_str_eq(facts_of(&meeting->client).tls_cipher, "ECDHE-RSA-AES128-GCM-SHA256");
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    part(meeting);
}

CDT_TEST(tls, what_came_with_the_handshake_is_pending)
{
    struct setup setup = {0};
    struct meeting *meeting = meet(&setup);
    struct end *client = &meeting->client, *server = &meeting->server;
    cr_assert_eq(cdt_layer_open(client->path->top), CONDUIT_EAGAIN);
    cr_assert_eq(cdt_layer_open(server->path->top), CONDUIT_EAGAIN);
    cr_assert_eq(cdt_layer_open(client->path->top), 0);
    step_send(client, 100);
    cr_assert_eq(cdt_layer_open(server->path->top), 0);
    cr_expect(cdt_layer_pending(server->path->top));
    step_receive(server, 4096);
    cr_expect_eq(server->received, 100);
    cr_expect(!cdt_layer_pending(server->path->top));
    part(meeting);
}

CDT_TEST(tls, opening_waits_for_what_it_needs)
{
    struct setup setup = {0};
    struct meeting *meeting = meet(&setup);
    cr_assert_eq(cdt_layer_open(meeting->server.path->top), CONDUIT_EAGAIN);
    cr_expect_eq(meeting->server.fake.want, CDT_READ);
    meeting->up.n = PIPE_SIZE;
    cr_assert_eq(cdt_layer_open(meeting->client.path->top), CONDUIT_EAGAIN);
    cr_expect_eq(meeting->client.fake.want, CDT_READ | CDT_WRITE);
    part(meeting);
}

/* ---- ALPN ---- */

CDT_TEST(tls, alpn_is_the_servers_first_choice_that_is_offered)
{
    static const struct {
        const char *client, *server, *agreed;
    } rows[] = {
        {"h2,http/1.1", "http/1.1,h2", "http/1.1"},
        {"h2,http/1.1", "h2", "h2"},
        {"h2", NULL, ""},
        {NULL, "h2", ""},
        {"http/1.1", "http/1.0,http/1.1", "http/1.1"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct setup setup = {.client_alpn = rows[i].client, .server_alpn = rows[i].server};
        struct meeting *meeting = open_meeting(&setup);
        cr_expect_str_eq(facts_of(&meeting->client).tls_alpn, rows[i].agreed, "row %zu", i);
        cr_expect_str_eq(facts_of(&meeting->server).tls_alpn, rows[i].agreed, "row %zu", i);
        part(meeting);
    }
}

CDT_TEST(tls, alpn_of_the_configuration_yields_to_the_endpoints)
{
    struct setup setup = {.client_alpn = "h2",
                          .client_key = "alpn",
                          .client_value = "http/1.1",
                          .server_key = "alpn",
                          .server_value = "http/1.1,h2"};
    struct meeting *meeting = open_meeting(&setup);
    cr_expect_str_eq(facts_of(&meeting->client).tls_alpn, "h2");
    part(meeting);
}

CDT_TEST(tls, alpn_without_a_common_protocol_is_refused)
{
    struct setup setup = {.client_alpn = "h2,h3", .server_alpn = "http/1.1"};
    struct meeting *meeting = meet(&setup);
    shake_hands(meeting);
    cr_expect_eq(meeting->server.code, CONDUIT_ETLS);
    cr_expect(strstr(why(&meeting->server),
                     "no ALPN protocol in common: we offer http/1.1, peer speaks h2,h3") != NULL,
              "%s", why(&meeting->server));
    cr_expect_eq(reason(&meeting->server), CONDUIT_TLS_NO_COMMON_ALPN);
    cr_expect_eq(reason(&meeting->client), CONDUIT_TLS_ALERT);
    cr_expect_eq(meeting->client.code, CONDUIT_ETLS);
    cr_expect(strstr(why(&meeting->client),
                     "peer sent alert: no application protocol (120): we offer h2,h3") != NULL,
              "%s", why(&meeting->client));
    part(meeting);
}

/* ---- bytes ---- */

CDT_TEST(tls, bytes_survive_any_weather)
{
    static const struct {
        struct weather weather;
        size_t up, down, read_size;
    } rows[] = {
        {{0}, 3000000, 3000000, CDT_BUFFER_SIZE},
        {{0}, 100000, 0, 7},
        {{.deny = 3}, 300000, 200000, 1000},
        {{.chunk = 1}, 3000, 3000, 4096},
        {{.chunk = 1, .deny = 2}, 1000, 1000, 1},
        {{.chunk = 777, .deny = 5}, 500000, 500000, 16384},
    };
    static const char *const versions[] = {"1.2", "1.3"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) * 2; i++) {
        struct setup setup = {
            .weather = rows[i / 2].weather, .client_key = "max", .client_value = versions[i % 2]};
        struct meeting *meeting = open_meeting(&setup);
        exchange(meeting, rows[i / 2].up, rows[i / 2].down, rows[i / 2].read_size);
        part(meeting);
    }
}

CDT_TEST(tls, a_turn_costs_one_read_and_one_write_below)
{
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    struct end *client = &meeting->client, *server = &meeting->server;
    exchange(meeting, 100, 100, 4096);
    server->fake.reads = server->fake.writes = client->fake.writes = 0;
    step_send(client, 1100);
    step_receive(server, 4096);
    step_send(server, 1100);
    cr_expect_eq(client->fake.writes, 1);
    cr_expect_eq(server->fake.reads, 1);
    cr_expect_eq(server->fake.writes, 1);
    cr_expect_eq(server->received, 1100);
    part(meeting);
}

CDT_TEST(tls, a_full_path_takes_no_more)
{
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    struct end *client = &meeting->client;
    static char bytes[400000];
    struct iovec v = {bytes, sizeof(bytes)};
    ssize_t taken = cdt_layer_write(client->path->top, &v, 1);
    cr_expect(taken > 0 && taken < 120000, "%zd", taken);
    cr_expect_eq(cdt_layer_write(client->path->top, &v, 1), CONDUIT_EAGAIN);
    cr_expect_eq(cdt_layer_flush(client->path->top), CONDUIT_EAGAIN);
    part(meeting);
}

static size_t largest;

static void *note_size(size_t size)
{
    largest = size > largest ? size : largest;
    return malloc(size);
}

/* To a layer, which is not flushed. */
static void say(struct end *end, const char *bytes, size_t n)
{
    char copy[16000];
    struct iovec v = {copy, n};
    memcpy(copy, bytes, n);
    cr_assert_eq(cdt_layer_write(end->path->top, &v, 1), (ssize_t)n);
}

CDT_TEST(tls, a_short_answer_waits_in_a_small_buffer_and_a_long_one_after_it)
{
    static const conduit_allocator noting = {note_size, calloc, realloc, free};
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    struct end *client = &meeting->client, *server = &meeting->server;
    char said[16000], heard[sizeof(said)];
    for (size_t i = 0; i < sizeof(said); i++)
        said[i] = (char)(i / 3);
    exchange(meeting, 100, 100, 4096);
    cr_assert_eq(conduit_set_allocator(&noting), 0);
    say(server, said, 100);
    say(client, said, 100);
    cr_expect(largest <= 4096, "%zu bytes for an answer of 100", largest);
    conduit_set_allocator(NULL);
    say(client, said + 100, sizeof(said) - 100);
    cr_assert_eq(cdt_layer_flush(client->path->top), 0);
    size_t n = 0;
    while (n < sizeof(said)) {
        ssize_t more = cdt_layer_read(server->path->top, heard + n, sizeof(heard) - n);
        cr_assert(more > 0, "%zd after %zu bytes", more, n);
        n += (size_t)more;
    }
    cr_expect_eq(memcmp(said, heard, sizeof(said)), 0);
    part(meeting);
}

CDT_TEST(tls, what_did_not_fit_the_buffer_is_pending)
{
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    struct end *client = &meeting->client, *server = &meeting->server;
    cr_expect(!cdt_layer_pending(server->path->top));
    step_send(client, 3000);
    step_send(client, 6000);
    step_receive(server, 500);
    cr_expect_eq(server->received, 500);
    cr_expect(cdt_layer_pending(server->path->top));
    step_receive(server, 5000);
    step_receive(server, 5000);
    cr_expect_eq(server->received, 6000);
    cr_expect(!cdt_layer_pending(server->path->top));
    part(meeting);
}

/* ---- the end ---- */

CDT_TEST(tls, each_direction_ends_on_its_own)
{
    static const char *const versions[] = {"1.2", "1.3"};
    for (int i = 0; i < 2; i++) {
        struct setup setup = {
            .client_key = "max", .client_value = versions[i], .weather = {.chunk = 3, .deny = 4}};
        struct meeting *meeting = open_meeting(&setup);
        struct end *client = &meeting->client, *server = &meeting->server;
        step_send(client, 1000);
        cr_assert_eq(finish_end(client), 0);
        cr_assert_eq(finish_end(client), 0, "again is harmless");
        cr_assert_eq(read_to_end(server), 0);
        cr_expect_eq(server->received, 1000);
        cr_assert_eq(read_to_end(server), 0, "and stays so");
        cr_expect(!cdt_layer_pending(server->path->top), "the end was told");
        while (client->received < 5000) {
            step_send(server, 5000);
            step_receive(client, 4096);
        }
        cr_assert_eq(finish_end(server), 0);
        cr_assert_eq(read_to_end(client), 0);
        cr_expect(client->path->error == NULL && server->path->error == NULL);
        part(meeting);
    }
}

CDT_TEST(tls, an_end_that_came_with_the_last_bytes_is_pending)
{
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    struct end *client = &meeting->client, *server = &meeting->server;
    char bytes[4096];
    step_send(client, 1000);
    cr_assert_eq(finish_end(client), 0);
    cr_assert_eq(cdt_layer_read(server->path->top, bytes, sizeof(bytes)), 1000);
    cr_expect(cdt_layer_pending(server->path->top));
    cr_expect_eq(cdt_layer_read(server->path->top, bytes, sizeof(bytes)), 0);
    cr_expect(!cdt_layer_pending(server->path->top));
    part(meeting);
}

CDT_TEST(tls, a_cut_is_no_end)
{
    static const char *const versions[] = {"1.2", "1.3"};
    for (int i = 0; i < 2; i++) {
        struct setup setup = {.client_key = "max", .client_value = versions[i]};
        struct meeting *meeting = open_meeting(&setup);
        struct end *client = &meeting->client, *server = &meeting->server;
        step_send(client, 1000);
        meeting->up.ended = true;
        cr_assert_eq(read_to_end(server), CONDUIT_ETRUNCATED);
        cr_expect_eq(server->received, 1000, "what came before is delivered");
        cr_expect(strstr(why(server), "the peer ended the stream without close_notify") != NULL);
        cr_expect_eq(reason(server), CONDUIT_TLS_TRUNCATED);
        cr_expect_eq(conduit_error_stage(server->path->error), CONDUIT_STAGE_IO);
        cr_expect_eq(read_to_end(server), CONDUIT_ETRUNCATED);
        part(meeting);
    }
}

CDT_TEST(tls, a_cut_inside_a_record_is_no_end)
{
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    step_send(&meeting->client, 1000);
    meeting->up.n--;
    meeting->up.ended = true;
    cr_expect_eq(read_to_end(&meeting->server), CONDUIT_ETRUNCATED);
    cr_expect_eq(meeting->server.received, 333, "the first of its two records");
    part(meeting);
}

CDT_TEST(tls, a_failure_below_stays_what_it_is)
{
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    meeting->up.broken = true;
    cr_expect_eq(read_to_end(&meeting->server), CONDUIT_ERESET);
    cr_expect_str_eq(conduit_error_source(meeting->server.path->error), "errno");
    part(meeting);
}

CDT_TEST(tls, a_cut_in_the_handshake)
{
    struct setup setup = {0};
    struct meeting *meeting = meet(&setup);
    meeting->down.ended = true;
    shake_hands(meeting);
    cr_expect_eq(meeting->client.code, CONDUIT_ETLS);
    cr_expect(strstr(why(&meeting->client),
                     "the peer closed the connection during the handshake") != NULL,
              "%s", why(&meeting->client));
    cr_expect_eq(reason(&meeting->client), CONDUIT_TLS_CLOSED);
    part(meeting);
}

/* ---- hostile and mistaken peers ---- */

CDT_TEST(tls, what_is_not_tls_is_called_so)
{
    static const struct {
        const char *bytes, *text;
        bool to_server;
    } rows[] = {
        {"220 mail.example ESMTP ready\r\n", "the peer does not speak TLS", false},
        {"HTTP/1.1 400 Bad Request\r\n\r\n", "the peer does not speak TLS", false},
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
         "the peer does not speak TLS (it sent a plain HTTP request)", true},
        {"\x01\x02\x03\x04\x05\x06\x07\x08 and so on", "the peer does not speak TLS", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct setup setup = {0};
        struct meeting *meeting = meet(&setup);
        struct end *end = rows[i].to_server ? &meeting->server : &meeting->client;
        struct pipe *in = rows[i].to_server ? &meeting->up : &meeting->down;
        in->n = strlen(rows[i].bytes);
        memcpy(in->bytes, rows[i].bytes, in->n);
        cr_expect_eq(cdt_layer_open(end->path->top), CONDUIT_ETLS, "row %zu", i);
        cr_expect(strstr(why(end), rows[i].text) != NULL, "row %zu: %s", i, why(end));
        cr_expect_eq(reason(end), CONDUIT_TLS_NOT_TLS, "row %zu", i);
        part(meeting);
    }
}

/* A hello of TLS 1.3 that knows no group but P-256, for `name` of nine bytes. */
static size_t write_hello(unsigned char *to, const char *name, const char *share, size_t n_share)
{
    static const char before[] = "\x03\x03"
                                 "0123456789abcdef0123456789abcdef"
                                 "\x20"
                                 "0123456789abcdef0123456789abcdef"
                                 "\0\x02\x13\x01"
                                 "\x01\0";
    static const char extensions[] = "\0\x2b\0\x03\x02\x03\x04"            /* versions: 1.3 */
                                     "\0\x0a\0\x04\0\x02\0\x17"            /* groups: P-256 */
                                     "\0\x0d\0\x06\0\x04\x04\x03\x08\x04"; /* signatures */
    unsigned char *at = to + 9;
    memcpy(at, before, sizeof(before) - 1);
    at += sizeof(before) - 1 + 2;
    unsigned char *body = at;
    memcpy(at, "\0\0\0\x0e\0\x0c\0\0\x09", 9); /* the name of a server */
    memcpy(at + 9, name, 9);
    memcpy(at + 18, extensions, sizeof(extensions) - 1);
    at += 18 + sizeof(extensions) - 1;
    memcpy(at, (unsigned char[]){0, 51, 0, (unsigned char)(n_share + 2), 0, (unsigned char)n_share},
           6);
    memcpy(at + 6, share, n_share);
    at += 6 + n_share;
    size_t n_body = (size_t)(at - body), n = (size_t)(at - to);
    memcpy(body - 2, (unsigned char[]){(unsigned char)(n_body >> 8), (unsigned char)n_body}, 2);
    memcpy(to,
           (unsigned char[]){22, 3, 1, (unsigned char)((n - 5) >> 8), (unsigned char)(n - 5), 1, 0,
                             (unsigned char)((n - 9) >> 8), (unsigned char)(n - 9)},
           9);
    return n;
}

/* Who is asked to say hello again could say another name, and be served by what was chosen for the
 * first. */
CDT_TEST(tls, a_second_hello_for_another_name_is_judged_by_that)
{
    /* The base point of P-256 is as good a key as any. */
    static const char share[] = "\0\x17\0\x41\x04"
                                "\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2"
                                "\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96"
                                "\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16"
                                "\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";
    static const char *const names[] = {"a.example", "z.example"};
    for (size_t i = 0; i < 2; i++) {
        struct setup setup = {.server_key = "sni", .server_value = "strict"};
        struct meeting *meeting = meet(&setup);
        meeting->up.n = write_hello(meeting->up.bytes, "a.example", "", 0);
        cr_expect_eq(cdt_layer_open(meeting->server.path->top), CONDUIT_EAGAIN);
        cr_expect_gt(meeting->down.total, 0, "it was not asked to say hello again");
        meeting->up.n = write_hello(meeting->up.bytes, names[i], share, sizeof(share) - 1);
        cr_expect_eq(cdt_layer_open(meeting->server.path->top),
                     i == 0 ? CONDUIT_EAGAIN : CONDUIT_ETLS, "%s: %s", names[i],
                     why(&meeting->server));
        part(meeting);
    }
}

CDT_TEST(tls, a_flipped_bit_ends_the_path_and_the_peer_is_told)
{
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    step_send(&meeting->client, 1000);
    meeting->up.bytes[500] ^= 1;
    cr_expect_eq(read_to_end(&meeting->server), CONDUIT_ETLS);
    cr_expect(strstr(why(&meeting->server), "bad record MAC") != NULL, "%s", why(&meeting->server));
    cr_expect_eq(reason(&meeting->server), CONDUIT_TLS_DAMAGED);
    cr_expect_eq(read_to_end(&meeting->client), CONDUIT_ETLS);
    cr_expect(strstr(why(&meeting->client), "peer sent alert: bad record mac (20)") != NULL, "%s",
              why(&meeting->client));
    part(meeting);
}

/* One byte of what is on its way, in either direction, becomes another. */
static void corrupt(struct meeting *meeting, unsigned *seed)
{
    struct pipe *pipe = rand_r(seed) % 2 == 0 ? &meeting->up : &meeting->down;
    if (pipe->n > 0)
        pipe->bytes[(size_t)rand_r(seed) % pipe->n] ^= (unsigned char)(1 << rand_r(seed) % 8);
}

CDT_TEST(tls, a_corrupted_handshake_fails_or_waits_and_never_opens_both_ends_unlike)
{
    for (unsigned seed = 1; seed <= 150; seed++) {
        unsigned state = seed;
        struct setup setup = {.client_cert = "client", .server_ca = "ca.pem"};
        struct meeting *meeting = meet(&setup);
        meeting->client.code = meeting->server.code = CONDUIT_EAGAIN;
        for (int i = 0; i < 20; i++) {
            step_open(&meeting->client);
            if (i % 2 == (int)seed % 2)
                corrupt(meeting, &state);
            step_open(&meeting->server);
            corrupt(meeting, &state);
        }
        meeting->up.ended = meeting->down.ended = true; /* a length that grew is waited for */
        shake_hands(meeting);
        bool both = meeting->client.code == 0 && meeting->server.code == 0;
        cr_expect(!both || strcmp(facts_of(&meeting->client).tls_cipher,
                                  facts_of(&meeting->server).tls_cipher) == 0,
                  "seed %u", seed);
        part(meeting);
    }
}

/* ---- TLS over TLS ---- */

CDT_TEST(tls, runs_over_itself)
{
    struct meeting *meeting = new_meeting();
    conduit_tls *client = make_config("ca.pem", NULL, NULL, NULL);
    conduit_tls *server = make_config(NULL, "server", NULL, NULL);
    struct cdt_stack_options options = {.tls = client};
    join(meeting, &meeting->client, "a.example", NULL, false, client);
    join(meeting, &meeting->server, "", NULL, true, server);
    cr_assert_eq(cdt_layer_tls.push(meeting->client.path, meeting->client.path->endpoint, &options),
                 0);
    options = (struct cdt_stack_options){.server = true, .tls = server};
    cr_assert_eq(cdt_layer_tls.push(meeting->server.path, meeting->server.path->endpoint, &options),
                 0);
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    meeting->weather.chunk = 1000;
    shake_hands(meeting);
    cr_assert_eq(meeting->client.code, 0, "%s", why(&meeting->client));
    exchange(meeting, 300000, 300000, 10000);
    cr_assert_eq(finish_end(&meeting->client), 0);
    cr_expect_eq(read_to_end(&meeting->server), 0);
    part(meeting);
}
