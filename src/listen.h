/* SPDX-License-Identifier: ISC */
/* What a context does with all of its listeners. */
#ifndef CDT_LISTEN_H
#define CDT_LISTEN_H

#include <conduit/listener.h>

/* Drain each of them: conduit_listener_drain(). */
void cdt_listeners_drain(conduit_ctx *ctx, uint32_t deadline_ms);
/* Add what only they know: handshakes under way. */
void cdt_listeners_count(const conduit_ctx *ctx, conduit_counters *counters);

#endif
