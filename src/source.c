/* SPDX-License-Identifier: ISC */
/*
 * Where a connection would come from: a UDP socket that is connected has its source address chosen
 * and its route looked up, and sends nothing.
 *
 * What else the rules of order.h want to know of a source, Linux tells of IPv6 addresses in a file,
 * and of interfaces by their kind. Elsewhere an address counts as an ordinary one.
 */
#include "order.h"
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum { SECOND_NS = 1000000000 };

#ifdef __linux__
enum { HOME_ADDRESS = 0x10, DEPRECATED = 0x20 }; /* IFA_F_..., whose header does not go with net/ */

static bool on_tunnel(int fd, const char *interface)
{
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
    if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
        return false;
    switch (request.ifr_hwaddr.sa_family) {
    case ARPHRD_TUNNEL:
    case ARPHRD_TUNNEL6:
    case ARPHRD_SIT:
    case ARPHRD_IPGRE:
        return true;
    default:
        return false;
    }
}

static void print_hex(char *text, const struct in6_addr *address)
{
    for (int i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", address->s6_addr[i]);
}

/* A line: address, index, prefix length, scope and flags in hexadecimal, the interface's name. */
static void describe(int fd, struct cdt_source *source)
{
    char line[128], name[IF_NAMESIZE], address[33];
    unsigned flags;
    FILE *file = fopen("/proc/net/if_inet6", "re");
    if (file == NULL)
        return;
    print_hex(address, &source->address.in6.sin6_addr);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, address, 32) != 0 ||
            sscanf(line + 32, "%*x %*x %*x %x %15s", &flags, name) != 2)
            continue;
        source->home = (flags & HOME_ADDRESS) != 0;
        source->deprecated = (flags & DEPRECATED) != 0;
        source->encapsulated = on_tunnel(fd, name);
        break;
    }
    fclose(file);
}
#else
static void describe(int fd, struct cdt_source *source) {}
#endif

static bool ask(int fd, const struct sockaddr *to, struct cdt_source *ret)
{
    socklen_t size = to->sa_family == AF_INET6 ? sizeof(ret->address.in6) : sizeof(ret->address.in);
    if (connect(fd, to, size) < 0)
        return false;
    size = sizeof(ret->address);
    if (getsockname(fd, &ret->address.any, &size) < 0)
        return false;
    if (to->sa_family == AF_INET6)
        describe(fd, ret);
    return true;
}

bool cdt_source_of_kernel(void *user, const struct sockaddr *to, struct cdt_source *ret)
{
    int fd = socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
    *ret = (struct cdt_source){0};
    if (fd < 0)
        return false;
    bool found = ask(fd, to, ret);
    close(fd);
    return found;
}

static bool is_same(const struct sockaddr *a, const struct sockaddr *b)
{
    const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
    const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;
    if (a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    return a6->sin6_scope_id == b6->sin6_scope_id &&
           memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

static struct cdt_known_source *find(struct cdt_sources *sources, const struct sockaddr *to)
{
    for (size_t i = 0; i < CDT_SOURCES_KNOWN; i++)
        if (is_same(&sources->known[i].to.any, to))
            return &sources->known[i];
    return NULL;
}

static struct cdt_known_source *add(struct cdt_sources *sources, const struct sockaddr *to)
{
    struct cdt_known_source *known = &sources->known[sources->next++ % CDT_SOURCES_KNOWN];
    size_t size = to->sa_family == AF_INET6 ? sizeof(known->to.in6) : sizeof(known->to.in);
    *known = (struct cdt_known_source){0};
    memcpy(&known->to, to, size);
    return known;
}

/* To a few milliseconds, where that costs less. */
static uint64_t roughly_now_ns(void)
{
#ifdef CLOCK_MONOTONIC_COARSE
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC_COARSE, &now) == 0)
        return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
#endif
    return uv_hrtime();
}

bool cdt_source_known(void *user, const struct sockaddr *to, struct cdt_source *ret)
{
    uint64_t now_ns = roughly_now_ns();
    struct cdt_known_source *known = find(user, to);
    if (known == NULL)
        known = add(user, to);
    if (now_ns >= known->until_ns) {
        known->found = cdt_source_of_kernel(NULL, to, &known->source);
        known->until_ns = now_ns + SECOND_NS;
    }
    *ret = known->source;
    return known->found;
}
