/* SPDX-License-Identifier: ISC */
/*
 * Who we are: certificates with their keys, from PEM files or text, PKCS#12, or a store's URI.
 *
 * An identity begins with its certificate and is complete with its key; the two are checked to
 * belong together before anything is changed. The ones that everybody may see, the first and those
 * of other key types for the same name, are on the SSL_CTX itself, where OpenSSL picks by what the
 * client can verify. The others wait for a client that asks for their name: openssl_hello.c.
 */
#include "openssl.h"
#include "text.h"
#include "tls.h"
#include <conduit/memory.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/store.h>
#include <openssl/ui.h>
#include <openssl/x509v3.h>
#include <string.h>

/* ---- the list ---- */

static void clear_identity(struct cdt_openssl_identity *identity)
{
    X509_free(identity->cert);
    EVP_PKEY_free(identity->key);
    sk_X509_pop_free(identity->chain, X509_free);
    conduit_free(identity->staple);
}

void cdt_openssl_free_identities(struct cdt_openssl_credentials *credentials)
{
    for (size_t i = 0; i < credentials->n_identities; i++)
        clear_identity(&credentials->identities[i]);
    conduit_free(credentials->identities);
    cdt_wipe(credentials->password);
}

bool cdt_openssl_waits_for_key(const struct cdt_openssl_credentials *credentials)
{
    return credentials->n_identities > 0 &&
           credentials->identities[credentials->n_identities - 1].key == NULL;
}

struct cdt_openssl_identity *cdt_openssl_last_identity(struct cdt_openssl_credentials *credentials)
{
    if (credentials->n_identities == 0 || cdt_openssl_waits_for_key(credentials))
        return NULL;
    return &credentials->identities[credentials->n_identities - 1];
}

static void drop_last(struct cdt_openssl_credentials *credentials)
{
    clear_identity(&credentials->identities[--credentials->n_identities]);
}

/* ---- passphrases ---- */

struct asking {
    const struct cdt_openssl_credentials *credentials;
    const char *what;
    bool asked, refused;
};

/* OpenSSL would ask at the terminal. It asks us instead. */
static int give_password(char *buf, int size, int writing, void *arg)
{
    struct asking *asking = arg;
    const struct cdt_tls_hooks *hooks = asking->credentials->hooks;
    asking->asked = true;
    if (asking->credentials->password != NULL) {
        size_t n = strlen(asking->credentials->password);
        if (n > (size_t)size)
            return -1;
        memcpy(buf, asking->credentials->password, n);
        return (int)n;
    }
    int n = -1;
    if (hooks->password != NULL && size > 0)
        n = hooks->password(hooks->password_user, asking->what, buf, (size_t)size);
    asking->refused = n < 0 || n > size;
    return asking->refused ? -1 : n;
}

int cdt_openssl_set_password(struct cdt_openssl_credentials *credentials, const char *value,
                             const conduit_error **reterr)
{
    char *password = conduit_strdup(value);
    if (password == NULL)
        return cdt_openssl_refuse_memory(reterr);
    cdt_wipe(credentials->password);
    credentials->password = password;
    return 0;
}

/* A passphrase is for one thing. */
static void use_up_password(struct cdt_openssl_credentials *credentials)
{
    cdt_wipe(credentials->password);
    credentials->password = NULL;
}

/* Something that was to be decrypted was not. */
static int refuse_encrypted(const struct asking *asking, const char *what, const char *from,
                            const conduit_error **reterr)
{
    ERR_clear_error();
    if (asking->refused)
        return cdt_tls_refuse(CONDUIT_TLS_KEY_ENCRYPTED, reterr,
                              "%s \"%s\": is encrypted, and there is nobody who knows its "
                              "passphrase (password)",
                              what, from);
    return cdt_tls_refuse(CONDUIT_TLS_BAD_PASSWORD, reterr, "%s \"%s\": this is not its passphrase",
                          what, from);
}

/* ---- certificates ---- */

/* True if there was one at least, and none was damaged. */
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

int cdt_openssl_parse_certs(const char *what, const char *from, const char *text, size_t len,
                            cdt_openssl_certs **ret, const conduit_error **reterr)
{
    BIO *pem = BIO_new_mem_buf(text, (int)len);
    *ret = sk_X509_new_null();
    bool fine = pem != NULL && *ret != NULL && parse_certs(pem, *ret);
    BIO_free(pem);
    if (fine)
        return 0;
    sk_X509_pop_free(*ret, X509_free);
    if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
        return cdt_tls_refuse(CONDUIT_TLS_NO_CERTIFICATE, reterr,
                              "%s \"%s\": holds no certificate in PEM form", what, from);
    return cdt_openssl_refuse(CONDUIT_TLS_FILE_DAMAGED, what, from, reterr);
}

/* Each of the file has to have issued the one before it: clients would see half a chain, and most
 * of them would say so in a way that nobody understands. */
static int check_chain(const char *what, const char *from, X509 *cert, cdt_openssl_certs *chain,
                       const conduit_error **reterr)
{
    X509 *subject = cert;
    char name[128];
    for (int i = 0; i < sk_X509_num(chain); i++) {
        X509 *issuer = sk_X509_value(chain, i);
        if (X509_check_issued(issuer, subject) != X509_V_OK) {
            cdt_openssl_print_name(X509_get_subject_name(issuer), name, sizeof(name));
            return cdt_tls_refuse(CONDUIT_TLS_CHAIN_BROKEN, reterr,
                                  "%s \"%s\": certificate %d (%s) did not issue the one before it",
                                  what, from, i + 2, name);
        }
        subject = issuer;
    }
    return 0;
}

/* Takes the stack over: the first is ours, the rest its chain. */
static int begin_identity(struct cdt_openssl_credentials *credentials, const char *what,
                          const char *from, cdt_openssl_certs *certs, const conduit_error **reterr)
{
    X509 *cert = sk_X509_shift(certs);
    int code = check_chain(what, from, cert, certs, reterr);
    struct cdt_openssl_identity *identity = NULL;
    if (code == 0) {
        identity = cdt_openssl_grow(&credentials->identities, &credentials->n_identities,
                                    sizeof(*identity));
        code = identity == NULL ? cdt_openssl_refuse_memory(reterr) : 0;
    }
    if (code < 0) {
        X509_free(cert);
        sk_X509_pop_free(certs, X509_free);
        return code;
    }
    identity->cert = cert;
    identity->chain = certs;
    return 0;
}

static int check_order(const struct cdt_openssl_credentials *credentials, const char *what,
                       const char *from, const conduit_error **reterr)
{
    if (!cdt_openssl_waits_for_key(credentials))
        return 0;
    return cdt_tls_refuse(
        CONDUIT_TLS_ORDER, reterr,
        "%s \"%s\": the cert before it has no key yet; each cert is followed by its key", what,
        from);
}

/* ---- stores: pkcs11:..., file:... ---- */

/* "scheme:", as RFC 3986 has it, of two letters at least. A file whose name looks like that is
 * written "./a:b". */
static bool is_uri(const char *value)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789+-.";
    size_t n = strspn(value, allowed);
    return n > 1 && value[0] >= 'a' && value[0] <= 'z' && value[n] == ':';
}

/* What a URI of the file: kind names is a file like any other. */
static int check_secret_file(const char *uri, const conduit_error **reterr)
{
    struct cdt_file file;
    if (strncmp(uri, "file:", 5) != 0)
        return 0;
    const char *path = strncmp(uri + 5, "///", 3) == 0 ? uri + 7 : uri + 5;
    int code = cdt_file_read("key", path, true, &file, reterr);
    if (code == 0)
        cdt_file_done(&file);
    return code;
}

static bool take_info(OSSL_STORE_INFO *info, cdt_openssl_certs *certs, EVP_PKEY **key)
{
    switch (OSSL_STORE_INFO_get_type(info)) {
    case OSSL_STORE_INFO_CERT: {
        X509 *cert = certs != NULL ? OSSL_STORE_INFO_get1_CERT(info) : NULL;
        if (cert == NULL || sk_X509_push(certs, cert) > 0)
            return true;
        X509_free(cert);
        return false;
    }
    case OSSL_STORE_INFO_PKEY:
        if (key != NULL && *key == NULL)
            *key = OSSL_STORE_INFO_get1_PKEY(info);
        return true;
    default:
        return true;
    }
}

/* A store reports the end of a file, and what is of another kind, as an error, too: what counts is
 * what came of it. False: no memory. */
static bool load_all(OSSL_STORE_CTX *store, cdt_openssl_certs *certs, EVP_PKEY **key)
{
    enum { MOST = 1000 }; /* of things in one place */
    for (int i = 0; i < MOST && !OSSL_STORE_eof(store); i++) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        bool fine = info == NULL || take_info(info, certs, key);
        OSSL_STORE_INFO_free(info);
        if (!fine)
            return false;
    }
    return true;
}

/* Certificates into `certs`, or the first key into *key; the other is NULL. 0, or a code. */
static int read_store(struct asking *asking, const char *what, const char *uri,
                      cdt_openssl_certs *certs, EVP_PKEY **key, const conduit_error **reterr)
{
    UI_METHOD *ui = UI_UTIL_wrap_read_pem_callback(give_password, 0);
    OSSL_STORE_CTX *store = ui != NULL ? OSSL_STORE_open(uri, ui, asking, NULL, NULL) : NULL;
    bool fine = store != NULL &&
                (key == NULL || OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) == 1) &&
                load_all(store, certs, key);
    OSSL_STORE_close(store);
    UI_destroy_method(ui);
    if (fine && (key != NULL ? *key != NULL : sk_X509_num(certs) > 0))
        return 0;
    if (asking->asked)
        return refuse_encrypted(asking, what, uri, reterr);
    if (!fine)
        return cdt_openssl_refuse(CONDUIT_TLS_STORE_URI, what, uri, reterr);
    return cdt_tls_refuse(key != NULL ? CONDUIT_TLS_NO_KEY : CONDUIT_TLS_NO_CERTIFICATE, reterr,
                          "%s \"%s\": holds none", what, uri);
}

static int read_store_certs(struct cdt_openssl_credentials *credentials, const char *uri,
                            cdt_openssl_certs **ret, const conduit_error **reterr)
{
    struct asking asking = {.credentials = credentials, .what = uri};
    *ret = sk_X509_new_null();
    if (*ret == NULL)
        return cdt_openssl_refuse_memory(reterr);
    int code = read_store(&asking, "cert", uri, *ret, NULL, reterr);
    if (code < 0)
        sk_X509_pop_free(*ret, X509_free);
    return code;
}

/* ---- the key `cert` ---- */

static int read_certs(struct cdt_openssl_credentials *credentials, const char *value,
                      cdt_openssl_certs **ret, const conduit_error **reterr)
{
    if (is_uri(value))
        return read_store_certs(credentials, value, ret, reterr);
    struct cdt_file file;
    int code = cdt_file_read("cert", value, false, &file, reterr);
    if (code < 0)
        return code;
    code = cdt_openssl_parse_certs("cert", value, file.bytes, file.len, ret, reterr);
    cdt_file_done(&file);
    return code;
}

int cdt_openssl_set_cert(struct cdt_openssl_credentials *credentials, const char *value,
                         const conduit_error **reterr)
{
    cdt_openssl_certs *certs = NULL;
    int code = check_order(credentials, "cert", value, reterr);
    if (code == 0)
        code = read_certs(credentials, value, &certs, reterr);
    return code < 0 ? code : begin_identity(credentials, "cert", value, certs, reterr);
}

int cdt_openssl_set_cert_pem(struct cdt_openssl_credentials *credentials, const char *value,
                             const conduit_error **reterr)
{
    cdt_openssl_certs *certs = NULL;
    int code = check_order(credentials, "cert_pem", "(text)", reterr);
    if (code == 0)
        code = cdt_openssl_parse_certs("cert_pem", "(text)", value, strlen(value), &certs, reterr);
    return code < 0 ? code : begin_identity(credentials, "cert_pem", "(text)", certs, reterr);
}

/* ---- keys ---- */

static int parse_key(struct asking *asking, const char *what, const char *from, const char *text,
                     size_t len, EVP_PKEY **ret, const conduit_error **reterr)
{
    BIO *pem = BIO_new_mem_buf(text, (int)len);
    *ret = pem != NULL ? PEM_read_bio_PrivateKey(pem, NULL, give_password, asking) : NULL;
    BIO_free(pem);
    if (*ret != NULL)
        return 0;
    if (asking->asked)
        return refuse_encrypted(asking, what, from, reterr);
    int reason = ERR_GET_REASON(ERR_peek_last_error());
    if (reason == PEM_R_NO_START_LINE || reason == ERR_R_UNSUPPORTED)
        return cdt_tls_refuse(CONDUIT_TLS_NO_KEY, reterr,
                              "%s \"%s\": holds no private key in PEM form", what, from);
    return cdt_openssl_refuse(CONDUIT_TLS_FILE_DAMAGED, what, from, reterr);
}

static int read_store_key(struct asking *asking, const char *uri, EVP_PKEY **ret,
                          const conduit_error **reterr)
{
    *ret = NULL;
    int code = check_secret_file(uri, reterr);
    if (code == 0)
        code = read_store(asking, "key", uri, NULL, ret, reterr);
    return code;
}

static int read_key(struct asking *asking, const char *value, EVP_PKEY **ret,
                    const conduit_error **reterr)
{
    if (is_uri(value))
        return read_store_key(asking, value, ret, reterr);
    struct cdt_file file;
    int code = cdt_file_read("key", value, true, &file, reterr);
    if (code < 0)
        return code;
    code = parse_key(asking, "key", value, file.bytes, file.len, ret, reterr);
    cdt_file_done(&file);
    return code;
}

/* The first DNS name of a certificate. NULL if there is none. */
static char *first_name(const X509 *cert)
{
    GENERAL_NAMES *sans = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    char *name = NULL;
    for (int i = 0; name == NULL && i < sk_GENERAL_NAME_num(sans); i++) {
        int type;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(sans, i), &type);
        if (type != GEN_DNS)
            continue;
        name = conduit_malloc((size_t)ASN1_STRING_length(value) + 1);
        if (name == NULL)
            break;
        memcpy(name, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
        name[ASN1_STRING_length(value)] = '\0';
    }
    GENERAL_NAMES_free(sans);
    return name;
}

/* Is this one for the same peer as the first? */
static bool joins_first(const struct cdt_openssl_credentials *credentials, const X509 *cert)
{
    if (credentials->n_identities == 1)
        return true;
    char *name = first_name(credentials->identities[0].cert);
    bool joins = name == NULL || cdt_openssl_serves(cert, name, true);
    conduit_free(name);
    return joins;
}

/* On the SSL_CTX if it is free there. 1, 0 (there is one of that type), or -1. */
static int make_fallback(const struct cdt_openssl_credentials *credentials,
                         const struct cdt_openssl_identity *identity)
{
    if (!joins_first(credentials, identity->cert))
        return 0;
    if (SSL_CTX_use_cert_and_key(credentials->ctx, identity->cert, identity->key, identity->chain,
                                 0) == 1)
        return 1;
    if (ERR_GET_REASON(ERR_peek_last_error()) != SSL_R_NOT_REPLACING_CERTIFICATE)
        return -1;
    ERR_clear_error();
    return 0;
}

/* Nothing that OpenSSL would not use later: the key's size, the digest, the curve. */
static bool is_usable(const struct cdt_openssl_credentials *credentials,
                      const struct cdt_openssl_identity *identity)
{
    SSL *ssl = SSL_new(credentials->ctx);
    if (ssl == NULL)
        return false;
    SSL_certs_clear(ssl);
    bool usable = SSL_use_cert_and_key(ssl, identity->cert, identity->key, identity->chain, 1) == 1;
    SSL_free(ssl);
    return usable;
}

/* The cert that waits gets this key, which it takes over; on failure it goes on waiting. */
static int complete(struct cdt_openssl_credentials *credentials, EVP_PKEY *key, const char *what,
                    const char *from, const conduit_error **reterr)
{
    struct cdt_openssl_identity *identity = &credentials->identities[credentials->n_identities - 1];
    int code = 0;
    identity->key = key;
    if (X509_check_private_key(identity->cert, key) != 1)
        code = cdt_tls_refuse(CONDUIT_TLS_KEY_MISMATCH, reterr,
                              "%s \"%s\": does not belong to the cert before it", what, from);
    else if (!is_usable(credentials, identity))
        code = cdt_openssl_refuse(CONDUIT_TLS_OWN_WEAK, what, from, reterr);
    int made = code == 0 ? make_fallback(credentials, identity) : 0;
    if (made < 0)
        code = cdt_openssl_refuse(CONDUIT_TLS_OWN_WEAK, what, from, reterr);
    identity->fallback = made == 1;
    if (code < 0) {
        EVP_PKEY_free(key);
        identity->key = NULL;
    }
    return code;
}

static int check_cert_first(const struct cdt_openssl_credentials *credentials, const char *what,
                            const char *from, const conduit_error **reterr)
{
    if (cdt_openssl_waits_for_key(credentials))
        return 0;
    return cdt_tls_refuse(CONDUIT_TLS_ORDER, reterr,
                          "%s \"%s\": the cert that it belongs to comes first", what, from);
}

int cdt_openssl_set_key(struct cdt_openssl_credentials *credentials, const char *value,
                        const conduit_error **reterr)
{
    struct asking asking = {.credentials = credentials, .what = value};
    EVP_PKEY *key = NULL;
    int code = check_cert_first(credentials, "key", value, reterr);
    if (code == 0)
        code = read_key(&asking, value, &key, reterr);
    if (code == 0)
        code = complete(credentials, key, "key", value, reterr);
    if (code == 0)
        use_up_password(credentials);
    return code;
}

int cdt_openssl_set_key_pem(struct cdt_openssl_credentials *credentials, const char *value,
                            const conduit_error **reterr)
{
    struct asking asking = {.credentials = credentials, .what = "key_pem"};
    EVP_PKEY *key = NULL;
    int code = check_cert_first(credentials, "key_pem", "(text)", reterr);
    if (code == 0)
        code = parse_key(&asking, "key_pem", "(text)", value, strlen(value), &key, reterr);
    if (code == 0)
        code = complete(credentials, key, "key_pem", "(text)", reterr);
    if (code == 0)
        use_up_password(credentials);
    return code;
}

/* ---- PKCS#12 ---- */

struct bundle {
    EVP_PKEY *key;
    X509 *cert;
    cdt_openssl_certs *chain;
};

static void free_bundle(struct bundle *bundle)
{
    EVP_PKEY_free(bundle->key);
    X509_free(bundle->cert);
    sk_X509_pop_free(bundle->chain, X509_free);
}

/* An empty passphrase and none are not the same in PKCS#12: OpenSSL tries both for NULL. */
static int open_bundle(struct asking *asking, PKCS12 *p12, const char *path, struct bundle *ret,
                       const conduit_error **reterr)
{
    char password[1024];
    const char *use = NULL;
    if (PKCS12_verify_mac(p12, NULL, 0) != 1 && PKCS12_verify_mac(p12, "", 0) != 1) {
        int n = give_password(password, sizeof(password) - 1, 0, asking);
        if (n < 0)
            return refuse_encrypted(asking, "pkcs12", path, reterr);
        password[n] = '\0';
        use = password;
    }
    ERR_clear_error();
    bool fine = use == NULL || PKCS12_verify_mac(p12, use, -1) == 1;
    int code = 0;
    if (!fine)
        code = refuse_encrypted(asking, "pkcs12", path, reterr);
    else if (PKCS12_parse(p12, use, &ret->key, &ret->cert, &ret->chain) != 1)
        code = cdt_openssl_refuse(CONDUIT_TLS_FILE_DAMAGED, "pkcs12", path, reterr);
    explicit_bzero(password, sizeof(password));
    return code;
}

static int read_bundle(struct cdt_openssl_credentials *credentials, const char *path,
                       struct bundle *ret, const conduit_error **reterr)
{
    struct asking asking = {.credentials = credentials, .what = path};
    struct cdt_file file;
    int code = cdt_file_read("pkcs12", path, true, &file, reterr);
    if (code < 0)
        return code;
    const unsigned char *at = (const unsigned char *)file.bytes;
    PKCS12 *p12 = d2i_PKCS12(NULL, &at, (long)file.len);
    cdt_file_done(&file);
    if (p12 == NULL)
        return cdt_openssl_refuse(CONDUIT_TLS_FILE_DAMAGED, "pkcs12", path, reterr);
    code = open_bundle(&asking, p12, path, ret, reterr);
    PKCS12_free(p12);
    if (code == 0 && ret->cert == NULL)
        code = cdt_tls_refuse(CONDUIT_TLS_NO_CERTIFICATE, reterr,
                              "pkcs12 \"%s\": holds no certificate that goes with a key", path);
    if (code == 0 && ret->key == NULL)
        code = cdt_tls_refuse(CONDUIT_TLS_NO_KEY, reterr, "pkcs12 \"%s\": holds no key", path);
    return code;
}

/* Such a file has its certificates in any order: the leaf's issuer, and the issuer's, as far as
 * they are there. */
static cdt_openssl_certs *order_chain(X509 *cert, const cdt_openssl_certs *others)
{
    cdt_openssl_certs *ordered = sk_X509_new_null();
    X509 *subject = cert;
    for (int i = 0; ordered != NULL && i < sk_X509_num(others); i++) {
        X509 *issuer = sk_X509_value(others, i);
        if (sk_X509_num(ordered) > CDT_OPENSSL_DEPTH)
            break;
        if (X509_check_issued(issuer, subject) != X509_V_OK || X509_cmp(issuer, subject) == 0)
            continue;
        if (X509_up_ref(issuer) == 1 && sk_X509_push(ordered, issuer) <= 0)
            X509_free(issuer);
        subject = issuer;
        i = -1; /* from the beginning, for the next one */
    }
    return ordered;
}

static int use_bundle(struct cdt_openssl_credentials *credentials, const char *path,
                      struct bundle *bundle, const conduit_error **reterr)
{
    cdt_openssl_certs *certs = order_chain(bundle->cert, bundle->chain);
    if (certs == NULL || sk_X509_unshift(certs, bundle->cert) <= 0) {
        sk_X509_pop_free(certs, X509_free);
        return cdt_openssl_refuse_memory(reterr);
    }
    bundle->cert = NULL;
    int code = begin_identity(credentials, "pkcs12", path, certs, reterr);
    if (code < 0)
        return code;
    EVP_PKEY *key = bundle->key;
    bundle->key = NULL;
    code = complete(credentials, key, "pkcs12", path, reterr);
    if (code < 0)
        drop_last(credentials);
    return code;
}

int cdt_openssl_set_pkcs12(struct cdt_openssl_credentials *credentials, const char *value,
                           const conduit_error **reterr)
{
    struct bundle bundle = {0};
    int code = check_order(credentials, "pkcs12", value, reterr);
    if (code == 0)
        code = read_bundle(credentials, value, &bundle, reterr);
    if (code == 0)
        code = use_bundle(credentials, value, &bundle, reterr);
    if (code == 0)
        use_up_password(credentials);
    free_bundle(&bundle);
    return code;
}
