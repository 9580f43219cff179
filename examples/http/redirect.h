/* SPDX-License-Identifier: ISC */
/*
 * Where a Location leads (RFC 3986, 5.2; RFC 9110, 15.4), and whether it may.
 *
 * A server may send us elsewhere on the net, or anywhere on itself. It may not send us from TLS to
 * cleartext, nor to a socket, a guest of a Xen or whatever else is on this machine and not its own;
 * from one port of this machine to another it may. What counts is what the URI says: a name of the
 * net whose address is this machine's is one of the net.
 */
#ifndef EXAMPLES_HTTP_REDIRECT_H
#define EXAMPLES_HTTP_REDIRECT_H

#include <stdbool.h>

/* The URI to go to, to be free()d; NULL: why not is in *why. */
char *http_redirect(const char *base, const char *location, const char **why);

/* The same scheme, host and port: what is told to the one may be told to the other. */
bool http_same_origin(const char *a, const char *b);

#endif
