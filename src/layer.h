/* SPDX-License-Identifier: ISC */
/*
 * The byte path: a stack of layers over a transport, each one a non-blocking file.
 *
 *     owner (a connection; before that an opening)
 *       │ calls go down                    ▲ readiness comes up: path->ready(path, events)
 *     layer   tls
 *     layer   ...
 *     transport   tcp
 *
 * A layer calls the one below it through the same interface. Readiness skips the layers: the
 * transport tells the path's owner, the owner asks the top, and the top asks down as far as it
 * needs. So nothing is ever called upward from inside a downward call, and the owner may close the
 * path at any point of its own code.
 *
 * Everything returns a count or 0, or a negative conduit_code. CONDUIT_EAGAIN means "when readiness
 * comes". Any other negative code is the end of the path, and whoever saw it first has called
 * cdt_path_fail().
 */
#ifndef CDT_LAYER_H
#define CDT_LAYER_H

#include <conduit/connection.h>
#include <stdarg.h>
#include <sys/types.h>
#include <sys/uio.h>

struct cdt_path;
struct cdt_layer;
struct cdt_facts;
struct cdt_passing;
struct cdt_queue;

enum { CDT_READ = 1, CDT_WRITE = 2 };

struct cdt_layer_ops {
    const char *name;
    /* 0: open. EAGAIN: the layer has asked for the readiness it waits for; call again when it
     * comes. connect(2) completes here, TLS shakes hands here. A layer opens the one below
     * first. */
    int (*open)(struct cdt_layer *layer);
    /* Bytes, 0 for a proper end, EAGAIN. Fewer bytes than asked for means: no more just now. */
    ssize_t (*read)(struct cdt_layer *layer, void *buf, size_t len);
    /* Bytes taken (> 0), or EAGAIN. Fewer than given means: no room for more just now. A piece may
     * be empty. */
    ssize_t (*write)(struct cdt_layer *layer, const struct iovec *v, int n);
    /* The same for `n` bytes of file `fd` from `offset` on, without reading them. 0: the file has
     * none there. ENOTSUP: not this file, read it and write. NULL: never a file. */
    ssize_t (*send_file)(struct cdt_layer *layer, int fd, off_t offset, size_t n);
    /* Push down what this layer holds back. EAGAIN if not all of it went. NULL: it never holds
     * anything. */
    int (*flush)(struct cdt_layer *layer);
    /* End our direction (close_notify, FIN), after everything written. EAGAIN: call again. Then
     * again is harmless. */
    int (*finish)(struct cdt_layer *layer);
    /* Which readiness to report from now on: CDT_READ | CDT_WRITE. NULL: passed to the layer
     * below. */
    void (*want)(struct cdt_layer *layer, unsigned events);
    /* Is there something to read that no readiness will announce? NULL: never. */
    bool (*pending)(const struct cdt_layer *layer);
    /* Release the layer and those below, at once and silently. `reset`: let the peer see a break,
     * not an end. */
    void (*close)(struct cdt_layer *layer, bool reset);
    /* Add what this layer knows (peer, local, TLS). Goes down by itself: called for each layer,
     * bottom first. */
    void (*describe)(const struct cdt_layer *layer, struct cdt_facts *facts);
    /* The protocol that was agreed on, once it is open: "h2"; "" for none. NULL: ask below. */
    const char *(*alpn)(const struct cdt_layer *layer);
    /* Descriptors beside the bytes: passing.h. NULL: there are none. */
    const struct cdt_passing *passing;
};

/* What may be said before a connect is over, by the one attempt that says it is its affair: TLS, if
 * its configuration has early data. It stays where it is. */
struct cdt_early {
    const struct cdt_queue *bytes;
    bool used; /* an attempt has it */
};

/* The head of every layer's own struct. */
struct cdt_layer {
    const struct cdt_layer_ops *ops;
    struct cdt_layer *below; /* NULL for a transport */
    struct cdt_path *path;
};

struct cdt_path {
    conduit_ctx *ctx;
    struct cdt_layer *top;
    const conduit_endpoint *endpoint; /* what it leads to, or where it was accepted; a reference */
    const conduit_error *error;       /* why it failed; NULL as long as it has not */
    conduit_stage stage;     /* how far opening has come: each layer says so when its turn is */
    uint64_t received, sent; /* bytes, of the transport */
    uint64_t begun_ns, connected_ns, opened_ns; /* uv_hrtime() of each step; 0: not yet */
    /* Who is at the other end, as a layer that has left was told ("tcp://192.0.2.1:5000"); NULL:
     * whom the transport sees. */
    char *peer;
    struct cdt_early *early; /* until it is open; NULL: there is nothing of the kind */
    size_t early_taken;      /* bytes of it that the peer has accepted */
    bool closes; /* the peer's direction has ended, so finishing ours is followed by close() */
    void (*ready)(struct cdt_path *path, unsigned events);
    void *owner;
};

/* What describe() fills in: see conduit_info and conduit_tls_info. Strings are copied in. */
struct cdt_facts {
    char peer[272];
    char via[272];
    char local[256];
    char stack[64];
    bool has_tls;
    char tls_version[16], tls_cipher[64], tls_alpn[64], tls_name[256], tls_peer[256],
        tls_verify[16];
    bool tls_resumed, tls_early;
    char tls_peer_names[512], tls_fingerprint[65], tls_ocsp[16];
    bool wants_chain; /* whoever sets it frees ... */
    char *tls_chain;  /* ... this, of conduit_malloc() or NULL */
    long peer_pid, peer_uid, peer_gid;
};

/* An empty path (no top yet), or NULL. Takes a reference on `endpoint`. */
struct cdt_path *cdt_path_new(conduit_ctx *ctx, const conduit_endpoint *endpoint);
/* Close every layer and free the path. NULL is fine. */
void cdt_path_free(struct cdt_path *path, bool reset);

/* Put `layer` on top of the path. */
void cdt_path_push(struct cdt_path *path, struct cdt_layer *layer);

/* Take `layer`, which is open and is not needed any more, out of the path. It is the layer's own to
 * free. */
void cdt_path_drop(struct cdt_path *path, const struct cdt_layer *layer);
/* What the layers from `layer` down know: the lowest speaks first. */
void cdt_layer_describe(const struct cdt_layer *layer, struct cdt_facts *facts);

/*
 * Remember why the path failed, if nothing did before; returns `code`. `source` and `number` are
 * whose number it is and which ("errno", ECONNRESET). The text is what follows "STAGE: ENDPOINT: "
 * in the error's line.
 */
int cdt_path_fail(struct cdt_path *path, int code, conduit_stage stage, const char *source,
                  long number, const char *format, ...) CONDUIT_PRINTF(6, 7);
/* The same for a failed system call: the code is found from `number`, an errno. */
int cdt_path_fail_errno(struct cdt_path *path, conduit_stage stage, int number, const char *call);

static inline int cdt_layer_open(struct cdt_layer *layer)
{
    return layer->ops->open(layer);
}

static inline ssize_t cdt_layer_read(struct cdt_layer *layer, void *buf, size_t len)
{
    ssize_t n = layer->ops->read(layer, buf, len);
    if (n > 0 && layer->below == NULL)
        layer->path->received += (uint64_t)n;
    return n;
}

static inline ssize_t cdt_layer_write(struct cdt_layer *layer, const struct iovec *v, int n)
{
    ssize_t taken = layer->ops->write(layer, v, n);
    if (taken > 0 && layer->below == NULL)
        layer->path->sent += (uint64_t)taken;
    return taken;
}

static inline ssize_t cdt_layer_send_file(struct cdt_layer *layer, int fd, off_t offset, size_t n)
{
    if (layer->ops->send_file == NULL)
        return CONDUIT_ENOTSUP;
    ssize_t taken = layer->ops->send_file(layer, fd, offset, n);
    if (taken > 0) /* it is a transport: what changes bytes has to see them */
        layer->path->sent += (uint64_t)taken;
    return taken;
}

static inline int cdt_layer_flush(struct cdt_layer *layer)
{
    return layer->ops->flush != NULL ? layer->ops->flush(layer) : 0;
}

static inline int cdt_layer_finish(struct cdt_layer *layer)
{
    return layer->ops->finish(layer);
}

static inline void cdt_layer_want(struct cdt_layer *layer, unsigned events)
{
    while (layer->ops->want == NULL)
        layer = layer->below;
    layer->ops->want(layer, events);
}

static inline bool cdt_layer_pending(const struct cdt_layer *layer)
{
    return layer->ops->pending != NULL && layer->ops->pending(layer);
}

#endif
