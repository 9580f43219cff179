/* SPDX-License-Identifier: ISC */
/* The addresses that a program gives names itself: conduit_ctx_add_host(). */
#ifndef CDT_STATIC_H
#define CDT_STATIC_H

#include <conduit/context.h>

/* For the end of a context. */
void cdt_addresses_clear(conduit_ctx *ctx);

#endif
