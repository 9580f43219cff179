/* SPDX-License-Identifier: ISC */
/*
 * See veil.h. On the wire: the client's 'H', the server's 'h' (or 'x': refused), and then records:
 * two bytes of length and as many of content; a record of none is the goodbye.
 */
#include "veil.h"
#include "chance.h"
#include "util.h"
#include <conduit/memory.h>
#include <string.h>

enum { SPACE = 1500, HEADER = 2, MOST_IN_RECORD = 400 };

struct veil {
    struct cdt_layer layer;
    bool server, asked, refuse;
    unsigned char in[SPACE], out[SPACE];
    size_t in_size, out_size;
    size_t left; /* of the record that is being read */
    bool said_goodbye, finished;
};

static struct veil *of(struct cdt_layer *layer)
{
    return CDT_CONTAINER(layer, struct veil, layer);
}

/* ---- opening ---- */

static int wait_for(struct cdt_layer *layer, unsigned events)
{
    cdt_layer_want(layer->below, events);
    return CONDUIT_EAGAIN;
}

static int refused(struct cdt_layer *layer)
{
    return cdt_path_fail(layer->path, CONDUIT_EACCESS, CONDUIT_STAGE_LAYER, NULL, 0, "refused");
}

static int say(struct cdt_layer *layer, char word)
{
    struct iovec v = {.iov_base = &word, .iov_len = 1};
    ssize_t n = cdt_layer_write(layer->below, &v, 1);
    if (n == CONDUIT_EAGAIN)
        return wait_for(layer, CDT_WRITE);
    return n < 0 ? (int)n : 0;
}

static int hear(struct cdt_layer *layer, char word)
{
    char heard = 0;
    ssize_t n = cdt_layer_read(layer->below, &heard, 1);
    if (n == CONDUIT_EAGAIN)
        return wait_for(layer, CDT_READ);
    if (n == 0)
        return cdt_path_fail(layer->path, CONDUIT_ETRUNCATED, CONDUIT_STAGE_LAYER, NULL, 0,
                             "ended in the handshake");
    if (n < 0)
        return (int)n;
    return heard == word ? 0 : refused(layer);
}

static int open_client(struct veil *veil)
{
    int code = veil->asked ? 0 : say(&veil->layer, 'H');
    if (code < 0)
        return code;
    veil->asked = true;
    return hear(&veil->layer, 'h');
}

static int open_server(struct veil *veil)
{
    int code = veil->asked ? 0 : hear(&veil->layer, 'H');
    if (code < 0)
        return code;
    veil->asked = true;
    code = say(&veil->layer, veil->refuse ? 'x' : 'h');
    return code == 0 && veil->refuse ? refused(&veil->layer) : code;
}

static int open_veil(struct cdt_layer *layer)
{
    struct veil *veil = of(layer);
    int code = cdt_layer_open(layer->below);
    if (code < 0)
        return code;
    layer->path->stage = CONDUIT_STAGE_LAYER;
    return veil->server ? open_server(veil) : open_client(veil);
}

/* ---- reading ---- */

static void drop_in(struct veil *veil, size_t n)
{
    memmove(veil->in, veil->in + n, veil->in_size - n);
    veil->in_size -= n;
}

static bool pending(const struct cdt_layer *layer)
{
    const struct veil *veil = CDT_CONTAINER(cdt_bytes(layer), struct veil, layer);
    return veil->left > 0 ? veil->in_size > 0 : veil->in_size >= HEADER;
}

static int fill(struct veil *veil)
{
    ssize_t n = cdt_layer_read(veil->layer.below, veil->in + veil->in_size, SPACE - veil->in_size);
    if (n == 0)
        return cdt_path_fail(veil->layer.path, CONDUIT_ETRUNCATED, CONDUIT_STAGE_IO, NULL, 0,
                             "ended without its goodbye");
    if (n > 0)
        veil->in_size += (size_t)n;
    return n < 0 ? (int)n : 0;
}

static ssize_t read_veil(struct cdt_layer *layer, void *buf, size_t len)
{
    struct veil *veil = of(layer);
    while (veil->left == 0 || veil->in_size == 0) {
        if (veil->left == 0 && veil->in_size >= HEADER) {
            veil->left = veil->in[0] + 256U * veil->in[1];
            if (veil->left == 0)
                return 0;
            drop_in(veil, HEADER);
            continue;
        }
        int code = fill(veil);
        if (code < 0)
            return code;
    }
    size_t n = veil->left < veil->in_size ? veil->left : veil->in_size;
    n = n < len ? n : len;
    memcpy(buf, veil->in, n);
    drop_in(veil, n);
    veil->left -= n;
    return (ssize_t)n;
}

/* ---- writing ---- */

static int flush(struct cdt_layer *layer)
{
    struct veil *veil = of(layer);
    while (veil->out_size > 0) {
        struct iovec v = {.iov_base = veil->out, .iov_len = veil->out_size};
        ssize_t n = cdt_layer_write(layer->below, &v, 1);
        if (n < 0)
            return (int)n;
        veil->out_size -= (size_t)n;
        memmove(veil->out, veil->out + n, veil->out_size);
    }
    return 0;
}

static bool put_record(struct veil *veil, const void *data, size_t n)
{
    if (veil->out_size + HEADER + n > SPACE)
        return false;
    unsigned char *at = veil->out + veil->out_size;
    at[0] = (unsigned char)n;
    at[1] = (unsigned char)(n >> 8);
    if (n > 0)
        memcpy(at + HEADER, data, n);
    veil->out_size += HEADER + n;
    return true;
}

static size_t put_piece(struct veil *veil, const struct iovec *v)
{
    size_t done = 0;
    while (done < v->iov_len) {
        size_t n = v->iov_len - done < MOST_IN_RECORD ? v->iov_len - done : MOST_IN_RECORD;
        if (!put_record(veil, (const unsigned char *)v->iov_base + done, n))
            break;
        done += n;
    }
    return done;
}

static ssize_t write_veil(struct cdt_layer *layer, const struct iovec *v, int n)
{
    struct veil *veil = of(layer);
    size_t done = 0;
    if (veil->out_size + HEADER + MOST_IN_RECORD > SPACE) {
        int code = flush(layer);
        if (code < 0)
            return code;
    }
    for (int i = 0; i < n; i++) {
        size_t taken = put_piece(veil, &v[i]);
        done += taken;
        if (taken < v[i].iov_len)
            break;
    }
    return done > 0 ? (ssize_t)done : CONDUIT_EAGAIN;
}

static int finish(struct cdt_layer *layer)
{
    struct veil *veil = of(layer);
    if (veil->finished)
        return 0;
    int code = flush(layer);
    if (code == 0 && !veil->said_goodbye)
        veil->said_goodbye = put_record(veil, NULL, 0);
    if (code == 0)
        code = flush(layer);
    if (code == 0)
        code = cdt_layer_finish(layer->below);
    veil->finished = code == 0;
    return code;
}

static void close_veil(struct cdt_layer *layer, bool reset)
{
    layer->below->ops->close(layer->below, reset);
    conduit_free(of(layer));
}

static const struct cdt_layer_ops veil_ops = {
    .name = "veil",
    .open = open_veil,
    .read = read_veil,
    .write = write_veil,
    .flush = flush,
    .finish = finish,
    .pending = pending,
    .close = close_veil,
};

int cdt_veil_push(struct cdt_path *path, bool server)
{
    struct veil *veil = conduit_calloc(1, sizeof(*veil));
    if (veil == NULL)
        return cdt_path_fail(path, CONDUIT_ENOMEM, CONDUIT_STAGE_LAYER, NULL, 0, "out of memory");
    veil->layer.ops = &veil_ops;
    veil->server = server;
    veil->refuse = cdt_rarely(12);
    cdt_path_push(path, &veil->layer);
    return 0;
}
