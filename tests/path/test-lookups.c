/* SPDX-License-Identifier: ISC */
/*
 * A thousand lookups under way, canceled from within callbacks, in every order.
 *
 * The name server is on the same loop. It keeps what it is asked until the test has it answer: the
 * first lookup alone, or all. Whoever was canceled is not called any more, not even by answers that
 * come later; and every other is called once, also when the context ends in the middle of it.
 */
#include "harness.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { N = 1000, AT_ONCE = 15, HEAD = 12, MESSAGE_SIZE = 512, MOST_HELD = 8 * N };

struct lookup {
    conduit_resolution *resolution; /* NULL: over, or canceled */
    int told;
    bool canceled;
    conduit_code code;
};

struct held {
    struct sockaddr_in from;
    size_t n;
    unsigned char bytes[MESSAGE_SIZE];
};

static struct lookup lookups[N];
static void (*on_first)(void); /* what the first to be told does */
static size_t n_started, n_told;
static bool all_started, first_told, all_told;

static uv_udp_t server;
static uv_timer_t pace;
static struct held held[MOST_HELD];
static size_t n_held, n_answered;
static bool answers_first, answers_all;
static char server_address[32];

/* ---- the name server */

/* The question, and for A an address that holds for 300 s. Returns the length of the reply that
 * `query` becomes. */
static size_t make_reply(unsigned char *bytes, size_t n)
{
    static const unsigned char address[] = {0xc0, HEAD, 0, 1, 0,   1, 0, 0,
                                            1,    44,   0, 4, 192, 0, 2, 1};
    size_t end = HEAD;
    while (end < n && bytes[end] != 0)
        end += bytes[end] + 1u;
    bool v4 = bytes[end + 2] == 1;
    end += 5;
    memcpy(bytes + 2, v4 ? "\x81\x80\0\1\0\1\0\0\0\0" : "\x81\x80\0\1\0\0\0\0\0\0", 10);
    if (v4)
        memcpy(bytes + end, address, sizeof(address));
    return end + (v4 ? sizeof(address) : 0);
}

/* "n0.test" comes first. */
static bool is_first(const struct held *query)
{
    return memcmp(query->bytes + HEAD, "\2n0\4test", 8) == 0;
}

static void answer(struct held *query)
{
    uv_buf_t buf = uv_buf_init((char *)query->bytes, (unsigned)make_reply(query->bytes, query->n));
    uv_udp_try_send(&server, &buf, 1, (const struct sockaddr *)&query->from);
    n_answered++;
}

/* As many at once as libuv reads in a turn. */
static void answer_some(void)
{
    size_t n = 0;
    for (size_t i = 0; i < n_held && n < AT_ONCE; i++) {
        if (held[i].n == 0 || !(answers_all || (answers_first && is_first(&held[i]))))
            continue;
        answer(&held[i]);
        held[i].n = 0;
        n++;
    }
}

static void give_room(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    static char room[MESSAGE_SIZE];
    *buf = uv_buf_init(room, sizeof(room) - 32);
}

static void on_query(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                     unsigned flags)
{
    if (n <= HEAD || n_held == MOST_HELD)
        return;
    struct held *query = &held[n_held++];
    memcpy(&query->from, from, sizeof(query->from));
    memcpy(query->bytes, buf->base, (size_t)n);
    query->n = (size_t)n;
}

static int bind_server(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, n), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    snprintf(server_address, sizeof(server_address), "127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}

/* ---- the lookups */

static void on_done(conduit_resolution *resolution, const conduit_answer *answers, size_t n,
                    const conduit_error *why, void *user)
{
    struct lookup *lookup = user;
    cr_expect(!lookup->canceled, "%td is told after it was canceled", lookup - lookups);
    cr_expect_eq(++lookup->told, 1, "%td is told again", lookup - lookups);
    cr_expect_eq(n > 0, why == NULL);
    lookup->code = why != NULL ? conduit_error_code(why) : CONDUIT_OK;
    lookup->resolution = NULL;
    n_told++;
    if (!first_told && on_first != NULL)
        on_first();
    first_told = true;
}

static void cancel(size_t i)
{
    if (lookups[i].resolution == NULL)
        return;
    conduit_resolution_cancel(lookups[i].resolution);
    lookups[i].resolution = NULL;
    lookups[i].canceled = true;
}

static void start_some(void)
{
    for (size_t n = 0; n < AT_ONCE && n_started < N; n++, n_started++) {
        char uri[64];
        snprintf(uri, sizeof(uri), "tcp://n%zu.test:80", n_started);
        cr_assert_eq(conduit_resolve(cdt_ctx, uri, NULL, on_done, &lookups[n_started],
                                     &lookups[n_started].resolution),
                     0);
    }
    all_started = n_started == N && n_held >= N;
}

static void on_pace(uv_timer_t *timer)
{
    if (cdt_ctx != NULL)
        start_some();
    answer_some();
    all_told = n_told == N;
}

/* All under way, and nobody told. */
static void begin(void)
{
    int fd = bind_server();
    const conduit_ctx_options options = {.dns_servers = server_address, .hosts_file = ""};
    cdt_open_ctx(&options);
    cr_assert_eq(uv_udp_init(&cdt_loop, &server), 0);
    cr_assert_eq(uv_udp_open(&server, fd), 0);
    cr_assert_eq(uv_udp_recv_start(&server, give_room, on_query), 0);
    cr_assert_eq(uv_timer_init(&cdt_loop, &pace), 0);
    cr_assert_eq(uv_timer_start(&pace, on_pace, 0, 1), 0);
    cdt_await(&all_started);
    cr_expect_eq(n_told, 0);
}

/* Answers that come now are for nobody. */
static void end(void)
{
    size_t before = n_told;
    answers_all = true;
    cdt_turns_within(100);
    cr_expect_eq(n_told, before, "%zu were told late", n_told - before);
    uv_close((uv_handle_t *)&server, NULL);
    uv_close((uv_handle_t *)&pace, NULL);
    cdt_close_ctx();
}

/* The first is told, and cancels the others as `how` says: nobody else is told. */
static void cancel_from_the_first(void (*how)(void))
{
    on_first = how;
    begin();
    answers_first = true;
    cdt_await(&first_told);
    cr_expect_eq(n_told, 1);
    end();
    for (size_t i = 1; i < N; i++)
        cr_expect(lookups[i].canceled && lookups[i].told == 0, "%zu", i);
}

static void cancel_forward(void)
{
    for (size_t i = 0; i < N; i++)
        cancel(i);
}

static void cancel_backward(void)
{
    for (size_t i = N; i-- > 0;)
        cancel(i);
}

/* Every one of them once, for 617 and N have no factor in common. */
static void cancel_here_and_there(void)
{
    for (size_t i = 0; i < N; i++)
        cancel(i * 617 % N);
}

CDT_TEST(lookups, canceled_by_the_first_from_first_to_last)
{
    cancel_from_the_first(cancel_forward);
}

CDT_TEST(lookups, canceled_by_the_first_from_last_to_first)
{
    cancel_from_the_first(cancel_backward);
}

CDT_TEST(lookups, canceled_by_the_first_here_and_there)
{
    cancel_from_the_first(cancel_here_and_there);
}

static void cancel_and_flush(void)
{
    for (size_t i = 0; i < N; i += 2)
        cancel(i);
    conduit_ctx_flush_names(cdt_ctx);
    for (size_t i = 1; i < N; i += 2)
        cancel(i);
}

CDT_TEST(lookups, canceled_by_the_first_with_names_flushed_between)
{
    cancel_from_the_first(cancel_and_flush);
}

/* ---- each cancels another */

static void on_done_cancel_next(conduit_resolution *resolution, const conduit_answer *answers,
                                size_t n, const conduit_error *why, void *user)
{
    struct lookup *lookup = user;
    on_done(resolution, answers, n, why, user);
    cancel((size_t)(lookup - lookups + 1) % N);
    first_told = false;
}

/* What is known: that there is no IPv6 is not, for nobody said for how long. */
static void start_all(conduit_resolved_fn fn)
{
    const conduit_connect_options known = {.family = AF_INET};
    for (struct lookup *at = lookups; at < lookups + N; at++) {
        char uri[64];
        snprintf(uri, sizeof(uri), "tcp://n%td.test:80", at - lookups);
        cr_assert_eq(conduit_resolve(cdt_ctx, uri, &known, fn, at, &at->resolution), 0);
    }
}

static size_t count_over(void)
{
    size_t n = 0;
    for (size_t i = 0; i < N; i++)
        n += lookups[i].resolution == NULL;
    return n;
}

/* All are known from before, so that all are told in a row, from the run-queue. */
CDT_TEST(lookups, each_cancels_the_next_while_all_are_told)
{
    begin();
    answers_all = true;
    cdt_await(&all_told);
    memset(lookups, 0, sizeof(lookups));
    n_told = 0;
    size_t n_asked = n_held;
    start_all(on_done_cancel_next);
    while (count_over() < N)
        uv_run(&cdt_loop, UV_RUN_ONCE);
    end();
    cr_expect_eq(n_held, n_asked, "they were not known");
    for (size_t i = 0; i < N; i++)
        cr_expect_eq(lookups[i].told + lookups[i].canceled, 1, "%zu", i);
    cr_expect(n_told < N && n_told >= N / 2, "%zu were told", n_told);
}

/* ---- the end of the context */

static void free_context(void)
{
    conduit_ctx_free(cdt_ctx);
    cdt_ctx = NULL;
}

CDT_TEST(lookups, the_context_ends_in_the_first)
{
    on_first = free_context;
    begin();
    answers_first = true;
    cdt_await(&all_told);
    end();
    for (size_t i = 0; i < N; i++) {
        cr_expect_eq(lookups[i].told, 1, "%zu", i);
        cr_expect(i == 0 || lookups[i].code == CONDUIT_ECANCELED, "%zu: %d", i, lookups[i].code);
    }
}

static void cancel_half_and_free(void)
{
    for (size_t i = 0; i < N; i += 2)
        cancel(i);
    free_context();
    for (size_t i = 1; i < N; i += 4)
        cancel(i);
}

CDT_TEST(lookups, half_are_canceled_and_the_context_ends_in_the_first)
{
    on_first = cancel_half_and_free;
    begin();
    answers_first = true;
    cdt_await(&first_told);
    end();
    for (size_t i = 1; i < N; i++)
        cr_expect_eq(lookups[i].told + lookups[i].canceled, 1, "%zu", i);
}
