/* SPDX-License-Identifier: ISC */
/*
 * Credentials: an SSL_CTX, filled in key by key.
 *
 * It starts from what is right without being told (RFC 9325): TLS 1.2 or newer, ECDHE with AEAD, no
 * renegotiation, no compression, keys and digests of 112 bits. Then conduit_tls_set()
 * changes what it is asked to, and each change is tried out on the SSL_CTX at once. When the first
 * session starts it is finished, and OpenSSL lets any thread use it.
 */
#include "openssl.h"
#include "tls.h"
#include <conduit/memory.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- for all that take a key ---- */

int cdt_openssl_refuse(int reason, const char *what, const char *value,
                       const conduit_error **reterr)
{
    unsigned long number;
    const char *text = cdt_openssl_reason(&number);
    if (ERR_GET_REASON(number) == ERR_R_MALLOC_FAILURE)
        return cdt_openssl_refuse_memory(reterr);
    return cdt_tls_refuse_for(reason, "OpenSSL", (long)number, reterr, "%s \"%s\": %s", what, value,
                              text);
}

int cdt_openssl_refuse_memory(const conduit_error **reterr)
{
    return cdt_tls_refuse(CONDUIT_TLS_MEMORY, reterr, "out of memory");
}

void *cdt_openssl_grow(void *array, size_t *n, size_t size)
{
    void **place = array;
    char *grown = conduit_realloc(*place, (*n + 1) * size);
    if (grown == NULL)
        return NULL;
    *place = grown;
    memset(grown + *n * size, 0, size);
    return grown + (*n)++ * size;
}

bool cdt_openssl_note_trust(struct cdt_openssl_credentials *credentials, const void *bytes,
                            size_t len)
{
    unsigned char digest[32];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool fine = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(md, credentials->trust_digest, sizeof(digest)) == 1 &&
                EVP_DigestUpdate(md, bytes, len) == 1 && EVP_DigestFinal_ex(md, digest, NULL) == 1;
    if (fine)
        memcpy(credentials->trust_digest, digest, sizeof(digest));
    EVP_MD_CTX_free(md);
    return fine;
}

/* ---- a fresh one ---- */

static bool set_defaults(SSL_CTX *ctx)
{
    enum { BITS_112 = 2 };
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* A chain is what the file says, not what can be found for it at each handshake. */
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_verify_depth(ctx, CDT_OPENSSL_DEPTH);
    /* The system's own configuration of OpenSSL may ask for more, and then gets it. */
    if (SSL_CTX_get_security_level(ctx) < BITS_112)
        SSL_CTX_set_security_level(ctx, BITS_112);
    bool old = SSL_CTX_get_min_proto_version(ctx) < TLS1_2_VERSION;
    return (!old || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1) &&
           SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
           X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_X509_STRICT) == 1;
}

static void set_callbacks(SSL_CTX *ctx)
{
    SSL_CTX_set_client_hello_cb(ctx, cdt_openssl_on_hello, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, cdt_openssl_on_chain, NULL);
    SSL_CTX_set_tlsext_status_cb(ctx, cdt_openssl_on_status);
}

void *cdt_openssl_config_new(const struct cdt_tls_hooks *hooks)
{
    struct cdt_openssl_credentials *credentials = conduit_calloc(1, sizeof(*credentials));
    if (credentials == NULL)
        return NULL;
    ERR_clear_error();
    credentials->hooks = hooks;
    credentials->keylog = -1;
    credentials->tickets = cdt_openssl_tickets_new();
    credentials->ctx = SSL_CTX_new(TLS_method());
    if (credentials->tickets != NULL && credentials->ctx != NULL &&
        set_defaults(credentials->ctx) && cdt_openssl_set_resumption(credentials->ctx)) {
        set_callbacks(credentials->ctx);
        return credentials;
    }
    ERR_clear_error();
    cdt_openssl_config_free(credentials);
    return NULL;
}

void cdt_openssl_config_free(void *arg)
{
    struct cdt_openssl_credentials *credentials = arg;
    for (size_t i = 0; i < credentials->n_tlsa; i++)
        OPENSSL_free(credentials->tlsa[i].data);
    conduit_free(credentials->tlsa);
    conduit_free(credentials->pins);
    conduit_free(credentials->policies);
    sk_X509_CRL_pop_free(credentials->crls, X509_CRL_free);
    cdt_openssl_free_identities(credentials);
    SSL_CTX_free(credentials->ctx);
    cdt_openssl_tickets_free(credentials->tickets);
    if (credentials->keylog >= 0)
        close(credentials->keylog);
    conduit_free(credentials);
}

/* ---- what is spoken ---- */

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
    if (version != 0 && SSL_CTX_set_min_proto_version(credentials->ctx, version) == 1)
        return 0;
    return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr, "min: \"%s\" is neither 1.2 nor 1.3",
                          value);
}

static int set_max(struct cdt_openssl_credentials *credentials, const char *value,
                   const conduit_error **reterr)
{
    int version = parse_version(value);
    if (version != 0 && SSL_CTX_set_max_proto_version(credentials->ctx, version) == 1)
        return 0;
    return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr, "max: \"%s\" is neither 1.2 nor 1.3",
                          value);
}

static int refuse_list(const char *key, const char *value, const char *what,
                       const conduit_error **reterr)
{
    ERR_clear_error();
    return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr, "%s: \"%s\" names no %s", key, value,
                          what);
}

static int set_ciphers(struct cdt_openssl_credentials *credentials, const char *value,
                       const conduit_error **reterr)
{
    if (SSL_CTX_set_cipher_list(credentials->ctx, value) == 1)
        return 0;
    return refuse_list("ciphers", value, "TLS 1.2 suite", reterr);
}

static int set_suites(struct cdt_openssl_credentials *credentials, const char *value,
                      const conduit_error **reterr)
{
    if (*value != '\0' && SSL_CTX_set_ciphersuites(credentials->ctx, value) == 1)
        return 0;
    return refuse_list("suites", value, "list of TLS 1.3 suites", reterr);
}

/* The macros around it take the const away. */
static bool set_list(SSL_CTX *ctx, int command, const char *list)
{
    union {
        const char *in;
        char *out;
    } same = {.in = list};
    return *list != '\0' && SSL_CTX_ctrl(ctx, command, 0, same.out) == 1;
}

static int set_groups(struct cdt_openssl_credentials *credentials, const char *value,
                      const conduit_error **reterr)
{
    if (set_list(credentials->ctx, SSL_CTRL_SET_GROUPS_LIST, value))
        return 0;
    return refuse_list("groups", value, "list of groups", reterr);
}

static int set_sigalgs(struct cdt_openssl_credentials *credentials, const char *value,
                       const conduit_error **reterr)
{
    if (set_list(credentials->ctx, SSL_CTRL_SET_SIGALGS_LIST, value) &&
        set_list(credentials->ctx, SSL_CTRL_SET_CLIENT_SIGALGS_LIST, value))
        return 0;
    return refuse_list("sigalgs", value, "list of signature algorithms", reterr);
}

/* ---- the rest ---- */

static int set_crl_check(struct cdt_openssl_credentials *credentials, const char *value,
                         const conduit_error **reterr)
{
    bool chain = strcmp(value, "chain") == 0;
    if (!chain && strcmp(value, "peer") != 0)
        return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                              "crl_check: \"%s\" is neither peer nor chain", value);
    credentials->crl_chain = chain;
    if (!cdt_openssl_note_trust(credentials, value, strlen(value)))
        return cdt_tls_refuse(CONDUIT_TLS_MEMORY, reterr, "crl_check: out of memory");
    return 0;
}

static int set_sni(struct cdt_openssl_credentials *credentials, const char *value,
                   const conduit_error **reterr)
{
    bool strict = strcmp(value, "strict") == 0;
    if (!strict && strcmp(value, "default") != 0)
        return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                              "sni: \"%s\" is neither default nor strict", value);
    credentials->sni_strict = strict;
    return 0;
}

/* One line, in one write: several processes may share the file. */
static void log_key(const SSL *ssl, const char *line)
{
    const struct cdt_openssl_session *session = cdt_openssl_session_of(ssl);
    char end[] = "\n";
    union {
        const char *in;
        char *out;
    } same = {.in = line};
    struct iovec v[2] = {{same.out, strlen(line)}, {end, 1}};
    ssize_t ignored = writev(session->credentials->keylog, v, 2);
    (void)ignored; /* a full disk is no reason to lose a connection */
}

static int set_keylog(struct cdt_openssl_credentials *credentials, const char *value,
                      const conduit_error **reterr)
{
    int fd = open(value, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    if (fd < 0)
        return cdt_tls_refuse_for(CONDUIT_TLS_FILE_UNREADABLE, "errno", errno, reterr,
                                  "keylog \"%s\": %s", value, strerror(errno));
    if (credentials->keylog >= 0)
        close(credentials->keylog);
    credentials->keylog = fd;
    SSL_CTX_set_keylog_callback(credentials->ctx, log_key);
    return 0;
}

static const struct {
    const char *key;
    int (*set)(struct cdt_openssl_credentials *, const char *, const conduit_error **);
} setters[] = {
    {"ca", cdt_openssl_set_ca},
    {"ca_dir", cdt_openssl_set_ca_dir},
    {"ca_pem", cdt_openssl_set_ca_pem},
    {"ca_system", cdt_openssl_set_ca_system},
    {"crl", cdt_openssl_set_crl},
    {"crl_check", set_crl_check},
    {"verify", cdt_openssl_set_verify},
    {"pin", cdt_openssl_set_pin},
    {"tlsa", cdt_openssl_set_tlsa},
    {"ocsp", cdt_openssl_set_ocsp},
    {"cert", cdt_openssl_set_cert},
    {"cert_pem", cdt_openssl_set_cert_pem},
    {"key", cdt_openssl_set_key},
    {"key_pem", cdt_openssl_set_key_pem},
    {"pkcs12", cdt_openssl_set_pkcs12},
    {"password", cdt_openssl_set_password},
    {"staple", cdt_openssl_set_staple},
    {"min", set_min},
    {"max", set_max},
    {"ciphers", set_ciphers},
    {"suites", set_suites},
    {"groups", set_groups},
    {"sigalgs", set_sigalgs},
    {"sni", set_sni},
    {"client_cert", cdt_openssl_set_client_cert},
    {"ticket_key", cdt_openssl_set_ticket_key},
    {"resume", cdt_openssl_set_resume},
    {"early_data", cdt_openssl_set_early_data},
    {"keylog", set_keylog},
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
    return cdt_tls_refuse(CONDUIT_TLS_UNKNOWN_KEY, reterr,
                          "\"%s\" is no TLS option (ca, cert, key, alpn, min, verify, ...: "
                          "docs/tls.md has them all)",
                          key);
}

/* ---- is it complete? ---- */

static struct cdt_tls_demands demands_of(const struct cdt_openssl_credentials *credentials,
                                         bool server)
{
    long max = SSL_CTX_get_max_proto_version(credentials->ctx);
    struct cdt_tls_demands demands = {
        .server = server,
        .identity = credentials->n_identities > 0,
        .waits_for_key = cdt_openssl_waits_for_key(credentials),
        .no_version = max != 0 && max < SSL_CTX_get_min_proto_version(credentials->ctx),
        .anchors = credentials->own_trust || credentials->system_trust,
        .pins = credentials->n_pins > 0,
        .tlsa = credentials->n_tlsa > 0,
        .crls = credentials->crls != NULL,
        .crl_chain = credentials->crl_chain,
        .verify = credentials->verify,
    };
    for (size_t i = 0; i < credentials->n_policies; i++)
        if (credentials->policies[i].demand > demands.clients)
            demands.clients = credentials->policies[i].demand;
    return demands;
}

/* It hangs on tickets that are used once, and is taken from clients that have proved nothing. */
static int check_early(const struct cdt_openssl_credentials *credentials,
                       const struct cdt_tls_demands *demands, const conduit_error **reterr)
{
    const char *fault = NULL;
    if (!credentials->early_data)
        return 0;
    if (credentials->no_resumption)
        fault = "resume=no leaves nothing that it could go under";
    else if (demands->server && cdt_openssl_shares_tickets(credentials->tickets))
        fault = "each of its tickets is used once, which who shares a ticket_key cannot see to";
    else if (demands->server && cdt_tls_demands_clients(demands))
        fault = "it comes before a client could show the certificate that is demanded";
    return fault == NULL
               ? 0
               : cdt_tls_refuse(CONDUIT_TLS_CONTRADICTION, reterr, "early_data: %s", fault);
}

int cdt_openssl_config_check(const void *arg, bool server, const conduit_error **reterr)
{
    struct cdt_tls_demands demands = demands_of(arg, server);
    int code = cdt_tls_check_demands(&demands, reterr);
    return code < 0 ? code : check_early(arg, &demands, reterr);
}
