/* SPDX-License-Identifier: ISC */
/*
 * Early data from a program's conduit_write() to another's on_data, between our own ends and with
 * OpenSSL's at the other: every byte arrives, and arrives once.
 */
#include "harness.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- one end of a connection ---- */

struct talk {
    char heard[256];
    size_t n;
    bool early, resumed, opened, ended, closed;
    conduit_conn *conn;
    bool echoes;
};

static void on_open(conduit_conn *conn, void *user)
{
    struct talk *talk = user;
    const conduit_tls_info *tls = conduit_conn_info(conn)->tls;
    talk->conn = conn;
    talk->opened = true;
    talk->early = tls->early;
    talk->resumed = tls->resumed;
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct talk *talk = user;
    cr_assert(talk->n + n < sizeof(talk->heard));
    memcpy(talk->heard + talk->n, data, n);
    talk->n += n;
    talk->heard[talk->n] = '\0';
    if (talk->echoes)
        conduit_write(conn, data, n);
}

static void on_end(conduit_conn *conn, void *user)
{
    struct talk *talk = user;
    talk->ended = true;
    conduit_end(conn);
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct talk *talk = user;
    talk->closed = true;
    talk->conn = NULL;
}

static const conduit_handler talking = {
    .on_open = on_open, .on_data = on_data, .on_end = on_end, .on_close = on_close};

static void set(conduit_tls *tls, const char *key, const char *value)
{
    const conduit_error *error = NULL;
    cr_assert_eq(conduit_tls_set(tls, key, value, &error), 0, "%s", conduit_error_text(error));
}

static conduit_tls *with_early(conduit_tls *tls)
{
    set(tls, "early_data", "yes");
    return tls;
}

static conduit_listener *listen_with(conduit_tls *tls, struct talk *server)
{
    const conduit_listen_options options = {.tls = tls};
    conduit_listener *listener;
    server->echoes = true;
    cr_assert_eq(
        conduit_listen(cdt_ctx, "tls://127.0.0.1:0", &options, &talking, server, &listener), 0);
    return listener;
}

/* Say `text` at once, and wait for the peer's answer of the same length. */
static void say(int port, conduit_tls *tls, const char *text, struct talk *client)
{
    char uri[64];
    const conduit_connect_options options = {.tls = tls};
    snprintf(uri, sizeof(uri), "tls://127.0.0.1:%d", port);
    *client = (struct talk){0};
    cr_assert_eq(conduit_connect(cdt_ctx, uri, &options, &talking, client, &client->conn), 0);
    cr_assert_eq(conduit_write(client->conn, text, strlen(text)), 0);
    while (!client->closed && client->n < strlen(text))
        uv_run(&cdt_loop, UV_RUN_ONCE);
    cr_expect_str_eq(client->heard, text);
    conduit_close(client->conn);
    cdt_await(&client->closed);
}

/* ---- our own ends ---- */

CDT_TEST(early, what_was_written_before_it_opened_arrives_once)
{
    CDT_SKIP_WITHOUT_TLS();
    struct talk client, server = {0};
    cdt_open_ctx(NULL);
    conduit_tls *client_tls = with_early(cdt_client_tls());
    conduit_tls *server_tls = with_early(cdt_server_tls());
    conduit_listener *listener = listen_with(server_tls, &server);
    int port = cdt_port_of(conduit_listener_uri(listener, 0));
    say(port, client_tls, "one", &client);
    cr_expect(!client.early && !server.early, "there is no ticket yet");
    say(port, client_tls, "two", &client);
    cr_expect(client.early && server.early, "both ends say so");
    say(port, client_tls, "three", &client);
    cr_expect(client.early && server.early, "the second brought a ticket for the third");
    cr_assert_eq(conduit_listener_reload(listener), 0);
    say(port, client_tls, "four", &client);
    cr_expect(!client.early && !server.early, "the new configuration knows no such ticket");
    cr_expect_str_eq(server.heard, "onetwothreefour", "each of them once");
    conduit_listener_close(listener);
    conduit_tls_unref(client_tls);
    conduit_tls_unref(server_tls);
    cdt_close_ctx();
}

CDT_TEST(early, is_nobodys_who_did_not_ask_for_it)
{
    CDT_SKIP_WITHOUT_TLS();
    struct talk client, server = {0};
    cdt_open_ctx(NULL);
    conduit_tls *client_tls = cdt_client_tls();
    conduit_tls *server_tls = with_early(cdt_server_tls());
    conduit_listener *listener = listen_with(server_tls, &server);
    int port = cdt_port_of(conduit_listener_uri(listener, 0));
    say(port, client_tls, "one", &client);
    say(port, client_tls, "two", &client);
    cr_expect(client.resumed && server.resumed && !client.early && !server.early);
    cr_expect_str_eq(server.heard, "onetwo");
    conduit_listener_close(listener);
    conduit_tls_unref(client_tls);
    conduit_tls_unref(server_tls);
    cdt_close_ctx();
}

/* ---- OpenSSL's own programs ---- */

/* A shell command, with what it says in the file `out`. */
static pid_t start(const char *command, const char *out)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    execl("/bin/sh", "sh", "-c", command, NULL);
    _exit(127);
}

static void await_child(pid_t child)
{
    for (int i = 0; i < 10000 && waitpid(child, NULL, WNOHANG) == 0; i++)
        cdt_turns_within(1);
}

static size_t count_in(const char *path, const char *text)
{
    static char content[65536];
    FILE *in = fopen(path, "r");
    cr_assert_not_null(in);
    content[fread(content, 1, sizeof(content) - 1, in)] = '\0';
    fclose(in);
    size_t n = 0;
    for (const char *at = content; (at = strstr(at, text)) != NULL; at++)
        n++;
    return n;
}

CDT_TEST(early, s_client_is_answered)
{
    CDT_SKIP_WITHOUT_TLS();
    char command[1024], out[128], ticket[128], ping[128];
    struct talk server = {0};
    cdt_open_ctx(NULL);
    conduit_tls *tls = with_early(cdt_server_tls());
    conduit_listener *listener = listen_with(tls, &server);
    int port = cdt_port_of(conduit_listener_uri(listener, 0));
    snprintf(out, sizeof(out), "%s", cdt_test_path("out"));
    snprintf(ticket, sizeof(ticket), "%s", cdt_test_path("ticket"));
    snprintf(ping, sizeof(ping), "%s", cdt_test_path("ping"));
    FILE *file = fopen(ping, "w");
    fputs("ping-pong", file);
    fclose(file);
    /* It leaves when its input ends, not when ours has said all: the first waits for its ticket. */
    snprintf(command, sizeof(command),
             "(echo x; sleep 0.5) | openssl s_client -connect 127.0.0.1:%d -CAfile %s -sess_out %s",
             port, cdt_cert("ca.pem"), ticket);
    await_child(start(command, out));
    snprintf(command, sizeof(command),
             "(sleep 0.5) | openssl s_client -connect 127.0.0.1:%d -CAfile %s -sess_in %s "
             "-early_data %s",
             port, cdt_cert("ca.pem"), ticket, ping);
    await_child(start(command, out));
    cr_expect_eq(count_in(out, "Early data was accepted"), 1);
    cr_expect_eq(count_in(out, "ping-pong"), 1, "the echo");
    cr_expect(server.early);
    cr_expect_str_eq(server.heard, "x\nping-pong");
    await_child(start(command, out)); /* the same ticket again */
    cr_expect_eq(count_in(out, "Early data was rejected"), 1);
    cr_expect_str_eq(server.heard, "x\nping-pong", "and nothing of it is heard");
    conduit_listener_close(listener);
    conduit_tls_unref(tls);
    cdt_close_ctx();
}

/* s_server answers nothing; that it heard is in what it prints. */
static void say_to_s_server(int port, conduit_tls *tls, const char *text, struct talk *client)
{
    char uri[64];
    const conduit_connect_options options = {.tls = tls};
    snprintf(uri, sizeof(uri), "tls://127.0.0.1:%d", port);
    *client = (struct talk){0};
    cr_assert_eq(conduit_connect(cdt_ctx, uri, &options, &talking, client, &client->conn), 0);
    cr_assert_eq(conduit_write(client->conn, text, strlen(text)), 0);
    while (!client->closed && !client->opened)
        uv_run(&cdt_loop, UV_RUN_ONCE);
    cdt_turns_within(100); /* tickets */
    conduit_close(client->conn);
    cdt_await(&client->closed);
}

static bool listens(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool there = bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0;
    close(fd);
    return there;
}

CDT_TEST(early, s_server_takes_it)
{
    CDT_SKIP_WITHOUT_TLS();
    char command[1024], out[128];
    struct talk client;
    int port = cdt_closed_port();
    cdt_open_ctx(NULL);
    conduit_tls *tls = with_early(cdt_client_tls());
    snprintf(out, sizeof(out), "%s", cdt_test_path("out"));
    snprintf(command, sizeof(command),
             "exec openssl s_server -accept 127.0.0.1:%d -cert %s -key %s -early_data -naccept 3",
             port, cdt_cert("server.pem"), cdt_cert("server.key"));
    pid_t child = start(command, out);
    for (int i = 0; i < 1000 && !listens(port); i++)
        cdt_turns_within(10);
    say_to_s_server(port, tls, "first-line\n", &client);
    cr_expect(!client.early);
    say_to_s_server(port, tls, "second-line\n", &client);
    cr_expect(client.early);
    say_to_s_server(port, tls, "third-line\n", &client);
    await_child(child);
    cr_expect_eq(count_in(out, "first-line"), 1);
    cr_expect_eq(count_in(out, "second-line"), 1);
    cr_expect_eq(count_in(out, "third-line"), 1);
    conduit_tls_unref(tls);
    cdt_close_ctx();
}
