/* SPDX-License-Identifier: ISC */
/*
 * A client that never rests: so many connections a second to one URI, for so many seconds or until
 * SIGTERM, all from one context. Each sends a byte, waits for its echo and closes.
 *
 *   discovery-client SERVER URI PER-SECOND SECONDS [CA NAME]
 *
 * SERVER is the name server. Of each connection there is a line at its end: when it was begun
 * (seconds of CLOCK_MONOTONIC) and where it led, "12.345678 tcp://127.0.0.1:7001"; or "failed" and
 * why.
 */
#include <conduit/conduit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

struct client {
    conduit_ctx *ctx;
    const char *uri;
    conduit_connect_options options;
    uv_timer_t timer;
    uv_signal_t term;
    uint64_t begin_ns, interval_ns;
    long n_begun, n_wanted;
};

struct call {
    uint64_t since_ns;
    char peer[128];
};

static void on_open(conduit_conn *conn, void *user)
{
    conduit_write(conn, "x", 1);
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct call *call = user;
    snprintf(call->peer, sizeof(call->peer), "%s", conduit_conn_info(conn)->peer);
    conduit_close(conn);
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct call *call = user;
    if (why == NULL && call->peer[0] != '\0')
        printf("%.6f %s\n", (double)call->since_ns / 1e9, call->peer);
    else
        printf("%.6f failed %s\n", (double)call->since_ns / 1e9,
               why != NULL ? conduit_error_text(why) : "no echo");
    free(call);
}

static void begin_call(struct client *client)
{
    static const conduit_handler handler = {
        .on_open = on_open, .on_data = on_data, .on_close = on_close};
    struct call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        exit(conduit_ctx_perror(NULL, "discovery-client"));
    call->since_ns = uv_hrtime();
    if (conduit_connect(client->ctx, client->uri, &client->options, &handler, call, NULL) < 0)
        exit(conduit_ctx_perror(client->ctx, "discovery-client"));
}

/* What was begun goes on. */
static void stop(struct client *client)
{
    if (uv_is_closing((uv_handle_t *)&client->timer))
        return;
    uv_close((uv_handle_t *)&client->timer, NULL);
    uv_close((uv_handle_t *)&client->term, NULL);
}

static void on_term(uv_signal_t *term, int number)
{
    stop(term->data);
}

/* As many as there should have been by now, be the machine busy or not. */
static void on_timer(uv_timer_t *timer)
{
    struct client *client = timer->data;
    uint64_t passed_ns = uv_hrtime() - client->begin_ns;
    while (client->n_begun < client->n_wanted &&
           (uint64_t)client->n_begun * client->interval_ns <= passed_ns) {
        begin_call(client);
        client->n_begun++;
    }
    if (client->n_begun == client->n_wanted)
        stop(client);
}

static int set_tls(struct client *client, const char *ca, const char *name)
{
    client->options.tls = conduit_tls_new();
    client->options.name = name;
    return client->options.tls == NULL ? -1 : conduit_tls_set(client->options.tls, "ca", ca, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 5 && argc != 7)
        return 2;
    struct client client = {.uri = argv[2]};
    double rate = atof(argv[3]);
    client.n_wanted = (long)(rate * atof(argv[4]));
    client.interval_ns = (uint64_t)(1e9 / rate);
    setvbuf(stdout, NULL, _IOLBF, 0);
    client.ctx = conduit_ctx_new(&(conduit_ctx_options){.dns_servers = argv[1]});
    if (client.ctx == NULL || (argc == 7 && set_tls(&client, argv[5], argv[6]) < 0))
        return conduit_ctx_perror(client.ctx, "discovery-client");
    uv_timer_init(conduit_ctx_loop(client.ctx), &client.timer);
    client.timer.data = &client;
    uv_signal_init(conduit_ctx_loop(client.ctx), &client.term);
    client.term.data = &client;
    uv_signal_start(&client.term, on_term, SIGTERM);
    client.begin_ns = uv_hrtime();
    uv_timer_start(&client.timer, on_timer, 0, 1);
    conduit_run(client.ctx);
    conduit_ctx_free(client.ctx);
    conduit_tls_unref(client.options.tls);
    return 0;
}
