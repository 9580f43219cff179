/* SPDX-License-Identifier: ISC */
/*
 * What makes a vchan: where its memory is from, how a wake-up travels, and how the two ends find
 * each other.
 *
 * A backing is a const row in src/builtin.c. It dials and binds as a transport does; what it puts
 * on a path is an end (end.h).
 */
#ifndef CDT_VCHAN_BACKING_H
#define CDT_VCHAN_BACKING_H

#include "transport.h"

enum { CDT_VCHAN_MOST_SHARED = 16 };

/* The query keys of an endpoint, read. */
struct cdt_vchan_settings {
    uint32_t read,
        write; /* ring sizes that we ask for, as this end sees them; 0: whatever is good */
    unsigned spin_us;
    /* share=: which other users may be at the other end. */
    bool share, share_all;
    uid_t shared[CDT_VCHAN_MOST_SHARED];
    size_t n_shared;
    bool has_peer; /* peer=: the only domain that may be at the other end */
    uint32_t peer;
};

struct cdt_vchan_backing {
    const char *name; /* backing=NAME */
    /* NULL, or why these settings are not for it. */
    const char *(*refuses)(const struct cdt_vchan_settings *settings, bool listening);
    /* Is it there, on this machine? */
    bool (*present)(void);
    /* As in struct cdt_transport. `settings` lives during the call. */
    int (*dial)(struct cdt_path *path, const conduit_endpoint *to,
                const struct cdt_vchan_settings *settings);
    int (*bind)(conduit_ctx *ctx, const conduit_endpoint *at,
                const struct cdt_vchan_settings *settings, int backlog, struct cdt_acceptor **ret,
                const conduit_error **reterr);
    /* Say where `endpoint` leads, one line: for who traces. */
    void (*explain)(const conduit_endpoint *endpoint, const struct cdt_vchan_settings *settings,
                    char *buf, size_t size);
    /* Does somebody listen there? NULL: that cannot be told beforehand. */
    bool (*taken)(const conduit_endpoint *endpoint, const struct cdt_vchan_settings *settings);
};

/* Those that were built, in the order of preference, NULL-terminated: src/builtin.c. */
extern const struct cdt_vchan_backing *const cdt_vchan_backings[];

#endif
