/* SPDX-License-Identifier: ISC */
/*
 * Early data (RFC 8446, section 2.3): what a client says before the handshake is done, under the
 * key of a session before this one. It is not protected against replay, so both ends have to have
 * asked for it.
 *
 *   client    what the program wrote before the connection was open goes with the client hello. It
 *             stays in the program's queue until the peer has accepted it, so that what is rejected
 *             goes again, as ordinary data, and what is accepted does not
 *   listener  is open with the first bytes; the handshake ends while it is read from, and until
 *             then what it says goes to a client that has proved nothing
 *
 * A listener's tickets are numbers of sessions that it keeps, each of which is used once: a client
 * hello that comes again resumes nothing, and brings nothing with it.
 */
#include "openssl.h"
#include "tls.h"
#include <conduit/memory.h>
#include <string.h>

enum { MOST = 16 * 1024, MOST_SESSIONS = 20 * 1024 };

int cdt_openssl_set_early_data(struct cdt_openssl_credentials *credentials, const char *value,
                               const conduit_error **reterr)
{
    bool yes = strcmp(value, "yes") == 0;
    if (!yes && strcmp(value, "no") != 0)
        return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                              "early_data: \"%s\" is neither yes nor no", value);
    SSL_CTX *ctx = credentials->ctx;
    long inside = yes ? SSL_SESS_CACHE_SERVER : SSL_SESS_CACHE_NO_INTERNAL;
    credentials->early_data = yes;
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | inside);
    SSL_CTX_sess_set_cache_size(ctx, MOST_SESSIONS);
    if (SSL_CTX_set_max_early_data(ctx, yes ? MOST : 0) != 1 ||
        SSL_CTX_set_recv_max_early_data(ctx, yes ? MOST : 0) != 1)
        return cdt_openssl_refuse_memory(reterr);
    return 0;
}

/* ---- client ---- */

/* What there is to say, and may be said to this peer. */
static void choose(struct cdt_openssl_session *session)
{
    const SSL_SESSION *resumed = SSL_get_session(session->ssl);
    size_t most = resumed != NULL ? SSL_SESSION_get_max_early_data(resumed) : 0;
    session->early = CDT_EARLY_OVER;
    if (!session->credentials->early_data || session->server || most == 0)
        return;
    session->early_len = cdt_tls_early(session->tls, most, &session->early_bytes);
    if (session->early_len > 0)
        session->early = CDT_EARLY_NOW;
}

int cdt_openssl_send_early(struct cdt_openssl_session *session)
{
    size_t sent;
    if (session->early == CDT_EARLY_FIRST)
        choose(session);
    if (session->early != CDT_EARLY_NOW)
        return 1;
    int result =
        SSL_write_early_data(session->ssl, session->early_bytes, session->early_len, &sent);
    if (result == 1)
        session->early = CDT_EARLY_OVER;
    return result;
}

void cdt_openssl_settle_early(struct cdt_openssl_session *session)
{
    if (!session->server && session->early_len > 0 &&
        SSL_get_early_data_status(session->ssl) == SSL_EARLY_DATA_ACCEPTED)
        cdt_tls_early_taken(session->tls, session->early_len);
}

/* ---- listener ---- */

/* 1 and *n bytes; 2: there is no more of it; or what SSL_get_error() is to be asked about. */
static int read_early(struct cdt_openssl_session *session, void *buf, size_t len, size_t *n)
{
    switch (SSL_read_early_data(session->ssl, buf, len, n)) {
    case SSL_READ_EARLY_DATA_SUCCESS:
        return 1;
    case SSL_READ_EARLY_DATA_FINISH:
        session->early = CDT_EARLY_OVER;
        return 2;
    default:
        return 0;
    }
}

static bool keep_early(struct cdt_openssl_session *session, const void *bytes, size_t n)
{
    session->early_kept = conduit_malloc(n);
    if (session->early_kept == NULL)
        return false;
    memcpy(session->early_kept, bytes, n);
    session->early_len = n;
    session->early = CDT_EARLY_NOW;
    return true;
}

int cdt_openssl_await_early(struct cdt_openssl_session *session)
{
    unsigned char bytes[MOST];
    size_t n = 0;
    if (!session->credentials->early_data || session->early != CDT_EARLY_FIRST)
        return 2;
    int result = read_early(session, bytes, sizeof(bytes), &n);
    if (result != 1 || n == 0)
        return result;
    if (keep_early(session, bytes, n))
        return 1;
    return cdt_tls_fail(session->tls, CONDUIT_TLS_MEMORY, NULL, 0, "out of memory");
}

/* What was kept, from its beginning. */
static size_t take_kept(struct cdt_openssl_session *session, void *buf, size_t len)
{
    size_t left = session->early_len - session->early_at;
    size_t n = len < left ? len : left;
    memcpy(buf, session->early_kept + session->early_at, n);
    session->early_at += n;
    if (n == left) {
        conduit_free(session->early_kept);
        session->early_kept = NULL;
    }
    return n;
}

int cdt_openssl_read_early(struct cdt_openssl_session *session, void *buf, size_t len, size_t *n)
{
    if (session->early_kept != NULL) {
        *n = take_kept(session, buf, len);
        return 1;
    }
    if (!session->server || session->early != CDT_EARLY_NOW)
        return 2;
    int result;
    do
        result = read_early(session, buf, len, n);
    while (result == 1 && *n == 0);
    return result;
}

/* While early data is read OpenSSL does not say that a handshake is going on. */
bool cdt_openssl_answers_early(const struct cdt_openssl_session *session)
{
    return session->server && session->early_len > 0 &&
           (session->early == CDT_EARLY_NOW || SSL_in_init(session->ssl));
}
