/* SPDX-License-Identifier: ISC */
/*
 * What happens when memory runs out: every feature, with the first allocation failing, then the
 * second, and so on until all of it passes untouched; and once more with all after it failing, too.
 *
 * Each time: nobody hangs, whoever fails says CONDUIT_ENOMEM (or somebody at the other end does),
 * nothing is lost, and with memory back the same context connects again. Runs are in children, a
 * batch in each, so that what a library underneath remembers of the shortage ends with the batch.
 *
 * CONDUIT_SCARCITY=all tries every call of OpenSSL's, thousands; otherwise one in some.
 */
#include "conduit-build.h"
#include "name-server.h"
#include "proxy-server.h"
#include "scarce.h"
#include <arpa/inet.h>
#include <conduit/conduit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BATCH = 40,
    SHORTAGE_MS = 200,
    PATIENCE_MS = 3000,
    CLOSE_MS = 20, /* both ends are on one thread: the other cannot say goodbye meanwhile */
    MESSAGE = 3000,
    GOES_ON = 0,
    IS_THROUGH = 3
};

static char directory[] = "/tmp/conduit-memory-XXXXXX";

/* ---- scenarios ---- */

struct end {
    bool started, over;
    conduit_code code;
};

struct scenario {
    const char *name;
    const char *listen; /* %D is the directory */
    const char *dial;   /* %P is the port of what it listens at */
    const char *via;    /* %X is the port of a proxy, where the echo is */
    bool server_tls, client_tls, client_cert, resolve, upgrade;
    int (*prepare)(conduit_ctx *ctx, const char *port);
    /* Instead of conduit_connect(). */
    int (*start)(const char *uri, const conduit_connect_options *how, struct end *end);
};

static int adopt(const char *uri, const conduit_connect_options *how, struct end *end);
#if CONDUIT_HAVE_OPENSSL
static int adopt_under_tls(const char *uri, const conduit_connect_options *how, struct end *end);
#endif
static int block(const char *uri, const conduit_connect_options *how, struct end *end);
static int use_twice(const char *uri, const conduit_connect_options *how, struct end *end);

static int add_rules(conduit_ctx *ctx, const char *port)
{
    char target[64];
    snprintf(target, sizeof(target), "tcp://127.0.0.1:%s", port);
    int code = conduit_ctx_add_rule(ctx, "*.ruled.example", target);
    return code < 0 ? code : conduit_ctx_add_rule(ctx, "other.example", "tcp://{label}.x.example");
}

static int add_scheme_and_host(conduit_ctx *ctx, const char *port)
{
    const conduit_scheme scheme = {.name = "echo", .port = (uint16_t)atoi(port)};
    int code = conduit_ctx_add_scheme(ctx, &scheme);
    return code < 0 ? code : conduit_ctx_add_host(ctx, "own.example", "127.0.0.1");
}

/* clang-format off */
static const struct scenario scenarios[] = {
    { .name = "an address",  .listen = "tcp://127.0.0.1:0", .dial = "tcp://127.0.0.1:%P" },
    { .name = "both families", .listen = "tcp://localhost:0", .dial = "tcp://localhost:%P" },
    { .name = "inproc",      .listen = "inproc://x",        .dial = "inproc://x" },
    { .name = "vchan",       .listen = "vchan://0/memory",  .dial = "vchan://0/memory" },
    { .name = "a domain",    .listen = "http://memory.xen/", .dial = "http://memory.xen/" },
    { .name = "prefer_local", .listen = "tcp://127.0.0.1:0?prefer_local=1",
      .dial = "tcp://127.0.0.1:%P?prefer_local=1" },
    { .name = "unix",        .listen = "unix:%D/u?mode=0600", .dial = "unix:%D/u" },
    { .name = "hosts",       .listen = "tcp://127.0.0.1:0", .dial = "tcp://host.example:%P" },
    { .name = "rules",       .listen = "tcp://127.0.0.1:0", .dial = "http://a.ruled.example",
      .prepare = add_rules },
    { .name = "a scheme and a host", .listen = "tcp://127.0.0.1:0", .dial = "echo://own.example/",
      .prepare = add_scheme_and_host },
    { .name = "SOCKS 5",     .listen = "inproc://x", .dial = "tcp://far.example:1",
      .via = "socks5://al:secret@127.0.0.1:%X" },
    { .name = "CONNECT",     .listen = "inproc://x", .dial = "tcp://far.example:1",
      .via = "http://al:secret@127.0.0.1:%X" },
    { .name = "two proxies", .listen = "inproc://x", .dial = "tcp://far.example:1",
      .via = "http://127.0.0.1:%X,socks5://next.example" },
    { .name = "PROXY header", .listen = "tcp://127.0.0.1:0?proxy_from=127.0.0.1",
      .dial = "tcp://127.0.0.1:%P?proxy_send=2" },
    { .name = "adopted",     .listen = "tcp://127.0.0.1:0", .dial = "tcp://127.0.0.1:%P",
      .start = adopt },
    { .name = "blocking",    .listen = "inproc://b",        .dial = "unix:%D/b", .start = block },
    { .name = "a pool",      .listen = "tcp://127.0.0.1:0", .dial = "tcp://127.0.0.1:%P",
      .start = use_twice },
    { .name = "resolve",     .listen = "inproc://x", .dial = "tcp://host.example:1", .resolve = true },
#if CONDUIT_HAVE_DNS
    { .name = "DNS",         .listen = "tcp://127.0.0.1:0", .dial = "tcp://dns.example:%P" },
    { .name = "resolve SRV", .listen = "inproc://x", .dial = "imap://dns.example", .resolve = true },
#endif
#if CONDUIT_HAVE_OPENSSL
    { .name = "TLS",         .listen = "tls://127.0.0.1:0", .dial = "tls://127.0.0.1:%P",
      .server_tls = true, .client_tls = true },
    { .name = "a pool, under TLS", .listen = "tls://127.0.0.1:0", .dial = "tls://127.0.0.1:%P",
      .server_tls = true, .client_tls = true, .start = use_twice },
    { .name = "TLS in memory", .listen = "tls+inproc://t?cert=%D/server.pem&key=%D/server.key",
      .dial = "tls+inproc://t?ca=%D/ca.pem&name=a.example" },
    { .name = "client certificates", .listen = "tls+unix:%D/t?ca=%D/ca.pem",
      .dial = "tls+unix:%D/t?name=a.example", .server_tls = true, .client_tls = true,
      .client_cert = true },
    { .name = "upgrade to TLS", .listen = "unix:%D/t", .dial = "unix:%D/t",
      .server_tls = true, .client_tls = true, .upgrade = true },
    { .name = "adopted, under TLS", .listen = "tls://127.0.0.1:0", .dial = "tls://127.0.0.1:%P",
      .server_tls = true, .client_tls = true, .start = adopt_under_tls },
#endif
};
/* clang-format on */
enum { N_SCENARIOS = sizeof(scenarios) / sizeof(*scenarios) };

/* ---- one run ---- */

static struct run {
    const struct scenario *scenario;
    enum cdt_asker asker;
    uv_loop_t loop;
    struct cdt_name_server names;
    struct cdt_proxy_server proxy;
    conduit_ctx *ctx;
    conduit_listener *listener;
    conduit_tls *server_tls, *client_tls;
    conduit_pool *pool;
    const char *pool_uri;
    size_t received;
    bool short_somewhere; /* somebody said ENOMEM */
    bool wrong;
    int n_open;
} run;

static void complain(const char *what, const char *which)
{
    printf("# %s: %s%s\n", run.scenario->name, what, which);
    run.wrong = true;
}

static void note_code(int code)
{
    run.short_somewhere |= code == CONDUIT_ENOMEM;
}

static void note_error(const conduit_error *why)
{
    note_code(conduit_error_code(why));
    for (size_t i = 0; why != NULL && i < conduit_error_count(why); i++)
        note_error(conduit_error_child(why, i));
}

/* Of a call that answers now. True: it went well. OpenSSL's decoders try one format after another,
 * and forget on the way that it was memory which one of them lacked. */
static bool went_well(int code, const char *call)
{
    note_code(code);
    bool vague = code == CONDUIT_ETLS && run.asker == CDT_OPENSSL && cdt_scarce_failed();
    run.short_somewhere |= vague;
    if (code < 0 && code != CONDUIT_ENOMEM && !vague) {
        complain("wrong answer, ", conduit_code_name(code));
        complain("... of ", call);
    }
    return code >= 0;
}

static const char *expand(const char *pattern, const char *port, char *buf, size_t size)
{
    size_t n = 0;
    for (const char *at = pattern; *at != '\0' && n + 1 < size; at++) {
        const char *what = *at != '%'     ? NULL
                           : at[1] == 'D' ? directory
                           : at[1] == 'P' ? port
                           : at[1] == 'X' ? run.proxy.port
                                          : NULL;
        if (what == NULL) {
            buf[n++] = *at;
            continue;
        }
        at++;
        n += (size_t)snprintf(buf + n, size - n, "%s", what);
    }
    buf[n < size ? n : size - 1] = '\0';
    return buf;
}

/* What could not be written whole is not to look like an end. */
static void write_or_abort(conduit_conn *conn, const void *data, size_t n)
{
    int code = conduit_write(conn, data, n);
    note_code(code);
    if (code < 0)
        conduit_abort(conn);
}

static void server_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    write_or_abort(conn, data, n);
}

/* Both ends, at once: there is nothing to agree on first. */
static void upgrade(conduit_conn *conn, conduit_tls *tls)
{
    const conduit_upgrade_options how = {.tls = tls, .name = "a.example"};
    if (!went_well(conduit_upgrade(conn, &how), "conduit_upgrade"))
        conduit_abort(conn);
}

static void server_open(conduit_conn *conn, void *user)
{
    run.n_open++;
    conduit_conn_info(conn);
    if (run.scenario->upgrade)
        upgrade(conn, run.server_tls);
}

static void server_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    run.n_open--;
    note_error(why);
}

static void on_failed(conduit_listener *listener, const conduit_error *why, void *user)
{
    note_error(why);
}

static void client_open(conduit_conn *conn, void *user)
{
    static const char message[MESSAGE] = "hello";
    if (run.scenario->upgrade)
        upgrade(conn, run.client_tls);
    write_or_abort(conn, message, sizeof(message));
    conduit_conn_info(conn);
}

static void client_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    run.received += n;
    if (run.received == MESSAGE)
        conduit_close(conn);
}

static void client_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct end *end = user;
    note_error(why);
    end->code = conduit_error_code(why);
    end->over = true;
    if (run.pool != NULL)
        conduit_pool_clear(run.pool);
    if (why == NULL && run.received != MESSAGE)
        complain("a clean end without all the bytes", "");
    if (why != NULL && *conduit_error_text(why) == '\0')
        complain("an error without words", "");
}

static void on_resolved(conduit_resolution *resolution, const conduit_answer *answers, size_t n,
                        const conduit_error *why, void *user)
{
    struct end *end = user;
    note_error(why);
    end->code = n > 0 ? CONDUIT_OK : conduit_error_code(why);
    end->over = true;
    if (n == 0 && why == NULL)
        complain("nothing was found, and nobody says why", "");
}

static bool set_file(conduit_tls *tls, const char *key, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return went_well(conduit_tls_set(tls, key, path, NULL), name);
}

static bool make_tls(void)
{
    const struct scenario *s = run.scenario;
    if (s->server_tls) {
        run.server_tls = conduit_tls_new();
        if (run.server_tls == NULL || !set_file(run.server_tls, "cert", "server.pem") ||
            !set_file(run.server_tls, "key", "server.key"))
            return false;
    }
    if (s->client_tls) {
        run.client_tls = conduit_tls_new();
        if (run.client_tls == NULL || !set_file(run.client_tls, "ca", "ca.pem"))
            return false;
    }
    return !s->client_cert || (set_file(run.client_tls, "cert", "client.pem") &&
                               set_file(run.client_tls, "key", "client.key"));
}

static bool listen_there(void)
{
    static const conduit_handler echo = {
        .on_open = server_open, .on_data = server_data, .on_close = server_close};
    char uri[512];
    const conduit_listen_options how = {.tls = run.server_tls, .on_failed = on_failed};
    expand(run.scenario->listen, "", uri, sizeof(uri));
    return went_well(conduit_listen(run.ctx, uri, &how, &echo, NULL, &run.listener), uri);
}

/* Of "tcp://127.0.0.1:4711?...". */
static const char *port(void)
{
    static char digits[8];
    const char *uri = conduit_listener_uri(run.listener, 0);
    const char *last = uri + strcspn(uri, "?");
    while (last > uri && last[-1] != ':')
        last--;
    snprintf(digits, sizeof(digits), "%d", atoi(last));
    return digits;
}

static const conduit_handler client = {
    .on_open = client_open, .on_data = client_data, .on_close = client_close};

/* ---- other ways to start ---- */

/* A socket that somebody else has connected to the port of `uri`; -1. */
static int connect_socket(const char *uri)
{
    const char *colon = strrchr(uri, ':');
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)atoi(colon + 1))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    complain("no socket to adopt", "");
    close(fd);
    return -1;
}

/* What is not adopted is still ours, and open. */
static int adopt_with(const char *uri, const conduit_adopt_options *how, struct end *end)
{
    int fd = connect_socket(uri);
    int code = conduit_adopt(run.ctx, fd, how, &client, end, NULL);
    if (code < 0 && close(fd) < 0)
        complain("a descriptor that was not adopted is gone", "");
    return code;
}

static int adopt(const char *uri, const conduit_connect_options *how, struct end *end)
{
    return adopt_with(uri, &(conduit_adopt_options){.connect = *how}, end);
}

#if CONDUIT_HAVE_OPENSSL
static int adopt_under_tls(const char *uri, const conduit_connect_options *how, struct end *end)
{
    conduit_adopt_options over = {.layers = "tls", .connect = *how};
    over.connect.name = "a.example";
    return adopt_with(uri, &over, end);
}
#endif

/* A message from one end to the other, all of it. */
static int send_across(conduit_blocking *from, conduit_blocking *to)
{
    static char message[MESSAGE], got[MESSAGE];
    ssize_t n = conduit_blocking_write(from, message, MESSAGE, PATIENCE_MS);
    size_t received = 0;
    while (n > 0 && received < MESSAGE) {
        n = conduit_blocking_read(to, got, MESSAGE, PATIENCE_MS);
        received += n > 0 ? (size_t)n : 0;
    }
    return n < 0 ? (int)n : received == MESSAGE ? 0 : CONDUIT_ECLOSED;
}

/* From a connect that has succeeded to the end. For want of memory there may be nobody to
 * accept. */
static int talk(conduit_blocking *caller, conduit_blocking_listener *listener)
{
    conduit_blocking *called = NULL;
    int code = conduit_blocking_accept(listener, &called, 2 * SHORTAGE_MS);
    if (code == 0)
        code = send_across(caller, called);
    if (code == 0)
        code = send_across(called, caller);
    if (called != NULL)
        note_error(conduit_blocking_error(called));
    note_error(conduit_blocking_error(caller));
    int closed = conduit_blocking_close(called, CLOSE_MS);
    return code < 0 ? code : closed;
}

static int call_and_talk(const char *uri, const conduit_blocking_options *how,
                         conduit_blocking_listener *listener)
{
    conduit_blocking *caller = NULL;
    const conduit_error *why = NULL;
    int code = conduit_blocking_connect(uri, how, &caller, &why);
    note_error(why);
    conduit_error_unref(why);
    if (code < 0)
        return code;
    code = talk(caller, listener);
    int closed = conduit_blocking_close(caller, CLOSE_MS);
    return code < 0 ? code : closed;
}

static void end_shortage(uv_timer_t *timer)
{
    cdt_scarce_over();
}

/* All of the facade, both ends, on the context of the run. */
static int block(const char *uri, const conduit_connect_options *how, struct end *end)
{
    const conduit_blocking_options options = {
        .ctx = run.ctx, .connect = *how, .listen.on_failed = on_failed};
    conduit_blocking_listener *listener = NULL;
    const conduit_error *why = NULL;
    uv_timer_t timer;
    int code = conduit_blocking_listen(uri, &options, &listener, &why);
    note_error(why);
    conduit_error_unref(why);
    if (code < 0)
        return code;
    uv_timer_init(&run.loop, &timer);
    uv_timer_start(&timer, end_shortage, SHORTAGE_MS, 0);
    end->code = call_and_talk(uri, &options, listener);
    note_code(end->code);
    end->over = true;
    conduit_blocking_listener_close(listener);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&run.loop, UV_RUN_NOWAIT);
    return 0;
}

/* ---- a path, and then another user of it ---- */

static void release_at_the_end(conduit_conn *conn, const void *data, size_t n, void *user)
{
    run.received += n;
    if (run.received == MESSAGE)
        conduit_release(conn);
}

static void then_again(conduit_conn *conn, const conduit_error *why, void *user)
{
    const conduit_connect_options how = {.tls = run.client_tls, .pool = run.pool};
    struct end *end = user;
    if (why != NULL || run.received != MESSAGE) {
        client_close(conn, why, user);
        return;
    }
    run.received = 0;
    end->code = conduit_connect(run.ctx, run.pool_uri, &how, &client, end, NULL);
    note_code(end->code);
    end->over = end->code < 0;
    if (end->over)
        conduit_pool_clear(run.pool);
}

static int use_twice(const char *uri, const conduit_connect_options *how, struct end *end)
{
    static const conduit_handler first = {
        .on_open = client_open, .on_data = release_at_the_end, .on_close = then_again};
    static char copy[512];
    conduit_connect_options pooled = *how;
    if (run.pool == NULL)
        run.pool = conduit_pool_new(run.ctx, NULL);
    if (run.pool == NULL)
        return CONDUIT_ENOMEM;
    snprintf(copy, sizeof(copy), "%s", uri);
    run.pool_uri = copy;
    pooled.pool = run.pool;
    return conduit_connect(run.ctx, uri, &pooled, &first, end, NULL);
}

/* ---- one run ---- */

static int start(const char *uri, const conduit_connect_options *how, struct end *end)
{
    if (run.scenario->start != NULL)
        return run.scenario->start(uri, how, end);
    if (run.scenario->resolve)
        return conduit_resolve(run.ctx, uri, how, on_resolved, end, NULL);
    return conduit_connect(run.ctx, uri, how, &client, end, NULL);
}

static void dial(struct end *end)
{
    char uri[512], via[256] = "";
    conduit_connect_options how = {.tls = run.client_tls};
    if (run.scenario->via != NULL)
        how.via = expand(run.scenario->via, port(), via, sizeof(via));
    run.received = 0;
    *end = (struct end){0};
    expand(run.scenario->dial, port(), uri, sizeof(uri));
    end->started = went_well(start(uri, &how, end), uri);
}

static void give_up(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Until the end has come and the server has seen it, too. False: it did not within `ms`. */
static bool come_to_an_end(const struct end *end, uint64_t ms)
{
    uv_timer_t timer;
    bool late = false;
    uv_timer_init(&run.loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, give_up, ms, 0);
    while (end->started && (!end->over || run.n_open > 0) && !late)
        uv_run(&run.loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&run.loop, UV_RUN_NOWAIT);
    return !late;
}

/* A listener without any memory lets its clients wait until it has some again. */
static void await(const struct end *end)
{
    if (come_to_an_end(end, SHORTAGE_MS))
        return;
    cdt_scarce_over();
    if (!come_to_an_end(end, PATIENCE_MS))
        complain(end->over ? "the server's connection never ends" : "no end comes", "");
}

/* OpenSSL 3.0 can fail to find an anchor in a store for good after a shortage in the middle of a
 * verification. What it keeps there ends with the listener's configuration. */
static void close_listener(void)
{
    conduit_listener_close(run.listener);
    run.listener = NULL;
}

/* With memory back: what could not be made is made now, and then it has to work. */
static void try_again(void)
{
    struct end end = {0};
    cdt_scarce_over();
    if (run.ctx == NULL)
        return;
    conduit_tls_unref(run.server_tls);
    conduit_tls_unref(run.client_tls);
    run.server_tls = run.client_tls = NULL;
    if (!make_tls())
        complain("no TLS configuration", "");
    if (run.asker == CDT_OPENSSL && run.scenario->client_cert)
        close_listener();
    if (run.listener == NULL && !listen_there())
        complain("it cannot listen afterwards", "");
    if (run.listener == NULL ||
        (run.scenario->prepare != NULL && run.scenario->prepare(run.ctx, port()) < 0))
        return;
    dial(&end);
    await(&end);
    bool nothing_there = run.scenario->resolve && end.code == CONDUIT_ENONAME;
    if (!end.started || (end.code != CONDUIT_OK && !nothing_there))
        complain("afterwards it says ", conduit_code_name(end.code));
}

static void play(void)
{
    struct end end = {0};
    if (!make_tls() || !listen_there())
        return;
    if (run.scenario->prepare != NULL &&
        !went_well(run.scenario->prepare(run.ctx, port()), "preparing"))
        return;
    dial(&end);
    await(&end);
    bool told = run.short_somewhere || run.asker == CDT_OPENSSL; /* see went_well() */
    if (end.started && end.code != CONDUIT_OK && !told && cdt_scarce_failed())
        complain("memory was short, and all that is said is ", conduit_code_name(end.code));
}

static void open_run(const struct scenario *scenario)
{
    run = (struct run){.scenario = scenario};
    uv_loop_init(&run.loop);
    if (cdt_name_server_open(&run.names, &run.loop) < 0)
        complain("no name server", "");
    if (cdt_proxy_server_open(&run.proxy, &run.loop) < 0)
        complain("no proxy", "");
}

static void close_run(void)
{
    conduit_ctx_free(run.ctx);
    conduit_tls_unref(run.server_tls);
    conduit_tls_unref(run.client_tls);
    cdt_name_server_close(&run.names);
    cdt_proxy_server_close(&run.proxy);
    uv_run(&run.loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&run.loop) != 0)
        complain("a handle is left", "");
}

/* True: nothing failed. */
static bool run_once(const struct scenario *scenario, enum cdt_asker asker, long nth, bool onwards)
{
    char hosts[64];
    long blocks = cdt_scarce_blocks();
    snprintf(hosts, sizeof(hosts), "%s/hosts", directory);
    open_run(scenario);
    run.asker = asker;
    conduit_ctx_options how = {
        .loop = &run.loop, .hosts_file = hosts, .dns_servers = run.names.address};
    cdt_scarce_plan(asker, nth, onwards);
    run.ctx = conduit_ctx_new(&how);
    if (run.ctx != NULL)
        play();
    bool untouched = !cdt_scarce_failed();
    try_again();
    close_run();
    if (cdt_scarce_blocks() != blocks)
        complain("memory is lost", "");
    return untouched;
}

/* ---- all runs ---- */

/* In a child: call numbers from `nth` on, `stride` apart. */
static int run_batch(const struct scenario *scenario, enum cdt_asker asker, bool onwards, long nth,
                     long stride)
{
    static const char *const askers[] = {"library", "c-ares", "OpenSSL"};
    bool wrong = false;
    alarm(300);
    run_once(scenario, asker, 0, false);
    if (run.wrong)
        return 1;
    for (int i = 0; i < BATCH; i++, nth += stride) {
        bool untouched = run_once(scenario, asker, nth, onwards);
        if (run.wrong)
            printf("#   ... when call %ld of %s failed%s\n", nth, askers[asker],
                   onwards ? " and all after it" : "");
        wrong |= run.wrong;
        if (untouched)
            return wrong ? 1 : IS_THROUGH;
    }
    return wrong ? 1 : GOES_ON;
}

static int in_child(const struct scenario *scenario, enum cdt_asker asker, bool onwards, long nth,
                    long stride)
{
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        int code = run_batch(scenario, asker, onwards, nth, stride);
        exit(code);
    }
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
        printf("# a signal, %d, among calls %ld to %ld\n", WTERMSIG(status), nth,
               nth + BATCH * stride);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static bool run_all(const struct scenario *scenario, enum cdt_asker asker, bool onwards,
                    long stride)
{
    bool good = true;
    for (long nth = 1; nth < 1000000; nth += BATCH * stride) {
        int code = in_child(scenario, asker, onwards, nth, stride);
        good &= code == GOES_ON || code == IS_THROUGH;
        if (code != GOES_ON)
            return good;
    }
    return false;
}

static bool uses(const struct scenario *scenario, enum cdt_asker asker)
{
    if (asker == CDT_OPENSSL)
        return scenario->server_tls || strncmp(scenario->listen, "tls", 3) == 0;
    return asker == CDT_LIBRARY || strstr(scenario->dial, "dns.example") != NULL;
}

static int test(const struct scenario *scenario, int number)
{
    const char *how_many = getenv("CONDUIT_SCARCITY");
    bool all = how_many != NULL && strcmp(how_many, "all") == 0, good = true;
    for (int asker = 0; asker < CDT_ASKERS; asker++) {
        long stride = asker == CDT_OPENSSL && !all ? 97 : 1;
        if (!uses(scenario, asker))
            continue;
        good &= run_all(scenario, asker, false, stride);
        good &= run_all(scenario, asker, true, stride);
    }
    printf("%s %d - without memory: %s\n", good ? "ok" : "not ok", number, scenario->name);
    return good ? 0 : 1;
}

static bool prepare(void)
{
    char command[512];
    if (!cdt_scarce_install() || mkdtemp(directory) == NULL)
        return false;
    snprintf(command, sizeof(command), "echo 127.0.0.1 host.example > %s/hosts && %s/make-certs %s",
             directory, CDT_TEST_CERTS, directory);
    setenv("XDG_RUNTIME_DIR", directory, 1);
    return system(command) == 0;
}

int main(int argc, char **argv)
{
    int failed = 0, n = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!prepare())
        return 1;
    for (int i = 0; i < N_SCENARIOS; i++)
        if (argc < 2 || strcmp(argv[1], scenarios[i].name) == 0)
            failed += test(&scenarios[i], ++n);
    printf("1..%d\n", n);
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    return system(command) != 0 || failed > 0;
}
