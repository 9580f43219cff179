/* SPDX-License-Identifier: ISC */
/*
 * URIs: what is taken, how it reads afterwards, and what is turned away with which words.
 *
 * A row that fails is named in the message, and the rest of the table still runs.
 */
#include "support.h"
#include <conduit/uri.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is taken, and how it reads afterwards: scheme|userinfo|host|port|path|query|fragment. */
static const struct {
    const char *text, *parts;
} good[] = {
    /* clang-format off */
    {"https://example.org/", "https||example.org|-1|/||"},
    {"https://example.org", "https||example.org|-1|||"},
    {"HTTPS://EXAMPLE.org/Path", "https||example.org|-1|/Path||"},
    {"http://u:p@h.example:8080/a/b?q=1&r#top", "http|u:p|h.example|8080|/a/b|q=1&r|top"},
    {"http://h?q", "http||h|-1||q|"},
    {"http://h#f", "http||h|-1|||f"},
    {"http://h/?#", "http||h|-1|/||"},
    {"http://h/a?b?c#d", "http||h|-1|/a|b?c|d"},
    {"http://h/a//b/", "http||h|-1|/a//b/||"},
    {"http://h/a/../b/./c", "http||h|-1|/a/../b/./c||"},
    {"http://h/%7euser/%C3%A9", "http||h|-1|/%7euser/%C3%A9||"},
    {"http://h//p", "http||h|-1|//p||"},
    {"http://h/:8080", "http||h|-1|/:8080||"},
    {"http://h/a@b", "http||h|-1|/a@b||"},
    {"http://@h/", "http||h|-1|/||"},
    {"http://u%40x@h/", "http|u%40x|h|-1|/||"},

    {"tcp://h:80", "tcp||h|80|||"},
    {"tcp://h:", "tcp||h|-1|||"},
    {"tcp://h:0", "tcp||h|0|||"},
    {"tcp://h:65535", "tcp||h|65535|||"},
    {"tcp://h:00080", "tcp||h|80|||"},
    {"tcp://:8080", "tcp|||8080|||"},
    {"tcp://*:8080", "tcp||*|8080|||"},
    {"tcp://", "tcp|||-1|||"},
    {"tcp://:8080/", "tcp|||8080|/||"},
    {"tcp://:8080?proxy_send=2", "tcp|||8080||proxy_send=2|"},
    {"localhost:80", "localhost|||-1|80||"},
    {"tcp://my_host-1:1", "tcp||my_host-1|1|||"},
    {"tcp://example.org.:1", "tcp||example.org.|1|||"},
    {"tcp://xn--bcher-kva.example:1", "tcp||xn--bcher-kva.example|1|||"},
    {"tcp://ex%61mple.org:1", "tcp||example.org|1|||"},
    {"tcp://EX%41MPLE:1", "tcp||example|1|||"},
    {"tcp://1and1.example:1", "tcp||1and1.example|1|||"},
    {"tcp://1.2.3.example:1", "tcp||1.2.3.example|1|||"},
    {"tcp://a-.b:1", "tcp||a-.b|1|||"},
    {"tcp://_sip._tcp.example:1", "tcp||_sip._tcp.example|1|||"},
    {"tcp://0xcafe.example:1", "tcp||0xcafe.example|1|||"},

    {"tcp://192.0.2.1:80", "tcp||192.0.2.1|80|||"},
    {"tcp://0.0.0.0:80", "tcp||0.0.0.0|80|||"},
    {"tcp://255.255.255.255:80", "tcp||255.255.255.255|80|||"},
    {"tcp://192.0.2.%31:80", "tcp||192.0.2.1|80|||"},
    {"tcp://[::1]:80", "tcp||::1|80|||"},
    {"tcp://[::]", "tcp||::|-1|||"},
    {"tcp://[2001:DB8:0:0:0:0:0:1]:80/", "tcp||2001:db8::1|80|/||"},
    {"tcp://[2001:0db8::0001]", "tcp||2001:db8::1|-1|||"},
    {"tcp://[2001:db8:0:1:0:0:0:1]", "tcp||2001:db8:0:1::1|-1|||"},
    {"tcp://[::ffff:192.0.2.1]:80", "tcp||::ffff:192.0.2.1|80|||"},
    {"tcp://[::FFFF:C000:201]:80", "tcp||::ffff:192.0.2.1|80|||"},
    {"tcp://u@[::1]:80", "tcp|u|::1|80|||"},
    {"tcp://[fe80::1%25eth0]:80", "tcp||fe80::1%eth0|80|||"},
    {"tcp://[fe80::1%eth0]:80", "tcp||fe80::1%eth0|80|||"},
    {"tcp://[FE80::1%25Eth0]", "tcp||fe80::1%Eth0|-1|||"},
    {"tcp://[fe80::1%252]", "tcp||fe80::1%2|-1|||"},
    {"tcp://[fe80::1%2]", "tcp||fe80::1%2|-1|||"},
    {"tcp://[febf::1%25wlp0s20f3]/a?b#c", "tcp||febf::1%wlp0s20f3|-1|/a|b|c"},
    {"tcp://u:p@[fe80::1%25br-0.1_x~]:1", "tcp|u:p|fe80::1%br-0.1_x~|1|||"},

    {"unix:/run/x.sock", "unix|||-1|/run/x.sock||"},
    {"unix:rel.sock", "unix|||-1|rel.sock||"},
    {"unix:///p", "unix|||-1|/p||"},
    {"unix:/run/x.sock?mode=0660", "unix|||-1|/run/x.sock|mode=0660|"},
    {"unix:/Run/a%20b", "unix|||-1|/Run/a%20b||"},
    {"unix:./x", "unix|||-1|./x||"},
    {"unix:", "unix|||-1|||"},
    {"unix-abstract:x", "unix-abstract|||-1|x||"},
    {"inproc://name", "inproc||name|-1|||"},
    {"inproc://Name", "inproc||name|-1|||"},
    {"tls+unix:/run/x.sock?name=db.example", "tls+unix|||-1|/run/x.sock|name=db.example|"},
    {"TLS+Tcp://h:1", "tls+tcp||h|1|||"},
    {"http+unix://%2Frun%2Fx.sock/v1", "http+unix||/run/x.sock|-1|/v1||"},
    {"http+unix://%2FRun%2fX.sock", "http+unix||/Run/X.sock|-1|||"},
    {"http+unix://%2Fa..b%20%C3%A9:7/", "http+unix||/a..b \xc3\xa9|7|/||"},
    {"http+unix://rel%2Fx", "http+unix||rel/x|-1|||"},
    {"vchan://0/echo", "vchan||0|-1|/echo||"},
    {"vsock://4294967295:5000", "vsock||4294967295|5000|||"},
    {"fd:3", "fd|||-1|3||"},
    {"systemd:web", "systemd|||-1|web||"},
    {"x-1.y+z://h", "x-1.y+z||h|-1|||"},
    {"a:", "a|||-1|||"},
    {"a:b:c", "a|||-1|b:c||"},
    {"mailto:a@b", "mailto|||-1|a@b||"},
    /* clang-format on */
};

/* What is turned away, and what the error has to say about it. */
static const struct {
    const char *text, *says;
} bad[] = {
    /* clang-format off */
    {"", "a scheme is missing"},
    {"example.org", "a scheme is missing"},
    {"example.org/x:y", "a scheme is missing"},
    {"//example.org/", "a scheme is missing"},
    {"/run/x.sock", "a scheme is missing"},
    {":8080", "a scheme is missing"},
    {"://h", "a scheme is missing"},
    {"192.0.2.1:80", "a scheme is missing"},
    {"[::1]:80", "a scheme is missing"},
    {"?q:", "a scheme is missing"},
    {"my_host:80", "'_' at character 3"},
    {"ht*tp://h", "'*' at character 3"},
    {"tls+://h", "'+' at character 4"},
    {"tls++tcp://h", "'+' at character 4"},

    {"tcp://a b", "space at character 8"},
    {" tcp://a", "space at character 1"},
    {"tcp://a ", "space at character 8"},
    {"tcp://h/\n", "0x0a at character 9"},
    {"tcp://h\t", "0x09 at character 8"},
    {"tcp://h/\x7f", "0x7f at character 9"},
    {"tcp://b\xc3\xbc" "cher.example", "xn--"},
    {"tcp://h/\xff", "0xff at character 9"},
    {"tcp://h%00x", "%00 at character 8"},
    {"tcp://h/%00", "%00 at character 9"},
    {"unix:/a%00b", "%00 at character 8"},
    {"tcp://h?%00", "%00 at character 9"},
    {"tcp://u%00@h", "%00 at character 8"},
    {"tcp://h%zz", "'z' at character 9"},
    {"tcp://h%2", "at the end"},
    {"tcp://h/%", "at the end"},
    {"tcp://h/{id}", "'{' at character 9"},
    {"http://h/[", "'[' at character 10"},
    {"tcp://h/\"", "'\"' at character 9"},
    {"tcp://h/a|b", "'|' at character 10"},
    {"tcp://h\\x", "'\\' at character 8"},
    {"tcp://h/a#b#c", "'#' at character 12"},
    {"tcp://a@b@c", "'@' at character 10"},

    {"tcp://h:65536", "the port is larger than 65535"},
    {"tcp://h:99999999999999999999", "the port is larger than 65535"},
    {"tcp://h:8x", "'x' at character 10"},
    {"tcp://h:-1", "'-' at character 9"},
    {"tcp://h:+1", "'+' at character 9"},
    {"tcp://h:80:80", "an IPv6 address is written ["},
    {"tcp://2001:db8::1", "an IPv6 address is written ["},
    {"tcp://u:p@h:x", "'x' at character 13"},

    {"tcp://.example.org", "begins with a dot"},
    {"tcp://.", "begins with a dot"},
    {"tcp://..", "begins with a dot"},
    {"tcp://a..b", "two dots in a row"},
    {"tcp://a..", "two dots in a row"},
    {"tcp://a%2e%2eb", "two dots in a row"},
    {"tcp://*.example.org", "0x2a cannot be part of a host name"},
    {"tcp://a%20b", "0x20 cannot be part of a host name"},
    {"tcp://a%0Ab", "0x0a cannot be part of a host name"},
    {"tcp://a%C3%A9", "0xc3 cannot be part of a host name"},
    {"tcp://a%5Cb", "0x5c cannot be part of a host name"},
    {"tcp://%5B::1%5D", "an IPv6 address is written ["},
    {"tcp://h%3A80", "0x3a cannot be part of a host name"},
    {"tcp://a!b", "0x21 cannot be part of a host name"},
    {"tcp://a,b", "0x2c cannot be part of a host name"},

    {"tcp://1.2.3", "almost an IPv4 address"},
    {"tcp://127.1", "almost an IPv4 address"},
    {"tcp://0x7f.1", "almost an IPv4 address"},
    {"tcp://0X7F.0.0.1", "almost an IPv4 address"},
    {"tcp://0x7f000001", "almost an IPv4 address"},
    {"tcp://017700000001", "almost an IPv4 address"},
    {"tcp://256.1.1.1", "almost an IPv4 address"},
    {"tcp://010.1.1.1", "almost an IPv4 address"},
    {"tcp://1.2.3.04", "almost an IPv4 address"},
    {"tcp://1.2.3.4.5", "almost an IPv4 address"},
    {"tcp://1.2.3.4.", "almost an IPv4 address"},
    {"tcp://127.0.0.0x1", "almost an IPv4 address"},
    {"tcp://a.0x", "almost an IPv4 address"},
    {"tcp://host.1", "almost an IPv4 address"},
    {"tcp://12%37.1", "almost an IPv4 address"},
    {"tcp://99999999999", "almost an IPv4 address"},

    {"tcp://[::1", "at the end"},
    {"tcp://::1]", "an IPv6 address is written ["},
    {"tcp://a]", "']' at character 8"},
    {"tcp://[::1]x", "'x' at character 12"},
    {"tcp://[1::2::3]", "':' at character 13"},
    {"tcp://[::12345]", "does not belong there"},
    {"tcp://[::g]", "'g' at character 10"},
    {"tcp://[]", "does not belong there"},
    {"tcp://[127.0.0.1]", "does not belong there"},
    {"tcp://[::1.2.3.256]", "does not belong there"},
    {"tcp://[v1.fe80::1]", "future"},
    {"tcp://[fe80::1%25]", "zone at character 15 is empty"},
    {"tcp://[fe80::1%]", "zone at character 15 is empty"},
    {"tcp://[fe80::1%25a%2fb]", "'%' at character 19"},
    {"tcp://[fe80::1%25eth0%00]", "%00"},
    {"tcp://[fe80::1%25abcdefghijklmnop]", "longer than 15 bytes"},
    {"tcp://[2001:db8::1%25eth0]", "only a link-local address"},
    {"tcp://[::1%25lo]", "only a link-local address"},
    {"tcp://[fec0::1%25eth0]", "only a link-local address"},
    {"tcp://[v1.x%25eth0]", "future"},
    {"tcp://[fe80::1%25eth0]:x", "'x' at character 24"},
    {"tcp://[fe80::1%25eth0]:1/{", "'{' at character 26"},
    {"tcp://fe80::1%25eth0", "an IPv6 address is written ["},
    /* clang-format on */
};

static void expect_parts(const conduit_uri *uri, const char *want)
{
    char got[512];
    snprintf(got, sizeof(got), "%s|%s|%s|%d|%s|%s|%s", conduit_uri_scheme(uri),
             conduit_uri_userinfo(uri), conduit_uri_host(uri), conduit_uri_port(uri),
             conduit_uri_path(uri), conduit_uri_query(uri), conduit_uri_fragment(uri));
    cr_expect_str_eq(got, want, "%s: %s, not %s", conduit_uri_text(uri), got, want);
}

CDT_TEST(uri, takes_what_can_be_connected_to_apart)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        const conduit_uri *uri = NULL;
        const conduit_error *why = NULL;
        int code = conduit_uri_parse(good[i].text, &uri, &why);
        cr_expect_eq(code, 0, "%s: %s", good[i].text, conduit_error_text(why));
        conduit_error_unref(why);
        if (code != 0)
            continue;
        cr_expect_str_eq(conduit_uri_text(uri), good[i].text);
        expect_parts(uri, good[i].parts);
        conduit_uri_unref(uri);
    }
}

static void expect_refused(const char *text, const char *says)
{
    const conduit_uri *uri = NULL;
    const conduit_error *why = NULL;
    cr_expect_eq(conduit_uri_parse(text, &uri, &why), CONDUIT_EURI, "%.40s was taken", text);
    cr_expect_null(uri);
    if (why == NULL)
        return;
    cr_expect_eq(conduit_error_code(why), CONDUIT_EURI, "%.40s", text);
    cr_expect_eq(conduit_error_stage(why), CONDUIT_STAGE_URI, "%.40s", text);
    cr_expect_not_null(strstr(conduit_error_text(why), says), "%.40s: \"%s\" should say \"%s\"",
                       text, conduit_error_text(why), says);
    conduit_error_unref(why);
}

CDT_TEST(uri, says_what_is_wrong_and_where)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_refused(bad[i].text, bad[i].says);
    cr_expect_eq(conduit_uri_parse(NULL, &(const conduit_uri *){NULL}, NULL), CONDUIT_EURI);
    cr_expect_eq(conduit_uri_parse("x", &(const conduit_uri *){NULL}, NULL), CONDUIT_EURI);
}

CDT_TEST(uri, repeats_no_password_in_an_error)
{
    const conduit_uri *uri = NULL;
    const conduit_error *why = NULL;
    cr_assert_eq(conduit_uri_parse("http://joe:sesame@example.org:99999/", &uri, &why),
                 CONDUIT_EURI);
    cr_expect_null(strstr(conduit_error_text(why), "sesame"), "%s", conduit_error_text(why));
    conduit_error_unref(why);
}

/* `before`, then `piece` as often as fits in `n` bytes with `after`. The caller frees it. */
static char *repeat(const char *before, const char *piece, const char *after, size_t n)
{
    char *text = malloc(n + 1);
    size_t used = strlen(before), tail = strlen(after), step = strlen(piece);
    memcpy(text, before, used);
    for (; used + step + tail <= n; used += step)
        memcpy(text + used, piece, step);
    memcpy(text + used, after, tail + 1);
    return text;
}

CDT_TEST(uri, holds_names_to_the_lengths_of_dns)
{
    static const struct {
        size_t label, labels;
        char last;
        const char *says;
    } rows[] = {
        {63, 1, '\0', NULL},
        {64, 1, '\0', "longer than 63"},
        {61, 4, '\0', NULL},
        {62, 4, '\0', NULL},
        {62, 4, '.', NULL},
        {63, 4, '\0', "longer than 253"},
        {63, 4, '.', "longer than 253"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[400] = "tcp://";
        for (size_t label = 0, n = 6; label < rows[i].labels; label++) {
            memset(text + n, 'a', rows[i].label);
            n += rows[i].label;
            text[n++] = label + 1 < rows[i].labels ? '.' : rows[i].last;
        }
        if (rows[i].says != NULL) {
            expect_refused(text, rows[i].says);
            continue;
        }
        const conduit_uri *uri = NULL;
        cr_expect_eq(conduit_uri_parse(text, &uri, NULL), 0, "row %zu", i);
        conduit_uri_unref(uri);
    }
}

CDT_TEST(uri, takes_eight_kilobytes_of_anything_and_no_byte_more)
{
    static const struct {
        const char *before, *piece, *after;
        bool taken;
    } rows[] = {
        {"unix:/", "a", "", true},        {"x:", "%41", "", true},
        {"x:/", "a/", "", true},          {"http://h/", "/", "", true},
        {"http://h?", "?", "", true},     {"http://h#", "%41", "", true},
        {"http://", "u:", "@h", true},    {"http://", "%2F", "/", true},
        {"http://h:", "0", "", true},     {"x", "+a", "://h", true},
        {"http://", "a.", "b", false},    {"http://[", ":", "]", false},
        {"http://[", "1:", "]", false},   {"http://", "1.", "1", false},
        {"http://", "%41", "", false},    {"http://h:", "1", "", false},
        {"x://[::1%25", "a", "]", false}, {"x:", "[", "", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *text = repeat(rows[i].before, rows[i].piece, rows[i].after, 8192);
        const conduit_uri *uri = NULL;
        int code = conduit_uri_parse(text, &uri, NULL);
        cr_expect_eq(code, rows[i].taken ? 0 : CONDUIT_EURI, "row %zu: %.24s", i, text);
        conduit_uri_unref(uri);
        free(text);
        text = repeat(rows[i].before, rows[i].piece, rows[i].after, 9000);
        expect_refused(text, "longer than 8192 bytes");
        free(text);
    }
    char *text = repeat("unix:/", "a", "", 8193);
    expect_refused(text, "longer than 8192 bytes");
    free(text);
}

CDT_TEST(uri, lives_until_its_last_reference_goes)
{
    const conduit_uri *uri = NULL;
    cr_assert_eq(conduit_uri_parse("tcp://h:1", &uri, NULL), 0);
    cr_expect_eq(conduit_uri_ref(uri), uri);
    conduit_uri_unref(uri);
    cr_expect_str_eq(conduit_uri_host(uri), "h");
    conduit_uri_unref(uri);
    conduit_uri_unref(NULL);
    cr_expect_null(conduit_uri_ref(NULL));
}

CDT_TEST(uri, the_authority_is_what_a_message_says)
{
    static const char *const rows[][2] = {
        {"http://u:p@Example.ORG:8080/x", "example.org:8080"},
        {"http://example.org/", "example.org"},
        {"http://example.org:/", "example.org"},
        {"http://h:00080/", "h:80"},
        {"http://[2001:DB8::1]:1/", "[2001:db8::1]:1"},
        {"http://[fe80::1%25eth0]:1/", "[fe80::1]:1"},
        {"http://[::1]", "[::1]"},
        {"http+unix://%2Frun%2Fa%3Ab/x", "localhost"},
        {"http+unix://%2Frun%2Fx:80/x", "localhost:80"},
        {"unix:/run/x", "localhost"},
        {"tcp://:65535", "localhost:65535"},
        {"vchan://0/echo", "0"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const conduit_uri *uri = NULL;
        cr_assert_eq(conduit_uri_parse(rows[i][0], &uri, NULL), 0, "%s", rows[i][0]);
        cr_expect_str_eq(conduit_uri_authority(uri), rows[i][1], "%s: %s", rows[i][0],
                         conduit_uri_authority(uri));
        conduit_uri_unref(uri);
    }
}

static void expect_resolved(const char *base_text, const char *reference, const char *wanted)
{
    const conduit_uri *base = NULL, *uri = NULL;
    cr_assert_eq(conduit_uri_parse(base_text, &base, NULL), 0, "%s", base_text);
    int code = conduit_uri_resolve(base, reference, &uri, NULL);
    conduit_uri_unref(base);
    cr_expect_eq(code, wanted != NULL ? 0 : CONDUIT_EURI, "%s at %s", reference, base_text);
    if (code == 0)
        cr_expect_str_eq(conduit_uri_text(uri), wanted != NULL ? wanted : "", "%s at %s: %s",
                         reference, base_text, conduit_uri_text(uri));
    if (code == 0)
        conduit_uri_unref(uri);
}

CDT_TEST(uri, references_resolve_as_in_rfc_3986_section_5_4)
{
    static const char *const rows[][2] = {
        {"g:h", "g:h"},
        {"g", "http://a/b/c/g"},
        {"./g", "http://a/b/c/g"},
        {"g/", "http://a/b/c/g/"},
        {"/g", "http://a/g"},
        {"//g", "http://g"},
        {"?y", "http://a/b/c/d;p?y"},
        {"g?y", "http://a/b/c/g?y"},
        {"#s", "http://a/b/c/d;p?q#s"},
        {"g#s", "http://a/b/c/g#s"},
        {"g?y#s", "http://a/b/c/g?y#s"},
        {";x", "http://a/b/c/;x"},
        {"g;x", "http://a/b/c/g;x"},
        {"", "http://a/b/c/d;p?q"},
        {".", "http://a/b/c/"},
        {"./", "http://a/b/c/"},
        {"..", "http://a/b/"},
        {"../", "http://a/b/"},
        {"../g", "http://a/b/g"},
        {"../..", "http://a/"},
        {"../../g", "http://a/g"},
        {"../../../g", "http://a/g"},
        {"/./g", "http://a/g"},
        {"/../g", "http://a/g"},
        {"g.", "http://a/b/c/g."},
        {"..g", "http://a/b/c/..g"},
        {"./../g", "http://a/b/g"},
        {"g/./h", "http://a/b/c/g/h"},
        {"g/../h", "http://a/b/c/h"},
        {"g?y/../x", "http://a/b/c/g?y/../x"},
        {"g#s/../x", "http://a/b/c/g#s/../x"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        expect_resolved("http://a/b/c/d;p?q", rows[i][0], rows[i][1]);
}

CDT_TEST(uri, references_keep_what_the_base_says_of_its_host)
{
    expect_resolved("https://u:p@[fe80::1%25eth0]:8443/a/b?q", "../c",
                    "https://u:p@[fe80::1%25eth0]:8443/c");
    expect_resolved("http+unix://%2Frun%2Fx.sock/a/b", "c?d", "http+unix://%2Frun%2Fx.sock/a/c?d");
    expect_resolved("http://h", "x", "http://h/x");
    expect_resolved("unix:/run/x.sock", ".//evil/y", "unix:/run//evil/y");
    expect_resolved("unix:/x.sock", ".//evil/y", "unix:/.//evil/y");
    expect_resolved("unix:/x.sock", "..//evil/y", "unix:/.//evil/y");
    expect_resolved("http://h/a", ".//evil/y", "http://h//evil/y");
    expect_resolved("http://h?q", "x", "http://h/x");
    expect_resolved("http://h/a", "//[::1]:1/x", "http://[::1]:1/x");
    expect_resolved("http://h/a", "HTTPS://h/x", "HTTPS://h/x");
    expect_resolved("http://h/a", "a b", NULL);
    expect_resolved("http://h/a", "x\r\ny", NULL);
    expect_resolved("http://h/a", "//h:99999/", NULL);
    expect_resolved("http://h/a", "%zz", NULL);
    expect_resolved("http://h/a", "%00", NULL);
    expect_resolved("http://h/a", "x:", "x:");
    expect_resolved("http://h/a", ":x", NULL);
}

CDT_TEST(uri, decoding_says_what_is_no_escape)
{
    char buf[16];
    cr_expect_eq(conduit_uri_decode("a%40b%3a", 8, buf, sizeof(buf)), 4);
    cr_expect_str_eq(buf, "a@b:");
    cr_expect_eq(conduit_uri_decode("user:secret", 4, buf, sizeof(buf)), 4);
    cr_expect_str_eq(buf, "user");
    cr_expect_eq(conduit_uri_decode("", 0, buf, sizeof(buf)), 0);
    cr_expect_str_eq(buf, "");
    static const char *const unfit[] = {"%", "%4", "a%", "%g0", "%0g", "%00", "x%%41"};
    for (size_t i = 0; i < sizeof(unfit) / sizeof(*unfit); i++)
        cr_expect_eq(conduit_uri_decode(unfit[i], strlen(unfit[i]), buf, sizeof(buf)), CONDUIT_EURI,
                     "%s", unfit[i]);
    cr_expect_eq(conduit_uri_decode("%41%42", 5, buf, sizeof(buf)), CONDUIT_EURI, "cut short");
    cr_expect_str_eq(buf, "");
    cr_expect_eq(conduit_uri_decode("abcd", 4, buf, 4), CONDUIT_ELIMIT);
    cr_expect_str_eq(buf, "");
    cr_expect_eq(conduit_uri_decode("abcd", 4, buf, 5), 4);
    cr_expect_eq(conduit_uri_decode("", 0, buf, 0), CONDUIT_ELIMIT);
    char in_place[] = "%2Frun%2Fx";
    cr_expect_eq(conduit_uri_decode(in_place, strlen(in_place), in_place, sizeof(in_place)), 6);
    cr_expect_str_eq(in_place, "/run/x");
}
