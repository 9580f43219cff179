/* SPDX-License-Identifier: ISC */
/*
 * The peer: an echo server on the byte streams of NNG (nng_stream), over TCP, Unix sockets and its
 * TLS, which Debian builds with mbed TLS and which ends at TLS 1.2.
 *
 * Each client has one nng_aio and one buffer, and its callback, on whichever of NNG's threads it
 * runs, begins the next step: receive, send all of it, receive. That is how its own demos go about
 * it; there is no way to send at once or to see whether there is something to receive.
 */
#include "peer.h"

#include <err.h>
#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_SIZE = 64 * 1024, NAME_SIZE = 256, PEM_SIZE = 64 * 1024 };

struct client {
    nng_stream *stream;
    nng_aio *aio;
    size_t sent, n; /* of what was received; n == 0: a receive is under way */
    char bytes[READ_SIZE];
};

struct server {
    nng_stream_listener *listener;
    nng_aio *aio;
};

static nng_tls_config *tls; /* NULL without TLS */

static void must(int result, const char *what)
{
    if (result != 0)
        errx(1, "%s: %s", what, nng_strerror(result));
}

static void go_on(struct client *client)
{
    bool sending = client->n > 0;
    nng_iov piece = {.iov_buf = client->bytes + client->sent,
                     .iov_len = sending ? client->n - client->sent : sizeof client->bytes};
    nng_aio_set_iov(client->aio, 1, &piece);
    if (sending)
        nng_stream_send(client->stream, client->aio);
    else
        nng_stream_recv(client->stream, client->aio);
}

/* The aio must not be freed from within its own callback: nng_aio_reap(). */
static void end(struct client *client)
{
    nng_stream_free(client->stream);
    nng_aio_reap(client->aio);
    free(client);
}

static void on_step(void *arg)
{
    struct client *client = arg;
    size_t n = nng_aio_count(client->aio);
    if (nng_aio_result(client->aio) != 0 || n == 0) {
        end(client);
        return;
    }
    if (client->n == 0 && !peer_is_sink)
        client->n = n;
    else
        client->sent += n;
    if (client->sent >= client->n)
        client->sent = client->n = 0;
    go_on(client);
}

static void on_accept(void *arg)
{
    struct server *server = arg;
    if (nng_aio_result(server->aio) == NNG_ECLOSED)
        return;
    if (nng_aio_result(server->aio) == 0) {
        struct client *client = malloc(sizeof *client);
        if (client == NULL)
            err(1, "malloc");
        client->stream = nng_aio_get_output(server->aio, 0);
        client->sent = client->n = 0;
        must(nng_aio_alloc(&client->aio, on_step, client), "a client");
        go_on(client);
    }
    nng_stream_listener_accept(server->listener, server->aio);
}

static char *read_file(const char *name)
{
    char *text = calloc(1, PEM_SIZE);
    FILE *f = fopen(name, "r");
    if (text == NULL || f == NULL || fread(text, 1, PEM_SIZE - 1, f) == 0)
        err(1, "%s", name);
    fclose(f);
    return text;
}

static void begin_tls(const struct peer_address *address)
{
    char *cert = read_file(address->cert), *key = read_file(address->key);
    must(nng_tls_config_alloc(&tls, NNG_TLS_MODE_SERVER), "TLS");
    must(nng_tls_config_own_cert(tls, cert, key, NULL), address->cert);
    free(cert);
    free(key);
}

static void name_of(const struct peer_address *address, char *name)
{
    if (address->at.any.sa_family == AF_UNIX)
        snprintf(name, NAME_SIZE, "ipc://%s", address->at.local.sun_path);
    else
        snprintf(name, NAME_SIZE, "%s://127.0.0.1:%d", address->tls ? "tls+tcp" : "tcp",
                 ntohs(address->at.tcp.sin_port));
}

static void announce(const struct peer_address *address, nng_stream_listener *listener)
{
    int port = 0;
    if (address->at.any.sa_family == AF_UNIX) {
        printf("listening unix:%s\n", address->at.local.sun_path);
    } else {
        must(nng_stream_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), "port");
        printf("listening %s://127.0.0.1:%d\n", address->tls ? "tls" : "tcp", port);
    }
    fflush(stdout);
}

static void serve(const char *uri)
{
    struct peer_address address;
    char name[NAME_SIZE];
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL)
        err(1, "calloc");
    peer_parse(uri, &address);
    if (address.tls && tls == NULL)
        begin_tls(&address);
    name_of(&address, name);
    must(nng_stream_listener_alloc(&server->listener, name), uri);
    if (address.tls)
        must(nng_stream_listener_set_ptr(server->listener, NNG_OPT_TLS_CONFIG, tls), "TLS");
    must(nng_stream_listener_listen(server->listener), uri);
    must(nng_aio_alloc(&server->aio, on_accept, server), uri);
    nng_stream_listener_accept(server->listener, server->aio);
    announce(&address, server->listener);
}

int main(int argc, char **argv)
{
    struct peer_args args = peer_args(argc, argv, NULL);
    int number;
    sigset_t terminate;
    sigemptyset(&terminate);
    sigaddset(&terminate, SIGTERM);
    sigprocmask(SIG_BLOCK, &terminate, NULL); /* before any thread is: all inherit it */
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < args.n; i++)
        serve(args.uris[i]);
    sigwait(&terminate, &number);
    return 0;
}
