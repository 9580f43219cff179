/* SPDX-License-Identifier: ISC */
/*
 * What a context's clients may resume: sessions, by whom they are with.
 *
 * An engine puts in what a peer gave it and takes out what a new connection may offer. What is
 * taken is gone, so a TLS 1.3 ticket is used once even by connections that race. The store is
 * bounded; what has not been used for longest goes first.
 *
 * Keys hold all that a session hangs on: name, port, protocols and configuration (layer.c).
 */
#ifndef CDT_SESSIONS_H
#define CDT_SESSIONS_H

enum { CDT_SESSIONS_MAX = 256, CDT_SESSIONS_EACH = 4 /* with one peer */ };

struct cdt_sessions;

/* `drop` frees a session. NULL when out of memory. */
struct cdt_sessions *cdt_sessions_new(void (*drop)(void *session));
void cdt_sessions_free(struct cdt_sessions *sessions);
/* Takes the session over. Without memory it is dropped: a full handshake will do. */
void cdt_sessions_put(struct cdt_sessions *sessions, const char *key, void *session);
/* The newest, the caller's from now on; NULL if there is none. */
void *cdt_sessions_take(struct cdt_sessions *sessions, const char *key);

#endif
