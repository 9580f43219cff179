/* SPDX-License-Identifier: ISC */
/*
 * Memory: where the library's own comes from.
 *
 * It is the C library's unless the program says otherwise, once, before anything else. Values such
 * as endpoints and errors outlive every context and go from thread to thread, so this is a setting
 * of the process, and the only one there is. The libraries underneath have settings of their own,
 * which belong to the program too: uv_replace_allocator(), ares_library_init_mem(),
 * CRYPTO_set_mem_functions(). (libuv aborts in a few places where memory is short, epoll's own
 * bookkeeping among them; c-ares and OpenSSL report it, and so does this library: CONDUIT_ENOMEM.)
 */
#ifndef CONDUIT_MEMORY_H
#define CONDUIT_MEMORY_H

#include <conduit/export.h>
#include <stddef.h>

CONDUIT_BEGIN

/* Each as its namesake of the C library (malloc(3)), of any thread. */
typedef struct conduit_allocator {
    void *(*malloc)(size_t size);
    void *(*calloc)(size_t n, size_t size);
    void *(*realloc)(void *memory, size_t size);
    void (*free)(void *memory);
} conduit_allocator;

/* Before any other call of this library, on one thread. Copied; all four are needed. Returns 0 or
 * CONDUIT_EINVAL. NULL is the C library's again. */
CONDUIT_API int conduit_set_allocator(const conduit_allocator *allocator);

/* For resolvers and others who hand memory to the library or get some from it. */
CONDUIT_API void *conduit_malloc(size_t size);
CONDUIT_API void *conduit_calloc(size_t n, size_t size);
CONDUIT_API void *conduit_realloc(void *memory, size_t size);
CONDUIT_API char *conduit_strdup(const char *text);
CONDUIT_API void conduit_free(void *memory);

CONDUIT_END
#endif
