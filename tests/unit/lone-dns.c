/* SPDX-License-Identifier: ISC */
/* The name server of lone-dns.h, and its zone. */
#include "lone-dns.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    TYPE_A = 1,
    TYPE_CNAME = 5,
    TYPE_SOA = 6,
    TYPE_SRV = 33,
    TYPE_SVCB = 64,
    TYPE_HTTPS = 65,
    TYPE_AAAA = 28,
    TTL = 300,
    ALIAS_TTL = 60,
    ANY = 0
};

enum action {
    ANSWER,    /* with the addresses of the row; none is NODATA */
    HOLD,      /* the same, when lone_release() is called */
    ALIAS,     /* the same, by way of a CNAME */
    MANY,      /* with 100 addresses */
    TRUNCATED, /* nothing over UDP but the hint to use TCP; then the same */
    RCODE,     /* with the row's error */
    ABSENT,    /* the same, and an SOA that says for how long: 40 s */
    SERVICES,  /* with SRV ("1 0 5222 a.test,...") or HTTPS ("1 a.test 8443 h2,...", 0: no port) */
    RUBBISH,   /* with an address that is cut short */
    SILENCE,
};

struct record {
    const char *name;
    int type;
    enum action action;
    int rcode;
    const char *addresses;
};

static const struct record zone[] = {
    /* clang-format off */
    {"both.test", TYPE_A, ANSWER, 0, "192.0.2.1 192.0.2.2"},
    {"both.test", TYPE_AAAA, ANSWER, 0, "2001:db8::1"},
    {"single", TYPE_A, ANSWER, 0, "192.0.2.1"},
    {"only4.test", TYPE_A, ANSWER, 0, "192.0.2.4"},
    {"late6.test", TYPE_A, ANSWER, 0, "192.0.2.1"},
    {"late6.test", TYPE_AAAA, HOLD, 0, "2001:db8::1"},
    {"held.test", ANY, HOLD, 0, "192.0.2.1"},
    {"alias.test", TYPE_A, ALIAS, 0, "192.0.2.3"},
    {"many.test", TYPE_A, MANY, 0, ""},
    {"tcp.test", TYPE_A, TRUNCATED, 0, "192.0.2.5"},
    {"nodata.test", ANY, ANSWER, 0, ""},
    {"nx.test", ANY, RCODE, 3, ""},
    {"nx6.test", TYPE_AAAA, RCODE, 3, ""},
    {"nx6.test", TYPE_A, SILENCE, 0, ""},
    {"notso.test", TYPE_AAAA, RCODE, 3, ""},
    {"notso.test", TYPE_A, ANSWER, 0, "192.0.2.6"},
    {"absent.test", ANY, ABSENT, 3, ""},
    {"absent6.test", TYPE_AAAA, ABSENT, 0, ""},
    {"absent6.test", TYPE_A, ANSWER, 0, "192.0.2.1"},
    {"fail.test", ANY, RCODE, 2, ""},
    {"refused.test", ANY, RCODE, 5, ""},
    {"fail6.test", TYPE_AAAA, RCODE, 2, ""},
    {"fail6.test", TYPE_A, ANSWER, 0, "192.0.2.6"},
    {"half.test", TYPE_AAAA, ANSWER, 0, ""},
    {"half.test", TYPE_A, RCODE, 2, ""},
    {"rubbish.test", ANY, RUBBISH, 0, ""},
    {"silent.test", ANY, SILENCE, 0, ""},
    {"_xmpps-client._tcp.srv.test", TYPE_SRV, SERVICES, 0,
     "20 0 5224 only4.test,10 0 5223 both.test,30 0 0 single"},
    {"_xmpps-client._tcp.none.test", TYPE_SRV, SERVICES, 0, "0 0 0 ."},
    {"_xmpps-client._tcp.only4.test", TYPE_SRV, RCODE, 3, ""},
    {"_xmpps-client._tcp.both.test", TYPE_SRV, RCODE, 2, ""},
    {"_xmpps-client._tcp.lost.test", TYPE_SRV, SERVICES, 0, "1 0 5222 nx.test,2 0 5223 nodata.test"},
    {"https.test", TYPE_HTTPS, SERVICES, 0,
     "3 both.test 8443 h3,2 only4.test 8444 h2,1 single 0 http/1.1"},
    {"https.test", TYPE_A, ANSWER, 0, "192.0.2.9"},
    {"_8443._https.https.test", TYPE_HTTPS, SERVICES, 0, "1 single 0 h2"},
    {"_foo.https.test", TYPE_SVCB, SERVICES, 0, "2 only4.test 8445 foo,1 single 0 foo"},
    {"_8444._foo.https.test", TYPE_SVCB, SERVICES, 0, "1 single 0 foo"},
    {"_foo.fail.test", TYPE_SVCB, RCODE, 2, ""},
    {"_foo.alias1.test", TYPE_SVCB, SERVICES, 0, "0 _foo.https.test 0 -"},
    {"_xmpps-client._tcp.fail.test", TYPE_SRV, RCODE, 2, ""},
    {"alias1.test", TYPE_HTTPS, SERVICES, 0, "0 alias2.test 0 -"},
    {"alias1.test", TYPE_A, ANSWER, 0, "192.0.2.9"},
    {"alias2.test", TYPE_HTTPS, SERVICES, 0, "0 only4.test 0 -"},
    {"loop.test", TYPE_HTTPS, SERVICES, 0, "0 loop.test 0 -"},
    {"loop.test", TYPE_A, ANSWER, 0, "192.0.2.9"},
    {"quiet.test", TYPE_HTTPS, SILENCE, 0, ""},
    {"quiet.test", TYPE_A, ANSWER, 0, "192.0.2.9"},
    {"silent6.test", TYPE_AAAA, SILENCE, 0, ""},
    {"silent6.test", TYPE_A, ANSWER, 0, "192.0.2.7"},
    /* clang-format on */
};

static void put(struct message *message, const void *bytes, size_t n)
{
    cr_assert_lt(message->n + n, sizeof(message->bytes));
    memcpy(message->bytes + message->n, bytes, n);
    message->n += n;
}

static void put16(struct message *message, int value)
{
    put(message, (unsigned char[]){(unsigned char)(value >> 8), (unsigned char)value}, 2);
}

/* `owner` is a name in wire form. */
static void put_head(struct message *message, const char *owner, size_t n, int type, int ttl,
                     int length)
{
    put(message, owner, n);
    put16(message, type);
    put16(message, 1);
    put16(message, 0);
    put16(message, ttl);
    put16(message, length);
    message->bytes[7]++; /* ANCOUNT */
}

static const char question_name[] = "\xc0\x0c", alias_name[] = "\1x\xc0\x0c";

static void put_address(struct message *message, const char *owner, size_t n, const char *text)
{
    unsigned char address[16];
    bool ip6 = strchr(text, ':') != NULL;
    cr_assert_eq(uv_inet_pton(ip6 ? AF_INET6 : AF_INET, text, address), 0);
    put_head(message, owner, n, ip6 ? TYPE_AAAA : TYPE_A, TTL, ip6 ? 16 : 4);
    put(message, address, ip6 ? 16 : 4);
}

static void put_addresses(struct message *message, const struct record *record)
{
    char text[256], *rest;
    bool alias = record->action == ALIAS;
    if (alias) {
        put_head(message, question_name, 2, TYPE_CNAME, ALIAS_TTL, 4);
        put(message, alias_name, 4);
    }
    snprintf(text, sizeof(text), "%s", record->addresses);
    for (char *one = strtok_r(text, " ", &rest); one != NULL; one = strtok_r(NULL, " ", &rest))
        put_address(message, alias ? alias_name : question_name, alias ? 4 : 2, one);
}

static void put_name(struct message *message, const char *name)
{
    while (*name != '\0' && strcmp(name, ".") != 0) {
        size_t n = strcspn(name, ".");
        put(message, (unsigned char[]){(unsigned char)n}, 1);
        put(message, name, n);
        name += n + (name[n] == '.');
    }
    put(message, "", 1);
}

static void put_srv(struct message *message, const char *text)
{
    struct message data = {.n = 0};
    int priority, weight, port;
    char target[64];
    cr_assert_eq(sscanf(text, "%d %d %d %63s", &priority, &weight, &port, target), 4);
    put16(&data, priority);
    put16(&data, weight);
    put16(&data, port);
    put_name(&data, target);
    put_head(message, question_name, 2, TYPE_SRV, TTL, (int)data.n);
    put(message, data.bytes, data.n);
}

static void put_binding(struct message *message, int type, const char *text)
{
    struct message data = {.n = 0};
    int priority, port;
    char target[64], alpn[64];
    cr_assert_eq(sscanf(text, "%d %63s %d %63s", &priority, target, &port, alpn), 4);
    put16(&data, priority);
    put_name(&data, target);
    if (priority > 0) {
        put16(&data, 1);
        put16(&data, (int)strlen(alpn) + 1);
        put(&data, (unsigned char[]){(unsigned char)strlen(alpn)}, 1);
        put(&data, alpn, strlen(alpn));
        put(&data, "\0\2\0\0", 4); /* no-default-alpn */
    }
    if (port != 0) {
        put(&data, "\0\3\0\2", 4);
        put16(&data, port);
    }
    put_head(message, question_name, 2, type, TTL, (int)data.n);
    put(message, data.bytes, data.n);
}

static void put_services(struct message *message, const struct record *record)
{
    char text[256], *rest;
    snprintf(text, sizeof(text), "%s", record->addresses);
    for (char *one = strtok_r(text, ",", &rest); one != NULL; one = strtok_r(NULL, ",", &rest))
        if (record->type == TYPE_SRV)
            put_srv(message, one);
        else
            put_binding(message, record->type, one);
}

static void put_many(struct message *message)
{
    for (int i = 0; i < 100; i++) {
        char text[32];
        snprintf(text, sizeof(text), "192.0.2.%d", i);
        put_address(message, question_name, 2, text);
    }
}

/* Of "test", which ends every name; the last of its figures is the smallest. */
static void put_soa(struct message *message, int offset)
{
    static const unsigned char names[] = {0, 0}, figures[20] = {[19] = 40};
    unsigned char owner[2] = {0xc0, (unsigned char)offset};
    put_head(message, (const char *)owner, 2, TYPE_SOA, TTL, 22);
    put(message, names, sizeof(names));
    put(message, figures, sizeof(figures));
    message->bytes[7]--;
    message->bytes[9]++; /* it is for the authority section */
}

static void put_answers(struct message *message, const struct record *record)
{
    switch (record->action) {
    case MANY:
        put_many(message);
        break;
    case RCODE:
        message->bytes[3] |= (unsigned char)record->rcode;
        break;
    case SERVICES:
        put_services(message, record);
        break;
    case ABSENT:
        message->bytes[3] |= (unsigned char)record->rcode;
        put_soa(message, 12 + 1 + (int)strcspn(record->name, "."));
        break;
    case RUBBISH:
        put_head(message, question_name, 2, TYPE_A, TTL, 4);
        put(message, "\1", 1);
        break;
    default:
        put_addresses(message, record);
    }
}

/* The name and the type that `query` asks for; the length of its question. */
static size_t read_question(const struct message *query, char name[256], int *type)
{
    size_t at = 12, n = 0;
    while (query->bytes[at] != 0) {
        size_t length = query->bytes[at];
        cr_assert_lt(at + length + 5, query->n);
        n += (size_t)snprintf(name + n, 256 - n, "%s%.*s", n > 0 ? "." : "", (int)length,
                              (const char *)query->bytes + at + 1);
        at += length + 1;
    }
    *type = query->bytes[at + 1] << 8 | query->bytes[at + 2];
    return at + 5 - 12;
}

static const struct record *find_record(const char *name, int type)
{
    static const struct record none = {"", ANY, ANSWER, 0, ""};
    for (size_t i = 0; i < sizeof(zone) / sizeof(zone[0]); i++)
        if (strcmp(zone[i].name, name) == 0 && (zone[i].type == type || zone[i].type == ANY))
            return &zone[i];
    return &none;
}

static const char *name_type(int type)
{
    switch (type) {
    case TYPE_A:
        return "A";
    case TYPE_SRV:
        return "SRV";
    case TYPE_SVCB:
        return "SVCB";
    case TYPE_HTTPS:
        return "HTTPS";
    default:
        return "AAAA";
    }
}

/* What is to be done, and the reply for it. */
static enum action handle(struct server *server, const struct message *query, bool tcp,
                          struct message *reply)
{
    char name[256] = "";
    int type;
    size_t n = read_question(query, name, &type);
    const struct record *record = find_record(name, type);
    size_t used = strlen(server->asked);
    snprintf(server->asked + used, sizeof(server->asked) - used, "%s %s,", name_type(type), name);
    reply->n = 0;
    put(reply, query->bytes, 2);
    put(reply, "\x81\x80\0\1\0\0\0\0\0\0", 10);
    put(reply, query->bytes + 12, n);
    if (record->action == TRUNCATED && !tcp)
        reply->bytes[2] |= 2;
    else if (server->failing)
        reply->bytes[3] |= 2; /* SERVFAIL */
    else
        put_answers(reply, record);
    return server->silent ? SILENCE : record->action;
}

static void send_reply(struct server *server, const struct sockaddr_in *to,
                       const struct message *reply)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)reply->bytes, (unsigned)reply->n);
    cr_expect_eq(uv_udp_try_send(&server->udp, &buf, 1, (const struct sockaddr *)to),
                 (int)reply->n);
}

void lone_release(struct server *server)
{
    for (size_t i = 0; i < server->n_held; i++)
        send_reply(server, &server->held[i].to, &server->held[i].reply);
    server->n_held = 0;
}

static void give_room(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    static char room[LONE_MESSAGE_SIZE];
    *buf = uv_buf_init(room, sizeof(room));
}

static void on_datagram(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                        unsigned flags)
{
    struct server *server = udp->data;
    struct message query = {.n = 0}, reply;
    if (n <= 0)
        return;
    const struct sockaddr_in *to = (const struct sockaddr_in *)from;
    put(&query, buf->base, (size_t)n);
    enum action action = handle(server, &query, false, &reply);
    if (action == SILENCE)
        return;
    if (action != HOLD) {
        send_reply(server, to, &reply);
        return;
    }
    cr_assert_lt(server->n_held, LONE_MOST_HELD);
    server->held[server->n_held].to = *to;
    server->held[server->n_held++].reply = reply;
}

static void on_stream(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct server *server = stream->data;
    struct message query = {.n = 0}, reply, out = {.n = 0};
    if (n < 0)
        uv_read_stop(stream);
    if (n <= 0)
        return;
    put(&server->in, buf->base, (size_t)n);
    size_t length = (size_t)(server->in.bytes[0] << 8 | server->in.bytes[1]);
    if (server->in.n < 2 || server->in.n < length + 2)
        return;
    put(&query, server->in.bytes + 2, length);
    server->in.n = 0;
    handle(server, &query, true, &reply);
    put16(&out, (int)reply.n);
    put(&out, reply.bytes, reply.n);
    uv_buf_t bytes = uv_buf_init((char *)out.bytes, (unsigned)out.n);
    cr_expect_eq(uv_try_write(stream, &bytes, 1), (int)out.n);
}

static void on_peer(uv_stream_t *tcp, int status)
{
    struct server *server = tcp->data;
    cr_assert(!server->has_peer);
    server->has_peer = true;
    server->peer.data = server;
    cr_assert_eq(uv_tcp_init(tcp->loop, &server->peer), 0);
    cr_assert_eq(uv_accept(tcp, (uv_stream_t *)&server->peer), 0);
    cr_assert_eq(uv_read_start((uv_stream_t *)&server->peer, give_room, on_stream), 0);
}

static int bind_socket(int type, const struct sockaddr_in *at)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    if (bind(fd, (const struct sockaddr *)at, sizeof(*at)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* UDP and TCP on one port: for port 0 one that is free for both, which may take some tries. */
static void bind_pair(struct sockaddr_in *at, int *udp, int *tcp)
{
    in_port_t port = at->sin_port;
    for (int tries = 0; tries < 50; tries++) {
        socklen_t n = sizeof(*at);
        at->sin_port = port;
        *udp = bind_socket(SOCK_DGRAM, at);
        cr_assert_geq(*udp, 0, "port %d: %s", ntohs(port), strerror(errno));
        cr_assert_eq(getsockname(*udp, (struct sockaddr *)at, &n), 0);
        *tcp = bind_socket(SOCK_STREAM, at);
        if (*tcp >= 0)
            return;
        close(*udp);
    }
    cr_assert(false, "no port is free");
}

/* A port of 0 is one that is free. */
void lone_open_server(struct server *server, uv_loop_t *loop, const char *address, int port)
{
    struct sockaddr_in at;
    int udp, tcp;
    memset(server, 0, sizeof(*server));
    cr_assert_eq(uv_ip4_addr(address, port, &at), 0);
    bind_pair(&at, &udp, &tcp);
    snprintf(server->address, sizeof(server->address), "%s:%d", address, ntohs(at.sin_port));
    server->udp.data = server->tcp.data = server;
    cr_assert_eq(uv_udp_init(loop, &server->udp), 0);
    cr_assert_eq(uv_udp_open(&server->udp, udp), 0);
    cr_assert_eq(uv_udp_recv_start(&server->udp, give_room, on_datagram), 0);
    cr_assert_eq(uv_tcp_init(loop, &server->tcp), 0);
    cr_assert_eq(uv_tcp_open(&server->tcp, tcp), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&server->tcp, 8, on_peer), 0);
}

void lone_close_server(struct server *server)
{
    uv_close((uv_handle_t *)&server->udp, NULL);
    uv_close((uv_handle_t *)&server->tcp, NULL);
    if (server->has_peer)
        uv_close((uv_handle_t *)&server->peer, NULL);
}

/* ---- dns */

void *lone_attach_dns(conduit_ctx *ctx, const char *servers)
{
    conduit_ctx_options options = {.dns_servers = servers};
    void *state = NULL;
    cr_assert_eq(cdt_resolver_dns.attach(ctx, &options, &state), 0);
    return state;
}

/* Static, for it is large. */
struct world *lone_open_world(void)
{
    static struct world world;
    lone_open_ctx(&world.ctx);
    lone_open_server(&world.server, &world.ctx.loop, "127.0.0.1", 0);
    world.dns = lone_attach_dns(&world.ctx, world.server.address);
    return &world;
}

void lone_close_world(struct world *world)
{
    cdt_resolver_dns.detach(world->dns);
    lone_close_server(&world->server);
    lone_close_ctx(&world->ctx);
}

void lone_ask_of(void *dns, conduit_query *query, conduit_ctx *ctx, const char *host, int family)
{
    memset(query, 0, sizeof(*query));
    query->ctx = ctx;
    query->transport = "tcp";
    query->host = host;
    query->family = family;
    query->port = 443;
    cr_assert(cdt_resolver_dns.accepts(query, dns));
    cdt_resolver_dns.start(query, dns);
    cr_expect_str_eq(query->story, "", "%s: told within start()", host);
}

void lone_ask(struct world *world, conduit_query *query, const char *host)
{
    lone_ask_of(world->dns, query, &world->ctx, host, AF_UNSPEC);
}

/* Turn the loop until the server has `n` answers in hand. */
void lone_wait_for_held(struct world *world, size_t n)
{
    while (world->server.n_held < n)
        uv_run(&world->ctx.loop, UV_RUN_ONCE);
}

/* Turn the loop until something is told. */
void lone_wait_for_news(conduit_query *query)
{
    while (query->story[0] == '\0')
        uv_run(&query->ctx->loop, UV_RUN_ONCE);
}
