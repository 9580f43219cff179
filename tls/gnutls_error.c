/* SPDX-License-Identifier: ISC */
/*
 * What went wrong, in words, and the alert that tells the peer: GnuTLS sends none by itself.
 *
 * The order in which it is asked for matters, for one brings others with it: the layer below
 * failed; the peer's certificate was turned away; the peer said why it gives up; the peer was gone
 * in the middle; and all that GnuTLS found wrong itself.
 */
#include "gnutls.h"
#include "tls.h"
#include <string.h>

/* GnuTLS's own errors that are worth better words. */
static const struct {
    int error, reason;
    const char *text;
} rows[] = {
    {GNUTLS_E_UNSUPPORTED_VERSION_PACKET, CONDUIT_TLS_NO_COMMON_VERSION,
     "no TLS version in common with the peer"},
    {GNUTLS_E_NO_CIPHER_SUITES, CONDUIT_TLS_NO_COMMON_CIPHER,
     "no cipher suite in common with the peer (suites, or a certificate for those that it has)"},
    {GNUTLS_E_INSUFFICIENT_CREDENTIALS, CONDUIT_TLS_NO_COMMON_CIPHER,
     "no cipher suite in common with the peer (suites, or a certificate for those that it has)"},
    {GNUTLS_E_NO_COMMON_KEY_SHARE, CONDUIT_TLS_NO_COMMON_GROUP,
     "no group for the key exchange in common with the peer"},
    {GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM, CONDUIT_TLS_NO_COMMON_SIGALG,
     "no signature algorithm in common with the peer"},
    {GNUTLS_E_NO_CERTIFICATE_FOUND, CONDUIT_TLS_NO_PEER_CERT,
     "the peer showed no certificate, and one is demanded (ca, client_cert)"},
    {GNUTLS_E_CERTIFICATE_REQUIRED, CONDUIT_TLS_NO_PEER_CERT,
     "the peer showed no certificate, and one is demanded (ca, client_cert)"},
    {GNUTLS_E_DECRYPTION_FAILED, CONDUIT_TLS_DAMAGED,
     "what came was damaged on the way (bad record MAC)"},
    {GNUTLS_E_REHANDSHAKE, CONDUIT_TLS_PROTOCOL,
     "the peer wants to renegotiate, which is not done here"},
    {GNUTLS_E_MEMORY_ERROR, CONDUIT_TLS_MEMORY, "out of memory"},
};

/* Records of TLS begin with their kind: a handshake (22), or an alert (21). */
static bool is_tls(const struct cdt_gnutls_session *session)
{
    return session->n_first == 0 || session->first[0] == 22 || session->first[0] == 21;
}

static int fail_not_tls(const struct cdt_gnutls_session *session)
{
    static const char *const methods[] = {"GET ", "HEAD", "POST", "PUT ", "DELE", "OPTI"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (session->start.server && memcmp(session->first, methods[i], 4) == 0)
            return cdt_tls_fail(session->tls, CONDUIT_TLS_NOT_TLS, NULL, 0,
                                "the peer does not speak TLS (it sent a plain HTTP request)");
    return cdt_tls_fail(session->tls, CONDUIT_TLS_NOT_TLS, NULL, 0, "the peer does not speak TLS");
}

static int fail_ended(const struct cdt_gnutls_session *session)
{
    if (session->open)
        return cdt_tls_fail(session->tls, CONDUIT_TLS_TRUNCATED, NULL, 0,
                            "the peer ended the stream without close_notify");
    return cdt_tls_fail(session->tls, CONDUIT_TLS_CLOSED, NULL, 0,
                        "the peer closed the connection during the handshake");
}

static int fail_own(const struct cdt_gnutls_session *session, int error)
{
    const struct cdt_tls_start *start = &session->start;
    if (error == GNUTLS_E_NO_APPLICATION_PROTOCOL && start->server)
        return cdt_tls_fail_alpn(session->tls, "GnuTLS", error, start->alpn, start->alpn_len,
                                 session->alpn_offer);
    if (error == GNUTLS_E_UNRECOGNIZED_NAME && start->server)
        return cdt_tls_fail(session->tls, CONDUIT_TLS_UNKNOWN_NAME, "GnuTLS", error,
                            "the client asked for \"%s\", and there is no certificate for it",
                            session->asked);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].error == error)
            return cdt_tls_fail(session->tls, rows[i].reason, "GnuTLS", error, "%s", rows[i].text);
    return cdt_tls_fail(session->tls, CONDUIT_TLS_PROTOCOL, "GnuTLS", error, "%s",
                        gnutls_strerror(error));
}

/* What GnuTLS cannot know, or has another alert for than its peers expect. */
static gnutls_alert_description_t own_alert(const struct cdt_gnutls_session *session, int error)
{
    bool new = gnutls_protocol_get_version(session->tls_session) == GNUTLS_TLS1_3;
    if (error == GNUTLS_E_NO_CERTIFICATE_FOUND || error == GNUTLS_E_CERTIFICATE_REQUIRED)
        return new ? GNUTLS_A_CERTIFICATE_REQUIRED : GNUTLS_A_HANDSHAKE_FAILURE;
    if (session->distrust == CONDUIT_TLS_EXPIRED)
        return GNUTLS_A_CERTIFICATE_EXPIRED;
    if (session->distrust == CONDUIT_TLS_WRONG_PURPOSE)
        return GNUTLS_A_UNSUPPORTED_CERTIFICATE;
    if (session->distrust == CONDUIT_TLS_UNKNOWN_ISSUER ||
        session->distrust == CONDUIT_TLS_SELF_SIGNED)
        return GNUTLS_A_UNKNOWN_CA;
    return GNUTLS_A_BAD_CERTIFICATE;
}

static void send_alert(const struct cdt_gnutls_session *session, int error)
{
    bool certs = error == GNUTLS_E_CERTIFICATE_ERROR || error == GNUTLS_E_NO_CERTIFICATE_FOUND ||
                 error == GNUTLS_E_CERTIFICATE_REQUIRED;
    if (certs)
        gnutls_alert_send(session->tls_session, GNUTLS_AL_FATAL, own_alert(session, error));
    else
        gnutls_alert_send_appropriate(session->tls_session, error);
}

int cdt_gnutls_fail(struct cdt_gnutls_session *session, int error)
{
    const struct cdt_tls_start *start = &session->start;
    if (session->broken < 0)
        return session->broken;
    if (error == GNUTLS_E_FATAL_ALERT_RECEIVED)
        return cdt_tls_fail_alert(session->tls, (int)gnutls_alert_get(session->tls_session),
                                  start->name, start->alpn, start->alpn_len);
    if (session->ended)
        return fail_ended(session);
    send_alert(session, error);
    if (session->distrust != 0 && !session->open)
        return cdt_tls_fail(session->tls, session->distrust, "GnuTLS", error, "%s",
                            session->distrust_text);
    return is_tls(session) ? fail_own(session, error) : fail_not_tls(session);
}
