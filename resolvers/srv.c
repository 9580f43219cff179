/* SPDX-License-Identifier: ISC */
/*
 * The order of SRV records: srv.h says what it is.
 *
 * One after the other is drawn from those of the lowest priority that are left. RFC 2782 lets the
 * draw include 0 to give weight 0 "a very small chance"; here it does so only when there is a
 * weight of 0, for otherwise it would favour whoever stands first.
 */
#include "srv.h"

/* What is left of the lowest priority. */
struct group {
    uint16_t priority;
    uint32_t total; /* of the weights */
    uint32_t n_weightless;
};

static struct group lowest(const struct cdt_srv *list, size_t n)
{
    struct group group = {.priority = UINT16_MAX};
    for (size_t i = 0; i < n; i++)
        if (list[i].priority < group.priority)
            group.priority = list[i].priority;
    for (size_t i = 0; i < n; i++) {
        if (list[i].priority != group.priority)
            continue;
        group.total += list[i].weight;
        group.n_weightless += list[i].weight == 0;
    }
    return group;
}

/* The record in whose share of the group the draw falls: as wide as its weight, or, among those
 * without weight, 1. */
static size_t find_share(const struct cdt_srv *list, const struct group *group, bool weightless,
                         uint32_t drawn)
{
    uint32_t end = 0;
    for (size_t i = 0;; i++) {
        if (list[i].priority != group->priority || (list[i].weight == 0) != weightless)
            continue;
        end += weightless ? 1 : list[i].weight;
        if (drawn < end)
            return i;
    }
}

static size_t draw(const struct cdt_srv *list, size_t n, cdt_random_fn random, void *user)
{
    struct group group = lowest(list, n);
    uint32_t drawn = random(user, group.total + (group.n_weightless > 0));
    if (drawn < group.total)
        return find_share(list, &group, false, drawn);
    return find_share(list, &group, true, random(user, group.n_weightless));
}

static void swap(struct cdt_srv *a, struct cdt_srv *b)
{
    struct cdt_srv kept = *a;
    *a = *b;
    *b = kept;
}

static size_t move_targetless(struct cdt_srv *list, size_t n)
{
    size_t n_usable = 0;
    for (size_t i = 0; i < n; i++)
        if (*list[i].target != '\0')
            swap(&list[n_usable++], &list[i]);
    return n_usable;
}

size_t cdt_srv_order(struct cdt_srv *list, size_t n, cdt_random_fn random, void *user)
{
    size_t n_usable = move_targetless(list, n);
    for (size_t i = 0; i < n_usable; i++)
        swap(&list[i], &list[i + draw(list + i, n_usable - i, random, user)]);
    return n_usable;
}

bool cdt_dns_name(const char *text, char name[CDT_NAME_SIZE])
{
    size_t n = strlen(text);
    if (n > CDT_NAME_SIZE || strchr(text, '\\') != NULL)
        return false;
    cdt_fold_name(text, n, name);
    return *name != '\0' || n == 0 || strcmp(text, ".") == 0;
}
