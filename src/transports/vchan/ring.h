/* SPDX-License-Identifier: ISC */
/*
 * The ring: two byte streams through one piece of memory that two domains, or two processes, share.
 *
 * The layout is libxenvchan's, byte for byte (xen/io/libxenvchan.h), so that either end may be its
 * program. This module is pure: it knows memory, a way to wake the peer, and what it is told of the
 * peer's death. Where the memory comes from and how a wake-up travels is a backing's affair
 * (backing.h), and so both ends run in one test process.
 *
 * The peer is hostile. What it writes is read once and checked; our own counters are kept here and
 * only published there, so that whatever it scribbles, nothing outside of the two rings is touched.
 *
 * An end is good from cdt_ring_attach() until its memory is unmapped; it owns nothing.
 */
#ifndef CDT_VCHAN_RING_H
#define CDT_VCHAN_RING_H

#include "transports/vchan/copy.h"
#include <conduit/error.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum {
    CDT_RING_PAGE = 4096,
    CDT_RING_MIN_ORDER = 10, /* 1 KiB: at byte 1024 of the page; 2 KiB: at byte 2048 */
    CDT_RING_MAX_ORDER = 20, /* 1 MiB; from 4 KiB on in pages of its own */
    CDT_RING_MIN = 1 << CDT_RING_MIN_ORDER,
    CDT_RING_MAX = 1 << CDT_RING_MAX_ORDER,
};

/* What can be waited for. The values are those of the notify bytes, and of layer.h. */
enum {
    CDT_RING_DATA = 1, /* "tell me when you have written" */
    CDT_RING_ROOM = 2, /* "tell me when you have read" */
};

/* Of the live bytes. */
enum { CDT_RING_GONE = 0, CDT_RING_LIVE = 1, CDT_RING_AWAITED = 2 };

/* How far one direction has come: free-running, the place is the counter modulo the size. */
struct cdt_ring_counters {
    _Atomic uint32_t cons, prod;
};

/* The shared page. The server makes it; the client finds it. */
struct cdt_ring_page {
    struct cdt_ring_counters left;  /* the client writes, the server reads */
    struct cdt_ring_counters right; /* the server writes, the client reads */
    _Atomic uint16_t left_order, right_order;
    _Atomic uint8_t cli_live, srv_live;
    _Atomic uint8_t cli_notify, srv_notify; /* each is asked for by the other end */
    _Atomic uint32_t grants[]; /* of left's pages, then of right's; ours after them: ring.c */
};

struct cdt_ring_shape {
    unsigned left_order, right_order;
};

/* One direction, as one end sees it. */
struct cdt_ring_way {
    struct cdt_ring_counters *shared;
    unsigned char *bytes;
    uint32_t size;
    uint32_t ours;            /* our counter; that in the page is for the peer to read */
    uint32_t theirs;          /* the peer's, as it was last read and found possible */
    struct cdt_copier copier; /* of what is written */
};

struct cdt_ring {
    struct cdt_ring_way in, out;
    _Atomic uint8_t *our_live, *their_live;
    _Atomic uint8_t *our_notify; /* what the peer asks of us */
    _Atomic uint8_t *their_notify;
    _Atomic uint8_t *our_word, *their_word; /* NULL: this page has no room for them */
    bool gone;                              /* the backing knows that the peer is dead */
    bool broken;                            /* the peer wrote what cannot be */
    bool owes;                             /* bytes were read, and the peer has not been told yet */
    void (*notify)(struct cdt_ring *ring); /* wake the peer; never fails */
};

/*
 * The orders for at least `left` and `right` bytes, each at most CDT_RING_MAX: false if more.
 * The choice is libxenvchan's: what fits into the page is put there, but not both in one place.
 */
bool cdt_ring_choose(uint32_t left, uint32_t right, struct cdt_ring_shape *ret);
/* May a page say this of itself? */
bool cdt_ring_shape_possible(struct cdt_ring_shape shape);
/* Pages of their own that a ring of this order has: 0 inside the shared page. */
uint32_t cdt_ring_own_pages(unsigned order);

/* Server: make a zeroed page one of this shape, that waits for its client. Grants are the
 * caller's. */
void cdt_ring_format(struct cdt_ring_page *page, struct cdt_ring_shape shape);
/* Client: the shape that the page says, read once; cdt_ring_shape_possible() is yet to be asked. */
struct cdt_ring_shape cdt_ring_read_shape(const struct cdt_ring_page *page);

/*
 * Take one end. `left` and `right` are the mapped pages of rings that have their own (NULL for
 * those in the page); ring->notify is set by the caller. `shape` is possible; it is not read again.
 */
void cdt_ring_attach(struct cdt_ring *ring, bool server, struct cdt_ring_page *page,
                     struct cdt_ring_shape shape, unsigned char *left, unsigned char *right);
/* Client: say that it is there, and wake the server. */
void cdt_ring_join(struct cdt_ring *ring);

/*
 * Bytes; 0 at the end; CONDUIT_EAGAIN when there is nothing; CONDUIT_ERESET when the peer went
 * without an end; CONDUIT_EIO when it wrote what cannot be. What was written before the peer ended
 * or died is read first. A peer that is not one of ours has no way to end but to go: then going is
 * the end.
 */
ssize_t cdt_ring_read(struct cdt_ring *ring, void *buf, size_t len);
/* Bytes taken (> 0), CONDUIT_EAGAIN, CONDUIT_ERESET when the peer is gone, CONDUIT_EIO. */
ssize_t cdt_ring_write(struct cdt_ring *ring, const struct iovec *v, int n);
/* End our direction. The peer is woken. */
void cdt_ring_finish(struct cdt_ring *ring);
/* We go: nothing may be done with the ring afterwards but to unmap it. The peer is woken. */
void cdt_ring_leave(struct cdt_ring *ring);

/* Which of read and write would not say EAGAIN: CDT_RING_DATA | CDT_RING_ROOM. */
unsigned cdt_ring_ready(struct cdt_ring *ring);
/*
 * Before sleeping: ask the peer for a wake-up for each of `wanted`, and look again, for it may have
 * written in between. Returns what is ready now; if that is nothing of `wanted` a wake-up will
 * come, once; whoever wakes asks again before sleeping again.
 */
unsigned cdt_ring_arm(struct cdt_ring *ring, unsigned wanted);
/* When reading is over for now: the peer may be waiting for room. (Reading itself tells it only
 * when a quarter of the ring is free: a wake-up costs more than a copy. Arming settles, too.) */
void cdt_ring_settle(struct cdt_ring *ring);

#endif
