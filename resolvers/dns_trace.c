/* SPDX-License-Identifier: ISC */
/*
 * Traces of dns: dns_trace.h says what for.
 *
 * A record is a line, written as dig writes it, so that the two can be compared. A line that does
 * not fit is cut: that takes a record made for it.
 */
#define CARES_NO_DEPRECATED 1
#include "dns_trace.h"
#include "dns_text.h"
#include "dns_wire.h"
#include <ares.h>
#include <stdarg.h>
#include <stdio.h>

struct line {
    char text[1000];
    size_t n;
};

CONDUIT_PRINTF(2, 3)
static void put(struct line *line, const char *format, ...)
{
    size_t room = sizeof(line->text) - line->n;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line->text + line->n, room, format, args);
    va_end(args);
    if (n > 0)
        line->n += (size_t)n < room ? (size_t)n : room - 1;
}

static const char *print_type(enum cdt_dns_type type)
{
    switch (type) {
    case CDT_DNS_A:
        return "A";
    case CDT_DNS_AAAA:
        return "AAAA";
    case CDT_DNS_SRV:
        return "SRV";
    case CDT_DNS_TLSA:
        return "TLSA";
    case CDT_DNS_SVCB:
        return "SVCB";
    default:
        return "HTTPS";
    }
}

/* ---- the parameters of SVCB (RFC 9460, section 2.1 and appendix A) */

/* Bytes that somebody else chose, where a value stands. */
static void put_bytes(struct line *line, struct cdt_bytes bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        uint8_t c = bytes.at[i];
        if (c > ' ' && c < 0x7f && strchr("\\\",", c) == NULL)
            put(line, "%c", c);
        else
            put(line, "\\%03u", c);
    }
}

static void put_key(struct line *line, uint16_t key)
{
    static const char *const names[] = {"mandatory", "alpn", "no-default-alpn", "port",
                                        "ipv4hint",  "ech",  "ipv6hint"};
    if (key < sizeof(names) / sizeof(names[0]))
        put(line, "%s", names[key]);
    else
        put(line, "key%u", key);
}

static void put_keys(struct line *line, struct cdt_bytes value)
{
    for (size_t i = 0; i + 2 <= value.n; i += 2) {
        put(line, "%s", i > 0 ? "," : "");
        put_key(line, cdt_dns_get16(value.at + i));
    }
}

static void put_protocols(struct line *line, struct cdt_bytes value)
{
    for (size_t i = 0; i < value.n; i += 1u + value.at[i]) {
        put(line, "%s", i > 0 ? "," : "");
        put_bytes(line, (struct cdt_bytes){value.at + i + 1, value.at[i]});
    }
}

static void put_address(struct line *line, int family, const void *address)
{
    char numeric[INET6_ADDRSTRLEN];
    uv_inet_ntop(family, address, numeric, sizeof(numeric));
    put(line, "%s", numeric);
}

static void put_hints(struct line *line, int family, struct cdt_bytes value)
{
    size_t size = family == AF_INET ? 4 : 16;
    for (size_t i = 0; i + size <= value.n; i += size) {
        put(line, "%s", i > 0 ? "," : "");
        put_address(line, family, value.at + i);
    }
}

/* What was read has been checked. */
static void put_value(struct line *line, uint16_t key, struct cdt_bytes value)
{
    switch (key) {
    case CDT_SVC_MANDATORY:
        put_keys(line, value);
        return;
    case CDT_SVC_ALPN:
        put_protocols(line, value);
        return;
    case CDT_SVC_PORT:
        put(line, "%u", cdt_dns_get16(value.at));
        return;
    case CDT_SVC_IPV4HINT:
        put_hints(line, AF_INET, value);
        return;
    case CDT_SVC_IPV6HINT:
        put_hints(line, AF_INET6, value);
        return;
    default:
        put_bytes(line, value);
    }
}

static void put_svcb(struct line *line, const struct cdt_svcb *svcb)
{
    struct cdt_bytes rest = svcb->params, value;
    uint16_t key;
    put(line, "%u %s.", svcb->priority, svcb->target);
    while (cdt_svc_next(&rest, &key, &value) > 0) {
        put(line, " ");
        put_key(line, key);
        if (value.n > 0)
            put(line, "=");
        put_value(line, key, value);
    }
}

/* ---- records */

static void put_tlsa(struct line *line, const struct cdt_tlsa *tlsa)
{
    put(line, "%u %u %u ", tlsa->usage, tlsa->selector, tlsa->type);
    for (size_t i = 0; i < tlsa->data.n; i++)
        put(line, "%02X", tlsa->data.at[i]);
}

static void put_record(struct line *line, const struct cdt_dns_question *question, size_t i)
{
    const struct cdt_dns_answer *answer = question->answer;
    const struct cdt_srv *srv = &answer->records.srv[i];
    switch (question->type) {
    case CDT_DNS_A:
        put_address(line, AF_INET, &answer->records.a[i]);
        return;
    case CDT_DNS_AAAA:
        put_address(line, AF_INET6, &answer->records.aaaa[i]);
        return;
    case CDT_DNS_SRV:
        put(line, "%u %u %u %s.", srv->priority, srv->weight, srv->port, srv->target);
        return;
    case CDT_DNS_TLSA:
        put_tlsa(line, &answer->records.tlsa[i]);
        return;
    default:
        put_svcb(line, &answer->records.svcb[i]);
    }
}

static void trace_records(conduit_query *query, const struct cdt_dns_question *question)
{
    const char *type = print_type(question->type);
    for (size_t i = 0; i < question->answer->n; i++) {
        struct line line = {.n = 0};
        put_record(&line, question, i);
        conduit_query_trace(query, "answer", "%s %s: %s (%d s)", type, question->name, line.text,
                            (int)question->ttl);
    }
}

static void trace_aliases(conduit_query *query, const struct cdt_dns_question *question)
{
    const struct cdt_dns_answer *answer = question->answer;
    for (size_t i = 0; i < answer->n_aliases; i++)
        conduit_query_trace(query, "answer", "%s %s: CNAME %s.", print_type(question->type),
                            answer->names[i], answer->names[i + 1]);
}

static void trace_memory(conduit_query *query, const struct cdt_dns_question *question)
{
    const char *type = print_type(question->type);
    if (cdt_dns_is_known(question))
        return;
    if (question->kept_s > 0)
        conduit_query_trace(query, "cache", "%s %s: kept for %d s", type, question->name,
                            (int)question->kept_s);
    else
        conduit_query_trace(query, "cache", "%s %s: not kept", type, question->name);
}

void cdt_dns_trace_answer(conduit_query *query, const struct cdt_dns_question *question)
{
    char why[CDT_WHY_SIZE];
    if (!conduit_query_traced(query))
        return;
    if (question->answer != NULL)
        trace_aliases(query, question);
    if (question->status == ARES_SUCCESS) {
        trace_records(query, question);
    } else {
        const char *flaw = question->answer != NULL ? question->answer->why : NULL;
        cdt_dns_print_failure(why, question->status, cdt_dns_servers_of(question));
        conduit_query_trace(query, "answer", "%s %s: %s%s%s", print_type(question->type),
                            question->name, why, flaw != NULL ? ": " : "",
                            flaw != NULL ? flaw : "");
    }
    trace_memory(query, question);
}

void cdt_dns_trace_question(conduit_query *query, const struct cdt_dns_question *question)
{
    if (!conduit_query_traced(query))
        return;
    if (cdt_dns_is_known(question))
        conduit_query_trace(query, "query", "%s %s from memory", print_type(question->type),
                            question->name);
    else if (question->channel != NULL)
        conduit_query_trace(query, "query", "%s %s to %s", print_type(question->type),
                            question->name, cdt_dns_servers_of(question));
}
