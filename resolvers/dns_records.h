/* SPDX-License-Identifier: ISC */
/*
 * What a DNS answer says: from the bytes of a packet to records, or to why there are none.
 *
 * Pure, and made for packets that lie. An answer is one value on the heap that keeps what it needs
 * of the packet. It is shared by references and does not change.
 */
#ifndef CDT_DNS_RECORDS_H
#define CDT_DNS_RECORDS_H

#include "srv.h"
#include "svcb.h"
#include <netinet/in.h>

enum cdt_dns_type {
    CDT_DNS_A = 1,
    CDT_DNS_AAAA = 28,
    CDT_DNS_SRV = 33,
    CDT_DNS_TLSA = 52,
    CDT_DNS_SVCB = 64,
    CDT_DNS_HTTPS = 65,
};

enum cdt_dns_status {
    CDT_DNS_OK,       /* there are records */
    CDT_DNS_NODATA,   /* the name has none of this type, or none that may be used */
    CDT_DNS_NXDOMAIN, /* there is no such name */
    CDT_DNS_SERVFAIL,
    CDT_DNS_REFUSED,
    CDT_DNS_FAILED,    /* another rcode */
    CDT_DNS_TRUNCATED, /* ask again over TCP */
    CDT_DNS_MALFORMED, /* `why` says how */
};

enum {
    CDT_DNS_ALIASES = 8,  /* CNAMEs in a row; more are malformed */
    CDT_DNS_RECORDS = 64, /* of those asked for; the others are left out */
};

/* RFC 6698, section 2.1. */
struct cdt_tlsa {
    uint8_t usage, selector, type;
    struct cdt_bytes data;
};

/* Of the cache that keeps an answer, and nobody else's affair. */
struct cdt_dns_kept {
    uint64_t hash;                      /* of the first name */
    struct cdt_dns_answer *below;       /* in the chain */
    struct cdt_dns_answer *prev, *next; /* in the order of use */
    uint64_t since_ms;
    int32_t ttl; /* from then on */
};

struct cdt_dns_answer {
    unsigned refs;
    enum cdt_dns_type type; /* in question */
    struct cdt_dns_kept kept;
    enum cdt_dns_status status;
    int rcode;
    bool authentic;  /* DNSSEC vouches for all of it, says a server that is trusted to know (AD) */
    const char *why; /* of MALFORMED; static */
    /* Seconds for which all of this holds, what there is not as well as what there is: the shortest
     * of the records on the way to it. 0 if a server failed. */
    int32_t ttl;
    size_t n_aliases;
    /* The name in question, and after it the aliases: folded. The last one owns the records. The
     * aliases are each on the heap. */
    char *names[CDT_DNS_ALIASES + 1];
    size_t n; /* records; 0 unless OK */
    union {
        void *any;
        struct in_addr *a;
        struct in6_addr *aaaa;
        struct cdt_srv *srv;
        struct cdt_svcb *svcb;
        struct cdt_tlsa *tlsa;
    } records;
    /* What follows in the same piece of memory: the records, the bytes of the packet if they point
     * into them, the first name. */
};

/* Read the answer to a question for `name` and one of the types: a reference. NULL when out of
 * memory. */
struct cdt_dns_answer *cdt_dns_decode(const uint8_t *packet, size_t size, const char *name,
                                      enum cdt_dns_type type);
const struct cdt_dns_answer *cdt_dns_answer_ref(const struct cdt_dns_answer *answer);
/* NULL is fine. */
void cdt_dns_answer_unref(const struct cdt_dns_answer *answer);

#endif
