/* SPDX-License-Identifier: ISC */
/*
 * The sockets of c-ares, made by ourselves: closed on exec from their first moment, without SIGPIPE,
 * and read a handful of packets at a time.
 *
 * c-ares reads as long as there is something. Who sends us packets faster than they are read would
 * keep it reading, and nobody would be told of an answer; and a server rests that could answer what
 * is asked next while what it said is looked at. With a limit for each look the rest waits for the
 * next turn of the loop.
 */
#ifndef CDT_DNS_SOCKETS_H
#define CDT_DNS_SOCKETS_H

#include <ares.h>

/* How many packets may still be received; the caller sets it before each ares_process_fd(). */
struct cdt_dns_allowance {
    unsigned left;
};

enum { CDT_DNS_PACKETS = 32 };

/* Have the channel use such sockets. The allowance outlives it. */
void cdt_dns_use_sockets(ares_channel channel, struct cdt_dns_allowance *allowance);

#endif
