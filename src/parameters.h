/* SPDX-License-Identifier: ISC */
/*
 * The parameters of a target: key=value of an endpoint URI's query, and what a program adds for the
 * transport (endpoint_params). All are in target->params, checked as far as they are the
 * transport's: each key is one that somebody in the stack knows, and stands there once. Whose it is
 * in a stack of several layers is the affair of steps.h, what becomes of it that of settle.h.
 */
#ifndef CDT_PARAMETERS_H
#define CDT_PARAMETERS_H

#include "target.h"

/* Read the query of target->uri, once its stack is known: a key may add a layer to it. 0, or a
 * negative code and *reterr. */
int cdt_parameters_read(struct cdt_target *target, bool listening, const conduit_error **reterr);
/* Add "a=1&b=2", the caller's for transports. What the URI says counts more. */
int cdt_parameters_add(struct cdt_target *target, const char *text, const conduit_error **reterr);
/* Add one of them. A rule or a resolver may lead to another transport than the caller thought of:
 * what is for others is kept for them, and may come to nothing. */
int cdt_parameters_take(struct cdt_target *target, const struct cdt_param *param,
                        const conduit_error **reterr);

/* What is wrong with a value, if the key is the transport's own; or NULL. */
const char *cdt_parameters_complaint(const struct cdt_transport *transport,
                                     const struct cdt_param *param);
/* Does the key say which records to look for? */
bool cdt_parameters_of_records(const char *key);

#endif
