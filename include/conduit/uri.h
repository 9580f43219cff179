/* SPDX-License-Identifier: ISC */
/*
 * A parsed URI, read-only: what the user wrote, checked, before anything is looked up.
 *
 * RFC 3986, with these policies of ours on top, because a URI here is something to connect to, and
 * no others:
 *   - at most 8,192 bytes; no byte outside printable ASCII (use A-labels for international names),
 *     and no NUL, as %00 either;
 *   - a URI and not a reference: it has a scheme, which is lower-cased; `a+b` is a stack, leftmost
 *     on top, with something on both sides of each '+';
 *   - the host is percent-decoded and lower-cased. It may be empty or "*". A host that holds '/'
 *     after decoding (http+unix://%2Frun%2Fx.sock/) is a path, and only a stack over unix takes it;
 *   - a host name is at most 253 bytes, of labels of 1 to 63 letters, digits, '-' and '_', with at
 *     most one trailing dot;
 *   - "127.1", "0x7f.1" and other almost-addresses are errors (RFC 3986, section 7.4): names whose
 *     last label is a number, but for one decimal number alone, as in vchan://0/echo;
 *   - an IPv6 zone is written [fe80::1%25eth0] (RFC 6874) or [fe80::1%eth0], has as many bytes as
 *     the name of an interface, and stands behind a link-local address only;
 *   - an address of a future kind, [v1.x], is an error, for nobody can dial one;
 *   - the port is 0 to 65535; an empty port is no port.
 *
 * Immutable and counted; any thread.
 */
#ifndef CONDUIT_URI_H
#define CONDUIT_URI_H

#include <conduit/error.h>
#include <stddef.h>

CONDUIT_BEGIN

typedef struct conduit_uri conduit_uri;

/*
 * Parse `text` (copied). Returns 0 and a URI that the caller unrefs, or CONDUIT_EURI /
 * CONDUIT_ENOMEM and, if reterr is not NULL, an error that the caller unrefs.
 */
CONDUIT_API int conduit_uri_parse(const char *text, const conduit_uri **ret,
                                  const conduit_error **reterr);
CONDUIT_API const conduit_uri *conduit_uri_ref(const conduit_uri *uri);
CONDUIT_API void conduit_uri_unref(const conduit_uri *uri);

/* All strings belong to the URI; absent parts are "". */
CONDUIT_API const char *conduit_uri_text(const conduit_uri *uri);   /* as it was given */
CONDUIT_API const char *conduit_uri_scheme(const conduit_uri *uri); /* "https", "tls+unix" */
/* Decoded, lower-cased, without brackets: "example.org", "2001:db8::1", "fe80::1%eth0",
 * "/run/x.sock". */
CONDUIT_API const char *conduit_uri_host(const conduit_uri *uri);
CONDUIT_API int conduit_uri_port(const conduit_uri *uri);          /* -1 if none was given */
CONDUIT_API const char *conduit_uri_path(const conduit_uri *uri);  /* as written, still encoded */
CONDUIT_API const char *conduit_uri_query(const conduit_uri *uri); /* as written, without '?' */
CONDUIT_API const char *conduit_uri_fragment(const conduit_uri *uri); /* as written, without '#' */
CONDUIT_API const char *conduit_uri_userinfo(const conduit_uri *uri); /* as written, without '@' */
/* Host and port as a message names them (HTTP's Host): "example.org:8080", "[2001:db8::1]"; without
 * user, and without the zone of an address (RFC 6874, section 4). The port is there if one was
 * given. Where there is no host, because it is empty or a path: "localhost". */
CONDUIT_API const char *conduit_uri_authority(const conduit_uri *uri);

/*
 * Resolve `reference`, which may be relative ("../b?c", "//host/", "https://host/"), against `base`
 * (RFC 3986, section 5): the Location of an answer, a link. User and zone of the base stay where
 * its host does. Returns 0 and a URI that the caller unrefs, or CONDUIT_EURI / CONDUIT_ENOMEM and,
 * if reterr is not NULL, an error that the caller unrefs. What may be followed is not said by this:
 * a reference may lead to any scheme and any host.
 */
CONDUIT_API int conduit_uri_resolve(const conduit_uri *base, const char *reference,
                                    const conduit_uri **ret, const conduit_error **reterr);

/*
 * Percent-decode the `n` bytes at `text` (a user, a password, a segment of a path: to be taken apart
 * before it is decoded) into `buf`, with a NUL. The result is never longer than `text`, and `buf` may
 * be `text`. Returns its length, CONDUIT_EURI (a '%' without two hex digits, or %00) or
 * CONDUIT_ELIMIT (`size` is too small); then `buf` is "", if it has room for that.
 */
CONDUIT_API int conduit_uri_decode(const char *text, size_t n, char *buf, size_t size);

CONDUIT_END
#endif
