/* SPDX-License-Identifier: ISC */
/*
 * Listening: what is bound and what is left behind, handshakes that fail, and what callbacks may do.
 */
#include "listening.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- addresses ---- */

CDT_TEST(listen, both_families_get_the_same_port)
{
    static const struct {
        const char *uri, *first, *second;
    } rows[] = {
        {"tcp://:0", "tcp://[::]:", "tcp://0.0.0.0:"},
        {"tcp://*:0", "tcp://[::]:", "tcp://0.0.0.0:"},
        {"tcp://localhost:0", "tcp://[::1]:", "tcp://127.0.0.1:"},
    };
    if (!cdt_have_ip6())
        cr_skip_test("no IPv6");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin();
        const char *first = listen_at(rows[i].uri), *second = conduit_listener_uri(listener, 1);
        int port = cdt_port_of(first);
        cr_assert_not_null(second, "%s: IPv4 is missing", rows[i].uri);
        cr_expect_null(conduit_listener_uri(listener, 2));
        cr_expect_eq(strncmp(first, rows[i].first, strlen(rows[i].first)), 0, "%s", first);
        cr_expect_eq(strncmp(second, rows[i].second, strlen(rows[i].second)), 0, "%s", second);
        cr_expect(port > 0 && cdt_port_of(second) == port, "%s, %s", first, second);
        char uri[64];
        snprintf(uri, sizeof(uri), "tcp://[::1]:%d", port);
        expect_service(uri);
        snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", port);
        expect_service(uri);
        end();
    }
}

CDT_TEST(listen, one_family_may_be_asked_for)
{
    begin();
    cr_expect_eq(strncmp(listen_at("tcp4://:0"), "tcp://0.0.0.0:", 14), 0);
    cr_expect_null(conduit_listener_uri(listener, 1));
    end();
}

/* A port of which IPv4 is taken: then IPv6 must not stay bound either. */
CDT_TEST(listen, every_place_is_bound_or_none)
{
    if (!cdt_have_ip6())
        cr_skip_test("no IPv6");
    begin();
    int port = 0, taken = cdt_raw_listen(AF_INET, 1, &port);
    char uri[64];
    snprintf(uri, sizeof(uri), "tcp://localhost:%d", port);
    expect_refused(uri, CONDUIT_EADDRINUSE);
    cr_expect_not_null(strstr(conduit_error_text(conduit_ctx_error(cdt_ctx)), "127.0.0.1"), "%s",
                       conduit_error_text(conduit_ctx_error(cdt_ctx)));
    int other = port, free_again = cdt_raw_listen(AF_INET6, 1, &other);
    close(free_again);
    close(taken);
    listen_at(uri);
    cr_expect_not_null(conduit_listener_uri(listener, 1));
    end();
}

CDT_TEST(listen, an_application_scheme_stands_for_what_is_below_it)
{
    begin();
    const char *uri = listen_at("http://127.0.0.1:0/ignored?by=us");
    cr_expect_eq(strncmp(uri, "tcp://127.0.0.1:", 16), 0, "%s", uri);
    expect_service(uri);
    end();
}

CDT_TEST(listen, what_cannot_be_listened_at_is_refused_at_once)
{
    static const struct {
        const char *uri;
        conduit_code code;
    } rows[] = {
        {"tcp://127.0.0.1:0?speed=9", CONDUIT_EURI},
        {"tcp://127.0.0.1:0?cert=x", CONDUIT_EURI},
        {"unix:/x?certs=x", CONDUIT_EURI},
        {"tcp://127.0.0.1", CONDUIT_EURI},
        {"tcp://127.0.0.1:0/path", CONDUIT_EURI},
        {"tcp://a.example:0", CONDUIT_ENONAME},
        {"tcp://192.0.2.1:0", CONDUIT_EUNREACH},
        {"nosuch://x", CONDUIT_ENOTSUP},
        {"unix:/nowhere/x", CONDUIT_EIO},
        {"unix:/x?mode=9", CONDUIT_EINVAL},
        {"unix:/x?mode=rw", CONDUIT_EINVAL},
        {"unix:/x?mode=01777", CONDUIT_EINVAL},
        {"", CONDUIT_EURI},
    };
    begin();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_refused(rows[i].uri, rows[i].code);
    options.backlog = -1;
    expect_refused("tcp://127.0.0.1:0", CONDUIT_EINVAL);
    expect_refused("inproc://x", CONDUIT_EINVAL);
    end();
}

CDT_TEST(listen, tls_without_a_certificate_is_refused_at_once)
{
    CDT_SKIP_WITHOUT_TLS();
    begin();
    expect_refused("tls://127.0.0.1:0", CONDUIT_ETLS);
    expect_refused("https://127.0.0.1:0", CONDUIT_ETLS);
    expect_refused("tls://127.0.0.1:0?cert=/nowhere.pem&key=/nowhere.key", CONDUIT_ETLS);
    expect_refused("tls://127.0.0.1:0?crt=/nowhere.pem", CONDUIT_EURI);
    options.tls = cdt_client_tls();
    expect_refused("tls://127.0.0.1:0", CONDUIT_ETLS);
    end();
}

CDT_TEST(listen, the_certificate_may_be_part_of_the_uri)
{
    CDT_SKIP_WITHOUT_TLS();
    char uri[400];
    begin();
    use_tls();
    conduit_tls_unref(options.tls);
    options.tls = NULL;
    snprintf(uri, sizeof(uri), "tls://127.0.0.1:0?cert=%s&key=%s", cdt_cert("server.pem"),
             cdt_cert("server.key"));
    const char *at = listen_at(uri);
    cr_expect_null(strstr(at, "key"), "configuration is no part of the place: %s", at);
    expect_service(at);
    end();
}

/* ---- unix paths ---- */

static char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)], unix_uri[160];

static void take_path(void)
{
    snprintf(path, sizeof(path), "%s", cdt_test_path("s"));
    snprintf(unix_uri, sizeof(unix_uri), "unix:%s", path);
}

/* A socket bound to the path, listening or not. */
static int occupy(bool listens)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    memcpy(un.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0, "%s", strerror(errno));
    if (listens)
        cr_assert_eq(listen(fd, 4), 0);
    return fd;
}

static bool exists(void)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

CDT_TEST(listen, the_path_of_a_dead_server_is_taken_over)
{
    begin();
    take_path();
    close(occupy(true));
    cr_assert(exists());
    listen_at(unix_uri);
    expect_service(unix_uri);
    end();
    cr_expect(!exists(), "the path is left behind");
}

CDT_TEST(listen, the_path_of_a_live_server_is_left_alone)
{
    for (int listens = 0; listens < 2; listens++) {
        begin();
        take_path();
        int fd = occupy(listens);
        expect_refused(unix_uri, CONDUIT_EADDRINUSE);
        cr_expect(exists());
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        cr_expect(!listens || poll(&waiting, 1, 0) == 0, "the live server was disturbed");
        close(fd);
        unlink(path);
        end();
    }
}

CDT_TEST(listen, what_is_no_socket_is_left_alone)
{
    begin();
    take_path();
    FILE *file = fopen(path, "w");
    fputs("precious", file);
    fclose(file);
    expect_refused(unix_uri, CONDUIT_EADDRINUSE);
    char text[16] = "";
    file = fopen(path, "r");
    cr_assert_not_null(file, "the file is gone");
    cr_expect_not_null(fgets(text, sizeof(text), file));
    cr_expect_str_eq(text, "precious");
    fclose(file);
    unlink(path);
    cr_assert_eq(symlink("/nowhere", path), 0);
    expect_refused(unix_uri, CONDUIT_EADDRINUSE);
    cr_expect(exists(), "the link is gone");
    end();
}

CDT_TEST(listen, the_path_goes_with_the_listener_only_if_it_is_still_its_own)
{
    begin();
    take_path();
    listen_at(unix_uri);
    conduit_listener_close(listener);
    cr_expect(!exists());
    listener = NULL;
    listen_at(unix_uri);
    unlink(path);
    int other = occupy(true);
    conduit_listener_close(listener);
    cr_expect(exists(), "another server's path was removed");
    close(other);
    end();
}

static atomic_bool watching;

/* Every mode that the path is ever seen with. */
static void *watch_mode(void *arg)
{
    mode_t *seen = arg;
    struct stat info;
    while (atomic_load(&watching))
        if (lstat(path, &info) == 0)
            *seen |= info.st_mode & 0777;
    return NULL;
}

CDT_TEST(listen, the_mode_holds_from_the_first_instant)
{
    char uri[200];
    pthread_t watcher;
    mode_t seen = 0, before = umask(0);
    begin();
    take_path();
    snprintf(uri, sizeof(uri), "%s?mode=0640", unix_uri);
    atomic_store(&watching, true);
    cr_assert_eq(pthread_create(&watcher, NULL, watch_mode, &seen), 0);
    for (int i = 0; i < 500; i++) {
        listen_at(uri);
        conduit_listener_close(listener);
        listener = NULL;
    }
    listen_at(uri);
    while (seen == 0 && atomic_load(&watching))
        usleep(1000);
    atomic_store(&watching, false);
    pthread_join(watcher, NULL);
    cr_expect_eq(seen & ~0640U, 0, "it was %03o for a moment", seen);
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    cr_expect_eq(info.st_mode & 0777, 0640, "%03o", info.st_mode & 0777);
    end();

    umask(0077);
    begin();
    snprintf(uri, sizeof(uri), "%s?mode=0666", unix_uri);
    listen_at(uri);
    cr_assert_eq(stat(path, &info), 0);
    cr_expect_eq(info.st_mode & 0777, 0666, "the umask has a say: %03o", info.st_mode & 0777);
    end();
    umask(before);
}

/* ---- handshakes ---- */

CDT_TEST(listen, a_client_that_says_nothing_is_given_up)
{
    CDT_SKIP_WITHOUT_TLS();
    begin();
    use_tls();
    options.handshake_timeout_ms = 60;
    const char *uri = listen_at("tls://127.0.0.1:0");
    double since = milliseconds();
    int silent = cdt_raw_connect(cdt_port_of(uri));
    await_failures(1);
    double took = milliseconds() - since;
    cr_expect(took >= 59 && took < 1500, "%.1f ms", took);
    cr_expect_eq(failed.code, CONDUIT_ETIMEDOUT, "%s", failed.text);
    cr_expect_eq(failed.stage, CONDUIT_STAGE_TLS, "%s", failed.text);
    cr_expect(hung_up(silent));
    cr_expect_str_eq(server.story, "");
    expect_service(uri);
    cr_expect_eq(failed.times, 1);
    close(silent);
    end();
}

CDT_TEST(listen, garbage_is_turned_away_and_the_listener_serves_on)
{
    CDT_SKIP_WITHOUT_TLS();
    static const char *const garbage[] = {
        "GET / HTTP/1.0\r\n\r\n",
        "\x16\x03\x01\xff\xff garbage in a record that is too long",
        "\x15\x03\x03\x00\x02\x02\x28",
    };
    begin();
    use_tls();
    const char *uri = listen_at("tls://127.0.0.1:0");
    for (int i = 0; i < 3; i++) {
        int fd = cdt_raw_connect(cdt_port_of(uri));
        size_t n = i == 2 ? 7 : strlen(garbage[i]);
        cr_assert_eq(send(fd, garbage[i], n, 0), (ssize_t)n);
        await_failures(i + 1);
        cr_expect_eq(failed.code, CONDUIT_ETLS, "%d: %s", i, failed.text);
        cr_expect_eq(failed.stage, CONDUIT_STAGE_TLS);
        cr_expect(hung_up(fd), "%d", i);
        close(fd);
        expect_service(uri);
    }
    cr_expect_eq(failed.times, 3);
    end();
}

CDT_TEST(listen, a_client_that_leaves_in_the_middle_of_a_handshake_is_reported)
{
    CDT_SKIP_WITHOUT_TLS();
    begin();
    use_tls();
    const char *uri = listen_at("tls://127.0.0.1:0");
    int fd = cdt_raw_connect(cdt_port_of(uri));
    cr_assert_eq(send(fd, "\x16\x03\x01\x01", 4, 0), 4);
    cdt_turn(5);
    close(fd);
    await_failures(1);
    cr_expect_eq(failed.stage, CONDUIT_STAGE_TLS, "%s", failed.text);
    expect_service(uri);
    cr_expect_eq(failed.times, 1);
    end();
}

CDT_TEST(listen, who_does_not_ask_is_not_told_of_failures)
{
    CDT_SKIP_WITHOUT_TLS();
    begin();
    use_tls();
    options.on_failed = NULL;
    const char *uri = listen_at("tls://127.0.0.1:0");
    int fd = cdt_raw_connect(cdt_port_of(uri));
    cr_assert_eq(send(fd, "garbage", 7, 0), 7);
    for (int i = 0; i < 1000 && !hung_up(fd); i++)
        cdt_turn(1);
    cr_expect(hung_up(fd));
    close(fd);
    expect_service(uri);
    end();
}

static int count_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++) {
        struct stat info;
        n += fstat(fd, &info) == 0;
    }
    return n;
}

CDT_TEST(listen, no_more_handshakes_are_under_way_than_allowed)
{
    CDT_SKIP_WITHOUT_TLS();
    enum { CLIENTS = 5, ALLOWED = 2 };
    int fds[CLIENTS];
    begin();
    use_tls();
    options.max_pending = ALLOWED;
    options.handshake_timeout_ms = 200;
    const char *uri = listen_at("tls://127.0.0.1:0");
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = cdt_raw_connect(cdt_port_of(uri));
    int before = count_descriptors();
    cdt_turn(20);
    cr_expect_eq(count_descriptors() - before, ALLOWED, "%d were accepted",
                 count_descriptors() - before);
    unsigned turns = cdt_turns_within(50);
    cr_expect_lt(turns, 20, "%u turns while the backlog waits", turns);
    cr_expect_eq(failed.times, 0);
    await_failures(ALLOWED);
    cr_expect_leq(count_descriptors() - before, ALLOWED);
    await_failures(CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    expect_service(uri);
    end();
}

/* ---- from inside callbacks ---- */

static void close_listener(void)
{
    conduit_listener_close(listener);
    conduit_listener_close(NULL);
    listener = NULL;
}

static void free_context(void)
{
    conduit_ctx_free(cdt_ctx);
    cdt_ctx = NULL;
}

static char act_at;
static void (*act)(void);

static void act_once(struct cdt_side *side, char event)
{
    if (event == act_at && act != NULL) {
        void (*now)(void) = act;
        act = NULL;
        now();
    }
}

/* A conversation in which every event comes, and at one of them the listener, or everything,
 * goes. */
static void act_in(const char *uri, bool tls, char event, bool at_server, void (*what)(void))
{
    begin();
    if (tls)
        use_tls();
    dialling.conn.high_water = 1000;
    options.conn.high_water = 1000;
    act_at = event;
    act = what;
    (at_server ? &server : &client)->react = act_once;
    call(listen_at(uri));
    client.ends_after = true;
    cdt_side_send(&client, 400 * 1024);
    for (int i = 0; i < 1000 && !client.closed; i++)
        cdt_turn(1);
    if (cdt_ctx != NULL)
        cdt_await(&client.closed);
    end();
    cr_expect_null(act, "%s: %c did not come at the %s", uri, event,
                   at_server ? "server" : "client");
}

static void act_everywhere(void (*what)(void))
{
    static const struct {
        const char *uri;
        bool tls;
    } rows[] = {{"inproc://x", false}, {"tcp://127.0.0.1:0", false}, {"tls://127.0.0.1:0", true}};
    static const struct {
        char event;
        bool at_server;
    } events[] = {
        {'o', false}, {'o', true}, {'d', true}, {'r', false},
        {'e', false}, {'e', true}, {'c', true}, {'c', false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && (!rows[i].tls || cdt_have_tls()); i++)
        for (size_t j = 0; j < sizeof(events) / sizeof(events[0]); j++)
            act_in(rows[i].uri, rows[i].tls, events[j].event, events[j].at_server, what);
}

CDT_TEST(listen, the_listener_may_be_closed_from_inside_any_callback)
{
    act_everywhere(close_listener);
}

CDT_TEST(listen, the_context_may_be_freed_from_inside_any_callback)
{
    act_everywhere(free_context);
}

static void act_in_on_failed(void (*what)(void))
{
    begin();
    use_tls();
    const char *uri = listen_at("tls://127.0.0.1:0");
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = cdt_raw_connect(cdt_port_of(uri));
        cr_assert_eq(send(fds[i], "garbage", 7, 0), 7);
    }
    failed.react = what;
    await_failures(1);
    cdt_turn(10);
    cr_expect_eq(failed.times, 1, "on_failed came for a listener that is closed");
    for (int i = 0; i < 3; i++) {
        cr_expect(hung_up(fds[i]), "%d", i);
        close(fds[i]);
    }
    end();
}

CDT_TEST(listen, on_failed_may_close_and_free)
{
    CDT_SKIP_WITHOUT_TLS();
    act_in_on_failed(close_listener);
    act_in_on_failed(free_context);
}

CDT_TEST(listen, handshakes_under_way_end_with_the_listener)
{
    CDT_SKIP_WITHOUT_TLS();
    begin();
    use_tls();
    int fd = cdt_raw_connect(cdt_port_of(listen_at("tls://127.0.0.1:0")));
    cdt_turn(10);
    conduit_listener_close(listener);
    cdt_turn(10);
    cr_expect(hung_up(fd));
    cr_expect_eq(failed.times, 0);
    close(fd);
    end();
}
