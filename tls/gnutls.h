/* SPDX-License-Identifier: ISC */
/*
 * The GnuTLS engine, among its own files:
 *
 *   gnutls.c         sessions: the path of bytes, resumption, what there is to know
 *   gnutls_config.c  credentials: what was set, and what is not to be had here
 *   gnutls_verify.c  is the peer who it has to be, and if not, why?
 *   gnutls_error.c   what else went wrong, in words
 *
 * It exists beside the OpenSSL engine to keep the interface between them honest. It has less, and
 * refuses what it has not: docs/tls.md has the table.
 */
#ifndef CDT_GNUTLS_H
#define CDT_GNUTLS_H

#include "backend.h"
#include "demands.h"
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>

enum {
    CDT_GNUTLS_CHAIN = 11, /* certificates of a peer, its own included */
    CDT_GNUTLS_PIN = 32,   /* bytes of SHA-256 */
    CDT_GNUTLS_TEXT = 512, /* a line about a certificate */
};

/* One of our certificates, with its chain. */
struct cdt_gnutls_identity {
    gnutls_x509_crt_t *chain;
    unsigned n;
    gnutls_x509_privkey_t key; /* NULL: not given yet */
};

/* One per conduit_tls, unchanging once sealed. */
struct cdt_gnutls_credentials {
    const struct cdt_tls_hooks *hooks;
    gnutls_certificate_credentials_t all; /* of all identities */
    gnutls_priority_t priority;
    bool only_new, only_old; /* TLS 1.3, TLS 1.2 */

    struct cdt_gnutls_identity *identities; /* the last may wait for its key */
    size_t n_identities;
    char *password; /* for what is read next; NULL */

    gnutls_x509_trust_list_t anchors;
    bool own_trust, system_trust;
    char sources[144]; /* where they are from, for people */
    enum cdt_tls_verify verify;
    unsigned char (*pins)[CDT_GNUTLS_PIN];
    size_t n_pins;

    enum cdt_tls_demand demand; /* of clients */
    bool sni_strict, no_resumption;
    gnutls_datum_t ticket_key;
};

/* One per context. */
struct cdt_gnutls_shared {
    gnutls_x509_trust_list_t system; /* NULL: not loaded yet */
    int n_system;                    /* anchors in it */
};

struct cdt_gnutls_session {
    struct cdt_tls *tls;
    struct cdt_tls_start start; /* a copy */
    const struct cdt_gnutls_credentials *credentials;
    const struct cdt_gnutls_shared *shared;
    gnutls_session_t tls_session;
    gnutls_certificate_credentials_t chosen; /* for the name that was asked for; NULL: all */
    char asked[256];                         /* server: that name; "" */
    bool greeted;                            /* server: a hello has come */
    bool open, verified, kept, said_goodbye;
    bool waits;             /* the layer below had nothing, or no room */
    bool ended;             /* the layer below came to its end */
    int broken;             /* ... or failed, with this code; 0 */
    unsigned char first[4]; /* bytes that the peer sent */
    size_t n_first;
    bool speaks_new;                     /* a client that offers TLS 1.3 */
    char alpn_offer[256];                /* what a client offered in vain */
    int distrust;                        /* why the peer was turned away: a reason; 0 */
    char distrust_text[CDT_GNUTLS_TEXT]; /* ... in words */
};

/* ---- gnutls_config.c ---- */

void *cdt_gnutls_config_new(const struct cdt_tls_hooks *hooks);
void cdt_gnutls_config_free(void *credentials);
int cdt_gnutls_config_set(void *credentials, const char *key, const char *value,
                          const conduit_error **reterr);
int cdt_gnutls_config_check(const void *credentials, bool server, const conduit_error **reterr);
bool cdt_gnutls_wants_system(const void *credentials, bool server);
/* Credentials of those identities alone that serve this name, an exact name before a wildcard. 0,
 * and NULL if nobody does; or GnuTLS's error. */
int cdt_gnutls_choose(const struct cdt_gnutls_credentials *credentials, const char *name,
                      gnutls_certificate_credentials_t *ret);

/* ---- gnutls_verify.c ---- */

/* What this session demands of its peer's certificate. */
enum cdt_tls_demand cdt_gnutls_demand_of(const struct cdt_gnutls_session *session);
/* Is this a certificate for that name (RFC 9525)? */
bool cdt_gnutls_serves(gnutls_x509_crt_t cert, const char *name, bool numeric, bool exactly);
/* The peer's certificates, each to be freed by gnutls_x509_crt_deinit(). How many; 0: none. */
unsigned cdt_gnutls_peer_certs(gnutls_session_t tls_session,
                               gnutls_x509_crt_t certs[CDT_GNUTLS_CHAIN]);
/* Of gnutls_session_set_verify_function(): 0, or GNUTLS_E_CERTIFICATE_ERROR. */
int cdt_gnutls_on_certs(gnutls_session_t tls_session);
/* After the handshake: is the peer verified, if it had to be? One whose session was resumed is
 * verified once more, but for the program's own check. 0, or a code after cdt_tls_fail(). */
int cdt_gnutls_accept(struct cdt_gnutls_session *session);
/* The anchor that the last of a peer's certificates leads to, if that is not one itself. The list
 * has it. NULL: none. */
gnutls_x509_crt_t cdt_gnutls_find_anchor(const struct cdt_gnutls_session *session,
                                         gnutls_x509_crt_t last);
/* The DNS names and addresses of a certificate: "DNS:a.example, IP:192.0.2.1", or as `quoted`. */
void cdt_gnutls_print_sans(gnutls_x509_crt_t cert, bool quoted, char *text, size_t size);
/* Its subject, as RFC 2253 has it; and its SHA-256, in lower-case hex. */
void cdt_gnutls_print_subject(gnutls_x509_crt_t cert, char *text, size_t size);
void cdt_gnutls_print_digest(gnutls_x509_crt_t cert, char text[65]);

/* ---- gnutls_error.c ---- */

/* A call failed for good, with this error of GnuTLS's: tell the peer by an alert, and why by
 * cdt_tls_fail(). Returns the code. */
int cdt_gnutls_fail(struct cdt_gnutls_session *session, int error);

#endif
