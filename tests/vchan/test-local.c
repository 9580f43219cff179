/* SPDX-License-Identifier: ISC */
/*
 * prefer_local: who finds whom beside a TCP port of this machine, and who must not.
 *
 * The other end is often a child: another user's, or in another network namespace. It is forked
 * before there is a loop, and killed in the end.
 */
#include "harness.h"
#include "local.h"
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static struct cdt_side client, server;
static conduit_connect_options options;
static conduit_listener *listener;
static char refused_prefix[64]; /* of endpoints that the filter refuses */

static bool allow(void *user, const conduit_endpoint *endpoint)
{
    size_t n = strlen(refused_prefix);
    return n == 0 || strncmp(conduit_endpoint_uri(endpoint), refused_prefix, n) != 0;
}

static void begin(void)
{
    setenv("XDG_RUNTIME_DIR", cdt_test_directory(), 1);
    options = (conduit_connect_options){.prefer_local = true};
    *refused_prefix = '\0';
    cdt_open_ctx(&(conduit_ctx_options){.allow = allow});
}

static void end(void)
{
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
    conduit_tls_unref(options.tls);
}

static int try_to_listen(const char *uri, const conduit_listen_options *how)
{
    listener = NULL;
    return conduit_listen(cdt_ctx, uri, how, &cdt_side_handler, &server, &listener);
}

/* Returns the port. */
static int serve(const char *uri, conduit_tls *tls)
{
    const conduit_listen_options how = {.tls = tls};
    cr_assert_eq(try_to_listen(uri, &how), 0, "%s: %s", uri,
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
    conduit_tls_unref(tls);
    return cdt_port_of(conduit_listener_uri(listener, 0));
}

/* Connect to `pattern`, in which PORT stands for the port; what came of it: the stack, or a
 * code. */
static const char *stack_to(const char *pattern, int port)
{
    char uri[128];
    const char *at = strstr(pattern, "PORT");
    if (at != NULL)
        snprintf(uri, sizeof(uri), "%.*s%d%s", (int)(at - pattern), pattern, port, at + 4);
    else
        snprintf(uri, sizeof(uri), "%s", pattern);
    cdt_side_clear(&client);
    cr_assert_eq(conduit_connect(cdt_ctx, uri, &options, &cdt_side_handler, &client, &client.conn),
                 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
    while (!client.opened && !client.closed)
        cdt_turns_within(1);
    if (client.closed)
        return conduit_code_name(cdt_side_code(&client));
    return conduit_conn_info(client.conn)->stack;
}

static void hang_up(void)
{
    conduit_conn_free(client.conn);
    cdt_side_clear(&client);
    if (server.opened)
        cdt_await(&server.closed);
    cdt_side_clear(&server);
}

#define EXPECT_STACK(expected, pattern, port)                                                      \
    do {                                                                                           \
        const char *got_ = stack_to(pattern, port);                                                \
        cr_expect_str_eq(got_, expected, "%s: %s", pattern, got_);                                 \
    } while (0)

/* ---- who finds whom ---- */

CDT_TEST(local, both_have_to_say_so)
{
    static const struct {
        const char *listening, *dialling, *stack;
    } rows[] = {
        {"tcp://127.0.0.1:0?prefer_local=1", "tcp://127.0.0.1:PORT?prefer_local=1", "vchan"},
        {"tcp://127.0.0.1:0", "tcp://127.0.0.1:PORT?prefer_local=1", "tcp"},
        {"tcp://127.0.0.1:0?prefer_local=1", "tcp://127.0.0.1:PORT", "tcp"},
        {"tcp://127.0.0.1:0?prefer_local=1", "tcp://127.0.0.1:PORT?prefer_local=0", "tcp"},
        {"tcp://127.0.0.1:0?prefer_local=0", "tcp://127.0.0.1:PORT?prefer_local=1", "tcp"},
        {"http://localhost:0?prefer_local=1", "tcp://127.0.0.1:PORT?prefer_local=1", "tcp"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin();
        options.prefer_local = false;
        EXPECT_STACK(rows[i].stack, rows[i].dialling, serve(rows[i].listening, NULL));
        cdt_await(&server.opened);
        cr_expect_str_eq(conduit_conn_info(server.conn)->stack, rows[i].stack);
        cr_expect_null(conduit_conn_info(client.conn)->failed);
        end();
    }
}

CDT_TEST(local, the_option_the_key_and_endpoint_params_say_the_same)
{
    begin();
    const conduit_listen_options how = {.prefer_local = true};
    cr_assert_eq(try_to_listen("tcp://127.0.0.1:0", &how), 0);
    int port = cdt_port_of(conduit_listener_uri(listener, 0));
    EXPECT_STACK("vchan", "http://127.0.0.1:PORT/", port);
    hang_up();
    EXPECT_STACK("tcp", "tcp://127.0.0.1:PORT?prefer_local=0", port);
    hang_up();
    options = (conduit_connect_options){.endpoint_params = "prefer_local=1"};
    EXPECT_STACK("vchan", "http://127.0.0.1:PORT/", port);
    hang_up();
    cr_expect_eq(
        conduit_connect(cdt_ctx, "tcp://127.0.0.1:1?prefer_local=yes", NULL, NULL, NULL, NULL),
        CONDUIT_EINVAL);
    end();
}

CDT_TEST(local, bytes_go_both_ways_and_it_ends_as_ever)
{
    begin();
    EXPECT_STACK("vchan", "tcp://127.0.0.1:PORT", serve("tcp://127.0.0.1:0?prefer_local=1", NULL));
    cdt_await(&server.opened);
    cdt_side_expect(&server, 3000000);
    cdt_side_expect(&client, 2000000);
    client.ends_after = server.ends_after = true;
    client.stays_open = server.stays_open = true;
    cdt_side_send(&client, 3000000);
    cdt_side_send(&server, 2000000);
    cdt_await(&client.closed);
    cdt_await(&server.closed);
    cr_expect(server.complete && client.complete && !server.garbled && !client.garbled);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_OK, "%s", cdt_side_text(&client));
    end();
}

CDT_TEST(local, every_address_of_this_machine_leads_there_and_its_place_goes_with_the_listener)
{
    begin();
    int port = serve("tcp://:0?prefer_local=1", NULL);
    EXPECT_STACK("vchan", "tcp://127.0.0.1:PORT", port);
    hang_up();
    EXPECT_STACK("vchan", "tcp://127.3.2.1:PORT", port);
    hang_up();
    if (cdt_have_ip6()) {
        EXPECT_STACK("vchan", "tcp://[::1]:PORT", port);
        hang_up();
    }
    EXPECT_STACK("vchan", "tcp://localhost:PORT", port);
    hang_up();
    conduit_listener_close(listener);
    EXPECT_STACK("EREFUSED", "tcp://127.0.0.1:PORT", port);
    end();
}

/* A socket without a place beside it, of a port that others have, too. */
static int listen_beside(uint32_t address, int port, const char *interface)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(address)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    if (interface != NULL)
        cr_assert_eq(
            setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface)), 0,
            "%s", strerror(errno));
    cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0, "%s", strerror(errno));
    cr_assert_eq(listen(fd, 8), 0);
    return fd;
}

CDT_TEST(local, the_more_particular_port_is_whose_it_is)
{
    begin();
    int port = serve("tcp://0.0.0.0:0?prefer_local=1&reuse_port=1", NULL);
    int fd = listen_beside(INADDR_LOOPBACK + 1, port, NULL);
    EXPECT_STACK("tcp", "tcp://127.0.0.2:PORT", port);
    hang_up();
    EXPECT_STACK("vchan", "tcp://127.0.0.1:PORT", port);
    close(fd);
    end();
}

CDT_TEST(local, a_port_that_is_bound_to_an_interface_is_another_port)
{
    begin();
    int port = serve("tcp://127.0.0.1:0?prefer_local=1&reuse_port=1", NULL);
    int fd = listen_beside(INADDR_LOOPBACK, port, "lo");
    EXPECT_STACK("tcp", "tcp://127.0.0.1:PORT", port);
    hang_up();
    close(fd);
    EXPECT_STACK("vchan", "tcp://127.0.0.1:PORT", port);
    end();
}

/* One that takes IPv4, too. */
static int listen_at_both(int *port)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
    socklen_t len = sizeof(in6);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), off = 0;
    cr_assert_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&in6, len), 0, "%s", strerror(errno));
    cr_assert_eq(listen(fd, 8), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&in6, &len), 0);
    *port = ntohs(in6.sin6_port);
    return fd;
}

CDT_TEST(local, a_port_of_ip6_that_takes_ip4_is_another_port)
{
    if (!cdt_have_ip6())
        cr_skip_test("there is no IPv6");
    struct stat space;
    char place[160];
    int port, fd = listen_at_both(&port);
    begin();
    cr_assert_eq(stat("/proc/self/ns/net", &space), 0);
    snprintf(place, sizeof(place), "vchan://tcp-%ju/%032d-%d%s", (uintmax_t)space.st_ino, 0, port,
             getuid() == 0 ? "?share=*" : "");
    cr_assert_eq(try_to_listen(place, NULL), 0);
    EXPECT_STACK("tcp", "tcp://127.0.0.1:PORT", port);
    hang_up();
    EXPECT_STACK("vchan", "tcp://[::1]:PORT", port);
    close(fd);
    end();
}

/* The least of some, for the machine has other things to do. */
static uint64_t time_to_find(const conduit_endpoint *tcp)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 30; i++) {
        uint64_t begun = uv_hrtime();
        const conduit_endpoint *place = cdt_local_find(tcp);
        uint64_t took = uv_hrtime() - begun;
        cr_assert_not_null(place);
        conduit_endpoint_unref(place);
        least = took < least ? took : least;
    }
    return least;
}

CDT_TEST(local, how_many_ports_there_are_does_not_matter)
{
    enum { MANY = 2000 };
    static int fds[MANY];
    const conduit_endpoint *tcp;
    struct rlimit most;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &most), 0);
    most.rlim_cur = most.rlim_max;
    if (most.rlim_max < MANY + 100 || setrlimit(RLIMIT_NOFILE, &most) < 0)
        cr_skip_test("needs more descriptors");
    begin();
    serve("tcp://127.0.0.1:0?prefer_local=1", NULL);
    cr_assert_eq(conduit_endpoint_parse(conduit_listener_uri(listener, 0), &tcp, NULL), 0);
    uint64_t alone = time_to_find(tcp);
    for (int i = 0; i < MANY; i++)
        fds[i] = listen_beside(INADDR_LOOPBACK, 0, NULL);
    uint64_t among_many = time_to_find(tcp);
    cr_expect_lt(among_many, 5 * alone, "%llu ns beside %llu", (unsigned long long)among_many,
                 (unsigned long long)alone);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    conduit_endpoint_unref(tcp);
    end();
}

CDT_TEST(local, the_address_of_another_machine_is_left_alone)
{
    char uri[64];
    const conduit_endpoint *there;
    begin();
    int port = serve("tcp://0.0.0.0:0?prefer_local=1", NULL);
    static const char *const elsewhere[] = {"192.0.2.1", "[2001:db8::1]", "[::ffff:127.0.0.1]"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(uri, sizeof(uri), "tcp://%s:%d", elsewhere[i], port);
        cr_assert_eq(conduit_endpoint_parse(uri, &there, NULL), 0);
        cr_expect_null(cdt_local_find(there), "%s", uri);
        conduit_endpoint_unref(there);
    }
    end();
}

/* One elsewhere, and more of this machine than anybody needs. */
static void start_crowd(conduit_query *query, void *state)
{
    enum { MANY = 500 };
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(0xc0000201)}};
    conduit_query_add_address(query, (const struct sockaddr *)&at, -1);
    for (uint32_t i = 1; i <= MANY; i++) {
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK + i);
        conduit_query_add_address(query, (const struct sockaddr *)&at, -1);
    }
    conduit_query_done(query, 0, NULL, 0, NULL);
}

static void on_crowd(conduit_resolution *resolution, const conduit_answer *answers, size_t n,
                     const conduit_error *why, void *user)
{
    *(size_t *)user = n;
}

CDT_TEST(local, places_count_among_the_answers_that_a_name_may_have)
{
    static const conduit_resolver crowd = {.name = "crowd", .start = start_crowd};
    size_t n = 0;
    char uri[64];
    begin();
    snprintf(uri, sizeof(uri), "tcp://crowd.example:%d",
             serve("tcp://0.0.0.0:0?prefer_local=1", NULL));
    cr_assert_eq(conduit_ctx_add_resolver(cdt_ctx, &crowd), 0);
    cr_assert_eq(conduit_resolve(cdt_ctx, uri, &options, on_crowd, &n, NULL), 0);
    while (n == 0)
        cdt_turns_within(1);
    cr_expect(n > 64 && n <= 256, "%zu answers", n);
    end();
}

CDT_TEST(local, of_several_on_one_port_the_first_has_the_place_and_the_others_listen_too)
{
    begin();
    char uri[96];
    conduit_listener *first;
    int port = serve("tcp://127.0.0.1:0?prefer_local=1&reuse_port=1", NULL);
    first = listener;
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d?prefer_local=1&reuse_port=1", port);
    cr_assert_eq(try_to_listen(uri, NULL), 0);
    cr_expect_not_null(conduit_listener_uri(first, 1));
    cr_expect_null(conduit_listener_uri(listener, 1));
    EXPECT_STACK("vchan", "tcp://127.0.0.1:PORT", port);
    end();
}

/* ---- what the peer would miss ---- */

CDT_TEST(local, what_speaks_of_addresses_stays_on_tcp)
{
    begin();
    int port = serve("tcp://127.0.0.1:0?prefer_local=1&proxy_from=127.0.0.1", NULL);
    cr_expect_null(conduit_listener_uri(listener, 1));
    EXPECT_STACK("tcp", "tcp://127.0.0.1:PORT?proxy_send=2", port);
    hang_up();
    conduit_listener_close(listener);
    port = serve("tcp://127.0.0.1:0?prefer_local=1", NULL);
    EXPECT_STACK("tcp", "tcp://127.0.0.1:PORT?bind=127.0.0.1", port);
    hang_up();
    EXPECT_STACK("tcp", "tcp://127.0.0.1:PORT?interface=lo", port);
    end();
}

CDT_TEST(local, tls_is_the_same_over_both)
{
    CDT_SKIP_WITHOUT_TLS();
    begin();
    int port = serve("tls://127.0.0.1:0?prefer_local=1&alpn=http/1.1", cdt_server_tls());
    options.tls = cdt_client_tls();
    EXPECT_STACK("tls+vchan", "https://127.0.0.1:PORT/", port);
    if (client.opened) {
        cr_expect_str_eq(conduit_conn_info(client.conn)->tls->name, "127.0.0.1");
        cr_expect_str_eq(conduit_conn_info(client.conn)->tls->verify, "full");
        cr_expect_str_eq(conduit_conn_info(client.conn)->tls->alpn, "http/1.1");
    }
    hang_up();
    options.name = "b.example";
    EXPECT_STACK("ETRUST", "https://127.0.0.1:PORT/", port);
    cr_expect_eq(conduit_error_count(client.why), 2, "over both: %s", cdt_side_text(&client));
    end();
}

CDT_TEST(local, what_the_filter_keeps_away_is_not_reached_in_another_way)
{
    begin();
    int port = serve("tcp://127.0.0.1:0?prefer_local=1", NULL);
    snprintf(refused_prefix, sizeof(refused_prefix), "tcp://127.");
    EXPECT_STACK("EACCESS", "tcp://127.0.0.1:PORT", port);
    cr_expect(!server.opened);
    snprintf(refused_prefix, sizeof(refused_prefix), "vchan:");
    EXPECT_STACK("tcp", "tcp://127.0.0.1:PORT", port);
    end();
}

/* The second is turned away there, and goes by TCP: where it is one from another place. */
CDT_TEST(local, a_limit_on_connections_from_one_peer_holds_in_shared_memory_too)
{
    static struct cdt_side first;
    const conduit_listen_options how = {.prefer_local = true, .max_per_peer = 1};
    begin();
    cr_assert_eq(conduit_listen(cdt_ctx, "tcp://127.0.0.1:0", &how, NULL, NULL, &listener), 0);
    int port = cdt_port_of(conduit_listener_uri(listener, 0));
    EXPECT_STACK("vchan", "tcp://127.0.0.1:PORT", port);
    conduit_conn_set_user(client.conn, &first);
    first = client;
    client = (struct cdt_side){0};
    EXPECT_STACK("tcp", "tcp://127.0.0.1:PORT", port);
    cr_expect_not_null(conduit_conn_info(client.conn)->failed);
    end();
    cdt_side_clear(&first);
}

/* To the place beside a port of the loopback, and not a word. */
static int silent_beside(int port)
{
    struct stat space;
    struct sockaddr_un place = {.sun_family = AF_UNIX};
    bool root = getuid() == 0;
    cr_assert_eq(stat("/proc/self/ns/net", &space), 0);
    int n = snprintf(place.sun_path, sizeof(place.sun_path), "%s%s/tcp-%ju.0100007F-%d.vchan",
                     root ? "/tmp/conduit-0" : cdt_test_directory(), root ? ".shared" : "/conduit",
                     (uintmax_t)space.st_ino, port);
    cr_assert_lt(n, (int)sizeof(place.sun_path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&place, sizeof(place)), 0, "%s: %s", place.sun_path,
                 strerror(errno));
    return fd;
}

CDT_TEST(local, who_is_silent_in_shared_memory_keeps_nobody_from_tcp)
{
    enum { MOST = 4, SILENT = MOST + 2 };
    const conduit_listen_options how = {.prefer_local = true, .max_pending = MOST};
    conduit_counters counters;
    int fds[SILENT];
    begin();
    cr_assert_eq(try_to_listen("tcp://127.0.0.1:0", &how), 0);
    int port = cdt_port_of(conduit_listener_uri(listener, 0));
    for (int i = 0; i < SILENT; i++)
        fds[i] = silent_beside(port);
    cdt_turn(5);
    conduit_listener_counters(listener, &counters);
    cr_expect_eq(counters.opening, MOST, "the others wait");
    EXPECT_STACK("tcp", "tcp://127.0.0.1:PORT?prefer_local=0", port);
    hang_up();
    conduit_listener_counters(listener, &counters);
    cr_expect_eq(counters.failed, 0, "nobody was given up for it");
    for (int i = 0; i < SILENT; i++)
        close(fds[i]);
    EXPECT_STACK("vchan", "tcp://127.0.0.1:PORT", port);
    end();
}

/* ---- other users, other networks ---- */

/* What a child does: listen, say at which port, and serve for ever; or connect, and say how. */
static void run_child(const char *listening, const char *dialling, int tell)
{
    char text[64] = "";
    begin();
    if (listening != NULL)
        snprintf(text, sizeof(text), "%d", serve(listening, NULL));
    else
        snprintf(text, sizeof(text), "%s", stack_to(dialling, 0));
    if (write(tell, text, sizeof(text)) != sizeof(text))
        _exit(4);
    for (;;)
        cdt_turns_within(1000);
}

/* As `user`, unless that is -1; in a network of its own if `apart`. What it says goes to `told`. */
static pid_t start_child(const char *listening, const char *dialling, long user, bool apart,
                         char told[64])
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || (apart && unshare(CLONE_NEWNET) < 0) ||
            (apart && system("ip link set lo up") != 0) ||
            (user >= 0 && setresuid((uid_t)user, (uid_t)user, (uid_t)user) < 0))
            _exit(3);
        run_child(listening, dialling, ends[1]);
    }
    close(ends[1]);
    cr_assert_eq(read(ends[0], told, 64), 64, "the child came to nothing");
    close(ends[0]);
    return child;
}

static void kill_child(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

#define SKIP_UNLESS_ROOT()                                                                         \
    do {                                                                                           \
        if (getuid() != 0)                                                                         \
            cr_skip_test("needs to be root, to be somebody else");                                 \
    } while (0)

CDT_TEST(local, the_same_user_meets_between_processes)
{
    char told[64];
    setenv("XDG_RUNTIME_DIR", cdt_test_directory(), 1);
    pid_t child = start_child("tcp://127.0.0.1:0?prefer_local=1", NULL, -1, false, told);
    begin();
    EXPECT_STACK("vchan", "tcp://127.0.0.1:PORT", atoi(told));
    kill_child(child);
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_ERESET);
    EXPECT_STACK("EREFUSED", "tcp://127.0.0.1:PORT", atoi(told));
    end();
}

CDT_TEST(local, another_users_port_is_tcp_even_for_root)
{
    SKIP_UNLESS_ROOT();
    char told[64];
    chmod(cdt_test_directory(), 0777);
    pid_t child = start_child("tcp://127.0.0.1:0?prefer_local=1", NULL, NOBODY, false, told);
    begin();
    EXPECT_STACK("tcp", "tcp://127.0.0.1:PORT", atoi(told));
    kill_child(child);
    end();
}

CDT_TEST(local, roots_port_leads_other_users_into_shared_memory)
{
    SKIP_UNLESS_ROOT();
    char told[64], uri[64];
    int port = cdt_closed_port();
    chmod(cdt_test_directory(), 0777);
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d?prefer_local=1", port);
    pid_t root = start_child(uri, NULL, -1, false, told);
    pid_t other = start_child(NULL, uri, NOBODY, false, told);
    cr_expect_str_eq(told, "vchan", "%s", told);
    kill_child(other);
    kill_child(root);
}

/* It has made the place that root's port would have, and root's has none. */
CDT_TEST(local, an_impostors_place_beside_roots_port_is_not_taken)
{
    SKIP_UNLESS_ROOT();
    char told[64], uri[64], place[160];
    struct stat space;
    int port = cdt_closed_port();
    chmod(cdt_test_directory(), 0777);
    cr_assert_eq(stat("/proc/self/ns/net", &space), 0);
    snprintf(place, sizeof(place), "vchan://tcp-%ju/0100007F-%d?share=*", (uintmax_t)space.st_ino,
             port);
    pid_t impostor = start_child(place, NULL, NOBODY, false, told);
    begin();
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", port);
    serve(uri, NULL);
    EXPECT_STACK("tcp", "tcp://127.0.0.1:PORT", port);
    kill_child(impostor);
    end();
}

/* What goes for root goes for everybody: it is not the shared place that they meet at. */
CDT_TEST(local, any_user_meets_its_own_and_no_other)
{
    SKIP_UNLESS_ROOT();
    char told[64], uri[64];
    int port = cdt_closed_port();
    chmod(cdt_test_directory(), 0777);
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d?prefer_local=1", port);
    for (int same = 0; same < 2; same++) {
        pid_t theirs = start_child(uri, NULL, NOBODY, false, told);
        pid_t other = start_child(NULL, uri, NOBODY - 1 + same, false, told);
        cr_expect_str_eq(told, same ? "vchan" : "tcp", "%s", told);
        kill_child(other);
        kill_child(theirs);
    }
}

/* It has the port, and root's places for it are there from a listener that root has had, say. */
CDT_TEST(local, an_impostors_port_does_not_lead_to_roots_place)
{
    SKIP_UNLESS_ROOT();
    char told[64], place[160];
    struct stat space;
    chmod(cdt_test_directory(), 0777);
    pid_t impostor = start_child("tcp://127.0.0.1:0", NULL, NOBODY, false, told);
    int port = atoi(told);
    begin();
    cr_assert_eq(stat("/proc/self/ns/net", &space), 0);
    snprintf(place, sizeof(place), "vchan://tcp-%ju/0100007F-%d?share=*", (uintmax_t)space.st_ino,
             port);
    cr_assert_eq(try_to_listen(place, NULL), 0);
    place[strcspn(place, "?")] = '\0';
    cr_assert_eq(try_to_listen(place, NULL), 0);
    EXPECT_STACK("tcp", "tcp://127.0.0.1:PORT", port);
    kill_child(impostor);
    end();
}

CDT_TEST(local, a_port_of_another_network_is_another_port)
{
    SKIP_UNLESS_ROOT();
    char told[64], uri[64];
    int port = cdt_closed_port();
    setenv("XDG_RUNTIME_DIR", cdt_test_directory(), 1);
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d?prefer_local=1", port);
    pid_t child = start_child(uri, NULL, -1, true, told);
    begin();
    EXPECT_STACK("EREFUSED", "tcp://127.0.0.1:PORT", port);
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", port);
    serve(uri, NULL);
    EXPECT_STACK("tcp", "tcp://127.0.0.1:PORT", port);
    kill_child(child);
    end();
}
