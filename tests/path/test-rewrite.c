/* SPDX-License-Identifier: ISC */
/*
 * Connections that a rule has led elsewhere, and those that the program's filter has a say in: the
 * place changes, and who has to be there does not.
 */
#include "harness.h"
#include <stdio.h>
#include <string.h>

static struct cdt_side client, server;
static conduit_connect_options options;
static char told[32][160]; /* the trace, "EVENT TEXT" */
static int n_told;

static void on_trace(void *user, double at_ms, const char *event, const char *text)
{
    if (n_told < 32)
        snprintf(told[n_told++], sizeof(told[0]), "%s %s", event, text);
}

/* The first line of the trace that begins so; "" if there is none. */
static const char *line_of(const char *event)
{
    for (int i = 0; i < n_told; i++)
        if (strncmp(told[i], event, strlen(event)) == 0)
            return told[i];
    return "";
}

static void begin(const conduit_ctx_options *more)
{
    conduit_ctx_options how = more != NULL ? *more : (conduit_ctx_options){0};
    how.trace = on_trace;
    n_told = 0;
    options = (conduit_connect_options){0};
    cdt_open_ctx(&how);
}

static void end(void)
{
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
    conduit_tls_unref(options.tls);
}

static const char *serve(const char *uri, conduit_tls *tls)
{
    conduit_listener *listener;
    const conduit_listen_options listening = {.tls = tls};
    int code = conduit_listen(cdt_ctx, uri, &listening, &cdt_side_handler, &server, &listener);
    cr_assert_eq(code, 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
    conduit_tls_unref(tls);
    return conduit_listener_uri(listener, 0);
}

static int call(const char *uri)
{
    return conduit_connect(cdt_ctx, uri, &options, &cdt_side_handler, &client, &client.conn);
}

static void rule(const char *pattern, const char *target)
{
    cr_assert_eq(conduit_ctx_add_rule(cdt_ctx, pattern, target), 0, "%s: %s", target,
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

CDT_TEST(rewrite, tls_verifies_whom_the_uri_named)
{
    CDT_SKIP_WITHOUT_TLS();
    static const struct {
        const char *uri;
        conduit_code code;
    } rows[] = {
        {"tls://a.example:443", CONDUIT_OK},      {"https://a.example/", CONDUIT_OK},
        {"https://A.Example./", CONDUIT_OK},      {"https://b.example/", CONDUIT_ETRUST},
        {"https://x.a.example/", CONDUIT_ETRUST},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char uri[160];
        begin(NULL);
        snprintf(uri, sizeof(uri), "tls+unix:%s?alpn=http/1.1", cdt_test_path("s"));
        serve(uri, cdt_server_tls());
        snprintf(uri, sizeof(uri), "unix:%s", cdt_test_path("s"));
        rule("*", uri);
        options.tls = cdt_client_tls();
        cr_assert_eq(call(rows[i].uri), 0);
        cdt_await(rows[i].code == CONDUIT_OK ? &client.opened : &client.closed);
        cr_expect_eq(cdt_side_code(&client), rows[i].code, "%s: %s", rows[i].uri,
                     cdt_side_text(&client));
        if (client.opened) {
            const conduit_info *info = conduit_conn_info(client.conn);
            cr_expect_str_eq(info->tls->name, "a.example");
            cr_expect_str_eq(info->stack, "tls+unix");
            cr_expect_str_eq(info->uri, rows[i].uri);
        }
        end();
    }
}

CDT_TEST(rewrite, bytes_go_where_the_rule_says_and_the_trace_tells)
{
    char target[64];
    begin(NULL);
    snprintf(target, sizeof(target), "tcp://127.0.0.1:%d",
             cdt_port_of(serve("tcp://127.0.0.1:0", NULL)));
    rule("*.internal", "tcp://{label}.example");
    rule("web.example", target);
    cdt_side_expect(&server, 1000);
    cr_assert_eq(call("http://web.internal/"), 0);
    cr_expect_str_eq(line_of("rule"), "", "no callback before the call has returned");
    cdt_side_send(&client, 1000);
    cdt_await(&server.complete);
    char way[128];
    snprintf(way, sizeof(way), "rule web.internal -> web.example -> %s", target);
    cr_expect_str_eq(line_of("rule"), way);
    end();
}

CDT_TEST(rewrite, a_rule_that_leads_nowhere_fails_the_call)
{
    begin(NULL);
    rule("a.example", "tcp://b.example");
    rule("b.example", "tcp://a.example");
    cr_expect_eq(call("http://user:secret@a.example/"), CONDUIT_EINVAL);
    cr_expect_str_eq(conduit_error_text(conduit_ctx_error(cdt_ctx)),
                     "uri: http://...@a.example/: rule loop: a.example -> b.example -> a.example");
    cdt_turn(3);
    cr_expect_str_eq(client.story, "");
    end();
}

CDT_TEST(rewrite, an_own_address_is_listened_at_and_dialled)
{
    char uri[64];
    begin(NULL);
    cr_assert_eq(conduit_ctx_add_host(cdt_ctx, "here.example", "127.0.0.1"), 0);
    int port = cdt_port_of(serve("tcp://here.example:0", NULL));
    snprintf(uri, sizeof(uri), "tcp://HERE.example.:%d", port);
    cr_assert_eq(call(uri), 0);
    cdt_await(&client.opened);
    end();
}

/* ---- the filter ---- */

static int asked;

static bool only_ip4(void *user, const conduit_endpoint *endpoint)
{
    asked++;
    while (conduit_endpoint_below(endpoint) != NULL)
        endpoint = conduit_endpoint_below(endpoint);
    return strchr(conduit_endpoint_host(endpoint), ':') == NULL;
}

static bool nothing(void *user, const conduit_endpoint *endpoint)
{
    cr_expect_eq(user, &asked);
    asked++;
    return false;
}

CDT_TEST(filter, what_it_refuses_is_not_dialled_and_the_next_is)
{
    char uri[64];
    asked = 0;
    begin(&(conduit_ctx_options){.allow = only_ip4});
    cr_assert_eq(conduit_ctx_add_host(cdt_ctx, "two.example", "::1"), 0);
    cr_assert_eq(conduit_ctx_add_host(cdt_ctx, "two.example", "127.0.0.1"), 0);
    int port = cdt_port_of(serve("tcp://127.0.0.1:0", NULL));
    cr_expect_eq(asked, 0, "listening is not dialling");
    snprintf(uri, sizeof(uri), "tcp://two.example:%d", port);
    cr_assert_eq(call(uri), 0);
    cdt_await(&client.opened);
    cr_expect_geq(asked, 1);
    end();
}

CDT_TEST(filter, that_refuses_everything_is_the_error_of_every_attempt)
{
    asked = 0;
    begin(&(conduit_ctx_options){.allow = nothing, .allow_user = &asked});
    rule("meta.example", "tcp://169.254.169.254:80");
    cr_assert_eq(call("http://meta.example/"), 0);
    cdt_await(&client.closed);
    cr_expect_eq(asked, 1);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_EACCESS);
    cr_expect_str_eq(cdt_side_text(&client),
                     "dial: tcp://169.254.169.254:80: refused by the program's filter");
    end();
    asked = 0;
    begin(&(conduit_ctx_options){.allow = nothing, .allow_user = &asked});
    cr_assert_eq(call("https://localhost:1/"), 0);
    cdt_await(&client.closed);
    cr_expect_eq(asked, 2);
    cr_expect_eq(conduit_error_count(client.why), 2);
    cr_expect_eq(conduit_error_code(client.why), CONDUIT_EACCESS);
    end();
}
