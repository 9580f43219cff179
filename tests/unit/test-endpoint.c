/* SPDX-License-Identifier: ISC */
/*
 * Endpoints as values: canonical print, round trip, equality, and what is not a concrete place.
 *
 * Every endpoint that a test makes goes through round_trip(): what it prints must parse to its
 * equal.
 */
#include "support.h"
#include <arpa/inet.h>
#include <conduit/endpoint.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const conduit_endpoint *parse(const char *text)
{
    const conduit_endpoint *endpoint = NULL;
    const conduit_error *why = NULL;
    int code = conduit_endpoint_parse(text, &endpoint, &why);
    cr_expect_eq(code, 0, "%s: %s", text, why != NULL ? conduit_error_text(why) : "");
    conduit_error_unref(why);
    return endpoint;
}

static void round_trip(const conduit_endpoint *endpoint, const char *prints)
{
    cr_assert_not_null(endpoint, "%s", prints);
    cr_expect_str_eq(conduit_endpoint_uri(endpoint), prints);
    const conduit_endpoint *again = parse(conduit_endpoint_uri(endpoint));
    if (again == NULL)
        return;
    cr_expect(conduit_endpoint_equal(endpoint, again), "%s came back as %s", prints,
              conduit_endpoint_uri(again));
    const conduit_endpoint *a = endpoint, *b = again;
    for (; a != NULL && b != NULL; a = conduit_endpoint_below(a), b = conduit_endpoint_below(b)) {
        cr_expect_str_eq(conduit_endpoint_name(a), conduit_endpoint_name(b));
        cr_expect_str_eq(conduit_endpoint_host(a), conduit_endpoint_host(b), "%s: %s", prints,
                         conduit_endpoint_host(b));
        cr_expect_eq(conduit_endpoint_port(a), conduit_endpoint_port(b));
    }
    cr_expect(a == NULL && b == NULL, "%s: another height", prints);
    conduit_endpoint_unref(again);
}

CDT_TEST(endpoint, prints_canonically_and_parses_back)
{
    static const struct {
        const char *text, *prints;
    } rows[] = {
        /* clang-format off */
        {"tcp://192.0.2.7:80", "tcp://192.0.2.7:80"},
        {"TCP://192.0.2.7:080/", "tcp://192.0.2.7:80"},
        {"tcp4://192.0.2.7:80", "tcp://192.0.2.7:80"},
        {"tcp6://[2001:db8::1]:80", "tcp://[2001:db8::1]:80"},
        {"tcp://[2001:0DB8:0:0::0001]:80", "tcp://[2001:db8::1]:80"},
        {"tcp://[::ffff:192.0.2.7]:1", "tcp://[::ffff:192.0.2.7]:1"},
        {"tls://192.0.2.7:443?name=example.org", "tls://192.0.2.7:443?name=example.org"},
        {"tls+tcp://192.0.2.7:443", "tls://192.0.2.7:443"},
        {"tls://192.0.2.7:443?name=192.0.2.7", "tls://192.0.2.7:443"},
        {"tls://[::1]:443?alpn=h2,http/1.1", "tls://[::1]:443?alpn=h2,http/1.1"},
        {"tls://[::1]:443?alpn=h2&name=a.example", "tls://[::1]:443?name=a.example&alpn=h2"},
        {"unix:/run/x.sock", "unix:/run/x.sock"},
        {"unix:rel.sock", "unix:rel.sock"},
        {"unix:/a%20b%3Fc%23d%25", "unix:/a%20b%3Fc%23d%25"},
        {"unix:/%41%7e", "unix:/A~"},
        {"unix:/r%C3%A9sum%C3%A9", "unix:/r%C3%A9sum%C3%A9"},
        {"unix:/run/x.sock?mode=0660", "unix:/run/x.sock?mode=0660"},
        {"tls+unix:/run/db.sock?name=db.example", "tls+unix:/run/db.sock?name=db.example"},
        {"inproc://echo", "inproc://echo"},
        {"unix-abstract:a/b", "unix-abstract:a/b"},
        {"unix-abstract:a%20b%3F?allow_uid=0,7", "unix-abstract:a%20b%3F?allow_uid=0,7"},
        {"tls+unix-abstract:x?name=a.example", "tls+unix-abstract:x?name=a.example"},
        {"fd:3", "fd:3"},
        {"tls+fd:3?name=a.example", "tls+fd:3?name=a.example"},
        {"systemd:", "systemd:"},
        {"systemd:web.socket", "systemd:web.socket"},
        {"vsock://3:5000", "vsock://3:5000"},
        {"vsock://*:5000", "vsock://:5000"},
        {"tls+vsock://2:443?name=a.example", "tls+vsock://2:443?name=a.example"},
        {"tcp://192.0.2.7:80?bind=192.0.2.1&nodelay=0",
         "tcp://192.0.2.7:80?bind=192.0.2.1&nodelay=0"},
        {"tls+inproc://echo?name=a.example", "tls+inproc://echo?name=a.example"},
        {"vchan://5/echo", "vchan://5/echo"},
        {"vchan://Web.Example./My_Port-1", "vchan://web.example/My_Port-1"},
        {"vchan://web/http?write=64k&spin=0", "vchan://web/http?write=64k&spin=0"},
        {"tls+vchan://32751/x?name=a.example", "tls+vchan://32751/x?name=a.example"},
        /* clang-format on */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const conduit_endpoint *endpoint = parse(rows[i].text);
        if (endpoint != NULL)
            round_trip(endpoint, rows[i].prints);
        conduit_endpoint_unref(endpoint);
    }
}

CDT_TEST(endpoint, is_a_place_and_nothing_that_would_have_to_be_looked_up)
{
    static const char *const rows[] = {
        "tcp://example.org:80",
        "tcp://localhost:80",
        "tcp://:80",
        "tcp://*:80",
        "tcp://192.0.2.7",
        "tcp6://192.0.2.7:1",
        "tcp4://[::1]:1",
        "https://192.0.2.7/",
        "http+unix://%2Frun%2Fx.sock/",
        "tcp://192.0.2.7:80/path",
        "tcp://user@192.0.2.7:80",
        "tcp://192.0.2.7:80#there",
        "tcp://192.0.2.7:80?speed=9",
        "tcp://192.0.2.7:80?name=a.example",
        "tls://192.0.2.7:443?verify=insecure",
        "tls://192.0.2.7:443?cert=/x.pem",
        "unix:",
        "unix://host/x",
        "unix:/x:80?port=1",
        "inproc:",
        "inproc://",
        "inproc://x:80",
        "vchan://5",
        "vchan://5/",
        "vchan:///echo",
        "vchan:5/echo",
        "vchan://5:80/echo",
        "vchan://5/echo/more",
        "vchan://5/a.b",
        "vchan://5/a%2fb",
        "vchan://32752/echo",
        "vchan://05/echo",
        "vchan://[::1]/echo",
        "vchan://*/echo",
        "vchan://%2Frun%2Fx/echo",
        "vchan://5/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "vchan://5/echo?ring=1k",
        "unix-abstract:",
        "fd:",
        "fd:x",
        "fd://3",
        "systemd:a%3Ab",
        "vsock://3",
        "vsock://x:1",
        "vsock://4294967295:1",
        "vsock://3:0",
        "vsock://3:65536",
        "vsock://3:1/x",
        "tcp+tls://192.0.2.7:1",
        "unix+tcp://192.0.2.7:1",
        "",
        "nonsense",
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const conduit_endpoint *endpoint = NULL;
        const conduit_error *why = NULL;
        int code = conduit_endpoint_parse(rows[i], &endpoint, &why);
        cr_expect_eq(code, CONDUIT_EURI, "\"%s\": %s", rows[i], conduit_code_name(code));
        cr_expect_null(endpoint, "\"%s\"", rows[i]);
        cr_expect_eq(conduit_error_code(why), code);
        conduit_error_unref(why);
        conduit_endpoint_unref(endpoint);
    }
    const conduit_endpoint *none = NULL;
    cr_expect_eq(conduit_endpoint_parse("nosuch://x", &none, NULL), CONDUIT_ENOTSUP);
}

CDT_TEST(endpoint, tells_its_parts)
{
    const conduit_endpoint *tls = parse("tls://[2001:db8::1]:8443?name=a.example&alpn=h2");
    const conduit_endpoint *tcp = conduit_endpoint_below(tls);
    cr_expect_str_eq(conduit_endpoint_name(tls), "tls");
    cr_expect_str_eq(conduit_endpoint_host(tls), "a.example");
    cr_expect_str_eq(conduit_endpoint_param(tls, "alpn"), "h2");
    cr_expect_null(conduit_endpoint_param(tls, "mode"));
    cr_expect_eq(conduit_endpoint_port(tls), 0);
    cr_expect_str_eq(conduit_endpoint_name(tcp), "tcp");
    cr_expect_str_eq(conduit_endpoint_host(tcp), "2001:db8::1");
    cr_expect_eq(conduit_endpoint_port(tcp), 8443);
    cr_expect_null(conduit_endpoint_below(tcp));
    conduit_endpoint_unref(tls);
}

CDT_TEST(endpoint, is_equal_to_what_is_the_same_place)
{
    const conduit_endpoint *a = parse("tls://127.0.0.1:1?name=a.example");
    const conduit_endpoint *same = parse("tls+tcp4://127.0.0.1:01?name=a.example");
    const conduit_endpoint *other = parse("tls://127.0.0.1:1?name=b.example");
    cr_expect(conduit_endpoint_equal(a, a));
    cr_expect(conduit_endpoint_equal(a, same));
    cr_expect(!conduit_endpoint_equal(a, other));
    cr_expect(!conduit_endpoint_equal(a, conduit_endpoint_below(a)));
    conduit_endpoint_unref(a);
    conduit_endpoint_unref(same);
    conduit_endpoint_unref(other);
}

CDT_TEST(endpoint, is_built_from_addresses)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(80)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    inet_pton(AF_INET, "192.0.2.7", &in.sin_addr);
    inet_pton(AF_INET6, "2001:db8::1", &in6.sin6_addr);
    const conduit_endpoint *tcp = conduit_endpoint_tcp((struct sockaddr *)&in);
    round_trip(tcp, "tcp://192.0.2.7:80");
    conduit_endpoint_unref(tcp);
    tcp = conduit_endpoint_tcp((struct sockaddr *)&in6);
    round_trip(tcp, "tcp://[2001:db8::1]:443");
    const conduit_endpoint *tls = conduit_endpoint_tls("a.example", "h2", tcp);
    conduit_endpoint_unref(tcp);
    round_trip(tls, "tls://[2001:db8::1]:443?name=a.example&alpn=h2");
    conduit_endpoint_unref(tls);
    struct sockaddr other = {.sa_family = AF_UNIX};
    cr_expect_null(conduit_endpoint_tcp(&other));
}

CDT_TEST(endpoint, keeps_the_zone_of_an_address)
{
    char prints[64];
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(1)};
    inet_pton(AF_INET6, "fe80::1", &in6.sin6_addr);
    in6.sin6_scope_id = if_nametoindex("lo");
    cr_assert_neq(in6.sin6_scope_id, 0);
    const conduit_endpoint *tcp = conduit_endpoint_tcp((struct sockaddr *)&in6);
    cr_assert_not_null(tcp);
    cr_expect_str_eq(conduit_endpoint_host(tcp), "fe80::1%lo");
    snprintf(prints, sizeof(prints), "%s", conduit_endpoint_uri(tcp));
    round_trip(tcp, prints);
    conduit_endpoint_unref(tcp);
}

/* Any byte but NUL may be in a path; a URI is ASCII, and some of that means something to it. */
CDT_TEST(endpoint, carries_any_unix_path_that_the_kernel_takes)
{
    static const char *const paths[] = {
        "/run/x.sock", "x", "a:b", "./x", "//run/x.sock", "/a&b=c", "/?q=1#f", "/a b\n%\x01\xff",
    };
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        char prints[64];
        const conduit_endpoint *endpoint = conduit_endpoint_unix(paths[i]);
        cr_assert_not_null(endpoint, "%s", paths[i]);
        snprintf(prints, sizeof(prints), "%s", conduit_endpoint_uri(endpoint));
        round_trip(endpoint, prints);
        cr_expect_str_eq(conduit_endpoint_host(endpoint), paths[i]);
        for (const char *c = prints; *c != '\0'; c++)
            cr_expect(*c > ' ' && *c <= '~', "%s", prints);
        conduit_endpoint_unref(endpoint);
    }
    const conduit_endpoint *parsed = parse("unix:/a&b=c");
    cr_assert_not_null(parsed);
    cr_expect_str_eq(conduit_endpoint_host(parsed), "/a&b=c");
    conduit_endpoint_unref(parsed);
}

CDT_TEST(endpoint, refuses_a_path_that_would_be_cut_short)
{
    char path[109];
    memset(path, 'p', sizeof(path));
    path[107] = '\0';
    const conduit_endpoint *longest = conduit_endpoint_unix(path);
    cr_expect_not_null(longest);
    conduit_endpoint_unref(longest);
    path[107] = 'p';
    path[108] = '\0';
    cr_expect_null(conduit_endpoint_unix(path));
    cr_expect_null(conduit_endpoint_unix(""));
    char uri[128];
    snprintf(uri, sizeof(uri), "unix:%s", path);
    const conduit_endpoint *none = NULL;
    cr_expect_eq(conduit_endpoint_parse(uri, &none, NULL), CONDUIT_EURI);
    cr_expect_eq(conduit_endpoint_parse("unix:/a%00b", &none, NULL), CONDUIT_EURI);
    cr_expect_null(none);
}

CDT_TEST(endpoint, inproc_names_survive_a_round_trip)
{
    static const char *const names[] = {"echo", "Echo", "a b", "a/b", "a?b#c", "x:1", "[x]"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const conduit_endpoint *endpoint = conduit_endpoint_inproc(names[i]);
        if (endpoint == NULL)
            continue; /* refused is fine; changed is not */
        char prints[64];
        snprintf(prints, sizeof(prints), "%s", conduit_endpoint_uri(endpoint));
        round_trip(endpoint, prints);
        conduit_endpoint_unref(endpoint);
    }
    cr_expect_null(conduit_endpoint_inproc(""));
}

CDT_TEST(endpoint, lives_until_its_last_reference_goes)
{
    const conduit_endpoint *below = parse("unix:/x");
    const conduit_endpoint *tls = conduit_endpoint_tls("a.example", NULL, below);
    conduit_endpoint_unref(below);
    cr_expect_str_eq(conduit_endpoint_host(conduit_endpoint_below(tls)), "/x");
    cr_expect_eq(conduit_endpoint_ref(tls), tls);
    conduit_endpoint_unref(tls);
    cr_expect_str_eq(conduit_endpoint_uri(tls), "tls+unix:/x?name=a.example");
    conduit_endpoint_unref(tls);
    conduit_endpoint_unref(NULL);
    cr_expect_null(conduit_endpoint_ref(NULL));
}

CDT_TEST(endpoint, a_vchan_is_built_of_what_a_uri_can_say)
{
    const conduit_endpoint *endpoint = conduit_endpoint_vchan("web.example", "http");
    round_trip(endpoint, "vchan://web.example/http");
    cr_expect_str_eq(conduit_endpoint_host(endpoint), "web.example/http");
    conduit_endpoint_unref(endpoint);
    endpoint = conduit_endpoint_vchan("0", "echo");
    round_trip(endpoint, "vchan://0/echo");
    conduit_endpoint_unref(endpoint);
    static const char *const unfit[][2] = {
        {"", "x"},    {"web", ""},   {"Web", "x"},    {"web.", "x"},  {"..", "x"},
        {"a/b", "x"}, {"a..b", "x"}, {"web", "../x"}, {"99999", "x"}, {"web", "a.b"},
    };
    for (size_t i = 0; i < sizeof(unfit) / sizeof(unfit[0]); i++)
        cr_expect_null(conduit_endpoint_vchan(unfit[i][0], unfit[i][1]), "%s/%s", unfit[i][0],
                       unfit[i][1]);
}

CDT_TEST(endpoint, the_values_of_a_vchans_parameters_are_checked)
{
    static const char *const unfit[] = {
        "read=1",   "read=2m",      "write=64kb", "write=",   "read=99999999999999999999",
        "spin=-1",  "spin=10001",   "spin=1us",   "share=me", "share=1,",
        "share=-1", "backing=tape", "peer=32752", "peer=-1",  "peer=5,6",
    };
    for (size_t i = 0; i < sizeof(unfit) / sizeof(unfit[0]); i++) {
        const conduit_endpoint *endpoint = NULL;
        char text[64];
        snprintf(text, sizeof(text), "vchan://5/echo?%s", unfit[i]);
        cr_expect_eq(conduit_endpoint_parse(text, &endpoint, NULL), CONDUIT_EINVAL, "%s", text);
        cr_expect_null(endpoint);
    }
}
