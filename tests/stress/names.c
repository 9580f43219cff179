/* SPDX-License-Identifier: ISC */
/* The resolver of walks: names.h says what it knows. */
#include "names.h"
#include "chance.h"
#include "endpoint.h"
#include "party.h"
#include "wire.h"
#include <conduit/memory.h>
#include <string.h>

enum { MOST = 64 };

static conduit_query *queries[MOST];
static bool may_pass[MOST];
static unsigned n_queries;

/* ---- at once ---- */

static bool accepts_place(const conduit_query *query, void *state)
{
    return !conduit_query_by_address(query) && strstr(conduit_query_host(query), ".walk") != NULL;
}

static void start_place(conduit_query *query, void *state)
{
    bool veiled = strcmp(conduit_query_host(query), "veil.walk") == 0;
    bool robot = strcmp(conduit_query_host(query), "robot.walk") == 0;
    const conduit_endpoint *endpoint = cdt_endpoint_transport(veiled ? &cdt_veiled_wire : &cdt_wire,
                                                              NULL, robot ? "robot" : "raw", NULL);
    conduit_query_add(query, endpoint, -1);
    conduit_endpoint_unref(endpoint);
    conduit_query_done(query, 0, NULL, 0, NULL);
}

const conduit_resolver cdt_names_at_once = {
    .name = "walk",
    .immediate = true,
    .accepts = accepts_place,
    .start = start_place,
};

/* ---- late ---- */

static bool accepts_late(const conduit_query *query, void *state)
{
    return n_queries < MOST && strcmp(conduit_query_host(query), "late.walk") == 0;
}

static void remove_at(unsigned i)
{
    n_queries--;
    queries[i] = queries[n_queries];
    may_pass[i] = may_pass[n_queries];
}

static void cancel(conduit_query *query, void *state)
{
    for (unsigned i = 0; i < n_queries; i++) {
        if (queries[i] == query) {
            remove_at(i);
            return;
        }
    }
    cdt_broken("a query was canceled that is over");
}

static void add_address(conduit_query *query)
{
    union cdt_address to = {0};
    unsigned host = cdt_chance(20);
    if (cdt_chance(2)) {
        to.in.sin_family = AF_INET;
        to.in.sin_addr.s_addr = htonl(0x7f000000U + host);
    } else {
        to.in6.sin6_family = AF_INET6;
        to.in6.sin6_addr.s6_addr[0] = 0xfd;
        to.in6.sin6_addr.s6_addr[15] = (unsigned char)host;
    }
    to.in.sin_port = htons(conduit_query_port(query)); /* at the same place in both */
    const conduit_endpoint *endpoint =
        cdt_endpoint_transport(&cdt_wire_by_address, &to.any, NULL, NULL);
    conduit_query_add(query, endpoint, 1);
    conduit_endpoint_unref(endpoint);
}

static void finish(conduit_query *query, bool pass)
{
    static const int codes[] = {0, 0, 0, CONDUIT_ENONAME, CONDUIT_ETEMP};
    int code = codes[cdt_chance(5)];
    conduit_query_done(query, pass && cdt_rarely(4) ? CONDUIT_PASS : code, "walk", 7,
                       cdt_chance(2) ? "because" : NULL);
}

static void answer(unsigned i)
{
    conduit_query *query = queries[i];
    for (unsigned n = cdt_chance(4); n > 0; n--)
        add_address(query);
    if (cdt_rarely(4))
        conduit_query_settled(query, cdt_chance(2) ? AF_INET : AF_INET6);
    if (!cdt_calm && cdt_chance(2))
        return;
    bool pass = may_pass[i];
    remove_at(i);
    finish(query, pass);
}

static void start(conduit_query *query, bool pass)
{
    queries[n_queries] = query;
    may_pass[n_queries++] = pass;
    if (cdt_rarely(4))
        answer(n_queries - 1);
}

static void start_late(conduit_query *query, void *state)
{
    start(query, true);
}

static void start_later(conduit_query *query, void *state)
{
    start(query, false);
}

const conduit_resolver cdt_names_late = {
    .name = "late", .accepts = accepts_late, .start = start_late, .cancel = cancel};
const conduit_resolver cdt_names_later = {
    .name = "later", .accepts = accepts_late, .start = start_later, .cancel = cancel};

void cdt_names_move(void)
{
    for (unsigned i = n_queries; i > 0; i--)
        if (i <= n_queries && (cdt_calm || cdt_chance(2)))
            answer(i - 1);
}

unsigned cdt_names_count(void)
{
    return n_queries;
}
