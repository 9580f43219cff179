/* SPDX-License-Identifier: ISC */
/*
 * The walk: walk.h says what it is.
 *
 *   act       one call of the library, whose result is checked against the model
 *   step      from outside: an act, a turn of the loop, the network, the clock
 *   settle    calm weather; everybody reads: what was sent arrives, what was owed comes
 *   leave     the rest is ended, in one of the ways there are; deadlines pass
 *   check     nothing is left of it
 */
#include "walk.h"
#include "chance.h"
#include "connection.h"
#include "context.h"
#include "names.h"
#include "party.h"
#include "robot.h"
#include "wire.h"
#include <conduit/memory.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_ACTS = 150,
    MOST_TURNS = 3000,
    MOST_RESOLUTIONS = 8,
    MOST_WRITE = 3000,
    LARGE_WRITE = 50 * 1000,
    LONGEST_TIMEOUT_MS = 60000,
};

/* A context that walks take turns in. */
struct world {
    conduit_ctx *ctx; /* NULL: the next walk makes one */
    uv_loop_t loop;   /* unless it has its own */
    uv_timer_t keep;  /* posts alone keep no loop alive */
    bool own;
    long blocks; /* of memory that it takes at rest */
};

struct road {
    const char *connect, *listen; /* NULL: not from this side */
    bool tls;
    bool silent; /* who breaks off is seen to end */
    bool astray; /* there is TLS at its end */
};

/* clang-format off */
static const struct road wires[] = {
    { "inproc://raw.walk",      "inproc://raw.walk",  false, false, false },
    { "inproc://veil.walk",     "inproc://veil.walk", false, false, false },
    { "inproc://robot.walk",    NULL,                 false, false, false },
    { "tcp://late.walk:7",      NULL,                 false, false, false },
    { "inproc://x",             "inproc://x",         false, false, false },
    { "inproc://nobody",        NULL,                 false, false, false },
};
static const struct road sockets[] = {
    { "unix:%s/u",                       "unix:%s/u",          false, true,  false },
    { NULL,                              "tcp://127.0.0.1:0",  false, false, false },
    { NULL,                              "tls://127.0.0.1:0",  true,  false, false },
    { "tls+unix:%s/t?name=a.example",    "tls+unix:%s/t",      true,  false, false },
    { "tls+inproc://y?name=a.example",   "tls+inproc://y",     true,  false, false },
    { "inproc://y",                      NULL,                 false, false, true },
};
/* clang-format on */
enum { N_ROADS = sizeof(wires) / sizeof(*wires) };
_Static_assert(sizeof(sockets) == sizeof(wires), "as many of the one as of the other");

static struct cdt_walk_options options;
static const struct road *roads = wires;
static conduit_tls *server_tls, *client_tls;
static struct world worlds[2];
static struct world *world;
static uint64_t now_ms = 1000000;
static bool ended;   /* conduit_ctx_free() has been called */
static bool resting; /* callbacks do nothing of their own */
static bool inside;  /* the loop is running, and so what acts may be a callback */
static unsigned n_acts;
static struct cdt_place places[N_ROADS];
static unsigned n_posted, n_run;

static struct lookup {
    conduit_resolution *resolution;
    bool asked, over;
} lookups[MOST_RESOLUTIONS];
static unsigned n_lookups;

#define CALL(...)                                                                                  \
    do {                                                                                           \
        cdt_calling++;                                                                             \
        __VA_ARGS__;                                                                               \
        cdt_calling--;                                                                             \
    } while (0)

/* ---- memory ---- */

static long n_blocks;
static long n_kept; /* by what belongs to no context */

static bool starved(void)
{
    return cdt_scarce && !cdt_calm && world != NULL && cdt_rarely(options.starve);
}

static void *count(void *memory)
{
    n_blocks += memory != NULL;
    return memory;
}

static void *get(size_t size)
{
    return starved() ? NULL : count(malloc(size));
}

static void *get_zeroed(size_t n, size_t size)
{
    return starved() ? NULL : count(calloc(n, size));
}

static void *get_more(void *memory, size_t size)
{
    if (starved())
        return NULL;
    return memory == NULL ? count(malloc(size)) : realloc(memory, size);
}

static void give_back(void *memory)
{
    n_blocks -= memory != NULL;
    free(memory);
}

/* ---- worlds ---- */

static uint64_t fake_now_ms(const conduit_ctx *ctx)
{
    return now_ms;
}

uint64_t cdt_walk_now_ms(void)
{
    return now_ms;
}

bool cdt_walk_breaks_show(unsigned road)
{
    return !roads[road].silent;
}

/* What the context keeps from the last failed call is of one size from here on. */
static void fail_a_call(conduit_ctx *ctx)
{
    CDT_RULE(conduit_connect(ctx, ":", NULL, NULL, NULL, NULL) == CONDUIT_EURI, "no error");
}

bool cdt_walk_leads_astray(unsigned road)
{
    return roads[road].astray;
}

static void never(uv_timer_t *timer)
{
    cdt_broken("a month has passed");
}

static void make_world(struct world *made)
{
    conduit_ctx_options ctx_options = {.hosts_file = "", .dns_servers = "127.0.0.1:1"};
    long before = n_blocks;
    if (!made->own) {
        uv_loop_init(&made->loop);
        ctx_options.loop = &made->loop;
    }
    made->ctx = conduit_ctx_new(&ctx_options);
    CDT_RULE(made->ctx != NULL, "no context");
    made->ctx->now_ms = fake_now_ms;
    CDT_RULE(conduit_ctx_add_resolver(made->ctx, &cdt_names_later) == 0, "no resolver");
    CDT_RULE(conduit_ctx_add_resolver(made->ctx, &cdt_names_late) == 0, "no resolver");
    CDT_RULE(conduit_ctx_add_resolver(made->ctx, &cdt_names_at_once) == 0, "no resolver");
    uv_timer_init(conduit_ctx_loop(made->ctx), &made->keep);
    uv_timer_start(&made->keep, never, UINT32_MAX, 0);
    fail_a_call(made->ctx);
    made->blocks = n_blocks - before;
}

/* What a context remembers, and the memory that it has at hand. */
static void drop_kept(conduit_ctx *ctx)
{
    conduit_ctx_flush_names(ctx);
    cdt_spares_clear(&ctx->spares);
}

/* The context is gone, or will be after some turns of the caller's loop. */
static void bury_world(void)
{
    if (!world->own)
        uv_close((uv_handle_t *)&world->keep, NULL);
    for (int i = 0; !world->own && i < MOST_TURNS && uv_loop_alive(&world->loop); i++)
        uv_run(&world->loop, UV_RUN_NOWAIT);
    if (!world->own) {
        uv_run(&world->loop, UV_RUN_NOWAIT);
        CDT_RULE(uv_loop_close(&world->loop) == 0, "a freed context leaves handles on its loop");
    }
    world->ctx = NULL;
    const struct world *other = &worlds[world == worlds];
    if (other->ctx != NULL)
        drop_kept(other->ctx);
    long rest = other->ctx != NULL ? other->blocks : 0;
    CDT_RULE(n_blocks - n_kept == rest || options.sockets,
             "a freed context leaves %ld blocks of memory", n_blocks - n_kept - rest);
    CDT_RULE(n_posted == n_run, "%u of %u posts were run", n_run, n_posted);
}

/* One turn of the loop, that waits for nothing. */
static void turn(void)
{
    if (world->ctx == NULL)
        return;
    if (!world->own) {
        uv_run(&world->loop, UV_RUN_NOWAIT);
        return;
    }
    if (ended)
        return;
    conduit_stop(world->ctx);
    int code = conduit_run(world->ctx);
    CDT_RULE(code == (ended ? 0 : 1), "conduit_run() said %d", code);
}

static void turns(unsigned n)
{
    while (n-- > 0)
        turn();
}

/* ---- acts ---- */

static void act(struct cdt_party *self);

static void act_some(struct cdt_party *self)
{
    unsigned n = cdt_rarely(4) ? cdt_chance(4) : cdt_chance(2);
    while (n-- > 0 && !resting)
        act(self);
}

void cdt_walk_react(struct cdt_party *party)
{
    act_some(party);
    bool answers = party->ended && !party->end_called && cdt_party_live(party) && !ended;
    if (answers && (cdt_calm || cdt_chance(2))) {
        party->end_called = true;
        CALL(conduit_end(party->conn));
    }
}

static const char *uri_of(const char *pattern, char *buf, size_t size)
{
    const char *mark = strstr(pattern, "%s");
    if (mark == NULL)
        return pattern;
    snprintf(buf, size, "%.*s%s%s", (int)(mark - pattern), pattern, options.dir, mark + 2);
    return buf;
}

static uint32_t maybe_ms(unsigned most)
{
    return cdt_rarely(4) ? 1 + cdt_chance(most) : 0;
}

static void choose_limits(conduit_conn_options *limits)
{
    *limits = (conduit_conn_options){0};
    if (cdt_chance(2)) {
        limits->high_water = 1 + cdt_chance(4000);
        limits->write_limit = limits->high_water + cdt_chance(9000);
    }
    if (cdt_chance(2))
        limits->close_timeout_ms = 1 + cdt_chance(3000);
    limits->idle_timeout_ms = maybe_ms(8000);
    limits->write_timeout_ms = maybe_ms(8000);
    limits->lifetime_ms = maybe_ms(20000);
}

/* What the defaults are is a promise of connection.h. */
static void settle_limits(conduit_conn_options *limits)
{
    if (limits->high_water == 0)
        limits->high_water = 64 * 1024;
    if (limits->write_limit == 0)
        limits->write_limit = 16 * 1024 * 1024;
    if (limits->close_timeout_ms == 0)
        limits->close_timeout_ms = 2000;
}

static void expect_code(int code, const char *call)
{
    bool may = code == CONDUIT_ECANCELED ? ended : code == CONDUIT_ENOMEM ? cdt_scarce : false;
    CDT_RULE(may, "%s said %s: %s", call, conduit_code_name(code),
             conduit_error_text(conduit_ctx_error(world->ctx)));
}

static const char *place_uri(unsigned road, char *buf, size_t size)
{
    if (roads[road].connect != NULL)
        return uri_of(roads[road].connect, buf, size);
    if (places[road].listener != NULL && conduit_listener_uri(places[road].listener, 0) != NULL)
        return conduit_listener_uri(places[road].listener, 0);
    return "tcp://127.0.0.1:1";
}

static void act_connect(void)
{
    char buf[256], uri[256];
    unsigned road = cdt_chance(N_ROADS);
    struct cdt_party *party = cdt_n_parties < CDT_MOST_PARTIES / 2 ? cdt_party_new(road) : NULL;
    if (party == NULL)
        return;
    conduit_connect_options how = {
        .timeout_ms = maybe_ms(3000),
        .resolve_timeout_ms = maybe_ms(2000),
        .attempt_timeout_ms = maybe_ms(2000),
        .name = roads[road].tls ? "a.example" : NULL,
        .tls = client_tls,
    };
    conduit_handler handler = cdt_party_handler;
    choose_limits(&how.conn);
    party->deaf = cdt_rarely(6);
    if (party->deaf)
        handler.on_end = NULL;
    snprintf(uri, sizeof(uri), "%s", place_uri(road, buf, sizeof(buf)));
    int code;
    CALL(code =
             conduit_connect(world->ctx, uri, &how, &handler, cdt_party_user(party), &party->conn));
    cdt_say("[%u] connect %s: %d", party->id, uri, code);
    if (code < 0) {
        expect_code(code, "conduit_connect()");
        CDT_RULE(party->conn == NULL, "a refused connect gives a connection");
        return;
    }
    CDT_RULE(!ended, "a connect was taken after conduit_ctx_free()");
    party->options = how.conn;
    settle_limits(&party->options);
    party->open_by_ms = now_ms + (how.timeout_ms != 0 ? how.timeout_ms : 30000);
}

static void on_failed(conduit_listener *listener, const conduit_error *why, void *user)
{
    struct cdt_place *place = user;
    cdt_say("  listener %u: %s", place->road, conduit_error_text(why));
    CDT_RULE(cdt_calling == 0, "on_failed came inside a call");
    CDT_RULE(place->listener == listener, "on_failed of a closed listener");
    CDT_RULE(why != NULL, "on_failed without an error");
    act_some(NULL);
}

static void on_gone(conduit_listener *listener, void *user)
{
    struct cdt_place *place = user;
    cdt_say("  listener %u is gone", place->road);
    CDT_RULE(cdt_calling == 0, "on_gone came inside a call");
    CDT_RULE(place->listener == listener, "on_gone of a closed listener");
    CDT_RULE(place->draining, "on_gone of a listener that was not drained");
    act_some(NULL);
    if (place->listener == listener) /* another may have taken its place just now */
        place->listener = NULL;
}

static void act_listen(unsigned road)
{
    char buf[256];
    struct cdt_place *place = &places[road];
    if (roads[road].listen == NULL || place->listener != NULL)
        return;
    conduit_listen_options how = {
        .max_pending = cdt_rarely(3) ? 1 + cdt_chance(3) : 0,
        .handshake_timeout_ms = maybe_ms(2000),
        .tls = roads[road].tls ? server_tls : NULL,
        .on_failed = on_failed,
        .on_gone = on_gone,
        .max_connections = cdt_rarely(6) ? 1 + cdt_chance(3) : 0,
    };
    conduit_handler handler = cdt_party_handler;
    choose_limits(&how.conn);
    *place = (struct cdt_place){.road = road, .deaf = cdt_rarely(6), .options = how.conn};
    settle_limits(&place->options);
    if (place->deaf)
        handler.on_end = NULL;
    const char *uri = uri_of(roads[road].listen, buf, sizeof(buf));
    int code;
    CALL(code = conduit_listen(world->ctx, uri, &how, &handler, place, &place->listener));
    cdt_say("listen %s: %d", uri, code);
    if (code < 0)
        expect_code(code, "conduit_listen()");
}

static void act_listener_close(unsigned road)
{
    conduit_listener *listener = places[road].listener;
    cdt_say("close listener %u", road);
    places[road].listener = NULL;
    CALL(conduit_listener_close(listener));
}

static void act_listener_drain(unsigned road)
{
    cdt_say("drain listener %u", road);
    cdt_all_end = places[road].draining = true;
    CALL(conduit_listener_drain(places[road].listener, cdt_chance(3000)));
}

static void on_resolved(conduit_resolution *resolution, const conduit_answer *answers, size_t n,
                        const conduit_error *why, void *user)
{
    struct lookup *lookup = user;
    cdt_say("  resolved: %zu", n);
    CDT_RULE(cdt_calling == 0, "on_done came inside a call");
    CDT_RULE(!lookup->over, "on_done came twice, or after a cancel");
    CDT_RULE(n > 0 || why != NULL, "nothing was found, and nobody says why");
    for (size_t i = 0; i < n; i++)
        CDT_RULE(*conduit_endpoint_uri(answers[i].endpoint) != '\0', "an answer without a place");
    act_some(NULL);
    lookup->over = true;
}

static void act_resolve(void)
{
    char buf[256];
    if (n_lookups == MOST_RESOLUTIONS)
        return;
    struct lookup *lookup = &lookups[n_lookups++];
    *lookup = (struct lookup){0};
    const char *uri = place_uri(cdt_chance(N_ROADS), buf, sizeof(buf));
    conduit_connect_options how = {
        .resolve_timeout_ms = maybe_ms(2000), .name = "a.example", .tls = client_tls};
    int code;
    CALL(code = conduit_resolve(world->ctx, uri, &how, on_resolved, lookup, &lookup->resolution));
    lookup->asked = code == 0;
    cdt_say("resolve %s: %d", uri, code);
    if (code < 0)
        expect_code(code, "conduit_resolve()");
}

static void act_resolution_cancel(void)
{
    struct lookup *lookup = n_lookups > 0 ? &lookups[cdt_chance(n_lookups)] : NULL;
    if (lookup == NULL || !lookup->asked || lookup->over || ended)
        return;
    lookup->over = true;
    CALL(conduit_resolution_cancel(lookup->resolution));
}

static void act_write(struct cdt_party *party)
{
    static unsigned char bytes[LARGE_WRITE];
    size_t n = cdt_rarely(3) ? cdt_chance(MOST_WRITE) : cdt_chance(200);
    if (cdt_rarely(50))
        n = cdt_chance(LARGE_WRITE); /* more than a block of the queue */
    size_t before = conduit_queued(party->conn);
    cdt_party_speak(party, bytes, n);
    int code;
    CALL(code = conduit_write(party->conn, bytes, n));
    cdt_say("[%u] write %zu: %d", party->id, n, code);
    memset(bytes, 0, n); /* it was copied */
    size_t queued = conduit_queued(party->conn);
    bool over = party->end_called || party->close_called || party->aborted || ended;
    CDT_RULE(queued <= party->options.write_limit, "%u: more is queued than may be", party->id);
    if (code >= 0) {
        CDT_RULE(!over, "%u: a write was taken after the end", party->id);
        CDT_RULE(code == 0 || queued >= party->options.high_water, "%u: not full", party->id);
        CDT_RULE(code == 1 || queued <= before || queued < party->options.high_water,
                 "%u: full, and not told", party->id);
        party->sent += n;
        party->owed_drain |= code == 1;
        return;
    }
    if (code == CONDUIT_ENOMEM && party->conn->state >= CDT_CLOSED)
        party->sent += n; /* in the middle of it: some of it may arrive, and no end after it */
    CDT_RULE(code != CONDUIT_ELIMIT || before + n > party->options.write_limit, "%u: room",
             party->id);
    CDT_RULE(code != CONDUIT_ECLOSED || over || party->conn->broken ||
                 party->conn->state > CDT_OPEN,
             "%u: a write was refused for nothing", party->id);
    CDT_RULE(code == CONDUIT_ELIMIT || code == CONDUIT_ECLOSED ||
                 (code == CONDUIT_ENOMEM && cdt_scarce),
             "%u: a write said %s", party->id, conduit_code_name(code));
}

static void act_pause(struct cdt_party *party)
{
    cdt_say("[%u] pause", party->id);
    party->paused = true;
    CALL(conduit_pause(party->conn));
}

static void act_resume(struct cdt_party *party)
{
    cdt_say("[%u] resume", party->id);
    party->paused = false;
    CALL(conduit_resume(party->conn));
}

static void act_end(struct cdt_party *party)
{
    cdt_say("[%u] end", party->id);
    party->end_called = true;
    CALL(conduit_end(party->conn));
}

static void act_close(struct cdt_party *party)
{
    cdt_say("[%u] close", party->id);
    if (party->conn->state == CDT_OPENING) /* that is, unless on_close is on its way */
        party->canceled = true;
    if (!party->close_called && party->opened)
        party->close_by_ms = now_ms + (uint64_t)CDT_CLOSE_TIMES * party->options.close_timeout_ms;
    party->close_called = true;
    CALL(conduit_close(party->conn));
}

static void act_abort(struct cdt_party *party)
{
    cdt_say("[%u] abort", party->id);
    party->aborted = true;
    CALL(conduit_abort(party->conn));
}

static void act_free(struct cdt_party *party)
{
    cdt_say("[%u] free", party->id);
    if (party->conn->state >= CDT_CLOSED) /* it was over, and that is how it looks to the peer */
        party->why = conduit_error_code(party->conn->why);
    party->freed = true;
    CALL(conduit_conn_free(party->conn));
}

static void act_look(struct cdt_party *party)
{
    const conduit_info *info;
    CALL(info = conduit_conn_info(party->conn));
    CDT_RULE((info != NULL) == party->opened || cdt_scarce, "%u: info and open differ", party->id);
    CDT_RULE(info == NULL || info->bytes_in == party->got, "%u: info counts bytes in", party->id);
    CDT_RULE(info == NULL || info->bytes_out == party->sent || cdt_scarce,
             "%u: info counts bytes out", party->id);
    CDT_RULE(conduit_conn_ctx(party->conn) == world->ctx, "%u: another context", party->id);
    CDT_RULE(conduit_conn_user(party->conn) == cdt_party_user(party), "%u: another user",
             party->id);
}

static void act_set_user(struct cdt_party *party)
{
    party->tag = cdt_chance(sizeof(party->tags));
    CALL(conduit_conn_set_user(party->conn, cdt_party_user(party)));
}

static void act_set_timeout(struct cdt_party *party)
{
    static const conduit_timeout which[] = {CONDUIT_TIMEOUT_IDLE, CONDUIT_TIMEOUT_WRITE,
                                            CONDUIT_TIMEOUT_LIFETIME};
    int code;
    CALL(code = conduit_set_timeout(party->conn, which[cdt_chance(3)], maybe_ms(8000)));
    CDT_RULE(code == (party->conn->state >= CDT_CLOSED ? CONDUIT_ECLOSED : 0), "%u: %s", party->id,
             conduit_code_name(code));
}

static void on_post(conduit_ctx *ctx, void *arg)
{
    CDT_RULE(cdt_calling == 0 || ended, "a post was run inside a call");
    n_run++;
    if (!ended)
        act_some(arg);
}

static void act_post(struct cdt_party *party)
{
    int code;
    CALL(code = conduit_post(world->ctx, on_post, party));
    n_posted += code == 0;
    if (code < 0)
        expect_code(code, "conduit_post()");
}

static void forget_listeners(void)
{
    for (unsigned i = 0; i < N_ROADS; i++)
        places[i].listener = NULL;
}

static void act_drain(void)
{
    cdt_say("drain");
    cdt_all_end = true;
    for (unsigned i = 0; i < N_ROADS; i++)
        places[i].draining = true;
    CALL(conduit_ctx_drain(world->ctx, cdt_chance(3000)));
}

/* From outside, an own loop is run to its end inside the call, and callbacks come from there. */
static void act_ctx_free(void)
{
    cdt_say("free the context");
    cdt_all_end = ended = true;
    forget_listeners();
    if (inside || !world->own)
        CALL(conduit_ctx_free(world->ctx));
    else
        conduit_ctx_free(world->ctx);
}

static void act_on(struct cdt_party *party)
{
    static void (*const calls[])(struct cdt_party *) = {
        act_pause, act_pause, act_resume, act_resume, act_resume,   act_end,         act_end,
        act_close, act_look,  act_look,   act_post,   act_set_user, act_set_timeout,
    };
    unsigned n = cdt_chance(40);
    if (n < sizeof(calls) / sizeof(*calls))
        calls[n](party);
    else if (n == 38)
        (cdt_chance(2) ? act_abort : act_free)(party);
    else
        act_write(party);
}

static void act_elsewhere(void)
{
    unsigned road = cdt_chance(N_ROADS);
    switch (cdt_chance(12)) {
    case 0:
        if (places[road].listener != NULL)
            (cdt_rarely(3) ? act_listener_drain : act_listener_close)(road);
        break;
    case 1:
    case 2:
        act_resolve();
        break;
    case 3:
        act_resolution_cancel();
        break;
    case 4:
    case 5:
    case 6:
        act_listen(road);
        break;
    default:
        act_connect();
        break;
    }
}

static struct cdt_party *anybody(void)
{
    struct cdt_party *party = cdt_n_parties > 0 ? &cdt_parties[cdt_chance(cdt_n_parties)] : NULL;
    return party != NULL && cdt_party_live(party) ? party : NULL;
}

static void act(struct cdt_party *self)
{
    if (ended || n_acts++ > MOST_ACTS)
        return;
    struct cdt_party *party =
        self != NULL && cdt_chance(3) && cdt_party_live(self) ? self : anybody();
    if (cdt_rarely(400))
        act_ctx_free();
    else if (cdt_rarely(400))
        act_drain();
    else if (party == NULL || cdt_rarely(8))
        act_elsewhere();
    else
        act_on(party);
}

/* ---- steps ---- */

static void on_time(conduit_ctx *ctx, void *arg)
{
    n_run++;
    if (!ended)
        cdt_timers_fire(ctx);
}

static void guarded_turns(unsigned n)
{
    inside = true;
    turns(n);
    inside = false;
}

/* Deadlines are met from the loop, as they are when the clock is the real one. */
static void pass_time(uint64_t ms)
{
    if (ended)
        return;
    now_ms += ms;
    bool calm = cdt_calm;
    cdt_calm = true;
    n_posted += conduit_post(world->ctx, on_time, NULL) == 0;
    cdt_calm = calm;
    guarded_turns(4);
    if (!ended)
        cdt_parties_check_time();
}

static void move_others(void)
{
    cdt_wire_move();
    cdt_robots_move();
    cdt_names_move();
}

static void step(void)
{
    unsigned n = cdt_chance(20);
    if (ended)
        guarded_turns(3);
    else if (n < 7)
        act(NULL);
    else if (n < 12)
        guarded_turns(1 + cdt_chance(3));
    else if (n < 17)
        move_others();
    else if (n < 18)
        cdt_wire_trouble();
    else
        pass_time(cdt_rarely(5) ? cdt_chance(12000) : cdt_chance(400));
}

/* ---- the settlement ---- */

static unsigned events_so_far(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < cdt_n_parties; i++)
        n += (unsigned)cdt_parties[i].got + cdt_parties[i].closed + cdt_parties[i].opened +
             cdt_parties[i].ended;
    return n;
}

/* Until nothing moves: then the run-queue is empty, too, or somebody spins. */
static void turn_until_still(void)
{
    unsigned still = 0, before = events_so_far();
    for (int i = 0; i < MOST_TURNS && still < 6 && !ended; i++) {
        move_others();
        guarded_turns(1);
        unsigned after = events_so_far();
        still = after == before && world->ctx->tasks == NULL ? still + 1 : 0;
        before = after;
    }
    CDT_RULE(still > 0 || ended, "it does not come to rest");
}

static void resume_all(void)
{
    for (unsigned i = 0; i < cdt_n_parties && !ended; i++)
        if (cdt_party_live(&cdt_parties[i]))
            act_resume(&cdt_parties[i]);
}

/* May hear what its peer sends and send what that hears: a connection that could not write only
 * waits for the peer's last words, and one that a drain closes for its end. */
static bool sound(const struct cdt_party *party)
{
    return cdt_party_live(party) && !party->close_called && !party->aborted &&
           !party->conn->broken && party->conn->state != CDT_CLOSING;
}

/* Both are open, and nothing has gone wrong between them. */
static bool talking(const struct cdt_party *party)
{
    const struct cdt_party *peer = cdt_party_peer(party);
    return peer != NULL && cdt_party_peer(peer) == party && sound(party) && sound(peer);
}

static void check_settled(const struct cdt_party *party)
{
    if (cdt_party_live(party) && party->ended && party->end_called)
        cdt_broken("%u: both directions have ended, and it has not closed", party->id);
    if (!talking(party))
        return;
    const struct cdt_party *peer = cdt_party_peer(party);
    CDT_RULE(party->got == peer->sent, "%u got %zu of the %zu bytes of %u, and no more come",
             party->id, party->got, peer->sent, peer->id);
    CDT_RULE(conduit_queued(party->conn) == 0, "%u: %zu bytes stay queued", party->id,
             conduit_queued(party->conn));
    CDT_RULE(!party->owed_drain, "%u was never told that it has room", party->id);
    CDT_RULE(party->ended || !peer->end_called, "%u never saw the end of %u", party->id, peer->id);
}

static void settle(void)
{
    cdt_calm = resting = true;
    resume_all();
    turn_until_still();
    for (unsigned i = 0; i < cdt_n_parties && !ended; i++)
        check_settled(&cdt_parties[i]);
}

/* ---- the end ---- */

static void leave_one_by_one(void)
{
    for (unsigned i = 0; i < N_ROADS && !ended; i++)
        if (places[i].listener != NULL)
            act_listener_close(i);
    for (unsigned i = 0; i < cdt_n_parties && !ended; i++)
        if (cdt_party_live(&cdt_parties[i]))
            (cdt_rarely(3) ? act_abort : act_close)(&cdt_parties[i]);
}

static void leave(void)
{
    unsigned how = cdt_chance(8);
    if (ended)
        return;
    if (how == 0)
        act_ctx_free();
    else if (how < 3)
        act_drain();
    else
        leave_one_by_one();
    for (int i = 0; i < 4 && !ended; i++) {
        turn_until_still();
        pass_time(LONGEST_TIMEOUT_MS);
    }
    forget_listeners();
}

static void check_world(void)
{
    const conduit_ctx *ctx = world->ctx;
    CDT_RULE(ctx->conns == NULL, "a connection is left");
    CDT_RULE(ctx->listeners == NULL, "a listener is left");
    CDT_RULE(ctx->resolutions == NULL, "a resolution is left");
    CDT_RULE(ctx->tasks == NULL, "a task is left");
    CDT_RULE(RB_EMPTY(&ctx->timers), "a timer is left");
    CDT_RULE(ctx->n_handles == 3 + ctx->watches.open, "%d handles are left", ctx->n_handles);
    CDT_RULE(n_posted == n_run, "%u of %u posts were run", n_run, n_posted);
}

static void check_lookups(void)
{
    for (unsigned i = 0; i < n_lookups; i++)
        CDT_RULE(lookups[i].over || !lookups[i].asked, "a resolution never had its end");
}

/* Without that of the context's set of watches, which is there from its first on. */
static int count_descriptors(void)
{
    int n = world->ctx->watches.open ? -1 : 0;
    DIR *list = opendir("/proc/self/fd");
    while (list != NULL && readdir(list) != NULL)
        n++;
    closedir(list);
    return n;
}

static void enter(uint64_t seed)
{
    cdt_parties_clear();
    memset(places, 0, sizeof(places));
    n_lookups = n_acts = n_posted = n_run = 0;
    cdt_all_end = ended = resting = inside = false;
    cdt_calm = true;
    world = &worlds[seed % 2];
    world->own = seed % 2 == 0;
    if (world->ctx == NULL)
        make_world(world);
    fail_a_call(world->ctx);
    cdt_calm = false;
}

static void open_places(void)
{
    for (unsigned road = 0; road < N_ROADS; road++)
        if (cdt_chance(8))
            act_listen(road);
}

static unsigned walk_about(uint64_t seed, const bool *skip)
{
    cdt_chance_begin(seed, 0);
    unsigned n_steps = 8 + cdt_chance(CDT_MOST_STEPS - 8);
    open_places();
    for (unsigned i = 0; i < n_steps; i++) {
        if (skip != NULL && skip[i])
            continue;
        cdt_chance_begin(seed, i + 1);
        cdt_say("-- step %u", i);
        step();
    }
    return n_steps;
}

static void come_to_an_end(uint64_t seed)
{
    cdt_chance_begin(seed, CDT_MOST_STEPS + 1);
    cdt_say("-- settle");
    settle();
    cdt_say("-- leave");
    leave();
    cdt_robots_leave();
    if (ended)
        bury_world();
    cdt_parties_check_over();
    check_lookups();
    CDT_RULE(cdt_wire_count() == 0 && cdt_names_count() == 0, "the network is not empty");
}

unsigned cdt_walk(uint64_t seed, const bool skip[CDT_MOST_STEPS])
{
    enter(seed);
    long blocks = n_blocks;
    int descriptors = options.sockets ? count_descriptors() : 0;
    unsigned n_steps = walk_about(seed, skip);
    come_to_an_end(seed);
    if (ended)
        return n_steps;
    check_world();
    fail_a_call(world->ctx);
    drop_kept(world->ctx);
    turns(2);
    /* TLS keeps buffers for the next one: there, only the end of it all tells. */
    CDT_RULE(n_blocks == blocks || options.sockets, "%ld blocks of memory are left",
             n_blocks - blocks);
    CDT_RULE(!options.sockets || count_descriptors() == descriptors, "a descriptor is left");
    return n_steps;
}

/* ---- before and after all ---- */

static conduit_tls *make_tls(const char *key, const char *file, const char *key2, const char *file2)
{
    char path[512];
    conduit_tls *tls = conduit_tls_new();
    snprintf(path, sizeof(path), "%s/%s", options.certs, file);
    CDT_RULE(conduit_tls_set(tls, key, path, NULL) == 0, "%s", path);
    snprintf(path, sizeof(path), "%s/%s", options.certs, file2);
    CDT_RULE(key2 == NULL || conduit_tls_set(tls, key2, path, NULL) == 0, "%s", path);
    return tls;
}

void cdt_walk_begin(const struct cdt_walk_options *with)
{
    static const conduit_allocator counting = {get, get_zeroed, get_more, give_back};
    options = *with;
    cdt_scarce = options.starve > 0;
    cdt_calm = true;
    conduit_set_allocator(&counting);
    if (!options.sockets)
        return;
    roads = sockets;
    server_tls = make_tls("cert", "server.pem", "key", "server.key");
    client_tls = make_tls("ca", "ca.pem", NULL, "");
    n_kept = n_blocks;
}

void cdt_walk_end(void)
{
    n_posted = n_run = 0;
    cdt_calm = true;
    for (int i = 0; i < 2; i++) {
        world = &worlds[i];
        if (world->ctx == NULL)
            continue;
        conduit_ctx_free(world->ctx);
        bury_world();
    }
    conduit_tls_unref(server_tls);
    conduit_tls_unref(client_tls);
    CDT_RULE(n_blocks == 0, "%ld blocks of memory are left in the end", n_blocks);
}
