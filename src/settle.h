/* SPDX-License-Identifier: ISC */
/*
 * Settling a target, once all of its URI is read: for each layer, whom it has to prove, with which
 * configuration, and which of the parameters are part of its place. Nothing is looked up for it
 * but the files that a TLS configuration names.
 */
#ifndef CDT_SETTLE_H
#define CDT_SETTLE_H

#include "target.h"

/* Settle what is to be connected to or listened at. `options` may be NULL. 0, or a negative code
 * and *reterr. */
int cdt_settle(conduit_ctx *ctx, struct cdt_target *target, bool listening,
               const conduit_connect_options *options, const conduit_error **reterr);
/* The same for an endpoint that is written out: there is no configuration to a place. */
int cdt_settle_place(struct cdt_target *target, const conduit_error **reterr);
/* Can layer `i` be used with its parameters in these roles (stack.h)? 0, or a negative code and
 * *reterr. */
int cdt_settle_check(const struct cdt_target *target, size_t i, unsigned roles,
                     const conduit_error **reterr);

#endif
