/* SPDX-License-Identifier: ISC */
/*
 * Options, errors and exit codes of the programs: common.h says what for. Nothing here outlives
 * main() but what struct client holds, and client_free() lets go of that.
 */
#include "common.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void start_program(char **argv)
{
    argv[0] = program_invocation_short_name; /* how getopt_long() begins its complaints */
    signal(SIGPIPE, SIG_IGN);
    /* Or the first socket would be called 0, and be taken for standard input. Writing to a standard
     * output that was closed stays the error that it is: what stands in for it is read-only. */
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY) < 0)
            return;
}

int exit_code(const conduit_error *error)
{
    conduit_stage stage = conduit_error_stage(error);
    switch (conduit_error_code(error)) {
    case CONDUIT_OK:
        return CODE_OK;
    case CONDUIT_ENONAME:
        return CODE_NO_NAME;
    case CONDUIT_EURI:
    case CONDUIT_EINVAL:
    case CONDUIT_ENOTSUP: /* a proxy, too, may not support something */
        return stage == CONDUIT_STAGE_LAYER ? CODE_CONNECT : CODE_USAGE;
    case CONDUIT_ETLS:
    case CONDUIT_ETRUST:
    case CONDUIT_ETRUNCATED:
        return CODE_TLS;
    default:
        if (stage == CONDUIT_STAGE_TLS)
            return CODE_TLS;
        return stage == CONDUIT_STAGE_RESOLVE ? CODE_TEMPORARY : CODE_CONNECT;
    }
}

void put_clean(FILE *stream, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p >= ' ' && *p < 0x7f)
            putc(*p, stream);
        else
            fprintf(stream, "%%%02X", *p);
    }
}

int report(const conduit_error *error)
{
    fprintf(stderr, "%s: ", program_invocation_short_name);
    put_clean(stderr, conduit_error_text(error));
    putc('\n', stderr);
    size_t n = conduit_error_count(error);
    for (size_t i = 0; n > 1 && i < n; i++) {
        fputs("  ", stderr);
        put_clean(stderr, conduit_error_text(conduit_error_child(error, i)));
        putc('\n', stderr);
    }
    return exit_code(error);
}

int usage_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, args);
    fprintf(stderr, "; see %s --help\n", program_invocation_short_name);
    va_end(args);
    return CODE_USAGE;
}

int failure(const char *what, int number)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(number));
    return CODE_CONNECT;
}

int tell(const char *text)
{
    size_t n = strlen(text);
    fputs(text, stdout);
    if (n == 0 || text[n - 1] != '\n')
        putchar('\n');
    return CODE_OK;
}

static int out_of_memory(void)
{
    return failure("options", ENOMEM);
}

static int set_tls(struct client *client, const char *key, const char *value)
{
    if (client->connect.tls == NULL)
        client->connect.tls = conduit_tls_new();
    if (client->connect.tls == NULL)
        return out_of_memory();
    const conduit_error *error = NULL;
    if (conduit_tls_set(client->connect.tls, key, value, &error) == 0)
        return CODE_OK;
    int code = report(error);
    conduit_error_unref(error);
    return code;
}

/* "KEY=VALUE". */
static int set_any_tls(struct client *client, const char *setting)
{
    const char *value = strchr(setting, '=');
    if (value == NULL)
        return usage_error("--tls: \"%s\" is not KEY=VALUE", setting);
    char *key = strndup(setting, (size_t)(value - setting));
    if (key == NULL)
        return out_of_memory();
    int code = set_tls(client, key, value + 1);
    free(key);
    return code;
}

static int add_param(struct client *client, const char *param)
{
    const char *before = client->params != NULL ? client->params : "";
    char *list = NULL;
    if (asprintf(&list, "%s%s%s", before, *before != '\0' ? "&" : "", param) < 0)
        return out_of_memory();
    free(client->params);
    client->params = list;
    client->connect.endpoint_params = list;
    return CODE_OK;
}

/* One more in the list of servers, which wants an IPv6 address in brackets. */
static int add_server(struct client *client, const char *server)
{
    struct in6_addr address;
    bool bare = inet_pton(AF_INET6, server, &address) == 1;
    const char *before = client->servers != NULL ? client->servers : "";
    char *list = NULL;
    if (asprintf(&list, "%s%s%s%s%s", before, *before != '\0' ? "," : "", bare ? "[" : "", server,
                 bare ? "]" : "") < 0)
        return out_of_memory();
    free(client->servers);
    client->servers = list;
    client->ctx.dns_servers = list;
    return CODE_OK;
}

static int keep_rule(struct client *client, bool file, const char *value)
{
    if (!file && strchr(value, '=') == NULL)
        return usage_error("--rule: \"%s\" is not PATTERN=URI", value);
    struct client_rule *rules =
        reallocarray(client->rules, client->n_rules + 1, sizeof(client->rules[0]));
    if (rules == NULL)
        return out_of_memory();
    client->rules = rules;
    rules[client->n_rules++] = (struct client_rule){.file = file, .value = value};
    return CODE_OK;
}

static int set_timeout(struct client *client, const char *seconds)
{
    char *end;
    double s = strtod(seconds, &end);
    if (end == seconds || *end != '\0' || !isfinite(s) || s <= 0 || s > 1e6)
        return usage_error("--timeout: \"%s\" is not a number of seconds from 0 to 1000000",
                           seconds);
    /* Zero would be the default, so a tiny timeout is at least a millisecond. */
    uint32_t ms = s < 0.001 ? 1 : (uint32_t)(s * 1000);
    client->connect.timeout_ms = ms;
    client->connect.resolve_timeout_ms = ms;
    return CODE_OK;
}

int client_option(struct client *client, int c, const char *value)
{
    switch (c) {
    case OPT_CA:
        return set_tls(client, "ca", value);
    case OPT_CERT:
        return set_tls(client, "cert", value);
    case OPT_KEY:
        return set_tls(client, "key", value);
    case OPT_ALPN:
        return set_tls(client, "alpn", value);
    case OPT_TLS_MIN:
        return set_tls(client, "min", value);
    case OPT_CIPHERS:
        return set_tls(client, "ciphers", value);
    case OPT_TLS:
        return set_any_tls(client, value);
    case OPT_INSECURE:
        return set_tls(client, "verify", "insecure");
    case OPT_NAME:
        client->connect.name = value;
        return CODE_OK;
    case OPT_CONNECT_TO:
        client->connect.connect_to = value;
        return CODE_OK;
    case OPT_VIA:
        client->connect.via = value;
        return CODE_OK;
    case OPT_PARAM:
        return add_param(client, value);
    case OPT_RULE:
    case OPT_RULES:
        return keep_rule(client, c == OPT_RULES, value);
    case OPT_SERVER:
        return add_server(client, value);
    case OPT_TRUST_AD:
        client->ctx.dns_trust_ad = true;
        return CODE_OK;
    case OPT_SYSTEM:
        client->ctx.system_resolver = true;
        return CODE_OK;
    case OPT_TIMEOUT:
        return set_timeout(client, value);
    case '4':
    case '6':
        client->connect.family = c == '4' ? AF_INET : AF_INET6;
        return CODE_OK;
    default: /* getopt_long() has said what is wrong */
        fprintf(stderr, "see %s --help\n", program_invocation_short_name);
        return CODE_USAGE;
    }
}

static int add_rule(conduit_ctx *ctx, const struct client_rule *rule)
{
    if (rule->file)
        return conduit_ctx_load_rules(ctx, rule->value);
    const char *target = strchr(rule->value, '=') + 1;
    char *pattern = strndup(rule->value, (size_t)(target - rule->value) - 1);
    if (pattern == NULL)
        return CONDUIT_ENOMEM;
    int code = conduit_ctx_add_rule(ctx, pattern, target);
    free(pattern);
    return code;
}

/* The context, unless a rule is wrong. */
static conduit_ctx *with_rules(conduit_ctx *ctx, const struct client *client, int *code)
{
    for (size_t i = 0; i < client->n_rules; i++) {
        if (add_rule(ctx, &client->rules[i]) == 0)
            continue;
        *code = conduit_ctx_error(ctx) != NULL ? CODE_USAGE : out_of_memory();
        if (*code == CODE_USAGE)
            report(conduit_ctx_error(ctx));
        conduit_ctx_free(ctx);
        return NULL;
    }
    return ctx;
}

static void print_event(void *user, double at_ms, const char *event, const char *text)
{
    fprintf(stderr, "%s: %9.1f ms  %-9s ", program_invocation_short_name, at_ms, event);
    put_clean(stderr, text);
    putc('\n', stderr);
}

conduit_ctx *client_ctx(const struct client *client, int *code)
{
    conduit_ctx_options options = client->ctx;
    if (options.trace == NULL && getenv("CONDUIT_DEBUG") != NULL)
        options.trace = print_event;
    conduit_ctx *ctx = conduit_ctx_new(&options);
    if (ctx != NULL)
        return with_rules(ctx, client, code);
    if (errno == EINVAL && client->servers != NULL) {
        *code = usage_error("--server: \"%s\" is not ADDR[:PORT]", client->servers);
        return NULL;
    }
    *code = failure("cannot begin", errno);
    return NULL;
}

void client_free(struct client *client)
{
    conduit_tls_unref(client->connect.tls);
    free(client->params);
    free(client->servers);
    free(client->rules);
}
