/* SPDX-License-Identifier: ISC */
/*
 * What the tools know, as JSON for other programs. Each call returns a new reference, JSON null for
 * what there is none of, and NULL only when memory is short.
 */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H

#include <conduit/conduit.h>
#include <jansson.h>

/* How the tools write: one line, and no more digits of a millisecond than were measured. */
enum { JSON_STYLE = JSON_COMPACT | JSON_REAL_PRECISION(9) };

/* JSON is UTF-8, and a URI on a command line may be anything: bytes that JSON cannot say become
 * %XX. */
json_t *json_text(const char *text);
json_t *json_answer(const conduit_answer *answer);
json_t *json_failure(const conduit_error *error);
json_t *json_info(const conduit_info *info);

#endif
