/* SPDX-License-Identifier: ISC */
/*
 * Stream sockets over watch.h: our own accept, read and write, so that batches, peer credentials and
 * what happens when descriptors run out are ours to decide.
 *
 * Descriptor and struct go at once, when the layer or the acceptor is closed. Reading happens once
 * per wake-up and stops at a short count; readiness is level-triggered, so nothing is lost.
 */
#include "socket.h"
#include "context.h"
#include "credentials.h"
#include "endpoint.h"
#include "error.h"
#include "rights.h"
#include "send_file.h"
#include "util.h"
#include <conduit/memory.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct socket {
    struct cdt_layer layer;
    struct cdt_watch watch;
    bool connecting;
    bool adopted;
    bool writable;          /* has been reported; a connect is over then */
    const char *allow_uid;  /* who may be at the other end: credentials.h; NULL: everyone */
    union cdt_address peer; /* a socket that is closed on both sides no longer knows it */
};

static struct socket *of(struct cdt_layer *layer)
{
    return CDT_CONTAINER(layer, struct socket, layer);
}

/* ---- the layer ---- */

static int fd_of(struct cdt_layer *layer)
{
    return of(layer)->watch.fd;
}

static void on_ready(struct cdt_watch *watch, unsigned events)
{
    struct socket *s = CDT_CONTAINER(watch, struct socket, watch);
    if (events & CDT_WRITE)
        s->writable = true;
    s->layer.path->ready(s->layer.path, events);
}

static void want_events(struct cdt_layer *layer, unsigned events)
{
    cdt_watch_want(&of(layer)->watch, events);
}

static int check_peer(struct cdt_layer *layer)
{
    const struct socket *s = of(layer);
    struct ucred who;
    socklen_t len = sizeof(who);
    if (s->allow_uid == NULL)
        return 0;
    if (getsockopt(s->watch.fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
        return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_DIAL, errno, "peer credentials");
    if (cdt_uids_have(s->allow_uid, who.uid))
        return 0;
    return cdt_path_fail(layer->path, CONDUIT_EACCESS, CONDUIT_STAGE_DIAL, NULL, 0,
                         "the peer is user %ld, whom allow_uid%s%s does not name", (long)who.uid,
                         *s->allow_uid != '\0' ? "=" : " (by default only this user and root)",
                         s->allow_uid);
}

static int open_socket(struct cdt_layer *layer)
{
    struct socket *s = of(layer);
    if (!s->connecting)
        return check_peer(layer);
    if (!s->writable) {
        want_events(layer, CDT_WRITE);
        return CONDUIT_EAGAIN;
    }
    int number = 0;
    socklen_t len = sizeof(number);
    if (getsockopt(s->watch.fd, SOL_SOCKET, SO_ERROR, &number, &len) < 0)
        number = errno;
    if (number != 0)
        return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_DIAL, number, "connect");
    s->connecting = false;
    return check_peer(layer);
}

/* Whoever is told EAGAIN is told when to come again: a signal that came first changes nothing. */
static bool is_for_later(int number)
{
    return number == EAGAIN || number == EINTR;
}

/* What a read, or a write, of the socket says, but for the plain count that it mostly is. */
static ssize_t read_unusual(struct cdt_layer *layer, ssize_t n)
{
    if (n >= 0 || is_for_later(errno))
        cdt_watch_missed(layer->path->ctx);
    if (n >= 0)
        return n;
    if (is_for_later(errno))
        return CONDUIT_EAGAIN;
    return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, errno, "read");
}

static ssize_t read_socket(struct cdt_layer *layer, void *buf, size_t len)
{
    ssize_t n = recv(fd_of(layer), buf, len, 0);
    return n >= 0 && n < CDT_BUFFER_SIZE ? n : read_unusual(layer, n);
}

static ssize_t send_pieces(int fd, const struct iovec *v, int n_pieces)
{
    struct msghdr message = {.msg_iov = cdt_bytes(v), .msg_iovlen = (size_t)n_pieces};
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static ssize_t write_unusual(struct cdt_layer *layer)
{
    if (is_for_later(errno))
        return CONDUIT_EAGAIN;
    return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, errno, "write");
}

static ssize_t write_socket(struct cdt_layer *layer, const struct iovec *v, int n_pieces)
{
    int fd = fd_of(layer);
    ssize_t n = n_pieces == 1 ? send(fd, v->iov_base, v->iov_len, MSG_NOSIGNAL)
                              : send_pieces(fd, v, n_pieces);
    return n >= 0 ? n : write_unusual(layer);
}

/* Some file systems have files that sendfile does not know how to send. */
static bool cannot_be_sent(int number)
{
    return number == EINVAL || number == ENOSYS || number == EOPNOTSUPP || number == EOVERFLOW;
}

static ssize_t send_file(struct cdt_layer *layer, int fd, off_t offset, size_t n)
{
    ssize_t sent;
    do
        sent = cdt_send_file(fd_of(layer), fd, offset, n);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return sent;
    if (errno == EAGAIN)
        return CONDUIT_EAGAIN;
    if (cannot_be_sent(errno))
        return CONDUIT_ENOTSUP;
    return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, errno, "sendfile");
}

/* ---- descriptors beside the bytes ---- */

static bool is_local(const struct cdt_layer *layer)
{
    const struct socket *s = CDT_CONTAINER(cdt_bytes(layer), struct socket, layer);
    int domain = AF_UNSPEC;
    socklen_t len = sizeof(domain);
    return getsockopt(s->watch.fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

static ssize_t read_with_fds(struct cdt_layer *layer, void *buf, size_t len, struct cdt_fds *fds)
{
    ssize_t n;
    do
        n = cdt_rights_receive(fd_of(layer), buf, len, fds);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    if (errno == EAGAIN) {
        cdt_watch_missed(layer->path->ctx);
        return CONDUIT_EAGAIN;
    }
    if (errno == E2BIG)
        return cdt_path_fail(layer->path, CONDUIT_ELIMIT, CONDUIT_STAGE_IO, NULL, 0,
                             "the peer passed more than %d descriptors at once", CDT_MOST_FDS);
    if (errno == EMFILE)
        return cdt_path_fail(layer->path, CONDUIT_ELIMIT, CONDUIT_STAGE_IO, "errno", EMFILE,
                             "this process has no room for the descriptors that the peer passed");
    return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, errno, "read");
}

static ssize_t write_with_fd(struct cdt_layer *layer, const void *data, size_t n, int fd)
{
    ssize_t taken;
    do
        taken = cdt_rights_send(fd_of(layer), data, n, fd);
    while (taken < 0 && errno == EINTR);
    if (taken >= 0)
        return taken;
    switch (errno) {
    case EAGAIN:
        return CONDUIT_EAGAIN;
    case EBADF:
    case EINVAL: /* io_uring's */
        return CONDUIT_EINVAL;
    case ETOOMANYREFS:
        return CONDUIT_ELIMIT;
    default:
        return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, errno, "write");
    }
}

static const struct cdt_passing passing = {
    .possible = is_local,
    .read = read_with_fds,
    .write = write_with_fd,
};

/* ---- the end ---- */

/* A socket that the peer has reset has no direction left to end. And where close(2) comes next, that
 * ends it, unless somebody else may hold the descriptor, too. */
static int finish_socket(struct cdt_layer *layer)
{
    if (layer->path->closes && !of(layer)->adopted)
        return 0;
    if (shutdown(fd_of(layer), SHUT_WR) == 0 || errno == ENOTCONN)
        return 0;
    return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, errno, "shutdown");
}

static void close_fd(int fd, bool reset)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (reset)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd);
}

static void close_socket(struct cdt_layer *layer, bool reset)
{
    struct socket *s = of(layer);
    cdt_watch_stop(&s->watch);
    close_fd(s->watch.fd, reset);
    cdt_spare_give(&layer->path->ctx->spares, CDT_SPARE_SOCKET, s);
}

/* A new reference, or NULL: a nameless socket, or one of a kind we have no URI for. */
static const conduit_endpoint *endpoint_of(const struct sockaddr_storage *address, socklen_t len)
{
    char path[sizeof(struct sockaddr_un)] = "";
    const size_t start = offsetof(struct sockaddr_un, sun_path);
    struct sockaddr_vm vm;
    memcpy(&vm, address, sizeof(vm));
    if (address->ss_family == AF_VSOCK)
        return vm.svm_port <= UINT16_MAX ? conduit_endpoint_vsock(vm.svm_cid, (uint16_t)vm.svm_port)
                                         : NULL;
    if (address->ss_family != AF_UNIX)
        return conduit_endpoint_tcp((const struct sockaddr *)address);
    /* A peer may have bound itself to 108 bytes without a NUL: unix(7). */
    if (len > start)
        memcpy(path, (const char *)address + start,
               (len < sizeof(path) ? len : sizeof(path)) - start);
    return *path != '\0' ? conduit_endpoint_unix(path) : conduit_endpoint_unix_abstract(path + 1);
}

/* A port that is too large for an endpoint. */
static void print_vsock(char *buf, size_t size, const struct sockaddr_storage *address)
{
    struct sockaddr_vm vm;
    memcpy(&vm, address, sizeof(vm));
    snprintf(buf, size, "vsock://%u:%u", vm.svm_cid, vm.svm_port);
}

static void print_address(char *buf, size_t size, const struct sockaddr_storage *address,
                          socklen_t len)
{
    const conduit_endpoint *endpoint = endpoint_of(address, len);
    if (endpoint != NULL)
        snprintf(buf, size, "%s", conduit_endpoint_uri(endpoint));
    else if (address->ss_family == AF_UNIX)
        snprintf(buf, size, "unix:");
    else if (address->ss_family == AF_VSOCK)
        print_vsock(buf, size, address);
    conduit_endpoint_unref(endpoint);
}

static void describe(const struct cdt_layer *layer, struct cdt_facts *facts)
{
    const struct socket *s = CDT_CONTAINER(cdt_bytes(layer), struct socket, layer);
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    if (s->peer.any.sa_family == AF_INET || s->peer.any.sa_family == AF_INET6) {
        memcpy(&address, &s->peer, sizeof(s->peer));
        print_address(facts->peer, sizeof(facts->peer), &address, len);
    } else if (getpeername(s->watch.fd, (struct sockaddr *)&address, &len) == 0) {
        print_address(facts->peer, sizeof(facts->peer), &address, len);
    }
    address = (struct sockaddr_storage){0};
    len = sizeof(address);
    if (getsockname(s->watch.fd, (struct sockaddr *)&address, &len) == 0)
        print_address(facts->local, sizeof(facts->local), &address, len);
    struct ucred who;
    len = sizeof(who);
    if (address.ss_family == AF_UNIX &&
        getsockopt(s->watch.fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0) {
        facts->peer_pid = who.pid;
        facts->peer_uid = who.uid;
        facts->peer_gid = who.gid;
    }
}

static const struct cdt_layer_ops socket_ops = {
    .name = "socket",
    .open = open_socket,
    .read = read_socket,
    .write = write_socket,
    .send_file = send_file,
    .finish = finish_socket,
    .want = want_events,
    .close = close_socket,
    .describe = describe,
    .passing = &passing,
};

/* Put `fd` (taken over) at the bottom of `path`; `peer` as far as it fits. 0 or an errno. */
static int push(struct cdt_path *path, int fd, const struct sockaddr *peer, socklen_t len,
                bool connecting)
{
    struct cdt_spares *spares = &path->ctx->spares;
    struct socket *s = cdt_spare_take(spares, CDT_SPARE_SOCKET, sizeof(*s));
    int number = ENOMEM;
    if (s != NULL)
        number =
            cdt_watch_start(&s->watch, path->ctx, fd, connecting ? CDT_WRITE : CDT_READ, on_ready);
    if (number != 0) {
        if (number != EEXIST)   /* this context has it already: another connection closes it */
            close_fd(fd, true); /* who was accepted, and is not served, must not see an end */
        cdt_spare_give(spares, CDT_SPARE_SOCKET, s);
        return number;
    }
    s->layer.ops = &socket_ops;
    s->connecting = connecting;
    if (len <= sizeof(s->peer))
        memcpy(&s->peer, peer, len);
    cdt_path_push(path, &s->layer);
    return 0;
}

/* ---- dialling ---- */

int cdt_socket_open(int domain)
{
    return socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int cdt_socket_dial(struct cdt_path *path, int fd, const struct sockaddr *to, socklen_t len)
{
    int number = connect(fd, to, len) == 0 ? 0 : errno;
    bool connecting = number == EINPROGRESS || number == EINTR;
    if (number == EAGAIN) { /* a unix socket does not tell when it has room again */
        close(fd);
        return cdt_path_fail(path, CONDUIT_EREFUSED, CONDUIT_STAGE_DIAL, "errno", number,
                             "connect: the listener's backlog is full");
    }
    if (number != 0 && !connecting)
        close(fd);
    else
        number = push(path, fd, to, len, connecting);
    return number == 0 ? 0 : cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, number, "connect");
}

const char cdt_socket_in_use[] = "the descriptor is in use on this context already";

int cdt_socket_adopt(struct cdt_path *path, int fd)
{
    union cdt_address peer = {0};
    socklen_t len = sizeof(peer);
    if (getpeername(fd, &peer.any, &len) < 0)
        len = 0;
    int number = push(path, fd, &peer.any, len, false);
    if (number == EEXIST)
        return cdt_path_fail(path, CONDUIT_EINVAL, CONDUIT_STAGE_DIAL, "errno", number, "%s",
                             cdt_socket_in_use);
    if (number != 0)
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, number, "poll");
    of(path->top)->adopted = true;
    return 0;
}

const conduit_endpoint *cdt_socket_standing(int fd, const struct cdt_params *params)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return NULL;
    const conduit_endpoint *plain = endpoint_of(&address, len);
    if (plain == NULL || params->n == 0 || !cdt_key_in(params->list[0].key, plain->transport->keys))
        return plain;
    const conduit_endpoint *made =
        cdt_endpoint_transport(plain->transport, &plain->address.any, plain->host, params);
    conduit_endpoint_unref(plain);
    return made;
}

void cdt_socket_demand(struct cdt_path *path, const char *allow_uid)
{
    of(path->top)->allow_uid = allow_uid;
}

/* ---- accepting ---- */

static struct cdt_socket_acceptor *acceptor_of(struct cdt_acceptor *acceptor)
{
    return CDT_CONTAINER(acceptor, struct cdt_socket_acceptor, acceptor);
}

/* accept(2): errors of the connection that was waiting come out of the call as if they were the
 * listener's own. */
static bool only_that_one(int number)
{
    switch (number) {
    case ECONNABORTED:
    case EINTR:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case ETIMEDOUT:
        return true;
    default:
        return false;
    }
}

static int accept_socket(struct cdt_acceptor *acceptor, struct cdt_path *path, int *number)
{
    struct cdt_socket_acceptor *a = acceptor_of(acceptor);
    union cdt_address peer = {0};
    socklen_t len = sizeof(peer);
    int fd = accept4(a->watch.fd, &peer.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        *number = errno;
        if (errno == EAGAIN)
            return CONDUIT_EAGAIN;
        return only_that_one(errno) ? CONDUIT_ERESET : cdt_code_from_errno(errno);
    }
    *number = push(path, fd, &peer.any, len, false);
    if (*number != 0)
        return cdt_code_from_errno(*number);
    of(path->top)->allow_uid = a->allow_uid;
    return 0;
}

static bool peer_of(const struct cdt_path *path, struct cdt_who *who)
{
    const struct socket *s = CDT_CONTAINER(cdt_bytes(path->top), struct socket, layer);
    struct ucred user;
    socklen_t len = sizeof(user);
    *who = (struct cdt_who){.family = (unsigned char)s->peer.any.sa_family};
    switch (s->peer.any.sa_family) {
    case AF_INET:
        memcpy(who->bytes, &s->peer.in.sin_addr, sizeof(s->peer.in.sin_addr));
        return true;
    case AF_INET6:
        memcpy(who->bytes, &s->peer.in6.sin6_addr, 8);
        return true;
    case AF_UNIX:
        if (getsockopt(s->watch.fd, SOL_SOCKET, SO_PEERCRED, &user, &len) < 0)
            return false;
        memcpy(who->bytes, &user.uid, sizeof(user.uid));
        return true;
    default:
        return false;
    }
}

static void hang_up(int fd)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd);
}

static bool shed_socket(struct cdt_acceptor *acceptor)
{
    int fd = accept4(acceptor_of(acceptor)->watch.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        hang_up(fd);
    return fd >= 0;
}

static void on_acceptor_ready(struct cdt_watch *watch, unsigned events)
{
    struct cdt_socket_acceptor *a = CDT_CONTAINER(watch, struct cdt_socket_acceptor, watch);
    a->acceptor.ready(&a->acceptor);
}

static void want_connections(struct cdt_acceptor *acceptor, bool on)
{
    cdt_watch_want(&acceptor_of(acceptor)->watch, on ? CDT_READ : 0);
}

static void close_acceptor(struct cdt_acceptor *acceptor)
{
    struct cdt_socket_acceptor *a = acceptor_of(acceptor);
    cdt_watch_stop(&a->watch);
    close(a->watch.fd);
    if (a->closed != NULL)
        a->closed(a);
    conduit_endpoint_unref(acceptor->endpoint);
    conduit_free(a);
}

static int descriptor_of(const struct cdt_acceptor *acceptor)
{
    return CDT_CONTAINER(cdt_bytes(acceptor), struct cdt_socket_acceptor, acceptor)->watch.fd;
}

static const struct cdt_acceptor_ops acceptor_ops = {
    .accept = accept_socket,
    .who = peer_of,
    .shed = shed_socket,
    .want = want_connections,
    .close = close_acceptor,
    .descriptor = descriptor_of,
};

int cdt_socket_acceptor_start(struct cdt_socket_acceptor *made, conduit_ctx *ctx, int fd,
                              const conduit_endpoint *endpoint)
{
    int number = cdt_watch_start(&made->watch, ctx, fd, CDT_READ, on_acceptor_ready);
    if (number != 0)
        return number;
    made->watch.exact = true; /* that somebody waits has consequences: listen.c */
    made->acceptor.ops = &acceptor_ops;
    made->acceptor.ctx = ctx;
    made->acceptor.endpoint = endpoint;
    return 0;
}
