/* SPDX-License-Identifier: ISC */
/*
 * Listeners that speak TLS: several certificates, client certificates for some names, and new
 * files under a listener that stays. What a reload must not do is tested by its effect: on the
 * connections that are there, and on what the next one is shown.
 */
#include "context.h"
#include "harness.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a listener, and those who call ---- */

static struct cdt_side server_side;
static int n_failed;
static char failed_text[512];
static int failed_reason;

static void on_failed(conduit_listener *listener, const conduit_error *error, void *user)
{
    n_failed++;
    failed_reason = conduit_error_reason(error);
    snprintf(failed_text, sizeof(failed_text), "%s", conduit_error_text(error));
}

static conduit_listener *listen_with(conduit_tls *tls)
{
    const conduit_listen_options options = {.tls = tls, .on_failed = on_failed};
    conduit_listener *listener;
    int code = conduit_listen(cdt_ctx, "tls://127.0.0.1:0", &options, &cdt_side_handler,
                              &server_side, &listener);
    cr_assert_eq(code, 0, "%s", conduit_error_text(conduit_ctx_error(cdt_ctx)));
    return listener;
}

static void set(conduit_tls *tls, const char *key, const char *value)
{
    const conduit_error *error = NULL;
    cr_assert_eq(conduit_tls_set(tls, key, value, &error), 0, "%s=%s: %s", key, value,
                 error != NULL ? conduit_error_text(error) : "");
}

static conduit_tls *trusting(const char *identity)
{
    char name[64];
    conduit_tls *tls = conduit_tls_new();
    set(tls, "ca", cdt_cert("ca.pem"));
    if (identity == NULL)
        return tls;
    snprintf(name, sizeof(name), "%s.pem", identity);
    set(tls, "cert", cdt_cert(name));
    snprintf(name, sizeof(name), "%s.key", identity);
    set(tls, "key", cdt_cert(name));
    return tls;
}

static void add_identity(conduit_tls *tls, const char *identity)
{
    char name[64];
    snprintf(name, sizeof(name), "%s.pem", identity);
    set(tls, "cert", cdt_cert(name));
    snprintf(name, sizeof(name), "%s.key", identity);
    set(tls, "key", cdt_cert(name));
}

/* Call `listener` as who looks for `name`, until it is open or has failed. */
static void call(struct cdt_side *side, conduit_listener *listener, const char *name,
                 conduit_tls *tls)
{
    const conduit_connect_options options = {.tls = tls, .name = name};
    *side = (struct cdt_side){.stays_open = true};
    cr_assert_eq(conduit_connect(cdt_ctx, conduit_listener_uri(listener, 0), &options,
                                 &cdt_side_handler, side, &side->conn),
                 0);
    for (int i = 0; i < 100000 && !side->opened && !side->closed; i++)
        uv_run(&cdt_loop, UV_RUN_ONCE);
}

static void hang_up(struct cdt_side *side)
{
    /* With TLS 1.3 a client is open before its listener knows. */
    for (int i = 0; i < 100000 && side->opened && !side->closed && !server_side.opened; i++)
        uv_run(&cdt_loop, UV_RUN_NOWAIT);
    if (!side->closed)
        conduit_conn_free(side->conn);
    cdt_side_clear(side);
    cdt_turn(5);
    cdt_side_clear(&server_side);
}

/* The subject of the certificate that is shown to who looks for `name`; "" if it fails. */
static const char *shown_to(conduit_listener *listener, const char *name, conduit_tls *tls)
{
    static char subject[256];
    struct cdt_side side;
    call(&side, listener, name, tls);
    snprintf(subject, sizeof(subject), "%s",
             side.opened ? conduit_conn_info(side.conn)->tls->peer : "");
    hang_up(&side);
    return subject;
}

/* ---- by name ---- */

CDT_TEST(tls_listen, the_certificate_is_that_of_the_name)
{
    static const struct {
        const char *name, *subject;
    } rows[] = {{"a.example", "CN=a.example"},
                {"b.example", "CN=b.example"},
                {"B.Example", "CN=b.example"},
                {"x.w.example", "CN=x.w.example"}, /* exact before wildcard */
                {"y.w.example", "CN=wildcard"},
                {"127.0.0.1", "CN=a.example"}};
    cdt_open_ctx(NULL);
    conduit_tls *client = trusting(NULL), *server = conduit_tls_new();
    add_identity(server, "server");
    add_identity(server, "b");
    add_identity(server, "wild");
    add_identity(server, "exact");
    conduit_listener *listener = listen_with(server);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_str_eq(shown_to(listener, rows[i].name, client), rows[i].subject, "%s",
                         rows[i].name);
    struct cdt_side side;
    call(&side, listener, "z.example", client);
    cr_expect_eq(conduit_error_reason(side.why), CONDUIT_TLS_WRONG_NAME, "the first is shown");
    hang_up(&side);
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    conduit_listener_close(listener);
    cdt_close_ctx();
}

CDT_TEST(tls_listen, key_types_stand_side_by_side_under_each_name)
{
    cdt_open_ctx(NULL);
    conduit_tls *server = conduit_tls_new();
    add_identity(server, "b");
    add_identity(server, "server");
    add_identity(server, "rsa");
    conduit_listener *listener = listen_with(server);
    static const char *const ciphers[] = {"ECDHE-RSA-AES128-GCM-SHA256",
                                          "ECDHE-ECDSA-AES128-GCM-SHA256"};
    for (int i = 0; i < 2; i++) {
        conduit_tls *client = trusting(NULL);
        set(client, "max", "1.2");
        set(client, "ciphers", ciphers[i]);
        struct cdt_side side;
        call(&side, listener, "a.example", client);
        cr_assert(side.opened, "%s", cdt_side_text(&side));
        cr_expect_str_eq(conduit_conn_info(side.conn)->tls->cipher, ciphers[i]);
        hang_up(&side);
        conduit_tls_unref(client);
    }
    conduit_tls_unref(server);
    conduit_listener_close(listener);
    cdt_close_ctx();
}

CDT_TEST(tls_listen, strictly_an_unknown_name_is_refused)
{
    static const char *const versions[] = {"1.2", "1.3"};
    cdt_open_ctx(NULL);
    conduit_tls *server = conduit_tls_new();
    add_identity(server, "server");
    set(server, "sni", "strict");
    conduit_listener *listener = listen_with(server);
    for (int i = 0; i < 2; i++) {
        conduit_tls *client = trusting(NULL);
        set(client, "max", versions[i]);
        struct cdt_side side;
        n_failed = 0;
        call(&side, listener, "b.example", client);
        cr_expect_eq(conduit_error_reason(side.why), CONDUIT_TLS_ALERT, "%s", cdt_side_text(&side));
        cr_expect_eq(conduit_error_number(side.why), 112);
        cr_expect(strstr(cdt_side_text(&side), "it does not serve \"b.example\"") != NULL);
        cdt_turn(5);
        cr_expect_eq(n_failed, 1);
        cr_expect_eq(failed_reason, CONDUIT_TLS_UNKNOWN_NAME, "%s", failed_text);
        hang_up(&side);
        cr_expect_str_eq(shown_to(listener, "a.example", client), "CN=a.example");
        cr_expect_str_eq(shown_to(listener, "127.0.0.1", client), "CN=a.example");
        conduit_tls_unref(client);
    }
    conduit_tls_unref(server);
    conduit_listener_close(listener);
    cdt_close_ctx();
}

CDT_TEST(tls_listen, client_certificates_are_demanded_by_name)
{
    static const struct {
        const char *name, *identity;
        bool served;
        const char *verify;
    } rows[] = {{"b.example", NULL, true, "none"},   {"b.example", "client", true, "none"},
                {"a.example", NULL, false, NULL},    {"a.example", "client", true, "full"},
                {"x.w.example", NULL, true, "none"}, {"x.w.example", "client", true, "full"},
                {"x.w.example", "b", false, NULL},   {"127.0.0.1", NULL, true, "none"},
                {"localhost", NULL, false, NULL},    {"localhost", "client", true, "full"}};
    cdt_open_ctx(NULL);
    conduit_tls *server = trusting("server");
    add_identity(server, "b");
    add_identity(server, "wild");
    set(server, "client_cert", "none");
    set(server, "client_cert", "require@a.example");
    set(server, "client_cert", "ask@*.w.example");
    set(server, "client_cert", "require@localhost."); /* the same name */
    conduit_listener *listener = listen_with(server);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conduit_tls *client = trusting(rows[i].identity);
        struct cdt_side side;
        n_failed = 0;
        cdt_side_clear(&server_side);
        call(&side, listener, rows[i].name, client);
        for (int n = 0; n < 1000 && !server_side.opened && n_failed == 0; n++)
            uv_run(&cdt_loop, UV_RUN_ONCE);
        cr_expect_eq(server_side.opened, rows[i].served, "row %zu: %s", i, failed_text);
        if (server_side.opened)
            cr_expect_str_eq(conduit_conn_info(server_side.conn)->tls->verify, rows[i].verify,
                             "row %zu", i);
        hang_up(&side);
        conduit_tls_unref(client);
    }
    conduit_tls_unref(server);
    conduit_listener_close(listener);
    cdt_close_ctx();
}

/* ---- reload ---- */

static char cert_path[160], key_path[160];

/* Put an identity in the place of the files that the listener knows. */
static void copy_to(const char *from, const char *suffix, const char *to)
{
    char name[64], command[600];
    snprintf(name, sizeof(name), "%s.%s", from, suffix);
    snprintf(command, sizeof(command), "cp %s %s.new && mv %s.new %s", cdt_cert(name), to, to, to);
    cr_assert_eq(system(command), 0);
}

static void put_identity(const char *name)
{
    snprintf(cert_path, sizeof(cert_path), "%s", cdt_test_path("cert.pem"));
    snprintf(key_path, sizeof(key_path), "%s", cdt_test_path("cert.key"));
    copy_to(name, "pem", cert_path);
    copy_to(name, "key", key_path);
}

static conduit_tls *from_files(const char *watch)
{
    conduit_tls *tls = conduit_tls_new();
    set(tls, "cert", cert_path);
    set(tls, "key", key_path);
    if (watch != NULL)
        set(tls, "watch", watch);
    return tls;
}

CDT_TEST(tls_listen, a_reload_is_for_those_who_come_after_it)
{
    cdt_open_ctx(NULL);
    put_identity("server");
    conduit_tls *client = trusting(NULL), *server = from_files(NULL);
    conduit_listener *listener = listen_with(server), *other = listen_with(server);
    conduit_tls_unref(server);
    struct cdt_side early;
    call(&early, listener, "a.example", client);
    cr_assert(early.opened, "%s", cdt_side_text(&early));
    put_identity("b");
    cr_expect_str_eq(shown_to(listener, "a.example", client), "CN=a.example", "not told yet");
    cr_assert_eq(conduit_listener_reload(listener), 0);
    cr_expect_str_eq(shown_to(listener, "b.example", client), "CN=b.example");
    cr_expect_str_eq(shown_to(other, "a.example", client), "CN=a.example", "another listener");
    cr_expect(!early.closed);
    cdt_side_expect(&early, 0);
    hang_up(&early);
    conduit_tls_unref(client);
    conduit_listener_close(listener);
    conduit_listener_close(other);
    cdt_close_ctx();
}

CDT_TEST(tls_listen, half_a_pair_is_never_served_and_tried_again)
{
    cdt_open_ctx(NULL);
    put_identity("server");
    conduit_tls *client = trusting(NULL), *server = from_files(NULL);
    conduit_listener *listener = listen_with(server);
    conduit_tls_unref(server);
    copy_to("b", "pem", cert_path); /* and its key a little later */
    cr_expect_eq(conduit_listener_reload(listener), CONDUIT_ETLS);
    cr_expect_eq(conduit_error_reason(conduit_ctx_error(cdt_ctx)), CONDUIT_TLS_KEY_MISMATCH);
    cr_expect_str_eq(shown_to(listener, "a.example", client), "CN=a.example");
    copy_to("b", "key", key_path);
    cdt_turns_within(400);
    cr_expect_str_eq(shown_to(listener, "b.example", client), "CN=b.example");
    conduit_tls_unref(client);
    conduit_listener_close(listener);
    cdt_close_ctx();
}

static uint64_t fake_ms;

static uint64_t fake_now(const conduit_ctx *ctx)
{
    return fake_ms;
}

/* `ms` later. */
static void advance(uint64_t ms)
{
    fake_ms += ms;
    cdt_timers_fire(cdt_ctx);
}

CDT_TEST(tls_listen, changed_files_are_noticed)
{
    cdt_open_ctx(NULL);
    put_identity("server");
    fake_ms = 1000;
    cdt_ctx->now_ms = fake_now;
    conduit_tls *client = trusting(NULL), *server = from_files("10");
    conduit_listener *listener = listen_with(server);
    conduit_tls_unref(server);
    n_failed = 0;
    advance(10000);
    cr_expect_str_eq(shown_to(listener, "a.example", client), "CN=a.example");
    copy_to("b", "pem", cert_path);
    advance(10000);
    cr_expect_eq(n_failed, 1);
    cr_expect_eq(failed_reason, CONDUIT_TLS_KEY_MISMATCH, "%s", failed_text);
    advance(10000);
    cr_expect_eq(n_failed, 1, "it is no news");
    cr_expect_str_eq(shown_to(listener, "a.example", client), "CN=a.example");
    copy_to("b", "key", key_path);
    advance(9000);
    cr_expect_str_eq(shown_to(listener, "a.example", client), "CN=a.example", "not looked yet");
    advance(1000);
    cr_expect_str_eq(shown_to(listener, "b.example", client), "CN=b.example");
    cr_assert_eq(unlink(key_path), 0);
    advance(10000);
    cr_expect_eq(failed_reason, CONDUIT_TLS_FILE_UNREADABLE, "%s", failed_text);
    cr_expect_str_eq(shown_to(listener, "b.example", client), "CN=b.example");
    conduit_tls_unref(client);
    conduit_listener_close(listener);
    cdt_close_ctx();
}

CDT_TEST(tls_listen, another_configuration_takes_over)
{
    cdt_open_ctx(NULL);
    conduit_tls *client = trusting(NULL), *first = conduit_tls_new(), *second = conduit_tls_new();
    conduit_tls *unfit = trusting(NULL);
    add_identity(first, "server");
    add_identity(second, "b");
    set(second, "min", "1.3");
    conduit_listener *listener = listen_with(first);
    struct cdt_side early;
    call(&early, listener, "a.example", client);
    cr_expect_eq(conduit_listener_set_tls(listener, unfit), CONDUIT_ETLS);
    cr_expect_eq(conduit_error_reason(conduit_ctx_error(cdt_ctx)), CONDUIT_TLS_NO_IDENTITY);
    cr_expect_str_eq(shown_to(listener, "a.example", client), "CN=a.example");
    cr_assert_eq(conduit_listener_set_tls(listener, second), 0);
    cr_expect_str_eq(shown_to(listener, "b.example", client), "CN=b.example");
    cr_expect(early.opened && !early.closed);
    hang_up(&early);
    conduit_tls_unref(client);
    conduit_tls_unref(first);
    conduit_tls_unref(second);
    conduit_tls_unref(unfit);
    conduit_listener_close(listener);
    conduit_listener *plain;
    cr_assert_eq(conduit_listen(cdt_ctx, "tcp://127.0.0.1:0", NULL, NULL, NULL, &plain), 0);
    cr_expect_eq(conduit_listener_reload(plain), 0);
    conduit_tls *any = conduit_tls_new();
    cr_expect_eq(conduit_listener_set_tls(plain, any), CONDUIT_EINVAL);
    conduit_tls_unref(any);
    conduit_listener_close(plain);
    cdt_close_ctx();
}
