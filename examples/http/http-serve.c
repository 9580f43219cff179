/* SPDX-License-Identifier: ISC */
/*
 * http-serve: serve a directory, or what was compiled in, at any number of URIs at once.
 *
 *     http-serve --root /srv/www http://:8080
 *     http-serve --root . --cert c.pem --key k.pem https://:8443 http+unix://%2Frun%2Fwww.sock/
 *
 * Each thread has a context, a server and listeners of its own; the kernel spreads connections
 * among those of TCP. The main thread waits for signals and tells the others by conduit_post().
 */
#include "assets.h"
#include "files.h"
#include "log.h"
#include "server.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_THREADS = 64, MOST_URIS = 16, MOST_PLACES = 2 * MOST_URIS /* IPv4 and IPv6 */ };

struct worker {
    pthread_t thread;
    conduit_ctx *ctx;
    struct http_server *server;
    struct http_files files;
    conduit_listener *listeners[MOST_PLACES];
    size_t n_listeners;
};

static struct {
    struct http_files files;
    struct http_server_options http;
    conduit_listen_options listen;
    conduit_tls *tls;
    FILE *log;
    bool echo, count; /* what POST and PUT do */
    long threads;
    uint32_t drain_ms;
    char **uris;
    size_t n_uris;
} config = {.files = {.root = -1}, .threads = 1, .drain_ms = 10000};

static const char help[] =
    "usage: http-serve [options] URI...\n"
    "Serve files over HTTP/1.1 and HTTP/2: http://:8080 https://:8443 http+unix://%2Fpath.sock/\n"
    "http+vchan://0/ tls://:8443?cert=FILE&key=FILE systemd:http ...\n"
    "  --root DIR             this directory; without it, what was compiled in\n"
    "  --cert FILE --key FILE who we are; repeatable. --ca FILE demands certificates of clients\n"
    "  --tls KEY=VALUE        any other key of a TLS configuration\n"
    "  --threads N            for TCP; the rest is for the first of them\n"
    "  --post echo|count      POST and PUT give back what they bring, or say how much it was\n"
    "  --log FILE             a line per request; - is standard output. Clients that are given up\n"
    "                         are told of there as well, or on standard error\n"
    "  --max-connections N    of each listener and thread; more have to wait\n"
    "  --max-per-peer N       of these, from one address; more are turned away\n"
    "  --request-timeout S    for a head to come in whole, and for each 16 KiB after it (20)\n"
    "  --idle-timeout S       for a connection on which nothing happens (75)\n"
    "  --write-timeout S      for a client that takes nothing, or next to nothing (30)\n"
    "  --drain-timeout S      for what is under way at SIGTERM and SIGINT (10)\n"
    "SIGHUP reads certificates again. Exit codes: 0 ended, 2 usage, 4 cannot listen, 5 TLS.\n";

/* ---- what to do with a request ---- */

/* What comes goes back. */
static void echo(struct http_exchange *x, const char *data, size_t n)
{
    http_feed(x, data, n);
}

/* What comes is counted, and gone. */
static void count(struct http_exchange *x, const char *data, size_t n)
{
    char text[32];
    if (n > 0)
        return;
    snprintf(text, sizeof(text), "%llu bytes", (unsigned long long)x->received);
    http_answer(x, 200, text);
}

static void answer_upload(struct http_exchange *x)
{
    x->on_body = config.echo ? echo : count;
    if (!config.echo)
        return;
    x->response.status = 200;
    x->body = http_body_fed();
}

static void answer(struct http_exchange *x, void *user)
{
    const char *method = http_head_at(x->request, x->request->method);
    bool brings = strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0;
    if (brings && (config.echo || config.count))
        answer_upload(x);
    else
        http_files_answer(user, x);
}

static void on_trouble(conduit_conn *conn, const char *what, void *user)
{
    http_log_trouble(config.log != NULL ? config.log : stderr, conn, what);
}

static void on_done(const struct http_exchange *x, void *user)
{
    http_log(config.log, x);
}

/* ---- options ---- */

/* Returns what to exit with. */
static int complain(const conduit_error *why)
{
    conduit_code code = conduit_error_code(why);
    fprintf(stderr, "http-serve: %s\n", conduit_error_text(why));
    if (code == CONDUIT_EURI || code == CONDUIT_EINVAL || code == CONDUIT_ENOTSUP)
        return 2;
    return code == CONDUIT_ETLS ? 5 : 4;
}

static int set_tls(const char *key, const char *value)
{
    const conduit_error *why = NULL;
    if (conduit_tls_set(config.tls, key, value, &why) == 0)
        return -1;
    int code = complain(why);
    conduit_error_unref(why);
    return code;
}

static int set_any_tls(char *setting)
{
    char *value = strchr(setting, '=');
    if (value == NULL)
        return set_tls(setting, "");
    *value = '\0';
    return set_tls(setting, value + 1);
}

static int set_root(const char *path)
{
    config.files.root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (config.files.root >= 0)
        return -1;
    fprintf(stderr, "http-serve: --root %s: %s\n", path, strerror(errno));
    return 2;
}

static int set_log(const char *path)
{
    config.log = strcmp(path, "-") == 0 ? stdout : fopen(path, "ae");
    config.http.on_done = on_done;
    if (config.log != NULL && setvbuf(config.log, NULL, _IOLBF, 0) == 0)
        return -1;
    fprintf(stderr, "http-serve: --log %s: %s\n", path, strerror(errno));
    return 2;
}

static int set_post(const char *what)
{
    config.echo = strcmp(what, "echo") == 0;
    config.count = strcmp(what, "count") == 0;
    if (config.echo || config.count)
        return -1;
    fputs("http-serve: --post is echo or count\n", stderr);
    return 2;
}

/* A number from 1 to `most`. */
static int set_number(const char *name, long most, long *ret)
{
    char *end;
    *ret = strtol(optarg, &end, 10);
    if (end != optarg && *end == '\0' && *ret >= 1 && *ret <= most)
        return -1;
    fprintf(stderr, "http-serve: --%s is a number from 1 to %ld\n", name, most);
    return 2;
}

static int set_seconds(const char *name, uint32_t *ret)
{
    long n = 0;
    int code = set_number(name, 86400, &n);
    *ret = (uint32_t)n * 1000;
    return code;
}

static int set_count(const char *name, uint32_t *ret)
{
    long n = 0;
    int code = set_number(name, 1000000, &n);
    *ret = (uint32_t)n;
    return code;
}

static int usage(void)
{
    fputs("usage: http-serve [options] URI...; --help says more\n", stderr);
    return 2;
}

/* -1: go on; else what to exit with. */
static int read_option(int c, const char *name)
{
    switch (c) {
    case 't':
        return set_tls(name, optarg);
    case 'k':
        return set_any_tls(optarg);
    case 'r':
        return set_root(optarg);
    case 'l':
        return set_log(optarg);
    case 'o':
        return set_post(optarg);
    case 'n':
        return set_number(name, MOST_THREADS, &config.threads);
    case 'c':
        return set_count(name, &config.listen.max_connections);
    case 'p':
        return set_count(name, &config.listen.max_per_peer);
    case 'q':
        return set_seconds(name, &config.http.request_timeout_ms);
    case 'i':
        return set_seconds(name, &config.http.idle_timeout_ms);
    case 'w':
        return set_seconds(name, &config.http.write_timeout_ms);
    case 'd':
        return set_seconds(name, &config.drain_ms);
    case 'h':
        fputs(help, stdout);
        return 0;
    default:
        return usage();
    }
}

static int read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"root", required_argument, NULL, 'r'},
        {"cert", required_argument, NULL, 't'},
        {"key", required_argument, NULL, 't'},
        {"ca", required_argument, NULL, 't'},
        {"tls", required_argument, NULL, 'k'},
        {"threads", required_argument, NULL, 'n'},
        {"post", required_argument, NULL, 'o'},
        {"log", required_argument, NULL, 'l'},
        {"max-connections", required_argument, NULL, 'c'},
        {"max-per-peer", required_argument, NULL, 'p'},
        {"request-timeout", required_argument, NULL, 'q'},
        {"idle-timeout", required_argument, NULL, 'i'},
        {"write-timeout", required_argument, NULL, 'w'},
        {"drain-timeout", required_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c, which = 0;
    while ((c = getopt_long(argc, argv, "", options, &which)) != -1) {
        int code = read_option(c, options[which].name);
        if (code >= 0)
            return code;
    }
    config.uris = argv + optind;
    config.n_uris = (size_t)(argc - optind);
    return config.n_uris >= 1 && config.n_uris <= MOST_URIS ? -1 : usage();
}

/* ---- workers ---- */

static void on_failed(conduit_listener *listener, const conduit_error *error, void *user)
{
    fprintf(stderr, "http-serve: %s\n", conduit_error_text(error));
}

static int new_worker(struct worker *worker)
{
    struct http_server_options http = config.http;
    http.user = &worker->files;
    worker->files = config.files;
    worker->files.cache = http_cache_new(); /* without one it works as well */
    worker->ctx = conduit_ctx_new(NULL);
    worker->server = worker->ctx != NULL ? http_server_new(worker->ctx, &http) : NULL;
    if (worker->server != NULL)
        return -1;
    perror("http-serve");
    return 4;
}

static int listen_at(struct worker *worker, const char *uri, const char *params)
{
    conduit_listen_options how = config.listen;
    how.tls = config.tls;
    how.on_failed = on_failed;
    how.endpoint_params = params;
    return http_server_listen(worker->server, uri, &how, &worker->listeners[worker->n_listeners]);
}

/* The first worker listens at the URI, the others at the places that this came to. */
static int listen_first(struct worker *first, const char *uri)
{
    if (listen_at(first, uri, config.threads > 1 ? "reuse_port=1" : NULL) < 0)
        return complain(conduit_ctx_error(first->ctx));
    const char *place;
    conduit_listener *listener = first->listeners[first->n_listeners++];
    for (size_t i = 0; (place = conduit_listener_uri(listener, i)) != NULL; i++)
        printf("listening %s\n", place);
    return -1;
}

/* Can several listen there? Of the transports only TCP knows the parameter. */
static bool is_shared(const char *place)
{
    const conduit_endpoint *endpoint;
    if (conduit_endpoint_parse(place, &endpoint, NULL) < 0)
        return false;
    const conduit_endpoint *bottom = endpoint;
    while (conduit_endpoint_below(bottom) != NULL)
        bottom = conduit_endpoint_below(bottom);
    bool shared = conduit_endpoint_param(bottom, "reuse_port") != NULL;
    conduit_endpoint_unref(endpoint);
    return shared;
}

static int listen_again(struct worker *worker, conduit_listener *first)
{
    const char *place;
    for (size_t i = 0; (place = conduit_listener_uri(first, i)) != NULL; i++) {
        if (!is_shared(place))
            continue;
        if (listen_at(worker, place, NULL) < 0)
            return complain(conduit_ctx_error(worker->ctx));
        worker->n_listeners++;
    }
    return -1;
}

static int listen_all(struct worker *workers)
{
    int code = -1;
    for (size_t i = 0; i < config.n_uris && code < 0; i++) {
        code = listen_first(&workers[0], config.uris[i]);
        for (long n = 1; n < config.threads && code < 0; n++)
            code = listen_again(&workers[n], workers[0].listeners[i]);
    }
    fflush(stdout);
    return code;
}

static void *run(void *arg)
{
    conduit_run(((struct worker *)arg)->ctx);
    return NULL;
}

/* ---- what signals mean: on the worker's own thread ---- */

static void drain(conduit_ctx *ctx, void *arg)
{
    http_server_drain(((struct worker *)arg)->server, config.drain_ms);
}

static void reload(conduit_ctx *ctx, void *arg)
{
    struct worker *worker = arg;
    for (size_t i = 0; i < worker->n_listeners; i++)
        if (conduit_listener_reload(worker->listeners[i]) < 0)
            complain(conduit_ctx_error(ctx));
}

static void tell(struct worker *workers, long n, void (*what)(conduit_ctx *, void *))
{
    for (long i = 0; i < n; i++)
        conduit_post(workers[i].ctx, what, &workers[i]);
}

static int serve(struct worker *workers, const sigset_t *signals)
{
    int number = SIGTERM;
    long started = 0;
    while (started < config.threads &&
           pthread_create(&workers[started].thread, NULL, run, &workers[started]) == 0)
        started++;
    bool all = started == config.threads;
    while (all && sigwait(signals, &number) == 0 && number == SIGHUP)
        tell(workers, started, reload);
    tell(workers, started, drain);
    for (long i = 0; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    return all ? 0 : 4;
}

static int run_workers(const sigset_t *signals)
{
    static struct worker workers[MOST_THREADS];
    int code = -1;
    for (long i = 0; i < config.threads && code < 0; i++)
        code = new_worker(&workers[i]);
    code = code < 0 ? listen_all(workers) : code;
    code = code < 0 ? serve(workers, signals) : code;
    for (long i = 0; i < config.threads; i++) {
        conduit_ctx_free(workers[i].ctx);
        http_server_free(workers[i].server);
        http_cache_free(workers[i].files.cache);
    }
    return code;
}

int main(int argc, char **argv)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread is: all inherit it */
    signal(SIGPIPE, SIG_IGN);
    config.files.assets = http_assets;
    config.files.n_assets = http_n_assets;
    config.http.handler = answer;
    config.http.on_trouble = on_trouble;
    config.tls = conduit_tls_new();
    int code = config.tls != NULL ? set_tls("alpn", "h2,http/1.1") : 4;
    code = code < 0 ? read_options(argc, argv) : code;
    code = code < 0 ? run_workers(&signals) : code;
    conduit_tls_unref(config.tls);
    if (config.log != NULL)
        fclose(config.log);
    return code;
}
