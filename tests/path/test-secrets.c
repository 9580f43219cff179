/* SPDX-License-Identifier: ISC */
/*
 * What is secret is wiped before its memory is given back: passwords of proxies and of origins, in
 * URIs, options, keys of pools and requests.
 *
 * The allocator of this test looks through each block that is freed. It gives out no block with
 * anything of an earlier life in it, so what it finds was left there by us.
 */
#include "harness.h"
#include "proxy.h"
#include <conduit/memory.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET "correct-horse"
#define LOGIN "al:" SECRET
#define LOGIN_BASE64 "YWw6Y29ycmVjdC1ob3JzZQ=="

static int n_freed, n_found;
static char found[64];

/* ---- an allocator that looks ---- */

static void look(const char *block, size_t size, const char *secret)
{
    const char *at = memmem(block, size, secret, strlen(secret));
    if (at == NULL)
        return;
    n_found++;
    const char *from = at - block > 24 ? at - 24 : block;
    snprintf(found, sizeof(found), "%.*s", (int)(at - from) + 20, from);
}

static void look_and_free(void *block)
{
    if (block == NULL)
        return;
    n_freed++;
    look(block, malloc_usable_size(block), SECRET);
    look(block, malloc_usable_size(block), LOGIN_BASE64);
    free(block);
}

static void *clean_malloc(size_t size)
{
    void *block = malloc(size);
    if (block != NULL)
        explicit_bzero(block, malloc_usable_size(block));
    return block;
}

static void *clean_calloc(size_t n, size_t size)
{
    return size != 0 && n > SIZE_MAX / size ? NULL : clean_malloc(n * size);
}

static void *clean_realloc(void *block, size_t size)
{
    void *grown = clean_malloc(size);
    size_t old = block != NULL ? malloc_usable_size(block) : 0;
    if (grown != NULL && old > 0)
        memcpy(grown, block, old < size ? old : size);
    if (grown != NULL)
        look_and_free(block);
    return grown;
}

static const conduit_allocator looking = {.malloc = clean_malloc,
                                          .calloc = clean_calloc,
                                          .realloc = clean_realloc,
                                          .free = look_and_free};

/* ---- somebody to talk to ---- */

static struct cdt_proxy proxy;
static struct cdt_side client;

static void open_proxy(const char *login)
{
    cr_assert_eq(conduit_set_allocator(&looking), 0);
    n_freed = n_found = 0;
    memset(&proxy, 0, sizeof(proxy));
    memset(&client, 0, sizeof(client));
    cdt_open_ctx(NULL);
    proxy.login = login;
    cdt_proxy_listen(&proxy, "tcp://127.0.0.1:0", NULL);
}

static void expect_nothing_found(const char *what)
{
    cdt_close_ctx();
    cdt_side_clear(&client);
    conduit_set_allocator(NULL);
    cr_expect_gt(n_freed, 20, "the allocator is not in use");
    cr_expect_eq(n_found, 0, "%s: %d blocks with a secret: ...%s", what, n_found, found);
}

static void call(const char *uri, conduit_connect_options *how)
{
    cr_assert_eq(conduit_connect(cdt_ctx, uri, how, &cdt_side_handler, &client, &client.conn), 0,
                 "%s", conduit_error_text(conduit_ctx_error(cdt_ctx)));
    cdt_await(&client.closed);
}

/* ---- what may be secret ---- */

/* To a place where nobody listens: the talk with the proxy is all that there is. */
static void expect_forgotten_by(const char *kind, const char *demanded, bool pooled)
{
    char via[128];
    open_proxy(demanded);
    snprintf(via, sizeof(via), "%s://" LOGIN "@127.0.0.1:%d", kind,
             cdt_port_of(conduit_listener_uri(proxy.listener, 0)));
    conduit_pool *pool = conduit_pool_new(cdt_ctx, NULL);
    conduit_connect_options how = {.via = via, .pool = pooled ? pool : NULL};
    call("tcp://127.0.0.1:1", &how);
    cr_expect_lt(cdt_side_code(&client), 0);
    conduit_pool_free(pool);
    expect_nothing_found(kind);
}

CDT_TEST(secrets, the_password_of_a_proxy_is_forgotten)
{
    expect_forgotten_by("socks5", LOGIN, false);
    expect_forgotten_by("http", LOGIN, false);
    expect_forgotten_by("socks5", "al:other", false);
    expect_forgotten_by("http", "al:other", false);
}

CDT_TEST(secrets, the_key_of_a_pool_is_forgotten)
{
    expect_forgotten_by("socks5", LOGIN, true);
    expect_forgotten_by("http", LOGIN, true);
}

CDT_TEST(secrets, the_user_of_an_applications_uri_is_forgotten)
{
    open_proxy(NULL);
    conduit_pool *pool = conduit_pool_new(cdt_ctx, NULL);
    conduit_connect_options how = {.pool = pool};
    call("redis://" LOGIN "@127.0.0.1:1/3", &how);
    cr_expect_null(conduit_pool_shared(pool, "redis://" LOGIN "@127.0.0.1:1/3", NULL));
    expect_nothing_found("redis");
}

CDT_TEST(secrets, a_passphrase_among_the_parameters_is_forgotten)
{
    open_proxy(NULL);
    conduit_connect_options how = {.endpoint_params = "verify=insecure&password=" SECRET};
    conduit_pool *pool = conduit_pool_new(cdt_ctx, NULL);
    how.pool = pool;
    if (conduit_connect(cdt_ctx, "https://127.0.0.1:1/", &how, &cdt_side_handler, &client,
                        &client.conn) == 0)
        cdt_await(&client.closed);
    expect_nothing_found("password");
}
