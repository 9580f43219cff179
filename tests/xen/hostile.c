/* SPDX-License-Identifier: ISC */
/*
 * A guest that means harm, on the libraries of Xen without any of vchan's in between.
 *
 *   hostile scribble DOMAIN PATH ROUNDS    client: connect, write anything anywhere in the shared page
 *                                          and the rings, ring the channel, leave; and again
 *   hostile offer DOMAIN PATH CASE         server: offer what cannot be, and stay until killed
 *   hostile ask DOMAIN PORT ROUNDS         at the door of a listener: requests without sense, some of
 *                                          which nobody else can remove; and remove the door
 *
 * Prints a line when it has done (offer: when it is there). What it does follows from its number of
 * rounds alone: a fault comes again.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>

enum { PAGE = 4096, TRIES = 100, SCRIBBLES = 50, CASES = 18 };

static struct xs_handle *store;
static xenevtchn_handle *events;
static uint64_t state = 88172645463325252u;

static void die(const char *what)
{
    fprintf(stderr, "hostile: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint32_t chance(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20) % below;
}

static const char *under(const char *path, const char *name)
{
    static char key[512];
    snprintf(key, sizeof(key), "%s/%s", path, name);
    return key;
}

static bool put(const char *path, const char *value, uint32_t other, unsigned may)
{
    char *text = xs_read(store, XBT_NULL, "domid", &(unsigned){0});
    struct xs_permissions who[] = {{text != NULL ? (unsigned)atoi(text) : 0, XS_PERM_NONE},
                                   {other, may}};
    free(text);
    return xs_write(store, XBT_NULL, path, value, (unsigned)strlen(value)) &&
           xs_set_permissions(store, XBT_NULL, path, who, 2);
}

/* ---- a client ---- */

static bool get(const char *path, const char *name, uint32_t *ret)
{
    unsigned len;
    char *text = xs_read(store, XBT_NULL, under(path, name), &len);
    if (text != NULL)
        *ret = (uint32_t)strtoul(text, NULL, 10);
    free(text);
    return text != NULL;
}

/* Values that are of some interest to a ring, and any others. */
static uint32_t some_number(void)
{
    static const uint32_t numbers[] = {0,    1,    2,          0x7fffffff, 0x80000000,
                                       1024, 4096, 0xffffffff, 0x100000,   65537};
    uint32_t n = sizeof(numbers) / sizeof(numbers[0]), which = chance(2 * n);
    return which < n ? numbers[which] : chance(UINT32_MAX);
}

static void scribble(volatile unsigned char *page)
{
    static const unsigned places[] = {0, 4, 8, 12, 16, 20, 24, 28};
    unsigned at = chance(4) > 0 ? places[chance(8)] : chance(PAGE / 4) * 4;
    uint32_t n = some_number();
    if (chance(3) == 0)
        page[at + chance(4)] = (unsigned char)n;
    else
        *(volatile uint32_t *)(volatile void *)(page + at) = n;
}

static bool join(xengnttab_handle *maps, uint32_t domain, const char *path)
{
    uint32_t ref, channel;
    if (!get(path, "ring-ref", &ref) || !get(path, "event-channel", &channel))
        return false;
    int port = xenevtchn_bind_interdomain(events, domain, channel);
    if (port < 0)
        return false;
    volatile unsigned char *page =
        xengnttab_map_grant_ref(maps, domain, ref, PROT_READ | PROT_WRITE);
    for (int i = 0; page != NULL && i < SCRIBBLES; i++) {
        if (i == 1)
            page[20] = page[23] = 1; /* as if we had joined */
        else if (i > 1 || chance(2) == 0)
            scribble(page);
        xenevtchn_notify(events, (evtchn_port_t)port);
        if (chance(8) == 0)
            usleep(1000);
    }
    if (page != NULL)
        xengnttab_unmap(maps, (void *)(uintptr_t)page, 1);
    xenevtchn_unbind(events, (evtchn_port_t)port);
    return page != NULL;
}

static int scribble_rounds(uint32_t domain, const char *path, int rounds)
{
    xengnttab_handle *maps = xengnttab_open(NULL, 0);
    int done = 0;
    if (maps == NULL)
        die("gntdev");
    for (int tries = 0; done < rounds && tries < TRIES; tries++) {
        if (join(maps, domain, path)) {
            done++;
            tries = 0;
        } else {
            usleep(20000);
        }
    }
    xengnttab_close(maps);
    printf("%d rings scribbled on\n", done);
    return done == rounds ? 0 : 1;
}

/* ---- a server ---- */

/* What a page says of itself that cannot be, and what xenstore says of it. */
struct wrong {
    uint16_t left, right;
    uint8_t live;
    uint32_t grant;
    const char *ref, *channel; /* NULL: the real one */
};

static const struct wrong wrongs[CASES] = {
    {0, 0, 1, 0, NULL, NULL},
    {9, 12, 1, 0, NULL, NULL},
    {12, 21, 1, 0, NULL, NULL},
    {65535, 65535, 1, 0, NULL, NULL},
    {10, 10, 1, 0, NULL, NULL},
    {11, 11, 1, 0, NULL, NULL},
    {12, 12, 1, 123456, NULL, NULL},
    {20, 20, 1, 0xffffffff, NULL, NULL},
    {12, 12, 1, 0x7fffffff, NULL, NULL},
    {10, 11, 0, 0, NULL, NULL},
    {10, 11, 7, 0, NULL, NULL},
    {10, 11, 1, 0, "", NULL},
    {10, 11, 1, 0, "ring", NULL},
    {10, 11, 1, 0, "-1", NULL},
    {10, 11, 1, 0, "99999999999999999999999999999999999999999999", NULL},
    {10, 11, 1, 0, "4294967295", NULL},
    {10, 11, 1, 0, NULL, "0"},
    {10, 11, 1, 0, NULL, "4294967296"},
};

static unsigned char *make_page(uint32_t domain, const struct wrong *wrong, uint32_t *ref)
{
    xengntshr_handle *grants = xengntshr_open(NULL, 0);
    unsigned char *page = grants != NULL ? xengntshr_share_pages(grants, domain, 1, ref, 1) : NULL;
    if (page == NULL)
        die("gntalloc");
    memcpy(page + 16, &wrong->left, 2);
    memcpy(page + 18, &wrong->right, 2);
    page[20] = 2;
    page[21] = wrong->live;
    for (int i = 24; i < PAGE; i += 4)
        memcpy(page + i, &wrong->grant, 4);
    return page;
}

static int offer(uint32_t domain, const char *path, unsigned which)
{
    const struct wrong *wrong = &wrongs[which % CASES];
    uint32_t ref;
    char ring[16], channel[16];
    make_page(domain, wrong, &ref);
    snprintf(ring, sizeof(ring), "%u", ref);
    snprintf(channel, sizeof(channel), "%d", xenevtchn_bind_unbound_port(events, domain));
    if (!put(under(path, "ring-ref"), wrong->ref != NULL ? wrong->ref : ring, domain,
             XS_PERM_READ) ||
        !put(under(path, "event-channel"), wrong->channel != NULL ? wrong->channel : channel,
             domain, XS_PERM_READ))
        die(path);
    puts("listening");
    fflush(stdout);
    return pause();
}

/* ---- at the door ---- */

static void ask_nonsense(const char *door, uint32_t domain)
{
    static const char *const names[] = {"0123456789abcdef", "fedcba9876543210",  "x",
                                        "0123456789ABCDEF", "0123456789abcdef0", "a/b/c/d",
                                        "@@@@@@@@@@@@@@@@"};
    static const char *const values[] = {"",
                                         "0 0",
                                         "1 1",
                                         "1048576 1048576",
                                         "1048577 0",
                                         "-1 0",
                                         "0",
                                         "0 0 0",
                                         " 0 0",
                                         "0\n0",
                                         "99999999999999999999999999 0"};
    unsigned may = chance(3) == 0 ? XS_PERM_NONE : XS_PERM_READ | XS_PERM_WRITE;
    put(under(door, names[chance(7)]), values[chance(11)], domain, may);
    if (chance(8) == 0)
        xs_write(store, XBT_NULL, door, "mine", 4);
    if (chance(20) == 0)
        xs_rm(store, XBT_NULL, door);
}

static int ask_rounds(uint32_t domain, const char *port, int rounds)
{
    char door[256];
    snprintf(door, sizeof(door), "/local/domain/%u/data/conduit/%s", domain, port);
    for (int i = 0; i < rounds; i++)
        ask_nonsense(door, domain);
    printf("%d requests without sense\n", rounds);
    return 0;
}

int main(int n, char **words)
{
    store = xs_open(0);
    events = xenevtchn_open(NULL, 0);
    if (n != 5 || store == NULL || events == NULL)
        die("see the head of hostile.c");
    uint32_t domain = (uint32_t)atoi(words[2]);
    int number = atoi(words[4]);
    state += (unsigned)number;
    if (strcmp(words[1], "scribble") == 0)
        return scribble_rounds(domain, words[3], number);
    if (strcmp(words[1], "offer") == 0)
        return offer(domain, words[3], (unsigned)number);
    return ask_rounds(domain, words[3], number);
}
