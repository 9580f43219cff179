/* SPDX-License-Identifier: ISC */
/*
 * A conduit_tls: what was set, in the engine's credentials and in words.
 *
 * Each key goes to the engine as it is set, so that a mistake shows at once; the words are kept so
 * that a copy can be made by saying them again. ALPN is the one key that no engine sees: an
 * endpoint may say otherwise, so it goes with each session.
 *
 * It can be changed until it is sealed, by its first use, and from then on may be shared by
 * threads.
 */
#include "backend.h"
#include "builtin.h"
#include "error.h"
#include "tls.h"
#include <conduit/memory.h>
#include <stdatomic.h>
#include <string.h>

/* One key that was set; both strings are behind the struct. */
struct setting {
    struct setting *next;
    const char *key, *value;
};

struct conduit_tls {
    atomic_uint refs;
    atomic_bool sealed;
    void *credentials; /* NULL when built without TLS */
    const char *alpn;  /* in the last such setting, or "" */
    struct setting *settings, **last;
};

static const struct cdt_tls_backend *engine(void)
{
    return cdt_tls_backends[0];
}

int cdt_tls_refuse(int code, const conduit_error **reterr, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const conduit_error *error =
        cdt_error_newv(code, CONDUIT_STAGE_TLS, NULL, NULL, 0, format, args);
    va_end(args);
    return cdt_error_give(error, reterr);
}

conduit_tls *conduit_tls_new(void)
{
    conduit_tls *tls = conduit_calloc(1, sizeof(*tls));
    if (tls == NULL)
        return NULL;
    atomic_init(&tls->refs, 1);
    atomic_init(&tls->sealed, false);
    tls->alpn = "";
    tls->last = &tls->settings;
    if (engine() == NULL)
        return tls;
    tls->credentials = engine()->config_new();
    if (tls->credentials == NULL) {
        conduit_free(tls);
        return NULL;
    }
    return tls;
}

conduit_tls *conduit_tls_ref(conduit_tls *tls)
{
    if (tls != NULL)
        atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);
    return tls;
}

void conduit_tls_unref(conduit_tls *tls)
{
    if (tls == NULL || atomic_fetch_sub_explicit(&tls->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (tls->credentials != NULL)
        engine()->config_free(tls->credentials);
    while (tls->settings != NULL) {
        struct setting *setting = tls->settings;
        tls->settings = setting->next;
        conduit_free(setting);
    }
    conduit_free(tls);
}

static struct setting *make_setting(const char *key, const char *value)
{
    size_t n_key = strlen(key) + 1, n_value = strlen(value) + 1;
    struct setting *setting = conduit_malloc(sizeof(*setting) + n_key + n_value);
    if (setting == NULL)
        return NULL;
    char *text = (char *)(setting + 1);
    *setting = (struct setting){.key = text, .value = text + n_key};
    memcpy(text, key, n_key);
    memcpy(text + n_key, value, n_value);
    return setting;
}

static int apply(conduit_tls *tls, const struct setting *setting, const conduit_error **reterr)
{
    unsigned char wire[CDT_ALPN_MAX];
    if (strcmp(setting->key, "alpn") != 0)
        return engine()->config_set(tls->credentials, setting->key, setting->value, reterr);
    if (cdt_alpn_wire(setting->value, wire) < 0)
        return cdt_tls_refuse(CONDUIT_EINVAL, reterr,
                              "alpn: \"%s\" is no list of protocols like \"h2,http/1.1\"",
                              setting->value);
    tls->alpn = setting->value;
    return 0;
}

int conduit_tls_set(conduit_tls *tls, const char *key, const char *value,
                    const conduit_error **reterr)
{
    if (tls == NULL || key == NULL || value == NULL)
        return cdt_tls_refuse(CONDUIT_EINVAL, reterr,
                              "a configuration, a key and a value are needed");
    if (engine() == NULL)
        return cdt_tls_refuse(CONDUIT_ENOTSUP, reterr, "%s: this library was built without TLS",
                              key);
    if (atomic_load_explicit(&tls->sealed, memory_order_acquire))
        return cdt_tls_refuse(CONDUIT_EINVAL, reterr,
                              "%s: this configuration is in use and can no longer be changed", key);
    struct setting *setting = make_setting(key, value);
    if (setting == NULL)
        return cdt_tls_refuse(CONDUIT_ENOMEM, reterr, "%s: out of memory", key);
    int code = apply(tls, setting, reterr);
    if (code < 0) {
        conduit_free(setting);
        return code;
    }
    *tls->last = setting;
    tls->last = &setting->next;
    return 0;
}

int cdt_tls_seal(conduit_tls *tls, bool server, const conduit_error **reterr)
{
    if (engine() == NULL)
        return cdt_tls_refuse(CONDUIT_ENOTSUP, reterr, "this library was built without TLS");
    int code = engine()->config_check(tls->credentials, server, reterr);
    if (code == 0)
        atomic_store_explicit(&tls->sealed, true, memory_order_release);
    return code;
}

const char *cdt_tls_alpn(const conduit_tls *tls)
{
    return tls->alpn;
}

void *cdt_tls_credentials(const conduit_tls *tls)
{
    return tls->credentials;
}

static bool is_trust(const char *key)
{
    static const char *const keys[] = {"ca", "min", "max", "ciphers"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

static int copy(const conduit_tls *tls, bool only_trust, conduit_tls **ret,
                const conduit_error **reterr)
{
    conduit_tls *made = conduit_tls_new();
    if (made == NULL)
        return cdt_tls_refuse(CONDUIT_ENOMEM, reterr, "out of memory");
    for (const struct setting *s = tls->settings; s != NULL; s = s->next) {
        bool wanted = !only_trust || is_trust(s->key);
        int code = wanted ? conduit_tls_set(made, s->key, s->value, reterr) : 0;
        if (code < 0) {
            conduit_tls_unref(made);
            return code;
        }
    }
    *ret = made;
    return 0;
}

int cdt_tls_copy(const conduit_tls *tls, conduit_tls **ret, const conduit_error **reterr)
{
    return copy(tls, false, ret, reterr);
}

int cdt_tls_copy_trust(const conduit_tls *tls, conduit_tls **ret, const conduit_error **reterr)
{
    return copy(tls, true, ret, reterr);
}
