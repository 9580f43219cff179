/* SPDX-License-Identifier: ISC */
/*
 * Schemes that are not built in: those of a context, and the system's list of services.
 *
 * A row that was found lives as long as the context: targets point into it.
 */
#ifndef CDT_SCHEMES_H
#define CDT_SCHEMES_H

#include "builtin.h"

/* The context's own scheme of that name, or else the built-in one; NULL: there is none. `ctx` may
 * be NULL: only the built-in ones. */
const struct cdt_scheme *cdt_scheme_of(const conduit_ctx *ctx, const char *name);
/* Is a row that was found the context's own? */
bool cdt_scheme_is_own(const conduit_ctx *ctx, const struct cdt_scheme *row);

enum cdt_service {
    CDT_SERVICE_UNKNOWN,
    CDT_SERVICE_CLEAR,
    CDT_SERVICE_TLS, /* by its name, so it must not be spoken in the clear */
};

/* Look a TCP service up in the system's list (/etc/services), and its port. */
enum cdt_service cdt_service_find(const char *name, uint16_t *port);

/* For the end of a context. */
void cdt_schemes_clear(conduit_ctx *ctx);

#endif
