/* SPDX-License-Identifier: ISC */
/*
 * What a server serves: a directory, or files that were compiled in. Both answer GET and HEAD with
 * types, validators (ETag, Last-Modified), conditions and ranges (RFC 9110, 13 and 14); a directory
 * has index.html, or an index that is made for it.
 *
 * Nothing outside of the directory is ever opened, whatever a path says and wherever a symbolic
 * link leads: the kernel sees to that (openat2, RESOLVE_BENEATH). Names that begin with a dot are
 * not served, but for .well-known.
 */
#ifndef EXAMPLES_HTTP_FILES_H
#define EXAMPLES_HTTP_FILES_H

#include "cache.h"
#include "server.h"

/* One file that was compiled in; `etag` changes with its content. The crunch script writes these,
 * sorted by path. */
struct http_asset {
    const char *path; /* "/index.html" */
    const char *etag;
    const unsigned char *bytes;
    size_t n;
};

struct http_files {
    int root;                 /* a descriptor of the directory, or -1: assets */
    struct http_cache *cache; /* of the directory, and of the thread */
    const struct http_asset *assets;
    size_t n_assets;
};

/* The validator of a file: other content, other time, other size, another one. */
void http_etag(char *buf, size_t size, const struct stat *st);

/* Answer a request. */
void http_files_answer(const struct http_files *files, struct http_exchange *x);

#endif
