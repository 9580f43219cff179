/* SPDX-License-Identifier: ISC */
/*
 * What parameters of a TCP endpoint do to its sockets, seen on the sockets themselves: both ends
 * are in this process, and a descriptor is found by its ports.
 */
#include "harness.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static conduit_listener *listener;
static struct cdt_side client, server;

static int port_at(int (*call)(int, struct sockaddr *restrict, socklen_t *restrict), int fd)
{
    struct sockaddr_in in = {0};
    socklen_t len = sizeof(in);
    if (call(fd, (struct sockaddr *)&in, &len) < 0 || in.sin_family != AF_INET)
        return -1;
    return ntohs(in.sin_port);
}

/* The descriptor whose own port and peer's port are these; -1 is a port that there is not. */
static int find_socket(int own, int peer)
{
    for (int fd = 3; fd < 256; fd++)
        if (port_at(getsockname, fd) == own && port_at(getpeername, fd) == peer)
            return fd;
    cr_assert_fail("no socket from port %d to port %d", own, peer);
    return -1;
}

static int get(int fd, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);
    cr_assert_eq(getsockopt(fd, level, option, &value, &len), 0);
    return value;
}

static void listen_at(const char *uri)
{
    int code = conduit_listen(cdt_ctx, uri, NULL, &cdt_side_handler, &server, &listener);
    cr_assert_eq(code, 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

static int port(void)
{
    return cdt_port_of(conduit_listener_uri(listener, 0));
}

static void call(const char *uri, const char *params)
{
    const conduit_connect_options options = {.endpoint_params = params};
    cr_assert_eq(conduit_connect(cdt_ctx, uri, &options, &cdt_side_handler, &client, &client.conn),
                 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

/* Both ends open, the listener told `query` and the caller `params`; echoes a little. */
static void meet(const char *query, const char *params)
{
    char uri[128];
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:0?%s", query);
    listen_at(uri);
    snprintf(uri, sizeof(uri), "http://127.0.0.1:%d/?is=not&ours", port());
    call(uri, params);
    cdt_await(&client.opened);
    cdt_await(&server.opened);
    cdt_side_expect(&server, 1000);
    cdt_side_send(&client, 1000);
    cdt_await(&server.complete);
}

static void end(void)
{
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
}

static int client_port(void)
{
    return cdt_port_of(conduit_conn_info(client.conn)->local);
}

/* ---- what is set when nothing is said, and when something is ---- */

CDT_TEST(tcp, both_ends_send_at_once_and_notice_a_dead_peer)
{
    cdt_open_ctx(NULL);
    meet("", NULL);
    const int fds[] = {find_socket(client_port(), port()), find_socket(port(), client_port())};
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(get(fds[i], IPPROTO_TCP, TCP_NODELAY), 1);
        cr_expect_eq(get(fds[i], SOL_SOCKET, SO_KEEPALIVE), 1);
        cr_expect_eq(get(fds[i], IPPROTO_TCP, TCP_KEEPIDLE), 60);
        cr_expect_eq(get(fds[i], IPPROTO_TCP, TCP_KEEPINTVL), 15);
        cr_expect_eq(get(fds[i], IPPROTO_TCP, TCP_KEEPCNT), 4);
        cr_expect_eq(get(fds[i], IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
    }
    end();
}

CDT_TEST(tcp, does_what_its_parameters_say_on_either_side)
{
    static const char said[] = "nodelay=0&keepalive=7,3,2&user_timeout=9";
    cdt_open_ctx(NULL);
    meet(said, said);
    const int fds[] = {find_socket(client_port(), port()), find_socket(port(), client_port())};
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(get(fds[i], IPPROTO_TCP, TCP_NODELAY), 0);
        cr_expect_eq(get(fds[i], IPPROTO_TCP, TCP_KEEPIDLE), 7);
        cr_expect_eq(get(fds[i], IPPROTO_TCP, TCP_KEEPINTVL), 3);
        cr_expect_eq(get(fds[i], IPPROTO_TCP, TCP_KEEPCNT), 2);
        cr_expect_eq(get(fds[i], IPPROTO_TCP, TCP_USER_TIMEOUT), 9000);
    }
    end();
}

CDT_TEST(tcp, has_no_keepalive_when_told_so)
{
    cdt_open_ctx(NULL);
    meet("keepalive=0", "keepalive=0");
    cr_expect_eq(get(find_socket(client_port(), port()), SOL_SOCKET, SO_KEEPALIVE), 0);
    cr_expect_eq(get(find_socket(port(), client_port()), SOL_SOCKET, SO_KEEPALIVE), 0);
    end();
}

/* ---- where from ---- */

CDT_TEST(tcp, is_dialled_from_the_address_it_is_bound_to)
{
    cdt_open_ctx(NULL);
    meet("", "bind=127.0.0.9");
    cr_expect_eq(strncmp(conduit_conn_info(server.conn)->peer, "tcp://127.0.0.9:", 16), 0, "%s",
                 conduit_conn_info(server.conn)->peer);
    end();
}

CDT_TEST(tcp, may_be_kept_to_an_interface)
{
    cdt_open_ctx(NULL);
    meet("interface=lo", "interface=lo");
    char name[16] = "";
    socklen_t len = sizeof(name);
    cr_assert_eq(
        getsockopt(find_socket(client_port(), port()), SOL_SOCKET, SO_BINDTODEVICE, name, &len), 0);
    cr_expect_str_eq(name, "lo");
    end();
}

CDT_TEST(tcp, says_why_it_cannot_be_dialled_from_there)
{
    static const struct {
        const char *params, *says;
        conduit_code code;
    } rows[] = {
        {"bind=192.0.2.77", "bind: Cannot assign requested address", CONDUIT_EUNREACH},
        {"bind=::1", "other family", CONDUIT_EUNREACH},
        {"interface=nosuch0", "interface: No such device", CONDUIT_EIO},
    };
    int port = 0, fd = cdt_raw_listen(AF_INET, 5, &port);
    cdt_open_ctx(NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char uri[64];
        snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", port);
        call(uri, rows[i].params);
        cdt_await(&client.closed);
        cr_expect(!client.opened);
        cr_expect_not_null(strstr(cdt_side_text(&client), rows[i].says), "%s",
                           cdt_side_text(&client));
        cr_expect_not_null(strstr(cdt_side_text(&client), rows[i].params), "%s",
                           cdt_side_text(&client));
        cr_expect_eq(cdt_side_code(&client), rows[i].code, "%s", cdt_side_text(&client));
        cdt_side_clear(&client);
    }
    end();
    close(fd);
}

/* ---- roads that a kernel may not have: the connection is made all the same ---- */

CDT_TEST(tcp, opens_with_multipath_or_without)
{
    cdt_open_ctx(NULL);
    meet("mptcp=1", "mptcp=1");
    end();
    cdt_open_ctx(NULL);
    meet("", "mptcp=1"); /* a peer that does not speak it */
    end();
}

CDT_TEST(tcp, opens_fast_or_at_the_usual_pace)
{
    for (int i = 0; i < 2; i++) { /* the second may know a cookie of the first */
        cdt_open_ctx(NULL);
        meet("fastopen=1", "fastopen=1");
        cr_expect_neq(get(find_socket(port(), -1), IPPROTO_TCP, TCP_FASTOPEN), 0);
        end();
    }
}

/* ---- sharing a port ---- */

CDT_TEST(tcp, is_shared_by_listeners_that_all_say_so)
{
    static struct cdt_side others;
    conduit_listener *second = NULL, *third = NULL;
    char uri[64];
    cdt_open_ctx(NULL);
    listen_at("tcp://127.0.0.1:0?reuse_port=1");
    snprintf(uri, sizeof(uri), "%s", conduit_listener_uri(listener, 0));
    cr_expect_not_null(strstr(uri, "?reuse_port=1"), "%s", uri);
    cr_expect_eq(conduit_listen(cdt_ctx, uri, NULL, &cdt_side_handler, &others, &second), 0);
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", port());
    cr_expect_eq(conduit_listen(cdt_ctx, uri, NULL, &cdt_side_handler, &others, &third),
                 CONDUIT_EADDRINUSE);
    end();
}

/* ---- who is told what ---- */

static struct cdt_side hot, cold;

static int connect_raw(struct cdt_side *side)
{
    cr_assert_eq(
        conduit_listen(cdt_ctx, "tcp://127.0.0.1:0", NULL, &cdt_side_handler, side, &listener), 0);
    int fd = cdt_raw_connect(port());
    cdt_await(&side->opened);
    return fd;
}

/* Fill all that the kernel takes. */
static void pour(int fd)
{
    static const char bytes[1 << 20];
    while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        continue;
}

CDT_TEST(tcp, one_that_always_has_more_keeps_nobody_waiting)
{
    cdt_open_ctx(NULL);
    int hot_fd = connect_raw(&hot), cold_fd = connect_raw(&cold);
    for (int round = 0; round < 20; round++) {
        for (int turn = 0; turn < 10 + round; turn++) {
            pour(hot_fd);
            cdt_turn(1);
        }
        pour(hot_fd);
        size_t before = cold.received;
        cr_assert_eq(send(cold_fd, "x", 1, 0), 1);
        for (int turn = 0; turn < 2; turn++) {
            pour(hot_fd);
            cdt_turn(1);
        }
        cr_expect_eq(cold.received, before + 1, "round %d", round);
    }
    close(hot_fd);
    close(cold_fd);
    cdt_turn(3);
    cdt_close_ctx();
}

CDT_TEST(tcp, values_that_mean_nothing_are_refused_at_once)
{
    static const char *const rows[] = {
        "nodelay=yes",      "nodelay=",           "keepalive=",
        "keepalive=-1",     "keepalive=60,",      "keepalive=60,0",
        "keepalive=60,1,0", "keepalive=60,1,2,3", "keepalive=99999",
        "user_timeout=1s",  "fastopen=2",         "mptcp=on",
        "reuse_port=true",  "interface=",         "interface=0123456789abcdef",
        "bind=localhost",   "bind=192.0.2.256",
    };
    cdt_open_ctx(NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char uri[128];
        snprintf(uri, sizeof(uri), "tcp://127.0.0.1:1?%s", rows[i]);
        cr_expect_eq(conduit_connect(cdt_ctx, uri, NULL, NULL, NULL, NULL), CONDUIT_EINVAL, "%s",
                     uri);
        cr_expect_eq(conduit_listen(cdt_ctx, uri, NULL, NULL, NULL, NULL), CONDUIT_EINVAL, "%s",
                     uri);
        const conduit_connect_options options = {.endpoint_params = rows[i]};
        cr_expect_eq(conduit_connect(cdt_ctx, "http://127.0.0.1/", &options, NULL, NULL, NULL),
                     CONDUIT_EINVAL, "%s", rows[i]);
    }
    cdt_close_ctx();
}

CDT_TEST(tcp, a_parameter_that_no_transport_has_is_refused)
{
    const conduit_connect_options misspelt = {.endpoint_params = "no_delay=0"};
    const conduit_connect_options broken = {.endpoint_params = "nodelay"};
    cdt_open_ctx(NULL);
    cr_expect_eq(conduit_connect(cdt_ctx, "http://127.0.0.1/", &misspelt, NULL, NULL, NULL),
                 CONDUIT_EINVAL);
    cr_expect_not_null(strstr(conduit_error_text(conduit_ctx_error(cdt_ctx)), "\"no_delay\""));
    cr_expect_eq(conduit_connect(cdt_ctx, "http://127.0.0.1/", &broken, NULL, NULL, NULL),
                 CONDUIT_EURI);
    cdt_close_ctx();
}

CDT_TEST(tcp, a_parameter_that_is_given_twice_is_refused)
{
    static const char *const twice[] = {
        "tcp://127.0.0.1:1?nodelay=1&nodelay=0",   "tcp://127.0.0.1:1?nodelay=1&mptcp=1&nodelay=1",
        "unix:/x?allow_uid=0&allow_uid=*",         "tcp://h.example:1?srv=a&srv=b",
        "tls://h.example:1?name=a&name=b",         "tls://h.example:1?verify=insecure&verify=full",
        "tls+tls+unix:/x?name=a&name.2=b&name.2=c"};
    static const char *const once[] = {"tls://127.0.0.1:1?pin=sha256//A&pin=sha256//B",
                                       "http://127.0.0.1:1/?a=1&a=2"};
    const conduit_connect_options options = {.endpoint_params = "nodelay=0&nodelay=1"};
    cdt_open_ctx(NULL);
    for (size_t i = 0; i < sizeof(twice) / sizeof(twice[0]); i++) {
        bool tls = strncmp(twice[i], "tls", 3) == 0;
        if (tls && !cdt_have_tls())
            continue;
        cr_expect_eq(conduit_connect(cdt_ctx, twice[i], NULL, NULL, NULL, NULL), CONDUIT_EURI, "%s",
                     twice[i]);
        cr_expect_not_null(strstr(conduit_error_text(conduit_ctx_error(cdt_ctx)), "given twice"),
                           "%s", conduit_error_text(conduit_ctx_error(cdt_ctx)));
    }
    for (size_t i = 0; i < 2; i++) { /* the pins are none, which is another error */
        conduit_connect(cdt_ctx, once[i], NULL, NULL, NULL, NULL);
        const char *text = conduit_error_text(conduit_ctx_error(cdt_ctx));
        cr_expect(text == NULL || strstr(text, "twice") == NULL, "%s", text);
    }
    cr_expect_eq(conduit_connect(cdt_ctx, "http://127.0.0.1/", &options, NULL, NULL, NULL),
                 CONDUIT_EINVAL);
    cr_expect_not_null(strstr(conduit_error_text(conduit_ctx_error(cdt_ctx)), "given twice"));
    cdt_close_ctx();
}

/* One set of parameters does for a URI wherever rules lead it. */
CDT_TEST(tcp, parameters_of_another_transport_do_not_count)
{
    cdt_open_ctx(NULL);
    conduit_listener *other = NULL;
    cr_assert_eq(conduit_listen(cdt_ctx, "inproc://x", NULL, &cdt_side_handler, &server, &other),
                 0);
    call("http+inproc://x/", "bind=192.0.2.77");
    cdt_await(&client.opened);
    cr_expect_str_eq(conduit_conn_info(client.conn)->endpoint, "inproc://x");
    end();
}

CDT_TEST(tcp, what_the_uri_says_comes_first_and_the_place_to_dial_may_say_more)
{
    char place[64];
    cdt_open_ctx(NULL);
    listen_at("tcp://127.0.0.1:0");
    snprintf(place, sizeof(place), "tcp://127.0.0.1:%d?nodelay=0", port());
    const conduit_connect_options options = {.connect_to = place,
                                             .endpoint_params = "nodelay=1&user_timeout=5"};
    cr_assert_eq(conduit_connect(cdt_ctx, "http://nowhere.invalid/", &options, &cdt_side_handler,
                                 &client, &client.conn),
                 0);
    cdt_await(&client.opened);
    cdt_await(&server.opened);
    int fd = find_socket(client_port(), port());
    cr_expect_eq(get(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    cr_expect_eq(get(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 5000);
    end();
}
