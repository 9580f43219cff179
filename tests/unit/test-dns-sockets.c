/* SPDX-License-Identifier: ISC */
/*
 * The sockets that c-ares is given: a channel with one question under way, and a name server that
 * says more than anybody wants to hear.
 */
#define CARES_NO_DEPRECATED 1
#include "../../resolvers/dns_sockets.h"
#include "support.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { JUNK = 3 * CDT_DNS_PACKETS };

static ares_channel channel;
static struct cdt_dns_allowance allowance;
static ares_socket_t client = ARES_SOCKET_BAD;
static int server, status = -1;

static void on_state(void *data, ares_socket_t fd, int readable, int writable)
{
    client = readable || writable ? fd : ARES_SOCKET_BAD;
}

static void on_reply(void *arg, int code, int timeouts, unsigned char *packet, int n)
{
    status = code;
}

static void open_channel(int flags)
{
    struct ares_options options = {.flags = flags, .sock_state_cb = on_state};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    char address[32];
    server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(server, (struct sockaddr *)&at, size), 0);
    cr_assert_eq(getsockname(server, (struct sockaddr *)&at, &size), 0);
    snprintf(address, sizeof(address), "127.0.0.1:%d", ntohs(at.sin_port));
    cr_assert_eq(ares_init_options(&channel, &options, ARES_OPT_FLAGS | ARES_OPT_SOCK_STATE_CB),
                 ARES_SUCCESS);
    cdt_dns_use_sockets(channel, &allowance);
    cr_assert_eq(ares_set_servers_ports_csv(channel, address), ARES_SUCCESS);
    ares_query(channel, "a.test", 1, 1, on_reply, NULL);
    cr_assert_neq(client, ARES_SOCKET_BAD);
}

static void close_channel(void)
{
    ares_destroy(channel);
    cr_expect_eq(client, ARES_SOCKET_BAD, "c-ares has let go of it");
    close(server);
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

static unsigned count_left(void)
{
    unsigned char packet[64];
    unsigned n = 0;
    while (recv(client, packet, sizeof(packet), MSG_DONTWAIT) > 0)
        n++;
    return n;
}

CDT_TEST(sockets, take_in_what_they_may_and_no_more)
{
    open_channel(0);
    send_junk();
    allowance.left = CDT_DNS_PACKETS;
    ares_process_fd(channel, client, ARES_SOCKET_BAD);
    cr_expect_eq(status, -1, "there is no answer yet, and no failure: %s", ares_strerror(status));
    unsigned n = JUNK - count_left();
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
    ares_process_fd(channel, ARES_SOCKET_BAD, client);
    cr_expect_neq(status, -1, "refused, and told at once");
    close_channel();
}
