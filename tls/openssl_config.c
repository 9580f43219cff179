/* SPDX-License-Identifier: ISC */
/*
 * Credentials: an SSL_CTX, filled in key by key.
 *
 * It starts from what is right without being told (RFC 9325): TLS 1.2 or newer, ECDHE with AEAD, no
 * renegotiation, no compression, no early data. Then conduit_tls_set() changes what it is asked to,
 * and each change is tried out on the SSL_CTX at once. When the first session starts it is
 * finished, and OpenSSL lets any thread use it.
 *
 * OpenSSL keeps one certificate of each key type and picks by what the client can verify. A choice
 * by name (SNI) would be made in a certificate callback on the SSL_CTX, among certificates that are
 * kept beside it.
 */
#include "error.h"
#include "openssl.h"
#include "tls.h"
#include <conduit/memory.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>

/* Of certificates between the peer's and a trust anchor. */
enum { MAX_DEPTH = 10 };

/* A setting is refused for a reason of OpenSSL's: WHAT "VALUE": reason. */
static int refuse_openssl(const char *what, const char *value, const conduit_error **reterr)
{
    unsigned long number;
    const char *reason = cdt_openssl_reason(&number);
    const conduit_error *error = cdt_error_new(CONDUIT_ETLS, CONDUIT_STAGE_TLS, NULL, "OpenSSL",
                                               (long)number, "%s \"%s\": %s", what, value, reason);
    return cdt_error_give(error, reterr);
}

/* ---- a fresh one ---- */

/* A session is only resumed where it was made: each configuration has a name of its own for that.
 * There is one ticket a handshake, for the one connection that may follow, and nothing is kept on
 * our side. */
static bool set_resumption(SSL_CTX *ctx)
{
    unsigned char own[16];
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return RAND_bytes(own, sizeof(own)) == 1 &&
           SSL_CTX_set_session_id_context(ctx, own, sizeof(own)) == 1 &&
           SSL_CTX_set_num_tickets(ctx, 1) == 1;
}

static bool set_defaults(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* A chain is what the file says, not what can be found for it at each handshake. */
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_verify_depth(ctx, MAX_DEPTH);
    /* The system's own configuration of OpenSSL may ask for more, and then gets it. */
    bool old = SSL_CTX_get_min_proto_version(ctx) < TLS1_2_VERSION;
    return (!old || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1) &&
           SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
           X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_X509_STRICT) == 1;
}

void *cdt_openssl_config_new(void)
{
    struct cdt_openssl_credentials *credentials = conduit_calloc(1, sizeof(*credentials));
    if (credentials == NULL)
        return NULL;
    ERR_clear_error();
    credentials->ctx = SSL_CTX_new(TLS_method());
    if (credentials->ctx != NULL && set_defaults(credentials->ctx) &&
        set_resumption(credentials->ctx))
        return credentials;
    ERR_clear_error();
    cdt_openssl_config_free(credentials);
    return NULL;
}

static void drop_cert(struct cdt_openssl_credentials *credentials)
{
    X509_free(credentials->cert);
    sk_X509_pop_free(credentials->chain, X509_free);
    credentials->cert = NULL;
    credentials->chain = NULL;
}

void cdt_openssl_config_free(void *arg)
{
    struct cdt_openssl_credentials *credentials = arg;
    drop_cert(credentials);
    SSL_CTX_free(credentials->ctx);
    conduit_free(credentials);
}

/* ---- certificates ---- */

/* Add the certificates of a PEM text, one after another. True if there was one at least, and none
 * was damaged. */
static bool parse_certs(BIO *pem, cdt_openssl_certs *certs)
{
    X509 *cert;
    while ((cert = PEM_read_bio_X509(pem, NULL, NULL, NULL)) != NULL) {
        if (sk_X509_push(certs, cert) > 0)
            continue;
        X509_free(cert);
        return false;
    }
    return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE && sk_X509_num(certs) > 0;
}

static int read_certs(const char *what, const char *path, cdt_openssl_certs **ret,
                      const conduit_error **reterr)
{
    struct cdt_file file;
    int code = cdt_file_read(what, path, false, &file, reterr);
    if (code < 0)
        return code;
    BIO *pem = BIO_new_mem_buf(file.bytes, (int)file.len);
    *ret = sk_X509_new_null();
    bool fine = pem != NULL && *ret != NULL && parse_certs(pem, *ret);
    BIO_free(pem);
    cdt_file_done(&file);
    if (fine)
        return 0;
    sk_X509_pop_free(*ret, X509_free);
    if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
        return cdt_tls_refuse(CONDUIT_ETLS, reterr, "%s \"%s\": holds no certificate in PEM form",
                              what, path);
    return refuse_openssl(what, path, reterr);
}

static int set_cert(struct cdt_openssl_credentials *credentials, const char *path,
                    const conduit_error **reterr)
{
    if (credentials->cert != NULL)
        return cdt_tls_refuse(
            CONDUIT_EINVAL, reterr,
            "cert \"%s\": the cert before it has no key yet; each cert is followed by its key",
            path);
    cdt_openssl_certs *certs;
    int code = read_certs("cert", path, &certs, reterr);
    if (code < 0)
        return code;
    credentials->cert = sk_X509_shift(certs);
    credentials->chain = certs;
    return 0;
}

/* Trust anchors: they replace the system's. On a listener their names are what clients are told to
 * choose by. */
static int set_ca(struct cdt_openssl_credentials *credentials, const char *path,
                  const conduit_error **reterr)
{
    cdt_openssl_certs *certs;
    int code = read_certs("ca", path, &certs, reterr);
    if (code < 0)
        return code;
    X509_STORE *store = SSL_CTX_get_cert_store(credentials->ctx);
    bool fine = true;
    for (int i = 0; fine && i < sk_X509_num(certs); i++)
        fine = X509_STORE_add_cert(store, sk_X509_value(certs, i)) == 1 &&
               SSL_CTX_add_client_CA(credentials->ctx, sk_X509_value(certs, i)) == 1;
    sk_X509_pop_free(certs, X509_free);
    if (!fine)
        return refuse_openssl("ca", path, reterr);
    /* What the caller names is an anchor, root or not; the system's store is not ours to read that
     * way. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(credentials->ctx), X509_V_FLAG_PARTIAL_CHAIN);
    credentials->own_trust = true;
    return 0;
}

/* ---- keys ---- */

/* OpenSSL would ask at the terminal. It asks us instead, and learns nothing. */
static int refuse_passphrase(char *buf, int size, int writing, void *arg)
{
    bool *asked = arg;
    *asked = true;
    return -1;
}

static int read_key(const char *path, EVP_PKEY **ret, const conduit_error **reterr)
{
    struct cdt_file file;
    int code = cdt_file_read("key", path, true, &file, reterr);
    if (code < 0)
        return code;
    bool encrypted = false;
    BIO *pem = BIO_new_mem_buf(file.bytes, (int)file.len);
    *ret = pem != NULL ? PEM_read_bio_PrivateKey(pem, NULL, refuse_passphrase, &encrypted) : NULL;
    BIO_free(pem);
    cdt_file_done(&file);
    if (*ret != NULL)
        return 0;
    if (encrypted)
        return cdt_tls_refuse(
            CONDUIT_ETLS, reterr,
            "key \"%s\": is encrypted, and there is nobody to ask for its passphrase", path);
    int reason = ERR_GET_REASON(ERR_peek_last_error());
    if (reason == PEM_R_NO_START_LINE || reason == ERR_R_UNSUPPORTED)
        return cdt_tls_refuse(CONDUIT_ETLS, reterr, "key \"%s\": holds no private key in PEM form",
                              path);
    return refuse_openssl("key", path, reterr);
}

/* The cert that waits gets this key; on failure it goes on waiting. */
static int use_key(struct cdt_openssl_credentials *credentials, EVP_PKEY *key, const char *path,
                   const conduit_error **reterr)
{
    if (X509_check_private_key(credentials->cert, key) != 1)
        return cdt_tls_refuse(CONDUIT_ETLS, reterr,
                              "key \"%s\": does not belong to the cert before it", path);
    if (SSL_CTX_use_cert_and_key(credentials->ctx, credentials->cert, key, credentials->chain, 0) ==
        1) {
        drop_cert(credentials);
        credentials->identity = true;
        return 0;
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_NOT_REPLACING_CERTIFICATE)
        return cdt_tls_refuse(
            CONDUIT_EINVAL, reterr,
            "key \"%s\": a second %s certificate; there can be one of each key type", path,
            EVP_PKEY_get0_type_name(key));
    return refuse_openssl("key", path, reterr);
}

static int set_key(struct cdt_openssl_credentials *credentials, const char *path,
                   const conduit_error **reterr)
{
    if (credentials->cert == NULL)
        return cdt_tls_refuse(CONDUIT_EINVAL, reterr,
                              "key \"%s\": the cert that it belongs to comes first", path);
    EVP_PKEY *key;
    int code = read_key(path, &key, reterr);
    if (code < 0)
        return code;
    code = use_key(credentials, key, path, reterr);
    EVP_PKEY_free(key);
    return code;
}

/* ---- the rest ---- */

/* 0 if it is none of ours. */
static int parse_version(const char *text)
{
    if (strcmp(text, "1.2") == 0)
        return TLS1_2_VERSION;
    return strcmp(text, "1.3") == 0 ? TLS1_3_VERSION : 0;
}

static int set_min(struct cdt_openssl_credentials *credentials, const char *value,
                   const conduit_error **reterr)
{
    int version = parse_version(value);
    if (version == 0)
        return cdt_tls_refuse(CONDUIT_EINVAL, reterr, "min: \"%s\" is neither 1.2 nor 1.3", value);
    if (SSL_CTX_set_min_proto_version(credentials->ctx, version) != 1)
        return refuse_openssl("min", value, reterr);
    return 0;
}

static int set_max(struct cdt_openssl_credentials *credentials, const char *value,
                   const conduit_error **reterr)
{
    int version = parse_version(value);
    if (version == 0)
        return cdt_tls_refuse(CONDUIT_EINVAL, reterr, "max: \"%s\" is neither 1.2 nor 1.3", value);
    if (SSL_CTX_set_max_proto_version(credentials->ctx, version) != 1)
        return refuse_openssl("max", value, reterr);
    return 0;
}

static int set_ciphers(struct cdt_openssl_credentials *credentials, const char *value,
                       const conduit_error **reterr)
{
    if (SSL_CTX_set_cipher_list(credentials->ctx, value) == 1)
        return 0;
    ERR_clear_error();
    return cdt_tls_refuse(CONDUIT_EINVAL, reterr, "ciphers: \"%s\" names no TLS 1.2 suite", value);
}

static int set_verify(struct cdt_openssl_credentials *credentials, const char *value,
                      const conduit_error **reterr)
{
    bool insecure = strcmp(value, "insecure") == 0;
    if (!insecure && strcmp(value, "full") != 0)
        return cdt_tls_refuse(CONDUIT_EINVAL, reterr, "verify: \"%s\" is neither full nor insecure",
                              value);
    credentials->insecure = insecure;
    return 0;
}

static const struct {
    const char *key;
    int (*set)(struct cdt_openssl_credentials *, const char *, const conduit_error **);
} setters[] = {
    {"ca", set_ca},   {"cert", set_cert},       {"key", set_key},       {"min", set_min},
    {"max", set_max}, {"ciphers", set_ciphers}, {"verify", set_verify},
};

int cdt_openssl_config_set(void *credentials, const char *key, const char *value,
                           const conduit_error **reterr)
{
    for (size_t i = 0; i < sizeof(setters) / sizeof(setters[0]); i++) {
        if (strcmp(setters[i].key, key) != 0)
            continue;
        ERR_clear_error();
        int code = setters[i].set(credentials, value, reterr);
        ERR_clear_error();
        return code;
    }
    return cdt_tls_refuse(
        CONDUIT_EINVAL, reterr,
        "\"%s\" is no TLS option (ca, cert, key, alpn, min, max, ciphers, verify)", key);
}

int cdt_openssl_config_check(const void *arg, bool server, const conduit_error **reterr)
{
    const struct cdt_openssl_credentials *credentials = arg;
    long max = SSL_CTX_get_max_proto_version(credentials->ctx);
    if (credentials->cert != NULL)
        return cdt_tls_refuse(CONDUIT_ETLS, reterr, "a cert has no key");
    if (max != 0 && max < SSL_CTX_get_min_proto_version(credentials->ctx))
        return cdt_tls_refuse(CONDUIT_EINVAL, reterr, "min 1.3 and max 1.2 leave no TLS version");
    if (server && !credentials->identity)
        return cdt_tls_refuse(CONDUIT_ETLS, reterr, "a TLS listener needs cert and key");
    if (server && credentials->own_trust && credentials->insecure)
        return cdt_tls_refuse(
            CONDUIT_EINVAL, reterr,
            "on a listener \"ca\" demands verified clients, and \"verify=insecure\" takes "
            "that back");
    return 0;
}
