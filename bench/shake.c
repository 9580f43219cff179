/* SPDX-License-Identifier: ISC */
/*
 * The load of connections that come and go: so many to a server at a time, each of which opens,
 * says goodbye, waits for the server's and is made anew; and one line of JSON about it. Without
 * TLS, one byte goes there and back before the goodbye.
 *
 * With --resume the first one fetches a ticket, and all others have to be resumed with it or with
 * the newest that came; without, none may be. With --seconds the counters start after a quarter of
 * that, with --handshakes exactly so many are made. Who closes first has to wait (TIME_WAIT), and
 * there are not so many ports: we reset what the server has ended.
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

enum { MAX_CONNECTIONS = 256, STALL_MS = 20 * 1000 };

struct conn {
    int fd; /* -1: none */
    SSL *ssl;
    bool open;
};

static struct {
    unsigned connections;
    double seconds;
    unsigned long handshakes; /* 0: run for `seconds` */
    bool resume;
    bool old; /* TLS 1.2 will do */
    const char *ca;
    pid_t server;
    struct peer_address target;
} option = {.connections = 16, .seconds = 1};

static SSL_CTX *tls;
static SSL_SESSION *ticket; /* the newest; NULL */
static int loop;
static struct conn conns[MAX_CONNECTIONS];
static unsigned long begun, opened, ended;

static void fail_tls(const char *what)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    errx(1, "%s: %s", what, why != NULL ? why : "no reason given");
}

/* What one connection does to its session no other must see: each has a copy. 0: not taken over. */
static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION_free(ticket);
    ticket = SSL_SESSION_dup(session);
    return 0;
}

static bool offer_ticket(SSL *ssl)
{
    SSL_SESSION *copy = ticket != NULL ? SSL_SESSION_dup(ticket) : NULL;
    bool fine = ticket == NULL || (copy != NULL && SSL_set_session(ssl, copy) == 1);
    SSL_SESSION_free(copy);
    return fine;
}

/* The same work for every server, whatever it would choose; and as little of ours as may be. */
static void make_tls(void)
{
    int groups[] = {NID_X9_62_prime256v1};
    tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL || SSL_CTX_load_verify_locations(tls, option.ca, NULL) != 1)
        fail_tls(option.ca);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_min_proto_version(tls, option.old ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_cipher_list(tls, "ECDHE-ECDSA-AES128-GCM-SHA256");
    SSL_CTX_set1_groups(tls, groups, 1);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (option.resume)
        SSL_CTX_sess_set_new_cb(tls, on_ticket);
}

static void begin_tls(struct conn *conn)
{
    conn->ssl = SSL_new(tls);
    if (conn->ssl == NULL || SSL_set_fd(conn->ssl, conn->fd) != 1 || !offer_ticket(conn->ssl))
        fail_tls("a connection");
    SSL_set_connect_state(conn->ssl);
}

static void begin(struct conn *conn)
{
    uint32_t events = tls != NULL ? EPOLLIN | EPOLLOUT | EPOLLET : EPOLLIN;
    struct epoll_event event = {.events = events, .data.ptr = conn};
    begun++;
    conn->open = false;
    conn->fd = peer_connect(&option.target);
    if (tls != NULL)
        begin_tls(conn);
    else if (send(conn->fd, "x", 1, MSG_NOSIGNAL) != 1)
        err(1, "a connection");
    if (fcntl(conn->fd, F_SETFL, O_NONBLOCK) < 0 ||
        epoll_ctl(loop, EPOLL_CTL_ADD, conn->fd, &event) < 0)
        err(1, "a connection");
}

static void end(struct conn *conn)
{
    struct linger none = {.l_onoff = 1};
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(conn->fd);
    SSL_free(conn->ssl);
    conn->fd = -1;
    ended++;
}

static bool would_block(const struct conn *conn, int result)
{
    int why = SSL_get_error(conn->ssl, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

/* The first of a resumed run is there for its ticket. */
static void check_resumed(const struct conn *conn)
{
    bool resumed = SSL_session_reused(conn->ssl) == 1;
    if (resumed != (option.resume && begun > 1))
        errx(1,
             resumed ? "the server resumed what was not asked for" : "the server did not resume");
}

/* True: open, and our goodbye is said. */
static bool open_conn(struct conn *conn)
{
    int result = SSL_do_handshake(conn->ssl);
    if (result != 1 && !would_block(conn, result))
        fail_tls("handshake");
    if (result != 1)
        return false;
    check_resumed(conn);
    opened++;
    SSL_shutdown(conn->ssl);
    return true;
}

/* The byte has come back, or the server's goodbye. */
static void go_on_plain(struct conn *conn)
{
    char back;
    ssize_t n = recv(conn->fd, &back, 1, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0 || (n == 0) != conn->open || (n == 1 && back != 'x'))
        errx(1, "the server did not send the byte back");
    if (conn->open) {
        end(conn);
        return;
    }
    conn->open = true;
    opened++;
    shutdown(conn->fd, SHUT_WR);
}

/* Tickets are read on the way to the server's goodbye. */
static void go_on_tls(struct conn *conn)
{
    char none[64];
    int n = 1;
    conn->open = conn->open || open_conn(conn);
    while (conn->open && n > 0)
        n = SSL_read(conn->ssl, none, sizeof none);
    if (conn->open && !would_block(conn, n))
        end(conn);
    ERR_clear_error();
}

static bool may_begin(void)
{
    return option.handshakes == 0 || begun < option.handshakes;
}

static void turn(unsigned at_once)
{
    struct epoll_event events[MAX_CONNECTIONS];
    for (unsigned i = 0; i < at_once; i++)
        if (conns[i].fd < 0 && may_begin())
            begin(&conns[i]);
    int n = epoll_wait(loop, events, MAX_CONNECTIONS, STALL_MS);
    if (n == 0)
        errx(1, "the server has stalled");
    for (int i = 0; i < n; i++)
        (tls != NULL ? go_on_tls : go_on_plain)(events[i].data.ptr);
}

static void fetch_ticket(void)
{
    while (ended == 0)
        turn(1);
    if (ticket == NULL)
        errx(1, "the server gave no ticket");
}

static void run_for(double seconds)
{
    double until = usage_clock() + seconds;
    while (usage_clock() < until)
        turn(option.connections);
}

static void report(const struct usage *from, const struct usage *to, unsigned long n)
{
    printf("{\"opened\":%lu,\"seconds\":%.6f,\"server_cpu\":%.6f,\"held_back\":%.6f}\n", n,
           to->at - from->at, to->server_cpu - from->server_cpu, to->held_back - from->held_back);
}

static void run(void)
{
    if (option.resume)
        fetch_ticket();
    if (option.handshakes == 0)
        run_for(option.seconds / 4);
    struct usage from = usage_now(option.server);
    unsigned long before = opened;
    if (option.handshakes == 0)
        run_for(option.seconds);
    while (option.handshakes != 0 && ended < option.handshakes)
        turn(option.connections);
    struct usage to = usage_now(option.server);
    report(&from, &to, opened - before);
}

/* ---- options ---- */

static void usage(void)
{
    fputs("usage: shake [--tls CAFILE] [--resume] [--old] [--connections N]\n"
          "             [--seconds S | --handshakes N] [--pid SERVER] URI\n",
          stderr);
    exit(2);
}

static double number(const char *text, double max)
{
    char *rest;
    double n = strtod(text, &rest);
    if (rest == text || *rest != '\0' || !(n > 0 && n <= max))
        errx(2, "%s: not a number up to %.0f", text, max);
    return n;
}

static void set_option(int key, const char *value)
{
    if (key == 'c')
        option.connections = (unsigned)number(value, MAX_CONNECTIONS);
    else if (key == 't')
        option.seconds = number(value, 3600);
    else if (key == 'n')
        option.handshakes = (unsigned long)number(value, 1e9);
    else if (key == 'a')
        option.ca = value;
    else if (key == 'p')
        option.server = (pid_t)number(value, INT32_MAX);
    else if (key == 'r')
        option.resume = true;
    else if (key == 'o')
        option.old = true;
    else
        usage();
}

static void parse_options(int argc, char **argv)
{
    /* clang-format off */
    static const struct option names[] = {
        { "connections", required_argument, NULL, 'c' },
        { "seconds",     required_argument, NULL, 't' },
        { "handshakes",  required_argument, NULL, 'n' },
        { "tls",         required_argument, NULL, 'a' },
        { "pid",         required_argument, NULL, 'p' },
        { "resume",      no_argument,       NULL, 'r' },
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
    if (option.target.tls ? option.ca == NULL : option.resume)
        usage();
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    parse_options(argc, argv);
    if (option.target.tls)
        make_tls();
    loop = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++)
        conns[i].fd = -1;
    run();
    SSL_SESSION_free(ticket);
    SSL_CTX_free(tls);
    return 0;
}
