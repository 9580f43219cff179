/* SPDX-License-Identifier: ISC */
/*
 * Sockets that somebody else has made: adopted ones, fd:N, and those that systemd passes.
 *
 * What systemd would do (descriptors from 3 on, variables with this process's number) is done by a
 * child, which says by its exit status how far it came.
 */
#include "harness.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct cdt_side client, server;
static conduit_listener *listener;

static void end(void)
{
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
}

static void pair(int fds[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void adopt(int fd, const conduit_adopt_options *options, struct cdt_side *side)
{
    cr_assert_eq(conduit_adopt(cdt_ctx, fd, options, &cdt_side_handler, side, &side->conn), 0, "%s",
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

static void talk(void)
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
    cr_expect_eq(cdt_side_code(&client), CONDUIT_OK);
    cr_expect_eq(cdt_side_code(&server), CONDUIT_OK);
}

/* ---- adopting ---- */

CDT_TEST(adopt, a_connected_descriptor_is_a_connection)
{
    int fds[2];
    pair(fds);
    cdt_open_ctx(NULL);
    adopt(fds[0], NULL, &client);
    adopt(fds[1], NULL, &server);
    cdt_await(&client.opened);
    cr_expect_str_eq(conduit_conn_info(client.conn)->stack, "fd");
    cr_expect_eq(conduit_conn_info(client.conn)->peer_pid, getpid());
    cr_expect(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    talk();
    cr_expect(!is_open(fds[0]) && !is_open(fds[1]), "they are closed in the end");
    end();
}

CDT_TEST(adopt, layers_go_over_it_from_either_side)
{
    CDT_SKIP_WITHOUT_TLS();
    int fds[2];
    pair(fds);
    cdt_open_ctx(NULL);
    conduit_adopt_options ours = {.layers = "tls", .connect = {.name = "a.example"}};
    conduit_adopt_options theirs = {.layers = "tls", .server = true};
    ours.connect.tls = cdt_client_tls();
    theirs.connect.tls = cdt_server_tls();
    adopt(fds[0], &ours, &client);
    adopt(fds[1], &theirs, &server);
    cdt_await(&client.opened);
    cr_expect_str_eq(conduit_conn_info(client.conn)->stack, "tls+fd");
    cr_expect_str_eq(conduit_conn_info(client.conn)->tls->name, "a.example");
    talk();
    conduit_tls_unref(ours.connect.tls);
    conduit_tls_unref(theirs.connect.tls);
    end();
}

CDT_TEST(adopt, whom_tls_has_to_verify_must_be_said)
{
    CDT_SKIP_WITHOUT_TLS();
    int fds[2];
    pair(fds);
    cdt_open_ctx(NULL);
    const conduit_adopt_options unnamed = {.layers = "tls"};
    cr_expect_eq(conduit_adopt(cdt_ctx, fds[0], &unnamed, NULL, NULL, NULL), CONDUIT_EINVAL);
    cr_expect(is_open(fds[0]), "what was refused is the caller's");
    close(fds[0]);
    close(fds[1]);
    end();
}

CDT_TEST(adopt, what_is_not_a_connected_socket_is_refused_and_left_alone)
{
    int port = 0;
    int fds[] = {cdt_raw_listen(AF_INET, 1, &port), socket(AF_INET, SOCK_STREAM, 0),
                 socket(AF_INET, SOCK_DGRAM, 0), open("/dev/null", O_RDONLY)};
    cdt_open_ctx(NULL);
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(conduit_adopt(cdt_ctx, fds[i], NULL, NULL, NULL, NULL), CONDUIT_EINVAL, "%d",
                     i);
        cr_expect_eq(fcntl(fds[i], F_GETFL) & O_NONBLOCK, 0, "%d", i);
        cr_expect_eq(close(fds[i]), 0, "%d", i);
    }
    cr_expect_eq(conduit_adopt(cdt_ctx, -1, NULL, NULL, NULL, NULL), CONDUIT_EINVAL);
    cr_expect_eq(conduit_adopt(cdt_ctx, 4000, NULL, NULL, NULL, NULL), CONDUIT_EINVAL);
    end();
}

/* To close it would not end the stream then. */
CDT_TEST(adopt, the_peer_hears_the_end_though_somebody_else_holds_the_socket)
{
    char byte;
    int fds[2];
    cdt_open_ctx(NULL);
    pair(fds);
    int other = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
    adopt(fds[0], NULL, &client);
    cdt_await(&client.opened);
    shutdown(fds[1], SHUT_WR);
    cdt_await(&client.closed);
    cr_expect_eq(recv(fds[1], &byte, 1, MSG_DONTWAIT), 0, "the stream has not ended");
    close(other);
    close(fds[1]);
    end();
}

CDT_TEST(adopt, a_descriptor_is_closed_however_soon_it_ends)
{
    int fds[2];
    cdt_open_ctx(NULL);
    pair(fds);
    adopt(fds[0], NULL, &client);
    conduit_conn_free(client.conn);
    cr_expect(!is_open(fds[0]));
    adopt(fds[1], NULL, &client);
    conduit_close(client.conn);
    cdt_await(&client.closed);
    cr_expect(!is_open(fds[1]));
    cr_expect_eq(cdt_side_code(&client), CONDUIT_ECANCELED);
    end();
    cdt_open_ctx(NULL);
    pair(fds);
    adopt(fds[0], NULL, &client);
    end();
    cr_expect(!is_open(fds[0]));
    close(fds[1]);
}

static bool allow_none(void *user, const conduit_endpoint *endpoint)
{
    return false;
}

CDT_TEST(adopt, it_is_subject_to_the_filter_and_not_to_rules)
{
    int fds[2];
    pair(fds);
    cdt_open_ctx(NULL);
    conduit_ctx_add_rule(cdt_ctx, "*", "unix:/nowhere");
    adopt(fds[0], NULL, &client);
    adopt(fds[1], NULL, &server);
    talk();
    end();
    const conduit_ctx_options options = {.allow = allow_none};
    pair(fds);
    cdt_open_ctx(&options);
    adopt(fds[0], NULL, &client);
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_EACCESS, "%s", cdt_side_text(&client));
    cr_expect(!is_open(fds[0]));
    close(fds[1]);
    end();
}

/* ---- by number ---- */

static void listen_at_fd(int fd)
{
    char uri[32];
    snprintf(uri, sizeof(uri), "fd:%d", fd);
    cr_assert_eq(conduit_listen(cdt_ctx, uri, NULL, &cdt_side_handler, &server, &listener), 0, "%s",
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

CDT_TEST(fd, a_listening_socket_is_listened_at_and_known_by_its_address)
{
    int port = 0, fd = cdt_raw_listen(AF_INET, 5, &port);
    char uri[64];
    cdt_open_ctx(NULL);
    listen_at_fd(fd);
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", port);
    cr_expect_str_eq(conduit_listener_uri(listener, 0), uri);
    cr_assert_eq(conduit_connect(cdt_ctx, uri, NULL, &cdt_side_handler, &client, &client.conn), 0);
    talk();
    end();
    cr_expect(!is_open(fd));
}

CDT_TEST(fd, a_connected_socket_is_dialled)
{
    int fds[2];
    char uri[32];
    pair(fds);
    cdt_open_ctx(NULL);
    for (int i = 0; i < 2; i++) {
        snprintf(uri, sizeof(uri), "fd:%d", fds[i]);
        cr_assert_eq(conduit_connect(cdt_ctx, uri, NULL, &cdt_side_handler,
                                     i == 0 ? &client : &server, NULL),
                     0);
    }
    talk();
    end();
}

CDT_TEST(fd, one_that_is_in_use_is_not_taken_again)
{
    int port = 0, fd = cdt_raw_listen(AF_INET, 5, &port);
    char uri[32];
    cdt_open_ctx(NULL);
    listen_at_fd(fd);
    snprintf(uri, sizeof(uri), "fd:%d", fd);
    cr_expect_eq(conduit_listen(cdt_ctx, uri, NULL, NULL, NULL, NULL), CONDUIT_EINVAL);
    cr_expect_not_null(strstr(conduit_error_text(conduit_ctx_error(cdt_ctx)), "in use on this"));
    cr_expect(is_open(fd));
    end();
}

CDT_TEST(fd, a_connection_is_not_taken_again_and_goes_on)
{
    int fds[2];
    char uri[32];
    struct cdt_side thief = {0};
    pair(fds);
    snprintf(uri, sizeof(uri), "fd:%d", fds[0]);
    cdt_open_ctx(NULL);
    adopt(fds[0], NULL, &client);
    adopt(fds[1], NULL, &server);
    cdt_await(&client.opened);
    cdt_await(&server.opened);
    cr_assert_eq(conduit_connect(cdt_ctx, uri, NULL, &cdt_side_handler, &thief, NULL), 0);
    cdt_await(&thief.closed);
    cr_expect_str_eq(thief.story, "c");
    cr_expect_eq(cdt_side_code(&thief), CONDUIT_EINVAL);
    cr_expect_not_null(strstr(cdt_side_text(&thief), "in use on this context already"));
    cdt_side_clear(&thief);
    adopt(fds[0], NULL, &thief);
    cdt_await(&thief.closed);
    cr_expect_eq(cdt_side_code(&thief), CONDUIT_EINVAL);
    cdt_side_clear(&thief);
    cr_expect(is_open(fds[0]));
    talk();
    end();
}

CDT_TEST(fd, says_what_is_wrong_with_a_descriptor)
{
    int port = 0, listening = cdt_raw_listen(AF_INET, 1, &port), fds[2];
    char uri[32];
    pair(fds);
    cdt_open_ctx(NULL);
    snprintf(uri, sizeof(uri), "fd:%d", fds[0]);
    cr_expect_eq(conduit_listen(cdt_ctx, uri, NULL, NULL, NULL, NULL), CONDUIT_EINVAL);
    cr_expect_not_null(strstr(conduit_error_text(conduit_ctx_error(cdt_ctx)), "does not listen"));
    snprintf(uri, sizeof(uri), "fd:%d", listening);
    cr_assert_eq(conduit_connect(cdt_ctx, uri, NULL, &cdt_side_handler, &client, NULL), 0);
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_EINVAL, "%s", cdt_side_text(&client));
    cdt_side_clear(&client);
    cr_assert_eq(conduit_connect(cdt_ctx, "fd:4000", NULL, &cdt_side_handler, &client, NULL), 0);
    cdt_await(&client.closed);
    cr_expect_not_null(strstr(cdt_side_text(&client), "no such descriptor"));
    static const char *const never[] = {"fd:",    "fd:x",  "fd:-1",
                                        "fd://3", "fd:3x", "fd:99999999999"};
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        cr_expect_eq(conduit_listen(cdt_ctx, never[i], NULL, NULL, NULL, NULL), CONDUIT_EURI, "%s",
                     never[i]);
    close(listening);
    close(fds[0]);
    close(fds[1]);
    end();
}

/* ---- from systemd ---- */

static int bound(bool listens)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0 && (!listens || listen(fd, 5) == 0)
               ? fd
               : -1;
}

/* Become a process that systemd started with `n` listening sockets. */
static void be_activated(int n, const char *names, long pid)
{
    char text[24];
    int spare[8];
    for (int i = 0; i < n; i++) /* out of the way of 3, 4 ... */
        spare[i] = fcntl(bound(true), F_DUPFD, 100);
    for (int fd = 3; fd < 100; fd++)
        close(fd);
    for (int i = 0; i < n; i++) {
        dup2(spare[i], 3 + i);
        close(spare[i]);
    }
    snprintf(text, sizeof(text), "%ld", pid);
    setenv("LISTEN_PID", text, 1);
    snprintf(text, sizeof(text), "%d", n);
    setenv("LISTEN_FDS", text, 1);
    if (names != NULL)
        setenv("LISTEN_FDNAMES", names, 1);
}

static int places(const char *uri)
{
    conduit_listener *made = NULL;
    int n = 0;
    if (conduit_listen(cdt_ctx, uri, NULL, NULL, NULL, &made) < 0)
        return -1;
    while (conduit_listener_uri(made, (size_t)n) != NULL)
        n++;
    return n;
}

/* Each returns 0, or the number of the line that was not as it should be. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__ % 250 + 1;                                                             \
    } while (0)

static int takes_each_by_name(void)
{
    be_activated(3, "web:admin:web", getpid());
    cdt_ctx = conduit_ctx_new(NULL);
    CHECK(places("systemd:nosuch") == -1);
    CHECK(places("systemd:admin") == 1);
    CHECK(places("systemd:admin") == -1);
    CHECK((fcntl(4, F_GETFD) & FD_CLOEXEC) != 0 && (fcntl(3, F_GETFD) & FD_CLOEXEC) == 0);
    CHECK(getenv("LISTEN_FDS") != NULL);
    CHECK(places("systemd:web") == 2);
    CHECK(getenv("LISTEN_FDS") == NULL && getenv("LISTEN_PID") == NULL);
    CHECK(getenv("LISTEN_FDNAMES") == NULL);
    CHECK(places("systemd:") == -1);
    conduit_ctx_free(cdt_ctx);
    CHECK(!is_open(3) && !is_open(4) && !is_open(5));
    return 0;
}

static int takes_all_without_a_name(void)
{
    be_activated(2, NULL, getpid());
    cdt_ctx = conduit_ctx_new(NULL);
    CHECK(places("systemd:web") == -1);
    CHECK(places("systemd:") == 2);
    conduit_ctx_free(cdt_ctx);
    return 0;
}

static int leaves_what_is_for_another_process(void)
{
    be_activated(1, "web", getpid() + 1);
    cdt_ctx = conduit_ctx_new(NULL);
    CHECK(places("systemd:web") == -1);
    CHECK(strstr(conduit_error_text(conduit_ctx_error(cdt_ctx)), "systemd has passed no") != NULL);
    CHECK(is_open(3) && getenv("LISTEN_FDS") != NULL);
    conduit_ctx_free(cdt_ctx);
    CHECK(is_open(3));
    return 0;
}

static int survives_variables_that_mean_nothing(void)
{
    static const char *const counts[] = {"", "0", "-1", "x", "1x", "99999999999999999999", "4097"};
    be_activated(1, "web", getpid());
    cdt_ctx = conduit_ctx_new(NULL);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        setenv("LISTEN_FDS", counts[i], 1);
        CHECK(places("systemd:web") == -1);
    }
    setenv("LISTEN_FDS", "3", 1); /* more than there are, and fewer names */
    CHECK(places("systemd:we") == -1 && places("systemd:webs") == -1);
    CHECK(places("systemd:web") == 1);
    CHECK(places("systemd:") == -1);
    conduit_ctx_free(cdt_ctx);
    return 0;
}

static void expect_of_child(int (*story)(void))
{
    pid_t child = fork();
    if (child == 0)
        _exit(story());
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0, "line %d (modulo 250)", WEXITSTATUS(status) - 1);
}

CDT_TEST(systemd, each_socket_is_taken_once_by_its_name)
{
    expect_of_child(takes_each_by_name);
}

CDT_TEST(systemd, without_a_name_all_are_taken)
{
    expect_of_child(takes_all_without_a_name);
}

CDT_TEST(systemd, what_is_for_another_process_is_left_alone)
{
    expect_of_child(leaves_what_is_for_another_process);
}

CDT_TEST(systemd, variables_that_mean_nothing_harm_nobody)
{
    expect_of_child(survives_variables_that_mean_nothing);
}
