/* SPDX-License-Identifier: ISC */
/*
 * DNS answers: the first byte says which type was asked for, the rest is the packet, and the
 * question was for "a.example". Whatever it is, reading it ends within the bounds of the header.
 */
#include "../../resolvers/dns_records.h"
#include "fuzz.h"

static uint32_t last(void *user, uint32_t bound)
{
    FUZZ_CHECK(bound > 0);
    return bound - 1;
}

static void check_answer(struct cdt_dns_answer *answer, enum cdt_dns_type type)
{
    static const struct cdt_svcb_client client = {{(const uint8_t *)"\x02h2", 3}, "http/1.1"};
    FUZZ_CHECK(answer->n <= CDT_DNS_RECORDS && answer->n_aliases <= CDT_DNS_ALIASES);
    FUZZ_CHECK((answer->status == CDT_DNS_OK) == (answer->n > 0));
    FUZZ_CHECK((answer->status == CDT_DNS_MALFORMED) == (answer->why != NULL));
    FUZZ_CHECK(answer->ttl >= 0);
    if (type == CDT_DNS_SRV)
        FUZZ_CHECK(cdt_srv_order(answer->records.srv, answer->n, last, NULL) <= answer->n);
    if (type == CDT_DNS_SVCB || type == CDT_DNS_HTTPS)
        FUZZ_CHECK(cdt_svcb_choose(answer->records.svcb, answer->n, &client, last, NULL) <=
                   answer->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum cdt_dns_type types[] = {CDT_DNS_A, CDT_DNS_AAAA, CDT_DNS_SRV, CDT_DNS_SVCB,
                                              CDT_DNS_HTTPS};
    if (size == 0)
        return 0;
    enum cdt_dns_type type = types[*data % (sizeof(types) / sizeof(types[0]))];
    struct cdt_dns_answer *answer = cdt_dns_decode(data + 1, size - 1, "a.example", type);
    FUZZ_CHECK(answer != NULL);
    check_answer(answer, type);
    cdt_dns_answer_unref(answer);
    return 0;
}
