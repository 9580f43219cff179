/* SPDX-License-Identifier: ISC */
/*
 * http-get: fetch a URI by HTTP/1.1, the body to standard output.
 *
 *     http-get https://example.org/           http-get 'http+unix://%2Frun%2Fapp.sock/status'
 *
 * An HTTP parser is fed from on_data, and nothing of the answer is kept: a body of any size passes
 * through. Writing to standard output may block, and then the peer waits, which is what it should
 * do: there is nobody else to serve. There is one struct get, as long as run().
 */
#include "options.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two generations of one parser: feed() returns NULL, or what is wrong with the bytes; end() is the
 * end of them. */
#ifdef USE_LLHTTP
#include <llhttp.h>
typedef llhttp_t parser;
typedef llhttp_settings_t parser_settings;

static void start(parser *p, const parser_settings *settings)
{
    llhttp_init(p, HTTP_RESPONSE, settings);
}

static const char *feed(parser *p, const parser_settings *settings, const char *data, size_t n)
{
    llhttp_errno_t wrong = llhttp_execute(p, data, n);
    return wrong == HPE_OK ? NULL : llhttp_errno_name(wrong);
}

static const char *end(parser *p, const parser_settings *settings)
{
    llhttp_errno_t wrong = llhttp_finish(p);
    return wrong == HPE_OK ? NULL : llhttp_errno_name(wrong);
}
#else
#include <http_parser.h>
typedef http_parser parser;
typedef http_parser_settings parser_settings;

static void start(parser *p, const parser_settings *settings)
{
    http_parser_init(p, HTTP_RESPONSE);
}

static const char *feed(parser *p, const parser_settings *settings, const char *data, size_t n)
{
    http_parser_execute(p, settings, data, n);
    enum http_errno wrong = HTTP_PARSER_ERRNO(p);
    return wrong == HPE_OK ? NULL : http_errno_name(wrong);
}

static const char *end(parser *p, const parser_settings *settings)
{
    return feed(p, settings, NULL, 0);
}
#endif

struct get {
    parser parser;
    char *request;
    unsigned status; /* of the final answer */
    bool done;       /* all of it is there */
    int code;
};

/* ---- the answer ---- */

static int on_body(parser *p, const char *data, size_t n)
{
    struct get *get = p->data;
    if (get->done || fwrite(data, 1, n, stdout) == n)
        return 0;
    fprintf(stderr, "http-get: standard output: %s\n", strerror(errno));
    get->code = 4;
    return -1;
}

static int on_complete(parser *p)
{
    struct get *get = p->data;
    if (get->done || (p->status_code < 200 && p->status_code != 101))
        return 0; /* "100 Continue" and its like come before the answer */
    get->status = p->status_code;
    get->done = true;
    return 0;
}

static const parser_settings settings = {.on_body = on_body, .on_message_complete = on_complete};

static void fail(conduit_conn *conn, struct get *get, const char *what, const char *why)
{
    if (get->code == 0)
        fprintf(stderr, "http-get: %s: %s\n", what, why);
    get->code = 4;
    conduit_abort(conn);
}

static void on_open(conduit_conn *conn, void *user)
{
    struct get *get = user;
    conduit_write(conn, get->request, strlen(get->request));
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct get *get = user;
    const char *wrong = feed(&get->parser, &settings, data, n);
    if (get->done)
        conduit_close(conn); /* what may follow is not for us */
    else if (wrong != NULL)
        fail(conn, get, "this is not HTTP", wrong);
}

/* Some bodies end where the stream does. Others are cut short by that, and the parser knows which.
 * */
static void on_end(conduit_conn *conn, void *user)
{
    struct get *get = user;
    const char *wrong = end(&get->parser, &settings);
    if (get->done)
        conduit_close(conn);
    else
        fail(conn, get, "the answer was cut short", wrong != NULL ? wrong : "no answer");
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct get *get = user;
    if (get->done) {
        if (get->status >= 200 && get->status < 300)
            return;
        fprintf(stderr, "http-get: status %u\n", get->status);
        get->code = get->code == 0 ? 1 : get->code;
    } else if (get->code == 0) {
        get->code = complain(why);
    }
}

/* ---- the request ---- */

static bool is_http(const char *scheme)
{
    size_t n = strcspn(scheme, "+");
    return (n == 4 && strncmp(scheme, "http", n) == 0) ||
           (n == 5 && strncmp(scheme, "https", n) == 0);
}

/* Why this URI is not for us, or NULL. */
static const char *objection(const conduit_uri *uri)
{
    if (!is_http(conduit_uri_scheme(uri)))
        return "not a URI of HTTP";
    if (*conduit_uri_userinfo(uri) != '\0')
        return "a user name in a URI is not supported";
    return NULL;
}

/* What the Host field says: an IPv6 address in brackets and without its zone (RFC 6874, section 4),
 * and for a socket's path, which has no host, the name it goes by. */
static char *host_field(const conduit_uri *uri, const char *name)
{
    const char *host = conduit_uri_host(uri);
    if (strchr(host, '/') != NULL)
        host = name != NULL ? name : "localhost";
    bool ipv6 = strchr(host, ':') != NULL;
    int port = conduit_uri_port(uri);
    char digits[16] = "";
    if (port >= 0)
        snprintf(digits, sizeof(digits), ":%d", port);
    char *field;
    int n = asprintf(&field, "%s%.*s%s%s", ipv6 ? "[" : "", (int)strcspn(host, "%"), host,
                     ipv6 ? "]" : "", digits);
    return n < 0 ? NULL : field;
}

static char *request_for(const conduit_uri *uri, const char *name)
{
    const char *path = conduit_uri_path(uri), *query = conduit_uri_query(uri);
    char *host = host_field(uri, name), *request;
    if (host == NULL)
        return NULL;
    int n = asprintf(&request,
                     "GET %s%s%s HTTP/1.1\r\n"
                     "Host: %s\r\n"
                     "User-Agent: http-get\r\n"
                     "Accept: */*\r\n"
                     "Connection: close\r\n\r\n",
                     *path != '\0' ? path : "/", *query != '\0' ? "?" : "", query, host);
    free(host);
    return n < 0 ? NULL : request;
}

/* 0 and get->request, or what to exit with. */
static int prepare(struct get *get, const struct options *options)
{
    const conduit_uri *uri;
    const conduit_error *error = NULL;
    if (conduit_uri_parse(options->uri, &uri, &error) < 0) {
        int code = complain(error);
        conduit_error_unref(error);
        return code;
    }
    const char *why = objection(uri);
    if (why == NULL && (get->request = request_for(uri, options->connect.name)) == NULL)
        why = "out of memory";
    conduit_uri_unref(uri);
    if (why == NULL)
        return 0;
    fprintf(stderr, "http-get: %s: %s\n", options->uri, why);
    return 2;
}

/* ---- running ---- */

static void fetch(conduit_ctx *ctx, struct get *get, const struct options *options)
{
    static const conduit_handler handler = {
        .on_open = on_open, .on_data = on_data, .on_end = on_end, .on_close = on_close};
    start(&get->parser, &settings);
    get->parser.data = get;
    if (conduit_connect(ctx, options->uri, &options->connect, &handler, get, NULL) < 0)
        get->code = complain(conduit_ctx_error(ctx));
    else
        conduit_run(ctx);
    if (fflush(stdout) != 0 && get->code == 0) {
        fprintf(stderr, "http-get: standard output: %s\n", strerror(errno));
        get->code = 4;
    }
}

static int run(const struct options *options)
{
    struct get get = {.code = 0};
    get.code = prepare(&get, options);
    conduit_ctx *ctx = get.code == 0 ? options_ctx(options, &get.code) : NULL;
    if (ctx != NULL)
        fetch(ctx, &get, options);
    conduit_ctx_free(ctx);
    free(get.request);
    return get.code;
}

int main(int argc, char **argv)
{
    /* clang-format off */
    static const char help[] =
        "usage: http-get [options] URI\n"
        "Fetch http:, https:, http+unix: or https+unix:, the body to standard output. Redirects\n"
        "are not followed. A status other than 2xx: the body is printed all the same, and 1.\n"
        OPTIONS_HELP;
    /* clang-format on */
    struct options options = {0};
    int code = options_read(&options, help, argc, argv);
    if (code < 0)
        code = run(&options);
    options_done(&options);
    return code;
}
