/* SPDX-License-Identifier: ISC */
/*
 * System calls for c-ares: dns_sockets.h says what is different about them.
 *
 * What is held, taken in or has failed belongs to a descriptor, and goes when c-ares closes it:
 * what was asked with it is then asked with another.
 */
#define CARES_NO_DEPRECATED 1
#include "dns_sockets.h"
#include <conduit/memory.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    HELD_SIZE = 8192, /* for some 80 usual questions, or 32 of the longest */
    TAKEN = 4,
    TAKEN_SIZE = 65536, /* the largest there is; pages that no packet fills are never touched */
};

/* To be sent, one behind the other. */
struct held {
    ares_socket_t fd;
    unsigned n;
    size_t size;
    struct iovec packets[CDT_DNS_PACKETS];
    uint8_t bytes[HELD_SIZE];
};

/* Received; c-ares has those before `next`. */
struct taken {
    ares_socket_t fd;
    unsigned n, next;
    struct {
        struct sockaddr_storage from;
        uint32_t from_size, size;
        uint8_t bytes[TAKEN_SIZE];
    } packets[TAKEN];
};

/* Held packets of one size on their way: the kernel gets them as one and cuts them apart. */
struct train {
    unsigned n;
    struct iovec bytes;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))]; /* the size */
};

struct cdt_dns_sockets {
    unsigned left; /* packets that may still be received at this look */
    bool couples;  /* the kernel cuts, as far as is known */
    ares_socket_t failed;
    int why; /* errno */
    struct held held;
    struct taken taken;
};

/* ---- descriptors */

/* To a kernel before 4.18 a train would be one packet. */
static bool knows_trains(int fd)
{
    int size;
    return getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, &(socklen_t){sizeof(size)}) == 0;
}

static ares_socket_t open_one(int family, int type, int protocol, void *user)
{
    struct cdt_dns_sockets *sockets = user;
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd >= 0 && type == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    else if (fd >= 0)
        sockets->couples = sockets->couples && knows_trains(fd);
    return fd;
}

static int close_one(ares_socket_t fd, void *user)
{
    struct cdt_dns_sockets *sockets = user;
    if (sockets->held.fd == fd) {
        sockets->held.fd = ARES_SOCKET_BAD;
        sockets->held.n = 0;
        sockets->held.size = 0;
    }
    if (sockets->taken.fd == fd)
        sockets->taken.n = sockets->taken.next = 0;
    if (sockets->failed == fd)
        sockets->failed = ARES_SOCKET_BAD;
    return close(fd);
}

static int connect_one(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t size, void *user)
{
    return connect(fd, to, size);
}

/* ---- receiving */

static bool take(struct taken *taken, ares_socket_t fd, unsigned most)
{
    struct mmsghdr messages[TAKEN];
    struct iovec pieces[TAKEN];
    for (unsigned i = 0; i < TAKEN; i++) {
        pieces[i] = (struct iovec){taken->packets[i].bytes, TAKEN_SIZE};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &taken->packets[i].from,
            .msg_namelen = sizeof(taken->packets[i].from),
            .msg_iov = &pieces[i],
            .msg_iovlen = 1,
        };
    }
    int n = recvmmsg(fd, messages, most < TAKEN ? most : TAKEN, 0, NULL);
    for (int i = 0; i < n; i++) {
        taken->packets[i].from_size = messages[i].msg_hdr.msg_namelen;
        taken->packets[i].size = messages[i].msg_len;
    }
    taken->fd = fd;
    taken->next = 0;
    taken->n = n > 0 ? (unsigned)n : 0;
    return n > 0;
}

static ares_ssize_t hand_over(struct taken *taken, void *buf, size_t size, struct sockaddr *from,
                              ares_socklen_t *from_size)
{
    unsigned i = taken->next++;
    size_t n = taken->packets[i].size;
    size_t from_n = taken->packets[i].from_size;
    memcpy(buf, taken->packets[i].bytes, n < size ? n : size);
    memcpy(from, &taken->packets[i].from, from_n < *from_size ? from_n : *from_size);
    *from_size = (ares_socklen_t)from_n;
    return (ares_ssize_t)(n < size ? n : size);
}

static int fail(int number)
{
    errno = number;
    return -1;
}

/* Only who asks whom it is from reads packets. */
static ares_ssize_t receive(ares_socket_t fd, void *buf, size_t size, int flags,
                            struct sockaddr *from, ares_socklen_t *from_size, void *user)
{
    struct cdt_dns_sockets *sockets = user;
    struct taken *taken = &sockets->taken;
    if (sockets->failed == fd) {
        sockets->failed = ARES_SOCKET_BAD;
        return fail(sockets->why);
    }
    if (sockets->left == 0)
        return fail(EAGAIN);
    if (from == NULL) {
        sockets->left--;
        return recv(fd, buf, size, flags);
    }
    if ((taken->fd != fd || taken->next == taken->n) && !take(taken, fd, sockets->left))
        return -1;
    sockets->left--;
    return hand_over(taken, buf, size, from, from_size);
}

/* c-ares may stop before it has all that was taken in, and nothing else would wake it up. */
void cdt_dns_sockets_process(struct cdt_dns_sockets *sockets, ares_channel channel,
                             ares_socket_t readable, ares_socket_t writable)
{
    const struct taken *taken = &sockets->taken;
    unsigned before;
    sockets->left = CDT_DNS_PACKETS;
    sockets->taken.n = sockets->taken.next = 0;
    do {
        before = sockets->left;
        ares_process_fd(channel, readable, writable);
        writable = ARES_SOCKET_BAD;
    } while (taken->next < taken->n && sockets->left < before);
}

/* ---- sending */

/* From `first` on. */
static unsigned count_alike(const struct held *held, unsigned first)
{
    unsigned end = first + 1;
    while (end < held->n && held->packets[end].iov_len == held->packets[first].iov_len)
        end++;
    return end - first;
}

static struct msghdr couple(struct train *train, const struct iovec *packets, unsigned n)
{
    const uint16_t size = (uint16_t)packets->iov_len;
    train->n = n;
    train->bytes = (struct iovec){packets->iov_base, n * packets->iov_len};
    struct msghdr message = {.msg_iov = &train->bytes, .msg_iovlen = 1};
    if (n == 1)
        return message;
    message.msg_control = train->control;
    message.msg_controllen = CMSG_LEN(sizeof(size));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){
        .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(sizeof(size))};
    memcpy(CMSG_DATA(header), &size, sizeof(size));
    return message;
}

/* How many packets were sent, or -1. */
static int send_trains(const struct held *held, unsigned from, bool couples)
{
    struct train trains[CDT_DNS_PACKETS];
    struct mmsghdr messages[CDT_DNS_PACKETS];
    unsigned n = 0, n_packets = 0;
    for (unsigned at = from; at < held->n; at += trains[n++].n) {
        unsigned n_alike = couples ? count_alike(held, at) : 1;
        messages[n].msg_hdr = couple(&trains[n], &held->packets[at], n_alike);
    }
    int sent = sendmmsg(held->fd, messages, n, MSG_NOSIGNAL);
    for (int i = 0; i < sent; i++)
        n_packets += trains[i].n;
    return sent < 0 ? sent : (int)n_packets;
}

/* What the kernel says where it cannot cut: IPsec, say, or an interface without checksums. */
static bool is_about_trains(int number)
{
    return number == EIO || number == EINVAL || number == EMSGSIZE;
}

static int send_some(struct cdt_dns_sockets *sockets, unsigned from)
{
    int n = send_trains(&sockets->held, from, sockets->couples);
    if (n >= 0 || !sockets->couples || !is_about_trains(errno))
        return n;
    sockets->couples = false;
    return send_trains(&sockets->held, from, false);
}

/* Of what is held those from `first` on. */
static void keep(struct held *held, unsigned first)
{
    held->n -= first;
    memmove(held->packets, held->packets + first, held->n * sizeof(held->packets[0]));
    if (held->n == 0)
        held->size = 0;
}

bool cdt_dns_sockets_send(struct cdt_dns_sockets *sockets)
{
    struct held *held = &sockets->held;
    unsigned sent = 0;
    int n = 0;
    while (sent < held->n && (n = send_some(sockets, sent)) > 0)
        sent += (unsigned)n;
    if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
        sockets->failed = held->fd;
        sockets->why = errno;
        sent = held->n;
    }
    keep(held, sent);
    return held->n == 0;
}

ares_socket_t cdt_dns_sockets_failed(const struct cdt_dns_sockets *sockets)
{
    return sockets->failed;
}

static bool is_for_packets(ares_socket_t fd)
{
    int type = 0;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof(type)}) == 0 &&
           type == SOCK_DGRAM;
}

/* Room for a packet of that size on this socket? Not before c-ares knows of a failure, so that one
 * is all there is to remember. */
static bool make_room(struct cdt_dns_sockets *sockets, ares_socket_t fd, size_t size)
{
    struct held *held = &sockets->held;
    bool full = held->n == CDT_DNS_PACKETS || held->size + size > HELD_SIZE;
    if (size > HELD_SIZE || (held->fd != fd && !is_for_packets(fd)))
        return false;
    if ((full || held->fd != fd) && !cdt_dns_sockets_send(sockets))
        return false;
    held->fd = fd;
    return sockets->failed == ARES_SOCKET_BAD;
}

static void hold(struct held *held, const struct iovec *pieces, int n)
{
    uint8_t *packet = held->bytes + held->size;
    size_t size = 0;
    for (int i = 0; i < n; i++) {
        memcpy(packet + size, pieces[i].iov_base, pieces[i].iov_len);
        size += pieces[i].iov_len;
    }
    held->packets[held->n++] = (struct iovec){packet, size};
    held->size += size;
}

static ares_ssize_t send_all(ares_socket_t fd, const struct iovec *pieces, int n, void *user)
{
    struct cdt_dns_sockets *sockets = user;
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)pieces, .msg_iovlen = (size_t)n};
    size_t size = 0;
    for (int i = 0; i < n; i++)
        size += pieces[i].iov_len;
    if (!make_room(sockets, fd, size))
        return sendmsg(fd, &message, MSG_NOSIGNAL);
    hold(&sockets->held, pieces, n);
    return (ares_ssize_t)size;
}

/* ---- */

struct cdt_dns_sockets *cdt_dns_sockets_new(void)
{
    struct cdt_dns_sockets *sockets = conduit_malloc(sizeof(*sockets));
    if (sockets == NULL)
        return NULL;
    sockets->failed = sockets->held.fd = sockets->taken.fd = ARES_SOCKET_BAD;
    sockets->held.n = 0;
    sockets->held.size = 0;
    sockets->taken.n = sockets->taken.next = 0;
    sockets->left = 0;
    sockets->couples = true;
    return sockets;
}

void cdt_dns_sockets_free(struct cdt_dns_sockets *sockets)
{
    conduit_free(sockets);
}

void cdt_dns_use_sockets(ares_channel channel, struct cdt_dns_sockets *sockets)
{
    static const struct ares_socket_functions functions = {
        .asocket = open_one,
        .aclose = close_one,
        .aconnect = connect_one,
        .arecvfrom = receive,
        .asendv = send_all,
    };
    ares_set_socket_functions(channel, &functions, sockets);
}
