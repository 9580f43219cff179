/* SPDX-License-Identifier: ISC */
/*
 * dns: A and AAAA, asked apart of name servers, so that a slow family never holds up the other.
 *
 *   start()       one lookup, one question per family: dns_client.h
 *   on_answer()   one is answered: the query is told; the last answer, or NXDOMAIN, ends it
 *   cancel()      the questions are forgotten
 *
 * A lookup lives as long as its query; within on_answer(), where the query may be canceled, until
 * that returns.
 */
#define CARES_NO_DEPRECATED 1
#include "dns_client.h"
#include "dns_servers.h"
#include <ares.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_FAMILIES = 2, WHY_SIZE = 384 };

struct dns {
    bool off; /* the system is asked instead */
    struct cdt_dns_client *client;
};

struct lookup {
    conduit_query *query; /* NULL: canceled */
    bool busy;            /* inside on_answer() */
    int verdict;          /* of the answers so far, the one that says most */
    char why[WHY_SIZE];   /* ... in words */
    struct cdt_dns_question *questions[N_FAMILIES]; /* NULL: not asked, or answered */
};

/* ---- failures */

struct failure {
    int status;
    int code;
    const char *text;
    bool of_servers; /* the text goes on with who they are */
};

static const struct failure failures[] = {
    {ARES_ENOTFOUND, CONDUIT_ENONAME, "no such name (NXDOMAIN)", false},
    {ARES_ENODATA, CONDUIT_ENONAME, "the name has no address (NODATA)", false},
    {ARES_EBADNAME, CONDUIT_ENONAME, "not a name that DNS can hold", false},
    {ARES_ETIMEOUT, CONDUIT_ETIMEDOUT, "no answer from", true},
    /* Before 1.20 also what is left of SERVFAIL and REFUSED when no server has done better. */
    {ARES_ECONNREFUSED, CONDUIT_ETEMP, "no usable answer (refused, or SERVFAIL) from", true},
    {ARES_ESERVFAIL, CONDUIT_ETEMP, "the name server failed (SERVFAIL):", true},
    {ARES_EREFUSED, CONDUIT_ETEMP, "the name server will not answer (REFUSED):", true},
    {ARES_ENOTIMP, CONDUIT_ETEMP, "the name server cannot answer (NOTIMP):", true},
    {ARES_EFORMERR, CONDUIT_ETEMP,
     "the name server takes the query for malformed (FORMERR):", true},
    {ARES_EBADRESP, CONDUIT_ETEMP, "a malformed answer from", true},
    {ARES_ENOMEM, CONDUIT_ENOMEM, "out of memory", false},
};

static struct failure find_failure(int status)
{
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
        if (failures[i].status == status)
            return failures[i];
    return (struct failure){status, CONDUIT_ETEMP, ares_strerror(status), false};
}

static void print_failure(char text[WHY_SIZE], int status, const char *servers)
{
    struct failure failure = find_failure(status);
    if (failure.of_servers)
        snprintf(text, WHY_SIZE, "%s %s", failure.text, servers);
    else
        snprintf(text, WHY_SIZE, "%s", failure.text);
}

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
    if (*lookup->why != '\0' && weight_of(status) <= weight_of(lookup->verdict))
        return;
    lookup->verdict = status;
    print_failure(lookup->why, status, servers);
}

/* ---- traces */

static const char *print_type(enum cdt_dns_type type)
{
    return type == CDT_DNS_AAAA ? "AAAA" : "A";
}

static void trace_question(conduit_query *query, const struct cdt_dns_question *question)
{
    if (cdt_dns_is_known(question))
        conduit_query_trace(query, "query", "%s %s from memory", print_type(question->type),
                            question->name);
    else if (question->channel != NULL)
        conduit_query_trace(query, "query", "%s %s to %s", print_type(question->type),
                            question->name, cdt_dns_servers_of(question));
}

/* As many as there is room for. */
static void print_addresses(char text[WHY_SIZE], const struct cdt_dns_question *question)
{
    const struct cdt_dns_answer *answer = question->answer;
    size_t used = 0;
    for (size_t i = 0; i < answer->n && used < WHY_SIZE; i++) {
        char numeric[INET6_ADDRSTRLEN];
        if (question->type == CDT_DNS_AAAA)
            uv_inet_ntop(AF_INET6, &answer->records.aaaa[i], numeric, sizeof(numeric));
        else
            uv_inet_ntop(AF_INET, &answer->records.a[i], numeric, sizeof(numeric));
        used += (size_t)snprintf(text + used, WHY_SIZE - used, "%s%s (%d s)", i > 0 ? ", " : "",
                                 numeric, (int)question->ttl);
    }
}

static void trace_answer(conduit_query *query, const struct cdt_dns_question *question)
{
    char text[WHY_SIZE];
    if (question->status == ARES_SUCCESS)
        print_addresses(text, question);
    else
        print_failure(text, question->status, cdt_dns_servers_of(question));
    conduit_query_trace(query, "answer", "%s %s: %s", print_type(question->type), question->name,
                        text);
}

/* ---- answers: the query may be canceled from within any of this */

static void add_ip4(conduit_query *query, struct in_addr address, int32_t ttl)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = address};
    conduit_query_add_address(query, (const struct sockaddr *)&at, ttl);
}

static void add_ip6(conduit_query *query, struct in6_addr address, int32_t ttl)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = address};
    conduit_query_add_address(query, (const struct sockaddr *)&at, ttl);
}

static void add_addresses(struct lookup *lookup, const struct cdt_dns_question *question)
{
    const struct cdt_dns_answer *answer = question->answer;
    size_t n = question->status == ARES_SUCCESS ? answer->n : 0;
    for (size_t i = 0; i < n && lookup->query != NULL; i++)
        if (question->type == CDT_DNS_AAAA)
            add_ip6(lookup->query, answer->records.aaaa[i], question->ttl);
        else
            add_ip4(lookup->query, answer->records.a[i], question->ttl);
}

static void forget_all(struct lookup *lookup)
{
    for (size_t i = 0; i < N_FAMILIES; i++)
        if (lookup->questions[i] != NULL)
            cdt_dns_forget(lookup->questions[i]);
    memset(lookup->questions, 0, sizeof(lookup->questions));
}

/* When all is told; or at the first NXDOMAIN, which holds for every family (RFC 8020). */
static bool is_over(const struct lookup *lookup)
{
    return lookup->verdict == ARES_ENOTFOUND ||
           (lookup->questions[0] == NULL && lookup->questions[1] == NULL);
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
        conduit_query_done(query, find_failure(verdict).code, "c-ares", verdict, lookup->why);
}

static int index_of(enum cdt_dns_type type)
{
    return type == CDT_DNS_AAAA ? 0 : 1;
}

static void tell(struct lookup *lookup, struct cdt_dns_question *question)
{
    lookup->questions[index_of(question->type)] = NULL;
    judge(lookup, question->status, cdt_dns_servers_of(question));
    trace_answer(lookup->query, question);
    add_addresses(lookup, question);
    if (lookup->query != NULL)
        conduit_query_settled(lookup->query, question->type == CDT_DNS_AAAA ? AF_INET6 : AF_INET);
    if (lookup->query != NULL && is_over(lookup))
        finish(lookup);
}

static void on_answer(struct cdt_dns_question *question)
{
    struct lookup *lookup = question->owner;
    lookup->busy = true;
    tell(lookup, question);
    lookup->busy = false;
    if (lookup->query == NULL)
        free(lookup);
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
    struct dns *dns = calloc(1, sizeof(*dns));
    if (dns == NULL) {
        free(servers);
        return CONDUIT_ENOMEM;
    }
    dns->off = options->system_resolver;
    dns->client = cdt_dns_client_new(conduit_ctx_loop(ctx), servers);
    if (dns->client == NULL) {
        free(dns);
        return CONDUIT_ENOMEM;
    }
    *state = dns;
    return 0;
}

static void detach(void *state)
{
    struct dns *dns = state;
    cdt_dns_client_free(dns->client);
    free(dns);
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

static bool ask(struct dns *dns, struct lookup *lookup, enum cdt_dns_type type)
{
    struct cdt_dns_question *question =
        cdt_dns_ask(dns->client, conduit_query_host(lookup->query), type, on_answer, lookup);
    lookup->questions[index_of(type)] = question;
    if (question != NULL)
        trace_question(lookup->query, question);
    return question != NULL;
}

/* AAAA first: its answer is waited for (RFC 8305, 3). */
static bool ask_families(struct dns *dns, struct lookup *lookup)
{
    int only = conduit_query_family(lookup->query);
    if (only != AF_INET && !ask(dns, lookup, CDT_DNS_AAAA))
        return false;
    return only == AF_INET6 || ask(dns, lookup, CDT_DNS_A);
}

static void start(conduit_query *query, void *state)
{
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL) {
        conduit_query_done(query, CONDUIT_ENOMEM, NULL, 0, "out of memory");
        return;
    }
    lookup->query = query;
    conduit_query_set_data(query, lookup);
    if (ask_families(state, lookup))
        return;
    lookup->verdict = ARES_ENOMEM;
    finish(lookup);
    free(lookup);
}

static void cancel(conduit_query *query, void *state)
{
    struct lookup *lookup = conduit_query_data(query);
    forget_all(lookup);
    lookup->query = NULL;
    if (!lookup->busy)
        free(lookup);
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
