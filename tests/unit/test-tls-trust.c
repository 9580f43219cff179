/* SPDX-License-Identifier: ISC */
/*
 * Whom TLS believes, at both ends: names, anchors from wherever they come, pins, TLSA records,
 * revocation, the program's own check. What is refused is refused for a reason of its own, in a
 * sentence that says what is wrong.
 */
#include "meeting.h"
#include <conduit/memory.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

/* ---- whom to believe ---- */

struct refusal {
    const char *title, *name, *cert, *ca;
    int number, reason;
    const char *text, *end; /* how it begins, after the endpoint, and how it ends */
};

static void check_refusal(const struct refusal *row)
{
    struct setup setup = {.name = row->name, .cert = row->cert, .ca = row->ca};
    struct meeting *meeting = meet(&setup);
    char text[512];
    snprintf(text, sizeof(text), "tls: %s: %s",
             conduit_endpoint_uri(meeting->client.path->endpoint), row->text);
    shake_hands(meeting);
    const conduit_error *error = meeting->client.path->error;
    cr_assert_eq(meeting->client.code, CONDUIT_ETRUST, "%s: %s", row->title, why(&meeting->client));
    const char *got = conduit_error_text(error);
    cr_expect(strncmp(got, text, strlen(text)) == 0, "%s: %s", row->title, got);
    cr_expect(strlen(got) >= strlen(row->end) &&
                  strcmp(got + strlen(got) - strlen(row->end), row->end) == 0,
              "%s: %s", row->title, got);
    cr_expect_eq(conduit_error_reason(error), row->reason, "%s: %s", row->title,
                 conduit_tls_reason_name(conduit_error_reason(error)));
    if (strcmp(conduit_error_source(error), "X509") == 0)
        cr_expect_eq(conduit_error_number(error), row->number, "%s: %ld", row->title,
                     conduit_error_number(error));
    else
        cr_expect_str_eq(conduit_error_source(error), "GnuTLS"); /* it has one number for all */
    cr_expect_eq(conduit_error_stage(error), CONDUIT_STAGE_TLS);
    cr_expect(meeting->server.code == 0 || meeting->server.code == CONDUIT_ETLS);
    part(meeting);
}

CDT_TEST(tls_trust, certificates_are_turned_away_with_a_reason)
{
    static const struct refusal rows[] = {
        {"another name", "b.example", NULL, NULL, 62, CONDUIT_TLS_WRONG_NAME,
         "certificate is for \"a.example\", \"*.wild.example\", \"localhost\" and 2 more, not "
         "\"b.example\"",
         ""},
        {"one name", "a.example", "b", NULL, 62, CONDUIT_TLS_WRONG_NAME,
         "certificate is for \"b.example\", not \"a.example\"", ""},
        {"wildcard two deep", "x.y.wild.example", NULL, NULL, 62, CONDUIT_TLS_WRONG_NAME,
         "certificate is for \"a.example\", \"*.wild.example\", \"localhost\" and 2 more, not "
         "\"x.y.wild.example\"",
         ""},
        {"wildcard with a rest", "foox.part.example", "part", NULL, 62, CONDUIT_TLS_WRONG_NAME,
         "certificate is for \"*x.part.example\", not \"foox.part.example\"", ""},
        {"address", "192.0.2.1", NULL, NULL, 64, CONDUIT_TLS_WRONG_NAME,
         "certificate is for \"a.example\", \"*.wild.example\", \"localhost\" and 2 more, not "
         "\"192.0.2.1\"",
         ""},
        {"no names", "a.example", "nameless", NULL, 62, CONDUIT_TLS_NAMELESS,
         "certificate is for nobody (no subjectAltName), not \"a.example\"", ""},
        {"expired", "a.example", "expired", NULL, 10, CONDUIT_TLS_EXPIRED,
         "certificate of \"a.example\" expired ", " days ago (2024-01-01)"},
        {"early", "a.example", "early", NULL, 9, CONDUIT_TLS_NOT_YET_VALID,
         "certificate of \"a.example\" is not valid for another ",
         " days (from 2090-01-01): is the clock right?"},
        {"self-signed", "a.example", "self", NULL, 18, CONDUIT_TLS_SELF_SIGNED,
         "certificate of \"a.example\" is self-signed, and in none of: ", "/ca.pem (1 anchor)"},
        {"unknown authority", "a.example", "unknown", NULL, 20, CONDUIT_TLS_UNKNOWN_ISSUER,
         "signed by \"Conduit Test other-ca\", which is in none of: ",
         "/ca.pem (1 anchor) (the peer sent no intermediate)"},
        {"other trust", "a.example", NULL, "other-ca.pem", 20, CONDUIT_TLS_UNKNOWN_ISSUER,
         "signed by \"Conduit Test ca\", which is in none of: ",
         "/other-ca.pem (1 anchor) (the "
         "peer sent no intermediate)"},
        {"for clients only", "a.example", "client", NULL, 26, CONDUIT_TLS_WRONG_PURPOSE,
         "certificate of \"a.example\" is not for a TLS server (extendedKeyUsage, keyUsage)", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_refusal(&rows[i]);
}

CDT_TEST(tls_trust, names_and_addresses_that_are_proved)
{
    static const struct {
        const char *name, *cert, *ca, *sni;
    } rows[] = {
        {"a.example", NULL, NULL, "a.example"},
        {"A.Example", NULL, NULL, "a.example"},
        {"a.example.", NULL, NULL, "a.example"},
        {"x.wild.example", NULL, NULL, "x.wild.example"},
        {"127.0.0.1", NULL, NULL, ""},
        {"::1", NULL, NULL, ""},
        {"::1%lo", NULL, NULL, ""},
        {"chain.example", "chain", NULL, "chain.example"},
        {"a.example", "self", "self.pem", "a.example"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct setup setup = {.name = rows[i].name, .cert = rows[i].cert, .ca = rows[i].ca};
        struct meeting *meeting = open_meeting(&setup);
        cr_expect_str_eq(facts_of(&meeting->server).tls_name, rows[i].sni, "%s", rows[i].name);
        part(meeting);
    }
}

/* A machine without a store has another error for it. */
static void expect_unknown_to_the_system(struct meeting *meeting)
{
    shake_hands(meeting);
    if (reason(&meeting->client) == CONDUIT_TLS_NO_ANCHORS)
        return;
    cr_expect_eq(reason(&meeting->client), CONDUIT_TLS_UNKNOWN_ISSUER, "%s", why(&meeting->client));
    cr_expect(strstr(why(&meeting->client), "which is in none of: system store (") != NULL, "%s",
              why(&meeting->client));
    cr_expect(strstr(why(&meeting->client), " anchors)") != NULL, "%s", why(&meeting->client));
}

CDT_TEST(tls_trust, the_systems_store_does_not_know_the_test_ca)
{
    struct setup setup = {.ca = ""};
    struct meeting *meeting = meet(&setup);
    expect_unknown_to_the_system(meeting);
    part(meeting);
}

CDT_TEST(tls_trust, the_systems_anchors_are_loaded_off_the_loop_and_once)
{
    conduit_tls *client = make_config(NULL, NULL, NULL, NULL);
    conduit_tls *server = make_config(NULL, "server", NULL, NULL);
    struct meeting *first = meet_with(client, server, "a.example");
    cr_expect_eq(cdt_layer_open(first->client.path->top), CONDUIT_EAGAIN);
    cr_expect_eq(first->up.total, 0, "the handshake waits for the thread");
    cr_expect_eq(first->client.fake.want, 0, "and nothing that comes can keep the loop busy");
    struct meeting *gone = meet_again(first, client, server, "a.example");
    part_again(gone);
    expect_unknown_to_the_system(first);
    struct meeting *second = meet_again(first, client, server, "a.example");
    cdt_layer_open(second->client.path->top);
    cr_expect(second->up.total > 0 || reason(&second->client) == CONDUIT_TLS_NO_ANCHORS,
              "they are there");
    part_again(second);
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    part(first);
}

CDT_TEST(tls_trust, who_goes_while_anchors_are_loaded_leaves_nothing)
{
    conduit_tls *client = make_config(NULL, NULL, NULL, NULL);
    struct meeting *meeting = new_meeting();
    join(meeting, &meeting->client, "a.example", NULL, false, client);
    conduit_tls_unref(client);
    part(meeting);
}

CDT_TEST(tls_trust, the_environment_does_not_choose_the_trust_store_unasked)
{
    struct setup setup = {.ca = ""};
    setenv("SSL_CERT_FILE", file("ca.pem"), 1);
    setenv("SSL_CERT_DIR", file("hashed"), 1);
    struct meeting *meeting = meet(&setup);
    expect_unknown_to_the_system(meeting);
    part(meeting);
}

CDT_TEST(tls_trust, the_environment_chooses_the_trust_store_when_asked)
{
    struct setup setup = {.ca = "", .client_key = "ca", .client_value = "$CDT_TEST_ANCHORS"};
    setenv("CDT_TEST_ANCHORS", file("ca.pem"), 1);
    part(open_meeting(&setup));
    unsetenv("CDT_TEST_ANCHORS");
    struct meeting *meeting = meet(&setup);
    expect_unknown_to_the_system(meeting);
    part(meeting);
}

CDT_TEST(tls_trust, a_name_is_needed_and_has_to_be_one)
{
    static const char *const names[] = {"", ".example", "a..example", "*.example", "a b", "eth%0"};
    struct meeting *meeting = new_meeting();
    conduit_tls *tls = make_config("ca.pem", NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int code = join(meeting, &meeting->client, names[i], NULL, false, tls);
        cr_expect_eq(code, CONDUIT_EINVAL, "\"%s\": %d", names[i], code);
        cr_expect_eq(reason(&meeting->client), i == 0 ? CONDUIT_TLS_NO_NAME : CONDUIT_TLS_BAD_NAME,
                     "\"%s\": %s", names[i], why(&meeting->client));
        close_end(&meeting->client);
    }
    conduit_tls_unref(tls);
    part(meeting);
}

CDT_TEST(tls_trust, insecure_is_only_on_request_and_shows)
{
    struct setup setup = {.name = "b.example",
                          .cert = "expired",
                          .ca = "",
                          .client_key = "verify",
                          .client_value = "insecure"};
    struct meeting *meeting = open_meeting(&setup);
    struct cdt_facts facts = facts_of(&meeting->client);
    cr_expect_str_eq(facts.tls_verify, "insecure");
    cr_expect_str_eq(facts.tls_name, "", "nothing was proved");
    cr_expect_str_eq(facts.tls_peer, "CN=a.example");
    part(meeting);
}

/* ---- client certificates ---- */

CDT_TEST(tls_trust, a_client_certificate_is_verified)
{
    struct setup setup = {.client_cert = "client", .server_ca = "ca.pem"};
    struct meeting *meeting = open_meeting(&setup);
    struct cdt_facts facts = facts_of(&meeting->server);
    cr_expect_str_eq(facts.tls_peer, "CN=client");
    cr_expect_str_eq(facts.tls_verify, "full");
    exchange(meeting, 1000, 1000, 4096);
    part(meeting);
}

CDT_TEST(tls_trust, a_missing_client_certificate_is_refused_and_the_client_told)
{
    static const struct {
        const char *max, *cert, *server, *client;
        int reason;
    } rows[] = {
        {"1.3", NULL, "the peer showed no certificate, and one is demanded (ca, client_cert)",
         "peer sent alert: certificate required (116)", CONDUIT_TLS_NO_PEER_CERT},
        {"1.2", NULL, "the peer showed no certificate, and one is demanded (ca, client_cert)",
         "peer sent alert: handshake failure (40)", CONDUIT_TLS_NO_PEER_CERT},
        {"1.3", "server",
         "certificate of \"a.example\" is not for a TLS client (extendedKeyUsage, keyUsage)",
         "peer sent alert: unsupported certificate (43)", CONDUIT_TLS_WRONG_PURPOSE},
        {"1.3", "unknown", "signed by \"Conduit Test other-ca\", which is in none of: ",
         "peer sent alert: unknown CA (48)", CONDUIT_TLS_UNKNOWN_ISSUER},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct setup setup = {.client_cert = rows[i].cert,
                              .server_ca = "ca.pem",
                              .client_key = "max",
                              .client_value = rows[i].max};
        struct meeting *meeting = meet(&setup);
        shake_hands(meeting);
        cr_expect_eq(meeting->server.code, CONDUIT_ETRUST);
        cr_expect_eq(reason(&meeting->server), rows[i].reason, "row %zu", i);
        cr_expect(strstr(why(&meeting->server), rows[i].server) != NULL, "%s",
                  why(&meeting->server));
        /* With TLS 1.3 the client was open before the server looked at its certificate. */
        int code = meeting->client.code == 0 ? read_to_end(&meeting->client) : meeting->client.code;
        cr_expect_eq(code, CONDUIT_ETLS);
        cr_expect(strstr(why(&meeting->client), rows[i].client) != NULL, "%s",
                  why(&meeting->client));
        part(meeting);
    }
}

CDT_TEST(tls_trust, an_alert_explains_why_writing_broke)
{
    struct setup setup = {.server_ca = "ca.pem"};
    struct meeting *meeting = meet(&setup);
    struct end *client = &meeting->client;
    shake_hands(meeting);
    cr_assert_eq(client->code, 0);
    meeting->up.refused = true;
    char bytes[100] = "";
    struct iovec v = {bytes, sizeof(bytes)};
    cr_expect_gt(cdt_layer_write(client->path->top, &v, 1), 0);
    cr_expect_eq(cdt_layer_flush(client->path->top), CONDUIT_ERESET);
    cr_expect_eq(read_to_end(client), CONDUIT_ETLS);
    cr_expect(strstr(why(client), "certificate required (116)") != NULL, "%s", why(client));
    part(meeting);
}

/* ---- anchors ---- */

static char *contents(const char *path)
{
    static char bytes[20000];
    FILE *in = fopen(path, "r");
    cr_assert_not_null(in, "%s", path);
    bytes[fread(bytes, 1, sizeof(bytes) - 1, in)] = '\0';
    fclose(in);
    return bytes;
}

CDT_TEST(tls_trust, anchors_come_from_a_directory_or_a_text)
{
    char dir[128], path[128];
    snprintf(dir, sizeof(dir), "%s", file("hashed"));
    snprintf(path, sizeof(path), "%s", file("ca.pem"));
    struct setup rows[] = {
        {.ca = "", .client_key = "ca_dir", .client_value = dir},
        {.ca = "", .client_key = "ca_pem", .client_value = contents(path)},
        {.ca = "other-ca.pem", .client_key = "ca", .client_value = path},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        part(open_meeting(&rows[i]));
}

CDT_TEST(tls_trust, own_anchors_stand_beside_the_systems)
{
    struct setup setup = {.client_key = "ca_system", .client_value = "yes"};
    part(open_meeting(&setup));
    setup.cert = "unknown";
    struct meeting *meeting = meet(&setup);
    shake_hands(meeting);
    cr_expect_eq(reason(&meeting->client), CONDUIT_TLS_UNKNOWN_ISSUER);
    cr_expect(strstr(why(&meeting->client), "/ca.pem (1 anchor), system store (") != NULL ||
                  strstr(why(&meeting->client), "/ca.pem (1 anchor), (") != NULL,
              "%s", why(&meeting->client));
    part(meeting);
}

CDT_TEST(tls_trust, other_faults_are_told_though_two_stores_were_asked)
{
    struct setup setup = {.cert = "expired", .client_key = "ca_system", .client_value = "yes"};
    struct meeting *meeting = meet(&setup);
    shake_hands(meeting);
    cr_expect_eq(reason(&meeting->client), CONDUIT_TLS_EXPIRED, "%s", why(&meeting->client));
    part(meeting);
}

/* What a library has not is refused as that, and not as if nobody had heard of it. */
CDT_TEST(tls_trust, every_key_of_an_endpoint_is_known)
{
    conduit_tls *tls = conduit_tls_new();
    for (const char *const *key = cdt_layer_tls.keys; *key != NULL; key++) {
        const conduit_error *error = NULL;
        if (strcmp(*key, "name") != 0 && conduit_tls_set(tls, *key, "/no/such", &error) < 0)
            cr_expect_neq(conduit_error_reason(error), CONDUIT_TLS_UNKNOWN_KEY, "%s", *key);
        conduit_error_unref(error);
    }
    conduit_tls_unref(tls);
}

/* ---- other ways to verify ---- */

CDT_TEST(tls_trust, chain_alone_takes_any_name_and_no_other_chain)
{
    struct setup setup = {
        .name = "nobody.example", .client_key = "verify", .client_value = "chain"};
    struct meeting *meeting = open_meeting(&setup);
    struct cdt_facts facts = facts_of(&meeting->client);
    cr_expect_str_eq(facts.tls_verify, "chain");
    cr_expect_str_eq(facts.tls_name, "", "no name was proved");
    part(meeting);
    setup.cert = "unknown";
    meeting = meet(&setup);
    shake_hands(meeting);
    cr_expect_eq(reason(&meeting->client), CONDUIT_TLS_UNKNOWN_ISSUER);
    part(meeting);
}

/* The pin of a certificate, as a person would make it. */
static const char *pin_of(const char *name)
{
    static char pin[80];
    char command[512];
    snprintf(command, sizeof(command),
             "openssl x509 -in %s -noout -pubkey | openssl pkey -pubin -outform DER | "
             "openssl dgst -sha256 -binary | openssl base64 -A",
             file(name));
    FILE *out = popen(command, "r");
    cr_assert_not_null(out);
    snprintf(pin, sizeof(pin), "sha256//");
    cr_assert_eq(fread(pin + 8, 1, 44, out), 44);
    pin[52] = '\0';
    pclose(out);
    return pin;
}

CDT_TEST(tls_trust, a_pinned_key_is_enough_alone)
{
    struct setup setup = {.cert = "self", .ca = "", .client_key = "verify", .client_value = "pin"};
    for (int i = 0; i < 2; i++) {
        conduit_tls *client = make_config(NULL, NULL, "verify", "pin");
        conduit_tls *server = make_config(NULL, setup.cert, NULL, NULL);
        set(client, "pin", pin_of("b.pem"));
        set(client, "pin", pin_of(i == 0 ? "self.pem" : "rsa.pem"));
        struct meeting *meeting = meet_with(client, server, "nobody.example");
        shake_hands(meeting);
        if (i == 0) {
            cr_expect_str_eq(facts_of(&meeting->client).tls_verify, "pin");
        } else {
            cr_expect_eq(reason(&meeting->client), CONDUIT_TLS_PIN_MISMATCH);
            cr_expect(strstr(why(&meeting->client), pin_of("self.pem")) != NULL, "%s",
                      why(&meeting->client));
        }
        conduit_tls_unref(client);
        conduit_tls_unref(server);
        part(meeting);
    }
}

CDT_TEST(tls_trust, pins_count_beside_the_chain)
{
    struct setup setup = {.client_key = "pin", .client_value = pin_of("server.pem")};
    struct meeting *meeting = open_meeting(&setup);
    cr_expect_str_eq(facts_of(&meeting->client).tls_verify, "full");
    part(meeting);
    setup.cert = "unknown"; /* the names are right and the pin is not asked first */
    meeting = meet(&setup);
    shake_hands(meeting);
    cr_expect_eq(reason(&meeting->client), CONDUIT_TLS_UNKNOWN_ISSUER);
    part(meeting);
    setup.cert = "rsa";
    meeting = meet(&setup);
    shake_hands(meeting);
    cr_expect_eq(reason(&meeting->client), CONDUIT_TLS_PIN_MISMATCH, "%s", why(&meeting->client));
    part(meeting);
}

CDT_TEST(tls_trust, clients_can_be_pinned)
{
    conduit_tls *server = make_config(NULL, "server", "verify", "pin");
    set(server, "pin", pin_of("client.pem"));
    for (int i = 0; i < 2; i++) {
        conduit_tls *client = make_config("ca.pem", i == 0 ? "client" : "b", NULL, NULL);
        struct meeting *meeting = meet_with(client, server, "a.example");
        shake_hands(meeting);
        cr_expect_eq(reason(&meeting->server), i == 0 ? 0 : CONDUIT_TLS_PIN_MISMATCH, "%s",
                     why(&meeting->server));
        conduit_tls_unref(client);
        part(meeting);
    }
    conduit_tls_unref(server);
}

/* "3 1 1 HEX" of a certificate. */
static const char *tlsa_of(const char *name, const char *usage)
{
    static char record[128];
    char command[512];
    snprintf(command, sizeof(command),
             "openssl x509 -in %s -noout -pubkey | openssl pkey -pubin -outform DER | "
             "openssl dgst -sha256 -hex | sed 's/.* //'",
             file(name));
    FILE *out = popen(command, "r");
    cr_assert_not_null(out);
    int n = snprintf(record, sizeof(record), "%s 1 1 ", usage);
    cr_assert_eq(fread(record + n, 1, 64, out), 64);
    record[n + 64] = '\0';
    pclose(out);
    return record;
}

CDT_TEST(tls_trust, tlsa_records_decide)
{
    needs("verify", "dane");
    static const struct {
        const char *cert, *name, *record, *usage;
        int reason;
    } rows[] = {
        {"self", "a.example", "self.pem", "3", 0},
        {"expired", "a.example", "expired.pem", "3", 0}, /* RFC 7671, section 5.1 */
        {"self", "b.example", "self.pem", "3", CONDUIT_TLS_WRONG_NAME},
        {"self", "a.example", "b.pem", "3", CONDUIT_TLS_DANE_MISMATCH},
        {"stapled", "a.example", "ca.pem", "2", 0},
        {"stapled", "b.example", "ca.pem", "2", CONDUIT_TLS_WRONG_NAME},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conduit_tls *client = make_config("other-ca.pem", NULL, "verify", "dane");
        conduit_tls *server = make_config(NULL, rows[i].cert, NULL, NULL);
        set(client, "tlsa", tlsa_of(rows[i].record, rows[i].usage));
        struct meeting *meeting = meet_with(client, server, rows[i].name);
        shake_hands(meeting);
        cr_expect_eq(reason(&meeting->client), rows[i].reason, "row %zu: %s", i,
                     why(&meeting->client));
        if (rows[i].reason == 0)
            cr_expect_str_eq(facts_of(&meeting->client).tls_verify, "dane");
        conduit_tls_unref(client);
        conduit_tls_unref(server);
        part(meeting);
    }
}

/* For this process alone; false without the rights for it. */
static bool enter_system_that_knows_the_ca(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount(file("hashed"), "/etc/ssl/certs", "none", MS_BIND, NULL) == 0;
}

/* A chain that only the system knows is asked for in a second store. */
CDT_TEST(tls_trust, tlsa_records_decide_in_the_systems_store_too)
{
    needs("verify", "dane");
    static const struct {
        const char *verify, *record, *usage;
        int reason;
    } rows[] = {
        {"full", NULL, NULL, 0},
        {"dane", "ca.pem", "0", 0},
        {"dane", "server.pem", "1", 0},
        {"dane", "b.pem", "0", CONDUIT_TLS_DANE_MISMATCH},
        {"dane", "b.pem", "1", CONDUIT_TLS_DANE_MISMATCH},
        {"dane", "b.pem", "2", CONDUIT_TLS_DANE_MISMATCH},
        {"dane", "b.pem", "3", CONDUIT_TLS_DANE_MISMATCH},
    };
    if (!enter_system_that_knows_the_ca())
        cr_skip_test("needs the rights to make namespaces");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conduit_tls *client = make_config("other-ca.pem", NULL, "verify", rows[i].verify);
        conduit_tls *server = make_config(NULL, "server", NULL, NULL);
        set(client, "ca_system", "yes");
        if (rows[i].record != NULL)
            set(client, "tlsa", tlsa_of(rows[i].record, rows[i].usage));
        struct meeting *meeting = meet_with(client, server, "a.example");
        shake_hands(meeting);
        cr_expect_eq(reason(&meeting->client), rows[i].reason, "row %zu: %s", i,
                     why(&meeting->client));
        conduit_tls_unref(client);
        conduit_tls_unref(server);
        part(meeting);
    }
}

/* Where records are to be found by others, and were not, nothing else will do. */
CDT_TEST(tls_trust, without_tlsa_records_nobody_is_believed)
{
    needs("verify", "dane");
    conduit_tls *client = make_config("ca.pem", NULL, "verify", "dane");
    conduit_tls *server = make_config(NULL, "server", NULL, NULL);
    cr_expect(cdt_tls_wants_tlsa(client));
    struct meeting *meeting = meet_with(client, server, "a.example");
    cr_expect_eq(meeting->client.code, CONDUIT_ETRUST);
    cr_expect_eq(reason(&meeting->client), CONDUIT_TLS_NO_TLSA, "%s", why(&meeting->client));
    part(meeting);
    conduit_tls *given = make_config("ca.pem", NULL, "verify", "dane");
    set(given, "tlsa", tlsa_of("self.pem", "3"));
    cr_expect(!cdt_tls_wants_tlsa(given));
    conduit_tls_unref(given);
    conduit_tls_unref(client);
    conduit_tls_unref(server);
}

/* ---- revocation ---- */

CDT_TEST(tls_trust, revocation_lists)
{
    needs("crl", "none");
    static const struct {
        const char *cert, *crl, *check;
        int reason;
    } rows[] = {
        {"server", "crl.pem", "peer", 0},
        {"revoked", "crl.pem", "peer", CONDUIT_TLS_REVOKED},
        {"server", "old-crl.pem", "peer", CONDUIT_TLS_CRL_UNFIT},
        {"chain", "crl.pem", "peer", CONDUIT_TLS_NO_CRL},
        {"server", "crl.pem", "chain", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conduit_tls *client = make_config("ca.pem", NULL, "crl", file(rows[i].crl));
        conduit_tls *server = make_config(NULL, rows[i].cert, NULL, NULL);
        set(client, "crl_check", rows[i].check);
        struct meeting *meeting = meet_with(
            client, server, strcmp(rows[i].cert, "chain") == 0 ? "chain.example" : "a.example");
        shake_hands(meeting);
        cr_expect_eq(reason(&meeting->client), rows[i].reason, "row %zu: %s", i,
                     why(&meeting->client));
        conduit_tls_unref(client);
        conduit_tls_unref(server);
        part(meeting);
    }
}

CDT_TEST(tls_trust, stapled_responses)
{
    needs("ocsp", "ask");
    static const struct {
        const char *staple, *ocsp, *max;
        int reason;
        const char *told;
    } rows[] = {
        {"good.ocsp", "require", "1.3", 0, "good"},
        {"good.ocsp", "require", "1.2", 0, "good"},
        {"good.ocsp", "ask", "1.3", 0, "good"},
        {"good.ocsp", "no", "1.3", 0, ""},
        {NULL, "ask", "1.3", 0, ""},
        {NULL, "require", "1.3", CONDUIT_TLS_NO_STAPLE, NULL},
        {NULL, "require", "1.2", CONDUIT_TLS_NO_STAPLE, NULL},
        {"bad.ocsp", "require", "1.3", CONDUIT_TLS_REVOKED, NULL},
        {"bad.ocsp", "ask", "1.2", CONDUIT_TLS_REVOKED, NULL},
        {"own.ocsp", "require", "1.3", CONDUIT_TLS_STAPLE_BAD, NULL},
        {"own.ocsp", "ask", "1.2", 0, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conduit_tls *client = make_config("ca.pem", NULL, "ocsp", rows[i].ocsp);
        conduit_tls *server = make_config(NULL, "stapled", "max", rows[i].max);
        if (rows[i].staple != NULL)
            set(server, "staple", file(rows[i].staple));
        struct meeting *meeting = meet_with(client, server, "a.example");
        shake_hands(meeting);
        cr_expect_eq(reason(&meeting->client), rows[i].reason, "row %zu: %s", i,
                     why(&meeting->client));
        if (rows[i].told != NULL)
            cr_expect_str_eq(facts_of(&meeting->client).tls_ocsp, rows[i].told, "row %zu", i);
        conduit_tls_unref(client);
        conduit_tls_unref(server);
        part(meeting);
    }
}

/* ---- clients, when memory is short ---- */

static size_t refused_size;
static int n_refused;

static void *allocate_but_for_one_size(size_t size)
{
    bool refuse_it = size == refused_size;
    n_refused += refuse_it;
    return refuse_it ? NULL : malloc(size);
}

/* Else it would be served as who asks for no name, of whom nothing is demanded. */
CDT_TEST(tls_trust, a_client_whose_name_finds_no_memory_is_not_served)
{
    static const char name[] = "a-name-as-long-as-nothing-else-that-is-allocated.wild.example";
    static const conduit_allocator scarce = {allocate_but_for_one_size, calloc, realloc, free};
    char demand[sizeof(name) + 16];
    snprintf(demand, sizeof(demand), "require@%s", name);
    needs("client_cert", demand);
    conduit_tls *client = make_config("ca.pem", NULL, NULL, NULL);
    conduit_tls *server = make_config("ca.pem", "server", "client_cert", "none");
    set(server, "client_cert", demand);
    struct meeting *meeting = meet_with(client, server, name);
    refused_size = sizeof(name);
    cr_assert_eq(conduit_set_allocator(&scarce), 0);
    shake_hands(meeting);
    conduit_set_allocator(NULL);
    cr_expect_eq(n_refused, 1);
    cr_expect_eq(meeting->server.code, CONDUIT_ENOMEM, "%s", why(&meeting->server));
    cr_expect_eq(reason(&meeting->server), CONDUIT_TLS_MEMORY, "%s", why(&meeting->server));
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    part(meeting);
}

/* ---- the program's own check ---- */

struct checked {
    bool answer;
    int calls;
    char name[64], subject[64];
    size_t n_certs;
    bool client;
};

static bool on_verify(void *user, const conduit_tls_peer *peer)
{
    struct checked *checked = user;
    checked->calls++;
    snprintf(checked->name, sizeof(checked->name), "%s", peer->name);
    snprintf(checked->subject, sizeof(checked->subject), "%s", peer->subject);
    checked->n_certs = peer->n_certs;
    checked->client = peer->client;
    cr_expect_eq(strlen(peer->fingerprint), 64);
    cr_expect(peer->certs[0].len > 100);
    return checked->answer;
}

CDT_TEST(tls_trust, the_programs_own_check_has_the_last_word)
{
    static const struct {
        const char *cert;
        bool answer;
        int reason, calls;
    } rows[] = {{"server", true, 0, 1},
                {"server", false, CONDUIT_TLS_REFUSED_BY_CALLER, 1},
                {"expired", true, CONDUIT_TLS_EXPIRED, 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct checked checked = {.answer = rows[i].answer};
        conduit_tls *client = make_config("ca.pem", NULL, NULL, NULL);
        conduit_tls *server = make_config(NULL, rows[i].cert, NULL, NULL);
        cr_assert_eq(conduit_tls_set_verify(client, on_verify, &checked), 0);
        struct meeting *meeting = meet_with(client, server, "a.example");
        shake_hands(meeting);
        cr_expect_eq(reason(&meeting->client), rows[i].reason, "%s", why(&meeting->client));
        cr_expect_eq(checked.calls, rows[i].calls);
        if (rows[i].calls > 0) {
            cr_expect_str_eq(checked.name, "a.example");
            cr_expect_str_eq(checked.subject, "CN=a.example");
            cr_expect_eq(checked.n_certs, 2);
            cr_expect(!checked.client);
        }
        conduit_tls_unref(client);
        conduit_tls_unref(server);
        part(meeting);
    }
}

CDT_TEST(tls_trust, a_peer_is_described)
{
    struct setup setup = {.client_cert = "client", .server_ca = "ca.pem"};
    struct meeting *meeting = open_meeting(&setup);
    struct cdt_facts client = facts_of(&meeting->client), server = {.wants_chain = true};
    struct cdt_layer *top = meeting->server.path->top;
    top->ops->describe(top, &server);
    cr_expect_str_eq(client.tls_peer_names, "DNS:a.example, DNS:*.wild.example, DNS:localhost, "
                                            "IP:127.0.0.1, IP:::1");
    cr_expect_str_eq(server.tls_peer, "CN=client");
    cr_expect_str_eq(server.tls_peer_names, "");
    cr_expect_eq(strlen(server.tls_fingerprint), 64);
    cr_expect(strcmp(server.tls_fingerprint, client.tls_fingerprint) != 0);
    const char *second = strstr(server.tls_chain + 1, "-----BEGIN CERTIFICATE-----");
    cr_expect(strncmp(server.tls_chain, "-----BEGIN CERTIFICATE-----", 27) == 0);
    cr_expect(second != NULL && strstr(second + 1, "-----BEGIN") == NULL, "the client and its CA");
    conduit_free(server.tls_chain);
    part(meeting);
}
