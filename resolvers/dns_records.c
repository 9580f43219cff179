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
 * dns_wire.c takes the packet apart. A reader that returns false has said why.
 */
#include "dns_records.h"
#include "dns_wire.h"
#include <conduit/memory.h>

enum { MOST_SCANNED = 512, MOST_SIZE = 65535 };
enum { CLASS_IN = 1, TYPE_CNAME = 5, TYPE_SOA = 6 };
enum { NOERROR = 0, SERVFAIL = 2, NXDOMAIN = 3, REFUSED = 5 };

struct reader {
    struct cdt_dns_answer *answer;
    enum cdt_dns_type type;
    size_t room; /* for records */
    bool short_of_memory;
    struct cdt_dns_packet packet;
};

/* From record to record of a section. */
struct walk {
    enum cdt_dns_section section;
    size_t i, at;
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

static bool is_our_question(const struct reader *reader)
{
    const struct cdt_dns_packet *packet = &reader->packet;
    char name[CDT_NAME_SIZE];
    if (packet->counts[CDT_DNS_QUESTION] != 1)
        return false;
    struct cdt_dns_record question =
        cdt_dns_record_at(packet, CDT_DNS_QUESTION, packet->starts[CDT_DNS_QUESTION]);
    return question.type == reader->type && question.class == CLASS_IN &&
           cdt_dns_read_name(packet->bytes, packet->n, question.owner, name) > 0 &&
           strcmp(name, owner(reader->answer)) == 0;
}

/* A server that could not read a question need not repeat it. */
static bool may_lack_question(const struct reader *reader)
{
    int rcode = reader->answer->rcode;
    return rcode != NOERROR && rcode != NXDOMAIN && reader->packet.counts[CDT_DNS_QUESTION] == 0;
}

static bool read_packet(struct reader *reader, const uint8_t *bytes, size_t size)
{
    enum { RESPONSE = 0x80, OPCODE = 0x78, CUT = 0x02, AUTHENTIC = 0x20, RCODE = 0x0f };
    struct cdt_dns_answer *answer = reader->answer;
    if (size < CDT_DNS_HEADER_SIZE || size > MOST_SIZE)
        return malformed(reader, "no DNS packet has this size");
    bool parsed = cdt_dns_packet_read(&reader->packet, bytes, size);
    bool truncated = (bytes[2] & CUT) != 0;
    answer->rcode = bytes[3] & RCODE;
    answer->authentic = (bytes[3] & AUTHENTIC) != 0;
    if (!parsed && !truncated)
        return malformed(reader, "its parts are not as long as it says");
    if (parsed && (bytes[2] & (RESPONSE | OPCODE)) != RESPONSE)
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
    switch (answer->rcode) {
    case NOERROR:
        answer->status = CDT_DNS_OK;
        return true;
    case NXDOMAIN:
        answer->status = CDT_DNS_NXDOMAIN;
        return true;
    case SERVFAIL:
        answer->status = CDT_DNS_SERVFAIL;
        return false;
    case REFUSED:
        answer->status = CDT_DNS_REFUSED;
        return false;
    default:
        answer->status = CDT_DNS_FAILED;
        return false;
    }
}

/* ---- records, one after the other */

static struct walk walk(const struct reader *reader, enum cdt_dns_section section)
{
    return (struct walk){section, 0, reader->packet.starts[section]};
}

/* The next record of this type, or false. */
static bool find(const struct reader *reader, struct walk *walk, unsigned type,
                 struct cdt_dns_record *record)
{
    size_t n = reader->packet.counts[walk->section];
    while (walk->i < n && walk->i < MOST_SCANNED) {
        *record = cdt_dns_record_at(&reader->packet, walk->section, walk->at);
        walk->at = record->next;
        walk->i++;
        if (record->type == type && record->class == CLASS_IN)
            return true;
    }
    return false;
}

/* A pointer to the question, as most owners are: its name has been read. */
static bool is_pointer_to_question(const struct cdt_dns_packet *packet, size_t at)
{
    return cdt_dns_get16(packet->bytes + at) == (0xc000 | CDT_DNS_HEADER_SIZE);
}

/* ... that belongs to the last of the names. False, too, when it cannot be told whose one is. */
static bool find_owned(struct reader *reader, struct walk *walk, unsigned type,
                       struct cdt_dns_record *record)
{
    const struct cdt_dns_packet *packet = &reader->packet;
    char name[CDT_NAME_SIZE];
    while (find(reader, walk, type, record)) {
        if (reader->answer->n_aliases == 0 && is_pointer_to_question(packet, record->owner))
            return true;
        if (cdt_dns_read_name(packet->bytes, packet->n, record->owner, name) == 0)
            return malformed(reader, "a record cannot be read");
        if (strcmp(name, owner(reader->answer)) == 0)
            return true;
    }
    return false;
}

/* A name in a record's data, from `from` to the very end of the data. */
static bool take_name(struct reader *reader, const struct cdt_dns_record *record, size_t from,
                      char name[CDT_NAME_SIZE])
{
    const struct cdt_dns_packet *packet = &reader->packet;
    if (from >= record->n_data)
        return malformed(reader, "a record is too short for its type");
    size_t n = cdt_dns_read_name(packet->bytes, packet->n, record->data + from, name);
    if (n == 0 || from + n != record->n_data)
        return malformed(reader, "a record has a name that cannot be read");
    if (strchr(name, '\\') != NULL)
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

static bool follow_one(struct reader *reader, const struct cdt_dns_record *record)
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
    bound_ttl(answer, record->ttl);
    return true;
}

static bool follow(struct reader *reader)
{
    struct cdt_dns_record record;
    for (;;) {
        struct walk at = walk(reader, CDT_DNS_ANSWER);
        if (!find_owned(reader, &at, TYPE_CNAME, &record))
            return reader->answer->status != CDT_DNS_MALFORMED;
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
    case CDT_DNS_TLSA:
        return sizeof(struct cdt_tlsa);
    default:
        return sizeof(struct cdt_svcb);
    }
}

static bool take_address(struct reader *reader, const struct cdt_dns_record *record)
{
    struct cdt_dns_answer *answer = reader->answer;
    size_t size = size_of(reader->type);
    if (record->n_data != size)
        return malformed(reader, "an address has the wrong size");
    memcpy((uint8_t *)answer->records.any + answer->n++ * size, reader->packet.bytes + record->data,
           size);
    return true;
}

static bool take_srv(struct reader *reader, const struct cdt_dns_record *record)
{
    enum { FIXED = 6 };
    struct cdt_srv *srv = &reader->answer->records.srv[reader->answer->n];
    const uint8_t *data = reader->packet.bytes + record->data;
    if (!take_name(reader, record, FIXED, srv->target))
        return false;
    srv->priority = cdt_dns_get16(data);
    srv->weight = cdt_dns_get16(data + 2);
    srv->port = cdt_dns_get16(data + 4);
    reader->answer->n++;
    return true;
}

static bool take_svcb(struct reader *reader, const struct cdt_dns_record *record)
{
    struct cdt_svcb *svcb = &reader->answer->records.svcb[reader->answer->n];
    switch (cdt_svcb_parse(svcb, reader->packet.bytes + record->data, record->n_data)) {
    case CDT_SVCB_MALFORMED:
        return malformed(reader, "a service binding is malformed");
    case CDT_SVCB_FIT:
        reader->answer->n++;
        return true;
    default:
        return true;
    }
}

static bool take_tlsa(struct reader *reader, const struct cdt_dns_record *record)
{
    enum { FIXED = 3 };
    const uint8_t *data = reader->packet.bytes + record->data;
    if (record->n_data <= FIXED)
        return malformed(reader, "a record is too short for its type");
    reader->answer->records.tlsa[reader->answer->n++] = (struct cdt_tlsa){
        .usage = data[0],
        .selector = data[1],
        .type = data[2],
        .data = {data + FIXED, record->n_data - FIXED},
    };
    return true;
}

static bool take_one(struct reader *reader, const struct cdt_dns_record *record)
{
    bound_ttl(reader->answer, record->ttl);
    switch (reader->type) {
    case CDT_DNS_A:
    case CDT_DNS_AAAA:
        return take_address(reader, record);
    case CDT_DNS_SRV:
        return take_srv(reader, record);
    case CDT_DNS_TLSA:
        return take_tlsa(reader, record);
    default:
        return take_svcb(reader, record);
    }
}

/* True if there were any, be they of use or not. */
static bool take_all(struct reader *reader)
{
    struct cdt_dns_record record;
    struct walk at = walk(reader, CDT_DNS_ANSWER);
    bool any = false;
    while (reader->answer->n < reader->room && find_owned(reader, &at, reader->type, &record) &&
           take_one(reader, &record))
        any = true;
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
static bool read_minimum(const struct reader *reader, const struct cdt_dns_record *record,
                         uint32_t *ret)
{
    enum { FIGURES = 20, BEFORE = 16 };
    const uint8_t *bytes = reader->packet.bytes;
    size_t at = record->data, end = at + record->n_data;
    for (int i = 0; i < 2; i++) {
        size_t n = cdt_dns_skip_name(bytes, end, at);
        if (n == 0)
            return false;
        at += n;
    }
    if (end - at != FIGURES)
        return false;
    *ret = cdt_dns_get32(bytes + at + BEFORE);
    return true;
}

/* Without the zone's word it is not to be kept (RFC 2308, section 5). */
static void read_absence(struct reader *reader)
{
    struct cdt_dns_answer *answer = reader->answer;
    const struct cdt_dns_packet *packet = &reader->packet;
    struct walk at = walk(reader, CDT_DNS_AUTHORITY);
    struct cdt_dns_record record;
    char zone[CDT_NAME_SIZE];
    uint32_t minimum;
    while (find(reader, &at, TYPE_SOA, &record)) {
        if (cdt_dns_read_name(packet->bytes, packet->n, record.owner, zone) == 0 ||
            !is_within(owner(answer), zone) || !read_minimum(reader, &record, &minimum))
            continue;
        bound_ttl(answer, record.ttl);
        bound_ttl(answer, minimum);
        return;
    }
    answer->ttl = 0;
}

/* ---- an answer */

static void read_answer(struct reader *reader, const uint8_t *packet, size_t size)
{
    struct cdt_dns_answer *answer = reader->answer;
    if (!read_packet(reader, packet, size) || !read_rcode(reader) || !follow(reader))
        return;
    bool any = answer->status == CDT_DNS_OK && take_all(reader);
    if (answer->status == CDT_DNS_OK && answer->n == 0)
        answer->status = CDT_DNS_NODATA;
    if (!any && answer->status != CDT_DNS_MALFORMED)
        read_absence(reader);
}

/* As many records as the packet says that it has, within reason. */
static size_t room_of(const uint8_t *packet, size_t size)
{
    size_t n = size < CDT_DNS_HEADER_SIZE ? 0 : cdt_dns_get16(packet + 6);
    return n < CDT_DNS_RECORDS ? n : CDT_DNS_RECORDS;
}

/* Of the packet the answer keeps what its records point to. */
static size_t kept_of(enum cdt_dns_type type, size_t size)
{
    bool points = type == CDT_DNS_SVCB || type == CDT_DNS_HTTPS || type == CDT_DNS_TLSA;
    return points && size <= MOST_SIZE ? size : 0;
}

/* One piece of memory: the answer, room for records, the packet, the name. */
static struct cdt_dns_answer *make(struct reader *reader, const char *name, size_t kept)
{
    size_t records = reader->room * size_of(reader->type), n = strlen(name);
    struct cdt_dns_answer *answer = conduit_calloc(1, sizeof(*answer) + records + kept + n + 1);
    if (answer == NULL)
        return NULL;
    answer->refs = 1;
    answer->type = reader->type;
    answer->ttl = INT32_MAX;
    answer->records.any = answer + 1;
    answer->names[0] = (char *)(answer + 1) + records + kept;
    cdt_fold_name(name, n, answer->names[0]);
    return answer;
}

struct cdt_dns_answer *cdt_dns_decode(const uint8_t *packet, size_t size, const char *name,
                                      enum cdt_dns_type type)
{
    struct reader reader = {.type = type, .room = room_of(packet, size)};
    size_t kept = kept_of(type, size);
    struct cdt_dns_answer *answer = reader.answer = make(&reader, name, kept);
    if (answer == NULL)
        return NULL;
    if (kept > 0)
        packet = memcpy((uint8_t *)(answer + 1) + reader.room * size_of(type), packet, kept);
    read_answer(&reader, packet, size);
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
    for (size_t i = 1; i <= answer->n_aliases; i++)
        conduit_free(answer->names[i]);
    conduit_free(own(answer));
}
