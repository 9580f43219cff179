/* SPDX-License-Identifier: ISC */
/*
 * Whom to believe: the trust store, the name that is to be proved, and why a certificate was turned
 * away.
 *
 * The system's store is loaded once for a context, when its first client needs it, from where this
 * OpenSSL was built to look, and from nowhere that the environment says. A store without
 * authorities is an error of its own: with it every peer would seem a fraud.
 *
 * Names are matched as RFC 9525 has it: against subjectAltName only, never the CN; an address
 * against addresses.
 */
#include "openssl.h"
#include "tls.h"
#include <arpa/inet.h>
#include <conduit/memory.h>
#include <dirent.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_TEXT = 640, MAX_SANS = 256, MAX_NAME = 128, SHOWN_SANS = 3 };

/* ---- the system's trust store ---- */

/* OpenSSL finds certificates in a directory by the hash of their subject: "062cdee6.0". */
static bool is_hashed_name(const char *name)
{
    return strspn(name, "0123456789abcdef") == 8 && name[8] == '.' && name[9] >= '0' &&
           name[9] <= '9';
}

/* A directory is read when a certificate is looked for; that it can be opened says nothing about
 * what is in it. */
static bool holds_certs(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return false;
    const struct dirent *entry = readdir(dir);
    while (entry != NULL && !is_hashed_name(entry->d_name))
        entry = readdir(dir);
    closedir(dir);
    return entry != NULL;
}

/* Where the bundle lies in that directory (Debian) it is the same certificates once more, and
 * reading all of them takes longer than a connect. */
static bool lies_in(const char *file, const char *dir)
{
    char *real_file = realpath(file, NULL), *real_dir = realpath(dir, NULL);
    size_t len = real_dir != NULL ? strlen(real_dir) : 0;
    bool in = real_file != NULL && len > 0 && strncmp(real_file, real_dir, len) == 0 &&
              real_file[len] == '/' && strchr(real_file + len + 1, '/') == NULL;
    free(real_file);
    free(real_dir);
    return in;
}

static X509_STORE *load_system_store(void)
{
    const char *file = X509_get_default_cert_file();
    const char *dir = X509_get_default_cert_dir();
    X509_STORE *store = X509_STORE_new();
    if (store == NULL)
        return NULL;
    bool from_dir = holds_certs(dir) && X509_STORE_load_path(store, dir) == 1;
    bool enough = from_dir && lies_in(file, dir);
    bool from_file = !enough && X509_STORE_load_file(store, file) == 1;
    ERR_clear_error();
    if (from_dir || from_file)
        return store;
    X509_STORE_free(store);
    return NULL;
}

static int use_system_store(struct cdt_openssl_session *session, struct cdt_openssl_shared *shared)
{
    if (shared->trust == NULL)
        shared->trust = load_system_store();
    if (shared->trust == NULL)
        return cdt_tls_fail(session->tls, CONDUIT_ETLS, NULL, 0,
                            "the system has no trust store (neither %s nor %s holds a "
                            "certificate): say which authorities to trust (ca)",
                            X509_get_default_cert_file(), X509_get_default_cert_dir());
    if (SSL_set1_verify_cert_store(session->ssl, shared->trust) != 1)
        return cdt_openssl_fail(session);
    return 0;
}

/* ---- why a certificate was turned away ---- */

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

static void print_day(const ASN1_TIME *at, char *text, size_t size)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(at, &tm) != 1 || strftime(text, size, "%Y-%m-%d", &tm) == 0)
        snprintf(text, size, "an unreadable date");
}

/* A DNS name or address of a subjectAltName, quoted; false for other kinds. */
static bool print_san(const GENERAL_NAME *san, char *text, size_t size)
{
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(san, &type);
    const unsigned char *bytes = ASN1_STRING_get0_data(value);
    int len = ASN1_STRING_length(value);
    char name[MAX_NAME];
    if (type == GEN_DNS)
        cdt_tls_printable(name, sizeof(name), bytes, (size_t)len);
    else if (type != GEN_IPADD || (len != 4 && len != 16) ||
             inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, name, sizeof(name)) == NULL)
        return false;
    snprintf(text, size, "\"%s\"", name);
    return true;
}

/* "a", "b" and 5 more; "" if there are none. */
static void print_sans(const X509 *cert, char *text, size_t size)
{
    size_t end = 0;
    int shown = 0, more = 0;
    char san[MAX_NAME + 2];
    GENERAL_NAMES *sans = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    text[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(sans); i++) {
        if (!print_san(sk_GENERAL_NAME_value(sans, i), san, sizeof(san)))
            continue;
        if (shown == SHOWN_SANS || end + strlen(san) + sizeof(", and 1000000 more") > size) {
            more++;
            continue;
        }
        end += (size_t)snprintf(text + end, size - end, "%s%s", shown++ > 0 ? ", " : "", san);
    }
    GENERAL_NAMES_free(sans);
    if (more > 0)
        snprintf(text + end, size - end, " and %d more", more);
}

static void explain_name(const X509 *cert, const char *name, char *text)
{
    char sans[MAX_SANS];
    print_sans(cert, sans, sizeof(sans));
    if (sans[0] != '\0')
        snprintf(text, MAX_TEXT, "certificate is for %s, not \"%s\"", sans, name);
    else
        snprintf(text, MAX_TEXT, "certificate is for nobody (no subjectAltName), not \"%s\"", name);
}

static void explain_authority(const X509 *cert, char *text)
{
    char issuer[MAX_NAME];
    cdt_openssl_print_name(X509_get_issuer_name(cert), issuer, sizeof(issuer));
    snprintf(text, MAX_TEXT,
             "certificate was issued by an authority that is not in the trust store (issuer %s)",
             issuer);
}

/* Which one of the chain: "certificate" is the peer's own. */
static void print_which(const X509 *cert, int depth, char *text, size_t size)
{
    char subject[MAX_NAME];
    cdt_openssl_print_name(X509_get_subject_name(cert), subject, sizeof(subject));
    if (depth == 0)
        snprintf(text, size, "certificate");
    else
        snprintf(text, size, "its issuer's certificate (%s)", subject);
}

static void explain(const X509 *cert, int error, int depth, const char *name, char *text)
{
    char which[MAX_NAME + 32], day[32];
    print_which(cert, depth, which, sizeof(which));
    switch (error) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        explain_name(cert, name, text);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        print_day(X509_get0_notAfter(cert), day, sizeof(day));
        snprintf(text, MAX_TEXT, "%s has expired (on %s)", which, day);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        print_day(X509_get0_notBefore(cert), day, sizeof(day));
        snprintf(text, MAX_TEXT, "%s is not valid yet (before %s)", which, day);
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        snprintf(text, MAX_TEXT, "certificate is self-signed and not in the trust store");
        break;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        explain_authority(cert, text);
        break;
    default:
        snprintf(text, MAX_TEXT, "%s was not accepted: %s", which,
                 X509_verify_cert_error_string(error));
    }
}

/* OpenSSL asks at each certificate of the chain. The first fault is the answer; the certificate is
 * gone when the handshake fails, so the line about it is made here. */
static int judge(int fine, X509_STORE_CTX *store)
{
    if (fine)
        return 1;
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    const X509 *cert = X509_STORE_CTX_get_current_cert(store);
    struct cdt_openssl_session *session = cdt_openssl_session_of(ssl);
    session->distrust = X509_STORE_CTX_get_error(store);
    if (session->distrust_text == NULL)
        session->distrust_text = conduit_malloc(MAX_TEXT);
    if (session->distrust_text != NULL && cert != NULL)
        explain(cert, session->distrust, X509_STORE_CTX_get_error_depth(store), session->name,
                session->distrust_text);
    else if (session->distrust_text != NULL)
        snprintf(session->distrust_text, MAX_TEXT, "certificate was not accepted: %s",
                 X509_verify_cert_error_string(session->distrust));
    return 0;
}

/* ---- the session ---- */

bool cdt_openssl_verifies(const struct cdt_openssl_session *session)
{
    const struct cdt_openssl_credentials *credentials = session->credentials;
    return !credentials->insecure && (!session->server || credentials->own_trust);
}

static int demand_name(struct cdt_openssl_session *session, bool numeric)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(session->ssl);
    if (*session->name == '\0')
        return cdt_tls_fail(session->tls, CONDUIT_EINVAL, NULL, 0,
                            "whom is the peer to prove to be? Say so (name), or do not verify "
                            "(verify=insecure)");
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    int set = numeric ? X509_VERIFY_PARAM_set1_ip_asc(param, session->name)
                      : X509_VERIFY_PARAM_set1_host(param, session->name, 0);
    return set == 1 ? 0 : cdt_openssl_fail(session);
}

int cdt_openssl_demand(struct cdt_openssl_session *session, struct cdt_openssl_shared *shared,
                       bool numeric)
{
    if (!cdt_openssl_verifies(session)) {
        SSL_set_verify(session->ssl, SSL_VERIFY_NONE, NULL);
        return 0;
    }
    SSL_set_verify(session->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, judge);
    if (session->server)
        return 0;
    int code = demand_name(session, numeric);
    if (code == 0 && !session->credentials->own_trust)
        code = use_system_store(session, shared);
    return code;
}

int cdt_openssl_accept(struct cdt_openssl_session *session)
{
    if (!cdt_openssl_verifies(session))
        return 0;
    long result = SSL_get_verify_result(session->ssl);
    if (result != X509_V_OK)
        return cdt_tls_fail(session->tls, CONDUIT_ETRUST, "X509", result,
                            "certificate was not accepted: %s",
                            X509_verify_cert_error_string(result));
    if (SSL_get0_peer_certificate(session->ssl) == NULL)
        return cdt_tls_fail(session->tls, CONDUIT_ETRUST, NULL, 0,
                            "the peer showed no certificate");
    return 0;
}
