/* SPDX-License-Identifier: ISC */
/*
 * What is seen from outside: the events of a trace, which are those that conduit/context.h lists
 * and no others; the timings of a connection; and who uses a context from another thread.
 */
#include "harness.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct cdt_side client, server;
static conduit_listener *listener;
static conduit_listen_options listening;
static conduit_connect_options dialling;

/* ---- the events ---- */

enum { MOST_EVENTS = 40 };

static char seen[MOST_EVENTS][16], texts[MOST_EVENTS][200];
static int n_seen;

static void on_trace(void *user, double at_ms, const char *event, const char *text)
{
    cr_expect(at_ms >= 0 && at_ms < 60000, "%s at %.1f ms", event, at_ms);
    int i = 0;
    while (i < n_seen && strcmp(seen[i], event) != 0)
        i++;
    cr_assert_lt(i, MOST_EVENTS);
    snprintf(seen[i], sizeof(seen[0]), "%s", event);
    snprintf(texts[i], sizeof(texts[0]), "%s", text);
    n_seen += i == n_seen;
}

static const char *text_of(const char *event)
{
    for (int i = 0; i < n_seen; i++)
        if (strcmp(seen[i], event) == 0)
            return texts[i];
    return NULL;
}

/* The words of the list in conduit/context.h, separated by blanks. */
static void read_list(char *list, size_t size)
{
    char line[200];
    bool inside = false;
    FILE *header = fopen(CDT_TEST_CERTS "/../../include/conduit/context.h", "r");
    cr_assert_not_null(header);
    while (fgets(line, sizeof(line), header) != NULL) {
        inside |= strstr(line, "is one of these words") != NULL;
        if (inside && strstr(line, "`text` is for people") != NULL)
            break;
        if (inside && strncmp(line, " *   ", 5) == 0)
            snprintf(list + strlen(list), size - strlen(list), " %.*s", 32, line + 5);
    }
    fclose(header);
}

static void begin(void)
{
    dialling = (conduit_connect_options){.tls = cdt_client_tls(), .name = "a.example"};
    listening = (conduit_listen_options){.tls = cdt_server_tls(), .max_per_peer = 1};
    n_seen = 0;
    cdt_open_ctx(&(conduit_ctx_options){.trace = on_trace, .dns_servers = "127.0.0.1:9"});
}

static void end(void)
{
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
    conduit_tls_unref(dialling.tls);
    conduit_tls_unref(listening.tls);
}

static void call(const char *uri)
{
    cr_assert_eq(conduit_connect(cdt_ctx, uri, &dialling, &cdt_side_handler, &client, &client.conn),
                 0, "%s", conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

static void meet(const char *uri)
{
    cr_assert_eq(conduit_listen(cdt_ctx, uri, &listening, &cdt_side_handler, &server, &listener),
                 0);
    call(conduit_listener_uri(listener, 0));
    cdt_await(&client.opened);
    cdt_await(&server.opened);
}

static void run_out_of_descriptors(void)
{
    struct rlimit before, none;
    int fd = cdt_raw_connect(cdt_port_of(conduit_listener_uri(listener, 0)));
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)fd + 1;
    setrlimit(RLIMIT_NOFILE, &none);
    cdt_turn(10);
    setrlimit(RLIMIT_NOFILE, &before);
    cdt_turns_within(20); /* it is accepted, and one too many from there */
    close(fd);
}

static void lose(const char *uri)
{
    cdt_side_clear(&client);
    call(uri);
    cdt_await(&client.closed);
    cdt_side_clear(&client);
}

/* Everything that has an event. */
static void live(void)
{
    char uri[64];
    dialling.pool = conduit_pool_new(cdt_ctx, NULL);
    meet(cdt_have_tls() ? "tls://127.0.0.1:0" : "tcp://127.0.0.1:0");
    cr_assert_eq(conduit_ctx_add_rule(cdt_ctx, "ruled.example", "tcp://127.0.0.1:1"), 0);
    run_out_of_descriptors();
    conduit_release(client.conn);
    conduit_pool_clear(dialling.pool);
    cdt_await(&client.closed);
    cdt_await(&server.closed);
    snprintf(uri, sizeof(uri), "tcp://127.0.0.1:%d", cdt_closed_port());
    lose(uri);
    lose("tcp://ruled.example:1");
    dialling.resolve_timeout_ms = 50;
    lose("tcp://unknown.example:1");
    conduit_listener_drain(listener, 1000);
    for (int i = 0; i < 100 && text_of("gone") == NULL; i++)
        cdt_turn(1);
}

static bool resolved;

static void on_resolved(conduit_resolution *resolution, const conduit_answer *answers, size_t n,
                        const conduit_error *why, void *user)
{
    resolved = true;
}

static void resolve(const char *uri)
{
    resolved = false;
    cr_assert_eq(conduit_resolve(cdt_ctx, uri, NULL, on_resolved, NULL, NULL), 0);
    cdt_await(&resolved);
}

CDT_TEST(trace, every_event_is_sent_that_the_header_lists_and_no_other)
{
    /* These need a name server that answers: tests of names look at them. */
    static const char *const of_dns[] = {"query", "answer", "cache"};
    char list[1024] = "", word[32];
    begin();
    live();
    resolve("tcp://localhost:1");
    resolve("vchan://0/nobody");
    end();
    read_list(list, sizeof(list));
    int n = 0, taken, n_listed = 0;
    for (const char *at = list; sscanf(at, "%31s%n", word, &taken) == 1; at += taken, n_listed++) {
        bool dns = false;
        for (int i = 0; i < 3; i++)
            dns |= strcmp(word, of_dns[i]) == 0;
        bool tls = strcmp(word, "handshake") != 0 || cdt_have_tls();
        cr_expect(dns || !tls || text_of(word) != NULL, "\"%s\" is never sent", word);
        n += text_of(word) != NULL;
    }
    cr_expect_geq(n_listed, 23, "the list was not found: %s", list);
    for (int i = 0; i < n_seen; i++) {
        char padded[32];
        snprintf(padded, sizeof(padded), " %.15s ", seen[i]);
        cr_expect_not_null(strstr(list, padded), "\"%s\" is not listed", seen[i]);
    }
    cr_expect_eq(n, n_seen);
}

CDT_TEST(trace, a_close_says_why_and_how_much)
{
    begin();
    meet("tcp://127.0.0.1:0");
    cdt_side_expect(&server, 1000);
    cdt_side_send(&client, 1000);
    cdt_await(&server.complete);
    conduit_conn_free(server.conn);
    cr_expect_not_null(strstr(text_of("close"), "freed (1000 bytes in, 0 out)"), "%s",
                       text_of("close"));
    cdt_await(&client.closed);
    cr_expect_not_null(strstr(text_of("close"), "(0 bytes in, 1000 out)"), "%s", text_of("close"));
    end();
}

CDT_TEST(trace, no_password_is_shown)
{
    begin();
    char uri[80];
    snprintf(uri, sizeof(uri), "http://me:secret@127.0.0.1:%d/", cdt_closed_port());
    lose(uri);
    end();
    for (int i = 0; i < n_seen; i++)
        cr_expect_null(strstr(texts[i], "secret"), "%s: %s", seen[i], texts[i]);
}

/* ---- timings ---- */

CDT_TEST(trace, the_time_to_open_is_the_sum_of_its_parts)
{
    begin();
    meet(cdt_have_tls() ? "tls://127.0.0.1:0" : "tcp://127.0.0.1:0");
    const conduit_info *info = conduit_conn_info(client.conn);
    cr_expect_gt(info->dial_ms, 0);
    cr_expect(!cdt_have_tls() || info->handshake_ms > 0);
    cr_expect_leq(info->resolve_ms + info->dial_ms + info->handshake_ms, info->open_ms);
    info = conduit_conn_info(server.conn);
    cr_expect_eq(info->resolve_ms, 0);
    cr_expect_leq(info->dial_ms + info->handshake_ms, info->open_ms + 0.001);
    end();
}

/* ---- the wrong thread ---- */

#ifndef NDEBUG
static void *write_from_elsewhere(void *conn)
{
    conduit_write(conn, "x", 1);
    return NULL;
}

/* In a process of its own, for it ends there. Returns what that said. */
static void misuse(char *said, size_t size)
{
    int out[2], status;
    cr_assert_eq(pipe(out), 0);
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        dup2(out[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        if (pthread_create(&thread, NULL, write_from_elsewhere, client.conn) == 0)
            pthread_join(thread, NULL);
        _exit(0);
    }
    close(out[1]);
    ssize_t n = 0, got;
    while (n + 1 < (ssize_t)size && (got = read(out[0], said + n, size - 1 - (size_t)n)) > 0)
        n += got;
    said[n] = '\0';
    close(out[0]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "it went on: %d", status);
}

CDT_TEST(trace, a_call_from_another_thread_stops_a_debug_build_and_says_why)
{
    char said[2000];
    begin();
    meet("tcp://127.0.0.1:0");
    misuse(said, sizeof(said));
    cr_expect_not_null(strstr(said, "conduit_write"), "%s", said);
    cr_expect_not_null(strstr(said, "belongs to the thread that runs it"), "%s", said);
    end();
}
#endif

static void *run_elsewhere(void *ctx)
{
    conduit_run(ctx);
    return NULL;
}

CDT_TEST(trace, a_context_may_be_made_by_one_thread_and_run_by_another)
{
    pthread_t thread;
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    cr_assert_eq(conduit_listen(ctx, "inproc://x", NULL, NULL, NULL, NULL), 0);
    cr_assert_eq(pthread_create(&thread, NULL, run_elsewhere, ctx), 0);
    conduit_stop(ctx);
    pthread_join(thread, NULL);
    cr_expect_eq(conduit_connect(ctx, "inproc://x", NULL, NULL, NULL, NULL), 0);
    conduit_ctx_free(ctx);
}
