/* SPDX-License-Identifier: ISC */
/* The bar: progress.h. */
#include "progress.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WIDTH = 40, BEGIN_MS = 500, EVERY_MS = 100 };

double http_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void draw(double took_ms, double done, double total)
{
    char bar[WIDTH + 1];
    double speed = done / 1e3 / took_ms, part = total > 0 ? done / total : 0;
    part = part > 1 ? 1 : part;
    int full = (int)(part * WIDTH);
    memset(bar, ' ', WIDTH);
    memset(bar, '=', (size_t)full);
    bar[WIDTH] = '\0';
    if (total > 0)
        fprintf(stderr, "\r[%s] %3.0f%%  %.1f MB  %.1f MB/s  %.0f s left \033[K", bar, part * 100,
                done / 1e6, speed, part > 0 ? took_ms / 1e3 * (1 - part) / part : 0);
    else
        fprintf(stderr, "\r%.1f MB  %.1f MB/s \033[K", done / 1e6, speed);
}

void http_progress(struct progress *progress, uint64_t done, uint64_t total)
{
    double now = http_now_ms();
    if (progress->began_ms == 0)
        progress->began_ms = progress->drawn_ms = now;
    if (now - progress->began_ms < BEGIN_MS || now - progress->drawn_ms < EVERY_MS)
        return;
    progress->drawn_ms = now;
    progress->shown = true;
    draw(now - progress->began_ms, (double)done, (double)total);
}

void http_progress_end(struct progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
}
