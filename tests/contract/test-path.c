/* SPDX-License-Identifier: ISC */
/*
 * The contract of a connection, kept by every stack: each point is written once and run for each
 * row.
 *
 * A row is one of the transports with one of the layers over it; with a proxy, it is the way to the
 * proxy that the transport leads. Both ends, and the proxy, live in one context. After each row the
 * context is freed, and no handle and no descriptor may be left.
 */
#include "harness.h"
#include "proxy.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { KILO = 1024, MEGA = 1024 * 1024 };

static const struct transport {
    const char *name, *address; /* of those with a path without it, which is this test's own */
    bool ip6;
    bool resets;      /* an abort is told from an end */
    const char *from; /* whose PROXY headers are taken */
    /* The listening socket is made by somebody else, and passed by number ("fd") or by name
     * ("systemd"); NULL: it is ours. */
    const char *passed;
} transports[] = {
    {"tcp", "//127.0.0.1:0", .resets = true, .from = "127.0.0.0/8"},
    {"tcp", "//[::1]:0", .ip6 = true, .resets = true, .from = "::1"},
    {"unix", "", .from = "local"}, /* there is no reset in AF_UNIX: it is an end */
    {"unix-abstract", "", .from = "local"},
    {"inproc", "//x", .resets = true, .from = "local"},
    {"vchan", "//0/x", .resets = true, .from = "local"},
    {"tcp", "//127.0.0.1:0", .resets = true, .from = "127.0.0.0/8", .passed = "fd"},
    {"unix", "", .from = "local", .passed = "fd"},
    {"tcp", "//127.0.0.1:0", .resets = true, .from = "127.0.0.0/8", .passed = "systemd"},
};

static const struct layer {
    const char *stack; /* "tls+" */
    bool tls;
    int header;      /* the version of a PROXY header; 0: none */
    const char *via; /* the kind of a proxy; NULL: none */
    const char *hop; /* ... and of its layer */
} layers[] = {
    {"", .tls = false},
    {"tls+", .tls = true},
    {"tls+tls+", .tls = true},
    {"", .header = 1},
    {"tls+", .tls = true, .header = 2},
    {"", .via = "socks5", .hop = "socks5+"},
    {"", .via = "http", .hop = "connect+"},
    {"tls+", .tls = true, .via = "http", .hop = "connect+"},
};

struct row {
    char listen[96]; /* what it is called */
    const struct transport *transport;
    const struct layer *layer;
    bool tls, resets;
};

/* What a point of the contract has at hand. */
static const struct row *row;
static char place[256]; /* where the listener listens */
static char uri[256];   /* ... and what is dialled to get there */
static char via[256];
static struct cdt_proxy proxy;
static conduit_listener *listener;
static conduit_connect_options dialling;
static conduit_listen_options listening;
static struct cdt_side client, server;

#define expect(condition) cr_expect(condition, "%s: not %s", row->listen, #condition)
#define expect_code(side, wanted)                                                                  \
    cr_expect_eq(cdt_side_code(side), wanted, "%s: %s: %s", row->listen, #side, cdt_side_text(side))

static void await_named(const bool *done, const char *what)
{
    cr_assert(cdt_test_run_until(&cdt_loop, done),
              "%s: it never came to %s (client \"%s\" %zu, server \"%s\" %zu)", row->listen, what,
              client.story, client.received, server.story, server.received);
}
#define await(done) await_named(done, #done)

/* ---- the two ends ---- */

static const char *transport(void)
{
    return row->layer->via == NULL ? row->transport->name : "tcp";
}

/* ---- sockets that somebody else has made ---- */

static int listen_at_path(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    cr_assert_eq(listen(fd, 100), 0);
    return fd;
}

/* As the last of those from 3 on, and the only one with a name. */
static void name_for_systemd(int fd)
{
    char text[1024];
    snprintf(text, sizeof(text), "%ld", (long)getpid());
    setenv("LISTEN_PID", text, 1);
    snprintf(text, sizeof(text), "%d", fd - 3 + 1);
    setenv("LISTEN_FDS", text, 1);
    cr_assert_lt(fd, 512);
    memset(text, ':', (size_t)fd - 3);
    snprintf(text + fd - 3, sizeof(text) - (size_t)fd, "contract");
    setenv("LISTEN_FDNAMES", text, 1);
}

/* Where `at` is to be listened at, without layers. `name` is for those with a path. */
static void print_place(char *text, size_t size, const struct transport *at, const char *name)
{
    bool at_path = strncmp(at->name, "unix", 4) == 0;
    int port = 0, fd = -1;
    if (at->passed != NULL)
        fd = at_path ? listen_at_path(cdt_test_path(name)) : cdt_raw_listen(AF_INET, 100, &port);
    if (at->passed == NULL) {
        snprintf(text, size, "%s:%s%s", at->name, at->address, at_path ? cdt_test_path(name) : "");
    } else if (strcmp(at->passed, "fd") == 0) {
        snprintf(text, size, "fd:%d", fd);
    } else {
        fcntl(fd, F_SETFD, 0);
        name_for_systemd(fd);
        snprintf(text, size, "systemd:contract");
    }
}

/* ---- listening and dialling ---- */

/* Behind a proxy it is TCP, whatever leads to the proxy. */
static int start_listening(conduit_listener **ret)
{
    char text[192];
    const struct transport *at = row->layer->via == NULL ? row->transport : &transports[0];
    char bottom[128];
    print_place(bottom, sizeof(bottom), at, "s");
    int n = snprintf(text, sizeof(text), "%s%s", row->layer->stack, bottom);
    if (row->layer->header != 0)
        snprintf(text + n, sizeof(text) - (size_t)n, "?proxy_from=%s", at->from);
    return conduit_listen(cdt_ctx, text, &listening, &cdt_side_handler, &server, ret);
}

static void start_proxy(void)
{
    char text[192];
    print_place(text, sizeof(text), row->transport, "proxy");
    const char *at = cdt_proxy_listen(&proxy, text, NULL);
    snprintf(via, sizeof(via), "%s+%s", row->layer->via, at);
    dialling.via = via;
}

static void begin(const struct row *at)
{
    row = at;
    dialling = (conduit_connect_options){.name = at->tls ? "a.example" : NULL};
    listening = (conduit_listen_options){0};
    /* Longer than any test waits: a close that is only ended by its deadline is found out. */
    dialling.conn.close_timeout_ms = listening.conn.close_timeout_ms = 60000;
    dialling.tls = at->tls ? cdt_client_tls() : NULL;
    listening.tls = at->tls ? cdt_server_tls() : NULL;
    setenv("XDG_RUNTIME_DIR", cdt_test_directory(), 1); /* for vchan */
    cdt_open_ctx(NULL);
    proxy = (struct cdt_proxy){0};
    if (at->layer->via != NULL)
        start_proxy();
}

static void end(void)
{
    cdt_close_ctx();
    cdt_side_clear(&client);
    cdt_side_clear(&server);
    conduit_tls_unref(dialling.tls);
    conduit_tls_unref(listening.tls);
}

static void serve(void)
{
    cr_assert_eq(start_listening(&listener), 0, "%s: %s", row->listen,
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
    snprintf(place, sizeof(place), "%s", conduit_listener_uri(listener, 0));
    snprintf(uri, sizeof(uri), "%s", place);
    char *query = strchr(uri, '?');
    if (row->layer->header != 0 && query != NULL)
        snprintf(query, sizeof(uri) - (size_t)(query - uri), "?proxy_send=%d", row->layer->header);
}

static void call(void)
{
    cr_assert_eq(conduit_connect(cdt_ctx, uri, &dialling, &cdt_side_handler, &client, &client.conn),
                 0, "%s: %s", uri, conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

static void meet(void)
{
    serve();
    call();
    await(&client.opened);
    await(&server.opened);
}

static struct row make_row(const struct transport *at, const struct layer *layer)
{
    struct row made = {.transport = at, .layer = layer, .tls = layer->tls, .resets = at->resets};
    snprintf(made.listen, sizeof(made.listen), "%s%s%s%s%s%s%s", layer->stack,
             layer->via != NULL ? layer->hop : "", at->name, at->ip6 ? " (IPv6)" : "",
             at->passed != NULL ? " passed by " : "", at->passed != NULL ? at->passed : "",
             layer->header == 0   ? ""
             : layer->header == 1 ? " after a PROXY header v1"
                                  : " after a PROXY header v2");
    return made;
}

static void run_every_row(void (*point)(void))
{
    for (size_t t = 0; t < sizeof(transports) / sizeof(transports[0]); t++) {
        for (size_t l = 0; l < sizeof(layers) / sizeof(layers[0]); l++) {
            if ((transports[t].ip6 && !cdt_have_ip6()) || (layers[l].tls && !cdt_have_tls()))
                continue;
            const struct row made = make_row(&transports[t], &layers[l]);
            begin(&made);
            point();
            end();
        }
    }
}

/* A point of the contract, run for every row. */
#define CONTRACT(name)                                                                             \
    static void name(void);                                                                        \
    CDT_TEST(path, name)                                                                           \
    {                                                                                              \
        run_every_row(name);                                                                       \
    }                                                                                              \
    static void name(void)

static void expect_intact(const struct cdt_side *side, size_t n)
{
    cr_expect_eq(side->received, n, "%s: %zu of %zu bytes came", row->listen, side->received, n);
    cr_expect(!side->garbled, "%s: the bytes are not those that were sent", row->listen);
}

static void expect_clean_close(void)
{
    await(&client.closed);
    await(&server.closed);
    expect_code(&client, CONDUIT_OK);
    expect_code(&server, CONDUIT_OK);
}

static void send_both_ways(size_t n)
{
    meet();
    cdt_side_expect(&client, n);
    cdt_side_expect(&server, n);
    cdt_side_send(&client, n);
    cdt_side_send(&server, n);
    await(&client.complete);
    await(&server.complete);
    cdt_turn(5);
    expect_intact(&client, n);
    expect_intact(&server, n);
    conduit_end(client.conn);
    expect_clean_close();
}

/* ---- bytes ---- */

CONTRACT(one_byte_arrives_both_ways)
{
    send_both_ways(1);
}

CONTRACT(more_than_a_buffer_arrives_in_order_both_ways)
{
    send_both_ways(64 * KILO + 1);
}

static void pause_each_half_megabyte(struct cdt_side *side, char event)
{
    static size_t pauses;
    if (event == 'd' && side->received / (MEGA / 2) != pauses) {
        pauses = side->received / (MEGA / 2);
        conduit_pause(side->conn);
    }
}

CONTRACT(megabytes_arrive_at_a_reader_that_pauses)
{
    meet();
    server.react = pause_each_half_megabyte;
    server.expected = 8 * MEGA;
    client.ends_after = true;
    cdt_side_send(&client, 8 * MEGA);
    for (int i = 0; i < 1000 && !server.complete; i++) {
        conduit_resume(server.conn);
        cdt_turn(20);
    }
    server.react = NULL;
    conduit_resume(server.conn);
    expect(server.complete);
    expect(client.drained);
    expect_intact(&server, 8 * MEGA);
    expect_clean_close();
}

CONTRACT(what_is_written_before_open_is_delivered)
{
    serve();
    call();
    cdt_side_expect(&server, 100 * KILO);
    client.ends_after = true;
    client.to_send = 100 * KILO;
    unsigned char bytes[100];
    while (client.sent < client.to_send) {
        cdt_pattern(bytes, client.sent, sizeof(bytes));
        cr_assert_geq(conduit_write(client.conn, bytes, sizeof(bytes)), 0);
        client.sent += sizeof(bytes);
    }
    expect(conduit_queued(client.conn) == 100 * KILO);
    conduit_end(client.conn);
    expect(conduit_write(client.conn, bytes, 1) == CONDUIT_ECLOSED);
    await(&server.complete);
    expect_clean_close();
    expect_intact(&server, 100 * KILO);
    cr_expect_str_eq(server.story, "odec", "%s: %s", row->listen, server.story);
}

/* ---- ends ---- */

CONTRACT(each_direction_ends_on_its_own)
{
    for (int i = 0; i < 2; i++) {
        meet();
        struct cdt_side *first = i == 0 ? &client : &server, *second = i == 0 ? &server : &client;
        second->stays_open = true;
        cdt_side_expect(second, 10);
        cdt_side_send(first, 10);
        conduit_end(first->conn);
        await(&second->ended);
        expect(second->complete);
        expect(conduit_write(first->conn, "x", 1) == CONDUIT_ECLOSED);
        cdt_side_expect(first, 300 * KILO);
        cdt_side_send(second, 300 * KILO);
        await(&first->complete);
        cdt_turn(5);
        expect(!first->closed && !first->ended && !second->closed);
        conduit_end(second->conn);
        expect_clean_close();
        expect_intact(first, 300 * KILO);
        expect(first->ended);
        conduit_listener_close(listener);
        cdt_side_clear(&client);
        cdt_side_clear(&server);
    }
}

CONTRACT(both_may_end_at_once)
{
    meet();
    conduit_end(client.conn);
    conduit_end(server.conn);
    conduit_end(server.conn);
    expect_clean_close();
    cr_expect_str_eq(client.story, "oec");
    cr_expect_str_eq(server.story, "oec");
}

CONTRACT(a_graceful_close_delivers_what_was_written)
{
    meet();
    cdt_side_expect(&server, 4 * MEGA);
    for (size_t n = 0; n < 4 * MEGA; n += 64 * KILO) {
        static unsigned char piece[64 * KILO];
        cdt_pattern(piece, n, sizeof(piece));
        cr_assert_geq(conduit_write(client.conn, piece, sizeof(piece)), 0);
    }
    conduit_close(client.conn);
    conduit_close(client.conn);
    expect(conduit_write(client.conn, "x", 1) == CONDUIT_ECLOSED);
    expect_clean_close();
    expect_intact(&server, 4 * MEGA);
    cr_expect_str_eq(client.story, "oc", "%s: %s", row->listen, client.story);
    cr_expect_str_eq(server.story, "odec", "%s: %s", row->listen, server.story);
}

static size_t heard_before_close;

static void answer_and_close(struct cdt_side *side, char event)
{
    if (event == 'd' && side->sent == 0) {
        heard_before_close = side->received;
        cdt_side_send(side, 10 * KILO);
        conduit_close(side->conn);
    }
}

/* A server that has seen enough answers and hangs up while the client is still talking. */
CONTRACT(an_answer_is_not_lost_because_the_peer_closed_before_it_had_heard_all)
{
    meet();
    server.react = answer_and_close;
    cdt_side_expect(&client, 10 * KILO);
    cdt_side_send(&client, 2 * MEGA);
    await(&client.complete);
    await(&client.closed);
    await(&server.closed);
    expect_intact(&client, 10 * KILO);
    expect_code(&server, CONDUIT_OK);
    expect(server.received == heard_before_close);
}

CONTRACT(a_close_that_the_peer_does_not_take_has_a_deadline)
{
    if (row->layer->via != NULL)
        return; /* two sockets in a row may take all of it */
    static unsigned char big[8 * MEGA];
    dialling.conn.close_timeout_ms = 30;
    meet();
    conduit_pause(server.conn);
    cr_assert_eq(conduit_write(client.conn, big, sizeof(big)), 1);
    conduit_close(client.conn);
    await(&client.closed);
    expect_code(&client, CONDUIT_ETIMEDOUT);
    conduit_resume(server.conn);
    await(&server.closed);
    expect(server.received < sizeof(big));
    if (row->resets)
        cr_expect(!server.ended && cdt_side_code(&server) != CONDUIT_OK,
                  "%s: what was cut off looks like an end", row->listen);
}

/* ---- breaks ---- */

static void abort_one(struct cdt_side *one, struct cdt_side *other, bool unread)
{
    meet();
    if (unread) { /* what the aborting end has not read must not make the difference */
        conduit_pause(one->conn);
        cdt_side_send(other, 10 * KILO);
        cdt_turn(5);
    }
    conduit_abort(one->conn);
    conduit_abort(one->conn);
    await(&one->closed);
    await(&other->closed);
    expect_code(one, CONDUIT_ECANCELED);
    bool broken = cdt_side_code(other) == CONDUIT_ERESET ||
                  (row->tls && cdt_side_code(other) == CONDUIT_ETRUNCATED);
    if (row->resets || (unread && row->layer->via == NULL)) {
        cr_expect(broken, "%s: the end of an abort looks like %s", row->listen,
                  cdt_side_text(other));
        cr_expect(!other->ended, "%s: an abort looks like an end", row->listen);
        cr_expect(!broken || conduit_error_stage(other->why) == CONDUIT_STAGE_IO);
    }
    conduit_listener_close(listener);
    cdt_side_clear(&client);
    cdt_side_clear(&server);
}

CONTRACT(an_abort_is_a_break_to_the_peer)
{
    abort_one(&client, &server, false);
    abort_one(&server, &client, false);
    abort_one(&client, &server, true);
    abort_one(&server, &client, true);
}

CONTRACT(an_abort_drops_what_is_queued)
{
    static unsigned char big[8 * MEGA];
    meet();
    conduit_pause(server.conn);
    cr_assert_eq(conduit_write(client.conn, big, sizeof(big)), 1);
    conduit_abort(client.conn);
    await(&client.closed);
    expect_code(&client, CONDUIT_ECANCELED);
    conduit_resume(server.conn);
    await(&server.closed);
    expect(server.received < sizeof(big));
}

/* A server that refuses: it says why, and is gone before the client has said what it had to say. */
CONTRACT(what_the_peer_said_before_it_went_is_heard)
{
    if (row->tls || row->layer->via != NULL || strcmp(transport(), "inproc") == 0)
        return; /* there a break takes along what was on the way */
    meet();
    cdt_side_send(&server, 10 * KILO);
    conduit_conn_free(server.conn);
    server.closed = true;
    int code = 0;
    for (int i = 0; i < 3 && code == 0; i++)
        code = conduit_write(client.conn, "hello", 5);
    expect(code == CONDUIT_ECLOSED);
    await(&client.closed);
    expect_intact(&client, 10 * KILO);
    expect_code(&client, CONDUIT_ERESET);
    expect(!client.ended);
}

/* Nobody reads at this end, so that it is the write which finds out. */
CONTRACT(writing_to_a_peer_that_has_gone_is_an_error)
{
    meet();
    conduit_pause(client.conn);
    conduit_abort(server.conn);
    await(&server.closed);
    int code = 0;
    for (int i = 0; i < 1000 && code >= 0 && !client.closed; i++) {
        code = conduit_write(client.conn, "anybody there?", 14);
        cdt_turn(1);
    }
    expect(code == CONDUIT_ECLOSED || client.closed);
    await(&client.closed);
    expect_code(&client, CONDUIT_ERESET);
}

/* ---- pace ---- */

CONTRACT(a_peer_that_does_not_read_is_felt)
{
    static unsigned char piece[64 * KILO];
    dialling.conn.high_water = 128 * KILO;
    dialling.conn.write_limit = 512 * KILO;
    meet();
    conduit_pause(server.conn);
    size_t taken = 0;
    int code = 0, marks = 0;
    while (taken < 64 * MEGA && (code = conduit_write(client.conn, piece, sizeof(piece))) >= 0) {
        taken += sizeof(piece);
        marks += code;
        expect((code == 1) == (conduit_queued(client.conn) >= 128 * KILO));
        cdt_turn(2);
    }
    expect(code == CONDUIT_ELIMIT);
    expect(marks > 0);
    size_t queued = conduit_queued(client.conn);
    expect(queued <= 512 * KILO && queued + sizeof(piece) > 512 * KILO);
    expect(!server.received);
    int drains = client.drains; /* those of a kernel that is late to take what it has room for */
    client.drained = false;
    if (queued < 512 * KILO)
        expect(conduit_write(client.conn, piece, 512 * KILO - queued) == 1);
    taken += 512 * KILO - queued;
    expect(conduit_write(client.conn, piece, 1) == CONDUIT_ELIMIT);
    cdt_side_expect(&server, taken);
    conduit_resume(server.conn);
    await(&client.drained);
    expect(conduit_queued(client.conn) <= 64 * KILO);
    await(&server.complete);
    cdt_turn(5);
    cr_expect_eq(server.received, taken, "%s: %zu of %zu", row->listen, server.received, taken);
    cr_expect_eq(client.drains - drains, 1, "%s: %d drains", row->listen, client.drains - drains);
}

static bool has_paused;

static void pause_at_data(struct cdt_side *side, char event)
{
    has_paused = event == 'd';
    if (has_paused)
        conduit_pause(side->conn);
}

/* 150 KiB are more than one read takes, so bytes are waiting everywhere when the reader pauses: in
 * the kernel, and decrypted in a TLS layer. No readiness will announce those when it goes on. */
CONTRACT(a_paused_reader_is_told_nothing_costs_nothing_and_misses_nothing)
{
    meet();
    has_paused = false;
    server.react = pause_at_data;
    client.ends_after = true;
    cdt_side_expect(&server, 150 * KILO);
    cdt_side_send(&client, 150 * KILO);
    await(&has_paused);
    size_t received = server.received;
    unsigned turns = cdt_turns_within(50);
    cr_expect_lt(turns, 20, "%s: %u turns while paused", row->listen, turns);
    expect(server.received == received);
    expect(!server.ended && !server.closed);
    server.react = NULL;
    conduit_resume(server.conn);
    await(&server.complete);
    expect_clean_close();
    expect_intact(&server, 150 * KILO);
}

/* Little more than a read takes: the rest is in the TLS layer, and no readiness will tell of it. */
CONTRACT(a_reader_that_pauses_at_every_piece_gets_every_piece)
{
    static unsigned char bytes[64 * KILO + 300];
    meet();
    server.react = pause_at_data;
    cdt_pattern(bytes, 0, sizeof(bytes));
    cdt_side_expect(&server, sizeof(bytes));
    cr_assert_geq(conduit_write(client.conn, bytes, sizeof(bytes)), 0);
    for (int i = 0; i < 1000 && !server.complete; i++) {
        cdt_turn(5);
        conduit_resume(server.conn);
    }
    expect_intact(&server, sizeof(bytes));
}

CONTRACT(an_open_connection_without_traffic_sleeps)
{
    meet();
    cdt_turn(10);
    unsigned turns = cdt_turns_within(50);
    cr_expect_lt(turns, 20, "%s: %u turns in silence", row->listen, turns);
    cdt_side_send(&client, 100 * KILO);
    cdt_side_expect(&server, 100 * KILO);
    await(&server.complete);
    cdt_turn(10);
    turns = cdt_turns_within(50);
    cr_expect_lt(turns, 20, "%s: %u turns after traffic", row->listen, turns);
}

/* Half-closed by the peer: the end is readable for as long as the descriptor lives. */
CONTRACT(a_half_closed_connection_sleeps)
{
    meet();
    server.stays_open = true;
    conduit_end(client.conn);
    await(&server.ended);
    cdt_turn(10);
    unsigned turns = cdt_turns_within(50);
    cr_expect_lt(turns, 20, "%s: %u turns after the peer's end", row->listen, turns);
    conduit_end(server.conn);
    expect_clean_close();
}

/* ---- many small things, and turns ---- */

static void write_pieces(conduit_conn *conn, size_t from, size_t n)
{
    unsigned char bytes[3 * KILO];
    cr_assert_leq(n, sizeof(bytes));
    cdt_pattern(bytes, from, n);
    const struct iovec v[] = {{bytes, n / 3}, {NULL, 0}, {bytes + n / 3, n - n / 3}};
    cr_assert_geq(conduit_writev(conn, v, 3), 0);
}

CONTRACT(pieces_arrive_as_if_they_were_one)
{
    static unsigned char big[4 * MEGA];
    serve();
    call();
    write_pieces(client.conn, 0, 3 * KILO); /* before it is open */
    await(&client.opened);
    write_pieces(client.conn, 3 * KILO, 1);
    cr_expect_eq(conduit_writev(client.conn, NULL, 0), 0);
    cr_expect_eq(conduit_writev(client.conn, NULL, -1), CONDUIT_EINVAL);
    cdt_pattern(big, 3 * KILO + 1, sizeof(big));
    const struct iovec half[] = {{big, sizeof(big) / 2}, {big + sizeof(big) / 2, sizeof(big) / 2}};
    cr_assert_eq(conduit_writev(client.conn, half, 2), conduit_queued(client.conn) > 64 * KILO);
    cdt_side_expect(&server, 4 * MEGA + 3 * KILO + 1);
    await(&server.complete);
    expect_intact(&server, 4 * MEGA + 3 * KILO + 1);
    expect(conduit_conn_info(client.conn)->bytes_out == 4 * MEGA + 3 * KILO + 1);
    conduit_end(client.conn);
    cr_expect_eq(conduit_writev(client.conn, half, 2), CONDUIT_ECLOSED);
    expect_clean_close();
}

/* More than the kernel takes with one call. */
CONTRACT(thousands_of_pieces_arrive_in_order)
{
    enum { PIECES = 5000 };
    static unsigned char bytes[2 * PIECES];
    static struct iovec v[PIECES];
    meet();
    cdt_pattern(bytes, 0, sizeof(bytes));
    for (int i = 0; i < PIECES; i++)
        v[i] = (struct iovec){bytes + (ptrdiff_t)2 * i, 2};
    cr_assert_geq(conduit_writev(client.conn, v, PIECES), 0);
    cdt_side_expect(&server, sizeof(bytes));
    await(&server.complete);
    expect_intact(&server, sizeof(bytes));
}

static size_t held_in_callback;

/* A thousand of ten bytes. */
static void write_a_lot(struct cdt_side *side, char event)
{
    if (event != 'o')
        return;
    for (size_t n = 0; n < 10000; n += 10) {
        unsigned char bytes[10];
        cdt_pattern(bytes, n, sizeof(bytes));
        cr_assert_eq(conduit_write(side->conn, bytes, sizeof(bytes)), 0);
    }
    held_in_callback = conduit_queued(side->conn);
}

static int pieces_heard;

static void count_pieces(struct cdt_side *side, char event)
{
    pieces_heard += event == 'd';
}

CONTRACT(what_is_gathered_goes_in_one_piece_when_the_callback_returns)
{
    dialling.conn.gather = true;
    pieces_heard = 0;
    client.react = write_a_lot;
    server.react = count_pieces;
    meet();
    cr_expect_eq(held_in_callback, 10000, "%s: %zu", row->listen, held_in_callback);
    expect(conduit_queued(client.conn) == 0);
    cdt_side_expect(&server, 10000);
    await(&server.complete);
    expect_intact(&server, 10000);
    cr_expect_eq(pieces_heard, 1, "%s: in %d pieces", row->listen, pieces_heard);
}

CONTRACT(what_is_gathered_outside_callbacks_goes_before_the_loop_sleeps)
{
    dialling.conn.gather = true;
    meet();
    cdt_side_expect(&server, 20);
    cdt_side_send(&client, 10);
    cdt_side_send(&client, 10);
    expect(conduit_queued(client.conn) == 20);
    await(&server.complete);
    expect_intact(&server, 20);
    conduit_end(client.conn); /* and what comes before an end comes before it */
    expect_clean_close();
}

CONTRACT(what_is_gathered_is_delivered_before_an_end_or_a_close)
{
    for (int close = 0; close < 2; close++) {
        dialling.conn.gather = true;
        meet();
        cdt_side_expect(&server, 10);
        cdt_side_send(&client, 10);
        if (close)
            conduit_close(client.conn);
        else
            conduit_end(client.conn);
        expect_clean_close();
        expect_intact(&server, 10);
        conduit_listener_close(listener);
        cdt_side_clear(&client);
        cdt_side_clear(&server);
    }
}

/* Large pieces between small ones, and a peer that is slow: nothing is lost, doubled or moved. */
CONTRACT(what_is_gathered_stays_in_order_with_what_is_not_worth_it)
{
    static unsigned char bytes[100 * KILO];
    dialling.conn.gather = true;
    meet();
    size_t at = 0;
    for (size_t i = 0; i < 60; i++) {
        size_t n = i % 3 == 0 ? 100 : i % 3 == 1 ? sizeof(bytes) : 15 * KILO;
        cdt_pattern(bytes, at, n);
        cr_assert_geq(conduit_write(client.conn, bytes, n), 0);
        at += n;
        if (i % 7 == 0)
            cdt_turn(1);
    }
    cdt_side_expect(&server, at);
    await(&server.complete);
    expect_intact(&server, at);
}

CONTRACT(a_released_path_has_sent_what_was_gathered)
{
    conduit_pool_counters count;
    dialling.pool = conduit_pool_new(cdt_ctx, NULL);
    dialling.conn.gather = true;
    meet();
    cdt_side_expect(&server, 10);
    cdt_side_send(&client, 10);
    conduit_release(client.conn);
    await(&client.closed);
    await(&server.complete);
    conduit_pool_count(dialling.pool, &count);
    expect(count.idle == 1);
    conduit_pool_free(dialling.pool);
}

CONTRACT(a_writer_who_asks_is_woken_in_the_next_turn_and_once)
{
    meet();
    cdt_turn(5);
    conduit_wake(client.conn);
    conduit_wake(client.conn);
    expect(client.drains == 0);
    cdt_turn(3);
    cr_expect_eq(client.drains, 1, "%s: %d", row->listen, client.drains);
    conduit_wake(client.conn);
    cdt_side_expect(&server, 0);
    conduit_close(client.conn);
    expect_clean_close();
    cr_expect_eq(client.drains, 1, "%s: woken while it closes", row->listen);
}

CONTRACT(a_writer_who_asks_before_open_is_woken_after_it)
{
    serve();
    call();
    conduit_wake(client.conn);
    await(&client.drained);
    expect(client.opened);
    cr_expect_str_eq(client.story, "or", "%s: %s", row->listen, client.story);
    conduit_wake(client.conn);
    conduit_conn_free(client.conn);
    client.closed = true; /* any event from now on fails the test */
    await(&server.closed);
}

static size_t wakes;

static void wake_for_ever(struct cdt_side *side, char event)
{
    if (event != 'r' && event != 'o')
        return;
    wakes++;
    conduit_wake(side->conn);
}

/* The other side gets its turns, however often the first one asks. */
CONTRACT(who_is_woken_for_ever_starves_nobody)
{
    wakes = 0;
    client.react = wake_for_ever;
    meet();
    cdt_side_expect(&client, 300 * KILO);
    cdt_side_send(&server, 300 * KILO);
    await(&client.complete);
    expect_intact(&client, 300 * KILO);
    expect(wakes > 1);
    client.react = NULL;
}

CONTRACT(a_writer_who_asks_while_the_queue_is_full_is_woken_when_it_is_not)
{
    static unsigned char big[8 * MEGA];
    if (row->layer->via != NULL)
        return; /* two sockets in a row may take all of it */
    meet();
    conduit_pause(server.conn);
    cr_assert_eq(conduit_write(client.conn, big, sizeof(big)), 1);
    conduit_wake(client.conn);
    cdt_turn(10);
    expect(client.drains == 0);
    conduit_resume(server.conn);
    await(&client.drained);
    expect(conduit_queued(client.conn) <= 32 * KILO);
}

/* ---- files ---- */

/* A file with so much of the pattern in it. */
static int pattern_file(size_t n)
{
    static unsigned char bytes[MEGA];
    int fd = open(cdt_test_path("file"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    for (size_t at = 0; at < n; at += sizeof(bytes)) {
        size_t piece = n - at < sizeof(bytes) ? n - at : sizeof(bytes);
        cdt_pattern(bytes, at, piece);
        cr_assert_eq(write(fd, bytes, piece), (ssize_t)piece);
    }
    return fd;
}

/* Bytes [side->sent, side->sent + n) of the pattern. */
static void send_bytes(struct cdt_side *side, size_t n)
{
    static unsigned char bytes[MEGA];
    cr_assert_leq(n, sizeof(bytes));
    cdt_pattern(bytes, side->sent, n);
    cr_assert_geq(conduit_write(side->conn, bytes, n), 0);
    side->sent += n;
    side->to_send = side->sent;
}

static int send_file(struct cdt_side *side, int fd, size_t n)
{
    int code = conduit_write_file(side->conn, fd, side->sent, n);
    side->sent += n;
    side->to_send = side->sent;
    return code;
}

CONTRACT(a_file_arrives_between_what_is_written_before_and_after)
{
    int fd = pattern_file(9 * MEGA);
    meet();
    cdt_side_expect(&server, 6 * MEGA + 3 * KILO);
    send_bytes(&client, KILO);
    cr_expect_eq(send_file(&client, fd, 5 * MEGA), 1, "%s", row->listen);
    send_bytes(&client, KILO);
    cr_expect_geq(send_file(&client, fd, 1), 0, "a small one");
    cr_expect_geq(send_file(&client, fd, KILO - 1), 0, "and one to its end");
    cr_expect_eq(send_file(&client, fd, MEGA), 1);
    expect(conduit_queued(client.conn) >= MEGA);
    expect(lseek(fd, 0, SEEK_CUR) == 9 * MEGA);
    close(fd); /* it was ours all the time */
    await(&server.complete);
    await(&client.drained);
    expect_intact(&server, 6 * MEGA + 3 * KILO);
    expect(conduit_conn_info(client.conn)->bytes_out == 6 * MEGA + 3 * KILO);
    conduit_end(client.conn);
    expect_clean_close();
}

/* Also where it is more than the limit of what may be in memory. */
CONTRACT(a_file_that_is_sent_before_open_arrives_whole_before_a_close)
{
    int fd = pattern_file(3 * MEGA);
    dialling.conn.write_limit = MEGA;
    serve();
    call();
    cr_expect_eq(send_file(&client, fd, 3 * MEGA), 1);
    close(fd);
    cdt_side_expect(&server, 3 * MEGA);
    await(&client.opened);
    conduit_close(client.conn);
    expect_clean_close();
    expect_intact(&server, 3 * MEGA);
}

CONTRACT(a_file_that_was_sent_before_a_cancel_is_dropped)
{
    int fd = pattern_file(MEGA);
    serve();
    call();
    cr_expect_eq(send_file(&client, fd, MEGA), 1);
    close(fd);
    conduit_close(client.conn);
    await(&client.closed);
    expect_code(&client, CONDUIT_ECANCELED);
}

static int served;

/* As a server does it: one file after the other, each when the one before has gone. */
static void serve_files(struct cdt_side *side, char event)
{
    int fd = served;
    if ((event == 'o' || event == 'r') && side->sent < 4 * MEGA) {
        expect(conduit_queued(side->conn) <= 32 * KILO);
        cr_expect_eq(send_file(side, fd, MEGA), 1);
    }
}

CONTRACT(drain_comes_when_a_file_has_gone)
{
    served = pattern_file(4 * MEGA);
    client.react = serve_files;
    cdt_side_expect(&server, 4 * MEGA);
    meet();
    await(&server.complete);
    cdt_turn(5);
    expect_intact(&server, 4 * MEGA);
    cr_expect_eq(client.drains, 4, "%s: %d", row->listen, client.drains);
    close(served);
}

CONTRACT(a_file_that_becomes_shorter_breaks_the_connection)
{
    int fd = pattern_file(8 * MEGA);
    meet();
    conduit_pause(server.conn);
    cr_assert_eq(send_file(&client, fd, 8 * MEGA), 1);
    cr_assert_eq(ftruncate(fd, MEGA / 2), 0);
    conduit_resume(server.conn);
    await(&client.closed);
    await(&server.closed);
    expect_code(&client, CONDUIT_EIO);
    expect(strstr(cdt_side_text(&client), "shorter") != NULL);
    cr_expect(server.received <= MEGA / 2 && !server.garbled, "%s", row->listen);
    if (row->resets)
        cr_expect(!server.ended && cdt_side_code(&server) != CONDUIT_OK,
                  "%s: what was cut off looks like an end", row->listen);
    close(fd);
}

CONTRACT(what_is_no_file_or_too_short_is_not_taken)
{
    int fd = pattern_file(100 * KILO), ends[2];
    int folder = open(cdt_test_directory(), O_RDONLY | O_CLOEXEC);
    int blind = open(cdt_test_path("file"), O_WRONLY | O_CLOEXEC);
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    meet();
    for (int i = 0; i < 2; i++) { /* as bytes, and as a file */
        size_t n = i == 0 ? KILO : 64 * KILO;
        cr_expect_eq(conduit_write_file(client.conn, -1, 0, n), CONDUIT_EINVAL);
        cr_expect_eq(conduit_write_file(client.conn, ends[0], 0, n), CONDUIT_EINVAL);
        cr_expect_eq(conduit_write_file(client.conn, folder, 0, n), CONDUIT_EINVAL);
        cr_expect_eq(conduit_write_file(client.conn, blind, 0, n), CONDUIT_EINVAL);
        cr_expect_eq(conduit_write_file(client.conn, fd, 100 * KILO - n + 1, n), CONDUIT_EINVAL);
        cr_expect_eq(conduit_write_file(client.conn, fd, UINT64_MAX, n), CONDUIT_EINVAL);
        cr_expect_eq(conduit_write_file(client.conn, fd, UINT64_MAX - n + 1, n), CONDUIT_EINVAL);
    }
    cr_expect_eq(conduit_write_file(client.conn, fd, 0, SIZE_MAX), CONDUIT_EINVAL);
    cr_expect_eq(conduit_write_file(client.conn, fd, 100 * KILO, 0), 0);
    expect(conduit_queued(client.conn) == 0 && conduit_conn_info(client.conn)->bytes_out == 0);
    cr_expect_geq(conduit_write_file(client.conn, fd, 0, 100 * KILO), 0);
    cdt_side_expect(&server, 100 * KILO);
    await(&server.complete);
    expect_intact(&server, 100 * KILO);
    conduit_end(client.conn);
    cr_expect_eq(conduit_write_file(client.conn, fd, 0, KILO), CONDUIT_ECLOSED);
    cr_expect_eq(conduit_write_file(client.conn, fd, 0, 64 * KILO), CONDUIT_ECLOSED);
    expect_clean_close();
    const int all[] = {fd, folder, blind, ends[0], ends[1]};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        close(all[i]);
}

/* Its descriptor goes with it, which the harness sees to: however the connection ends. */
CONTRACT(a_file_that_is_on_its_way_ends_with_the_connection)
{
    for (int how = 0; how < 4; how++) {
        int fd = pattern_file(0);
        cr_assert_eq(ftruncate(fd, 8 * MEGA), 0);
        meet();
        conduit_pause(server.conn);
        cr_assert_eq(send_file(&client, fd, 8 * MEGA), 1);
        cr_assert_eq(conduit_write_file(client.conn, fd, 0, MEGA), 1);
        close(fd);
        cdt_turn(how);
        if (how == 0)
            conduit_abort(client.conn);
        else if (how == 1)
            conduit_conn_free(client.conn);
        else if (how == 2)
            conduit_conn_free(server.conn);
        else
            conduit_abort(server.conn);
        client.closed |= how == 1;
        server.closed |= how == 2;
        if (!server.closed)
            conduit_resume(server.conn);
        await(&client.closed);
        await(&server.closed);
        conduit_listener_close(listener);
        cdt_side_clear(&client);
        cdt_side_clear(&server);
    }
}

/* A large file to a fast reader, and others have their turns. */
CONTRACT(a_file_does_not_keep_the_loop)
{
    int fd = pattern_file(4 * MEGA);
    meet();
    cdt_side_expect(&client, 300 * KILO);
    cdt_side_send(&server, 300 * KILO);
    cr_assert_eq(send_file(&client, fd, 4 * MEGA), 1);
    close(fd);
    await(&client.complete);
    cr_expect_lt(server.received, 4 * MEGA, "%s: the file came first", row->listen);
    cdt_side_expect(&server, 4 * MEGA);
    await(&server.complete);
    expect_intact(&server, 4 * MEGA);
}

/* ---- a reason of the caller's own ---- */

CONTRACT(an_abort_carries_the_reason_that_it_was_given)
{
    meet();
    cr_expect_eq(conduit_abort_with(client.conn, 0, "x"), CONDUIT_EINVAL);
    cr_expect_eq(conduit_abort_with(client.conn, -1000, "x"), CONDUIT_EINVAL);
    cdt_turn(5);
    expect(!client.closed);
    cr_expect_eq(conduit_abort_with(client.conn, CONDUIT_EPROTO, "this is no %s"), 0);
    cr_expect_eq(conduit_abort_with(client.conn, CONDUIT_EIO, "too late"), 0);
    conduit_abort(client.conn);
    await(&client.closed);
    expect_code(&client, CONDUIT_EPROTO);
    expect(strstr(cdt_side_text(&client), ": this is no %s") != NULL);
    expect(strncmp(cdt_side_text(&client), "io: ", 4) == 0);
    await(&server.closed);
    if (row->resets)
        expect(!server.ended);
}

CONTRACT(an_abort_before_open_carries_its_reason_too)
{
    serve();
    call();
    cr_expect_eq(conduit_abort_with(client.conn, CONDUIT_ELIMIT, "too many of us"), 0);
    await(&client.closed);
    expect_code(&client, CONDUIT_ELIMIT);
    cr_expect_str_eq(client.story, "c");
}

/* ---- what is known of the other end ---- */

static void check_tls_info(const conduit_tls_info *tls, bool at_server)
{
    if (!row->tls) {
        expect(tls == NULL);
        return;
    }
    cr_assert_not_null(tls, "%s", row->listen);
    cr_expect_str_eq(tls->version, "TLSv1.3");
    cr_expect_str_eq(tls->name, "a.example", "%s: name \"%s\"", row->listen, tls->name);
    cr_expect_str_eq(tls->verify, at_server ? "none" : "full");
    cr_expect_eq(*tls->peer == '\0', at_server, "%s: peer \"%s\"", row->listen, tls->peer);
    cr_expect_str_eq(tls->alpn, "");
    expect(*tls->cipher != '\0');
}

/* The addresses that each end has of itself are those that the other sees. */
static void check_addresses(const conduit_info *ours, const conduit_info *theirs)
{
    if (row->layer->via != NULL) {
        cr_expect_str_eq(ours->via, conduit_listener_uri(proxy.listener, 0), "%s", row->listen);
        cr_expect_str_eq(ours->peer, theirs->local, "%s", row->listen);
        cr_expect_str_eq(theirs->via, "", "%s", row->listen);
        return;
    }
    bool told = row->layer->header != 0 && strcmp(transport(), "tcp") == 0;
    cr_expect_str_eq(theirs->via, told ? ours->local : "", "%s", row->listen);
    cr_expect_str_eq(ours->peer, theirs->local, "%s", row->listen);
    cr_expect_str_eq(ours->local, theirs->peer, "%s", row->listen);
    expect(strncmp(ours->peer, transport(), strlen(transport())) == 0);
    if (strncmp(transport(), "unix", 4) == 0) {
        expect(strstr(ours->peer, cdt_test_path("s")) != NULL);
        cr_expect_str_eq(ours->local, "unix:");
        expect(ours->peer_pid == getpid() && theirs->peer_uid == (long)getuid());
    } else if (strcmp(transport(), "vchan") == 0) {
        expect(ours->peer_pid == getpid() && theirs->peer_uid == (long)getuid());
    } else {
        expect(ours->peer_pid == -1 && ours->peer_uid == -1 && ours->peer_gid == -1);
    }
}

CONTRACT(info_says_what_the_connection_is)
{
    serve();
    call();
    cr_expect_null(conduit_conn_info(client.conn), "there is nothing to say before it is open");
    await(&client.opened);
    await(&server.opened);
    cdt_side_expect(&server, 70 * KILO);
    cdt_side_send(&client, 70 * KILO);
    await(&server.complete);
    conduit_info ours = *conduit_conn_info(client.conn);
    conduit_info theirs = *conduit_conn_info(server.conn);
    cr_expect_str_eq(ours.uri, uri);
    cr_expect_str_eq(theirs.uri, place);
    cr_expect_str_eq(theirs.endpoint, place);
    char ours_wanted[64], theirs_wanted[64];
    snprintf(ours_wanted, sizeof(ours_wanted), "%s%s%s", row->layer->stack,
             row->layer->via != NULL ? row->layer->hop : "", row->transport->name);
    snprintf(theirs_wanted, sizeof(theirs_wanted), "%s%s", row->layer->stack, transport());
    cr_expect_str_eq(ours.stack, ours_wanted);
    cr_expect_str_eq(theirs.stack, theirs_wanted);
    const conduit_endpoint *endpoint = NULL;
    expect(conduit_endpoint_parse(ours.endpoint, &endpoint, NULL) == 0);
    conduit_endpoint_unref(endpoint);
    check_addresses(&ours, &theirs);
    check_tls_info(ours.tls, false);
    check_tls_info(theirs.tls, true);
    expect(ours.bytes_out == 70 * KILO && ours.bytes_in == 0);
    expect(theirs.bytes_in == 70 * KILO && theirs.bytes_out == 0);
    expect(ours.open_ms > 0 && ours.open_ms >= ours.resolve_ms && theirs.resolve_ms == 0);
}

CONTRACT(alpn_is_known_at_both_ends_from_open_on)
{
    if (row->tls) {
        cr_assert_eq(conduit_tls_set(dialling.tls, "alpn", "h2,http/1.1", NULL), 0);
        cr_assert_eq(conduit_tls_set(listening.tls, "alpn", "http/1.1", NULL), 0);
    }
    serve();
    call();
    cr_expect_str_eq(conduit_conn_alpn(client.conn), "");
    await(&client.opened);
    await(&server.opened);
    const char *agreed = row->tls ? "http/1.1" : "";
    cr_expect_str_eq(conduit_conn_alpn(client.conn), agreed, "%s", row->listen);
    cr_expect_str_eq(conduit_conn_alpn(server.conn), agreed, "%s", row->listen);
    if (row->tls)
        cr_expect_str_eq(conduit_conn_info(client.conn)->tls->alpn, agreed, "%s", row->listen);
}

static void look_at_info(struct cdt_side *side, char event)
{
    cr_expect_not_null(conduit_conn_info(side->conn), "at %c", event);
}

CONTRACT(info_is_there_until_on_close_returns)
{
    serve();
    client.react = server.react = look_at_info;
    call();
    await(&client.opened);
    conduit_end(client.conn);
    expect_clean_close();
}

/* ---- listeners ---- */

CONTRACT(connecting_where_nobody_listens_is_refused)
{
    serve();
    conduit_listener_close(listener);
    call();
    await(&client.closed);
    bool by_http = row->layer->via != NULL && strcmp(row->layer->via, "http") == 0;
    expect_code(&client, by_http ? CONDUIT_EUNREACH : CONDUIT_EREFUSED);
    expect(conduit_error_stage(client.why) ==
           (row->layer->via != NULL ? CONDUIT_STAGE_LAYER : CONDUIT_STAGE_DIAL));
    expect(strstr(cdt_side_text(&client), conduit_error_endpoint(client.why)) != NULL);
    cr_expect_str_eq(client.story, "c");
}

CONTRACT(a_place_that_is_taken_cannot_be_bound)
{
    conduit_listener *second = NULL;
    meet();
    int code = conduit_listen(cdt_ctx, place, &listening, &cdt_side_handler, &server, &second);
    cr_expect_eq(code, CONDUIT_EADDRINUSE, "%s: %s", row->listen, conduit_code_name(code));
    expect(second == NULL);
    expect(conduit_error_code(conduit_ctx_error(cdt_ctx)) == code);
    conduit_end(client.conn);
    expect_clean_close();
    cdt_turn(10);
    cr_expect_str_eq(server.story, "oec", "%s: the attempt was felt: \"%s\"", row->listen,
                     server.story);
    conduit_listener_close(listener);
    code = conduit_listen(cdt_ctx, place, &listening, &cdt_side_handler, &server, &second);
    cr_expect_eq(code, 0, "%s: free again: %s", row->listen, conduit_code_name(code));
}

CONTRACT(connections_outlive_their_listener)
{
    meet();
    conduit_listener_close(listener);
    cdt_side_expect(&server, 10);
    cdt_side_send(&client, 10);
    await(&server.complete);
    conduit_end(client.conn);
    expect_clean_close();
}

/* However far it has come: connecting, in the backlog, shaking hands, open. */
CONTRACT(a_listener_that_closes_leaves_nobody_waiting)
{
    for (int turns = 0; turns < 8; turns++) {
        serve();
        call();
        cdt_turn(turns);
        conduit_listener_close(listener);
        cdt_turn(20);
        if (server.opened) {
            expect(client.opened && !client.closed);
            conduit_end(client.conn);
            await(&server.closed);
        }
        await(&client.closed);
        expect(client.ended || cdt_side_code(&client) != CONDUIT_OK || server.opened);
        cdt_side_clear(&client);
        cdt_side_clear(&server);
    }
}

/* ---- one path, and then another user of it ---- */

static void exchange(size_t n)
{
    cdt_side_expect(&client, client.received + n);
    cdt_side_expect(&server, server.received + n);
    cdt_side_send(&client, n);
    cdt_side_send(&server, n);
    await(&client.complete);
    await(&server.complete);
    cdt_turn(2);
}

/* The same place in the pattern, and nothing else of the one before. */
static void next_client(void)
{
    size_t n = client.received;
    cdt_side_clear(&client);
    client.received = client.sent = client.to_send = n;
    call();
    await(&client.opened);
}

CONTRACT(a_released_path_is_used_again)
{
    conduit_pool_counters count;
    dialling.pool = conduit_pool_new(cdt_ctx, NULL);
    meet();
    exchange(100 * KILO);
    conduit_release(client.conn);
    await(&client.closed);
    expect_code(&client, CONDUIT_OK);
    cdt_turn(5);
    conduit_pool_count(dialling.pool, &count);
    expect(count.idle == 1 && count.used == 0);
    next_client();
    expect(conduit_conn_reused(client.conn));
    expect(conduit_conn_info(client.conn)->bytes_in == 0);
    exchange(100 * KILO);
    expect(!client.garbled && !server.garbled);
    cr_expect_str_eq(server.story, "od", "%s: the server noticed: %s", row->listen, server.story);
    conduit_close(client.conn);
    expect_clean_close();
    conduit_pool_free(dialling.pool);
}

/* Said by the peer, of the goodbye that its layer has. */
CONTRACT(a_path_that_ends_while_it_is_idle_is_thrown_away)
{
    conduit_pool_counters count = {0};
    dialling.pool = conduit_pool_new(cdt_ctx, NULL);
    meet();
    exchange(KILO);
    conduit_release(client.conn);
    await(&client.closed);
    conduit_close(server.conn);
    await(&server.closed);
    cdt_turn(20);
    conduit_pool_count(dialling.pool, &count);
    expect(count.idle == 0 && count.dropped == 1);
}

/* ---- the end of it all ---- */

CONTRACT(a_freed_connection_is_silent)
{
    meet();
    cdt_side_send(&client, 100 * KILO);
    conduit_conn_free(client.conn);
    client.closed = true; /* any event from now on fails the test */
    await(&server.closed);
}

CONTRACT(the_end_of_the_context_is_the_end_of_every_connection)
{
    static struct cdt_side opening;
    meet();
    conduit_pause(server.conn);
    cdt_side_send(&client, MEGA);
    cr_assert_eq(conduit_connect(cdt_ctx, uri, &dialling, &cdt_side_handler, &opening, NULL), 0);
    conduit_ctx_free(cdt_ctx);
    cdt_ctx = NULL;
    expect(!client.closed && !server.closed);
    await(&client.closed);
    await(&server.closed);
    await(&opening.closed);
    expect_code(&client, CONDUIT_ECANCELED);
    expect_code(&server, CONDUIT_ECANCELED);
    expect_code(&opening, CONDUIT_ECANCELED);
    cdt_side_clear(&opening);
}
