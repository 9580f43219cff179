/* SPDX-License-Identifier: ISC */
/*
 * Places: where processes of one machine meet, a socket in a directory of one user's own.
 *
 *     $XDG_RUNTIME_DIR/conduit    or, if there is none of this user's,
 *     /run/user/UID/conduit       or, if there is none,
 *     /tmp/conduit-UID            each 0700; and
 *     /tmp/conduit-UID.shared     0711, for listeners that other users may reach
 *
 * vchan://NAME/PORT is NAME.PORT.vchan there. A directory counts only if it belongs to the user
 * and nobody else can write to it. What a killed process left behind is removed when the next one
 * binds anything in that directory.
 */
#ifndef CDT_VCHAN_PLACE_H
#define CDT_VCHAN_PLACE_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

struct cdt_place {
    char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
    struct sockaddr_un address;
    uid_t owner;
    bool shared;
};

enum cdt_place_state { CDT_PLACE_EMPTY, CDT_PLACE_STALE, CDT_PLACE_TAKEN };

/* All return 0 or an errno, with *what naming what failed (a static string). */

/* The place of `host`, "name/port": `owner`'s shared one, or this user's own. It need not exist. */
int cdt_place_find(const char *host, bool shared, uid_t owner, struct cdt_place *place,
                   const char **what);
/* Is its directory one to be trusted? ENOENT if there is none. */
int cdt_place_check(const struct cdt_place *place, const char **what);
/* Make the directory if need be, clean it, and listen there. */
int cdt_place_bind(const struct cdt_place *place, int backlog, int *ret, const char **what);
/* Without being felt by who listens there. */
enum cdt_place_state cdt_place_look(const struct cdt_place *place);

#endif
