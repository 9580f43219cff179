/* SPDX-License-Identifier: ISC */
/* The address of a target, out of its URI: host and port, a path, a word, in the form that its
 * transport has (enum cdt_address_form). */
#ifndef CDT_ADDRESS_H
#define CDT_ADDRESS_H

#include "target.h"

/* Read host and port of `target`, whose transport and scheme are known, and refuse what an endpoint
 * has no use for. 0, or a negative code and *reterr. */
int cdt_address_read(struct cdt_target *target, bool listening, const conduit_error **reterr);

#endif
