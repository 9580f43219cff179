/* SPDX-License-Identifier: ISC */
/*
 * The epoll set of a context, level-triggered. Its descriptor is ready as soon as one in it is;
 * then a batch is taken out and worked off. What is left makes it ready again, so that the loop's
 * other handles have their turn in between.
 *
 * What is armed may be more than what is wanted. Who stops reading mostly begins again before
 * anything comes, so reading is disarmed only when it is in the way; writing at once, for a socket
 * can nearly always be written to.
 */
#include "watch.h"
#include "context.h"
#include "util.h"
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    BATCH = 256,
    TIMES_LONE = 4,
    GUESSES = 15,
};

/* An error or a hang-up is reported to who wants nothing, too; but once. */
static uint32_t mask(unsigned events)
{
    if (events == 0)
        return EPOLLONESHOT;
    return (events & CDT_READ ? EPOLLIN : 0) | (events & CDT_WRITE ? EPOLLOUT : 0);
}

static int control(struct cdt_watch *watch, int operation, unsigned events)
{
    struct epoll_event event = {.events = mask(events), .data = {.ptr = watch}};
    watch->armed = (unsigned char)events;
    return epoll_ctl(watch->ctx->watches.fd, operation, watch->fd, &event) == 0 ? 0 : errno;
}

/* ---- the set ---- */

/* Error and hang-up are for reading or writing to find out. */
static unsigned ready_of(const struct cdt_watch *watch, uint32_t events)
{
    unsigned ready = (events & EPOLLIN ? CDT_READ : 0) | (events & EPOLLOUT ? CDT_WRITE : 0);
    if (events & EPOLLERR)
        return CDT_READ | CDT_WRITE;
    return events & EPOLLHUP ? ready | watch->wanted : ready & watch->wanted;
}

static void report(struct cdt_watch *watch, uint32_t events)
{
    unsigned ready = watch->wanted != 0 ? ready_of(watch, events) : 0;
    if (ready != 0)
        watch->ready(watch, ready);
    else if (watch->armed != watch->wanted)
        control(watch, EPOLL_CTL_MOD, watch->wanted);
}

/* Who has been ready all by himself so often, and reads, is taken for it the next times. */
static void note_lone(struct cdt_watches *set, struct cdt_watch *watch)
{
    set->times = watch == set->lone ? set->times + 1 : 0;
    set->lone = watch;
    if (watch != NULL && set->times >= TIMES_LONE && !watch->exact && watch->wanted == CDT_READ)
        set->guesses = GUESSES;
}

static void forget_lone(struct cdt_watches *set)
{
    set->lone = NULL;
    set->guesses = 0;
}

void cdt_watch_missed(conduit_ctx *ctx)
{
    ctx->watches.missed = true;
}

/* The loop has said that one is ready, and nearly always it was the same. Its owner's read tells as
 * well as the set does; now and then the set is asked all the same, in case that others wait. */
static bool guess(struct cdt_watches *set)
{
    if (set->guesses == 0)
        return false;
    set->guesses--;
    set->missed = false;
    set->lone->ready(set->lone, CDT_READ);
    if (set->missed)
        forget_lone(set);
    return !set->missed;
}

static void take_batch(struct cdt_watches *set)
{
    struct epoll_event batch[BATCH];
    int n = epoll_wait(set->fd, batch, BATCH, 0);
    set->batch = batch;
    set->n_batch = n;
    note_lone(set, n == 1 ? batch[0].data.ptr : NULL);
    for (int i = 0; i < n; i++)
        if (batch[i].data.ptr != NULL)
            report(batch[i].data.ptr, batch[i].events);
    set->batch = NULL;
    set->n_batch = 0;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct cdt_watches *set = CDT_CONTAINER(poll, struct cdt_watches, poll);
    if (!guess(set))
        take_batch(set);
}

static int open_set(conduit_ctx *ctx)
{
    struct cdt_watches *set = &ctx->watches;
    if (set->open)
        return 0;
    set->fd = epoll_create1(EPOLL_CLOEXEC);
    if (set->fd < 0)
        return errno;
    int err = uv_poll_init(ctx->loop, &set->poll, set->fd);
    if (err < 0) {
        close(set->fd);
        return -err;
    }
    uv_poll_start(&set->poll, UV_READABLE, on_poll);
    uv_unref((uv_handle_t *)&set->poll);
    set->poll.data = ctx;
    set->open = true;
    cdt_ctx_hold(ctx);
    return 0;
}

static void on_set_closed(uv_handle_t *handle)
{
    cdt_ctx_drop(handle->data);
}

void cdt_watches_close(conduit_ctx *ctx)
{
    struct cdt_watches *set = &ctx->watches;
    if (!set->open)
        return;
    set->open = false;
    uv_close((uv_handle_t *)&set->poll, on_set_closed);
    close(set->fd);
}

/* ---- a watch ---- */

int cdt_watch_start(struct cdt_watch *watch, conduit_ctx *ctx, int fd, unsigned likely,
                    void (*ready)(struct cdt_watch *watch, unsigned events))
{
    *watch = (struct cdt_watch){.ready = ready, .ctx = ctx, .fd = fd};
    int number = open_set(ctx);
    return number == 0 ? control(watch, EPOLL_CTL_ADD, likely) : number;
}

void cdt_watch_want(struct cdt_watch *watch, unsigned events)
{
    watch->wanted = (unsigned char)events;
    if (events != CDT_READ && watch == watch->ctx->watches.lone)
        forget_lone(&watch->ctx->watches);
    if ((events & ~watch->armed) != 0 || (watch->armed & ~events & CDT_WRITE) != 0)
        control(watch, EPOLL_CTL_MOD, events);
}

static void forget(struct cdt_watches *set, const struct cdt_watch *watch)
{
    for (int i = 0; i < set->n_batch; i++)
        if (set->batch[i].data.ptr == watch)
            set->batch[i].data.ptr = NULL;
    if (set->lone == watch)
        forget_lone(set);
}

void cdt_watch_stop(struct cdt_watch *watch)
{
    forget(&watch->ctx->watches, watch);
    epoll_ctl(watch->ctx->watches.fd, EPOLL_CTL_DEL, watch->fd, NULL);
}
