/* SPDX-License-Identifier: ISC */
/*
 * conduit-cat: standard input to the peer, the peer to standard output.
 *
 *     stdin  --input_read-->   a piece   --conduit_write-->  connection
 *     stdout <--output_put---  a block   <--on_data--------  connection
 *
 * The two directions know nothing of each other: each waits when its far side is full, and each
 * ends on its own. With --listen connections are served in the order in which they opened, and the
 * others wait, paused.
 *
 * There is one struct cat, as long as main(). The program ends when the loop runs dry: no
 * connection, no listener, nothing to write, and the reader called back.
 */
#include "common.h"
#include "json.h"
#include "standard.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_LISTEN = OPT_FIRST_OWN, OPT_KEEP, OPT_INFO };

enum {
    OUTPUT_HIGH =
        256 * 1024,   /* bytes that wait for standard output; with more the peer waits too */
    WAITING_MAX = 64, /* connections that wait for their turn; more are turned away */
    LISTENERS_MAX = 64,
    DRAIN_MS = 30 * 1000,
};

/* clang-format off */
static const char help[] =
    "usage: conduit-cat [options] URI\n"
    "       conduit-cat --listen [--keep] [options] URI...\n"
    "Standard input goes to the peer, and what the peer sends to standard output. Each direction\n"
    "ends on its own; the program ends when both have.\n"
    "  --listen               be the other end: serve one connection\n"
    "  --keep                 ... and the next, one after another, until SIGTERM or SIGINT\n"
    "  --info                 a line of JSON about the open connection on standard error\n"
    CLIENT_HELP
    "With --listen, --ca demands and verifies a client certificate, several --cert and --key are\n"
    "several certificates, and --timeout is the handshake's. --name, --connect-to, --via,\n"
    "--rule, --rules, --server, --trust-ad, --system, -4 and -6 are not for listening.\n"
    CODES_HELP
    "If standard output is closed or full before the peer has ended: 4. With --keep a connection\n"
    "that breaks is reported, and the next one is served.\n";
/* clang-format on */

static const struct option options[] = {
    CLIENT_OPTIONS,
    {"listen", no_argument, NULL, OPT_LISTEN},
    {"keep", no_argument, NULL, OPT_KEEP},
    {"info", no_argument, NULL, OPT_INFO},
    {0},
};

struct cat {
    struct client client;
    bool listen, keep, info;

    conduit_ctx *ctx;
    conduit_conn *conn; /* the one that is served, or being made; NULL: none */
    conduit_conn *waiting[WAITING_MAX];
    size_t n_waiting;
    conduit_listener *listeners[LISTENERS_MAX];
    size_t n_listeners;

    struct input input; /* input.n > 0: a piece that nobody has taken yet */
    struct output output;
    bool input_ended;
    bool full;       /* the connection is: wait for on_drain */
    bool peer_ended; /* properly; nothing more for standard output */
    bool last;       /* no other connection is served after those that are there */
    int code;
};

/* ---- the end ---- */

static void remember(struct cat *cat, int code)
{
    cat->code = code > cat->code ? code : cat->code;
}

static void stop_listening(struct cat *cat)
{
    cat->last = true;
    while (cat->n_listeners > 0)
        conduit_listener_close(cat->listeners[--cat->n_listeners]);
}

/* Standard input or output failed: no peer may take what it got for everything. */
static void break_off(struct cat *cat)
{
    remember(cat, CODE_CONNECT);
    stop_listening(cat);
    while (cat->n_waiting > 0)
        conduit_conn_free(cat->waiting[--cat->n_waiting]);
    conduit_conn_free(cat->conn);
    cat->conn = NULL;
    input_stop(&cat->input);
}

/* ---- standard input to the peer ---- */

static void send_piece(struct cat *cat)
{
    int taken = conduit_write(cat->conn, cat->input.bytes, (size_t)cat->input.n);
    if (taken == CONDUIT_ECLOSED)
        return; /* on_close will say why; the piece is for the next connection, if there is one */
    if (taken < 0) {
        fprintf(stderr, "%s: %s\n", program_invocation_short_name, conduit_code_text(taken));
        break_off(cat);
        return;
    }
    cat->input.n = 0;
    cat->full = taken > 0;
}

/* The next piece, if there is somebody to take it. */
static void feed(struct cat *cat)
{
    if (cat->conn == NULL || cat->input.reading)
        return;
    if (cat->input.n > 0 && !cat->full)
        send_piece(cat);
    if (cat->conn == NULL || cat->input.n > 0 || cat->full)
        return;
    if (cat->input_ended)
        conduit_end(cat->conn);
    else
        input_read(&cat->input, conduit_ctx_loop(cat->ctx));
}

static void on_piece(struct input *input)
{
    struct cat *cat = (struct cat *)((char *)input - offsetof(struct cat, input));
    if (input->n == -ECANCELED)
        return;
    if (input->n < 0) {
        failure("standard input", (int)-input->n);
        break_off(cat);
        return;
    }
    cat->input_ended = input->n == 0;
    feed(cat);
}

static void on_drain(conduit_conn *conn, void *user)
{
    struct cat *cat = user;
    cat->full = false;
    feed(cat);
}

/* ---- the peer to standard output ---- */

static bool output_full(const struct cat *cat)
{
    return output_waiting(&cat->output) >= OUTPUT_HIGH;
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct cat *cat = user;
    int error = output_put(&cat->output, conduit_ctx_loop(cat->ctx), data, n);
    if (error != 0) {
        failure("standard output", error);
        break_off(cat);
    } else if (output_full(cat)) {
        conduit_pause(conn);
    }
}

/* Everything that this peer had to say is written. With --keep the next one goes on where it ended.
 * */
static void end_output_if_done(struct cat *cat)
{
    if (cat->peer_ended && !cat->keep && output_waiting(&cat->output) == 0)
        output_end();
}

static void on_written(struct output *output, int error)
{
    struct cat *cat = (struct cat *)((char *)output - offsetof(struct cat, output));
    if (error != 0) {
        if (error != EPIPE) /* who read has seen enough, and that needs no words */
            failure("standard output", error);
        break_off(cat);
        return;
    }
    end_output_if_done(cat);
    if (cat->conn != NULL && !output_full(cat))
        conduit_resume(cat->conn);
}

static void on_end(conduit_conn *conn, void *user)
{
    struct cat *cat = user;
    cat->peer_ended = true;
    end_output_if_done(cat);
}

/* ---- connections ---- */

static void print_info(conduit_conn *conn)
{
    json_t *info = json_info(conduit_conn_info(conn));
    if (json_dumpf(info, stderr, JSON_STYLE) == 0)
        putc('\n', stderr);
    json_decref(info);
}

static void serve(struct cat *cat, conduit_conn *conn)
{
    cat->conn = conn;
    cat->full = false;
    cat->peer_ended = false;
    if (cat->info)
        print_info(conn);
    if (!output_full(cat))
        conduit_resume(conn);
    feed(cat);
}

static void serve_next(struct cat *cat)
{
    conduit_conn *next = cat->waiting[0];
    cat->n_waiting--;
    memmove(cat->waiting, cat->waiting + 1, cat->n_waiting * sizeof(cat->waiting[0]));
    serve(cat, next);
}

static void on_connected(conduit_conn *conn, void *user)
{
    serve(user, conn);
}

static void on_accepted(conduit_conn *conn, void *user)
{
    struct cat *cat = user;
    conduit_pause(conn);
    if (cat->last || cat->n_waiting == WAITING_MAX) {
        conduit_conn_free(conn);
        return;
    }
    cat->waiting[cat->n_waiting++] = conn;
    if (!cat->keep)
        stop_listening(cat);
    if (cat->conn == NULL)
        serve_next(cat);
}

static void forget_waiting(struct cat *cat, const conduit_conn *conn)
{
    size_t kept = 0;
    for (size_t i = 0; i < cat->n_waiting; i++)
        if (cat->waiting[i] != conn)
            cat->waiting[kept++] = cat->waiting[i];
    cat->n_waiting = kept;
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct cat *cat = user;
    int code = why != NULL ? report(why) : CODE_OK;
    if (!cat->keep)
        remember(cat, code);
    if (conn != cat->conn) {
        forget_waiting(cat, conn);
        return;
    }
    cat->conn = NULL;
    if (cat->n_waiting > 0)
        serve_next(cat);
    else if (cat->last)
        input_stop(&cat->input);
}

static void on_failed(conduit_listener *listener, const conduit_error *error, void *user)
{
    report(error);
}

/* ---- the two ways to begin ---- */

static int begin_connecting(struct cat *cat, const char *uri)
{
    static const conduit_handler handler = {
        .on_open = on_connected,
        .on_data = on_data,
        .on_drain = on_drain,
        .on_end = on_end,
        .on_close = on_close,
    };
    cat->last = true;
    return conduit_connect(cat->ctx, uri, &cat->client.connect, &handler, cat, &cat->conn);
}

static int begin_listening(struct cat *cat, const char *uri)
{
    static const conduit_handler handler = {
        .on_open = on_accepted,
        .on_data = on_data,
        .on_drain = on_drain,
        .on_end = on_end,
        .on_close = on_close,
    };
    conduit_listen_options how = {
        .tls = cat->client.connect.tls,
        .endpoint_params = cat->client.connect.endpoint_params,
        .handshake_timeout_ms = cat->client.connect.timeout_ms,
        .on_failed = on_failed,
    };
    conduit_listener *listener;
    int code = conduit_listen(cat->ctx, uri, &how, &handler, cat, &listener);
    if (code < 0)
        return code;
    cat->listeners[cat->n_listeners++] = listener;
    for (size_t i = 0; conduit_listener_uri(listener, i) != NULL; i++)
        fprintf(stderr, "listening %s\n", conduit_listener_uri(listener, i));
    return 0;
}

static int begin(struct cat *cat, int n, char **uris)
{
    for (int i = 0; i < n; i++) {
        int started = cat->listen ? begin_listening(cat, uris[i]) : begin_connecting(cat, uris[i]);
        if (started < 0)
            return report(conduit_ctx_error(cat->ctx));
    }
    return CODE_OK;
}

/* ---- running ---- */

static conduit_ctx *to_stop;

static void on_signal(int number)
{
    conduit_stop(to_stop);
}

/* A listener goes in peace, and takes its unix path with it. The second signal is the default one:
 * it kills. */
static void catch_signals(struct cat *cat)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    to_stop = cat->ctx;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

/* The context goes, and with it whom a signal would stop. */
static void ignore_signals(void)
{
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
}

static void run(struct cat *cat)
{
    if (conduit_run(cat->ctx) == 0)
        return;
    cat->last = true;
    cat->n_listeners = 0; /* draining closes them */
    conduit_ctx_drain(cat->ctx, DRAIN_MS);
    if (cat->conn == NULL)
        input_stop(&cat->input);
    conduit_run(cat->ctx);
}

static int cat_all(struct cat *cat, int n, char **uris)
{
    int error = input_open(&cat->input);
    if (error != 0)
        return failure("pipe", error);
    int code = CODE_OK;
    cat->ctx = client_ctx(&cat->client, &code);
    if (cat->ctx == NULL)
        return code;
    if (cat->listen)
        catch_signals(cat);
    code = begin(cat, n, uris);
    if (code == CODE_OK) {
        run(cat);
        code = cat->code;
    }
    if (cat->listen)
        ignore_signals();
    conduit_ctx_free(cat->ctx);
    return code;
}

/* ---- the command line ---- */

static int read_option(struct cat *cat, int c)
{
    switch (c) {
    case OPT_LISTEN:
        cat->listen = true;
        return CODE_OK;
    case OPT_KEEP:
        cat->keep = true;
        return CODE_OK;
    case OPT_INFO:
        cat->info = true;
        return CODE_OK;
    default:
        return client_option(&cat->client, c, optarg);
    }
}

/* Is there an option that only makes sense to who connects? */
static bool wants_to_connect(const struct client *client)
{
    return client->connect.name != NULL || client->connect.connect_to != NULL ||
           client->connect.via != NULL || client->connect.family != 0 || client->servers != NULL ||
           client->n_rules > 0 || client->ctx.system_resolver;
}

static int run_program(struct cat *cat, int argc, char **argv)
{
    int c;
    while ((c = getopt_long(argc, argv, "46", options, NULL)) != -1) {
        if (c == OPT_HELP)
            return tell(help);
        if (c == OPT_VERSION)
            return tell(conduit_version());
        int code = read_option(cat, c);
        if (code != CODE_OK)
            return code;
    }
    int n = argc - optind;
    if (n == 0)
        return usage_error("no URI given");
    if (n > (cat->listen ? LISTENERS_MAX : 1))
        return usage_error("too many URIs");
    if (cat->keep && !cat->listen)
        return usage_error("--keep goes with --listen");
    if (cat->listen && wants_to_connect(&cat->client))
        return usage_error("an option that is for connecting goes with --listen");
    return cat_all(cat, n, argv + optind);
}

int main(int argc, char **argv)
{
    static struct cat cat = {.input.on_piece = on_piece, .output.on_written = on_written};
    start_program(argv);
    int code = run_program(&cat, argc, argv);
    client_free(&cat.client);
    input_close(&cat.input);
    output_close(&cat.output);
    return code;
}
