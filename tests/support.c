/* SPDX-License-Identifier: ISC */
/*
 * See support.h. Criterion runs each test in a process of its own, so static state here is one
 * test's.
 */
#include "support.h"
#include <dirent.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_DESCRIPTORS = 4096 };

static char directory[] = "/tmp/conduit-test-XXXXXX";
static pid_t owner; /* of the directory: a child that a test forks is not; 0: there is none yet */

/* Mark the open descriptors in `open`, but for the one that reads the list. */
static void list_descriptors(bool open[MOST_DESCRIPTORS])
{
    DIR *list = opendir("/proc/self/fd");

    cr_assert_not_null(list, "/proc/self/fd: cannot be read");
    memset(open, 0, MOST_DESCRIPTORS * sizeof *open);
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        long fd = strtol(entry->d_name, NULL, 10);
        if (entry->d_name[0] != '.' && fd != dirfd(list) && fd < MOST_DESCRIPTORS)
            open[fd] = true;
    }
    closedir(list);
}

static void report_descriptor(int fd)
{
    char link[64], target[256];
    ssize_t n;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    cr_expect(false, "descriptor %d was left open: %s", fd, target);
}

/* libuv opens a pipe for signals with the first loop of a process, and keeps it. */
static void warm_up_libuv(void)
{
    uv_loop_t loop;

    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

void cdt_test_around(void (*body)(void))
{
    static bool before[MOST_DESCRIPTORS], after[MOST_DESCRIPTORS];

    warm_up_libuv();
    list_descriptors(before);
    body();
    list_descriptors(after);
    for (int fd = 0; fd < MOST_DESCRIPTORS; fd++) {
        if (after[fd] && !before[fd])
            report_descriptor(fd);
    }
}

static void report_handle(uv_handle_t *handle, void *arg)
{
    cr_expect(false, "a %s handle was left on the loop%s", uv_handle_type_name(handle->type),
              uv_is_closing(handle) ? ", closing" : "");
}

void cdt_test_loop_empty(uv_loop_t *loop)
{
    uv_walk(loop, report_handle, NULL);
}

static void give_up(uv_timer_t *timer)
{
    bool *late = timer->data;
    *late = true;
}

static void mark_closed(uv_handle_t *handle)
{
    bool *closed = handle->data;
    *closed = true;
}

/* UV_RUN_ONCE would first run timers, and then wait even if one of them was all there was to wait
 * for. And what a turn has added to the loop at its end, epoll knows only in the next. */
static void wait_for_something(const uv_loop_t *loop)
{
    struct pollfd fd = {.fd = uv_backend_fd(loop), .events = POLLIN};
    int timeout_ms = uv_backend_timeout(loop);
    poll(&fd, 1, timeout_ms < 0 || timeout_ms > 5 ? 5 : timeout_ms);
}

bool cdt_test_run_until(uv_loop_t *loop, const bool *done)
{
    uv_timer_t timer;
    bool late = false, closed = false;

    cr_assert_eq(uv_timer_init(loop, &timer), 0);
    timer.data = &late;
    cr_assert_eq(uv_timer_start(&timer, give_up, 10000, 0), 0);
    for (uv_run(loop, UV_RUN_NOWAIT); !*done && !late; uv_run(loop, UV_RUN_NOWAIT))
        wait_for_something(loop);
    timer.data = &closed;
    uv_close((uv_handle_t *)&timer, mark_closed);
    while (!closed)
        uv_run(loop, UV_RUN_NOWAIT);
    return *done;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    return remove(path);
}

static void remove_directory(void)
{
    if (owner == getpid())
        nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* At exit, for Criterion leaves a failed or a skipped test by way of neither its end nor .fini. */
static void make_directory(void)
{
    cr_assert_not_null(mkdtemp(directory), "%s cannot be made", directory);
    owner = getpid();
    cr_assert_eq(atexit(remove_directory), 0);
}

const char *cdt_test_directory(void)
{
    if (owner == 0)
        make_directory();
    return directory;
}

const char *cdt_test_path(const char *name)
{
    static char path[sizeof directory + 64];

    snprintf(path, sizeof path, "%s/%s", cdt_test_directory(), name);
    return path;
}
