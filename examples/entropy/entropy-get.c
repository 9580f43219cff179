/* SPDX-License-Identifier: ISC */
/*
 * entropy-get: ask an entropyd for random bytes, and print them or give them to the kernel.
 *
 *     entropy-get vchan://entropy/entropy
 *     entropy-get --mix --every 600 tls://entropy.example:7683
 *
 * What comes is another's word. So --mix writes it to /dev/urandom, which anybody may: the kernel
 * stirs it in, where it can do no harm, and credits nothing for it. To have it credited takes
 * RNDADDENTROPY, root, and trust in the server that this program has no reason for. With --every it
 * asks again and again, and an end of the supply is told and no reason to stop.
 */
#include "greeting.h"
#include "options.h"
#include <conduit/blocking.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 4096, USUAL = 16, ENOUGH_MS = 60000, CLOSE_MS = 1000 };

static const char help[] =
    "usage: entropy-get [options] URI\n"
    "Ask an entropyd for random bytes and print them in hexadecimal.\n"
    "  --bytes N              so many, up to 4096 (16)\n"
    "  --timeout SECONDS      ... within that, the greeting included (60)\n"
    "  --mix                  write them to /dev/urandom instead, which credits nothing for them\n"
    "  --every SECONDS        ask again and again\n" OPTIONS_HELP
    "1 is also: there were fewer bytes.\n";

static struct {
    unsigned bytes, timeout_ms, every_s;
    bool mix;
} how = {.bytes = USUAL, .timeout_ms = ENOUGH_MS};

/* What has come. */
struct supply {
    unsigned char bytes[MOST];
    size_t n, matched; /* ... and of the answer before it */
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- asking ---- */

/* Bytes that came: first the answer, then what is asked for. False: it is no answer. */
static bool take(struct supply *supply, const unsigned char *data, size_t n)
{
    long belongs = greeting_match(ENTROPY_ANSWER, &supply->matched, data, n);
    if (belongs < 0)
        return false;
    n -= (size_t)belongs;
    if (n > how.bytes - supply->n)
        n = how.bytes - supply->n;
    memcpy(supply->bytes + supply->n, data + belongs, n);
    supply->n += n;
    return true;
}

static int no_entropyd(void)
{
    fputs("entropy-get: who is there is no entropyd\n", stderr);
    return 4;
}

/* Read until there is enough. 0, or what to exit with. */
static int receive(conduit_blocking *b, struct supply *supply)
{
    unsigned char data[512];
    uint64_t now = now_ms(), until = now + how.timeout_ms;
    ssize_t n = 1;
    int code = 0;
    while (code == 0 && n > 0 && supply->n < how.bytes && now < until) {
        n = conduit_blocking_read(b, data, sizeof(data), (uint32_t)(until - now));
        if (n > 0 && !take(supply, data, (size_t)n))
            code = no_entropyd();
        now = now_ms();
    }
    explicit_bzero(data, sizeof(data));
    if (code == 0 && n < 0 && n != CONDUIT_ETIMEDOUT)
        code = complain(conduit_blocking_error(b));
    return code;
}

static int ask(conduit_ctx *ctx, const struct options *options, struct supply *supply)
{
    const conduit_blocking_options where = {.ctx = ctx, .connect = options->connect};
    const conduit_error *why = NULL;
    conduit_blocking *b;
    if (conduit_blocking_connect(options->uri, &where, &b, &why) < 0) {
        int code = complain(why);
        conduit_error_unref(why);
        return code;
    }
    conduit_blocking_write(b, ENTROPY_QUESTION, strlen(ENTROPY_QUESTION), how.timeout_ms);
    int code = receive(b, supply);
    conduit_blocking_close(b, CLOSE_MS);
    return code;
}

/* ---- using it ---- */

static int mix(const struct supply *supply)
{
    int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, supply->bytes, supply->n) == (ssize_t)supply->n;
    if (!done)
        perror("entropy-get: /dev/urandom");
    else
        fprintf(stderr, "entropy-get: %zu bytes mixed in, none credited\n", supply->n);
    if (fd >= 0)
        close(fd);
    return done ? 0 : 4;
}

static int print(const struct supply *supply)
{
    for (size_t i = 0; i < supply->n; i++)
        printf("%02x", supply->bytes[i]);
    if (supply->n > 0)
        putchar('\n');
    return fflush(stdout) == 0 ? 0 : 4;
}

static int get(conduit_ctx *ctx, const struct options *options)
{
    struct supply supply = {0};
    int code = ask(ctx, options, &supply);
    bool enough = supply.n == how.bytes;
    if (supply.n > 0 && (how.mix ? mix(&supply) : print(&supply)) != 0)
        code = 4;
    explicit_bzero(&supply, sizeof(supply));
    if (code == 0 && !enough) {
        fprintf(stderr, "entropy-get: %u bytes were asked for, and there were fewer\n", how.bytes);
        code = 1;
    }
    return code;
}

/* ---- the command line ---- */

static bool read_number(const char *text, unsigned most, unsigned *ret)
{
    char *end;
    unsigned long n = text != NULL ? strtoul(text, &end, 10) : 0;
    *ret = (unsigned)n;
    return text != NULL && *text >= '0' && *text <= '9' && *end == '\0' && n > 0 && n <= most;
}

/* One of ours at argv[i]: how many arguments it has, 0 if it is none, -1 if it is wrong. */
static int read_own(char **argv, int i)
{
    unsigned *number = NULL, seconds;
    if (strcmp(argv[i], "--mix") == 0)
        how.mix = true;
    else if (strcmp(argv[i], "--bytes") == 0)
        return read_number(argv[i + 1], MOST, &how.bytes) ? 2 : -1;
    else if (strcmp(argv[i], "--every") == 0)
        number = &how.every_s;
    else if (strcmp(argv[i], "--timeout") == 0)
        number = &how.timeout_ms;
    else
        return 0;
    if (number == NULL)
        return 1;
    if (!read_number(argv[i + 1], 1000000, &seconds))
        return -1;
    *number = number == &how.timeout_ms ? seconds * 1000 : seconds;
    return 2;
}

/* Take out of the command line what options.h does not know. False if some of it is wrong. */
static bool take_own(int *argc, char **argv)
{
    int n = 1;
    for (int i = 1; i < *argc;) {
        int taken = read_own(argv, i);
        if (taken < 0) {
            fprintf(stderr, "entropy-get: %s: a number goes with it; --help says more\n", argv[i]);
            return false;
        }
        if (taken == 0)
            argv[n++] = argv[i];
        i += taken > 0 ? taken : 1;
    }
    argv[n] = NULL;
    *argc = n;
    return true;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    if (!take_own(&argc, argv))
        return 2;
    int code = options_read(&options, help, argc, argv);
    conduit_ctx *ctx = code < 0 ? options_ctx(&options, &code) : NULL;
    if (ctx != NULL)
        code = get(ctx, &options);
    while (ctx != NULL && how.every_s > 0 && code != 2) {
        sleep(how.every_s);
        code = get(ctx, &options);
    }
    conduit_ctx_free(ctx);
    options_done(&options);
    return code;
}
