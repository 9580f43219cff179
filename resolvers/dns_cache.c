/* SPDX-License-Identifier: ISC */
/*
 * The cache of DNS answers: dns_cache.h says what it keeps.
 *
 * A tree, so that no choice of names makes it slow, and beside it a list in the order of use: the
 * last used first.
 */
#include "dns_cache.h"
#include <conduit/memory.h>
#include <utlist.h>
#include <uv/tree.h>

enum { DAY_S = 86400, HOUR_S = 3600 };

struct entry {
    RB_ENTRY(entry) node;
    struct entry *prev, *next;
    const char *name; /* of the answer; or, to look for one, of whoever asks */
    enum cdt_dns_type type;
    const struct cdt_dns_answer *answer;
    uint64_t since_ms;
    int32_t ttl;
};

RB_HEAD(tree, entry);

struct cdt_dns_cache {
    struct tree tree;
    struct entry *used;
    size_t n, most;
};

static int compare(const struct entry *a, const struct entry *b)
{
    return a->type != b->type ? (int)a->type - (int)b->type : strcmp(a->name, b->name);
}

RB_GENERATE_STATIC(tree, entry, node, compare)

static struct entry *find(struct cdt_dns_cache *cache, const char *name, enum cdt_dns_type type)
{
    struct entry like = {.name = name, .type = type};
    return RB_FIND(tree, &cache->tree, &like);
}

static void drop(struct cdt_dns_cache *cache, struct entry *entry)
{
    RB_REMOVE(tree, &cache->tree, entry);
    DL_DELETE(cache->used, entry);
    cache->n--;
    cdt_dns_answer_unref(entry->answer);
    conduit_free(entry);
}

/* How long an answer may be kept: 0 if it may not. */
static int32_t life_of(const struct cdt_dns_answer *answer)
{
    int32_t most = answer->status == CDT_DNS_OK ? DAY_S : HOUR_S;
    if (answer->status > CDT_DNS_NXDOMAIN)
        return 0;
    return answer->ttl < most ? answer->ttl : most;
}

struct cdt_dns_cache *cdt_dns_cache_new(size_t most)
{
    struct cdt_dns_cache *cache = conduit_calloc(1, sizeof(*cache));
    if (cache != NULL)
        cache->most = most;
    return cache;
}

const struct cdt_dns_answer *cdt_dns_cache_get(struct cdt_dns_cache *cache, const char *name,
                                               enum cdt_dns_type type, uint64_t now_ms,
                                               int32_t *ttl)
{
    struct entry *entry = find(cache, name, type);
    if (entry == NULL)
        return NULL;
    uint64_t age_s = (now_ms - entry->since_ms) / 1000;
    if (age_s >= (uint64_t)entry->ttl) {
        drop(cache, entry);
        return NULL;
    }
    DL_DELETE(cache->used, entry);
    DL_PREPEND(cache->used, entry);
    *ttl = entry->ttl - (int32_t)age_s;
    return cdt_dns_answer_ref(entry->answer);
}

int32_t cdt_dns_cache_put(struct cdt_dns_cache *cache, const struct cdt_dns_answer *answer,
                          enum cdt_dns_type type, uint64_t now_ms)
{
    struct entry *known = find(cache, answer->names[0], type);
    int32_t ttl = life_of(answer);
    if (known != NULL)
        drop(cache, known);
    struct entry *entry = ttl > 0 ? conduit_calloc(1, sizeof(*entry)) : NULL;
    if (entry == NULL)
        return 0;
    if (cache->n == cache->most)
        drop(cache, cache->used->prev); /* of the first, the last */
    *entry = (struct entry){.name = answer->names[0],
                            .type = type,
                            .answer = cdt_dns_answer_ref(answer),
                            .since_ms = now_ms,
                            .ttl = ttl};
    RB_INSERT(tree, &cache->tree, entry);
    DL_PREPEND(cache->used, entry);
    cache->n++;
    return ttl;
}

void cdt_dns_cache_clear(struct cdt_dns_cache *cache)
{
    while (cache->used != NULL)
        drop(cache, cache->used);
}

void cdt_dns_cache_free(struct cdt_dns_cache *cache)
{
    if (cache == NULL)
        return;
    cdt_dns_cache_clear(cache);
    conduit_free(cache);
}
