/* SPDX-License-Identifier: ISC */
/*
 * One call after another to the same place, all from one context: what the first was given to be
 * resumed, the next may use. Each says REQUEST, hears the peer until UNTIL has come, and closes.
 *
 *   again COUNT REQUEST UNTIL URI NAME [KEY=VALUE...]
 *
 * NAME is whom the peer has to prove to be, the rest is for conduit_tls_set(). Prints what was
 * heard, and of each call a line "call version=TLSv1.3 resumed=yes alpn=h2". Exit status 1 and the
 * reason if one fails.
 */
#include <conduit/conduit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEARD = 64 * 1024 };

struct calls {
    conduit_ctx *ctx;
    const char *request, *until, *uri;
    conduit_connect_options options;
    long left;
    bool failed;
    char heard[HEARD];
    size_t n_heard;
};

static void call(struct calls *calls);

static void on_open(conduit_conn *conn, void *user)
{
    const struct calls *calls = user;
    conduit_write(conn, calls->request, strlen(calls->request));
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct calls *calls = user;
    size_t room = HEARD - 1 - calls->n_heard;
    n = n < room ? n : room;
    memcpy(calls->heard + calls->n_heard, data, n);
    calls->n_heard += n;
    calls->heard[calls->n_heard] = '\0';
    if (strstr(calls->heard, calls->until) == NULL)
        return;
    const conduit_tls_info *tls = conduit_conn_info(conn)->tls;
    printf("%s\ncall version=%s resumed=%s alpn=%s\n", calls->heard, tls->version,
           tls->resumed ? "yes" : "no", tls->alpn);
    calls->left--;
    conduit_close(conn);
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct calls *calls = user;
    calls->failed = strstr(calls->heard, calls->until) == NULL;
    if (calls->failed)
        fprintf(stderr, "again: %s\n",
                why != NULL ? conduit_error_text(why) : "the peer ended too early");
    else if (calls->left > 0)
        call(calls);
}

static void call(struct calls *calls)
{
    static const conduit_handler handler = {
        .on_open = on_open, .on_data = on_data, .on_close = on_close};
    calls->n_heard = 0;
    calls->heard[0] = '\0';
    if (conduit_connect(calls->ctx, calls->uri, &calls->options, &handler, calls, NULL) < 0)
        exit(conduit_ctx_perror(calls->ctx, "again"));
}

/* "KEY=VALUE". Returns 0 or a code. */
static int set(conduit_tls *tls, char *setting)
{
    const conduit_error *error = NULL;
    char *value = strchr(setting, '=');
    if (value == NULL)
        return CONDUIT_EINVAL;
    *value++ = '\0';
    int code = conduit_tls_set(tls, setting, value, &error);
    if (code < 0)
        fprintf(stderr, "again: %s\n", conduit_error_text(error));
    conduit_error_unref(error);
    return code;
}

int main(int argc, char **argv)
{
    static struct calls calls;
    if (argc < 6)
        return 2;
    calls.left = atol(argv[1]);
    calls.request = argv[2];
    calls.until = argv[3];
    calls.uri = argv[4];
    calls.options.name = argv[5];
    calls.options.tls = conduit_tls_new();
    calls.ctx = conduit_ctx_new(NULL);
    if (calls.ctx == NULL || calls.options.tls == NULL)
        return 2;
    for (char **setting = argv + 6; *setting != NULL; setting++)
        if (set(calls.options.tls, *setting) < 0)
            return 2;
    call(&calls);
    conduit_run(calls.ctx);
    conduit_ctx_free(calls.ctx);
    conduit_tls_unref(calls.options.tls);
    return calls.failed ? 1 : 0;
}
