/* SPDX-License-Identifier: ISC */
/*
 * URIs: the grammar of RFC 3986 is uriparser's, the policies of conduit/uri.h are ours.
 *
 * uriparser does not know zones (RFC 6874), how large a port may be, or what makes a host name. So:
 *   1. before it: the length, the bytes and the scheme are checked, and the zone is cut out;
 *   2. uriparser says whether the rest is a URI, and which part is where;
 *   3. after it: host, zone and port are decoded and checked.
 * An error says at which character it was found, and repeats no more of the text than that one and
 * the host: there may be a password beside it.
 *
 * A URI is one allocation: the struct, the text as it was given, then the parts, each with its NUL.
 */
#include "error.h"
#include <arpa/inet.h>
#include <conduit/memory.h>
#include <conduit/uri.h>
#include <limits.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <uriparser/Uri.h>

enum {
    MAX_TEXT = 8192,
    MAX_NAME = 253, /* RFC 1035, 2.3.4: 255 octets on the wire */
    MAX_LABEL = 63,
    MAX_NUMBER = 10, /* digits of a host that is one number, up to 2^32 */
    ZONE_SIZE = IF_NAMESIZE,
};

struct conduit_uri {
    atomic_uint refs;
    int port;
    size_t size; /* with what is behind it, which may be a secret */
    const char *text, *scheme, *userinfo, *host, *path, *query, *fragment, *authority;
};

/* A piece of a text that is not ours. */
struct span {
    const char *at;
    size_t n;
};

/* One URI on its way from text to value. */
struct parse {
    const char *text;
    size_t n_scheme;
    char plain[MAX_TEXT + 1]; /* the text without its zone: what uriparser reads */
    char zone[ZONE_SIZE];     /* "" if there is none */
    size_t cut_at, n_cut;     /* where the zone was in `text` */
    UriUriA parts;            /* spans of `plain` */
    char host[MAX_TEXT + ZONE_SIZE + 2];
    int port;
    const conduit_error *error;
};

CONDUIT_PRINTF(2, 3) static bool fail(struct parse *parse, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    parse->error = cdt_error_newv(CONDUIT_EURI, CONDUIT_STAGE_URI, NULL, NULL, 0, format, args);
    va_end(args);
    return false;
}

/* The locale of the program has no say in what a URI is: no <ctype.h>. */
static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int hex_value(char c)
{
    return is_digit(c) ? c - '0' : lower(c) - 'a' + 10;
}

/* ---- before: bytes, scheme, zone */

static bool check_byte(struct parse *parse, size_t i)
{
    unsigned char c = (unsigned char)parse->text[i];
    if (c == ' ')
        return fail(parse, "a space at character %zu: it is written %%20", i + 1);
    if (c >= 0x80)
        return fail(parse,
                    "byte 0x%02x at character %zu is not ASCII: international names are written "
                    "as xn--..., other bytes as %%%02X",
                    c, i + 1, c);
    if (c < 0x20 || c == 0x7f)
        return fail(parse, "control byte 0x%02x at character %zu", c, i + 1);
    if (strncmp(parse->text + i, "%00", 3) == 0)
        return fail(parse, "%%00 at character %zu: a NUL byte ends names early", i + 1);
    return true;
}

/* Most bytes are, and have nothing to be checked for. */
static bool is_plain(char c)
{
    return c > ' ' && c < 0x7f && c != '%';
}

static bool check_bytes(struct parse *parse)
{
    size_t n = strnlen(parse->text, MAX_TEXT + 1);
    if (n > MAX_TEXT)
        return fail(parse, "longer than %d bytes", MAX_TEXT);
    for (size_t i = 0; i < n; i++)
        if (!is_plain(parse->text[i]) && !check_byte(parse, i))
            return false;
    return true;
}

static bool check_step(struct parse *parse, size_t i)
{
    char c = parse->text[i];
    if (!is_letter(c) && !is_digit(c) && strchr("+-.", c) == NULL)
        return fail(parse, "'%c' at character %zu cannot be part of a scheme", c, i + 1);
    if (c == '+' && (i + 1 == parse->n_scheme || parse->text[i + 1] == '+'))
        return fail(parse, "'+' at character %zu of the scheme has nothing below it", i + 1);
    return true;
}

static bool check_scheme(struct parse *parse)
{
    const char *text = parse->text;
    parse->n_scheme = strcspn(text, ":/?#");
    if (text[parse->n_scheme] != ':' || !is_letter(text[0]))
        return fail(parse, "a scheme is missing: tcp://example.org:PORT, https://example.org/ or "
                           "unix:/run/x.sock, say");
    for (size_t i = 0; i < parse->n_scheme; i++)
        if (!check_step(parse, i))
            return false;
    return true;
}

/* What stands between "//" and the path in `text`; at NULL if there is no "//". */
static struct span find_authority(const struct parse *parse, const char *text)
{
    const char *rest = text + parse->n_scheme + 1;
    if (strncmp(rest, "//", 2) != 0)
        return (struct span){NULL, 0};
    return (struct span){rest + 2, strcspn(rest + 2, "/?#")};
}

/* Where the host begins: after the user information, if there is any. */
static const char *find_host(struct span authority)
{
    const char *at = memchr(authority.at, '@', authority.n);
    return at != NULL ? at + 1 : authority.at;
}

/* Where the zone stands in the text, from its '%' up to the ']'; at NULL if there is none. */
static struct span find_zone(const struct parse *parse)
{
    const struct span none = {NULL, 0};
    struct span authority = find_authority(parse, parse->text);
    if (authority.at == NULL)
        return none;
    const char *end = authority.at + authority.n;
    const char *host = find_host(authority);
    if (host == end || *host != '[')
        return none;
    const char *close = memchr(host, ']', (size_t)(end - host));
    const char *percent = close != NULL ? memchr(host, '%', (size_t)(close - host)) : NULL;
    if (percent == NULL)
        return none;
    return (struct span){percent, (size_t)(close - percent)};
}

/* Both [fe80::1%25eth0] and what people write, [fe80::1%eth0]. A zone that is no more than "25" is
 * the escaped '%' of the former with nothing after it. */
static bool read_zone(struct parse *parse, struct span zone)
{
    size_t mark = zone.n >= 3 && memcmp(zone.at, "%25", 3) == 0 ? 3 : 1;
    const char *name = zone.at + mark;
    size_t n = zone.n - mark;
    if (n == 0)
        return fail(parse, "the zone at character %td is empty", zone.at - parse->text + 1);
    if (n >= sizeof(parse->zone))
        return fail(parse, "the zone is longer than %zu bytes: no interface has such a name",
                    sizeof(parse->zone) - 1);
    for (size_t i = 0; i < n; i++)
        if (!is_letter(name[i]) && !is_digit(name[i]) && strchr("-._~", name[i]) == NULL)
            return fail(parse, "'%c' at character %td cannot be part of a zone", name[i],
                        name + i - parse->text + 1);
    memcpy(parse->zone, name, n);
    parse->zone[n] = '\0';
    return true;
}

static bool cut_zone(struct parse *parse)
{
    struct span zone = find_zone(parse);
    if (zone.at == NULL) {
        memcpy(parse->plain, parse->text, strlen(parse->text) + 1);
        return true;
    }
    if (!read_zone(parse, zone))
        return false;
    parse->cut_at = (size_t)(zone.at - parse->text);
    parse->n_cut = zone.n;
    memcpy(parse->plain, parse->text, parse->cut_at);
    memcpy(parse->plain + parse->cut_at, zone.at + zone.n, strlen(zone.at + zone.n) + 1);
    return true;
}

/* ---- uriparser */

static bool fail_at(struct parse *parse, const char *where)
{
    size_t i = (size_t)(where - parse->plain);
    if (parse->n_cut > 0 && i >= parse->cut_at)
        i += parse->n_cut;
    if (*where == '\0')
        return fail(parse, "something is missing at the end, after character %zu", i);
    return fail(parse, "'%c' at character %zu does not belong there", *where, i + 1);
}

/* The end of what may be a host in `authority`, where a port may begin. */
static const char *skip_host(struct span authority)
{
    const char *end = authority.at + authority.n;
    const char *host = find_host(authority);
    bool bracket = host < end && *host == '[';
    const char *stop = memchr(host, bracket ? ']' : ':', (size_t)(end - host));
    if (stop == NULL)
        return end;
    return bracket ? stop + 1 : stop;
}

/* To uriparser a malformed port may yet become a user's password, and the error is at the end. */
static bool check_port(struct parse *parse)
{
    struct span authority = find_authority(parse, parse->plain);
    if (authority.at == NULL)
        return true;
    const char *end = authority.at + authority.n;
    const char *port = skip_host(authority);
    if (port == end || *port != ':')
        return true;
    if (memchr(port + 1, ':', (size_t)(end - port - 1)) != NULL)
        return fail(parse, "a host with ':' in it: an IPv6 address is written [2001:db8::1]");
    while (++port < end)
        if (!is_digit(*port))
            return fail_at(parse, port);
    return true;
}

static bool split(struct parse *parse)
{
    const char *where = parse->plain;
    switch (uriParseSingleUriA(&parse->parts, parse->plain, &where)) {
    case URI_SUCCESS:
        return true;
    case URI_ERROR_MALLOC:
        parse->error =
            cdt_error_new(CONDUIT_ENOMEM, CONDUIT_STAGE_URI, NULL, NULL, 0, "out of memory");
        return false;
    default:
        return fail_at(parse, where);
    }
}

/* ---- after: host and port */

static struct span span_of(UriTextRangeA range)
{
    if (range.first == NULL)
        return (struct span){"", 0};
    return (struct span){range.first, (size_t)(range.afterLast - range.first)};
}

static void decode(char *to, struct span from)
{
    for (size_t i = 0; i < from.n; i++) {
        if (from.at[i] != '%') {
            *to++ = from.at[i];
            continue;
        }
        *to++ = (char)(hex_value(from.at[i + 1]) << 4 | hex_value(from.at[i + 2]));
        i += 2;
    }
    *to = '\0';
}

static bool all_digits(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_digit(text[i]))
            return false;
    return n > 0;
}

/* What inet_aton() takes for a number: 127, 010, 0x7f. */
static bool is_number(const char *label, size_t n)
{
    if (n < 2 || label[0] != '0' || label[1] != 'x')
        return all_digits(label, n);
    for (size_t i = 2; i < n; i++)
        if (!is_hex(label[i]))
            return false;
    return true;
}

/* One decimal number is no name of the Internet's, but it can be the number of a machine, as in
 * vchan://0/echo. Who looks up names turns it away. */
static bool is_machine_number(const char *host, size_t n)
{
    return all_digits(host, n) && n <= MAX_NUMBER && (n == 1 || host[0] != '0');
}

/* RFC 3986, 7.4: what some libraries take for an address and others for a name is a way to get past
 * somebody's filter. No top-level domain is a number. */
static bool check_not_almost_address(struct parse *parse, size_t n)
{
    const char *host = parse->host;
    struct in_addr address;
    if (inet_pton(AF_INET, host, &address) == 1 || is_machine_number(host, strlen(host)))
        return true;
    size_t start = n;
    while (start > 0 && host[start - 1] != '.')
        start--;
    if (!is_number(host + start, n - start))
        return true;
    return fail(parse,
                "\"%.64s\" is almost an IPv4 address: that is four decimal numbers from 0 to "
                "255, without leading zeros",
                host);
}

static bool check_label(struct parse *parse, const char *label, size_t n)
{
    if (n == 0)
        return fail(parse, label == parse->host ? "the host begins with a dot"
                                                : "the host has two dots in a row");
    if (n > MAX_LABEL)
        return fail(parse, "\"%.16s...\" in the host is longer than %d bytes", label, MAX_LABEL);
    for (size_t i = 0; i < n; i++)
        if (!is_letter(label[i]) && !is_digit(label[i]) && label[i] != '-' && label[i] != '_')
            return fail(parse, "byte 0x%02x cannot be part of a host name",
                        (unsigned char)label[i]);
    return true;
}

/* `host` is lower-cased. One trailing dot is the DNS root, and fine. */
static bool check_name(struct parse *parse)
{
    const char *host = parse->host;
    size_t n = strlen(host);
    if (n > 1 && host[n - 1] == '.')
        n--;
    if (n > MAX_NAME)
        return fail(parse, "the host is longer than %d bytes", MAX_NAME);
    for (size_t start = 0, end; start <= n; start = end + 1) {
        end = start;
        while (end < n && host[end] != '.')
            end++;
        if (!check_label(parse, host + start, end - start))
            return false;
    }
    return check_not_almost_address(parse, n);
}

/* A host that holds a '/' is the path of a socket: any case, any bytes. */
static bool read_name(struct parse *parse, struct span text)
{
    char *host = parse->host;
    decode(host, text);
    if (strchr(host, '/') != NULL)
        return true;
    for (char *c = host; *c != '\0'; c++)
        *c = lower(*c);
    if (*host == '\0' || strcmp(host, "*") == 0)
        return true;
    return check_name(parse);
}

static bool is_link_local(const unsigned char *address)
{
    return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

static bool read_ip6(struct parse *parse, const unsigned char *address)
{
    inet_ntop(AF_INET6, address, parse->host, INET6_ADDRSTRLEN);
    if (parse->n_cut == 0)
        return true;
    if (!is_link_local(address))
        return fail(parse, "the zone %%%s: only a link-local address (fe80::...) has one",
                    parse->zone);
    size_t n = strlen(parse->host);
    snprintf(parse->host + n, sizeof(parse->host) - n, "%%%s", parse->zone);
    return true;
}

static bool read_host(struct parse *parse)
{
    const UriUriA *parts = &parse->parts;
    if (parts->hostData.ip6 != NULL)
        return read_ip6(parse, parts->hostData.ip6->data);
    if (parts->hostData.ipFuture.first != NULL)
        return fail(parse, "an address of a future kind, [v...], which nobody knows yet");
    return read_name(parse, span_of(parts->hostText));
}

static bool read_port(struct parse *parse)
{
    struct span digits = span_of(parse->parts.portText);
    parse->port = digits.n > 0 ? 0 : -1;
    for (size_t i = 0; i < digits.n; i++) {
        parse->port = 10 * parse->port + (digits.at[i] - '0');
        if (parse->port > UINT16_MAX)
            return fail(parse, "the port is larger than %d", UINT16_MAX);
    }
    return true;
}

/* ---- the value */

/* uriparser has the path in segments; as it was written is what follows scheme and authority. */
static struct span find_path(const struct parse *parse)
{
    struct span authority = find_authority(parse, parse->plain);
    const char *at =
        authority.at != NULL ? authority.at + authority.n : parse->plain + parse->n_scheme + 1;
    return (struct span){at, strcspn(at, "?#")};
}

static const char *put(char **at, struct span part)
{
    char *start = *at;
    memcpy(start, part.at, part.n);
    start[part.n] = '\0';
    *at += part.n + 1;
    return start;
}

static const char *put_lower(char **at, struct span part)
{
    char *start = *at;
    put(at, part);
    for (char *c = start; *c != '\0'; c++)
        *c = lower(*c);
    return start;
}

static void append(char **at, const char *text, size_t n)
{
    memcpy(*at, text, n);
    *at += n;
}

/* An IPv6 address in brackets and without its zone. */
static const char *put_authority(char **at, const struct parse *parse)
{
    const char *host = parse->host, *start = *at;
    if (*host == '\0' || strchr(host, '/') != NULL)
        host = "localhost";
    bool address = strchr(host, ':') != NULL;
    append(at, "[", address);
    append(at, host, address ? strcspn(host, "%") : strlen(host));
    append(at, "]", address);
    if (parse->port >= 0)
        *at += snprintf(*at, sizeof(":65535"), ":%d", parse->port);
    append(at, "", 1);
    return start;
}

static conduit_uri *make(const struct parse *parse)
{
    const struct span text = {parse->text, strlen(parse->text)};
    const struct span host = {parse->host, strlen(parse->host)};
    /* The text, and parts that are never longer than it, but for a host that is an address. */
    size_t size = sizeof(conduit_uri) + 2 * text.n + 2 * host.n + 8 + sizeof("[localhost]:65535");
    conduit_uri *uri = conduit_malloc(size);
    if (uri == NULL)
        return NULL;
    atomic_init(&uri->refs, 1);
    uri->size = size;
    char *at = (char *)(uri + 1);
    uri->text = put(&at, text);
    uri->scheme = put_lower(&at, (struct span){parse->text, parse->n_scheme});
    uri->userinfo = put(&at, span_of(parse->parts.userInfo));
    uri->host = put(&at, host);
    uri->path = put(&at, find_path(parse));
    uri->query = put(&at, span_of(parse->parts.query));
    uri->fragment = put(&at, span_of(parse->parts.fragment));
    uri->authority = put_authority(&at, parse);
    uri->port = parse->port;
    return uri;
}

static bool read_text(struct parse *parse, const char *text)
{
    parse->text = text;
    return check_bytes(parse) && check_scheme(parse) && cut_zone(parse) && check_port(parse) &&
           split(parse) && read_host(parse) && read_port(parse);
}

int conduit_uri_parse(const char *text, const conduit_uri **ret, const conduit_error **reterr)
{
    struct parse parse;
    memset(&parse.parts, 0, sizeof(parse.parts));
    parse.zone[0] = parse.host[0] = '\0';
    parse.n_cut = 0;
    const conduit_uri *uri = NULL;
    bool ok = read_text(&parse, text != NULL ? text : "");
    if (ok)
        uri = make(&parse);
    uriFreeUriMembersA(&parse.parts);
    if (!ok)
        return cdt_error_give(parse.error, reterr);
    if (uri == NULL)
        return cdt_error_no_memory(reterr);
    *ret = uri;
    return 0;
}

/* The value is constant to everybody, its count is not. */
static conduit_uri *counted(const conduit_uri *uri)
{
    return (conduit_uri *)(uintptr_t)uri;
}

const conduit_uri *conduit_uri_ref(const conduit_uri *uri)
{
    if (uri != NULL)
        atomic_fetch_add_explicit(&counted(uri)->refs, 1, memory_order_relaxed);
    return uri;
}

void conduit_uri_unref(const conduit_uri *uri)
{
    if (uri == NULL || atomic_fetch_sub_explicit(&counted(uri)->refs, 1, memory_order_acq_rel) != 1)
        return;
    explicit_bzero(counted(uri), uri->size);
    conduit_free(counted(uri));
}

const char *conduit_uri_text(const conduit_uri *uri)
{
    return uri->text;
}

const char *conduit_uri_scheme(const conduit_uri *uri)
{
    return uri->scheme;
}

const char *conduit_uri_host(const conduit_uri *uri)
{
    return uri->host;
}

int conduit_uri_port(const conduit_uri *uri)
{
    return uri->port;
}

const char *conduit_uri_path(const conduit_uri *uri)
{
    return uri->path;
}

const char *conduit_uri_query(const conduit_uri *uri)
{
    return uri->query;
}

const char *conduit_uri_fragment(const conduit_uri *uri)
{
    return uri->fragment;
}

const char *conduit_uri_userinfo(const conduit_uri *uri)
{
    return uri->userinfo;
}

const char *conduit_uri_authority(const conduit_uri *uri)
{
    return uri->authority;
}

/* Of what begins with a '%'; 0: it is none, or none that may be there. */
static char decode_escape(const char *at, size_t n)
{
    if (n < 3 || !is_hex(at[1]) || !is_hex(at[2]))
        return '\0';
    return (char)(hex_value(at[1]) << 4 | hex_value(at[2]));
}

static int decode_all(const char *text, size_t n, char *buf, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++, len++) {
        char c = text[i] == '%' ? decode_escape(text + i, n - i) : text[i];
        if (c == '\0')
            return CONDUIT_EURI;
        if (len + 1 >= size)
            return CONDUIT_ELIMIT;
        i += text[i] == '%' ? 2 : 0;
        buf[len] = c;
    }
    if (len >= size || len > INT_MAX)
        return CONDUIT_ELIMIT;
    buf[len] = '\0';
    return (int)len;
}

int conduit_uri_decode(const char *text, size_t n, char *buf, size_t size)
{
    int len = decode_all(text, n, buf, size);
    if (len < 0 && size > 0)
        *buf = '\0';
    return len;
}
