/* SPDX-License-Identifier: ISC */
/*
 * Conduit: here is a URI; give me bytes to and from it.
 *
 * A server that echoes, over every transport there is:
 *
 *     static void on_data(conduit_conn *c, const void *data, size_t n, void *user)
 *     {
 *         if (conduit_write(c, data, n) > 0)   // past the high-water mark: let the peer wait
 *             conduit_pause(c);
 *     }
 *
 *     static void on_drain(conduit_conn *c, void *user)
 *     {
 *         conduit_resume(c);
 *     }
 *
 *     int main(int argc, char **argv)
 *     {
 *         static const conduit_handler echo = {.on_data = on_data, .on_drain = on_drain};
 *         conduit_ctx *ctx = conduit_ctx_new(NULL);
 *         conduit_listener *l;
 *         if (conduit_listen(ctx, argv[1], NULL, &echo, NULL, &l) < 0)
 *             return conduit_ctx_perror(ctx, argv[0]);
 *         printf("listening %s\n", conduit_listener_uri(l, 0));
 *         return conduit_run(ctx);
 *     }
 *
 * Run it on tcp://:7000, unix:/run/e.sock or 'tls://:7443?cert=c.pem&key=k.pem': it stays the same.
 *
 * The rules. Each has a test of its own, named after it.
 *
 *   1. A start call (connect, listen, resolve) returns 0, and then exactly one terminal event
 *      comes, whatever happens; or it returns a negative code, and then none comes and nothing is
 *      kept. If it failed there is nothing to free.
 *   2. No callback runs before the call that caused it has returned, and none runs inside a frame
 *      of c-ares, OpenSSL or libuv that re-entering could corrupt.
 *   3. on_close comes once, is last, and carries the reason. After it: silence, and the connection
 *      is gone.
 *   4. Everything may be called from inside a callback, closing and freeing this very object too.
 *   5. Close is idempotent and never blocks. A graceful close flushes, says goodbye on every layer
 *      and has a deadline; abort does not wait. Close before open is cancel, at every stage.
 *   6. What is passed in is copied. The bytes of on_data are the callee's until it returns.
 *   7. Writes are taken whole: sent at once where possible, the rest queued. Past the high-water
 *      mark the call says so, and on_drain says when it is fine again; the queue has a hard limit
 *      with a clear error. A reader can pause and resume; a paused reader costs no CPU and its
 *      memory does not grow.
 *   8. on_open means that the whole stack is ready, TLS verified. An end of stream without the
 *      layer's goodbye (a truncated TLS stream, a vchan peer that died) is an error, not an end.
 *   9. A context lives on one thread. Only conduit_post(), conduit_stop() and ref/unref of
 *      immutable values may be called from another. To use more cores: one context per thread. (A
 *      library built without NDEBUG stops, as assert(3) does, where this is not so.)
 *  10. The library prints nothing unasked, installs no signal handler, raises no SIGPIPE, and keeps
 *      no globals but the allocator that a program may set.
 *
 * (Not to be confused with the HPC data library of the same name: include this one by way of its
 * pkg-config file, and both live on one machine.)
 */
#ifndef CONDUIT_CONDUIT_H
#define CONDUIT_CONDUIT_H

#include <conduit/blocking.h>
#include <conduit/connection.h>
#include <conduit/context.h>
#include <conduit/endpoint.h>
#include <conduit/error.h>
#include <conduit/listener.h>
#include <conduit/memory.h>
#include <conduit/pool.h>
#include <conduit/resolver.h>
#include <conduit/rules.h>
#include <conduit/scheme.h>
#include <conduit/tls.h>
#include <conduit/uri.h>

#endif
