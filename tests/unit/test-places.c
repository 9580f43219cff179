/* SPDX-License-Identifier: ISC */
/*
 * What a context keeps of late: endpoints by address (places.h) and URIs by text (uris.h). Kept or
 * not, what comes out is what would have been made.
 */
#include "builtin.h"
#include "conduit/conduit.h"
#include "conduit/memory.h"
#include "places.h"
#include "support.h"
#include "uris.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory that is short when a test says so */

static bool is_short;

static void *take(size_t size)
{
    return is_short ? NULL : malloc(size);
}

static void *take_zeroed(size_t n, size_t size)
{
    return is_short ? NULL : calloc(n, size);
}

static void *take_again(void *memory, size_t size)
{
    return is_short ? NULL : realloc(memory, size);
}

static const conduit_allocator moody = {take, take_zeroed, take_again, free};

/* ---- places */

static struct cdt_places places;

static const conduit_endpoint *place4(const char *address, int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    cr_assert_eq(inet_pton(AF_INET, address, &at.sin_addr), 1);
    return cdt_places_get(&places, cdt_transport_find("tcp"), (const struct sockaddr *)&at);
}

static const conduit_endpoint *place6(const char *address, int port, uint32_t scope)
{
    struct sockaddr_in6 at = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_scope_id = scope};
    cr_assert_eq(inet_pton(AF_INET6, address, &at.sin6_addr), 1);
    return cdt_places_get(&places, cdt_transport_find("tcp"), (const struct sockaddr *)&at);
}

/* Consumes it. */
static void expect_place(const conduit_endpoint *endpoint, const char *uri)
{
    cr_assert_not_null(endpoint, "%s", uri);
    cr_expect_str_eq(conduit_endpoint_uri(endpoint), uri);
    conduit_endpoint_unref(endpoint);
}

CDT_TEST(places, an_address_that_comes_again_is_the_same_value)
{
    const conduit_endpoint *first = place4("192.0.2.1", 80);
    const conduit_endpoint *again = place4("192.0.2.1", 80);
    cr_expect_eq(first, again);
    expect_place(again, "tcp://192.0.2.1:80");
    cdt_places_clear(&places);
    expect_place(first, "tcp://192.0.2.1:80"); /* which is counted */
}

CDT_TEST(places, address_port_and_family_tell_places_apart)
{
    for (int round = 0; round < 2; round++) {
        expect_place(place4("192.0.2.1", 80), "tcp://192.0.2.1:80");
        expect_place(place4("192.0.2.1", 81), "tcp://192.0.2.1:81");
        expect_place(place4("192.0.2.2", 80), "tcp://192.0.2.2:80");
        expect_place(place6("2001:db8::1", 80, 0), "tcp://[2001:db8::1]:80");
        expect_place(place6("::ffff:192.0.2.1", 80, 0), "tcp://[::ffff:192.0.2.1]:80");
    }
    cdt_places_clear(&places);
}

CDT_TEST(places, more_than_there_is_room_for_push_each_other_out)
{
    enum { MANY = 20 * CDT_PLACES_KNOWN };
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            char address[32], uri[64];
            snprintf(address, sizeof(address), "192.0.%d.%d", i / 256, i % 256);
            snprintf(uri, sizeof(uri), "tcp://%s:80", address);
            expect_place(place4(address, 80), uri);
        }
    }
    size_t n = 0;
    for (size_t i = 0; i < CDT_PLACES_KNOWN; i++)
        n += places.known[i] != NULL;
    cr_expect_gt(n, CDT_PLACES_KNOWN / 2, "only %zu have found a place of their own", n);
    cdt_places_clear(&places);
}

/* Interfaces change their names. */
CDT_TEST(places, an_address_with_a_zone_is_made_anew)
{
    const conduit_endpoint *first = place6("fe80::1", 80, 1), *again = place6("fe80::1", 80, 1);
    cr_expect_neq(first, again);
    cr_expect(conduit_endpoint_equal(first, again));
    expect_place(first, "tcp://[fe80::1%25lo]:80");
    expect_place(again, "tcp://[fe80::1%25lo]:80");
    for (size_t i = 0; i < CDT_PLACES_KNOWN; i++)
        cr_expect_null(places.known[i]);
}

CDT_TEST(places, without_memory_there_is_none_and_later_there_is)
{
    cr_assert_eq(conduit_set_allocator(&moody), 0);
    is_short = true;
    cr_expect_null(place4("192.0.2.1", 80));
    cr_expect_null(place6("fe80::1", 80, 1));
    is_short = false;
    expect_place(place4("192.0.2.1", 80), "tcp://192.0.2.1:80");
    cdt_places_clear(&places);
    conduit_set_allocator(NULL);
}

/* ---- URIs */

static struct cdt_uris uris;

static const conduit_uri *read_uri(const char *text)
{
    const conduit_uri *uri = NULL;
    cr_expect_eq(cdt_uris_get(&uris, text, &uri, NULL), 0, "%s", text);
    cr_assert_not_null(uri);
    cr_expect_str_eq(conduit_uri_text(uri), text);
    return uri;
}

static bool is_kept(const char *text)
{
    const conduit_uri *first = read_uri(text), *again = read_uri(text);
    bool same = first == again;
    conduit_uri_unref(first);
    conduit_uri_unref(again);
    return same;
}

CDT_TEST(uris, a_text_that_comes_again_is_read_once)
{
    cr_expect(is_kept("tcp://a.test:80"));
    cr_expect(is_kept("tcp://A.test:80"), "another text, though the same URI");
    cr_expect(is_kept("https://a.test/path#part"));
    const conduit_uri *kept = read_uri("tcp://a.test:80");
    cdt_uris_clear(&uris);
    cr_expect_str_eq(conduit_uri_host(kept), "a.test", "it is counted");
    conduit_uri_unref(kept);
}

CDT_TEST(uris, what_may_hold_a_secret_is_not_kept)
{
    cr_expect_not(is_kept("tcp://user:secret@a.test:80"));
    cr_expect_not(is_kept("https://a.test/?token=secret"));
    for (size_t i = 0; i < CDT_URIS_KNOWN; i++)
        cr_expect_null(uris.known[i]);
}

CDT_TEST(uris, long_ones_and_mistakes_are_not_kept)
{
    static const char *const wrong[] = {NULL, "", "no uri", "tcp://a b:80", "tcp://a.test:99999"};
    char text[600] = "https://a.test/";
    memset(text + strlen(text), 'x', 500);
    cr_expect_not(is_kept(text));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const conduit_error *error = NULL;
        const conduit_uri *uri = NULL;
        cr_expect_eq(cdt_uris_get(&uris, wrong[i], &uri, &error), CONDUIT_EURI, "row %zu", i);
        cr_expect_null(uri);
        cr_expect_not_null(error);
        conduit_error_unref(error);
    }
    for (size_t i = 0; i < CDT_URIS_KNOWN; i++)
        cr_expect_null(uris.known[i]);
}

CDT_TEST(uris, more_than_there_is_room_for_push_each_other_out)
{
    enum { MANY = 20 * CDT_URIS_KNOWN };
    for (int i = 0; i < 2 * MANY; i++) {
        char text[64], host[32];
        snprintf(host, sizeof(host), "n%d.test", i % MANY);
        snprintf(text, sizeof(text), "tcp://%s:80", host);
        const conduit_uri *uri = read_uri(text);
        cr_expect_str_eq(conduit_uri_host(uri), host);
        conduit_uri_unref(uri);
    }
    cdt_uris_clear(&uris);
}

CDT_TEST(uris, without_memory_there_is_an_error_and_nothing_is_lost)
{
    cr_assert_eq(conduit_set_allocator(&moody), 0);
    const conduit_uri *kept = read_uri("tcp://a.test:80"), *uri = NULL;
    is_short = true;
    cr_expect_eq(cdt_uris_get(&uris, "tcp://b.test:80", &uri, NULL), CONDUIT_ENOMEM);
    cr_expect_eq(cdt_uris_get(&uris, "tcp://a.test:80", &uri, NULL), 0, "it is known");
    cr_expect_eq(uri, kept);
    is_short = false;
    conduit_uri_unref(uri);
    conduit_uri_unref(kept);
    cdt_uris_clear(&uris);
    conduit_set_allocator(NULL);
}
