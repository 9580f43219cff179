/* SPDX-License-Identifier: ISC */
/* Endpoints, errors and connections as JSON: json.h says the rules. */
#include "json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *json_text(const char *text)
{
    json_t *value = json_string(text);
    if (value != NULL)
        return value;
    char *clean = malloc(3 * strlen(text) + 1);
    if (clean == NULL)
        return NULL;
    char *end = clean;
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p < 0x80)
            *end++ = (char)*p;
        else
            end += sprintf(end, "%%%02X", *p);
    }
    *end = '\0';
    value = json_string(clean);
    free(clean);
    return value;
}

/* "h2,http/1.1" as an array. */
static json_t *list(const char *text)
{
    json_t *array = json_array();
    while (text != NULL && *text != '\0') {
        size_t n = strcspn(text, ",");
        json_array_append_new(array, json_stringn(text, n));
        text += n + (text[n] == ',');
    }
    return array;
}

static json_t *tls_step(const conduit_endpoint *endpoint)
{
    while (endpoint != NULL && strcmp(conduit_endpoint_name(endpoint), "tls") != 0)
        endpoint = conduit_endpoint_below(endpoint);
    if (endpoint == NULL)
        return json_null();
    return json_pack("{s:o, s:o}", "name", json_text(conduit_endpoint_host(endpoint)), "alpn",
                     list(conduit_endpoint_param(endpoint, "alpn")));
}

/* clang-format off: a key and its value share a line */

/* A number of which some value means that there is none. */
static json_t *number(long value, long none)
{
    return value == none ? json_null() : json_integer(value);
}

json_t *json_answer(const conduit_answer *answer)
{
    const conduit_endpoint *transport = answer->endpoint;
    while (conduit_endpoint_below(transport) != NULL)
        transport = conduit_endpoint_below(transport);
    return json_pack("{s:o, s:s, s:o, s:o, s:o, s:s, s:o}", "endpoint",
                     json_text(conduit_endpoint_uri(answer->endpoint)), "transport",
                     conduit_endpoint_name(transport), "address",
                     json_text(conduit_endpoint_host(transport)), "port",
                     number(conduit_endpoint_port(transport), 0), "tls", tls_step(answer->endpoint),
                     "source", answer->source, "ttl", number(answer->ttl, -1));
}

json_t *json_failure(const conduit_error *error)
{
    if (error == NULL)
        return json_null();
    return json_pack("{s:s, s:s, s:o}", "code", conduit_code_name(conduit_error_code(error)),
                     "stage", conduit_stage_name(conduit_error_stage(error)), "text",
                     json_text(conduit_error_text(error)));
}

static json_t *tls_info(const conduit_tls_info *tls)
{
    if (tls == NULL)
        return json_null();
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:s, s:b, s:b, s:o, s:s, s:s}", "version",
                     tls->version, "cipher", tls->cipher, "alpn", json_text(tls->alpn), "name",
                     json_text(tls->name), "peer", json_text(tls->peer), "verify", tls->verify,
                     "resumed", tls->resumed, "early", tls->early, "peer_names",
                     json_text(tls->peer_names), "fingerprint", tls->fingerprint, "ocsp",
                     tls->ocsp);
}

json_t *json_info(const conduit_info *info)
{
    if (info == NULL)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:f, s:f, s:o, s:o, s:o}", "uri",
                     json_text(info->uri), "endpoint", json_text(info->endpoint), "peer",
                     json_text(info->peer), "via", json_text(info->via), "local",
                     json_text(info->local), "stack", info->stack, "tls", tls_info(info->tls),
                     "resolve_ms", info->resolve_ms, "open_ms", info->open_ms, "peer_pid",
                     number(info->peer_pid, -1), "peer_uid", number(info->peer_uid, -1), "peer_gid",
                     number(info->peer_gid, -1));
}
