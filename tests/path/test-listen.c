/* SPDX-License-Identifier: ISC */
/*
 * Listening: what is bound and what is left behind, handshakes that fail, shortages, and the end.
 *
 * Clients that misbehave are plain blocking sockets of the test's own: the kernel completes a
 * connection to loopback by itself, so they need no thread.
 */
#include "harness.h"
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct cdt_side client, server;
static conduit_listener *listener;
static conduit_listen_options options;
static conduit_connect_options dialling;

/* What on_failed said. */
static struct {
    int times, awaited;
    bool enough; /* `awaited` of them */
    conduit_code code;
    conduit_stage stage;
    long number;
    char text[256];
    void (*react)(void);
} failed;

static void on_failed(conduit_listener *of, const conduit_error *error, void *user)
{
    cr_expect_eq(of, listener);
    failed.times++;
    failed.enough = failed.times >= failed.awaited;
    failed.code = conduit_error_code(error);
    failed.stage = conduit_error_stage(error);
    failed.number = conduit_error_number(error);
    snprintf(failed.text, sizeof(failed.text), "%s", conduit_error_text(error));
    if (failed.react != NULL)
        failed.react();
}

static void await_failures(int n)
{
    failed.awaited = n;
    failed.enough = failed.times >= n;
    cdt_await(&failed.enough);
}

static void begin(void)
{
    memset(&failed, 0, sizeof(failed));
    options = (conduit_listen_options){.on_failed = on_failed};
    dialling = (conduit_connect_options){0};
    listener = NULL;
    cdt_open_ctx(NULL);
}

static void end(void)
{
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
    conduit_tls_unref(options.tls);
    conduit_tls_unref(dialling.tls);
}

static void use_tls(void)
{
    options.tls = cdt_server_tls();
    dialling.tls = cdt_client_tls();
    dialling.name = "a.example";
}

static int try_listening(const char *uri)
{
    return conduit_listen(cdt_ctx, uri, &options, &cdt_side_handler, &server, &listener);
}

static const char *listen_at(const char *uri)
{
    cr_assert_eq(try_listening(uri), 0, "%s: %s", uri,
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
    return conduit_listener_uri(listener, 0);
}

static void call(const char *uri)
{
    cr_assert_eq(conduit_connect(cdt_ctx, uri, &dialling, &cdt_side_handler, &client, &client.conn),
                 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

/* A client comes and goes: the listener serves. */
static void expect_service(const char *uri)
{
    cdt_side_clear(&client);
    cdt_side_clear(&server);
    call(uri);
    cdt_await(&server.opened);
    conduit_end(client.conn);
    cdt_await(&client.closed);
    cdt_await(&server.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_OK, "%s", cdt_side_text(&client));
    cdt_side_clear(&client);
    cdt_side_clear(&server);
}

static void expect_refused(const char *uri, conduit_code code)
{
    conduit_listener *before = listener;
    int got = try_listening(uri);
    cr_expect_eq(got, code, "%s: %s", uri, conduit_code_name(got));
    cr_expect_eq(listener, before, "%s: a listener that is none", uri);
    cr_expect_eq(conduit_error_code(conduit_ctx_error(cdt_ctx)), got);
}

static bool hung_up(int fd)
{
    char bytes[4096];
    ssize_t n;
    do
        n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    while (n > 0);
    return n == 0 || errno == ECONNRESET;
}

static double milliseconds(void)
{
    return (double)uv_hrtime() / 1e6;
}

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

/* ---- crowds and shortages ---- */

static int n_opened, n_wanted;
static bool all_opened;

static void count_open(conduit_conn *conn, void *user)
{
    all_opened = ++n_opened >= n_wanted;
}

static const conduit_handler counting = {.on_open = count_open};

CDT_TEST(listen, a_crowd_that_comes_at_once_is_let_in)
{
    enum { CROWD = 200 };
    int fds[CROWD];
    begin();
    n_wanted = CROWD;
    cr_assert_eq(conduit_listen(cdt_ctx, "tcp://127.0.0.1:0", &options, &counting, NULL, &listener),
                 0);
    for (int i = 0; i < CROWD; i++)
        fds[i] = cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
    cdt_await(&all_opened);
    cr_expect_eq(n_opened, CROWD);
    cr_expect_eq(failed.times, 0);
    end();
    for (int i = 0; i < CROWD; i++) {
        cr_expect(hung_up(fds[i]));
        close(fds[i]);
    }
}

static void limit_descriptors(rlim_t most)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = most;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* A crowd of which three find a descriptor; returns the first that did not. */
enum { CROWD = 20 };
static int crowd[CROWD];
static struct rlimit limit_before;

static void run_short(void)
{
    n_wanted = CROWD;
    cr_assert_eq(conduit_listen(cdt_ctx, "tcp://127.0.0.1:0", &options, &counting, NULL, &listener),
                 0);
    for (int i = 0; i < CROWD; i++)
        crowd[i] = cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit_before), 0);
    int next = dup(0); /* the lowest that is free: there is room for three */
    close(next);
    limit_descriptors((rlim_t)next + 3);
}

static int count_hung_up(void)
{
    int n = 0;
    for (int i = 0; i < CROWD; i++)
        n += hung_up(crowd[i]);
    return n;
}

static void disperse(void)
{
    end();
    for (int i = 0; i < CROWD; i++)
        close(crowd[i]);
}

CDT_TEST(listen, running_out_of_descriptors_is_survived_without_spinning)
{
    begin();
    run_short();
    double cpu = cdt_cpu_seconds();
    unsigned turns = cdt_turns_within(450);
    cpu = cdt_cpu_seconds() - cpu;
    cr_expect_eq(n_opened, 3);
    cr_expect_eq(failed.times, 1, "one shortage, and on_failed came %d times", failed.times);
    cr_expect_eq(failed.code, CONDUIT_ELIMIT, "%s", failed.text);
    cr_expect_eq(failed.number, EMFILE, "%s", failed.text);
    cr_expect_eq(failed.stage, CONDUIT_STAGE_DIAL);
    cr_expect_lt(turns, 60, "%u turns", turns);
    cr_expect_lt(cpu, 0.2, "%.3f s of CPU in 0.45 s of shortage", cpu);
    limit_descriptors(limit_before.rlim_cur);
    double since = milliseconds();
    cdt_await(&all_opened);
    cr_expect_lt(milliseconds() - since, 500, "it is slow to notice that there is room");
    cr_expect_eq(n_opened, CROWD, "who waited for less than a second was turned away");
    cr_expect_eq(failed.times, 1);
    conduit_counters counters;
    conduit_listener_counters(listener, &counters);
    cr_expect_eq(counters.shortages, 1);
    cr_expect_eq(counters.shed, 0);
    disperse();
}

CDT_TEST(listen, a_long_shortage_is_told_to_who_waits)
{
    conduit_counters counters;
    begin();
    run_short();
    cdt_turns_within(1300);
    conduit_listener_counters(listener, &counters);
    limit_descriptors(limit_before.rlim_cur);
    cr_expect_eq(n_opened, 3);
    cr_expect_eq(count_hung_up(), CROWD - 3);
    cr_expect_eq(counters.shed, CROWD - 3);
    cr_expect_eq(counters.open, 3);
    cr_expect_eq(counters.shortages, 1);
    cr_expect_eq(failed.times, 1);
    call(conduit_listener_uri(listener, 0));
    for (int i = 0; i < 1000 && n_opened == 3; i++)
        cdt_turn(1);
    cr_expect_eq(n_opened, 4);
    disperse();
}

/* ---- limits ---- */

static struct cdt_side guests[4];
static int n_guests;

static void greet(conduit_conn *conn, void *user)
{
    cr_assert_lt(n_guests, 4);
    conduit_conn_set_user(conn, &guests[n_guests]);
    guests[n_guests].conn = conn;
    n_guests++;
}

static void part(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct cdt_side *side = user;
    side->closed = true;
    side->conn = NULL;
}

static const conduit_handler hosting = {.on_open = greet, .on_close = part};

static conduit_listener *host(const char *uri)
{
    conduit_listener *made = NULL;
    cr_assert_eq(conduit_listen(cdt_ctx, uri, &options, &hosting, NULL, &made), 0, "%s",
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
    return made;
}

static void leave(int i)
{
    conduit_conn_free(guests[i].conn);
    cdt_turn(5);
}

CDT_TEST(listen, no_more_connections_at_once_than_allowed_and_the_rest_waits)
{
    static const char *const uris[] = {"tcp://127.0.0.1:0", "inproc://x"};
    for (int row = 0; row < 2; row++) {
        conduit_conn *callers[4];
        begin();
        n_guests = 0;
        options.max_connections = 2;
        listener = host(uris[row]);
        for (int i = 0; i < 4; i++)
            cr_assert_eq(conduit_connect(cdt_ctx, conduit_listener_uri(listener, 0), NULL, NULL,
                                         NULL, &callers[i]),
                         0);
        cdt_turn(30);
        cr_expect_eq(n_guests, 2, "%s: %d", uris[row], n_guests);
        unsigned turns = cdt_turns_within(50);
        cr_expect_lt(turns, 20, "%s: %u turns while they wait", uris[row], turns);
        leave(0);
        cr_expect_eq(n_guests, 3);
        leave(1);
        cr_expect_eq(n_guests, 4);
        cr_expect_eq(failed.times, 0, "%s", failed.text);
        end();
    }
}

CDT_TEST(listen, listeners_may_share_their_limits)
{
    begin();
    n_guests = 0;
    options.max_connections = 1;
    listener = host("tcp://127.0.0.1:0");
    options.max_connections = 100;
    options.limits_of = listener;
    conduit_listener *second = host("tcp://127.0.0.1:0");
    int first_fd = cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
    cdt_turn(10);
    int second_fd = cdt_raw_connect(cdt_port_of(conduit_listener_uri(second, 0)));
    cdt_turn(10);
    cr_expect_eq(n_guests, 1);
    conduit_listener_close(listener);
    listener = NULL;
    cdt_turn(10);
    cr_expect_eq(n_guests, 1, "the guest of a listener that is gone still counts");
    leave(0);
    cr_expect_eq(n_guests, 2);
    conduit_ctx *other = conduit_ctx_new(NULL);
    options.limits_of = second;
    cr_expect_eq(conduit_listen(other, "inproc://x", &options, NULL, NULL, NULL), CONDUIT_EINVAL);
    conduit_ctx_free(other);
    close(first_fd);
    close(second_fd);
    end();
}

CDT_TEST(listen, who_comes_too_often_is_turned_away_and_nobody_else)
{
    static const char *const uris[] = {"tcp://127.0.0.1:0", "tcp://[::1]:0", "unix:"};
    for (int row = 0; row < 3; row++) {
        char uri[200];
        conduit_counters counters;
        struct cdt_side callers[3] = {0};
        if (row == 1 && !cdt_have_ip6())
            continue;
        begin();
        n_guests = 0;
        options.max_per_peer = 2;
        snprintf(uri, sizeof(uri), "%s%s", uris[row], row == 2 ? cdt_test_path("s") : "");
        listener = host(uri);
        for (int i = 0; i < 3; i++) {
            cr_assert_eq(conduit_connect(cdt_ctx, conduit_listener_uri(listener, 0), NULL,
                                         &cdt_side_handler, &callers[i], NULL),
                         0);
            cdt_turn(10);
        }
        cdt_await(&callers[2].closed);
        cr_expect_eq(n_guests, 2);
        cr_expect(!callers[0].closed && !callers[1].closed, "%s", uris[row]);
        conduit_listener_counters(listener, &counters);
        cr_expect_eq(counters.shed, 1);
        cr_expect_eq(counters.open, 2);
        cr_expect_eq(failed.times, 0, "%s", failed.text);
        leave(0);
        call(conduit_listener_uri(listener, 0));
        cdt_await(&client.opened);
        cdt_turn(10);
        cr_expect_eq(n_guests, 3);
        cr_expect(!client.closed, "%s", cdt_side_text(&client));
        end();
        for (int i = 0; i < 3; i++)
            cdt_side_clear(&callers[i]);
    }
}

CDT_TEST(listen, another_address_is_another_peer)
{
    begin();
    n_guests = 0;
    options.max_per_peer = 1;
    listener = host("tcp://127.0.0.1:0");
    const char *params[] = {"bind=127.0.0.2", "bind=127.0.0.3", "bind=127.0.0.2"};
    struct cdt_side callers[3] = {0};
    for (int i = 0; i < 3; i++) {
        dialling.endpoint_params = params[i];
        cr_assert_eq(conduit_connect(cdt_ctx, conduit_listener_uri(listener, 0), &dialling,
                                     &cdt_side_handler, &callers[i], NULL),
                     0, "%s", conduit_error_text(conduit_ctx_error(cdt_ctx)));
        cdt_turn(10);
    }
    cdt_await(&callers[2].closed);
    cr_expect(!callers[0].closed && !callers[1].closed);
    cr_expect_eq(n_guests, 2);
    end();
    for (int i = 0; i < 3; i++)
        cdt_side_clear(&callers[i]);
}

CDT_TEST(listen, a_handshake_that_fails_gives_its_place_back)
{
    CDT_SKIP_WITHOUT_TLS();
    begin();
    use_tls();
    options.max_connections = 1;
    options.max_per_peer = 1;
    const char *uri = listen_at("tls://127.0.0.1:0");
    for (int i = 0; i < 3; i++) {
        int fd = cdt_raw_connect(cdt_port_of(uri));
        cr_assert_eq(send(fd, "garbage", 7, 0), 7);
        await_failures(i + 1);
        close(fd);
        expect_service(uri);
    }
    conduit_counters counters;
    conduit_listener_counters(listener, &counters);
    cr_expect_eq(counters.failed, 3);
    cr_expect_eq(counters.accepted, 3);
    cr_expect_eq(counters.shed, 0);
    cr_expect_eq(counters.open + counters.opening, 0);
    end();
}

CDT_TEST(listen, a_paused_listener_lets_them_wait)
{
    static const char *const uris[] = {"tcp://127.0.0.1:0", "inproc://x"};
    for (int row = 0; row < 2; row++) {
        begin();
        const char *uri = listen_at(uris[row]);
        conduit_listener_pause(listener);
        conduit_listener_pause(listener);
        call(uri);
        cdt_turn(10);
        cr_expect(!server.opened, "%s", uri);
        cr_expect_lt(cdt_turns_within(50), 20);
        conduit_listener_resume(listener);
        cdt_await(&server.opened);
        end();
    }
}

/* ---- counters ---- */

CDT_TEST(listen, what_happened_is_counted)
{
    conduit_counters of_ctx, of_listener;
    begin();
    call(listen_at("tcp://127.0.0.1:0"));
    conduit_ctx_counters(cdt_ctx, &of_ctx);
    cr_expect_eq(of_ctx.opening, 1);
    cdt_await(&client.opened);
    cdt_await(&server.opened);
    cdt_side_expect(&server, 1000);
    cdt_side_send(&client, 1000);
    cdt_await(&server.complete);
    for (int over = 0; over < 2; over++) { /* open, and closed */
        conduit_ctx_counters(cdt_ctx, &of_ctx);
        conduit_listener_counters(listener, &of_listener);
        cr_expect_eq(of_ctx.open, over ? 0 : 2);
        cr_expect_eq(of_ctx.opening, 0);
        cr_expect_eq(of_ctx.connected, 1);
        cr_expect_eq(of_ctx.accepted, 1);
        cr_expect_eq(of_ctx.failed, 0);
        cr_expect_eq(of_ctx.bytes_out, 1000);
        cr_expect_eq(of_ctx.bytes_in, 1000);
        cr_expect_eq(of_listener.open, over ? 0 : 1);
        cr_expect_eq(of_listener.accepted, 1);
        cr_expect_eq(of_listener.connected, 0);
        cr_expect_eq(of_listener.bytes_in, 1000);
        cr_expect_eq(of_listener.bytes_out, 0);
        if (!over) {
            conduit_end(client.conn);
            cdt_await(&client.closed);
            cdt_await(&server.closed);
        }
    }
    char uri[64];
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", cdt_closed_port());
    cdt_side_clear(&client);
    call(uri);
    cdt_await(&client.closed);
    conduit_ctx_counters(cdt_ctx, &of_ctx);
    cr_expect_eq(of_ctx.failed, 1);
    cr_expect_eq(of_ctx.connected, 1);
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

/* ---- draining ---- */

static struct cdt_side idle, idle_server;

static void send_a_little(uv_timer_t *timer)
{
    struct cdt_side *side = timer->data;
    if (side->conn == NULL)
        return;
    cdt_side_send(side, 10);
    if (side->sent >= 120)
        conduit_end(side->conn);
}

static void start_moving(uv_timer_t *timer)
{
    uv_timer_init(&cdt_loop, timer);
    timer->data = &client;
    uv_timer_start(timer, send_a_little, 200, 200);
}

static void meet_idle(const char *uri)
{
    conduit_listener *second;
    cr_assert_eq(conduit_listen(cdt_ctx, uri, NULL, &cdt_side_handler, &idle_server, &second), 0);
    cr_assert_eq(conduit_connect(cdt_ctx, conduit_listener_uri(second, 0), NULL, &cdt_side_handler,
                                 &idle, &idle.conn),
                 0);
    cdt_await(&idle.opened);
}

CDT_TEST(listen, a_drain_closes_what_is_silent_and_lets_go_on_what_moves)
{
    uv_timer_t timer;
    begin();
    meet_idle("tcp://127.0.0.1:0");
    char uri[64];
    snprintf(uri, sizeof(uri), "%s", listen_at("tcp://127.0.0.1:0"));
    call(uri);
    cdt_await(&server.opened);
    start_moving(&timer);
    double since = milliseconds();
    conduit_ctx_drain(cdt_ctx, 10000);
    cdt_await(&idle.closed);
    double took = milliseconds() - since;
    cr_expect(took >= 950 && took < 2600, "%.1f ms", took);
    cr_expect_eq(cdt_side_code(&idle), CONDUIT_OK, "%s", cdt_side_text(&idle));
    cr_expect(!client.closed);
    cdt_await(&client.closed);
    cdt_await(&server.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_OK, "%s", cdt_side_text(&client));
    cr_expect_eq(server.received, 120);
    cdt_side_clear(&client);
    call(uri);
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_EREFUSED, "the listener is still there");
    uv_close((uv_handle_t *)&timer, NULL);
    end();
    cdt_side_clear(&idle);
    cdt_side_clear(&idle_server);
}

CDT_TEST(listen, a_drain_has_a_deadline)
{
    static const uint32_t deadlines[] = {300, 1300};
    for (int i = 0; i < 2; i++) {
        uv_timer_t timer;
        begin();
        call(listen_at("tcp://127.0.0.1:0"));
        cdt_await(&server.opened);
        start_moving(&timer);
        double since = milliseconds();
        conduit_ctx_drain(cdt_ctx, deadlines[i]);
        cdt_await(&client.closed);
        double took = milliseconds() - since;
        cr_expect(took >= deadlines[i] - 1 && took < deadlines[i] + 500, "%.1f ms, not %u", took,
                  deadlines[i]);
        cr_expect_eq(cdt_side_code(&client), CONDUIT_ECANCELED, "%s", cdt_side_text(&client));
        cr_expect_not_null(strstr(cdt_side_text(&client), "the drain's"), "%s",
                           cdt_side_text(&client));
        uv_close((uv_handle_t *)&timer, NULL);
        end();
    }
}

/* ---- the last has gone ---- */

static int n_gone, n_drained;

static void on_gone(conduit_listener *of, void *user)
{
    cr_expect_eq(of, listener);
    cr_expect_eq(user, &server);
    cr_expect(server.story[0] == '\0' || server.closed, "a connection is left: %s", server.story);
    n_gone++;
}

static void on_drained(conduit_ctx *ctx, void *user)
{
    cr_expect_eq(ctx, cdt_ctx);
    cr_expect_eq(user, &n_drained);
    n_drained++;
}

static void begin_draining(void)
{
    begin();
    cdt_close_ctx();
    cdt_open_ctx(&(conduit_ctx_options){.on_drained = on_drained, .drained_user = &n_drained});
    options.on_gone = on_gone;
    n_gone = n_drained = 0;
}

CDT_TEST(listen, a_drained_listener_says_when_its_last_connection_has_gone)
{
    static const char *const uris[] = {"tcp://127.0.0.1:0", "inproc://x", "tls://127.0.0.1:0"};
    for (int row = 0; row < 3 && (row < 2 || cdt_have_tls()); row++) {
        begin_draining();
        if (row == 2)
            use_tls();
        char uri[64];
        snprintf(uri, sizeof(uri), "%s", listen_at(uris[row]));
        call(uri);
        cdt_await(&server.opened);
        meet_idle("tcp://127.0.0.1:0");
        conduit_listener_drain(listener, 10000);
        cdt_turn(10);
        cr_expect_eq(n_gone, 0);
        cr_expect_null(conduit_listener_uri(listener, 0), "it still listens");
        conduit_end(client.conn);
        for (int i = 0; i < 1000 && n_gone == 0; i++)
            cdt_turn(1);
        cr_expect_eq(n_gone, 1, "%s", uris[row]);
        cr_expect_eq(cdt_side_code(&client), CONDUIT_OK, "%s", cdt_side_text(&client));
        cr_expect(!idle.closed, "the connection of another listener was closed");
        cdt_turn(10);
        cr_expect_eq(n_gone, 1);
        cdt_side_clear(&client);
        call(uri);
        cdt_await(&client.closed);
        cr_expect_eq(cdt_side_code(&client), CONDUIT_EREFUSED, "%s", cdt_side_text(&client));
        end();
        cdt_side_clear(&idle);
        cdt_side_clear(&idle_server);
    }
}

CDT_TEST(listen, who_waits_when_a_drain_begins_is_served)
{
    CDT_SKIP_WITHOUT_TLS();
    begin_draining();
    use_tls();
    call(listen_at("tls://127.0.0.1:0"));
    conduit_listener_pause(listener);
    cdt_turn(10);
    conduit_listener_drain(listener, 10000);
    client.ends_after = true;
    cdt_await(&client.opened);
    cdt_side_send(&client, 1000);
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_OK, "%s", cdt_side_text(&client));
    for (int i = 0; i < 1000 && n_gone == 0; i++)
        cdt_turn(1);
    cr_expect_eq(n_gone, 1);
    cr_expect_eq(server.received, 1000);
    end();
}

static void drain_when_open(struct cdt_side *side, char event)
{
    if (event != 'o')
        return;
    cr_expect(!server.opened, "the server was no later than the client");
    conduit_ctx_drain(cdt_ctx, 10000);
    cdt_side_send(side, 1000);
}

/* With TLS 1.3 a client is open before its last message has been read. */
CDT_TEST(listen, a_client_that_is_open_before_the_server_is_when_a_drain_begins_is_served)
{
    CDT_SKIP_WITHOUT_TLS();
    begin_draining();
    use_tls();
    client.react = drain_when_open;
    client.ends_after = true;
    call(listen_at("tls://127.0.0.1:0"));
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_OK, "%s", cdt_side_text(&client));
    cdt_await(&server.closed);
    cr_expect_eq(cdt_side_code(&server), CONDUIT_OK, "%s", cdt_side_text(&server));
    cr_expect_eq(server.received, 1000);
    for (int i = 0; i < 1000 && n_drained == 0; i++)
        cdt_turn(1);
    cr_expect(n_gone == 1 && n_drained == 1);
    end();
}

CDT_TEST(listen, a_handshake_does_not_hold_up_a_drain_beyond_its_deadline)
{
    CDT_SKIP_WITHOUT_TLS();
    begin_draining();
    use_tls();
    int fd = cdt_raw_connect(cdt_port_of(listen_at("tls://127.0.0.1:0")));
    cdt_turn(10);
    conduit_listener_drain(listener, 10000);
    conduit_listener_drain(listener, 300); /* another deadline */
    double since = milliseconds();
    while (n_gone == 0 && milliseconds() - since < 5000)
        uv_run(&cdt_loop, UV_RUN_ONCE);
    double took = milliseconds() - since;
    cr_expect(took >= 299 && took < 1500, "%.1f ms", took);
    cr_expect(hung_up(fd));
    close(fd);
    end();
}

CDT_TEST(listen, a_drain_without_time_is_over_for_who_waits_too)
{
    begin_draining();
    call(listen_at("tcp://127.0.0.1:0"));
    conduit_listener_pause(listener);
    cdt_await(&client.opened);
    conduit_listener_drain(listener, 0);
    double since = milliseconds();
    while (n_gone == 0 && milliseconds() - since < 5000)
        cdt_turn(1);
    cr_expect_eq(n_gone, 1, "the drain goes on");
    cdt_await(&client.closed);
    end();
}

CDT_TEST(listen, closing_ends_a_drain_silently)
{
    begin_draining();
    call(listen_at("tcp://127.0.0.1:0"));
    cdt_await(&server.opened);
    conduit_listener_drain(listener, 100);
    conduit_listener_close(listener);
    cdt_turns_within(200);
    cr_expect_eq(n_gone, 0);
    cr_expect(!server.closed, "%s", cdt_side_text(&server));
    end();
}

CDT_TEST(listen, the_end_of_a_drain_of_everything_is_told_once)
{
    begin_draining();
    call(listen_at("tcp://127.0.0.1:0"));
    cdt_await(&server.opened);
    conduit_ctx_drain(cdt_ctx, 10000);
    cdt_turn(10);
    cr_expect_eq(n_drained, 0);
    conduit_end(client.conn);
    for (int i = 0; i < 1000 && n_drained == 0; i++)
        cdt_turn(1);
    cr_expect_eq(n_gone, 1);
    cr_expect_eq(n_drained, 1);
    cr_expect(client.closed && server.closed);
    cr_expect(!uv_loop_alive(&cdt_loop));
    conduit_ctx_drain(cdt_ctx, 10000);
    cdt_turn(5);
    cr_expect_eq(n_drained, 2, "of nothing, too");
    end();
}

static void free_when_drained(conduit_ctx *ctx, void *user)
{
    conduit_ctx_free(ctx);
    cdt_ctx = NULL;
    n_drained++;
}

CDT_TEST(listen, on_drained_may_free_the_context)
{
    begin();
    cdt_close_ctx();
    cdt_open_ctx(&(conduit_ctx_options){.on_drained = free_when_drained});
    n_drained = 0;
    call(listen_at("tcp://127.0.0.1:0"));
    cdt_await(&server.opened);
    conduit_ctx_drain(cdt_ctx, 50);
    for (int i = 0; i < 1000 && n_drained == 0; i++)
        uv_run(&cdt_loop, UV_RUN_ONCE);
    cr_expect_eq(n_drained, 1);
    end();
}

CDT_TEST(listen, a_drain_with_nothing_to_wait_for_lets_the_loop_end)
{
    begin();
    listen_at("tcp://127.0.0.1:0");
    conduit_ctx_drain(cdt_ctx, 10000);
    cdt_turn(3);
    cr_expect(!uv_loop_alive(&cdt_loop));
    end();
}
