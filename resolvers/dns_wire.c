/* SPDX-License-Identifier: ISC */
/* The parts of a DNS packet: dns_wire.h says what is made of them. */
#include "dns_wire.h"

enum {
    MOST_LABEL = 63,
    POINTER = 0xc0,
    COUNTS_AT = 4,     /* in the header */
    QUESTION_SIZE = 4, /* type and class */
    RECORD_SIZE = 10,  /* ... time to live, and how much data */
};

/* ---- names */

static bool is_label(uint8_t length)
{
    return length - 1u < MOST_LABEL;
}

size_t cdt_dns_skip_name(const uint8_t *bytes, size_t n, size_t at)
{
    size_t from = at;
    while (at < n && is_label(bytes[at]))
        at += 1u + bytes[at];
    if (at >= n || (bytes[at] != 0 && bytes[at] < POINTER))
        return 0;
    at += bytes[at] == 0 ? 1 : 2;
    return at <= n ? at - from : 0;
}

/* In lower case what dig writes without an escape. */
static char fold(uint8_t byte)
{
    if ((byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9'))
        return (char)byte;
    if (byte >= 'A' && byte <= 'Z')
        return (char)(byte - 'A' + 'a');
    bool escaped = byte <= ' ' || byte >= 0x7f || strchr("\".;\\()@$", byte) != NULL;
    return escaped ? '\\' : (char)byte;
}

/* The label at `at`, with a dot before it unless it is the first. Returns how long the name is now;
 * 0 if there is no such label, or no room for it. */
static size_t add_label(char name[CDT_NAME_SIZE], size_t length, const uint8_t *at, size_t n)
{
    size_t n_label = *at;
    if (!is_label(*at) || n_label >= n || length + n_label + 2 > CDT_NAME_SIZE)
        return 0;
    if (length > 0)
        name[length++] = '.';
    for (size_t i = 1; i <= n_label; i++)
        name[length++] = fold(at[i]);
    return length;
}

/* Where a pointer leads; nowhere if it is cut short. */
static size_t target_of(const uint8_t *at, size_t n)
{
    return n < 2 ? SIZE_MAX : (size_t)(at[0] & ~POINTER) << 8 | at[1];
}

size_t cdt_dns_read_name(const uint8_t *bytes, size_t n, size_t at, char name[CDT_NAME_SIZE])
{
    size_t size = cdt_dns_skip_name(bytes, n, at), length = 0, before = at;
    while (at < n && bytes[at] != 0) {
        if (bytes[at] < POINTER) {
            length = add_label(name, length, bytes + at, n - at);
            if (length == 0)
                return 0;
            at += 1u + bytes[at];
            continue;
        }
        at = target_of(bytes + at, n - at);
        if (at >= before)
            return 0;
        before = at;
    }
    name[length] = '\0';
    return at < n ? size : 0;
}

/* ---- records */

struct cdt_dns_record cdt_dns_record_at(const struct cdt_dns_packet *packet,
                                        enum cdt_dns_section section, size_t at)
{
    size_t after = at + cdt_dns_skip_name(packet->bytes, packet->n, at);
    const uint8_t *fixed = packet->bytes + after;
    struct cdt_dns_record record = {
        .owner = at,
        .type = cdt_dns_get16(fixed),
        .class = cdt_dns_get16(fixed + 2),
        .data = after + QUESTION_SIZE,
    };
    if (section != CDT_DNS_QUESTION) {
        record.ttl = cdt_dns_get32(fixed + 4);
        record.n_data = cdt_dns_get16(fixed + 8);
        record.data = after + RECORD_SIZE;
    }
    record.next = record.data + record.n_data;
    return record;
}

/* Where the record at `at` ends; 0 if it has no end. */
static size_t end_of(const struct cdt_dns_packet *packet, unsigned section, size_t at)
{
    size_t size = section == CDT_DNS_QUESTION ? QUESTION_SIZE : RECORD_SIZE;
    size_t name = cdt_dns_skip_name(packet->bytes, packet->n, at);
    size_t end = at + name + size;
    if (name == 0 || end > packet->n)
        return 0;
    if (section != CDT_DNS_QUESTION)
        end += cdt_dns_get16(packet->bytes + end - 2);
    return end <= packet->n ? end : 0;
}

bool cdt_dns_packet_read(struct cdt_dns_packet *packet, const uint8_t *bytes, size_t n)
{
    size_t at = CDT_DNS_HEADER_SIZE;
    *packet = (struct cdt_dns_packet){.bytes = bytes, .n = n};
    for (unsigned section = CDT_DNS_QUESTION; section <= CDT_DNS_ADDITIONAL; section++) {
        packet->counts[section] = cdt_dns_get16(bytes + COUNTS_AT + (size_t)section * 2);
        packet->starts[section] = at;
        for (size_t i = 0; i < packet->counts[section]; i++)
            if ((at = end_of(packet, section, at)) == 0)
                return false;
    }
    return at == n;
}
