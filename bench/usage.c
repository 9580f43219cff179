/* SPDX-License-Identifier: ISC */
/* Clocks and /proc: see usage.h. */
#include "usage.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static double seconds_of(clockid_t clock)
{
    struct timespec t = {0};
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double usage_clock(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

static double cpu_of(pid_t pid)
{
    clockid_t clock;
    return clock_getcpuclockid(pid, &clock) == 0 ? seconds_of(clock) : 0;
}

static double held_back(pid_t pid)
{
    char path[64];
    unsigned long long ran, waited = 0;
    snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%llu %llu", &ran, &waited) != 2)
        waited = 0;
    fclose(f);
    return (double)waited / 1e9;
}

struct usage usage_now(pid_t server)
{
    struct usage now = {.at = usage_clock(), .held_back = held_back(getpid())};
    if (server == 0)
        return now;
    now.server_cpu = cpu_of(server);
    now.held_back += held_back(server);
    return now;
}
