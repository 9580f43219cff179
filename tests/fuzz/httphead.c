/* SPDX-License-Identifier: ISC */
/*
 * What an HTTP proxy answers, read as the layer reads it: never a byte more than was missing. A
 * complete head has a status of three digits, a reason that lies within it, and ends with the first
 * empty line there is.
 */
#include "../../src/layers/http_head.h"
#include "fuzz.h"
#include <string.h>

static void check_head(const uint8_t *head, size_t n)
{
    const char *reason;
    size_t len;
    int status = cdt_http_status(head, n, &reason, &len);
    FUZZ_CHECK(status >= 0 && status <= 999);
    FUZZ_CHECK((const uint8_t *)reason >= head && (const uint8_t *)reason + len <= head + n - 4);
    FUZZ_CHECK(memchr(reason, '\n', len) == NULL && memchr(reason, '\0', len) == NULL);
    FUZZ_CHECK(memcmp(head + n - 4, "\r\n\r\n", 4) == 0);
    FUZZ_CHECK(memmem(head, n, "\r\n\r\n", 4) == head + n - 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *why = NULL;
    size_t at = 0;
    int n;
    while ((n = cdt_http_missing(data, at, &why)) > 0 && at + (size_t)n <= size)
        at += (size_t)n;
    FUZZ_CHECK((n < 0) == (why != NULL));
    if (n == 0)
        check_head(data, at);
    return 0;
}
