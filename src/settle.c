/* SPDX-License-Identifier: ISC */
/* What the layers of a target are made of: settle.h says when. */
#include "settle.h"
#include "context.h"
#include "error.h"
#include "secure.h"
#include "steps.h"
#include "transport.h"
#include <conduit/memory.h>
#include <stdio.h>
#include <string.h>

/* ---- who the peer is, and how that is made sure ---- */

/* The lowest proxy on the way to what step `i` speaks to; n_steps: none. */
static size_t hop_below(const struct cdt_target *target, size_t i)
{
    do
        i++;
    while (i < target->n_steps && !target->steps[i].kind->hop);
    return i;
}

static bool is_own(const struct cdt_target *target, size_t i)
{
    while (i-- > 0)
        if (target->steps[i].kind->hop)
            return false;
    return true;
}

/* Who the peer of step `i` is if nobody says: whom a proxy below leads on to, or whom we dial.
 * `host` is a buffer. */
static const char *default_name(const struct cdt_target *target, size_t i, char host[CDT_HOST_SIZE])
{
    uint16_t port;
    size_t hop = hop_below(target, i);
    if (hop < target->n_steps)
        return cdt_place_split(cdt_steps_get(target, hop, "to"), host, &port) ? host : NULL;
    return target->transport->form == CDT_FORM_HOST_PORT ? target->host : NULL;
}

static int find_name(struct cdt_target *target, size_t i, const conduit_connect_options *options,
                     const conduit_error **reterr)
{
    char host[CDT_HOST_SIZE];
    const char *name = cdt_steps_get(target, i, "name");
    if (name == NULL && options != NULL && is_own(target, i))
        name = options->name;
    if (name == NULL)
        name = default_name(target, i, host);
    if (name == NULL || *name == '\0')
        return cdt_target_refuse(
            target, CONDUIT_EINVAL, reterr,
            "TLS over %s needs to be told whom to verify: a parameter or option \"name\"",
            target->transport->name);
    size_t n = strlen(name);
    if (n > 1 && name[n - 1] == '.')
        n--; /* the root's dot is DNS's; certificates and SNI do without */
    struct cdt_step *step = &target->steps[i];
    step->name = conduit_strdup(name);
    if (step->name != NULL)
        step->name[n] = '\0';
    return step->name != NULL ? 0 : cdt_error_no_memory(reterr);
}

static bool is_configuration(const char *key)
{
    return strcmp(key, "name") != 0 && strcmp(key, "alpn") != 0;
}

static int begin_configuration(const conduit_tls *given, conduit_tls **ret,
                               const conduit_error **reterr)
{
    if (given != NULL)
        return cdt_tls_copy(given, ret, reterr);
    *ret = conduit_tls_new();
    return *ret != NULL ? 0 : cdt_error_no_memory(reterr);
}

/* The caller's configuration, or a copy of it with what the URI adds for step `i`. */
static int configure_tls(struct cdt_target *target, size_t i, const conduit_tls *given,
                         const conduit_error **reterr)
{
    struct cdt_step *step = &target->steps[i];
    bool ours = false;
    for (size_t p = 0; p < target->params.n; p++) {
        const char *key, *value = target->params.list[p].value;
        if (!cdt_steps_mean(target, i, &target->params.list[p], &key) || !is_configuration(key))
            continue;
        conduit_tls *made = step->tls;
        int code = ours ? 0 : begin_configuration(given, &made, reterr);
        if (code < 0)
            return code;
        if (!ours)
            conduit_tls_unref(step->tls);
        step->tls = made;
        ours = true;
        code = conduit_tls_set(step->tls, key, value, reterr);
        if (code < 0)
            return code;
    }
    return 0;
}

/* To a proxy on the way the caller's configuration says whom to trust, and not who the caller
 * is. */
static int secure(conduit_ctx *ctx, struct cdt_target *target, size_t i, bool listening,
                  const conduit_connect_options *options, const conduit_error **reterr)
{
    struct cdt_step *step = &target->steps[i];
    conduit_tls *given = options != NULL ? options->tls : NULL, *trust = NULL;
    int code = listening ? 0 : find_name(target, i, options, reterr);
    if (code == 0 && given != NULL && !is_own(target, i)) {
        code = cdt_tls_copy_trust(given, &trust, reterr);
        given = trust;
    }
    step->tls = conduit_tls_ref(given != NULL ? given : cdt_ctx_tls(ctx));
    if (code == 0 && step->tls == NULL)
        code = cdt_error_no_memory(reterr);
    if (code == 0)
        code = configure_tls(target, i, given, reterr);
    if (code == 0)
        code = cdt_tls_seal(step->tls, listening, reterr);
    conduit_tls_unref(trust);
    return code;
}

/* What of the query is part of step `i`'s place. Of TLS that is only the protocols: trust and keys
 * are configuration. "" says that what is said to others is not for this one. */
static int find_params(struct cdt_target *target, size_t i, const conduit_error **reterr)
{
    struct cdt_step *step = &target->steps[i];
    for (size_t p = 0; p < target->params.n; p++) {
        const char *key, *value = target->params.list[p].value;
        if (!cdt_steps_mean(target, i, &target->params.list[p], &key) || *value == '\0')
            continue;
        if (step->kind->secure && strcmp(key, "alpn") != 0)
            continue;
        if (!cdt_params_add(&step->params, key, value))
            return cdt_error_no_memory(reterr);
    }
    const char *said = step->tls != NULL ? cdt_tls_alpn(step->tls) : "";
    if (*said == '\0' && is_own(target, i) && target->alpn != NULL)
        said = target->alpn;
    if (!step->kind->secure || step->params.n > 0 || *said == '\0')
        return 0;
    return cdt_params_add(&step->params, "alpn", said) ? 0 : cdt_error_no_memory(reterr);
}

int cdt_settle_check(const struct cdt_target *target, size_t i, unsigned roles,
                     const conduit_error **reterr)
{
    const struct cdt_step *step = &target->steps[i];
    const char *wrong = NULL;
    if (step->kind->check != NULL)
        wrong = step->kind->check(&step->params, step->login, roles);
    int code = wrong == cdt_check_no_memory ? CONDUIT_ENOMEM : CONDUIT_EINVAL;
    return wrong == NULL ? 0 : cdt_target_refuse(target, code, reterr, "%s", wrong);
}

/* TLS goes by TLSA records that nobody has given: DNS has to, at the name that is to be proved and
 * the port that was asked for. Another place, which is what SVCB leads to, would have others. */
static int find_tlsa(struct cdt_target *target, const conduit_error **reterr)
{
    const struct cdt_step *top = &target->steps[0];
    char name[CDT_HOST_SIZE + 16];
    if (target->n_steps == 0 || top->tls == NULL || top->name == NULL ||
        !cdt_tls_wants_tlsa(top->tls) || cdt_host_is_address(top->name) ||
        target->transport->form != CDT_FORM_HOST_PORT)
        return 0;
    if (target->port == 0 || target->records == CONDUIT_RECORDS_SRV)
        return cdt_target_refuse(
            target, CONDUIT_EINVAL, reterr,
            "verify=dane needs a port: TLSA records are for one, and what SRV says is "
            "not proved");
    snprintf(name, sizeof(name), "_%u._tcp.%s", target->port, top->name);
    target->tlsa = conduit_strdup(name);
    target->records = CONDUIT_RECORDS_ADDRESS;
    target->service = NULL;
    return target->tlsa != NULL ? 0 : cdt_error_no_memory(reterr);
}

int cdt_settle(conduit_ctx *ctx, struct cdt_target *target, bool listening,
               const conduit_connect_options *options, const conduit_error **reterr)
{
    int code = 0;
    for (size_t i = 0; i < target->n_steps && code == 0; i++) {
        if (target->steps[i].kind->secure)
            code = secure(ctx, target, i, listening, options, reterr);
        if (code == 0)
            code = find_params(target, i, reterr);
        if (code == 0)
            code = cdt_settle_check(target, i, listening ? CDT_LISTENING : CDT_CONNECTING, reterr);
    }
    if (code == 0 && target->n_steps > 0 && target->steps[0].tls != NULL &&
        *cdt_tls_alpn(target->steps[0].tls) != '\0')
        target->alpn = cdt_tls_alpn(target->steps[0].tls);
    return code == 0 && !listening ? find_tlsa(target, reterr) : code;
}

/* ---- of an endpoint that is written out ---- */

static int check_keys(const struct cdt_target *target, size_t i, const conduit_error **reterr)
{
    const char *key;
    for (size_t p = 0; p < target->params.n; p++)
        if (cdt_steps_mean(target, i, &target->params.list[p], &key) && is_configuration(key))
            return cdt_target_refuse(target, CONDUIT_EURI, reterr,
                                     "\"%s\" is configuration, not part of a place", key);
    return 0;
}

static int name_place(struct cdt_target *target, size_t i, const conduit_error **reterr)
{
    char host[CDT_HOST_SIZE];
    const char *name = cdt_steps_get(target, i, "name");
    if (name == NULL)
        name = default_name(target, i, host);
    target->steps[i].name = conduit_strdup(name != NULL ? name : "");
    return target->steps[i].name != NULL ? 0 : cdt_error_no_memory(reterr);
}

int cdt_settle_place(struct cdt_target *target, const conduit_error **reterr)
{
    if (target->application)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "\"%s\" is not an endpoint scheme",
                                 conduit_uri_scheme(target->uri));
    if (*conduit_uri_userinfo(target->uri) != '\0')
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "an endpoint has no user");
    int code = 0;
    for (size_t i = 0; i < target->n_steps && code == 0; i++) {
        bool secure = target->steps[i].kind->secure;
        if (secure)
            code = check_keys(target, i, reterr);
        if (secure && code == 0)
            code = name_place(target, i, reterr);
        if (code == 0)
            code = find_params(target, i, reterr);
        if (code == 0)
            code = cdt_settle_check(target, i, CDT_CONNECTING | CDT_LISTENING, reterr);
    }
    return code;
}
