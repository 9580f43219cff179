/* SPDX-License-Identifier: ISC */
/*
 * Schemes at run time: an application scheme that the library does not know, or knows otherwise.
 *
 *     static const conduit_scheme gemini = {.name = "gemini", .port = 1965, .tls = true};
 *     conduit_ctx_add_scheme(ctx, &gemini);
 *
 * A scheme is looked for among those added to the context, then among the built-in ones, and last
 * in the system's list of services (/etc/services): there it is TCP in the clear at that port,
 * unless the service is TLS by its name.
 */
#ifndef CONDUIT_SCHEME_H
#define CONDUIT_SCHEME_H

#include <conduit/context.h>

CONDUIT_BEGIN

/* What DNS is asked for beside the addresses of the host. Services are looked for only with TCP,
 * and where a rule or connect_to has not said where to go. */
typedef enum conduit_records {
    CONDUIT_RECORDS_ADDRESS, /* nothing */
    CONDUIT_RECORDS_SRV,     /* _NAME._tcp.HOST (RFC 2782), unless the URI has a port */
    CONDUIT_RECORDS_HTTPS,   /* HTTPS (RFC 9460); for TLS only */
    CONDUIT_RECORDS_SVCB,    /* SVCB of _NAME.HOST, or _PORT._NAME.HOST at another port than the
                              * scheme's (RFC 9460, section 2.3) */
} conduit_records;

typedef struct conduit_scheme {
    const char *name;      /* as before the colon, without '+' */
    const char *transport; /* what it runs over; NULL: "tcp" */
    uint16_t port;         /* 0: has to be given */
    bool tls;              /* TLS over the transport */
    const char *alpn;      /* protocols for TLS, "h2,http/1.1"; NULL: none */
    conduit_records records;
    void *reserved[3]; /* room to grow: keep zero */
} conduit_scheme;

/*
 * Add a scheme (copied); of several with one name the last counts, and what is under way goes on as
 * it began. Meant for the start of a program: nothing is given back before the context ends.
 *
 * 0, or CONDUIT_EINVAL (a malformed name or list, the name of a transport or layer, cleartext under
 * a name that is TLS by definition), CONDUIT_ENOTSUP (no such transport, no TLS in this build),
 * CONDUIT_ENOMEM; conduit_ctx_error() says more.
 */
CONDUIT_API int conduit_ctx_add_scheme(conduit_ctx *ctx, const conduit_scheme *scheme);

CONDUIT_END
#endif
