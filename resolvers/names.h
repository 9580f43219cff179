/* SPDX-License-Identifier: ISC */
/*
 * The resolvers of this folder, in the order in which they are asked, and the little they share.
 *
 * Each is one file and one constant row. What they know of a query is what conduit/resolver.h tells
 * everybody.
 */
#ifndef CDT_NAMES_H
#define CDT_NAMES_H

#include <conduit/resolver.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

extern const conduit_resolver cdt_resolver_literal; /* numeric addresses, and "every address" */
extern const conduit_resolver cdt_resolver_local;   /* unix paths, inproc names */
extern const conduit_resolver cdt_resolver_xen;     /* NAME.xen: vchans of this machine */
extern const conduit_resolver cdt_resolver_special; /* localhost, and names nobody is asked about */
extern const conduit_resolver cdt_resolver_hosts;   /* the hosts file */
extern const conduit_resolver cdt_resolver_dns;     /* c-ares */
extern const conduit_resolver cdt_resolver_system;  /* getaddrinfo */

/* A folded name: 253 bytes, and a NUL. */
enum { CDT_NAME_SIZE = 254 };

/* Fold `host`, of `n` bytes, for comparing (RFC 4343): ASCII lower case, without the final dot.
 * What is too long to be a name becomes "". `to` has room for n + 1 bytes or for CDT_NAME_SIZE,
 * whichever is less, and may be `host`. */
static inline void cdt_fold_name(const char *host, size_t n, char *to)
{
    if (n > 0 && host[n - 1] == '.')
        n--;
    if (n >= CDT_NAME_SIZE)
        n = 0;
    for (size_t i = 0; i < n; i++)
        to[i] = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] - 'A' + 'a') : host[i];
    to[n] = '\0';
}

/* Is a host the domain (folded), or below it? */
static inline bool cdt_host_is_in(const char *host, const char *domain)
{
    size_t n = strlen(host), tail = strlen(domain);
    char end[CDT_NAME_SIZE];
    if (n > 0 && host[n - 1] == '.')
        n--;
    if (n < tail || (n > tail && host[n - tail - 1] != '.'))
        return false;
    cdt_fold_name(host + n - tail, tail, end);
    return strcmp(end, domain) == 0;
}

/* What tells one state of a file from the next. All zero: there is no such file. */
struct cdt_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

/* A file that is read again when it has changed. `seen` is set by whoever has read it. */
struct cdt_watch {
    struct cdt_stamp seen;
    uint64_t looked_at; /* uv_hrtime() */
};

/* Look at `path`, at most once a second. True if it is not as it was `seen`; *now is how it is. */
static inline bool cdt_watch_look(struct cdt_watch *watch, const char *path, struct cdt_stamp *now)
{
    const uint64_t second = 1000000000;
    const struct cdt_stamp *seen = &watch->seen;
    uint64_t at = uv_hrtime();
    struct stat status;
    if (watch->looked_at != 0 && at - watch->looked_at < second)
        return false;
    watch->looked_at = at;
    *now = (struct cdt_stamp){0};
    if (stat(path, &status) == 0)
        *now = (struct cdt_stamp){status.st_dev, status.st_ino, status.st_size, status.st_mtim};
    return now->device != seen->device || now->inode != seen->inode || now->size != seen->size ||
           now->changed.tv_sec != seen->changed.tv_sec ||
           now->changed.tv_nsec != seen->changed.tv_nsec;
}

#endif
