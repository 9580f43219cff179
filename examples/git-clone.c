/* SPDX-License-Identifier: ISC */
/*
 * git-clone: libgit2 on Conduit, by way of the blocking facade.
 *
 *     git-clone https://git.example/repo.git DIR
 *     git-clone http+unix://%2Frun%2Fgit.sock/repo.git DIR
 *
 * A library that blocks, and has a hook for streams, needs no more than a struct stream: connect,
 * read, write, close. libgit2 knows http and https, a host and a port; what else there is of a way
 * there (a socket, a rule, an address that is tried first) it does not get to see. Its hook has no
 * user pointer, so there is one struct clone in the program.
 */
#include "options.h"
#include <git2.h>
#if __has_include(<git2/sys/errors.h>) /* from libgit2 1.8 on, and in git2.h before */
#include <git2/sys/errors.h>
#endif
#include <git2/sys/stream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_MS = 60 * 1000, GOODBYE_MS = 1000 };

static struct clone {
    conduit_blocking_options blocking;
    int code; /* of what failed last in a stream */
} clone_;

struct stream {
    git_stream git; /* libgit2's head of it */
    conduit_blocking *conn;
    char *uri;
};

static struct stream *of(git_stream *git)
{
    return (struct stream *)(void *)git;
}

/* ---- the stream ---- */

static int fail(const char *text)
{
    git_error_set_str(GIT_ERROR_NET, text);
    return -1;
}

static int connect_stream(git_stream *git)
{
    struct stream *stream = of(git);
    const conduit_error *why = NULL;
    int code = conduit_blocking_connect(stream->uri, &clone_.blocking, &stream->conn, &why);
    if (code == 0)
        return 0;
    clone_.code = complain(why);
    fail(conduit_error_text(why));
    conduit_error_unref(why);
    return -1;
}

static int fail_io(const struct stream *stream, ssize_t code)
{
    const conduit_error *why = conduit_blocking_error(stream->conn);
    clone_.code = 4;
    return fail(why != NULL ? conduit_error_text(why) : conduit_code_text((int)code));
}

static ssize_t read_stream(git_stream *git, void *data, size_t n)
{
    struct stream *stream = of(git);
    ssize_t got = conduit_blocking_read(stream->conn, data, n, PATIENCE_MS);
    return got < 0 ? fail_io(stream, got) : got;
}

static ssize_t write_stream(git_stream *git, const char *data, size_t n, int flags)
{
    struct stream *stream = of(git);
    ssize_t taken = conduit_blocking_write(stream->conn, data, n, PATIENCE_MS);
    return taken < 0 ? fail_io(stream, taken) : taken;
}

static int close_stream(git_stream *git)
{
    struct stream *stream = of(git);
    conduit_blocking_close(stream->conn, GOODBYE_MS);
    stream->conn = NULL;
    return 0;
}

static void free_stream(git_stream *git)
{
    close_stream(git);
    free(of(git)->uri);
    free(git);
}

/* For a callback of the program's own, which has none: whoever is there has been verified. */
static int no_certificate(git_cert **ret, git_stream *git)
{
    static git_cert none = {.cert_type = GIT_CERT_NONE};
    *ret = &none;
    return 0;
}

static int make_stream(git_stream **ret, const char *scheme, const char *host, const char *port)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    bool ip6 = strchr(host, ':') != NULL;
    if (stream == NULL ||
        asprintf(&stream->uri, ip6 ? "%s://[%s]:%s" : "%s://%s:%s", scheme, host, port) < 0) {
        free(stream);
        git_error_set_oom();
        return -1;
    }
    stream->git = (git_stream){
        .version = GIT_STREAM_VERSION,
        .encrypted = strcmp(scheme, "https") == 0,
        .connect = connect_stream,
        .certificate = no_certificate,
        .read = read_stream,
        .write = write_stream,
        .close = close_stream,
        .free = free_stream,
    };
    *ret = &stream->git;
    return 0;
}

static int make_plain(git_stream **ret, const char *host, const char *port)
{
    return make_stream(ret, "http", host, port);
}

static int make_encrypted(git_stream **ret, const char *host, const char *port)
{
    return make_stream(ret, "https", host, port);
}

static int register_streams(void)
{
    git_stream_registration plain = {.version = GIT_STREAM_VERSION, .init = make_plain};
    git_stream_registration encrypted = {.version = GIT_STREAM_VERSION, .init = make_encrypted};
    int code = git_stream_register(GIT_STREAM_STANDARD, &plain);
    return code == 0 ? git_stream_register(GIT_STREAM_TLS, &encrypted) : code;
}

/* ---- URLs that libgit2 does not know ---- */

/* http+unix://SOCKET/path is http://localhost/path to libgit2, and a rule to us. */
static char *plain_url(conduit_ctx *ctx, const conduit_uri *uri)
{
    char *url = NULL, *place = NULL;
    const char *scheme = conduit_uri_scheme(uri);
    if (strcmp(scheme, "http+unix") != 0 && strcmp(scheme, "https+unix") != 0)
        return strdup(conduit_uri_text(uri));
    if (asprintf(&place, "unix:%s", conduit_uri_host(uri)) < 0)
        return NULL;
    int code = conduit_ctx_add_rule(ctx, "localhost", place);
    free(place);
    if (code < 0) {
        clone_.code = complain(conduit_ctx_error(ctx));
        return NULL;
    }
    int n = asprintf(&url, "%.*s://localhost%s", (int)strcspn(scheme, "+"), scheme,
                     conduit_uri_path(uri));
    return n < 0 ? NULL : url;
}

/* ---- running ---- */

static int on_progress(const git_indexer_progress *progress, void *payload)
{
    *(git_indexer_progress *)payload = *progress;
    return 0;
}

static int clone_failed(void)
{
    const git_error *error = git_error_last();
    if (clone_.code != 0)
        return clone_.code;
    fprintf(stderr, "git-clone: %s\n", error != NULL ? error->message : "failed");
    return 1;
}

static int clone_url(const char *url, const char *directory)
{
    git_repository *repository = NULL;
    git_indexer_progress progress = {0};
    git_clone_options how;
    git_clone_options_init(&how, GIT_CLONE_OPTIONS_VERSION);
    how.fetch_opts.callbacks.transfer_progress = on_progress;
    how.fetch_opts.callbacks.payload = &progress;
    if (register_streams() < 0 || git_clone(&repository, url, directory, &how) < 0)
        return clone_failed();
    printf("%u objects, %zu bytes\n", progress.received_objects, progress.received_bytes);
    git_repository_free(repository);
    return 0;
}

static int run(const struct options *options, const char *directory)
{
    const conduit_uri *uri = NULL;
    const conduit_error *why = NULL;
    if (conduit_uri_parse(options->uri, &uri, &why) < 0) {
        int code = complain(why);
        conduit_error_unref(why);
        return code;
    }
    conduit_ctx *ctx = options_ctx(options, &clone_.code);
    char *url = ctx != NULL ? plain_url(ctx, uri) : NULL;
    clone_.blocking = (conduit_blocking_options){.ctx = ctx, .connect = options->connect};
    int code = clone_.code;
    if (url != NULL) {
        git_libgit2_init();
        code = clone_url(url, directory);
        git_libgit2_shutdown();
    }
    free(url);
    conduit_uri_unref(uri);
    conduit_ctx_free(ctx);
    return code;
}

static int misused(void)
{
    fprintf(stderr, "usage: git-clone [options] URL DIRECTORY; --help says more\n");
    return 2;
}

int main(int argc, char **argv)
{
    /* clang-format off */
    static const char help[] =
        "usage: git-clone [options] URL DIRECTORY\n"
        "Clone a repository over http:, https:, http+unix: or https+unix: with libgit2.\n"
        OPTIONS_HELP;
    /* clang-format on */
    struct options options = {0};
    const char *directory = argc > 2 ? argv[argc - 1] : NULL;
    if (directory != NULL)
        argv[--argc] = NULL; /* the last is the directory; what is left ends with the URL */
    int code = options_read(&options, help, argc, argv);
    if (code < 0 && directory != NULL)
        code = run(&options, directory);
    else if (code < 0)
        code = misused();
    options_done(&options);
    return code;
}
