/* SPDX-License-Identifier: ISC */
/*
 * What name servers have said and still holds: answers by name and type, those too that say that
 * there is nothing.
 *
 * An answer is kept for as long as it says itself, a day at most and an hour if it is about nothing
 * (RFC 2308, section 5); one that holds for 0 seconds is not kept at all. When the cache is full
 * the answer that was longest not asked for goes. Pure: the clock is the caller's, any that only
 * goes forward.
 */
#ifndef CDT_DNS_CACHE_H
#define CDT_DNS_CACHE_H

#include "dns_records.h"

struct cdt_dns_cache;

/* Room for `most` answers. NULL when out of memory. */
struct cdt_dns_cache *cdt_dns_cache_new(size_t most);
/* The answer to what is asked for a folded name, with the seconds that it holds from now on in
 * *ttl: a reference. NULL: there is none. */
const struct cdt_dns_answer *cdt_dns_cache_get(struct cdt_dns_cache *cache, const char *name,
                                               enum cdt_dns_type type, uint64_t now_ms,
                                               int32_t *ttl);
/* Keep an answer that is in no cache (by a reference of its own) in the place of what was known, or
 * do not, when it does not hold. Returns the seconds for which it is kept, 0 if it is not. */
int32_t cdt_dns_cache_put(struct cdt_dns_cache *cache, struct cdt_dns_answer *answer,
                          uint64_t now_ms);
void cdt_dns_cache_clear(struct cdt_dns_cache *cache);
/* NULL is fine. */
void cdt_dns_cache_free(struct cdt_dns_cache *cache);

#endif
