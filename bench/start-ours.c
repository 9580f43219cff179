/* SPDX-License-Identifier: ISC */
/*
 * What it takes to have a context and a listener without TLS and without a name: one line of JSON
 * with the seconds, and the bytes by which our resident memory that is no file grew.
 */
#include "usage.h"

#include <conduit/conduit.h>
#include <stdio.h>

static long anonymous_kib(void)
{
    char line[128];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    if (f == NULL)
        return 0;
    while (fgets(line, sizeof line, f) != NULL && sscanf(line, "RssAnon: %ld", &kib) != 1)
        ;
    fclose(f);
    return kib;
}

int main(void)
{
    static const conduit_handler nothing;
    conduit_listener *listener;
    long before = anonymous_kib();
    double at = usage_clock();
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    if (ctx == NULL ||
        conduit_listen(ctx, "tcp://127.0.0.1:0", NULL, &nothing, NULL, &listener) < 0)
        return conduit_ctx_perror(ctx, "start-ours");
    double seconds = usage_clock() - at;
    printf("{\"seconds\": %.6f, \"memory\": %ld}\n", seconds, (anonymous_kib() - before) * 1024);
    conduit_ctx_free(ctx);
    return 0;
}
