/* SPDX-License-Identifier: ISC */
/*
 * Only asking where a name leads: conduit_resolve() and the order of what it answers.
 */
#include "dialling.h"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* ---- only asking ---- */

struct heard {
    int times;
    bool over;
    conduit_code code;
    size_t n;
    char endpoints[4][128];
    char source[32];
    int32_t ttl;
};

static void on_resolved(conduit_resolution *resolution, const conduit_answer *answers, size_t n,
                        const conduit_error *why, void *user)
{
    struct heard *heard = user;
    heard->times++;
    heard->over = true;
    heard->code = conduit_error_code(why);
    heard->n = n;
    for (size_t i = 0; i < n && i < 4; i++) {
        snprintf(heard->endpoints[i], sizeof(heard->endpoints[i]), "%s",
                 conduit_endpoint_uri(answers[i].endpoint));
        snprintf(heard->source, sizeof(heard->source), "%s", answers[i].source);
        heard->ttl = answers[i].ttl;
    }
}

static conduit_resolution *resolve(const char *uri, struct heard *heard)
{
    conduit_resolution *resolution = NULL;
    cr_assert_eq(conduit_resolve(cdt_ctx, uri, &options, on_resolved, heard, &resolution), 0);
    cr_assert_not_null(resolution);
    return resolution;
}

/* Which place an endpoint has in the order of dialling; -1: none. Whether IPv6 comes first or last
 * is a matter of this machine's routes. */
static int place_of(const struct heard *heard, const char *endpoint)
{
    for (size_t i = 0; i < heard->n; i++)
        if (strcmp(heard->endpoints[i], endpoint) == 0)
            return (int)i;
    return -1;
}

/* A hundred places of a target that is not the best, and then the best one's. */
static void answer_with_many_and_then(const char *best)
{
    static char many[100][40];
    rank(7);
    for (int i = 0; i < 100; i++) {
        snprintf(many[i], sizeof(many[i]), "tcp://127.0.0.%d:%d", i + 2, cdt_closed_port());
        answer(0, many[i]);
    }
    rank(3);
    answer(0, best);
    finish(0);
}

CDT_TEST(resolve, many_places_of_a_worse_target_do_not_keep_out_one_of_a_better)
{
    begin();
    answer_with_many_and_then(serve("tcp://127.0.0.1:0"));
    call("tcp://scripted:1");
    cdt_await(&client.opened);
    cr_expect_null(conduit_conn_info(client.conn)->failed, "worse places were tried first");
    conduit_close(client.conn);
    cdt_await(&client.closed);
    cdt_await(&server.closed);
    end();
}

CDT_TEST(resolve, resolving_puts_a_better_target_first_however_many_came_before)
{
    struct heard heard = {0};
    begin();
    answer_with_many_and_then("tcp://192.0.2.1:1");
    resolve("tcp://scripted:1", &heard);
    cdt_await(&heard.over);
    cr_expect_eq(heard.n, 101);
    cr_expect_str_eq(heard.endpoints[0], "tcp://192.0.2.1:1");
    end();
}

CDT_TEST(resolve, resolving_gives_whole_endpoints_in_the_order_of_dialling)
{
    CDT_SKIP_WITHOUT_TLS();
    struct heard heard = {0};
    begin();
    answer(0, "tcp://192.0.2.1:1");
    answer(0, "tcp://192.0.2.2:1");
    answer(10, "tcp://[2001:db8::1]:1");
    finish(20);
    resolve("tls://scripted:1?alpn=h2", &heard);
    cr_expect(!heard.over);
    cdt_await(&heard.over);
    cdt_turn(10);
    cr_expect_eq(heard.times, 1);
    cr_expect_eq(heard.code, CONDUIT_OK);
    cr_assert_eq(heard.n, 3);
    int ip6 = place_of(&heard, "tls://[2001:db8::1]:1?name=scripted&alpn=h2");
    int first = place_of(&heard, "tls://192.0.2.1:1?name=scripted&alpn=h2");
    int second = place_of(&heard, "tls://192.0.2.2:1?name=scripted&alpn=h2");
    cr_expect(ip6 >= 0 && first >= 0 && second == first + 1 + (ip6 == first + 1),
              "IPv6 at %d, the others at %d and %d", ip6, first, second);
    cr_expect_str_eq(heard.source, "scripted");
    cr_expect_eq(heard.ttl, 60);
    end();
}

CDT_TEST(resolve, addresses_get_the_port_of_the_uri_and_only_the_wanted_family_counts)
{
    static const struct {
        int family;
        const char *uri, *among;
        size_t n;
    } rows[] = {
        {AF_UNSPEC, "tcp://scripted:7", "tcp://[2001:db8::1]:7", 2},
        {AF_INET, "tcp://scripted:7", "tcp://192.0.2.1:7", 1},
        {AF_INET6, "tcp://scripted:7", "tcp://[2001:db8::1]:7", 1},
        {AF_UNSPEC, "tcp4://scripted:7", "tcp://192.0.2.1:7", 1},
        {AF_UNSPEC, "http://scripted/", "tcp://[2001:db8::1]:80", 2},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct heard heard = {0};
        begin();
        options.family = rows[i].family;
        script.steps[script.n++] = (struct step){.what = ADDRESS, .endpoint = "192.0.2.1"};
        script.steps[script.n++] = (struct step){.what = ADDRESS, .endpoint = "2001:db8::1"};
        finish(0);
        resolve(rows[i].uri, &heard);
        cdt_await(&heard.over);
        cr_expect_eq(heard.n, rows[i].n, "row %zu: %zu answers", i, heard.n);
        cr_expect_geq(place_of(&heard, rows[i].among), 0, "row %zu: no %s", i, rows[i].among);
        end();
    }
}

CDT_TEST(resolve, resolving_ends_with_an_error_or_at_its_deadline)
{
    struct heard failed = {0}, late = {0};
    begin();
    script.steps[script.n++] = (struct step){.what = FAIL};
    resolve("tcp://scripted:1", &failed);
    cdt_await(&failed.over);
    cr_expect_eq(failed.code, CONDUIT_ETEMP);
    cr_expect_eq(failed.n, 0);
    end();

    begin();
    options.resolve_timeout_ms = 30;
    resolve("tcp://scripted:1", &late);
    cdt_await(&late.over);
    cr_expect_eq(late.code, CONDUIT_ETIMEDOUT);
    cr_expect_eq(script.n_canceled, 1);
    end();
    cr_expect_eq(failed.times + late.times, 2);
}

CDT_TEST(resolve, a_canceled_resolution_is_silent)
{
    struct heard heard = {0};
    begin();
    conduit_resolution_cancel(resolve("tcp://scripted:1", &heard));
    cdt_turn(10);
    cr_expect_eq(script.n_started, 0);
    conduit_resolution *resolution = resolve("tcp://scripted:1", &heard);
    cdt_turn(10);
    cr_expect_eq(script.n_started, 1);
    conduit_resolution_cancel(resolution);
    cr_expect_eq(script.n_canceled, 1);
    finish(0);
    resolution = resolve("tcp://127.0.0.1:1", &heard); /* answered, and not yet told */
    cdt_turn(1);
    if (!heard.over)
        conduit_resolution_cancel(resolution);
    conduit_resolution_cancel(NULL);
    end();
    cr_expect_leq(heard.times, 1);
}

CDT_TEST(resolve, the_end_of_the_context_is_told_to_who_resolves)
{
    struct heard heard[3] = {0};
    begin();
    resolve("tcp://scripted:1", &heard[0]);
    cdt_turn(5);
    resolve("tcp://127.0.0.1:1", &heard[1]);
    resolve("unix:/x", &heard[2]);
    conduit_ctx_free(cdt_ctx);
    cdt_ctx = NULL;
    cr_expect_eq(heard[0].times, 0, "on_done came inside conduit_ctx_free()");
    end();
    for (int i = 0; i < 3; i++)
        cr_expect(heard[i].times == 1 && heard[i].code == CONDUIT_ECANCELED, "%d: %d times, %s", i,
                  heard[i].times, conduit_code_name(heard[i].code));
    cr_expect_eq(script.n_canceled, 1);
}
