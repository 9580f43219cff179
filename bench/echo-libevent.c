/* SPDX-License-Identifier: ISC */
/*
 * The peer: an echo server on libevent's bufferevents, over sockets or bufferevent_openssl.
 *
 * Also in its best form: input is moved to the output without a copy, a read may bring 64 KiB
 * (evbuffer_read() takes no more than 4 KiB from a plain socket all the same; that is libevent
 * 2.1), and a client with too much waiting to be sent is not read from until half of it is gone.
 */
#include "peer.h"

#include <err.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <signal.h>

enum { AT_ONCE = 64 * 1024, HIGH_WATER = 1024 * 1024 };

static SSL_CTX *tls; /* NULL without TLS */

static void on_read(struct bufferevent *client, void *arg)
{
    struct evbuffer *came = bufferevent_get_input(client);
    if (peer_is_sink) {
        evbuffer_drain(came, evbuffer_get_length(came));
        return;
    }
    bufferevent_write_buffer(client, came);
    if (evbuffer_get_length(bufferevent_get_output(client)) > HIGH_WATER)
        bufferevent_disable(client, EV_READ);
}

/* The output is down to the low-water mark. */
static void on_written(struct bufferevent *client, void *arg)
{
    if (!(bufferevent_get_enabled(client) & EV_READ))
        bufferevent_enable(client, EV_READ);
}

static void on_event(struct bufferevent *client, short what, void *arg)
{
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT))
        bufferevent_free(client);
}

static struct bufferevent *wrap(struct event_base *base, evutil_socket_t fd)
{
    if (tls == NULL)
        return bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    return bufferevent_openssl_socket_new(base, fd, SSL_new(tls), BUFFEREVENT_SSL_ACCEPTING,
                                          BEV_OPT_CLOSE_ON_FREE);
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd,
                          struct sockaddr *from, int len, void *arg)
{
    struct bufferevent *client = wrap(evconnlistener_get_base(listener), fd);
    if (client == NULL)
        errx(1, "out of memory");
    if (from->sa_family != AF_UNIX)
        peer_send_at_once(fd);
    bufferevent_set_max_single_read(client, AT_ONCE);
    bufferevent_set_max_single_write(client, AT_ONCE);
    bufferevent_setwatermark(client, EV_WRITE, HIGH_WATER / 2, 0);
    bufferevent_setcb(client, on_read, on_written, on_event, NULL);
    bufferevent_enable(client, EV_READ | EV_WRITE);
}

static void on_signal(evutil_socket_t number, short what, void *base)
{
    event_base_loopbreak(base);
}

static void serve(struct event_base *base, const char *uri)
{
    struct peer_address address;
    peer_parse(uri, &address);
    if (address.tls && tls == NULL)
        tls = peer_tls(&address);
    int fd = peer_listen(&address);
    if (evconnlistener_new(base, on_connection, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
                           0, fd) == NULL)
        errx(1, "%s: cannot listen", uri);
    peer_announce(&address, fd);
}

int main(int argc, char **argv)
{
    struct peer_args args = peer_args(argc, argv, NULL);
    struct event_base *base = event_base_new();
    if (base == NULL)
        errx(1, "out of memory");
    struct event *terminate = evsignal_new(base, SIGTERM, on_signal, base);
    signal(SIGPIPE, SIG_IGN);
    if (terminate == NULL || event_add(terminate, NULL) < 0)
        errx(1, "no signals");
    for (int i = 0; i < args.n; i++)
        serve(base, args.uris[i]);
    event_base_dispatch(base);
    return 0;
}
