/* SPDX-License-Identifier: ISC */
/*
 * A queue of bytes that were taken and not yet written: what conduit_write() could not send at
 * once.
 *
 * A chain of blocks. Small writes share a block, so that a thousand of them are a few system calls;
 * a large one gets a block of its own size. Nothing moves once it is in. Empty, it holds no memory.
 *
 * A block may be a part of a file, which is its descriptor, the queue's to close, and no memory. It
 * goes as it is, or is loaded a piece at a time.
 */
#ifndef CDT_QUEUE_H
#define CDT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct cdt_block;

struct cdt_queue {
    struct cdt_block *first, *last;
    size_t size;     /* bytes in it */
    size_t in_files; /* ... of these, that are not in memory */
};

/* So many bytes of a file. */
struct cdt_extent {
    int fd;
    off_t offset;
    size_t n;
};

/* Append a copy of `n` bytes: all, or (false) nothing because memory is short. */
bool cdt_queue_put(struct cdt_queue *queue, const void *data, size_t n);
/* The same for those of `pieces` pieces, but for the first `skip` bytes of them. */
bool cdt_queue_putv(struct cdt_queue *queue, const struct iovec *v, int pieces, size_t skip);
/* Append a part of a file; its descriptor is taken over. False: memory is short, and nothing was. */
bool cdt_queue_put_file(struct cdt_queue *queue, const struct cdt_extent *extent);
/* The front of the queue as at most `max` pieces, up to the next file; returns how many. They stay
 * until taken off. */
int cdt_queue_peek(const struct cdt_queue *queue, struct iovec *v, int max);
/* What is at the front, if that is a file. */
bool cdt_queue_peek_file(const struct cdt_queue *queue, struct cdt_extent *extent);
/* Read at most `most` bytes of the file at the front, so that they are memory. Their number; 0: it
 * has no more, although it should; or -1 and errno. */
ssize_t cdt_queue_load(struct cdt_queue *queue, size_t most);
/* Take `n` <= size bytes off the front. */
void cdt_queue_drop(struct cdt_queue *queue, size_t n);
void cdt_queue_clear(struct cdt_queue *queue);

#endif
