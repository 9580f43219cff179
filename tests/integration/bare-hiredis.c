/* SPDX-License-Identifier: ISC */
/*
 * What redis-ping is measured beside: hiredis as it comes, with its own socket, sending as many
 * PINGs in the same windows.
 *
 *     bare-hiredis PORT|PATH N        "N PONG in SECONDS s"
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WINDOW = 1000 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int receive(redisContext *redis)
{
    redisReply *reply = NULL;
    if (redisGetReply(redis, (void **)&reply) != REDIS_OK)
        return -1;
    int wrong = strcmp(reply->str, "PONG");
    freeReplyObject(reply);
    return wrong;
}

int main(int argc, char **argv)
{
    redisContext *redis = argc != 3         ? NULL
                          : *argv[1] == '/' ? redisConnectUnix(argv[1])
                                            : redisConnect("127.0.0.1", atoi(argv[1]));
    if (redis == NULL || redis->err != 0)
        return 1;
    unsigned long n = strtoul(argv[2], NULL, 10), sent = 0, received = 0;
    double began = now();
    while (received < n) {
        if (sent - received <= WINDOW / 2)
            for (; sent < n && sent - received < WINDOW; sent++)
                redisAppendCommand(redis, "PING");
        if (receive(redis) != 0)
            return 1;
        received++;
    }
    printf("%lu PONG in %.3f s\n", received, now() - began);
    redisFree(redis);
    return 0;
}
