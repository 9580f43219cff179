/* SPDX-License-Identifier: ISC */
/*
 * The floor: an echo server on epoll alone, the least that there can be.
 *
 * In its best form: level-triggered, so that a short read needs no second one; what came is sent
 * back at once from the one buffer that all clients are read into; and only what the socket did not
 * take is kept, and until it is gone the client is not read from. With --bio OpenSSL is given
 * shared buffers in place of the socket, with --sink what comes is thrown away.
 */
#include "echo-epoll.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { N_EVENTS = 64, MAX_ACCEPTS = 64 };

/* A listening socket is known by its `fd` alone: it is no client. */
struct listening {
    int fd;
};

static int loop;
static const struct manner *manner;
static struct listening *listeners;
static int n_listeners;

static void watch(int operation, int fd, void *data, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = data};
    if (epoll_ctl(loop, operation, fd, &event) < 0)
        err(1, "epoll");
}

void wait_to_write(struct client *client, bool wait)
{
    if (wait != client->writing)
        watch(EPOLL_CTL_MOD, client->fd, client, wait ? EPOLLOUT : EPOLLIN);
    client->writing = wait;
}

bool keep_rest(struct client *client, const char *bytes, size_t n)
{
    char *rest = realloc(client->rest, client->n_rest + n);
    if (rest == NULL)
        return false;
    memcpy(rest + client->n_rest, bytes, n);
    client->rest = rest;
    client->n_rest += n;
    return true;
}

bool send_or_keep(struct client *client, const char *bytes, size_t n)
{
    ssize_t sent = send(client->fd, bytes, n, MSG_NOSIGNAL);
    if (sent == (ssize_t)n)
        return true;
    if (sent < 0 && errno != EAGAIN)
        return false;
    sent = sent < 0 ? 0 : sent;
    wait_to_write(client, true);
    return keep_rest(client, bytes + sent, n - (size_t)sent);
}

bool send_kept(struct client *client)
{
    ssize_t sent = send(client->fd, client->rest, client->n_rest, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN;
    client->n_rest -= (size_t)sent;
    memmove(client->rest, client->rest + sent, client->n_rest);
    if (client->n_rest > 0)
        return true;
    free(client->rest);
    client->rest = NULL;
    wait_to_write(client, false);
    return true;
}

/* As long as there may be more: a short read says that there is none. */
static bool echo(struct client *client)
{
    static char bytes[READ_SIZE];
    ssize_t n = sizeof bytes;
    while (n == sizeof bytes && client->rest == NULL) {
        n = recv(client->fd, bytes, sizeof bytes, 0);
        if (n < 0)
            return errno == EAGAIN;
        if (n == 0 || (!peer_is_sink && !send_or_keep(client, bytes, (size_t)n)))
            return false;
    }
    return true;
}

static const struct manner plain = {.read = echo, .send_rest = send_kept};

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
    if (client == NULL)
        errx(1, "out of memory");
    client->fd = fd;
    peer_send_at_once(fd);
    if (manner->begin != NULL && !manner->begin(client))
        errx(1, "out of memory");
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

static bool serve(struct client *client)
{
    return client->writing && client->rest != NULL ? manner->send_rest(client)
                                                   : manner->read(client);
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

static bool is_listener(const void *data)
{
    return data >= (void *)listeners && data < (void *)(listeners + n_listeners);
}

/* The signals are known by where their number is. */
static void run(int signals)
{
    struct epoll_event events[N_EVENTS];
    watch(EPOLL_CTL_ADD, signals, &signals, EPOLLIN);
    for (;;) {
        int n = epoll_wait(loop, events, N_EVENTS, -1);
        for (int i = 0; i < n; i++) {
            void *data = events[i].data.ptr;
            if (data == &signals)
                return;
            if (is_listener(data))
                accept_all(((struct listening *)data)->fd);
            else if (!serve(data))
                free_client(data);
        }
    }
}

static void listen_at(const char *uri, struct listening *ret)
{
    struct peer_address address;
    peer_parse(uri, &address);
    ret->fd = peer_listen(&address);
    watch(EPOLL_CTL_ADD, ret->fd, ret, EPOLLIN);
    peer_announce(&address, ret->fd);
}

static void choose(const char *uri, bool shared_buffers)
{
    struct peer_address address;
    peer_parse(uri, &address);
    manner = &plain;
    if (!address.tls)
        return;
    manner = shared_buffers ? &with_shared_buffers : &with_socket;
    tls_begin(&address, shared_buffers);
}

int main(int argc, char **argv)
{
    struct peer_args args = peer_args(argc, argv, "--bio");
    choose(args.uris[0], args.other);
    loop = epoll_create1(EPOLL_CLOEXEC);
    int signals = open_signals();
    listeners = calloc((size_t)args.n, sizeof *listeners);
    if (loop < 0 || signals < 0 || listeners == NULL)
        err(1, "epoll");
    n_listeners = args.n;
    for (int i = 0; i < args.n; i++)
        listen_at(args.uris[i], &listeners[i]);
    run(signals);
    return 0;
}
