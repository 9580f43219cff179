/* SPDX-License-Identifier: ISC */
/*
 * Start-up of the bench's programs: URIs, sockets, certificates. See peer.h.
 *
 * The parser takes what run.py writes and refuses everything else; it is no model for parsing URIs.
 */
#include "peer.h"

#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BACKLOG = 511 };

bool peer_is_sink;

struct peer_args peer_args(int argc, char **argv, const char *option)
{
    struct peer_args args = {0};
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--sink") == 0)
            peer_is_sink = true;
        else if (option != NULL && strcmp(argv[i], option) == 0)
            args.other = true;
        else
            break;
    }
    args.n = argc - i;
    args.uris = argv + i;
    if (args.n == 0 || args.uris[0][0] == '-')
        errx(2, "usage: %s [--sink]%s%s URI...", argv[0], option != NULL ? " " : "",
             option != NULL ? option : "");
    return args;
}

static bool skip_prefix(const char **text, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(*text, prefix, n) != 0)
        return false;
    *text += n;
    return true;
}

static void parse_unix(const char *uri, const char *path, struct peer_address *ret)
{
    struct sockaddr_un *local = &ret->at.local;
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof local->sun_path)
        errx(1, "%s: the path is empty or too long", uri);
    local->sun_family = AF_UNIX;
    memcpy(local->sun_path, path, n + 1);
    ret->len = sizeof *local;
}

/* "127.0.0.1:PORT", up to the query; returns where that begins. */
static const char *parse_inet(const char *uri, const char *rest, struct peer_address *ret)
{
    struct sockaddr_in *tcp = &ret->at.tcp;
    if (!skip_prefix(&rest, "127.0.0.1:"))
        errx(1, "%s: not at 127.0.0.1", uri);
    char *end;
    unsigned long port = strtoul(rest, &end, 10);
    if (end == rest || port > UINT16_MAX || (*end != '\0' && *end != '?'))
        errx(1, "%s: not a port", uri);
    tcp->sin_family = AF_INET;
    tcp->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    tcp->sin_port = htons((uint16_t)port);
    ret->len = sizeof *tcp;
    return end;
}

static void parse_query(const char *uri, const char *query, struct peer_address *ret)
{
    if (*query == '\0')
        return;
    if (sscanf(query, "?cert=%255[^&]&key=%255[^&]", ret->cert, ret->key) != 2)
        errx(1, "%s: only ?cert=FILE&key=FILE", uri);
}

void peer_parse(const char *uri, struct peer_address *ret)
{
    *ret = (struct peer_address){0};
    const char *rest = uri;
    if (skip_prefix(&rest, "unix:")) {
        parse_unix(uri, rest, ret);
        return;
    }
    ret->tls = skip_prefix(&rest, "tls://");
    if (!ret->tls && !skip_prefix(&rest, "tcp://"))
        errx(1, "%s: neither tcp://, tls:// nor unix:", uri);
    parse_query(uri, parse_inet(uri, rest, ret), ret);
}

static int open_socket(const struct peer_address *address, int flags)
{
    int fd = socket(address->at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        err(1, "socket");
    return fd;
}

int peer_listen(const struct peer_address *address)
{
    int fd = open_socket(address, SOCK_NONBLOCK);
    if (bind(fd, &address->at.any, address->len) < 0)
        err(1, "bind");
    if (listen(fd, BACKLOG) < 0)
        err(1, "listen");
    return fd;
}

void peer_announce(const struct peer_address *address, int listening)
{
    struct sockaddr_in bound = {0};
    socklen_t len = sizeof bound;
    if (address->at.any.sa_family == AF_UNIX)
        printf("listening unix:%s\n", address->at.local.sun_path);
    else if (getsockname(listening, (struct sockaddr *)&bound, &len) < 0)
        err(1, "getsockname");
    else
        printf("listening %s://127.0.0.1:%u\n", address->tls ? "tls" : "tcp",
               ntohs(bound.sin_port));
    fflush(stdout);
}

int peer_connect(const struct peer_address *address)
{
    int fd = open_socket(address, 0);
    if (connect(fd, &address->at.any, address->len) < 0)
        err(1, "connect");
    peer_send_at_once(fd);
    return fd;
}

void peer_send_at_once(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

SSL_CTX *peer_tls(const struct peer_address *address)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (tls == NULL || SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) != 1)
        errx(1, "no TLS");
    if (SSL_CTX_use_certificate_chain_file(tls, address->cert) != 1)
        errx(1, "%s: not a certificate", address->cert);
    if (SSL_CTX_use_PrivateKey_file(tls, address->key, SSL_FILETYPE_PEM) != 1)
        errx(1, "%s: not the certificate's key", address->key);
    return tls;
}
