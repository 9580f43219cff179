/* SPDX-License-Identifier: ISC */
/* Where all memory of the library comes from: conduit/memory.h says who decides that. */
#include <conduit/error.h>
#include <conduit/memory.h>
#include <stdlib.h>
#include <string.h>

static void *zeroed(size_t n, size_t size);

static const conduit_allocator of_libc = {malloc, zeroed, realloc, free};
static conduit_allocator current = {malloc, zeroed, realloc, free};

/* glibc's calloc() does without the pieces that each thread keeps at hand, and malloc() does not:
 * for what is small that is most of its time. (By name, the compiler would make calloc() of it.) */
static void *zeroed(size_t n, size_t size)
{
    enum { SMALL = 2048 };
    if (n > SMALL || size > SMALL || n * size > SMALL)
        return calloc(n, size);
    void *memory = current.malloc(n * size);
    return memory != NULL ? memset(memory, 0, n * size) : NULL;
}

int conduit_set_allocator(const conduit_allocator *allocator)
{
    if (allocator == NULL)
        allocator = &of_libc;
    if (allocator->malloc == NULL || allocator->calloc == NULL || allocator->realloc == NULL ||
        allocator->free == NULL)
        return CONDUIT_EINVAL;
    current = *allocator;
    return 0;
}

void *conduit_malloc(size_t size)
{
    return current.malloc(size);
}

void *conduit_calloc(size_t n, size_t size)
{
    return current.calloc(n, size);
}

void *conduit_realloc(void *memory, size_t size)
{
    return current.realloc(memory, size);
}

char *conduit_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = current.malloc(size);
    return copy != NULL ? memcpy(copy, text, size) : NULL;
}

void conduit_free(void *memory)
{
    current.free(memory);
}
