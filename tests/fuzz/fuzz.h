/* SPDX-License-Identifier: ISC */
/*
 * A fuzz target: a function that is fed with anything and finds what must never be.
 *
 * libFuzzer makes up the input when it drives (-Dfuzz=true); fuzz-main.c repeats what is in a
 * folder, so that every build runs the corpus. What must hold is said with FUZZ_CHECK, and not with
 * assert(), which a release build leaves out.
 */
#ifndef CDT_FUZZ_H
#define CDT_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
