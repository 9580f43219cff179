/* SPDX-License-Identifier: ISC */
/*
 * The resolver chain, and conduit_resolve() on top of it.
 *
 * The chain is nothing but: ask the first resolver that accepts; if it passes, ask the next. What
 * comes out of a resolver is a transport's endpoint; the target puts its layers over it.
 */
#include "resolve.h"
#include "context.h"
#include "error.h"
#include "local.h"
#include "order.h"
#include "race.h"
#include "thread.h"
#include "transport.h"
#include "util.h"
#include <conduit/memory.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

enum { DEFAULT_TIMEOUT_MS = 5000, MOST_ANSWERS = 256, USUAL_ANSWERS = 4 };

/* ---- the chain ---- */

static void finish_query(conduit_query *query, const conduit_error *why)
{
    cdt_timer_stop(query->ctx, &query->deadline);
    query->asked = false;
    if (query->n_answers > 0 || query->short_of_memory) {
        conduit_error_unref(why);
        why = NULL;
    }
    if (query->n_answers == 0 && query->short_of_memory)
        why = cdt_error_new(CONDUIT_ENOMEM, CONDUIT_STAGE_RESOLVE, NULL, NULL, 0, "out of memory");
    query->events->done(query, why);
}

static const conduit_error *resolve_error(const conduit_query *query, int code, const char *source,
                                          long number, const char *why)
{
    const char *host = query->target->host;
    return cdt_error_new(code, CONDUIT_STAGE_RESOLVE, NULL, source, number, "%s%s%s", host,
                         *host != '\0' ? ": " : "", why);
}

static bool takes(const conduit_query *query, const struct cdt_resolver_slot *slot)
{
    if (query->listening && !slot->ops->immediate)
        return false;
    return slot->ops->accepts == NULL || slot->ops->accepts(query, slot->state);
}

static void ask_from(conduit_query *query, const struct cdt_resolver_slot *slot)
{
    while (slot != NULL && !takes(query, slot))
        slot = slot->next;
    if (slot == NULL) {
        const char *why = query->listening
                              ? "not an address of this machine (to listen, name an address, "
                                "\"localhost\", or leave the host empty)"
                              : "no resolver knows it";
        finish_query(query, resolve_error(query, CONDUIT_ENONAME, NULL, 0, why));
        return;
    }
    query->slot = slot;
    query->asked = true;
    query->data = NULL;
    query->rank = 0;
    cdt_trace(query->ctx, query->since_ns, "resolver", "%s is asked for %s", slot->ops->name,
              query->target->host);
    slot->ops->start(query, slot->state);
}

static void on_deadline(struct cdt_timer *timer)
{
    conduit_query *query = CDT_CONTAINER(timer, struct conduit_query, deadline);
    char why[128];
    snprintf(why, sizeof(why), "%s did not answer in time", query->slot->ops->name);
    cdt_query_cancel(query);
    finish_query(query, resolve_error(query, CONDUIT_ETIMEDOUT, NULL, 0, why));
}

void cdt_query_start(conduit_query *query, conduit_ctx *ctx, const struct cdt_target *target,
                     bool listening, uint32_t timeout_ms, const struct cdt_query_events *events)
{
    uint64_t since_ns = query->since_ns;
    if (since_ns == 0 && ctx->trace != NULL)
        since_ns = uv_hrtime();
    *query = (conduit_query){
        .ctx = ctx,
        .target = target,
        .events = events,
        .listening = listening,
        .since_ns = since_ns,
    };
    cdt_timer_start(ctx, &query->deadline, timeout_ms != 0 ? timeout_ms : DEFAULT_TIMEOUT_MS,
                    on_deadline);
    ask_from(query, ctx->resolvers);
}

void cdt_query_cancel(conduit_query *query)
{
    if (query->ctx == NULL)
        return;
    cdt_timer_stop(query->ctx, &query->deadline);
    if (!query->asked)
        return;
    query->asked = false;
    if (query->slot->ops->cancel != NULL)
        query->slot->ops->cancel(query, query->slot->state);
}

/* ---- what resolvers see and say ---- */

conduit_ctx *conduit_query_ctx(const conduit_query *query)
{
    return query->ctx;
}

const conduit_uri *conduit_query_uri(const conduit_query *query)
{
    return query->target->uri;
}

const char *conduit_query_transport(const conduit_query *query)
{
    return query->target->transport->name;
}

bool conduit_query_by_address(const conduit_query *query)
{
    return query->target->transport->form == CDT_FORM_HOST_PORT;
}

const char *conduit_query_host(const conduit_query *query)
{
    return query->target->host;
}

uint16_t conduit_query_port(const conduit_query *query)
{
    return query->target->port;
}

bool conduit_query_at_usual_port(const conduit_query *query)
{
    return query->target->port == query->target->usual_port;
}

int conduit_query_family(const conduit_query *query)
{
    return query->target->family;
}

conduit_records conduit_query_records(const conduit_query *query)
{
    return query->target->records;
}

const char *conduit_query_service(const conduit_query *query)
{
    return query->target->service != NULL ? query->target->service : "";
}

const char *conduit_query_alpn(const conduit_query *query)
{
    return query->target->alpn != NULL ? query->target->alpn : "";
}

const char *conduit_query_tlsa(const conduit_query *query)
{
    return query->target->tlsa != NULL ? query->target->tlsa : "";
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

bool conduit_query_traced(const conduit_query *query)
{
    return query->ctx->trace != NULL;
}

void conduit_query_trace(conduit_query *query, const char *event, const char *format, ...)
{
    if (query->ctx->trace == NULL)
        return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    cdt_trace(query->ctx, query->since_ns, event, "%s", text);
}

/* What a transport knows of the place beforehand. */
static void explain(const conduit_query *query, const conduit_endpoint *endpoint)
{
    char text[256];
    const conduit_endpoint *bottom = cdt_endpoint_bottom(endpoint);
    if (query->ctx->trace == NULL || bottom->transport->explain == NULL)
        return;
    bottom->transport->explain(bottom, text, sizeof(text));
    cdt_trace(query->ctx, query->since_ns, "rendezvous", "%s", text);
}

/* Between two ranks there is room for a half. A resolver may say any rank, INT_MAX for the last. */
int cdt_query_group(const conduit_query *query)
{
    int rank = query->rank;
    if (rank > INT_MAX / 2)
        rank = INT_MAX / 2;
    if (rank < INT_MIN / 2)
        rank = INT_MIN / 2;
    return 2 * rank + !query->beside;
}

static bool is_full(const conduit_query *query)
{
    return query->n_answers == MOST_ANSWERS;
}

static void add(conduit_query *query, const conduit_endpoint *endpoint, int32_t ttl)
{
    if (is_full(query))
        return;
    const conduit_endpoint *whole =
        endpoint != NULL ? cdt_target_wrap(query->target, endpoint) : NULL;
    if (whole == NULL) {
        query->short_of_memory = true;
        return;
    }
    query->n_answers++;
    cdt_trace(query->ctx, query->since_ns, "endpoint", "%s (%s)", conduit_endpoint_uri(whole),
              query->slot->ops->name);
    explain(query, whole);
    query->events->answer(query, whole, query->slot->ops->name, ttl);
    conduit_endpoint_unref(whole);
}

/* What the program's filter keeps from being dialled is not reached by another way. */
static bool refused(const conduit_query *query, const conduit_endpoint *endpoint)
{
    const conduit_ctx *ctx = query->ctx;
    if (ctx->allow == NULL)
        return false;
    const conduit_endpoint *whole = cdt_target_wrap(query->target, endpoint);
    bool allowed = whole != NULL && ctx->allow(ctx->allow_user, whole);
    conduit_endpoint_unref(whole);
    return !allowed;
}

/* Where TCP leads to this machine, the vchan beside it. */
static void add_beside(conduit_query *query, const conduit_endpoint *endpoint, int32_t ttl)
{
    const conduit_endpoint *place = NULL;
    if (!refused(query, endpoint))
        place = cdt_local_find(endpoint);
    if (place == NULL)
        return;
    query->beside = true;
    add(query, place, ttl);
    query->beside = false;
    conduit_endpoint_unref(place);
}

void conduit_query_add(conduit_query *query, const conduit_endpoint *endpoint, int32_t ttl)
{
    if (is_full(query))
        return;
    if (endpoint != NULL && endpoint->transport == NULL)
        return; /* layers are the target's affair */
    if (endpoint != NULL && query->target->prefer_local && !query->listening &&
        endpoint->transport == query->target->transport)
        add_beside(query, endpoint, ttl);
    add(query, endpoint, ttl);
}

/* A digest, a key or a certificate; what is far larger is none of these. */
void conduit_query_add_tlsa(conduit_query *query, unsigned usage, unsigned selector, unsigned type,
                            const void *data, size_t n)
{
    enum { MOST = 8192, NUMBERS = 16 };
    const unsigned char *bytes = data;
    char *text = n > 0 && n <= MOST ? conduit_malloc(2 * n + NUMBERS) : NULL;
    if (query->events->tlsa == NULL || text == NULL) {
        conduit_free(text);
        return;
    }
    int at = snprintf(text, NUMBERS, "%u %u %u ", usage & 255, selector & 255, type & 255);
    for (size_t i = 0; i < n; i++)
        at += snprintf(text + at, 3, "%02x", bytes[i]);
    query->events->tlsa(query, text);
    conduit_free(text);
}

void conduit_query_set_rank(conduit_query *query, int rank)
{
    query->rank = rank;
}

void conduit_query_add_address(conduit_query *query, const struct sockaddr *address, int32_t ttl)
{
    conduit_query_add_address_port(query, address, query->target->port, ttl);
}

void conduit_query_add_address_port(conduit_query *query, const struct sockaddr *address,
                                    uint16_t port, int32_t ttl)
{
    union cdt_address to = {0};
    int family = query->target->family;
    if ((family != 0 && address->sa_family != family) || (port == 0 && !query->listening))
        return;
    if (address->sa_family == AF_INET) {
        memcpy(&to.in, address, sizeof(to.in));
        to.in.sin_port = htons(port);
    } else if (address->sa_family == AF_INET6) {
        memcpy(&to.in6, address, sizeof(to.in6));
        to.in6.sin6_port = htons(port);
    } else {
        return;
    }
    const conduit_endpoint *endpoint =
        cdt_places_get(&query->ctx->places, query->target->transport, &to.any);
    conduit_query_add(query, endpoint, ttl);
    conduit_endpoint_unref(endpoint);
}

void conduit_query_add_place(conduit_query *query, const char *place, int32_t ttl)
{
    if (conduit_query_by_address(query))
        return;
    const conduit_endpoint *endpoint =
        cdt_endpoint_transport(query->target->transport, NULL, place, NULL);
    conduit_query_add(query, endpoint, ttl);
    conduit_endpoint_unref(endpoint);
}

void conduit_query_settled(conduit_query *query, int family)
{
    if (query->events->settled != NULL)
        query->events->settled(query, family);
}

void conduit_query_done(conduit_query *query, int code, const char *source, long number,
                        const char *why)
{
    if (!query->asked)
        return;
    query->asked = false;
    if (code == CONDUIT_PASS) {
        ask_from(query, query->slot->next);
        return;
    }
    const conduit_error *error = NULL;
    bool portless = query->target->port == 0 && conduit_query_by_address(query);
    if (why == NULL)
        why = portless ? "no record says at which port" : "no such name";
    if (code < 0 || query->n_answers == 0)
        error = resolve_error(query, code < 0 ? code : CONDUIT_ENONAME, source, number, why);
    finish_query(query, error);
}

/* ---- conduit_resolve ---- */

struct conduit_resolution {
    conduit_ctx *ctx;
    struct conduit_resolution *prev, *next;
    struct cdt_target target;
    conduit_query query;
    struct cdt_task task; /* begins it, and later delivers its end */
    uint32_t timeout_ms;
    conduit_answer *answers;
    int *ranks;                /* of each answer */
    unsigned n, room, n_tried; /* up to MOST_ANSWERS */
    conduit_answer usual_answers[USUAL_ANSWERS];
    int usual_ranks[USUAL_ANSWERS];
    void *more; /* instead of these, when there are more; NULL */
    const conduit_error *why;
    conduit_resolved_fn on_done;
    void *user;
};

static void destroy(struct conduit_resolution *r)
{
    cdt_query_cancel(&r->query);
    cdt_undefer(r->ctx, &r->task);
    DL_DELETE(r->ctx->resolutions, r);
    for (size_t i = 0; i < r->n; i++)
        conduit_endpoint_unref(r->answers[i].endpoint);
    conduit_free(r->more);
    conduit_error_unref(r->why);
    cdt_target_clear(&r->target);
    conduit_free(r);
}

/* Of several ranks the best counts. */
static bool is_known(struct conduit_resolution *r, const conduit_endpoint *endpoint, int rank)
{
    for (size_t i = 0; i < r->n; i++) {
        if (!conduit_endpoint_equal(r->answers[i].endpoint, endpoint))
            continue;
        if (rank < r->ranks[i])
            r->ranks[i] = rank;
        return true;
    }
    return false;
}

/* For one more answer. */
static bool make_room(struct conduit_resolution *r)
{
    if (r->n < r->room)
        return true;
    unsigned room = 2 * r->room;
    conduit_answer *answers = conduit_malloc(room * (sizeof(*answers) + sizeof(*r->ranks)));
    if (answers == NULL)
        return false;
    int *ranks = (int *)(answers + room);
    memcpy(answers, r->answers, r->n * sizeof(*answers));
    memcpy(ranks, r->ranks, r->n * sizeof(*ranks));
    conduit_free(r->more);
    r->answers = r->more = answers;
    r->ranks = ranks;
    r->room = room;
    return true;
}

static void on_answer(conduit_query *query, const conduit_endpoint *endpoint, const char *source,
                      int32_t ttl)
{
    struct conduit_resolution *r = CDT_CONTAINER(query, struct conduit_resolution, query);
    int group = cdt_query_group(query);
    if (is_known(r, endpoint, group))
        return;
    if (!make_room(r)) {
        query->short_of_memory = true;
        return;
    }
    r->ranks[r->n] = group;
    r->answers[r->n++] = (conduit_answer){conduit_endpoint_ref(endpoint), source, ttl};
}

static const struct sockaddr *address_of(const struct conduit_resolution *r, size_t i)
{
    return &cdt_endpoint_bottom(r->answers[i].endpoint)->address.any;
}

/* Those of a rank stay in the order in which they came. */
static void put_best_ranks_first(struct conduit_resolution *r)
{
    for (size_t i = 1; i < r->n; i++) {
        const conduit_answer answer = r->answers[i];
        const int rank = r->ranks[i];
        size_t at = i;
        for (; at > 0 && r->ranks[at - 1] > rank; at--) {
            r->answers[at] = r->answers[at - 1];
            r->ranks[at] = r->ranks[at - 1];
        }
        r->answers[at] = answer;
        r->ranks[at] = rank;
    }
}

/* The race as it would be were all answers known from the start; of[c] is the answer that candidate
 * c stands for. */
static void race_all(const struct conduit_resolution *r, struct cdt_race *race, size_t *of)
{
    const struct sockaddr *to[CDT_RACE_CANDIDATES];
    int best_first[CDT_RACE_CANDIDATES];
    cdt_race_init(race);
    for (size_t i = 0; i < r->n; i++) {
        int candidate = cdt_race_join(race, address_of(r, i)->sa_family, 0);
        if (candidate < 0)
            continue;
        cdt_race_set_group(race, candidate, r->ranks[i]);
        to[candidate] = address_of(r, i);
        of[candidate] = i;
    }
    cdt_race_rank(race, best_first,
                  cdt_order(best_first, to, race->n, cdt_source_known, &r->ctx->sources));
    cdt_race_complete(race);
}

/* The order in which the race would dial; then what it would leave out. */
static void sort_answers(struct conduit_resolution *r)
{
    struct cdt_race race;
    struct cdt_race_step step;
    conduit_answer sorted[MOST_ANSWERS];
    int ranks[CDT_RACE_CANDIDATES];
    size_t of[CDT_RACE_CANDIDATES], n = 0;
    bool taken[MOST_ANSWERS] = {false};
    if (r->n < 2)
        return;
    put_best_ranks_first(r);
    race_all(r, &race, of);
    while ((step = cdt_race_next(&race, UINT64_MAX)).what == CDT_RACE_DIAL) {
        cdt_race_failed(&race, step.candidate);
        taken[of[step.candidate]] = true;
        ranks[n] = r->ranks[of[step.candidate]];
        sorted[n++] = r->answers[of[step.candidate]];
    }
    r->n_tried = (unsigned)n;
    memcpy(r->ranks, ranks, n * sizeof(*ranks));
    for (size_t i = 0; i < r->n; i++)
        if (!taken[i])
            sorted[n++] = r->answers[i];
    memcpy(r->answers, sorted, n * sizeof(*sorted));
}

/* Why is an answer behind the one before it? */
static const char *reason(const struct conduit_resolution *r, size_t i)
{
    if (i >= r->n_tried)
        return "more than are tried";
    if (r->ranks[i] / 2 != r->ranks[i - 1] / 2)
        return "after the better targets of the service";
    if (r->ranks[i] != r->ranks[i - 1])
        return "after shared memory";
    const char *rule = cdt_order_reason(address_of(r, i - 1), address_of(r, i), cdt_source_known,
                                        &r->ctx->sources);
    return rule != NULL ? rule : "families take turns";
}

static void trace_order(const struct conduit_resolution *r)
{
    if (r->ctx->trace == NULL)
        return;
    for (size_t i = 0; i < r->n; i++)
        cdt_trace(r->ctx, r->query.since_ns, "order", "%zu. %s%s%s%s", i + 1,
                  conduit_endpoint_uri(r->answers[i].endpoint), i > 0 ? " (" : "",
                  i > 0 ? reason(r, i) : "", i > 0 ? ")" : "");
}

static void deliver(struct cdt_task *task)
{
    struct conduit_resolution *r = CDT_CONTAINER(task, struct conduit_resolution, task);
    conduit_resolved_fn on_done = r->on_done;
    r->on_done = NULL;
    sort_answers(r);
    trace_order(r);
    if (r->why != NULL)
        cdt_trace(r->ctx, r->query.since_ns, "failed", "%s", conduit_error_text(r->why));
    on_done(r, r->answers, r->n, r->why, r->user);
    destroy(r);
}

static void on_done(conduit_query *query, const conduit_error *why)
{
    struct conduit_resolution *r = CDT_CONTAINER(query, struct conduit_resolution, query);
    r->why = why;
    if (r->n == 0 && why == NULL)
        r->why =
            cdt_error_new(CONDUIT_ENOMEM, CONDUIT_STAGE_RESOLVE, NULL, NULL, 0, "out of memory");
    r->task.run = deliver;
    cdt_defer(r->ctx, &r->task);
}

static void begin(struct cdt_task *task)
{
    static const struct cdt_query_events events = {.answer = on_answer, .done = on_done};
    struct conduit_resolution *r = CDT_CONTAINER(task, struct conduit_resolution, task);
    cdt_target_trace(&r->target, r->ctx, r->query.since_ns);
    cdt_query_start(&r->query, r->ctx, &r->target, false, r->timeout_ms, &events);
}

int conduit_resolve(conduit_ctx *ctx, const char *uri, const conduit_connect_options *options,
                    conduit_resolved_fn on_done_user, void *user, conduit_resolution **ret)
{
    CDT_ASSERT_THREAD(ctx);
    const conduit_error *error = NULL;
    if (on_done_user == NULL)
        return cdt_ctx_refuse(ctx, CONDUIT_EINVAL, "who resolves has to take the answer");
    if (ctx->ending)
        return cdt_ctx_refuse(ctx, CONDUIT_ECANCELED, "the context is ending");
    struct conduit_resolution *r = conduit_calloc(1, sizeof(*r));
    if (r == NULL)
        return cdt_ctx_refuse(ctx, CONDUIT_ENOMEM, "out of memory");
    int code = cdt_target_make(ctx, &r->target, uri, false, options, &error);
    if (code < 0) {
        cdt_target_clear(&r->target);
        conduit_free(r);
        return cdt_ctx_fail(ctx, error);
    }
    r->ctx = ctx;
    r->answers = r->usual_answers;
    r->ranks = r->usual_ranks;
    r->room = USUAL_ANSWERS;
    r->timeout_ms = options != NULL ? options->resolve_timeout_ms : 0;
    r->on_done = on_done_user;
    r->user = user;
    r->task.run = begin;
    r->query.since_ns = ctx->trace != NULL ? uv_hrtime() : 0;
    DL_APPEND(ctx->resolutions, r);
    cdt_defer(ctx, &r->task);
    if (ret != NULL)
        *ret = r;
    return 0;
}

void conduit_resolution_cancel(conduit_resolution *r)
{
    if (r != NULL && r->on_done != NULL)
        destroy(r);
}

void cdt_resolutions_abandon(conduit_ctx *ctx)
{
    struct conduit_resolution *r;
    DL_FOREACH(ctx->resolutions, r)
    {
        if (r->on_done == NULL || r->task.run == deliver)
            continue;
        cdt_query_cancel(&r->query);
        on_done(&r->query, cdt_error_new(CONDUIT_ECANCELED, CONDUIT_STAGE_RESOLVE, NULL, NULL, 0,
                                         "%s: canceled", r->target.host));
    }
}
