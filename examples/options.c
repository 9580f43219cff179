/* SPDX-License-Identifier: ISC */
/* The clients' command line: options.h says what for. */
#include "options.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int exit_code(const conduit_error *why)
{
    switch (conduit_error_code(why)) {
    case CONDUIT_ENONAME:
        return 1;
    case CONDUIT_EURI:
    case CONDUIT_EINVAL:
    case CONDUIT_ENOTSUP:
        return 2;
    case CONDUIT_ETLS:
    case CONDUIT_ETRUST:
    case CONDUIT_ETRUNCATED:
        return 5;
    default:
        break;
    }
    conduit_stage stage = conduit_error_stage(why);
    return stage == CONDUIT_STAGE_RESOLVE ? 3 : stage == CONDUIT_STAGE_TLS ? 5 : 4;
}

int complain(const conduit_error *why)
{
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, conduit_error_text(why));
    return exit_code(why);
}

static int set_tls(struct options *options, const char *key, const char *value)
{
    if (options->connect.tls == NULL)
        options->connect.tls = conduit_tls_new();
    const conduit_error *error = NULL;
    if (conduit_tls_set(options->connect.tls, key, value, &error) == 0)
        return -1;
    int code = complain(error);
    conduit_error_unref(error);
    return code;
}

static int misused(void)
{
    fprintf(stderr, "usage: %s [options] URI; --help says more\n", program_invocation_short_name);
    return 2;
}

/* "KEY=VALUE": any key of conduit_tls_set(). */
static int set_any_tls(struct options *options, char *setting)
{
    char *value = strchr(setting, '=');
    if (value == NULL)
        return misused();
    *value = '\0';
    int code = set_tls(options, setting, value + 1);
    *value = '=';
    return code;
}

static int keep_rule(struct options *options, bool file, char *value)
{
    if (options->n_rules == OPTIONS_RULES || (!file && strchr(value, '=') == NULL))
        return misused();
    options->rules[options->n_rules].file = file;
    options->rules[options->n_rules++].value = value;
    return -1;
}

/* `name` is that of the long option; those of TLS are called what their keys are called. */
static int read_option(struct options *options, int c, const char *name, const char *help)
{
    switch (c) {
    case 't':
        return set_tls(options, name, optarg);
    case 'k':
        return set_any_tls(options, optarg);
    case 'm':
        return set_tls(options, "min", optarg);
    case 'i':
        return set_tls(options, "verify", "insecure");
    case 'n':
        options->connect.name = optarg;
        return -1;
    case 'c':
        options->connect.connect_to = optarg;
        return -1;
    case 'r':
    case 'f':
        return keep_rule(options, c == 'f', optarg);
    case 's':
        options->ctx.dns_servers = optarg;
        return -1;
    case 'p':
        options->connect.via = optarg;
        return -1;
    case 'h':
        fputs(help, stdout);
        return 0;
    default:
        return c != '?' && options->read_more != NULL ? options->read_more(c, name) : misused();
    }
}

/* A broken pipe is an error and not the end; and of the descriptors 0 to 2 none is free, or the
 * first socket would be taken for standard input or output. */
static void prepare_descriptors(void)
{
    signal(SIGPIPE, SIG_IGN);
    int fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= 2)
        fd = open("/dev/null", O_RDONLY);
    close(fd);
}

enum { OWN_OPTIONS = 15, MORE_OPTIONS = 32 };

static const struct option own[OWN_OPTIONS] = {
    {"ca", required_argument, NULL, 't'},      {"cert", required_argument, NULL, 't'},
    {"key", required_argument, NULL, 't'},     {"alpn", required_argument, NULL, 't'},
    {"ciphers", required_argument, NULL, 't'}, {"tls-min", required_argument, NULL, 'm'},
    {"tls", required_argument, NULL, 'k'},     {"insecure", no_argument, NULL, 'i'},
    {"name", required_argument, NULL, 'n'},    {"connect-to", required_argument, NULL, 'c'},
    {"rule", required_argument, NULL, 'r'},    {"rules", required_argument, NULL, 'f'},
    {"server", required_argument, NULL, 's'},  {"via", required_argument, NULL, 'p'},
    {"help", no_argument, NULL, 'h'},
};

/* A program's own come behind: their letters are capital, or beyond those here. */
static void make_table(struct option table[OWN_OPTIONS + MORE_OPTIONS + 1],
                       const struct option *more)
{
    size_t n = OWN_OPTIONS;
    memcpy(table, own, sizeof(own));
    for (size_t i = 0; more != NULL && more[i].name != NULL && i < MORE_OPTIONS; i++)
        table[n++] = more[i];
    table[n] = (struct option){0};
}

int options_read(struct options *options, const char *help, int argc, char **argv)
{
    struct option table[OWN_OPTIONS + MORE_OPTIONS + 1];
    const char *letters = options->letters != NULL ? options->letters : "";
    int c, which = 0;
    prepare_descriptors();
    make_table(table, options->more);
    while ((c = getopt_long(argc, argv, letters, table, &which)) != -1) {
        int code = read_option(options, c, table[which].name, help);
        if (code >= 0)
            return code;
    }
    if (optind == argc || (optind < argc - 1 && !options->many))
        return misused();
    options->uris = argv + optind;
    options->n_uris = (size_t)(argc - optind);
    options->uri = options->uris[0];
    return -1;
}

/* "PATTERN=URI"; the pattern has no '='. */
static int add_rule(conduit_ctx *ctx, char *rule)
{
    char *target = strchr(rule, '=');
    *target = '\0';
    int code = conduit_ctx_add_rule(ctx, rule, target + 1);
    *target = '=';
    return code;
}

static bool add_rules(conduit_ctx *ctx, const struct options *options)
{
    for (size_t i = 0; i < options->n_rules; i++) {
        char *value = options->rules[i].value;
        int code =
            options->rules[i].file ? conduit_ctx_load_rules(ctx, value) : add_rule(ctx, value);
        if (code < 0)
            return false;
    }
    return true;
}

static void print_event(void *user, double at_ms, const char *event, const char *text)
{
    fprintf(stderr, "%s: %9.1f ms  %-9s %s\n", program_invocation_short_name, at_ms, event, text);
}

conduit_ctx *options_ctx(const struct options *options, int *code)
{
    conduit_ctx_options how = options->ctx;
    if (getenv("CONDUIT_DEBUG") != NULL)
        how.trace = print_event;
    conduit_ctx *ctx = conduit_ctx_new(&how);
    if (ctx != NULL && add_rules(ctx, options))
        return ctx;
    if (ctx != NULL) {
        complain(conduit_ctx_error(ctx));
        conduit_ctx_free(ctx);
        *code = 2;
        return NULL;
    }
    *code = errno == EINVAL ? 2 : 4;
    fprintf(stderr, "%s: %s\n", program_invocation_short_name,
            errno == EINVAL ? "--server wants ADDR[:PORT]" : strerror(errno));
    return NULL;
}

void options_done(struct options *options)
{
    conduit_tls_unref(options->connect.tls);
}
