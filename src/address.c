/* SPDX-License-Identifier: ISC */
/*
 * From the URI of a target to its address.
 *
 * Each form of address is one function: where in the URI it stands, which differs between endpoints
 * and application schemes, and what is wrong with one that cannot be meant. Nothing is ignored: what
 * the form has no place for is refused, with the way it would be written.
 */
#include "address.h"
#include "endpoint.h"
#include "error.h"
#include "transport.h"
#include <conduit/memory.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static int read_host_port(struct cdt_target *target, bool listening, const conduit_error **reterr)
{
    const char *host = conduit_uri_host(target->uri);
    int port = conduit_uri_port(target->uri);
    if (strchr(host, '/') != NULL)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr,
                                 "a path as host needs a transport of paths, as in http+unix");
    bool by_records = target->records != CONDUIT_RECORDS_ADDRESS && !cdt_host_is_address(host);
    if (port < 0 && target->port == 0 && !target->place && !by_records)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "a port is missing");
    if (port == 0 && !listening)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "port 0 is for listening");
    if (port >= 0)
        target->port = (uint16_t)port;
    if (port >= 0 && target->records == CONDUIT_RECORDS_SRV)
        target->records = CONDUIT_RECORDS_ADDRESS;
    target->host = conduit_strdup(host);
    return target->host != NULL ? 0 : cdt_error_no_memory(reterr);
}

static int read_path(struct cdt_target *target, const conduit_error **reterr)
{
    const char *host = conduit_uri_host(target->uri);
    bool in_host = strchr(host, '/') != NULL;
    if (target->application && !in_host && !(target->place && *host == '\0'))
        return cdt_target_refuse(target, CONDUIT_EURI, reterr,
                                 "the socket's path goes where the host is, as in "
                                 "http+unix://%%2Frun%%2Fx.sock/");
    if (!target->application && *host != '\0')
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "a path has no host: write %s:/path",
                                 conduit_uri_scheme(target->uri));
    if (conduit_uri_port(target->uri) >= 0)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "a path has no port");
    target->host = conduit_strdup(in_host ? host : conduit_uri_path(target->uri));
    if (target->host == NULL)
        return cdt_error_no_memory(reterr);
    if (!in_host && !cdt_decode(target->host))
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "the path is malformed");
    if (*target->host == '\0')
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "a path is missing");
    size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
    if (strlen(target->host) > most)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr,
                                 "the path has %zu bytes, a socket's may have %zu",
                                 strlen(target->host), most);
    return 0;
}

static int read_name(struct cdt_target *target, const conduit_error **reterr)
{
    if (*conduit_uri_host(target->uri) == '\0')
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "a name is missing");
    if (conduit_uri_port(target->uri) >= 0)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "a name has no port");
    target->host = conduit_strdup(conduit_uri_host(target->uri));
    return target->host != NULL ? 0 : cdt_error_no_memory(reterr);
}

/* A number that the hypervisor gave, or none to listen at all. */
static int read_cid_port(struct cdt_target *target, bool listening, const conduit_error **reterr)
{
    const char *cid = conduit_uri_host(target->uri);
    int port = conduit_uri_port(target->uri);
    bool every = *cid == '\0' || strcmp(cid, "*") == 0;
    char place[32];
    if (every && !listening)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr,
                                 "a CID is missing: vsock://CID:PORT");
    if (!every && (cid[strspn(cid, "0123456789")] != '\0' || strlen(cid) > 10 ||
                   strtoull(cid, NULL, 10) >= UINT32_MAX))
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "a CID is a number of 32 bits");
    if (port <= 0)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "a port is missing");
    snprintf(place, sizeof(place), "%.10s:%d", every ? "" : cid, port);
    target->host = conduit_strdup(place);
    return target->host != NULL ? 0 : cdt_error_no_memory(reterr);
}

/* "fd:3"; of an application scheme the word stands where the host is: http+unix-abstract://name/ */
static int read_word(struct cdt_target *target, const conduit_error **reterr)
{
    const char *host = conduit_uri_host(target->uri);
    if (!target->application && *host != '\0')
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "write %s:..., without slashes",
                                 conduit_uri_scheme(target->uri));
    if (conduit_uri_port(target->uri) >= 0)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "there is no port to this");
    target->host = conduit_strdup(target->application ? host : conduit_uri_path(target->uri));
    if (target->host == NULL)
        return cdt_error_no_memory(reterr);
    if (!target->application && !cdt_decode(target->host))
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "a bad percent-escape");
    const struct cdt_transport *transport = target->transport;
    const char *wrong =
        transport->check_place != NULL ? transport->check_place(target->host) : NULL;
    return wrong == NULL ? 0 : cdt_target_refuse(target, CONDUIT_EURI, reterr, "%s", wrong);
}

/* The word after the slash; of an application scheme, whose path is not ours, the one after the
 * colon, or the scheme itself, as in http+vchan://www/index.html. */
static void find_port(const struct cdt_target *target, char *buf, size_t size)
{
    const char *scheme = conduit_uri_scheme(target->uri), *path = conduit_uri_path(target->uri);
    if (!target->application)
        snprintf(buf, size, "%s", *path == '/' ? path + 1 : path);
    else if (conduit_uri_port(target->uri) >= 0)
        snprintf(buf, size, "%d", conduit_uri_port(target->uri));
    else
        snprintf(buf, size, "%.*s", (int)strcspn(scheme, "+"), scheme);
}

static int read_name_port(struct cdt_target *target, const conduit_error **reterr)
{
    const char *scheme = conduit_uri_scheme(target->uri);
    char name[256], port[CDT_MAX_PORT_NAME + 2];
    int n = snprintf(name, sizeof(name), "%s", conduit_uri_host(target->uri));
    if (n > 1 && n < (int)sizeof(name) && name[n - 1] == '.')
        name[n - 1] = '\0'; /* the root's dot is DNS's */
    find_port(target, port, sizeof(port));
    if (!target->application && conduit_uri_port(target->uri) >= 0)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr,
                                 "a port is a word after the name: %s://%s/%d", scheme, name,
                                 conduit_uri_port(target->uri));
    if (!cdt_is_machine_name(name))
        return cdt_target_refuse(
            target, CONDUIT_EURI, reterr,
            "a name, or a domain's number up to %d, goes before the port: %s://NAME/PORT",
            CDT_MAX_DOMAIN, scheme);
    if (!cdt_is_port_name(port))
        return cdt_target_refuse(target, CONDUIT_EURI, reterr,
                                 "a port is 1 to %d letters, digits, '-' and '_': %s://%s/PORT",
                                 CDT_MAX_PORT_NAME, scheme, name);
    size_t size = strlen(name) + strlen(port) + 2;
    target->host = conduit_malloc(size);
    if (target->host == NULL)
        return cdt_error_no_memory(reterr);
    snprintf(target->host, size, "%s/%s", name, port);
    return 0;
}

/* What an endpoint URI has no use for must not be there: it would be ignored. */
static int check_rest(struct cdt_target *target, const conduit_error **reterr)
{
    if (target->application)
        return 0;
    const char *path = conduit_uri_path(target->uri);
    const enum cdt_address_form form = target->transport->form;
    const bool by_path = form == CDT_FORM_PATH || form == CDT_FORM_WORD;
    if (!by_path && *conduit_uri_host(target->uri) == '\0' && *path != '\0')
        return cdt_target_refuse(target, CONDUIT_EURI, reterr,
                                 "an address goes after two slashes: %s://...",
                                 conduit_uri_scheme(target->uri));
    if (!by_path && form != CDT_FORM_NAME_PORT && *path != '\0' && strcmp(path, "/") != 0)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "an endpoint has no path");
    if (*conduit_uri_fragment(target->uri) != '\0')
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "an endpoint has no fragment");
    return 0;
}

int cdt_address_read(struct cdt_target *target, bool listening, const conduit_error **reterr)
{
    int code = check_rest(target, reterr);
    if (code < 0)
        return code;
    switch (target->transport->form) {
    case CDT_FORM_HOST_PORT:
        return read_host_port(target, listening, reterr);
    case CDT_FORM_PATH:
        return read_path(target, reterr);
    case CDT_FORM_NAME:
        return read_name(target, reterr);
    case CDT_FORM_WORD:
        return read_word(target, reterr);
    case CDT_FORM_NAME_PORT:
        return read_name_port(target, reterr);
    case CDT_FORM_CID_PORT:
        return read_cid_port(target, listening, reterr);
    }
    return CONDUIT_EINVAL;
}
