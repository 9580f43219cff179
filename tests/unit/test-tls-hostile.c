/* SPDX-License-Identifier: ISC */
/*
 * Certificate chains that a client has to turn away, each for its reason, and some beside them that
 * it has to take, so that none is refused by accident.
 *
 * certs/make-hostile makes them. They are served by a listener of ours that has been told, by way
 * of its SSL_CTX, not to look at what it serves.
 */
#include "meeting.h"
#include <conduit/openssl.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct row {
    const char *chain, *name;
    int reason; /* 0: taken */
    const char *text;
} rows[] = {
    {"good", "a.example", 0, ""},
    {"cross", "a.example", 0, ""},
    {"unknown-extension", "a.example", 0, ""},

    {"nc-inside", "a.example", 0, ""},
    {"nc-outside", "a.example", CONDUIT_TLS_NAME_CONSTRAINT, "may not certify"},
    {"nc-excluded", "a.example", CONDUIT_TLS_NAME_CONSTRAINT, "\"a.example\", which its"},
    {"nc-address", "127.0.0.1", CONDUIT_TLS_NAME_CONSTRAINT, "\"127.0.0.1\", which its"},

    {"pathlen", "a.example", CONDUIT_TLS_PATH_TOO_LONG, "Authority of pathlen"},
    {"long", "a.example", CONDUIT_TLS_PATH_TOO_LONG, "longer than it may be"},
    {"not-a-ca", "a.example", CONDUIT_TLS_NOT_A_CA, "(depth 1) may not sign others"},
    {"no-certsign", "a.example", CONDUIT_TLS_NOT_A_CA, "(depth 1) may not sign others"},
    {"no-constraints", "a.example", CONDUIT_TLS_NOT_A_CA, "(depth 1) may not sign others"},
    {"eku-ca", "a.example", CONDUIT_TLS_WRONG_PURPOSE, "may not issue certificates for a TLS"},
    {"eku-leaf", "a.example", CONDUIT_TLS_WRONG_PURPOSE, "is not for a TLS server"},
    {"eku-mail", "a.example", CONDUIT_TLS_WRONG_PURPOSE, "is not for a TLS server"},

    {"weak-leaf", "a.example", CONDUIT_TLS_WEAK_KEY, "(RSA, 1024 bits)"},
    {"weak-ca", "a.example", CONDUIT_TLS_WEAK_KEY, "\"Authority of weak-ca\" (depth 1)"},
    {"sha1", "a.example", CONDUIT_TLS_WEAK_DIGEST, "SHA1, which is broken"},
    {"sha1-ca", "a.example", CONDUIT_TLS_WEAK_DIGEST, "(depth 1)"},
    {"bad-signature", "a.example", CONDUIT_TLS_BAD_SIGNATURE, "signature"},

    {"missing", "a.example", CONDUIT_TLS_UNKNOWN_ISSUER, "(the peer sent no intermediate)"},
    {"impostor", "a.example", CONDUIT_TLS_UNTRUSTED_ROOT, "a root that the peer sent"},
    {"forged", "a.example", CONDUIT_TLS_UNKNOWN_ISSUER, "signed by \"Authority of good\""},
    {"critical", "a.example", CONDUIT_TLS_CRITICAL_UNKNOWN, "critical extension"},
    {"critical-ca", "a.example", CONDUIT_TLS_CRITICAL_UNKNOWN, "(depth 1)"},
    {"expired-ca", "a.example", CONDUIT_TLS_EXPIRED, "\"Expired authority\" (depth 1) expired"},
    {"early", "a.example", CONDUIT_TLS_NOT_YET_VALID, "(from 2090-01-01)"},

    {"wildcard", "x.b.example", 0, ""},
    {"wildcard", "b.example", CONDUIT_TLS_WRONG_NAME, "\"*.b.example\""},
    {"wildcard", "x.y.b.example", CONDUIT_TLS_WRONG_NAME, "\"*.b.example\""},
    {"partial", "a.example", CONDUIT_TLS_WRONG_NAME, "\"a*.example\""},
    {"partial", "ab.example", CONDUIT_TLS_WRONG_NAME, "\"a*.example\""},
    {"middle", "a.b.example", CONDUIT_TLS_WRONG_NAME, "\"a.*.example\""},
    {"double", "a.b.example", CONDUIT_TLS_WRONG_NAME, "\"*.*.example\""},
    {"star", "example", CONDUIT_TLS_WRONG_NAME, "\"*\""},
    {"star", "a.example", CONDUIT_TLS_WRONG_NAME, "\"*\""},
    {"star-tld", "a.example", CONDUIT_TLS_WRONG_NAME, "\"*.example\""},
    {"nul", "a.example", CONDUIT_TLS_WRONG_NAME, "\"a.example?.evil.test.\""},
    {"ip", "127.0.0.1", 0, ""},
    {"ip", "::1", 0, ""},
    {"ip", "127.0.0.2", CONDUIT_TLS_WRONG_NAME, "\"127.0.0.1\", \"::1\", not \"127.0.0.2\""},
    {"ip-as-dns", "127.0.0.1", CONDUIT_TLS_WRONG_NAME, "not \"127.0.0.1\""},
    {"good", "127.0.0.1", CONDUIT_TLS_WRONG_NAME, "not \"127.0.0.1\""},
    {"cn-only", "a.example", CONDUIT_TLS_NAMELESS, "for nobody"},
    {"mail-only", "a.example", CONDUIT_TLS_NAMELESS, "for nobody"},
    {"uri-only", "a.example", CONDUIT_TLS_NAMELESS, "for nobody"},

    {"empty-san", "a.example", CONDUIT_TLS_MALFORMED_CERT, "ubject"},
    {"soft-constraints", "a.example", CONDUIT_TLS_MALFORMED_CERT, "asic"},
    {"no-aki", "a.example", CONDUIT_TLS_MALFORMED_CERT, "ey"},
};

/* ---- serving them ---- */

static char hostile[] = "/tmp/conduit-hostile-XXXXXX";

static void make_hostile(void)
{
    char command[256];
    cr_assert_not_null(mkdtemp(hostile));
    snprintf(command, sizeof(command), "%s/make-hostile %s", CDT_TEST_CERTS, hostile);
    cr_assert_eq(system(command), 0);
}

static void drop_hostile(void)
{
    char command[256];
    snprintf(command, sizeof(command), "rm -rf %s", hostile);
    cr_assert_eq(system(command), 0);
}

static const char *hostile_file(const char *name, const char *suffix)
{
    static char paths[2][128];
    static int next;
    char *path = paths[next++ % 2];
    snprintf(path, sizeof(paths[0]), "%s/%s%s", hostile, name, suffix);
    return path;
}

static int serve_anything(struct ssl_ctx_st *ctx, void *user)
{
    const char *chain = user;
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_clear_chain_certs(ctx);
    bool fine =
        SSL_CTX_use_certificate_chain_file(ctx, hostile_file(chain, ".pem")) == 1 &&
        SSL_CTX_use_PrivateKey_file(ctx, hostile_file(chain, ".key"), SSL_FILETYPE_PEM) == 1;
    return fine ? 0 : -1;
}

/* An RSA certificate goes beside an EC one, and the client would get that. */
static conduit_tls *server_of(const char *chain, bool rsa)
{
    union {
        const char *in;
        char *out;
    } same = {.in = chain};
    conduit_tls *server = make_config(NULL, rsa ? "rsa" : "server", NULL, NULL);
    cr_assert_eq(conduit_tls_set_openssl(server, serve_anything, same.out), 0);
    return server;
}

static void check(const struct row *row, const char *max)
{
    conduit_tls *client = conduit_tls_new();
    conduit_tls *server = server_of(row->chain, strcmp(row->chain, "weak-leaf") == 0);
    set(client, "ca", hostile_file("root", ".pem"));
    set(client, "max", max);
    struct meeting *meeting = meet_with(client, server, row->name);
    cr_assert_eq(meeting->server.code, 0, "%s: %s", row->chain, why(&meeting->server));
    shake_hands(meeting);
    cr_expect_eq(reason(&meeting->client), row->reason, "%s for %s: %s: %s", row->chain, row->name,
                 conduit_tls_reason_name(reason(&meeting->client)), why(&meeting->client));
    cr_expect(strstr(why(&meeting->client), row->text) != NULL, "%s for %s: %s", row->chain,
              row->name, why(&meeting->client));
    cr_expect_eq(meeting->client.code, row->reason == 0 ? 0 : CONDUIT_ETRUST);
    if (row->reason != 0 && meeting->server.code != 0)
        cr_expect_eq(reason(&meeting->server), CONDUIT_TLS_ALERT, "the peer is told why");
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    part(meeting);
}

CDT_TEST(tls_hostile, each_chain_meets_its_verdict_with_tls_1_2_and_1_3)
{
    make_hostile();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check(&rows[i], "1.2");
        check(&rows[i], "1.3");
    }
    drop_hostile();
}

/* ---- the same from clients ---- */

/* What is about the name, or about being a server and not a client, is no fault of a client. */
static bool is_fault_of_client(const struct row *row)
{
    if (row->reason == CONDUIT_TLS_WRONG_PURPOSE)
        return strcmp(row->chain, "eku-mail") == 0;
    return row->reason != 0 && row->reason != CONDUIT_TLS_WRONG_NAME &&
           row->reason != CONDUIT_TLS_NAMELESS;
}

static void check_client(const struct row *row, const char *max)
{
    union {
        const char *in;
        char *out;
    } same = {.in = row->chain};
    conduit_tls *client = make_config("ca.pem", NULL, "max", max);
    conduit_tls *server = make_config(NULL, "server", NULL, NULL);
    cr_assert_eq(conduit_tls_set_openssl(client, serve_anything, same.out), 0);
    set(server, "ca", hostile_file("root", ".pem"));
    struct meeting *meeting = meet_with(client, server, "a.example");
    shake_hands(meeting);
    cr_expect_eq(meeting->server.code, CONDUIT_ETRUST, "%s: %s", row->chain, why(&meeting->server));
    cr_expect_eq(reason(&meeting->server), row->reason, "%s: %s: %s", row->chain,
                 conduit_tls_reason_name(reason(&meeting->server)), why(&meeting->server));
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    part(meeting);
}

CDT_TEST(tls_hostile, each_chain_of_a_client_meets_the_same_verdict)
{
    make_hostile();
    int n = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!is_fault_of_client(&rows[i]))
            continue;
        n++;
        check_client(&rows[i], "1.2");
        check_client(&rows[i], "1.3");
    }
    cr_expect_geq(n, 20, "%d", n);
    drop_hostile();
}

CDT_TEST(tls_hostile, many_reasons_are_told_apart)
{
    bool seen[128] = {false};
    int distinct = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        distinct += rows[i].reason != 0 && !seen[rows[i].reason];
        seen[rows[i].reason] = true;
    }
    cr_expect_geq(distinct, 15, "%d", distinct);
}
