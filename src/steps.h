/* SPDX-License-Identifier: ISC */
/*
 * Who is meant by a parameter.
 *
 * A query belongs to all of a stack: "name" is for every layer that knows such a key, and "name.2"
 * for the second of them only, counted from the top. That is how a stack with TLS to a proxy and
 * TLS through it has two names, and a chain of proxies two places to lead on to.
 */
#ifndef CDT_STEPS_H
#define CDT_STEPS_H

#include "target.h"

/* Does a layer or the transport of `target` know the key as it was written ("name", "name.2")? */
bool cdt_steps_know(const struct cdt_target *target, const char *key);
/* May a query have `key`, as it was written, more than once? */
bool cdt_steps_repeatable(const struct cdt_target *target, const char *key);
/* Is parameter `param` of the query for layer `i`? Then *key is its name there, as in the table of
 * the layer's kind. */
bool cdt_steps_mean(const struct cdt_target *target, size_t i, const struct cdt_param *param,
                    const char **key);
/* The first value of `key` that is meant for layer `i`, or NULL. */
const char *cdt_steps_get(const struct cdt_target *target, size_t i, const char *key);

/* The same seen from an endpoint: how many layers of `top` know `key` down to and with `e`? */
unsigned cdt_steps_ordinal(const conduit_endpoint *top, const conduit_endpoint *e, const char *key);
/* Whom TLS over `below` proves if nobody says otherwise: the place that a proxy leads on to, or the
 * address. `host` is a buffer for it. */
const char *cdt_steps_default_name(const conduit_endpoint *below, char host[CDT_HOST_SIZE]);

/* Split "host:port" or "[address]:port". False if it is neither, or too long. */
bool cdt_place_split(const char *place, char host[CDT_HOST_SIZE], uint16_t *port);

#endif
