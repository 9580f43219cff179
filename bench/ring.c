/* SPDX-License-Identifier: ISC */
/* See ring.h. */
#include "ring.h"
#include <err.h>
#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 64, LOOKS = 32 };

struct way {
    _Alignas(LINE) _Atomic uint32_t prod;
    _Atomic bool finished, wants_data;
    _Alignas(LINE) _Atomic uint32_t cons;
    _Atomic bool wants_room;
    _Alignas(LINE) unsigned char *bytes;
};

struct ring_pair {
    struct way ways[2];
    uint32_t size;
    unsigned spin_us;
    bool futex;
    int bells[2];                             /* the server's, the client's */
    _Alignas(LINE) _Atomic uint32_t rings[2]; /* ... and how often they rang, for a futex */
};

static void *share(size_t n)
{
    void *memory = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        err(1, "mmap");
    return memory;
}

struct ring_pair *ring_make(uint32_t size, unsigned spin_us, bool futex)
{
    struct ring_pair *pair = share(sizeof(*pair));
    pair->size = size;
    pair->spin_us = spin_us;
    pair->futex = futex;
    for (int i = 0; i < 2; i++) {
        pair->ways[i].bytes = share(size);
        pair->bells[i] = eventfd(0, 0);
    }
    return pair;
}

struct ring_end ring_end_of(struct ring_pair *pair, bool server)
{
    return (struct ring_end){pair, server};
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static bool has_data(const struct ring_pair *pair, const struct way *way)
{
    return way->prod != way->cons || way->finished;
}

static bool has_room(const struct ring_pair *pair, const struct way *way)
{
    return way->prod - way->cons < pair->size;
}

/* Until the bell of this end rings; `before`: how often it had, when there was nothing yet. */
static void sleep_until_rung(struct ring_pair *pair, int which, uint32_t before)
{
    uint64_t count;
    if (!pair->futex && read(pair->bells[which], &count, sizeof(count)) < 0)
        err(1, "eventfd");
    if (pair->futex &&
        syscall(SYS_futex, &pair->rings[which], FUTEX_WAIT, before, NULL, NULL, 0) < 0 &&
        errno != EAGAIN && errno != EINTR)
        err(1, "futex");
}

static void ring_bell(struct ring_pair *pair, int which)
{
    static const uint64_t one = 1;
    if (!pair->futex && write(pair->bells[which], &one, sizeof(one)) < 0)
        err(1, "eventfd");
    if (!pair->futex)
        return;
    atomic_fetch_add(&pair->rings[which], 1);
    if (syscall(SYS_futex, &pair->rings[which], FUTEX_WAKE, 1, NULL, NULL, 0) < 0)
        err(1, "futex");
}

static void wait_for(const struct ring_end *end, const struct way *way, _Atomic bool *wants,
                     bool (*ready)(const struct ring_pair *, const struct way *))
{
    if (ready(end->pair, way))
        return;
    const int own = end->server ? 0 : 1;
    uint64_t until = now_ns() + end->pair->spin_us * (uint64_t)1000;
    while (end->pair->spin_us > 0 && now_ns() < until)
        for (int i = 0; i < LOOKS; i++) {
            if (ready(end->pair, way))
                return;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        }
    while (!ready(end->pair, way)) {
        uint32_t before = atomic_load(&end->pair->rings[own]);
        atomic_store(wants, true);
        if (!ready(end->pair, way))
            sleep_until_rung(end->pair, own, before);
    }
}

static void wake(const struct ring_end *end, _Atomic bool *wants)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(wants, memory_order_relaxed) && atomic_exchange(wants, false))
        ring_bell(end->pair, end->server ? 1 : 0);
}

void ring_put(const struct ring_end *end, const void *from, size_t n)
{
    struct way *way = &end->pair->ways[end->server ? 1 : 0];
    const uint32_t size = end->pair->size;
    while (n > 0) {
        uint32_t prod = atomic_load_explicit(&way->prod, memory_order_relaxed);
        uint32_t room = size - (prod - atomic_load_explicit(&way->cons, memory_order_acquire));
        uint32_t at = prod % size, piece = n < room ? (uint32_t)n : room;
        piece = piece < size - at ? piece : size - at;
        if (piece == 0) {
            wait_for(end, way, &way->wants_room, has_room);
            continue;
        }
        memcpy(way->bytes + at, from, piece);
        atomic_store_explicit(&way->prod, prod + piece, memory_order_release);
        wake(end, &way->wants_data);
        from = (const char *)from + piece;
        n -= piece;
    }
}

size_t ring_get(const struct ring_end *end, void *to, size_t most)
{
    struct way *way = &end->pair->ways[end->server ? 0 : 1];
    const uint32_t size = end->pair->size;
    wait_for(end, way, &way->wants_data, has_data);
    uint32_t cons = atomic_load_explicit(&way->cons, memory_order_relaxed);
    uint32_t used = atomic_load_explicit(&way->prod, memory_order_acquire) - cons;
    uint32_t at = cons % size, n = most < used ? (uint32_t)most : used;
    n = n < size - at ? n : size - at;
    memcpy(to, way->bytes + at, n);
    atomic_store_explicit(&way->cons, cons + n, memory_order_release);
    if (size - (used - n) >= size / 4)
        wake(end, &way->wants_room);
    return n;
}

void ring_finish(const struct ring_end *end)
{
    struct way *way = &end->pair->ways[end->server ? 1 : 0];
    way->finished = true;
    way->wants_data = true;
    wake(end, &way->wants_data);
}
