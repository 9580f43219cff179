/* SPDX-License-Identifier: ISC */
/*
 * The layers that matter only while a path opens: PROXY headers in both directions, and proxies of
 * both kinds, well-meaning, hostile and absent. The other end is this process: a socket that says
 * what the test says, a listener that answers by heart, or a whole proxy (proxy.h).
 */
#include "harness.h"
#include "proxy.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct cdt_side client, server;
static conduit_connect_options dialling;
static conduit_listen_options listening;
static conduit_listener *listener;

static void begin(void)
{
    dialling = (conduit_connect_options){0};
    listening = (conduit_listen_options){0};
    cdt_open_ctx(NULL);
}

static void end(void)
{
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
    conduit_tls_unref(dialling.tls);
    conduit_tls_unref(listening.tls);
}

static const char *serve(const char *uri)
{
    int code = conduit_listen(cdt_ctx, uri, &listening, &cdt_side_handler, &server, &listener);
    cr_assert_eq(code, 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
    return conduit_listener_uri(listener, 0);
}

static int call(const char *uri)
{
    return conduit_connect(cdt_ctx, uri, &dialling, &cdt_side_handler, &client, &client.conn);
}

/* ---- failures of a listener ---- */

static bool failed;
static int failure;
static char failure_text[512];

static void on_failed(conduit_listener *of, const conduit_error *error, void *user)
{
    failed = true;
    failure = conduit_error_code(error);
    cr_expect_eq(conduit_error_stage(error), CONDUIT_STAGE_LAYER);
    snprintf(failure_text, sizeof(failure_text), "%s", conduit_error_text(error));
}

/* ---- PROXY headers that come ---- */

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(text) text, sizeof(text) - 1

struct header {
    const char *bytes;
    size_t n;
    const char *says; /* the peer; NULL: the proxy; or what is wrong */
};

/* As the bytes come: all at once, with what follows, or one at a time. */
static int send_header(const struct header *header, bool bytewise)
{
    unsigned char bytes[600];
    memcpy(bytes, header->bytes, header->n);
    cdt_pattern(bytes + header->n, 0, 20);
    int fd = cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
    size_t n = header->n + 20, step = bytewise ? 1 : n;
    for (size_t at = 0; at < n; at += step) {
        cr_assert_eq(send(fd, bytes + at, step, MSG_NOSIGNAL), (ssize_t)step);
        if (bytewise)
            cdt_turn(2);
    }
    return fd;
}

static void expect_peer(const struct header *header, bool bytewise)
{
    cdt_side_clear(&server);
    cdt_side_expect(&server, 20);
    int fd = send_header(header, bytewise);
    cdt_await(&server.complete);
    const conduit_info *info = conduit_conn_info(server.conn);
    if (header->says != NULL) {
        cr_expect_str_eq(info->peer, header->says);
        cr_expect(strncmp(info->via, "tcp://127.0.0.1:", 16) == 0, "via %s", info->via);
    } else {
        cr_expect(strncmp(info->peer, "tcp://127.0.0.1:", 16) == 0, "peer %s", info->peer);
        cr_expect_str_eq(info->via, "");
    }
    cr_expect_str_eq(info->stack, "tcp");
    cdt_turn(5);
    cr_expect(server.received == 20 && !server.garbled, "%zu bytes", server.received);
    close(fd);
    cdt_await(&server.closed);
}

CDT_TEST(layers, a_proxy_header_says_who_the_peer_is)
{
    static const struct header headers[] = {
        {BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n"), "tcp://192.0.2.1:5000"},
        {BYTES("PROXY TCP6 2001:db8::1 ::1 65535 1\r\n"), "tcp://[2001:db8::1]:65535"},
        {BYTES("PROXY UNKNOWN\r\n"), NULL},
        {BYTES("PROXY UNKNOWN ff:ff ff:ff 1 2\r\n"), NULL},
        {BYTES(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\x13\x88\1\xbb"),
         "tcp://192.0.2.1:5000"},
        {BYTES(SIGNATURE "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
                         "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x13\x88\1\xbb"),
         "tcp://[2001:db8::1]:5000"},
        {BYTES(SIGNATURE "\x21\x11\0\x11\xc0\0\2\1\xc0\0\2\2\x13\x88\1\xbb\1\0\2h2"),
         "tcp://192.0.2.1:5000"},
        {BYTES(SIGNATURE "\x20\0\0\0"), NULL},
        {BYTES(SIGNATURE "\x20\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\x13\x88\1\xbb"), NULL},
        {BYTES(SIGNATURE "\x21\0\0\3abc"), NULL},
    };
    begin();
    serve("tcp://127.0.0.1:0?proxy_from=192.0.2.0/24,127.0.0.0/8");
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        expect_peer(&headers[i], false);
        expect_peer(&headers[i], true);
    }
    end();
}

CDT_TEST(layers, what_is_no_proxy_header_is_turned_away_and_the_listener_goes_on)
{
    static const struct header headers[] = {
        {BYTES("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "did not begin with"},
        {BYTES("\r\n\r\n\0\r\nQUIT\r\n\r\n\r\n"), "did not begin with"},
        {BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\n and more\r\n"), "two lines"},
        {BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 5000 443 x\r\n"), "malformed"},
        {BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 05000 443\r\n"), "malformed"},
        {BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n"), "malformed"},
        {BYTES("PROXY TCP4 ::1 ::1 1 1\r\n"), "malformed"},
        {BYTES("PROXY TCP4 192.0.2.1  192.0.2.2 1 1\r\n"), "malformed"},
        {BYTES("PROXY TCP9 192.0.2.1 192.0.2.2 1 1\r\n"), "unknown protocol"},
        {BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1\0 1\r\n"), "zero byte"},
        {BYTES("PROXY UNKNOWN "
               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"),
         "too long"},
        {BYTES(SIGNATURE "\x11\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\x13\x88\1\xbb"), "unknown version"},
        {BYTES(SIGNATURE "\x22\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\x13\x88\1\xbb"), "unknown version"},
        {BYTES(SIGNATURE "\x21\x11\0\x0b\xc0\0\2\1\xc0\0\2\2\x13\x88\1\xbb"), "malformed"},
        {BYTES(SIGNATURE "\x21\x11\xff\xff\xc0\0\2\1\xc0\0\2\2\x13\x88\1\xbb"), "too long"},
        {BYTES(SIGNATURE "\x21\x11\0\x11\xc0\0\2\1\xc0\0\2\2\x13\x88\1\xbb\1\0\3h2"), "malformed"},
        {BYTES(SIGNATURE "\x21\x11\0\x13\xc0\0\2\1\xc0\0\2\2\x13\x88\1\xbb\3\0\4\0\0\0\0"),
         "malformed"},
    };
    begin();
    listening.on_failed = on_failed;
    serve("tcp://127.0.0.1:0?proxy_from=127.0.0.1");
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        failed = false;
        int fd = send_header(&headers[i], false);
        cdt_await(&failed);
        cr_expect_eq(failure, CONDUIT_EIO, "%s", failure_text);
        cr_expect(strstr(failure_text, headers[i].says) != NULL, "%zu: %s", i, failure_text);
        close(fd);
    }
    cr_expect(!server.opened);
    static const struct header good = {BYTES("PROXY UNKNOWN\r\n"), NULL};
    expect_peer(&good, false);
    end();
}

CDT_TEST(layers, a_proxy_header_from_anybody_else_is_not_even_read)
{
    static const char *const lists[] = {"192.0.2.0/24", "::1", "127.0.0.2,128.0.0.0/1", "local"};
    static const struct header header = {BYTES("PROXY UNKNOWN\r\n"), NULL};
    begin();
    listening.on_failed = on_failed;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        char uri[128], byte;
        snprintf(uri, sizeof(uri), "tcp://127.0.0.1:0?proxy_from=%s", lists[i]);
        serve(uri);
        failed = false;
        int fd = send_header(&header, false);
        cdt_await(&failed);
        cr_expect_eq(failure, CONDUIT_EACCESS, "%s: %s", lists[i], failure_text);
        cr_expect(strstr(failure_text, "tcp://127.0.0.1:") != NULL, "%s", failure_text);
        cr_expect_leq(recv(fd, &byte, 1, 0), 0);
        close(fd);
        conduit_listener_close(listener);
    }
    cr_expect(!server.opened);
    end();
}

CDT_TEST(layers, half_a_proxy_header_ends_with_the_handshake_deadline)
{
    static const struct header half = {BYTES("PROXY TCP4 192.0."), NULL};
    begin();
    listening.on_failed = on_failed;
    listening.handshake_timeout_ms = 50;
    serve("tcp://127.0.0.1:0?proxy_from=127.0.0.1");
    failed = false;
    int fd = cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
    cr_assert_eq(send(fd, half.bytes, half.n, 0), (ssize_t)half.n);
    cdt_await(&failed);
    cr_expect_eq(failure, CONDUIT_ETIMEDOUT, "%s", failure_text);
    close(fd);
    failed = false;
    fd = cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
    cr_assert_eq(send(fd, half.bytes, half.n, 0), (ssize_t)half.n);
    close(fd);
    cdt_await(&failed);
    cr_expect_eq(failure, CONDUIT_ERESET, "%s", failure_text);
    end();
}

/* ---- PROXY headers that go ---- */

static size_t read_raw(int fd, char *bytes, size_t size)
{
    size_t n = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    for (int i = 0; i < 500 && n < size; i++) {
        cdt_turn(2);
        if (poll(&ready, 1, 5) != 1)
            continue;
        ssize_t got = recv(fd, bytes + n, size - n, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    return n;
}

/* What has to come, for a connection from port `from` to port `to`. */
static size_t expected_header(int version, int from, int to, char text[128])
{
    if (version == 1)
        return (size_t)snprintf(text, 128, "PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n", from, to);
    memcpy(text, BYTES(SIGNATURE "\x21\x11\0\x0c\x7f\0\0\1\x7f\0\0\1"));
    text[24] = (char)(from >> 8);
    text[25] = (char)from;
    text[26] = (char)(to >> 8);
    text[27] = (char)to;
    return 28;
}

static void expect_header(int version)
{
    int port = 0, raw = cdt_raw_listen(AF_INET, 1, &port);
    char uri[64], got[128], wanted[128];
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d?proxy_send=%d", port, version);
    cr_assert_eq(call(uri), 0);
    cdt_await(&client.opened);
    int fd = accept(raw, NULL, NULL);
    const conduit_info *info = conduit_conn_info(client.conn);
    cr_expect_str_eq(info->via, "");
    conduit_write(client.conn, "!", 1);
    size_t n = expected_header(version, cdt_port_of(info->local), port, wanted);
    cr_expect_eq(read_raw(fd, got, n + 1), n + 1);
    cr_expect_eq(memcmp(got, wanted, n), 0, "version %d", version);
    cr_expect_eq(got[n], '!');
    conduit_conn_free(client.conn);
    cdt_side_clear(&client);
    close(fd);
    close(raw);
}

CDT_TEST(layers, proxy_send_tells_our_own_two_addresses)
{
    begin();
    expect_header(1);
    expect_header(2);
    end();
}

CDT_TEST(layers, a_proxy_header_goes_before_tls)
{
    CDT_SKIP_WITHOUT_TLS();
    char uri[128];
    begin();
    listening.tls = cdt_server_tls();
    dialling.tls = cdt_client_tls();
    dialling.name = "a.example";
    int port = cdt_port_of(serve("tls://127.0.0.1:0?proxy_from=127.0.0.1"));
    cr_expect(strstr(conduit_listener_uri(listener, 0), "?proxy_from=127.0.0.1") != NULL);
    for (int version = 1; version <= 2; version++) {
        snprintf(uri, sizeof(uri), "tls://127.0.0.1:%d?proxy_send=%d", port, version);
        cr_assert_eq(call(uri), 0);
        cdt_await(&client.opened);
        cdt_await(&server.opened);
        cr_expect_str_eq(conduit_conn_info(server.conn)->peer,
                         conduit_conn_info(client.conn)->local);
        cr_expect_str_eq(conduit_conn_info(server.conn)->via,
                         conduit_conn_info(client.conn)->local);
        cr_expect_str_eq(conduit_conn_info(server.conn)->stack, "tls+tcp");
        conduit_end(client.conn);
        cdt_await(&client.closed);
        cdt_await(&server.closed);
        cdt_side_clear(&client);
        cdt_side_clear(&server);
    }
    end();
}

/* ---- proxies that answer by heart ---- */

static struct script {
    const char *bytes;
    size_t n;
    bool ends, bytewise;
    size_t at;
} script;

static void say_next(conduit_conn *conn)
{
    size_t n = script.bytewise ? script.at < script.n : script.n - script.at;
    conduit_write(conn, script.bytes + script.at, n);
    script.at += n;
}

static void on_script_open(conduit_conn *conn, void *user)
{
    if (!script.bytewise)
        say_next(conn);
    if (script.ends)
        conduit_end(conn);
}

static const conduit_handler script_handler = {.on_open = on_script_open};

static const char *perform(const char *bytes, size_t n, bool ends)
{
    script = (struct script){.bytes = bytes, .n = n, .ends = ends};
    int code = conduit_listen(cdt_ctx, "tcp://127.0.0.1:0", NULL, &script_handler, NULL, &listener);
    cr_assert_eq(code, 0);
    return conduit_listener_uri(listener, 0);
}

struct answer {
    const char *bytes;
    size_t n;
    int code;
    const char *says;
};

static void expect_answer(const char *kind, const struct answer *answer, bool ends)
{
    char via[64];
    begin();
    snprintf(via, sizeof(via), "%s%s", kind, strchr(perform(answer->bytes, answer->n, ends), ':'));
    dialling.via = via;
    cr_assert_eq(call("tcp://a.example:443"), 0, "%s",
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), answer->code, "%s: %s", answer->says,
                 cdt_side_text(&client));
    cr_expect_eq(conduit_error_stage(client.why), CONDUIT_STAGE_LAYER);
    cr_expect(strstr(cdt_side_text(&client), answer->says) != NULL, "not \"%s\": %s", answer->says,
              cdt_side_text(&client));
    cr_expect(strstr(cdt_side_text(&client), "to=a.example:443") != NULL, "%s",
              cdt_side_text(&client));
    cr_expect_str_eq(client.story, "c");
    end();
}

CDT_TEST(layers, every_answer_of_a_socks_server_is_a_clear_error)
{
    static const struct answer answers[] = {
        {BYTES("\5\0\5\1\0\1\0\0\0\0\0\0"), CONDUIT_EIO, "general failure"},
        {BYTES("\5\0\5\2\0\1\0\0\0\0\0\0"), CONDUIT_EACCESS, "not allowed"},
        {BYTES("\5\0\5\3\0\1\0\0\0\0\0\0"), CONDUIT_EUNREACH, "network unreachable"},
        {BYTES("\5\0\5\4\0\1\0\0\0\0\0\0"), CONDUIT_EUNREACH, "host unreachable"},
        {BYTES("\5\0\5\5\0\1\0\0\0\0\0\0"), CONDUIT_EREFUSED, "connection refused"},
        {BYTES("\5\0\5\6\0\1\0\0\0\0\0\0"), CONDUIT_EUNREACH, "time to live"},
        {BYTES("\5\0\5\7\0\1\0\0\0\0\0\0"), CONDUIT_ENOTSUP, "command not supported"},
        {BYTES("\5\0\5\x08\0\1\0\0\0\0\0\0"), CONDUIT_ENOTSUP, "address type"},
        {BYTES("\5\0\5\x09\0\1\0\0\0\0\0\0"), CONDUIT_EIO, "unknown reply (9)"},
        {BYTES("\5\0\5\0\0\2\0\0\0\0\0\0"), CONDUIT_EIO, "unknown type"},
        {BYTES("\5\0\4\0\0\1\0\0\0\0\0\0"), CONDUIT_EIO, "does not speak SOCKS 5"},
        {BYTES("\5\377"), CONDUIT_EACCESS, "wants to know who connects"},
        {BYTES("\5\2"), CONDUIT_EIO, "not offered"},
        {BYTES("\5\1"), CONDUIT_EIO, "not offered"},
        {BYTES("\4\132"), CONDUIT_EIO, "does not speak SOCKS 5"},
        {BYTES("HTTP/1.0 400 Bad\r\n\r\n"), CONDUIT_EIO, "does not speak SOCKS 5"},
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        expect_answer("socks5", &answers[i], i % 2 == 0);
    for (size_t n = 0; n < 12; n++) {
        struct answer half = {"\5\0\5\0\0\1\0\0\0\0\0\0", n, CONDUIT_ERESET, "in the middle"};
        expect_answer("socks5", &half, true);
    }
}

CDT_TEST(layers, every_answer_of_an_http_proxy_is_a_clear_error)
{
    static const struct answer answers[] = {
        {BYTES("HTTP/1.1 407 Who?\r\nX: y\r\n\r\n"), CONDUIT_EACCESS, "407 Who? (give it a user)"},
        {BYTES("HTTP/1.1 403 No\r\n\r\n"), CONDUIT_EACCESS, "403 No"},
        {BYTES("HTTP/1.1 502 Bad\r\n\r\n"), CONDUIT_EUNREACH, "502 Bad"},
        {BYTES("HTTP/1.0 503\r\n\r\n"), CONDUIT_EUNREACH, "a.example:443: 503"},
        {BYTES("HTTP/1.1 504 Late\r\n\r\n"), CONDUIT_ETIMEDOUT, "504 Late"},
        {BYTES("HTTP/1.1 405 Not Allowed\r\n\r\n"), CONDUIT_EREFUSED, "405"},
        {BYTES("HTTP/1.1 302 Elsewhere\r\nLocation: /\r\n\r\n"), CONDUIT_EREFUSED, "302"},
        {BYTES("HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 403 No\r\n\r\n"), CONDUIT_EACCESS, "403 No"},
        {BYTES("HTTP/1.1 200 OK\nX: y\n\n........"), CONDUIT_EIO, "not HTTP"},
        {BYTES("HTTP/1.1 20 OK\r\n\r\n........"), CONDUIT_EIO, "not HTTP"},
        {BYTES("HTTP/2.0 200 OK\r\n\r\n......"), CONDUIT_EIO, "not HTTP"},
        {BYTES("HTTP/1.1 200 O\0K\r\n\r\n......"), CONDUIT_EIO, "not HTTP"},
        {BYTES("HTTP/1.1 200 OK\r\n\x1b[2J\r\n\r\n"), CONDUIT_EIO, "not HTTP"},
        {BYTES("SSH-2.0-OpenSSH_9.2p1\r\n"), CONDUIT_EIO, "not HTTP"},
    };
    static char endless[20000];
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        expect_answer("http", &answers[i], i % 2 == 0);
    for (size_t n = 0; n < 19; n += 3) {
        struct answer half = {"HTTP/1.1 200 OK\r\n\r\n", n, CONDUIT_ERESET, "in the middle"};
        expect_answer("http", &half, true);
    }
    memset(endless, 'a', sizeof(endless));
    memcpy(endless, "HTTP/1.1 200 OK\r\nX: ", 20);
    struct answer too_long = {endless, sizeof(endless), CONDUIT_ELIMIT, "16384 bytes"};
    expect_answer("http", &too_long, false);
}

CDT_TEST(layers, a_proxy_that_has_only_interim_answers_is_given_up)
{
    static const char wait[] = "HTTP/1.1 102 Wait\r\n\r\n", no[] = "HTTP/1.1 403 No\r\n\r\n";
    char said[9 * sizeof(wait) + sizeof(no)] = "";
    for (int i = 0; i < 8; i++)
        strcat(said, wait);
    size_t n = strlen(said);
    strcat(said, no);
    struct answer patient = {said, strlen(said), CONDUIT_EACCESS, "403 No"};
    expect_answer("http", &patient, false);
    strcpy(said + n, wait);
    struct answer endless = {said, strlen(said), CONDUIT_ELIMIT, "more than 8 interim responses"};
    expect_answer("http", &endless, false);
}

/* The first bytes of the tunnel come with the answer, or the answer comes in pieces. */
static void expect_tunnel(const char *kind, const char *answer, size_t n)
{
    char via[64], bytes[256];
    begin();
    memcpy(bytes, answer, n);
    cdt_pattern((unsigned char *)bytes + n, 0, 100);
    snprintf(via, sizeof(via), "%s%s", kind, strchr(perform(bytes, n + 100, false), ':'));
    dialling.via = via;
    cdt_side_expect(&client, 100);
    cr_assert_eq(call("tcp://a.example:443"), 0);
    cdt_await(&client.complete);
    cr_expect(!client.garbled && client.received == 100);
    cr_expect_str_eq(conduit_conn_info(client.conn)->peer, "tcp://a.example:443");
    cr_expect_str_eq(conduit_conn_info(client.conn)->via, conduit_listener_uri(listener, 0));
    end();
}

CDT_TEST(layers, what_comes_right_behind_the_answer_belongs_to_the_tunnel)
{
    expect_tunnel("socks5", BYTES("\5\0\5\0\0\1\0\0\0\0\0\0"));
    expect_tunnel("socks5", BYTES("\5\0\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
    expect_tunnel("socks5", BYTES("\5\0\5\0\0\3\0\0\0"));
    expect_tunnel("http", BYTES("HTTP/1.1 200 OK\r\n\r\n"));
    expect_tunnel("http", BYTES("HTTP/1.0 200\r\nContent-Length: 50\r\n\r\n"));
    expect_tunnel("http", BYTES("HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 299 Yes\r\nX: y\r\n\r\n"));
}

/* ---- whole proxies ---- */

static struct cdt_proxy proxies[3];

/* A proxy's URI from its listener's. */
static const char *proxy_uri(char *text, size_t size, const char *kind, const char *login, int i,
                             conduit_tls *tls)
{
    const char *at =
        cdt_proxy_listen(&proxies[i], tls != NULL ? "tls://127.0.0.1:0" : "tcp://127.0.0.1:0", tls);
    snprintf(text, size, "%s://%s127.0.0.1:%d", kind, login, cdt_port_of(at));
    return text;
}

static void expect_talk(void)
{
    cdt_await(&client.opened);
    cdt_await(&server.opened);
    cdt_side_expect(&client, 100000);
    cdt_side_expect(&server, 100000);
    cdt_side_send(&client, 100000);
    cdt_side_send(&server, 100000);
    cdt_await(&client.complete);
    cdt_await(&server.complete);
    cr_expect(!client.garbled && !server.garbled);
    conduit_end(client.conn);
    cdt_await(&client.closed);
    cdt_await(&server.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_OK, "%s", cdt_side_text(&client));
}

/* localhost is a name that the proxy gets to hear, as it is. */
CDT_TEST(layers, a_name_goes_to_the_proxy_as_it_is)
{
    static const char *const kinds[] = {"socks5", "socks5h", "http"};
    for (size_t i = 0; i < 3; i++) {
        char via[128], uri[64], asked[64];
        memset(proxies, 0, sizeof(proxies));
        begin();
        int port = cdt_port_of(serve("tcp://127.0.0.1:0"));
        dialling.via = proxy_uri(via, sizeof(via), kinds[i], "", 0, NULL);
        snprintf(uri, sizeof(uri), "tcp://LocalHost:%d", port);
        snprintf(asked, sizeof(asked), "localhost:%d", port);
        cr_assert_eq(call(uri), 0);
        expect_talk();
        cr_expect_str_eq(proxies[0].asked, asked);
        end();
    }
}

CDT_TEST(layers, a_proxy_is_told_who_we_are_and_nobody_else_is)
{
    static const struct {
        const char *kind, *login;
        int code;
    } rows[] = {
        {"socks5", "al:s%3Acret@", CONDUIT_OK},
        {"http", "al:s%3Acret@", CONDUIT_OK},
        {"socks5", "al:wrong-word@", CONDUIT_EACCESS},
        {"http", "al:wrong-word@", CONDUIT_EACCESS},
        {"socks5", "", CONDUIT_EACCESS},
        {"http", "", CONDUIT_EACCESS},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char via[128], uri[64];
        memset(proxies, 0, sizeof(proxies));
        proxies[0].login = "al:s:cret";
        begin();
        snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", cdt_port_of(serve("tcp://127.0.0.1:0")));
        dialling.via = proxy_uri(via, sizeof(via), rows[i].kind, rows[i].login, 0, NULL);
        cr_assert_eq(call(uri), 0);
        if (rows[i].code == CONDUIT_OK) {
            cdt_await(&client.opened);
            cr_expect(strstr(conduit_conn_info(client.conn)->endpoint, "cret") == NULL);
            expect_talk();
        } else {
            cdt_await(&client.closed);
            cr_expect_eq(cdt_side_code(&client), rows[i].code, "%s", cdt_side_text(&client));
            cr_expect(strstr(cdt_side_text(&client), "wrong-word") == NULL);
            cr_expect(!server.opened, "a silent direct connection");
        }
        end();
    }
}

CDT_TEST(layers, a_chain_is_met_in_its_order)
{
    char via[400], each[3][128], uri[64], asked[64];
    memset(proxies, 0, sizeof(proxies));
    proxies[1].login = "al:s:cret";
    begin();
    int port = cdt_port_of(serve("tcp://127.0.0.1:0"));
    proxy_uri(each[0], sizeof(each[0]), "socks5", "", 0, NULL);
    proxy_uri(each[1], sizeof(each[1]), "http", "al:s%3Acret@", 1, NULL);
    proxy_uri(each[2], sizeof(each[2]), "socks5", "", 2, NULL);
    snprintf(via, sizeof(via), "%s,%s,%s", each[0], each[1], each[2]);
    snprintf(uri, sizeof(uri), "tcp://localhost:%d", port);
    dialling.via = via;
    cr_assert_eq(call(uri), 0);
    expect_talk();
    snprintf(asked, sizeof(asked), "localhost:%d", port);
    cr_expect_str_eq(proxies[2].asked, asked);
    cr_expect(strstr(each[1], proxies[0].asked) != NULL, "%s", proxies[0].asked);
    cr_expect(strstr(each[2], proxies[1].asked) != NULL, "%s", proxies[1].asked);
    end();
}

/* Two TLS sessions, one inside the other, each with a name of its own. */
CDT_TEST(layers, tls_goes_through_tls_and_each_proves_its_own_name)
{
    CDT_SKIP_WITHOUT_TLS();
    static const struct {
        const char *name, *proxy_name;
        int code;
    } rows[] = {
        {"a.example", "localhost", CONDUIT_OK},
        {"a.example", "b.example", CONDUIT_ETRUST},
        {"b.example", "localhost", CONDUIT_ETRUST},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char via[128], at[256], uri[64];
        memset(proxies, 0, sizeof(proxies));
        begin();
        listening.tls = cdt_server_tls();
        dialling.tls = cdt_client_tls();
        dialling.name = rows[i].name;
        snprintf(uri, sizeof(uri), "tls://localhost:%d", cdt_port_of(serve("tls://127.0.0.1:0")));
        proxy_uri(via, sizeof(via), "https", "", 0, listening.tls);
        snprintf(at, sizeof(at), "%s?name=%s", via, rows[i].proxy_name);
        dialling.via = at;
        cr_assert_eq(call(uri), 0);
        if (rows[i].code == CONDUIT_OK) {
            cdt_await(&client.opened);
            const conduit_info *info = conduit_conn_info(client.conn);
            const conduit_endpoint *again = NULL;
            cr_expect_str_eq(info->stack, "tls+connect+tls+tcp");
            cr_expect_str_eq(info->tls->name, "a.example");
            cr_expect(strstr(info->endpoint, "name=a.example") != NULL, "%s", info->endpoint);
            cr_expect(strstr(info->endpoint, "name.2=localhost") != NULL, "%s", info->endpoint);
            cr_assert_eq(conduit_endpoint_parse(info->endpoint, &again, NULL), 0);
            cr_expect_str_eq(conduit_endpoint_uri(again), info->endpoint);
            conduit_endpoint_unref(again);
            expect_talk();
        } else {
            cdt_await(&client.closed);
            cr_expect_eq(cdt_side_code(&client), rows[i].code, "%s", cdt_side_text(&client));
            cr_expect(!client.opened);
        }
        end();
    }
}

/* Trust is shared with a proxy; not going unverified, and not our certificate. */
CDT_TEST(layers, a_proxy_is_verified_whatever_is_said_of_the_target)
{
    CDT_SKIP_WITHOUT_TLS();
    char via[128], uri[64];
    memset(proxies, 0, sizeof(proxies));
    begin();
    conduit_tls *tls = cdt_server_tls();
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", cdt_port_of(serve("tcp://127.0.0.1:0")));
    dialling.tls = conduit_tls_new();
    cr_assert_eq(conduit_tls_set(dialling.tls, "verify", "insecure", NULL), 0);
    dialling.via = proxy_uri(via, sizeof(via), "https", "", 0, tls);
    cr_assert_eq(call(uri), 0);
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_ETRUST, "%s", cdt_side_text(&client));
    cdt_side_clear(&client);
    strcat(via, "?verify=insecure");
    cr_assert_eq(call(uri), 0);
    expect_talk();
    conduit_tls_unref(tls);
    end();
}

CDT_TEST(layers, a_rule_is_followed_before_the_proxy_is_asked)
{
    char via[128], to[64], asked[64];
    memset(proxies, 0, sizeof(proxies));
    begin();
    int port = cdt_port_of(serve("tcp://127.0.0.1:0"));
    dialling.via = proxy_uri(via, sizeof(via), "socks5", "", 0, NULL);
    snprintf(to, sizeof(to), "tcp://127.0.0.1:%d", port);
    snprintf(asked, sizeof(asked), "127.0.0.1:%d", port);
    cr_assert_eq(conduit_ctx_add_rule(cdt_ctx, "b.example", to), 0);
    cr_assert_eq(conduit_ctx_add_rule(cdt_ctx, "c.example", "unix:/nowhere"), 0);
    cr_assert_eq(call("tcp://c.example:1"), CONDUIT_EINVAL);
    cr_assert_eq(call("tcp://b.example:1"), 0);
    expect_talk();
    cr_expect_str_eq(proxies[0].asked, asked);
    end();
}

CDT_TEST(layers, without_its_proxy_there_is_no_connection)
{
    char via[64], uri[64];
    begin();
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", cdt_port_of(serve("tcp://127.0.0.1:0")));
    snprintf(via, sizeof(via), "socks5://127.0.0.1:%d", cdt_closed_port());
    dialling.via = via;
    cr_assert_eq(call(uri), 0);
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_EREFUSED, "%s", cdt_side_text(&client));
    cdt_turn(5);
    cr_expect(!server.opened);
    end();
}

CDT_TEST(layers, a_proxy_that_is_silent_has_a_deadline)
{
    char via[64];
    begin();
    snprintf(via, sizeof(via), "http%s", strchr(perform("", 0, false), ':'));
    dialling.via = via;
    dialling.attempt_timeout_ms = 50;
    cr_assert_eq(call("tcp://a.example:1"), 0);
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_ETIMEDOUT, "%s", cdt_side_text(&client));
    cr_expect_eq(conduit_error_stage(client.why), CONDUIT_STAGE_LAYER);
    end();
}

CDT_TEST(layers, what_makes_no_sense_is_refused_at_once)
{
    static const struct {
        const char *uri, *via;
        int code;
        const char *says;
    } rows[] = {
        {"tcp://a.example:1", "ftp://127.0.0.1", CONDUIT_ENOTSUP, "not a kind of proxy"},
        {"tcp://a.example:1", "127.0.0.1:1080", CONDUIT_EURI, ""},
        {"tcp://a.example:1", "", CONDUIT_EURI, ""},
        {"tcp://a.example:1", "socks5://127.0.0.1,", CONDUIT_EURI, ""},
        {"tcp://a.example:1", "socks5://127.0.0.1/path", CONDUIT_EURI, "no path"},
        {"tcp://a.example:1", "socks5://127.0.0.1?to=b:1", CONDUIT_EURI, "not a parameter"},
        {"tcp://a.example:1", "socks5://al@127.0.0.1", CONDUIT_EINVAL, "user:password"},
        {"tcp://a.example:1", "http://a%3Al:x@127.0.0.1", CONDUIT_EINVAL, "colon"},
        {"tcp://a.example:1", "https+unix:/x", CONDUIT_EINVAL, "whom to verify"},
        {"unix:/x", "socks5://127.0.0.1", CONDUIT_EINVAL, "no proxy leads to"},
        {"tcp4://a.example:1", "socks5://127.0.0.1", CONDUIT_EINVAL, "address family"},
        {"tcp://[fe80::1%25lo]:1", "socks5://127.0.0.1", CONDUIT_EINVAL, "zone"},
        {"socks5://127.0.0.1:1080", NULL, CONDUIT_EINVAL, "to=HOST:PORT"},
        {"socks5://127.0.0.1:1080?to=b", NULL, CONDUIT_EINVAL, "to=HOST:PORT"},
        {"socks5://127.0.0.1:1080?to=b:0", NULL, CONDUIT_EINVAL, "to=HOST:PORT"},
        {"connect://127.0.0.1:1?to=b%0d%0aX:1", NULL, CONDUIT_EINVAL, "neither a name"},
        {"connect://127.0.0.1:1?to=b:1&to.2=c:1", NULL, CONDUIT_EURI, "to.2"},
        {"https+connect://127.0.0.1/", NULL, CONDUIT_EURI, "use via"},
        {"tcp://al:x@127.0.0.1:1", NULL, CONDUIT_EURI, "no user"},
        {"proxy+tcp://127.0.0.1:1?proxy_send=1", NULL, CONDUIT_ENOTSUP, "unknown scheme"},
        {"tcp://127.0.0.1:1?proxy_send=3", NULL, CONDUIT_EINVAL, "1 or 2"},
        {"tcp://127.0.0.1:1?proxy_from=::1", NULL, CONDUIT_EINVAL, "for listening"},
    };
    begin();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        dialling.via = rows[i].via;
        cr_expect_eq(call(rows[i].uri), rows[i].code, "%s via %s: %s", rows[i].uri, rows[i].via,
                     conduit_error_text(conduit_ctx_error(cdt_ctx)));
        const char *text = conduit_error_text(conduit_ctx_error(cdt_ctx));
        cr_expect(strstr(text, rows[i].says) != NULL, "%s", text);
    }
    static const char *const lists[] = {"", "x", "127.0.0.1,", ",::1", "10.0.0.0/33", "local/8"};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        char uri[96];
        snprintf(uri, sizeof(uri), "tcp://127.0.0.1:0?proxy_from=%s", lists[i]);
        cr_expect_eq(conduit_listen(cdt_ctx, uri, NULL, NULL, NULL, NULL), CONDUIT_EINVAL, "%s",
                     uri);
    }
    cr_expect_eq(conduit_listen(cdt_ctx, "tcp://:0?proxy_send=1", NULL, NULL, NULL, NULL),
                 CONDUIT_EINVAL);
    cr_expect_eq(conduit_listen(cdt_ctx, "socks5://:0?to=a:1", NULL, NULL, NULL, NULL),
                 CONDUIT_EINVAL);
    end();
}

/* ---- the environment, if asked ---- */

CDT_TEST(layers, the_environment_is_asked_only_if_that_is_wished)
{
    static const struct {
        const char *variable, *no_proxy, *uri;
        bool proxied;
    } rows[] = {
        {"all_proxy", NULL, "tcp://localhost", true},
        {"ALL_PROXY", NULL, "tcp://localhost", true},
        {"http_proxy", NULL, "http://localhost", true},
        {"HTTP_PROXY", NULL, "http://localhost", false},
        {"http_proxy", NULL, "tcp://localhost", false},
        {"all_proxy", "example.org, localhost", "tcp://localhost", false},
        {"all_proxy", "ocalhost", "tcp://localhost", true},
        {"all_proxy", "*", "tcp://localhost", false},
        {"all_proxy", "127.0.0.0/8", "tcp://127.0.0.1", false},
        {"all_proxy", "10.0.0.0/8,::1", "tcp://127.0.0.1", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char uri[64], via[128];
        memset(proxies, 0, sizeof(proxies));
        begin();
        snprintf(uri, sizeof(uri), "%s:%d", rows[i].uri, cdt_port_of(serve("tcp://127.0.0.1:0")));
        setenv(rows[i].variable, proxy_uri(via, sizeof(via), "http", "", 0, NULL), 1);
        if (rows[i].no_proxy != NULL)
            setenv("no_proxy", rows[i].no_proxy, 1);
        dialling.via = "env";
        cr_assert_eq(call(uri), 0);
        expect_talk();
        cr_expect_eq(proxies[0].tunnels, rows[i].proxied, "%s, no_proxy %s", rows[i].variable,
                     rows[i].no_proxy);
        cdt_side_clear(&client);
        cdt_side_clear(&server);
        dialling.via = NULL;
        cr_assert_eq(call(uri), 0);
        expect_talk();
        cr_expect_eq(proxies[0].tunnels, rows[i].proxied, "nobody asked");
        unsetenv(rows[i].variable);
        unsetenv("no_proxy");
        end();
    }
}
