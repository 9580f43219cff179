/* SPDX-License-Identifier: ISC */
/*
 * Failures of dns in words: dns_text.h says for whom. A failure is a row: what it means to who
 * asked, and whether the servers are part of the story.
 */
#define CARES_NO_DEPRECATED 1
#include "dns_text.h"
#include <ares.h>
#include <stdio.h>
#include <string.h>

struct failure {
    int status;
    int code;
    const char *text;
    bool of_servers; /* the text goes on with who they are */
};

static const struct failure failures[] = {
    {ARES_ENOTFOUND, CONDUIT_ENONAME, "no such name (NXDOMAIN)", false},
    {ARES_ENODATA, CONDUIT_ENONAME, "the name has no address (NODATA)", false},
    {ARES_EBADNAME, CONDUIT_ENONAME, "not a name that DNS can hold", false},
    {ARES_ETIMEOUT, CONDUIT_ETIMEDOUT, "no answer from", true},
    {ARES_ECONNREFUSED, CONDUIT_ETEMP, "connection refused, nobody is there to ask:", true},
    {ARES_ESERVFAIL, CONDUIT_ETEMP, "the name server failed (SERVFAIL):", true},
    {ARES_EREFUSED, CONDUIT_ETEMP, "the name server will not answer (REFUSED):", true},
    {ARES_ENOTIMP, CONDUIT_ETEMP, "the name server cannot answer (NOTIMP):", true},
    {ARES_EFORMERR, CONDUIT_ETEMP,
     "the name server takes the query for malformed (FORMERR):", true},
    {ARES_EBADRESP, CONDUIT_ETEMP, "a malformed answer from", true},
    {ARES_ENOMEM, CONDUIT_ENOMEM, "out of memory", false},
};

static struct failure find_failure(int status)
{
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
        if (failures[i].status == status)
            return failures[i];
    return (struct failure){status, CONDUIT_ETEMP, ares_strerror(status), false};
}

/* Before c-ares 1.20 "connection refused" is also what is left of SERVFAIL and REFUSED, when there
 * are several servers and none has done better. */
static bool is_ambiguous(int status, const char *servers)
{
    return status == ARES_ECONNREFUSED && strchr(servers, ',') != NULL;
}

void cdt_dns_print_failure(char text[CDT_WHY_SIZE], int status, const char *servers)
{
    struct failure failure = find_failure(status);
    if (is_ambiguous(status, servers))
        snprintf(text, CDT_WHY_SIZE, "no usable answer (nobody there, REFUSED or SERVFAIL) from %s",
                 servers);
    else if (failure.of_servers)
        snprintf(text, CDT_WHY_SIZE, "%s %s", failure.text, servers);
    else
        snprintf(text, CDT_WHY_SIZE, "%s", failure.text);
}

int cdt_dns_code(int status)
{
    return find_failure(status).code;
}
