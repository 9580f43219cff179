/* SPDX-License-Identifier: ISC */
/*
 * Readiness of descriptors: an epoll set for each context, which its loop sees as one descriptor.
 *
 * libuv tries each descriptor out when it is first polled, and deletes what is not there each time
 * that its interest changes: six system calls for a connection. A watch costs two.
 *
 * A watch is a part of its owner's struct, from cdt_watch_start() to cdt_watch_stop(), which comes
 * before the descriptor is closed: one that somebody else holds as well would stay in the set. From
 * then on nothing is called, not even if its event is at hand already, so the owner may free the
 * struct at once. A watch does not keep the loop running.
 */
#ifndef CDT_WATCH_H
#define CDT_WATCH_H

#include "layer.h"
#include <stdbool.h>
#include <uv.h>

struct epoll_event;

struct cdt_watch {
    void (*ready)(struct cdt_watch *watch, unsigned events); /* CDT_READ | CDT_WRITE */
    conduit_ctx *ctx;
    int fd;
    unsigned char wanted; /* by the owner */
    unsigned char armed;  /* what the set reports */
    bool exact;           /* the owner's: ready() means that there is something, and is no guess */
};

/* The set of a context, made when there is something to watch. */
struct cdt_watches {
    uv_poll_t poll;
    int fd;
    bool open;
    struct epoll_event *batch; /* at hand, while it is worked off */
    int n_batch;
    struct cdt_watch *lone; /* the last one that was ready all by itself; or NULL */
    unsigned times;         /* ... in a row */
    unsigned guesses;       /* ... that it is ready again, before the set is asked; 0 without it */
    bool missed;            /* the last one was not worth it */
};

/* Watch over `fd`; nothing is wanted as yet, and `likely` is what will be: wanting that costs no
 * further call. `ready` is called from the loop. 0 or an errno: EEXIST if the context watches over
 * it already, EPERM if it is of a kind that cannot be watched. */
int cdt_watch_start(struct cdt_watch *watch, conduit_ctx *ctx, int fd, unsigned likely,
                    void (*ready)(struct cdt_watch *watch, unsigned events));

/* Report these from now on, and no others; an error on the descriptor is reported as both, if
 * anything is wanted at all. */
void cdt_watch_want(struct cdt_watch *watch, unsigned events);

/* There was nothing to read, against what was reported: which is as good as known when one watch is
 * ready time and again, and is then said without asking the kernel. Whose owner does not call this
 * is `exact`. Or there was so much that it is time to ask who else is ready. */
void cdt_watch_missed(conduit_ctx *ctx);

/* Before the descriptor is closed. */
void cdt_watch_stop(struct cdt_watch *watch);

/* The end of the set, when nothing is watched any more. */
void cdt_watches_close(conduit_ctx *ctx);

#endif
