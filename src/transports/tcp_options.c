/* SPDX-License-Identifier: ISC */
/*
 * The parameters of TCP endpoints, read: tcp://192.0.2.7:80?keepalive=30,5,3&bind=192.0.2.1
 *
 * A place can be dialled and listened at, and its parameters are good for both: those of the other
 * direction say nothing.
 */
#include "tcp_options.h"
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { LONGEST_S = 24 * 3600, MOST_PROBES = 100 };

const char *const cdt_tcp_keys[] = {
    "nodelay",    "keepalive", "user_timeout", "fastopen",     "mptcp",
    "reuse_port", "interface", "bind",         "prefer_local", NULL,
};

static const char *read_switch(const char *value, bool *ret)
{
    *ret = strcmp(value, "1") == 0;
    return *ret || strcmp(value, "0") == 0 ? NULL : "0 or 1";
}

/* A decimal number at *text, which moves past it. */
static bool read_number(const char **text, int most, int *ret)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    errno = 0;
    unsigned long value = strtoul(*text, &end, 10);
    if (errno != 0 || value > (unsigned long)most)
        return false;
    *text = end;
    *ret = (int)value;
    return true;
}

static const char *read_seconds(const char *value, int *ret)
{
    return read_number(&value, LONGEST_S, ret) && *value == '\0' ? NULL : "seconds, up to a day";
}

/* A comma and a number, which is not 0; or nothing. */
static bool read_next(const char **text, int most, int *ret)
{
    if (**text == '\0')
        return true;
    if (**text != ',')
        return false;
    ++*text;
    return read_number(text, most, ret) && *ret > 0;
}

/* IDLE[,INTERVAL[,COUNT]]; an idle of 0 is no keepalive. */
static const char *read_keepalive(const char *value, struct cdt_tcp_options *options)
{
    bool fits = read_number(&value, LONGEST_S, &options->idle_s) &&
                read_next(&value, LONGEST_S, &options->interval_s) &&
                read_next(&value, MOST_PROBES, &options->count) && *value == '\0';
    return fits ? NULL : "seconds of silence, between probes, and how many probes: 60,15,4; or 0";
}

static const char *read_interface(const char *value, const char **ret)
{
    *ret = value;
    return *value != '\0' && strlen(value) < IF_NAMESIZE ? NULL : "the name of an interface";
}

static const char *read_local(const char *value, struct cdt_tcp_options *options)
{
    options->bind = value;
    if (uv_ip4_addr(value, 0, &options->local.in) == 0 ||
        uv_ip6_addr(value, 0, &options->local.in6) == 0)
        return NULL;
    return "a numeric address of this machine";
}

static const char *read_option(struct cdt_tcp_options *options, const char *key, const char *value)
{
    if (strcmp(key, "nodelay") == 0)
        return read_switch(value, &options->nodelay);
    if (strcmp(key, "fastopen") == 0)
        return read_switch(value, &options->fastopen);
    if (strcmp(key, "mptcp") == 0)
        return read_switch(value, &options->mptcp);
    if (strcmp(key, "reuse_port") == 0)
        return read_switch(value, &options->reuse_port);
    if (strcmp(key, "prefer_local") == 0)
        return read_switch(value, &options->prefer_local);
    if (strcmp(key, "keepalive") == 0)
        return read_keepalive(value, options);
    if (strcmp(key, "user_timeout") == 0)
        return read_seconds(value, &options->user_timeout_s);
    if (strcmp(key, "interface") == 0)
        return read_interface(value, &options->interface);
    return read_local(value, options);
}

const char *cdt_tcp_option_check(const char *key, const char *value)
{
    struct cdt_tcp_options scratch = {0};
    return read_option(&scratch, key, value);
}

void cdt_tcp_options_read(struct cdt_tcp_options *ret, const struct cdt_params *params)
{
    *ret = (struct cdt_tcp_options){.nodelay = true, .idle_s = 60, .interval_s = 15, .count = 4};
    for (size_t i = 0; i < params->n; i++)
        read_option(ret, params->list[i].key, params->list[i].value);
}
