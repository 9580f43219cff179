/* SPDX-License-Identifier: ISC */
/*
 * ALPN lists (RFC 7301): "h2,http/1.1" for people, and each name after its length on the wire.
 *
 * Which of ours and theirs it is to be is decided here and not by the TLS library, so that it is
 * the same with all of them: the listener's order of preference counts. What a peer sent is checked
 * against its own end at each step.
 */
#include "tls.h"
#include <string.h>

static bool is_visible(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (name[i] < 0x21 || name[i] > 0x7e)
            return false;
    return true;
}

ssize_t cdt_alpn_wire(const char *list, unsigned char wire[CDT_ALPN_MAX])
{
    if (*list == '\0')
        return 0;
    size_t at = 0;
    for (;;) {
        size_t len = strcspn(list, ",");
        if (len == 0 || len > 255 || !is_visible(list, len) || at + 1 + len > CDT_ALPN_MAX)
            return -1;
        wire[at] = (unsigned char)len;
        memcpy(wire + at + 1, list, len);
        at += 1 + len;
        if (list[len] == '\0')
            return (ssize_t)at;
        list += len + 1;
    }
}

const unsigned char *cdt_alpn_find(const unsigned char *wire, size_t len,
                                   const unsigned char *wanted)
{
    for (size_t at = 0; at < len && len - at > wire[at]; at += 1 + (size_t)wire[at])
        if (wire[at] == wanted[0] && memcmp(wire + at + 1, wanted + 1, wanted[0]) == 0)
            return wire + at;
    return NULL;
}

const unsigned char *cdt_alpn_choose(const unsigned char *ours, size_t n_ours,
                                     const unsigned char *offer, size_t n_offer)
{
    for (size_t at = 0; at < n_ours; at += 1 + (size_t)ours[at]) {
        const unsigned char *found = cdt_alpn_find(offer, n_offer, ours + at);
        if (found != NULL)
            return found;
    }
    return NULL;
}

void cdt_alpn_print(const unsigned char *wire, size_t len, char *text, size_t size)
{
    size_t end = 0;
    text[0] = '\0';
    for (size_t at = 0; at < len && len - at > wire[at]; at += 1 + (size_t)wire[at]) {
        if (end > 0 && end + 1 < size)
            text[end++] = ',';
        cdt_tls_printable(text + end, size - end, wire + at + 1, wire[at]);
        end += strlen(text + end);
    }
}

void cdt_tls_printable(char *text, size_t size, const void *bytes, size_t len)
{
    const char *from = bytes;
    size_t n = len < size ? len : size - 1;
    for (size_t i = 0; i < n; i++) {
        bool plain = from[i] >= 0x20 && from[i] <= 0x7e && from[i] != '"' && from[i] != '\\';
        text[i] = plain ? from[i] : '?';
    }
    text[n] = '\0';
}
