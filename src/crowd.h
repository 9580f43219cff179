/* SPDX-License-Identifier: ISC */
/*
 * A crowd: those that a listener, or several that share their limits, has let in.
 *
 * Each guest is counted from accept to the end of its connection; while its layers shake hands it
 * is pending, too, at one of two gates: at the listener's ports, or at the places in shared memory
 * beside them, where only this machine's users come. Each has the whole limit, so neither keeps
 * the other out. Who is full accepts no more until somebody leaves; who comes too often from one
 * place is turned away. A place is an IPv4 address, the /64 of an IPv6 address (one host's, and
 * free for it to choose from), or the user of a unix socket.
 *
 * Counted: each guest and each listener holds a reference, for a connection outlives its listener.
 */
#ifndef CDT_CROWD_H
#define CDT_CROWD_H

#include "transport.h"
#include <stdbool.h>
#include <stdint.h>

struct cdt_crowd;
struct cdt_place;

enum cdt_gate { CDT_GATE_PORTS, CDT_GATE_BESIDE, CDT_GATES };

/* 0 is no limit. `pending` is that of each gate. */
struct cdt_crowd_limits {
    uint32_t connections, pending, of_place;
};

struct cdt_guest {
    struct cdt_crowd *crowd; /* NULL: counted nowhere */
    struct cdt_place *place; /* NULL: not counted by place */
    bool pending;
    uint8_t gate; /* enum cdt_gate */
};

/* `room` is called when a gate was full and is so no more, from wherever the last guest left:
 * it must not call back the user. NULL when out of memory. */
struct cdt_crowd *cdt_crowd_new(const struct cdt_crowd_limits *limits,
                                void (*room)(struct cdt_crowd *crowd, void *arg), void *arg);
struct cdt_crowd *cdt_crowd_ref(struct cdt_crowd *crowd);
void cdt_crowd_unref(struct cdt_crowd *crowd);

bool cdt_crowd_full(const struct cdt_crowd *crowd, enum cdt_gate gate);
bool cdt_crowd_counts_places(const struct cdt_crowd *crowd);
uint32_t cdt_crowd_size(const struct cdt_crowd *crowd);

/* Let in a pending guest from `who` (NULL: nobody knows). 0, CONDUIT_ELIMIT (too many from there)
 * or CONDUIT_ENOMEM. */
int cdt_crowd_enter(struct cdt_crowd *crowd, enum cdt_gate gate, const struct cdt_who *who,
                    struct cdt_guest *guest);
/* Its handshake is over. */
void cdt_guest_settle(struct cdt_guest *guest);
/* Idempotent; fine on a zeroed struct. */
void cdt_guest_leave(struct cdt_guest *guest);

#endif
