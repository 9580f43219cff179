/* SPDX-License-Identifier: ISC */
/*
 * dns: A and AAAA, asked apart of c-ares, so that a slow family never holds up the other.
 *
 *   start()       one lookup, one ares_getaddrinfo() per family
 *   on_socket()   c-ares wants to know when a socket of its own is ready: a uv_poll_t for each
 *   on_ready()    it is: c-ares reads, and may call
 *   on_answer()   which copies the answer and no more, for it runs inside c-ares
 *   on_turn()     from a timer: c-ares's time-outs; queries are told; what is over is freed
 *
 * Queries are told from on_turn() and start() alone, and channels destroyed by on_turn() and
 * detach() alone: nothing enters c-ares from within c-ares. A lookup whose query was canceled stays
 * until c-ares has answered it. c-ares reads resolv.conf once per channel, so when the file has
 * changed a new channel takes over, and the old one goes after its last answer. The state goes with
 * the last handle. None of the handles keeps the loop alive: the deadline of every query does.
 */
#define CARES_NO_DEPRECATED 1 /* one source for c-ares 1.18 and for what came after it */
#include "names.h"
#include <ares.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    N_FAMILIES = 2,
    MAX_ADDRESSES = 64, /* of one family */
    TRIES = 2,
    TRY_MS = 1500, /* a second server is asked well within the 5 s that a query has */
    MAX_SLEEP_MS = 1000,
    UDP_SIZE = 1232, /* of an answer: what is larger may not come through, and is for TCP */
    TOKEN_SIZE = 56, /* "[", 45 bytes of address, "]:65535" */
    SERVER_SIZE = 72,
    SERVERS_SIZE = 256,
    WHY_SIZE = 384,
};

static const char config_file[] = "/etc/resolv.conf";

struct dns;
struct channel;
struct lookup;

/* A socket of c-ares's. Outlives its channel by the turn that closing takes. */
struct socket {
    uv_poll_t poll;
    struct dns *dns;
    struct channel *channel;
    ares_socket_t fd;
    struct socket *next;
};

struct channel {
    struct dns *dns;
    ares_channel ares;
    struct socket *sockets;
    size_t n_lookups;
    size_t n_asked; /* answers that are still to come */
    char servers[SERVERS_SIZE];
    struct channel *next;
};

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in ip4;
        struct sockaddr_in6 ip6;
    } at;
    int32_t ttl;
};

/* One family of a lookup. */
struct ask {
    struct lookup *lookup;
    int family;
    enum { UNASKED, ASKED, ANSWERED, TOLD } phase;
    int status; /* c-ares's, from ANSWERED on */
    size_t n;
    struct address *addresses;
};

struct lookup {
    struct channel *channel;
    conduit_query *query; /* NULL: it is over, or was canceled */
    struct ask asks[N_FAMILIES];
    struct lookup *next;
};

struct dns {
    uv_loop_t *loop;
    uv_timer_t timer;
    size_t n_handles; /* not yet closed */
    bool due;         /* there is something to tell */
    bool detached;
    bool off;      /* the system is asked instead */
    char *servers; /* asked instead of resolv.conf's; NULL */
    struct cdt_watch watch;
    struct channel *channels; /* the first is in use, the others drain */
    struct lookup *lookups;
};

/* ---- memory */

static void free_lookup(struct lookup *lookup)
{
    for (int i = 0; i < N_FAMILIES; i++)
        free(lookup->asks[i].addresses);
    free(lookup);
}

/* The end of it all: every handle is closed, every channel destroyed. */
static void free_dns(struct dns *dns)
{
    for (struct lookup *next, *lookup = dns->lookups; lookup != NULL; lookup = next) {
        next = lookup->next;
        free_lookup(lookup);
    }
    for (struct channel *next, *channel = dns->channels; channel != NULL; channel = next) {
        next = channel->next;
        free(channel);
    }
    free(dns->servers);
    free(dns);
}

static void drop_handle(struct dns *dns)
{
    if (--dns->n_handles == 0)
        free_dns(dns);
}

static void on_timer_closed(uv_handle_t *timer)
{
    drop_handle(timer->data);
}

static void on_socket_closed(uv_handle_t *poll)
{
    struct socket *socket = poll->data;
    struct dns *dns = socket->dns;
    free(socket);
    drop_handle(dns);
}

/* ---- the timer */

static void on_turn(uv_timer_t *timer);

/* Milliseconds until c-ares wants to look at its clock; -1 if it waits for nothing. */
static int64_t sleep_of(const struct channel *channel)
{
    struct timeval most = {.tv_sec = MAX_SLEEP_MS / 1000}, space;
    if (channel->n_asked == 0)
        return -1;
    const struct timeval *sleep = ares_timeout(channel->ares, &most, &space);
    return (int64_t)sleep->tv_sec * 1000 + (sleep->tv_usec + 999) / 1000;
}

/* After all that may have changed what there is to wait for. The loop's clock may be behind by what
 * its callbacks took. */
static void arm(struct dns *dns)
{
    int64_t least = dns->due ? 0 : -1;
    if (dns->detached)
        return;
    for (const struct channel *channel = dns->channels; channel != NULL; channel = channel->next) {
        int64_t sleep = sleep_of(channel);
        if (sleep >= 0 && (least < 0 || sleep < least))
            least = sleep;
    }
    uv_update_time(dns->loop);
    if (least < 0)
        uv_timer_stop(&dns->timer);
    else
        uv_timer_start(&dns->timer, on_turn, (uint64_t)least, 0);
}

/* ---- the sockets of c-ares */

static void on_ready(uv_poll_t *poll, int status, int events)
{
    const struct socket *socket = poll->data;
    struct dns *dns = socket->dns;
    ares_socket_t fd = socket->fd;
    if (status < 0) /* an error is there to be read; the poll has stopped itself */
        events = UV_READABLE | UV_WRITABLE;
    ares_process_fd(socket->channel->ares, events & UV_READABLE ? fd : ARES_SOCKET_BAD,
                    events & UV_WRITABLE ? fd : ARES_SOCKET_BAD);
    arm(dns);
}

static struct socket **find_socket(struct channel *channel, ares_socket_t fd)
{
    struct socket **at = &channel->sockets;
    while (*at != NULL && (*at)->fd != fd)
        at = &(*at)->next;
    return at;
}

/* Without a poll for it nobody sees the answer, and what remains is c-ares's time-out. */
static struct socket *watch_socket(struct channel *channel, ares_socket_t fd)
{
    struct dns *dns = channel->dns;
    struct socket *socket = calloc(1, sizeof(*socket));
    if (socket == NULL)
        return NULL;
    if (uv_poll_init(dns->loop, &socket->poll, fd) != 0) {
        free(socket);
        return NULL;
    }
    uv_unref((uv_handle_t *)&socket->poll);
    socket->poll.data = socket;
    socket->dns = dns;
    socket->channel = channel;
    socket->fd = fd;
    socket->next = channel->sockets;
    channel->sockets = socket;
    dns->n_handles++;
    return socket;
}

/* Before c-ares closes the descriptor, which uv_close() has forgotten by when it returns. */
static void forget_socket(struct socket **at)
{
    struct socket *socket = *at;
    if (socket == NULL)
        return;
    *at = socket->next;
    uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
}

static void on_socket(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct channel *channel = arg;
    struct socket **at = find_socket(channel, fd);
    if (!readable && !writable) {
        forget_socket(at);
        return;
    }
    struct socket *socket = *at != NULL ? *at : watch_socket(channel, fd);
    if (socket != NULL)
        uv_poll_start(&socket->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0),
                      on_ready);
}

/* ---- channels */

/* No search list (RFC 1535), no hosts file, no HOSTALIASES: the name is asked as it is, of DNS.
 * DOMAINS says it again (there are none), for ares_getaddrinfo() of 1.18 does not heed NOSEARCH. */
static int open_ares(struct channel *channel)
{
    struct ares_options options = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
        .timeout = TRY_MS,
        .tries = TRIES,
        .lookups = (char[]){"b"},
        .sock_state_cb = on_socket,
        .sock_state_cb_data = channel,
        .ednspsz = UDP_SIZE,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
               ARES_OPT_SOCK_STATE_CB | ARES_OPT_EDNSPSZ | ARES_OPT_DOMAINS;
#ifdef ARES_OPT_QUERY_CACHE
    mask |= ARES_OPT_QUERY_CACHE; /* for 0 seconds */
#endif
    int status = ares_init_options(&channel->ares, &options, mask);
    const char *servers = channel->dns->servers;
    if (status != ARES_SUCCESS || servers == NULL)
        return status;
    status = ares_set_servers_ports_csv(channel->ares, servers);
    if (status != ARES_SUCCESS)
        ares_destroy(channel->ares);
    return status;
}

static void print_server(char text[SERVER_SIZE], const struct ares_addr_port_node *server)
{
    char address[INET6_ADDRSTRLEN];
    bool usual = server->udp_port == 0 || server->udp_port == 53;
    uv_inet_ntop(server->family, &server->addr, address, sizeof(address));
    if (usual)
        snprintf(text, SERVER_SIZE, "%s", address);
    else
        snprintf(text, SERVER_SIZE, server->family == AF_INET6 ? "[%s]:%d" : "%s:%d", address,
                 server->udp_port);
}

/* "192.0.2.1, [2001:db8::1]:5353", as far as there is room. */
static void print_servers(struct channel *channel)
{
    struct ares_addr_port_node *servers = NULL;
    size_t n = 0;
    if (ares_get_servers_ports(channel->ares, &servers) != ARES_SUCCESS)
        return;
    for (const struct ares_addr_port_node *at = servers; at != NULL; at = at->next) {
        char server[SERVER_SIZE];
        print_server(server, at);
        if (n + strlen(server) + 3 > SERVERS_SIZE)
            break;
        n += (size_t)snprintf(channel->servers + n, SERVERS_SIZE - n, "%s%s", n > 0 ? ", " : "",
                              server);
    }
    ares_free_data(servers);
}

static int make_channel(struct dns *dns)
{
    struct channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL)
        return ARES_ENOMEM;
    channel->dns = dns;
    int status = open_ares(channel);
    if (status != ARES_SUCCESS) {
        free(channel);
        return status;
    }
    print_servers(channel);
    channel->next = dns->channels;
    dns->channels = channel;
    return status;
}

/* Have a channel that knows resolv.conf as it is. If a new one cannot be had the old one is better
 * than none. */
static int refresh(struct dns *dns)
{
    struct cdt_stamp now;
    bool stale = dns->servers == NULL && cdt_watch_look(&dns->watch, config_file, &now);
    if (dns->channels != NULL && !stale)
        return ARES_SUCCESS;
    int status = make_channel(dns);
    if (status != ARES_SUCCESS)
        return dns->channels != NULL ? ARES_SUCCESS : status;
    if (stale)
        dns->watch.seen = now;
    return ARES_SUCCESS;
}

/* ---- answers, inside c-ares */

static int32_t cap_ttl(int32_t most, int ttl)
{
    if (ttl < 0)
        return 0;
    return ttl < most ? ttl : most;
}

/* An answer is good for as long as the shortest-lived record on the way to it. */
static int32_t alias_ttl(const struct ares_addrinfo *found)
{
    int32_t ttl = INT32_MAX;
    for (const struct ares_addrinfo_cname *at = found->cnames; at != NULL; at = at->next)
        ttl = cap_ttl(ttl, at->ttl);
    return ttl;
}

static void put_address(struct ask *ask, const struct ares_addrinfo_node *node, int32_t most)
{
    size_t n = ask->family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (node->ai_family != ask->family || node->ai_addrlen < n)
        return;
    struct address *address = &ask->addresses[ask->n++];
    memcpy(&address->at, node->ai_addr, n);
    address->ttl = cap_ttl(most, node->ai_ttl);
}

static int copy_answer(struct ask *ask, const struct ares_addrinfo *found)
{
    ask->addresses = calloc(MAX_ADDRESSES, sizeof(*ask->addresses));
    if (ask->addresses == NULL)
        return ARES_ENOMEM;
    int32_t most = alias_ttl(found);
    const struct ares_addrinfo_node *at = found->nodes;
    for (; at != NULL && ask->n < MAX_ADDRESSES; at = at->ai_next)
        put_address(ask, at, most);
    return ask->n > 0 ? ARES_SUCCESS : ARES_ENODATA;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
    struct ask *ask = arg;
    struct channel *channel = ask->lookup->channel;
    if (status == ARES_SUCCESS && ask->lookup->query != NULL)
        status = copy_answer(ask, found);
    if (found != NULL)
        ares_freeaddrinfo(found);
    ask->status = status;
    ask->phase = ANSWERED;
    channel->n_asked--;
    channel->dns->due = true; /* who called c-ares arms the timer */
}

/* ---- answers, outside c-ares */

struct failure {
    int status;
    int code;
    const char *text;
    bool of_servers; /* the text goes on with who they are */
};

static const struct failure failures[] = {
    {ARES_ENOTFOUND, CONDUIT_ENONAME, "no such name (NXDOMAIN)", false},
    {ARES_ENODATA, CONDUIT_ENONAME, "the name has no address (NODATA)", false},
    {ARES_EBADNAME, CONDUIT_ENONAME, "not a name that DNS can hold", false},
    {ARES_ETIMEOUT, CONDUIT_ETIMEDOUT, "no answer from", true},
    /* Before 1.20 also what is left of SERVFAIL and REFUSED when no server has done better. */
    {ARES_ECONNREFUSED, CONDUIT_ETEMP, "no usable answer (refused, or SERVFAIL) from", true},
    {ARES_ESERVFAIL, CONDUIT_ETEMP, "the name server failed (SERVFAIL):", true},
    {ARES_EREFUSED, CONDUIT_ETEMP, "the name server will not answer (REFUSED):", true},
    {ARES_ENOTIMP, CONDUIT_ETEMP, "the name server cannot answer (NOTIMP):", true},
    {ARES_EFORMERR, CONDUIT_ETEMP,
     "the name server takes the query for malformed (FORMERR):", true},
    {ARES_EBADRESP, CONDUIT_ETEMP, "a malformed answer from", true},
    {ARES_ENOMEM, CONDUIT_ENOMEM, "out of memory", false},
};

static struct failure find_failure(int status)
{
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
        if (failures[i].status == status)
            return failures[i];
    return (struct failure){status, CONDUIT_ETEMP, ares_strerror(status), false};
}

static void print_failure(char text[WHY_SIZE], int status, const char *servers)
{
    struct failure failure = find_failure(status);
    if (failure.of_servers)
        snprintf(text, WHY_SIZE, "%s %s", failure.text, servers);
    else
        snprintf(text, WHY_SIZE, "%s", failure.text);
}

static void fail(conduit_query *query, int status, const char *servers)
{
    char why[WHY_SIZE];
    print_failure(why, status, servers);
    conduit_query_done(query, find_failure(status).code, "c-ares", status, why);
}

static const char *record_of(const struct ask *ask)
{
    return ask->family == AF_INET6 ? "AAAA" : "A";
}

static const void *bytes_of(const struct address *address)
{
    if (address->at.any.sa_family == AF_INET6)
        return &address->at.ip6.sin6_addr;
    return &address->at.ip4.sin_addr;
}

/* As many as there is room for. */
static void print_addresses(char text[WHY_SIZE], const struct ask *ask)
{
    size_t n = 0;
    for (size_t i = 0; i < ask->n && n < WHY_SIZE; i++) {
        const struct address *address = &ask->addresses[i];
        char numeric[INET6_ADDRSTRLEN];
        uv_inet_ntop(ask->family, bytes_of(address), numeric, sizeof(numeric));
        n += (size_t)snprintf(text + n, WHY_SIZE - n, "%s%s (%d s)", i > 0 ? ", " : "", numeric,
                              (int)address->ttl);
    }
}

static void trace_answer(const struct ask *ask)
{
    conduit_query *query = ask->lookup->query;
    char text[WHY_SIZE];
    if (ask->status == ARES_SUCCESS)
        print_addresses(text, ask);
    else
        print_failure(text, ask->status, ask->lookup->channel->servers);
    conduit_query_trace(query, "answer", "%s %s: %s", record_of(ask), conduit_query_host(query),
                        text);
}

/* The query may be canceled from within any of this. */
static void tell_family(struct ask *ask)
{
    const struct lookup *lookup = ask->lookup;
    ask->phase = TOLD;
    trace_answer(ask);
    for (size_t i = 0; i < ask->n && lookup->query != NULL; i++)
        conduit_query_add_address(lookup->query, &ask->addresses[i].at.any, ask->addresses[i].ttl);
    if (lookup->query != NULL)
        conduit_query_settled(lookup->query, ask->family);
}

/* One address makes it a success. NXDOMAIN is about the name. A failure may hide addresses, while
 * NODATA says that there are none of its family. */
static int weight_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return 3;
    case ARES_ENOTFOUND:
        return 2;
    case ARES_ENODATA:
        return 0;
    default:
        return 1;
    }
}

static int verdict_of(const struct lookup *lookup)
{
    int verdict = ARES_ENODATA;
    for (int i = 0; i < N_FAMILIES; i++) {
        const struct ask *ask = &lookup->asks[i];
        if (ask->phase == TOLD && weight_of(ask->status) > weight_of(verdict))
            verdict = ask->status;
    }
    return verdict;
}

/* When all is told; or at the first NXDOMAIN, which holds for every family (RFC 8020). */
static bool is_over(const struct lookup *lookup)
{
    bool waiting = false;
    for (int i = 0; i < N_FAMILIES; i++) {
        const struct ask *ask = &lookup->asks[i];
        if (ask->phase == TOLD && ask->status == ARES_ENOTFOUND)
            return true;
        waiting |= ask->phase == ASKED || ask->phase == ANSWERED;
    }
    return !waiting;
}

static void finish(struct lookup *lookup)
{
    conduit_query *query = lookup->query;
    int verdict = verdict_of(lookup);
    lookup->query = NULL;
    if (verdict == ARES_SUCCESS)
        conduit_query_done(query, 0, NULL, 0, NULL);
    else
        fail(query, verdict, lookup->channel->servers);
}

static void tell(struct lookup *lookup)
{
    for (int i = 0; i < N_FAMILIES; i++)
        if (lookup->query != NULL && lookup->asks[i].phase == ANSWERED)
            tell_family(&lookup->asks[i]);
    if (lookup->query != NULL && is_over(lookup))
        finish(lookup);
}

static bool is_answered(const struct lookup *lookup)
{
    return lookup->asks[0].phase != ASKED && lookup->asks[1].phase != ASKED;
}

static void drop_lookups(struct dns *dns)
{
    struct lookup **at = &dns->lookups;
    while (*at != NULL) {
        struct lookup *lookup = *at;
        if (lookup->query != NULL || !is_answered(lookup)) {
            at = &lookup->next;
            continue;
        }
        *at = lookup->next;
        lookup->channel->n_lookups--;
        free_lookup(lookup);
    }
}

static void drop_channels(struct dns *dns)
{
    struct channel **at = dns->channels != NULL ? &dns->channels->next : &dns->channels;
    while (*at != NULL) {
        struct channel *channel = *at;
        if (channel->n_lookups > 0) {
            at = &channel->next;
            continue;
        }
        *at = channel->next;
        ares_destroy(channel->ares);
        free(channel);
    }
}

/* A lookup that starts while others are told is put before them, and has its turn in the next. */
static void on_turn(uv_timer_t *timer)
{
    struct dns *dns = timer->data;
    for (struct channel *channel = dns->channels; channel != NULL; channel = channel->next)
        ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    dns->due = false;
    for (struct lookup *lookup = dns->lookups; lookup != NULL; lookup = lookup->next)
        tell(lookup);
    if (dns->detached)
        return;
    drop_lookups(dns);
    drop_channels(dns);
    arm(dns);
}

/* ---- the servers of the options */

static bool read_port(const char *text, uint16_t *ret)
{
    size_t n = strlen(text);
    if (n == 0 || n > 5 || strspn(text, "0123456789") != n)
        return false;
    int port = atoi(text);
    *ret = (uint16_t)port;
    return port > 0 && port <= UINT16_MAX;
}

/* Cut "[2001:db8::1]:53", "192.0.2.1:53" or an address alone in two. */
static bool split_server(char *text, const char **host, const char **port)
{
    char *colon = strchr(text, ':');
    *host = text;
    *port = "53";
    if (*text == '[') {
        char *close = strchr(text, ']');
        if (close == NULL || (close[1] != '\0' && close[1] != ':'))
            return false;
        *host = text + 1;
        if (close[1] == ':')
            *port = close + 2;
        *close = '\0';
    } else if (colon != NULL && strchr(colon + 1, ':') == NULL) {
        *port = colon + 1;
        *colon = '\0';
    }
    return true;
}

/* One server, as every version of c-ares reads it. */
static bool read_server(char ret[SERVER_SIZE], const char *text, size_t n)
{
    unsigned char address[sizeof(struct in6_addr)];
    const char *host, *digits;
    char copy[TOKEN_SIZE];
    uint16_t port;
    if (n >= sizeof(copy))
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    bool brackets = copy[0] == '[';
    if (!split_server(copy, &host, &digits) || !read_port(digits, &port))
        return false;
    if (!brackets && uv_inet_pton(AF_INET, host, address) == 0)
        snprintf(ret, SERVER_SIZE, "%s:%d", host, port);
    else if (strchr(host, '%') == NULL && uv_inet_pton(AF_INET6, host, address) == 0)
        snprintf(ret, SERVER_SIZE, "[%s]:%d", host, port);
    else
        return false;
    return true;
}

static int read_servers(struct dns *dns, const char *text)
{
    size_t n = 0;
    dns->servers = malloc((strlen(text) + 1) * 8 + SERVER_SIZE);
    if (dns->servers == NULL)
        return CONDUIT_ENOMEM;
    for (;; text++) {
        size_t length = strcspn(text, ",");
        if (!read_server(dns->servers + n, text, length))
            return CONDUIT_EINVAL;
        n += strlen(dns->servers + n);
        text += length;
        if (*text == '\0')
            return 0;
        dns->servers[n++] = ',';
    }
}

/* ---- the resolver */

static int attach(conduit_ctx *ctx, const conduit_ctx_options *options, void **state)
{
    struct dns *dns = calloc(1, sizeof(*dns));
    if (dns == NULL)
        return CONDUIT_ENOMEM;
    int code = options->dns_servers != NULL ? read_servers(dns, options->dns_servers) : 0;
    if (code != 0) {
        free_dns(dns);
        return code;
    }
    dns->loop = conduit_ctx_loop(ctx);
    dns->off = options->system_resolver;
    uv_timer_init(dns->loop, &dns->timer);
    uv_unref((uv_handle_t *)&dns->timer);
    dns->timer.data = dns;
    dns->n_handles = 1;
    *state = dns;
    return 0;
}

/* c-ares answers what was canceled and is still with it (ARES_EDESTRUCTION), and lets go of its
 * sockets. */
static void detach(void *state)
{
    struct dns *dns = state;
    dns->detached = true;
    for (struct channel *channel = dns->channels; channel != NULL; channel = channel->next)
        ares_destroy(channel->ares);
    uv_close((uv_handle_t *)&dns->timer, on_timer_closed);
}

static bool accepts(const conduit_query *query, void *state)
{
    const struct dns *dns = state;
    return !dns->off && conduit_query_by_address(query) && *conduit_query_host(query) != '\0' &&
           !conduit_query_listening(query);
}

static void ask_family(struct lookup *lookup, int i, int family)
{
    const struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_NOSORT, .ai_family = family, .ai_socktype = SOCK_STREAM};
    struct ask *ask = &lookup->asks[i];
    conduit_query *query = lookup->query;
    ask->lookup = lookup;
    ask->family = family;
    ask->phase = ASKED;
    lookup->channel->n_asked++;
    conduit_query_trace(query, "query", "%s %s to %s", record_of(ask), conduit_query_host(query),
                        lookup->channel->servers);
    ares_getaddrinfo(lookup->channel->ares, conduit_query_host(query), NULL, &hints, on_answer,
                     ask);
}

/* AAAA first: its answer is waited for (RFC 8305, 3). */
static void ask_families(struct lookup *lookup)
{
    int only = conduit_query_family(lookup->query);
    if (only != AF_INET)
        ask_family(lookup, 0, AF_INET6);
    if (only != AF_INET6)
        ask_family(lookup, 1, AF_INET);
}

static void start(conduit_query *query, void *state)
{
    struct dns *dns = state;
    int status = refresh(dns);
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    if (status != ARES_SUCCESS || lookup == NULL) {
        free(lookup);
        fail(query, status != ARES_SUCCESS ? status : ARES_ENOMEM, "");
        return;
    }
    lookup->channel = dns->channels;
    lookup->channel->n_lookups++;
    lookup->query = query;
    lookup->next = dns->lookups;
    dns->lookups = lookup;
    conduit_query_set_data(query, lookup);
    ask_families(lookup);
    arm(dns);
}

static void cancel(conduit_query *query, void *state)
{
    struct lookup *lookup = conduit_query_data(query);
    lookup->query = NULL;
}

const conduit_resolver cdt_resolver_dns = {
    .name = "dns",
    .attach = attach,
    .detach = detach,
    .accepts = accepts,
    .start = start,
    .cancel = cancel,
};
