/* SPDX-License-Identifier: ISC */
/*
 * Unix sockets: who owns the node, who is let in, who gets a path that several want, and names
 * without a path.
 *
 * Another user is a child of this test's that has become one, for which it has to be root.
 */
#include "harness.h"
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534, STARTERS = 4 };

static conduit_listener *listener;
static struct cdt_side client, server;
static char refusal[512]; /* what on_failed last heard */
static bool refused;

static void on_failed(conduit_listener *of, const conduit_error *error, void *user)
{
    snprintf(refusal, sizeof(refusal), "%s", conduit_error_text(error));
    refused = conduit_error_code(error) == CONDUIT_EACCESS;
}

static const char *listen_at(const char *uri)
{
    const conduit_listen_options options = {.on_failed = on_failed};
    int code = conduit_listen(cdt_ctx, uri, &options, &cdt_side_handler, &server, &listener);
    cr_assert_eq(code, 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
    return conduit_listener_uri(listener, 0);
}

static void call(const char *uri)
{
    cr_assert_eq(conduit_connect(cdt_ctx, uri, NULL, &cdt_side_handler, &client, &client.conn), 0,
                 "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

static void hang_up(void)
{
    conduit_close(client.conn);
    cdt_await(&client.closed);
    cdt_await(&server.closed);
    cdt_side_clear(&client);
    cdt_side_clear(&server);
}

static void end(void)
{
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
}

static const char *unix_uri(const char *name, const char *query)
{
    static char uri[256];
    chmod(cdt_test_path(""), 0755); /* others come this way, too */
    snprintf(uri, sizeof(uri), "unix:%s%s", cdt_test_path(name), query);
    return uri;
}

static const char *abstract_uri(const char *query)
{
    static char uri[128];
    snprintf(uri, sizeof(uri), "unix-abstract:conduit-test-%ld%s", (long)getpid(), query);
    return uri;
}

/* ---- raw sockets ---- */

/* `text` is what follows the scheme: a path, or a name in `abstract`. */
static int raw_connect(const char *text, bool abstract)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t n = strcspn(text, "?");
    memcpy(un.sun_path + abstract, text, n);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + abstract + n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&un, len) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Connect as nobody. */
static void call_as_nobody(const char *uri)
{
    bool abstract = strncmp(uri, "unix-abstract:", 14) == 0;
    pid_t child = fork();
    if (child == 0) {
        if (setuid(NOBODY) < 0)
            _exit(2);
        _exit(raw_connect(strchr(uri, ':') + 1, abstract) >= 0 ? 0 : 1);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0, "nobody could not even connect to %s: %d", uri, status);
}

#define SKIP_UNLESS_ROOT()                                                                         \
    do {                                                                                           \
        if (geteuid() != 0)                                                                        \
            cr_skip_test("only root can become another user");                                     \
    } while (0)

/* ---- the node ---- */

CDT_TEST(unix_socket, the_node_belongs_to_whom_it_is_said_to)
{
    static const char *const rows[] = {"?user=65534&group=65534&mode=0620",
                                       "?user=nobody&group=nogroup&mode=0620"};
    struct stat info;
    SKIP_UNLESS_ROOT();
    for (size_t i = 0; i < 2; i++) {
        cdt_open_ctx(NULL);
        listen_at(unix_uri("s", rows[i]));
        cr_assert_eq(stat(cdt_test_path("s"), &info), 0);
        cr_expect_eq(info.st_uid, NOBODY);
        cr_expect_eq(info.st_gid, NOBODY);
        cr_expect_eq(info.st_mode & 0777, 0620, "%o", info.st_mode & 0777);
        end();
    }
}

CDT_TEST(unix_socket, an_owner_that_there_is_not_is_an_error_and_leaves_no_node)
{
    static const char *const rows[] = {"?user=nosuchuser", "?group=nosuchgroup",
                                       "?user=99999999999999"};
    struct stat info;
    cdt_open_ctx(NULL);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(conduit_listen(cdt_ctx, unix_uri("s", rows[i]), NULL, NULL, NULL, NULL),
                     CONDUIT_EINVAL, "%s", rows[i]);
        cr_expect(lstat(cdt_test_path("s"), &info) < 0, "%s", rows[i]);
    }
    end();
}

CDT_TEST(unix_socket, the_path_stays_while_the_socket_lives_on_elsewhere)
{
    struct stat info;
    cdt_open_ctx(NULL);
    listen_at(unix_uri("s", ""));
    int elsewhere = dup(conduit_listener_fd(listener, 0));
    cr_assert_geq(elsewhere, 0);
    conduit_listener_close(listener);
    cr_expect_eq(lstat(cdt_test_path("s"), &info), 0, "a successor cannot be reached any more");
    int fd = raw_connect(cdt_test_path("s"), false);
    cr_expect_geq(fd, 0);
    close(fd);
    close(elsewhere);
    end();
}

/* ---- several that want one path ---- */

/* What a child that starts a server comes to: 0 it serves, 1 the path is in use, 2 anything else.
 * It says so on its standard output, and serves until its input ends. */
static void start_server(const char *uri, int gate, int said)
{
    char byte;
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    if (read(gate, &byte, 1) < 0)
        _exit(2);
    int code = conduit_listen(ctx, uri, NULL, NULL, NULL, NULL);
    char word = code == 0 ? 'w' : code == CONDUIT_EADDRINUSE ? 'l' : '?';
    if (write(said, &word, 1) != 1)
        _exit(2);
    while (read(gate, &byte, 1) > 0)
        ;
    sleep(code == 0 ? 60 : 0); /* the parent ends it */
    _exit(0);
}

/* Start a server at each of the uris in the same moment; returns how many got theirs. */
static int count_winners(char uris[STARTERS][256])
{
    int gate[2], said[2], winners = 0;
    pid_t children[STARTERS];
    cr_assert_eq(pipe(gate), 0);
    cr_assert_eq(pipe(said), 0);
    for (int i = 0; i < STARTERS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            close(gate[1]);
            start_server(uris[i], gate[0], said[1]);
        }
    }
    close(gate[0]);
    close(gate[1]); /* now */
    for (int i = 0; i < STARTERS; i++) {
        char word = '-';
        cr_assert_eq(read(said[0], &word, 1), 1);
        cr_expect(word == 'w' || word == 'l', "a starter failed otherwise: %c", word);
        winners += word == 'w';
    }
    for (int i = 0; i < STARTERS; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    close(said[0]);
    close(said[1]);
    return winners;
}

CDT_TEST(unix_socket, of_servers_that_start_at_once_exactly_one_gets_the_path)
{
    char uris[STARTERS][256];
    for (int i = 0; i < STARTERS; i++)
        snprintf(uris[i], sizeof(uris[i]), "%s", unix_uri("s", ""));
    for (int round = 0; round < 25; round++) /* from the second on over a dead one's path */
        cr_assert_eq(count_winners(uris), 1, "round %d", round);
    unlink(cdt_test_path("s"));
}

CDT_TEST(unix_socket, servers_that_start_at_once_in_one_directory_do_not_stand_in_each_others_way)
{
    char uris[STARTERS][256], name[8];
    for (int i = 0; i < STARTERS; i++) {
        snprintf(name, sizeof(name), "s%d", i);
        snprintf(uris[i], sizeof(uris[i]), "%s", unix_uri(name, ""));
    }
    for (int round = 0; round < 10; round++)
        cr_assert_eq(count_winners(uris), STARTERS, "round %d", round);
}

CDT_TEST(unix_socket, who_holds_the_directory_holds_nobody_up_for_long)
{
    cdt_open_ctx(NULL);
    listen_at(unix_uri("s", ""));
    int elsewhere = dup(conduit_listener_fd(listener, 0));
    conduit_listener_close(listener);
    close(elsewhere); /* a dead server's path */
    int held = open(cdt_test_path(""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(flock(held, LOCK_EX), 0);
    uint64_t since = uv_hrtime();
    cr_expect_eq(conduit_listen(cdt_ctx, unix_uri("s", ""), NULL, NULL, NULL, NULL),
                 CONDUIT_EADDRINUSE);
    cr_expect_lt(uv_hrtime() - since, 5000000000U);
    close(held);
    listen_at(unix_uri("s", ""));
    end();
}

/* What it takes to close a listener at `uri` while somebody holds the directory: another thread
 * waits for that, and removes the path. */
static uint64_t close_under_lock_ns(const char *uri, const char *path)
{
    struct stat info;
    int held = open(cdt_test_path(""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    listen_at(uri);
    cr_assert_eq(flock(held, LOCK_EX), 0);
    uint64_t since = uv_hrtime();
    conduit_listener_close(listener);
    uint64_t took = uv_hrtime() - since;
    cr_expect_eq(lstat(path, &info), 0, "nobody else has the lock");
    close(held);
    for (int i = 0; i < 5000 && lstat(path, &info) == 0; i++)
        cdt_turns_within(1);
    cr_expect_neq(lstat(path, &info), 0, "it stays for ever");
    return took;
}

CDT_TEST(unix_socket, who_holds_the_directory_holds_up_nobody_who_closes)
{
    char path[256];
    uint64_t least = UINT64_MAX;
    cdt_open_ctx(NULL);
    snprintf(path, sizeof(path), "%s", cdt_test_path("s"));
    for (int i = 0; i < 10; i++) {
        uint64_t took = close_under_lock_ns(unix_uri("s", ""), path);
        least = took < least ? took : least;
    }
    cr_expect_lt(least, 20000000U, "%.1f ms at the least", (double)least / 1e6);
    end();
}

/* ---- who is let in ---- */

CDT_TEST(unix_socket, a_listener_turns_away_whom_its_list_does_not_name)
{
    char query[64];
    SKIP_UNLESS_ROOT();
    cdt_open_ctx(NULL);
    snprintf(query, sizeof(query), "?mode=0666&allow_uid=%ld", (long)geteuid());
    const char *uri = listen_at(unix_uri("s", query));
    call_as_nobody(uri);
    cdt_await(&refused);
    cr_expect(!server.opened, "nobody was let in");
    cr_expect_not_null(strstr(refusal, "user 65534"), "%s", refusal);
    call(uri);
    cdt_await(&server.opened);
    hang_up();
    end();
}

CDT_TEST(unix_socket, a_listener_lets_in_whom_its_list_names)
{
    SKIP_UNLESS_ROOT();
    cdt_open_ctx(NULL);
    const char *uri = listen_at(unix_uri("s", "?mode=0666&allow_uid=7,65534"));
    call_as_nobody(uri);
    cdt_await(&server.opened);
    cr_expect_eq(conduit_conn_info(server.conn)->peer_uid, NOBODY);
    cdt_await(&server.closed);
    cr_expect(!refused);
    end();
}

CDT_TEST(unix_socket, a_caller_demands_whose_server_it_is)
{
    char at[256], uri[280];
    cdt_open_ctx(NULL);
    snprintf(at, sizeof(at), "%s", listen_at(unix_uri("s", "")));
    snprintf(uri, sizeof(uri), "%s?allow_uid=4242", at);
    call(uri);
    cdt_await(&client.closed);
    cr_expect(!client.opened);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_EACCESS, "%s", cdt_side_text(&client));
    cdt_await(&server.closed);
    cdt_side_clear(&client);
    cdt_side_clear(&server);
    snprintf(uri, sizeof(uri), "%s?allow_uid=%ld", at, (long)geteuid());
    call(uri);
    cdt_await(&client.opened);
    cdt_await(&server.opened);
    hang_up();
    end();
}

CDT_TEST(unix_socket, lists_that_mean_nothing_are_refused_at_once)
{
    static const char *const rows[] = {"", "root", "0,", ",0", "-1", "0%20,1", "4294967295", "1,*"};
    cdt_open_ctx(NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char query[64];
        snprintf(query, sizeof(query), "?allow_uid=%s", rows[i]);
        cr_expect_eq(conduit_listen(cdt_ctx, unix_uri("s", query), NULL, NULL, NULL, NULL),
                     CONDUIT_EINVAL, "%s", query);
        cr_expect_eq(conduit_connect(cdt_ctx, unix_uri("s", query), NULL, NULL, NULL, NULL),
                     CONDUIT_EINVAL, "%s", query);
    }
    end();
}

/* ---- names ---- */

CDT_TEST(unix_socket, a_name_is_reached_by_name_and_is_no_path)
{
    struct stat info;
    cdt_open_ctx(NULL);
    const char *uri = listen_at(abstract_uri(""));
    cr_expect_str_eq(uri, abstract_uri(""));
    cr_expect(lstat(strchr(uri, ':') + 1, &info) < 0);
    call(uri);
    cdt_await(&client.opened);
    cdt_await(&server.opened);
    cr_expect_str_eq(conduit_conn_info(client.conn)->peer, uri);
    cr_expect_str_eq(conduit_conn_info(client.conn)->stack, "unix-abstract");
    cr_expect_str_eq(conduit_conn_info(server.conn)->local, uri);
    hang_up();
    char application[160];
    snprintf(application, sizeof(application), "http+unix-abstract://conduit-test-%ld/x?y=z",
             (long)getpid());
    call(application);
    cdt_await(&client.opened);
    cdt_await(&server.opened);
    hang_up();
    cr_expect_eq(conduit_listen(cdt_ctx, uri, NULL, NULL, NULL, NULL), CONDUIT_EADDRINUSE);
    end();
}

CDT_TEST(unix_socket, a_name_has_no_permissions_so_others_are_turned_away_unless_it_is_said)
{
    SKIP_UNLESS_ROOT();
    cdt_open_ctx(NULL);
    call_as_nobody(listen_at(abstract_uri("")));
    cdt_await(&refused);
    cr_expect(!server.opened);
    conduit_listener_close(listener);
    call_as_nobody(listen_at(abstract_uri("?allow_uid=*")));
    cdt_await(&server.opened);
    cdt_await(&server.closed);
    end();
}

CDT_TEST(unix_socket, names_that_cannot_be_are_refused_at_once)
{
    static const char *const rows[] = {"unix-abstract:", "unix-abstract://x", "unix-abstract:a%00b",
                                       "unix-abstract:x?mode=0600"};
    char longest[160] = "unix-abstract:";
    cdt_open_ctx(NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(conduit_listen(cdt_ctx, rows[i], NULL, NULL, NULL, NULL), CONDUIT_EURI, "%s",
                     rows[i]);
    memset(longest + strlen(longest), 'x', 108);
    cr_expect_eq(conduit_listen(cdt_ctx, longest, NULL, NULL, NULL, NULL), CONDUIT_EURI);
    longest[14 + 107] = '\0';
    cr_expect_eq(conduit_listen(cdt_ctx, longest, NULL, NULL, NULL, NULL), 0);
    end();
}
