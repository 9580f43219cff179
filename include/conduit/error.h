/* SPDX-License-Identifier: ISC */
/*
 * Errors.
 *
 * A call that answers now returns 0 (or a count), or one of the negative codes below; the full
 * story of the last such failure is conduit_ctx_error(). What answers later hands its callback a
 * `const conduit_error *`: NULL for success, otherwise a value that says
 *
 *   code      the only field to branch on; few enough to switch on
 *   stage     how far the work had come
 *   endpoint  the concrete place it was about, "" if none was reached
 *   source    whose number it is: "errno", "c-ares", "getaddrinfo", "OpenSSL", "X509", "alert",
 *             or ""
 *   number    that library's own number, for logs
 *   reason    where the code is not fine enough to act on: enum conduit_tls_reason of tls.h, or 0
 *   text      one complete line for a person
 *   children  when several endpoints were tried: one error per attempt, in their order
 *
 * A parent's code, stage and text are those of the attempt that got furthest, not of the first or
 * the last. An error is an immutable counted value: the pointer a callback gets is valid until the
 * callback returns; conduit_error_ref() keeps it longer. Any thread may read, ref and unref it.
 */
#ifndef CONDUIT_ERROR_H
#define CONDUIT_ERROR_H

#include <conduit/export.h>
#include <stddef.h>

CONDUIT_BEGIN

/* clang-format off */
#define CONDUIT_CODE_MAP(X)                                                                        \
    X(EINVAL,     -1,  "invalid argument or option")                                               \
    X(EURI,       -2,  "malformed URI")                                                            \
    X(ENOTSUP,    -3,  "not supported by this build or this transport")                            \
    X(ENONAME,    -4,  "no such name, or no endpoint for it")                                      \
    X(ETEMP,      -5,  "temporary failure of a name server")                                       \
    X(ETIMEDOUT,  -6,  "a deadline passed")                                                        \
    X(EREFUSED,   -7,  "the peer refused the connection")                                          \
    X(EUNREACH,   -8,  "the peer cannot be reached")                                               \
    X(EADDRINUSE, -9,  "the address is in use")                                                    \
    X(EACCESS,    -10, "permission denied")                                                        \
    X(ETLS,       -11, "TLS failed")                                                               \
    X(ETRUST,     -12, "the peer's certificate was not accepted")                                  \
    X(ETRUNCATED, -13, "the stream ended without its goodbye")                                     \
    X(ERESET,     -14, "the peer broke the connection")                                            \
    X(ECLOSED,    -15, "already closed or ended")                                                  \
    X(ECANCELED,  -16, "canceled by the caller")                                                   \
    X(ELIMIT,     -17, "a limit was reached")                                                      \
    X(ENOMEM,     -18, "out of memory")                                                            \
    X(EAGAIN,     -19, "not now; later")                                                           \
    X(EIO,        -20, "input/output error")                                                       \
    X(EPROTO,     -21, "the peer does not keep to the protocol")
/* clang-format on */

typedef enum conduit_code {
    CONDUIT_OK = 0,
#define CONDUIT_CODE_ENUM(name, number, text) CONDUIT_##name = number,
    CONDUIT_CODE_MAP(CONDUIT_CODE_ENUM)
#undef CONDUIT_CODE_ENUM
} conduit_code;

/* Stages in the order in which a connection passes through them: a larger one got further. */
typedef enum conduit_stage {
    CONDUIT_STAGE_URI = 1, /* reading the URI and the options */
    CONDUIT_STAGE_RESOLVE, /* from the URI to endpoints */
    CONDUIT_STAGE_DIAL,    /* connecting, or binding, a transport */
    CONDUIT_STAGE_LAYER,   /* opening a layer that is not TLS */
    CONDUIT_STAGE_TLS,     /* the TLS handshake and the check of the peer */
    CONDUIT_STAGE_IO,      /* an open connection */
} conduit_stage;

typedef struct conduit_error conduit_error;

/* CONDUIT_OK for NULL, so that `switch (conduit_error_code(why))` needs no test before it. */
CONDUIT_API conduit_code conduit_error_code(const conduit_error *error);
CONDUIT_API conduit_stage conduit_error_stage(const conduit_error *error);
/* The strings belong to the error and live as long as it does. They are never NULL. */
CONDUIT_API const char *conduit_error_endpoint(const conduit_error *error);
CONDUIT_API const char *conduit_error_source(const conduit_error *error);
CONDUIT_API long conduit_error_number(const conduit_error *error);
CONDUIT_API int conduit_error_reason(const conduit_error *error);
CONDUIT_API const char *conduit_error_text(const conduit_error *error);
CONDUIT_API size_t conduit_error_count(const conduit_error *error);
/* Child `i`, in the order of the attempts, borrowed from `error`; NULL if i >= count. */
CONDUIT_API const conduit_error *conduit_error_child(const conduit_error *error, size_t i);

/* Any thread. Both accept NULL. Ref returns its argument. */
CONDUIT_API const conduit_error *conduit_error_ref(const conduit_error *error);
CONDUIT_API void conduit_error_unref(const conduit_error *error);

/* "ETRUST" for CONDUIT_ETRUST, and the one-line text of CONDUIT_CODE_MAP. Static strings, never
 * NULL. */
CONDUIT_API const char *conduit_code_name(int code);
CONDUIT_API const char *conduit_code_text(int code);
/* "uri", "resolve", "dial", "layer", "tls", "io". */
CONDUIT_API const char *conduit_stage_name(conduit_stage stage);

CONDUIT_END
#endif
