/* SPDX-License-Identifier: ISC */
/* OCSP responses with dates of our own: one that has run out proves nothing, and is not served. */
#include "meeting.h"
#include <conduit/openssl.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>

static EVP_PKEY *key_of(const char *name)
{
    BIO *in = BIO_new_file(file(name), "r");
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    BIO_free(in);
    return key;
}

static X509 *cert_of(const char *name)
{
    BIO *in = BIO_new_file(file(name), "r");
    X509 *cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
    BIO_free(in);
    return cert;
}

/* A response that says "good" of the server, signed by its authority, from ten days ago until
 * `days` from now, in `der`. */
static int make_response(long days, unsigned char **der)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    X509 *cert = cert_of("server.pem"), *ca = cert_of("ca.pem");
    EVP_PKEY *key = key_of("ca.key");
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, cert, ca);
    ASN1_TIME *from = X509_gmtime_adj(NULL, -10 * 86400L);
    ASN1_TIME *until = X509_gmtime_adj(NULL, days * 86400);
    OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, NULL, from, until);
    cr_assert_eq(OCSP_basic_sign(basic, ca, key, EVP_sha256(), NULL, 0), 1);
    OCSP_RESPONSE *response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    int len = i2d_OCSP_RESPONSE(response, der);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    X509_free(cert);
    X509_free(ca);
    EVP_PKEY_free(key);
    return len;
}

static int serve_response(SSL *ssl, void *days)
{
    unsigned char *der = NULL;
    int len = make_response(*(long *)days, &der);
    SSL_set_tlsext_status_ocsp_resp(ssl, der, len);
    return SSL_TLSEXT_ERR_OK;
}

/* We would not serve it ourselves. */
static int serve_old(struct ssl_ctx_st *ctx, void *days)
{
    SSL_CTX_set_tlsext_status_cb(ctx, serve_response);
    SSL_CTX_set_tlsext_status_arg(ctx, days);
    return 0;
}

static void write_response(const char *path, long days)
{
    unsigned char *der = NULL;
    int len = make_response(days, &der);
    FILE *out = fopen(path, "w");
    cr_assert_not_null(out);
    fwrite(der, 1, (size_t)len, out);
    fclose(out);
    OPENSSL_free(der);
}

CDT_TEST(tls_staple, a_response_that_has_run_out_is_not_served_and_proves_nothing)
{
    static const struct {
        long days;
        const char *ocsp;
        int reason;
        const char *told;
    } rows[] = {
        {1, "require", 0, "good"},
        {-1, "require", CONDUIT_TLS_STAPLE_BAD, NULL},
        {-1, "ask", 0, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        long days = rows[i].days;
        conduit_tls *client = make_config("ca.pem", NULL, "ocsp", rows[i].ocsp);
        conduit_tls *server = make_config(NULL, "stapled", NULL, NULL);
        cr_assert_eq(conduit_tls_set_openssl(server, serve_old, &days), 0);
        struct meeting *meeting = meet_with(client, server, "a.example");
        shake_hands(meeting);
        cr_expect_eq(reason(&meeting->client), rows[i].reason, "row %zu: %s", i,
                     why(&meeting->client));
        if (rows[i].told != NULL)
            cr_expect_str_eq(facts_of(&meeting->client).tls_ocsp, rows[i].told, "row %zu", i);
        conduit_tls_unref(client);
        conduit_tls_unref(server);
        part(meeting);
    }
    conduit_tls *server = make_config(NULL, "stapled", NULL, NULL);
    const char *path = cdt_test_path("staple");
    write_response(path, -1);
    refuse(server, "staple", path, CONDUIT_ETLS, "is out of date");
    write_response(path, 1);
    set(server, "staple", path);
    conduit_tls_unref(server);
}
