/* SPDX-License-Identifier: ISC */
/*
 * The texts of dns. A failure is a row: what it means to who asked, and whether the servers are
 * part of the story.
 */
#define CARES_NO_DEPRECATED 1
#include "dns_text.h"
#include <ares.h>
#include <netinet/in.h>
#include <stdio.h>

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

void cdt_dns_print_failure(char text[CDT_WHY_SIZE], int status, const char *servers)
{
    struct failure failure = find_failure(status);
    if (failure.of_servers)
        snprintf(text, CDT_WHY_SIZE, "%s %s", failure.text, servers);
    else
        snprintf(text, CDT_WHY_SIZE, "%s", failure.text);
}

int cdt_dns_code(int status)
{
    return find_failure(status).code;
}

/* ---- traces */

static const char *print_type(enum cdt_dns_type type)
{
    switch (type) {
    case CDT_DNS_A:
        return "A";
    case CDT_DNS_AAAA:
        return "AAAA";
    case CDT_DNS_SRV:
        return "SRV";
    default:
        return "HTTPS";
    }
}

void cdt_dns_trace_question(conduit_query *query, const struct cdt_dns_question *question)
{
    if (cdt_dns_is_known(question))
        conduit_query_trace(query, "query", "%s %s from memory", print_type(question->type),
                            question->name);
    else if (question->channel != NULL)
        conduit_query_trace(query, "query", "%s %s to %s", print_type(question->type),
                            question->name, cdt_dns_servers_of(question));
}

static int print_srv(char *text, size_t size, const struct cdt_srv *srv)
{
    return snprintf(text, size, "%u %u %s.:%u", srv->priority, srv->weight, srv->target, srv->port);
}

static int print_record(char *text, size_t size, const struct cdt_dns_question *question, size_t i)
{
    const struct cdt_dns_answer *answer = question->answer;
    char numeric[INET6_ADDRSTRLEN];
    switch (question->type) {
    case CDT_DNS_A:
        uv_inet_ntop(AF_INET, &answer->records.a[i], numeric, sizeof(numeric));
        return snprintf(text, size, "%s", numeric);
    case CDT_DNS_AAAA:
        uv_inet_ntop(AF_INET6, &answer->records.aaaa[i], numeric, sizeof(numeric));
        return snprintf(text, size, "%s", numeric);
    case CDT_DNS_SRV:
        return print_srv(text, size, &answer->records.srv[i]);
    default:
        return snprintf(text, size, "%u %s.", answer->records.svcb[i].priority,
                        answer->records.svcb[i].target);
    }
}

/* As many as there is room for. */
static void print_records(char text[CDT_WHY_SIZE], const struct cdt_dns_question *question)
{
    size_t used = 0;
    for (size_t i = 0; i < question->answer->n && used < CDT_WHY_SIZE; i++) {
        if (i > 0)
            used += (size_t)snprintf(text + used, CDT_WHY_SIZE - used, ", ");
        if (used < CDT_WHY_SIZE)
            used += (size_t)print_record(text + used, CDT_WHY_SIZE - used, question, i);
        if (used < CDT_WHY_SIZE)
            used +=
                (size_t)snprintf(text + used, CDT_WHY_SIZE - used, " (%d s)", (int)question->ttl);
    }
}

void cdt_dns_trace_answer(conduit_query *query, const struct cdt_dns_question *question)
{
    char text[CDT_WHY_SIZE];
    if (question->status == ARES_SUCCESS)
        print_records(text, question);
    else
        cdt_dns_print_failure(text, question->status, cdt_dns_servers_of(question));
    conduit_query_trace(query, "answer", "%s %s: %s", print_type(question->type), question->name,
                        text);
}
