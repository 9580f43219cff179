/* SPDX-License-Identifier: ISC */
/* The race of RFC 8305, pure: race.h says what it does. */
#include "race.h"
#include <sys/socket.h>

void cdt_race_init(struct cdt_race *race)
{
    *race = (struct cdt_race){0};
}

int cdt_race_join(struct cdt_race *race, int family, uint64_t now_ms)
{
    if (race->n == CDT_RACE_CANDIDATES)
        return -1;
    if (race->n == 0)
        race->first_ms = now_ms;
    race->candidates[race->n].family = family;
    race->candidates[race->n].state = CDT_WAITING;
    race->n_waiting++;
    return race->n++;
}

void cdt_race_settled(struct cdt_race *race, int family)
{
    if (family == AF_INET6)
        race->preferred_settled = true;
}

void cdt_race_complete(struct cdt_race *race)
{
    race->preferred_settled = race->all_settled = true;
}

void cdt_race_failed(struct cdt_race *race, int candidate)
{
    if (race->candidates[candidate].state != CDT_RUNNING)
        return;
    race->candidates[candidate].state = CDT_FAILED;
    race->n_running--;
    race->hurry = true;
}

static int first_waiting(const struct cdt_race *race, int family)
{
    for (int i = 0; i < race->n; i++)
        if (race->candidates[i].state == CDT_WAITING && race->candidates[i].family == family)
            return i;
    return -1;
}

/* The other family than last time if it has one waiting; IPv6 to begin with. */
static int pick(const struct cdt_race *race)
{
    int preferred = race->last_family == AF_INET6 ? AF_INET : AF_INET6;
    int found = first_waiting(race, preferred);
    if (found < 0)
        found = first_waiting(race, preferred == AF_INET ? AF_INET6 : AF_INET);
    return found < 0 ? first_waiting(race, AF_UNSPEC) : found;
}

/* When the next waiting candidate may start. */
static uint64_t start_time(const struct cdt_race *race)
{
    if (race->started)
        return race->hurry || race->n_running == 0 ? 0 : race->last_ms + CDT_ATTEMPT_DELAY_MS;
    bool only_second = race->candidates[pick(race)].family == AF_INET && !race->preferred_settled;
    return only_second ? race->first_ms + CDT_RESOLUTION_DELAY_MS : 0;
}

static struct cdt_race_step start(struct cdt_race *race, uint64_t now_ms)
{
    int candidate = pick(race);
    race->candidates[candidate].state = CDT_RUNNING;
    race->last_family = race->candidates[candidate].family;
    race->n_waiting--;
    race->n_running++;
    race->started = true;
    race->hurry = false;
    race->last_ms = now_ms;
    return (struct cdt_race_step){.what = CDT_RACE_DIAL, .candidate = candidate};
}

struct cdt_race_step cdt_race_next(struct cdt_race *race, uint64_t now_ms)
{
    if (race->n_waiting > 0) {
        uint64_t at_ms = start_time(race);
        if (now_ms >= at_ms)
            return start(race, now_ms);
        return (struct cdt_race_step){.what = CDT_RACE_WAIT, .until_ms = at_ms};
    }
    if (race->n_running == 0 && race->all_settled)
        return (struct cdt_race_step){.what = CDT_RACE_LOST};
    return (struct cdt_race_step){.what = CDT_RACE_WAIT, .until_ms = UINT64_MAX};
}
