/* SPDX-License-Identifier: ISC */
/*
 * Is the peer who it has to be?
 *
 * The chain by GnuTLS, to anchors of one's own or the system's, for its purpose and with keys and
 * digests of 112 bits; then the name as RFC 9525 has it, against subjectAltName only; then the
 * pins; then the program's own check. Each can only take away. What was wrong is put into words at
 * once.
 */
#include "gnutls.h"
#include "tls.h"
#include <arpa/inet.h>
#include <conduit/memory.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { MAX_NAME = 256, MAX_SANS = 512, SHOWN_SANS = 3 };

enum cdt_tls_demand cdt_gnutls_demand_of(const struct cdt_gnutls_session *session)
{
    const struct cdt_gnutls_credentials *credentials = session->credentials;
    bool anchors = credentials->own_trust || credentials->system_trust || credentials->n_pins > 0;
    if (credentials->verify == CDT_VERIFY_INSECURE)
        return CDT_DEMAND_NONE;
    if (!session->start.server)
        return CDT_DEMAND_REQUIRE;
    if (credentials->demand != CDT_DEMAND_DEFAULT)
        return credentials->demand;
    return anchors ? CDT_DEMAND_REQUIRE : CDT_DEMAND_NONE;
}

CONDUIT_PRINTF(3, 4)
static bool distrust(struct cdt_gnutls_session *session, int reason, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    session->distrust = reason;
    vsnprintf(session->distrust_text, sizeof(session->distrust_text), format, args);
    va_end(args);
    return false;
}

/* ---- certificates ---- */

unsigned cdt_gnutls_peer_certs(gnutls_session_t tls_session,
                               gnutls_x509_crt_t certs[CDT_GNUTLS_CHAIN])
{
    unsigned there = 0, n = 0;
    const gnutls_datum_t *raw = gnutls_certificate_get_peers(tls_session, &there);
    for (unsigned i = 0; raw != NULL && i < there && n < CDT_GNUTLS_CHAIN; i++) {
        if (gnutls_x509_crt_init(&certs[n]) < 0)
            break;
        n++;
        if (gnutls_x509_crt_import(certs[n - 1], &raw[i], GNUTLS_X509_FMT_DER) == 0)
            continue;
        gnutls_x509_crt_deinit(certs[--n]);
        break;
    }
    return n;
}

void cdt_gnutls_print_subject(gnutls_x509_crt_t cert, char *text, size_t size)
{
    gnutls_datum_t name = {0};
    text[0] = '\0';
    if (gnutls_x509_crt_get_dn3(cert, &name, 0) < 0)
        return;
    cdt_tls_printable(text, size, name.data, name.size);
    gnutls_free(name.data);
}

/* What people call it: the common name, if there is one. */
static void print_short_name(gnutls_x509_crt_t cert, bool issuer, char *text, size_t size)
{
    char name[MAX_NAME];
    size_t len = sizeof(name);
    gnutls_datum_t whole = {0};
    int error =
        issuer ? gnutls_x509_crt_get_issuer_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name,
                                                      &len)
               : gnutls_x509_crt_get_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &len);
    text[0] = '\0';
    if (error == 0) {
        cdt_tls_printable(text, size, name, len);
        return;
    }
    if ((issuer ? gnutls_x509_crt_get_issuer_dn3(cert, &whole, 0)
                : gnutls_x509_crt_get_dn3(cert, &whole, 0)) < 0)
        return;
    cdt_tls_printable(text, size, whole.data, whole.size);
    gnutls_free(whole.data);
}

void cdt_gnutls_print_digest(gnutls_x509_crt_t cert, char text[65])
{
    unsigned char digest[32];
    size_t size = sizeof(digest);
    text[0] = '\0';
    if (gnutls_x509_crt_get_fingerprint(cert, GNUTLS_DIG_SHA256, digest, &size) < 0)
        return;
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

/* The kind of a name, which is in `san`; or an error. */
static int get_san(gnutls_x509_crt_t cert, unsigned i, char san[MAX_NAME], size_t *len)
{
    *len = MAX_NAME;
    return gnutls_x509_crt_get_subject_alt_name(cert, i, san, len, NULL);
}

/* A DNS name or address; false for other kinds. */
static bool print_san(int kind, const char *san, size_t len, char *text, size_t size)
{
    if (kind == GNUTLS_SAN_DNSNAME)
        cdt_tls_printable(text, size, san, len);
    else if (kind != GNUTLS_SAN_IPADDRESS || (len != 4 && len != 16) ||
             inet_ntop(len == 4 ? AF_INET : AF_INET6, san, text, (socklen_t)size) == NULL)
        return false;
    return true;
}

void cdt_gnutls_print_sans(gnutls_x509_crt_t cert, bool quoted, char *text, size_t size)
{
    char san[MAX_NAME], name[MAX_NAME];
    size_t len, end = 0;
    unsigned shown = 0, more = 0;
    int kind;
    text[0] = '\0';
    for (unsigned i = 0;
         (kind = get_san(cert, i, san, &len)) != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE &&
         i < MAX_SANS;
         i++) {
        if (!print_san(kind, san, len, name, sizeof(name)))
            continue;
        if ((quoted && shown == SHOWN_SANS) || end + strlen(name) + 32 > size) {
            more++;
            continue;
        }
        const char *type = kind == GNUTLS_SAN_DNSNAME ? "DNS:" : "IP:";
        end += (size_t)snprintf(text + end, size - end, "%s%s%s%s", shown++ > 0 ? ", " : "",
                                quoted ? "\"" : type, name, quoted ? "\"" : "");
    }
    if (more > 0)
        snprintf(text + end, size - end, " and %u more", more);
}

/* ---- the name ---- */

/* Without a DNS name GnuTLS would go by the common name, which is no name of a peer. */
static bool has_dns_name(gnutls_x509_crt_t cert)
{
    char san[MAX_NAME];
    size_t len;
    for (unsigned i = 0; i < MAX_SANS; i++) {
        int kind = get_san(cert, i, san, &len);
        if (kind == GNUTLS_SAN_DNSNAME)
            return true;
        if (kind == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return false;
    }
    return false;
}

/* A wildcard is a whole label, and the rest two at least. In GnuTLS's own comparison "*x.a.example"
 * is also "foox.a.example". */
static bool has_wildcard(gnutls_x509_crt_t cert, const char *name)
{
    const char *rest = strchr(name, '.');
    char san[MAX_NAME];
    size_t len;
    if (rest == NULL || strchr(rest + 1, '.') == NULL)
        return false;
    for (unsigned i = 0; i < MAX_SANS; i++) {
        int kind = get_san(cert, i, san, &len);
        if (kind == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return false;
        if (kind == GNUTLS_SAN_DNSNAME && len == 1 + strlen(rest) && san[0] == '*' &&
            strncasecmp(san + 1, rest, len - 1) == 0)
            return true;
    }
    return false;
}

static bool serves_name(gnutls_x509_crt_t cert, const char *name, bool exactly)
{
    if (has_dns_name(cert) &&
        gnutls_x509_crt_check_hostname2(cert, name, GNUTLS_VERIFY_DO_NOT_ALLOW_WILDCARDS) != 0)
        return true;
    return !exactly && has_wildcard(cert, name);
}

bool cdt_gnutls_serves(gnutls_x509_crt_t cert, const char *name, bool numeric, bool exactly)
{
    unsigned char address[sizeof(struct in6_addr)];
    if (!numeric)
        return serves_name(cert, name, exactly);
    bool old = inet_pton(AF_INET, name, address) == 1;
    if (!old && inet_pton(AF_INET6, name, address) != 1)
        return false;
    return gnutls_x509_crt_check_ip(cert, address, old ? 4 : 16, 0) != 0;
}

static bool verify_name(struct cdt_gnutls_session *session, gnutls_x509_crt_t cert)
{
    const struct cdt_tls_start *start = &session->start;
    char sans[MAX_NAME];
    if (start->server || session->credentials->verify != CDT_VERIFY_FULL ||
        cdt_gnutls_serves(cert, start->name, start->numeric, false))
        return true;
    cdt_gnutls_print_sans(cert, true, sans, sizeof(sans));
    if (sans[0] == '\0')
        return distrust(session, CONDUIT_TLS_NAMELESS,
                        "certificate is for nobody (no subjectAltName), not \"%s\"", start->name);
    return distrust(session, CONDUIT_TLS_WRONG_NAME, "certificate is for %s, not \"%s\"", sans,
                    start->name);
}

/* ---- why a chain was turned away ---- */

/* "certificate of "a.example" expired 3 days ago (2026-11-19)" */
static bool explain_date(struct cdt_gnutls_session *session, int reason, const char *which,
                         time_t at)
{
    time_t now = time(NULL);
    long seconds = (long)(at > now ? at - now : now - at), hours = seconds / 3600;
    char day[32] = "", distance[48];
    struct tm tm;
    if (gmtime_r(&at, &tm) != NULL)
        strftime(day, sizeof(day), "%Y-%m-%d", &tm);
    if (hours >= 24)
        snprintf(distance, sizeof(distance), "%ld day%s", hours / 24, hours < 48 ? "" : "s");
    else if (hours > 0)
        snprintf(distance, sizeof(distance), "%ld hour%s", hours, hours == 1 ? "" : "s");
    else
        snprintf(distance, sizeof(distance), "less than an hour");
    if (reason == CONDUIT_TLS_EXPIRED)
        return distrust(session, reason, "%s expired %s ago (%s)", which, distance, day);
    return distrust(session, reason,
                    "%s is not valid for another %s (from %s): is the clock right?", which,
                    distance, day);
}

/* Which of the chain it is that is out of its time. */
static bool explain_time(struct cdt_gnutls_session *session, int reason, const char *which,
                         const gnutls_x509_crt_t *certs, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char name[MAX_NAME], authority[MAX_NAME + 64];
        bool late = reason == CONDUIT_TLS_EXPIRED;
        time_t at = late ? gnutls_x509_crt_get_expiration_time(certs[i])
                         : gnutls_x509_crt_get_activation_time(certs[i]);
        if (late ? at >= time(NULL) : at <= time(NULL))
            continue;
        print_short_name(certs[i], false, name, sizeof(name));
        snprintf(authority, sizeof(authority), "certificate of the authority \"%.128s\" (depth %u)",
                 name, i);
        return explain_date(session, reason, i == 0 ? which : authority, at);
    }
    return distrust(session, reason, "%s: its chain is out of its time", which);
}

/* Nobody who is known signed. */
static bool explain_issuer(struct cdt_gnutls_session *session, const char *which,
                           const gnutls_x509_crt_t *certs, unsigned n)
{
    const struct cdt_gnutls_credentials *credentials = session->credentials;
    bool system = cdt_gnutls_wants_system(credentials, session->start.server);
    char issuer[128], anchors[64] = "";
    if (system)
        snprintf(anchors, sizeof(anchors), "%ssystem store (%d anchors)",
                 credentials->sources[0] != '\0' ? ", " : "", session->shared->n_system);
    print_short_name(certs[n - 1], true, issuer, sizeof(issuer));
    if (n == 1 && gnutls_x509_crt_check_issuer(certs[0], certs[0]) != 0)
        return distrust(session, CONDUIT_TLS_SELF_SIGNED, "%s is self-signed, and in none of: %s%s",
                        which, credentials->sources, anchors);
    return distrust(session, CONDUIT_TLS_UNKNOWN_ISSUER,
                    "signed by \"%s\", which is in none of: %s%s%s", issuer, credentials->sources,
                    anchors, n == 1 ? " (the peer sent no intermediate)" : "");
}

/* GnuTLS gives all that it found, and the first of these tells most. */
static const struct {
    unsigned status;
    int reason;
    const char *text;
} rows[] = {
    {GNUTLS_CERT_SIGNER_NOT_FOUND, CONDUIT_TLS_UNKNOWN_ISSUER, NULL},
    {GNUTLS_CERT_EXPIRED, CONDUIT_TLS_EXPIRED, NULL},
    {GNUTLS_CERT_NOT_ACTIVATED, CONDUIT_TLS_NOT_YET_VALID, NULL},
    {GNUTLS_CERT_SIGNATURE_FAILURE, CONDUIT_TLS_BAD_SIGNATURE, "its signature is wrong"},
    {GNUTLS_CERT_SIGNER_NOT_CA, CONDUIT_TLS_NOT_A_CA, "its issuer may not sign others"},
    {GNUTLS_CERT_INSECURE_ALGORITHM, CONDUIT_TLS_WEAK_DIGEST,
     "a key or a digest of its chain is too weak"},
    {GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, CONDUIT_TLS_NAME_CONSTRAINT,
     "its authorities may not certify it (name constraints or path length)"},
    {GNUTLS_CERT_UNKNOWN_CRIT_EXTENSIONS, CONDUIT_TLS_CRITICAL_UNKNOWN,
     "a critical extension of its chain is unknown"},
    {GNUTLS_CERT_REVOKED, CONDUIT_TLS_REVOKED, "it was revoked"},
};

static const char *purpose_of_peer(const struct cdt_gnutls_session *session)
{
    return session->start.server ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER;
}

static bool explain_purpose(struct cdt_gnutls_session *session, const char *which,
                            gnutls_x509_crt_t cert)
{
    const char *purpose = session->start.server ? "a TLS client" : "a TLS server";
    if (gnutls_x509_crt_check_key_purpose(cert, purpose_of_peer(session), 0) == 0)
        return distrust(session, CONDUIT_TLS_WRONG_PURPOSE,
                        "%s is not for %s (extendedKeyUsage, keyUsage)", which, purpose);
    return distrust(session, CONDUIT_TLS_WRONG_PURPOSE,
                    "the authorities of the %s may not issue certificates for %s", which, purpose);
}

static bool explain(struct cdt_gnutls_session *session, const gnutls_x509_crt_t *certs, unsigned n,
                    unsigned status)
{
    const char *wanted = session->start.name;
    char name[128], which[160];
    print_short_name(certs[0], false, name, sizeof(name));
    snprintf(which, sizeof(which), "certificate of \"%.128s\"",
             wanted != NULL && *wanted != '\0' ? wanted : name);
    if ((status & GNUTLS_CERT_SIGNER_NOT_FOUND) != 0)
        return explain_issuer(session, which, certs, n);
    if ((status & GNUTLS_CERT_PURPOSE_MISMATCH) != 0)
        return explain_purpose(session, which, certs[0]);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if ((status & rows[i].status) == 0)
            continue;
        if (rows[i].text == NULL)
            return explain_time(session, rows[i].reason, which, certs, n);
        return distrust(session, rows[i].reason, "%s was not accepted: %s", which, rows[i].text);
    }
    return distrust(session, CONDUIT_TLS_NOT_TRUSTED, "%s was not accepted", which);
}

/* ---- the chain ---- */

/* What there is against it, 0 for nothing. */
static unsigned verify_in(gnutls_x509_trust_list_t anchors, const char *purpose,
                          gnutls_x509_crt_t *certs, unsigned n)
{
    union {
        const char *in;
        unsigned char *out; /* it is only read */
    } same = {.in = purpose};
    gnutls_typed_vdata_st data = {.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = same.out};
    unsigned status = 0;
    if (gnutls_x509_trust_list_verify_crt2(anchors, certs, n, &data, 1,
                                           GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM), &status,
                                           NULL) < 0)
        return GNUTLS_CERT_INVALID;
    return status;
}

/* The second list is asked if the first knows nobody who signed. */
static bool verify_chain(struct cdt_gnutls_session *session, gnutls_x509_crt_t *certs, unsigned n)
{
    const struct cdt_gnutls_credentials *credentials = session->credentials;
    const char *purpose = purpose_of_peer(session);
    unsigned status = GNUTLS_CERT_SIGNER_NOT_FOUND;
    if (credentials->own_trust)
        status = verify_in(credentials->anchors, purpose, certs, n);
    if ((status & GNUTLS_CERT_SIGNER_NOT_FOUND) != 0 && session->shared->system != NULL &&
        cdt_gnutls_wants_system(credentials, session->start.server))
        status = verify_in(session->shared->system, purpose, certs, n);
    return status == 0 || explain(session, certs, n, status);
}

/* ---- pins, and the program's own check ---- */

static bool digest_of_key(gnutls_x509_crt_t cert, unsigned char digest[CDT_GNUTLS_PIN])
{
    size_t size = CDT_GNUTLS_PIN;
    return gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, digest, &size) == 0 &&
           size == CDT_GNUTLS_PIN;
}

static bool verify_pin(struct cdt_gnutls_session *session, gnutls_x509_crt_t cert)
{
    const struct cdt_gnutls_credentials *credentials = session->credentials;
    unsigned char digest[CDT_GNUTLS_PIN];
    gnutls_datum_t raw = {.data = digest, .size = sizeof(digest)}, text = {0};
    if (credentials->n_pins == 0)
        return true;
    bool have = digest_of_key(cert, digest);
    for (size_t i = 0; have && i < credentials->n_pins; i++)
        if (memcmp(credentials->pins[i], digest, sizeof(digest)) == 0)
            return true;
    if (have)
        gnutls_base64_encode2(&raw, &text);
    distrust(session, CONDUIT_TLS_PIN_MISMATCH,
             "the peer's key is sha256//%.*s, which is not pinned", (int)text.size,
             text.data != NULL ? (const char *)text.data : "?");
    gnutls_free(text.data);
    return false;
}

gnutls_x509_crt_t cdt_gnutls_find_anchor(const struct cdt_gnutls_session *session,
                                         gnutls_x509_crt_t last)
{
    const gnutls_x509_trust_list_t lists[] = {session->credentials->anchors,
                                              session->shared->system};
    gnutls_x509_crt_t anchor;
    if (gnutls_x509_crt_check_issuer(last, last) != 0)
        return NULL;
    for (size_t i = 0; i < 2; i++)
        if (lists[i] != NULL && gnutls_x509_trust_list_get_issuer(lists[i], last, &anchor, 0) == 0)
            return anchor;
    return NULL;
}

static void add_cert(conduit_tls_peer *peer, const gnutls_datum_t *der)
{
    if (peer->n_certs <= CDT_GNUTLS_CHAIN)
        peer->certs[peer->n_certs++] = (conduit_tls_cert){.der = der->data, .len = der->size};
}

static bool ask_caller(struct cdt_gnutls_session *session, const gnutls_x509_crt_t *certs,
                       unsigned n)
{
    const struct cdt_tls_hooks *hooks = session->credentials->hooks;
    char subject[256], fingerprint[65];
    gnutls_x509_crt_t anchor = cdt_gnutls_find_anchor(session, certs[n - 1]);
    gnutls_datum_t der = {0};
    unsigned there;
    const gnutls_datum_t *sent = gnutls_certificate_get_peers(session->tls_session, &there);
    if (hooks->verify == NULL)
        return true;
    cdt_gnutls_print_subject(certs[0], subject, sizeof(subject));
    cdt_gnutls_print_digest(certs[0], fingerprint);
    conduit_tls_peer peer = {.name = session->start.server ? session->asked : session->start.name,
                             .client = session->start.server,
                             .subject = subject,
                             .fingerprint = fingerprint};
    for (unsigned i = 0; i < n; i++)
        add_cert(&peer, &sent[i]);
    if (anchor != NULL && gnutls_x509_crt_export2(anchor, GNUTLS_X509_FMT_DER, &der) == 0)
        add_cert(&peer, &der);
    bool fine = hooks->verify(hooks->verify_user, &peer);
    gnutls_free(der.data);
    return fine || distrust(session, CONDUIT_TLS_REFUSED_BY_CALLER,
                            "certificate of %s was refused by the program's own check", subject);
}

/* ---- the verdict ---- */

static bool verify_certs(struct cdt_gnutls_session *session, gnutls_x509_crt_t *certs, unsigned n,
                         bool again)
{
    return (session->credentials->verify == CDT_VERIFY_PIN ||
            (verify_chain(session, certs, n) && verify_name(session, certs[0]))) &&
           verify_pin(session, certs[0]) && (again || ask_caller(session, certs, n));
}

/* `again`: it resumes, and the program was asked when it was new. */
static bool verify(struct cdt_gnutls_session *session, bool again)
{
    gnutls_x509_crt_t certs[CDT_GNUTLS_CHAIN];
    unsigned there = 0, n = cdt_gnutls_peer_certs(session->tls_session, certs);
    bool fine = false;
    gnutls_certificate_get_peers(session->tls_session, &there);
    if (there > CDT_GNUTLS_CHAIN)
        distrust(session, CONDUIT_TLS_PATH_TOO_LONG,
                 "the chain has %u certificates, and %d are "
                 "enough",
                 there, CDT_GNUTLS_CHAIN);
    else if (n < there || n == 0)
        distrust(session, CONDUIT_TLS_MALFORMED_CERT, "a certificate of the peer is malformed");
    else
        fine = verify_certs(session, certs, n, again);
    for (unsigned i = 0; i < n; i++)
        gnutls_x509_crt_deinit(certs[i]);
    session->verified = fine;
    return fine;
}

int cdt_gnutls_on_certs(gnutls_session_t tls_session)
{
    struct cdt_gnutls_session *session = gnutls_session_get_ptr(tls_session);
    unsigned n = 0;
    if (gnutls_certificate_get_peers(tls_session, &n) == NULL)
        return 0; /* what that means is said when the handshake is done */
    return verify(session, false) ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

int cdt_gnutls_accept(struct cdt_gnutls_session *session)
{
    enum cdt_tls_demand demand = cdt_gnutls_demand_of(session);
    unsigned there = 0;
    if (demand == CDT_DEMAND_NONE || session->verified)
        return 0;
    const gnutls_datum_t *raw = gnutls_certificate_get_peers(session->tls_session, &there);
    if (raw == NULL && demand == CDT_DEMAND_ASK)
        return 0;
    if (raw == NULL)
        return cdt_gnutls_fail(session, GNUTLS_E_NO_CERTIFICATE_FOUND);
    if (gnutls_session_is_resumed(session->tls_session) != 0 && verify(session, true))
        return 0;
    return cdt_gnutls_fail(session, GNUTLS_E_CERTIFICATE_ERROR);
}
