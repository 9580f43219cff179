/* SPDX-License-Identifier: ISC */
/* Lists of users: credentials.h says what they are. Users are numbers here, as they are to the
 * kernel. */
#include "credentials.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A number and the comma after it, if any. */
static bool read_uid(const char **list, uid_t *uid)
{
    char *end;
    if (**list < '0' || **list > '9')
        return false;
    errno = 0;
    unsigned long value = strtoul(*list, &end, 10);
    if (errno != 0 || value >= UINT_MAX || (*end != '\0' && *end != ','))
        return false;
    *uid = (uid_t)value;
    *list = *end == ',' ? end + 1 : end;
    return *end == '\0' || **list != '\0';
}

const char *cdt_uids_check(const char *list)
{
    uid_t uid;
    if (strcmp(list, "*") == 0)
        return NULL;
    do
        if (!read_uid(&list, &uid))
            return "numbers of users, as in 0,1000, or * for everyone";
    while (*list != '\0');
    return NULL;
}

bool cdt_uids_have(const char *list, uid_t uid)
{
    uid_t one;
    if (strcmp(list, "*") == 0)
        return true;
    if (*list == '\0')
        return uid == 0 || uid == geteuid();
    while (*list != '\0' && read_uid(&list, &one))
        if (one == uid)
            return true;
    return false;
}
