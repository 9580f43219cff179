/* SPDX-License-Identifier: ISC */
/*
 * The reference: an echo server on libuv alone, in the best form that libuv has.
 *
 * Its documentation's echo allocates a buffer for every read and a request for every write. This
 * one reads every client into one block, sends it back at once with uv_try_write(), and queues only
 * what the kernel does not take: then the block itself goes into the queue, another one takes its
 * place, and the client is not read from until it is sent.
 */
#include "echo-uv.h"
#include "peer.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

/* What libuv itself suggests to read at once. A block is larger, because TLS may give a little
 * more than it got. */
enum { READ_SIZE = 64 * 1024, BLOCK_SIZE = 96 * 1024 };

struct block {
    uv_write_t request;
    struct block *next;
    char bytes[BLOCK_SIZE];
};

struct client {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct session *session; /* NULL without TLS */
    bool sending;            /* a block of it is in libuv's queue */
    bool ending;             /* close when nothing is left to send */
};

static struct block *spare; /* the first one is where the next read goes */
static SSL_CTX *tls;        /* NULL without TLS */

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL)
        err(1, "calloc");
    return memory;
}

static struct block *spare_block(void)
{
    if (spare == NULL)
        spare = allocate(sizeof *spare);
    return spare;
}

static void lend(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    *ret = uv_buf_init(spare_block()->bytes, READ_SIZE);
}

static void on_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    session_free(client->session);
    free(client);
}

static void hang_up(struct client *client)
{
    if (!uv_is_closing(&client->uv.handle))
        uv_close(&client->uv.handle, on_closed);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes);
static void on_sent(uv_write_t *request, int status);

/* The kernel took `sent` of the `n` bytes in the spare block: the block waits with the rest. */
static void queue_rest(struct client *client, size_t sent, size_t n)
{
    struct block *block = spare;
    spare = block->next;
    block->request.data = block;
    client->sending = true;
    uv_read_stop(&client->uv.stream);
    uv_buf_t rest = uv_buf_init(block->bytes + sent, (unsigned)(n - sent));
    if (uv_write(&block->request, &client->uv.stream, &rest, 1, on_sent) < 0)
        hang_up(client);
}

/* Send the first `n` bytes of the spare block. */
static void send_block(struct client *client, size_t n)
{
    uv_buf_t all = uv_buf_init(spare->bytes, (unsigned)n);
    int sent = uv_try_write(&client->uv.stream, &all, 1);
    if (sent == (int)n)
        return;
    if (sent >= 0 || sent == UV_EAGAIN)
        queue_rest(client, sent > 0 ? (size_t)sent : 0, n);
    else
        hang_up(client);
}

/* Send what the session has to send, as far as it goes. */
static void send_ciphertext(struct client *client)
{
    size_t n;
    while (!client->sending &&
           (n = session_take(client->session, spare_block()->bytes, BLOCK_SIZE)) > 0)
        send_block(client, n);
    if (client->ending && !client->sending)
        hang_up(client);
}

static void on_sent(uv_write_t *request, int status)
{
    struct client *client = request->handle->data;
    struct block *block = request->data;
    block->next = spare;
    spare = block;
    client->sending = false;
    if (status < 0)
        hang_up(client);
    else if (client->session != NULL)
        send_ciphertext(client);
    if (!client->sending && !uv_is_closing(&client->uv.handle))
        uv_read_start(&client->uv.stream, lend, on_read);
}

static void echo_ciphertext(struct client *client, const char *bytes, size_t n)
{
    client->ending = !session_feed(client->session, bytes, n);
    send_ciphertext(client);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    struct client *client = stream->data;
    if (n < 0)
        hang_up(client);
    else if (peer_is_sink && client->session == NULL)
        return;
    else if (n > 0 && client->session != NULL)
        echo_ciphertext(client, bytes->base, (size_t)n);
    else if (n > 0)
        send_block(client, (size_t)n);
}

static void init_stream(uv_loop_t *loop, struct client *client, bool local)
{
    if (local)
        uv_pipe_init(loop, &client->uv.pipe, 0);
    else
        uv_tcp_init(loop, &client->uv.tcp);
    client->uv.handle.data = client;
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status < 0)
        return;
    bool local = listener->type == UV_NAMED_PIPE;
    struct client *client = allocate(sizeof *client);
    init_stream(listener->loop, client, local);
    if (uv_accept(listener, &client->uv.stream) < 0) {
        hang_up(client);
        return;
    }
    if (!local)
        uv_tcp_nodelay(&client->uv.tcp, 1);
    if (tls != NULL)
        client->session = session_new(tls);
    uv_read_start(&client->uv.stream, lend, on_read);
}

static void on_signal(uv_signal_t *signal, int number)
{
    uv_stop(signal->loop);
}

static void serve(uv_loop_t *loop, const char *uri)
{
    struct peer_address address;
    struct client *listener = allocate(sizeof *listener);
    peer_parse(uri, &address);
    if (address.tls && tls == NULL)
        tls = peer_tls(&address);
    bool local = address.at.any.sa_family == AF_UNIX;
    int fd = peer_listen(&address);
    init_stream(loop, listener, local);
    int r = local ? uv_pipe_open(&listener->uv.pipe, fd) : uv_tcp_open(&listener->uv.tcp, fd);
    if (r == 0)
        r = uv_listen(&listener->uv.stream, 511, on_connection);
    if (r < 0)
        errx(1, "listen: %s", uv_strerror(r));
    peer_announce(&address, fd);
}

int main(int argc, char **argv)
{
    static uv_signal_t terminate;
    struct peer_args args = peer_args(argc, argv, NULL);
    uv_loop_t *loop = uv_default_loop();
    uv_signal_init(loop, &terminate);
    uv_signal_start(&terminate, on_signal, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < args.n; i++)
        serve(loop, args.uris[i]);
    uv_run(loop, UV_RUN_DEFAULT);
    return 0;
}
