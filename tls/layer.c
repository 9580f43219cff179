/* SPDX-License-Identifier: ISC */
/*
 * TLS as a layer of the byte path, whatever the engine.
 *
 *     owner         plaintext:   read ▲      │ write
 *     this layer                 engine      engine
 *                             ▲ input        ▼ output       flush: output goes down, in one write
 *     layer below   ciphertext, once a call
 *
 * The memory of a silent connection is the engine's alone. Input is read into a buffer that all TLS
 * of a context shares; what the engine has not taken when the call ends moves to a stash of its
 * exact size. Output collects in a buffer that is on loan from the context from the first byte
 * until all of it has gone down: a small one, as most of what is said at a time is short and many
 * connections may have something to say at once, or one for bulk.
 *
 * One call reads once from below, unless that filled the buffer: a short count means that there is
 * no more, and asking again would cost a system call to be told so.
 */
#include "backend.h"
#include "builtin.h"
#include "context.h"
#include "error.h"
#include "offload.h"
#include "queue.h"
#include "sessions.h"
#include "stack.h"
#include "tls.h"
#include <arpa/inet.h>
#include <conduit/memory.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

enum {
    RECORD = 16 * 1024 + 1024,             /* a record of TLS, and what an engine may send along */
    INPUT_SIZE = CDT_BUFFER_SIZE + RECORD, /* fills any buffer of a caller, and a record begun */
    OUTPUT_FULL = 64 * 1024,               /* write() takes no more before a flush */
    OUTPUT_LARGE = OUTPUT_FULL + RECORD,
    OUTPUT_SMALL = 4000, /* with its head and malloc's in a page */
    READS = 4,           /* in a call of an open session: key updates, say, could come for ever */
    GOING_ON = 1,        /* for `over`: not a code, not an end */
};

struct output {
    struct output *next;
    size_t start, end, size;
    unsigned char bytes[];
};

/* Output buffers of one size, which a context keeps. */
struct spare {
    struct output *first;
    unsigned n, most;
};

/* The system's trust anchors, which are loaded once. */
enum system { NOT_LOADED, LOADING, LOADED };

/* What all TLS of a context shares: conduit_ctx.tls. */
struct shared {
    void *engine;
    struct cdt_sessions *sessions;
    enum system system;
    struct cdt_tls *waiting; /* for the anchors */
    unsigned char *input;    /* INPUT_SIZE bytes, or NULL while a call of one layer uses it */
    struct spare small, large;
};

/* What cannot go on before the peer has sent the rest of a handshake message. A write takes that
 * input itself, a goodbye does not: it waits for who reads. */
enum starved { NOT_STARVED, STARVED_WRITE, STARVED_GOODBYE };

struct cdt_tls {
    struct cdt_layer layer;
    const struct cdt_tls_backend *engine;
    void *session;
    struct shared *shared;
    conduit_tls *config; /* a reference: the session uses its credentials */
    bool below_open, open, finished;
    bool waits; /* for the system's anchors, on the list of `shared` */
    struct cdt_tls *prev, *next;
    int over;  /* GOING_ON, or what every read says from now on: 0 or a code */
    bool told; /* ... and one has */

    unsigned char *stash;          /* input from an earlier call, to be freed; NULL */
    const unsigned char *at, *end; /* input that the engine has not taken yet */
    unsigned char *input; /* this call's buffer; NULL until it has read, and between calls */
    size_t wish;          /* how much to read from below at a time */
    bool may_read;        /* ... and whether there may be more */
    int n_reads;          /* of this call */

    struct output *output; /* ciphertext that has to go down; NULL if none */
    bool no_room;          /* the engine was told so */

    unsigned wanted; /* readiness that the owner waits for */
    enum starved starved;

    char *name;          /* see cdt_tls_start */
    unsigned char *alpn; /* see cdt_tls_start */
    char *agreed;        /* of those; NULL: none */
    char *peer_key;      /* client: see sessions.h */
};

static struct cdt_tls *tls_of(struct cdt_layer *layer)
{
    return (struct cdt_tls *)layer;
}

/* A peer that refuses sends an alert and closes: writing broke first, and the alert that is read
 * then says why. */
static void forget_error(struct cdt_path *path)
{
    conduit_error_unref(path->error);
    path->error = NULL;
}

int cdt_tls_fail(struct cdt_tls *tls, int reason, const char *source, long number,
                 const char *format, ...)
{
    char text[768];
    int code = cdt_tls_code(reason);
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    conduit_stage stage = tls->open ? CONDUIT_STAGE_IO : CONDUIT_STAGE_TLS;
    struct cdt_path *path = tls->layer.path;
    if (conduit_error_code(path->error) == CONDUIT_ERESET && code != CONDUIT_ETRUNCATED)
        forget_error(path);
    if (path->error == NULL)
        path->error =
            cdt_error_because(cdt_error_new(code, stage, conduit_endpoint_uri(path->endpoint),
                                            source, number, "%s", text),
                              reason);
    return conduit_error_code(path->error);
}

static int fail_memory(struct cdt_tls *tls)
{
    return cdt_tls_fail(tls, CONDUIT_TLS_MEMORY, NULL, 0, "out of memory");
}

/* ---- what a context's TLS shares ---- */

static void free_spare(struct spare *spare)
{
    while (spare->first != NULL) {
        struct output *output = spare->first;
        spare->first = output->next;
        conduit_free(output);
    }
}

static void free_shared(void *arg)
{
    struct shared *shared = arg;
    free_spare(&shared->small);
    free_spare(&shared->large);
    cdt_sessions_free(shared->sessions);
    if (shared->engine != NULL)
        cdt_tls_backends[0]->shared_free(shared->engine);
    conduit_free(shared->input);
    conduit_free(shared);
}

static struct shared *make_shared(void)
{
    struct shared *shared = conduit_calloc(1, sizeof(*shared));
    if (shared == NULL)
        return NULL;
    shared->small.most = 64;
    shared->large.most = 4;
    shared->input = conduit_malloc(INPUT_SIZE);
    shared->engine = cdt_tls_backends[0]->shared_new();
    shared->sessions = cdt_sessions_new(cdt_tls_backends[0]->resumable_free);
    if (shared->input != NULL && shared->engine != NULL && shared->sessions != NULL)
        return shared;
    free_shared(shared);
    return NULL;
}

static struct shared *shared_of(conduit_ctx *ctx)
{
    if (ctx->tls == NULL)
        ctx->tls = make_shared();
    if (ctx->tls != NULL)
        ctx->tls_free = free_shared;
    return ctx->tls;
}

/* With TLS over TLS the upper layer has it while the lower one reads: that one gets a buffer for
 * the call. */
static unsigned char *borrow_input(struct shared *shared)
{
    unsigned char *input = shared->input;
    shared->input = NULL;
    return input != NULL ? input : conduit_malloc(INPUT_SIZE);
}

static void return_input(struct shared *shared, unsigned char *input)
{
    if (shared->input != NULL)
        conduit_free(input);
    else
        shared->input = input;
}

/* One that has room for `len` bytes, or for as many as it may hold. */
static struct output *borrow_output(struct shared *shared, size_t len)
{
    bool small = len <= OUTPUT_SMALL;
    struct spare *spare = small ? &shared->small : &shared->large;
    struct output *output = spare->first;
    if (output != NULL) {
        spare->first = output->next;
        spare->n--;
    } else {
        size_t size = small ? OUTPUT_SMALL : OUTPUT_LARGE;
        output = conduit_malloc(sizeof(*output) + size);
        if (output == NULL)
            return NULL;
        output->size = size;
    }
    output->start = output->end = 0;
    return output;
}

static void return_output(struct shared *shared, struct output *output)
{
    if (output == NULL)
        return;
    struct spare *spare = output->size == OUTPUT_SMALL ? &shared->small : &shared->large;
    if (spare->n == spare->most) {
        conduit_free(output);
        return;
    }
    output->next = spare->first;
    spare->first = output;
    spare->n++;
}

uint64_t cdt_tls_now_ms(const struct cdt_tls *tls)
{
    return cdt_now_ms(tls->layer.path->ctx);
}

/* ---- early data ---- */

/* TLS below other TLS has nothing of the caller's to say. */
size_t cdt_tls_early(struct cdt_tls *tls, size_t most, const void **bytes)
{
    struct cdt_path *path = tls->layer.path;
    struct cdt_early *early = path->top == &tls->layer ? path->early : NULL;
    struct iovec v;
    if (early == NULL || early->used || cdt_queue_peek(early->bytes, &v, 1) == 0)
        return 0;
    early->used = true;
    *bytes = v.iov_base;
    return v.iov_len < most ? v.iov_len : most;
}

void cdt_tls_early_taken(struct cdt_tls *tls, size_t n)
{
    tls->layer.path->early_taken = n;
}

/* ---- the system's trust anchors ---- */

static void load_system(void *arg)
{
    struct shared *shared = arg;
    cdt_tls_backends[0]->shared_load(shared->engine);
}

static void stop_waiting(struct cdt_tls *tls)
{
    if (!tls->waits)
        return;
    tls->waits = false;
    DL_DELETE(tls->shared->waiting, tls);
}

/* Whom it wakes may do away with others that wait. */
static void on_system_loaded(conduit_ctx *ctx, void *arg)
{
    struct shared *shared = arg;
    shared->system = LOADED;
    while (shared->waiting != NULL) {
        struct cdt_tls *tls = shared->waiting;
        struct cdt_path *path = tls->layer.path;
        stop_waiting(tls);
        if (tls->below_open)
            path->ready(path, CDT_READ | CDT_WRITE);
    }
}

/* The first who needs them has them loaded, while it connects. A context's end waits for that. */
static void ask_for_system(struct cdt_tls *tls, conduit_ctx *ctx)
{
    struct shared *shared = tls->shared;
    if (shared->system == NOT_LOADED) {
        shared->system = LOADING;
        if (!cdt_offload(ctx, load_system, on_system_loaded, shared)) {
            load_system(shared); /* rather late than never */
            shared->system = LOADED;
        }
    }
    if (shared->system == LOADED)
        return;
    tls->waits = true;
    DL_APPEND(shared->waiting, tls);
}

/* ---- input ---- */

/* A call that may take input begins; it has room for `len` bytes of plaintext. Reading about as
 * much as will fill that leaves little for the stash. */
static void begin_input(struct cdt_tls *tls, size_t len)
{
    size_t most = len + len / 128;
    tls->wish = most < RECORD ? RECORD : most > INPUT_SIZE ? INPUT_SIZE : most;
    tls->may_read = true;
    tls->n_reads = 0;
}

static void drop_stash(struct cdt_tls *tls)
{
    conduit_free(tls->stash);
    tls->stash = NULL;
    tls->at = tls->end = NULL;
}

/* The call ends: what is left of its input becomes the stash. 0 or ENOMEM. */
static int end_input(struct cdt_tls *tls)
{
    if (tls->input == NULL)
        return 0;
    int code = 0;
    size_t left = (size_t)(tls->end - tls->at);
    if (left > 0) {
        tls->stash = conduit_malloc(left);
        if (tls->stash == NULL)
            code = fail_memory(tls);
        else
            memcpy(tls->stash, tls->at, left);
    }
    tls->at = tls->stash;
    tls->end = tls->stash != NULL ? tls->stash + left : NULL;
    return_input(tls->shared, tls->input);
    tls->input = NULL;
    return code;
}

static ssize_t read_below(struct cdt_tls *tls)
{
    if (!tls->may_read)
        return CONDUIT_EAGAIN;
    drop_stash(tls);
    if (tls->input == NULL)
        tls->input = borrow_input(tls->shared);
    if (tls->input == NULL)
        return fail_memory(tls);
    ssize_t n = cdt_layer_read(tls->layer.below, tls->input, tls->wish);
    tls->may_read = n == (ssize_t)tls->wish && (++tls->n_reads < READS || !tls->open);
    if (n > 0) {
        tls->at = tls->input;
        tls->end = tls->input + n;
    }
    return n;
}

ssize_t cdt_tls_pull(struct cdt_tls *tls, void *buf, size_t len)
{
    if (tls->at == tls->end) {
        ssize_t n = read_below(tls);
        if (n <= 0)
            return n;
    }
    size_t there = (size_t)(tls->end - tls->at);
    size_t n = len < there ? len : there;
    memcpy(buf, tls->at, n);
    tls->at += n;
    return (ssize_t)n;
}

/* ---- output ---- */

static size_t output_len(const struct cdt_tls *tls)
{
    return tls->output != NULL ? tls->output->end - tls->output->start : 0;
}

/* Move what waits to the front if that is how `len` more will fit. */
static size_t room_for(struct output *output, size_t len)
{
    if (output->size - output->end < len && output->start > 0) {
        output->end -= output->start;
        memmove(output->bytes, output->bytes + output->start, output->end);
        output->start = 0;
    }
    return output->size - output->end;
}

/* What waits, and `len` more, no longer fit into a small one: the large one takes over. False
 * without memory. */
static bool grow_output(struct cdt_tls *tls, size_t len)
{
    struct output *small = tls->output;
    size_t waiting = output_len(tls);
    if (small != NULL && (small->size == OUTPUT_LARGE || waiting + len <= OUTPUT_SMALL))
        return true;
    struct output *output = borrow_output(tls->shared, waiting + len);
    if (output == NULL)
        return false;
    if (small != NULL)
        memcpy(output->bytes, small->bytes + small->start, waiting);
    output->end = waiting;
    return_output(tls->shared, small);
    tls->output = output;
    return true;
}

ssize_t cdt_tls_push(struct cdt_tls *tls, const void *buf, size_t len)
{
    if (!grow_output(tls, len))
        return fail_memory(tls);
    size_t room = room_for(tls->output, len);
    size_t n = len < room ? len : room;
    tls->no_room = n == 0;
    if (n == 0)
        return CONDUIT_EAGAIN;
    memcpy(tls->output->bytes + tls->output->end, buf, n);
    tls->output->end += n;
    return (ssize_t)n;
}

static void want_below(struct cdt_tls *tls);

static void drop_output(struct cdt_tls *tls, size_t n)
{
    tls->output->start += n;
    if (output_len(tls) > 0)
        return;
    return_output(tls->shared, tls->output);
    tls->output = NULL;
    if (tls->starved != NOT_STARVED)
        want_below(tls); /* what went down was the last that could */
}

static int flush_output(struct cdt_tls *tls)
{
    while (output_len(tls) > 0) {
        struct iovec v = {.iov_base = tls->output->bytes + tls->output->start,
                          .iov_len = output_len(tls)};
        ssize_t n = cdt_layer_write(tls->layer.below, &v, 1);
        if (n < 0)
            return (int)n;
        drop_output(tls, (size_t)n);
        if ((size_t)n < v.iov_len)
            return CONDUIT_EAGAIN;
    }
    return 0;
}

/* Room for one more record: 0, or EAGAIN when the layer below must take some first, or another
 * code. */
static int make_room(struct cdt_tls *tls)
{
    int flushed = output_len(tls) >= OUTPUT_FULL ? flush_output(tls) : 0;
    return flushed == CONDUIT_EAGAIN && output_len(tls) < OUTPUT_FULL ? 0 : flushed;
}

static int flush_down(struct cdt_layer *layer)
{
    struct cdt_tls *tls = tls_of(layer);
    int code = flush_output(tls);
    return code < 0 ? code : cdt_layer_flush(layer->below);
}

/* ---- the layer ---- */

/* The path is lost. If the engine left an alert the peer should hear it, as far as that is possible
 * at once. */
static int give_up(struct cdt_tls *tls, int code)
{
    tls->over = code;
    flush_down(&tls->layer);
    return code;
}

/* What was said last (a client's Finished, a server's tickets) leaves with the first bytes of the
 * owner, who flushes when it has the path; a layer in between might wait for an answer instead. */
static int flush_flight(struct cdt_tls *tls, bool last)
{
    return last && tls->layer.path->top == &tls->layer ? 0 : flush_down(&tls->layer);
}

/* One round: what came in, what goes out. EAGAIN means that the engine waits, and `*blocked` that
 * the layer below has to take more before it can go on. */
static int shake_hands(struct cdt_tls *tls, bool *blocked)
{
    for (;;) {
        begin_input(tls, 0);
        tls->no_room = false;
        int code = tls->engine->handshake(tls->session);
        int stashed = end_input(tls);
        if (code == 0 || code == CONDUIT_EAGAIN)
            code = stashed < 0 ? stashed : code;
        if (code < 0 && code != CONDUIT_EAGAIN)
            return give_up(tls, code);
        int flushed = flush_flight(tls, code == 0);
        if (flushed < 0 && flushed != CONDUIT_EAGAIN)
            return flushed;
        *blocked = flushed == CONDUIT_EAGAIN;
        if (code == 0 || *blocked || !tls->no_room)
            return code;
    }
}

/* False: out of memory. */
static bool note_agreed(struct cdt_tls *tls)
{
    const unsigned char *name;
    size_t len = tls->engine->alpn(tls->session, &name);
    if (len == 0)
        return true;
    tls->agreed = conduit_malloc(len + 1);
    if (tls->agreed != NULL)
        cdt_tls_printable(tls->agreed, len + 1, name, len);
    return tls->agreed != NULL;
}

static int open_layer(struct cdt_layer *layer)
{
    struct cdt_tls *tls = tls_of(layer);
    if (tls->open)
        return 0;
    if (!tls->below_open) {
        int code = cdt_layer_open(layer->below);
        if (code < 0)
            return code;
        tls->below_open = true;
        layer->path->stage = CONDUIT_STAGE_TLS;
    }
    if (tls->waits) {
        cdt_layer_want(layer->below, 0);
        return CONDUIT_EAGAIN;
    }
    bool blocked;
    int code = shake_hands(tls, &blocked);
    if (code < 0 && code != CONDUIT_EAGAIN)
        return code;
    cdt_layer_want(layer->below, blocked ? CDT_READ | CDT_WRITE : CDT_READ);
    if (code == 0 && !note_agreed(tls))
        return fail_memory(tls);
    tls->open = code == 0;
    return code;
}

/* May the engine have more plaintext than it gave? To ask when it has not costs as much as half a
 * record. */
static bool may_have_more(const struct cdt_tls *tls)
{
    return tls->at != tls->end || tls->may_read || tls->engine->pending(tls->session);
}

/* Until the caller's buffer is full or there is no more: a short count means that. */
static ssize_t read_plain(struct cdt_layer *layer, void *buf, size_t len)
{
    struct cdt_tls *tls = tls_of(layer);
    tls->told = tls->over != GOING_ON;
    if (tls->told)
        return tls->over;
    begin_input(tls, len);
    size_t got = 0;
    ssize_t n;
    do {
        n = tls->engine->read(tls->session, (char *)buf + got, len - got);
        if (n > 0)
            got += (size_t)n;
    } while (n > 0 && got < len && may_have_more(tls));
    int stashed = end_input(tls);
    if (stashed < 0)
        n = stashed;
    if (n < 0 && n != CONDUIT_EAGAIN)
        give_up(tls, (int)n);
    else if (n == 0)
        tls->over = 0;
    if (got > 0)
        return (ssize_t)got;
    tls->told = tls->over != GOING_ON;
    return n;
}

/* While writing waits for input, that it would be possible is no news, and would be so for ever. */
static void want_below(struct cdt_tls *tls)
{
    unsigned events = tls->wanted;
    if (tls->starved == STARVED_WRITE && (events & CDT_WRITE) != 0)
        events |= CDT_READ;
    if (tls->starved != NOT_STARVED && output_len(tls) == 0)
        events &= ~(unsigned)CDT_WRITE;
    cdt_layer_want(tls->layer.below, events);
}

static void want(struct cdt_layer *layer, unsigned events)
{
    struct cdt_tls *tls = tls_of(layer);
    tls->wanted = events;
    want_below(tls);
}

/* An engine that had room for a record and still says EAGAIN waits for the peer. */
static void note_starved(struct cdt_tls *tls, enum starved starved)
{
    if (tls->starved == starved)
        return;
    tls->starved = starved;
    want_below(tls);
}

/* The engine may take input while it writes, too. */
static ssize_t engine_write(struct cdt_tls *tls, const unsigned char *bytes, size_t len)
{
    begin_input(tls, 0);
    ssize_t n = tls->engine->write(tls->session, bytes, len);
    int stashed = end_input(tls);
    note_starved(tls, n == CONDUIT_EAGAIN ? STARVED_WRITE : NOT_STARVED);
    return stashed < 0 ? stashed : n;
}

/* Bytes taken, perhaps 0 if the layer below is full; or a code, never EAGAIN. */
static ssize_t write_piece(struct cdt_tls *tls, const unsigned char *bytes, size_t len)
{
    size_t taken = 0;
    while (taken < len) {
        int room = make_room(tls);
        if (room < 0 && room != CONDUIT_EAGAIN)
            return room;
        ssize_t n = room;
        if (room == 0)
            n = engine_write(tls, bytes + taken, len - taken);
        if (n == CONDUIT_EAGAIN)
            break;
        if (n < 0)
            return give_up(tls, (int)n);
        taken += (size_t)n;
    }
    return (ssize_t)taken;
}

static ssize_t write_plain(struct cdt_layer *layer, const struct iovec *v, int n)
{
    size_t taken = 0;
    for (int i = 0; i < n; i++) {
        ssize_t more = write_piece(tls_of(layer), v[i].iov_base, v[i].iov_len);
        if (more < 0)
            return more;
        taken += (size_t)more;
        if ((size_t)more < v[i].iov_len)
            break;
    }
    return taken > 0 ? (ssize_t)taken : CONDUIT_EAGAIN;
}

/* close_notify is said once, and only by a session that can: after a failure there is nothing to
 * end properly. */
static int say_goodbye(struct cdt_tls *tls)
{
    if (!tls->open || tls->over < 0 || tls->finished)
        return 0;
    int code = make_room(tls);
    if (code < 0)
        return code;
    begin_input(tls, 0);
    code = tls->engine->finish(tls->session);
    int stashed = end_input(tls);
    note_starved(tls, code == CONDUIT_EAGAIN ? STARVED_GOODBYE : NOT_STARVED);
    tls->finished = code == 0;
    return stashed < 0 ? stashed : code;
}

static int finish(struct cdt_layer *layer)
{
    int code = say_goodbye(tls_of(layer));
    if (code == 0)
        code = flush_down(layer);
    return code < 0 ? code : cdt_layer_finish(layer->below);
}

/* What the owner has not been told although it came: input not decrypted yet, plaintext not read
 * yet, the end. */
static bool is_pending(const struct cdt_layer *layer)
{
    const struct cdt_tls *tls = (const struct cdt_tls *)layer;
    return (tls->over != GOING_ON && !tls->told) || tls->at != tls->end ||
           tls->engine->pending(tls->session) || cdt_layer_pending(layer->below);
}

static const char *agreed_on(const struct cdt_layer *layer)
{
    const struct cdt_tls *tls = (const struct cdt_tls *)layer;
    return tls->agreed != NULL ? tls->agreed : "";
}

static void describe(const struct cdt_layer *layer, struct cdt_facts *facts)
{
    const struct cdt_tls *tls = (const struct cdt_tls *)layer;
    facts->has_tls = true;
    tls->engine->describe(tls->session, facts);
    snprintf(facts->tls_alpn, sizeof(facts->tls_alpn), "%s", agreed_on(layer));
}

static void free_layer(struct cdt_tls *tls)
{
    stop_waiting(tls);
    if (tls->session != NULL)
        tls->engine->stop(tls->session);
    return_output(tls->shared, tls->output);
    conduit_tls_unref(tls->config);
    conduit_free(tls->stash);
    conduit_free(tls->name);
    conduit_free(tls->alpn);
    conduit_free(tls->agreed);
    conduit_free(tls->peer_key);
    conduit_free(tls);
}

static void close_layer(struct cdt_layer *layer, bool reset)
{
    struct cdt_layer *below = layer->below;
    free_layer(tls_of(layer));
    below->ops->close(below, reset);
}

static const struct cdt_layer_ops ops = {
    .name = "tls",
    .open = open_layer,
    .read = read_plain,
    .write = write_plain,
    .flush = flush_down,
    .finish = finish,
    .want = want,
    .pending = is_pending,
    .close = close_layer,
    .describe = describe,
    .alpn = agreed_on,
};

/* ---- from an endpoint to a layer ---- */

/* A name as certificates know it: labels without the trailing dot. ".example" must not get through:
 * to OpenSSL it is every name below. */
static bool is_host_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t len = strlen(name);
    return len <= 253 && strspn(name, allowed) == len && *name != '.' && strstr(name, "..") == NULL;
}

static bool is_address(const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* Into tls->name, which the peer has to prove. An address is proved without its zone. 0 or a
 * code. */
static int take_name(struct cdt_tls *tls, const char *host, struct cdt_tls_start *start)
{
    tls->name = conduit_strdup(host);
    if (tls->name == NULL)
        return fail_memory(tls);
    start->name = tls->name;
    char *zone = strchr(tls->name, '%');
    if (zone != NULL)
        *zone = '\0';
    size_t len = strlen(tls->name);
    if (len > 1 && tls->name[len - 1] == '.')
        tls->name[len - 1] = '\0';
    start->numeric = is_address(tls->name);
    if (start->numeric || (zone == NULL && is_host_name(tls->name)))
        return 0;
    return cdt_tls_fail(tls, CONDUIT_TLS_BAD_NAME, NULL, 0, "\"%s\" cannot be the name of a peer",
                        host);
}

static int take_alpn(struct cdt_tls *tls, const char *list, struct cdt_tls_start *start)
{
    unsigned char wire[CDT_ALPN_MAX];
    ssize_t len = cdt_alpn_wire(list, wire);
    if (len < 0)
        return cdt_tls_fail(tls, CONDUIT_TLS_BAD_VALUE, NULL, 0,
                            "alpn: \"%s\" is no list of protocols like \"h2,http/1.1\"", list);
    tls->alpn = conduit_malloc((size_t)len + 1);
    if (tls->alpn == NULL)
        return fail_memory(tls);
    memcpy(tls->alpn, wire, (size_t)len);
    start->alpn = tls->alpn;
    start->alpn_len = (size_t)len;
    return 0;
}

/* Which sessions may be resumed here: those with the same name at the same port (where there is
 * none, at the same place), for the same protocols, by this very configuration. Which of several
 * addresses it was does not matter. */
static int take_peer_key(struct cdt_tls *tls, const conduit_endpoint *as, const char *alpn)
{
    const conduit_endpoint *below = conduit_endpoint_below(as);
    const char *id = cdt_tls_id(tls->config);
    unsigned port = conduit_endpoint_port(below);
    const char *place = port != 0 ? conduit_endpoint_name(below) : conduit_endpoint_uri(below);
    size_t size =
        strlen(id) + strlen(tls->name) + strlen(alpn) + strlen(place) + sizeof(" 65535    ");
    tls->peer_key = conduit_malloc(size);
    if (tls->peer_key == NULL)
        return fail_memory(tls);
    snprintf(tls->peer_key, size, "%s %s %u %s %s", id, tls->name, port, alpn, place);
    return 0;
}

void cdt_tls_keep_session(struct cdt_tls *tls, void *resumable)
{
    cdt_sessions_put(tls->shared->sessions, tls->peer_key, resumable);
}

void *cdt_tls_take_session(struct cdt_tls *tls)
{
    return cdt_sessions_take(tls->shared->sessions, tls->peer_key);
}

static int start_session(struct cdt_tls *tls, const conduit_endpoint *as, bool server)
{
    struct cdt_tls_start start = {
        .server = server,
        .credentials = cdt_tls_credentials(tls->config),
        .shared = tls->shared->engine,
    };
    int code = server ? 0 : take_name(tls, conduit_endpoint_host(as), &start);
    if (code < 0)
        return code;
    const char *alpn = conduit_endpoint_param(as, "alpn");
    alpn = alpn != NULL ? alpn : cdt_tls_alpn(tls->config);
    code = take_alpn(tls, alpn, &start);
    if (code == 0 && !server)
        code = take_peer_key(tls, as, alpn);
    return code < 0 ? code : tls->engine->start(tls, &start, &tls->session);
}

/* The configuration is fit for its role, and in use from now on. */
static int seal(struct cdt_path *path, const struct cdt_stack_options *options)
{
    const conduit_error *error = NULL;
    int code = cdt_tls_seal(options->tls, options->server, &error);
    if (code == 0)
        return 0;
    if (path->error == NULL)
        path->error = error;
    else
        conduit_error_unref(error);
    return code;
}

static int push(struct cdt_path *path, const conduit_endpoint *as,
                const struct cdt_stack_options *options)
{
    int code = seal(path, options);
    if (code < 0)
        return code;
    struct cdt_tls *tls = conduit_calloc(1, sizeof(*tls));
    struct shared *shared = shared_of(path->ctx);
    if (tls == NULL || shared == NULL) {
        conduit_free(tls);
        return cdt_path_fail(path, CONDUIT_ENOMEM, CONDUIT_STAGE_TLS, NULL, 0, "out of memory");
    }
    tls->layer = (struct cdt_layer){.ops = &ops, .path = path};
    tls->engine = cdt_tls_backends[0];
    tls->shared = shared;
    tls->over = GOING_ON;
    tls->config = conduit_tls_ref(options->tls);
    code = start_session(tls, as, options->server);
    if (code < 0) {
        free_layer(tls);
        return code;
    }
    cdt_path_push(path, &tls->layer);
    if (tls->engine->config_wants_system(cdt_tls_credentials(tls->config), options->server))
        ask_for_system(tls, path->ctx);
    return 0;
}

/* Those that hold secrets (password, key_pem) are not here: URIs end up in logs. */
static const char *const keys[] = {
    "ca",          "ca_dir",  "ca_system",  "ca_pem", "crl",     "crl_check",
    "verify",      "pin",     "tlsa",       "ocsp",   "cert",    "key",
    "cert_pem",    "pkcs12",  "staple",     "alpn",   "min",     "password_file",
    "max",         "ciphers", "suites",     "groups", "sigalgs", "sni",
    "client_cert", "watch",   "ticket_key", "resume", "keylog",  "name",
    "early_data",  NULL,
};

static const char *const repeatable[] = {
    "ca",  "ca_dir",   "ca_pem", "crl",    "pin",           "tlsa",       "cert",
    "key", "cert_pem", "pkcs12", "staple", "password_file", "ticket_key", NULL,
};

const struct cdt_layer_kind cdt_layer_tls = {
    .name = "tls",
    .keys = keys,
    .repeatable = repeatable,
    .secure = true,
    .push = push,
};
