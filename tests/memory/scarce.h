/* SPDX-License-Identifier: ISC */
/*
 * Memory that can be made to fail, for the three who take it from here: the library, c-ares and
 * OpenSSL. libuv keeps malloc: where it is short there, it aborts.
 *
 * A plan says which call fails and whether all after it do; it counts the calls of one kind of
 * asker only, so that a few hundred of ours are not lost among thousands of OpenSSL's.
 */
#ifndef CDT_MEMORY_SCARCE_H
#define CDT_MEMORY_SCARCE_H

#include <stdbool.h>

enum cdt_asker { CDT_LIBRARY, CDT_C_ARES, CDT_OPENSSL, CDT_ASKERS };

/* Once, before any of the three is used. */
bool cdt_scarce_install(void);
/* Fail `asker`'s call number `nth` (from 1) from now on, and, if `onwards`, all after it. */
void cdt_scarce_plan(enum cdt_asker asker, long nth, bool onwards);
/* There is enough again. */
void cdt_scarce_over(void);
/* Has any call failed since the plan was made? */
bool cdt_scarce_failed(void);
/* Blocks of the library and of c-ares that have not been given back. */
long cdt_scarce_blocks(void);

#endif
