/* SPDX-License-Identifier: ISC */
/*
 * Proxies on the way to a target: the option "via".
 *
 * What is dialled is the first proxy; the target's host is told to the last one. So a target that
 * rides on proxies is one whose place is the first proxy's, with a layer "socks5" or "connect" for
 * each of them below its own layers.
 */
#ifndef CDT_VIA_H
#define CDT_VIA_H

#include "target.h"

/* Have `target`, whose rules have been followed, go through the proxies of the list `via`, the
 * first to be met first; "env" asks the environment, which may know of none. `tls` is the
 * connection's configuration or NULL. 0, or a negative code and *reterr. */
int cdt_via_take(conduit_ctx *ctx, struct cdt_target *target, const char *via,
                 const conduit_tls *tls, const conduit_error **reterr);

#endif
