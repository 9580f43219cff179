/* SPDX-License-Identifier: ISC */
/* See fake-store.h. A transaction works on a copy of the table and takes its place, unless the
 * table has changed meanwhile. */
#include "fake-store.h"
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <xenstore.h>

enum { MOST_PERMS = 3, MOST_WATCHES = 16, MOST_FIRED = 64 };

struct node {
    char path[FAKE_PATH];
    char *value;
    size_t n;
    struct xs_permissions who[MOST_PERMS];
    unsigned n_who;
};

struct table {
    struct node nodes[FAKE_NODES];
    unsigned n;
};

struct watch {
    char path[FAKE_PATH], token[64];
};

static struct table live, copy;
static unsigned self, generation, copied;
static bool in_transaction;
static struct watch watches[MOST_WATCHES], fired[MOST_FIRED];
static unsigned n_watches, n_fired;
static int bell = -1;

void (*fake_store_meanwhile)(unsigned reading);
unsigned fake_store_busy, fake_store_readings;
bool fake_store_gone;

/* ---- the table ---- */

static struct node *find(struct table *table, const char *path)
{
    for (unsigned i = 0; i < table->n; i++)
        if (strcmp(table->nodes[i].path, path) == 0)
            return &table->nodes[i];
    return NULL;
}

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static void empty(struct table *table)
{
    for (unsigned i = 0; i < table->n; i++)
        free(table->nodes[i].value);
    table->n = 0;
}

static char *copy_value(const void *value, size_t n)
{
    char *text = malloc(n + 1);
    if (text == NULL)
        abort();
    memcpy(text, value, n);
    text[n] = '\0';
    return text;
}

static void copy_table(struct table *to, const struct table *from)
{
    empty(to);
    *to = *from;
    for (unsigned i = 0; i < to->n; i++)
        to->nodes[i].value = copy_value(from->nodes[i].value, from->nodes[i].n);
}

static struct node *make(struct table *table, const char *path)
{
    struct node *node = find(table, path);
    if (node != NULL)
        return node;
    if (table->n == FAKE_NODES || strlen(path) >= FAKE_PATH)
        abort();
    node = &table->nodes[table->n++];
    *node = (struct node){.who = {{.id = self}}, .n_who = 1, .value = copy_value("", 0)};
    snprintf(node->path, sizeof(node->path), "%s", path);
    return node;
}

static void set_value(struct node *node, const void *value, size_t n)
{
    free(node->value);
    node->value = copy_value(value, n);
    node->n = n;
}

static bool remove_below(struct table *table, const char *path)
{
    unsigned kept = 0, had = table->n;
    for (unsigned i = 0; i < had; i++) {
        if (is_below(table->nodes[i].path, path))
            free(table->nodes[i].value);
        else
            table->nodes[kept++] = table->nodes[i];
    }
    table->n = kept;
    return kept < had;
}

static bool may(const struct node *node, unsigned what)
{
    unsigned perms = node->who[0].perms;
    for (unsigned i = 1; i < node->n_who; i++)
        if (node->who[i].id == self)
            perms = node->who[i].perms;
    return self == 0 || node->who[0].id == self || (perms & what) == what;
}

/* ---- watches ---- */

static void fire(const char *path)
{
    for (unsigned i = 0; i < n_watches && n_fired < MOST_FIRED; i++) {
        if (!is_below(path, watches[i].path) && !is_below(watches[i].path, path))
            continue;
        snprintf(fired[n_fired].path, FAKE_PATH, "%s", path);
        memcpy(fired[n_fired++].token, watches[i].token, sizeof(watches[i].token));
    }
    if (n_fired > 0 && bell >= 0)
        eventfd_write(bell, 1);
}

static void changed(const char *path)
{
    generation++;
    fire(path);
}

/* ---- the test's side ---- */

void fake_store_begin(unsigned domain)
{
    fake_store_end();
    self = domain;
    bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    char text[16];
    int n = snprintf(text, sizeof(text), "%u", domain);
    fake_store_put(0, "domid", text, (size_t)n, -1, XS_PERM_READ);
}

unsigned fake_store_end(void)
{
    unsigned left = n_watches;
    empty(&live);
    empty(&copy);
    in_transaction = fake_store_gone = false;
    fake_store_meanwhile = NULL;
    n_watches = n_fired = fake_store_busy = fake_store_readings = 0;
    if (bell >= 0)
        close(bell);
    bell = -1;
    return left;
}

void fake_store_be(unsigned domain)
{
    self = domain;
}

void fake_store_put(unsigned owner, const char *path, const void *value, size_t n, int other,
                    unsigned may_do)
{
    struct node *node = make(&live, path);
    set_value(node, value, n);
    node->who[0] = (struct xs_permissions){.id = owner, .perms = other < 0 ? may_do : 0};
    node->who[1] = (struct xs_permissions){.id = (unsigned)other, .perms = may_do};
    node->n_who = other < 0 ? 1 : 2;
    changed(path);
}

void fake_store_remove(const char *path)
{
    remove_below(&live, path);
    changed(path);
}

const char *fake_store_value(const char *path)
{
    const struct node *node = find(&live, path);
    return node != NULL ? node->value : NULL;
}

unsigned fake_store_nodes(void)
{
    return live.n;
}

/* ---- libxenstore's calls ---- */

static struct table *table_of(xs_transaction_t t)
{
    return t == XBT_NULL ? &live : &copy;
}

static bool fails(int number)
{
    errno = fake_store_gone ? EIO : number;
    return errno != 0;
}

static struct node *reach(xs_transaction_t t, const char *path, unsigned what)
{
    struct node *node = find(table_of(t), path);
    if (fails(*path == '\0' ? EINVAL : node == NULL ? ENOENT : may(node, what) ? 0 : EACCES))
        return NULL;
    return node;
}

struct xs_handle *xs_open(unsigned long flags)
{
    static char handle;
    return fails(0) ? NULL : (struct xs_handle *)(void *)&handle;
}

void xs_close(struct xs_handle *h)
{
    n_watches = h != NULL ? 0 : n_watches;
}

int xs_fileno(struct xs_handle *h)
{
    return bell;
}

void *xs_read(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned *len)
{
    fake_store_readings++;
    if (fake_store_meanwhile != NULL)
        fake_store_meanwhile(fake_store_readings);
    const struct node *node = reach(t, path, XS_PERM_READ);
    if (node == NULL)
        return NULL;
    *len = (unsigned)node->n;
    return copy_value(node->value, node->n);
}

bool xs_write(struct xs_handle *h, xs_transaction_t t, const char *path, const void *data,
              unsigned len)
{
    const struct node *there = find(table_of(t), path);
    if (fails(there != NULL && !may(there, XS_PERM_WRITE) ? EACCES : 0))
        return false;
    set_value(make(table_of(t), path), data, len);
    if (t == XBT_NULL)
        changed(path);
    return true;
}

bool xs_rm(struct xs_handle *h, xs_transaction_t t, const char *path)
{
    if (fails(0) || !remove_below(table_of(t), path))
        return false;
    if (t == XBT_NULL)
        changed(path);
    return true;
}

/* The names right below it, in one allocation, as the library has it. */
char **xs_directory(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned *num)
{
    const struct table *table = table_of(t);
    size_t skip = strlen(path) + 1;
    char **names = malloc(FAKE_NODES * (sizeof(char *) + FAKE_PATH));
    if (names == NULL || fails(0)) {
        free(names);
        return NULL;
    }
    char *text = (char *)(names + FAKE_NODES);
    *num = 0;
    for (unsigned i = 0; i < table->n; i++) {
        const char *rest = table->nodes[i].path + skip;
        bool direct = is_below(table->nodes[i].path, path) && table->nodes[i].path[skip - 1] == '/';
        if (!direct)
            continue;
        int n = snprintf(text, FAKE_PATH, "%.*s", (int)strcspn(rest, "/"), rest);
        if (*num > 0 && strcmp(names[*num - 1], text) == 0)
            continue;
        names[(*num)++] = text;
        text += n + 1;
    }
    bool there = *num > 0 || find(table_of(t), path) != NULL;
    if (there)
        return names;
    free(names);
    errno = ENOENT;
    return NULL;
}

struct xs_permissions *xs_get_permissions(struct xs_handle *h, xs_transaction_t t, const char *path,
                                          unsigned *num)
{
    const struct node *node = reach(t, path, XS_PERM_READ);
    struct xs_permissions *who = node != NULL ? malloc(sizeof(node->who)) : NULL;
    if (who == NULL)
        return NULL;
    memcpy(who, node->who, sizeof(node->who));
    *num = node->n_who;
    return who;
}

bool xs_set_permissions(struct xs_handle *h, xs_transaction_t t, const char *path,
                        struct xs_permissions *perms, unsigned n)
{
    struct node *node = find(table_of(t), path);
    if (fails(node == NULL ? ENOENT : self != 0 && node->who[0].id != self ? EACCES : 0))
        return false;
    if (n > MOST_PERMS)
        abort();
    memcpy(node->who, perms, n * sizeof(*perms));
    node->n_who = n;
    return true;
}

xs_transaction_t xs_transaction_start(struct xs_handle *h)
{
    fake_store_busy -= fake_store_busy > 0;
    if (in_transaction)
        abort();
    if (fails(fake_store_busy > 0 ? ENOSPC : 0))
        return XBT_NULL;
    copy_table(&copy, &live);
    copied = generation;
    in_transaction = true;
    return 1;
}

bool xs_transaction_end(struct xs_handle *h, xs_transaction_t t, bool stop)
{
    in_transaction = false;
    bool stale = !stop && copied != generation;
    if (!stop && !stale)
        copy_table(&live, &copy);
    return !fails(stale ? EAGAIN : 0);
}

/* It fires at once, as in the real one. */
bool xs_watch(struct xs_handle *h, const char *path, const char *token)
{
    if (fails(n_watches == MOST_WATCHES ? E2BIG : 0))
        return false;
    struct watch *watch = &watches[n_watches++];
    snprintf(watch->path, sizeof(watch->path), "%s", path);
    snprintf(watch->token, sizeof(watch->token), "%s", token);
    fire(path);
    return true;
}

bool xs_unwatch(struct xs_handle *h, const char *path, const char *token)
{
    for (unsigned i = 0; i < n_watches; i++) {
        if (strcmp(watches[i].path, path) != 0 || strcmp(watches[i].token, token) != 0)
            continue;
        watches[i] = watches[--n_watches];
        return true;
    }
    errno = ENOENT;
    return false;
}

char **xs_check_watch(struct xs_handle *h)
{
    eventfd_t count;
    if (fails(n_fired == 0 ? EAGAIN : 0))
        return NULL;
    char **event = malloc(2 * sizeof(char *) + sizeof(struct watch));
    if (event == NULL)
        abort();
    struct watch *text = (struct watch *)(void *)(event + 2);
    *text = fired[--n_fired];
    event[XS_WATCH_PATH] = text->path;
    event[XS_WATCH_TOKEN] = text->token;
    if (n_fired == 0)
        eventfd_read(bell, &count);
    return event;
}

bool xs_is_domain_introduced(struct xs_handle *h, unsigned domain)
{
    char path[64];
    snprintf(path, sizeof(path), "/local/domain/%u", domain);
    return domain == 0 || find(&live, path) != NULL;
}
