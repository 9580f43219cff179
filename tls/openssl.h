/* SPDX-License-Identifier: ISC */
/*
 * The OpenSSL engine, among its own files:
 *
 *   openssl.c         sessions: the path of bytes through an SSL
 *   openssl_config.c  credentials: an SSL_CTX and what was set on it
 *   openssl_trust.c   whom to believe: trust stores, names, why a certificate was turned away
 *   openssl_error.c   what went wrong, in words
 */
#ifndef CDT_OPENSSL_H
#define CDT_OPENSSL_H

#include "backend.h"
#include <openssl/ssl.h>
#include <stdbool.h>

typedef STACK_OF(X509) cdt_openssl_certs;

/* One per conduit_tls, unchanging once sealed. Both roles use the one SSL_CTX. */
struct cdt_openssl_credentials {
    SSL_CTX *ctx;
    X509 *cert;               /* one that waits for its key, or NULL */
    cdt_openssl_certs *chain; /* ... and the others of its file */
    bool identity;            /* has a certificate with its key */
    bool own_trust;           /* has trust anchors of its own, in ctx */
    bool insecure;
};

/* One per context. */
struct cdt_openssl_shared {
    BIO_METHOD *bio;
    X509_STORE *trust; /* the system's; NULL until a first client needs it */
};

struct cdt_openssl_session {
    struct cdt_tls *tls;
    const struct cdt_openssl_credentials *credentials;
    SSL *ssl;
    char *name; /* these three: see struct cdt_tls_start */
    const unsigned char *alpn;
    size_t alpn_len;
    bool server;
    bool open;  /* the handshake is done and the peer accepted */
    bool ended; /* the layer below came to its end */
    int broken; /* ... or failed, with this code; 0 */
    /* Why the peer's certificate was turned away: X509_V_ERR_* and a line about it. */
    int distrust;
    char *distrust_text; /* NULL if there was no memory for it */
    char *alpn_offer;    /* what a client offered in vain; NULL */
};

/* ---- openssl.c ---- */

struct cdt_openssl_session *cdt_openssl_session_of(const SSL *ssl);

/* ---- openssl_config.c ---- */

void *cdt_openssl_config_new(void);
void cdt_openssl_config_free(void *credentials);
int cdt_openssl_config_set(void *credentials, const char *key, const char *value,
                           const conduit_error **reterr);
int cdt_openssl_config_check(const void *credentials, bool server, const conduit_error **reterr);

/* ---- openssl_trust.c ---- */

/* Have a session verify its peer, as its role and credentials demand. 0, or a code after
 * cdt_tls_fail(). */
int cdt_openssl_demand(struct cdt_openssl_session *session, struct cdt_openssl_shared *shared,
                       bool numeric);
/* After the handshake: was the peer verified, if it had to be? Trusts nothing but the session's own
 * result. */
int cdt_openssl_accept(struct cdt_openssl_session *session);
/* Is the peer of this session verified? */
bool cdt_openssl_verifies(const struct cdt_openssl_session *session);
/* One line, as RFC 2253 has it, cut to `size`. */
void cdt_openssl_print_name(const X509_NAME *name, char *text, size_t size);

/* ---- openssl_error.c ---- */

/* An SSL call failed for good: say why, by cdt_tls_fail(). Returns the code. Empties OpenSSL's
 * queue. */
int cdt_openssl_fail(struct cdt_openssl_session *session);
/* The first reason in OpenSSL's queue, which it empties; for errors that have no session. Static
 * string. */
const char *cdt_openssl_reason(unsigned long *number);

#endif
