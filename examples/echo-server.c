/* SPDX-License-Identifier: ISC */
/*
 * echo-server: what comes goes back, over whatever transport the URI names. A connection needs no
 * memory of ours: the library owns it, and its callbacks are all there is.
 *
 *     echo-server tcp://:7000 unix:/run/echo.sock
 *     echo-server --cert server.pem --key server.key tls://:7443
 */
#include <conduit/conduit.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static conduit_ctx *ctx; /* for the signal handler */

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    int taken = conduit_write(conn, data, n);
    if (taken > 0)
        conduit_pause(conn); /* the peer sends faster than it reads: let it wait */
    else if (taken < 0)
        conduit_abort(conn); /* an echo with a gap is none */
}

static void on_drain(conduit_conn *conn, void *user)
{
    conduit_resume(conn);
}

static void on_end(conduit_conn *conn, void *user)
{
    conduit_end(conn); /* after everything that is still queued */
}

static void on_failed(conduit_listener *listener, const conduit_error *error, void *user)
{
    fprintf(stderr, "echo-server: %s\n", conduit_error_text(error));
}

/* Takes the error over. Returns 2 for a mistake in a URI or an option, 5 for TLS, 4 for the rest.
 * */
static int complain(const conduit_error *error)
{
    conduit_code code = conduit_error_code(error);
    fprintf(stderr, "echo-server: %s\n", conduit_error_text(error));
    conduit_error_unref(error);
    if (code == CONDUIT_EURI || code == CONDUIT_EINVAL || code == CONDUIT_ENOTSUP)
        return 2;
    return code == CONDUIT_ETLS ? 5 : 4;
}

static int listen_at(const char *uri, conduit_tls *tls)
{
    static const conduit_handler all = {.on_data = on_data, .on_drain = on_drain, .on_end = on_end};
    const conduit_listen_options how = {.tls = tls, .on_failed = on_failed};
    conduit_listener *listener;
    if (conduit_listen(ctx, uri, &how, &all, NULL, &listener) < 0)
        return complain(conduit_error_ref(conduit_ctx_error(ctx)));
    for (size_t i = 0; conduit_listener_uri(listener, i) != NULL; i++)
        printf("listening %s\n", conduit_listener_uri(listener, i));
    fflush(stdout);
    return 0;
}

/* "KEY=VALUE" for any key; the others are called what their keys are called. */
static int set_tls(conduit_tls *tls, int c, const char *name, char *value,
                   const conduit_error **error)
{
    if (c == 'm')
        return conduit_tls_set(tls, "min", value, error);
    if (c != 'k')
        return conduit_tls_set(tls, name, value, error);
    char *equals = strchr(value, '=');
    if (equals == NULL)
        return conduit_tls_set(tls, value, "", error);
    *equals = '\0';
    return conduit_tls_set(tls, value, equals + 1, error);
}

/* Returns 0 to go on, or what to exit with. */
static int read_options(int argc, char **argv, conduit_tls *tls)
{
    static const struct option options[] = {
        {"ca", required_argument, NULL, 't'},
        {"cert", required_argument, NULL, 't'},
        {"key", required_argument, NULL, 't'},
        {"alpn", required_argument, NULL, 't'},
        {"ciphers", required_argument, NULL, 't'},
        {"tls-min", required_argument, NULL, 'm'},
        {"tls", required_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const conduit_error *error;
    int c, which = 0;
    while ((c = getopt_long(argc, argv, "", options, &which)) == 't' || c == 'm' || c == 'k')
        if (set_tls(tls, c, options[which].name, optarg, &error) < 0)
            return complain(error);
    if (c == -1 && optind < argc)
        return 0;
    fputs("usage: echo-server [--ca|--cert|--key FILE] [--alpn|--ciphers LIST] [--tls-min 1.2]\n"
          "                   [--tls KEY=VALUE] URI...\n",
          c == 'h' ? stdout : stderr);
    return c == 'h' ? -1 : 2;
}

/* CONDUIT_DEBUG=1 in the environment asks for all that happens. */
static void print_event(void *user, double at_ms, const char *event, const char *text)
{
    fprintf(stderr, "echo-server: %9.1f ms  %-9s %s\n", at_ms, event, text);
}

static void on_signal(int number)
{
    conduit_stop(ctx);
}

static int serve(char **uris, conduit_tls *tls)
{
    conduit_ctx_options how = {.trace = getenv("CONDUIT_DEBUG") != NULL ? print_event : NULL};
    ctx = conduit_ctx_new(&how);
    if (ctx == NULL)
        return conduit_ctx_perror(NULL, "echo-server");
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal}, NULL);
    signal(SIGPIPE, SIG_IGN); /* nobody may be reading what we print */
    int code = 0;
    for (; code == 0 && *uris != NULL; uris++)
        code = listen_at(*uris, tls);
    if (code == 0) {
        conduit_run(ctx);              /* until a signal */
        conduit_ctx_drain(ctx, 30000); /* who is being served may finish */
        conduit_run(ctx);
    }
    signal(SIGTERM, SIG_IGN); /* there is nothing left to stop */
    signal(SIGINT, SIG_IGN);
    conduit_ctx_free(ctx);
    return code;
}

int main(int argc, char **argv)
{
    conduit_tls *tls = conduit_tls_new();
    int code = read_options(argc, argv, tls);
    if (code == 0)
        code = serve(argv + optind, tls);
    conduit_tls_unref(tls);
    return code < 0 ? 0 : code;
}
