/* SPDX-License-Identifier: ISC */
/*
 * An echo server on N threads, each with a context of its own, on one port: the kernel spreads the
 * connections (reuse_port).
 *
 *     threads 4 tcp://:7000            until SIGTERM
 *     threads 4 tcp://127.0.0.1:0      any port: the first thread's is everybody's
 *     threads 4 'tls://:7443?cert=c.pem&key=k.pem'
 *
 * A context is one thread's. What others may do is conduit_post(): here the main thread waits for
 * the signal and has every context drain.
 */
#include <conduit/conduit.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64, DRAIN_MS = 5000, URI_SIZE = 8192 };

struct worker {
    pthread_t thread;
    conduit_ctx *ctx;
    unsigned long connections, bytes; /* its own: read when the thread is over */
};

static void on_open(conduit_conn *conn, void *user)
{
    struct worker *worker = user;
    worker->connections++;
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct worker *worker = user;
    worker->bytes += n;
    int taken = conduit_write(conn, data, n);
    if (taken > 0)
        conduit_pause(conn);
    else if (taken < 0)
        conduit_abort(conn);
}

static void on_drain(conduit_conn *conn, void *user)
{
    conduit_resume(conn);
}

static const conduit_handler echo = {.on_open = on_open, .on_data = on_data, .on_drain = on_drain};

static void *run(void *arg)
{
    struct worker *worker = arg;
    conduit_run(worker->ctx);
    return NULL;
}

/* On the context's own thread. */
static void begin_to_end(conduit_ctx *ctx, void *arg)
{
    conduit_ctx_drain(ctx, DRAIN_MS);
}

/* Before its thread starts a context may be set up by another. */
static int set_up(struct worker *worker, const char *uri, conduit_listener **listener)
{
    const conduit_listen_options options = {.endpoint_params = "reuse_port=1"};
    worker->ctx = conduit_ctx_new(NULL);
    if (worker->ctx != NULL &&
        conduit_listen(worker->ctx, uri, &options, &echo, worker, listener) == 0)
        return 0;
    conduit_ctx_perror(worker->ctx, "threads");
    return -1;
}

/* The place where the first one listens, which has a port, with what the program was told: a
 * listener's URI tells no files of keys. */
static void print_uri(const conduit_listener *first, const char *told, char uri[URI_SIZE])
{
    const char *place = conduit_listener_uri(first, 0), *query = strchr(told, '?');
    snprintf(uri, URI_SIZE, "%.*s%s", (int)strcspn(place, "?"), place, query != NULL ? query : "");
}

static int set_up_all(struct worker *workers, int n, const char *told)
{
    char uri[URI_SIZE];
    conduit_listener *first, *other;
    if (set_up(&workers[0], told, &first) < 0)
        return -1;
    print_uri(first, told, uri);
    for (int i = 1; i < n; i++)
        if (set_up(&workers[i], uri, &other) < 0)
            return -1;
    printf("listening %s\n", conduit_listener_uri(first, 0));
    fflush(stdout);
    return 0;
}

static int serve(struct worker *workers, int n, const sigset_t *until)
{
    int number, started = 0;
    while (started < n &&
           pthread_create(&workers[started].thread, NULL, run, &workers[started]) == 0)
        started++;
    if (started == n)
        sigwait(until, &number);
    for (int i = 0; i < started; i++)
        conduit_post(workers[i].ctx, begin_to_end, NULL);
    for (int i = 0; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
        printf("thread %d: %lu connections, %lu bytes\n", i, workers[i].connections,
               workers[i].bytes);
    }
    return started == n ? 0 : 1;
}

int main(int argc, char **argv)
{
    static struct worker workers[MOST];
    sigset_t until;
    int n = argc == 3 ? atoi(argv[1]) : 0;
    if (n < 1 || n > MOST) {
        fprintf(stderr, "usage: threads 1..%d URI\n", MOST);
        return 2;
    }
    sigemptyset(&until);
    sigaddset(&until, SIGTERM);
    sigaddset(&until, SIGINT);
    pthread_sigmask(SIG_BLOCK, &until, NULL); /* before any thread is: all inherit it */
    signal(SIGPIPE, SIG_IGN);
    int code = set_up_all(workers, n, argv[2]) == 0 ? serve(workers, n, &until) : 1;
    for (int i = 0; i < n; i++)
        conduit_ctx_free(workers[i].ctx);
    return code;
}
