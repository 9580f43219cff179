/* SPDX-License-Identifier: ISC */
/* Where all memory of the library comes from: conduit/memory.h says who decides that. */
#include <conduit/error.h>
#include <conduit/memory.h>
#include <stdlib.h>
#include <string.h>

static const conduit_allocator of_libc = {malloc, calloc, realloc, free};
static conduit_allocator current = {malloc, calloc, realloc, free};

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
