/* SPDX-License-Identifier: ISC */
/*
 * The cache of DNS answers: dns_cache.h says what it keeps.
 *
 * A table of short chains, and beside it a list in the order of use: the last used first. Both run
 * through the answers themselves. Where in the table a name is hangs on two secret figures, so that
 * no choice of names makes a chain long; its answers are beside each other, for who asks for one
 * asks for the next.
 */
#include "dns_cache.h"
#include <conduit/memory.h>
#include <utlist.h>

enum { DAY_S = 86400, HOUR_S = 3600 };

struct cdt_dns_cache {
    uint64_t start, factor; /* of hashes */
    struct cdt_dns_answer *used;
    size_t n, most;
    size_t mask; /* of the chains, which are a power of two and not fewer than `most` */
    struct cdt_dns_answer *chains[];
};

static uint64_t hash_of(const struct cdt_dns_cache *cache, const char *name)
{
    uint64_t hash = cache->start;
    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * cache->factor;
    return hash ^ hash >> 32;
}

/* Where in its chain an answer is; at NULL if it is not there. */
static struct cdt_dns_answer **find(struct cdt_dns_cache *cache, uint64_t hash, const char *name,
                                    enum cdt_dns_type type)
{
    struct cdt_dns_answer **at = &cache->chains[hash & cache->mask];
    while (*at != NULL &&
           ((*at)->kept.hash != hash || (*at)->type != type || strcmp((*at)->names[0], name) != 0))
        at = &(*at)->kept.below;
    return at;
}

static void drop(struct cdt_dns_cache *cache, struct cdt_dns_answer **at)
{
    struct cdt_dns_answer *answer = *at;
    *at = answer->kept.below;
    DL_DELETE2(cache->used, answer, kept.prev, kept.next);
    cache->n--;
    cdt_dns_answer_unref(answer);
}

/* Of the first, the one before is the last. */
static void drop_oldest(struct cdt_dns_cache *cache)
{
    const struct cdt_dns_answer *oldest = cache->used->kept.prev;
    struct cdt_dns_answer **at = &cache->chains[oldest->kept.hash & cache->mask];
    while (*at != oldest)
        at = &(*at)->kept.below;
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
    struct cdt_dns_answer **at = find(cache, hash_of(cache, name), name, type), *answer = *at;
    if (answer == NULL)
        return NULL;
    uint64_t age_s = (now_ms - answer->kept.since_ms) / 1000;
    if (age_s >= (uint64_t)answer->kept.ttl) {
        drop(cache, at);
        return NULL;
    }
    DL_DELETE2(cache->used, answer, kept.prev, kept.next);
    DL_PREPEND2(cache->used, answer, kept.prev, kept.next);
    *ttl = answer->kept.ttl - (int32_t)age_s;
    return cdt_dns_answer_ref(answer);
}

int32_t cdt_dns_cache_put(struct cdt_dns_cache *cache, struct cdt_dns_answer *answer,
                          uint64_t now_ms)
{
    uint64_t hash = hash_of(cache, answer->names[0]);
    struct cdt_dns_answer **at = find(cache, hash, answer->names[0], answer->type);
    int32_t ttl = life_of(answer);
    if (*at != NULL)
        drop(cache, at);
    if (ttl <= 0)
        return 0;
    if (cache->n == cache->most)
        drop_oldest(cache);
    struct cdt_dns_answer **chain = &cache->chains[hash & cache->mask];
    answer->kept =
        (struct cdt_dns_kept){.hash = hash, .below = *chain, .since_ms = now_ms, .ttl = ttl};
    *chain = answer;
    cdt_dns_answer_ref(answer);
    DL_PREPEND2(cache->used, answer, kept.prev, kept.next);
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
