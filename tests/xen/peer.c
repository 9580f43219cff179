/* SPDX-License-Identifier: ISC */
/*
 * A peer that is not ours: servers and clients linked to libxenvchan, each for one connection, and
 * the bytes that both sides know.
 *
 *   peer pattern BYTES                       the bytes, on standard output
 *   peer echo DOMAIN PATH READ WRITE BYTES   server: send back what comes until the client goes, or
 *                                            so many bytes have: libxenvchan knows no end of one
 *                                            direction
 *   peer call DOMAIN PATH BYTES              client: send the bytes while taking them back, and
 *                                            compare; prints how fast
 *   peer pour DOMAIN PATH BYTES              client: send, take nothing, go
 *   peer hold DOMAIN PATH                    client: send one byte and stay until killed
 *   peer stay DOMAIN PATH                    server: the same
 *   peer pages DOMAIN                        how many pages can still be granted to it
 *   peer watch DOMAIN PATH                   client: stay until the server goes
 *
 *   peer await PATH BEGINNING SECONDS        until what xenstore has there begins like that
 *
 *   peer order PATH NUMBER COMMAND SECONDS   have the domain whose path that is do something: prints
 *                                            what it prints, and ends as it ended
 *   peer obey PATH NUMBER                    ... the other side: prints the command, when it comes
 *   peer answer PATH NUMBER STATUS FILE      ... and says what became of it
 *
 * Exit status 0 if all went well, 1 with a line on standard error if not.
 */
#include <errno.h>
#include <fcntl.h>
#include <libxenvchan.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xengnttab.h>
#include <xenstore.h>

enum { CHUNK = 65536, PATIENCE_MS = 60000, TRIES = 200, MOST_PAGES = 65536 };

static unsigned char sent_bytes[CHUNK], got_bytes[CHUNK];

static void die(const char *what)
{
    fprintf(stderr, "peer: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Three bytes repeat only after 16 MiB, and never at a power of two. */
static unsigned char byte_at(uint64_t at)
{
    return (unsigned char)(at * 7 + (at >> 8) * 13 + (at >> 16) * 31);
}

static void fill(unsigned char *to, uint64_t at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = byte_at(at + i);
}

/* libxenvchan 4.17 leaves `blocking` as malloc() gave it. */
static struct libxenvchan *prepare(struct libxenvchan *vchan)
{
    int fd = libxenvchan_fd_for_select(vchan);
    vchan->blocking = 0;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return vchan;
}

static struct libxenvchan *serve(char **words, size_t read, size_t write)
{
    struct libxenvchan *vchan =
        libxenvchan_server_init(NULL, atoi(words[2]), words[3], read, write);
    if (vchan == NULL)
        die("server_init");
    puts("listening");
    return prepare(vchan);
}

static struct libxenvchan *call(char **words)
{
    struct libxenvchan *vchan = NULL;
    for (int i = 0; i < TRIES && vchan == NULL; i++) {
        vchan = libxenvchan_client_init(NULL, atoi(words[2]), words[3]);
        if (vchan == NULL)
            usleep(50000);
    }
    if (vchan == NULL)
        die("client_init");
    return prepare(vchan);
}

static void await(struct libxenvchan *vchan)
{
    struct pollfd wait = {libxenvchan_fd_for_select(vchan), POLLIN, 0};
    if (poll(&wait, 1, PATIENCE_MS) <= 0)
        die("no event");
    libxenvchan_wait(vchan);
}

/* The library looks at the ring, then at the live byte: what came in between is read the second
 * time. */
static int take(struct libxenvchan *vchan, void *to, size_t n)
{
    int got = libxenvchan_read(vchan, to, n);
    if (got < 0 && libxenvchan_data_ready(vchan) > 0)
        got = libxenvchan_read(vchan, to, n);
    return got;
}

static int echo(struct libxenvchan *vchan, uint64_t most)
{
    uint64_t total = 0;
    int have = 0, done = 0, n = 1;
    while (n >= 0 && (done < have || total < most)) {
        n = done < have ? libxenvchan_write(vchan, got_bytes + done, have - done)
                        : take(vchan, got_bytes, CHUNK);
        if (n > 0 && done < have) {
            done += n;
        } else if (n > 0) {
            have = n;
            done = 0;
            total += n;
        } else if (n == 0) {
            await(vchan);
        }
    }
    printf("echoed %llu\n", (unsigned long long)total);
    libxenvchan_close(vchan);
    return 0;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int put_some(struct libxenvchan *vchan, uint64_t sent, uint64_t total)
{
    size_t n = total - sent < CHUNK ? total - sent : CHUNK;
    fill(sent_bytes, sent, n);
    int put = n > 0 ? libxenvchan_write(vchan, sent_bytes, n) : 0;
    if (put < 0)
        die("the server went while we wrote");
    return put;
}

static int get_some(struct libxenvchan *vchan, uint64_t got)
{
    int n = take(vchan, got_bytes, CHUNK);
    if (n < 0)
        die("the server went while we read");
    fill(sent_bytes, got, n);
    if (memcmp(sent_bytes, got_bytes, n) != 0)
        die("other bytes came back");
    return n;
}

static int check(struct libxenvchan *vchan, uint64_t total)
{
    uint64_t sent = 0, got = 0;
    double begun = now();
    while (got < total) {
        int put = put_some(vchan, sent, total), took = get_some(vchan, got);
        sent += put;
        got += took;
        if (put == 0 && took == 0)
            await(vchan);
    }
    printf("%llu bytes each way in %.2f s, %.1f MB/s\n", (unsigned long long)got, now() - begun,
           (double)got / (now() - begun) / 1e6);
    libxenvchan_close(vchan);
    return 0;
}

static int pour(struct libxenvchan *vchan, uint64_t total)
{
    for (uint64_t sent = 0; sent < total;) {
        int put = put_some(vchan, sent, total);
        if (put == 0)
            await(vchan);
        sent += put;
    }
    libxenvchan_close(vchan);
    return 0;
}

static int hold(struct libxenvchan *vchan)
{
    libxenvchan_write(vchan, "x", 1);
    puts("holding");
    while (pause() < 0)
        ;
    return 0;
}

static int watch(struct libxenvchan *vchan)
{
    while (libxenvchan_is_open(vchan) == 1) {
        take(vchan, got_bytes, CHUNK);
        await(vchan);
    }
    puts("the server went");
    return 0;
}

static int count_pages(uint32_t domain)
{
    xengntshr_handle *handle = xengntshr_open(NULL, 0);
    uint32_t ref, n = 0;
    if (handle == NULL)
        die("gntalloc");
    fclose(stderr); /* it says there when it has no more */
    while (n < MOST_PAGES && xengntshr_share_pages(handle, domain, 1, &ref, 1) != NULL)
        n++;
    printf("%u\n", n);
    return 0;
}

/* ---- orders by xenstore ---- */

static struct xs_handle *open_store(void)
{
    struct xs_handle *store = xs_open(0);
    if (store == NULL)
        die("xenstore");
    return store;
}

/* What is at `path` after `beginning`, if it begins like that. */
static char *rest_of(struct xs_handle *store, const char *path, const char *beginning)
{
    unsigned n;
    size_t skip = strlen(beginning);
    char *text = xs_read(store, XBT_NULL, path, &n);
    bool same = text != NULL && strncmp(text, beginning, skip) == 0;
    if (same)
        memmove(text, text + skip, n - skip + 1);
    else
        free(text);
    return same ? text : NULL;
}

static char *await_text(struct xs_handle *store, const char *path, const char *beginning,
                        double seconds)
{
    double until = now() + seconds;
    char *rest;
    if (!xs_watch(store, path, "await"))
        die(path);
    while ((rest = rest_of(store, path, beginning)) == NULL && now() < until) {
        struct pollfd wait = {xs_fileno(store), POLLIN, 0};
        if (poll(&wait, 1, 1000) > 0)
            free(xs_check_watch(store));
    }
    return rest;
}

static const char *beginning_of(const char *number)
{
    static char beginning[32];
    snprintf(beginning, sizeof(beginning), "%s ", number);
    return beginning;
}

static int order(char **words)
{
    struct xs_handle *store = open_store();
    char path[128], text[4000];
    snprintf(path, sizeof(path), "%s/data/do", words[2]);
    int n = snprintf(text, sizeof(text), "%s %s", words[3], words[4]);
    if (n >= (int)sizeof(text) || !xs_write(store, XBT_NULL, path, text, (unsigned)n))
        die(path);
    snprintf(path, sizeof(path), "%s/data/did", words[2]);
    char *end, *answer = await_text(store, path, beginning_of(words[3]), strtod(words[5], NULL));
    if (answer == NULL)
        die("no answer");
    long status = strtol(answer, &end, 10);
    if (end[0] == ' ' && end[1] != '\0')
        puts(end + 1);
    return (int)status;
}

static int obey(const char *path, const char *number)
{
    char *text = await_text(open_store(), path, beginning_of(number), 1e6);
    puts(text != NULL ? text : "");
    return text == NULL;
}

/* The last of FILE, without the last line's end. */
static int answer(char **words)
{
    char text[1000], last[900] = "";
    FILE *file = fopen(words[5], "r");
    if (file != NULL && fseek(file, -(long)(sizeof(last) - 1), SEEK_END) != 0)
        rewind(file);
    size_t n = file != NULL ? fread(last, 1, sizeof(last) - 1, file) : 0;
    last[n] = '\0';
    if (n > 0 && last[n - 1] == '\n')
        last[n - 1] = '\0';
    snprintf(text, sizeof(text), "%s %s %s", words[3], words[4], last);
    return xs_write(open_store(), XBT_NULL, words[2], text, (unsigned)strlen(text)) ? 0 : 1;
}

/* ---- */

static int print_pattern(uint64_t total)
{
    for (uint64_t at = 0; at < total; at += CHUNK) {
        size_t n = total - at < CHUNK ? total - at : CHUNK;
        fill(sent_bytes, at, n);
        if (fwrite(sent_bytes, 1, n, stdout) != n)
            return 1;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}

int main(int n, char **words)
{
    setvbuf(stdout, NULL, n > 1 && strcmp(words[1], "pattern") == 0 ? _IOFBF : _IOLBF, CHUNK);
    if (n == 3 && strcmp(words[1], "pattern") == 0)
        return print_pattern(strtoull(words[2], NULL, 10));
    if (n == 7 && strcmp(words[1], "echo") == 0)
        return echo(serve(words, strtoul(words[4], NULL, 10), strtoul(words[5], NULL, 10)),
                    strtoull(words[6], NULL, 10));
    if (n == 4 && strcmp(words[1], "stay") == 0)
        return hold(serve(words, 4096, 4096));
    if (n == 5 && strcmp(words[1], "call") == 0)
        return check(call(words), strtoull(words[4], NULL, 10));
    if (n == 5 && strcmp(words[1], "pour") == 0)
        return pour(call(words), strtoull(words[4], NULL, 10));
    if (n == 4 && strcmp(words[1], "hold") == 0)
        return hold(call(words));
    if (n == 3 && strcmp(words[1], "pages") == 0)
        return count_pages((uint32_t)atoi(words[2]));
    if (n == 5 && strcmp(words[1], "await") == 0)
        return await_text(open_store(), words[2], words[3], strtod(words[4], NULL)) == NULL;
    if (n == 6 && strcmp(words[1], "order") == 0)
        return order(words);
    if (n == 4 && strcmp(words[1], "obey") == 0)
        return obey(words[2], words[3]);
    if (n == 6 && strcmp(words[1], "answer") == 0)
        return answer(words);
    if (n == 4 && strcmp(words[1], "watch") == 0)
        return watch(call(words));
    fputs("see the head of peer.c\n", stderr);
    return 2;
}
