/* SPDX-License-Identifier: ISC */
/*
 * Text that is printed together piece by piece, of any length, into the library's own memory; and
 * text that may be a secret, which is wiped when it is over.
 *
 *     struct cdt_text text;
 *     FILE *to = cdt_text_open(&text);     NULL: out of memory
 *     fprintf(to, ...);
 *     char *whole = cdt_text_close(&text); NULL: out of memory; ended by conduit_free()
 */
#ifndef CDT_TEXT_H
#define CDT_TEXT_H

#include <stddef.h>
#include <stdio.h>

struct cdt_text {
    FILE *to;
    char *raw; /* the C library's, not ours */
    size_t size;
};

FILE *cdt_text_open(struct cdt_text *text);
/* Fine after an open that failed. Wipes what it was printed into. */
char *cdt_text_close(struct cdt_text *text);

/* Wipe a string and free it. NULL is fine. */
void cdt_wipe(char *secret);

#endif
