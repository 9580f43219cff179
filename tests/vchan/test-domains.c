/* SPDX-License-Identifier: ISC */
/*
 * NAME.xen in any URI: which vchan it is, that TLS still proves the name, and that nobody outside
 * this machine hears of it.
 */
#include "harness.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct cdt_side client, server;
static conduit_connect_options options;
static char answer[256];
static bool resolved;

static void begin(const conduit_ctx_options *how)
{
    setenv("XDG_RUNTIME_DIR", cdt_test_directory(), 1);
    options = (conduit_connect_options){0};
    cdt_open_ctx(how);
}

static void end(void)
{
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
    conduit_tls_unref(options.tls);
}

static conduit_listener *serve(const char *uri, conduit_tls *tls)
{
    conduit_listener *listener = NULL;
    const conduit_listen_options listening = {.tls = tls};
    int code = conduit_listen(cdt_ctx, uri, &listening, &cdt_side_handler, &server, &listener);
    cr_assert_eq(code, 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
    conduit_tls_unref(tls);
    return listener;
}

static void call(const char *uri)
{
    int code = conduit_connect(cdt_ctx, uri, &options, &cdt_side_handler, &client, &client.conn);
    cr_assert_eq(code, 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

/* ---- which vchan ---- */

static void on_resolved(conduit_resolution *resolution, const conduit_answer *answers, size_t n,
                        const conduit_error *why, void *user)
{
    resolved = true;
    if (why != NULL)
        snprintf(answer, sizeof(answer), "%s", conduit_code_name(conduit_error_code(why)));
    else
        snprintf(answer, sizeof(answer), "%s (%s)", conduit_endpoint_uri(answers[0].endpoint),
                 answers[0].source);
}

static const char *resolve(const char *uri)
{
    resolved = false;
    cr_assert_eq(conduit_resolve(cdt_ctx, uri, &options, on_resolved, NULL, NULL), 0, "%s: %s", uri,
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
    cdt_await(&resolved);
    return answer;
}

CDT_TEST(domains, the_port_is_the_scheme_or_the_number)
{
    static const char *const rows[][2] = {
        {"http://www.xen/", "vchan://www/http (xen)"},
        {"http://www.xen:80/index.html?q", "vchan://www/http (xen)"},
        {"http://www.xen:8080/", "vchan://www/8080 (xen)"},
        {"HTTP://WWW.Xen./", "vchan://www/http (xen)"},
        {"redis://cache.db.xen", "vchan://cache.db/redis (xen)"},
        {"imap://mail.xen", "vchan://mail/imap (xen)"},
        {"tcp://5.xen:7", "vchan://5/7 (xen)"},
        {"tcp://mail.xen?srv=imaps", "vchan://mail/imaps (xen)"},
        {"tcp4://www.xen:80", "ENONAME"},
        {"tcp://32752.xen:7", "EURI"},
    };
    begin(NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_str_eq(resolve(rows[i][0]), rows[i][1], "%s: %s", rows[i][0], answer);
    end();
}

CDT_TEST(domains, other_names_are_not_taken_for_one)
{
    begin(&(conduit_ctx_options){.hosts_file = "/dev/null", .dns_servers = "127.0.0.1:1"});
    cr_assert_eq(conduit_ctx_add_host(cdt_ctx, "xen", "192.0.2.1"), 0);
    cr_assert_eq(conduit_ctx_add_host(cdt_ctx, "a.nxen", "192.0.2.2"), 0);
    cr_assert_eq(conduit_ctx_add_host(cdt_ctx, "a.xen.example", "192.0.2.3"), 0);
    cr_expect_str_eq(resolve("http://xen/"), "tcp://192.0.2.1:80 (static)", "%s", answer);
    cr_expect_str_eq(resolve("http://a.nxen/"), "tcp://192.0.2.2:80 (static)", "%s", answer);
    cr_expect_str_eq(resolve("http://a.xen.example/"), "tcp://192.0.2.3:80 (static)", "%s", answer);
    end();
}

CDT_TEST(domains, rules_come_before_and_may_lead_there)
{
    begin(NULL);
    cr_assert_eq(conduit_ctx_add_rule(cdt_ctx, "www.xen", "tcp://192.0.2.7"), 0);
    cr_assert_eq(conduit_ctx_add_rule(cdt_ctx, "db.example", "tcp://db.xen"), 0);
    cr_expect_str_eq(resolve("http://www.xen/"), "tcp://192.0.2.7:80 (literal)", "%s", answer);
    cr_expect_str_eq(resolve("redis://db.example"), "vchan://db/redis (xen)", "%s", answer);
    end();
}

CDT_TEST(domains, what_endpoint_params_say_of_vchans_holds)
{
    begin(NULL);
    options.endpoint_params = "spin=0&nodelay=0";
    cr_expect_str_eq(resolve("http://www.xen/"), "vchan://www/http?spin=0 (xen)", "%s", answer);
    end();
}

/* ---- bytes ---- */

CDT_TEST(domains, bytes_go_to_who_listens_at_that_vchan)
{
    static const char *const places[] = {"vchan://www/http", "http+vchan://www/",
                                         "http://www.xen/"};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        begin(NULL);
        conduit_listener *listener = serve(places[i], NULL);
        cr_expect_str_eq(conduit_listener_uri(listener, 0), "vchan://www/http");
        cdt_side_expect(&server, 100000);
        call("http://www.xen/index.html");
        cdt_side_send(&client, 100000);
        cdt_await(&server.complete);
        cr_expect(!server.garbled);
        cr_expect_str_eq(conduit_conn_info(client.conn)->stack, "vchan");
        end();
    }
}

CDT_TEST(domains, who_does_not_listen_is_named)
{
    begin(NULL);
    call("http://nobody.xen/");
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_EREFUSED);
    cr_expect_not_null(strstr(cdt_side_text(&client), "vchan://nobody/http"), "%s",
                       cdt_side_text(&client));
    end();
}

CDT_TEST(domains, tls_proves_the_name_with_its_suffix)
{
    CDT_SKIP_WITHOUT_TLS();
    static const struct {
        const char *cert, *key;
        conduit_code code;
    } rows[] = {{"domain.pem", "domain.key", CONDUIT_OK}, {"b.pem", "b.key", CONDUIT_ETRUST}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(NULL);
        conduit_tls *tls = conduit_tls_new();
        cr_assert_eq(conduit_tls_set(tls, "cert", cdt_cert(rows[i].cert), NULL), 0);
        cr_assert_eq(conduit_tls_set(tls, "key", cdt_cert(rows[i].key), NULL), 0);
        cr_assert_eq(conduit_tls_set(tls, "alpn", "http/1.1", NULL), 0);
        serve("tls+vchan://www/https", tls);
        options.tls = cdt_client_tls();
        call("https://www.xen/");
        cdt_await(rows[i].code == CONDUIT_OK ? &client.opened : &client.closed);
        cr_expect_eq(cdt_side_code(&client), rows[i].code, "%s", cdt_side_text(&client));
        if (client.opened) {
            cr_expect_str_eq(conduit_conn_info(client.conn)->tls->name, "www.xen");
            cr_expect_str_eq(conduit_conn_info(client.conn)->stack, "tls+vchan");
        }
        end();
    }
}

/* ---- nobody else is asked ---- */

/* A name server that is listened to and never answers. */
static int name_server(char servers[32])
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&in, len), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    snprintf(servers, 32, "127.0.0.1:%d", ntohs(in.sin_port));
    return fd;
}

static bool was_asked(int server_fd)
{
    char packet[512];
    bool asked = false;
    cdt_turns_within(20);
    while (recv(server_fd, packet, sizeof(packet), 0) > 0)
        asked = true;
    return asked;
}

CDT_TEST(domains, no_name_server_hears_of_one)
{
    char servers[32];
    int fd = name_server(servers);
    begin(&(conduit_ctx_options){.hosts_file = "/dev/null", .dns_servers = servers});
    resolve("http://www.xen/");
    resolve("https://www.xen/");
    resolve("tcp4://www.xen:80");
    resolve("tcp://99999.xen:80");
    cr_expect(!was_asked(fd), "it was");
    options.resolve_timeout_ms = 50;
    resolve("http://www.nxen/");
    cr_expect(was_asked(fd), "a name of DNS has to be asked for, or this test is blind");
    end();
    close(fd);
}

CDT_TEST(domains, no_proxy_hears_of_one)
{
    begin(NULL);
    options.via = "socks5://127.0.0.1:1";
    cr_expect_eq(
        conduit_connect(cdt_ctx, "http://www.xen/", &options, &cdt_side_handler, &client, NULL),
        CONDUIT_EINVAL);
    cr_expect_not_null(strstr(conduit_error_text(conduit_ctx_error(cdt_ctx)), "this machine"));
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    options.via = "env";
    cr_expect_str_eq(resolve("http://www.xen/"), "vchan://www/http (xen)", "%s", answer);
    end();
}
