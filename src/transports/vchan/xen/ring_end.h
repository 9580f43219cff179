/* SPDX-License-Identifier: ISC */
/*
 * One end of a vchan between two domains: an event channel, the memory, and what was written into
 * xenstore for it. Made by xen.c for who dials and by listen.c for who listens; freed by itself
 * after its close.
 */
#ifndef CDT_XEN_RING_END_H
#define CDT_XEN_RING_END_H

#include "transports/vchan/backing.h"
#include "transports/vchan/end.h"
#include "transports/vchan/xen/keys.h"
#include "transports/vchan/xen/pages.h"

/* The ring that is offered for whoever comes. Its keys stay, though they are the next one's by
 * then, as long as anybody lives who came by them: they are how a client in a domain without
 * privileges sees the end of the server's. Counted. */
struct cdt_xen_stand {
    unsigned refs;
    char keys[CDT_XEN_PATH];
    struct cdt_xen_offer last;
};

struct cdt_xen_end {
    struct cdt_vchan_end end;
    struct cdt_xen *xen; /* a reference */
    uv_idle_t grave;     /* never runs: its close callback frees the end */
    struct cdt_xen_port port;
    struct cdt_xen_pages pages;
    struct cdt_xen_mourner mourner; /* .domain is the peer */
    bool server;
    uint32_t read, write;             /* client: the sizes that we would like */
    char word[CDT_MAX_PORT_NAME + 1]; /* the port of its URI */
    char keys[CDT_XEN_PATH];          /* where its ring is offered */
    bool published;                   /* ... by us, and nobody else's */
    struct cdt_xen_stand *stand;      /* or offered for whoever comes; a reference */
    struct cdt_xen_watch watch;       /* client: on keys */
    int wrong;                        /* client: why the ring for whoever comes is none; an errno */
    const char *wrong_what;
    char door[CDT_XEN_PATH], nonce[CDT_XEN_NONCE];
    struct cdt_xen_watch request; /* client: on its request; while it waits */
    bool waits;                   /* ... which it does */
    bool looked;                  /* client: for the ring for whoever comes */
    unsigned asked;               /* times */
    struct cdt_timer again;       /* client: xenstore had no time for its request */
    void (*joined)(void *arg);    /* server, before it is on a path: the client is there */
    void *arg;
};

/* An end without a path yet. NULL when out of memory. */
struct cdt_xen_end *cdt_xen_end_new(struct cdt_xen *xen, bool server, uint32_t peer,
                                    const char *word);
/* Put it at the bottom of `path`. */
void cdt_xen_end_push(struct cdt_xen_end *s, struct cdt_path *path,
                      const struct cdt_vchan_settings *settings);
/* Close one that is on no path. NULL is fine. */
void cdt_xen_end_drop(struct cdt_xen_end *s);

/* Server: make rings of these sizes, or smaller ones if grants are short, and offer them at
 * s->keys. 0 or an errno and what failed. */
int cdt_xen_end_offer(struct cdt_xen_end *s, uint32_t left, uint32_t right, const char **what);
void cdt_xen_stand_unref(struct cdt_xen *xen, struct cdt_xen_stand *stand);
/* Server: has the client come? */
bool cdt_xen_end_joined(const struct cdt_xen_end *s);
/* Client, on a path: look for a ring, and ask for one if there is none. 0, or a negative code after
 * cdt_path_fail(). */
int cdt_xen_end_begin(struct cdt_xen_end *s);

/* listen.c */
int cdt_xen_bind(conduit_ctx *ctx, const conduit_endpoint *at,
                 const struct cdt_vchan_settings *settings, int backlog, struct cdt_acceptor **ret,
                 const conduit_error **reterr);

/* Split "name/port"; both are of fitting lengths in every endpoint. */
void cdt_xen_split(const char *host, char name[256], char word[CDT_MAX_PORT_NAME + 1]);

#endif
