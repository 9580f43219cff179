/* SPDX-License-Identifier: ISC */
/* Making errors: conduit/error.h says what they are. */
#ifndef CDT_ERROR_H
#define CDT_ERROR_H

#include <conduit/error.h>
#include <stdarg.h>
#include <stdbool.h>

/*
 * A new error. The text becomes "STAGE: ENDPOINT: ..." ("STAGE: ..." without an endpoint).
 * `endpoint` and `source` may be NULL. When memory is short the answer is a static error that says
 * so: never NULL.
 */
const conduit_error *cdt_error_new(int code, conduit_stage stage, const char *endpoint,
                                   const char *source, long number, const char *format, ...)
    CONDUIT_PRINTF(6, 7);
const conduit_error *cdt_error_newv(int code, conduit_stage stage, const char *endpoint,
                                    const char *source, long number, const char *format,
                                    va_list args) CONDUIT_PRINTF(6, 0);

/* For a failed system call: code from `number` (an errno), text "CALL: strerror, and what to do
 * where it is known". */
const conduit_error *cdt_error_errno(conduit_stage stage, const char *endpoint, int number,
                                     const char *call);
int cdt_code_from_errno(int number);
/* Is it one of conduit_code, and not CONDUIT_OK? */
bool cdt_is_error_code(int code);

/* Give a new error, which nobody else has seen yet, its reason. Returns it. */
const conduit_error *cdt_error_because(const conduit_error *error, int reason);

/* One error over several attempts: headline from the one that got furthest. References to
 * `children` are taken over. */
const conduit_error *cdt_error_tree(const conduit_error **children, size_t n);

/* Hand `error` (a reference, taken over) to *reterr, or drop it if reterr is NULL. Returns its
 * code. */
int cdt_error_give(const conduit_error *error, const conduit_error **reterr);
/* The same with the error of a URI that there is no memory for: CONDUIT_ENOMEM. */
int cdt_error_no_memory(const conduit_error **reterr);

#endif
