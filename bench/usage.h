/* SPDX-License-Identifier: ISC */
/*
 * What the kernel knows of a run: the time, what the server used of a processor, and how long the
 * two of us were ready to run and had to wait for one. Taken twice, the difference is the run's.
 */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <sys/types.h>

/* All in seconds. */
struct usage {
    double at;
    double server_cpu;
    double held_back; /* 0 where the kernel does not count it */
};

double usage_clock(void);

/* `server` 0: nothing is known of it. */
struct usage usage_now(pid_t server);

#endif
