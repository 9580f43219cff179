/* SPDX-License-Identifier: ISC */
/* URIs that were read before: uris.h says which. */
#include "uris.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { MOST_KEPT = 256 }; /* bytes of text; longer ones hold more than a place */

/* Any will do: two that meet here are slow, and no more than that. FNV-1a. */
static size_t index_of(const char *text, size_t n)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    return (hash ^ hash >> 16) % CDT_URIS_KNOWN;
}

static void keep(const conduit_uri **known, const conduit_uri *uri)
{
    if (*conduit_uri_userinfo(uri) != '\0' || *conduit_uri_query(uri) != '\0')
        return;
    conduit_uri_unref(*known);
    *known = conduit_uri_ref(uri);
}

int cdt_uris_get(struct cdt_uris *uris, const char *text, const conduit_uri **ret,
                 const conduit_error **reterr)
{
    size_t n = text != NULL ? strnlen(text, MOST_KEPT + 1) : 0;
    if (n == 0 || n > MOST_KEPT)
        return conduit_uri_parse(text, ret, reterr);
    const conduit_uri **known = &uris->known[index_of(text, n)];
    if (*known != NULL && strcmp(conduit_uri_text(*known), text) == 0) {
        *ret = conduit_uri_ref(*known);
        return 0;
    }
    int code = conduit_uri_parse(text, ret, reterr);
    if (code == 0)
        keep(known, *ret);
    return code;
}

void cdt_uris_clear(struct cdt_uris *uris)
{
    for (size_t i = 0; i < CDT_URIS_KNOWN; i++)
        conduit_uri_unref(uris->known[i]);
    *uris = (struct cdt_uris){0};
}
