/* SPDX-License-Identifier: ISC */
/*
 * What a configuration demands of its peer: which of it was said how, and whether it makes sense
 * together. Each engine keeps this as part of its credentials, fills it in as keys are set, and
 * asks here, so that both refuse the same in the same words.
 */
#ifndef CDT_TLS_DEMANDS_H
#define CDT_TLS_DEMANDS_H

#include "secure.h"
#include <stdbool.h>
#include <stddef.h>

/* The key `verify`. */
enum cdt_tls_verify {
    CDT_VERIFY_FULL,
    CDT_VERIFY_CHAIN,
    CDT_VERIFY_PIN,
    CDT_VERIFY_DANE,
    CDT_VERIFY_INSECURE,
};

/* The key `client_cert`. */
enum cdt_tls_demand { CDT_DEMAND_DEFAULT, CDT_DEMAND_NONE, CDT_DEMAND_ASK, CDT_DEMAND_REQUIRE };

/* All that counts, for one role. */
struct cdt_tls_demands {
    bool server;
    bool identity;      /* there is a certificate ... */
    bool waits_for_key; /* ... and the last has no key */
    bool no_version;    /* min and max leave none */
    bool anchors;       /* somebody's certificates are believed: ca, ca_system, ... */
    bool pins, tlsa;    /* there are some */
    bool crls, crl_chain;
    enum cdt_tls_verify verify;
    enum cdt_tls_demand clients; /* the most that client_cert says, for any name */
};

/* "full", ... */
const char *cdt_tls_verify_word(enum cdt_tls_verify verify);
/* An enum cdt_tls_verify; or a code and *reterr. */
int cdt_tls_parse_verify(const char *value, const conduit_error **reterr);
/* What is before the '@' of a `client_cert`, if it has one. Never CDT_DEMAND_DEFAULT, but a code and
 * *reterr. */
int cdt_tls_parse_demand(const char *value, const conduit_error **reterr);
/* The `value` of a `client_cert` is none. A code and *reterr. */
int cdt_tls_refuse_demand(const char *value, const conduit_error **reterr);

/* May a client be asked for a certificate, whatever name it asks for? */
bool cdt_tls_demands_clients(const struct cdt_tls_demands *demands);
/* 0, or a code and *reterr: something is missing, or takes back what something else says. */
int cdt_tls_check_demands(const struct cdt_tls_demands *demands, const conduit_error **reterr);

#endif
