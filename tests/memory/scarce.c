/* SPDX-License-Identifier: ISC */
/* Memory that fails on demand: scarce.h says when. TLS may be set up on a thread of libuv's, so
 * what is counted is counted atomically. */
#include "scarce.h"
#include "conduit-build.h"
#include <conduit/memory.h>
#include <stdatomic.h>
#include <stdlib.h>
#if CONDUIT_HAVE_DNS
#include <ares.h>
#endif
#if CONDUIT_HAVE_OPENSSL
#include <openssl/crypto.h>
#endif

static atomic_long calls, blocks;
static atomic_bool failed;
static atomic_long fail_at; /* 0: there is no plan */
static atomic_bool onwards;
static enum cdt_asker whose;

static bool denied(enum cdt_asker asker)
{
    long at = atomic_load(&fail_at);
    if (at == 0 || asker != whose)
        return false;
    long n = atomic_fetch_add(&calls, 1) + 1;
    bool no = n == at || (n > at && atomic_load(&onwards));
    if (no)
        atomic_store(&failed, true);
    return no;
}

static void *counted(void *memory)
{
    if (memory != NULL)
        atomic_fetch_add(&blocks, 1);
    return memory;
}

static void give_back(void *memory)
{
    if (memory != NULL)
        atomic_fetch_sub(&blocks, 1);
    free(memory);
}

static void *more_for(enum cdt_asker asker, void *memory, size_t size)
{
    if (denied(asker))
        return NULL;
    return memory == NULL ? counted(malloc(size)) : realloc(memory, size);
}

static void *get(size_t size)
{
    return denied(CDT_LIBRARY) ? NULL : counted(malloc(size));
}

static void *get_zeroed(size_t n, size_t size)
{
    return denied(CDT_LIBRARY) ? NULL : counted(calloc(n, size));
}

static void *get_more(void *memory, size_t size)
{
    return more_for(CDT_LIBRARY, memory, size);
}

#if CONDUIT_HAVE_DNS
static void *ares_get(size_t size)
{
    return denied(CDT_C_ARES) ? NULL : counted(malloc(size));
}

static void *ares_get_more(void *memory, size_t size)
{
    return more_for(CDT_C_ARES, memory, size);
}

static bool install_ares(void)
{
    return ares_library_init_mem(ARES_LIB_INIT_ALL, ares_get, give_back, ares_get_more) == 0;
}
#else
static bool install_ares(void)
{
    return true;
}
#endif

#if CONDUIT_HAVE_OPENSSL
static void *ssl_get(size_t size, const char *file, int line)
{
    return denied(CDT_OPENSSL) ? NULL : malloc(size);
}

static void *ssl_get_more(void *memory, size_t size, const char *file, int line)
{
    return denied(CDT_OPENSSL) ? NULL : realloc(memory, size);
}

static void ssl_give_back(void *memory, const char *file, int line)
{
    free(memory);
}

static bool install_openssl(void)
{
    return CRYPTO_set_mem_functions(ssl_get, ssl_get_more, ssl_give_back) == 1;
}
#else
static bool install_openssl(void)
{
    return true;
}
#endif

bool cdt_scarce_install(void)
{
    static const conduit_allocator ours = {get, get_zeroed, get_more, give_back};
    return install_openssl() && install_ares() && conduit_set_allocator(&ours) == 0;
}

void cdt_scarce_plan(enum cdt_asker asker, long nth, bool all_after)
{
    whose = asker;
    atomic_store(&calls, 0);
    atomic_store(&failed, false);
    atomic_store(&onwards, all_after);
    atomic_store(&fail_at, nth);
}

void cdt_scarce_over(void)
{
    atomic_store(&fail_at, 0);
}

bool cdt_scarce_failed(void)
{
    return atomic_load(&failed);
}

long cdt_scarce_blocks(void)
{
    return atomic_load(&blocks);
}
