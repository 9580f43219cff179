/* SPDX-License-Identifier: ISC */
/*
 * What an endpoint's parameters say about a TCP socket. Strings are borrowed from the parameters.
 */
#ifndef CDT_TCP_OPTIONS_H
#define CDT_TCP_OPTIONS_H

#include "endpoint.h"

struct cdt_tcp_options {
    bool nodelay;
    bool mptcp;
    bool fastopen;
    bool reuse_port;         /* listening */
    bool prefer_local;       /* not the socket's affair: local.h */
    int idle_s;              /* keepalive; 0: none */
    int interval_s, count;   /* of its probes */
    int user_timeout_s;      /* 0: the system's */
    const char *interface;   /* NULL: as it is routed */
    const char *bind;        /* dialling: the local address; NULL: as it is routed */
    union cdt_address local; /* the same, read */
};

extern const char *const cdt_tcp_keys[];

/* NULL, or what the value of this key should be. */
const char *cdt_tcp_option_check(const char *key, const char *value);
/* The parameters, which were checked, over the defaults. */
void cdt_tcp_options_read(struct cdt_tcp_options *ret, const struct cdt_params *params);
/* Set what holds for both directions on `fd`, before it connects or listens. */
void cdt_tcp_prepare(int fd, const struct cdt_tcp_options *options);

#endif
