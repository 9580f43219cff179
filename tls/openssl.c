/* SPDX-License-Identifier: ISC */
/*
 * OpenSSL as an engine: sessions.
 *
 * The SSL stands on a BIO of our own, whose two functions are cdt_tls_pull() and cdt_tls_push().
 * That one of them failed, or came to an end, is kept beside it, for OpenSSL would make one number
 * of it all.
 */
#include "openssl.h"
#include "tls.h"
#include <conduit/memory.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

/* OpenSSL's errors are one queue per thread, and what somebody else left there would be taken for
 * the answer of the next call. To look is much cheaper than to empty it. */
static void begin_call(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* ---- the BIO ---- */

struct cdt_openssl_session *cdt_openssl_session_of(const SSL *ssl)
{
    return BIO_get_data(SSL_get_rbio(ssl));
}

/* Turn a count, an end or a code into a BIO's answer. */
static int answer(BIO *bio, ssize_t n, size_t *count, int retry)
{
    struct cdt_openssl_session *session = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *count = n > 0 ? (size_t)n : 0;
    if (n > 0)
        return 1;
    if (n == CONDUIT_EAGAIN)
        BIO_set_flags(bio, retry | BIO_FLAGS_SHOULD_RETRY);
    else if (n == 0)
        session->ended = true;
    else
        session->broken = (int)n;
    return n == 0 ? 0 : -1;
}

static int pull(BIO *bio, char *buf, size_t len, size_t *count)
{
    struct cdt_openssl_session *session = BIO_get_data(bio);
    return answer(bio, cdt_tls_pull(session->tls, buf, len), count, BIO_FLAGS_READ);
}

static int push(BIO *bio, const char *buf, size_t len, size_t *count)
{
    struct cdt_openssl_session *session = BIO_get_data(bio);
    return answer(bio, cdt_tls_push(session->tls, buf, len), count, BIO_FLAGS_WRITE);
}

/* Only these two have an answer. A 1 for what we do not know would be a promise: of kernel TLS, of
 * an end. */
static long control(BIO *bio, int command, long number, void *pointer)
{
    const struct cdt_openssl_session *session = BIO_get_data(bio);
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return session->ended;
    default:
        return 0;
    }
}

/* ---- what a context's sessions share ---- */

static void free_shared(void *arg)
{
    struct cdt_openssl_shared *shared = arg;
    X509_STORE_free(shared->system);
    BIO_meth_free(shared->bio);
    conduit_free(shared);
}

/* The type has no number of its own: those are few for a process, and nobody searches our chains of
 * BIOs. */
static void *make_shared(void)
{
    struct cdt_openssl_shared *shared = conduit_calloc(1, sizeof(*shared));
    if (shared == NULL)
        return NULL;
    shared->bio = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "conduit");
    if (shared->bio != NULL && BIO_meth_set_read_ex(shared->bio, pull) &&
        BIO_meth_set_write_ex(shared->bio, push) && BIO_meth_set_ctrl(shared->bio, control))
        return shared;
    free_shared(shared);
    return NULL;
}

/* ---- starting ---- */

/* A server's choice among the protocols that a client offers. */
static int choose_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_len,
                       const unsigned char *offer, unsigned int offer_len, void *arg)
{
    struct cdt_openssl_session *session = cdt_openssl_session_of(ssl);
    if (session->alpn_len == 0)
        return SSL_TLSEXT_ERR_NOACK;
    const unsigned char *found =
        cdt_alpn_choose(session->alpn, session->alpn_len, offer, offer_len);
    if (found != NULL) {
        *chosen = found + 1;
        *chosen_len = found[0];
        return SSL_TLSEXT_ERR_OK;
    }
    session->alpn_offer = conduit_malloc(CDT_ALPN_MAX);
    if (session->alpn_offer != NULL)
        cdt_alpn_print(offer, offer_len, session->alpn_offer, CDT_ALPN_MAX);
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool set_up_server(struct cdt_openssl_session *session)
{
    SSL_set_accept_state(session->ssl);
    return true;
}

static bool set_up_client(struct cdt_openssl_session *session, const struct cdt_tls_start *start)
{
    SSL_set_connect_state(session->ssl);
    if (session->credentials->ocsp_ask &&
        SSL_set_tlsext_status_type(session->ssl, TLSEXT_STATUSTYPE_ocsp) != 1)
        return false;
    if (start->alpn_len > 0 &&
        SSL_set_alpn_protos(session->ssl, start->alpn, (unsigned)start->alpn_len) != 0)
        return false; /* 0 is success here, unlike elsewhere */
    if (*start->name != '\0' && !start->numeric &&
        SSL_set_tlsext_host_name(session->ssl, start->name) != 1)
        return false;
    return cdt_openssl_offer_session(session);
}

static bool make_ssl(struct cdt_openssl_session *session, const struct cdt_openssl_shared *shared)
{
    session->ssl = SSL_new(session->credentials->ctx);
    BIO *bio = session->ssl != NULL ? BIO_new(shared->bio) : NULL;
    if (bio == NULL)
        return false;
    BIO_set_data(bio, session);
    BIO_set_init(bio, 1);
    SSL_set_bio(session->ssl, bio, bio);
    return true;
}

static void stop(void *arg)
{
    struct cdt_openssl_session *session = arg;
    /* Without this a session that has not said goodbye could not be resumed. */
    if (session->ssl != NULL)
        SSL_set_shutdown(session->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(session->ssl);
    conduit_free(session->distrust_text);
    conduit_free(session->alpn_offer);
    conduit_free(session->asked);
    conduit_free(session->early_kept);
    conduit_free(session);
}

static int start(struct cdt_tls *tls, const struct cdt_tls_start *start, void **ret)
{
    struct cdt_openssl_session *session = conduit_calloc(1, sizeof(*session));
    if (session == NULL)
        return cdt_tls_fail(tls, CONDUIT_TLS_MEMORY, NULL, 0, "out of memory");
    session->tls = tls;
    session->credentials = start->credentials;
    session->shared = start->shared;
    session->name = start->name;
    session->numeric = start->numeric;
    session->alpn = start->alpn;
    session->alpn_len = start->alpn_len;
    session->server = start->server;
    begin_call();
    bool fine = make_ssl(session, start->shared) &&
                (start->server ? set_up_server(session) : set_up_client(session, start));
    int code = fine ? cdt_openssl_demand(session) : cdt_openssl_fail(session);
    if (code < 0)
        stop(session);
    else
        *ret = session;
    return code;
}

/* ---- running ---- */

/* What a call came to that did not succeed: 0 for close_notify, EAGAIN, or why it failed. */
static int outcome(struct cdt_openssl_session *session, int result)
{
    switch (SSL_get_error(session->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return CONDUIT_EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        return cdt_openssl_fail(session);
    }
}

static size_t agreed_on(const void *arg, const unsigned char **name)
{
    const struct cdt_openssl_session *session = arg;
    unsigned len;
    SSL_get0_alpn_selected(session->ssl, name, &len);
    return len;
}

static int check_alpn(struct cdt_openssl_session *session)
{
    const unsigned char *name;
    unsigned int len;
    if (session->server)
        return 0;
    SSL_get0_alpn_selected(session->ssl, &name, &len);
    return cdt_tls_check_alpn(session->tls, session->alpn, session->alpn_len, name, len);
}

/* A step of the handshake that did not succeed. */
static int not_done(struct cdt_openssl_session *session, int result)
{
    int code = outcome(session, result);
    session->ended = code == 0 || session->ended;
    return code == 0 ? cdt_openssl_fail(session) : code;
}

/* What gives a key another type clears it. Of this one OpenSSL tells anything but bytes although
 * there are none, where an RSA key without a number crashes whoever asks for its size: a program's
 * own hooks may look at the SSL. */
static void clear_key(EVP_PKEY *key)
{
    EVP_PKEY_set_type(key, EVP_PKEY_X25519);
    EVP_PKEY_free(key);
}

/* The keys that were exchanged: OpenSSL would keep both as long as the session, 3.5 KiB with P-256,
 * and has no more use for them. What was secret is gone the sooner. */
static void forget_exchange(SSL *ssl)
{
    EVP_PKEY *key;
    if (SSL_get_tmp_key(ssl, &key) == 1)
        clear_key(key);
    if (SSL_get_peer_tmp_key(ssl, &key) == 1)
        clear_key(key);
}

static int settle(struct cdt_openssl_session *session)
{
    int ready = cdt_openssl_accept(session);
    if (ready == 0)
        ready = check_alpn(session);
    session->open = ready == 0;
    if (!session->open)
        return ready;
    cdt_openssl_keep_session(session);
    cdt_openssl_settle_early(session);
    forget_exchange(session->ssl);
    return 0;
}

static int handshake(void *arg)
{
    struct cdt_openssl_session *session = arg;
    int ready = cdt_openssl_use_system(session);
    if (ready < 0)
        return ready;
    begin_call();
    int early = session->server ? cdt_openssl_await_early(session) : 2;
    if (early <= 0)
        return early < 0 ? early : not_done(session, early);
    session->open = early == 1;
    if (session->open)
        return 0;
    int result = session->server ? 1 : cdt_openssl_send_early(session);
    if (result == 1)
        result = SSL_do_handshake(session->ssl);
    return result == 1 ? settle(session) : not_done(session, result);
}

static ssize_t read_plain(void *arg, void *buf, size_t len)
{
    struct cdt_openssl_session *session = arg;
    size_t n;
    begin_call();
    int result = session->early_len > 0 ? cdt_openssl_read_early(session, buf, len, &n) : 2;
    if (result == 2)
        result = SSL_read_ex(session->ssl, buf, len, &n);
    return result == 1 ? (ssize_t)n : outcome(session, result);
}

/* 0 would be an end, and there is no such thing for writing. */
static ssize_t write_plain(void *arg, const void *buf, size_t len)
{
    struct cdt_openssl_session *session = arg;
    size_t n;
    begin_call();
    int result = cdt_openssl_answers_early(session)
                     ? SSL_write_early_data(session->ssl, buf, len, &n)
                     : SSL_write_ex(session->ssl, buf, len, &n);
    if (result == 1)
        return (ssize_t)n;
    int code = outcome(session, result);
    return code < 0 ? code : cdt_openssl_fail(session);
}

static bool is_pending(const void *arg)
{
    const struct cdt_openssl_session *session = arg;
    return session->early_kept != NULL || SSL_pending(session->ssl) > 0;
}

/* SSL_shutdown() says 0 when our half is done and the peer's is not. */
static int finish(void *arg)
{
    struct cdt_openssl_session *session = arg;
    if ((SSL_get_shutdown(session->ssl) & SSL_SENT_SHUTDOWN) != 0)
        return 0;
    begin_call();
    int result = SSL_shutdown(session->ssl);
    if (result < 0 && ERR_GET_REASON(ERR_peek_error()) == SSL_R_SHUTDOWN_WHILE_IN_INIT)
        return CONDUIT_EAGAIN; /* the peer is in the middle of a handshake message: after that */
    return result >= 0 ? 0 : outcome(session, result);
}

/* ---- the engine ---- */

static void *config_new(const struct cdt_tls_hooks *hooks)
{
    struct cdt_openssl_credentials *credentials = cdt_openssl_config_new(hooks);
    if (credentials != NULL)
        SSL_CTX_set_alpn_select_cb(credentials->ctx, choose_alpn, NULL);
    return credentials;
}

static void *config_native(void *arg)
{
    struct cdt_openssl_credentials *credentials = arg;
    return credentials->ctx;
}

const struct cdt_tls_backend cdt_tls_openssl = {
    .name = "openssl",
    .config_new = config_new,
    .config_free = cdt_openssl_config_free,
    .config_set = cdt_openssl_config_set,
    .config_check = cdt_openssl_config_check,
    .config_native = config_native,
    .config_wants_system = cdt_openssl_wants_system,
    .shared_new = make_shared,
    .shared_free = free_shared,
    .shared_load = cdt_openssl_load_system,
    .resumable_free = cdt_openssl_free_session,
    .start = start,
    .handshake = handshake,
    .read = read_plain,
    .write = write_plain,
    .pending = is_pending,
    .finish = finish,
    .alpn = agreed_on,
    .describe = cdt_openssl_describe,
    .stop = stop,
};
