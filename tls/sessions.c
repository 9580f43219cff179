/* SPDX-License-Identifier: ISC */
/* Sessions to resume: sessions.h says what they are. One list, the newest first: it is short, and
 * looked at once per handshake. */
#include "sessions.h"
#include <conduit/memory.h>
#include <stddef.h>
#include <string.h>
#include <utlist.h>

struct entry {
    struct entry *prev, *next;
    void *session;
    char key[];
};

struct cdt_sessions {
    struct entry *entries;
    int n;
    void (*drop)(void *session);
};

struct cdt_sessions *cdt_sessions_new(void (*drop)(void *session))
{
    struct cdt_sessions *sessions = conduit_calloc(1, sizeof(*sessions));
    if (sessions != NULL)
        sessions->drop = drop;
    return sessions;
}

static void *take_out(struct cdt_sessions *sessions, struct entry *entry)
{
    void *session = entry->session;
    DL_DELETE(sessions->entries, entry);
    sessions->n--;
    conduit_free(entry);
    return session;
}

void cdt_sessions_free(struct cdt_sessions *sessions)
{
    if (sessions == NULL)
        return;
    while (sessions->entries != NULL)
        sessions->drop(take_out(sessions, sessions->entries));
    conduit_free(sessions);
}

/* The oldest of this key if it has as many as it may, or else of all. */
static void make_room(struct cdt_sessions *sessions, const char *key)
{
    struct entry *oldest = NULL;
    int same = 0;
    for (struct entry *one = sessions->entries; one != NULL; one = one->next) {
        if (strcmp(one->key, key) != 0)
            continue;
        same++;
        oldest = one;
    }
    if (same < CDT_SESSIONS_EACH)
        oldest = sessions->n == CDT_SESSIONS_MAX ? sessions->entries->prev : NULL;
    if (oldest != NULL)
        sessions->drop(take_out(sessions, oldest));
}

void cdt_sessions_put(struct cdt_sessions *sessions, const char *key, void *session)
{
    size_t n = strlen(key) + 1;
    struct entry *entry = conduit_malloc(sizeof(*entry) + n);
    if (entry == NULL) {
        sessions->drop(session);
        return;
    }
    make_room(sessions, key);
    entry->session = session;
    memcpy(entry->key, key, n);
    DL_PREPEND(sessions->entries, entry);
    sessions->n++;
}

void *cdt_sessions_take(struct cdt_sessions *sessions, const char *key)
{
    for (struct entry *one = sessions->entries; one != NULL; one = one->next)
        if (strcmp(one->key, key) == 0)
            return take_out(sessions, one);
    return NULL;
}
