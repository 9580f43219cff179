/* SPDX-License-Identifier: ISC */
/*
 * The cache of DNS answers: dns_cache.h says what it keeps.
 *
 * A table of short chains, and beside it a list in the order of use: the last used first. Where in
 * the table a name is hangs on two secret figures, so that no choice of names makes a chain long.
 */
#include "dns_cache.h"
#include <conduit/memory.h>
#include <utlist.h>

enum { DAY_S = 86400, HOUR_S = 3600 };

struct entry {
    struct entry *below;       /* in the chain */
    struct entry *prev, *next; /* in the order of use */
    uint64_t hash;             /* of the answer's first name and the type */
    enum cdt_dns_type type;
    int32_t ttl;
    uint64_t since_ms;
    const struct cdt_dns_answer *answer;
};

struct cdt_dns_cache {
    uint64_t start, factor; /* of hashes */
    struct entry *used;
    size_t n, most;
    size_t mask; /* of the chains, which are a power of two and not fewer than `most` */
    struct entry *chains[];
};

static uint64_t hash_of(const struct cdt_dns_cache *cache, const char *name, enum cdt_dns_type type)
{
    uint64_t hash = cache->start + type;
    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * cache->factor;
    return hash ^ hash >> 32;
}

/* Where in its chain an entry is; at NULL if it is not there. */
static struct entry **find(struct cdt_dns_cache *cache, uint64_t hash, const char *name,
                           enum cdt_dns_type type)
{
    struct entry **at = &cache->chains[hash & cache->mask];
    while (*at != NULL && ((*at)->hash != hash || (*at)->type != type ||
                           strcmp((*at)->answer->names[0], name) != 0))
        at = &(*at)->below;
    return at;
}

static void drop(struct cdt_dns_cache *cache, struct entry **at)
{
    struct entry *entry = *at;
    *at = entry->below;
    DL_DELETE(cache->used, entry);
    cache->n--;
    cdt_dns_answer_unref(entry->answer);
    conduit_free(entry);
}

/* Of the first, the one before is the last. */
static void drop_oldest(struct cdt_dns_cache *cache)
{
    const struct entry *oldest = cache->used->prev;
    struct entry **at = &cache->chains[oldest->hash & cache->mask];
    while (*at != oldest)
        at = &(*at)->below;
    drop(cache, at);
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
    size_t chains = 1;
    while (chains < most)
        chains *= 2;
    struct cdt_dns_cache *cache =
        conduit_calloc(1, sizeof(*cache) + chains * sizeof(cache->chains[0]));
    uint64_t secret[2] = {0, 0x9e3779b97f4a7c15}; /* it is still a hash without chance */
    if (cache == NULL)
        return NULL;
    uv_random(NULL, NULL, secret, sizeof(secret), 0, NULL);
    cache->start = secret[0];
    cache->factor = secret[1] | 1;
    cache->most = most;
    cache->mask = chains - 1;
    return cache;
}

const struct cdt_dns_answer *cdt_dns_cache_get(struct cdt_dns_cache *cache, const char *name,
                                               enum cdt_dns_type type, uint64_t now_ms,
                                               int32_t *ttl)
{
    struct entry **at = find(cache, hash_of(cache, name, type), name, type), *entry = *at;
    if (entry == NULL)
        return NULL;
    uint64_t age_s = (now_ms - entry->since_ms) / 1000;
    if (age_s >= (uint64_t)entry->ttl) {
        drop(cache, at);
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
    uint64_t hash = hash_of(cache, answer->names[0], type);
    struct entry **at = find(cache, hash, answer->names[0], type);
    int32_t ttl = life_of(answer);
    if (*at != NULL)
        drop(cache, at);
    struct entry *entry = ttl > 0 ? conduit_calloc(1, sizeof(*entry)) : NULL;
    if (entry == NULL)
        return 0;
    if (cache->n == cache->most)
        drop_oldest(cache);
    struct entry **chain = &cache->chains[hash & cache->mask];
    *entry = (struct entry){.below = *chain,
                            .hash = hash,
                            .type = type,
                            .ttl = ttl,
                            .since_ms = now_ms,
                            .answer = cdt_dns_answer_ref(answer)};
    *chain = entry;
    DL_PREPEND(cache->used, entry);
    cache->n++;
    return ttl;
}

void cdt_dns_cache_clear(struct cdt_dns_cache *cache)
{
    while (cache->used != NULL)
        drop_oldest(cache);
}

void cdt_dns_cache_free(struct cdt_dns_cache *cache)
{
    if (cache == NULL)
        return;
    cdt_dns_cache_clear(cache);
    conduit_free(cache);
}
