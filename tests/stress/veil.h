/* SPDX-License-Identifier: ISC */
/*
 * A layer for tests that has everything TLS has but the cryptography: a handshake that takes turns
 * and can be refused, records, bytes it holds back until it is flushed, bytes it has read ahead, a
 * goodbye of its own, and so a truncated end.
 *
 * It lives and dies with its path, over a wire.
 */
#ifndef CDT_STRESS_VEIL_H
#define CDT_STRESS_VEIL_H

#include "layer.h"

/* Put it on top of `path`. 0, or CONDUIT_ENOMEM after cdt_path_fail(). */
int cdt_veil_push(struct cdt_path *path, bool server);

#endif
