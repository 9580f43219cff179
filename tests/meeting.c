/* SPDX-License-Identifier: ISC */
/* See meeting.h. The certificates are made once, by the process that runs the tests; a test is a
 * process of its own and finds them by an environment variable. */
#include "meeting.h"
#include <criterion/hooks.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- certificates ---- */

static char certs[] = "/tmp/conduit-certs-XXXXXX";

static int run(const char *program, const char *argument)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execlp(program, program, argument, (char *)NULL);
        _exit(127);
    }
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
    if (mkdtemp(certs) == NULL || run(CDT_TEST_CERTS "/make-certs", certs) < 0) {
        fprintf(stderr, "the test certificates cannot be made\n");
        exit(1);
    }
    setenv("CDT_TEST_CERTS_MADE", certs, 1);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", certs);
    if (system(command) != 0)
        fprintf(stderr, "%s is left behind\n", certs);
}

/* Valid until the fourth call from here. */
const char *file(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", getenv("CDT_TEST_CERTS_MADE"), name);
    return path;
}

static size_t limit(struct weather *weather, size_t len)
{
    weather->calls++;
    if (weather->deny > 0 && (weather->calls * 2654435761U >> 16) % weather->deny == 0)
        return 0;
    return weather->chunk > 0 && weather->chunk < len ? weather->chunk : len;
}

static int fake_open(struct cdt_layer *layer)
{
    return 0;
}

static ssize_t fake_read(struct cdt_layer *layer, void *buf, size_t len)
{
    struct fake *fake = (struct fake *)layer;
    struct pipe *in = fake->in;
    fake->reads++;
    if (in->broken)
        return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, ECONNRESET, "read");
    if (in->n == 0)
        return in->ended ? 0 : CONDUIT_EAGAIN;
    size_t n = limit(fake->weather, len < in->n ? len : in->n);
    if (n == 0)
        return CONDUIT_EAGAIN;
    memcpy(buf, in->bytes, n);
    in->n -= n;
    memmove(in->bytes, in->bytes + n, in->n);
    return (ssize_t)n;
}

static ssize_t fake_write(struct cdt_layer *layer, const struct iovec *v, int count)
{
    struct fake *fake = (struct fake *)layer;
    struct pipe *out = fake->out;
    size_t room = PIPE_SIZE - out->n;
    fake->writes++;
    if (out->refused)
        return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, EPIPE, "write");
    size_t n = limit(fake->weather, v->iov_len < room ? v->iov_len : room);
    if (n == 0)
        return CONDUIT_EAGAIN;
    memcpy(out->bytes + out->n, v->iov_base, n);
    out->n += n;
    out->total += n;
    return (ssize_t)n;
}

static int fake_finish(struct cdt_layer *layer)
{
    struct fake *fake = (struct fake *)layer;
    fake->out->ended = true;
    fake->finished = true;
    return 0;
}

static void fake_want(struct cdt_layer *layer, unsigned events)
{
    ((struct fake *)layer)->want = events;
}

static void fake_close(struct cdt_layer *layer, bool reset)
{
    ((struct fake *)layer)->closed = true;
}

/* Who waits for a thread is asked again all the time. */
static void fake_ready(struct cdt_path *path, unsigned events) {}

static const struct cdt_layer_ops fake_ops = {
    .name = "fake",
    .open = fake_open,
    .read = fake_read,
    .write = fake_write,
    .finish = fake_finish,
    .want = fake_want,
    .close = fake_close,
};

void set(conduit_tls *tls, const char *key, const char *value)
{
    const conduit_error *error = NULL;
    int code = conduit_tls_set(tls, key, value, &error);
    cr_assert_eq(code, 0, "%s=%s: %s", key, value, error ? conduit_error_text(error) : "");
}

void needs(const char *key, const char *value)
{
    conduit_tls *tls = conduit_tls_new();
    int code = conduit_tls_set(tls, key, value, NULL);
    conduit_tls_unref(tls);
    if (code != CONDUIT_ENOTSUP)
        return;
    cr_assert_null(strstr(conduit_version(), "OpenSSL"), "%s=%s: OpenSSL can", key, value);
    cr_skip_test("not with this TLS library: %s=%s", key, value);
}

void set_identity(conduit_tls *tls, const char *name)
{
    char base[32];
    if (name == NULL)
        return;
    snprintf(base, sizeof(base), "%s.pem", name);
    set(tls, "cert", file(base));
    snprintf(base, sizeof(base), "%s.key", name);
    set(tls, "key", file(base));
}

conduit_tls *make_config(const char *ca, const char *identity, const char *key, const char *value)
{
    conduit_tls *tls = conduit_tls_new();
    cr_assert_not_null(tls);
    if (ca != NULL && *ca != '\0')
        set(tls, "ca", file(ca));
    set_identity(tls, identity);
    if (key != NULL)
        set(tls, key, value);
    return tls;
}

int join(struct meeting *meeting, struct end *end, const char *name, const char *alpn, bool server,
         conduit_tls *tls)
{
    const conduit_endpoint *below = conduit_endpoint_inproc("fake");
    const conduit_endpoint *endpoint = conduit_endpoint_tls(name, alpn, below);
    struct cdt_stack_options options = {.server = server, .tls = tls};
    cr_assert_not_null(endpoint);
    end->fake = (struct fake){.layer = {.ops = &fake_ops},
                              .in = server ? &meeting->up : &meeting->down,
                              .out = server ? &meeting->down : &meeting->up,
                              .weather = &meeting->weather};
    end->path = cdt_path_new(meeting->ctx, endpoint);
    end->path->ready = fake_ready;
    cdt_path_push(end->path, &end->fake.layer);
    end->code = cdt_layer_tls.push(end->path, endpoint, &options);
    conduit_endpoint_unref(endpoint);
    conduit_endpoint_unref(below);
    return end->code;
}

uint64_t meeting_ms = 1000;

static uint64_t read_clock(const conduit_ctx *ctx)
{
    return meeting_ms;
}

struct meeting *new_meeting(void)
{
    struct meeting *meeting = calloc(1, sizeof(*meeting));
    cr_assert_eq(uv_loop_init(&meeting->loop), 0);
    meeting->ctx = &meeting->own;
    meeting->own.loop = &meeting->loop;
    meeting->own.now_ms = read_clock;
    meeting->own.n_handles = 1; /* this one never ends by itself */
    return meeting;
}

struct meeting *meet(const struct setup *setup)
{
    struct meeting *meeting = new_meeting();
    const char *name = setup->name != NULL ? setup->name : "a.example";
    conduit_tls *client = make_config(setup->ca != NULL ? setup->ca : "ca.pem", setup->client_cert,
                                      setup->client_key, setup->client_value);
    conduit_tls *server =
        make_config(setup->server_ca, setup->cert != NULL ? setup->cert : "server",
                    setup->server_key, setup->server_value);
    meeting->weather = setup->weather;
    join(meeting, &meeting->client, name, setup->client_alpn, false, client);
    join(meeting, &meeting->server, "", setup->server_alpn, true, server);
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    return meeting;
}

static void join_both(struct meeting *meeting, conduit_tls *client, conduit_tls *server,
                      const char *name)
{
    join(meeting, &meeting->client, name, NULL, false, client);
    join(meeting, &meeting->server, "", NULL, true, server);
}

struct meeting *meet_with(conduit_tls *client, conduit_tls *server, const char *name)
{
    struct meeting *meeting = new_meeting();
    join_both(meeting, client, server, name);
    return meeting;
}

struct meeting *meet_again(struct meeting *first, conduit_tls *client, conduit_tls *server,
                           const char *name)
{
    struct meeting *meeting = calloc(1, sizeof(*meeting));
    meeting->ctx = first->ctx;
    join_both(meeting, client, server, name);
    return meeting;
}

void close_end(struct end *end)
{
    bool pushed = end->path != NULL;
    cdt_path_free(end->path, false);
    cr_assert(!pushed || end->fake.closed, "the layer below was not closed");
    end->path = NULL;
}

void part(struct meeting *meeting)
{
    close_end(&meeting->client);
    close_end(&meeting->server);
    uv_run(&meeting->loop, UV_RUN_DEFAULT);
    if (meeting->own.tls_free != NULL)
        meeting->own.tls_free(meeting->own.tls);
    cr_assert_eq(uv_loop_close(&meeting->loop), 0);
    free(meeting);
}

void part_again(struct meeting *meeting)
{
    close_end(&meeting->client);
    close_end(&meeting->server);
    free(meeting);
}

/* An end that failed is closed by its owner: the other one sees that. */
bool step_open(struct end *end)
{
    if (end->code != 0 && end->code != CONDUIT_EAGAIN)
        return false;
    end->code = cdt_layer_open(end->path->top);
    if (end->code < 0 && end->code != CONDUIT_EAGAIN)
        end->fake.out->ended = true;
    else
        cdt_layer_flush(end->path->top);
    return end->code == CONDUIT_EAGAIN;
}

void shake_hands(struct meeting *meeting)
{
    meeting->client.code = meeting->client.code == 0 ? CONDUIT_EAGAIN : meeting->client.code;
    meeting->server.code = meeting->server.code == 0 ? CONDUIT_EAGAIN : meeting->server.code;
    for (int i = 0; i < 100000; i++) {
        uv_run(meeting->ctx->loop, UV_RUN_NOWAIT); /* anchors are loaded on a thread */
        bool client_waits = step_open(&meeting->client);
        bool server_waits = step_open(&meeting->server);
        if (!client_waits && !server_waits)
            return;
    }
    cr_assert_fail("the handshake does not end: client %d, server %d", meeting->client.code,
                   meeting->server.code);
}

const char *why(const struct end *end)
{
    return end->path->error != NULL ? conduit_error_text(end->path->error) : "no error";
}

int reason(const struct end *end)
{
    return end->path->error != NULL ? conduit_error_reason(end->path->error) : 0;
}

struct meeting *opened(struct meeting *meeting)
{
    shake_hands(meeting);
    cr_assert_eq(meeting->client.code, 0, "client: %s", why(&meeting->client));
    cr_assert_eq(meeting->server.code, 0, "server: %s", why(&meeting->server));
    return meeting;
}

struct meeting *open_meeting(const struct setup *setup)
{
    return opened(meet(setup));
}

struct meeting *open_with(conduit_tls *client, conduit_tls *server, const char *name)
{
    return opened(meet_with(client, server, name));
}

struct cdt_facts facts_of(const struct end *end)
{
    struct cdt_facts facts = {0};
    end->path->top->ops->describe(end->path->top, &facts);
    cr_assert(facts.has_tls);
    return facts;
}

/* ---- bytes ---- */

static unsigned char pattern(size_t at)
{
    return (unsigned char)(at * 2654435761U >> 13);
}

/* Two pieces at a time, of odd sizes. */
void step_send(struct end *end, size_t goal)
{
    static unsigned char bytes[50000];
    size_t left = goal - end->sent;
    size_t n = left < sizeof(bytes) ? left : sizeof(bytes);
    if (n > 0) {
        for (size_t i = 0; i < n; i++)
            bytes[i] = pattern(end->sent + i);
        struct iovec v[2] = {{bytes, n / 3}, {bytes + n / 3, n - n / 3}};
        ssize_t taken = cdt_layer_write(end->path->top, v, 2);
        cr_assert(taken > 0 || taken == CONDUIT_EAGAIN, "write: %s", why(end));
        end->sent += taken > 0 ? (size_t)taken : 0;
    }
    int flushed = cdt_layer_flush(end->path->top);
    cr_assert(flushed == 0 || flushed == CONDUIT_EAGAIN, "flush: %s", why(end));
}

void step_receive(struct end *end, size_t size)
{
    static unsigned char bytes[CDT_BUFFER_SIZE];
    ssize_t n = cdt_layer_read(end->path->top, bytes, size);
    cr_assert(n != 0 && (n > 0 || n == CONDUIT_EAGAIN), "read: %zd %s", n, why(end));
    for (ssize_t i = 0; i < n; i++)
        cr_assert_eq(bytes[i], pattern(end->received + (size_t)i), "byte %zu is wrong",
                     end->received + (size_t)i);
    end->received += n > 0 ? (size_t)n : 0;
}

void exchange(struct meeting *meeting, size_t up, size_t down, size_t read_size)
{
    struct end *client = &meeting->client, *server = &meeting->server;
    size_t up_goal = server->received + up, down_goal = client->received + down;
    for (int i = 0; i < 10000000; i++) {
        step_send(client, up_goal);
        step_send(server, down_goal);
        step_receive(client, read_size);
        step_receive(server, read_size);
        if (server->received == up_goal && client->received == down_goal)
            return;
    }
    cr_assert_fail("stuck at %zu of %zu up, %zu of %zu down", server->received, up_goal,
                   client->received, down_goal);
}

/* Read until it says something that is neither bytes nor EAGAIN. */
int read_to_end(struct end *end)
{
    char bytes[4096];
    for (int i = 0; i < 1000; i++) {
        ssize_t n = cdt_layer_read(end->path->top, bytes, sizeof(bytes));
        if (n <= 0 && n != CONDUIT_EAGAIN)
            return (int)n;
        end->received += n > 0 ? (size_t)n : 0;
    }
    return CONDUIT_EAGAIN;
}

int finish_end(struct end *end)
{
    for (int i = 0; i < 1000; i++) {
        int code = cdt_layer_finish(end->path->top);
        if (code != CONDUIT_EAGAIN)
            return code;
    }
    return CONDUIT_EAGAIN;
}

void refuse(conduit_tls *tls, const char *key, const char *value, int code, const char *text)
{
    const conduit_error *error = NULL;
    int got = conduit_tls_set(tls, key, value, &error);
    cr_expect_eq(got, code, "%s=%s: %d", key, value, got);
    cr_assert_not_null(error);
    cr_expect(strstr(conduit_error_text(error), text) != NULL, "%s=%s: %s", key, value,
              conduit_error_text(error));
    conduit_error_unref(error);
    cr_expect_eq(conduit_tls_set(tls, key, value, NULL), code, "without an error it says the same");
}
