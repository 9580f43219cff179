/* SPDX-License-Identifier: ISC */
/*
 * A conduit_tls: what was set, in the engine's credentials and in words.
 *
 * Each key goes to the engine as it is set, so that a mistake shows at once; the words are kept so
 * that a copy can be made by saying them again, which is what a reload is. Beside each name of a
 * file stands which state of it was read. ALPN is a key that no engine sees: an endpoint may say
 * otherwise, so it goes with each session.
 *
 * It can be changed until it is sealed, by its first use, and from then on may be shared by
 * threads. Words may be secrets: they are wiped.
 */
#include "backend.h"
#include "builtin.h"
#include "error.h"
#include "tls.h"
#include <conduit/memory.h>
#include <conduit/openssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { MAX_PASSWORD = 1024, MAX_WATCH_S = 7 * 24 * 3600 };

/* One key that was set; both strings are behind the struct. */
struct setting {
    struct setting *next;
    const char *key, *value;
    bool file; /* the value names one ... */
    struct cdt_file_mark mark;
};

struct conduit_tls {
    atomic_uint refs;
    atomic_bool sealed;
    pthread_mutex_t sealing;
    struct cdt_tls_hooks hooks;
    conduit_tls_openssl_fn prepare;
    void *prepare_user;
    void *credentials; /* NULL when built without TLS */
    const char *alpn;  /* in the last such setting, or "" */
    uint32_t watch_s;
    char id[33]; /* of this very configuration; in hex */
    struct setting *settings, **last;
};

static const struct cdt_tls_backend *engine(void)
{
    return cdt_tls_backends[0];
}

/* ---- lifetime ---- */

/* An address would do, if it were not somebody else's later. */
static bool make_id(char id[33])
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return false;
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(id + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

conduit_tls *conduit_tls_new(void)
{
    conduit_tls *tls = conduit_calloc(1, sizeof(*tls));
    if (tls == NULL)
        return NULL;
    atomic_init(&tls->refs, 1);
    atomic_init(&tls->sealed, false);
    pthread_mutex_init(&tls->sealing, NULL);
    tls->alpn = "";
    tls->last = &tls->settings;
    if (engine() == NULL)
        return tls;
    tls->credentials = make_id(tls->id) ? engine()->config_new(&tls->hooks) : NULL;
    if (tls->credentials != NULL)
        return tls;
    pthread_mutex_destroy(&tls->sealing);
    conduit_free(tls);
    return NULL;
}

conduit_tls *conduit_tls_ref(conduit_tls *tls)
{
    if (tls != NULL)
        atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);
    return tls;
}

static void free_setting(struct setting *setting)
{
    size_t n = strlen(setting->key) + strlen(setting->value) + 2;
    explicit_bzero(setting + 1, n);
    conduit_free(setting);
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
        free_setting(setting);
    }
    pthread_mutex_destroy(&tls->sealing);
    conduit_free(tls);
}

static bool is_sealed(const conduit_tls *tls)
{
    return atomic_load_explicit(&tls->sealed, memory_order_acquire);
}

/* ---- settings ---- */

static bool names_file(const char *key)
{
    static const char *const keys[] = {"ca",     "ca_dir", "crl",        "cert",          "key",
                                       "pkcs12", "staple", "ticket_key", "password_file", "keylog"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

static struct setting *make_setting(const char *key, const char *value)
{
    size_t n_key = strlen(key) + 1, n_value = strlen(value) + 1;
    struct setting *setting = conduit_malloc(sizeof(*setting) + n_key + n_value);
    if (setting == NULL)
        return NULL;
    char *text = (char *)(setting + 1);
    *setting = (struct setting){.key = text, .value = text + n_key, .file = names_file(key)};
    memcpy(text, key, n_key);
    memcpy(text + n_key, value, n_value);
    return setting;
}

/* What a setting comes to: its value, or what the environment says; NULL if that is nothing. */
static const char *meant(const struct setting *setting)
{
    if (!setting->file || setting->value[0] != '$')
        return setting->value;
    const char *value = secure_getenv(setting->value + 1);
    return value != NULL && *value != '\0' ? value : NULL;
}

static int set_alpn(conduit_tls *tls, const char *value, const conduit_error **reterr)
{
    unsigned char wire[CDT_ALPN_MAX];
    if (cdt_alpn_wire(value, wire) < 0)
        return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                              "alpn: \"%s\" is no list of protocols like \"h2,http/1.1\"", value);
    tls->alpn = value;
    return 0;
}

static int set_watch(conduit_tls *tls, const char *value, const conduit_error **reterr)
{
    char *end;
    unsigned long seconds = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end != '\0' || seconds > MAX_WATCH_S)
        return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                              "watch: \"%s\" is no number of seconds up to a week", value);
    tls->watch_s = (uint32_t)seconds;
    return 0;
}

static int set_password_file(conduit_tls *tls, const char *path, const conduit_error **reterr)
{
    struct cdt_file file;
    int code = cdt_file_read("password_file", path, true, &file, reterr);
    if (code < 0)
        return code;
    char password[MAX_PASSWORD];
    size_t n = 0;
    while (n < file.len && file.bytes[n] != '\n' && file.bytes[n] != '\r')
        n++;
    if (n >= sizeof(password))
        code = cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                              "password_file \"%s\": its first line is far too long", path);
    else
        snprintf(password, sizeof(password), "%.*s", (int)n, file.bytes);
    cdt_file_done(&file);
    if (code == 0)
        code = engine()->config_set(tls->credentials, "password", password, reterr);
    explicit_bzero(password, sizeof(password));
    return code;
}

static int apply(conduit_tls *tls, struct setting *setting, const conduit_error **reterr)
{
    const char *value = meant(setting);
    if (value == NULL)
        return 0;
    if (setting->file)
        cdt_file_mark(value, &setting->mark); /* before it is read: a change in between is seen */
    if (strcmp(setting->key, "alpn") == 0)
        return set_alpn(tls, value, reterr);
    if (strcmp(setting->key, "watch") == 0)
        return set_watch(tls, value, reterr);
    if (strcmp(setting->key, "password_file") == 0)
        return set_password_file(tls, value, reterr);
    return engine()->config_set(tls->credentials, setting->key, value, reterr);
}

int conduit_tls_set(conduit_tls *tls, const char *key, const char *value,
                    const conduit_error **reterr)
{
    if (tls == NULL || key == NULL || value == NULL)
        return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                              "a configuration, a key and a value are needed");
    if (engine() == NULL)
        return cdt_tls_refuse(CONDUIT_TLS_NOT_BUILT, reterr,
                              "%s: this library was built without TLS", key);
    if (is_sealed(tls))
        return cdt_tls_refuse(CONDUIT_TLS_IN_USE, reterr,
                              "%s: this configuration is in use and can no longer be changed", key);
    struct setting *setting = make_setting(key, value);
    if (setting == NULL)
        return cdt_tls_refuse(CONDUIT_TLS_MEMORY, reterr, "%s: out of memory", key);
    int code = apply(tls, setting, reterr);
    if (code < 0) {
        free_setting(setting);
        return code;
    }
    *tls->last = setting;
    tls->last = &setting->next;
    return 0;
}

int conduit_tls_set_password(conduit_tls *tls, conduit_tls_password_fn ask, void *user)
{
    if (tls == NULL || is_sealed(tls))
        return CONDUIT_EINVAL;
    tls->hooks.password = ask;
    tls->hooks.password_user = user;
    return 0;
}

int conduit_tls_set_verify(conduit_tls *tls, conduit_tls_verify_fn verify, void *user)
{
    if (tls == NULL || is_sealed(tls))
        return CONDUIT_EINVAL;
    tls->hooks.verify = verify;
    tls->hooks.verify_user = user;
    return 0;
}

int conduit_tls_set_openssl(conduit_tls *tls, conduit_tls_openssl_fn prepare, void *user)
{
    if (tls == NULL || is_sealed(tls))
        return CONDUIT_EINVAL;
    if (engine() == NULL || engine()->config_native == NULL)
        return CONDUIT_ENOTSUP;
    tls->prepare = prepare;
    tls->prepare_user = user;
    return 0;
}

/* ---- in use ---- */

/* The last word is the caller's, once. */
static int prepare(conduit_tls *tls, const conduit_error **reterr)
{
    int code = 0;
    pthread_mutex_lock(&tls->sealing);
    if (!is_sealed(tls) && tls->prepare != NULL &&
        tls->prepare(engine()->config_native(tls->credentials), tls->prepare_user) < 0)
        code = cdt_tls_refuse(CONDUIT_TLS_REFUSED_BY_HOOK, reterr,
                              "the program's own setup of the SSL_CTX refused");
    if (code == 0)
        atomic_store_explicit(&tls->sealed, true, memory_order_release);
    pthread_mutex_unlock(&tls->sealing);
    return code;
}

/* The last word on it counts. */
static bool verifies(const conduit_tls *tls)
{
    bool insecure = false;
    for (const struct setting *setting = tls->settings; setting != NULL; setting = setting->next)
        if (strcmp(setting->key, "verify") == 0)
            insecure = strcmp(setting->value, "insecure") == 0;
    return !insecure;
}

/* What no engine need know of. A hook that is never called would look as if it accepted all. */
static int check(const conduit_tls *tls, bool server, const conduit_error **reterr)
{
    if (tls->hooks.verify != NULL && !verifies(tls))
        return cdt_tls_refuse(CONDUIT_TLS_CONTRADICTION, reterr,
                              "verify=insecure asks nobody, the program's own check either");
    return engine()->config_check(tls->credentials, server, reterr);
}

int cdt_tls_seal(conduit_tls *tls, bool server, const conduit_error **reterr)
{
    if (engine() == NULL)
        return cdt_tls_refuse(CONDUIT_TLS_NOT_BUILT, reterr, "this library was built without TLS");
    int code = check(tls, server, reterr);
    if (code < 0 || is_sealed(tls))
        return code;
    return prepare(tls, reterr);
}

const char *cdt_tls_alpn(const conduit_tls *tls)
{
    return tls->alpn;
}

bool cdt_tls_wants_tlsa(const conduit_tls *tls)
{
    bool dane = false;
    for (const struct setting *s = tls->settings; s != NULL; s = s->next) {
        if (strcmp(s->key, "tlsa") == 0)
            return false;
        if (strcmp(s->key, "verify") == 0)
            dane = strcmp(s->value, "dane") == 0;
    }
    return dane;
}

void *cdt_tls_credentials(const conduit_tls *tls)
{
    return tls->credentials;
}

const char *cdt_tls_id(const conduit_tls *tls)
{
    return tls->id;
}

uint32_t cdt_tls_watch_s(const conduit_tls *tls)
{
    return tls->watch_s;
}

bool cdt_tls_changed(const conduit_tls *tls)
{
    for (const struct setting *s = tls->settings; s != NULL; s = s->next) {
        const char *path = s->file ? meant(s) : NULL;
        struct cdt_file_mark now;
        if (path == NULL || strcmp(s->key, "keylog") == 0)
            continue;
        cdt_file_mark(path, &now);
        if (!cdt_file_same(&now, &s->mark))
            return true;
    }
    return false;
}

/* ---- copies ---- */

static bool is_trust(const char *key)
{
    static const char *const keys[] = {"ca",      "ca_dir",    "ca_pem", "ca_system",
                                       "crl",     "crl_check", "min",    "max",
                                       "ciphers", "suites",    "groups", "sigalgs"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

static int copy_settings(const conduit_tls *tls, bool only_trust, conduit_tls *made,
                         const conduit_error **reterr)
{
    for (const struct setting *s = tls->settings; s != NULL; s = s->next) {
        bool wanted = !only_trust || is_trust(s->key);
        int code = wanted ? conduit_tls_set(made, s->key, s->value, reterr) : 0;
        if (code < 0)
            return code;
    }
    return 0;
}

static int copy(const conduit_tls *tls, bool only_trust, conduit_tls **ret,
                const conduit_error **reterr)
{
    conduit_tls *made = conduit_tls_new();
    if (made == NULL)
        return cdt_tls_refuse(CONDUIT_TLS_MEMORY, reterr, "out of memory");
    if (!only_trust) {
        made->hooks = tls->hooks;
        made->prepare = tls->prepare;
        made->prepare_user = tls->prepare_user;
    }
    int code = copy_settings(tls, only_trust, made, reterr);
    if (code < 0)
        conduit_tls_unref(made);
    else
        *ret = made;
    return code;
}

int cdt_tls_copy(const conduit_tls *tls, conduit_tls **ret, const conduit_error **reterr)
{
    return copy(tls, false, ret, reterr);
}

int cdt_tls_copy_trust(const conduit_tls *tls, conduit_tls **ret, const conduit_error **reterr)
{
    return copy(tls, true, ret, reterr);
}

/* Whoever renews certificates replaces several files, one after another: what was read while that
 * went on counts for nothing. */
int cdt_tls_reread(const conduit_tls *tls, conduit_tls **ret, const conduit_error **reterr)
{
    enum { TRIES = 3 };
    for (int i = 1;; i++) {
        *ret = NULL;
        int code = cdt_tls_copy(tls, ret, reterr);
        if (code == 0)
            code = cdt_tls_seal(*ret, true, reterr);
        if (code == 0 && (i == TRIES || !cdt_tls_changed(*ret)))
            return 0;
        conduit_tls_unref(*ret);
        if (code < 0)
            return code;
    }
}
