/* SPDX-License-Identifier: ISC */
/*
 * http: fetch URIs over HTTP/1.1 and HTTP/2, over whatever transport they name.
 *
 *     http https://example.org/                     http -o page 'http+unix://%2Frun%2Fapp.sock/'
 *     http --parallel 8 --output-dir . URI...       http --repeat 10000 --parallel 50 --discard URI
 *
 * A job is one URI to fetch, redirects included; `parallel` of them are under way at a time. The
 * client below keeps connections, and puts requests to one HTTP/2 server on one of them.
 */
#include "../options.h"
#include "client.h"
#include "progress.h"
#include "redirect.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    struct options options;
    const char *method, *text, *file, *output, *folder;
    struct http_head fields;
    bool discard, include, verbose, old;
    long redirects, parallel, repeat, connections;
    /* what is going on */
    struct http_client *client;
    conduit_ctx *ctx;
    size_t n_begun, n_running, n_ok, n_failed;
    uint64_t bytes;
    int code;
} me = {.redirects = 10, .parallel = 1, .repeat = 1};

struct job {
    char *uri, *location;
    const char *method;
    bool bodiless; /* a redirect has turned it into a GET */
    bool private;  /* the fields that are for the first origin alone may go along */
    long redirects;
    FILE *out;
    int status;
    uint64_t got, total;
    double began_ms, head_ms;
    struct progress progress;
    bool broken; /* there is nowhere to put the body */
};

static const char help[] =
    "usage: http [options] URI...\n"
    "Fetch http:, https:, h2c:, http+unix:, http+vchan: and the like; bodies go to standard "
    "output.\n"
    "  -I, --head             only ask how it is, and print that\n"
    "  -X, --method METHOD    -H, --header 'NAME: VALUE' (repeatable)\n"
    "  -d, --data TEXT        send this; -T, --body FILE: that, - is standard input (both POST)\n"
    "  -o, --output FILE      --output-dir DIR: a file for each URI, called as its path ends\n"
    "  --discard              throw bodies away, and say how many and how fast\n"
    "  --include              print the heads of answers before bodies\n"
    "  -v, --verbose          tell the story, with times\n"
    "  --max-redirects N      0 to 50 (10); never from TLS to cleartext\n"
    "  --parallel N           requests under way at a time, with one of the three above (1)\n"
    "  --connections N        ... over that many connections to each origin, at most (6)\n"
    "  --repeat N             all of it so many times\n"
    "  --http1.1              not HTTP/2, which is spoken where a server offers it\n"
    "A status other than 2xx: 1, and the body is printed all the same.\n" OPTIONS_HELP;

static void begin_jobs(void);

static void note_code(int code)
{
    if (code > me.code)
        me.code = code;
}

/* ---- where bodies go ---- */

static bool give_up_output(struct job *job, const char *where)
{
    fprintf(stderr, "http: %s: %s\n", where, strerror(errno));
    note_code(4);
    job->broken = true;
    return false;
}

/* "dir/name": the last step of the path, as it is written there. */
static char *name_in_folder(const char *uri)
{
    const conduit_uri *parsed;
    char *name = NULL;
    if (conduit_uri_parse(uri, &parsed, NULL) < 0)
        return NULL;
    const char *slash = strrchr(conduit_uri_path(parsed), '/');
    const char *last = slash != NULL ? slash + 1 : "";
    if (*last == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
        last = "index.html";
    if (asprintf(&name, "%s/%s", me.folder, last) < 0)
        name = NULL;
    conduit_uri_unref(parsed);
    return name;
}

static bool open_output(struct job *job)
{
    if (job->out != NULL || me.discard)
        return true;
    char *in_folder = me.folder != NULL ? name_in_folder(job->uri) : NULL;
    const char *name = in_folder != NULL ? in_folder : me.output;
    job->out = name != NULL ? fopen(name, "we") : stdout;
    bool opened = job->out != NULL || give_up_output(job, name);
    free(in_folder);
    return opened;
}

static void close_output(struct job *job)
{
    FILE *out = job->out;
    job->out = NULL;
    if (out != NULL && (out == stdout ? fflush(out) : fclose(out)) != 0 && !job->broken)
        give_up_output(job, "output");
}

/* ---- the story ---- */

static void print_event(void *user, double at_ms, const char *event, const char *text)
{
    fprintf(stderr, "* %9.1f ms  %-9s %s\n", at_ms, event, text);
}

static void print_head(FILE *to, const char *mark, const char *version,
                       const struct http_head *head)
{
    fprintf(to, "%s%s %d %s\n", mark, version, head->status, http_reason(head->status));
    for (unsigned i = 0; i < head->n_fields; i++)
        fprintf(to, "%s%s: %s\n", mark, http_head_name(head, i), http_head_value(head, i));
    fprintf(to, "%s\n", mark);
}

static void tell_connection(conduit_conn *conn)
{
    const conduit_info *info = conduit_conn_info(conn);
    if (info == NULL)
        return;
    fprintf(stderr, "* %s over %s%s: resolve %.1f ms, dial %.1f ms, handshake %.1f ms\n",
            info->peer, info->stack, conduit_conn_reused(conn) ? ", used before" : "",
            info->resolve_ms, info->dial_ms, info->handshake_ms);
    if (info->tls != NULL)
        fprintf(stderr, "* %s %s, ALPN %s, proved \"%s\" (%s)\n", info->tls->version,
                info->tls->cipher, info->tls->alpn, info->tls->name, info->tls->verify);
}

static void tell_end(const struct job *job)
{
    fprintf(stderr, "* %llu bytes; answer after %.1f ms, all of it after %.1f ms\n",
            (unsigned long long)job->got, job->head_ms - job->began_ms,
            http_now_ms() - job->began_ms);
}

/* ---- one answer ---- */

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool on_head(struct http_call *call, const struct http_head *head, void *user)
{
    struct job *job = user;
    const char *location = http_head_find(head, "location");
    const char *length = http_head_find(head, "content-length");
    job->status = head->status;
    job->head_ms = http_now_ms();
    job->total = length != NULL ? strtoull(length, NULL, 10) : 0;
    if (me.verbose) {
        tell_connection(http_call_conn(call));
        print_head(stderr, "< ", http_call_version(call), head);
    }
    if (is_redirect(head->status) && location != NULL && me.redirects > 0) {
        job->location = strdup(location);
        return true;
    }
    if (!open_output(job))
        return false;
    if ((me.include || strcmp(job->method, "HEAD") == 0) && job->out != NULL)
        print_head(job->out, "", http_call_version(call), head);
    return true;
}

static bool shows_progress(const struct job *job)
{
    return me.parallel == 1 && !me.verbose && isatty(STDERR_FILENO) &&
           (job->out == NULL || !isatty(fileno(job->out)));
}

static bool on_body(struct http_call *call, const char *data, size_t n, void *user)
{
    struct job *job = user;
    if (job->location != NULL)
        return true; /* of a redirect nobody reads it */
    job->got += n;
    me.bytes += n;
    if (job->out != NULL && fwrite(data, 1, n, job->out) != n)
        return give_up_output(job, "output");
    if (shows_progress(job))
        http_progress(&job->progress, job->got, job->total);
    return true;
}

/* ---- one job ---- */

/* -1: on its way; else what to exit with. */
static int send_job(struct job *job);

static void finish(struct job *job, int code)
{
    close_output(job);
    note_code(code);
    bool ok = code == 0 && !job->broken;
    me.n_ok += ok;
    me.n_failed += !ok;
    me.n_running--;
    free(job->uri);
    free(job->location);
    free(job);
}

/* RFC 9110, 15.4: what was a POST goes on as a GET, unless the server says that it must not. */
static void change_method(struct job *job)
{
    bool post = strcmp(job->method, "POST") == 0;
    bool head = strcmp(job->method, "HEAD") == 0;
    if ((job->status == 303 && !head) || ((job->status == 301 || job->status == 302) && post)) {
        job->method = "GET";
        job->bodiless = true;
    }
}

static int follow(struct job *job)
{
    const char *why = "too many redirects";
    char *to = job->redirects < me.redirects ? http_redirect(job->uri, job->location, &why) : NULL;
    if (to == NULL) {
        fprintf(stderr, "http: %s: redirect to %s: %s\n", job->uri, job->location, why);
        return 4;
    }
    job->redirects++;
    job->private &= http_same_origin(job->uri, to);
    change_method(job);
    free(job->uri);
    free(job->location);
    job->uri = to;
    job->location = NULL;
    job->status = 0;
    return send_job(job);
}

static int explain(const struct job *job, const struct http_end *how)
{
    fprintf(stderr, "http: %s: %s%s\n", job->uri, how->what, how->why != NULL ? ":" : "");
    return how->why != NULL ? complain(how->why) : 4;
}

static void on_done(struct http_call *call, const struct http_end *how, void *user)
{
    struct job *job = user;
    http_progress_end(&job->progress);
    if (how->what != NULL) {
        finish(job, explain(job, how));
    } else if (job->location != NULL && !job->broken) {
        int code = follow(job);
        if (code >= 0)
            finish(job, code);
    } else {
        if (me.verbose)
            tell_end(job);
        bool well = job->status >= 200 && job->status < 300;
        if (!well && !job->broken)
            fprintf(stderr, "http: %s: status %d %s\n", job->uri, job->status,
                    http_reason(job->status));
        finish(job, well ? 0 : 1);
    }
    begin_jobs();
}

/* ---- one request ---- */

static bool open_body(struct http_request *request)
{
    struct stat st;
    int fd = strcmp(me.file, "-") == 0 ? dup(STDIN_FILENO) : open(me.file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        fprintf(stderr, "http: %s: %s\n", me.file, strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool whole = S_ISREG(st.st_mode) && strcmp(me.file, "-") != 0;
    request->body = whole ? http_body_file(fd, 0, (uint64_t)st.st_size) : http_body_pipe(fd);
    return true;
}

/* What identifies us to one server is not for another. */
static bool is_private(const char *name)
{
    return strcasecmp(name, "authorization") == 0 || strcasecmp(name, "cookie") == 0 ||
           strcasecmp(name, "proxy-authorization") == 0;
}

static void copy_fields(const struct job *job, struct http_head *fields)
{
    if (http_head_find(&me.fields, "user-agent") == NULL)
        http_head_add(fields, "user-agent", "http");
    if (http_head_find(&me.fields, "accept") == NULL)
        http_head_add(fields, "accept", "*/*");
    for (unsigned i = 0; i < me.fields.n_fields; i++)
        if (job->private || !is_private(http_head_name(&me.fields, i)))
            http_head_add(fields, http_head_name(&me.fields, i), http_head_value(&me.fields, i));
}

static int send_job(struct job *job)
{
    static const struct http_events events = {on_head, on_body, on_done};
    struct http_head fields = {0};
    struct http_request request = {.method = job->method, .uri = job->uri, .fields = &fields};
    const char *why = http_uri_objection(job->uri);
    if (why != NULL) {
        fprintf(stderr, "http: %s: %s\n", job->uri, why);
        return 2;
    }
    request.has_body = !job->bodiless && (me.file != NULL || me.text != NULL);
    if (request.has_body && me.text != NULL)
        request.body = http_body_static(me.text, strlen(me.text));
    else if (request.has_body && !open_body(&request))
        return 4;
    copy_fields(job, &fields);
    if (me.verbose)
        fprintf(stderr, "> %s %s\n", job->method, job->uri);
    job->began_ms = http_now_ms();
    int code = http_fetch(me.client, &request, &events, job);
    http_head_done(&fields);
    return code < 0 ? complain(conduit_ctx_error(me.ctx)) : -1;
}

static void begin_job(const char *uri)
{
    struct job *job = calloc(1, sizeof(*job));
    me.n_running++;
    if (job == NULL || (job->uri = strdup(uri)) == NULL) {
        free(job);
        me.n_running--;
        me.n_failed++;
        note_code(4);
        return;
    }
    job->method = me.method;
    job->private = true;
    int code = send_job(job);
    if (code >= 0)
        finish(job, code);
}

/* As many as may be under way; when there are none left, the client goes. */
static void begin_jobs(void)
{
    size_t all = me.options.n_uris * (size_t)me.repeat;
    while (me.n_begun < all && me.n_running < (size_t)me.parallel)
        begin_job(me.options.uris[me.n_begun++ % me.options.n_uris]);
    if (me.n_running == 0)
        http_client_finish(me.client);
}

/* ---- running ---- */

static void summarize(double took_ms)
{
    printf("%zu fetched, %zu failed, %llu bytes in %.3f s: %.0f/s, %.1f MB/s\n", me.n_ok,
           me.n_failed, (unsigned long long)me.bytes, took_ms / 1e3,
           (double)me.n_ok * 1e3 / took_ms, (double)me.bytes / 1e3 / took_ms);
}

static int run(void)
{
    struct http_client_options how = {.connect = me.options.connect,
                                      .max_per_origin = (unsigned)me.connections};
    if (me.verbose)
        me.options.ctx.trace = print_event;
    me.ctx = options_ctx(&me.options, &me.code);
    if (me.ctx == NULL)
        return me.code;
    me.client = http_client_new(me.ctx, &how);
    if (me.client == NULL) {
        fputs("http: out of memory\n", stderr);
        conduit_ctx_free(me.ctx);
        return 4;
    }
    double began = http_now_ms();
    begin_jobs();
    conduit_run(me.ctx);
    if (me.discard)
        summarize(http_now_ms() - began);
    conduit_ctx_free(me.ctx);
    http_client_free(me.client);
    return me.code;
}

/* ---- options ---- */

static int misused(const char *why)
{
    fprintf(stderr, "http: %s; --help says more\n", why);
    return 2;
}

/* "Name: value", the name in lower case. */
static int add_field(void)
{
    char name[128];
    size_t n = strcspn(optarg, ":");
    const char *value = optarg + n + (optarg[n] == ':');
    value += strspn(value, " \t");
    if (optarg[n] != ':' || n >= sizeof(name))
        return misused("a header is NAME: VALUE");
    for (size_t i = 0; i < n; i++)
        name[i] = (char)(optarg[i] >= 'A' && optarg[i] <= 'Z' ? optarg[i] + 32 : optarg[i]);
    name[n] = '\0';
    if (!http_is_name(name) || !http_is_value(value) || strcmp(name, "host") == 0 ||
        strcmp(name, "content-length") == 0 || strcmp(name, "transfer-encoding") == 0 ||
        strcmp(name, "connection") == 0)
        return misused("that header is malformed, or not for you to set");
    return http_head_add(&me.fields, name, value) ? -1 : misused("too many headers");
}

static int set_number(const char *name, long least, long most, long *ret)
{
    char *end;
    *ret = strtol(optarg, &end, 10);
    if (end != optarg && *end == '\0' && *ret >= least && *ret <= most)
        return -1;
    fprintf(stderr, "http: --%s is a number from %ld to %ld\n", name, least, most);
    return 2;
}

enum { DISCARD = 256, INCLUDE, FOLDER, REDIRECTS, PARALLEL, CONNECTIONS, REPEAT, OLD };

static int read_number(int c, const char *name)
{
    switch (c) {
    case REDIRECTS:
        return set_number(name, 0, 50, &me.redirects);
    case PARALLEL:
        return set_number(name, 1, 10000, &me.parallel);
    case CONNECTIONS:
        return set_number(name, 1, 10000, &me.connections);
    default:
        return set_number(name, 1, 1000000000, &me.repeat);
    }
}

static int read_more(int c, const char *name)
{
    switch (c) {
    case 'I':
        me.method = "HEAD";
        return -1;
    case 'X':
        me.method = optarg;
        return http_is_name(optarg) ? -1 : misused("a method is a word");
    case 'H':
        return add_field();
    case 'd':
        me.text = optarg;
        return -1;
    case 'T':
        me.file = optarg;
        return -1;
    case 'o':
        me.output = optarg;
        return -1;
    case 'v':
        me.verbose = true;
        return -1;
    case DISCARD:
        me.discard = true;
        return -1;
    case INCLUDE:
        me.include = true;
        return -1;
    case FOLDER:
        me.folder = optarg;
        return -1;
    case OLD:
        me.old = true;
        return -1;
    default:
        return read_number(c, name);
    }
}

/* What is offered, where --alpn has not said so. */
static int offer(void)
{
    struct options *options = &me.options;
    if (options->connect.tls == NULL)
        options->connect.tls = conduit_tls_new();
    if (options->connect.tls == NULL)
        return 4;
    if (conduit_tls_set(options->connect.tls, "alpn", me.old ? "http/1.1" : "h2,http/1.1", NULL) <
        0)
        return 4;
    return -1;
}

static int check(void)
{
    if (me.method == NULL)
        me.method = me.text != NULL || me.file != NULL ? "POST" : "GET";
    if (me.output != NULL && (me.options.n_uris > 1 || me.repeat > 1))
        return misused("-o is for one URI");
    if ((me.output != NULL) + (me.folder != NULL) + me.discard > 1)
        return misused("-o, --output-dir and --discard exclude each other");
    if (me.parallel > 1 && me.folder == NULL && !me.discard)
        return misused("--parallel wants --output-dir or --discard");
    return offer();
}

int main(int argc, char **argv)
{
    static const struct option more[] = {
        {"head", no_argument, NULL, 'I'},
        {"method", required_argument, NULL, 'X'},
        {"header", required_argument, NULL, 'H'},
        {"data", required_argument, NULL, 'd'},
        {"body", required_argument, NULL, 'T'},
        {"output", required_argument, NULL, 'o'},
        {"output-dir", required_argument, NULL, FOLDER},
        {"discard", no_argument, NULL, DISCARD},
        {"include", no_argument, NULL, INCLUDE},
        {"verbose", no_argument, NULL, 'v'},
        {"max-redirects", required_argument, NULL, REDIRECTS},
        {"parallel", required_argument, NULL, PARALLEL},
        {"connections", required_argument, NULL, CONNECTIONS},
        {"repeat", required_argument, NULL, REPEAT},
        {"http1.1", no_argument, NULL, OLD},
        {0},
    };
    me.options.more = more;
    me.options.letters = "IX:H:d:T:o:v";
    me.options.read_more = read_more;
    me.options.many = true;
    int code = options_read(&me.options, help, argc, argv);
    code = code < 0 ? check() : code;
    code = code < 0 ? run() : code;
    options_done(&me.options);
    http_head_done(&me.fields);
    return code;
}
