/* SPDX-License-Identifier: ISC */
/*
 * Connections that come and go: connect, echo, close, round after round on every stack. Nothing may
 * pile up: no descriptor, no handle on the loop, no memory.
 *
 * CONDUIT_CHURN is the number of rounds: by default a few hundred, 10,000 for the deep run.
 */
#include "harness.h"
#include <criterion/hooks.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { WARM_UP = 100, MOST_GROWTH = 4 * 1024, MESSAGE = 3000 };

#if defined(__SANITIZE_ADDRESS__)
enum { COUNTS_MEMORY = 0 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { COUNTS_MEMORY = 0 };
#else
enum { COUNTS_MEMORY = 1 };
#endif
#else
enum { COUNTS_MEMORY = 1 };
#endif

/* malloc counts as in use what its caches per thread hold, and those take thousands of rounds to
 * fill: without them a leak of a byte a round shows. A test is a process of its own, which reads
 * this when it starts. */
ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
    setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0", 1);
}

/* What there is of each thing that could leak. */
struct count {
    int descriptors, handles, rings; /* the last: memory of vchans, mapped */
    size_t memory;
};

static void count_handle(uv_handle_t *handle, void *arg)
{
    ++*(int *)arg;
}

static int count_rings(void)
{
    char line[512];
    int n = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL)
        n += strstr(line, "conduit-vchan") != NULL;
    if (maps != NULL)
        fclose(maps);
    return n;
}

static struct count take_count(void)
{
    struct count count = {.rings = count_rings()};
    struct stat info;
    for (int fd = 0; fd < 1024; fd++)
        count.descriptors += fstat(fd, &info) == 0;
    uv_walk(&cdt_loop, count_handle, &count.handles);
    count.memory = mallinfo2().uordblks;
    return count;
}

static int rounds(void)
{
    const char *text = getenv("CONDUIT_CHURN");
    int n = text != NULL ? atoi(text) : 0;
    return n > WARM_UP ? n : 500;
}

/* ---- one round ---- */

static int n_serving; /* connections that the server has */
static bool server_idle;

static void echo_open(conduit_conn *conn, void *user)
{
    n_serving++;
    server_idle = false;
}

static void echo_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    cr_assert_geq(conduit_write(conn, data, n), 0);
}

static void echo_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    server_idle = --n_serving == 0;
}

static const conduit_handler echo = {
    .on_open = echo_open, .on_data = echo_data, .on_close = echo_close};

static void leave(conduit_conn *conn, int round)
{
    switch (round % 4) {
    case 0:
        conduit_end(conn);
        break;
    case 1:
        conduit_close(conn);
        break;
    case 2:
        conduit_abort(conn);
        break;
    default:
        conduit_conn_free(conn);
        break;
    }
}

static void come_and_go(const char *uri, const conduit_connect_options *options, int round)
{
    static struct cdt_side client;
    cr_assert_eq(conduit_connect(cdt_ctx, uri, options, &cdt_side_handler, &client, &client.conn),
                 0);
    cdt_side_expect(&client, MESSAGE);
    cdt_side_send(&client, MESSAGE);
    cdt_await(&client.complete);
    cr_assert(!client.garbled);
    leave(client.conn, round);
    if (round % 4 != 3)
        cdt_await(&client.closed);
    cdt_await(&server_idle);
    cr_assert(round % 4 > 1 || cdt_side_code(&client) == CONDUIT_OK, "round %d: %s", round,
              cdt_side_text(&client));
    cdt_side_clear(&client);
}

/* Several at once, so that what a context keeps for reuse is there from the start. */
static void fill_pools(const char *uri, const conduit_connect_options *options)
{
    static struct cdt_side clients[8];
    for (int i = 0; i < 8; i++) {
        conduit_connect(cdt_ctx, uri, options, &cdt_side_handler, &clients[i], &clients[i].conn);
        cdt_side_expect(&clients[i], MESSAGE);
    }
    for (int i = 0; i < 8; i++)
        cdt_await(&clients[i].opened);
    for (int i = 0; i < 8; i++)
        cdt_side_send(&clients[i], MESSAGE);
    for (int i = 0; i < 8; i++) {
        cdt_await(&clients[i].complete);
        conduit_end(clients[i].conn);
        cdt_await(&clients[i].closed);
        cdt_side_clear(&clients[i]);
    }
    cdt_await(&server_idle);
}

/* ---- all of them ---- */

static void expect_no_growth(const char *uri, struct count before, struct count after)
{
    cr_expect_eq(after.descriptors, before.descriptors, "%s: %d descriptors became %d", uri,
                 before.descriptors, after.descriptors);
    cr_expect_eq(after.handles, before.handles, "%s: %d handles became %d", uri, before.handles,
                 after.handles);
    cr_expect_eq(after.rings, before.rings, "%s: %d mapped rings became %d", uri, before.rings,
                 after.rings);
    if (COUNTS_MEMORY)
        cr_expect_lt(after.memory, before.memory + MOST_GROWTH,
                     "%s: %zu bytes became %zu in %d rounds", uri, before.memory, after.memory,
                     rounds() - WARM_UP);
}

static void churn(const char *listen, bool tls)
{
    conduit_listener *listener;
    conduit_listen_options listening = {.tls = tls ? cdt_server_tls() : NULL};
    conduit_connect_options options = {.tls = tls ? cdt_client_tls() : NULL, .name = "a.example"};
    cdt_open_ctx(NULL);
    cr_assert_eq(conduit_listen(cdt_ctx, listen, &listening, &echo, NULL, &listener), 0, "%s: %s",
                 listen, conduit_error_text(conduit_ctx_error(cdt_ctx)));
    const char *uri = conduit_listener_uri(listener, 0);
    struct count before = take_count(), warm = before;
    fill_pools(uri, &options);
    for (int i = 0; i < rounds(); i++) {
        if (i == WARM_UP) {
            cdt_turn(5);
            warm = take_count();
        }
        come_and_go(uri, &options, i);
    }
    cdt_turn(5);
    struct count after = take_count();
    before.memory = warm.memory;
    expect_no_growth(uri, before, after);
    cdt_close_ctx();
    conduit_tls_unref(listening.tls);
    conduit_tls_unref(options.tls);
}

static const char *unix_uri(const char *scheme)
{
    static char uri[160];
    snprintf(uri, sizeof(uri), "%s:%s", scheme, cdt_test_path("s"));
    return uri;
}

CDT_TEST(churn, tcp)
{
    churn("tcp://127.0.0.1:0", false);
}

CDT_TEST(churn, unix_socket)
{
    churn(unix_uri("unix"), false);
}

CDT_TEST(churn, inproc)
{
    churn("inproc://x", false);
}

CDT_TEST(churn, vchan)
{
    setenv("XDG_RUNTIME_DIR", cdt_test_directory(), 1);
    churn("vchan://churn/x", false);
}

CDT_TEST(churn, shared_memory_instead_of_tcp)
{
    setenv("XDG_RUNTIME_DIR", cdt_test_directory(), 1);
    churn("tcp://127.0.0.1:0?prefer_local=1", false);
}

CDT_TEST(churn, tls_over_tcp)
{
    CDT_SKIP_WITHOUT_TLS();
    churn("tls://127.0.0.1:0", true);
}

CDT_TEST(churn, tls_over_unix)
{
    CDT_SKIP_WITHOUT_TLS();
    churn(unix_uri("tls+unix"), true);
}
