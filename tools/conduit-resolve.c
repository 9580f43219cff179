/* SPDX-License-Identifier: ISC */
/*
 * conduit-resolve: where does a URI lead, and does somebody answer there?
 *
 * One URI after the other, on one context, so that a later one finds what an earlier one has put
 * into the cache. For each: resolve, print the endpoints, and with --connect run the race as well.
 * With --json everything is collected and printed at the end, as one object.
 */
#include "common.h"
#include "json.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPT_JSON = OPT_FIRST_OWN, OPT_TRACE, OPT_CONNECT, OPT_PARSE_ONLY };

/* Somebody who only wants to know does not wait long for the peer's goodbye. */
enum { GOODBYE_MS = 500 };

/* The longest URI there is, and a byte to see that a line is longer. */
enum { LINE_MAX_BYTES = 8192 };

/* clang-format off */
static const char help[] =
    "usage: conduit-resolve [options] URI...\n"
    "       conduit-resolve --parse-only < URIs\n"
    "Print the endpoints that each URI leads to, in the order in which they would be tried.\n"
    "  --json                 print one JSON object\n"
    "  --trace                tell every step, with milliseconds, on standard error\n"
    "  --connect              connect too, and print who won and what was agreed on\n"
    "  --parse-only           look nothing up; read a URI a line, print OK and its scheme,\n"
    "                         host and port, or ERR and the reason, separated by tabs\n"
    CLIENT_HELP
    CODES_HELP
    "With several URIs it is the highest of theirs.\n";
/* clang-format on */

static const struct option options[] = {
    CLIENT_OPTIONS,
    {"json", no_argument, NULL, OPT_JSON},
    {"trace", no_argument, NULL, OPT_TRACE},
    {"connect", no_argument, NULL, OPT_CONNECT},
    {"parse-only", no_argument, NULL, OPT_PARSE_ONLY},
    {0},
};

struct settings {
    struct client client;
    bool json, connect, parse_only;
    bool colours; /* of the trace */
};

/* What has been found out about one URI. */
struct lookup {
    const struct settings *settings;
    json_t *endpoints;  /* with --json */
    json_t *connection; /* with --json and --connect; NULL if there was none */
    bool opened;
    const conduit_error *error; /* a reference */
};

/* Only people look at colours, and only those who want them (no-color.org). */
static bool wants_colours(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDERR_FILENO) && (no == NULL || *no == '\0') && term != NULL &&
           strcmp(term, "dumb") != 0;
}

static const char *colour_of(const char *event)
{
    if (strcmp(event, "failed") == 0 || strcmp(event, "lost") == 0)
        return "\033[31m"; /* red */
    return strcmp(event, "won") == 0 ? "\033[32m" /* green */ : "\033[1m" /* bold */;
}

static void print_trace(void *user, double at_ms, const char *event, const char *text)
{
    const struct settings *settings = user;
    fprintf(stderr, "%9.3f ms  %s%-8s%s  ", at_ms, settings->colours ? colour_of(event) : "", event,
            settings->colours ? "\033[m" : "");
    put_clean(stderr, text);
    putc('\n', stderr);
}

/* ---- one URI ---- */

static void on_resolved(conduit_resolution *resolution, const conduit_answer *answers, size_t n,
                        const conduit_error *why, void *user)
{
    struct lookup *lookup = user;
    lookup->error = conduit_error_ref(why);
    for (size_t i = 0; i < n; i++) {
        if (lookup->settings->json)
            json_array_append_new(lookup->endpoints, json_answer(&answers[i]));
        else
            printf("%s\n", conduit_endpoint_uri(answers[i].endpoint));
    }
}

static void print_word(const char *label, const char *word)
{
    printf(" %s ", label);
    put_clean(stdout, word != NULL && *word != '\0' ? word : "-");
}

static void print_connection(const conduit_info *info)
{
    static const conduit_tls_info none;
    const conduit_tls_info *tls = info->tls != NULL ? info->tls : &none;
    printf("connected %s", info->endpoint);
    print_word("peer", info->peer);
    print_word("local", info->local);
    print_word("tls", tls->version);
    print_word("alpn", tls->alpn);
    print_word("name", tls->name);
    printf(" resolve %.3f open %.3f\n", info->resolve_ms, info->open_ms);
}

static void on_open(conduit_conn *conn, void *user)
{
    struct lookup *lookup = user;
    lookup->opened = true;
    if (lookup->settings->json)
        lookup->connection = json_info(conduit_conn_info(conn));
    else if (conduit_conn_info(conn) != NULL) /* memory may be short */
        print_connection(conduit_conn_info(conn));
    conduit_close(conn);
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct lookup *lookup = user;
    if (!lookup->opened)
        lookup->error = conduit_error_ref(why);
}

/* A start call that failed has left its story with the context. */
static void run(conduit_ctx *ctx, struct lookup *lookup, int started)
{
    if (started < 0)
        lookup->error = conduit_error_ref(conduit_ctx_error(ctx));
    else
        conduit_run(ctx);
}

static json_t *json_result(const char *uri, struct lookup *lookup)
{
    json_t *error = json_failure(lookup->error);
    json_t *result = json_pack("{s:o, s:o, s:o}", "uri", json_text(uri), "endpoints",
                               lookup->endpoints, "error", error);
    if (lookup->settings->connect)
        json_object_set_new(result, "connect",
                            lookup->connection != NULL ? lookup->connection : json_null());
    return result;
}

/* Returns the exit code of this one. `results` is NULL without --json. */
static int look_up(conduit_ctx *ctx, const struct settings *settings, const char *uri,
                   json_t *results)
{
    static const conduit_handler handler = {.on_open = on_open, .on_close = on_close};
    const conduit_connect_options *how = &settings->client.connect;
    struct lookup lookup = {.settings = settings,
                            .endpoints = results != NULL ? json_array() : NULL};
    run(ctx, &lookup, conduit_resolve(ctx, uri, how, on_resolved, &lookup, NULL));
    if (settings->connect && lookup.error == NULL)
        run(ctx, &lookup, conduit_connect(ctx, uri, how, &handler, &lookup, NULL));
    if (results != NULL)
        json_array_append_new(results, json_result(uri, &lookup));
    int code = lookup.error != NULL ? report(lookup.error) : CODE_OK;
    conduit_error_unref(lookup.error);
    return code;
}

static int print_json(json_t *results)
{
    json_t *all = json_pack("{s:i, s:o}", "schema", 1, "results", results);
    int failed = all != NULL ? json_dumpf(all, stdout, JSON_STYLE) : -1;
    putchar('\n');
    json_decref(all);
    return failed < 0 ? failure("JSON", ENOMEM) : CODE_OK;
}

static int look_all_up(const struct settings *settings, int n, char **uris)
{
    int code = CODE_OK;
    conduit_ctx *ctx = client_ctx(&settings->client, &code);
    if (ctx == NULL)
        return code;
    json_t *results = settings->json ? json_array() : NULL;
    for (int i = 0; i < n; i++) {
        int this = look_up(ctx, settings, uris[i], results);
        code = this > code ? this : code;
    }
    if (results != NULL) {
        int this = print_json(results);
        code = this > code ? this : code;
    }
    conduit_ctx_free(ctx);
    return code;
}

/* ---- --parse-only ---- */

/* Reads a line into `line` without its end, and all of it from the stream. Returns its length, of
 * which only LINE_MAX_BYTES are kept, or -1 at the end. */
static long read_line(FILE *stream, char line[LINE_MAX_BYTES + 1])
{
    long n = 0;
    int c = getc_unlocked(stream);
    if (c == EOF)
        return -1;
    for (; c != EOF && c != '\n'; c = getc_unlocked(stream)) {
        if (n < LINE_MAX_BYTES)
            line[n] = (char)c;
        n++;
    }
    line[n < LINE_MAX_BYTES ? n : LINE_MAX_BYTES] = '\0';
    return n;
}

static bool refuse(const char *reason)
{
    fputs("ERR\t", stdout);
    put_clean(stdout, reason);
    putchar('\n');
    return false;
}

static bool parse_line(const char *line, long n)
{
    if (n > LINE_MAX_BYTES)
        return refuse("longer than 8,192 bytes");
    if (memchr(line, '\0', (size_t)n) != NULL)
        return refuse("holds a NUL byte");
    const conduit_uri *uri;
    const conduit_error *error = NULL;
    if (conduit_uri_parse(line, &uri, &error) < 0) {
        refuse(conduit_error_text(error));
        conduit_error_unref(error);
        return false;
    }
    printf("OK\t%s\t", conduit_uri_scheme(uri));
    put_clean(stdout, conduit_uri_host(uri));
    if (conduit_uri_port(uri) >= 0)
        printf("\t%d\n", conduit_uri_port(uri));
    else
        puts("\t");
    conduit_uri_unref(uri);
    return true;
}

static int parse_only(void)
{
    static char line[LINE_MAX_BYTES + 1];
    int code = CODE_OK;
    for (long n = read_line(stdin, line); n >= 0; n = read_line(stdin, line))
        if (!parse_line(line, n))
            code = CODE_USAGE;
    return ferror(stdin) ? failure("standard input", errno) : code;
}

/* ---- the command line ---- */

static int read_option(struct settings *settings, int c)
{
    switch (c) {
    case OPT_JSON:
        settings->json = true;
        return CODE_OK;
    case OPT_TRACE:
        settings->client.ctx.trace = print_trace;
        settings->client.ctx.trace_user = settings;
        settings->colours = wants_colours();
        return CODE_OK;
    case OPT_CONNECT:
        settings->connect = true;
        return CODE_OK;
    case OPT_PARSE_ONLY:
        settings->parse_only = true;
        return CODE_OK;
    default:
        return client_option(&settings->client, c, optarg);
    }
}

static int run_program(struct settings *settings, int argc, char **argv)
{
    int c;
    while ((c = getopt_long(argc, argv, "46", options, NULL)) != -1) {
        if (c == OPT_HELP)
            return tell(help);
        if (c == OPT_VERSION)
            return tell(conduit_version());
        int code = read_option(settings, c);
        if (code != CODE_OK)
            return code;
    }
    if (settings->parse_only)
        return optind == argc ? parse_only()
                              : usage_error("--parse-only reads URIs from standard input");
    if (optind == argc)
        return usage_error("no URI given");
    return look_all_up(settings, argc - optind, argv + optind);
}

int main(int argc, char **argv)
{
    start_program(argv);
    struct settings settings = {.client.connect.conn.close_timeout_ms = GOODBYE_MS};
    int code = run_program(&settings, argc, argv);
    client_free(&settings.client);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code < CODE_CONNECT)
        code = failure("standard output", errno);
    return code;
}
