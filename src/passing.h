/* SPDX-License-Identifier: ISC */
/*
 * Descriptors beside bytes (SCM_RIGHTS, unix(7)): what a transport offers that can pass them.
 *
 * Bytes that are read in any other way come without descriptors: the kernel drops what nobody asks
 * for, so who does not use this has no cost and no leak. A descriptor belongs to whoever holds the
 * struct cdt_fds, until it is handed on.
 */
#ifndef CDT_PASSING_H
#define CDT_PASSING_H

#include "layer.h"

/* Of one message. More are a mistake, or an attack on the table of descriptors. */
enum { CDT_MOST_FDS = 64 };

struct cdt_fds {
    int list[CDT_MOST_FDS]; /* close-on-exec */
    int n;
};

struct cdt_passing {
    /* Is there anything to pass them over at this end? It depends on the socket. */
    bool (*possible)(const struct cdt_layer *layer);
    /* As read() of the layer; *fds are those that came before or with these bytes. Too many, or
     * none to be had here, is the end of the path, and *fds is empty. */
    ssize_t (*read)(struct cdt_layer *layer, void *buf, size_t len, struct cdt_fds *fds);
    /* As write() of the layer, one piece; `fd` goes with the first byte. Besides: CONDUIT_EINVAL,
     * it cannot be passed, and CONDUIT_ELIMIT, too many are on the way; both leave the path as it
     * was. */
    ssize_t (*write)(struct cdt_layer *layer, const void *data, size_t n, int fd);
};

static inline ssize_t cdt_passing_read(struct cdt_layer *layer, void *buf, size_t len,
                                       struct cdt_fds *fds)
{
    ssize_t n = layer->ops->passing->read(layer, buf, len, fds);
    if (n > 0)
        layer->path->received += (uint64_t)n;
    return n;
}

static inline ssize_t cdt_passing_write(struct cdt_layer *layer, const void *data, size_t n, int fd)
{
    ssize_t taken = layer->ops->passing->write(layer, data, n, fd);
    if (taken > 0)
        layer->path->sent += (uint64_t)taken;
    return taken;
}

#endif
