/* SPDX-License-Identifier: ISC */
/* The context itself: what keeps it running, what ends it, and what it leaves behind. */
#include "conduit/conduit.h"
#include "harness.h"
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int runs;

static void count(conduit_ctx *ctx, void *arg)
{
    runs++;
}

static void count_again(conduit_ctx *ctx, void *arg)
{
    runs++;
    conduit_post(ctx, count_again, NULL);
}

CDT_TEST(context, what_was_posted_before_the_run_is_run)
{
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    runs = 0;
    cr_assert_eq(conduit_post(ctx, count, NULL), 0);
    cr_expect_eq(conduit_run(ctx), 0);
    cr_expect_eq(runs, 1);
    cr_assert_eq(conduit_post(ctx, count, NULL), 0);
    conduit_ctx_free(ctx);
    cr_expect_eq(runs, 2, "what was posted before the end is run at the end");
}

CDT_TEST(context, a_function_that_posts_itself_again_does_not_hold_up_the_end)
{
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    runs = 0;
    cr_assert_eq(conduit_post(ctx, count_again, NULL), 0);
    conduit_ctx_free(ctx);
    cr_expect_eq(runs, 1);
}

CDT_TEST(context, stop_before_the_run_stops_it)
{
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    conduit_listener *listener;
    cr_assert_eq(conduit_listen(ctx, "tcp://127.0.0.1:0", NULL, NULL, NULL, &listener), 0);
    conduit_stop(ctx);
    cr_expect_eq(conduit_run(ctx), 1);
    conduit_listener_close(listener);
    cr_expect_eq(conduit_run(ctx), 0);
    conduit_ctx_free(ctx);
}

/* ---- a connection that only another thread can wake ---- */

static conduit_conn *paused;
static size_t got;

static void pause_it(conduit_conn *conn, void *user)
{
    paused = conn;
    conduit_pause(conn);
}

static void take(conduit_conn *conn, const void *data, size_t n, void *user)
{
    got += n;
}

static void say_and_close(conduit_conn *conn, void *user)
{
    conduit_write(conn, "hello", 5);
    conduit_close(conn);
}

static void resume_it(conduit_ctx *ctx, void *listener)
{
    conduit_listener_close(listener);
    conduit_resume(paused);
}

struct waker {
    conduit_ctx *ctx;
    conduit_listener *listener;
};

static void *wake_later(void *arg)
{
    const struct waker *waker = arg;
    usleep(50000); /* not for a race: however long it is, the loop has to be there */
    conduit_post(waker->ctx, resume_it, waker->listener);
    return NULL;
}

CDT_TEST(context, a_paused_connection_is_something_to_run_for)
{
    static const conduit_handler server = {.on_open = pause_it, .on_data = take};
    static const conduit_handler client = {.on_open = say_and_close};
    struct waker waker = {.ctx = conduit_ctx_new(NULL)};
    pthread_t thread;
    got = 0;
    cr_assert_eq(conduit_listen(waker.ctx, "inproc://x", NULL, &server, NULL, &waker.listener), 0);
    cr_assert_eq(conduit_connect(waker.ctx, "inproc://x", NULL, &client, NULL, NULL), 0);
    cr_assert_eq(pthread_create(&thread, NULL, wake_later, &waker), 0);
    cr_expect_eq(conduit_run(waker.ctx), 0);
    cr_expect_eq(got, 5);
    pthread_join(thread, NULL);
    conduit_ctx_free(waker.ctx);
}

/* ---- what is left behind ---- */

CDT_TEST(context, one_that_cannot_be_made_leaves_nothing_on_the_callers_loop)
{
    uv_loop_t loop;
    cr_assert_eq(uv_loop_init(&loop), 0);
    conduit_ctx_options options = {.loop = &loop, .dns_servers = "not a server"};
    cr_expect_null(conduit_ctx_new(&options));
    uv_run(&loop, UV_RUN_DEFAULT);
    cdt_test_loop_empty(&loop);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

CDT_TEST(context, a_password_in_a_uri_is_in_no_error)
{
    static const char *const uris[] = {
        "nosuch://user:secret@host/",
        "redis+unix://user:secret@host/x",
        "tcp://user:secret@127.0.0.1:80",
    };
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    for (size_t i = 0; i < sizeof(uris) / sizeof(*uris); i++) {
        cr_expect_lt(conduit_connect(ctx, uris[i], NULL, NULL, NULL, NULL), 0, "%s", uris[i]);
        const char *text = conduit_error_text(conduit_ctx_error(ctx));
        cr_expect_null(strstr(text, "secret"), "%s", text);
    }
    conduit_ctx_free(ctx);
}

/* ---- who the peer was ---- */

static char peer[64];

static void tell_peer(conduit_conn *conn, const conduit_error *why, void *user)
{
    snprintf(peer, sizeof(peer), "%s", conduit_conn_info(conn)->peer);
}

CDT_TEST(context, a_connection_that_both_sides_ended_still_knows_its_peer)
{
    static const conduit_handler server = {.on_close = tell_peer};
    static const conduit_handler client = {.on_open = say_and_close};
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    conduit_listener *listener;
    cr_assert_eq(conduit_listen(ctx, "tcp://127.0.0.1:0", NULL, &server, NULL, &listener), 0);
    cr_assert_eq(conduit_connect(ctx, conduit_listener_uri(listener, 0), NULL, &client, NULL, NULL),
                 0);
    for (int i = 0; i < 1000 && peer[0] == '\0'; i++)
        uv_run(conduit_ctx_loop(ctx), UV_RUN_ONCE);
    cr_expect_eq(strncmp(peer, "tcp://127.0.0.1:", 16), 0, "%s", peer);
    conduit_ctx_free(ctx);
}

/* ---- a turn at a time ---- */

CDT_TEST(context, a_run_that_is_bounded_says_that_there_is_more_to_do)
{
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    conduit_listener *listener;
    cr_expect_eq(conduit_run_for(ctx, 0), 0, "there is nothing");
    cr_expect_eq(conduit_run_for(ctx, 60000), 0, "nor will there be");
    cr_assert_eq(conduit_listen(ctx, "inproc://x", NULL, NULL, NULL, &listener), 0);
    cr_expect_eq(conduit_run_for(ctx, 0), CONDUIT_ETIMEDOUT);
    uint64_t before = uv_hrtime();
    cr_expect_eq(conduit_run_for(ctx, 20), CONDUIT_ETIMEDOUT);
    cr_expect_geq(uv_hrtime() - before, 19000000);
    conduit_stop(ctx);
    cr_expect_eq(conduit_run_for(ctx, 60000), 1);
    runs = 0;
    cr_assert_eq(conduit_post(ctx, count, NULL), 0);
    cr_expect_eq(conduit_run_for(ctx, 0), CONDUIT_ETIMEDOUT);
    cr_expect_eq(runs, 1);
    conduit_listener_close(listener);
    cr_expect_eq(conduit_run(ctx), 0, "and no bound is left from before");
    conduit_ctx_free(ctx);
}

static void free_ctx(conduit_ctx *ctx, void *arg)
{
    conduit_ctx_free(ctx);
}

CDT_TEST(context, a_bounded_run_may_end_its_context)
{
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    cr_assert_eq(conduit_listen(ctx, "inproc://x", NULL, NULL, NULL, NULL), 0);
    cr_assert_eq(conduit_post(ctx, free_ctx, NULL), 0);
    cr_expect_eq(conduit_run_for(ctx, 60000), 0);
    ctx = conduit_ctx_new(NULL);
    cr_assert_eq(conduit_post(ctx, free_ctx, NULL), 0);
    cr_expect_eq(conduit_run_for(ctx, 0), 0);
}

/* As a foreign loop does: nothing of the context runs but by conduit_run_for(ctx, 0). */
static bool turn_foreign(conduit_ctx *ctx)
{
    struct pollfd fd = {.fd = conduit_ctx_fd(ctx), .events = POLLIN};
    poll(&fd, 1, conduit_ctx_timeout(ctx));
    return conduit_run_for(ctx, 0) == CONDUIT_ETIMEDOUT;
}

static void echo(conduit_conn *conn, const void *data, size_t n, void *user)
{
    conduit_write(conn, data, n);
}

static void say_hello(conduit_conn *conn, void *user)
{
    conduit_write(conn, "hello", 5);
}

static void count_and_close(conduit_conn *conn, const void *data, size_t n, void *user)
{
    got += n;
    conduit_close(conn);
    conduit_listener_close(user);
}

CDT_TEST(context, a_foreign_loop_can_turn_it)
{
    static const conduit_handler server = {.on_data = echo};
    static const conduit_handler client = {.on_open = say_hello, .on_data = count_and_close};
    static const char *const places[] = {"tcp://127.0.0.1:0", "inproc://x"};
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        conduit_ctx *ctx = conduit_ctx_new(NULL);
        conduit_listener *listener;
        got = 0;
        conduit_run_for(ctx, 0);
        cr_expect_eq(conduit_ctx_timeout(ctx), -1, "nothing to do");
        cr_assert_eq(conduit_listen(ctx, places[i], NULL, &server, NULL, &listener), 0);
        const char *uri = conduit_listener_uri(listener, 0);
        cr_assert_eq(conduit_connect(ctx, uri, NULL, &client, listener, NULL), 0);
        cr_expect_eq(conduit_ctx_timeout(ctx), 0, "a call has not been seen to yet");
        while (turn_foreign(ctx))
            ;
        cr_expect_eq(got, 5, "%s", places[i]);
        conduit_ctx_free(ctx);
    }
}

/* Nothing keeps the context running; but what wakes it has to be taken, or the foreign loop would
 * turn for ever. */
CDT_TEST(context, a_foreign_loop_sleeps_after_a_turn_though_nothing_is_left)
{
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    struct pollfd fd = {.fd = conduit_ctx_fd(ctx), .events = POLLIN};
    cr_expect_eq(conduit_ctx_timeout(ctx), 0, "a turn, for a post to be felt");
    cr_expect_eq(conduit_run_for(ctx, 0), 0);
    cr_expect_eq(conduit_ctx_timeout(ctx), -1);
    runs = 0;
    cr_assert_eq(conduit_post(ctx, count, NULL), 0);
    cr_expect_eq(poll(&fd, 1, 1000), 1);
    cr_expect_eq(conduit_run_for(ctx, 0), 0);
    cr_expect_eq(runs, 1);
    cr_expect_eq(poll(&fd, 1, 0), 0, "it is still readable");
    conduit_ctx_free(ctx);
}

CDT_TEST(context, a_foreign_loop_hears_of_a_listener_that_was_made_outside_of_a_turn)
{
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    struct pollfd fd = {.fd = conduit_ctx_fd(ctx), .events = POLLIN};
    conduit_listener *listener;
    conduit_run_for(ctx, 0);
    cr_assert_eq(conduit_listen(ctx, "tcp://127.0.0.1:0", NULL, NULL, NULL, &listener), 0);
    cr_expect_eq(conduit_ctx_timeout(ctx), 0);
    conduit_run_for(ctx, 0);
    cr_expect_eq(conduit_ctx_timeout(ctx), -1);
    cr_expect_eq(poll(&fd, 1, 0), 0);
    int peer_fd = cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
    cr_expect_eq(poll(&fd, 1, 1000), 1);
    close(peer_fd);
    conduit_ctx_free(ctx);
}

static int bind_name_server(char place[32])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    getsockname(fd, (struct sockaddr *)&at, &(socklen_t){sizeof(at)});
    snprintf(place, 32, "127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}

/* No such name. */
static void answer_questions(int fd)
{
    unsigned char bytes[512];
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    ssize_t n;
    while ((n = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &len)) > 4) {
        bytes[2] |= 0x80;
        bytes[3] = 3;
        sendto(fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, len);
        len = sizeof(from);
    }
}

static void note_no_such_name(conduit_resolution *resolution, const conduit_answer *answers,
                              size_t n, const conduit_error *why, void *user)
{
    runs++;
    cr_expect(strstr(conduit_error_text(why), "no such name"), "%s", conduit_error_text(why));
}

/* What comes of an answer is to be done in the next turn, which nothing else would bring about. */
CDT_TEST(context, a_foreign_loop_is_not_put_to_sleep_by_a_lookup)
{
    char place[32];
    int server = bind_name_server(place);
    conduit_ctx *ctx =
        conduit_ctx_new(&(conduit_ctx_options){.dns_servers = place, .hosts_file = ""});
    runs = 0;
    cr_assert_eq(conduit_resolve(ctx, "tcp://host.example:80", NULL, note_no_such_name, NULL, NULL),
                 0);
    while (runs == 0) {
        struct pollfd fds[] = {{conduit_ctx_fd(ctx), POLLIN, 0}, {server, POLLIN, 0}};
        int timeout = conduit_ctx_timeout(ctx);
        cr_assert(poll(fds, 2, timeout) > 0 || timeout == 0, "%d ms for nothing", timeout);
        answer_questions(server);
        conduit_run_for(ctx, 0);
    }
    cr_expect_eq(runs, 1);
    conduit_ctx_free(ctx);
    close(server);
}
