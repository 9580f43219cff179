/* SPDX-License-Identifier: ISC */
/*
 * What went wrong, in words.
 *
 * There are five kinds of failure, and the order in which they are asked for matters, for one
 * brings others with it: the layer below failed; the peer's certificate was turned away; the peer
 * said why it gives up (an alert); the peer was gone in the middle; and all that OpenSSL found
 * wrong itself.
 */
#include "openssl.h"
#include "tls.h"
#include <openssl/err.h>

/* OpenSSL's own reasons that are worth better words. `early` ones mean something else once TLS was
 * spoken. */
static const struct {
    int openssl;
    bool early;
    int reason;
    const char *text;
} reasons[] = {
    {SSL_R_WRONG_VERSION_NUMBER, true, CONDUIT_TLS_NOT_TLS, "the peer does not speak TLS"},
    {SSL_R_HTTP_REQUEST, true, CONDUIT_TLS_NOT_TLS,
     "the peer does not speak TLS (it sent a plain HTTP request)"},
    {SSL_R_HTTPS_PROXY_REQUEST, true, CONDUIT_TLS_NOT_TLS,
     "the peer does not speak TLS (it sent a plain request to a proxy)"},
    {SSL_R_BAD_RECORD_TYPE, true, CONDUIT_TLS_NOT_TLS, "the peer does not speak TLS"},
    {SSL_R_PACKET_LENGTH_TOO_LONG, true, CONDUIT_TLS_NOT_TLS, "the peer does not speak TLS"},
    {SSL_R_UNSUPPORTED_PROTOCOL, false, CONDUIT_TLS_NO_COMMON_VERSION,
     "no TLS version in common with the peer"},
    {SSL_R_WRONG_SSL_VERSION, false, CONDUIT_TLS_NO_COMMON_VERSION,
     "no TLS version in common with the peer"},
    {SSL_R_VERSION_TOO_LOW, false, CONDUIT_TLS_NO_COMMON_VERSION,
     "no TLS version in common with the peer: it speaks older ones only"},
    {SSL_R_NO_SHARED_CIPHER, false, CONDUIT_TLS_NO_COMMON_CIPHER,
     "no cipher suite in common with the peer (suites, or a certificate for those that it has)"},
    {SSL_R_NO_SUITABLE_KEY_SHARE, false, CONDUIT_TLS_NO_COMMON_GROUP,
     "no group for the key exchange in common with the peer"},
    {SSL_R_NO_SHARED_GROUPS, false, CONDUIT_TLS_NO_COMMON_GROUP,
     "no group for the key exchange in common with the peer"},
    {SSL_R_NO_SUITABLE_GROUPS, false, CONDUIT_TLS_NO_COMMON_GROUP,
     "no group for the key exchange that the TLS versions in question have"},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, false, CONDUIT_TLS_NO_COMMON_SIGALG,
     "no signature algorithm in common with the peer that goes with our certificate"},
    {SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, false, CONDUIT_TLS_NO_COMMON_SIGALG,
     "no signature algorithm in common with the peer"},
    {SSL_R_WRONG_SIGNATURE_TYPE, false, CONDUIT_TLS_NO_COMMON_SIGALG,
     "the peer signed with an algorithm that is not accepted"},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, false, CONDUIT_TLS_NO_PEER_CERT,
     "the peer showed no certificate, and one is demanded (ca, client_cert)"},
    {SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, false, CONDUIT_TLS_DAMAGED,
     "what came was damaged on the way (bad record MAC)"},
};

/* The error that tells most: that memory was short, which brings all kinds of others with it; the
 * first from the TLS code proper; else the first. Empties the queue. */
static unsigned long take_error(void)
{
    unsigned long first = 0, told = 0, memory = 0, error;
    while ((error = ERR_get_error()) != 0) {
        if (first == 0)
            first = error;
        if (told == 0 && ERR_GET_LIB(error) == ERR_LIB_SSL)
            told = error;
        if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE)
            memory = error;
    }
    if (memory != 0)
        return memory;
    return told != 0 ? told : first;
}

static const char *reason_text(unsigned long error)
{
    const char *text = error != 0 ? ERR_reason_error_string(error) : NULL;
    return text != NULL ? text : "no reason given";
}

const char *cdt_openssl_reason(unsigned long *number)
{
    *number = take_error();
    return reason_text(*number);
}

static int fail_trust(const struct cdt_openssl_session *session)
{
    const char *text = session->distrust_text;
    return cdt_tls_fail(session->tls, session->distrust, "X509", session->distrust_number, "%s",
                        text != NULL ? text : conduit_tls_reason_text(session->distrust));
}

static int fail_ended(const struct cdt_openssl_session *session)
{
    if (session->open)
        return cdt_tls_fail(session->tls, CONDUIT_TLS_TRUNCATED, NULL, 0,
                            "the peer ended the stream without close_notify");
    return cdt_tls_fail(session->tls, CONDUIT_TLS_CLOSED, NULL, 0,
                        "the peer closed the connection during the handshake");
}

static int fail_own(const struct cdt_openssl_session *session, unsigned long error)
{
    int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
    long number = (long)error;
    if (session->unknown_name)
        return cdt_tls_fail(session->tls, CONDUIT_TLS_UNKNOWN_NAME, "OpenSSL", number,
                            "the client asked for \"%s\", and there is no certificate for it",
                            session->asked);
    if (reason == SSL_R_NO_APPLICATION_PROTOCOL && session->server)
        return cdt_tls_fail_alpn(session->tls, "OpenSSL", number, session->alpn, session->alpn_len,
                                 session->alpn_offer);
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].openssl == reason && !(reasons[i].early && session->open))
            return cdt_tls_fail(session->tls, reasons[i].reason, "OpenSSL", number, "%s",
                                reasons[i].text);
    return cdt_tls_fail(session->tls, CONDUIT_TLS_PROTOCOL, "OpenSSL", number, "%s",
                        reason_text(error));
}

int cdt_openssl_fail(struct cdt_openssl_session *session)
{
    unsigned long error = take_error();
    int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
    int alert = reason - SSL_AD_REASON_OFFSET;
    if (session->broken < 0)
        return session->broken;
    if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE)
        return cdt_tls_fail(session->tls, CONDUIT_TLS_MEMORY, "OpenSSL", (long)error,
                            "out of memory");
    if (session->distrust != 0 && !session->open)
        return fail_trust(session);
    if (alert > 0 && alert < 256)
        return cdt_tls_fail_alert(session->tls, alert, session->name, session->alpn,
                                  session->alpn_len);
    if (session->ended)
        return fail_ended(session);
    return fail_own(session, error);
}
