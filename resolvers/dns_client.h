/* SPDX-License-Identifier: ISC */
/*
 * Questions to name servers, one record type of one name each: c-ares on the loop, with what it has
 * heard before in memory.
 *
 * An answer comes once, from a timer: neither from within cdt_dns_ask() nor from within c-ares. A
 * question lives until its on_answer() has returned, or until it is forgotten.
 */
#ifndef CDT_DNS_CLIENT_H
#define CDT_DNS_CLIENT_H

#include "dns_records.h"

struct cdt_dns_client;
struct cdt_dns_channel;

/* To read in on_answer(). */
struct cdt_dns_question {
    enum cdt_dns_type type;
    int status;                          /* c-ares's, ARES_SUCCESS and so on */
    const struct cdt_dns_answer *answer; /* borrowed; NULL if there was none that can be read */
    int32_t ttl;                         /* of the answer, from now on */
    int32_t kept_s; /* how long it is remembered; 0: not at all, or was known */
    void *owner;

    /* The client's. */
    void (*on_answer)(struct cdt_dns_question *question); /* NULL: was called, or never will be */
    struct cdt_dns_channel *channel;
    struct cdt_dns_question *next, *next_unasked;
    uint64_t until_ms; /* 0: as long as it takes */
    unsigned epoch;    /* the flushes that had been when it was asked */
    bool pending;      /* c-ares has it, or will */
    bool alone;        /* ... for the second time, on a channel of its own */

    char name[]; /* folded; to read as well */
};

/* `servers` (taken over) are asked instead of those of resolv.conf; may be NULL. `trusts_ad`: they
 * are believed when they say that an answer is authentic. NULL when out of memory. */
struct cdt_dns_client *cdt_dns_client_new(uv_loop_t *loop, char *servers, bool trusts_ad);
/* With handles that close in their time. Nothing is answered any more. */
void cdt_dns_client_free(struct cdt_dns_client *client);

/* NULL when out of memory. `name` may be any. */
struct cdt_dns_question *cdt_dns_ask(struct cdt_dns_client *client, const char *name,
                                     enum cdt_dns_type type,
                                     void (*on_answer)(struct cdt_dns_question *question),
                                     void *owner);
/* The answer is no longer of interest. */
void cdt_dns_forget(struct cdt_dns_question *question);
/* Wait no more than that long from now on: then the answer is ARES_ETIMEOUT. Counts once. */
void cdt_dns_limit(struct cdt_dns_client *client, struct cdt_dns_question *question,
                   uint64_t delay_ms);
/* Forget all that was heard. What is being asked is answered, and not remembered. */
void cdt_dns_flush(struct cdt_dns_client *client);

/* Is it answered from memory? */
bool cdt_dns_is_known(const struct cdt_dns_question *question);
/* Who is asked: "192.0.2.1, [2001:db8::1]:5353". */
const char *cdt_dns_servers_of(const struct cdt_dns_question *question);

#endif
