/* SPDX-License-Identifier: ISC */
/*
 * xenstore: which domain of this Xen is called that.
 *
 *     http://www.xen/      /conduit/www is 5      vchan://5/http
 *
 * The node is believed if it belongs to dom0 or to the domain that it names. What was found is
 * remembered, and all of it is forgotten when anything below /conduit changes, which a watch tells.
 * Without a xenstore, or where it does not talk to this process, the query is passed on; so is a
 * number, which needs no name, and what listens.
 *
 * The connection to xenstore is made by the first such name and closed with the context.
 */
#include "xen.h"
#include <conduit/memory.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>
#include <xenstore.h>

#define FOLDER "/conduit"

enum { MOST_KNOWN = 256, EVENTS_PER_TURN = 64, LAST_DOMAIN = 32751 };

/* What a node says, and whose it is. */
struct found {
    unsigned domain, owner;
    bool remembered;
};

struct known {
    struct known *next;
    struct found found;
    char name[];
};

struct directory {
    conduit_ctx *ctx;
    struct xs_handle *store; /* NULL: not yet asked */
    bool watching;           /* poll is on the loop */
    uv_poll_t poll;
    struct known *known;
    unsigned n_known;
};

/* ---- what is known ---- */

static void forget(void *state)
{
    struct directory *directory = state;
    struct known *one, *next;
    LL_FOREACH_SAFE(directory->known, one, next)
    {
        conduit_free(one);
    }
    directory->known = NULL;
    directory->n_known = 0;
}

/* Out of memory it is asked again next time. */
static void keep(struct directory *directory, const char *name, struct found found)
{
    size_t n = strlen(name) + 1;
    if (directory->n_known == MOST_KNOWN)
        forget(directory);
    struct known *one = conduit_malloc(sizeof(*one) + n);
    if (one == NULL)
        return;
    one->found = found;
    memcpy(one->name, name, n);
    LL_PREPEND(directory->known, one);
    directory->n_known++;
}

static const struct known *find_known(const struct directory *directory, const char *name)
{
    const struct known *one = directory->known;
    while (one != NULL && strcmp(one->name, name) != 0)
        one = one->next;
    return one;
}

/* ---- xenstore ---- */

/* If it is gone, what it said is no longer to be relied on, and the next query finds out. */
static void take_events(struct directory *directory)
{
    int n = 0, number = 0;
    while (n < EVENTS_PER_TURN && number == 0) {
        char **event = xs_check_watch(directory->store);
        number = event == NULL ? errno : 0;
        n += event != NULL;
        free(event);
    }
    bool gone = number != 0 && number != EAGAIN;
    if (gone)
        uv_poll_stop(&directory->poll);
    if (n > 0 || gone)
        forget(directory);
}

static void on_changed(uv_poll_t *poll, int status, int events)
{
    take_events(poll->data);
}

static bool has_xenstore(void)
{
    return access("/dev/xen/xenbus", F_OK) == 0 || access("/run/xenstored/socket", F_OK) == 0;
}

/* Without a watch nothing may be remembered. */
static void start_watch(struct directory *directory)
{
    uv_loop_t *loop = conduit_ctx_loop(directory->ctx);
    if (!xs_watch(directory->store, FOLDER, "names") ||
        uv_poll_init(loop, &directory->poll, xs_fileno(directory->store)) < 0)
        return;
    directory->poll.data = directory;
    directory->watching = true;
    uv_poll_start(&directory->poll, UV_READABLE, on_changed);
    uv_unref((uv_handle_t *)&directory->poll);
}

static bool open_store(struct directory *directory)
{
    if (directory->store != NULL)
        return true;
    directory->store = has_xenstore() ? xs_open(0) : NULL;
    if (directory->store != NULL)
        start_watch(directory);
    return directory->store != NULL;
}

/* Digits and nothing else, of a domain. */
static bool read_domain(const char *text, unsigned len, unsigned *ret)
{
    char *end;
    if (len == 0 || len > 5 || !isdigit((unsigned char)*text))
        return false;
    *ret = (unsigned)strtoul(text, &end, 10);
    return end == text + len && *ret <= LAST_DOMAIN;
}

static bool read_owner(struct directory *directory, const char *path, unsigned *ret)
{
    unsigned n;
    struct xs_permissions *who = xs_get_permissions(directory->store, XBT_NULL, path, &n);
    bool there = who != NULL && n > 0;
    *ret = there ? who[0].id : 0;
    free(who);
    return there;
}

/* Between two looks that find the same owner the node may only have been that one's, or said a
 * number that is not its own: either is what answer() checks. */
static bool read_node(struct directory *directory, const char *path, struct found *ret)
{
    unsigned len, before;
    if (!read_owner(directory, path, &before))
        return false;
    char *text = xs_read(directory->store, XBT_NULL, path, &len);
    bool there = text != NULL && read_domain(text, len, &ret->domain);
    free(text);
    return there && read_owner(directory, path, &ret->owner) && before == ret->owner;
}

/* ---- the resolver ---- */

static int attach(conduit_ctx *ctx, const conduit_ctx_options *options, void **state)
{
    struct directory *directory = conduit_calloc(1, sizeof(*directory));
    if (directory == NULL)
        return CONDUIT_ENOMEM;
    directory->ctx = ctx;
    *state = directory;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    conduit_free(handle->data);
}

static void detach(void *state)
{
    struct directory *directory = state;
    forget(directory);
    if (directory->watching)
        uv_close((uv_handle_t *)&directory->poll, on_closed);
    xs_close(directory->store);
    if (!directory->watching)
        conduit_free(directory);
}

static bool is_number(const char *name)
{
    return name[strspn(name, "0123456789")] == '\0';
}

static bool accepts(const conduit_query *query, void *state)
{
    char name[CDT_NAME_SIZE];
    return conduit_query_by_address(query) && cdt_domain_of_query(query, name);
}

/* xen.c knows what to do with the others. */
static bool needs_name(const conduit_query *query, const char *name)
{
    return !conduit_query_listening(query) && conduit_query_family(query) == 0 && !is_number(name);
}

static void answer(conduit_query *query, const struct found *found, const char *path)
{
    char domain[16], why[CDT_NAME_SIZE + 100];
    snprintf(domain, sizeof(domain), "%u", found->domain);
    conduit_query_trace(query, found->remembered ? "cache" : "answer",
                        "%s: domain %u, says domain %u", path, found->domain, found->owner);
    if (found->owner != 0 && found->owner != found->domain) {
        snprintf(why, sizeof(why), "%s says domain %u, but it is domain %u's: not believed", path,
                 found->domain, found->owner);
        conduit_query_done(query, CONDUIT_ENONAME, NULL, 0, why);
        return;
    }
    const conduit_endpoint *endpoint;
    int code = cdt_vchan_of_query(query, domain, &endpoint);
    if (code == 0) {
        conduit_query_add(query, endpoint, -1);
        conduit_endpoint_unref(endpoint);
    }
    conduit_query_done(query, code == 0 ? 0 : CONDUIT_PASS, NULL, 0, NULL); /* xen says why */
}

/* What is known is so as long as the watch has not said otherwise. It is asked here, too: a program
 * may run the loop only when it wants something. */
static bool find(struct directory *directory, const char *name, const char *path, struct found *ret)
{
    if (directory->watching)
        take_events(directory);
    const struct known *known = find_known(directory, name);
    if (known != NULL) {
        *ret = known->found;
        ret->remembered = true;
        return true;
    }
    if (!read_node(directory, path, ret))
        return false;
    if (directory->watching)
        keep(directory, name, *ret);
    return true;
}

static void start(conduit_query *query, void *state)
{
    struct directory *directory = state;
    char name[CDT_NAME_SIZE], path[CDT_NAME_SIZE + sizeof(FOLDER "/")];
    struct found found = {0};
    cdt_domain_of_query(query, name);
    snprintf(path, sizeof(path), FOLDER "/%s", name);
    if (!needs_name(query, name) || !open_store(directory)) {
        conduit_query_done(query, CONDUIT_PASS, NULL, 0, NULL);
    } else if (!find(directory, name, path, &found)) {
        conduit_query_trace(query, "answer", "%s: no domain of this name", path);
        conduit_query_done(query, CONDUIT_ENONAME, NULL, 0,
                           "xenstore knows no domain of this name (" FOLDER ")");
    } else {
        answer(query, &found, path);
    }
}

const conduit_resolver cdt_resolver_xenstore = {
    .name = "xenstore",
    .immediate = true,
    .attach = attach,
    .detach = detach,
    .accepts = accepts,
    .start = start,
    .flush = forget,
};
