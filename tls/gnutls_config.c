/* SPDX-License-Identifier: ISC */
/*
 * Credentials: what was set, each key tried out as it comes.
 *
 * What is right without being told is the same as with the other engine (RFC 9325): TLS 1.2 or
 * newer, ECDHE with AEAD, keys and digests of 112 bits. A key that GnuTLS has nothing for, or
 * nothing that would mean the same, is refused and never ignored.
 */
#include "gnutls.h"
#include "text.h"
#include "tls.h"
#include <conduit/memory.h>
#include <stdio.h>
#include <string.h>

enum { MAX_PASSWORD = 1024 };

/* ---- for all that take a key ---- */

static int refuse_memory(const conduit_error **reterr)
{
    return cdt_tls_refuse(CONDUIT_TLS_MEMORY, reterr, "out of memory");
}

static int refuse(int reason, const char *what, const char *from, int error,
                  const conduit_error **reterr)
{
    return cdt_tls_refuse_for(reason, "GnuTLS", error, reterr, "%s \"%s\": %s", what, from,
                              gnutls_strerror(error));
}

static int refuse_not_built(const char *what, const conduit_error **reterr)
{
    return cdt_tls_refuse(CONDUIT_TLS_NOT_BUILT, reterr,
                          "%s: this library was built with GnuTLS, and has that with OpenSSL alone",
                          what);
}

/* One more element, zero. NULL: no memory. */
static void *grow(void *array, size_t *n, size_t size)
{
    void **place = array;
    char *grown = conduit_realloc(*place, (*n + 1) * size);
    if (grown == NULL)
        return NULL;
    *place = grown;
    memset(grown + *n * size, 0, size);
    return grown + (*n)++ * size;
}

static gnutls_datum_t datum(const char *text, size_t len)
{
    union {
        const char *in;
        unsigned char *out; /* it is only read */
    } same = {.in = text};
    return (gnutls_datum_t){.data = same.out, .size = (unsigned)len};
}

/* A key whose value is a file's name, or the text itself. */
typedef int (*taker)(struct cdt_gnutls_credentials *, const char *what, const char *from,
                     const char *text, size_t len, const conduit_error **);

static int take_file(struct cdt_gnutls_credentials *credentials, const char *what, const char *path,
                     bool secret, taker take, const conduit_error **reterr)
{
    struct cdt_file file;
    int code = cdt_file_read(what, path, secret, &file, reterr);
    if (code < 0)
        return code;
    code = take(credentials, what, path, file.bytes, file.len, reterr);
    cdt_file_done(&file);
    return code;
}

static int parse_certs(const char *what, const char *from, const char *text, size_t len,
                       gnutls_x509_crt_t **certs, unsigned *n, const conduit_error **reterr)
{
    gnutls_datum_t pem = datum(text, len);
    int error = gnutls_x509_crt_list_import2(certs, n, &pem, GNUTLS_X509_FMT_PEM, 0);
    if (error >= 0)
        return 0;
    if (error == GNUTLS_E_NO_CERTIFICATE_FOUND)
        return cdt_tls_refuse(CONDUIT_TLS_NO_CERTIFICATE, reterr,
                              "%s \"%s\": holds no certificate in PEM form", what, from);
    return refuse(CONDUIT_TLS_FILE_DAMAGED, what, from, error, reterr);
}

/* ---- what is spoken ---- */

static int set_priority(struct cdt_gnutls_credentials *credentials)
{
    char text[256];
    snprintf(text, sizeof(text),
             "SECURE128:-VERS-ALL%s%s:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:-CIPHER-ALL:+AES-256-GCM:"
             "+CHACHA20-POLY1305:+AES-128-GCM:-MAC-ALL:+AEAD:-GROUP-ALL:+GROUP-X25519:"
             "+GROUP-SECP256R1:+GROUP-SECP384R1:+GROUP-SECP521R1:%%PROFILE_MEDIUM",
             credentials->only_old ? "" : ":+VERS-TLS1.3",
             credentials->only_new ? "" : ":+VERS-TLS1.2");
    if (credentials->only_new && credentials->only_old)
        return 0; /* nothing could be spoken: checked before it is used */
    gnutls_priority_t made;
    int error = gnutls_priority_init2(&made, text, NULL, 0);
    if (error < 0)
        return error;
    if (credentials->priority != NULL)
        gnutls_priority_deinit(credentials->priority);
    credentials->priority = made;
    return 0;
}

/* 0 or 1: which of the two words it is; or a code and *reterr. */
static int find_word(const char *key, const char *value, const char *first, const char *second,
                     const conduit_error **reterr)
{
    if (strcmp(value, first) == 0 || strcmp(value, second) == 0)
        return strcmp(value, second) == 0;
    return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr, "%s: \"%s\" is neither %s nor %s", key,
                          value, first, second);
}

static int set_version(struct cdt_gnutls_credentials *credentials, const char *key, bool *only,
                       bool value, const conduit_error **reterr)
{
    bool before = *only;
    *only = value;
    int error = set_priority(credentials);
    if (error == 0)
        return 0;
    *only = before;
    return refuse(CONDUIT_TLS_BAD_VALUE, key, "", error, reterr);
}

static int set_min(struct cdt_gnutls_credentials *credentials, const char *value,
                   const conduit_error **reterr)
{
    int word = find_word("min", value, "1.2", "1.3", reterr);
    if (word < 0)
        return word;
    return set_version(credentials, "min", &credentials->only_new, word == 1, reterr);
}

static int set_max(struct cdt_gnutls_credentials *credentials, const char *value,
                   const conduit_error **reterr)
{
    int word = find_word("max", value, "1.2", "1.3", reterr);
    if (word < 0)
        return word;
    return set_version(credentials, "max", &credentials->only_old, word == 0, reterr);
}

/* ---- whom to trust ---- */

/* "ca.pem" (1 anchor), added to what is told when nobody of them signed. */
static void note_source(char *sources, size_t size, const char *what, unsigned n)
{
    size_t at = strlen(sources);
    snprintf(sources + at, size - at, "%s%s (%u anchor%s)", at > 0 ? ", " : "", what, n,
             n == 1 ? "" : "s");
}

static int take_anchors(struct cdt_gnutls_credentials *credentials, const char *what,
                        const char *from, const char *text, size_t len,
                        const conduit_error **reterr)
{
    gnutls_x509_crt_t *certs;
    unsigned n = 0;
    int code = parse_certs(what, from, text, len, &certs, &n, reterr);
    if (code < 0)
        return code;
    int added = gnutls_x509_trust_list_add_cas(credentials->anchors, certs, n, 0);
    gnutls_free(certs); /* the list has what was in it */
    if (added < 0)
        return refuse(CONDUIT_TLS_FILE_DAMAGED, what, from, added, reterr);
    note_source(credentials->sources, sizeof(credentials->sources), from, n);
    credentials->own_trust = true;
    return 0;
}

static int set_ca(struct cdt_gnutls_credentials *credentials, const char *value,
                  const conduit_error **reterr)
{
    return take_file(credentials, "ca", value, false, take_anchors, reterr);
}

static int set_ca_pem(struct cdt_gnutls_credentials *credentials, const char *value,
                      const conduit_error **reterr)
{
    return take_anchors(credentials, "ca_pem", "(text)", value, strlen(value), reterr);
}

static int set_ca_dir(struct cdt_gnutls_credentials *credentials, const char *value,
                      const conduit_error **reterr)
{
    int n = gnutls_x509_trust_list_add_trust_dir(credentials->anchors, value, NULL,
                                                 GNUTLS_X509_FMT_PEM, 0, 0);
    if (n <= 0)
        return cdt_tls_refuse(CONDUIT_TLS_NO_ANCHORS, reterr,
                              "ca_dir \"%s\": no certificate is there", value);
    note_source(credentials->sources, sizeof(credentials->sources), value, (unsigned)n);
    credentials->own_trust = true;
    return 0;
}

static int set_ca_system(struct cdt_gnutls_credentials *credentials, const char *value,
                         const conduit_error **reterr)
{
    int word = find_word("ca_system", value, "yes", "no", reterr);
    if (word >= 0)
        credentials->system_trust = word == 0;
    return word < 0 ? word : 0;
}

static int set_verify(struct cdt_gnutls_credentials *credentials, const char *value,
                      const conduit_error **reterr)
{
    int verify = cdt_tls_parse_verify(value, reterr);
    if (verify == CDT_VERIFY_DANE)
        return refuse_not_built("verify=dane", reterr);
    if (verify >= 0)
        credentials->verify = (enum cdt_tls_verify)verify;
    return verify < 0 ? verify : 0;
}

static int set_pin(struct cdt_gnutls_credentials *credentials, const char *value,
                   const conduit_error **reterr)
{
    static const char kind[] = "sha256//";
    size_t n_kind = sizeof(kind) - 1;
    gnutls_datum_t pin = {0};
    bool fine = strncmp(value, kind, n_kind) == 0 && strlen(value + n_kind) == 44;
    if (fine) {
        gnutls_datum_t text = datum(value + n_kind, 44);
        fine = gnutls_base64_decode2(&text, &pin) == 0 && pin.size == CDT_GNUTLS_PIN;
    }
    unsigned char(*place)[CDT_GNUTLS_PIN] =
        fine ? grow(&credentials->pins, &credentials->n_pins, sizeof(*place)) : NULL;
    if (place != NULL)
        memcpy(*place, pin.data, sizeof(*place));
    gnutls_free(pin.data);
    if (place != NULL)
        return 0;
    if (fine)
        return refuse_memory(reterr);
    return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                          "pin: \"%s\" is not \"sha256//\" and the base64 of a digest", value);
}

static int set_client_cert(struct cdt_gnutls_credentials *credentials, const char *value,
                           const conduit_error **reterr)
{
    int demand = cdt_tls_parse_demand(value, reterr);
    if (demand >= 0 && strchr(value, '@') != NULL)
        return refuse_not_built("client_cert for a name", reterr);
    if (demand >= 0)
        credentials->demand = (enum cdt_tls_demand)demand;
    return demand < 0 ? demand : 0;
}

/* ---- who we are ---- */

static bool waits_for_key(const struct cdt_gnutls_credentials *credentials)
{
    return credentials->n_identities > 0 &&
           credentials->identities[credentials->n_identities - 1].key == NULL;
}

static void clear_identity(struct cdt_gnutls_identity *identity)
{
    for (unsigned i = 0; i < identity->n; i++)
        gnutls_x509_crt_deinit(identity->chain[i]);
    gnutls_free(identity->chain);
    if (identity->key != NULL)
        gnutls_x509_privkey_deinit(identity->key);
}

static int set_password(struct cdt_gnutls_credentials *credentials, const char *value,
                        const conduit_error **reterr)
{
    char *password = conduit_strdup(value);
    if (password == NULL)
        return refuse_memory(reterr);
    cdt_wipe(credentials->password);
    credentials->password = password;
    return 0;
}

/* Each has to have issued the one before it. */
static int check_chain(const char *what, const char *from, const struct cdt_gnutls_identity *made,
                       const conduit_error **reterr)
{
    char name[128];
    for (unsigned i = 1; i < made->n; i++) {
        if (gnutls_x509_crt_check_issuer(made->chain[i - 1], made->chain[i]) != 0)
            continue;
        cdt_gnutls_print_subject(made->chain[i], name, sizeof(name));
        return cdt_tls_refuse(CONDUIT_TLS_CHAIN_BROKEN, reterr,
                              "%s \"%s\": certificate %u (%s) did not issue the one before it",
                              what, from, i + 1, name);
    }
    return 0;
}

static int take_cert(struct cdt_gnutls_credentials *credentials, const char *what, const char *from,
                     const char *text, size_t len, const conduit_error **reterr)
{
    struct cdt_gnutls_identity made = {0}, *place;
    if (waits_for_key(credentials))
        return cdt_tls_refuse(
            CONDUIT_TLS_ORDER, reterr,
            "%s \"%s\": the cert before it has no key yet; each cert is followed by its key", what,
            from);
    int code = parse_certs(what, from, text, len, &made.chain, &made.n, reterr);
    if (code < 0)
        return code;
    code = check_chain(what, from, &made, reterr);
    place = code == 0 ? grow(&credentials->identities, &credentials->n_identities, sizeof(*place))
                      : NULL;
    if (place != NULL)
        *place = made;
    else
        clear_identity(&made);
    return code < 0 ? code : place == NULL ? refuse_memory(reterr) : 0;
}

/* "scheme:", of two letters at least. */
static bool is_uri(const char *value)
{
    size_t n = strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789+-.");
    return n > 1 && value[0] >= 'a' && value[0] <= 'z' && value[n] == ':';
}

static int set_cert(struct cdt_gnutls_credentials *credentials, const char *value,
                    const conduit_error **reterr)
{
    if (is_uri(value))
        return refuse_not_built("a cert in a store", reterr);
    return take_file(credentials, "cert", value, false, take_cert, reterr);
}

static int set_cert_pem(struct cdt_gnutls_credentials *credentials, const char *value,
                        const conduit_error **reterr)
{
    return take_cert(credentials, "cert_pem", "(text)", value, strlen(value), reterr);
}

/* The passphrase that was set, or that somebody knows; false if nobody does. */
static bool find_password(const struct cdt_gnutls_credentials *credentials, const char *what,
                          char password[MAX_PASSWORD])
{
    const struct cdt_tls_hooks *hooks = credentials->hooks;
    if (credentials->password != NULL)
        return snprintf(password, MAX_PASSWORD, "%s", credentials->password) < MAX_PASSWORD;
    int n = hooks->password == NULL
                ? -1
                : hooks->password(hooks->password_user, what, password, MAX_PASSWORD - 1);
    if (n < 0 || n >= MAX_PASSWORD)
        return false;
    password[n] = '\0';
    return true;
}

static int decrypt_key(const struct cdt_gnutls_credentials *credentials, const char *what,
                       const char *from, const gnutls_datum_t *pem, gnutls_x509_privkey_t key,
                       const conduit_error **reterr)
{
    char password[MAX_PASSWORD];
    if (!find_password(credentials, from, password))
        return cdt_tls_refuse(CONDUIT_TLS_KEY_ENCRYPTED, reterr,
                              "%s \"%s\": is encrypted, and there is nobody who knows its "
                              "passphrase (password)",
                              what, from);
    int error = gnutls_x509_privkey_import2(key, pem, GNUTLS_X509_FMT_PEM, password, 0);
    explicit_bzero(password, sizeof(password));
    if (error >= 0)
        return 0;
    return cdt_tls_refuse(CONDUIT_TLS_BAD_PASSWORD, reterr, "%s \"%s\": this is not its passphrase",
                          what, from);
}

static int parse_key(const struct cdt_gnutls_credentials *credentials, const char *what,
                     const char *from, const gnutls_datum_t *pem, gnutls_x509_privkey_t key,
                     const conduit_error **reterr)
{
    int error = gnutls_x509_privkey_import2(key, pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (error == GNUTLS_E_DECRYPTION_FAILED)
        return decrypt_key(credentials, what, from, pem, key, reterr);
    if (error == GNUTLS_E_BASE64_UNEXPECTED_HEADER_ERROR ||
        error == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
        return cdt_tls_refuse(CONDUIT_TLS_NO_KEY, reterr,
                              "%s \"%s\": holds no private key in PEM form", what, from);
    return error < 0 ? refuse(CONDUIT_TLS_FILE_DAMAGED, what, from, error, reterr) : 0;
}

static int check_strength(const char *what, const char *from, gnutls_x509_crt_t cert,
                          const conduit_error **reterr)
{
    unsigned bits = 0;
    int kind = gnutls_x509_crt_get_pk_algorithm(cert, &bits);
    if (kind >= 0 &&
        gnutls_pk_bits_to_sec_param((gnutls_pk_algorithm_t)kind, bits) >= GNUTLS_SEC_PARAM_MEDIUM)
        return 0;
    return cdt_tls_refuse(CONDUIT_TLS_OWN_WEAK, reterr, "%s \"%s\": key too small (%u bits)", what,
                          from, bits);
}

/* GnuTLS checks that they are a pair. */
static int pair(struct cdt_gnutls_credentials *credentials, const char *what, const char *from,
                gnutls_x509_privkey_t key, const conduit_error **reterr)
{
    struct cdt_gnutls_identity *identity = &credentials->identities[credentials->n_identities - 1];
    int code = check_strength(what, from, identity->chain[0], reterr);
    if (code < 0)
        return code;
    int error =
        gnutls_certificate_set_x509_key(credentials->all, identity->chain, (int)identity->n, key);
    if (error == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
        return cdt_tls_refuse(CONDUIT_TLS_KEY_MISMATCH, reterr,
                              "%s \"%s\": does not belong to the cert before it", what, from);
    if (error < 0)
        return refuse(CONDUIT_TLS_FILE_DAMAGED, what, from, error, reterr);
    identity->key = key;
    return 0;
}

static int take_key(struct cdt_gnutls_credentials *credentials, const char *what, const char *from,
                    const char *text, size_t len, const conduit_error **reterr)
{
    gnutls_datum_t pem = datum(text, len);
    gnutls_x509_privkey_t key;
    if (!waits_for_key(credentials))
        return cdt_tls_refuse(CONDUIT_TLS_ORDER, reterr, "%s \"%s\": its cert comes first", what,
                              from);
    if (gnutls_x509_privkey_init(&key) < 0)
        return refuse_memory(reterr);
    int code = parse_key(credentials, what, from, &pem, key, reterr);
    if (code == 0)
        code = pair(credentials, what, from, key, reterr);
    if (code < 0)
        gnutls_x509_privkey_deinit(key);
    cdt_wipe(credentials->password); /* it is for one thing */
    credentials->password = NULL;
    return code;
}

static int set_key(struct cdt_gnutls_credentials *credentials, const char *value,
                   const conduit_error **reterr)
{
    if (is_uri(value))
        return refuse_not_built("a key in a store", reterr);
    return take_file(credentials, "key", value, true, take_key, reterr);
}

static int set_key_pem(struct cdt_gnutls_credentials *credentials, const char *value,
                       const conduit_error **reterr)
{
    return take_key(credentials, "key_pem", "(text)", value, strlen(value), reterr);
}

/* ---- the rest ---- */

static int set_sni(struct cdt_gnutls_credentials *credentials, const char *value,
                   const conduit_error **reterr)
{
    int word = find_word("sni", value, "default", "strict", reterr);
    if (word >= 0)
        credentials->sni_strict = word == 1;
    return word < 0 ? word : 0;
}

static int set_resume(struct cdt_gnutls_credentials *credentials, const char *value,
                      const conduit_error **reterr)
{
    int word = find_word("resume", value, "yes", "no", reterr);
    if (word >= 0)
        credentials->no_resumption = word == 1;
    return word < 0 ? word : 0;
}

/* No function: not with GnuTLS. */
static const struct {
    const char *key;
    int (*set)(struct cdt_gnutls_credentials *, const char *, const conduit_error **);
} setters[] = {
    {"ca", set_ca},
    {"ca_dir", set_ca_dir},
    {"ca_pem", set_ca_pem},
    {"ca_system", set_ca_system},
    {"crl", NULL},
    {"crl_check", NULL},
    {"verify", set_verify},
    {"pin", set_pin},
    {"tlsa", NULL},
    {"ocsp", NULL},
    {"cert", set_cert},
    {"cert_pem", set_cert_pem},
    {"key", set_key},
    {"key_pem", set_key_pem},
    {"pkcs12", NULL},
    {"password", set_password},
    {"staple", NULL},
    {"min", set_min},
    {"max", set_max},
    {"ciphers", NULL},
    {"suites", NULL},
    {"groups", NULL},
    {"sigalgs", NULL},
    {"sni", set_sni},
    {"client_cert", set_client_cert},
    {"ticket_key", NULL},
    {"resume", set_resume},
    {"early_data", NULL},
    {"keylog", NULL},
};

int cdt_gnutls_config_set(void *credentials, const char *key, const char *value,
                          const conduit_error **reterr)
{
    for (size_t i = 0; i < sizeof(setters) / sizeof(setters[0]); i++) {
        if (strcmp(setters[i].key, key) != 0)
            continue;
        return setters[i].set != NULL ? setters[i].set(credentials, value, reterr)
                                      : refuse_not_built(key, reterr);
    }
    return cdt_tls_refuse(CONDUIT_TLS_UNKNOWN_KEY, reterr,
                          "\"%s\" is no TLS option (ca, cert, key, alpn, min, verify, ...: "
                          "docs/tls.md has them all)",
                          key);
}

/* ---- lifetime ---- */

void cdt_gnutls_config_free(void *arg)
{
    struct cdt_gnutls_credentials *credentials = arg;
    for (size_t i = 0; i < credentials->n_identities; i++)
        clear_identity(&credentials->identities[i]);
    conduit_free(credentials->identities);
    conduit_free(credentials->pins);
    cdt_wipe(credentials->password);
    if (credentials->anchors != NULL)
        gnutls_x509_trust_list_deinit(credentials->anchors, 1);
    if (credentials->priority != NULL)
        gnutls_priority_deinit(credentials->priority);
    if (credentials->all != NULL)
        gnutls_certificate_free_credentials(credentials->all);
    if (credentials->ticket_key.data != NULL)
        gnutls_memset(credentials->ticket_key.data, 0, credentials->ticket_key.size);
    gnutls_free(credentials->ticket_key.data);
    conduit_free(credentials);
}

void *cdt_gnutls_config_new(const struct cdt_tls_hooks *hooks)
{
    struct cdt_gnutls_credentials *credentials = conduit_calloc(1, sizeof(*credentials));
    if (credentials == NULL)
        return NULL;
    credentials->hooks = hooks;
    if (gnutls_certificate_allocate_credentials(&credentials->all) == 0 &&
        gnutls_x509_trust_list_init(&credentials->anchors, 0) == 0 &&
        gnutls_session_ticket_key_generate(&credentials->ticket_key) == 0 &&
        set_priority(credentials) == 0)
        return credentials;
    cdt_gnutls_config_free(credentials);
    return NULL;
}

bool cdt_gnutls_wants_system(const void *arg, bool server)
{
    const struct cdt_gnutls_credentials *credentials = arg;
    bool chain = credentials->verify == CDT_VERIFY_FULL || credentials->verify == CDT_VERIFY_CHAIN;
    return chain && (credentials->system_trust || (!server && !credentials->own_trust));
}

/* ---- several identities ---- */

/* Add those for the name to *ret, which begins when there is one. */
static int add_identities(const struct cdt_gnutls_credentials *credentials, const char *name,
                          bool exactly, gnutls_certificate_credentials_t *ret)
{
    for (size_t i = 0; i < credentials->n_identities; i++) {
        const struct cdt_gnutls_identity *identity = &credentials->identities[i];
        if (!cdt_gnutls_serves(identity->chain[0], name, false, exactly))
            continue;
        int error = *ret == NULL ? gnutls_certificate_allocate_credentials(ret) : 0;
        if (error == 0)
            error = gnutls_certificate_set_x509_key(*ret, identity->chain, (int)identity->n,
                                                    identity->key);
        if (error < 0)
            return error;
    }
    return 0;
}

int cdt_gnutls_choose(const struct cdt_gnutls_credentials *credentials, const char *name,
                      gnutls_certificate_credentials_t *ret)
{
    int error = add_identities(credentials, name, true, ret);
    if (error == 0 && *ret == NULL)
        error = add_identities(credentials, name, false, ret);
    return error;
}

/* ---- is it complete? ---- */

int cdt_gnutls_config_check(const void *arg, bool server, const conduit_error **reterr)
{
    const struct cdt_gnutls_credentials *credentials = arg;
    const struct cdt_tls_demands demands = {
        .server = server,
        .identity = credentials->n_identities > 0,
        .waits_for_key = waits_for_key(credentials),
        .no_version = credentials->only_new && credentials->only_old,
        .anchors = credentials->own_trust || credentials->system_trust,
        .pins = credentials->n_pins > 0,
        .verify = credentials->verify,
        .clients = credentials->demand,
    };
    return cdt_tls_check_demands(&demands, reterr);
}
