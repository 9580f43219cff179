/* SPDX-License-Identifier: ISC */
/*
 * A connection: the top of a stack of layers over a transport, the same for both ends.
 *
 *            connect/accept           conduit_end          peer ends too
 *   opening ───────────────► open ──────────────► ending ───────────────► closed: on_close, once
 *      └── close, abort, failure, deadline: from any state ──────────────────►
 *
 * The library owns it. The pointer is good from the moment the call that made it returned (or
 * on_open, for an accepted one) until on_close returns, or until conduit_conn_free().
 */
#ifndef CONDUIT_CONNECTION_H
#define CONDUIT_CONNECTION_H

#include <conduit/context.h>
#include <conduit/endpoint.h>
#include <conduit/error.h>
#include <conduit/tls.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

CONDUIT_BEGIN

typedef struct conduit_conn conduit_conn;
typedef struct conduit_pool conduit_pool; /* pool.h */

/*
 * What happens on a connection. One table for both directions: a program that can serve can also
 * call. Any entry may be NULL, and so may the table. Copied by connect and listen. All are called
 * on the context's thread.
 */
typedef struct conduit_handler {
    /* The whole stack is ready. Once, or never (then on_close says why). */
    void (*on_open)(conduit_conn *conn, void *user);
    /* Bytes came, n > 0. They are the callee's to read until it returns. */
    void (*on_data)(conduit_conn *conn, const void *data, size_t n, void *user);
    /* The queue fell to half the high-water mark after a conduit_write() returned 1, and no file is
     * in it; or conduit_wake() asked for this. */
    void (*on_drain)(conduit_conn *conn, void *user);
    /* The peer ended its direction, properly; no on_data follows. Ours is still open: conduit_end()
     * or conduit_close() when done. NULL: the connection is closed gracefully, after what is
     * queued. */
    void (*on_end)(conduit_conn *conn, void *user);
    /* The end. `why` is NULL if both directions ended cleanly or conduit_close() ran its course.
     * Once, last. */
    void (*on_close)(conduit_conn *conn, const conduit_error *why, void *user);
    /* conduit_upgrade() has done what it was asked to: from now on everything is under TLS, both
     * ways. */
    void (*on_upgrade)(conduit_conn *conn, void *user);
    /* The peer passed a descriptor over a plain Unix socket (SCM_RIGHTS). It is the callee's, to
     * close as well, and is close-on-exec. It comes in the order in which it was sent, before the
     * on_data with the byte it was sent with, which a pause here does not hold back. NULL: none is
     * taken, and the kernel drops what is passed. More than 64 with one write end the connection:
     * CONDUIT_ELIMIT; so does one for which this process has no room. */
    void (*on_fd)(conduit_conn *conn, int fd, void *user);
    void *reserved[1]; /* room to grow: keep zero */
} conduit_handler;

/* Of every connection, made or accepted. Zero is the default. */
typedef struct conduit_conn_options {
    size_t high_water;         /* bytes queued at which conduit_write() returns 1; 0: 64 KiB */
    size_t write_limit;        /* bytes queued that are never exceeded; 0: 16 MiB. Not of files. */
    uint32_t close_timeout_ms; /* CONDUIT_TIMEOUT_CLOSE; 0: 2,000 */
    uint32_t idle_timeout_ms;  /* CONDUIT_TIMEOUT_IDLE; 0: none */
    uint32_t write_timeout_ms; /* CONDUIT_TIMEOUT_WRITE; 0: none */
    uint32_t lifetime_ms;      /* CONDUIT_TIMEOUT_LIFETIME, from connect or accept on; 0: none */
    /* Collect what is written and let it go in one piece: at the end of the callback, before the
     * loop sleeps, or as soon as it is 16 KiB. For protocols that write many small things in a row:
     * one system call, and under TLS one record, instead of one for each. Without, what is written
     * goes at once. */
    bool gather;
    void *reserved[2]; /* room to grow: keep zero */
} conduit_conn_options;

typedef struct conduit_connect_options {
    uint32_t timeout_ms;         /* the whole connect, resolving included; 0: 30,000 */
    uint32_t resolve_timeout_ms; /* 0: 5,000 */
    uint32_t attempt_timeout_ms; /* each attempt, its layers included; 0: 10,000 */
    int family;                  /* AF_INET or AF_INET6 to use only that; 0: both */
    const char *name;            /* who the peer must prove to be, and the SNI; NULL: the host */
    const char *connect_to;      /* a URI to dial instead; `name` stays the host of the first */
    conduit_tls *tls;            /* trust, identity, ALPN; NULL: the defaults. Counted. */
    conduit_conn_options conn;
    uint32_t attempt_delay_ms; /* from one attempt to the next; 0: 250; 10 to 2,000 (RFC 8305) */
    /* Where a TCP address is this machine's own and its listener says the same, go through shared
     * memory instead: docs/vchan.md. Layers, and whom TLS verifies, are the same. Otherwise, or if
     * that fails, it is TCP. As a parameter: prefer_local=1, which comes first. */
    bool prefer_local;
    unsigned pool_flags; /* CONDUIT_POOL_..., in pool.h */
    /* What the query of an endpoint URI could say, for URIs whose query is not ours: "nodelay=0"
     * (see the transports in docs/transports.md). Each transport takes the keys that are its own;
     * one that nobody has is an error. What the URI says itself comes first. NULL: nothing. */
    const char *endpoint_params;
    const char *via;      /* proxies on the way, the first to be met first: see below; NULL: none */
    conduit_pool *pool;   /* of the same context: take from there and give back; NULL: none */
    const char *pool_key; /* what else has to be equal there (a login, say); NULL: nothing */
    void *reserved[1];    /* room to grow: keep zero */
} conduit_connect_options;

/*
 * `via` is a list of proxies, "socks5://user:password@proxy:1080" or "http://a:3128,https://b":
 *
 *   socks5://  socks5h://  SOCKS 5 (RFC 1928, RFC 1929), port 1080; the two are the same here
 *   http://    https://    HTTP CONNECT (RFC 9110), port 80; over TLS, port 443
 *   ...+unix:/run/x.sock   over another transport: socks5+unix:, http+unix:, https+unix:...?name=
 *
 * A comma inside of one is written %2C. What we dial is the first proxy: its name is resolved and
 * its addresses are raced. Every other name, the URI's own too, is told to the proxy before it and
 * not looked up here. Rules still apply to each. Whom TLS verifies stays the URI's host. TLS to a
 * proxy proves the proxy's host; it trusts whom `tls` trusts, shows it no certificate of ours, and
 * is verified unless the proxy's own URI says otherwise: all keys of conduit/tls.h go there
 * (https://proxy?ca=FILE). A user goes as user and password (SOCKS) or as Basic (CONNECT).
 *
 * If a proxy fails there is no direct connection in its stead: the error has stage "layer" and says
 * what the proxy said. "env" takes the proxy from the environment, as it is usual: http_proxy,
 * https_proxy, all_proxy, no_proxy. The environment is read in no other case.
 */

/*
 * Connect to `uri`. Returns 0: on_close will come, preceded by on_open if the connection was made;
 * *ret (which may be NULL) is the connection, already good for conduit_write (queued until open),
 * conduit_close (cancel) and the like. Or a negative code: CONDUIT_EURI, ENOTSUP, EINVAL, ENOMEM;
 * conduit_ctx_error() says more.
 */
CONDUIT_API int conduit_connect(conduit_ctx *ctx, const char *uri,
                                const conduit_connect_options *options,
                                const conduit_handler *handler, void *user, conduit_conn **ret);

typedef struct conduit_adopt_options {
    const char *layers; /* over the descriptor, top first, as in a URI: "tls"; NULL: none */
    bool server;        /* the layers open as the side that was connected to */
    conduit_connect_options connect; /* `name`, `tls` and deadlines, as of a connect */
    void *reserved[4];               /* room to grow: keep zero */
} conduit_adopt_options;

/*
 * Make a connection of `fd`, a connected stream socket. Returns 0: the descriptor is the library's,
 * to make non-blocking and to close, and events come as those of conduit_connect(). Or a negative
 * code (CONDUIT_EINVAL: it is no such socket), and it is still the caller's, as it was. `options`
 * may be NULL: no layers.
 *
 * One that this context has already is turned away by on_close (CONDUIT_EINVAL) and stays with who
 * has it. That of another context, or one that the program goes on to use or close, is not noticed:
 * both would read from it, and the number may be somebody else's after the first close.
 */
CONDUIT_API int conduit_adopt(conduit_ctx *ctx, int fd, const conduit_adopt_options *options,
                              const conduit_handler *handler, void *user, conduit_conn **ret);

/*
 * Take all of `data` (copied as far as it cannot be sent at once). Returns
 *   0               taken
 *   1               taken, and the queue is past the high-water mark: wait for on_drain
 *   CONDUIT_ELIMIT  the queue would pass its limit; nothing was taken
 *   CONDUIT_ECLOSED after conduit_end(), conduit_close() or the peer's failure; nothing was taken
 *   CONDUIT_ENOMEM  nothing was taken
 */
CONDUIT_API int conduit_write(conduit_conn *conn, const void *data, size_t n);

/* The same for `n` pieces in a row, as if they were one: a head and its body, without a copy in
 * between. All are taken or none. CONDUIT_EINVAL: n is negative. */
CONDUIT_API int conduit_writev(conduit_conn *conn, const struct iovec *pieces, int n);

/*
 * The same for `n` bytes of the file `fd`, from `offset` on; its own position does not matter and
 * is not moved. Where nothing is between us and a socket they go from the file to the kernel without
 * a copy (sendfile(2)), otherwise they are read piece by piece as there is room: never more of the
 * file than 64 KiB is in memory, and write_limit does not count it. They come after what was
 * written before, and before what is written then.
 *
 * `fd` stays the caller's and may be closed at once: of what does not fit into 16 KiB a duplicate
 * is kept until nothing of it is left to read. (As with every descriptor of a file, closing that one
 * drops the fcntl(2) locks of the process on it.) Of that the call returns 1, and on_drain comes
 * then, when no more than half the high-water mark is queued; conduit_queued() counts all that has
 * not gone. A close before that finishes it, an abort drops it. Returns what conduit_write() does, or
 *   CONDUIT_EINVAL  no regular file, not open for reading, or less in it; nothing was taken
 *   CONDUIT_ELIMIT  there are no descriptors left to duplicate it; nothing was taken
 *   CONDUIT_EIO     it cannot be read; nothing was taken
 *
 * The file is read in the loop, and should not change meanwhile: the peer may get old bytes or new
 * ones. If it becomes shorter, or cannot be read, the connection breaks as with conduit_abort(), with
 * what a Unix socket makes of that; on_close says so (CONDUIT_EIO).
 */
CONDUIT_API int conduit_write_file(conduit_conn *conn, int fd, uint64_t offset, size_t n);

/*
 * Pass a duplicate of `fd` over a plain Unix socket (unix:, unix-abstract:, an adopted pair; no
 * layer, no proxy), beside the first of `n` >= 1 bytes, which are taken as by conduit_write(). `fd`
 * stays the caller's and may be closed at once. Returns what conduit_write() does, or
 *   CONDUIT_EAGAIN  not open yet, or bytes are queued before it; nothing was taken. After on_open, and
 *                   after on_drain, which will come
 *   CONDUIT_ENOTSUP this connection cannot, and will not; nothing was taken
 *   CONDUIT_EINVAL  n is 0, or `fd` is none that can be passed; nothing was taken
 *   CONDUIT_ELIMIT  also: this user has too many descriptors on their way (RLIMIT_NOFILE)
 */
CONDUIT_API int conduit_send_fd(conduit_conn *conn, int fd, const void *data, size_t n);

/*
 * Have on_drain called in the next turn of the loop, when others have had theirs: for a writer who
 * always has more to say, and whose peer is never slow. While the queue is past the high-water mark
 * that waits until it has fallen; before on_open, until then. Again before it came: still once.
 * conduit_end(), conduit_close() and the like do not take it back, but of a connection that is
 * closing, or that was freed, nothing comes.
 */
CONDUIT_API void conduit_wake(conduit_conn *conn);

/* Bytes taken and not yet handed to the transport. */
CONDUIT_API size_t conduit_queued(const conduit_conn *conn);

/* Stop and restart on_data (and on_end). They do not count: one resume ends any number of
 * pauses. */
CONDUIT_API void conduit_pause(conduit_conn *conn);
CONDUIT_API void conduit_resume(conduit_conn *conn);

/* End our direction after what is queued: FIN, close_notify. Reading goes on. When both directions
 * have ended the connection closes by itself. Idempotent. Where a layer cannot end one direction
 * alone it ends at close. */
CONDUIT_API void conduit_end(conduit_conn *conn);

/* Graceful: flush, goodbye on every layer, wait for the peer's, within CONDUIT_TIMEOUT_CLOSE. No
 * on_data from now on. Before open it is a cancel: on_close carries CONDUIT_ECANCELED. Unsent bytes
 * at the deadline: CONDUIT_ETIMEDOUT. */
CONDUIT_API void conduit_close(conduit_conn *conn);

/* At once, dropping what is queued; TCP peers see a reset; Unix sockets have none, so there the
 * peer sees an end unless TLS runs over it. on_close carries CONDUIT_ECANCELED. */
CONDUIT_API void conduit_abort(conduit_conn *conn);

/* The same with a reason of the caller's own, which on_close carries instead: what a library has to
 * say that knows the protocol. `code` is a conduit_code (CONDUIT_EPROTO, say), `text` one line for
 * a person, without a full stop, copied; stage and endpoint are put before it. Returns 0, which is
 * also what comes of a connection whose end is due, or CONDUIT_EINVAL (no such code), and then
 * nothing has happened. */
CONDUIT_API int conduit_abort_with(conduit_conn *conn, int code, const char *text);

/* Abort, and silence: no callback comes any more, not even on_close; the pointer is invalid from
 * now on. NULL is fine. This is for programs whose state goes away before the connection does. */
CONDUIT_API void conduit_conn_free(conduit_conn *conn);

/*
 * The deadlines of a connection, in milliseconds. One that passes ends it, all but the last one:
 * on_close carries CONDUIT_ETIMEDOUT and says which. They cost nothing per byte. Bytes are those of
 * the transport, so a TLS handshake, or half a record, is not silence.
 */
typedef enum conduit_timeout {
    CONDUIT_TIMEOUT_IDLE = 1, /* no byte came or went. A pause of ours does not count. */
    CONDUIT_TIMEOUT_WRITE,    /* bytes wait to be sent, and the peer takes none */
    /* A graceful close waits for the peer, and nothing goes out; fifteen times that is the bound of
     * a close that does go on. */
    CONDUIT_TIMEOUT_CLOSE,
    CONDUIT_TIMEOUT_LIFETIME, /* whatever it is doing, opening included */
    CONDUIT_TIMEOUT_WAKE,     /* once: then conduit_wake(), for who has to say that it is late */
} conduit_timeout;

/* Set one at any time, opening included; it counts from now. 0 is none, or the default of CLOSE.
 * Returns 0, CONDUIT_EINVAL (no such deadline) or CONDUIT_ECLOSED (on_close is due). */
CONDUIT_API int conduit_set_timeout(conduit_conn *conn, conduit_timeout which, uint32_t ms);

enum { CONDUIT_ROLE_AS_MADE, CONDUIT_ROLE_CLIENT, CONDUIT_ROLE_SERVER };

typedef struct conduit_upgrade_options {
    conduit_tls *tls;    /* as of a connect or a listener; NULL: the defaults. Counted. */
    const char *name;    /* client: who the peer must prove to be; NULL: the host dialled */
    uint32_t timeout_ms; /* of the handshake; 0: 10,000 */
    int role;            /* 0: who connected is the client; or CONDUIT_ROLE_... */
    /* How many bytes of this on_data are behind the command that led here. Any are one too many:
     * they came in the clear, and whoever is on the way may have put them there. */
    size_t unread;
    void *reserved[4]; /* room to grow: keep zero */
} conduit_upgrade_options;

/*
 * Go on with TLS on this open connection (STARTTLS and the like), as client or as server, once both
 * ends have agreed to. `options` may be NULL. What was written before goes first, in the clear;
 * what is written from now on waits and goes under TLS. Nothing more is read in the clear: no
 * on_data comes before on_upgrade. To a client, bytes that the server sent in the clear after its
 * consent are an error; to a server they are no TLS, which is one as well.
 *
 * Returns 0: on_upgrade will come, or on_close if it fails (CONDUIT_ETLS, ETRUST, ETIMEDOUT): there
 * is no way back to cleartext. Or a negative code, and nothing has changed: CONDUIT_EINVAL (not
 * open, ending, already at it, `unread`, no name), ETLS (no certificate for a server), ENOTSUP,
 * ENOMEM; conduit_ctx_error() says more. conduit_close() meanwhile is a cancel.
 */
CONDUIT_API int conduit_upgrade(conduit_conn *conn, const conduit_upgrade_options *options);

/* The `user` of the callbacks; for an accepted connection at first the listener's. on_open is the
 * first event of each, so that is where a server sets one of its own; and as conduit_listen() takes
 * a table of handlers for itself, its on_open need not ask who is calling. */
CONDUIT_API void *conduit_conn_user(const conduit_conn *conn);
CONDUIT_API void conduit_conn_set_user(conduit_conn *conn, void *user);
CONDUIT_API conduit_ctx *conduit_conn_ctx(const conduit_conn *conn);

/* What ALPN settled, as in conduit_tls_info, but for next to nothing: "h2"; "" without, before it
 * is open and after conduit_release(). The connection's, until on_close returns. */
CONDUIT_API const char *conduit_conn_alpn(const conduit_conn *conn);

/* What TLS settled. All strings may be "", none is NULL. */
typedef struct conduit_tls_info {
    const char *version; /* "TLSv1.3" */
    const char *cipher;  /* "TLS_AES_256_GCM_SHA384" */
    const char *alpn;    /* what was agreed on; "" for nothing */
    const char *name;    /* client: the name that the peer proved; server: the SNI it asked for */
    const char *peer;    /* the subject of the peer's certificate; "" if it showed none */
    const char *verify;  /* "full", "chain", "pin", "dane", "insecure"; "none": a server that
                            demands no certificate, or got none where it only asks */
    bool resumed;
    bool early;             /* it began with early data, which may be a replay: tls.h, early_data */
    const char *peer_names; /* of the peer's certificate: "DNS:a.example, IP:192.0.2.1" */
    const char *fingerprint; /* SHA-256 of it, in lower-case hex */
    const char *chain;       /* PEM: as it was verified, its own first; of a resumed session, only
                                its own */
    const char *ocsp;        /* "good": it came with a response that says so */
} conduit_tls_info;

typedef struct conduit_info {
    const char *uri;             /* what was asked for: connect's URI, or the listener's endpoint */
    const char *endpoint;        /* canonical endpoint that was dialled, or the listener's */
    const char *peer;            /* address of the peer, as a URI; "unix:" for a nameless socket */
    const char *local;           /* our own */
    const char *stack;           /* "tls+tcp" */
    const conduit_tls_info *tls; /* NULL without TLS */
    uint64_t bytes_in;           /* handed to on_data */
    uint64_t bytes_out;          /* taken by conduit_write */
    double resolve_ms;           /* to the first endpoint; 0 on accepted connections */
    double open_ms;              /* from conduit_connect(), or from accept, to on_open */
    double dial_ms;              /* of open_ms: the transport of the attempt that won */
    double handshake_ms;         /* ... and its layers, TLS included */
    long peer_pid, peer_uid, peer_gid; /* unix, vchan: who is there; -1 unknown */
    /* What the attempts came to that failed before this one opened (a certificate that was not
     * accepted, say), as on_close would have told; NULL: none did. */
    const conduit_error *failed;
    const char *via; /* address of the proxy that is between, as a URI, where `peer` is whom it led
                        to or spoke of; "" without */
} conduit_info;

/* From on_open until on_close returns; NULL before. Valid until the next call of it on this
 * connection. */
CONDUIT_API const conduit_info *conduit_conn_info(conduit_conn *conn);

CONDUIT_END
#endif
