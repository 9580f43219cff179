/* SPDX-License-Identifier: ISC */
/*
 * New certificates for a listener that stays.
 *
 * A TLS configuration never changes, so it is replaced: those who have been accepted keep the one
 * that they began with. The files are read, and checked to belong together, before anything is
 * replaced, and of a stack with several configurations all are, or none.
 *
 * Embedded in the listener, whose target it changes.
 */
#ifndef CDT_RENEWAL_H
#define CDT_RENEWAL_H

#include "target.h"
#include "timer.h"

struct cdt_renewal {
    conduit_ctx *ctx;
    struct cdt_target *target;
    /* What files that are watched have come to is no good; told once for each way in which. */
    void (*failed)(struct cdt_renewal *renewal, const conduit_error *error);
    const conduit_error *last; /* that was told */
    struct cdt_timer timer;
    unsigned tries; /* that are left after a reload on command which failed */
};

/* Look after the files of the target's configurations, as often as these say; fine if none does. */
void cdt_renewal_start(struct cdt_renewal *renewal, conduit_ctx *ctx, struct cdt_target *target,
                       void (*failed)(struct cdt_renewal *, const conduit_error *));
/* Read the files again. 0, or why all stays as it was, and *reterr; then it is tried again for some
 * seconds, for they may be in the middle of being changed. */
int cdt_renewal_now(struct cdt_renewal *renewal, const conduit_error **reterr);
/* Have the top secure step use `tls` (not consumed). 0, or a code and *reterr. */
int cdt_renewal_replace(struct cdt_renewal *renewal, conduit_tls *tls,
                        const conduit_error **reterr);
/* Idempotent; fine on a zeroed struct. */
void cdt_renewal_stop(struct cdt_renewal *renewal);

#endif
