/* SPDX-License-Identifier: ISC */
/* Parts of files, before they are in the queue: file.h. */
#include "file.h"
#include <conduit/error.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int cdt_extent_check(int fd, uint64_t offset, size_t n)
{
    struct stat file;
    if (fstat(fd, &file) < 0)
        return errno == EBADF ? CONDUIT_EINVAL : CONDUIT_EIO;
    int flags = fcntl(fd, F_GETFL);
    if (!S_ISREG(file.st_mode) || flags < 0 || (flags & O_ACCMODE) == O_WRONLY || flags & O_PATH)
        return CONDUIT_EINVAL;
    uint64_t size = (uint64_t)file.st_size;
    return offset <= size && n <= size - offset ? 0 : CONDUIT_EINVAL;
}

int cdt_extent_read(const struct cdt_extent *extent, unsigned char *bytes)
{
    for (size_t done = 0; done < extent->n;) {
        ssize_t n = pread(extent->fd, bytes + done, extent->n - done, extent->offset + (off_t)done);
        if (n == 0)
            return CONDUIT_EINVAL;
        if (n < 0 && errno != EINTR)
            return CONDUIT_EIO;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int cdt_extent_own(struct cdt_extent *extent)
{
    extent->fd = fcntl(extent->fd, F_DUPFD_CLOEXEC, 3);
    return extent->fd >= 0 ? 0 : CONDUIT_ELIMIT;
}
