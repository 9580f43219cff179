/* SPDX-License-Identifier: ISC */
/*
 * SVCB records: the test vectors of RFC 9460, appendix D, as the bytes they stand for, and what a
 * client chooses. A record is written in hexadecimal, with names between quotes.
 */
#include "../../resolvers/svcb.h"
#include "support.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- records from text */

enum { MOST = 512 };

struct data {
    uint8_t bytes[MOST];
    size_t n;
};

/* "foo.example.com" */
static const char *put_name(struct data *data, const char *text)
{
    while (*text != '"') {
        size_t n = strcspn(text, ".\"");
        data->bytes[data->n++] = (uint8_t)n;
        memcpy(data->bytes + data->n, text, n);
        data->n += n;
        text += n + (text[n] == '.');
    }
    data->bytes[data->n++] = 0;
    return text + 1;
}

/* 0001 "example.com" 0003 0002 0035, and 'text' for the bytes of a text. */
static struct data read_data(const char *text)
{
    struct data data = {.n = 0};
    while (*text != '\0') {
        if (*text == '"') {
            text = put_name(&data, text + 1);
        } else if (*text == '\'') {
            for (text++; *text != '\''; text++)
                data.bytes[data.n++] = (uint8_t)*text;
            text++;
        } else if (isxdigit((unsigned char)*text)) {
            char two[3] = {text[0], text[1], '\0'};
            data.bytes[data.n++] = (uint8_t)strtoul(two, NULL, 16);
            text += 2;
        } else {
            text++;
        }
    }
    return data;
}

/* A record in memory of exactly its size, so that a sanitizer sees who reads past its end. */
struct record {
    struct cdt_svcb svcb;
    enum cdt_svcb_fitness fitness;
    uint8_t *bytes;
};

static struct record read_record(const char *text, size_t n)
{
    struct data data = read_data(text);
    struct record record = {.bytes = malloc(MOST)};
    n = n < data.n ? n : data.n;
    cr_assert_not_null(record.bytes);
    memcpy(record.bytes, data.bytes, n);
    record.bytes = realloc(record.bytes, n > 0 ? n : 1);
    record.fitness = cdt_svcb_parse(&record.svcb, record.bytes, n);
    return record;
}

static bool are(struct cdt_bytes bytes, const char *text)
{
    struct data data = read_data(text);
    return bytes.n == data.n && (data.n == 0 || memcmp(bytes.at, data.bytes, data.n) == 0);
}

/* ---- appendix D */

static const struct {
    const char *data, *target, *mandatory, *alpn, *ipv4hint, *ipv6hint, *params;
    int priority, port; /* -1: none */
} vectors[] = {
    /* D.1, an alias */
    {"0000 \"foo.example.com\"", "foo.example.com", "", "", "", "", "", 0, -1},
    /* D.2, services: "." is the owner's name */
    {"0001 \"\"", "", "", "", "", "", "", 1, -1},
    /* a port */
    {"0010 \"foo.example.com\" 0003 0002 0035", "foo.example.com", "", "", "", "", "0003 0002 0035",
     16, 53},
    /* a key that is not known, its value without and with quotes */
    {"0001 \"foo.example.com\" 029b 0005 'hello'", "foo.example.com", "", "", "", "",
     "029b 0005 'hello'", 1, -1},
    {"0001 \"foo.example.com\" 029b 0009 'hello' d2 'qoo'", "foo.example.com", "", "", "", "",
     "029b 0009 'hello' d2 'qoo'", 1, -1},
    /* two IPv6 hints */
    {"0001 \"foo.example.com\" 0006 0020 20010db8000000000000000000000001"
     "20010db8000000000000000000530001",
     "foo.example.com", "", "", "",
     "20010db8000000000000000000000001 20010db8000000000000000000530001",
     "0006 0020 20010db8000000000000000000000001 20010db8000000000000000000530001", 1, -1},
    /* an IPv6 hint written with an embedded IPv4 address */
    {"0001 \"example.com\" 0006 0010 20010db80122034400000000c0000221", "example.com", "", "", "",
     "20010db80122034400000000c0000221", "0006 0010 20010db80122034400000000c0000221", 1, -1},
    /* keys that were not in order in their text are so in the packet */
    {"0010 \"foo.example.org\" 0000 0004 0001 0004 0001 0009 02 'h2' 05 'h3-19'"
     "0004 0004 c0000201",
     "foo.example.org", "0001 0004", "02 'h2' 05 'h3-19'", "c0000201", "",
     "0000 0004 0001 0004 0001 0009 02 'h2' 05 'h3-19' 0004 0004 c0000201", 16, -1},
    /* a protocol's name with a comma and a backslash */
    {"0010 \"foo.example.org\" 0001 000c 08 'f\\oo,bar' 02 'h2'", "foo.example.org", "",
     "08 'f\\oo,bar' 02 'h2'", "", "", "0001 000c 08 'f\\oo,bar' 02 'h2'", 16, -1},
};

CDT_TEST(svcb, the_vectors_of_rfc_9460)
{
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        struct record record = read_record(vectors[i].data, MOST);
        const struct cdt_svcb *svcb = &record.svcb;
        cr_expect_eq(record.fitness, CDT_SVCB_FIT, "row %zu", i);
        cr_expect_eq(svcb->priority, vectors[i].priority, "row %zu", i);
        cr_expect_str_eq(svcb->target, vectors[i].target, "row %zu", i);
        cr_expect_eq(svcb->has_port ? svcb->port : -1, vectors[i].port, "row %zu", i);
        cr_expect(are(svcb->mandatory, vectors[i].mandatory), "row %zu: mandatory", i);
        cr_expect(are(svcb->alpn, vectors[i].alpn), "row %zu: alpn", i);
        cr_expect(are(svcb->ipv4hint, vectors[i].ipv4hint), "row %zu: ipv4hint", i);
        cr_expect(are(svcb->ipv6hint, vectors[i].ipv6hint), "row %zu: ipv6hint", i);
        cr_expect(are(svcb->params, vectors[i].params), "row %zu: all of them", i);
        free(record.bytes);
    }
}

/* D.3 gives these as text. As bytes they are: */
CDT_TEST(svcb, the_failures_of_rfc_9460)
{
    static const struct {
        const char *says, *data;
        enum cdt_svcb_fitness fitness;
    } rows[] = {
        {"several of the same key", "0001 \"foo.example.com\" 007b 0003 'abc' 007b 0003 'def'",
         CDT_SVCB_MALFORMED},
        {"mandatory without a value", "0001 \"foo.example.com\" 0000 0000", CDT_SVCB_MALFORMED},
        {"alpn without a value", "0001 \"foo.example.com\" 0001 0000", CDT_SVCB_MALFORMED},
        {"port without a value", "0001 \"foo.example.com\" 0003 0000", CDT_SVCB_MALFORMED},
        {"ipv4hint without a value", "0001 \"foo.example.com\" 0004 0000", CDT_SVCB_MALFORMED},
        {"ipv6hint without a value", "0001 \"foo.example.com\" 0006 0000", CDT_SVCB_MALFORMED},
        {"no-default-alpn with a value", "0001 \"foo.example.com\" 0002 0003 'abc'",
         CDT_SVCB_MALFORMED},
        {"a mandatory key is missing", "0001 \"foo.example.com\" 0000 0002 007b",
         CDT_SVCB_INCONSISTENT},
        {"mandatory is mandatory", "0001 \"foo.example.com\" 0000 0002 0000", CDT_SVCB_MALFORMED},
        {"twice mandatory", "0001 \"foo.example.com\" 0000 0004 007b 007b 007b 0003 'abc'",
         CDT_SVCB_MALFORMED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct record record = read_record(rows[i].data, MOST);
        cr_expect_eq(record.fitness, rows[i].fitness, "%s", rows[i].says);
        free(record.bytes);
    }
}

/* ---- what else may be wrong */

CDT_TEST(svcb, other_failures)
{
    static const struct {
        const char *says, *data;
        enum cdt_svcb_fitness fitness;
    } rows[] = {
        {"nothing", "", CDT_SVCB_MALFORMED},
        {"no target", "0001", CDT_SVCB_MALFORMED},
        {"a target without an end", "0001 03 'foo'", CDT_SVCB_MALFORMED},
        {"a compressed target", "0001 c000", CDT_SVCB_MALFORMED},
        {"a target compressed to what follows it", "0001 c002 0003 0002 0035", CDT_SVCB_MALFORMED},
        {"a target compressed after a label", "0001 03 'foo' c002", CDT_SVCB_MALFORMED},
        {"a target no host can have", "0001 03 'f' 00 'o' 00", CDT_SVCB_MALFORMED},
        {"half a key", "0001 00 00", CDT_SVCB_MALFORMED},
        {"no length", "0001 00 0003", CDT_SVCB_MALFORMED},
        {"longer than the record", "0001 00 0003 0003 0035", CDT_SVCB_MALFORMED},
        {"keys that descend", "0001 00 0004 0004 c0000201 0003 0002 0035", CDT_SVCB_MALFORMED},
        {"a port of three bytes", "0001 00 0003 0003 000035", CDT_SVCB_MALFORMED},
        {"a port of one byte", "0001 00 0003 0001 35", CDT_SVCB_MALFORMED},
        {"half an IPv4 address", "0001 00 0004 0006 c0000201 c000", CDT_SVCB_MALFORMED},
        {"half an IPv6 address", "0001 00 0006 0008 20010db800000000", CDT_SVCB_MALFORMED},
        {"a protocol without a name", "0001 00 0001 0004 02 'h2' 00", CDT_SVCB_MALFORMED},
        {"a protocol cut short", "0001 00 0001 0003 03 'h2'", CDT_SVCB_MALFORMED},
        {"half a mandatory key", "0001 00 0000 0003 000100", CDT_SVCB_MALFORMED},
        {"mandatory keys that descend",
         "0001 00 0000 0004 0003 0001 0001 0003 02 'h2' 0003 0002 0035", CDT_SVCB_MALFORMED},
        {"no default and no other", "0001 00 0002 0000", CDT_SVCB_INCONSISTENT},
        {"no default but another", "0001 00 0001 0003 02 'h2' 0002 0000", CDT_SVCB_FIT},
        {"an unknown key without a value", "0001 00 029b 0000", CDT_SVCB_FIT},
        {"the last key there is", "0001 00 ffff 0000", CDT_SVCB_FIT},
        {"an alias whose parameters are ignored", "0000 00 0003 0003 0035", CDT_SVCB_FIT},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct record record = read_record(rows[i].data, MOST);
        cr_expect_eq(record.fitness, rows[i].fitness, "%s", rows[i].says);
        free(record.bytes);
    }
}

/* Where a parameter ends the record may end, too. */
CDT_TEST(svcb, cut_short_at_every_length)
{
    const char *text = vectors[7].data;
    size_t whole = read_data(text).n;
    for (size_t n = 0; n < whole; n++) {
        struct record record = read_record(text, n);
        bool may_end = n == 19 || n == 27 || n == 40;
        cr_expect_eq(record.fitness == CDT_SVCB_MALFORMED, !may_end, "%zu bytes", n);
        free(record.bytes);
    }
}

CDT_TEST(svcb, more_hints_than_are_wanted_are_left_out)
{
    char text[MOST * 2] = "0001 00 0004 0080 ";
    for (int i = 0; i < 32; i++)
        strcat(text, "c0000201");
    struct record record = read_record(text, MOST);
    cr_expect_eq(record.fitness, CDT_SVCB_FIT);
    cr_expect_eq(record.svcb.ipv4hint.n, 4 * CDT_SVC_HINTS);
    free(record.bytes);
}

CDT_TEST(svcb, a_name_is_folded)
{
    struct record record = read_record("0001 \"Foo.EXAMPLE\"", MOST);
    cr_expect_str_eq(record.svcb.target, "foo.example");
    free(record.bytes);
}

/* ---- the choice */

static uint32_t first(void *user, uint32_t bound)
{
    return 0;
}

static uint32_t last(void *user, uint32_t bound)
{
    return bound - 1;
}

enum { MOST_RECORDS = 5 };

/* What is chosen, by the first letters of the targets. */
static void expect_choice(const char *says, const char *const *data,
                          const struct cdt_svcb_client *client, cdt_random_fn random,
                          const char *wanted)
{
    struct cdt_svcb list[MOST_RECORDS];
    uint8_t *bytes[MOST_RECORDS];
    char chosen[MOST_RECORDS + 1] = "";
    size_t n = 0;
    for (; n < MOST_RECORDS && data[n] != NULL; n++) {
        struct record record = read_record(data[n], MOST);
        cr_assert_eq(record.fitness, CDT_SVCB_FIT, "%s: %s", says, data[n]);
        list[n] = record.svcb;
        bytes[n] = record.bytes;
    }
    size_t n_chosen = cdt_svcb_choose(list, n, client, random, NULL);
    for (size_t i = 0; i < n_chosen; i++)
        chosen[i] = *list[i].target;
    cr_expect_str_eq(chosen, wanted, "%s: %s, not %s", says, chosen, wanted);
    for (size_t i = 0; i < n; i++)
        free(bytes[i]);
}

CDT_TEST(svcb, the_choice)
{
    static const uint8_t h2_and_h1[] = "\x02h2\x08http/1.1", h2_alone[] = "\x02h2";
    static const struct cdt_svcb_client both = {{h2_and_h1, 12}, "http/1.1"};
    static const struct cdt_svcb_client h2 = {{h2_alone, 3}, "http/1.1"};
    static const struct cdt_svcb_client plain = {{NULL, 0}, "http/1.1"};
    static const struct cdt_svcb_client other = {{NULL, 0}, NULL};
    static const struct {
        const char *says;
        const char *data[MOST_RECORDS];
        const struct cdt_svcb_client *client;
        const char *chosen;
    } rows[] = {
        {"nothing", {NULL}, &both, ""},
        {"priorities", {"0003 \"c\"", "0001 \"a\"", "0002 \"b\""}, &both, "abc"},
        {"an alias before all", {"0001 \"a\"", "0000 \"z\"", "0002 \"b\""}, &both, "z"},
        {"an alias to nowhere", {"0001 \"a\"", "0000 \"\""}, &both, ""},
        {"a common protocol",
         {"0001 \"a\" 0001 0003 02 'h3' 0002 0000", "0002 \"b\" 0001 0003 02 'h2' 0002 0000"},
         &both,
         "b"},
        {"the default is common", {"0001 \"a\" 0001 0003 02 'h3'"}, &both, "a"},
        {"the default is not wanted", {"0001 \"a\"", "0002 \"b\" 0001 0003 02 'h2'"}, &h2, "b"},
        {"the default alone",
         {"0001 \"a\" 0001 0003 02 'h2' 0002 0000", "0002 \"b\" 0001 0003 02 'h2'", "0003 \"c\""},
         &plain,
         "bc"},
        {"no default at all",
         {"0001 \"a\"", "0002 \"b\" 0001 0003 02 'h2' 0002 0000"},
         &other,
         "a"},
        {"more than is known is demanded",
         {"0001 \"a\" 0000 0002 029b 029b 0000", "0002 \"b\" 029b 0000",
          "0003 \"c\" 0000 0002 0003 0003 0002 0035", "0004 \"d\" 0000 0002 0005 0005 0001 00"},
         &both,
         "bc"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        expect_choice(rows[i].says, rows[i].data, rows[i].client, first, rows[i].chosen);
        expect_choice(rows[i].says, rows[i].data, rows[i].client, last, rows[i].chosen);
    }
}

static uint32_t draw(void *user, uint32_t bound)
{
    uint64_t *state = user;
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)((*state >> 32) * bound >> 32);
}

/* Chi squared with 5 degrees of freedom: above 20.5 once in a thousand times, and the draws are
 * always the same. */
CDT_TEST(svcb, equals_come_in_every_order_alike)
{
    enum { ROUNDS = 60000, ORDERS = 6 };
    int counts[3][3] = {{0}};
    uint64_t state = 1;
    static const struct cdt_svcb_client client = {{NULL, 0}, NULL};
    for (int i = 0; i < ROUNDS; i++) {
        struct cdt_svcb list[3] = {{.priority = 1, .target = "a"},
                                   {.priority = 1, .target = "b"},
                                   {.priority = 1, .target = "c"}};
        cr_assert_eq(cdt_svcb_choose(list, 3, &client, draw, &state), 3);
        counts[list[0].target[0] - 'a'][list[1].target[0] - 'a']++;
    }
    double expected = ROUNDS / (double)ORDERS, chi = 0;
    for (int i = 0; i < 9; i++) {
        double off = counts[i / 3][i % 3] - expected;
        chi += i / 3 == i % 3 ? 0 : off * off / expected;
    }
    cr_expect_lt(chi, 20.5, "chi squared is %f", chi);
}
