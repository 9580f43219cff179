/* SPDX-License-Identifier: ISC */
/*
 * Why a certificate was turned away, in words: who it is for and who it should be for, when it ran
 * out, who signed it and who was known.
 *
 * What is printed comes from the peer, and passes through cdt_tls_printable() or RFC 2253's
 * escapes.
 */
#include "openssl.h"
#include "tls.h"
#include <arpa/inet.h>
#include <conduit/memory.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MAX_SANS = 256, MAX_NAME = 128, SHOWN_SANS = 3 };

/* ---- names ---- */

void cdt_openssl_print_name(const X509_NAME *name, char *text, size_t size)
{
    text[0] = '\0';
    BIO *out = BIO_new(BIO_s_mem());
    if (out == NULL)
        return;
    char *bytes;
    if (X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253) >= 0) {
        long len = BIO_get_mem_data(out, &bytes);
        snprintf(text, size, "%.*s", len > 0 ? (int)len : 0, bytes);
    }
    BIO_free(out);
}

/* What people call it: the common name, if there is one. */
static void print_short_name(const X509_NAME *name, char *text, size_t size)
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    const ASN1_STRING *value =
        at >= 0 ? X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)) : NULL;
    unsigned char *utf8 = NULL;
    int len = value != NULL ? ASN1_STRING_to_UTF8(&utf8, value) : -1;
    if (len > 0)
        cdt_tls_printable(text, size, utf8, (size_t)len);
    else
        cdt_openssl_print_name(name, text, size);
    OPENSSL_free(utf8);
}

/* A DNS name or address of a subjectAltName; false for other kinds. */
static bool print_san(const GENERAL_NAME *san, bool quoted, char *text, size_t size)
{
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(san, &type);
    char name[MAX_NAME];
    if (type != GEN_DNS && type != GEN_IPADD)
        return false;
    const unsigned char *bytes = ASN1_STRING_get0_data(value);
    int len = ASN1_STRING_length(value);
    if (type == GEN_DNS)
        cdt_tls_printable(name, sizeof(name), bytes, (size_t)len);
    else if ((len != 4 && len != 16) ||
             inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, name, sizeof(name)) == NULL)
        return false;
    if (quoted)
        snprintf(text, size, "\"%s\"", name);
    else
        snprintf(text, size, "%s:%s", type == GEN_DNS ? "DNS" : "IP", name);
    return true;
}

/* "a", "b" and 5 more; "" if there are none. */
void cdt_openssl_print_sans(const X509 *cert, bool quoted, int most, char *text, size_t size)
{
    size_t end = 0;
    int shown = 0, more = 0;
    char san[MAX_NAME + 8];
    GENERAL_NAMES *sans = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    text[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(sans); i++) {
        if (!print_san(sk_GENERAL_NAME_value(sans, i), quoted, san, sizeof(san)))
            continue;
        if (shown == most || end + strlen(san) + sizeof(", and 1000000 more") > size) {
            more++;
            continue;
        }
        end += (size_t)snprintf(text + end, size - end, "%s%s", shown++ > 0 ? ", " : "", san);
    }
    GENERAL_NAMES_free(sans);
    if (more > 0)
        snprintf(text + end, size - end, " and %d more", more);
}

/* ---- dates ---- */

static void print_day(const ASN1_TIME *at, char *text, size_t size)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(at, &tm) != 1 || strftime(text, size, "%Y-%m-%d", &tm) == 0)
        snprintf(text, size, "an unreadable date");
}

/* How far `at` is from now, whichever way: "3 days". */
static void print_distance(const ASN1_TIME *at, char *text, size_t size)
{
    int days = 0, seconds = 0;
    ASN1_TIME_diff(&days, &seconds, NULL, at);
    days = days < 0 ? -days : days;
    int hours = (seconds < 0 ? -seconds : seconds) / 3600;
    if (days > 0)
        snprintf(text, size, "%d day%s", days, days == 1 ? "" : "s");
    else if (hours > 0)
        snprintf(text, size, "%d hour%s", hours, hours == 1 ? "" : "s");
    else
        snprintf(text, size, "less than an hour");
}

/* ---- each kind ---- */

struct fault {
    const struct cdt_openssl_session *session;
    X509_STORE_CTX *store;
    const X509 *cert; /* never NULL */
    int error, depth;
    char which[MAX_NAME + 64]; /* certificate of "a.example", and at which depth */
};

/* The peer's own is called what it was to prove to be, the others what they call themselves. */
static void print_which(struct fault *fault)
{
    const char *wanted = fault->session->name;
    char name[MAX_NAME];
    print_short_name(X509_get_subject_name(fault->cert), name, sizeof(name));
    if (fault->depth > 0)
        snprintf(fault->which, sizeof(fault->which),
                 "certificate of the authority \"%s\" (depth %d)", name, fault->depth);
    else
        snprintf(fault->which, sizeof(fault->which), "certificate of \"%.*s\"", MAX_NAME,
                 wanted != NULL && *wanted != '\0' ? wanted : name);
}

static void explain_name(const struct fault *fault, char *text)
{
    char sans[MAX_SANS];
    const char *name = fault->session->name;
    cdt_openssl_print_sans(fault->cert, true, SHOWN_SANS, sans, sizeof(sans));
    if (sans[0] != '\0')
        snprintf(text, CDT_OPENSSL_TEXT, "certificate is for %s, not \"%s\"", sans, name);
    else
        snprintf(text, CDT_OPENSSL_TEXT,
                 "certificate is for nobody (no subjectAltName), not \"%s\"", name);
}

static void explain_expired(const struct fault *fault, char *text)
{
    char day[32], distance[32];
    const ASN1_TIME *at = X509_get0_notAfter(fault->cert);
    print_day(at, day, sizeof(day));
    print_distance(at, distance, sizeof(distance));
    snprintf(text, CDT_OPENSSL_TEXT, "%s expired %s ago (%s)", fault->which, distance, day);
}

static void explain_early(const struct fault *fault, char *text)
{
    char day[32], distance[32];
    const ASN1_TIME *at = X509_get0_notBefore(fault->cert);
    print_day(at, day, sizeof(day));
    print_distance(at, distance, sizeof(distance));
    snprintf(text, CDT_OPENSSL_TEXT,
             "%s is not valid for another %s (from %s): is the clock right?", fault->which,
             distance, day);
}

/* Whom it was measured by. */
static void print_sources(const struct cdt_openssl_session *session, char *text, size_t size)
{
    const struct cdt_openssl_credentials *credentials = session->credentials;
    bool system = cdt_openssl_wants_system(credentials, session->server);
    snprintf(text, size, "%s%s%s", credentials->sources,
             system && credentials->sources[0] != '\0' ? ", " : "",
             system ? session->shared->system_sources : "");
}

static void explain_issuer(const struct fault *fault, char *text)
{
    char issuer[MAX_NAME], sources[300];
    print_short_name(X509_get_issuer_name(fault->cert), issuer, sizeof(issuer));
    print_sources(fault->session, sources, sizeof(sources));
    bool alone = sk_X509_num(X509_STORE_CTX_get0_untrusted(fault->store)) <= 1;
    snprintf(text, CDT_OPENSSL_TEXT, "signed by \"%s\", which is in none of: %s%s", issuer, sources,
             alone ? " (the peer sent no intermediate)" : "");
}

static void explain_self_signed(const struct fault *fault, char *text)
{
    char sources[300];
    print_sources(fault->session, sources, sizeof(sources));
    snprintf(text, CDT_OPENSSL_TEXT, "%s is self-signed, and in none of: %s", fault->which,
             sources);
}

static void explain_root(const struct fault *fault, char *text)
{
    char name[MAX_NAME], sources[300];
    print_short_name(X509_get_subject_name(fault->cert), name, sizeof(name));
    print_sources(fault->session, sources, sizeof(sources));
    snprintf(text, CDT_OPENSSL_TEXT,
             "signed by \"%s\" (a root that the peer sent, depth %d), which is in none of: %s",
             name, fault->depth, sources);
}

static void explain_purpose(const struct fault *fault, char *text)
{
    const char *purpose = fault->session->server ? "a TLS client" : "a TLS server";
    if (fault->depth == 0)
        snprintf(text, CDT_OPENSSL_TEXT, "%s is not for %s (extendedKeyUsage, keyUsage)",
                 fault->which, purpose);
    else
        snprintf(text, CDT_OPENSSL_TEXT, "%s may not issue certificates for %s", fault->which,
                 purpose);
}

static void explain_key(const struct fault *fault, char *text)
{
    const EVP_PKEY *key = X509_get0_pubkey(fault->cert);
    snprintf(text, CDT_OPENSSL_TEXT, "%s has a key that is too small (%s, %d bits)", fault->which,
             key != NULL ? EVP_PKEY_get0_type_name(key) : "?",
             key != NULL ? EVP_PKEY_get_bits(key) : 0);
}

static void explain_digest(const struct fault *fault, char *text)
{
    snprintf(text, CDT_OPENSSL_TEXT, "%s is signed with %s, which is broken", fault->which,
             OBJ_nid2ln(X509_get_signature_nid(fault->cert)));
}

/* With the library's own words for the rest. */
static void explain_other(const struct fault *fault, char *text)
{
    snprintf(text, CDT_OPENSSL_TEXT, "%s was not accepted: %s", fault->which,
             X509_verify_cert_error_string(fault->error));
}

static void explain_revoked(const struct fault *fault, char *text)
{
    snprintf(text, CDT_OPENSSL_TEXT, "%s was revoked by its authority", fault->which);
}

static void explain_no_crl(const struct fault *fault, char *text)
{
    snprintf(text, CDT_OPENSSL_TEXT, "%s is covered by none of the revocation lists (crl)",
             fault->which);
}

static void explain_crl(const struct fault *fault, char *text)
{
    snprintf(text, CDT_OPENSSL_TEXT, "the revocation list for the %s will not do: %s", fault->which,
             X509_verify_cert_error_string(fault->error));
}

static void explain_constraint(const struct fault *fault, char *text)
{
    char sans[MAX_SANS];
    cdt_openssl_print_sans(X509_STORE_CTX_get0_cert(fault->store), true, SHOWN_SANS, sans,
                           sizeof(sans));
    snprintf(text, CDT_OPENSSL_TEXT,
             "certificate is for %s, which its authorities may not certify: %s", sans,
             X509_verify_cert_error_string(fault->error));
}

static void explain_long(const struct fault *fault, char *text)
{
    snprintf(text, CDT_OPENSSL_TEXT, "the chain is longer than it may be, at the %s: %s",
             fault->which, X509_verify_cert_error_string(fault->error));
}

static void explain_dane(const struct fault *fault, char *text)
{
    snprintf(text, CDT_OPENSSL_TEXT, "%s matches none of the TLSA records", fault->which);
}

static void explain_ca(const struct fault *fault, char *text)
{
    snprintf(text, CDT_OPENSSL_TEXT, "%s may not sign others, and did (%s)", fault->which,
             X509_verify_cert_error_string(fault->error));
}

/* By X509_V_ERR_*; what is not here is NOT_TRUSTED, and from 80 on MALFORMED_CERT. */
static const struct {
    int error, reason;
    void (*explain)(const struct fault *, char *);
} rows[] = {
    {X509_V_ERR_HOSTNAME_MISMATCH, CONDUIT_TLS_WRONG_NAME, explain_name},
    {X509_V_ERR_IP_ADDRESS_MISMATCH, CONDUIT_TLS_WRONG_NAME, explain_name},
    {X509_V_ERR_CERT_HAS_EXPIRED, CONDUIT_TLS_EXPIRED, explain_expired},
    {X509_V_ERR_CERT_NOT_YET_VALID, CONDUIT_TLS_NOT_YET_VALID, explain_early},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, CONDUIT_TLS_SELF_SIGNED, explain_self_signed},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, CONDUIT_TLS_UNTRUSTED_ROOT, explain_root},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, CONDUIT_TLS_UNKNOWN_ISSUER, explain_issuer},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, CONDUIT_TLS_UNKNOWN_ISSUER, explain_issuer},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, CONDUIT_TLS_UNKNOWN_ISSUER, explain_issuer},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE, CONDUIT_TLS_BAD_SIGNATURE, explain_other},
    {X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE, CONDUIT_TLS_BAD_SIGNATURE, explain_other},
    {X509_V_ERR_SIGNATURE_ALGORITHM_MISMATCH, CONDUIT_TLS_BAD_SIGNATURE, explain_other},
    {X509_V_ERR_SIGNATURE_ALGORITHM_INCONSISTENCY, CONDUIT_TLS_BAD_SIGNATURE, explain_other},
    {X509_V_ERR_INVALID_PURPOSE, CONDUIT_TLS_WRONG_PURPOSE, explain_purpose},
    {X509_V_ERR_INVALID_CA, CONDUIT_TLS_NOT_A_CA, explain_ca},
    {X509_V_ERR_INVALID_NON_CA, CONDUIT_TLS_NOT_A_CA, explain_ca},
    {X509_V_ERR_KEYUSAGE_NO_CERTSIGN, CONDUIT_TLS_NOT_A_CA, explain_ca},
    {X509_V_ERR_PATH_LENGTH_EXCEEDED, CONDUIT_TLS_PATH_TOO_LONG, explain_long},
    {X509_V_ERR_CERT_CHAIN_TOO_LONG, CONDUIT_TLS_PATH_TOO_LONG, explain_long},
    {X509_V_ERR_PERMITTED_VIOLATION, CONDUIT_TLS_NAME_CONSTRAINT, explain_constraint},
    {X509_V_ERR_EXCLUDED_VIOLATION, CONDUIT_TLS_NAME_CONSTRAINT, explain_constraint},
    {X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE, CONDUIT_TLS_NAME_CONSTRAINT, explain_constraint},
    {X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX, CONDUIT_TLS_NAME_CONSTRAINT, explain_constraint},
    {X509_V_ERR_UNSUPPORTED_NAME_SYNTAX, CONDUIT_TLS_NAME_CONSTRAINT, explain_constraint},
    {X509_V_ERR_SUBTREE_MINMAX, CONDUIT_TLS_NAME_CONSTRAINT, explain_constraint},
    {X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION, CONDUIT_TLS_CRITICAL_UNKNOWN, explain_other},
    {X509_V_ERR_EE_KEY_TOO_SMALL, CONDUIT_TLS_WEAK_KEY, explain_key},
    {X509_V_ERR_CA_KEY_TOO_SMALL, CONDUIT_TLS_WEAK_KEY, explain_key},
    {X509_V_ERR_CA_MD_TOO_WEAK, CONDUIT_TLS_WEAK_DIGEST, explain_digest},
    {X509_V_ERR_CERT_REVOKED, CONDUIT_TLS_REVOKED, explain_revoked},
    {X509_V_ERR_UNABLE_TO_GET_CRL, CONDUIT_TLS_NO_CRL, explain_no_crl},
    {X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER, CONDUIT_TLS_NO_CRL, explain_no_crl},
    {X509_V_ERR_CRL_HAS_EXPIRED, CONDUIT_TLS_CRL_UNFIT, explain_crl},
    {X509_V_ERR_CRL_NOT_YET_VALID, CONDUIT_TLS_CRL_UNFIT, explain_crl},
    {X509_V_ERR_CRL_SIGNATURE_FAILURE, CONDUIT_TLS_CRL_UNFIT, explain_crl},
    {X509_V_ERR_KEYUSAGE_NO_CRL_SIGN, CONDUIT_TLS_CRL_UNFIT, explain_crl},
    {X509_V_ERR_DIFFERENT_CRL_SCOPE, CONDUIT_TLS_CRL_UNFIT, explain_crl},
    {X509_V_ERR_DANE_NO_MATCH, CONDUIT_TLS_DANE_MISMATCH, explain_dane},
    {X509_V_ERR_EXTENSIONS_REQUIRE_VERSION_3, CONDUIT_TLS_MALFORMED_CERT, explain_other},
    {X509_V_ERR_INVALID_EXTENSION, CONDUIT_TLS_MALFORMED_CERT, explain_other},
    {X509_V_ERR_INVALID_POLICY_EXTENSION, CONDUIT_TLS_MALFORMED_CERT, explain_other},
};

static int reason_of_rest(int error)
{
    bool strict = error >= X509_V_ERR_PATHLEN_INVALID_FOR_NON_CA &&
                  error <= X509_V_ERR_EC_KEY_EXPLICIT_PARAMS;
    return strict ? CONDUIT_TLS_MALFORMED_CERT : CONDUIT_TLS_NOT_TRUSTED;
}

/* That it has no names at all is another mistake than to have others. */
static bool is_nameless(const X509 *cert)
{
    char sans[MAX_SANS];
    cdt_openssl_print_sans(cert, true, 1, sans, sizeof(sans));
    return sans[0] == '\0';
}

int cdt_openssl_explain(const struct cdt_openssl_session *session, X509_STORE_CTX *store,
                        char *text)
{
    struct fault fault = {.session = session,
                          .store = store,
                          .cert = X509_STORE_CTX_get_current_cert(store),
                          .error = X509_STORE_CTX_get_error(store),
                          .depth = X509_STORE_CTX_get_error_depth(store)};
    if (fault.cert == NULL)
        fault.cert = X509_STORE_CTX_get0_cert(store);
    print_which(&fault);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].error != fault.error)
            continue;
        rows[i].explain(&fault, text);
        bool nameless = rows[i].reason == CONDUIT_TLS_WRONG_NAME && is_nameless(fault.cert);
        return nameless ? CONDUIT_TLS_NAMELESS : rows[i].reason;
    }
    explain_other(&fault, text);
    return reason_of_rest(fault.error);
}
