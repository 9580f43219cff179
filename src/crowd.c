/* SPDX-License-Identifier: ISC */
/* Guests counted in all and by place (a tree of libuv's, uv/tree.h): crowd.h. */
#include "crowd.h"
#include <conduit/memory.h>
#include <string.h>
#include <uv/tree.h>

struct cdt_place {
    RB_ENTRY(cdt_place) node;
    struct cdt_who who;
    uint32_t n;
};

RB_HEAD(cdt_place_tree, cdt_place);

struct cdt_crowd {
    unsigned refs;
    struct cdt_crowd_limits limits;
    uint32_t n, n_pending[CDT_GATES];
    struct cdt_place_tree places;
    void (*room)(struct cdt_crowd *crowd, void *arg);
    void *arg;
};

static int compare(const struct cdt_place *a, const struct cdt_place *b)
{
    return memcmp(&a->who, &b->who, sizeof(a->who));
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
RB_GENERATE_STATIC(cdt_place_tree, cdt_place, node, compare)
#pragma GCC diagnostic pop

struct cdt_crowd *cdt_crowd_new(const struct cdt_crowd_limits *limits,
                                void (*room)(struct cdt_crowd *, void *), void *arg)
{
    struct cdt_crowd *crowd = conduit_calloc(1, sizeof(*crowd));
    if (crowd == NULL)
        return NULL;
    crowd->refs = 1;
    crowd->limits = *limits;
    crowd->room = room;
    crowd->arg = arg;
    RB_INIT(&crowd->places);
    return crowd;
}

struct cdt_crowd *cdt_crowd_ref(struct cdt_crowd *crowd)
{
    crowd->refs++;
    return crowd;
}

void cdt_crowd_unref(struct cdt_crowd *crowd)
{
    if (crowd != NULL && --crowd->refs == 0)
        conduit_free(crowd);
}

static bool reached(uint32_t n, uint32_t limit)
{
    return limit != 0 && n >= limit;
}

bool cdt_crowd_full(const struct cdt_crowd *crowd, enum cdt_gate gate)
{
    return reached(crowd->n, crowd->limits.connections) ||
           reached(crowd->n_pending[gate], crowd->limits.pending);
}

/* A bit for each gate that is. */
static unsigned full_gates(const struct cdt_crowd *crowd)
{
    unsigned full = 0;
    for (unsigned i = 0; i < CDT_GATES; i++)
        full |= (unsigned)cdt_crowd_full(crowd, i) << i;
    return full;
}

bool cdt_crowd_counts_places(const struct cdt_crowd *crowd)
{
    return crowd->limits.of_place != 0;
}

uint32_t cdt_crowd_size(const struct cdt_crowd *crowd)
{
    return crowd->n;
}

/* The place of `who`, new if need be; NULL when out of memory. */
static struct cdt_place *find_place(struct cdt_crowd *crowd, const struct cdt_who *who)
{
    struct cdt_place key = {.who = *who};
    struct cdt_place *place = RB_FIND(cdt_place_tree, &crowd->places, &key);
    if (place != NULL)
        return place;
    place = conduit_calloc(1, sizeof(*place));
    if (place == NULL)
        return NULL;
    place->who = *who;
    RB_INSERT(cdt_place_tree, &crowd->places, place);
    return place;
}

static int enter_place(struct cdt_crowd *crowd, const struct cdt_who *who, struct cdt_place **ret)
{
    *ret = NULL;
    if (who == NULL || crowd->limits.of_place == 0)
        return 0;
    struct cdt_place *place = find_place(crowd, who);
    if (place == NULL)
        return CONDUIT_ENOMEM;
    if (reached(place->n, crowd->limits.of_place))
        return CONDUIT_ELIMIT;
    place->n++;
    *ret = place;
    return 0;
}

int cdt_crowd_enter(struct cdt_crowd *crowd, enum cdt_gate gate, const struct cdt_who *who,
                    struct cdt_guest *guest)
{
    int code = enter_place(crowd, who, &guest->place);
    if (code < 0)
        return code;
    guest->crowd = cdt_crowd_ref(crowd);
    guest->pending = true;
    guest->gate = (uint8_t)gate;
    crowd->n++;
    crowd->n_pending[gate]++;
    return 0;
}

static void leave_place(struct cdt_crowd *crowd, struct cdt_place *place)
{
    if (place == NULL || --place->n > 0)
        return;
    RB_REMOVE(cdt_place_tree, &crowd->places, place);
    conduit_free(place);
}

static void tell_room(struct cdt_crowd *crowd, unsigned were_full)
{
    if (were_full != 0 && (were_full & ~full_gates(crowd)) != 0)
        crowd->room(crowd, crowd->arg);
}

void cdt_guest_settle(struct cdt_guest *guest)
{
    struct cdt_crowd *crowd = guest->crowd;
    if (crowd == NULL || !guest->pending)
        return;
    unsigned were_full = full_gates(crowd);
    guest->pending = false;
    crowd->n_pending[guest->gate]--;
    tell_room(crowd, were_full);
}

void cdt_guest_leave(struct cdt_guest *guest)
{
    struct cdt_crowd *crowd = guest->crowd;
    if (crowd == NULL)
        return;
    unsigned were_full = full_gates(crowd);
    crowd->n--;
    crowd->n_pending[guest->gate] -= guest->pending;
    leave_place(crowd, guest->place);
    *guest = (struct cdt_guest){0};
    tell_room(crowd, were_full);
    cdt_crowd_unref(crowd);
}
