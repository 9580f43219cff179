/* SPDX-License-Identifier: ISC */
/*
 * The OpenSSL engine, among its own files:
 *
 *   openssl.c           sessions: the path of bytes through an SSL
 *   openssl_config.c    credentials: an SSL_CTX and what was set on it
 *   openssl_identity.c  our certificates and keys, from wherever they come
 *   openssl_anchors.c   trust anchors and revocation lists, the system's too
 *   openssl_hello.c     what a listener makes of the name that a client asks for
 *   openssl_verify.c    is the peer who it has to be?
 *   openssl_explain.c   why a certificate was turned away, in words
 *   openssl_ocsp.c      stapled OCSP responses
 *   openssl_tickets.c   what makes resumption work, and keeps it apart
 *   openssl_early.c     what is said before the handshake is done
 *   openssl_describe.c  what there is to know about an open session
 *   openssl_error.c     what else went wrong, in words
 */
#ifndef CDT_OPENSSL_H
#define CDT_OPENSSL_H

#include "backend.h"
#include "demands.h"
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

typedef STACK_OF(X509) cdt_openssl_certs;
typedef STACK_OF(X509_CRL) cdt_openssl_crls;

enum {
    CDT_OPENSSL_DEPTH = 10, /* of certificates between the peer's and a trust anchor */
    CDT_OPENSSL_PIN = 32,   /* bytes of SHA-256 */
    CDT_OPENSSL_TEXT = 704, /* a line about a certificate */
};

/* One of our certificates. */
struct cdt_openssl_identity {
    X509 *cert;
    EVP_PKEY *key; /* NULL: not given yet */
    cdt_openssl_certs *chain;
    unsigned char *staple; /* an OCSP response; NULL */
    size_t staple_len;
    bool fallback; /* on the SSL_CTX: for who asks for no name, or for one that nobody has */
};

/* Whether clients who ask for a name have to show a certificate. */
struct cdt_openssl_policy {
    enum cdt_tls_demand demand;
    char name[254]; /* "*.b.example"; "": all others */
};

struct cdt_openssl_tlsa {
    uint8_t usage, selector, type;
    unsigned char *data;
    size_t len;
};

struct cdt_openssl_tickets;

/* Of early data. */
enum cdt_openssl_early {
    CDT_EARLY_FIRST, /* nothing was said yet */
    CDT_EARLY_NOW,   /* client: it is being said; listener: some has come, and more may */
    CDT_EARLY_OVER,
};

/* One per conduit_tls, unchanging once sealed. Both roles use the one SSL_CTX. */
struct cdt_openssl_credentials {
    SSL_CTX *ctx;
    const struct cdt_tls_hooks *hooks;

    struct cdt_openssl_identity *identities; /* the last may wait for its key */
    size_t n_identities;
    char *password; /* for what is read next; NULL */

    bool own_trust;    /* has trust anchors of its own, in ctx */
    bool system_trust; /* ... and the system's as well */
    char sources[144]; /* where they are from, for people */
    cdt_openssl_crls *crls;
    bool crl_chain;

    enum cdt_tls_verify verify;
    unsigned char (*pins)[CDT_OPENSSL_PIN];
    size_t n_pins;
    struct cdt_openssl_tlsa *tlsa;
    size_t n_tlsa;
    bool ocsp_ask, ocsp_require;

    bool sni_strict;
    struct cdt_openssl_policy *policies;
    size_t n_policies;
    unsigned char trust_digest[32]; /* over all that says whom to trust */

    bool no_resumption, early_data;
    struct cdt_openssl_tickets *tickets;
    int keylog; /* a descriptor; -1 */
};

/* One per context. */
struct cdt_openssl_shared {
    BIO_METHOD *bio;
    X509_STORE *system;       /* NULL: not loaded yet, or there is none */
    char system_sources[144]; /* what it is, for people */
};

struct cdt_openssl_session {
    struct cdt_tls *tls;
    const struct cdt_openssl_credentials *credentials;
    struct cdt_openssl_shared *shared;
    SSL *ssl;
    char *name; /* these three: see struct cdt_tls_start */
    const unsigned char *alpn;
    size_t alpn_len;
    bool numeric;
    bool server;
    enum cdt_tls_demand demand; /* of the peer's certificate: never DEFAULT */
    bool open;                  /* the handshake is done and the peer accepted */
    bool ended;                 /* the layer below came to its end */
    int broken;                 /* ... or failed, with this code; 0 */
    /* Why the peer's certificate was turned away: a reason, X509_V_ERR_* and a line about it. */
    int distrust, distrust_number;
    char *distrust_text; /* NULL if there was no memory for it */
    char *alpn_offer;    /* what a client offered in vain; NULL */
    char *asked;         /* server: the name that the client asked for; NULL: none */
    bool unknown_name;   /* ... and it is not served here */
    bool ocsp_good;
    enum cdt_openssl_early early;
    const void *early_bytes;   /* client: the program's */
    unsigned char *early_kept; /* listener: what came before it was read; NULL */
    size_t early_len, early_at;
    bool has_store; /* whatever of the system's it needs */
};

/* ---- openssl.c ---- */

struct cdt_openssl_session *cdt_openssl_session_of(const SSL *ssl);

/* ---- openssl_config.c ---- */

void *cdt_openssl_config_new(const struct cdt_tls_hooks *hooks);
void cdt_openssl_config_free(void *credentials);
int cdt_openssl_config_set(void *credentials, const char *key, const char *value,
                           const conduit_error **reterr);
int cdt_openssl_config_check(const void *credentials, bool server, const conduit_error **reterr);
/* A setting is refused for a reason of OpenSSL's: WHAT "VALUE": reason. Empties its queue. */
int cdt_openssl_refuse(int reason, const char *what, const char *value,
                       const conduit_error **reterr);
int cdt_openssl_refuse_memory(const conduit_error **reterr);
/* More elements for an array of `n`, the new one zero: its address, or NULL. *array is replaced. */
void *cdt_openssl_grow(void *array, size_t *n, size_t size);
/* Have what says whom to trust be part of the configuration's identity. */
bool cdt_openssl_note_trust(struct cdt_openssl_credentials *credentials, const void *bytes,
                            size_t len);

/* ---- openssl_identity.c: each takes one key ---- */

int cdt_openssl_set_cert(struct cdt_openssl_credentials *, const char *, const conduit_error **);
int cdt_openssl_set_cert_pem(struct cdt_openssl_credentials *, const char *,
                             const conduit_error **);
int cdt_openssl_set_key(struct cdt_openssl_credentials *, const char *, const conduit_error **);
int cdt_openssl_set_key_pem(struct cdt_openssl_credentials *, const char *, const conduit_error **);
int cdt_openssl_set_pkcs12(struct cdt_openssl_credentials *, const char *, const conduit_error **);
int cdt_openssl_set_password(struct cdt_openssl_credentials *, const char *,
                             const conduit_error **);
void cdt_openssl_free_identities(struct cdt_openssl_credentials *credentials);
/* The last one, if it has its key; NULL. */
struct cdt_openssl_identity *cdt_openssl_last_identity(struct cdt_openssl_credentials *credentials);
/* Is there one that has no key yet? */
bool cdt_openssl_waits_for_key(const struct cdt_openssl_credentials *credentials);
/* The certificates of a PEM text. 0 and a stack with one at least, or a code. */
int cdt_openssl_parse_certs(const char *what, const char *from, const char *text, size_t len,
                            cdt_openssl_certs **ret, const conduit_error **reterr);

/* ---- openssl_anchors.c ---- */

int cdt_openssl_set_ca(struct cdt_openssl_credentials *, const char *, const conduit_error **);
int cdt_openssl_set_ca_dir(struct cdt_openssl_credentials *, const char *, const conduit_error **);
int cdt_openssl_set_ca_pem(struct cdt_openssl_credentials *, const char *, const conduit_error **);
int cdt_openssl_set_ca_system(struct cdt_openssl_credentials *, const char *,
                              const conduit_error **);
int cdt_openssl_set_crl(struct cdt_openssl_credentials *, const char *, const conduit_error **);
/* Of struct cdt_tls_backend. */
void cdt_openssl_load_system(void *shared);
bool cdt_openssl_wants_system(const void *credentials, bool server);

/* ---- openssl_hello.c ---- */

/* Of SSL_CTX_set_client_hello_cb(). */
int cdt_openssl_on_hello(SSL *ssl, int *alert, void *arg);
int cdt_openssl_set_client_cert(struct cdt_openssl_credentials *, const char *,
                                const conduit_error **);
/* What is demanded of who asks for `name` (NULL: for none). */
enum cdt_tls_demand cdt_openssl_demand_of(const struct cdt_openssl_credentials *credentials,
                                          const char *name);
bool cdt_openssl_serves(const X509 *cert, const char *name, bool exactly);

/* ---- openssl_verify.c ---- */

int cdt_openssl_set_verify(struct cdt_openssl_credentials *, const char *, const conduit_error **);
int cdt_openssl_set_pin(struct cdt_openssl_credentials *, const char *, const conduit_error **);
int cdt_openssl_set_tlsa(struct cdt_openssl_credentials *, const char *, const conduit_error **);
/* Of SSL_CTX_set_cert_verify_callback(). */
int cdt_openssl_on_chain(X509_STORE_CTX *store, void *arg);
/* Have a session verify its peer, as its role and credentials demand. 0, or a code after
 * cdt_tls_fail(). */
int cdt_openssl_demand(struct cdt_openssl_session *session);
/* Before the handshake, when the system's anchors are loaded. 0, or a code after cdt_tls_fail(). */
int cdt_openssl_use_system(struct cdt_openssl_session *session);
/* After the handshake: was the peer verified, if it had to be? Trusts nothing but the session's own
 * result. */
int cdt_openssl_accept(struct cdt_openssl_session *session);
/* Is the peer of this session verified? */
bool cdt_openssl_verifies(const struct cdt_openssl_session *session);
/* Turn the peer's certificate away, unless that has been done: for the error. */
void cdt_openssl_distrust(struct cdt_openssl_session *session, int reason, int number,
                          const char *format, ...) CONDUIT_PRINTF(4, 5);

/* ---- openssl_explain.c ---- */

/* Why a certificate of the chain is at fault: a reason, and a line of CDT_OPENSSL_TEXT bytes. */
int cdt_openssl_explain(const struct cdt_openssl_session *session, X509_STORE_CTX *store,
                        char *text);
/* One line, as RFC 2253 has it, cut to `size`. */
void cdt_openssl_print_name(const X509_NAME *name, char *text, size_t size);
/* The DNS names and addresses of a certificate, as `format` wants each: kind and value. */
void cdt_openssl_print_sans(const X509 *cert, bool quoted, int most, char *text, size_t size);

/* ---- openssl_ocsp.c ---- */

int cdt_openssl_set_ocsp(struct cdt_openssl_credentials *, const char *, const conduit_error **);
int cdt_openssl_set_staple(struct cdt_openssl_credentials *, const char *, const conduit_error **);
/* Of SSL_CTX_set_tlsext_status_cb(). */
int cdt_openssl_on_status(SSL *ssl, void *arg);

/* ---- openssl_tickets.c ---- */

struct cdt_openssl_tickets *cdt_openssl_tickets_new(void);
void cdt_openssl_tickets_free(struct cdt_openssl_tickets *tickets);
int cdt_openssl_set_ticket_key(struct cdt_openssl_credentials *, const char *,
                               const conduit_error **);
int cdt_openssl_set_resume(struct cdt_openssl_credentials *, const char *, const conduit_error **);
bool cdt_openssl_set_resumption(SSL_CTX *ctx);
/* Does the program share out the keys? */
bool cdt_openssl_shares_tickets(const struct cdt_openssl_tickets *tickets);
/* Client: offer what was kept, if there is anything. False: OpenSSL failed. */
bool cdt_openssl_offer_session(struct cdt_openssl_session *session);
/* Client: after the handshake, what can be used again. */
void cdt_openssl_keep_session(struct cdt_openssl_session *session);
void cdt_openssl_free_session(void *resumable);

/* ---- openssl_early.c ---- */

int cdt_openssl_set_early_data(struct cdt_openssl_credentials *, const char *,
                               const conduit_error **);
/* Client, before the handshake: 1: it may go on; or what SSL_get_error() is to be asked about. */
int cdt_openssl_send_early(struct cdt_openssl_session *session);
/* Client, after the handshake: what was accepted. */
void cdt_openssl_settle_early(struct cdt_openssl_session *session);
/* Listener, before the handshake. 1: some has come, and the session is open; 2: none has, or will;
 * 0: ask SSL_get_error(); or a negative code after cdt_tls_fail(). */
int cdt_openssl_await_early(struct cdt_openssl_session *session);
/* Listener: 1 and *n bytes; 2: all of it was read; 0: ask SSL_get_error(). */
int cdt_openssl_read_early(struct cdt_openssl_session *session, void *buf, size_t len, size_t *n);
/* Listener: would what is written now go to a client that has not ended its handshake? */
bool cdt_openssl_answers_early(const struct cdt_openssl_session *session);

/* ---- openssl_describe.c ---- */

void cdt_openssl_describe(const void *session, struct cdt_facts *facts);
/* SHA-256, in lower-case hex. */
bool cdt_openssl_fingerprint(const X509 *cert, char text[65]);

/* ---- openssl_error.c ---- */

/* An SSL call failed for good: say why, by cdt_tls_fail(). Returns the code. Empties OpenSSL's
 * queue. */
int cdt_openssl_fail(struct cdt_openssl_session *session);
/* The first reason in OpenSSL's queue, which it empties; for errors that have no session. Static
 * string. */
const char *cdt_openssl_reason(unsigned long *number);

#endif
