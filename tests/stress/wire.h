/* SPDX-License-Identifier: ISC */
/*
 * A network in memory that does what networks do: a transport for tests.
 *
 * A wire has two ends. What is written at one is on its way until the network moves, and then may
 * be read at the other; reads and writes come out short or not at all, connects hang, directions
 * end, either end breaks at any moment. Nothing but cdt_chance() decides, and nothing happens by
 * itself: the walk moves the network. In calm weather all of it works as it should.
 *
 * An end belongs to a path of the library, waits in an acceptor, or is a robot's: a peer that is
 * none of the library's. Every end is in one list until it is closed.
 */
#ifndef CDT_STRESS_WIRE_H
#define CDT_STRESS_WIRE_H

#include "transport.h"

struct cdt_wire_end;
struct cdt_robot;

/* Endpoints by name: bare, and with the layer of veil.h over it. */
extern const struct cdt_transport cdt_wire, cdt_veiled_wire;
/* Endpoints by address; the last byte of it says what comes of dialling: see enum cdt_fate. */
extern const struct cdt_transport cdt_wire_by_address;

enum cdt_fate { CDT_REACHES_RAW, CDT_REACHES_ROBOT, CDT_NEVER, CDT_REFUSED, CDT_REFUSED_LATE };

/* No trouble from now on, and what is sent arrives when the network moves. */
extern bool cdt_calm;

/* Bytes arrive, connects complete, ends and breaks are seen. */
void cdt_wire_move(void);
/* Break something: one end, chosen by chance. */
void cdt_wire_trouble(void);
/* How many ends there are. */
unsigned cdt_wire_count(void);

/* For robots, which own their end: as the calls of a socket. -1 is an error or nothing. */
long cdt_wire_get(struct cdt_wire_end *end, unsigned char *buf, size_t size);
long cdt_wire_put(struct cdt_wire_end *end, const unsigned char *data, size_t n);
void cdt_wire_finish(struct cdt_wire_end *end);
void cdt_wire_close(struct cdt_wire_end *end, bool reset);
/* Has the other end ended its direction, after all that has been got; is nobody there any more? */
bool cdt_wire_ended(const struct cdt_wire_end *end);
bool cdt_wire_alone(const struct cdt_wire_end *end);

#endif
