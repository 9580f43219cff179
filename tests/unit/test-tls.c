/* SPDX-License-Identifier: ISC */
/*
 * TLS between two layers in memory: no socket, no loop, no clock but the certificates'.
 *
 * Below each TLS layer is a fake transport, one end of a pair of bounded pipes. It can be made as
 * bad as a network is allowed to be: one byte at a time, full at the worst moment, "not now" at
 * random, cut off in the middle. A meeting drives both ends until nothing moves. The certificates
 * are made once, before the first test: certs/make-certs says which there are.
 */
#include "builtin.h"
#include "context.h"
#include "error.h"
#include "secure.h"
#include "stack.h"
#include "support.h"
#include <conduit/conduit.h>
#include <criterion/hooks.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern const struct cdt_layer_kind cdt_layer_tls;

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
static const char *file(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", getenv("CDT_TEST_CERTS_MADE"), name);
    return path;
}

/* ---- the fake transport ---- */

enum { PIPE_SIZE = 20000 };

/* One direction. */
struct pipe {
    unsigned char bytes[PIPE_SIZE];
    size_t n;
    bool ended;   /* the writer is gone: 0 after the last byte */
    bool broken;  /* reading fails */
    bool refused; /* writing fails */
    size_t total; /* that went in */
};

/* How bad it is: at most `chunk` bytes at a time, and every `deny`-th call is told to come
 * later. */
struct weather {
    size_t chunk;
    unsigned deny, calls;
};

struct fake {
    struct cdt_layer layer;
    struct pipe *in, *out;
    struct weather *weather;
    unsigned reads, writes; /* calls that came */
    unsigned want;
    bool finished, closed;
};

static size_t limit(struct weather *weather, size_t len)
{
    weather->calls++;
    if (weather->deny > 0 && weather->calls % weather->deny == 0)
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

static const struct cdt_layer_ops fake_ops = {
    .name = "fake",
    .open = fake_open,
    .read = fake_read,
    .write = fake_write,
    .finish = fake_finish,
    .want = fake_want,
    .close = fake_close,
};

/* ---- a meeting of two ends ---- */

struct end {
    struct cdt_path *path;
    struct fake fake;
    int code; /* EAGAIN until it is open or has failed */
    size_t sent, received;
    int last; /* what the last read said, if it was not bytes */
};

struct meeting {
    conduit_ctx ctx;
    struct weather weather;
    struct pipe up, down;
    struct end client, server;
};

/* What may be said of the two ends; NULL and zero are the usual. */
struct setup {
    const char *name; /* of the endpoint; "a.example" */
    const char *client_alpn, *server_alpn;
    const char *cert;        /* "server": the server's .pem and .key */
    const char *client_cert; /* none */
    const char *ca;          /* "ca.pem"; "" for the system's */
    const char *server_ca;   /* none */
    const char *client_key, *client_value, *server_key,
        *server_value; /* one more key of conduit_tls_set() */
    struct weather weather;
};

static void set(conduit_tls *tls, const char *key, const char *value)
{
    const conduit_error *error = NULL;
    int code = conduit_tls_set(tls, key, value, &error);
    cr_assert_eq(code, 0, "%s=%s: %s", key, value, error ? conduit_error_text(error) : "");
}

static void set_identity(conduit_tls *tls, const char *name)
{
    char base[32];
    if (name == NULL)
        return;
    snprintf(base, sizeof(base), "%s.pem", name);
    set(tls, "cert", file(base));
    snprintf(base, sizeof(base), "%s.key", name);
    set(tls, "key", file(base));
}

static conduit_tls *make_config(const char *ca, const char *identity, const char *key,
                                const char *value)
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

static int join(struct meeting *meeting, struct end *end, const char *name, const char *alpn,
                bool server, conduit_tls *tls)
{
    const conduit_endpoint *below = conduit_endpoint_inproc("fake");
    const conduit_endpoint *endpoint = conduit_endpoint_tls(name, alpn, below);
    struct cdt_stack_options options = {.server = server, .tls = tls};
    cr_assert_not_null(endpoint);
    end->fake = (struct fake){.layer = {.ops = &fake_ops},
                              .in = server ? &meeting->up : &meeting->down,
                              .out = server ? &meeting->down : &meeting->up,
                              .weather = &meeting->weather};
    end->path = cdt_path_new(&meeting->ctx, endpoint);
    cdt_path_push(end->path, &end->fake.layer);
    end->code = cdt_layer_tls.push(end->path, endpoint, &options);
    conduit_endpoint_unref(endpoint);
    conduit_endpoint_unref(below);
    return end->code;
}

static struct meeting *meet(const struct setup *setup)
{
    struct meeting *meeting = calloc(1, sizeof(*meeting));
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

static void close_end(struct end *end)
{
    bool pushed = end->path != NULL;
    cdt_path_free(end->path, false);
    cr_assert(!pushed || end->fake.closed, "the layer below was not closed");
    end->path = NULL;
}

static void part(struct meeting *meeting)
{
    close_end(&meeting->client);
    close_end(&meeting->server);
    if (meeting->ctx.tls_free != NULL)
        meeting->ctx.tls_free(meeting->ctx.tls);
    free(meeting);
}

/* An end that failed is closed by its owner: the other one sees that. */
static bool step_open(struct end *end)
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

static void shake_hands(struct meeting *meeting)
{
    meeting->client.code = meeting->client.code == 0 ? CONDUIT_EAGAIN : meeting->client.code;
    meeting->server.code = meeting->server.code == 0 ? CONDUIT_EAGAIN : meeting->server.code;
    for (int i = 0; i < 100000; i++) {
        bool client_waits = step_open(&meeting->client);
        bool server_waits = step_open(&meeting->server);
        if (!client_waits && !server_waits)
            return;
    }
    cr_assert_fail("the handshake does not end: client %d, server %d", meeting->client.code,
                   meeting->server.code);
}

static const char *why(const struct end *end)
{
    return end->path->error != NULL ? conduit_error_text(end->path->error) : "no error";
}

static struct meeting *open_meeting(const struct setup *setup)
{
    struct meeting *meeting = meet(setup);
    shake_hands(meeting);
    cr_assert_eq(meeting->client.code, 0, "client: %s", why(&meeting->client));
    cr_assert_eq(meeting->server.code, 0, "server: %s", why(&meeting->server));
    return meeting;
}

static struct cdt_facts facts_of(const struct end *end)
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
static void step_send(struct end *end, size_t goal)
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

static void step_receive(struct end *end, size_t size)
{
    static unsigned char bytes[CDT_BUFFER_SIZE];
    ssize_t n = cdt_layer_read(end->path->top, bytes, size);
    cr_assert(n != 0 && (n > 0 || n == CONDUIT_EAGAIN), "read: %zd %s", n, why(end));
    for (ssize_t i = 0; i < n; i++)
        cr_assert_eq(bytes[i], pattern(end->received + (size_t)i), "byte %zu is wrong",
                     end->received + (size_t)i);
    end->received += n > 0 ? (size_t)n : 0;
}

static void exchange(struct meeting *meeting, size_t up, size_t down, size_t read_size)
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
static int read_to_end(struct end *end)
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

static int finish_end(struct end *end)
{
    for (int i = 0; i < 1000; i++) {
        int code = cdt_layer_finish(end->path->top);
        if (code != CONDUIT_EAGAIN)
            return code;
    }
    return CONDUIT_EAGAIN;
}

/* ---- opening ---- */

CDT_TEST(tls, both_versions_open_and_describe_themselves)
{
    static const struct {
        const char *max, *version;
    } rows[] = {{"1.2", "TLSv1.2"}, {"1.3", "TLSv1.3"}};
    for (size_t i = 0; i < 2; i++) {
        struct setup setup = {.client_key = "max", .client_value = rows[i].max};
        struct meeting *meeting = open_meeting(&setup);
        struct cdt_facts client = facts_of(&meeting->client), server = facts_of(&meeting->server);
        cr_expect_str_eq(client.tls_version, rows[i].version);
        cr_expect_str_eq(server.tls_version, rows[i].version);
        cr_expect_str_eq(client.tls_cipher, server.tls_cipher);
        cr_expect_str_eq(client.tls_name, "a.example");
        cr_expect_str_eq(server.tls_name, "a.example");
        cr_expect_str_eq(client.tls_peer, "CN=a.example");
        cr_expect_str_eq(server.tls_peer, "");
        cr_expect_str_eq(client.tls_verify, "full");
        cr_expect_str_eq(server.tls_verify, "none");
        cr_expect_str_eq(client.tls_alpn, "");
        cr_expect(!client.tls_resumed && !server.tls_resumed);
        exchange(meeting, 1000, 1000, 4096);
        part(meeting);
    }
}

CDT_TEST(tls, min_above_the_peers_max_is_refused_at_both_ends)
{
    struct setup setup = {
        .client_key = "max", .client_value = "1.2", .server_key = "min", .server_value = "1.3"};
    struct meeting *meeting = meet(&setup);
    shake_hands(meeting);
    cr_expect_eq(meeting->server.code, CONDUIT_ETLS);
    cr_expect_str_eq(why(&meeting->server),
                     "tls: tls+inproc://fake: no TLS version in common with the peer");
    cr_expect_eq(meeting->client.code, CONDUIT_ETLS);
    cr_expect_str_eq(why(&meeting->client), "tls: tls+inproc://fake?name=a.example: the peer "
                                            "refused: protocol version (alert 70)");
    part(meeting);
}

CDT_TEST(tls, ciphers_without_a_common_suite_are_refused)
{
    struct setup setup = {.client_key = "ciphers", .client_value = "ECDHE-RSA-AES128-GCM-SHA256"};
    struct meeting *meeting = calloc(1, sizeof(*meeting));
    conduit_tls *client = make_config("ca.pem", NULL, "max", "1.2");
    conduit_tls *server = make_config(NULL, "server", NULL, NULL);
    set(client, setup.client_key, setup.client_value);
    join(meeting, &meeting->client, "a.example", NULL, false, client);
    join(meeting, &meeting->server, "", NULL, true, server);
    shake_hands(meeting);
    cr_expect_eq(meeting->server.code, CONDUIT_ETLS);
    cr_expect(strstr(why(&meeting->server), "no cipher suite in common") != NULL, "%s",
              why(&meeting->server));
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    part(meeting);
}

CDT_TEST(tls, one_certificate_of_each_key_type_serves_all_clients)
{
    struct meeting *meeting = calloc(1, sizeof(*meeting));
    conduit_tls *client = make_config("ca.pem", NULL, "max", "1.2");
    conduit_tls *server = make_config(NULL, "server", NULL, NULL);
    set(client, "ciphers", "ECDHE-RSA-AES128-GCM-SHA256");
    set_identity(server, "rsa");
    join(meeting, &meeting->client, "a.example", NULL, false, client);
    join(meeting, &meeting->server, "", NULL, true, server);
    shake_hands(meeting);
    cr_expect_eq(meeting->client.code, 0, "%s", why(&meeting->client));
    cr_expect_str_eq(facts_of(&meeting->client).tls_cipher, "ECDHE-RSA-AES128-GCM-SHA256");
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    part(meeting);
}

CDT_TEST(tls, what_came_with_the_handshake_is_pending)
{
    struct setup setup = {0};
    struct meeting *meeting = meet(&setup);
    struct end *client = &meeting->client, *server = &meeting->server;
    cr_assert_eq(cdt_layer_open(client->path->top), CONDUIT_EAGAIN);
    cr_assert_eq(cdt_layer_open(server->path->top), CONDUIT_EAGAIN);
    cr_assert_eq(cdt_layer_open(client->path->top), 0);
    step_send(client, 100);
    cr_assert_eq(cdt_layer_open(server->path->top), 0);
    cr_expect(cdt_layer_pending(server->path->top));
    step_receive(server, 4096);
    cr_expect_eq(server->received, 100);
    cr_expect(!cdt_layer_pending(server->path->top));
    part(meeting);
}

CDT_TEST(tls, opening_waits_for_what_it_needs)
{
    struct setup setup = {0};
    struct meeting *meeting = meet(&setup);
    cr_assert_eq(cdt_layer_open(meeting->server.path->top), CONDUIT_EAGAIN);
    cr_expect_eq(meeting->server.fake.want, CDT_READ);
    meeting->up.n = PIPE_SIZE;
    cr_assert_eq(cdt_layer_open(meeting->client.path->top), CONDUIT_EAGAIN);
    cr_expect_eq(meeting->client.fake.want, CDT_READ | CDT_WRITE);
    part(meeting);
}

/* ---- whom to believe ---- */

struct refusal {
    const char *title, *name, *cert, *ca;
    int number;
    const char *text;
};

static void check_refusal(const struct refusal *row)
{
    struct setup setup = {.name = row->name, .cert = row->cert, .ca = row->ca};
    struct meeting *meeting = meet(&setup);
    char text[512];
    snprintf(text, sizeof(text), "tls: %s: %s",
             conduit_endpoint_uri(meeting->client.path->endpoint), row->text);
    shake_hands(meeting);
    const conduit_error *error = meeting->client.path->error;
    cr_assert_eq(meeting->client.code, CONDUIT_ETRUST, "%s: %s", row->title, why(&meeting->client));
    cr_expect_str_eq(conduit_error_text(error), text, "%s: %s", row->title,
                     conduit_error_text(error));
    cr_expect_str_eq(conduit_error_source(error), "X509");
    cr_expect_eq(conduit_error_number(error), row->number, "%s: %ld", row->title,
                 conduit_error_number(error));
    cr_expect_eq(conduit_error_stage(error), CONDUIT_STAGE_TLS);
    cr_expect(meeting->server.code == 0 || meeting->server.code == CONDUIT_ETLS);
    part(meeting);
}

CDT_TEST(tls, certificates_are_turned_away_with_a_reason)
{
    static const struct refusal rows[] = {
        {"another name", "b.example", NULL, NULL, 62,
         "certificate is for \"a.example\", \"*.wild.example\", \"localhost\" and 2 more, not "
         "\"b.example\""},
        {"one name", "a.example", "b", NULL, 62,
         "certificate is for \"b.example\", not \"a.example\""},
        {"wildcard two deep", "x.y.wild.example", NULL, NULL, 62,
         "certificate is for \"a.example\", \"*.wild.example\", \"localhost\" and 2 more, not "
         "\"x.y.wild.example\""},
        {"address", "192.0.2.1", NULL, NULL, 64,
         "certificate is for \"a.example\", \"*.wild.example\", \"localhost\" and 2 more, not "
         "\"192.0.2.1\""},
        {"no names", "a.example", "nameless", NULL, 62,
         "certificate is for nobody (no subjectAltName), not \"a.example\""},
        {"expired", "a.example", "expired", NULL, 10, "certificate has expired (on 2024-01-01)"},
        {"early", "a.example", "early", NULL, 9,
         "certificate is not valid yet (before 2090-01-01)"},
        {"self-signed", "a.example", "self", NULL, 18,
         "certificate is self-signed and not in the trust store"},
        {"unknown authority", "a.example", "unknown", NULL, 20,
         "certificate was issued by an authority that is not in the trust store (issuer CN=Conduit "
         "Test other-ca)"},
        {"other trust", "a.example", NULL, "other-ca.pem", 20,
         "certificate was issued by an authority that is not in the trust store (issuer CN=Conduit "
         "Test ca)"},
        {"for clients only", "a.example", "client", NULL, 26,
         "certificate was not accepted: unsuitable certificate purpose"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_refusal(&rows[i]);
}

CDT_TEST(tls, names_and_addresses_that_are_proved)
{
    static const struct {
        const char *name, *cert, *ca, *sni;
    } rows[] = {
        {"a.example", NULL, NULL, "a.example"},
        {"A.Example", NULL, NULL, "A.Example"},
        {"a.example.", NULL, NULL, "a.example"},
        {"x.wild.example", NULL, NULL, "x.wild.example"},
        {"127.0.0.1", NULL, NULL, ""},
        {"::1", NULL, NULL, ""},
        {"::1%lo", NULL, NULL, ""},
        {"chain.example", "chain", NULL, "chain.example"},
        {"a.example", "self", "self.pem", "a.example"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct setup setup = {.name = rows[i].name, .cert = rows[i].cert, .ca = rows[i].ca};
        struct meeting *meeting = open_meeting(&setup);
        cr_expect_str_eq(facts_of(&meeting->server).tls_name, rows[i].sni, "%s", rows[i].name);
        part(meeting);
    }
}

CDT_TEST(tls, the_systems_store_does_not_know_the_test_ca)
{
    struct setup setup = {.ca = ""};
    struct meeting *meeting = meet(&setup);
    if (meeting->client.code == CONDUIT_ETLS) {
        cr_expect(strstr(why(&meeting->client), "the system has no trust store") != NULL);
    } else {
        shake_hands(meeting);
        cr_expect_eq(meeting->client.code, CONDUIT_ETRUST, "%s", why(&meeting->client));
    }
    part(meeting);
}

CDT_TEST(tls, the_environment_does_not_choose_the_trust_store)
{
    struct setup setup = {.ca = ""};
    setenv("SSL_CERT_FILE", file("ca.pem"), 1);
    struct meeting *meeting = meet(&setup);
    if (meeting->client.code == 0)
        shake_hands(meeting);
    cr_expect(meeting->client.code == CONDUIT_ETRUST || meeting->client.code == CONDUIT_ETLS);
    part(meeting);
}

CDT_TEST(tls, a_name_is_needed_and_has_to_be_one)
{
    static const char *const names[] = {"", ".example", "a..example", "*.example", "a b", "eth%0"};
    struct meeting *meeting = calloc(1, sizeof(*meeting));
    conduit_tls *tls = make_config("ca.pem", NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int code = join(meeting, &meeting->client, names[i], NULL, false, tls);
        cr_expect_eq(code, CONDUIT_EINVAL, "\"%s\": %d", names[i], code);
        close_end(&meeting->client);
    }
    conduit_tls_unref(tls);
    part(meeting);
}

CDT_TEST(tls, insecure_is_only_on_request_and_shows)
{
    struct setup setup = {.name = "b.example",
                          .cert = "expired",
                          .ca = "",
                          .client_key = "verify",
                          .client_value = "insecure"};
    struct meeting *meeting = open_meeting(&setup);
    struct cdt_facts facts = facts_of(&meeting->client);
    cr_expect_str_eq(facts.tls_verify, "insecure");
    cr_expect_str_eq(facts.tls_name, "", "nothing was proved");
    cr_expect_str_eq(facts.tls_peer, "CN=a.example");
    part(meeting);
}

/* ---- client certificates ---- */

CDT_TEST(tls, a_client_certificate_is_verified)
{
    struct setup setup = {.client_cert = "client", .server_ca = "ca.pem"};
    struct meeting *meeting = open_meeting(&setup);
    struct cdt_facts facts = facts_of(&meeting->server);
    cr_expect_str_eq(facts.tls_peer, "CN=client");
    cr_expect_str_eq(facts.tls_verify, "full");
    exchange(meeting, 1000, 1000, 4096);
    part(meeting);
}

CDT_TEST(tls, a_missing_client_certificate_is_refused_and_the_client_told)
{
    static const struct {
        const char *max, *cert, *server, *client;
        int code;
    } rows[] = {
        {"1.3", NULL, "the peer showed no certificate, and one is demanded (ca)",
         "the peer refused: certificate required (alert 116)", CONDUIT_ETRUST},
        {"1.2", NULL, "the peer showed no certificate, and one is demanded (ca)",
         "the peer refused: handshake failure (alert 40)", CONDUIT_ETRUST},
        {"1.3", "server", "certificate was not accepted: unsuitable certificate purpose",
         "the peer refused: unsupported certificate (alert 43)", CONDUIT_ETRUST},
        {"1.3", "unknown",
         "certificate was issued by an authority that is not in the trust store (issuer CN=Conduit "
         "Test other-ca)",
         "the peer refused: unknown CA (alert 48)", CONDUIT_ETRUST},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct setup setup = {.client_cert = rows[i].cert,
                              .server_ca = "ca.pem",
                              .client_key = "max",
                              .client_value = rows[i].max};
        struct meeting *meeting = meet(&setup);
        shake_hands(meeting);
        cr_expect_eq(meeting->server.code, rows[i].code);
        cr_expect(strstr(why(&meeting->server), rows[i].server) != NULL, "%s",
                  why(&meeting->server));
        /* With TLS 1.3 the client was open before the server looked at its certificate. */
        int code = meeting->client.code == 0 ? read_to_end(&meeting->client) : meeting->client.code;
        cr_expect_eq(code, CONDUIT_ETLS);
        cr_expect(strstr(why(&meeting->client), rows[i].client) != NULL, "%s",
                  why(&meeting->client));
        part(meeting);
    }
}

CDT_TEST(tls, an_alert_explains_why_writing_broke)
{
    struct setup setup = {.server_ca = "ca.pem"};
    struct meeting *meeting = meet(&setup);
    struct end *client = &meeting->client;
    shake_hands(meeting);
    cr_assert_eq(client->code, 0);
    meeting->up.refused = true;
    struct iovec v = {certs, sizeof(certs)};
    cr_expect_gt(cdt_layer_write(client->path->top, &v, 1), 0);
    cr_expect_eq(cdt_layer_flush(client->path->top), CONDUIT_ERESET);
    cr_expect_eq(read_to_end(client), CONDUIT_ETLS);
    cr_expect(strstr(why(client), "certificate required (alert 116)") != NULL, "%s", why(client));
    part(meeting);
}

/* ---- ALPN ---- */

CDT_TEST(tls, alpn_is_the_servers_first_choice_that_is_offered)
{
    static const struct {
        const char *client, *server, *agreed;
    } rows[] = {
        {"h2,http/1.1", "http/1.1,h2", "http/1.1"},
        {"h2,http/1.1", "h2", "h2"},
        {"h2", NULL, ""},
        {NULL, "h2", ""},
        {"http/1.1", "http/1.0,http/1.1", "http/1.1"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct setup setup = {.client_alpn = rows[i].client, .server_alpn = rows[i].server};
        struct meeting *meeting = open_meeting(&setup);
        cr_expect_str_eq(facts_of(&meeting->client).tls_alpn, rows[i].agreed, "row %zu", i);
        cr_expect_str_eq(facts_of(&meeting->server).tls_alpn, rows[i].agreed, "row %zu", i);
        part(meeting);
    }
}

CDT_TEST(tls, alpn_of_the_configuration_yields_to_the_endpoints)
{
    struct setup setup = {.client_alpn = "h2",
                          .client_key = "alpn",
                          .client_value = "http/1.1",
                          .server_key = "alpn",
                          .server_value = "http/1.1,h2"};
    struct meeting *meeting = open_meeting(&setup);
    cr_expect_str_eq(facts_of(&meeting->client).tls_alpn, "h2");
    part(meeting);
}

CDT_TEST(tls, alpn_without_a_common_protocol_is_refused)
{
    struct setup setup = {.client_alpn = "h2,h3", .server_alpn = "http/1.1"};
    struct meeting *meeting = meet(&setup);
    shake_hands(meeting);
    cr_expect_eq(meeting->server.code, CONDUIT_ETLS);
    cr_expect(strstr(why(&meeting->server), "no protocol in common: the peer offers \"h2,h3\"") !=
                  NULL,
              "%s", why(&meeting->server));
    cr_expect_eq(meeting->client.code, CONDUIT_ETLS);
    cr_expect(strstr(why(&meeting->client),
                     "the peer refused: no application protocol (alert 120)") != NULL,
              "%s", why(&meeting->client));
    part(meeting);
}

/* ---- bytes ---- */

CDT_TEST(tls, bytes_survive_any_weather)
{
    static const struct {
        struct weather weather;
        size_t up, down, read_size;
    } rows[] = {
        {{0}, 3000000, 3000000, CDT_BUFFER_SIZE},
        {{0}, 100000, 0, 7},
        {{.deny = 3}, 300000, 200000, 1000},
        {{.chunk = 1}, 3000, 3000, 4096},
        {{.chunk = 1, .deny = 2}, 1000, 1000, 1},
        {{.chunk = 777, .deny = 5}, 500000, 500000, 16384},
    };
    static const char *const versions[] = {"1.2", "1.3"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) * 2; i++) {
        struct setup setup = {
            .weather = rows[i / 2].weather, .client_key = "max", .client_value = versions[i % 2]};
        struct meeting *meeting = open_meeting(&setup);
        exchange(meeting, rows[i / 2].up, rows[i / 2].down, rows[i / 2].read_size);
        part(meeting);
    }
}

CDT_TEST(tls, a_turn_costs_one_read_and_one_write_below)
{
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    struct end *client = &meeting->client, *server = &meeting->server;
    exchange(meeting, 100, 100, 4096);
    server->fake.reads = server->fake.writes = client->fake.writes = 0;
    step_send(client, 1100);
    step_receive(server, 4096);
    step_send(server, 1100);
    cr_expect_eq(client->fake.writes, 1);
    cr_expect_eq(server->fake.reads, 1);
    cr_expect_eq(server->fake.writes, 1);
    cr_expect_eq(server->received, 1100);
    part(meeting);
}

CDT_TEST(tls, a_full_path_takes_no_more)
{
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    struct end *client = &meeting->client;
    static char bytes[400000];
    struct iovec v = {bytes, sizeof(bytes)};
    ssize_t taken = cdt_layer_write(client->path->top, &v, 1);
    cr_expect(taken > 0 && taken < 120000, "%zd", taken);
    cr_expect_eq(cdt_layer_write(client->path->top, &v, 1), CONDUIT_EAGAIN);
    cr_expect_eq(cdt_layer_flush(client->path->top), CONDUIT_EAGAIN);
    part(meeting);
}

CDT_TEST(tls, what_did_not_fit_the_buffer_is_pending)
{
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    struct end *client = &meeting->client, *server = &meeting->server;
    cr_expect(!cdt_layer_pending(server->path->top));
    step_send(client, 3000);
    step_send(client, 6000);
    step_receive(server, 500);
    cr_expect_eq(server->received, 500);
    cr_expect(cdt_layer_pending(server->path->top));
    step_receive(server, 5000);
    step_receive(server, 5000);
    cr_expect_eq(server->received, 6000);
    cr_expect(!cdt_layer_pending(server->path->top));
    part(meeting);
}

/* ---- the end ---- */

CDT_TEST(tls, each_direction_ends_on_its_own)
{
    static const char *const versions[] = {"1.2", "1.3"};
    for (int i = 0; i < 2; i++) {
        struct setup setup = {
            .client_key = "max", .client_value = versions[i], .weather = {.chunk = 3, .deny = 4}};
        struct meeting *meeting = open_meeting(&setup);
        struct end *client = &meeting->client, *server = &meeting->server;
        step_send(client, 1000);
        cr_assert_eq(finish_end(client), 0);
        cr_assert_eq(finish_end(client), 0, "again is harmless");
        cr_assert_eq(read_to_end(server), 0);
        cr_expect_eq(server->received, 1000);
        cr_assert_eq(read_to_end(server), 0, "and stays so");
        cr_expect(!cdt_layer_pending(server->path->top), "the end was told");
        while (client->received < 5000) {
            step_send(server, 5000);
            step_receive(client, 4096);
        }
        cr_assert_eq(finish_end(server), 0);
        cr_assert_eq(read_to_end(client), 0);
        cr_expect(client->path->error == NULL && server->path->error == NULL);
        part(meeting);
    }
}

CDT_TEST(tls, an_end_that_came_with_the_last_bytes_is_pending)
{
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    struct end *client = &meeting->client, *server = &meeting->server;
    char bytes[4096];
    step_send(client, 1000);
    cr_assert_eq(finish_end(client), 0);
    cr_assert_eq(cdt_layer_read(server->path->top, bytes, sizeof(bytes)), 1000);
    cr_expect(cdt_layer_pending(server->path->top));
    cr_expect_eq(cdt_layer_read(server->path->top, bytes, sizeof(bytes)), 0);
    cr_expect(!cdt_layer_pending(server->path->top));
    part(meeting);
}

CDT_TEST(tls, a_cut_is_no_end)
{
    static const char *const versions[] = {"1.2", "1.3"};
    for (int i = 0; i < 2; i++) {
        struct setup setup = {.client_key = "max", .client_value = versions[i]};
        struct meeting *meeting = open_meeting(&setup);
        struct end *client = &meeting->client, *server = &meeting->server;
        step_send(client, 1000);
        meeting->up.ended = true;
        cr_assert_eq(read_to_end(server), CONDUIT_ETRUNCATED);
        cr_expect_eq(server->received, 1000, "what came before is delivered");
        cr_expect(strstr(why(server), "the peer ended the stream without close_notify") != NULL);
        cr_expect_eq(conduit_error_stage(server->path->error), CONDUIT_STAGE_IO);
        cr_expect_eq(read_to_end(server), CONDUIT_ETRUNCATED);
        part(meeting);
    }
}

CDT_TEST(tls, a_cut_inside_a_record_is_no_end)
{
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    step_send(&meeting->client, 1000);
    meeting->up.n--;
    meeting->up.ended = true;
    cr_expect_eq(read_to_end(&meeting->server), CONDUIT_ETRUNCATED);
    cr_expect_eq(meeting->server.received, 333, "the first of its two records");
    part(meeting);
}

CDT_TEST(tls, a_failure_below_stays_what_it_is)
{
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    meeting->up.broken = true;
    cr_expect_eq(read_to_end(&meeting->server), CONDUIT_ERESET);
    cr_expect_str_eq(conduit_error_source(meeting->server.path->error), "errno");
    part(meeting);
}

CDT_TEST(tls, a_cut_in_the_handshake)
{
    struct setup setup = {0};
    struct meeting *meeting = meet(&setup);
    meeting->down.ended = true;
    shake_hands(meeting);
    cr_expect_eq(meeting->client.code, CONDUIT_ETLS);
    cr_expect(strstr(why(&meeting->client),
                     "the peer closed the connection during the handshake") != NULL,
              "%s", why(&meeting->client));
    part(meeting);
}

/* ---- hostile and mistaken peers ---- */

CDT_TEST(tls, what_is_not_tls_is_called_so)
{
    static const struct {
        const char *bytes, *text;
        bool to_server;
    } rows[] = {
        {"220 mail.example ESMTP ready\r\n", "the peer does not speak TLS", false},
        {"HTTP/1.1 400 Bad Request\r\n\r\n", "the peer does not speak TLS", false},
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
         "the peer does not speak TLS (it sent a plain HTTP request)", true},
        {"\x01\x02\x03\x04\x05\x06\x07\x08 and so on", "the peer does not speak TLS", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct setup setup = {0};
        struct meeting *meeting = meet(&setup);
        struct end *end = rows[i].to_server ? &meeting->server : &meeting->client;
        struct pipe *in = rows[i].to_server ? &meeting->up : &meeting->down;
        in->n = strlen(rows[i].bytes);
        memcpy(in->bytes, rows[i].bytes, in->n);
        cr_expect_eq(cdt_layer_open(end->path->top), CONDUIT_ETLS, "row %zu", i);
        cr_expect(strstr(why(end), rows[i].text) != NULL, "row %zu: %s", i, why(end));
        part(meeting);
    }
}

CDT_TEST(tls, a_flipped_bit_ends_the_path_and_the_peer_is_told)
{
    struct setup setup = {0};
    struct meeting *meeting = open_meeting(&setup);
    step_send(&meeting->client, 1000);
    meeting->up.bytes[500] ^= 1;
    cr_expect_eq(read_to_end(&meeting->server), CONDUIT_ETLS);
    cr_expect(strstr(why(&meeting->server), "bad record MAC") != NULL, "%s", why(&meeting->server));
    cr_expect_eq(read_to_end(&meeting->client), CONDUIT_ETLS);
    cr_expect(strstr(why(&meeting->client), "the peer refused: bad record mac (alert 20)") != NULL,
              "%s", why(&meeting->client));
    part(meeting);
}

/* One byte of what is on its way, in either direction, becomes another. */
static void corrupt(struct meeting *meeting, unsigned *seed)
{
    struct pipe *pipe = rand_r(seed) % 2 == 0 ? &meeting->up : &meeting->down;
    if (pipe->n > 0)
        pipe->bytes[(size_t)rand_r(seed) % pipe->n] ^= (unsigned char)(1 << rand_r(seed) % 8);
}

CDT_TEST(tls, a_corrupted_handshake_fails_or_waits_and_never_opens_both_ends_unlike)
{
    for (unsigned seed = 1; seed <= 150; seed++) {
        unsigned state = seed;
        struct setup setup = {.client_cert = "client", .server_ca = "ca.pem"};
        struct meeting *meeting = meet(&setup);
        meeting->client.code = meeting->server.code = CONDUIT_EAGAIN;
        for (int i = 0; i < 20; i++) {
            step_open(&meeting->client);
            if (i % 2 == (int)seed % 2)
                corrupt(meeting, &state);
            step_open(&meeting->server);
            corrupt(meeting, &state);
        }
        meeting->up.ended = meeting->down.ended = true; /* a length that grew is waited for */
        shake_hands(meeting);
        bool both = meeting->client.code == 0 && meeting->server.code == 0;
        cr_expect(!both || strcmp(facts_of(&meeting->client).tls_cipher,
                                  facts_of(&meeting->server).tls_cipher) == 0,
                  "seed %u", seed);
        part(meeting);
    }
}

/* ---- configurations ---- */

static void refuse(conduit_tls *tls, const char *key, const char *value, int code, const char *text)
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

CDT_TEST(tls_config, mistakes_show_at_once)
{
    conduit_tls *tls = conduit_tls_new();
    refuse(tls, "verfy", "full", CONDUIT_EINVAL, "\"verfy\" is no TLS option");
    refuse(tls, "verify", "no", CONDUIT_EINVAL, "neither full nor insecure");
    refuse(tls, "min", "1.1", CONDUIT_EINVAL, "neither 1.2 nor 1.3");
    refuse(tls, "max", "TLSv1.3", CONDUIT_EINVAL, "neither 1.2 nor 1.3");
    refuse(tls, "ciphers", "NONSENSE", CONDUIT_EINVAL, "names no TLS 1.2 suite");
    refuse(tls, "alpn", "h2,,h3", CONDUIT_EINVAL, "is no list of protocols");
    refuse(tls, "alpn", "h2, h3", CONDUIT_EINVAL, "is no list of protocols");
    refuse(tls, "ca", "/nonexistent", CONDUIT_ETLS, "ca \"/nonexistent\": No such file");
    refuse(tls, "ca", "/tmp", CONDUIT_ETLS, "is not a regular file");
    refuse(tls, "ca", "/dev/zero", CONDUIT_ETLS, "is not a regular file");
    refuse(tls, "ca", file("server.key"), CONDUIT_ETLS, "holds no certificate");
    refuse(tls, "cert", CDT_TEST_CERTS "/make-certs", CONDUIT_ETLS, "holds no certificate");
    refuse(tls, "key", file("server.key"), CONDUIT_EINVAL, "comes first");
    conduit_tls_unref(tls);
}

CDT_TEST(tls_config, keys_that_do_not_fit)
{
    conduit_tls *tls = conduit_tls_new();
    set(tls, "cert", file("server.pem"));
    refuse(tls, "cert", file("rsa.pem"), CONDUIT_EINVAL, "the cert before it has no key yet");
    refuse(tls, "key", file("client.key"), CONDUIT_ETLS, "does not belong to the cert");
    refuse(tls, "key", file("rsa.key"), CONDUIT_ETLS, "does not belong to the cert");
    refuse(tls, "key", file("server.pem"), CONDUIT_ETLS, "or others may use: chmod 600 it");
    refuse(tls, "key", file("complete"), CONDUIT_ETLS, "holds no private key");
    refuse(tls, "key", "/nonexistent", CONDUIT_ETLS, "No such file");
    refuse(tls, "key", file("encrypted.key"), CONDUIT_ETLS, "is encrypted");
    set(tls, "key", file("server.key"));
    set(tls, "cert", file("b.pem"));
    refuse(tls, "key", file("b.key"), CONDUIT_EINVAL, "a second EC certificate");
    conduit_tls_unref(tls);
}

CDT_TEST(tls_config, a_damaged_file_is_refused)
{
    char damaged[160];
    snprintf(damaged, sizeof(damaged), "%s", cdt_test_path("damaged.pem"));
    FILE *out = fopen(damaged, "w"), *in = fopen(file("ca.pem"), "r");
    for (int c, i = 0; (c = getc(in)) != EOF; i++)
        putc(i == 100 ? '!' : c, out);
    fclose(in);
    fclose(out);
    conduit_tls *tls = conduit_tls_new();
    refuse(tls, "ca", damaged, CONDUIT_ETLS, "bad base64 decode");
    conduit_tls_unref(tls);
}

CDT_TEST(tls_config, a_key_that_others_may_read_is_refused)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0660, 0644};
    char open_key[160], command[400];
    snprintf(open_key, sizeof(open_key), "%s", cdt_test_path("open.key"));
    snprintf(command, sizeof(command), "cp %s %s", file("server.key"), open_key);
    cr_assert_eq(system(command), 0);
    conduit_tls *tls = make_config(NULL, NULL, "cert", file("server.pem"));
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        cr_assert_eq(chmod(open_key, modes[i]), 0);
        refuse(tls, "key", open_key, CONDUIT_ETLS, "chmod 600");
    }
    cr_assert_eq(chmod(open_key, 0400), 0);
    set(tls, "key", open_key);
    conduit_tls_unref(tls);
}

static void refuse_seal(conduit_tls *tls, bool server, int code, const char *text)
{
    const conduit_error *error = NULL;
    cr_expect_eq(cdt_tls_seal(tls, server, &error), code);
    cr_assert_not_null(error);
    cr_expect(strstr(conduit_error_text(error), text) != NULL, "%s", conduit_error_text(error));
    conduit_error_unref(error);
    conduit_tls_unref(tls);
}

CDT_TEST(tls_config, what_is_incomplete_is_not_used)
{
    refuse_seal(conduit_tls_new(), true, CONDUIT_ETLS, "a TLS listener needs cert and key");
    refuse_seal(make_config(NULL, NULL, "cert", file("server.pem")), false, CONDUIT_ETLS,
                "a cert has no key");
    conduit_tls *tls = make_config(NULL, NULL, "min", "1.3");
    set(tls, "max", "1.2");
    refuse_seal(tls, false, CONDUIT_EINVAL, "leave no TLS version");
    refuse_seal(make_config("ca.pem", "server", "verify", "insecure"), true, CONDUIT_EINVAL,
                "takes that back");
}

CDT_TEST(tls_config, what_is_in_use_does_not_change)
{
    conduit_tls *tls = make_config("ca.pem", "server", NULL, NULL);
    cr_assert_eq(cdt_tls_seal(tls, true, NULL), 0);
    cr_assert_eq(cdt_tls_seal(tls, true, NULL), 0);
    refuse(tls, "min", "1.3", CONDUIT_EINVAL, "in use");
    refuse(tls, "alpn", "h2", CONDUIT_EINVAL, "in use");
    conduit_tls_unref(tls);
}

CDT_TEST(tls_config, a_copy_says_the_same_and_more)
{
    conduit_tls *tls = make_config("ca.pem", "server", "alpn", "h2"), *copy = NULL;
    cr_assert_eq(cdt_tls_seal(tls, true, NULL), 0);
    cr_assert_eq(cdt_tls_copy(tls, &copy, NULL), 0);
    conduit_tls_unref(tls);
    cr_expect_str_eq(cdt_tls_alpn(copy), "h2");
    set(copy, "alpn", "http/1.1");
    cr_expect_str_eq(cdt_tls_alpn(copy), "http/1.1");
    cr_expect_eq(cdt_tls_seal(copy, true, NULL), 0);
    conduit_tls_unref(copy);
}

CDT_TEST(tls_config, nothing_is_fine)
{
    conduit_tls_unref(NULL);
    cr_expect_null(conduit_tls_ref(NULL));
    cr_expect_eq(conduit_tls_set(NULL, "min", "1.2", NULL), CONDUIT_EINVAL);
}

/* ---- TLS over TLS ---- */

CDT_TEST(tls, runs_over_itself)
{
    struct meeting *meeting = calloc(1, sizeof(*meeting));
    conduit_tls *client = make_config("ca.pem", NULL, NULL, NULL);
    conduit_tls *server = make_config(NULL, "server", NULL, NULL);
    struct cdt_stack_options options = {.tls = client};
    join(meeting, &meeting->client, "a.example", NULL, false, client);
    join(meeting, &meeting->server, "", NULL, true, server);
    cr_assert_eq(cdt_layer_tls.push(meeting->client.path, meeting->client.path->endpoint, &options),
                 0);
    options = (struct cdt_stack_options){.server = true, .tls = server};
    cr_assert_eq(cdt_layer_tls.push(meeting->server.path, meeting->server.path->endpoint, &options),
                 0);
    conduit_tls_unref(client);
    conduit_tls_unref(server);
    meeting->weather.chunk = 1000;
    shake_hands(meeting);
    cr_assert_eq(meeting->client.code, 0, "%s", why(&meeting->client));
    exchange(meeting, 300000, 300000, 10000);
    cr_assert_eq(finish_end(&meeting->client), 0);
    cr_expect_eq(read_to_end(&meeting->server), 0);
    part(meeting);
}
