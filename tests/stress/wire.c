/* SPDX-License-Identifier: ISC */
/* The network in memory: wire.h says what it does. Readiness is level-triggered and comes off the
 * run-queue, as inproc's does. */
#include "wire.h"
#include "chance.h"
#include "context.h"
#include "endpoint.h"
#include "error.h"
#include "robot.h"
#include "util.h"
#include "veil.h"
#include <conduit/memory.h>
#include <errno.h>
#include <string.h>
#include <utlist.h>

enum { ROOM = 2048 };

struct cdt_wire_end {
    struct cdt_layer layer; /* layer.path is NULL as long as no path has it */
    struct cdt_wire_end *prev, *next;
    struct cdt_wire_end *wait_prev, *wait_next; /* in a backlog */
    struct cdt_wire_end *peer;                  /* NULL once that is closed */
    conduit_ctx *ctx;
    struct cdt_task task;
    unsigned wanted;
    bool connecting;
    int connect_error;
    bool never; /* it goes on connecting */
    unsigned char inbox[ROOM];
    size_t size, arrived; /* sent to us, and of that: to be read */
    bool end_sent, end_arrived, break_sent, break_arrived;
    int read_error, write_error; /* the next one fails so */
    bool false_alarm;            /* report readiness that is none */
};

struct wire_acceptor {
    struct cdt_acceptor acceptor;
    struct wire_acceptor *prev, *next;
    struct cdt_wire_end *backlog;
    int n_backlog, most;
    bool on;
    struct cdt_task task;
};

bool cdt_calm;
static struct cdt_wire_end *ends;
static struct wire_acceptor *acceptors;

static bool trouble(unsigned n)
{
    return !cdt_calm && cdt_rarely(n);
}

/* ---- readiness ---- */

static bool readable(const struct cdt_wire_end *end)
{
    return end->arrived > 0 || end->end_arrived || end->break_arrived || end->read_error != 0;
}

static bool writable(const struct cdt_wire_end *end)
{
    return !end->connecting && (end->peer == NULL || end->peer->size < ROOM || end->break_arrived ||
                                end->write_error != 0);
}

static unsigned ready_events(const struct cdt_wire_end *end)
{
    unsigned ready = (readable(end) ? CDT_READ : 0) | (writable(end) ? CDT_WRITE : 0);
    return end->wanted & (end->false_alarm ? ~0U : ready);
}

static void poke(struct cdt_wire_end *end)
{
    if (end != NULL && end->layer.path != NULL && ready_events(end) != 0)
        cdt_defer(end->ctx, &end->task);
}

static void on_task(struct cdt_task *task)
{
    struct cdt_wire_end *end = CDT_CONTAINER(task, struct cdt_wire_end, task);
    unsigned events = ready_events(end);
    end->false_alarm = false;
    if (events == 0)
        return;
    cdt_defer(end->ctx, task);
    end->layer.path->ready(end->layer.path, events);
}

/* ---- an end ---- */

static struct cdt_wire_end *make_end(conduit_ctx *ctx)
{
    struct cdt_wire_end *end = conduit_calloc(1, sizeof(*end));
    if (end == NULL)
        return NULL;
    end->ctx = ctx;
    end->task.run = on_task;
    DL_APPEND(ends, end);
    return end;
}

void cdt_wire_close(struct cdt_wire_end *end, bool reset)
{
    if (end->peer != NULL) {
        end->peer->end_sent |= !reset;
        end->peer->break_sent |= reset;
        end->peer->peer = NULL;
        poke(end->peer);
    }
    cdt_undefer(end->ctx, &end->task);
    DL_DELETE(ends, end);
    conduit_free(end);
}

/* The lower of `n` and what the weather lets through; 0 is nothing. */
static size_t some_of(size_t n)
{
    if (n == 0 || trouble(8))
        return 0;
    return trouble(4) ? 1 + cdt_chance((unsigned)n) : n;
}

long cdt_wire_get(struct cdt_wire_end *end, unsigned char *buf, size_t size)
{
    size_t n = some_of(size < end->arrived ? size : end->arrived);
    if (n == 0)
        return -1;
    memcpy(buf, end->inbox, n);
    memmove(end->inbox, end->inbox + n, end->size - n);
    end->size -= n;
    end->arrived -= n;
    poke(end->peer);
    return (long)n;
}

long cdt_wire_put(struct cdt_wire_end *end, const unsigned char *data, size_t n)
{
    struct cdt_wire_end *to = end->peer;
    size_t room = ROOM - to->size;
    n = some_of(n < room ? n : room);
    if (n == 0)
        return -1;
    memcpy(to->inbox + to->size, data, n);
    to->size += n;
    return (long)n;
}

void cdt_wire_finish(struct cdt_wire_end *end)
{
    if (end->peer != NULL)
        end->peer->end_sent = true;
}

bool cdt_wire_ended(const struct cdt_wire_end *end)
{
    return end->end_arrived && end->arrived == 0;
}

bool cdt_wire_alone(const struct cdt_wire_end *end)
{
    return end->peer == NULL;
}

/* ---- the layer ---- */

static struct cdt_wire_end *of(struct cdt_layer *layer)
{
    return CDT_CONTAINER(layer, struct cdt_wire_end, layer);
}

static void want_events(struct cdt_layer *layer, unsigned events)
{
    of(layer)->wanted = events;
    poke(of(layer));
}

static int open_end(struct cdt_layer *layer)
{
    struct cdt_wire_end *end = of(layer);
    if (end->connecting) {
        want_events(layer, CDT_WRITE);
        return CONDUIT_EAGAIN;
    }
    if (end->connect_error != 0)
        return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_DIAL, end->connect_error, "connect");
    return 0;
}

static int fail_once(struct cdt_layer *layer, int *number, const char *call)
{
    int code = cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, *number, call);
    *number = 0;
    return code;
}

static ssize_t read_end(struct cdt_layer *layer, void *buf, size_t len)
{
    struct cdt_wire_end *end = of(layer);
    if (end->read_error != 0)
        return fail_once(layer, &end->read_error, "read");
    if (end->arrived == 0 && end->break_arrived)
        return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, ECONNRESET, "read");
    if (cdt_wire_ended(end))
        return 0;
    long n = cdt_wire_get(end, buf, len);
    return n > 0 ? n : CONDUIT_EAGAIN;
}

/* To who has gone: at first it seems to work. */
static ssize_t write_to_nobody(struct cdt_layer *layer, const struct iovec *v)
{
    struct cdt_wire_end *end = of(layer);
    if (!end->break_sent && !cdt_calm && v->iov_len > 0 && cdt_chance(2)) {
        end->break_sent = true;
        return (ssize_t)v->iov_len;
    }
    return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, EPIPE, "write");
}

static ssize_t write_end(struct cdt_layer *layer, const struct iovec *v, int n_pieces)
{
    struct cdt_wire_end *end = of(layer);
    if (end->write_error != 0)
        return fail_once(layer, &end->write_error, "write");
    if (end->break_arrived)
        return cdt_path_fail_errno(layer->path, CONDUIT_STAGE_IO, ECONNRESET, "write");
    if (end->peer == NULL)
        return write_to_nobody(layer, v);
    ssize_t done = 0;
    for (int i = 0; i < n_pieces; i++) {
        long n = cdt_wire_put(end, v[i].iov_base, v[i].iov_len);
        done += n > 0 ? n : 0;
        if (n < (long)v[i].iov_len)
            break;
    }
    return done > 0 ? done : CONDUIT_EAGAIN;
}

static int finish_end(struct cdt_layer *layer)
{
    struct cdt_wire_end *end = of(layer);
    if (trouble(30))
        return CONDUIT_EAGAIN;
    if (end->write_error != 0)
        return fail_once(layer, &end->write_error, "shutdown");
    cdt_wire_finish(end);
    return 0;
}

static void close_end(struct cdt_layer *layer, bool reset)
{
    cdt_wire_close(of(layer), reset);
}

static const struct cdt_layer_ops end_ops = {
    .name = "wire",
    .open = open_end,
    .read = read_end,
    .write = write_end,
    .finish = finish_end,
    .want = want_events,
    .close = close_end,
};

/* ---- dialling ---- */

static int give_to(struct wire_acceptor *acceptor, struct cdt_wire_end *end)
{
    if (acceptor == NULL || acceptor->n_backlog >= acceptor->most)
        return ECONNREFUSED;
    DL_APPEND2(acceptor->backlog, end, wait_prev, wait_next);
    acceptor->n_backlog++;
    if (acceptor->on)
        cdt_defer(end->ctx, &acceptor->task);
    return 0;
}

static struct wire_acceptor *find(const conduit_ctx *ctx, const struct cdt_transport *transport,
                                  const char *name)
{
    struct wire_acceptor *acceptor;
    DL_FOREACH(acceptors, acceptor)
    {
        const conduit_endpoint *at = acceptor->acceptor.endpoint;
        if (acceptor->acceptor.ctx == ctx && at->transport == transport &&
            strcmp(conduit_endpoint_host(at), name) == 0)
            return acceptor;
    }
    return NULL;
}

/* Who is there? 0 or an errno. */
static int reach(struct cdt_wire_end *theirs, const struct cdt_transport *transport,
                 const char *name)
{
    if (strcmp(name, "robot") == 0)
        return cdt_robot_new(theirs) ? 0 : ECONNREFUSED;
    return give_to(find(theirs->ctx, transport, name), theirs);
}

static int dial_name(struct cdt_path *path, const struct cdt_transport *transport, const char *name)
{
    struct cdt_wire_end *ours = make_end(path->ctx), *theirs = make_end(path->ctx);
    int number = ours == NULL || theirs == NULL ? ENOMEM : reach(theirs, transport, name);
    if (number != 0) {
        if (ours != NULL)
            cdt_wire_close(ours, false);
        if (theirs != NULL)
            cdt_wire_close(theirs, false);
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, number, "connect");
    }
    ours->peer = theirs;
    theirs->peer = ours;
    ours->layer.ops = theirs->layer.ops = &end_ops;
    ours->connecting = !cdt_calm && cdt_chance(2);
    cdt_path_push(path, &ours->layer);
    return 0;
}

static int dial_nowhere(struct cdt_path *path, bool never, int number)
{
    struct cdt_wire_end *end = make_end(path->ctx);
    if (end == NULL)
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, ENOMEM, "connect");
    end->layer.ops = &end_ops;
    end->connecting = true;
    end->never = never;
    end->connect_error = number;
    cdt_path_push(path, &end->layer);
    return 0;
}

static int dial_wire(struct cdt_path *path, const conduit_endpoint *to)
{
    return dial_name(path, &cdt_wire, conduit_endpoint_host(to));
}

static int dial_veiled(struct cdt_path *path, const conduit_endpoint *to)
{
    int code = dial_name(path, &cdt_veiled_wire, conduit_endpoint_host(to));
    return code < 0 ? code : cdt_veil_push(path, false);
}

static unsigned last_byte(const conduit_endpoint *to)
{
    return to->address.any.sa_family == AF_INET ? ntohl(to->address.in.sin_addr.s_addr) & 0xff
                                                : to->address.in6.sin6_addr.s6_addr[15];
}

static int dial_address(struct cdt_path *path, const conduit_endpoint *to)
{
    switch ((enum cdt_fate)(last_byte(to) % 5)) {
    case CDT_REACHES_RAW:
        return dial_name(path, &cdt_wire, "raw");
    case CDT_REACHES_ROBOT:
        return dial_name(path, &cdt_wire, "robot");
    case CDT_NEVER:
        return dial_nowhere(path, true, 0);
    case CDT_REFUSED_LATE:
        return dial_nowhere(path, false, cdt_chance(2) ? ECONNREFUSED : EHOSTUNREACH);
    case CDT_REFUSED:
        break;
    }
    return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, ECONNREFUSED, "connect");
}

/* ---- accepting ---- */

static struct wire_acceptor *acceptor_of(struct cdt_acceptor *acceptor)
{
    return CDT_CONTAINER(acceptor, struct wire_acceptor, acceptor);
}

static struct cdt_wire_end *take(struct wire_acceptor *acceptor)
{
    struct cdt_wire_end *end = acceptor->backlog;
    DL_DELETE2(acceptor->backlog, end, wait_prev, wait_next);
    acceptor->n_backlog--;
    return end;
}

static int accept_end(struct cdt_acceptor *generic, struct cdt_path *path, int *number)
{
    static const int shortages[] = {EMFILE, ENFILE, ENOMEM};
    struct wire_acceptor *acceptor = acceptor_of(generic);
    if (acceptor->backlog == NULL || trouble(10))
        return CONDUIT_EAGAIN;
    if (trouble(20)) {
        *number = shortages[cdt_chance(3)];
        return cdt_code_from_errno(*number);
    }
    struct cdt_wire_end *end = take(acceptor);
    if (trouble(20)) {
        cdt_wire_close(end, true);
        *number = ECONNABORTED;
        return CONDUIT_ERESET;
    }
    cdt_path_push(path, &end->layer);
    bool veiled = generic->endpoint->transport == &cdt_veiled_wire;
    if (!veiled || cdt_veil_push(path, true) == 0)
        return 0;
    *number = ENOMEM;
    return CONDUIT_ENOMEM;
}

static void on_acceptor_task(struct cdt_task *task)
{
    struct wire_acceptor *acceptor = CDT_CONTAINER(task, struct wire_acceptor, task);
    if (!acceptor->on || acceptor->backlog == NULL)
        return;
    cdt_defer(acceptor->acceptor.ctx, task);
    acceptor->acceptor.ready(&acceptor->acceptor);
}

static void want_connections(struct cdt_acceptor *generic, bool on)
{
    struct wire_acceptor *acceptor = acceptor_of(generic);
    acceptor->on = on;
    if (on && acceptor->backlog != NULL)
        cdt_defer(generic->ctx, &acceptor->task);
}

static void close_acceptor(struct cdt_acceptor *generic)
{
    struct wire_acceptor *acceptor = acceptor_of(generic);
    while (acceptor->backlog != NULL)
        cdt_wire_close(take(acceptor), true);
    DL_DELETE(acceptors, acceptor);
    cdt_undefer(generic->ctx, &acceptor->task);
    conduit_endpoint_unref(generic->endpoint);
    conduit_free(acceptor);
}

static const struct cdt_acceptor_ops acceptor_ops = {
    .accept = accept_end,
    .want = want_connections,
    .close = close_acceptor,
};

static int bind_wire(conduit_ctx *ctx, const conduit_endpoint *at, int backlog,
                     struct cdt_acceptor **ret, const conduit_error **reterr)
{
    int number = find(ctx, at->transport, conduit_endpoint_host(at)) != NULL ? EADDRINUSE : 0;
    struct wire_acceptor *acceptor = number == 0 ? conduit_calloc(1, sizeof(*acceptor)) : NULL;
    if (acceptor == NULL)
        return cdt_error_give(cdt_error_errno(CONDUIT_STAGE_DIAL, conduit_endpoint_uri(at),
                                              number != 0 ? number : ENOMEM, "bind"),
                              reterr);
    acceptor->acceptor.ops = &acceptor_ops;
    acceptor->acceptor.ctx = ctx;
    acceptor->acceptor.endpoint = conduit_endpoint_ref(at);
    acceptor->most = backlog;
    acceptor->task.run = on_acceptor_task;
    DL_APPEND(acceptors, acceptor);
    *ret = &acceptor->acceptor;
    return 0;
}

const struct cdt_transport cdt_wire = {
    .name = "wire", .form = CDT_FORM_NAME, .dial = dial_wire, .bind = bind_wire};
const struct cdt_transport cdt_veiled_wire = {
    .name = "veil", .form = CDT_FORM_NAME, .dial = dial_veiled, .bind = bind_wire};
const struct cdt_transport cdt_wire_by_address = {
    .name = "tcp", .form = CDT_FORM_HOST_PORT, .dial = dial_address};

/* ---- what the walk does to it ---- */

/* Nothing comes any more; some throw away what has come and was not read. */
static void be_broken(struct cdt_wire_end *end)
{
    end->break_arrived = true;
    end->end_sent = end->end_arrived = false;
    if (trouble(2))
        end->size = 0;
    end->arrived = end->size;
    if (end->peer == NULL)
        return;
    end->peer->break_sent = true;
    end->peer->peer = NULL;
    end->peer = NULL;
}

static void move_end(struct cdt_wire_end *end)
{
    if (end->connecting && !end->never && !trouble(3))
        end->connecting = false;
    if (end->size > end->arrived && !trouble(3))
        end->arrived += cdt_calm ? end->size - end->arrived
                                 : 1 + cdt_chance((unsigned)(end->size - end->arrived));
    if (end->arrived == end->size && end->end_sent && !trouble(3))
        end->end_arrived = true;
    if (end->break_sent && !end->break_arrived && !trouble(3))
        be_broken(end);
    poke(end);
}

void cdt_wire_move(void)
{
    struct cdt_wire_end *end;
    DL_FOREACH(ends, end)
    move_end(end);
}

unsigned cdt_wire_count(void)
{
    unsigned n = 0;
    struct cdt_wire_end *end;
    DL_COUNT(ends, end, n);
    return n;
}

static void harm(struct cdt_wire_end *end)
{
    static const int errors[] = {ECONNRESET, EPIPE, ETIMEDOUT, EIO, ENOBUFS, EHOSTUNREACH};
    switch (cdt_chance(5)) {
    case 0:
        end->read_error = errors[cdt_chance(6)];
        break;
    case 1:
        end->write_error = errors[cdt_chance(6)];
        break;
    case 2:
        end->break_sent = true;
        break;
    case 3:
        end->never = end->connecting;
        break;
    default:
        end->false_alarm = true;
        break;
    }
    poke(end);
}

void cdt_wire_trouble(void)
{
    unsigned n = cdt_wire_count();
    if (n == 0)
        return;
    struct cdt_wire_end *end = ends;
    for (unsigned i = cdt_chance(n); i > 0; i--)
        end = end->next;
    if (end->layer.path != NULL)
        harm(end);
}
