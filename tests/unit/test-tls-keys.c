/* SPDX-License-Identifier: ISC */
/* What is left of the keys that a handshake exchanged: no secret, and nothing that a program which
 * has a hook in its SSL_CTX could trip over. */
#include "meeting.h"
#include "util.h"
#include <conduit/openssl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

/* Of both ends, the server's second. */
static SSL *sessions[2];

static void on_info(const SSL *ssl, int where, int outcome)
{
    if (where & SSL_CB_HANDSHAKE_DONE)
        sessions[SSL_is_server(ssl)] = cdt_bytes(ssl);
}

static int watch_handshakes(struct ssl_ctx_st *ctx, void *user)
{
    SSL_CTX_set_info_callback(ctx, on_info);
    return 0;
}

/* All that one may ask of a key is answered; with no bytes of it. */
static void expect_empty(EVP_PKEY *key)
{
    unsigned char *bytes = NULL;
    BIO *nowhere = BIO_new(BIO_s_null());
    cr_expect_geq(EVP_PKEY_get_bits(key), 0);
    cr_expect_geq(EVP_PKEY_get_size(key), 0);
    cr_expect_leq(EVP_PKEY_get_security_bits(key), 256);
    cr_expect_eq(EVP_PKEY_get1_encoded_public_key(key, &bytes), 0);
    cr_expect_leq(i2d_PUBKEY(key, NULL), 0);
    cr_expect_leq(i2d_PrivateKey(key, NULL), 0);
    EVP_PKEY_print_public(nowhere, key, 0, NULL);
    EVP_PKEY_print_private(nowhere, key, 0, NULL);
    BIO_free(nowhere);
    EVP_PKEY_free(key);
    ERR_clear_error();
}

static void look_at(SSL *ssl)
{
    EVP_PKEY *key;
    if (SSL_get_tmp_key(ssl, &key) == 1)
        expect_empty(key);
    if (SSL_get_peer_tmp_key(ssl, &key) == 1)
        expect_empty(key);
    ERR_clear_error();
}

static conduit_tls *watched(const char *ca, const char *identity, const char *groups,
                            const char *version)
{
    conduit_tls *tls = make_config(ca, identity, "groups", groups);
    set(tls, "max", version);
    cr_assert_eq(conduit_tls_set_openssl(tls, watch_handshakes, NULL), 0);
    return tls;
}

/* Bytes, new traffic keys where there is such a thing, bytes, and the ends of both sides. */
static void use(struct meeting *meeting, bool updates)
{
    exchange(meeting, 3000, 3000, 1000);
    cr_expect(!updates || SSL_key_update(sessions[0], SSL_KEY_UPDATE_REQUESTED) == 1);
    exchange(meeting, 6000, 6000, 1000);
    for (int i = 0; i < 2; i++)
        look_at(sessions[i]);
    cr_expect_eq(finish_end(&meeting->client), 0);
    cr_expect_eq(read_to_end(&meeting->server), 0);
    cr_expect_eq(finish_end(&meeting->server), 0);
    cr_expect_eq(read_to_end(&meeting->client), 0);
}

CDT_TEST(tls_keys, after_a_handshake_of_any_group_its_keys_are_gone_and_all_else_works)
{
    /* In 1.2 the curve of the certificate has to be among them. */
    static const struct {
        const char *version, *client, *server;
    } rows[] = {
        {"1.3", "P-256", "P-256"},
        {"1.3", "X25519", "X25519"},
        {"1.3", "P-384", "P-384"},
        {"1.3", "P-521", "P-521"},
        {"1.3", "X448", "X448"},
        {"1.3", "ffdhe2048", "ffdhe2048"},
        {"1.3", "X25519:P-384", "P-384"}, /* asked to try again */
        {"1.2", "P-256", "P-256"},
        {"1.2", "X25519:P-256", "X25519:P-256"},
        {"1.2", "P-384:P-256", "P-384:P-256"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool new = strcmp(rows[i].version, "1.3") == 0;
        conduit_tls *client = watched("ca.pem", NULL, rows[i].client, rows[i].version);
        conduit_tls *server = watched(NULL, "server", rows[i].server, rows[i].version);
        struct meeting *first = open_with(client, server, "a.example");
        cr_expect(!facts_of(&first->client).tls_resumed, "row %zu", i);
        use(first, new);
        struct meeting *again = opened(meet_again(first, client, server, "a.example"));
        cr_expect(facts_of(&again->client).tls_resumed, "row %zu", i);
        use(again, new);
        part_again(again);
        part(first);
        conduit_tls_unref(client);
        conduit_tls_unref(server);
    }
}
