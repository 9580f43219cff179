/* SPDX-License-Identifier: ISC */
/*
 * The sockets of c-ares, made by ourselves: closed on exec from their first moment, without
 * SIGPIPE, read a handful of packets at a time, and with fewer system calls.
 *
 * c-ares reads as long as there is something. Who sends us packets faster than they are read would
 * keep it reading, and nobody would be told of an answer; and a server rests that could answer what
 * is asked next while what it said is looked at. With a limit for each look the rest waits for the
 * next turn of the loop.
 *
 * Packets of one socket at a time are held, until that limit or until cdt_dns_sockets_send(), and
 * go with one call; several are taken in with one. Those of one size, as A and AAAA of a name are,
 * go through the kernel as one, which cuts them apart at its end (UDP_SEGMENT). What fails then is
 * told c-ares where it next reads from that socket. Streams are not held. The sockets of several
 * channels may share this.
 */
#ifndef CDT_DNS_SOCKETS_H
#define CDT_DNS_SOCKETS_H

#include <ares.h>
#include <stdbool.h>

enum { CDT_DNS_PACKETS = 32 }; /* that are received at one look, and held to be sent */

struct cdt_dns_sockets;

/* NULL when out of memory. */
struct cdt_dns_sockets *cdt_dns_sockets_new(void);
/* After every channel that uses it. NULL is nothing. */
void cdt_dns_sockets_free(struct cdt_dns_sockets *sockets);
/* Have the channel use such sockets. */
void cdt_dns_use_sockets(ares_channel channel, struct cdt_dns_sockets *sockets);

/* Have c-ares look at what can be read, or written: ARES_SOCKET_BAD for nothing. */
void cdt_dns_sockets_process(struct cdt_dns_sockets *sockets, ares_channel channel,
                             ares_socket_t readable, ares_socket_t writable);
/* Send what is held; not from within c-ares. False: the kernel has no room for all of it now. */
bool cdt_dns_sockets_send(struct cdt_dns_sockets *sockets);
/* A socket with a failure that c-ares has not been told, for cdt_dns_sockets_process(); or
 * ARES_SOCKET_BAD. */
ares_socket_t cdt_dns_sockets_failed(const struct cdt_dns_sockets *sockets);

#endif
