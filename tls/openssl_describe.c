/* SPDX-License-Identifier: ISC */
/* What there is to know about an open session: conduit_tls_info. It is asked for, if at all, once
 * per connection, and all of it is made then. */
#include "openssl.h"
#include "tls.h"
#include <conduit/memory.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

bool cdt_openssl_fingerprint(const X509 *cert, char text[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    text[0] = '\0';
    if (X509_digest(cert, EVP_sha256(), digest, &n) != 1 || n != 32)
        return false;
    for (unsigned i = 0; i < n; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return true;
}

/* As it was verified; of a resumed session OpenSSL keeps the peer's own alone. */
static char *print_chain(const SSL *ssl, const X509 *own)
{
    const cdt_openssl_certs *chain = SSL_get0_verified_chain(ssl);
    BIO *out = BIO_new(BIO_s_mem());
    char *bytes, *text = NULL;
    bool fine = out != NULL;
    if (fine && sk_X509_num(chain) <= 0)
        fine = PEM_write_bio_X509(out, (X509 *)(uintptr_t)own) == 1;
    for (int i = 0; fine && i < sk_X509_num(chain); i++)
        fine = PEM_write_bio_X509(out, sk_X509_value(chain, i)) == 1;
    long len = fine ? BIO_get_mem_data(out, &bytes) : 0;
    if (len > 0)
        text = conduit_malloc((size_t)len + 1);
    if (text != NULL) {
        memcpy(text, bytes, (size_t)len);
        text[len] = '\0';
    }
    BIO_free(out);
    return text;
}

static void describe_peer(const SSL *ssl, struct cdt_facts *facts)
{
    const X509 *cert = SSL_get0_peer_certificate(ssl);
    if (cert == NULL)
        return;
    cdt_openssl_print_name(X509_get_subject_name(cert), facts->tls_peer, sizeof(facts->tls_peer));
    cdt_openssl_print_sans(cert, false, 100, facts->tls_peer_names, sizeof(facts->tls_peer_names));
    cdt_openssl_fingerprint(cert, facts->tls_fingerprint);
    if (!facts->wants_chain)
        return;
    conduit_free(facts->tls_chain); /* that of TLS below this one */
    facts->tls_chain = print_chain(ssl, cert);
}

/* Of a peer only what it proved; of a client what it asked for. */
static void describe_name(const struct cdt_openssl_session *session, char *text, size_t size)
{
    enum cdt_tls_verify verify = session->credentials->verify;
    const char *name = session->asked;
    if (!session->server)
        name = verify == CDT_VERIFY_FULL || verify == CDT_VERIFY_DANE ? session->name : NULL;
    if (name != NULL)
        cdt_tls_printable(text, size, name, strlen(name));
}

static const char *verify_word(const struct cdt_openssl_session *session)
{
    enum cdt_tls_verify verify = session->credentials->verify;
    bool shown = SSL_get0_peer_certificate(session->ssl) != NULL;
    if (verify != CDT_VERIFY_INSECURE && (!cdt_openssl_verifies(session) || !shown))
        return "none";
    return cdt_tls_verify_word(verify);
}

void cdt_openssl_describe(const void *arg, struct cdt_facts *facts)
{
    const struct cdt_openssl_session *session = arg;
    const SSL *ssl = session->ssl;
    snprintf(facts->tls_version, sizeof(facts->tls_version), "%s", SSL_get_version(ssl));
    snprintf(facts->tls_cipher, sizeof(facts->tls_cipher), "%s", SSL_get_cipher_name(ssl));
    snprintf(facts->tls_verify, sizeof(facts->tls_verify), "%s", verify_word(session));
    describe_name(session, facts->tls_name, sizeof(facts->tls_name));
    describe_peer(ssl, facts);
    snprintf(facts->tls_ocsp, sizeof(facts->tls_ocsp), "%s", session->ocsp_good ? "good" : "");
    facts->tls_resumed = SSL_session_reused(ssl) == 1;
    facts->tls_early = SSL_get_early_data_status(ssl) == SSL_EARLY_DATA_ACCEPTED;
}
