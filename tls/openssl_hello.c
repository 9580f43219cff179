/* SPDX-License-Identifier: ISC */
/*
 * What a listener makes of the name that a client asks for (SNI).
 *
 * It is looked at in the client hello itself, before OpenSSL has looked for a session to resume:
 * which certificates are shown, whether the client has to show one, and within which bounds a
 * ticket is good all hang on it. A ticket that was made under one name opens nothing under another;
 * else a name that demands no certificate would be the way in to one that does.
 *
 * An exact match counts before a wildcard, and among equals OpenSSL picks by key type.
 */
#include "openssl.h"
#include "tls.h"
#include <conduit/memory.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { MAX_NAME = 253, MAX_ASKED = TLSEXT_MAXLEN_host_name };

/* ---- the name ---- */

/* The host name of a server_name extension (RFC 6066, section 3), or 0. What is malformed OpenSSL
 * refuses by itself, a little later. */
static size_t find_name(const unsigned char *ext, size_t len, const unsigned char **name)
{
    if (len < 5 || ext[2] != TLSEXT_NAMETYPE_host_name)
        return 0;
    size_t list = (size_t)ext[0] << 8 | ext[1];
    size_t n = (size_t)ext[3] << 8 | ext[4];
    if (list != len - 2 || n > len - 5 || n > MAX_ASKED)
        return 0;
    *name = ext + 5;
    return n;
}

/* Into *ret as it is compared: lower-cased, without the root's dot; NULL if there is none. False
 * without memory: who asks for a name must not get what is for those who ask for none. */
static bool read_name(SSL *ssl, char **ret)
{
    const unsigned char *ext, *name;
    size_t len;
    *ret = NULL;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &ext, &len) != 1)
        return true;
    size_t n = find_name(ext, len, &name);
    if (n > 1 && name[n - 1] == '.')
        n--;
    if (n == 0 || memchr(name, '\0', n) != NULL)
        return true;
    char *copy = conduit_malloc(n + 1);
    if (copy == NULL) {
        ERR_raise(ERR_LIB_SSL, ERR_R_MALLOC_FAILURE);
        return false;
    }
    for (size_t i = 0; i < n; i++)
        copy[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + ('a' - 'A') : name[i]);
    copy[n] = '\0';
    *ret = copy;
    return true;
}

/* ---- certificates ---- */

bool cdt_openssl_serves(const X509 *cert, const char *name, bool exactly)
{
    unsigned flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
    if (exactly)
        flags |= X509_CHECK_FLAG_NO_WILDCARDS;
    union {
        const X509 *in;
        X509 *out; /* it is only read, but for what OpenSSL remembers of its extensions */
    } same = {.in = cert};
    return *name != '\0' && *name != '.' && X509_check_host(same.out, name, 0, flags, NULL) == 1;
}

/* Show all that serve the name. How many did, or -1. */
static int use_certs(SSL *ssl, const struct cdt_openssl_credentials *credentials, const char *name,
                     bool exactly)
{
    int n = 0;
    for (size_t i = 0; i < credentials->n_identities; i++) {
        const struct cdt_openssl_identity *identity = &credentials->identities[i];
        if (!cdt_openssl_serves(identity->cert, name, exactly))
            continue;
        if (n++ == 0)
            SSL_certs_clear(ssl);
        if (SSL_use_cert_and_key(ssl, identity->cert, identity->key, identity->chain, 0) == 1)
            continue;
        if (ERR_GET_REASON(ERR_peek_last_error()) != SSL_R_NOT_REPLACING_CERTIFICATE)
            return -1;
        ERR_clear_error(); /* the first of a type is the one */
    }
    return n;
}

/* All that there are may be on the SSL_CTX anyway: nothing has to be looked for then. */
static bool only_one(const struct cdt_openssl_credentials *credentials)
{
    for (size_t i = 0; i < credentials->n_identities; i++)
        if (!credentials->identities[i].fallback)
            return false;
    return !credentials->sni_strict;
}

/* True: certificates for the name are in place, or those for everybody will do. */
static bool choose_certs(SSL *ssl, struct cdt_openssl_session *session)
{
    const struct cdt_openssl_credentials *credentials = session->credentials;
    if (session->asked == NULL || only_one(credentials))
        return true;
    int n = use_certs(ssl, credentials, session->asked, true);
    if (n == 0)
        n = use_certs(ssl, credentials, session->asked, false);
    session->unknown_name = n == 0 && credentials->sni_strict;
    return n >= 0 && !session->unknown_name;
}

/* ---- client certificates ---- */

static bool policy_fits(const struct cdt_openssl_policy *policy, const char *name)
{
    if (policy->name[0] == '\0' || name == NULL)
        return policy->name[0] == '\0';
    const char *dot = strchr(name, '.');
    if (policy->name[0] == '*')
        return dot != NULL && strcasecmp(policy->name + 1, dot) == 0;
    return strcasecmp(policy->name, name) == 0;
}

/* The more a policy says about the name the more it counts: 3 the name, 2 a wildcard, 1 all. */
static int weight(const struct cdt_openssl_policy *policy)
{
    return policy->name[0] == '\0' ? 1 : policy->name[0] == '*' ? 2 : 3;
}

static bool has_anchors(const struct cdt_openssl_credentials *credentials)
{
    return credentials->own_trust || credentials->system_trust || credentials->n_pins > 0;
}

enum cdt_tls_demand cdt_openssl_demand_of(const struct cdt_openssl_credentials *credentials,
                                          const char *name)
{
    const struct cdt_openssl_policy *best = NULL;
    for (size_t i = 0; i < credentials->n_policies; i++) {
        const struct cdt_openssl_policy *policy = &credentials->policies[i];
        if (policy_fits(policy, name) && (best == NULL || weight(policy) >= weight(best)))
            best = policy;
    }
    if (best != NULL)
        return best->demand;
    return has_anchors(credentials) ? CDT_DEMAND_REQUIRE : CDT_DEMAND_NONE;
}

/* A host name, perhaps with a wildcard for its first label. */
static bool is_pattern(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t len = strlen(name);
    const char *rest = strncmp(name, "*.", 2) == 0 ? name + 2 : name;
    return *rest != '\0' && *rest != '.' && len <= MAX_NAME && strstr(rest, "..") == NULL &&
           strspn(rest, allowed) == strlen(rest);
}

/* Without the root's dot, as names are compared. */
static void take_pattern(struct cdt_openssl_policy *policy, const char *name)
{
    size_t len = strlen(name);
    if (name[len - 1] == '.')
        len--;
    snprintf(policy->name, sizeof(policy->name), "%.*s", (int)len, name);
}

/* The one for the same name, of which the last word counts, or a new one. */
static struct cdt_openssl_policy *place_for(struct cdt_openssl_credentials *credentials,
                                            const struct cdt_openssl_policy *made)
{
    for (size_t i = 0; i < credentials->n_policies; i++)
        if (strcasecmp(credentials->policies[i].name, made->name) == 0)
            return &credentials->policies[i];
    return cdt_openssl_grow(&credentials->policies, &credentials->n_policies, sizeof(*made));
}

int cdt_openssl_set_client_cert(struct cdt_openssl_credentials *credentials, const char *value,
                                const conduit_error **reterr)
{
    const char *at = strchr(value, '@');
    int demand = cdt_tls_parse_demand(value, reterr);
    if (demand < 0)
        return demand;
    if (at != NULL && !is_pattern(at + 1))
        return cdt_tls_refuse_demand(value, reterr);
    struct cdt_openssl_policy made = {.demand = (enum cdt_tls_demand)demand};
    if (at != NULL)
        take_pattern(&made, at + 1);
    struct cdt_openssl_policy *place = cdt_openssl_note_trust(credentials, value, strlen(value))
                                           ? place_for(credentials, &made)
                                           : NULL;
    if (place == NULL)
        return cdt_openssl_refuse_memory(reterr);
    *place = made;
    return 0;
}

/* ---- the hello ---- */

/* Within which bounds tickets are good: one configuration, one name. */
static bool set_bounds(SSL *ssl, const struct cdt_openssl_session *session)
{
    unsigned char both[32 + MAX_ASKED], digest[SHA256_DIGEST_LENGTH];
    const char *name = session->asked != NULL ? session->asked : "";
    memcpy(both, session->credentials->trust_digest, 32);
    memcpy(both + 32, name, strlen(name));
    return EVP_Digest(both, 32 + strlen(name), digest, NULL, EVP_sha256(), NULL) == 1 &&
           SSL_set_session_id_context(ssl, digest, sizeof(digest)) == 1;
}

int cdt_openssl_on_hello(SSL *ssl, int *alert, void *arg)
{
    struct cdt_openssl_session *session = cdt_openssl_session_of(ssl);
    conduit_free(session->asked);
    *alert = SSL_AD_INTERNAL_ERROR;
    if (!read_name(ssl, &session->asked))
        return SSL_CLIENT_HELLO_ERROR;
    if (!choose_certs(ssl, session)) {
        if (session->unknown_name)
            *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_CLIENT_HELLO_ERROR;
    }
    if (cdt_openssl_demand(session) < 0 || !set_bounds(ssl, session))
        return SSL_CLIENT_HELLO_ERROR;
    return SSL_CLIENT_HELLO_SUCCESS;
}
