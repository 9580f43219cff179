/* SPDX-License-Identifier: ISC */
/*
 * Faults on purpose, each of which a check has to catch: meson runs them one at a time and expects
 * red (should_fail). The first test is the control: without a fault the same program is green.
 */
#include "support.h"
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

CDT_TEST(planted, nothing)
{
    cr_assert(true);
}

CDT_TEST(planted, assertion)
{
    cr_expect(false, "planted");
}

CDT_TEST(planted, descriptor)
{
    cr_assert_geq(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
}

CDT_TEST(planted, handle)
{
    uv_loop_t loop;
    uv_timer_t timer;

    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(uv_timer_init(&loop, &timer), 0);
    cdt_test_loop_empty(&loop);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

CDT_TEST(planted, memory_leak)
{
    void *volatile lost = malloc(77);

    cr_assert_not_null(lost);
    lost = NULL;
}

CDT_TEST(planted, memory_overrun)
{
    volatile size_t beyond = 8;
    char *bytes = malloc(beyond);
    volatile char *written = bytes;

    cr_assert_not_null(bytes);
    written[beyond] = 1;
    free(bytes);
}

CDT_TEST(planted, undefined_behaviour)
{
    volatile int most = INT_MAX;

    most = most + 1;
}
