/* SPDX-License-Identifier: ISC */
/* The context itself: what keeps it running, what ends it, and what it leaves behind. */
#include "conduit/conduit.h"
#include "support.h"
#include <pthread.h>
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
