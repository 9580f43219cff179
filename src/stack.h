/* SPDX-License-Identifier: ISC */
/*
 * Stacks: from an endpoint to a byte path, and opening it within a deadline.
 *
 * An endpoint is a recursive value, and the path is built the same way, bottom up: the transport
 * dials (or has accepted), then each layer is pushed over it. An attempt of a connect and a
 * handshake of a listener are the same thing from there on: an opening.
 */
#ifndef CDT_STACK_H
#define CDT_STACK_H

#include "endpoint.h"
#include "layer.h"
#include "timer.h"

/* What a layer needs to know beyond its endpoint. All of it is borrowed: it outlives the
 * opening. */
struct cdt_stack_options {
    bool server;
    conduit_tls *tls;  /* of a secure layer, and never NULL there */
    const char *login; /* of a hop: "user:password" as in a URI; NULL: none */
};

/* In which role a layer is to be used, as far as that is known. */
enum { CDT_CONNECTING = 1, CDT_LISTENING = 2 };

/* A kind of layer that endpoints can name. A row of cdt_layers in builtin.c. */
struct cdt_layer_kind {
    const char *name;        /* "tls" */
    const char *const *keys; /* the query keys that are this layer's, NULL-terminated */
    /* Those of them that a query may have more than once; NULL: none. */
    const char *const *repeatable;
    bool secure;  /* it proves who the peer is: its endpoint has a name */
    bool hop;     /* it leads on from a proxy: its endpoint says where, with "to" */
    bool implied; /* its keys say that it is there, and no name in the stack does */
    /* What is wrong with these parameters (and with a hop's `login`, which may be NULL), or NULL.
     * `roles` are those that it may get. It may also say cdt_check_no_memory. NULL: nothing ever
     * is. */
    const char *(*check)(const struct cdt_params *params, const char *login, unsigned roles);
    /* Make the layer for step `as` of path->endpoint and push it on the path. 0 or a negative code,
     * after cdt_path_fail(). Nothing is read or written yet: open() does that. */
    int (*push)(struct cdt_path *path, const conduit_endpoint *as,
                const struct cdt_stack_options *options);
};

/* What a check says if it could not find out. */
extern const char cdt_check_no_memory[];

/* One layer of a stack that is still to be built: what its endpoint will be made of, and what it
 * needs besides. */
struct cdt_step {
    const struct cdt_layer_kind *kind;
    char *name; /* of a secure one: whom the peer must prove to be; NULL: nobody said */
    struct cdt_params params;
    conduit_tls *tls;
    char *login;
};

struct cdt_opening {
    struct cdt_path *path;
    struct cdt_timer deadline;
    uint32_t timeout_ms;
    /* After cdt_opening_wait(), once: 0 for open, or the negative code. Either way the
     * path (with path->error) is the callee's from now on. */
    void (*done)(struct cdt_opening *opening, int code);
};

/* Build the path to path->endpoint from scratch: dial the transport, push the layers. `steps` are
 * those that the endpoint was made of, the top first. `server`: they open as the side that was
 * connected to. */
int cdt_stack_dial(struct cdt_path *path, const struct cdt_step *steps, bool server);
/* Push the layers of path->endpoint over the transport that was accepted already. */
int cdt_stack_accept(struct cdt_path *path, const struct cdt_step *steps);

/* Drive the path open, as far as that goes now. 0: it is open; EAGAIN: cdt_opening_wait() sees to
 * the rest; another code: it failed. */
int cdt_path_open(struct cdt_path *path);
/* Drive it on whenever it is ready, until done(): `opening` (embedded in the caller's struct) and
 * the path stay until then. */
void cdt_opening_wait(struct cdt_opening *opening, struct cdt_path *path, uint32_t timeout_ms,
                      void (*done)(struct cdt_opening *, int));
/* Both, if need be: EAGAIN means that done() will come. Otherwise the path is the caller's again. */
int cdt_opening_start(struct cdt_opening *opening, struct cdt_path *path, uint32_t timeout_ms,
                      void (*done)(struct cdt_opening *, int));
/* Give up before done(): closes and frees the path. Idempotent; fine on a zeroed struct. */
void cdt_opening_stop(struct cdt_opening *opening);
/* The same, but the path stays and is the caller's again. */
void cdt_opening_leave(struct cdt_opening *opening);

#endif
