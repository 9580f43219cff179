/* SPDX-License-Identifier: ISC */
/*
 * DNS answers: a packet is put together record by record, decoded, and told again as one line:
 * "OK 300 a.example > b.example: 192.0.2.1 192.0.2.2", the status, how long it holds, the names,
 * the records. Hostile ones are made of honest ones, or byte by byte.
 */
#include "../../resolvers/dns_records.h"
#include "support.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- packets */

enum { RESPONSE = 0x8180, CUT = 0x0200, CNAME = 5, SOA = 6, DNAME = 39 };
enum { NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED };
enum { QUESTIONS = 4, ANSWERS = 6, AUTHORITY = 8, ADDITIONAL = 10 };

static struct {
    uint8_t bytes[65536];
    size_t n;
} packet;

static void put(const void *bytes, size_t n)
{
    cr_assert_leq(packet.n + n, sizeof(packet.bytes));
    memcpy(packet.bytes + packet.n, bytes, n);
    packet.n += n;
}

static void put16(unsigned value)
{
    put((uint8_t[]){(uint8_t)(value >> 8), (uint8_t)value}, 2);
}

static void put32(uint32_t value)
{
    put16(value >> 16);
    put16(value & 0xffff);
}

/* "@" and an offset is a pointer to there. */
static void put_name(const char *name)
{
    while (*name != '\0' && *name != '@') {
        size_t n = strcspn(name, ".");
        put((uint8_t[]){(uint8_t)n}, 1);
        put(name, n);
        name += n + (name[n] == '.');
    }
    if (*name == '@')
        put16(0xc000 | (unsigned)atoi(name + 1));
    else
        put("", 1);
}

static void begin(unsigned flags, const char *name, int type)
{
    packet.n = 0;
    put16(0x1234);
    put16(flags);
    put("\0\1\0\0\0\0\0\0", 8);
    put_name(name);
    put16((unsigned)type);
    put16(1);
}

static size_t begin_record(int section, const char *name, int type, uint32_t ttl)
{
    if (++packet.bytes[section + 1] == 0)
        packet.bytes[section]++;
    put_name(name);
    put16((unsigned)type);
    put16(1);
    put32(ttl);
    put16(0);
    return packet.n;
}

static void end_record(size_t from)
{
    size_t n = packet.n - from;
    packet.bytes[from - 2] = (uint8_t)(n >> 8);
    packet.bytes[from - 1] = (uint8_t)n;
}

static void put_record(const char *name, int type, uint32_t ttl, const void *data, size_t n)
{
    size_t from = begin_record(ANSWERS, name, type, ttl);
    put(data, n);
    end_record(from);
}

static void put_a(const char *name, uint32_t ttl, const char *address)
{
    struct in_addr in;
    inet_pton(AF_INET, address, &in);
    put_record(name, CDT_DNS_A, ttl, &in, sizeof(in));
}

static void put_cname(const char *name, uint32_t ttl, const char *target)
{
    size_t from = begin_record(ANSWERS, name, CNAME, ttl);
    put_name(target);
    end_record(from);
}

static void put_srv(const char *name, uint32_t ttl, const char *target)
{
    size_t from = begin_record(ANSWERS, name, CDT_DNS_SRV, ttl);
    put16(1);
    put16(2);
    put16(443);
    put_name(target);
    end_record(from);
}

static void put_soa(const char *zone, uint32_t ttl, uint32_t minimum)
{
    size_t from = begin_record(AUTHORITY, zone, SOA, ttl);
    put_name("ns.example");
    put_name("hostmaster.example");
    for (int i = 0; i < 4; i++)
        put32(86400);
    put32(minimum);
    end_record(from);
}

/* ---- answers */

static const char *const statuses[] = {"OK",      "NODATA", "NXDOMAIN",  "SERVFAIL",
                                       "REFUSED", "FAILED", "TRUNCATED", "MALFORMED"};

static void tell(char *text, size_t size, const struct cdt_dns_answer *answer, int type)
{
    size_t n = (size_t)snprintf(text, size, "%s %d", statuses[answer->status], (int)answer->ttl);
    for (size_t i = 0; i <= answer->n_aliases && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s", i > 0 ? " > " : " ", answer->names[i]);
    for (size_t i = 0; i < answer->n && n < size; i++) {
        char record[CDT_NAME_SIZE + 32] = "";
        if (type == CDT_DNS_A)
            inet_ntop(AF_INET, &answer->records.a[i], record, sizeof(record));
        else if (type == CDT_DNS_AAAA)
            inet_ntop(AF_INET6, &answer->records.aaaa[i], record, sizeof(record));
        else if (type == CDT_DNS_SRV)
            snprintf(record, sizeof(record), "%d/%d/%d/%s", answer->records.srv[i].priority,
                     answer->records.srv[i].weight, answer->records.srv[i].port,
                     answer->records.srv[i].target);
        else
            snprintf(record, sizeof(record), "%d/%s/%d", answer->records.svcb[i].priority,
                     answer->records.svcb[i].target, answer->records.svcb[i].port);
        n += (size_t)snprintf(text + n, size - n, "%s%s", i > 0 ? " " : ": ", record);
    }
}

static struct cdt_dns_answer *decode(const char *name, int type)
{
    struct cdt_dns_answer *answer =
        cdt_dns_decode(packet.bytes, packet.n, name, (enum cdt_dns_type)type);
    cr_assert_not_null(answer);
    cr_assert_eq(answer->status == CDT_DNS_OK, answer->n > 0);
    cr_assert_eq(answer->status == CDT_DNS_MALFORMED, answer->why != NULL);
    cr_assert_geq(answer->ttl, 0);
    return answer;
}

static void expect(const char *name, int type, const char *story)
{
    struct cdt_dns_answer *answer = decode(name, type);
    char text[4096];
    tell(text, sizeof(text), answer, type);
    cr_expect_str_eq(text, story, "%s, not %s", text, story);
    cdt_dns_answer_unref(answer);
}

static void expect_malformed(const char *name, int type, const char *why)
{
    struct cdt_dns_answer *answer = decode(name, type);
    cr_expect_eq(answer->status, CDT_DNS_MALFORMED, "%s", why);
    if (answer->why != NULL)
        cr_expect_not_null(strstr(answer->why, why), "%s, not %s", answer->why, why);
    cdt_dns_answer_unref(answer);
}

/* ---- honest answers */

CDT_TEST(records, addresses)
{
    begin(RESPONSE, "a.example", CDT_DNS_A);
    put_a("a.example", 300, "192.0.2.1");
    put_a("A.EXAMPLE", 200, "192.0.2.2");
    put_a("@12", 400, "192.0.2.3");
    put_a("b.example", 1, "192.0.2.9");
    expect("a.example", CDT_DNS_A, "OK 200 a.example: 192.0.2.1 192.0.2.2 192.0.2.3");
    expect("A.Example.", CDT_DNS_A, "OK 200 a.example: 192.0.2.1 192.0.2.2 192.0.2.3");
    begin(RESPONSE, "a.example", CDT_DNS_AAAA);
    put_record("a.example", CDT_DNS_AAAA, 60, &in6addr_loopback, 16);
    expect("a.example", CDT_DNS_AAAA, "OK 60 a.example: ::1");
}

CDT_TEST(records, services)
{
    begin(RESPONSE, "_x._tcp.example", CDT_DNS_SRV);
    put_srv("_x._tcp.example", 60, "b.example");
    put_srv("_x._tcp.example", 60, "c.@20");
    put_srv("_x._tcp.example", 60, "");
    expect("_x._tcp.example", CDT_DNS_SRV,
           "OK 60 _x._tcp.example: 1/2/443/b.example 1/2/443/c.example 1/2/443/");
}

CDT_TEST(records, service_bindings)
{
    static const uint8_t alias[] = "\0\0\1b\7example", port[] = "\0\1\0\0\3\0\2\1\xbb";
    static const uint8_t inconsistent[] = "\0\1\0\0\2\0"; /* and a NUL: no-default-alpn alone */
    begin(RESPONSE, "a.example", CDT_DNS_HTTPS);
    put_record("a.example", CDT_DNS_HTTPS, 60, alias, sizeof(alias));
    put_record("a.example", CDT_DNS_HTTPS, 50, inconsistent, sizeof(inconsistent));
    put_record("a.example", CDT_DNS_HTTPS, 60, port, sizeof(port) - 1);
    expect("a.example", CDT_DNS_HTTPS, "OK 50 a.example: 0/b.example/0 1//443");
    begin(RESPONSE, "a.example", CDT_DNS_SVCB);
    put_record("a.example", CDT_DNS_SVCB, 50, inconsistent, sizeof(inconsistent));
    expect("a.example", CDT_DNS_SVCB, "NODATA 50 a.example");
    put_record("a.example", CDT_DNS_SVCB, 60, port, sizeof(port) - 1);
    put_record("a.example", CDT_DNS_SVCB, 60, port, sizeof(port) - 2);
    expect_malformed("a.example", CDT_DNS_SVCB, "service binding");
}

CDT_TEST(records, aliases_are_followed_in_whatever_order_they_stand)
{
    begin(RESPONSE, "a.example", CDT_DNS_A);
    put_a("c.example", 300, "192.0.2.1");
    put_cname("b.example", 20, "C.example");
    put_cname("a.example", 100, "b.example");
    put_a("a.example", 300, "192.0.2.9");
    expect("a.example", CDT_DNS_A, "OK 20 a.example > b.example > c.example: 192.0.2.1");
}

CDT_TEST(records, eight_aliases_and_no_more)
{
    for (int n = 8; n <= 9; n++) {
        char from[16] = "a0.example", to[16];
        begin(RESPONSE, from, CDT_DNS_A);
        for (int i = 1; i <= n; i++) {
            snprintf(to, sizeof(to), "a%d.example", i);
            put_cname(from, 60, to);
            memcpy(from, to, sizeof(from));
        }
        put_a(from, 60, "192.0.2.1");
        if (n == 8)
            expect("a0.example", CDT_DNS_A,
                   "OK 60 a0.example > a1.example > a2.example > a3.example > a4.example > "
                   "a5.example > a6.example > a7.example > a8.example: 192.0.2.1");
        else
            expect_malformed("a0.example", CDT_DNS_A, "too many aliases");
    }
}

CDT_TEST(records, what_a_server_says_instead)
{
    static const struct {
        int rcode;
        const char *story;
    } rows[] = {
        {NXDOMAIN, "NXDOMAIN 0 a.example"}, {SERVFAIL, "SERVFAIL 0 a.example"},
        {REFUSED, "REFUSED 0 a.example"},   {NOTIMP, "FAILED 0 a.example"},
        {FORMERR, "FAILED 0 a.example"},    {NOERROR, "NODATA 0 a.example"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(RESPONSE | (unsigned)rows[i].rcode, "a.example", CDT_DNS_A);
        expect("a.example", CDT_DNS_A, rows[i].story);
        struct cdt_dns_answer *answer = decode("a.example", CDT_DNS_A);
        cr_expect_eq(answer->rcode, rows[i].rcode);
        cdt_dns_answer_unref(answer);
    }
}

/* ---- absence (RFC 2308) */

CDT_TEST(records, absence_holds_for_the_shorter_of_the_zones_figures)
{
    static const struct {
        const char *zone;
        uint32_t ttl, minimum;
        int32_t holds;
    } rows[] = {
        {"example", 3600, 60, 60},      {"example", 30, 60, 30},
        {"a.example", 10, 10, 10},      {"", 10, 20, 10},
        {"b.example", 60, 60, 0},       {"ample", 60, 60, 0},
        {"x.a.example", 60, 60, 0},     {"example", 0x80000000, 60, 0},
        {"example", 60, 0xffffffff, 0}, {"example", 0x7fffffff, 0x7fffffff, 0x7fffffff},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (unsigned rcode = NOERROR; rcode <= NXDOMAIN; rcode += NXDOMAIN) {
            char story[64];
            begin(RESPONSE | rcode, "a.example", CDT_DNS_A);
            put_soa(rows[i].zone, rows[i].ttl, rows[i].minimum);
            snprintf(story, sizeof(story), "%s %d a.example",
                     rcode == NXDOMAIN ? "NXDOMAIN" : "NODATA", (int)rows[i].holds);
            expect("a.example", CDT_DNS_A, story);
        }
}

CDT_TEST(records, absence_at_the_end_of_aliases_is_no_longer_than_they_are)
{
    begin(RESPONSE | NXDOMAIN, "a.example", CDT_DNS_A);
    put_cname("a.example", 20, "b.test");
    put_soa("test", 60, 60);
    expect("a.example", CDT_DNS_A, "NXDOMAIN 20 a.example > b.test");
    begin(RESPONSE, "a.example", CDT_DNS_A);
    put_cname("a.example", 200, "b.test");
    put_soa("example", 5, 5);
    put_soa("test", 60, 60);
    expect("a.example", CDT_DNS_A, "NODATA 60 a.example > b.test");
}

CDT_TEST(records, a_zones_figures_that_are_cut_short_are_none)
{
    begin(RESPONSE, "a.example", CDT_DNS_A);
    size_t from = begin_record(AUTHORITY, "example", SOA, 60);
    put_name("ns.example");
    put_name("hostmaster.example");
    put32(60);
    end_record(from);
    expect("a.example", CDT_DNS_A, "NODATA 0 a.example");
}

/* ---- times (RFC 2181, section 8) */

CDT_TEST(records, times)
{
    static const struct {
        uint32_t ttl;
        int32_t holds;
    } rows[] = {{0, 0}, {1, 1}, {INT32_MAX, INT32_MAX}, {0x80000000, 0}, {UINT32_MAX, 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char story[64];
        begin(RESPONSE, "a.example", CDT_DNS_A);
        put_a("a.example", rows[i].ttl, "192.0.2.1");
        snprintf(story, sizeof(story), "OK %d a.example: 192.0.2.1", (int)rows[i].holds);
        expect("a.example", CDT_DNS_A, story);
    }
}

/* ---- hostile packets */

CDT_TEST(records, another_question)
{
    begin(RESPONSE, "a.example", CDT_DNS_A);
    put_a("a.example", 60, "192.0.2.1");
    expect_malformed("b.example", CDT_DNS_A, "another question");
    expect_malformed("a.example", CDT_DNS_AAAA, "another question");
    begin(RESPONSE, "a.example", CDT_DNS_A);
    packet.bytes[packet.n - 1] = 3; /* of class CHAOS */
    expect_malformed("a.example", CDT_DNS_A, "another question");
}

CDT_TEST(records, no_question)
{
    static const struct {
        int rcode;
        enum cdt_dns_status status;
    } rows[] = {{NOERROR, CDT_DNS_MALFORMED},
                {NXDOMAIN, CDT_DNS_MALFORMED},
                {SERVFAIL, CDT_DNS_SERVFAIL},
                {REFUSED, CDT_DNS_REFUSED}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(RESPONSE | (unsigned)rows[i].rcode, "a.example", CDT_DNS_A);
        packet.bytes[QUESTIONS + 1] = 0;
        packet.n = 12;
        struct cdt_dns_answer *answer = decode("a.example", CDT_DNS_A);
        cr_expect_eq(answer->status, rows[i].status, "row %zu", i);
        cdt_dns_answer_unref(answer);
    }
}

CDT_TEST(records, two_questions)
{
    begin(RESPONSE, "a.example", CDT_DNS_A);
    packet.bytes[QUESTIONS + 1] = 2;
    put_name("b.example");
    put16(CDT_DNS_A);
    put16(1);
    expect_malformed("a.example", CDT_DNS_A, "another question");
}

CDT_TEST(records, no_answer)
{
    begin(0x0100, "a.example", CDT_DNS_A);
    expect_malformed("a.example", CDT_DNS_A, "no answer");
    begin(RESPONSE | 0x2800, "a.example", CDT_DNS_A);
    expect_malformed("a.example", CDT_DNS_A, "no answer");
}

CDT_TEST(records, the_server_says_that_it_is_cut)
{
    begin(RESPONSE | CUT, "a.example", CDT_DNS_A);
    put_a("a.example", 60, "192.0.2.1");
    expect("a.example", CDT_DNS_A, "TRUNCATED 0 a.example");
    packet.n -= 5;
    expect("a.example", CDT_DNS_A, "TRUNCATED 0 a.example");
}

/* All that a packet may have: nothing of what is left is good for an answer. */
static void put_everything(void)
{
    begin(RESPONSE, "a.example", CDT_DNS_SRV);
    put_cname("a.example", 60, "b.@14");
    put_srv("b.example", 60, "c.@14");
    put_soa("@14", 60, 60);
}

CDT_TEST(records, cut_short_at_every_length)
{
    put_everything();
    expect("a.example", CDT_DNS_SRV, "OK 60 a.example > b.example: 1/2/443/c.example");
    while (packet.n-- > 0) {
        struct cdt_dns_answer *answer = decode("a.example", CDT_DNS_SRV);
        cr_expect_eq(answer->status, CDT_DNS_MALFORMED, "%zu bytes", packet.n);
        cr_expect_eq(answer->n, 0);
        cdt_dns_answer_unref(answer);
    }
}

CDT_TEST(records, longer_than_it_says)
{
    put_everything();
    put("", 1);
    expect_malformed("a.example", CDT_DNS_SRV, "not as long");
    packet.n = sizeof(packet.bytes);
    expect_malformed("a.example", CDT_DNS_SRV, "size");
}

/* Whatever a single byte is, there is an answer, and reading it ends. */
CDT_TEST(records, every_byte_changed)
{
    put_everything();
    for (size_t i = 0; i < packet.n; i++) {
        uint8_t kept = packet.bytes[i];
        for (int change = 1; change < 256; change++) {
            packet.bytes[i] = kept ^ (uint8_t)change;
            cdt_dns_answer_unref(decode("a.example", CDT_DNS_SRV));
        }
        packet.bytes[i] = kept;
    }
}

CDT_TEST(records, names_that_point_in_circles)
{
    begin(RESPONSE, "a.example", CDT_DNS_A);
    packet.bytes[12] = 0xc0; /* the question's name is itself */
    packet.bytes[13] = 12;
    expect_malformed("a.example", CDT_DNS_A, "");
    for (int offset = 0; offset <= 1; offset++) { /* at itself, and past the end */
        char pointer[16];
        begin(RESPONSE, "a.example", CDT_DNS_A);
        snprintf(pointer, sizeof(pointer), "@%d", (int)packet.n + 500 * offset);
        put_a(pointer, 60, "192.0.2.1");
        expect_malformed("a.example", CDT_DNS_A, "");
        begin(RESPONSE, "a.example", CDT_DNS_A);
        snprintf(pointer, sizeof(pointer), "b.@%d", (int)packet.n + 21 + 500 * offset);
        put_cname("a.example", 60, pointer);
        expect_malformed("a.example", CDT_DNS_A, "name that cannot be read");
    }
}

CDT_TEST(records, aliases_in_circles)
{
    begin(RESPONSE, "a.example", CDT_DNS_A);
    put_cname("a.example", 60, "a.example");
    expect_malformed("a.example", CDT_DNS_A, "circle");
    begin(RESPONSE, "a.example", CDT_DNS_A);
    put_cname("a.example", 60, "b.example");
    put_cname("b.example", 60, "c.example");
    put_cname("c.example", 60, "B.EXAMPLE");
    expect_malformed("a.example", CDT_DNS_A, "circle");
}

CDT_TEST(records, the_root_is_a_name)
{
    begin(RESPONSE, "a.example", CDT_DNS_A);
    put_a("", 60, "192.0.2.9");
    put_cname("a.example", 60, "");
    expect("a.example", CDT_DNS_A, "OK 60 a.example > : 192.0.2.9");
}

CDT_TEST(records, names_that_no_host_can_have)
{
    begin(RESPONSE, "a.example", CDT_DNS_SRV);
    size_t from = begin_record(ANSWERS, "a.example", CDT_DNS_SRV, 60);
    put("\0\1\0\1\0\1\3a\0b", 11);
    end_record(from);
    expect_malformed("a.example", CDT_DNS_SRV, "no host");
    begin(RESPONSE, "a.example", CDT_DNS_A);
    put_a("a.b\\c", 60, "192.0.2.1");
    put_a("a.example", 60, "192.0.2.2");
    expect("a.example", CDT_DNS_A, "OK 60 a.example: 192.0.2.2");
}

CDT_TEST(records, data_of_the_wrong_size)
{
    static const struct {
        int type;
        const char *data;
        size_t n;
    } rows[] = {
        {CDT_DNS_A, "", 0},
        {CDT_DNS_A, "\300\0\2", 3},
        {CDT_DNS_A, "\300\0\2\1", 5},
        {CDT_DNS_AAAA, "\300\0\2\1", 4},
        {CDT_DNS_SRV, "", 0},
        {CDT_DNS_SRV, "\0\1\0\1\0\1", 6},
        {CDT_DNS_SRV, "\0\1\0\1\0\1\0\0", 8},
        {CDT_DNS_SVCB, "", 0},
        {CDT_DNS_HTTPS, "\0", 2},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(RESPONSE, "a.example", rows[i].type);
        put_record("a.example", rows[i].type, 60, rows[i].data, rows[i].n);
        expect_malformed("a.example", rows[i].type, "");
    }
    begin(RESPONSE, "a.example", CDT_DNS_A);
    put_record("a.example", CNAME, 60, "", 0);
    expect_malformed("a.example", CDT_DNS_A, "too short");
}

CDT_TEST(records, two_hundred_answers)
{
    begin(RESPONSE, "a.example", CDT_DNS_A);
    for (int i = 0; i < 200; i++)
        put_a("@12", 60, "192.0.2.1");
    struct cdt_dns_answer *answer = decode("a.example", CDT_DNS_A);
    cr_expect_eq(answer->n, CDT_DNS_RECORDS);
    cdt_dns_answer_unref(answer);
}

CDT_TEST(records, as_many_answers_as_a_packet_holds)
{
    begin(RESPONSE, "a.example", CDT_DNS_A);
    put_cname("@12", 60, "b.example");
    while (packet.n < 65000)
        put_a("@12", 60, "192.0.2.1");
    put_a("b.example", 60, "192.0.2.1");
    expect("a.example", CDT_DNS_A, "NODATA 0 a.example > b.example");
}

CDT_TEST(records, more_answers_than_there_are)
{
    begin(RESPONSE, "a.example", CDT_DNS_A);
    put_a("a.example", 60, "192.0.2.1");
    packet.bytes[ANSWERS] = 0xff;
    expect_malformed("a.example", CDT_DNS_A, "not as long");
}

CDT_TEST(records, what_is_of_another_class_or_elsewhere_does_not_count)
{
    begin(RESPONSE, "a.example", CDT_DNS_A);
    put_a("a.example", 60, "192.0.2.1");
    packet.bytes[packet.n - 11] = 3; /* CHAOS */
    size_t from = begin_record(ADDITIONAL, "a.example", CDT_DNS_A, 60);
    put("\300\0\2\1", 4);
    end_record(from);
    expect("a.example", CDT_DNS_A, "NODATA 0 a.example");
    begin(RESPONSE, "a.example", CDT_DNS_A);
    put_record("example", DNAME, 60, "\1b", 3);
    expect("a.example", CDT_DNS_A, "NODATA 0 a.example");
}

CDT_TEST(records, tlsa_and_whether_it_is_authentic)
{
    enum { AUTHENTIC = 0x20 };
    for (unsigned flag = 0; flag <= AUTHENTIC; flag += AUTHENTIC) {
        begin(RESPONSE | flag, "_443._tcp.a.example", CDT_DNS_TLSA);
        put_record("@12", CDT_DNS_TLSA, 60, "\3\1\1\xab\xcd", 5);
        put_record("@12", CDT_DNS_TLSA, 90, "\2\0\0x", 4);
        struct cdt_dns_answer *answer = decode("_443._tcp.a.example", CDT_DNS_TLSA);
        cr_assert_eq(answer->n, 2);
        const struct cdt_tlsa *tlsa = answer->records.tlsa;
        memset(packet.bytes, 0, sizeof(packet.bytes)); /* what it keeps is its own */
        cr_expect(tlsa[0].usage == 3 && tlsa[0].selector == 1 && tlsa[0].type == 1);
        cr_expect(tlsa[0].data.n == 2 && memcmp(tlsa[0].data.at, "\xab\xcd", 2) == 0);
        cr_expect(tlsa[1].usage == 2 && tlsa[1].data.n == 1 && *tlsa[1].data.at == 'x');
        cr_expect_eq(answer->authentic, flag != 0);
        cr_expect_eq(answer->ttl, 60);
        cdt_dns_answer_unref(answer);
    }
    begin(RESPONSE, "a.example", CDT_DNS_TLSA);
    put_record("@12", CDT_DNS_TLSA, 60, "\3\1\1", 3);
    expect_malformed("a.example", CDT_DNS_TLSA, "too short");
}
