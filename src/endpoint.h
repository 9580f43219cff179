/* SPDX-License-Identifier: ISC */
/* The inside of an endpoint: conduit/endpoint.h says what it is. */
#ifndef CDT_ENDPOINT_H
#define CDT_ENDPOINT_H

#include <conduit/endpoint.h>
#include <netinet/in.h>
#include <stdatomic.h>

struct cdt_transport;
struct cdt_layer_kind;

/* A query parameter, decoded. */
struct cdt_param {
    char *key, *value;
};

struct cdt_params {
    struct cdt_param *list;
    size_t n;
};

/* An address of either family. */
union cdt_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

struct conduit_endpoint {
    atomic_uint refs;
    const struct cdt_transport *transport; /* one of these two says what it is */
    const struct cdt_layer_kind *layer;
    const conduit_endpoint *below; /* of a layer */
    char *host;
    uint16_t port;
    struct cdt_params params;
    char *uri;
    union cdt_address address; /* of transports with CDT_FORM_HOST_PORT */
};

/* A step over `below` with decoded `params` (copied). NULL when out of memory. */
const conduit_endpoint *cdt_endpoint_layer(const struct cdt_layer_kind *kind, const char *name,
                                           const struct cdt_params *params,
                                           const conduit_endpoint *below);
/* A transport's step. `address` for CDT_FORM_HOST_PORT, `host` for the others; NULL if unfit or out
 * of memory. */
const conduit_endpoint *cdt_endpoint_transport(const struct cdt_transport *transport,
                                               const struct sockaddr *address, const char *host,
                                               const struct cdt_params *params);
/* The lowest step. */
const conduit_endpoint *cdt_endpoint_bottom(const conduit_endpoint *endpoint);
/* "tls+tcp" */
void cdt_endpoint_stack(const conduit_endpoint *endpoint, char *buf, size_t size);

/* The two words of CDT_FORM_NAME_PORT. A name is a host name in lower case, or the number of a
 * domain as Xen counts them. */
enum { CDT_MAX_DOMAIN = 32751, CDT_MAX_PORT_NAME = 64 };
bool cdt_is_machine_name(const char *name);
bool cdt_is_port_name(const char *port);

/* Percent-decode in place; false on a bad escape or an encoded NUL. */
bool cdt_decode(char *text);
/* Split and decode "a=1&b=2". 0, or a negative code and *reterr: a key without a value, a bad
 * escape. */
int cdt_params_parse(struct cdt_params *params, const char *query, const conduit_error **reterr);
/* Append a copy; false when out of memory. */
bool cdt_params_add(struct cdt_params *params, const char *key, const char *value);
/* The first value of `key`, or NULL. */
const char *cdt_params_get(const struct cdt_params *params, const char *key);
void cdt_params_clear(struct cdt_params *params);
/* Is `key` one of `keys` (NULL-terminated; NULL: none)? */
bool cdt_key_in(const char *key, const char *const *keys);

#endif
