/* SPDX-License-Identifier: ISC */
/*
 * See keys.h. What belongs together is written in one transaction, its permissions with it, so that
 * nobody ever sees a half of it or gets at it in between.
 *
 * Whoever may write to a node of xenstore may remove it, with all below. So any domain can remove
 * the door of a listener that is open to all: the listener opens it again, and who waited asks
 * again (xen.c, listen.c). It gains nothing else by that, for a door and the rings are below the
 * folder of the listener's own domain, where only that one can make anything.
 */
#include "transports/vchan/xen/keys.h"
#include "transports/vchan/ring.h"
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { TRIES = 16, LAST_DOMAIN = DOMID_FIRST_RESERVED - 1 };

/* ---- reading and writing ---- */

/* Digits and nothing else, up to `most`. */
static bool read_number(const char **text, uint32_t most, uint32_t *ret)
{
    uint64_t n = 0;
    if (!isdigit((unsigned char)**text))
        return false;
    for (; isdigit((unsigned char)**text) && n <= most; (*text)++)
        n = n * 10 + (unsigned)(**text - '0');
    *ret = (uint32_t)n;
    return n <= most;
}

/* The number that is all there is at `path`: EPROTO if something else is. */
static int get_number(struct cdt_xen *xen, xs_transaction_t t, const char *path, uint32_t most,
                      uint32_t *ret)
{
    unsigned len;
    char *text = xs_read(xen->store, t, path, &len);
    *ret = 0;
    if (text == NULL)
        return errno;
    const char *end = text;
    bool fits = read_number(&end, most, ret) && end == text + len;
    free(text);
    return fits ? 0 : EPROTO;
}

static bool is_there(struct cdt_xen *xen, const char *path)
{
    unsigned len;
    char *there = xs_read(xen->store, XBT_NULL, path, &len);
    free(there);
    return there != NULL;
}

/* Nobody but the owner has anything, and `other` what `may` says. */
static int put(struct cdt_xen *xen, xs_transaction_t t, const char *path, const char *value,
               uint32_t other, unsigned may)
{
    struct xs_permissions who[] = {{.id = xen->domain, .perms = XS_PERM_NONE},
                                   {.id = other, .perms = may}};
    if (!xs_write(xen->store, t, path, value, (unsigned)strlen(value)) ||
        !xs_set_permissions(xen->store, t, path, who, other == xen->domain ? 1 : 2))
        return errno;
    return 0;
}

static int put_for_all(struct cdt_xen *xen, xs_transaction_t t, const char *path, const char *value,
                       unsigned may)
{
    struct xs_permissions who = {.id = xen->domain, .perms = may};
    if (!xs_write(xen->store, t, path, value, (unsigned)strlen(value)) ||
        !xs_set_permissions(xen->store, t, path, &who, 1))
        return errno;
    return 0;
}

static int get_owner(struct cdt_xen *xen, xs_transaction_t t, const char *path, uint32_t *ret)
{
    unsigned n;
    struct xs_permissions *who = xs_get_permissions(xen->store, t, path, &n);
    if (who == NULL)
        return errno;
    *ret = n > 0 ? who[0].id : 0;
    free(who);
    return n > 0 ? 0 : EPROTO;
}

typedef int step_fn(struct cdt_xen *xen, xs_transaction_t t, void *arg);

/* All of what `step` does, or nothing. It is done again when others were at the same place. A
 * domain has ten transactions at a time: ENOSPC. */
static int transact(struct cdt_xen *xen, step_fn *step, void *arg)
{
    int number = EAGAIN;
    for (int i = 0; i < TRIES && number == EAGAIN; i++) {
        xs_transaction_t t = xs_transaction_start(xen->store);
        if (t == XBT_NULL)
            return errno;
        number = step(xen, t, arg);
        if (!xs_transaction_end(xen->store, t, number != 0) && number == 0)
            number = errno;
    }
    return number;
}

/* ---- names ---- */

static bool is_number(const char *name)
{
    return name[strspn(name, "0123456789")] == '\0';
}

/* xenstore has no dots. */
static int name_path(const char *name, char path[CDT_XEN_PATH])
{
    int n = snprintf(path, CDT_XEN_PATH, "/conduit/%s", name);
    return strchr(name, '.') == NULL && n < CDT_XEN_PATH ? 0 : EINVAL;
}

/* Between two looks that find the same owner the node may only have been that one's, or a number
 * that is not its own: either is what the caller checks. */
static int read_name(struct cdt_xen *xen, struct cdt_xen_name *name)
{
    uint32_t before = 0;
    int number = EAGAIN;
    for (int i = 0; i < TRIES && number == EAGAIN; i++) {
        number = get_owner(xen, XBT_NULL, name->path, &before);
        if (number == 0)
            number = get_number(xen, XBT_NULL, name->path, LAST_DOMAIN, &name->domain);
        if (number == 0)
            number = get_owner(xen, XBT_NULL, name->path, &name->owner);
        if (number == 0 && before != name->owner)
            number = EAGAIN;
    }
    return number;
}

int cdt_xen_name_find(struct cdt_xen *xen, const char *name, struct cdt_xen_name *ret)
{
    *ret = (struct cdt_xen_name){.path = ""};
    if (is_number(name)) {
        ret->domain = (uint32_t)strtoul(name, NULL, 10);
        return ret->domain <= LAST_DOMAIN ? 0 : EINVAL;
    }
    int number = name_path(name, ret->path);
    if (number == 0)
        number = read_name(xen, ret);
    if (number == EACCES) /* so it is for who may not know whether there is one */
        return ENOENT;
    if (number == 0 && ret->owner != 0 && ret->owner != ret->domain)
        return EPERM;
    return number;
}

/* That of a domain that is gone is free, for whom xenstore lets take it. */
static int take_name(struct cdt_xen *xen, xs_transaction_t t, void *arg)
{
    struct cdt_xen_name *name = arg;
    char value[16];
    uint32_t there;
    int number = get_number(xen, t, name->path, LAST_DOMAIN, &there);
    if (number == 0 && there == xen->domain) {
        name->owner = 0;
        return 0;
    }
    if (number == 0 && xs_is_domain_introduced(xen->store, there))
        return EADDRINUSE;
    snprintf(value, sizeof(value), "%u", xen->domain);
    number = put_for_all(xen, t, name->path, value, XS_PERM_READ);
    name->owner = xen->domain + 1;
    return number;
}

int cdt_xen_name_take(struct cdt_xen *xen, const char *name, bool *made)
{
    struct cdt_xen_name taken = {.path = ""};
    int number = name_path(name, taken.path);
    if (number == 0)
        number = transact(xen, take_name, &taken);
    *made = number == 0 && taken.owner != 0;
    return number;
}

void cdt_xen_name_drop(struct cdt_xen *xen, const char *name)
{
    char path[CDT_XEN_PATH];
    uint32_t there;
    if (name_path(name, path) == 0 && get_number(xen, XBT_NULL, path, LAST_DOMAIN, &there) == 0 &&
        there == xen->domain)
        xs_rm(xen->store, XBT_NULL, path);
}

/* ---- offers ---- */

struct offering {
    const char *path;
    uint32_t client;
    struct cdt_xen_offer offer;
};

void cdt_xen_ring_path(char path[CDT_XEN_PATH], uint32_t server, uint32_t client, const char *port,
                       const char *nonce)
{
    snprintf(path, CDT_XEN_PATH, "/local/domain/%u/data/vchan/%u/%s%s%s", server, client, port,
             nonce != NULL ? "@" : "", nonce != NULL ? nonce : "");
}

/* What is longer than anything of ours is nothing of ours: "" is no path of xenstore. */
static void key_of(char key[CDT_XEN_PATH], const char *path, const char *name)
{
    if (snprintf(key, CDT_XEN_PATH, "%s/%s", path, name) >= CDT_XEN_PATH)
        *key = '\0';
}

static int put_number(struct cdt_xen *xen, xs_transaction_t t, const struct offering *o,
                      const char *name, uint32_t n)
{
    char key[CDT_XEN_PATH], value[16];
    key_of(key, o->path, name);
    snprintf(value, sizeof(value), "%u", n);
    return put(xen, t, key, value, o->client, XS_PERM_READ);
}

static int publish(struct cdt_xen *xen, xs_transaction_t t, void *arg)
{
    const struct offering *o = arg;
    char key[CDT_XEN_PATH], process[16];
    int number = put_number(xen, t, o, "ring-ref", o->offer.page);
    if (number == 0)
        number = put_number(xen, t, o, "event-channel", o->offer.channel);
    key_of(key, o->path, "process");
    snprintf(process, sizeof(process), "%ld", (long)getpid());
    return number != 0 ? number : put(xen, t, key, process, xen->domain, XS_PERM_NONE);
}

int cdt_xen_offer_publish(struct cdt_xen *xen, const char *path, uint32_t client,
                          struct cdt_xen_offer offer)
{
    struct offering o = {path, client, offer};
    return transact(xen, publish, &o);
}

static int read_offer(struct cdt_xen *xen, xs_transaction_t t, void *arg)
{
    struct offering *o = arg;
    char key[CDT_XEN_PATH];
    key_of(key, o->path, "ring-ref");
    int number = get_number(xen, t, key, UINT32_MAX, &o->offer.page);
    key_of(key, o->path, "event-channel");
    if (number == 0)
        number = get_number(xen, t, key, INT32_MAX, &o->offer.channel);
    return number;
}

/* Two keys belong together if they are read in one transaction: the ring for whoever comes is
 * written anew for each, and grants are used again, so to look twice would not tell. A ring for one
 * alone is written once, and transactions are few. */
int cdt_xen_offer_read(struct cdt_xen *xen, const char *path, struct cdt_xen_offer *ret)
{
    struct offering o = {.path = path};
    bool changes = strchr(path, '@') == NULL;
    int number = changes ? transact(xen, read_offer, &o) : read_offer(xen, XBT_NULL, &o);
    *ret = o.offer;
    if (number == ENOSPC)
        return EAGAIN;
    return number == EACCES ? ENOENT : number;
}

bool cdt_xen_offer_there(struct cdt_xen *xen, const char *path)
{
    char key[CDT_XEN_PATH];
    key_of(key, path, "ring-ref");
    return is_there(xen, key);
}

static int withdraw(struct cdt_xen *xen, xs_transaction_t t, void *arg)
{
    char folder[CDT_XEN_PATH];
    unsigned n;
    snprintf(folder, sizeof(folder), "%s", (const char *)arg);
    xs_rm(xen->store, t, folder);
    *strrchr(folder, '/') = '\0';
    char **left = xs_directory(xen->store, t, folder, &n);
    if (left != NULL && n == 0)
        xs_rm(xen->store, t, folder);
    free(left);
    return 0;
}

void cdt_xen_offer_withdraw(struct cdt_xen *xen, const char *path)
{
    char copy[CDT_XEN_PATH];
    snprintf(copy, sizeof(copy), "%s", path);
    if (transact(xen, withdraw, copy) != 0)
        xs_rm(xen->store, XBT_NULL, path);
}

static bool is_left_behind(struct cdt_xen *xen, const char *path)
{
    char key[CDT_XEN_PATH];
    uint32_t process;
    key_of(key, path, "process");
    return get_number(xen, XBT_NULL, key, INT32_MAX, &process) == 0 &&
           kill((pid_t)process, 0) < 0 && errno == ESRCH;
}

static void clean_client(struct cdt_xen *xen, const char *folder, const char *port)
{
    char path[CDT_XEN_PATH];
    size_t len = strlen(port);
    unsigned n = 0;
    char **names = xs_directory(xen->store, XBT_NULL, folder, &n);
    for (unsigned i = 0; names != NULL && i < n; i++) {
        bool same = strncmp(names[i], port, len) == 0 && strchr("@", names[i][len]) != NULL;
        key_of(path, folder, names[i]);
        if (same && is_left_behind(xen, path))
            cdt_xen_offer_withdraw(xen, path);
    }
    free(names);
}

void cdt_xen_offers_clean(struct cdt_xen *xen, const char *port)
{
    char all[CDT_XEN_PATH], folder[CDT_XEN_PATH];
    unsigned n = 0;
    snprintf(all, sizeof(all), "/local/domain/%u/data/vchan", xen->domain);
    char **clients = xs_directory(xen->store, XBT_NULL, all, &n);
    for (unsigned i = 0; clients != NULL && i < n; i++) {
        key_of(folder, all, clients[i]);
        clean_client(xen, folder, port);
    }
    free(clients);
}

/* ---- doors and requests ---- */

struct asking {
    const char *door, *nonce;
    uint32_t server;
    const uint32_t *peer;
    char value[32];
};

void cdt_xen_door_path(char path[CDT_XEN_PATH], uint32_t server, const char *port)
{
    snprintf(path, CDT_XEN_PATH, "/local/domain/%u/data/conduit/%s", server, port);
}

void cdt_xen_request_path(char path[CDT_XEN_PATH], const char *door, const char *nonce)
{
    snprintf(path, CDT_XEN_PATH, "%s/%s", door, nonce);
}

static int open_door(struct cdt_xen *xen, xs_transaction_t t, void *arg)
{
    const struct asking *a = arg;
    xs_rm(xen->store, t, a->door);
    return a->peer != NULL ? put(xen, t, a->door, "", *a->peer, XS_PERM_WRITE)
                           : put_for_all(xen, t, a->door, "", XS_PERM_WRITE);
}

int cdt_xen_door_open(struct cdt_xen *xen, const char *door, const uint32_t *peer)
{
    struct asking a = {.door = door, .peer = peer};
    return transact(xen, open_door, &a);
}

static int ask(struct cdt_xen *xen, xs_transaction_t t, void *arg)
{
    const struct asking *a = arg;
    char key[CDT_XEN_PATH];
    unsigned len;
    char *there = xs_read(xen->store, t, a->door, &len);
    if (there == NULL && errno != EACCES) /* who may write to it need not be let read */
        return errno;
    free(there);
    cdt_xen_request_path(key, a->door, a->nonce);
    return put(xen, t, key, a->value, a->server, XS_PERM_READ | XS_PERM_WRITE);
}

int cdt_xen_request_make(struct cdt_xen *xen, const char *door, uint32_t server,
                         char nonce[CDT_XEN_NONCE], uint32_t read, uint32_t write)
{
    uint64_t chance;
    struct asking a = {.door = door, .nonce = nonce, .server = server};
    if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) != sizeof(chance))
        return errno;
    snprintf(nonce, CDT_XEN_NONCE, "%016llx", (unsigned long long)chance);
    snprintf(a.value, sizeof(a.value), "%u %u", read, write);
    int number = transact(xen, ask, &a);
    return number == EACCES ? ENOENT : number;
}

bool cdt_xen_door_there(struct cdt_xen *xen, const char *door)
{
    return is_there(xen, door);
}

bool cdt_xen_request_waits(struct cdt_xen *xen, const char *door, const char *nonce)
{
    char key[CDT_XEN_PATH];
    cdt_xen_request_path(key, door, nonce);
    return is_there(xen, key);
}

bool cdt_xen_is_nonce(const char *text)
{
    return strlen(text) == CDT_XEN_NONCE - 1 && text[strspn(text, "0123456789abcdef")] == '\0';
}

static bool read_sizes(const char *text, struct cdt_xen_request *ret)
{
    return read_number(&text, CDT_RING_MAX, &ret->read) && *text++ == ' ' &&
           read_number(&text, CDT_RING_MAX, &ret->write) && *text == '\0';
}

int cdt_xen_request_read(struct cdt_xen *xen, const char *door, const char *nonce,
                         struct cdt_xen_request *ret)
{
    char key[CDT_XEN_PATH];
    unsigned len;
    cdt_xen_request_path(key, door, nonce);
    int number = get_owner(xen, XBT_NULL, key, &ret->client);
    if (number != 0)
        return number;
    char *text = xs_read(xen->store, XBT_NULL, key, &len);
    if (text == NULL)
        return errno;
    bool fits = strlen(text) == len && read_sizes(text, ret) && ret->client <= LAST_DOMAIN;
    free(text);
    return fits ? 0 : EPROTO;
}

int cdt_xen_request_remove(struct cdt_xen *xen, const char *door, const char *nonce)
{
    char key[CDT_XEN_PATH];
    cdt_xen_request_path(key, door, nonce);
    return xs_rm(xen->store, XBT_NULL, key) || errno == ENOENT ? 0 : errno;
}
