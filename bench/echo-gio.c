/* SPDX-License-Identifier: ISC */
/*
 * The peer: an echo server on GIO, with a GSocketService, and GTlsServerConnection by
 * glib-networking.
 *
 * In its best form: not g_input_stream_read_async(), which makes a GTask and a source for each
 * read, but pollable streams: one source for a client's whole life, whose callback reads what there
 * is into one buffer and sends it back at once. What is not taken is kept, and until it is gone the
 * client waits to write instead of reading.
 */
#include "peer.h"

#include <err.h>
#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <glib-unix.h>
#include <stdio.h>
#include <string.h>

enum { READ_SIZE = 64 * 1024, BACKLOG = 511 };

struct client {
    GIOStream *stream;
    GPollableInputStream *in;
    GPollableOutputStream *out;
    GSource *source;
    GBytes *rest; /* that was not taken; NULL */
};

static GTlsCertificate *identity; /* NULL without TLS */

static void must(gboolean done, GError *error)
{
    if (!done)
        errx(1, "%s", error->message);
}

static void end(struct client *client)
{
    g_source_destroy(client->source);
    g_source_unref(client->source);
    g_io_stream_close(client->stream, NULL, NULL);
    g_object_unref(client->stream);
    g_clear_pointer(&client->rest, g_bytes_unref);
    g_free(client);
}

static gboolean is_not_now(GError *error)
{
    gboolean is = g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
    g_error_free(error);
    return is;
}

static gboolean on_readable(GObject *stream, gpointer arg);
static gboolean on_writable(GObject *stream, gpointer arg);

/* Another source in place of the one that is running or was there. */
static void wait_for(struct client *client, gboolean to_write)
{
    if (client->source != NULL) {
        g_source_destroy(client->source);
        g_source_unref(client->source);
    }
    client->source = to_write ? g_pollable_output_stream_create_source(client->out, NULL)
                              : g_pollable_input_stream_create_source(client->in, NULL);
    g_source_set_callback(client->source, G_SOURCE_FUNC(to_write ? on_writable : on_readable),
                          client, NULL);
    g_source_attach(client->source, NULL);
}

/* How much was taken; -1: the connection is done for. */
static gssize send_some(struct client *client, const void *bytes, gsize n)
{
    GError *error = NULL;
    gssize sent = g_pollable_output_stream_write_nonblocking(client->out, bytes, n, NULL, &error);
    return sent < 0 && is_not_now(error) ? 0 : sent;
}

/* True: all of it was taken. */
static gboolean send_all(struct client *client, const char *bytes, gsize n)
{
    gssize sent = 1;
    while (n > 0 && (sent = send_some(client, bytes, n)) > 0) {
        bytes += sent;
        n -= (gsize)sent;
    }
    if (n == 0)
        return TRUE;
    client->rest = sent < 0 ? NULL : g_bytes_new(bytes, n);
    return FALSE;
}

static gboolean on_writable(GObject *stream, gpointer arg)
{
    struct client *client = arg;
    gsize n;
    GBytes *rest = g_steal_pointer(&client->rest);
    const char *bytes = g_bytes_get_data(rest, &n);
    gboolean sent = send_all(client, bytes, n);
    g_bytes_unref(rest);
    if (sent)
        wait_for(client, FALSE);
    else if (client->rest == NULL)
        end(client);
    return client->rest != NULL;
}

/* Everything that is there: of TLS the socket would not tell. */
static gboolean on_readable(GObject *stream, gpointer arg)
{
    static char bytes[READ_SIZE];
    struct client *client = arg;
    GError *error = NULL;
    gssize n;
    do {
        n = g_pollable_input_stream_read_nonblocking(client->in, bytes, sizeof bytes, NULL, &error);
        if (n > 0 && !peer_is_sink && !send_all(client, bytes, (gsize)n)) {
            if (client->rest != NULL)
                wait_for(client, TRUE);
            else
                end(client);
            return G_SOURCE_REMOVE;
        }
    } while (n == sizeof bytes || (n > 0 && identity != NULL));
    if (n > 0 || (n < 0 && is_not_now(error)))
        return G_SOURCE_CONTINUE;
    end(client);
    return G_SOURCE_REMOVE;
}

static gboolean on_incoming(GSocketService *service, GSocketConnection *connection, GObject *source,
                            gpointer data)
{
    struct client *client = g_new0(struct client, 1);
    GError *error = NULL;
    peer_send_at_once(g_socket_get_fd(g_socket_connection_get_socket(connection)));
    client->stream = identity == NULL
                         ? g_object_ref(G_IO_STREAM(connection))
                         : g_tls_server_connection_new(G_IO_STREAM(connection), identity, &error);
    must(client->stream != NULL, error);
    client->in = G_POLLABLE_INPUT_STREAM(g_io_stream_get_input_stream(client->stream));
    client->out = G_POLLABLE_OUTPUT_STREAM(g_io_stream_get_output_stream(client->stream));
    wait_for(client, FALSE);
    return TRUE;
}

static GSocketAddress *where(const struct peer_address *address)
{
    if (address->at.any.sa_family == AF_UNIX)
        return g_unix_socket_address_new(address->at.local.sun_path);
    return g_inet_socket_address_new_from_string("127.0.0.1", ntohs(address->at.tcp.sin_port));
}

static void announce(const struct peer_address *address, GSocketAddress *bound)
{
    if (address->at.any.sa_family == AF_UNIX)
        printf("listening unix:%s\n", address->at.local.sun_path);
    else
        printf("listening %s://127.0.0.1:%u\n", address->tls ? "tls" : "tcp",
               g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(bound)));
    fflush(stdout);
}

static void serve(GSocketService *service, const char *uri)
{
    struct peer_address address;
    GError *error = NULL;
    GSocketAddress *bound = NULL;
    peer_parse(uri, &address);
    if (address.tls && identity == NULL) {
        identity = g_tls_certificate_new_from_files(address.cert, address.key, &error);
        must(identity != NULL, error);
    }
    GSocketAddress *at = where(&address);
    must(g_socket_listener_add_address(G_SOCKET_LISTENER(service), at, G_SOCKET_TYPE_STREAM,
                                       G_SOCKET_PROTOCOL_DEFAULT, NULL, &bound, &error),
         error);
    announce(&address, bound);
    g_object_unref(at);
    g_object_unref(bound);
}

int main(int argc, char **argv)
{
    struct peer_args args = peer_args(argc, argv, NULL);
    GMainLoop *loop = g_main_loop_new(NULL, FALSE);
    GSocketService *service = g_socket_service_new();
    g_socket_listener_set_backlog(G_SOCKET_LISTENER(service), BACKLOG);
    g_signal_connect(service, "incoming", G_CALLBACK(on_incoming), NULL);
    g_unix_signal_add(SIGTERM, G_SOURCE_FUNC(g_main_loop_quit), loop);
    for (int i = 0; i < args.n; i++)
        serve(service, args.uris[i]);
    g_main_loop_run(loop);
    return 0;
}
