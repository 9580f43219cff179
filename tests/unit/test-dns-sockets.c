/* SPDX-License-Identifier: ISC */
/*
 * The sockets that c-ares is given: a channel with one question under way or some, a name server
 * that does nothing by itself and may be gone, and a kernel that fails where the test says so
 * (sendmmsg() here takes the place of the C library's).
 */
#define CARES_NO_DEPRECATED 1
#include "../../resolvers/dns_sockets.h"
#include "support.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { JUNK = 3 * CDT_DNS_PACKETS };

static ares_channel channel;
static struct cdt_dns_sockets *sockets;
static ares_socket_t client = ARES_SOCKET_BAD;
static int server, status = -1, n_replies;

static struct {
    int failure;    /* errno; 0: none */
    int clumsiness; /* errno when it is to cut packets apart; 0: it can */
    unsigned most;  /* messages that are sent at a time; 0: all */
    unsigned n_calls, n_messages;
} kernel;

static int find_failure(const struct mmsghdr *messages, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (messages[i].msg_hdr.msg_controllen > 0 && kernel.clumsiness != 0)
            return kernel.clumsiness;
    return kernel.failure;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags)
{
    int failure = find_failure(messages, n);
    kernel.n_calls++;
    kernel.n_messages += n;
    if (failure != 0) {
        errno = failure;
        return -1;
    }
    return (int)syscall(SYS_sendmmsg, fd, messages,
                        kernel.most != 0 && n > kernel.most ? kernel.most : n, flags);
}

static void on_state(void *data, ares_socket_t fd, int readable, int writable)
{
    if (readable || writable)
        client = fd;
    else if (client == fd) /* newer c-ares opens the next one before it closes this one */
        client = ARES_SOCKET_BAD;
}

static void on_reply(void *arg, int code, int timeouts, unsigned char *packet, int n)
{
    status = code;
    n_replies++;
}

/* A socket that is there and takes what is sent. */
static int listen_at(char *address, size_t room)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, size), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    snprintf(address, room, "127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}

static void open_channel(int flags)
{
    struct ares_options options = {.flags = flags, .tries = 2, .sock_state_cb = on_state};
    int mask = ARES_OPT_FLAGS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    char address[32];
    server = listen_at(address, sizeof(address));
    cr_assert_eq(ares_init_options(&channel, &options, mask), ARES_SUCCESS);
    sockets = cdt_dns_sockets_new();
    cr_assert_not_null(sockets);
    cdt_dns_use_sockets(channel, sockets);
    cr_assert_eq(ares_set_servers_ports_csv(channel, address), ARES_SUCCESS);
    ares_query(channel, "a.test", 1, 1, on_reply, NULL);
    cr_assert_neq(client, ARES_SOCKET_BAD);
}

/* With questions more, so that there are `n`. */
static void ask(int n)
{
    char name[32];
    for (int i = 1; i < n; i++) {
        snprintf(name, sizeof(name), "a%d.test", i);
        ares_query(channel, name, 1, 1, on_reply, NULL);
    }
}

/* The same with packets of which no two have the same size. */
static void ask_unlike(int n)
{
    static const char letters[] = "aaaaaaaaaaaaaaaaaaaa";
    char name[32];
    for (int i = 1; i < n; i++) {
        snprintf(name, sizeof(name), "%.*s.test", i + 1, letters);
        ares_query(channel, name, 1, 1, on_reply, NULL);
    }
}

static void close_channel(void)
{
    ares_destroy(channel);
    cr_expect_eq(client, ARES_SOCKET_BAD, "c-ares has let go of it");
    cr_expect(cdt_dns_sockets_send(sockets));
    cr_expect_eq(cdt_dns_sockets_failed(sockets), ARES_SOCKET_BAD);
    cdt_dns_sockets_free(sockets);
    close(server);
}

/* Packets that came to the socket. */
static unsigned count(int fd)
{
    unsigned char packet[512];
    unsigned n = 0;
    while (recv(fd, packet, sizeof(packet), MSG_DONTWAIT) > 0)
        n++;
    return n;
}

/* Packets with an id that nobody asked with. */
static void send_junk(void)
{
    unsigned char packet[64];
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    ssize_t n = recvfrom(server, packet, sizeof(packet), 0, (struct sockaddr *)&from, &size);
    cr_assert_gt(n, 12);
    packet[0] ^= 0xff;
    packet[2] = 0x81;
    for (int i = 0; i < JUNK; i++)
        cr_assert_eq(sendto(server, packet, (size_t)n, 0, (struct sockaddr *)&from, size), n);
}

CDT_TEST(sockets, take_in_what_they_may_and_no_more)
{
    open_channel(0);
    cr_assert(cdt_dns_sockets_send(sockets));
    send_junk();
    cdt_dns_sockets_process(sockets, channel, client, ARES_SOCKET_BAD);
    cr_expect_eq(status, -1, "there is no answer yet, and no failure: %s", ares_strerror(status));
    unsigned n = JUNK - count(client);
    cr_expect(n > 0 && n <= CDT_DNS_PACKETS, "%u packets were taken in", n);
    close_channel();
}

CDT_TEST(sockets, are_closed_on_exec_and_never_wait)
{
    open_channel(0);
    cr_expect(fcntl(client, F_GETFD) & FD_CLOEXEC);
    cr_expect(fcntl(client, F_GETFL) & O_NONBLOCK);
    close_channel();
    open_channel(ARES_FLAG_USEVC); /* TCP, where nobody listens */
    cdt_dns_sockets_process(sockets, channel, ARES_SOCKET_BAD, client);
    cr_expect_neq(status, -1, "refused, and told at once");
    close_channel();
}

CDT_TEST(sockets, send_together_what_is_sent_in_a_turn)
{
    open_channel(0);
    ask(5);
    cr_expect_eq(count(server), 0, "nothing is sent yet");
    cr_expect(cdt_dns_sockets_send(sockets));
    cr_expect_eq(count(server), 5);
    cr_expect_eq(kernel.n_calls, 1);
    close_channel();
}

/* "a.test", and then "aN.test". */
static void expect_questions(unsigned n)
{
    enum { LABEL = 12 };
    unsigned char packet[512];
    for (unsigned i = 0; i < n; i++) {
        ssize_t size = recv(server, packet, sizeof(packet), MSG_DONTWAIT);
        cr_expect_eq(size, i == 0 ? 24 : 25, "question %u has %zd bytes", i, size);
        cr_expect_eq(packet[LABEL], i == 0 ? 1 : 2);
        cr_expect(i == 0 || packet[LABEL + 2] == '0' + i, "they come in order");
    }
    cr_expect_eq(count(server), 0);
}

CDT_TEST(sockets, couple_what_has_the_same_size)
{
    open_channel(0);
    ask(5);
    cr_expect(cdt_dns_sockets_send(sockets));
    expect_questions(5);
    cr_expect_eq(kernel.n_messages, 2, "one, and four of another size");
    close_channel();
}

static void cannot_cut(int failure)
{
    open_channel(0);
    kernel.clumsiness = failure;
    ask(5);
    cr_expect(cdt_dns_sockets_send(sockets));
    cr_expect_eq(cdt_dns_sockets_failed(sockets), ARES_SOCKET_BAD, "it is no failure");
    expect_questions(5);
    cr_expect_eq(kernel.n_calls, 2, "it was tried");
    ares_query(channel, "b.test", 1, 1, on_reply, NULL);
    ares_query(channel, "c.test", 1, 1, on_reply, NULL);
    cr_expect(cdt_dns_sockets_send(sockets));
    cr_expect_eq(count(server), 2);
    cr_expect_eq(kernel.n_calls, 3, "and is not tried again");
    close_channel();
}

CDT_TEST(sockets, go_without_where_the_kernel_cannot_cut)
{
    cannot_cut(EIO);
}

CDT_TEST(sockets, go_without_where_the_way_is_too_narrow_to_cut)
{
    cannot_cut(EINVAL);
}

CDT_TEST(sockets, do_not_hold_more_than_they_can)
{
    enum { MANY = 3 * CDT_DNS_PACKETS + 1 };
    open_channel(0);
    ask(MANY);
    cr_expect_eq(count(server), MANY - 1, "those before it made room");
    cr_expect(cdt_dns_sockets_send(sockets));
    cr_expect_eq(count(server), 1);
    close_channel();
}

CDT_TEST(sockets, send_the_rest_when_the_kernel_took_a_part)
{
    open_channel(0);
    ask_unlike(5);
    kernel.most = 2;
    cr_expect(cdt_dns_sockets_send(sockets));
    cr_expect_eq(count(server), 5);
    cr_expect_eq(kernel.n_calls, 3);
    close_channel();
}

CDT_TEST(sockets, keep_what_the_kernel_has_no_room_for)
{
    open_channel(0);
    ask(5);
    kernel.failure = EAGAIN;
    cr_expect(!cdt_dns_sockets_send(sockets), "that there is something left is told");
    cr_expect_eq(cdt_dns_sockets_failed(sockets), ARES_SOCKET_BAD, "it is no failure");
    cr_expect_eq(count(server), 0);
    kernel.failure = 0;
    cr_expect(cdt_dns_sockets_send(sockets));
    cr_expect_eq(count(server), 5);
    close_channel();
}

CDT_TEST(sockets, lose_nothing_when_they_are_full_and_so_is_the_kernel)
{
    open_channel(0);
    kernel.failure = EAGAIN;
    ask(CDT_DNS_PACKETS + 3);
    kernel.failure = 0;
    cr_expect_eq(count(server), 3, "sent at once, for there is no other way");
    cr_expect(cdt_dns_sockets_send(sockets));
    cr_expect_eq(count(server), CDT_DNS_PACKETS);
    close_channel();
}

CDT_TEST(sockets, drop_what_is_held_for_one_that_is_closed)
{
    open_channel(0);
    ask(5);
    ares_cancel(channel);
    ares_destroy(channel);
    cr_expect_eq(n_replies, 5);
    cr_expect(cdt_dns_sockets_send(sockets));
    cr_expect_eq(count(server), 0);
    cr_expect_eq(kernel.n_calls, 0);
    cdt_dns_sockets_free(sockets);
    close(server);
}

/* Until c-ares has tried as often as it does. */
static unsigned fail_all(void)
{
    unsigned n = 0;
    while (n_replies < 3 && n < 20) {
        cr_expect(cdt_dns_sockets_send(sockets), "what has failed is not kept");
        cr_expect_eq(cdt_dns_sockets_failed(sockets),
                     kernel.failure != 0 ? client : ARES_SOCKET_BAD);
        cdt_dns_sockets_process(sockets, channel, client, ARES_SOCKET_BAD);
        n++;
    }
    return n;
}

static void fail_with(int failure)
{
    open_channel(0);
    ask(3);
    kernel.failure = failure;
    cr_expect_eq(fail_all(), 2, "as often as c-ares tries");
    cr_expect_eq(n_replies, 3, "all know");
    cr_expect_eq(status, ARES_ECONNREFUSED, "%s", ares_strerror(status));
    cr_expect_eq(count(server), 0);
    close_channel();
}

CDT_TEST(sockets, tell_c_ares_that_sending_failed)
{
    fail_with(ENETUNREACH);
}

CDT_TEST(sockets, tell_c_ares_that_sending_was_forbidden)
{
    fail_with(EPERM);
}

/* The kernel hears of it after each packet, and the last time it is still there to be read. */
CDT_TEST(sockets, tell_c_ares_that_nobody_is_there)
{
    open_channel(0);
    ask(3);
    close(server);
    cr_expect_eq(fail_all(), 2, "as often as c-ares tries");
    cr_expect_eq(n_replies, 3, "all know");
    cr_expect_eq(status, ARES_ECONNREFUSED, "%s", ares_strerror(status));
    server = -1;
    close_channel();
}

CDT_TEST(sockets, let_c_ares_ask_the_next_server)
{
    char address[32], servers[64];
    open_channel(0);
    ares_cancel(channel);
    int next = listen_at(address, sizeof(address));
    snprintf(servers, sizeof(servers), "127.0.0.1:1,%s", address);
    cr_assert_eq(ares_set_servers_ports_csv(channel, servers), ARES_SUCCESS);
    n_replies = 0;
    ask(3);
    cr_expect(cdt_dns_sockets_send(sockets));
    cdt_dns_sockets_process(sockets, channel, client, ARES_SOCKET_BAD);
    cr_expect(cdt_dns_sockets_send(sockets));
    cr_expect_eq(count(next), 2);
    cr_expect_eq(n_replies, 0);
    close(next);
    close_channel();
}
