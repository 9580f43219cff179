/* SPDX-License-Identifier: ISC */
/*
 * See redis.h. Replies come in the order of the commands, so all there is to remember of those on
 * their way is a queue of who wants them.
 *
 * Commands that are given in a row leave in one piece: that is `gather` of the connection's options.
 */
#include "redis.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SECRET = 1024 };

struct waiting {
    redis_reply_fn fn;
    void *user;
};

struct redis {
    conduit_conn *conn; /* NULL: it has ended */
    redisReader *reader;
    struct redis_events events;
    void *user;
    struct waiting *queue; /* a ring of `size`, a power of two: [first, last) */
    size_t size, first, last;
    size_t push_from; /* from this command on arrays may be messages; SIZE_MAX: they are not */
};

/* ---- the queue ---- */

static bool grow(struct redis *redis)
{
    size_t size = redis->size > 0 ? redis->size * 2 : 64;
    struct waiting *queue = malloc(size * sizeof(*queue));
    if (queue == NULL)
        return false;
    for (size_t i = redis->first; i != redis->last; i++)
        queue[i & (size - 1)] = redis->queue[i & (redis->size - 1)];
    free(redis->queue);
    redis->queue = queue;
    redis->size = size;
    return true;
}

static bool expect(struct redis *redis, redis_reply_fn fn, void *user)
{
    if (redis->last - redis->first == redis->size && !grow(redis))
        return false;
    redis->queue[redis->last++ & (redis->size - 1)] = (struct waiting){fn, user};
    return true;
}

static void answer(struct redis *redis, const redisReply *reply)
{
    struct waiting next = redis->queue[redis->first++ & (redis->size - 1)];
    if (next.fn != NULL)
        next.fn(redis, reply, next.user);
}

/* ---- sending ---- */

/* `bytes` are hiredis's, and freed here. */
static int send_bytes(struct redis *redis, char *bytes, int n)
{
    if (n < 0)
        return n == -1 ? CONDUIT_ENOMEM : CONDUIT_EINVAL;
    int code = redis->conn != NULL ? conduit_write(redis->conn, bytes, (size_t)n) : CONDUIT_ECLOSED;
    free(bytes);
    return code;
}

static int send_command(struct redis *redis, redis_reply_fn fn, void *user, char *bytes, int n)
{
    bool expected = expect(redis, fn, user);
    int code = send_bytes(redis, bytes, expected || n < 0 ? n : 0);
    redis->last -= expected && code < 0;
    return expected || code < 0 ? code : CONDUIT_ENOMEM;
}

int redis_command(struct redis *redis, redis_reply_fn fn, void *user, const char *format, ...)
{
    char *bytes = NULL;
    va_list args;
    va_start(args, format);
    int n = redisvFormatCommand(&bytes, format, args);
    va_end(args);
    return send_command(redis, fn, user, bytes, n);
}

int redis_command_argv(struct redis *redis, redis_reply_fn fn, void *user, int argc,
                       const char **argv)
{
    char *bytes = NULL;
    int n = redisFormatCommandArgv(&bytes, argc, argv, NULL);
    return send_command(redis, fn, user, bytes, n);
}

/* Its word comes as a message, and not as the reply to a command. */
int redis_subscribe(struct redis *redis, const char *channel)
{
    char *bytes = NULL;
    int n = redisFormatCommand(&bytes, "SUBSCRIBE %s", channel);
    int code = send_bytes(redis, bytes, n);
    if (code >= 0 && redis->push_from == SIZE_MAX)
        redis->push_from = redis->last;
    return code;
}

/* ---- what comes ---- */

static bool is_message(const struct redis *redis, const redisReply *reply)
{
    static const char *const kinds[] = {"message", "subscribe", "unsubscribe"};
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 || redis->push_from == SIZE_MAX ||
        redis->first < redis->push_from || reply->element[0]->type != REDIS_REPLY_STRING)
        return false;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (strcmp(reply->element[0]->str, kinds[i]) == 0)
            return true;
    return false;
}

/* False: nobody has asked for this. */
static bool dispatch(struct redis *redis, const redisReply *reply)
{
    if (is_message(redis, reply)) {
        if (redis->events.on_message != NULL)
            redis->events.on_message(redis, reply, redis->user);
        return true;
    }
    if (redis->first == redis->last)
        return false;
    answer(redis, reply);
    return true;
}

/* Every whole reply that is there; the connection may be closed by any of those who get one. */
static bool read_replies(struct redis *redis)
{
    void *reply;
    while (redis->conn != NULL) {
        if (redisReaderGetReply(redis->reader, &reply) != REDIS_OK)
            return false;
        if (reply == NULL)
            return true;
        bool wanted = dispatch(redis, reply);
        freeReplyObject(reply);
        if (!wanted)
            return false;
    }
    return true;
}

static void give_up(struct redis *redis)
{
    char text[256];
    const char *what = redis->reader->err != 0 ? redis->reader->errstr : "a reply to no command";
    snprintf(text, sizeof(text), "not Redis: %s", what);
    conduit_abort_with(redis->conn, CONDUIT_EPROTO, text);
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct redis *redis = user;
    if (redisReaderFeed(redis->reader, data, n) != REDIS_OK || !read_replies(redis))
        give_up(redis);
}

static void on_open(conduit_conn *conn, void *user)
{
    struct redis *redis = user;
    if (redis->events.on_open != NULL)
        redis->events.on_open(redis, redis->user);
}

static void on_drain(conduit_conn *conn, void *user)
{
    struct redis *redis = user;
    if (redis->events.on_drain != NULL)
        redis->events.on_drain(redis, redis->user);
}

static void destroy(struct redis *redis)
{
    if (redis->reader != NULL)
        redisReaderFree(redis->reader);
    free(redis->queue);
    free(redis);
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct redis *redis = user;
    redis->conn = NULL;
    while (redis->first != redis->last)
        answer(redis, NULL);
    if (redis->events.on_close != NULL)
        redis->events.on_close(redis, why, redis->user);
    destroy(redis);
}

void redis_close(struct redis *redis)
{
    if (redis->conn != NULL)
        conduit_close(redis->conn);
}

/* ---- connecting ---- */

/* A server that does not let us in says so to the first command, too: NOAUTH, WRONGPASS. */
static int log_in(struct redis *redis, const char *userinfo)
{
    char user[MOST_SECRET], password[MOST_SECRET];
    size_t n = strcspn(userinfo, ":");
    const char *secret = userinfo[n] == ':' ? userinfo + n + 1 : "";
    int code = conduit_uri_decode(userinfo, n, user, sizeof(user));
    if (code >= 0)
        code = conduit_uri_decode(secret, strlen(secret), password, sizeof(password));
    if (code < 0)
        return code;
    return *user != '\0' ? redis_command(redis, NULL, NULL, "AUTH %s %s", user, password)
                         : redis_command(redis, NULL, NULL, "AUTH %s", password);
}

static int greet(struct redis *redis, const conduit_uri *uri)
{
    int code = 0;
    const char *database = conduit_uri_path(uri);
    if (*conduit_uri_userinfo(uri) != '\0')
        code = log_in(redis, conduit_uri_userinfo(uri));
    if (code >= 0 && database[0] == '/' && database[1] != '\0')
        code = redis_command(redis, NULL, NULL, "SELECT %s", database + 1);
    return code;
}

static struct redis *make(const struct redis_events *events, void *user)
{
    struct redis *redis = calloc(1, sizeof(*redis));
    if (redis == NULL)
        return NULL;
    redis->push_from = SIZE_MAX;
    redis->events = *events;
    redis->user = user;
    redis->reader = redisReaderCreate();
    if (redis->reader == NULL) {
        destroy(redis);
        return NULL;
    }
    redis->reader->maxbuf = 0; /* keep the buffer: the next bytes are as many */
    return redis;
}

struct redis *redis_connect(conduit_ctx *ctx, const char *text,
                            const conduit_connect_options *options,
                            const struct redis_events *events, void *user)
{
    static const conduit_handler handler = {
        .on_open = on_open, .on_data = on_data, .on_drain = on_drain, .on_close = on_close};
    conduit_connect_options how = options != NULL ? *options : (conduit_connect_options){0};
    const conduit_uri *uri = NULL;
    struct redis *redis = make(events, user);
    if (redis == NULL)
        return NULL;
    how.conn.gather = true;
    int code = conduit_connect(ctx, text, &how, &handler, redis, &redis->conn);
    if (code == 0)
        code = conduit_uri_parse(text, &uri, NULL);
    if (code == 0)
        code = greet(redis, uri);
    conduit_uri_unref(uri);
    if (code >= 0)
        return redis;
    conduit_conn_free(redis->conn);
    destroy(redis);
    return NULL;
}
