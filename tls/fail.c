/* SPDX-License-Identifier: ISC */
/*
 * Failures that every engine meets, and puts into the same words: alerts, which have the names of
 * RFC 8446, section 6, whatever the library calls them; and protocols that do not go together
 * (RFC 7301).
 */
#include "backend.h"
#include "tls.h"
#include <string.h>

static const struct {
    int alert;
    const char *name;
} alerts[] = {
    {0, "close notify"},
    {10, "unexpected message"},
    {20, "bad record mac"},
    {22, "record overflow"},
    {40, "handshake failure"},
    {42, "bad certificate"},
    {43, "unsupported certificate"},
    {44, "certificate revoked"},
    {45, "certificate expired"},
    {46, "certificate unknown"},
    {47, "illegal parameter"},
    {48, "unknown CA"},
    {49, "access denied"},
    {50, "decode error"},
    {51, "decrypt error"},
    {70, "protocol version"},
    {71, "insufficient security"},
    {80, "internal error"},
    {86, "inappropriate fallback"},
    {90, "user canceled"},
    {100, "no renegotiation"},
    {109, "missing extension"},
    {110, "unsupported extension"},
    {112, "unrecognized name"},
    {113, "bad certificate status response"},
    {115, "unknown PSK identity"},
    {116, "certificate required"},
    {120, "no application protocol"},
};

static const char *alert_name(int alert)
{
    for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++)
        if (alerts[i].alert == alert)
            return alerts[i].name;
    return "unknown";
}

int cdt_tls_fail_alert(struct cdt_tls *tls, int alert, const char *name, const unsigned char *alpn,
                       size_t alpn_len)
{
    enum { UNRECOGNIZED_NAME = 112, NO_APPLICATION_PROTOCOL = 120 };
    char ours[256];
    cdt_alpn_print(alpn, alpn_len, ours, sizeof(ours));
    if (alert == NO_APPLICATION_PROTOCOL)
        return cdt_tls_fail(tls, CONDUIT_TLS_ALERT, "alert", alert,
                            "peer sent alert: %s (%d): we offer %s", alert_name(alert), alert,
                            alpn_len > 0 ? ours : "none");
    if (alert == UNRECOGNIZED_NAME && name != NULL)
        return cdt_tls_fail(tls, CONDUIT_TLS_ALERT, "alert", alert,
                            "peer sent alert: %s (%d): it does not serve \"%s\"", alert_name(alert),
                            alert, name);
    return cdt_tls_fail(tls, CONDUIT_TLS_ALERT, "alert", alert, "peer sent alert: %s (%d)",
                        alert_name(alert), alert);
}

int cdt_tls_fail_alpn(struct cdt_tls *tls, const char *source, long number,
                      const unsigned char *alpn, size_t alpn_len, const char *offer)
{
    char ours[256];
    cdt_alpn_print(alpn, alpn_len, ours, sizeof(ours));
    return cdt_tls_fail(tls, CONDUIT_TLS_NO_COMMON_ALPN, source, number,
                        "no ALPN protocol in common: we offer %s, peer speaks %s", ours,
                        offer != NULL ? offer : "none");
}

int cdt_tls_check_alpn(struct cdt_tls *tls, const unsigned char *alpn, size_t alpn_len,
                       const void *chosen, size_t len)
{
    unsigned char wire[256];
    char text[256];
    if (len == 0)
        return 0;
    wire[0] = (unsigned char)len;
    memcpy(wire + 1, chosen, wire[0]);
    if (cdt_alpn_find(alpn, alpn_len, wire) != NULL)
        return 0;
    cdt_tls_printable(text, sizeof(text), chosen, wire[0]);
    return cdt_tls_fail(tls, CONDUIT_TLS_ALPN_NOT_OFFERED, NULL, 0,
                        "the peer chose the protocol \"%s\", which was not offered", text);
}
