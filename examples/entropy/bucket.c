/* SPDX-License-Identifier: ISC */
/* See bucket.h. */
#include "bucket.h"
#include <stdio.h>
#include <string.h>

size_t bucket_level(const struct buckets *buckets, struct bucket *bucket, uint64_t now_ms)
{
    double full = (double)buckets->burst;
    bucket->bytes += (double)(now_ms - bucket->at_ms) * buckets->rate / 1000;
    bucket->at_ms = now_ms;
    if (bucket->bytes > full)
        bucket->bytes = full;
    return (size_t)bucket->bytes;
}

/* The one that says least: what is in it, its owner will have again, and a little more. */
static struct bucket *find_fullest(struct buckets *buckets, uint64_t now_ms)
{
    struct bucket *fullest = &buckets->list[0];
    for (size_t i = 0; i < buckets->n; i++) {
        bucket_level(buckets, &buckets->list[i], now_ms);
        if (buckets->list[i].bytes > fullest->bytes)
            fullest = &buckets->list[i];
    }
    return fullest;
}

struct bucket *bucket_of(struct buckets *buckets, const char *name, uint64_t now_ms)
{
    struct bucket *bucket;
    for (size_t i = 0; i < buckets->n; i++)
        if (strcmp(buckets->list[i].name, name) == 0)
            return &buckets->list[i];
    if (buckets->n < BUCKETS_MOST)
        bucket = &buckets->list[buckets->n++];
    else
        bucket = find_fullest(buckets, now_ms);
    *bucket = (struct bucket){.bytes = (double)buckets->burst, .at_ms = now_ms};
    snprintf(bucket->name, sizeof(bucket->name), "%s", name);
    return bucket;
}

void bucket_take(struct bucket *bucket, size_t n)
{
    bucket->bytes -= (double)n;
}

uint64_t bucket_wait(const struct buckets *buckets, const struct bucket *bucket, size_t n)
{
    double missing = (double)n - bucket->bytes;
    double ms = missing > 0 ? missing / buckets->rate * 1000 : 0;
    return ms < BUCKET_WAIT_MS ? (uint64_t)ms + 1 : BUCKET_WAIT_MS;
}
