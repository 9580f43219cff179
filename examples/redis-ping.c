/* SPDX-License-Identifier: ISC */
/*
 * redis-ping: ask a Redis server whether it is there, and how quickly it says so.
 *
 *     redis-ping redis://localhost/          redis-ping -n 1000000 rediss://me:secret@db.example/
 *     redis-ping --subscribe news -n 3 redis+unix://%2Frun%2Fredis.sock/
 *
 * As many as WINDOW pings are on their way at once. There is one struct ping, as long as main().
 */
#include "options.h"
#include "redis.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WINDOW = 1000 };

struct ping {
    const char *channel; /* NULL: ping */
    unsigned long n, sent, received;
    double began, took;
    int code;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(struct redis *redis, struct ping *ping, const char *why)
{
    if (ping->code == 0)
        fprintf(stderr, "redis-ping: %s\n", why);
    ping->code = 4;
    redis_close(redis);
}

static void count(struct redis *redis, struct ping *ping)
{
    if (++ping->received < ping->n)
        return;
    ping->took = now() - ping->began;
    redis_close(redis);
}

/* ---- pings ---- */

static void on_pong(struct redis *redis, const redisReply *reply, void *user);

/* Half a window at a time, so that many go out together. */
static void send_pings(struct redis *redis, struct ping *ping)
{
    if (ping->sent - ping->received > WINDOW / 2)
        return;
    while (ping->sent < ping->n && ping->sent - ping->received < WINDOW) {
        if (redis_command(redis, on_pong, ping, "PING") < 0)
            return; /* the connection is at its end, and on_close says why */
        ping->sent++;
    }
}

static void on_pong(struct redis *redis, const redisReply *reply, void *user)
{
    struct ping *ping = user;
    if (reply == NULL)
        return;
    if (reply->type != REDIS_REPLY_STATUS || strcmp(reply->str, "PONG") != 0) {
        fail(redis, ping, reply->str != NULL ? reply->str : "this is no PONG");
        return;
    }
    count(redis, ping);
    send_pings(redis, ping);
}

/* ---- channels ---- */

static void on_message(struct redis *redis, const redisReply *message, void *user)
{
    const redisReply *text = message->element[2];
    if (text->type != REDIS_REPLY_STRING) {
        printf("subscribed to %s\n", message->element[1]->str);
        fflush(stdout);
        return;
    }
    fwrite(text->str, 1, text->len, stdout);
    putchar('\n');
    count(redis, user);
}

/* ---- running ---- */

static void on_open(struct redis *redis, void *user)
{
    struct ping *ping = user;
    ping->began = now();
    if (ping->channel != NULL)
        redis_subscribe(redis, ping->channel);
    else
        send_pings(redis, ping);
}

static void on_close(struct redis *redis, const conduit_error *why, void *user)
{
    struct ping *ping = user;
    if (ping->code != 0 || ping->received >= ping->n)
        return;
    ping->code = 4;
    if (why != NULL)
        ping->code = complain(why);
    else
        fprintf(stderr, "redis-ping: the server ended it\n");
}

static void report(const struct ping *ping)
{
    if (ping->code == 0 && ping->channel == NULL)
        printf("%lu PONG in %.3f s, %.0f a second\n", ping->received, ping->took,
               (double)ping->received / (ping->took > 0 ? ping->took : 1e-9));
}

static int run(struct ping *ping, const struct options *options)
{
    static const struct redis_events events = {
        .on_open = on_open, .on_message = on_message, .on_close = on_close};
    conduit_ctx *ctx = options_ctx(options, &ping->code);
    if (ctx == NULL)
        return ping->code;
    if (redis_connect(ctx, options->uri, &options->connect, &events, ping) == NULL)
        ping->code = complain(conduit_ctx_error(ctx));
    else
        conduit_run(ctx);
    conduit_ctx_free(ctx);
    report(ping);
    return ping->code;
}

/* The value of option `name`, taken out of the command line; NULL: it is not there. */
static const char *take(const char *name, int *argc, char **argv)
{
    for (int i = 1; i + 1 < *argc; i++) {
        if (strcmp(argv[i], name) != 0)
            continue;
        const char *value = argv[i + 1];
        *argc -= 2;
        memmove(&argv[i], &argv[i + 2], (size_t)(*argc - i + 1) * sizeof(*argv));
        return value;
    }
    return NULL;
}

/* 0: it is none. */
static unsigned long read_count(const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    return *end == '\0' && *text != '-' ? n : 0;
}

int main(int argc, char **argv)
{
    /* clang-format off */
    static const char help[] =
        "usage: redis-ping [options] URI\n"
        "Ask the server at redis:, rediss: or redis+unix: for PONG, and say how long that took.\n"
        "  -n N                   N times, many at once\n"
        "  --subscribe CHANNEL    print the messages of CHANNEL instead, a line each, until N came\n"
        OPTIONS_HELP;
    /* clang-format on */
    struct options options = {0};
    struct ping ping = {.channel = take("--subscribe", &argc, argv)};
    const char *n = take("-n", &argc, argv);
    ping.n = n != NULL ? read_count(n) : 1;
    int code = options_read(&options, help, argc, argv);
    if (code < 0 && ping.n == 0) {
        fprintf(stderr, "redis-ping: -n wants a number\n");
        code = 2;
    }
    if (code < 0)
        code = run(&ping, &options);
    options_done(&options);
    return code;
}
