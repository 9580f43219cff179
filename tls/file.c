/* SPDX-License-Identifier: ISC */
/*
 * Files with certificates and keys, read whole.
 *
 * What is checked is checked on the open descriptor, so that nobody can put another file in its
 * place between the check and the reading. Only regular files: opening must never wait for
 * somebody. The memory of a file is wiped before it is given back.
 */
#include "error.h"
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
    int code = number == ENOMEM ? CONDUIT_ENOMEM : CONDUIT_ETLS;
    return cdt_error_give(cdt_error_new(code, CONDUIT_STAGE_TLS, NULL, "errno", number,
                                        "%s \"%s\": %s", what, path, strerror(number)),
                          reterr);
}

/* NULL: fit to be read. */
static const char *find_fault(const struct stat *status, bool secret)
{
    if (!S_ISREG(status->st_mode))
        return "is not a regular file";
    if (status->st_size > MAX_FILE)
        return "is far too large for a PEM file";
    if (secret && (status->st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return "is a private key that group or others may use: chmod 600 it";
    return NULL;
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
    const char *fault = find_fault(&status, secret);
    if (fault != NULL)
        return cdt_tls_refuse(CONDUIT_ETLS, reterr, "%s \"%s\": %s", what, path, fault);
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
