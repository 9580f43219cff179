/* SPDX-License-Identifier: ISC */
/* Streams of splitmix64: chance.h says what for. */
#include "chance.h"

static uint64_t state;

static uint64_t next(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

void cdt_chance_begin(uint64_t seed, unsigned step)
{
    state = seed;
    state = next() + step;
    next();
}

unsigned cdt_chance(unsigned n)
{
    return (unsigned)(next() % n);
}

bool cdt_rarely(unsigned n)
{
    return cdt_chance(n) == 0;
}
