/* SPDX-License-Identifier: ISC */
/* The tables of builtin.c: what this build of conduit can do. */
#ifndef CDT_BUILTIN_H
#define CDT_BUILTIN_H

#include <conduit/resolver.h>
#include <stdbool.h>
#include <stdint.h>

struct cdt_transport;
struct cdt_layer_kind;
struct cdt_tls_backend;

struct cdt_scheme {
    const char *name;      /* "https" */
    const char *transport; /* "tcp" */
    bool endpoint;         /* an endpoint scheme: its query is ours */
    bool tls;              /* TLS by definition: never in the clear */
    uint16_t port;         /* default; 0: must be given */
    const char *alpn;      /* default for TLS; NULL: none */
    int family;            /* AF_INET, AF_INET6 or 0 for both */
    conduit_records records;
};

/* What a proxy's URI begins with. */
struct cdt_proxy_scheme {
    const char *name;  /* "https" */
    const char *layer; /* what leads on from it: "connect" */
    bool tls;          /* TLS to the proxy itself */
    uint16_t port;     /* default */
};

/* All end with a NULL (a NULL name for the schemes). */
extern const struct cdt_scheme cdt_schemes[];
extern const struct cdt_proxy_scheme cdt_proxy_schemes[];
extern const conduit_resolver *const cdt_resolvers[];
extern const struct cdt_transport *const cdt_transports[];
extern const struct cdt_layer_kind *const cdt_layers[];
extern const struct cdt_tls_backend *const cdt_tls_backends[];

/* NULL if there is none of that name. */
const struct cdt_scheme *cdt_scheme_find(const char *name);
const struct cdt_proxy_scheme *cdt_proxy_scheme_find(const char *name);
const struct cdt_transport *cdt_transport_find(const char *name);
const struct cdt_layer_kind *cdt_layer_kind_find(const char *name);

#endif
