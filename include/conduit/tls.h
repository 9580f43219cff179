/* SPDX-License-Identifier: ISC */
/*
 * A TLS configuration: trust, identity, ALPN, versions. Optional everywhere: without one a client
 * verifies the peer's chain against the system's trust store and its name against the URI's host,
 * TLS 1.2 or newer.
 *
 * Built with conduit_tls_set(), counted, and immutable from its first use on: a setter after that
 * is CONDUIT_EINVAL, and one configuration never changes another. The keys are those of an endpoint
 * URI's query (tls://:8443?cert=c.pem&key=k.pem) and of the tools' options, so that there is one
 * way to say a thing:
 *
 *   key      value
 *   ca       a PEM file of trust anchors, instead of the system's store. On a listener: demand and
 *            verify a client certificate. Repeatable.
 *   cert     a PEM file with our certificate, then its chain. With `key` after it. Repeatable: the
 *            listener picks by key type, so of each type there can be one.
 *   key      the PEM file of the private key for the last `cert`; refused if group or others may
 *            read it
 *   alpn     protocols in order of preference, "h2,http/1.1". A listener refuses a client that offers
 *            none of its own; a client refuses one that it did not offer
 *   min      "1.2" (the default) or "1.3"
 *   max      "1.2" or "1.3" (the default)
 *   ciphers  TLS 1.2 suites in OpenSSL's notation; the default is ECDHE with AEAD only
 *   verify   "full" (the default) or "insecure": neither chain nor name is checked, and the
 *            connection's info says so
 */
#ifndef CONDUIT_TLS_H
#define CONDUIT_TLS_H

#include <conduit/error.h>

CONDUIT_BEGIN

typedef struct conduit_tls conduit_tls;

/* NULL when out of memory. Ended by conduit_tls_unref(). */
CONDUIT_API conduit_tls *conduit_tls_new(void);

/*
 * Set one key. Files are read at once, so that a mistake shows here. Returns 0, or CONDUIT_EINVAL
 * (unknown key, value unfit, already in use), CONDUIT_ETLS (file unreadable, not PEM, key does not
 * fit), CONDUIT_ENOMEM, and the error in *reterr (if not NULL), which the caller unrefs.
 */
CONDUIT_API int conduit_tls_set(conduit_tls *tls, const char *key, const char *value,
                                const conduit_error **reterr);

/* Any thread. Both accept NULL; ref returns its argument. */
CONDUIT_API conduit_tls *conduit_tls_ref(conduit_tls *tls);
CONDUIT_API void conduit_tls_unref(conduit_tls *tls);

CONDUIT_END
#endif
