/* SPDX-License-Identifier: ISC */
/*
 * Reasons: what exactly was wrong, the same in every engine.
 *
 * A conduit_code says what to do about a failure, a reason which failure it was. Each reason has
 * one code, so whoever fails names the reason alone. conduit/tls.h has the list.
 */
#include "error.h"
#include "tls.h"

static const struct {
    int reason, code;
    const char *name, *text;
} rows[] = {
#define REASON_ROW(name, number, code, text) {number, CONDUIT_##code, #name, text},
    CONDUIT_TLS_REASON_MAP(REASON_ROW)
#undef REASON_ROW
};

int cdt_tls_code(int reason)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].reason == reason)
            return rows[i].code;
    return CONDUIT_ETLS;
}

const char *conduit_tls_reason_name(int reason)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].reason == reason)
            return rows[i].name;
    return "unknown";
}

const char *conduit_tls_reason_text(int reason)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].reason == reason)
            return rows[i].text;
    return "unknown";
}

CONDUIT_PRINTF(5, 0)
static int refuse(int reason, const char *source, long number, const conduit_error **reterr,
                  const char *format, va_list args)
{
    const conduit_error *error =
        cdt_error_newv(cdt_tls_code(reason), CONDUIT_STAGE_TLS, NULL, source, number, format, args);
    return cdt_error_give(cdt_error_because(error, reason), reterr);
}

int cdt_tls_refuse(int reason, const conduit_error **reterr, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int code = refuse(reason, NULL, 0, reterr, format, args);
    va_end(args);
    return code;
}

int cdt_tls_refuse_for(int reason, const char *source, long number, const conduit_error **reterr,
                       const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int code = refuse(reason, source, number, reterr, format, args);
    va_end(args);
    return code;
}
