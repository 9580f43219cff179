/* SPDX-License-Identifier: ISC */
/*
 * hosts: the hosts file, hosts(5).
 *
 * It is read when the first name is asked for, and again when it has changed, which is looked at
 * once a second at most. A new table takes the place of the old one only when it is complete: a
 * file that cannot be read just now (no descriptors, no memory) leaves what was known. Lines that
 * make no sense are skipped. A name that is not there, or not in the family that is wanted, is
 * passed on.
 */
#include "names.h"
#include <conduit/memory.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    MAX_FILE = 1 << 20, /* bytes; the rest is not read */
    MAX_ADDRESSES = 64, /* of one name */
};

union address {
    struct sockaddr any;
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;
};

/* One name of one line. */
struct entry {
    const char *name;
    union address address;
};

/* The text of the file, its names folded where they stand; and what points into it, sorted. */
struct table {
    char *text;
    struct entry *entries;
    size_t n, room;
};

struct hosts {
    char *path;
    struct table table;
    struct cdt_watch watch;
};

/* ---- the table */

static void free_table(struct table *table)
{
    conduit_free(table->text);
    conduit_free(table->entries);
    *table = (struct table){0};
}

static bool put_entry(struct table *table, const char *name, const union address *address)
{
    if (table->n == table->room) {
        size_t room = table->room == 0 ? 16 : 2 * table->room;
        struct entry *more = conduit_realloc(table->entries, room * sizeof(*more));
        if (more == NULL)
            return false;
        table->entries = more;
        table->room = room;
    }
    table->entries[table->n++] = (struct entry){name, *address};
    return true;
}

/* By name, and then as they are in the file. */
static int compare(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    if (order != 0)
        return order;
    return a->name < b->name ? -1 : a->name > b->name;
}

/* Where the entries of `name` begin, or would. */
static size_t find_first(const struct table *table, const char *name)
{
    size_t low = 0, high = table->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(table->entries[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- the file */

static bool read_address(const char *text, union address *address)
{
    memset(address, 0, sizeof(*address));
    if (uv_inet_pton(AF_INET, text, &address->ip4.sin_addr) == 0) {
        address->ip4.sin_family = AF_INET;
        return true;
    }
    if (uv_inet_pton(AF_INET6, text, &address->ip6.sin6_addr) != 0)
        return false;
    address->ip6.sin6_family = AF_INET6;
    const char *percent = strchr(text, '%');
    if (percent != NULL)
        address->ip6.sin6_scope_id = if_nametoindex(percent + 1);
    return percent == NULL || address->ip6.sin6_scope_id != 0;
}

/* "ADDRESS NAME [NAME...] [# words]". False only when memory is short. */
static bool read_line(struct table *table, char *line)
{
    static const char blank[] = " \t\r\v\f";
    char *word, *rest;
    union address address;
    line[strcspn(line, "#")] = '\0';
    word = strtok_r(line, blank, &rest);
    if (word == NULL || !read_address(word, &address))
        return true;
    while ((word = strtok_r(NULL, blank, &rest)) != NULL) {
        cdt_fold_name(word, strlen(word), word);
        if (*word != '\0' && !put_entry(table, word, &address))
            return false;
    }
    return true;
}

/* The text has a byte to spare after its `n`. */
static bool read_lines(struct table *table, size_t n)
{
    char *end = table->text + n;
    *end = '\n';
    for (char *next, *line = table->text; line < end; line = next + 1) {
        next = memchr(line, '\n', (size_t)(end + 1 - line));
        *next = '\0';
        if (!read_line(table, line))
            return false;
    }
    if (table->n > 0)
        qsort(table->entries, table->n, sizeof(table->entries[0]), compare);
    return true;
}

/* As much as there is, up to `n` bytes; -1 if it cannot be read. */
static ssize_t read_all(int fd, char *text, size_t n)
{
    size_t have = 0;
    while (have < n) {
        ssize_t got = read(fd, text + have, n - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

/* Without the line that the limit cuts in two: half a name is another name. */
static ssize_t whole_lines(const char *text, ssize_t n)
{
    while (n > 0 && text[n - 1] != '\n')
        n--;
    return n;
}

static bool read_open_file(struct table *table, int fd, off_t size)
{
    size_t room = size < MAX_FILE ? (size_t)size : MAX_FILE;
    table->text = conduit_malloc(room + 1);
    if (table->text == NULL)
        return false;
    ssize_t n = read_all(fd, table->text, room);
    if (n == MAX_FILE)
        n = whole_lines(table->text, n);
    return n >= 0 && read_lines(table, (size_t)n);
}

/* Non-blocking, for the path may be a FIFO's. A file that is not there is an empty one. */
static bool read_file(struct table *table, const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT;
    bool ok = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
              read_open_file(table, fd, status.st_size);
    close(fd);
    return ok;
}

/* A change between the look and the reading is seen by the next look. */
static void refresh(struct hosts *hosts)
{
    struct table table = {0};
    struct cdt_stamp now;
    if (!cdt_watch_look(&hosts->watch, hosts->path, &now))
        return;
    if (!read_file(&table, hosts->path)) {
        free_table(&table);
        return;
    }
    free_table(&hosts->table);
    hosts->table = table;
    hosts->watch.seen = now;
}

/* ---- the resolver */

static int attach(conduit_ctx *ctx, const conduit_ctx_options *options, void **state)
{
    const char *path = options->hosts_file != NULL ? options->hosts_file : "/etc/hosts";
    struct hosts *hosts = conduit_calloc(1, sizeof(*hosts));
    if (hosts == NULL)
        return CONDUIT_ENOMEM;
    hosts->path = conduit_strdup(path);
    if (hosts->path == NULL) {
        conduit_free(hosts);
        return CONDUIT_ENOMEM;
    }
    *state = hosts;
    return 0;
}

static void detach(void *state)
{
    struct hosts *hosts = state;
    free_table(&hosts->table);
    conduit_free(hosts->path);
    conduit_free(hosts);
}

static bool accepts(const conduit_query *query, void *state)
{
    const struct hosts *hosts = state;
    return conduit_query_by_address(query) && *hosts->path != '\0' &&
           *conduit_query_host(query) != '\0';
}

static bool is_same(const union address *a, const union address *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET)
        return a->ip4.sin_addr.s_addr == b->ip4.sin_addr.s_addr;
    return a->ip6.sin6_scope_id == b->ip6.sin6_scope_id &&
           memcmp(&a->ip6.sin6_addr, &b->ip6.sin6_addr, sizeof(a->ip6.sin6_addr)) == 0;
}

/* Is entry `i` an address that none of those from `first` has told of? */
static bool is_news(const struct entry *entries, size_t first, size_t i)
{
    for (size_t before = first; before < i; before++)
        if (is_same(&entries[before].address, &entries[i].address))
            return false;
    return true;
}

static bool add_addresses(conduit_query *query, const struct table *table, const char *name)
{
    const struct entry *entries = table->entries;
    size_t first = find_first(table, name), end = first + MAX_ADDRESSES;
    int only = conduit_query_family(query);
    bool added = false;
    for (size_t i = first; i < table->n && i < end && strcmp(entries[i].name, name) == 0; i++) {
        const struct sockaddr *address = &entries[i].address.any;
        if ((only != AF_UNSPEC && address->sa_family != only) || !is_news(entries, first, i))
            continue;
        conduit_query_add_address(query, address, -1);
        added = true;
    }
    return added;
}

static void start(conduit_query *query, void *state)
{
    struct hosts *hosts = state;
    const char *host = conduit_query_host(query);
    char name[CDT_NAME_SIZE];
    refresh(hosts);
    cdt_fold_name(host, strlen(host), name);
    bool found = add_addresses(query, &hosts->table, name);
    conduit_query_done(query, found ? 0 : CONDUIT_PASS, NULL, 0, NULL);
}

const conduit_resolver cdt_resolver_hosts = {
    .name = "hosts",
    .immediate = true,
    .attach = attach,
    .detach = detach,
    .accepts = accepts,
    .start = start,
};
