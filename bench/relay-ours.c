/* SPDX-License-Identifier: ISC */
/*
 * A relay by our library, for TLS to end at: each connection to the first URI is joined to one of
 * its own to the second.
 *
 * A connection's `user` is the other one of the pair, NULL when that has gone. Who is not taken
 * from fast enough is paused until the other's queue has fallen.
 */
#include <conduit/conduit.h>
#include <signal.h>
#include <stdio.h>

static conduit_ctx *ctx;
static const char *target;

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    int taken = user != NULL ? conduit_write(user, data, n) : CONDUIT_ECLOSED;
    if (taken > 0)
        conduit_pause(conn);
    else if (taken < 0)
        conduit_abort(conn);
}

static void on_drain(conduit_conn *conn, void *user)
{
    if (user != NULL)
        conduit_resume(user);
}

static void on_end(conduit_conn *conn, void *user)
{
    if (user != NULL)
        conduit_end(user);
    else
        conduit_close(conn);
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    if (user == NULL)
        return;
    conduit_conn_set_user(user, NULL);
    conduit_close(user);
}

static const conduit_handler inner = {
    .on_data = on_data, .on_drain = on_drain, .on_end = on_end, .on_close = on_close};

/* What comes before the second connection is open is queued there. */
static void on_open(conduit_conn *conn, void *user)
{
    conduit_conn *other;
    if (conduit_connect(ctx, target, NULL, &inner, conn, &other) < 0)
        conduit_abort(conn);
    else
        conduit_conn_set_user(conn, other);
}

static void on_signal(int number)
{
    conduit_stop(ctx);
}

int main(int argc, char **argv)
{
    static const conduit_handler outer = {.on_open = on_open,
                                          .on_data = on_data,
                                          .on_drain = on_drain,
                                          .on_end = on_end,
                                          .on_close = on_close};
    conduit_listener *listener;
    if (argc != 3) {
        fputs("usage: relay-ours URI TARGET\n", stderr);
        return 2;
    }
    target = argv[2];
    ctx = conduit_ctx_new(NULL);
    if (ctx == NULL || conduit_listen(ctx, argv[1], NULL, &outer, NULL, &listener) < 0)
        return conduit_ctx_perror(ctx, "relay-ours");
    signal(SIGTERM, on_signal);
    printf("listening %s\n", conduit_listener_uri(listener, 0));
    fflush(stdout);
    conduit_run(ctx);
    conduit_ctx_free(ctx);
    return 0;
}
