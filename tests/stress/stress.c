/* SPDX-License-Identifier: ISC */
/*
 * Random walks by the thousand: walk.h says what a walk is.
 *
 *     stress [-n WALKS] [-s SEED] [-m sockets] [-f N]    many walks, from SEED (or one of the time)
 *     stress -1 SEED [-x STEPS] [-t]                     one walk again, without STEPS, told in words
 *
 * Walks run in a child, a block of them each; when one dies, its seed is printed, the walk is run
 * again alone without as many of its steps as it can fail without, and then how to repeat that.
 */
#include "party.h"
#include "walk.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 5000, PATIENCE_S = 300 };

/* What the child tells the parent. */
static struct progress {
    uint64_t seed;
    unsigned n_steps;
} * progress;

static struct cdt_walk_options options;
static char directory[] = "/tmp/conduit-stress-XXXXXX";

/* ---- walks in a child ---- */

static void walk_all(uint64_t seed, uint64_t n, const bool *skip)
{
    alarm(PATIENCE_S);
    cdt_walk_begin(&options);
    for (progress->seed = seed; progress->seed < seed + n; progress->seed++)
        progress->n_steps = cdt_walk(progress->seed, skip);
    cdt_walk_end();
}

/* True if they went well. `quiet`: nobody wants to read why not. */
static bool survives(uint64_t seed, uint64_t n, const bool *skip, bool quiet)
{
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (quiet)
            dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
        walk_all(seed, n, skip);
        exit(0);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- shrinking ---- */

static void print_again(uint64_t seed, const bool skip[CDT_MOST_STEPS])
{
    const char *comma = " -x ";
    printf("again: stress%s -t -1 %llu", options.sockets ? " -m sockets" : "",
           (unsigned long long)seed);
    if (options.starve > 0)
        printf(" -f %u", options.starve);
    for (int i = 0; i < CDT_MOST_STEPS; i++) {
        if (skip[i])
            printf("%s%d", comma, i);
        comma = skip[i] ? "," : comma;
    }
    printf("\n");
}

/* Leave out what it fails without: halves, then quarters, down to single steps. */
static void shrink(uint64_t seed)
{
    bool skip[CDT_MOST_STEPS] = {false}, tried[CDT_MOST_STEPS];
    if (survives(seed, 1, skip, true)) {
        printf("alone it goes well: it takes those before it, too\n");
        return;
    }
    for (int width = CDT_MOST_STEPS / 2; width > 0; width /= 2) {
        for (int at = 0; at < CDT_MOST_STEPS; at += width) {
            memcpy(tried, skip, sizeof(tried));
            memset(tried + at, true, (size_t)width);
            if (!survives(seed, 1, tried, true))
                memcpy(skip, tried, sizeof(skip));
        }
    }
    print_again(seed, skip);
    fflush(NULL);
    cdt_tell = true;
    survives(seed, 1, skip, false);
}

/* ---- the program ---- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int run_many(uint64_t seed, uint64_t n)
{
    double since = seconds();
    printf("%llu walks %s, from seed %llu\n", (unsigned long long)n,
           options.sockets ? "over sockets" : "in memory", (unsigned long long)seed);
    for (uint64_t done = 0; done < n;) {
        uint64_t block = n - done < BLOCK ? n - done : BLOCK;
        if (!survives(seed + done, block, NULL, false)) {
            printf("seed %llu failed\n", (unsigned long long)progress->seed);
            shrink(progress->seed);
            return 1;
        }
        done += block;
    }
    printf("all of them went well: %.0f a second\n", (double)n / (seconds() - since));
    return 0;
}

static void parse_steps(const char *text, bool skip[CDT_MOST_STEPS])
{
    while (*text != '\0') {
        char *end = NULL;
        unsigned long step = strtoul(text, &end, 10);
        if (step < CDT_MOST_STEPS)
            skip[step] = true;
        text = *end == ',' ? end + 1 : end + strlen(end);
    }
}

static bool prepare(void)
{
    char command[1024];
    progress =
        mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (progress == MAP_FAILED || mkdtemp(directory) == NULL)
        return false;
    options.dir = options.certs = directory;
    snprintf(command, sizeof(command), "%s/make-certs %s", CDT_TEST_CERTS, directory);
    return !options.sockets || system(command) == 0;
}

static void clean_up(void)
{
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    if (system(command) != 0)
        fprintf(stderr, "%s is left behind\n", directory);
}

static int usage(void)
{
    fprintf(stderr, "usage: stress [-n WALKS] [-s SEED] [-m sockets] [-f N]\n"
                    "       stress -1 SEED [-x STEP,STEP...] [-t] [-m sockets] [-f N]\n");
    return 2;
}

int main(int argc, char **argv)
{
    bool skip[CDT_MOST_STEPS] = {false}, single = false;
    uint64_t n = 1000, seed = (uint64_t)time(NULL) * 1000000;
    for (int option; (option = getopt(argc, argv, "n:s:m:f:1:x:t")) != -1;) {
        switch (option) {
        case 'n':
            n = strtoull(optarg, NULL, 10);
            break;
        case '1':
        case 's':
            single = single || option == '1';
            seed = strtoull(optarg, NULL, 10);
            break;
        case 'm':
            options.sockets = strcmp(optarg, "sockets") == 0;
            break;
        case 'f':
            options.starve = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'x':
            parse_steps(optarg, skip);
            break;
        case 't':
            cdt_tell = true;
            break;
        default:
            return usage();
        }
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!prepare())
        return 1;
    int code = single ? !survives(seed, 1, skip, false) : run_many(seed, n);
    clean_up();
    return code;
}
