/* SPDX-License-Identifier: ISC */
/*
 * A TLS backend: an engine that never touches a socket.
 *
 * tls/layer.c is what is true of TLS in every backend: it sits in the byte path, holds the
 * ciphertext that came and the ciphertext that has to go, and knows the names and protocols of the
 * endpoint. An engine turns one text into the other. It takes ciphertext with cdt_tls_pull(),
 * leaves it with cdt_tls_push(), says why it failed with cdt_tls_fail(), and never calls anything
 * else of the path.
 *
 * tls/config.c holds a conduit_tls and gives its content to the engine as it is set, so that a
 * mistake shows at once. tls/sessions.c remembers what a client may resume. Neither looks inside
 * what an engine hands it.
 */
#ifndef CDT_TLS_BACKEND_H
#define CDT_TLS_BACKEND_H

#include "layer.h"

struct cdt_tls; /* tls/layer.c: one TLS layer */

/* What the caller has a hand in. Lives as long as the credentials, and does not change once they
 * are in use. */
struct cdt_tls_hooks {
    conduit_tls_password_fn password;
    void *password_user;
    conduit_tls_verify_fn verify;
    void *verify_user;
};

/* What an engine has to know to start a session. Name and protocols live as long as the session. */
struct cdt_tls_start {
    bool server;
    void *credentials; /* this engine's own: see config_new */
    void *shared;      /* what all sessions of a context share: see shared_new */
    /* Client: whom the peer must prove to be, without trailing dot or zone; "" if nobody said.
     * Server: NULL. */
    char *name;
    bool numeric;              /* `name` is an address: it is never sent (RFC 6066, section 3) */
    const unsigned char *alpn; /* as on the wire (RFC 7301, section 3.1), checked */
    size_t alpn_len;           /* 0: none */
};

/* All are given unless it says otherwise. */
struct cdt_tls_backend {
    const char *name; /* "openssl" */

    /* Credentials: one per conduit_tls. NULL when out of memory. */
    void *(*config_new)(const struct cdt_tls_hooks *hooks);
    void (*config_free)(void *credentials);
    /* Take one key of conduit/tls.h, but for those of config.c (alpn, watch). 0, or a negative code
     * and *reterr, and then nothing has changed. CONDUIT_TLS_NOT_BUILT for what this engine
     * lacks. Never called after the first start. */
    int (*config_set)(void *credentials, const char *key, const char *value,
                      const conduit_error **reterr);
    /* Is it complete for this role? 0, or a negative code and *reterr. Any thread, any number of
     * times. */
    int (*config_check)(const void *credentials, bool server, const conduit_error **reterr);
    /* What this library's own API would have: OpenSSL's SSL_CTX. NULL: nothing of the kind. */
    void *(*config_native)(void *credentials);
    /* Does a session of this role verify its peer against the system's anchors? */
    bool (*config_wants_system)(const void *credentials, bool server);

    /* One per context, made at its first start. NULL when out of memory. */
    void *(*shared_new)(void);
    void (*shared_free)(void *shared);
    /* Load the system's anchors. On a worker thread, once, before the first handshake of a session
     * that wants them. That there are none is for the session to say. */
    void (*shared_load)(void *shared);

    /* Free what cdt_tls_keep_session() was given. */
    void (*resumable_free)(void *resumable);

    /* One session. *session is the engine's own. 0, or a negative code after cdt_tls_fail(). */
    int (*start)(struct cdt_tls *tls, const struct cdt_tls_start *start, void **session);
    /* 0: done, and the peer is verified; or, on a listener, early data has come. EAGAIN: more
     * ciphertext is needed, or room for what there is to say. */
    int (*handshake)(void *session);
    /* Plaintext, as in struct cdt_layer_ops, but one piece. read: 0 is the peer's close_notify. A
     * write that said EAGAIN is repeated with the same bytes first. */
    ssize_t (*read)(void *session, void *buf, size_t len);
    ssize_t (*write)(void *session, const void *buf, size_t len);
    /* Is there plaintext that was decrypted and not read yet? */
    bool (*pending)(const void *session);
    /* Say goodbye (close_notify). 0, EAGAIN (no room), or another code. Again is harmless. */
    int (*finish)(void *session);
    /* What was agreed on by ALPN, once the handshake is done: so many bytes at *name; 0: nothing. */
    size_t (*alpn)(const void *session, const unsigned char **name);
    /* Fill in the tls_* fields. */
    void (*describe)(const void *session, struct cdt_facts *facts);
    /* Release it, silently, in whatever state it is. */
    void (*stop)(void *session);
};

/* ---- for engines ---- */

/* Ciphertext from the peer: bytes, 0 at the end of the layer below, EAGAIN, or another code. */
ssize_t cdt_tls_pull(struct cdt_tls *tls, void *buf, size_t len);
/* Ciphertext for the peer: bytes taken (copied), EAGAIN when there is no room for any, or another
 * code. */
ssize_t cdt_tls_push(struct cdt_tls *tls, const void *buf, size_t len);
/* Client: what the program lets go before the handshake is done, at most `most` bytes in one piece,
 * which stay where they are until it is. Their number, 0 if there are none or another attempt of
 * the same connect has them. Once, during the handshake. */
size_t cdt_tls_early(struct cdt_tls *tls, size_t most, const void **bytes);
/* Client: the peer accepted so many of them. */
void cdt_tls_early_taken(struct cdt_tls *tls, size_t n);
/* Client: what this peer gave to be resumed, the engine's own, is kept for a connection to come
 * (taken over). */
void cdt_tls_keep_session(struct cdt_tls *tls, void *resumable);
/* Client: one that was kept for a connection like this one, in start() only; the engine's from now
 * on. NULL: none. */
void *cdt_tls_take_session(struct cdt_tls *tls);
/* The context's clock, in milliseconds: it only goes forward, and is the same for all threads. */
uint64_t cdt_tls_now_ms(const struct cdt_tls *tls);
/* As cdt_path_fail(), with the code that goes with `reason` (enum conduit_tls_reason), and stage
 * tls before the handshake is done and io after it. */
int cdt_tls_fail(struct cdt_tls *tls, int reason, const char *source, long number,
                 const char *format, ...) CONDUIT_PRINTF(5, 6);

/* ---- fail.c: what every engine says in the same words, by cdt_tls_fail() ---- */

/* The peer gave up, with this alert. `name`: whom we asked for; NULL. */
int cdt_tls_fail_alert(struct cdt_tls *tls, int alert, const char *name, const unsigned char *alpn,
                       size_t alpn_len);
/* Server: the client offers `offer` (for people; NULL if that is not known), and none of ours. */
int cdt_tls_fail_alpn(struct cdt_tls *tls, const char *source, long number,
                      const unsigned char *alpn, size_t alpn_len, const char *offer);
/* Client: 0 if the protocol that the server chose (of at most 255 bytes; 0: none) was offered, or a
 * code. A server that knows ALPN and has none of ours may say nothing about it (RFC 7301, section
 * 3.2); whether that will do is for the application to see. */
int cdt_tls_check_alpn(struct cdt_tls *tls, const unsigned char *alpn, size_t alpn_len,
                       const void *chosen, size_t len);

#endif
