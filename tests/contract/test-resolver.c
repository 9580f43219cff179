/* SPDX-License-Identifier: ISC */
/*
 * The contract of a resolver, kept by every row of cdt_resolvers.
 *
 * Each is asked by itself, with names that it takes. A query that it starts ends once, unless it is
 * canceled, and then never; there is no address of a family that is not wanted; and the end of the
 * context finds it in any state. A new resolver needs a line in `known` and nothing else.
 */
#include "builtin.h"
#include "context.h"
#include "harness.h"
#include "resolve.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct sample {
    const char *resolver, *uri;
    int families; /* how many different ones of its addresses have */
} known[] = {
    {"literal", "tcp://127.0.0.1:1", 1},
    {"literal", "tcp://[::1]:1", 1},
    {"literal", "tcp://[fe80::1%lo]:1", 1},
    {"local", "unix:/run/x.sock", 1},
    {"local", "inproc://x", 1},
    {"systemd", "systemd:web", 1},
    {"xenstore", "tcp://5.xen:1", 1}, /* a number: passed on, Xen or not */
    {"xen", "tcp://www.xen:1", 1},
    {"special", "tcp://localhost:1", 2},
    {"special", "tcp://a.localhost:1", 2},
    {"special", "tcp://a.invalid:1", 0},
    {"static", "tcp://own.example:1", 2},
    {"hosts", "tcp://both.example:1", 2},
    {"hosts", "tcp://four.example:1", 1},
    {"dns", "tcp://a.example:1", 0},
    {"system", "tcp://192.0.2.7:1", 1}, /* numeric: a bare machine knows no name */
};

enum { N_KNOWN = sizeof(known) / sizeof(known[0]) };

static struct sample samples[N_KNOWN]; /* those whose resolvers this build has */
static size_t n_samples;

/* One query, put to one resolver. */
struct question {
    conduit_query query; /* first: events are about it */
    struct cdt_target target;
    int n_done, n_answers;
    bool done, v4, v6;
    conduit_code code;
};

/* ---- asking ---- */

static void on_answer(conduit_query *query, const conduit_endpoint *endpoint, const char *source,
                      int32_t ttl)
{
    struct question *question = (struct question *)query;
    const struct sockaddr *address = &cdt_endpoint_bottom(endpoint)->address.any;
    cr_expect(!question->done, "%s: an answer after done", question->target.host);
    cr_expect_geq(ttl, -1);
    question->n_answers++;
    question->v4 |= address->sa_family == AF_INET;
    question->v6 |= address->sa_family == AF_INET6;
    if (address->sa_family != AF_UNSPEC)
        cr_expect_eq(conduit_endpoint_port(cdt_endpoint_bottom(endpoint)), question->target.port);
}

static void on_done(conduit_query *query, const conduit_error *why)
{
    struct question *question = (struct question *)query;
    question->n_done++;
    question->done = true;
    question->code = conduit_error_code(why);
    cr_expect(why == NULL || conduit_error_stage(why) == CONDUIT_STAGE_RESOLVE);
    conduit_error_unref(why);
}

static struct cdt_resolver_slot *slot_of(const struct sample *sample)
{
    struct cdt_resolver_slot *slot = cdt_ctx->resolvers;
    while (slot != NULL && strcmp(slot->ops->name, sample->resolver) != 0)
        slot = slot->next;
    return slot;
}

static void choose_samples(void)
{
    n_samples = 0;
    for (size_t i = 0; i < N_KNOWN; i++)
        if (slot_of(&known[i]) != NULL)
            samples[n_samples++] = known[i];
}

static void ask(struct question *question, const struct sample *sample, int family, bool listening)
{
    static const struct cdt_query_events events = {.answer = on_answer, .done = on_done};
    const conduit_connect_options options = {.family = family};
    struct cdt_resolver_slot *slot = slot_of(sample);
    *question = (struct question){0};
    cr_assert_eq(
        cdt_target_make(cdt_ctx, &question->target, sample->uri, listening, &options, NULL), 0,
        "%s", sample->uri);
    question->query = (conduit_query){
        .ctx = cdt_ctx,
        .target = &question->target,
        .events = &events,
        .listening = listening,
        .slot = slot,
        .asked = true,
    };
    cr_assert(slot->ops->accepts == NULL || slot->ops->accepts(&question->query, slot->state),
              "%s does not accept %s", sample->resolver, sample->uri);
    slot->ops->start(&question->query, slot->state);
}

static void forget(struct question *question)
{
    cdt_target_clear(&question->target);
}

/* ---- the surroundings ---- */

static char hosts_path[128];

static void write_hosts(void)
{
    snprintf(hosts_path, sizeof(hosts_path), "%s", cdt_test_path("hosts"));
    FILE *file = fopen(hosts_path, "w");
    cr_assert_not_null(file);
    fputs("127.0.0.1 both.example four.example\n::1 both.example\n", file);
    fclose(file);
}

/* A UDP socket that takes questions and never answers. */
static int mute_server(char servers[32])
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&in, len), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    snprintf(servers, 32, "127.0.0.1:%d", ntohs(in.sin_port));
    return fd;
}

/* A context whose name server is mute, or (its port is closed) refuses. */
static int open_with_server(bool mute)
{
    char servers[32];
    int fd = mute_server(servers);
    write_hosts();
    if (!mute) {
        close(fd);
        fd = -1;
    }
    cdt_open_ctx(&(conduit_ctx_options){.dns_servers = servers, .hosts_file = hosts_path});
    cr_assert_eq(conduit_ctx_add_host(cdt_ctx, "own.example", "192.0.2.1"), 0);
    cr_assert_eq(conduit_ctx_add_host(cdt_ctx, "own.example", "2001:db8::1"), 0);
    choose_samples();
    return fd;
}

/* ---- the contract ---- */

CDT_TEST(resolver, every_row_has_a_sample_here_and_what_it_needs)
{
    for (size_t i = 0; cdt_resolvers[i] != NULL; i++) {
        bool found = false;
        const conduit_resolver *row = cdt_resolvers[i];
        for (size_t j = 0; j < N_KNOWN; j++)
            found |= strcmp(known[j].resolver, row->name) == 0;
        cr_expect(found, "%s", row->name);
        cr_expect_not_null(row->start, "%s", row->name);
        cr_expect(row->immediate || row->cancel != NULL, "%s answers later and cannot be canceled",
                  row->name);
    }
}

CDT_TEST(resolver, one_that_is_never_asked_comes_and_goes)
{
    write_hosts();
    cdt_open_ctx(&(conduit_ctx_options){.hosts_file = hosts_path});
    const conduit_ctx_options options = {.hosts_file = hosts_path, .dns_servers = "127.0.0.1:1"};
    for (size_t i = 0; cdt_resolvers[i] != NULL; i++) {
        const conduit_resolver *row = cdt_resolvers[i];
        void *state = NULL;
        if (row->attach != NULL)
            cr_expect_eq(row->attach(cdt_ctx, &options, &state), 0, "%s", row->name);
        if (row->detach != NULL)
            row->detach(state);
        cdt_turn(3);
    }
    cdt_close_ctx();
}

CDT_TEST(resolver, a_query_ends_once)
{
    open_with_server(false);
    for (size_t i = 0; i < n_samples; i++) {
        struct question question;
        ask(&question, &samples[i], AF_UNSPEC, false);
        cr_assert(cdt_test_run_until(&cdt_loop, &question.done), "%s: %s never ends",
                  samples[i].resolver, samples[i].uri);
        cdt_turn(10);
        cr_expect_eq(question.n_done, 1, "%s ended %d times", samples[i].uri, question.n_done);
        cr_expect_eq(question.n_answers > 0, question.code == CONDUIT_OK);
        cr_expect_eq(question.n_answers > 0, samples[i].families > 0, "%s: %d answers",
                     samples[i].uri, question.n_answers);
        if (samples[i].families == 2)
            cr_expect(question.v4 && question.v6, "%s: a family is missing", samples[i].uri);
        forget(&question);
    }
    cdt_close_ctx();
}

CDT_TEST(resolver, an_immediate_one_ends_before_start_returns)
{
    open_with_server(false);
    for (size_t i = 0; i < n_samples; i++) {
        struct question question;
        if (!slot_of(&samples[i])->ops->immediate)
            continue;
        ask(&question, &samples[i], AF_UNSPEC, true);
        cr_expect(question.done, "%s: %s", samples[i].resolver, samples[i].uri);
        cr_expect_eq(question.n_done, 1);
        forget(&question);
    }
    cdt_close_ctx();
}

CDT_TEST(resolver, there_is_no_address_of_a_family_that_is_not_wanted)
{
    open_with_server(false);
    for (size_t i = 0; i < n_samples; i++) {
        for (int v6 = 0; v6 < 2; v6++) {
            struct question question;
            ask(&question, &samples[i], v6 ? AF_INET6 : AF_INET, false);
            cr_assert(cdt_test_run_until(&cdt_loop, &question.done), "%s never ends",
                      samples[i].uri);
            cr_expect(v6 ? !question.v4 : !question.v6, "%s: an address of the other family",
                      samples[i].uri);
            cr_expect_eq(question.n_answers > 0, question.code == CONDUIT_OK, "%s: %d answers, %s",
                         samples[i].uri, question.n_answers, conduit_code_name(question.code));
            if (samples[i].families == 2)
                cr_expect_eq(v6 ? question.v6 : question.v4, true, "%s", samples[i].uri);
            forget(&question);
        }
    }
    cdt_close_ctx();
}

CDT_TEST(resolver, a_canceled_query_is_silent)
{
    int mute = open_with_server(true);
    for (int turns = 0; turns < 3; turns++) {
        for (size_t i = 0; i < n_samples; i++) {
            struct question question;
            ask(&question, &samples[i], AF_UNSPEC, false);
            int before = question.n_done;
            if (turns > 0 && strcmp(samples[i].resolver, "dns") == 0) {
                cdt_turn(turns);
                cr_expect_eq(question.n_done, 0, "a mute server has answered");
            }
            cdt_query_cancel(&question.query);
            cdt_turn(10);
            cr_expect_eq(question.n_done, before, "%s: canceled, and yet it ended", samples[i].uri);
            forget(&question);
        }
    }
    cdt_close_ctx();
    close(mute);
}

/* Its server refuses, so there is an answer on the way when the query is canceled. */
CDT_TEST(resolver, an_answer_that_comes_after_the_cancel_is_dropped)
{
    open_with_server(false);
    for (size_t i = 0; i < n_samples; i++) {
        struct question *question = malloc(sizeof(*question));
        cr_assert_not_null(question);
        ask(question, &samples[i], AF_UNSPEC, false);
        cdt_query_cancel(&question->query);
        forget(question);
        free(question); /* the address sanitizer tells who still looks at it */
        cdt_turns_within(20);
    }
    cdt_close_ctx();
}

CDT_TEST(resolver, many_queries_at_once_end_each_on_its_own)
{
    static struct question questions[8 * N_KNOWN];
    open_with_server(false);
    const size_t n = 8 * n_samples;
    for (size_t i = 0; i < n; i++)
        ask(&questions[i], &samples[i % n_samples], AF_UNSPEC, false);
    for (size_t i = 0; i < n; i += 2)
        cdt_query_cancel(&questions[i].query);
    for (size_t i = 1; i < n; i += 2)
        cr_assert(cdt_test_run_until(&cdt_loop, &questions[i].done), "%s never ends",
                  samples[i % n_samples].uri);
    cdt_turn(10);
    for (size_t i = 0; i < n; i++) {
        bool immediate = questions[i].query.slot->ops->immediate;
        cr_expect_eq(questions[i].n_done, i % 2 == 1 || immediate, "%zu: %s ended %d times", i,
                     samples[i % n_samples].uri, questions[i].n_done);
        forget(&questions[i]);
    }
    cdt_close_ctx();
}

/* Its objects cancel their queries first; what is under way below that is the resolver's affair. */
CDT_TEST(resolver, the_context_may_end_while_an_answer_is_awaited)
{
    for (size_t i = 0; i < N_KNOWN; i++) {
        struct question question;
        int mute = open_with_server(true);
        if (i < n_samples) {
            ask(&question, &samples[i], AF_UNSPEC, false);
            cdt_query_cancel(&question.query);
            forget(&question);
        }
        cdt_close_ctx();
        close(mute);
    }
}
