/* SPDX-License-Identifier: ISC */
/*
 * The way out for what conduit/tls.h does not cover: the SSL_CTX itself.
 *
 * Not part of conduit/conduit.h: who includes this depends on OpenSSL, and on the library having
 * been built with it.
 *
 *     static int prepare(struct ssl_ctx_st *ctx, void *user)
 *     {
 *         return SSL_CTX_set_num_tickets(ctx, 4) == 1 ? 0 : -1;
 *     }
 *
 *     conduit_tls_set_openssl(tls, prepare, NULL);
 */
#ifndef CONDUIT_OPENSSL_H
#define CONDUIT_OPENSSL_H

#include <conduit/tls.h>

CONDUIT_BEGIN

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

/*
 * Called once, when the configuration is used for the first time, with all settings made; and once
 * for each copy that a reload or a URI's parameters make. It may change what it likes but for what
 * the library itself lives by: the callbacks for verification, ALPN, the client hello, tickets and
 * sessions, and the ex_data of what it did not register. What it weakens is weak. A negative answer
 * refuses the use, with CONDUIT_ETLS. Any thread.
 */
typedef int (*conduit_tls_openssl_fn)(struct ssl_ctx_st *ctx, void *user);

/* 0, CONDUIT_EINVAL (already in use), or CONDUIT_ENOTSUP (TLS is not by OpenSSL here). */
CONDUIT_API int conduit_tls_set_openssl(conduit_tls *tls, conduit_tls_openssl_fn prepare,
                                        void *user);

CONDUIT_END
#endif
