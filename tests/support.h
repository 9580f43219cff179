/* SPDX-License-Identifier: ISC */
/*
 * What every test stands on: CDT_TEST, a Criterion test that also has to leave nothing behind.
 *
 * The check is around the body and not in a fixture, for Criterion lets an assertion that fails in
 * .fini pass. A test with a loop of its own asks cdt_test_loop_empty() before it closes the loop.
 * tests/checks/ plants each of the faults that are looked for here, and expects red.
 */
#ifndef CDT_TESTS_SUPPORT_H
#define CDT_TESTS_SUPPORT_H

#include <criterion/criterion.h>
#include <stdbool.h>
#include <uv.h>

/*
 * CDT_TEST(race, second_family_starts_after_250_ms) { ... }
 *
 * Fails when the body leaves a descriptor open that was not open before it, and when it takes a
 * minute, which no test of ours should.
 */
#define CDT_TEST(suite, name)                                                                      \
    static void cdt_body_##suite##_##name(void);                                                   \
    Test(suite, name, .timeout = 60)                                                               \
    {                                                                                              \
        cdt_test_around(cdt_body_##suite##_##name);                                                \
    }                                                                                              \
    static void cdt_body_##suite##_##name(void)

/* CDT_TEST's own: run `body`, and fail the current test if it left descriptors open. */
void cdt_test_around(void (*body)(void));

/* Fail the current test, naming the handles, if any handle is left on `loop`: open or closing. */
void cdt_test_loop_empty(uv_loop_t *loop);

/* Run `loop` until *done, at most ten seconds of it; returns *done. */
bool cdt_test_run_until(uv_loop_t *loop, const bool *done);

/*
 * The path of `name` in a directory of this test's own, which is removed when the test is over.
 * Static: valid until the next call.
 */
const char *cdt_test_path(const char *name);
/* The directory itself. */
const char *cdt_test_directory(void);

#endif
