/* SPDX-License-Identifier: ISC */
/*
 * See ring.h. Why each atomic has the order that it has:
 *
 *   - The writer copies, then stores prod with release; the reader loads prod with acquire, then
 *     copies: so the bytes are there when their count is. The same for cons and the room that it
 *     frees.
 *   - Whoever moves a counter looks for a request afterwards; whoever makes a request looks at the
 *     counter afterwards. Each stores to one place and loads from another, and of the two at least
 *     one must see the other's store. Release and acquire do not promise that, so both have a
 *     sequentially consistent fence in between. That is what rules out the lost wake-up.
 *   - live is loaded before the word, and the word before prod: the peer writes its last bytes
 *     first, ends second, and goes last. Loading in the opposite order finds whatever came before
 *     what was found.
 *
 * libxenvchan knows no end of a direction and no difference between a peer that closes and one that
 * dies. So two bytes behind the list of grants are ours, one of each end. libxenvchan leaves them
 * zero, and neither reads nor writes them.
 */
#include "ring.h"
#include "copy.h"
#include <stddef.h>
#include <string.h>

enum { SMALL_AT = 1024, LARGE_AT = 2048, PAGE_ORDER = 12 };

/* Of our words. */
enum { SPEAKS = 1, ENDED = 2 };

_Static_assert(offsetof(struct cdt_ring_page, right) == 8, "libxenvchan's layout");
_Static_assert(offsetof(struct cdt_ring_page, left_order) == 16, "libxenvchan's layout");
_Static_assert(offsetof(struct cdt_ring_page, cli_live) == 20, "libxenvchan's layout");
_Static_assert(offsetof(struct cdt_ring_page, srv_live) == 21, "libxenvchan's layout");
_Static_assert(offsetof(struct cdt_ring_page, cli_notify) == 22, "libxenvchan's layout");
_Static_assert(offsetof(struct cdt_ring_page, srv_notify) == 23, "libxenvchan's layout");
_Static_assert(offsetof(struct cdt_ring_page, grants) == 24, "libxenvchan's layout");

/* ---- shapes ---- */

uint32_t cdt_ring_own_pages(unsigned order)
{
    return order >= PAGE_ORDER ? 1U << (order - PAGE_ORDER) : 0;
}

static unsigned order_of(uint32_t size)
{
    unsigned order = CDT_RING_MIN_ORDER;
    while ((1U << order) < size)
        order++;
    return order;
}

/* Where the list of grants, and our two bytes after it, end. */
static size_t end_of_list(struct cdt_ring_shape shape)
{
    uint32_t n = cdt_ring_own_pages(shape.left_order) + cdt_ring_own_pages(shape.right_order);
    return offsetof(struct cdt_ring_page, grants) + (size_t)n * 4 + 2;
}

/* The first byte of the page that belongs to a ring. */
static size_t start_of_bytes(struct cdt_ring_shape shape)
{
    if (shape.left_order == CDT_RING_MIN_ORDER || shape.right_order == CDT_RING_MIN_ORDER)
        return SMALL_AT;
    if (shape.left_order < PAGE_ORDER || shape.right_order < PAGE_ORDER)
        return LARGE_AT;
    return CDT_RING_PAGE;
}

bool cdt_ring_choose(uint32_t left, uint32_t right, struct cdt_ring_shape *ret)
{
    if (left > CDT_RING_MAX || right > CDT_RING_MAX)
        return false;
    struct cdt_ring_shape shape = {order_of(left), order_of(right)};
    /* Both in the place of 1 KiB, or both in that of 2 KiB: the second moves on to the next. */
    if (shape.left_order == shape.right_order && shape.left_order < PAGE_ORDER)
        shape.right_order++;
    /* The longest list there is would run into the place of 1 KiB. */
    if (end_of_list(shape) > start_of_bytes(shape)) {
        if (shape.left_order < shape.right_order)
            shape.left_order++;
        else
            shape.right_order++;
    }
    *ret = shape;
    return true;
}

static bool order_possible(unsigned order)
{
    return order >= CDT_RING_MIN_ORDER && order <= CDT_RING_MAX_ORDER;
}

bool cdt_ring_shape_possible(struct cdt_ring_shape shape)
{
    return order_possible(shape.left_order) && order_possible(shape.right_order) &&
           (shape.left_order != shape.right_order || shape.left_order >= PAGE_ORDER);
}

/* ---- beginning ---- */

void cdt_ring_format(struct cdt_ring_page *page, struct cdt_ring_shape shape)
{
    atomic_store_explicit(&page->left_order, (uint16_t)shape.left_order, memory_order_relaxed);
    atomic_store_explicit(&page->right_order, (uint16_t)shape.right_order, memory_order_relaxed);
    atomic_store_explicit(&page->cli_live, CDT_RING_AWAITED, memory_order_relaxed);
    atomic_store_explicit(&page->cli_notify, CDT_RING_DATA, memory_order_relaxed);
    atomic_store_explicit(&page->srv_live, CDT_RING_LIVE, memory_order_release);
}

struct cdt_ring_shape cdt_ring_read_shape(const struct cdt_ring_page *page)
{
    return (struct cdt_ring_shape){
        atomic_load_explicit(&page->left_order, memory_order_acquire),
        atomic_load_explicit(&page->right_order, memory_order_acquire),
    };
}

/* Where a counter stands is where it goes on: a page may have been in use before. */
static struct cdt_ring_way way_of(struct cdt_ring_counters *shared, struct cdt_ring_page *page,
                                  unsigned order, unsigned char *own, bool reads)
{
    unsigned char *small = (unsigned char *)page + SMALL_AT;
    unsigned char *large = (unsigned char *)page + LARGE_AT;
    uint32_t cons = atomic_load_explicit(&shared->cons, memory_order_acquire);
    uint32_t prod = atomic_load_explicit(&shared->prod, memory_order_acquire);
    return (struct cdt_ring_way){
        .shared = shared,
        .bytes = order >= PAGE_ORDER           ? own
                 : order == CDT_RING_MIN_ORDER ? small
                                               : large,
        .size = 1U << order,
        .ours = reads ? cons : prod,
        .theirs = reads ? prod : cons,
    };
}

void cdt_ring_attach(struct cdt_ring *ring, bool server, struct cdt_ring_page *page,
                     struct cdt_ring_shape shape, unsigned char *left, unsigned char *right)
{
    struct cdt_ring_way l = way_of(&page->left, page, shape.left_order, left, server);
    struct cdt_ring_way r = way_of(&page->right, page, shape.right_order, right, !server);
    size_t end = end_of_list(shape);
    _Atomic uint8_t *words = (_Atomic uint8_t *)page + end - 2;
    bool room = end <= start_of_bytes(shape);
    *ring = (struct cdt_ring){
        .in = server ? l : r,
        .out = server ? r : l,
        .our_live = server ? &page->srv_live : &page->cli_live,
        .their_live = server ? &page->cli_live : &page->srv_live,
        .our_notify = server ? &page->srv_notify : &page->cli_notify,
        .their_notify = server ? &page->cli_notify : &page->srv_notify,
        .our_word = room ? words + (server ? 0 : 1) : NULL,
        .their_word = room ? words + (server ? 1 : 0) : NULL,
        .notify = ring->notify,
    };
    if (room)
        atomic_store_explicit(ring->our_word, SPEAKS, memory_order_release);
}

void cdt_ring_join(struct cdt_ring *ring)
{
    atomic_store_explicit(ring->their_notify, CDT_RING_DATA, memory_order_relaxed);
    atomic_store_explicit(ring->our_live, CDT_RING_LIVE, memory_order_release);
    ring->notify(ring);
}

/* ---- wake-ups ---- */

/* After a counter moved: wake the peer, if it asked for that. */
static void wake(struct cdt_ring *ring, uint8_t what)
{
    atomic_thread_fence(memory_order_seq_cst);
    if ((atomic_load_explicit(ring->our_notify, memory_order_relaxed) & what) == 0)
        return; /* without writing to a line that both have in their caches */
    uint8_t asked =
        atomic_fetch_and_explicit(ring->our_notify, (uint8_t)~what, memory_order_acq_rel);
    if (asked & what)
        ring->notify(ring);
}

void cdt_ring_settle(struct cdt_ring *ring)
{
    if (!ring->owes)
        return;
    ring->owes = false;
    wake(ring, CDT_RING_ROOM);
}

unsigned cdt_ring_arm(struct cdt_ring *ring, unsigned wanted)
{
    cdt_ring_settle(ring);
    atomic_fetch_or_explicit(ring->their_notify, (uint8_t)wanted, memory_order_acq_rel);
    atomic_thread_fence(memory_order_seq_cst);
    return cdt_ring_ready(ring);
}

/* ---- what the peer says ---- */

/* Bytes between the two counters of a way; false, from now on, if there can be no such number. */
static bool look(struct cdt_ring *ring, struct cdt_ring_way *way, _Atomic uint32_t *theirs,
                 uint32_t *used)
{
    uint32_t seen = atomic_load_explicit(theirs, memory_order_acquire);
    *used = way == &ring->in ? seen - way->ours : way->ours - seen;
    ring->broken |= *used > way->size;
    way->theirs = seen;
    return !ring->broken;
}

static bool is_gone(const struct cdt_ring *ring)
{
    return ring->gone ||
           atomic_load_explicit(ring->their_live, memory_order_acquire) == CDT_RING_GONE;
}

static uint8_t word_of_peer(const struct cdt_ring *ring)
{
    if (ring->their_word == NULL)
        return 0;
    return atomic_load_explicit(ring->their_word, memory_order_acquire);
}

/* Why there is nothing to read. */
static int why_empty(bool gone, bool known_dead, uint8_t word)
{
    if (word & ENDED)
        return 0;
    if (!gone)
        return CONDUIT_EAGAIN;
    return (word & SPEAKS) || known_dead ? CONDUIT_ERESET : 0;
}

/* ---- bytes ---- */

static void copy_out(const struct cdt_ring_way *way, unsigned char *to, uint32_t n)
{
    uint32_t at = way->ours & (way->size - 1);
    uint32_t first = n < way->size - at ? n : way->size - at;
    cdt_copy_from_peer(to, way->bytes + at, first);
    cdt_copy_from_peer(to + first, way->bytes, n - first);
}

static void copy_in(struct cdt_ring_way *way, uint32_t counter, const unsigned char *from,
                    uint32_t n)
{
    uint32_t at = counter & (way->size - 1);
    uint32_t first = n < way->size - at ? n : way->size - at;
    cdt_copy_to_peer(&way->copier, way->bytes + at, from, first);
    cdt_copy_to_peer(&way->copier, way->bytes, from + first, n - first);
}

/* Bytes that can be read, or why there are none. The peer's counter is only looked at when what is
 * known of it is not enough: it lives in the other processor's cache. */
static ssize_t readable(struct cdt_ring *ring, size_t wanted)
{
    uint32_t used = ring->in.theirs - ring->in.ours;
    bool known = used > 0 && used >= wanted && used <= ring->in.size && !ring->broken;
    if (!known && !look(ring, &ring->in, &ring->in.shared->prod, &used))
        return CONDUIT_EIO;
    if (used > 0)
        return used;
    bool gone = is_gone(ring);
    int why = why_empty(gone, ring->gone, word_of_peer(ring));
    if (why == CONDUIT_EAGAIN)
        return why;
    if (!look(ring, &ring->in, &ring->in.shared->prod, &used)) /* what it wrote before it went */
        return CONDUIT_EIO;
    return used > 0 ? (ssize_t)used : why;
}

ssize_t cdt_ring_read(struct cdt_ring *ring, void *buf, size_t len)
{
    struct cdt_ring_way *in = &ring->in;
    ssize_t used = readable(ring, len);
    if (used <= 0)
        return used;
    uint32_t n = (size_t)used < len ? (uint32_t)used : (uint32_t)len;
    copy_out(in, buf, n);
    in->ours += n;
    atomic_store_explicit(&in->shared->cons, in->ours, memory_order_release);
    ring->owes = true;
    uint32_t left = (uint32_t)used - n;
    if (left == 0 || in->size - left >= in->size / 4)
        cdt_ring_settle(ring);
    return n;
}

/* Room, or why there is none; likewise. */
static ssize_t writable(struct cdt_ring *ring, size_t wanted)
{
    struct cdt_ring_way *out = &ring->out;
    if (is_gone(ring))
        return ring->broken ? CONDUIT_EIO : CONDUIT_ERESET;
    uint32_t used = out->ours - out->theirs;
    if ((used > out->size || out->size - used < wanted) &&
        !look(ring, out, &out->shared->cons, &used))
        return CONDUIT_EIO;
    return used < out->size ? (ssize_t)(out->size - used) : CONDUIT_EAGAIN;
}

static size_t total(const struct iovec *v, int n)
{
    size_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += v[i].iov_len;
    return sum;
}

ssize_t cdt_ring_write(struct cdt_ring *ring, const struct iovec *v, int n)
{
    struct cdt_ring_way *out = &ring->out;
    ssize_t room = writable(ring, total(v, n));
    if (room <= 0)
        return room;
    uint32_t done = 0;
    for (int i = 0; i < n && done < (size_t)room; i++) {
        size_t rest = (size_t)room - done;
        uint32_t piece = (uint32_t)(v[i].iov_len < rest ? v[i].iov_len : rest);
        if (piece > 0) /* an empty one may be at NULL */
            copy_in(out, out->ours + done, v[i].iov_base, piece);
        done += piece;
    }
    if (done == 0)
        return CONDUIT_EAGAIN;
    out->ours += done;
    atomic_store_explicit(&out->shared->prod, out->ours, memory_order_release);
    wake(ring, CDT_RING_DATA);
    return done;
}

unsigned cdt_ring_ready(struct cdt_ring *ring)
{
    return (readable(ring, 1) != CONDUIT_EAGAIN ? CDT_RING_DATA : 0) |
           (writable(ring, 1) != CONDUIT_EAGAIN ? CDT_RING_ROOM : 0);
}

/* ---- ends ---- */

void cdt_ring_finish(struct cdt_ring *ring)
{
    if (ring->our_word != NULL)
        atomic_store_explicit(ring->our_word, SPEAKS | ENDED, memory_order_release);
    ring->notify(ring);
}

void cdt_ring_leave(struct cdt_ring *ring)
{
    atomic_store_explicit(ring->our_live, CDT_RING_GONE, memory_order_release);
    ring->notify(ring);
}
