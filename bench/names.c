/* SPDX-License-Identifier: ISC */
/*
 * How fast names are found: names SERVER [MILLIONS [ROUNDS]]
 *
 *   cached    one name over and over, from what is remembered, and what that does to memory
 *   uncached  a name at a time of its own, A and AAAA, beside bare c-ares asking the same
 *             questions of the same server; rounds of both, one after the other
 *
 * A line of JSON for the one, and one for each round of the other: names.py makes a table of them.
 * SERVER (127.0.0.1:PORT) has to answer for every name under test. WINDOW lookups are always under
 * way.
 */
#define CARES_NO_DEPRECATED 1
#include <ares.h>
#include <conduit/conduit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <time.h>
#include <uv.h>

enum {
    WINDOW = 64,
    ROUND = 20000,
    ROUNDS = 9,

    MILLION = 1000000
};

static const char *server;
static unsigned long n_names; /* every name is asked for once */

static double now_s(void)
{
    return (double)uv_hrtime() / 1e9;
}

/* Of a processor, ours and the kernel's for us: what others do on the machine is not in it. */
static double busy_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

struct rates {
    double by_clock, by_processor; /* lookups a second */
};

static void die(const char *what)
{
    fprintf(stderr, "names: %s\n", what);
    exit(1);
}

/* ---- ours */

struct run {
    conduit_ctx *ctx;
    const char *uri; /* NULL: a new name every time */
    unsigned long left, under_way;
};

static void start(struct run *run);

static void on_done(conduit_resolution *resolution, const conduit_answer *answers, size_t n,
                    const conduit_error *why, void *user)
{
    struct run *run = user;
    if (n != 2)
        die(why != NULL ? conduit_error_text(why) : "two addresses were expected");
    run->under_way--;
    if (run->left > 0)
        start(run);
}

static void start(struct run *run)
{
    char name[64];
    const char *uri = run->uri;
    if (uri == NULL) {
        snprintf(name, sizeof(name), "tcp://n%lu.test:80", n_names++);
        uri = name;
    }
    run->left--;
    run->under_way++;
    if (conduit_resolve(run->ctx, uri, NULL, on_done, run, NULL) < 0)
        die(conduit_error_text(conduit_ctx_error(run->ctx)));
}

static struct rates resolve(conduit_ctx *ctx, const char *uri, unsigned long n)
{
    struct run run = {.ctx = ctx, .uri = uri, .left = n};
    double since_s = now_s(), since_busy_s = busy_s();
    while (run.left > 0 && run.under_way < WINDOW)
        start(&run);
    conduit_run(ctx);
    if (run.under_way > 0)
        die("not all were told");
    return (struct rates){(double)n / (now_s() - since_s), (double)n / (busy_s() - since_busy_s)};
}

static conduit_ctx *open_ctx(void)
{
    const conduit_ctx_options options = {.dns_servers = server, .hosts_file = ""};
    conduit_ctx *ctx = conduit_ctx_new(&options);
    if (ctx == NULL)
        die("no context");
    return ctx;
}

/* ---- bare c-ares */

struct bare {
    ares_channel channel;
    unsigned long left, under_way;
};

struct pair {
    struct bare *bare;
    int left;
};

static void ask(struct bare *bare);

/* What everybody who asks goes on to do: addresses, and for how long they hold. */
static void take(struct pair *pair, int status, int parsed, int n)
{
    if (status != ARES_SUCCESS || parsed != ARES_SUCCESS || n != 1)
        die(ares_strerror(status != ARES_SUCCESS ? status : parsed));
    if (--pair->left > 0)
        return;
    struct bare *bare = pair->bare;
    free(pair);
    bare->under_way--;
    if (bare->left > 0)
        ask(bare);
}

static void on_a(void *arg, int status, int timeouts, unsigned char *packet, int n)
{
    struct ares_addrttl found[2];
    int n_found = 2;
    int parsed = ares_parse_a_reply(packet, n, NULL, found, &n_found);
    take(arg, status, parsed, n_found);
}

static void on_aaaa(void *arg, int status, int timeouts, unsigned char *packet, int n)
{
    struct ares_addr6ttl found[2];
    int n_found = 2;
    int parsed = ares_parse_aaaa_reply(packet, n, NULL, found, &n_found);
    take(arg, status, parsed, n_found);
}

static void ask(struct bare *bare)
{
    char name[64];
    struct pair *pair = malloc(sizeof(*pair));
    if (pair == NULL)
        die("out of memory");
    *pair = (struct pair){bare, 2};
    snprintf(name, sizeof(name), "n%lu.test", n_names++);
    bare->left--;
    bare->under_way++;
    ares_query(bare->channel, name, 1, 28, on_aaaa, pair);
    ares_query(bare->channel, name, 1, 1, on_a, pair);
}

static void turn(struct bare *bare)
{
    fd_set in, out;
    struct timeval most = {.tv_sec = 1}, space;
    FD_ZERO(&in);
    FD_ZERO(&out);
    int n = ares_fds(bare->channel, &in, &out);
    select(n, &in, &out, NULL, ares_timeout(bare->channel, &most, &space));
    ares_process(bare->channel, &in, &out);
}

static void open_channel(struct bare *bare)
{
    struct ares_options options = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_EDNS, .ednspsz = 1232};
    int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ;
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS ||
        ares_init_options(&bare->channel, &options, mask) != ARES_SUCCESS ||
        ares_set_servers_ports_csv(bare->channel, server) != ARES_SUCCESS)
        die("no channel");
}

static struct rates query(struct bare *bare, unsigned long n)
{
    double since_s = now_s(), since_busy_s = busy_s();
    bare->left = n;
    while (bare->left > 0 && bare->under_way < WINDOW)
        ask(bare);
    while (bare->under_way > 0)
        turn(bare);
    return (struct rates){(double)n / (now_s() - since_s), (double)n / (busy_s() - since_busy_s)};
}

/* ---- the measurements */

/* KiB: the most there ever was. */
static long memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void measure_cached(unsigned long n)
{
    conduit_ctx *ctx = open_ctx();
    resolve(ctx, "tcp://cached.test:80", n / 10);
    long before = memory();
    struct rates rates = resolve(ctx, "tcp://cached.test:80", n);
    printf("{\"rate\": %.0f, \"of_processor\": %.0f, \"more_kib\": %ld, \"lookups\": %lu}\n",
           rates.by_clock, rates.by_processor, memory() - before, n);
    conduit_ctx_free(ctx);
}

static void measure_uncached(int rounds)
{
    struct bare bare = {0};
    conduit_ctx *ctx = open_ctx();
    open_channel(&bare);
    for (int i = 0; i < rounds; i++) {
        struct rates theirs = query(&bare, ROUND), ours = resolve(ctx, NULL, ROUND);
        printf("{\"round\": %d, \"ours\": %.0f, \"c-ares\": %.0f, \"cpu\": %.3f, "
               "\"ours_of_processor\": %.0f, \"c-ares_of_processor\": %.0f}\n",
               i, ours.by_clock, theirs.by_clock, ours.by_processor / theirs.by_processor,
               ours.by_processor, theirs.by_processor);
    }
    ares_destroy(bare.channel);
    conduit_ctx_free(ctx);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        die("names SERVER [MILLIONS [ROUNDS]]");
    server = argv[1];
    double millions = argc > 2 ? strtod(argv[2], NULL) : 10;
    int rounds = argc > 3 ? atoi(argv[3]) : ROUNDS;
    if (millions > 0)
        measure_cached((unsigned long)(millions * MILLION));
    if (rounds > 0)
        measure_uncached(rounds);
    return 0;
}
