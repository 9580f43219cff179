/* SPDX-License-Identifier: ISC */
/* A bar on a terminal, for a body that takes a while; nothing elsewhere. */
#ifndef EXAMPLES_HTTP_PROGRESS_H
#define EXAMPLES_HTTP_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool shown;
    double began_ms, drawn_ms;
};

double http_now_ms(void);

/* `done` bytes are there, of `total`; 0 is unknown. Draws ten times a second, after half of one. */
void http_progress(struct progress *progress, uint64_t done, uint64_t total);
/* Leave the line as it was. */
void http_progress_end(struct progress *progress);

#endif
