/* SPDX-License-Identifier: ISC */
/*
 * Transports: dial an endpoint, or bind one and accept.
 *
 * A transport is a const row in builtin.c. Both of its products are non-blocking things with
 * readiness: dial gives the bottom layer of a path (whose open() completes the connect), bind gives
 * an acceptor.
 */
#ifndef CDT_TRANSPORT_H
#define CDT_TRANSPORT_H

#include "layer.h"

/* How an endpoint of this transport is written. */
enum cdt_address_form {
    CDT_FORM_HOST_PORT, /* tcp://192.0.2.7:80 */
    CDT_FORM_PATH,      /* unix:/run/x.sock */
    CDT_FORM_NAME,      /* inproc://name */
    CDT_FORM_WORD,      /* fd:3 */
    CDT_FORM_NAME_PORT, /* vchan://name/port: a word, and another one */
    CDT_FORM_CID_PORT,  /* vsock://3:5000 */
};

struct cdt_acceptor;

/* Who is at the other end, as far as a limit per peer can tell: compared byte by byte. */
struct cdt_who {
    unsigned char family;    /* AF_INET, AF_INET6, AF_UNIX */
    unsigned char bytes[16]; /* the address, its /64, the uid */
};

struct cdt_acceptor_ops {
    /* Put the bottom layer of one accepted connection on `path`. 0, EAGAIN (none is waiting), or
     * another negative code with *number the errno: that one connection is lost (ERESET), or the
     * acceptor is short of something. */
    int (*accept)(struct cdt_acceptor *acceptor, struct cdt_path *path, int *number);
    /* Who is at the other end of what accept() has just put on `path`? False: it cannot be told.
     * NULL: it never can. */
    bool (*who)(const struct cdt_path *path, struct cdt_who *who);
    /* Turn away one that waits, with the last descriptor there is; false: that failed, too. NULL:
     * accepting needs no descriptor. */
    bool (*shed)(struct cdt_acceptor *acceptor);
    /* Report readiness from now on, or do not. */
    void (*want)(struct cdt_acceptor *acceptor, bool on);
    /* Release at once, silently. */
    void (*close)(struct cdt_acceptor *acceptor);
    /* The listening descriptor. NULL: it has none. */
    int (*descriptor)(const struct cdt_acceptor *acceptor);
};

/* The head of every acceptor's own struct. */
struct cdt_acceptor {
    const struct cdt_acceptor_ops *ops;
    conduit_ctx *ctx;
    const conduit_endpoint
        *endpoint; /* where it stands, with the real port; a reference, dropped by close() */
    /* Somebody may wait. Reported in each turn as long as somebody does: one who is not accepted
     * now is not forgotten. */
    void (*ready)(struct cdt_acceptor *acceptor);
    void *owner;
};

struct cdt_transport {
    const char *name; /* "tcp" */
    enum cdt_address_form form;
    const char *const *keys; /* query keys of its endpoints, NULL-terminated; NULL: none */
    /* NULL if `value` fits `key`, which is one of keys; or what it should be. NULL: all fits. */
    const char *(*check)(const char *key, const char *value);
    /* The same for the place itself, decoded, in CDT_FORM_WORD. */
    const char *(*check_place)(const char *place);
    /* For who traces: where `endpoint` leads and who is there, one line. NULL: there is nothing to
     * say. */
    void (*explain)(const conduit_endpoint *endpoint, char *buf, size_t size);
    /* Does somebody listen there, as far as that can be told without being felt? NULL: it
     * cannot. */
    bool (*taken)(const conduit_endpoint *endpoint);
    /* Begin to connect: push the bottom layer on `path`. `to` is this transport's own step of
     * path->endpoint. 0, or a negative code after cdt_path_fail(): an error at once and one that
     * comes later are the same to the caller. */
    int (*dial)(struct cdt_path *path, const conduit_endpoint *to);
    /* Bind and listen, quiet until want(). 0 and *ret, or a negative code and *reterr. */
    int (*bind)(conduit_ctx *ctx, const conduit_endpoint *at, int backlog,
                struct cdt_acceptor **ret, const conduit_error **reterr);
};

#endif
