/* SPDX-License-Identifier: ISC */
/* Logins, and places to be led to: hop.h. */
#include "hop.h"
#include "stack.h"
#include "steps.h"
#include <conduit/memory.h>
#include <string.h>

int cdt_login_read(struct cdt_login *login, const char *text)
{
    size_t n = strcspn(text, ":");
    login->user = conduit_strdup(text);
    if (login->user == NULL)
        return CONDUIT_ENOMEM;
    login->password = login->user + n;
    if (*login->password == ':')
        *login->password++ = '\0';
    if (cdt_decode(login->user) && cdt_decode(login->password))
        return 0;
    cdt_login_free(login);
    return CONDUIT_EINVAL;
}

void cdt_login_free(struct cdt_login *login)
{
    if (login->user == NULL)
        return;
    explicit_bzero(login->password, strlen(login->password));
    explicit_bzero(login->user, strlen(login->user));
    conduit_free(login->user);
    *login = (struct cdt_login){0};
}

const char *cdt_login_wrong(int code)
{
    return code == CONDUIT_ENOMEM ? cdt_check_no_memory : "the user is malformed";
}

/* The host may have come percent-encoded, and goes to the proxy as text. */
static const char of_names[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

const char *cdt_hop_check(const struct cdt_params *params, unsigned roles)
{
    char host[CDT_HOST_SIZE];
    uint16_t port;
    if (roles == CDT_LISTENING)
        return "to a proxy one connects; there is none here to listen";
    if (!cdt_place_split(cdt_params_get(params, "to"), host, &port))
        return "where the proxy is to lead is said with to=HOST:PORT";
    if (strchr(host, ':') == NULL && host[strspn(host, of_names)] != '\0')
        return "where the proxy is to lead is neither a name nor an address";
    return NULL;
}
