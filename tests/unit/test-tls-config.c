/* SPDX-License-Identifier: ISC */
/* TLS configurations: each key does what it says, and each mistake has its own reason and sentence,
 * at once. */
#include "meeting.h"
#include <conduit/openssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- configurations ---- */

CDT_TEST(tls_config, mistakes_show_at_once)
{
    conduit_tls *tls = conduit_tls_new();
    refuse(tls, "verfy", "full", CONDUIT_EINVAL, "\"verfy\" is no TLS option");
    refuse(tls, "verify", "no", CONDUIT_EINVAL, "neither full, chain, pin, dane nor insecure");
    refuse(tls, "min", "1.1", CONDUIT_EINVAL, "neither 1.2 nor 1.3");
    refuse(tls, "max", "TLSv1.3", CONDUIT_EINVAL, "neither 1.2 nor 1.3");
    refuse(tls, "ciphers", "NONSENSE", CONDUIT_EINVAL, "names no TLS 1.2 suite");
    refuse(tls, "alpn", "h2,,h3", CONDUIT_EINVAL, "is no list of protocols");
    refuse(tls, "alpn", "h2, h3", CONDUIT_EINVAL, "is no list of protocols");
    refuse(tls, "ca", "/nonexistent", CONDUIT_ETLS, "ca \"/nonexistent\": No such file");
    refuse(tls, "ca", "/tmp", CONDUIT_ETLS, "is not a regular file");
    refuse(tls, "ca", "/dev/zero", CONDUIT_ETLS, "is not a regular file");
    refuse(tls, "ca", file("server.key"), CONDUIT_ETLS, "holds no certificate");
    refuse(tls, "cert", CDT_TEST_CERTS "/make-certs", CONDUIT_ETLS, "holds no certificate");
    refuse(tls, "key", file("server.key"), CONDUIT_EINVAL, "comes first");
    conduit_tls_unref(tls);
}

CDT_TEST(tls_config, keys_that_do_not_fit)
{
    conduit_tls *tls = conduit_tls_new();
    set(tls, "cert", file("server.pem"));
    refuse(tls, "cert", file("rsa.pem"), CONDUIT_EINVAL, "the cert before it has no key yet");
    refuse(tls, "key", file("client.key"), CONDUIT_ETLS, "does not belong to the cert");
    refuse(tls, "key", file("rsa.key"), CONDUIT_ETLS, "does not belong to the cert");
    refuse(tls, "key", file("server.pem"), CONDUIT_ETLS, "or others may use: chmod 600 it");
    refuse(tls, "key", file("complete"), CONDUIT_ETLS, "holds no private key");
    refuse(tls, "key", "/nonexistent", CONDUIT_ETLS, "No such file");
    refuse(tls, "key", file("encrypted.key"), CONDUIT_ETLS, "is encrypted");
    set(tls, "key", file("server.key"));
    set(tls, "cert", file("weak.pem"));
    refuse(tls, "key", file("weak.key"), CONDUIT_ETLS, "key too small");
    conduit_tls_unref(tls);
}

/* ---- each mistake has its own reason ---- */

static const struct mistake {
    const char *keys[6]; /* that are fine: key, value, ... */
    const char *key, *value;
    int reason;
    const char *text;
} mistakes[] = {
    {{0}, "verfy", "full", CONDUIT_TLS_UNKNOWN_KEY, "\"verfy\" is no TLS option"},
    {{0}, "min", "1.1", CONDUIT_TLS_BAD_VALUE, "neither 1.2 nor 1.3"},
    {{0}, "suites", "TLS_NONSENSE", CONDUIT_TLS_BAD_VALUE, "names no list of TLS 1.3 suites"},
    {{0}, "suites", "", CONDUIT_TLS_BAD_VALUE, "names no list of TLS 1.3 suites"},
    {{0}, "groups", "P-255", CONDUIT_TLS_BAD_VALUE, "names no list of groups"},
    {{0}, "sigalgs", "RSA+MD9", CONDUIT_TLS_BAD_VALUE, "names no list of signature algorithms"},
    {{0}, "sni", "lax", CONDUIT_TLS_BAD_VALUE, "neither default nor strict"},
    {{0}, "client_cert", "demand", CONDUIT_TLS_BAD_VALUE, "neither none, ask nor require"},
    {{0}, "client_cert", "ask@", CONDUIT_TLS_BAD_VALUE, "neither none, ask nor require"},
    {{0}, "client_cert", "ask@*", CONDUIT_TLS_BAD_VALUE, "neither none, ask nor require"},
    {{0}, "pin", "sha256//short=", CONDUIT_TLS_BAD_VALUE, "is not \"sha256//\" and the base64"},
    {{0},
     "pin",
     "sha1//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
     CONDUIT_TLS_BAD_VALUE,
     "is not \"sha256//\" and the base64"},
    {{0}, "tlsa", "3 1 1", CONDUIT_TLS_BAD_VALUE, "is no record like"},
    {{0}, "tlsa", "4 1 1 00", CONDUIT_TLS_BAD_VALUE, "is no record like"},
    {{0}, "tlsa", "3 1 1 00ff", CONDUIT_TLS_BAD_VALUE, "is no record like"},
    {{0}, "tlsa", "3 1 0 zz", CONDUIT_TLS_BAD_VALUE, "is no record like"},
    {{0}, "ocsp", "yes", CONDUIT_TLS_BAD_VALUE, "neither ask, require nor no"},
    {{0}, "crl_check", "all", CONDUIT_TLS_BAD_VALUE, "neither peer nor chain"},
    {{0}, "ca_system", "true", CONDUIT_TLS_BAD_VALUE, "neither yes nor no"},
    {{0}, "watch", "soon", CONDUIT_TLS_BAD_VALUE, "is no number of seconds"},
    {{0}, "watch", "-1", CONDUIT_TLS_BAD_VALUE, "is no number of seconds"},
    {{0}, "ca", "missing", CONDUIT_TLS_FILE_UNREADABLE, "No such file"},
    {{0}, "ca", "hashed", CONDUIT_TLS_FILE_KIND, "is not a regular file"},
    {{0}, "ca", "server.key", CONDUIT_TLS_NO_CERTIFICATE, "holds no certificate in PEM form"},
    {{0}, "ca_dir", ".", CONDUIT_TLS_NO_ANCHORS, "openssl rehash"},
    {{0}, "ca_dir", "missing", CONDUIT_TLS_NO_ANCHORS, "openssl rehash"},
    {{0}, "ca_pem", "nothing", CONDUIT_TLS_NO_CERTIFICATE, "holds no certificate in PEM form"},
    {{0}, "crl", "ca.pem", CONDUIT_TLS_FILE_DAMAGED, "holds no revocation list"},
    {{0}, "cert", "password", CONDUIT_TLS_NO_CERTIFICATE, "holds no certificate in PEM form"},
    {{0},
     "cert",
     "broken.pem",
     CONDUIT_TLS_CHAIN_BROKEN,
     "certificate 2 (CN=b.example) did not issue the one before it"},
    {{0}, "cert", "file:missing", CONDUIT_TLS_STORE_URI, "file:"},
    {{0}, "cert", "pkcs11:object=none", CONDUIT_TLS_STORE_URI, "pkcs11:"},
    {{0}, "key", "server.key", CONDUIT_TLS_ORDER, "comes first"},
    {{0}, "key_pem", "x", CONDUIT_TLS_ORDER, "comes first"},
    {{0}, "staple", "good.ocsp", CONDUIT_TLS_ORDER, "comes first"},
    {{"cert", "server.pem"}, "cert", "b.pem", CONDUIT_TLS_ORDER, "has no key yet"},
    {{"cert", "server.pem"}, "pkcs12", "bundle.p12", CONDUIT_TLS_ORDER, "has no key yet"},
    {{"cert", "server.pem"}, "key", "b.key", CONDUIT_TLS_KEY_MISMATCH, "does not belong"},
    {{"cert", "server.pem"}, "key", "server.pem", CONDUIT_TLS_KEY_EXPOSED, "chmod 600"},
    {{"cert", "server.pem"}, "key", "password", CONDUIT_TLS_NO_KEY, "holds no private key"},
    {{"cert", "server.pem"}, "key_pem", "x", CONDUIT_TLS_NO_KEY, "holds no private key"},
    {{"cert", "server.pem"}, "key", "encrypted.key", CONDUIT_TLS_KEY_ENCRYPTED, "is encrypted"},
    {{"cert", "server.pem", "password", "wrong"},
     "key",
     "encrypted.key",
     CONDUIT_TLS_BAD_PASSWORD,
     "is not its passphrase"},
    {{"cert", "weak.pem"}, "key", "weak.key", CONDUIT_TLS_OWN_WEAK, "key too small"},
    {{0}, "pkcs12", "bundle.p12", CONDUIT_TLS_KEY_ENCRYPTED, "is encrypted"},
    {{"password", "wrong"}, "pkcs12", "bundle.p12", CONDUIT_TLS_BAD_PASSWORD, "its passphrase"},
    {{0}, "pkcs12", "server.key", CONDUIT_TLS_FILE_DAMAGED, "pkcs12"},
    {{0}, "password_file", "ca.pem", CONDUIT_TLS_KEY_EXPOSED, "chmod 600"},
    {{"cert", "stapled.pem", "key", "stapled.key"},
     "staple",
     "ca.pem",
     CONDUIT_TLS_STAPLE_UNFIT,
     "is no successful OCSP response"},
    {{"cert", "server.pem", "key", "server.key"},
     "staple",
     "good.ocsp",
     CONDUIT_TLS_STAPLE_UNFIT,
     "has to hold its authority"},
    {{"pkcs12", "open.p12"}, "staple", "good.ocsp", CONDUIT_TLS_STAPLE_UNFIT, "not about the last"},
    {{0}, "keylog", "/nonexistent/log", CONDUIT_TLS_FILE_UNREADABLE, "keylog \"/nonexistent/log\""},
};

/* Names of files are relative to the certificates; all else stays. */
static const char *in_place(const char *key, const char *value)
{
    static const char *const plain[] = {"ca",  "ca_dir", "crl",    "cert",
                                        "key", "pkcs12", "staple", "password_file"};
    static char uri[160];
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (strcmp(plain[i], key) != 0)
            continue;
        if (strncmp(value, "file:", 5) == 0) {
            snprintf(uri, sizeof(uri), "file:%s", file(value + 5));
            return uri;
        }
        return strncmp(value, "pkcs11:", 7) == 0 ? value : file(value);
    }
    return value;
}

CDT_TEST(tls_config, each_mistake_has_a_reason_and_changes_nothing)
{
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        const struct mistake *mistake = &mistakes[i];
        const conduit_error *error = NULL;
        conduit_tls *tls = conduit_tls_new();
        for (size_t k = 0; k < 6 && mistake->keys[k] != NULL; k += 2)
            set(tls, mistake->keys[k], in_place(mistake->keys[k], mistake->keys[k + 1]));
        int code =
            conduit_tls_set(tls, mistake->key, in_place(mistake->key, mistake->value), &error);
        cr_assert(code < 0, "%s=%s", mistake->key, mistake->value);
        cr_expect_eq(conduit_error_reason(error), mistake->reason, "%s=%s: %s: %s", mistake->key,
                     mistake->value, conduit_tls_reason_name(conduit_error_reason(error)),
                     conduit_error_text(error));
        cr_expect(strstr(conduit_error_text(error), mistake->text) != NULL, "%s",
                  conduit_error_text(error));
        cr_expect_eq(conduit_error_stage(error), CONDUIT_STAGE_TLS);
        conduit_error_unref(error);
        set(tls, "max", "1.3");
        conduit_tls_unref(tls);
    }
}

CDT_TEST(tls_config, the_table_knows_many_distinct_mistakes)
{
    bool seen[128] = {0};
    int distinct = 0;
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        distinct += !seen[mistakes[i].reason];
        seen[mistakes[i].reason] = true;
    }
    cr_expect_geq(distinct, 17, "%d", distinct);
}

CDT_TEST(tls_config, every_reason_has_a_name_a_text_and_a_code_of_its_own)
{
    static const int all[] = {
#define REASON(name, number, code, text) CONDUIT_TLS_##name,
        CONDUIT_TLS_REASON_MAP(REASON)
#undef REASON
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        cr_expect(strcmp(conduit_tls_reason_name(all[i]), "unknown") != 0);
        cr_expect(strcmp(conduit_tls_reason_text(all[i]), "unknown") != 0);
        for (size_t j = 0; j < i; j++)
            cr_expect(all[i] != all[j] && strcmp(conduit_tls_reason_text(all[i]),
                                                 conduit_tls_reason_text(all[j])) != 0);
    }
    cr_expect_str_eq(conduit_tls_reason_name(0), "unknown");
    cr_expect_str_eq(conduit_tls_reason_text(9999), "unknown");
}

/* ---- identities, wherever they come from ---- */

/* A listener with them can be spoken to. */
static void expect_serves(conduit_tls *server, const char *name)
{
    conduit_tls *client = make_config("ca.pem", NULL, NULL, NULL);
    struct meeting *meeting = open_with(client, server, name);
    exchange(meeting, 100, 100, 4096);
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    part(meeting);
}

static const char *uri_of(const char *name)
{
    static char uris[2][160];
    static int next;
    char *uri = uris[next++ % 2];
    snprintf(uri, sizeof(uris[0]), "file:%s", file(name));
    return uri;
}

static void contents(const char *name, char *bytes, size_t size)
{
    FILE *in = fopen(file(name), "r");
    cr_assert_not_null(in);
    bytes[fread(bytes, 1, size - 1, in)] = '\0';
    fclose(in);
}

CDT_TEST(tls_config, identities_of_every_kind_serve)
{
    char cert[8192], key[8192];
    contents("server.pem", cert, sizeof(cert));
    contents("server.key", key, sizeof(key));
    conduit_tls *tls = make_config(NULL, NULL, "cert_pem", cert);
    set(tls, "key_pem", key);
    expect_serves(tls, "a.example");
    tls = make_config(NULL, NULL, "cert", uri_of("chain.pem"));
    set(tls, "key", uri_of("chain.key"));
    expect_serves(tls, "chain.example");
    tls = make_config(NULL, NULL, "password", "secret");
    set(tls, "pkcs12", file("bundle.p12"));
    expect_serves(tls, "chain.example");
    expect_serves(make_config(NULL, NULL, "pkcs12", file("open.p12")), "chain.example");
    expect_serves(make_config(NULL, "ed", NULL, NULL), "a.example");
}

static int tell_secret(void *user, const char *what, char *buf, size_t size)
{
    int *calls = user;
    ++*calls;
    cr_expect(strstr(what, "encrypted.key") != NULL, "%s", what);
    return snprintf(buf, size, "secret");
}

static int tell_nothing(void *user, const char *what, char *buf, size_t size)
{
    return -1;
}

CDT_TEST(tls_config, encrypted_keys_open_with_their_passphrase)
{
    int calls = 0;
    conduit_tls *tls = make_config(NULL, NULL, "cert", file("server.pem"));
    set(tls, "password", "secret");
    set(tls, "key", file("encrypted.key"));
    expect_serves(tls, "a.example");
    tls = make_config(NULL, NULL, "cert", file("server.pem"));
    set(tls, "password_file", file("password"));
    set(tls, "key", file("encrypted.key"));
    expect_serves(tls, "a.example");
    tls = make_config(NULL, NULL, "cert", file("server.pem"));
    cr_assert_eq(conduit_tls_set_password(tls, tell_nothing, NULL), 0);
    refuse(tls, "key", file("encrypted.key"), CONDUIT_ETLS, "nobody who knows its passphrase");
    cr_assert_eq(conduit_tls_set_password(tls, tell_secret, &calls), 0);
    set(tls, "key", file("encrypted.key"));
    cr_expect_eq(calls, 1);
    expect_serves(tls, "a.example");
    tls = make_config(NULL, NULL, "cert", file("server.pem"));
    cr_assert_eq(conduit_tls_set_password(tls, tell_secret, &calls), 0);
    set(tls, "key", uri_of("encrypted.key"));
    cr_expect_eq(calls, 2, "a store asks as well");
    expect_serves(tls, "a.example");
}

/* ---- what is spoken ---- */

CDT_TEST(tls_config, suites_groups_and_algorithms_are_heeded)
{
    static const struct {
        const char *key, *client, *server;
        int reason;
    } rows[] = {
        {"suites", "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", 0},
        {"suites", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384",
         CONDUIT_TLS_NO_COMMON_CIPHER},
        {"groups", "P-384", "P-384", 0},
        {"groups", "P-384", "X25519", CONDUIT_TLS_NO_COMMON_GROUP},
        {"sigalgs", "ECDSA+SHA256", "ECDSA+SHA256", 0},
        {"sigalgs", "RSA-PSS+SHA256", "ECDSA+SHA256", CONDUIT_TLS_NO_COMMON_SIGALG},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conduit_tls *client = make_config("ca.pem", NULL, rows[i].key, rows[i].client);
        conduit_tls *server = make_config(NULL, "server", rows[i].key, rows[i].server);
        set(client, "min", "1.3");
        struct meeting *meeting = meet_with(client, server, "a.example");
        shake_hands(meeting);
        cr_expect_eq(reason(&meeting->server), rows[i].reason, "row %zu: %s", i,
                     why(&meeting->server));
        cr_expect_eq(reason(&meeting->client), rows[i].reason == 0 ? 0 : CONDUIT_TLS_ALERT);
        if (i == 0)
            cr_expect_str_eq(facts_of(&meeting->server).tls_cipher, rows[0].client);
        conduit_tls_unref(client);
        conduit_tls_unref(server);
        part(meeting);
    }
}

CDT_TEST(tls_config, a_key_log_is_kept_when_asked_for)
{
    static const char *const words[] = {"CLIENT_HANDSHAKE_TRAFFIC_SECRET ",
                                        "SERVER_TRAFFIC_SECRET_0 ", "EXPORTER_SECRET "};
    char log[160], text[8192];
    snprintf(log, sizeof(log), "%s", cdt_test_path("keys"));
    setenv("CDT_TEST_KEYLOG", log, 1);
    struct setup setup = {.client_key = "keylog", .client_value = "$CDT_TEST_KEYLOG"};
    struct meeting *meeting = open_meeting(&setup);
    part(meeting);
    FILE *in = fopen(log, "r");
    cr_assert_not_null(in);
    text[fread(text, 1, sizeof(text) - 1, in)] = '\0';
    fclose(in);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        cr_expect(strstr(text, words[i]) != NULL, "%s: %s", words[i], text);
    struct stat status;
    cr_expect(stat(log, &status) == 0 && (status.st_mode & 0777) == 0600);
    unsetenv("CDT_TEST_KEYLOG");
    part(open_meeting(&setup));
    struct stat again;
    cr_expect(stat(log, &again) == 0 && again.st_size == status.st_size, "nobody asked");
}

/* ---- the way out ---- */

struct prepared {
    int calls, answer;
};

static int on_prepare(struct ssl_ctx_st *ctx, void *user)
{
    struct prepared *prepared = user;
    cr_expect_not_null(ctx);
    prepared->calls++;
    return prepared->answer;
}

CDT_TEST(tls_config, the_ssl_ctx_is_handed_out_once_and_to_each_copy)
{
    struct prepared prepared = {0};
    conduit_tls *tls = make_config("ca.pem", "server", NULL, NULL), *copy = NULL;
    cr_assert_eq(conduit_tls_set_openssl(tls, on_prepare, &prepared), 0);
    cr_assert_eq(cdt_tls_seal(tls, true, NULL), 0);
    cr_assert_eq(cdt_tls_seal(tls, false, NULL), 0);
    cr_expect_eq(prepared.calls, 1);
    cr_expect_eq(conduit_tls_set_openssl(tls, on_prepare, &prepared), CONDUIT_EINVAL);
    cr_expect_eq(conduit_tls_set_verify(tls, NULL, NULL), CONDUIT_EINVAL);
    cr_expect_eq(conduit_tls_set_password(tls, NULL, NULL), CONDUIT_EINVAL);
    cr_assert_eq(cdt_tls_copy(tls, &copy, NULL), 0);
    prepared.answer = -1;
    const conduit_error *error = NULL;
    cr_expect_eq(cdt_tls_seal(copy, true, &error), CONDUIT_ETLS);
    cr_expect_eq(conduit_error_reason(error), CONDUIT_TLS_REFUSED_BY_HOOK);
    conduit_error_unref(error);
    cr_expect_eq(prepared.calls, 2);
    conduit_tls_unref(copy);
    conduit_tls_unref(tls);
}

CDT_TEST(tls_config, a_damaged_file_is_refused)
{
    char damaged[160];
    snprintf(damaged, sizeof(damaged), "%s", cdt_test_path("damaged.pem"));
    FILE *out = fopen(damaged, "w"), *in = fopen(file("ca.pem"), "r");
    for (int c, i = 0; (c = getc(in)) != EOF; i++)
        putc(i == 100 ? '!' : c, out);
    fclose(in);
    fclose(out);
    conduit_tls *tls = conduit_tls_new();
    refuse(tls, "ca", damaged, CONDUIT_ETLS, "bad base64 decode");
    conduit_tls_unref(tls);
}

CDT_TEST(tls_config, a_key_that_others_may_read_is_refused)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0660, 0644};
    char open_key[160], command[400];
    snprintf(open_key, sizeof(open_key), "%s", cdt_test_path("open.key"));
    snprintf(command, sizeof(command), "cp %s %s", file("server.key"), open_key);
    cr_assert_eq(system(command), 0);
    conduit_tls *tls = make_config(NULL, NULL, "cert", file("server.pem"));
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        cr_assert_eq(chmod(open_key, modes[i]), 0);
        refuse(tls, "key", open_key, CONDUIT_ETLS, "chmod 600");
    }
    cr_assert_eq(chmod(open_key, 0400), 0);
    set(tls, "key", open_key);
    conduit_tls_unref(tls);
}

static void refuse_seal(conduit_tls *tls, bool server, int reason, const char *text)
{
    const conduit_error *error = NULL;
    cr_expect(cdt_tls_seal(tls, server, &error) < 0);
    cr_assert_not_null(error);
    cr_expect_eq(conduit_error_reason(error), reason, "%s", conduit_error_text(error));
    cr_expect(strstr(conduit_error_text(error), text) != NULL, "%s", conduit_error_text(error));
    conduit_error_unref(error);
    conduit_tls_unref(tls);
}

static bool accept_all(void *user, const conduit_tls_peer *peer)
{
    return true;
}

/* It would look as if the check had accepted everybody. */
CDT_TEST(tls_config, a_check_that_is_never_asked_is_refused)
{
    for (int server = 0; server < 2; server++) {
        conduit_tls *tls = make_config(NULL, "server", "verify", "insecure");
        cr_assert_eq(conduit_tls_set_verify(tls, accept_all, NULL), 0);
        refuse_seal(tls, server, CONDUIT_TLS_CONTRADICTION, "asks nobody");
    }
    conduit_tls *tls = make_config(NULL, NULL, "verify", "insecure");
    set(tls, "verify", "full");
    cr_assert_eq(conduit_tls_set_verify(tls, accept_all, NULL), 0);
    cr_expect_eq(cdt_tls_seal(tls, false, NULL), 0, "the last word counts");
    conduit_tls_unref(tls);
}

CDT_TEST(tls_config, what_is_incomplete_is_not_used)
{
    refuse_seal(conduit_tls_new(), true, CONDUIT_TLS_NO_IDENTITY,
                "a TLS listener needs cert and key");
    refuse_seal(make_config(NULL, NULL, "cert", file("server.pem")), false, CONDUIT_TLS_KEY_MISSING,
                "a cert has no key");
    conduit_tls *tls = make_config(NULL, NULL, "min", "1.3");
    set(tls, "max", "1.2");
    refuse_seal(tls, false, CONDUIT_TLS_NO_VERSION, "leave no TLS version");
    refuse_seal(make_config("ca.pem", "server", "verify", "insecure"), true,
                CONDUIT_TLS_CONTRADICTION, "takes that back");
    refuse_seal(make_config(NULL, "server", "client_cert", "require"), true, CONDUIT_TLS_NO_ANCHORS,
                "there is no authority");
    refuse_seal(make_config(NULL, NULL, "verify", "pin"), false, CONDUIT_TLS_CONTRADICTION,
                "there is none");
    refuse_seal(make_config(NULL, NULL, "tlsa", "3 1 0 00"), false, CONDUIT_TLS_CONTRADICTION,
                "count with verify=dane alone");
    refuse_seal(make_config(NULL, NULL, "crl_check", "chain"), false, CONDUIT_TLS_CONTRADICTION,
                "no revocation list");
}

CDT_TEST(tls_config, what_is_in_use_does_not_change)
{
    conduit_tls *tls = make_config("ca.pem", "server", NULL, NULL);
    cr_assert_eq(cdt_tls_seal(tls, true, NULL), 0);
    cr_assert_eq(cdt_tls_seal(tls, true, NULL), 0);
    refuse(tls, "min", "1.3", CONDUIT_EINVAL, "in use");
    refuse(tls, "alpn", "h2", CONDUIT_EINVAL, "in use");
    const conduit_error *error = NULL;
    cr_expect_eq(conduit_tls_set(tls, "min", "1.3", &error), CONDUIT_EINVAL);
    cr_expect_eq(conduit_error_reason(error), CONDUIT_TLS_IN_USE);
    conduit_error_unref(error);
    conduit_tls_unref(tls);
}

CDT_TEST(tls_config, a_copy_says_the_same_and_more)
{
    conduit_tls *tls = make_config("ca.pem", "server", "alpn", "h2"), *copy = NULL;
    cr_assert_eq(cdt_tls_seal(tls, true, NULL), 0);
    cr_assert_eq(cdt_tls_copy(tls, &copy, NULL), 0);
    conduit_tls_unref(tls);
    cr_expect_str_eq(cdt_tls_alpn(copy), "h2");
    set(copy, "alpn", "http/1.1");
    cr_expect_str_eq(cdt_tls_alpn(copy), "http/1.1");
    cr_expect_eq(cdt_tls_seal(copy, true, NULL), 0);
    conduit_tls_unref(copy);
}

CDT_TEST(tls_config, nothing_is_fine)
{
    conduit_tls_unref(NULL);
    cr_expect_null(conduit_tls_ref(NULL));
    cr_expect_eq(conduit_tls_set(NULL, "min", "1.2", NULL), CONDUIT_EINVAL);
}
