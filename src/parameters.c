/* SPDX-License-Identifier: ISC */
/* Which parameters a target has: parameters.h says where they come from. */
#include "parameters.h"
#include "builtin.h"
#include "error.h"
#include "steps.h"
#include "transport.h"
#include <string.h>

/* With the underscore, what a label has room for. */
enum { MAX_SERVICE = 62 };

bool cdt_parameters_of_records(const char *key)
{
    static const char *const keys[] = {"srv", "svcb", NULL};
    return cdt_key_in(key, keys);
}

static bool key_known(const struct cdt_target *target, const char *key)
{
    if (target->transport->form == CDT_FORM_HOST_PORT && cdt_parameters_of_records(key))
        return true;
    return cdt_steps_know(target, key);
}

/* A layer that no name says, but a key of its own. It is the lowest of those that were named: its
 * bytes are the first on the wire. */
static int push_implied(struct cdt_target *target, const conduit_error **reterr)
{
    for (size_t k = 0; cdt_layers[k] != NULL; k++) {
        bool said = false;
        for (size_t i = 0; cdt_layers[k]->implied && i < target->params.n; i++)
            said |= cdt_key_in(target->params.list[i].key, cdt_layers[k]->keys);
        int code = said ? cdt_target_push(target, cdt_layers[k], reterr) : 0;
        if (code < 0)
            return code;
    }
    return 0;
}

const char *cdt_parameters_complaint(const struct cdt_transport *transport,
                                     const struct cdt_param *param)
{
    if (transport->check == NULL || !cdt_key_in(param->key, transport->keys))
        return NULL;
    return transport->check(param->key, param->value);
}

static int check_value(const struct cdt_target *target, const struct cdt_transport *transport,
                       const struct cdt_param *param, const conduit_error **reterr)
{
    const char *wrong = cdt_parameters_complaint(transport, param);
    return wrong == NULL ? 0
                         : cdt_target_refuse(target, CONDUIT_EINVAL, reterr, "%s=%s: %s",
                                             param->key, param->value, wrong);
}

/* A service to look for, where the scheme does not say which. */
static int take_records(struct cdt_target *target, bool listening, const conduit_error **reterr)
{
    const char *srv = cdt_params_get(&target->params, "srv");
    const char *svcb = cdt_params_get(&target->params, "svcb");
    const char *service = srv != NULL ? srv : svcb;
    if (service == NULL)
        return 0;
    if (listening)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr,
                                 "a service is for connecting by name");
    if (srv != NULL && svcb != NULL)
        return cdt_target_refuse(target, CONDUIT_EURI, reterr, "srv or svcb, and not both");
    size_t n = strspn(service, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    if (n == 0 || n > MAX_SERVICE || service[n] != '\0')
        return cdt_target_refuse(
            target, CONDUIT_EURI, reterr,
            "a service is a word like \"imaps\", without _ before it and _tcp after it");
    target->service = service;
    target->records = srv != NULL ? CONDUIT_RECORDS_SRV : CONDUIT_RECORDS_SVCB;
    return 0;
}

static bool is_repeated(const struct cdt_params *params, size_t i)
{
    for (size_t before = 0; before < i; before++)
        if (strcmp(params->list[before].key, params->list[i].key) == 0)
            return true;
    return false;
}

/* Which of two values counts is not for the reader to guess. */
static int check_once(const struct cdt_target *target, const struct cdt_params *params,
                      conduit_code code, const conduit_error **reterr)
{
    for (size_t i = 1; i < params->n; i++) {
        const char *key = params->list[i].key;
        if (!cdt_steps_repeatable(target, key) && is_repeated(params, i))
            return cdt_target_refuse(target, code, reterr, "\"%s\" is given twice", key);
    }
    return 0;
}

int cdt_parameters_read(struct cdt_target *target, bool listening, const conduit_error **reterr)
{
    if (target->application || *conduit_uri_query(target->uri) == '\0')
        return 0;
    int code = cdt_params_parse(&target->params, conduit_uri_query(target->uri), reterr);
    if (code == 0)
        code = push_implied(target, reterr);
    for (size_t i = 0; code == 0 && i < target->params.n; i++) {
        const struct cdt_param *param = &target->params.list[i];
        if (!key_known(target, param->key))
            return cdt_target_refuse(target, CONDUIT_EURI, reterr,
                                     "\"%s\" is not a parameter of %s", param->key,
                                     conduit_uri_scheme(target->uri));
        code = check_value(target, target->transport, param, reterr);
    }
    if (code == 0)
        code = check_once(target, &target->params, CONDUIT_EURI, reterr);
    return code == 0 ? take_records(target, listening, reterr) : code;
}

/* The transport in use, if the key is one of its own; or any that has it. */
static const struct cdt_transport *transport_of_key(const struct cdt_target *target,
                                                    const char *key)
{
    if (cdt_key_in(key, target->transport->keys))
        return target->transport;
    for (size_t i = 0; cdt_transports[i] != NULL; i++)
        if (cdt_key_in(key, cdt_transports[i]->keys))
            return cdt_transports[i];
    return NULL;
}

int cdt_parameters_take(struct cdt_target *target, const struct cdt_param *param,
                        const conduit_error **reterr)
{
    const struct cdt_transport *of = transport_of_key(target, param->key);
    if (of == NULL)
        return cdt_target_refuse(target, CONDUIT_EINVAL, reterr,
                                 "\"%s\" is not a parameter of any transport", param->key);
    int code = check_value(target, of, param, reterr);
    if (code < 0 || cdt_params_get(&target->params, param->key) != NULL)
        return code;
    return cdt_params_add(&target->params, param->key, param->value) ? 0
                                                                     : cdt_error_no_memory(reterr);
}

int cdt_parameters_add(struct cdt_target *target, const char *text, const conduit_error **reterr)
{
    struct cdt_params given = {0};
    int code = cdt_params_parse(&given, text, reterr);
    if (code == 0)
        code = check_once(target, &given, CONDUIT_EINVAL, reterr);
    for (size_t i = 0; code == 0 && i < given.n; i++)
        code = cdt_parameters_take(target, &given.list[i], reterr);
    cdt_params_clear(&given);
    return code;
}
