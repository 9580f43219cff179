/* SPDX-License-Identifier: ISC */
/* What the files of tls/ share beside the backend interface: the inside of a conduit_tls, reasons,
 * ALPN lists, files. */
#ifndef CDT_TLS_H
#define CDT_TLS_H

#include "secure.h"
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

/* ---- config.c ---- */

/* The engine's credentials of this configuration. */
void *cdt_tls_credentials(const conduit_tls *tls);

/* What no other configuration has, for what must stay within one. */
const char *cdt_tls_id(const conduit_tls *tls);

/* ---- reason.c: enum conduit_tls_reason ---- */

/* The conduit_code that goes with it. */
int cdt_tls_code(int reason);
/* A setting is refused: the error in *reterr. Returns its code. */
int cdt_tls_refuse(int reason, const conduit_error **reterr, const char *format, ...)
    CONDUIT_PRINTF(3, 4);
/* The same, with somebody's number. */
int cdt_tls_refuse_for(int reason, const char *source, long number, const conduit_error **reterr,
                       const char *format, ...) CONDUIT_PRINTF(5, 6);

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

/* ---- file.c: files in memory ---- */

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

/* Which file it was, and which state of it: all zero if there is none. */
struct cdt_file_mark {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

void cdt_file_mark(const char *path, struct cdt_file_mark *ret);
bool cdt_file_same(const struct cdt_file_mark *a, const struct cdt_file_mark *b);

/* ---- for texts ---- */

/* Copy what a peer said into `text`, with '?' for all that is not plainly printable. Cut to `size`;
 * always ended. */
void cdt_tls_printable(char *text, size_t size, const void *bytes, size_t len);

#endif
