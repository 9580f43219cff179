/* SPDX-License-Identifier: ISC */
/*
 * The ring with a hostile peer: while our end writes and reads, the other half of what is shared is
 * scribbled on, the counters, the flags and our own fields too.
 *
 * The input is a program: its first bytes choose the end and the shape, and then each instruction
 * is what we do, or what the peer writes where. Whatever that is, our end touches nothing outside
 * of the page and the two rings, which are pieces of memory of exactly their size; counts stay
 * within what was asked for; and what is broken stays broken.
 */
#include "fuzz.h"
#include <string.h>

#include "transports/vchan/ring.h"

enum { READ, WRITE, ARM, READY, SETTLE, FINISH, DIE, SCRIBBLE, COUNTERS, N_INSTRUCTIONS };

struct program {
    const uint8_t *at, *end;
};

struct shared {
    struct cdt_ring_page *page;
    unsigned char *left, *right;
};

static unsigned wakes;

static void count_wake(struct cdt_ring *ring)
{
    wakes++;
}

static unsigned next(struct program *program)
{
    return program->at < program->end ? *program->at++ : 0;
}

static uint32_t next_word(struct program *program)
{
    uint32_t word = 0;
    for (int i = 0; i < 4; i++)
        word = word << 8 | next(program);
    return word;
}

static unsigned char *make_bytes(size_t n)
{
    void *bytes = NULL;
    FUZZ_CHECK(posix_memalign(&bytes, 64, n) == 0);
    memset(bytes, 0, n);
    return bytes;
}

static void check_result(struct cdt_ring *ring, ssize_t n, size_t asked)
{
    bool known = n >= 0 || n == CONDUIT_EAGAIN || n == CONDUIT_ERESET || n == CONDUIT_EIO;
    FUZZ_CHECK(known && n <= (ssize_t)asked);
    FUZZ_CHECK(n != CONDUIT_EIO || ring->broken);
}

static void read_some(struct cdt_ring *ring, struct program *program)
{
    size_t n = 1 + next(program) * 37;
    unsigned char *bytes = make_bytes(n);
    bool broken = ring->broken;
    ssize_t got = cdt_ring_read(ring, bytes, n);
    check_result(ring, got, n);
    FUZZ_CHECK(!broken || got == CONDUIT_EIO);
    free(bytes);
}

static void write_some(struct cdt_ring *ring, struct program *program)
{
    size_t n = 1 + next(program) * 37, first = n / 3;
    unsigned char *bytes = make_bytes(n);
    struct iovec v[] = {{bytes, first}, {bytes + first, n - first}};
    check_result(ring, cdt_ring_write(ring, v, 2), n);
    free(bytes);
}

/* Anywhere in the page, or in the rings. */
static void scribble(const struct shared *shared, struct program *program)
{
    size_t at = (size_t)next(program) << 8 | next(program);
    unsigned char byte = (unsigned char)next(program);
    if (at < CDT_RING_PAGE)
        ((unsigned char *)shared->page)[at] = byte;
    else if (shared->left != NULL)
        shared->left[at & (CDT_RING_PAGE - 1)] = byte;
}

static void set_counter(const struct shared *shared, struct program *program)
{
    _Atomic uint32_t *const counters[] = {&shared->page->left.cons, &shared->page->left.prod,
                                          &shared->page->right.cons, &shared->page->right.prod};
    _Atomic uint32_t *counter = counters[next(program) % 4];
    uint32_t word = next_word(program);
    *counter = word & 1 ? word : *counter + (word >> 16);
}

static void execute(struct cdt_ring *ring, const struct shared *shared, struct program *program)
{
    unsigned wanted, before = wakes;
    switch (next(program) % N_INSTRUCTIONS) {
    case READ:
        read_some(ring, program);
        break;
    case WRITE:
        write_some(ring, program);
        break;
    case ARM:
        wanted = next(program) & 3;
        FUZZ_CHECK(cdt_ring_arm(ring, wanted) <= 3);
        break;
    case READY:
        FUZZ_CHECK(cdt_ring_ready(ring) <= 3);
        break;
    case SETTLE:
        cdt_ring_settle(ring);
        break;
    case FINISH:
        cdt_ring_finish(ring);
        break;
    case DIE:
        ring->gone = next(program) == 0;
        break;
    case SCRIBBLE:
        scribble(shared, program);
        break;
    default:
        set_counter(shared, program);
        break;
    }
    FUZZ_CHECK(wakes - before <= 2);
}

/* What a client finds in a page that it was given. */
static bool shape_of(const struct shared *shared, struct program *program,
                     struct cdt_ring_shape *ret)
{
    shared->page->left_order = (uint16_t)(next(program) & 31);
    shared->page->right_order = (uint16_t)(next(program) & 31);
    *ret = cdt_ring_read_shape(shared->page);
    return cdt_ring_shape_possible(*ret) && ret->left_order < 15 && ret->right_order < 15;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct program program = {data, data + size};
    struct shared shared = {.page = (void *)make_bytes(CDT_RING_PAGE)};
    struct cdt_ring ring = {.notify = count_wake};
    struct cdt_ring_shape shape;
    bool server = next(&program) & 1;
    if (shape_of(&shared, &program, &shape)) {
        uint32_t left = cdt_ring_own_pages(shape.left_order);
        uint32_t right = cdt_ring_own_pages(shape.right_order);
        shared.left = left > 0 ? make_bytes((size_t)left * CDT_RING_PAGE) : NULL;
        shared.right = right > 0 ? make_bytes((size_t)right * CDT_RING_PAGE) : NULL;
        cdt_ring_format(shared.page, shape);
        cdt_ring_attach(&ring, server, shared.page, shape, shared.left, shared.right);
        if (!server)
            cdt_ring_join(&ring);
        while (program.at < program.end)
            execute(&ring, &shared, &program);
        cdt_ring_leave(&ring);
    }
    free(shared.left);
    free(shared.right);
    free(shared.page);
    return 0;
}
