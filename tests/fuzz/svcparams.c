/* SPDX-License-Identifier: ISC */
/* The data of SVCB records: what was read lies within it, and its parameters add up to it. */
#include "../../resolvers/svcb.h"
#include "fuzz.h"

static bool is_within(struct cdt_bytes part, const uint8_t *data, size_t size)
{
    return part.n == 0 || (part.at >= data && part.at + part.n <= data + size);
}

static void check_params(const struct cdt_svcb *svcb)
{
    struct cdt_bytes rest = svcb->params, value;
    size_t n = 0;
    uint16_t key;
    while (cdt_svc_next(&rest, &key, &value) > 0)
        n += 4 + value.n;
    FUZZ_CHECK(n == svcb->params.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cdt_svcb svcb;
    if (cdt_svcb_parse(&svcb, data, size) == CDT_SVCB_MALFORMED)
        return 0;
    FUZZ_CHECK(is_within(svcb.params, data, size) && is_within(svcb.alpn, data, size));
    FUZZ_CHECK(is_within(svcb.mandatory, data, size) && svcb.mandatory.n % 2 == 0);
    FUZZ_CHECK(is_within(svcb.ipv4hint, data, size) && svcb.ipv4hint.n % 4 == 0);
    FUZZ_CHECK(is_within(svcb.ipv6hint, data, size) && svcb.ipv6hint.n % 16 == 0);
    check_params(&svcb);
    return 0;
}
