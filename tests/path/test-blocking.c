/* SPDX-License-Identifier: ISC */
/*
 * The blocking facade: a peer on a thread of its own that follows a script, or the facade's own
 * listener with both ends on one engine.
 */
#include "harness.h"
#include <conduit/blocking.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MEGA = 1024 * 1024, SOON = 60, LATE = 20000 };

static conduit_blocking *b;
static char uri[64];
static int listening;

/* ---- a peer on a thread ---- */

static pthread_t peer;
static int gate[2]; /* the test tells the peer to go on */

static void wait_at_gate(void)
{
    char byte;
    if (read(gate[0], &byte, 1) < 0)
        abort();
}

static void open_gate(void)
{
    cr_assert_eq(write(gate[1], "", 1), 1);
}

static void begin(void *(*script)(void *))
{
    int port = 0;
    const int room = 64 * 1024; /* and no more by and by */
    listening = cdt_raw_listen(AF_INET, 5, &port);
    setsockopt(listening, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", port);
    cr_assert_eq(pipe(gate), 0);
    cr_assert_eq(pthread_create(&peer, NULL, script, NULL), 0);
    const conduit_error *why = NULL;
    cr_assert_eq(conduit_blocking_connect(uri, NULL, &b, &why), 0, "%s",
                 why != NULL ? conduit_error_text(why) : "");
}

static void end(void)
{
    pthread_join(peer, NULL);
    close(listening);
    close(gate[0]);
    close(gate[1]);
}

static void *echo_all(void *arg)
{
    static char bytes[MEGA];
    int fd = accept(listening, NULL, NULL);
    ssize_t n;
    while ((n = read(fd, bytes, sizeof(bytes))) > 0)
        if (write(fd, bytes, (size_t)n) != n)
            break;
    close(fd);
    return NULL;
}

CDT_TEST(blocking, what_is_written_comes_back_and_then_the_end)
{
    char answer[16];
    begin(echo_all);
    cr_expect_eq(conduit_blocking_write(b, "hello", 5, LATE), 5);
    cr_expect_eq(conduit_blocking_read(b, answer, 2, LATE), 2);
    cr_expect_eq(memcmp(answer, "he", 2), 0);
    cr_expect_eq(conduit_blocking_read(b, answer, sizeof(answer), LATE), 3);
    cr_expect_eq(memcmp(answer, "llo", 3), 0);
    cr_expect_str_eq(conduit_blocking_info(b)->stack, "tcp");
    cr_expect_eq(conduit_blocking_end(b, LATE), 0);
    cr_expect_eq(conduit_blocking_write(b, "x", 1, LATE), CONDUIT_ECLOSED);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(conduit_blocking_read(b, answer, sizeof(answer), LATE), 0);
    cr_expect_null(conduit_blocking_error(b));
    cr_expect_eq(conduit_blocking_close(b, LATE), 0);
    end();
}

static void *say_when_told(void *arg)
{
    int fd = accept(listening, NULL, NULL);
    wait_at_gate();
    if (write(fd, "late", 4) != 4)
        abort();
    wait_at_gate();
    close(fd);
    return NULL;
}

CDT_TEST(blocking, a_read_that_times_out_leaves_the_connection_usable)
{
    char answer[16];
    begin(say_when_told);
    for (int i = 0; i < 3; i++) {
        uint64_t since = uv_hrtime();
        cr_expect_eq(conduit_blocking_read(b, answer, sizeof(answer), SOON), CONDUIT_ETIMEDOUT);
        cr_expect_geq(uv_hrtime() - since, (SOON - 1) * 1000000ULL);
        cr_expect_null(conduit_blocking_error(b));
    }
    open_gate();
    cr_expect_eq(conduit_blocking_read(b, answer, sizeof(answer), LATE), 4);
    cr_expect_eq(conduit_blocking_read(b, answer, sizeof(answer), SOON), CONDUIT_ETIMEDOUT);
    open_gate();
    cr_expect_eq(conduit_blocking_read(b, answer, sizeof(answer), CONDUIT_FOREVER), 0);
    cr_expect_eq(conduit_blocking_close(b, LATE), 0);
    end();
}

static size_t heard;

static void *read_when_told(void *arg)
{
    static char bytes[MEGA];
    int fd = accept(listening, NULL, NULL);
    ssize_t n;
    wait_at_gate();
    while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
        static unsigned char wanted[MEGA];
        cdt_pattern(wanted, heard, (size_t)n);
        if (memcmp(bytes, wanted, (size_t)n) != 0)
            break;
        heard += (size_t)n;
    }
    close(fd);
    return NULL;
}

/* The count is what a caller goes on from: nothing is lost or sent twice. */
CDT_TEST(blocking, a_write_that_times_out_says_how_much_was_taken)
{
    static unsigned char bytes[32 * MEGA];
    cdt_pattern(bytes, 0, sizeof(bytes));
    begin(read_when_told);
    ssize_t first = conduit_blocking_write(b, bytes, sizeof(bytes), SOON);
    cr_assert_gt(first, 0);
    cr_assert_lt(first, (ssize_t)sizeof(bytes));
    cr_expect_eq(conduit_blocking_write(b, bytes + first, 1, SOON), CONDUIT_ETIMEDOUT);
    open_gate();
    ssize_t rest = (ssize_t)sizeof(bytes) - first;
    cr_expect_eq(conduit_blocking_write(b, bytes + first, (size_t)rest, LATE), rest);
    cr_expect_eq(conduit_blocking_close(b, LATE), 0);
    end();
    cr_expect_eq(heard, sizeof(bytes));
}

static void *reset_after_a_word(void *arg)
{
    const struct linger at_once = {.l_onoff = 1};
    int fd = accept(listening, NULL, NULL);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    wait_at_gate();
    close(fd);
    return NULL;
}

CDT_TEST(blocking, a_broken_connection_says_why_and_goes_on_saying_so)
{
    char answer[16];
    begin(reset_after_a_word);
    open_gate();
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(conduit_blocking_read(b, answer, sizeof(answer), LATE), CONDUIT_ERESET);
        cr_expect_eq(conduit_blocking_write(b, "x", 1, LATE), CONDUIT_ERESET);
        cr_expect_eq(conduit_error_code(conduit_blocking_error(b)), CONDUIT_ERESET);
    }
    cr_expect_eq(conduit_blocking_end(b, LATE), CONDUIT_ERESET);
    cr_expect_null(conduit_blocking_info(b));
    cr_expect_eq(conduit_blocking_close(b, LATE), CONDUIT_ERESET);
    end();
}

/* ---- connecting ---- */

CDT_TEST(blocking, a_connect_that_fails_leaves_an_error_and_nothing_else)
{
    const conduit_error *why = NULL;
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", cdt_closed_port());
    cr_expect_eq(conduit_blocking_connect(uri, NULL, &b, &why), CONDUIT_EREFUSED);
    cr_expect_not_null(strstr(conduit_error_text(why), uri), "%s", conduit_error_text(why));
    conduit_error_unref(why);
    cr_expect_eq(conduit_blocking_connect(uri, NULL, &b, NULL), CONDUIT_EREFUSED);
    cr_expect_eq(conduit_blocking_connect("nonsense", NULL, &b, &why), CONDUIT_EURI);
    conduit_error_unref(why);
    cr_expect_eq(conduit_blocking_close(NULL, 0), 0);
    conduit_blocking_listener_close(NULL);
}

CDT_TEST(blocking, a_connect_has_a_deadline)
{
    const conduit_error *why = NULL;
    int port = 0, silent = cdt_raw_listen(AF_INET, 5, &port);
    CDT_SKIP_WITHOUT_TLS();
    conduit_blocking_options options = {.connect = {.timeout_ms = SOON, .name = "a.example"}};
    snprintf(uri, sizeof(uri), "tls://127.0.0.1:%d", port);
    cr_expect_eq(conduit_blocking_connect(uri, &options, &b, &why), CONDUIT_ETIMEDOUT);
    conduit_error_unref(why);
    close(silent);
}

/* ---- both ends, on one engine ---- */

static void meet(const char *at, const conduit_blocking_options *options,
                 conduit_blocking_listener **l, conduit_blocking **accepted)
{
    const conduit_error *why = NULL;
    cr_assert_eq(conduit_blocking_listen(at, options, l, &why), 0, "%s",
                 why != NULL ? conduit_error_text(why) : "");
    cr_assert_eq(conduit_blocking_connect(conduit_blocking_listener_uri(*l, 0), options, &b, &why),
                 0, "%s", why != NULL ? conduit_error_text(why) : "");
    cr_assert_eq(conduit_blocking_accept(*l, accepted, LATE), 0);
}

CDT_TEST(blocking, a_context_of_the_callers_holds_both_ends)
{
    static const char *const places[] = {"tcp://127.0.0.1:0", "inproc://x"};
    for (int i = 0; i < 2; i++) {
        conduit_ctx *ctx = conduit_ctx_new(NULL);
        const conduit_blocking_options options = {.ctx = ctx};
        conduit_blocking_listener *l;
        conduit_blocking *accepted;
        char answer[8];
        meet(places[i], &options, &l, &accepted);
        conduit_blocking_listener_close(l); /* what was accepted outlives it */
        cr_expect_eq(conduit_blocking_write(b, "ping", 4, LATE), 4);
        cr_expect_eq(conduit_blocking_read(accepted, answer, sizeof(answer), LATE), 4);
        cr_expect_eq(conduit_blocking_write(accepted, "pong", 4, LATE), 4);
        cr_expect_eq(conduit_blocking_close(accepted, SOON), 0);
        cr_expect_eq(conduit_blocking_read(b, answer, sizeof(answer), LATE), 4);
        cr_expect_eq(conduit_blocking_read(b, answer, sizeof(answer), LATE), 0);
        cr_expect_eq(conduit_blocking_close(b, LATE), 0);
        conduit_ctx_free(ctx);
    }
}

static void call_and_release(const conduit_blocking_options *options, conduit_blocking_listener *l,
                             conduit_blocking **accepted, size_t unread, bool reused)
{
    char answer[8];
    const char *place = conduit_blocking_listener_uri(l, 0);
    cr_assert_eq(conduit_blocking_connect(place, options, &b, NULL), 0);
    cr_expect_eq(conduit_blocking_write(b, "ping", 4, LATE), 4);
    if (!reused)
        cr_assert_eq(conduit_blocking_accept(l, accepted, LATE), 0);
    cr_expect_eq(conduit_blocking_read(*accepted, answer, sizeof(answer), LATE), 4);
    cr_expect_eq(conduit_blocking_write(*accepted, "pong", 4, LATE), 4);
    cr_expect_eq(conduit_blocking_read(b, answer, 4 - unread, LATE), 4 - (ssize_t)unread);
    cr_expect_eq(conduit_blocking_release(b, unread > 0 ? SOON : LATE), 0);
}

CDT_TEST(blocking, a_released_path_is_used_again_unless_something_was_left_unread)
{
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    conduit_pool *pool = conduit_pool_new(ctx, NULL);
    const conduit_blocking_options options = {.ctx = ctx, .connect.pool = pool};
    conduit_blocking_listener *l;
    conduit_blocking *accepted, *next;
    conduit_pool_counters count;
    cr_assert_eq(conduit_blocking_listen("tcp://127.0.0.1:0", &options, &l, NULL), 0);
    call_and_release(&options, l, &accepted, 0, false);
    call_and_release(&options, l, &accepted, 0, true);
    call_and_release(&options, l, &accepted, 1, true);
    conduit_pool_count(pool, &count);
    cr_expect(count.reused == 2 && count.idle == 0);
    call_and_release(&options, l, &next, 0, false);
    conduit_blocking_close(accepted, SOON);
    conduit_blocking_close(next, SOON);
    cr_expect_eq(conduit_blocking_release(NULL, SOON), 0);
    conduit_blocking_listener_close(l);
    conduit_ctx_free(ctx);
}

CDT_TEST(blocking, an_end_and_a_close_that_the_peer_does_not_take_have_a_deadline)
{
    static unsigned char bytes[MEGA];
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    const conduit_blocking_options options = {.ctx = ctx};
    conduit_blocking_listener *l;
    conduit_blocking *accepted; /* never reads */
    meet("inproc://x", &options, &l, &accepted);
    cr_expect_gt(conduit_blocking_write(b, bytes, sizeof(bytes), SOON), 0);
    cr_expect_eq(conduit_blocking_write(b, bytes, sizeof(bytes), SOON), CONDUIT_ETIMEDOUT);
    cr_expect_eq(conduit_blocking_end(b, SOON), CONDUIT_ETIMEDOUT);
    cr_expect_eq(conduit_blocking_close(b, SOON), CONDUIT_ETIMEDOUT);
    cr_expect_eq(conduit_blocking_read(accepted, bytes, sizeof(bytes), LATE), CONDUIT_ERESET);
    conduit_blocking_close(accepted, SOON);
    conduit_blocking_listener_close(l);
    conduit_ctx_free(ctx);
}

CDT_TEST(blocking, tls_is_read_to_its_last_byte_however_small_the_pieces)
{
    CDT_SKIP_WITHOUT_TLS();
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    conduit_blocking_options options = {.ctx = ctx, .connect = {.name = "a.example"}};
    options.connect.tls = cdt_client_tls();
    options.listen.tls = cdt_server_tls();
    conduit_blocking_listener *l;
    const conduit_error *why = NULL;
    cr_assert_eq(conduit_blocking_listen("tls://127.0.0.1:0", &options, &l, &why), 0, "%s",
                 why != NULL ? conduit_error_text(why) : "");
    conduit_blocking *accepted;
    cr_assert_eq(conduit_blocking_connect(conduit_blocking_listener_uri(l, 0), &options, &b, &why),
                 0);
    cr_assert_eq(conduit_blocking_accept(l, &accepted, LATE), 0);
    static unsigned char sent[40000], received[41000];
    cdt_pattern(sent, 0, sizeof(sent));
    cr_expect_eq(conduit_blocking_write(b, sent, sizeof(sent), LATE), (ssize_t)sizeof(sent));
    cr_expect_eq(conduit_blocking_end(b, LATE), 0);
    size_t n = 0;
    ssize_t got = -1;
    while (n + 777 <= sizeof(received) &&
           (got = conduit_blocking_read(accepted, received + n, 777, LATE)) > 0)
        n += (size_t)got;
    cr_expect_eq(got, 0);
    cr_expect_eq(n, sizeof(sent));
    cr_expect_eq(memcmp(sent, received, n), 0);
    cr_expect_eq(conduit_blocking_close(accepted, LATE), 0);
    cr_expect_eq(conduit_blocking_close(b, LATE), 0);
    conduit_blocking_listener_close(l);
    conduit_tls_unref(options.connect.tls);
    conduit_tls_unref(options.listen.tls);
    conduit_ctx_free(ctx);
}

CDT_TEST(blocking, nobody_to_accept_is_a_timeout_and_those_left_are_aborted)
{
    conduit_blocking_listener *l;
    conduit_blocking *accepted = NULL;
    const conduit_error *why = NULL;
    cr_assert_eq(conduit_blocking_listen("tcp://127.0.0.1:0", NULL, &l, &why), 0);
    cr_expect_eq(conduit_blocking_accept(l, &accepted, SOON), CONDUIT_ETIMEDOUT);
    int port = cdt_port_of(conduit_blocking_listener_uri(l, 0));
    int fds[] = {cdt_raw_connect(port), cdt_raw_connect(port)};
    cr_expect_eq(conduit_blocking_accept(l, &accepted, LATE), 0);
    conduit_blocking_listener_close(l);
    char byte;
    cr_expect_eq(conduit_blocking_write(accepted, "x", 1, LATE), 1);
    cr_expect_eq(read(fds[0], &byte, 1), 1);
    cr_expect(read(fds[1], &byte, 1) < 0 && errno == ECONNRESET);
    cr_expect_eq(conduit_blocking_close(accepted, SOON), 0, "all was sent and said");
    close(fds[0]);
    close(fds[1]);
    cr_expect_eq(conduit_blocking_listen("tcp://192.0.2.1:1", NULL, &l, &why), CONDUIT_EUNREACH);
    conduit_error_unref(why);
}
