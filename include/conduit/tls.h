/* SPDX-License-Identifier: ISC */
/*
 * A TLS configuration: trust, identity, protocols, versions. Optional everywhere: without one a
 * client verifies the peer's chain against the system's trust store and its name against the URI's
 * host, TLS 1.2 or newer.
 *
 * Built with setters, counted, and immutable from its first use on: a setter after that is
 * CONDUIT_EINVAL, and one configuration never changes another. The keys of conduit_tls_set() are
 * those of an endpoint URI's query (tls://:8443?cert=c.pem&key=k.pem) and of the tools' --tls, so
 * that there is one way to say a thing; docs/tls.md explains them at length. Those marked with *
 * hold secrets, and are not for URIs.
 *
 *   whom to trust; instead of the system's store, unless ca_system=yes
 *   ca           a PEM file of trust anchors. On a listener: demand and verify a client
 *                certificate. Repeatable
 *   ca_dir       a directory of them, by the hash of their subjects (openssl rehash). Repeatable
 *   ca_pem       the anchors themselves, in PEM. Repeatable
 *   ca_system    "yes": the system's anchors beside those above
 *   crl          a PEM file of revocation lists; the peer's certificate must be covered. Repeatable
 *   crl_check    "peer" (the default), or "chain": the authorities' certificates as well
 *   verify       "full" (the default): chain and name. "chain": whatever its name. "pin": one of
 *                the `pin` keys and nothing else. "dane": the `tlsa` records or, without any, those
 *                that DNS has and DNSSEC vouches for (dns_trust_ad of context.h). "insecure":
 *                nothing. Which one it was is in the connection's info
 *   pin          "sha256//BASE64" of the peer's public key (SubjectPublicKeyInfo), demanded beside
 *                what verify says. Repeatable: one has to match
 *   tlsa         "USAGE SELECTOR TYPE HEX", a TLSA record of the peer (RFC 6698). Repeatable
 *   ocsp         "ask" for a stapled OCSP response and check it if it comes, or "require" one
 *
 *   who we are; repeatable: a listener picks by the name that is asked for and by key type
 *   cert         a PEM file with our certificate, then its chain; or a store's URI ("pkcs11:...").
 *                With `key` after it
 *   key          the PEM file of the private key for the last cert, refused if group or others may
 *                read it; or a store's URI
 *   cert_pem, key_pem*  the same, as PEM text
 *   pkcs12       a PKCS#12 file: key, certificate and chain at once
 *   password*    the passphrase for what is read next
 *   password_file  ... as the first line of a file that only we may read
 *   staple       a DER file: the OCSP response to serve with the last cert
 *
 *   what is spoken
 *   alpn         protocols in order of preference, "h2,http/1.1". A listener refuses a client that
 *                offers none of its own; a client refuses one that it did not offer
 *   min, max     "1.2" (the default minimum) or "1.3" (the default maximum)
 *   ciphers      TLS 1.2 suites in OpenSSL's notation; the default is ECDHE with AEAD only
 *   suites       TLS 1.3 suites: "TLS_AES_256_GCM_SHA384:..."
 *   groups       for the key exchange: "X25519:P-256"
 *   sigalgs      signature algorithms: "ECDSA+SHA256:ed25519"
 *
 *   listeners
 *   sni          "default" (the default): who asks for an unknown name gets the first certificate;
 *                or "strict": is refused
 *   client_cert  "none", "ask" or "require", for all names or, as "require@NAME" and
 *                "require@*.NAME", for some. The default is require where there are anchors
 *   ticket_key   a file of 80 random bytes, the same at all who share it: tickets of one resume at
 *                the others. Repeatable: the first one makes tickets, all of them open them
 *   watch        seconds: look that often whether one of the files has changed, and reload
 *
 *   both
 *   resume       "no": neither keep sessions nor offer tickets
 *   early_data   "yes", at both ends: what a client writes before its connection is open goes with
 *                the first flight, if a session before it with this server allows that (TLS 1.3). Who
 *                records it can send it again, and a connect that races may, too: only for what is
 *                harmless when it arrives twice. The info says whether a connection began so
 *   keylog       append the secrets of each connection to this file, for Wireshark. The only key
 *                whose purpose is to break the protection
 *
 * A file name that begins with $ is what the environment says: ca=$SSL_CERT_FILE. Where that says
 * nothing it is as if the key were not given.
 */
#ifndef CONDUIT_TLS_H
#define CONDUIT_TLS_H

#include <conduit/error.h>
#include <stdbool.h>

CONDUIT_BEGIN

typedef struct conduit_tls conduit_tls;

/* NULL when out of memory. Ended by conduit_tls_unref(). */
CONDUIT_API conduit_tls *conduit_tls_new(void);

/*
 * Set one key. Files are read at once, so that a mistake shows here. Returns 0, or CONDUIT_EINVAL
 * (unknown key, value unfit, already in use), CONDUIT_ETLS (file unreadable, not PEM, key does not
 * fit), CONDUIT_ENOTSUP (not with this TLS library), CONDUIT_ENOMEM, and the error in *reterr (if
 * not NULL), which the caller unrefs.
 */
CONDUIT_API int conduit_tls_set(conduit_tls *tls, const char *key, const char *value,
                                const conduit_error **reterr);

/*
 * Whom to ask for a passphrase. Put it into `buf` (of `size` bytes) and return its length, or a
 * negative number to give up. `what` is the file or URI. Called within conduit_tls_set(), and
 * again when a copy of the configuration is made: on reload, and where a URI adds to it.
 */
typedef int (*conduit_tls_password_fn)(void *user, const char *what, char *buf, size_t size);

/* 0, or CONDUIT_EINVAL: already in use. */
CONDUIT_API int conduit_tls_set_password(conduit_tls *tls, conduit_tls_password_fn ask, void *user);

/* A certificate as it came: DER. */
typedef struct conduit_tls_cert {
    const void *der;
    size_t len;
} conduit_tls_cert;

/* A peer that has passed every check of the configuration's own. */
typedef struct conduit_tls_peer {
    const char *name;           /* client: whom it was to prove to be; listener: the name it asked
                                 for; "" if none */
    bool client;                /* it is a client of ours */
    const char *subject;        /* of its certificate, as RFC 2253 writes it */
    const char *fingerprint;    /* SHA-256 of its certificate, in lower-case hex */
    conduit_tls_cert certs[12]; /* its own first; as far as the chain was built */
    size_t n_certs;
} conduit_tls_peer;

/* The caller's own say on top: false turns the peer away. It cannot let in whom the rest refused.
 * Not asked about clients that show no certificate, nor again when a session is resumed; with
 * verify=insecure it would never be, and the two together are refused when the configuration is
 * used. Runs inside a handshake, on the thread of the connection's context: it must answer at once
 * and call nothing of this library. All of `peer` is valid during the call. */
typedef bool (*conduit_tls_verify_fn)(void *user, const conduit_tls_peer *peer);

/* 0, or CONDUIT_EINVAL: already in use. */
CONDUIT_API int conduit_tls_set_verify(conduit_tls *tls, conduit_tls_verify_fn verify, void *user);

/* Any thread. Both accept NULL; ref returns its argument. */
CONDUIT_API conduit_tls *conduit_tls_ref(conduit_tls *tls);
CONDUIT_API void conduit_tls_unref(conduit_tls *tls);

/* clang-format off */
/* What exactly was wrong: conduit_error_reason(). The numbers stay; new ones are added at the end
 * of their part. */
#define CONDUIT_TLS_REASON_MAP(X)                                                                  \
    /* a configuration */                                                                          \
    X(MEMORY,            1,  ENOMEM,     "out of memory")                                          \
    X(NOT_BUILT,         2,  ENOTSUP,    "not in this build")                                      \
    X(IN_USE,            3,  EINVAL,     "the configuration is in use")                            \
    X(UNKNOWN_KEY,       4,  EINVAL,     "no such key")                                            \
    X(BAD_VALUE,         5,  EINVAL,     "the value does not fit the key")                         \
    X(FILE_UNREADABLE,   6,  ETLS,       "a file cannot be read")                                  \
    X(FILE_KIND,         7,  ETLS,       "not a regular file, or far too large")                   \
    X(KEY_EXPOSED,       8,  ETLS,       "others may read a secret")                               \
    X(NO_CERTIFICATE,    9,  ETLS,       "a file holds no certificate")                            \
    X(NO_KEY,            10, ETLS,       "a file holds no private key")                            \
    X(FILE_DAMAGED,      11, ETLS,       "a file is damaged")                                      \
    X(ORDER,             12, EINVAL,     "keys in the wrong order")                                \
    X(KEY_MISMATCH,      13, ETLS,       "key and certificate are not a pair")                     \
    X(KEY_ENCRYPTED,     14, ETLS,       "a key is encrypted, and nobody knows its passphrase")    \
    X(BAD_PASSWORD,      15, ETLS,       "a wrong passphrase")                                     \
    X(CHAIN_BROKEN,      16, ETLS,       "the certificates of a file are not a chain")             \
    X(OWN_WEAK,          17, ETLS,       "our own certificate is too weak")                        \
    X(NO_IDENTITY,       18, ETLS,       "a listener without a certificate")                       \
    X(KEY_MISSING,       19, ETLS,       "a certificate without its key")                          \
    X(NO_VERSION,        20, EINVAL,     "no TLS version is left")                                 \
    X(CONTRADICTION,     21, EINVAL,     "two settings exclude each other")                        \
    X(NO_ANCHORS,        22, ETLS,       "no trust anchor")                                        \
    X(STORE_URI,         23, ETLS,       "a store cannot be opened")                               \
    X(STAPLE_UNFIT,      24, ETLS,       "an OCSP response does not fit the certificate")          \
    X(NO_NAME,           25, EINVAL,     "nobody said whom to verify")                             \
    X(BAD_NAME,          26, EINVAL,     "what cannot be the name of a peer")                      \
    X(REFUSED_BY_HOOK,   27, ETLS,       "the program's own setup refused")                        \
    /* a peer's certificate */                                                                     \
    X(EXPIRED,           40, ETRUST,     "a certificate has expired")                              \
    X(NOT_YET_VALID,     41, ETRUST,     "a certificate is not valid yet")                         \
    X(WRONG_NAME,        42, ETRUST,     "the certificate is for another name")                    \
    X(NAMELESS,          43, ETRUST,     "the certificate has no names")                           \
    X(SELF_SIGNED,       44, ETRUST,     "the certificate is self-signed, and no anchor")          \
    X(UNKNOWN_ISSUER,    45, ETRUST,     "signed by nobody who is trusted")                        \
    X(UNTRUSTED_ROOT,    46, ETRUST,     "the chain ends in a root that is no anchor")             \
    X(BAD_SIGNATURE,     47, ETRUST,     "a certificate's signature is wrong")                     \
    X(WRONG_PURPOSE,     48, ETRUST,     "a certificate for another purpose")                      \
    X(NOT_A_CA,          49, ETRUST,     "signed by a certificate that may not sign others")       \
    X(PATH_TOO_LONG,     50, ETRUST,     "a chain longer than it may be")                          \
    X(NAME_CONSTRAINT,   51, ETRUST,     "a name that its authority may not certify")              \
    X(CRITICAL_UNKNOWN,  52, ETRUST,     "a critical extension that nobody understands")           \
    X(WEAK_KEY,          53, ETRUST,     "a key that is too small")                                \
    X(WEAK_DIGEST,       54, ETRUST,     "a signature by a broken digest")                         \
    X(REVOKED,           55, ETRUST,     "a certificate was revoked")                              \
    X(NO_CRL,            56, ETRUST,     "no revocation list covers a certificate")                \
    X(CRL_UNFIT,         57, ETRUST,     "a revocation list is out of date or unfit")              \
    X(NO_STAPLE,         58, ETRUST,     "no OCSP response, and one is demanded")                  \
    X(STAPLE_BAD,        59, ETRUST,     "an OCSP response that proves nothing")                   \
    X(PIN_MISMATCH,      60, ETRUST,     "none of the pinned keys")                                \
    X(DANE_MISMATCH,     61, ETRUST,     "no TLSA record matches")                                 \
    X(REFUSED_BY_CALLER, 62, ETRUST,     "refused by the program's own check")                     \
    X(NO_PEER_CERT,      63, ETRUST,     "the peer showed no certificate")                         \
    X(MALFORMED_CERT,    64, ETRUST,     "a certificate that breaks the rules of RFC 5280")        \
    X(NOT_TRUSTED,       65, ETRUST,     "a certificate was not accepted")                         \
    X(NO_TLSA,           66, ETRUST,     "no TLSA record to go by")                                \
    /* a handshake, or after it */                                                                 \
    X(NOT_TLS,           80, ETLS,       "the peer does not speak TLS")                            \
    X(NO_COMMON_VERSION, 81, ETLS,       "no TLS version in common")                               \
    X(NO_COMMON_CIPHER,  82, ETLS,       "no cipher suite in common")                              \
    X(NO_COMMON_GROUP,   83, ETLS,       "no group in common")                                     \
    X(NO_COMMON_SIGALG,  84, ETLS,       "no signature algorithm in common")                       \
    X(NO_COMMON_ALPN,    85, ETLS,       "no protocol in common")                                  \
    X(ALPN_NOT_OFFERED,  86, ETLS,       "a protocol that was not offered")                        \
    X(UNKNOWN_NAME,      87, ETLS,       "the client asked for a name that is not served here")    \
    X(ALERT,             88, ETLS,       "the peer sent an alert")                                 \
    X(CLOSED,            89, ETLS,       "the peer closed during the handshake")                   \
    X(DAMAGED,           90, ETLS,       "what came was damaged on the way")                       \
    X(TRUNCATED,         91, ETRUNCATED, "the stream ended without close_notify")                  \
    X(PROTOCOL,          92, ETLS,       "the peer broke the protocol")
/* clang-format on */

typedef enum conduit_tls_reason {
#define CONDUIT_TLS_REASON_ENUM(name, number, code, text) CONDUIT_TLS_##name = number,
    CONDUIT_TLS_REASON_MAP(CONDUIT_TLS_REASON_ENUM)
#undef CONDUIT_TLS_REASON_ENUM
        CONDUIT_TLS_NO_REASON = 0
} conduit_tls_reason;

/* "EXPIRED" for CONDUIT_TLS_EXPIRED, and the text of CONDUIT_TLS_REASON_MAP. Static strings; of
 * what is no reason "unknown". */
CONDUIT_API const char *conduit_tls_reason_name(int reason);
CONDUIT_API const char *conduit_tls_reason_text(int reason);

CONDUIT_END
#endif
