/* SPDX-License-Identifier: ISC */
/*
 * URIs read of late: who asks for a place again mostly says it in the same words, and what a text
 * means as a URI never changes.
 *
 * A table of a fixed size in which the newer takes the place of the older. A text with a user or a
 * query in it is read anew each time, for there may be a secret in either: those are kept no longer
 * than they are needed.
 */
#ifndef CDT_URIS_H
#define CDT_URIS_H

#include <conduit/uri.h>

enum { CDT_URIS_KNOWN = 64 };

struct cdt_uris {
    const conduit_uri *known[CDT_URIS_KNOWN];
};

/* As conduit_uri_parse(). */
int cdt_uris_get(struct cdt_uris *uris, const char *text, const conduit_uri **ret,
                 const conduit_error **reterr);
void cdt_uris_clear(struct cdt_uris *uris);

#endif
