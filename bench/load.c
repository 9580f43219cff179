/* SPDX-License-Identifier: ISC */
/*
 * The load: many connections to an echo server, each with a few requests in flight, and one line of
 * JSON about it.
 *
 * A request is --size bytes there and back. Ping-pong has one in flight per connection: the next is
 * sent when the last byte of the one before has come back. Bulk keeps --window bytes in flight. So
 * both are the same loop: a whole request that came back pays for the next. A sink sends nothing
 * back: one connection that blocks, and requests that count when the kernel has taken them.
 *
 * With --seconds the counters start after a warm-up of a quarter of that; with --requests exactly
 * so many are made, and every byte that comes back is compared with what was sent; with --hold the
 * connections then stay open, silent, until our input ends. What the server needed to open them all
 * is counted, too. Raw epoll, edge-triggered, so that the load is not what is measured.
 */
#include "peer.h"
#include "usage.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    CYCLE = 251, /* after so many bytes the stream repeats: a prime, to show any shift */
    ROOM = 256 * 1024,
    N_EVENTS = 64,
    STALL_MS = 20 * 1000, /* nothing came back for so long: the server hangs */
};

struct conn {
    int fd;
    SSL *ssl;        /* NULL without TLS */
    uint64_t credit; /* bytes that may be sent now */
    uint64_t sent;
    uint64_t echoed;
};

static struct {
    bool bulk;
    bool sink;
    unsigned connections;
    size_t size;
    size_t window;
    double seconds;
    uint64_t requests; /* 0: run for `seconds` */
    const char *ca;
    pid_t server; /* 0: its CPU time is not asked for */
    bool old;     /* TLS 1.2 will do */
    bool hold;    /* leave the connections open until somebody closes our input */
    struct peer_address target;
} option = {.connections = 1, .size = 64, .window = 1 << 20, .seconds = 1};

/* What is counted, and the server's and our own share of the machine at that moment. */
struct counters {
    struct usage usage;
    uint64_t bytes;
};

static uint64_t issued; /* requests paid for */
static uint64_t echoed; /* bytes, all connections */
static char *pattern;   /* size + CYCLE bytes: from any point in the cycle, a request */
static char room[ROOM];

/* ---- counting ---- */

static struct counters count(void)
{
    return (struct counters){.usage = usage_now(option.server), .bytes = echoed};
}

/* ---- one connection ---- */

static void fail_tls(const char *what)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    errx(1, "%s: %s", what, why != NULL ? why : "no reason given");
}

/* 0: not now. */
static size_t tls_result(SSL *ssl, int n)
{
    if (n > 0)
        return (size_t)n;
    int why = SSL_get_error(ssl, n);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
        fail_tls("the server ended the connection");
    return 0;
}

static size_t socket_result(ssize_t n)
{
    if (n > 0)
        return (size_t)n;
    if (n == 0)
        errx(1, "the server ended the connection");
    if (errno != EAGAIN && errno != EINTR)
        err(1, "the server's connection");
    return 0;
}

static size_t receive(struct conn *conn)
{
    if (conn->ssl != NULL)
        return tls_result(conn->ssl, SSL_read(conn->ssl, room, sizeof room));
    /* What nobody looks at TCP may throw away (tcp(7), MSG_TRUNC); a Unix socket copies it all the
     * same. */
    int flags = option.requests == 0 ? MSG_TRUNC : 0;
    return socket_result(recv(conn->fd, room, sizeof room, flags));
}

static size_t transmit(struct conn *conn, const char *bytes, size_t n)
{
    if (conn->ssl != NULL)
        return tls_result(conn->ssl, SSL_write(conn->ssl, bytes, (int)n));
    return socket_result(send(conn->fd, bytes, n, MSG_NOSIGNAL));
}

/* Pay for one more request, if there is one left to make. */
static void grant(struct conn *conn)
{
    if (option.requests != 0 && issued == option.requests)
        return;
    issued++;
    conn->credit += option.size;
}

static void check(uint64_t offset, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (room[i] != pattern[(offset + i) % CYCLE])
            errx(1, "the server sent other bytes than it got");
}

static void take_echo(struct conn *conn, size_t n)
{
    if (conn->echoed + n > conn->sent)
        errx(1, "the server sent more than it got");
    if (option.requests != 0)
        check(conn->echoed, n);
    uint64_t whole = conn->echoed / option.size;
    conn->echoed += n;
    echoed += n;
    while (whole++ < conn->echoed / option.size)
        grant(conn);
}

/* Until there is no more, for the edge is not reported again. A short read from a socket says
 * so; TLS may hold more. */
static void read_all(struct conn *conn)
{
    size_t n;
    while ((n = receive(conn)) > 0) {
        take_echo(conn, n);
        if (conn->ssl == NULL && n < sizeof room)
            return;
    }
}

/* One write a request, or the rest of one. */
static void write_all(struct conn *conn)
{
    size_t n = 1;
    while (conn->credit > 0 && n > 0) {
        size_t rest = option.size - conn->sent % option.size;
        n = transmit(conn, pattern + conn->sent % CYCLE, rest);
        conn->sent += n;
        conn->credit -= n;
    }
    if (conn->ssl != NULL)
        BIO_flush(SSL_get_wbio(conn->ssl));
}

/* ---- all of them ---- */

static SSL_CTX *client_tls(void)
{
    int groups[] = {NID_X9_62_prime256v1};
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL || SSL_CTX_load_verify_locations(tls, option.ca, NULL) != 1)
        fail_tls(option.ca);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    X509_VERIFY_PARAM_set1_ip_asc(SSL_CTX_get0_param(tls), "127.0.0.1");
    /* The same work for every server, whatever it would choose. */
    SSL_CTX_set_min_proto_version(tls, option.old ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_cipher_list(tls, "ECDHE-ECDSA-AES128-GCM-SHA256");
    SSL_CTX_set1_groups(tls, groups, 1);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_default_read_buffer_len(tls, ROOM);
    return tls;
}

/* Records go out together, not each in a write of its own: the load must be the lighter side. */
static SSL *shake_hands(SSL_CTX *tls, int fd)
{
    SSL *ssl = SSL_new(tls);
    BIO *in = BIO_new_socket(fd, BIO_NOCLOSE);
    BIO *out = BIO_push(BIO_new(BIO_f_buffer()), BIO_new_socket(fd, BIO_NOCLOSE));
    SSL_set_bio(ssl, in, out);
    BIO_set_write_buffer_size(out, ROOM);
    if (SSL_connect(ssl) != 1 || BIO_flush(out) != 1)
        fail_tls("handshake");
    return ssl;
}

/* Connecting and shaking hands may block: the clock does not run yet. */
static void open_conn(struct conn *conn, SSL_CTX *tls)
{
    conn->fd = peer_connect(&option.target);
    if (tls != NULL)
        conn->ssl = shake_hands(tls, conn->fd);
    if (!option.sink && fcntl(conn->fd, F_SETFL, O_NONBLOCK) < 0)
        err(1, "fcntl");
}

static int open_all(struct conn *conns, SSL_CTX *tls)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < option.connections; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &conns[i]};
        open_conn(&conns[i], tls);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, conns[i].fd, &event) < 0)
            err(1, "epoll");
    }
    return epoll;
}

static void grant_all(struct conn *conns)
{
    size_t each = option.bulk && option.window > option.size ? option.window / option.size : 1;
    for (size_t i = 0; i < each; i++)
        for (unsigned k = 0; k < option.connections; k++)
            grant(&conns[k]);
}

static void turn(int epoll)
{
    struct epoll_event events[N_EVENTS];
    int n = epoll_wait(epoll, events, N_EVENTS, STALL_MS);
    if (n == 0)
        errx(1, "the server has stalled");
    for (int i = 0; i < n; i++) {
        struct conn *conn = events[i].data.ptr;
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            read_all(conn);
        write_all(conn);
    }
}

static void run_for(int epoll, double seconds)
{
    double end = usage_clock() + seconds;
    while (usage_clock() < end)
        turn(epoll);
}

/* One request after another into one connection; so many, or for so long. */
static void pour(struct conn *conn, uint64_t requests, double seconds)
{
    struct timeval patience = {.tv_sec = STALL_MS / 1000};
    setsockopt(conn->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    double end = usage_clock() + seconds;
    for (uint64_t i = 0; requests != 0 ? i < requests : usage_clock() < end; i++) {
        for (size_t n = 0, now; n < option.size; n += now)
            if ((now = transmit(conn, pattern + n, option.size - n)) == 0)
                errx(1, "the server has stalled");
        echoed += option.size;
    }
}

/* A server that has read all of it hears of the end, and says so by its own. */
static void await_end(struct conn *conn)
{
    if (conn->ssl != NULL)
        SSL_shutdown(conn->ssl);
    else
        shutdown(conn->fd, SHUT_WR);
    while (recv(conn->fd, room, sizeof room, 0) > 0)
        ;
}

static void report(const struct counters *begun, const struct counters *from,
                   const struct counters *to)
{
    uint64_t bytes = to->bytes - from->bytes;
    printf("{\"requests\":%llu,\"bytes\":%llu,\"seconds\":%.6f,\"server_cpu\":%.6f,"
           "\"held_back\":%.6f,\"open_cpu\":%.6f}\n",
           (unsigned long long)(bytes / option.size), (unsigned long long)bytes,
           to->usage.at - from->usage.at, to->usage.server_cpu - from->usage.server_cpu,
           to->usage.held_back - from->usage.held_back, begun->usage.server_cpu);
}

/* What was reported is on its way, and who reads it looks at the server now. */
static void hold(void)
{
    fflush(stdout);
    while (getchar() != EOF)
        ;
}

static void close_all(struct conn *conns)
{
    for (unsigned i = 0; i < option.connections; i++) {
        if (conns[i].ssl != NULL)
            SSL_shutdown(conns[i].ssl);
        SSL_free(conns[i].ssl);
        close(conns[i].fd);
    }
}

static void pass(int epoll, struct conn *conns, uint64_t requests, double seconds)
{
    if (option.sink)
        pour(conns, requests, seconds);
    else if (requests == 0)
        run_for(epoll, seconds);
    while (requests != 0 && echoed < requests * option.size)
        turn(epoll);
    if (option.sink && requests != 0)
        await_end(conns);
}

/* `begun`: what opening the connections took. */
static void drive(int epoll, struct conn *conns, const struct counters *begun)
{
    if (option.requests == 0)
        pass(epoll, conns, 0, option.seconds / 4);
    struct counters from = count();
    pass(epoll, conns, option.requests, option.seconds);
    struct counters to = count();
    report(begun, &from, &to);
}

static void run(void)
{
    SSL_CTX *tls = option.target.tls ? client_tls() : NULL;
    struct conn *conns = calloc(option.connections, sizeof *conns);
    if (conns == NULL)
        err(1, "calloc");
    struct counters begun = count();
    int epoll = open_all(conns, tls);
    begun.usage.server_cpu = count().usage.server_cpu - begun.usage.server_cpu;
    if (!option.sink)
        grant_all(conns);
    drive(epoll, conns, &begun);
    if (option.hold)
        hold();
    close_all(conns);
    close(epoll);
    free(conns);
    SSL_CTX_free(tls);
}

/* ---- options ---- */

static void usage(void)
{
    fputs(
        "usage: load --mode pingpong|bulk|sink [--connections N] [--size BYTES] [--window BYTES]\n"
        "            [--seconds S | --requests N] [--tls CAFILE] [--old] [--pid SERVER]\n"
        "            [--hold] URI\n",
        stderr);
    exit(2);
}

static double number(const char *text, double max)
{
    char *end;
    double n = strtod(text, &end);
    if (end == text || *end != '\0' || !(n > 0 && n <= max))
        errx(2, "%s: not a number up to %.0f", text, max);
    return n;
}

static void set_mode(const char *mode)
{
    option.bulk = strcmp(mode, "bulk") == 0;
    option.sink = strcmp(mode, "sink") == 0;
    if (!option.bulk && !option.sink && strcmp(mode, "pingpong") != 0)
        usage();
}

static void set_option(int key, const char *value)
{
    if (key == 'm')
        set_mode(value);
    else if (key == 'c')
        option.connections = (unsigned)number(value, 10e3);
    else if (key == 's')
        option.size = (size_t)number(value, 16e6);
    else if (key == 'w')
        option.window = (size_t)number(value, 1e9);
    else if (key == 't')
        option.seconds = number(value, 3600);
    else if (key == 'n')
        option.requests = (uint64_t)number(value, 1e9);
    else if (key == 'a')
        option.ca = value;
    else if (key == 'p')
        option.server = (pid_t)number(value, INT32_MAX);
    else if (key == 'h')
        option.hold = true;
    else if (key == 'o')
        option.old = true;
    else
        usage();
}

static void parse_options(int argc, char **argv)
{
    /* clang-format off */
    static const struct option names[] = {
        { "mode",        required_argument, NULL, 'm' },
        { "connections", required_argument, NULL, 'c' },
        { "size",        required_argument, NULL, 's' },
        { "window",      required_argument, NULL, 'w' },
        { "seconds",     required_argument, NULL, 't' },
        { "requests",    required_argument, NULL, 'n' },
        { "tls",         required_argument, NULL, 'a' },
        { "pid",         required_argument, NULL, 'p' },
        { "hold",        no_argument,       NULL, 'h' },
        { "old",         no_argument,       NULL, 'o' },
        { NULL,          0,                 NULL, 0   },
    };
    /* clang-format on */
    int key;
    while ((key = getopt_long(argc, argv, "", names, NULL)) != -1)
        set_option(key, optarg);
    if (optind + 1 != argc)
        usage();
    peer_parse(argv[optind], &option.target);
    if (option.connections == 0 || option.size == 0 || (option.sink && option.connections != 1))
        usage();
    if (option.target.tls && option.ca == NULL)
        errx(2, "a tls:// target needs --tls CAFILE");
}

static void make_pattern(void)
{
    size_t n = option.size + CYCLE;
    pattern = malloc(n);
    if (pattern == NULL)
        err(1, "malloc");
    for (size_t i = 0; i < n; i++)
        pattern[i] = (char)(i % CYCLE);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    parse_options(argc, argv);
    make_pattern();
    run();
    free(pattern);
    return 0;
}
