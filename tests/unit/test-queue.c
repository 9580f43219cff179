/* SPDX-License-Identifier: ISC */
/*
 * The write queue: what goes in comes out once, in order, however it is cut.
 *
 * The last test is an oracle: a thousand random puts and drops against a plain array.
 */
#include "queue.h"
#include "support.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BIG = 100 * 1000 };

static struct cdt_queue queue;

static void put(const char *text)
{
    cr_assert(cdt_queue_put(&queue, text, strlen(text)));
}

/* Take `n` bytes off the front into `to`, as a writer whose every call takes `most` does. */
static void take(unsigned char *to, size_t n, size_t most)
{
    while (n > 0) {
        struct iovec v[3];
        int pieces = cdt_queue_peek(&queue, v, 3);
        size_t done = 0, want = n < most ? n : most;
        cr_assert_gt(pieces, 0, "nothing to take, %zu bytes are due", n);
        for (int i = 0; i < pieces && done < want; i++) {
            size_t piece = v[i].iov_len < want - done ? v[i].iov_len : want - done;
            cr_assert_gt(v[i].iov_len, 0, "an empty piece");
            memcpy(to + done, v[i].iov_base, piece);
            done += piece;
        }
        cdt_queue_drop(&queue, done);
        to += done;
        n -= done;
    }
}

static void expect(const char *text)
{
    char got[64] = "";
    take((unsigned char *)got, strlen(text), sizeof(got));
    cr_expect_str_eq(got, text);
}

static void fill(unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)rand();
}

CDT_TEST(queue, an_empty_queue_holds_nothing)
{
    struct iovec v[2];
    cr_expect_eq(queue.size, 0);
    cr_expect_eq(cdt_queue_peek(&queue, v, 2), 0);
    cr_expect(cdt_queue_put(&queue, "", 0));
    cr_expect_eq(queue.size, 0);
    cdt_queue_clear(&queue);
    cdt_queue_clear(&queue);
    cr_expect_null(queue.first);
}

CDT_TEST(queue, bytes_come_out_in_the_order_in_which_they_went_in)
{
    put("one ");
    put("two ");
    expect("on");
    put("three");
    cr_expect_eq(queue.size, 11);
    expect("e two three");
    cr_expect_eq(queue.size, 0);
}

CDT_TEST(queue, small_writes_share_a_block)
{
    struct iovec v[4];
    for (int i = 0; i < 1000; i++)
        put("0123456789");
    cr_expect_eq(cdt_queue_peek(&queue, v, 4), 1, "1,000 writes of 10 bytes are one piece");
    cr_expect_eq(v[0].iov_len, 10000);
    cdt_queue_clear(&queue);
}

CDT_TEST(queue, emptied_it_holds_no_memory_and_can_be_filled_again)
{
    put("first");
    expect("first");
    cr_expect_null(queue.first);
    cr_expect_null(queue.last);
    put("second");
    expect("second");
    put("third");
    cdt_queue_clear(&queue);
    cr_expect_eq(queue.size, 0);
    cr_expect_null(queue.first);
    put("fourth");
    expect("fourth");
}

CDT_TEST(queue, a_large_write_stays_whole_behind_a_begun_block)
{
    static unsigned char in[BIG], out[BIG + 5];
    fill(in, sizeof(in));
    put("begun");
    cr_assert(cdt_queue_put(&queue, in, sizeof(in)));
    cr_expect_eq(queue.size, sizeof(out));
    take(out, sizeof(out), 777);
    cr_expect_arr_eq(out, "begun", 5);
    cr_expect_arr_eq(out + 5, in, sizeof(in));
}

CDT_TEST(queue, a_peek_gives_no_more_pieces_than_asked_for)
{
    static unsigned char block[64 * 1024];
    struct iovec v[8];
    for (int i = 0; i < 5; i++)
        cr_assert(cdt_queue_put(&queue, block, sizeof(block)));
    cr_expect_eq(cdt_queue_peek(&queue, v, 2), 2);
    cr_expect_gt(cdt_queue_peek(&queue, v, 8), 2);
    cdt_queue_clear(&queue);
}

CDT_TEST(queue, puts_and_drops_of_any_size_agree_with_a_plain_array)
{
    static unsigned char in[2 * 1000 * 1000], out[40 * 1000];
    size_t head = 0, tail = 0; /* in[head, tail) is in the queue */
    srand(1);
    fill(in, sizeof(in));
    for (int i = 0; i < 1000; i++) {
        size_t limit = rand() % 8 == 0 ? sizeof(out) : 300;
        size_t n = (size_t)rand() % limit;
        if (tail + n <= sizeof(in) && rand() % 2 == 0) {
            cr_assert(cdt_queue_put(&queue, in + tail, n));
            tail += n;
        } else {
            n = n < tail - head ? n : tail - head;
            take(out, n, 1 + (size_t)rand() % limit);
            cr_assert_arr_eq(out, in + head, n, "round %d", i);
            head += n;
        }
        cr_assert_eq(queue.size, tail - head, "round %d", i);
    }
    cdt_queue_clear(&queue);
}

/* However it is cut, and wherever it begins. */
CDT_TEST(queue, pieces_are_put_as_one_but_for_what_has_gone)
{
    static unsigned char in[100 * 1000], out[sizeof(in)];
    srand(2);
    fill(in, sizeof(in));
    for (int i = 0; i < 300; i++) {
        struct iovec v[5];
        size_t n = 0, limit = i % 4 == 0 ? 20 * 1000 : 100;
        for (int piece = 0; piece < 5; piece++) {
            v[piece] = (struct iovec){in + n, (size_t)rand() % limit};
            n += v[piece].iov_len;
        }
        size_t skip = n > 0 ? (size_t)rand() % (n + 1) : 0;
        cr_assert(cdt_queue_putv(&queue, v, 5, skip));
        cr_assert_eq(queue.size, n - skip, "round %d", i);
        take(out, n - skip, 1 + (size_t)rand() % limit);
        cr_assert_arr_eq(out, in + skip, n - skip, "round %d", i);
    }
    cr_expect(cdt_queue_putv(&queue, NULL, 0, 0));
}

/* ---- files ---- */

static int file_of(const void *bytes, size_t n)
{
    int fd = open(cdt_test_path("file"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
    return fd;
}

CDT_TEST(queue, a_file_is_no_memory_until_it_is_loaded)
{
    struct iovec v[4];
    struct cdt_extent extent = {file_of("0123456789", 10), 2, 8};
    put("ab");
    cr_assert(cdt_queue_put_file(&queue, &extent));
    put("cd");
    cr_expect_eq(queue.size, 12);
    cr_expect_eq(queue.in_files, 8);
    cr_expect_eq(cdt_queue_peek(&queue, v, 4), 1, "up to the file");
    cr_expect_not(cdt_queue_peek_file(&queue, &extent));
    expect("ab");
    cr_expect_eq(cdt_queue_peek(&queue, v, 4), 0);
    cdt_queue_drop(&queue, 3); /* it was sent as it is */
    cr_expect_eq(queue.in_files, 5);
    cr_assert(cdt_queue_peek_file(&queue, &extent));
    cr_expect(extent.offset == 5 && extent.n == 5);
    cr_expect_eq(cdt_queue_load(&queue, 4), 4);
    cr_expect(queue.in_files == 1 && queue.size == 7);
    cr_expect_eq(cdt_queue_peek(&queue, v, 4), 1);
    expect("5678");
    cr_expect_eq(cdt_queue_load(&queue, 4), 1);
    expect("9cd");
    cr_expect_eq(queue.in_files, 0);
}

CDT_TEST(queue, a_file_at_its_end_or_that_cannot_be_read_stays_where_it_is)
{
    struct cdt_extent extent = {file_of("0123456789", 10), 8, 8};
    cr_assert(cdt_queue_put_file(&queue, &extent));
    cr_expect_eq(cdt_queue_load(&queue, 8), 2);
    expect("89");
    cr_expect_eq(cdt_queue_load(&queue, 8), 0);
    cr_expect_eq(queue.size, 6);
    cdt_queue_clear(&queue);
    cr_expect_eq(queue.in_files, 0);
    extent = (struct cdt_extent){open("/", O_PATH | O_CLOEXEC), 0, 8};
    cr_assert(cdt_queue_put_file(&queue, &extent));
    cr_expect_eq(cdt_queue_load(&queue, 8), -1);
    cr_expect_eq(errno, EBADF);
    cdt_queue_clear(&queue);
}
