/* SPDX-License-Identifier: ISC */
/*
 * What a program with one context does, many times over: to start a process for each takes longer
 * than all the rest where the processor is emulated.
 *
 *   ours series URI N BYTES     N connections to an echo, one after another
 *   ours crowd URI N BYTES      N at once: all are open before the first says anything
 *   ours names                  look up each line of standard input, and say what there is
 *
 * Exit status 0 if all went well, 1 with a line on standard error if not.
 */
#include <conduit/conduit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64, MOST_BYTES = 65536, PATIENCE_MS = 60000 };

static conduit_ctx *ctx;
static bool remembered;

static void note_cache(void *user, double at_ms, const char *event, const char *text)
{
    remembered |= strcmp(event, "cache") == 0;
}

static int fail(const char *what, const conduit_error *why)
{
    fprintf(stderr, "ours: %s: %s\n", what, why != NULL ? conduit_error_text(why) : "it failed");
    return 1;
}

/* ---- connections ---- */

static conduit_blocking *dial(const char *uri)
{
    const conduit_blocking_options options = {.ctx = ctx};
    const conduit_error *why = NULL;
    conduit_blocking *one = NULL;
    if (conduit_blocking_connect(uri, &options, &one, &why) < 0)
        fail(uri, why);
    conduit_error_unref(why);
    return one;
}

/* Other bytes each time. */
static int echo(conduit_blocking *one, size_t n, int number)
{
    static unsigned char sent[MOST_BYTES], got[MOST_BYTES];
    for (size_t i = 0; i < n; i++)
        sent[i] = (unsigned char)(i * 7 + (i >> 8) + (size_t)number * 31);
    if (conduit_blocking_write(one, sent, n, PATIENCE_MS) != (ssize_t)n)
        return fail("write", conduit_blocking_error(one));
    for (size_t at = 0; at < n;) {
        ssize_t more = conduit_blocking_read(one, got + at, n - at, PATIENCE_MS);
        if (more <= 0)
            return fail("read", conduit_blocking_error(one));
        at += (size_t)more;
    }
    return memcmp(sent, got, n) == 0 ? 0 : fail("other bytes came back", NULL);
}

static int series(const char *uri, int n, size_t bytes)
{
    for (int i = 0; i < n; i++) {
        conduit_blocking *one = dial(uri);
        if (one == NULL || echo(one, bytes, i) != 0 || conduit_blocking_close(one, PATIENCE_MS) < 0)
            return 1;
    }
    printf("%d connections\n", n);
    return 0;
}

static int crowd(const char *uri, int n, size_t bytes)
{
    static conduit_blocking *all[MOST];
    for (int i = 0; i < n; i++)
        if ((all[i] = dial(uri)) == NULL)
            return 1;
    for (int i = n - 1; i >= 0; i--)
        if (echo(all[i], bytes, i) != 0)
            return 1;
    for (int i = 0; i < n; i++)
        if (conduit_blocking_close(all[i], PATIENCE_MS) < 0)
            return 1;
    printf("%d at once\n", n);
    return 0;
}

/* ---- names ---- */

static void on_resolved(conduit_resolution *resolution, const conduit_answer *answers, size_t n,
                        const conduit_error *why, void *user)
{
    printf("%s %s\n", n > 0 ? conduit_endpoint_uri(answers[0].endpoint) : conduit_error_text(why),
           remembered ? "(remembered)" : "(asked for)");
}

/* The loop stands between two lines: what has changed meanwhile has to be found out all the
 * same. */
static int names(void)
{
    char line[256];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        remembered = false;
        if (conduit_resolve(ctx, line, NULL, on_resolved, NULL, NULL) < 0)
            return fail(line, conduit_ctx_error(ctx));
        conduit_run(ctx);
        fflush(stdout);
    }
    return 0;
}

int main(int n, char **words)
{
    const conduit_ctx_options options = {.trace = note_cache};
    int number = n == 5 ? atoi(words[3]) : 0, code = 2;
    size_t bytes = n == 5 ? strtoul(words[4], NULL, 10) : 0;
    ctx = conduit_ctx_new(&options);
    if (ctx == NULL)
        return fail("context", NULL);
    if (n == 5 && strcmp(words[1], "series") == 0 && bytes <= MOST_BYTES)
        code = series(words[2], number, bytes);
    else if (n == 5 && strcmp(words[1], "crowd") == 0 && number <= MOST && bytes <= MOST_BYTES)
        code = crowd(words[2], number, bytes);
    else if (n == 2 && strcmp(words[1], "names") == 0)
        code = names();
    conduit_ctx_free(ctx);
    return code;
}
