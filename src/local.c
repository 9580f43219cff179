/* SPDX-License-Identifier: ISC */
/*
 * See local.h. Whose port it is stands in /proc/thread-self/net/tcp and tcp6, which are this
 * thread's network namespace: a line for each socket, those that listen first.
 *
 *     sl  local_address rem_address  st  tx:rx tr:tm retrnsmt  uid ...
 *     0: 0100007F:1F90 00000000:0000 0A  ...                   1000
 *
 * An address is printed there as the 32-bit words that it has in memory, and so it is in the
 * place's name: vchan://tcp-NAMESPACE/0100007F-8080.
 */
#include "local.h"
#include "endpoint.h"
#include "order.h"
#include "transport.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LISTENS = 0x0a, WORDS = 4, ADDRESS_SIZE = 8 * WORDS + 1 };

/* A port as the kernel lists it. */
struct port {
    bool ip6;
    char address[ADDRESS_SIZE];
    unsigned number;
};

/* Who listens there. */
struct keeper {
    bool known, several; /* several users: nobody can say which of them */
    uid_t user;
};

bool cdt_local_wanted(const struct cdt_target *target, bool asked)
{
    const char *said = cdt_params_get(&target->params, "prefer_local");
    if (target->transport->form != CDT_FORM_HOST_PORT ||
        (said != NULL ? strcmp(said, "1") != 0 : !asked))
        return false;
    for (size_t i = 0; i < target->n_steps; i++)
        if (!target->steps[i].kind->secure)
            return false;
    return cdt_params_get(&target->params, "interface") == NULL &&
           cdt_params_get(&target->params, "bind") == NULL;
}

/* ---- ports ---- */

static void print_words(char address[ADDRESS_SIZE], const void *bytes, int n_words)
{
    uint32_t words[WORDS];
    memcpy(words, bytes, (size_t)n_words * sizeof(words[0]));
    for (int i = 0; i < n_words; i++)
        snprintf(address + 8 * i, 9, "%08X", words[i]);
}

static struct port port_of(const conduit_endpoint *tcp)
{
    const union cdt_address *at = &tcp->address;
    struct port port = {.ip6 = at->any.sa_family == AF_INET6, .number = tcp->port};
    if (port.ip6)
        print_words(port.address, &at->in6.sin6_addr, WORDS);
    else
        print_words(port.address, &at->in.sin_addr, 1);
    return port;
}

/* The same port of every address. */
static struct port wildcard_of(const struct port *port)
{
    struct port wildcard = *port;
    memset(wildcard.address, '0', strlen(wildcard.address));
    return wildcard;
}

/* Is the line about a socket that listens at all? Those come first. */
static bool listens(const char *line, const struct port *port, struct keeper *keeper)
{
    char address[ADDRESS_SIZE];
    unsigned number, state, user;
    if (sscanf(line, " %*u: %32[0-9A-F]:%x %*[0-9A-F:] %x %*x:%*x %*x:%*x %*x %u", address, &number,
               &state, &user) != 4 ||
        state != LISTENS)
        return false;
    if (number != port->number || strcmp(address, port->address) != 0)
        return true;
    keeper->several |= keeper->known && keeper->user != user;
    keeper->known = true;
    keeper->user = user;
    return true;
}

static struct keeper find_keeper(const struct port *port)
{
    char line[512];
    struct keeper keeper = {0};
    FILE *file =
        fopen(port->ip6 ? "/proc/thread-self/net/tcp6" : "/proc/thread-self/net/tcp", "re");
    if (file == NULL)
        return keeper;
    if (fgets(line, sizeof(line), file) != NULL) /* the heading */
        while (fgets(line, sizeof(line), file) != NULL && listens(line, port, &keeper))
            continue;
    fclose(file);
    return keeper;
}

/* ---- addresses ---- */

static bool is_loopback(const union cdt_address *address)
{
    return address->any.sa_family == AF_INET
               ? ntohl(address->in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET
               : IN6_IS_ADDR_LOOPBACK(&address->in6.sin6_addr);
}

/* To what is its own a machine connects from there. Asked anew each time: an address that moves
 * from one machine to another has just been this one's. */
static bool is_own(const union cdt_address *address)
{
    struct cdt_source source;
    if (is_loopback(address))
        return true;
    if (!cdt_source_of_kernel(NULL, &address->any, &source))
        return false;
    if (address->any.sa_family == AF_INET)
        return source.address.in.sin_addr.s_addr == address->in.sin_addr.s_addr;
    return memcmp(&source.address.in6.sin6_addr, &address->in6.sin6_addr,
                  sizeof(address->in6.sin6_addr)) == 0;
}

/* An IPv4 address in IPv6's clothes is taken by a listener of the other family. */
static bool is_plain(const union cdt_address *address)
{
    return address->any.sa_family == AF_INET ||
           (address->any.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr));
}

/* ---- places ---- */

static const conduit_endpoint *place_of(const struct port *port, const char *share)
{
    struct stat space;
    char uri[160];
    const conduit_endpoint *place = NULL;
    if (stat("/proc/thread-self/ns/net", &space) < 0)
        return NULL;
    snprintf(uri, sizeof(uri), "vchan://tcp-%ju/%s-%u?backing=shm%s%s", (uintmax_t)space.st_ino,
             port->address, port->number, *share != '\0' ? "&share=" : "", share);
    conduit_endpoint_parse(uri, &place, NULL);
    return place;
}

/* To root's ports other users may connect, and so to the place beside them. */
const conduit_endpoint *cdt_local_beside(const conduit_endpoint *tcp)
{
    struct port port = port_of(tcp);
    if (!is_plain(&tcp->address))
        return NULL;
    return place_of(&port, geteuid() == 0 ? "*" : "");
}

static bool is_taken(const conduit_endpoint *place)
{
    return place->transport->taken != NULL && place->transport->taken(place);
}

const conduit_endpoint *cdt_local_find(const conduit_endpoint *tcp)
{
    if (!is_plain(&tcp->address) || !is_own(&tcp->address))
        return NULL;
    struct port port = port_of(tcp);
    struct keeper keeper = find_keeper(&port);
    if (!keeper.known) {
        port = wildcard_of(&port);
        keeper = find_keeper(&port);
    }
    if (!keeper.known || keeper.several || (keeper.user != 0 && keeper.user != geteuid()))
        return NULL;
    const conduit_endpoint *place = place_of(&port, keeper.user == 0 ? "0" : "");
    if (place == NULL || is_taken(place))
        return place;
    conduit_endpoint_unref(place);
    return NULL;
}
