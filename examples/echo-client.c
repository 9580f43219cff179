/* SPDX-License-Identifier: ISC */
/*
 * echo-client: send standard input to a server that echoes, and check that it comes back byte for
 * byte.
 *
 *     head -c 100M /dev/urandom | echo-client --ca ca.pem tls://localhost:7443
 *
 * What was sent and has not come back yet is kept in a ring to compare with, and no more is read
 * than the ring has room for. Reading standard input blocks; nothing here waits for anything else
 * meanwhile, so it costs time and no more. There is one struct client, as long as main().
 */
#include "options.h"
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RING = 1024 * 1024, PIECE = 64 * 1024 };

struct client {
    unsigned char ring[RING]; /* byte i of the stream is at i % RING */
    uint64_t sent, echoed;
    bool full;      /* the connection is: wait for on_drain */
    bool input_end; /* standard input is used up */
    double began, took;
    int code;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(conduit_conn *conn, struct client *client, int code)
{
    client->code = code;
    conduit_abort(conn);
}

static void stop_the_clock(struct client *client)
{
    if (client->input_end && client->echoed == client->sent)
        client->took = now() - client->began;
}

/* Read a piece into the ring, no further than its edge, and send it. */
static void send_piece(conduit_conn *conn, struct client *client)
{
    size_t at = client->sent % RING;
    size_t room = RING - (size_t)(client->sent - client->echoed);
    size_t n = room < PIECE ? room : PIECE;
    n = n < RING - at ? n : RING - at;
    ssize_t got = read(STDIN_FILENO, client->ring + at, n);
    if (got < 0) {
        fprintf(stderr, "echo-client: standard input: %s\n", strerror(errno));
        fail(conn, client, 4);
    } else if (got == 0) {
        client->input_end = true;
        conduit_end(conn); /* the peer hears that this was all, and what it owes us still comes */
        stop_the_clock(client);
    } else {
        client->sent += (uint64_t)got;
        int taken = conduit_write(conn, client->ring + at, (size_t)got);
        client->full = taken != 0; /* if it is an error, on_close comes and says which */
    }
}

/* One of three will call again: on_open, on_drain (the connection was full) or on_data (the ring
 * was). */
static void send_more(conduit_conn *conn, struct client *client)
{
    while (!client->full && !client->input_end && client->code == 0 &&
           client->sent - client->echoed < RING)
        send_piece(conn, client);
}

static void on_open(conduit_conn *conn, void *user)
{
    struct client *client = user;
    client->began = now();
    send_more(conn, client);
}

static void on_drain(conduit_conn *conn, void *user)
{
    struct client *client = user;
    client->full = false;
    send_more(conn, client);
}

/* The length of what `data` and the stream at `echoed` have in common, up to n bytes and the ring's
 * edge. */
static size_t match(const struct client *client, const unsigned char *data, size_t n)
{
    const unsigned char *ring = client->ring + client->echoed % RING;
    size_t edge = RING - client->echoed % RING;
    uint64_t outstanding = client->sent - client->echoed;
    n = n < edge ? n : edge;
    n = n < outstanding ? n : (size_t)outstanding;
    if (memcmp(data, ring, n) == 0)
        return n;
    size_t same = 0;
    while (data[same] == ring[same])
        same++;
    return same;
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct client *client = user;
    const unsigned char *from = data, *end = from + n;
    for (size_t same; from < end; from += same) {
        same = match(client, from, (size_t)(end - from));
        client->echoed += same;
        if (same == 0) {
            printf("mismatch at byte %llu\n", (unsigned long long)client->echoed);
            fail(conn, client, 1);
            return;
        }
    }
    stop_the_clock(client);
    send_more(conn, client);
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct client *client = user;
    if (client->code != 0)
        return; /* it was us, and what for has been said */
    if (why != NULL) {
        client->code = complain(why);
    } else if (!client->input_end || client->echoed < client->sent) {
        fprintf(stderr, "echo-client: the peer ended after %llu bytes\n",
                (unsigned long long)client->echoed);
        client->code = 4;
    } else {
        printf("%llu bytes echoed in %.3f s, %.1f MB/s\n", (unsigned long long)client->echoed,
               client->took, client->took > 0 ? (double)client->echoed / 1e6 / client->took : 0.0);
    }
}

static int run(const struct options *options)
{
    static const conduit_handler handler = {
        .on_open = on_open, .on_data = on_data, .on_drain = on_drain, .on_close = on_close};
    static struct client client;
    conduit_ctx *ctx = options_ctx(options, &client.code);
    if (ctx == NULL)
        return client.code;
    if (conduit_connect(ctx, options->uri, &options->connect, &handler, &client, NULL) < 0)
        client.code = complain(conduit_ctx_error(ctx));
    else
        conduit_run(ctx);
    conduit_ctx_free(ctx);
    return client.code;
}

int main(int argc, char **argv)
{
    static const char help[] = "usage: echo-client [options] URI\n"
                               "Send standard input, check that it comes back, and say how fast.\n"
                               "If something else comes back: 1.\n" OPTIONS_HELP;
    struct options options = {0};
    int code = options_read(&options, help, argc, argv);
    if (code < 0)
        code = run(&options);
    options_done(&options);
    return code;
}
