/* SPDX-License-Identifier: ISC */
/*
 * Is the peer who it has to be?
 *
 * One callback decides, for every mode: the chain by OpenSSL, strictly (RFC 5280), with the name as
 * RFC 9525 has it, against subjectAltName only, an address against addresses; then the pins; then
 * the program's own check. Each can only take away. What was wrong is put into words at once, for
 * the certificate is gone when the handshake fails.
 *
 * Anchors of one's own and the system's are two stores: the second is asked if the first knows
 * nobody who signed.
 */
#include "openssl.h"
#include "tls.h"
#include <conduit/memory.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- keys ---- */

int cdt_openssl_set_verify(struct cdt_openssl_credentials *credentials, const char *value,
                           const conduit_error **reterr)
{
    int verify = cdt_tls_parse_verify(value, reterr);
    if (verify < 0)
        return verify;
    if ((verify == CDT_VERIFY_DANE && SSL_CTX_dane_enable(credentials->ctx) != 1) ||
        !cdt_openssl_note_trust(credentials, value, strlen(value)))
        return cdt_openssl_refuse_memory(reterr);
    credentials->verify = (enum cdt_tls_verify)verify;
    return 0;
}

/* "sha256//" and 44 characters of base64. */
static bool parse_pin(const char *value, unsigned char pin[CDT_OPENSSL_PIN])
{
    unsigned char bytes[36];
    if (strncmp(value, "sha256//", 8) != 0 || strlen(value + 8) != 44 || value[8 + 43] != '=' ||
        value[8 + 42] == '=')
        return false;
    if (EVP_DecodeBlock(bytes, (const unsigned char *)value + 8, 44) != 33)
        return false;
    memcpy(pin, bytes, CDT_OPENSSL_PIN);
    return true;
}

int cdt_openssl_set_pin(struct cdt_openssl_credentials *credentials, const char *value,
                        const conduit_error **reterr)
{
    unsigned char pin[CDT_OPENSSL_PIN];
    if (!parse_pin(value, pin))
        return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                              "pin: \"%s\" is not \"sha256//\" and the base64 of a digest", value);
    unsigned char(*place)[CDT_OPENSSL_PIN] =
        cdt_openssl_grow(&credentials->pins, &credentials->n_pins, sizeof(pin));
    if (place == NULL || !cdt_openssl_note_trust(credentials, pin, sizeof(pin)))
        return cdt_openssl_refuse_memory(reterr);
    memcpy(*place, pin, sizeof(pin));
    return 0;
}

static int refuse_tlsa(const char *value, const conduit_error **reterr)
{
    return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                          "tlsa: \"%s\" is no record like \"3 1 1 HEX\"", value);
}

int cdt_openssl_set_tlsa(struct cdt_openssl_credentials *credentials, const char *value,
                         const conduit_error **reterr)
{
    unsigned usage, selector, type;
    int at = 0;
    long len = 0;
    if (sscanf(value, "%3u %3u %3u %n", &usage, &selector, &type, &at) < 3 || at == 0 ||
        usage > 3 || selector > 1 || type > 2)
        return refuse_tlsa(value, reterr);
    unsigned char *data = OPENSSL_hexstr2buf(value + at, &len);
    if (data == NULL || len == 0 || (type == 1 && len != 32) || (type == 2 && len != 64)) {
        OPENSSL_free(data);
        return refuse_tlsa(value, reterr);
    }
    struct cdt_openssl_tlsa *tlsa =
        cdt_openssl_grow(&credentials->tlsa, &credentials->n_tlsa, sizeof(*tlsa));
    if (tlsa == NULL) {
        OPENSSL_free(data);
        return cdt_openssl_refuse_memory(reterr);
    }
    *tlsa = (struct cdt_openssl_tlsa){.usage = (uint8_t)usage,
                                      .selector = (uint8_t)selector,
                                      .type = (uint8_t)type,
                                      .data = data,
                                      .len = (size_t)len};
    return 0;
}

/* ---- the verdict ---- */

void cdt_openssl_distrust(struct cdt_openssl_session *session, int reason, int number,
                          const char *format, ...)
{
    if (session->distrust != 0)
        return;
    session->distrust = reason;
    session->distrust_number = number;
    session->distrust_text = conduit_malloc(CDT_OPENSSL_TEXT);
    if (session->distrust_text == NULL)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(session->distrust_text, CDT_OPENSSL_TEXT, format, args);
    va_end(args);
}

static void explain(struct cdt_openssl_session *session, X509_STORE_CTX *store)
{
    char text[CDT_OPENSSL_TEXT];
    int reason = cdt_openssl_explain(session, store, text);
    cdt_openssl_distrust(session, reason, X509_STORE_CTX_get_error(store), "%s", text);
}

/* ---- the chain ---- */

static int verify_in(const struct cdt_openssl_session *session, X509_STORE_CTX *store)
{
    if (session->credentials->crls != NULL)
        X509_STORE_CTX_set0_crls(store, session->credentials->crls);
    if (session->credentials->crl_chain)
        X509_STORE_CTX_set_flags(store, X509_V_FLAG_CRL_CHECK_ALL);
    return X509_verify_cert(store) == 1;
}

static bool knows_nobody(const X509_STORE_CTX *store)
{
    switch (X509_STORE_CTX_get_error(store)) {
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return true;
    default:
        return false;
    }
}

/* The same chain again, by the system's anchors, which have to be roots; and by the same TLSA
 * records, or none would count. */
static X509_STORE_CTX *begin_again(const struct cdt_openssl_session *session, X509_STORE_CTX *store)
{
    X509_STORE_CTX *again = X509_STORE_CTX_new();
    if (again == NULL)
        return NULL;
    X509_VERIFY_PARAM *param;
    if (X509_STORE_CTX_init(again, session->shared->system, X509_STORE_CTX_get0_cert(store),
                            X509_STORE_CTX_get0_untrusted(store)) != 1 ||
        (param = X509_STORE_CTX_get0_param(again)) == NULL ||
        X509_VERIFY_PARAM_set1(param, X509_STORE_CTX_get0_param(store)) != 1 ||
        X509_VERIFY_PARAM_clear_flags(param, X509_V_FLAG_PARTIAL_CHAIN) != 1) {
        X509_STORE_CTX_free(again);
        return NULL;
    }
    X509_STORE_CTX_set0_dane(again, SSL_get0_dane(session->ssl));
    return again;
}

/* What the second store says replaces what the first one said, unless it knows nobody, either. */
static int verify_by_system(struct cdt_openssl_session *session, X509_STORE_CTX *store)
{
    X509_STORE_CTX *again = begin_again(session, store);
    if (again == NULL)
        return 0;
    int fine = verify_in(session, again);
    if (fine)
        X509_STORE_CTX_set0_verified_chain(store, X509_STORE_CTX_get1_chain(again));
    else if (!knows_nobody(again))
        explain(session, again);
    if (fine || !knows_nobody(again))
        X509_STORE_CTX_set_error(store, X509_STORE_CTX_get_error(again));
    X509_STORE_CTX_free(again);
    return fine;
}

static int verify_chain(struct cdt_openssl_session *session, X509_STORE_CTX *store)
{
    const struct cdt_openssl_credentials *credentials = session->credentials;
    if (verify_in(session, store))
        return 1;
    if (credentials->own_trust && credentials->system_trust && session->shared->system != NULL &&
        knows_nobody(store) && verify_by_system(session, store))
        return 1;
    explain(session, store);
    return 0;
}

/* ---- pins, and the program's own check ---- */

static bool digest_of_key(X509 *cert, unsigned char digest[CDT_OPENSSL_PIN])
{
    unsigned char *der = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    bool fine = len > 0 && EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL) == 1;
    OPENSSL_free(der);
    return fine;
}

static int verify_pin(struct cdt_openssl_session *session, X509 *cert)
{
    const struct cdt_openssl_credentials *credentials = session->credentials;
    unsigned char digest[CDT_OPENSSL_PIN], text[64] = "?";
    bool have = digest_of_key(cert, digest);
    for (size_t i = 0; have && i < credentials->n_pins; i++)
        if (CRYPTO_memcmp(credentials->pins[i], digest, sizeof(digest)) == 0)
            return 1;
    if (have)
        EVP_EncodeBlock(text, digest, sizeof(digest));
    cdt_openssl_distrust(session, CONDUIT_TLS_PIN_MISMATCH, X509_V_ERR_APPLICATION_VERIFICATION,
                         "the peer's key is sha256//%s, which is not pinned", text);
    return 0;
}

static void drop_certs(conduit_tls_peer *peer)
{
    for (size_t i = 0; i < peer->n_certs; i++) {
        union {
            const void *in;
            void *out;
        } same = {.in = peer->certs[i].der};
        OPENSSL_free(same.out);
    }
}

static bool add_cert(conduit_tls_peer *peer, const X509 *cert)
{
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der);
    if (len <= 0)
        return false;
    peer->certs[peer->n_certs++] = (conduit_tls_cert){.der = der, .len = (size_t)len};
    return true;
}

/* What was verified, or (pinned) what was shown. */
static bool add_certs(conduit_tls_peer *peer, X509_STORE_CTX *store)
{
    const cdt_openssl_certs *chain = X509_STORE_CTX_get0_chain(store);
    size_t most = sizeof(peer->certs) / sizeof(peer->certs[0]);
    bool fine = sk_X509_num(chain) > 0 || add_cert(peer, X509_STORE_CTX_get0_cert(store));
    for (int i = 0; fine && i < sk_X509_num(chain) && peer->n_certs < most; i++)
        fine = add_cert(peer, sk_X509_value(chain, i));
    return fine;
}

static int ask_caller(struct cdt_openssl_session *session, X509_STORE_CTX *store)
{
    const struct cdt_tls_hooks *hooks = session->credentials->hooks;
    const X509 *cert = X509_STORE_CTX_get0_cert(store);
    const char *name = session->server ? session->asked : session->name;
    char subject[256], fingerprint[65];
    conduit_tls_peer peer = {.name = name != NULL ? name : "",
                             .client = session->server,
                             .subject = subject,
                             .fingerprint = fingerprint};
    cdt_openssl_print_name(X509_get_subject_name(cert), subject, sizeof(subject));
    bool fine = cdt_openssl_fingerprint(cert, fingerprint) && add_certs(&peer, store) &&
                hooks->verify(hooks->verify_user, &peer);
    drop_certs(&peer);
    if (!fine)
        cdt_openssl_distrust(session, CONDUIT_TLS_REFUSED_BY_CALLER,
                             X509_V_ERR_APPLICATION_VERIFICATION,
                             "certificate of %s was refused by the program's own check", subject);
    return fine;
}

int cdt_openssl_on_chain(X509_STORE_CTX *store, void *arg)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct cdt_openssl_session *session = cdt_openssl_session_of(ssl);
    const struct cdt_openssl_credentials *credentials = session->credentials;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    if (credentials->verify == CDT_VERIFY_INSECURE)
        return 1;
    if (credentials->verify != CDT_VERIFY_PIN && !verify_chain(session, store))
        return 0;
    if ((credentials->n_pins == 0 || verify_pin(session, X509_STORE_CTX_get0_cert(store))) &&
        (credentials->hooks->verify == NULL || ask_caller(session, store)))
        return 1;
    X509_STORE_CTX_set_error(store, session->distrust_number);
    return 0;
}

/* ---- the session ---- */

bool cdt_openssl_verifies(const struct cdt_openssl_session *session)
{
    return session->demand != CDT_DEMAND_NONE;
}

int cdt_openssl_use_system(struct cdt_openssl_session *session)
{
    const struct cdt_openssl_credentials *credentials = session->credentials;
    if (session->has_store || !cdt_openssl_wants_system(credentials, session->server))
        return 0;
    session->has_store = true;
    if (credentials->own_trust && session->shared->system != NULL)
        return 0; /* the second to be asked */
    if (session->shared->system == NULL)
        return cdt_tls_fail(session->tls, CONDUIT_TLS_NO_ANCHORS, NULL, 0,
                            "the system has no trust store (neither %s nor %s holds a "
                            "certificate): say which authorities to trust (ca)",
                            X509_get_default_cert_file(), X509_get_default_cert_dir());
    if (SSL_set1_verify_cert_store(session->ssl, session->shared->system) != 1)
        return cdt_openssl_fail(session);
    return 0;
}

static int demand_tlsa(struct cdt_openssl_session *session)
{
    const struct cdt_openssl_credentials *credentials = session->credentials;
    int usable = 0;
    if (credentials->n_tlsa == 0)
        return cdt_tls_fail(session->tls, CONDUIT_TLS_NO_TLSA, NULL, 0,
                            "verify=dane goes by TLSA records, and there is none: neither said "
                            "(tlsa) nor found where \"%s\" was looked up",
                            session->name);
    if (SSL_dane_enable(session->ssl, session->name) <= 0)
        return cdt_openssl_fail(session);
    for (size_t i = 0; i < credentials->n_tlsa; i++) {
        const struct cdt_openssl_tlsa *tlsa = &credentials->tlsa[i];
        usable += SSL_dane_tlsa_add(session->ssl, tlsa->usage, tlsa->selector, tlsa->type,
                                    tlsa->data, tlsa->len) > 0;
    }
    ERR_clear_error();
    if (usable > 0)
        return 0;
    return cdt_tls_fail(session->tls, CONDUIT_TLS_DANE_MISMATCH, NULL, 0,
                        "none of the TLSA records can be used");
}

static int demand_name(struct cdt_openssl_session *session)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(session->ssl);
    bool dane = session->credentials->verify == CDT_VERIFY_DANE;
    if (*session->name == '\0')
        return cdt_tls_fail(session->tls, CONDUIT_TLS_NO_NAME, NULL, 0,
                            "whom is the peer to prove to be? Say so (name), or do not verify "
                            "(verify=insecure)");
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (dane && session->numeric)
        return cdt_tls_fail(session->tls, CONDUIT_TLS_BAD_NAME, NULL, 0,
                            "TLSA records are for names, and \"%s\" is an address", session->name);
    if (dane)
        return demand_tlsa(session);
    int set = session->numeric ? X509_VERIFY_PARAM_set1_ip_asc(param, session->name)
                               : X509_VERIFY_PARAM_set1_host(param, session->name, 0);
    return set == 1 ? 0 : cdt_openssl_fail(session);
}

static int demand_of_server(struct cdt_openssl_session *session)
{
    const struct cdt_openssl_credentials *credentials = session->credentials;
    bool insecure = credentials->verify == CDT_VERIFY_INSECURE;
    session->demand = insecure ? CDT_DEMAND_NONE : CDT_DEMAND_REQUIRE;
    SSL_set_verify(session->ssl, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (credentials->verify == CDT_VERIFY_FULL || credentials->verify == CDT_VERIFY_DANE)
        return demand_name(session);
    return 0;
}

static void demand_of_client(struct cdt_openssl_session *session)
{
    session->demand = cdt_openssl_demand_of(session->credentials, session->asked);
    int mode = SSL_VERIFY_NONE;
    if (session->demand == CDT_DEMAND_ASK)
        mode = SSL_VERIFY_PEER;
    else if (session->demand == CDT_DEMAND_REQUIRE)
        mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_set_verify(session->ssl, mode, NULL);
}

int cdt_openssl_demand(struct cdt_openssl_session *session)
{
    if (!session->server)
        return demand_of_server(session);
    demand_of_client(session);
    return 0;
}

int cdt_openssl_accept(struct cdt_openssl_session *session)
{
    if (!cdt_openssl_verifies(session))
        return 0;
    const X509 *cert = SSL_get0_peer_certificate(session->ssl);
    if (cert == NULL && session->demand == CDT_DEMAND_ASK)
        return 0;
    if (cert == NULL)
        return cdt_tls_fail(session->tls, CONDUIT_TLS_NO_PEER_CERT, NULL, 0,
                            "the peer showed no certificate");
    long result = SSL_get_verify_result(session->ssl);
    if (result == X509_V_OK)
        return 0;
    return cdt_tls_fail(session->tls, CONDUIT_TLS_NOT_TRUSTED, "X509", result,
                        "certificate was not accepted: %s", X509_verify_cert_error_string(result));
}
