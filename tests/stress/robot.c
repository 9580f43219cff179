/* SPDX-License-Identifier: ISC */
/* Peers in memory: robot.h says what they do. */
#include "robot.h"
#include "chance.h"
#include "party.h"
#include "wire.h"

enum { MOST = CDT_MOST_PARTIES, MOUTHFUL = 700 };

static struct robot {
    struct cdt_wire_end *end; /* NULL: it has hung up */
    struct cdt_party *party;
} robots[MOST];
static unsigned n_robots;

bool cdt_robot_new(struct cdt_wire_end *end)
{
    if (n_robots == MOST)
        return false;
    struct cdt_party *party = cdt_party_new(0);
    if (party == NULL)
        return false;
    party->robot = party->opened = true;
    robots[n_robots++] = (struct robot){.end = end, .party = party};
    return true;
}

static void hang_up(struct robot *robot, bool reset)
{
    robot->party->aborted = reset;
    robot->party->close_called = !reset;
    robot->party->closed = true;
    cdt_wire_close(robot->end, reset);
    robot->end = NULL;
}

static void listen_to(struct robot *robot)
{
    unsigned char bytes[MOUTHFUL];
    long n;
    do {
        n = cdt_wire_get(robot->end, bytes, 1 + cdt_chance(sizeof(bytes)));
        if (n > 0)
            cdt_party_hear(robot->party, bytes, (size_t)n);
    } while (n > 0 && cdt_calm);
    if (!robot->party->ended && cdt_wire_ended(robot->end)) {
        robot->party->ended = true;
        cdt_party_hear_end(robot->party);
    }
}

static void speak(struct robot *robot)
{
    unsigned char bytes[MOUTHFUL];
    size_t n = 1 + cdt_chance(sizeof(bytes));
    if (robot->party->end_called || cdt_wire_alone(robot->end))
        return;
    cdt_party_speak(robot->party, bytes, n);
    long sent = cdt_wire_put(robot->end, bytes, n);
    robot->party->sent += sent > 0 ? (size_t)sent : 0;
}

static void end(struct robot *robot)
{
    robot->party->end_called = true;
    cdt_wire_finish(robot->end);
}

static void move(struct robot *robot)
{
    switch (cdt_chance(20)) {
    case 0:
        end(robot);
        break;
    case 1:
        hang_up(robot, cdt_chance(2));
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        speak(robot);
        break;
    default:
        listen_to(robot);
        break;
    }
}

static void be_civil(struct robot *robot)
{
    listen_to(robot);
    if (robot->party->ended && !robot->party->end_called)
        end(robot);
    if (cdt_wire_alone(robot->end))
        hang_up(robot, false);
}

void cdt_robots_move(void)
{
    for (unsigned i = 0; i < n_robots; i++)
        if (robots[i].end != NULL)
            (cdt_calm ? be_civil : move)(&robots[i]);
}

void cdt_robots_leave(void)
{
    for (unsigned i = 0; i < n_robots; i++)
        if (robots[i].end != NULL)
            hang_up(&robots[i], false);
    n_robots = 0;
}

unsigned cdt_robots_count(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < n_robots; i++)
        n += robots[i].end != NULL;
    return n;
}
