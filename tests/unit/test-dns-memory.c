/* SPDX-License-Identifier: ISC */
/*
 * What dns remembers, under a clock that the test moves: answers, absences, and whom it asks.
 */
#include "lone-dns.h"
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

CDT_TEST(dns, remembers_an_answer_for_as_long_as_it_says)
{
    struct world *world = lone_open_world();
    conduit_query query;
    lone_ask(world, &query, "both.test");
    lone_expect_end(&query, "*");
    lone_skew_ns += 100 * (uint64_t)1000000000;
    lone_ask(world, &query, "BOTH.test.");
    lone_expect_end(&query, "2001:db8::1=200 settled6 192.0.2.1=200 192.0.2.2=200 settled4 code 0");
    cr_expect_str_eq(world->server.asked, "AAAA both.test,A both.test,");
    cr_expect_not_null(strstr(query.trace, "query: A both.test from memory"), "%s", query.trace);
    lone_skew_ns += 200 * (uint64_t)1000000000;
    lone_ask(world, &query, "both.test");
    lone_expect_end(&query, "2001:db8::1=300 settled6 192.0.2.1=300 192.0.2.2=300 settled4 code 0");
    cr_expect_str_eq(world->server.asked, "AAAA both.test,A both.test,AAAA both.test,A both.test,");
    lone_close_world(world);
}

CDT_TEST(dns, remembers_what_there_is_not_if_the_zone_says_for_how_long)
{
    struct world *world = lone_open_world();
    conduit_query query;
    for (int i = 0; i < 2; i++) {
        lone_ask_of(world->dns, &query, &world->ctx, "absent.test", AF_INET);
        lone_expect_end(&query, "settled4 code -4 no such name (NXDOMAIN)");
        lone_ask(world, &query, "absent6.test");
        lone_expect_end(&query, "settled6 192.0.2.1=300 settled4 code 0");
        lone_ask_of(world->dns, &query, &world->ctx, "nx.test", AF_INET);
        lone_expect_end(&query, "settled4 code -4 no such name (NXDOMAIN)");
    }
    cr_expect_str_eq(world->server.asked,
                     "A absent.test,AAAA absent6.test,A absent6.test,A nx.test,A nx.test,");
    lone_skew_ns += 40 * (uint64_t)1000000000;
    lone_ask_of(world->dns, &query, &world->ctx, "absent.test", AF_INET);
    lone_expect_end(&query, "*");
    cr_expect_not_null(strstr(world->server.asked, "A nx.test,A absent.test,"));
    lone_close_world(world);
}

CDT_TEST(dns, forgets_when_told_to_what_is_under_way_too)
{
    struct world *world = lone_open_world();
    conduit_query query, held;
    lone_ask_of(world->dns, &query, &world->ctx, "both.test", AF_INET);
    lone_expect_end(&query, "*");
    lone_ask_of(world->dns, &held, &world->ctx, "held.test", AF_INET);
    lone_wait_for_held(world, 1);
    cdt_resolver_dns.flush(world->dns);
    lone_release(&world->server);
    lone_expect_end(&held, "192.0.2.1=300 settled4 code 0");
    lone_ask_of(world->dns, &query, &world->ctx, "both.test", AF_INET);
    lone_expect_end(&query, "*");
    lone_ask_of(world->dns, &held, &world->ctx, "held.test", AF_INET);
    lone_wait_for_held(world, 1);
    lone_release(&world->server);
    lone_expect_end(&held, "*");
    cr_expect_str_eq(world->server.asked, "A both.test,A held.test,A both.test,A held.test,");
    lone_close_world(world);
}

CDT_TEST(dns, may_be_canceled_while_it_remembers)
{
    struct world *world = lone_open_world();
    conduit_query query;
    lone_ask(world, &query, "both.test");
    lone_expect_end(&query, "*");
    lone_ask(world, &query, "both.test");
    cdt_resolver_dns.cancel(&query, world->dns);
    uv_run(&world->ctx.loop, UV_RUN_NOWAIT);
    cr_expect_str_eq(query.story, "");
    lone_close_world(world);
}

static void raise_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    close(fd);
}

/* A resolv.conf and a port 53 of this process's own; false without the rights for it. */
static bool enter_machine_of_its_own(const char *config)
{
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) != 0)
        return false;
    if (mount(NULL, "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount(config, "/etc/resolv.conf", "none", MS_BIND, NULL) != 0)
        return false;
    raise_loopback();
    return true;
}

CDT_TEST(dns, sees_a_changed_resolv_conf_and_lets_the_old_servers_finish)
{
    static const char before[] = "nameserver 127.0.0.1\n", after[] = "nameserver 127.0.0.22\n";
    const char *config = cdt_test_path("resolv.conf");
    conduit_ctx ctx;
    static struct server first, second;
    static conduit_query old, query;
    lone_write_file(config, before, strlen(before));
    if (!enter_machine_of_its_own(config))
        cr_skip_test("needs the rights to make namespaces");
    lone_open_ctx(&ctx);
    lone_open_server(&first, &ctx.loop, "127.0.0.1", 53);
    lone_open_server(&second, &ctx.loop, "127.0.0.22", 53);
    void *dns = lone_attach_dns(&ctx, NULL);
    lone_ask_of(dns, &old, &ctx, "held.test", AF_INET);
    while (first.n_held < 1)
        uv_run(&ctx.loop, UV_RUN_ONCE);
    lone_write_file(config, after, strlen(after));
    lone_ask_of(dns, &query, &ctx, "only4.test", AF_INET);
    lone_expect_end(&query, "192.0.2.4=300 settled4 code 0");
    cr_expect_str_eq(first.asked, "A held.test,A only4.test,", "%s", first.asked);
    lone_let_a_second_pass();
    lone_ask_of(dns, &query, &ctx, "only4.test", AF_INET);
    lone_expect_end(&query, "192.0.2.4=300 settled4 code 0");
    cr_expect_str_eq(second.asked, "A only4.test,", "%s", second.asked);
    lone_release(&first);
    lone_expect_end(&old, "192.0.2.1=300 settled4 code 0");
    cdt_resolver_dns.detach(dns);
    lone_close_server(&first);
    lone_close_server(&second);
    lone_close_ctx(&ctx);
}
