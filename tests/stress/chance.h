/* SPDX-License-Identifier: ISC */
/*
 * Chance that can be had again: every decision of a walk comes from here, and from one number.
 *
 * A walk is steps, and each step draws from a stream of its own, which comes from the walk's seed
 * and the step's number. So a step decides the same whether or not those before it are left out,
 * which is what makes a failing walk easy to shrink.
 */
#ifndef CDT_STRESS_CHANCE_H
#define CDT_STRESS_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

/* Begin the stream of `step` of the walk `seed`. */
void cdt_chance_begin(uint64_t seed, unsigned step);
/* 0 to n - 1. */
unsigned cdt_chance(unsigned n);
/* True once in `n` times. */
bool cdt_rarely(unsigned n);

#endif
