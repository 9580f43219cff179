/* SPDX-License-Identifier: ISC */
/*
 * c-ares on the loop.
 *
 *   cdt_dns_ask() from memory, or lined up
 *   before_sleep() of the loop: one ares_query() for each, and what c-ares sends is sent
 *   on_socket()   c-ares wants to know when a socket of its own is ready: a uv_poll_t for each
 *   on_ready()    it is: c-ares reads, and may call
 *   on_reply()    which decodes the answer, keeps it, and no more, for it runs inside c-ares
 *   on_turn()     from a timer: c-ares's time-outs; owners are told; what is over is freed
 *
 * Owners are told from on_turn() alone, and channels destroyed by on_turn() and the end alone:
 * nothing enters c-ares from within c-ares. A question that was forgotten stays until c-ares has
 * answered it. c-ares reads resolv.conf once per channel, so when the file has changed a new
 * channel takes over, and the old one goes after its last answer. The client goes with the last
 * handle. None of the handles keeps the loop alive: the deadline of every query does.
 */
#define CARES_NO_DEPRECATED 1 /* one source for c-ares 1.18 and for what came after it */
#include "dns_client.h"
#include "dns_cache.h"
#include "dns_servers.h"
#include "dns_sockets.h"
#include <ares.h>
#include <conduit/memory.h>
#include <netinet/in.h>
#include <stdio.h>

enum {
    TRIES = 2,
    TRY_MS = 1500, /* a second server is asked well within the 5 s that a query has */
    MAX_SLEEP_MS = 1000,
    RETRY_MS = 1,    /* when the kernel had no room for a packet */
    UDP_SIZE = 1232, /* of an answer: what is larger may not come through, and is for TCP */
    CACHED = 4096,
    MOST_CHANNELS = 64,
    SERVER_SIZE = 72,
    SERVERS_SIZE = 256,
};

static const char config_file[] = "/etc/resolv.conf";

/* A socket of c-ares's. Outlives its channel by the turn that closing takes. */
struct socket {
    uv_poll_t poll;
    struct cdt_dns_client *client;
    struct cdt_dns_channel *channel;
    ares_socket_t fd;
    struct socket *next;
};

struct cdt_dns_channel {
    struct cdt_dns_client *client;
    ares_channel ares;
    struct socket *sockets;
    size_t n_questions;
    size_t n_pending; /* with c-ares */
    bool trusts_ad;   /* its servers say whether an answer is authentic, and are believed */
    bool deaf;        /* one of its sockets could not be watched */
    char servers[SERVERS_SIZE];
    struct cdt_dns_channel *next;
};

struct cdt_dns_client {
    uv_loop_t *loop;
    uv_timer_t timer;
    uv_prepare_t sleep; /* asks, and sets the timer */
    uv_idle_t awake;    /* who turns the loop from outside does not sleep before that */
    size_t n_handles;   /* not yet closed */
    bool due;           /* there is something to tell */
    bool ended;
    uint64_t until_ms; /* when the first question is to be given up; 0: none */
    unsigned epoch;    /* flushes */
    char *servers;     /* asked instead of resolv.conf's; NULL */
    bool trusts_ad;    /* whoever they are */
    struct cdt_watch watch;
    struct cdt_dns_cache *cache;
    struct cdt_dns_sockets *sockets;
    struct cdt_dns_channel *channels; /* the first is in use, the others drain */
    struct cdt_dns_question *questions, **end;
    struct cdt_dns_question *unasked, **end_unasked; /* of them, in the same order */
};

/* ---- memory */

static void free_question(struct cdt_dns_question *question)
{
    cdt_dns_answer_unref(question->answer);
    conduit_free(question);
}

/* The end of it all: every handle is closed, every channel destroyed. */
static void free_client(struct cdt_dns_client *client)
{
    struct cdt_dns_question *question;
    struct cdt_dns_channel *channel;
    while ((question = client->questions) != NULL) {
        client->questions = question->next;
        free_question(question);
    }
    while ((channel = client->channels) != NULL) {
        client->channels = channel->next;
        conduit_free(channel);
    }
    cdt_dns_cache_free(client->cache);
    cdt_dns_sockets_free(client->sockets);
    conduit_free(client->servers);
    conduit_free(client);
}

static void drop_handle(struct cdt_dns_client *client)
{
    if (--client->n_handles == 0)
        free_client(client);
}

static void on_handle_closed(uv_handle_t *handle)
{
    drop_handle(handle->data);
}

static void on_socket_closed(uv_handle_t *poll)
{
    struct socket *socket = poll->data;
    struct cdt_dns_client *client = socket->client;
    conduit_free(socket);
    drop_handle(client);
}

/* ---- the timer */

static void on_turn(uv_timer_t *timer);
static void ask_all(struct cdt_dns_client *client);

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* Milliseconds until c-ares wants to look at its clock; -1 if it waits for nothing. */
static int64_t sleep_of(const struct cdt_dns_channel *channel)
{
    struct timeval most = {.tv_sec = MAX_SLEEP_MS / 1000}, space;
    if (channel->n_pending == 0)
        return -1;
    const struct timeval *sleep = ares_timeout(channel->ares, &most, &space);
    return (int64_t)sleep->tv_sec * 1000 + (sleep->tv_usec + 999) / 1000;
}

/* Milliseconds; -1 if there is nothing to wait for. */
static int64_t wait_until(uint64_t until_ms)
{
    if (until_ms == 0)
        return -1;
    uint64_t now = now_ms();
    return until_ms > now ? (int64_t)(until_ms - now) : 0;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* To say how long it may sleep, c-ares looks at every question that waits. */
static int64_t sleep_of_all(const struct cdt_dns_client *client)
{
    int64_t least = wait_until(client->until_ms);
    for (const struct cdt_dns_channel *at = client->channels; at != NULL; at = at->next)
        least = sooner(least, sleep_of(at));
    return least;
}

static void set_timer(struct cdt_dns_client *client, int64_t sleep_ms)
{
    uv_update_time(client->loop);
    if (sleep_ms < 0)
        uv_timer_stop(&client->timer);
    else
        uv_timer_start(&client->timer, on_turn, (uint64_t)sleep_ms, 0);
}

/* What was asked and sent in a turn of the loop goes out together, and nothing of what was canceled
 * meanwhile. */
static void before_sleep(uv_prepare_t *sleep)
{
    struct cdt_dns_client *client = sleep->data;
    uv_prepare_stop(sleep);
    uv_idle_stop(&client->awake);
    ask_all(client);
    bool sent = cdt_dns_sockets_send(client->sockets);
    client->due |= cdt_dns_sockets_failed(client->sockets) != ARES_SOCKET_BAD;
    if (client->due)
        set_timer(client, 0);
    else
        set_timer(client, sent ? sleep_of_all(client) : RETRY_MS);
}

static void stay_awake(uv_idle_t *awake) {}

/* After all that may have changed what there is to wait for. */
static void arm(struct cdt_dns_client *client)
{
    if (client->ended)
        return;
    uv_prepare_start(&client->sleep, before_sleep);
    uv_idle_start(&client->awake, stay_awake);
}

/* ---- the sockets of c-ares */

static void on_ready(uv_poll_t *poll, int status, int events)
{
    const struct socket *socket = poll->data;
    struct cdt_dns_client *client = socket->client;
    ares_socket_t fd = socket->fd;
    if (status < 0) /* an error is there to be read; the poll has stopped itself */
        events = UV_READABLE | UV_WRITABLE;
    cdt_dns_sockets_process(client->sockets, socket->channel->ares,
                            events & UV_READABLE ? fd : ARES_SOCKET_BAD,
                            events & UV_WRITABLE ? fd : ARES_SOCKET_BAD);
    arm(client);
}

static struct socket **find_socket(struct cdt_dns_channel *channel, ares_socket_t fd)
{
    struct socket **at = &channel->sockets;
    while (*at != NULL && (*at)->fd != fd)
        at = &(*at)->next;
    return at;
}

static struct socket *watch_socket(struct cdt_dns_channel *channel, ares_socket_t fd)
{
    struct cdt_dns_client *client = channel->client;
    struct socket *socket = conduit_calloc(1, sizeof(*socket));
    if (socket == NULL)
        return NULL;
    if (uv_poll_init(client->loop, &socket->poll, fd) != 0) {
        conduit_free(socket);
        return NULL;
    }
    uv_unref((uv_handle_t *)&socket->poll);
    socket->poll.data = socket;
    socket->client = client;
    socket->channel = channel;
    socket->fd = fd;
    socket->next = channel->sockets;
    channel->sockets = socket;
    client->n_handles++;
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
    struct cdt_dns_channel *channel = arg;
    struct socket **at = find_socket(channel, fd);
    if (!readable && !writable) {
        forget_socket(at);
        return;
    }
    struct socket *socket = *at != NULL ? *at : watch_socket(channel, fd);
    channel->deaf |= socket == NULL;
    channel->client->due |= socket == NULL;
    if (socket != NULL)
        uv_poll_start(&socket->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0),
                      on_ready);
}

/* ---- channels */

/* No search list (RFC 1535), no hosts file, no HOSTALIASES: the name is asked as it is, of DNS.
 * DOMAINS says it again: there are none. */
static int init_ares(struct cdt_dns_channel *channel, int more_flags)
{
    struct ares_options options = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS | more_flags,
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
    const char *servers = channel->client->servers;
    if (status == ARES_SUCCESS)
        cdt_dns_use_sockets(channel->ares, channel->client->sockets);
    if (status != ARES_SUCCESS || servers == NULL)
        return status;
    status = ares_set_servers_ports_csv(channel->ares, servers);
    if (status != ARES_SUCCESS)
        ares_destroy(channel->ares);
    return status;
}

static bool has_one_server(const struct cdt_dns_channel *channel)
{
    struct ares_addr_port_node *servers = NULL;
    if (ares_get_servers_ports(channel->ares, &servers) != ARES_SUCCESS)
        return false;
    bool one = servers != NULL && servers->next == NULL;
    ares_free_data(servers);
    return one;
}

/* Of several servers, those that fail are passed over, and c-ares before 1.20 no longer knows then
 * what they said. Of one, what it says is the answer, SERVFAIL and REFUSED too. */
static int open_ares(struct cdt_dns_channel *channel)
{
    int status = init_ares(channel, 0);
    if (status != ARES_SUCCESS || !has_one_server(channel))
        return status;
    ares_destroy(channel->ares);
    return init_ares(channel, ARES_FLAG_NOCHECKRESP);
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
static void print_servers(struct cdt_dns_channel *channel)
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

/* A channel, and *at leads to it. */
static int make_channel(struct cdt_dns_client *client, struct cdt_dns_channel **at)
{
    struct cdt_dns_channel *channel = conduit_calloc(1, sizeof(*channel));
    if (channel == NULL)
        return ARES_ENOMEM;
    channel->client = client;
    int status = open_ares(channel);
    if (status != ARES_SUCCESS) {
        conduit_free(channel);
        return status;
    }
    print_servers(channel);
    channel->trusts_ad =
        client->trusts_ad || (client->servers == NULL && cdt_dns_servers_vouch(config_file));
    channel->next = *at;
    *at = channel;
    return status;
}

void cdt_dns_flush(struct cdt_dns_client *client)
{
    client->epoch++;
    cdt_dns_cache_clear(client->cache);
}

/* Have a channel that knows resolv.conf as it is, and nothing in mind that others have said. If a
 * new one cannot be had the old one is better than none. */
static int refresh(struct cdt_dns_client *client)
{
    struct cdt_stamp now;
    bool stale = client->servers == NULL && cdt_watch_look(&client->watch, config_file, &now);
    if (client->channels != NULL && !stale)
        return ARES_SUCCESS;
    int status = make_channel(client, &client->channels);
    if (status != ARES_SUCCESS)
        return client->channels != NULL ? ARES_SUCCESS : status;
    if (stale) {
        client->watch.seen = now;
        cdt_dns_flush(client);
    }
    return ARES_SUCCESS;
}

/* ---- answers, inside c-ares */

/* What is in the packet counts. c-ares, which has only counted records, knows more of the rarer
 * codes of a server alone. */
static int status_of(const struct cdt_dns_answer *answer, int status)
{
    switch (answer->status) {
    case CDT_DNS_OK:
        return ARES_SUCCESS;
    case CDT_DNS_NODATA:
        return ARES_ENODATA;
    case CDT_DNS_NXDOMAIN:
        return ARES_ENOTFOUND;
    case CDT_DNS_SERVFAIL:
        return ARES_ESERVFAIL;
    case CDT_DNS_REFUSED:
        return ARES_EREFUSED;
    case CDT_DNS_FAILED:
        return status != ARES_SUCCESS && status != ARES_ENODATA ? status : ARES_EBADRESP;
    default:
        return ARES_EBADRESP;
    }
}

static void take_packet(struct cdt_dns_question *question, const uint8_t *packet, size_t n)
{
    struct cdt_dns_client *client = question->channel->client;
    struct cdt_dns_answer *answer = cdt_dns_decode(packet, n, question->name, question->type);
    if (answer == NULL) {
        question->status = ARES_ENOMEM;
        return;
    }
    question->status = status_of(answer, question->status);
    question->ttl = answer->ttl;
    answer->authentic = answer->authentic && question->channel->trusts_ad;
    if (question->epoch == client->epoch)
        question->kept_s = cdt_dns_cache_put(client->cache, answer, now_ms());
    question->answer = answer;
}

/* Who called c-ares arms the timer. */
static void on_reply(void *arg, int status, int timeouts, unsigned char *packet, int n)
{
    struct cdt_dns_question *question = arg;
    question->status = question->channel->deaf ? ARES_ENOMEM : status;
    if (packet != NULL && n > 0)
        take_packet(question, packet, (size_t)n);
    question->pending = false;
    question->channel->n_pending--;
    question->channel->client->due = true;
}

/* ---- answers, outside c-ares */

/* With the flag AD, which asks to be told whether the answer is authentic (RFC 6840, section 5.7),
 * and which ares_query() has no word for. */
static void ask_for_proof(struct cdt_dns_channel *channel, struct cdt_dns_question *question)
{
    enum { FLAGS = 3, AUTHENTIC = 0x20 };
    unsigned char *packet = NULL;
    unsigned short id = 0;
    int n = 0;
    uv_random(NULL, NULL, &id, sizeof(id), 0, NULL);
    int status = ares_create_query(question->name, 1 /* IN */, (int)question->type, id, 1, &packet,
                                   &n, UDP_SIZE);
    if (status != ARES_SUCCESS) {
        on_reply(question, status, 0, NULL, 0);
        return;
    }
    packet[FLAGS] |= AUTHENTIC;
    ares_send(channel->ares, packet, n, on_reply, question);
    ares_free_string(packet);
}

/* In a moment, with what else is asked in this turn of the loop. */
static void line_up(struct cdt_dns_channel *channel, struct cdt_dns_question *question)
{
    struct cdt_dns_client *client = channel->client;
    question->pending = true;
    question->channel = channel;
    channel->n_questions++;
    question->next_unasked = NULL;
    *client->end_unasked = question;
    client->end_unasked = &question->next_unasked;
}

static void ask_ares(struct cdt_dns_client *client, struct cdt_dns_question *question)
{
    struct cdt_dns_channel *channel = question->channel;
    if (question->on_answer == NULL) { /* forgotten */
        question->pending = false;
        client->due = true;
        return;
    }
    channel->n_pending++;
    if (question->type == CDT_DNS_TLSA)
        ask_for_proof(channel, question);
    else
        ares_query(channel->ares, question->name, 1 /* IN */, (int)question->type, on_reply,
                   question);
}

static void ask_all(struct cdt_dns_client *client)
{
    for (struct cdt_dns_question *at = client->unasked; at != NULL; at = at->next_unasked)
        ask_ares(client, at);
    client->unasked = NULL;
    client->end_unasked = &client->unasked;
}

static size_t count_channels(const struct cdt_dns_client *client)
{
    size_t n = 0;
    for (const struct cdt_dns_channel *at = client->channels; at != NULL; at = at->next)
        n++;
    return n;
}

/* From 1.21 on c-ares reads packets itself, and with one that is malformed fails all questions that
 * wait at the same socket. Each of them is asked once more, by a channel of its own: then it is who
 * is to blame that fails, and nobody can make the lookups of others fail. */
static bool ask_alone(struct cdt_dns_client *client, struct cdt_dns_question *question)
{
    struct cdt_dns_channel *shared = question->channel;
    if (question->pending || question->alone || shared == NULL || question->answer != NULL ||
        question->status != ARES_EBADRESP || count_channels(client) > MOST_CHANNELS ||
        make_channel(client, &client->channels->next) != ARES_SUCCESS)
        return false;
    shared->n_questions--;
    question->alone = true;
    line_up(client->channels->next, question);
    return true;
}

/* It may forget other questions, and ask more. */
static void tell(struct cdt_dns_client *client, struct cdt_dns_question *question)
{
    void (*on_answer)(struct cdt_dns_question *) = question->on_answer;
    if (on_answer == NULL || ask_alone(client, question) ||
        (question->pending && wait_until(question->until_ms) != 0))
        return;
    if (question->pending)
        question->status = ARES_ETIMEOUT;
    question->on_answer = NULL;
    on_answer(question);
}

/* In the order of asking. Those that are asked meanwhile have their turn in the next. */
static void tell_all(struct cdt_dns_client *client)
{
    struct cdt_dns_question **end = client->end;
    client->due = false;
    for (struct cdt_dns_question **at = &client->questions; at != end; at = &(*at)->next)
        tell(client, *at);
}

/* Wake up for the first question that is to be given up. */
static void limit(struct cdt_dns_client *client, const struct cdt_dns_question *question)
{
    uint64_t until_ms = question->on_answer != NULL ? question->until_ms : 0;
    if (until_ms != 0 && (client->until_ms == 0 || until_ms < client->until_ms))
        client->until_ms = until_ms;
}

static void drop_questions(struct cdt_dns_client *client)
{
    struct cdt_dns_question **at = &client->questions;
    client->until_ms = 0;
    while (*at != NULL) {
        struct cdt_dns_question *question = *at;
        if (question->pending || question->on_answer != NULL) {
            limit(client, question);
            at = &question->next;
            continue;
        }
        *at = question->next;
        if (question->channel != NULL)
            question->channel->n_questions--;
        free_question(question);
    }
    client->end = at;
}

static void drop_channels(struct cdt_dns_client *client)
{
    struct cdt_dns_channel **at =
        client->channels != NULL ? &client->channels->next : &client->channels;
    while (*at != NULL) {
        struct cdt_dns_channel *channel = *at;
        if (channel->n_questions > 0) {
            at = &channel->next;
            continue;
        }
        *at = channel->next;
        ares_destroy(channel->ares);
        conduit_free(channel);
    }
}

/* Nobody would see an answer that comes to a socket without a poll, this time and the next: c-ares
 * has to ask again with another one. Not from within c-ares. */
static void close_unwatched(struct cdt_dns_channel *channel)
{
    if (channel->deaf)
        ares_cancel(channel->ares);
    channel->deaf = false;
}

static void on_turn(uv_timer_t *timer)
{
    struct cdt_dns_client *client = timer->data;
    for (struct cdt_dns_channel *at = client->channels; at != NULL; at = at->next)
        close_unwatched(at);
    for (struct cdt_dns_channel *at = client->channels; at != NULL; at = at->next)
        cdt_dns_sockets_process(client->sockets, at->ares, cdt_dns_sockets_failed(client->sockets),
                                ARES_SOCKET_BAD);
    tell_all(client);
    if (client->ended)
        return;
    drop_questions(client);
    drop_channels(client);
    arm(client);
}

/* ---- questions */

/* From memory. */
static bool recall(struct cdt_dns_client *client, struct cdt_dns_question *question)
{
    question->answer =
        cdt_dns_cache_get(client->cache, question->name, question->type, now_ms(), &question->ttl);
    if (question->answer == NULL)
        return false;
    question->status = status_of(question->answer, ARES_SUCCESS);
    return true;
}

struct cdt_dns_question *cdt_dns_ask(struct cdt_dns_client *client, const char *name,
                                     enum cdt_dns_type type,
                                     void (*on_answer)(struct cdt_dns_question *question),
                                     void *owner)
{
    char folded[CDT_NAME_SIZE];
    *folded = '\0';
    bool fit = cdt_dns_name(name, folded) && *folded != '\0';
    size_t size = strlen(folded) + 1;
    struct cdt_dns_question *question = conduit_calloc(1, sizeof(*question) + size);
    if (question == NULL)
        return NULL;
    memcpy(question->name, folded, size);
    question->type = type;
    question->owner = owner;
    question->on_answer = on_answer;
    *client->end = question;
    client->end = &question->next;
    question->status = fit ? refresh(client) : ARES_EBADNAME;
    question->epoch = client->epoch;
    if (question->status == ARES_SUCCESS && !recall(client, question))
        line_up(client->channels, question);
    client->due |= !question->pending;
    arm(client);
    return question;
}

void cdt_dns_forget(struct cdt_dns_question *question)
{
    question->on_answer = NULL;
}

void cdt_dns_limit(struct cdt_dns_client *client, struct cdt_dns_question *question,
                   uint64_t delay_ms)
{
    if (question->until_ms == 0)
        question->until_ms = now_ms() + delay_ms;
    limit(client, question);
    arm(client);
}

bool cdt_dns_is_known(const struct cdt_dns_question *question)
{
    return question->answer != NULL && question->channel == NULL;
}

const char *cdt_dns_servers_of(const struct cdt_dns_question *question)
{
    return question->channel != NULL ? question->channel->servers : "";
}

/* ---- the client */

struct cdt_dns_client *cdt_dns_client_new(uv_loop_t *loop, char *servers, bool trusts_ad)
{
    struct cdt_dns_client *client = conduit_calloc(1, sizeof(*client));
    struct cdt_dns_cache *cache = cdt_dns_cache_new(CACHED);
    struct cdt_dns_sockets *sockets = cdt_dns_sockets_new();
    if (client == NULL || cache == NULL || sockets == NULL) {
        conduit_free(client);
        cdt_dns_cache_free(cache);
        cdt_dns_sockets_free(sockets);
        conduit_free(servers);
        return NULL;
    }
    client->loop = loop;
    client->servers = servers;
    client->trusts_ad = trusts_ad;
    client->cache = cache;
    client->sockets = sockets;
    uv_timer_init(loop, &client->timer);
    uv_unref((uv_handle_t *)&client->timer);
    uv_prepare_init(loop, &client->sleep);
    uv_unref((uv_handle_t *)&client->sleep);
    uv_idle_init(loop, &client->awake);
    uv_unref((uv_handle_t *)&client->awake);
    client->timer.data = client->sleep.data = client->awake.data = client;
    client->n_handles = 3;
    client->end = &client->questions;
    client->end_unasked = &client->unasked;
    return client;
}

/* c-ares answers what was forgotten and is still with it (ARES_EDESTRUCTION), and lets go of its
 * sockets. */
void cdt_dns_client_free(struct cdt_dns_client *client)
{
    client->ended = true;
    for (struct cdt_dns_channel *at = client->channels; at != NULL; at = at->next)
        ares_destroy(at->ares);
    uv_close((uv_handle_t *)&client->timer, on_handle_closed);
    uv_close((uv_handle_t *)&client->sleep, on_handle_closed);
    uv_close((uv_handle_t *)&client->awake, on_handle_closed);
}
