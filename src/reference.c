/* SPDX-License-Identifier: ISC */
/*
 * References: what is relative to a URI becomes one (RFC 3986, section 5).
 *
 * Paths are merged by uriparser. It never sees the authority, for it does not know zones, and there
 * may be a password in one: what is relative is resolved at a stand-in, and keeps the base's own.
 */
#include "error.h"
#include <conduit/memory.h>
#include <conduit/uri.h>
#include <stdio.h>
#include <string.h>
#include <uriparser/Uri.h>

/* Of one character, as "//" is the mark of an authority. */
#define STAND_IN "x://x"
enum { N_STAND_IN = sizeof(STAND_IN) - 1 };

/* A scheme is what ends in a colon before anything else that could end a part (section 4.2). */
static bool is_absolute(const char *reference)
{
    return reference[strcspn(reference, ":/?#")] == ':';
}

/* A new text, or NULL. */
static char *join(const char *a, size_t n, const char *b, const char *c)
{
    size_t size = n + strlen(b) + strlen(c) + 1;
    char *text = conduit_malloc(size);
    if (text != NULL)
        snprintf(text, size, "%.*s%s%s", (int)n, a, b, c);
    return text;
}

static char *print(const UriUriA *uri)
{
    int n;
    if (uriToStringCharsRequiredA(uri, &n) != URI_SUCCESS)
        return NULL;
    char *text = conduit_malloc((size_t)n + 1);
    if (text != NULL && uriToStringA(text, uri, n + 1, NULL) != URI_SUCCESS) {
        conduit_free(text);
        return NULL;
    }
    return text;
}

/* At the stand-in: a new text, or NULL and *code. */
static char *merge(const char *base_text, const char *reference_text, int *code)
{
    UriUriA base, reference, whole;
    char *text = NULL;
    *code = CONDUIT_EURI;
    if (uriParseSingleUriA(&base, base_text, NULL) != URI_SUCCESS)
        return NULL;
    if (uriParseSingleUriA(&reference, reference_text, NULL) == URI_SUCCESS) {
        *code = CONDUIT_ENOMEM;
        if (uriAddBaseUriA(&whole, &reference, &base) == URI_SUCCESS) {
            text = print(&whole);
            uriFreeUriMembersA(&whole);
        }
        uriFreeUriMembersA(&reference);
    }
    uriFreeUriMembersA(&base);
    return text;
}

/* Scheme and authority as they were written: so many bytes of the text. */
static size_t root_of(const conduit_uri *base)
{
    const char *text = conduit_uri_text(base);
    size_t n = strcspn(text, ":") + 1;
    return strncmp(text + n, "//", 2) == 0 ? n + 2 + strcspn(text + n + 2, "/?#") : n;
}

/* Without an authority before it a path that begins with "//" would be taken for one (section 3). */
static const char *guard(const conduit_uri *base, size_t root, const char *path)
{
    bool bare = conduit_uri_text(base)[root - 1] == ':';
    return bare && strncmp(path, "//", 2) == 0 ? "/." : "";
}

/* What stays at the same host. */
static char *resolve_path(const conduit_uri *base, const char *reference, int *code)
{
    const char *text = conduit_uri_text(base);
    size_t root = root_of(base);
    char *whole = NULL, *merged = NULL;
    char *at_stand_in = join(STAND_IN, N_STAND_IN, text + root, "");
    if (at_stand_in != NULL)
        merged = merge(at_stand_in, reference, code);
    if (merged != NULL)
        whole = join(text, root, guard(base, root, merged + N_STAND_IN), merged + N_STAND_IN);
    *code = merged != NULL || at_stand_in == NULL ? CONDUIT_ENOMEM : *code;
    conduit_free(at_stand_in);
    conduit_free(merged);
    return whole;
}

/* A new text, or NULL and *code. */
static char *resolve(const conduit_uri *base, const char *reference, int *code)
{
    const char *scheme = conduit_uri_scheme(base);
    *code = CONDUIT_ENOMEM;
    if (is_absolute(reference))
        return conduit_strdup(reference);
    if (strncmp(reference, "//", 2) == 0)
        return join(scheme, strlen(scheme), ":", reference);
    return resolve_path(base, reference, code);
}

int conduit_uri_resolve(const conduit_uri *base, const char *reference, const conduit_uri **ret,
                        const conduit_error **reterr)
{
    int code;
    char *text = resolve(base, reference, &code);
    if (text == NULL)
        return cdt_error_give(cdt_error_new(code, CONDUIT_STAGE_URI, NULL, NULL, 0, "%s",
                                            code == CONDUIT_ENOMEM
                                                ? "out of memory"
                                                : "the reference is no part of a URI"),
                              reterr);
    code = conduit_uri_parse(text, ret, reterr);
    conduit_free(text);
    return code;
}
