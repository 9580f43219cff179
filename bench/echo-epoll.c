/* SPDX-License-Identifier: ISC */
/*
 * The shortest way: an echo server on epoll alone, where OpenSSL has the socket (SSL_set_fd) and
 * reads and writes it by itself.
 *
 * In its best form: OpenSSL reads ahead, so that one read brings many records; each record is
 * echoed as it is decrypted; the plaintext goes through one buffer for all clients, and only what
 * the socket did not take is kept, and until it is gone the client is not read from. Buffers of a
 * client that is silent are released.
 */
#include "peer.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { RECORD = 16 * 1024, READ_AHEAD = 64 * 1024, N_EVENTS = 64, MAX_ACCEPTS = 64 };

struct client {
    int fd;
    SSL *ssl;
    char *rest; /* that the socket did not take; NULL */
    int n_rest;
    bool writing; /* it is waited for until it takes more */
};

static int loop;
static SSL_CTX *tls;
static char plain[RECORD];

static void watch(int operation, int fd, void *data, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = data};
    if (epoll_ctl(loop, operation, fd, &event) < 0)
        err(1, "epoll");
}

static void free_client(struct client *client)
{
    close(client->fd);
    SSL_free(client->ssl);
    free(client->rest);
    free(client);
}

static void accept_one(int fd)
{
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL || (client->ssl = SSL_new(tls)) == NULL || SSL_set_fd(client->ssl, fd) != 1)
        errx(1, "out of memory");
    client->fd = fd;
    peer_send_at_once(fd);
    SSL_set_accept_state(client->ssl);
    watch(EPOLL_CTL_ADD, fd, client, EPOLLIN);
}

static void accept_all(int listening)
{
    for (int i = 0; i < MAX_ACCEPTS; i++) {
        int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        accept_one(fd);
    }
}

static void wait_to_write(struct client *client, bool wait)
{
    if (wait != client->writing)
        watch(EPOLL_CTL_MOD, client->fd, client, wait ? EPOLLOUT : EPOLLIN);
    client->writing = wait;
}

/* What an SSL call that did not succeed means for the client: may it go on? */
static bool may_go_on(struct client *client, int result)
{
    int why = SSL_get_error(client->ssl, result);
    if (why == SSL_ERROR_ZERO_RETURN)
        SSL_shutdown(client->ssl);
    wait_to_write(client, why == SSL_ERROR_WANT_WRITE);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

static bool keep_rest(struct client *client, int n)
{
    client->rest = malloc((size_t)n);
    if (client->rest == NULL)
        return false;
    memcpy(client->rest, plain, (size_t)n);
    client->n_rest = n;
    return true;
}

static bool send_rest(struct client *client)
{
    int sent = SSL_write(client->ssl, client->rest, client->n_rest);
    if (sent <= 0)
        return may_go_on(client, sent);
    free(client->rest);
    client->rest = NULL;
    wait_to_write(client, false);
    return true;
}

/* One record: false if the client is done for. */
static bool echo(struct client *client, int n)
{
    int sent = SSL_write(client->ssl, plain, n);
    return sent == n || (may_go_on(client, sent) && keep_rest(client, n));
}

/* Until there is no more: OpenSSL may hold what epoll does not see. */
static bool serve(struct client *client)
{
    if (client->rest != NULL && !send_rest(client))
        return false;
    int n = 1;
    while (client->rest == NULL && n > 0) {
        n = SSL_read(client->ssl, plain, sizeof plain);
        if (n > 0 ? !echo(client, n) : !may_go_on(client, n))
            return false;
    }
    return true;
}

static void make_tls(const struct peer_address *address)
{
    tls = peer_tls(address);
    SSL_CTX_set_mode(tls, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_default_read_buffer_len(tls, READ_AHEAD);
}

/* SIGTERM as a descriptor. */
static int open_signals(void)
{
    sigset_t terminate;
    sigemptyset(&terminate);
    sigaddset(&terminate, SIGTERM);
    sigprocmask(SIG_BLOCK, &terminate, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &terminate, SFD_CLOEXEC);
}

/* The listening socket and the signals are known by where their numbers are. */
static void run(int listening, int signals)
{
    struct epoll_event events[N_EVENTS];
    watch(EPOLL_CTL_ADD, listening, &listening, EPOLLIN);
    watch(EPOLL_CTL_ADD, signals, &signals, EPOLLIN);
    for (;;) {
        int n = epoll_wait(loop, events, N_EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &signals)
                return;
            if (events[i].data.ptr == &listening)
                accept_all(listening);
            else if (!serve(events[i].data.ptr))
                free_client(events[i].data.ptr);
        }
    }
}

int main(int argc, char **argv)
{
    struct peer_address address;
    if (argc != 2)
        errx(2, "usage: echo-epoll tls://127.0.0.1:0?cert=FILE&key=FILE");
    peer_parse(argv[1], &address);
    if (!address.tls)
        errx(2, "echo-epoll speaks TLS alone");
    make_tls(&address);
    loop = epoll_create1(EPOLL_CLOEXEC);
    int signals = open_signals(), listening = peer_listen(&address);
    if (loop < 0 || signals < 0)
        err(1, "epoll");
    peer_announce(&address, listening);
    run(listening, signals);
    return 0;
}
