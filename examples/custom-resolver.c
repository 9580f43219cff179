/* SPDX-License-Identifier: ISC */
/*
 * custom-resolver: names under .lab, found out in two ways of our own.
 * `table` knows echo.lab and answers at once. `later` takes the rest of .lab and answers when it is
 * called back, as one would that asks a service first. Behind both stands an echo server of ours.
 */
#include <arpa/inet.h>
#include <conduit/conduit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For both: this machine. The port is the query's: the library fills it in. */
static void answer(conduit_query *query, void *state)
{
    const struct sockaddr_in me = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    conduit_query_add_address(query, (const struct sockaddr *)&me, 60);
    conduit_query_done(query, 0, NULL, 0, NULL);
}

static bool is_in_table(const conduit_query *query, void *state)
{
    return strcmp(conduit_query_transport(query), "tcp") == 0 &&
           strcmp(conduit_query_host(query), "echo.lab") == 0;
}

static const conduit_resolver table = {
    .name = "table", .immediate = true, .accepts = is_in_table, .start = answer};

struct errand {
    conduit_query *query; /* NULL: nobody wants to know any more */
};

static bool is_in_lab(const conduit_query *query, void *state)
{
    const char *dot = strrchr(conduit_query_host(query), '.');
    return strcmp(conduit_query_transport(query), "tcp") == 0 && dot != NULL &&
           strcmp(dot, ".lab") == 0;
}

static void come_back(conduit_ctx *ctx, void *arg)
{
    struct errand *errand = arg;
    if (errand->query != NULL)
        answer(errand->query, NULL);
    free(errand);
}

static void set_out(conduit_query *query, void *state)
{
    struct errand *errand = malloc(sizeof(*errand));
    if (errand == NULL || conduit_post(conduit_query_ctx(query), come_back, errand) < 0) {
        free(errand);
        conduit_query_done(query, CONDUIT_ENOMEM, NULL, 0, "out of memory");
        return;
    }
    errand->query = query;
    conduit_query_set_data(query, errand);
}

static void forget(conduit_query *query, void *state)
{
    ((struct errand *)conduit_query_data(query))->query = NULL;
}

static const conduit_resolver later = {
    .name = "later", .accepts = is_in_lab, .start = set_out, .cancel = forget};

static conduit_listener *listener;
static int n_callers = 2, code;

static void echo(conduit_conn *conn, const void *data, size_t n, void *user)
{
    conduit_write(conn, data, n);
}

static void print(conduit_conn *conn, const void *data, size_t n, void *name)
{
    printf("%s is %s and says %.*s\n", (const char *)name, conduit_conn_info(conn)->endpoint,
           (int)n, (const char *)data);
}

static void part(conduit_conn *conn, const conduit_error *why, void *name)
{
    if (why != NULL)
        fprintf(stderr, "custom-resolver: %s\n", conduit_error_text(why));
    code |= why != NULL;
    if (--n_callers == 0)
        conduit_listener_close(listener);
}

static int call(conduit_ctx *ctx, char *name)
{
    static const conduit_handler caller = {.on_data = print, .on_close = part};
    conduit_conn *conn;
    char uri[64];
    snprintf(uri, sizeof(uri), "tcp://%s%s", name, strrchr(conduit_listener_uri(listener, 0), ':'));
    if (conduit_connect(ctx, uri, NULL, &caller, name, &conn) < 0)
        return -1;
    conduit_write(conn, name, strlen(name)); /* goes out when it is open */
    conduit_end(conn);
    return 0;
}

int main(void)
{
    static const conduit_handler server = {.on_data = echo};
    static char names[][9] = {"echo.lab", "slow.lab"};
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    if (ctx == NULL || conduit_ctx_add_resolver(ctx, &later) < 0 ||
        conduit_ctx_add_resolver(ctx, &table) < 0 || /* the last added is asked first */
        conduit_listen(ctx, "tcp://127.0.0.1:0", NULL, &server, NULL, &listener) < 0 ||
        call(ctx, names[0]) < 0 || call(ctx, names[1]) < 0)
        code = conduit_ctx_perror(ctx, "custom-resolver");
    else
        conduit_run(ctx);
    conduit_ctx_free(ctx);
    return code;
}
