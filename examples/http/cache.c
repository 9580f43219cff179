/* SPDX-License-Identifier: ISC */
/* Small files in memory: cache.h says for how long. */
#include "cache.h"
#include "files.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLACES = 512, SETTLED_S = 2 };

struct http_cache {
    struct http_cached *places[PLACES];
};

static void unref(void *held)
{
    struct http_cached *cached = held;
    if (cached == NULL || --cached->refs > 0)
        return;
    free(cached->path);
    free(cached);
}

/* FNV-1a: each path has one place, and the last one that came has it. */
static struct http_cached **place_of(struct http_cache *cache, const char *path)
{
    uint32_t hash = 2166136261U;
    for (; *path != '\0'; path++)
        hash = (hash ^ (unsigned char)*path) * 16777619U;
    return &cache->places[hash % PLACES];
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mode == b->st_mode && is_same_time(&a->st_mtim, &b->st_mtim) &&
           is_same_time(&a->st_ctim, &b->st_ctim);
}

struct http_cached *http_cache_find(struct http_cache *cache, int root, const char *path)
{
    struct http_cached *cached = *place_of(cache, path);
    struct stat st;
    struct timespec now;
    if (cached == NULL || strcmp(cached->path, path) != 0)
        return NULL;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (is_same_time(&now, &cached->looked))
        return cached;
    const char *relative = path + strspn(path, "/");
    if (fstatat(root, relative, &st, 0) < 0 || !is_same(&st, &cached->st))
        return NULL;
    cached->looked = now;
    return cached;
}

static bool is_fit(const struct stat *st)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return st->st_size <= HTTP_CACHE_FILE_MAX && st->st_ctim.tv_sec + SETTLED_S < now.tv_sec &&
           st->st_mtim.tv_sec + SETTLED_S < now.tv_sec;
}

struct http_cached *http_cache_put(struct http_cache *cache, const char *path, int fd,
                                   const struct stat *st)
{
    size_t n = (size_t)st->st_size;
    if (!is_fit(st))
        return NULL;
    struct http_cached *cached = calloc(1, sizeof(*cached) + n);
    if (cached == NULL)
        return NULL;
    cached->refs = 1;
    cached->path = strdup(path);
    cached->st = *st;
    cached->n = n;
    http_date(cached->date, st->st_mtim.tv_sec);
    http_etag(cached->etag, sizeof(cached->etag), st);
    if (cached->path == NULL || pread(fd, cached->bytes, n, 0) != (ssize_t)n) {
        unref(cached);
        return NULL;
    }
    struct http_cached **place = place_of(cache, path);
    unref(*place);
    *place = cached;
    return cached;
}

struct http_body http_cached_body(struct http_cached *cached, size_t from, size_t n)
{
    cached->refs++;
    return http_body_lent(cached->bytes + from, n, unref, cached);
}

struct http_cache *http_cache_new(void)
{
    return calloc(1, sizeof(struct http_cache));
}

void http_cache_free(struct http_cache *cache)
{
    for (size_t i = 0; cache != NULL && i < PLACES; i++)
        unref(cache->places[i]);
    free(cache);
}
