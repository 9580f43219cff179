/* SPDX-License-Identifier: ISC */
/* Files as answers: files.h says which. The page that lists a directory is index.c. */
#include "files.h"
#include "index.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, ETAG_SIZE = 64 };

/* ---- paths ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte at *text, decoded, and past it; -1: no byte that a path can have. */
static int decode(const char **text)
{
    int c = (unsigned char)*(*text)++;
    if (c == '%') {
        int high = hex((*text)[0]), low = high >= 0 ? hex((*text)[1]) : -1;
        if (low < 0)
            return -1;
        c = high * 16 + low;
        *text += 2;
    }
    return c < ' ' || c == 0x7f ? -1 : c;
}

/* Of "http://host/path?query" (a proxy's way to ask) as well. NULL: no path at all. */
static const char *path_of(const char *target)
{
    if (*target == '/')
        return target;
    if (strncasecmp(target, "http://", 7) != 0 && strncasecmp(target, "https://", 8) != 0)
        return NULL;
    const char *host = strstr(target, "://") + 3;
    const char *end = host + strcspn(host, "/?#");
    return *end == '/' ? end : "/";
}

/* The path, decoded, without the query; one slash where there are several. */
static bool read_path(const char *target, char path[PATH_SIZE])
{
    size_t n = 0;
    const char *from = path_of(target);
    if (from == NULL)
        return false;
    while (*from != '\0' && *from != '?' && *from != '#') {
        int c = decode(&from);
        if (c < 0 || n == PATH_SIZE - 1)
            return false;
        if (c != '/' || n == 0 || path[n - 1] != '/')
            path[n++] = (char)c;
    }
    path[n] = '\0';
    return true;
}

/* No step of it begins with a dot: hidden files, "." and ".." alike. */
static bool is_open_path(const char *path)
{
    static const char known[] = "/.well-known/";
    if (strncmp(path, known, sizeof(known) - 1) == 0)
        path += sizeof(known) - 2;
    return strstr(path, "/.") == NULL;
}

/* ---- types ---- */

static const char *type_of(const char *path)
{
    static const char *const rows[][2] = {
        {".css", "text/css; charset=utf-8"},
        {".csv", "text/csv; charset=utf-8"},
        {".gif", "image/gif"},
        {".gz", "application/gzip"},
        {".htm", "text/html; charset=utf-8"},
        {".html", "text/html; charset=utf-8"},
        {".ico", "image/vnd.microsoft.icon"},
        {".jpeg", "image/jpeg"},
        {".jpg", "image/jpeg"},
        {".js", "text/javascript; charset=utf-8"},
        {".json", "application/json"},
        {".md", "text/markdown; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".mp3", "audio/mpeg"},
        {".mp4", "video/mp4"},
        {".pdf", "application/pdf"},
        {".png", "image/png"},
        {".svg", "image/svg+xml"},
        {".tar", "application/x-tar"},
        {".txt", "text/plain; charset=utf-8"},
        {".wasm", "application/wasm"},
        {".webm", "video/webm"},
        {".webp", "image/webp"},
        {".woff2", "font/woff2"},
        {".xml", "text/xml; charset=utf-8"},
        {".zip", "application/zip"},
    };
    const char *end = strrchr(path, '.');
    for (size_t i = 0; end != NULL && i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcasecmp(end, rows[i][0]) == 0)
            return rows[i][1];
    return "application/octet-stream";
}

/* ---- conditions (RFC 9110, 13) ---- */

/* Is `etag` in the list? Weakly: `W/` counts for nothing. */
static bool is_listed(const char *list, const char *etag, bool weakly)
{
    size_t n = strlen(etag);
    if (strcmp(list, "*") == 0)
        return true;
    for (const char *at = list; (at = strstr(at, etag)) != NULL; at += n)
        if (weakly || at < list + 2 || at[-1] != '/' || at[-2] != 'W')
            return true;
    return false;
}

static const char *field(const struct http_exchange *x, const char *name)
{
    return http_head_find(x->request, name);
}

/* 0: go on; 304 or 412. `modified` -1: nobody knows when. */
static int check_conditions(const struct http_exchange *x, const char *etag, time_t modified)
{
    const char *value;
    if ((value = field(x, "if-match")) != NULL) {
        if (!is_listed(value, etag, false))
            return 412;
    } else if ((value = field(x, "if-unmodified-since")) != NULL && modified >= 0) {
        time_t since = http_date_parse(value);
        if (since >= 0 && modified > since)
            return 412;
    }
    if ((value = field(x, "if-none-match")) != NULL)
        return is_listed(value, etag, true) ? 304 : 0;
    if ((value = field(x, "if-modified-since")) != NULL && modified >= 0) {
        time_t since = http_date_parse(value);
        return since >= 0 && modified <= since ? 304 : 0;
    }
    return 0;
}

/* Is the range for what is there now? */
static bool range_counts(const struct http_exchange *x, const char *etag, time_t modified)
{
    const char *value = field(x, "if-range");
    if (value == NULL)
        return true;
    return *value == '"' ? strcmp(value, etag) == 0
                         : modified >= 0 && http_date_parse(value) == modified;
}

/* ---- ranges (RFC 9110, 14): one at a time; who asks for several gets all ---- */

enum range { RANGE_NONE, RANGE_ONE, RANGE_BEYOND };

static bool read_number(const char **text, uint64_t *ret)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    errno = 0;
    *ret = strtoull(*text, &end, 10);
    *text = end;
    return errno == 0;
}

static enum range read_range(const char *text, uint64_t size, uint64_t *first, uint64_t *last)
{
    if (strncasecmp(text, "bytes=", 6) != 0)
        return RANGE_NONE;
    text += 6;
    bool has_first = read_number(&text, first);
    if (*text++ != '-')
        return RANGE_NONE;
    bool has_last = read_number(&text, last);
    if (*text != '\0' || (!has_first && !has_last) || (has_first && has_last && *last < *first))
        return RANGE_NONE;
    if (!has_first) { /* the last so many */
        uint64_t n = *last < size ? *last : size;
        *first = size - n;
        *last = size - 1;
        return n > 0 ? RANGE_ONE : RANGE_BEYOND;
    }
    if (*first >= size)
        return RANGE_BEYOND;
    if (!has_last || *last >= size)
        *last = size - 1;
    return RANGE_ONE;
}

/* ---- one file, wherever it is ---- */

struct content {
    const char *type, *etag;
    time_t modified;  /* -1: unknown */
    const char *date; /* the same, as it is written */
    uint64_t size;
    uint64_t first, n; /* what is wanted of it */
};

/* Everything but the body. False: there is none to come. */
static bool answer_head(struct http_exchange *x, struct content *content)
{
    struct http_head *response = &x->response;
    uint64_t first = 0, last = 0;
    int status = check_conditions(x, content->etag, content->modified);
    if (status == 412) {
        http_answer(x, 412, "it is not what it was");
        return false;
    }
    response->status = status != 0 ? status : 200;
    http_head_add(response, "etag", content->etag);
    http_head_add(response, "accept-ranges", "bytes");
    http_head_add(response, "x-content-type-options", "nosniff");
    if (content->modified >= 0)
        http_head_add(response, "last-modified", content->date);
    if (status == 304)
        return false;
    http_head_add(response, "content-type", content->type);
    const char *range = field(x, "range");
    bool get = strcmp(http_head_at(x->request, x->request->method), "GET") == 0; /* (14.2) */
    content->first = 0;
    content->n = content->size;
    if (range == NULL || !get || !range_counts(x, content->etag, content->modified))
        return true;
    switch (read_range(range, content->size, &first, &last)) {
    case RANGE_ONE:
        response->status = 206;
        http_head_addf(response, "content-range", "bytes %llu-%llu/%llu", (unsigned long long)first,
                       (unsigned long long)last, (unsigned long long)content->size);
        content->first = first;
        content->n = last - first + 1;
        return true;
    case RANGE_BEYOND:
        http_answer(x, 416, "it is not that long");
        http_head_addf(response, "content-range", "bytes */%llu",
                       (unsigned long long)content->size);
        return false;
    case RANGE_NONE:
        break;
    }
    return true;
}

/* ---- a directory ---- */

static int open_beneath(int root, const char *path, int flags)
{
    struct open_how how = {.flags =
                               (uint64_t)(flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    while (*path == '/')
        path++;
    return (int)syscall(SYS_openat2, root, *path != '\0' ? path : ".", &how, sizeof(how));
}

static void answer_errno(struct http_exchange *x)
{
    switch (errno) {
    case EACCES:
    case EPERM:
        http_answer(x, 403, "");
        break;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        http_answer(x, 503, "too busy");
        http_head_add(&x->response, "retry-after", "1");
        break;
    default:
        http_answer(x, 404, "");
    }
}

void http_etag(char *buf, size_t size, const struct stat *st)
{
    snprintf(buf, size, "\"%llx-%lx-%llx\"", (unsigned long long)st->st_mtim.tv_sec,
             (unsigned long)st->st_mtim.tv_nsec, (unsigned long long)st->st_size);
}

static void answer_cached(struct http_exchange *x, struct http_cached *cached, const char *path)
{
    struct content content = {.type = type_of(path),
                              .etag = cached->etag,
                              .modified = cached->st.st_mtim.tv_sec,
                              .date = cached->date,
                              .size = cached->n};
    if (answer_head(x, &content))
        x->body = http_cached_body(cached, content.first, content.n);
}

/* Takes fd over. */
static void answer_file(struct http_exchange *x, int fd, const struct stat *st, const char *path)
{
    char etag[ETAG_SIZE], date[HTTP_DATE_SIZE];
    http_etag(etag, sizeof(etag), st);
    http_date(date, st->st_mtim.tv_sec);
    struct content content = {.type = type_of(path),
                              .etag = etag,
                              .modified = st->st_mtim.tv_sec,
                              .date = date,
                              .size = (uint64_t)st->st_size};
    if (answer_head(x, &content))
        x->body = http_body_file(fd, content.first, content.n);
    else
        close(fd);
}

/* "name" is a directory: "name/" it is, so that what its page links to is found in it. */
static void answer_slash(struct http_exchange *x)
{
    const char *target = path_of(http_head_at(x->request, x->request->target));
    size_t n = strcspn(target, "?#");
    const char *name = target + n;
    while (name > target && name[-1] != '/')
        name--;
    http_answer(x, 301, "");
    /* relative, so that it leads nowhere else ("//host" would) */
    http_head_addf(&x->response, "location", "./%.*s/%s", (int)(target + n - name), name,
                   target + n);
}

/* Takes fd over. */
static void answer_directory(struct http_exchange *x, int fd, const char *path)
{
    struct stat st;
    int index = open_beneath(fd, "index.html", 0);
    if (index >= 0 && fstat(index, &st) == 0 && S_ISREG(st.st_mode)) {
        close(fd);
        answer_file(x, index, &st, "index.html");
        return;
    }
    if (index >= 0)
        close(index);
    size_t n;
    char *page = http_index_page(fd, path, &n); /* takes fd over */
    if (page == NULL) {
        http_answer(x, 503, "too busy");
        return;
    }
    x->response.status = 200;
    http_head_add(&x->response, "content-type", "text/html; charset=utf-8");
    http_head_add(&x->response, "content-security-policy", HTTP_INDEX_POLICY);
    x->body = http_body_owned(page, n);
}

/* Takes fd over. */
static void answer_new(const struct http_files *files, struct http_exchange *x, int fd,
                       const struct stat *st, const char *path)
{
    struct http_cached *cached =
        files->cache != NULL ? http_cache_put(files->cache, path, fd, st) : NULL;
    if (cached == NULL) {
        answer_file(x, fd, st, path);
        return;
    }
    close(fd);
    answer_cached(x, cached, path);
}

static void answer_path(const struct http_files *files, struct http_exchange *x, const char *path)
{
    struct stat st;
    struct http_cached *cached =
        files->cache != NULL ? http_cache_find(files->cache, files->root, path) : NULL;
    if (cached != NULL) {
        answer_cached(x, cached, path);
        return;
    }
    int fd = open_beneath(files->root, path, 0);
    if (fd < 0 || fstat(fd, &st) < 0) {
        answer_errno(x);
        if (fd >= 0)
            close(fd);
        return;
    }
    bool slash = path[strlen(path) - 1] == '/';
    if (S_ISDIR(st.st_mode) && slash) {
        answer_directory(x, fd, path);
    } else if (S_ISREG(st.st_mode) && !slash) {
        answer_new(files, x, fd, &st, path);
    } else {
        close(fd);
        if (S_ISDIR(st.st_mode))
            answer_slash(x);
        else
            http_answer(x, 404, "");
    }
}

/* ---- what was compiled in ---- */

static int compare(const void *path, const void *asset)
{
    return strcmp(path, ((const struct http_asset *)asset)->path);
}

static void answer_asset(const struct http_files *files, struct http_exchange *x, char *path)
{
    size_t n = strlen(path);
    if (path[n - 1] == '/' && n + sizeof("index.html") <= PATH_SIZE)
        memcpy(path + n, "index.html", sizeof("index.html"));
    const struct http_asset *asset =
        bsearch(path, files->assets, files->n_assets, sizeof(*files->assets), compare);
    if (asset == NULL) {
        http_answer(x, 404, "");
        return;
    }
    struct content content = {
        .type = type_of(path), .etag = asset->etag, .modified = -1, .size = asset->n};
    if (answer_head(x, &content))
        x->body = http_body_static((const char *)asset->bytes + content.first, content.n);
}

/* ---- */

void http_files_answer(const struct http_files *files, struct http_exchange *x)
{
    char path[PATH_SIZE];
    const char *method = http_head_at(x->request, x->request->method);
    const char *target = http_head_at(x->request, x->request->target);
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        bool options = strcmp(method, "OPTIONS") == 0;
        http_answer(x, options ? 200 : 405, "");
        http_head_add(&x->response, "allow", "GET, HEAD, OPTIONS");
    } else if (!read_path(target, path)) {
        http_answer(x, 400, "no path");
    } else if (!is_open_path(path)) {
        http_answer(x, 404, "");
    } else if (files->root < 0) {
        answer_asset(files, x, path);
    } else {
        answer_path(files, x, path);
    }
}
