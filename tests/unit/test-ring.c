/* SPDX-License-Identifier: ISC */
/*
 * The ring: its layout, its shapes, its ends, a peer that lies; and both ends of it at once, in
 * every order that chance comes up with, against a plain queue of bytes.
 *
 * ring.c is compiled into this file with its atomic operations replaced by ones that may first let
 * the other end run: so an interleaving can begin and stop between any two of them. An end that
 * sleeps runs again only when it has been woken; if both sleep a wake-up was lost. What an end
 * stores the other sees later, as a processor has it: in order, and for certain only after a fence.
 * Whatever else may be reordered is for the two threads of the last test.
 *
 * CONDUIT_INTERLEAVINGS is how many are tried: 20,000, or 1,000,000 for the deep run (a minute).
 */
#include "support.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <ucontext.h>
#include <unistd.h>

static void step(void);
static bool is_interleaved(void);
static void delay_store(void *at, uint32_t value, size_t size);
static uint32_t load_own(const void *at, size_t size);
static void drain(void);

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and_explicit
#undef atomic_thread_fence
/* The same address, without _Atomic: the builtins take no other. */
#define PLAIN(p)                                                                                   \
    _Generic(*(p), uint32_t                                                                        \
             : (uint32_t *)(uintptr_t)(p), uint16_t                                                \
             : (uint16_t *)(uintptr_t)(p), uint8_t                                                 \
             : (uint8_t *)(uintptr_t)(p))
#define atomic_load_explicit(p, o)                                                                 \
    ((__typeof__(*PLAIN(p)))(step(), is_interleaved() ? load_own(PLAIN(p), sizeof(*(p)))           \
                                                      : __atomic_load_n(PLAIN(p), o)))
#define atomic_store_explicit(p, v, o)                                                             \
    (step(), is_interleaved() ? delay_store(PLAIN(p), (v), sizeof(*(p)))                           \
                              : __atomic_store_n(PLAIN(p), v, o))
#define atomic_fetch_or_explicit(p, v, o) (step(), drain(), __atomic_fetch_or(PLAIN(p), v, o))
#define atomic_fetch_and_explicit(p, v, o) (step(), drain(), __atomic_fetch_and(PLAIN(p), v, o))
#define atomic_thread_fence(o) (step(), drain(), __atomic_thread_fence(o))

#include "../../src/transports/vchan/ring.c"

/* ---- one page, two ends ---- */

/* All that is shared: the page, then left's pages, then right's. */
struct pair {
    unsigned char *memory;
    struct cdt_ring_page *page;
    struct cdt_ring_shape shape;
    struct cdt_ring server, client;
};

static unsigned woken; /* of the ends: 1 the server's, 2 the client's */
static struct pair pair;

static void note_wake(struct cdt_ring *by)
{
    drain(); /* a system call */
    woken |= by == &pair.server ? 2 : 1;
}

static void lay_out(unsigned left_order, unsigned right_order, uint32_t from)
{
    struct cdt_ring_shape shape = {left_order, right_order};
    uint32_t left = cdt_ring_own_pages(left_order) * CDT_RING_PAGE;
    uint32_t right = cdt_ring_own_pages(right_order) * CDT_RING_PAGE;
    pair = (struct pair){.shape = shape};
    pair.memory = aligned_alloc(CDT_RING_PAGE, CDT_RING_PAGE + left + right);
    memset(pair.memory, 0, CDT_RING_PAGE + left + right);
    pair.page = (struct cdt_ring_page *)(void *)pair.memory;
    pair.page->left = (struct cdt_ring_counters){from, from};
    pair.page->right = (struct cdt_ring_counters){from, from};
    cdt_ring_format(pair.page, shape);
}

static void attach(struct cdt_ring *ring, bool server)
{
    unsigned char *left = pair.memory + CDT_RING_PAGE;
    unsigned char *right = left + (size_t)cdt_ring_own_pages(pair.shape.left_order) * CDT_RING_PAGE;
    ring->notify = note_wake;
    cdt_ring_attach(ring, server, pair.page, pair.shape, left, right);
}

static void meet(unsigned left_order, unsigned right_order, uint32_t from)
{
    woken = 0;
    lay_out(left_order, right_order, from);
    attach(&pair.server, true);
    attach(&pair.client, false);
    cdt_ring_join(&pair.client);
}

static void part(void)
{
    free(pair.memory);
}

static ssize_t put(struct cdt_ring *ring, const void *bytes, size_t n)
{
    struct iovec v = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
    return cdt_ring_write(ring, &v, 1);
}

/* ---- layout and shapes ---- */

static const unsigned char *byte_of(size_t i)
{
    return pair.memory + i;
}

static uint32_t word_at(size_t i)
{
    uint32_t word;
    memcpy(&word, byte_of(i), sizeof(word));
    return word;
}

CDT_TEST(ring, the_layout_is_libxenvchans_byte_for_byte)
{
    lay_out(10, 11, 0);
    cr_expect(*byte_of(16) == 10 && *byte_of(18) == 11);
    cr_expect(*byte_of(20) == 2 && *byte_of(21) == 1, "the client is awaited, the server is there");
    cr_expect(*byte_of(22) == 1 && *byte_of(23) == 0, "the client is asked to be told of writes");
    attach(&pair.server, true);
    attach(&pair.client, false);
    cr_expect(*byte_of(20) == 2, "mapping is not joining yet");
    cdt_ring_join(&pair.client);
    cr_expect(*byte_of(20) == 1 && *byte_of(23) == 1 && woken == 1);
    cr_expect_eq(put(&pair.client, "left", 4), 4);
    cr_expect_eq(put(&pair.server, "right!", 6), 6);
    cr_expect(word_at(4) == 4 && word_at(12) == 6, "left.prod and right.prod");
    cr_expect(memcmp(byte_of(1024), "left", 4) == 0 && memcmp(byte_of(2048), "right!", 6) == 0);
    char bytes[8];
    cr_expect_eq(cdt_ring_read(&pair.server, bytes, 3), 3);
    cr_expect(word_at(0) == 3 && word_at(8) == 0, "left.cons and right.cons");
    part();
}

CDT_TEST(ring, rings_of_their_own_follow_the_page)
{
    meet(12, 13, 0);
    cr_expect_eq(put(&pair.client, "left", 4), 4);
    cr_expect_eq(put(&pair.server, "right", 5), 5);
    cr_expect(memcmp(byte_of(4096), "left", 4) == 0 && memcmp(byte_of(8192), "right", 5) == 0);
    part();
}

CDT_TEST(ring, sizes_become_shapes_as_in_libxenvchan)
{
    static const struct {
        uint32_t left, right;
        unsigned left_order, right_order;
    } rows[] = {
        {0, 0, 10, 11},          {1024, 2048, 10, 11},       {2048, 1024, 11, 10},
        {2048, 2048, 11, 12},    {4096, 4096, 12, 12},       {4097, 1, 13, 10},
        {65536, 65536, 16, 16},  {1 << 20, 1 << 20, 20, 20}, {1 << 20, 1, 20, 11},
        {1024, 1 << 20, 11, 20}, {1 << 19, 1024, 19, 10},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cdt_ring_shape shape = {0, 0};
        cr_expect(cdt_ring_choose(rows[i].left, rows[i].right, &shape));
        cr_expect(
            shape.left_order == rows[i].left_order && shape.right_order == rows[i].right_order,
            "%u, %u: %u, %u", rows[i].left, rows[i].right, shape.left_order, shape.right_order);
        cr_expect(cdt_ring_shape_possible(shape));
    }
    struct cdt_ring_shape shape;
    cr_expect(!cdt_ring_choose((1 << 20) + 1, 1024, &shape));
    cr_expect(!cdt_ring_choose(1024, UINT32_MAX, &shape));
}

CDT_TEST(ring, impossible_shapes_are_told)
{
    static const struct cdt_ring_shape rows[] = {{9, 11},  {10, 10}, {11, 11}, {21, 12},
                                                 {12, 21}, {0, 0},   {10, 0},  {65535, 12}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect(!cdt_ring_shape_possible(rows[i]), "%u, %u", rows[i].left_order,
                  rows[i].right_order);
}

/* ---- room and data ---- */

CDT_TEST(ring, the_whole_ring_is_usable_and_not_a_byte_more)
{
    static char big[5000], back[5000];
    static const unsigned orders[] = {10, 11, 12};
    memset(big, 'x', sizeof(big));
    for (size_t i = 0; i < 3; i++) {
        meet(orders[i], orders[i] == 10 ? 11 : 10, UINT32_MAX - 100);
        ssize_t size = 1 << orders[i];
        cr_expect_eq(put(&pair.client, big, sizeof(big)), size);
        cr_expect_eq(put(&pair.client, big, 1), CONDUIT_EAGAIN);
        cr_expect((cdt_ring_ready(&pair.client) & CDT_RING_ROOM) == 0);
        cr_expect_eq(cdt_ring_read(&pair.server, back, 1), 1);
        cr_expect((cdt_ring_ready(&pair.client) & CDT_RING_ROOM) != 0);
        cr_expect_eq(put(&pair.client, big, 10), 1);
        cr_expect_eq(cdt_ring_read(&pair.server, back, sizeof(back)), size);
        cr_expect_eq(memcmp(back, big, (size_t)size), 0);
        cr_expect_eq(cdt_ring_read(&pair.server, back, sizeof(back)), CONDUIT_EAGAIN);
        part();
    }
}

CDT_TEST(ring, pieces_are_written_as_one)
{
    char back[16] = "";
    char bytes[] = "onetwothree";
    struct iovec v[] = {{bytes, 3}, {bytes, 0}, {bytes + 3, 3}, {bytes + 6, 5}};
    meet(12, 12, 4096 - 4);
    cr_expect_eq(cdt_ring_write(&pair.server, v, 4), 11);
    cr_expect_eq(cdt_ring_read(&pair.client, back, sizeof(back)), 11);
    cr_expect_str_eq(back, "onetwothree");
    part();
}

/* ---- wake-ups ---- */

CDT_TEST(ring, who_is_awake_is_not_woken)
{
    char byte;
    meet(10, 11, 0);
    cr_expect_eq(cdt_ring_read(&pair.server, &byte, 1), CONDUIT_EAGAIN);
    put(&pair.client, "a", 1); /* what joining asked for is still to be had */
    woken = 0;
    for (int i = 0; i < 100; i++) {
        cr_expect_eq(put(&pair.client, "b", 1), 1);
        cr_expect_eq(cdt_ring_read(&pair.server, &byte, 1), 1);
    }
    cr_expect_eq(woken, 0, "nobody asked");
    cr_expect_eq(cdt_ring_read(&pair.server, &byte, 1), 1);
    cr_expect((cdt_ring_arm(&pair.server, CDT_RING_DATA) & CDT_RING_DATA) == 0);
    put(&pair.client, "c", 1);
    cr_expect_eq(woken, 1, "once for one request");
    woken = 0;
    put(&pair.client, "d", 1);
    cr_expect_eq(woken, 0);
    cr_expect(cdt_ring_arm(&pair.server, CDT_RING_DATA) & CDT_RING_DATA);
    part();
}

CDT_TEST(ring, a_writer_is_woken_when_a_quarter_is_free_or_reading_is_over)
{
    static char bytes[2048];
    meet(10, 11, 0);
    cr_expect_eq(put(&pair.client, bytes, 1024), 1024);
    cr_expect((cdt_ring_arm(&pair.client, CDT_RING_ROOM) & CDT_RING_ROOM) == 0);
    woken = 0;
    cr_expect_eq(cdt_ring_read(&pair.server, bytes, 200), 200);
    cr_expect_eq(woken, 0, "too little for a wake-up");
    cdt_ring_settle(&pair.server);
    cr_expect_eq(woken, 2, "but it is not kept");
    cr_expect_eq(put(&pair.client, bytes, 1024), 200);
    cr_expect((cdt_ring_arm(&pair.client, CDT_RING_ROOM) & CDT_RING_ROOM) == 0);
    woken = 0;
    cr_expect_eq(cdt_ring_read(&pair.server, bytes, 256), 256);
    cr_expect_eq(woken, 2);
    part();
}

/* ---- ends ---- */

CDT_TEST(ring, an_end_comes_after_the_bytes_and_leaves_the_other_direction)
{
    char back[8];
    meet(10, 11, 0);
    put(&pair.client, "last", 4);
    cdt_ring_finish(&pair.client);
    cr_expect_eq(cdt_ring_read(&pair.server, back, sizeof(back)), 4);
    cr_expect_eq(cdt_ring_read(&pair.server, back, sizeof(back)), 0);
    cr_expect_eq(put(&pair.server, "answer", 6), 6);
    cr_expect_eq(cdt_ring_read(&pair.client, back, sizeof(back)), 6);
    cr_expect_eq(cdt_ring_read(&pair.client, back, sizeof(back)), CONDUIT_EAGAIN);
    cdt_ring_leave(&pair.client);
    cr_expect_eq(cdt_ring_read(&pair.server, back, sizeof(back)), 0, "it had ended before it went");
    cr_expect_eq(put(&pair.server, "x", 1), CONDUIT_ERESET);
    part();
}

CDT_TEST(ring, to_go_without_an_end_is_a_break)
{
    for (int dead = 0; dead < 2; dead++) {
        char back[8];
        meet(10, 11, 0);
        put(&pair.client, "last", 4);
        if (dead)
            pair.server.gone = true; /* killed: its live byte stays what it was */
        else
            cdt_ring_leave(&pair.client);
        cr_expect_eq(cdt_ring_read(&pair.server, back, sizeof(back)), 4);
        cr_expect_eq(cdt_ring_read(&pair.server, back, sizeof(back)), CONDUIT_ERESET);
        cr_expect_eq(put(&pair.server, "x", 1), CONDUIT_ERESET);
        part();
    }
}

/* libxenvchan has neither an end nor our bytes behind the list of grants. */
CDT_TEST(ring, a_peer_that_knows_no_end_ends_by_going)
{
    char back[8];
    lay_out(12, 12, 0);
    attach(&pair.server, true);
    pair.page->cli_live = 1;
    memcpy(pair.memory + CDT_RING_PAGE, "hi", 2);
    pair.page->left.prod = 2;
    cr_expect_eq(cdt_ring_read(&pair.server, back, sizeof(back)), 2);
    cr_expect_eq(cdt_ring_read(&pair.server, back, sizeof(back)), CONDUIT_EAGAIN);
    pair.page->cli_live = 0;
    cr_expect_eq(cdt_ring_read(&pair.server, back, sizeof(back)), 0);
    pair.server.gone = true;
    cr_expect_eq(cdt_ring_read(&pair.server, back, sizeof(back)), CONDUIT_ERESET,
                 "its domain was destroyed: that is known");
    part();
}

CDT_TEST(ring, a_server_may_write_before_its_client_is_there)
{
    char back[8];
    lay_out(12, 12, 0);
    attach(&pair.server, true);
    cr_expect_eq(put(&pair.server, "early", 5), 5);
    cr_expect_eq(cdt_ring_read(&pair.server, back, sizeof(back)), CONDUIT_EAGAIN);
    attach(&pair.client, false);
    cdt_ring_join(&pair.client);
    cr_expect_eq(cdt_ring_read(&pair.client, back, sizeof(back)), 5);
    part();
}

/* ---- a peer that lies ---- */

CDT_TEST(ring, counters_that_cannot_be_are_an_error_for_good)
{
    static const uint32_t lies[] = {1025, 4096, UINT32_MAX - 3000, 0x80000000U};
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        char back[2048];
        meet(10, 11, 0);
        pair.page->left.prod = lies[i];
        cr_expect_eq(cdt_ring_read(&pair.server, back, sizeof(back)), CONDUIT_EIO);
        pair.page->left.prod = 4;
        cr_expect_eq(cdt_ring_read(&pair.server, back, sizeof(back)), CONDUIT_EIO);
        part();
        meet(10, 11, 0);
        cr_expect_eq(put(&pair.server, back, 2048), 2048);
        pair.page->right.cons = lies[i] + 2048;
        cr_expect_eq(put(&pair.server, back, 1), CONDUIT_EIO);
        part();
    }
}

CDT_TEST(ring, what_is_ours_in_the_page_is_not_believed)
{
    char back[64];
    meet(10, 11, 0);
    put(&pair.client, "abcdef", 6);
    cr_expect_eq(cdt_ring_read(&pair.server, back, 2), 2);
    pair.page->left.cons = 77;
    pair.page->right.prod = 88;
    pair.page->left_order = 20;
    cr_expect_eq(cdt_ring_read(&pair.server, back, 2), 2);
    cr_expect(memcmp(back, "cd", 2) == 0);
    cr_expect_eq(put(&pair.server, "ok", 2), 2);
    cr_expect(pair.page->left.cons == 4 && pair.page->right.prod == 2);
    part();
}

/* ---- every order that chance comes up with ---- */

enum { STACK = 64 * 1024, MOST_BYTES = 3000, MOST_TURNS = 100 * 1000, MOST_DELAYED = 8 };

struct store {
    void *at;
    uint32_t value;
    size_t size;
};

/* One end's life: so many bytes to write, then an end; reading until the other's. */
struct life {
    struct cdt_ring *ring;
    struct life *other;
    ucontext_t context;
    unsigned char stack[STACK];
    unsigned bit; /* in `woken` */
    uint32_t to_write, written, read;
    uint32_t seed;                      /* of what it writes */
    bool ended, over;                   /* it has seen the other's end; it has ended, too */
    struct store delayed[MOST_DELAYED]; /* what only it sees yet, the oldest first */
    unsigned n_delayed;
};

static struct life lives[2], *alive; /* NULL: no interleaving is under way, steps are nothing */
static ucontext_t referee;
static uint64_t chance_state = 88172645463325252ULL;

static uint32_t chance(uint32_t below)
{
    chance_state ^= chance_state << 13;
    chance_state ^= chance_state >> 7;
    chance_state ^= chance_state << 17;
    return (uint32_t)(chance_state >> 33) % below;
}

static bool is_interleaved(void)
{
    return alive != NULL;
}

static void let_out(struct life *life)
{
    memcpy(life->delayed[0].at, &life->delayed[0].value, life->delayed[0].size);
    life->n_delayed--;
    memmove(life->delayed, life->delayed + 1, life->n_delayed * sizeof(life->delayed[0]));
}

static void drain(void)
{
    while (alive != NULL && alive->n_delayed > 0)
        let_out(alive);
}

static void delay_store(void *at, uint32_t value, size_t size)
{
    if (alive->n_delayed == MOST_DELAYED)
        let_out(alive);
    alive->delayed[alive->n_delayed++] = (struct store){at, value, size};
}

/* One's own stores one sees at once. */
static uint32_t load_own(const void *at, size_t size)
{
    uint32_t value = 0;
    for (unsigned i = alive->n_delayed; i > 0; i--)
        if (alive->delayed[i - 1].at == at)
            return alive->delayed[i - 1].value;
    memcpy(&value, at, size);
    return value;
}

/* The model: the queue of bytes is this function of their number. */
static unsigned char byte_number(const struct life *by, uint32_t i)
{
    return (unsigned char)((by->seed + i) * 2654435761U >> 24);
}

static void switch_away(void)
{
    struct life *was = alive;
    swapcontext(&was->context, &referee);
}

static void step(void)
{
    if (alive != NULL && chance(3) == 0)
        switch_away();
}

static bool write_some(struct life *life)
{
    unsigned char bytes[MOST_BYTES];
    uint32_t left = life->to_write - life->written;
    uint32_t n = left > 0 ? 1 + chance(left) : 0;
    for (uint32_t i = 0; i < n; i++)
        bytes[i] = byte_number(life, life->written + i);
    ssize_t taken = n > 0 ? put(life->ring, bytes, n) : CONDUIT_EAGAIN;
    if (taken < 0)
        return false;
    life->written += (uint32_t)taken;
    if (life->written == life->to_write)
        cdt_ring_finish(life->ring);
    return true;
}

static bool read_some(struct life *life)
{
    unsigned char bytes[MOST_BYTES];
    ssize_t n =
        life->ended ? CONDUIT_EAGAIN : cdt_ring_read(life->ring, bytes, 1 + chance(MOST_BYTES));
    if (n < 0) {
        cr_assert_eq(n, CONDUIT_EAGAIN, "read: %zd", n);
        return false;
    }
    for (ssize_t i = 0; i < n; i++)
        cr_assert_eq(bytes[i], byte_number(life->other, life->read + (uint32_t)i),
                     "byte %u is another one", life->read + (uint32_t)i);
    life->read += (uint32_t)n;
    life->ended = n == 0;
    return true;
}

static void sleep_until_woken(struct life *life, unsigned wanted)
{
    if (cdt_ring_arm(life->ring, wanted) & wanted)
        return;
    drain(); /* nothing is on its way for as long as one sleeps */
    while ((woken & life->bit) == 0)
        switch_away();
    woken &= ~life->bit;
}

static void live(int which)
{
    struct life *life = &lives[which];
    while (!life->ended || life->written < life->to_write) {
        bool writes_first = chance(2) == 0;
        bool moved = writes_first && write_some(life);
        moved |= read_some(life);
        moved |= !writes_first && write_some(life);
        unsigned wanted = (life->ended ? 0 : CDT_RING_DATA) |
                          (life->written < life->to_write ? CDT_RING_ROOM : 0);
        if (!moved && wanted != 0)
            sleep_until_woken(life, wanted);
        else if (chance(4) == 0)
            cdt_ring_settle(life->ring);
    }
    cdt_ring_settle(life->ring);
    drain();
    life->over = true;
    for (;;)
        switch_away();
}

static void be_born(int which)
{
    struct life *life = &lives[which];
    life->ring = which == 0 ? &pair.server : &pair.client;
    life->other = &lives[1 - which];
    life->bit = which == 0 ? 1 : 2;
    life->to_write = 1 + chance(MOST_BYTES);
    life->seed = chance(UINT32_MAX);
    life->written = life->read = 0;
    life->ended = life->over = false;
    life->n_delayed = 0;
    getcontext(&life->context);
    life->context.uc_stack.ss_sp = life->stack;
    life->context.uc_stack.ss_size = STACK;
    makecontext(&life->context, (void (*)(void))live, 1, which);
}

/* Each gets its turns at random; when neither gets on for long, both are asleep. */
static void interleave(unsigned left_order, unsigned right_order)
{
    uint32_t from = chance(2) == 0 ? UINT32_MAX - chance(MOST_BYTES) : chance(UINT32_MAX);
    meet(left_order, right_order, from);
    be_born(0);
    be_born(1);
    for (int turns = 0; !lives[0].over || !lives[1].over; turns++) {
        cr_assert_lt(turns, MOST_TURNS, "a wake-up was lost: wrote %u/%u, %u/%u, read %u, %u",
                     lives[0].written, lives[0].to_write, lives[1].written, lives[1].to_write,
                     lives[0].read, lives[1].read);
        alive = &lives[chance(2)];
        swapcontext(&referee, &alive->context);
        if (alive->n_delayed > 0 && chance(4) == 0)
            let_out(alive);
        alive = NULL;
    }
    cr_assert_eq(lives[0].read, lives[1].to_write);
    cr_assert_eq(lives[1].read, lives[0].to_write);
    part();
}

/* A quarter of what is wanted: there are four tests, and they run beside each other. */
static void interleave_often(unsigned left_order, unsigned right_order)
{
    const char *text = getenv("CONDUIT_INTERLEAVINGS");
    long n = text != NULL ? atol(text) : 20000;
    chance_state += left_order;
    for (long i = 0; i < n; i += 4)
        interleave(left_order, right_order);
}

CDT_TEST(ring, no_interleaving_loses_a_byte_or_a_wake_up_with_1_and_2_kilobytes)
{
    interleave_often(10, 11);
}

CDT_TEST(ring, no_interleaving_loses_a_byte_or_a_wake_up_with_2_and_1_kilobytes)
{
    interleave_often(11, 10);
}

CDT_TEST(ring, no_interleaving_loses_a_byte_or_a_wake_up_with_4_and_1_kilobytes)
{
    interleave_often(12, 10);
}

CDT_TEST(ring, no_interleaving_loses_a_byte_or_a_wake_up_with_1_and_8_kilobytes)
{
    interleave_often(10, 13);
}

/* ---- two processors ---- */

enum { TO_MOVE = 32 * 1024 * 1024, PIECE = 5000 };

static int bells[2]; /* the server's, the client's: eventfds */

static void ring_bell(struct cdt_ring *by)
{
    static const uint64_t one = 1;
    cr_assert_eq(write(bells[by == &pair.server ? 1 : 0], &one, sizeof(one)), sizeof(one));
}

static void wait_for_bell(int bell)
{
    uint64_t n;
    cr_assert_eq(read(bell, &n, sizeof(n)), sizeof(n));
}

static void *write_all(void *arg)
{
    static unsigned char bytes[PIECE];
    for (uint32_t done = 0; done < TO_MOVE;) {
        uint32_t n = 1 + done % PIECE;
        n = n < TO_MOVE - done ? n : TO_MOVE - done;
        for (uint32_t i = 0; i < n; i++)
            bytes[i] = (unsigned char)((done + i) * 2654435761U >> 24);
        ssize_t taken = put(&pair.client, bytes, n);
        if (taken > 0)
            done += (uint32_t)taken;
        else if ((cdt_ring_arm(&pair.client, CDT_RING_ROOM) & CDT_RING_ROOM) == 0)
            wait_for_bell(bells[1]);
    }
    cdt_ring_finish(&pair.client);
    return NULL;
}

/* In a minute, or a wake-up was lost: then both wait for ever, and the test is ended. */
CDT_TEST(ring, two_threads_move_everything_and_sleep_in_between)
{
    static unsigned char bytes[PIECE];
    pthread_t writer;
    uint32_t done = 0, wrong = 0;
    meet(11, 10, UINT32_MAX - TO_MOVE / 2);
    pair.server.notify = pair.client.notify = ring_bell;
    bells[0] = eventfd(0, EFD_CLOEXEC);
    bells[1] = eventfd(0, EFD_CLOEXEC);
    pthread_create(&writer, NULL, write_all, NULL);
    for (ssize_t n = -1; n != 0;) {
        n = cdt_ring_read(&pair.server, bytes, PIECE);
        for (ssize_t i = 0; i < n; i++, done++)
            wrong += bytes[i] != (unsigned char)(done * 2654435761U >> 24);
        if (n < 0 && (cdt_ring_arm(&pair.server, CDT_RING_DATA) & CDT_RING_DATA) == 0)
            wait_for_bell(bells[0]);
    }
    pthread_join(writer, NULL);
    cr_expect(done == TO_MOVE && wrong == 0, "%u bytes, %u wrong", done, wrong);
    close(bells[0]);
    close(bells[1]);
    part();
}
