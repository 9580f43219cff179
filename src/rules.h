/* SPDX-License-Identifier: ISC */
/*
 * The rules of a context: conduit/rules.h says what they mean.
 *
 * They are kept in a tree by host, a wildcard being the host it stands over ("*.internal" is
 * internal, "*" is ""). To match a host is to look for it, and then for a wildcard at what is left
 * behind each of its dots: as many look-ups as it has labels, and none of them copies anything.
 */
#ifndef CDT_RULES_H
#define CDT_RULES_H

#include "target.h"
#include <stdio.h>
#include <uv/tree.h>

struct cdt_rule {
    RB_ENTRY(cdt_rule) node;
    char *host; /* a key of host.h */
    bool wild;
    char *target;
};

RB_HEAD(cdt_rule_tree, cdt_rule);

/* What stands in braces. */
struct cdt_rule_values {
    const char *host; /* a key of host.h */
    uint16_t port;
    const char *scheme;
};

/* The rule for `host`, a key, or NULL. It lives until it is replaced or removed. */
const struct cdt_rule *cdt_rule_find(conduit_ctx *ctx, const char *host);
/* The rule's target for these values. 0 and *ret, which the caller frees; or *why (a constant) and
 * CONDUIT_EINVAL (a value does not fit there) or CONDUIT_ENOMEM. */
int cdt_rule_expand(const struct cdt_rule *rule, const struct cdt_rule_values *values, char **ret,
                    const char **why);
/* Move `target` to where the rules lead, if they do, and write down the way in target->rules. 0, or
 * a negative code and *reterr, whose text is without the URI. */
int cdt_rules_follow(conduit_ctx *ctx, struct cdt_target *target, const conduit_error **reterr);
/* The text of an error of the stage uri, without the stage and without `place` before it. */
const char *cdt_rule_reason(const conduit_error *error, const char *place);
/* Add the rules of a file that is open, all or none; `file` is its name for the error. 0, or a
 * negative code and *reterr. */
int cdt_rules_read(conduit_ctx *ctx, FILE *stream, const char *file, const conduit_error **reterr);
/* Forget them all: for the end of a context. */
void cdt_rules_clear(conduit_ctx *ctx);

#endif
