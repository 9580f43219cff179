/* SPDX-License-Identifier: ISC */
/*
 * The set of descriptors that a context watches: what is reported and what is not, watches that go
 * while their event is at hand, and that nobody waits for his turn because others are busy.
 */
#include "../../src/context.h"
#include "harness.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BATCH = 256, /* as in watch.c */
    MANY = 600,
    MOST_GUESSES = 16,
};

/* A watch over an eventfd, or over one end of a pair of sockets. */
struct spot {
    struct cdt_watch watch;
    int fd, peer;
    unsigned events, calls;
    bool leaves; /* what there is to read */
    void (*act)(struct spot *spot);
};

static void on_ready(struct cdt_watch *watch, unsigned events)
{
    struct spot *spot = (struct spot *)watch;
    char bytes[8];
    spot->events = events;
    spot->calls++;
    if (!spot->leaves && (events & CDT_READ) && read(spot->fd, bytes, sizeof(bytes)) < 0)
        cdt_watch_missed(watch->ctx);
    if (spot->act != NULL)
        spot->act(spot);
}

/* A set does not keep the loop running; connections and listeners do, and there are none here. */
static void watch(struct spot *spot)
{
    cr_assert_eq(cdt_watch_start(&spot->watch, cdt_ctx, spot->fd, CDT_READ, on_ready), 0);
    cdt_watch_want(&spot->watch, CDT_READ);
    uv_ref((uv_handle_t *)&cdt_ctx->watches.poll);
}

static void open_bell(struct spot *spot)
{
    *spot = (struct spot){.peer = -1, .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    watch(spot);
}

static void ring(const struct spot *spot)
{
    uint64_t one = 1;
    cr_assert_eq(write(spot->fd, &one, sizeof(one)), (ssize_t)sizeof(one));
}

static void open_pair(struct spot *spot)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    *spot = (struct spot){.fd = ends[0], .peer = ends[1]};
    watch(spot);
}

static void shut(struct spot *spot)
{
    cdt_watch_stop(&spot->watch);
    close(spot->fd);
    if (spot->peer >= 0)
        close(spot->peer);
    spot->fd = -1;
}

CDT_TEST(watch, what_is_wanted_is_reported_and_nothing_else)
{
    struct spot spot;
    cdt_open_ctx(NULL);
    open_pair(&spot);
    cdt_turn(2);
    cr_assert_eq(spot.calls, 0);
    cr_assert_eq(write(spot.peer, "x", 1), 1);
    cdt_turn(2);
    cr_assert_eq(spot.calls, 1);
    cr_assert_eq(spot.events, CDT_READ);
    cdt_watch_want(&spot.watch, CDT_READ | CDT_WRITE);
    cdt_turn(1);
    cr_assert_eq(spot.events, CDT_WRITE);
    spot.calls = 0;
    cdt_watch_want(&spot.watch, CDT_READ);
    cdt_turn(2);
    cr_assert_eq(spot.calls, 0, "writing was not wanted any more");
    shut(&spot);
    cdt_close_ctx();
}

/* Who wants nothing sleeps, whatever comes; and is told all of it when he wants again. */
CDT_TEST(watch, nothing_is_reported_to_who_wants_nothing_and_nothing_is_lost)
{
    struct spot spot;
    cdt_open_ctx(NULL);
    open_pair(&spot);
    cdt_watch_want(&spot.watch, 0);
    cr_assert_eq(write(spot.peer, "x", 1), 1);
    cr_expect_lt(cdt_turns_within(50), 6, "bytes that nobody reads keep the loop awake");
    close(spot.peer);
    spot.peer = -1;
    cr_expect_lt(cdt_turns_within(50), 6, "a hang-up that nobody wants to know keeps it awake");
    cr_assert_eq(spot.calls, 0);
    cdt_watch_want(&spot.watch, CDT_READ);
    cdt_turn(1);
    cr_assert_eq(spot.calls, 1);
    shut(&spot);
    cdt_close_ctx();
}

CDT_TEST(watch, an_error_on_the_descriptor_is_for_both_directions)
{
    int port = cdt_closed_port();
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(0x7f000001)}};
    struct spot spot = {.peer = -1, .leaves = true};
    cdt_open_ctx(NULL);
    spot.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(spot.fd, (struct sockaddr *)&to, sizeof(to)), -1);
    watch(&spot);
    cdt_turn(3);
    cr_assert_eq(spot.events, CDT_READ | CDT_WRITE);
    shut(&spot);
    cdt_close_ctx();
}

static struct spot *crowd[MANY];

static void free_all(struct spot *caller)
{
    for (int i = 0; i < 8; i++) {
        if (crowd[i] == caller)
            continue;
        shut(crowd[i]);
        free(crowd[i]);
    }
    crowd[0] = caller;
}

/* All of one batch; whichever is called first frees the others. */
CDT_TEST(watch, one_that_is_stopped_is_not_called_though_its_event_is_at_hand)
{
    cdt_open_ctx(NULL);
    for (int i = 0; i < 8; i++) {
        crowd[i] = malloc(sizeof(*crowd[i]));
        open_bell(crowd[i]);
        crowd[i]->act = free_all;
        ring(crowd[i]);
    }
    cdt_turn(1);
    cr_assert_eq(crowd[0]->calls, 1);
    crowd[0]->act = NULL;
    shut(crowd[0]);
    free(crowd[0]);
    cdt_close_ctx();
}

static void stop_itself(struct spot *spot)
{
    shut(spot);
    free(spot);
    crowd[0] = NULL;
}

CDT_TEST(watch, one_that_was_alone_for_long_may_go_in_its_own_call)
{
    cdt_open_ctx(NULL);
    crowd[0] = malloc(sizeof(*crowd[0]));
    open_bell(crowd[0]);
    for (int i = 0; i < 3 * MOST_GUESSES; i++) {
        ring(crowd[0]);
        cdt_turn(1);
    }
    cr_assert_eq(crowd[0]->calls, 3 * MOST_GUESSES);
    crowd[0]->act = stop_itself;
    ring(crowd[0]);
    cdt_turn(3);
    cr_assert_null(crowd[0]);
    struct spot other;
    open_bell(&other);
    ring(&other);
    cdt_turn(1);
    cr_assert_eq(other.calls, 1);
    shut(&other);
    cdt_close_ctx();
}

/* What somebody else still holds stays in an epoll set when it is closed, unless it is taken out. */
CDT_TEST(watch, a_descriptor_that_lives_on_elsewhere_is_not_heard_of_again)
{
    struct spot spot;
    cdt_open_ctx(NULL);
    open_bell(&spot);
    int other = dup(spot.fd);
    ring(&spot);
    shut(&spot);
    cr_expect_lt(cdt_turns_within(50), 6, "a descriptor that was closed keeps the loop awake");
    cr_assert_eq(spot.calls, 0);
    close(other);
    cdt_close_ctx();
}

static struct spot many[MANY];

/* They are always ready, so each turn finds a whole batch; the loop's own handles come between. */
CDT_TEST(watch, all_have_their_turn_when_more_than_a_batch_are_busy)
{
    struct rlimit room = {4096, 4096};
    setrlimit(RLIMIT_NOFILE, &room);
    cdt_open_ctx(NULL);
    for (int i = 0; i < MANY; i++) {
        open_bell(&many[i]);
        many[i].leaves = true;
        ring(&many[i]);
    }
    unsigned turns = 3 * (MANY / BATCH + 1);
    cdt_turn((int)turns);
    for (int i = 0; i < MANY; i++) {
        cr_assert_geq(many[i].calls, 1, "no. %d was passed over", i);
        cr_assert_leq(many[i].calls, turns);
    }
    for (int i = 0; i < MANY; i++)
        shut(&many[i]);
    cdt_close_ctx();
}

/* After this the set no longer asks the kernel who is ready. */
static void be_alone(struct spot *spot)
{
    for (int i = 0; i < MOST_GUESSES / 2; i++) {
        ring(spot);
        cdt_turn(1);
    }
    spot->calls = 0;
}

CDT_TEST(watch, another_than_the_usual_one_is_found_in_the_same_turn)
{
    struct spot usual, other;
    cdt_open_ctx(NULL);
    open_bell(&usual);
    open_bell(&other);
    be_alone(&usual);
    ring(&other);
    cdt_turn(1);
    cr_assert_eq(other.calls, 1);
    shut(&usual);
    shut(&other);
    cdt_close_ctx();
}

CDT_TEST(watch, the_usual_one_does_not_keep_others_from_their_turn)
{
    struct spot usual, other;
    cdt_open_ctx(NULL);
    open_bell(&usual);
    open_bell(&other);
    be_alone(&usual);
    usual.leaves = true;
    ring(&usual);
    ring(&other);
    cdt_turn(MOST_GUESSES);
    cr_assert_geq(usual.calls, 1);
    cr_assert_eq(other.calls, 1);
    shut(&usual);
    shut(&other);
    cdt_close_ctx();
}

/* Nobody is told to read who does not want to, however usual it was. */
CDT_TEST(watch, the_usual_one_is_left_alone_when_it_wants_nothing)
{
    struct spot usual, other;
    cdt_open_ctx(NULL);
    open_bell(&usual);
    open_bell(&other);
    be_alone(&usual);
    cdt_watch_want(&usual.watch, 0);
    ring(&usual);
    ring(&other);
    cdt_turn(2);
    cr_assert_eq(usual.calls, 0);
    cr_assert_eq(other.calls, 1);
    shut(&usual);
    shut(&other);
    cdt_close_ctx();
}

CDT_TEST(watch, what_cannot_be_watched_is_an_error)
{
    struct spot spot;
    struct cdt_watch second;
    int file = open(cdt_test_path("file"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cdt_open_ctx(NULL);
    open_bell(&spot);
    cr_assert_eq(cdt_watch_start(&second, cdt_ctx, spot.fd, CDT_READ, on_ready), EEXIST);
    cr_assert_eq(cdt_watch_start(&second, cdt_ctx, file, CDT_READ, on_ready), EPERM);
    ring(&spot);
    cdt_turn(1);
    cr_assert_eq(spot.calls, 1);
    shut(&spot);
    close(file);
    cdt_close_ctx();
}

/* The set takes a descriptor itself. */
CDT_TEST(watch, without_room_for_the_set_there_is_an_error_and_later_there_is_a_set)
{
    struct rlimit room, none;
    struct spot spot = {.peer = -1};
    cdt_open_ctx(NULL);
    spot.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &room), 0);
    none = room;
    none.rlim_cur = (rlim_t)spot.fd + 1;
    setrlimit(RLIMIT_NOFILE, &none);
    int number = cdt_watch_start(&spot.watch, cdt_ctx, spot.fd, CDT_READ, on_ready);
    setrlimit(RLIMIT_NOFILE, &room);
    cr_assert_eq(number, EMFILE);
    watch(&spot);
    ring(&spot);
    cdt_turn(1);
    cr_assert_eq(spot.calls, 1);
    shut(&spot);
    cdt_close_ctx();
}
