/* SPDX-License-Identifier: ISC */
/*
 * Reading DNS answers: dns_records.h says what comes out.
 *
 *   read_packet   is it a packet, and an answer to our question?
 *   read_rcode    what does the server say of it?
 *   follow        from alias to alias, in whatever order they stand
 *   take_all      the records of the last name
 *   read_absence  or for how long there are none (RFC 2308)
 *
 * The packet is taken apart by the C library's ns_ functions; what they hand out has been checked
 * against the packet's end, and names against loops. A reader that returns false has said why.
 */
#include "dns_records.h"
#include <arpa/nameser.h>
#include <conduit/memory.h>

enum { MOST_SCANNED = 512, MOST_SIZE = NS_MAXMSG };

struct reader {
    struct cdt_dns_answer *answer;
    enum cdt_dns_type type;
    size_t room; /* for records */
    bool short_of_memory;
    ns_msg message;
};

static bool malformed(struct reader *reader, const char *why)
{
    reader->answer->status = CDT_DNS_MALFORMED;
    reader->answer->why = why;
    return false;
}

static const char *owner(const struct cdt_dns_answer *answer)
{
    return answer->names[answer->n_aliases];
}

/* More than 31 bits count as 0 (RFC 2181, section 8). */
static void bound_ttl(struct cdt_dns_answer *answer, uint32_t ttl)
{
    if (ttl > INT32_MAX)
        ttl = 0;
    if ((int32_t)ttl < answer->ttl)
        answer->ttl = (int32_t)ttl;
}

/* ---- the packet */

static bool is_our_question(struct reader *reader)
{
    char name[CDT_NAME_SIZE];
    ns_rr question;
    return ns_msg_count(reader->message, ns_s_qd) == 1 &&
           ns_parserr(&reader->message, ns_s_qd, 0, &question) == 0 &&
           (int)ns_rr_type(question) == (int)reader->type && ns_rr_class(question) == ns_c_in &&
           cdt_dns_name(ns_rr_name(question), name) && strcmp(name, owner(reader->answer)) == 0;
}

/* A server that could not read a question need not repeat it. */
static bool may_lack_question(struct reader *reader)
{
    int rcode = ns_msg_getflag(reader->message, ns_f_rcode);
    return rcode != ns_r_noerror && rcode != ns_r_nxdomain &&
           ns_msg_count(reader->message, ns_s_qd) == 0;
}

static bool read_packet(struct reader *reader, size_t size)
{
    struct cdt_dns_answer *answer = reader->answer;
    if (size < NS_HFIXEDSZ || size > MOST_SIZE)
        return malformed(reader, "no DNS packet has this size");
    bool truncated = (answer->packet[2] & 0x02) != 0;
    bool parsed = ns_initparse(answer->packet, (int)size, &reader->message) == 0;
    if (!parsed && !truncated)
        return malformed(reader, "its parts are not as long as it says");
    if (parsed && (ns_msg_getflag(reader->message, ns_f_qr) == 0 ||
                   ns_msg_getflag(reader->message, ns_f_opcode) != ns_o_query))
        return malformed(reader, "it is no answer");
    if (parsed && !is_our_question(reader) && !may_lack_question(reader))
        return malformed(reader, "it answers another question");
    if (truncated)
        answer->status = CDT_DNS_TRUNCATED;
    return !truncated;
}

/* True if there is more to read. */
static bool read_rcode(struct reader *reader)
{
    struct cdt_dns_answer *answer = reader->answer;
    answer->rcode = ns_msg_getflag(reader->message, ns_f_rcode);
    switch (answer->rcode) {
    case ns_r_noerror:
        answer->status = CDT_DNS_OK;
        return true;
    case ns_r_nxdomain:
        answer->status = CDT_DNS_NXDOMAIN;
        return true;
    case ns_r_servfail:
        answer->status = CDT_DNS_SERVFAIL;
        return false;
    case ns_r_refused:
        answer->status = CDT_DNS_REFUSED;
        return false;
    default:
        answer->status = CDT_DNS_FAILED;
        return false;
    }
}

/* ---- records, one after the other */

/* The next of a section from *at on that is of this type and has a name: 1, 0 if there is none, -1
 * if one cannot be read. */
static int find(struct reader *reader, ns_sect section, int type, int *at, ns_rr *record,
                char name[CDT_NAME_SIZE])
{
    int n = ns_msg_count(reader->message, section);
    for (; *at < n && *at < MOST_SCANNED; ++*at) {
        if (ns_parserr(&reader->message, section, *at, record) < 0) {
            malformed(reader, "a record cannot be read");
            return -1;
        }
        if ((int)ns_rr_type(*record) != type || ns_rr_class(*record) != ns_c_in ||
            !cdt_dns_name(ns_rr_name(*record), name))
            continue;
        ++*at;
        return 1;
    }
    return 0;
}

/* ... and belongs to the last of the names. */
static int find_owned(struct reader *reader, int type, int *at, ns_rr *record)
{
    char name[CDT_NAME_SIZE];
    int found;
    while ((found = find(reader, ns_s_an, type, at, record, name)) > 0)
        if (strcmp(name, owner(reader->answer)) == 0)
            break;
    return found;
}

/* A name in a record's data, from `from` to the very end of the data. */
static bool take_name(struct reader *reader, const ns_rr *record, size_t from,
                      char name[CDT_NAME_SIZE])
{
    char text[NS_MAXDNAME];
    if (from >= ns_rr_rdlen(*record))
        return malformed(reader, "a record is too short for its type");
    int n = ns_name_uncompress(ns_msg_base(reader->message), ns_msg_end(reader->message),
                               ns_rr_rdata(*record) + from, text, sizeof(text));
    if (n < 0 || from + (size_t)n != ns_rr_rdlen(*record))
        return malformed(reader, "a record has a name that cannot be read");
    if (!cdt_dns_name(text, name))
        return malformed(reader, "a record has a name that no host can have");
    return true;
}

/* ---- aliases */

static bool is_known(const struct cdt_dns_answer *answer, const char *name)
{
    for (size_t i = 0; i <= answer->n_aliases; i++)
        if (strcmp(answer->names[i], name) == 0)
            return true;
    return false;
}

static bool follow_one(struct reader *reader, const ns_rr *record)
{
    struct cdt_dns_answer *answer = reader->answer;
    char name[CDT_NAME_SIZE];
    if (!take_name(reader, record, 0, name))
        return false;
    if (is_known(answer, name))
        return malformed(reader, "its aliases go round in a circle");
    if (answer->n_aliases == CDT_DNS_ALIASES)
        return malformed(reader, "it has too many aliases in a row");
    char *copy = conduit_strdup(name);
    if (copy == NULL) {
        reader->short_of_memory = true;
        return false;
    }
    answer->names[++answer->n_aliases] = copy;
    bound_ttl(answer, ns_rr_ttl(*record));
    return true;
}

static bool follow(struct reader *reader)
{
    ns_rr record;
    for (;;) {
        int at = 0;
        int found = find_owned(reader, ns_t_cname, &at, &record);
        if (found <= 0)
            return found == 0;
        if (!follow_one(reader, &record))
            return false;
    }
}

/* ---- the records in question */

static size_t size_of(enum cdt_dns_type type)
{
    switch (type) {
    case CDT_DNS_A:
        return sizeof(struct in_addr);
    case CDT_DNS_AAAA:
        return sizeof(struct in6_addr);
    case CDT_DNS_SRV:
        return sizeof(struct cdt_srv);
    default:
        return sizeof(struct cdt_svcb);
    }
}

static bool take_address(struct reader *reader, const ns_rr *record)
{
    struct cdt_dns_answer *answer = reader->answer;
    size_t size = size_of(reader->type);
    if (ns_rr_rdlen(*record) != size)
        return malformed(reader, "an address has the wrong size");
    memcpy((uint8_t *)answer->records.any + answer->n++ * size, ns_rr_rdata(*record), size);
    return true;
}

static bool take_srv(struct reader *reader, const ns_rr *record)
{
    enum { FIXED = 6 };
    struct cdt_srv *srv = &reader->answer->records.srv[reader->answer->n];
    const uint8_t *data = ns_rr_rdata(*record);
    if (!take_name(reader, record, FIXED, srv->target))
        return false;
    srv->priority = (uint16_t)ns_get16(data);
    srv->weight = (uint16_t)ns_get16(data + 2);
    srv->port = (uint16_t)ns_get16(data + 4);
    reader->answer->n++;
    return true;
}

static bool take_svcb(struct reader *reader, const ns_rr *record)
{
    struct cdt_svcb *svcb = &reader->answer->records.svcb[reader->answer->n];
    switch (cdt_svcb_parse(svcb, ns_rr_rdata(*record), ns_rr_rdlen(*record))) {
    case CDT_SVCB_MALFORMED:
        return malformed(reader, "a service binding is malformed");
    case CDT_SVCB_FIT:
        reader->answer->n++;
        return true;
    default:
        return true;
    }
}

static bool take_one(struct reader *reader, const ns_rr *record)
{
    bound_ttl(reader->answer, ns_rr_ttl(*record));
    switch (reader->type) {
    case CDT_DNS_A:
    case CDT_DNS_AAAA:
        return take_address(reader, record);
    case CDT_DNS_SRV:
        return take_srv(reader, record);
    default:
        return take_svcb(reader, record);
    }
}

/* True if there were any, be they of use or not. */
static bool take_all(struct reader *reader)
{
    ns_rr record;
    bool any = false;
    int at = 0;
    while (reader->answer->n < reader->room) {
        if (find_owned(reader, (int)reader->type, &at, &record) <= 0 || !take_one(reader, &record))
            break;
        any = true;
    }
    return any;
}

/* ---- nothing */

static bool is_within(const char *name, const char *zone)
{
    size_t n = strlen(name), n_zone = strlen(zone);
    if (n_zone == 0)
        return true;
    return n >= n_zone && strcmp(name + n - n_zone, zone) == 0 &&
           (n == n_zone || name[n - n_zone - 1] == '.');
}

/* The last of the five figures that follow two names. */
static bool read_minimum(const ns_rr *record, uint32_t *ret)
{
    enum { FIGURES = 20, BEFORE = 16 };
    const uint8_t *at = ns_rr_rdata(*record), *end = at + ns_rr_rdlen(*record);
    for (int i = 0; i < 2; i++)
        if (ns_name_skip(&at, end) < 0)
            return false;
    if (end - at != FIGURES)
        return false;
    *ret = (uint32_t)ns_get32(at + BEFORE);
    return true;
}

/* Without the zone's word it is not to be kept (RFC 2308, section 5). */
static void read_absence(struct reader *reader)
{
    struct cdt_dns_answer *answer = reader->answer;
    char zone[CDT_NAME_SIZE];
    uint32_t minimum;
    ns_rr record;
    int at = 0;
    while (find(reader, ns_s_ns, ns_t_soa, &at, &record, zone) > 0) {
        if (!is_within(owner(answer), zone) || !read_minimum(&record, &minimum))
            continue;
        bound_ttl(answer, ns_rr_ttl(record));
        bound_ttl(answer, minimum);
        return;
    }
    answer->ttl = 0;
}

/* ---- an answer */

static void read_answer(struct reader *reader, size_t size)
{
    struct cdt_dns_answer *answer = reader->answer;
    if (!read_packet(reader, size) || !read_rcode(reader) || !follow(reader))
        return;
    bool any = answer->status == CDT_DNS_OK && take_all(reader);
    if (answer->status == CDT_DNS_OK && answer->n == 0)
        answer->status = CDT_DNS_NODATA;
    if (!any && answer->status != CDT_DNS_MALFORMED)
        read_absence(reader);
}

static struct cdt_dns_answer *make(const uint8_t *packet, size_t size, const char *name)
{
    char folded[CDT_NAME_SIZE];
    size_t kept = size <= MOST_SIZE ? size : 0;
    struct cdt_dns_answer *answer = conduit_calloc(1, sizeof(*answer) + kept);
    if (answer == NULL)
        return NULL;
    if (kept > 0)
        memcpy(answer->packet, packet, kept);
    answer->refs = 1;
    answer->ttl = INT32_MAX;
    cdt_fold_name(name, strlen(name), folded);
    answer->names[0] = conduit_strdup(folded);
    if (answer->names[0] == NULL) {
        cdt_dns_answer_unref(answer);
        return NULL;
    }
    return answer;
}

/* As many as the packet says that it has, within reason. */
static bool make_room(struct reader *reader, size_t size)
{
    const uint8_t *packet = reader->answer->packet;
    size_t n = size < NS_HFIXEDSZ || size > MOST_SIZE ? 0 : (size_t)(packet[6] << 8 | packet[7]);
    reader->room = n < CDT_DNS_RECORDS ? n : CDT_DNS_RECORDS;
    reader->answer->records.any = conduit_calloc(reader->room + 1, size_of(reader->type));
    return reader->answer->records.any != NULL;
}

struct cdt_dns_answer *cdt_dns_decode(const uint8_t *packet, size_t size, const char *name,
                                      enum cdt_dns_type type)
{
    struct cdt_dns_answer *answer = make(packet, size, name);
    struct reader reader = {.answer = answer, .type = type};
    if (answer == NULL || !make_room(&reader, size)) {
        cdt_dns_answer_unref(answer);
        return NULL;
    }
    read_answer(&reader, size);
    if (reader.short_of_memory) {
        cdt_dns_answer_unref(answer);
        return NULL;
    }
    if (answer->status != CDT_DNS_OK)
        answer->n = 0;
    if (answer->status > CDT_DNS_NXDOMAIN)
        answer->ttl = 0;
    return answer;
}

/* An answer is const to its holders, and its count and memory are ours. */
static struct cdt_dns_answer *own(const struct cdt_dns_answer *answer)
{
    return (struct cdt_dns_answer *)(uintptr_t)answer;
}

const struct cdt_dns_answer *cdt_dns_answer_ref(const struct cdt_dns_answer *answer)
{
    own(answer)->refs++;
    return answer;
}

void cdt_dns_answer_unref(const struct cdt_dns_answer *answer)
{
    if (answer == NULL || --own(answer)->refs > 0)
        return;
    for (size_t i = 0; i <= answer->n_aliases; i++)
        conduit_free(answer->names[i]);
    conduit_free(answer->records.any);
    conduit_free(own(answer));
}
