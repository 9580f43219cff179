/* SPDX-License-Identifier: ISC */
/*
 * See harness.h. The certificates are made once, by the process that runs the tests; a test is a
 * process of its own and finds them by an environment variable.
 */
#include "harness.h"
#include <arpa/inet.h>
#include <criterion/hooks.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PIECE = 60 * 1000 }; /* not a divisor of any buffer */

uv_loop_t cdt_loop;
conduit_ctx *cdt_ctx;

/* ---- the loop and the context ---- */

void cdt_open_ctx(const conduit_ctx_options *options)
{
    conduit_ctx_options mine = options != NULL ? *options : (conduit_ctx_options){0};
    mine.loop = &cdt_loop;
    cr_assert_eq(uv_loop_init(&cdt_loop), 0);
    cdt_ctx = conduit_ctx_new(&mine);
    cr_assert_not_null(cdt_ctx);
}

void cdt_close_ctx(void)
{
    conduit_ctx_free(cdt_ctx);
    cdt_ctx = NULL;
    /* A turn that waits is ended by a deadline of the library, at the latest. */
    for (int i = 0; i < 1000 && uv_loop_alive(&cdt_loop); i++)
        uv_run(&cdt_loop, UV_RUN_ONCE);
    cr_expect(!uv_loop_alive(&cdt_loop), "a freed context keeps its loop alive");
    uv_run(&cdt_loop, UV_RUN_NOWAIT);
    cdt_test_loop_empty(&cdt_loop);
    cr_expect_eq(uv_loop_close(&cdt_loop), 0);
}

void cdt_turn(int n)
{
    while (n-- > 0)
        uv_run(&cdt_loop, UV_RUN_NOWAIT);
}

static void on_turn(uv_prepare_t *prepare)
{
    ++*(unsigned *)prepare->data;
}

static void on_over(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void on_gone(uv_handle_t *handle)
{
    handle->data = NULL;
}

unsigned cdt_turns_within(unsigned ms)
{
    uv_prepare_t prepare;
    uv_timer_t timer;
    unsigned turns = 0;
    bool over = false;
    uv_prepare_init(&cdt_loop, &prepare);
    uv_timer_init(&cdt_loop, &timer);
    prepare.data = &turns;
    timer.data = &over;
    uv_prepare_start(&prepare, on_turn);
    uv_update_time(&cdt_loop);
    uv_timer_start(&timer, on_over, ms, 0);
    while (!over)
        uv_run(&cdt_loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&prepare, on_gone);
    uv_close((uv_handle_t *)&timer, on_gone);
    while (prepare.data != NULL || timer.data != NULL)
        uv_run(&cdt_loop, UV_RUN_NOWAIT);
    return turns;
}

double cdt_cpu_seconds(void)
{
    struct rusage usage;
    cr_assert_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- sides ---- */

void cdt_pattern(unsigned char *bytes, size_t offset, size_t n)
{
    for (size_t i = offset; i < offset + n; i++)
        bytes[i - offset] = (unsigned char)(i * 7 + (i >> 8) * 13 + (i >> 16));
}

static void note(struct cdt_side *side, conduit_conn *conn, char event)
{
    size_t n = strlen(side->story);
    cr_assert(!side->closed, "%c came after on_close (\"%s\")", event, side->story);
    cr_assert(!side->ended || (event != 'd' && event != 'e'), "%c came after on_end (\"%s\")",
              event, side->story);
    cr_assert(side->opened || event == 'o' || event == 'c', "%c came before on_open", event);
    if ((event != 'd' && event != 'r') || n == 0 || side->story[n - 1] != event)
        if (n + 1 < sizeof(side->story))
            side->story[n] = event;
    side->opened |= event == 'o';
    side->drained |= event == 'r';
    side->drains += event == 'r';
    side->ended |= event == 'e';
    side->closed = event == 'c';
    side->conn = conn;
}

/* Last of each event: the test may free the connection here. */
static void tell(struct cdt_side *side, char event)
{
    if (side->react != NULL)
        side->react(side, event);
}

static void pump(struct cdt_side *side)
{
    static unsigned char piece[PIECE];
    while (side->sent < side->to_send) {
        size_t rest = side->to_send - side->sent;
        size_t n = rest < PIECE ? rest : PIECE;
        cdt_pattern(piece, side->sent, n);
        int code = conduit_write(side->conn, piece, n);
        if (code == CONDUIT_ECLOSED)
            return; /* on_close will say why */
        cr_assert_geq(code, 0, "a write of %zu bytes: %s", n, conduit_code_name(code));
        side->sent += n;
        if (code == 1)
            return;
    }
    if (side->ends_after)
        conduit_end(side->conn);
}

void cdt_side_send(struct cdt_side *side, size_t n)
{
    side->to_send += n;
    pump(side);
}

static void on_open(conduit_conn *conn, void *user)
{
    struct cdt_side *side = user;
    note(side, conn, 'o');
    tell(side, 'o');
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    static unsigned char wanted[1024 * 1024];
    struct cdt_side *side = user;
    cr_assert(n > 0 && n <= sizeof(wanted));
    note(side, conn, 'd');
    cdt_pattern(wanted, side->received, n);
    side->garbled |= memcmp(data, wanted, n) != 0;
    side->received += n;
    side->complete = side->received >= side->expected;
    tell(side, 'd');
}

static void on_drain(conduit_conn *conn, void *user)
{
    struct cdt_side *side = user;
    note(side, conn, 'r');
    pump(side);
    tell(side, 'r');
}

static void on_end(conduit_conn *conn, void *user)
{
    struct cdt_side *side = user;
    note(side, conn, 'e');
    if (!side->stays_open)
        conduit_end(conn);
    tell(side, 'e');
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct cdt_side *side = user;
    note(side, conn, 'c');
    side->why = conduit_error_ref(why);
    tell(side, 'c');
    side->conn = NULL;
}

const conduit_handler cdt_side_handler = {
    .on_open = on_open,
    .on_data = on_data,
    .on_drain = on_drain,
    .on_end = on_end,
    .on_close = on_close,
};

void cdt_side_expect(struct cdt_side *side, size_t n)
{
    side->expected = n;
    side->complete = side->received >= n;
}

void cdt_side_clear(struct cdt_side *side)
{
    conduit_error_unref(side->why);
    *side = (struct cdt_side){0};
}

conduit_code cdt_side_code(const struct cdt_side *side)
{
    return conduit_error_code(side->why);
}

const char *cdt_side_text(const struct cdt_side *side)
{
    return side->why != NULL ? conduit_error_text(side->why) : "no error";
}

/* ---- addresses ---- */

union address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static union address loopback(int family, int port, socklen_t *len)
{
    union address address = {0};
    if (family == AF_INET) {
        address.in = (struct sockaddr_in){.sin_family = AF_INET,
                                          .sin_port = htons((uint16_t)port),
                                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        *len = sizeof(address.in);
    } else {
        address.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
                                            .sin6_port = htons((uint16_t)port),
                                            .sin6_addr = IN6ADDR_LOOPBACK_INIT};
        *len = sizeof(address.in6);
    }
    return address;
}

/* A socket bound to a free port, or -1. */
static int bind_free(int family, int *port)
{
    socklen_t len;
    union address address = loopback(family, *port, &len);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (bind(fd, &address.any, len) < 0 || getsockname(fd, &address.any, &len) < 0)) {
        close(fd);
        return -1;
    }
    *port = ntohs(family == AF_INET ? address.in.sin_port : address.in6.sin6_port);
    return fd;
}

bool cdt_have_ip6(void)
{
    int port = 0, fd = bind_free(AF_INET6, &port);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

int cdt_closed_port(void)
{
    int port = 0, fd = bind_free(AF_INET, &port);
    cr_assert_geq(fd, 0);
    close(fd);
    return port;
}

int cdt_raw_listen(int family, int backlog, int *port)
{
    int fd = bind_free(family, port);
    cr_assert_geq(fd, 0);
    cr_assert_eq(listen(fd, backlog), 0);
    return fd;
}

int cdt_raw_connect(int port)
{
    socklen_t len;
    union address address = loopback(AF_INET, port, &len);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, &address.any, len), 0);
    return fd;
}

int cdt_port_of(const char *uri)
{
    const conduit_uri *parsed = NULL;
    cr_assert_eq(conduit_uri_parse(uri, &parsed, NULL), 0, "%s", uri);
    int port = conduit_uri_port(parsed);
    conduit_uri_unref(parsed);
    return port;
}

/* ---- certificates ---- */

static char certs[] = "/tmp/conduit-certs-XXXXXX";

static bool run(const char *program, const char *argument)
{
    char command[512];
    snprintf(command, sizeof(command), "%s %s", program, argument);
    return system(command) == 0;
}

bool cdt_have_tls(void)
{
    conduit_tls *tls = conduit_tls_new();
    int code = conduit_tls_set(tls, "verify", "full", NULL);
    conduit_tls_unref(tls);
    return code == 0;
}

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
    if (!cdt_have_tls())
        return;
    if (mkdtemp(certs) == NULL || !run(CDT_TEST_CERTS "/make-certs", certs)) {
        fprintf(stderr, "the test certificates cannot be made\n");
        exit(1);
    }
    setenv("CDT_TEST_CERTS_MADE", certs, 1);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
    if (cdt_have_tls() && !run("rm -rf", certs))
        fprintf(stderr, "%s is left behind\n", certs);
}

const char *cdt_cert(const char *name)
{
    static char paths[2][128];
    static unsigned next;
    char *path = paths[next++ % 2];
    snprintf(path, sizeof(paths[0]), "%s/%s", getenv("CDT_TEST_CERTS_MADE"), name);
    return path;
}

static void set(conduit_tls *tls, const char *key, const char *file)
{
    const conduit_error *why = NULL;
    int code = conduit_tls_set(tls, key, cdt_cert(file), &why);
    cr_assert_eq(code, 0, "%s: %s", key, why != NULL ? conduit_error_text(why) : "");
}

conduit_tls *cdt_server_tls(void)
{
    conduit_tls *tls = cdt_have_tls() ? conduit_tls_new() : NULL;
    if (tls != NULL) {
        set(tls, "cert", "server.pem");
        set(tls, "key", "server.key");
    }
    return tls;
}

conduit_tls *cdt_client_tls(void)
{
    conduit_tls *tls = cdt_have_tls() ? conduit_tls_new() : NULL;
    if (tls != NULL)
        set(tls, "ca", "ca.pem");
    return tls;
}
