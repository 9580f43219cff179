/* SPDX-License-Identifier: ISC */
/*
 * Stapled OCSP responses (RFC 6066, section 8): served as they are in a file, and checked as a
 * client.
 *
 * A response counts if it is signed by the peer's authority or one that it delegated to, is about
 * the peer's certificate, and is of now. "Revoked" always turns the peer away; that there is no
 * response, or none that proves anything, only where one is required: who staples nothing is not
 * asked elsewhere. The session that a resumption continues was checked when it was made.
 */
#include "openssl.h"
#include "tls.h"
#include <conduit/memory.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <string.h>

enum { CLOCK_SKEW_S = 300 };

int cdt_openssl_set_ocsp(struct cdt_openssl_credentials *credentials, const char *value,
                         const conduit_error **reterr)
{
    bool require = strcmp(value, "require") == 0;
    if (!require && strcmp(value, "ask") != 0 && strcmp(value, "no") != 0)
        return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                              "ocsp: \"%s\" is neither ask, require nor no", value);
    credentials->ocsp_require = require;
    credentials->ocsp_ask = require || strcmp(value, "ask") == 0;
    return 0;
}

/* ---- what a response says ---- */

/* The part of `basic` that is about `cert`, or NULL. Its issuer tells which authority's numbers are
 * meant. */
static OCSP_SINGLERESP *find_single(OCSP_BASICRESP *basic, const X509 *cert, const X509 *issuer)
{
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        const OCSP_CERTID *id = OCSP_SINGLERESP_get0_id(single);
        ASN1_OBJECT *digest;
        if (OCSP_id_get0_info(NULL, &digest, NULL, NULL, (OCSP_CERTID *)(uintptr_t)id) != 1)
            continue;
        OCSP_CERTID *ours = OCSP_cert_to_id(EVP_get_digestbyobj(digest), cert, issuer);
        bool same = ours != NULL && OCSP_id_cmp(ours, id) == 0;
        OCSP_CERTID_free(ours);
        if (same)
            return single;
    }
    return NULL;
}

static bool is_current(const OCSP_SINGLERESP *single)
{
    ASN1_GENERALIZEDTIME *from, *until;
    OCSP_single_get0_status((OCSP_SINGLERESP *)(uintptr_t)single, NULL, NULL, &from, &until);
    return OCSP_check_validity(from, until, CLOCK_SKEW_S, -1) == 1;
}

/* ---- serving ---- */

static OCSP_BASICRESP *parse_response(const unsigned char *bytes, size_t len)
{
    const unsigned char *at = bytes;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)len);
    OCSP_BASICRESP *basic = NULL;
    if (response != NULL && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL)
        basic = OCSP_response_get1_basic(response);
    OCSP_RESPONSE_free(response);
    return basic;
}

/* NULL if it may be served with the certificate. */
static const char *find_fault(const struct cdt_openssl_identity *identity, const char *bytes,
                              size_t len)
{
    if (sk_X509_num(identity->chain) == 0)
        return "the cert's file has to hold its authority, too, so that this can be checked";
    OCSP_BASICRESP *basic = parse_response((const unsigned char *)bytes, len);
    if (basic == NULL)
        return "is no successful OCSP response in DER form";
    const OCSP_SINGLERESP *single =
        find_single(basic, identity->cert, sk_X509_value(identity->chain, 0));
    const char *fault = NULL;
    if (single == NULL)
        fault = "is not about the last cert";
    else if (!is_current(single))
        fault = "is out of date";
    OCSP_BASICRESP_free(basic);
    return fault;
}

int cdt_openssl_set_staple(struct cdt_openssl_credentials *credentials, const char *value,
                           const conduit_error **reterr)
{
    struct cdt_openssl_identity *identity = cdt_openssl_last_identity(credentials);
    struct cdt_file file;
    if (identity == NULL)
        return cdt_tls_refuse(CONDUIT_TLS_ORDER, reterr,
                              "staple \"%s\": the cert that it is about comes first, with its key",
                              value);
    int code = cdt_file_read("staple", value, false, &file, reterr);
    if (code < 0)
        return code;
    const char *fault = find_fault(identity, file.bytes, file.len);
    if (fault != NULL) {
        cdt_file_done(&file);
        return cdt_tls_refuse(CONDUIT_TLS_STAPLE_UNFIT, reterr, "staple \"%s\": %s", value, fault);
    }
    conduit_free(identity->staple);
    identity->staple = (unsigned char *)file.bytes;
    identity->staple_len = file.len;
    return 0;
}

/* One that has run out since would only make clients suspicious. */
static bool is_fresh(const struct cdt_openssl_identity *identity)
{
    OCSP_BASICRESP *basic = parse_response(identity->staple, identity->staple_len);
    if (basic == NULL)
        return false;
    const OCSP_SINGLERESP *single =
        find_single(basic, identity->cert, sk_X509_value(identity->chain, 0));
    bool fresh = single != NULL && is_current(single);
    OCSP_BASICRESP_free(basic);
    return fresh;
}

static int serve(SSL *ssl, const struct cdt_openssl_credentials *credentials)
{
    const X509 *cert = SSL_get_certificate(ssl);
    for (size_t i = 0; i < credentials->n_identities; i++) {
        const struct cdt_openssl_identity *identity = &credentials->identities[i];
        if (identity->staple == NULL || identity->cert != cert || !is_fresh(identity))
            continue;
        unsigned char *copy = OPENSSL_memdup(identity->staple, identity->staple_len);
        if (copy == NULL)
            return SSL_TLSEXT_ERR_ALERT_FATAL;
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)identity->staple_len);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* ---- checking ---- */

/* By the authority itself, which the chain has verified. The chain's other certificates have no say
 * in this, least of all the peer's own. */
static bool is_by_issuer(OCSP_BASICRESP *basic, X509 *issuer)
{
    cdt_openssl_certs *signers = sk_X509_new_null();
    bool signed_by = signers != NULL && sk_X509_push(signers, issuer) > 0 &&
                     OCSP_basic_verify(basic, signers, NULL, OCSP_TRUSTOTHER | OCSP_NOINTERN) == 1;
    sk_X509_free(signers);
    return signed_by;
}

/* 1: good. 0: revoked. -1: proves nothing. */
static int judge(const struct cdt_openssl_session *session, OCSP_BASICRESP *basic)
{
    cdt_openssl_certs *chain = SSL_get0_verified_chain(session->ssl);
    X509_STORE *store = NULL;
    if (sk_X509_num(chain) < 2 || SSL_get0_verify_cert_store(session->ssl, &store) != 1)
        return -1;
    if (store == NULL)
        store = SSL_CTX_get_cert_store(session->credentials->ctx);
    if (!is_by_issuer(basic, sk_X509_value(chain, 1)) &&
        OCSP_basic_verify(basic, chain, store, OCSP_PARTIAL_CHAIN) != 1)
        return -1;
    OCSP_SINGLERESP *single = find_single(basic, sk_X509_value(chain, 0), sk_X509_value(chain, 1));
    if (single == NULL || !is_current(single))
        return -1;
    int status = OCSP_single_get0_status(single, NULL, NULL, NULL, NULL);
    return status == V_OCSP_CERTSTATUS_GOOD ? 1 : status == V_OCSP_CERTSTATUS_REVOKED ? 0 : -1;
}

static int check(struct cdt_openssl_session *session)
{
    const unsigned char *bytes;
    bool require = session->credentials->ocsp_require;
    long len = SSL_get_tlsext_status_ocsp_resp(session->ssl, &bytes);
    if (bytes == NULL || len <= 0) {
        if (require)
            cdt_openssl_distrust(session, CONDUIT_TLS_NO_STAPLE, X509_V_ERR_OCSP_VERIFY_NEEDED,
                                 "the peer stapled no OCSP response, and one is required (ocsp)");
        return !require;
    }
    OCSP_BASICRESP *basic = parse_response(bytes, (size_t)len);
    int verdict = basic != NULL ? judge(session, basic) : -1;
    OCSP_BASICRESP_free(basic);
    ERR_clear_error();
    session->ocsp_good = verdict == 1;
    if (verdict == 0)
        cdt_openssl_distrust(session, CONDUIT_TLS_REVOKED, X509_V_ERR_CERT_REVOKED,
                             "certificate of \"%s\" was revoked, says its OCSP response",
                             session->name);
    else if (verdict < 0 && require)
        cdt_openssl_distrust(session, CONDUIT_TLS_STAPLE_BAD, X509_V_ERR_OCSP_VERIFY_FAILED,
                             "the peer's OCSP response proves nothing (signature, subject or "
                             "date), and one is required (ocsp)");
    return verdict == 1 || (verdict < 0 && !require);
}

int cdt_openssl_on_status(SSL *ssl, void *arg)
{
    struct cdt_openssl_session *session = cdt_openssl_session_of(ssl);
    if (session->server)
        return serve(ssl, session->credentials);
    return check(session);
}
