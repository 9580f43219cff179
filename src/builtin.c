/* SPDX-License-Identifier: ISC */
/*
 * What this build of conduit can do.
 *
 * The one file that names every provider, and the one with build-time conditions. To add a
 * transport, a resolver, a layer or a TLS backend: write its file, add its row here, add its line
 * to the meson.build beside it.
 */
#include "builtin.h"
#include "conduit-build.h"
#include "stack.h"
#include "transport.h"
#include "transports/vchan/backing.h"
#include <conduit/context.h>
#include <string.h>
#include <sys/socket.h>

#define TRANSPORTS(X) X(tcp) X(unix) X(unix_abstract) X(inproc) X(fd) X(systemd) X(vsock) X(vchan)
#define LAYERS(X) X(tls) X(socks5) X(connect) X(proxy)

/* Those that only some builds have, at their places in the order. */
#if CONDUIT_HAVE_XEN
#define IF_XEN(X) X(xenstore)
#else
#define IF_XEN(X)
#endif
#if CONDUIT_HAVE_DNS
#define IF_DNS(X) X(dns)
#else
#define IF_DNS(X)
#endif
#define RESOLVERS(X)                                                                               \
    X(literal)                                                                                     \
    X(systemd) X(local) IF_XEN(X) X(xen) X(special) X(static) X(hosts) IF_DNS(X) X(system)

#if CONDUIT_HAVE_XEN
#define VCHAN_BACKINGS(X) X(xen) X(shm)
#else
#define VCHAN_BACKINGS(X) X(shm)
#endif

#if CONDUIT_HAVE_OPENSSL
#define TLS_BACKENDS(X) X(openssl)
#elif CONDUIT_HAVE_GNUTLS
#define TLS_BACKENDS(X) X(gnutls)
#else
#define TLS_BACKENDS(X)
#endif

/* clang-format off */
#define DECLARE_TRANSPORT(name) extern const struct cdt_transport cdt_transport_##name;
#define DECLARE_LAYER(name) extern const struct cdt_layer_kind cdt_layer_##name;
#define DECLARE_RESOLVER(name) extern const conduit_resolver cdt_resolver_##name;
#define DECLARE_TLS_BACKEND(name) extern const struct cdt_tls_backend cdt_tls_##name;
TRANSPORTS(DECLARE_TRANSPORT)
LAYERS(DECLARE_LAYER)
RESOLVERS(DECLARE_RESOLVER)
TLS_BACKENDS(DECLARE_TLS_BACKEND)
#define DECLARE_VCHAN_BACKING(name) extern const struct cdt_vchan_backing cdt_vchan_##name;
VCHAN_BACKINGS(DECLARE_VCHAN_BACKING)

#define TRANSPORT_ROW(name) &cdt_transport_##name,
const struct cdt_transport *const cdt_transports[] = { TRANSPORTS(TRANSPORT_ROW) NULL };

#define LAYER_ROW(name) &cdt_layer_##name,
const struct cdt_layer_kind *const cdt_layers[] = { LAYERS(LAYER_ROW) NULL };

/* In the order in which they are asked. */
#define RESOLVER_ROW(name) &cdt_resolver_##name,
const conduit_resolver *const cdt_resolvers[] = { RESOLVERS(RESOLVER_ROW) NULL };

/* The first is the one that is used. */
#define TLS_BACKEND_ROW(name) &cdt_tls_##name,
const struct cdt_tls_backend *const cdt_tls_backends[] = { TLS_BACKENDS(TLS_BACKEND_ROW) NULL };

/* In the order of preference. */
#define VCHAN_BACKING_ROW(name) &cdt_vchan_##name,
const struct cdt_vchan_backing *const cdt_vchan_backings[] = { VCHAN_BACKINGS(VCHAN_BACKING_ROW) NULL };

/*
 * Schemes: what stands before the colon and is not simply the name of a transport or a layer. The
 * ports are IANA's. A scheme that is TLS by definition has no row without it.
 */
#define NONE CONDUIT_RECORDS_ADDRESS
#define SRV CONDUIT_RECORDS_SRV
#define HTTPS CONDUIT_RECORDS_HTTPS
const struct cdt_scheme cdt_schemes[] = {
    /* name           transport  endpoint  tls    port   ALPN        family, records */
    { "tcp4",         "tcp",     true,     false, 0,     NULL,       AF_INET, NONE },
    { "tcp6",         "tcp",     true,     false, 0,     NULL,       AF_INET6, NONE },
    { "http",         "tcp",     false,    false, 80,    NULL,       0, NONE },
    { "https",        "tcp",     false,    true,  443,   "http/1.1", 0, HTTPS },
    { "ws",           "tcp",     false,    false, 80,    NULL,       0, NONE },
    { "wss",          "tcp",     false,    true,  443,   "http/1.1", 0, HTTPS },
    { "redis",        "tcp",     false,    false, 6379,  NULL,       0, NONE },
    { "rediss",       "tcp",     false,    true,  6379,  NULL,       0, NONE },
    { "postgresql",   "tcp",     false,    false, 5432,  NULL,       0, NONE },
    { "mysql",        "tcp",     false,    false, 3306,  NULL,       0, NONE },
    { "imap",         "tcp",     false,    false, 143,   NULL,       0, SRV },
    { "imaps",        "tcp",     false,    true,  993,   "imap",     0, SRV },
    { "pop3",         "tcp",     false,    false, 110,   NULL,       0, SRV },
    { "pop3s",        "tcp",     false,    true,  995,   "pop3",     0, SRV },
    { "smtp",         "tcp",     false,    false, 25,    NULL,       0, NONE },
    { "smtps",        "tcp",     false,    true,  465,   NULL,       0, NONE },
    { "submission",   "tcp",     false,    false, 587,   NULL,       0, SRV },
    { "submissions",  "tcp",     false,    true,  465,   NULL,       0, SRV },
    { "ldap",         "tcp",     false,    false, 389,   NULL,       0, NONE },
    { "ldaps",        "tcp",     false,    true,  636,   NULL,       0, NONE },
    { "mqtt",         "tcp",     false,    false, 1883,  NULL,       0, NONE },
    { "mqtts",        "tcp",     false,    true,  8883,  "mqtt",     0, NONE },
    { "amqp",         "tcp",     false,    false, 5672,  NULL,       0, NONE },
    { "amqps",        "tcp",     false,    true,  5671,  NULL,       0, NONE },
    { "ftp",          "tcp",     false,    false, 21,    NULL,       0, NONE },
    { "ftps",         "tcp",     false,    true,  990,   NULL,       0, NONE },
    { "nats",         "tcp",     false,    false, 4222,  NULL,       0, NONE },
    { "irc",          "tcp",     false,    false, 6667,  NULL,       0, NONE },
    { "ircs",         "tcp",     false,    true,  6697,  NULL,       0, NONE },
    { "xmpp-client",  "tcp",     false,    false, 5222,  NULL,       0, SRV },
    { "xmpps-client", "tcp",     false,    true,  5223,  "xmpp-client", 0, SRV },
    { "xmpp-server",  "tcp",     false,    false, 5269,  NULL,       0, SRV },
    { "xmpps-server", "tcp",     false,    true,  5270,  "xmpp-server", 0, SRV },
    { "git",          "tcp",     false,    false, 9418,  NULL,       0, NONE },
    { "postgres",     "tcp",     false,    false, 5432,  NULL,       0, NONE },
    { "mongodb",      "tcp",     false,    false, 27017, NULL,       0, NONE },
    { "memcached",    "tcp",     false,    false, 11211, NULL,       0, NONE },
    { "valkey",       "tcp",     false,    false, 6379,  NULL,       0, NONE },
    { "valkeys",      "tcp",     false,    true,  6379,  NULL,       0, NONE },
    { "nntp",         "tcp",     false,    false, 119,   NULL,       0, NONE },
    { "nntps",        "tcp",     false,    true,  563,   NULL,       0, NONE },
    { "telnet",       "tcp",     false,    false, 23,    NULL,       0, NONE },
    { "telnets",      "tcp",     false,    true,  992,   NULL,       0, NONE },
    { "sip",          "tcp",     false,    false, 5060,  NULL,       0, SRV },
    { "sips",         "tcp",     false,    true,  5061,  NULL,       0, SRV },
    { "sieve",        "tcp",     false,    false, 4190,  NULL,       0, NONE },
    { "stomp",        "tcp",     false,    false, 61613, NULL,       0, NONE },
    { "ipp",          "tcp",     false,    false, 631,   NULL,       0, NONE },
    { "ipps",         "tcp",     false,    true,  631,   NULL,       0, NONE },
    { "rtsp",         "tcp",     false,    false, 554,   NULL,       0, NONE },
    { "rtsps",        "tcp",     false,    true,  322,   NULL,       0, NONE },
    { "rtmp",         "tcp",     false,    false, 1935,  NULL,       0, NONE },
    { "rtmps",        "tcp",     false,    true,  443,   NULL,       0, NONE },
    { "ssh",          "tcp",     false,    false, 22,    NULL,       0, NONE },
    { "rsync",        "tcp",     false,    false, 873,   NULL,       0, NONE },
    { "svn",          "tcp",     false,    false, 3690,  NULL,       0, NONE },
    { "gopher",       "tcp",     false,    false, 70,    NULL,       0, NONE },
    { "gemini",       "tcp",     false,    true,  1965,  NULL,       0, NONE },
    { "finger",       "tcp",     false,    false, 79,    NULL,       0, NONE },
    { "whois",        "tcp",     false,    false, 43,    NULL,       0, NONE },
    { "dict",         "tcp",     false,    false, 2628,  NULL,       0, NONE },
    { "syslog-tls",   "tcp",     false,    true,  6514,  NULL,       0, NONE },
    { "sip-tls",      "tcp",     false,    true,  5061,  NULL,       0, NONE },
    { "secure-mqtt",  "tcp",     false,    true,  8883,  "mqtt",     0, NONE },
    { "domain-s",     "tcp",     false,    true,  853,   "dot",      0, NONE },
    { "radsec",       "tcp",     false,    true,  2083,  NULL,       0, NONE },
    { NULL,           NULL,      false,    false, 0,     NULL,       0, NONE },
};

/* A proxy resolves the names that it is told: "socks5" is what others call socks5h. */
const struct cdt_proxy_scheme cdt_proxy_schemes[] = {
    /* name      layer      tls    port */
    { "socks5",  "socks5",  false, 1080 },
    { "socks5h", "socks5",  false, 1080 },
    { "http",    "connect", false, 80 },
    { "https",   "connect", true,  443 },
    { NULL,      NULL,      false, 0 },
};
/* clang-format on */

const struct cdt_proxy_scheme *cdt_proxy_scheme_find(const char *name)
{
    for (const struct cdt_proxy_scheme *row = cdt_proxy_schemes; row->name != NULL; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

const struct cdt_scheme *cdt_scheme_find(const char *name)
{
    for (const struct cdt_scheme *row = cdt_schemes; row->name != NULL; row++)
        if (*row->name == *name && strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

const struct cdt_transport *cdt_transport_find(const char *name)
{
    for (size_t i = 0; cdt_transports[i] != NULL; i++)
        if (strcmp(cdt_transports[i]->name, name) == 0)
            return cdt_transports[i];
    return NULL;
}

const struct cdt_layer_kind *cdt_layer_kind_find(const char *name)
{
    for (size_t i = 0; cdt_layers[i] != NULL; i++)
        if (strcmp(cdt_layers[i]->name, name) == 0)
            return cdt_layers[i];
    return NULL;
}

const char *conduit_version(void)
{
    return "conduit " CONDUIT_VERSION;
}
