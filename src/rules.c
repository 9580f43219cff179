/* SPDX-License-Identifier: ISC */
/*
 * The rules of a context: adding, reading, finding and removing them. rules.h says how they are
 * kept, rewrite.c what is done with one.
 *
 * A rule is checked when it is added, with a host that it would match, so that a mistake shows
 * where it was made. The tree links its rules without allocating: a file is read into a tree of its
 * own first, and joined with the context's when nothing can fail any more.
 */
#include "rules.h"
#include "context.h"
#include "error.h"
#include "host.h"
#include <conduit/memory.h>
#include <conduit/rules.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A URI has 8,192 bytes, and a pattern stands before it. */
enum { LINE_SIZE = 16384 };

static int compare(const struct cdt_rule *a, const struct cdt_rule *b)
{
    int order = strcmp(a->host, b->host);
    return order != 0 ? order : (int)a->wild - (int)b->wild;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
RB_GENERATE_STATIC(cdt_rule_tree, cdt_rule, node, compare)
#pragma GCC diagnostic pop

/* `text` behind `head`, if it begins so. */
static const char *skip(const char *text, const char *head)
{
    size_t n = strlen(head);
    return strncmp(text, head, n) == 0 ? text + n : text;
}

const char *cdt_rule_reason(const conduit_error *error, const char *place)
{
    const char *text = skip(conduit_error_text(error), "uri: ");
    const char *reason = skip(text, place);
    return reason != text ? skip(reason, ": ") : text;
}

/* ---- the tree ---- */

static void free_rule(struct cdt_rule *rule)
{
    if (rule == NULL)
        return;
    conduit_free(rule->host);
    conduit_free(rule->target);
    conduit_free(rule);
}

static struct cdt_rule *look_up(struct cdt_rule_tree *tree, const char *host, bool wild)
{
    union {
        const char *in;
        char *out;
    } key = {.in = host}; /* it is only compared with */
    struct cdt_rule like = {.host = key.out, .wild = wild};
    return RB_FIND(cdt_rule_tree, tree, &like);
}

static bool drop(struct cdt_rule_tree *tree, const char *host, bool wild)
{
    struct cdt_rule *rule = look_up(tree, host, wild);
    if (rule == NULL)
        return false;
    RB_REMOVE(cdt_rule_tree, tree, rule);
    free_rule(rule);
    return true;
}

/* Takes the rule over. */
static void put(struct cdt_rule_tree *tree, struct cdt_rule *rule)
{
    drop(tree, rule->host, rule->wild);
    RB_INSERT(cdt_rule_tree, tree, rule);
}

static void clear(struct cdt_rule_tree *tree)
{
    struct cdt_rule *rule;
    while ((rule = RB_ROOT(tree)) != NULL) {
        RB_REMOVE(cdt_rule_tree, tree, rule);
        free_rule(rule);
    }
}

static void join(struct cdt_rule_tree *tree, struct cdt_rule_tree *more)
{
    struct cdt_rule *rule;
    while ((rule = RB_ROOT(more)) != NULL) {
        RB_REMOVE(cdt_rule_tree, more, rule);
        put(tree, rule);
    }
}

void cdt_rules_clear(conduit_ctx *ctx)
{
    clear(&ctx->rules);
}

const struct cdt_rule *cdt_rule_find(conduit_ctx *ctx, const char *host)
{
    struct cdt_rule_tree *tree = &ctx->rules;
    struct cdt_rule *rule = look_up(tree, host, false);
    if (cdt_host_is_address(host))
        return rule != NULL ? rule : look_up(tree, "", true);
    for (const char *dot = strchr(host, '.'); rule == NULL && dot != NULL;
         dot = strchr(dot + 1, '.'))
        rule = look_up(tree, dot + 1, true);
    return rule != NULL ? rule : look_up(tree, "", true);
}

/* ---- reading one rule ---- */

/* 0, CONDUIT_EINVAL if `pattern` is none, or CONDUIT_ENOMEM. */
static int read_pattern(const char *pattern, char host[CDT_HOST_SIZE], bool *wild)
{
    *host = '\0';
    *wild = *pattern == '*';
    if (strcmp(pattern, "*") == 0)
        return 0;
    if (!*wild)
        return cdt_host_read(pattern, host);
    int code = pattern[1] == '.' ? cdt_host_read(pattern + 2, host) : CONDUIT_EINVAL;
    return code == 0 && cdt_host_is_address(host) ? CONDUIT_EINVAL : code;
}

/* `where` is what the text begins with: the pattern, or file and line. */
CONDUIT_PRINTF(4, 5)
static int refuse(int code, const char *where, const conduit_error **reterr, const char *format,
                  ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return cdt_error_give(
        cdt_error_new(code, CONDUIT_STAGE_URI, NULL, NULL, 0, "%s: %s", where, text), reterr);
}

/* Would the rule lead anywhere? */
static int check_target(conduit_ctx *ctx, const struct cdt_rule *rule, const char *where,
                        const conduit_error **reterr)
{
    char host[CDT_HOST_SIZE + 2];
    snprintf(host, sizeof(host), "%s%s%s", rule->wild ? "x" : "",
             rule->wild && *rule->host != '\0' ? "." : "", rule->host);
    const struct cdt_rule_values values = {.host = host, .port = 80, .scheme = "http"};
    const char *why = "";
    const conduit_error *error = NULL;
    char *text;
    int code = cdt_rule_expand(rule, &values, &text, &why);
    if (code < 0)
        return refuse(code, where, reterr, "%s: %s", rule->target, why);
    code = cdt_target_check_place(ctx, text, &error);
    if (code < 0)
        refuse(code, where, reterr, "%s: %s", rule->target, cdt_rule_reason(error, text));
    conduit_error_unref(error);
    conduit_free(text);
    return code;
}

static int make_rule(conduit_ctx *ctx, const char *pattern, const char *target, const char *where,
                     struct cdt_rule **ret, const conduit_error **reterr)
{
    char host[CDT_HOST_SIZE];
    bool wild;
    int code = read_pattern(pattern, host, &wild);
    if (code == CONDUIT_ENOMEM)
        return cdt_error_no_memory(reterr);
    if (code < 0)
        return refuse(CONDUIT_EINVAL, where, reterr,
                      "\"%.80s\" is no pattern: that is a host, *.DOMAIN or *", pattern);
    struct cdt_rule *rule = conduit_calloc(1, sizeof(*rule));
    if (rule == NULL)
        return cdt_error_no_memory(reterr);
    rule->wild = wild;
    rule->host = conduit_strdup(host);
    rule->target = conduit_strdup(target);
    code = rule->host != NULL && rule->target != NULL ? check_target(ctx, rule, where, reterr)
                                                      : cdt_error_no_memory(reterr);
    if (code == 0)
        *ret = rule;
    else
        free_rule(rule);
    return code;
}

int conduit_ctx_add_rule(conduit_ctx *ctx, const char *pattern, const char *target)
{
    char where[128];
    const conduit_error *error = NULL;
    struct cdt_rule *rule = NULL;
    snprintf(where, sizeof(where), "rule for \"%.80s\"", pattern);
    if (make_rule(ctx, pattern, target, where, &rule, &error) < 0)
        return cdt_ctx_fail(ctx, error);
    put(&ctx->rules, rule);
    return 0;
}

int conduit_ctx_remove_rule(conduit_ctx *ctx, const char *pattern)
{
    char host[CDT_HOST_SIZE];
    bool wild;
    if (read_pattern(pattern, host, &wild) < 0 || !drop(&ctx->rules, host, wild))
        return cdt_ctx_refuse(ctx, CONDUIT_ENONAME, "there is no rule of this pattern");
    return 0;
}

/* ---- reading a file of them ---- */

/* `text` without the blanks around it. */
static char *trim(char *text)
{
    static const char blanks[] = " \t\r\n";
    text += strspn(text, blanks);
    size_t n = strlen(text);
    while (n > 0 && strchr(blanks, text[n - 1]) != NULL)
        n--;
    text[n] = '\0';
    return text;
}

static void cut_comment(char *line)
{
    for (char *c = line; *c != '\0'; c++)
        if (*c == '#' && (c == line || c[-1] == ' ' || c[-1] == '\t')) {
            *c = '\0';
            return;
        }
}

static int read_line(conduit_ctx *ctx, char *line, const char *where, struct cdt_rule_tree *tree,
                     const conduit_error **reterr)
{
    cut_comment(line);
    char *pattern = trim(line), *target = strchr(pattern, '=');
    if (*pattern == '\0')
        return 0;
    if (target == NULL)
        return refuse(CONDUIT_EINVAL, where, reterr, "a rule is written PATTERN = TARGET");
    *target++ = '\0';
    struct cdt_rule *rule = NULL;
    int code = make_rule(ctx, trim(pattern), trim(target), where, &rule, reterr);
    if (code == 0)
        put(tree, rule);
    return code;
}

/* The next line, of `*n` bytes; LINE_SIZE if there is no end to it. False: there is none. */
static bool next_line(FILE *stream, char line[LINE_SIZE], size_t *n)
{
    int c = '\n';
    *n = 0;
    while (*n < LINE_SIZE && (c = getc(stream)) != EOF && c != '\n')
        line[(*n)++] = (char)c;
    if (*n < LINE_SIZE)
        line[*n] = '\0';
    return c != EOF || *n > 0;
}

static int read_lines(conduit_ctx *ctx, FILE *stream, const char *file, struct cdt_rule_tree *tree,
                      const conduit_error **reterr)
{
    char where[256], line[LINE_SIZE];
    size_t n;
    int code = 0;
    for (unsigned long number = 1; code == 0 && next_line(stream, line, &n); number++) {
        snprintf(where, sizeof(where), "%.200s:%lu", file, number);
        if (n == LINE_SIZE)
            code = refuse(CONDUIT_EINVAL, where, reterr, "the line is too long");
        else if (strlen(line) != n)
            code = refuse(CONDUIT_EINVAL, where, reterr, "the line holds a NUL");
        else
            code = read_line(ctx, line, where, tree, reterr);
    }
    return code;
}

static int fail_file(const char *file, const char *call, int number, const conduit_error **reterr)
{
    bool none = number == ENOENT || number == ENOTDIR || number == EISDIR;
    int code = none ? CONDUIT_EINVAL : cdt_code_from_errno(number);
    return cdt_error_give(cdt_error_new(code, CONDUIT_STAGE_URI, NULL, "errno", number,
                                        "%s: %s: %s", file, call, strerror(number)),
                          reterr);
}

int cdt_rules_read(conduit_ctx *ctx, FILE *stream, const char *file, const conduit_error **reterr)
{
    struct cdt_rule_tree tree = RB_INITIALIZER(&tree);
    int code = read_lines(ctx, stream, file, &tree, reterr);
    if (code == 0 && ferror(stream))
        code = fail_file(file, "read", errno, reterr);
    if (code == 0)
        join(&ctx->rules, &tree);
    clear(&tree);
    return code;
}

int conduit_ctx_load_rules(conduit_ctx *ctx, const char *file)
{
    const conduit_error *error = NULL;
    FILE *stream = fopen(file, "re");
    if (stream == NULL) {
        fail_file(file, "open", errno, &error);
        return cdt_ctx_fail(ctx, error);
    }
    int code = cdt_rules_read(ctx, stream, file, &error);
    fclose(stream);
    return code < 0 ? cdt_ctx_fail(ctx, error) : 0;
}
