/* SPDX-License-Identifier: ISC */
/*
 * What a program says itself about names: rules and addresses of its own.
 *
 * A rule says where the hosts of a pattern are to be found, as the target of a URI says it:
 *
 *     api.example  = tcp://10.0.0.7:8443        exactly that host, name or address
 *     *.internal   = unix:/run/{host}.sock      every host under internal, but not internal
 *     *            = tcp://proxy.example:3128   every host
 *
 * Names are compared label by label, whatever their case and with or without a final dot. The
 * longest match counts: an exact one before a wildcard, *.a.example before *.example. An address is
 * matched by itself, in any spelling, and by *.
 *
 * A rule changes where a connection is dialled and nothing else. Scheme, layers, ALPN and the name
 * that TLS verifies stay those of the URI that was asked for. Of the target only its place counts:
 * transport, host and port. Without a port of its own or of its scheme the port stays, too. A
 * target with layers must have the same ones as the URI.
 *
 * {host} is the host that was matched, {label} its first label, {port} its port and {scheme} the
 * scheme of the URI. A target that is a name is looked up in the rules again, unless it is the same
 * name, up to eight times; one that is an address is the end of it.
 *
 * Rules hold for connecting and resolving; not for listening, and not where connect_to is given.
 */
#ifndef CONDUIT_RULES_H
#define CONDUIT_RULES_H

#include <conduit/context.h>

CONDUIT_BEGIN

/* Add a rule, or replace that of the same pattern. 0, or CONDUIT_EINVAL (a malformed pattern, a
 * target with parameters or with braces that stand for nothing), CONDUIT_EURI, CONDUIT_ENOTSUP (a
 * target that leads nowhere) or CONDUIT_ENOMEM; conduit_ctx_error() says more. */
CONDUIT_API int conduit_ctx_add_rule(conduit_ctx *ctx, const char *pattern, const char *target);

/* Remove the rule of this pattern. 0, or CONDUIT_ENONAME: there is none. */
CONDUIT_API int conduit_ctx_remove_rule(conduit_ctx *ctx, const char *pattern);

/* Add the rules of a file: `PATTERN = TARGET` a line; empty lines, and comments from a # that
 * begins a line or follows a blank. All of them, or none: a negative code as above (CONDUIT_EINVAL
 * if there is no such file, CONDUIT_EACCESS if it may not be read), and an error that names file
 * and line. */
CONDUIT_API int conduit_ctx_load_rules(conduit_ctx *ctx, const char *file);

/*
 * Have `name` stand for `address`, which is numeric; several times for several addresses. The name
 * is not looked up anywhere else then. It counts before the hosts file, after the rules, and for
 * listening, too. localhost stays what it is. 0, or CONDUIT_EINVAL, CONDUIT_ENOMEM.
 */
CONDUIT_API int conduit_ctx_add_host(conduit_ctx *ctx, const char *name, const char *address);

/* Forget all addresses of `name`. 0, or CONDUIT_ENONAME: there are none. */
CONDUIT_API int conduit_ctx_remove_host(conduit_ctx *ctx, const char *name);

CONDUIT_END
#endif
