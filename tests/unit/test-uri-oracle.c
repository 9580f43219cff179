/* SPDX-License-Identifier: ISC */
/*
 * What is a URI: we and uriparser, asked about the same texts, agree but for the policies that
 * conduit/uri.h lists.
 *
 * The texts come from a grammar that knows the corners, and half of them are then damaged. Each
 * policy is a row with a predicate of its own, which looks at the text and at nobody's verdict. In
 * both directions: what uriparser takes we take unless a policy is against it, and what uriparser
 * refuses we refuse, unless all that it has against it is a zone.
 *
 * The same texts every time: `seed` below. CONDUIT_ORACLE is how many, by default 120,000.
 */
#include "support.h"
#include <arpa/inet.h>
#include <conduit/uri.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uriparser/Uri.h>

enum { TEXT_SIZE = 16384, MAX_TEXT = 8192, COMMON = 120000, OFTEN = 50 };

/* ---- texts */

static const uint64_t seed = 20261122;
static uint64_t state;

/* splitmix64 */
static uint64_t draw(void)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static size_t below(size_t bound)
{
    return (size_t)(draw() % bound);
}

static bool one_in(size_t n)
{
    return below(n) == 0;
}

struct text {
    char at[TEXT_SIZE];
    size_t n;
};

static void put(struct text *to, const char *piece)
{
    size_t n = strlen(piece);
    if (to->n + n >= TEXT_SIZE)
        return;
    memcpy(to->at + to->n, piece, n + 1);
    to->n += n;
}

static void put_times(struct text *to, const char *piece, size_t times)
{
    while (times-- > 0)
        put(to, piece);
}

CONDUIT_PRINTF(2, 3) static void put_format(struct text *to, const char *format, ...)
{
    char piece[32];
    va_list args;
    va_start(args, format);
    vsnprintf(piece, sizeof(piece), format, args);
    va_end(args);
    put(to, piece);
}

#define PUT_ONE_OF(to, ...)                                                                        \
    do {                                                                                           \
        static const char *const choices[] = {__VA_ARGS__};                                        \
        put(to, choices[below(sizeof(choices) / sizeof(choices[0]))]);                             \
    } while (0)

static void put_scheme(struct text *to)
{
    if (one_in(20))
        PUT_ONE_OF(to, "", "+tcp:", "tls+:", "tls++tcp:", "9p:", "a_b:", "a%62:", ":", "a/b:");
    else
        PUT_ONE_OF(to, "http:", "tcp:", "tls+unix:", "HTTPS:", "a:", "x-y.z9:", "http+unix:",
                   "redis+tls+vchan:", "c++:", "svn+ssh:");
}

static void put_label(struct text *to)
{
    if (one_in(60))
        put_times(to, "l", 60 + below(6));
    else
        PUT_ONE_OF(to, "www", "example", "a-b", "_sip", "XN--bcher-kva", "1", "0x7f", "0xg", "08",
                   "a%2Db", "%61", "%C3%BC", "a!b", "a%20b", "", "com", "-", "*", "%2E", "%2F",
                   "0x", "127", "a~", "a%25b", "4294967296");
}

static void put_name(struct text *to)
{
    size_t n = one_in(80) ? 60 + below(80) : 1 + below(4);
    for (size_t i = 0; i < n; i++) {
        put(to, i > 0 ? "." : "");
        put_label(to);
    }
    put(to, one_in(8) ? "." : "");
}

static void put_ip4(struct text *to)
{
    size_t n = one_in(4) ? 1 + below(6) : 4;
    for (size_t i = 0; i < n; i++) {
        put(to, i > 0 ? "." : "");
        put_format(to,
                   one_in(12)   ? "0%o"
                   : one_in(20) ? "0x%x"
                                : "%u",
                   (unsigned)below(one_in(12) ? 400 : 256));
    }
}

static void put_ip6(struct text *to)
{
    size_t n = one_in(10) ? 1 + below(10) : 8, gap = one_in(2) ? below(9) : 99;
    PUT_ONE_OF(to, "", "fe80:", "fe80:", "FEBF:", "fec0:", "2001:db8:");
    for (size_t i = gap < n ? 5 : 1; i < n; i++) {
        if (i == gap)
            put(to, ":");
        put_format(to, one_in(30) ? "%05x" : one_in(2) ? "%x" : "%X", (unsigned)below(65536));
        put(to, i + 1 < n ? ":" : "");
    }
    if (one_in(8)) {
        put(to, ":");
        put_ip4(to);
    }
}

static void put_zone(struct text *to)
{
    if (one_in(3))
        PUT_ONE_OF(to, "%", "%25", "%2", "%25%25", "%%", "%00", "%25eth0%", "%a:b", "%25e h",
                   "%fifteen-letters", "%25fifteen-letters", "%sixteen-letters-", "%25/", "%+");
    else
        PUT_ONE_OF(to, "%eth0", "%25eth0", "%25", "%1", "%251", "%2512", "%br-lan.7", "%25~_");
}

static void put_literal(struct text *to)
{
    put(to, "[");
    if (one_in(12))
        PUT_ONE_OF(to, "v1.a", "V1f.:", "v7.x", "v.x", "v1.", "vz.1", "1.2.3.4", "", ":::");
    else if (!one_in(3))
        PUT_ONE_OF(to, "::1", "fe80::1", "FE80::1:2", "2001:db8::1", "::ffff:192.0.2.1",
                   "febf::", "fec0::1");
    else
        put_ip6(to);
    if (one_in(3))
        put_zone(to);
    put(to, one_in(40) ? "" : "]");
}

static void put_host(struct text *to)
{
    switch (below(10)) {
    case 0:
    case 1:
        PUT_ONE_OF(to, "", "*", "%2A", "%2Frun%2Fx.sock", "%2Frun%2Fx y", ".", "..", "%2f", "%00",
                   "a%00b", "%2F%00", "4294967295", "42949672950", "0", "00", "7.");
        break;
    case 2:
        put_ip4(to);
        break;
    case 3:
    case 4:
    case 5:
        put_literal(to);
        break;
    default:
        put_name(to);
    }
}

static void put_port(struct text *to)
{
    if (one_in(3))
        PUT_ONE_OF(to, ":", ":0", ":65535", ":65536", ":00000000080", ":99999999999999999999",
                   ":8o", ":-1", ":+1", ":80:80", "::", ": 80", ":%38", ":655350");
    else
        put_format(to, ":%u", (unsigned)below(70000));
}

static void put_authority(struct text *to)
{
    put(to, "//");
    if (one_in(5))
        PUT_ONE_OF(to, "user@", "@", "u:p@", "u%40x:@", "u:p:q@", "u/@", "a@b@", "u%@", "%00@",
                   ":@");
    put_host(to);
    if (one_in(2))
        put_port(to);
}

static void put_segment(struct text *to)
{
    put(to, "/");
    if (one_in(25))
        PUT_ONE_OF(to, "%zz", "%0", "%00", "[", "|", "caf\xc3\xa9", "a b", "\\", "\x7f", "\t");
    else
        PUT_ONE_OF(to, "", "a", "run", "..", ".", "a:b", "%41%7e", "@!$&'()*+,;=", "x.sock");
}

static void put_path(struct text *to)
{
    if (one_in(150))
        put_times(to, "/a-segment", 815 + below(10));
    for (size_t n = below(4); n > 0; n--)
        put_segment(to);
}

static void put_rest(struct text *to)
{
    if (one_in(20))
        PUT_ONE_OF(to, "?[", "?%0", "?a=%00", "?\"", "#a#b", "#%4", "#<", "#%00");
    if (one_in(3))
        PUT_ONE_OF(to, "?", "?a=b", "?a=b&c=/?", "?%41", "??");
    if (one_in(5))
        PUT_ONE_OF(to, "#", "#top", "#a/b?c", "#%41");
}

/* A byte that means something somewhere, more often than one that does not. */
static char draw_byte(void)
{
    static const char marks[] = "::///??##[[]]@@%%%0123456789abfxXzvV.-_~+*!$&'(),;= \t\\|^`\"<>{}";
    return one_in(30) ? (char)(1 + below(255)) : marks[below(sizeof(marks) - 1)];
}

static void damage(struct text *text)
{
    size_t at = below(text->n + 1), n;
    switch (below(5)) {
    case 0: /* one byte more */
        if (text->n + 2 >= TEXT_SIZE)
            return;
        memmove(text->at + at + 1, text->at + at, text->n + 1 - at);
        text->at[at] = draw_byte();
        text->n++;
        break;
    case 1: /* another byte */
        if (at < text->n)
            text->at[at] = draw_byte();
        break;
    case 2: /* some bytes less */
        n = 1 + below(3);
        n = n < text->n - at ? n : text->n - at;
        memmove(text->at + at, text->at + at + n, text->n + 1 - at - n);
        text->n -= n;
        break;
    case 3: /* the end is missing */
        text->at[text->n = at] = '\0';
        break;
    default: /* a piece of it once more */
        n = below(text->n - at + 1);
        if (text->n + n + 1 >= TEXT_SIZE)
            return;
        memmove(text->at + at + n, text->at + at, text->n + 1 - at);
        text->n += n;
    }
}

static void make_text(struct text *text)
{
    *text->at = '\0';
    text->n = 0;
    put_scheme(text);
    if (!one_in(6))
        put_authority(text);
    put_path(text);
    put_rest(text);
    for (size_t n = one_in(2) ? 1 + below(3) : 0; n > 0; n--)
        damage(text);
}

/* ---- the policies */

/* As RFC 3986, appendix B, has it; absent parts are "". */
struct parts {
    const char *text;
    char scheme[TEXT_SIZE], host[TEXT_SIZE], port[TEXT_SIZE];
    bool authority;
};

static void cut(char to[TEXT_SIZE], const char *from, size_t n)
{
    memcpy(to, from, n);
    to[n] = '\0';
}

static void take_apart(struct parts *parts, const char *text)
{
    size_t n = strcspn(text, ":/?#");
    bool scheme = text[n] == ':';
    cut(parts->scheme, text, scheme ? n : 0);
    *parts->host = *parts->port = '\0';
    parts->text = text;
    text += scheme ? n + 1 : 0;
    parts->authority = strncmp(text, "//", 2) == 0;
    if (!parts->authority)
        return;
    char authority[TEXT_SIZE], *host = authority;
    cut(authority, text + 2, strcspn(text + 2, "/?#"));
    if (strchr(host, '@') != NULL)
        host = strchr(host, '@') + 1;
    char *end = *host == '[' && strchr(host, ']') != NULL ? strchr(host, ']') + 1
                                                          : host + strcspn(host, ":");
    cut(parts->host, host, (size_t)(end - host));
    if (*end == ':')
        cut(parts->port, end + 1, strlen(end + 1));
}

static bool is_too_long(const struct parts *parts)
{
    return strlen(parts->text) > MAX_TEXT;
}

static bool is_without_scheme(const struct parts *parts)
{
    return *parts->scheme == '\0';
}

static bool has_nul(const struct parts *parts)
{
    return strstr(parts->text, "%00") != NULL;
}

static bool has_gap_in_stack(const struct parts *parts)
{
    size_t n = strlen(parts->scheme);
    return strstr(parts->scheme, "++") != NULL || (n > 0 && parts->scheme[n - 1] == '+');
}

static bool has_large_port(const struct parts *parts)
{
    bool number = strspn(parts->port, "0123456789") == strlen(parts->port);
    return number && strtod(parts->port, NULL) > 65535;
}

static bool is_of_the_future(const struct parts *parts)
{
    return strncmp(parts->host, "[v", 2) == 0 || strncmp(parts->host, "[V", 2) == 0;
}

/* The host, decoded, if it is a name: not "", "*", a literal or a path. */
static bool is_name(const struct parts *parts, char name[TEXT_SIZE])
{
    const char *from = parts->host;
    char *to = name;
    for (; *from != '\0'; from++) {
        unsigned byte = (unsigned char)*from;
        if (byte == '%' && sscanf(from, "%%%2x", &byte) == 1)
            from += from[1] != '\0' && from[2] != '\0' ? 2 : 0;
        *to++ = (char)byte;
    }
    *to = '\0';
    return *name != '\0' && strcmp(name, "*") != 0 && *parts->host != '[' &&
           memchr(name, '/', (size_t)(to - name)) == NULL;
}

static bool is_no_label(const char *label)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    size_t n = strlen(label);
    return n < 1 || n > 63 || strspn(label, allowed) < n;
}

static bool is_no_host_name(const struct parts *parts)
{
    char name[TEXT_SIZE], *rest = name, *label;
    if (!is_name(parts, name))
        return false;
    size_t n = strlen(name);
    if (n > 1 && name[n - 1] == '.')
        name[--n] = '\0';
    while ((label = strsep(&rest, ".")) != NULL)
        if (is_no_label(label))
            return true;
    return n > 253;
}

static bool is_numeric(const char *label)
{
    bool hex = strncmp(label, "0x", 2) == 0 || strncmp(label, "0X", 2) == 0;
    const char *digits = hex ? "0123456789abcdefABCDEF" : "0123456789";
    label += hex ? 2 : 0;
    return strspn(label, digits) == strlen(label) && (hex || *label != '\0');
}

/* The last label is a number, and the whole neither an address nor one decimal number. */
static bool is_almost_an_address(const struct parts *parts)
{
    char name[TEXT_SIZE];
    struct in_addr address;
    if (!is_name(parts, name) || inet_pton(AF_INET, name, &address) == 1)
        return false;
    size_t n = strlen(name);
    bool decimal = strspn(name, "0123456789") == n && n <= 10;
    if (decimal && (*name != '0' || n == 1))
        return false;
    if (n > 1 && name[n - 1] == '.')
        name[n - 1] = '\0';
    const char *dot = strrchr(name, '.');
    return is_numeric(dot != NULL ? dot + 1 : name);
}

/* Of [ADDRESS%ZONE] and [ADDRESS%25ZONE]; NULL: there is none. */
static const char *find_zone(const struct parts *parts)
{
    return *parts->host == '[' && strchr(parts->host, ']') != NULL ? strchr(parts->host, '%')
                                                                   : NULL;
}

static bool is_no_zone(const struct parts *parts)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    const char *zone = find_zone(parts);
    if (zone == NULL)
        return false;
    zone += strncmp(zone, "%25", 3) == 0 ? 3 : 1;
    size_t n = strspn(zone, allowed);
    return n < 1 || n >= IF_NAMESIZE || zone[n] != ']';
}

static bool is_zone_out_of_place(const struct parts *parts)
{
    const char *zone = find_zone(parts);
    struct in6_addr address;
    if (zone == NULL)
        return false;
    char literal[TEXT_SIZE];
    cut(literal, parts->host + 1, (size_t)(zone - parts->host - 1));
    return inet_pton(AF_INET6, literal, &address) != 1 || !IN6_IS_ADDR_LINKLOCAL(&address);
}

static struct {
    const char *name;
    bool (*holds)(const struct parts *parts);
    size_t n; /* texts that this alone is against */
} policies[] = {
    {"a URI has at most 8,192 bytes", is_too_long, 0},
    {"a URI has a scheme", is_without_scheme, 0},
    {"there is no %00", has_nul, 0},
    {"a stack has no gap", has_gap_in_stack, 0},
    {"a port is at most 65535", has_large_port, 0},
    {"there is no [v...]", is_of_the_future, 0},
    {"a host is a name that DNS can hold", is_no_host_name, 0},
    {"a host is not almost an address", is_almost_an_address, 0},
    {"a zone is the name of an interface", is_no_zone, 0},
    {"a zone is for a link-local address", is_zone_out_of_place, 0},
};

enum { N_POLICIES = sizeof(policies) / sizeof(policies[0]) };

/* How many policies are against it; of one, which. */
static size_t count_against(const struct parts *parts, size_t *which)
{
    size_t n = 0;
    for (size_t i = 0; i < N_POLICIES; i++)
        if (policies[i].holds(parts)) {
            *which = i;
            n++;
        }
    return n;
}

/* ---- the verdicts */

static bool uriparser_takes(const char *text)
{
    UriUriA uri;
    const char *where;
    if (uriParseSingleUriA(&uri, text, &where) != URI_SUCCESS)
        return false;
    uriFreeUriMembersA(&uri);
    return true;
}

static bool we_take(const char *text)
{
    const conduit_uri *uri;
    if (conduit_uri_parse(text, &uri, NULL) < 0)
        return false;
    conduit_uri_unref(uri);
    return true;
}

/* `text` without its zone, which uriparser does not know (RFC 6874 came after RFC 3986). */
static void drop_zone(char to[TEXT_SIZE], const struct parts *parts)
{
    const char *zone = find_zone(parts);
    strcpy(to, parts->text);
    if (zone == NULL)
        return;
    size_t n = strcspn(zone, "]");
    char *at = strchr(strstr(to, "//") + 2, '[');
    at += zone - parts->host;
    memmove(at, at + n, strlen(at + n) + 1);
}

static struct {
    size_t taken, refused, by_policy, with_zone;
} count;

static void compare(const char *text)
{
    static struct parts parts;
    static char plain[TEXT_SIZE];
    size_t which = 0;
    take_apart(&parts, text);
    drop_zone(plain, &parts);
    bool zone = strcmp(plain, text) != 0;
    bool theirs = uriparser_takes(plain), ours = we_take(text);
    size_t against = count_against(&parts, &which);
    bool due = theirs && against == 0;
    cr_expect(ours == due, "%s by us, %s by uriparser%s; policies against it: %zu (%s)\n  %.300s",
              ours ? "taken" : "refused", theirs ? "taken" : "refused",
              zone ? " without the zone" : "", against, against > 0 ? policies[which].name : "none",
              text);
    count.taken += ours;
    count.with_zone += ours && zone;
    count.refused += !theirs;
    count.by_policy += theirs && !ours;
    if (theirs && against == 1)
        policies[which].n++;
}

static size_t how_many(void)
{
    const char *text = getenv("CONDUIT_ORACLE");
    return text != NULL ? strtoul(text, NULL, 10) : COMMON;
}

CDT_TEST(uri, differs_from_uriparser_by_the_listed_policies_alone)
{
    static struct text text;
    size_t n = how_many();
    state = seed;
    for (size_t i = 0; i < n; i++) {
        make_text(&text);
        compare(text.at);
    }
    fprintf(stderr,
            "seed %llu: %zu texts, %zu taken (%zu of them with a zone), %zu refused by uriparser, "
            "%zu by policy\n",
            (unsigned long long)seed, n, count.taken, count.with_zone, count.refused,
            count.by_policy);
    for (size_t i = 0; i < N_POLICIES; i++) {
        fprintf(stderr, "%8zu  %s\n", policies[i].n, policies[i].name);
        cr_expect(policies[i].n >= OFTEN, "%s: hardly tried", policies[i].name);
    }
    cr_expect(count.taken > n / 10 && count.refused > n / 10 && count.with_zone > n / 200);
}
