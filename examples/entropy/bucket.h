/* SPDX-License-Identifier: ISC */
/*
 * Token buckets, one for each identity: how many bytes who may have by now.
 *
 * A bucket fills at the rate up to the burst. It belongs to who takes from it and not to a
 * connection, so to come again, or with many connections at once, is to no avail. There are MOST at
 * a time. For one more the fullest is forgotten: if it was full it said nothing that a new one does
 * not, and if not its owner gains what was missing. So who has more than MOST identities gets more
 * than his share, which he would with as many buckets, and keeps nobody else from theirs.
 */
#ifndef ENTROPY_BUCKET_H
#define ENTROPY_BUCKET_H

#include <stddef.h>
#include <stdint.h>

enum {
    BUCKETS_MOST = 1024,
    BUCKET_NAME = 128,
    BUCKET_WAIT_MS = 24 * 3600 * 1000, /* however slowly it fills, look again after that */
};

struct buckets {
    double rate; /* bytes a second */
    size_t burst;
    struct bucket {
        char name[BUCKET_NAME];
        double bytes;
        uint64_t at_ms; /* of that number */
    } list[BUCKETS_MOST];
    size_t n;
};

/* The bucket of `name`, a new one if need be. A pointer is good until somebody else asks for one. */
struct bucket *bucket_of(struct buckets *buckets, const char *name, uint64_t now_ms);
/* Bytes in it. */
size_t bucket_level(const struct buckets *buckets, struct bucket *bucket, uint64_t now_ms);
void bucket_take(struct bucket *bucket, size_t n);
/* Milliseconds until `n` bytes are there: 1 at least, BUCKET_WAIT_MS at most. */
uint64_t bucket_wait(const struct buckets *buckets, const struct bucket *bucket, size_t n);

#endif
