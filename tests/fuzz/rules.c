/* SPDX-License-Identifier: ISC */
/*
 * Rules files: whatever is in one, it is taken whole or not at all, and a rule that was taken can
 * be followed. One context serves all inputs, for a loop each would be most of the work.
 */
#include "context.h"
#include "fuzz.h"
#include "host.h"
#include "target.h"
#include <conduit/conduit.h>
#include <string.h>

static const char kept[] = "kept.example";

static int read_rules(conduit_ctx *ctx, const uint8_t *data, size_t size,
                      const conduit_error **error)
{
    FILE *stream = fmemopen((void *)(uintptr_t)data, size, "r");
    FUZZ_CHECK(stream != NULL);
    int code = cdt_rules_read(ctx, stream, "rules", error);
    fclose(stream);
    return code;
}

/* A host that the rule is about finds it, or one that says more. */
static void check_found(conduit_ctx *ctx, const struct cdt_rule *rule)
{
    char host[2 * CDT_HOST_SIZE];
    const char *dot = rule->wild && *rule->host != '\0' ? "." : "";
    snprintf(host, sizeof(host), "%s%s%s", rule->wild ? "x" : "", dot, rule->host);
    const struct cdt_rule *found = cdt_rule_find(ctx, host);
    FUZZ_CHECK(found != NULL && strlen(found->host) >= strlen(rule->host));
    FUZZ_CHECK(rule->wild || found == rule);
}

/* Wherever it leads: to a place, or to an error with a text. */
static void check_followed(conduit_ctx *ctx, const char *uri)
{
    struct cdt_target target;
    const conduit_error *error = NULL;
    int code = cdt_target_make(ctx, &target, uri, false, NULL, &error);
    FUZZ_CHECK((code < 0) == (error != NULL));
    FUZZ_CHECK(code == 0 || *conduit_error_text(error) != '\0');
    conduit_error_unref(error);
    cdt_target_clear(&target);
}

static void check_refused(const conduit_error *error)
{
    FUZZ_CHECK(error != NULL);
    FUZZ_CHECK(strncmp(conduit_error_text(error), "uri: rules:", strlen("uri: rules:")) == 0);
    conduit_error_unref(error);
}

/* Each rule of the tree; returns how many there are. */
static size_t check_all(conduit_ctx *ctx, const struct cdt_rule *rule)
{
    if (rule == NULL)
        return 0;
    check_found(ctx, rule);
    return check_all(ctx, RB_LEFT(rule, node)) + 1 + check_all(ctx, RB_RIGHT(rule, node));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static conduit_ctx *ctx;
    const conduit_error *error = NULL;
    if (ctx == NULL)
        ctx = conduit_ctx_new(NULL);
    if (size == 0)
        return 0;
    FUZZ_CHECK(conduit_ctx_add_rule(ctx, kept, "tcp://192.0.2.1:1") == 0);
    int code = read_rules(ctx, data, size, &error);
    if (code < 0)
        check_refused(error);
    size_t n = check_all(ctx, RB_ROOT(&ctx->rules));
    FUZZ_CHECK(code == 0 ? n >= 1 : n == 1);
    check_followed(ctx, "http://a.internal/");
    check_followed(ctx, "tls://192.0.2.1:443");
    cdt_rules_clear(ctx);
    return 0;
}
