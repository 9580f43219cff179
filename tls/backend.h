/* SPDX-License-Identifier: ISC */
/*
 * A TLS backend: an engine that never touches a socket.
 *
 * tls/layer.c is what is true of TLS in every backend: it sits in the byte path, holds the ciphertext that came and the
 * ciphertext that has to go, and talks of names and protocols. An engine turns one into the other. It takes
 * ciphertext with cdt_tls_pull() and leaves it with cdt_tls_push(), and never calls anything else of ours.
 *
 * tls/config.c holds a conduit_tls and gives its content to the engine as it is set, so that a mistake shows at once.
 */
#ifndef CDT_TLS_BACKEND_H
#define CDT_TLS_BACKEND_H

#include "layer.h"

struct cdt_tls; /* tls/layer.c: one TLS layer */

/* What an engine has to know to start a session. */
struct cdt_tls_start {
    bool server;
    void *credentials; /* this engine's own: see config_new */
    void *shared;      /* what all sessions of a context share (its trust store): see shared_new */
    const char *name;  /* client: whom the peer must prove to be, name or numeric address; no trailing dot */
    const char *alpn;  /* comma-separated; "" for none */
};

struct cdt_tls_backend {
    const char *name; /* "openssl" */

    /* Credentials: one per conduit_tls. NULL when out of memory. */
    void *(*config_new)(void);
    void (*config_free)(void *credentials);
    /* Take one key of conduit/tls.h. 0, or a negative code and *reterr. Never called after the first start. */
    int (*config_set)(void *credentials, const char *key, const char *value,
                      const conduit_error **reterr);
    /* Is it complete for this role? A server needs an identity. 0, or a negative code and *reterr. Idempotent. */
    int (*config_check)(void *credentials, bool server, const conduit_error **reterr);

    /* One per context, made at the first start. NULL when out of memory. */
    void *(*shared_new)(void);
    void (*shared_free)(void *shared);

    /* One session. `session` is the engine's own. start: 0 or a negative code after cdt_tls_fail(). */
    int (*start)(struct cdt_tls *tls, const struct cdt_tls_start *start, void **session);
    /* 0 when done and the peer is verified; EAGAIN: it needs more ciphertext, or room for what it has to say. */
    int (*handshake)(struct cdt_tls *tls, void *session);
    /* Plaintext: as layer_ops.read and write, one contiguous piece. read returns 0 on the peer's close_notify. */
    ssize_t (*read)(struct cdt_tls *tls, void *session, void *buf, size_t len);
    ssize_t (*write)(struct cdt_tls *tls, void *session, const void *buf, size_t len);
    /* Plaintext that was decrypted and not yet read. */
    bool (*pending)(void *session);
    /* Say goodbye (close_notify), once. */
    int (*finish)(struct cdt_tls *tls, void *session);
    void (*describe)(void *session, struct cdt_facts *facts);
    void (*stop)(void *session);
};

/* ---- for engines ---- */

/* Ciphertext from the peer: bytes, 0 at the end of the layer below, EAGAIN, or another code. */
ssize_t cdt_tls_pull(struct cdt_tls *tls, void *buf, size_t len);
/* Ciphertext for the peer: taken whole (copied), or EAGAIN when too much waits already, or ENOMEM. */
ssize_t cdt_tls_push(struct cdt_tls *tls, const void *buf, size_t len);
/* As cdt_path_fail(), with stage tls before the handshake is done and io after it. */
int cdt_tls_fail(struct cdt_tls *tls, int code, const char *source, long number, const char *format,
                 ...) CONDUIT_PRINTF(5, 6);

#endif
