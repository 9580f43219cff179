/* SPDX-License-Identifier: ISC */
/* The race of RFC 8305, pure: race.h says what it does. */
#include "race.h"
#include <limits.h>
#include <sys/socket.h>

void cdt_race_init(struct cdt_race *race)
{
    *race = (struct cdt_race){.delay_ms = CDT_ATTEMPT_DELAY_MS};
}

void cdt_race_set_delay(struct cdt_race *race, uint32_t delay_ms)
{
    if (delay_ms == 0)
        delay_ms = CDT_ATTEMPT_DELAY_MS;
    else if (delay_ms < CDT_ATTEMPT_DELAY_MIN_MS)
        delay_ms = CDT_ATTEMPT_DELAY_MIN_MS;
    else if (delay_ms > CDT_ATTEMPT_DELAY_MAX_MS)
        delay_ms = CDT_ATTEMPT_DELAY_MAX_MS;
    race->delay_ms = delay_ms;
}

static bool family_has_room(const struct cdt_race *race, int family)
{
    int n = 0;
    for (int i = 0; i < race->n; i++)
        n += race->candidates[i].family == family;
    return n < CDT_RACE_OF_FAMILY;
}

static bool has_room(const struct cdt_race *race, int family)
{
    return race->n < CDT_RACE_CANDIDATES && family_has_room(race, family);
}

int cdt_race_join(struct cdt_race *race, int family, uint64_t now_ms)
{
    if (!has_room(race, family))
        return -1;
    if (race->n == 0)
        race->first_ms = now_ms;
    race->candidates[race->n].family = family;
    race->candidates[race->n].rank = race->n;
    race->candidates[race->n].state = CDT_WAITING;
    race->ip6_settled |= family != AF_INET;
    race->n_waiting++;
    return race->n++;
}

/* Of those that wait in the worst group, the one that came last; -1: none is worse than `group`. A
 * family that has all it may have can only give way to itself. */
static int least_wanted(const struct cdt_race *race, int family, int group)
{
    bool any = family_has_room(race, family);
    int found = -1;
    for (int i = 0; i < race->n; i++) {
        if (race->candidates[i].state != CDT_WAITING || race->candidates[i].group <= group ||
            (!any && race->candidates[i].family != family))
            continue;
        if (found < 0 || race->candidates[i].group >= race->candidates[found].group)
            found = i;
    }
    return found;
}

int cdt_race_displace(struct cdt_race *race, int family, int group)
{
    int found = least_wanted(race, family, group);
    if (found < 0)
        return -1;
    race->candidates[found].family = family;
    race->candidates[found].group = group;
    race->candidates[found].rank = race->n;
    race->candidates[found].last_resort = false;
    race->ip6_settled |= family != AF_INET;
    return found;
}

void cdt_race_set_group(struct cdt_race *race, int candidate, int group)
{
    race->candidates[candidate].group = group;
}

void cdt_race_promote(struct cdt_race *race, int candidate, int group)
{
    if (race->candidates[candidate].state == CDT_WAITING &&
        group < race->candidates[candidate].group)
        cdt_race_set_group(race, candidate, group);
}

void cdt_race_rank(struct cdt_race *race, const int *best_first, int n_usable)
{
    for (int i = 0; i < race->n; i++) {
        race->candidates[best_first[i]].rank = i;
        race->candidates[best_first[i]].last_resort = i >= n_usable;
    }
}

void cdt_race_settled(struct cdt_race *race, int family)
{
    if (family == AF_INET6)
        race->ip6_settled = true;
}

void cdt_race_complete(struct cdt_race *race)
{
    race->ip6_settled = race->all_settled = true;
}

void cdt_race_failed(struct cdt_race *race, int candidate)
{
    if (race->candidates[candidate].state != CDT_RUNNING)
        return;
    race->candidates[candidate].state = CDT_FAILED;
    race->n_running--;
    race->hurry = true;
}

void cdt_race_advanced(struct cdt_race *race, int candidate, int progress)
{
    if (race->candidates[candidate].state == CDT_RUNNING)
        race->candidates[candidate].progress = progress;
}

static bool waits(const struct cdt_race *race, int i, bool last_resort)
{
    return race->candidates[i].state == CDT_WAITING &&
           race->candidates[i].last_resort == last_resort;
}

/* The best group with a candidate that waits. */
static int best_group(const struct cdt_race *race, bool last_resort)
{
    int best = INT_MAX;
    for (int i = 0; i < race->n; i++)
        if (waits(race, i, last_resort) && race->candidates[i].group < best)
            best = race->candidates[i].group;
    return best;
}

/* The best of a group that waits, of any family but `but_family`; -1 if none does. */
static int best_waiting(const struct cdt_race *race, bool last_resort, int group, int but_family)
{
    int best = -1;
    for (int i = 0; i < race->n; i++) {
        if (!waits(race, i, last_resort) || race->candidates[i].group != group ||
            race->candidates[i].family == but_family)
            continue;
        if (best < 0 || race->candidates[i].rank < race->candidates[best].rank)
            best = i;
    }
    return best;
}

/* The best of another family than last time, if there is one; of any to begin with. */
static int pick(const struct cdt_race *race)
{
    const int none = -1;
    int but_family = race->started ? race->last_family : none;
    for (int last_resort = 0; last_resort <= 1; last_resort++) {
        int group = best_group(race, last_resort);
        int found = best_waiting(race, last_resort, group, but_family);
        if (found < 0)
            found = best_waiting(race, last_resort, group, none);
        if (found >= 0)
            return found;
    }
    return -1;
}

/* When the next waiting candidate may start. */
static uint64_t start_time(const struct cdt_race *race)
{
    if (race->started)
        return race->hurry || race->n_running == 0 ? 0 : race->last_ms + race->delay_ms;
    return race->ip6_settled ? 0 : race->first_ms + CDT_RESOLUTION_DELAY_MS;
}

static struct cdt_race_step start(struct cdt_race *race, uint64_t now_ms)
{
    int candidate = pick(race);
    race->candidates[candidate].state = CDT_RUNNING;
    race->candidates[candidate].started_ms = now_ms;
    race->last_family = race->candidates[candidate].family;
    race->n_waiting--;
    race->n_running++;
    race->started = true;
    race->hurry = false;
    race->last_ms = now_ms;
    return (struct cdt_race_step){.what = CDT_RACE_DIAL, .candidate = candidate};
}

/* Of those that run, the one that has come least far, and of several the oldest. */
static int least_promising(const struct cdt_race *race)
{
    int found = -1;
    for (int i = 0; i < race->n; i++) {
        if (race->candidates[i].state != CDT_RUNNING)
            continue;
        int behind =
            found < 0 ? -1 : race->candidates[i].progress - race->candidates[found].progress;
        if (behind < 0 ||
            (behind == 0 && race->candidates[i].started_ms < race->candidates[found].started_ms))
            found = i;
    }
    return found;
}

static struct cdt_race_step wait_until(uint64_t at_ms)
{
    return (struct cdt_race_step){.what = CDT_RACE_WAIT, .until_ms = at_ms};
}

/* The next would start, but as many as may run do. */
static struct cdt_race_step make_room(struct cdt_race *race, uint64_t now_ms)
{
    int candidate = least_promising(race);
    uint64_t at_ms = race->candidates[candidate].started_ms + CDT_RACE_PATIENCE_MS;
    if (now_ms < at_ms)
        return wait_until(at_ms);
    race->candidates[candidate].state = CDT_FAILED;
    race->n_running--;
    return (struct cdt_race_step){.what = CDT_RACE_GIVE_UP, .candidate = candidate};
}

struct cdt_race_step cdt_race_next(struct cdt_race *race, uint64_t now_ms)
{
    if (race->n_waiting == 0 && race->n_running == 0 && race->all_settled)
        return (struct cdt_race_step){.what = CDT_RACE_LOST};
    if (race->n_waiting == 0)
        return wait_until(UINT64_MAX);
    uint64_t at_ms = start_time(race);
    if (now_ms < at_ms)
        return wait_until(at_ms);
    return race->n_running < CDT_RACE_RUNNING ? start(race, now_ms) : make_room(race, now_ms);
}
