/* SPDX-License-Identifier: ISC */
/*
 * What the core needs of a conduit_tls beyond conduit/tls.h: to seal one before it is used, to read
 * what an endpoint takes over from it, and to make one that says a little more than the caller's.
 */
#ifndef CDT_SECURE_H
#define CDT_SECURE_H

#include <conduit/tls.h>
#include <stdbool.h>
#include <stdint.h>

/* From here on `tls` is in use: no setter works any more. 0, or why it is unfit for this role
 * (CONDUIT_ETLS: "a TLS listener needs cert and key"; CONDUIT_ENOTSUP: built without TLS) and
 * *reterr. Idempotent; any thread. The layer calls it too: it is here so that a listener can fail
 * before the first peer comes. */
int cdt_tls_seal(conduit_tls *tls, bool server, const conduit_error **reterr);

/* The value of its "alpn" key, "h2,http/1.1"; "" if none was set. Lives as long as `tls`. */
const char *cdt_tls_alpn(const conduit_tls *tls);

/* Does it go by TLSA records, and has none? Whoever connects has to find some and add them to a
 * copy (cdt_tls_copy, the key `tlsa`), or TLS fails. */
bool cdt_tls_wants_tlsa(const conduit_tls *tls);

/* A new one with the same content, not in use yet, for keys to be added. Files are read again. 0
 * and *ret (a reference), or a negative code and *reterr. */
int cdt_tls_copy(const conduit_tls *tls, conduit_tls **ret, const conduit_error **reterr);

/* The same, but only what it says of whom to trust and of versions: not who we are, no protocols,
 * and no leave to go unverified. */
int cdt_tls_copy_trust(const conduit_tls *tls, conduit_tls **ret, const conduit_error **reterr);

/* The value of its "watch" key; 0: nobody looks after its files. */
uint32_t cdt_tls_watch_s(const conduit_tls *tls);
/* Is one of its files another one, or in another state, than when it was read? Asks the file
 * system. */
bool cdt_tls_changed(const conduit_tls *tls);
/* A copy for a listener, sealed, from files that nobody changed meanwhile. As cdt_tls_copy(). */
int cdt_tls_reread(const conduit_tls *tls, conduit_tls **ret, const conduit_error **reterr);

#endif
