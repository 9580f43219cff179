/* SPDX-License-Identifier: ISC */
/*
 * An echo server that is replaced while it serves: SIGHUP starts its program again, from the file
 * as it is by then, and hands it the listening sockets. Nobody is refused: the sockets are never
 * closed, and who connects in between waits in their queue.
 *
 *     restart tcp://:7000         SIGHUP: a successor; SIGTERM: the end
 *
 * The successor is called with the descriptors as URIs (fd:4 fd:5), and says with a byte to
 * descriptor 3 that it listens. Only then does its predecessor stop accepting, and goes when its
 * connections have. If the successor does not come up, the predecessor goes on.
 */
#include <conduit/conduit.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { READY = 3, MOST = 16, PATIENCE_MS = 5000, DRAIN_MS = 30000 };

static conduit_ctx *ctx;                      /* for the signal handler */
static volatile sig_atomic_t hung_up;         /* SIGHUP came */
static conduit_listener *listeners[MOST + 1]; /* until one is NULL */

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
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

static const conduit_handler echo = {.on_data = on_data, .on_drain = on_drain};

/* ---- the successor ---- */

/* What the successor is called with: its sockets as URIs, and as descriptors from READY + 1 on. */
static int hand_over(posix_spawn_file_actions_t *actions, char uris[MOST][16], char **arguments)
{
    int n = 0, fd;
    for (conduit_listener **l = listeners; *l != NULL; l++) {
        for (size_t i = 0; n < MOST && (fd = conduit_listener_fd(*l, i)) >= 0; i++, n++) {
            /* out of the way of those that come first, and open in the successor */
            posix_spawn_file_actions_adddup2(actions, fd, 100 + n);
            snprintf(uris[n], sizeof(uris[n]), "fd:%d", READY + 1 + n);
            arguments[n] = uris[n];
        }
    }
    arguments[n] = NULL;
    return n;
}

/* Start it, with `ready` as its READY. */
static int spawn(const char *program, int ready)
{
    char uris[MOST][16], name[] = "restart", flag[] = "--successor";
    char *arguments[MOST + 3] = {name, flag};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ready, 99);
    int n = hand_over(&actions, uris, arguments + 2);
    for (int i = -1; i < n; i++) { /* 99 is ready, the rest are sockets */
        posix_spawn_file_actions_adddup2(&actions, 100 + i, READY + 1 + i);
        posix_spawn_file_actions_addclose(&actions, 100 + i);
    }
    int failed = posix_spawnp(&pid, program, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return failed == 0 ? 0 : -1;
}

/* True: a successor listens. Who connects while we wait for its word is in the queue. */
static int replace(const char *program)
{
    int pipe_ends[2];
    char word = 0;
    if (pipe(pipe_ends) < 0)
        return 0;
    int spawned = spawn(program, pipe_ends[1]);
    close(pipe_ends[1]);
    struct pollfd answer = {.fd = pipe_ends[0], .events = POLLIN};
    if (spawned == 0 && poll(&answer, 1, PATIENCE_MS) > 0 && read(pipe_ends[0], &word, 1) < 0)
        word = 0;
    close(pipe_ends[0]);
    if (word == 0)
        fputs("restart: the successor does not listen; going on\n", stderr);
    return word != 0;
}

/* ---- serving ---- */

static void on_signal(int number)
{
    hung_up = number == SIGHUP;
    conduit_stop(ctx);
}

static int listen_at(char **uris)
{
    for (int i = 0; i < MOST && uris[i] != NULL; i++)
        if (conduit_listen(ctx, uris[i], NULL, &echo, NULL, &listeners[i]) < 0)
            return -1;
    for (conduit_listener **l = listeners; *l != NULL; l++)
        for (size_t i = 0; conduit_listener_uri(*l, i) != NULL; i++)
            printf("%ld listening %s\n", (long)getpid(), conduit_listener_uri(*l, i));
    fflush(stdout);
    return 0;
}

static void serve(const char *program)
{
    for (conduit_run(ctx); hung_up; conduit_run(ctx)) {
        hung_up = 0;
        if (replace(program))
            break;
    }
    conduit_ctx_drain(ctx, DRAIN_MS);
    conduit_run(ctx);
}

int main(int argc, char **argv)
{
    int successor = argc > 1 && strcmp(argv[1], "--successor") == 0;
    if (argc < 2 + successor) {
        fputs("usage: restart URI...\n", stderr);
        return 2;
    }
    ctx = conduit_ctx_new(NULL);
    if (ctx == NULL)
        return conduit_ctx_perror(ctx, "restart");
    sigaction(SIGHUP, &(struct sigaction){.sa_handler = on_signal}, NULL);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
    signal(SIGCHLD, SIG_IGN); /* a successor outlives us, or is of no more interest */
    if (listen_at(argv + 1 + successor) < 0)
        return conduit_ctx_perror(ctx, "restart");
    if (successor && (write(READY, "!", 1) < 0 || close(READY) < 0))
        perror("restart");
    serve("/proc/self/exe");
    signal(SIGTERM, SIG_IGN); /* there is nothing left to stop */
    signal(SIGHUP, SIG_IGN);
    conduit_ctx_free(ctx);
    return 0;
}
