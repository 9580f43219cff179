/* SPDX-License-Identifier: ISC */
/* What is true of every layer that leaves once the path is open: setup.h. */
#include "setup.h"
#include "error.h"
#include "stack.h"
#include "util.h"
#include <conduit/memory.h>
#include <stdio.h>
#include <string.h>

static struct cdt_setup *of(struct cdt_layer *layer)
{
    return (struct cdt_setup *)layer;
}

int cdt_setup_fail(struct cdt_setup *setup, int code, const char *source, long number,
                   const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return cdt_path_fail(setup->layer.path, code, CONDUIT_STAGE_LAYER, source, number, "%s", text);
}

static int fail_memory(struct cdt_setup *setup)
{
    return cdt_setup_fail(setup, CONDUIT_ENOMEM, NULL, 0, "out of memory");
}

/* ---- talking ---- */

/* What was said may have been a password. */
static void forget_said(struct cdt_setup *setup)
{
    if (setup->out != NULL)
        explicit_bzero(setup->out, setup->out_len);
    conduit_free(setup->out);
    setup->out = NULL;
    setup->out_len = setup->out_at = 0;
}

int cdt_setup_say(struct cdt_setup *setup, const void *bytes, size_t n)
{
    forget_said(setup);
    setup->out = conduit_malloc(n);
    if (setup->out == NULL)
        return fail_memory(setup);
    memcpy(setup->out, bytes, n);
    setup->out_len = n;
    return CDT_GO_ON;
}

void cdt_setup_await(struct cdt_setup *setup,
                     int (*missing)(const unsigned char *, size_t, const char **))
{
    setup->missing = missing;
    setup->in_len = 0;
}

int cdt_setup_set_peer(struct cdt_setup *setup, const char *uri)
{
    struct cdt_path *path = setup->layer.path;
    conduit_free(path->peer);
    path->peer = conduit_strdup(uri);
    return path->peer != NULL ? 0 : fail_memory(setup);
}

/* 0, EAGAIN, or another code. */
static int send_said(struct cdt_setup *setup)
{
    struct cdt_layer *below = setup->layer.below;
    while (setup->out_at < setup->out_len) {
        struct iovec v = {.iov_base = setup->out + setup->out_at,
                          .iov_len = setup->out_len - setup->out_at};
        ssize_t n = cdt_layer_write(below, &v, 1);
        if (n < 0)
            return (int)n;
        setup->out_at += (size_t)n;
    }
    return cdt_layer_flush(below);
}

/* Read `n` more bytes: 0 when they are there. */
static int read_answer(struct cdt_setup *setup, size_t n)
{
    size_t whole = setup->in_len + n;
    if (whole > setup->in_size)
        return cdt_setup_fail(setup, CONDUIT_ELIMIT, NULL, 0,
                              "%s sent more than the %zu bytes that an answer may have", setup->who,
                              setup->in_size);
    while (setup->in_len < whole) {
        ssize_t got =
            cdt_layer_read(setup->layer.below, setup->in + setup->in_len, whole - setup->in_len);
        if (got < 0)
            return (int)got;
        if (got == 0)
            return cdt_setup_fail(setup, CONDUIT_ERESET, NULL, 0,
                                  "%s closed the connection in the middle of the setup",
                                  setup->who);
        setup->in_len += (size_t)got;
    }
    return 0;
}

static int hear_answer(struct cdt_setup *setup)
{
    while (setup->missing != NULL) {
        const char *why = "";
        int n = setup->missing(setup->in, setup->in_len, &why);
        if (n < 0)
            return cdt_setup_fail(setup, CONDUIT_EIO, NULL, 0, "%s: %s", setup->who, why);
        if (n == 0)
            return 0;
        int code = read_answer(setup, (size_t)n);
        if (code < 0)
            return code;
    }
    return 0;
}

/* ---- the layer ---- */

static void free_setup(struct cdt_setup *setup)
{
    forget_said(setup);
    conduit_free(setup->in);
    conduit_free(setup);
}

static int wait_for(struct cdt_setup *setup, int code, unsigned event)
{
    if (code == CONDUIT_EAGAIN)
        cdt_layer_want(setup->layer.below, event);
    return code;
}

/* A server that turns somebody away may answer before it has heard all, and close: its answer says
 * more than a write that failed. Here that is the error of the path, and it is over. */
static int talk(struct cdt_setup *setup)
{
    for (;;) {
        int code = wait_for(setup, send_said(setup), CDT_WRITE);
        if (code == 0)
            code = wait_for(setup, hear_answer(setup), CDT_READ);
        if (code == 0)
            code = setup->step(setup);
        if (code != CDT_GO_ON)
            return code;
    }
}

static int open_layer(struct cdt_layer *layer)
{
    struct cdt_setup *setup = of(layer);
    if (!setup->below_open) {
        int code = cdt_layer_open(layer->below);
        if (code < 0)
            return code;
        setup->below_open = true;
        layer->path->stage = CONDUIT_STAGE_LAYER;
    }
    int code = talk(setup);
    if (code < 0)
        return code;
    cdt_path_drop(layer->path, layer);
    free_setup(setup);
    return 0;
}

static void close_layer(struct cdt_layer *layer, bool reset)
{
    struct cdt_layer *below = layer->below;
    free_setup(of(layer));
    below->ops->close(below, reset);
}

/* Before it is open nobody reads, writes or finishes; and then it is not there any more. */
static const struct cdt_layer_ops ops = {
    .name = "setup",
    .open = open_layer,
    .close = close_layer,
};

int cdt_setup_push(struct cdt_path *path, struct cdt_setup *setup, size_t answer)
{
    unsigned char *in = conduit_malloc(answer);
    if (setup == NULL || in == NULL) {
        conduit_free(setup);
        conduit_free(in);
        return cdt_path_fail(path, CONDUIT_ENOMEM, CONDUIT_STAGE_LAYER, NULL, 0, "out of memory");
    }
    setup->layer.ops = &ops;
    setup->in = in;
    setup->in_size = answer;
    cdt_path_push(path, &setup->layer);
    return 0;
}
