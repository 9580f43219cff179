/* SPDX-License-Identifier: ISC */
/* The resolvers that need no name server, each alone: literal, local, special and system. */
#include "lone.h"
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

CDT_TEST(literal, takes_addresses_and_what_is_almost_one)
{
    static const struct row rows[] = {
        /* clang-format off */
        {"tcp", "192.0.2.1", 0, false, "192.0.2.1=-1 code 0"},
        {"tcp", "192.0.2.1", AF_INET, true, "192.0.2.1=-1 code 0"},
        {"tcp", "192.0.2.1", AF_INET6, false, "code -4 an IPv4 address, and only IPv6 is wanted"},
        {"tcp", "2001:db8::1", 0, false, "2001:db8::1=-1 code 0"},
        {"tcp", "2001:db8::1", AF_INET, true, "code -4 an IPv6 address, and only IPv4 is wanted"},
        {"tcp", "::", 0, true, "::=-1 code 0"},
        {"tcp", "fe80::1", 0, false, "fe80::1=-1 code 0"},
        {"tcp", "fe80::1%7", 0, false, "fe80::1%7=-1 code 0"},
        {"tcp", "fe80::1%lo", 0, false, "fe80::1%1=-1 code 0"},
        {"tcp", "fe80::1%none0", 0, false, "code -4 this machine has no interface \"none0\""},
        {"tcp", "fe80::1%0", 0, false, "code -4 this machine has no interface \"0\""},
        {"tcp", "fe80::1%99999999999", 0, false, "code -4 this machine has no interface*"},
        {"tcp", "fe80::1%", 0, false, "code -4 this machine has no interface*"},
        {"tcp", "1:2", 0, false, "code -2 not an IPv6 address"},
        {"tcp", "2130706433", 0, false, "code -2 almost an IPv4 address*"},
        {"tcp", "127.1", 0, false, "code -2 almost an IPv4 address*"},
        {"tcp", "127.0.0.1.", 0, false, "-"},
        {"tcp", "", 0, true, "::=-1 0.0.0.0=-1 code 0"},
        {"tcp", "*", 0, true, "::=-1 0.0.0.0=-1 code 0"},
        {"tcp", "*", AF_INET, true, "0.0.0.0=-1 code 0"},
        {"tcp", "", AF_INET6, true, "::=-1 code 0"},
        {"tcp", "", 0, false, "code -2 a host is missing*"},
        {"tcp", "*", 0, false, "code -2 a host is missing*"},
        {"tcp", "example.org", 0, false, "-"},
        {"tcp", "1.2.3.example", 0, true, "-"},
        {"unix", "192.0.2.1", 0, false, "-"},
        {"inproc", "", 0, true, "-"},
        /* clang-format on */
    };
    lone_expect_rows(&cdt_resolver_literal, NULL, rows, sizeof(rows) / sizeof(rows[0]));
}

CDT_TEST(local, takes_unix_paths_and_inproc_names)
{
    static const struct row rows[] = {
        {"unix", "/run/x.sock", 0, false, "unix(/run/x.sock)=-1 code 0"},
        {"unix", "rel", 0, true, "unix(rel)=-1 code 0"},
        {"inproc", "name", 0, true, "inproc(name)=-1 code 0"},
        {"tcp", "/run/x.sock", 0, false, "-"},
    };
    lone_expect_rows(&cdt_resolver_local, NULL, rows, sizeof(rows) / sizeof(rows[0]));
}

CDT_TEST(special, asks_nobody_about_localhost_onion_and_invalid)
{
    static const struct row rows[] = {
        {"tcp", "localhost", 0, false, "::1=-1 127.0.0.1=-1 code 0"},
        {"tcp", "localhost.", 0, true, "::1=-1 127.0.0.1=-1 code 0"},
        {"tcp", "LocalHost", AF_INET, false, "127.0.0.1=-1 code 0"},
        {"tcp", "a.b.localhost", AF_INET6, true, "::1=-1 code 0"},
        {"tcp", "x.onion", 0, false, "code -4 an onion service*"},
        {"tcp", "X.ONION.", 0, false, "code -4 an onion service*"},
        {"tcp", "onion", 0, false, "code -4 an onion service*"},
        {"tcp", "a.invalid", 0, false, "code -4 \"invalid\"*"},
        {"tcp", "notlocalhost", 0, false, "-"},
        {"tcp", "localhost.example", 0, false, "-"},
        {"tcp", "onions", 0, false, "-"},
        {"tcp", "", 0, true, "-"},
        {"unix", "localhost", 0, false, "-"},
    };
    lone_expect_rows(&cdt_resolver_special, NULL, rows, sizeof(rows) / sizeof(rows[0]));
}

/* ---- system */

CDT_TEST(system, asks_getaddrinfo)
{
    conduit_ctx ctx;
    lone_open_ctx(&ctx);
    conduit_query query = {.ctx = &ctx, .transport = "tcp", .host = "127.0.0.1"};
    cr_expect(cdt_resolver_system.accepts(&query, NULL));
    cdt_resolver_system.start(&query, NULL);
    cr_expect(!query.done);
    lone_expect_end(&query, "127.0.0.1=-1 code 0");
    lone_close_ctx(&ctx);
}

CDT_TEST(system, says_what_getaddrinfo_says)
{
    conduit_ctx ctx;
    lone_open_ctx(&ctx);
    conduit_query query = {
        .ctx = &ctx, .transport = "tcp", .host = "127.0.0.1", .family = AF_INET6};
    cdt_resolver_system.start(&query, NULL);
    lone_expect_end(&query, "code -4 *");
    cr_expect_str_eq(query.source, "getaddrinfo");
    cr_expect_neq(query.number, 0);
    lone_close_ctx(&ctx);
}

static void wait_at_gate(uv_work_t *work)
{
    uv_sem_wait(work->data);
}

static void pass_gate(uv_work_t *work, int status) {}

/* All threads of the pool are held, so the lookup waits in its queue. */
CDT_TEST(system, forgets_a_query_that_is_canceled)
{
    enum { N_THREADS = 4 };
    conduit_ctx ctx;
    uv_sem_t gate;
    uv_work_t held[N_THREADS];
    lone_open_ctx(&ctx);
    cr_assert_eq(uv_sem_init(&gate, 0), 0);
    for (int i = 0; i < N_THREADS; i++) {
        held[i].data = &gate;
        cr_assert_eq(uv_queue_work(&ctx.loop, &held[i], wait_at_gate, pass_gate), 0);
    }
    conduit_query *query = calloc(1, sizeof(*query));
    *query = (conduit_query){.ctx = &ctx, .transport = "tcp", .host = "localhost"};
    cdt_resolver_system.start(query, NULL);
    cdt_resolver_system.cancel(query, NULL);
    cr_expect_str_eq(query->story, "");
    free(query);
    for (int i = 0; i < N_THREADS; i++)
        uv_sem_post(&gate);
    lone_close_ctx(&ctx);
    uv_sem_destroy(&gate);
}

CDT_TEST(system, takes_names_to_connect_to_only)
{
    static const struct row rows[] = {
        {"tcp", "name", 0, false, "yes"},  {"tcp", "name", 0, true, "-"},
        {"tcp", "", 0, false, "-"},        {"unix", "name", 0, false, "-"},
        {"inproc", "name", 0, false, "-"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conduit_query query = {
            .transport = rows[i].transport, .host = rows[i].host, .listening = rows[i].listening};
        cr_expect_eq(cdt_resolver_system.accepts(&query, NULL), rows[i].story[0] == 'y', "row %zu",
                     i);
    }
}
