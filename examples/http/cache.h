/* SPDX-License-Identifier: ISC */
/*
 * Small files, kept in memory for as long as they are what they were: the kernel is asked for the
 * file's identity and times, and whatever differs means that it is read again. It is asked once a
 * tick of the clock that file times are made of, for in between it could not tell; and what was
 * changed a moment ago is not kept at all, for the same reason.
 *
 * A table of a fixed size, of one thread. A file that was given out lives until its last body has
 * ended, kept or not.
 */
#ifndef EXAMPLES_HTTP_CACHE_H
#define EXAMPLES_HTTP_CACHE_H

#include "message.h"
#include <sys/stat.h>

enum { HTTP_CACHE_FILE_MAX = 16 * 1024 };

struct http_cached {
    unsigned refs;
    char *path;
    struct stat st;
    struct timespec looked;    /* the tick when it was still so */
    char date[HTTP_DATE_SIZE]; /* of the last change, as it is written */
    char etag[64];
    size_t n;
    char bytes[];
};

struct http_cache;

/* NULL: out of memory. */
struct http_cache *http_cache_new(void);
void http_cache_free(struct http_cache *cache);

/* The file at `path` below the directory `root`, borrowed until the next call; NULL: it is not
 * here, or not any more. */
struct http_cached *http_cache_find(struct http_cache *cache, int root, const char *path);
/* Keep what `fd` is, if it is small and old enough. NULL: it is not kept. */
struct http_cached *http_cache_put(struct http_cache *cache, const char *path, int fd,
                                   const struct stat *st);
/* A body of it. */
struct http_body http_cached_body(struct http_cached *cached, size_t from, size_t n);

#endif
