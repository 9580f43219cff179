/* SPDX-License-Identifier: ISC */
/* What the files of tls/ share beside the backend interface: the inside of a conduit_tls, ALPN
 * lists, files. */
#ifndef CDT_TLS_H
#define CDT_TLS_H

#include "secure.h"
#include <stddef.h>
#include <sys/types.h>

/* ---- config.c ---- */

/* The engine's credentials of this configuration. */
void *cdt_tls_credentials(const conduit_tls *tls);
/* A setting is refused: `code`, and the error in *reterr. */
int cdt_tls_refuse(int code, const conduit_error **reterr, const char *format, ...)
    CONDUIT_PRINTF(3, 4);

/* ---- alpn.c: protocol names, as a list for people and as on the wire ---- */

/* Of a list on the wire; far beyond what anybody offers. */
enum { CDT_ALPN_MAX = 1024 };

/* "h2,http/1.1" as on the wire, each name after its length. Returns the length, 0 for "", or -1 if
 * a name is empty, over 255 bytes or not of visible characters, or all of it is too long. */
ssize_t cdt_alpn_wire(const char *list, unsigned char wire[CDT_ALPN_MAX]);
/* The place (length byte, then name) of the protocol in a list on the wire that is the same as
 * `wanted` (again length byte, then name), or NULL. A list that is cut short ends before its last
 * name. */
const unsigned char *cdt_alpn_find(const unsigned char *wire, size_t len,
                                   const unsigned char *wanted);
/* Our first choice that the peer offers, in the peer's list, or NULL. `ours` was made by
 * cdt_alpn_wire(). */
const unsigned char *cdt_alpn_choose(const unsigned char *ours, size_t n_ours,
                                     const unsigned char *offer, size_t n_offer);
/* A list on the wire for people, cut to `size`. */
void cdt_alpn_print(const unsigned char *wire, size_t len, char *text, size_t size);

/* ---- file.c: PEM files in memory ---- */

struct cdt_file {
    char *bytes;
    size_t len;
};

/* Read the file at `path`; `what` ("key") is for the error. One that is `secret` must not be
 * readable by group or others. 0, or a negative code and *reterr. */
int cdt_file_read(const char *what, const char *path, bool secret, struct cdt_file *ret,
                  const conduit_error **reterr);
/* Wipes it too. */
void cdt_file_done(struct cdt_file *file);

/* ---- for texts ---- */

/* Copy what a peer said into `text`, with '?' for all that is not plainly printable. Cut to `size`;
 * always ended. */
void cdt_tls_printable(char *text, size_t size, const void *bytes, size_t len);

#endif
