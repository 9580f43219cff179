/* SPDX-License-Identifier: ISC */
/*
 * A DNS packet as it came (RFC 1035, section 4): where its sections and records are, and the names
 * in them.
 *
 * Pure, and made for packets that lie: nothing is looked at before it is known to be there, and a
 * name leads back only, to what stood before it, so that there are no loops. The bytes are the
 * caller's and outlive the packet.
 */
#ifndef CDT_DNS_WIRE_H
#define CDT_DNS_WIRE_H

#include "names.h"

enum { CDT_DNS_HEADER_SIZE = 12 };

enum cdt_dns_section { CDT_DNS_QUESTION, CDT_DNS_ANSWER, CDT_DNS_AUTHORITY, CDT_DNS_ADDITIONAL };

struct cdt_dns_packet {
    const uint8_t *bytes;
    size_t n;
    size_t counts[4]; /* records, by section */
    size_t starts[4]; /* of the first */
};

/* Offsets in the packet. Of a question there is the type and the class. */
struct cdt_dns_record {
    size_t owner;
    unsigned type, class;
    uint32_t ttl;
    size_t data, n_data;
    size_t next; /* record */
};

static inline uint16_t cdt_dns_get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t cdt_dns_get32(const uint8_t *at)
{
    return (uint32_t)cdt_dns_get16(at) << 16 | cdt_dns_get16(at + 2);
}

/* `n` is at least CDT_DNS_HEADER_SIZE. False if the sections are not, to the byte, as long as the
 * header says. */
bool cdt_dns_packet_read(struct cdt_dns_packet *packet, const uint8_t *bytes, size_t n);
/* The record at an offset where there is one: a section's start, or the `next` of another. */
struct cdt_dns_record cdt_dns_record_at(const struct cdt_dns_packet *packet,
                                        enum cdt_dns_section section, size_t at);

/* How many bytes a name has at `at`, its pointer included; 0 if it does not end. */
size_t cdt_dns_skip_name(const uint8_t *bytes, size_t n, size_t at);
/*
 * Read the name at `at` of `n` bytes, folded as cdt_fold_name() does it; the root is "". A byte
 * that would be written with an escape becomes a backslash, which no host's name has. Returns what
 * cdt_dns_skip_name() does, or 0 if it is no name.
 */
size_t cdt_dns_read_name(const uint8_t *bytes, size_t n, size_t at, char name[CDT_NAME_SIZE]);

#endif
