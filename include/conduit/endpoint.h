/* SPDX-License-Identifier: ISC */
/*
 * An endpoint: one concrete place, as an immutable value.
 *
 * It is recursive: a transport at the bottom, layers over it. TLS for example.org over TCP is
 *
 *     tls("example.org", tcp(192.0.2.7:443))      printed  tls://192.0.2.7:443?name=example.org
 *     tls("db.example", unix(/run/db.sock))       printed  tls+unix:/run/db.sock?name=db.example
 *
 * There is nothing left to look up in it: hosts are numeric addresses. Every endpoint prints to a
 * URI that parses back to an equal one. Counted; any thread.
 */
#ifndef CONDUIT_ENDPOINT_H
#define CONDUIT_ENDPOINT_H

#include <conduit/uri.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

CONDUIT_BEGIN

typedef struct conduit_endpoint conduit_endpoint;

/* Parse a canonical or hand-written endpoint URI. A host name in it is CONDUIT_EURI: that is a URI
 * to resolve. Returns 0 and a reference, or a negative code and (if reterr is not NULL) the
 * error. */
CONDUIT_API int conduit_endpoint_parse(const char *text, const conduit_endpoint **ret,
                                       const conduit_error **reterr);

/* Builders, for resolvers. They copy what they are given and return a new reference, or NULL when
 * memory is short or the address is not AF_INET / AF_INET6 / the text is unfit (too long,
 * empty). */
CONDUIT_API const conduit_endpoint *conduit_endpoint_tcp(const struct sockaddr *address);
CONDUIT_API const conduit_endpoint *conduit_endpoint_unix(const char *path);
/* A name in the kernel, without a file and without permissions: unix(7). */
CONDUIT_API const conduit_endpoint *conduit_endpoint_unix_abstract(const char *name);
/* Between a virtual machine and its host: vsock(7). CID UINT32_MAX is every one, to listen at; port
 * 0 is none. */
CONDUIT_API const conduit_endpoint *conduit_endpoint_vsock(uint32_t cid, uint16_t port);
CONDUIT_API const conduit_endpoint *conduit_endpoint_inproc(const char *name);
/* The port of a vchan is a word: 1 to 64 letters, digits, '-' and '_'. `name` is a host name in
 * lower case, or the number of a domain, 0 to 32751. */
CONDUIT_API const conduit_endpoint *conduit_endpoint_vchan(const char *name, const char *port);
/* TLS over `below` (which is not consumed). `name` is what the peer must prove; `alpn` is a
 * comma-separated list of protocols, NULL or "" for none. */
CONDUIT_API const conduit_endpoint *conduit_endpoint_tls(const char *name, const char *alpn,
                                                         const conduit_endpoint *below);

CONDUIT_API const conduit_endpoint *conduit_endpoint_ref(const conduit_endpoint *endpoint);
CONDUIT_API void conduit_endpoint_unref(const conduit_endpoint *endpoint);

CONDUIT_API bool conduit_endpoint_equal(const conduit_endpoint *a, const conduit_endpoint *b);

/* All strings belong to the endpoint. */
CONDUIT_API const char *conduit_endpoint_uri(const conduit_endpoint *endpoint); /* canonical */
/* "tcp", "tls", ... */
CONDUIT_API const char *conduit_endpoint_name(const conduit_endpoint *endpoint);
/* What this step runs over; NULL for a transport. */
CONDUIT_API const conduit_endpoint *conduit_endpoint_below(const conduit_endpoint *endpoint);
/* tcp: the numeric address; unix: the path; inproc, unix-abstract, systemd: the name; fd: the
 * number; vsock: "CID:PORT"; vchan: "name/port"; tls: the name the peer must prove. */
CONDUIT_API const char *conduit_endpoint_host(const conduit_endpoint *endpoint);
CONDUIT_API uint16_t conduit_endpoint_port(const conduit_endpoint *endpoint); /* 0 if it has none */
/* The value of a parameter of this step, such as "alpn" of tls; NULL if it is not set. */
CONDUIT_API const char *conduit_endpoint_param(const conduit_endpoint *endpoint, const char *key);

CONDUIT_END
#endif
