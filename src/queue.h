/* SPDX-License-Identifier: ISC */
/*
 * A queue of bytes that were taken and not yet written: what conduit_write() could not send at
 * once.
 *
 * A chain of blocks. Small writes share a block, so that a thousand of them are a few system calls;
 * a large one gets a block of its own size. Nothing moves once it is in. Empty, it holds no memory.
 */
#ifndef CDT_QUEUE_H
#define CDT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

struct cdt_block;

struct cdt_queue {
    struct cdt_block *first, *last;
    size_t size; /* bytes in it */
};

/* Append a copy of `n` bytes: all, or (false) nothing because memory is short. */
bool cdt_queue_put(struct cdt_queue *queue, const void *data, size_t n);
/* The same for those of `pieces` pieces, but for the first `skip` bytes of them. */
bool cdt_queue_putv(struct cdt_queue *queue, const struct iovec *v, int pieces, size_t skip);
/* The front of the queue as at most `max` pieces; returns how many. They stay until taken off. */
int cdt_queue_peek(const struct cdt_queue *queue, struct iovec *v, int max);
/* Take `n` <= size bytes off the front. */
void cdt_queue_drop(struct cdt_queue *queue, size_t n);
void cdt_queue_clear(struct cdt_queue *queue);

#endif
