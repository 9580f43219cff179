/* SPDX-License-Identifier: ISC */
/*
 * TLS between two layers in memory: no socket, and no clock but the certificates'.
 *
 * Below each TLS layer is a fake transport, one end of a pair of bounded pipes. It can be made as
 * bad as a network is allowed to be: one byte at a time, full at the worst moment, "not now" at
 * random, cut off in the middle. A meeting drives both ends until nothing moves. It has a context
 * that is as much of one as TLS needs, on a loop of its own.
 *
 * What fails here fails the test.
 */
#ifndef CDT_TESTS_MEETING_H
#define CDT_TESTS_MEETING_H

#include "builtin.h"
#include "context.h"
#include "error.h"
#include "secure.h"
#include "stack.h"
#include "support.h"
#include <conduit/conduit.h>

extern const struct cdt_layer_kind cdt_layer_tls;

/* ---- certificates ---- */

/* A file of certs/make-certs. Valid until the fourth call from here. */
const char *file(const char *name);

/* ---- the fake transport ---- */

enum { PIPE_SIZE = 20000 };

/* One direction. */
struct pipe {
    unsigned char bytes[PIPE_SIZE];
    size_t n;
    bool ended;   /* the writer is gone: 0 after the last byte */
    bool broken;  /* reading fails */
    bool refused; /* writing fails */
    size_t total; /* that went in */
};

/* How bad it is: at most `chunk` bytes at a time, and one call in `deny` is told to come later: not
 * in turn, or the same one of a round might be it for ever. */
struct weather {
    size_t chunk;
    unsigned deny, calls;
};

struct fake {
    struct cdt_layer layer;
    struct pipe *in, *out;
    struct weather *weather;
    unsigned reads, writes; /* calls that came */
    unsigned want;
    bool finished, closed;
};

/* ---- a meeting of two ends ---- */

/* The clock of all meetings, which stands still unless a test moves it. */
extern uint64_t meeting_ms;

struct end {
    struct cdt_path *path;
    struct fake fake;
    int code; /* EAGAIN until it is open or has failed */
    size_t sent, received;
    int last; /* what the last read said, if it was not bytes */
};

struct meeting {
    uv_loop_t loop;
    conduit_ctx own, *ctx; /* a meeting in the context of another has no own */
    struct weather weather;
    struct pipe up, down;
    struct end client, server;
};

/* What may be said of the two ends; NULL and zero are the usual. */
struct setup {
    const char *name; /* of the endpoint; "a.example" */
    const char *client_alpn, *server_alpn;
    const char *cert;        /* "server": the server's .pem and .key */
    const char *client_cert; /* none */
    const char *ca;          /* "ca.pem"; "" for the system's */
    const char *server_ca;   /* none */
    const char *client_key, *client_value, *server_key,
        *server_value; /* one more key of conduit_tls_set() */
    struct weather weather;
};

/* conduit_tls_set(), and it has to work. */
void set(conduit_tls *tls, const char *key, const char *value);
/* NAME.pem and NAME.key; NULL: nothing. */
void set_identity(conduit_tls *tls, const char *name);
/* With these set, as far as they are not NULL; `ca` is a file's name. */
conduit_tls *make_config(const char *ca, const char *identity, const char *key, const char *value);
/* Skip the test where TLS is by a library that has not this key, or not this value of it. */
void needs(const char *key, const char *value);
/* It has to be refused, with this code, and with `text` somewhere in the error. */
void refuse(conduit_tls *tls, const char *key, const char *value, int code, const char *text);

/* ---- meeting ---- */

struct meeting *new_meeting(void);
/* Put TLS on one end. 0 or a code. */
int join(struct meeting *meeting, struct end *end, const char *name, const char *alpn, bool server,
         conduit_tls *tls);
/* Both ends, as `setup` says or with these configurations (not consumed), before the handshake. */
struct meeting *meet(const struct setup *setup);
struct meeting *meet_with(conduit_tls *client, conduit_tls *server, const char *name);
/* Until both ends are open or have failed. */
void shake_hands(struct meeting *meeting);
/* shake_hands(), and both have to be open. Returns its argument. */
struct meeting *opened(struct meeting *meeting);
struct meeting *open_meeting(const struct setup *setup);
struct meeting *open_with(conduit_tls *client, conduit_tls *server, const char *name);
/* Two more ends in the context of `first`, which has to outlive them; ended by part_again(). */
struct meeting *meet_again(struct meeting *first, conduit_tls *client, conduit_tls *server,
                           const char *name);
void part_again(struct meeting *meeting);
bool step_open(struct end *end);
void close_end(struct end *end);
void part(struct meeting *meeting);
/* The text of its error. */
const char *why(const struct end *end);
int reason(const struct end *end);
/* But for the chain. */
struct cdt_facts facts_of(const struct end *end);

/* ---- bytes ---- */

/* Write towards `goal` bytes of the pattern in all, and flush. */
void step_send(struct end *end, size_t goal);
/* Read once, at most `size` bytes, and check them. */
void step_receive(struct end *end, size_t size);
void exchange(struct meeting *meeting, size_t up, size_t down, size_t read_size);
/* Read until it says something that is neither bytes nor EAGAIN. */
int read_to_end(struct end *end);
int finish_end(struct end *end);

#endif
