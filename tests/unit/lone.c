/* SPDX-License-Identifier: ISC */
/* The core of lone.h: what a query is asked, and where what it is told goes. */
#include "lone.h"
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <time.h>

CONDUIT_PRINTF(2, 3) static void tell(conduit_query *query, const char *format, ...)
{
    size_t n = strlen(query->story);
    va_list args;
    cr_assert(!query->done, "%s: told more after its end", query->host);
    va_start(args, format);
    vsnprintf(query->story + n, sizeof(query->story) - n, format, args);
    va_end(args);
}

struct uv_loop_s *conduit_ctx_loop(conduit_ctx *ctx)
{
    return &ctx->loop;
}

conduit_ctx *conduit_query_ctx(const conduit_query *query)
{
    return query->ctx;
}

const char *conduit_query_transport(const conduit_query *query)
{
    return query->transport;
}

bool conduit_query_by_address(const conduit_query *query)
{
    return strcmp(query->transport, "tcp") == 0;
}

const char *conduit_query_host(const conduit_query *query)
{
    return query->host;
}

bool conduit_query_at_usual_port(const conduit_query *query)
{
    return query->port == 0;
}

int conduit_query_family(const conduit_query *query)
{
    return query->family;
}

bool conduit_query_listening(const conduit_query *query)
{
    return query->listening;
}

void *conduit_query_data(const conduit_query *query)
{
    return query->data;
}

void conduit_query_set_data(conduit_query *query, void *data)
{
    query->data = data;
}

void conduit_query_set_rank(conduit_query *query, int rank)
{
    query->rank = rank;
}

uint16_t conduit_query_port(const conduit_query *query)
{
    return query->port;
}

conduit_records conduit_query_records(const conduit_query *query)
{
    return query->records;
}

const char *conduit_query_tlsa(const conduit_query *query)
{
    return "";
}

void conduit_query_add_tlsa(conduit_query *query, unsigned usage, unsigned selector, unsigned type,
                            const void *data, size_t n)
{
    cr_assert_fail("nobody asked for TLSA");
}

const char *conduit_query_service(const conduit_query *query)
{
    return query->service;
}

const char *conduit_query_alpn(const conduit_query *query)
{
    return query->alpn;
}

/* Of a service rank and port are told, too: "0#443:192.0.2.1=300". */
void conduit_query_add_address_port(conduit_query *query, const struct sockaddr *address,
                                    uint16_t port, int32_t ttl)
{
    if (query->records != CONDUIT_RECORDS_ADDRESS)
        tell(query, "%d#%u:", query->rank == INT_MAX ? -1 : query->rank, port);
    conduit_query_add_address(query, address, ttl);
}

void conduit_query_add_address(conduit_query *query, const struct sockaddr *address, int32_t ttl)
{
    const struct sockaddr_in6 *ip6 = (const struct sockaddr_in6 *)address;
    char text[INET6_ADDRSTRLEN];
    unsigned scope = 0;
    if (address->sa_family == AF_INET6) {
        scope = ip6->sin6_scope_id;
        uv_inet_ntop(AF_INET6, &ip6->sin6_addr, text, sizeof(text));
    } else {
        cr_assert_eq(address->sa_family, AF_INET);
        uv_inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text, sizeof(text));
    }
    if (scope != 0)
        tell(query, "%s%%%u=%d ", text, scope, ttl);
    else
        tell(query, "%s=%d ", text, ttl);
}

void conduit_query_add_place(conduit_query *query, const char *place, int32_t ttl)
{
    tell(query, "%s(%s)=%d ", query->transport, place, ttl);
}

void conduit_query_settled(conduit_query *query, int family)
{
    tell(query, "settled%d ", family == AF_INET6 ? 6 : 4);
}

void conduit_query_done(conduit_query *query, int code, const char *source, long number,
                        const char *why)
{
    tell(query, "code %d%s%s", code, why != NULL ? " " : "", why != NULL ? why : "");
    snprintf(query->source, sizeof(query->source), "%s", source != NULL ? source : "");
    query->number = number;
    query->code = code;
    query->done = true;
}

bool conduit_query_traced(const conduit_query *query)
{
    return true;
}

void conduit_query_trace(conduit_query *query, const char *event, const char *format, ...)
{
    size_t n = strlen(query->trace);
    va_list args;
    n += (size_t)snprintf(query->trace + n, sizeof(query->trace) - n, "%s: ", event);
    va_start(args, format);
    n += (size_t)vsnprintf(query->trace + n, sizeof(query->trace) - n, format, args);
    va_end(args);
    snprintf(query->trace + n, sizeof(query->trace) - n, "\n");
}

/* The resolvers look at files once a second, by libuv's clock. This one takes its place (not in
 * libuv's timers), and `lone_skew_ns` is how a second passes. */
uint64_t lone_skew_ns;

uint64_t uv_hrtime(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + lone_skew_ns;
}

void lone_let_a_second_pass(void)
{
    lone_skew_ns += 1000000000;
}

/* ---- resolvers that answer at once */

/* The story of one query, "-" if it is not accepted. Static. */
const char *lone_ask_at_once(const conduit_resolver *resolver, void *state,
                             const conduit_query *like)
{
    static conduit_query query;
    query = *like;
    cr_expect(resolver->immediate);
    if (!resolver->accepts(&query, state))
        return "-";
    resolver->start(&query, state);
    cr_expect(query.done, "%s: %s is left without an answer", resolver->name, like->host);
    return query.story;
}
void lone_expect_story(const char *who, const char *host, const char *got, const char *want)
{
    size_t n = strlen(want);
    bool same =
        n > 0 && want[n - 1] == '*' ? strncmp(got, want, n - 1) == 0 : strcmp(got, want) == 0;
    cr_expect(same, "%s: \"%s\": %s\n  instead of: %s", who, host, got, want);
}

void lone_expect_rows(const conduit_resolver *resolver, void *state, const struct row *rows,
                      size_t n)
{
    for (size_t i = 0; i < n; i++) {
        conduit_query like = {.transport = rows[i].transport,
                              .host = rows[i].host,
                              .family = rows[i].family,
                              .listening = rows[i].listening};
        lone_expect_story(resolver->name, rows[i].host, lone_ask_at_once(resolver, state, &like),
                          rows[i].story);
    }
}

void lone_write_file(const char *path, const char *text, size_t n)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file, "%s: %s", path, strerror(errno));
    cr_assert_eq(fwrite(text, 1, n, file), n);
    cr_assert_eq(fclose(file), 0);
}

/* ---- loops */

void lone_open_ctx(conduit_ctx *ctx)
{
    cr_assert_eq(uv_loop_init(&ctx->loop), 0);
}

/* Everything was closed: the rest is close callbacks. */
void lone_close_ctx(conduit_ctx *ctx)
{
    uv_run(&ctx->loop, UV_RUN_DEFAULT);
    cdt_test_loop_empty(&ctx->loop);
    cr_expect_eq(uv_loop_close(&ctx->loop), 0);
}

/* What is due at once is done first: UV_RUN_ONCE would wait for something else after it. */
void lone_expect_end(conduit_query *query, const char *story)
{
    uv_run(&query->ctx->loop, UV_RUN_NOWAIT);
    cr_expect(cdt_test_run_until(&query->ctx->loop, &query->done), "%s: no end", query->host);
    lone_expect_story("at the end", query->host, query->story, story);
}
