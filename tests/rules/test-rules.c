/* SPDX-License-Identifier: ISC */
/*
 * The ten rules of conduit.h, a test each, named after it. They run over inproc where the rule is
 * about the order of events, and over real sockets and TLS where it is about what goes over them.
 */
#include "conduit/conduit.h"
#include "support.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What has happened to one connection, in the order in which it did: "o" open, "d" data, "r" drain,
 * "e" end, "c" close. */
struct story {
    char events[64];
    size_t bytes;
    conduit_code why;
    conduit_stage stage;
    conduit_conn *conn;
    bool in_call; /* a call of ours that must not cause a callback is on the stack */
    char data[64];
    void (*act)(struct story *story, char event, conduit_conn *conn);
};

static conduit_ctx *ctx;

static void note(struct story *story, char event, conduit_conn *conn)
{
    cr_assert(!story->in_call, "event %c came inside a call", event);
    cr_assert_null(strchr(story->events, 'c'), "event %c came after close", event);
    size_t n = strlen(story->events);
    if (n + 1 < sizeof(story->events) && (event != 'd' || n == 0 || story->events[n - 1] != 'd'))
        story->events[n] = event;
    if (story->act != NULL)
        story->act(story, event, conn);
}

static void on_open(conduit_conn *conn, void *user)
{
    ((struct story *)user)->conn = conn;
    note(user, 'o', conn);
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct story *story = user;
    size_t room = sizeof(story->data) - 1 - strlen(story->data);
    strncat(story->data, data, n < room ? n : room);
    story->bytes += n;
    note(story, 'd', conn);
}

static void on_drain(conduit_conn *conn, void *user)
{
    note(user, 'r', conn);
}

static void on_end(conduit_conn *conn, void *user)
{
    note(user, 'e', conn);
    struct story *story = user;
    if (story->act == NULL)
        conduit_close(conn);
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct story *story = user;
    story->why = conduit_error_code(why);
    story->stage = why != NULL ? conduit_error_stage(why) : 0;
    note(story, 'c', conn);
    story->conn = NULL;
}

static const conduit_handler tell = {
    .on_open = on_open,
    .on_data = on_data,
    .on_drain = on_drain,
    .on_end = on_end,
    .on_close = on_close,
};

static void echo_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    conduit_write(conn, data, n);
}

static const conduit_handler echo = {.on_data = echo_data};

static const char *serve(const char *uri, const conduit_handler *handler, void *user)
{
    conduit_listener *listener = NULL;
    cr_assert_eq(conduit_listen(ctx, uri, NULL, handler, user, &listener), 0, "%s: %s", uri,
                 conduit_error_text(conduit_ctx_error(ctx)));
    return conduit_listener_uri(listener, 0);
}

static conduit_conn *call(const char *uri, struct story *story)
{
    story->in_call = true;
    cr_assert_eq(conduit_connect(ctx, uri, NULL, &tell, story, &story->conn), 0, "%s: %s", uri,
                 conduit_error_text(conduit_ctx_error(ctx)));
    story->in_call = false;
    return story->conn;
}

static bool has(const struct story *story, char event)
{
    return strchr(story->events, event) != NULL;
}

/* Turn the loop until `event` has come, at most some thousand times. */
static bool until(struct story *story, char event)
{
    for (int i = 0; i < 100000 && !has(story, event); i++)
        uv_run(conduit_ctx_loop(ctx), UV_RUN_ONCE);
    return has(story, event);
}

static void turn(int n)
{
    for (int i = 0; i < n; i++)
        uv_run(conduit_ctx_loop(ctx), UV_RUN_NOWAIT);
}

/* ---- 1 ---- */

CDT_TEST(rules, rule_1_a_start_call_ends_in_one_terminal_event_or_keeps_nothing)
{
    ctx = conduit_ctx_new(NULL);
    static const struct {
        const char *uri;
        conduit_code code;
    } refused[] = {
        {"no uri at all", CONDUIT_EURI},          {"nosuchscheme://x:1", CONDUIT_ENOTSUP},
        {"tcp://127.0.0.1", CONDUIT_EURI},        {"tcp://127.0.0.1:1?speed=9", CONDUIT_EURI},
        {"tls+unix:/run/x.sock", CONDUIT_EINVAL},
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        struct story none = {0};
        none.in_call = true;
        int code = conduit_connect(ctx, refused[i].uri, NULL, &tell, &none, &none.conn);
        cr_expect_eq(code, refused[i].code, "%s: %s", refused[i].uri, conduit_code_name(code));
        cr_expect_null(none.conn);
        cr_expect_eq(conduit_error_code(conduit_ctx_error(ctx)), code);
        turn(5);
    }
    struct story story = {0};
    call("inproc://nobody", &story);
    cr_expect(until(&story, 'c'));
    turn(20);
    cr_expect_str_eq(story.events, "c");
    cr_expect_eq(story.why, CONDUIT_EREFUSED);
    conduit_ctx_free(ctx);
}

/* ---- 2 ---- */

static void call_everything(struct story *story, char event, conduit_conn *conn)
{
    story->in_call = true; /* note() fails the test if any of these calls back */
    if (event != 'c') {
        conduit_write(conn, "x", 1);
        conduit_pause(conn);
        conduit_resume(conn);
        conduit_end(conn);
    }
    conduit_close(conn);
    conduit_abort(conn);
    story->in_call = false;
}

CDT_TEST(rules, rule_2_no_callback_runs_before_the_call_that_caused_it_has_returned)
{
    ctx = conduit_ctx_new(NULL);
    serve("inproc://echo", &echo, NULL);
    struct story story = {.act = call_everything};
    call("inproc://echo", &story);
    cr_expect(until(&story, 'c'));
    cr_expect_str_eq(story.events, "oc");
    struct story refused = {0};
    call("inproc://nobody", &refused);
    refused.in_call = true;
    conduit_abort(refused.conn);
    refused.in_call = false;
    cr_expect(until(&refused, 'c'));
    conduit_ctx_free(ctx);
}

/* ---- 3 ---- */

CDT_TEST(rules, rule_3_on_close_comes_once_and_last_and_carries_the_reason)
{
    ctx = conduit_ctx_new(NULL);
    struct story server = {0}, client = {0};
    serve("inproc://one", &tell, &server);
    call("inproc://one", &client);
    cr_assert(until(&client, 'o'));
    conduit_write(client.conn, "last words", 10);
    conduit_close(client.conn);
    cr_expect(until(&client, 'c') && until(&server, 'c'));
    cr_expect_str_eq(server.events, "odec");
    cr_expect_str_eq(client.events, "oc");
    cr_expect_eq(server.why, CONDUIT_OK);
    cr_expect_eq(client.why, CONDUIT_OK);

    struct story broken = {0}, breaker = {0};
    serve("inproc://two", &tell, &breaker);
    call("inproc://two", &broken);
    cr_assert(until(&broken, 'o') && until(&breaker, 'o'));
    cr_assert_not_null(broken.conn);
    conduit_abort(broken.conn);
    cr_expect(until(&breaker, 'c'));
    cr_expect_eq(breaker.why, CONDUIT_ERESET);
    cr_expect_eq(breaker.stage, CONDUIT_STAGE_IO);
    cr_expect_eq(broken.why, CONDUIT_ECANCELED);
    turn(20);
    conduit_ctx_free(ctx);
}

/* ---- 4 ---- */

static char act_at;
static void (*act_with)(conduit_conn *conn);

static void act(struct story *story, char event, conduit_conn *conn)
{
    if (event == act_at)
        act_with(conn);
    else if (event == 'e')
        conduit_close(conn);
}

static void free_context(conduit_conn *conn)
{
    conduit_ctx_free(conduit_conn_ctx(conn));
}

/* Every act at every event, on both sides; the sanitizers and the descriptor count say whether it
 * was legal. */
CDT_TEST(rules, rule_4_everything_may_be_called_from_inside_a_callback)
{
    static void (*const acts[])(conduit_conn *) = {
        conduit_close, conduit_abort, conduit_conn_free, conduit_end, conduit_pause, free_context,
    };
    static const char events[] = "odec";
    for (size_t a = 0; a < sizeof(acts) / sizeof(*acts); a++) {
        for (const char *event = events; *event != '\0'; event++) {
            act_at = *event;
            act_with = acts[a];
            ctx = conduit_ctx_new(NULL);
            struct story server = {.act = act}, client = {.act = act};
            serve("inproc://x", &tell, &server);
            call("inproc://x", &client);
            conduit_write(client.conn, "hello", 5);
            conduit_end(client.conn);
            if (act_with == free_context) {
                cr_expect_eq(conduit_run(ctx), 0);
                continue;
            }
            turn(30);
            conduit_ctx_free(ctx);
            bool freed = act_with == conduit_conn_free;
            cr_expect(freed || has(&client, 'c'), "act %zu at %c: no close", a, *event);
        }
    }
}

/* ---- 5 ---- */

CDT_TEST(rules, rule_5_close_is_idempotent_flushes_has_a_deadline_and_before_open_is_cancel)
{
    static char big[1024 * 1024];
    ctx = conduit_ctx_new(NULL);
    struct story server = {0}, client = {0};
    serve("inproc://x", &tell, &server);
    call("inproc://x", &client);
    cr_assert(until(&client, 'o'));
    conduit_write(client.conn, big, sizeof(big));
    for (int i = 0; i < 3; i++)
        conduit_close(client.conn);
    cr_expect(until(&client, 'c') && until(&server, 'c'));
    cr_expect_eq(server.bytes, sizeof(big), "%zu arrived", server.bytes);
    cr_expect_eq(client.why, CONDUIT_OK);

    struct story early = {0};
    call("inproc://x", &early);
    conduit_close(early.conn);
    conduit_close(early.conn);
    cr_expect(until(&early, 'c'));
    cr_expect_str_eq(early.events, "c");
    cr_expect_eq(early.why, CONDUIT_ECANCELED);

    struct story deaf = {0}, speaker = {0};
    conduit_connect_options hasty = {.conn.close_timeout_ms = 20};
    serve("inproc://deaf", &tell, &deaf);
    conduit_connect(ctx, "inproc://deaf", &hasty, &tell, &speaker, &speaker.conn);
    deaf.act = act;
    act_at = 'o';
    act_with = conduit_pause;
    cr_assert(until(&speaker, 'o') && until(&deaf, 'o'));
    conduit_write(speaker.conn, big, sizeof(big));
    conduit_close(speaker.conn);
    cr_expect(until(&speaker, 'c'));
    cr_expect_eq(speaker.why, CONDUIT_ETIMEDOUT);
    conduit_ctx_free(ctx);
}

/* ---- 6 ---- */

CDT_TEST(rules, rule_6_what_is_passed_in_is_copied)
{
    ctx = conduit_ctx_new(NULL);
    struct story server = {0}, client = {0};
    conduit_handler handler = tell;
    char uri[] = "inproc://copied", text[] = "written", name[] = "inproc://copied";
    conduit_listener *listener;
    cr_assert_eq(conduit_listen(ctx, uri, NULL, &handler, &server, &listener), 0);
    cr_assert_eq(conduit_connect(ctx, name, NULL, &handler, &client, &client.conn), 0);
    conduit_write(client.conn, text, 7); /* not open yet: it is queued */
    memset(text, '?', sizeof(text));
    memset(uri, '?', sizeof(uri));
    memset(name, '?', sizeof(name));
    memset(&handler, 0, sizeof(handler));
    cr_expect(until(&server, 'd'));
    cr_expect_str_eq(server.data, "written");
    cr_expect_str_eq(conduit_listener_uri(listener, 0), "inproc://copied");
    cr_assert_not_null(client.conn);
    cr_expect_str_eq(conduit_conn_info(client.conn)->uri, "inproc://copied");
    conduit_ctx_free(ctx);
}

/* ---- 7 ---- */

static size_t queued_at_drain;

static void look_at_queue(struct story *story, char event, conduit_conn *conn)
{
    if (event == 'r')
        queued_at_drain = conduit_queued(conn);
    if (event == 'e')
        conduit_close(conn);
}

CDT_TEST(rules, rule_7_writes_are_taken_whole_with_a_mark_a_drain_and_a_limit)
{
    static char piece[40 * 1024];
    ctx = conduit_ctx_new(NULL);
    struct story server = {.act = act}, client = {.act = look_at_queue};
    act_at = 'o';
    act_with = conduit_pause;
    conduit_connect_options options = {
        .conn = {.high_water = 64 * 1024, .write_limit = 256 * 1024}};
    serve("inproc://x", &tell, &server);
    conduit_connect(ctx, "inproc://x", &options, &tell, &client, &client.conn);
    cr_assert(until(&client, 'o') && until(&server, 'o'));
    size_t taken = 0;
    int code, marks = 0;
    while ((code = conduit_write(client.conn, piece, sizeof(piece))) >= 0) {
        taken += sizeof(piece);
        cr_assert_leq(taken, 4 * 1024 * 1024, "there is no limit");
        cr_expect_eq(code == 1, conduit_queued(client.conn) >= 64 * 1024);
        marks += code;
    }
    cr_expect_eq(code, CONDUIT_ELIMIT);
    cr_expect_gt(marks, 0);
    cr_expect_leq(conduit_queued(client.conn), 256 * 1024);
    turn(50);
    cr_expect(!has(&server, 'd'), "a paused reader was given data");
    cr_expect(!has(&client, 'r'));
    server.act = NULL;
    conduit_resume(server.conn);
    conduit_end(client.conn);
    cr_expect(until(&client, 'r'), "the drained queue was not told of");
    cr_expect_leq(queued_at_drain, 32 * 1024, "on_drain with %zu bytes queued", queued_at_drain);
    cr_expect(until(&server, 'e'));
    cr_expect_eq(server.bytes, taken, "%zu of %zu arrived", server.bytes, taken);
    conduit_ctx_free(ctx);
}

/* ---- 8 ---- */

/* A relay that knows nothing of TLS, and so can end a stream without its goodbye. */
static struct story relay_front = {0}, relay_back = {0};

static void relay_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct story *from = user;
    conduit_write((from == &relay_front ? &relay_back : &relay_front)->conn, data, n);
}

static void relay_open(conduit_conn *conn, void *user)
{
    static const conduit_handler back = {.on_data = relay_data};
    relay_front.conn = conn;
    cr_assert_eq(conduit_connect(ctx, "inproc://tls", NULL, &back, &relay_back, &relay_back.conn),
                 0);
}

static conduit_tls *trust(const char *file)
{
    char path[512];
    conduit_tls *tls = conduit_tls_new();
    snprintf(path, sizeof(path), "%s/%s", cdt_test_path("certs"), file);
    cr_assert_eq(conduit_tls_set(tls, "ca", path, NULL), 0, "%s", path);
    return tls;
}

static void serve_tls(void)
{
    char command[1024], uri[1024];
    snprintf(command, sizeof(command), "%s/make-certs %s", CDT_TEST_CERTS, cdt_test_path("certs"));
    cr_assert_eq(system(command), 0);
    const char *dir = cdt_test_path("certs");
    snprintf(uri, sizeof(uri), "tls+inproc://tls?cert=%s/server.pem&key=%s/server.key", dir, dir);
    serve(uri, &echo, NULL);
}

static void call_tls(const char *uri, const char *name, conduit_tls *tls, struct story *story)
{
    conduit_connect_options options = {.name = name, .tls = tls};
    cr_assert_eq(conduit_connect(ctx, uri, &options, &tell, story, &story->conn), 0);
}

CDT_TEST(rules, rule_8_open_means_the_whole_stack_and_an_end_without_goodbye_is_an_error)
{
    conduit_tls *probe = conduit_tls_new();
    int without = conduit_tls_set(probe, "min", "1.2", NULL);
    conduit_tls_unref(probe);
    if (without == CONDUIT_ENOTSUP)
        cr_skip_test("built without TLS");
    ctx = conduit_ctx_new(NULL);
    serve_tls();
    conduit_tls *right = trust("ca.pem"), *other = trust("other-ca.pem");

    struct story good = {0};
    call_tls("tls+inproc://tls", "localhost", right, &good);
    cr_assert(until(&good, 'o'));
    cr_expect_str_eq(conduit_conn_info(good.conn)->tls->verify, "full");
    cr_expect_str_eq(conduit_conn_info(good.conn)->stack, "tls+inproc");

    struct story misnamed = {0}, untrusted = {0};
    call_tls("tls+inproc://tls", "wrong.example", right, &misnamed);
    call_tls("tls+inproc://tls", "localhost", other, &untrusted);
    cr_expect(until(&misnamed, 'c') && until(&untrusted, 'c'));
    cr_expect_str_eq(misnamed.events, "c");
    cr_expect_str_eq(untrusted.events, "c");
    cr_expect_eq(misnamed.why, CONDUIT_ETRUST);
    cr_expect_eq(untrusted.why, CONDUIT_ETRUST);

    static const conduit_handler front = {.on_open = relay_open, .on_data = relay_data};
    struct story cut = {0};
    serve("inproc://relay", &front, &relay_front);
    call_tls("tls+inproc://relay", "localhost", right, &cut);
    cr_assert(until(&cut, 'o'));
    conduit_write(cut.conn, "echo", 4);
    cr_assert(until(&cut, 'd'));
    conduit_close(relay_front.conn);
    cr_expect(until(&cut, 'c'));
    cr_expect_str_eq(cut.events, "odc");
    cr_expect_eq(cut.why, CONDUIT_ETRUNCATED);

    conduit_close(good.conn);
    cr_expect(until(&good, 'c'));
    cr_expect_eq(good.why, CONDUIT_OK);
    conduit_tls_unref(right);
    conduit_tls_unref(other);
    conduit_ctx_free(ctx);
}

/* ---- 9 ---- */

static pthread_t loop_thread;
static int posted;

static void on_post(conduit_ctx *at, void *arg)
{
    cr_assert(pthread_equal(pthread_self(), loop_thread), "posted work ran on another thread");
    cr_assert_eq((intptr_t)arg, posted, "out of order");
    if (++posted == 1000)
        conduit_stop(at);
}

static void never(uv_timer_t *timer)
{
    cr_assert_fail("a minute passed");
}

static void *post_thousand(void *arg)
{
    for (intptr_t i = 0; i < 1000; i++)
        conduit_post(arg, on_post, (void *)i);
    return NULL;
}

CDT_TEST(rules, rule_9_only_post_and_stop_are_for_other_threads)
{
    pthread_t thread;
    ctx = conduit_ctx_new(NULL);
    uv_timer_t keep; /* conduit_run() would have nothing to wait for */
    uv_timer_init(conduit_ctx_loop(ctx), &keep);
    uv_timer_start(&keep, never, 60000, 0);
    loop_thread = pthread_self();
    posted = 0;
    cr_assert_eq(pthread_create(&thread, NULL, post_thousand, ctx), 0);
    cr_expect_eq(conduit_run(ctx), 1, "conduit_stop() makes conduit_run() say so");
    cr_expect_eq(posted, 1000);
    pthread_join(thread, NULL);
    conduit_ctx_free(ctx);
}

/* ---- 10 ---- */

static void remember_signals(struct sigaction all[NSIG])
{
    for (int i = 1; i < NSIG; i++)
        sigaction(i, NULL, &all[i]);
}

/* A write to a peer that has gone raises SIGPIPE on an unprotected socket, and its default is
 * death. */
static void write_to_the_gone(void)
{
    char uri[256];
    struct story server = {0}, client = {0};
    snprintf(uri, sizeof(uri), "unix:%s", cdt_test_path("gone"));
    serve(uri, &tell, &server);
    call(uri, &client);
    cr_assert(until(&client, 'o') && until(&server, 'o'));
    conduit_conn_free(server.conn);
    for (int i = 0; i < 100 && conduit_write(client.conn, "x", 1) >= 0; i++)
        turn(1);
    cr_expect(until(&client, 'c'));
    cr_expect_eq(client.why, CONDUIT_ERESET, "%s", conduit_code_name(client.why));
}

CDT_TEST(rules, rule_10_it_prints_nothing_handles_no_signal_raises_no_sigpipe_keeps_no_globals)
{
    static struct sigaction before[NSIG], after[NSIG];
    int saved[2] = {dup(1), dup(2)}, pipe_fds[2];
    char said[256];
    remember_signals(before);
    cr_assert_eq(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    fflush(NULL);
    dup2(pipe_fds[1], 1);
    dup2(pipe_fds[1], 2);
    ctx = conduit_ctx_new(NULL);
    conduit_ctx *other = conduit_ctx_new(NULL);
    write_to_the_gone();
    struct story refused = {0}, elsewhere = {0};
    call("tcp://127.0.0.1:1", &refused);
    until(&refused, 'c');
    /* What one context listens at, another does not know. */
    serve("inproc://mine", &echo, NULL);
    conduit_ctx *mine = ctx;
    ctx = other;
    call("inproc://mine", &elsewhere);
    until(&elsewhere, 'c');
    conduit_ctx_free(other);
    conduit_ctx_free(mine);
    fflush(NULL);
    dup2(saved[0], 1);
    dup2(saved[1], 2);
    ssize_t n = read(pipe_fds[0], said, sizeof(said) - 1);
    for (int i = 0; i < 2; i++) {
        close(saved[i]);
        close(pipe_fds[i]);
    }
    remember_signals(after);
    cr_expect_lt(n, 1, "it said: %.*s", (int)n, said);
    cr_expect_eq(refused.why, CONDUIT_EREFUSED);
    cr_expect_eq(elsewhere.why, CONDUIT_EREFUSED);
    for (int i = 1; i < NSIG; i++)
        cr_expect_eq(before[i].sa_handler, after[i].sa_handler, "signal %d", i);
}
