/* SPDX-License-Identifier: ISC */
/* See lock.h. */
#include "transports/lock.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/* flock(2) knows no deadline but a signal, which is the program's; so it is asked every
 * millisecond. Whoever is at the same thing has it for less. */
static int lock(int fd, unsigned wait_ms)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return errno;
        if (wait_ms-- == 0)
            return EBUSY;
        nanosleep(&moment, NULL);
    }
    return 0;
}

int cdt_lock_directory(const char *path, int flags, unsigned wait_ms)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
    int number = fd >= 0 ? lock(fd, wait_ms) : 0;
    if (number == 0)
        return fd;
    close(fd);
    errno = number;
    return -1;
}
