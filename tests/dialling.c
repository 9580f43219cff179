/* SPDX-License-Identifier: ISC */
#include "dialling.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the scripted resolver ---- */

struct script script;

static void play(void);

static void on_step(uv_timer_t *timer)
{
    play();
}

static void end_query(int code)
{
    conduit_query *query = script.query;
    script.query = NULL;
    script.n_done++;
    if (code == CONDUIT_ETEMP)
        conduit_query_done(query, code, "test", 42, "out of order");
    else
        conduit_query_done(query, code, NULL, 0, NULL);
}

static void add_address(const char *host)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
        conduit_query_add_address(script.query, (struct sockaddr *)&in, 60);
    else if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
        conduit_query_add_address(script.query, (struct sockaddr *)&in6, 60);
}

static void do_step(const struct step *step)
{
    const conduit_endpoint *endpoint = NULL;
    switch (step->what) {
    case ADD:
        cr_assert_eq(conduit_endpoint_parse(step->endpoint, &endpoint, NULL), 0);
        conduit_query_add(script.query, endpoint, 60);
        conduit_endpoint_unref(endpoint);
        break;
    case ADDRESS:
        add_address(step->endpoint);
        break;
    case RANK:
        conduit_query_set_rank(script.query, step->family);
        break;
    case SETTLED:
        conduit_query_settled(script.query, step->family);
        break;
    case DONE:
        end_query(0);
        break;
    case FAIL:
        end_query(CONDUIT_ETEMP);
        break;
    }
}

/* Every step that is due. */
static void play(void)
{
    while (script.query != NULL && script.next < script.n) {
        const struct step *step = &script.steps[script.next];
        uint64_t now = uv_hrtime() / 1000000 - script.since_ms;
        if (step->at_ms > now) {
            uv_update_time(&cdt_loop);
            uv_timer_start(&script.timer, on_step, step->at_ms - now, 0);
            return;
        }
        script.next++;
        do_step(step);
    }
}

static int attach(conduit_ctx *ctx, const conduit_ctx_options *of_ctx, void **state)
{
    return uv_timer_init(conduit_ctx_loop(ctx), &script.timer);
}

static void detach(void *state)
{
    uv_close((uv_handle_t *)&script.timer, NULL);
}

static bool accepts(const conduit_query *query, void *state)
{
    return strcmp(conduit_query_host(query), "scripted") == 0;
}

static void start(conduit_query *query, void *state)
{
    cr_assert_null(script.query, "one query at a time");
    script.query = query;
    script.next = 0;
    script.since_ms = uv_hrtime() / 1000000;
    script.n_started++;
    play();
}

static void cancel(conduit_query *query, void *state)
{
    cr_expect_eq(query, script.query, "not what was asked was canceled");
    uv_timer_stop(&script.timer);
    script.query = NULL;
    script.n_canceled++;
}

static const conduit_resolver scripted = {
    .name = "scripted",
    .attach = attach,
    .detach = detach,
    .accepts = accepts,
    .start = start,
    .cancel = cancel,
};

void answer(unsigned at_ms, const char *endpoint)
{
    script.steps[script.n++] = (struct step){.at_ms = at_ms, .what = ADD, .endpoint = endpoint};
}

void finish(unsigned at_ms)
{
    script.steps[script.n++] = (struct step){.at_ms = at_ms, .what = DONE};
}

void rank(int to)
{
    script.steps[script.n++] = (struct step){.what = RANK, .family = to};
}

void settle(unsigned at_ms, int family)
{
    script.steps[script.n++] = (struct step){.at_ms = at_ms, .what = SETTLED, .family = family};
}

/* ---- places ---- */

const char *place(int family, int port)
{
    static char texts[16][40];
    static size_t next;
    char *text = texts[next++ % 16];
    snprintf(text, sizeof(texts[0]), family == AF_INET ? "tcp://127.0.0.1:%d" : "tcp://[::1]:%d",
             port);
    return text;
}

const char *closed_place(void)
{
    return place(AF_INET, cdt_closed_port());
}

const char *dig(struct hole *hole)
{
    int port = 0;
    hole->fds[0] = cdt_raw_listen(AF_INET, 0, &port);
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (hole->n = 1; hole->n < 8; hole->n++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        hole->fds[hole->n] = fd;
        cr_assert(connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0 || errno == EINPROGRESS);
        struct pollfd ready = {.fd = fd, .events = POLLOUT};
        if (poll(&ready, 1, 20) == 0) {
            hole->n++;
            return place(AF_INET, port);
        }
    }
    cr_skip_test("no black hole is to be had here");
    return NULL;
}

void fill_in(struct hole *hole)
{
    while (hole->n > 0)
        close(hole->fds[--hole->n]);
}

/* ---- the surroundings ---- */

struct cdt_side client, server;
conduit_connect_options options;
char attempts[16][128];
int n_attempts;

static void on_trace(void *user, double at_ms, const char *event, const char *text)
{
    if (strcmp(event, "attempt") == 0 && n_attempts < 16)
        snprintf(attempts[n_attempts++], sizeof(attempts[0]), "%s", text);
}

void begin(void)
{
    script.n = 0;
    script.n_started = script.n_done = script.n_canceled = 0;
    n_attempts = 0;
    options = (conduit_connect_options){0};
    cdt_open_ctx(&(conduit_ctx_options){.trace = on_trace});
    cr_assert_eq(conduit_ctx_add_resolver(cdt_ctx, &scripted), 0);
}

void end(void)
{
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
    conduit_tls_unref(options.tls);
}

const char *serve(const char *uri)
{
    conduit_listener *listener;
    conduit_listen_options listening = {.tls = cdt_server_tls()};
    int code = conduit_listen(cdt_ctx, uri, &listening, &cdt_side_handler, &server, &listener);
    cr_assert_eq(code, 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
    conduit_tls_unref(listening.tls);
    return conduit_listener_uri(listener, 0);
}

void call(const char *uri)
{
    cr_assert_eq(conduit_connect(cdt_ctx, uri, &options, &cdt_side_handler, &client, &client.conn),
                 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

void trust(void)
{
    options.tls = cdt_client_tls();
    options.name = "a.example";
}

void expect_failed(conduit_code code, conduit_stage stage)
{
    cdt_await(&client.closed);
    cr_expect_str_eq(client.story, "c");
    cr_expect_eq(cdt_side_code(&client), code, "%s", cdt_side_text(&client));
    cr_assert_not_null(client.why);
    cr_expect_eq(conduit_error_stage(client.why), stage, "%s", cdt_side_text(&client));
}

double milliseconds(void)
{
    return (double)uv_hrtime() / 1e6;
}
