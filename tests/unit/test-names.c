/* SPDX-License-Identifier: ISC */
/*
 * The resolvers, each alone, under a core that only writes down what it is told.
 *
 * A query's story is one line: "2001:db8::1=300 settled6 192.0.2.1=300 settled4 code 0", addresses
 * with their TTL in the order in which they came, and the end. dns asks a name server on the same
 * loop, which answers, fails, keeps silent, or holds an answer back until the test releases it.
 */
#include "../../resolvers/names.h"
#include "conduit-build.h"
#include "support.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- the core */

struct conduit_ctx {
    uv_loop_t loop;
};

struct conduit_query {
    conduit_ctx *ctx;
    const char *transport, *host;
    const char *service, *alpn;
    conduit_records records;
    int family, rank;
    uint16_t port;
    bool listening;
    void *data;
    bool done;
    int code;
    long number;
    char source[32], story[8192], trace[16384];
};

CONDUIT_PRINTF(2, 3) static void tell(conduit_query *query, const char *format, ...)
{
    size_t n = strlen(query->story);
    va_list args;
    cr_assert(!query->done, "%s: told more after its end", query->host);
    va_start(args, format);
    vsnprintf(query->story + n, sizeof(query->story) - n, format, args);
    va_end(args);
}

struct uv_loop_s *conduit_ctx_loop(conduit_ctx *ctx)
{
    return &ctx->loop;
}

conduit_ctx *conduit_query_ctx(const conduit_query *query)
{
    return query->ctx;
}

const char *conduit_query_transport(const conduit_query *query)
{
    return query->transport;
}

bool conduit_query_by_address(const conduit_query *query)
{
    return strcmp(query->transport, "tcp") == 0;
}

const char *conduit_query_host(const conduit_query *query)
{
    return query->host;
}

bool conduit_query_at_usual_port(const conduit_query *query)
{
    return query->port == 0;
}

int conduit_query_family(const conduit_query *query)
{
    return query->family;
}

bool conduit_query_listening(const conduit_query *query)
{
    return query->listening;
}

void *conduit_query_data(const conduit_query *query)
{
    return query->data;
}

void conduit_query_set_data(conduit_query *query, void *data)
{
    query->data = data;
}

void conduit_query_set_rank(conduit_query *query, int rank)
{
    query->rank = rank;
}

uint16_t conduit_query_port(const conduit_query *query)
{
    return query->port;
}

conduit_records conduit_query_records(const conduit_query *query)
{
    return query->records;
}

const char *conduit_query_service(const conduit_query *query)
{
    return query->service;
}

const char *conduit_query_alpn(const conduit_query *query)
{
    return query->alpn;
}

/* Of a service rank and port are told, too: "0#443:192.0.2.1=300". */
void conduit_query_add_address_port(conduit_query *query, const struct sockaddr *address,
                                    uint16_t port, int32_t ttl)
{
    if (query->records != CONDUIT_RECORDS_ADDRESS)
        tell(query, "%d#%u:", query->rank == INT_MAX ? -1 : query->rank, port);
    conduit_query_add_address(query, address, ttl);
}

void conduit_query_add_address(conduit_query *query, const struct sockaddr *address, int32_t ttl)
{
    const struct sockaddr_in6 *ip6 = (const struct sockaddr_in6 *)address;
    char text[INET6_ADDRSTRLEN];
    unsigned scope = 0;
    if (address->sa_family == AF_INET6) {
        scope = ip6->sin6_scope_id;
        uv_inet_ntop(AF_INET6, &ip6->sin6_addr, text, sizeof(text));
    } else {
        cr_assert_eq(address->sa_family, AF_INET);
        uv_inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text, sizeof(text));
    }
    if (scope != 0)
        tell(query, "%s%%%u=%d ", text, scope, ttl);
    else
        tell(query, "%s=%d ", text, ttl);
}

void conduit_query_add_place(conduit_query *query, const char *place, int32_t ttl)
{
    tell(query, "%s(%s)=%d ", query->transport, place, ttl);
}

void conduit_query_settled(conduit_query *query, int family)
{
    tell(query, "settled%d ", family == AF_INET6 ? 6 : 4);
}

void conduit_query_done(conduit_query *query, int code, const char *source, long number,
                        const char *why)
{
    tell(query, "code %d%s%s", code, why != NULL ? " " : "", why != NULL ? why : "");
    snprintf(query->source, sizeof(query->source), "%s", source != NULL ? source : "");
    query->number = number;
    query->code = code;
    query->done = true;
}

bool conduit_query_traced(const conduit_query *query)
{
    return true;
}

void conduit_query_trace(conduit_query *query, const char *event, const char *format, ...)
{
    size_t n = strlen(query->trace);
    va_list args;
    n += (size_t)snprintf(query->trace + n, sizeof(query->trace) - n, "%s: ", event);
    va_start(args, format);
    n += (size_t)vsnprintf(query->trace + n, sizeof(query->trace) - n, format, args);
    va_end(args);
    snprintf(query->trace + n, sizeof(query->trace) - n, "\n");
}

/* The resolvers look at files once a second, by libuv's clock. This one takes its place (not in
 * libuv's timers), and `skew_ns` is how a second passes. */
static uint64_t skew_ns;

uint64_t uv_hrtime(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + skew_ns;
}

static void let_a_second_pass(void)
{
    skew_ns += 1000000000;
}

/* ---- resolvers that answer at once */

/* The story of one query, "-" if it is not accepted. Static. */
static const char *ask_at_once(const conduit_resolver *resolver, void *state,
                               const conduit_query *like)
{
    static conduit_query query;
    query = *like;
    cr_expect(resolver->immediate);
    if (!resolver->accepts(&query, state))
        return "-";
    resolver->start(&query, state);
    cr_expect(query.done, "%s: %s is left without an answer", resolver->name, like->host);
    return query.story;
}

struct row {
    const char *transport, *host;
    int family;
    bool listening;
    const char *story; /* with '*' at the end: its beginning */
};

static void expect_story(const char *who, const char *host, const char *got, const char *want)
{
    size_t n = strlen(want);
    bool same =
        n > 0 && want[n - 1] == '*' ? strncmp(got, want, n - 1) == 0 : strcmp(got, want) == 0;
    cr_expect(same, "%s: \"%s\": %s\n  instead of: %s", who, host, got, want);
}

static void expect_rows(const conduit_resolver *resolver, void *state, const struct row *rows,
                        size_t n)
{
    for (size_t i = 0; i < n; i++) {
        conduit_query like = {.transport = rows[i].transport,
                              .host = rows[i].host,
                              .family = rows[i].family,
                              .listening = rows[i].listening};
        expect_story(resolver->name, rows[i].host, ask_at_once(resolver, state, &like),
                     rows[i].story);
    }
}

CDT_TEST(literal, takes_addresses_and_what_is_almost_one)
{
    static const struct row rows[] = {
        /* clang-format off */
        {"tcp", "192.0.2.1", 0, false, "192.0.2.1=-1 code 0"},
        {"tcp", "192.0.2.1", AF_INET, true, "192.0.2.1=-1 code 0"},
        {"tcp", "192.0.2.1", AF_INET6, false, "code -4 an IPv4 address, and only IPv6 is wanted"},
        {"tcp", "2001:db8::1", 0, false, "2001:db8::1=-1 code 0"},
        {"tcp", "2001:db8::1", AF_INET, true, "code -4 an IPv6 address, and only IPv4 is wanted"},
        {"tcp", "::", 0, true, "::=-1 code 0"},
        {"tcp", "fe80::1", 0, false, "fe80::1=-1 code 0"},
        {"tcp", "fe80::1%7", 0, false, "fe80::1%7=-1 code 0"},
        {"tcp", "fe80::1%lo", 0, false, "fe80::1%1=-1 code 0"},
        {"tcp", "fe80::1%none0", 0, false, "code -4 this machine has no interface \"none0\""},
        {"tcp", "fe80::1%0", 0, false, "code -4 this machine has no interface \"0\""},
        {"tcp", "fe80::1%99999999999", 0, false, "code -4 this machine has no interface*"},
        {"tcp", "fe80::1%", 0, false, "code -4 this machine has no interface*"},
        {"tcp", "1:2", 0, false, "code -2 not an IPv6 address"},
        {"tcp", "2130706433", 0, false, "code -2 almost an IPv4 address*"},
        {"tcp", "127.1", 0, false, "code -2 almost an IPv4 address*"},
        {"tcp", "127.0.0.1.", 0, false, "-"},
        {"tcp", "", 0, true, "::=-1 0.0.0.0=-1 code 0"},
        {"tcp", "*", 0, true, "::=-1 0.0.0.0=-1 code 0"},
        {"tcp", "*", AF_INET, true, "0.0.0.0=-1 code 0"},
        {"tcp", "", AF_INET6, true, "::=-1 code 0"},
        {"tcp", "", 0, false, "code -2 a host is missing*"},
        {"tcp", "*", 0, false, "code -2 a host is missing*"},
        {"tcp", "example.org", 0, false, "-"},
        {"tcp", "1.2.3.example", 0, true, "-"},
        {"unix", "192.0.2.1", 0, false, "-"},
        {"inproc", "", 0, true, "-"},
        /* clang-format on */
    };
    expect_rows(&cdt_resolver_literal, NULL, rows, sizeof(rows) / sizeof(rows[0]));
}

CDT_TEST(local, takes_unix_paths_and_inproc_names)
{
    static const struct row rows[] = {
        {"unix", "/run/x.sock", 0, false, "unix(/run/x.sock)=-1 code 0"},
        {"unix", "rel", 0, true, "unix(rel)=-1 code 0"},
        {"inproc", "name", 0, true, "inproc(name)=-1 code 0"},
        {"tcp", "/run/x.sock", 0, false, "-"},
    };
    expect_rows(&cdt_resolver_local, NULL, rows, sizeof(rows) / sizeof(rows[0]));
}

CDT_TEST(special, asks_nobody_about_localhost_onion_and_invalid)
{
    static const struct row rows[] = {
        {"tcp", "localhost", 0, false, "::1=-1 127.0.0.1=-1 code 0"},
        {"tcp", "localhost.", 0, true, "::1=-1 127.0.0.1=-1 code 0"},
        {"tcp", "LocalHost", AF_INET, false, "127.0.0.1=-1 code 0"},
        {"tcp", "a.b.localhost", AF_INET6, true, "::1=-1 code 0"},
        {"tcp", "x.onion", 0, false, "code -4 an onion service*"},
        {"tcp", "X.ONION.", 0, false, "code -4 an onion service*"},
        {"tcp", "onion", 0, false, "code -4 an onion service*"},
        {"tcp", "a.invalid", 0, false, "code -4 \"invalid\"*"},
        {"tcp", "notlocalhost", 0, false, "-"},
        {"tcp", "localhost.example", 0, false, "-"},
        {"tcp", "onions", 0, false, "-"},
        {"tcp", "", 0, true, "-"},
        {"unix", "localhost", 0, false, "-"},
    };
    expect_rows(&cdt_resolver_special, NULL, rows, sizeof(rows) / sizeof(rows[0]));
}

/* ---- hosts */

static void write_file(const char *path, const char *text, size_t n)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file, "%s: %s", path, strerror(errno));
    cr_assert_eq(fwrite(text, 1, n, file), n);
    cr_assert_eq(fclose(file), 0);
}

static const char *write_hosts(const char *text)
{
    const char *path = cdt_test_path("hosts");
    write_file(path, text, strlen(text));
    return path;
}

static void *attach_hosts(const char *path)
{
    conduit_ctx_options options = {.hosts_file = path};
    void *state = NULL;
    cr_assert_eq(cdt_resolver_hosts.attach(NULL, &options, &state), 0);
    return state;
}

static void expect_hosts(void *state, const char *host, const char *story)
{
    conduit_query like = {.transport = "tcp", .host = host};
    expect_story("hosts", host, ask_at_once(&cdt_resolver_hosts, state, &like), story);
}

CDT_TEST(hosts, reads_hosts_5)
{
    static const struct row rows[] = {
        {"tcp", "one", 0, false, "192.0.2.1=-1 code 0"},
        {"tcp", "ONE.example.", 0, true, "192.0.2.1=-1 code 0"},
        {"tcp", "two.example", 0, false, "192.0.2.2=-1 2001:db8::2=-1 code 0"},
        {"tcp", "two", AF_INET6, false, "2001:db8::2=-1 code 0"},
        {"tcp", "one", AF_INET6, false, "code 1"},
        {"tcp", "tabs", 0, false, "192.0.2.3=-1 code 0"},
        {"tcp", "zone", 0, false, "fe80::1%1=-1 code 0"},
        {"tcp", "last", 0, false, "192.0.2.9=-1 code 0"},
        {"tcp", "comment", 0, false, "code 1"},
        {"tcp", "bad", 0, false, "code 1"},
        {"tcp", "192.0.2.5", 0, false, "code 1"},
        {"tcp", "dot", 0, false, "192.0.2.6=-1 code 0"},
        {"tcp", "missing.example", 0, false, "code 1"},
        {"tcp", "", 0, true, "-"},
        {"unix", "one", 0, false, "-"},
    };
    const char *path = write_hosts("# comment\n\n"
                                   "192.0.2.1 one One.Example # comment\n"
                                   "192.0.2.2 two.example TWO\n"
                                   "2001:db8::2 two two.example\n"
                                   "192.0.2.2 two\n"
                                   "\t192.0.2.3 \t tabs\r\n"
                                   "fe80::1%lo zone\n"
                                   "fe80::1%none0 bad\n"
                                   "999.0.2.4 bad\n"
                                   "name bad\n"
                                   "192.0.2.5\n"
                                   "192.0.2.6 dot. . \n"
                                   "#192.0.2.7 comment\n"
                                   "192.0.2.9 last");
    void *state = attach_hosts(path);
    expect_rows(&cdt_resolver_hosts, state, rows, sizeof(rows) / sizeof(rows[0]));
    cdt_resolver_hosts.detach(state);
}

CDT_TEST(hosts, sees_a_change_within_a_second_and_looks_no_more_often)
{
    const char *path = write_hosts("192.0.2.1 one\n");
    void *state = attach_hosts(path);
    expect_hosts(state, "one", "192.0.2.1=-1 code 0");
    write_hosts("192.0.2.22 one\n");
    expect_hosts(state, "one", "192.0.2.1=-1 code 0");
    let_a_second_pass();
    expect_hosts(state, "one", "192.0.2.22=-1 code 0");
    cr_assert_eq(unlink(path), 0);
    let_a_second_pass();
    expect_hosts(state, "one", "code 1");
    write_hosts("192.0.2.3 one\n");
    let_a_second_pass();
    expect_hosts(state, "one", "192.0.2.3=-1 code 0");
    cdt_resolver_hosts.detach(state);
}

CDT_TEST(hosts, never_waits_for_what_is_not_a_file)
{
    const char *path = cdt_test_path("hosts");
    cr_assert_eq(mkfifo(path, 0600), 0);
    void *state = attach_hosts(path);
    expect_hosts(state, "one", "code 1");
    cdt_resolver_hosts.detach(state);
    state = attach_hosts(cdt_test_path(""));
    expect_hosts(state, "one", "code 1");
    cdt_resolver_hosts.detach(state);
    state = attach_hosts(cdt_test_path("none"));
    expect_hosts(state, "one", "code 1");
    cdt_resolver_hosts.detach(state);
    state = attach_hosts("");
    expect_hosts(state, "one", "-");
    cdt_resolver_hosts.detach(state);
}

CDT_TEST(hosts, reads_a_megabyte_and_no_half_line)
{
    enum { SIZE = (1 << 20) + 4096 };
    static char text[SIZE];
    size_t n = (size_t)snprintf(text, sizeof(text), "192.0.2.1 first\n");
    memset(text + n, '#', sizeof(text) - n);
    text[(1 << 20) - 20] = '\n';
    memcpy(text + (1 << 20) - 19, "192.0.2.2 cut.example\n", 22); /* cut after "cut.examp" */
    const char *path = cdt_test_path("hosts");
    write_file(path, text, sizeof(text));
    void *state = attach_hosts(path);
    expect_hosts(state, "first", "192.0.2.1=-1 code 0");
    expect_hosts(state, "cut.examp", "code 1");
    expect_hosts(state, "cut.example", "code 1");
    cdt_resolver_hosts.detach(state);
}

CDT_TEST(hosts, takes_binary_rubbish_without_harm)
{
    static char text[65536];
    unsigned seed = 1;
    for (size_t i = 0; i < sizeof(text); i++) {
        seed = seed * 1103515245 + 12345;
        text[i] = seed >> 24 < 40 ? '\n' : (char)(seed >> 16);
    }
    memcpy(text, "192.0.2.1 a\0b\n192.0.2.2 c\n", 26);
    const char *path = cdt_test_path("hosts");
    write_file(path, text, sizeof(text));
    void *state = attach_hosts(path);
    expect_hosts(state, "a", "192.0.2.1=-1 code 0");
    expect_hosts(state, "c", "192.0.2.2=-1 code 0");
    cdt_resolver_hosts.detach(state);
}

/* ---- loops */

static void open_ctx(conduit_ctx *ctx)
{
    cr_assert_eq(uv_loop_init(&ctx->loop), 0);
}

/* Everything was closed: the rest is close callbacks. */
static void close_ctx(conduit_ctx *ctx)
{
    uv_run(&ctx->loop, UV_RUN_DEFAULT);
    cdt_test_loop_empty(&ctx->loop);
    cr_expect_eq(uv_loop_close(&ctx->loop), 0);
}

/* What is due at once is done first: UV_RUN_ONCE would wait for something else after it. */
static void expect_end(conduit_query *query, const char *story)
{
    uv_run(&query->ctx->loop, UV_RUN_NOWAIT);
    cr_expect(cdt_test_run_until(&query->ctx->loop, &query->done), "%s: no end", query->host);
    expect_story("at the end", query->host, query->story, story);
}

/* ---- system */

CDT_TEST(system, asks_getaddrinfo)
{
    conduit_ctx ctx;
    open_ctx(&ctx);
    conduit_query query = {.ctx = &ctx, .transport = "tcp", .host = "127.0.0.1"};
    cr_expect(cdt_resolver_system.accepts(&query, NULL));
    cdt_resolver_system.start(&query, NULL);
    cr_expect(!query.done);
    expect_end(&query, "127.0.0.1=-1 code 0");
    close_ctx(&ctx);
}

CDT_TEST(system, says_what_getaddrinfo_says)
{
    conduit_ctx ctx;
    open_ctx(&ctx);
    conduit_query query = {
        .ctx = &ctx, .transport = "tcp", .host = "127.0.0.1", .family = AF_INET6};
    cdt_resolver_system.start(&query, NULL);
    expect_end(&query, "code -4 *");
    cr_expect_str_eq(query.source, "getaddrinfo");
    cr_expect_neq(query.number, 0);
    close_ctx(&ctx);
}

static void wait_at_gate(uv_work_t *work)
{
    uv_sem_wait(work->data);
}

static void pass_gate(uv_work_t *work, int status) {}

/* All threads of the pool are held, so the lookup waits in its queue. */
CDT_TEST(system, forgets_a_query_that_is_canceled)
{
    enum { N_THREADS = 4 };
    conduit_ctx ctx;
    uv_sem_t gate;
    uv_work_t held[N_THREADS];
    open_ctx(&ctx);
    cr_assert_eq(uv_sem_init(&gate, 0), 0);
    for (int i = 0; i < N_THREADS; i++) {
        held[i].data = &gate;
        cr_assert_eq(uv_queue_work(&ctx.loop, &held[i], wait_at_gate, pass_gate), 0);
    }
    conduit_query *query = calloc(1, sizeof(*query));
    *query = (conduit_query){.ctx = &ctx, .transport = "tcp", .host = "localhost"};
    cdt_resolver_system.start(query, NULL);
    cdt_resolver_system.cancel(query, NULL);
    cr_expect_str_eq(query->story, "");
    free(query);
    for (int i = 0; i < N_THREADS; i++)
        uv_sem_post(&gate);
    close_ctx(&ctx);
    uv_sem_destroy(&gate);
}

CDT_TEST(system, takes_names_to_connect_to_only)
{
    static const struct row rows[] = {
        {"tcp", "name", 0, false, "yes"},  {"tcp", "name", 0, true, "-"},
        {"tcp", "", 0, false, "-"},        {"unix", "name", 0, false, "-"},
        {"inproc", "name", 0, false, "-"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conduit_query query = {
            .transport = rows[i].transport, .host = rows[i].host, .listening = rows[i].listening};
        cr_expect_eq(cdt_resolver_system.accepts(&query, NULL), rows[i].story[0] == 'y', "row %zu",
                     i);
    }
}

#if CONDUIT_HAVE_DNS

/* ---- a name server */

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
enum { MESSAGE_SIZE = 4096, MAX_HELD = 16 };

enum action {
    ANSWER,    /* with the addresses of the row; none is NODATA */
    HOLD,      /* the same, when release() is called */
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

struct message {
    size_t n;
    unsigned char bytes[MESSAGE_SIZE];
};

struct server {
    uv_udp_t udp;
    uv_tcp_t tcp, peer;
    bool has_peer, silent, failing;
    struct message in; /* of the peer */
    char address[64];  /* 127.0.0.1:PORT */
    char asked[1024];  /* "AAAA both.test,A both.test," */
    struct {
        struct sockaddr_in to;
        struct message reply;
    } held[MAX_HELD];
    size_t n_held;
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

static void release(struct server *server)
{
    for (size_t i = 0; i < server->n_held; i++)
        send_reply(server, &server->held[i].to, &server->held[i].reply);
    server->n_held = 0;
}

static void give_room(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    static char room[MESSAGE_SIZE];
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
    cr_assert_lt(server->n_held, MAX_HELD);
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
static void open_server(struct server *server, uv_loop_t *loop, const char *address, int port)
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

static void close_server(struct server *server)
{
    uv_close((uv_handle_t *)&server->udp, NULL);
    uv_close((uv_handle_t *)&server->tcp, NULL);
    if (server->has_peer)
        uv_close((uv_handle_t *)&server->peer, NULL);
}

/* ---- dns */

struct world {
    conduit_ctx ctx;
    struct server server;
    void *dns;
};

static void *attach_dns(conduit_ctx *ctx, const char *servers)
{
    conduit_ctx_options options = {.dns_servers = servers};
    void *state = NULL;
    cr_assert_eq(cdt_resolver_dns.attach(ctx, &options, &state), 0);
    return state;
}

/* Static, for it is large. */
static struct world *open_world(void)
{
    static struct world world;
    open_ctx(&world.ctx);
    open_server(&world.server, &world.ctx.loop, "127.0.0.1", 0);
    world.dns = attach_dns(&world.ctx, world.server.address);
    return &world;
}

static void close_world(struct world *world)
{
    cdt_resolver_dns.detach(world->dns);
    close_server(&world->server);
    close_ctx(&world->ctx);
}

static void ask_of(void *dns, conduit_query *query, conduit_ctx *ctx, const char *host, int family)
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

static void ask(struct world *world, conduit_query *query, const char *host)
{
    ask_of(world->dns, query, &world->ctx, host, AF_UNSPEC);
}

/* Turn the loop until the server has `n` answers in hand. */
static void wait_for_held(struct world *world, size_t n)
{
    while (world->server.n_held < n)
        uv_run(&world->ctx.loop, UV_RUN_ONCE);
}

/* Turn the loop until something is told. */
static void wait_for_news(conduit_query *query)
{
    while (query->story[0] == '\0')
        uv_run(&query->ctx->loop, UV_RUN_ONCE);
}

CDT_TEST(dns, asks_for_both_families_apart)
{
    struct world *world = open_world();
    conduit_query query;
    ask(world, &query, "both.test");
    expect_end(&query, "2001:db8::1=300 settled6 192.0.2.1=300 192.0.2.2=300 settled4 code 0");
    cr_expect_str_eq(world->server.asked, "AAAA both.test,A both.test,");
    cr_expect_not_null(strstr(query.trace, "query: AAAA both.test to 127.0.0.1:"), "%s",
                       query.trace);
    cr_expect_not_null(strstr(query.trace, "answer: A both.test: 192.0.2.1 (300 s)\n"
                                           "answer: A both.test: 192.0.2.2 (300 s)\n"
                                           "cache: A both.test: kept for 300 s\n"),
                       "%s", query.trace);
    close_world(world);
}

CDT_TEST(dns, asks_for_one_family_if_only_that_is_wanted)
{
    struct world *world = open_world();
    conduit_query query;
    ask_of(world->dns, &query, &world->ctx, "both.test", AF_INET);
    expect_end(&query, "192.0.2.1=300 192.0.2.2=300 settled4 code 0");
    ask_of(world->dns, &query, &world->ctx, "both.test", AF_INET6);
    expect_end(&query, "2001:db8::1=300 settled6 code 0");
    cr_expect_str_eq(world->server.asked, "A both.test,AAAA both.test,");
    close_world(world);
}

CDT_TEST(dns, says_how_it_ended)
{
    static const struct {
        const char *host, *says;
        int code;
    } rows[] = {
        {"only4.test", "settled6 192.0.2.4=300 settled4 code 0", 0},
        {"only4.test.", "192.0.2.4=300 settled4 ", 0},
        {"tcp.test", "192.0.2.5=300 settled4 ", 0},
        {"alias.test", "192.0.2.3=60 settled4 ", 0},
        {"fail6.test", "settled6 192.0.2.6=300 settled4 code 0", 0},
        {"nodata.test", "code -4 the name has no address (NODATA)", CONDUIT_ENONAME},
        {"nx.test", "code -4 no such name (NXDOMAIN)", CONDUIT_ENONAME},
        {"nx6.test", "settled6 settled4 code -4 no such name (NXDOMAIN)", CONDUIT_ENONAME},
        {"notso.test", "settled6 192.0.2.6=300 settled4 code 0", 0},
        {"fail.test", "code -5 the name server failed (SERVFAIL): 127.0.0.1:", CONDUIT_ETEMP},
        {"refused.test",
         "code -5 the name server will not answer (REFUSED): 127.0.0.1:", CONDUIT_ETEMP},
        {"half.test", "code -5 the name server failed (SERVFAIL): 127.0.0.1:", CONDUIT_ETEMP},
        {"rubbish.test", "code -5 a malformed answer from 127.0.0.1:", CONDUIT_ETEMP},
    };
    struct world *world = open_world();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conduit_query query;
        ask(world, &query, rows[i].host);
        cr_assert(cdt_test_run_until(&world->ctx.loop, &query.done), "%s", rows[i].host);
        cr_expect_not_null(strstr(query.story, rows[i].says), "%s: %s\n  without: %s", rows[i].host,
                           query.story, rows[i].says);
        cr_expect_eq(query.code, rows[i].code, "%s: %s", rows[i].host, query.story);
        cr_expect_str_eq(query.source, query.code < 0 ? "c-ares" : "", "%s", rows[i].host);
        cr_expect_eq(query.number != 0, query.code < 0, "%s", rows[i].host);
    }
    close_world(world);
}

CDT_TEST(dns, tells_a_family_while_the_other_is_late)
{
    struct world *world = open_world();
    conduit_query query;
    ask(world, &query, "late6.test");
    wait_for_news(&query);
    expect_story("before", query.host, query.story, "192.0.2.1=300 settled4 ");
    wait_for_held(world, 1);
    release(&world->server);
    expect_end(&query, "192.0.2.1=300 settled4 2001:db8::1=300 settled6 code 0");
    close_world(world);
}

CDT_TEST(dns, takes_sixty_four_addresses_of_a_family_and_no_more)
{
    struct world *world = open_world();
    conduit_query query;
    size_t n = 0;
    ask(world, &query, "many.test");
    cr_assert(cdt_test_run_until(&world->ctx.loop, &query.done));
    for (const char *at = query.story; (at = strchr(at, '=')) != NULL; at++)
        n++;
    cr_expect_eq(n, 64, "%zu addresses", n);
    close_world(world);
}

CDT_TEST(dns, answers_many_queries_at_once)
{
    enum { N = 100 };
    static conduit_query queries[N];
    struct world *world = open_world();
    for (int i = 0; i < N; i++)
        ask(world, &queries[i], i % 2 == 0 ? "only4.test" : "nodata.test");
    for (int i = 0; i < N; i++) {
        cr_expect(cdt_test_run_until(&world->ctx.loop, &queries[i].done));
        cr_expect_eq(queries[i].code, i % 2 == 0 ? 0 : CONDUIT_ENONAME);
    }
    close_world(world);
}

CDT_TEST(dns, appends_no_domain_to_a_short_name)
{
    cr_assert_eq(setenv("LOCALDOMAIN", "elsewhere.test", 1), 0);
    struct world *world = open_world();
    conduit_query query;
    ask_of(world->dns, &query, &world->ctx, "single", AF_INET);
    expect_end(&query, "192.0.2.1=300 settled4 code 0");
    ask_of(world->dns, &query, &world->ctx, "single", AF_INET6);
    expect_end(&query, "settled6 code -4 the name has no address (NODATA)");
    cr_expect_str_eq(world->server.asked, "A single,AAAA single,");
    close_world(world);
}

CDT_TEST(dns, refuses_a_name_that_dns_cannot_hold)
{
    static char name[400];
    struct world *world = open_world();
    conduit_query query;
    memset(name, 'a', sizeof(name) - 1);
    ask(world, &query, name);
    uv_run(&world->ctx.loop, UV_RUN_NOWAIT);
    cr_assert(query.done);
    cr_expect_eq(query.code, CONDUIT_ENONAME, "%s", query.story);
    cr_expect_str_eq(world->server.asked, "");
    close_world(world);
}

CDT_TEST(dns, drops_the_answer_to_a_canceled_query)
{
    struct world *world = open_world();
    conduit_query *canceled = calloc(1, sizeof(*canceled)), query;
    ask(world, canceled, "held.test");
    wait_for_held(world, 2);
    cdt_resolver_dns.cancel(canceled, world->dns);
    cr_expect_str_eq(canceled->story, "");
    free(canceled);
    release(&world->server);
    ask(world, &query, "both.test");
    expect_end(&query, "*");
    cr_expect_eq(query.code, 0);
    close_world(world);
}

CDT_TEST(dns, may_be_canceled_before_it_has_asked_and_after_half_of_the_answer)
{
    struct world *world = open_world();
    conduit_query *query = calloc(1, sizeof(*query));
    ask(world, query, "both.test");
    cdt_resolver_dns.cancel(query, world->dns);
    ask(world, query, "late6.test");
    wait_for_news(query);
    cdt_resolver_dns.cancel(query, world->dns);
    free(query);
    close_world(world);
}

CDT_TEST(dns, ends_with_canceled_queries_still_at_the_server)
{
    struct world *world = open_world();
    conduit_query queries[3];
    for (int i = 0; i < 3; i++)
        ask(world, &queries[i], "silent.test");
    while (strlen(world->server.asked) < 6 * strlen("A silent.test"))
        uv_run(&world->ctx.loop, UV_RUN_ONCE);
    for (int i = 0; i < 3; i++)
        cdt_resolver_dns.cancel(&queries[i], world->dns);
    close_world(world);
}

CDT_TEST(dns, is_attached_and_detached_without_a_query)
{
    conduit_ctx ctx;
    open_ctx(&ctx);
    cdt_resolver_dns.detach(attach_dns(&ctx, NULL));
    close_ctx(&ctx);
}

CDT_TEST(dns, keeps_no_loop_alive)
{
    struct world *world = open_world();
    conduit_query query;
    ask(world, &query, "silent.test");
    uv_run(&world->ctx.loop, UV_RUN_NOWAIT);
    close_server(&world->server);
    uv_run(&world->ctx.loop, UV_RUN_DEFAULT);
    cr_expect(!query.done);
    cdt_resolver_dns.cancel(&query, world->dns);
    cdt_resolver_dns.detach(world->dns);
    close_ctx(&world->ctx);
}

/* Real time: 1.5 s, and 1.5 s + 3 s. */
CDT_TEST(dns, asks_the_second_server_when_the_first_is_silent)
{
    struct world *world = open_world();
    struct server second;
    char servers[160], both[160];
    conduit_query query;
    open_server(&second, &world->ctx.loop, "127.0.0.2", 0);
    world->server.silent = true;
    snprintf(servers, sizeof(servers), "%.63s,%.63s", world->server.address, second.address);
    snprintf(both, sizeof(both), "%.63s, %.63s\n", world->server.address, second.address);
    void *dns = attach_dns(&world->ctx, servers);
    ask_of(dns, &query, &world->ctx, "both.test", AF_UNSPEC);
    expect_end(&query, "2001:db8::1=300 settled6 192.0.2.1=300 192.0.2.2=300 settled4 code 0");
    cr_expect_not_null(strstr(query.trace, both), "%s", query.trace);
    cdt_resolver_dns.detach(dns);
    close_server(&second);
    close_world(world);
}

/* c-ares does not say which of the two it was before 1.20. */
CDT_TEST(dns, asks_the_second_server_when_the_first_fails)
{
    struct world *world = open_world();
    struct server second;
    char servers[160];
    conduit_query query;
    open_server(&second, &world->ctx.loop, "127.0.0.2", 0);
    world->server.failing = true;
    snprintf(servers, sizeof(servers), "%.63s,%.63s", world->server.address, second.address);
    void *dns = attach_dns(&world->ctx, servers);
    ask_of(dns, &query, &world->ctx, "only4.test", AF_INET);
    expect_end(&query, "192.0.2.4=300 settled4 code 0");
    ask_of(dns, &query, &world->ctx, "fail.test", AF_INET);
    cr_assert(cdt_test_run_until(&world->ctx.loop, &query.done));
    cr_expect_eq(query.code, CONDUIT_ETEMP);
    cr_expect_not_null(strstr(query.story, "SERVFAIL"), "%s", query.story);
    cdt_resolver_dns.detach(dns);
    close_server(&second);
    close_world(world);
}

CDT_TEST(dns, says_which_server_is_silent)
{
    struct world *world = open_world();
    conduit_query silent, half;
    char says[160];
    ask(world, &silent, "silent.test");
    ask(world, &half, "silent6.test");
    expect_end(&half, "192.0.2.7=300 settled4 settled6 code 0");
    snprintf(says, sizeof(says), " code -6 no answer from %.63s", world->server.address);
    cr_assert(cdt_test_run_until(&world->ctx.loop, &silent.done));
    cr_expect_not_null(strstr(silent.story, says), "%s", silent.story);
    close_world(world);
}

CDT_TEST(dns, says_that_nobody_is_at_the_port_of_the_server)
{
    struct world *world = open_world();
    char says[160];
    conduit_query query;
    struct server gone;
    open_server(&gone, &world->ctx.loop, "127.0.0.1", 0);
    close_server(&gone);
    uv_run(&world->ctx.loop, UV_RUN_NOWAIT);
    void *dns = attach_dns(&world->ctx, gone.address);
    ask_of(dns, &query, &world->ctx, "both.test", AF_UNSPEC);
    cr_expect(cdt_test_run_until(&world->ctx.loop, &query.done));
    snprintf(says, sizeof(says), "code -5 connection refused, nobody is there to ask: %.63s",
             gone.address);
    cr_expect_not_null(strstr(query.story, says), "%s\n  without: %s", query.story, says);
    cdt_resolver_dns.detach(dns);
    close_world(world);
}

CDT_TEST(dns, reads_the_servers_of_the_options)
{
    static const struct {
        const char *servers, *asks; /* asks: as the trace names them; NULL: turned away */
    } rows[] = {
        /* clang-format off */
        {"192.0.2.1", "to 192.0.2.1\n"},
        {"192.0.2.1:53", "to 192.0.2.1\n"},
        {"192.0.2.1:5353", "to 192.0.2.1:5353\n"},
        {"2001:db8::1", "to 2001:db8::1\n"},
        {"[2001:db8::1]", "to 2001:db8::1\n"},
        {"[2001:db8::1]:5353", "to [2001:db8::1]:5353\n"},
        {"192.0.2.1,[2001:db8::1]:5353,::1", "to 192.0.2.1, [2001:db8::1]:5353, ::1\n"},
        {"::1,::2,::3,::4", "to ::1, ::2, ::3, ::4\n"},
        {"", NULL},
        {",", NULL},
        {"192.0.2.1,", NULL},
        {",192.0.2.1", NULL},
        {"192.0.2.1,,::1", NULL},
        {"name.example", NULL},
        {"192.0.2", NULL},
        {"192.0.2.1:", NULL},
        {"192.0.2.1:0", NULL},
        {"192.0.2.1:65536", NULL},
        {"192.0.2.1:99999", NULL},
        {"192.0.2.1:5x", NULL},
        {"192.0.2.1:-1", NULL},
        {"[192.0.2.1]", NULL},
        {"[::1", NULL},
        {"::1]", NULL},
        {"[::1]x", NULL},
        {"[::1]:", NULL},
        {"[]", NULL},
        {"fe80::1%lo", NULL},
        {" 192.0.2.1", NULL},
        {"192.0.2.1 ", NULL},
        {"192.0.2.1;192.0.2.2", NULL},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL},
        /* clang-format on */
    };
    conduit_ctx ctx;
    open_ctx(&ctx);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conduit_ctx_options options = {.dns_servers = rows[i].servers};
        conduit_query query;
        void *dns = NULL;
        int code = cdt_resolver_dns.attach(&ctx, &options, &dns);
        cr_expect_eq(code, rows[i].asks != NULL ? 0 : CONDUIT_EINVAL, "\"%s\"", rows[i].servers);
        if (code != 0)
            continue;
        ask_of(dns, &query, &ctx, "name.test", AF_INET);
        cr_expect_not_null(strstr(query.trace, rows[i].asks), "%s: %s", rows[i].servers,
                           query.trace);
        cdt_resolver_dns.cancel(&query, dns);
        cdt_resolver_dns.detach(dns);
    }
    close_ctx(&ctx);
}

CDT_TEST(dns, leaves_to_others_what_is_not_a_name_to_connect_to)
{
    conduit_ctx ctx;
    conduit_ctx_options system = {.system_resolver = true};
    conduit_query query = {.transport = "tcp", .host = "example.org"};
    void *off = NULL;
    open_ctx(&ctx);
    cr_assert_eq(cdt_resolver_dns.attach(&ctx, &system, &off), 0);
    void *on = attach_dns(&ctx, NULL);
    cr_expect(cdt_resolver_dns.accepts(&query, on));
    cr_expect(!cdt_resolver_dns.accepts(&query, off));
    query.listening = true;
    cr_expect(!cdt_resolver_dns.accepts(&query, on));
    query = (conduit_query){.transport = "unix", .host = "example.org"};
    cr_expect(!cdt_resolver_dns.accepts(&query, on));
    query = (conduit_query){.transport = "tcp", .host = ""};
    cr_expect(!cdt_resolver_dns.accepts(&query, on));
    cdt_resolver_dns.detach(on);
    cdt_resolver_dns.detach(off);
    close_ctx(&ctx);
}

CDT_TEST(dns, remembers_an_answer_for_as_long_as_it_says)
{
    struct world *world = open_world();
    conduit_query query;
    ask(world, &query, "both.test");
    expect_end(&query, "*");
    skew_ns += 100 * (uint64_t)1000000000;
    ask(world, &query, "BOTH.test.");
    expect_end(&query, "2001:db8::1=200 settled6 192.0.2.1=200 192.0.2.2=200 settled4 code 0");
    cr_expect_str_eq(world->server.asked, "AAAA both.test,A both.test,");
    cr_expect_not_null(strstr(query.trace, "query: A both.test from memory"), "%s", query.trace);
    skew_ns += 200 * (uint64_t)1000000000;
    ask(world, &query, "both.test");
    expect_end(&query, "2001:db8::1=300 settled6 192.0.2.1=300 192.0.2.2=300 settled4 code 0");
    cr_expect_str_eq(world->server.asked, "AAAA both.test,A both.test,AAAA both.test,A both.test,");
    close_world(world);
}

CDT_TEST(dns, remembers_what_there_is_not_if_the_zone_says_for_how_long)
{
    struct world *world = open_world();
    conduit_query query;
    for (int i = 0; i < 2; i++) {
        ask_of(world->dns, &query, &world->ctx, "absent.test", AF_INET);
        expect_end(&query, "settled4 code -4 no such name (NXDOMAIN)");
        ask(world, &query, "absent6.test");
        expect_end(&query, "settled6 192.0.2.1=300 settled4 code 0");
        ask_of(world->dns, &query, &world->ctx, "nx.test", AF_INET);
        expect_end(&query, "settled4 code -4 no such name (NXDOMAIN)");
    }
    cr_expect_str_eq(world->server.asked,
                     "A absent.test,AAAA absent6.test,A absent6.test,A nx.test,A nx.test,");
    skew_ns += 40 * (uint64_t)1000000000;
    ask_of(world->dns, &query, &world->ctx, "absent.test", AF_INET);
    expect_end(&query, "*");
    cr_expect_not_null(strstr(world->server.asked, "A nx.test,A absent.test,"));
    close_world(world);
}

CDT_TEST(dns, forgets_when_told_to_what_is_under_way_too)
{
    struct world *world = open_world();
    conduit_query query, held;
    ask_of(world->dns, &query, &world->ctx, "both.test", AF_INET);
    expect_end(&query, "*");
    ask_of(world->dns, &held, &world->ctx, "held.test", AF_INET);
    wait_for_held(world, 1);
    cdt_resolver_dns.flush(world->dns);
    release(&world->server);
    expect_end(&held, "192.0.2.1=300 settled4 code 0");
    ask_of(world->dns, &query, &world->ctx, "both.test", AF_INET);
    expect_end(&query, "*");
    ask_of(world->dns, &held, &world->ctx, "held.test", AF_INET);
    wait_for_held(world, 1);
    release(&world->server);
    expect_end(&held, "*");
    cr_expect_str_eq(world->server.asked, "A both.test,A held.test,A both.test,A held.test,");
    close_world(world);
}

static const char *const services[] = {
    [CONDUIT_RECORDS_SRV] = "xmpps-client",
    [CONDUIT_RECORDS_HTTPS] = "https",
    [CONDUIT_RECORDS_SVCB] = "foo",
};

/* IPv4 alone, for brevity. */
static void ask_for(struct world *world, conduit_query *query, conduit_records records,
                    const char *host, uint16_t port)
{
    memset(query, 0, sizeof(*query));
    query->ctx = &world->ctx;
    query->transport = "tcp";
    query->host = host;
    query->family = AF_INET;
    query->port = port;
    query->records = records;
    query->service = services[records];
    query->alpn = records == CONDUIT_RECORDS_SVCB ? "foo" : "http/1.1";
    world->server.asked[0] = '\0';
    cdt_resolver_dns.start(query, world->dns);
}

/* Is it in there? */
static void expect_part(const conduit_query *query, const char *part)
{
    cr_expect_not_null(strstr(query->story, part), "%s: %s\n  without: %s", query->host,
                       query->story, part);
}

CDT_TEST(dns, finds_a_service_by_srv)
{
    struct world *world = open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_SRV, "srv.test", 5223);
    expect_end(&query, "*");
    expect_part(&query, "0#5223:192.0.2.1=300 0#5223:192.0.2.2=300 ");
    expect_part(&query, "1#5224:192.0.2.4=300 ");
    expect_part(&query, "settled4 code 0");
    cr_expect_not_null(strstr(query.trace, "_tcp.srv.test: 10 0 5223 both.test. (300 s)"), "%s",
                       query.trace);
    cr_expect_str_eq(world->server.asked,
                     "SRV _xmpps-client._tcp.srv.test,A both.test,A only4.test,");
    close_world(world);
}

CDT_TEST(dns, goes_to_the_host_where_there_is_no_srv)
{
    struct world *world = open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_SRV, "only4.test", 5223);
    expect_end(&query, "0#5223:192.0.2.4=300 settled4 code 0");
    cr_expect_str_eq(world->server.asked, "SRV _xmpps-client._tcp.only4.test,A only4.test,");
    ask_for(world, &query, CONDUIT_RECORDS_SRV, "both.test", 5223);
    expect_end(&query, "0#5223:192.0.2.1=300 0#5223:192.0.2.2=300 settled4 code 0");
    close_world(world);
}

CDT_TEST(dns, believes_srv_that_there_is_no_service)
{
    struct world *world = open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_SRV, "none.test", 5223);
    expect_end(&query, "code -4 the service is decidedly not available (SRV)");
    ask_for(world, &query, CONDUIT_RECORDS_SRV, "lost.test", 5223);
    expect_end(&query, "settled4 code -4 no such name (NXDOMAIN)");
    close_world(world);
}

CDT_TEST(dns, finds_a_service_by_svcb_that_says_the_port)
{
    struct world *world = open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_SVCB, "https.test", 0);
    expect_end(&query, "1#8445:192.0.2.4=300 settled4 code 0");
    cr_expect_str_eq(world->server.asked, "SVCB _foo.https.test,A only4.test,");
    ask_for(world, &query, CONDUIT_RECORDS_SVCB, "https.test", 8444);
    expect_end(&query, "*");
    expect_part(&query, "0#8444:192.0.2.1=300 ");
    expect_part(&query, "-1#8444:192.0.2.9=300 ");
    ask_for(world, &query, CONDUIT_RECORDS_SVCB, "alias1.test", 0);
    expect_end(&query, "1#8445:192.0.2.4=300 settled4 code 0");
    close_world(world);
}

CDT_TEST(dns, says_what_failed_where_the_host_is_no_way_out)
{
    struct world *world = open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_SRV, "fail.test", 0);
    expect_end(&query, "*");
    cr_expect_eq(query.code, CONDUIT_ETEMP, "%s", query.story);
    ask_for(world, &query, CONDUIT_RECORDS_SVCB, "fail.test", 0);
    expect_end(&query, "*");
    cr_expect_eq(query.code, CONDUIT_ETEMP, "%s", query.story);
    ask_for(world, &query, CONDUIT_RECORDS_SRV, "only4.test", 0);
    expect_end(&query, "code 0"); /* nothing was added: what that means is the core's to say */
    close_world(world);
}

CDT_TEST(dns, finds_better_places_by_https_and_keeps_the_host)
{
    struct world *world = open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_HTTPS, "https.test", 443);
    expect_end(&query, "*");
    expect_part(&query, "0#443:192.0.2.1=300 ");
    expect_part(&query, "-1#443:192.0.2.9=300 ");
    expect_part(&query, "code 0");
    cr_expect_null(strstr(query.story, "#844"), "speaks no h2, no h3: %s", query.story);
    cr_expect_not_null(strstr(query.trace, "answer: HTTPS https.test: "), "%s", query.trace);
    cr_expect_not_null(strstr(query.trace, " alpn="), "%s", query.trace);
    cr_expect_not_null(strstr(query.trace, "cache: HTTPS https.test: kept for 300 s"), "%s",
                       query.trace);
    cr_expect_str_eq(world->server.asked, "HTTPS https.test,A https.test,A single,");
    ask_for(world, &query, CONDUIT_RECORDS_HTTPS, "https.test", 8443);
    expect_end(&query, "-1#8443:192.0.2.9=300 settled4 code 0");
    close_world(world);
}

CDT_TEST(dns, speaks_what_https_offers_and_follows_its_port)
{
    struct world *world = open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_HTTPS, "https.test", 443);
    query.alpn = "h2,http/1.1";
    expect_end(&query, "*");
    expect_part(&query, "1#8444:192.0.2.4=300 ");
    expect_part(&query, "0#443:192.0.2.1=300 ");
    close_world(world);
}

CDT_TEST(dns, follows_https_aliases_and_not_for_ever)
{
    struct world *world = open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_HTTPS, "alias1.test", 443);
    expect_end(&query, "*");
    expect_part(&query, "0#443:192.0.2.4=300 ");
    expect_part(&query, "-1#443:192.0.2.9=300 ");
    ask_for(world, &query, CONDUIT_RECORDS_HTTPS, "loop.test", 443);
    expect_end(&query, "-1#443:192.0.2.9=300 settled4 code 0");
    close_world(world);
}

CDT_TEST(dns, does_not_wait_for_https_alone)
{
    struct world *world = open_world();
    conduit_query query;
    uint64_t since = uv_hrtime();
    ask_for(world, &query, CONDUIT_RECORDS_HTTPS, "quiet.test", 443);
    expect_end(&query, "-1#443:192.0.2.9=300 settled4 code 0");
    cr_expect_lt(uv_hrtime() - since, (uint64_t)1000000000);
    ask_for(world, &query, CONDUIT_RECORDS_HTTPS, "quiet.test", 443);
    cdt_resolver_dns.cancel(&query, world->dns);
    close_world(world);
}

CDT_TEST(dns, may_be_canceled_while_it_remembers)
{
    struct world *world = open_world();
    conduit_query query;
    ask(world, &query, "both.test");
    expect_end(&query, "*");
    ask(world, &query, "both.test");
    cdt_resolver_dns.cancel(&query, world->dns);
    uv_run(&world->ctx.loop, UV_RUN_NOWAIT);
    cr_expect_str_eq(query.story, "");
    close_world(world);
}

static void raise_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    close(fd);
}

/* A resolv.conf and a port 53 of this process's own; false without the rights for it. */
static bool enter_machine_of_its_own(const char *config)
{
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) != 0)
        return false;
    if (mount(NULL, "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount(config, "/etc/resolv.conf", "none", MS_BIND, NULL) != 0)
        return false;
    raise_loopback();
    return true;
}

CDT_TEST(dns, sees_a_changed_resolv_conf_and_lets_the_old_servers_finish)
{
    static const char before[] = "nameserver 127.0.0.1\n", after[] = "nameserver 127.0.0.22\n";
    const char *config = cdt_test_path("resolv.conf");
    conduit_ctx ctx;
    static struct server first, second;
    static conduit_query old, query;
    write_file(config, before, strlen(before));
    if (!enter_machine_of_its_own(config))
        cr_skip_test("needs the rights to make namespaces");
    open_ctx(&ctx);
    open_server(&first, &ctx.loop, "127.0.0.1", 53);
    open_server(&second, &ctx.loop, "127.0.0.22", 53);
    void *dns = attach_dns(&ctx, NULL);
    ask_of(dns, &old, &ctx, "held.test", AF_INET);
    while (first.n_held < 1)
        uv_run(&ctx.loop, UV_RUN_ONCE);
    write_file(config, after, strlen(after));
    ask_of(dns, &query, &ctx, "only4.test", AF_INET);
    expect_end(&query, "192.0.2.4=300 settled4 code 0");
    cr_expect_str_eq(first.asked, "A held.test,A only4.test,", "%s", first.asked);
    let_a_second_pass();
    ask_of(dns, &query, &ctx, "only4.test", AF_INET);
    expect_end(&query, "192.0.2.4=300 settled4 code 0");
    cr_expect_str_eq(second.asked, "A only4.test,", "%s", second.asked);
    release(&first);
    expect_end(&old, "192.0.2.1=300 settled4 code 0");
    cdt_resolver_dns.detach(dns);
    close_server(&first);
    close_server(&second);
    close_ctx(&ctx);
}

#endif
