/* SPDX-License-Identifier: ISC */
/*
 * The story of a listen.
 *
 *   conduit_listen    the URI is read; the endpoints are bound, every one or none    target.c
 *   on_ready          connections are accepted, one or some a turn, while there is room
 *   begin             the layers are pushed over it and driven open                  stack.c
 *   on_opened         the connection is the user's: on_open                          connection.c
 *   on_failed         ... or never was one: options.on_failed hears of it
 *
 *   drain             ... until the last has gone: options.on_gone                     drain.c
 *
 * Handshakes run beside the accepting, each with its own deadline; all who were let in are counted
 * against the limits (crowd.h). When the handshakes are as many as may be and others wait, the
 * oldest has two seconds. When descriptors or memory run out, accepting rests for a moment
 * instead of spinning. A listener can be closed from inside any callback; the frame that is using
 * it then finds it closed.
 */
#include "listen.h"
#include "connection.h"
#include "error.h"
#include "local.h"
#include "renewal.h"
#include "resolve.h"
#include "stack.h"
#include "thread.h"
#include "transport.h"
#include "util.h"
#include <conduit/memory.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>
#include <utlist.h>

enum {
    DEFAULT_BACKLOG = 511,
    DEFAULT_HANDSHAKE_TIMEOUT_MS = 10000,
    DEFAULT_MAX_PENDING = 1024,
    MOST_PLACES = 8,
    ACCEPTS_PER_TURN = 16,
    LONE_ACCEPTS = 15,    /* after one that came by itself */
    REST_MS = 5,          /* after running out of descriptors, at first */
    REST_MAX_MS = 50,     /* ... and at last */
    EPISODE_MS = 1000,    /* a shortage this long after another is news */
    SHED_AFTER_MS = 1000, /* then who waits is told */
    LAST_ACCEPTS = 4096,  /* of a drain: more than any backlog holds */
    PATIENCE_MS = 2000,   /* with a handshake, while others wait for its place */
    PORT_TRIES = 16,      /* to find a port that is free in both families */
};

struct place {
    struct cdt_acceptor *acceptor;
    const conduit_endpoint *endpoint; /* the whole stack, with the real port */
    enum cdt_gate gate;               /* ... and where its handshakes count */
    unsigned lone;                    /* that come one by one, before the next look for more */
};

/* A connection whose layers are shaking hands. */
struct pending {
    struct conduit_listener *listener;
    struct pending *prev, *next;
    struct cdt_opening opening;
    struct cdt_path *path;
    struct cdt_guest guest;
    uint64_t since_ms;
};

/* Those whose layers are shaking hands, the oldest first. */
struct gate {
    struct conduit_listener *listener;
    struct pending *pending;
    bool crowded; /* somebody waits, and there is no room */
    struct cdt_timer patience;
};

/* Of descriptors or memory, while accepting. */
struct shortage {
    bool known;
    uint64_t since_ms, last_ms;
    uint32_t rest_ms;
};

/* What the URI leads to, while it is looked up and bound. */
struct search {
    conduit_query query;
    const conduit_endpoint *found[MOST_PLACES];
    size_t n_found;
    const conduit_error *error;
};

struct conduit_listener {
    conduit_ctx *ctx;
    struct conduit_listener *prev, *next;
    struct cdt_target target;
    conduit_listen_options options;
    struct cdt_manner *manner; /* of its connections */
    void *user;
    const conduit_endpoint *wanted; /* the first of what the URI leads to */
    struct place *places;           /* until the end, for frames that use one */
    size_t n_places, most_places;
    struct gate gates[CDT_GATES];
    uint32_t n_pending;
    struct cdt_crowd *crowd;
    struct cdt_tally *tally;
    struct cdt_drain drain;
    struct cdt_task last_accepts;
    struct shortage shortage;
    struct cdt_timer rest;
    struct cdt_renewal renewal;
    bool paused;
    uint64_t since_ns;
    const conduit_error *error; /* of conduit_listen() itself */
    unsigned pins;
    bool closed;
};

/* ---- lifetime ---- */

static void release(struct conduit_listener *listener)
{
    for (size_t i = 0; i < listener->n_places; i++)
        conduit_endpoint_unref(listener->places[i].endpoint);
    conduit_free(listener->places);
    conduit_endpoint_unref(listener->wanted);
    conduit_error_unref(listener->error);
    cdt_target_clear(&listener->target);
    cdt_crowd_unref(listener->crowd);
    cdt_tally_unref(listener->tally);
    cdt_manner_unref(listener->manner);
    conduit_free(listener);
}

static void unpin(struct conduit_listener *listener)
{
    if (--listener->pins == 0 && listener->closed)
        release(listener);
}

static struct gate *gate_of(const struct pending *pending)
{
    return &pending->listener->gates[pending->guest.gate];
}

/* Off the list; the guest is the caller's. */
static void take_out(struct pending *pending)
{
    DL_DELETE(gate_of(pending)->pending, pending);
    pending->listener->n_pending--;
}

static void drop_pending(struct pending *pending)
{
    take_out(pending);
    cdt_opening_stop(&pending->opening);
    cdt_guest_leave(&pending->guest);
    conduit_free(pending);
}

static void drop_all_pending(struct conduit_listener *listener)
{
    for (struct gate *gate = listener->gates; gate < listener->gates + CDT_GATES; gate++)
        while (gate->pending != NULL)
            drop_pending(gate->pending);
}

static void stop_timers(struct conduit_listener *listener)
{
    cdt_timer_stop(listener->ctx, &listener->rest);
    for (int i = 0; i < CDT_GATES; i++)
        cdt_timer_stop(listener->ctx, &listener->gates[i].patience);
}

static void unbind(struct conduit_listener *listener)
{
    for (size_t i = 0; i < listener->n_places; i++) {
        listener->places[i].acceptor->ops->close(listener->places[i].acceptor);
        conduit_endpoint_unref(listener->places[i].endpoint);
    }
    listener->n_places = 0;
}

/* A descriptor to be without when there is none: kept while somebody listens. */
static void keep_reserve(conduit_ctx *ctx)
{
    if (ctx->reserve < 0)
        ctx->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void drop_reserve(conduit_ctx *ctx)
{
    if (ctx->reserve >= 0)
        close(ctx->reserve);
    ctx->reserve = -1;
}

void conduit_listener_close(conduit_listener *listener)
{
    if (listener == NULL || listener->closed)
        return;
    listener->pins++;
    listener->closed = true;
    DL_DELETE(listener->ctx->listeners, listener);
    if (listener->ctx->listeners == NULL)
        drop_reserve(listener->ctx);
    cdt_ctx_recount(listener->ctx);
    cdt_drain_stop(&listener->drain);
    cdt_drains_look(listener->ctx);
    cdt_undefer(listener->ctx, &listener->last_accepts);
    stop_timers(listener);
    cdt_renewal_stop(&listener->renewal);
    drop_all_pending(listener);
    unbind(listener);
    unpin(listener);
}

/* ---- accepting ---- */

/* After anything that may have changed whether there is room. */
static void update_accepting(struct conduit_listener *listener)
{
    bool on = !listener->paused && !listener->rest.armed;
    for (size_t i = 0; i < listener->n_places; i++) {
        const struct place *place = &listener->places[i];
        place->acceptor->ops->want(place->acceptor, on && !listener->gates[place->gate].crowded);
    }
}

static void leave_crowded(struct gate *gate)
{
    gate->crowded = false;
    cdt_timer_stop(gate->listener->ctx, &gate->patience);
}

static void on_room(struct cdt_crowd *crowd, void *arg)
{
    const conduit_ctx *ctx = arg;
    for (struct conduit_listener *one = ctx->listeners; one != NULL; one = one->next) {
        if (one->crowd != crowd)
            continue;
        for (unsigned i = 0; i < CDT_GATES; i++)
            if (!cdt_crowd_full(crowd, i))
                leave_crowded(&one->gates[i]);
        update_accepting(one);
    }
}

static void tell_failed(struct conduit_listener *listener, const conduit_error *error)
{
    if (listener->options.on_failed != NULL && !listener->closed)
        listener->options.on_failed(listener, error, listener->user);
}

static void count_failed(struct conduit_listener *listener)
{
    listener->tally->counts.failed++;
    listener->ctx->counts.failed++;
}

/* An accepted connection that will not be one. Takes the path over. */
static void give_up(struct conduit_listener *listener, struct cdt_path *path, bool reset)
{
    count_failed(listener);
    cdt_trace(listener->ctx, path->begun_ns, "failed", "%s", conduit_error_text(path->error));
    tell_failed(listener, path->error);
    cdt_path_free(path, reset);
}

/* Takes path and guest over. */
static void open_connection(struct conduit_listener *listener, struct cdt_path *path,
                            struct cdt_guest *guest)
{
    struct conduit_conn *conn = cdt_conn_new(listener->ctx, NULL, listener->manner, listener->user);
    if (conn == NULL) {
        cdt_guest_leave(guest);
        cdt_path_fail(path, CONDUIT_ENOMEM, CONDUIT_STAGE_IO, NULL, 0, "out of memory");
        give_up(listener, path, true);
        return;
    }
    conn->accepted_at = conduit_endpoint_ref(path->endpoint);
    conn->open_ms = (double)(path->opened_ns - path->begun_ns) / 1e6;
    conn->tally = cdt_tally_ref(listener->tally);
    conn->guest = *guest;
    cdt_guest_settle(&conn->guest);
    listener->tally->counts.accepted++;
    listener->ctx->counts.accepted++;
    cdt_conn_opened(conn, path);
}

static void on_opened(struct cdt_opening *opening, int code)
{
    struct pending *pending = CDT_CONTAINER(opening, struct pending, opening);
    struct conduit_listener *listener = pending->listener;
    struct cdt_path *path = pending->path;
    struct cdt_guest guest = pending->guest;
    listener->pins++;
    take_out(pending);
    conduit_free(pending);
    if (code == 0) {
        open_connection(listener, path, &guest);
    } else {
        cdt_guest_leave(&guest);
        give_up(listener, path, false);
    }
    cdt_drains_look(listener->ctx);
    unpin(listener);
}

/* Who goes for those that wait there: its oldest. Where it has none the limit is that of
 * connections, which the others count against, too. */
static struct pending *oldest_for(const struct gate *gate)
{
    struct pending *oldest = gate->pending;
    for (int i = 0; i < CDT_GATES && oldest == NULL; i++)
        oldest = gate->listener->gates[i].pending;
    return oldest;
}

/* The oldest handshake has had its time, and others wait: without this, as many silent peers as
 * there is room for would keep everybody out until their deadline. */
static void on_impatient(struct cdt_timer *timer)
{
    struct pending *oldest = oldest_for(CDT_CONTAINER(timer, struct gate, patience));
    if (oldest == NULL)
        return;
    struct cdt_path *path = oldest->path;
    cdt_opening_leave(&oldest->opening);
    int code = cdt_path_fail(path, CONDUIT_ETIMEDOUT, path->stage, NULL, 0,
                             "not opened within %.1f s, and given up for others who wait",
                             PATIENCE_MS / 1000.0);
    on_opened(&oldest->opening, code);
}

/* Somebody waits and there is no room. The head of the list is the oldest. */
static void wait_for_room(struct gate *gate)
{
    conduit_ctx *ctx = gate->listener->ctx;
    const struct pending *oldest = oldest_for(gate);
    gate->crowded = true;
    update_accepting(gate->listener);
    if (oldest == NULL)
        return;
    uint64_t now_ms = cdt_now_ms(ctx);
    uint64_t until_ms = oldest->since_ms + PATIENCE_MS;
    cdt_timer_start(ctx, &gate->patience, until_ms > now_ms ? until_ms - now_ms : 0, on_impatient);
}

/* It goes on opening beside the accepting. 0; or ENOMEM, after cdt_path_fail(). */
static int await_open(struct conduit_listener *listener, struct cdt_path *path,
                      const struct cdt_guest *guest)
{
    struct pending *pending = conduit_calloc(1, sizeof(*pending));
    if (pending == NULL)
        return cdt_path_fail(path, CONDUIT_ENOMEM, CONDUIT_STAGE_IO, NULL, 0, "out of memory");
    pending->listener = listener;
    pending->path = path;
    pending->guest = *guest;
    pending->since_ms = cdt_now_ms(listener->ctx);
    DL_APPEND(gate_of(pending)->pending, pending);
    listener->n_pending++;
    cdt_opening_wait(&pending->opening, path, listener->options.handshake_timeout_ms, on_opened);
    return 0;
}

/* Drive an accepted path open. Takes path and guest over. */
static void begin(struct conduit_listener *listener, struct cdt_path *path, struct cdt_guest *guest)
{
    int code = cdt_stack_accept(path, listener->target.steps);
    if (code == 0)
        code = cdt_path_open(path);
    if (code == 0) {
        open_connection(listener, path, guest);
        return;
    }
    if (code == CONDUIT_EAGAIN)
        code = await_open(listener, path, guest);
    if (code == 0)
        return;
    cdt_guest_leave(guest);
    give_up(listener, path, code == CONDUIT_ENOMEM); /* who was not served must not see an end */
}

static void count_shed(struct conduit_listener *listener, const struct place *place)
{
    cdt_trace(listener->ctx, listener->since_ns, "shed", "%s",
              conduit_endpoint_uri(place->endpoint));
    listener->tally->counts.shed++;
    listener->ctx->counts.shed++;
}

/* Take charge of an accepted path, unless its peer has enough of them. */
static void admit(struct conduit_listener *listener, const struct place *place,
                  struct cdt_path *path)
{
    struct cdt_who who;
    struct cdt_guest guest = {0};
    const struct cdt_acceptor_ops *ops = place->acceptor->ops;
    bool known =
        cdt_crowd_counts_places(listener->crowd) && ops->who != NULL && ops->who(path, &who);
    int code = cdt_crowd_enter(listener->crowd, place->gate, known ? &who : NULL, &guest);
    if (code == 0) {
        begin(listener, path, &guest);
    } else if (code == CONDUIT_ELIMIT) {
        count_shed(listener, place);
        cdt_path_free(path, true);
    } else {
        cdt_path_fail(path, code, CONDUIT_STAGE_IO, NULL, 0, "out of memory");
        give_up(listener, path, true);
    }
}

static void on_rested(struct cdt_timer *timer)
{
    update_accepting(CDT_CONTAINER(timer, struct conduit_listener, rest));
}

/* Has it only just begun? */
static bool note_shortage(struct conduit_listener *listener)
{
    struct shortage *shortage = &listener->shortage;
    uint64_t now_ms = cdt_now_ms(listener->ctx);
    bool news = !shortage->known || now_ms - shortage->last_ms > EPISODE_MS;
    if (news)
        *shortage = (struct shortage){.known = true, .since_ms = now_ms};
    shortage->last_ms = now_ms;
    shortage->rest_ms = shortage->rest_ms == 0 ? REST_MS : 2 * shortage->rest_ms;
    if (shortage->rest_ms > REST_MAX_MS)
        shortage->rest_ms = REST_MAX_MS;
    return news;
}

/* With the reserve for a descriptor, turn away some of those that wait. */
static void shed(struct conduit_listener *listener, const struct place *place)
{
    conduit_ctx *ctx = listener->ctx;
    if (place->acceptor->ops->shed == NULL || ctx->reserve < 0)
        return;
    drop_reserve(ctx);
    for (int i = 0; i < ACCEPTS_PER_TURN && place->acceptor->ops->shed(place->acceptor); i++)
        count_shed(listener, place);
    keep_reserve(ctx);
}

static void tell_shortage(struct conduit_listener *listener, const struct place *place, int number)
{
    const conduit_error *error = cdt_error_errno(
        CONDUIT_STAGE_DIAL, conduit_endpoint_uri(place->endpoint), number, "accept");
    cdt_trace(listener->ctx, listener->since_ns, "shortage", "%s", conduit_error_text(error));
    listener->tally->counts.shortages++;
    listener->ctx->counts.shortages++;
    tell_failed(listener, error);
    conduit_error_unref(error);
}

/* One connection that vanished before it was accepted is nobody's concern; a shortage is. */
static bool survive(struct conduit_listener *listener, const struct place *place, int code,
                    int number)
{
    if (code == CONDUIT_ERESET)
        return true;
    bool news = note_shortage(listener);
    const struct shortage *shortage = &listener->shortage;
    keep_reserve(listener->ctx);
    if ((number == EMFILE || number == ENFILE) &&
        shortage->last_ms - shortage->since_ms >= SHED_AFTER_MS)
        shed(listener, place);
    cdt_timer_start(listener->ctx, &listener->rest, shortage->rest_ms, on_rested);
    update_accepting(listener);
    if (news)
        tell_shortage(listener, place, number);
    return false;
}

/* One connection. False: no more just now. */
static bool accept_one(struct conduit_listener *listener, const struct place *place)
{
    if (cdt_crowd_full(listener->crowd, place->gate))
        return false;
    int number = ENOMEM;
    struct cdt_path *path = cdt_path_new(listener->ctx, place->endpoint);
    int code = CONDUIT_ENOMEM;
    if (path != NULL)
        code = place->acceptor->ops->accept(place->acceptor, path, &number);
    if (code == 0) {
        listener->shortage.rest_ms = 0;
        cdt_trace(listener->ctx, path->begun_ns, "accept", "%s",
                  conduit_endpoint_uri(path->endpoint));
        admit(listener, place, path);
        return true;
    }
    cdt_path_free(path, false);
    return code != CONDUIT_EAGAIN && survive(listener, place, code, number);
}

/* Whether another one waits is found out by asking, mostly in vain. So whoever came by himself is
 * taken for one of many such, until it is time to look again; who waits is reported again. */
static void accept_some(struct conduit_listener *listener, struct place *place)
{
    int most = place->lone > 0 ? 1 : ACCEPTS_PER_TURN, n = 0;
    while (n < most && !listener->closed && !listener->paused && accept_one(listener, place))
        n++;
    if (place->lone > 0)
        place->lone--;
    else if (n <= 1)
        place->lone = LONE_ACCEPTS;
}

static void on_ready(struct cdt_acceptor *acceptor)
{
    struct conduit_listener *listener = acceptor->owner;
    struct place *place = listener->places;
    while (place->acceptor != acceptor)
        place++;
    listener->pins++;
    if (cdt_crowd_full(listener->crowd, place->gate))
        wait_for_room(&listener->gates[place->gate]);
    accept_some(listener, place);
    unpin(listener);
}

void conduit_listener_pause(conduit_listener *listener)
{
    CDT_ASSERT_THREAD(listener->ctx);
    listener->paused = true;
    update_accepting(listener);
}

void conduit_listener_resume(conduit_listener *listener)
{
    CDT_ASSERT_THREAD(listener->ctx);
    listener->paused = false;
    update_accepting(listener);
}

/* ---- other certificates ---- */

static void on_renewal_failed(struct cdt_renewal *renewal, const conduit_error *error)
{
    struct conduit_listener *listener = CDT_CONTAINER(renewal, struct conduit_listener, renewal);
    listener->pins++;
    tell_failed(listener, error);
    unpin(listener);
}

int conduit_listener_reload(conduit_listener *listener)
{
    const conduit_error *error = NULL;
    int code = cdt_renewal_now(&listener->renewal, &error);
    return code < 0 ? cdt_ctx_fail(listener->ctx, error) : 0;
}

int conduit_listener_set_tls(conduit_listener *listener, conduit_tls *tls)
{
    const conduit_error *error = NULL;
    int code = cdt_renewal_replace(&listener->renewal, tls, &error);
    return code < 0 ? cdt_ctx_fail(listener->ctx, error) : 0;
}

/* ---- the graceful end ---- */

static void on_last_accepts(struct cdt_task *task)
{
    struct conduit_listener *listener = CDT_CONTAINER(task, struct conduit_listener, last_accepts);
    listener->pins++;
    for (size_t i = 0; i < listener->n_places; i++)
        for (int n = 0; n < LAST_ACCEPTS && !listener->closed; n++)
            if (!accept_one(listener, &listener->places[i]))
                break;
    unbind(listener);
    stop_timers(listener);
    cdt_drains_look(listener->ctx);
    unpin(listener);
}

static struct conduit_listener *of_drain(struct cdt_drain *drain)
{
    return CDT_CONTAINER(drain, struct conduit_listener, drain);
}

static bool is_busy(struct cdt_drain *drain)
{
    return of_drain(drain)->n_places > 0 || of_drain(drain)->n_pending > 0;
}

static void drop_handshakes(struct cdt_drain *drain)
{
    struct conduit_listener *listener = of_drain(drain);
    for (uint32_t n = listener->n_pending; n > 0; n--)
        count_failed(listener);
    drop_all_pending(listener);
    cdt_drains_look(listener->ctx);
}

static void on_gone(struct cdt_drain *drain)
{
    struct conduit_listener *listener = of_drain(drain);
    listener->pins++;
    cdt_trace(listener->ctx, listener->since_ns, "gone", "%s",
              conduit_endpoint_uri(listener->wanted));
    if (listener->options.on_gone != NULL)
        listener->options.on_gone(listener, listener->user);
    conduit_listener_close(listener);
    unpin(listener);
}

void conduit_listener_drain(conduit_listener *listener, uint32_t deadline_ms)
{
    CDT_ASSERT_THREAD(listener->ctx);
    if (listener->closed)
        return;
    listener->drain.busy = is_busy;
    listener->drain.give_up = drop_handshakes;
    listener->drain.gone = on_gone;
    listener->last_accepts.run = on_last_accepts;
    cdt_trace(listener->ctx, listener->since_ns, "drain", "%s, for %.1f s at most",
              conduit_endpoint_uri(listener->wanted), deadline_ms / 1000.0);
    if (listener->n_places > 0)
        cdt_defer(listener->ctx, &listener->last_accepts);
    cdt_drain_start(&listener->drain, listener->ctx, listener->tally, deadline_ms);
}

void cdt_listeners_drain(conduit_ctx *ctx, uint32_t deadline_ms)
{
    for (struct conduit_listener *one = ctx->listeners; one != NULL; one = one->next)
        conduit_listener_drain(one, deadline_ms);
}

/* ---- counts ---- */

void cdt_listeners_count(const conduit_ctx *ctx, conduit_counters *counters)
{
    for (const struct conduit_listener *one = ctx->listeners; one != NULL; one = one->next)
        counters->opening += one->n_pending;
}

void conduit_listener_counters(const conduit_listener *listener, conduit_counters *ret)
{
    cdt_tally_read(listener->ctx, listener->tally, ret);
    ret->opening += listener->n_pending;
}

/* ---- binding ---- */

static void on_answer(conduit_query *query, const conduit_endpoint *endpoint, const char *source,
                      int32_t ttl)
{
    struct search *search = CDT_CONTAINER(query, struct search, query);
    if (search->n_found < MOST_PLACES)
        search->found[search->n_found++] = conduit_endpoint_ref(endpoint);
}

static void on_done(conduit_query *query, const conduit_error *why)
{
    CDT_CONTAINER(query, struct search, query)->error = why;
}

/* Port 0 of a second socket is the port that the first one got. */
static const conduit_endpoint *with_port(const conduit_endpoint *bottom, uint16_t port)
{
    if (port == 0 || bottom->port != 0 || bottom->transport->form != CDT_FORM_HOST_PORT)
        return conduit_endpoint_ref(bottom);
    struct conduit_endpoint copy = *bottom;
    if (copy.address.any.sa_family == AF_INET)
        copy.address.in.sin_port = htons(port);
    else
        copy.address.in6.sin6_port = htons(port);
    return cdt_endpoint_transport(bottom->transport, &copy.address.any, NULL, &bottom->params);
}

static int bind_one(struct conduit_listener *listener, const conduit_endpoint *wanted)
{
    uint16_t port =
        listener->n_places > 0 ? cdt_endpoint_bottom(listener->places[0].endpoint)->port : 0;
    struct place *place = &listener->places[listener->n_places];
    const conduit_endpoint *at = with_port(cdt_endpoint_bottom(wanted), port);
    conduit_error_unref(listener->error);
    listener->error = NULL;
    int code = CONDUIT_ENOMEM;
    if (at != NULL)
        code = at->transport->bind(listener->ctx, at, listener->options.backlog, &place->acceptor,
                                   &listener->error);
    conduit_endpoint_unref(at);
    if (code < 0)
        return code;
    place->acceptor->owner = listener;
    place->acceptor->ready = on_ready;
    place->gate = CDT_GATE_PORTS;
    place->endpoint = cdt_target_wrap(&listener->target, place->acceptor->endpoint);
    if (place->endpoint == NULL) {
        place->acceptor->ops->close(place->acceptor);
        return CONDUIT_ENOMEM;
    }
    listener->n_places++;
    return 0;
}

static void stand_beside(struct conduit_listener *listener, const conduit_endpoint *tcp)
{
    const conduit_endpoint *place = cdt_local_beside(tcp);
    int code = place != NULL ? bind_one(listener, place) : CONDUIT_ENOTSUP;
    if (code == 0)
        listener->places[listener->n_places - 1].gate = CDT_GATE_BESIDE;
    else
        cdt_trace(listener->ctx, listener->since_ns, "listen", "not in shared memory: %s",
                  place != NULL && listener->error != NULL ? conduit_error_text(listener->error)
                                                           : conduit_code_text(code));
    conduit_endpoint_unref(place);
}

/* A place beside every one that was bound. It is a gain and no need: where it cannot be had
 * (another of reuse_port has it, say), who wanted it connects as ever. */
static void bind_beside(struct conduit_listener *listener)
{
    size_t n = listener->target.prefer_local ? listener->n_places : 0;
    for (size_t i = 0; i < n && listener->n_places < listener->most_places; i++) {
        const conduit_endpoint *bottom = cdt_endpoint_bottom(listener->places[i].endpoint);
        if (bottom->transport->form == CDT_FORM_HOST_PORT)
            stand_beside(listener, bottom);
    }
    conduit_error_unref(listener->error);
    listener->error = NULL;
}

/* Of several addresses that one name stands for, those of a family that this machine does not have
 * do not count. */
static bool dispensable(const struct search *search, int code)
{
    return search->n_found > 1 && (code == CONDUIT_ENOTSUP || code == CONDUIT_EUNREACH);
}

static int bind_all(struct conduit_listener *listener, const struct search *search)
{
    int code = 0;
    for (size_t i = 0; i < search->n_found; i++) {
        code = bind_one(listener, search->found[i]);
        if (code < 0 && !dispensable(search, code))
            return code;
    }
    return listener->n_places > 0 ? 0 : code;
}

static int bind_places(struct conduit_listener *listener, const struct search *search)
{
    int code = bind_all(listener, search);
    for (int i = 0; i < PORT_TRIES && code == CONDUIT_EADDRINUSE && listener->target.port == 0 &&
                    listener->n_places > 0;
         i++) {
        unbind(listener);
        code = bind_all(listener, search);
    }
    return code;
}

/* The error, if there is one, is the listener's from now on. */
static int find_places(struct conduit_listener *listener, struct search *search)
{
    static const struct cdt_query_events events = {.answer = on_answer, .done = on_done};
    cdt_query_start(&search->query, listener->ctx, &listener->target, true, 0, &events);
    cdt_query_cancel(&search->query); /* of one who says that it is immediate, and is not */
    listener->error = search->error;
    if (search->n_found == 0 && search->error == NULL)
        return CONDUIT_ENONAME;
    return conduit_error_code(search->error);
}

/* For as many as were found, and as many beside them. */
static int make_room(struct conduit_listener *listener, const struct search *search)
{
    size_t n = listener->target.prefer_local ? 2 * search->n_found : search->n_found;
    listener->most_places = n < MOST_PLACES ? n : MOST_PLACES;
    listener->places = conduit_calloc(listener->most_places, sizeof(*listener->places));
    listener->wanted = conduit_endpoint_ref(search->found[0]);
    return listener->places != NULL ? 0 : CONDUIT_ENOMEM;
}

static int find_and_bind(struct conduit_listener *listener)
{
    struct search search = {.n_found = 0};
    int code = find_places(listener, &search);
    if (code == 0)
        code = make_room(listener, &search);
    if (code == 0)
        code = bind_places(listener, &search);
    for (size_t i = 0; i < search.n_found; i++)
        conduit_endpoint_unref(search.found[i]);
    return code;
}

static struct cdt_crowd *crowd_for(struct conduit_listener *listener)
{
    const conduit_listen_options *options = &listener->options;
    const struct cdt_crowd_limits limits = {
        .connections = options->max_connections,
        .pending = options->max_pending,
        .of_place = options->max_per_peer,
    };
    if (options->limits_of != NULL)
        return cdt_crowd_ref(options->limits_of->crowd);
    return cdt_crowd_new(&limits, on_room, listener->ctx);
}

static struct conduit_listener *make(conduit_ctx *ctx, const conduit_listen_options *options,
                                     const conduit_handler *handler, void *user)
{
    struct conduit_listener *listener = conduit_calloc(1, sizeof(*listener));
    if (listener == NULL)
        return NULL;
    listener->ctx = ctx;
    listener->since_ns = uv_hrtime();
    listener->options = *options;
    listener->user = user;
    for (int i = 0; i < CDT_GATES; i++)
        listener->gates[i].listener = listener;
    if (listener->options.backlog == 0)
        listener->options.backlog = DEFAULT_BACKLOG;
    if (listener->options.handshake_timeout_ms == 0)
        listener->options.handshake_timeout_ms = DEFAULT_HANDSHAKE_TIMEOUT_MS;
    if (listener->options.max_pending == 0)
        listener->options.max_pending = DEFAULT_MAX_PENDING;
    listener->crowd = crowd_for(listener);
    listener->tally = cdt_tally_new();
    listener->manner = cdt_manner_new(handler, &options->conn);
    if (listener->crowd != NULL && listener->tally != NULL && listener->manner != NULL)
        return listener;
    release(listener);
    return NULL;
}

static int fail(struct conduit_listener *listener, int code)
{
    conduit_ctx *ctx = listener->ctx;
    const conduit_error *error = conduit_error_ref(listener->error);
    if (error == NULL)
        error =
            cdt_error_new(code, CONDUIT_STAGE_DIAL, NULL, NULL, 0, "%s", conduit_code_text(code));
    unbind(listener);
    release(listener);
    return cdt_ctx_fail(ctx, error);
}

static void trace_places(const struct conduit_listener *listener)
{
    for (size_t i = 0; i < listener->n_places; i++)
        cdt_trace(listener->ctx, listener->since_ns, "listen", "%s",
                  conduit_endpoint_uri(listener->places[i].endpoint));
}

int conduit_listen(conduit_ctx *ctx, const char *uri, const conduit_listen_options *options,
                   const conduit_handler *handler, void *user, conduit_listener **ret)
{
    CDT_ASSERT_THREAD(ctx);
    static const conduit_listen_options defaults;
    options = options != NULL ? options : &defaults;
    if (ctx->ending)
        return cdt_ctx_refuse(ctx, CONDUIT_ECANCELED, "the context is ending");
    if (options->limits_of != NULL && options->limits_of->ctx != ctx)
        return cdt_ctx_refuse(ctx, CONDUIT_EINVAL, "limits are shared within one context");
    if (options->backlog < 0)
        return cdt_ctx_refuse(ctx, CONDUIT_EINVAL, "a backlog is not negative");
    struct conduit_listener *listener = make(ctx, options, handler, user);
    if (listener == NULL)
        return cdt_ctx_refuse(ctx, CONDUIT_ENOMEM, "out of memory");
    const conduit_connect_options shared = {.tls = options->tls,
                                            .endpoint_params = options->endpoint_params,
                                            .prefer_local = options->prefer_local};
    int code = cdt_target_make(ctx, &listener->target, uri, true, &shared, &listener->error);
    if (code == 0)
        code = find_and_bind(listener);
    if (code < 0)
        return fail(listener, code);
    bind_beside(listener);
    listener->options.tls = NULL; /* the target has its own reference, if it needs one */
    DL_APPEND(ctx->listeners, listener);
    cdt_ctx_recount(ctx);
    keep_reserve(ctx);
    update_accepting(listener);
    cdt_renewal_start(&listener->renewal, ctx, &listener->target, on_renewal_failed);
    trace_places(listener);
    if (ret != NULL)
        *ret = listener;
    return 0;
}

const char *conduit_listener_uri(const conduit_listener *listener, size_t i)
{
    return i < listener->n_places ? conduit_endpoint_uri(listener->places[i].endpoint) : NULL;
}

int conduit_listener_fd(const conduit_listener *listener, size_t i)
{
    if (i >= listener->n_places)
        return CONDUIT_EINVAL;
    const struct cdt_acceptor *acceptor = listener->places[i].acceptor;
    return acceptor->ops->descriptor != NULL ? acceptor->ops->descriptor(acceptor)
                                             : CONDUIT_ENOTSUP;
}
