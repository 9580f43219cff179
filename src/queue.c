/* SPDX-License-Identifier: ISC */
/* A chain of blocks of bytes: queue.h says what for. */
#include "queue.h"
#include "util.h"
#include <conduit/memory.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_SIZE = 16 * 1024 };

struct cdt_block {
    struct cdt_block *next;
    size_t start, end, room; /* [start, end) is data, [end, room) is free */
    int fd; /* of a file, of which that is counted from `offset`; -1: it is memory */
    off_t offset;
    unsigned char bytes[];
};

static struct cdt_block *make_block(size_t room)
{
    struct cdt_block *block = conduit_malloc(sizeof(*block) + room);
    if (block == NULL)
        return NULL;
    block->next = NULL;
    block->start = block->end = 0;
    block->room = room;
    block->fd = -1;
    return block;
}

static struct cdt_block *append_block(struct cdt_queue *queue, size_t room)
{
    struct cdt_block *block = make_block(room);
    if (block == NULL)
        return NULL;
    if (queue->last != NULL)
        queue->last->next = block;
    else
        queue->first = block;
    queue->last = block;
    return block;
}

static size_t fill(struct cdt_block *block, const unsigned char *data, size_t n)
{
    size_t room = block->room - block->end;
    size_t take = n < room ? n : room;
    memcpy(block->bytes + block->end, data, take);
    block->end += take;
    return take;
}

/* Where `n` bytes can be filled in, from this block on; NULL: nowhere. */
static struct cdt_block *make_room(struct cdt_queue *queue, size_t n)
{
    struct cdt_block *last = queue->last;
    size_t room = last != NULL ? last->room - last->end : 0;
    if (n <= room)
        return last;
    size_t rest = n - room;
    struct cdt_block *extra = append_block(queue, rest > BLOCK_SIZE ? rest : BLOCK_SIZE);
    return extra == NULL || room == 0 ? extra : last;
}

/* Does a small write end in the block that there is? That is the usual one. */
static bool fits_last(const struct cdt_queue *queue, size_t n)
{
    return queue->last != NULL && n <= queue->last->room - queue->last->end;
}

bool cdt_queue_putv(struct cdt_queue *queue, const struct iovec *v, int pieces, size_t skip)
{
    size_t n = 0;
    if (pieces == 1 && fits_last(queue, v->iov_len - skip)) {
        fill(queue->last, (const unsigned char *)v->iov_base + skip, v->iov_len - skip);
        queue->size += v->iov_len - skip;
        return true;
    }
    for (int i = 0; i < pieces; i++)
        n += v[i].iov_len;
    struct cdt_block *at = n > skip ? make_room(queue, n - skip) : NULL;
    if (at == NULL)
        return n == skip;
    queue->size += n - skip;
    for (; pieces > 0; v++, pieces--) {
        size_t from = skip < v->iov_len ? skip : v->iov_len;
        skip -= from;
        while (from < v->iov_len) {
            if (at->end == at->room)
                at = at->next;
            from += fill(at, (const unsigned char *)v->iov_base + from, v->iov_len - from);
        }
    }
    return true;
}

bool cdt_queue_put(struct cdt_queue *queue, const void *data, size_t n)
{
    const struct iovec v = {.iov_base = cdt_bytes(data), .iov_len = n};
    return cdt_queue_putv(queue, &v, 1, 0);
}

bool cdt_queue_put_file(struct cdt_queue *queue, const struct cdt_extent *extent)
{
    struct cdt_block *block = append_block(queue, 0);
    if (block == NULL)
        return false;
    block->fd = extent->fd;
    block->offset = extent->offset;
    block->end = block->room = extent->n; /* nothing is filled in behind it */
    queue->size += extent->n;
    queue->in_files += extent->n;
    return true;
}

static struct cdt_extent extent_of(const struct cdt_block *block)
{
    return (struct cdt_extent){block->fd, block->offset + (off_t)block->start,
                               block->end - block->start};
}

bool cdt_queue_peek_file(const struct cdt_queue *queue, struct cdt_extent *extent)
{
    if (queue->first == NULL || queue->first->fd < 0)
        return false;
    *extent = extent_of(queue->first);
    return true;
}

static void drop_block(struct cdt_queue *queue)
{
    struct cdt_block *first = queue->first;
    queue->first = first->next;
    if (queue->first == NULL)
        queue->last = NULL;
    if (first->fd >= 0)
        close(first->fd);
    conduit_free(first);
}

/* `n` bytes of the file at the front have gone, or are elsewhere. */
static void advance_file(struct cdt_queue *queue, size_t n)
{
    queue->in_files -= n;
    queue->first->start += n;
    if (queue->first->start == queue->first->end)
        drop_block(queue);
}

static void prepend(struct cdt_queue *queue, struct cdt_block *block)
{
    block->next = queue->first;
    queue->first = block;
    if (queue->last == NULL)
        queue->last = block;
}

ssize_t cdt_queue_load(struct cdt_queue *queue, size_t most)
{
    const struct cdt_extent extent = extent_of(queue->first);
    struct cdt_block *block = make_block(extent.n < most ? extent.n : most);
    if (block == NULL) {
        errno = ENOMEM;
        return -1;
    }
    ssize_t n;
    do
        n = pread(extent.fd, block->bytes, block->room, extent.offset);
    while (n < 0 && errno == EINTR);
    if (n <= 0) {
        int number = errno;
        conduit_free(block);
        errno = number;
        return n;
    }
    block->end = block->room = (size_t)n;
    advance_file(queue, (size_t)n);
    prepend(queue, block);
    return n;
}

int cdt_queue_peek(const struct cdt_queue *queue, struct iovec *v, int max)
{
    int n = 0;
    for (struct cdt_block *block = queue->first; block != NULL && block->fd < 0 && n < max;
         block = block->next) {
        v[n].iov_base = block->bytes + block->start;
        v[n].iov_len = block->end - block->start;
        n++;
    }
    return n;
}

void cdt_queue_drop(struct cdt_queue *queue, size_t n)
{
    queue->size -= n;
    while (queue->first != NULL) {
        struct cdt_block *first = queue->first;
        size_t here = first->end - first->start;
        size_t gone = n < here ? n : here;
        queue->in_files -= first->fd >= 0 ? gone : 0;
        if (n < here) {
            first->start += n;
            return;
        }
        n -= here;
        drop_block(queue);
    }
}

void cdt_queue_clear(struct cdt_queue *queue)
{
    while (queue->first != NULL)
        drop_block(queue);
    queue->size = queue->in_files = 0;
}
