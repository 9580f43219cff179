/* SPDX-License-Identifier: ISC */
/* The page that lists a directory. It is one document, with no script, and fetches nothing. */
#ifndef EXAMPLES_HTTP_INDEX_H
#define EXAMPLES_HTTP_INDEX_H

#include <stddef.h>

/* What the page may do: show itself. */
#define HTTP_INDEX_POLICY "default-src 'none'; style-src 'unsafe-inline'"

/* The page, to be free()d, and its length; NULL: out of memory, or the directory cannot be read.
 * Takes `fd`, the directory, over; `path` is what the client calls it, decoded, with a slash at
 * the end. */
char *http_index_page(int fd, const char *path, size_t *n);

#endif
