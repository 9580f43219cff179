/* SPDX-License-Identifier: ISC */
/*
 * systemd: sockets that were passed to this process (systemd.h), and the resolver that has a
 * listener stand on all that have its name: a unit with two ListenStream lines passes two.
 *
 * The variables are the process's, so this is for the thread that starts the others, before it
 * does.
 */
#include "systemd.h"
#include "resolve.h"
#include "target.h"
#include "transport.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST = 3, MOST = 4096 };

/* ---- the variables ---- */

static long read_number(const char *text)
{
    char *end;
    if (text == NULL || *text < '0' || *text > '9')
        return -1;
    errno = 0;
    long value = strtol(text, &end, 10);
    return errno == 0 && *end == '\0' ? value : -1;
}

/* How many were passed to this very process. A child that was forked finds its parent's
 * variables. */
static int count_passed(void)
{
    long n = read_number(getenv("LISTEN_FDS"));
    if (n <= 0 || n > MOST || read_number(getenv("LISTEN_PID")) != (long)getpid())
        return 0;
    return (int)n;
}

/* Is number `i` called so? Without names all are called "unknown", as sd_listen_fds_with_names(3)
 * has it. */
static bool is_called(int i, const char *name)
{
    const char *names = getenv("LISTEN_FDNAMES");
    if (*name == '\0')
        return true;
    if (names == NULL)
        return strcmp(name, "unknown") == 0;
    for (; i > 0 && names != NULL; i--) {
        names = strchr(names, ':');
        names = names != NULL ? names + 1 : NULL;
    }
    size_t n = strlen(name);
    return names != NULL && strcspn(names, ":") == n && memcmp(names, name, n) == 0;
}

/* ---- the descriptors ---- */

static bool is_untaken(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

static bool is_stream(int fd, bool listening)
{
    int type = 0, accepts = 0;
    socklen_t len = sizeof(type);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM)
        return false;
    len = sizeof(accepts);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &len) == 0 &&
           (accepts != 0) == listening;
}

static bool is_to_be_had(int i, const char *name, bool listening)
{
    return is_called(i, name) && is_untaken(FIRST + i) && is_stream(FIRST + i, listening);
}

int cdt_systemd_count(const char *name, bool listening)
{
    int n = 0;
    for (int i = count_passed() - 1; i >= 0; i--)
        n += is_to_be_had(i, name, listening);
    return n;
}

static void forget_if_all_are_taken(int n)
{
    for (int i = 0; i < n; i++)
        if (is_untaken(FIRST + i))
            return;
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
}

int cdt_systemd_take(const char *name, bool listening)
{
    int n = count_passed();
    for (int i = 0; i < n; i++) {
        if (!is_to_be_had(i, name, listening))
            continue;
        fcntl(FIRST + i, F_SETFD, FD_CLOEXEC);
        forget_if_all_are_taken(n);
        return FIRST + i;
    }
    return -1;
}

/* ---- the resolver ---- */

static bool accepts(const conduit_query *query, void *state)
{
    return strcmp(conduit_query_transport(query), "systemd") == 0;
}

/* The same place as often as there are sockets of that name: each that is bound takes the next. One
 * that cannot be taken is answered too, for binding it says why. */
static void start(conduit_query *query, void *state)
{
    const char *name = conduit_query_host(query);
    bool listening = conduit_query_listening(query);
    int n = listening ? cdt_systemd_count(name, true) : 1;
    do
        conduit_query_add_place(query, name, -1);
    while (--n > 0);
    conduit_query_done(query, 0, NULL, 0, NULL);
}

const conduit_resolver cdt_resolver_systemd = {
    .name = "systemd",
    .immediate = true,
    .accepts = accepts,
    .start = start,
};
