/* SPDX-License-Identifier: ISC */
/*
 * The two halves of the raw libuv echo: echo-uv.c moves bytes, echo-uv-tls.c turns ciphertext that
 * came in into ciphertext that goes out.
 *
 * A session belongs to one client and is freed with it.
 */
#ifndef BENCH_ECHO_UV_H
#define BENCH_ECHO_UV_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

struct session;

struct session *session_new(SSL_CTX *tls);
void session_free(struct session *session);

/* Take in ciphertext and echo what was in it. False: the peer said goodbye, or it is not TLS;
 * what session_take() still gives is our own goodbye. */
bool session_feed(struct session *session, const void *bytes, size_t n);

/* Up to `room` bytes of ciphertext to be sent; 0 when there are none. */
size_t session_take(struct session *session, void *bytes, size_t room);

#endif
