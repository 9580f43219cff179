/* SPDX-License-Identifier: ISC */
/* Ask and wait for the answer: blocking tcp://localhost:7000 'hello' */
#include <conduit/blocking.h>
#include <stdio.h>
#include <string.h>

static int complain(const conduit_error *why)
{
    fprintf(stderr, "blocking: %s\n", why != NULL ? conduit_error_text(why) : "no answer in time");
    return 1;
}

static int ask(conduit_blocking *b, const char *question)
{
    char answer[4096];
    ssize_t n;
    if (conduit_blocking_write(b, question, strlen(question), 5000) < (ssize_t)strlen(question) ||
        conduit_blocking_end(b, 5000) < 0)
        return complain(conduit_blocking_error(b));
    while ((n = conduit_blocking_read(b, answer, sizeof(answer), 5000)) > 0)
        fwrite(answer, 1, (size_t)n, stdout);
    return n == 0 ? 0 : complain(conduit_blocking_error(b));
}

int main(int argc, char **argv)
{
    conduit_blocking *b;
    const conduit_error *why = NULL;
    if (argc != 3) {
        fputs("usage: blocking URI QUESTION\n", stderr);
        return 2;
    }
    if (conduit_blocking_connect(argv[1], NULL, &b, &why) < 0) {
        int code = complain(why);
        conduit_error_unref(why);
        return code;
    }
    int code = ask(b, argv[2]);
    conduit_blocking_close(b, 1000);
    return code;
}
