/* SPDX-License-Identifier: ISC */
/*
 * A layer that only matters while the path opens: it talks with the other end, and leaves.
 *
 * It says something, reads an answer, says the next thing. It never takes a byte more than the
 * answer has, and so has nothing to hand on: once it is open it takes itself out of the path, and
 * nobody reads or writes through it. The price is a few short reads; the gain is a byte path
 * without idle links.
 */
#ifndef CDT_SETUP_H
#define CDT_SETUP_H

#include "layer.h"

enum { CDT_GO_ON = 1 };

struct cdt_setup {
    struct cdt_layer layer; /* its ops are set by cdt_setup_push() */
    bool below_open;
    /* The next step, when all is said and the answer is there: CDT_GO_ON, 0 when open, or a
     * negative code after cdt_setup_fail(). */
    int (*step)(struct cdt_setup *setup);
    /* How many bytes more the answer has for certain, seeing those that came (in_len may be 0): 0
     * when it is complete, -1 and *why if it never can be. NULL: no answer is awaited. */
    int (*missing)(const unsigned char *in, size_t in_len, const char **why);
    const char *who; /* "the proxy" */

    unsigned char *out, *in;
    size_t out_len, out_at, in_len, in_size;
};

/* Push `setup`, embedded first in a struct from conduit_calloc(), which is taken over. `answer` is
 * how long the longest answer is. 0, or a negative code after cdt_path_fail(). */
int cdt_setup_push(struct cdt_path *path, struct cdt_setup *setup, size_t answer);
/* Send a copy of `n` bytes before anything else happens. CDT_GO_ON or a negative code. */
int cdt_setup_say(struct cdt_setup *setup, const void *bytes, size_t n);
/* Then await an answer, which will be in[0..in_len). */
void cdt_setup_await(struct cdt_setup *setup,
                     int (*missing)(const unsigned char *, size_t, const char **));
int cdt_setup_fail(struct cdt_setup *setup, int code, const char *source, long number,
                   const char *format, ...) CONDUIT_PRINTF(5, 6);
/* Whom the peer really is: what conduit_info.peer will say. 0 or a negative code. */
int cdt_setup_set_peer(struct cdt_setup *setup, const char *uri);

#endif
