/* SPDX-License-Identifier: ISC */
/*
 * A context: one loop, and what is shared on it (resolvers, trust store, buffers, limits).
 *
 * A context belongs to the thread that runs its loop. Everything made from it (connections,
 * listeners, resolutions) is used on that thread only. One context per thread is how a program uses
 * more cores.
 */
#ifndef CONDUIT_CONTEXT_H
#define CONDUIT_CONTEXT_H

#include <conduit/endpoint.h>
#include <conduit/error.h>
#include <stdbool.h>
#include <stdint.h>

CONDUIT_BEGIN

struct uv_loop_s; /* libuv's uv_loop_t */

typedef struct conduit_ctx conduit_ctx;

/*
 * What happens, for people and for tools: conduit-resolve --trace prints it, and so do all programs
 * here with CONDUIT_DEBUG=1 in the environment. `event` is one of these words:
 *
 *   uri scheme rule                  what was asked for, and what that means
 *   resolver query answer cache      who is asked for a name, and what is known of it
 *   rendezvous                       how the two ends of a vchan meet
 *   endpoint order                   what was found, and in which order it would be dialled
 *   attempt handshake failed         an address is dialled; its layers have their turn; it is over
 *   won lost                         how the race ended
 *   pool                             a connect waits for its turn, an idle path is kept, used, gone
 *   listen accept shed shortage      a listener: a place, a connection, one turned away, no room
 *   drain gone                       ... its graceful end, and the end of that
 *   open end close                   a connection: it opened, the peer ended, it is over and why
 *
 * `text` is for people. Both are valid during the call. It watches: it must not call the library.
 * `at_ms` counts from the start of the operation (connect, accept, listen, resolve) that the event
 * belongs to. Nobody who does not trace pays for it.
 */
typedef void (*conduit_trace_fn)(void *user, double at_ms, const char *event, const char *text);

/* All zero is the good default. What is passed in is copied, but for `loop`. */
typedef struct conduit_ctx_options {
    /* The caller's loop, which the caller runs and which must outlive the context; NULL: an own
     * loop, run by conduit_run(). */
    struct uv_loop_s *loop;
    /* DNS servers to ask instead of those of /etc/resolv.conf: "192.0.2.1,[2001:db8::1]:5353". */
    const char *dns_servers;
    /* Ask the system (getaddrinfo, on a worker thread) instead of DNS: for names that only NSS
     * knows. */
    bool system_resolver;
    /* Those of dns_servers check DNSSEC, and nobody is between them and us: when they say that an
     * answer is authentic (AD), it is. For verify=dane; for the servers of /etc/resolv.conf its own
     * "options trust-ad" says the same. */
    bool dns_trust_ad;
    /* The hosts file; NULL is /etc/hosts, "" is none. */
    const char *hosts_file;
    conduit_trace_fn trace;
    void *trace_user;
    /* Asked about each endpoint right before it is dialled: the whole stack, its address numeric
     * and at the bottom. False, and that attempt fails with CONDUIT_EACCESS. It answers at once,
     * and calls nothing of this library but what reads the endpoint. NULL allows everything. */
    bool (*allow)(void *user, const conduit_endpoint *endpoint);
    void *allow_user;
    /* The end of conduit_ctx_drain(): nothing is left. Not called when the context is freed before
     * that. May free the context. */
    void (*on_drained)(conduit_ctx *ctx, void *user);
    void *drained_user;
    void *reserved[4]; /* room to grow: keep zero */
} conduit_ctx_options;

/* NULL options are the defaults. Returns NULL if memory or descriptors are short, or dns_servers is
 * malformed (errno says which: ENOMEM, EMFILE, EINVAL). Ended by conduit_ctx_free().
 *
 * A context does not survive fork(2): the child shares what the kernel watches for it with the
 * parent, so it leaves its copy alone, and makes one of its own or calls exec. */
CONDUIT_API conduit_ctx *conduit_ctx_new(const conduit_ctx_options *options);

/*
 * End the context: every listener, connection and resolution on it ends with CONDUIT_ECANCELED, and
 * each gets its terminal event. NULL is fine.
 *
 * With an own loop, and outside callbacks, all of that has happened when this returns. From inside
 * a callback it happens when conduit_run() returns. With the caller's loop it happens in the next
 * turns of that loop, which the caller has to run (until uv_loop_alive() says no, say) before
 * closing it.
 */
CONDUIT_API void conduit_ctx_free(conduit_ctx *ctx);

/* The loop of this context, for handles of the caller's own. */
CONDUIT_API struct uv_loop_s *conduit_ctx_loop(conduit_ctx *ctx);

/* Run an own loop until nothing is left to do (no connection, no listener, no handle of the
 * caller's) or conduit_stop() is called. Returns 0 (nothing left), 1 (stopped) or CONDUIT_EINVAL:
 * the loop is the caller's, who runs it, or this is called from a callback. */
CONDUIT_API int conduit_run(conduit_ctx *ctx);

/*
 * The same for at most `ms` milliseconds: for programs that have a loop of another kind, or signals
 * to look at. 0 is one turn that waits for nothing. Returns what conduit_run() does, or
 * CONDUIT_ETIMEDOUT: the time was over first, and there is more to do.
 */
CONDUIT_API int conduit_run_for(conduit_ctx *ctx, uint32_t ms);

/*
 * For a foreign loop (asyncio, GLib, poll(2)): a descriptor that becomes readable when there is
 * something to do, and how many milliseconds from now there is in any case (0: now; -1: never).
 * Whoever waits for either, and then calls conduit_run_for(ctx, 0), turns the loop.
 *
 * Ask for the time after each turn, and after each call of this library that was made outside of
 * one: such calls are not felt at the descriptor, and then it is 0. The descriptor stays the same,
 * and the context's: not to be read from or closed.
 */
CONDUIT_API int conduit_ctx_fd(const conduit_ctx *ctx);
CONDUIT_API int conduit_ctx_timeout(conduit_ctx *ctx);

/* Make conduit_run() return soon. Any thread; also from a signal handler (it is
 * async-signal-safe). */
CONDUIT_API void conduit_stop(conduit_ctx *ctx);

/* Have `fn(ctx, arg)` called on the context's thread. Any thread. Calls from one thread keep their
 * order. Returns 0, CONDUIT_ENOMEM, or CONDUIT_ECANCELED when the context has all but ended. What
 * was posted and not yet run when the context is freed is run then. It does not keep a loop of the
 * caller's alive. */
CONDUIT_API int conduit_post(conduit_ctx *ctx, void (*fn)(conduit_ctx *ctx, void *arg), void *arg);

/*
 * A server's way to end: each listener is drained (conduit_listener_drain); a connection goes on
 * until it ends by itself, or has been silent for a second and has nothing to send, when it is
 * closed gracefully; what is left after `deadline_ms` is aborted. Nothing stays idle in a pool.
 * Then on_drained comes, and conduit_run() has nothing left to do and returns. Again, before that:
 * another deadline.
 */
CONDUIT_API void conduit_ctx_drain(conduit_ctx *ctx, uint32_t deadline_ms);

/* What has happened on a context, or at a listener, since it was made, and what is there now. */
typedef struct conduit_counters {
    uint64_t opening;   /* now: connects and handshakes under way */
    uint64_t open;      /* now: connections between on_open and the end of on_close */
    uint64_t connected; /* connects that opened */
    uint64_t accepted;  /* accepted connections that opened */
    uint64_t failed;    /* connects, and accepted connections, that did not; canceled ones too */
    uint64_t shed;      /* turned away by a limit, or for want of descriptors */
    uint64_t shortages; /* times that accepting ran out of descriptors or memory */
    uint64_t bytes_in;  /* handed to on_data */
    uint64_t bytes_out; /* taken by conduit_write */
    uint64_t reserved[7];
} conduit_counters;

CONDUIT_API void conduit_ctx_counters(const conduit_ctx *ctx, conduit_counters *ret);

/* The error of the last start call (connect, listen, resolve) on this context that returned a
 * negative code; NULL if there was none. Borrowed: valid until the next such failure. */
CONDUIT_API const conduit_error *conduit_ctx_error(const conduit_ctx *ctx);

/* For programs: print conduit_ctx_error() as "prefix: text" to standard error, and return 1. Of a
 * NULL context it prints errno, which is what conduit_ctx_new() left. */
CONDUIT_API int conduit_ctx_perror(const conduit_ctx *ctx, const char *prefix);

/* The version of this library and of what it was built with, one static line. */
CONDUIT_API const char *conduit_version(void);

CONDUIT_END
#endif
