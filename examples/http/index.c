/* SPDX-License-Identifier: ISC */
/* The page that lists a directory: folders first, then by name; sizes that people read. */
#include "index.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char style[] =
    "<style>"
    ":root{color-scheme:light dark;--line:#8883;--dim:#888}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.3rem;font-weight:600;overflow-wrap:anywhere}"
    "table{width:100%;border-collapse:collapse}"
    "th{text-align:left;font-weight:500;color:var(--dim)}"
    "td,th{padding:.35rem .5rem;border-bottom:1px solid var(--line)}"
    "td:first-child{overflow-wrap:anywhere}"
    ".n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums;color:var(--dim)}"
    "tr:hover td{background:#8881}"
    "a{text-decoration:none}a:hover{text-decoration:underline}"
    "@media(max-width:34rem){.d{display:none}}"
    "</style>";

struct entry {
    char *name;
    bool folder;
    uint64_t size;
    time_t modified;
};

/* ---- text into HTML, names into links ---- */

static void print_text(FILE *page, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", page);
            break;
        case '<':
            fputs("&lt;", page);
            break;
        case '>':
            fputs("&gt;", page);
            break;
        case '"':
            fputs("&quot;", page);
            break;
        default:
            fputc(*text, page);
        }
    }
}

static void print_link(FILE *page, const char *name)
{
    static const char plain[] = "-._~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    fputs("./", page); /* "a:b" would be a URI */
    for (; *name != '\0'; name++) {
        if (strchr(plain, *name) != NULL)
            fputc(*name, page);
        else
            fprintf(page, "%%%02X", (unsigned char)*name);
    }
}

static void print_size(FILE *page, uint64_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double n = (double)size;
    size_t i = 0;
    for (; n >= 1024 && i + 1 < sizeof(units) / sizeof(units[0]); i++)
        n /= 1024;
    fprintf(page, i == 0 || n >= 100 ? "%.0f %s" : "%.1f %s", n, units[i]);
}

/* ---- the table ---- */

static void print_entry(FILE *page, const struct entry *entry)
{
    char date[32] = "";
    struct tm tm;
    const char *slash = entry->folder ? "/" : "";
    if (gmtime_r(&entry->modified, &tm) != NULL)
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M", &tm);
    fputs("<tr><td><a href=\"", page);
    print_link(page, entry->name);
    fprintf(page, "%s\">", slash);
    print_text(page, entry->name);
    fprintf(page, "%s</a></td><td class=\"n\">", slash);
    if (!entry->folder)
        print_size(page, entry->size);
    fprintf(page, "</td><td class=\"n d\">%s</td></tr>\n", date);
}

static void print_page(FILE *page, const char *path, const struct entry *entries, size_t n)
{
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
          "<meta name=\"viewport\" content=\"width=device-width\"><title>",
          page);
    print_text(page, path);
    fprintf(page, "</title>%s</head><body>\n<h1>", style);
    print_text(page, path);
    fputs("</h1>\n<table><thead><tr><th>Name</th><th class=\"n\">Size</th>"
          "<th class=\"n d\">Changed (UTC)</th></tr></thead><tbody>\n",
          page);
    if (strcmp(path, "/") != 0)
        fputs("<tr><td><a href=\"../\">../</a></td><td></td><td class=\"d\"></td></tr>\n", page);
    for (size_t i = 0; i < n; i++)
        print_entry(page, &entries[i]);
    fputs("</tbody></table>\n</body></html>\n", page);
}

/* ---- what is in it ---- */

static int compare(const void *a, const void *b)
{
    const struct entry *one = a, *other = b;
    if (one->folder != other->folder)
        return one->folder ? -1 : 1;
    return strcmp(one->name, other->name);
}

/* What is behind a name; not of links that lead out of the directory, which may be served or
 * not. */
static bool look(DIR *dir, const char *name, struct stat *st)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
    if (fstatat(dirfd(dir), name, st, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    if (!S_ISLNK(st->st_mode))
        return true;
    int fd = (int)syscall(SYS_openat2, dirfd(dir), name, &how, sizeof(how));
    bool found = fd >= 0 && fstat(fd, st) == 0;
    if (fd >= 0)
        close(fd);
    return found;
}

/* False: out of memory. What cannot be served is not listed. */
static bool add(struct entry **entries, size_t *n, DIR *dir, const char *name)
{
    struct stat st;
    if (*name == '.' || !look(dir, name, &st) || (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)))
        return true;
    if ((*n & (*n - 1)) == 0) { /* at 0, 1, 2, 4...: twice the room */
        struct entry *more = realloc(*entries, (*n == 0 ? 1 : *n * 2) * sizeof(**entries));
        if (more == NULL)
            return false;
        *entries = more;
    }
    char *copy = strdup(name);
    if (copy == NULL)
        return false;
    (*entries)[(*n)++] = (struct entry){.name = copy,
                                        .folder = S_ISDIR(st.st_mode),
                                        .size = (uint64_t)st.st_size,
                                        .modified = st.st_mtim.tv_sec};
    return true;
}

static bool list(DIR *dir, struct entry **entries, size_t *n)
{
    struct dirent *found;
    while ((found = readdir(dir)) != NULL)
        if (!add(entries, n, dir, found->d_name))
            return false;
    if (*n > 1)
        qsort(*entries, *n, sizeof(**entries), compare);
    return true;
}

char *http_index_page(int fd, const char *path, size_t *size)
{
    struct entry *entries = NULL;
    size_t n = 0;
    char *text = NULL;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        close(fd);
        return NULL;
    }
    FILE *page = list(dir, &entries, &n) ? open_memstream(&text, size) : NULL;
    if (page != NULL) {
        print_page(page, path, entries, n);
        bool failed = ferror(page) != 0;
        if (fclose(page) != 0 || failed) {
            free(text);
            text = NULL;
        }
    }
    for (size_t i = 0; i < n; i++)
        free(entries[i].name);
    free(entries);
    closedir(dir);
    return text;
}
