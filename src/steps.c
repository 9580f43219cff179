/* SPDX-License-Identifier: ISC */
/* Which parameter is for which layer of a stack: steps.h says the rule. */
#include "steps.h"
#include "stack.h"
#include "transport.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/* "name.2": how long the name is, and the number; 0 without. */
static unsigned split_key(const char *key, size_t *n)
{
    const char *dot = strrchr(key, '.');
    *n = strlen(key);
    if (dot == NULL || dot[1] < '2' || dot[1] > '9' || dot[2] != '\0')
        return 0;
    *n = (size_t)(dot - key);
    return (unsigned)(dot[1] - '0');
}

/* The entry of `keys` that is the first `n` bytes of `key`, or NULL. */
static const char *entry(const char *const *keys, const char *key, size_t n)
{
    for (; keys != NULL && *keys != NULL; keys++)
        if (strlen(*keys) == n && strncmp(*keys, key, n) == 0)
            return *keys;
    return NULL;
}

bool cdt_steps_know(const struct cdt_target *target, const char *key)
{
    size_t n;
    unsigned wanted = split_key(key, &n), found = 0;
    for (size_t i = 0; i < target->n_steps; i++)
        found += entry(target->steps[i].kind->keys, key, n) != NULL;
    if (found > 0)
        return wanted <= found;
    return cdt_key_in(key, target->transport->keys);
}

bool cdt_steps_repeatable(const struct cdt_target *target, const char *key)
{
    size_t n;
    split_key(key, &n);
    for (size_t i = 0; i < target->n_steps; i++)
        if (entry(target->steps[i].kind->repeatable, key, n) != NULL)
            return true;
    return false;
}

static unsigned ordinal(const struct cdt_target *target, size_t i, const char *key)
{
    unsigned number = 1;
    while (i-- > 0)
        number += cdt_key_in(key, target->steps[i].kind->keys);
    return number;
}

static bool is_numbered(const struct cdt_target *target, const char *key, unsigned number)
{
    for (size_t i = 0; i < target->params.n; i++) {
        size_t n;
        const char *written = target->params.list[i].key;
        if (split_key(written, &n) == number && n == strlen(key) && strncmp(written, key, n) == 0)
            return true;
    }
    return false;
}

bool cdt_steps_mean(const struct cdt_target *target, size_t i, const struct cdt_param *param,
                    const char **key)
{
    size_t n;
    unsigned number = split_key(param->key, &n);
    *key = entry(target->steps[i].kind->keys, param->key, n);
    if (*key == NULL)
        return false;
    unsigned ours = ordinal(target, i, *key);
    return number == ours || (number == 0 && (ours == 1 || !is_numbered(target, *key, ours)));
}

const char *cdt_steps_get(const struct cdt_target *target, size_t i, const char *key)
{
    const char *name;
    for (size_t p = 0; p < target->params.n; p++)
        if (cdt_steps_mean(target, i, &target->params.list[p], &name) && strcmp(name, key) == 0)
            return target->params.list[p].value;
    return NULL;
}

unsigned cdt_steps_ordinal(const conduit_endpoint *top, const conduit_endpoint *e, const char *key)
{
    unsigned number = 0;
    for (const conduit_endpoint *at = top; at != NULL; at = at == e ? NULL : at->below)
        number += at->layer != NULL && cdt_key_in(key, at->layer->keys);
    return number;
}

const char *cdt_steps_default_name(const conduit_endpoint *below, char host[CDT_HOST_SIZE])
{
    uint16_t port;
    for (; below->below != NULL; below = below->below)
        if (below->layer->hop)
            return cdt_place_split(cdt_params_get(&below->params, "to"), host, &port) ? host : "";
    return below->host;
}

static bool split_port(const char *text, uint16_t *port)
{
    size_t n = strspn(text, "0123456789");
    unsigned long number = n > 0 && n <= 5 && text[n] == '\0' ? strtoul(text, NULL, 10) : 0;
    *port = (uint16_t)number;
    return number > 0 && number <= UINT16_MAX;
}

bool cdt_place_split(const char *place, char host[CDT_HOST_SIZE], uint16_t *port)
{
    const char *colon = place != NULL ? strrchr(place, ':') : NULL;
    if (colon == NULL || !split_port(colon + 1, port))
        return false;
    const char *from = place;
    size_t n = (size_t)(colon - place);
    bool brackets = n > 2 && place[0] == '[' && place[n - 1] == ']';
    if (brackets) {
        from++;
        n -= 2;
    }
    if (n == 0 || n >= CDT_HOST_SIZE || (!brackets && memchr(from, ':', n) != NULL))
        return false;
    memcpy(host, from, n);
    host[n] = '\0';
    unsigned char address[sizeof(struct in6_addr)];
    return !brackets || inet_pton(AF_INET6, host, address) == 1;
}
