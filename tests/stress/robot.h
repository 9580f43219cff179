/* SPDX-License-Identifier: ISC */
/*
 * Robots: peers that are none of the library's. Each holds the far end of a wire and does there
 * what a peer may do at any moment: speaks, listens or does not, ends its direction, breaks off.
 * A robot is a party, so that what it sends and gets is checked like anybody's.
 */
#ifndef CDT_STRESS_ROBOT_H
#define CDT_STRESS_ROBOT_H

#include <stdbool.h>

struct cdt_wire_end;

/* A robot takes `end`. False: there are enough. */
bool cdt_robot_new(struct cdt_wire_end *end);
/* Each does something; in calm weather: listens, and ends when its peer has. */
void cdt_robots_move(void);
/* All hang up. */
void cdt_robots_leave(void);
unsigned cdt_robots_count(void);

#endif
