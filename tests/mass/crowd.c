/* SPDX-License-Identifier: ISC */
/*
 * A crowd: many connections of one process to a server that echoes. It is told what to do, a line
 * at a time, and says "ok N SECONDS", or "failed N: the first reason".
 *
 *     crowd URI [--ca FILE] [--bind ADDRESS]
 *
 *     open N     N more connections, each of which echoes a message and stays
 *     echo       all of them echo another message, at once
 *     close      all of them end gracefully
 *     churn N    N connections that come, echo a message, end gracefully and are gone
 *
 * Between two lines the loop rests, so that whoever looks at the process sees it standing still. A
 * guest is one connection's state. There is room for as many as one process may have, and whose
 * connection has closed is free for the next.
 */
#include <conduit/conduit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 20000, AT_ONCE = 100, MESSAGE = 1000 };

struct guest {
    conduit_conn *conn;
    unsigned number, round; /* what its message is made of */
    size_t got;
    bool busy; /* has yet to do its part of the job */
};

/* What the line says. */
static struct job {
    size_t to_start, under_way, done, failed;
    bool leaves; /* whoever has echoed goes */
    char reason[256];
} job;

static conduit_ctx *ctx;
static const char *uri;
static conduit_connect_options how;
static struct guest guests[MOST], *idle[MOST];
static size_t n_idle;

/* ---- the job ---- */

static void start_more(void);

static void fail(const char *reason)
{
    if (job.failed++ == 0)
        snprintf(job.reason, sizeof(job.reason), "%s", reason);
}

static void finish_part(struct guest *guest)
{
    if (!guest->busy)
        return;
    guest->busy = false;
    job.under_way--;
    job.done++;
    start_more();
    if (job.under_way == 0)
        conduit_stop(ctx);
}

static void begin_part(struct guest *guest)
{
    guest->busy = true;
    job.under_way++;
}

/* ---- a guest ---- */

static unsigned char byte_of(const struct guest *guest, size_t i)
{
    return (unsigned char)(guest->number * 31 + guest->round * 7 + i + (i >> 8));
}

static void say(struct guest *guest)
{
    unsigned char message[MESSAGE];
    guest->round++;
    guest->got = 0;
    for (size_t i = 0; i < MESSAGE; i++)
        message[i] = byte_of(guest, i);
    if (conduit_write(guest->conn, message, MESSAGE) < 0)
        conduit_abort(guest->conn);
}

static void on_open(conduit_conn *conn, void *user)
{
    say(user);
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct guest *guest = user;
    const unsigned char *bytes = data;
    for (size_t i = 0; i < n; i++, guest->got++)
        if (guest->got >= MESSAGE || bytes[i] != byte_of(guest, guest->got)) {
            fail("what came back is not what was sent");
            conduit_abort(conn);
            return;
        }
    if (guest->got < MESSAGE)
        return;
    if (job.leaves)
        conduit_end(conn);
    else
        finish_part(guest);
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct guest *guest = user;
    guest->conn = NULL;
    idle[n_idle++] = guest;
    if (why != NULL)
        fail(conduit_error_text(why));
    else if (!job.leaves)
        fail("the server ended a connection that was to stay");
    finish_part(guest);
}

static void start(struct guest *guest)
{
    static const conduit_handler handler = {
        .on_open = on_open, .on_data = on_data, .on_close = on_close};
    if (conduit_connect(ctx, uri, &how, &handler, guest, &guest->conn) == 0) {
        begin_part(guest);
        return;
    }
    fail(conduit_error_text(conduit_ctx_error(ctx)));
    idle[n_idle++] = guest;
}

static void start_more(void)
{
    for (; job.to_start > 0 && job.under_way < AT_ONCE && n_idle > 0; job.to_start--)
        start(idle[--n_idle]);
}

/* ---- lines ---- */

static void all_say(void)
{
    for (size_t i = 0; i < MOST; i++)
        if (guests[i].conn != NULL) {
            begin_part(&guests[i]);
            say(&guests[i]);
        }
}

static void all_leave(void)
{
    job.leaves = true;
    for (size_t i = 0; i < MOST; i++)
        if (guests[i].conn != NULL) {
            begin_part(&guests[i]);
            conduit_end(guests[i].conn);
        }
}

static bool begin(const char *line)
{
    job = (struct job){0};
    bool churn = strncmp(line, "churn ", 6) == 0;
    if (churn || strncmp(line, "open ", 5) == 0) {
        job.leaves = churn;
        job.to_start = strtoul(strchr(line, ' '), NULL, 10);
        start_more();
    } else if (strcmp(line, "echo") == 0) {
        all_say();
    } else if (strcmp(line, "close") == 0) {
        all_leave();
    } else {
        return false;
    }
    return true;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int obey(void)
{
    char line[64];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        double since = seconds();
        line[strcspn(line, "\n")] = '\0';
        if (!begin(line))
            return 2;
        if (job.under_way > 0)
            conduit_run(ctx);
        if (job.failed > 0)
            printf("failed %zu: %s\n", job.failed, job.reason);
        else
            printf("ok %zu %.3f\n", job.done, seconds() - since);
    }
    return 0;
}

static bool read_options(int argc, char **argv)
{
    static char bind[64];
    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--ca") == 0) {
            how.tls = conduit_tls_new();
            if (conduit_tls_set(how.tls, "ca", argv[i + 1], NULL) < 0)
                return false;
        } else if (strcmp(argv[i], "--bind") == 0) {
            snprintf(bind, sizeof(bind), "bind=%s", argv[i + 1]);
            how.endpoint_params = bind;
        }
    }
    uri = argv[1];
    return argc > 1;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    ctx = conduit_ctx_new(NULL);
    if (ctx == NULL || !read_options(argc, argv))
        return 2;
    for (unsigned i = 0; i < MOST; i++) {
        guests[i].number = i;
        idle[n_idle++] = &guests[i];
    }
    int code = obey();
    conduit_ctx_free(ctx);
    conduit_tls_unref(how.tls);
    return code;
}
