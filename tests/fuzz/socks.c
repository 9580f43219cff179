/* SPDX-License-Identifier: ISC */
/*
 * What a SOCKS server answers: the first byte says to what. It is read as the layer reads it, never
 * a byte more than was missing, and that ends within the bounds of an answer.
 */
#include "../../src/layers/socks5_wire.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int (*const missing[])(const unsigned char *, size_t, const char **) = {
        cdt_socks_missing_method,
        cdt_socks_missing_status,
        cdt_socks_missing_reply,
    };
    if (size == 0)
        return 0;
    int kind = data[0] % 3, n;
    const char *why = NULL, *text = NULL;
    size_t at = 0;
    while ((n = missing[kind](data + 1, at, &why)) > 0 && at + (size_t)n <= size - 1)
        at += (size_t)n;
    FUZZ_CHECK(n >= -1 && at + (size_t)(n > 0 ? n : 0) <= CDT_SOCKS_REPLY_MAX);
    FUZZ_CHECK((n < 0) == (why != NULL));
    if (kind == 2 && n == 0 && data[2] != 0)
        FUZZ_CHECK(cdt_socks_code(data[2], &text) < 0 && text != NULL);
    return 0;
}
