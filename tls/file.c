/* SPDX-License-Identifier: ISC */
/*
 * Files with certificates and keys, read whole, and whether they have changed since.
 *
 * What is checked is checked on the open descriptor, so that nobody can put another file in its
 * place between the check and the reading. Only regular files: opening must never wait for
 * somebody. The memory of a file is wiped before it is given back.
 */
#include "tls.h"
#include <conduit/memory.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The system's whole bundle of authorities is a quarter of this. */
enum { MAX_FILE = 1024 * 1024 };

static int refuse_errno(const char *what, const char *path, int number,
                        const conduit_error **reterr)
{
    int reason = number == ENOMEM ? CONDUIT_TLS_MEMORY : CONDUIT_TLS_FILE_UNREADABLE;
    return cdt_tls_refuse_for(reason, "errno", number, reterr, "%s \"%s\": %s", what, path,
                              strerror(number));
}

/* 0 if it is fit to be read, or a code and *reterr. */
static int check(const struct stat *status, const char *what, const char *path, bool secret,
                 const conduit_error **reterr)
{
    if (!S_ISREG(status->st_mode))
        return cdt_tls_refuse(CONDUIT_TLS_FILE_KIND, reterr, "%s \"%s\": is not a regular file",
                              what, path);
    if (status->st_size > MAX_FILE)
        return cdt_tls_refuse(CONDUIT_TLS_FILE_KIND, reterr,
                              "%s \"%s\": is far too large for what it is to be", what, path);
    if (secret && (status->st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return cdt_tls_refuse(CONDUIT_TLS_KEY_EXPOSED, reterr,
                              "%s \"%s\": is a secret that group or others may use: chmod 600 it",
                              what, path);
    return 0;
}

/* One byte more than its size is asked for, to see the end. Returns 0 or an errno. */
static int read_all(int fd, struct cdt_file *file)
{
    size_t room = file->len + 1;
    file->len = 0;
    while (file->len < room) {
        ssize_t n = read(fd, file->bytes + file->len, room - file->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            return 0;
        file->len += (size_t)n;
    }
    return EFBIG;
}

static int read_open(int fd, const char *what, const char *path, bool secret, struct cdt_file *file,
                     const conduit_error **reterr)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return refuse_errno(what, path, errno, reterr);
    int code = check(&status, what, path, secret, reterr);
    if (code < 0)
        return code;
    file->len = (size_t)status.st_size;
    file->bytes = conduit_malloc(file->len + 1);
    if (file->bytes == NULL)
        return refuse_errno(what, path, ENOMEM, reterr);
    int number = read_all(fd, file);
    if (number != 0) {
        cdt_file_done(file);
        return refuse_errno(what, path, number, reterr);
    }
    return 0;
}

int cdt_file_read(const char *what, const char *path, bool secret, struct cdt_file *ret,
                  const conduit_error **reterr)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return refuse_errno(what, path, errno, reterr);
    int code = read_open(fd, what, path, secret, ret, reterr);
    close(fd);
    return code;
}

void cdt_file_done(struct cdt_file *file)
{
    if (file->bytes != NULL)
        explicit_bzero(file->bytes, file->len);
    conduit_free(file->bytes);
    *file = (struct cdt_file){0};
}

void cdt_file_mark(const char *path, struct cdt_file_mark *ret)
{
    struct stat status;
    *ret = (struct cdt_file_mark){0};
    if (stat(path, &status) < 0)
        return;
    *ret = (struct cdt_file_mark){.device = status.st_dev,
                                  .inode = status.st_ino,
                                  .size = status.st_size,
                                  .changed = status.st_ctim};
}

bool cdt_file_same(const struct cdt_file_mark *a, const struct cdt_file_mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}
