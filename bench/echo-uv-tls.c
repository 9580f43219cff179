/* SPDX-License-Identifier: ISC */
/*
 * TLS for the raw libuv echo: OpenSSL between two memory BIOs, as is usual where the loop owns the
 * socket.
 *
 * In the best form: everything that one read brought is decrypted and echoed before anything is
 * sent, so that one read answers with one write; and the plaintext goes through one buffer for all
 * sessions.
 */
#include "echo-uv.h"
#include "peer.h"

#include <err.h>
#include <stdlib.h>

/* The largest record there is (RFC 8446, section 5.1): SSL_read() never gives more than one. */
enum { RECORD_SIZE = 16 * 1024 };

struct session {
    SSL *ssl;
    BIO *in;  /* ciphertext from the peer; belongs to `ssl` */
    BIO *out; /* ciphertext for the peer; belongs to `ssl` */
};

struct session *session_new(SSL_CTX *tls)
{
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL)
        err(1, "calloc");
    session->ssl = SSL_new(tls);
    session->in = BIO_new(BIO_s_mem());
    session->out = BIO_new(BIO_s_mem());
    if (session->ssl == NULL || session->in == NULL || session->out == NULL)
        errx(1, "out of memory");
    SSL_set_bio(session->ssl, session->in, session->out);
    SSL_set_accept_state(session->ssl);
    return session;
}

void session_free(struct session *session)
{
    if (session == NULL)
        return;
    SSL_free(session->ssl);
    free(session);
}

bool session_feed(struct session *session, const void *bytes, size_t n)
{
    static char plain[RECORD_SIZE];
    if (BIO_write(session->in, bytes, (int)n) != (int)n)
        return false;
    int got;
    while ((got = SSL_read(session->ssl, plain, sizeof plain)) > 0)
        if (!peer_is_sink && SSL_write(session->ssl, plain, got) != got)
            return false;
    if (SSL_get_error(session->ssl, got) == SSL_ERROR_WANT_READ)
        return true;
    SSL_shutdown(session->ssl);
    return false;
}

size_t session_take(struct session *session, void *bytes, size_t room)
{
    int n = BIO_read(session->out, bytes, (int)room);
    return n > 0 ? (size_t)n : 0;
}
