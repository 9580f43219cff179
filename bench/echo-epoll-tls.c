/* SPDX-License-Identifier: ISC */
/*
 * TLS for the bare epoll echo, in two ways.
 *
 * With the socket (SSL_set_fd): OpenSSL reads ahead, so that one read brings many records; each
 * record is echoed as it is decrypted. With shared buffers: one recv() fills the loop's own buffer,
 * a BIO of ours hands it to OpenSSL, which takes all of it, and collects the answer, which one
 * send() takes away at the end of the turn. Buffers of a client that is silent are released.
 */
#include "echo-epoll.h"

#include <err.h>
#include <errno.h>
#include <string.h>

enum { RECORD = 16 * 1024, READ_AHEAD = 64 * 1024, OUT_SIZE = 256 * 1024 };

static SSL_CTX *tls;
static BIO_METHOD *method;
static char plaintext[RECORD];

/* Of the client whose turn it is. */
static char in[READ_SIZE], out[OUT_SIZE];
static size_t in_at, n_in, n_out;

void tls_begin(const struct peer_address *address, bool shared)
{
    tls = peer_tls(address);
    SSL_CTX_set_mode(tls, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    if (shared)
        return;
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_default_read_buffer_len(tls, READ_AHEAD);
}

/* ---- with the socket ---- */

static bool begin_with_socket(struct client *client)
{
    client->ssl = SSL_new(tls);
    if (client->ssl == NULL || SSL_set_fd(client->ssl, client->fd) != 1)
        return false;
    SSL_set_accept_state(client->ssl);
    return true;
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

/* One record: false if the client is done for. */
static bool echo_record(struct client *client, int n)
{
    int sent = peer_is_sink ? n : SSL_write(client->ssl, plaintext, n);
    return sent == n || (may_go_on(client, sent) && keep_rest(client, plaintext, (size_t)n));
}

/* Until there is no more: OpenSSL may hold what epoll does not see. */
static bool read_records(struct client *client)
{
    int n = 1;
    while (client->rest == NULL && n > 0) {
        n = SSL_read(client->ssl, plaintext, sizeof plaintext);
        if (n > 0 ? !echo_record(client, n) : !may_go_on(client, n))
            return false;
    }
    return true;
}

static bool write_rest(struct client *client)
{
    int sent = SSL_write(client->ssl, client->rest, (int)client->n_rest);
    if (sent <= 0)
        return may_go_on(client, sent);
    free(client->rest);
    client->rest = NULL;
    client->n_rest = 0;
    wait_to_write(client, false);
    return read_records(client);
}

const struct manner with_socket = {begin_with_socket, read_records, write_rest};

/* ---- with shared buffers ---- */

static int take_in(BIO *bio, char *to, int room)
{
    size_t n = n_in - in_at < (size_t)room ? n_in - in_at : (size_t)room;
    BIO_clear_retry_flags(bio);
    if (n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(to, in + in_at, n);
    in_at += n;
    return (int)n;
}

/* A turn writes no more than it read, a little more for each record, and a flight of a handshake:
 * that fits. */
static int put_out(BIO *bio, const char *from, int n)
{
    BIO_clear_retry_flags(bio);
    if ((size_t)n > sizeof out - n_out)
        return -1;
    memcpy(out + n_out, from, (size_t)n);
    n_out += (size_t)n;
    return n;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    return command == BIO_CTRL_FLUSH;
}

static int create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *shared_buffers(void)
{
    BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "shared buffers");
    if (made == NULL)
        errx(1, "out of memory");
    BIO_meth_set_read(made, take_in);
    BIO_meth_set_write(made, put_out);
    BIO_meth_set_ctrl(made, control);
    BIO_meth_set_create(made, create);
    return made;
}

static bool begin_with_buffers(struct client *client)
{
    if (method == NULL)
        method = shared_buffers();
    BIO *bio = BIO_new(method);
    client->ssl = SSL_new(tls);
    if (bio == NULL || client->ssl == NULL)
        return false;
    SSL_set_bio(client->ssl, bio, bio);
    SSL_set_accept_state(client->ssl);
    return true;
}

/* True: OpenSSL has taken all that came, and there may be more. */
static bool answer_all(struct client *client)
{
    int n, sent = 1;
    while (sent > 0 && (n = SSL_read(client->ssl, plaintext, sizeof plaintext)) > 0)
        sent = peer_is_sink ? n : SSL_write(client->ssl, plaintext, n);
    bool more = sent > 0 && SSL_get_error(client->ssl, n) == SSL_ERROR_WANT_READ;
    if (!more)
        SSL_shutdown(client->ssl);
    return more;
}

static bool read_buffer(struct client *client)
{
    ssize_t n = sizeof in;
    while (n == sizeof in && client->rest == NULL) {
        n = recv(client->fd, in, sizeof in, 0);
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        in_at = 0;
        n_in = (size_t)n;
        bool more = answer_all(client);
        if ((n_out > 0 && !send_or_keep(client, out, n_out)) || !more)
            return n_out = 0, false;
        n_out = 0;
    }
    return true;
}

const struct manner with_shared_buffers = {begin_with_buffers, read_buffer, send_kept};
