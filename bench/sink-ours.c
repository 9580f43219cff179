/* SPDX-License-Identifier: ISC */
/* The sink by our library: what comes is thrown away. A connection ends when its peer ends. */
#include <conduit/conduit.h>
#include <signal.h>
#include <stdio.h>

static conduit_ctx *ctx;

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user) {}

static void on_signal(int number)
{
    conduit_stop(ctx);
}

int main(int argc, char **argv)
{
    static const conduit_handler sink = {.on_data = on_data};
    conduit_listener *listener;
    if (argc != 2) {
        fputs("usage: sink-ours URI\n", stderr);
        return 2;
    }
    ctx = conduit_ctx_new(NULL);
    if (ctx == NULL || conduit_listen(ctx, argv[1], NULL, &sink, NULL, &listener) < 0)
        return conduit_ctx_perror(ctx, "sink-ours");
    signal(SIGTERM, on_signal);
    printf("listening %s\n", conduit_listener_uri(listener, 0));
    fflush(stdout);
    conduit_run(ctx);
    conduit_ctx_free(ctx);
    return 0;
}
