/* SPDX-License-Identifier: ISC */
/*
 * Addresses by DNS: what is asked, in which order it is told, how it ends, and who is asked.
 */
#include "../../resolvers/dns_servers.h"
#include "conduit-build.h"
#include "lone-dns.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

CDT_TEST(dns, asks_for_both_families_apart)
{
    struct world *world = lone_open_world();
    conduit_query query;
    lone_ask(world, &query, "both.test");
    lone_expect_end(&query, "2001:db8::1=300 settled6 192.0.2.1=300 192.0.2.2=300 settled4 code 0");
    cr_expect_str_eq(world->server.asked, "AAAA both.test,A both.test,");
    cr_expect_not_null(strstr(query.trace, "query: AAAA both.test to 127.0.0.1:"), "%s",
                       query.trace);
    cr_expect_not_null(strstr(query.trace, "answer: A both.test: 192.0.2.1 (300 s)\n"
                                           "answer: A both.test: 192.0.2.2 (300 s)\n"
                                           "cache: A both.test: kept for 300 s\n"),
                       "%s", query.trace);
    lone_close_world(world);
}

CDT_TEST(dns, asks_for_one_family_if_only_that_is_wanted)
{
    struct world *world = lone_open_world();
    conduit_query query;
    lone_ask_of(world->dns, &query, &world->ctx, "both.test", AF_INET);
    lone_expect_end(&query, "192.0.2.1=300 192.0.2.2=300 settled4 code 0");
    lone_ask_of(world->dns, &query, &world->ctx, "both.test", AF_INET6);
    lone_expect_end(&query, "2001:db8::1=300 settled6 code 0");
    cr_expect_str_eq(world->server.asked, "A both.test,AAAA both.test,");
    lone_close_world(world);
}

CDT_TEST(dns, says_how_it_ended)
{
    static const struct {
        const char *host, *says;
        int code;
    } rows[] = {
        {"only4.test", "settled6 192.0.2.4=300 settled4 code 0", 0},
        {"only4.test.", "192.0.2.4=300 settled4 ", 0},
        {"tcp.test", "192.0.2.5=300 settled4 ", 0},
        {"alias.test", "192.0.2.3=60 settled4 ", 0},
        {"fail6.test", "settled6 192.0.2.6=300 settled4 code 0", 0},
        {"nodata.test", "code -4 the name has no address (NODATA)", CONDUIT_ENONAME},
        {"nx.test", "code -4 no such name (NXDOMAIN)", CONDUIT_ENONAME},
        {"nx6.test", "settled6 settled4 code -4 no such name (NXDOMAIN)", CONDUIT_ENONAME},
        {"notso.test", "settled6 192.0.2.6=300 settled4 code 0", 0},
        {"fail.test", "code -5 the name server failed (SERVFAIL): 127.0.0.1:", CONDUIT_ETEMP},
        {"refused.test",
         "code -5 the name server will not answer (REFUSED): 127.0.0.1:", CONDUIT_ETEMP},
        {"half.test", "code -5 the name server failed (SERVFAIL): 127.0.0.1:", CONDUIT_ETEMP},
        {"rubbish.test", "code -5 a malformed answer from 127.0.0.1:", CONDUIT_ETEMP},
    };
    struct world *world = lone_open_world();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conduit_query query;
        lone_ask(world, &query, rows[i].host);
        cr_assert(cdt_test_run_until(&world->ctx.loop, &query.done), "%s", rows[i].host);
        cr_expect_not_null(strstr(query.story, rows[i].says), "%s: %s\n  without: %s", rows[i].host,
                           query.story, rows[i].says);
        cr_expect_eq(query.code, rows[i].code, "%s: %s", rows[i].host, query.story);
        cr_expect_str_eq(query.source, query.code < 0 ? "c-ares" : "", "%s", rows[i].host);
        cr_expect_eq(query.number != 0, query.code < 0, "%s", rows[i].host);
    }
    lone_close_world(world);
}

CDT_TEST(dns, tells_a_family_while_the_other_is_late)
{
    struct world *world = lone_open_world();
    conduit_query query;
    lone_ask(world, &query, "late6.test");
    lone_wait_for_news(&query);
    lone_expect_story("before", query.host, query.story, "192.0.2.1=300 settled4 ");
    lone_wait_for_held(world, 1);
    lone_release(&world->server);
    lone_expect_end(&query, "192.0.2.1=300 settled4 2001:db8::1=300 settled6 code 0");
    lone_close_world(world);
}

CDT_TEST(dns, takes_sixty_four_addresses_of_a_family_and_no_more)
{
    struct world *world = lone_open_world();
    conduit_query query;
    size_t n = 0;
    lone_ask(world, &query, "many.test");
    cr_assert(cdt_test_run_until(&world->ctx.loop, &query.done));
    for (const char *at = query.story; (at = strchr(at, '=')) != NULL; at++)
        n++;
    cr_expect_eq(n, 64, "%zu addresses", n);
    lone_close_world(world);
}

CDT_TEST(dns, answers_many_queries_at_once)
{
    enum { N = 100 };
    static conduit_query queries[N];
    struct world *world = lone_open_world();
    for (int i = 0; i < N; i++)
        lone_ask(world, &queries[i], i % 2 == 0 ? "only4.test" : "nodata.test");
    for (int i = 0; i < N; i++) {
        cr_expect(cdt_test_run_until(&world->ctx.loop, &queries[i].done));
        cr_expect_eq(queries[i].code, i % 2 == 0 ? 0 : CONDUIT_ENONAME);
    }
    lone_close_world(world);
}

CDT_TEST(dns, appends_no_domain_to_a_short_name)
{
    cr_assert_eq(setenv("LOCALDOMAIN", "elsewhere.test", 1), 0);
    struct world *world = lone_open_world();
    conduit_query query;
    lone_ask_of(world->dns, &query, &world->ctx, "single", AF_INET);
    lone_expect_end(&query, "192.0.2.1=300 settled4 code 0");
    lone_ask_of(world->dns, &query, &world->ctx, "single", AF_INET6);
    lone_expect_end(&query, "settled6 code -4 the name has no address (NODATA)");
    cr_expect_str_eq(world->server.asked, "A single,AAAA single,");
    lone_close_world(world);
}

CDT_TEST(dns, refuses_a_name_that_dns_cannot_hold)
{
    static char name[400];
    struct world *world = lone_open_world();
    conduit_query query;
    memset(name, 'a', sizeof(name) - 1);
    lone_ask(world, &query, name);
    lone_wait_for_news(&query);
    cr_assert(query.done);
    cr_expect_eq(query.code, CONDUIT_ENONAME, "%s", query.story);
    cr_expect_str_eq(world->server.asked, "");
    lone_close_world(world);
}

CDT_TEST(dns, drops_the_answer_to_a_canceled_query)
{
    struct world *world = lone_open_world();
    conduit_query *canceled = calloc(1, sizeof(*canceled)), query;
    lone_ask(world, canceled, "held.test");
    lone_wait_for_held(world, 2);
    cdt_resolver_dns.cancel(canceled, world->dns);
    cr_expect_str_eq(canceled->story, "");
    free(canceled);
    lone_release(&world->server);
    lone_ask(world, &query, "both.test");
    lone_expect_end(&query, "*");
    cr_expect_eq(query.code, 0);
    lone_close_world(world);
}

CDT_TEST(dns, may_be_canceled_before_it_has_asked_and_after_half_of_the_answer)
{
    struct world *world = lone_open_world();
    conduit_query *query = calloc(1, sizeof(*query));
    lone_ask(world, query, "both.test");
    cdt_resolver_dns.cancel(query, world->dns);
    lone_ask(world, query, "late6.test");
    lone_wait_for_news(query);
    cdt_resolver_dns.cancel(query, world->dns);
    free(query);
    lone_close_world(world);
}

CDT_TEST(dns, does_not_ask_what_was_canceled_in_the_same_turn)
{
    struct world *world = lone_open_world();
    conduit_query canceled, query;
    lone_ask(world, &canceled, "held.test");
    lone_ask(world, &query, "both.test");
    cdt_resolver_dns.cancel(&canceled, world->dns);
    lone_expect_end(&query, "*");
    cr_expect_str_eq(world->server.asked, "AAAA both.test,A both.test,");
    lone_close_world(world);
}

CDT_TEST(dns, ends_with_queries_that_were_never_asked)
{
    struct world *world = lone_open_world();
    conduit_query query;
    lone_ask(world, &query, "both.test");
    cdt_resolver_dns.cancel(&query, world->dns);
    lone_close_world(world);
}

CDT_TEST(dns, ends_with_canceled_queries_still_at_the_server)
{
    struct world *world = lone_open_world();
    conduit_query queries[3];
    for (int i = 0; i < 3; i++)
        lone_ask(world, &queries[i], "silent.test");
    while (strlen(world->server.asked) < 6 * strlen("A silent.test"))
        uv_run(&world->ctx.loop, UV_RUN_ONCE);
    for (int i = 0; i < 3; i++)
        cdt_resolver_dns.cancel(&queries[i], world->dns);
    lone_close_world(world);
}

CDT_TEST(dns, is_attached_and_detached_without_a_query)
{
    conduit_ctx ctx;
    lone_open_ctx(&ctx);
    cdt_resolver_dns.detach(lone_attach_dns(&ctx, NULL));
    lone_close_ctx(&ctx);
}

CDT_TEST(dns, keeps_no_loop_alive)
{
    struct world *world = lone_open_world();
    conduit_query query;
    lone_ask(world, &query, "silent.test");
    uv_run(&world->ctx.loop, UV_RUN_NOWAIT);
    lone_close_server(&world->server);
    uv_run(&world->ctx.loop, UV_RUN_DEFAULT);
    cr_expect(!query.done);
    cdt_resolver_dns.cancel(&query, world->dns);
    cdt_resolver_dns.detach(world->dns);
    lone_close_ctx(&world->ctx);
}

/* Real time: 1.5 s, and 1.5 s + 3 s. */
CDT_TEST(dns, asks_the_second_server_when_the_first_is_silent)
{
    struct world *world = lone_open_world();
    struct server second;
    char servers[160], both[160];
    conduit_query query;
    lone_open_server(&second, &world->ctx.loop, "127.0.0.2", 0);
    world->server.silent = true;
    snprintf(servers, sizeof(servers), "%.63s,%.63s", world->server.address, second.address);
    snprintf(both, sizeof(both), "%.63s, %.63s\n", world->server.address, second.address);
    void *dns = lone_attach_dns(&world->ctx, servers);
    lone_ask_of(dns, &query, &world->ctx, "both.test", AF_UNSPEC);
    lone_expect_end(&query, "2001:db8::1=300 settled6 192.0.2.1=300 192.0.2.2=300 settled4 code 0");
    cr_expect_not_null(strstr(query.trace, both), "%s", query.trace);
    cdt_resolver_dns.detach(dns);
    lone_close_server(&second);
    lone_close_world(world);
}

/* c-ares does not say which of the two it was before 1.20. */
CDT_TEST(dns, asks_the_second_server_when_the_first_fails)
{
    struct world *world = lone_open_world();
    struct server second;
    char servers[160];
    conduit_query query;
    lone_open_server(&second, &world->ctx.loop, "127.0.0.2", 0);
    world->server.failing = true;
    snprintf(servers, sizeof(servers), "%.63s,%.63s", world->server.address, second.address);
    void *dns = lone_attach_dns(&world->ctx, servers);
    lone_ask_of(dns, &query, &world->ctx, "only4.test", AF_INET);
    lone_expect_end(&query, "192.0.2.4=300 settled4 code 0");
    lone_ask_of(dns, &query, &world->ctx, "fail.test", AF_INET);
    cr_assert(cdt_test_run_until(&world->ctx.loop, &query.done));
    cr_expect_eq(query.code, CONDUIT_ETEMP);
    cr_expect_not_null(strstr(query.story, "SERVFAIL"), "%s", query.story);
    cdt_resolver_dns.detach(dns);
    lone_close_server(&second);
    lone_close_world(world);
}

CDT_TEST(dns, says_which_server_is_silent)
{
    struct world *world = lone_open_world();
    conduit_query silent, half;
    char says[160];
    lone_ask(world, &silent, "silent.test");
    lone_ask(world, &half, "silent6.test");
    lone_expect_end(&half, "192.0.2.7=300 settled4 settled6 code 0");
    snprintf(says, sizeof(says), " code -6 no answer from %.63s", world->server.address);
    cr_assert(cdt_test_run_until(&world->ctx.loop, &silent.done));
    cr_expect_not_null(strstr(silent.story, says), "%s", silent.story);
    lone_close_world(world);
}

CDT_TEST(dns, says_that_nobody_is_at_the_port_of_the_server)
{
    struct world *world = lone_open_world();
    char says[160];
    conduit_query query;
    struct server gone;
    lone_open_server(&gone, &world->ctx.loop, "127.0.0.1", 0);
    lone_close_server(&gone);
    uv_run(&world->ctx.loop, UV_RUN_NOWAIT);
    void *dns = lone_attach_dns(&world->ctx, gone.address);
    lone_ask_of(dns, &query, &world->ctx, "both.test", AF_UNSPEC);
    cr_expect(cdt_test_run_until(&world->ctx.loop, &query.done));
    snprintf(says, sizeof(says), "code -5 connection refused, nobody is there to ask: %.63s",
             gone.address);
    cr_expect_not_null(strstr(query.story, says), "%s\n  without: %s", query.story, says);
    cdt_resolver_dns.detach(dns);
    lone_close_world(world);
}

CDT_TEST(dns, reads_the_servers_of_the_options)
{
    static const struct {
        const char *servers, *asks; /* asks: as the trace names them; NULL: turned away */
    } rows[] = {
        /* clang-format off */
        {"192.0.2.1", "to 192.0.2.1\n"},
        {"192.0.2.1:53", "to 192.0.2.1\n"},
        {"192.0.2.1:5353", "to 192.0.2.1:5353\n"},
        {"2001:db8::1", "to 2001:db8::1\n"},
        {"[2001:db8::1]", "to 2001:db8::1\n"},
        {"[2001:db8::1]:5353", "to [2001:db8::1]:5353\n"},
        {"192.0.2.1,[2001:db8::1]:5353,::1", "to 192.0.2.1, [2001:db8::1]:5353, ::1\n"},
        {"::1,::2,::3,::4", "to ::1, ::2, ::3, ::4\n"},
        {"", NULL},
        {",", NULL},
        {"192.0.2.1,", NULL},
        {",192.0.2.1", NULL},
        {"192.0.2.1,,::1", NULL},
        {"name.example", NULL},
        {"192.0.2", NULL},
        {"192.0.2.1:", NULL},
        {"192.0.2.1:0", NULL},
        {"192.0.2.1:65536", NULL},
        {"192.0.2.1:99999", NULL},
        {"192.0.2.1:5x", NULL},
        {"192.0.2.1:-1", NULL},
        {"[192.0.2.1]", NULL},
        {"[::1", NULL},
        {"::1]", NULL},
        {"[::1]x", NULL},
        {"[::1]:", NULL},
        {"[]", NULL},
        {"fe80::1%lo", NULL},
        {" 192.0.2.1", NULL},
        {"192.0.2.1 ", NULL},
        {"192.0.2.1;192.0.2.2", NULL},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL},
        /* clang-format on */
    };
    conduit_ctx ctx;
    lone_open_ctx(&ctx);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conduit_ctx_options options = {.dns_servers = rows[i].servers};
        conduit_query query;
        void *dns = NULL;
        int code = cdt_resolver_dns.attach(&ctx, &options, &dns);
        cr_expect_eq(code, rows[i].asks != NULL ? 0 : CONDUIT_EINVAL, "\"%s\"", rows[i].servers);
        if (code != 0)
            continue;
        lone_ask_of(dns, &query, &ctx, "name.test", AF_INET);
        cr_expect_not_null(strstr(query.trace, rows[i].asks), "%s: %s", rows[i].servers,
                           query.trace);
        cdt_resolver_dns.cancel(&query, dns);
        cdt_resolver_dns.detach(dns);
    }
    lone_close_ctx(&ctx);
}

CDT_TEST(dns, leaves_to_others_what_is_not_a_name_to_connect_to)
{
    conduit_ctx ctx;
    conduit_ctx_options system = {.system_resolver = true};
    conduit_query query = {.transport = "tcp", .host = "example.org"};
    void *off = NULL;
    lone_open_ctx(&ctx);
    cr_assert_eq(cdt_resolver_dns.attach(&ctx, &system, &off), 0);
    void *on = lone_attach_dns(&ctx, NULL);
    cr_expect(cdt_resolver_dns.accepts(&query, on));
    cr_expect(!cdt_resolver_dns.accepts(&query, off));
    query.listening = true;
    cr_expect(!cdt_resolver_dns.accepts(&query, on));
    query = (conduit_query){.transport = "unix", .host = "example.org"};
    cr_expect(!cdt_resolver_dns.accepts(&query, on));
    query = (conduit_query){.transport = "tcp", .host = ""};
    cr_expect(!cdt_resolver_dns.accepts(&query, on));
    cdt_resolver_dns.detach(on);
    cdt_resolver_dns.detach(off);
    lone_close_ctx(&ctx);
}

/* ---- resolv.conf */

CDT_TEST(dns, whom_resolv_conf_trusts_to_vouch)
{
    static const struct {
        const char *text;
        bool vouch;
    } rows[] = {
        {"nameserver 127.0.0.1\noptions trust-ad\n", true},
        {"options edns0 trust-ad ndots:1\nnameserver 127.0.0.1\n", true},
        {"options\ttrust-ad", true},
        {"nameserver 127.0.0.1\noptions edns0\n", false},
        {"#options trust-ad\n;options trust-ad\n", false},
        {"# options trust-ad\n", false},
        {"search options trust-ad\n", false},
        {"options trust-ads no-trust-ad\n", false},
        {"", false},
    };
    const char *path = cdt_test_path("resolv.conf");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        FILE *out = fopen(path, "w");
        cr_assert_not_null(out);
        fputs(rows[i].text, out);
        fclose(out);
        cr_expect_eq(cdt_dns_servers_vouch(path), rows[i].vouch, "%s", rows[i].text);
    }
    cr_expect(!cdt_dns_servers_vouch(cdt_test_path("missing")));
}
