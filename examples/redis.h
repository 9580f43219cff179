/* SPDX-License-Identifier: ISC */
/*
 * Redis over any transport: hiredis's formatter and reader, Conduit's connection.
 *
 *     redis://host/          rediss://user:password@host:6380/2        redis+unix://%2Frun%2Fredis.sock/
 *
 * Of hiredis only what has no socket in it is used, so any version of it does. Commands that are
 * given within one callback go out in one piece, and as many as one likes may be on their way: each
 * gets its reply in turn. To be copied as it is: nothing here knows of redis-ping.
 *
 * The connection belongs to itself: a struct redis is good from redis_connect() until on_close has
 * returned.
 */
#ifndef EXAMPLES_REDIS_H
#define EXAMPLES_REDIS_H

#include <conduit/conduit.h>
#include <hiredis/hiredis.h>

struct redis;

/* `reply` is valid during the call; NULL: the connection has ended, and on_close will say why. */
typedef void (*redis_reply_fn)(struct redis *redis, const redisReply *reply, void *user);

/* Any may be NULL. All get the `user` of redis_connect(). */
struct redis_events {
    void (*on_open)(struct redis *redis, void *user);
    /* A message of a channel, or the word that one has been (un)subscribed: as Redis sends them, an
     * array with the kind first. */
    void (*on_message)(struct redis *redis, const redisReply *message, void *user);
    void (*on_drain)(struct redis *redis, void *user); /* after redis_command() returned 1 */
    /* Once, last. `why` is NULL if redis_close() ran its course, and CONDUIT_EPROTO if what came was
     * not Redis. */
    void (*on_close)(struct redis *redis, const conduit_error *why, void *user);
};

/* User, password and database of the URI are told to the server, before anything else. NULL, and no
 * event comes: conduit_ctx_error() says why. `options` may be NULL. */
struct redis *redis_connect(conduit_ctx *ctx, const char *uri,
                            const conduit_connect_options *options,
                            const struct redis_events *events, void *user);

/*
 * Send a command, as redisCommand() formats it ("SET %s %b", key, value, n). `fn`, which may be
 * NULL, is called once with the reply, or with NULL. Returns what conduit_write() does, or
 * CONDUIT_EINVAL: a malformed format; of a negative code `fn` hears nothing.
 */
int redis_command(struct redis *redis, redis_reply_fn fn, void *user, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int redis_command_argv(struct redis *redis, redis_reply_fn fn, void *user, int argc,
                       const char **argv);

/* Have the messages of `channel` come to on_message, from now on and for good. */
int redis_subscribe(struct redis *redis, const char *channel);

/* End it: what was sent is sent, replies that have not come get NULL. */
void redis_close(struct redis *redis);

#endif
