/* SPDX-License-Identifier: ISC */
/* A chain of blocks of bytes: queue.h says what for. */
#include "queue.h"
#include "util.h"
#include <conduit/memory.h>
#include <string.h>

enum { BLOCK_SIZE = 16 * 1024 };

struct cdt_block {
    struct cdt_block *next;
    size_t start, end, room; /* [start, end) is data, [end, room) is free */
    unsigned char bytes[];
};

static struct cdt_block *append_block(struct cdt_queue *queue, size_t room)
{
    struct cdt_block *block = conduit_malloc(sizeof(*block) + room);
    if (block == NULL)
        return NULL;
    block->next = NULL;
    block->start = block->end = 0;
    block->room = room;
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

bool cdt_queue_putv(struct cdt_queue *queue, const struct iovec *v, int pieces, size_t skip)
{
    size_t n = 0;
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

int cdt_queue_peek(const struct cdt_queue *queue, struct iovec *v, int max)
{
    int n = 0;
    for (struct cdt_block *block = queue->first; block != NULL && n < max; block = block->next) {
        v[n].iov_base = block->bytes + block->start;
        v[n].iov_len = block->end - block->start;
        n++;
    }
    return n;
}

static void drop_block(struct cdt_queue *queue)
{
    struct cdt_block *first = queue->first;
    queue->first = first->next;
    if (queue->first == NULL)
        queue->last = NULL;
    conduit_free(first);
}

void cdt_queue_drop(struct cdt_queue *queue, size_t n)
{
    queue->size -= n;
    while (queue->first != NULL) {
        struct cdt_block *first = queue->first;
        size_t here = first->end - first->start;
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
    queue->size = 0;
}
