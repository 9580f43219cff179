/* SPDX-License-Identifier: ISC */
/*
 * A resolver for walks: hosts that end in .walk lead to wires.
 *
 *   raw.walk, veil.walk, robot.walk   at once, to the wire of that name
 *   late.walk                         by addresses, in pieces and in any order, when the walk says
 */
#ifndef CDT_STRESS_NAMES_H
#define CDT_STRESS_NAMES_H

#include <conduit/resolver.h>

/* To be added to each context, in this order. */
extern const conduit_resolver cdt_names_at_once, cdt_names_late, cdt_names_later;

/* Some of the queries get some of their answer; in calm weather all of them all of it. */
void cdt_names_move(void);
unsigned cdt_names_count(void);

#endif
