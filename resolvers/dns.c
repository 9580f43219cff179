/* SPDX-License-Identifier: ISC */
/*
 * dns: where a host is, and where a service of it is, by DNS.
 *
 *   start()        one lookup: the addresses of the host (A and AAAA apart, so that a slow family
 *                  never holds up the other), or first SRV, or beside them HTTPS or SVCB
 *   on_service()   the services: each is a place, a name and a port, whose addresses are asked for
 *   on_addresses() the query is told; the last answer ends it, soon after NXDOMAIN
 *   cancel()       the questions are forgotten
 *
 * SRV (RFC 2782) comes before everything and, where there is any, takes the place of the host.
 * HTTPS and SVCB (RFC 9460) only add places that are better than the host, which stays as it is. A
 * lookup lives as long as its query; within an answer, where the query may be canceled, until that
 * is told.
 */
#define CARES_NO_DEPRECATED 1
#include "dns_client.h"
#include "dns_servers.h"
#include "dns_text.h"
#include "dns_trace.h"
#include <ares.h>
#include <conduit/memory.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>

enum {
    N_FAMILIES = 2,
    MAX_PLACES = 12,  /* for it is others who say whom to ask and dial */
    MAX_ALIASES = 8,  /* HTTPS records in a row that say "see there" */
    PATIENCE_MS = 50, /* with what is not worth more */
    ALPN_SIZE = 256,
    SERVICE_SIZE = 330, /* more than a name has, so that one that is too long is not cut to fit */
};

struct dns {
    bool off; /* the system is asked instead */
    struct cdt_dns_client *client;
};

struct place {
    uint16_t port;
    int rank;                                       /* less is better */
    int32_t ttl;                                    /* of what led here */
    struct cdt_dns_question *questions[N_FAMILIES]; /* NULL: not asked, or answered */
    char name[];                                    /* folded */
};

struct lookup {
    struct dns *dns;
    conduit_query *query;             /* NULL: canceled, or over */
    bool busy;                        /* inside an answer */
    int verdict;                      /* of the addresses so far, what says most */
    bool judged;                      /* ... if there were any */
    char why[CDT_WHY_SIZE];           /* ... in words, of a failure */
    struct cdt_dns_question *service; /* SRV, HTTPS or SVCB; NULL: not asked, or answered */
    size_t n_aliases;
    size_t n_places;
    struct place *places[MAX_PLACES];
};

/* ---- the verdict */

/* One address makes it a success. NXDOMAIN is about the name. A failure may hide addresses, while
 * NODATA says that there are none of its family. */
static int weight_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return 3;
    case ARES_ENOTFOUND:
        return 2;
    case ARES_ENODATA:
        return 0;
    default:
        return 1;
    }
}

static void judge(struct lookup *lookup, int status, const char *servers)
{
    if (lookup->judged && weight_of(status) <= weight_of(lookup->verdict))
        return;
    lookup->judged = true;
    lookup->verdict = status;
    if (status != ARES_SUCCESS)
        cdt_dns_print_failure(lookup->why, status, servers);
}

/* ---- questions */

static void on_addresses(struct cdt_dns_question *question);
static void on_service(struct cdt_dns_question *question);

static int index_of(enum cdt_dns_type type)
{
    return type == CDT_DNS_AAAA ? 0 : 1;
}

/* Whatever is asked may be traced, and whoever traces may cancel. */
static void ask(struct lookup *lookup, const char *name, enum cdt_dns_type type,
                void (*on_answer)(struct cdt_dns_question *question), struct cdt_dns_question **ret)
{
    *ret = cdt_dns_ask(lookup->dns->client, name, type, on_answer, lookup);
    if (*ret != NULL)
        cdt_dns_trace_question(lookup->query, *ret);
    else
        judge(lookup, ARES_ENOMEM, "");
}

/* AAAA first: its answer is waited for (RFC 8305, 3). */
static void ask_place(struct lookup *lookup, struct place *place)
{
    int only = conduit_query_family(lookup->query);
    if (only != AF_INET)
        ask(lookup, place->name, CDT_DNS_AAAA, on_addresses, &place->questions[0]);
    if (only != AF_INET6 && lookup->query != NULL)
        ask(lookup, place->name, CDT_DNS_A, on_addresses, &place->questions[1]);
}

static bool has_place(const struct lookup *lookup, const char *name, uint16_t port)
{
    for (size_t i = 0; i < lookup->n_places; i++)
        if (lookup->places[i]->port == port && strcmp(lookup->places[i]->name, name) == 0)
            return true;
    return false;
}

/* Once each, and no more than there is room for. */
static void add_place(struct lookup *lookup, const char *name, uint16_t port, int rank, int32_t ttl)
{
    char folded[CDT_NAME_SIZE];
    cdt_fold_name(name, strlen(name), folded);
    if (lookup->query == NULL || port == 0 || lookup->n_places == MAX_PLACES ||
        has_place(lookup, folded, port))
        return;
    size_t size = strlen(folded) + 1;
    struct place *place = conduit_malloc(sizeof(*place) + size);
    if (place == NULL) {
        judge(lookup, ARES_ENOMEM, "");
        return;
    }
    *place = (struct place){.port = port, .rank = rank, .ttl = ttl};
    memcpy(place->name, folded, size);
    lookup->places[lookup->n_places++] = place;
    ask_place(lookup, place);
}

/* The host itself, as if there were no services. */
static void add_host(struct lookup *lookup, int rank)
{
    const conduit_query *query = lookup->query;
    add_place(lookup, conduit_query_host(query), conduit_query_port(query), rank, INT32_MAX);
}

static void ask_srv(struct lookup *lookup)
{
    const conduit_query *query = lookup->query;
    char name[SERVICE_SIZE];
    snprintf(name, sizeof(name), "_%.62s._tcp.%.254s", conduit_query_service(query),
             conduit_query_host(query));
    ask(lookup, name, CDT_DNS_SRV, on_service, &lookup->service);
}

/* At the usual port without it (RFC 9460, 2.3). */
static void ask_svcb(struct lookup *lookup)
{
    const conduit_query *query = lookup->query;
    char name[SERVICE_SIZE], port[8] = "";
    if (!conduit_query_at_usual_port(query))
        snprintf(port, sizeof(port), "_%u.", conduit_query_port(query));
    snprintf(name, sizeof(name), "%s_%.62s.%.254s", port, conduit_query_service(query),
             conduit_query_host(query));
    ask(lookup, name, CDT_DNS_SVCB, on_service, &lookup->service);
}

/* At the usual port the host's own name (RFC 9460, 9.1). */
static void ask_https(struct lookup *lookup)
{
    const conduit_query *query = lookup->query;
    char name[SERVICE_SIZE];
    if (conduit_query_port(query) == 443)
        snprintf(name, sizeof(name), "%.300s", conduit_query_host(query));
    else
        snprintf(name, sizeof(name), "_%u._https.%.254s", conduit_query_port(query),
                 conduit_query_host(query));
    ask(lookup, name, CDT_DNS_HTTPS, on_service, &lookup->service);
}

static void forget(struct cdt_dns_question **question)
{
    if (*question != NULL)
        cdt_dns_forget(*question);
    *question = NULL;
}

static void forget_all(struct lookup *lookup)
{
    for (size_t i = 0; i < lookup->n_places; i++)
        for (int family = 0; family < N_FAMILIES; family++)
            forget(&lookup->places[i]->questions[family]);
    forget(&lookup->service);
}

/* ---- the end */

static void free_lookup(struct lookup *lookup)
{
    for (size_t i = 0; i < lookup->n_places; i++)
        conduit_free(lookup->places[i]);
    conduit_free(lookup);
}

static bool is_waiting(const struct lookup *lookup, int family)
{
    for (size_t i = 0; i < lookup->n_places; i++)
        if (lookup->places[i]->questions[family] != NULL)
            return true;
    return false;
}

static void finish(struct lookup *lookup)
{
    conduit_query *query = lookup->query;
    int verdict = lookup->verdict;
    forget_all(lookup);
    lookup->query = NULL;
    if (verdict == ARES_SUCCESS)
        conduit_query_done(query, 0, NULL, 0, NULL);
    else
        conduit_query_done(query, cdt_dns_code(verdict), "c-ares", verdict, lookup->why);
}

static void limit_all(struct lookup *lookup)
{
    struct cdt_dns_client *client = lookup->dns->client;
    struct cdt_dns_question **at = lookup->places[0]->questions;
    for (int family = 0; family < N_FAMILIES; family++)
        if (at[family] != NULL)
            cdt_dns_limit(client, at[family], PATIENCE_MS);
    if (lookup->service != NULL)
        cdt_dns_limit(client, lookup->service, PATIENCE_MS);
}

/* It is over when all is told. NXDOMAIN holds for every family (RFC 8020); but there are servers
 * that say it where they mean NODATA (RFC 4074, 4.2), so that the others get a moment to say
 * otherwise. For SVCB and HTTPS nobody waits long either who has an address. */
static void conclude(struct lookup *lookup)
{
    if (lookup->query == NULL)
        return;
    bool no_such_name = lookup->n_places == 1 && lookup->verdict == ARES_ENOTFOUND;
    bool waiting = is_waiting(lookup, 0) || is_waiting(lookup, 1);
    if (!waiting && lookup->service == NULL)
        finish(lookup);
    else if (no_such_name || (!waiting && lookup->verdict == ARES_SUCCESS && lookup->n_places > 0))
        limit_all(lookup);
}

/* The query may be canceled from within any of this. */
static void run(struct cdt_dns_question *question,
                void (*take)(struct lookup *lookup, struct cdt_dns_question *question))
{
    struct lookup *lookup = question->owner;
    lookup->busy = true;
    cdt_dns_trace_answer(lookup->query, question);
    if (lookup->query != NULL)
        take(lookup, question);
    conclude(lookup);
    lookup->busy = false;
    if (lookup->query == NULL)
        free_lookup(lookup);
}

/* ---- addresses */

static void add_ip4(conduit_query *query, const void *bytes, uint16_t port, int32_t ttl)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    memcpy(&at.sin_addr, bytes, sizeof(at.sin_addr));
    conduit_query_add_address_port(query, (const struct sockaddr *)&at, port, ttl);
}

static void add_ip6(conduit_query *query, const void *bytes, uint16_t port, int32_t ttl)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6};
    memcpy(&at.sin6_addr, bytes, sizeof(at.sin6_addr));
    conduit_query_add_address_port(query, (const struct sockaddr *)&at, port, ttl);
}

static void add_addresses(struct lookup *lookup, const struct place *place,
                          const struct cdt_dns_question *question)
{
    const struct cdt_dns_answer *answer = question->answer;
    size_t n = question->status == ARES_SUCCESS ? answer->n : 0;
    int32_t ttl = question->ttl < place->ttl ? question->ttl : place->ttl;
    conduit_query_set_rank(lookup->query, place->rank);
    for (size_t i = 0; i < n && lookup->query != NULL; i++)
        if (question->type == CDT_DNS_AAAA)
            add_ip6(lookup->query, &answer->records.aaaa[i], place->port, ttl);
        else
            add_ip4(lookup->query, &answer->records.a[i], place->port, ttl);
}

static struct place *find_place(struct lookup *lookup, const struct cdt_dns_question *question)
{
    struct place **at = lookup->places;
    while ((*at)->questions[index_of(question->type)] != question)
        at++;
    return *at;
}

static void take_addresses(struct lookup *lookup, struct cdt_dns_question *question)
{
    int i = index_of(question->type);
    struct place *place = find_place(lookup, question);
    place->questions[i] = NULL;
    judge(lookup, question->status, cdt_dns_servers_of(question));
    add_addresses(lookup, place, question);
    if (lookup->query != NULL && !is_waiting(lookup, i))
        conduit_query_settled(lookup->query, i == 0 ? AF_INET6 : AF_INET);
}

static void on_addresses(struct cdt_dns_question *question)
{
    run(question, take_addresses);
}

/* ---- services */

static uint32_t random_below(void *user, uint32_t bound)
{
    uint32_t value = 0;
    uv_random(NULL, NULL, &value, sizeof(value), 0, NULL);
    return value % bound;
}

/* For putting them in order. NULL, and a verdict, when out of memory. */
static void *copy_records(struct lookup *lookup, const struct cdt_dns_answer *answer, size_t size)
{
    void *list = conduit_malloc(answer->n * size);
    if (list != NULL)
        memcpy(list, answer->records.any, answer->n * size);
    else
        judge(lookup, ARES_ENOMEM, "");
    return list;
}

static void refuse(struct lookup *lookup)
{
    conduit_query *query = lookup->query;
    lookup->query = NULL;
    conduit_query_done(query, CONDUIT_ENONAME, NULL, 0,
                       "the service is decidedly not available (SRV)");
}

/* Where there are no records, or none can be had, the host is where the service is (RFC 2782). */
static void take_srv(struct lookup *lookup, const struct cdt_dns_question *question)
{
    if (question->status != ARES_SUCCESS) {
        add_host(lookup, 0);
        return;
    }
    struct cdt_srv *list = copy_records(lookup, question->answer, sizeof(*list));
    if (list == NULL)
        return;
    size_t n = cdt_srv_order(list, question->answer->n, random_below, NULL);
    for (size_t i = 0; i < n; i++)
        add_place(lookup, list[i].target, list[i].port, (int)i, question->ttl);
    conduit_free(list);
    if (lookup->n_places == 0)
        refuse(lookup);
}

/* "h2,http/1.1" as TLS has it: what separates two gives way to the length of the second. */
static struct cdt_bytes read_alpn(const char *list, uint8_t wire[ALPN_SIZE])
{
    size_t n = strlen(list), length;
    if (n == 0 || n >= ALPN_SIZE)
        return (struct cdt_bytes){wire, 0};
    memcpy(wire + 1, list, n);
    for (size_t at = 0; at <= n; at += length + 1) {
        length = strcspn(list + at, ",");
        wire[at] = (uint8_t)length;
    }
    return (struct cdt_bytes){wire, n + 1};
}

static void add_hints(struct lookup *lookup, const struct cdt_svcb *svcb, uint16_t port,
                      int32_t ttl)
{
    for (size_t i = 0; i < svcb->ipv6hint.n && lookup->query != NULL; i += 16)
        add_ip6(lookup->query, svcb->ipv6hint.at + i, port, ttl);
    for (size_t i = 0; i < svcb->ipv4hint.n && lookup->query != NULL; i += 4)
        add_ip4(lookup->query, svcb->ipv4hint.at + i, port, ttl);
}

static void add_offer(struct lookup *lookup, const struct cdt_svcb *svcb,
                      const struct cdt_dns_question *question, int rank)
{
    const struct cdt_dns_answer *answer = question->answer;
    const char *target = *svcb->target != '\0' ? svcb->target : answer->names[answer->n_aliases];
    uint16_t port = svcb->has_port ? svcb->port : conduit_query_port(lookup->query);
    if (port == 0)
        return;
    conduit_query_set_rank(lookup->query, rank);
    add_hints(lookup, svcb, port, question->ttl);
    add_place(lookup, target, port, rank, question->ttl);
}

static void follow(struct lookup *lookup, const struct cdt_svcb *alias, enum cdt_dns_type type)
{
    if (*alias->target != '\0' && lookup->n_aliases++ < MAX_ALIASES)
        ask(lookup, alias->target, type, on_service, &lookup->service);
}

/* What an alias leads to and has no services is a host like another (RFC 9460, 3). */
static void add_alias(struct lookup *lookup, const struct cdt_dns_question *question)
{
    if (lookup->n_aliases > 0)
        add_place(lookup, question->name, conduit_query_port(lookup->query), 0, INT32_MAX);
}

static void take_bindings(struct lookup *lookup, const struct cdt_dns_question *question)
{
    uint8_t wire[ALPN_SIZE];
    struct cdt_bytes alpn = read_alpn(conduit_query_alpn(lookup->query), wire);
    struct cdt_svcb_client client = {alpn, question->type == CDT_DNS_HTTPS ? "http/1.1" : NULL};
    struct cdt_svcb *list = copy_records(lookup, question->answer, sizeof(*list));
    if (list == NULL)
        return;
    size_t n = cdt_svcb_choose(list, question->answer->n, &client, random_below, NULL);
    for (size_t i = 0; i < n && lookup->query != NULL; i++)
        if (list[i].priority == 0)
            follow(lookup, &list[i], question->type);
        else
            add_offer(lookup, &list[i], question, (int)i);
    conduit_free(list);
    if (n == 0)
        add_alias(lookup, question);
}

/* Without a port a failure is all there is to tell, for the host is no way out. */
static void judge_service(struct lookup *lookup, const struct cdt_dns_question *question)
{
    bool failed = question->status != ARES_ENODATA && question->status != ARES_ENOTFOUND &&
                  question->status != ARES_SUCCESS;
    if (failed && conduit_query_port(lookup->query) == 0)
        judge(lookup, question->status, cdt_dns_servers_of(question));
}

static void take_service(struct lookup *lookup, struct cdt_dns_question *question)
{
    lookup->service = NULL;
    judge_service(lookup, question);
    if (question->type == CDT_DNS_SRV)
        take_srv(lookup, question);
    else if (question->status == ARES_SUCCESS)
        take_bindings(lookup, question);
    else
        add_alias(lookup, question);
}

static void on_service(struct cdt_dns_question *question)
{
    run(question, take_service);
}

/* ---- TLSA (RFC 6698) */

static void ask_all(struct lookup *lookup);

/* There is no connection without records that can be believed, and so no use for addresses. */
static void refuse_unproved(struct lookup *lookup, const struct cdt_dns_question *question)
{
    conduit_query *query = lookup->query;
    char why[2 * CDT_WHY_SIZE + CDT_NAME_SIZE] = "", failure[CDT_WHY_SIZE];
    int status = question->status;
    if (status != ARES_SUCCESS)
        cdt_dns_print_failure(failure, status, cdt_dns_servers_of(question));
    else
        snprintf(failure, sizeof(failure),
                 "DNSSEC does not vouch for it (AD), or nobody who is "
                 "trusted to know says so (trust-ad)");
    snprintf(why, sizeof(why), "TLSA %s: %s", question->name, failure);
    lookup->query = NULL;
    conduit_query_done(query, CONDUIT_ETRUST, status != ARES_SUCCESS ? "c-ares" : NULL, status,
                       why);
}

static void take_tlsa(struct lookup *lookup, struct cdt_dns_question *question)
{
    const struct cdt_dns_answer *answer = question->answer;
    lookup->service = NULL;
    if (question->status != ARES_SUCCESS || !answer->authentic) {
        refuse_unproved(lookup, question);
        return;
    }
    for (size_t i = 0; i < answer->n; i++) {
        const struct cdt_tlsa *tlsa = &answer->records.tlsa[i];
        conduit_query_add_tlsa(lookup->query, tlsa->usage, tlsa->selector, tlsa->type,
                               tlsa->data.at, tlsa->data.n);
    }
    ask_all(lookup);
}

static void on_tlsa(struct cdt_dns_question *question)
{
    run(question, take_tlsa);
}

/* ---- the resolver */

static int attach(conduit_ctx *ctx, const conduit_ctx_options *options, void **state)
{
    char *servers = NULL;
    int code = 0;
    if (options->dns_servers != NULL)
        code = cdt_dns_servers_read(options->dns_servers, &servers);
    if (code != 0)
        return code;
    struct dns *dns = conduit_calloc(1, sizeof(*dns));
    if (dns == NULL) {
        conduit_free(servers);
        return CONDUIT_ENOMEM;
    }
    dns->off = options->system_resolver;
    dns->client = cdt_dns_client_new(conduit_ctx_loop(ctx), servers, options->dns_trust_ad);
    if (dns->client == NULL) {
        conduit_free(dns);
        return CONDUIT_ENOMEM;
    }
    *state = dns;
    return 0;
}

static void detach(void *state)
{
    struct dns *dns = state;
    cdt_dns_client_free(dns->client);
    conduit_free(dns);
}

static void flush(void *state)
{
    struct dns *dns = state;
    cdt_dns_flush(dns->client);
}

static bool accepts(const conduit_query *query, void *state)
{
    const struct dns *dns = state;
    return !dns->off && conduit_query_by_address(query) && *conduit_query_host(query) != '\0' &&
           !conduit_query_listening(query);
}

/* HTTPS first, for it is of most use when it comes first. */
static void ask_all(struct lookup *lookup)
{
    switch (conduit_query_records(lookup->query)) {
    case CONDUIT_RECORDS_SRV:
        ask_srv(lookup);
        return;
    case CONDUIT_RECORDS_HTTPS:
        ask_https(lookup);
        break;
    case CONDUIT_RECORDS_SVCB:
        ask_svcb(lookup);
        break;
    case CONDUIT_RECORDS_ADDRESS:
        break;
    }
    add_host(lookup, INT_MAX);
}

static void start(conduit_query *query, void *state)
{
    struct lookup *lookup = conduit_calloc(1, sizeof(*lookup));
    if (lookup == NULL) {
        conduit_query_done(query, CONDUIT_ENOMEM, NULL, 0, "out of memory");
        return;
    }
    lookup->dns = state;
    lookup->query = query;
    conduit_query_set_data(query, lookup);
    if (*conduit_query_tlsa(query) != '\0')
        ask(lookup, conduit_query_tlsa(query), CDT_DNS_TLSA, on_tlsa, &lookup->service);
    else
        ask_all(lookup);
    if (is_waiting(lookup, 0) || is_waiting(lookup, 1) || lookup->service != NULL)
        return;
    finish(lookup);
    free_lookup(lookup);
}

static void cancel(conduit_query *query, void *state)
{
    struct lookup *lookup = conduit_query_data(query);
    forget_all(lookup);
    lookup->query = NULL;
    if (!lookup->busy)
        free_lookup(lookup);
}

const conduit_resolver cdt_resolver_dns = {
    .name = "dns",
    .attach = attach,
    .detach = detach,
    .accepts = accepts,
    .start = start,
    .cancel = cancel,
    .flush = flush,
};
