/* SPDX-License-Identifier: ISC */
/*
 * SVCB and HTTPS records: svcb.h says what they are.
 *
 * Reading is strict, as section 2.2 demands: keys ascend, values have the form of their key, names
 * are not compressed. A known key is a row of `readers`; the others only have to be whole.
 */
#include "svcb.h"
#include "dns_wire.h"

/* ---- bytes */

static bool take(struct cdt_bytes *rest, size_t n, struct cdt_bytes *ret)
{
    if (rest->n < n)
        return false;
    *ret = (struct cdt_bytes){rest->at, n};
    rest->at += n;
    rest->n -= n;
    return true;
}

static bool take16(struct cdt_bytes *rest, uint16_t *ret)
{
    struct cdt_bytes two;
    if (!take(rest, 2, &two))
        return false;
    *ret = (uint16_t)(two.at[0] << 8 | two.at[1]);
    return true;
}

/* One that is not empty, after a byte with its length. */
static bool take_protocol(struct cdt_bytes *rest, struct cdt_bytes *ret)
{
    struct cdt_bytes length;
    return take(rest, 1, &length) && length.at[0] > 0 && take(rest, length.at[0], ret);
}

/* ---- values */

static bool read_mandatory(struct cdt_svcb *svcb, struct cdt_bytes value)
{
    uint16_t key, last = CDT_SVC_MANDATORY; /* never one of its own list (section 8) */
    svcb->mandatory = value;
    if (value.n == 0 || value.n % 2 != 0)
        return false;
    for (; take16(&value, &key); last = key)
        if (key <= last)
            return false;
    return true;
}

static bool read_alpn(struct cdt_svcb *svcb, struct cdt_bytes value)
{
    struct cdt_bytes protocol;
    svcb->alpn = value;
    while (value.n > 0)
        if (!take_protocol(&value, &protocol))
            return false;
    return svcb->alpn.n > 0;
}

static bool read_no_default_alpn(struct cdt_svcb *svcb, struct cdt_bytes value)
{
    svcb->no_default_alpn = true;
    return value.n == 0;
}

static bool read_port(struct cdt_svcb *svcb, struct cdt_bytes value)
{
    svcb->has_port = true;
    return take16(&value, &svcb->port) && value.n == 0;
}

static bool read_hints(struct cdt_bytes *hints, struct cdt_bytes value, size_t size)
{
    size_t most = CDT_SVC_HINTS * size;
    *hints = (struct cdt_bytes){value.at, value.n < most ? value.n : most};
    return value.n > 0 && value.n % size == 0;
}

static bool read_ipv4hint(struct cdt_svcb *svcb, struct cdt_bytes value)
{
    return read_hints(&svcb->ipv4hint, value, 4);
}

static bool read_ipv6hint(struct cdt_svcb *svcb, struct cdt_bytes value)
{
    return read_hints(&svcb->ipv6hint, value, 16);
}

static const struct {
    uint16_t key;
    bool (*read)(struct cdt_svcb *svcb, struct cdt_bytes value);
} readers[] = {
    {CDT_SVC_MANDATORY, read_mandatory},
    {CDT_SVC_ALPN, read_alpn},
    {CDT_SVC_NO_DEFAULT_ALPN, read_no_default_alpn},
    {CDT_SVC_PORT, read_port},
    {CDT_SVC_IPV4HINT, read_ipv4hint},
    {CDT_SVC_IPV6HINT, read_ipv6hint},
};

enum { N_READERS = sizeof(readers) / sizeof(readers[0]) };

static size_t find_reader(uint16_t key)
{
    size_t i = 0;
    while (i < N_READERS && readers[i].key != key)
        i++;
    return i;
}

/* ---- a record */

int cdt_svc_next(struct cdt_bytes *rest, uint16_t *key, struct cdt_bytes *value)
{
    uint16_t length;
    if (rest->n == 0)
        return 0;
    return take16(rest, key) && take16(rest, &length) && take(rest, length, value) ? 1 : -1;
}

static bool read_params(struct cdt_svcb *svcb)
{
    struct cdt_bytes rest = svcb->params, value;
    int32_t last = -1;
    uint16_t key;
    int found;
    while ((found = cdt_svc_next(&rest, &key, &value)) > 0) {
        size_t i = find_reader(key);
        if (key <= last || (i < N_READERS && !readers[i].read(svcb, value)))
            return false;
        last = key;
    }
    return found == 0;
}

static bool has_key(const struct cdt_svcb *svcb, uint16_t wanted)
{
    struct cdt_bytes rest = svcb->params, value;
    uint16_t key;
    while (cdt_svc_next(&rest, &key, &value) > 0)
        if (key == wanted)
            return true;
    return false;
}

/* What the known keys demand of one another. */
static bool is_consistent(const struct cdt_svcb *svcb)
{
    struct cdt_bytes rest = svcb->mandatory;
    uint16_t key;
    while (take16(&rest, &key))
        if (!has_key(svcb, key))
            return false;
    return !svcb->no_default_alpn || svcb->alpn.n > 0;
}

/* It is not compressed: nothing stands before it that a pointer could lead to. */
static bool take_target(struct cdt_bytes *rest, char target[CDT_NAME_SIZE])
{
    struct cdt_bytes name;
    size_t n = cdt_dns_read_name(rest->at, rest->n, 0, target);
    return n > 0 && take(rest, n, &name) && strchr(target, '\\') == NULL;
}

enum cdt_svcb_fitness cdt_svcb_parse(struct cdt_svcb *svcb, const uint8_t *data, size_t n)
{
    struct cdt_bytes rest = {data, n};
    *svcb = (struct cdt_svcb){0};
    if (!take16(&rest, &svcb->priority) || !take_target(&rest, svcb->target))
        return CDT_SVCB_MALFORMED;
    if (svcb->priority == 0)
        return CDT_SVCB_FIT; /* an alias's parameters are ignored (section 2.4.2) */
    svcb->params = rest;
    if (!read_params(svcb))
        return CDT_SVCB_MALFORMED;
    return is_consistent(svcb) ? CDT_SVCB_FIT : CDT_SVCB_INCONSISTENT;
}

/* ---- the choice */

static bool equal(struct cdt_bytes a, struct cdt_bytes b)
{
    return a.n == b.n && memcmp(a.at, b.at, a.n) == 0;
}

bool cdt_svcb_speaks(const struct cdt_svcb *svcb, struct cdt_bytes protocol,
                     const char *default_alpn)
{
    struct cdt_bytes rest = svcb->alpn, offered;
    while (take_protocol(&rest, &offered))
        if (equal(offered, protocol))
            return true;
    return default_alpn != NULL && !svcb->no_default_alpn && strlen(default_alpn) == protocol.n &&
           memcmp(default_alpn, protocol.at, protocol.n) == 0;
}

static bool has_common_protocol(const struct cdt_svcb *svcb, const struct cdt_svcb_client *client)
{
    struct cdt_bytes rest = client->alpn, protocol;
    if (svcb->alpn.n == 0 && client->default_alpn == NULL)
        return true; /* nobody speaks of protocols */
    if (rest.n == 0)
        return !svcb->no_default_alpn;
    while (take_protocol(&rest, &protocol))
        if (cdt_svcb_speaks(svcb, protocol, client->default_alpn))
            return true;
    return false;
}

static bool is_compatible(const struct cdt_svcb *svcb, const struct cdt_svcb_client *client)
{
    struct cdt_bytes rest = svcb->mandatory;
    uint16_t key;
    while (take16(&rest, &key))
        if (find_reader(key) == N_READERS)
            return false;
    return has_common_protocol(svcb, client);
}

static void swap(struct cdt_svcb *a, struct cdt_svcb *b)
{
    struct cdt_svcb kept = *a;
    *a = *b;
    *b = kept;
}

/* One of those with the lowest priority, each as likely as the others. */
static size_t draw(const struct cdt_svcb *list, size_t n, cdt_random_fn random, void *user)
{
    size_t drawn = 0;
    uint32_t n_equal = 1;
    for (size_t i = 1; i < n; i++) {
        if (list[i].priority < list[drawn].priority)
            n_equal = 0;
        if (list[i].priority <= list[drawn].priority && random(user, ++n_equal) == 0)
            drawn = i;
    }
    return drawn;
}

size_t cdt_svcb_choose(struct cdt_svcb *list, size_t n, const struct cdt_svcb_client *client,
                       cdt_random_fn random, void *user)
{
    size_t n_usable = 0;
    for (size_t i = 0; i < n; i++)
        if (list[i].priority == 0 || is_compatible(&list[i], client))
            swap(&list[n_usable++], &list[i]);
    for (size_t i = 0; i < n_usable; i++)
        swap(&list[i], &list[i + draw(list + i, n_usable - i, random, user)]);
    /* Beside an alias the others do not count (section 2.4.1), and one alias is enough. */
    return n_usable > 0 && list[0].priority == 0 ? 1 : n_usable;
}
