/* SPDX-License-Identifier: ISC */
/*
 * What other threads may do to a context, all at once: post to it, stop it, and share immutable
 * values with it. A plain program, for Criterion aborts under the thread sanitizer; it says what
 * went wrong and exits with 1.
 */
#include <conduit/conduit.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONTEXTS = 3, POSTERS = 3, POSTS = 2000 };

struct member {
    pthread_t thread;
    conduit_ctx *ctx;
    unsigned posts; /* run; its thread's alone */
};

static struct member members[CONTEXTS];
static const conduit_endpoint *shared; /* by all threads, counted */

static void on_post(conduit_ctx *ctx, void *arg)
{
    struct member *member = arg;
    const conduit_endpoint *mine = conduit_endpoint_ref(shared);
    if (conduit_endpoint_port(mine) == 80)
        member->posts++;
    conduit_endpoint_unref(mine);
    if (member->posts == POSTERS * POSTS)
        conduit_stop(ctx);
}

static void *run(void *arg)
{
    struct member *member = arg;
    /* a listener, so that there is something to run for */
    if (conduit_listen(member->ctx, "inproc://x", NULL, NULL, NULL, NULL) == 0)
        conduit_run(member->ctx);
    return NULL;
}

static void *post(void *arg)
{
    for (int i = 0; i < POSTS; i++)
        for (int to = 0; to < CONTEXTS; to++)
            if (conduit_post(members[to].ctx, on_post, &members[to]) < 0)
                abort();
    return NULL;
}

static void start(pthread_t *thread, void *(*what)(void *), void *arg)
{
    if (pthread_create(thread, NULL, what, arg) != 0)
        abort();
}

int main(void)
{
    pthread_t posters[POSTERS];
    int failed = conduit_endpoint_parse("tcp://192.0.2.7:80", &shared, NULL) < 0;
    for (int i = 0; i < CONTEXTS; i++) {
        members[i].ctx = conduit_ctx_new(NULL);
        start(&members[i].thread, run, &members[i]);
    }
    for (int i = 0; i < POSTERS; i++)
        start(&posters[i], post, NULL);
    for (int i = 0; i < POSTERS; i++)
        pthread_join(posters[i], NULL);
    for (int i = 0; i < CONTEXTS; i++) {
        pthread_join(members[i].thread, NULL);
        conduit_ctx_free(members[i].ctx);
        if (members[i].posts == POSTERS * POSTS)
            continue;
        fprintf(stderr, "context %d ran %u of %d posts\n", i, members[i].posts, POSTERS * POSTS);
        failed = 1;
    }
    conduit_endpoint_unref(shared);
    return failed;
}
