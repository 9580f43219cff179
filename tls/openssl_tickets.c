/* SPDX-License-Identifier: ISC */
/*
 * Resumption: what a client keeps, and the tickets that a listener hands out.
 *
 * OpenSSL does not verify again when a session is resumed. So a client's sessions stay within one
 * configuration (sessions.h), a listener's tickets within one configuration and one name
 * (openssl_hello.c), and neither outlives the certificate that it was made with.
 *
 * A listener's tickets are made with keys of its own, a new one each hour, and the last three open
 * them; or with those that the program shares out, and then their age is the program's affair. The
 * state of a client is in its ticket: nothing is kept here.
 */
#include "openssl.h"
#include "tls.h"
#include <conduit/memory.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <string.h>
#include <time.h>

enum { MAX_KEYS = 8, OWN_KEYS = 3, KEY_LIFE_MS = 3600 * 1000, KEY_FILE = 80 };

/* As nginx reads them: a name, a key for HMAC-SHA-256, one for AES-256-CBC. */
struct ticket_key {
    unsigned char name[16], mac[32], cipher[32];
    uint64_t made_ms;
};

struct cdt_openssl_tickets {
    CRYPTO_RWLOCK *lock;
    EVP_CIPHER *cipher;
    bool shared; /* the program's keys: they do not change */
    size_t n;
    struct ticket_key keys[MAX_KEYS]; /* the first one makes tickets */
};

/* ---- keys ---- */

void cdt_openssl_tickets_free(struct cdt_openssl_tickets *tickets)
{
    if (tickets == NULL)
        return;
    CRYPTO_THREAD_lock_free(tickets->lock);
    EVP_CIPHER_free(tickets->cipher);
    OPENSSL_cleanse(tickets, sizeof(*tickets));
    conduit_free(tickets);
}

struct cdt_openssl_tickets *cdt_openssl_tickets_new(void)
{
    struct cdt_openssl_tickets *tickets = conduit_calloc(1, sizeof(*tickets));
    if (tickets == NULL)
        return NULL;
    tickets->lock = CRYPTO_THREAD_lock_new();
    tickets->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (tickets->lock != NULL && tickets->cipher != NULL)
        return tickets;
    cdt_openssl_tickets_free(tickets);
    return NULL;
}

int cdt_openssl_set_ticket_key(struct cdt_openssl_credentials *credentials, const char *value,
                               const conduit_error **reterr)
{
    struct cdt_openssl_tickets *tickets = credentials->tickets;
    struct cdt_file file;
    int code = cdt_file_read("ticket_key", value, true, &file, reterr);
    if (code < 0)
        return code;
    if (file.len != KEY_FILE || tickets->n == MAX_KEYS) {
        code = cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                              tickets->n == MAX_KEYS ? "ticket_key \"%s\": more than %d of them"
                                                     : "ticket_key \"%s\": has not %d bytes",
                              value, tickets->n == MAX_KEYS ? (int)MAX_KEYS : (int)KEY_FILE);
    } else {
        struct ticket_key *key = &tickets->keys[tickets->n++];
        memcpy(key->name, file.bytes, 16);
        memcpy(key->mac, file.bytes + 16, 32);
        memcpy(key->cipher, file.bytes + 48, 32);
        tickets->shared = true;
    }
    cdt_file_done(&file);
    return code;
}

static bool make_key(struct ticket_key *key, uint64_t now_ms)
{
    key->made_ms = now_ms;
    return RAND_bytes(key->name, sizeof(key->name)) == 1 &&
           RAND_priv_bytes(key->mac, sizeof(key->mac)) == 1 &&
           RAND_priv_bytes(key->cipher, sizeof(key->cipher)) == 1;
}

static bool rotate(struct cdt_openssl_tickets *tickets, uint64_t now_ms)
{
    struct ticket_key key;
    if (!make_key(&key, now_ms))
        return false;
    size_t kept = tickets->n < OWN_KEYS - 1 ? tickets->n : OWN_KEYS - 1;
    memmove(tickets->keys + 1, tickets->keys, kept * sizeof(key));
    tickets->keys[0] = key;
    tickets->n = kept + 1;
    OPENSSL_cleanse(&key, sizeof(key));
    return true;
}

bool cdt_openssl_shares_tickets(const struct cdt_openssl_tickets *tickets)
{
    return tickets->shared;
}

/* A copy of the key that makes tickets now. Another thread's clock may be behind by its turn. */
static bool current_key(struct cdt_openssl_tickets *tickets, uint64_t now_ms,
                        struct ticket_key *ret)
{
    if (CRYPTO_THREAD_write_lock(tickets->lock) != 1)
        return false;
    bool old =
        !tickets->shared && (tickets->n == 0 || now_ms >= tickets->keys[0].made_ms + KEY_LIFE_MS);
    bool fine = !old || rotate(tickets, now_ms);
    if (fine)
        *ret = tickets->keys[0];
    CRYPTO_THREAD_unlock(tickets->lock);
    return fine;
}

/* A copy of the key of this name, and its place; -1: it is gone. */
static int find_key(struct cdt_openssl_tickets *tickets, const unsigned char name[16],
                    struct ticket_key *ret)
{
    int place = -1;
    if (CRYPTO_THREAD_read_lock(tickets->lock) != 1)
        return -1;
    for (size_t i = 0; i < tickets->n && place < 0; i++)
        if (memcmp(tickets->keys[i].name, name, 16) == 0)
            place = (int)i;
    if (place >= 0)
        *ret = tickets->keys[place];
    CRYPTO_THREAD_unlock(tickets->lock);
    return place;
}

/* ---- tickets ---- */

static bool set_up(const struct cdt_openssl_tickets *tickets, struct ticket_key *key,
                   const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_END};
    bool fine = EVP_CipherInit_ex2(cipher, tickets->cipher, key->cipher, iv, encrypt, NULL) == 1 &&
                EVP_MAC_CTX_set_params(mac, params) == 1;
    OPENSSL_cleanse(key, sizeof(*key));
    return fine;
}

/* 1: done; 2: done, and a new ticket is due; 0: no such key; -1. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int encrypt)
{
    const struct cdt_openssl_session *session = cdt_openssl_session_of(ssl);
    struct cdt_openssl_tickets *tickets = session->credentials->tickets;
    struct ticket_key key;
    if (encrypt) {
        if (!current_key(tickets, cdt_tls_now_ms(session->tls), &key) ||
            RAND_bytes(iv, EVP_CIPHER_get_iv_length(tickets->cipher)) != 1)
            return -1;
        memcpy(name, key.name, sizeof(key.name));
        return set_up(tickets, &key, iv, cipher, mac, 1) ? 1 : -1;
    }
    int place = find_key(tickets, name, &key);
    if (place < 0)
        return 0;
    if (!set_up(tickets, &key, iv, cipher, mac, 0))
        return -1;
    /* One of TLS 1.3 is used once, so there has to be another. */
    return place == 0 && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
}

static bool is_over(const X509 *cert)
{
    return cert != NULL && X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0;
}

/* A client's certificate may have run out since. */
static SSL_TICKET_RETURN on_opened_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                          size_t name_len, SSL_TICKET_STATUS status, void *arg)
{
    bool opened = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
    if (!opened)
        return status == SSL_TICKET_FATAL_ERR_MALLOC || status == SSL_TICKET_FATAL_ERR_OTHER
                   ? SSL_TICKET_RETURN_ABORT
                   : SSL_TICKET_RETURN_IGNORE_RENEW;
    if (is_over(SSL_SESSION_get0_peer(session)))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

static int on_made_ticket(SSL *ssl, void *arg)
{
    return 1;
}

/* ---- clients ---- */

/* Where listeners keep sessions, because of early data, OpenSSL would keep a client's as well; and
 * one that it forgets is no longer good for anything. 1: the session is ours now. */
static int keep_copy(const struct cdt_openssl_session *session, SSL_SESSION *resumable)
{
    SSL_SESSION *copy = SSL_SESSION_dup(resumable);
    SSL_CTX_remove_session(session->credentials->ctx, resumable);
    if (copy != NULL)
        cdt_tls_keep_session(session->tls, copy);
    return 0;
}

/* 1: the session is ours now. */
static int on_new_session(SSL *ssl, SSL_SESSION *resumable)
{
    const struct cdt_openssl_session *session = cdt_openssl_session_of(ssl);
    if (session->server || session->credentials->no_resumption ||
        SSL_SESSION_is_resumable(resumable) != 1)
        return 0;
    if (session->credentials->early_data)
        return keep_copy(session, resumable);
    cdt_tls_keep_session(session->tls, resumable);
    return 1;
}

static bool is_fresh(const SSL_SESSION *session)
{
    long age = (long)time(NULL) - (long)SSL_SESSION_get_time(session);
    return age >= 0 && age < SSL_SESSION_get_timeout(session) &&
           !is_over(SSL_SESSION_get0_peer((SSL_SESSION *)(uintptr_t)session));
}

bool cdt_openssl_offer_session(struct cdt_openssl_session *session)
{
    SSL_SESSION *resumable;
    if (session->credentials->no_resumption)
        return true;
    while ((resumable = cdt_tls_take_session(session->tls)) != NULL) {
        bool fresh = is_fresh(resumable);
        bool set = !fresh || SSL_set_session(session->ssl, resumable) == 1;
        SSL_SESSION_free(resumable);
        if (fresh)
            return set;
    }
    return true;
}

/* A session of TLS 1.2 is good for any number of connections, and brings no new one. */
void cdt_openssl_keep_session(struct cdt_openssl_session *session)
{
    SSL *ssl = session->ssl;
    if (session->server || session->credentials->no_resumption || SSL_session_reused(ssl) != 1 ||
        SSL_version(ssl) != TLS1_2_VERSION)
        return;
    SSL_SESSION *resumable = SSL_get1_session(ssl);
    if (resumable != NULL)
        cdt_tls_keep_session(session->tls, resumable);
}

void cdt_openssl_free_session(void *resumable)
{
    SSL_SESSION_free(resumable);
}

/* ---- on an SSL_CTX ---- */

int cdt_openssl_set_resume(struct cdt_openssl_credentials *credentials, const char *value,
                           const conduit_error **reterr)
{
    bool no = strcmp(value, "no") == 0;
    if (!no && strcmp(value, "yes") != 0)
        return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr, "resume: \"%s\" is neither yes nor no",
                              value);
    credentials->no_resumption = no;
    if (no)
        SSL_CTX_set_options(credentials->ctx, SSL_OP_NO_TICKET);
    else
        SSL_CTX_clear_options(credentials->ctx, SSL_OP_NO_TICKET);
    if (SSL_CTX_set_num_tickets(credentials->ctx, no ? 0 : 1) != 1)
        return cdt_openssl_refuse_memory(reterr);
    return 0;
}

/* There is one ticket a handshake, for the one connection that may follow. */
bool cdt_openssl_set_resumption(SSL_CTX *ctx)
{
    static const unsigned char ours[] = "conduit"; /* what a name adds: openssl_hello.c */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_new_session);
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1 &&
           SSL_CTX_set_session_ticket_cb(ctx, on_made_ticket, on_opened_ticket, NULL) == 1 &&
           SSL_CTX_set_session_id_context(ctx, ours, sizeof(ours) - 1) == 1 &&
           SSL_CTX_set_num_tickets(ctx, 1) == 1;
}
