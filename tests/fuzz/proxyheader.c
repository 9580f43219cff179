/* SPDX-License-Identifier: ISC */
/*
 * What stands where a PROXY header should be, read as the layer reads it: never a byte more than
 * was missing. What an accepted one says can be printed, and reads back as the same.
 */
#include "../../src/layers/proxy_protocol.h"
#include "fuzz.h"
#include <string.h>

struct said {
    union cdt_address source, to;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
};

static void check_again(int version, const struct said *said)
{
    unsigned char header[CDT_PROXY_PRINT_MAX];
    struct said again;
    const char *why;
    size_t at = 0, n = cdt_proxy_print(version, &said->source, &said->to, header);
    int more;
    while ((more = cdt_proxy_missing(header, at, &why)) > 0)
        at += (size_t)more;
    FUZZ_CHECK(more == 0 && at == n && n <= (version == 1 ? CDT_PROXY_V1_MAX : 52));
    FUZZ_CHECK(cdt_proxy_read(header, n, &again.source, &again.to, again.path, &why) ==
               CDT_PROXY_INET);
    FUZZ_CHECK(memcmp(&said->source, &again.source, sizeof(again.source)) == 0);
    FUZZ_CHECK(memcmp(&said->to, &again.to, sizeof(again.to)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *why = NULL;
    size_t at = 0;
    int n;
    while ((n = cdt_proxy_missing(data, at, &why)) > 0 && at + (size_t)n <= size)
        at += (size_t)n;
    FUZZ_CHECK((n < 0) == (why != NULL) && at <= CDT_PROXY_MAX);
    if (n != 0)
        return 0;
    struct said said;
    memset(&said, 0, sizeof(said));
    int kind = cdt_proxy_read(data, at, &said.source, &said.to, said.path, &why);
    FUZZ_CHECK((kind < 0) == (why != NULL));
    if (kind == CDT_PROXY_UNIX)
        FUZZ_CHECK(strlen(said.path) < sizeof(said.path));
    if (kind != CDT_PROXY_INET)
        return 0;
    check_again(1, &said);
    check_again(2, &said);
    return 0;
}
