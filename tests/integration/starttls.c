/* SPDX-License-Identifier: ISC */
/*
 * As much of SMTP as it takes to go from cleartext to TLS (RFC 3207), at both ends: for peers that
 * are not ours and know how.
 *
 *   starttls serve URI CERT KEY    greets, agrees to STARTTLS, and to all else once it is there
 *   starttls call URI CA NAME      asks for STARTTLS, says EHLO and QUIT under it
 *
 * The caller prints each line that it hears, and "under TLSv1.3" when that has begun. Both say why
 * a connection failed; the caller's exit status is 1 then.
 */
#include <conduit/conduit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static conduit_ctx *ctx;
static conduit_tls *tls;
static const char *name; /* of whom is called; NULL: we serve */
static int status;

struct talk {
    char line[1024];
    size_t n;
    bool secure;
    unsigned answers;
};

static void say(conduit_conn *conn, const char *text)
{
    conduit_write(conn, text, strlen(text));
}

static void go_on_with_tls(conduit_conn *conn, size_t unread)
{
    const conduit_upgrade_options how = {.tls = tls, .name = name, .unread = unread};
    if (conduit_upgrade(conn, &how) == 0)
        return;
    conduit_ctx_perror(ctx, "starttls");
    conduit_abort(conn);
}

/* What the server makes of a command. */
static void answer(conduit_conn *conn, const struct talk *talk, size_t unread)
{
    bool asked = strcasecmp(talk->line, "STARTTLS") == 0;
    if (strncasecmp(talk->line, "EHLO", 4) == 0) {
        say(conn, talk->secure ? "250 a.example\r\n" : "250-a.example\r\n250 STARTTLS\r\n");
    } else if (strcasecmp(talk->line, "QUIT") == 0) {
        say(conn, "221 bye\r\n");
        conduit_close(conn);
    } else if (asked && !talk->secure) {
        say(conn, "220 go\r\n");
        go_on_with_tls(conn, unread);
    } else {
        say(conn, talk->secure ? "250 fine\r\n" : "530 STARTTLS first\r\n");
    }
}

/* What the client says to each answer: to the greeting, to EHLO, ... Only the last line of an
 * answer has a space after its number. */
static void go_on(conduit_conn *conn, struct talk *talk, size_t unread)
{
    enum { TO_STARTTLS = 2, TO_QUIT = 4 };
    static const char *const words[] = {"EHLO here\r\n", "STARTTLS\r\n", NULL, "QUIT\r\n", NULL};
    printf("%s\n", talk->line);
    if (talk->n < 4 || talk->line[3] != ' ')
        return;
    unsigned step = talk->answers++;
    if (talk->line[0] != '2' || step > TO_QUIT) {
        status = 1;
        conduit_abort(conn);
    } else if (step == TO_STARTTLS) {
        go_on_with_tls(conn, unread);
    } else if (step == TO_QUIT) {
        conduit_close(conn);
    } else {
        say(conn, words[step]);
    }
}

static void on_open(conduit_conn *conn, void *user)
{
    struct talk *talk = calloc(1, sizeof(*talk));
    if (talk == NULL)
        exit(2);
    conduit_conn_set_user(conn, talk);
    if (name == NULL)
        say(conn, "220 a.example ESMTP\r\n");
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct talk *talk = user;
    const char *bytes = data;
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != '\n') {
            if (bytes[i] != '\r' && talk->n < sizeof(talk->line) - 1)
                talk->line[talk->n++] = bytes[i];
            continue;
        }
        talk->line[talk->n] = '\0';
        if (name != NULL)
            go_on(conn, talk, n - i - 1);
        else
            answer(conn, talk, n - i - 1);
        talk->n = 0;
    }
}

static void on_upgrade(conduit_conn *conn, void *user)
{
    struct talk *talk = user;
    talk->secure = true;
    printf("under %s\n", conduit_conn_info(conn)->tls->version);
    if (name != NULL)
        say(conn, "EHLO here\r\n");
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    if (why != NULL) {
        fprintf(stderr, "starttls: %s\n", conduit_error_text(why));
        status = 1;
    }
    free(user);
}

static void on_signal(int number)
{
    conduit_stop(ctx);
}

static int set(const char *key, const char *value)
{
    return conduit_tls_set(tls, key, value, NULL);
}

static int run(char **argv)
{
    static const conduit_handler handler = {
        .on_open = on_open, .on_data = on_data, .on_upgrade = on_upgrade, .on_close = on_close};
    conduit_listener *listener;
    if (strcmp(argv[1], "call") == 0) {
        name = argv[4];
        return set("ca", argv[3]) < 0 ? -1
                                      : conduit_connect(ctx, argv[2], NULL, &handler, NULL, NULL);
    }
    if (set("cert", argv[3]) < 0 || set("key", argv[4]) < 0 ||
        conduit_listen(ctx, argv[2], NULL, &handler, NULL, &listener) < 0)
        return -1;
    printf("listening %s\n", conduit_listener_uri(listener, 0));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    ctx = conduit_ctx_new(NULL);
    tls = conduit_tls_new();
    if (ctx == NULL || tls == NULL)
        return 2;
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
    if (run(argv) < 0)
        return conduit_ctx_perror(ctx, "starttls");
    conduit_run(ctx);
    signal(SIGTERM, SIG_IGN);
    conduit_ctx_free(ctx);
    conduit_tls_unref(tls);
    return name != NULL ? status : 0;
}
