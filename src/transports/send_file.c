/* SPDX-License-Identifier: ISC */
/* sendfile(2) without its signal: send_file.h. */
#include "send_file.h"
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/sendfile.h>
#include <time.h>

/* Is there one already, which is not ours to take? It can only wait where it was blocked before. */
static bool waits(const sigset_t *blocked)
{
    sigset_t pending;
    return sigismember(blocked, SIGPIPE) == 1 && sigpending(&pending) == 0 &&
           sigismember(&pending, SIGPIPE) == 1;
}

static void take_back(const sigset_t *broken_pipe)
{
    const struct timespec at_once = {0};
    while (sigtimedwait(broken_pipe, NULL, &at_once) < 0 && errno == EINTR)
        ;
}

ssize_t cdt_send_file(int to, int fd, off_t offset, size_t n)
{
    sigset_t broken_pipe, before;
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
    bool waited = waits(&before);
    ssize_t sent = sendfile(to, fd, &offset, n);
    int number = errno;
    if (sent < 0 && number == EPIPE && !waited)
        take_back(&broken_pipe);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = number;
    return sent;
}
