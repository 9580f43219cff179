/* SPDX-License-Identifier: ISC */
/* Connecting by name with GIO: a GSocketClient, its usual interface. */
#include "connect.h"

#include <err.h>
#include <gio/gio.h>

static GSocketClient *client;
static const struct connect_to *target;

static void trust(GSocketClient *of, GSocketClientEvent event, GSocketConnectable *where,
                  GIOStream *stream, void *database)
{
    if (event == G_SOCKET_CLIENT_TLS_HANDSHAKING)
        g_tls_connection_set_database(G_TLS_CONNECTION(stream), database);
}

void connect_begin(const struct connect_to *to)
{
    GError *error = NULL;
    target = to;
    client = g_socket_client_new();
    if (!to->tls)
        return;
    g_socket_client_set_tls(client, TRUE);
    GTlsDatabase *anchors = g_tls_file_database_new(to->anchor, &error);
    if (anchors == NULL)
        errx(1, "%s", error->message);
    g_signal_connect(client, "event", G_CALLBACK(trust), anchors);
}

void connect_once(void)
{
    GError *error = NULL;
    GSocketConnection *connection =
        g_socket_client_connect_to_host(client, target->host, (guint16)target->port, NULL, &error);
    if (connection == NULL)
        errx(1, "%s", error->message);
    g_io_stream_close(G_IO_STREAM(connection), NULL, NULL);
    g_object_unref(connection);
}

int main(int argc, char **argv)
{
    return connect_main(argc, argv);
}
