/* SPDX-License-Identifier: ISC */
/* What the programs connect-*.c share: connect.h. */
#include "connect.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double in_seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return in_seconds(used.ru_utime) + in_seconds(used.ru_stime);
}

static void parse(const char *uri, struct connect_to *ret)
{
    static char host[128];
    char scheme[4];
    if (sscanf(uri, "%3[a-z]://%127[^:]:%u", scheme, host, &ret->port) != 3)
        errx(2, "%s: not tcp://NAME:PORT or tls://NAME:PORT", uri);
    ret->uri = uri;
    ret->host = host;
    ret->tls = strcmp(scheme, "tls") == 0;
}

static void measure(long times)
{
    connect_once(); /* names are looked up, trust is loaded */
    double seconds = clock_seconds(), cpu = cpu_seconds();
    for (long i = 0; i < times; i++)
        connect_once();
    printf("{\"connects\": %ld, \"seconds\": %.6f, \"cpu\": %.6f}\n", times,
           clock_seconds() - seconds, cpu_seconds() - cpu);
}

int connect_main(int argc, char **argv)
{
    struct connect_to to = {0};
    if (argc != 6)
        errx(2, "usage: %s URI TIMES ANCHOR ADDRESS SERVER", argv[0]);
    parse(argv[1], &to);
    to.anchor = argv[3];
    to.address = argv[4];
    to.server = argv[5];
    connect_begin(&to);
    measure(strtol(argv[2], NULL, 10));
    return 0;
}
