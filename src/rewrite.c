/* SPDX-License-Identifier: ISC */
/*
 * What rules do to a target: they move it.
 *
 *     *.example = tcp://{label}.internal, *.internal = unix:/run/{host}.sock; https://api.example/:
 *     api.example -> api.internal -> unix:/run/api.internal.sock
 *
 * The way is kept as the list of its steps, for the trace and to see that it does not turn back. It
 * ends at a place that no rule is about, at an address, and at a name that leads to itself.
 */
#include "context.h"
#include "error.h"
#include "host.h"
#include "rules.h"
#include "text.h"
#include "transport.h"
#include <conduit/memory.h>
#include <stdio.h>
#include <string.h>

enum { MOST_RULES = 8 };

/* ---- braces ---- */

/* In a URI an IPv6 address wears brackets where the host goes, and there only. */
static void put_host(FILE *to, const char *host, const char *target, const char *brace)
{
    bool authority = brace - target >= 2 && strncmp(brace - 2, "//", 2) == 0;
    bool brackets = authority && strchr(host, ':') != NULL;
    fprintf(to, brackets ? "[%s]" : "%s", host);
}

/* The `n` bytes that begin at `brace`: "{host}". False if they stand for nothing. */
static bool put_value(FILE *to, const struct cdt_rule_values *values, const char *target,
                      const char *brace, size_t n)
{
    if (n == strlen("{host}") && strncmp(brace, "{host}", n) == 0)
        put_host(to, values->host, target, brace);
    else if (n == strlen("{label}") && strncmp(brace, "{label}", n) == 0)
        fprintf(to, "%.*s", (int)strcspn(values->host, "."), values->host);
    else if (n == strlen("{port}") && strncmp(brace, "{port}", n) == 0)
        fprintf(to, "%u", values->port);
    else if (n == strlen("{scheme}") && strncmp(brace, "{scheme}", n) == 0)
        fputs(values->scheme, to);
    else
        return false;
    return true;
}

static bool put_all(FILE *to, const struct cdt_rule_values *values, const char *target)
{
    for (const char *at = target;;) {
        size_t plain = strcspn(at, "{}");
        fwrite(at, 1, plain, to);
        at += plain;
        if (*at == '\0')
            return true;
        const char *end = strchr(at, '}');
        size_t n = end != NULL ? (size_t)(end - at) + 1 : 0;
        if (n == 0 || !put_value(to, values, target, at, n))
            return false;
        at += n;
    }
}

/* No host that was read from a URI is like this; a rule that leads to a file does not rest on
 * it. */
static bool breaks_out(const char *host)
{
    return strchr(host, '/') != NULL || strstr(host, "..") != NULL || *host == '.' || *host == '\0';
}

int cdt_rule_expand(const struct cdt_rule *rule, const struct cdt_rule_values *values, char **ret,
                    const char **why)
{
    struct cdt_text text;
    *ret = NULL;
    if (strchr(rule->target, '{') != NULL && breaks_out(values->host)) {
        *why = "the host is not fit to be part of a target";
        return CONDUIT_EINVAL;
    }
    FILE *to = cdt_text_open(&text);
    bool known = to != NULL && put_all(to, values, rule->target);
    char *whole = cdt_text_close(&text);
    if (known && whole != NULL) {
        *ret = whole;
        return 0;
    }
    *why = whole != NULL ? "in braces go host, label, port and scheme, and nothing else"
                         : "out of memory";
    int code = whole != NULL ? CONDUIT_EINVAL : CONDUIT_ENOMEM;
    conduit_free(whole);
    return code;
}

/* ---- the way ---- */

struct way {
    conduit_ctx *ctx;
    struct cdt_target *target;
    char *steps[MOST_RULES + 1];
    size_t n;
    const conduit_error *error;
};

CONDUIT_PRINTF(3, 4)
static int fail(struct way *way, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    way->error = cdt_error_newv(code, CONDUIT_STAGE_URI, NULL, NULL, 0, format, args);
    va_end(args);
    return code;
}

/* "a -> b -> c", or NULL: out of memory. */
static char *print_way(const struct way *way)
{
    struct cdt_text text;
    FILE *to = cdt_text_open(&text);
    for (size_t i = 0; to != NULL && i < way->n; i++)
        fprintf(to, "%s%s", i > 0 ? " -> " : "", way->steps[i]);
    return cdt_text_close(&text);
}

static int fail_way(struct way *way, const char *what)
{
    char *text = print_way(way);
    fail(way, CONDUIT_EINVAL, "%s: %s", what, text != NULL ? text : "out of memory");
    conduit_free(text);
    return CONDUIT_EINVAL;
}

static int add_step(struct way *way, const char *text)
{
    way->steps[way->n] = conduit_strdup(text);
    if (way->steps[way->n] == NULL)
        return fail(way, CONDUIT_ENOMEM, "out of memory");
    way->n++;
    return 0;
}

static bool was_here(const struct way *way, const char *host)
{
    for (size_t i = 0; i < way->n; i++)
        if (strcmp(way->steps[i], host) == 0)
            return true;
    return false;
}

/* The key that rules are looked up by; false if this is no place they are about. */
static bool find_key(const struct cdt_target *target, char key[CDT_HOST_SIZE])
{
    return target->transport->form == CDT_FORM_HOST_PORT && cdt_host_key(target->host, key) &&
           *key != '\0' && strcmp(key, "*") != 0;
}

static int move(struct way *way, const struct cdt_rule *rule, const char *key, char **to)
{
    const struct cdt_rule_values values = {
        .host = key,
        .port = way->target->port,
        .scheme = conduit_uri_scheme(way->target->uri),
    };
    const char *why = "";
    const conduit_error *error = NULL;
    int code = cdt_rule_expand(rule, &values, to, &why);
    if (code < 0)
        return fail(way, code, "by rule %s -> %s: %s", key, rule->target, why);
    code = cdt_target_move(way->ctx, way->target, *to, &error);
    if (code < 0)
        fail(way, code, "by rule %s -> %s: %s", key, *to, cdt_rule_reason(error, *to));
    conduit_error_unref(error);
    return code;
}

/* Follow one rule from the host `key`, which becomes the host that it led to. 0: it was the last;
 * EAGAIN: go on. */
static int take_step(struct way *way, const struct cdt_rule *rule, char key[CDT_HOST_SIZE])
{
    char next[CDT_HOST_SIZE], *to;
    int code = move(way, rule, key, &to);
    bool named = code == 0 && find_key(way->target, next) && !cdt_host_is_address(next);
    if (code == 0 && named && strcmp(next, key) != 0) {
        bool again = was_here(way, next);
        code = add_step(way, next);
        if (code == 0)
            code = again ? fail_way(way, "rule loop") : CONDUIT_EAGAIN;
        memcpy(key, next, sizeof(next));
    } else if (code == 0) {
        code = add_step(way, to);
    }
    conduit_free(to);
    return code;
}

static int walk(struct way *way, const struct cdt_rule *rule, char key[CDT_HOST_SIZE])
{
    int code = add_step(way, key);
    if (code < 0)
        return code;
    while ((code = take_step(way, rule, key)) == CONDUIT_EAGAIN) {
        rule = cdt_rule_find(way->ctx, key);
        if (rule == NULL)
            return 0;
        if (way->n > MOST_RULES)
            return fail_way(way, "more than 8 rules in a row");
    }
    return code;
}

int cdt_rules_follow(conduit_ctx *ctx, struct cdt_target *target, const conduit_error **reterr)
{
    struct way way = {.ctx = ctx, .target = target};
    char key[CDT_HOST_SIZE];
    const struct cdt_rule *rule = find_key(target, key) ? cdt_rule_find(ctx, key) : NULL;
    if (rule == NULL)
        return 0;
    int code = walk(&way, rule, key);
    if (code == 0)
        target->rules = print_way(&way);
    for (size_t i = 0; i < way.n; i++)
        conduit_free(way.steps[i]);
    return way.error != NULL ? cdt_error_give(way.error, reterr) : code;
}
