/* SPDX-License-Identifier: ISC */
/*
 * A program with deadlines, server and client in one, to be attacked:
 *
 *   patient [KEY=MS...] [ca=FILE] [cert=FILE] [key=FILE] [name=NAME] WORD URI...
 *
 *   listen URI   serve an echo there
 *   greet URI    connect, and say a line once it is open
 *   flood URI    connect, and send as much as is taken
 *   close URI    connect, send 4 MB and close
 *
 * KEY is handshake, attempt, idle, write, lifetime or close. There is a line for everything that
 * ends, with milliseconds since its connect or its accept, as "greet 2 open 0.613 closed 600.214:
 * idle ...": the number is that of the URI. It runs until SIGTERM.
 */
#include <conduit/conduit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { PIECE = 64 * 1024, MUCH = 4 * 1024 * 1024, MOST_URIS = 32 };

struct call {
    const char *word;
    int number;
    uint64_t since_ns;
    double open_ms; /* -1: it has not been */
};

static conduit_ctx *ctx;
static conduit_listen_options listening;
static conduit_connect_options connecting;
static struct call calls[MOST_URIS];
static const char zeros[MUCH];

static double passed_ms(uint64_t since_ns)
{
    return (double)(uv_hrtime() - since_ns) / 1e6;
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    const struct call *call = user;
    printf("%s %d open %.3f closed %.3f: %s\n", call->word, call->number, call->open_ms,
           passed_ms(call->since_ns), why != NULL ? conduit_error_text(why) : "fine");
}

/* ---- the server ---- */

static void on_guest(conduit_conn *conn, void *user)
{
    const struct call *listener = user;
    double open_ms = conduit_conn_info(conn)->open_ms;
    struct call *call = malloc(sizeof(*call));
    if (call == NULL)
        exit(conduit_ctx_perror(NULL, "patient"));
    *call = (struct call){.word = "guest",
                          .number = listener->number,
                          .open_ms = open_ms,
                          .since_ns = uv_hrtime() - (uint64_t)(open_ms * 1e6)};
    conduit_conn_set_user(conn, call);
}

static void on_guest_gone(conduit_conn *conn, const conduit_error *why, void *user)
{
    on_close(conn, why, user);
    free(user);
}

static void on_line(conduit_conn *conn, const void *data, size_t n, void *user)
{
    if (conduit_write(conn, data, n) == 1)
        conduit_pause(conn);
}

static void on_room(conduit_conn *conn, void *user)
{
    conduit_resume(conn);
}

static void on_failed(conduit_listener *listener, const conduit_error *error, void *user)
{
    printf("turned away: %s\n", conduit_error_text(error));
}

/* ---- the clients ---- */

static void flood(conduit_conn *conn, void *user)
{
    while (conduit_write(conn, zeros, PIECE) == 0)
        ;
}

static void on_open(conduit_conn *conn, void *user)
{
    struct call *call = user;
    call->open_ms = passed_ms(call->since_ns);
    if (strcmp(call->word, "flood") == 0) {
        flood(conn, user);
    } else if (strcmp(call->word, "close") == 0) {
        conduit_write(conn, zeros, MUCH);
        conduit_close(conn);
    } else {
        conduit_write(conn, "hello\n", 6);
    }
}

static void ignore(conduit_conn *conn, const void *data, size_t n, void *user) {}

static int begin(const char *word, const char *uri, int number)
{
    static const conduit_handler echo = {
        .on_open = on_guest, .on_data = on_line, .on_drain = on_room, .on_close = on_guest_gone};
    static const conduit_handler talk = {
        .on_open = on_open, .on_data = ignore, .on_drain = flood, .on_close = on_close};
    struct call *call = &calls[number];
    conduit_listener *listener;
    *call = (struct call){.word = word, .number = number, .since_ns = uv_hrtime(), .open_ms = -1};
    if (strcmp(word, "listen") != 0)
        return conduit_connect(ctx, uri, &connecting, &talk, call, NULL);
    int code = conduit_listen(ctx, uri, &listening, &echo, call, &listener);
    if (code == 0)
        printf("listening %s\n", conduit_listener_uri(listener, 0));
    return code;
}

/* ---- the command line ---- */

static uint32_t *deadline(const char *key, size_t n)
{
    const struct {
        const char *key;
        uint32_t *ms;
    } all[] = {
        {"handshake", &listening.handshake_timeout_ms},
        {"attempt", &connecting.attempt_timeout_ms},
        {"idle", &connecting.conn.idle_timeout_ms},
        {"write", &connecting.conn.write_timeout_ms},
        {"lifetime", &connecting.conn.lifetime_ms},
        {"close", &connecting.conn.close_timeout_ms},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strncmp(key, all[i].key, n) == 0 && all[i].key[n] == '\0')
            return all[i].ms;
    return NULL;
}

/* KEY=VALUE: a deadline, our name for the peer, or of TLS. */
static int set(char *key)
{
    char *value = strchr(key, '=');
    uint32_t *ms = deadline(key, (size_t)(value - key));
    *value++ = '\0';
    if (ms != NULL)
        *ms = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(key, "name") == 0)
        connecting.name = value;
    else
        return conduit_tls_set(connecting.tls, key, value, NULL);
    return 0;
}

static void on_signal(int number)
{
    conduit_stop(ctx);
}

int main(int argc, char **argv)
{
    int code = 0, i = 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
    ctx = conduit_ctx_new(NULL);
    connecting.tls = conduit_tls_new();
    if (ctx == NULL || connecting.tls == NULL)
        return conduit_ctx_perror(ctx, "patient");
    for (; code == 0 && i < argc && strchr(argv[i], '=') != NULL; i++)
        code = set(argv[i]);
    listening.conn = connecting.conn;
    listening.tls = connecting.tls;
    listening.on_failed = on_failed;
    for (int number = 0; code == 0 && i + 1 < argc && number < MOST_URIS; i += 2)
        code = begin(argv[i], argv[i + 1], number++);
    if (code < 0)
        return conduit_ctx_perror(ctx, "patient");
    conduit_run(ctx);
    conduit_ctx_free(ctx);
    conduit_tls_unref(connecting.tls);
    return 0;
}
