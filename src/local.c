/* SPDX-License-Identifier: ISC */
/*
 * See local.h. Whose port it is the kernel says (sock_diag(7)): asked for a connection from an
 * address to one, it looks for the socket as it does for a packet, so that its own rules decide
 * which of several it is, in the network namespace of this thread. One question and one answer,
 * however many sockets there are.
 *
 * An address is printed as the 32-bit words that it has in memory in the place's name:
 * vchan://tcp-NAMESPACE/0100007F-8080.
 */
#include "local.h"
#include "endpoint.h"
#include "order.h"
#include "transport.h"
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORDS = 4, ADDRESS_SIZE = 8 * WORDS + 1, LOOPBACK = 1 /* the interface, everywhere */ };

/* A port, as it is named. */
struct port {
    char address[ADDRESS_SIZE];
    unsigned number;
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
    struct port port = {.number = tcp->port};
    if (at->any.sa_family == AF_INET6)
        print_words(port.address, &at->in6.sin6_addr, WORDS);
    else
        print_words(port.address, &at->in.sin_addr, 1);
    return port;
}

/* ---- the kernel's word ---- */

struct question {
    struct nlmsghdr head;
    struct inet_diag_req_v2 body;
};

struct answer {
    struct nlmsghdr head;
    struct inet_diag_msg body;
};

/* A connection from the machine to itself comes in by the loopback, whatever the address. */
static struct question question_about(const union cdt_address *to)
{
    struct question q = {
        .head = {.nlmsg_len = sizeof(q),
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST},
        .body = {.sdiag_family = (uint8_t)to->any.sa_family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .id = {.idiag_if = LOOPBACK,
                        .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}},
    };
    if (to->any.sa_family == AF_INET6) {
        q.body.id.idiag_sport = to->in6.sin6_port;
        memcpy(q.body.id.idiag_src, &to->in6.sin6_addr, sizeof(to->in6.sin6_addr));
    } else {
        q.body.id.idiag_sport = to->in.sin_port;
        memcpy(q.body.id.idiag_src, &to->in.sin_addr, sizeof(to->in.sin_addr));
    }
    memcpy(q.body.id.idiag_dst, q.body.id.idiag_src, sizeof(q.body.id.idiag_dst));
    return q;
}

/* The kernel answers while it is being asked. Attributes that follow are cut off. */
static bool exchange(int fd, const struct question *question, struct answer *answer)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK}, from = {.nl_pid = UINT32_MAX};
    socklen_t len = sizeof(from);
    return sendto(fd, question, sizeof(*question), 0, (struct sockaddr *)&kernel, sizeof(kernel)) ==
               (ssize_t)sizeof(*question) &&
           recvfrom(fd, answer, sizeof(*answer), 0, (struct sockaddr *)&from, &len) ==
               (ssize_t)sizeof(*answer) &&
           from.nl_pid == 0 && answer->head.nlmsg_type == SOCK_DIAG_BY_FAMILY;
}

/* Who would accept a connection to `to`? A socket of the other family that takes both, and one that
 * is bound to an interface, are other ports than any that a place stands beside. */
static bool find_keeper(const union cdt_address *to, struct inet_diag_msg *ret)
{
    struct question question = question_about(to);
    struct answer answer = {0};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return false;
    bool known = exchange(fd, &question, &answer);
    close(fd);
    *ret = answer.body;
    return known && ret->idiag_state == TCP_LISTEN && ret->idiag_family == to->any.sa_family &&
           ret->id.idiag_if == 0;
}

static struct port port_of_keeper(const struct inet_diag_msg *keeper)
{
    struct port port = {.number = ntohs(keeper->id.idiag_sport)};
    print_words(port.address, keeper->id.idiag_src, keeper->idiag_family == AF_INET6 ? WORDS : 1);
    return port;
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
    struct inet_diag_msg keeper;
    if (!find_keeper(&tcp->address, &keeper) ||
        (keeper.idiag_uid != 0 && keeper.idiag_uid != geteuid()))
        return NULL;
    struct port port = port_of_keeper(&keeper);
    const conduit_endpoint *place = place_of(&port, keeper.idiag_uid == 0 ? "0" : "");
    if (place == NULL || is_taken(place))
        return place;
    conduit_endpoint_unref(place);
    return NULL;
}
