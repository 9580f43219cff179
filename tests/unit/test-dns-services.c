/* SPDX-License-Identifier: ISC */
/*
 * Services by DNS: SRV, SVCB and HTTPS, where they lead and where they do not.
 */
#include "lone-dns.h"
#include <limits.h>
#include <stdio.h>

static const char *const services[] = {
    [CONDUIT_RECORDS_SRV] = "xmpps-client",
    [CONDUIT_RECORDS_HTTPS] = "https",
    [CONDUIT_RECORDS_SVCB] = "foo",
};

/* IPv4 alone, for brevity. */
static void ask_for(struct world *world, conduit_query *query, conduit_records records,
                    const char *host, uint16_t port)
{
    memset(query, 0, sizeof(*query));
    query->ctx = &world->ctx;
    query->transport = "tcp";
    query->host = host;
    query->family = AF_INET;
    query->port = port;
    query->records = records;
    query->service = services[records];
    query->alpn = records == CONDUIT_RECORDS_SVCB ? "foo" : "http/1.1";
    world->server.asked[0] = '\0';
    cdt_resolver_dns.start(query, world->dns);
}

/* Is it in there? */
static void expect_part(const conduit_query *query, const char *part)
{
    cr_expect_not_null(strstr(query->story, part), "%s: %s\n  without: %s", query->host,
                       query->story, part);
}

CDT_TEST(dns, finds_a_service_by_srv)
{
    struct world *world = lone_open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_SRV, "srv.test", 5223);
    lone_expect_end(&query, "*");
    expect_part(&query, "0#5223:192.0.2.1=300 0#5223:192.0.2.2=300 ");
    expect_part(&query, "1#5224:192.0.2.4=300 ");
    expect_part(&query, "settled4 code 0");
    cr_expect_not_null(strstr(query.trace, "_tcp.srv.test: 10 0 5223 both.test. (300 s)"), "%s",
                       query.trace);
    cr_expect_str_eq(world->server.asked,
                     "SRV _xmpps-client._tcp.srv.test,A both.test,A only4.test,");
    lone_close_world(world);
}

CDT_TEST(dns, goes_to_the_host_where_there_is_no_srv)
{
    struct world *world = lone_open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_SRV, "only4.test", 5223);
    lone_expect_end(&query, "0#5223:192.0.2.4=300 settled4 code 0");
    cr_expect_str_eq(world->server.asked, "SRV _xmpps-client._tcp.only4.test,A only4.test,");
    ask_for(world, &query, CONDUIT_RECORDS_SRV, "both.test", 5223);
    lone_expect_end(&query, "0#5223:192.0.2.1=300 0#5223:192.0.2.2=300 settled4 code 0");
    lone_close_world(world);
}

CDT_TEST(dns, believes_srv_that_there_is_no_service)
{
    struct world *world = lone_open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_SRV, "none.test", 5223);
    lone_expect_end(&query, "code -4 the service is decidedly not available (SRV)");
    ask_for(world, &query, CONDUIT_RECORDS_SRV, "lost.test", 5223);
    lone_expect_end(&query, "settled4 code -4 no such name (NXDOMAIN)");
    lone_close_world(world);
}

CDT_TEST(dns, finds_a_service_by_svcb_that_says_the_port)
{
    struct world *world = lone_open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_SVCB, "https.test", 0);
    lone_expect_end(&query, "1#8445:192.0.2.4=300 settled4 code 0");
    cr_expect_str_eq(world->server.asked, "SVCB _foo.https.test,A only4.test,");
    ask_for(world, &query, CONDUIT_RECORDS_SVCB, "https.test", 8444);
    lone_expect_end(&query, "*");
    expect_part(&query, "0#8444:192.0.2.1=300 ");
    expect_part(&query, "-1#8444:192.0.2.9=300 ");
    ask_for(world, &query, CONDUIT_RECORDS_SVCB, "alias1.test", 0);
    lone_expect_end(&query, "1#8445:192.0.2.4=300 settled4 code 0");
    lone_close_world(world);
}

CDT_TEST(dns, says_what_failed_where_the_host_is_no_way_out)
{
    struct world *world = lone_open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_SRV, "fail.test", 0);
    lone_expect_end(&query, "*");
    cr_expect_eq(query.code, CONDUIT_ETEMP, "%s", query.story);
    ask_for(world, &query, CONDUIT_RECORDS_SVCB, "fail.test", 0);
    lone_expect_end(&query, "*");
    cr_expect_eq(query.code, CONDUIT_ETEMP, "%s", query.story);
    ask_for(world, &query, CONDUIT_RECORDS_SRV, "only4.test", 0);
    lone_expect_end(&query, "code 0"); /* nothing was added: what that means is the core's to say */
    lone_close_world(world);
}

CDT_TEST(dns, finds_better_places_by_https_and_keeps_the_host)
{
    struct world *world = lone_open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_HTTPS, "https.test", 443);
    lone_expect_end(&query, "*");
    expect_part(&query, "0#443:192.0.2.1=300 ");
    expect_part(&query, "-1#443:192.0.2.9=300 ");
    expect_part(&query, "code 0");
    cr_expect_null(strstr(query.story, "#844"), "speaks no h2, no h3: %s", query.story);
    cr_expect_not_null(strstr(query.trace, "answer: HTTPS https.test: "), "%s", query.trace);
    cr_expect_not_null(strstr(query.trace, " alpn="), "%s", query.trace);
    cr_expect_not_null(strstr(query.trace, "cache: HTTPS https.test: kept for 300 s"), "%s",
                       query.trace);
    cr_expect_str_eq(world->server.asked, "HTTPS https.test,A https.test,A single,");
    ask_for(world, &query, CONDUIT_RECORDS_HTTPS, "https.test", 8443);
    lone_expect_end(&query, "-1#8443:192.0.2.9=300 settled4 code 0");
    lone_close_world(world);
}

CDT_TEST(dns, speaks_what_https_offers_and_follows_its_port)
{
    struct world *world = lone_open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_HTTPS, "https.test", 443);
    query.alpn = "h2,http/1.1";
    lone_expect_end(&query, "*");
    expect_part(&query, "1#8444:192.0.2.4=300 ");
    expect_part(&query, "0#443:192.0.2.1=300 ");
    lone_close_world(world);
}

CDT_TEST(dns, follows_https_aliases_and_not_for_ever)
{
    struct world *world = lone_open_world();
    conduit_query query;
    ask_for(world, &query, CONDUIT_RECORDS_HTTPS, "alias1.test", 443);
    lone_expect_end(&query, "*");
    expect_part(&query, "0#443:192.0.2.4=300 ");
    expect_part(&query, "-1#443:192.0.2.9=300 ");
    ask_for(world, &query, CONDUIT_RECORDS_HTTPS, "loop.test", 443);
    lone_expect_end(&query, "-1#443:192.0.2.9=300 settled4 code 0");
    lone_close_world(world);
}

CDT_TEST(dns, does_not_wait_for_https_alone)
{
    struct world *world = lone_open_world();
    conduit_query query;
    uint64_t since = uv_hrtime();
    ask_for(world, &query, CONDUIT_RECORDS_HTTPS, "quiet.test", 443);
    lone_expect_end(&query, "-1#443:192.0.2.9=300 settled4 code 0");
    cr_expect_lt(uv_hrtime() - since, (uint64_t)1000000000);
    ask_for(world, &query, CONDUIT_RECORDS_HTTPS, "quiet.test", 443);
    cdt_resolver_dns.cancel(&query, world->dns);
    lone_close_world(world);
}
