/* SPDX-License-Identifier: ISC */
/* Connecting by name with us. */
#include "connect.h"

#include <conduit/conduit.h>
#include <err.h>

static conduit_ctx *ctx;
static conduit_connect_options options;
static const char *uri;
static bool done;

/* The goodbye is said while the next one connects. */
static void on_open(conduit_conn *conn, void *user)
{
    done = true;
    conduit_close(conn);
    conduit_stop(ctx);
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    if (why != NULL)
        errx(1, "%s", conduit_error_text(why));
}

void connect_begin(const struct connect_to *to)
{
    conduit_ctx_options how = {.dns_servers = *to->server != '\0' ? to->server : NULL};
    ctx = conduit_ctx_new(&how);
    uri = to->uri;
    if (ctx == NULL)
        errx(1, "no context");
    if (!to->tls)
        return;
    options.tls = conduit_tls_new();
    if (conduit_tls_set(options.tls, "ca", to->anchor, NULL) < 0 ||
        conduit_tls_set(options.tls, "resume", "no", NULL) < 0)
        errx(1, "%s: no anchor", to->anchor);
}

void connect_once(void)
{
    static const conduit_handler handler = {.on_open = on_open, .on_close = on_close};
    done = false;
    if (conduit_connect(ctx, uri, &options, &handler, NULL, NULL) < 0)
        errx(1, "%s", conduit_error_text(conduit_ctx_error(ctx)));
    while (!done)
        conduit_run(ctx);
}

int main(int argc, char **argv)
{
    return connect_main(argc, argv);
}
