/* SPDX-License-Identifier: ISC */
/*
 * entropyd: random bytes for domains, processes and machines that are short of them, as xentropyd
 * gave them to the guests of a Xen.
 *
 *     entropyd vchan://entropy/entropy 'unix:/run/entropy.sock?allow_uid=*'
 *     entropyd --ca clients.pem --cert a.pem --key a.key tls://:7683
 *
 * One handler for all of them. After the question (greeting.h), which has to come in time, each
 * peer gets --burst bytes at once and then so many a minute, counted by who it is and not by
 * connection: a certificate, a user, a domain, or else an address. What it says afterwards counts
 * for nothing.
 *
 * The bytes are getrandom(2)'s. They are gone from our memory when they are sent; the library's
 * queue may have had them for as long as the peer did not read.
 */
#include "bucket.h"
#include "greeting.h"
#include <conduit/conduit.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <uv.h>

enum {
    PIECE = 16,         /* bytes at a time, at least: worth a wake-up */
    MOST_AT_ONCE = 256, /* and at most: getrandom(2) gives so many without being interrupted */
    MOST_NOISE = 4096,  /* bytes that a peer may say after its question */
    MOST_PEERS = 256,
    MOST_OF_ONE = 16,
};

static conduit_ctx *ctx; /* for the signal handler */
static struct buckets buckets = {.rate = 1024.0 / 60, .burst = 64};
static uint32_t greeting_ms = 10000;

/* A peer: as long as its connection, and until its timer has closed. */
struct peer {
    conduit_conn *conn;
    uv_timer_t timer;
    size_t matched; /* of the question */
    size_t noise;
    bool held; /* it does not read */
    char name[BUCKET_NAME];
};

/* ---- who it is ---- */

/* An address without its port, a domain without the vchan's: those are others each time. */
static void name_address(const char *peer, char *buf, size_t size)
{
    const char *host = strstr(peer, "://");
    host = host != NULL ? host + strlen("://") : peer;
    size_t n = *host == '[' ? strcspn(host, "]") : strcspn(host, ":/");
    snprintf(buf, size, "%.*s", (int)(host - peer + n), peer);
}

static void name_peer(const conduit_info *info, char *buf, size_t size)
{
    if (info->tls != NULL && *info->tls->fingerprint != '\0')
        snprintf(buf, size, "certificate %s", info->tls->fingerprint);
    else if (info->peer_uid >= 0)
        snprintf(buf, size, "user %ld", info->peer_uid);
    else
        name_address(info->peer, buf, size);
}

/* ---- giving ---- */

static bool give(struct peer *peer, size_t n)
{
    unsigned char bytes[MOST_AT_ONCE];
    if (getrandom(bytes, n, 0) != (ssize_t)n)
        return false;
    int taken = conduit_write(peer->conn, bytes, n);
    explicit_bzero(bytes, sizeof(bytes));
    peer->held = taken > 0;
    return taken >= 0;
}

static void on_timer(uv_timer_t *timer);

/* As much as there is, and come back when there is more. Who does not read gets no more until it
 * does. */
static void serve(struct peer *peer)
{
    uint64_t now_ms = uv_now(conduit_ctx_loop(ctx));
    struct bucket *bucket = bucket_of(&buckets, peer->name, now_ms);
    size_t wanted = buckets.burst < PIECE ? buckets.burst : PIECE;
    size_t level = bucket_level(&buckets, bucket, now_ms);
    if (level > MOST_AT_ONCE)
        level = MOST_AT_ONCE;
    if (level >= wanted && !give(peer, level)) {
        conduit_abort(peer->conn);
        return;
    }
    if (level >= wanted)
        bucket_take(bucket, level);
    if (!peer->held)
        uv_timer_start(&peer->timer, on_timer, bucket_wait(&buckets, bucket, wanted), 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct peer *peer = timer->data;
    if (peer->conn != NULL)
        serve(peer);
}

/* ---- the connection ---- */

static void on_open(conduit_conn *conn, void *user)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL) {
        conduit_conn_free(conn);
        return;
    }
    peer->conn = conn;
    peer->timer.data = peer;
    uv_timer_init(conduit_ctx_loop(ctx), &peer->timer);
    name_peer(conduit_conn_info(conn), peer->name, sizeof(peer->name));
    conduit_conn_set_user(conn, peer);
    conduit_set_timeout(conn, CONDUIT_TIMEOUT_LIFETIME, greeting_ms);
}

static void answer(struct peer *peer)
{
    conduit_set_timeout(peer->conn, CONDUIT_TIMEOUT_LIFETIME, 0);
    if (conduit_write(peer->conn, ENTROPY_ANSWER, strlen(ENTROPY_ANSWER)) >= 0)
        serve(peer);
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct peer *peer = user;
    bool asked = peer->matched == strlen(ENTROPY_QUESTION);
    long belongs = asked ? 0 : greeting_match(ENTROPY_QUESTION, &peer->matched, data, n);
    if (belongs >= 0)
        peer->noise += n - (size_t)belongs;
    if (belongs < 0 || peer->noise > MOST_NOISE) {
        conduit_abort(conn);
        return;
    }
    if (!asked && peer->matched == strlen(ENTROPY_QUESTION))
        answer(peer);
}

static void on_drain(conduit_conn *conn, void *user)
{
    struct peer *peer = user;
    peer->held = false;
    if (peer->matched == strlen(ENTROPY_QUESTION))
        serve(peer);
}

/* It may only be done with talking; but of a Unix socket that is how it dies, too. It has what
 * there was for it. */
static void on_end(conduit_conn *conn, void *user)
{
    conduit_close(conn);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct peer *peer = user;
    if (peer == NULL)
        return; /* it never opened */
    peer->conn = NULL;
    uv_close((uv_handle_t *)&peer->timer, on_timer_closed);
}

/* ---- the program ---- */

static void on_failed(conduit_listener *listener, const conduit_error *error, void *user)
{
    fprintf(stderr, "entropyd: %s\n", conduit_error_text(error));
}

static int complain(const conduit_error *error)
{
    conduit_code code = conduit_error_code(error);
    fprintf(stderr, "entropyd: %s\n", conduit_error_text(error));
    if (code == CONDUIT_EURI || code == CONDUIT_EINVAL || code == CONDUIT_ENOTSUP)
        return 2;
    return code == CONDUIT_ETLS ? 5 : 4;
}

/* What leaves the machine in the clear is known to whoever is on the way, and no entropy. Of the
 * places of one listener (systemd:NAME) any may be the one. */
static bool is_in_the_clear(const conduit_listener *listener)
{
    const char *uri;
    for (size_t i = 0; (uri = conduit_listener_uri(listener, i)) != NULL; i++)
        if (strncmp(uri, "tcp:", 4) == 0)
            return true;
    return false;
}

static int listen_at(const char *uri, conduit_tls *tls)
{
    static const conduit_handler all = {
        .on_open = on_open,
        .on_data = on_data,
        .on_drain = on_drain,
        .on_end = on_end,
        .on_close = on_close,
    };
    const conduit_listen_options how = {
        .tls = tls,
        .on_failed = on_failed,
        .max_connections = MOST_PEERS,
        .max_per_peer = MOST_OF_ONE,
        .conn = {.high_water = MOST_AT_ONCE, .write_timeout_ms = 600000},
    };
    conduit_listener *listener;
    if (conduit_listen(ctx, uri, &how, &all, NULL, &listener) < 0)
        return complain(conduit_ctx_error(ctx));
    if (is_in_the_clear(listener)) {
        fprintf(stderr, "entropyd: %s: over TCP there has to be TLS\n", uri);
        return 2;
    }
    for (size_t i = 0; conduit_listener_uri(listener, i) != NULL; i++)
        printf("listening %s\n", conduit_listener_uri(listener, i));
    fflush(stdout);
    return 0;
}

static int misused(FILE *where)
{
    fputs("usage: entropyd [--ca|--cert|--key FILE] [--burst BYTES] [--per-minute BYTES]\n"
          "                [--greeting-timeout SECONDS] URI...\n",
          where);
    return where == stdout ? -1 : 2;
}

/* A number above 0, as it is written on the command line. */
static bool read_number(const char *text, double most, double *ret)
{
    char *end;
    *ret = strtod(text, &end);
    return end != text && *end == '\0' && *ret > 0 && *ret <= most;
}

static int read_option(int c, const char *name, conduit_tls *tls)
{
    const conduit_error *error = NULL;
    double number;
    if (c == 't') {
        int code = conduit_tls_set(tls, name, optarg, &error) < 0 ? complain(error) : 0;
        conduit_error_unref(error);
        return code;
    }
    if (c == 'h' || c == '?' || !read_number(optarg, 1e6, &number))
        return misused(c == 'h' ? stdout : stderr);
    if (c == 'b')
        buckets.burst = number < 1 ? 1 : (size_t)number;
    else if (c == 'r')
        buckets.rate = number / 60;
    else
        greeting_ms = (uint32_t)(number * 1000) + 1;
    return 0;
}

/* Returns 0 to go on, or what to exit with; -1 is success. */
static int read_options(int argc, char **argv, conduit_tls *tls)
{
    static const struct option options[] = {
        {"ca", required_argument, NULL, 't'},
        {"cert", required_argument, NULL, 't'},
        {"key", required_argument, NULL, 't'},
        {"burst", required_argument, NULL, 'b'},
        {"per-minute", required_argument, NULL, 'r'},
        {"greeting-timeout", required_argument, NULL, 'g'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c, which = 0, code = 0;
    while (code == 0 && (c = getopt_long(argc, argv, "", options, &which)) != -1)
        code = read_option(c, options[which].name, tls);
    return code == 0 && optind == argc ? misused(stderr) : code;
}

/* CONDUIT_DEBUG=1 in the environment asks for all that happens; bytes are never part of it. */
static void print_event(void *user, double at_ms, const char *event, const char *text)
{
    fprintf(stderr, "entropyd: %9.1f ms  %-9s %s\n", at_ms, event, text);
}

static void on_signal(int number)
{
    conduit_stop(ctx);
}

/* Who is being served never has enough: there is no end to wait for. */
static int run(char **uris, conduit_tls *tls)
{
    const conduit_ctx_options traced = {.trace = print_event};
    unsigned char once;
    int code = 0;
    if (getrandom(&once, 1, 0) != 1) /* early at boot this waits until the kernel has any */
        return 4;
    ctx = conduit_ctx_new(getenv("CONDUIT_DEBUG") != NULL ? &traced : NULL);
    if (ctx == NULL)
        return conduit_ctx_perror(NULL, "entropyd");
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal}, NULL);
    signal(SIGPIPE, SIG_IGN);
    for (; code == 0 && *uris != NULL; uris++)
        code = listen_at(*uris, tls);
    if (code == 0)
        conduit_run(ctx); /* until a signal */
    conduit_ctx_free(ctx);
    return code;
}

int main(int argc, char **argv)
{
    conduit_tls *tls = conduit_tls_new();
    int code = read_options(argc, argv, tls);
    if (code == 0)
        code = run(argv + optind, tls);
    conduit_tls_unref(tls);
    return code < 0 ? 0 : code;
}
