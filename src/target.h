/* SPDX-License-Identifier: ISC */
/*
 * A target: what a URI asks for, before any name is looked up.
 *
 *     https+unix://%2Frun%2Fweb.sock/x  ->  layers [tls], transport unix, host /run/web.sock
 *     example URI + scheme row + options ->   stack, host and port, identity, TLS configuration
 *
 * With a proxy on the way (via.h) host and port are the proxy's, and its steps lie below the
 * target's own.
 *
 * A target plus one resolved transport endpoint is a whole endpoint: cdt_target_wrap().
 */
#ifndef CDT_TARGET_H
#define CDT_TARGET_H

#include "host.h"
#include "stack.h"
#include <conduit/connection.h>
#include <conduit/scheme.h>

enum { CDT_MAX_LAYERS = 8 };

struct cdt_target {
    const conduit_uri *uri;
    const struct cdt_transport *transport;
    struct cdt_step steps[CDT_MAX_LAYERS]; /* its layers, top first */
    size_t n_steps;
    bool application;    /* the scheme is not ours: nor are path and query */
    const char *row;     /* where the scheme's was found, for traces; NULL: it has none */
    const char *service; /* the scheme's name, or that of srv or svcb; NULL without records */
    conduit_records records;
    const char *alpn; /* the scheme's default; NULL: none */
    char *tlsa;       /* whose TLSA records TLS on top goes by: "_443._tcp.a.example"; NULL */
    char *host;
    uint16_t port;       /* 0: for records to say; of a listener, any */
    uint16_t usual_port; /* the scheme's; 0: it has none */
    int family;
    struct cdt_params params; /* our part of the query */
    bool prefer_local;        /* the vchan beside it, if there is one: local.h */
    char *rules;              /* the way that rules led: "a -> b -> unix:/run/b.sock"; NULL: none */
    bool place;               /* only where it is counts: the target of a rule */
    bool proxy;               /* it is one: what leads on from it is `hop` */
    const struct cdt_layer_kind *hop;
    char *login; /* ... and what it is told: "user:password" as in the URI; NULL: nothing */
};

/* Read `text` and settle everything that needs no name server. `options` may be NULL. 0, or a
 * negative code and *reterr. Either way cdt_target_clear() is harmless. */
int cdt_target_make(conduit_ctx *ctx, struct cdt_target *target, const char *text, bool listening,
                    const conduit_connect_options *options, const conduit_error **reterr);
/* Have `target` lead to the place of `text` and stay as it is otherwise. */
int cdt_target_move(conduit_ctx *ctx, struct cdt_target *target, const char *text,
                    const conduit_error **reterr);
/* As cdt_target_make(), of a proxy: socks5://..., http+unix:... What `given`, the configuration of
 * who connects through it (or NULL), says of trust holds for the proxy too. */
int cdt_target_make_proxy(conduit_ctx *ctx, struct cdt_target *target, const char *text,
                          const conduit_tls *given, const conduit_error **reterr);
/* Lead to `target` through `proxy`, which is left to be cleared. */
int cdt_target_ride(struct cdt_target *target, struct cdt_target *proxy,
                    const conduit_error **reterr);
/* Is `text` a place that a rule can lead to, as far as that can be told without knowing whose? */
int cdt_target_check_place(conduit_ctx *ctx, const char *text, const conduit_error **reterr);
/* `base`, a transport's endpoint, with the target's layers over it: a new reference, or NULL (out
 * of memory). */
const conduit_endpoint *cdt_target_wrap(const struct cdt_target *target,
                                        const conduit_endpoint *base);
/* One more layer, below those that there are. For who reads a target. */
int cdt_target_push(struct cdt_target *target, const struct cdt_layer_kind *kind,
                    const conduit_error **reterr);
/* An error that begins with the target's URI. Returns `code`. */
int cdt_target_refuse(const struct cdt_target *target, int code, const conduit_error **reterr,
                      const char *format, ...) CONDUIT_PRINTF(4, 5);
/* Tell who traces what was read: the events uri and scheme. */
void cdt_target_trace(const struct cdt_target *target, conduit_ctx *ctx, uint64_t since_ns);
void cdt_target_clear(struct cdt_target *target);

#endif
