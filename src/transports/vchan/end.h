/* SPDX-License-Identifier: ISC */
/*
 * One end of a vchan as a layer: the ring, when to look at it, and a backing underneath.
 *
 * An end is awake or asleep. Awake it looks at the ring every turn of the loop, and nobody is asked
 * for a wake-up; asleep it has asked, has looked once more, and costs nothing until the backing
 * reports one. It stays awake for a moment after bytes have moved, as a wake-up takes as long as
 * hundreds of small messages; but only if this has been of use lately, and never on a machine, or
 * in a process, with one processor.
 *
 * The struct is the head of a backing's own, which frees it in the last close callback of its
 * handles; the ring's memory goes at once.
 */
#ifndef CDT_VCHAN_END_H
#define CDT_VCHAN_END_H

#include "context.h"
#include "layer.h"
#include "transports/vchan/ring.h"

struct cdt_vchan_end;

struct cdt_vchan_end_ops {
    /* Drive the rendezvous on: 0 when end->ring is attached, EAGAIN, or a negative code after
     * cdt_path_fail(). The backing calls path->ready() when there is a reason to call again. */
    int (*open)(struct cdt_vchan_end *end);
    /* Report wake-ups from now on, or do not. What was reported before is not lost. */
    void (*watch)(struct cdt_vchan_end *end, bool on);
    /* Take in what wake-ups were reported. The ring is looked at afterwards, so one that comes
     * in between is not lost. NULL: reporting one takes it in. */
    void (*silence)(struct cdt_vchan_end *end);
    /* The ring has been left, if there was one: release everything, at once and silently. */
    void (*close)(struct cdt_vchan_end *end);
    /* Who is at the other end. May be NULL. */
    void (*describe)(const struct cdt_vchan_end *end, struct cdt_facts *facts);
};

struct cdt_vchan_end {
    struct cdt_layer layer;
    const struct cdt_vchan_end_ops *ops;
    struct cdt_ring ring; /* .notify is set by the backing, before open() says 0 */
    struct cdt_task task; /* looks at the ring */
    conduit_ctx *ctx;
    unsigned wanted;
    bool open;
    bool *gone;        /* in the frame that serves it: it has been closed meanwhile */
    bool awake;        /* counted in ctx->vchans_awake */
    bool moving;       /* bytes have moved since it woke */
    unsigned spin_us;  /* how long to stay awake at most; 0: not at all */
    uint64_t until_ns; /* ... until then; 0: since just now */
    unsigned misses;   /* times in a row that staying awake was for nothing */
    unsigned skip;     /* wake-ups after which not to try it */
};

/* Put `end`, zeroed but for what is the backing's, at the bottom of `path`. */
void cdt_vchan_end_push(struct cdt_vchan_end *end, const struct cdt_vchan_end_ops *ops,
                        struct cdt_path *path, unsigned spin_us);

/* The one processor that this thread may run on, or UINT32_MAX if there are more. Where the peer
 * has the same one, looking keeps it from writing: spin_us is set to 0 then. */
uint32_t cdt_vchan_only_processor(void);

/* A wake-up has come, or end->ring.gone was set. The end may be gone when this returns. */
void cdt_vchan_end_woken(struct cdt_vchan_end *end);

#endif
