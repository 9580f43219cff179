/* SPDX-License-Identifier: ISC */
/*
 * A peer that says a lot that is no data: key updates, as many as fit the way, and more behind
 * them. One call must not go on for as long as they come, for then nobody else has a turn.
 *
 * The client is OpenSSL itself, which a layer of ours would not let do such a thing. The flood is
 * made beforehand, so that it comes faster than it is taken in.
 */
#include "meeting.h"
#include <openssl/ssl.h>
#include <string.h>

enum { UPDATES = 20000, READS = 4 };

static struct {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
} client;

/* What has not been read of it. */
static char *flood;
static size_t flood_len;

static void begin_client(void)
{
    client.ctx = SSL_CTX_new(TLS_client_method());
    client.ssl = SSL_new(client.ctx);
    client.in = BIO_new(BIO_s_mem());
    client.out = BIO_new(BIO_s_mem());
    SSL_set_bio(client.ssl, client.in, client.out);
    SSL_set_connect_state(client.ssl);
}

static void end_client(void)
{
    SSL_free(client.ssl);
    SSL_CTX_free(client.ctx);
}

/* What either side has for the other. */
static void carry(struct meeting *meeting)
{
    struct pipe *up = meeting->server.fake.in, *down = meeting->server.fake.out;
    int n = BIO_read(client.out, up->bytes + up->n, (int)(PIPE_SIZE - up->n));
    up->n += n > 0 ? (size_t)n : 0;
    if (down->n > 0)
        BIO_write(client.in, down->bytes, (int)down->n);
    down->n = 0;
}

static struct meeting *serve_client(void)
{
    struct meeting *meeting = new_meeting();
    conduit_tls *tls = make_config(NULL, "server", NULL, NULL);
    begin_client();
    cr_assert_eq(join(meeting, &meeting->server, "", NULL, true, tls), 0);
    conduit_tls_unref(tls);
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(client.ssl);
        carry(meeting);
        step_open(&meeting->server);
        carry(meeting);
    }
    cr_assert_eq(meeting->server.code, 0, "%s", why(&meeting->server));
    return meeting;
}

static void make_flood(void)
{
    static const char word[] = "data";
    for (int i = 0; i < UPDATES; i++) {
        cr_assert_eq(SSL_key_update(client.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        cr_assert_eq(SSL_do_handshake(client.ssl), 1);
    }
    cr_assert_eq(SSL_write(client.ssl, word, sizeof(word)), sizeof(word));
    flood_len = (size_t)BIO_get_mem_data(client.out, &flood);
}

static ssize_t read_flood(struct cdt_layer *layer, void *buf, size_t len)
{
    size_t n = len < flood_len ? len : flood_len;
    ((struct fake *)layer)->reads++;
    if (n == 0)
        return CONDUIT_EAGAIN;
    memcpy(buf, flood, n);
    flood += n;
    flood_len -= n;
    return (ssize_t)n;
}

CDT_TEST(tls, what_is_no_data_takes_turns)
{
    static char buf[CDT_BUFFER_SIZE];
    struct meeting *meeting = serve_client();
    struct fake *fake = &meeting->server.fake;
    struct cdt_layer_ops ops = *fake->layer.ops;
    ops.read = read_flood;
    fake->layer.ops = &ops;
    make_flood();
    ssize_t n = CONDUIT_EAGAIN;
    for (int calls = 0; flood_len > 0; calls++) {
        fake->reads = 0;
        n = cdt_layer_read(meeting->server.path->top, buf, sizeof(buf));
        cr_assert(fake->reads <= READS, "%u reads in a call", fake->reads);
        cr_assert(flood_len == 0 || n == CONDUIT_EAGAIN, "%zd", n);
        cr_assert(calls < 100);
    }
    cr_expect_eq(n, 5, "what came behind it: %zd, %s", n, why(&meeting->server));
    cr_expect_str_eq(buf, "data");
    close_end(&meeting->server);
    end_client();
    part(meeting);
}
